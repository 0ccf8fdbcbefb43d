#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bad input: directories, words and bytes that make no sense. Each gets its answer, and tfqd goes on."""
import json
import os
import shutil
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness  # noqa: E402
from harness import (BACKEND_FILE, KEY, Varlink, VarlinkError, World, case, check, contains, lacks,  # noqa: E402
                     main, same, wait_for)


def still_serves(world, work=None):
    same(world.call("Info")["daemon"]["stopping"], False, "stopping")
    if work:
        result = work.tfq("apply", env=world.fake_terraform("echo ran\n"))
        same((result.code, result.out), (0, "ran\n"), f"the next job ({result.err})")
        world.wait_unlocked()


def submit_parameters(world, work, **changes):
    backend = json.loads(json.dumps(BACKEND_FILE))
    backend["backend"]["config"].update(key=KEY, endpoints={"s3": world.url})
    parameters = {"protocol": 1, "argv": ["apply"], "directory": work.path, "state_directory": work.path,
                  "backend": json.dumps(backend), "workspace": "default", "umask": 18,
                  "environment": [f"PATH={world.fake_terraform('echo ran >> runs')['PATH']}",
                                  "AWS_ACCESS_KEY_ID=testkey", "AWS_SECRET_ACCESS_KEY=testsecret"]}
    parameters.update(changes)
    return {name: value for name, value in parameters.items() if value is not ...}


def error_of(world, method, fds=(), **parameters):
    """The name of the error that the call gets."""
    with Varlink(world.socket) as varlink:
        varlink.send(method, parameters, fds)
        try:
            raise AssertionError(f"{method} with {str(parameters)[:200]} succeeds: {varlink.answer()}")
        except VarlinkError as error:
            check(error.name.startswith("org.varlink.") or error.parameters.get("message"), "an error without words")
            return error.name


# --- directories ------------------------------------------------------------------------

@case("a directory that was not initialised is told so, with what to do: exit code 78")
def not_initialised():
    with World(terraform=False) as world:
        work = world.directory(init=False)
        result = work.tfq("apply", env=world.fake_terraform("echo ran\n"))
        same((result.code, result.out), (78, ""), "the exit code and the output")
        contains(result.err, work.path, "terraform init")
        empty = os.path.join(world.path, "empty")
        os.mkdir(empty)
        result = world.tfq("apply", cwd=empty, env=world.fake_terraform("echo ran\n"))
        same((result.code, result.out), (78, ""), "the exit code and the output of an empty directory")
        contains(result.err, empty)
        same(world.jobs(), [], "the jobs")


