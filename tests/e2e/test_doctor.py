#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tfq doctor: what it finds wrong with a backend, and that it changes nothing there."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import (BUCKET, KEY, TABLE, World, case, check, contains, lacks, main, same,  # noqa: E402
                     wait_for)

STATE = f"s3://{BUCKET}/{KEY}"
# The server on this machine is none of AWS's: that its conditions were not tried out is always said, unless they were.
USUAL = ["note:not-probed"]
GOOD = {"server": {"versioned": True}, "terraform": False}


def directory(world, name="work", version="1.11.4", **options):
    work = world.directory(name, init="by hand", **options)
    path = os.path.join(work.path, ".terraform", "terraform.tfstate")
    with open(path, encoding="utf-8") as file:
        value = json.load(file)
    value["terraform_version"] = version
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file)
    return work


def denied(operation, service="s3"):
    code = "AccessDenied" if service == "s3" else "AccessDeniedException"
    return {"service": service, "op": operation, "do": "error", "status": 403 if service == "s3" else 400,
            "code": code, "count": None}


def look(work, *options, code=None, **how):
    """What is found, as "level:code", the worst first."""
    result = work.tfq("doctor", "--json", *options, **how)
    check(result.code in (0, 1, 2), f"the exit code is {result.code}: {result.err}")
    found = json.loads(result.out)
    same(found["state"], STATE if work.key == KEY else found["state"], "the state")
    for finding in found["findings"]:
        same(sorted(finding), ["code", "fix", "level", "what", "why"], "a finding's members")
    levels = [finding["level"] for finding in found["findings"]]
    same(result.code, 2 if "error" in levels else 1 if "warning" in levels else 0, "the exit code")
    if code is not None:
        same(result.code, code, "the exit code")
    return [f"{finding['level']}:{finding['code']}" for finding in found["findings"]]


def fix_of(work, code, *options):
    findings = json.loads(work.tfq("doctor", "--json", *options).out)["findings"]
    return next(finding["fix"] for finding in findings if finding["code"] == code)


def settings(world):
    return world.server.s3.buckets[BUCKET].settings


@case("a backend that is as it should be: nothing is wrong, the exit code is 0, and nothing was written")
def clean():
    with World(**GOOD) as world:
        work = directory(world)
        same(look(work, code=0), USUAL, "what is found")
        result = work.tfq("doctor")
        same(result.code, 0, "the exit code")
        contains(result.out, f"{STATE}: nothing is wrong.", "tfq doctor --probe")
        same(result.err, "", "stderr")
        same({entry["method"] for entry in world.requests(applied=False)}, {"GET", "HEAD"}, "the methods")
        same(world.objects(), {}, "what was written")


@case("each of what a bucket lacks is found, with what mends it")
def bucket():
    with World(server={"versioned": False}, terraform=False) as world:
        work = directory(world)
        same(look(work), ["error:not-versioned"] + USUAL, "what is found of an unversioned bucket")
        contains(fix_of(work, "not-versioned"), f"put-bucket-versioning --bucket {BUCKET}")
        world.server.s3.buckets[BUCKET].versioned = True
        settings(world)["encryption"] = None
        same(look(work), ["warning:not-encrypted"] + USUAL, "what is found without encryption")
        settings(world).update(encryption="aws:kms", public=None)
        same(look(work), ["error:not-private"] + USUAL, "what is found of an open bucket")
        settings(world)["public"] = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": False,
                                     "RestrictPublicBuckets": True}
        same(look(work), ["error:not-private"] + USUAL, "what is found of a bucket that is half open")
        world.server.s3.buckets[BUCKET].settings.update(logging=None)
        same(look(work), ["error:not-private", "warning:not-logged"] + USUAL, "what is found besides")


@case("a right that is missing is found, with the statement that gives it")
def rights():
    with World(**GOOD) as world:
        work = directory(world)
        for operation, action in (("GetBucketVersioning", "s3:GetBucketVersioning"),
                                  ("GetBucketEncryption", "s3:GetEncryptionConfiguration"),
                                  ("GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock"),
                                  ("GetBucketLogging", "s3:GetBucketLogging")):
            world.server.set_faults([denied(operation)])
            same(look(work, code=0), ["note:right-missing"] + USUAL, f"what is found without {action}")
            contains(fix_of(work, "right-missing"), f'"Action": "{action}"', f'"arn:aws:s3:::{BUCKET}"')
        world.server.set_faults([dict(denied("HeadObject"), suffix="state")])
        same(look(work, code=2), ["error:right-missing"] + USUAL, "what is found where the state may not be read")
        contains(fix_of(work, "right-missing"), '"Action": "s3:GetObject"', f'"arn:aws:s3:::{BUCKET}/{KEY}"')
        world.server.set_faults([denied("PutObject")])
        same(look(work, "--probe"), ["error:right-missing"], "what is found where nothing may be written")
        world.server.set_faults([denied("DeleteObject")])
        same(look(work, "--probe"), ["error:right-missing"], "what is found where nothing may be deleted")
        contains(fix_of(work, "right-missing", "--probe"), '"Action": "s3:DeleteObject"')
        world.server.set_faults([])
        work = directory(world, "nolist", key="other/key")
        result = look(work, env={"AWS_ACCESS_KEY_ID": "nolist", "AWS_SECRET_ACCESS_KEY": "nolistsecret"})
        same(result, ["error:right-missing"], "what is found without the right to list")


