#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tfq's command line: the table of commands, its help, the shells' completions, and the pages that describe it."""
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import (COMMAND_SECONDS, ROOT, TFQ, Skip, World, case, check, contains, lacks, main, ran,  # noqa: E402
                     same)
from terminal import BEGIN, FakeTfqd, Terminal, ended, out  # noqa: E402


def job(number, status="queued", **members):
    over = status in ("done", "failed", "cancelled")
    return {"id": number, "status": status, "uid": os.getuid(), "user": "me", "submitted": 1000, "position": 1,
            "of": 1, "command": "apply", "state": f"s3://b/{number}.tfstate", "directory": "/",
            "ended": 5000 if over else 0, "label": None, "reason": None, **members}


def answer_list(tfqd, jobs):
    link = tfqd.accept("List")
    everything = link.parameters.get("all")
    link.send({"parameters": {"jobs": [one for one in jobs if everything or not one["ended"]], "more": False}})


# --- options ----------------------------------------------------------------------------

@case("an unknown option or command is told so, with what is near; and so is a value that is missing or too much")
def unknown_words():
    with World(daemon=False, terraform=False) as world:
        for argv, words in (
                (["logs", "--sinse", "1h", "1"], "did you mean --since? 'tfq logs --help'"),
                (["logs", "--sinse=1h"], "did you mean --since?"),
                (["logs", "-follow"], "'-follow' is no option of tfq logs; did you mean --follow?"),
                (["logs", "-fx", "1"], "'-fx' is no option of tfq logs; 'tfq logs --help'"),
                (["--lable", "x", "apply"], "'--lable' is no option of tfq's; did you mean --label?"),
                (["atttach", "1"], "there is no subcommand 'atttach'; did you mean 'attach'?"),
                (["help", "retryy"], "did you mean 'retry'?"),
                (["help", "plan"], "terraform's"),
                (["logs", "-n"], "-n needs a value: N"),
                (["--label"], "--label needs a value: TEXT"),
                (["cancel", "--force=yes", "1"], "--force takes no value"),
                (["wait", "--timeout", "soon", "1"], "'soon' is no time"),
                (["wait", "--timeout=0", "1"], "'0' is no time"),
                (["attach", "1", "2"], "attach takes one job at a time; '2' is one too many"),
                (["who", "a", "b"], "who takes one state at a time; 'b' is one too many"),
                (["completion", "tcsh"], "bash, zsh or fish"),
                (["up"], "up which job?"), (["retry"], "retry which job?")):
            result = world.tfq(*argv)
            same((result.code, result.out), (64, ""), f"exit code and output of {argv} ({result.err})")
            contains(result.err, words)


@case("options stand anywhere before --, short ones together, values in their own word or not")
def forms():
    with World(daemon=False, terraform=False) as world, FakeTfqd(world) as tfqd:
        for argv, label, reason in (
                (["-dq", "--label=a", "-m", "w"], "a", "w"), (["-d", "-mwhy", "--label", "--x"], "--x", "why"),
                (["--detach", "--reason=", "--quiet"], None, "")):
            work = getattr(world, "work", None) or world.directory(init="by hand")
            world.work = work
            program = work.spawn(*argv, "apply", "--label")
            link = tfqd.accept("Submit")
            same((link.parameters["argv"], link.parameters.get("label"), link.parameters.get("reason")),
                 (["apply", "--label"], label, reason), "what is submitted")
            check("supersede" not in link.parameters, "supersede was not asked for")
            link.job("queued", more=False)
            same(ran(program.wait()).out, "7\n", "the output")
        program = world.spawn(TFQ, "info", "--", "#9")
        link = tfqd.accept("Info")
        same(link.parameters, {"id": 9}, "the question")
        link.error("NoSuchJob", "there is no job 9")
        same((program.wait().code, program.err), (64, "tfq: there is no job 9\n"), "the end of a job that vanished")


@case("--supersede is passed on")
def supersede():
    with World(daemon=False, terraform=False) as world, FakeTfqd(world) as tfqd:
        program = world.directory(init="by hand").spawn("-d", "--supersede", "plan")
        link = tfqd.accept("Submit")
        same(link.parameters.get("supersede"), True, "the flag")
        link.job("queued", more=False)
        ran(program.wait())


