#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tfq as a stand-in for terraform: exit codes, output, input, subcommands, directories, workspaces, backends."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import KEY, TFQ, World, case, check, contains, lacks, main, same, wait_for  # noqa: E402

APPLY = ["apply", "-auto-approve", "-input=false", "-no-color"]
W1_KEY = f"env:/w1/{KEY}"
NO_RESOURCE = 'variable "name" { default = "x" }\noutput "name" { value = var.name }\n'


def ran(result, code=0):
    same(result.code, code, f"the exit code ({result.err or result.out[-300:]})")
    return result


# --- exit codes -------------------------------------------------------------------------

@case("terraform's exit codes come through: 0, 1, and 2 of plan -detailed-exitcode")
def exit_codes():
    with World() as world:
        work = world.directory()
        ran(work.tfq("plan", "-detailed-exitcode", "-input=false"), 2)
        ran(work.tfq(*APPLY))
        still = world.directory("still", key="still/terraform.tfstate", body=NO_RESOURCE)
        ran(still.tfq(*APPLY))
        ran(still.tfq("plan", "-detailed-exitcode", "-input=false"), 0)
        same([job["status"] for job in world.jobs()], ["done"] * 4, "how they ended")
        failing = world.directory("failing", key="failing/terraform.tfstate", command="exit 3")
        result = ran(failing.tfq(*APPLY), 1)
        contains(result.err, "Error running command", "exit status 3")
        same(world.jobs()[-1]["status"], "failed", "how the failing one ended")
        result = ran(work.tfq("apply", "-no-such-flag"), 1)
        contains(result.err, "-no-such-flag")
        world.wait_unlocked()
        world.wait_unlocked("failing/terraform.tfstate")


@case("any exit code and any signal come through")
def all_codes():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        for code in (0, 1, 2, 7, 75, 125, 130, 255):
            same(work.tfq("apply", env=world.fake_terraform(f"exit {code}\n")).code, code, "the exit code")
        for number in (9, 15, 11):  # on a state each: the lock stays for a while after a kill
            work = world.directory(f"signal{number}", key=f"signal{number}/terraform.tfstate", init="by hand")
            result = work.tfq("apply", env=world.fake_terraform(f"kill -{number} $$\n"))
            same(result.code, 128 + number, "the exit code after a signal")
            same(world.jobs()[-1]["exit_signal"], number, "exit_signal")
        world.wait_unlocked("signal9/terraform.tfstate", 45)


@case("without terraform in PATH the exit code is 127, with one that cannot be run 126")
def no_terraform():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        empty = os.path.join(world.path, "empty")
        os.mkdir(empty)
        result = work.tfq("apply", env={"PATH": empty})
        same(result.code, 127, f"the exit code ({result.err})")
        contains(result.err, "there is no terraform in PATH")
        result = work.tfq("version", env={"PATH": empty})
        same(result.code, 127, "the exit code of a reader")
        env = world.fake_terraform("exit 0\n")
        os.chmod(os.path.join(world.path, "fake", "terraform"), 0o644)
        same(work.tfq("apply", env={"PATH": env["PATH"].split(":")[0]}).code, 126, "the exit code")
        with open(os.path.join(empty, "terraform"), "wb") as file:
            file.write(b"\x7fELF nonsense")
            os.fchmod(file.fileno(), 0o755)
        same(work.tfq("apply", env={"PATH": empty}).code, 126, "the exit code of what is no program")
        world.wait_unlocked()


# --- output and input -------------------------------------------------------------------

@case("plan -json goes to a file as plain JSON lines, and nothing of tfq's comes with it")
def plan_json():
    with World() as world:
        work = world.directory()
        first = work.apply("first", 1)
        work.wait_started("first")
        result = ran(work.tfq("plan", "-json", "-input=false"))
        same(first.wait().code, 0, "the first one's exit code")
        lines = [json.loads(line) for line in result.out.splitlines()]
        same(lines[0]["type"], "version", "the first line's type")
        check(any(line["type"] == "change_summary" for line in lines), "no change_summary")
        contains(result.err, "queued on")


