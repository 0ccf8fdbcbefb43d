# SPDX-License-Identifier: MIT
"""What things cost tfqd, one row for each number of jobs, states, clients or locks.

terraform is a stub: a shell script that counts its runs and lasts as long as it is told to. Where a cost is given in
cpu_us, that is what tfqd's threads have used of the processor for one; waiting for the disk is not in it."""
import contextlib
import os
import re
import statistics
import subprocess
import tempfile
import time

import probe
from harness import KEY, TFQ, TFQD, Varlink, World, check, wait_for

TIMES = 101          # of what is timed
STATES = 100         # among which jobs are spread
RUNS = 25            # of jobs that are let run, one after the other
STUB_SECONDS = 0.1   # each of them; longer than it takes to get the next one's runner ready
WATCH_SECONDS = 10
IDLE_SECONDS = 60
SETTLE_SECONDS = 7   # of quiet: longer than the timers that work leaves behind
RENEW_SECONDS = 60
RENEW_JITTER = 1.1   # a renewal comes so much later at most
LIMITS = ("[daemon]\nmax_running = {running}\n[queue]\nmax_queued = 20000\nmax_queued_per_user = 20000\n"
          "max_running_per_user = 2000\n[lock]\nrenew = {renew}s\n")


def key_of(number):
    return f"state-{number}/terraform.tfstate"


class Stage:
    """A tfqd with a stub for terraform; @tls: a store that speaks TLS."""

    def __init__(self, running=2000, tls=None):
        self.world = World(LIMITS.format(running=running, renew=RENEW_SECONDS), terraform=False,
                           server={"tls": tls} if tls else None)
        self.config = {"custom_ca_bundle": tls[0]} if tls else {}

    def __enter__(self):
        self.world.__enter__()
        self.work = self.world.directory(init="by hand")
        self.runs = os.path.join(self.world.path, "runs")
        self.use_stub(f"sleep {STUB_SECONDS}\n")
        self.link = Varlink(self.world.socket, 60)
        return self

    def __exit__(self, *error):
        self.link.close()
        self.world.__exit__(*error)

    def use_stub(self, script):
        with open(self.runs, "wb"):
            pass
        self.fake = self.world.fake_terraform(f"echo >>{self.runs}\n{script}")

    @property
    def pid(self):
        return self.world.daemon.pid

    def call(self, method, **parameters):
        return self.link.call("io.tfqd." + method, **parameters)

    def submission(self, key, work=None):
        return probe.submission(self.world, work or self.work, key, self.fake["PATH"], **self.config)

    def submit(self, key, work=None):
        return self.call("Submit", **self.submission(key, work))["job"]["id"]

    def submit_on(self, number):
        """A job that can run: its directory is about that state. One on another state than KEY only waits."""
        key = key_of(number)
        return self.submit(key, self.world.directory(f"work{number}", key=key, init="by hand"))

    def running(self):
        return int(re.search(r'^tfqd_jobs{status="running"} (\d+)$', self.call("Metrics")["text"], re.M)[1])

    def is_run(self, id_):
        return self.call("Info", id=id_)["job"]["status"] != "queued"

    def run_some(self, ids):
        """Let RUNS of the jobs run, and take them from @ids; return the processor's seconds for each, and hand-overs
        in milliseconds."""
        os.truncate(self.runs, 0)
        used = probe.seconds(self.pid)
        self.call("Resume")
        wait_for(lambda: os.path.getsize(self.runs) >= RUNS, "so many runs", 120)
        used = (probe.seconds(self.pid) - used) / RUNS
        self.call("Pause")
        wait_for(lambda: not any(job["status"] != "queued" for job in self.call("List", brief=True)["jobs"]),
                 "the end of what runs", 60)
        handovers = []
        while ids and self.is_run(ids[0]):
            job = self.call("Info", id=ids.pop(0))["job"]
            check(job["status"] == "done", f"a job ended otherwise: {job}")
            if "handover" in job:
                handovers.append(job["handover"] / 1000)
        return used, handovers


def cost(stage, *works):
    """Of works that are done in turn: {"ms": the median, "cpu_us": of tfqd} of each."""
    times, used = [[] for _ in works], [0.0] * len(works)
    for _ in range(TIMES):
        for i, work in enumerate(works):
            before, began = probe.seconds(stage.pid), time.monotonic()
            work()
            times[i].append((time.monotonic() - began) * 1000)
            used[i] += probe.seconds(stage.pid) - before
    return [{"ms": statistics.median(of), "cpu_us": one / TIMES * 1e6} for of, one in zip(times, used)]


