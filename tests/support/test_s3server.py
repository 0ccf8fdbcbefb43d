#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of s3server.py.  Prints PASS, FAIL or SKIP and a name per case, then the sums; exit status 1 if one failed.

    test_s3server.py [WORD]...      only the cases whose names contain one of the words

The signing here is written apart from the server's on purpose: a mistake made twice alike would go unseen.
"""
import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zlib
from calendar import timegm
from urllib.parse import quote

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import s3server  # noqa: E402

TERRAFORM = shutil.which("terraform")
EMPTY = hashlib.sha256(b"").hexdigest()
CASES = []


class Skip(Exception):
    pass


def case(function):
    CASES.append(function)
    return function


def same(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what or 'value'} is {got!r}, not {want!r}")


def contains(text, part):
    if part not in text:
        raise AssertionError(f"{part!r} is not in {text!r}")


# --- A client ------------------------------------------------------------------------------------------------------

def mac(key, text):
    return hmac.new(key, text.encode("latin-1"), hashlib.sha256).digest()


def derive(secret, date, region, service):
    return mac(mac(mac(mac(b"AWS4" + secret.encode(), date), region), service), "aws4_request")


def sign(method, path, params, headers, payload, secret, stamp, region, service, signed=None):
    """-> (signature, sha256 of the canonical request, names).  headers: lower-case names, params: pairs."""
    names = sorted(headers) if signed is None else signed
    query = "&".join(sorted(quote(n, safe="-_.~") + "=" + quote(v, safe="-_.~") for n, v in params))
    request = f"{method}\n{path}\n{query}\n" + "".join(f"{n}:{headers[n].strip()}\n" for n in names) + \
        "\n" + ";".join(names) + "\n" + payload
    digest = hashlib.sha256(request.encode("latin-1")).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{stamp[:8]}/{region}/{service}/aws4_request\n{digest}"
    return mac(derive(secret, stamp[:8], region, service), text).hex(), digest, names


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, {n.lower(): v for n, v in headers}, body

    @property
    def code(self):
        found = re.search(rb"<Code>(.*?)</Code>", self.body)
        return found and found[1].decode()

    @property
    def etag(self):
        return self.headers.get("etag")

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def type(self):
        return self.json["__type"].rpartition("#")[2]


class Client:
    """Signs as its fields say; the arguments of request() bend the rules."""

    def __init__(self, server, key="testkey", secret="testsecret", token=None, region="us-east-1", tls=None):
        self.server, self.key, self.secret, self.token, self.region = server, key, secret, token, region
        self.tls = tls
        self.http = None

    def connect(self):
        if self.http is None:
            self.http = http.client.HTTPSConnection("127.0.0.1", self.server.port, timeout=20, context=self.tls) \
                if self.tls else http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        return self.http

    def close(self):
        if self.http:
            self.http.close()
            self.http = None

    def request(self, method, path, body=b"", headers=None, params=(), service="s3", skew=0, host=None,
                unsigned=(), payload=None, late=None, sent_path=None, signed=None, wire=None, tamper=lambda a: a):
        """unsigned: names left out of the signature; payload: x-amz-content-sha256; late: headers changed after
        signing; wire: function of (seed signature, stamp) that makes the body that is sent."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + skew))
        body = body.encode() if isinstance(body, str) else body
        all_headers = {"host": host or f"127.0.0.1:{self.server.port}", "x-amz-date": stamp}
        payload = payload or hashlib.sha256(body).hexdigest()
        if service == "s3":
            all_headers["x-amz-content-sha256"] = payload
        if self.token:
            all_headers["x-amz-security-token"] = self.token
        all_headers.update(headers or {})
        names = signed or sorted(n for n in all_headers if n not in unsigned)
        signature, _, names = sign(method, path, params, all_headers, payload, self.secret, stamp, self.region,
                                   service, names)
        if wire:
            body = wire(signature, stamp)
        if late:
            all_headers.update(late)
        all_headers["authorization"] = tamper(
            f"AWS4-HMAC-SHA256 Credential={self.key}/{stamp[:8]}/{self.region}/{service}/aws4_request, "
            f"SignedHeaders={';'.join(names)}, Signature={signature}")
        query = "&".join(quote(n, safe="-_.~") + "=" + quote(v, safe="-_.~") for n, v in params)
        target = (sent_path or path) + ("?" + query if query else "")
        return self.raw(method, target, {n: v for n, v in all_headers.items() if v is not None}, body)

    def raw(self, method, target, headers, body=b""):
        connection = self.connect()
        try:
            connection.putrequest(method, target, skip_host="host" in headers, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if (body or method in ("PUT", "POST")) and "content-length" not in headers:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body or None)
            response = connection.getresponse()
            return Reply(response.status, response.getheaders(), response.read())
        except Exception:
            self.close()
            raise

    def put(self, key, body=b"x", **headers):
        return self.request("PUT", "/tfbucket/" + key, body, {n.replace("_", "-"): v for n, v in headers.items()})

    def get(self, key, method="GET", params=(), **headers):
        return self.request(method, "/tfbucket/" + key, headers={n.replace("_", "-"): v for n, v in headers.items()},
                            params=params)

    def delete(self, key, params=(), **headers):
        return self.get(key, "DELETE", params, **headers)

    def list(self, **params):
        return self.request("GET", "/tfbucket", params=[("list-type", "2")] +
                            [(n.replace("_", "-"), v) for n, v in params.items()])

    def dynamodb(self, op, body, **more):
        data = json.dumps({"TableName": "tflocks", **body}) if isinstance(body, dict) else body
        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810." + op}
        reply = self.request("POST", "/", data, headers, service="dynamodb", **more)
        same(int(reply.headers["x-amz-crc32"]), zlib.crc32(reply.body), "crc32")
        return reply

    def control(self, method, name, body=None):
        reply = self.raw(method, "/_tfq/" + name, {}, b"" if body is None else json.dumps(body).encode())
        same(reply.status, 200, f"{method} {name}: {reply.body!r}: status")
        return reply.json


@contextlib.contextmanager
def running(**options):
    keep = {n: options.pop(n) for n in ("key", "secret", "token") if n in options}
    with s3server.Server(**options) as server:
        client = Client(server, **keep)
        try:
            yield server, client
        finally:
            client.close()


def is_refused(reply, status, code):
    same((reply.status, reply.code), (status, code), "answer")


def slowed(function):
    """Placed between a check and its write, this gives everybody time to come between, if that is possible."""
    def slow(*args):
        time.sleep(0.005)
        return function(*args)
    return slow


