/* SPDX-License-Identifier: MIT */
#include "common/aws/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/aws/sigv4.h"

#define DIGITS      "0123456789"
#define LOWER       "abcdefghijklmnopqrstuvwxyz"
#define UPPER       "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define LABEL_MIN   3 /* bytes of a bucket that can be a host label */
#define LABEL_MAX   63
#define BUCKET_MAX  255 /* bytes; the oldest buckets of us-east-1 may have that many */
#define PORT_DIGITS 5
#define PORT_MAX    65535

/* The first prefix that fits decides; what no prefix fits is aws. */
static const struct partition {
	const char *prefix; /* of the region */
	const char *suffix; /* of the host */
	const char *dual;   /* of services other than S3, with dual-stack */
	bool has_no_fips;
} partitions[] = {
	/* clang-format off */
	{ "cn-",      "amazonaws.com.cn", "api.amazonwebservices.com.cn", true },
	{ "us-gov-",  "amazonaws.com",    "api.aws",                      false },
	{ "us-iso-",  "c2s.ic.gov",       "api.aws.ic.gov",               false },
	{ "us-isob-", "sc2s.sgov.gov",    "api.aws.scloud",               false },
	{ "us-isof-", "csp.hci.ic.gov",   "api.aws.hci.ic.gov",           false },
	{ "eu-isoe-", "cloud.adc-e.uk",   "api.cloud-aws.adc-e.uk",       false },
	{ "eusc-",    "amazonaws.eu",     "api.amazonwebservices.eu",     false },
	{ "",         "amazonaws.com",    "api.aws",                      false },
	/* clang-format on */
};
#define PARTITION_COUNT (sizeof(partitions) / sizeof(partitions[0]))

struct span {
	const char *at;
	size_t len;
};

/* A custom endpoint, in the pieces of its URL. */
struct url {
	bool is_https;
	struct span host; /* with the brackets of an IPv6 address */
	bool is_ip;
	unsigned port;    /* 0: the scheme's own */
	struct span base; /* path without a slash at its end: "" or "/base" */
};

/* @sentence is for the user. It never quotes what was given: a URL may hold a password. */
static int refuse(char **ret_error, const char *sentence)
{
	char *copy = strdup(sentence);

	if (!copy)
		return -ENOMEM;

	*ret_error = copy;
	return -EINVAL;
}

static int __attribute__((format(printf, 2, 3))) format(char **ret, const char *fmt, ...)
{
	char *text;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -ENOMEM;

	*ret = text;
	return 0;
}

/* --- buckets and regions ------------------------------------------------------------- */

static bool has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool has_suffix(const char *text, const char *suffix)
{
	const size_t len = strlen(text);
	const size_t suffix_len = strlen(suffix);

	return len >= suffix_len && strcmp(text + len - suffix_len, suffix) == 0;
}

static bool has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	return false;
}

static bool is_region(const char *region)
{
	return *region && region[strspn(region, LOWER DIGITS "-")] == '\0';
}

static int check_region(const char *region, char **ret_error)
{
	if (region && is_region(region))
		return 0;
	return refuse(ret_error, "A region has only lower-case letters, digits and hyphens.");
}

/* Is it an address of @family (AF_INET, AF_INET6), without brackets? */
static bool is_address(int family, struct span text)
{
	char copy[INET6_ADDRSTRLEN];
	struct in6_addr address; /* room for both */

	if (text.len >= sizeof(copy))
		return false;
	memcpy(copy, text.at, text.len);
	copy[text.len] = '\0';
	return inet_pton(family, copy, &address) == 1;
}

static const struct partition *find_partition(const char *region)
{
	size_t i = 0;

	while (!has_prefix(region, partitions[i].prefix)) /* the last one fits all */
		i++;
	return &partitions[i];
}

/* Can @bucket go in front of a host? A certificate for *.host covers one label, so no dots. */
static bool is_host_label(const char *bucket, bool is_https)
{
	const size_t len = strlen(bucket);

	if (len < LABEL_MIN || len > LABEL_MAX)
		return false;
	if (bucket[strspn(bucket, is_https ? LOWER DIGITS "-" : LOWER DIGITS "-.")] != '\0')
		return false;
	return bucket[0] != '.' && bucket[len - 1] != '.' && !strstr(bucket, "..") &&
	       !is_address(AF_INET, (struct span){ bucket, len });
}