@case("--json tells what becomes of the job, a line each; with -d the job that was accepted")
def run_json():
    with World(daemon=False, terraform=False) as world, FakeTfqd(world) as tfqd:
        work = world.directory(init="by hand")
        program = work.spawn("--json", "-d", "plan")
        tfqd.accept("Submit").job("queued", more=True)
        result = ran(program.wait())
        same((json.loads(result.out)["status"], result.out.count("\n"), result.err), ("queued", 1, ""), "with -d")

        program = work.spawn("--json", "plan")
        link = tfqd.accept("Submit")
        runner = link.runner()
        link.job("queued", position=2, of=2, message="a reason")
        link.job("queued", position=2, of=2, message="a reason")
        link.job("queued", position=1, of=2)
        link.job("running")
        runner.send(BEGIN + out("terraform's\n") + ended(0))
        runner.close()
        link.job("done", more=False, exit_code=0)
        result = program.wait()
        same((result.code, result.out), (0, "terraform's\n"), "the exit code and stdout")
        same([(job["status"], job.get("position")) for job in map(json.loads, result.err.splitlines())][:3],
             [("queued", 2), ("queued", 1), ("running", None)], "what is told")
        contains(result.err.splitlines()[-1], '"status":"done"', '"exit_code":0')


# --- help -------------------------------------------------------------------------------

def commands_of(world):
    """{name: {its options}}, as the help tells them; "" is tfq itself."""
    text = ran(world.tfq("--help")).out
    head, _, rest = text.partition("\nCommands")
    names = re.findall(r"^  ([a-z]+)\b", rest, re.M)
    found = {"": options_in(head)}
    for name in names:
        found[name] = options_in(ran(world.tfq("help", name)).out)
    return found


def options_in(text):
    found = set()
    for letter, name in re.findall(r"^  (?:-(\w), |    )--([a-z-]+)", text, re.M):
        found |= {"--" + name} | ({"-" + letter} if letter else set())
    return found - {"--help", "-h"}


@case("tfq help COMMAND and tfq COMMAND --help list its options, also by an alias")
def help_pages():
    with World(daemon=False, terraform=False) as world:
        commands = commands_of(world)
        same(commands["logs"], {"-f", "--follow", "-n", "--lines", "--since", "--timestamps"}, "those of logs")
        check("--supersede" in commands[""] and "--supersede" in commands["retry"], "the options of a run")
        for name in commands:
            if name:
                text = ran(world.tfq(name, "--help")).out
                same(ran(world.tfq("help", name)).out, text, "the other way to say it")
                check(text.startswith(f"tfq {name} "), f"the title of {name}: {text}")
        same(ran(world.tfq("help", "ps")).out, ran(world.tfq("queue", "-h")).out, "by its alias")
        same(ran(world.tfq("help")).out, ran(world.tfq("--help")).out, "all")


@case("help fits a terminal of 20 columns, and one of 60")
def narrow_help():
    with World(daemon=False, terraform=False) as world:
        for columns in (20, 60):
            for argv in ((), ("logs",), ("retry",)):
                terminal = Terminal(world, NarrowDirectory(world, columns), "help", *argv)
                same(terminal.wait(), 0, "the exit code")
                lines = [line.rstrip("\r") for line in terminal.shown.split("\n")]
                wide = [line for line in lines if len(line) > columns]
                check(len(lines) > 5 and not wide, f"too wide for {columns}: {wide}")


class NarrowDirectory:
    """Starts tfq on a terminal whose width it sets before."""

    def __init__(self, world, columns):
        self.world, self.columns = world, columns

    def spawn(self, *argv, preexec=None, **options):
        def narrow():
            preexec()
            subprocess.run(["stty", "cols", str(self.columns)], stdin=1, check=True)
        return self.world.spawn(TFQ, *argv, preexec=narrow, **options)


