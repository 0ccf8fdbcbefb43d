/* SPDX-License-Identifier: MIT */
#include "common/aws/sigv4.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ALGORITHM  "AWS4-HMAC-SHA256"
#define TERMINATOR "aws4_request"
#define KEY_PREFIX "AWS4"
#define TOKEN_NAME "x-amz-security-token"
#define DAY_LEN    8 /* of a date, "20260102" */
#define BLANKS     " \t"
#define UNRESERVED "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
#define TEXT_MIN   256
#define NAME_END   '\1' /* sorts below all that an encoded text can have */

struct key {
	unsigned char bytes[SHA256_DIGEST_LENGTH];
};

struct secret {
	char *text;
	size_t len;
};

/*
 * Text that grows. It remembers when memory ran out, so that only text_take()
 * has to be asked; open_memstream() does not, and would let half a text through.
 */
struct text {
	char *at;
	size_t len;
	size_t size;
	bool failed;
};

/* The headers in the order in which they are signed. */
struct sorted {
	const struct sigv4_header *headers[SIGV4_HEADERS_MAX];
	size_t count;
};

static void key_wipe(struct key *key)
{
	OPENSSL_cleanse(key->bytes, sizeof(key->bytes));
}

static void secret_wipe(struct secret *secret)
{
	OPENSSL_clear_free(secret->text, secret->len);
}

static void text_release(struct text *text)
{
	free(text->at);
}

static void add_bytes(struct text *text, const char *bytes, size_t len)
{
	if (text->size - text->len <= len) { /* one more for the NUL */
		const size_t size = 2 * (text->len + len) + TEXT_MIN;
		char *grown = realloc(text->at, size);

		if (!grown) {
			text->failed = true;
			return;
		}
		text->at = grown;
		text->size = size;
	}
	memcpy(text->at + text->len, bytes, len);
	text->len += len;
	text->at[text->len] = '\0';
}

static void add(struct text *text, const char *string)
{
	add_bytes(text, string, strlen(string));
}

static void add_char(struct text *text, char c)
{
	add_bytes(text, &c, 1);
}

/* Return: 0 and *@ret, the caller's to free, or -ENOMEM if a part is missing. */
static int text_take(char **ret, struct text *text)
{
	add_bytes(text, "", 0); /* so that there is one, if an empty one */
	if (text->failed)
		return -ENOMEM;

	*ret = TAKE_PTR(text->at);
	return 0;
}

static void to_hex(char ret[static SIGV4_HASH_LEN],
		   const unsigned char bytes[static SHA256_DIGEST_LENGTH])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < SHA256_DIGEST_LENGTH; i++) {
		ret[2 * i] = digits[bytes[i] >> 4];
		ret[2 * i + 1] = digits[bytes[i] & 0xf];
	}
	ret[SIGV4_HASH_LEN - 1] = '\0';
}

int sigv4_hash(char ret[static SIGV4_HASH_LEN], const void *data, size_t len)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	size_t digest_len = 0;

	if (EVP_Q_digest(NULL, "SHA256", NULL, data, len, digest, &digest_len) != 1 ||
	    digest_len != sizeof(digest))
		return -EIO;

	to_hex(ret, digest);
	return 0;
}

static int hmac(struct key *ret, const void *key, size_t key_len, const char *data, size_t len)
{
	size_t ret_len = 0;

	if (!EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, key_len,
		       (const unsigned char *)data, len, ret->bytes, sizeof(ret->bytes),
		       &ret_len) ||
	    ret_len != sizeof(ret->bytes))
		return -EIO;
	return 0;
}

void sigv4_date(char ret[static SIGV4_DATE_LEN], time_t now)
{
	struct tm tm;

	/* A year of five digits does not fit. Signing refuses the empty date. */
	if (!gmtime_r(&now, &tm) || strftime(ret, SIGV4_DATE_LEN, "%Y%m%dT%H%M%SZ", &tm) == 0)
		ret[0] = '\0';
}

static bool is_date(const char *text)
{
	static const char form[] = "ddddddddTddddddZ";
	size_t i;

	for (i = 0; form[i]; i++)
		if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
			return false;
	return text[i] == '\0';
}

static bool has_control(const char *text)
{
	for (; *text; text++)
		if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
			return true;
	return false;
}

/* --- percent-encoding ---------------------------------------------------------------- */

static void add_encoded_byte(struct text *out, unsigned char byte, bool keep_slash)
{
	static const char digits[] = "0123456789ABCDEF";

	if (byte && (strchr(UNRESERVED, byte) || (keep_slash && byte == '/'))) {
		add_char(out, (char)byte);
	} else {
		add_char(out, '%');
		add_char(out, digits[byte >> 4]);
		add_char(out, digits[byte & 0xf]);
	}
}

static void add_encoded(struct text *out, const char *text, bool keep_slash)
{
	for (; *text; text++)
		add_encoded_byte(out, (unsigned char)*text, keep_slash);
}

int sigv4_encode(char **ret, const char *text, bool keep_slash)
{
	CLEANUP(text_release) struct text out = { 0 };

	add_encoded(&out, text, keep_slash);
	return text_take(ret, &out);
}