@case("stdout and stderr come through byte by byte and apart, also what is no text")
def bytes_exact():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        one, two = bytes(range(256)) * 300, bytes(reversed(range(256))) * 100 + b"no newline at the end"
        for name, data in (("one", one), ("two", two)):
            with open(os.path.join(work.path, name), "wb") as file:
                file.write(data)
        program = work.spawn("apply", env=world.fake_terraform("cat one; cat two >&2\n"))
        same(program.wait().code, 0, "the exit code")
        check(program.out_bytes == one, "stdout differs")
        check(program.text_of(program.err_file) == two, "stderr differs")


@case("20 MB of output come through whole and quickly")
def much_output():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        program = work.spawn("apply", env=world.fake_terraform("seq 2700000; seq 1000 >&2\n"))
        same(program.wait().code, 0, "the exit code")
        check(program.out_bytes == b"".join(b"%d\n" % i for i in range(1, 2700001)), "stdout differs")
        check(program.text_of(program.err_file) == b"".join(b"%d\n" % i for i in range(1, 1001)), "stderr differs")


@case("5 MB that a local-exec prints come through terraform")
def much_output_of_terraform():
    with World() as world:
        work = world.directory(command="seq 100000")
        result = ran(work.tfq(*APPLY))
        same(sum(line.startswith("terraform_data.work (local-exec): ") and line.rpartition(" ")[2].isdigit()
                 for line in result.out.splitlines()), 100000, "the number of lines")


@case("a reader that is slow does not hold the job up, and gets everything")
def slow_reader():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        reader, writer = os.pipe()
        program = work.spawn("apply", env=world.fake_terraform("seq 300000\n"), stdout=os.fdopen(writer, "wb"))
        program.out_file.close()
        wait_for(lambda: [job["status"] for job in world.jobs()] == ["done"], "the end of the job, nothing being read")
        world.wait_unlocked()
        with os.fdopen(reader, "rb") as file:
            check(file.read() == b"".join(b"%d\n" % i for i in range(1, 300001)), "stdout differs")
        same(program.process.wait(10), 0, "the exit code")


@case("stdin reaches terraform: echo yes | tfq apply approves, echo no does not")
def stdin_is_passed():
    with World() as world:
        work = world.directory()
        result = ran(work.tfq("apply", "-no-color", stdin=b"yes\n"))
        contains(result.out, "Do you want to perform these actions?", "Apply complete!")
        result = ran(work.tfq("apply", "-no-color", stdin=b"no\n"), 1)
        contains(result.out + result.err, "Apply cancelled")
        result = ran(work.tfq("apply", "-no-color"), 1)
        contains(result.err, "error asking for approval")
        world.wait_unlocked()


@case("a loop that reads its lines from stdin keeps them, as with terraform itself")
def stdin_of_a_loop():
    with World() as world:
        work = world.directory()
        script = 'printf "one\\ntwo\\nthree\\n" | while read -r line; do ' \
                 '"$0" plan -input=false >/dev/null || exit 1; echo "$line"; done'
        result = world.run("/bin/sh", "-c", script, TFQ, cwd=work.path)
        same((result.code, result.out), (0, "one\ntwo\nthree\n"), f"the loop ({result.err})")


@case("a large stdin comes through")
def large_stdin():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        data = b"".join(b"%d\n" % i for i in range(200000))
        program = work.spawn("apply", env=world.fake_terraform("cat\n"), stdin=data)
        same(program.wait().code, 0, "the exit code")
        check(program.out_bytes == data, "what came out differs")