@case("a pipe that nobody reads ends tfq quietly; a full disk does not pass unnoticed")
def closed_output():
    with World(daemon=False, terraform=False) as world, FakeTfqd(world) as tfqd:
        many = [job(number, command="x" * 500) for number in range(1, 400)]
        for ignored in (False, True):
            reader, writer = os.pipe()
            os.close(reader)
            argv = [TFQ, "info", "--json", "1"]
            if ignored:  # as a service's child has it
                argv = ["sh", "-c", 'trap "" PIPE; exec "$@"', "sh", *argv]
            with os.fdopen(writer, "wb") as out:
                program = world.spawn(*argv, stdout=out)
            tfqd.accept("Info").send({"parameters": {"job": many[0]}})
            code = program.process.wait(COMMAND_SECONDS)
            check(code in (-13, 141), f"exit code {code}")
            same(program.err, "", "what it says")
        with open("/dev/full", "wb") as out:
            program = world.spawn(TFQ, "info", "--json", "1", stdout=out)
        tfqd.accept("Info").send({"parameters": {"job": many[0]}})
        same(program.process.wait(COMMAND_SECONDS), 125, "the exit code on a full disk")
        contains(program.err, "No space left")


# --- versions ---------------------------------------------------------------------------

@case("a tfqd of another version: every command says which side is to be updated")
def versions():
    with World(daemon=False, terraform=False) as world, FakeTfqd(world) as tfqd:
        for argv in (["queue"], ["info", "1"], ["attach", "1"], ["logs", "1"], ["wait", "1"], ["cancel", "1"],
                     ["retry", "1"], ["up", "1"], ["pause"], ["resume"], ["who", "s"],
                     ["unlock", "s", "--id", "x"]):
            program = world.spawn(TFQ, *argv)
            link = tfqd.accept()
            link.send({"error": "org.varlink.service.MethodNotFound", "parameters": {"method": "io.tfqd." + link.method}})
            same(program.wait().code, 125, f"the exit code of {argv}")
            contains(program.err, f"the tfqd that runs does not know io.tfqd.{link.method}: it is older than this tfq",
                     "update and restart tfqd")
        program = world.spawn(TFQ, "pause")
        tfqd.accept("Pause").error("VersionMismatch", "update the first one")
        same((program.wait().code, program.err), (125, "tfq: update the first one\n"), "tfqd's own words")
        program = world.spawn(TFQ, "pause")
        tfqd.accept("Pause").send({"error": "org.varlink.service.InvalidParameter", "parameters": {"parameter": "x"}})
        program.wait()
        contains(program.err, 'does not understand "x"', "update the older one")


# --- which job --------------------------------------------------------------------------

@case("a job is named by its number, a label that it alone has, or by nothing if no other fits")
def names():
    mine = job(3, "running", label="net")
    jobs = [job(1, "done", label="net"), job(2, "done", label="old"), mine, job(4, uid=4711, label="other"),
            job(5, "done", label="twice"), job(6, "failed", label="twice")]
    with World(daemon=False, terraform=False) as world, FakeTfqd(world) as tfqd:
        def asks(method, *argv, lists=1, jobs=jobs):
            program = world.spawn(TFQ, *argv)
            for _ in range(lists):
                answer_list(tfqd, jobs)
            link = tfqd.accept(method)
            number = link.parameters["id"]
            link.error("NoSuchJob", "gone")
            same(program.wait().code, 64, "the exit code")
            return number

        same(asks("Info", "info", "net"), 3, "a label: the one that is not over")
        same(asks("Info", "info", "old"), 2, "a label of one that is over")
        same(asks("Cancel", "cancel", "other"), 4, "another user's")
        same(asks("Attach", "attach"), 3, "the user's only one")
        same(asks("Logs", "logs"), 3, "the user's only one")
        same(asks("Attach", "wait"), 3, "the user's only one")
        same(asks("Logs", "logs", jobs=jobs[1:2]), 2, "the only one at all")
        same(asks("Info", "info", "#42", lists=0), 42, "a number")


