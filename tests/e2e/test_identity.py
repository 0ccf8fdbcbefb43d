#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Jobs whose lock is taken with what the chain of credentials finds: every source, shared, renewed, refused, gone.

What takes its time runs beside each other, see parallel().
"""
import hashlib
import json
import os
import pwd
import secrets
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness  # noqa: E402
import s3server  # noqa: E402
from credserver import CredServer, stamp  # noqa: E402
from harness import (CopiedPrograms, Skip, World, case, check, children_of, contains, is_alive, lacks,  # noqa: E402
                     main, parallel, same, wait_for)

ARN = "arn:aws:iam::123456789012:role/"
QUICK = "[lock]\nlease = 30s\nrenew = 1s\nstop_grace = 2s\npoll_min = 100ms\npoll_max = 200ms\n" \
        "[aws]\nrequest_timeout = 2s\nconnect_timeout = 1s\n"
SHORT = QUICK.replace("lease = 30s", "lease = 10s").replace("request_timeout = 2s", "request_timeout = 400ms")
# In everything that is secret.
HUSH = "hush" + secrets.token_hex(8)

# Ends when it is told so by a file; says how often it was interrupted.
WAITS = "echo started\ntrap 'echo interrupt; exit 1' INT\nwhile [ ! -e end ]; do sleep 0.05; done\n"
RUNS = 'case "$*" in *-lock=false*) echo tfqd;; *) echo terraform;; esac\n'

SHARED = f"""\
[profile ops]
aws_access_key_id = OPSKEY
aws_secret_access_key = {HUSH}-ops
[profile role]
role_arn = {ARN}profile
source_profile = ops
[profile other]
role_arn = {ARN}other
source_profile = ops
[profile process]
credential_process = cat process.json
[profile mfa]
role_arn = {ARN}mfa
source_profile = ops
mfa_serial = arn:aws:iam::123456789012:mfa/me
[profile login]
login_session = arn:aws:iam::123456789012:user/me
[profile denied]
role_arn = {ARN}denied
source_profile = ops
[profile hangs]
credential_process = echo $$ > helper; sleep 300 & exec sleep 300
[profile sso]
sso_session = my
sso_account_id = 123456789012
sso_role_name = Admin
[profile old]
sso_session = old
sso_account_id = 123456789012
sso_role_name = Admin
[sso-session my]
sso_region = us-east-1
sso_start_url = https://x/start
[sso-session old]
sso_region = us-east-1
sso_start_url = https://x/old
"""
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "OPSKEY", "AWS_SECRET_ACCESS_KEY": f"{HUSH}-ops"}

class Lasting(s3server.Key):
    """A key of the stores that lives until @until, by the real clock."""

    def __init__(self, secret, token, until):
        super().__init__(secret, token)
        self.until = until

    @property
    def expired(self):
        return time.time() >= self.until

    @expired.setter
    def expired(self, _value):
        pass


class Sources(CredServer):
    """What it gives out, the stores know as long as it says; @numbered: new keys at each asking."""

    def __init__(self, store_keys, numbered):
        super().__init__()
        self.store_keys, self.numbered, self.count = store_keys, numbered, 0
        self.keys["OPSKEY"] = (f"{HUSH}-ops", None)
        self.web_tokens, self.sso_tokens = {f"{HUSH}-web"}, {f"{HUSH}-sso"}

    def give(self, role):
        with self.lock:
            self.count += 1
            key = f"ASIA-{role}" + (f"-{self.count}" if self.numbered else "")
            found = key, f"{HUSH}-secret-of-{key}", f"{HUSH}-token-of-{key}+/="
            self.keys[key] = found[1:]
            self.store_keys[key] = Lasting(*found[1:], int(time.time()) + self.life)
        return found


class Cloud(World):
    """A World whose jobs have no keys in their environment, but all of SHARED in their home."""

    def __init__(self, config=QUICK, numbered=False, life=3600, **options):
        super().__init__(config, **{"terraform": False, **options})
        self.server.keys["OPSKEY"] = s3server.Key(f"{HUSH}-ops")
        self.server.keys["PROCESSKEY"] = s3server.Key(f"{HUSH}-process")
        self.sources = Sources(self.server.keys, numbered)
        self.sources.life = life
        url = self.sources.url
        for name in ENVIRONMENT:
            del self.env[name]
        self.env.update(AWS_EC2_METADATA_DISABLED="true", AWS_ENDPOINT_URL_STS=url, AWS_ENDPOINT_URL_SSO=url,
                        AWS_ENDPOINT_URL_SSO_OIDC=url, AWS_EC2_METADATA_SERVICE_ENDPOINT=url)
        self.cache = os.path.join(self.path, "home", ".aws", "sso", "cache")
        os.makedirs(self.cache)
        self.write("home/.aws/config", SHARED)
        self.write("web.jwt", f"{HUSH}-web\n")
        self.session("my", 3600)
        self.session("old", -60)

    def __enter__(self):
        self.sources.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        try:
            super().__exit__(*error)
        finally:
            self.sources.__exit__(*error)

    def write(self, name, text):
        with open(os.path.join(self.path, name), "w", encoding="utf-8") as file:
            file.write(text)

    def session(self, name, seconds):
        """Put an SSO token where aws sso login would."""
        self.write(os.path.join(self.cache, hashlib.sha1(name.encode()).hexdigest() + ".json"), json.dumps(
            {"accessToken": f"{HUSH}-sso", "expiresAt": stamp(time.time() + seconds), "region": "us-east-1",
             "startUrl": "https://x/start"}))

    def place(self, name, **config):
        """A directory with a state, and so a lock, of its own."""
        work = self.directory(name, key=f"{name}/terraform.tfstate", init="by hand")
        if config:
            work.change_backend(**config)
        return work

    def lock_keys(self, key):
        """The access keys with which tfqd has asked for anything of a lock."""
        return {entry["key_id"] for entry in self.lock_requests(key) if entry["by"] == "tfqd"}

    def renewals(self, key, access):
        """How often the lock has been written with @access."""
        return len([entry for entry in self.lock_requests(key) if entry["method"] == "PUT" and
                    entry["key_id"] == access])

    def see_no_secret(self):
        lacks(self.log(), HUSH)
        found = self.run("grep", "-rlF", HUSH, os.path.join(self.path, "state"), os.path.join(self.path, "run"))
        same(found.out, "", "files of tfqd's with a secret in them")


class Watcher(threading.Thread):
    """Looks for secrets on command lines, all the time."""

    def __init__(self):
        super().__init__(daemon=True)
        self.found, self.seen, self.is_over = set(), set(), threading.Event()

    def run(self):
        while not self.is_over.wait(0.01):
            for entry in os.listdir("/proc"):
                try:
                    with open(f"/proc/{entry}/cmdline", "rb") as file:
                        line = file.read()
                except OSError:
                    continue
                self.seen.add(line.split(b"\0")[0].rpartition(b"/")[2])
                if HUSH.encode() in line:
                    self.found.add(line)


def started(program):
    wait_for(lambda: "started" in program.out or not program.is_running(), "the start")
    check("started" in program.out, f"it did not start: {program.err}")


def sources(world):
    """name: (more of the backend's block, of the environment, the access key)"""
    url = world.sources.url
    return {
        "block": ({"profile": "ops"}, {}, "OPSKEY"),
        "variable": ({}, {"AWS_PROFILE": "ops"}, "OPSKEY"),
        "profile": ({"profile": "role"}, {}, "ASIA-profile"),
        "web": ({}, {"AWS_WEB_IDENTITY_TOKEN_FILE": world.path + "/web.jwt", "AWS_ROLE_ARN": ARN + "web"}, "ASIA-web"),
        "assume": ({"assume_role": {"role_arn": ARN + "block"}}, ENVIRONMENT, "ASIA-block"),
        "process": ({"profile": "process"}, {}, "PROCESSKEY"),
        "container": ({}, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url + "/container"}, "ASIA-task"),
        "instance": ({"skip_metadata_api_check": False}, {"AWS_EC2_METADATA_DISABLED": "false"}, "ASIA-box"),
        "sso": ({"profile": "sso"}, {}, "ASIA-Admin"),
    }