@case("arguments with blanks, quotes and umlauts arrive as they are; so do umask, directory and environment")
def arguments():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        words = ["-var=a=b c", "-var", 'x="y"', "-var=ü=€", "-var=", "-var=new\nline"]
        script = 'for word; do printf "%s|" "$word"; done; umask; pwd; printf "%s" "$TF_VAR_x"\n'
        result = work.tfq("apply", *words, env=dict(world.fake_terraform(script), TF_VAR_x="1\n2 €"),
                          preexec=lambda: os.umask(0o027))
        same(result.out, "|".join(["apply", "-lock=false", *words, ""]) + "0027\n" + work.path + "\n1\n2 €",
             "what terraform saw")


# --- subcommands ------------------------------------------------------------------------

@case("subcommands that take no lock are terraform's at once, without any tfqd")
def readers():
    with World(daemon=False) as world:
        work = world.directory()
        same(work.terraform(*APPLY).code, 0, "raw terraform's exit code")
        same(json.loads(ran(work.tfq("output", "-json")).out)["name"]["value"], "x", "the output")
        contains(ran(work.tfq("version")).out, "Terraform v")
        same(ran(work.tfq("state", "list")).out, "terraform_data.work\n", "state list")
        contains(ran(work.tfq("show", "-no-color")).out, "terraform_data.work")
        contains(ran(work.tfq("validate", "-no-color")).out, "Success!")
        same(ran(work.tfq("workspace", "show")).out, "default\n", "workspace show")
        same(work.tfq("fmt", "-check").code, work.terraform("fmt", "-check").code, "the exit code of fmt")
        ran(work.tfq("init", "-input=false"))
        same(world.lock_requests()[-1]["method"], "DELETE", "the last request for the lock")


@case("under the name of terraform it finds the real one, queues what locks and hands on the rest")
def as_terraform():
    with World() as world:
        work = world.directory()
        env = world.as_terraform()

        def run(*argv, code=0, **options):
            return ran(world.run("terraform", *argv, cwd=work.path, env=env, **options), code)
        check(world.run("sh", "-c", "command -v terraform", env=env).out.startswith(world.path), "it is not ours")
        contains(run(*APPLY).out, "Apply complete!")
        same(len(world.jobs()), 1, "the number of jobs")
        same(world.jobs()[0]["lock"], "tfqd", "who took the lock")
        same(json.loads(run("output", "-json").out)["name"]["value"], "x", "the output")
        contains(run("version").out, "Terraform v")
        same(run("state", "list").out, "terraform_data.work\n", "state list")
        contains(run("appply", code=1).err, 'Terraform has no command named "appply"')
        contains(run("-help").out, "Usage: terraform")
        contains(run("queue", code=1).err, 'Terraform has no command named "queue"')
        run("plan", "-input=false")
        same(len(world.jobs()), 2, "the number of jobs")


@case("all subcommands that lock go through the queue with the right Operation")
def operations():
    with World() as world:
        work = world.directory()
        ran(work.tfq(*APPLY))
        for argv, operation in ((["plan", "-input=false"], "OperationTypePlan"),
                                (["refresh", "-input=false"], "OperationTypeRefresh"),
                                (["taint", "terraform_data.work"], "taint"),
                                (["untaint", "terraform_data.work"], "untaint"),
                                (["state", "mv", "terraform_data.work", "terraform_data.new"], "state-mv"),
                                (["state", "rm", "terraform_data.new"], "state-rm"),
                                (["import", "-input=false", "terraform_data.work", "some-id"], "OperationTypeInvalid"),
                                (["destroy", "-auto-approve"], "OperationTypeApply")):
            ran(work.tfq(*argv))
            world.wait_unlocked()
            body = [entry for entry in world.lock_requests() if entry["method"] == "PUT"][-1]["body"]
            same(json.loads(body)["Operation"], operation, f"the Operation of {argv[0]}")
        same({job["status"] for job in world.jobs()}, {"done"}, "how they ended")