@case("a name that fits several jobs, or none, is told so, with those that fit")
def ambiguous():
    many = [job(number, label="twice" if number < 3 else None) for number in range(1, 14)]
    with World(daemon=False, terraform=False) as world, FakeTfqd(world) as tfqd:
        def refused(*argv, jobs=many):
            program = world.spawn(TFQ, *argv)
            answer_list(tfqd, jobs)
            result = program.wait()
            same((result.code, result.out), (64, ""), f"exit code and output of {argv}")
            return result.err

        contains(refused("attach", "twice"), "labelled 'twice'; which one?", "#1 queued: apply on s3://b/1.tfstate", "#2")
        text = refused("logs")
        contains(text, "logs which job?", "#13", "#4", "and 3 more")
        lacks(text, "#3 ")
        contains(refused("wait", jobs=[]), "wait which job? You have none that waits or runs")
        contains(refused("cancel", "thrice"), "'thrice' is no job's number, and no job's label")
        for word in ("0", "#0", "99999999999999999999", ""):
            same(world.tfq("info", word).code, 64, f"the exit code of {word!r}, for which nobody is asked")
        result = world.tfq("cancel")
        same(result.code, 64, "cancel of nothing, in a script")
        contains(result.err, "cancel which job?")
        tfqd.stop()
        same(world.tfq("attach").code, 69, "without a tfqd")
        same(world.tfq("info", "label").code, 69, "without a tfqd")
        tfqd.start()


@case("cancel without a number asks nobody on a terminal if only one job fits")
def cancel_only():
    with World(daemon=False, terraform=False) as world, FakeTfqd(world) as tfqd:
        terminal = Terminal(world, NarrowDirectory(world, 80), "cancel")
        answer_list(tfqd, [job(8)])
        link = tfqd.accept("Cancel")
        same(link.parameters["id"], 8, "its number")
        link.send({"parameters": {"job": job(8, "cancelled", ended=2 ** 60)}})
        same(terminal.wait(), 0, "the exit code")
        contains(terminal.shown, "Job 8: cancelled.")


# --- pause, resume, up, retry -----------------------------------------------------------

@case("pause, resume and up ask tfqd for what was typed, and say what came of it")
def operators():
    with World(daemon=False, terraform=False) as world, FakeTfqd(world) as tfqd:
        for argv, method, parameters, words in (
                (["pause"], "Pause", {}, "Nothing new starts on any state, until 'tfq resume'."),
                (["pause", "s3://b/k", "-m", "db move"], "Pause", {"state": "s3://b/k", "reason": "db move"},
                 "Nothing new starts on s3://b/k, until 'tfq resume s3://b/k'."),
                (["resume"], "Resume", {}, "The queues go on that 'tfq pause' without a state has stopped."),
                (["resume", "s3://b/k"], "Resume", {"state": "s3://b/k"}, "The queue of s3://b/k goes on."),
                (["up", "12"], "Up", {"id": 12}, "Job 12: place 2 of 5 on s3://b/12.tfstate.")):
            program = world.spawn(TFQ, *argv)
            link = tfqd.accept(method)
            same(link.parameters, parameters, "the question")
            link.send({"parameters": {"job": job(12, position=2, of=5)} if method == "Up" else {}})
            same(ran(program.wait()).out, words + "\n", "the output")
        program = world.spawn(TFQ, "pause")
        tfqd.accept("Pause").error("NotAllowed", "only operators may pause")
        same((program.wait().code, program.err), (77, "tfq: only operators may pause\n"), "the refusal")


@case("retry queues the same words in the same directory, with the present environment")
def retry():
    with World(daemon=False, terraform=False) as world, FakeTfqd(world) as tfqd:
        work = world.directory(init="by hand")
        old = job(3, "failed", argv=["apply", "-var=a b", "-auto-approve"], label="net", reason="why",
                  directory=work.path)
        for argv, expected in ((["-d", "retry", "3"], None), (["retry", "-d", "3"], ("net", "why")),
                               (["retry", "3", "-dm", "again", "--label", "new"], ("new", "again"))):
            program = world.spawn(TFQ, *argv, env={"TF_VAR_x": "now"})
            if not expected:
                same(program.wait().code, 64, "an option before a command of ours")
                contains(program.err, "behind")
                continue
            link = tfqd.accept("Info")
            same(link.parameters, {"id": 3}, "the question")
            link.send({"parameters": {"job": old}})
            link = tfqd.accept("Submit")
            same((link.parameters["argv"], link.parameters["directory"]), (old["argv"], work.path), "the words")
            same((link.parameters["label"], link.parameters["reason"]), expected, "label and reason")
            check("TF_VAR_x=now" in link.parameters["environment"], "the environment")
            check("PWD=" + work.path in link.parameters["environment"], "PWD")
            link.job("queued", more=False)
            same(ran(program.wait()).out, "7\n", "the output")
            contains(program.err, f"again, in {work.path}: apply")


