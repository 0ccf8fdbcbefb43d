#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What tfq shows: the queue, the past, events, the timeline, and the screen of tfq top."""
import collections
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
import xml.etree.ElementTree as xml
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import TFQ, Skip, World, case, check, contains, lacks, main, ran, same, wait_for  # noqa: E402
from terminal import Terminal  # noqa: E402

MINUTE = 60 * 1000000
NET, DNS = "s3://bucket/prod/net/terraform.tfstate", "s3://bucket/prod/dns/terraform.tfstate"


def now():
    return int(time.time() * 1000000)


def a_job(number, **members):
    job = {"id": number, "status": "queued", "state": NET, "user": "alice", "uid": 1000, "command": "apply",
           "directory": "/home/alice", "workspace": "default", "lock": "tfqd", "priority": "normal",
           "position": 1, "of": 1, "submitted": now() - 5 * MINUTE, "started": 0, "ended": 0}
    return {**job, **members}


def running(number, **members):
    return a_job(number, **{"status": "running", "started": now() - 3 * MINUTE, **members})


def over(number, **members):
    return a_job(number, **{"status": "done", "started": now() - 4 * MINUTE, "ended": now() - 2 * MINUTE,
                            "exit_code": 0, "position": 0, "of": 0, **members})


class FakeTfqd:
    """Answers from what a test puts into it, on as many connections as come."""

    def __init__(self, world):
        self.jobs, self.past, self.events, self.calls, self.errors = [], [], [], [], {}
        self.path, self.page, self.connections = world.socket, 500, []
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self.listen()

    def listen(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        data = b""
        with contextlib.suppress(OSError):
            while True:
                more = connection.recv(65536)
                if not more:
                    return
                data += more
                while b"\0" in data:
                    message, _, data = data.partition(b"\0")
                    for answer in self.answer(json.loads(message)):
                        connection.sendall(json.dumps(answer).encode() + b"\0")

    def answer(self, call):
        method, parameters = call["method"].rpartition(".")[2], call.get("parameters", {})
        self.calls.append((method, parameters))
        if method in self.errors:
            yield {"error": "io.tfqd." + self.errors[method][0], "parameters": {"message": self.errors[method][1]}}
            return
        answer = getattr(self, "say_" + method.lower())(parameters)
        if call.get("more"):
            yield {"continues": True, "parameters": answer}
        else:
            yield {"parameters": answer}

    def say_list(self, parameters):
        jobs = self.jobs + (self.past if parameters.get("all") else [])
        jobs = [job for job in sorted(jobs, key=lambda job: job["id"]) if job["id"] > parameters.get("after", 0)]
        return {"jobs": jobs[:self.page], "more": len(jobs) > self.page}

    def say_history(self, parameters):
        jobs = [job for job in sorted(self.past, key=lambda job: -job["id"])
                if job["id"] < parameters.get("before", 1 << 60)
                and parameters.get("since", 0) <= job["ended"] <= parameters.get("until", 1 << 60)
                and parameters.get("state", job["state"]) == job["state"]]
        return {"jobs": jobs[:self.page], "more": len(jobs) > self.page}

    def say_events(self, parameters):
        after = parameters.get("after", len(self.events) - parameters.get("newest", 0))
        return {"events": [event for event in self.events if event["id"] > after][:self.page]}

    def say_cancel(self, parameters):
        self.jobs = [job for job in self.jobs if job["id"] != parameters["id"]]
        return {"job": a_job(parameters["id"], status="cancelled")}

    @staticmethod
    def say_metrics(_parameters):
        return {"text": "# TYPE tfqd_jobs gauge\ntfqd_jobs{state=\"\x1bx\"} 3\n# EOF\n"}

    def end_connections(self):
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self.connections = []

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        os.unlink(self.path)
        self.end_connections()


@contextlib.contextmanager
def stage():
    """A world whose tfqd says what the test wants; and that tfqd."""
    with World(daemon=False, terraform=False) as world:
        tfqd = FakeTfqd(world)
        try:
            yield world, tfqd
        finally:
            if os.path.exists(tfqd.path):
                tfqd.stop()


def columns_of(text):
    """On a terminal."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def on_terminal(world, width, *argv, env=None):
    """What tfq shows on a terminal of that width."""
    terminal = Terminal(world, world, TFQ, *argv, env={"COLUMNS": str(width), **(env or {})})
    same(terminal.wait(), 0, "the exit code")
    return terminal.shown.replace("\r", "")


# --- the queue --------------------------------------------------------------------------

@case("the queue stands by state, the one that runs first, with places, times and what is expected")
def queue_table():
    with stage() as (world, tfqd):
        tfqd.page = 2  # several pages
        tfqd.jobs = [a_job(4, position=2, of=2, user="bob", eta=now() + 14 * MINUTE - 1000000, label="nightly"),
                     a_job(5, state=DNS, position=2, of=2, command="plan"),
                     running(6, position=1, of=2, usual=10 * MINUTE),
                     running(7, state=DNS, position=1, of=2, usual=MINUTE, status="approving")]
        tfqd.past = [over(2, status="failed", exit_code=1), over(1)]
        lines = ran(world.tfq("queue")).out.splitlines()
        same(lines[0].split(), "ID STATE-NAME STATUS POS USER COMMAND WAITED/RAN ETA LABEL".split(), "the titles")
        same([line.split()[0] for line in lines[1:]], ["7", "5", "6", "4"], "the order")
        same(re.split("  +", lines[1]), ["7", DNS, "approving", "1/2", "alice", "apply", "3 min", "-"])
        same(re.split("  +", lines[3]), ["6", NET, "running", "1/2", "alice", "apply", "3 min", "~7 min"])
        same(re.split("  +", lines[4]), ["4", NET, "queued", "2/2", "bob", "apply", "5 min", "~14 min", "nightly"])
        lines = ran(world.tfq("queue", "--all", "--no-legend", "--columns", "ID,status,exit")).out.splitlines()
        same([line.split()[0] for line in lines], ["7", "5", "6", "4", "1", "2"], "the order with those that are over")
        same(lines[-1].split(), ["2", "failed", "1"])


@case("the queue can be filtered, printed as JSON, and says why a line stands still")
def queue_filters():
    with stage() as (world, tfqd):
        tfqd.jobs = [running(1, message="paused by root: \x1b[2J release"), a_job(2, user="bob", uid=1001),
                     a_job(3, state=DNS)]

        def ids(*argv):
            return [line.split()[0] for line in world.tfq("queue", "--no-legend", *argv).out.splitlines()
                    if line[0].isdigit()]
        same(ids("--user", "bob"), ["2"])
        same(ids("--user", "1001"), ["2"])
        same(ids("--state", "prod/dns"), ["3"])
        same(ids("--state", "net", "--user", "alice"), ["1"])
        same(world.tfq("queue", "--user", "nobody").out, "Nothing is queued.\n")
        contains(world.tfq("queue").out, NET + ": paused by root: ?[2J release")
        found = json.loads(world.tfq("queue", "--json", "--state", "net").out)
        same([job["id"] for job in found], [1, 2], "the jobs as JSON")
        same(found[0], tfqd.jobs[0])
        same(json.loads(world.tfq("queue", "--json", "--user", "nobody").out), [])
        contains(ran(world.tfq("queue", "--columns", "id,nothing"), 64).err, "no column 'nothing'")
        tfqd.errors["List"] = ("NotAllowed", "you may not")
        contains(ran(world.tfq("queue"), 77).err, "you may not")


@case("the table fits every terminal, with wide and combining characters, and is whole where there is none")
def queue_widths():
    with stage() as (world, tfqd):
        wide, combined = "\u6f22\u5b57" * 6, "e\u0301" * 9
        tfqd.jobs = [running(1, user=wide, label=combined, command="state replace-provider"),
                     a_job(2, user="m\u00fcller", label="plain", position=2, of=2)]
        whole = world.tfq("queue", env={"COLUMNS": "20"}).out
        contains(whole, wide, combined, "state replace-provider", NET)
        starts = [columns_of(line[:line.index(mark)]) for line, mark in
                  zip(whole.splitlines(), ("LABEL", combined, "plain"))]
        same(len(set(starts)), 1, f"the number of columns at which the labels begin ({whole})")
        for width in (160, 120, 100, 80, 60, 40, 30, 20, 12):
            lines = on_terminal(world, width, "queue").splitlines()
            same(len(lines), 3, f"the lines of {width} columns")
            check(all(columns_of(line) <= width for line in lines), f"wider than {width}: {lines}")
        contains(on_terminal(world, 120, "queue"), "state r\u2026")
        lines = on_terminal(world, 80, "queue").splitlines()
        contains(lines[1], "\u2026", "running")
        contains(lines[2], "\u2026d/net ", "queued")  # the end of a name says most
        lines = on_terminal(world, 20, "queue").splitlines()
        same([line.split()[0] for line in lines], ["ID", "1", "2"])
        contains(lines[1], "running")
        check(all(ord(c) < 128 or c in wide + combined + "\u00fc" for c in
                  on_terminal(world, 60, "queue", env={"LANG": "C"})), "an ellipsis in a locale without one")


@case("--watch draws again when something has changed, and Ctrl-C ends it")
def queue_watch():
    with stage() as (world, tfqd):
        tfqd.jobs = [running(1)]
        terminal = Terminal(world, world, TFQ, "queue", "--watch")
        terminal.wait_shown("running")
        tfqd.jobs = [running(1), a_job(12345, position=2, of=2)]
        terminal.wait_shown("12345")
        terminal.resize(8, 60)
        tfqd.jobs = [a_job(number, position=number, of=40) for number in range(1, 41)]
        terminal.wait_shown("... and 35 more")
        terminal.type("\x03")
        same(terminal.wait(), -signal.SIGINT, "the exit status")
        tfqd.jobs = [over(1, ended=0, started=0, submitted=0)]
        program = world.spawn(TFQ, "queue", "--watch", "--columns", "id,status")
        wait_for(lambda: "1   done" in program.out, "the first table")
        asked = len(tfqd.calls)
        wait_for(lambda: len(tfqd.calls) > asked + 1, "another look")
        same(program.out.count("1   done"), 1, "how often the same was printed")
        tfqd.stop()
        same(program.wait().code, 69, "the exit code without a tfqd")


# --- the past ---------------------------------------------------------------------------

@case("history shows what has ended, the latest first, by time, state, user and outcome")
def history():
    with stage() as (world, tfqd):
        tfqd.page = 10
        tfqd.past = [over(number, ended=now() - (100 - number) * MINUTE) for number in range(1, 81)]
        tfqd.past[79].update(status="failed", exit_code=1, user="bob", label="x\ny")
        tfqd.past[78].update(status="lost", exit_signal=9, state=DNS)

        def ids(*argv):
            return [int(line.split()[0]) for line in ran(world.tfq("history", "--no-legend", *argv)).out.splitlines()]
        same(ids(), list(range(80, 30, -1)), "the last 50")
        same(len(tfqd.calls), 5, "the pages that were asked for")
        same(ids("-n", "3"), [80, 79, 78])
        same(ids("--since", "25min"), [80, 79, 78, 77, 76])
        same(ids("--until", "95min"), [5, 4, 3, 2, 1])
        same(ids("--failed"), [80, 79])
        same(ids("--user", "bob"), [80])
        same(ids("--state", "dns"), [79])
        same(ids("--state", DNS), [79])
        same(tfqd.calls[-1][1]["state"], DNS, "what tfqd is asked for")
        lines = world.tfq("history", "-n", "2").out.splitlines()
        same(lines[0].split(), "ID STATE-NAME STATUS EXIT USER COMMAND WAITED RAN ENDED LABEL".split(), "the titles")
        contains(lines[1], "failed", "1", "bob", "x?y")
        contains(lines[2], "lost", "sig 9")
        same([job["id"] for job in json.loads(world.tfq("history", "--json", "-n", "2").out)], [80, 79])
        for argv in (["--since", "x"], ["-n", "x"], ["--nothing"], ["more"]):
            same(world.tfq("history", *argv).code, 64, f"the exit code of history {argv}")
        tfqd.past = []
        same(world.tfq("history").out, "No such job has ended.\n")


@case("events are printed, as JSON lines, too, and followed over a restart of tfqd without a gap")
def events():
    with stage() as (world, tfqd):
        def add(kind, **members):
            tfqd.events.append({"id": len(tfqd.events) + 1, "at": 1700000000000000, "kind": kind, **members})
        add("submit", job=7, uid=1000, user="alice", state=NET, text="ap\x1bply")
        add("boot")
        same(ran(world.tfq("events")).out.splitlines(),
             [f"2023-11-14T22:13:20Z  submit #7 by alice on {NET}: ap?ply", "2023-11-14T22:13:20Z  boot"])
        same([json.loads(line) for line in world.tfq("events", "--json").out.splitlines()], tfqd.events)
        same(len(world.tfq("events", "-n", "1").out.splitlines()), 1, "the lines of -n 1")
        program = world.spawn(TFQ, "events", "-f", "--json")
        wait_for(lambda: len(program.out.splitlines()) == 2, "the events so far")
        tfqd.stop()
        wait_for(lambda: "waiting for it to come back" in program.err, "the word about it")
        add("resume", uid=0, state=NET)
        tfqd.listen()
        wait_for(lambda: len(program.out.splitlines()) == 3, "the one that was missed")
        same([json.loads(line)["id"] for line in program.out.splitlines()], [1, 2, 3])
        program.send(signal.SIGTERM)
        program.wait()
        tfqd.page = 500
        for _ in range(600):
            add("start")
        same(len(world.tfq("events", "-n", "599").out.splitlines()), 599, "the lines of two pages")


@case("metrics prints tfqd's text")
def metrics():
    with stage() as (world, tfqd):
        same(ran(world.tfq("metrics")).out, tfqd.say_metrics({})["text"])
        lacks(on_terminal(world, 80, "metrics"), "\x1bx")


# --- the timeline -----------------------------------------------------------------------

def fill_timeline(tfqd):
    begin = now() - 100 * MINUTE
    tfqd.past = [over(1, submitted=begin, started=begin + MINUTE, ended=begin + 30 * MINUTE),
                 over(2, submitted=begin + 5 * MINUTE, started=begin + 30 * MINUTE, ended=begin + 60 * MINUTE,
                      user="<b>&", status="failed")]
    tfqd.jobs = [running(3, submitted=begin + 40 * MINUTE, started=begin + 60 * MINUTE), a_job(4, state=DNS)]


@case("the timeline shows who waited for whom, as wide as the terminal, with colours only there")
def timeline():
    with stage() as (world, tfqd):
        fill_timeline(tfqd)
        lines = ran(world.tfq("timeline")).out.splitlines()
        same([lines[0], lines[2]], [DNS, NET], "the states")
        contains(lines[4], "#2 <b>& apply after #1", "\u2591\u2588")
        same((lines[4].count("\u2591"), lines[4].count("\u2588")), (16, 20), "the columns of waiting and running")
        contains(lines[5], "#3 alice apply after #2")
        lacks("".join(lines), "\x1b")
        same(ran(world.tfq("timeline", "dns")).out.splitlines()[0], DNS)
        same(ran(world.tfq("timeline", "--since", "50min")).out.count("#1 "), 0, "the old one")
        contains(on_terminal(world, 70, "timeline"), "\x1b[31m")
        lacks(on_terminal(world, 70, "timeline", env={"NO_COLOR": "1"}), "\x1b")
        for width in (120, 70, 40, 20):
            for line in on_terminal(world, width, "timeline", env={"NO_COLOR": "1"}).splitlines():
                check(columns_of(line) <= width, f"wider than {width}: {line!r}")
        same(world.tfq("timeline", "nothing").out, "Nothing has waited or run in that time.\n")
        contains(world.tfq("timeline", env={"LANG": "C"}).out, "..##")
        for argv in (["-o", "x.png"], ["a", "b"], ["--since", "x"]):
            same(world.tfq("timeline", *argv).code, 64, f"the exit code of timeline {argv}")
        same(world.tfq("timeline", "-o", "/nowhere/x.svg").code, 125, "the exit code")


def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome", "headless_shell"):
        if shutil.which(name):
            return shutil.which(name)
    raise Skip("there is no chromium to look at the picture with")


@case("the timeline as a file is well-formed, needs nothing else, and has a title on every bar")
def timeline_file():
    with stage() as (world, tfqd):
        fill_timeline(tfqd)
        same(ran(world.tfq("timeline", "-o", "t.svg")).out, "", "what is printed")
        root = xml.parse(os.path.join(world.path, "t.svg")).getroot()
        titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
        same(len(titles), 4, "the number of titles")
        check(any(title.startswith("#2 <b>& apply: waited 25 min for #1, ran 30 min, failed") for title in titles),
              f"{titles}")
        groups = {group.find("{*}title").text.split()[0]: [
            (rect.get("class"), int(rect.get("x")), int(rect.get("x")) + int(rect.get("width")))
            for rect in group.findall("{*}rect")] for group in root.iter("{http://www.w3.org/2000/svg}g")}
        waits, runs = groups["#2"]
        same((waits[0], runs[0]), ("w", "failed"), "what the two bars are")
        same(waits[2], runs[1], "where it began to run")
        same(groups["#1"][1][2], waits[2], "where the one before it ended")
        check(240 <= waits[1] < waits[2] < runs[2] <= 1240, f"{groups}")
        same(len(groups["#4"]), 1, "the bars of one that waits")
        ran(world.tfq("timeline", "-o", "t.html"))
        with open(os.path.join(world.path, "t.html"), encoding="utf-8") as file:
            page = file.read()
        lacks(page.replace('xmlns="http://www.w3.org/2000/svg"', ""), "http", "<script", "<b>")
        contains(page, "<!DOCTYPE html>", "</html>")


def colours_of(path):
    """How many pixels of a PNG file, as a browser writes it, have each colour."""
    with open(path, "rb") as file:
        data = file.read()
    at, packed, header = 8, b"", None
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        header = struct.unpack(">IIBBBBB", body) if kind == b"IHDR" else header
        packed += body if kind == b"IDAT" else b""
        at += size + 12
    width, height, depth, kind, *_ = header
    same(depth, 8, "the bits of a sample")
    step = {2: 3, 6: 4}[kind]
    raw, above, found = zlib.decompress(packed), bytearray(width * step), collections.Counter()
    for y in range(height):
        line = bytearray(raw[y * (width * step + 1) + 1:(y + 1) * (width * step + 1)])
        unfilter(raw[y * (width * step + 1)], line, above, step)
        found.update(bytes(line[i:i + 3]).hex() for i in range(0, len(line), step))
        above = line
    return found


def unfilter(method, line, above, step):
    """RFC 2083, section 6."""
    for i in range(len(line)) if method else ():
        left, corner = (line[i - step], above[i - step]) if i >= step else (0, 0)
        near = min((left, above[i], corner), key=lambda one: abs(left + above[i] - corner - one))
        line[i] = line[i] + (0, left, above[i], (left + above[i]) // 2, near)[method] & 255


@case("a browser shows the timeline: a bar of each kind, in its colour")
def timeline_rendered():
    browser = chromium()
    with stage() as (world, tfqd):
        fill_timeline(tfqd)
        ran(world.tfq("timeline", "-o", "t.html"))
        ran(world.run(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                      f"--user-data-dir={world.path}/chromium", "--window-size=1300,400",
                      f"--screenshot={world.path}/t.png", f"file://{world.path}/t.html"))
        colours = colours_of(os.path.join(world.path, "t.png"))
        with open(os.path.join(world.path, "t.html"), encoding="utf-8") as file:
            styles = dict(re.findall(r"\.(\w+){fill:#(\w{6})", file.read()))
        for name, least in (("w", 3000), ("done", 3000), ("lost", 3000), ("now", 4000)):
            check(colours[styles[name]] > least, f"of {name} the picture has {colours[styles[name]]} pixels")


# --- the screen -------------------------------------------------------------------------

class Tmux:
    """tfq top in a tmux of its own."""

    def __init__(self, world, *argv, columns=100, rows=12):
        if not shutil.which("tmux"):
            raise Skip("there is no tmux to look at the screen with")
        self.folder = tempfile.mkdtemp(prefix="tfq-tmux.")
        self.world, self.path = world, os.path.join(self.folder, "tmux")
        command = " ".join(argv) + f"; echo left with $?; exec cat > {self.folder}/typed"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), command)

    def tmux(self, *argv):
        env = {**self.world.env, "TERM": "xterm"}
        return subprocess.run(["tmux", "-S", self.path, *argv], env=env, check=True, timeout=20,
                              stdout=subprocess.PIPE, stdin=subprocess.DEVNULL).stdout.decode()

    def shown(self):
        return self.tmux("capture-pane", "-p")

    def keys(self, *names):
        self.tmux("send-keys", *names)

    def wait_shown(self, *texts):
        try:
            wait_for(lambda: all(text in self.shown() for text in texts), f"{texts}")
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen is\n{self.shown()}") from None

    def selected(self):
        """The number in the line that is shown in reverse."""
        found = re.search(r"\x1b\[(?:0;)?7m(?:\x1b\[[\d;]*m)*(\d+)", self.tmux("capture-pane", "-p", "-e"))
        return found and int(found.group(1))

    def wait_selected(self, number):
        try:
            wait_for(lambda: self.selected() == number, f"#{number} is selected")
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen is\n{self.tmux('capture-pane', '-p', '-e')!r}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(subprocess.CalledProcessError):
            self.tmux("kill-server")
        shutil.rmtree(self.folder, ignore_errors=True)


@case("tfq top shows the queue as it changes; keys select, sort, ask before they cancel, and quit")
def top():
    with stage() as (world, tfqd):
        tfqd.jobs = [running(1, of=3), a_job(2, position=2, of=3, user="bo\x1b[2Jb", message="why it stands"),
                     a_job(3, position=3, of=3, user="\u6f22\u5b57", label="end")]
        with Tmux(world, TFQ, "top") as screen:
            screen.wait_shown("1 running, 2 waiting; by state", "bo?[2Jb", "\u6f22\u5b57", "q quit")
            screen.wait_selected(1)
            screen.keys("j")
            screen.wait_selected(2)
            screen.wait_shown("why it stands")
            screen.keys("Down")
            screen.wait_selected(3)
            screen.keys("k", "Up")
            screen.wait_selected(1)
            screen.keys("s")
            screen.wait_shown("by time")
            screen.keys("s", "s", "s")
            screen.wait_shown("by state")
            screen.keys("j", "j")
            screen.wait_selected(3)
            screen.keys("c")
            screen.wait_shown("cancel #3? y/n")
            screen.keys("n")
            screen.wait_shown("q quit")
            same([call for call in tfqd.calls if call[0] == "Cancel"], [], "what was cancelled")
            screen.keys("c", "y")
            screen.wait_shown("#3 is cancelled", "1 running, 1 waiting")
            same([call for call in tfqd.calls if call[0] == "Cancel"], [("Cancel", {"id": 3})])
            screen.wait_selected(2)
            tfqd.errors["Cancel"] = ("NotAllowed", "it is not yours")
            screen.keys("c", "y")
            screen.wait_shown("it is not yours")
            tfqd.jobs = [running(4711)]
            screen.wait_shown("4711", "1 running, 0 waiting")
            screen.wait_selected(4711)
            screen.keys("q")
            screen.wait_shown("left with 0")


@case("tfq top follows the terminal's size, and waits for a tfqd that went away")
def top_resize():
    with stage() as (world, tfqd):
        tfqd.jobs = [a_job(number, position=number, of=30) for number in range(1, 31)]
        with Tmux(world, TFQ, "top") as screen:
            screen.wait_shown("9/30")
            lacks(screen.shown(), "10/30")
            screen.tmux("resize-window", "-x", "100", "-y", "24")
            screen.wait_shown("21/30")
            for _ in range(29):
                screen.keys("j")
            screen.wait_selected(30)
            screen.tmux("resize-window", "-x", "20", "-y", "5")
            screen.wait_selected(30)
            wait_for(lambda: all(len(line) <= 20 for line in screen.shown().splitlines()), "narrow lines")
            screen.tmux("resize-window", "-x", "100", "-y", "24")
            tfqd.stop()
            screen.wait_shown("tfqd is not there", "30/30")
            tfqd.jobs = []
            tfqd.listen()
            screen.wait_shown("Nothing is queued.", "0 running")
            screen.keys("C-c")
            screen.wait_shown("left with")


@case("tfq top leaves the screen for logs and attach, and comes back")
def top_leaves():
    with stage() as (world, tfqd):
        tfqd.jobs = [running(7)]
        tfqd.errors = {"Logs": ("NotAllowed", "no logs for you"), "Attach": ("NotAllowed", "not to be attached")}
        with Tmux(world, TFQ, "top") as screen:
            screen.wait_shown("1 running")
            screen.keys("l")
            screen.wait_shown("no logs for you", "Enter goes back")
            lacks(screen.shown(), "q quit")
            screen.keys("Enter")
            screen.wait_shown("1 running", "q quit")
            screen.keys("a")
            screen.wait_shown("not to be attached")
            screen.keys("Enter")
            screen.wait_shown("q quit")
            screen.keys("q")
            screen.wait_shown("left with 0")


@case("tfq top needs a terminal that it knows")
def top_terminal():
    with stage() as (world, _tfqd):
        contains(ran(world.tfq("top"), 64).err, "tfq queue --watch")
        terminal = Terminal(world, world, TFQ, "top", env={"TERM": "no-such-terminal"})
        terminal.wait_shown("$TERM")
        same(terminal.wait(), 64, "the exit code")


# --- the waiting line -------------------------------------------------------------------

@case("the waiting line says place, expectation, who is ahead, for how long, and why")
def waiting_line():
    with stage() as (world, tfqd):
        ahead = {"id": 39, "user": "alice", "command": "apply", "reason": "db resize", "started": now() - 6 * MINUTE}
        job = a_job(42, state="prod/net", position=2, of=5, eta=now() + 14 * MINUTE - 1000000, ahead=ahead)
        tfqd.say_submit = lambda _parameters: {"job": job}
        work = world.directory(init="by hand")
        env = world.fake_terraform("exit 0")
        program = work.spawn("apply", env=env)
        wait_for(lambda: "\n" in program.err, "the line")
        same(program.err, 'tfq: #42 queued on prod/net (2nd of 5, ~14 min): alice #39 apply, 6 min, "db resize"\n')
        program.send(signal.SIGKILL)
        program.wait()
        terminal = Terminal(world, work, "apply", env=env)
        terminal.wait_shown("\u2026")
        line = terminal.shown.rpartition("\x1b[K")[2]
        same(line, "tfq: #42 queued on prod/net (2nd of 5, ~14 min): alice #39\u2026"[:58] + "\u2026")
        terminal.program.send(signal.SIGKILL)
        terminal.wait()


# --- with the real one ------------------------------------------------------------------

@case("all of it from a real tfqd, with jobs that ran and one that waits")
def real_daemon():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform("while [ ! -e end ]; do sleep 0.05; done\nexit ${CODE:-0}\n")
        work.write("end", "")
        same(work.tfq("--label", "one", "apply", env={**env, "CODE": "3"}).code, 3, "the exit code")
        os.unlink(os.path.join(work.path, "end"))
        second = work.spawn("apply", env=env)
        wait_for(lambda: len(world.jobs()) == 2 and world.job(2)["status"] == "running", "the start of the second")
        third = work.spawn("plan", env=env)
        wait_for(lambda: "queued on" in third.err, "its place")
        lines = ran(world.tfq("queue")).out.splitlines()
        same([line.split()[0] for line in lines], ["ID", "2", "3"])
        contains(lines[2], "s3://tfbucket/app/terraform.tfstate", "queued", "2/2", "plan")
        lines = ran(world.tfq("history")).out.splitlines()
        contains(lines[1], "1", "failed", "3", "apply", "one")
        same(len(lines), 2, "the lines of the history")
        follow = world.spawn(TFQ, "events", "-f", "--json")
        wait_for(lambda: "start" in follow.out, "the events so far")
        chart = ran(world.tfq("timeline")).out
        contains(chart, "#1", "#2", "#3", "after #2", "\u2588")
        contains(ran(world.tfq("metrics")).out, "# EOF")
        work.write("end", "")
        same([second.wait().code, third.wait().code], [0, 0], "the exit codes")
        wait_for(lambda: sum(json.loads(line)["kind"] == "done" for line in follow.out.splitlines()) == 2, "the ends")
        contains(world.tfq("events").out, "submit #1 by ", "done #3")
        follow.send(signal.SIGTERM)
        follow.wait()


main()
