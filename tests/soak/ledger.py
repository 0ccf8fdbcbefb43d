# SPDX-License-Identifier: MIT
"""What truly stood in the stores, and whether what the contenders believed was so.

A Ledger sees each request at the moment at which the server applies it, in the one order that there is, and checks
at once what a daemon may write over and remove. Later judge() holds what the contenders said against its history.

A state is "s7"; a contender is also an access key, "s7-h2-l0" (state, host, life). Whoever else asks is raw: he
takes and removes locks as terraform does.
"""
import bisect
import json
import random
import re
import time

import s3server

LEASE = 10.0
DRIFT, QUARANTINE = 0.10, 0.3  # as cycles.c configures them
WAIT = LEASE * (1 + DRIFT) / (1 - DRIFT) + QUARANTINE

STATE = re.compile(r"(?:.*/)?(s\d+)/t\.tfstate(\.tflock)?")
CONTENDER = re.compile(r"(s\d+)-h\d+-l\d+")


def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Version:
    """One content of a lock. tag: what a condition names it by."""

    def __init__(self, writer, tag, body):
        self.writer, self.tag = writer, tag
        ours = body.get("Tfqd")
        self.is_raw = ours is None
        self.host, self.job, self.lease = (ours["host"], int(ours["job"]), ours["lease"]) if ours else ("", 0, 0)


class Slot:
    """One state's lock in one store. history: (when, Version or None, by whom, its condition)."""

    def __init__(self):
        self.history, self.tags = [(0.0, None, "", None)], set()
        self.seen = {}  # (who, tag): when he was first shown it
        self.last_read = {}  # who: the tag that he was shown last, and has not written over

    @property
    def current(self):
        return self.history[-1][1]

    def index_at(self, when):
        return bisect.bisect_right(self.history, when, key=lambda entry: entry[0]) - 1

    def last_write(self, who, when):
        """When `who` last wrote before `when`; None: never."""
        for at, version, _, _ in reversed(self.history[:self.index_at(when) + 1]):
            if version and version.writer == who:
                return at
        return None


def s3_view(req, answer):
    """(verb, tag named, is it create-if-absent, tag shown or written, body)"""
    etag = dict(answer.headers).get("ETag")
    named = req.headers.get("if-match")
    if req.op == "PutObject":
        return "put", named, req.headers.get("if-none-match") == "*", etag, json.loads(req.data)
    if req.op == "DeleteObject":
        return "delete", named, False, None, None
    return "get", None, False, etag, None


def item_tag(item):
    return item["LeaseRvn"]["S"] if "LeaseRvn" in item else item["Info"]["S"]


def dynamodb_view(req, answer):
    body = req.json
    condition = body.get("ConditionExpression", "")
    named = body["ExpressionAttributeValues"][":old"]["S"] if condition == "#r = :old" else None
    if req.op == "PutItem":
        item = body["Item"]
        info = json.loads(item["Info"]["S"])
        if "LeaseRvn" in item:
            info["Tfqd"] = {"host": item["LeaseOwner"]["S"], "job": item["LeaseJob"]["N"],
                            "lease": int(item["LeaseMs"]["N"]) / 1000}
        return "put", named, condition == "attribute_not_exists(LockID)", item_tag(item), info
    if req.op == "DeleteItem":
        return "delete", named, False, None, None
    shown = json.loads(answer.body).get("Item")
    return "get", None, False, item_tag(shown) if shown else None, None


