#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Several users on one tfqd that runs as root: jobs run as who asked, and nobody touches another's."""
import grp
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness  # noqa: E402
from harness import case, check, contains, main, same, wait_for  # noqa: E402
from users import ALL, Users  # noqa: E402

REST = "while [ ! -e end ]; do sleep 0.05; done\n"


@case("a job runs with the uid, the gid and the groups of who asked, and with nothing of root's")
def as_the_user():
    with Users(terraform=False) as world:
        work = world.directory(init="by hand")
        world.give(work, world.nobody)
        extra = grp.getgrnam("games").gr_gid
        script = "id -u; id -g; id -G; id -u -r; grep -E '^(Cap(Eff|Prm|Amb)|Groups):' /proc/self/status; " \
                 "touch made; ls /proc/self/fd | wc -l\n"
        result = work.tfq("apply", env=world.fake_terraform(script), **world.become(world.nobody, [extra]))
        same(result.code, 0, f"the exit code ({result.err})")
        lines = result.out.splitlines()
        same(lines[0], str(world.nobody.pw_uid), "the uid")
        same(lines[1], str(world.nobody.pw_gid), "the gid")
        same(sorted(map(int, lines[2].split())), sorted({world.nobody.pw_gid, extra}), "the groups")
        same(lines[3], str(world.nobody.pw_uid), "the real uid")
        for line in lines[4:]:
            if line.startswith("Cap"):
                same(int(line.split()[1], 16), 0, line)
        same(int(lines[-1]), 4, "the number of descriptors (ls has one of its own)")
        same(os.stat(os.path.join(work.path, "made")).st_uid, world.nobody.pw_uid, "the owner of what it made")
        job = world.jobs()[0]
        same((job["user"], job["uid"]), ("nobody", world.nobody.pw_uid), "whose job it is")
        world.wait_unlocked()
        put = next(entry for entry in world.lock_requests() if entry["method"] == "PUT")
        contains(put["body"], '"Who":"nobody@')


@case("real terraform applies as another user")
def terraform_as_the_user():
    with Users() as world:
        os.chmod(os.path.join(world.path, "home"), 0o777)
        work = world.directory(command="id -un")
        world.give(work, world.nobody)
        open(work.journal, "wb").close()
        os.chown(work.journal, world.nobody.pw_uid, world.nobody.pw_gid)
        result = work.tfq(*work.apply_argv("job"), **world.become(world.nobody))
        same(result.code, 0, f"the exit code ({result.err})")
        contains(result.out, "(local-exec): nobody", "Apply complete!")
        same(work.order(), ["job"], "who ran")
        world.wait_unlocked()


@case("users queue behind each other, may not cancel each other's jobs (77), and root may cancel all")
def not_anothers():
    with Users(terraform=False) as world:
        work = world.directory(init="by hand")
        os.chmod(work.path, 0o777)
        env = world.fake_terraform("echo started; id -un >> runs; chmod a+w runs; " + REST)
        first = work.spawn("apply", env=env, **world.become(world.nobody))
        wait_for(lambda: "started" in first.out, "the start")
        second = work.spawn("apply", env=env, **world.become(world.other))
        wait_for(lambda: "queued on" in second.err, "the waiting line")
        contains(second.err, ": nobody #1 apply")
        for user, number in ((world.other, 1), (world.nobody, 2)):
            result = world.tfq("cancel", str(number), **world.become(user))
            same(result.code, 77, f"the exit code of cancel ({result.err})")
            contains(result.err, f"job {number} is ")
        same([job["status"] for job in world.jobs()], ["running", "queued"], "the statuses")
        third = work.spawn("apply", env=env, **world.become(world.other))
        wait_for(lambda: len(world.jobs()) == 3, "the third job")
        same(world.tfq("cancel", "3").code, 0, "the exit code of root's cancel")
        same(third.wait().code, 125, "the exit code of the one that root cancelled")
        same(world.tfq("resume", "s3://tfbucket/x", **world.become(world.nobody)).code, 77, "the exit code of resume")
        work.write("end", "")
        same([program.wait().code for program in (first, second)], [0, 0], "the exit codes")
        same(work.read("runs"), "nobody\ndaemon\n", "who ran")
        world.wait_unlocked()


