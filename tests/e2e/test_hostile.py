#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Users who mean harm: nobody else is held up, nothing is left behind, and nothing of theirs runs as somebody else or
reaches another's terminal as it is."""
import array
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness  # noqa: E402
from harness import Skip, VarlinkError, case, check, contains, is_plain, lacks, main, ran, same, wait_for  # noqa: E402
from users import ALL, Users  # noqa: E402

REST = "echo started; while [ ! -e end ]; do sleep 0.05; done\n"
STARTS = 7        # of the other user, in each measurement
SLOWER = 20       # so many times slower may a start be beside an attack: the socket lets 4096 wait, and it is one of them
MIB = 1 << 20
MEMORY_MAX = 450 * MIB  # of tfqd, whatever one user sends; its limit for what a user's connections hold is 256 MiB
ATTACK_SECONDS = 60
FD_FLOOD = 253    # the kernel's SCM_MAX_FD


# --- attacks, each in a process of the user's, until it is killed -----------------------------

def link(path):
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    found.settimeout(10)
    found.connect(path)
    return found


def swallow(found):
    with contextlib.suppress(OSError):
        while found.recv(MIB):
            pass


def garbage(path, draw):
    while True:
        with contextlib.suppress(OSError), link(path) as peer:
            peer.sendall(draw.randbytes(draw.randrange(1, 5000)) + draw.choice((b"", b"\0")))


def half_messages(path, _draw):
    """More and more connections, each with the most that a message may have, and no end."""
    kept = []
    while True:
        with contextlib.suppress(OSError):
            peer = link(path)
            kept.append(peer)
            peer.sendall(b'{"method":"' + b"x" * (MIB - 100))
        if len(kept) > 600:
            kept.clear()


def descriptors(path, _draw):
    """The kernel's most with one message; what a message may have, often; and with messages that never end."""
    null = os.open("/dev/null", os.O_RDONLY)
    kept = []

    def send(peer, data, count):
        peer.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * count))])
    while True:
        with contextlib.suppress(OSError), link(path) as peer:
            send(peer, b'{"method":"io.tfqd.List"}\0', FD_FLOOD)
        with contextlib.suppress(OSError), link(path) as peer:
            for _ in range(50):
                send(peer, b'{"method":"io.tfqd.Info"}\0', 4)
            swallow(peer)
        with contextlib.suppress(OSError):
            peer = link(path)
            kept.append(peer)
            for _ in range(16):
                send(peer, b"{", 4)
        if len(kept) > 2000:
            kept.clear()


def connections(path, _draw):
    """2 000 that stay, and then one after the other."""
    kept = []
    while True:
        with contextlib.suppress(OSError):
            kept.append(link(path))
        if len(kept) > 2000:
            kept.pop().close()


def slow_readers(path, _draw):
    """They ask for much, and never read it."""
    kept = []
    while True:
        with contextlib.suppress(OSError):
            peer = link(path)
            kept.append(peer)
            peer.setblocking(False)
            peer.send(b'{"method":"io.tfqd.List","parameters":{"all":true}}\0' * 200)
        if len(kept) > 1000:
            kept.clear()


def slow_writers(path, _draw):
    """A byte now and then, on many connections."""
    kept = []
    while True:
        if len(kept) < 500:
            with contextlib.suppress(OSError):
                kept.append(link(path))
        for peer in kept:
            with contextlib.suppress(OSError):
                peer.send(b"{")
        time.sleep(0.01)


def many_calls(path, _draw):
    """Small calls, as many as go into the socket, and all answers read."""
    while True:
        with contextlib.suppress(OSError), link(path) as peer:
            peer.setblocking(False)
            rest = b""
            while True:
                with contextlib.suppress(BlockingIOError):
                    rest = rest or b'{"method":"io.tfqd.List","parameters":{"all":true}}\0' * 20000
                    rest = rest[peer.send(rest):]
                with contextlib.suppress(BlockingIOError):
                    if not peer.recv(MIB):
                        break


ATTACKS = (garbage, half_messages, descriptors, connections, slow_readers, slow_writers, many_calls)


