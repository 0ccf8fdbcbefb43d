#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Several hosts, each with its own network and tfqd, one store: cables that are pulled, packets that are lost.

The file runs itself again at the hub of such a network, tests/support/net-hosts. All faults go on side by side, each
between hosts of its own, because a lease has to be waited out.
"""
import concurrent.futures
import contextlib
import os
import shutil
import subprocess
import sys

SUPPORT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support")
sys.path.insert(0, SUPPORT)
from harness import Skip, World, case, check, contains, is_alive, main, same, wait_for  # noqa: E402
from rows import arrived, boottime  # noqa: E402

NET_HOSTS = os.path.join(SUPPORT, "net-hosts")
HOSTS, ADDRESS = 7, "10.77.0.1"
LEASE, MARGIN = 10.0, 5.0
CUT = 1.2  # seconds; from 3 s without a renewal on, terraform is interrupted
WATCH = LEASE * 1.1 / 0.9 + 30
CONFIG = ("[lock]\nlease = 10s\nrenew = 1s\nstop_grace = 2s\npoll_min = 100ms\npoll_max = 200ms\n"
          "[aws]\nrequest_timeout = 400ms\nconnect_timeout = 300ms\n")
# Says when it lived last; its SIGINT does not end it.
WORKS = """\
echo $$ > pid
trap 'echo INT >> interrupts' INT
echo started
while [ ! -e end ]; do cut -d" " -f1 /proc/uptime > last.new; mv last.new last; sleep 0.05; done
echo ended
"""
RUNS = "cut -d' ' -f1 /proc/uptime > began; sleep 0.2; echo ran; cut -d' ' -f1 /proc/uptime > ended\n"


def net(*argv):
    subprocess.run([NET_HOSTS, *argv], check=True)


class Host(World):
    """A tfqd on a host of its own; its clients need no network."""

    def __init__(self, name, url):
        super().__init__(CONFIG, terraform=False, url=url, daemon_env={"NET_HOSTS": os.environ["NET_HOSTS"]})
        self.name = name
        self.daemon_prefix = [NET_HOSTS, "exec", name, "--"]


class Pair:
    """One at work on a state, and perhaps one that waits for it elsewhere."""

    def __init__(self, stack, store, key, *names):
        self.store, self.key = store, key
        self.hosts = [stack.enter_context(Host(name, store.url)) for name in names]
        self.works = [host.directory("work", key=key, init="by hand") for host in self.hosts]

    def start(self):
        env = self.hosts[0].fake_terraform(WORKS)
        program = self.works[0].spawn("apply", env=env)
        wait_for(lambda: "started" in program.out, f"the start on {self.hosts[0].name}; {program.err}")
        return program

    def wait(self):
        program = self.works[1].spawn("apply", env=self.hosts[1].fake_terraform(RUNS))
        wait_for(lambda: "locked by" in program.err, f"the wait on {self.hosts[1].name}")
        return program

    def last_write(self):
        return arrived([entry for entry in self.store.requests() if entry["op"] == "PutObject" and
                        entry["key"] == self.key + ".tflock"][-1])

    def seen(self, number, name):
        return float(self.works[number].read(name))

    def is_alive(self):
        return is_alive(int(self.works[0].read("pid")))


def check_taken_over(pair, waiter):
    """Fenced on one host before the lease ends, taken over on the other one after the wait, and not before."""
    written = pair.last_write()
    wait_for(lambda: not pair.is_alive(), "the end of what cannot renew its lease", 30)
    check(pair.seen(0, "last") < written + LEASE + 0.2, "terraform outlived its lease")
    same(pair.works[0].read("interrupts"), "INT\n", "its interrupts")
    result = waiter.wait(WATCH + 40)
    same((result.code, result.out), (0, "ran\n"), f"who waited ({result.err})")
    began = pair.seen(1, "began")
    check(began > pair.seen(0, "last"), "two at once")
    return began, written


def cable(stack, store):
    """Its cable is pulled in the middle, and plugged in again after the other one has gone on."""
    pair = Pair(stack, store, "cable", "h1", "h2")
    program, waiter = pair.start(), pair.wait()
    net("down", "h1")
    began, written = check_taken_over(pair, waiter)
    check(began > written + WATCH - 0.2, f"taken over {written + WATCH - began:.2f} s too early")
    net("up", "h1")
    result = program.wait(60)
    check(result.code not in (0, 125), f"exit code {result.code}")
    contains(result.err, "could not be renewed, so terraform was stopped")
    contains(pair.hosts[1].log(), "was taken over")
    told = pair.hosts[0].log().count("cannot read the lock")
    check(1 <= told < 10, f"that the store is away was told {told} times")
    # It is a host like any other again.
    result = pair.works[0].tfq("apply", env=pair.hosts[0].fake_terraform(RUNS))
    same((result.code, result.out), (0, "ran\n"), f"the next one there ({result.err})")


def deaf(stack, store):
    """What it sends arrives, and no answer does: the other one sees renewals for a while, but must not see two."""
    pair = Pair(stack, store, "deaf", "h3", "h4")
    program, waiter = pair.start(), pair.wait()
    net("cut", "--oneway", "hub", "h3")
    wait_for(lambda: not pair.is_alive(), "the end of what hears no answer", 30)
    same(pair.works[0].read("interrupts"), "INT\n", "its interrupts")
    result = waiter.wait(WATCH + 60)
    same((result.code, result.out), (0, "ran\n"), f"who waited ({result.err})")
    check(pair.seen(1, "began") > pair.seen(0, "last"), "two at once")
    net("heal", "hub", "h3")
    check(program.wait(60).code not in (0, 125), "the exit code")


def short(stack, store):
    """Nothing for a moment, which a lease survives."""
    pair = Pair(stack, store, "short", "h5", "h6")
    program, waiter = pair.start(), pair.wait()
    before = boottime()
    net("cut", "h5")
    wait_for(lambda: boottime() > before + CUT, "the end of the cut")  # what is played
    net("heal", "h5")
    wait_for(lambda: pair.last_write() > before + CUT, "a renewal")
    check(pair.is_alive() and not pair.works[0].has("interrupts"), "terraform was stopped for a short cut")
    pair.works[0].write("end", "")
    same((program.wait(30).code, waiter.wait(60).code), (0, 0), "both exit codes")
    check(pair.seen(1, "began") >= pair.seen(0, "last"), "two at once")


def lossy(stack, store):
    """A tenth of all packets is lost: slower, but in order, one at a time, and each once."""
    pair = Pair(stack, store, "lossy", "h7")
    net("loss", "10", "h7")
    env = pair.hosts[0].fake_terraform("echo $TFQ_JOB begins >> runs; sleep 0.2; echo $TFQ_JOB ends >> runs\n")
    programs = []
    for count in range(1, 7):
        programs.append(pair.works[0].spawn("apply", env=env))
        wait_for(lambda n=count: len(pair.hosts[0].jobs()) == n, "its acceptance")
    same([program.wait(120).code for program in programs], [0] * 6, "the exit codes")
    same(pair.works[0].read("runs").split("\n")[:-1], [f"{n} {word}" for n in range(1, 7) for word in ("begins", "ends")],
         "what ran")
    net("heal", "h7")


FAULTS = (cable, deaf, short, lossy)


def play():
    """At the hub."""
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(World(terraform=False, daemon=False, server={"host": ADDRESS}))
        with concurrent.futures.ThreadPoolExecutor(len(FAULTS)) as pool:
            futures = {fault.__name__: pool.submit(fault, stack, store) for fault in FAULTS}
        wrong = {name: future.exception() for name, future in futures.items() if future.exception()}
        check(not wrong, "; ".join(f"{name}: {type(error).__name__} {error}" for name, error in wrong.items()))


@case("hosts with one store: a cable pulled, answers lost, a short cut, lost packets: never two at once, and all goes on",
      seconds=240)
def hosts():
    if "NET_HOSTS" in os.environ:
        play()
        return
    if os.geteuid() != 0:
        raise Skip("hosts of their own take root")
    for program in ("ip", "nft", "unshare", "nsenter"):
        if not shutil.which(program):
            raise Skip(f"hosts of their own take {program}")
    if subprocess.run([NET_HOSTS, "run", "-n", "1", "--", "true"], check=False, capture_output=True).returncode != 0:
        raise Skip("this machine makes no network of its own")
    argv = [NET_HOSTS, "run", "-n", str(HOSTS), "--timeout", "230", "--", sys.executable, os.path.abspath(__file__)]
    result = subprocess.run(argv, check=False, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    text = result.stdout.decode(errors="replace")
    if result.returncode != 0:
        print(text)
    same(result.returncode, 0, "what ran among the hosts")


main()
