#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the end-to-end tests stand on: a temporary folder with an S3 server, a tfqd and terraform directories in it.

A test file is

    from harness import World, case, main, same

    @case("a sentence that says what is promised")
    def anything():
        with World() as world:
            work = world.directory("one")
            same(work.tfq("apply", "-auto-approve").code, 0)

    main()

and prints a PASS, FAIL or SKIP line per case, then the sums. Every command, and every wait, has a time-out.
The programs come from $TFQ_BUILD (default: build/ of this tree), terraform from PATH.
"""
import array
import collections
import concurrent.futures
import copy
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import s3server  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.environ.get("TFQ_BUILD") or os.path.join(ROOT, "build"))
TFQD, TFQ, RUNNER = (os.path.join(BUILD, name) for name in ("tfqd", "tfq", "tfq-runner"))
TERRAFORM = shutil.which("terraform")
GET_TERRAFORM = "there is no terraform in PATH; get it from https://developer.hashicorp.com/terraform/install"

CASE_SECONDS = 120
COMMAND_SECONDS = 60
WAIT_SECONDS = 30
STOP_SECONDS = 45  # the lock of a job that was killed is kept for 30 s
POLL_SECONDS = 0.02
LOG_LINES = 60  # of tfqd's log, shown with a failure

SECRET = "testsecret"
BUCKET = "tfbucket"
KEY = "app/terraform.tfstate"
TABLE = "tflocks"
# What a backend block says of its lock, and where the lock then is.
MODES = {"s3": {"use_lockfile": True}, "dynamodb": {"dynamodb_table": TABLE},
         "both": {"use_lockfile": True, "dynamodb_table": TABLE}}
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|runtime error: |SUMMARY: \w+Sanitizer")


class Skip(Exception):
    pass


# --- saying what is expected ------------------------------------------------------------

def is_plain():
    """Is it what is installed? With sanitizers, or for coverage, memory and time say nothing of tfqd."""
    with open(TFQD, "rb") as file:
        data = file.read()
    return b"__asan_init" not in data and b"__ubsan" not in data and b"__gcov" not in data


def same(got, want, what="it"):
    if got != want:
        raise AssertionError(f"{what} is {got!r}, not {want!r}")


def contains(text, *parts):
    """The text has all parts; terraform breaks lines where it likes, so white space counts as one blank."""
    flat = " ".join(text.split())
    for part in parts:
        if " ".join(part.split()) not in flat:
            raise AssertionError(f"{part!r} is not in {text!r}")


def lacks(text, *parts):
    for part in parts:
        if part in text:
            raise AssertionError(f"{part!r} is in {text!r}")


def check(condition, why):
    if not condition:
        raise AssertionError(why)


def ran(result, code=0):
    same(result.code, code, f"the exit code ({result.err or result.out[-300:]})")
    return result


def wait_for(condition, what, seconds=WAIT_SECONDS):
    """Poll until @condition() is true, and return what it returned."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for this in vain: {what}")
        time.sleep(POLL_SECONDS)


# --- varlink ----------------------------------------------------------------------------

class VarlinkError(Exception):
    def __init__(self, name, parameters):
        self.name, self.parameters = name, parameters or {}
        super().__init__(f"{name}: {self.parameters.get('message', self.parameters)}")


class Varlink:
    """A connection to tfqd, written apart from the C code on purpose."""

    def __init__(self, path, seconds=WAIT_SECONDS):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(seconds)
        self.socket.connect(path)
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send_bytes(self, data, fds=()):
        if not fds:
            self.socket.sendall(data)
            return
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        sent = self.socket.sendmsg([data], ancillary)
        self.socket.sendall(data[sent:])

    def send(self, method, parameters=None, fds=(), **flags):
        call = {"method": method, "parameters": parameters or {}, **flags}
        self.send_bytes(json.dumps(call).encode() + b"\0", fds)

    def receive(self):
        """The next message, or None if there will be none."""
        while b"\0" not in self.rest:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self.rest += data
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def answer(self):
        message = self.receive()
        if message is None:
            raise EOFError("tfqd closed the connection")
        if "error" in message:
            raise VarlinkError(message["error"], message.get("parameters"))
        return message.get("parameters") or {}

    def call(self, method, **parameters):
        self.send(method, parameters)
        return self.answer()

    def is_closed(self):
        """Wait until tfqd hangs up; what it says before is thrown away."""
        try:
            while True:
                if not self.socket.recv(65536):
                    return True
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