class Hostile(Users):
    def attack(self, how, seed):
        """Return the process in which @how goes on as the user nobody."""
        pid = os.fork()
        if pid:
            return pid
        try:
            signal.alarm(ATTACK_SECONDS)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            self.become(self.nobody)["preexec"]()
            how(self.socket, random.Random(seed))
        finally:
            os._exit(1)

    @contextlib.contextmanager
    def attacked(self, how, seed):
        pid = self.attack(how, seed)
        try:
            yield
            same(os.waitpid(pid, os.WNOHANG), (0, 0), "the attacker's end")
        finally:
            os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.daemon.pid}/fd"))

    def memory(self):
        with open(f"/proc/{self.daemon.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()


def start_time(work, env, become):
    """How long it takes a user from tfq to the first words of their terraform, by the middle one of some."""
    seconds = []
    for _ in range(STARTS):
        result = ran(work.tfq("apply", env=env, **become))
        same(result.out, "ran\n", "what it printed")
        seconds.append(result.seconds)
    return statistics.median(seconds)


def flooded(how):
    seed = random.randrange(1 << 32)
    with Hostile(ALL, terraform=False) as world:
        work = world.directory(init="by hand")
        os.chmod(work.path, 0o777)
        env, become = world.fake_terraform("echo ran\n"), world.become(world.other)
        for _ in range(60):  # so that there is something to list
            ran(work.tfq("-d", "apply", env=env))
        wait_for(lambda: {job["status"] for job in world.jobs()} == {"done"}, "the end of those")
        world.wait_unlocked()
        before, quiet, most = world.descriptors(), start_time(work, env, become), 0
        with world.attacked(how, seed):
            loud = []
            end = time.monotonic() + 4
            while time.monotonic() < end or not loud:
                loud.append(start_time(work, env, become))
                most = max(most, world.memory())
        loud = statistics.median(loud)
        print(f"  {how.__name__}: {quiet * 1000:.0f} ms quiet, {loud * 1000:.0f} ms beside it, {most / MIB:.0f} MiB (seed {seed})",
              flush=True)
        check(loud < quiet * SLOWER, f"{how.__name__}, seed {seed}: a start takes {loud:.3f} s, {quiet:.3f} s without")
        check(most < MEMORY_MAX or not is_plain(), f"{how.__name__}, seed {seed}: tfqd has {most / MIB:.0f} MiB")
        wait_for(lambda: world.descriptors() <= before, f"no descriptor is left, {how.__name__}, seed {seed}")
        check(start_time(work, env, become) < quiet * SLOWER, f"{how.__name__}, seed {seed}: it is slow afterwards")


for attack in ATTACKS:
    case(f"{attack.__doc__.split('.')[0].lower() if attack.__doc__ else 'garbage'}: "
         "another user's job starts as fast, and nothing is left", seconds=150)(lambda how=attack: flooded(how))


# --- what is theirs runs as they, and is nobody else's business ---------------------------------

SPY = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
__attribute__((constructor)) static void tell(void)
{
	char self[4096] = "", line[5000];
	const int fd = open(SPY_LOG, O_WRONLY | O_APPEND);

	(void)!readlink("/proc/self/exe", self, sizeof(self) - 1);
	(void)!write(fd, line, (size_t)snprintf(line, sizeof(line), "%u %u %s\n", geteuid(), getuid(), self));
	(void)close(fd);
}
"""


@case("LD_PRELOAD and the like are the job's alone: not tfqd's, not a runner's, and never another user's")
def preload():
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise Skip("there is no C compiler")
    if not is_plain():
        raise Skip("a sanitizer wants to be loaded before all else")
    with Hostile(ALL, terraform=False) as world:
        spy, log = os.path.join(world.path, "spy.so"), os.path.join(world.path, "spied")
        source = os.path.join(world.path, "spy.c")
        with open(source, "w", encoding="ascii") as file:
            file.write(SPY)
        with open(log, "wb"):
            pass
        os.chmod(log, 0o666)
        ran(world.run(compiler, "-shared", "-fPIC", f'-DSPY_LOG="{log}"', "-o", spy, source))
        work = world.directory(init="by hand")
        os.chmod(work.path, 0o777)
        env = dict(world.fake_terraform('echo "$LD_PRELOAD $TF_CLI_ARGS $*"\n'), LD_PRELOAD=spy, LD_AUDIT="/nowhere",
                   LD_LIBRARY_PATH=world.path, TF_CLI_ARGS="-no-color", BASH_ENV="/nowhere", ENV="/nowhere")
        result = ran(work.tfq("apply", env=env, **world.become(world.nobody)))
        same(result.out, f"{spy} -no-color apply -lock=false\n", "what terraform is given")
        with open(log, encoding="ascii") as file:
            seen = {tuple(line.split()) for line in file}
        uid = str(world.nobody.pw_uid)
        same({(euid, real) for euid, real, _ in seen}, {(uid, uid)}, "as whom it was loaded")
        same({os.path.basename(program) for _, _, program in seen} & {"tfqd", "tfq-runner", "tfq-credentials"}, set(),
             "which of our programs it was loaded into")
        check(any("sh" in os.path.basename(program) for _, _, program in seen), f"it was not loaded into the job: {seen}")


@case("a directory that is another one by the time of the run: its state is looked at, and nothing is done as others")
def swapped():
    with Hostile(ALL, terraform=False) as world:
        fake = world.fake_terraform(REST + "pwd -P >> runs; chmod a+w runs 2>/dev/null; true\n")
        first = world.directory("first", init="by hand")
        os.chmod(first.path, 0o777)
        holder = int(ran(first.tfq("-d", "apply", env=fake, **world.become(world.other))).out)
        wait_for(lambda: world.job(holder)["status"] == "running", "the start")
        other = world.directory("other", key="other/terraform.tfstate", init="by hand")  # another state
        closed = world.directory("closed", init="by hand")
        os.chmod(closed.path, 0o700)  # root's
        numbers = {}
        for name, target in (("to another state", other.path), ("to what they may not enter", closed.path),
                             ("to nothing", "/nowhere"), ("to the same state", first.path)):
            work = world.directory(name.replace(" ", "-"), init="by hand")
            os.chmod(work.path, 0o777)
            numbers[name] = int(ran(work.tfq("-d", "apply", env=fake, **world.become(world.nobody))).out)
            os.rename(work.path, work.path + ".before")
            os.symlink(target, work.path)
        first.write("end", "")
        for name, words in (("to another state", "works on another state now"), ("to what they may not enter", "cannot"),
                            ("to nothing", "cannot enter")):
            wait_for(lambda n=numbers[name]: world.job(n)["status"] == "failed", f"the end of the one {name}")
            contains(world.job(numbers[name])["message"], words)
        wait_for(lambda: world.job(numbers["to the same state"])["status"] == "done", "the end of the one that is right")
        same(first.read("runs").split(), [first.path, first.path], "where they ran")
        for work in (other, closed):
            check(not work.has("runs"), f"something ran in {work.path}")
        world.wait_unlocked()


@case("what is no terraform fails its own job, with a word about it, and the next one runs")
def no_terraform():
    with Hostile(ALL, terraform=False) as world:
        work = world.directory(init="by hand")
        os.chmod(work.path, 0o777)
        good = world.fake_terraform("echo ran\n")
        folder = os.path.join(world.path, "bad")
        os.mkdir(folder)
        path = os.path.join(folder, "terraform")
        env = {"PATH": folder}

        def text(data, mode=0o755):
            with open(path, "wb") as file:
                file.write(data)
            os.chmod(path, mode)
        for make, code in ((lambda: text(b"no program\n"), 126), (lambda: text(b""), 126), (lambda: text(b"\x7fELF\2\1\1"), 126),
                           (lambda: text(b"#!/nowhere/interpreter\n"), 127), (lambda: text(b"#!/bin/sh\n", 0o644), 126),
                           (lambda: os.mkdir(path), 126), (lambda: os.mkfifo(path), 126),
                           (lambda: os.symlink("/nowhere", path), 127), (lambda: os.symlink(path, path), 126),
                           (lambda: os.symlink("/dev/zero", path), 126)):
            make()
            result = work.tfq("apply", env=env, seconds=20, **world.become(world.nobody))
            check(result.code in (126, 127) and result.out == "", f"exit code {result.code}, not {code}, {result.out!r}")
            check(result.err.startswith("tfq: "), f"the error is {result.err!r}")
            if os.path.isdir(path):
                os.rmdir(path)
            else:
                os.unlink(path)
        same(work.tfq("apply", env=good, **world.become(world.nobody)).out, "ran\n", "the next one")
        world.wait_unlocked()


@case("arguments and variables that are too long for the kernel: the job fails, and says which limit it is")
def too_long():
    with Hostile(ALL, terraform=False) as world:
        work = world.directory(init="by hand")
        os.chmod(work.path, 0o777)
        fake = world.fake_terraform("echo ran >> runs\n")

        def submit(argv, variables):
            answer, value = world.ask(world.nobody, [], "io.tfqd.Submit", {
                "protocol": 1, "argv": argv, "directory": work.path, "state_directory": work.path,
                "backend": work.read(".terraform/terraform.tfstate"), "workspace": "default", "umask": 0o22,
                "environment": [f"{k}={v}" for k, v in {**world.env, **fake, **variables}.items()]})
            same(answer, "ok", f"the answer ({value})")
            wait_for(lambda: world.job(value["job"]["id"])["status"] in ("failed", "done"), "the end")
            return world.job(value["job"]["id"])
        for argv, variables in ((["apply", "-var=x=" + "y" * 200000], {}), (["apply"], {"LARGE": "y" * 300000})):
            job = submit(argv, variables)
            same((job["status"], job["exit_code"]), ("failed", 126), "how it ended")
            contains(job["message"], "128 KiB")
        job = submit(["apply", "-var=x=" + "y" * 100000], {f"LARGE{i}": "y" * 100000 for i in range(7)})
        same(job["status"], "done", f"one that is large, but not too large ({job})")
        many = {f"A{i}": "" for i in range(9000)}
        answer, why = world.ask(world.nobody, [], "io.tfqd.Submit", {
            "protocol": 1, "argv": ["apply"], "directory": work.path, "state_directory": work.path,
            "backend": work.read(".terraform/terraform.tfstate"), "workspace": "default", "umask": 0o22,
            "environment": [f"{k}={v}" for k, v in many.items()]})
        same(answer, "BadRequest", f"the answer for 9000 variables ({why})")
        world.wait_unlocked()


@case("newlines and odd bytes in arguments reach terraform as they are, and others' terminals not at all; NULs nobody")
def odd_arguments():
    with Hostile(ALL, terraform=False) as world:
        work = world.directory(init="by hand")
        os.chmod(work.path, 0o777)
        env = world.fake_terraform('for word; do printf "<%s>" "$word"; done\n')
        words = ["-var=a=ONEWORD\ntwo", "-var", "b=\t\x01\x1b[31m", "-target=a.b\n[\x07]", "-var=c=' \"$(id)`id`\\"]
        result = ran(work.tfq("apply", *words, env=env, **world.become(world.nobody)))
        same(result.out, "".join(f"<{word}>" for word in ["apply", "-lock=false", *words]), "what terraform is given")
        shown = world.tfq("queue", "--all").out + world.tfq("info", "1").out + world.log() + json.dumps(world.jobs())
        lacks(shown, "\x1b", "\\u001b", "\x07", "\\u0007", "ONEWORD", "two")
        with world.link(world.nobody) as varlink:
            varlink.send_bytes(b'{"method":"io.tfqd.Submit","parameters":{"argv":["apply\\u0000"]}}\0')
            try:
                varlink.answer()
            except VarlinkError as error:
                same(error.name, "io.tfqd.BadRequest", "the error for a NUL")
            else:
                raise AssertionError("a NUL was accepted")
        world.wait_unlocked()


ESCAPE = "\x1b]0;PWNED\x07\x1b[2J\x9b31m\u202eRTL"


@case("labels, reasons, names of users, directories, workspaces and states move nobody else's terminal")
def escapes():
    with Hostile(ALL, terraform=False, daemon=False) as world:
        passwd = os.path.join(world.path, "passwd")
        with open("/etc/passwd", encoding="utf-8") as file:
            lines = [line for line in file if not line.startswith("nobody:")]
        with open(passwd, "w", encoding="utf-8") as file:
            file.write("".join(lines) + f"no{ESCAPE}:x:{world.nobody.pw_uid}:{world.nobody.pw_gid}::/:/bin/sh\n")
        os.chmod(passwd, 0o644)
        world.daemon_prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                               'mount --bind "$0" /etc/passwd && exec "$@"', passwd]
        world.start_daemon()
        work = world.directory(f"work{ESCAPE}", init="by hand")
        os.chmod(work.path, 0o777)
        env = world.fake_terraform(REST)
        first = work.spawn("--label", f"l{ESCAPE}", "-m", f"m{ESCAPE}", "apply", f"-target=t{ESCAPE}",
                           env=dict(env, TF_WORKSPACE="default"), **world.become(world.nobody))
        wait_for(lambda: "started" in first.out, f"the start ({first.err})")
        second = work.spawn("apply", env=env, **world.become(world.other))
        wait_for(lambda: "queued on" in second.err, "the waiting line")
        state = world.job(1)["state"]
        world.call("Pause", reason=f"p{ESCAPE}")
        raw = {"waiting line": second.err}
        for argv in (["queue"], ["queue", "--all"], [], ["info", "1"], ["info", "2"], ["who", state], ["events"], ["history"],
                     ["timeline"], ["metrics"], ["cancel", "7"], ["logs", f"{ESCAPE}"], ["pause", f"x{ESCAPE}"],
                     ["resume", f"x{ESCAPE}"], ["unlock", f"x{ESCAPE}", "--id", ESCAPE, "--yes"]):
            result = world.tfq(*argv, **world.become(world.other))
            raw[" ".join(argv)[:20]] = result.out + result.err
        raw["log"] = world.log()
        raw["lock"] = json.dumps(world.lock(), ensure_ascii=False)
        # A terminal gets sequences of ours; none of theirs.
        script = ["script", "-qec", f"{harness.TFQ} queue; {harness.TFQ} info 1; timeout 2 {harness.TFQ} top", "/dev/null"]
        if shutil.which("script"):
            raw["terminal"] = world.run(*script, env={"TERM": "xterm", "COLUMNS": "200"}, seconds=20).out
            check(len(raw["terminal"]) > 500, f"nothing was shown: {raw['terminal']!r}")
        world.call("Resume")
        work.write("end", "")
        same([program.wait().code for program in (first, second)], [0, 0], f"the exit codes ({second.err})")
        raw["the end"] = second.err
        for name, text in raw.items():
            for part in ("\x1b]0;PWNED", "PWNED\x07", "\x9b31m", "\x1b[2J\x9b", "\u202e"):
                check(part not in text, f"{part!r} is in {name}: {text!r}")
        contains(raw["queue"], "no?")


@case("a user who is deleted while their job waits: it runs as who they were, over a restart, too")
def deleted():
    with Hostile(ALL, terraform=False, daemon=False) as world:
        passwd = os.path.join(world.path, "passwd")
        with open("/etc/passwd", encoding="utf-8") as file:
            lines = file.readlines()

        def write(without):
            with open(passwd, "r+" if os.path.exists(passwd) else "w", encoding="utf-8") as file:
                file.write("".join(line for line in lines if not line.startswith(without)))
                file.truncate()
        write("nothing")
        os.chmod(passwd, 0o644)
        world.daemon_prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                               'mount --bind "$0" /etc/passwd && exec "$@"', passwd]
        world.start_daemon()
        work = world.directory(init="by hand")
        os.chmod(work.path, 0o777)
        games, user = world.group("games"), world.account("mail")
        env = world.fake_terraform("echo started; while [ ! -e end ]; do sleep 0.05; done; echo $(id -u) $(id -g) $(id -G) >> runs; chmod a+w runs 2>/dev/null; true\n")
        first = int(ran(work.tfq("-d", "apply", env=env)).out)
        wait_for(lambda: world.job(first)["status"] == "running", "the start")
        second = int(ran(work.tfq("-d", "apply", env=env, **world.become(user, [games]))).out)
        write("mail:")
        world.restart_daemon()
        third = int(ran(work.tfq("-d", "apply", env=env, **world.become(user, [games]))).out)
        work.write("end", "")
        for number in (first, second, third):
            wait_for(lambda n=number: world.job(n)["status"] == "done", f"the end of {number}")
        same([set(line.split()) for line in work.read("runs").splitlines()[1:]],
             [{str(user.pw_uid), str(user.pw_gid), str(games)}] * 2, "as whom they ran")
        same((world.job(second)["user"], world.job(third)["user"]), ("mail", str(user.pw_uid)), "whose they are")
        world.wait_unlocked()


@case("what jobs hold in memory is limited for each user, and others' jobs are taken as before")
def memory():
    with Hostile(ALL, terraform=False) as world:
        work = world.directory(init="by hand")
        os.chmod(work.path, 0o777)
        env = world.fake_terraform(REST)
        first = int(ran(work.tfq("-d", "apply", env=env)).out)
        wait_for(lambda: world.job(first)["status"] == "running", "the start")
        variables = {**world.env, **env, **{f"LARGE{i}": "x" * 100000 for i in range(9)}}
        parameters = {"protocol": 1, "argv": ["apply"], "directory": work.path, "state_directory": work.path,
                      "backend": work.read(".terraform/terraform.tfstate"), "workspace": "default", "umask": 0o22,
                      "environment": [f"{k}={v}" for k, v in variables.items()]}
        with world.link(world.nobody) as varlink:
            for count in range(200):
                varlink.send("io.tfqd.Submit", parameters)
                error = varlink.receive().get("error")
                if error:
                    break
        same(error, "io.tfqd.QueueFull", "the error")
        fit = 128 * MIB // sum(len(variable) + 1 for variable in parameters["environment"])
        check(fit - 2 <= count <= fit, f"{count} jobs were taken, and {fit} fit")
        for _ in range(3):
            result = work.tfq("-d", "apply", env={name: value for name, value in variables.items() if name != "LARGE8"},
                              **world.become(world.nobody))
        same(result.code, 75, f"the exit code of tfq ({result.err})")
        contains(result.err, "128 MiB")
        ran(work.tfq("-d", "apply", env=env, **world.become(world.other)))
        for job in world.jobs(everything=False):
            world.call("Cancel", id=job["id"])
        work.write("end", "")


@case("descriptors that wait for a job are limited for each user, however many jobs they have")
def viewers():
    with Hostile(ALL + "[queue]\nmax_queued_per_user = 100\n", terraform=False) as world:
        work = world.directory(init="by hand")
        os.chmod(work.path, 0o777)
        env = world.fake_terraform(REST)
        first = int(ran(work.tfq("-d", "apply", env=env)).out)
        wait_for(lambda: world.job(first)["status"] == "running", "the start")
        numbers = [int(ran(work.tfq("-d", "apply", env=env, **world.become(world.nobody))).out) for _ in range(3)]
        before, answers = world.descriptors(), []
        here, there = socket.socketpair()
        with here, there, world.link(world.nobody) as varlink:
            for number in numbers:
                for _ in range(400):
                    varlink.send("io.tfqd.Attach", {"id": number, "attach": True}, fds=[there.fileno()])
                    answers.append(varlink.receive().get("error", "ok"))
        same((answers.count("ok"), set(answers)), (200, {"ok", "io.tfqd.QueueFull"}), "what is answered")
        check(world.descriptors() < before + 250, f"there are {world.descriptors() - before} more descriptors")
        same(world.ask(world.other, [], "io.tfqd.Attach", {"id": first})[0], "ok", "another user's answer")
        for number in numbers:
            world.call("Cancel", id=number)
        wait_for(lambda: world.descriptors() <= before, "they are gone with the jobs")
        work.write("end", "")
        wait_for(lambda: world.job(first)["status"] == "done", "the end")
        world.wait_unlocked()


if __name__ == "__main__":
    main()
