#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How tfqd's cost grows: with jobs that wait, clients that watch, and states whose locks are held.

    scale.py [--most N] [--out DIR] [--json]

  --most N      the largest number of jobs that wait (10000); of clients and of locks a tenth of it
  --out DIR     scale.json and scale.svg go there
  --json        the results as JSON on stdout, nothing else

terraform is replaced by a program that does nothing: what is timed is tfqd, its runners and its client.
"""
import argparse
import contextlib
import copy
import json
import os
import re
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import BACKEND_FILE, TFQ, TFQD, Varlink, World, wait_for  # noqa: E402
import plot  # noqa: E402

REPEAT = 11       # of what is timed once per size
STATES = 100      # among which the jobs are spread
WATCH_SECONDS = 10
RENEW_SECONDS = 60
LIMITS = ("[daemon]\nmax_running = 2000\n[queue]\nmax_queued = 20000\nmax_queued_per_user = 20000\n"
          "max_running_per_user = 2000\n")


class Stage:
    def __init__(self, config=LIMITS):
        self.world = World(config, terraform=False)

    def __enter__(self):
        self.world.__enter__()
        self.work = self.world.directory(init="by hand")
        self.fake = self.world.fake_terraform(f"while [ ! -e {self.work.path}/end ]; do sleep 5; done\n")
        self.link = Varlink(self.world.socket, 60)
        return self

    def __exit__(self, *error):
        self.link.close()
        self.world.__exit__(*error)

    def call(self, method, **parameters):
        return self.link.call("io.tfqd." + method, **parameters)

    def submission(self, key, work=None):
        work = work or self.work
        backend = copy.deepcopy(BACKEND_FILE)
        backend["backend"]["config"].update(key=key, endpoints={"s3": self.world.url})
        return {"protocol": 1, "argv": ["apply"], "directory": work.path, "state_directory": work.path,
                "backend": json.dumps(backend), "workspace": "default", "umask": 18,
                "environment": [f"PATH={self.fake['PATH']}", "AWS_ACCESS_KEY_ID=testkey",
                                f"AWS_SECRET_ACCESS_KEY={self.world.env['AWS_SECRET_ACCESS_KEY']}"]}

    def submit(self, key, work=None):
        return self.call("Submit", **self.submission(key, work))["job"]["id"]

    def memory(self, kind="VmRSS"):
        """Of tfqd, in MiB."""
        with open(f"/proc/{self.world.daemon.pid}/status", encoding="utf-8") as file:
            return int(re.search(rf"^{kind}:\s+(\d+)", file.read(), re.M)[1]) / 1024

    def seconds(self):
        """Of the processor, that tfqd has used."""
        with open(f"/proc/{self.world.daemon.pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def milliseconds(work, times=REPEAT):
    taken = []
    for _ in range(times):
        began = time.monotonic()
        work()
        taken.append((time.monotonic() - began) * 1000)
    return statistics.median(taken)


def sizes(most):
    size = 10
    while size <= most:
        yield size
        size *= 10


def measure_queue(most, progress):
    results = []
    with Stage() as stage:
        stage.call("Pause")
        count = 0
        for size in sizes(most):
            progress(f"{size} jobs that wait")
            while count < size - 1:
                stage.submit(f"state-{count % STATES}/terraform.tfstate")
                count += 1
            numbers = []

            def one_more(into=numbers):
                into.append(stage.submit("state-0/terraform.tfstate"))

            def one_less(of=numbers):
                stage.call("Cancel", id=of.pop())
            results.append({
                "jobs": size, "submit_ms": milliseconds(one_more), "cancel_ms": milliseconds(one_less),
                "page_ms": milliseconds(lambda: stage.call("List", brief=True)),
                "info_ms": milliseconds(lambda: stage.call("Info", id=1)),
                "queue_ms": milliseconds(lambda: subprocess.run([TFQ, "queue"], env=stage.world.env, check=True,
                                                                stdout=subprocess.DEVNULL)),
                "rss_mib": stage.memory(), "anonymous_mib": stage.memory("RssAnon")})
    return results


def measure_clients(most, progress):
    """Each watches a job of its own, which waits."""
    results = []
    with Stage() as stage, contextlib.ExitStack() as watchers:
        stage.call("Pause")
        count, before = 0, stage.memory("RssAnon")
        for size in sizes(most):
            progress(f"{size} clients")
            while count < size:
                link = watchers.enter_context(Varlink(stage.world.socket, 60))
                link.send("io.tfqd.Submit", stage.submission(f"state-{count % STATES}/terraform.tfstate"), more=True)
                link.answer()
                count += 1
            used = stage.seconds()
            time.sleep(WATCH_SECONDS)  # what is measured
            results.append({"clients": size, "submit_ms": milliseconds(lambda: stage.submit("state-0/terraform.tfstate")),
                            "anonymous_kib_each": (stage.memory("RssAnon") - before) * 1024 / size,
                            "cpu_percent_idle": (stage.seconds() - used) / WATCH_SECONDS * 100})
    return results


def measure_locks(most, progress):
    """So many states at work, each with a lock that is renewed once a minute."""
    results = []
    with Stage(LIMITS + f"[lock]\nrenew = {RENEW_SECONDS}s\n") as stage:
        count = 0
        for size in sizes(most):
            progress(f"{size} locks")
            while count < size:
                key = f"state-{count}/terraform.tfstate"
                stage.submit(key, stage.world.directory(f"work{count}", key=key, init="by hand"))
                count += 1
            wait_for(lambda n=size: running(stage) == n, f"{size} jobs that run", 300)
            used, requests = stage.seconds(), len(stage.world.server.log)
            time.sleep(RENEW_SECONDS)  # every lock is renewed once
            results.append({"locks": size, "cpu_percent": (stage.seconds() - used) / RENEW_SECONDS * 100,
                            "renewals": len(stage.world.server.log) - requests})
        stage.work.write("end", "")
        wait_for(lambda: running(stage) == 0, "the end", 300)
    return results


def running(stage):
    return int(re.search(r'^tfqd_jobs{status="running"} (\d+)$', stage.call("Metrics")["text"], re.M)[1])


def library_floor():
    """MiB of a process that has tfqd's libraries loaded, and does nothing."""
    shown = subprocess.run(["ldd", TFQD], check=True, stdout=subprocess.PIPE).stdout.decode()
    libraries = re.findall(r"=> (/\S+)", shown)
    process = subprocess.Popen(["sleep", "60"], env={"LD_PRELOAD": " ".join(libraries), "LD_BIND_NOW": "1"})

    def loaded():
        with open(f"/proc/{process.pid}/maps", encoding="utf-8") as file:
            return "libc.so" in file.read()
    try:
        wait_for(loaded, "its libraries")
        time.sleep(0.3)
        with open(f"/proc/{process.pid}/status", encoding="utf-8") as file:
            return int(re.search(r"^VmRSS:\s+(\d+)", file.read(), re.M)[1]) / 1024
    finally:
        process.kill()
        process.wait()