# --- programs ---------------------------------------------------------------------------

Result = collections.namedtuple("Result", "code out err seconds")
Span = collections.namedtuple("Span", "name start end")


class Program:
    """One that runs, with its output in files: a full pipe would stop it."""

    def __init__(self, world, argv, cwd, env, stdin=None, stdout=None, preexec=None, own_group=False):
        self.name = " ".join(map(str, [os.path.basename(argv[0]), *argv[1:]]))
        self.out_file = stdout or tempfile.TemporaryFile(dir=world.path)
        self.err_file = tempfile.TemporaryFile(dir=world.path)
        in_file = subprocess.DEVNULL
        if isinstance(stdin, bytes):
            in_file = tempfile.TemporaryFile(dir=world.path)
            in_file.write(stdin)
            in_file.seek(0)
        elif stdin is not None:
            in_file = stdin
        self.started = time.monotonic()
        self.process = subprocess.Popen(argv, cwd=cwd, env=env, stdin=in_file, stdout=self.out_file,
                                        stderr=self.err_file, preexec_fn=preexec, start_new_session=own_group)
        world.programs.append(self)

    @property
    def pid(self):
        return self.process.pid

    @staticmethod
    def text_of(file):
        size = os.fstat(file.fileno()).st_size
        return os.pread(file.fileno(), size, 0)

    @property
    def out_bytes(self):
        return self.text_of(self.out_file)

    @property
    def out(self):
        return self.out_bytes.decode(errors="replace")

    @property
    def err(self):
        return self.text_of(self.err_file).decode(errors="replace")

    def is_running(self):
        return self.process.poll() is None

    def send(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=COMMAND_SECONDS):
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s: {self.name}; "
                                 f"stderr {self.err[-500:]!r}") from None
        return Result(code, self.out, self.err, time.monotonic() - self.started)

    def end(self):
        if self.is_running():
            self.process.kill()
        self.process.wait()


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def children_of(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as children:
            found += map(int, children.read().split())
    return found


# --- terraform directories --------------------------------------------------------------

S3_BLOCK = """\
  backend "s3" {{
    bucket         = "{bucket}"
    key            = "{key}"
    region         = "{region}"
    {lock}
    use_path_style = true
    endpoints      = {{ s3 = "{url}", dynamodb = "{url}" }}

    skip_credentials_validation = true
    skip_metadata_api_check     = true
    skip_region_validation      = true
    skip_requesting_account_id  = true
  }}
"""

BODY = """\
variable "name" {{ default = "x" }}
variable "seconds" {{ default = "0" }}
resource "terraform_data" "work" {{
  input            = var.name
  triggers_replace = uuid()
  provisioner "local-exec" {{
    command = <<-EOT
      echo "start ${{var.name}} $(date +%s.%N)" >> '{journal}'
      {command}
      echo "end ${{var.name}} $(date +%s.%N)" >> '{journal}'
    EOT
  }}
}}

output "name" {{ value = var.name }}
"""

# In place of a command: lasts until Directory.write("end", "").
HOLD = "while [ ! -e end ]; do sleep 0.05; done"

# What changes a lock.
STEPS = {"PutObject": "write", "PutItem": "write", "DeleteObject": "remove", "DeleteItem": "remove"}

# What terraform init leaves behind, as far as tfq looks at it.
BACKEND_FILE = {"version": 3, "terraform_version": "1.11.4", "backend": {"type": "s3", "hash": 1, "config": {
    "bucket": BUCKET, "region": "us-east-1", "use_lockfile": True, "use_path_style": True,
    "skip_credentials_validation": True, "skip_metadata_api_check": True, "skip_region_validation": True,
    "skip_requesting_account_id": True}}}


class Directory:
    """A terraform working directory; apply writes "start NAME TIME" and "end NAME TIME" into its journal.

    @lock: the line of the backend block that asks for one; @backend: text in place of the whole block; @command: what
    the local-exec runs; @body: text in place of all resources; @init: False leaves terraform init out, "by hand"
    writes what it would leave behind, for what is not terraform; @mode: one of MODES in place of @lock, or the like.
    """

    def __init__(self, world, name, key=KEY, lock="use_lockfile   = true", backend=None, command="sleep ${var.seconds}",
                 body=None, journal=None, init=True, mode=None, **fields):
        self.world, self.key = world, key
        self.path = os.path.join(world.path, name)
        self.journal = journal or os.path.join(world.path, "journal")
        os.makedirs(self.path)
        settings = MODES[mode] if isinstance(mode, str) else mode or {"use_lockfile": True}
        if mode:
            lock = "\n    ".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())
        values = dict({"bucket": BUCKET, "region": "us-east-1", "url": world.url}, key=key, lock=lock, **fields)
        block = S3_BLOCK.format(**values) if backend is None else backend
        if body is None:
            body = BODY.format(journal=self.journal, command=command)
        self.write("main.tf", f"terraform {{\n{block}}}\n\n{body}")
        if init == "by hand":
            self.change_backend(key=key, endpoints={"s3": world.url, "dynamodb": world.url},
                                **{"use_lockfile": False, **settings})
        elif init:
            result = self.terraform("init", "-input=false")
            check(result.code == 0, f"terraform init failed: {result.err}")

    def write(self, name, text):
        with open(os.path.join(self.path, name), "w", encoding="utf-8") as file:
            file.write(text)

    def read(self, name):
        with open(os.path.join(self.path, name), encoding="utf-8", errors="replace") as file:
            return file.read()

    def change_backend(self, **config):
        """Edit what terraform init has left behind, or make it."""
        path = os.path.join(self.path, ".terraform", "terraform.tfstate")
        value = copy.deepcopy(BACKEND_FILE)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                value = json.load(file)
        value["backend"]["config"].update(config)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(value, file)

    def has(self, name):
        return os.path.exists(os.path.join(self.path, name))

    def tfq(self, *argv, **options):
        return self.world.tfq(*argv, cwd=self.path, **options)

    def spawn(self, *argv, **options):
        return self.world.spawn(TFQ, *argv, cwd=self.path, **options)

    def terraform(self, *argv, **options):
        self.world.need_terraform()
        return self.world.run(TERRAFORM, *argv, cwd=self.path, **options)

    @staticmethod
    def apply_argv(name="x", seconds=0, *more):
        return ["apply", "-auto-approve", "-input=false", "-no-color", f"-var=name={name}", f"-var=seconds={seconds}",
                *more]

    def apply(self, name="x", seconds=0, *options, **how):
        """Start `tfq apply`; @options are tfq's own."""
        return self.spawn("--label", name, *options, *self.apply_argv(name, seconds), **how)

    def raw_apply(self, name="x", seconds=0, *more):
        """Start terraform itself."""
        return self.world.spawn(TERRAFORM, *self.apply_argv(name, seconds, *more), cwd=self.path)

    def marks(self):
        """What the journal says: [(word, name, time)], in the order in which it was written."""
        try:
            with open(self.journal, encoding="utf-8") as journal:
                return [(word, name, float(when)) for word, name, when in map(str.split, journal)]
        except FileNotFoundError:
            return []

    def has_started(self, name):
        return any(mark[:2] == ("start", name) for mark in self.marks())

    def wait_started(self, name):
        wait_for(lambda: self.has_started(name), f"the start of {name} in the journal")

    def spans(self):
        """[Span] in the order of their starts; end is None if it never came."""
        ends = {name: when for word, name, when in self.marks() if word == "end"}
        return sorted((Span(name, when, ends.get(name)) for word, name, when in self.marks() if word == "start"),
                      key=lambda span: span.start)

    def order(self):
        return [span.name for span in self.spans()]

    def check_no_overlap(self):
        spans = self.spans()
        for before, after in zip(spans, spans[1:]):
            check(before.end is not None, f"{before.name} did not end")
            check(before.end <= after.start, f"{after.name} began before {before.name} had ended")

    def state(self):
        return self.world.state(self.key)