def submit_and_cancel(stage, key):
    """What one more costs, and one less; as many jobs are left as before."""
    ids = []
    return cost(stage, lambda: ids.append(stage.submit(key)), lambda: stage.call("Cancel", id=ids.pop()))


def sizes(most, least=10):
    size = least
    while size <= most:
        yield size
        size *= 10


# --- jobs that wait -----------------------------------------------------------------------

def queue(most, progress):
    results = []
    with Stage() as stage:
        stage.call("Pause")
        count, idle_mib = 0, probe.memory(stage.pid)
        for size in sizes(most):
            progress(f"{size} jobs that wait")
            while count < size:
                stage.submit(key_of(count % STATES))
                count += 1
            submit, cancel = submit_and_cancel(stage, key_of(0))
            info, = cost(stage, lambda: stage.call("Info", id=1))
            page, = cost(stage, lambda: stage.call("List", brief=True))  # apart: what it tidies up comes after its answer
            shown, = cost(stage, lambda: subprocess.run([TFQ, "queue"], env=stage.world.env, check=True,
                                                        stdout=subprocess.DEVNULL))
            rows = len(stage.call("List", brief=True)["jobs"])
            results.append({
                "jobs": size, "submit_ms": submit["ms"], "submit_cpu_us": submit["cpu_us"],
                "cancel_ms": cancel["ms"], "cancel_cpu_us": cancel["cpu_us"],
                "page_cpu_us_a_row": page["cpu_us"] / rows, "info_cpu_us": info["cpu_us"], "tfq_queue_ms": shown["ms"],
                "tfq_queue_us_a_row": shown["ms"] * 1000 / size, "rss_mib": probe.memory(stage.pid),
                "anonymous_mib": probe.memory(stage.pid, "RssAnon")})
        progress(f"nothing that runs, for {IDLE_SECONDS} s")
        idle = {"jobs": count, "seconds": IDLE_SECONDS, "rss_mib": idle_mib, "libraries_mib": library_floor(),
                "switches": wake_ups(stage)}
    return results, idle


def wake_ups(stage):
    """How often tfqd's threads were switched to or from in a minute, or so, of nothing."""
    seen = []

    def is_quiet():
        time.sleep(1)
        seen.append(probe.switches(stage.pid))
        return len(seen) >= SETTLE_SECONDS and len(set(seen[-SETTLE_SECONDS:])) == 1
    wait_for(is_quiet, "the end of what work has left to do", 120)
    before = probe.switches(stage.pid)
    time.sleep(IDLE_SECONDS)  # what is measured
    return probe.switches(stage.pid) - before


def library_floor():
    """MiB of a process that has tfqd's libraries loaded, and does nothing."""
    shown = subprocess.run(["ldd", TFQD], check=True, stdout=subprocess.PIPE).stdout.decode()
    libraries = re.findall(r"=> (/\S+)", shown)
    process = subprocess.Popen(["sleep", "60"], env={"LD_PRELOAD": " ".join(libraries), "LD_BIND_NOW": "1"})

    def loaded():
        with open(f"/proc/{process.pid}/wchan", encoding="utf-8") as file:
            return "nanosleep" in file.read()
    try:
        wait_for(loaded, "its sleep")
        return probe.memory(process.pid)
    finally:
        process.kill()
        process.wait()


# --- hand-overs ---------------------------------------------------------------------------

def handovers(most, progress):
    """Of a line with so many jobs behind."""
    results, ids = [], []
    with Stage() as stage:
        stage.call("Pause")
        for size in sizes(most):
            progress(f"hand-overs in a line of {size}")
            while len(ids) < size + RUNS:
                ids.append(stage.submit(KEY))
            used, took = stage.run_some(ids)
            results.append({"behind": size, "handover_p50_ms": statistics.median(took),
                            "handover_most_ms": max(took), "job_cpu_us": used * 1e6})
    return results


