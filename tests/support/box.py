# SPDX-License-Identifier: MIT
"""A World whose tfqd is a service of a real systemd: `make install` into a box (systemd-box), users who type tfq in it.

The S3 and DynamoDB server is this process's, in a network namespace that the boxes share, so that it outlives them.
This process and the box see the world's folder under the same path.
"""
import ctypes
import os
import shutil
import subprocess

from harness import BUILD, HERE, ROOT, Skip, World, check, is_plain, ran, wait_for

SYSTEMD_BOX = os.path.join(HERE, "systemd-box")
CLONE_NEWNET = 0x40000000
NEEDED = ("/lib/systemd/systemd", "systemctl", "systemd-run", "dbus-daemon", "unshare", "nsenter", "setpriv", "ip")
USERS = {"alice": 2001, "bob": 2002, "carol": 2003}
GROUPS = {"netops": 2101, "dbops": 2102}
VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "CHECKPOINT_DISABLE", "TF_CLI_CONFIG_FILE")
BOOT_SECONDS = 60


def need_systemd():
    if os.geteuid() != 0:
        raise Skip("only root can boot a systemd in a box")
    for tool in NEEDED:
        if not shutil.which(tool):
            raise Skip(f"there is no {tool} to boot a systemd in a box with")
    if not is_plain():
        raise Skip("what sanitizers and gcov need, the service's sandbox takes away")
    made = subprocess.run(["unshare", "--mount", "--pid", "--net", "--cgroup", "--fork", "true"], capture_output=True,
                          timeout=20, check=False)
    if made.returncode != 0:
        raise Skip("this machine lets nobody make namespaces: " + made.stderr.decode(errors="replace").strip())


def own_network():
    """From here on this process has a network of its own. Return a descriptor of the one before."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) < 0:
        raise Skip("no network namespace: " + os.strerror(ctypes.get_errno()))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=20)
    return before


class Box(World):
    def __init__(self, config=""):
        need_systemd()
        self.outside = f"--net=/proc/{os.getpid()}/fd/{own_network()}"
        super().__init__(config, daemon=False, shared=True)
        self.name = f"tfq{os.getpid()}"
        os.chmod(os.path.join(self.path, "home"), 0o777)

    def __enter__(self):
        super().__enter__()
        try:
            self.install()
            self.boot()
        except BaseException:
            self.__exit__(AssertionError, AssertionError(), None)
            raise
        return self

    def __exit__(self, kind, error, trace):
        if error and not isinstance(error, Skip):
            self.show(self.journal())
        try:
            self.box("stop", "--now", self.name)
        finally:
            super().__exit__(kind, error, trace)

    def install(self):
        folder = os.path.join(self.path, "installed")
        build = os.path.relpath(BUILD, ROOT)
        ran(self.run("make", "-o", "all", "install", f"BUILD={build}", f"DESTDIR={folder}", "PREFIX=/usr", cwd=ROOT))
        with open(os.path.join(folder, "etc/tfqd/tfqd.conf"), "w", encoding="utf-8") as file:
            file.write(self.config)
        script = [f"cp -a '{folder}'/. /", "systemd-sysusers", "systemctl daemon-reload"]
        script += [f"groupadd -g {number} {name}" for name, number in GROUPS.items()]
        for name, number in USERS.items():
            group = "dbops" if name == "carol" else "netops"
            script.append(f"useradd -u {number} -g {group} -G tfq -m -s /bin/sh {name}")
        script.append("systemctl enable --now -q tfqd.socket")
        script.append("systemctl enable -q tfqd.service")
        self.set_up = " && ".join(script)

    def boot(self):
        self.box("start", "-q", "--bind", self.path, "--netns", f"/proc/{os.getpid()}/ns/net", "--max-life", "600", self.name)
        self.sh(self.set_up)
        self.find()

    def find(self):
        """The box has booted: where is it?"""
        self.pid = int(self.box("pid", self.name).out)
        self.root = f"/proc/{self.pid}/root"
        self.socket = self.root + "/run/tfqd/tfqd.sock"
        self.sh("systemctl start tfqd")
        wait_for(self.is_served, "tfqd's socket")

    def box(self, *argv):
        """systemd-box, from outside of the network that the box has."""
        return ran(self.run("nsenter", self.outside, SYSTEMD_BOX, *argv,
                            seconds=BOOT_SECONDS))

    def command(self, *argv, user="root", cwd="/", env=None):
        variables = [word for name, value in (env or {}).items() for word in ("-E", f"{name}={value}")]
        return ["nsenter", self.outside, SYSTEMD_BOX, "exec", "-q", "--clean-env", "--user", user, "--workdir", cwd,
                *variables, self.name, "--", *argv]

    def sh(self, script, code=0, **how):
        """Run it in the box; return what it printed."""
        result = self.run(*self.command("/bin/sh", "-c", script, **how))
        return ran(result, code).out.strip()

    def enter(self, *argv):
        """Run it in the box beside its systemd, which may not answer just now."""
        return ran(self.run("nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "-C", "--", *argv))

    def typed(self, user, work, *argv, env=None, umask="022", start=False):
        """What @user types in @work; @env: more variables, None takes one away; @start: return the program that runs."""
        variables = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": f"/home/{user}"}
        variables.update({name: self.env[name] for name in VARIABLES}, **(env or {}))
        variables = {name: value for name, value in variables.items() if value is not None}
        words = self.command("/bin/sh", "-c", f'umask {umask}; exec "$@"', "sh", "tfq", *argv, user=user, cwd=work.path,
                             env=variables)
        program = self.spawn(*words)
        return program if start else program.wait()

    def queue(self, user, work, name, *options, **how):
        """Queue an apply, with nobody attached; return its number."""
        return int(ran(self.typed(user, work, "-d", "--label", name, *options, *work.apply_argv(name), **how)).out)

    def directory_of(self, user, name, **options):
        work = self.directory(name, journal=os.path.join(self.path, name, "journal"), **options)
        group = "dbops" if user == "carol" else "netops"
        for folder, _, names in os.walk(work.path):
            for path in [folder] + [os.path.join(folder, name) for name in names]:
                os.chown(path, USERS[user], GROUPS[group])
        return work

    def property(self, unit, name):
        return self.sh(f"systemctl show -P {name} {unit}")

    def cgroup_of(self, unit):
        """Numbers of the processes in it, as the box sees them; None if there is no such cgroup."""
        found = self.sh(f"cat /sys/fs/cgroup/tfq.slice/{unit}/cgroup.procs 2>/dev/null || "
                        f"cat /sys/fs/cgroup/unified/tfq.slice/{unit}/cgroup.procs 2>/dev/null || echo none")
        return None if found == "none" else [int(pid) for pid in found.split()]

    def journal(self, *options):
        try:
            return self.box("journal", self.name, "-o", "short-precise", *options).out
        except AssertionError as error:
            return f"no journal: {error}"

    def reboot(self, *options):
        self.box("reboot", *options, self.name)
        check(int(self.box("pid", self.name).out) != self.pid, "the box has not been booted again")
        self.find()
