#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A second opinion: the same main job on another S3 server, by other authors, where one is given.

TFQ_STRICT_MOTO names a program that serves S3 on the port it prints first (argument: a port, 0 to pick one). It is
run by the python3 in PATH that has what it needs.
"""
import glob
import hashlib
import os
import select
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import s3server  # noqa: E402
from harness import SECRET, Skip, World, case, main, same, wait_for  # noqa: E402

START_SECONDS = 20


def pythons():
    """Interpreters that may have moto, the one in PATH first."""
    found = [shutil.which("python3")] + sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python3")))
    return [path for path in dict.fromkeys(found) if path]


class Moto:
    def __enter__(self):
        program = os.environ.get("TFQ_STRICT_MOTO")
        if not program:
            raise Skip("TFQ_STRICT_MOTO names no other S3 server")
        if not os.path.exists(program):
            raise Skip(f"{program} (TFQ_STRICT_MOTO) is not there")
        for python in pythons():
            self.process = subprocess.Popen([python, program, "0"], stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL, text=True)
            ready = select.select([self.process.stdout], [], [], START_SECONDS)[0]
            line = self.process.stdout.readline().strip() if ready else ""
            if line.isdigit():
                self.url = f"http://127.0.0.1:{line}"
                return self
            self.__exit__()
        raise Skip(f"no python3 here can run {program}")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def make_bucket(world, name):
    """Signed with what the test server verifies with: it is the same calculation."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    empty = hashlib.sha256(b"").hexdigest()
    host = world.url.partition("//")[2]
    headers = {"host": host, "x-amz-content-sha256": empty, "x-amz-date": stamp}
    signed = sorted(headers)
    canonical = s3server.canonical_request("PUT", f"/{name}", "", headers, signed, empty)
    scope = f"{stamp[:8]}/us-east-1/s3/aws4_request"
    key = s3server.signing_key(SECRET, stamp[:8], "us-east-1", "s3")
    signature = s3server.hmac_sha256(key, s3server.string_to_sign(stamp, scope, canonical)).hex()
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential=testkey/{scope}, SignedHeaders={';'.join(signed)}, " \
                               f"Signature={signature}"
    request = urllib.request.Request(f"{world.url}/{name}", method="PUT", headers=headers)
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise AssertionError(f"making the bucket: {error.code} {error.read()[:300]}") from None


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


@case("on another S3 server raw terraform is refused while a job runs, and tfq waits for a raw terraform")
def exclusion():
    with Moto() as moto, World("[lock]\npoll_min = 200ms\npoll_max = 500ms\n", url=moto.url) as world:
        make_bucket(world, "tfbucket")
        work = world.directory()
        job = work.apply("job", 1.5)
        work.wait_started("job")
        same(work.terraform(*work.apply_argv("refused")).code, 1, "raw terraform's exit code")
        same(job.wait().code, 0, "the job's exit code")
        raw = world.spawn("terraform", *work.apply_argv("raw", 2, "-lock-timeout=10s"), cwd=work.path)
        work.wait_started("raw")
        second = work.apply("second")
        same([raw.wait().code, second.wait().code], [0, 0], "the exit codes")
        same(work.order(), ["job", "raw", "second"], "who ran")
        work.check_no_overlap()


main()