@case("an unreadable or malformed .terraform/terraform.tfstate is told so, with its path: exit code 78")
def malformed():
    good = json.dumps(BACKEND_FILE).encode()
    with World(terraform=False) as world:
        env = world.fake_terraform("echo ran\n")
        for i, data in enumerate((b"", b"\0", b"{", b"[]", b"null", b"not JSON", good[:-1], good[: len(good) // 2],
                                  b'{"version":4}', b'{"version":3,"backend":[]}',
                                  b'{"version":3,"backend":{"type":5}}',
                                  b'{"version":3,"backend":{"type":"s3"}}',
                                  b'{"version":3,"backend":{"type":"s3","config":{}}}',
                                  b'{"version":3,"backend":{"type":"s3","config":{"bucket":7,"key":"k"}}}',
                                  b'{"version":3,"backend":{"type":"s3","config":{"bucket":"b","key":"/"}}}',
                                  b"[" * 100000, b"\xff\xfe", b" " * 300000, good + b"x")):
            work = world.directory(f"work{i}", init="by hand")
            path = os.path.join(work.path, ".terraform", "terraform.tfstate")
            with open(path, "wb") as file:
                file.write(data)
            result = work.tfq("apply", env=env)
            same((result.code, result.out), (78, ""), f"exit code and output for {data[:60]!r} ({result.err})")
            check(result.err.startswith("tfq: "), f"the error is {result.err!r}")
        work = world.directory("folder", init="by hand")
        os.unlink(os.path.join(work.path, ".terraform", "terraform.tfstate"))
        os.mkdir(os.path.join(work.path, ".terraform", "terraform.tfstate"))
        result = work.tfq("apply", env=env)
        same(result.code, 78, "the exit code for a directory")
        contains(result.err, ".terraform/terraform.tfstate")
        work = world.directory("fifo", init="by hand")
        os.unlink(os.path.join(work.path, ".terraform", "terraform.tfstate"))
        os.mkfifo(os.path.join(work.path, ".terraform", "terraform.tfstate"))
        same(work.tfq("apply", env=env, seconds=5).code, 78, "the exit code for a FIFO")
        same(world.jobs(), [], "the jobs")


@case("a .terraform/terraform.tfstate that may not be read is told so: exit code 78")
def unreadable():
    with World(terraform=False, shared=True) as world:
        work = world.directory(init="by hand")
        path = os.path.join(work.path, ".terraform", "terraform.tfstate")
        os.chmod(path, 0)
        tfq = shutil.copy(os.path.join(harness.BUILD, "tfq"), world.path)  # the tree may be root's alone
        how = {"preexec": lambda: os.setuid(65534)} if os.geteuid() == 0 else {}
        result = world.run(tfq, "apply", cwd=work.path, env=world.fake_terraform("echo ran\n"), **how)
        same((result.code, result.out), (78, ""), "the exit code and the output")
        contains(result.err, path)


# --- words ------------------------------------------------------------------------------

@case("an unknown subcommand is told so, with what is near: exit code 64")
def unknown_subcommand():
    with World(terraform=False) as world:
        for word, near in (("appply", "apply"), ("plann", "plan"), ("destroyy", "destroy"),
                           ("stats", "state")):
            result = world.tfq(word)
            same(result.code, 64, f"the exit code of {word}")
            contains(result.err, f"there is no subcommand '{word}'; did you mean '{near}'?")
        result = world.tfq("xyzzy")
        same(result.code, 64, "the exit code")
        contains(result.err, "there is no subcommand 'xyzzy'", "--help")
        for argv in (["--nonsense", "apply"], ["--label"], ["--wait-timeout", "never", "apply"], ["-chdir"],
                     ["-chdir=a", "-chdir=b", "apply"], ["queue", "extra"], ["info", "x"], ["resume"],
                     ["--priority", "urgent", "apply"]):
            work = os.path.join(world.path, "ok")
            if not os.path.exists(work):
                world.directory("ok", init="by hand")
            result = world.tfq(*argv, cwd=work, env=world.fake_terraform("echo ran\n"))
            same((result.code, result.out), (64, ""), f"exit code and output of tfq {' '.join(argv)} ({result.err})")
            check(result.err, f"no word about tfq {' '.join(argv)}")


@case("bad -lock and -lock-timeout values, and TF_CLI_ARGS that get in the way, are refused before anything runs")
def bad_lock_flags():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        fake = world.fake_terraform('echo "$@"\n')
        for argv, env in ((["apply", "-lock=maybe"], {}), (["apply", "-lock-timeout=3"], {}),
                          (["destroy"], {"TF_CLI_ARGS": "plan.out"}), (["plan"], {"TF_CLI_ARGS_plan": "-- x"}),
                          (["apply"], {"TF_CLI_ARGS": "'unbalanced"})):
            result = work.tfq(*argv, env=dict(fake, **env))
            same((result.code, result.out), (64, ""), f"exit code and output of {argv} with {env} ({result.err})")
        same(work.tfq("apply", "-lock=true", "-lock-timeout=3s", "--lock=0", env=fake).out, "apply -lock=false\n",
             "what terraform is given")
        result = work.tfq("state", "rm", "a.b", "-lock=false", env=fake)
        same(result.out, "state rm -lock=false a.b -lock=false\n", "what terraform is given")


@case("without a tfqd the exit code is 69, with what to do")
def no_daemon():
    with World(terraform=False, daemon=False) as world:
        work = world.directory(init="by hand")
        for argv in (["apply"], ["queue"], [], ["info", "1"], ["cancel", "1"]):
            result = work.tfq(*argv, env=world.fake_terraform("echo ran\n"))
            same((result.code, result.out), (69, ""), f"the exit code and the output of {argv}")
            contains(result.err, world.socket, "systemctl start tfqd", "TFQ_SOCKET")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as nobody:
            os.makedirs(os.path.dirname(world.socket))
            nobody.bind(world.socket)
        same(work.tfq("apply").code, 69, "the exit code with a dead socket")
        same(world.tfq("queue", env={"TFQ_SOCKET": "/" + "x" * 200}).code, 69, "the exit code with a long path")


@case("an argument or a variable that is no UTF-8, or too much of them, is told so")
def bad_words():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform("echo ran\n")
        result = work.tfq("apply", b"-var=\xff\xfe", env=env)
        same((result.code, result.out), (64, ""), "the exit code and the output")
        contains(result.err, "UTF-8")
        result = work.tfq("apply", env=dict(env, BAD=os.fsdecode(b"\xff")))
        same((result.code, result.out), (0, "ran\n"), f"with a variable that is none ({result.err})")
        contains(result.err, "UTF-8")
        result = work.tfq("apply", env=dict(env, **{f"LARGE{i}": "x" * 120000 for i in range(12)}))
        same((result.code, result.out), (125, ""), "with a large environment")
        contains(result.err, "too large")
        result = work.tfq("-m", "x" * 1000, "apply", env=env)
        check(result.code in (0, 64), f"the exit code of a long reason is {result.code}")
        result = work.tfq("-m", "a\x1b[31mred\nline", "--label", "\x07", "-d", "apply", env=env)
        same(result.code, 0, "the exit code of a strange reason")
        lacks(json.dumps(world.jobs()) + world.log(), "\x1b", "\\u001b", "\\u0007")
        still_serves(world, work)


# --- bytes ------------------------------------------------------------------------------

@case("a client that sends garbage is dropped, and the next one served")
def garbage():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        for data in (b"\0", b"\0\0\0", b"GET / HTTP/1.1\r\n\r\n\0", b"{}\0", b"[]\0", b"null\0", b"5\0", b'"x"\0',
                     b'{"method":5}\0', b'{"method":null}\0', b'{"method":""}\0', b'{"method":"io.tfqd.List","x"\0',
                     b'{"method":"io.tfqd.List","parameters":[]}\0', b'{"method":"io.tfqd.List","parameters":5}\0',
                     b"\xff\xfe\xfd\0", b'{"method":"\xff"}\0', b"[" * 5000 + b"]" * 5000 + b"\0",
                     b"{\"a\":" * 3000 + b"1" + b"}" * 3000 + b"\0", os.urandom(5000) + b"\0",
                     b'{"method":"io.tfqd.Submit","method":"io.tfqd.List"}\0', b'{"method":"a\\u0000b"}\0',
                     b'{"parameters":{}}\0', b'{"method":"io.tfqd.List","parameters":{"after":1e999}}\0'):
            with Varlink(world.socket, seconds=10) as varlink:
                varlink.send_bytes(data)
                varlink.socket.shutdown(socket.SHUT_WR)
                check(varlink.is_closed(), f"still open after {data[:40]!r}")
            still_serves(world)
        still_serves(world, work)


@case("half a message, hung up at any byte of a real Submit, makes no job and no harm", seconds=180)
def every_prefix():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        call = json.dumps({"method": "io.tfqd.Submit", "parameters": submit_parameters(world, work)}).encode() + b"\0"
        before = len(os.listdir(f"/proc/{world.daemon.pid}/fd"))
        for length in range(len(call)):
            with Varlink(world.socket) as varlink:
                varlink.send_bytes(call[:length])
        still_serves(world)
        same(world.jobs(), [], "the jobs")
        wait_for(lambda: len(os.listdir(f"/proc/{world.daemon.pid}/fd")) <= before, "all connections are closed")

        with Varlink(world.socket) as varlink:  # all of it, and gone before the answer
            varlink.send_bytes(call)
        wait_for(lambda: [job["status"] for job in world.jobs()] == ["done"], "the end of the job")
        same(work.read("runs"), "ran\n", "who ran")
        with Varlink(world.socket) as varlink:  # byte by byte
            for i in range(len(call)):
                varlink.send_bytes(call[i:i + 1])
            same(varlink.answer()["job"]["id"], 2, "the job's number")
        wait_for(lambda: world.job(2)["status"] == "done", "the end of the job")
        world.wait_unlocked()


@case("several calls in one packet are answered in their order")
def pipelined():
    with World(terraform=False) as world:
        with Varlink(world.socket) as varlink:
            one = json.dumps({"method": "io.tfqd.Info"}).encode() + b"\0"
            two = json.dumps({"method": "org.varlink.service.GetInfo"}).encode() + b"\0"
            varlink.send_bytes(one + two + one)
            for member in ("daemon", "vendor", "daemon"):
                check(member in varlink.answer(), f"no {member} in the answer")
            varlink.send("io.tfqd.List", oneway=True)
            check("vendor" in varlink.call("org.varlink.service.GetInfo"), "a oneway call was answered")


@case("a message over 1 MiB is refused, one just under it is not")
def too_large():
    with World(terraform=False) as world:
        for size in (1024 * 1024 + 1, 2 * 1024 * 1024):
            with Varlink(world.socket) as varlink:
                try:
                    varlink.send_bytes(b'{"method":"' + b"x" * size)
                    varlink.send_bytes(b'"}\0')
                except (BrokenPipeError, ConnectionResetError):
                    pass
                check(varlink.is_closed(), f"still open after {size} bytes")
            still_serves(world)
        with Varlink(world.socket) as varlink:
            call = b'{"method":"org.varlink.service.GetInfo","parameters":{"x":"' + b"y" * (1000 * 1024) + b'"}}\0'
            varlink.send_bytes(call)
            check("vendor" in varlink.answer(), "a message of 1000 KiB was not answered")


@case("five descriptors with one message, or none where one is promised, are refused; none is kept open")
def descriptors():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        still_serves(world)
        before = len(os.listdir(f"/proc/{world.daemon.pid}/fd"))
        null = os.open("/dev/null", os.O_RDWR)
        try:
            for _ in range(20):
                with Varlink(world.socket) as varlink:
                    try:
                        varlink.send("io.tfqd.List", fds=[null] * 5)
                    except (BrokenPipeError, ConnectionResetError):
                        pass
                    check(varlink.is_closed(), "still open after five descriptors")
                with Varlink(world.socket) as varlink:
                    varlink.send("io.tfqd.Info", fds=[null] * 4)
                    check("daemon" in varlink.answer(), "four descriptors were not ignored")
            for _ in range(20):  # more and more on one connection
                with Varlink(world.socket) as varlink:
                    try:
                        for _ in range(10):
                            varlink.send("io.tfqd.Info", fds=[null] * 3)
                            varlink.answer()
                    except (OSError, EOFError, VarlinkError):
                        pass
            same(error_of(world, "io.tfqd.Submit", **submit_parameters(world, work, attach=True)),
                 "io.tfqd.BadRequest", "the error without a descriptor")
            same(error_of(world, "io.tfqd.Submit", [null], **submit_parameters(world, work, attach=True, stdin=True)),
                 "io.tfqd.BadRequest", "the error with one of two descriptors")
        finally:
            os.close(null)
        wait_for(lambda: len(os.listdir(f"/proc/{world.daemon.pid}/fd")) <= before, "no descriptor is kept")
        same(world.jobs(), [], "the jobs")
        still_serves(world, work)


@case("an attach channel that is no socket, or closed, or never read, keeps no job from its end")
def strange_attach():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        fake = world.fake_terraform("seq 200000; echo ran >> runs\n")["PATH"]
        env = [f"PATH={fake}", "AWS_ACCESS_KEY_ID=testkey", "AWS_SECRET_ACCESS_KEY=testsecret"]
        null = os.open("/dev/null", os.O_RDWR)
        reader, writer = os.pipe()
        one, two = socket.socketpair()
        gone, closed = socket.socketpair()
        closed.close()
        data, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            for fd in (null, writer, reader):
                with Varlink(world.socket) as varlink:
                    varlink.send("io.tfqd.Submit", submit_parameters(world, work, attach=True, environment=env), [fd])
                    try:
                        varlink.answer()
                        check(False, "a descriptor that is no socket was taken")
                    except VarlinkError as error:
                        contains(str(error), "no AF_UNIX socket")
            for number, fd in enumerate((two.fileno(), gone.fileno(), data.fileno()), 1):
                with Varlink(world.socket) as varlink:
                    varlink.send("io.tfqd.Submit", submit_parameters(world, work, attach=True, environment=env), [fd])
                    check(varlink.answer()["job"]["id"] == number, "another number")
                job = wait_for(lambda: (lambda j: j["ended"] and j)(world.job(number)), f"the end of job {number}")
                same(job["status"], "done", f"how job {number} ended")
            world.wait_unlocked()
        finally:
            for fd in (null, reader, writer):
                os.close(fd)
            for end in (one, two, gone, data, other):
                end.close()
        still_serves(world)


@case("embedded NULs end a message: what is on both sides is judged by itself")
def embedded_nul():
    with World(terraform=False) as world:
        with Varlink(world.socket) as varlink:
            varlink.send_bytes(b'{"method":"io.tfqd.\0List"}\0')
            check(varlink.is_closed(), "still open")
        still_serves(world)


@case("parameters of a wrong type or size are refused by name, and no job is made")
def wrong_parameters():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        bad = "io.tfqd.BadRequest"
        mismatch = "io.tfqd.VersionMismatch"
        for changes, want in (({"protocol": 2}, mismatch), ({"protocol": ...}, mismatch),
                              ({"protocol": "1"}, mismatch), ({"argv": "apply"}, bad),
                              ({"argv": []}, bad), ({"argv": [5]}, bad), ({"argv": ["output"]}, bad),
                              ({"argv": ["apply"] * 5000}, bad), ({"argv": ["nonsense"]}, bad),
                              ({"argv": ["apply", None]}, bad), ({"environment": {}}, bad), ({"environment": [1]}, bad),
                              ({"environment": ["x=y"] * 9000}, bad), ({"directory": "relative"}, bad),
                              ({"directory": "/" + "x" * 5000}, bad), ({"directory": ...}, bad),
                              ({"directory": 5}, bad), ({"state_directory": "."}, bad), ({"umask": -1}, bad),
                              ({"umask": 512}, bad), ({"umask": "18"}, bad), ({"workspace": 5}, bad),
                              ({"workspace": "x" * 200}, bad), ({"label": "x" * 600}, bad), ({"reason": []}, bad),
                              ({"priority": "urgent"}, bad), ({"backend": "{"}, "io.tfqd.BadState"),
                              ({"plan": True}, bad), ({"plan": True, "argv": ["plan", "p"]}, bad),
                              ({"plan": True, "argv": ["apply", "p"], "backend": ...}, bad),
                              ({"backend": 5}, bad), ({"backend": "x" * 300000}, bad),
                              ({"workspace": ".."}, "io.tfqd.BadState")):
            same(error_of(world, "io.tfqd.Submit", **submit_parameters(world, work, **changes)), want,
                 f"the error for {str(changes)[:80]}")
        for method, parameters, want in (("Info", {"id": "1"}, bad), ("Info", {"id": 1}, "io.tfqd.NoSuchJob"),
                                         ("Info", {"id": -1}, "io.tfqd.NoSuchJob"), ("Info", {"id": None}, bad),
                                         ("Cancel", {}, bad), ("Cancel", {"id": 99}, "io.tfqd.NoSuchJob"),
                                         ("Resume", {}, "io.tfqd.NoSuchState"), ("Resume", {"state": "x"}, "io.tfqd.NoSuchState"),
                                         ("Hello", {"protocol": 1, "job": 1, "phase": "new"}, "io.tfqd.NoSuchJob"),
                                         ("Hello", {"protocol": 9}, "io.tfqd.VersionMismatch")):
            same(error_of(world, "io.tfqd." + method, **parameters), want, f"the error for {method} with {parameters}")
        same(world.jobs(), [], "the jobs")
        still_serves(world, work)
        same(error_of(world, "io.tfqd.Hello", protocol=1, job=1, phase="new"), "io.tfqd.NotAllowed",
             "the error for a runner that is none")


@case("a client that reports in a runner's name is dropped")
def false_runner():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        env = world.fake_terraform("echo started\nwhile [ ! -e end ]; do sleep 0.05; done\n")
        program = work.spawn("apply", env=env)
        wait_for(lambda: "started" in program.out, "the start")
        for event in ("exited", "ready", "refused", "started"):
            with Varlink(world.socket) as varlink:
                varlink.send("io.tfqd.Report", {"job": 1, "event": event, "exit_code": 0}, oneway=True)
                check(varlink.is_closed(), f"still open after {event}")
        same(error_of(world, "io.tfqd.Hello", protocol=1, job=1, phase="running"), "io.tfqd.NotAllowed", "the error")
        same(world.job(1)["status"], "running", "the status")
        work.write("end", "")
        same(program.wait().code, 0, "the exit code")


@case("tfqd speaks varlink: GetInfo, GetInterfaceDescription, and its errors for what is not there")
def varlink_service():
    with World(terraform=False) as world:
        with Varlink(world.socket) as varlink:
            info = varlink.call("org.varlink.service.GetInfo")
            same(sorted(info), ["interfaces", "product", "url", "vendor", "version"], "the members of GetInfo")
            same(sorted(info["interfaces"]), ["io.tfqd", "org.varlink.service"], "the interfaces")
            for name in info["interfaces"]:
                text = varlink.call("org.varlink.service.GetInterfaceDescription", interface=name)["description"]
                contains(text, f"interface {name}", "method ")
            for method, parameters, error, more in (
                    ("io.tfqd.Nothing", {}, "MethodNotFound", {"method": "io.tfqd.Nothing"}),
                    ("com.example.Thing", {}, "MethodNotFound", {"method": "com.example.Thing"}),
                    ("nonsense", {}, "MethodNotFound", {"method": "nonsense"}),
                    ("org.varlink.service.GetInterfaceDescription", {"interface": "com.example"}, "InterfaceNotFound",
                     {"interface": "com.example"}),
                    ("org.varlink.service.GetInterfaceDescription", {}, "InvalidParameter",
                     {"parameter": "interface"})):
                try:
                    varlink.call(method, **parameters)
                    raise AssertionError(f"{method} succeeds")
                except VarlinkError as found:
                    same(found.name, "org.varlink.service." + error, "the error")
                    same(found.parameters, more, "its parameters")


@case("every change of a job is told to who asked with more, the last one without continues")
def watching():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        with Varlink(world.socket) as varlink:
            varlink.send("io.tfqd.Submit", submit_parameters(world, work), more=True)
            seen, message = [], {"continues": True}
            while message.get("continues"):
                message = varlink.receive()
                seen.append(message["parameters"]["job"]["status"])
        order = ["queued", "locking", "running", "done"]
        same([status for status in order if status in seen], order, "the statuses")
        same(seen, sorted(seen, key=order.index), "their order")
        world.wait_unlocked()


@case("five hundred connections that say nothing, and two hundred jobs, are no burden")
def many():
    with World(terraform=False) as world:
        work = world.directory(init="by hand")
        idle = [Varlink(world.socket) for _ in range(500)]
        parameters = submit_parameters(world, work, argv=["plan"])
        with Varlink(world.socket) as varlink:
            for _ in range(200):
                varlink.send("io.tfqd.Submit", parameters)
            numbers = [varlink.answer()["job"]["id"] for _ in range(200)]
        same(numbers, list(range(1, 201)), "the numbers")
        wait_for(lambda: len([job for job in world.jobs() if job["status"] == "done"]) == 200, "the end of all", 60)
        same(work.read("runs"), "ran\n" * 200, "who ran")
        world.wait_unlocked()
        for varlink in idle:
            varlink.close()


main()
