#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""S3 and DynamoDB on 127.0.0.1, for tests: the subset that terraform and tfqd use, as strict as AWS.

    s3server.py [--port N] [--bucket NAME]... [--table NAME]... [--region R] [--versioned] [--tls CERT KEY]
                [--access-log FILE] [--key ID:SECRET[:TOKEN]]... [--seed N] [--until-stdin-closes]

The first line on stdout is the port (--port 0, the default, picks one).  SIGTERM or SIGINT ends it.
Without --bucket there is one bucket "tfbucket", without --table one table "tflocks" (partition key LockID, S).

Keys      testkey/testsecret; tmpkey/tmpsecret with session token tmptoken; oldkey/oldsecret with the expired
          token oldtoken; denied/deniedsecret (AccessDenied for everything); nolist/nolistsecret (may not list,
          so that absent objects are 403 instead of 404).
Hosts     path style, or <bucket>.localhost, <bucket>.s3.localhost, <bucket>.s3.<region>.amazonaws.com

Control, unsigned:
  POST   /_tfq/fault    [rule, ...]  replaces all rules; [] clears them and lets hanging requests go on
  GET    /_tfq/fault    the rules, with what is left of their counts
  GET    /_tfq/log      requests in order of arrival (see Server.log_arrival);  DELETE empties it
  POST   /_tfq/clock    {"offset": seconds} moves the server's clock (skew check, Date, Last-Modified)
  POST   /_tfq/quirks   {"name": true, ...}: a store that lies; replaces all (see QUIRKS).  GET shows them
  GET    /_tfq/objects  {bucket: {key: {...}}};  GET /_tfq/items  {table: {LockID: item}}
  GET, PUT, DELETE /_tfq/object/<bucket>/<key>, /_tfq/item/<table>/<LockID>   behind everybody's back
  POST   /_tfq/reset    forget objects, items, log, faults, quirks and clock

A fault rule matches when all of these that it has do: service ("s3", "dynamodb"), method, op ("PutObject",
"PutItem", ...), prefix and suffix (of the object key or LockID), header (one that must be present, such as
"if-match"), key_id (access key).  It then lets `skip` (0) matches pass, acts on the next `count` (1; negative or
null: no limit), each with probability `p` (1).  The first rule that acts wins.  Requests that fail
authentication never meet a rule.  do =
  error         answer `status` and `code` (default: a throttling error) without applying; also `message`
  error-after   apply, then answer so
  drop-before, drop-after   close the connection without an answer, before or after applying
  delay, delay-after        wait `ms` (100) before or after applying; applies even if the client has gone by then
  hang          wait until the rules are replaced, then go on if the client is still there
  hang-after    apply, then the same
  html, html-after          `status` (200) with an HTML body, without applying or after it
  no-etag       leave the ETag out of the answer
  bad-crc       DynamoDB: a wrong x-amz-crc32
  truncate      send half of the answer, then close