static int hex_value(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	if (digit >= 'A' && digit <= 'F')
		return digit - 'A' + 10;
	return -1;
}

/* A piece of a query, however it was encoded, in the one form that is signed. */
static void add_encoded_anew(struct text *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		int high = -1;
		int low = -1;

		if (text[i] == '%' && len - i > 2) {
			high = hex_value(text[i + 1]);
			low = hex_value(text[i + 2]);
		}
		if (high >= 0 && low >= 0) {
			add_encoded_byte(out, (unsigned char)(high << 4 | low), false);
			i += 2;
		} else {
			add_encoded_byte(out, (unsigned char)text[i], false);
		}
	}
}

/* --- the parts of the canonical request ---------------------------------------------- */

static void add_path(struct text *out, const struct sigv4_request *request)
{
	const char *path = *request->path ? request->path : "/";

	/* S3 signs what is on the wire; all others sign that encoded once more. */
	if (strcmp(request->service, "s3") == 0)
		add(out, path);
	else
		add_encoded(out, path, true);
}

/* Yields "name<NAME_END>value<NUL>" for each parameter, and their number. */
static int split_query(char **ret, const char *query, size_t *ret_count)
{
	CLEANUP(text_release) struct text out = { 0 };
	size_t count = 0;
	int r;

	while (*query) {
		const size_t len = strcspn(query, "&");
		const char *equals = memchr(query, '=', len);
		const size_t name_len = equals ? (size_t)(equals - query) : len;

		if (len > 0) {
			add_encoded_anew(&out, query, name_len);
			add_char(&out, NAME_END);
			if (equals)
				add_encoded_anew(&out, equals + 1, len - name_len - 1);
			add_char(&out, '\0');
			count++;
		}
		query += len + (query[len] == '&');
	}
	r = text_take(ret, &out);
	if (r < 0)
		return r;

	*ret_count = count;
	return 0;
}