@case("the lock is what terraform would write: all seven members in its order, and readable for force-unlock")
def lock_content():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        result = work.tfq("-m", "<why> & \u2028", "apply", env=world.fake_terraform("exit 0\n"))
        same(result.code, 0, f"the exit code ({result.err})")
        put = next(entry for entry in world.lock_requests() if entry["method"] == "PUT")
        body = json.loads(put["body"])
        same(list(body), ["ID", "Operation", "Info", "Who", "Version", "Created", "Path", "Tfqd"], "the members")
        same(body["Path"], f"tfbucket/{KEY}", "Path")
        same(body["Version"], "1.11.4", "Version")
        lacks(put["body"], "<", ">", "&", "\u2028")
        contains(body["Info"], "<why> &")
        same(put["headers"]["content-type"], "application/json", "Content-Type")
        check("x-amz-checksum-sha256" in put["headers"], "no checksum")


# --- directories and workspaces ---------------------------------------------------------

@case("-chdir works as terraform's")
def chdir():
    with World() as world:
        work = world.directory()
        result = world.tfq("-chdir=work", *APPLY, "-var-file=values.tfvars")
        same(result.code, 1, "the exit code without the file")
        work.write("values.tfvars", 'name = "from a file"\n')
        ran(world.tfq("-chdir=work", *APPLY, "-var-file=values.tfvars"))
        same(json.loads(ran(world.tfq("-chdir=work", "output", "-json")).out)["name"]["value"], "from a file", "output")
        same(world.jobs()[-1]["directory"], work.path, "the job's directory")
        result = world.tfq("-chdir=nowhere", *APPLY)
        same(result.code, 78, "the exit code for a directory that is not there")
        contains(result.err, "nowhere")
        same(work.tfq(*APPLY, "-chdir=work").code, 64, "the exit code of -chdir in the wrong place")


@case("an existing workspace is locked under its own key; a job whose workspace is not selected any more does not run")
def workspace():
    with World() as world:
        work = world.directory()
        ran(work.terraform("workspace", "new", "w1"))
        program = work.apply("job", 1.5)
        work.wait_started("job")
        job = world.wait_job("job", "running")
        same((job["workspace"], job["lock"]), ("w1", "tfqd"), "workspace and lock")
        same(job["state"], f"s3://tfbucket/{W1_KEY}", "the state")
        same(world.lock(W1_KEY)["ID"], job["lock_id"], "the lock's ID")
        same(world.lock(W1_KEY)["Path"], f"tfbucket/{W1_KEY}", "the lock's Path")
        same(world.lock(KEY), None, "the lock of the default workspace")
        behind = work.apply("behind")
        world.wait_job("behind", "queued")
        ran(work.terraform("workspace", "select", "default"))
        same([program.wait().code, behind.wait().code], [0, 125], f"the exit codes ({behind.err})")
        contains(behind.err, "works on another state now", "select the workspace")
        same(world.state(W1_KEY)["outputs"]["name"]["value"], "job", "what the workspace's state says")
        same(world.state(KEY), None, "the default workspace's state")
        world.wait_unlocked(W1_KEY)


@case("TF_WORKSPACE selects the workspace, too")
def workspace_variable():
    with World() as world:
        work = world.directory()
        ran(work.terraform("workspace", "new", "w1"))
        ran(work.terraform("workspace", "select", "default"))
        ran(work.tfq(*APPLY, env={"TF_WORKSPACE": "w1"}))
        same(world.jobs()[-1]["workspace"], "w1", "the workspace")
        check(world.state(W1_KEY)["outputs"], "the workspace's state is empty")
        result = work.tfq(*APPLY, env={"TF_WORKSPACE": "a/b"})
        same(result.code, 78, "the exit code of a bad workspace name")


@case("a workspace without a state is made by terraform under its own lock; then tfqd locks it")
def new_workspace():
    with World() as world:
        work = world.directory()
        env = {"TF_WORKSPACE": "w1"}
        programs = [work.apply(f"job{i}", 0.4, env=env) for i in range(3)]
        for program in programs:
            same(program.wait().code, 0, f"the exit code ({program.err})")
        work.check_no_overlap()
        same(world.state(W1_KEY)["outputs"]["name"]["value"], work.order()[-1], "the last one's state")
        locks = [job["lock"] for job in world.jobs()]
        same(locks[0], "the workspace has no state yet", "who took the first lock")
        same(locks[1:], ["tfqd", "tfqd"], "who took the other locks")
        world.wait_unlocked(W1_KEY)