@case("retry says why it cannot: not over, somebody else's, words that are not kept, a directory that is gone")
def no_retry():
    with World(daemon=False, terraform=False) as world, FakeTfqd(world) as tfqd:
        for fields, code, words in (
                ({"status": "running"}, 64, "#3 is running; 'tfq attach 3' shows it"),
                ({"uid": 4711, "user": "alice"}, 64, "#3 was alice's, and only alice can queue it again"),
                ({"argv": None, "command": "apply -var=x=..."}, 64, "only what is no secret: apply -var=x=..."),
                ({"argv": [], "command": "apply"}, 64, "Type it again, in /gone"),
                ({}, 78, "cannot enter /gone")):
            status = fields.pop("status", "done")
            program = world.spawn(TFQ, "retry", "3")
            tfqd.accept("Info").send({"parameters": {"job": job(3, status, **{"argv": ["apply"], "directory": "/gone",
                                                                              **fields})}})
            same(program.wait().code, code, f"the exit code with {fields} ({program.err})")
            contains(program.err, words)


@case("with tfqd: a pause holds the next job back until resume, up overtakes, supersede takes one's own out")
def with_tfqd():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform('echo "$@" >> ran\nwhile [ ! -e end ]; do sleep 0.05; done\n')
        ran(work.tfq("pause", "-m", "the db moves"))
        for options, words in (([], "plan -out=a"), ([], "plan -out=b"), (["--supersede"], "apply"),
                               (["--label", "last"], "refresh")):
            ran(work.tfq("-d", *options, *words.split(), env=env))
        same({one["status"] for one in world.jobs()}, {"queued"}, "what they are")
        contains(ran(work.tfq("up", "last")).out, "Job 4: place 1 of 4 on s3://")
        ran(work.tfq("-d", "--supersede", "plan", "-out=c", env=env))
        same([one["status"] for one in world.jobs()], ["cancelled", "cancelled", "queued", "queued", "queued"],
             "the plans before it")
        work.write("end", "")
        contains(ran(work.tfq("resume")).out, "The queues go on")
        for number in (3, 4, 5):
            ran(work.tfq("wait", str(number)))
        same([line.split()[0] for line in work.read("ran").splitlines()], ["refresh", "apply", "plan"], "their order")
        state = world.job(3)["state"]
        contains(ran(work.tfq("pause", state)).out, f"Nothing new starts on {state}")
        ran(work.tfq("-d", "apply", env=env))
        same(world.job(6)["status"], "queued", "the one on the state that is paused")
        ran(work.tfq("resume", state))
        ran(work.tfq("wait", "6"))


@case("with tfqd: retry runs the same words again; not those in which a secret was")
def retry_with_tfqd():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform('echo "$TF_VAR_x: $@" >> ran\nexit $TF_VAR_x\n')
        same(work.tfq("--label", "a b", "apply", "-target=a.b", env=dict(env, TF_VAR_x="3")).code, 3, "the exit code")
        other = world.directory("other", init="by hand", key="other")
        ran(other.tfq("retry", "-q", "a b", env=dict(env, TF_VAR_x="0")))
        lines = [line.replace(" -lock=false", "") for line in work.read("ran").splitlines()]
        same(lines, ["3: apply -target=a.b", "0: apply -target=a.b"], "what ran")
        same(world.job(2)["label"], "a b", "the label")
        same(work.tfq("apply", "-var=password=hunter2", env=dict(env, TF_VAR_x="3")).code, 3, "the exit code")
        result = other.tfq("retry", "3")
        same(result.code, 64, "the exit code")
        contains(result.err, "only what is no secret: apply -var=password=", "Type it again, in " + work.path)
        lacks(result.err, "hunter2")


# --- completions ------------------------------------------------------------------------

EVIL = "s3://b/$(touch pwned)`touch pwned`;x"


