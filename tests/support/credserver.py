#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What AWS gives credentials by, on 127.0.0.1: STS, the SSO portal and its OIDC service, the metadata service of an
instance, and that of a container. One server plays all of them; requests tell them apart.

    with CredServer() as server:
        server.url                      http://127.0.0.1:PORT
        server.keys["AKIA"] = ("secret", None)     who may sign; what is given out is added
        server.fault("AssumeRole", status=503, code="Throttling", count=2)
        server.log                      one dict per request: op, region and key_id of its signature, params, headers

What is given for role R is the key ASIA-R, the secret secret-of-R and the token token-of-R+/=.
"""
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit
from xml.sax.saxutils import escape

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import s3server  # noqa: E402

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
SKEW = 300
ROLES = "/latest/meta-data/iam/security-credentials/"


def stamp(when):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


def minted(role):
    return f"ASIA-{role}", f"secret-of-{role}", f"token-of-{role}+/="


class Refusal(Exception):
    def __init__(self, status, code, message=""):
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def take(self):
        server = self.server.owner
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = urlsplit(self.path)
        form = "urlencoded" in (self.headers.get("content-type") or "")
        self.entry = {
            "method": self.command, "path": parts.path, "query": dict(parse_qsl(parts.query)),
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "params": dict(parse_qsl(body.decode(), keep_blank_values=True)) if form else {},
            "body": body, "region": None, "key_id": None, "op": None,
        }
        self.entry["op"] = server.op_of(self.entry)
        fault = server.arrive(self.entry)
        if fault and fault.get("delay"):
            time.sleep(fault["delay"])
        if fault and fault.get("drop"):
            self.close_connection = True
            return
        if fault and "status" in fault:
            self.answer(fault["status"], fault.get("body") or error_body(fault), fault.get("headers", {}))
            return
        try:
            status, kind, text = server.serve(self.entry)
        except Refusal as why:
            status, kind = why.status, "text/xml"
            text = error_body({"code": why.code, "message": why.message})
        self.answer(status, text, {"Content-Type": kind})

    def date_time_string(self, timestamp=None):
        return super().date_time_string(self.server.owner.now() if timestamp is None else timestamp)

    def answer(self, status, text, headers):
        data = text if isinstance(text, bytes) else text.encode()
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_PUT = take


def error_body(fault):
    return (f'<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>Sender</Type><Code>{escape(fault.get("code", "Broken"))}'
            f'</Code><Message>{escape(fault.get("message", ""))}</Message></Error><RequestId>r</RequestId>'
            "</ErrorResponse>")


class CredServer:
    def __init__(self, region="us-east-1"):
        self.region = region
        self.life = 3600            # seconds that what is given lives
        self.clock = 0              # seconds that its clock is ahead of ours
        self.keys = {"testkey": ("testsecret", None)}  # id: (secret, token)
        self.web_tokens = {"webtoken"}
        self.sso_tokens = {"ssotoken"}
        self.oidc = {"refresh": "ssotoken2"}  # refresh token: new access token
        self.container_token = None  # the Authorization that is wanted
        self.role = "box"            # of the instance; None: none
        self.role_code = "Success"
        self.imds_tokens = set()
        self.has_imds_v2 = True
        self.needs_imds_token = True
        self.log, self.faults = [], []
        self.lock = threading.Lock()
        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.httpd.owner = self
        self.url = f"http://127.0.0.1:{self.httpd.server_address[1]}"
        self.thread = threading.Thread(target=self.httpd.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.httpd.shutdown()
        self.httpd.server_close()

    def fault(self, op, count=1, **how):
        """The next @count requests of @op: delay=seconds, drop=True, or status= with code=, message= or body=."""
        with self.lock:
            self.faults.append(dict(how, op=op, count=count))

    def ops(self):
        with self.lock:
            return [entry["op"] for entry in self.log]

    def arrive(self, entry):
        with self.lock:
            self.log.append(entry)
            for fault in self.faults:
                if fault["op"] == entry["op"] and fault["count"] > 0:
                    fault["count"] -= 1
                    return fault
        return None

    @staticmethod
    def op_of(entry):
        if "Action" in entry["params"]:
            return entry["params"]["Action"]
        path = entry["path"]
        if path == "/latest/api/token":
            return "ImdsToken"
        if path.startswith(ROLES):
            return "ImdsKeys" if path != ROLES else "ImdsRole"
        return {"/federation/credentials": "SSO", "/token": "OIDC", "/container": "Container"}.get(path, "Unknown")

    def serve(self, entry):
        return getattr(self, "on_" + entry["op"])(entry)

    def give(self, role):
        found = minted(role)
        self.keys[found[0]] = (found[1], found[2])
        return found

    def now(self):
        return time.time() + self.clock

    # --- STS

    def verify(self, entry):
        """The caller's key id; raise Refusal. AWS's rules, by what s3server.py knows of them."""
        headers = entry["headers"]
        match = s3server.AUTHORIZATION.fullmatch(headers.get("authorization", ""))
        if not match:
            raise Refusal(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
        credential, names, signature = match.groups()
        key_id, date, region, service, _ = credential.rsplit("/", 4)
        entry["key_id"], entry["region"] = key_id, region
        when, then = s3server.request_stamp(headers)
        if service != "sts" or region != self.region or not when or date != when[:8]:
            raise Refusal(403, "SignatureDoesNotMatch", "Credential should be scoped to a valid region.")
        if abs(self.now() - then) > SKEW:
            raise Refusal(403, "SignatureDoesNotMatch", "Signature expired")
        secret, token = self.keys.get(key_id, (None, None))
        if secret is None or headers.get("x-amz-security-token") != token:
            raise Refusal(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        signed = sorted(names.split(";"))
        for name in headers:
            if (name == "host" or name.startswith("x-amz-")) and name not in signed:
                raise Refusal(403, "SignatureDoesNotMatch", f"{name} must be signed")
        canonical = s3server.canonical_request("POST", entry["path"], "", headers, signed,
                                               s3server.sha256_hex(entry["body"]))
        to_sign = s3server.string_to_sign(when, f"{date}/{region}/sts/aws4_request", canonical)
        key = s3server.signing_key(secret, date, region, "sts")
        if s3server.hmac_sha256(key, to_sign).hex() != signature:
            raise Refusal(403, "SignatureDoesNotMatch", "The request signature we calculated does not match")
        return key_id

    def role_answer(self, entry):
        params = entry["params"]
        if params.get("Version") != "2011-06-15" or not params.get("RoleSessionName"):
            raise Refusal(400, "ValidationError", "Version and RoleSessionName are needed")
        role = params["RoleArn"].rsplit("/", 1)[-1]
        if role == "denied":
            raise Refusal(403, "AccessDenied", f"User is not authorized to perform: sts:{entry['op']}")
        access, secret, token = self.give(role)
        action = entry["op"]
        return 200, "text/xml", (
            f'<{action}Response xmlns="{NAMESPACE}"><{action}Result><AssumedRoleUser><AssumedRoleId>X:s</AssumedRoleId>'
            f"<Arn>{escape(params['RoleArn'])}</Arn></AssumedRoleUser><Credentials><SessionToken>{token}</SessionToken>"
            f"<AccessKeyId>{access}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>"
            f"<Expiration>{stamp(self.now() + self.life)}</Expiration></Credentials></{action}Result>"
            f"<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>")

    def on_AssumeRole(self, entry):
        self.verify(entry)
        return self.role_answer(entry)

    def on_AssumeRoleWithWebIdentity(self, entry):
        if "authorization" in entry["headers"]:
            raise Refusal(400, "InvalidRequest", "this call is not signed")
        if entry["params"].get("WebIdentityToken") not in self.web_tokens:
            raise Refusal(400, "InvalidIdentityToken", "The web identity token is not known")
        return self.role_answer(entry)

    def on_GetCallerIdentity(self, entry):
        key_id = self.verify(entry)
        return 200, "text/xml", (
            f'<GetCallerIdentityResponse xmlns="{NAMESPACE}"><GetCallerIdentityResult>'
            f"<Arn>arn:aws:iam::123456789012:user/{escape(key_id)}</Arn><UserId>{escape(key_id)}</UserId>"
            "<Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>")

    # --- SSO

    def on_SSO(self, entry):
        if entry["headers"].get("x-amz-sso_bearer_token") not in self.sso_tokens:
            return 401, "application/json", '{"message":"Session token not found or invalid"}'
        role = entry["query"].get("role_name", "")
        if role == "denied":
            return 403, "application/json", '{"message":"No access"}'
        access, secret, token = self.give(role)
        return 200, "application/json", json.dumps({"roleCredentials": {
            "accessKeyId": access, "secretAccessKey": secret, "sessionToken": token,
            "expiration": int((self.now() + self.life) * 1000)}})

    def on_OIDC(self, entry):
        asked = json.loads(entry["body"])
        access = self.oidc.get(asked.get("refreshToken"))
        if asked.get("grantType") != "refresh_token" or not asked.get("clientId") or not asked.get("clientSecret") or \
                not access:
            return 400, "application/json", '{"error":"invalid_grant"}'
        self.sso_tokens.add(access)
        return 200, "application/json", json.dumps({"accessToken": access, "expiresIn": 28800, "tokenType": "Bearer",
                                                    "refreshToken": "refresh-next"})

    # --- machines

    def on_ImdsToken(self, entry):
        if not self.has_imds_v2:
            return 404, "text/plain", "not found"
        if entry["method"] != "PUT" or not entry["headers"].get("x-aws-ec2-metadata-token-ttl-seconds", "").isdigit():
            return 400, "text/plain", "bad request"
        token = f"imds-{len(self.imds_tokens)}"
        self.imds_tokens.add(token)
        return 200, "text/plain", token

    def check_imds(self, entry):
        token = entry["headers"].get("x-aws-ec2-metadata-token")
        return token in self.imds_tokens or (token is None and not self.needs_imds_token)

    def on_ImdsRole(self, entry):
        if not self.check_imds(entry):
            return 401, "text/plain", "unauthorized"
        return (200, "text/plain", self.role + "\n") if self.role else (404, "text/plain", "not found")

    def on_ImdsKeys(self, entry):
        if not self.check_imds(entry):
            return 401, "text/plain", "unauthorized"
        if self.role_code != "Success":
            return 200, "application/json", json.dumps({"Code": self.role_code, "Message": "no"})
        access, secret, token = self.give(self.role)
        return 200, "application/json", json.dumps({
            "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": access, "SecretAccessKey": secret, "Token": token,
            "Expiration": stamp(self.now() + self.life), "LastUpdated": stamp(self.now())})

    def on_Container(self, entry):
        if self.container_token is not None and entry["headers"].get("authorization") != self.container_token:
            return 401, "application/json", '{"code":"AccessDenied","message":"the token is wrong"}'
        access, secret, token = self.give("task")
        return 200, "application/json", json.dumps({
            "AccessKeyId": access, "SecretAccessKey": secret, "Token": token,
            "Expiration": stamp(self.now() + self.life), "RoleArn": "arn:aws:iam::1:role/task"})

    @staticmethod
    def on_Unknown(_entry):
        return 404, "text/plain", "not found"
