/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/backend.h"
#include "common/backend_parts.h"
#include "tests/unit/unit.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define ENV_MAX      6

#define ACCESS_KEY   "AKIAIOSFODNN7EXAMPLE"
#define SECRET_KEY   "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
#define TOKEN        "FwoGZXIvYXdzEXAMPLETOKEN"
#define CUSTOMER_KEY "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
#define OTHER_KEY    "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="

/* What terraform 1.11.4 wrote for a block with little more than endpoints. */
static const char capture[] =
	"{\n  \"version\": 3,\n  \"terraform_version\": \"1.11.4\",\n  \"backend\": {\n"
	"    \"type\": \"s3\",\n    \"config\": {\n"
	"      \"access_key\": null, \"acl\": null, \"allowed_account_ids\": null,\n"
	"      \"assume_role\": null, \"assume_role_with_web_identity\": null,\n"
	"      \"bucket\": \"tfbucket\", \"custom_ca_bundle\": null,\n"
	"      \"dynamodb_endpoint\": null, \"dynamodb_table\": null,\n"
	"      \"ec2_metadata_service_endpoint\": null,\n"
	"      \"ec2_metadata_service_endpoint_mode\": null, \"encrypt\": null,\n"
	"      \"endpoint\": null,\n"
	"      \"endpoints\": { \"dynamodb\": \"http://127.0.0.1:18080\", \"iam\": null,\n"
	"        \"s3\": \"http://127.0.0.1:18080\", \"sso\": null, \"sts\": null },\n"
	"      \"forbidden_account_ids\": null, \"force_path_style\": null,\n"
	"      \"http_proxy\": null, \"https_proxy\": null, \"iam_endpoint\": null,\n"
	"      \"insecure\": null, \"key\": \"app/terraform.tfstate\", \"kms_key_id\": null,\n"
	"      \"max_retries\": null, \"no_proxy\": null, \"profile\": null,\n"
	"      \"region\": \"us-east-1\", \"retry_mode\": null, \"secret_key\": null,\n"
	"      \"shared_config_files\": null, \"shared_credentials_file\": null,\n"
	"      \"shared_credentials_files\": null, \"skip_credentials_validation\": true,\n"
	"      \"skip_metadata_api_check\": true, \"skip_region_validation\": true,\n"
	"      \"skip_requesting_account_id\": true, \"skip_s3_checksum\": null,\n"
	"      \"sse_customer_key\": null, \"sts_endpoint\": null, \"sts_region\": null,\n"
	"      \"token\": null, \"use_dualstack_endpoint\": null,\n"
	"      \"use_fips_endpoint\": null, \"use_lockfile\": true,\n"
	"      \"use_path_style\": true, \"workspace_key_prefix\": null\n"
	"    },\n    \"hash\": 1597140589\n  }\n}";

/* The same with everything set that may be, as it was seen in such files. */
static const char full_config[] =
	"{\"acl\":\"private\",\"encrypt\":true,\"use_lockfile\":false,\"use_fips_endpoint\":false,"
	"\"insecure\":true,\"http_proxy\":\"\",\"no_proxy\":\"*\",\"max_retries\":7,"
	"\"retry_mode\":\"adaptive\",\"workspace_key_prefix\":\"ws\",\"force_path_style\":true,"
	"\"use_path_style\":null,\"endpoints\":null,\"endpoint\":\"http://s3.test:1\","
	"\"dynamodb_endpoint\":\"http://ddb.test:2\",\"sts_endpoint\":\"http://sts.test:3\","
	"\"iam_endpoint\":\"http://iam.test:4\",\"dynamodb_table\":\"locks\",\"profile\":\"prod\","
	"\"access_key\":\"" ACCESS_KEY "\",\"secret_key\":\"" SECRET_KEY "\",\"token\":\"" TOKEN
	"\",\"sse_customer_key\":\"" CUSTOMER_KEY "\","
	"\"shared_config_files\":[\"/path/conf\"],\"custom_ca_bundle\":\"/path/srv.pem\","
	"\"skip_s3_checksum\":true,"
	"\"assume_role\":{\"duration\":\"1h\",\"external_id\":\"ext\",\"policy\":null,"
	"\"policy_arns\":[\"arn:aws:iam::aws:policy/ReadOnlyAccess\"],"
	"\"role_arn\":\"arn:aws:iam::123456789012:role/tf\",\"session_name\":\"sess\","
	"\"source_identity\":null,\"tags\":{\"a\":\"b\"},\"transitive_tag_keys\":[\"a\"]}}";

/* What of it is for credentials. */
static const char full_credentials[] =
	"{\"access_key\":\"" ACCESS_KEY "\",\"assume_role\":{\"duration\":\"1h\","
	"\"external_id\":\"ext\",\"policy\":null,"
	"\"policy_arns\":[\"arn:aws:iam::aws:policy/ReadOnlyAccess\"],"
	"\"role_arn\":\"arn:aws:iam::123456789012:role/tf\",\"session_name\":\"sess\","
	"\"source_identity\":null,\"tags\":{\"a\":\"b\"},\"transitive_tag_keys\":[\"a\"]},"
	"\"endpoint_sts\":\"http://sts.test:3\",\"profile\":\"prod\",\"secret_key\":\"" SECRET_KEY
	"\",\"shared_config_files\":[\"/path/conf\"],"
	"\"skip_metadata_api_check\":true,\"token\":\"" TOKEN "\"}";

/* OpenTofu 1.11: the old layout, few attributes, and its flat role. */
static const char tofu_file[] =
	"{\"version\":3,\"serial\":4,\"lineage\":\"8f3c\",\"terraform_version\":\"1.11.6\","
	"\"backend\":{\"type\":\"s3\",\"config\":{\"bucket\":\"b\",\"key\":\"k\",\"region\":\"eu-west-1\","
	"\"role_arn\":\"arn:aws:iam::1:role/x\",\"use_lockfile\":true,\"state_tags\":{\"a\":\"b\"}},"
	"\"hash\":17041734589237459583},"
	"\"modules\":[{\"path\":[\"root\"],\"outputs\":{},\"resources\":{},\"depends_on\":[]}]}";

static char *env_none[] = { NULL };

/* The capture with the members of @overrides, a JSON object or NULL, in its config. */
static char *make_file(const char *overrides)
{
	json_t *root = json_loads(capture, 0, NULL);
	json_t *config = json_object_get(json_object_get(root, "backend"), "config");
	json_t *changes = json_loads(overrides ? overrides : "{}", 0, NULL);
	char *text;

	ck_assert_msg(config && changes, "bad JSON in the test: %s", overrides);
	ck_assert_int_eq(json_object_update(config, changes), 0);
	text = json_dumps(root, 0);
	json_decref(changes);
	json_decref(root);
	return text;
}

static int parse_text(struct backend **ret, const char *file, const char *workspace,
		      char *const *env, bool require_lock, char **ret_error)
{
	char *copy = file ? strdup(file) : NULL;
	char *selected = strdup(workspace ? workspace : "default");
	char directory[] = "/srv/app";
	const struct backend_source source = {
		.directory = directory,
		.file = copy,
		.workspace = selected,
	};
	int r;

	r = backend_parse(ret, &source, env, require_lock, ret_error);
	free(selected);
	free(copy);
	return r;
}

/* As parse_text() with the capture changed; must succeed. */
static struct backend *parse_s3(const char *overrides, const char *workspace, char *const *env)
{
	AUTO_FREE char *file = make_file(overrides);
	AUTO_FREE char *error = NULL;
	struct backend *backend = NULL;
	int r;

	r = parse_text(&backend, file, workspace, env, true, &error);
	ck_assert_msg(r == 0, "%s: %d %s", overrides, r, error);
	ck_assert_ptr_null(error);
	return backend;
}

static void check_no_secret(const char *name, const char *text)
{
	static const char *const secrets[] = { ACCESS_KEY, SECRET_KEY, TOKEN,   CUSTOMER_KEY,
					       OTHER_KEY,  "hunter2",  "SECRET" };

	for (int i = 0; text && i < COUNT(secrets); i++)
		ck_assert_msg(!strstr(text, secrets[i]), "%s: a secret in: %s", name, text);
}

/* --- S3: keys, as in the table of workspaces ------------------------------------------- */