# --- found ------------------------------------------------------------------------------

@case("with credentials of every source the lock is tfqd's, and no secret is seen anywhere")
def every_source():
    watcher = Watcher()
    with Cloud() as world:
        table, programs = sources(world), {}
        env = world.fake_terraform(RUNS + WAITS)
        watcher.start()
        for name, (config, more, _) in table.items():
            work = world.place(name, **config)
            work.write("process.json", json.dumps({"Version": 1, "AccessKeyId": "PROCESSKEY",
                                                   "SecretAccessKey": f"{HUSH}-process"}))
            programs[name] = work, work.spawn("--label", name, "apply", env={**env, **more})
        for name, (work, program) in programs.items():
            started(program)
            check(world.lock(work.key), f"there is no lock for {name}")
            contains(world.tfq("info", str(world.job_of(name)["id"])).out, "Lock by: tfqd")
            work.write("end", "")
        for name, (work, program) in programs.items():
            result = program.wait()
            same((result.code, result.out), (0, "tfqd\nstarted\n"), f"{name} ({result.err})")
            world.wait_unlocked(work.key)
            same(world.lock_keys(work.key), {table[name][2]}, f"who asked for the lock of {name}")
            lacks(result.err, HUSH)
        lacks(world.tfq("info", "1").out + json.dumps(world.jobs()), HUSH)
        world.see_no_secret()
        session = [entry["params"]["RoleSessionName"] for entry in world.sources.log if "params" in entry and
                   entry["params"].get("RoleArn") == ARN + "block"]
        check(session and session[0].startswith("tfqd-"), f"the session's name is {session}")
    watcher.is_over.set()
    watcher.join(5)
    check(b"tfq-runner" in watcher.seen, "the watcher saw no runner")
    same(watcher.found, set(), "command lines with secrets")