class Shells:
    """A world in which shells find tfq, and a fake tfqd that answers their questions."""

    def __init__(self, world):
        self.world = world
        folder = os.path.join(world.path, "bin")
        os.mkdir(folder)
        os.symlink(TFQ, os.path.join(folder, "tfq"))
        self.env = dict(world.env, PATH=folder + ":" + world.env["PATH"], TERM="dumb", XDG_DATA_HOME=world.path,
                        XDG_CONFIG_HOME=world.path)
        self.scripts = {}
        for shell in ("bash", "zsh", "fish"):
            self.scripts[shell] = os.path.join(world.path, f"tfq.{shell}")
            with open(self.scripts[shell], "w", encoding="utf-8") as file:
                file.write(ran(world.tfq("completion", shell)).out)

    def run(self, shell, script, lists=(), tfqd=None):
        program = self.world.spawn(shell, *(["--norc", "--noprofile"] if shell == "bash" else []), "-c", script,
                                   env=self.env)
        for jobs in lists:
            answer_list(tfqd, jobs)
        result = program.wait()
        same(result.err, "", f"what {shell} says")
        return result.out.split("\n")[:-1]

    def bash(self, line, **how):
        """The words of @line as readline splits them; what bash would put in place of the last one."""
        script = 'source "$TFQ_SCRIPT"; COMP_LINE=$TFQ_LINE; COMP_POINT=${#COMP_LINE}; eval "COMP_WORDS=($TFQ_WORDS)"\n' \
                 'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _tfq; printf "%s\\n" "${COMPREPLY[@]}"'
        words = [word for part in line.split(" ") for word in (re.findall(r"[=:]+|[^=:]+", part) or [""])]
        self.env.update(TFQ_SCRIPT=self.scripts["bash"], TFQ_LINE=line, TFQ_WORDS=" ".join(f"'{word}'" for word in words))
        return sorted(word for word in self.run("bash", script, **how) if word)

    def fish(self, line, **how):
        self.env.update(TFQ_SCRIPT=self.scripts["fish"], TFQ_LINE=line)
        found = self.run("fish", 'source "$TFQ_SCRIPT"; complete -C "$TFQ_LINE"', **how)
        return sorted(word.split("\t")[0] for word in found)


def need(shell):
    if not shutil.which(shell):
        raise Skip(f"there is no {shell}; get the package {shell}")


STATIC = (
    ("tfq ca", ["cancel"]), ("tfq -d --label x ap", ["apply"]), ("tfq -m why w", ["wait", "who", "workspace"]),
    ("tfq logs --si", ["--since"]), ("tfq --sup", ["--supersede"]), ("tfq retry --sup", ["--supersede"]),
    ("tfq --priority h", ["high"]), ("tfq state mo", ["move"]), ("tfq state r", ["remove", "replace-provider", "rm"]),
    ("tfq workspace n", ["new"]), ("tfq completion z", ["zsh"]), ("tfq help can", ["cancel"]),
    ("tfq queue --j", ["--json"]), ("tfq events --fo", ["--follow"]), ("tfq history --un", ["--until"]), ("tfq attach --det", ["--detach-keys"]),
)


@case("bash completes commands, options, their values, and terraform's subcommands")
def bash_static():
    with World(daemon=False, terraform=False) as world:
        shells = Shells(world)
        for line, words in STATIC + (("tfq --priority=", ["high", "low", "normal"]), ("tfq --priority=l", ["low"]),
                                     ("tfq ls --a", ["--all"]), ("tfq logs -n 5", []), ("tfq logs --since=1", []),
                                     ("tfq -chdir=x --l", ["--label"]), ("tfq queue ", [])):
            same(shells.bash(line), sorted(words), f"what follows {line!r}")


@case("fish completes the same")
def fish_static():
    need("fish")
    with World(daemon=False, terraform=False) as world:
        shells = Shells(world)
        for line, words in STATIC + (("tfq --priority=l", ["--priority=low"]), ("tfq ls --a", ["--all"])):
            same(shells.fish(line), sorted(words), f"what follows {line!r}")


