#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Who may do what: every method of the interface for every role, by a table; what each account's job is; how much of
tfqd one user can take up."""
import os
import re
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import KEY, Varlink, case, check, contains, main, ran, same, wait_for  # noqa: E402
from users import ALL, Users  # noqa: E402

OWN_KEY = "own/terraform.tfstate"
PLAIN, OWN = f"s3://tfbucket/{KEY}", f"s3://tfbucket/{OWN_KEY}"
CONFIG = f"""[access]
submitters = users
operators = games
viewers = audio
[state "{OWN}"]
operators = video
"""
REST = "while [ ! -e end ]; do sleep 0.05; done\n"

# Who: account, groups.
ROLES = {
    "nobody": ("www-data", ()), "viewer": ("mail", ("audio",)), "owner": ("nobody", ("users",)),
    "other": ("daemon", ("users",)), "operator": ("bin", ("games", "users")),
    "state operator": ("news", ("video", "users")), "root": ("root", ()),
}

# Method: [(what of it, on which state, {role: answer})]. "no" is NotAllowed; who is not named gets the answer of "else".
ANYBODY = {"else": "ok"}
VIEW = {"nobody": "no", "else": "ok"}
SUBMIT = {"nobody": "no", "viewer": "no", "else": "ok"}
TOUCH = {"owner": "ok", "operator": "ok", "root": "ok", "else": "no"}
TOUCH_OWN = {"owner": "ok", "state operator": "ok", "root": "ok", "else": "no"}


def operate(answer="ok", who="operator"):
    return {who: answer, "root": answer, "else": "no"}


TABLE = {
    "io.tfqd.Submit": [("", PLAIN, SUBMIT), ("high", PLAIN, operate()), ("high", OWN, operate(who="state operator"))],
    "io.tfqd.List": [("", None, VIEW)],
    "io.tfqd.Info": [("daemon", None, VIEW), ("job", PLAIN, VIEW)],
    "io.tfqd.Cancel": [("job", PLAIN, TOUCH), ("job", OWN, TOUCH_OWN),
                       ("job, with the other state's name", PLAIN, TOUCH)],
    "io.tfqd.Up": [("job", PLAIN, TOUCH), ("job", OWN, TOUCH_OWN)],
    "io.tfqd.Pause": [("all", None, operate()), ("state", PLAIN, operate()),
                      ("state", OWN, operate(who="state operator")),
                      ("state, with the other state's job", PLAIN, operate())],
    "io.tfqd.Resume": [("all", None, operate()), ("state", PLAIN, operate()),
                       ("state", OWN, operate(who="state operator"))],
    "io.tfqd.Unlock": [("state", PLAIN, operate("Busy")), ("state", OWN, operate("Busy", "state operator"))],
    "io.tfqd.History": [("", None, VIEW)],
    "io.tfqd.Events": [("", None, VIEW)],
    "io.tfqd.Metrics": [("", None, VIEW)],
    "io.tfqd.Who": [("state", PLAIN, VIEW), ("directory", PLAIN, SUBMIT)],
    "io.tfqd.Attach": [("job", PLAIN, VIEW), ("output", PLAIN, TOUCH), ("output", OWN, TOUCH_OWN)],
    "io.tfqd.Logs": [("job", PLAIN, TOUCH), ("job", OWN, TOUCH_OWN)],
    # By process, not by role: none of these is the job's runner.
    "io.tfqd.Hello": [("job", PLAIN, {"else": "impostor"})],
    "io.tfqd.Report": [("job", PLAIN, {"else": "closed"})],
    "org.varlink.service.GetInfo": [("", None, ANYBODY)],
    "org.varlink.service.GetInterfaceDescription": [("", None, ANYBODY)],
}


class Roles(Users):
    """On two states, of which one has operators of its own, runs a job of root's; others' wait behind it."""

    def __enter__(self):
        super().__enter__()
        self.work = {PLAIN: self.directory("plain", init="by hand"),
                     OWN: self.directory("own", key=OWN_KEY, init="by hand")}
        self.fake = self.fake_terraform(REST)
        for work in self.work.values():
            os.chmod(work.path, 0o777)
            first = int(ran(work.tfq("-d", "apply", env=self.fake)).out)
            wait_for(lambda number=first: self.job(number)["status"] == "running", "the start")
        return self

    def __exit__(self, *error):
        for job in self.jobs(everything=False):
            self.call("Cancel", id=job["id"])
        for work in self.work.values():
            work.write("end", "")
        super().__exit__(*error)

    def role(self, name):
        account, groups = ROLES[name]
        return self.account(account), [self.group(group) for group in groups]

    def ask_as(self, role, *question, **options):
        return self.ask(*self.role(role), *question, **options)

    def submission(self, state, **more):
        work = self.work[state]
        return dict({"protocol": 1, "argv": ["apply"], "directory": work.path, "state_directory": work.path,
                     "backend": work.read(".terraform/terraform.tfstate"), "workspace": "default", "umask": 0o22,
                     "environment": [f"{k}={v}" for k, v in {**self.env, **self.fake}.items()]}, **more)

    def waiting_job(self, state):
        answer, value = self.ask_as("owner", "io.tfqd.Submit", self.submission(state))
        same(answer, "ok", f"the owner's Submit ({value})")
        return value["job"]["id"]

    def question(self, method, what, state):
        """Return its parameters, once all is so that it can succeed."""
        name, other = method.rpartition(".")[2], OWN if state == PLAIN else PLAIN
        if name == "Submit":
            return self.submission(state, **({"priority": "high"} if what else {}))
        if name == "Who":
            return {"state": state} if what == "state" else self.submission(state)
        if name == "GetInterfaceDescription":
            return {"interface": "io.tfqd"}
        if what == "all" or what.startswith("state"):
            if name == "Resume":
                self.call("Pause", **({"state": state} if state else {}))
            more = {"id": "x"} if name == "Unlock" else {"id": self.waiting_job(other)} if "with" in what else {}
            return ({"state": state} if state else {}) | more
        if what.startswith("job") or what == "output":
            number = self.waiting_job(state)
            more = {"state": other} if "with" in what else {"attach": True} if what == "output" else {}
            return {"protocol": 1, "job": number, "phase": "new", "event": "ready"} \
                if name in ("Hello", "Report") else {"id": number, **more}
        return {}


@case("every method, for every role: carried out or refused as the table says, and every refusal is in the audit",
      seconds=240)
def table():
    with Roles(CONFIG, terraform=False) as world:
        known = {f"{interface}.{name}" for interface in ("io.tfqd", "org.varlink.service") for name in re.findall(
            r"^method (\w+)\(", world.ask_as("root", "org.varlink.service.GetInterfaceDescription",
                                             {"interface": interface})[1]["description"], re.M)}
        same(set(TABLE), known, "the methods of this table")
        wrong, refused = [], []
        for method, rows in TABLE.items():
            for what, state, answers in rows:
                for role in ROLES:
                    want = answers.get(role, answers["else"])
                    here, there = socket.socketpair()
                    with here, there:
                        got, value = world.ask_as(role, method, world.question(method, what, state),
                                                  fds=[there.fileno()] if what == "output" else [])
                    if got != ("NotAllowed" if want in ("no", "impostor") else want):
                        wrong.append(f"{method} ({what}) on {state} as {role}: {got} ({value}), not {want}")
                    elif want == "no":
                        refused.append((ROLES[role][0], f"{method.rpartition('.')[2]}: {value}"))
                    for job in world.jobs(everything=False):
                        if job["status"] == "queued":
                            world.call("Cancel", id=job["id"])
                    for state_name in ({}, {"state": PLAIN}, {"state": OWN}):
                        world.ask_as("root", "io.tfqd.Resume", state_name)
        check(not wrong, "\n".join(wrong))
        wait_for(lambda: len(world.audit("refused")) >= len(refused), "the last refusal in the audit")
        same([(event["user"], event["text"]) for event in world.audit("refused")], refused, "the refusals in the audit")
        same([event["user"] for event in world.audit("impostor")], [account for account, _ in ROLES.values()],
             "the impostors in it")
        for user, text in refused[:3]:
            contains(world.log(), f"Refused {user} (UID ", text)


@case("what tfq is not allowed to do ends with 77 and the reason")
def exit_codes():
    with Roles(CONFIG, terraform=False) as world:
        number = str(world.waiting_job(PLAIN))
        for role, argv, reason in (
                ("nobody", ["queue"], "ask for membership in the group"),
                ("nobody", ["apply"], "ask for membership in the group"),
                ("viewer", ["apply"], "ask for membership in the group"),
                ("viewer", ["logs", number], "ask for membership in the group"),
                ("other", ["logs", number], f"job {number} is nobody's"),
                ("other", ["attach", number], f"job {number} is nobody's"),
                ("other", ["cancel", number], f"job {number} is nobody's"),
                ("other", ["up", number], f"job {number} is nobody's"),
                ("other", ["pause", "-m", "x"], "ask for membership in the group"),
                ("other", ["resume", PLAIN], "ask for membership in the group"),
                ("owner", ["--priority", "high", "apply"], "priority high is for operators"),
                ("operator", ["pause", OWN], "ask for membership in the group"),
                ("state operator", ["pause", PLAIN], "ask for membership in the group")):
            user, groups = world.role(role)
            result = world.work[PLAIN].tfq(*argv, env=world.fake, **world.become(user, groups))
            same((result.code, result.out), (77, ""), f"the exit code and the output of {argv} as {role} ({result.err})")
            contains(result.err, reason)
        user, groups = world.role("state operator")
        ran(world.tfq("pause", OWN, **world.become(user, groups)))
        ran(world.tfq("resume", OWN, **world.become(user, groups)))


@case("three accounts of two groups at once: each job has its own user, groups, umask, directory and environment")
def identities():
    with Users("[access]\nsubmitters = users\n", terraform=False) as world:
        script = "exec >seen; id -u; id -g; id -G; umask; pwd -P; echo $MINE; env | grep -c ^MINE=; echo $HOME; " \
                 "touch made; cat /proc/self/loginuid >/dev/null 2>&1; sleep 0.3\n"
        fake = world.fake_terraform(script)
        people = []
        for i, (name, groups, mask) in enumerate((("nobody", ("users",), 0o027), ("daemon", ("users", "games"), 0o077),
                                                  ("bin", ("users",), 0o002))):
            user, gids = world.account(name), [world.group(group) for group in groups]
            work = world.directory(name, key=f"{name}/terraform.tfstate", init="by hand")
            world.give(work, user)

            def become(user=user, gids=gids, mask=mask):
                world.become(user, gids)["preexec"]()
                os.umask(mask)
            program = work.spawn("apply", env=dict(fake, MINE=f"value {i}", HOME=f"/home/{name}"), preexec=become)
            people.append((user, gids, mask, work, program, i))
        for user, gids, mask, work, program, i in people:
            ran(program.wait())
            uid, gid, groups, umask, cwd, mine, count, home = work.read("seen").splitlines()
            same((uid, gid), (str(user.pw_uid), str(user.pw_gid)), "who it is")
            same(sorted(map(int, groups.split())), sorted({user.pw_gid, *gids}), "the groups")
            same((int(umask, 8), cwd, mine, count, home), (mask, work.path, f"value {i}", "1", f"/home/{user.pw_name}"),
                 "umask, directory, environment")
            made = os.stat(os.path.join(work.path, "made"))
            same((made.st_uid, made.st_gid, made.st_mode & 0o777), (user.pw_uid, user.pw_gid, 0o666 & ~mask), "a file of it")
            number = next(job["id"] for job in world.jobs() if job["user"] == user.pw_name)
            output = os.path.join(world.path, "state", "jobs", str(number), "output")
            same((os.stat(output).st_uid, os.stat(output).st_mode & 0o777), (0, 0o600), "the recording")


@case("a user with too many connections is told so, at 75; their runners, root and others are let in")
def connections():
    limit = 20
    with Users(ALL + f"[daemon]\nmax_connections_per_user = {limit}\n", terraform=False) as world:
        work = world.directory(init="by hand")
        os.chmod(work.path, 0o777)
        fake = world.fake_terraform("echo started; " + REST)
        first = work.spawn("apply", env=fake)
        wait_for(lambda: "started" in first.out, "the start")
        held = [world.link(world.nobody) for _ in range(limit)]
        for link in held:
            link.call("org.varlink.service.GetInfo")
        result = world.tfq("queue", **world.become(world.nobody))
        same(result.code, 75, f"the exit code of one more ({result.err})")
        contains(result.err, f"you have {limit} connections to tfqd", "max_connections_per_user")
        parameters = {"protocol": 1, "argv": ["apply"], "directory": work.path, "state_directory": work.path,
                      "backend": work.read(".terraform/terraform.tfstate"), "workspace": "default", "umask": 0o22,
                      "environment": [f"{k}={v}" for k, v in {**world.env, **fake}.items()]}
        number = held[0].call("io.tfqd.Submit", **parameters)["job"]["id"]  # its runner is one more
        work.write("end", "")
        wait_for(lambda: world.job(number)["status"] == "done", "the end of their job")
        same(first.wait().code, 0, "the exit code of root's job")

        same(world.tfq("queue", **world.become(world.other)).code, 0, "the exit code of another user")
        roots = [Varlink(world.socket) for _ in range(limit + 5)]
        for link in roots:
            link.call("org.varlink.service.GetInfo")
        for link in held + roots:
            link.close()
        same(world.tfq("queue", **world.become(world.nobody)).code, 0, "the exit code once they are gone")
        contains(world.log(), f"Refusing a connection of nobody (UID {world.nobody.pw_uid}")
        same({(event["user"], event["text"]) for event in world.audit("refused")}, {("nobody", "too many connections")},
             "the audit")


@case("somebody who is refused on and on does not fill the audit")
def refusals():
    with Users("[access]\nsubmitters = users\nviewers = audio\n", terraform=False) as world:
        with world.link(world.nobody) as varlink:
            for _ in range(200):
                varlink.send("io.tfqd.List")
                same(varlink.receive()["error"], "io.tfqd.NotAllowed", "the answer")
        same(world.ask(world.other, [], "io.tfqd.List")[0], "NotAllowed", "another user's answer")
        wait_for(lambda: [event for event in world.audit("refused") if event["user"] == "daemon"], "the last one in the audit")
        events = world.audit("refused")
        same([event["user"] for event in events], ["nobody"] * 60 + ["daemon"], "who was refused")
        contains(events[59]["text"], "further ones of this minute are not listed")


main()