@case("real terraform's own chain finds what tfqd finds, for roles of the block and of a profile")
def real_terraform():
    with Cloud(terraform=True) as world:
        for name, lines, more, key in (
                ("block", f'assume_role = {{ role_arn = "{ARN}block" }}', ENVIRONMENT, "ASIA-block"),
                ("profile", 'profile = "role"', {}, "ASIA-profile")):
            work = world.directory(name, key=f"{name}/state", lock=f"use_lockfile = true\n    {lines}", init=False)
            result = work.terraform("init", "-input=false", env=more)
            same(result.code, 0, f"terraform init ({result.err})")
            result = work.tfq(*work.apply_argv(name), env=more)
            same(result.code, 0, f"the exit code ({result.err})")
            same(world.job(world.jobs()[-1]["id"])["lock"], "tfqd", "whose lock")
            world.wait_unlocked(work.key)
            same({(entry["by"], entry["key_id"]) for entry in world.requests() if
                  (entry["key"] or "").startswith(name)}, {("tfqd", key), ("terraform", key)}, f"{name}'s requests")
            check(world.state(work.key), "there is no state")
        world.see_no_secret()


@case("with credentials = daemon, tfqd's own environment or profile counts, whatever the job has")
def daemons_own():
    for config, own in (("", ENVIRONMENT), ("", {"AWS_PROFILE": "ops"}), ("profile = ops\n", {})):
        with Cloud(QUICK + "credentials = daemon\n" + config, daemon_env=own) as world:
            work = world.place("work", profile="denied")
            result = work.tfq("apply", env={**world.fake_terraform(RUNS), "AWS_PROFILE": "denied"})
            same((result.code, result.out), (0, "tfqd\n"), f"with {config or own} ({result.err})")
            world.wait_unlocked(work.key)
            same(world.lock_keys(work.key), {"OPSKEY"}, "who asked for the lock")
            world.see_no_secret()


