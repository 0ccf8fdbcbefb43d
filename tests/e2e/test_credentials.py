#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tfq-runner --credentials finds the keys that terraform's S3 backend uses, wherever they come from."""
import contextlib
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from credserver import CredServer, stamp  # noqa: E402
from harness import RUNNER, case, check, contains, lacks, main, same, wait_for  # noqa: E402

ARN = "arn:aws:iam::123456789012:role/"
KEYS = "aws_access_key_id = testkey\naws_secret_access_key = testsecret\n"
SECONDS = 100


class Place:
    """A home with shared files, a folder in which terraform would run, and a server of every source."""

    def __init__(self, config="", credentials="", **files):
        self.stack = contextlib.ExitStack()
        self.path = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="tfq-credentials."))
        self.server = self.stack.enter_context(CredServer())
        self.home = os.path.join(self.path, "home")
        self.work = os.path.join(self.path, "work")
        os.makedirs(os.path.join(self.home, ".aws", "sso", "cache"))
        os.makedirs(self.work)
        for name, text in (("home/.aws/config", config), ("home/.aws/credentials", credentials), *files.items()):
            if text:
                self.write(name, text)
        self.env = {
            "HOME": self.home, "PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL_STS": self.server.url, "AWS_ENDPOINT_URL_SSO": self.server.url,
            "AWS_ENDPOINT_URL_SSO_OIDC": self.server.url, "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.server.url,
        }

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stack.close()

    def write(self, name, text):
        path = os.path.join(self.path, name)
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        return path

    def question(self, backend=None, env=None, **more):
        full = {name: value for name, value in {**self.env, **(env or {})}.items() if value is not None}
        return {"environment": [f"{name}={value}" for name, value in full.items()], "directory": self.work,
                "backend": {"region": "us-east-1", **(backend or {})}, "session_name": "tfqd-42", **more}

    def ask(self, backend=None, env=None, **more):
        """The answer; nothing of tfq-runner's own environment may be of any use."""
        text = json.dumps(self.question(backend, env, **more)).encode()
        done = subprocess.run([RUNNER, "--credentials"], input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env={**SANITIZERS, "AWS_ACCESS_KEY_ID": "wrong", "AWS_SECRET_ACCESS_KEY": "wrong"},
                              timeout=SECONDS, check=False)
        answer = json.loads(done.stdout)
        same(done.returncode != 0, "Error" in answer, "whether it failed")
        same(done.stderr, b"", "what it says on stderr")
        return answer

    def session(self, name, **members):
        """Put an SSO token where aws sso login would."""
        token = {"accessToken": "ssotoken", "expiresAt": stamp(time.time() + 3600), "region": "us-east-1",
                 "startUrl": "https://x", **members}
        path = f"home/.aws/sso/cache/{hashlib.sha1(name.encode()).hexdigest()}.json"
        return self.write(path, json.dumps(token))


SANITIZERS = {name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}


def found(answer, key, source, refreshable=True):
    check("Error" not in answer, f"it says: {answer.get('Error')}")
    same((answer["AccessKeyId"], answer["Source"], answer["Refreshable"]), (key, source, refreshable), "the answer")


def refused(answer, *parts, unsupported=False):
    check("Error" in answer, f"there is no error, but {answer.get('Source')}")
    same(answer["Unsupported"], unsupported, "Unsupported")
    lacks(json.dumps(answer), "testsecret", "ssotoken", "webtoken")
    contains(answer["Error"], *parts)


# --- what needs no server: name, config, credentials, backend, environment, key, source or part of the error

