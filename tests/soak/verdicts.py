# SPDX-License-Identifier: MIT
"""Whether anything has grown in a series of samples. Knows no process, no file and no clock."""
import statistics

FINAL = ("done", "failed", "cancelled")

# At each quiet point there are as many of these as at every other one, without exception.
CONSTANT = ("threads", "descriptors", "runtime files")
NOTHING = ("children", "processes", "secrets", "locks", "orphans", "rows lock", "rows line")
EVENTS_PER_JOB = 4  # of the audit, which is kept for ever: submit, start, the end, and a cancel
EVENT_BYTES = 400  # of the database, which grows by the audit alone; its index, and pages that are half full
GROWTH_KIB = 512
FIRST_SAMPLES = 6
LIFE_JOBS = 200


def third(samples, last):
    count = max(1, len(samples) // 3)
    return samples[-count:] if last else samples[:count]


def median(samples, gauge, last):
    return statistics.median(sample.gauges[gauge] for sample in third(samples, last))


def check_constant(samples):
    for gauge in CONSTANT:
        values = [sample.gauges[gauge] for sample in samples]
        if len(set(values)) > 1:
            odd = next(sample for sample in samples if sample.gauges[gauge] != values[0])
            yield f"{gauge}: {values[0]} at first, {odd.gauges[gauge]} after {odd.jobs} jobs, {values[-1]} at the end"
    for gauge in NOTHING:
        for sample in samples:
            if sample.gauges[gauge]:
                yield f"{gauge}: {sample.gauges[gauge]} after {sample.jobs} jobs"
                break


def check_jobs(asked, jobs, ran):
    """@asked: {label: number, or None}; @jobs: those that tfqd has listed; @ran: {label: how often}."""
    listed = {}
    for job in jobs:
        label, name = job.get("label"), f"#{job['id']} ({job.get('label')}, {job['status']})"
        if label in listed:
            yield f"{name} was queued twice"
        listed[label] = job["id"]
        if job["status"] not in FINAL:
            yield f"{name} has not ended well: {job.get('message')}"
        if job["status"] == "done" and ran[label] != 1:
            yield f"{name} ran {ran[label]} times"
    for label, number in asked.items():
        if number is not None and listed.get(label) != number:
            yield f"#{number} ({label}) was accepted, and is {listed.get(label)}"
    for label, times in ran.items():
        if times > 1 or label not in listed:
            yield f"{label} ran {times} times, and is {'' if label in listed else 'not '}listed"