static int check_bucket(const char *bucket, char **ret_error)
{
	if (has_prefix(bucket, "arn:"))
		return refuse(ret_error, "An access point cannot be used as the bucket; "
					 "give the bucket's own name.");
	if (has_suffix(bucket, "--x-s3") || has_suffix(bucket, "--xa-s3"))
		return refuse(ret_error, "Directory buckets (S3 Express One Zone) are not "
					 "supported; use a general purpose bucket.");
	if (!*bucket || strlen(bucket) > BUCKET_MAX || strchr(bucket, '/') || has_control(bucket) ||
	    strcmp(bucket, ".") == 0 || strcmp(bucket, "..") == 0)
		return refuse(ret_error, "The bucket's name cannot be part of a URL.");
	return 0;
}

/* --- custom endpoints ---------------------------------------------------------------- */

/* "[::1]" or "host" at the start of @text. Return: its length, 0 if it is neither. */
static size_t parse_host(const char *text, bool *ret_is_ip)
{
	size_t len;

	if (*text == '[') {
		len = strcspn(text, "]");
		*ret_is_ip = is_address(AF_INET6, (struct span){ text + 1, len - 1 });
		return *ret_is_ip && text[len] == ']' ? len + 1 : 0;
	}

	len = strspn(text, LOWER UPPER DIGITS "-._");
	*ret_is_ip = is_address(AF_INET, (struct span){ text, len });
	return len;
}

/* ":port" or nothing at the start of @text. Return: its length, -EINVAL if it is neither. */
static int parse_port(const char *text, unsigned *ret_port)
{
	unsigned port = 0;
	size_t len;

	*ret_port = 0;
	if (*text != ':')
		return 0;

	len = strspn(text + 1, DIGITS);
	if (len < 1 || len > PORT_DIGITS)
		return -EINVAL;
	for (size_t i = 1; i <= len; i++)
		port = port * 10 + (unsigned)(text[i] - '0');
	if (port < 1 || port > PORT_MAX)
		return -EINVAL;

	*ret_port = port;
	return (int)len + 1;
}

static bool is_path(const char *text)
{
	if (*text && *text != '/')
		return false;
	for (; *text; text++)
		if (*text <= ' ' || *text >= 0x7f || strchr("?#\"<>\\^`{|}", *text))
			return false;
	return true;
}

static int parse_url(struct url *ret, const char *text, char **ret_error)
{
	struct url url = { 0 };
	int port_len;

	if (strncasecmp(text, "https://", 8) == 0) {
		url.is_https = true;
		text += 8;
	} else if (strncasecmp(text, "http://", 7) == 0) {
		text += 7;
	} else {
		return refuse(ret_error, "The endpoint must start with http:// or https://.");
	}
	if (text[strcspn(text, "?#")] || memchr(text, '@', strcspn(text, "/")))
		return refuse(ret_error, "The endpoint must not have a user name, a query or a "
					 "fragment.");

	url.host.at = text;
	url.host.len = parse_host(text, &url.is_ip);
	if (url.host.len == 0)
		return refuse(ret_error, "The endpoint has no valid host name.");
	text += url.host.len;

	port_len = parse_port(text, &url.port);
	if (port_len < 0)
		return refuse(ret_error, "The endpoint's port must be from 1 to 65535.");
	text += port_len;
	if (url.port == (url.is_https ? 443 : 80))
		url.port = 0;

	if (!is_path(text))
		return refuse(ret_error, "The endpoint has characters that a URL cannot have.");
	url.base.at = text;
	url.base.len = strlen(text);
	while (url.base.len > 0 && text[url.base.len - 1] == '/')
		url.base.len--;

	*ret = url;
	return 0;
}

/* --- endpoints ----------------------------------------------------------------------- */

struct endpoint *endpoint_free(struct endpoint *endpoint)
{
	if (!endpoint)
		return NULL;

	free(endpoint->path);
	free(endpoint->host);
	free(endpoint->origin);
	free(endpoint);
	return NULL;
}

/* Return: the bucket if it goes into the host, else NULL. */
static const char *find_bucket_in_host(const struct endpoint_s3 *s3, const struct url *url)
{
	if (s3->path_style || url->is_ip || !is_host_label(s3->bucket, url->is_https))
		return NULL;
	return s3->bucket;
}

