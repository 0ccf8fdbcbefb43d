#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The fence: nothing of a job lives when the lease of its lock may end, whatever becomes of tfqd.

Each case plays tfqd to a runner of its own. They wait more than they work, so all run beside each other.
"""
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import (RUNNER, Skip, Varlink, World, check, children_of, contains, is_alive, main,  # noqa: E402
                     parallel, same, wait_for)

MARGIN = 5.0  # WIRE_KILL_MARGIN_USEC
LATE = 1.5  # a busy machine's; a signal too early is never excused
NOBODY = 65534
IS_SANITIZED = any(name.endswith("SAN_OPTIONS") for name in os.environ)

# terraform that goes on for ever: it tells of its SIGINTs, and has a grandchild in another session that only SIGKILL
# ends, and that tells when it lived; should it be root's, it gives that up when it is told to.
DEAF = """\
trap 'mark int' INT
setsid sh -c 'sh "$0" &' "$DIR/beat"
mark start
while [ ! -e "$DIR/end" ]; do sleep 0.1; done
"""
BEAT = """\
trap '' INT TERM
while :; do
    read -r up _ < /proc/uptime
    echo "$up" >> "$DIR/beats"
    sleep 0.1
    [ ! -e "$DIR/drop" ] || exec setpriv --reuid 65534 --clear-groups sh "$0"