static const struct {
	const char *name;
	const char *prefix; /* as JSON */
	const char *workspace;
	const char *key;
	const char *expect;
} keys[] = {
	/* clang-format off */
	{ "default, no prefix",     "null", "default", "app/t.tfstate", "app/t.tfstate" },
	{ "default ignores prefix", "\"teams/x\"", "default", "app/t.tfstate", "app/t.tfstate" },
	{ "w1, null prefix",        "null", "w1", "app/t.tfstate", "env:/w1/app/t.tfstate" },
	{ "w1, prefix",             "\"teams/x\"", "w1", "app/t.tfstate", "teams/x/w1/app/t.tfstate" },
	{ "w1, empty prefix",       "\"\"", "w1", "app/t.tfstate", "w1/app/t.tfstate" },
	{ "w1 is cleaned",          "null", "w1", "./x/../y/t", "env:/w1/y/t" },
	{ "default is raw",         "null", "default", "./x/../y/t", "./x/../y/t" },
	{ "prefix is cleaned",      "\"a//b/./c\"", "w1", "t", "a/b/c/w1/t" },
	{ "the key may climb",      "null", "w1", "../../../t", "../t" },
	{ "odd but valid name",     "null", "w@1", "t", "env:/w@1/t" },
	{ "percent is not decoded", "null", "w1", "a%2Fb c+d", "env:/w1/a%2Fb c+d" },
	{ "UTF-8",                  "null", "default", "schl\xc3\xbcssel", "schl\xc3\xbcssel" },
	/* clang-format on */
};

START_TEST(state_key_follows_the_workspace)
{
	CLEANUP(backend_freep) struct backend *backend = NULL;
	char overrides[256];
	char name[300];

	snprintf(overrides, sizeof(overrides), "{\"workspace_key_prefix\":%s,\"key\":\"%s\"}",
		 keys[_i].prefix, keys[_i].key);
	backend = parse_s3(overrides, keys[_i].workspace, env_none);
	ck_assert_msg(strcmp(backend->key, keys[_i].expect) == 0, "%s: %s", keys[_i].name,
		      backend->key);
	snprintf(name, sizeof(name), "s3://tfbucket/%s", keys[_i].expect);
	ck_assert_str_eq(backend->name, name);
	ck_assert_str_eq(backend->workspace, keys[_i].workspace);
}
END_TEST

static const struct {
	const char *from;
	const char *to;
} paths[] = {
	/* clang-format off */
	{ "abc", "abc" }, { "abc/def", "abc/def" }, { "a/b/c", "a/b/c" }, { ".", "." },
	{ "..", ".." }, { "../..", "../.." }, { "../../abc", "../../abc" }, { "/abc", "/abc" },
	{ "/", "/" }, { "abc/", "abc" }, { "abc/def/", "abc/def" }, { "./", "." },
	{ "../", ".." }, { "../../", "../.." }, { "/abc/", "/abc" },
	{ "abc//def//ghi", "abc/def/ghi" }, { "//abc", "/abc" }, { "///abc", "/abc" },
	{ "//abc//", "/abc" }, { "abc/./def", "abc/def" }, { "/./abc/def", "/abc/def" },
	{ "abc/.", "abc" }, { "abc/def/ghi/../jkl", "abc/def/jkl" },
	{ "abc/def/../ghi/../jkl", "abc/jkl" }, { "abc/def/..", "abc" },
	{ "abc/def/../..", "." }, { "/abc/def/../..", "/" }, { "abc/def/../../..", ".." },
	{ "/abc/def/../../..", "/" }, { "abc/def/../../../ghi/jkl/../../../mno", "../../mno" },
	{ "abc/./../def", "def" }, { "abc//./../def", "def" },
	{ "abc/../../././../def", "../../def" }, { "...", "..." }, { "a/.../b", "a/.../b" },
	{ "/../a", "/a" }, { ".a/..b", ".a/..b" }, { "", "." },
	/* clang-format on */
};

/* Go's own cases for path.Clean(). */
START_TEST(paths_are_cleaned_as_go_does)
{
	char path[64];

	snprintf(path, sizeof(path), "%s", paths[_i].from);
	backend_clean_path(path);
	ck_assert_msg(strcmp(path, paths[_i].to) == 0, "%s: %s", paths[_i].from, path);
}
END_TEST

/* --- S3: values and their precedence ---------------------------------------------------- */

#define STRING(member) offsetof(struct backend, member)
#define ENDPOINTS      "\"endpoints\":{\"s3\":null,\"dynamodb\":null}"

