# SPDX-License-Identifier: MIT
"""Whether what was asked was done, and whether anything has grown, in a series of samples (gauges.py). Knows no
process, no file and no clock. Each check yields a sentence for all that is wrong."""
import itertools
import statistics

FINAL = ("done", "failed", "cancelled")

# As many at each quiet point as at every other one; of a tfqd that has done nothing yet perhaps fewer.
CONSTANT = ("threads", "descriptors", "runtime files")
NOTHING = ("children", "processes", "locks", "orphans", "rows line")

EVENTS_PER_JOB = 4  # of the audit, which is for ever: submit, start, the end, and who cancelled it
EVENT_BYTES = 400   # of the database, which grows by the audit alone: a row, its place in two trees, pages half full
FILES_PER_JOB, OTHER_FILES = 3, 8  # a folder, what it printed, its reports; the database and what lies beside it
WAL_KIB = 8192      # journal_size_limit
SMALL_KIB = 8       # of a job's reports, and of what is not yet counted as recorded
ROWS_FACTOR = 2     # tfqd forgets every few seconds, so that their number is a saw

CACHE_KIB = 512  # SQLite's, of the connection that writes: it comes to hold the whole database, but no more than this
# In one life, beyond that: the holes that bursts leave in malloc's heap, and the locks of faulty rounds, of which each
# is kept in mind for up to 21 min.
LIFE_KIB = 1024
OVER_JOBS, OVER_KIB = 1000, 1.5  # that are over are in memory, at most; of each, with its place in two trees
IDLE_KIB = 512  # between lives: the jobs of the history, of which there are now more, now fewer
LIFE_SAMPLES, LIFE_JOBS = 6, 300


def check_jobs(asked, jobs, ran, ended):
    """@asked: {label: number, or None if nobody has said it}; @jobs: those that tfqd has listed; @ran: {label: times};
    @ended: the numbers of those that came to an end, and may be forgotten."""
    listed, forgotten = {}, {label for label, number in asked.items() if number in ended}
    for job in jobs:
        label, name = job.get("label"), f"#{job['id']} ({job.get('label')}, {job['status']})"
        if label in listed:
            yield f"{name} was queued twice"
        listed[label] = job["id"]
        if job["status"] not in FINAL:
            yield f"{name} has not ended well: {job.get('message')}"
        if job["status"] == "done" and ran[label] != 1:
            yield f"{name} ran {ran[label]} times"
        if job["status"] == "failed" and not job.get("exit_code") and not job.get("message"):
            yield f"{name} gives no reason"
    for label, number in asked.items():
        if number is not None and listed.get(label) != number and label not in forgotten:
            yield f"#{number} ({label}) was accepted, and is {listed.get(label)}"
    if ended - set(listed.values()):  # among them may be those whose number nobody has heard
        forgotten |= {label for label, number in asked.items() if number is None}
    for label, times in ran.items():
        if times > 1 or (label not in listed and label not in forgotten):
            yield f"{label} ran {times} times, and is {'' if label in listed else 'not '}listed"


def check_constant(samples, states):
    """@states: how many there are that meet faults."""
    for gauge in CONSTANT:
        used = [sample for sample in samples if not sample.fresh]
        least = min(sample.gauges[gauge] for sample in used)
        odd = next((sample for sample in samples if sample.gauges[gauge] > least), None)
        if odd:
            yield f"{gauge}: {least} at least, {odd.gauges[gauge]} after {odd.jobs} jobs, {used[-1].gauges[gauge]} at last"
    for sample in samples:
        now = sample.gauges
        left = [f"{now[gauge]} {gauge}" for gauge in NOTHING if now[gauge]]
        if now["rows lock"] > states:  # a write whose answer was lost may land for 15 min, so the lock is kept in mind
            left.append(f"{now['rows lock']} locks that may be in a store")
        if now["secrets"] > now["rows lock"]:
            left.append(f"{now['secrets']} secrets for {now['rows lock']} locks")
        if left:
            yield f"after {sample.jobs} jobs there are {', '.join(left)}"


def thirds(values):
    """The medians of the first and of the last third."""
    values = list(values)
    count = max(1, len(values) // 3)
    return statistics.median(values[:count]), statistics.median(values[-count:])


def memory(samples):
    """KiB of each, without what SQLite keeps of the database."""
    return thirds(sample.gauges["anonymous KiB"] - min(sample.gauges["database KiB"], CACHE_KIB) for sample in samples)


def check_kept(samples, keep_kib, round_jobs):
    """@samples: without the first part, in which the history fills up; @round_jobs: what one round adds at most."""
    for sample in samples:
        now = sample.gauges
        if now["kept KiB"] > keep_kib:
            yield f"after {sample.jobs} jobs {now['kept KiB']} KiB of recordings are kept, not {keep_kib}"
        if now["state files"] > FILES_PER_JOB * now["rows job"] + OTHER_FILES:
            yield f"after {sample.jobs} jobs there are {now['state files']} files of {now['rows job']} jobs"
        beside = now["state KiB"] - now["database KiB"] - now["recorded KiB"]
        if beside > WAL_KIB + SMALL_KIB * now["rows job"]:
            yield f"after {sample.jobs} jobs there are {beside} KiB beside the database and the recordings"
    first, last = thirds(sample.gauges["rows job"] for sample in samples)
    if last > ROWS_FACTOR * first + round_jobs:
        yield f"jobs in the database: {first:.0f} at first, {last:.0f} at last"
    jobs = samples[-1].jobs - samples[0].jobs
    events, size = (samples[-1].gauges[gauge] - samples[0].gauges[gauge] for gauge in ("rows event", "database KiB"))
    if events > EVENTS_PER_JOB * jobs:
        yield f"{events} events of {jobs} jobs"
    if size * 1024 > EVENT_BYTES * events + (keep_kib << 10):
        yield f"the database has grown by {size} KiB for {events} events"


def long_lives(samples):
    """{number of a tfqd that has done enough to tell: its samples}"""
    at_work = (sample for sample in samples if not sample.fresh)
    groups = {life: list(group) for life, group in itertools.groupby(at_work, lambda sample: sample.life)}
    return {life: group for life, group in groups.items()
            if len(group) >= LIFE_SAMPLES and group[-1].jobs - group[0].jobs >= LIFE_JOBS}


def check_lives(samples, wanted):
    """The memory of each tfqd that lived long. @wanted: how many did."""
    lives = long_lives(samples)
    for life, group in lives.items():
        first, last = memory(group)
        if last - first > LIFE_KIB + OVER_KIB * min(OVER_JOBS, group[-1].jobs - group[0].jobs):
            yield f"tfqd number {life + 1}: {first:.0f} KiB at first, {last:.0f} KiB after " \
                  f"{group[-1].jobs - group[0].jobs} jobs more"
    if len(lives) < wanted:
        yield f"only {len(lives)} of {wanted} tfqds have done enough to tell"


def check_idle(samples):
    """The memory of tfqds that have just begun, with a full history."""
    first, last = memory(samples)
    if last - first > IDLE_KIB:
        yield f"{first:.0f} KiB after {samples[0].jobs} jobs, {last:.0f} KiB after {samples[-1].jobs}"
