# SPDX-License-Identifier: MIT
"""What bench.py and scale.py ask of tfqd and of the kernel."""
import copy
import glob
import json
import os
import re
import subprocess

from harness import BACKEND_FILE, BUILD

FLOOR = os.path.join(BUILD, "tests", "bench", "floor")


def submission(world, work, key, path=None, **config):
    """The parameters of Submit for an apply on the state @key; @config: more of its backend block."""
    backend = copy.deepcopy(BACKEND_FILE)
    backend["backend"]["config"].update(key=key, endpoints={"s3": world.url}, **config)
    return {"protocol": 1, "argv": ["apply"], "directory": work.path, "state_directory": work.path,
            "backend": json.dumps(backend), "workspace": "default", "umask": 18,
            "environment": [f"PATH={path or world.env['PATH']}", "AWS_ACCESS_KEY_ID=testkey",
                            f"AWS_SECRET_ACCESS_KEY={world.env['AWS_SECRET_ACCESS_KEY']}"]}


def of_threads(pid, file, pattern):
    """The sum of what @pattern finds in that file of all of its threads."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/{file}"):
        with open(path, encoding="ascii", errors="replace") as opened:
            total += sum(map(int, re.findall(pattern, opened.read(), re.M)))
    return total


def seconds(pid):
    """Of the processor, that it has used; to the nanosecond."""
    return of_threads(pid, "schedstat", r"\A(\d+)") / 1e9


def switches(pid):
    """How often one of its threads was switched to, or from: a wake-up is at least one."""
    return of_threads(pid, "status", r"ctxt_switches:\t(\d+)")


def memory(pid, kind="VmRSS"):
    """MiB."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return int(re.search(rf"^{kind}:\s+(\d+)", file.read(), re.M)[1]) / 1024


def file_system(path):
    shown = subprocess.run(["df", "--output=fstype", path], check=True, stdout=subprocess.PIPE).stdout
    return shown.decode().split()[-1]


def floor(directory, program):
    """{part: {"p50_ms", "p99_ms"}}, see floor.c; "handover" is of what lies between two terraforms at least."""
    shown = subprocess.run([FLOOR, directory, program], check=True, stdout=subprocess.PIPE).stdout.decode()
    parts = {name: {"p50_ms": int(p50) / 1000, "p99_ms": int(p99) / 1000}
             for name, p50, p99 in map(str.split, shown.splitlines())}
    for prefix in ("", "rested-"):
        of = (parts[prefix + "message"], parts[prefix + "exec"])
        parts[prefix + "handover"] = {name: sum(part[name] for part in of) for name in ("p50_ms", "p99_ms")}
    return {"file_system": file_system(directory), "parts": parts}