# --- another user's (before what runs beside each other: it changes the programs) -------

class Users(CopiedPrograms, Cloud):
    """tfqd is root's, its jobs nobody's."""

    def __init__(self, **options):
        if os.geteuid() != 0:
            raise Skip("only root can become other users")
        try:
            self.nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise Skip("there is no user nobody") from None
        super().__init__(QUICK + "[access]\nsubmitters = *\n", shared=True, **options)
        self.copy_programs()

    def become_nobody(self):
        os.setgroups([])
        os.setresgid(self.nobody.pw_gid, self.nobody.pw_gid, self.nobody.pw_gid)
        os.setresuid(self.nobody.pw_uid, self.nobody.pw_uid, self.nobody.pw_uid)


@case("a user's credential_process runs as that user, with no rights of root's, and root's files are not read for it")
def as_the_user():
    with Users() as world:
        script = "(id -u; id -ru; id -G; grep -E '^Cap(Eff|Prm|Amb):' /proc/self/status | tr -d '0\\t\\n') > who; " \
                 "cat process.json"
        work = world.place("work", profile="process")
        work.write("process.json", json.dumps({"Version": 1, "AccessKeyId": "PROCESSKEY",
                                               "SecretAccessKey": f"{HUSH}-process"}))
        world.write("home/.aws/config", f"[profile process]\ncredential_process = {script}\n")
        closed = world.place("closed", profile="closed", shared_credentials_files=[world.path + "/root-only"])
        world.write("root-only", f"[closed]\naws_access_key_id = OPSKEY\naws_secret_access_key = {HUSH}-ops\n")
        os.chmod(os.path.join(world.path, "root-only"), 0o600)
        for place in (work, closed):
            for folder, _, names in os.walk(place.path):
                for path in [folder] + [os.path.join(folder, name) for name in names]:
                    os.chown(path, world.nobody.pw_uid, world.nobody.pw_gid)
        env = world.fake_terraform(RUNS)
        result = work.tfq("apply", env=env, preexec=world.become_nobody)
        same((result.code, result.out), (0, "tfqd\n"), f"the job ({result.err})")
        uid, gid = str(world.nobody.pw_uid), str(world.nobody.pw_gid)
        same(work.read("who").split(), [uid, uid, gid, "CapPrm:CapEff:CapAmb:"], "who it ran as")
        result = closed.tfq("apply", env=env, preexec=world.become_nobody)
        same((result.code, result.out), (125, ""), f"with root's file ({result.err})")
        contains(result.err, "root-only")
        world.see_no_secret()


# --- shared -----------------------------------------------------------------------------

def stand_ready(world):
    """Two runners, each with its child, are all that tfqd has: a helper is there until its answer has been taken."""
    try:
        children = children_of(world.daemon.process.pid)
        return len(children) == 2 and all(children_of(child) for child in children)
    except OSError:  # one of them has just ended
        return False