STATIC = [
    ("the backend block's keys", "", "", {"access_key": "B", "secret_key": "s"}, {"AWS_ACCESS_KEY_ID": "E",
     "AWS_SECRET_ACCESS_KEY": "s"}, "B", "backend block"),
    ("half of the block's keys", "", "", {"secret_key": "s"}, {"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "s"},
     None, "half of a static credential"),
    ("the environment's", "[default]\n" + KEYS, "", {}, {"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "s",
     "AWS_PROFILE": "default"}, "E", "environment"),
    ("the environment's second names", "", "", {}, {"AWS_ACCESS_KEY": "E", "AWS_SECRET_KEY": "s"}, "E", "environment"),
    ("an id without a secret is none", "", "[default]\n" + KEYS, {}, {"AWS_ACCESS_KEY_ID": "E"}, "testkey",
     "profile default"),
    ("the block's profile before the environment", "[profile p]\n" + KEYS, "", {"profile": "p"},
     {"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "s"}, "testkey", "profile p"),
    ("AWS_PROFILE", "[profile p]\n" + KEYS, "", {}, {"AWS_PROFILE": "p"}, "testkey", "profile p"),
    ("AWS_DEFAULT_PROFILE", "[profile p]\n" + KEYS, "", {}, {"AWS_DEFAULT_PROFILE": "p"}, "testkey", "profile p"),
    ("AWS_PROFILE before AWS_DEFAULT_PROFILE", "[profile p]\n" + KEYS, "", {},
     {"AWS_PROFILE": "p", "AWS_DEFAULT_PROFILE": "q"}, "testkey", "profile p"),
    ("the default profile", "", "[default]\n" + KEYS, {}, {}, "testkey", "profile default"),
    ("a profile that is not there", "[profile p]\n" + KEYS, "", {}, {"AWS_PROFILE": "q"}, None,
     "no AWS profile q"),
    ("the block's that is not there", "[profile p]\n" + KEYS, "", {"profile": "q"}, {}, None, "no AWS profile q"),
    ("[x] is nothing in the config file", "[p]\n" + KEYS, "", {}, {"AWS_PROFILE": "p"}, None, "no AWS profile p"),
    ("keys of two files are not mixed", "[profile p]\naws_access_key_id = c\naws_secret_access_key = s\n"
     "aws_session_token = t\n", "[p]\n" + KEYS, {}, {"AWS_PROFILE": "p"}, "testkey", "profile p"),
    ("nothing at all", "", "", {}, {}, None, "no AWS credentials"),
    ("a profile with nothing in it", "[profile p]\nregion = x\n", "", {}, {"AWS_PROFILE": "p"}, None,
     "nor profile p has none"),
    ("credential_source without variables", f"[profile p]\nrole_arn = {ARN}r\ncredential_source = Environment\n", "",
     {}, {"AWS_PROFILE": "p"}, None, "takes its credentials from the environment, which has none"),
    ("credential_source without a container", f"[profile p]\nrole_arn = {ARN}r\ncredential_source = EcsContainer\n",
     "", {}, {"AWS_PROFILE": "p"}, None, "but there is no AWS_CONTAINER_CREDENTIALS"),
    ("an unknown credential_source", f"[profile p]\nrole_arn = {ARN}r\ncredential_source = Moon\n", "", {},
     {"AWS_PROFILE": "p"}, None, "unknown credential_source"),
    ("a source_profile without a role", "[profile p]\nsource_profile = q\n[profile q]\n" + KEYS, "", {},
     {"AWS_PROFILE": "p"}, None, "no role_arn"),
    ("two sources", f"[profile p]\nrole_arn = {ARN}r\nsource_profile = q\ncredential_source = Environment\n", "", {},
     {"AWS_PROFILE": "p"}, None, "only one of"),
    ("a source_profile that is not there", f"[profile p]\nrole_arn = {ARN}r\nsource_profile = q\n", "", {},
     {"AWS_PROFILE": "p"}, None, "names the source_profile q"),
    ("a loop of two", f"[profile p]\nrole_arn = {ARN}r\nsource_profile = q\n[profile q]\nrole_arn = {ARN}r\n"
     "source_profile = p\n" + KEYS, "", {}, {"AWS_PROFILE": "p"}, None, "leads back to itself"),
    ("its own source without keys", f"[profile p]\nrole_arn = {ARN}r\nsource_profile = p\n", "", {},
     {"AWS_PROFILE": "p"}, None, "leads back to itself"),
    ("a role without web identity's file", "", "", {}, {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere",
     "AWS_ROLE_ARN": ARN + "r"}, None, "/nowhere cannot be read"),
    ("web identity without a role", "", "", {}, {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere"}, None, "no role for it"),
    ("a role of the block without its name", "", "[default]\n" + KEYS, {"assume_role": {"role_arn": None}}, {}, None,
     "no role_arn"),
    ("a role's odd duration", "", "[default]\n" + KEYS, {"assume_role": {"role_arn": ARN + "r", "duration": "1y"}}, {},
     None, "must be a time like"),
    ("a container beyond this machine", "", "", {}, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.2.x.y/"},
     None, "FULL_URI is refused"),
    ("a container by another's name", "", "", {}, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://u:p@127.0.0.1/"},
     None, "FULL_URI is refused"),
    ("a relative URI that is none", "", "", {}, {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": ".evil.org/"}, None,
     "must begin with a slash"),
    ("an SSO session that nobody made", "[profile p]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\n"
     "[sso-session s]\nsso_region = us-east-1\nsso_start_url = https://x\n", "", {}, {"AWS_PROFILE": "p"}, None,
     "aws sso login --profile p"),
    ("an sso_session that is not there", "[profile p]\nsso_session = s\n", "", {}, {"AWS_PROFILE": "p"}, None,
     "no [sso-session s]"),
    ("half an SSO profile", "[profile p]\nsso_start_url = https://x\n", "", {}, {"AWS_PROFILE": "p"}, None,
     "does not say all that SSO needs"),
]


@case("keys of the backend block, the environment and profiles are found in terraform's order")
def static():
    for name, config, credentials, backend, env, key, text in STATIC:
        with Place(config, credentials) as place:
            answer = place.ask(backend, env)
            try:
                if key:
                    found(answer, key, text, text.startswith("profile"))
                else:
                    refused(answer, text)
                same(place.server.ops(), [], "what was asked of the server")
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from None


@case("the environment's expiry and token are passed on, and a file's token is not mixed in")
def expiry():
    with Place("[profile p]\naws_session_token = other\n" + KEYS, "[p]\n" + KEYS) as place:
        answer = place.ask(env={"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t",
                                "AWS_CREDENTIAL_EXPIRATION": "2040-01-02T03:04:05+01:00"})
        same((answer["SessionToken"], answer["Expiration"]), ("t", "2040-01-02T02:04:05Z"), "the answer")
        answer = place.ask(env={"AWS_PROFILE": "p"})
        check("SessionToken" not in answer, "the token of one file went with the keys of the other")


@case("shared files are found where the block, the variables and ~ say, relative to terraform's directory")
def files():
    with Place() as place:
        place.write("work/here", "[profile p]\n" + KEYS)
        place.write("home/there", "[p]\n" + KEYS)
        profile = {"AWS_PROFILE": "p"}
        found(place.ask({"shared_config_files": ["here"]}, profile), "testkey", "profile p")
        found(place.ask({"shared_credentials_files": ["~/there"]}, profile), "testkey", "profile p")
        found(place.ask({"shared_credentials_files": ["$X/there"]}, {**profile, "X": place.home}), "testkey",
              "profile p")
        found(place.ask({}, {**profile, "AWS_SHARED_CONFIG_FILE": "here", "AWS_CONFIG_FILE": "/none"}), "testkey",
              "profile p")
        found(place.ask({}, {**profile, "AWS_CONFIG_FILE": "here"}), "testkey", "profile p")
        found(place.ask({}, {**profile, "AWS_SHARED_CREDENTIALS_FILE": "${HOME}/there"}), "testkey", "profile p")


# --- roles

@case("the block's role is assumed with all that it says, signed with the keys below it")
def block_role():
    with Place(credentials="[base]\n" + KEYS) as place:
        role = {"role_arn": ARN + "deploy", "duration": "1h30m", "external_id": "ext", "policy": '{"a": 1}',
                "policy_arns": ["arn:aws:iam::aws:policy/A", "arn:aws:iam::aws:policy/B"], "session_name": "sess",
                "source_identity": "me", "tags": {"a": "b/c"}, "transitive_tag_keys": ["a"]}
        answer = place.ask({"profile": "base", "assume_role": role})
        found(answer, "ASIA-deploy", f"role {ARN}deploy via profile base")
        same(answer["SecretAccessKey"], "secret-of-deploy", "the secret")
        same(answer["SessionToken"], "token-of-deploy+/=", "the token")
        check(answer["Expiration"] > stamp(time.time() + 3000), "the expiry is taken over")
        [entry] = place.server.log
        same((entry["key_id"], entry["region"]), ("testkey", "us-east-1"), "who signed, where")
        same(entry["params"], {
            "Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": ARN + "deploy", "RoleSessionName": "sess",
            "DurationSeconds": "5400", "ExternalId": "ext", "Policy": '{"a": 1}', "SourceIdentity": "me",
            "PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/A",
            "PolicyArns.member.2.arn": "arn:aws:iam::aws:policy/B", "Tags.member.1.Key": "a",
            "Tags.member.1.Value": "b/c", "TransitiveTagKeys.member.1": "a"}, "the parameters")


@case("roles are assumed one with the other's keys, with tfqd's session name and an hour if nothing is said")
def chain_of_roles():
    with Place() as place:
        keys = {"AWS_ACCESS_KEY_ID": "testkey", "AWS_SECRET_ACCESS_KEY": "testsecret"}
        answer = place.ask({"assume_role": [{"role_arn": ARN + "one"}, {"role_arn": ARN + "two"}]}, keys)
        found(answer, "ASIA-two", f"role {ARN}two via role {ARN}one via environment")
        same([entry["key_id"] for entry in place.server.log], ["testkey", "ASIA-one"], "who signed")
        same([place.server.log[0]["params"][name] for name in ("RoleSessionName", "DurationSeconds")],
             ["tfqd-42", "3600"], "what was not said")


@case("profiles lead to their roles by source_profile, credential_source and their own keys")
def profile_roles():
    config = (f"[profile a]\nrole_arn = {ARN}a\nsource_profile = b\nexternal_id = x\nduration_seconds = 900\n"
              f"role_session_name = me\n[profile b]\nrole_arn = {ARN}b\nsource_profile = c\n[profile c]\n{KEYS}"
              f"[profile self]\nrole_arn = {ARN}self\nsource_profile = self\n{KEYS}"
              f"[profile env]\nrole_arn = {ARN}env\ncredential_source = Environment\n")
    with Place(config) as place:
        found(place.ask({"profile": "a"}), "ASIA-a", f"role {ARN}a via role {ARN}b via profile c")
        params = place.server.log[-1]["params"]
        same([params[name] for name in ("ExternalId", "DurationSeconds", "RoleSessionName")], ["x", "900", "me"])
        found(place.ask(env={"AWS_PROFILE": "self"}), "ASIA-self", f"role {ARN}self via profile self")
        found(place.ask({"profile": "env"}, {"AWS_ACCESS_KEY_ID": "testkey", "AWS_SECRET_ACCESS_KEY": "testsecret"}),
              "ASIA-env", f"role {ARN}env via environment")


@case("what STS refuses is said in its own words; passing trouble is outlived")
def sts_trouble():
    with Place(credentials="[default]\n" + KEYS) as place:
        refused(place.ask({"assume_role": {"role_arn": ARN + "denied"}}), ARN + "denied", "AccessDenied",
                "not authorized")
        place.server.fault("AssumeRole", status=503, code="Throttling", count=2)
        found(place.ask({"assume_role": {"role_arn": ARN + "r"}}), "ASIA-r", f"role {ARN}r via profile default")
        place.server.fault("AssumeRole", drop=True, count=2)
        found(place.ask({"assume_role": {"role_arn": ARN + "r"}}), "ASIA-r", f"role {ARN}r via profile default")
        place.server.fault("AssumeRole", status=500, code="InternalFailure", count=3)
        refused(place.ask({"assume_role": {"role_arn": ARN + "r"}}), "HTTP 500 InternalFailure")
        for body in ("", "<html/>", "x" * 70000, '<!DOCTYPE a [<!ENTITY b "c">]><AssumeRoleResponse/>'):
            place.server.fault("AssumeRole", status=200, body=body or "\n", count=3)
            check("Error" in place.ask({"assume_role": {"role_arn": ARN + "r"}}), f"{body[:20]} was taken")
            place.server.faults.clear()
        place.server.keys["testkey"] = ("another", None)
        refused(place.ask({"assume_role": {"role_arn": ARN + "r"}}), "SignatureDoesNotMatch")
        place.server.fault("AssumeRole", status=302, headers={"Location": place.server.url + "/container"})
        refused(place.ask({"assume_role": {"role_arn": ARN + "r"}}), "HTTP 302")
        check("Container" not in place.server.ops(), "a redirect was followed")


@case("STS is asked where the block, terraform's variables, the SDK's, the profile and tfqd.conf say, in this order")
def sts_endpoint():
    nowhere = "http://127.0.0.1:1"
    role = {"assume_role": {"role_arn": ARN + "r"}}
    with Place(credentials="[default]\n" + KEYS) as place:
        url = place.server.url
        off = {"AWS_ENDPOINT_URL_STS": None}
        source = f"role {ARN}r via profile default"
        found(place.ask({**role, "endpoint_sts": url}, {"AWS_ENDPOINT_URL_STS": nowhere}), "ASIA-r", source)
        found(place.ask(role, {"AWS_STS_ENDPOINT": nowhere}), "ASIA-r", source)
        found(place.ask(role, {**off, "AWS_STS_ENDPOINT": url, "AWS_ENDPOINT_URL": nowhere}), "ASIA-r", source)
        found(place.ask(role, {**off, "AWS_ENDPOINT_URL": url}), "ASIA-r", source)
        found(place.ask(role, off, endpoint_sts=url), "ASIA-r", source)
        place.write("home/.aws/config", f"[default]\nservices = s\nendpoint_url = {nowhere}\n[services s]\nsts =\n"
                    f"  endpoint_url = {url}\n")
        found(place.ask(role, off, endpoint_sts=nowhere), "ASIA-r", source)
        found(place.ask(role, {**off, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, endpoint_sts=url), "ASIA-r",
              source)
        refused(place.ask({**role, "endpoint_sts": "http://u:p@127.0.0.1"}), "endpoint of STS must be a URL")
        place.server.region = "eu-west-1"
        found(place.ask({**role, "sts_region": "eu-west-1"}), "ASIA-r", source)


@case("a proxy is used for STS, and its refusal is told")
def proxy():
    with Place(credentials="[default]\n" + KEYS) as place:
        settings = {"http": "http://127.0.0.1:1", "https": "http://127.0.0.1:1"}
        answer = place.ask({"assume_role": {"role_arn": ARN + "r"}, "endpoint_sts": "http://sts.example"},
                           proxy=settings)
        refused(answer, "could not be asked", "127.0.0.1")


@case("STS is asked once more by its own clock if ours is wrong, and not if it is the keys that are")
def clock():
    keys = {"AWS_ACCESS_KEY_ID": "testkey", "AWS_SECRET_ACCESS_KEY": "testsecret"}
    roles = {"assume_role": [{"role_arn": ARN + "one"}, {"role_arn": ARN + "two"}]}
    for ahead in (7200, -7200):
        with Place() as place:
            place.server.clock = ahead
            found(place.ask(roles, keys), "ASIA-two", f"role {ARN}two via role {ARN}one via environment")
            same(place.server.ops(), ["AssumeRole"] * 4, "the calls")
            refused(place.ask(roles, {**keys, "AWS_SECRET_ACCESS_KEY": "wrong"}), "SignatureDoesNotMatch")
            same(place.server.ops(), ["AssumeRole"] * 6, "the calls with wrong keys, by both clocks")
    with Place() as place:
        refused(place.ask(roles, {**keys, "AWS_SECRET_ACCESS_KEY": "wrong"}), "SignatureDoesNotMatch")
        same(place.server.ops(), ["AssumeRole"], "the calls with wrong keys alone")


# --- web identity

@case("a web identity's token is read at each try, and its call is not signed")
def web_identity():
    with Place() as place:
        token = place.write("work/token", "webtoken\n")
        env = {"AWS_WEB_IDENTITY_TOKEN_FILE": "token", "AWS_ROLE_ARN": ARN + "pod", "AWS_ROLE_SESSION_NAME": "s1"}
        source = f"role {ARN}pod via web identity"
        found(place.ask(env=env), "ASIA-pod", source)
        same(place.server.log[-1]["params"]["RoleSessionName"], "s1", "the session")
        place.server.fault("AssumeRoleWithWebIdentity", status=400, code="IDPCommunicationError")
        found(place.ask(env=env), "ASIA-pod", source)
        found(place.ask({"assume_role": {"role_arn": ARN + "next"}}, env), "ASIA-next",
              f"role {ARN}next via {source}")
        block = {"role_arn": ARN + "blk", "web_identity_token": "webtoken", "duration": "20m"}
        found(place.ask({"assume_role_with_web_identity": block}, {"AWS_ACCESS_KEY_ID": "E",
              "AWS_SECRET_ACCESS_KEY": "s"}), "ASIA-blk", f"role {ARN}blk via web identity")
        same(place.server.log[-1]["params"]["DurationSeconds"], "1200", "the duration")
        found(place.ask({"assume_role_with_web_identity": {"web_identity_token_file": token}},
                        {"AWS_ROLE_ARN": ARN + "pod"}), "ASIA-pod", source)
        found(place.ask({"access_key": "B", "secret_key": "s", "assume_role_with_web_identity": block}), "B",
              "backend block", False)
        place.write("work/token", "other")
        refused(place.ask(env=env), "InvalidIdentityToken")
        place.write("work/token", "\n")
        refused(place.ask(env=env), "is empty")
        os.unlink(token)
        os.mkfifo(token)
        refused(place.ask(env=env), "cannot be read")


@case("a profile's web identity takes its role itself")
def profile_web_identity():
    with Place(f"[profile w]\nrole_arn = {ARN}w\nweb_identity_token_file = token\n") as place:
        place.write("work/token", "webtoken")
        found(place.ask({"profile": "w"}), "ASIA-w", f"role {ARN}w via web identity")
        same(place.server.ops(), ["AssumeRoleWithWebIdentity"], "the calls")


# --- SSO

SSO = ("[profile p]\nsso_session = my\nsso_account_id = 123456789012\nsso_role_name = Admin\n"
       "[sso-session my]\nsso_region = us-east-1\nsso_start_url = https://x/start\n"
       "[profile old]\nsso_start_url = https://x/old\nsso_region = us-east-1\nsso_account_id = 1\n"
       "sso_role_name = Reader\n")


@case("SSO gives the role's keys for the cached session, in both forms")
def sso():
    with Place(SSO) as place:
        place.session("my")
        place.session("https://x/old", expiresAt=stamp(time.time() + 3600).replace("Z", "UTC"))
        answer = place.ask({"profile": "p"})
        found(answer, "ASIA-Admin", "SSO via profile p")
        check(answer["Expiration"] > stamp(time.time() + 3000), "the expiry is taken over")
        same(place.server.log[-1]["query"], {"account_id": "123456789012", "role_name": "Admin"}, "the query")
        found(place.ask({"profile": "old"}), "ASIA-Reader", "SSO via profile old")
        found(place.ask({"profile": "p", "assume_role": {"role_arn": ARN + "r"}}), "ASIA-r",
              f"role {ARN}r via SSO via profile p")
        place.session("my", expiresAt=stamp(time.time() - 10))
        refused(place.ask({"profile": "p"}), "expired", "aws sso login --profile p")
        place.session("my", accessToken="unknown")
        refused(place.ask({"profile": "p"}), "expired", "aws sso login --profile p")
        place.write("home/.aws/config", SSO.replace("Admin", "denied"))
        place.session("my")
        refused(place.ask({"profile": "p"}), "does not give role denied", "assigned")


@case("an SSO token about to expire is renewed, and the cache written back whole and for its owner alone")
def sso_renewal():
    with Place(SSO) as place:
        client = {"refreshToken": "refresh", "clientId": "c", "clientSecret": "s", "unknown": [1],
                  "registrationExpiresAt": stamp(time.time() + 86400)}
        path = place.session("my", expiresAt=stamp(time.time() - 10), **client)
        os.chmod(path, 0o644)
        found(place.ask({"profile": "p"}), "ASIA-Admin", "SSO via profile p")
        same(place.server.ops(), ["OIDC", "SSO"], "the calls")
        with open(path, encoding="utf-8") as file:
            token = json.load(file)
        same((token["accessToken"], token["refreshToken"], token["unknown"]), ("ssotoken2", "refresh-next", [1]))
        check(token["expiresAt"] > stamp(time.time() + 20000), "the new expiry is written")
        same(stat.S_IMODE(os.stat(path).st_mode), 0o600, "the mode")
        same(os.listdir(os.path.dirname(path)), [os.path.basename(path)], "what lies there")

        # It failed, but what is there lives on.
        place.session("my", expiresAt=stamp(time.time() + 100), **{**client, "refreshToken": "gone"})
        found(place.ask({"profile": "p"}), "ASIA-Admin", "SSO via profile p")
        place.session("my", expiresAt=stamp(time.time() - 100), **{**client, "refreshToken": "gone"})
        refused(place.ask({"profile": "p"}), "aws sso login")
        same(place.server.ops().count("OIDC"), 3, "how often it was tried")
        place.session("my", expiresAt=stamp(time.time() - 100),
                      **{**client, "registrationExpiresAt": stamp(time.time() - 1)})
        refused(place.ask({"profile": "p"}), "aws sso login")
        same(place.server.ops().count("OIDC"), 3, "no renewal without a registration")


# --- credential_process, and what cannot be asked

@case("a credential_process runs by the shell, in the job's environment and terraform's directory")
def process():
    with Place() as place:
        keys = '{"Version":1,"AccessKeyId":"\'$NAME\'","SecretAccessKey":"s","SessionToken":"t",' \
               '"Expiration":"2040-01-02T03:04:05.5Z"}'
        place.write("home/.aws/config", f"[profile p]\ncredential_process = pwd > seen; echo '{keys}'; echo secret >&2\n")
        text = json.dumps(place.question({"profile": "p"}, {"NAME": "N1"})).encode()
        done = subprocess.run([RUNNER, "--credentials"], input=text, capture_output=True, timeout=SECONDS, check=False)
        answer = json.loads(done.stdout)
        found(answer, "N1", "credential_process of profile p")
        same((answer["Expiration"], answer["SessionToken"]), ("2040-01-02T03:04:05Z", "t"))
        with open(os.path.join(place.work, "seen"), encoding="utf-8") as file:
            same(file.read().strip(), os.path.realpath(place.work), "where it ran")
        for command, text in (("exit 3", "exit code 3"), ("kill -9 $$", "signal 9"), ("echo {}", "does not print"),
                              ("true", "does not print"), ("yes", "prints too much"),
                              (f"echo '{keys}' | sed s/:1/:2/", "does not print")):
            place.write("home/.aws/config", f"[profile p]\ncredential_process = {command}\n")
            refused(place.ask({"profile": "p"}), text)


@case("a credential_process that asks somebody is ended in time, with all that it started")
def process_hangs():
    with Place("[profile p]\ncredential_process = sleep 300 & echo $! > child; exec sleep 300\n") as place:
        refused(place.ask({"profile": "p"}, seconds=1), "did not end within 1 s")
        with open(os.path.join(place.work, "child"), encoding="utf-8") as file:
            child = int(file.read())
        try:
            wait_for(lambda: not is_alive(child), "its child is gone", 5)
        finally:
            with contextlib.suppress(ProcessLookupError):
                if is_alive(child):
                    os.kill(child, signal.SIGKILL)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@case("what needs a person (MFA, aws login) is said to be unsupported")
def unsupported():
    config = (f"[profile m]\nrole_arn = {ARN}m\nsource_profile = s\nmfa_serial = arn:x\n[profile s]\n{KEYS}"
              "[profile l]\nlogin_session = arn:y\n")
    with Place(config) as place:
        refused(place.ask({"profile": "m"}), "mfa_serial", unsupported=True)
        refused(place.ask({"profile": "l"}), "export-credentials --profile l", unsupported=True)
        same(place.server.ops(), [], "the calls")


# --- machines

@case("a container's credentials are taken, with the token of the file as it is now")
def container():
    with Place() as place:
        env = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": place.server.url + "/container",
               "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/not-this"}
        found(place.ask(env=env), "ASIA-task", "container")
        place.server.container_token = "Bearer one"
        refused(place.ask(env=env), "HTTP 401: the token is wrong")
        found(place.ask(env={**env, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Bearer one"}), "ASIA-task", "container")
        place.write("work/token", "Bearer one")
        both = {**env, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "wrong", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "token"}
        found(place.ask(env=both), "ASIA-task", "container")
        place.write("work/token", "Bearer one\r\nX: y")
        refused(place.ask(env=both), "line break")
        place.server.container_token = None
        place.server.fault("Container", status=500, body="{}", count=2)
        found(place.ask(env=env, proxy={"http": "http://127.0.0.1:1"}), "ASIA-task", "container")
        place.server.fault("Container", status=302, headers={"Location": place.server.url + "/container"})
        refused(place.ask(env=env), "HTTP 302")
        place.write("home/.aws/config", f"[profile c]\nrole_arn = {ARN}c\ncredential_source = EcsContainer\n")
        found(place.ask({"profile": "c"}, env), "ASIA-c", f"role {ARN}c via container")


@case("an instance's role is found by the second version of its metadata service, the first where there is no other")
def instance():
    on = {"AWS_EC2_METADATA_DISABLED": None}
    with Place() as place:
        answer = place.ask(env=on, proxy={"http": "http://127.0.0.1:1"})
        found(answer, "ASIA-box", "instance role box")
        check("Expiration" in answer, "its keys expire")
        same(place.server.ops(), ["ImdsToken", "ImdsRole", "ImdsKeys"], "the requests")
        place.server.fault("ImdsKeys", status=401)
        found(place.ask(env=on), "ASIA-box", "instance role box")
        same(place.server.ops()[3:], ["ImdsToken", "ImdsRole", "ImdsKeys", "ImdsToken", "ImdsKeys"], "after a 401")

        refused(place.ask(), "not to be asked")
        refused(place.ask({"skip_metadata_api_check": True}, on), "not to be asked")
        found(place.ask({"skip_metadata_api_check": False}), "ASIA-box", "instance role box")
        found(place.ask(env={**on, "AWS_EC2_METADATA_SERVICE_ENDPOINT": None, "AWS_METADATA_URL":
                             place.server.url + "/"}), "ASIA-box", "instance role box")
        found(place.ask({"ec2_metadata_service_endpoint": place.server.url},
                        {**on, "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1"}), "ASIA-box",
              "instance role box")
        place.write("home/.aws/config", f"[profile i]\nrole_arn = {ARN}i\ncredential_source = Ec2InstanceMetadata\n")
        found(place.ask({"profile": "i"}, on), "ASIA-i", f"role {ARN}i via instance role box")


@case("what an instance's metadata service refuses is told, and nobody there is nobody soon")
def instance_trouble():
    on = {"AWS_EC2_METADATA_DISABLED": None}
    with Place() as place:
        place.server.role_code = "AssumeRoleUnauthorizedAccess"
        refused(place.ask(env=on), "AssumeRoleUnauthorizedAccess", "trust policy")
        place.server.role_code = "Success"
        place.server.role = None
        refused(place.ask(env=on), "this instance has no role")
        place.server.role = "box"
        place.server.fault("ImdsToken", status=400)
        refused(place.ask(env=on), "no token: HTTP 400")
        place.server.fault("ImdsToken", delay=4)
        refused(place.ask(env=on), "http-put-response-hop-limit to 2")

        place.server.has_imds_v2 = place.server.needs_imds_token = False
        found(place.ask(env=on), "ASIA-box", "instance role box")
        refused(place.ask(env={**on, "AWS_EC2_METADATA_V1_DISABLED": "true"}), "AWS_EC2_METADATA_V1_DISABLED")
        started = time.monotonic()
        refused(place.ask(env={**on, "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1"}),
                "no AWS credentials", "no metadata service that answers")
        check(time.monotonic() - started < 3, "it takes long to see that nobody is there")


# --- the program

@case("a question that is none is answered with an error, and by hand it says what it is")
def odd_questions():
    for text in (b"", b"{}", b"[]", b"{", b'{"environment":[],"directory":"x"}', b'{"environment":{},"directory":"/"}'):
        done = subprocess.run([RUNNER, "--credentials"], input=text, capture_output=True, timeout=20, check=False)
        refused(json.loads(done.stdout), "not of the same version")
    with Place() as place:
        refused(place.ask(directory=place.path + "/gone"), "cannot go there")
    program = os.path.join(os.path.dirname(RUNNER), "tfq-credentials")
    done = subprocess.run([program, "x"], capture_output=True, timeout=20, check=False)
    contains(done.stderr.decode(), "people use tfq")


@case("a large environment and hostile backend members do no harm")
def large():
    with Place(credentials="[default]\n" + KEYS) as place:
        env = {f"V{i}": "x" * 100000 for i in range(40)}
        found(place.ask({"profile": 7, "assume_role": "no", "shared_config_files": {"a": 1}, "tags": None}, env),
              "testkey", "profile default")


main()
