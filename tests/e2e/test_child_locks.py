#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is queued, but locked by terraform itself: tfqd must not hold the lock then, or terraform would run into it."""
import http.server
import json
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import BUCKET, KEY, World, case, check, contains, main, same, wait_for  # noqa: E402

OTHER = "other/terraform.tfstate"
W1_KEY = f"env:/w1/{KEY}"


def ran(result, code=0):
    same(result.code, code, f"the exit code ({result.err or result.out[-300:]})")
    return result


def lock_history(world, key=KEY):
    """Who has taken ("tfqd apply", "terraform init") and let go the lock, in order; renewals are left out."""
    world.wait_unlocked(key)  # the end of tfq does not wait for that
    history = []
    for entry in world.lock_requests(key):
        if entry["method"] == "DELETE":
            history.append("free")
        elif entry["method"] == "PUT":
            lock = json.loads(entry["body"])
            taken = ("tfqd " if "Tfqd" in lock else "terraform ") + lock["Operation"]
            if not history or history[-1] != taken:
                history.append(taken)
    return history


def behind(world, work, name, *argv, stdin=None, seconds=1, **how):
    """Queue @argv behind a job for which tfqd holds the lock, and see that it waits. Return it, and that job."""
    holder = work.apply("holder", seconds)
    work.wait_started("holder")
    program = work.spawn("--label", name, *argv, stdin=stdin, **how)
    job = world.wait_job(name, "queued")
    same(job["ahead"]["id"], world.job_of("holder")["id"], "who is ahead")
    check(holder.is_running(), "the holder has ended already: nothing was seen to wait")
    return program, holder


# --- subcommands ------------------------------------------------------------------------

@case("console waits in its turn, then holds terraform's own lock for as long as it is open; the next one waits for it")
def console():
    with World() as world:
        work = world.directory()
        reader, writer = os.pipe()
        with os.fdopen(reader, "rb") as stdin, os.fdopen(writer, "wb", buffering=0) as keyboard:
            program, holder = behind(world, work, "console", "console", stdin=stdin)
            same(holder.wait().code, 0, "the holder's exit code")
            job = world.wait_job("console", "running")
            contains(job["lock"], "terraform console has no -lock flag")
            lock = wait_for(lambda: world.lock(), "console's own lock")
            same((lock["Operation"], "Tfqd" in lock), ("OperationTypeInvalid", False), "the lock")
            last = work.apply("last")
            world.wait_job("last", "queued")
            keyboard.write(b"1 + 41\n")
            same((program.is_running(), world.job_of("last")["status"]), (True, "queued"), "console, and the next one")
        same([program.wait().code, last.wait().code], [0, 0], f"the exit codes ({program.err}{last.err})")
        same(program.out, "42\n", "what console answered")
        same(lock_history(world), ["tfqd OperationTypeApply", "free", "terraform OperationTypeInvalid", "free",
                                   "tfqd OperationTypeApply", "free"], "who had the lock")


@case("workspace new waits in its turn, and terraform takes the new workspace's lock")
def workspace_new():
    with World() as world:
        work = world.directory()
        program, holder = behind(world, work, "new", "workspace", "new", "w1")
        same([holder.wait().code, program.wait().code], [0, 0], f"the exit codes ({program.err})")
        contains(world.job_of("new")["lock"], "terraform locks a new workspace by itself")
        same(lock_history(world), ["tfqd OperationTypeApply", "free"], "who had the lock of the selected one")
        same(lock_history(world, W1_KEY), ["terraform init", "free"], "who had the new workspace's lock")
        check(world.state(W1_KEY), "the new workspace has no state")


@case("a workspace whose state does not exist yet: terraform takes both of its locks, and tfqd the next job's")
def new_state():
    with World() as world:
        work = world.directory()
        env = {"TF_WORKSPACE": "w1"}
        first = work.apply("first", 1, env=env)
        work.wait_started("first")
        lock = world.lock(W1_KEY)
        same((lock["Operation"], "Tfqd" in lock), ("OperationTypeApply", False), "the lock while it runs")
        second = work.apply("second", env=env)
        same([first.wait().code, second.wait().code], [0, 0], f"the exit codes ({first.err}{second.err})")
        same(lock_history(world, W1_KEY), ["terraform init", "free", "terraform OperationTypeApply", "free",
                                           "tfqd OperationTypeApply", "free"], "who had the lock")