# --- the world --------------------------------------------------------------------------

class World:
    """@config: text of tfqd.conf; @env: more variables for everything that runs; @server: keyword arguments of
    s3server.Server; @shared: users other than the present one can reach the socket and the directories; @daemon_env:
    more variables for tfqd itself."""

    def __init__(self, config="", env=None, server=None, shared=False, daemon=True, terraform=True, url=None,
                 daemon_env=None):
        if terraform:
            self.need_terraform()
        self.config, self.shared, self.wants_daemon = config, shared, daemon
        self.daemon_env = daemon_env or {}
        self.daemon_prefix = []  # a command that runs tfqd
        self.path = os.path.realpath(tempfile.mkdtemp(prefix="tfq-e2e."))
        self.programs, self.logs = [], []
        self.daemon = None
        self.server = s3server.Server(**(server or {}))
        self.url = url
        home = os.path.join(self.path, "home")
        os.mkdir(home)
        if shared:
            os.chmod(self.path, 0o755)
        self.socket = os.path.join(self.path, "run", "tfqd.sock")
        self.env = {name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}
        self.env.update(PATH=os.environ.get("PATH", "/usr/bin:/bin"), HOME=home, LANG="C.UTF-8", TZ="UTC",
                        AWS_ACCESS_KEY_ID="testkey", AWS_SECRET_ACCESS_KEY=SECRET, TF_CLI_CONFIG_FILE="/dev/null",
                        TF_IN_AUTOMATION="1", CHECKPOINT_DISABLE="1", TFQ_SOCKET=self.socket)
        self.env.update(env or {})

    @staticmethod
    def need_terraform():
        if not TERRAFORM:
            raise Skip(GET_TERRAFORM)

    # Begin and end

    def __enter__(self):
        try:
            self.server.start()
            self.url = self.url or self.server.url
            if self.wants_daemon:
                self.start_daemon()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, error, _trace):
        trouble = []
        try:
            self.server.set_faults([])
            for program in self.programs:
                program.end()
            trouble += self.stop_daemon()
            self.end_leftovers()
            log = self.log()
            if SANITIZER.search(log):
                trouble.append("a sanitizer has found something")
            if (error or trouble) and not isinstance(error, Skip):
                self.show(log)
        finally:
            self.server.stop()
            shutil.rmtree(self.path, ignore_errors=True)
            shutil.rmtree(self.vault(), ignore_errors=True)
        if trouble and kind is None:
            raise AssertionError("; ".join(trouble))

    @staticmethod
    def show(log):
        for line in log.splitlines()[-LOG_LINES:]:
            print(f"  | {line}")

    def start_daemon(self, *options, wait=True):
        """Return the program; wait until it serves its socket."""
        config = os.path.join(self.path, "tfqd.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(self.config)
        env = {name: value for name, value in self.env.items()
               if name in ("PATH", "HOME", "LANG", "TZ") or name.endswith("SAN_OPTIONS")}
        env.update(self.daemon_env)
        program = Program(self, [*self.daemon_prefix, TFQD, "--config", config, "--state-dir", os.path.join(self.path, "state"),
                                 "--runtime-dir", os.path.join(self.path, "run"), *options], "/", env)
        self.programs.remove(program)
        self.logs.append(program)
        if wait:
            self.daemon = program
            wait_for(lambda: self.answers() or not program.is_running(), "tfqd's answer")
            check(program.is_running(), f"tfqd ended at once: {program.err}")
        return program

    def answers(self):
        """One can connect to it before it has begun to listen, and to a child of one that was killed, which has not
        let go of its socket yet: it is up once it says something."""
        try:
            with Varlink(self.socket) as varlink:
                varlink.call("org.varlink.service.GetInfo")
                return True
        except (OSError, EOFError, ConnectionError):
            return False

    def is_served(self):
        try:
            with Varlink(self.socket):
                return True
        except OSError:
            return False

    def stop_daemon(self):
        """Ask it to stop; return what went wrong."""
        trouble = []
        daemon, self.daemon = self.daemon, None
        if daemon:
            if not daemon.is_running():
                return [f"tfqd has ended by itself with {daemon.process.returncode}"]
            daemon.send(signal.SIGTERM)
            end = time.monotonic() + STOP_SECONDS
            while daemon.is_running() and time.monotonic() < end:
                self.end_jobs()
                time.sleep(POLL_SECONDS)
            if daemon.is_running():
                trouble.append(f"tfqd did not stop within {STOP_SECONDS} s of SIGTERM")
            elif daemon.process.returncode != 0:
                trouble.append(f"tfqd ended with {daemon.process.returncode}")
        for program in self.logs:
            program.end()
        return trouble

    def kill_daemon(self):
        """As a crash does: it can tidy nothing up."""
        daemon, self.daemon = self.daemon, None
        daemon.send(signal.SIGKILL)
        daemon.process.wait()

    def restart_daemon(self):
        self.kill_daemon()
        self.start_daemon()

    def vault(self):
        """Where tfqd keeps environments: in its runtime directory if that is on a tmpfs, else in shared memory."""
        beside = os.path.join(self.path, "run", "environments")
        name = hashlib.sha256(os.path.join(self.path, "state").encode()).hexdigest()[:16]
        return beside if os.path.isdir(beside) else f"/dev/shm/tfqd-{os.geteuid()}/{name}"

    def end_jobs(self):
        """What still runs at the end of its case would keep tfqd from stopping."""
        try:
            for job in self.jobs():
                if job.get("pid"):
                    os.kill(job["pid"], signal.SIGKILL)
        except (OSError, EOFError, VarlinkError):
            pass  # it has just ended

    def end_leftovers(self):
        """Kill, by pid, what names our own folder in its command line or environment."""
        for pid, _ in self.leftovers():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def leftovers(self):
        """[(pid, command line)] of the processes that have to do with this world, this one left out."""
        mark = self.path.encode() + b"/"
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    command = file.read()
                with open(f"/proc/{entry}/environ", "rb") as file:
                    environment = file.read()
            except OSError:
                continue
            if (mark in command or mark in environment) and is_alive(int(entry)):
                found.append((int(entry), command.replace(b"\0", b" ").decode(errors="replace")))
        return found

    def log(self):
        return "".join(program.err + program.out for program in self.logs)

    def wait_log(self, text, seconds=WAIT_SECONDS):
        wait_for(lambda: text in self.log(), f"{text!r} in tfqd's log", seconds)

    # Programs

    def spawn(self, *argv, cwd=None, env=None, **options):
        return Program(self, list(argv), cwd or self.path, dict(self.env, **(env or {})), **options)

    def run(self, *argv, seconds=COMMAND_SECONDS, **options):
        return self.spawn(*argv, **options).wait(seconds)

    def tfq(self, *argv, **options):
        return self.run(TFQ, *argv, **options)

    def directory(self, name="work", **options):
        return Directory(self, name, **options)

    def fake_terraform(self, script):
        """A shell script in terraform's place; return the variable that puts it first in PATH."""
        folder = os.path.join(self.path, "fake")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, "terraform")
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + script)
        os.chmod(path, 0o755)
        return {"PATH": folder + ":" + self.env["PATH"]}

    def as_terraform(self):
        """tfq under the name of terraform; return the variable that puts it first in PATH."""
        folder = os.path.join(self.path, "as-terraform")
        os.makedirs(folder, exist_ok=True)
        os.symlink(TFQ, os.path.join(folder, "terraform"))
        return {"PATH": folder + ":" + self.env["PATH"]}

    # tfqd

    def call(self, method, **parameters):
        with Varlink(self.socket) as varlink:
            return varlink.call("io.tfqd." + method, **parameters)

    def jobs(self, everything=True):
        return self.call("List", all=everything)["jobs"]

    def job(self, number):
        return self.call("Info", id=number)["job"]

    def job_of(self, name):
        """The job that was labelled with @name, as Work.apply() does; what a variable holds is shown to nobody."""
        return next((job for job in self.jobs() if job.get("label") == name), None)

    def wait_job(self, name, *statuses, seconds=WAIT_SECONDS):
        def is_so():
            job = self.job_of(name)
            return job if job and (not statuses or job["status"] in statuses) else None
        return wait_for(is_so, f"job {name} is {' or '.join(statuses) or 'there'}", seconds)

    # The store

    def objects(self, bucket=BUCKET):
        return self.server.objects[bucket]

    def lock(self, key=KEY):
        """The lock's JSON, or None."""
        found = self.objects().get(key + ".tflock")
        return json.loads(found.body) if found else None

    def item(self, key=KEY, table=TABLE):
        """The lock's item in DynamoDB without its types, or None."""
        found = self.server.items[table].get(f"{BUCKET}/{key}")
        return {name: next(iter(value.values())) for name, value in found.items()} if found else None

    def held(self, key=KEY):
        """{where: LockInfo} of what is there of a lock: in "s3", in "dynamodb"."""
        item = self.item(key)
        found = {"s3": self.lock(key), "dynamodb": item and json.loads(item["Info"])}
        return {where: info for where, info in found.items() if info}

    def wait_unlocked(self, key=KEY, seconds=WAIT_SECONDS):
        wait_for(lambda: not self.held(key), f"the lock of {key} is let go", seconds)

    def state(self, key=KEY):
        found = self.objects().get(key)
        return json.loads(found.body) if found else None

    def lock_requests(self, key=KEY, applied=True):
        """What was asked of the lock file, in order; @applied: only what the server carried out."""
        return [entry for entry in self.requests(applied) if entry["key"] == key + ".tflock"]

    def requests(self, applied=True):
        """All of them, but those that try the store out. ["by"]: "tfqd" or "terraform"."""
        with self.server.lock:
            entries = [dict(entry) for entry in self.server.log if ".tfq-probe-" not in (entry["key"] or "")]
        for entry in entries:
            entry["by"] = "tfqd" if entry["headers"].get("user-agent", "").startswith("tfqd/") else "terraform"
        return [entry for entry in entries if not applied or entry["applied"] in (200, 204)]

    def lock_steps(self, key=KEY, by=None):
        """What was done to the lock, in the order in which the server did it: [(by, where, "take", "write" or
        "remove")]."""
        steps = []
        for entry in sorted(self.requests(), key=lambda entry: entry["applied_at"]):
            step = STEPS.get(entry["op"])
            if not step or entry["key"] not in (key + ".tflock", f"{BUCKET}/{key}") or by not in (None, entry["by"]):
                continue
            if step == "write" and ("if-none-match" in entry["headers"] or "attribute_not_exists" in entry["body"]):
                step = "take"
            steps.append((entry["by"], entry["service"], step))
        return steps