def hand_over(first, second):
    """Jobs of two profiles in one directory; the hand-over's write is slow. Return: did the second start beside it?"""
    with Cloud(QUICK.replace("renew = 1s", "renew = 10s")) as world:  # no renewal under way when it happens
        work = world.place("work")
        env = world.fake_terraform('echo "start $(date +%s.%N)" >> runs\n' + WAITS + 'echo "end 0" >> runs\n')
        programs = [work.spawn("--label", "first", "apply", env={**env, "AWS_PROFILE": first})]
        started(programs[0])
        programs.append(work.spawn("--label", "second", "apply", env={**env, "AWS_PROFILE": second}))
        world.wait_job("second", "queued")
        calls = len({first, second})
        wait_for(lambda: stand_ready(world), "the second's credentials and its runner")
        world.server.set_faults([{"do": "delay", "ms": 800, "method": "PUT", "header": "if-match",
                                  "suffix": ".tflock", "count": None}])
        work.write("end", "")
        same([program.wait().code for program in programs], [0, 0], "the exit codes")
        world.server.set_faults([])
        same(work.read("runs").split()[::2], ["start", "end", "start", "end"], "who ran when")
        same(world.sources.ops(), ["AssumeRole"] * calls, "calls for credentials")
        world.wait_unlocked(work.key)
        number = str(world.job_of("second")["id"])
        written = [entry for entry in world.lock_requests(work.key) if entry["method"] == "PUT" and
                   json.loads(entry["body"])["Tfqd"]["job"] == number]
        check(written, "the lock was never the second's")
        same(written[0]["key_id"], "ASIA-" + ("other" if second == "other" else "profile"), "who wrote it")
        same([entry["method"] for entry in world.lock_requests(work.key)].count("DELETE"), 1, "how often it was let go")
        return float(work.read("runs").split()[5]) < written[0]["time"] + 0.75


@parallel("two jobs of one profile share its keys, and the second starts beside the hand-over")
def same_rights():
    check(hand_over("role", "role"), "the second one waited for the hand-over")


@parallel("two jobs with different roles hand over as well, but the second starts after its own write of the lock")
def other_rights():
    check(not hand_over("role", "other"), "the second one did not wait for the hand-over")


# --- not found --------------------------------------------------------------------------

@case("what needs a person (MFA, aws login) is left to terraform's own lock, and tfq says why")
def left_to_terraform():
    with Cloud() as world:
        env = world.fake_terraform(RUNS)
        for profile, text in (("mfa", "mfa_serial"), ("login", "aws configure export-credentials")):
            work = world.place(profile, profile=profile)
            result = work.tfq("--label", profile, "apply", env=env)
            same((result.code, result.out), (0, "terraform\n"), f"{profile} ({result.err})")
            contains(world.tfq("info", str(world.job_of(profile)["id"])).out, text)
            same(world.lock_requests(work.key), [], "requests for the lock")
            result = work.tfq("--no-wait", "apply", env=env)
            same((result.code, result.out), (0, "terraform\n"), f"{profile} with --no-wait ({result.err})")
        world.see_no_secret()


