/* SPDX-License-Identifier: MIT */
#include "daemon/lock/lockinfo.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/parse.h"
#include "common/text.h"

/* Go escapes <, > and & for HTML's sake, and U+2028 and U+2029 for JavaScript's. */
static void put_string(FILE *out, const char *text)
{
	(void)fputc('"', out);
	for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
		if (*s == '"' || *s == '\\')
			(void)fprintf(out, "\\%c", *s);
		else if (*s == '\b') /* this and the next since Go 1.22, terraform 1.8 */
			(void)fputs("\\b", out);
		else if (*s == '\f')
			(void)fputs("\\f", out);
		else if (*s == '\n')
			(void)fputs("\\n", out);
		else if (*s == '\r')
			(void)fputs("\\r", out);
		else if (*s == '\t')
			(void)fputs("\\t", out);
		else if (*s < 0x20 || *s == '<' || *s == '>' || *s == '&')
			(void)fprintf(out, "\\u%04x", *s);
		else if (s[0] == 0xe2 && s[1] == 0x80 && (s[2] & 0xfe) == 0xa8) {
			(void)fprintf(out, "\\u202%c", s[2] == 0xa8 ? '8' : '9');
			s += 2;
		} else
			(void)fputc(*s, out);
	}
	(void)fputc('"', out);
}

static void put_member(FILE *out, const char *before, const char *name, const char *text)
{
	(void)fprintf(out, "%s\"%s\":", before, name);
	put_string(out, text);
}

static void put_tfqd(FILE *out, const struct lockinfo *info)
{
	(void)fprintf(out, ",\"Tfqd\":{\"v\":%d", LOCKINFO_VERSION);
	put_member(out, ",", "host", info->host);
	put_member(out, ",", "boot", info->boot);
	(void)fprintf(out, ",\"job\":\"%" PRIu64 "\",\"seq\":%" PRIu64, info->job, info->seq);
	put_member(out, ",", "nonce", info->nonce);
	(void)fprintf(out, ",\"lease\":%" PRIu64 ",\"epoch\":%" PRIu64 "}", info->lease_sec,
		      info->epoch);
}

static int format(char **ret, const struct lockinfo *info, bool is_plain)
{
	char *body = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&body, &len);

	if (!out)
		return -ENOMEM;

	put_member(out, "{", "ID", info->id);
	put_member(out, ",", "Operation", info->operation);
	put_member(out, ",", "Info", info->info);
	put_member(out, ",", "Who", info->who);
	put_member(out, ",", "Version", info->version);
	put_member(out, ",", "Created", info->created);
	put_member(out, ",", "Path", info->path);
	if (!is_plain)
		put_tfqd(out, info);
	(void)fputc('}', out);

	if ((ferror(out) | fclose(out)) != 0 || !body) { /* glibc may forget an error at the end */
		free(body);
		return -ENOMEM;
	}
	*ret = body;
	return 0;
}

int lockinfo_format(char **ret, const struct lockinfo *info)
{
	return format(ret, info, false);
}

int lockinfo_format_plain(char **ret, const struct lockinfo *info)
{
	return format(ret, info, true);
}

static void take_text(char *buf, const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	text_printable(buf, LOCKINFO_TEXT_MAX, text ? text : "");
}

static bool is_nonce(const char *text)
{
	return text && strlen(text) == LOCKINFO_NONCE_LEN - 1 &&
	       strspn(text, "0123456789abcdef") == LOCKINFO_NONCE_LEN - 1;
}

static uint64_t number_of(const char *text)
{
	uint64_t number = 0;

	return text && parse_u64(text, UINT64_MAX, &number) == 0 ? number : 0;
}

static void take_ours(struct lockinfo_seen *ret, const json_t *tfqd)
{
	const char *nonce = json_string_value(json_object_get(tfqd, "nonce"));
	const char *host = json_string_value(json_object_get(tfqd, "host"));
	const json_t *lease = json_object_get(tfqd, "lease");
	const json_t *epoch = json_object_get(tfqd, "epoch");

	if (json_integer_value(json_object_get(tfqd, "v")) != LOCKINFO_VERSION ||
	    !is_nonce(nonce) || !json_is_integer(lease) || json_integer_value(lease) < 0 ||
	    json_integer_value(lease) > LOCKINFO_LEASE_MAX)
		return;
	ret->is_tfqd = true;
	ret->lease_sec = (uint64_t)json_integer_value(lease);
	ret->job = number_of(json_string_value(json_object_get(tfqd, "job")));
	if (json_integer_value(epoch) > 0)
		ret->epoch = (uint64_t)json_integer_value(epoch);
	(void)text_printable(ret->host, sizeof(ret->host), host ? host : "");
	memcpy(ret->nonce, nonce, sizeof(ret->nonce));
}

