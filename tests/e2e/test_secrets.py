#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Secrets stay in memory: planted ones are looked for wherever tfqd and its runners write, at each step of a job's
life, tfqd's death among them. What waits for its turn must have them when it runs, all the same."""
import base64
import contextlib
import hashlib
import os
import secrets
import stat
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import s3server  # noqa: E402
from harness import TFQ, World, case, check, contains, main, same, wait_for  # noqa: E402
from rows import kill_daemon  # noqa: E402

TMPFS = "/dev/shm"
PROGRAMS = ("tfqd", "tfq-runner", "tfq-credentials")
# Shows that it has the secrets, and not what they are.
SHOWS = """\
printf '%s %s' "$TF_VAR_planted" "$*" | sha256sum
echo started
while [ ! -e end ]; do sleep 0.05; done
"""


class Planted:
    """A secret in the environment, one in -var, one in the backend block; each unlike any other there ever was."""

    def __init__(self):
        self.variable, self.argument, self.key = (f"planted{secrets.token_hex(16)}" for _ in range(3))
        self.patterns = {}
        for name in ("variable", "argument", "key"):
            value = getattr(self, name).encode()
            forms = [value, value.hex().encode()]
            forms += [base64.b64encode(b"x" * shift + value)[4:-4] for shift in range(3)]
            self.patterns.update((form, name) for form in forms)

    def seen_in(self, data):
        """The names of those that are there, as they are or encoded."""
        return sorted({name for form, name in self.patterns.items() if form in data})

    def digest(self, *argv):
        text = " ".join([self.variable, *argv])
        return hashlib.sha256(text.encode()).hexdigest()


def is_safe(path):
    """In memory, and only its owner's?"""
    entry = os.lstat(path)
    return os.stat(TMPFS).st_dev == entry.st_dev and stat.S_IMODE(entry.st_mode) == 0o600 and \
        stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700


def files_below(*folders):
    for folder in folders:
        for path, _, names in os.walk(folder):
            yield from (os.path.join(path, name) for name in names if
                        stat.S_ISREG(os.lstat(os.path.join(path, name)).st_mode))


def in_files(planted, folders):
    """{path: names of the secrets in it}"""
    found = {}
    for path in files_below(*folders):
        try:
            with open(path, "rb") as file:
                names = planted.seen_in(file.read())
        except FileNotFoundError:
            continue  # it has just gone
        if names:
            found[path] = names
    return found


def memory_folders():
    """Where a tfqd keeps what may not lie on a disk, if its runtime directory does."""
    return [os.path.join(TMPFS, name) for name in os.listdir(TMPFS) if name.startswith("tfqd")]


def in_processes(world, planted):
    """What everybody can read of our programs, and what their owner can."""
    for pid, _ in world.leftovers():
        try:
            name = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
            for file in ("cmdline", "environ") if name in PROGRAMS else ():
                if file == "environ" and name == "tfq-credentials":
                    continue  # it is the user's own, and looks for keys there
                with open(f"/proc/{pid}/{file}", "rb") as text:
                    names = planted.seen_in(text.read())
                if names:
                    yield f"{file} of {name}: {names}"
        except OSError:
            pass  # it has just ended


def check_hidden(world, planted, when, is_over=False):
    state, run = (os.path.join(world.path, name) for name in ("state", "run"))
    same(in_files(planted, [state]), {}, f"what lies on the disk {when}")
    found = in_files(planted, [run, *memory_folders()])
    same([path for path in found if is_over or not is_safe(path)], [], f"what lies in the runtime directory {when}")
    same(list(in_processes(world, planted)), [], f"what processes show {when}")
    same(planted.seen_in(world.log().encode()), [], f"what the log says {when}")
    for path, _, names in os.walk(state):
        same(oct(stat.S_IMODE(os.stat(path).st_mode)), "0o700", f"the mode of {path} {when}")
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                mode = os.lstat(os.path.join(path, name)).st_mode
                same(oct(stat.S_IMODE(mode)), "0o600", f"the mode of {name} in {path} {when}")
    if world.daemon:
        shown = b"".join(world.run(TFQ, *argv).out.encode() for argv in
                         (["queue", "--all"], ["queue", "--all", "--json"], ["info", "1"], ["info", "2", "--json"]))
        same(planted.seen_in(shown), [], f"what tfq shows {when}")


def live(world, planted):
    """The lives of three jobs, and of two tfqds."""
    work = world.directory(init="by hand")
    work.change_backend(access_key="plantedkey", secret_key=planted.key)
    env = dict(world.fake_terraform(SHOWS), TF_VAR_planted=planted.variable)
    argv = ["apply", f"-var=planted={planted.argument}"]

    check_hidden(world, planted, "at first")
    numbers = [int(work.tfq("-d", *argv, env=env).out)]
    wait_for(lambda: world.job(1)["status"] == "running", "the start")
    attached = work.spawn(*argv, env=env)
    wait_for(lambda: len(world.jobs()) == 2, "the second job")
    numbers.append(int(work.tfq("-d", *argv, env=env).out))
    check_hidden(world, planted, "while one runs and two wait")

    kill_daemon(world)
    check_hidden(world, planted, "while tfqd is dead")
    world.start_daemon()
    wait_for(lambda: world.job(1)["status"] == "running", "the first job's return")
    check_hidden(world, planted, "after a restart")

    work.write("end", "")
    wait_for(lambda: all(job["status"] == "done" for job in world.jobs()), "the end of all jobs")
    same(attached.wait(30).code, 0, f"the client's exit code ({attached.err})")
    world.wait_unlocked()
    check_hidden(world, planted, "when all is over", is_over=True)
    for number in numbers + [2]:
        contains(work.tfq("logs", str(number)).out, planted.digest(argv[0], "-lock=false", *argv[1:]))
    same(world.stop_daemon(), [], "trouble")
    check_hidden(world, planted, "after the end", is_over=True)


def life(folder):
    planted, before = Planted(), tempfile.tempdir
    tempfile.tempdir = folder
    try:
        keys = {"plantedkey": s3server.Key(planted.key)}
        with World(terraform=False, server={"keys": keys}) as world:
            live(world, planted)
    finally:
        tempfile.tempdir = before


@case("no secret is in a file, in a log, on a command line: queued, running, after a crash, over")
def on_disk():
    life(None)


@case("the same with the runtime directory in memory")
def in_memory():
    life(TMPFS)


@case("a secret that lies about is found: as it is, in base64, in a file that others can read")
def control():
    planted = Planted()
    with tempfile.TemporaryDirectory(dir=TMPFS) as folder:
        for name, data in (("plain", planted.key.encode()), ("coded", base64.b64encode(b"ab" + planted.key.encode())),
                           ("none", b"planted")):
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)
        same(sorted(map(os.path.basename, in_files(planted, [folder]))), ["coded", "plain"], "what was found")
        path = os.path.join(folder, "plain")
        os.chmod(path, 0o600)
        check(is_safe(path), "a file of its owner's in memory is not taken for safe")
        os.chmod(path, 0o640)
        check(not is_safe(path), "a file that a group can read is taken for safe")
    check(not is_safe(os.path.abspath(__file__)), "a file on a disk is taken for safe")


if __name__ == "__main__":
    main()
