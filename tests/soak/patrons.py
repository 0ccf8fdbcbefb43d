# SPDX-License-Identifier: MIT
"""Who uses a tfqd that is soaked: they submit, watch, leave, cancel, list, and talk nonsense."""
import contextlib
import copy
import json
import os
import signal
import socket
import subprocess
import threading

from harness import BACKEND_FILE, TFQ, Varlink, VarlinkError, wait_for

NOT_THERE = (OSError, EOFError, ValueError)
ANSWER_SECONDS = 30
LISTEN_SECONDS = 1  # to events: there may be none
START_SECONDS = 10  # of a job; it may be long in the queue
UP_SECONDS = 30  # for a tfqd that was ended to be there again
MUCH_BYTES = 20000
KINDS = ("quick",) * 10 + ("fail",) * 3 + ("much", "stubborn", "slow")

# What each job runs; INT is tfqd's way to cancel it. Whoever is cancelled catches it before he says that he runs: after
# a death by a signal tfqd lets nobody else go for 30 s.
STUB = """\
case $SOAK_KIND in
stubborn) trap 'told=1' INT;;
slow) trap 'exit 1' INT;;
esac
echo "$SOAK_JOB" >> {ledger}
case $SOAK_KIND in
fail) echo "this went wrong" >&2; exit 3;;
much) exec cat {much};;
stubborn)
	for i in 1 2 3 4 5 6; do echo $i; sleep 0.05; done
	exit ${{told:-0}};;
slow)
	for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.05; done;;
*) echo "all is well";;
esac
"""

COUNTED = ("fresh states", "tfq", "listeners", "nonsense", "cut off", "attached", "unheard")  # each has to happen
NONSENSE = (b"\0", b"{}\0", b"[1,2]\0", b'{"method":7}\0', b"\xff\xfe\0", b'{"method":"io.tfqd.Nothing"}\0',
            b'{"method":"io.tfqd.Info","parameters":{"id":"x"}}\0',
            b'{"method":"io.tfqd.Info","parameters":{"id":-1}}\0',
            b'{"method":"io.tfqd.Submit","parameters":{"protocol":1}}\0', b'{"method":"io.tfqd.Cancel"}\0',
            b'{"method":"io.tfqd.Hello","parameters":{"protocol":1,"job":1,"phase":"new"}}\0',
            b'{"method":"io.tfqd.Resume","parameters":{"state":"s3://nowhere/at-all"}}\0')