def show(title, results):
    names = list(results[0])
    rows = [[name.replace("_", " ") for name in names]]
    rows += [[f"{result[name]:g}" if isinstance(result[name], int) else f"{result[name]:.2f}" for name in names]
             for result in results]
    widths = [max(len(row[i]) for row in rows) for i in range(len(names))]
    print(title)
    for row in rows:
        print("  " + "  ".join(value.rjust(width) for value, width in zip(row, widths)))
    print()


def write(report, folder):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "scale.json"), "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2)
        file.write("\n")
    series = {name: [(one["jobs"], one[key]) for one in report["queue"]] for name, key in
              (("submit", "submit_ms"), ("cancel", "cancel_ms"), ("a page", "page_ms"), ("tfq queue", "queue_ms"))}
    with open(os.path.join(folder, "scale.svg"), "w", encoding="utf-8") as file:
        file.write(plot.curves("What one costs, by how many jobs wait", series, "jobs that wait", "ms"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage="scale.py [OPTION]...")
    parser.add_argument("--most", type=int, default=10000, help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()

    def progress(title):
        if not options.json:
            print(f"... {title}", file=sys.stderr, flush=True)
    report = {"queue": measure_queue(options.most, progress), "clients": measure_clients(options.most // 10, progress),
              "locks": measure_locks(options.most // 10, progress), "libraries_mib": library_floor()}
    if options.out:
        write(report, options.out)
    if options.json:
        json.dump(report, sys.stdout, indent=2)
        print()
        return 0
    show("Jobs that wait, on 100 states", report["queue"])
    show("Clients that watch a job each", report["clients"])
    show(f"Locks held, renewed every {RENEW_SECONDS} s", report["locks"])
    print(f"A process with tfqd's libraries that does nothing: {report['libraries_mib']:.1f} MiB")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