done
"""
# Ends when it is asked to.
POLITE = """\
trap 'mark int; exit 1' INT
mark start
while :; do sleep 0.1; done
"""
# Ends by itself, and leaves something behind.
LEAVES = """\
setsid sh -c 'sh "$0" &' "$DIR/beat"
while [ ! -e "$DIR/beats" ]; do sleep 0.1; done
mark start
exit 0
"""
MARK = """\
#!/bin/sh
mark() { read -r up _ < /proc/uptime; echo "$1 $up" >> "$DIR/journal"; }
"""

def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Stage:
    """What a runner sees of tfqd; @uid: who it runs as; @wrap: a command that becomes it."""
    leftovers, end_leftovers = World.leftovers, World.end_leftovers

    def __init__(self, script=DEAF, uid=None, wrap=()):
        self.path = os.path.realpath(tempfile.mkdtemp(prefix="tfq-e2e."))
        os.chmod(self.path, 0o777)
        for name, text in (("terraform", MARK + script), ("beat", BEAT)):
            with open(os.path.join(self.path, name), "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(os.path.join(self.path, name), 0o755)
        runner = RUNNER
        if uid is not None:  # who may not reach the folder that it was built in
            runner = shutil.copy(RUNNER, self.path)
        address = os.path.join(self.path, "sock")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.settimeout(30)
        self.listener.bind(address)
        os.chmod(address, 0o777)
        self.listener.listen()
        self.env = {"PATH": self.path + ":" + os.environ.get("PATH", "/usr/bin:/bin"), "DIR": self.path}
        self.recording = open(os.path.join(self.path, "output"), "w+b", buffering=0,
                              opener=lambda path, flags: os.open(path, flags | os.O_APPEND, 0o600))
        self.reports = open(os.path.join(self.path, "reports"), "w+b", buffering=0,
                            opener=lambda path, flags: os.open(path, flags | os.O_APPEND, 0o600))
        self.runner = subprocess.Popen(
            [*wrap, runner, "--job", "7", "--socket", address], user=uid, stdin=subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")})
        self.link, self.pid, self.deadline = None, None, None

    def __enter__(self):
        try:
            self.link = Varlink.__new__(Varlink)
            self.link.socket, self.link.rest = self.listener.accept()[0], b""
            self.link.socket.settimeout(30)
            hello = self.link.receive()
            same((hello["method"], hello["parameters"]["job"]), ("io.tfqd.Hello", 7), "the hello")
            self.order("prepare", [self.recording.fileno(), self.reports.fileno()], spec={
                "argv": ["apply"], "environment": [f"{name}={value}" for name, value in self.env.items()],
                "directory": self.path, "state_directory": self.path, "identity": "x", "hold_lock": False,
                "lock_timeout": "1h", "binary": "terraform", "client": "/nonexistent", "umask": 18, "stdin": False})
            self.report("ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.runner.kill()
        self.runner.wait()
        self.end_leftovers()
        self.listener.close()
        self.recording.close()
        self.reports.close()
        if self.link:
            self.link.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def order(self, order, fds=(), **parameters):
        message = {"continues": True, "parameters": dict(parameters, order=order)}
        self.link.send_bytes(json.dumps(message).encode() + b"\0", fds)

    def report(self, event):
        """Wait for that one; it must be the next."""
        message = self.link.receive()
        check(message, f"the runner hung up before it said {event!r}")
        same(message["parameters"]["event"], event, f"the report {message}")
        return message["parameters"]

    def go(self, deadline=None, stop_grace=0.0):
        """Let it go under a lease of so many seconds; the grandchild, if any, is there at the return."""
        more = {}
        if deadline is not None:
            self.deadline = now() + deadline
            more = {"deadline": round(self.deadline * 1e6), "stop_grace": round(stop_grace * 1e6)}
        self.order("go", hold_lock=False, **more)
        self.pid = self.report("started")["pid"]
        wait_for(lambda: self.marks("start"), "terraform's start")

    def move(self, deadline):
        """The lease was renewed, up to that time."""
        self.deadline = max(deadline, self.deadline)
        self.order("deadline", deadline=round(deadline * 1e6))

    def write(self, name):
        with open(os.path.join(self.path, name), "w", encoding="utf-8"):
            pass

    def lines(self, name):
        try:
            with open(os.path.join(self.path, name), encoding="utf-8") as file:
                return [line for line in file.read().split("\n")[:-1] if line]
        except FileNotFoundError:
            return []

    def marks(self, word):
        """When terraform said that."""
        return [float(line.split()[1]) for line in self.lines("journal") if line.split()[0] == word]

    def last_beat(self):
        """When the grandchild lived, last."""
        return float((self.lines("beats") or ["0"])[-1])

    def frames(self):
        data = os.pread(self.recording.fileno(), 1 << 20, 0)
        frames = []
        while data:
            length = int.from_bytes(data[4:8], "little")
            frames.append((data[0], data[1], data[16:16 + length]))
            data = data[16 + length:]
        return frames

    def notes(self):
        return [body.decode() for kind, _, body in self.frames() if kind == 4]

    def others(self):
        return [entry for entry in self.leftovers() if entry[0] != self.runner.pid]

    def check_over(self, report, **expected):
        """All that was there is gone, in time, and the runner has said so."""
        if self.deadline:
            check(now() < self.deadline, f"it took until {now() - self.deadline:.2f} s after the deadline")
        left = self.others()
        if IS_SANITIZED:  # the leak check at the runner's end looks at it from a clone of it
            left = [entry for entry in left if "tfq-runner --job 7" not in entry[1]]
        same(left, [], "what is left")
        same({name: report.get(name) for name in expected}, expected, "the report")

    def interrupted(self):
        """When it was; once."""
        times = self.marks("int")
        same(len(times), 1, "the number of SIGINTs")
        return times[0]

    def leave(self):
        """Nobody watches: it ends by itself."""
        same(self.runner.wait(20), 0, "the runner's exit code")
        same(self.frames()[-1][0], 3, "the last frame's type")


def is_between(when, begin, what):
    """A clock that is read in hundredths is rounded down."""
    check(begin - 0.02 <= when <= begin + LATE, f"{what}: {when - begin:+.2f} s off")


@parallel("a lease that is not renewed: one SIGINT, then SIGKILL for the whole tree before the deadline")
def whole_tree():
    with Stage() as stage:
        stage.go(9, 2)
        end = stage.deadline - MARGIN
        report = stage.report("exited")
        is_between(now(), end, "the end")
        is_between(stage.interrupted(), end - 2, "the SIGINT")
        stage.check_over(report, exit_signal=9, fenced=True)
        is_between(stage.last_beat() + 0.2, end, "the grandchild's end")
        first, second = stage.notes()
        contains(first, "tfqd has not renewed the lease of the state's lock for 2 s;", "terraform is asked to stop",
                 "it will be killed in 2 s if")
        contains(second, "tfqd has not renewed the lease", "terraform and all that it started are killed")
        stage.leave()
        same(stage.frames()[-1][:2], (3, 1), "the last frame")


@parallel("terraform that ends by its SIGINT is not killed")
def ends_in_time():
    with Stage(POLITE) as stage:
        stage.go(10, 4)
        report = stage.report("exited")
        stage.check_over(report, exit_code=1, fenced=True)
        is_between(stage.interrupted(), stage.deadline - MARGIN - 4, "the SIGINT")
        same(len(stage.notes()), 1, "the number of notes")
        stage.leave()


@parallel("later deadlines move the SIGINT, then the kill; earlier ones and nonsense change nothing")
def moves():
    with Stage() as stage:
        stage.go(8.5, 2)
        stage.move(stage.deadline + 2)
        for wrong in (0, 1, stage.deadline - 1, -5, stage.deadline - 2):
            stage.move(wrong)
        for wrong in ("99999999999999", None, [], 1e18, True):
            stage.order("deadline", deadline=wrong)
        first = stage.deadline
        wait_for(lambda: stage.marks("int"), "the SIGINT")
        is_between(stage.interrupted(), first - MARGIN - 2, "the SIGINT")
        stage.move(first + 1)
        wait_for(lambda: len(stage.notes()) == 2, "the word that the lease was renewed")
        stage.move(first + 2)
        report = stage.report("exited")
        is_between(now(), first + 2 - MARGIN, "the end")
        stage.interrupted()
        stage.check_over(report, exit_signal=9, fenced=True)
        contains(stage.notes()[1], "is renewed again")
        same(len(stage.notes()), 3, "the number of notes")
        stage.leave()


@parallel("a lease that is renewed again and again does nothing to terraform")
def renewed():
    with Stage() as stage:
        stage.go(8.5, 1)
        for _ in range(4):
            stage.move(now() + 8.5)
            beat = stage.last_beat()
            wait_for(lambda wanted=beat + 0.8: stage.last_beat() > wanted, "more of its life")
        same(stage.marks("int"), [], "the SIGINTs")
        check(is_alive(stage.pid), "terraform is dead")
        same(stage.notes(), [], "the notes")


@parallel("tfqd that is gone does not keep the fence from its work")
def link_closed():
    with Stage() as stage:
        stage.go(7.5, 1)
        end = stage.deadline - MARGIN
        stage.link.close()
        same(stage.runner.wait(20), 0, "the runner's exit code")
        is_between(now(), end, "the end")
        is_between(stage.interrupted(), end - 1, "the SIGINT")
        same(stage.others(), [], "what is left")
        same(stage.frames()[-1][:2], (3, 1), "the last frame")
        same(len(stage.notes()), 2, "the number of notes")


@parallel("without a lease nobody is ever killed")
def no_lease():
    with Stage() as stage:
        stage.go(None)
        stage.order("deadline", deadline=round((now() + 0.1) * 1e6))  # nor does one come later
        born = stage.last_beat()
        wait_for(lambda: stage.last_beat() > born + 4, "a longer life")
        same(stage.marks("int"), [], "the SIGINTs")
        same(stage.notes(), [], "the notes")
        stage.write("end")
        report = stage.report("exited")  # with what it left behind
        stage.check_over(report, exit_code=0, fenced=False)
        stage.leave()


@parallel("a lease that is over, or too near its end, starts nothing")
def too_late():
    for deadline, grace in ((-1, 0), (0, 0), (MARGIN, 0), (MARGIN + 20, 20)):
        with Stage() as stage:
            stage.order("go", hold_lock=False, deadline=round((now() + deadline) * 1e6),
                        stop_grace=round(grace * 1e6))
            report = stage.report("refused")
            same(report["exit_code"], 125, "the exit code")
            contains(report["message"], "the lease of the state's lock ran out before terraform was started")
            stage.leave()
            same(stage.frames()[-1][:2], (3, 2), "the last frame")
            wait_for(lambda here=stage: not here.others(), "the end of the child that waited")
            same(stage.lines("journal"), [], "what terraform has said")


@parallel("a deadline that is none starts nothing")
def nonsense():
    for deadline in ("0", -1, 1e15, None, {}):
        with Stage() as stage:
            stage.order("go", hold_lock=False, deadline=deadline)
            report = stage.report("refused")
            contains(report["message"], "tfqd's order makes no sense")
            stage.leave()
            same(stage.lines("journal"), [], "what terraform has said")


@parallel("a SIGINT that was asked for is the only one; the kill comes all the same")
def asked_before():
    with Stage() as stage:
        stage.go(8, 1)
        stage.order("stop", level=1)
        wait_for(lambda: stage.marks("int"), "the SIGINT")
        report = stage.report("exited")
        stage.check_over(report, exit_signal=9, fenced=True)
        check(stage.interrupted() < stage.deadline - MARGIN - 1, "the SIGINT was the fence's")
        contains(stage.notes()[0], "terraform was asked to stop before")
        stage.leave()


@parallel("what terraform leaves behind is killed when the lease asks for it")
def leftovers_under_lease():
    with Stage(LEAVES) as stage:
        stage.go(7.5, 1)
        end = stage.deadline - MARGIN
        report = stage.report("exited")
        is_between(now(), end, "the end")
        stage.check_over(report, exit_code=0, fenced=True)
        first, second = stage.notes()
        contains(first, "terraform left processes behind")
        contains(second, "are killed")
        stage.leave()


@parallel("what terraform leaves behind, and will not end, is killed after five seconds")
def leftovers():
    with Stage(LEAVES) as stage:
        stage.go(None)
        begin = stage.marks("start")[0]
        report = stage.report("exited")
        is_between(now(), begin + 5, "the end")
        stage.check_over(report, exit_code=0, fenced=False)
        same(len(stage.notes()), 1, "the number of notes")
        stage.leave()


@parallel("a runner that is killed takes terraform with it, under a lease")
def runner_killed():
    with Stage() as stage:
        stage.go(60, 1)
        stage.runner.kill()
        wait_for(lambda: not is_alive(stage.pid), "terraform's death", 10)
        same(stage.marks("int"), [], "the SIGINTs")


@parallel("a runner that is killed leaves terraform alone where there is no lease")
def runner_killed_without_lease():
    with Stage() as stage:
        stage.go(None)
        stage.runner.kill()
        stage.runner.wait()
        wait_for(lambda: os.getpgid(stage.pid) and stage.last_beat(), "the grandchild's life")
        born = stage.last_beat()
        wait_for(lambda: stage.last_beat() > born + 1, "a longer life")
        check(is_alive(stage.pid), "terraform is dead")
        same(stage.marks("int"), [], "the SIGINTs")


@parallel("terraform that is stopped is killed, too")
def stopped():
    with Stage() as stage:
        stage.go(7.5, 1)
        os.kill(stage.pid, signal.SIGSTOP)
        report = stage.report("exited")
        is_between(now(), stage.deadline - MARGIN, "the end")
        stage.check_over(report, exit_signal=9, fenced=True)
        stage.leave()


@parallel("a runner without a free descriptor kills terraform and its group all the same, and the rest once it has one")
def no_descriptors():
    with Stage() as stage:
        stage.go(7, 1)
        end = stage.deadline - MARGIN
        wait_for(stage.last_beat, "the grandchild's life")
        limits = resource.prlimit(stage.runner.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(stage.runner.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        wait_for(lambda: not is_alive(stage.pid), "terraform's death")
        is_between(now(), end, "terraform's end")
        check(now() < stage.deadline, "it took until after the deadline")
        wait_for(lambda: stage.last_beat() > end + 0.5, "the life of what is in another group")
        resource.prlimit(stage.runner.pid, resource.RLIMIT_NOFILE, limits)
        stage.check_over(stage.report("exited"), exit_signal=9, fenced=True)
        stage.leave()


@parallel("where /proc does not tell what there would be to kill, nothing is started under a lease")
def no_proc():
    wrap = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$0" "$@"']
    if IS_SANITIZED:
        raise Skip("sanitizers need /proc")
    if subprocess.run([*wrap, "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        raise Skip("needs the right to mount")
    with Stage(wrap=wrap) as stage:
        stage.order("go", hold_lock=False, deadline=round((now() + 60) * 1e6))
        report = stage.report("refused")
        same(report["exit_code"], 125, "the exit code")
        contains(report["message"], "/proc is not mounted", "CONFIG_PROC_CHILDREN", "takeover = ask")
        stage.leave()
        same(stage.lines("journal"), [], "what terraform has said")


@parallel("a ^D that was typed before a child had to be made anew ends the new one's input, too")
def end_of_input():
    with Stage("cat > \"$DIR/read\"\nmark start\n") as stage:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            stage.order("attach", [theirs.fileno()], input=True)
            ours.sendall(bytes([17]) + bytes(15))  # FRAME_INPUT_END
            first = children_of(stage.runner.pid)
            os.kill(first[0], signal.SIGKILL)
            wait_for(lambda: not children_of(stage.runner.pid), "the end of the child that waited")
            stage.go(None)
            stage.check_over(stage.report("exited"), exit_code=0)
            same(stage.lines("read"), [], "what was typed")


@parallel("what the runner may not kill keeps it from saying that all is over; it goes on trying")
def not_ours_to_kill():
    if os.getuid() != 0 or not shutil.which("setpriv"):
        raise Skip("needs root, and setpriv")
    with Stage(DEAF.replace("setsid", '"$DIR/setpriv" --reuid 0 --clear-groups setsid'), uid=NOBODY) as stage:
        # Its own file system may know no set-user-ID bit.
        os.chmod(shutil.copy(shutil.which("setpriv"), stage.path), 0o4755)
        if os.statvfs(stage.path).f_flag & os.ST_NOSUID:
            raise Skip("the temporary folder is mounted nosuid")
        stage.go(7, 1)
        wait_for(stage.last_beat, "the grandchild's life")
        wait_for(lambda: not is_alive(stage.pid), "terraform's death")
        killed = now()
        wait_for(lambda: stage.last_beat() > killed + 1, "a longer life of the other one")
        stage.link.socket.settimeout(0.1)
        try:
            raise AssertionError(f"the runner says {stage.link.receive()}")
        except TimeoutError:
            pass
        stage.link.socket.settimeout(30)
        stage.write("drop")
        same(stage.report("exited")["fenced"], True, "fenced")
        stage.leave()


if __name__ == "__main__":
    main()