class Town:
    """The states, and what is known of the jobs of a round. asked: {label: number, or None if nobody has said it};
    cancelled: labels of which somebody has asked that."""

    def __init__(self, world, modes):
        self.world, self.lock = world, threading.Lock()
        self.ledger = os.path.join(world.path, "ledger")
        much = os.path.join(world.path, "much")
        with open(much, "w", encoding="ascii") as file:
            file.write("what terraform prints\n" * (MUCH_BYTES // 22))
        self.fake = world.fake_terraform(STUB.format(ledger=self.ledger, much=much))
        self.states = [self.state(f"s{number}", mode) for number, mode in enumerate(modes)]
        self.asked, self.counts, self.trouble = {}, {}, []

    def state(self, name, mode):
        return self.world.directory(name, key=f"{name}/terraform.tfstate", init="by hand", mode=mode)

    def has_run(self, label):
        with contextlib.suppress(FileNotFoundError), open(self.ledger, encoding="ascii") as file:
            return label in file.read().split()
        return False

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def submission(self, work, label, kind):
        with open(os.path.join(work.path, ".terraform", "terraform.tfstate"), encoding="utf-8") as file:
            backend = file.read()
        with self.lock:
            self.asked[label] = None
        return {"protocol": 1, "argv": ["apply"], "directory": work.path, "state_directory": work.path, "label": label,
                "backend": backend, "workspace": "default", "umask": 18,
                "environment": [f"PATH={self.fake['PATH']}", f"SOAK_JOB={label}", f"SOAK_KIND={kind}",
                                "AWS_ACCESS_KEY_ID=testkey",
                                f"AWS_SECRET_ACCESS_KEY={self.world.env['AWS_SECRET_ACCESS_KEY']}"]}


class Patron(threading.Thread):
    """One of them, who does so many things in a round, as @rng wants it."""

    def __init__(self, town, name, rng, things, fresh):
        super().__init__(name=name, daemon=True)
        self.town, self.rng, self.things, self.fresh = town, rng, things, fresh
        self.link, self.done = None, 0
        self.ways = [self.submit] * 22 + [self.submit_fresh] * (0 if fresh is None else 2) + [self.watch] * 6 + \
            [self.leave] * 3 + [self.look_in] * 3 + [self.cancel] * 6 + [self.by_tfq] * 2 + [self.hang_up] * 2 + \
            [self.ask] * 6 + [self.listen] * 2 + [self.nonsense] * 2 + [self.half] * 2 + [self.attach] * 2

    def run(self):
        for self.done in range(1, self.things + 1):
            try:
                self.rng.choice(self.ways)()
            except VarlinkError as error:  # an answer, as QueueFull
                self.town.count(error.name.rpartition(".")[2])
            except NOT_THERE:
                self.town.count("unheard")
                self.drop()
                with contextlib.suppress(AssertionError):
                    wait_for(self.town.world.is_served, "tfqd", UP_SECONDS)
            except Exception as error:  # pylint: disable=broad-except
                self.town.trouble.append(f"a client failed: {type(error).__name__}: {error}")
        self.drop()

    def drop(self):
        link, self.link = self.link, None
        if link:
            link.close()

    def connect(self):
        return Varlink(self.town.world.socket, ANSWER_SECONDS)

    def call(self, method, **parameters):
        """On a connection that is kept for a while."""
        if self.link and self.rng.random() < 0.1:
            self.drop()
        self.link = self.link or self.connect()
        return self.link.call("io.tfqd." + method, **parameters)

    def next_submission(self, kind=None, work=None):
        label = f"{self.name}-{self.done}"
        return label, self.town.submission(work or self.rng.choice(self.town.states), label,
                                           kind or self.rng.choice(KINDS))

    def known(self, label, answer):
        with self.town.lock:
            self.town.asked[label] = answer["job"]["id"]
        return answer["job"]["id"]

    # What they do

    def submit(self, kind=None, work=None):
        label, parameters = self.next_submission(kind, work)
        return self.known(label, self.call("Submit", **parameters))

    def submit_fresh(self):
        """On a state that nobody has heard of. It fails: of those that do well, tfqd remembers how long they took."""
        work = self.town.state(f"fresh-{self.name}-{self.done}", "s3")
        self.fresh.append(work)
        self.town.count("fresh states")
        self.submit("fail", work)

    def watch(self):
        label, parameters = self.next_submission()
        with self.connect() as link:
            link.send("io.tfqd.Submit", parameters, more=True)
            message = link.receive()
            if message and "error" not in message:
                self.known(label, message["parameters"])
            while message and message.get("continues"):
                message = link.receive()
        if message is None:
            raise EOFError

    def leave(self):
        """In the middle of watching."""
        label, parameters = self.next_submission("slow")
        with self.connect() as link:
            link.send("io.tfqd.Submit", parameters, more=True)
            self.known(label, link.answer())

    def look_in(self):
        """With an attach channel, of which not all is read."""
        label, parameters = self.next_submission("much")
        ours, theirs = socket.socketpair()
        with ours, self.connect() as link:
            ours.settimeout(ANSWER_SECONDS)
            with theirs:
                link.send("io.tfqd.Submit", {**parameters, "attach": True}, [theirs.fileno()], more=True)
            self.known(label, link.answer())
            for _ in range(self.rng.randrange(3)):
                ours.recv(4096)

    def cancel(self):
        number = self.submit(self.rng.choice(("slow", "stubborn", "stubborn")))
        if self.rng.random() < 0.5:
            self.call("Cancel", id=number, waiting=True)
            return
        with contextlib.suppress(AssertionError):
            wait_for(lambda: self.town.has_run(f"{self.name}-{self.done}"), "its start", START_SECONDS)
            self.call("Cancel", id=number)  # never by force: that, too, costs 30 s

    def by_tfq(self):
        label = f"{self.name}-{self.done}"
        work, town = self.rng.choice(self.town.states), self.town
        with town.lock:
            town.asked[label] = None
        env = {**town.world.env, **town.fake, "SOAK_JOB": label, "SOAK_KIND": self.rng.choice(KINDS)}
        argv = [TFQ, "--label", label, *self.rng.choice(([], [], ["-d"])), "apply"]
        with subprocess.Popen(argv, cwd=work.path, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as program:
            try:
                program.wait(self.rng.choice((0.1, 60, 60)))
            except subprocess.TimeoutExpired:
                program.send_signal(signal.SIGHUP)  # never ends a job
                program.wait(60)
        town.count("tfq")

    def hang_up(self):
        """Before the answer comes: nobody knows whether it was accepted."""
        _, parameters = self.next_submission()
        with self.connect() as link:
            link.send("io.tfqd.Submit", parameters)

    def ask(self):
        how = self.rng.choice(("List", "List", "History", "Info", "Metrics"))
        self.call(how, **({"all": self.rng.random() < 0.5, "brief": self.rng.random() < 0.5} if how == "List" else {}))

    def listen(self):
        with self.connect() as link:
            link.send("io.tfqd.Events", {"newest": 20}, more=True)
            link.answer()
            link.socket.settimeout(LISTEN_SECONDS)
            with contextlib.suppress(TimeoutError):
                for _ in range(self.rng.randrange(3)):
                    link.answer()
        self.town.count("listeners")

    def nonsense(self):
        with self.connect() as link:
            link.send_bytes(self.rng.choice(NONSENSE + (self.rng.randbytes(3000),)))
            if self.rng.random() < 0.7:
                link.socket.shutdown(socket.SHUT_WR)
                link.is_closed()
        self.town.count("nonsense")

    def half(self):
        backend = copy.deepcopy(BACKEND_FILE)
        call = json.dumps({"method": "io.tfqd.Submit", "parameters": {"backend": json.dumps(backend)}}).encode()
        ours, theirs = socket.socketpair()
        with ours, theirs, self.connect() as link:
            link.send_bytes(call[:self.rng.randrange(1, len(call))], [theirs.fileno()])
        self.town.count("cut off")

    def attach(self):
        running = [job["id"] for job in self.call("List", brief=True)["jobs"]]
        if not running:
            return
        ours, theirs = socket.socketpair()
        with ours, self.connect() as link:
            with theirs:
                link.send("io.tfqd.Attach", {"id": self.rng.choice(running), "attach": True, "offset": 0},
                          [theirs.fileno()], more=True)
            link.answer()
        self.town.count("attached")
