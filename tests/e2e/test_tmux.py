#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A morning at a terminal, in tmux: keys are sent, the screen is read. Waiting, Ctrl-C, detaching, attaching,
approving."""
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Skip, TFQ, World, case, check, contains, main, same, wait_for  # noqa: E402

WAITS = "echo started; while [ ! -e end ]; do sleep 0.05; done; echo over\n"


class Shell:
    """A shell in a tmux of its own, in a directory of the world."""

    def __init__(self, world, work, columns=100, rows=30):
        if not shutil.which("tmux"):
            raise Skip("there is no tmux")
        self.folder = tempfile.mkdtemp(prefix="tfq-tmux.")
        self.env = {**world.env, "TERM": "xterm-256color", "PS1": "$ ", "SHELL": "/bin/sh",
                    "PATH": os.path.dirname(TFQ) + ":" + world.env["PATH"]}
        self.env.pop("TF_IN_AUTOMATION", None)
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", work.path,
                  "env PS1='$ ' sh -i")
        self.see(r"^\$ ")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["tmux", "-S", self.socket(), "kill-server"], env=self.env, check=False, capture_output=True,
                       timeout=20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def socket(self):
        return os.path.join(self.folder, "tmux")

    def tmux(self, *argv):
        return subprocess.run(["tmux", "-S", self.socket(), *argv], env=self.env, check=True, timeout=20,
                              capture_output=True, text=True).stdout

    def screen(self):
        return self.tmux("capture-pane", "-p", "-J")

    def see(self, pattern):
        """Wait until the screen shows it."""
        try:
            wait_for(lambda: re.search(pattern, self.screen(), re.M), pattern)
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen shows {self.screen()!r}") from None
        return self.screen()

    def type(self, text):
        self.tmux("send-keys", "-l", text)
        self.tmux("send-keys", "Enter")

    def keys(self, *names):
        self.tmux("send-keys", *names)

    def run(self, *argv, **env):
        words = " ".join(f"{name}={shlex.quote(value)}" for name, value in env.items())
        self.type(f"clear; {words} {shlex.join(argv)}; echo code=$?")


@case("who waits sees for whom, and leaves the queue with Ctrl-C; who runs is asked, detaches, attaches, and interrupts")
def queue_and_menu():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = {name: value for name, value in world.fake_terraform(WAITS).items() if name == "PATH"}
        env["PATH"] += ":" + os.path.dirname(TFQ)
        with Shell(world, work) as one, Shell(world, work) as two:
            one.run("tfq", "-m", "db resize", "apply", **env)
            one.see("^started")
            two.run("tfq", "apply", **env)
            screen = two.see(r"#2 queued on")
            contains(screen, "2nd of 2", "root #1 apply", "db resize")
            two.keys("C-c")
            contains(two.see(r"^code="), "#2 leaves the queue", "code=130")

            one.keys("C-c")
            one.see(r"\[d\] leave it running")
            one.keys("d", "Enter")
            contains(one.see(r"^code="), "goes on without you", "code=0")
            same(world.job(1)["status"], "running", "the status")

            two.run("tfq", "attach", "1")
            two.see("^started")
            two.keys("C-p", "C-q")
            contains(two.see(r"^code="), "goes on without you", "code=0")
            two.run("tfq", "attach", "1")
            two.see("^started")
            work.write("end", "")
            contains(two.see(r"^code="), "over", "code=0")
            world.wait_unlocked()


@case("a plan is shown, terraform asks, the answer is typed; in the middle tfqd is restarted and the window resized")
def approve():
    with World() as world:
        work = world.directory()
        with Shell(world, work) as shell:
            shell.run("tfq", "apply", "-no-color", "-var=name=x", "-var=seconds=0")
            shell.see("Enter a value:")
            wait_for(lambda: world.job(1)["status"] == "approving", "the status approving")
            world.restart_daemon()
            wait_for(lambda: "its runner is back" in world.log(), "the runner's hello")
            shell.tmux("resize-window", "-x", "60", "-y", "20")
            shell.type("yes")
            contains(shell.see(r"^code="), "Apply complete!", "code=0")
            check(world.state(), "no state was written")
            world.wait_unlocked()


@case("a terminal that goes away in the middle leaves the job alone, and another one sees all of it")
def lost_terminal():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = {name: value for name, value in world.fake_terraform("seq 1000; " + WAITS).items() if name == "PATH"}
        env["PATH"] += ":" + os.path.dirname(TFQ)
        with Shell(world, work) as one:
            one.run("tfq", "apply", **env)
            one.see("^started")
        same(world.job(1)["status"], "running", "the status once the terminal was closed")
        with Shell(world, work) as two:
            two.run("tfq", "attach", "1")
            contains(two.see("^started"), "1000")
            work.write("end", "")
            contains(two.see(r"^code="), "over", "code=0")
        out = work.tfq("logs", "1").out.replace("\r", "")
        same(out, "".join(f"{i}\n" for i in range(1, 1001)) + "started\nover\n", "the output")


if __name__ == "__main__":
    main()