static int compare_params(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int add_query(struct text *out, const char *query)
{
	AUTO_FREE char *text = NULL;
	AUTO_FREE const char **params = NULL;
	const char *next;
	size_t count;
	int r;

	r = split_query(&text, query ? query : "", &count);
	if (r < 0)
		return r;
	if (count == 0)
		return 0;

	params = calloc(count, sizeof(*params));
	if (!params)
		return -ENOMEM;

	next = text;
	for (size_t i = 0; i < count; i++) {
		params[i] = next;
		next += strlen(next) + 1;
	}
	qsort(params, count, sizeof(*params), compare_params);

	for (size_t i = 0; i < count; i++) {
		const size_t name_len = strcspn(params[i], (const char[]){ NAME_END, '\0' });

		if (i > 0)
			add_char(out, '&');
		add_bytes(out, params[i], name_len);
		add_char(out, '=');
		add(out, params[i] + name_len + 1);
	}
	return 0;
}

static bool is_header_name(const char *name)
{
	if (!*name)
		return false;
	for (; *name; name++)
		if (*name <= ' ' || *name >= 0x7f || *name == ':')
			return false;
	return true;
}

static bool has_header(const struct sigv4_request *request, const char *name)
{
	for (size_t i = 0; i < request->header_count; i++)
		if (strcasecmp(request->headers[i].name, name) == 0)
			return true;
	return false;
}

/* By name alone: "a-b" goes after "a", though "a-b:" would go before "a:". */
static int sort_headers(struct sorted *ret, const struct sigv4_request *request)
{
	if (request->header_count > SIGV4_HEADERS_MAX || !has_header(request, "host"))
		return -EINVAL;

	for (size_t i = 0; i < request->header_count; i++) {
		const struct sigv4_header *header = &request->headers[i];
		size_t at;

		/* A line feed would sign, and send, a header that nobody gave. */
		if (!is_header_name(header->name) || has_control(header->value))
			return -EINVAL;

		/* Unlike qsort(), this keeps the order of those with the same name. */
		for (at = i; at > 0; at--) {
			if (strcasecmp(ret->headers[at - 1]->name, header->name) <= 0)
				break;
			ret->headers[at] = ret->headers[at - 1];
		}
		ret->headers[at] = header;
	}
	ret->count = request->header_count;
	return 0;
}

static bool is_repeated(const struct sorted *sorted, size_t i)
{
	const struct sigv4_header *const *header = &sorted->headers[i];

	return i > 0 && strcasecmp(header[-1]->name, header[0]->name) == 0;
}

static void add_name(struct text *out, const char *name)
{
	for (; *name; name++) {
		char c = *name;

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		add_char(out, c);
	}
}

static void add_value(struct text *out, const char *value)
{
	value += strspn(value, BLANKS);
	while (*value) {
		const size_t len = strcspn(value, BLANKS);

		add_bytes(out, value, len);
		value += len;
		value += strspn(value, BLANKS);
		if (*value)
			add_char(out, ' ');
	}
}

static void add_headers(struct text *out, const struct sorted *sorted)
{
	for (size_t i = 0; i < sorted->count; i++) {
		if (is_repeated(sorted, i)) {
			add_char(out, ',');
		} else {
			if (i > 0)
				add_char(out, '\n');
			add_name(out, sorted->headers[i]->name);
			add_char(out, ':');
		}
		add_value(out, sorted->headers[i]->value);
	}
	add_char(out, '\n');
}

static void add_signed_names(struct text *out, const struct sorted *sorted)
{
	for (size_t i = 0; i < sorted->count; i++) {
		if (is_repeated(sorted, i))
			continue;
		if (i > 0)
			add_char(out, ';');
		add_name(out, sorted->headers[i]->name);
	}
}

/* --- what is signed, and with what --------------------------------------------------- */

int sigv4_canonical_request(char **ret, const struct sigv4_request *request)
{
	CLEANUP(text_release) struct text out = { 0 };
	struct sorted sorted;
	int r;

	r = sort_headers(&sorted, request);
	if (r < 0)
		return r;

	add(&out, request->method);
	add_char(&out, '\n');
	add_path(&out, request);
	add_char(&out, '\n');
	r = add_query(&out, request->query);
	if (r < 0)
		return r;
	add_char(&out, '\n');
	add_headers(&out, &sorted);
	add_char(&out, '\n');
	add_signed_names(&out, &sorted);
	add_char(&out, '\n');
	add(&out, request->payload_hash);
	return text_take(ret, &out);
}

int sigv4_string_to_sign(char **ret, const struct sigv4_request *request)
{
	AUTO_FREE char *canonical = NULL;
	char hash[SIGV4_HASH_LEN];
	char *text;
	int r;

	if (!is_date(request->date))
		return -EINVAL;

	r = sigv4_canonical_request(&canonical, request);
	if (r < 0)
		return r;
	r = sigv4_hash(hash, canonical, strlen(canonical));
	if (r < 0)
		return r;

	if (asprintf(&text, ALGORITHM "\n%s\n%.*s/%s/%s/" TERMINATOR "\n%s", request->date, DAY_LEN,
		     request->date, request->region, request->service, hash) < 0)
		return -ENOMEM;

	*ret = text;
	return 0;
}

static int derive_key(struct key *ret, const struct sigv4_request *request, const char *secret_key)
{
	const size_t secret_len = strlen(secret_key);
	CLEANUP(secret_wipe) struct secret secret = { .len = strlen(KEY_PREFIX) + secret_len };
	CLEANUP(key_wipe) struct key day = { 0 };
	CLEANUP(key_wipe) struct key region = { 0 };
	CLEANUP(key_wipe) struct key service = { 0 };
	int r;

	/* Not by asprintf(), which leaves copies behind as its buffer grows. */
	secret.text = OPENSSL_malloc(secret.len);
	if (!secret.text)
		return -ENOMEM;
	memcpy(secret.text, KEY_PREFIX, strlen(KEY_PREFIX));
	memcpy(secret.text + strlen(KEY_PREFIX), secret_key, secret_len);

	r = hmac(&day, secret.text, secret.len, request->date, DAY_LEN);
	if (r < 0)
		return r;
	r = hmac(&region, day.bytes, sizeof(day.bytes), request->region, strlen(request->region));
	if (r < 0)
		return r;
	r = hmac(&service, region.bytes, sizeof(region.bytes), request->service,
		 strlen(request->service));
	if (r < 0)
		return r;
	return hmac(ret, service.bytes, sizeof(service.bytes), TERMINATOR, strlen(TERMINATOR));
}

static int sign(char ret[static SIGV4_HASH_LEN], const struct sigv4_request *request,
		const char *secret_key)
{
	CLEANUP(key_wipe) struct key key = { 0 };
	AUTO_FREE char *text = NULL;
	struct key signature;
	int r;

	r = sigv4_string_to_sign(&text, request);
	if (r < 0)
		return r;
	r = derive_key(&key, request, secret_key);
	if (r < 0)
		return r;
	r = hmac(&signature, key.bytes, sizeof(key.bytes), text, strlen(text));
	if (r < 0)
		return r;

	to_hex(ret, signature.bytes);
	return 0;
}

int sigv4_authorization(char **ret, const struct sigv4_request *request,
			const struct sigv4_credentials *credentials)
{
	CLEANUP(text_release) struct text names = { 0 };
	AUTO_FREE char *signed_names = NULL;
	char signature[SIGV4_HASH_LEN];
	struct sorted sorted;
	char *text;
	int r;

	if (has_control(credentials->access_key) ||
	    (credentials->token && !has_header(request, TOKEN_NAME)))
		return -EINVAL;

	r = sign(signature, request, credentials->secret_key);
	if (r < 0)
		return r;
	r = sort_headers(&sorted, request);
	if (r < 0)
		return r;
	add_signed_names(&names, &sorted);
	r = text_take(&signed_names, &names);
	if (r < 0)
		return r;

	if (asprintf(&text,
		     ALGORITHM " Credential=%s/%.*s/%s/%s/" TERMINATOR
			       ", SignedHeaders=%s, Signature=%s",
		     credentials->access_key, DAY_LEN, request->date, request->region,
		     request->service, signed_names, signature) < 0)
		return -ENOMEM;

	*ret = text;
	return 0;
}