@case("job numbers and states come from tfqd, and what others have named is never carried out")
def dynamic():
    jobs = [job(41, "done"), job(42, state=EVIL, label="`touch pwned`"), job(43, "running")]
    with World(daemon=False, terraform=False) as world, FakeTfqd(world) as tfqd:
        shells = Shells(world)

        def asked(ask, line):
            return ask(line, lists=[jobs], tfqd=tfqd)

        for ask in [shells.bash] + ([shells.fish] if shutil.which("fish") else []):
            same(asked(ask, "tfq cancel "), ["42", "43"], "those that wait or run")
            same(asked(ask, "tfq cancel 42 4"), ["42", "43"], "another one")
            same(asked(ask, "tfq logs -f 4"), ["41", "42", "43"], "all of them")
            found = asked(ask, "tfq resume s3://b/4")
            same([word.rpartition("/")[2] for word in found], ["41.tfstate", "43.tfstate"], "states")
        same(asked(shells.bash, "tfq resume s3://b/4"), ["//b/41.tfstate", "//b/43.tfstate"], "what follows the colon")
        found = asked(shells.bash, "tfq who s3://b/")
        check("//b/\\$\\(touch\\ pwned\\)\\`touch\\ pwned\\`\\;x" in found, f"it is quoted: {found}")
        check(not os.path.exists(os.path.join(world.path, "pwned")), "a state's name was carried out")


@case("without a tfqd, or with one that hangs, completion is quick and silent")
def silent():
    with World(daemon=False, terraform=False) as world:
        for kind in ("jobs", "all-jobs", "states", "nonsense"):
            result = ran(world.tfq("__complete", kind))
            same((result.out, result.err), ("", ""), "what it says")
        ran(world.tfq("__complete"))
        with FakeTfqd(world):
            started = time.monotonic()
            result = ran(world.tfq("__complete", "jobs"))
            same((result.out, result.err), ("", ""), "what it says")
            check(time.monotonic() - started < 10, "it does not wait for ever")