def states(most, progress):
    """So many lines, a job in each; one job runs at a time."""
    results, ids = [], []
    with Stage(running=1) as stage:
        stage.call("Pause")
        count, before = 0, probe.memory(stage.pid, "RssAnon")
        for size in sizes(most, 1):
            progress(f"{size} states")
            while len(ids) < size:
                ids.append(stage.submit_on(count))
                count += 1
            submit, cancel = submit_and_cancel(stage, key_of(count))
            info, = cost(stage, lambda: stage.call("Info", id=ids[0]))
            page, = cost(stage, lambda: stage.call("List", brief=True))
            rows = len(stage.call("List", brief=True)["jobs"])
            results.append({
                "states": size, "submit_ms": submit["ms"], "submit_cpu_us": submit["cpu_us"],
                "cancel_cpu_us": cancel["cpu_us"], "page_cpu_us_a_row": page["cpu_us"] / rows,
                "info_cpu_us": info["cpu_us"],
                "anonymous_kib_each": (probe.memory(stage.pid, "RssAnon") - before) * 1024 / size})
            if size > 2 * RUNS:
                used, _ = stage.run_some(ids)
                results[-1]["job_cpu_us"] = used * 1e6
    return results


# --- clients ------------------------------------------------------------------------------

def clients(most, progress):
    """Each watches a job of its own, which waits."""
    results = []
    with Stage() as stage, contextlib.ExitStack() as watchers:
        stage.call("Pause")
        count, before = 0, probe.memory(stage.pid, "RssAnon")
        for size in sizes(most):
            progress(f"{size} clients")
            while count < size:
                link = watchers.enter_context(Varlink(stage.world.socket, 60))
                link.send("io.tfqd.Submit", stage.submission(key_of(count % STATES)), more=True)
                link.answer()
                count += 1
            used = probe.seconds(stage.pid)
            time.sleep(WATCH_SECONDS)  # what is measured
            used = (probe.seconds(stage.pid) - used) / WATCH_SECONDS * 100
            submit, cancel = submit_and_cancel(stage, key_of(0))
            results.append({"clients": size, "submit_ms": submit["ms"], "submit_cpu_us": submit["cpu_us"],
                            "cancel_cpu_us": cancel["cpu_us"], "cpu_percent_idle": used,
                            "anonymous_kib_each": (probe.memory(stage.pid, "RssAnon") - before) * 1024 / size})
    return results


# --- locks --------------------------------------------------------------------------------

@contextlib.contextmanager
def certificate():
    """(certificate, key) of a store on this machine; the certificate vouches for itself."""
    with tempfile.TemporaryDirectory(prefix="tfq-bench.") as folder:
        pair = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                        pair[1], "-out", pair[0]], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield pair


def handshakes(progress):
    """TLS connections to the store that hand-overs needed."""
    progress("hand-overs over TLS")
    with certificate() as pair, Stage(tls=pair) as stage:
        stage.call("Pause")
        ids = [stage.submit(KEY) for _ in range(3 * RUNS)]
        stage.run_some(ids)  # has connected
        before, written = stage.world.server.count, len(stage.world.lock_requests(KEY))
        _, took = stage.run_some(ids)
        return {"handovers": len(took), "requests": len(stage.world.lock_requests(KEY)) - written,
                "handshakes": stage.world.server.count - before}


def renewed(stage, since):
    """Of how many locks a new version has been written since request number @since."""
    with stage.world.server.lock:
        entries = stage.world.server.log[since:]
    return len({entry["key"] for entry in entries if entry["method"] == "PUT" and entry["applied"] == 200})


def locks(most, progress):
    """So many states at work, each with a lock that is renewed once a minute, over TLS. What works waits in open(2)."""
    results = []
    with certificate() as pair, Stage(tls=pair) as stage:
        end = os.path.join(stage.world.path, "end")
        os.mkfifo(end)
        stage.use_stub(f": <{end}\n")
        count, window = 0, RENEW_SECONDS * RENEW_JITTER + 2
        for size in sizes(most, 100):
            progress(f"{size} locks")
            while count < size:
                stage.submit_on(count)
                count += 1
            wait_for(lambda n=size: stage.running() == n, f"{size} jobs that run", 300)
            time.sleep(RENEW_SECONDS / 2)  # those of the start are brisk
            used, requests = probe.seconds(stage.pid), len(stage.world.server.log)
            time.sleep(window)  # what is measured
            used = (probe.seconds(stage.pid) - used) / window * 100
            results.append({"locks": size, "renewed": renewed(stage, requests), "cpu_percent": used,
                            "cpu_us_a_lock": used / 100 * window / size * 1e6, "rss_mib": probe.memory(stage.pid),
                            "connections": len(stage.world.server.connections)})
        with open(end, "w", encoding="ascii"):  # all that wait for it go on
            pass
        wait_for(lambda: stage.running() == 0, "the end", 300)
    return results