class CopiedPrograms:
    """Mixed into a World, before it: the programs lie where other users may run them, too. It changes what all worlds
    of the file run, so not for a case beside others."""

    def copy_programs(self):
        global TFQD, TFQ  # pylint: disable=global-statement
        folder = os.path.join(self.path, "programs")
        os.mkdir(folder)
        self.programs_before = TFQD, TFQ
        for name in ("tfqd", "tfq", "tfq-runner", "tfq-credentials"):
            shutil.copy(os.path.join(BUILD, name), folder)
        TFQD, TFQ = (os.path.join(folder, name) for name in ("tfqd", "tfq"))

    def __exit__(self, *error):
        global TFQD, TFQ  # pylint: disable=global-statement
        try:
            super().__exit__(*error)
        finally:
            TFQD, TFQ = self.programs_before


# --- the cases --------------------------------------------------------------------------

CASES = []


def case(sentence, seconds=CASE_SECONDS):
    def add(function):
        CASES.append((sentence, function, seconds))
        return function
    return add


FUTURES = {}


def parallel(sentence):
    """A case that runs beside the others of its kind in its file; all begin with the first one that main() wants."""
    def add(function):
        FUTURES[sentence] = function

        @case(sentence)
        def wait():
            if callable(FUTURES[sentence]):
                words = sys.argv[1:]
                pool = concurrent.futures.ThreadPoolExecutor(len(FUTURES))
                for other, start in FUTURES.items():
                    if not words or any(word in other for word in words):
                        FUTURES[other] = pool.submit(start)
            FUTURES[sentence].result()
        return wait
    return add