def fifty(server, request):
    """The sorted statuses of fifty request(client, number) at once, each on a connection that is already open."""
    statuses, start = [], threading.Barrier(50)

    def one(number):
        client = Client(server)
        client.connect().connect()
        start.wait()
        statuses.append(request(client, number).status)
        client.close()

    threads = [threading.Thread(target=one, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(statuses)


def is_dropped(call, *args, **more):
    try:
        reply = call(*args, **more)
    except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError):
        return
    raise AssertionError(f"got an answer, {reply.status}")


# --- Signatures ----------------------------------------------------------------------------------------------------

# A lock PUT as terraform 1.11.4 sent it, and what it was signed with.
CAPTURED_BODY = (b'{"ID":"4fd3b847-365f-d96c-4f7b-40a0ce0a0763","Operation":"OperationTypeApply","Info":"",'
                 b'"Who":"root@vm","Version":"1.11.4","Created":"2026-11-22T17:46:51.214148012Z",'
                 b'"Path":"tfbucket/app/terraform.tfstate"}')
CAPTURED_HEADERS = {
    "host": "127.0.0.1:18080",
    "content-length": "206",
    "accept-encoding": "identity",
    "amz-sdk-invocation-id": "925a8426-17af-4c21-96e5-280f4c9d7c2d",
    "amz-sdk-request": "attempt=1; max=5",
    "content-type": "application/json",
    "if-none-match": "*",
    "x-amz-checksum-sha256": "moKxw5FHA13MTLUF911TZnVxc3iCVbRQwQgKKS4NZSo=",
    "x-amz-content-sha256": "9a82b1c39147035dcc4cb505f75d5366757173788255b450c1080a292e0d652a",
    "x-amz-date": "20261122T174651Z",
    "x-amz-sdk-checksum-algorithm": "SHA256",
}
CAPTURED_SIGNATURE = "c53ea13a10868957c891ad54d1a9905fa36fd34669356efcc2b8506ecfa374dc"
CAPTURED_DIGEST = "e53370dbae878865b360fd5699775a668d990ac7c2ab5462a7d3c0fa6530a23c"
CAPTURED_PATH = "/tfbucket/app/terraform.tfstate.tflock"


@case
def captured_signature_recomputed():
    same(hashlib.sha256(CAPTURED_BODY).hexdigest(), CAPTURED_HEADERS["x-amz-content-sha256"], "body hash")
    signature, digest, _ = sign("PUT", CAPTURED_PATH, [("x-id", "PutObject")], CAPTURED_HEADERS,
                                CAPTURED_HEADERS["x-amz-content-sha256"], "testsecret", "20261122T174651Z",
                                "us-east-1", "s3")
    same((digest, signature), (CAPTURED_DIGEST, CAPTURED_SIGNATURE), "ours")
    canonical = s3server.canonical_request("PUT", CAPTURED_PATH, "x-id=PutObject", CAPTURED_HEADERS,
                                           sorted(CAPTURED_HEADERS), CAPTURED_HEADERS["x-amz-content-sha256"])
    same(hashlib.sha256(canonical.encode()).hexdigest(), CAPTURED_DIGEST, "the server's")


@case
def captured_request_replayed():
    with running(keys={"test": s3server.Key("testsecret")}) as (server, client):
        server.offset = timegm(time.strptime("20261122T174700Z", "%Y%m%dT%H%M%SZ")) - time.time()
        headers = dict(CAPTURED_HEADERS, authorization="AWS4-HMAC-SHA256 Credential=test/20261122/us-east-1/s3/"
                       f"aws4_request, SignedHeaders={';'.join(sorted(CAPTURED_HEADERS))}, "
                       f"Signature={CAPTURED_SIGNATURE}")
        reply = client.raw("PUT", CAPTURED_PATH + "?x-id=PutObject", headers, CAPTURED_BODY)
        same((reply.status, reply.etag), (200, '"44a82d6feaf4a281afa1a81165dfa927"'))
        is_refused(client.raw("PUT", CAPTURED_PATH + "?x-id=PutObject", headers, CAPTURED_BODY), 412,
                   "PreconditionFailed")
        is_refused(client.raw("PUT", CAPTURED_PATH + "?x-id=GetObject", headers, CAPTURED_BODY), 403,
                   "SignatureDoesNotMatch")
        contains(server.log[0]["body"], "OperationTypeApply")


@case
def s3_keys_and_tokens():
    with running() as (server, _):
        for key, secret, token, status, code in (
                ("testkey", "testsecret", None, 200, None), ("tmpkey", "tmpsecret", "tmptoken", 200, None),
                ("nobody", "testsecret", None, 403, "InvalidAccessKeyId"),
                ("", "testsecret", None, 400, "AuthorizationHeaderMalformed"),
                ("testkey", "wrong", None, 403, "SignatureDoesNotMatch"),
                ("testkey", "testsecret", "extra", 400, "InvalidToken"),
                ("tmpkey", "tmpsecret", None, 403, "InvalidAccessKeyId"),
                ("tmpkey", "tmpsecret", "wrong", 400, "InvalidToken"),
                ("oldkey", "oldsecret", "oldtoken", 400, "ExpiredToken"),
                ("denied", "deniedsecret", None, 403, "AccessDenied")):
            client = Client(server, key, secret, token)
            is_refused(client.put("k"), status, code)
            client.close()


@case
def s3_no_signature():
    with running() as (_, client):
        is_refused(client.raw("GET", "/tfbucket/k", {}), 403, "AccessDenied")
        is_refused(client.raw("GET", "/tfbucket/k", {"authorization": "AWS a:b"}), 400,
                   "AuthorizationHeaderMalformed")


@case
def s3_skew_and_clock():
    with running() as (_, client):
        for skew, status in ((0, 200), (890, 200), (-890, 200), (910, 403), (-910, 403)):
            reply = client.request("PUT", "/tfbucket/k", b"x", skew=skew)
            is_refused(reply, status, "RequestTimeTooSkewed" if status == 403 else None)
        for part in (b"<ServerTime>20", b"<RequestTime>20", b"<MaxAllowedSkewMilliseconds>900000<"):
            contains(reply.body, part)
        client.control("POST", "clock", {"offset": -3600})
        is_refused(client.put("k"), 403, "RequestTimeTooSkewed")
        reply = client.request("PUT", "/tfbucket/k", b"x", skew=-3600)
        same(reply.status, 200)
        date = timegm(time.strptime(reply.headers["date"], "%a, %d %b %Y %H:%M:%S GMT"))
        assert abs(date + 3600 - time.time()) < 5, "Date does not follow the clock"


@case
def s3_wrong_region_and_service():
    with running() as (server, client):
        other = Client(server, region="eu-west-1")
        reply = other.put("k")
        is_refused(reply, 400, "AuthorizationHeaderMalformed")
        contains(reply.body, b"<Region>us-east-1</Region>")
        other.close()
        reply = client.request("GET", "/tfbucket/k", service="dynamodb", headers={"x-amz-content-sha256": EMPTY})
        is_refused(reply, 400, "AuthorizationHeaderMalformed")


@case
def s3_altered_requests():
    with running() as (_, client):
        def refused(code, status=403, **more):
            is_refused(client.request("PUT", "/tfbucket/a/k", b"body", **more), status, code)

        refused("SignatureDoesNotMatch", sent_path="/tfbucket/a/other")
        refused("SignatureDoesNotMatch", headers={"if-none-match": "*"}, late={"if-none-match": '"x"'})
        refused("SignatureDoesNotMatch", late={"host": "localhost:1"})
        refused("SignatureDoesNotMatch", tamper=lambda a: a[:-1] + ("0" if a[-1] != "0" else "1"))
        refused("SignatureDoesNotMatch", tamper=lambda a: a.replace("x-amz-date,", "x-amz-date;x-none,"))
        refused("AccessDenied", headers={"x-amz-acl": "private"}, unsigned=("x-amz-acl",))
        refused("AccessDenied", late={"x-amz-meta-a": "b"})
        refused("AccessDenied", unsigned=("host",))
        refused("SignatureDoesNotMatch", headers={"if-match": '"x"'}, late={"if-match": None})
        refused("XAmzContentSHA256Mismatch", 400, payload=EMPTY)
        refused("InvalidArgument", 400, payload="nonsense")
        refused("InvalidRequest", 400, headers={"x-amz-content-sha256": None}, signed=["host", "x-amz-date"])
        refused("AuthorizationHeaderMalformed", 400, tamper=lambda a: a.replace("SignedHeaders", "Signed"))
        same(client.request("PUT", "/tfbucket/a/k", b"body", payload="UNSIGNED-PAYLOAD").status, 200)


@case
def s3_path_encoding():
    with running() as (server, client):
        keys = ["env:/w@1/a b+c=d@e/ü(1)!", "./x/../y//z", "/leading", "a%2Fb", "~-_.", "*'&?#<>\""]
        for key in keys:
            same(client.put(quote(key, safe="-_.~/")).status, 200, key)
        same(sorted(server.objects["tfbucket"]), sorted(keys))
        is_refused(client.put("env:/x"), 403, "SignatureDoesNotMatch")
        is_refused(client.put("env%3a/x"), 403, "SignatureDoesNotMatch")
        is_refused(client.put("%FF"), 400, "InvalidURI")
        same(client.put("k" * 1024).status, 200)
        is_refused(client.put("k" * 1025), 400, "KeyTooLongError")


# --- S3 ------------------------------------------------------------------------------------------------------------

@case
def object_life():
    with running() as (server, client):
        reply = client.put("a/k", b"hello", content_type="text/plain", x_amz_meta_a="b")
        same((reply.status, reply.etag), (200, f'"{hashlib.md5(b"hello").hexdigest()}"'))
        assert "x-amz-version-id" not in reply.headers
        same(server.objects["tfbucket"]["a/k"].body, b"hello")
        reply = client.get("a/k")
        same((reply.status, reply.body, reply.headers["content-type"], reply.headers["x-amz-meta-a"]),
             (200, b"hello", "text/plain", "b"))
        reply = client.get("a/k", "HEAD")
        same((reply.status, reply.body, reply.headers["content-length"]), (200, b"", "5"))
        same(client.delete("a/k").status, 204)
        same(client.delete("a/k").status, 204)
        reply = client.get("a/k")
        is_refused(reply, 404, "NoSuchKey")
        contains(reply.body, b"<Key>a/k</Key>")
        contains(reply.body, b"<RequestId>")
        reply = client.get("a/k", "HEAD")
        same((reply.status, reply.body), (404, b""))
        is_refused(client.request("PUT", "/other/k", b"x"), 404, "NoSuchBucket")
        is_refused(client.request("POST", "/tfbucket/k", b"x", params=[("uploads", "")]), 501, "NotImplemented")


@case
def ranges():
    with running() as (_, client):
        client.put("k", b"0123456789")
        for asked, body, answered in (("bytes=0-5242879", b"0123456789", "bytes 0-9/10"),
                                      ("bytes=2-4", b"234", "bytes 2-4/10"), ("bytes=7-", b"789", "bytes 7-9/10"),
                                      ("bytes=-3", b"789", "bytes 7-9/10")):
            reply = client.get("k", range=asked)
            same((reply.status, reply.body, reply.headers["content-range"]), (206, body, answered))
        is_refused(client.get("k", range="bytes=10-"), 416, "InvalidRange")
        same(client.get("k", range="bytes=0-1,3-4").status, 200)


@case
def conditional_put():
    with running() as (_, client):
        is_refused(client.put("k", if_match='"x"'), 404, "NoSuchKey")
        first = client.put("k", b"1", if_none_match="*")
        same(first.status, 200)
        reply = client.put("k", b"2", if_none_match="*")
        is_refused(reply, 412, "PreconditionFailed")
        contains(reply.body, b"<Condition>If-None-Match</Condition>")
        is_refused(client.put("k", if_match='"bogus"'), 412, "PreconditionFailed")
        second = client.put("k", b"2", if_match=first.etag)
        same(second.status, 200)
        is_refused(client.put("k", b"3", if_match=first.etag), 412, "PreconditionFailed")
        same(client.put("k", b"3", if_match=second.etag.strip('"')).status, 200)
        is_refused(client.put("k", if_none_match='"x"'), 501, "NotImplemented")
        is_refused(client.put("k", if_none_match="*", if_match='"x"'), 501, "NotImplemented")
        same(client.get("k").body, b"3")


@case
def conditional_delete():
    with running() as (_, client):
        is_refused(client.delete("k", if_match='"x"'), 404, "NoSuchKey")
        etag = client.put("k").etag
        is_refused(client.delete("k", if_match='"x"'), 412, "PreconditionFailed")
        same(client.get("k").status, 200)
        same(client.delete("k", if_match=etag).status, 204)
        client.put("k")
        same(client.delete("k", if_match="*").status, 204)
        same(client.get("k").status, 404)


@case
def conditional_get():
    with running() as (_, client):
        etag = client.put("k", b"body").etag
        for method in ("GET", "HEAD"):
            reply = client.get("k", method, if_none_match=etag)
            same((reply.status, reply.body, reply.etag), (304, b"", etag))
            same(client.get("k", method, if_none_match='"x"').status, 200)
            same(client.get("k", method, if_match='"x"').status, 412)
            same(client.get("k", method, if_match=etag).status, 200)


@case
def concurrent_create_has_one_winner():
    with running() as (server, _):
        now = server.now
        for server.now in (now, now, slowed(now)):  # PutObject asks for the time after the check
            same(fifty(server, lambda client, number: client.put("lock", str(number), if_none_match="*")),
                 [200] + 49 * [412])
            server.delete_object("tfbucket", "lock")


@case
def concurrent_replace_has_one_winner():
    with running() as (server, client):
        etag = client.put("lock", b"old").etag
        server.now = slowed(server.now)
        same(fifty(server, lambda client, number: client.put("lock", str(number), if_match=etag)),
             [200] + 49 * [412])


@case
def listing():
    with running() as (_, client):
        for key in ("a/1", "a/2", "b", "c%26d", "env%3A/w/app"):
            client.put(key)

        def keys(reply):
            same(reply.status, 200)
            return re.findall(r"<Key>(.*?)</Key>", reply.body.decode())

        same(keys(client.list()), ["a/1", "a/2", "b", "c&amp;d", "env:/w/app"])
        same(keys(client.list(prefix="env:/", max_keys="1000")), ["env:/w/app"])
        same(keys(client.list(start_after="a/2")), ["b", "c&amp;d", "env:/w/app"])
        reply = client.list(prefix="zzz")
        contains(reply.body, b"<KeyCount>0</KeyCount>")
        contains(reply.body, b"<IsTruncated>false</IsTruncated>")
        reply = client.list(delimiter="/")
        same(keys(reply), ["b", "c&amp;d"])
        same(re.findall(rb"<CommonPrefixes><Prefix>(.*?)<", reply.body), [b"a/", b"env:/"])
        for delimiter, total in (("", 5), ("/", 4)):
            seen, more = 0, {}
            while True:
                reply = client.list(max_keys="1", delimiter=delimiter, **more)
                seen += int(re.search(rb"<KeyCount>(\d+)<", reply.body)[1])
                token = re.search(rb"<NextContinuationToken>(.*?)<", reply.body)
                if not token:
                    break
                more = {"continuation_token": token[1].decode()}
            same(seen, total, "keys over all pages")
        for path in ("/tfbucket", "/tfbucket/"):
            same(client.request("GET", path, params=[("list-type", "2")]).status, 200)
        is_refused(client.list(max_keys="x"), 400, "InvalidArgument")


@case
def bucket_questions():
    with running(region="eu-west-1", versioned=True) as (server, _):
        client = Client(server, region="eu-west-1")
        reply = client.request("HEAD", "/tfbucket")
        same((reply.status, reply.headers["x-amz-bucket-region"]), (200, "eu-west-1"))
        same(client.request("HEAD", "/other").status, 404)
        contains(client.request("GET", "/tfbucket", params=[("location", "")]).body, b">eu-west-1<")
        contains(client.request("GET", "/tfbucket", params=[("versioning", "")]).body, b">Enabled<")
        client.close()


@case
def virtual_host_style():
    with running() as (server, client):
        for number, host in enumerate((f"tfbucket.localhost:{server.port}", "tfbucket.s3.us-east-1.amazonaws.com",
                                       "tfbucket.s3.localhost")):
            same(client.request("PUT", f"/a/{number}", b"x", host=host).status, 200)
            same(client.request("GET", "/", host=host, params=[("list-type", "2")]).status, 200)
        same(sorted(server.objects["tfbucket"]), ["a/0", "a/1", "a/2"])
        same(client.request("GET", "/tfbucket/a/0", host=f"localhost:{server.port}").status, 200)
        is_refused(client.request("GET", "/x", host="nobucket.localhost"), 404, "NoSuchBucket")


@case
def without_the_right_to_list():
    with running() as (server, client):
        client.put("there")
        limited = Client(server, "nolist", "nolistsecret")
        is_refused(limited.list(), 403, "AccessDenied")
        is_refused(limited.get("absent"), 403, "AccessDenied")
        same(limited.get("absent", "HEAD").status, 403)
        is_refused(limited.put("absent", if_match='"x"'), 403, "AccessDenied")
        same(limited.get("there").status, 200)
        same(limited.put("absent", if_none_match="*").status, 200)
        same(limited.delete("absent").status, 204)
        limited.close()


@case
def bucket_settings():
    def ask(name):
        return client.request("GET", "/tfbucket", params=[(name, "")])
    with running() as (server, client):
        contains(ask("encryption").body, b"<SSEAlgorithm>AES256<")
        contains(ask("publicAccessBlock").body, b"<BlockPublicPolicy>true<")
        contains(ask("logging").body, b"<TargetBucket>logs<")
        server.s3.buckets["tfbucket"].settings.update(encryption=None, public=None, logging=None)
        same((ask("encryption").status, ask("encryption").code),
             (404, "ServerSideEncryptionConfigurationNotFoundError"))
        same((ask("publicAccessBlock").status, ask("publicAccessBlock").code),
             (404, "NoSuchPublicAccessBlockConfiguration"))
        same((ask("logging").status, b"TargetBucket" in ask("logging").body), (200, False))
        same(client.request("PUT", "/tfbucket", params=[("encryption", "")]).status, 501)
        server.dynamodb.described["tflocks"] = {"BillingModeSummary": None, "TableStatus": "UPDATING"}
        table = client.dynamodb("DescribeTable", {}).json["Table"]
        same((table["TableStatus"], "BillingModeSummary" in table), ("UPDATING", False))
        server.reset()
        contains(ask("encryption").body, b"AES256")
        same(client.dynamodb("DescribeTable", {}).json["Table"]["TableStatus"], "ACTIVE")


@case
def versioning():
    with running(versioned=True) as (_, client):
        one = client.put("k", b"1", if_none_match="*")
        two = client.put("k", b"2", if_match=one.etag)
        assert one.headers["x-amz-version-id"] != two.headers["x-amz-version-id"]
        same(client.get("k", params=[("versionId", one.headers["x-amz-version-id"])]).body, b"1")
        reply = client.delete("k")
        same((reply.status, reply.headers["x-amz-delete-marker"]), (204, "true"))
        marker = reply.headers["x-amz-version-id"]
        reply = client.get("k")
        is_refused(reply, 404, "NoSuchKey")
        same(reply.headers["x-amz-delete-marker"], "true")
        is_refused(client.get("k", params=[("versionId", marker)]), 405, "MethodNotAllowed")
        is_refused(client.put("k", if_match=two.etag), 404, "NoSuchKey")
        is_refused(client.delete("k", if_match=two.etag), 404, "NoSuchKey")
        assert b"<Key>" not in client.list().body
        same(client.put("k", b"3", if_none_match="*").status, 200)
        is_refused(client.put("k", b"4", if_none_match="*"), 412, "PreconditionFailed")
        is_refused(client.get("k", params=[("versionId", "nonsense")]), 404, "NoSuchVersion")
        client.put("other")
        version = client.delete("other").headers["x-amz-version-id"]
        client.delete("other", params=[("versionId", version)])
        same(client.get("other").status, 200, "object under a removed marker: status")


@case
def encryption_and_acl_headers():
    with running() as (server, client):
        kms = {"x_amz_server_side_encryption": "aws:kms",
               "x_amz_server_side_encryption_aws_kms_key_id": "alias/tf"}
        reply = client.put("kms", b"x", x_amz_acl="bucket-owner-full-control", **kms)
        same((reply.status, reply.headers["x-amz-server-side-encryption"]), (200, "aws:kms"))
        assert reply.etag != f'"{hashlib.md5(b"x").hexdigest()}"', "ETag of a KMS object is an MD5"
        same(server.objects["tfbucket"]["kms"].headers["x-amz-acl"], "bucket-owner-full-control")
        same(server.log[-1]["headers"]["x-amz-server-side-encryption-aws-kms-key-id"], "alias/tf")
        is_refused(client.put("k", x_amz_server_side_encryption="rot13"), 400, "InvalidArgument")
        secret = os.urandom(32)
        own = {"x_amz_server_side_encryption_customer_algorithm": "AES256",
               "x_amz_server_side_encryption_customer_key": base64.b64encode(secret).decode(),
               "x_amz_server_side_encryption_customer_key_md5":
               base64.b64encode(hashlib.md5(secret).digest()).decode()}
        same(client.put("own", b"x", **own).status, 200)
        same(client.get("own", **own).body, b"x")
        is_refused(client.get("own"), 400, "InvalidRequest")
        same(client.get("own", "HEAD").status, 400)
        own["x_amz_server_side_encryption_customer_key_md5"] = base64.b64encode(bytes(16)).decode()
        is_refused(client.put("own", **own), 400, "InvalidArgument")


def b64(data):
    return base64.b64encode(data).decode()


@case
def checksums():
    with running() as (_, client):
        same(client.put("k", b"x", x_amz_checksum_sha256=b64(hashlib.sha256(b"x").digest()),
                        x_amz_sdk_checksum_algorithm="SHA256").status, 200)
        reply = client.get("k", x_amz_checksum_mode="ENABLED")
        same(reply.headers["x-amz-checksum-sha256"], b64(hashlib.sha256(b"x").digest()))
        same(client.put("k", b"x", x_amz_checksum_crc32=b64(struct.pack(">I", zlib.crc32(b"x")))).status, 200)
        same(client.put("k", b"123456789", x_amz_checksum_crc32c=b64(bytes.fromhex("e3069283"))).status, 200)
        same(client.put("k", b"123456789", x_amz_checksum_crc64nvme=b64(bytes.fromhex("ae8b14860a799888"))).status,
             200)
        same(client.put("k", b"x", content_md5=b64(hashlib.md5(b"x").digest())).status, 200)
        for header, value, code in (
                ("x_amz_checksum_sha256", b64(hashlib.sha256(b"y").digest()), "BadDigest"),
                ("x_amz_checksum_sha256", "nonsense", "InvalidRequest"),
                ("x_amz_checksum_crc32", b64(bytes(4)), "BadDigest"),
                ("content_md5", b64(bytes(16)), "BadDigest"), ("content_md5", "nonsense", "InvalidDigest"),
                ("x_amz_sdk_checksum_algorithm", "SHA256", "InvalidRequest")):
            is_refused(client.put("k", b"x", **{header: value}), 400, code)
        is_refused(client.put("k", b"x", x_amz_checksum_sha256=b64(hashlib.sha256(b"x").digest()),
                              x_amz_checksum_crc32=b64(struct.pack(">I", zlib.crc32(b"x")))), 400, "InvalidRequest")


def streamed(client, chunks, payload, trailer=b"", headers=None, spoil=None, sign_trailer=False):
    """PUT k in aws-chunked form; spoil changes the bytes before they are sent."""
    def wire(previous, stamp):
        key = derive(client.secret, stamp[:8], client.region, "s3")
        scope = f"{stamp}\n{stamp[:8]}/{client.region}/s3/aws4_request"
        out = b""
        for data in chunks + [b""]:
            out += b"%x" % len(data)
            if "HMAC" in payload:
                previous = mac(key, f"AWS4-HMAC-SHA256-PAYLOAD\n{scope}\n{previous}\n{EMPTY}\n"
                               f"{hashlib.sha256(data).hexdigest()}").hex()
                out += b";chunk-signature=" + previous.encode()
            out += b"\r\n" + data + (b"\r\n" if data else b"")
        out += trailer
        if sign_trailer:
            digest = hashlib.sha256(trailer.replace(b"\r\n", b"\n")).hexdigest()
            signature = mac(key, f"AWS4-HMAC-SHA256-TRAILER\n{scope}\n{previous}\n{digest}").hex()
            out += b"x-amz-trailer-signature:" + signature.encode() + b"\r\n"
        out += b"\r\n"
        return spoil(out) if spoil else out
    all_headers = {"content-encoding": "aws-chunked",
                   "x-amz-decoded-content-length": str(len(b"".join(chunks)))}
    all_headers.update(headers or {})
    return client.request("PUT", "/tfbucket/k", b"", all_headers, payload=payload, wire=wire)


@case
def chunked_unsigned_with_trailer():
    with running() as (server, client):
        data = [b"first ", b"second"]
        sum_line = b"x-amz-checksum-sha256:" + b64(hashlib.sha256(b"".join(data)).digest()).encode() + b"\r\n"
        headers = {"x-amz-trailer": "x-amz-checksum-sha256", "x-amz-sdk-checksum-algorithm": "SHA256"}
        kind = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
        same(streamed(client, data, kind, sum_line, headers).status, 200)
        stored = server.objects["tfbucket"]["k"]
        same((stored.body, stored.headers.get("content-encoding")), (b"first second", None))
        same(server.log[-1]["body"], "first second")
        is_refused(streamed(client, data, kind, sum_line, headers, lambda b: b.replace(b"first", b"wrong")),
                   400, "BadDigest")
        is_refused(streamed(client, data, kind, b"", headers), 400, "MalformedTrailerError")
        is_refused(streamed(client, data, kind, sum_line, headers, lambda b: b[:9]), 400, "IncompleteBody")
        is_refused(streamed(client, data, kind, sum_line, dict(headers, **{"x-amz-decoded-content-length": "3"})),
                   400, "IncompleteBody")


@case
def chunked_signed():
    with running() as (server, client):
        data = [b"a" * 8192, b"rest"]
        kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
        same(streamed(client, data, kind).status, 200)
        same(server.objects["tfbucket"]["k"].body, b"".join(data))
        is_refused(streamed(client, data, kind, spoil=lambda b: b.replace(b"rest", b"ruin")), 403,
                   "SignatureDoesNotMatch")
        line = b"x-amz-checksum-crc32:" + b64(struct.pack(">I", zlib.crc32(b"".join(data)))).encode() + b"\r\n"
        headers = {"x-amz-trailer": "x-amz-checksum-crc32"}
        same(streamed(client, data, kind + "-TRAILER", line, headers, sign_trailer=True).status, 200)
        is_refused(streamed(client, data, kind + "-TRAILER", line, headers), 403, "SignatureDoesNotMatch")


# --- DynamoDB ------------------------------------------------------------------------------------------------------

def lock_item(nonce, **more):
    return {"LockID": {"S": "b/k"}, "Info": {"S": "{}"}, "Rvn": {"S": nonce}, **more}


KEY = {"Key": {"LockID": {"S": "b/k"}}}


@case
def dynamodb_life():
    with running() as (server, client):
        create = {"Item": lock_item("1"), "ConditionExpression": "attribute_not_exists(LockID)"}
        same(client.dynamodb("GetItem", {**KEY, "ConsistentRead": True}).json, {})
        same(client.dynamodb("PutItem", create).json, {})
        reply = client.dynamodb("PutItem", create)
        same((reply.status, reply.json["__type"]),
             (400, "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"))
        assert "Item" not in reply.json
        reply = client.dynamodb("PutItem", {**create, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"})
        same(reply.json["Item"]["Rvn"], {"S": "1"})
        reply = client.dynamodb("GetItem", {**KEY, "ProjectionExpression": "LockID, #i",
                                            "ExpressionAttributeNames": {"#i": "Info"}})
        same(reply.json, {"Item": {"LockID": {"S": "b/k"}, "Info": {"S": "{}"}}})
        same(server.items["tflocks"]["b/k"]["Rvn"], {"S": "1"})
        same(server.log[-1]["key"], "b/k")
        same(client.dynamodb("DescribeTable", {}).json["Table"]["TableStatus"], "ACTIVE")
        same(client.dynamodb("DeleteItem", {**KEY, "ReturnValues": "ALL_OLD"}).json["Attributes"]["Rvn"], {"S": "1"})
        same(client.dynamodb("DeleteItem", KEY).json, {})


@case
def dynamodb_conditions():
    with running() as (_, client):
        def holds(expression, names=None, **values):
            body = {"Item": lock_item("1", N={"N": "7"}), "ConditionExpression": expression}
            if names:
                body["ExpressionAttributeNames"] = names
            if values:
                body["ExpressionAttributeValues"] = {":" + n: v for n, v in values.items()}
            reply = client.dynamodb("PutItem", body)
            if reply.status != 200:
                same(reply.type, "ConditionalCheckFailedException")
            return reply.status == 200

        one, two = {"S": "1"}, {"S": "2"}
        same(holds("Rvn = :v", v=one), False, "comparison with an absent item")
        same(holds("attribute_not_exists(LockID) OR #r = :v", {"#r": "Rvn"}, v=two), True)
        same(holds("#r = :v", {"#r": "Rvn"}, v=one), True)
        same(holds("#r = :v", {"#r": "Rvn"}, v=two), False)
        same(holds("attribute_not_exists(LockID) OR #r = :v", {"#r": "Rvn"}, v=two), False)
        same(holds("attribute_exists(LockID) and Rvn = :v AND N = :n", v=one, n={"N": "7.0"}), True)
        same(holds("Rvn = :v", v={"N": "1"}), False, "comparison of two types")
        same(holds("Rvn = :w OR Rvn = :v AND N = :n", v=two, w=one, n={"N": "0"}), True, "AND before OR")
        same(holds("(Rvn = :w OR Rvn = :v) AND N = :n", v=two, w=one, n={"N": "0"}), False, "parentheses")
        for body, part in (
                ({"ConditionExpression": "Rvn = :v"}, "not defined; attribute value: :v"),
                ({"ConditionExpression": "#r = Rvn"}, "attribute name: #r"),
                ({"ConditionExpression": "Rvn ="}, "Syntax error"),
                ({"ConditionExpression": ""}, "can not be empty"),
                ({"ConditionExpression": "attribute_exists(Rvn)", "ExpressionAttributeValues": {":u": one}},
                 "unused in expressions: keys: {:u}"),
                ({"ConditionExpression": "begins_with(Rvn, :v)", "ExpressionAttributeValues": {":v": one}}, "Syntax"),
                ({"ExpressionAttributeValues": {":v": one}}, "only be specified when using expressions")):
            reply = client.dynamodb("PutItem", {"Item": lock_item("1"), **body})
            same((reply.status, reply.type), (400, "ValidationException"), body)
            contains(reply.json["message"], part)


@case
def dynamodb_errors():
    with running() as (server, client):
        for op, body, kind in (
                ("GetItem", {**KEY, "TableName": "other"}, "ResourceNotFoundException"),
                ("DescribeTable", {"TableName": "other"}, "ResourceNotFoundException"),
                ("Scan", {}, "UnknownOperationException"), ("GetItem", b"{", "SerializationException"),
                ("GetItem", {"Key": {"ID": {"S": "x"}}}, "ValidationException"),
                ("GetItem", {"Key": {"LockID": {"N": "1"}}}, "ValidationException"),
                ("PutItem", {"Item": {"Info": {"S": "x"}}}, "ValidationException"),
                ("PutItem", {"Item": {"LockID": {"S": ""}}}, "ValidationException"),
                ("PutItem", {"Item": lock_item("1", N={"N": "x"})}, "ValidationException"),
                ("PutItem", {"Item": lock_item("1", N={"S": "x", "N": "1"})}, "ValidationException")):
            reply = client.dynamodb(op, body)
            same((reply.status, reply.type), (400, kind), f"{op} {body}")
        for key, secret, token, kind in (
                ("nobody", "x", None, "UnrecognizedClientException"),
                ("testkey", "wrong", None, "InvalidSignatureException"),
                ("tmpkey", "tmpsecret", None, "UnrecognizedClientException"),
                ("oldkey", "oldsecret", "oldtoken", "ExpiredTokenException"),
                ("denied", "deniedsecret", None, "AccessDeniedException")):
            other = Client(server, key, secret, token)
            same(other.dynamodb("GetItem", KEY).type, kind)
            other.close()
        for skew, part in ((-400, "Signature expired"), (400, "not yet current")):
            reply = client.dynamodb("GetItem", KEY, skew=skew)
            same(reply.type, "InvalidSignatureException")
            contains(reply.json["message"], part)
        same(client.dynamodb("GetItem", KEY, unsigned=("x-amz-target",)).type, "InvalidSignatureException")
        reply = client.raw("POST", "/", {"x-amz-target": "DynamoDB_20120810.GetItem"}, b"{}")
        same(reply.type, "MissingAuthenticationTokenException")


@case
def concurrent_put_item_has_one_winner():
    with running() as (server, _):
        server.dynamodb.returned = slowed(server.dynamodb.returned)  # called after the check
        same(fifty(server, lambda client, number: client.dynamodb(
            "PutItem", {"Item": lock_item(str(number)), "ConditionExpression": "attribute_not_exists(LockID)"})),
             [200] + 49 * [400])


# --- Control -------------------------------------------------------------------------------------------------------

@case
def control_log_and_objects():
    with running() as (_, client):
        client.put("a%20b", b"body", if_none_match="*", x_amz_acl="private")
        client.get("a%20b", params=[("x-id", "GetObject")])
        client.get("absent")
        log = client.control("GET", "log")
        same([(e["op"], e["method"], e["key"], e["query"], e["status"], e["code"]) for e in log],
             [("PutObject", "PUT", "a b", "", 200, None), ("GetObject", "GET", "a b", "x-id=GetObject", 200, None),
              ("GetObject", "GET", "absent", "", 404, "NoSuchKey")])
        same((log[0]["path"], log[0]["body"], log[0]["key_id"]), ("/tfbucket/a%20b", "body", "testkey"))
        same((log[0]["headers"]["if-none-match"], log[0]["headers"]["x-amz-acl"]), ("*", "private"))
        assert log[0]["time"] <= log[1]["time"] and log[0]["ms"] < 1000
        same(log[0]["connection"], log[2]["connection"])
        same(client.control("GET", "objects")["tfbucket"]["a b"]["body"], "body")
        same(client.control("DELETE", "log"), [])
        same(client.control("GET", "log"), [])
        client.control("DELETE", "object/tfbucket/a%20b")
        is_refused(client.get("a%20b"), 404, "NoSuchKey")
        client.raw("PUT", "/_tfq/object/tfbucket/dir/new", {}, b"planted")
        same(client.get("dir/new").body, b"planted")
        same(client.raw("GET", "/_tfq/object/tfbucket/dir/new", {}).body, b"planted")
        client.control("PUT", "item/tflocks/b/k", {"Info": {"S": "{}"}})
        same(client.dynamodb("GetItem", KEY).json["Item"]["LockID"], {"S": "b/k"})
        same(client.control("GET", "items")["tflocks"]["b/k"]["Info"], {"S": "{}"})
        client.control("DELETE", "item/tflocks/b/k")
        same(client.dynamodb("GetItem", KEY).json, {})
        client.control("POST", "reset", {})
        same(client.control("GET", "objects"), {"tfbucket": {}})
        for name, body in (("fault", [{"do": "nonsense"}]), ("fault", [{"do": "drop-after", "sufix": "x"}]),
                           ("quirks", {"nonsense": True}), ("clock", {})):
            same(client.raw("POST", "/_tfq/" + name, {}, json.dumps(body).encode()).status, 400, f"{name} {body}")
        same(client.raw("GET", "/_tfq/nonsense", {}).status, 404)


@case
def fault_errors():
    with running() as (server, client):
        client.control("POST", "fault", [{"do": "error", "method": "PUT", "suffix": ".tflock", "count": 2, "skip": 1}])
        same([client.put("k").status, client.put("a.tflock").status, client.put("b.tflock").status,
              client.get("b.tflock").status, client.put("b.tflock").status, client.put("b.tflock").status],
             [200, 200, 503, 404, 503, 200])
        same([e["fault"] for e in server.log], [None, None, "error", None, "error", None])
        server.set_faults([{"do": "error", "status": 500}])
        is_refused(client.put("c"), 500, "InternalError")
        same(client.get("c").status, 404, "not applied: status")
        server.set_faults([{"do": "error-after", "status": 503, "code": "ServiceUnavailable", "op": "PutObject"}])
        is_refused(client.put("c"), 503, "ServiceUnavailable")
        same(client.get("c").status, 200, "applied: status")
        server.set_faults([{"do": "error", "service": "dynamodb"}])
        same(client.get("c").status, 200)
        same(client.dynamodb("GetItem", KEY).type, "ProvisionedThroughputExceededException")
        server.set_faults([{"do": "error", "header": "if-match"}, {"do": "error", "key_id": "tmpkey"}])
        same(client.put("d").status, 200)
        same(client.put("d", if_match='"x"').status, 503)
        same(client.put("d").status, 200)
        server.set_faults([{"do": "error", "p": 0, "count": None}])
        same(client.put("d").status, 200)


@case
def fault_lost_answers():
    with running() as (server, client):
        server.set_faults([{"do": "drop-before", "count": 1}, {"do": "drop-after", "count": 1}])
        is_dropped(client.put, "k", b"1", if_none_match="*")
        assert "k" not in server.objects["tfbucket"]
        is_dropped(client.put, "k", b"1", if_none_match="*")
        same(server.objects["tfbucket"]["k"].body, b"1")
        is_refused(client.put("k", b"1", if_none_match="*"), 412, "PreconditionFailed")
        same([(e["status"], e["applied"]) for e in server.log], [(None, None), (None, 200), (412, 412)])
        server.set_faults([{"do": "truncate"}])
        try:
            client.get("k")
            raise AssertionError("a truncated answer was read")
        except (http.client.HTTPException, ConnectionError):
            pass


@case
def fault_time():
    with running() as (server, client):
        server.set_faults([{"do": "delay", "ms": 150}])
        begin = time.monotonic()
        same(client.put("k").status, 200)
        assert time.monotonic() - begin >= 0.14, "no delay"
        server.set_faults([{"do": "hang", "method": "PUT", "count": -1}])
        replies = []

        def hanging(key):
            other = Client(server)
            replies.append(other.put(key).status)
            other.close()

        threads = [threading.Thread(target=hanging, args=(key,)) for key in ("x", "y")]
        for thread in threads:
            thread.start()
        while sum(entry["fault"] == "hang" for entry in list(server.log)) < 2:
            time.sleep(0.01)
        same(client.get("x").status, 404, "others are served meanwhile: status")
        same(replies, [])
        server.set_faults([])
        for thread in threads:
            thread.join(5)
        same(replies, [200, 200])
        # A client that gave up leaves nothing behind.
        server.set_faults([{"do": "hang"}])
        client.close()
        client.connect().timeout = 0.2
        try:
            client.put("ghost")
            raise AssertionError("a hanging request was answered")
        except TimeoutError:
            pass
        server.set_faults([])
        time.sleep(0.1)
        assert "ghost" not in server.objects["tfbucket"]


@case
def stop_ends_everything():
    server = s3server.Server()
    server.start()
    server.set_faults([{"do": "hang"}])
    ends = []

    def hanging():
        client = Client(server)
        try:
            client.put("k")
        except (http.client.HTTPException, OSError):
            ends.append(True)

    thread = threading.Thread(target=hanging)
    thread.start()
    idle = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    while not server.log:
        time.sleep(0.01)
    begin = time.monotonic()
    server.stop()
    thread.join(5)
    same((ends, idle.recv(1), server.connections), ([True], b"", {}))
    idle.close()
    assert time.monotonic() - begin < 2, "stop() took long"


@case
def fault_odd_answers():
    with running() as (server, client):
        server.set_faults([{"do": "html"}])
        reply = client.put("k")
        same((reply.status, reply.headers["content-type"]), (200, "text/html"))
        same(client.get("k").status, 404)
        server.set_faults([{"do": "html-after", "status": 502}])
        same(client.put("k").status, 502)
        server.set_faults([{"do": "no-etag"}])
        same(client.put("k").etag, None)
        server.set_faults([{"do": "bad-crc"}])
        try:
            client.dynamodb("GetItem", KEY)
        except AssertionError:
            return
        raise AssertionError("the crc was right")


@case
def quirks():
    with running() as (server, client):
        def quirk(**names):
            client.control("POST", "quirks", names)

        etag = client.put("k").etag
        quirk(ignore_if_none_match=True)
        same(client.put("k", if_none_match="*").status, 200)
        quirk(ignore_if_match=True)
        same(client.put("k", if_match='"x"').status, 200)
        quirk(unquoted_etag_only=True)
        etag = client.put("k").etag
        same(client.put("k", if_match=etag).status, 412)
        same(client.put("k", if_match=etag.strip('"')).status, 200)
        quirk(conflict_409=True)
        is_refused(client.put("k", if_none_match="*"), 409, "ConditionalRequestConflict")
        is_refused(client.put("k", if_match='"x"'), 409, "ConditionalRequestConflict")
        quirk(no_conditional_delete=True)
        same(client.delete("k", if_match='"x"').status, 204)
        quirk(resurrects=True)
        same(client.put("new", if_match='"x"').status, 200)
        quirk(absent_412=True)
        is_refused(client.put("absent", if_match='"x"'), 412, "PreconditionFailed")
        is_refused(client.delete("absent", if_match='"x"'), 412, "PreconditionFailed")
        quirk(absent_delete_204=True)
        same(client.delete("absent", if_match='"x"').status, 204)
        quirk(bare_errors=True)
        reply = client.get("absent")
        contains(reply.body, b"<Message></Message>")
        assert b"RequestId" not in reply.body
        quirk(no_all_old=True)
        for _ in range(2):
            reply = client.dynamodb("PutItem", {"Item": lock_item("1"), "ReturnValuesOnConditionCheckFailure":
                                                "ALL_OLD", "ConditionExpression": "attribute_not_exists(LockID)"})
        assert "Item" not in reply.json
        quirk(racy=100)
        statuses = []

        def race():
            other = Client(server)
            statuses.append(other.put("race", if_none_match="*").status)
            other.close()

        threads = [threading.Thread(target=race) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses.count(200) > 1, "nobody raced"
        same(client.put("race", if_none_match="*").status, 412, "one after the other")


@case
def quirk_of_versioned_stores():
    with running(versioned=True) as (server, client):
        client.put("k")
        client.delete("k")
        server.set_quirks({"marker_412": True})
        is_refused(client.put("k", if_none_match="*"), 412, "PreconditionFailed")
        same(client.put("fresh", if_none_match="*").status, 200)


# --- HTTP ----------------------------------------------------------------------------------------------------------

def talk(server, data, wait=5.0):
    """What comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as sock:
        sock.sendall(data)
        out = b""
        while part := sock.recv(65536):
            out += part
    return out


@case
def half_requests_time_out():
    with running(read_timeout=0.3) as (server, _):
        begin = time.monotonic()
        contains(talk(server, b"PUT /tfbucket/k HTTP/1.1\r\nContent-Length: 1000\r\n\r\nshort"), b"RequestTimeout")
        contains(talk(server, b"GET /tfbucket/k HT"), b"RequestTimeout")
        assert time.monotonic() - begin < 3
        for data in (b"nonsense\r\n\r\n", b"GET /x HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
                     b"GET /x HTTP/1.1\r\nContent-Length: 5, 6\r\n\r\n", b"GET /x HTTP/1.1\r\nno colon\r\n\r\n",
                     b"PUT /x HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"):
            contains(talk(server, data), b"HTTP/1.1 400 ")
        contains(talk(server, b"PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), b"HTTP/1.1 501 ")
        same(len(server.log), 0)


@case
def keep_alive_and_continue():
    with running() as (server, client):
        for _ in range(3):
            client.put("k")
            client.get("k", "HEAD")
            client.delete("k")
            client.get("k", "HEAD")
        same(len({e["connection"] for e in server.log}), 1, "number of connections")
        twice = b"GET /tfbucket/k HTTP/1.1\r\nHost: x\r\n\r\nGET /tfbucket/k HTTP/1.1\r\nConnection: close\r\n\r\n"
        same(talk(server, twice).count(b"HTTP/1.1 403 "), 2, "pipelined answers")
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
            sock.sendall(b"PUT /tfbucket/k HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            contains(sock.recv(4096), b"HTTP/1.1 100 ")
            sock.sendall(b"abc")
            contains(sock.recv(4096), b"HTTP/1.1 403 ")


@case
def fast_and_idle():
    with running() as (server, client):
        for _ in range(300):
            client.put("k", b"x" * 300)
        times = sorted(e["ms"] for e in server.log)
        assert times[len(times) // 2] < 1, f"median {times[len(times) // 2]} ms"
        begin = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - begin < 0.02, "uses CPU when idle"


@contextlib.contextmanager
def process(*args, **more):
    child = subprocess.Popen([sys.executable, os.path.join(HERE, "s3server.py"), *args], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, **more)
    try:
        child.port = int(child.stdout.readline())
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


@case
def command_line():
    with tempfile.TemporaryDirectory() as directory:
        log = os.path.join(directory, "access.log")
        for how, ending in ((("--until-stdin-closes",), lambda c: c.stdin.close()),
                            ((), lambda c: c.send_signal(signal.SIGTERM)),
                            ((), lambda c: c.send_signal(signal.SIGINT))):
            with process("--bucket", "one", "--bucket", "two", "--table", "t", "--key", "me:mine:tok", "--access-log",
                         log, *how) as child:
                client = Client(child, "me", "mine", "tok")
                same(client.request("PUT", "/two/k", b"x").status, 200)
                same(client.request("PUT", "/tfbucket/k", b"x").status, 404)
                ending(child)
                same(child.wait(5), 0, "exit status")
                client.close()
        with open(log, encoding="utf-8") as lines:
            lines = lines.readlines()
        same(len(lines), 6, "lines in the access log")
        contains(lines[0], "me PUT /two/k PutObject k 200")


# --- Terraform -----------------------------------------------------------------------------------------------------

MAIN = """
terraform {
  backend "s3" {
    bucket                      = "tfbucket"
    key                         = "app/terraform.tfstate"
    region                      = "us-east-1"
    endpoints                   = { s3 = "%(url)s", dynamodb = "%(url)s" }
    use_lockfile                = true
    %(table)s
    use_path_style              = true
    skip_credentials_validation = true
    skip_metadata_api_check     = true
    skip_region_validation      = true
    skip_requesting_account_id  = true
    max_retries                 = 2
  }
}
resource "terraform_data" "x" { input = "value" }
"""


class Workspace:
    def __init__(self, directory, url, table=False, **env):
        self.directory = directory
        # Nothing of the caller's settings, which may name other servers, keys or plug-in mirrors.
        self.env = {n: v for n, v in os.environ.items() if not n.startswith(("AWS_", "TF_"))}
        self.env.update({"HOME": directory, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1",
                         "AWS_ACCESS_KEY_ID": "testkey", "AWS_SECRET_ACCESS_KEY": "testsecret", **env})
        with open(os.path.join(directory, "main.tf"), "w", encoding="utf-8") as file:
            file.write(MAIN % {"url": url, "table": 'dynamodb_table = "tflocks"' if table else ""})

    def run(self, *args, status=0):
        done = subprocess.run([TERRAFORM, *args, "-no-color"], cwd=self.directory, env=self.env, timeout=120,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != status:
            raise AssertionError(f"terraform {args[0]} ended with {done.returncode}: {done.stdout[-1500:]}")
        return done.stdout


@contextlib.contextmanager
def workspace(server, **more):
    if not TERRAFORM:
        raise Skip("no terraform")
    with tempfile.TemporaryDirectory() as directory:
        yield Workspace(directory, server.url, **more)


def life_of_a_state(server, terraform):
    terraform.run("init", "-input=false")
    terraform.run("apply", "-auto-approve", "-input=false")
    state = json.loads(server.objects["tfbucket"]["app/terraform.tfstate"].body)
    same(state["resources"][0]["type"], "terraform_data")
    contains(terraform.run("plan", "-input=false"), "No changes")
    terraform.run("destroy", "-auto-approve", "-input=false")
    same(json.loads(server.objects["tfbucket"]["app/terraform.tfstate"].body)["resources"], [])
    same(list(server.objects["tfbucket"]), ["app/terraform.tfstate"], "what is left")
    refused = [e for e in server.log if (e["status"] or 0) >= 400 and e["status"] != 404]
    same(refused, [], "refused requests")
    locks = [e for e in server.log if (e["key"] or "").endswith(".tflock")]
    same([e["method"] for e in locks], 3 * ["PUT", "GET", "DELETE"])
    same(locks[0]["headers"]["if-none-match"], "*")
    contains(locks[0]["body"], '"Operation":"OperationTypeApply"')
    return locks


@case
def terraform_over_http():
    with running() as (server, _), workspace(server) as terraform:
        life_of_a_state(server, terraform)


@case
def terraform_with_dynamodb_and_token():
    with running(versioned=True) as (server, _):
        with workspace(server, table=True, AWS_ACCESS_KEY_ID="tmpkey", AWS_SECRET_ACCESS_KEY="tmpsecret",
                       AWS_SESSION_TOKEN="tmptoken") as terraform:
            life_of_a_state(server, terraform)
            same(list(server.items["tflocks"]), ["tfbucket/app/terraform.tfstate-md5"])


def make_certificate(directory):
    """A CA and a server certificate for 127.0.0.1 -> (ca, certificate, key)"""
    if not shutil.which("openssl"):
        raise Skip("no openssl")
    path = {n: os.path.join(directory, n) for n in ("ca.pem", "ca.key", "srv.pem", "srv.key", "srv.csr", "ext")}
    with open(path["ext"], "w", encoding="utf-8") as file:
        file.write("subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:*.localhost\n")

    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *new_key, "-keyout", path["ca.key"], "-out", path["ca.pem"], "-days", "2",
            "-subj", "/CN=test CA")
    openssl("req", "-new", *new_key, "-keyout", path["srv.key"], "-out", path["srv.csr"], "-subj", "/CN=127.0.0.1")
    openssl("x509", "-req", "-in", path["srv.csr"], "-CA", path["ca.pem"], "-CAkey", path["ca.key"],
            "-CAcreateserial", "-out", path["srv.pem"], "-days", "2", "-extfile", path["ext"])
    return path["ca.pem"], path["srv.pem"], path["srv.key"]


@case
def tls():
    with tempfile.TemporaryDirectory() as directory:
        ca, certificate, key = make_certificate(directory)
        with s3server.Server(tls=(certificate, key), read_timeout=1) as server:
            client = Client(server, tls=ssl.create_default_context(cafile=ca))
            same(client.put("k", b"x" * 100000).status, 200)
            same(len(client.get("k").body), 100000)
            server.set_faults([{"do": "drop-after"}])
            is_dropped(client.put, "k")
            begin = time.monotonic()
            same(talk(server, b""), b"", "answer to silence instead of a handshake")
            assert time.monotonic() - begin < 3
            client.close()


@case
def terraform_over_https():
    with tempfile.TemporaryDirectory() as directory:
        ca, certificate, key = make_certificate(directory)
        with s3server.Server(tls=(certificate, key)) as server:
            with workspace(server, AWS_CA_BUNDLE=ca) as terraform:
                locks = life_of_a_state(server, terraform)
                same(locks[0]["headers"]["x-amz-content-sha256"], "STREAMING-UNSIGNED-PAYLOAD-TRAILER")


@case
def terraform_with_a_wrong_secret():
    with running() as (server, _), workspace(server, AWS_SECRET_ACCESS_KEY="wrong") as terraform:
        contains(terraform.run("init", "-input=false", status=1), "SignatureDoesNotMatch")


@case
def terraform_lock_conflict():
    with running() as (server, _), workspace(server) as terraform:
        terraform.run("init", "-input=false")
        holder = CAPTURED_BODY.replace(b"root@vm", b"someone@elsewhere")
        server.put_object("tfbucket", "app/terraform.tfstate.tflock", holder)
        shown = terraform.run("apply", "-auto-approve", "-input=false", status=1)
        contains(shown, "Error acquiring the state lock")
        contains(shown, "PreconditionFailed")
        contains(shown, "someone@elsewhere")
        terraform.run("force-unlock", "-force", "4fd3b847-365f-d96c-4f7b-40a0ce0a0763")
        terraform.run("apply", "-auto-approve", "-input=false")


@case
def terraform_loses_an_answer():
    """The known weakness of the real client shows here too, so the fault is the real one."""
    with running() as (server, _), workspace(server) as terraform:
        terraform.run("init", "-input=false")
        server.set_faults([{"do": "drop-after", "method": "PUT", "suffix": ".tflock"}])
        contains(terraform.run("apply", "-auto-approve", "-input=false", status=1), "Error acquiring the state lock")
        assert "app/terraform.tfstate.tflock" in server.objects["tfbucket"]


# -------------------------------------------------------------------------------------------------------------------

def run(function):
    name = function.__name__
    try:
        function()
    except Skip as why:
        print(f"SKIP {name}: {why}", flush=True)
        return "skipped"
    except Exception as error:  # pylint: disable=broad-except
        place = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in place if frame.filename == os.path.abspath(__file__)]
        text = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"FAIL {name}: {text} (line {' < '.join(map(str, reversed(lines)))})", flush=True)
        return "failed"
    print(f"PASS {name}", flush=True)
    return "passed"


def main():
    words = sys.argv[1:]
    results = [run(f) for f in CASES if not words or any(w in f.__name__ for w in words)]
    print(", ".join(f"{results.count(kind)} {kind}" for kind in ("passed", "failed", "skipped")))
    return 1 if "failed" in results else 0


if __name__ == "__main__":
    sys.exit(main())