@case("what a store does not implement is a note, and no error")
def foreign():
    with World(**GOOD) as world:
        work = directory(world)
        world.server.set_faults([{"op": operation, "do": "error", "status": status, "code": code, "count": None}
                                 for operation, status, code in (
                                     ("GetBucketVersioning", 501, "NotImplemented"),
                                     ("GetBucketEncryption", 405, "MethodNotAllowed"),
                                     ("GetPublicAccessBlock", 400, "NotImplemented"),
                                     ("GetBucketLogging", 501, "NotImplemented"))])
        same(look(work, code=0), ["note:not-told"] * 4 + USUAL, "what is found")


@case("--probe: a store that honours conditions is found good, and one that does not is an error; nothing stays behind")
def probe():
    with World(**GOOD) as world:
        work = directory(world)
        same(look(work, "--probe", code=0), [], "what is found")
        same(world.objects(), {}, "what stayed behind")
        for quirk in ("ignore_if_none_match", "ignore_if_match"):
            world.server.set_quirks({quirk: True})
            same(look(work, "--probe", code=2), ["error:no-conditions"], f"what is found with {quirk}")
            same(world.objects(), {}, f"what stayed behind with {quirk}")
        world.server.set_quirks({"resurrects": True})
        same(look(work, "--probe", code=0), [], "what is found where the right to write is asked by a real write")
        same(world.objects(), {}, "what stayed behind of that")
        world.server.set_quirks({})
        world.server.put_object(BUCKET, KEY + ".tflock", b'{"ID":"somebody"}')
        same(look(work, "--probe", code=0), [], "what is found while the lock is held")
        same(world.lock(), {"ID": "somebody"}, "the lock of somebody else")


@case("the lock fits terraform's version: none, too new, an experiment, both, and the table alone")
def lock():
    with World(**GOOD) as world:
        for name, mode, version, found in (
                ("off", {}, "1.11.4", ["error:lock-off"]), ("new", "s3", "1.9.8", ["error:lock-too-new"] + USUAL),
                ("try", "s3", "1.10.5", ["warning:lock-experimental"] + USUAL),
                ("both", "both", "1.12.0", ["warning:lock-both"] + USUAL),
                ("table", "dynamodb", "1.13.1", ["warning:lock-table"]),
                ("old", "dynamodb", "1.9.8", [])):
            work = directory(world, name, version, mode=mode or {"use_lockfile": False})
            same(look(work), found, f"what is found of {name}")
        contains(world.tfq("doctor", cwd=os.path.join(world.path, "off")).out, "use_lockfile = true")


@case("the table: absent, another key, a fixed capacity, rights; what is asked of it changes nothing")
def table():
    with World(**GOOD) as world:
        work = directory(world, version="1.9.8", mode="dynamodb")
        same(look(work, code=0), [], "what is found")
        same(world.server.items, {TABLE: {}}, "the items")
        described = world.server.dynamodb.described
        described[TABLE] = {"BillingModeSummary": None}
        same(look(work), ["warning:table-billing"], "what is found of a fixed capacity")
        contains(fix_of(work, "table-billing"), f"--table-name {TABLE}", "PAY_PER_REQUEST")
        described[TABLE] = {"AttributeDefinitions": [{"AttributeName": "LockID", "AttributeType": "N"}]}
        same(look(work), ["error:table-key"], "what is found of a number as key")
        described.clear()
        world.server.set_faults([denied(op, "dynamodb") for op in ("DescribeTable", "GetItem", "PutItem", "DeleteItem")])
        same(look(work), ["error:right-missing"] * 3 + ["note:right-missing"], "what is found without rights")
        contains(fix_of(work, "right-missing"), f"arn:aws:dynamodb:us-east-1:*:table/{TABLE}")
        world.server.set_faults([])
        work.change_backend(dynamodb_table="nowhere")
        same(look(work), ["error:table-absent"], "what is found of a table that is not there")