@case("a saved plan in a workspace whose state is gone is left to terraform, which makes one and says that they differ")
def new_state_of_plan():
    with World() as world:
        work = world.directory()
        env = {"TF_WORKSPACE": "w1"}
        ran(work.terraform("plan", "-input=false", "-out=p", "-var=name=planned", env=env))
        world.server.delete_object(BUCKET, W1_KEY)
        result = work.tfq("--label", "p", "apply", "-input=false", "-no-color", "p", env=env)
        same((result.code, world.job_of("p")["lock"]), (1, "the workspace has no state yet"), "it")
        contains(result.err, "Saved plan does not match the given state")
        world.wait_unlocked(W1_KEY)


# --- init -------------------------------------------------------------------------------

def change_key(work, key):
    work.write("main.tf", work.read("main.tf").replace(work.key, key))


@case("init -migrate-state waits in the old state's turn, and terraform locks both states")
def migrate():
    with World() as world:
        work = world.directory()
        holder = work.apply("holder", 1)
        work.wait_started("holder")
        change_key(work, OTHER)
        program = work.spawn("--label", "init", "init", "-migrate-state", stdin=b"yes\n")
        job = world.wait_job("init", "queued")
        same(job["state"], f"s3://tfbucket/{KEY}", "the state for which it waits")
        check(holder.is_running(), "nothing was seen to wait")
        same([holder.wait().code, program.wait().code], [0, 0], f"the exit codes ({program.err})")
        same(world.job_of("init")["lock"], "a migration locks two states", "why terraform locks")
        same(lock_history(world), ["tfqd OperationTypeApply", "free", "terraform migration source state", "free"],
             "who had the old lock")
        same(lock_history(world, OTHER), ["terraform migration destination state", "free"], "who had the new lock")
        same(world.state(OTHER)["outputs"]["name"]["value"], "holder", "what was migrated")


@case("init -force-copy migrates without a question; a job that waits for the old state is not run on the new one")
def force_copy():
    with World() as world:
        work = world.directory()
        ran(work.terraform(*work.apply_argv("first")))
        change_key(work, OTHER)
        elsewhere = world.directory("elsewhere")
        holder = elsewhere.apply("holder", 1)
        elsewhere.wait_started("holder")
        program = work.spawn("--label", "init", "init", "-force-copy", "-input=false")
        world.wait_job("init", "queued")
        last = work.apply("last")
        world.wait_job("last", "queued")
        same([holder.wait().code, program.wait().code, last.wait().code], [0, 0, 125], f"the exit codes ({last.err})")
        contains(last.err, "works on another state now", OTHER)
        same(world.state(OTHER)["outputs"]["name"]["value"], "holder", "what was migrated")
        world.wait_unlocked()


@case("init and init -reconfigure migrate nothing: they are terraform's at once, also while a job runs")
def reconfigure():
    with World() as world:
        work = world.directory(command="while [ ! -e end ]; do sleep 0.05; done")
        holder = work.apply("holder")
        work.wait_started("holder")
        ran(work.tfq("init", "-input=false"))
        change_key(work, OTHER)
        ran(work.tfq("init", "-reconfigure", "-input=false"))
        check(holder.is_running(), "they have waited")
        same(len(world.jobs()), 1, "the number of jobs")
        same(lock_history(world, OTHER), [], "who had the new lock")
        work.write("end", "")
        ran(holder.wait())
        same(world.state(KEY)["outputs"]["name"]["value"], "holder", "what the holder wrote")


@case("init -migrate-state from a local state that was never initialised is terraform's at once, under its own lock")
def migrate_from_local():
    with World() as world:
        work = world.directory(backend="")
        ran(work.tfq(*work.apply_argv("first")))
        work.write("main.tf", world.directory("other", init=False).read("main.tf"))
        ran(work.tfq("init", "-migrate-state", stdin=b"yes\n"))
        same(len(world.jobs()), 1, "the number of jobs")
        same(lock_history(world), ["terraform migration destination state", "free"], "who had the new lock")
        same(world.state()["outputs"]["name"]["value"], "first", "what was migrated")
        ran(work.tfq(*work.apply_argv("second")))
        same(world.jobs()[-1]["lock"], "tfqd", "who took the next lock")


@case("an explicit local backend is migrated to S3 in the turn of the local file")
def migrate_from_explicit_local():
    with World() as world:
        work = world.directory(backend='  backend "local" { path = "own.tfstate" }\n')
        holder = work.apply("holder", 1)
        work.wait_started("holder")
        work.write("main.tf", world.directory("other", init=False).read("main.tf"))
        program = work.spawn("--label", "init", "init", "-force-copy", "-input=false")
        job = world.wait_job("init", "queued")
        same(job["state"], f"local:{work.path}/own.tfstate", "the state for which it waits")
        check(holder.is_running(), "nothing was seen to wait")
        same([holder.wait().code, program.wait().code], [0, 0], f"the exit codes ({program.err})")
        same(lock_history(world), ["terraform migration destination state", "free"], "who had the new lock")
        same(world.state()["outputs"]["name"]["value"], "holder", "what was migrated")


