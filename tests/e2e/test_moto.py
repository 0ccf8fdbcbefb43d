#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A second opinion: the same main job on another server for S3 and DynamoDB, by other authors, where one is given."""
import hashlib
import json
import os
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import s3server  # noqa: E402
from harness import HOLD, KEY, MODES, SECRET, TABLE, World, case, main, same, wait_for  # noqa: E402
from moto import Moto  # noqa: E402


def signed(world, service, method, path, headers, body=b""):
    """Send what the test server's own calculation signs: it is the same."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    digest = hashlib.sha256(body).hexdigest()
    headers = dict(headers, **{"host": world.url.partition("//")[2], "x-amz-content-sha256": digest,
                               "x-amz-date": stamp})
    names = sorted(headers)
    canonical = s3server.canonical_request(method, path, "", headers, names, digest)
    scope = f"{stamp[:8]}/us-east-1/{service}/aws4_request"
    key = s3server.signing_key(SECRET, stamp[:8], "us-east-1", service)
    signature = s3server.hmac_sha256(key, s3server.string_to_sign(stamp, scope, canonical)).hex()
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential=testkey/{scope}, SignedHeaders={';'.join(names)}, " \
                               f"Signature={signature}"
    request = urllib.request.Request(f"{world.url}{path}", method=method, headers=headers, data=body or None)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()[:300]}") from None
        return b""


def make_bucket(world, name):
    signed(world, "s3", "PUT", f"/{name}", {})


def dynamodb(world, operation, **body):
    return json.loads(signed(world, "dynamodb", "POST", "/",
                             {"content-type": "application/x-amz-json-1.0",
                              "x-amz-target": f"DynamoDB_20120810.{operation}"}, json.dumps(body).encode()))


def make_table(world, name):
    dynamodb(world, "CreateTable", TableName=name, BillingMode="PAY_PER_REQUEST",
             KeySchema=[{"AttributeName": "LockID", "KeyType": "HASH"}],
             AttributeDefinitions=[{"AttributeName": "LockID", "AttributeType": "S"}])


@case("three applies at the same moment, and raw terraform afterwards, on another S3 server")
def three_at_once():
    with Moto() as moto, World(url=moto.url) as world:
        make_bucket(world, "tfbucket")
        work = world.directory()
        programs = [work.apply(f"job{i}", 0.4) for i in range(3)]
        for program in programs:
            result = program.wait()
            same(result.code, 0, f"the exit code ({result.err})")
        work.check_no_overlap()
        same(sorted(work.order()), ["job0", "job1", "job2"], "who ran")
        raw = wait_for(lambda: (lambda result: result if result.code == 0 else None)(
            work.terraform(*work.apply_argv("raw"))), "raw terraform to work", 10)
        same(raw.code, 0, "raw terraform's exit code")


@case("on another server, in all modes, raw terraform is refused while a job runs, and tfq waits for a raw terraform")
def exclusion():
    with Moto() as moto, World("[lock]\npoll_min = 200ms\npoll_max = 500ms\n", url=moto.url) as world:
        make_bucket(world, "tfbucket")
        make_table(world, TABLE)
        for mode in MODES:
            work = world.directory(mode, mode=mode, key=f"{mode}/terraform.tfstate", command=HOLD,
                                   journal=os.path.join(world.path, "journal-" + mode))
            job = work.apply("job")
            work.wait_started("job")
            held = dynamodb(world, "GetItem", TableName=TABLE, Key={"LockID": {"S": f"tfbucket/{work.key}"}})
            same("LeaseRvn" in held.get("Item", {}), mode != "s3", "the item in DynamoDB")
            same(work.terraform(*work.apply_argv("refused")).code, 1, "raw terraform's exit code")
            work.write("end", "")
            same(job.wait().code, 0, "the job's exit code")
            os.unlink(os.path.join(work.path, "end"))
            raw = work.raw_apply("raw", 0, "-lock-timeout=60s")
            work.wait_started("raw")
            programs = []
            for i in range(2):
                programs.append(work.apply(f"more{i}", 0, "-m", mode))
                wait_for(lambda count=i + 1, m=mode: len([j for j in world.jobs() if j.get("reason") == m]) == count,
                         "its place")
            wait_for(lambda p=programs[0]: "locked by" in p.err, "the wait for raw terraform")
            work.write("end", "")
            same([program.wait().code for program in (raw, *programs)], [0, 0, 0], "the exit codes")
            same(work.order(), ["job", "raw", "more0", "more1"], f"who ran with {mode}")
            work.check_no_overlap()


@case("on another server tfq unlock removes a raw terraform's item that a job waits for")
def unlock():
    with Moto() as moto, World("[lock]\npoll_min = 200ms\npoll_max = 500ms\n", url=moto.url, terraform=False) as world:
        make_bucket(world, "tfbucket")
        make_table(world, TABLE)
        item = {"LockID": {"S": f"tfbucket/{KEY}"}, "Info": {"S": '{"ID":"raw-id","Who":"tf@elsewhere"}'}}
        dynamodb(world, "PutItem", TableName=TABLE, Item=item)
        work = world.directory(mode="dynamodb", init="by hand")
        program = work.spawn("apply", env=world.fake_terraform("echo ran\n"))
        wait_for(lambda: "locked by tf@elsewhere" in program.err, "the name of the holder")
        result = world.tfq("unlock", f"s3://tfbucket/{KEY}", "--id", "raw-id", "--yes")
        same(result.code, 0, f"the exit code of unlock ({result.err})")
        same(program.wait().code, 0, "the job's exit code")


main()