@case("a clock that is wrong is a warning from 30 s, an error from 5 min, and keeps nothing else from being asked")
def clock():
    with World(**GOOD) as world:
        work = directory(world)
        for offset, found in ((20, []), (120, ["warning:clock"]), (-120, ["warning:clock"]), (400, ["error:clock"]),
                              (-400, ["error:clock"]), (7200, ["error:clock"])):
            world.server.offset = float(offset)
            same(look(work), found + USUAL, f"what is found {offset} s off")
            world.server.offset = 0.0


@case("credentials, bucket, region and store: each that is wrong is said")
def store():
    with World(**GOOD) as world:
        work = directory(world)
        none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
        same(look(work, env=none), ["error:no-credentials"], "what is found without credentials")
        wrong = {"AWS_ACCESS_KEY_ID": "unknown"}
        same(look(work, env=wrong), ["error:store-refuses"], "what is found with keys that are none")
        same(look(work, env={"AWS_SECRET_ACCESS_KEY": "wrong"}), ["error:store-refuses"], "what is found of a wrong key")
        work.change_backend(region="eu-west-1")
        same(look(work), ["error:bucket-region"], "what is found in another region")
        work.change_backend(region="us-east-1", bucket="nobucket")
        same(look(directory_as(work)), ["error:bucket-absent"], "what is found without a bucket")
        work.change_backend(bucket=BUCKET, endpoints={"s3": "http://127.0.0.1:9"})
        same(look(work), ["error:store-silent"], "what is found where nobody listens")


def directory_as(work):
    """The same, of another state."""
    work.key = None
    return work


@case("the daemon that is not there, and another directory of ours on the same state, are found")
def machine():
    with World(**GOOD) as world:
        work, other = directory(world), directory(world, "other")
        ended = other.tfq("apply", "-auto-approve", env=world.fake_terraform("exit 0\n"))
        same(ended.code, 0, f"the exit code ({ended.err})")
        wait_for(lambda: world.jobs()[0]["ended"], "the end of the job")
        same(look(work), ["warning:same-state"] + USUAL, "what is found")
        contains(work.tfq("doctor").out, other.path)
        same(look(other), USUAL, "what is found from the directory itself")
        same(look(work, env={"TFQ_SOCKET": os.path.join(world.path, "nosocket")}),
             ["error:daemon-absent"] + USUAL, "what is found without a daemon")


@case("a backend that is not S3 is a note; a directory without any is refused")
def elsewhere():
    with World(**GOOD) as world:
        work = world.directory("local", backend="", init=False)
        work.key = None
        same(look(work, code=0), ["note:other-backend"], "what is found of a local state")
        os.mkdir(os.path.join(world.path, "empty"))
        same(world.tfq("doctor", cwd=os.path.join(world.path, "empty")).code, 78, "the exit code in an empty directory")
        same(work.tfq("doctor", "more").code, 64, "the exit code of a word too many")


@case("no secret is on a command line or in what is said, and hostile answers reach no terminal")
def secrets():
    with World(**GOOD) as world:
        work = directory(world)
        world.server.set_faults([{"op": "ListObjectsV2", "do": "hang", "count": None}])
        program = work.spawn("doctor")
        wait_for(lambda: world.server.log, "the first request")
        lines = [line for _, line in world.leftovers()]
        check(any("tfq-doctor" in line for line in lines), f"tfq-doctor is not among {lines}")
        for line in lines:
            lacks(line, "testsecret", BUCKET)
        world.server.set_faults([{"op": "ListObjectsV2", "do": "error", "status": 400, "code": "Bad\x1b[2J",
                                  "message": "no\x1b]0;x\x07", "count": None}])
        result = program.wait()
        lacks(result.out + result.err, "testsecret", "\x1b")
        result = work.tfq("doctor")
        same(result.code, 2, "the exit code")
        lacks(result.out + result.err, "testsecret", "\x1b")


@case("what is said to people: the worst first, with what to do, in lines that fit, and counted")
def words():
    with World(server={"versioned": False}, terraform=False) as world:
        work = directory(world, mode="both")
        settings(world)["logging"] = None
        result = work.tfq("doctor")
        same(result.code, 2, "the exit code")
        parts = ["error: The bucket tfbucket keeps no old versions.", "What to do:",
                 "warning: Both a lock file and the table tflocks", "warning: The bucket tfbucket keeps no access log.",
                 "note: Whether this store", f"{STATE}: 1 error, 2 warnings, 1 note"]
        places = [result.out.find(part) for part in parts]
        check(places == sorted(places) and -1 not in places, f"{places} of {parts} in {result.out}")
        for line in result.out.splitlines():
            check(len(line) <= 79 or line.startswith("    "), f"too long: {line}")


main()