"""
import argparse
import base64
import binascii
import bisect
import email.utils
import hashlib
import hmac
import json
import os
import random
import re
import select
import signal
import socket
import ssl
import sys
import threading
import time
import traceback
import zlib
from calendar import timegm
from decimal import Decimal, InvalidOperation
from urllib.parse import quote, unquote, unquote_to_bytes
from xml.sax.saxutils import escape

MAX_HEAD = 64 * 1024
MAX_BODY = 64 * 1024 * 1024
MAX_LOG_BODY = 4096
S3_SKEW = 15 * 60
DYNAMODB_SKEW = 5 * 60

DO = {"error", "error-after", "drop-before", "drop-after", "delay", "delay-after", "hang", "hang-after", "html",
      "html-after", "no-etag", "bad-crc", "truncate"}
RULE_FIELDS = {"service", "method", "op", "suffix", "prefix", "header", "key_id", "do", "status", "code", "message",
               "ms", "count", "skip", "p"}

QUIRKS = {
    "ignore_if_none_match": "PUT If-None-Match: * always writes",
    "racy": "ms between the check of a PUT's condition and the write: atomic for a single writer only",
    "ignore_if_match": "PUT If-Match always writes",
    "unquoted_etag_only": "If-Match is compared with the ETag without quotes, so that a quoted one never matches",
    "no_conditional_delete": "DELETE If-Match always deletes",
    "conflict_409": "the loser of a conditional write gets 409 ConditionalRequestConflict instead of 412",
    "resurrects": "PUT If-Match on an absent key writes",
    "absent_412": "PUT or DELETE If-Match on an absent key gets 412 instead of 404",
    "absent_delete_204": "DELETE If-Match on an absent key gets 204 instead of 404",
    "marker_412": "PUT If-None-Match: * on a delete marker gets 412",
    "no_all_old": "DynamoDB ignores ReturnValuesOnConditionCheckFailure",
    "bare_errors": "error bodies with an empty message and without a request id",
}

HTTP_REASONS = {200: "OK", 204: "No Content", 206: "Partial Content", 304: "Not Modified", 400: "Bad Request",
                403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict",
                411: "Length Required", 412: "Precondition Failed", 416: "Requested Range Not Satisfiable",
                429: "Too Many Requests", 500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway",
                503: "Service Unavailable", 504: "Gateway Timeout"}


class Fail(Exception):
    """An error answer: HTTP status, error code, message, further XML elements (S3) or JSON members (DynamoDB)."""

    def __init__(self, status, code, message="", extra=None, headers=()):
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message = status, code, message
        self.extra = extra or {}
        self.headers = list(headers)


class Drop(Exception):
    """Close the connection without an answer."""


class BadHttp(Exception):
    """What came is not HTTP, or not all of it came: the connection cannot be used any more."""

    def __init__(self, status, code, text):
        super().__init__(text)
        self.status, self.code = status, code


class Answer:
    """headers is a list of pairs; Content-Length, Date and request ids are added when it is sent."""

    __slots__ = ("status", "headers", "body", "code", "truncate")

    def __init__(self, status, headers=(), body=b"", code=None):
        self.status, self.headers, self.body, self.code = status, list(headers), body, code
        self.truncate = False


class Request:
    __slots__ = ("method", "path", "query", "headers", "body", "data", "trailers", "params", "service", "bucket",
                 "key", "op", "key_id", "who", "connection", "json", "id")

    def __init__(self, method, path, query, headers, body, connection=None):
        self.method, self.path, self.query, self.headers, self.body = method, path, query, headers, body
        self.connection, self.id = connection, new_id()
        self.data, self.trailers = body, {}
        self.params = dict(split_query(query))
        self.service = self.bucket = self.key = self.op = self.key_id = self.who = self.json = None


class Key:
    """One access key and what it may do."""

    def __init__(self, secret, token=None, expired=False, denied=False, may_list=True):
        self.secret, self.token, self.expired = secret, token, expired
        self.denied, self.may_list = denied, may_list


KEYS = {
    "testkey": Key("testsecret"),
    "tmpkey": Key("tmpsecret", token="tmptoken"),
    "oldkey": Key("oldsecret", token="oldtoken", expired=True),
    "denied": Key("deniedsecret", denied=True),
    "nolist": Key("nolistsecret", may_list=False),
}


# --- Signature Version 4 -------------------------------------------------------------------------------------------
# Text is latin-1 here, one character per byte on the wire, so that nothing gets lost before it is hashed.

def encode(text):
    """Percent-encoding as SigV4 wants it: everything but the unreserved characters, upper case."""
    return quote(text, safe="-_.~")


def split_query(query):
    pairs = (part.partition("=") for part in query.split("&") if part)
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def canonical_query(query):
    pairs = (part.partition("=") for part in query.split("&") if part)
    coded = [(encode(unquote_to_bytes(n)), encode(unquote_to_bytes(v))) for n, _, v in pairs]
    return "&".join(f"{n}={v}" for n, v in sorted(coded))


def canonical_request(method, path, query, headers, signed, payload_hash):
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in signed)
    return "\n".join((method, path, canonical_query(query), lines, ";".join(signed), payload_hash))


def sha256_hex(data):
    return hashlib.sha256(data).hexdigest()


def hmac_sha256(key, text):
    return hmac.digest(key, text.encode("latin-1"), "sha256")


def signing_key(secret, date, region, service):
    key = hmac_sha256(("AWS4" + secret).encode(), date)
    for part in (region, service, "aws4_request"):
        key = hmac_sha256(key, part)
    return key


def string_to_sign(stamp, scope, canonical):
    return "\n".join(("AWS4-HMAC-SHA256", stamp, scope, sha256_hex(canonical.encode("latin-1"))))


AUTHORIZATION = re.compile(r"AWS4-HMAC-SHA256\s+Credential=([^,\s]*)\s*,\s*SignedHeaders=([^,\s]*)\s*,"
                           r"\s*Signature=([0-9a-f]{64})\s*")
STAMP = re.compile(r"\d{8}T\d{6}Z")
HEX64 = re.compile(r"[0-9a-f]{64}")
STREAMING = {  # x-amz-content-sha256: (chunks are signed, a trailer follows)
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER": (False, True),
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": (True, False),
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": (True, True),
}


class Errors:
    """The same refusals in the words of S3."""

    @staticmethod
    def anonymous():
        return Fail(403, "AccessDenied", "Access Denied")

    @staticmethod
    def malformed(why, extra=None):
        return Fail(400, "AuthorizationHeaderMalformed", f"The authorization header is malformed; {why}", extra)

    @staticmethod
    def scope(region, service, want_region, want_service):
        if service != want_service:
            return Errors.malformed(f'incorrect service "{service}". This endpoint belongs to "{want_service}".')
        return Errors.malformed(f"the region '{region}' is wrong; expecting '{want_region}'", {"Region": want_region})

    @staticmethod
    def unknown_key(key_id):
        return Fail(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.",
                    {"AWSAccessKeyId": key_id})

    @staticmethod
    def token(key_id, missing):
        # S3 does not find a temporary key at all when no token comes with it.
        if missing:
            return Errors.unknown_key(key_id)
        return Fail(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")

    @staticmethod
    def expired():
        return Fail(400, "ExpiredToken", "The provided token has expired.")

    @staticmethod
    def no_date():
        return Fail(403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")

    @staticmethod
    def skewed(stamp, _then, now):
        return Fail(403, "RequestTimeTooSkewed",
                    "The difference between the request time and the current time is too large.",
                    {"RequestTime": stamp, "ServerTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
                     "MaxAllowedSkewMilliseconds": str(S3_SKEW * 1000)})

    @staticmethod
    def unsigned(names):
        return Fail(403, "AccessDenied", "There were headers present in the request which were not signed",
                    {"HeadersNotSigned": ", ".join(names)})

    @staticmethod
    def mismatch(key_id, to_sign, signature, canonical):
        return Fail(403, "SignatureDoesNotMatch",
                    "The request signature we calculated does not match the signature you provided. "
                    "Check your key and signing method.",
                    {"AWSAccessKeyId": key_id, "StringToSign": to_sign, "SignatureProvided": signature,
                     "CanonicalRequest": canonical})


class DynamoErrors:
    """... and in those of DynamoDB."""

    @staticmethod
    def anonymous():
        return Fail(400, "MissingAuthenticationTokenException", "Request is missing Authentication Token")

    @staticmethod
    def malformed(why, _extra=None):
        return Fail(400, "IncompleteSignatureException", why)

    @staticmethod
    def scope(_region, service, want_region, want_service):
        what = f"to correct service: '{want_service}'" if service != want_service else \
            f"to a valid region, not '{_region}' (this is {want_region})"
        return Fail(400, "InvalidSignatureException", f"Credential should be scoped {what}.")

    @staticmethod
    def unknown_key(_key_id):
        return Fail(400, "UnrecognizedClientException", "The security token included in the request is invalid.")

    @staticmethod
    def token(key_id, _missing):
        return DynamoErrors.unknown_key(key_id)

    @staticmethod
    def expired():
        return Fail(400, "ExpiredTokenException", "The security token included in the request is expired")

    @staticmethod
    def no_date():
        return Fail(400, "IncompleteSignatureException", "Authorization header requires existence of either a "
                    "'X-Amz-Date' or a 'Date' header.")

    @staticmethod
    def skewed(stamp, then, now):
        limit = now - DYNAMODB_SKEW if then < now else now + DYNAMODB_SKEW
        shown = [time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(t)) for t in (limit, now)]
        text = f"Signature expired: {stamp} is now earlier than {shown[0]} ({shown[1]} - 5 min.)" if then < now else \
            f"Signature not yet current: {stamp} is still later than {shown[0]} ({shown[1]} + 5 min.)"
        return Fail(400, "InvalidSignatureException", text)

    @staticmethod
    def unsigned(names):
        return Fail(400, "InvalidSignatureException",
                    "".join(f"'{n}' must be a 'SignedHeader' in the AWS Authorization. " for n in names))

    @staticmethod
    def mismatch(_key_id, _to_sign, _signature, _canonical):
        return Fail(400, "InvalidSignatureException",
                    "The request signature we calculated does not match the signature you provided. Check your AWS "
                    "Secret Access Key and signing method. Consult the service documentation for details.")


def request_stamp(headers):
    """The time of the request as YYYYMMDDTHHMMSSZ, and as a number; (None, None) if there is none."""
    stamp = headers.get("x-amz-date", "")
    if not stamp and "date" in headers:
        parsed = email.utils.parsedate_tz(headers["date"])
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(email.utils.mktime_tz(parsed))) if parsed else ""
    if not STAMP.fullmatch(stamp):
        return None, None
    try:
        return stamp, timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        return None, None


def payload_hash_of(req):
    """The last line of the canonical request."""
    sent = req.headers.get("x-amz-content-sha256")
    if req.service != "s3":
        return sha256_hex(req.body)
    if sent is None:
        raise Fail(400, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    if sent != "UNSIGNED-PAYLOAD" and sent not in STREAMING and not HEX64.fullmatch(sent):
        raise Fail(400, "InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, "
                   "STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, "
                   "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
                   {"ArgumentName": "x-amz-content-sha256", "ArgumentValue": sent})
    return sent


class Verifier:
    """Checks a request's signature; knows the keys, and remembers the signing keys it derived."""

    def __init__(self, keys, region):
        self.keys, self.region = keys, region
        self.derived = {}

    def signing_key(self, key_id, date, service):
        name = (key_id, date, service)
        if name not in self.derived:
            self.derived[name] = signing_key(self.keys[key_id].secret, date, self.region, service)
        return self.derived[name]

    def check_credential(self, req, credential, stamp, errors):
        """-> (key id, date); the scope must be ours and the key must exist, with its token."""
        parts = credential.split("/")
        if len(parts) < 5 or parts[-1] != "aws4_request":
            raise errors.malformed("the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/"
                                   "aws4_request\".")
        key_id, (date, region, service) = "/".join(parts[:-4]), parts[-4:-1]
        req.key_id = key_id
        if not key_id:
            raise errors.malformed("a non-empty Access Key (AKID) must be provided in the credential.")
        if region != self.region or service != req.service:
            raise errors.scope(region, service, self.region, req.service)
        key = self.keys.get(key_id)
        if key is None:
            raise errors.unknown_key(key_id)
        token = req.headers.get("x-amz-security-token")
        if token != key.token:
            raise errors.token(key_id, token is None)
        if date != stamp[:8]:
            raise errors.malformed(f'Invalid credential date "{date}". This date is not the same as X-Amz-Date: '
                                   f'"{stamp[:8]}".')
        return key_id, date

    def check_signed_headers(self, req, signed, errors):
        missing = [n for n in req.headers if (n == "host" or n.startswith("x-amz-")) and n not in signed]
        if missing:
            raise errors.unsigned(missing)

    def verify(self, req, now):
        """Raise Fail, or set req.key_id, req.who and, for chunked uploads, req.data and req.trailers."""
        errors = Errors if req.service == "s3" else DynamoErrors
        header = req.headers.get("authorization")
        if header is None:
            raise errors.anonymous()
        match = AUTHORIZATION.fullmatch(header)
        if not match:
            raise errors.malformed("the authorization header requires Credential, SignedHeaders and Signature.")
        credential, names, signature = match.groups()
        stamp, then = request_stamp(req.headers)
        if stamp is None:
            raise errors.no_date()
        key_id, date = self.check_credential(req, credential, stamp, errors)
        if abs(now - then) > (S3_SKEW if req.service == "s3" else DYNAMODB_SKEW):
            raise errors.skewed(stamp, then, now)
        payload_hash = payload_hash_of(req)

        # The list is sorted here because AWS does: a client with another order gets a mismatch, as it should.
        signed = sorted(names.split(";"))
        self.check_signed_headers(req, signed, errors)
        absent = [n for n in signed if n not in req.headers]
        canonical = canonical_request(req.method, req.path, req.query, req.headers,
                                      [n for n in signed if n in req.headers], payload_hash)
        scope = f"{date}/{self.region}/{req.service}/aws4_request"
        key = self.signing_key(key_id, date, req.service)
        to_sign = string_to_sign(stamp, scope, canonical)
        if absent or not self.path_is_canonical(req) or \
                not hmac.compare_digest(hmac_sha256(key, to_sign).hex(), signature):
            raise errors.mismatch(key_id, to_sign, signature, canonical)
        # Only now, so that an attacker's guess at a key does not learn whether the key is still valid.
        if self.keys[key_id].expired:
            raise errors.expired()
        self.check_payload(req, payload_hash, (key, stamp, scope, signature))
        req.who = self.keys[key_id]
        if req.who.denied:
            raise Fail(403, "AccessDenied", "Access Denied") if req.service == "s3" else \
                Fail(400, "AccessDeniedException", "User is not authorized to perform: dynamodb:" + str(req.op))

    @staticmethod
    def path_is_canonical(req):
        """AWS signs its own encoding of the path.  A client that escapes less or otherwise would fail there although
        it signed what it sent, so it has to fail here."""
        return req.path == quote(unquote_to_bytes(req.path), safe="-_.~/")

    @staticmethod
    def check_payload(req, payload_hash, seed):
        sent = req.headers.get("x-amz-content-sha256")
        if req.service != "s3":
            if sent is not None and sent != payload_hash:
                raise DynamoErrors.mismatch(None, None, None, None)
        elif payload_hash in STREAMING:
            decode_streaming(req, *STREAMING[payload_hash], seed)
        elif payload_hash != "UNSIGNED-PAYLOAD" and sent != sha256_hex(req.body):
            raise Fail(400, "XAmzContentSHA256Mismatch",
                       "The provided 'x-amz-content-sha256' header does not match what was computed.",
                       {"ClientComputedContentSHA256": sent, "S3ComputedContentSHA256": sha256_hex(req.body)})


def incomplete(what):
    return Fail(400, "IncompleteBody", f"The request body terminated unexpectedly: {what}")


def take_line(body, pos):
    end = body.find(b"\r\n", pos)
    if end < 0:
        raise incomplete("no CR LF")
    return body[pos:end].decode("latin-1"), end + 2


def decode_streaming(req, signed, with_trailer, seed):
    """aws-chunked: `<hex length>[;chunk-signature=<hex>] CR LF <data> CR LF` ..., then trailer lines.
    Each signature covers the one before it, the first one the request's."""
    key, stamp, scope, previous = seed
    body, pos, parts = req.body, 0, []

    def check(kind, previous, *hashes, given):
        want = hmac_sha256(key, "\n".join((kind, stamp, scope, previous) + hashes)).hex()
        if not hmac.compare_digest(want, given):
            raise Errors.mismatch(req.key_id, kind, given, "")
        return want

    while True:
        line, pos = take_line(body, pos)
        size, _, rest = line.partition(";")
        if not re.fullmatch(r"[0-9a-fA-F]{1,8}", size):
            raise Fail(400, "InvalidRequest", "The chunk size is not a number")
        size = int(size, 16)
        data = body[pos:pos + size]
        if len(data) != size:
            raise incomplete("chunk too short")
        if signed:
            previous = check("AWS4-HMAC-SHA256-PAYLOAD", previous, sha256_hex(b""), sha256_hex(data),
                             given=rest.partition("chunk-signature=")[2].strip())
        pos += size
        if not size:
            break
        parts.append(data)
        if body[pos:pos + 2] != b"\r\n":
            raise incomplete("no CR LF after a chunk")
        pos += 2
    req.data = b"".join(parts)
    req.trailers, signature, text = read_trailers(body, pos)
    if signed and with_trailer:
        check("AWS4-HMAC-SHA256-TRAILER", previous, sha256_hex(text), given=signature)
    check_streaming_lengths(req, with_trailer)