static const struct {
	const char *name;
	const char *overrides;
	const char *env[ENV_MAX];
	size_t offset;
	const char *expect; /* NULL: not set */
} strings[] = {
	/* clang-format off */
	{ "region: attribute wins", "{\"region\":\"eu-west-1\"}",
	  { "AWS_REGION=us-west-2", "AWS_DEFAULT_REGION=us-west-1" }, STRING(region), "eu-west-1" },
	{ "region: AWS_REGION", "{\"region\":null}",
	  { "AWS_DEFAULT_REGION=us-west-1", "AWS_REGION=us-west-2" }, STRING(region), "us-west-2" },
	{ "region: \"\" is null", "{\"region\":\"\"}",
	  { "AWS_REGION=us-west-2" }, STRING(region), "us-west-2" },
	{ "region: AWS_DEFAULT_REGION", "{\"region\":null}",
	  { "AWS_REGION=", "AWS_DEFAULT_REGION=us-west-1" }, STRING(region), "us-west-1" },

	{ "s3: endpoints.s3 wins", "{\"endpoints\":{\"s3\":\"http://a\"},\"endpoint\":\"http://b\"}",
	  { "AWS_ENDPOINT_URL_S3=http://c" }, STRING(endpoint_s3), "http://a" },
	{ "s3: endpoint", "{" ENDPOINTS ",\"endpoint\":\"http://b\"}",
	  { "AWS_ENDPOINT_URL_S3=http://c" }, STRING(endpoint_s3), "http://b" },
	{ "s3: AWS_ENDPOINT_URL_S3", "{" ENDPOINTS "}",
	  { "AWS_ENDPOINT_URL=http://e", "AWS_S3_ENDPOINT=http://d", "AWS_ENDPOINT_URL_S3=http://c" },
	  STRING(endpoint_s3), "http://c" },
	{ "s3: AWS_S3_ENDPOINT", "{" ENDPOINTS "}",
	  { "AWS_ENDPOINT_URL=http://e", "AWS_S3_ENDPOINT=http://d" }, STRING(endpoint_s3), "http://d" },
	{ "s3: AWS_ENDPOINT_URL", "{\"endpoints\":null}",
	  { "AWS_ENDPOINT_URL=http://e", "AWS_ENDPOINT_URL_S3=" }, STRING(endpoint_s3), "http://e" },
	{ "s3: AWS_ENDPOINT_URL ignored", "{\"endpoints\":null}",
	  { "AWS_ENDPOINT_URL=http://e", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=TRUE" },
	  STRING(endpoint_s3), NULL },
	{ "s3: AWS_ENDPOINT_URL not ignored", "{\"endpoints\":null}",
	  { "AWS_ENDPOINT_URL=http://e", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=false" },
	  STRING(endpoint_s3), "http://e" },
	{ "s3: the ignoring spares terraform's own", "{\"endpoints\":null}",
	  { "AWS_ENDPOINT_URL_S3=http://c", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true" },
	  STRING(endpoint_s3), "http://c" },
	{ "s3: none", "{\"endpoints\":null}", { NULL }, STRING(endpoint_s3), NULL },
	{ "s3: that of DynamoDB is not ours", "{\"endpoints\":{\"dynamodb\":\"http://a\"}}",
	  { "AWS_ENDPOINT_URL_DYNAMODB=http://c" }, STRING(endpoint_s3), NULL },

	{ "dynamodb: endpoints.dynamodb", "{\"dynamodb_endpoint\":\"http://b\"}", { NULL },
	  STRING(endpoint_dynamodb), "http://127.0.0.1:18080" },
	{ "dynamodb: dynamodb_endpoint", "{" ENDPOINTS ",\"dynamodb_endpoint\":\"http://b\"}",
	  { "AWS_ENDPOINT_URL_DYNAMODB=http://c" }, STRING(endpoint_dynamodb), "http://b" },
	{ "dynamodb: new variable", "{" ENDPOINTS "}",
	  { "AWS_DYNAMODB_ENDPOINT=http://d", "AWS_ENDPOINT_URL_DYNAMODB=http://c" },
	  STRING(endpoint_dynamodb), "http://c" },
	{ "dynamodb: old variable", "{" ENDPOINTS "}",
	  { "AWS_DYNAMODB_ENDPOINT=http://d", "AWS_ENDPOINT_URL=http://e" },
	  STRING(endpoint_dynamodb), "http://d" },
	{ "dynamodb: shared variable", "{" ENDPOINTS "}",
	  { "AWS_ENDPOINT_URL_S3=http://c", "AWS_ENDPOINT_URL=http://e" },
	  STRING(endpoint_dynamodb), "http://e" },

	{ "table: null", "{\"dynamodb_table\":null}", { NULL }, STRING(dynamodb_table), NULL },
	{ "table: \"\" is none", "{\"dynamodb_table\":\"\"}", { NULL }, STRING(dynamodb_table), NULL },
	{ "table", "{\"dynamodb_table\":\"locks\"}", { NULL }, STRING(dynamodb_table), "locks" },
	{ "acl: \"\" is none", "{\"acl\":\"\"}", { NULL }, STRING(acl), NULL },
	{ "acl", "{\"acl\":\"private\"}", { NULL }, STRING(acl), "private" },
	{ "profile: \"\" is none", "{\"profile\":\"\"}", { NULL }, STRING(profile), NULL },
	{ "profile: the block's alone", "{}", { "AWS_PROFILE=p" }, STRING(profile), NULL },
	{ "access_key: the block's alone", "{}",
	  { "AWS_ACCESS_KEY_ID=" ACCESS_KEY, "AWS_SECRET_ACCESS_KEY=" SECRET_KEY }, STRING(access_key), NULL },
	{ "secret_key", "{\"secret_key\":\"" SECRET_KEY "\"}", { NULL }, STRING(secret_key), SECRET_KEY },
	{ "token", "{\"token\":\"" TOKEN "\"}", { NULL }, STRING(token), TOKEN },

	{ "kms needs encrypt", "{\"kms_key_id\":\"alias/tf\"}", { NULL }, STRING(kms_key_id), NULL },
	{ "kms: encrypt is false", "{\"kms_key_id\":\"alias/tf\",\"encrypt\":false}", { NULL },
	  STRING(kms_key_id), NULL },
	{ "kms", "{\"kms_key_id\":\"alias/tf\",\"encrypt\":true}", { NULL }, STRING(kms_key_id), "alias/tf" },
	{ "kms: \"\" is none", "{\"kms_key_id\":\"\",\"encrypt\":true}", { NULL }, STRING(kms_key_id), NULL },
	{ "SSE-C needs encrypt", "{\"sse_customer_key\":\"" CUSTOMER_KEY "\"}", { NULL },
	  STRING(sse_customer_key), NULL },
	{ "SSE-C: attribute wins", "{\"sse_customer_key\":\"" CUSTOMER_KEY "\",\"encrypt\":true}",
	  { "AWS_SSE_CUSTOMER_KEY=" OTHER_KEY }, STRING(sse_customer_key), CUSTOMER_KEY },
	{ "SSE-C: variable", "{\"encrypt\":true}",
	  { "AWS_SSE_CUSTOMER_KEY=" OTHER_KEY }, STRING(sse_customer_key), OTHER_KEY },
	{ "SSE-C: empty variable", "{\"encrypt\":true}",
	  { "AWS_SSE_CUSTOMER_KEY=" }, STRING(sse_customer_key), NULL },

	{ "CA: attribute wins", "{\"custom_ca_bundle\":\"/a.pem\"}",
	  { "AWS_CA_BUNDLE=/b.pem" }, STRING(ca_bundle), "/a.pem" },
	{ "CA: variable", "{}", { "AWS_CA_BUNDLE=/b.pem" }, STRING(ca_bundle), "/b.pem" },
	{ "CA: \"\" falls through", "{\"custom_ca_bundle\":\"\"}",
	  { "AWS_CA_BUNDLE=/b.pem" }, STRING(ca_bundle), "/b.pem" },
	{ "CA: none", "{}", { NULL }, STRING(ca_bundle), NULL },
	/* clang-format on */
};

static void fill_env(char **ret, const char *const *from)
{
	size_t count = 0;

	for (; count < ENV_MAX && from[count]; count++)
		ret[count] = strdup(from[count]);
	ret[count] = NULL;
}

static void drop_env(char **env)
{
	for (; *env; env++)
		free(*env);
}

START_TEST(string_has_its_precedence)
{
	CLEANUP(backend_freep) struct backend *backend = NULL;
	char *env[ENV_MAX + 1];
	const char *value;

	fill_env(env, strings[_i].env);
	backend = parse_s3(strings[_i].overrides, NULL, env);
	memcpy(&value, (const char *)backend + strings[_i].offset, sizeof(value));
	if (strings[_i].expect) {
		ck_assert_msg(value && strcmp(value, strings[_i].expect) == 0, "%s: %s",
			      strings[_i].name, value ? value : "NULL");
	} else {
		ck_assert_msg(!value, "%s: %s", strings[_i].name, value);
	}
	drop_env(env);
}
END_TEST

static const struct {
	const char *name;
	const char *overrides;
	const char *env[ENV_MAX];
	size_t offset;
	bool expect;
} bools[] = {
	/* clang-format off */
	{ "lockfile", "{}", { NULL }, STRING(use_lockfile), true },
	{ "lockfile null", "{\"use_lockfile\":null,\"dynamodb_table\":\"t\"}", { NULL }, STRING(use_lockfile), false },
	{ "lockfile false", "{\"use_lockfile\":false,\"dynamodb_table\":\"t\"}", { NULL }, STRING(use_lockfile), false },
	{ "path style", "{\"use_path_style\":true,\"force_path_style\":false}", { NULL }, STRING(path_style), true },
	{ "path style false wins", "{\"use_path_style\":false,\"force_path_style\":true}", { NULL },
	  STRING(path_style), false },
	{ "path style, old name", "{\"use_path_style\":null,\"force_path_style\":true}", { NULL },
	  STRING(path_style), true },
	{ "path style, neither", "{\"use_path_style\":null,\"force_path_style\":null}", { NULL },
	  STRING(path_style), false },
	{ "encrypt", "{\"encrypt\":true}", { NULL }, STRING(encrypt), true },
	{ "no encrypt", "{\"encrypt\":false}", { NULL }, STRING(encrypt), false },
	{ "insecure", "{\"insecure\":true}", { NULL }, STRING(insecure), true },
	{ "secure", "{}", { NULL }, STRING(insecure), false },
	{ "fips", "{\"use_fips_endpoint\":true}", { NULL }, STRING(use_fips), true },
	{ "fips: attribute wins", "{\"use_fips_endpoint\":false}", { "AWS_USE_FIPS_ENDPOINT=true" },
	  STRING(use_fips), false },
	{ "fips: any value is true", "{}", { "AWS_USE_FIPS_ENDPOINT=false" }, STRING(use_fips), true },
	{ "fips: but the empty one", "{}", { "AWS_USE_FIPS_ENDPOINT=" }, STRING(use_fips), false },
	{ "dualstack: variable", "{}", { "AWS_USE_DUALSTACK_ENDPOINT=true" }, STRING(use_dualstack), true },
	{ "dualstack: attribute wins", "{\"use_dualstack_endpoint\":false}",
	  { "AWS_USE_DUALSTACK_ENDPOINT=true" }, STRING(use_dualstack), false },
	{ "checksum", "{\"skip_s3_checksum\":true}", { NULL }, STRING(skip_s3_checksum), true },
	{ "no role", "{}", { NULL }, STRING(has_assume_role), false },
	{ "role", "{\"assume_role\":{\"role_arn\":\"arn:x\"}}", { NULL }, STRING(has_assume_role), true },
	{ "web identity", "{\"assume_role_with_web_identity\":{\"role_arn\":\"arn:x\"}}", { NULL },
	  STRING(has_assume_role), true },
	{ "flat role", "{\"role_arn\":\"arn:x\"}", { NULL }, STRING(has_assume_role), true },
	{ "flat role, empty", "{\"role_arn\":\"\"}", { NULL }, STRING(has_assume_role), false },
	{ "no proxy", "{}", { "https_proxy=http://p" }, STRING(has_proxy), false },
	{ "http_proxy", "{\"http_proxy\":\"\"}", { NULL }, STRING(has_proxy), true },
	{ "https_proxy", "{\"https_proxy\":\"http://p\"}", { NULL }, STRING(has_proxy), true },
	{ "no_proxy", "{\"no_proxy\":\"*\"}", { NULL }, STRING(has_proxy), true },
	/* clang-format on */
};

START_TEST(bool_has_its_precedence)
{
	CLEANUP(backend_freep) struct backend *backend = NULL;
	char *env[ENV_MAX + 1];
	bool value;

	fill_env(env, bools[_i].env);
	backend = parse_s3(bools[_i].overrides, NULL, env);
	memcpy(&value, (const char *)backend + bools[_i].offset, sizeof(value));
	ck_assert_msg(value == bools[_i].expect, "%s: %d", bools[_i].name, value);
	drop_env(env);
}
END_TEST

START_TEST(capture_reads_as_it_was_meant)
{
	CLEANUP(backend_freep) struct backend *backend = NULL;
	AUTO_FREE char *error = NULL;

	ck_assert_int_eq(parse_text(&backend, capture, NULL, env_none, true, &error), 0);
	ck_assert_int_eq(backend->kind, BACKEND_S3);
	ck_assert_str_eq(backend->type, "s3");
	ck_assert_str_eq(backend->terraform_version, "1.11.4");
	ck_assert_str_eq(backend->bucket, "tfbucket");
	ck_assert_str_eq(backend->key, "app/terraform.tfstate");
	ck_assert_str_eq(backend->identity,
			 "s3|http://127.0.0.1:18080|us-east-1|tfbucket|app/terraform.tfstate");
	ck_assert_str_eq(backend->name, "s3://tfbucket/app/terraform.tfstate");
	ck_assert(backend->use_lockfile && backend->path_style && !backend->encrypt);
}
END_TEST

START_TEST(full_config_reads_as_it_was_meant)
{
	CLEANUP(backend_freep) struct backend *backend = parse_s3(full_config, "w1", env_none);

	ck_assert_str_eq(backend->identity,
			 "s3|http://s3.test:1|us-east-1|tfbucket|ws/w1/app/terraform.tfstate");
	ck_assert_str_eq(backend->endpoint_dynamodb, "http://ddb.test:2");
	ck_assert_str_eq(backend->dynamodb_table, "locks");
	ck_assert_str_eq(backend->access_key, ACCESS_KEY);
	ck_assert_str_eq(backend->sse_customer_key, CUSTOMER_KEY);
	ck_assert_str_eq(backend->ca_bundle, "/path/srv.pem");
	ck_assert_str_eq(backend->profile, "prod");
	ck_assert_str_eq(backend->credentials_json, full_credentials);
	ck_assert(!backend->use_lockfile && backend->path_style && backend->insecure);
	ck_assert(backend->has_assume_role && backend->has_proxy && backend->skip_s3_checksum);
	check_no_secret("identity", backend->identity);
	check_no_secret("name", backend->name);
}
END_TEST

START_TEST(opentofu_file_reads_as_it_was_meant)
{
	CLEANUP(backend_freep) struct backend *backend = NULL;
	AUTO_FREE char *error = NULL;

	ck_assert_int_eq(parse_text(&backend, tofu_file, NULL, env_none, true, &error), 0);
	ck_assert_str_eq(backend->identity, "s3|aws|eu-west-1|b|k");
	ck_assert_str_eq(backend->terraform_version, "1.11.6");
	ck_assert(backend->has_assume_role);
	ck_assert_str_eq(backend->credentials_json,
			 "{\"assume_role\":{\"role_arn\":\"arn:aws:iam::1:role/x\"}}");
}
END_TEST

/* --- S3: what the profile says of endpoints ------------------------------------------------- */

#define PROFILE "{\"s3\":\"http://p/\",\"dynamodb\":\"http://q\"}"

static const struct {
	const char *name;
	const char *config; /* of the block, behind the key */
	const char *profile;
	const char *env[ENV_MAX];
	const char *s3, *dynamodb; /* NULL: not set */
	int error;
} profiles[] = {
	/* clang-format off */
	{ "nothing", "", NULL, { NULL }, NULL, NULL, 0 },
	{ "both", "", PROFILE, { NULL }, "http://p/", "http://q", 0 },
	{ "one", "", "{\"dynamodb\":\"http://q\"}", { NULL }, NULL, "http://q", 0 },
	{ "the block wins", ",\"endpoints\":{\"s3\":\"http://a\"}", PROFILE, { NULL }, "http://a", "http://q", 0 },
	{ "the block's older one wins", ",\"dynamodb_endpoint\":\"http://b\"", PROFILE, { NULL }, "http://p/", "http://b", 0 },
	{ "a variable wins", "", PROFILE, { "AWS_ENDPOINT_URL_S3=http://c" }, "http://c", "http://q", 0 },
	{ "AWS_ENDPOINT_URL wins", "", PROFILE, { "AWS_ENDPOINT_URL=http://e" }, "http://e", "http://e", 0 },
	{ "ignored", "", PROFILE, { "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true" }, NULL, NULL, 0 },
	{ "ignored by the profile", "", "{\"ignore\":true}", { "AWS_ENDPOINT_URL=http://e" }, NULL, NULL, 0 },
	{ "the variable before the profile's", "", "{\"ignore\":true}",
	  { "AWS_ENDPOINT_URL=http://e", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=false" }, "http://e", "http://e", 0 },
	{ "no URL", "", "{\"s3\":\"p\"}", { NULL }, NULL, NULL, -EINVAL },
	{ "a password in it", "", "{\"dynamodb\":\"http://u:p@q\"}", { NULL }, NULL, NULL, -EINVAL },
	{ "no JSON", "", "{", { NULL }, NULL, NULL, -EBADMSG },
	{ "no object", "", "[]", { NULL }, NULL, NULL, -EBADMSG },
	{ "of another type", "", "{\"s3\":7,\"ignore\":\"true\"}", { NULL }, NULL, NULL, 0 },
	/* clang-format on */
};

START_TEST(endpoints_of_the_profile_come_last)
{
	CLEANUP(backend_freep) struct backend *backend = NULL;
	AUTO_FREE char *profile = profiles[_i].profile ? strdup(profiles[_i].profile) : NULL;
	AUTO_FREE char *error = NULL, *file = NULL, *identity = NULL;
	char directory[] = "/srv/app", workspace[] = "default";
	struct backend_source source = { .directory = directory, .workspace = workspace };
	char *env[ENV_MAX + 1];
	int r;

	fill_env(env, profiles[_i].env);
	ck_assert_int_gt(asprintf(&file,
				  "{\"version\":3,\"backend\":{\"type\":\"s3\",\"config\":"
				  "{\"bucket\":\"b\",\"region\":\"r\",\"key\":\"k\"%s}}}",
				  profiles[_i].config),
			 0);
	source.file = file;
	source.profile_endpoints = profile;
	r = backend_parse(&backend, &source, env, false, &error);
	ck_assert_msg(r == profiles[_i].error, "%s: %d %s", profiles[_i].name, r, error);
	drop_env(env);
	if (r < 0)
		return;
	ck_assert_pstr_eq(backend->endpoint_s3, profiles[_i].s3);
	ck_assert_pstr_eq(backend->endpoint_dynamodb, profiles[_i].dynamodb);
	ck_assert_int_gt(asprintf(&identity, "s3|%.8s|r|b|k", profiles[_i].s3 ?: "aws"), 0);
	ck_assert_str_eq(backend->identity, identity);
}
END_TEST

/* The file that all are made of has it. */
#define NO_CHECK "{\"skip_metadata_api_check\":null,"

static const struct {
	const char *name;
	const char *overrides;
	const char *says; /* NULL: nothing */
} credentials[] = {
	/* clang-format off */
	{ "nothing", NO_CHECK "\"x\":1}", NULL },
	{ "empty is nothing", NO_CHECK "\"profile\":\"\",\"access_key\":\"\",\"assume_role\":null}", NULL },
	{ "metadata", "{\"skip_metadata_api_check\":false,\"ec2_metadata_service_endpoint\":\"http://m\","
	  "\"ec2_metadata_service_endpoint_mode\":\"IPv6\"}",
	  "{\"ec2_metadata_service_endpoint\":\"http://m\",\"ec2_metadata_service_endpoint_mode\":\"IPv6\","
	  "\"skip_metadata_api_check\":false}" },
	{ "endpoints", NO_CHECK "\"endpoints\":{\"sts\":\"http://s\",\"sso\":\"http://o\"},\"sts_endpoint\":\"http://old\","
	  "\"sts_region\":\"r\"}",
	  "{\"endpoint_sso\":\"http://o\",\"endpoint_sts\":\"http://s\",\"sts_region\":\"r\"}" },
	{ "older endpoint", NO_CHECK "\"sts_endpoint\":\"http://old\"}", "{\"endpoint_sts\":\"http://old\"}" },
	{ "files", NO_CHECK "\"shared_config_files\":[\"a\",\"b\"],\"shared_credentials_files\":[\"c\"],"
	  "\"shared_credentials_file\":\"d\"}",
	  "{\"shared_config_files\":[\"a\",\"b\"],\"shared_credentials_files\":[\"c\"]}" },
	{ "older file", NO_CHECK "\"shared_credentials_file\":\"d\"}", "{\"shared_credentials_files\":[\"d\"]}" },
	{ "flat role", NO_CHECK "\"role_arn\":\"r\",\"session_name\":\"s\",\"assume_role_duration_seconds\":900,"
	  "\"assume_role_policy_arns\":[\"p\"],\"assume_role_tags\":{\"a\":\"b\"}}",
	  "{\"assume_role\":{\"duration\":\"900s\",\"policy_arns\":[\"p\"],\"role_arn\":\"r\","
	  "\"session_name\":\"s\",\"tags\":{\"a\":\"b\"}}}" },
	{ "a role before a flat one", NO_CHECK "\"role_arn\":\"r\",\"assume_role\":{\"role_arn\":\"n\"}}",
	  "{\"assume_role\":{\"role_arn\":\"n\"}}" },
	/* clang-format on */
};

START_TEST(what_credentials_need_is_kept)
{
	CLEANUP(backend_freep) struct backend *backend = NULL;

	backend = parse_s3(credentials[_i].overrides, NULL, env_none);
	ck_assert_pstr_eq(backend->credentials_json, credentials[_i].says);
}
END_TEST

/* --- S3: what is refused ---------------------------------------------------------------- */

static const struct {
	const char *name;
	const char *overrides;
	const char *env[ENV_MAX];
	int error;
	const char *says;
} refused[] = {
	/* clang-format off */
	{ "no lock", "{\"use_lockfile\":null}", { NULL }, -ENOLCK, "use_lockfile = true" },
	{ "no lock: the other line", "{\"use_lockfile\":false,\"dynamodb_table\":\"\"}", { NULL }, -ENOLCK,
	  "dynamodb_table = \"...\"" },
	{ "no lock: what to run", "{\"use_lockfile\":null}", { NULL }, -ENOLCK, "terraform init -reconfigure" },
	{ "no region", "{\"region\":null}", { "AWS_REGION=" }, -EINVAL, "AWS_REGION" },
	{ "odd region", "{\"region\":\"x/y\"}", { NULL }, -EINVAL, "region" },
	{ "odd region in the environment", "{\"region\":null}", { "AWS_REGION=a|b" }, -EINVAL, "region" },
	{ "no bucket", "{\"bucket\":null}", { NULL }, -EINVAL, "bucket" },
	{ "empty bucket", "{\"bucket\":\"\"}", { NULL }, -EINVAL, "bucket" },
	{ "directory bucket", "{\"bucket\":\"b--use1-az4--x-s3\"}", { NULL }, -EINVAL, "directory bucket" },
	{ "access point", "{\"bucket\":\"arn:aws:s3:us-east-1:1:accesspoint/a\"}", { NULL }, -EINVAL, "access point" },
	{ "access point's alias", "{\"bucket\":\"a-b1c2-s3alias\"}", { NULL }, -EINVAL, "access point" },
	{ "bucket with a path", "{\"bucket\":\"a/b\"}", { NULL }, -EINVAL, "bucket" },
	{ "no key", "{\"key\":null}", { NULL }, -EINVAL, "key" },
	{ "empty key", "{\"key\":\"\"}", { NULL }, -EINVAL, "key" },
	{ "key with a slash in front", "{\"key\":\"/a\"}", { NULL }, -EINVAL, "key" },
	{ "key with a slash behind", "{\"key\":\"a/\"}", { NULL }, -EINVAL, "key" },
	{ "key with two slashes", "{\"key\":\"a//b\"}", { NULL }, -EINVAL, "key" },
	{ "key with an escape", "{\"key\":\"a\\u001b[2J\"}", { NULL }, -EINVAL, "control character" },
	{ "prefix with a slash in front", "{\"workspace_key_prefix\":\"/a\"}", { NULL }, -EINVAL, "workspace_key_prefix" },
	{ "prefix with a slash behind", "{\"workspace_key_prefix\":\"a/\"}", { NULL }, -EINVAL, "workspace_key_prefix" },
	{ "empty endpoint", "{\"endpoints\":{\"s3\":\"\"}}", { "AWS_ENDPOINT_URL_S3=http://c" }, -EINVAL, "s3 endpoint" },
	{ "empty old endpoint", "{\"endpoints\":null,\"endpoint\":\"\"}", { "AWS_ENDPOINT_URL_S3=http://c" }, -EINVAL,
	  "s3 endpoint" },
	{ "endpoint without scheme", "{\"endpoints\":null}", { "AWS_ENDPOINT_URL_S3=localhost:9" }, -EINVAL, "s3 endpoint" },
	{ "endpoint without host", "{\"endpoints\":{\"s3\":\"http:///x\"}}", { NULL }, -EINVAL, "s3 endpoint" },
	{ "endpoint with a password", "{\"endpoints\":{\"s3\":\"http://u:hunter2@h\"}}", { NULL }, -EINVAL, "s3 endpoint" },
	{ "endpoint with a query", "{\"endpoints\":{\"s3\":\"http://h?hunter2\"}}", { NULL }, -EINVAL, "s3 endpoint" },
	{ "endpoint of DynamoDB", "{\"endpoints\":{\"dynamodb\":\"x\"}}", { NULL }, -EINVAL, "dynamodb endpoint" },
	{ "kms and SSE-C", "{\"kms_key_id\":\"a\",\"sse_customer_key\":\"" CUSTOMER_KEY "\"}", { NULL }, -EINVAL,
	  "kms_key_id" },
	{ "kms and the variable", "{\"kms_key_id\":\"\"}", { "AWS_SSE_CUSTOMER_KEY=" CUSTOMER_KEY }, -EINVAL, "kms_key_id" },
	{ "empty SSE-C", "{\"sse_customer_key\":\"\"}", { NULL }, -EINVAL, "44 characters" },
	{ "short SSE-C", "{\"sse_customer_key\":\"SECRET\"}", { NULL }, -EINVAL, "44 characters" },
	{ "short SSE-C in the environment", "{}", { "AWS_SSE_CUSTOMER_KEY=SECRET" }, -EINVAL, "44 characters" },
	{ "SSE-C not base64", "{\"sse_customer_key\":\"!SECRET!SECRET!SECRET!SECRET!SECRET!SECRET!=\"}", { NULL }, -EINVAL,
	  "base64" },

	{ "bucket is a number", "{\"bucket\":7}", { NULL }, -EBADMSG, "\"bucket\"" },
	{ "key is a list", "{\"key\":[\"a\"]}", { NULL }, -EBADMSG, "\"key\"" },
	{ "region is true", "{\"region\":true}", { NULL }, -EBADMSG, "\"region\"" },
	{ "acl is an object", "{\"acl\":{}}", { NULL }, -EBADMSG, "\"acl\"" },
	{ "profile is a number", "{\"profile\":1}", { NULL }, -EBADMSG, "\"profile\"" },
	{ "secret_key is a list", "{\"secret_key\":[\"" SECRET_KEY "\"]}", { NULL }, -EBADMSG, "\"secret_key\"" },
	{ "access_key is a list", "{\"access_key\":[\"" ACCESS_KEY "\"]}", { NULL }, -EBADMSG, "\"access_key\"" },
	{ "token is a list", "{\"token\":[\"" TOKEN "\"]}", { NULL }, -EBADMSG, "\"token\"" },
	{ "table is a number", "{\"dynamodb_table\":1}", { NULL }, -EBADMSG, "\"dynamodb_table\"" },
	{ "ca bundle is a number", "{\"custom_ca_bundle\":1}", { NULL }, -EBADMSG, "\"custom_ca_bundle\"" },
	{ "kms is a number", "{\"kms_key_id\":1}", { NULL }, -EBADMSG, "\"kms_key_id\"" },
	{ "SSE-C is a number", "{\"sse_customer_key\":1}", { NULL }, -EBADMSG, "\"sse_customer_key\"" },
	{ "prefix is a number", "{\"workspace_key_prefix\":1}", { NULL }, -EBADMSG, "\"workspace_key_prefix\"" },
	{ "lockfile is a string", "{\"use_lockfile\":\"true\"}", { NULL }, -EBADMSG, "\"use_lockfile\"" },
	{ "old path style is a number", "{\"use_path_style\":null,\"force_path_style\":1}", { NULL }, -EBADMSG,
	  "\"force_path_style\"" },
	{ "endpoints is a string", "{\"endpoints\":\"http://a\"}", { NULL }, -EBADMSG, "\"endpoints\"" },
	{ "endpoints.s3 is a number", "{\"endpoints\":{\"s3\":1}}", { NULL }, -EBADMSG, "\"s3\"" },
	{ "endpoint is a number", "{\"endpoints\":null,\"endpoint\":1}", { NULL }, -EBADMSG, "\"endpoint\"" },
	{ "role is a string", "{\"assume_role\":\"SECRET\"}", { NULL }, -EBADMSG, "\"assume_role\"" },
	{ "flat role is a list", "{\"role_arn\":[]}", { NULL }, -EBADMSG, "\"role_arn\"" },
	{ "proxy is false", "{\"http_proxy\":false}", { NULL }, -EBADMSG, "\"http_proxy\"" },
	/* clang-format on */
};

START_TEST(bad_value_is_refused)
{
	CLEANUP(backend_freep) struct backend *backend = NULL;
	AUTO_FREE char *file = make_file(refused[_i].overrides);
	AUTO_FREE char *error = NULL;
	char *env[ENV_MAX + 1];
	int r;

	fill_env(env, refused[_i].env);
	r = parse_text(&backend, file, NULL, env, true, &error);
	ck_assert_msg(r == refused[_i].error, "%s: %d %s", refused[_i].name, r, error);
	ck_assert_ptr_null(backend);
	ck_assert_msg(error && strstr(error, refused[_i].says), "%s: %s", refused[_i].name, error);
	ck_assert_msg(strstr(error, "/srv/app"), "%s: no path: %s", refused[_i].name, error);
	check_no_secret(refused[_i].name, error);
	drop_env(env);
}
END_TEST

START_TEST(no_lock_is_fine_if_none_is_required)
{
	CLEANUP(backend_freep) struct backend *backend = NULL;
	AUTO_FREE char *file = make_file("{\"use_lockfile\":null}");
	AUTO_FREE char *error = NULL;

	ck_assert_int_eq(parse_text(&backend, file, NULL, env_none, false, &error), 0);
	ck_assert(!backend->use_lockfile && !backend->dynamodb_table);
}
END_TEST

/* The daemon gets a source from its peers. */
START_TEST(bad_workspace_is_refused)
{
	static const char *const names[] = { "", "..", "a/b", "a\nb", "\x1b[2J" };

	for (int i = 0; i < COUNT(names); i++) {
		struct backend *backend = NULL;
		AUTO_FREE char *error = NULL;

		ck_assert_int_eq(parse_text(&backend, capture, names[i], env_none, true, &error),
				 -EINVAL);
		ck_assert_ptr_nonnull(strstr(error, "workspace"));
	}
}
END_TEST

START_TEST(key_has_room_for_the_lock)
{
	CLEANUP(backend_freep) struct backend *backend = NULL;
	AUTO_FREE char *error = NULL;
	char overrides[1100];
	char *file;

	snprintf(overrides, sizeof(overrides), "{\"key\":\"%0*d\"}", 1024 - 7, 1);
	backend = parse_s3(overrides, NULL, env_none);
	ck_assert_uint_eq(strlen(backend->key), 1017);

	snprintf(overrides, sizeof(overrides), "{\"key\":\"%0*d\"}", 1024 - 6, 1);
	file = make_file(overrides);
	backend = backend_free(backend);
	ck_assert_int_eq(parse_text(&backend, file, NULL, env_none, true, &error), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "longer"));
	free(file);
}
END_TEST

/* --- the file itself -------------------------------------------------------------------- */

static const struct {
	const char *name;
	const char *file;
	int error;
	const char *says; /* of the error; else the type */
} files[] = {
	/* clang-format off */
	{ "empty", "", -EBADMSG, "not JSON" },
	{ "blank", " \n", -EBADMSG, "not JSON" },
	{ "not JSON, with a secret", "{\"a\":\"SECRET", -EBADMSG, "not JSON" },
	{ "a list", "[]", -EBADMSG, "not an object" },
	{ "null", "null", -EBADMSG, "not JSON" },
	{ "no version", "{}", -EBADMSG, "no version" },
	{ "version in words", "{\"version\":\"3\"}", -EBADMSG, "no version" },
	{ "version 4", "{\"version\":4}", -EBADMSG, "version is not 3" },
	{ "version 2", "{\"version\":2}", -EBADMSG, "version is not 3" },
	{ "something behind", "{\"version\":3} x", -EBADMSG, "not JSON" },
	{ "NUL in a string", "{\"version\":3,\"backend\":{\"type\":\"s3\\u0000\"}}", -EBADMSG, "not JSON" },
	{ "backend is a string", "{\"version\":3,\"backend\":\"SECRET\"}", -EBADMSG, "not an object" },
	{ "type is a number", "{\"version\":3,\"backend\":{\"type\":1}}", -EBADMSG, "\"type\"" },
	{ "type is no name", "{\"version\":3,\"backend\":{\"type\":\"a|b\",\"config\":{}}}", -EBADMSG, "no name" },
	{ "type is too long", "{\"version\":3,\"backend\":{\"type\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}}", -EBADMSG,
	  "no name" },
	{ "config is a list", "{\"version\":3,\"backend\":{\"type\":\"s3\",\"config\":[]}}", -EBADMSG, "not an object" },
	{ "S3 without config", "{\"version\":3,\"backend\":{\"type\":\"s3\"}}", -EBADMSG, "no \"config\"" },
	{ "S3 with null config", "{\"version\":3,\"backend\":{\"type\":\"s3\",\"config\":null}}", -EBADMSG, "no \"config\"" },
	{ "terraform_version is a number", "{\"version\":3,\"terraform_version\":1}", -EBADMSG, "terraform_version" },
	{ "no file", NULL, 0, "local" },
	{ "no backend", "{\"version\":3,\"terraform_version\":\"1.5.0\"}", 0, "local" },
	{ "null backend", "{\"version\":3,\"backend\":null}", 0, "local" },
	{ "empty type", "{\"version\":3,\"backend\":{\"type\":\"\"}}", 0, "local" },
	{ "the last of two equal members counts",
	  "{\"version\":2,\"version\":3,\"backend\":null,\"backend\":{\"type\":\"gcs\",\"config\":{}}}", 0, "gcs" },
	{ "cloud", "{\"version\":3,\"backend\":{\"type\":\"cloud\",\"config\":{}}}", 0, "cloud" },
	{ "state_store", "{\"version\":3,\"state_store\":{\"type\":\"x\",\"config\":{\"a\":1}}}", 0, "state_store" },
	{ "large hash", "{\"version\":3,\"backend\":{\"type\":\"gcs\",\"config\":{},\"hash\":18446744073709551615}}", 0, "gcs" },
	/* clang-format on */
};

START_TEST(file_is_judged)
{
	CLEANUP(backend_freep) struct backend *backend = NULL;
	AUTO_FREE char *error = NULL;
	int r;

	r = parse_text(&backend, files[_i].file, NULL, env_none, true, &error);
	ck_assert_msg(r == files[_i].error, "%s: %d %s", files[_i].name, r, error);
	if (r == 0) {
		ck_assert_msg(strcmp(backend->type, files[_i].says) == 0, "%s: %s", files[_i].name,
			      backend->type);
		return;
	}
	ck_assert_msg(strstr(error, files[_i].says), "%s: %s", files[_i].name, error);
	ck_assert_msg(strstr(error, "/srv/app") && strstr(error, "terraform init"), "%s: %s",
		      files[_i].name, error);
	check_no_secret(files[_i].name, error);
}
END_TEST

START_TEST(every_prefix_of_a_file_is_refused)
{
	AUTO_FREE char *full = make_file(full_config);

	for (size_t len = 0; len < strlen(full); len++) {
		AUTO_FREE char *file = strndup(full, len);
		AUTO_FREE char *error = NULL;
		struct backend *backend = NULL;

		ck_assert_int_eq(parse_text(&backend, file, NULL, env_none, true, &error),
				 -EBADMSG);
		ck_assert_ptr_nonnull(error);
		check_no_secret("prefix", error);
	}
}
END_TEST

START_TEST(every_broken_byte_is_survived)
{
	AUTO_FREE char *full = make_file(full_config);

	for (size_t i = 0; i < strlen(full); i++) {
		static const char bytes[] = "\x01\"{}[],:0x\xff";

		for (size_t j = 0; bytes[j]; j++) {
			CLEANUP(backend_freep) struct backend *backend = NULL;
			AUTO_FREE char *error = NULL;
			const char kept = full[i];
			int r;

			full[i] = bytes[j];
			r = parse_text(&backend, full, "w1", env_none, true, &error);
			full[i] = kept;
			ck_assert(r <= 0 && (r == 0) == (backend != NULL) &&
				  (r == 0) == (error == NULL));
		}
	}
}
END_TEST

/* --- identities --------------------------------------------------------------------------- */

static const struct {
	const char *name;
	const char *endpoint;
	const char *expect;
} endpoints[] = {
	/* clang-format off */
	{ "case",          "HTTP://Host.Test:9000/Path", "http://host.test:9000/Path" },
	{ "slash",         "http://h:1/",                "http://h:1" },
	{ "slashes",       "http://h:1//",               "http://h:1" },
	{ "path",          "http://h/a/b/",              "http://h/a/b" },
	{ "https' port",   "https://h:443",              "https://h" },
	{ "http's port",   "http://h:80/x",              "http://h/x" },
	{ "other port",    "https://h:80",               "https://h:80" },
	{ "longer port",   "https://h:4433",             "https://h:4433" },
	{ "IPv6",          "http://[::1]:9000",          "http://[::1]:9000" },
	{ "IPv6, no port", "http://[fe80::80]",          "http://[fe80::80]" },
	{ "AWS",           "https://s3.us-east-1.amazonaws.com/", "aws" },
	{ "AWS, port",     "https://s3.amazonaws.com:443", "aws" },
	{ "AWS FIPS",      "https://s3-fips.us-east-1.amazonaws.com", "aws" },
	{ "AWS China",     "https://s3.cn-north-1.amazonaws.com.cn", "aws" },
	{ "AWS dualstack", "https://s3.dualstack.us-east-1.api.aws", "aws" },
	{ "not AWS",       "https://s3.amazonaws.com.evil.test", "https://s3.amazonaws.com.evil.test" },
	/* clang-format on */
};

START_TEST(endpoint_has_one_spelling)
{
	CLEANUP(backend_freep) struct backend *backend = NULL;
	char overrides[200];
	char expect[200];

	snprintf(overrides, sizeof(overrides), "{\"endpoints\":{\"s3\":\"%s\"}}",
		 endpoints[_i].endpoint);
	snprintf(expect, sizeof(expect), "s3|%s|us-east-1|tfbucket|app/terraform.tfstate",
		 endpoints[_i].expect);
	backend = parse_s3(overrides, NULL, env_none);
	ck_assert_msg(strcmp(backend->identity, expect) == 0, "%s: %s", endpoints[_i].name,
		      backend->identity);
	ck_assert_str_eq(backend->endpoint_s3, endpoints[_i].endpoint);
}
END_TEST

static const struct {
	const char *name;
	const char *file; /* what follows "backend": */
	const char *workspace;
	const char *expect;
} locals[] = {
	/* clang-format off */
	{ "default", "null", "default", "/srv/app/terraform.tfstate" },
	{ "workspace", "null", "w1", "/srv/app/terraform.tfstate.d/w1/terraform.tfstate" },
	{ "path", "{\"type\":\"local\",\"config\":{\"path\":\"../x/./t.tfstate\",\"workspace_dir\":null}}", "default",
	  "/srv/x/t.tfstate" },
	{ "absolute path", "{\"type\":\"local\",\"config\":{\"path\":\"/var//t\",\"workspace_dir\":null}}", "default",
	  "/var/t" },
	{ "path is the default's", "{\"type\":\"local\",\"config\":{\"path\":\"/var/t\",\"workspace_dir\":null}}", "w1",
	  "/srv/app/terraform.tfstate.d/w1/terraform.tfstate" },
	{ "workspace_dir", "{\"type\":\"local\",\"config\":{\"path\":null,\"workspace_dir\":\"ws/\"}}", "w1",
	  "/srv/app/ws/w1/terraform.tfstate" },
	{ "absolute workspace_dir", "{\"type\":\"local\",\"config\":{\"workspace_dir\":\"/ws\"}}", "w1",
	  "/ws/w1/terraform.tfstate" },
	{ "no config", "{\"type\":\"local\",\"config\":null}", "default", "/srv/app/terraform.tfstate" },
	/* clang-format on */
};

START_TEST(local_state_is_its_path)
{
	CLEANUP(backend_freep) struct backend *backend = NULL;
	AUTO_FREE char *error = NULL;
	char file[300];

	snprintf(file, sizeof(file), "{\"version\":3,\"backend\":%s}", locals[_i].file);
	ck_assert_int_eq(parse_text(&backend, file, locals[_i].workspace, env_none, true, &error),
			 0);
	ck_assert_int_eq(backend->kind, BACKEND_LOCAL);
	ck_assert_msg(strcmp(backend->identity + strlen("local|"), locals[_i].expect) == 0,
		      "%s: %s", locals[_i].name, backend->identity);
	ck_assert_str_eq(backend->name + strlen("local:"), locals[_i].expect);
}
END_TEST

START_TEST(bad_local_path_is_refused)
{
	static const char *const configs[] = { "{\"path\":\"\"}", "{\"workspace_dir\":\"\"}",
					       "{\"path\":1}", "{\"workspace_dir\":[]}" };

	for (int i = 0; i < COUNT(configs); i++) {
		AUTO_FREE char *error = NULL;
		struct backend *backend = NULL;
		char file[200];

		snprintf(file, sizeof(file),
			 "{\"version\":3,\"backend\":{\"type\":\"local\",\"config\":%s}}",
			 configs[i]);
		ck_assert_int_eq(parse_text(&backend, file, NULL, env_none, true, &error),
				 i < 2 ? -EINVAL : -EBADMSG);
		ck_assert_ptr_nonnull(error);
	}
}
END_TEST

/* Two configs of one type, and whether they are the same state. */
static const struct {
	const char *name;
	const char *type;
	const char *a;
	const char *b;
	const char *env_a;
	const char *env_b;
	bool same;
} pairs[] = {
	/* clang-format off */
	{ "gcs: order and null", "gcs", "{\"bucket\":\"b\",\"prefix\":\"p\"}",
	  "{\"prefix\":\"p\",\"bucket\":\"b\",\"credentials\":null}", NULL, NULL, true },
	{ "gcs: credentials", "gcs", "{\"bucket\":\"b\",\"credentials\":\"SECRET\"}", "{\"bucket\":\"b\"}", NULL, NULL, true },
	{ "gcs: prefix", "gcs", "{\"bucket\":\"b\",\"prefix\":\"p\"}", "{\"bucket\":\"b\",\"prefix\":\"q\"}", NULL, NULL, false },
	{ "azurerm: key", "azurerm", "{\"key\":\"a\"}", "{\"key\":\"b\"}", NULL, NULL, false },
	{ "azurerm: access key", "azurerm", "{\"key\":\"a\",\"access_key\":\"SECRET\"}", "{\"key\":\"a\"}", NULL, NULL, true },
	{ "http: retries", "http", "{\"address\":\"https://h/s\",\"retry_max\":2}", "{\"address\":\"https://h/s\"}",
	  NULL, NULL, true },
	{ "http: user and password", "http", "{\"address\":\"https://u:hunter2@h/s\"}", "{\"address\":\"https://h/s\"}",
	  NULL, NULL, true },
	{ "http: address", "http", "{\"address\":\"https://h/s\"}", "{\"address\":\"https://h/t\"}", NULL, NULL, false },
	{ "http: variable", "http", "{\"address\":null}", "{\"address\":null}", "TF_HTTP_ADDRESS=https://h/s",
	  "TF_HTTP_ADDRESS=https://h/t", false },
	{ "http: attribute wins", "http", "{\"address\":\"https://h/s\"}", "{\"address\":\"https://h/s\"}",
	  "TF_HTTP_ADDRESS=https://h/s", "TF_HTTP_ADDRESS=https://h/t", true },
	{ "pg: password in a URL", "pg", "{\"conn_str\":\"postgres://u:hunter2@h/db\"}", "{\"conn_str\":\"postgres://h/db\"}",
	  NULL, NULL, true },
	{ "pg: password with an @", "pg", "{\"conn_str\":\"postgres://u:x@hunter2@h/db\"}", "{\"conn_str\":\"postgres://h/db\"}",
	  NULL, NULL, true },
	{ "pg: password in words", "pg", "{\"conn_str\":\"host=h password='hun\\\\'ter2' dbname=d\"}",
	  "{\"conn_str\":\"host=h PASSWORD=x dbname=d\"}", NULL, NULL, true },
	{ "pg: password at the end", "pg", "{\"conn_str\":\"host=h password='hunter2\"}", "{\"conn_str\":\"host=h password=\"}",
	  NULL, NULL, true },
	{ "pg: database", "pg", "{\"conn_str\":\"postgres://h/a\"}", "{\"conn_str\":\"postgres://h/b\"}", NULL, NULL, false },
	{ "pg: PGHOST", "pg", "{}", "{}", "PGHOST=a", "PGHOST=b", false },
	{ "kubernetes: the suffix is no secret", "kubernetes", "{\"secret_suffix\":\"a\"}", "{\"secret_suffix\":\"b\"}",
	  NULL, NULL, false },
	{ "cloud: workspaces", "cloud", "{\"organization\":\"o\",\"workspaces\":{\"name\":\"a\",\"tags\":null}}",
	  "{\"organization\":\"o\",\"workspaces\":{\"name\":\"b\",\"tags\":null}}", NULL, NULL, false },
	{ "cloud: token", "cloud", "{\"organization\":\"o\",\"token\":\"SECRET\"}", "{\"organization\":\"o\"}", NULL, NULL, true },
	{ "cloud: null in an object", "cloud", "{\"workspaces\":{\"name\":\"a\",\"tags\":null}}",
	  "{\"workspaces\":{\"name\":\"a\"}}", NULL, NULL, true },
	{ "remote: organization", "remote", "{\"organization\":\"o\"}", "{\"organization\":\"p\"}", NULL, NULL, false },
	{ "unknown: all counts", "new", "{\"a\":{\"b\":[1,\"x\"]}}", "{\"a\":{\"b\":[1,\"y\"]}}", NULL, NULL, false },
	{ "unknown: but secrets", "new", "{\"a\":1,\"b\":{\"client_secret\":\"SECRET\"}}", "{\"a\":1,\"b\":{}}", NULL, NULL, true },
	{ "unknown: and nulls", "new", "{\"a\":1,\"b\":null}", "{\"a\":1}", NULL, NULL, true },
	/* clang-format on */
};

static char *identity_of(const char *type, const char *config, const char *env,
			 const char *workspace)
{
	CLEANUP(backend_freep) struct backend *backend = NULL;
	AUTO_FREE char *variable = env ? strdup(env) : NULL;
	AUTO_FREE char *error = NULL;
	char *vector[] = { variable, NULL };
	char file[500];
	char name[100];
	int r;

	snprintf(file, sizeof(file), "{\"version\":3,\"backend\":{\"type\":\"%s\",\"config\":%s}}",
		 type, config);
	r = parse_text(&backend, file, workspace, vector, true, &error);
	ck_assert_msg(r == 0, "%s %s: %d %s", type, config, r, error);
	ck_assert_int_eq(backend->kind, BACKEND_OTHER);
	ck_assert_uint_eq(strlen(backend->identity), strlen(type) + 1 + 64);
	snprintf(name, sizeof(name), "%s:%.16s", type, backend->identity + strlen(type) + 1);
	ck_assert_str_eq(backend->name, name);
	return TAKE_PTR(backend->identity);
}

START_TEST(other_states_are_told_apart)
{
	AUTO_FREE char *a = identity_of(pairs[_i].type, pairs[_i].a, pairs[_i].env_a, "default");
	AUTO_FREE char *b = identity_of(pairs[_i].type, pairs[_i].b, pairs[_i].env_b, "default");
	AUTO_FREE char *w1 = identity_of(pairs[_i].type, pairs[_i].a, pairs[_i].env_a, "w1");

	ck_assert_msg((strcmp(a, b) == 0) == pairs[_i].same, "%s: %s %s", pairs[_i].name, a, b);
	ck_assert_str_ne(a, w1);
}
END_TEST

START_TEST(variable_that_is_not_utf8_is_refused)
{
	CLEANUP(backend_freep) struct backend *backend = NULL;
	AUTO_FREE char *error = NULL;
	char variable[] = "TF_HTTP_ADDRESS=http://\xff";
	char *env[] = { variable, NULL };

	ck_assert_int_eq(parse_text(&backend,
				    "{\"version\":3,\"backend\":{\"type\":\"http\",\"config\":{}}}",
				    NULL, env, true, &error),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "TF_HTTP_ADDRESS"));
}
END_TEST

START_TEST(outline_tells_no_secret_and_is_shared)
{
	char identity[] = "s3 state prod.tfstate", name[] = "s3://state/prod.tfstate";
	char workspace[] = "default", bucket[] = "state", secret[] = "hush";
	const struct backend backend = {
		.kind = BACKEND_S3,
		.identity = identity,
		.name = name,
		.workspace = workspace,
		.bucket = bucket,
		.secret_key = secret,
		.use_lockfile = true,
	};
	struct backend *outline = NULL;

	ck_assert_int_eq(backend_outline(&outline, &backend), 0);
	ck_assert_int_eq(outline->kind, BACKEND_S3);
	ck_assert_str_eq(outline->identity, backend.identity);
	ck_assert_str_eq(outline->name, backend.name);
	ck_assert_str_eq(outline->workspace, backend.workspace);
	ck_assert_ptr_ne(outline->name, backend.name);
	ck_assert_ptr_null(outline->bucket);
	ck_assert_ptr_null(outline->secret_key);

	ck_assert_ptr_eq(backend_ref(outline), outline);
	ck_assert_ptr_eq(backend_ref(outline), outline);
	ck_assert_ptr_null(backend_free(outline));
	ck_assert_ptr_null(backend_free(outline));
	ck_assert_str_eq(outline->workspace, "default"); /* the first one's still */
	ck_assert_ptr_null(backend_free(outline));
}
END_TEST

START_TEST(free_takes_nothing)
{
	ck_assert_ptr_null(backend_free(NULL));
	ck_assert_ptr_null(backend_source_free(NULL));
}
END_TEST

static void add_tests(TCase *tcase)
{
	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, state_key_follows_the_workspace, 0, COUNT(keys));
	tcase_add_loop_test(tcase, paths_are_cleaned_as_go_does, 0, COUNT(paths));
	tcase_add_loop_test(tcase, string_has_its_precedence, 0, COUNT(strings));
	tcase_add_loop_test(tcase, bool_has_its_precedence, 0, COUNT(bools));
	tcase_add_test(tcase, capture_reads_as_it_was_meant);
	tcase_add_test(tcase, full_config_reads_as_it_was_meant);
	tcase_add_test(tcase, opentofu_file_reads_as_it_was_meant);
	tcase_add_loop_test(tcase, endpoints_of_the_profile_come_last, 0, COUNT(profiles));
	tcase_add_loop_test(tcase, what_credentials_need_is_kept, 0,
			    (int)(sizeof(credentials) / sizeof(credentials[0])));
	tcase_add_loop_test(tcase, bad_value_is_refused, 0, COUNT(refused));
	tcase_add_test(tcase, no_lock_is_fine_if_none_is_required);
	tcase_add_test(tcase, bad_workspace_is_refused);
	tcase_add_test(tcase, key_has_room_for_the_lock);
	tcase_add_loop_test(tcase, file_is_judged, 0, COUNT(files));
	tcase_add_test(tcase, every_prefix_of_a_file_is_refused);
	tcase_add_test(tcase, every_broken_byte_is_survived);
	tcase_add_loop_test(tcase, endpoint_has_one_spelling, 0, COUNT(endpoints));
	tcase_add_loop_test(tcase, local_state_is_its_path, 0, COUNT(locals));
	tcase_add_test(tcase, bad_local_path_is_refused);
	tcase_add_loop_test(tcase, other_states_are_told_apart, 0, COUNT(pairs));
	tcase_add_test(tcase, variable_that_is_not_utf8_is_refused);
	tcase_add_test(tcase, outline_tells_no_secret_and_is_shared);
	tcase_add_test(tcase, free_takes_nothing);
}

int main(void)
{
	return unit_main("backend", add_tests);
}