static int make_custom_host(char **ret, const struct url *url, const char *bucket)
{
	char port[sizeof(":65535")] = "";

	if (url->port)
		(void)snprintf(port, sizeof(port), ":%hu", (unsigned short)url->port);
	return format(ret, "%s%s%.*s%s", bucket ? bucket : "", bucket ? "." : "",
		      (int)url->host.len, url->host.at, port);
}

static int make_aws_host(char **ret, const struct endpoint_s3 *s3, const char *bucket,
			 char **ret_error)
{
	const struct partition *partition = find_partition(s3->region);

	if (s3->use_fips && partition->has_no_fips)
		return refuse(ret_error, "There are no FIPS endpoints in this region.");
	return format(ret, "%s%s%s%s.%s.%s", bucket ? bucket : "", bucket ? "." : "",
		      s3->use_fips ? "s3-fips" : "s3", s3->use_dualstack ? ".dualstack" : "",
		      s3->region, partition->suffix);
}

/* @bucket is NULL where it is in the host. */
static int make_path(char **ret, struct span base, const char *bucket, const char *key)
{
	AUTO_FREE char *encoded_bucket = NULL;
	AUTO_FREE char *encoded_key = NULL;
	int r;

	r = sigv4_encode(&encoded_bucket, bucket ? bucket : "", false);
	if (r < 0)
		return r;
	r = sigv4_encode(&encoded_key, key, true);
	if (r < 0)
		return r;
	return format(ret, "%.*s%s%s/%s", (int)base.len, base.at, bucket ? "/" : "", encoded_bucket,
		      encoded_key);
}

/* @url is AWS's own if it has no host. */
static int make_endpoint(struct endpoint **ret, const struct endpoint_s3 *s3, const struct url *url,
			 const char *key, char **ret_error)
{
	CLEANUP(endpoint_freep) struct endpoint *endpoint = NULL;
	const char *in_host = find_bucket_in_host(s3, url);
	int r;

	endpoint = calloc(1, sizeof(*endpoint));
	if (!endpoint)
		return -ENOMEM;

	if (url->host.len > 0)
		r = make_custom_host(&endpoint->host, url, in_host);
	else
		r = make_aws_host(&endpoint->host, s3, in_host, ret_error);
	if (r < 0)
		return r;
	r = format(&endpoint->origin, "%s://%s", url->is_https ? "https" : "http", endpoint->host);
	if (r < 0)
		return r;
	r = make_path(&endpoint->path, url->base, in_host ? NULL : s3->bucket, key);
	if (r < 0)
		return r;

	*ret = TAKE_PTR(endpoint);
	return 0;
}

int endpoint_resolve_s3(struct endpoint **ret, const struct endpoint_s3 *s3, const char *key,
			char **ret_error)
{
	struct url url = { .is_https = true, .base = { "", 0 } };
	int r;

	r = check_region(s3->region, ret_error);
	if (r < 0)
		return r;
	r = check_bucket(s3->bucket, ret_error);
	if (r < 0)
		return r;
	if (s3->url) {
		r = parse_url(&url, s3->url, ret_error);
		if (r < 0)
			return r;
	}
	return make_endpoint(ret, s3, &url, key, ret_error);
}

static int make_service_host(char **ret, const struct endpoint_service *service, char **ret_error)
{
	const struct partition *partition = find_partition(service->region);
	/* The plain hosts of us-gov are FIPS hosts. */
	const bool is_fips = service->use_fips &&
			     (service->use_dualstack || strcmp(partition->prefix, "us-gov-") != 0);

	if (service->use_fips && partition->has_no_fips)
		return refuse(ret_error, "There are no FIPS endpoints in this region.");
	return format(ret, "%s%s.%s.%s", service->name, is_fips ? "-fips" : "", service->region,
		      service->use_dualstack ? partition->dual : partition->suffix);
}

