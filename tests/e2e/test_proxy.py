#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A store behind a proxy: the lock is asked for on the way that terraform goes, and not on tfqd's own."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import World, case, check, contains, lacks, main, same  # noqa: E402
from proxy import Proxy  # noqa: E402

# No name that anybody could look up: only the proxy knows where that is.
STORE = "http://s3.invalid:9000"



@case("a job whose environment names a proxy is locked through it, as terraform would")
def through_a_proxy():
    with Proxy(login="al:se%40cret") as proxy, World(url=STORE, env={"HTTP_PROXY": proxy.url}, terraform=False) as world:
        proxy.login = "al:se@cret"
        proxy.to = world.server.port
        work = world.directory(init="by hand")
        result = work.tfq("apply", env=world.fake_terraform("echo ran\n"))
        same((result.code, result.out), (0, "ran\n"), f"the job ({result.err})")
        world.wait_unlocked()
        check(proxy.asked, "nobody asked the proxy")
        same({target.partition("/tfbucket")[0] for _, target in proxy.asked}, {STORE}, "what was asked for")
        lacks(world.log(), "se@cret", "se%40cret")


@case("loopback is asked directly, and a proxy that is not there is named without its password")
def dead_proxy():
    with World(env={"HTTP_PROXY": "http://al:hush@127.0.0.1:1"}, terraform=False) as world:
        work = world.directory(init="by hand")
        result = work.tfq("apply", env=world.fake_terraform("echo ran\n"))
        same((result.code, result.out), (0, "ran\n"), f"the job ({result.err})")
    with World(url=STORE, env={"HTTP_PROXY": "http://al:hush@127.0.0.1:1"}, terraform=False) as world:
        work = world.directory(init="by hand")
        result = work.tfq("apply", env=world.fake_terraform("echo ran\n"))
        same(result.code, 125, "the exit code")
        contains(result.err, "127.0.0.1")
        lacks(result.err + world.log(), "hush")


@case("a proxy that is no URL is refused with a sentence")
def bad_proxy():
    with World(url=STORE, env={"HTTP_PROXY": "gopher://al:hush@p.invalid"}, terraform=False) as world:
        work = world.directory(init="by hand")
        result = work.tfq("apply", env=world.fake_terraform("echo ran\n"))
        same(result.code, 125, "the exit code")
        contains(result.err, "The proxy is no URL")
        lacks(result.err + world.log(), "hush")


@case("real terraform and tfqd go through the same proxy")
def real_terraform():
    with Proxy() as proxy, World(url=STORE, env={"HTTP_PROXY": proxy.url}) as world:
        proxy.to = world.server.port
        work = world.directory()
        result = work.apply().wait()
        same(result.code, 0, f"the exit code ({result.err})")
        world.wait_unlocked()
        with world.server.lock:
            agents = " ".join(str(entry) for entry in world.server.log)
        contains(agents, "tfqd/", "Terraform")


main()