# --- other backends ---------------------------------------------------------------------

class StateServer(http.server.ThreadingHTTPServer):
    """terraform's http backend: one state, one lock."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self, code, body=b""):
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def body(self):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def do_GET(self):
            self.answer(200 if self.server.state else 404, self.server.state)

        def do_POST(self):
            self.server.state = self.body()
            self.answer(200)

        def do_LOCK(self):
            body = self.body()
            with self.server.mutex:
                held, self.server.held = self.server.held, self.server.held or body
                self.server.log.append((423 if held else 200, json.loads(body)))
            self.answer(423 if held else 200, held)

        def do_UNLOCK(self):
            self.body()
            self.server.held = b""
            self.answer(200)

        def log_message(self, *_):
            pass

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.state, self.held, self.log, self.mutex = b"", b"", [], threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/state"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *what):
        self.shutdown()
        super().__exit__(*what)

    def backend(self):
        return "".join([f'  backend "http" {{\n    address        = "{self.url}"\n',
                        f'    lock_address   = "{self.url}"\n    unlock_address = "{self.url}"\n  }}\n'])


@case("with an http backend terraform takes the lock, in the order of the queue; a saved plan waits in the same line")
def http_backend():
    with StateServer() as server, World() as world:
        work = world.directory(backend=server.backend())
        ran(work.terraform("plan", "-input=false", "-out=p", "-var=name=planned"))
        server.log.clear()
        programs = [work.apply("one", 1)]
        work.wait_started("one")
        for name, argv in (("two", work.apply_argv("two", 0.3)),
                           ("planned", ["apply", "-input=false", "-no-color", "p"]), ("four", work.apply_argv("four"))):
            programs.append(work.spawn("--label", name, *argv))
            world.wait_job(name, "queued")
        same([program.wait().code for program in programs], [0, 0, 1, 0], "the exit codes")
        contains(programs[2].err, "Saved plan is stale")
        same(work.order(), ["one", "two", "four"], "the order")
        work.check_no_overlap()
        same([code for code, _ in server.log], [200] * 4, "what LOCK was answered: nobody had to try twice")
        same({(job["lock"], job["state"]) for job in world.jobs()},
             {("the backend has a lock of its own kind", world.jobs()[0]["state"])}, "their lines")
        same(json.loads(server.state)["outputs"]["name"]["value"], "four", "the state")


@case("with an http backend whose lock is held elsewhere terraform waits by itself, without an option of the user's")
def http_held():
    with StateServer() as server, World() as world:
        work = world.directory(backend=server.backend())
        server.held = json.dumps({"ID": "1", "Operation": "OperationTypeApply", "Who": "alice@ci", "Version": "1.11.4",
                                  "Created": "2026-01-01T00:00:00Z", "Path": "", "Info": ""}).encode()
        program = work.apply("waiting")
        wait_for(lambda: (423 in [code for code, _ in server.log]), "terraform's first try")
        check(program.is_running() and not work.has_started("waiting"), "it did not wait")
        server.held = b""
        ran(program.wait())
        same([code for code, _ in server.log][-1], 200, "what the last LOCK was answered")


# --- no lock ----------------------------------------------------------------------------

@case("S3 without a lock is refused with the two lines that fix it, and one of them does fix it")
def require_lock():
    with World() as world:
        work = world.directory(lock="# no lock")
        result = ran(work.tfq(*work.apply_argv("first")), 78)
        contains(result.err, "use_lockfile = true", "dynamodb_table")
        same(world.jobs(), [], "the jobs")
        work.write("main.tf", work.read("main.tf").replace("# no lock", "use_lockfile = true"))
        ran(work.tfq("init", "-reconfigure", "-input=false"))
        ran(work.tfq(*work.apply_argv("second")))
        same(world.jobs()[0]["lock"], "tfqd", "who took the lock")
        same(lock_history(world), ["tfqd OperationTypeApply", "free"], "who had the lock")


@case("S3 without a lock, where the administrator allows it: in order, and no lock is written by anybody")
def no_lock_allowed():
    with World("[queue]\nrequire_lock = no\n") as world:
        work = world.directory(lock="")
        programs = [work.apply("one", 1)]
        work.wait_started("one")
        for name in ("two", "three"):
            programs.append(work.apply(name, 0.2))
            world.wait_job(name, "queued")
        for program in programs:
            ran(program.wait())
        same(work.order(), ["one", "two", "three"], "the order")
        work.check_no_overlap()
        same({job["lock"] for job in world.jobs()}, {"no lock is configured"}, "who took the lock")
        same(lock_history(world), [], "who had the lock")


main()