@case("workspace new and delete go through the queue, terraform taking the lock")
def workspace_commands():
    with World() as world:
        work = world.directory()
        ran(work.tfq("workspace", "new", "w1"))
        ran(work.tfq("workspace", "select", "default"))
        ran(work.tfq("workspace", "delete", "w1"))
        same([job["command"] for job in world.jobs()], ["workspace new w1", "workspace delete w1"], "the jobs")
        check(all(job["lock"] != "tfqd" for job in world.jobs()), "tfqd took a lock")
        same(world.lock(W1_KEY), None, "the lock")


# --- other backends ---------------------------------------------------------------------

def in_order_without_us(world, work, holder):
    programs = [work.apply("job0", 0.6)]
    work.wait_started("job0")
    job = world.wait_job("job0", "running")
    check(job["lock"] != "tfqd", "tfqd took the lock")
    contains(job["lock"], holder)
    for i in (1, 2):
        programs.append(work.apply(f"job{i}", 0.2))
        world.wait_job(f"job{i}")
    for program in programs:
        same(program.wait().code, 0, f"the exit code ({program.err})")
    work.check_no_overlap()
    same(work.order(), ["job0", "job1", "job2"], "the order")


@case("with a local backend terraform takes the lock, and tfqd keeps the order")
def local():
    with World() as world:
        work = world.directory(backend="")
        in_order_without_us(world, work, "local")
        same(world.jobs()[0]["state"], f"local:{work.path}/terraform.tfstate", "the state")
        explicit = world.directory("explicit", backend='  backend "local" { path = "other.tfstate" }\n')
        ran(explicit.tfq(*APPLY))
        same(world.jobs()[-1]["state"], f"local:{explicit.path}/other.tfstate", "the state")


@case("S3 without a lock is refused with the two lines that help, exit code 78; require_lock = no lets it run")
def no_lock():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        work.change_backend(use_lockfile=False)
        env = world.fake_terraform("echo ran\n")
        result = work.tfq("apply", env=env)
        same((result.code, result.out), (78, ""), "the exit code and the output")
        contains(result.err, "use_lockfile = true", "dynamodb_table")
    with World("[queue]\nrequire_lock = no\n", terraform=False) as world:
        work = world.directory(init="by hand")
        work.change_backend(use_lockfile=False)
        result = work.tfq("apply", env=world.fake_terraform("echo ran\n"))
        same((result.code, result.out), (0, "ran\n"), "the exit code and the output")
        same(world.jobs()[0]["lock"], "no lock is configured", "who took the lock")
    for config, code in (('[queue]\nrequire_lock = no\n[state "s3://tfbucket/app/*"]\nrequire_lock = yes\n', 78),
                         ('[state "s3://tfbucket/app/*"]\nrequire_lock = no\n', 0)):
        with World(config, terraform=False) as world:
            work = world.directory(init="by hand")
            work.change_backend(use_lockfile=False)
            same(work.tfq("apply", env=world.fake_terraform("exit 0\n")).code, code, "the exit code")


@case("a directory that is initialised for another state while its job waits is not touched")
def reinitialised():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform("echo ran >> runs; while [ ! -e end ]; do sleep 0.05; done\n")
        first = work.spawn("apply", env=env)
        wait_for(lambda: work.has("runs"), "the start")
        second = work.spawn("apply", env=env)
        wait_for(lambda: "queued on" in second.err, "the waiting line")
        work.change_backend(key="other/terraform.tfstate")
        work.write("end", "")
        same(first.wait().code, 0, "the first one's exit code")
        result = second.wait()
        same(result.code, 125, "the second one's exit code")
        contains(result.err, "works on another state now", "other/terraform.tfstate")
        same(work.read("runs"), "ran\n", "who ran")
        world.wait_unlocked()


main()