def read_trailers(body, pos):
    """-> ({name: value}, trailer signature, the signed form of the lines)"""
    trailers, signature, text = {}, "", b""
    while pos < len(body):
        line, pos = take_line(body, pos)
        if not line:
            break
        name, colon, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        if not colon:
            raise malformed_trailer()
        if name == "x-amz-trailer-signature":
            signature = value
        else:
            trailers[name] = value
            text += f"{name}:{value}\n".encode("latin-1")
    return trailers, signature, text


def malformed_trailer():
    return Fail(400, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did "
                "not conform to our published schema.")


def check_streaming_lengths(req, with_trailer):
    decoded = req.headers.get("x-amz-decoded-content-length")
    if decoded is None or not decoded.isdigit():
        raise Fail(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    if int(decoded) != len(req.data):
        raise Fail(400, "IncompleteBody", "You did not provide the number of bytes specified by the "
                   "x-amz-decoded-content-length HTTP header")
    named = [n.strip().lower() for n in req.headers.get("x-amz-trailer", "").split(",") if n.strip()]
    if sorted(named) != sorted(req.trailers) or (named and not with_trailer):
        raise malformed_trailer()


# --- Checksums -----------------------------------------------------------------------------------------------------

def crc_table(polynomial):
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (polynomial if byte & 1 else 0)
        table.append(byte)
    return table


CRC_TABLES = {}


def reflected_crc(data, polynomial, size):
    """For the two CRCs which the library lacks."""
    table = CRC_TABLES.setdefault(polynomial, None) or crc_table(polynomial)
    CRC_TABLES[polynomial] = table
    crc = ones = (1 << 8 * size) - 1
    for byte in data:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xff]
    return (crc ^ ones).to_bytes(size, "big")


CHECKSUMS = {
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "crc32c": lambda data: reflected_crc(data, 0x82f63b78, 4),
    "crc64nvme": lambda data: reflected_crc(data, 0x9a6c9329ac4bc9b5, 8),
}


def unbase64(text):
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def check_md5(req):
    sent = req.headers.get("content-md5")
    if sent is None:
        return
    if len(unbase64(sent)) != 16:
        raise Fail(400, "InvalidDigest", "The Content-MD5 you specified is not valid.")
    if unbase64(sent) != hashlib.md5(req.data).digest():
        raise Fail(400, "BadDigest", "The Content-MD5 you specified did not match what we received.",
                   {"ExpectedDigest": sent, "CalculatedDigest":
                    base64.b64encode(hashlib.md5(req.data).digest()).decode()})


def check_checksum(req):
    """-> {"x-amz-checksum-...": value} to keep with the object, from a header or a trailer."""
    prefix = "x-amz-checksum-"
    found = {n: v for source in (req.headers, req.trailers) for n, v in source.items()
             if n.startswith(prefix) and n[len(prefix):] in CHECKSUMS}
    if len(found) > 1:
        raise Fail(400, "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are "
                   "not allowed.")
    algorithm = req.headers.get("x-amz-sdk-checksum-algorithm", "").lower()
    if algorithm and prefix + algorithm not in found:
        raise Fail(400, "InvalidRequest", "x-amz-sdk-checksum-algorithm specified, but no corresponding "
                   "x-amz-checksum-* or x-amz-trailer headers were found.")
    for name, value in found.items():
        algorithm = name[len(prefix):]
        digest = CHECKSUMS[algorithm](req.data)
        if len(unbase64(value)) != len(digest):
            raise Fail(400, "InvalidRequest", f"Value for {name} header is invalid.")
        if unbase64(value) != digest:
            raise Fail(400, "BadDigest", f"The {algorithm.upper()} you specified did not match the calculated "
                       "checksum.")
    return found


# --- S3 ------------------------------------------------------------------------------------------------------------

XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
HOST_ID = "tfq-test-server"
SSE = "x-amz-server-side-encryption"
SSE_C = SSE + "-customer-"
SUBRESOURCES = {"acl", "tagging", "uploads", "uploadId", "partNumber", "torrent", "retention", "legal-hold", "restore",
                "attributes", "versions", "policy", "lifecycle", "cors", "delete", "select",
                "object-lock", "X-Amz-Signature"}
KEPT_HEADERS = {"content-type", "content-encoding", "cache-control", "content-disposition", "content-language",
                "expires"}
NOT_KEPT = {"x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "x-amz-decoded-content-length",
            "x-amz-trailer", "x-amz-sdk-checksum-algorithm", SSE_C + "key"}
ACLS = {"private", "public-read", "public-read-write", "authenticated-read", "aws-exec-read", "bucket-owner-read",
        "bucket-owner-full-control", "log-delivery-write"}


class Version:
    """One version of an object, or a delete marker."""

    def __init__(self, body, headers, modified, version_id, marker=False):
        self.body, self.headers, self.modified = body, headers, modified
        self.version_id, self.marker = version_id, marker
        plain = headers.get(SSE, "AES256") == "AES256" and SSE_C + "algorithm" not in headers
        # With KMS or a customer's key the ETag of AWS is no MD5 of anything a client knows.
        self.etag = hashlib.md5(body if plain else os.urandom(16)).hexdigest()

    @property
    def quoted(self):
        return f'"{self.etag}"'

    def show(self):
        return {"etag": self.etag, "size": len(self.body), "body": self.body.decode("utf-8", "replace"),
                "headers": self.headers, "version_id": self.version_id, "modified": self.modified,
                "marker": self.marker}