class Ledger:
    def __init__(self, stores, is_operated):
        """is_operated(state): may raw clients remove others' locks there?"""
        self.stores, self.is_operated = stores, is_operated
        self.slots = {}  # (store, state)
        self.wrong = []  # (state, sentence)
        self.counts = dict.fromkeys(("created", "renewed", "handed over", "taken over", "released", "raw", "forced",
                                     "excused"), 0)

    def slot(self, store, state):
        return self.slots.setdefault((store, state), Slot())

    def accuse(self, state, text):
        self.wrong.append((state, text))

    def watch(self, service, store, view):
        apply = service.apply

        def observed(req):
            answer = apply(req)  # raises if it is refused
            match = STATE.fullmatch(req.key or "")
            if match and answer.status < 300:
                self.applied(store, match[1], req.key_id, *view(req, answer))
            return answer
        service.apply = observed

    def attach(self, server):
        self.watch(server.s3, "s3", s3_view)
        self.watch(server.dynamodb, "dynamodb", dynamodb_view)

    def applied(self, store, state, who, verb, named, is_create, tag, body):
        slot = self.slot(store, state)
        if verb == "get":
            if tag:
                slot.seen.setdefault((who, tag), now())
            slot.last_read[who] = tag
            return
        name = f"{verb} in {store} by {who}"
        old = slot.current
        if verb == "delete" and old is None:
            return
        version = Version(who, tag, body) if verb == "put" else None
        if CONTENDER.fullmatch(who):
            if named is None and not is_create:
                self.accuse(state, f"{name}: without a condition")
            if version and (version.host != who or not who.startswith(state + "-")):
                self.accuse(state, f"{name}: writes {version.host}'s lock")
            if old:
                self.check_change(state, slot, who, name, old, version)
        elif old and not version and not old.is_raw:
            self.counts["forced"] += 1
            if not self.is_operated(state):
                self.accuse(state, f"{name}: the test itself removed a lock where it must not")
        if version:
            if tag in slot.tags:
                self.accuse(state, f"{name}: the version {tag} has been there before")
            slot.tags.add(tag)
            slot.last_read.pop(who, None)
        self.count(who, old, version)
        slot.history.append((now(), version, who, named))

    def check_change(self, state, slot, who, name, old, version):
        if not version:
            if old.writer != who:
                self.accuse(state, f"{name}: removed {old.writer}'s lock")
            elif slot.last_read.get(who) != old.tag:
                self.accuse(state, f"{name}: removed {old.tag} without having read it before")
        elif old.writer != who:
            since = slot.seen.get((who, old.tag))
            if old.is_raw or old.lease < LEASE:
                self.accuse(state, f"{name}: took {old.writer}'s lock, which has no lease")
            elif since is None or now() - since < WAIT:
                watched = "never seen" if since is None else f"watched for {now() - since:.3f} s"
                self.accuse(state, f"{name}: took {old.writer}'s lock, {watched}, not for {WAIT:.3f} s")

    def count(self, who, old, version):
        if not CONTENDER.fullmatch(who):
            self.counts["raw"] += version is not None
        elif not version:
            self.counts["released"] += 1
        elif not old:
            self.counts["created"] += 1
        elif old.writer != who:
            self.counts["taken over"] += 1
        else:
            self.counts["handed over" if old.job != version.job else "renewed"] += 1

    # What contenders believe

    def check_held(self, who, job, start, end):
        """It believed to hold the lock for @job all that time: did it?"""
        state = CONTENDER.fullmatch(who)[1]
        for store in self.stores:
            slot = self.slot(store, state)
            index = slot.index_at(start)
            version = slot.history[index][1]
            if not version or version.writer != who:
                if not self.was_forced(slot, who, index):
                    self.accuse(state, f"{who} believed from {start:.6f} to hold {store}, where "
                                f"{version.writer if version else 'nothing'} was")
                self.counts["excused"] += 1
            elif version.job < job:
                self.accuse(state, f"{who} believed from {start:.6f} to hold {store} for job {job}, "
                            f"where job {version.job} was")
            self.check_kept(slot, store, who, slot.history[index:slot.index_at(end - 1e-6) + 1], end)

    @staticmethod
    def was_forced(slot, who, index):
        """Was its last version up to entry @index removed by force?"""
        while index > 0 and not (slot.history[index - 1][1] and slot.history[index - 1][1].writer == who):
            index -= 1
        _, version, by, _ = slot.history[index]
        return index > 0 and version is None and not CONTENDER.fullmatch(by)

    def check_kept(self, slot, store, who, entries, end):
        for (_, old, _, _), (at, new, by, _) in zip(entries, entries[1:]):
            if not old or old.writer != who or (new and new.writer == who):
                continue
            if new is None and not CONTENDER.fullmatch(by):
                self.counts["excused"] += 1
            else:
                self.accuse(CONTENDER.fullmatch(who)[1],
                            f"{by} {'took' if new else 'removed'} {store} at {at:.6f}, while {who} believed until "
                            f"{end:.6f} to hold it")

    def check_deadline(self, who, when, deadline):
        """It counts from before the sending of a write that was applied."""
        state = CONTENDER.fullmatch(who)[1]
        for store in self.stores:
            written = self.slot(store, state).last_write(who, when)
            if written is None or deadline - LEASE > written:
                self.accuse(state, f"{who} at {when:.6f}: its deadline {deadline:.6f} does not count from a write "
                            f"in {store} (the last was at {written})")

    def check_idle(self, who, when, may_appear):
        """Nothing of it is left, but for what it has taken without getting to know it."""
        state = CONTENDER.fullmatch(who)[1]
        for store in self.stores:
            slot = self.slot(store, state)
            index = slot.index_at(when)
            version, old = slot.history[index][1], slot.history[index - 1][1]
            if version and version.writer == who and not (may_appear and not (old and old.writer == who)):
                self.accuse(state, f"{who} at {when:.6f}: believes that nothing of it is left, but {store} holds its "
                            f"{version.tag}")