@case("credentials that cannot be found refuse the job (125), waited for or not, with what to do")
def refused():
    with Cloud() as world:
        env = world.fake_terraform(RUNS)
        for name, config, more, texts in (
                ("old", {}, {"AWS_PROFILE": "old"}, ["expired", "aws sso login --profile old"]),
                ("none", {}, {}, ["no AWS credentials"]),
                ("absent", {"profile": "nowhere"}, {}, ["no AWS profile nowhere"]),
                ("denied", {"profile": "denied"}, {}, [f"STS does not give role {ARN}denied", "AccessDenied"]),
                ("web", {}, {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere", "AWS_ROLE_ARN": ARN + "x"},
                 ["/nowhere cannot be read"]),
                ("half", {"access_key": "x"}, {}, ["half of a static credential"])):
            work = world.place(name, **config)
            for options in ([], ["--no-wait"]):
                result = work.tfq(*options, "apply", env={**env, **more})
                same((result.code, result.out), (125, ""), f"{name} {options} ({result.err})")
                contains(result.err, *texts)
                lacks(result.err, HUSH)
            result = work.tfq("-d", "--label", name, "apply", env={**env, **more})
            same(result.code, 0, f"{name} in the background ({result.err})")
            job = world.wait_job(name, "cancelled", "failed")
            contains(job["message"], *texts)
            contains(world.tfq("info", str(job["id"])).out, *texts)
            same(world.lock_requests(work.key), [], "requests for the lock")
        world.session("old", 3600)
        result = world.tfq("-chdir=old", "apply", env={**env, "AWS_PROFILE": "old"})
        same((result.code, result.out), (0, "tfqd\n"), f"once somebody has logged in ({result.err})")
        world.see_no_secret()


@case("keys that expire before the job can have ended are refused before it starts")
def too_short():
    with Cloud() as world:
        work = world.place("work")
        env = {**world.fake_terraform(RUNS), **ENVIRONMENT}
        for seconds, text in ((30, "expire in"), (-5, "have expired")):
            result = work.tfq("apply", env={**env, "AWS_CREDENTIAL_EXPIRATION": stamp(time.time() + seconds)})
            same((result.code, result.out), (125, ""), f"the exit code and the output ({result.err})")
            contains(result.err, "AWS credentials (environment)", text, "log in again, and queue it again")
        same(world.lock_requests(work.key), [], "requests for the lock")
        result = work.tfq("apply", env={**env, "AWS_CREDENTIAL_EXPIRATION": stamp(time.time() + 600)})
        same((result.code, result.out), (0, "tfqd\n"), f"with ten minutes left ({result.err})")
        world.wait_unlocked(work.key)


# --- that expire ------------------------------------------------------------------------

def held_all_the_time(world, work):
    """Every request for the lock was carried out, and it was taken once."""
    asked = [entry for entry in world.requests(applied=False) if entry["key"] == work.key + ".tflock" and
             entry["method"] in ("PUT", "DELETE")]
    same({entry["status"] for entry in asked}, {200}, "the answers")
    same([step for _, _, step in world.lock_steps(work.key)].count("take"), 1, "how often it was taken")


def finish(world, work, program):
    work.write("end", "")
    result = program.wait()
    same((result.code, result.out), (0, "started\n"), f"how the job ended ({result.err})")
    world.wait_unlocked(work.key)
    world.see_no_secret()


@parallel("keys that expire while a job runs are renewed before, and the lock's renewals go on with the new ones")
def renewed():
    with Cloud(numbered=True, life=6) as world:
        work = world.place("work", profile="role")
        program = work.spawn("apply", env=world.fake_terraform(WAITS))
        started(program)
        wait_for(lambda: world.renewals(work.key, "ASIA-profile-3") >= 2, "renewals with the third keys")
        held_all_the_time(world, work)
        same(set(world.sources.ops()), {"AssumeRole"}, "the calls")
        check(world.lock_keys(work.key) >= {"ASIA-profile-1", "ASIA-profile-2", "ASIA-profile-3"}, "the keys")
        finish(world, work, program)


@parallel("a renewal of keys that fails is tried again while the old ones live, and who comes next shares them")
def renewal_fails():
    with Cloud(numbered=True, life=28) as world:
        work = world.place("work", profile="role")
        program = work.spawn("apply", env=world.fake_terraform(WAITS))
        started(program)
        world.sources.fault("AssumeRole", status=403, code="AccessDenied", message="not now")
        world.wait_log("Cannot renew the AWS credentials of uid", 40)
        contains(world.log(), f"(role {ARN}profile via profile ops), trying again in 5 s", "not now")
        after = work.spawn("--label", "after", "apply", env=world.fake_terraform(WAITS))
        world.wait_job("after", "queued")
        wait_for(lambda: world.renewals(work.key, "ASIA-profile-2"), "a renewal with the new keys")
        held_all_the_time(world, work)
        finish(world, work, program)
        same(after.wait().code, 0, "the exit code of the one behind it")
        same(world.sources.ops(), ["AssumeRole"] * 3, "the calls, one of which failed")


@parallel("keys that a store calls expired are asked for anew at once, and the lock is renewed with them")
def called_expired():
    with Cloud(numbered=True) as world:
        work = world.place("work", profile="role")
        program = work.spawn("apply", env=world.fake_terraform(WAITS))
        started(program)
        world.server.keys["ASIA-profile-1"].until = 0
        wait_for(lambda: world.renewals(work.key, "ASIA-profile-2") >= 2, "renewals with new keys")
        contains(world.log(), "expired and are being renewed", "ExpiredToken")
        same(world.sources.ops(), ["AssumeRole"] * 2, "the calls")
        finish(world, work, program)


def die(config, profile, env, keys, *texts):
    """A job's keys die, and there are no new ones: terraform is interrupted before the lease ends, and all say why.
    Once there are some, the next job runs."""
    with Cloud(config, numbered=True) as world:
        work = world.place("work", **profile)
        program = work.spawn("--label", "job", "apply", env={**world.fake_terraform(WAITS), **env})
        started(program)
        world.sources.keys.pop("OPSKEY")
        dead = world.server.keys[keys]
        world.server.keys[keys] = Lasting(dead.secret, dead.token, 0)
        result = program.wait(20)
        same(result.out, "started\ninterrupt\n", "the output")
        check(result.code != 0, "the exit code is 0")
        job = world.job_of("job")
        same(job["status"], "failed", "the status")
        for text in (result.err, job.get("message") or "", world.log()):
            contains(text, *texts)
            lacks(text, HUSH)
        world.see_no_secret()

        world.sources.keys["OPSKEY"] = (f"{HUSH}-ops", None)
        if env:
            env = {"AWS_ACCESS_KEY_ID": "testkey", "AWS_SECRET_ACCESS_KEY": harness.SECRET}
        result = work.tfq("apply", env={**world.fake_terraform(RUNS), **env}, seconds=40)
        check(result.seconds < 8, f"it took {result.seconds} s, once there were keys again")
        same((result.code, result.out), (0, "tfqd\n"), f"the next job, with keys that live ({result.err})")
        world.wait_unlocked(work.key)


@parallel("a job whose keys die for good is interrupted before its lease ends, and all say that they expired")
def dead_keys():
    die(SHORT, {}, ENVIRONMENT, "OPSKEY", "the credentials (environment) have expired", "log in again")


@parallel("a job whose keys can be renewed no more is interrupted before its lease ends, and all say why")
def dead_source():
    die(SHORT.replace("lease = 10s", "lease = 18s"), {"profile": "role"}, {}, "ASIA-profile-1",
        f"the credentials (role {ARN}profile via profile ops) have expired and cannot be renewed",
        "InvalidClientTokenId")


# --- the helper -------------------------------------------------------------------------

def helper_of(work):
    """The PID of a credential_process that hangs, and of its child."""
    wait_for(lambda: work.has("helper") and work.read("helper").strip(), "the helper")
    shell = int(work.read("helper"))
    return [shell] + wait_for(lambda: children_of(shell), "the helper's child")


@case("a helper that hangs stops nobody else; its job can be cancelled, which ends all that it started")
def helper_hangs():
    with Cloud() as world:
        work, other = world.place("work", profile="hangs"), world.place("other", profile="ops")
        program = work.spawn("--label", "hangs", "apply", env=world.fake_terraform(RUNS))
        pids = helper_of(work)
        result = other.tfq("apply", env=world.fake_terraform(RUNS), seconds=10)
        same((result.code, result.out), (0, "tfqd\n"), f"another's job ({result.err})")
        contains(world.tfq("queue", seconds=5).out, "work/terraform.tfstate")
        same(world.job_of("hangs")["status"], "locking", "the status")
        same(world.tfq("cancel", str(world.job_of("hangs")["id"])).code, 0, "the exit code of cancel")
        same(program.wait(10).code, 125, "the exit code")
        wait_for(lambda: not any(map(is_alive, pids)), "the end of the helper", 5)


@case("a helper that hangs does not keep tfqd from stopping, and does not outlive it")
def stop_while_asking():
    with Cloud() as world:
        work = world.place("work", profile="hangs")
        program = work.spawn("apply", env=world.fake_terraform(RUNS))
        pids = helper_of(work)
        daemon, world.daemon = world.daemon, None
        daemon.send(signal.SIGTERM)
        same(daemon.process.wait(10), 0, "tfqd's exit code")
        check(program.is_running(), "the client has given up")
        wait_for(lambda: not any(map(is_alive, pids)), "the end of the helper", 5)


main()