@case("operators may cancel everybody's jobs")
def operators():
    with Users(ALL + "operators = games\n", terraform=False) as world:
        work = world.directory(init="by hand")
        os.chmod(work.path, 0o777)
        games = grp.getgrnam("games").gr_gid
        program = work.spawn("apply", env=world.fake_terraform("echo started; trap 'exit 1' INT\n" + REST),
                             **world.become(world.nobody))
        wait_for(lambda: "started" in program.out, "the start")
        same(world.tfq("cancel", "1", **world.become(world.other)).code, 77, "the exit code of one who is none")
        same(world.tfq("cancel", "1", **world.become(world.other, [games])).code, 0, "the exit code of one who is")
        same(program.wait().code, 1, "the job's exit code")
        world.wait_unlocked()


@case("with a group of submitters, others cannot connect (77); by default only root can")
def submitters():
    with Users("[access]\nsubmitters = games\n", terraform=False) as world:
        work = world.directory(init="by hand")
        os.chmod(work.path, 0o777)
        games = grp.getgrnam("games").gr_gid
        env = world.fake_terraform("echo ran\n")
        result = work.tfq("apply", env=env, **world.become(world.nobody))
        same((result.code, result.out), (77, ""), "the exit code and the output of one who is none")
        contains(result.err, "group")
        result = work.tfq("apply", env=env, **world.become(world.nobody, [games]))
        same((result.code, result.out), (0, "ran\n"), f"the exit code and the output of one who is ({result.err})")
        world.wait_unlocked()
    with Users("", terraform=False) as world:
        same(world.tfq("queue", **world.become(world.nobody)).code, 77, "the exit code by default")


@case("a user cannot reach root's recordings, runtime directory or another user's environment")
def closed():
    with Users(terraform=False) as world:
        work = world.directory(init="by hand")
        os.chmod(work.path, 0o777)
        program = work.spawn("apply", env=dict(world.fake_terraform("echo started\n" + REST), MY_SECRET="hush"))
        wait_for(lambda: "started" in program.out, "the start")
        pid = world.jobs()[0]["pid"]
        for path in (os.path.join(world.path, "state", "jobs", "1", "output"), f"/proc/{pid}/environ"):
            result = world.run("cat", path, **world.become(world.nobody))
            check(result.code != 0 and not result.out, f"{path} can be read")
        result = world.run("touch", os.path.join(world.path, "run", "x"), **world.become(world.nobody))
        check(result.code != 0, "the runtime directory can be written")
        work.write("end", "")
        same(program.wait().code, 0, "the exit code")


@case("a directory that its submitter cannot enter, or a terraform they cannot run, is their error")
def no_way_in():
    with Users(terraform=False) as world:
        work = world.directory(init="by hand")
        os.chmod(work.path, 0o700)
        result = world.tfq("-chdir=work", "apply", env=world.fake_terraform("echo ran\n"),
                           **world.become(world.nobody))
        same((result.code, result.out), (78, ""), "the exit code and the output")
        contains(result.err, "work")


@case("one user's own tfqd runs that user's jobs alone")
def own_daemon():
    with Users(terraform=False, daemon=False) as world:
        home = os.path.join(world.path, "home")
        os.chown(home, world.nobody.pw_uid, world.nobody.pw_gid)
        world.socket = os.path.join(home, "run", "tfqd.sock")
        world.env["TFQ_SOCKET"] = world.socket
        config = os.path.join(world.path, "tfqd.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write("")
        daemon = world.spawn(harness.TFQD, "--config", config, "--state-dir", os.path.join(home, "state"),
                             "--runtime-dir", os.path.join(home, "run"), **world.become(world.nobody))
        wait_for(lambda: world.is_served() or not daemon.is_running(), "tfqd's socket")
        check(daemon.is_running(), f"tfqd ended at once: {daemon.err}")
        work = world.directory(init="by hand")
        os.chmod(work.path, 0o777)
        result = work.tfq("apply", env=world.fake_terraform("id -un\n"), **world.become(world.nobody))
        same((result.code, result.out), (0, "nobody\n"), f"its user's job ({result.err})")
        same(work.tfq("apply", env=world.fake_terraform("id -un\n"), **world.become(world.other)).code, 77,
             "another user's exit code")
        result = work.tfq("apply", env=world.fake_terraform("id -un\n"))
        check(result.code != 0 and "root" not in result.out, f"root's job ran as {result.out!r}")
        world.wait_unlocked()
        daemon.send(15)
        same(daemon.wait(10).code, 0, f"tfqd's exit code ({daemon.err})")


main()