int endpoint_resolve_service(struct endpoint **ret, const struct endpoint_service *service,
			     char **ret_error)
{
	CLEANUP(endpoint_freep) struct endpoint *endpoint = NULL;
	AUTO_FREE char *host = NULL;
	struct url url = { .is_https = true, .base = { "", 0 } };
	int r;

	r = check_region(service->region, ret_error);
	if (r >= 0 && service->url)
		r = parse_url(&url, service->url, ret_error);
	if (r < 0)
		return r;
	r = service->url ? make_custom_host(&host, &url, NULL)
			 : make_service_host(&host, service, ret_error);
	if (r < 0)
		return r;
	endpoint = calloc(1, sizeof(*endpoint));
	if (!endpoint ||
	    format(&endpoint->origin, "%s://%s", url.is_https ? "https" : "http", host) < 0 ||
	    format(&endpoint->path, "%.*s/", (int)url.base.len, url.base.at) < 0)
		return -ENOMEM;
	endpoint->host = TAKE_PTR(host);
	*ret = TAKE_PTR(endpoint);
	return 0;
}

/* --- AWS's own hosts ----------------------------------------------------------------- */

/* Take the last label off @host. Return: it, empty if @host is. */
static struct span cut_label(struct span *host)
{
	size_t start = host->len;
	struct span label;

	while (start > 0 && host->at[start - 1] != '.')
		start--;
	label = (struct span){ host->at + start, host->len - start };
	host->len = start > 0 ? start - 1 : 0;
	return label;
}

static bool is_label(struct span label, const char *text)
{
	return label.len == strlen(text) && strncasecmp(label.at, text, label.len) == 0;
}

/* Is it "[bucket.]s3[-fips][.dualstack].region" or "[bucket.]s3", before the suffix? */
static bool is_s3(struct span host)
{
	struct span label = cut_label(&host);

	if (is_label(label, "s3"))
		return true;
	if (is_label(label, "vpce")) /* the private address of a VPC has it after the region */
		(void)cut_label(&host);
	label = cut_label(&host);
	if (is_label(label, "dualstack"))
		label = cut_label(&host);
	return is_label(label, "s3") || is_label(label, "s3-fips");
}

/* Cut the partition's suffix off @host. Return: the partition, or NULL if it is none of AWS's. */
static const struct partition *cut_suffix(const char *host, struct span *ret)
{
	const size_t len = strlen(host);

	for (size_t i = 0; i < PARTITION_COUNT; i++) {
		const size_t suffix_len = strlen(partitions[i].suffix);
		size_t rest;

		if (len < suffix_len + 1)
			continue;
		rest = len - suffix_len - 1;
		if (host[rest] == '.' && strcasecmp(host + rest + 1, partitions[i].suffix) == 0) {
			*ret = (struct span){ host, rest };
			return &partitions[i];
		}
	}
	return NULL;
}

bool endpoint_is_aws(const char *host)
{
	struct span rest;

	/* Not all below is S3: a customer's machines and load balancers are there too. */
	return cut_suffix(host, &rest) && is_s3(rest);
}

/* S3 sends new buckets on to hosts such as "bucket.s3-gztb4pa9sq.amazonaws.com". */
static bool is_s3_alias(struct span host)
{
	struct span label = cut_label(&host);

	return label.len > 3 && strncasecmp(label.at, "s3-", 3) == 0;
}

bool endpoint_is_same_store(const char *host, const char *other)
{
	struct span rest, other_rest;
	const struct partition *partition = cut_suffix(host, &rest);
	const char *parent = strchr(host, '.');
	bool is_ip;

	if (!*other || other[strspn(other, LOWER UPPER DIGITS "-._:[]")] != '\0')
		return false;
	if (endpoint_is_aws(host))
		return cut_suffix(other, &other_rest) == partition &&
		       (is_s3(other_rest) || is_s3_alias(other_rest));
	if (strcasecmp(host, other) == 0)
		return true;
	(void)parse_host(host, &is_ip);
	if (is_ip || !parent || !strchr(parent + 1, '.') || strlen(other) <= strlen(parent))
		return false;
	return strcasecmp(other + strlen(other) - strlen(parent), parent) == 0;
}

/* --- other services ------------------------------------------------------------------ */

const char *endpoint_suffix(const char *region, bool use_dualstack)
{
	const struct partition *partition;

	if (!is_region(region))
		return NULL;
	partition = find_partition(region);
	if (!use_dualstack)
		return partition->suffix;
	if (strcmp(partition->suffix, "amazonaws.com.cn") == 0)
		return "api.amazonwebservices.com.cn";
	return strcmp(partition->suffix, "amazonaws.com") == 0 ? "api.aws" : partition->suffix;
}
