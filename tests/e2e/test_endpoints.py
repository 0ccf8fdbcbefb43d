#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Endpoints that only the user's AWS profile names: the lock is held where terraform works."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import KEY, World, case, check, contains, lacks, main, same, wait_for  # noqa: E402

# Without endpoints. What takes another way than the profile's ends at once, and not at AWS.
BLOCK = """\
  backend "s3" {{
    bucket         = "tfbucket"
    key            = "{key}"
    region         = "us-east-1"
    {lock}
    use_path_style = true
    https_proxy    = "http://127.0.0.1:9"

    skip_credentials_validation = true
    skip_metadata_api_check     = true
    skip_region_validation      = true
    skip_requesting_account_id  = true
  }}
"""
LOCKFILE, TABLE = "use_lockfile = true", 'dynamodb_table = "tflocks"'
PLAIN = "[default]\nendpoint_url = {url}\n"
SERVICES = ("[profile p]\nservices = s\nendpoint_url = http://127.0.0.1:9\n"
            "[services s]\ns3 =\n  endpoint_url = {url}\ndynamodb =\n  endpoint_url = {url}\n")


def write_config(world, text):
    folder = os.path.join(world.path, "home", ".aws")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "config")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.format(url=world.url))
    return path


def make(world, name="work", lock=LOCKFILE, key=KEY):
    return world.directory(name, key=key, backend=BLOCK.format(key=key, lock=lock))


def ran(result, code=0):
    same(result.code, code, f"the exit code ({result.err or result.out[-300:]})")
    return result


@case("endpoint_url and services of the profile lead to the lock, which is held there while terraform runs")
def held_there():
    for config, env, lock in ((PLAIN, {}, LOCKFILE), (SERVICES, {"AWS_PROFILE": "p"}, TABLE)):
        with World(env=env) as world:
            write_config(world, config)
            work = make(world, lock=lock)
            first = work.apply("first", 2)
            work.wait_started("first")
            check(world.held(), "nobody holds the lock")
            same(world.job_of("first")["lock"], "tfqd", "who took the lock")
            contains(ran(work.tfq("who")).out, "tfqd")
            ran(first.wait())
            world.wait_unlocked()
            check(all(by == "tfqd" for by, _where, _step in world.lock_steps()), "terraform took a lock of its own")
            check(world.state(), "there is no state")


@case("a saved plan's lock is held where the profile says, too")
def saved_plan():
    with World() as world:
        write_config(world, PLAIN)
        work = make(world)
        ran(work.tfq("plan", "-input=false", "-out=p", "-var=name=planned", "-var=seconds=1"))
        before = len(world.lock_steps())
        ran(work.tfq("apply", "-input=false", "p"))
        same(world.jobs()[-1]["lock"], "tfqd", "who took the lock")
        check(len(world.lock_steps()) > before, "nobody took the lock")
        world.wait_unlocked()


@case("a profile that has changed since the job was queued is found out before terraform starts")
def changed_meanwhile():
    for lock, change, why in ((LOCKFILE, "[default]\nendpoint_url = http://127.0.0.1:9\n", "another state now"),
                              (TABLE, "[default]\nservices = s\n[services s]\ns3 =\n  endpoint_url = {url}\n",
                               "DynamoDB endpoint")):
        with World() as world:
            write_config(world, PLAIN)
            work = make(world, lock=lock)
            first = work.apply("first", 3)
            work.wait_started("first")
            second = work.apply("second")
            wait_for(lambda: len(world.jobs()) == 2, "the second job")
            write_config(world, change)
            ran(first.wait())
            contains(ran(second.wait(), 125).err, why)
            lacks(" ".join(work.order()), "second")
            world.wait_unlocked()


@case("a shared file that cannot be read is refused with exit code 78, and nothing is queued")
def unreadable():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        work.change_backend(endpoints=None)
        os.makedirs(os.path.join(world.path, "home", ".aws", "config"))
        for argv in (["apply"], ["who"]):
            contains(ran(work.tfq(*argv, env=world.fake_terraform("exit 0\n")), 78).err, "/.aws/config")
        same(world.jobs(), [], "the jobs")


main()