# How a bucket is set up that nothing is to be said of. A value of None: it was never set up.
BUCKET_SETTINGS = {"encryption": "AES256", "logging": "logs", "public": {
    "BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}}


class Bucket:
    def __init__(self, versioned):
        self.versioned = versioned
        self.settings = dict(BUCKET_SETTINGS)  # tests change it
        self.keys = {}  # key: [Version, ...], the current one last

    def latest(self, key):
        """The current version, even if it is a delete marker."""
        versions = self.keys.get(key)
        return versions[-1] if versions else None

    def current(self, key):
        latest = self.latest(key)
        return None if latest is None or latest.marker else latest

    def add(self, key, version):
        if self.versioned:
            self.keys.setdefault(key, []).append(version)
        else:
            self.keys[key] = [version]

    def new_version_id(self):
        return base64.urlsafe_b64encode(os.urandom(24)).decode() if self.versioned else None


def host_bucket(host, region):
    """The bucket in a virtual-host style Host header, or None."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    for suffix in (f".s3.{region}.amazonaws.com", ".s3.amazonaws.com", f".s3.{region}.localhost", ".s3.localhost",
                   ".localhost"):
        if name.endswith(suffix):
            bucket = name[:-len(suffix)]
            return None if bucket in ("s3", f"s3.{region}") else bucket
    return None


def no_such_key(key, headers=()):
    return Fail(404, "NoSuchKey", "The specified key does not exist.", {"Key": key}, headers)


def not_implemented(header):
    return Fail(501, "NotImplemented", "A header you provided implies functionality that is not implemented",
                {"Header": header})


def etag_matches(header, etag):
    """A list of ETags or *.  AWS compares without regard to quotes."""
    return any(tag == "*" or tag.removeprefix("W/").strip('"') == etag
               for tag in map(str.strip, header.split(",")))


def http_date(when):
    return email.utils.formatdate(when, usegmt=True)


def xml_date(when):
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(when))


def xml_text(text):
    """Control characters are no XML; the signed parts of a wrong request may hold some."""
    return escape(re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "?", text))


def xml_answer(text, status=200):
    return Answer(status, [("Content-Type", "application/xml")], (XML_HEAD + text).encode())


class S3:
    """All methods but classify() are called with the server's lock held."""

    def __init__(self, server):
        self.server = server
        self.buckets = {}

    # Which request is it?

    def classify(self, req):
        bucket, key = host_bucket(req.headers.get("host", ""), self.server.region), req.path[1:]
        if bucket is None:
            bucket, _, key = key.partition("/")
        try:
            req.bucket, req.key = unquote(bucket, errors="strict"), unquote(key, errors="strict") or None
        except UnicodeDecodeError:
            req.bucket, req.key = bucket, key
        req.op = self.operation(req)

    @staticmethod
    def operation(req):
        if req.bucket == "":
            return "ListBuckets" if req.method == "GET" else None
        special = SUBRESOURCES.intersection(req.params)
        if req.method == "POST" or special:
            return None
        if req.key is not None:
            return {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject",
                    "DELETE": "DeleteObject"}.get(req.method)
        if req.method == "HEAD":
            return "HeadBucket"
        if req.method == "GET":
            return "GetBucketLocation" if "location" in req.params else \
                "GetBucketVersioning" if "versioning" in req.params else \
                "GetBucketEncryption" if "encryption" in req.params else \
                "GetPublicAccessBlock" if "publicAccessBlock" in req.params else \
                "GetBucketLogging" if "logging" in req.params else \
                "ListObjectsV2" if req.params.get("list-type") == "2" else None
        return None

    # Applying it

    def apply(self, req):
        if req.op is None or req.op == "ListBuckets":
            raise Fail(501, "NotImplemented", "This test server does not implement " +
                       f"{req.method} {req.path}?{req.query}")
        bucket = self.buckets.get(req.bucket)
        if bucket is None:
            raise Fail(404, "NoSuchBucket", "The specified bucket does not exist", {"BucketName": req.bucket})
        if req.key is not None:
            self.check_key(req)
        return getattr(self, req.op)(req, bucket)

    @staticmethod
    def check_key(req):
        try:
            size = len(req.key.encode())
            unquote(req.path, errors="strict")
        except UnicodeError:
            raise Fail(400, "InvalidURI", "Couldn't parse the specified URI.", {"URI": req.path}) from None
        if size > 1024:
            raise Fail(400, "KeyTooLongError", "Your key is too long", {"Size": str(size), "MaxSizeAllowed": "1024"})

    def absent(self, req, headers=()):
        """Without the right to list nobody learns whether an object exists."""
        if not req.who.may_list:
            return Fail(403, "AccessDenied", "Access Denied")
        return no_such_key(req.key, headers)

    def precondition_failed(self, condition, write=False):
        if write and self.server.quirk("conflict_409"):
            return Fail(409, "ConditionalRequestConflict", "The conditional request cannot succeed due to a "
                        "conflicting operation against this resource.", {"Condition": condition})
        return Fail(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold",
                    {"Condition": condition})

    def if_match_holds(self, header, version):
        if self.server.quirk("unquoted_etag_only"):
            return header == version.etag
        return etag_matches(header, version.etag)

    def check_put_conditions(self, req, bucket):
        match, none_match = req.headers.get("if-match"), req.headers.get("if-none-match")
        if none_match is not None and (match is not None or none_match.strip() != "*"):
            raise not_implemented("If-None-Match")
        if match is not None and match.strip() == "*":
            raise not_implemented("If-Match")
        quirk, latest, current = self.server.quirk, bucket.latest(req.key), bucket.current(req.key)
        if none_match is not None and not quirk("ignore_if_none_match"):
            if current is not None or (latest is not None and quirk("marker_412")):
                raise self.precondition_failed("If-None-Match", write=True)
        if match is not None and not quirk("ignore_if_match"):
            if current is None:
                if quirk("resurrects"):
                    return
                raise self.precondition_failed("If-Match", write=True) if quirk("absent_412") else self.absent(req)
            if not self.if_match_holds(match, current):
                raise self.precondition_failed("If-Match", write=True)

    def PutObject(self, req, bucket):
        if "content-length" not in req.headers:
            raise Fail(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
        if "x-amz-copy-source" in req.headers:
            raise not_implemented("x-amz-copy-source")
        check_md5(req)
        checksum = check_checksum(req)
        headers = self.object_headers(req)
        headers.update(checksum)
        self.check_put_conditions(req, bucket)
        conditional = "if-match" in req.headers or "if-none-match" in req.headers
        if conditional and self.server.quirk("racy"):
            # Others get in between the check and the write.
            self.server.lock.release()
            try:
                self.server.sleep(self.server.quirk("racy") / 1000)
            finally:
                self.server.lock.acquire()
        version = Version(req.data, headers, self.server.now(), bucket.new_version_id())
        bucket.add(req.key, version)
        return Answer(200, [("ETag", version.quoted)] + self.version_headers(version) +
                      self.encryption_headers(version) + list(checksum.items()))

    def object_headers(self, req):
        """What is kept with the object, after a look at the encryption and ACL headers."""
        sent = req.headers
        if sent.get(SSE, "AES256") not in ("AES256", "aws:kms", "aws:kms:dsse"):
            raise Fail(400, "InvalidArgument", "The encryption method specified is not supported",
                       {"ArgumentName": SSE, "ArgumentValue": sent[SSE]})
        if sent.get("x-amz-acl", "private") not in ACLS:
            raise Fail(400, "InvalidArgument", "", {"ArgumentName": "x-amz-acl", "ArgumentValue": sent["x-amz-acl"]})
        self.customer_key_md5(req)
        kept = {n: v for n, v in sent.items()
                if n in KEPT_HEADERS or (n.startswith("x-amz-") and n not in NOT_KEPT)}
        encoding = ",".join(e for e in map(str.strip, kept.pop("content-encoding", "").split(","))
                            if e and e != "aws-chunked")
        if encoding:
            kept["content-encoding"] = encoding
        return kept

    @staticmethod
    def customer_key_md5(req):
        """The MD5 of the SSE-C key that came with the request, or None; all three headers or none."""
        sent = [req.headers.get(SSE_C + n) for n in ("algorithm", "key", "key-md5")]
        if not any(s is not None for s in sent):
            return None
        algorithm, key, md5 = sent
        if algorithm != "AES256":
            raise Fail(400, "InvalidEncryptionAlgorithmError", "The encryption request you specified is not valid. "
                       "Supported value: AES256.")
        if key is None or md5 is None or len(unbase64(key)) != 32:
            raise Fail(400, "InvalidArgument", "The secret key was invalid for the specified algorithm.")
        if unbase64(md5) != hashlib.md5(unbase64(key)).digest():
            raise Fail(400, "InvalidArgument", "The calculated MD5 hash of the key did not match the hash that was "
                       "provided.")
        return md5

    def check_customer_key(self, req, version):
        stored, sent = version.headers.get(SSE_C + "key-md5"), self.customer_key_md5(req)
        if stored and not sent:
            raise Fail(400, "InvalidRequest", "The object was stored using a form of Server Side Encryption. The "
                       "correct parameters must be provided to retrieve the object.")
        if sent and not stored:
            raise Fail(400, "InvalidRequest", "The encryption parameters are not applicable to this object.")
        if sent != stored:
            raise Fail(403, "AccessDenied", "Access Denied")

    @staticmethod
    def version_headers(version):
        return [("x-amz-version-id", version.version_id)] if version.version_id else []

    @staticmethod
    def encryption_headers(version):
        if SSE_C + "algorithm" in version.headers:
            return [(n, version.headers[n]) for n in (SSE_C + "algorithm", SSE_C + "key-md5")]
        shown = [(SSE, version.headers.get(SSE, "AES256"))]
        key = SSE + "-aws-kms-key-id"
        return shown + ([(key, version.headers[key])] if key in version.headers else [])

    def find(self, req, bucket):
        """The version that a GET or HEAD means."""
        wanted = req.params.get("versionId")
        if wanted is None:
            latest = bucket.latest(req.key)
            if latest is None:
                raise self.absent(req)
            if latest.marker:
                raise self.absent(req, [("x-amz-delete-marker", "true")] + self.version_headers(latest))
            return latest
        for version in bucket.keys.get(req.key, ()):
            if version.version_id == wanted or (wanted == "null" and version.version_id is None):
                if version.marker:
                    raise Fail(405, "MethodNotAllowed", "The specified method is not allowed against this resource.",
                               {"Method": req.method, "ResourceType": "DeleteMarker"},
                               [("x-amz-delete-marker", "true"), ("Allow", "DELETE")])
                return version
        raise Fail(404, "NoSuchVersion", "The specified version does not exist.",
                   {"Key": req.key, "VersionId": wanted})

    def GetObject(self, req, bucket):
        version = self.find(req, bucket)
        self.check_customer_key(req, version)
        if "if-match" in req.headers and not self.if_match_holds(req.headers["if-match"], version):
            raise self.precondition_failed("If-Match")
        basic = [("ETag", version.quoted), ("Last-Modified", http_date(version.modified))] + \
            self.version_headers(version)
        if "if-none-match" in req.headers and etag_matches(req.headers["if-none-match"], version.etag):
            return Answer(304, basic)
        headers = basic + [("Accept-Ranges", "bytes"),
                           ("Content-Type", version.headers.get("content-type", "binary/octet-stream"))]
        headers += [(n, v) for n, v in version.headers.items()
                    if n.startswith("x-amz-meta-") or (n in KEPT_HEADERS and n != "content-type")]
        headers += self.encryption_headers(version)
        span = self.byte_range(req, version)
        if span:
            first, last = span
            headers.append(("Content-Range", f"bytes {first}-{last}/{len(version.body)}"))
            return Answer(206, headers, version.body[first:last + 1])
        if req.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
            headers += [(n, v) for n, v in version.headers.items() if n.startswith("x-amz-checksum-")]
        return Answer(200, headers, version.body)

    HeadObject = GetObject  # the body is left out when it is sent

    @staticmethod
    def byte_range(req, version):
        """(first, last) or None; a Range that is no single one is ignored, as the standard says."""
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", req.headers.get("range", "").strip())
        if not match or match.group(0) == "bytes=-":
            return None
        size = len(version.body)
        if match[1]:
            first, last = int(match[1]), min(int(match[2]) if match[2] else size - 1, size - 1)
            if match[2] and int(match[2]) < int(match[1]):
                return None
        else:
            first, last = max(size - int(match[2]), 0), size - 1
        if first > last:
            raise Fail(416, "InvalidRange", "The requested range is not satisfiable",
                       {"RangeRequested": req.headers["range"], "ActualObjectSize": str(size)})
        return first, last

    def DeleteObject(self, req, bucket):
        match = req.headers.get("if-match")
        if "if-none-match" in req.headers:
            raise not_implemented("If-None-Match")
        current, quirk = bucket.current(req.key), self.server.quirk
        if match is not None and not quirk("no_conditional_delete"):
            if current is None:
                if quirk("absent_delete_204"):
                    return Answer(204)
                raise self.precondition_failed("If-Match", write=True) if quirk("absent_412") else self.absent(req)
            if not self.if_match_holds(match, current):
                raise self.precondition_failed("If-Match", write=True)
        wanted = req.params.get("versionId")
        if wanted is not None:
            return self.delete_version(req, bucket, wanted)
        if not bucket.versioned:
            bucket.keys.pop(req.key, None)
            return Answer(204)
        marker = Version(b"", {}, self.server.now(), bucket.new_version_id(), marker=True)
        bucket.add(req.key, marker)
        return Answer(204, [("x-amz-delete-marker", "true")] + self.version_headers(marker))

    @staticmethod
    def delete_version(req, bucket, wanted):
        kept = [v for v in bucket.keys.get(req.key, ()) if (v.version_id or "null") != wanted]
        if kept:
            bucket.keys[req.key] = kept
        else:
            bucket.keys.pop(req.key, None)
        return Answer(204, [("x-amz-version-id", wanted)])

    def HeadBucket(self, req, _bucket):
        if not req.who.may_list:
            raise Fail(403, "AccessDenied", "Access Denied")
        return Answer(200, [("x-amz-bucket-region", self.server.region), ("Content-Type", "application/xml")])

    def GetBucketLocation(self, _req, _bucket):
        region = "" if self.server.region == "us-east-1" else self.server.region
        return xml_answer(f"<LocationConstraint {XMLNS}>{region}</LocationConstraint>")

    def GetBucketVersioning(self, _req, bucket):
        status = "<Status>Enabled</Status>" if bucket.versioned else ""
        return xml_answer(f"<VersioningConfiguration {XMLNS}>{status}</VersioningConfiguration>")

    def GetBucketEncryption(self, _req, bucket):
        algorithm = bucket.settings["encryption"]
        if not algorithm:
            raise Fail(404, "ServerSideEncryptionConfigurationNotFoundError",
                       "The server side encryption configuration was not found")
        return xml_answer(f"<ServerSideEncryptionConfiguration {XMLNS}><Rule><ApplyServerSideEncryptionByDefault>"
                          f"<SSEAlgorithm>{xml_text(algorithm)}</SSEAlgorithm></ApplyServerSideEncryptionByDefault>"
                          "<BucketKeyEnabled>false</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>")

    def GetPublicAccessBlock(self, _req, bucket):
        settings = bucket.settings["public"]
        if not settings:
            raise Fail(404, "NoSuchPublicAccessBlockConfiguration",
                       "The public access block configuration was not found")
        members = "".join(f"<{name}>{str(value).lower()}</{name}>" for name, value in settings.items())
        return xml_answer(f"<PublicAccessBlockConfiguration {XMLNS}>{members}</PublicAccessBlockConfiguration>")

    def GetBucketLogging(self, _req, bucket):
        target = bucket.settings["logging"]
        enabled = f"<LoggingEnabled><TargetBucket>{xml_text(target)}</TargetBucket><TargetPrefix>s3/</TargetPrefix>" \
            "</LoggingEnabled>" if target else ""
        return xml_answer(f"<BucketLoggingStatus {XMLNS}>{enabled}</BucketLoggingStatus>")

    def ListObjectsV2(self, req, bucket):
        if not req.who.may_list:
            raise Fail(403, "AccessDenied", "Access Denied")
        params = req.params
        prefix, delimiter = params.get("prefix", ""), params.get("delimiter", "")
        limit = params.get("max-keys", "1000")
        if not re.fullmatch(r"\d{1,9}", limit):
            raise Fail(400, "InvalidArgument", "Provided max-keys not an integer or within integer range",
                       {"ArgumentName": "max-keys", "ArgumentValue": limit})
        limit = min(int(limit), 1000)
        after = params.get("start-after", "")
        if "continuation-token" in params:
            after = unbase64(params["continuation-token"]).decode("utf-8", "replace")
            if not after:
                raise Fail(400, "InvalidArgument", "The continuation token provided is incorrect",
                           {"ArgumentName": "continuation-token"})
        keys, prefixes, last, more = self.list_page(bucket, prefix, delimiter, after, limit)
        return self.list_answer(req, bucket, keys, prefixes, limit, last if more else None)

    @staticmethod
    def list_page(bucket, prefix, delimiter, after, limit):
        """-> (keys, common prefixes, last name seen, is there more).  Order is that of the UTF-8 bytes, which is that
        of the code points, which is Python's."""
        names = sorted(k for k in bucket.keys if k.startswith(prefix) and bucket.current(k) is not None)
        keys, prefixes, last = [], [], ""
        for name in names[bisect.bisect_right(names, after):]:
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            common = name[:cut + len(delimiter)] if cut >= 0 else None
            if common is not None and (common in prefixes[-1:] or (common == after or after.startswith(common))):
                continue
            if len(keys) + len(prefixes) >= limit:
                return keys, prefixes, last, limit > 0
            if common is None:
                keys.append(name)
                last = name
            else:
                prefixes.append(common)
                last = common
        return keys, prefixes, last, False

    @staticmethod
    def list_answer(req, bucket, keys, prefixes, limit, next_after):
        params = req.params
        url = params.get("encoding-type") == "url"

        def text(name):
            return quote(name, safe="-_.~/*") if url else escape(name)

        out = [f"<ListBucketResult {XMLNS}><Name>{escape(req.bucket)}</Name>",
               f"<Prefix>{text(params.get('prefix', ''))}</Prefix>"]
        for name, element in (("delimiter", "Delimiter"), ("start-after", "StartAfter")):
            if params.get(name):
                out.append(f"<{element}>{text(params[name])}</{element}>")
        if "continuation-token" in params:
            out.append(f"<ContinuationToken>{escape(params['continuation-token'])}</ContinuationToken>")
        if url:
            out.append("<EncodingType>url</EncodingType>")
        out.append(f"<KeyCount>{len(keys) + len(prefixes)}</KeyCount><MaxKeys>{limit}</MaxKeys>"
                   f"<IsTruncated>{str(next_after is not None).lower()}</IsTruncated>")
        if next_after is not None:
            token = base64.b64encode(next_after.encode()).decode()
            out.append(f"<NextContinuationToken>{token}</NextContinuationToken>")
        for key in keys:
            version = bucket.current(key)
            out.append(f"<Contents><Key>{text(key)}</Key><LastModified>{xml_date(version.modified)}</LastModified>"
                       f"<ETag>{escape(version.quoted, {chr(34): '&quot;'})}</ETag><Size>{len(version.body)}</Size>"
                       "<StorageClass>STANDARD</StorageClass></Contents>")
        out += [f"<CommonPrefixes><Prefix>{text(p)}</Prefix></CommonPrefixes>" for p in prefixes]
        return xml_answer("".join(out) + "</ListBucketResult>")

    def error(self, req, fail):
        extra = dict(fail.extra)
        bare = self.server.quirk("bare_errors")
        elements = [("Code", fail.code), ("Message", "" if bare else fail.message)] + list(extra.items())
        if not bare:
            elements += [("Resource", unquote(req.path)), ("RequestId", req.id), ("HostId", HOST_ID)]
        body = "".join(f"<{n}>{xml_text(v)}</{n}>" for n, v in elements)
        return Answer(fail.status, [("Content-Type", "application/xml")] + fail.headers,
                      (XML_HEAD + f"<Error>{body}</Error>").encode(), fail.code)


# --- DynamoDB ------------------------------------------------------------------------------------------------------

DYNAMODB_OPS = ("GetItem", "PutItem", "DeleteItem", "DescribeTable")
TARGET = "DynamoDB_20120810."
HASH_KEY = "LockID"
MAX_ITEM = 400 * 1024
ERROR_PREFIX = {  # where a name is defined shows in __type
    "ValidationException": "com.amazon.coral.validate#",
    "ThrottlingException": "com.amazon.coral.availability#",
}
CORAL = {"MissingAuthenticationTokenException", "IncompleteSignatureException", "InvalidSignatureException",
         "UnrecognizedClientException", "ExpiredTokenException", "AccessDeniedException",
         "UnknownOperationException", "SerializationException", "ServiceUnavailable"}
LEGACY = ("Expected", "ConditionalOperator", "AttributesToGet")


def invalid(text):
    return Fail(400, "ValidationException", text)


def same_value(a, b):
    """Attribute values are equal if type and value are; numbers compare as numbers."""
    if a.keys() != b.keys():
        return False
    if "N" in a:
        return Decimal(a["N"]) == Decimal(b["N"])
    return a == b


def check_value(name, value):
    if not isinstance(value, dict) or len(value) != 1:
        raise invalid(f"Supplied AttributeValue is empty or has more than one type, attribute: {name}")
    (kind, inner), = value.items()
    if kind not in ("S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M"):
        raise invalid(f"Supplied AttributeValue has an unknown type: {kind}")
    if kind in ("S", "N", "B") and not isinstance(inner, str):
        raise Fail(400, "SerializationException", f"{kind} must be a string")
    if kind == "N":
        try:
            if not Decimal(inner).is_finite():
                raise InvalidOperation
        except InvalidOperation:
            raise invalid(f"The parameter cannot be converted to a numeric value: {inner}") from None


class Expressions:
    """The condition and projection of one request, with its #names and :values."""

    TOKEN = re.compile(r"\s*(?:(?P<name>#?[A-Za-z0-9_]+)|(?P<value>:[A-Za-z0-9_]+)|(?P<sign><>|[=(),]))")

    def __init__(self, body):
        self.names = body.get("ExpressionAttributeNames") or {}
        self.values = body.get("ExpressionAttributeValues") or {}
        self.used = set()
        has_expression = any(body.get(n) is not None for n in ("ConditionExpression", "ProjectionExpression"))
        for member in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
            if body.get(member) is not None and not has_expression:
                raise invalid(f"{member} can only be specified when using expressions")
            if body.get(member) == {}:
                raise invalid(f"{member} must not be empty")
        for name, value in self.values.items():
            check_value(name, value)
        self.condition = self.projection = None
        if body.get("ConditionExpression") is not None:
            self.condition = self.parse_condition(body["ConditionExpression"])
        if body.get("ProjectionExpression") is not None:
            self.projection = self.parse_projection(body["ProjectionExpression"])
        self.check_all_used()

    def check_all_used(self):
        for what, given in (("Names", self.names), ("Values", self.values)):
            unused = sorted(set(given) - self.used)
            if unused:
                raise invalid(f"Value provided in ExpressionAttribute{what} unused in expressions: keys: "
                              f"{{{', '.join(unused)}}}")

    def tokens(self, what, text):
        """[(kind, text), ...] with a last ("end", "")"""
        if not isinstance(text, str) or not text.strip():
            raise invalid(f"Invalid {what}: The expression can not be empty;")
        out, pos = [], 0
        while text[pos:].strip():
            match = self.TOKEN.match(text, pos)
            if not match:
                raise invalid(f'Invalid {what}: Syntax error; token: "{text[pos:].strip()[:1]}", near: "{text}"')
            out.append((match.lastgroup, match[match.lastgroup]))
            pos = match.end()
        return out + [("end", "")]

    def name(self, what, text):
        if not text.startswith("#"):
            return text
        if text not in self.names:
            raise invalid(f"Invalid {what}: An expression attribute name used in the document path is not defined; "
                          f"attribute name: {text}")
        self.used.add(text)
        return self.names[text]

    def parse_projection(self, text):
        what, out = "ProjectionExpression", []
        tokens = self.tokens(what, text)
        for i in range(0, len(tokens), 2):
            if tokens[i][0] != "name" or tokens[i + 1][1] not in (",", ""):
                raise invalid(f'Invalid {what}: Syntax error; near: "{text}"')
            out.append(self.name(what, tokens[i][1]))
        return out

    # condition = and { OR and }; and = term { AND term }; each returns a function of an item

    def parse_condition(self, text):
        tokens = self.tokens("ConditionExpression", text)
        self.rest = iter(tokens)
        self.next()
        predicate = self.disjunction()
        if self.kind != "end":
            raise self.syntax()
        return predicate

    def next(self):
        self.kind, self.token = next(self.rest)

    def syntax(self):
        return invalid(f'Invalid ConditionExpression: Syntax error; token: "{self.token or "<EOF>"}"')

    def expect(self, token):
        if self.token != token:
            raise self.syntax()
        self.next()

    def keyword(self, word):
        return self.kind == "name" and self.token.upper() == word

    def disjunction(self):
        parts = [self.conjunction()]
        while self.keyword("OR"):
            self.next()
            parts.append(self.conjunction())
        return lambda item: any(p(item) for p in parts)

    def conjunction(self):
        parts = [self.term()]
        while self.keyword("AND"):
            self.next()
            parts.append(self.term())
        return lambda item: all(p(item) for p in parts)

    def term(self):
        if self.token == "(":
            self.next()
            inner = self.disjunction()
            self.expect(")")
            return inner
        if self.token in ("attribute_exists", "attribute_not_exists"):
            wanted = self.token == "attribute_exists"
            self.next()
            self.expect("(")
            if self.kind != "name":
                raise self.syntax()
            name = self.name("ConditionExpression", self.token)
            self.next()
            self.expect(")")
            return lambda item: (name in item) == wanted
        return self.comparison()

    def comparison(self):
        left = self.operand()
        sign = self.token
        if sign not in ("=", "<>"):
            raise self.syntax()
        self.next()
        right = self.operand()

        def holds(item):
            a, b = left(item), right(item)
            if a is None or b is None:  # an absent attribute equals nothing
                return sign == "<>"
            return same_value(a, b) == (sign == "=")
        return holds

    def operand(self):
        kind, token = self.kind, self.token
        if kind not in ("name", "value"):
            raise self.syntax()
        self.next()
        if kind == "name":
            name = self.name("ConditionExpression", token)
            return lambda item: item.get(name)
        if token not in self.values:
            raise invalid("Invalid ConditionExpression: An expression attribute value used in expression is not "
                          f"defined; attribute value: {token}")
        self.used.add(token)
        value = self.values[token]
        return lambda _item: value


class DynamoDB:
    def __init__(self, server):
        self.server = server
        self.tables = {}  # name: {LockID: item}
        self.described = {}  # name: members that tests change of what DescribeTable says; None takes one away

    def classify(self, req):
        target = req.headers.get("x-amz-target", "")
        req.op = target[len(TARGET):] if target.startswith(TARGET) else target
        try:
            body = json.loads(req.body)
        except ValueError:
            return
        if not isinstance(body, dict):
            return
        req.json = body
        req.bucket = body.get("TableName")
        key = body.get("Key") or body.get("Item")
        key = key.get(HASH_KEY) if isinstance(key, dict) else None
        req.key = key.get("S") if isinstance(key, dict) else None

    def apply(self, req):
        if req.op not in DYNAMODB_OPS:
            raise Fail(400, "UnknownOperationException", "")
        if not req.headers.get("content-type", "").startswith("application/x-amz-json-1.0"):
            raise Fail(404, "UnknownOperationException", "")
        body = req.json
        if body is None:
            raise Fail(400, "SerializationException", "Start of structure or map found where not expected.")
        if not isinstance(body.get("TableName"), str):
            raise invalid("1 validation error detected: Value null at 'tableName' failed to satisfy constraint: "
                          "Member must not be null")
        for name in LEGACY:
            if name in body:
                raise invalid(f"This test server does not implement {name}")
        answer = getattr(self, req.op)(req, body)
        return self.answer(200, answer)

    def answer(self, status, body, headers=(), code=None):
        data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        return Answer(status, [("Content-Type", "application/x-amz-json-1.0"),
                               ("x-amz-crc32", str(zlib.crc32(data)))] + list(headers), data, code)

    def error(self, _req, fail):
        prefix = ERROR_PREFIX.get(fail.code, "com.amazon.coral.service#" if fail.code in CORAL else
                                  "com.amazonaws.dynamodb.v20120810#")
        message = "" if self.server.quirk("bare_errors") else fail.message
        body = {"__type": prefix + fail.code, "message": message}
        body.update(fail.extra)
        return self.answer(fail.status, body, fail.headers, fail.code)

    def table(self, name, text="Requested resource not found"):
        if name not in self.tables:
            raise Fail(400, "ResourceNotFoundException", text)
        return self.tables[name]

    @staticmethod
    def hash_key(attributes, is_item):
        if not isinstance(attributes, dict):
            raise invalid("1 validation error detected: Value null failed to satisfy constraint: Member must not be "
                          "null")
        for name, value in attributes.items():
            check_value(name, value)
        if not is_item and set(attributes) != {HASH_KEY}:
            raise invalid("The provided key element does not match the schema")
        if HASH_KEY not in attributes:
            raise invalid("One or more parameter values were invalid: Missing the key LockID in the item")
        value = attributes[HASH_KEY]
        if "S" not in value:
            raise invalid("One or more parameter values were invalid: Type mismatch for key LockID expected: S "
                          f"actual: {next(iter(value))}" if is_item else
                          "The provided key element does not match the schema")
        if not value["S"]:
            raise invalid("One or more parameter values are not valid. The AttributeValue for a key attribute cannot "
                          "contain an empty string value. Key: LockID")
        return value["S"]

    def check_condition(self, expressions, body, old):
        mode = body.get("ReturnValuesOnConditionCheckFailure", "NONE")
        if mode not in ("NONE", "ALL_OLD"):
            raise invalid("1 validation error detected: Value at 'returnValuesOnConditionCheckFailure' failed to "
                          "satisfy constraint: Member must satisfy enum value set: [ALL_OLD, NONE]")
        if expressions.condition and not expressions.condition(old or {}):
            show = mode == "ALL_OLD" and old and not self.server.quirk("no_all_old")
            raise Fail(400, "ConditionalCheckFailedException", "The conditional request failed",
                       {"Item": old} if show else None)

    @staticmethod
    def returned(body, old):
        mode = body.get("ReturnValues", "NONE")
        if mode not in ("NONE", "ALL_OLD"):
            raise invalid("Return values set to invalid value")
        return {"Attributes": old} if mode == "ALL_OLD" and old else {}

    def GetItem(self, _req, body):
        key, expressions = self.hash_key(body.get("Key"), False), Expressions(body)
        item = self.table(body["TableName"]).get(key)
        if item is None:
            return {}
        if expressions.projection is not None:
            item = {n: v for n, v in item.items() if n in expressions.projection}
        return {"Item": item}

    def PutItem(self, _req, body):
        key, expressions = self.hash_key(body.get("Item"), True), Expressions(body)
        table = self.table(body["TableName"])
        if len(json.dumps(body["Item"])) > MAX_ITEM:
            raise invalid("Item size has exceeded the maximum allowed size")
        old = table.get(key)
        self.check_condition(expressions, body, old)
        answer = self.returned(body, old)
        table[key] = body["Item"]
        return answer

    def DeleteItem(self, _req, body):
        key, expressions = self.hash_key(body.get("Key"), False), Expressions(body)
        table = self.table(body["TableName"])
        old = table.get(key)
        self.check_condition(expressions, body, old)
        answer = self.returned(body, old)
        table.pop(key, None)
        return answer

    def DescribeTable(self, _req, body):
        name = body["TableName"]
        table = self.table(name, f"Requested resource not found: Table: {name} not found")
        description = {
            "TableName": name, "TableStatus": "ACTIVE", "ItemCount": len(table), "TableSizeBytes": 0,
            "TableArn": f"arn:aws:dynamodb:{self.server.region}:123456789012:table/{name}",
            "KeySchema": [{"AttributeName": HASH_KEY, "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": HASH_KEY, "AttributeType": "S"}],
            "CreationDateTime": 1.6e9, "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}}
        description.update(self.described.get(name, {}))
        return {"Table": {member: value for member, value in description.items() if value is not None}}


# --- Faults --------------------------------------------------------------------------------------------------------

DEFAULT_CODES = {
    "s3": {400: "BadRequest", 403: "AccessDenied", 404: "NoSuchKey", 409: "ConditionalRequestConflict",
           412: "PreconditionFailed", 429: "TooManyRequests", 500: "InternalError", 503: "SlowDown"},
    "dynamodb": {400: "ProvisionedThroughputExceededException", 403: "AccessDeniedException",
                 500: "InternalServerError", 503: "ServiceUnavailable"},
}


class Rule:
    def __init__(self, spec):
        if not isinstance(spec, dict) or spec.get("do") not in DO or set(spec) - RULE_FIELDS:
            raise ValueError(f"bad fault rule {spec!r}: do is one of {sorted(DO)}, fields are {sorted(RULE_FIELDS)}")
        self.spec = spec
        self.skip = spec.get("skip", 0)
        self.count = spec.get("count", 1)
        if self.count is None or self.count < 0:
            self.count = float("inf")

    def matches(self, req):
        spec, key = self.spec, req.key or ""
        return spec.get("service", req.service) == req.service and spec.get("method", req.method) == req.method and \
            spec.get("op", req.op) == req.op and spec.get("key_id", req.key_id) == req.key_id and \
            key.startswith(spec.get("prefix", "")) and key.endswith(spec.get("suffix", "")) and \
            ("header" not in spec or spec["header"].lower() in req.headers)

    def acts(self, req, rng):
        """Called with the lock held: it counts."""
        if self.count <= 0 or not self.matches(req):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.spec.get("p", 1) < 1 and rng.random() >= self.spec["p"]:
            return False
        self.count -= 1
        return True

    def show(self):
        return {**self.spec, "skip": self.skip, "count": -1 if self.count == float("inf") else self.count}

    def fail(self, service):
        status = self.spec.get("status", 503 if service == "s3" else 400)
        code = self.spec.get("code") or DEFAULT_CODES[service].get(status, "InternalError")
        return Fail(status, code, self.spec.get("message", "injected by the test"))

    def html(self):
        status = self.spec.get("status", 200)
        return Answer(status, [("Content-Type", "text/html")],
                      b"<html><head><title>Proxy</title></head><body><h1>It works, or not</h1></body></html>\n")


# --- The server ----------------------------------------------------------------------------------------------------

LOGGED_HEADERS = {"host", "range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since",
                  "content-type", "content-length", "content-md5", "content-encoding", "user-agent", "expect",
                  "connection", "amz-sdk-request"}


def new_id():
    return os.urandom(8).hex().upper()


class Connection(threading.Thread):
    """One client connection: reads requests, has the server handle them, writes the answers."""

    def __init__(self, server, sock, number):
        super().__init__(daemon=True, name=f"connection {number}")
        self.server, self.sock, self.number = server, sock, number
        self.buffer = b""

    def run(self):
        try:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.server.tls_context:
                self.sock.settimeout(self.server.read_timeout)
                self.sock.do_handshake()
            while self.serve_one():
                pass
        except (OSError, Drop):
            pass
        finally:
            self.close()
            self.server.connections.pop(self.number, None)

    def close(self):
        # shutdown() also wakes this thread when another one calls it; close() alone would not.
        for step in (lambda: self.sock.shutdown(socket.SHUT_RDWR), self.sock.close):
            try:
                step()
            except OSError:
                pass

    def client_gone(self):
        poll = select.poll()
        poll.register(self.sock.fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))

    def serve_one(self):
        """False when the connection is at its end."""
        try:
            req, keep = self.read_request()
        except BadHttp as bad:
            body = f"<Error><Code>{bad.code}</Code><Message>{escape(str(bad))}</Message></Error>".encode()
            self.send(Answer(bad.status, [("Content-Type", "application/xml")], body), "GET", False)
            return False
        if req is None:
            return False
        answer = self.server.handle(req)
        keep = keep and not answer.truncate
        self.send(answer, req.method, keep)
        return keep

    # Reading.  All of a request must come within read_timeout, whatever its Content-Length says.

    def receive(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise BadHttp(400, "RequestTimeout", "Your socket connection to the server was not read from or written to "
                          "within the timeout period. Idle connections will be closed.")
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(65536)
        except (socket.timeout, ssl.SSLWantReadError):
            return self.receive(deadline)
        if not data:
            raise Drop
        self.buffer += data
        return True

    def read_request(self):
        """(Request, keep the connection), or (None, False) when the client has gone."""
        if not self.buffer:
            self.sock.settimeout(self.server.idle_timeout)
            self.buffer = self.sock.recv(65536)
            if not self.buffer:
                return None, False
        deadline = time.monotonic() + self.server.read_timeout
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            if len(self.buffer) > MAX_HEAD:
                raise BadHttp(400, "RequestHeaderSectionTooLarge",
                              "Your request header section exceeds the maximum allowed size.")
            self.receive(deadline)
        head, self.buffer = self.buffer[:end].decode("latin-1"), self.buffer[end + 4:]
        method, path, query, version, headers = self.parse_head(head)
        body = self.read_body(headers, deadline)
        wants = headers.get("connection", "").lower()
        keep = wants != "close" and (version == "HTTP/1.1" or wants == "keep-alive")
        return Request(method, path, query, headers, body, self), keep

    @staticmethod
    def parse_head(head):
        first, *lines = head.lstrip("\r\n").split("\r\n")
        parts = first.split(" ")
        if len(parts) != 3 or parts[2] not in ("HTTP/1.1", "HTTP/1.0"):
            raise BadHttp(400, "BadRequest", "An error occurred when parsing the HTTP request.")
        method, target, version = parts
        if target.startswith(("http://", "https://")):  # as through a proxy
            target = "/" + target.split("/", 3)[3] if target.count("/") > 2 else "/"
        if not target.startswith("/"):
            raise BadHttp(400, "BadRequest", "An error occurred when parsing the HTTP request.")
        headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise BadHttp(400, "BadRequest", "An error occurred when parsing the HTTP request.")
            name, value = name.lower(), value.strip(" \t")
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        path, _, query = target.partition("?")
        return method, path, query, version, headers

    def read_body(self, headers, deadline):
        if "transfer-encoding" in headers:
            raise BadHttp(501, "NotImplemented",
                          "A header you provided implies functionality that is not implemented")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > MAX_BODY:
            raise BadHttp(400, "BadRequest", "Content-Length is no number, or too big")
        length = int(length)
        if headers.get("expect", "").lower() == "100-continue" and len(self.buffer) < length:
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(self.buffer) < length:
            self.receive(deadline)
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return body

    def send(self, answer, method, keep):
        bare = method == "HEAD" or answer.status in (204, 304)
        lines = [f"HTTP/1.1 {answer.status} {HTTP_REASONS.get(answer.status, 'Unknown')}"]
        lines += [f"{n}: {v}" for n, v in answer.headers]
        lines.append("Date: " + http_date(self.server.now()))
        # HEAD tells the size of the object, but not that of an error body, which AWS does not tell either.
        if not bare or (method == "HEAD" and answer.status in (200, 206)):
            lines.append(f"Content-Length: {len(answer.body)}")
        if not keep:
            lines.append("Connection: close")
        head, body = "\r\n".join(lines + ["", ""]).encode("latin-1", "replace"), b"" if bare else answer.body
        if answer.truncate:
            data = head + body[:len(body) // 2] if body else head[:len(head) // 2]
        else:
            data = head + body
        self.sock.settimeout(self.server.read_timeout)
        self.sock.sendall(data)


class Server:
    """start() binds and returns the port; stop() ends all.  Everything below may be used from the test's own thread."""

    def __init__(self, port=0, buckets=("tfbucket",), tables=("tflocks",), region="us-east-1", versioned=False,
                 tls=None, access_log=None, keys=None, read_timeout=10.0, idle_timeout=300.0, seed=None,
                 host="127.0.0.1"):
        self.host, self.port, self.region, self.versioned = host, port, region, versioned
        self.read_timeout, self.idle_timeout = read_timeout, idle_timeout
        self.keys = dict(KEYS, **(keys or {}))
        self.verifier = Verifier(self.keys, region)
        self.lock = threading.Lock()
        self.released = threading.Condition()  # for hanging requests
        self.rng = random.Random(seed)
        self.s3, self.dynamodb = S3(self), DynamoDB(self)
        self.names = (tuple(buckets), tuple(tables))
        self.access_log = open(access_log, "a", encoding="utf-8", buffering=1) if access_log else None
        self.tls_context = self.load_tls(*tls) if tls else None
        self.connections, self.count = {}, 0
        self.generation, self.applied, self.stopping = 0, 0, False
        self.log = []
        self.reset()

    @staticmethod
    def load_tls(cert, key):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        context.set_alpn_protocols(["http/1.1"])
        return context

    # Life

    def start(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((self.host, self.port))
        self.listener.listen(512)
        self.port = self.listener.getsockname()[1]
        self.acceptor = threading.Thread(target=self.accept_all, daemon=True, name="acceptor")
        self.acceptor.start()
        return self.port

    def accept_all(self):
        while not self.stopping:
            try:
                sock, _ = self.listener.accept()
                if self.tls_context:  # the handshake is left to the connection's own thread
                    sock = self.tls_context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            except OSError:
                if self.stopping:
                    return
                time.sleep(0.01)  # out of descriptors, perhaps: do not spin
                continue
            self.count += 1
            connection = Connection(self, sock, self.count)
            self.connections[self.count] = connection
            connection.start()

    def stop(self):
        with self.released:
            self.stopping = True
            self.released.notify_all()
        # shutdown() makes a blocked accept() return; close() alone would not.
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.acceptor.join(5)
        self.listener.close()
        open_connections = list(self.connections.values())
        for connection in open_connections:
            connection.close()
        for connection in open_connections:
            connection.join(5)
        if self.access_log:
            self.access_log.close()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def url(self):
        return f"{'https' if self.tls_context else 'http'}://{self.host}:{self.port}"

    def reset(self):
        with self.lock:
            self.s3.buckets = {name: Bucket(self.versioned) for name in self.names[0]}
            self.dynamodb.tables = {name: {} for name in self.names[1]}
            self.dynamodb.described = {}
            self.log.clear()
            self.offset, self.quirks = 0.0, {}
        self.set_faults([])

    # What tests look at and turn

    @property
    def objects(self):
        """{bucket: {key: Version}}, current versions only."""
        with self.lock:
            return {name: {key: bucket.current(key) for key in bucket.keys if bucket.current(key)}
                    for name, bucket in self.s3.buckets.items()}

    @property
    def items(self):
        """{table: {LockID: item}}"""
        with self.lock:
            return {name: dict(table) for name, table in self.dynamodb.tables.items()}

    def put_object(self, bucket, key, body, headers=None):
        """Behind everybody's back: no signature, no condition, no log."""
        with self.lock:
            where = self.s3.buckets[bucket]
            version = Version(body, headers or {"content-type": "application/json"}, self.now(),
                              where.new_version_id())
            where.add(key, version)
            return version

    def delete_object(self, bucket, key):
        """All versions."""
        with self.lock:
            self.s3.buckets[bucket].keys.pop(key, None)

    def set_faults(self, specs):
        rules = [Rule(spec) for spec in specs]
        with self.lock:
            self.rules = rules
        with self.released:
            self.generation += 1
            self.released.notify_all()

    def set_quirks(self, quirks):
        if set(quirks) - set(QUIRKS):
            raise ValueError(f"unknown quirk; there are {sorted(QUIRKS)}")
        self.quirks = dict(quirks)

    def quirk(self, name):
        return self.quirks.get(name)

    def now(self):
        return time.time() + self.offset

    def sleep(self, seconds):
        """Ends early when the server stops."""
        with self.released:
            self.released.wait_for(lambda: self.stopping, seconds)

    # A request

    def handle(self, req):
        if req.path.startswith("/_tfq/"):
            return self.control(req)
        arrived = time.perf_counter()
        service = self.dynamodb if "x-amz-target" in req.headers else self.s3
        req.service = "dynamodb" if service is self.dynamodb else "s3"
        service.classify(req)
        entry = self.log_arrival(req)
        answer = None
        try:
            answer = self.with_ids(req, self.answer(req, service, entry))
            return answer
        finally:
            if answer is not None:
                entry["status"], entry["code"] = answer.status, answer.code
            entry["ms"] = round((time.perf_counter() - arrived) * 1000, 3)
            self.write_access_log(entry)

    def log_arrival(self, req):
        """What GET /_tfq/log shows.  status and code are what was sent (null: nothing, or not yet); applied is the
        status with which it was applied (null: it was not), applied_at the order in which that happened."""
        shown = {n: v for n, v in req.headers.items() if n in LOGGED_HEADERS or n.startswith("x-amz-")}
        match = re.search(r"Credential=([^/,\s]*)", req.headers.get("authorization", ""))
        entry = {"time": time.time(), "connection": req.connection and req.connection.number,
                 "service": req.service, "op": req.op, "method": req.method, "path": req.path, "query": req.query,
                 "bucket": req.bucket, "key": req.key, "headers": shown, "key_id": match[1] if match else None,
                 "status": None, "code": None, "fault": None, "applied": None, "applied_at": None, "ms": None,
                 "body": req.body[:MAX_LOG_BODY].decode("utf-8", "replace")}
        with self.lock:
            self.log.append(entry)
        return entry

    def write_access_log(self, entry):
        if not self.access_log:
            return
        try:
            self.access_log.write(f"{entry['time']:.6f} {entry['connection']} {entry['key_id'] or '-'} "
                                  f"{entry['method']} {entry['path']}{'?' if entry['query'] else ''}{entry['query']} "
                                  f"{entry['op'] or '-'} {entry['key'] or '-'} {entry['status'] or '-'} "
                                  f"{entry['code'] or '-'} {entry['fault'] or '-'} {entry['ms']}\n")
        except ValueError:  # closed by stop()
            pass

    def answer(self, req, service, entry):
        try:
            self.verifier.verify(req, self.now())
        except Fail as fail:
            return service.error(req, fail)
        entry["body"] = req.data[:MAX_LOG_BODY].decode("utf-8", "replace")  # without the chunks
        rule = self.pick_rule(req)
        if rule is None:
            return self.apply(req, service, entry)
        entry["fault"] = rule.spec["do"]
        before = self.fault_before(rule, req, service)
        if before is not None:
            return before
        return self.fault_after(rule, req, service, self.apply(req, service, entry))

    def pick_rule(self, req):
        with self.lock:
            return next((rule for rule in self.rules if rule.acts(req, self.rng)), None)

    def apply(self, req, service, entry):
        """The one place where anything changes, one request at a time."""
        with self.lock:
            try:
                answer = service.apply(req)
            except Fail as fail:
                answer = service.error(req, fail)
            except Exception:  # a bug here must show in the test, not hang it
                traceback.print_exc()
                answer = service.error(req, Fail(500, "InternalError", "bug in the test server, see its stderr"))
            entry["applied"] = answer.status
            self.applied = entry["applied_at"] = self.applied + 1
        return answer

    @staticmethod
    def with_ids(req, answer):
        if req.service == "s3":
            answer.headers += [("x-amz-request-id", req.id), ("x-amz-id-2", HOST_ID)]
        else:
            answer.headers.append(("x-amzn-RequestId", req.id))
        return answer

    def hang(self, req):
        with self.released:
            generation = self.generation
            self.released.wait_for(lambda: self.stopping or self.generation != generation)
        # A client that gave up must not have its write applied when the next test begins.
        if self.stopping or req.connection.client_gone():
            raise Drop

    def fault_before(self, rule, req, service):
        """An answer if the request is not to be applied."""
        do = rule.spec["do"]
        if do == "drop-before":
            raise Drop
        if do == "error":
            return service.error(req, rule.fail(req.service))
        if do == "html":
            return rule.html()
        if do == "delay":
            self.sleep(rule.spec.get("ms", 100) / 1000)
        if do == "hang":
            self.hang(req)
        return None

    def fault_after(self, rule, req, service, answer):
        do = rule.spec["do"]
        if do == "drop-after":
            raise Drop
        if do == "error-after":
            return service.error(req, rule.fail(req.service))
        if do == "html-after":
            return rule.html()
        if do == "delay-after":
            self.sleep(rule.spec.get("ms", 100) / 1000)
        if do == "hang-after":
            self.hang(req)
        if do == "no-etag":
            answer.headers = [h for h in answer.headers if h[0] != "ETag"]
        if do == "bad-crc":
            answer.headers = [(n, str(int(v) ^ 1) if n == "x-amz-crc32" else v) for n, v in answer.headers]
        answer.truncate = do == "truncate"
        return answer

    # Control

    def control(self, req):
        name, _, rest = req.path[len("/_tfq/"):].partition("/")
        handler = getattr(self, "control_" + name, None)
        try:
            result = handler(req, rest) if handler else None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return Answer(400, [("Content-Type", "text/plain")], f"{error}\n".encode())
        if result is None:
            return Answer(404, [("Content-Type", "text/plain")], b"no such control\n")
        if isinstance(result, Answer):
            return result
        return Answer(200, [("Content-Type", "application/json")], json.dumps(result).encode())

    def control_fault(self, req, _rest):
        if req.method in ("POST", "PUT"):
            self.set_faults(json.loads(req.body or b"[]"))
        elif req.method == "DELETE":
            self.set_faults([])
        with self.lock:
            return [rule.show() for rule in self.rules]

    def control_log(self, req, _rest):
        with self.lock:
            if req.method == "DELETE":
                self.log.clear()
            return [dict(entry) for entry in self.log]

    def control_clock(self, req, _rest):
        if req.method in ("POST", "PUT"):
            self.offset = float(json.loads(req.body)["offset"])
        return {"offset": self.offset, "now": self.now()}

    def control_quirks(self, req, _rest):
        if req.method in ("POST", "PUT"):
            self.set_quirks(json.loads(req.body or b"{}"))
        return self.quirks

    def control_reset(self, req, _rest):
        if req.method != "POST":
            return None
        self.reset()
        return {}

    def control_objects(self, _req, _rest):
        return {name: {key: version.show() for key, version in objects.items()}
                for name, objects in self.objects.items()}

    def control_items(self, _req, _rest):
        return self.items

    def control_object(self, req, rest):
        bucket, _, key = rest.partition("/")
        bucket, key = unquote(bucket), unquote(key)
        if bucket not in self.s3.buckets or not key:
            return None
        if req.method == "PUT":
            version = self.put_object(bucket, key, req.body)
            return {"etag": version.etag}
        if req.method == "DELETE":
            self.delete_object(bucket, key)
            return {}
        version = self.objects[bucket].get(key)
        return version and Answer(200, [("ETag", version.quoted), ("Content-Type", "application/octet-stream")],
                                  version.body)

    def control_item(self, req, rest):
        table, _, key = rest.partition("/")
        table, key = unquote(table), unquote(key)
        if table not in self.dynamodb.tables or not key:
            return None
        with self.lock:
            items = self.dynamodb.tables[table]
            if req.method == "PUT":
                items[key] = {**json.loads(req.body), HASH_KEY: {"S": key}}
            elif req.method == "DELETE":
                items.pop(key, None)
            return items.get(key, {})


# --- Command line --------------------------------------------------------------------------------------------------

def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--bucket", action="append", metavar="NAME")
    parser.add_argument("--table", action="append", metavar="NAME")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--versioned", action="store_true")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--access-log", metavar="FILE")
    parser.add_argument("--key", action="append", default=[], metavar="ID:SECRET[:TOKEN]")
    parser.add_argument("--seed", type=int, help="for rules with a probability")
    parser.add_argument("--until-stdin-closes", action="store_true")
    return parser.parse_args()


def catch_signals():
    """A descriptor that becomes readable when it is time to end."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.write(writer, b"x"))
    return reader


def wait_for_the_end(reader, watch_stdin):
    """Sleep in select() until a signal or, if wanted, the end of stdin: no polling."""
    watched = [reader] + ([0] if watch_stdin else [])
    while True:
        ready, _, _ = select.select(watched, [], [])
        if reader in ready or not os.read(0, 65536):
            return


def main():
    args = parse_arguments()
    keys = {}
    for text in args.key:
        key_id, _, rest = text.partition(":")
        secret, _, token = rest.partition(":")
        keys[key_id] = Key(secret, token or None)
    server = Server(args.port, args.bucket or ("tfbucket",), args.table or ("tflocks",), args.region, args.versioned,
                    args.tls, args.access_log, keys, seed=args.seed)
    signalled = catch_signals()
    print(server.start(), flush=True)
    wait_for_the_end(signalled, args.until_stdin_closes)
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