class Belief:
    """What one contender says, line by line."""

    def __init__(self, ledger, who):
        self.ledger, self.who = ledger, who
        self.job = self.start = self.deadline = None

    def close(self, when):
        if self.job is not None:
            end = min(when, self.deadline) if self.deadline else when
            if end > self.start:
                self.ledger.check_held(self.who, self.job, self.start, end)
        self.job = None

    def hold(self, when, job, deadline):
        if deadline:
            self.ledger.check_deadline(self.who, when, deadline)
        if self.job is not None and (job != self.job or (self.deadline and when >= self.deadline)):
            self.close(when)
        if self.job is None:
            self.job, self.start = job, when
        self.deadline = deadline


def judge(ledger, lines):
    """lines: (when, who, words). What is wrong is added to ledger.wrong. Return: {outcome: cycles}"""
    beliefs, cycles = {}, {}
    for when, who, words in lines:
        if who == "all":
            continue
        belief = beliefs.setdefault(who, Belief(ledger, who))
        if words[0] == "hold":
            belief.hold(when, int(words[1]), int(words[2]) / 1e6)
        elif words[0] in ("end", "crash"):
            belief.close(when)
        elif words[0] == "idle":
            ledger.check_idle(who, when, words[1] == "1")
        elif words[0] == "cycle":
            cycles[words[1]] = cycles.get(words[1], 0) + 1
        elif words[0] == "two-hold" and not ledger.is_operated(who.split("-")[0]):
            ledger.accuse(who.split("-")[0], f"at {when:.6f} {who} and {words[1]} both believed to hold the lock")
        elif words[0] == "stuck":
            ledger.accuse(who.split("-")[0], f"{who} does not get on: {' '.join(words[1:])}")
    for belief in beliefs.values():
        belief.close(now())
    return cycles


def trace(server, lines, state):
    """The last things that happened to a state, for whoever has to find out why."""
    offset = time.time() - now()
    shown = [(entry["time"] - offset, f"{entry['key_id']} {entry['op']} "
              f"{entry['headers'].get('if-match') or entry['headers'].get('if-none-match') or ''} -> {entry['status']} "
              f"{entry['code'] or ''} {entry['fault'] or ''} applied={entry['applied']}/{entry['applied_at']} "
              f"{entry['ms']} ms {entry['body'][-330:] if entry['method'] in ('PUT', 'POST') else ''}")
             for entry in list(server.log)
             if (match := STATE.fullmatch(entry["key"] or "")) and match[1] == state]
    shown += [(when, f"    {who} {' '.join(words)}") for when, who, words in lines if who.startswith(state + "-")]
    return [f"{when:.6f} {text}" for when, text in sorted(shown)]


class Server(s3server.Server):
    """One that knows every contender's key, can cut single ones off, and is unkind to repetitions: a request that
    was carried out, lost its answer, and was sent again by libcurl is refused as often as not."""

    LOST, DEAF = (s3server.Rule({"do": do, "count": -1}) for do in ("drop-before", "drop-after"))
    REFUSALS = {"s3": [s3server.Rule({"do": "error", "status": status, "count": -1}) for status in (403, 409)],
                "dynamodb": [s3server.Rule({"do": "error", "status": 400, "code": code, "count": -1})
                             for code in ("AccessDeniedException", "TransactionConflictException")]}

    def __init__(self, seed, **options):
        super().__init__(seed=seed, **options)
        self.cut = {}  # key id: rule
        self.lost = set()  # signatures
        self.own_rng = random.Random(seed)

    def pick_rule(self, req):
        rule = self.cut.get(req.key_id) or super().pick_rule(req)
        is_write = req.op in ("PutObject", "DeleteObject", "PutItem", "DeleteItem")
        signature = req.headers["authorization"]
        if signature in self.lost and self.rules and self.own_rng.random() < 0.5:
            return self.own_rng.choice(self.REFUSALS[req.service])
        if is_write and rule and rule.spec["do"] == "drop-after":
            self.lost.add(signature)
        return rule
