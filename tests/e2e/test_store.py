#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The store of the lock: what goes wrong there, and that a job runs once and leaves nothing behind all the same."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import BUCKET, KEY, World, case, check, contains, lacks, main, same  # noqa: E402

QUICK = "[lock]\nlease = 30s\nrenew = 1s\nstop_grace = 5s\n[aws]\nrequest_timeout = 2s\nconnect_timeout = 1s\n"

def job_under(faults, config=QUICK):
    """Run two jobs under these faults: each runs once, and the lock is not left."""
    with World(config, terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform("echo ran >> runs; sleep 0.4\n")
        world.server.set_faults(faults)
        programs = [work.spawn("apply", env=env) for _ in range(2)]
        for program in programs:
            result = program.wait(50)
            same(result.code, 0, f"the exit code ({result.err})")
        same(work.read("runs"), "ran\nran\n", "who ran")
        world.wait_unlocked()
        same([job["status"] for job in world.jobs()], ["done", "done"], "how they ended")
        with world.server.lock:
            acted = [entry for entry in world.server.log if entry["fault"]]
        check(acted, "no fault was met")


# --- a store that is not as it should be ------------------------------------------------

@case("a dead S3 server is a clear error and exit code 125 within 30 s")
def dead_server():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        world.server.stop()
        result = work.tfq("apply", env=world.fake_terraform("echo ran\n"))
        same(result.code, 125, "the exit code")
        check(result.seconds < 30, f"it took {result.seconds:.0f} s")
        contains(result.err, world.url.partition("//")[2])
        contains(result.err.lower(), "connect")
        same(result.out, "", "the output")


@case("an S3 server that accepts and never answers is a clear error, too")
def mute_server():
    with World("[lock]\nlease = 30s\nrenew = 1s\nstop_grace = 5s\n[aws]\nrequest_timeout = 200ms\n",
               terraform=False) as world:
        work = world.directory(init="by hand")
        world.server.set_faults([{"do": "hang", "count": None}])
        result = work.tfq("apply", env=world.fake_terraform("echo ran\n"))
        same(result.code, 125, "the exit code")
        contains(result.err, world.url.partition("//")[2])
        same(result.out, "", "the output")
        world.server.set_faults([])
        result = work.tfq("apply", env=world.fake_terraform("echo ran\n"))
        same((result.code, result.out), (0, "ran\n"), f"the next one ({result.err})")
        world.wait_unlocked()


def refused(world, work, *words, env=None):
    result = work.tfq("apply", env=dict(world.fake_terraform("echo ran\n"), **(env or {})), seconds=40)
    same(result.code, 125, f"the exit code ({result.err})")
    same(result.out, "", "the output")
    contains(result.err, *words)
    lacks(result.err + world.log(), "testsecret", "wrongsecret")


@case("a wrong secret is a clear error")
def wrong_secret():
    with World(terraform=False) as world:
        refused(world, world.directory(init="by hand"), "SignatureDoesNotMatch",
                env={"AWS_SECRET_ACCESS_KEY": "wrongsecret"})


@case("an access key that the store does not know is a clear error")
def wrong_key():
    with World(terraform=False) as world:
        refused(world, world.directory(init="by hand"), "InvalidAccessKeyId", env={"AWS_ACCESS_KEY_ID": "nobodyskey"})


@case("credentials without the right are a clear error")
def denied():
    with World(terraform=False) as world:
        refused(world, world.directory(init="by hand"), "AccessDenied",
                env={"AWS_ACCESS_KEY_ID": "denied", "AWS_SECRET_ACCESS_KEY": "deniedsecret"})


@case("expired credentials are a clear error")
def expired():
    with World(terraform=False) as world:
        refused(world, world.directory(init="by hand"), "ExpiredToken",
                env={"AWS_ACCESS_KEY_ID": "oldkey", "AWS_SECRET_ACCESS_KEY": "oldsecret",
                     "AWS_SESSION_TOKEN": "oldtoken"})


@case("a missing bucket is a clear error that names it")
def missing_bucket():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        work.change_backend(bucket="nosuchbucket")
        refused(world, work, "NoSuchBucket", "nosuchbucket")


@case("a wrong region is a clear error that names the right one")
def wrong_region():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        work.change_backend(region="eu-central-1")
        refused(world, work, "us-east-1")


@case("a clock that is far off is corrected for")
def wrong_clock():
    for offset in (3600.0, -3600.0):
        with World(terraform=False) as world:
            world.server.offset = offset
            work = world.directory(init="by hand")
            result = work.tfq("apply", env=world.fake_terraform("echo ran\n"))
            same((result.code, result.out), (0, "ran\n"), f"the end ({result.err})")
            world.wait_unlocked()


@case("session credentials, and those of the backend block, take the lock")
def credentials():
    with World(terraform=False) as world:
        env = world.fake_terraform("echo ran\n")
        work = world.directory(init="by hand")
        result = work.tfq("apply", env=dict(env, AWS_ACCESS_KEY_ID="tmpkey", AWS_SECRET_ACCESS_KEY="tmpsecret",
                                            AWS_SESSION_TOKEN="tmptoken"))
        same((result.code, result.out), (0, "ran\n"), f"session credentials ({result.err})")
        same({entry["key_id"] for entry in world.lock_requests()}, {"tmpkey"}, "whose key took the lock")
        work.change_backend(access_key="testkey", secret_key="testsecret")
        result = work.tfq("apply", env=dict(env, AWS_ACCESS_KEY_ID="nokey", AWS_SECRET_ACCESS_KEY="nosecret"))
        same((result.code, result.out), (0, "ran\n"), f"the block's credentials ({result.err})")
        same({entry["key_id"] for entry in world.lock_requests()}, {"tmpkey", "testkey"}, "whose key took the lock")
        world.wait_unlocked()


# --- answers that are lost --------------------------------------------------------------

for rule in ("drop-after", "error-after", "drop-before", "html", "html-after", "truncate", "no-etag"):
    for name, fields in (("that creates the lock", {"method": "PUT", "header": "if-none-match"}),
                         ("that hands it over", {"method": "PUT", "header": "if-match"}),
                         ("that removes it", {"method": "DELETE"})):
        if rule == "no-etag" and fields["method"] == "DELETE":
            continue
        fault = {"do": rule, "suffix": ".tflock", **fields}
        if rule == "error-after":
            fault.update(status=500, code="InternalError")
        case(f"'{rule}' of the request {name}: each job runs once, and the lock is not left")(
            lambda fault=fault: job_under([fault]))


@case("an answer that comes late, after the request was given up, does no harm")
def late_answer():
    for method, header in (("PUT", "if-none-match"), ("PUT", "if-match"), ("DELETE", None)):
        fault = {"do": "delay-after", "ms": 900, "method": method, "suffix": ".tflock"}
        if header:
            fault["header"] = header
        job_under([fault], "[lock]\nlease = 30s\nrenew = 1s\nstop_grace = 5s\n[aws]\nrequest_timeout = 500ms\n")


@case("a store that is busy (503 SlowDown) for a while only takes longer")
def busy_store():
    busy = {"do": "error", "status": 503, "code": "SlowDown", "suffix": ".tflock"}
    job_under([dict(busy, method="PUT", count=2), dict(busy, method="DELETE", count=1)])


@case("a store that loses one answer in four is survived", seconds=180)
def flaky_store():
    faults = [{"do": "drop-after", "suffix": ".tflock", "count": None, "p": 0.15},
              {"do": "error", "status": 500, "code": "InternalError", "suffix": ".tflock", "count": None, "p": 0.12}]
    with World(QUICK, terraform=False, server={"seed": 7}) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform("echo ran >> runs; sleep 0.1\n")
        world.server.set_faults(faults)
        programs = [work.spawn("apply", env=env) for _ in range(12)]
        same([program.wait().code for program in programs], [0] * 12, "the exit codes")
        same(work.read("runs"), "ran\n" * 12, "who ran")
        world.wait_unlocked()


@case("stores with other manners: 409 for losers, errors without a message, an unquoted ETag, a versioned bucket")
def quirks():
    for quirk in ({"conflict_409": True}, {"bare_errors": True}, {"unquoted_etag_only": True}, {"absent_412": True},
                  {"no_conditional_delete": True}, {"absent_delete_204": True}):
        with World(QUICK, terraform=False, server={"versioned": "absent_412" in quirk}) as world:
            world.server.set_quirks(quirk)
            work = world.directory(init="by hand")
            env = world.fake_terraform("echo ran >> runs; sleep 0.3\n")
            programs = [work.spawn("apply", env=env) for _ in range(3)]
            for program in programs:
                result = program.wait(40)
                same(result.code, 0, f"the exit code with {quirk} ({result.err})")
            world.wait_unlocked()


@case("a store that does not say whether a workspace has a state is asked again, and then it is terraform's to tell")
def silent_about_state():
    for count, who in ((3, "tfqd"), (None, "tfqd cannot tell whether the workspace has a state")):
        with World(terraform=False) as world:
            work = world.directory(init="by hand")
            world.server.put_object(BUCKET, "env:/w1/" + KEY, b"{}")
            world.server.set_faults([{"do": "error", "status": 503, "method": "HEAD", "count": count}])
            env = dict(world.fake_terraform("echo ran\n"), TF_WORKSPACE="w1")
            result = work.tfq("apply", env=env)
            same((result.code, result.out), (0, "ran\n"), f"the job ({result.err})")
            same(world.jobs()[0]["lock"], who, "who takes the lock")
            asked = sum(entry["method"] == "HEAD" for entry in world.server.log)
            same(asked, 4 if count else 5, "how often the store was asked")


@case("handing over costs no time even if the store is slow")
def slow_store():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform("sleep 0.8\n")
        world.server.set_faults([{"do": "delay", "ms": 600, "count": None, "suffix": ".tflock"}])
        programs = [work.spawn("apply", env=env) for _ in range(6)]
        same([program.wait().code for program in programs], [0] * 6, "the exit codes")
        times = sorted(job["handover"] for job in world.jobs() if "handover" in job)
        same(len(times), 5, "the number of hand-overs")
        check(times[2] < 100000, f"hand-overs took {times} microseconds")


main()