def on_alarm(_number, _frame):
    raise AssertionError("the case takes too long")


def run_case(sentence, function, seconds):
    started = time.monotonic()
    signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(seconds)
    try:
        function()
    except Skip as why:
        print(f"SKIP {sentence}: {why}", flush=True)
        return "skipped"
    except Exception as error:  # pylint: disable=broad-except
        signal.alarm(0)
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        place = " < ".join(str(frame.lineno) for frame in reversed(frames) if "/test_" in frame.filename)
        text = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"FAIL {sentence}: {text} (line {place})", flush=True)
        return "failed"
    finally:
        signal.alarm(0)
    print(f"PASS {sentence} ({time.monotonic() - started:.1f} s)", flush=True)
    return "passed"


def main():
    """Run the cases whose sentences contain one of the words on the command line; all if there is none."""
    words = sys.argv[1:]
    for program in (TFQD, TFQ, RUNNER):
        if not os.access(program, os.X_OK):
            sys.exit(f"{program} is not there: run make, or set TFQ_BUILD")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results = [run_case(*entry) for entry in CASES if not words or any(word in entry[0] for word in words)]
    print(", ".join(f"{results.count(kind)} {kind}" for kind in ("passed", "failed", "skipped")), flush=True)
    sys.exit(1 if "failed" in results else 0)
