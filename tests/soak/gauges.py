# SPDX-License-Identifier: MIT
"""What a tfqd holds at a moment: memory, descriptors, threads, processes, files, rows, locks; read from outside."""
import contextlib
import dataclasses
import os
import re
import sqlite3
import time

TABLES = ("job", "line", "lock", "event")
EXPIRY_SECONDS = 8  # tfqd looks for what it may forget 5 s after a job's end, give or take 1 s, and then writes


@dataclasses.dataclass
class Sample:
    """life: which tfqd it was, from 0; fresh: it had done nothing yet; jobs: how many were accepted until now."""
    at: float
    life: int
    jobs: int
    fresh: bool
    gauges: dict


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        found = re.findall(r"^(VmRSS|RssAnon|Threads):\s+(\d+)", file.read(), re.M)
    return {name: int(number) for name, number in found}


def descriptors(pid):
    """(others, connections by TCP): the latter are kept alive by libcurl, as many as were in use at once."""
    tcp, others = 0, 0
    inodes = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/net/{name}", encoding="ascii") as table:
            inodes |= {f"socket:[{line.split()[9]}]" for line in list(table)[1:]}
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{entry}")
        except FileNotFoundError:
            continue
        if target in inodes:
            tcp += 1
        else:
            others += 1
    return others, tcp


def children(pid):
    """Zombies, too."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            found += map(int, file.read().split())
    return found


def files_below(folder):
    """(how many, their bytes), folders among them."""
    count = size = 0
    for parent, folders, names in os.walk(folder):
        count += len(folders) + len(names)
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(parent, name)).st_size
    return count, size


class Database:
    """A look into tfqd's, each on a connection of its own: one that stays would keep the log from being taken up."""

    def __init__(self, path):
        self.path = path

    def ask(self, sql, *values):
        with contextlib.closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as database:
            return database.execute(sql, values).fetchone()

    def rows(self):
        return dict(zip(TABLES, self.ask("SELECT " + ", ".join(f"(SELECT count(*) FROM {name})" for name in TABLES))))

    def recorded(self, since=EXPIRY_SECONDS):
        """(jobs that are over, the bytes of their recordings), those that tfqd has had the time to look at."""
        before = int((time.time() - since) * 1e6)
        return self.ask("SELECT count(*), coalesce(sum(output_bytes), 0) FROM job WHERE is_over = 1 AND ended < ?",
                        before)

    def column(self, sql, *values):
        with contextlib.closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as database:
            return {row[0] for row in database.execute(sql, values)}

    def numbers(self):
        return self.column("SELECT id FROM job")

    def ended(self, after):
        """The jobs behind that number whose end was ever written down; what is forgotten since, too."""
        return self.column("SELECT job FROM event WHERE job > ? AND kind IN ('done', 'failed', 'cancelled')", after)


class Gauges:
    def __init__(self, world):
        self.world, self.state = world, os.path.join(world.path, "state")
        self.database = Database(os.path.join(self.state, "tfqd.db"))

    def locks(self):
        """In the stores."""
        server = self.world.server
        return [key for objects in server.objects.values() for key in objects if key.endswith(".tflock")] + \
            [key for items in server.items.values() for key in items]

    def secrets(self):
        with contextlib.suppress(FileNotFoundError):
            return os.listdir(self.world.vault())
        return []

    def processes(self):
        """Runners, and what they have started; wherever they hang."""
        daemon = self.world.daemon.pid
        return [(pid, command) for pid, command in self.world.leftovers() if pid != daemon]

    def orphans(self):
        """Folders of jobs that tfqd knows no more."""
        with contextlib.suppress(FileNotFoundError):
            return set(map(int, os.listdir(os.path.join(self.state, "jobs")))) - self.database.numbers()
        return set()

    def read(self):
        pid = self.world.daemon.pid
        status, rows = status_of(pid), self.database.rows()
        others, tcp = descriptors(pid)
        kept, kept_bytes = self.database.recorded()
        state_files, state_bytes = files_below(self.state)
        return {"RSS KiB": status["VmRSS"], "anonymous KiB": status["RssAnon"], "threads": status["Threads"],
                "descriptors": others, "to the store": tcp, "children": len(children(pid)),
                "processes": len(self.processes()), "state files": state_files, "state KiB": state_bytes // 1024,
                "database KiB": os.path.getsize(self.database.path) // 1024,
                "runtime files": files_below(os.path.join(self.world.path, "run"))[0],
                "secrets": len(self.secrets()), "locks": len(self.locks()), "orphans": len(self.orphans()),
                "kept jobs": kept, "kept KiB": kept_bytes // 1024, "recorded KiB": self.database.recorded(0)[1] // 1024,
                **{f"rows {name}": rows[name] for name in TABLES}}