void lockinfo_take_lease(struct lockinfo_seen *seen, const struct lockinfo_lease *lease)
{
	uint64_t ms;

	seen->is_tfqd = false;
	seen->nonce[0] = seen->host[0] = '\0';
	seen->lease_sec = seen->job = seen->epoch = 0;
	if (number_of(lease->version) != LOCKINFO_VERSION || !is_nonce(lease->nonce) ||
	    !lease->lease_ms ||
	    parse_u64(lease->lease_ms, LOCKINFO_LEASE_MAX * USEC_PER_MSEC, &ms) < 0)
		return;
	seen->is_tfqd = true;
	seen->lease_sec = ms / 1000;
	seen->job = number_of(lease->job);
	seen->epoch = number_of(lease->epoch);
	(void)text_printable(seen->host, sizeof(seen->host), lease->owner ? lease->owner : "");
	memcpy(seen->nonce, lease->nonce, sizeof(seen->nonce));
}

uint64_t lockinfo_lease_usec(const struct lockinfo_seen *seen)
{
	return seen->is_tfqd ? seen->lease_sec * USEC_PER_SEC : 0;
}

const char *lockinfo_strerror(int error)
{
	switch (-error) {
	case EFBIG: return "is far too long for one";
	case ENOMSG: return "has no ID";
	default: return "is no JSON object with nothing behind it";
	}
}

int lockinfo_parse(struct lockinfo_seen *ret, const char *body, size_t len)
{
	json_error_t error;
	json_t *object;
	const char *id;
	bool has_twins = false;

	*ret = (struct lockinfo_seen){ 0 };
	if (len > LOCKINFO_BODY_MAX)
		return -EFBIG;
	object = json_loadb(body, len, JSON_REJECT_DUPLICATES, &error);
	if (!object) { /* terraform lets the last one win */
		object = json_loadb(body, len, 0, &error);
		has_twins = true;
	}
	if (!json_is_object(object)) {
		json_decref(object);
		return -EBADMSG;
	}
	id = json_string_value(json_object_get(object, "ID"));
	if (!id || !*id) {
		json_decref(object);
		return -ENOMSG;
	}

	take_text(ret->id, object, "ID");
	take_text(ret->operation, object, "Operation");
	take_text(ret->info, object, "Info");
	take_text(ret->who, object, "Who");
	take_text(ret->created, object, "Created");
	if (!has_twins) /* what we wrote has none */
		take_ours(ret, json_object_get(object, "Tfqd"));
	json_decref(object);
	return 0;
}

char *lockinfo_time(char *buf, const struct timespec *at)
{
	struct tm tm;
	size_t used;

	(void)gmtime_r(&at->tv_sec, &tm);
	used = strftime(buf, 40, "%Y-%m-%dT%H:%M:%S", &tm);
	if (at->tv_nsec > 0) {
		used += (size_t)snprintf(buf + used, 40 - used, ".%09ld", at->tv_nsec);
		while (buf[used - 1] == '0')
			used--;
	}
	buf[used] = 'Z';
	buf[used + 1] = '\0';
	return buf;
}

static void hex(char *to, const unsigned char *from, size_t count)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < count; i++) {
		*to++ = digits[from[i] >> 4];
		*to++ = digits[from[i] & 15];
	}
	*to = '\0';
}

void lockinfo_nonce(char ret[static LOCKINFO_NONCE_LEN], const unsigned char random[static 16])
{
	hex(ret, random, 16);
}

void lockinfo_id(char ret[static LOCKINFO_ID_LEN], const unsigned char random[static 16])
{
	unsigned char bytes[16];
	char all[33];

	memcpy(bytes, random, sizeof(bytes));
	bytes[6] = (bytes[6] & 0x0f) | 0x40; /* RFC 9562: version 4, variant 10 */
	bytes[8] = (bytes[8] & 0x3f) | 0x80;
	hex(all, bytes, sizeof(bytes));
	(void)snprintf(ret, LOCKINFO_ID_LEN, "%.8s-%.4s-%.4s-%.4s-%.12s", all, all + 8, all + 12,
		       all + 16, all + 20);
}