class Zsh:
    """One on a terminal, with a key that writes down what stands on its line."""

    def __init__(self, shells):
        self.line_file = os.path.join(shells.world.path, "line")
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execvpe("zsh", ["zsh", "-f", "-i"], dict(shells.env, TERM="vt100"))
        self.shown = b""
        self.type("unsetopt zle_bracketed_paste; autoload -U compinit && compinit -u -D\n"
                  f"write_line() {{ print -r -- $BUFFER >{self.line_file}.new; mv {self.line_file}.new {self.line_file} }}\n"
                  "zle -N write_line; bindkey '^X^W' write_line; bindkey '^X^K' kill-buffer\n"
                  f"source {shells.scripts['zsh']}; PS1='ready''> '\n")
        self.read_until(lambda: b"ready> " in self.shown, "its prompt")

    def type(self, text):
        os.write(self.master, text.encode())

    def read_until(self, condition, what):
        end = time.monotonic() + COMMAND_SECONDS
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"zsh does not show {what}, but {self.shown[-900:]!r}")
            if select.select([self.master], [], [], 0.05)[0]:
                self.shown += os.read(self.master, 65536)

    def complete(self, line):
        """What becomes of @line by a tab."""
        if os.path.exists(self.line_file):
            os.unlink(self.line_file)
        self.type("\x18\x0b" + line + "\t\x18\x17")
        self.read_until(lambda: os.path.exists(self.line_file), f"the end of {line!r}")
        with open(self.line_file, encoding="utf-8") as file:
            return file.read().rstrip("\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.master)


@case("zsh completes the same, on a terminal")
def zsh():
    need("zsh")
    with World(daemon=False, terraform=False) as world, FakeTfqd(world) as tfqd:
        shells = Shells(world)
        with Zsh(shells) as terminal:
            for line, end in (("tfq ca", "tfq cancel "), ("tfq -d --label x appl", "tfq -d --label x apply "),
                              ("tfq logs --si", "tfq logs --since="), ("tfq --sup", "tfq --supersede "),
                              ("tfq --priority h", "tfq --priority high "), ("tfq --priority=h", "tfq --priority=high "),
                              ("tfq state mov", "tfq state move "), ("tfq completion z", "tfq completion zsh "),
                              ("tfq ps --al", "tfq ps --all "), ("tfq help can", "tfq help cancel "),
                              ("tfq retry --sup", "tfq retry --supersede ")):
                same(terminal.complete(line), end, f"what becomes of {line!r}")
            answers = [job(42, "running", state=EVIL, label="net")]
            for line, end in (("tfq cancel ", "tfq cancel 42 "), ("tfq logs -f 4", "tfq logs -f 42 "),
                              ("tfq resume ", "tfq resume s3://b/\\$\\(touch\\ pwned\\)\\`touch\\ pwned\\`\\;x ")):
                thread = threading.Thread(target=answer_list, args=(tfqd, answers))
                thread.start()
                same(terminal.complete(line), end, f"what becomes of {line!r}")
                thread.join(COMMAND_SECONDS)
        check(not os.path.exists(os.path.join(world.path, "pwned")), "a state's name was carried out")


@case("make install puts the completions where shells look, and uninstall removes them")
def installed():
    with World(daemon=False, terraform=False) as world:
        target = os.path.join(world.path, "root")
        make = ["make", "-C", ROOT, "-o", "all", f"BUILD={os.path.dirname(TFQ)}", f"DESTDIR={target}"]
        env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        ran(world.run(*make, "install", env=env))
        for shell, path in (("bash", "bash-completion/completions/tfq"), ("zsh", "zsh/site-functions/_tfq"),
                            ("fish", "fish/vendor_completions.d/tfq.fish")):
            with open(os.path.join(target, "usr/share", path), encoding="utf-8") as file:
                same(file.read(), world.tfq("completion", shell).out, path)
        ran(world.run(*make, "uninstall", env=env))
        left = [name for _, _, names in os.walk(os.path.join(target, "usr/share")) for name in names]
        same(left, [], "what is left")


# --- the pages --------------------------------------------------------------------------

def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def page_options(line):
    """What an .It line or a synopsis of tfq(1) has: Fl f , -follow Oc Oo Fl -since Ar time"""
    return {"-" + word for word in re.findall(r"(?<=[ ,])(-[a-z][a-z-]*|(?<=Fl )[a-z])(?= |$)", line)}


def page_commands():
    page = read("man/tfq.1")
    head, _, rest = page.partition("\n.Ss Commands\n")
    found = {"": set()}
    for line in re.findall(r"^\.It (Fl .*)$", head.partition("\n.Sh DESCRIPTION\n")[2], re.M):
        found[""] |= page_options(" " + line)
    for name, line in re.findall(r"^\.It Cm ([a-z]+)(.*)$", rest.partition("\n.Ss ")[0], re.M):
        found[name] = page_options(line)
    return found


@case("tfq(1) has every command and every option of the table, and no others")
def page_and_table():
    with World(daemon=False, terraform=False) as world:
        table, page = commands_of(world), page_commands()
        page[""] -= {"--help"}
        run = table[""] - {"--version"}
        if not page["retry"] & run:  # it says so in words
            page["retry"] |= run
        same(sorted(page), sorted(table), "the commands in the page")
        for name in table:
            same(sorted(page[name]), sorted(table[name]), f"the options of {name or 'a run'} in the page")


@case("every command of the table is in the synopsis of tfq(1)")
def synopsis():
    with World(daemon=False, terraform=False) as world:
        text = read("man/tfq.1").partition("\n.Sh SYNOPSIS\n")[2].partition("\n.Sh DESCRIPTION\n")[0]
        found = set(re.findall(r"^\.(?:Op )?Cm ([a-z]+)", text, re.M))
        same(sorted(found), sorted(name for name in commands_of(world) if name), "the commands in the synopsis")


@case("tfqd.conf(5) and conf/tfqd.conf have every key that tfqd knows, and no others")
def keys():
    table = read("daemon/config_table.c")
    known = set(re.findall(r'\bROW\("([a-z]+)", "([a-z0-9_]+)"', table))
    known |= {("state", key) for key in re.findall(r'\bSTATE_ROW\("([a-z0-9_]+)"', table)}
    check(len(known) > 30, f"only {len(known)} keys were found")

    page, section = set(), None
    for line in read("man/tfqd.conf.5").splitlines():
        if line.startswith((".Ss ", ".Sh ")):
            match = re.match(r"\.Ss \[([a-z]+)", line)
            section = match and match[1]
        match = re.match(r"\.It Ic ([a-z0-9_]+) =", line)
        if match and section:
            page.add((section, match[1]))
    same(sorted(page ^ known), [], "what is only in one of tfqd.conf(5) and the table")

    file, section = set(), None
    for line in read("conf/tfqd.conf").splitlines():
        match = re.match(r"#?\[([a-z]+)", line)
        section = match[1] if match else section
        match = re.match(r"#([a-z0-9_]+) =", line)
        if match:
            file.add((section, match[1]))
    same(sorted(file ^ known), [], "what is only in one of conf/tfqd.conf and the table")


main()
