#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is in the journal: its fields, the catalog's explanations, what jobs print; and what must not be. With a real
journald, in a box: this file runs itself there with the word "inside"."""
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness  # noqa: E402
from harness import (KEY, ROOT, Skip, case, check, contains, lacks, main, ran, s3server, same, wait_for)  # noqa: E402
from users import Users  # noqa: E402

BOX = os.path.join(ROOT, "tests", "support", "systemd-box")
CATALOG = os.path.join(ROOT, "units", "tfqd.catalog")
STATE = f"s3://tfbucket/{KEY}"
CONFIG = "[access]\nsubmitters = *\n[daemon]\nlog_level = debug\n[journal]\noutput = yes\n"
PLANTED = {"AWS_SECRET_ACCESS_KEY": "PLANTED-aws-secret", "TF_VAR_password": "PLANTED-variable",
           "AWS_ACCESS_KEY_ID": "plantedkey", "MY_TOKEN": "PLANTED-token"}
SCRIPT = """for word; do [ "$word" = "-var=exit=3" ] && exit 3; done
printf 'plain\\n\\033[31mred\\033[0m\\033]0;x\\a\\nlast'; echo oops >&2
"""


class Service(Users):
    """tfqd runs as a service of systemd's, which gives it a journal."""

    def start_daemon(self, *_options, **_how):
        config = os.path.join(self.path, "tfqd.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(self.config)
        ran(self.run("systemd-run", "--quiet", "--unit=tfqd", "--service-type=notify", "--property=KillMode=process",
                     f"--setenv=PATH={self.env['PATH']}", harness.TFQD, "--config", config, "--state-dir",
                     os.path.join(self.path, "state"), "--runtime-dir", os.path.join(self.path, "run")))

    def stop_daemon(self):
        ran(self.run("systemctl", "stop", "tfqd"))
        return []

    def journal(self, *argv):
        """The entries that journalctl finds, in order."""
        text = ran(self.run("journalctl", "--all", "-o", "json", "--output-fields=" + ",".join(
            ("MESSAGE", "MESSAGE_ID", "PRIORITY", "TFQ_JOB", "TFQ_STATE", "TFQ_USER", "TFQ_UID", "TFQ_LOCK_ID",
             "TFQ_COMMAND", "TFQ_EXIT", "TFQ_STATUS", "TFQ_STREAM", "_UID", "_SYSTEMD_UNIT")), *argv)).out
        return [json.loads(line) for line in text.splitlines()]

    def wait_journal(self, text, *argv):
        wait_for(lambda: [entry for entry in self.journal(*argv) if text in entry["MESSAGE"]], f"{text!r} in the journal")


def kinds():
    """{name: MESSAGE_ID} of the header."""
    with open(os.path.join(ROOT, "common", "journal_kinds.h"), encoding="utf-8") as file:
        return dict(re.findall(r'KIND\((\w+), \w+, "(\w{32})"\)', file.read()))


def inside():
    ids = kinds()
    shutil.copy(CATALOG, "/usr/lib/systemd/catalog/")
    subprocess.run(["journalctl", "--update-catalog"], check=True)
    with Service(CONFIG, terraform=False, env=PLANTED,
                 server={"keys": {"plantedkey": s3server.Key("PLANTED-aws-secret")}}) as world:
        work = world.directory(init="by hand")
        os.chmod(work.path, 0o777)
        fake = world.fake_terraform(SCRIPT)
        ran(work.tfq("apply", "-var=pw=PLANTED-word", "-var", "pin=PLANTED-word", env=fake, **world.become(world.nobody)))
        same(work.tfq("apply", "-var=exit=3", env=fake).code, 3, "the exit code of the second job")
        same(world.tfq("pause", STATE, **world.become(world.nobody)).code, 77, "who may not pause")
        world.wait_unlocked()
        world.wait_journal("Refused nobody")
        world.wait_journal("exit code 3")

        found = [entry for entry in world.journal("TFQ_JOB=1") if entry["MESSAGE_ID"] != ids["OUTPUT"]]
        same([entry["MESSAGE_ID"] for entry in found],
             [ids[name] for name in ("QUEUED", "LOCK_HELD", "STARTED", "DONE")], f"the kinds of messages of {found}")
        for entry in found:
            same((entry["TFQ_STATE"], entry["TFQ_USER"], entry["TFQ_UID"], entry["_SYSTEMD_UNIT"], entry["_UID"]),
                 (STATE, "nobody", str(world.nobody.pw_uid), "tfqd.service", "0"), "what it is about, and from whom")
            contains(entry["TFQ_COMMAND"], "apply -var=pw=...")
            same(len(entry["TFQ_LOCK_ID"]), 36, "the length of the lock's ID")
        same([found[i]["TFQ_STATUS"] for i in (0, 2, 3)], ["queued", "running", "done"], "the statuses")
        same((found[-1]["TFQ_EXIT"], found[0].get("TFQ_EXIT"), found[-1]["PRIORITY"]), ("0", None, "6"), "the exit code")
        same([entry["TFQ_EXIT"] for entry in world.journal("TFQ_JOB=2", "MESSAGE_ID=" + ids["FAILED"])], ["3"],
             "the exit code of the second")
        refused = world.journal("MESSAGE_ID=" + ids["REFUSED"])
        same([(entry["TFQ_USER"], entry["PRIORITY"]) for entry in refused], [("nobody", "5")], "who was refused")

        output = world.journal("TFQ_JOB=1", "MESSAGE_ID=" + ids["OUTPUT"])
        same(sorted((entry["TFQ_STREAM"], entry["MESSAGE"]) for entry in output),
             [("stderr", "oops"), ("stdout", "last"), ("stdout", "plain"), ("stdout", "red?]0;x?")], "what it printed")
        same({(entry["_UID"], entry["TFQ_STATE"]) for entry in output}, {(str(world.nobody.pw_uid), STATE)}, "from whom")

        text = ran(world.run("journalctl", "-u", "tfqd", "-x", "--no-pager")).out
        contains(text, "Subject: Job 1 of nobody is queued", f"waits for its turn on {STATE}", "journalctl TFQ_JOB=1",
                 "Subject: Job 2 of root has failed", "tfq logs 2", "Subject: nobody was refused")
        listed = subprocess.run(["journalctl", "--list-catalog", *ids.values()], check=True, capture_output=True, text=True)
        same(len(listed.stdout.splitlines()), len(ids), f"the entries of the catalog in {listed.stdout}")

        with open(os.path.join(world.path, "tfqd.conf"), "a", encoding="utf-8") as file:
            file.write("[nonsense]\n")
        ran(world.run("systemctl", "kill", "--signal=HUP", "tfqd"))
        world.wait_journal("was not read again", "MESSAGE_ID=" + ids["NOT_RELOADED"])
        world.wait_journal("no section is called [nonsense]", "-u", "tfqd")
        same(world.call("Info")["daemon"]["stopping"], False, "it goes on")

        everything = ran(world.run("journalctl", "--all", "-o", "export")).out
        contains(everything, "TFQ_JOB=1")
        lacks(everything, "PLANTED")
    print("inside: all is so")


@case("fields, catalog, what jobs print, and no secret: in a real journal", seconds=200)
def boxed():
    if os.geteuid() != 0 or not shutil.which("journalctl"):
        raise Skip("only root can boot a systemd in a box")
    result = subprocess.run([BOX, "run", "--quiet", "--timeout", "120", "--bind", ROOT, "--bind-ro", harness.BUILD,
                             "-E", f"TFQ_BUILD={harness.BUILD}", "--", sys.executable, os.path.abspath(__file__), "inside"],
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False)
    if result.returncode == 125:
        raise Skip(f"no systemd can be booted here: {result.stderr.strip()[-300:]}")
    check(result.returncode == 0 and "all is so" in result.stdout,
          f"inside: exit code {result.returncode}, {result.stdout[-3000:]} {result.stderr[-3000:]}")


if sys.argv[1:] == ["inside"]:
    inside()
else:
    main()
