/* SPDX-License-Identifier: MIT */
/*
 * The body of a lock: terraform's LockInfo, byte for byte as Go's encoding/json
 * writes it, with one member of our own behind it. Pure.
 *
 * terraform reads the seven members and ignores the rest; no name of ours may
 * equal one of the seven in any case, and nothing may stand behind the object
 * (internal/states/statemgr/locker.go, internal/backend/remote-state/s3/client.go).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define LOCKINFO_BODY_MAX  65536 /* bytes read; a longer body is no lock of ours */
#define LOCKINFO_TEXT_MAX  512   /* bytes kept of one member, with the NUL */
#define LOCKINFO_ID_LEN    37    /* a UUID and a NUL */
#define LOCKINFO_NONCE_LEN 33    /* 32 hex digits and a NUL */
#define LOCKINFO_HOST_MAX  64    /* bytes kept of a host's name, with the NUL */
#define LOCKINFO_LEASE_MAX 86400 /* seconds; a longer lease is not believed */
#define LOCKINFO_ID_NONE   "?"   /* stands for the ID of a lock that cannot be read */
#define LOCKINFO_VERSION   1 /* of the Tfqd member; others' locks with another are never taken */

/* What we write. All strings are valid UTF-8. */
struct lockinfo {
	const char *id, *operation, *info, *who, *version, *created, *path;

	const char *host, *boot; /* machine-id and boot-id */
	uint64_t job, seq, epoch;
	const char *nonce;
	uint64_t lease_sec; /* 0: not to be taken over by anybody */
};

/* What we read, made printable. */
struct lockinfo_seen {
	char id[LOCKINFO_TEXT_MAX];
	char operation[LOCKINFO_TEXT_MAX];
	char info[LOCKINFO_TEXT_MAX];
	char who[LOCKINFO_TEXT_MAX];
	char created[LOCKINFO_TEXT_MAX];
	bool is_tfqd;                   /* has a Tfqd member that we understand */
	char nonce[LOCKINFO_NONCE_LEN]; /* "" if not; and so are the rest */
	uint64_t lease_sec;             /* 0: not to be taken over */
	uint64_t job, epoch;            /* 0: not said */
	char host[LOCKINFO_HOST_MAX];   /* machine-id of that tfqd */
};

/* What an item in DynamoDB says beside its Info. Strings lent; NULL: absent or of another type. */
struct lockinfo_lease {
	const char *version, *nonce, *owner, *job, *lease_ms, *epoch;
};

/* Write the body of an S3 lock object. Return: 0 and *@ret, the caller's to free, or -ENOMEM. */
int lockinfo_format(char **ret, const struct lockinfo *info);

/* Write terraform's seven members alone, as it stands in DynamoDB. Return: as lockinfo_format(). */
int lockinfo_format_plain(char **ret, const struct lockinfo *info);

/*
 * Read a body of @len bytes. Return: 0; what terraform could not read either is -EFBIG (over
 * LOCKINFO_BODY_MAX), -EBADMSG (no JSON object, trailing data) or -ENOMSG (ID missing, empty or
 * no string). Then *@ret is empty.
 */
int lockinfo_parse(struct lockinfo_seen *ret, const char *body, size_t len);

/* The same of an error of lockinfo_parse(), to stand behind "the object ...": "is no JSON ...". */
const char *lockinfo_strerror(int error);

/* Take what is ours from @lease, in place of what lockinfo_parse() found of it. */
void lockinfo_take_lease(struct lockinfo_seen *seen, const struct lockinfo_lease *lease);

/* After how many microseconds without a change it may be taken over; 0: never. */
uint64_t lockinfo_lease_usec(const struct lockinfo_seen *seen);

/* @at as Go prints a time in UTC: RFC 3339, trailing zeros of the fraction trimmed. @buf: 40 bytes.
 */
char *lockinfo_time(char *buf, const struct timespec *at);

/* 16 random bytes in the form of a UUID, as terraform's own IDs: version 4. */
void lockinfo_id(char ret[static LOCKINFO_ID_LEN], const unsigned char random[static 16]);

/* 16 random bytes in hex. */
void lockinfo_nonce(char ret[static LOCKINFO_NONCE_LEN], const unsigned char random[static 16]);
