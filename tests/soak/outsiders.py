# SPDX-License-Identifier: MIT
"""Those who know nothing of tfqd: people's own terraform, and an operator who force-unlocks."""
import http.client
import json
import random
import threading
import time
import uuid

from test_s3server import Client

ATTEMPTS = 5  # of the SDK that terraform is built on
PATIENCE = 60  # seconds until something definite is known


class Outsider(threading.Thread):
    """One client and its requests. stores: of "s3", "dynamodb", in the order in which terraform takes them."""

    def __init__(self, server, stores, states, seed, key):
        super().__init__(daemon=True, name=key)
        self.server, self.stores, self.states = server, stores, states
        self.client = Client(server, key)
        self.rng = random.Random(seed)
        self.stopping = threading.Event()
        self.trouble = None

    def run(self):
        try:
            while not self.stopping.wait(self.rng.uniform(*self.PAUSE)):
                self.turn(self.rng.choice(self.states))
        except Exception as error:  # pylint: disable=broad-except
            self.trouble = repr(error)
        finally:
            self.client.close()

    def stop(self):
        self.stopping.set()
        self.join(PATIENCE)
        return self.trouble or ("still busy" if self.is_alive() else None)

    # Requests. (status, body), or None: no answer, or one that tells nothing.

    def ask(self, *args, **more):
        try:
            reply = self.client.request(*args, skew=self.server.offset, **more)
        except (http.client.HTTPException, OSError):
            self.client.close()
            return None
        is_skew = b"RequestTimeTooSkewed" in reply.body or b"InvalidSignatureException" in reply.body
        is_page = reply.headers.get("content-type") == "text/html"
        if reply.status >= 500 or is_skew or is_page or b"ThroughputExceeded" in reply.body:
            return None
        return reply.status, reply.body

    def send(self, store, state, op, info=None):
        if store == "s3":
            method, headers = {"create": ("PUT", {"if-none-match": "*"}), "get": ("GET", {}),
                               "delete": ("DELETE", {})}[op]
            return self.ask(method, f"/tfbucket/{state}/t.tfstate.tflock", info or b"", headers)
        key = {"LockID": {"S": f"tfbucket/{state}/t.tfstate"}}
        target, body = {
            "create": ("PutItem", {"Item": {**key, "Info": {"S": info}},
                                   "ConditionExpression": "attribute_not_exists(LockID)"}),
            "get": ("GetItem", {"Key": key, "ConsistentRead": True}),
            "delete": ("DeleteItem", {"Key": key})}[op]
        return self.ask("POST", "/", json.dumps({"TableName": "tflocks", **body}),
                        {"content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810." + target},
                        service="dynamodb")

    def holder(self, store, state):
        """The ID of the lock that is there; None: none."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            answer = self.send(store, state, "get")
            if answer and answer[0] == 404 and b"NoSuchKey" in answer[1]:
                return None
            if answer and answer[0] == 200:
                try:
                    body = json.loads(answer[1])
                except ValueError:
                    continue
                if store == "dynamodb":
                    body = json.loads(body["Item"]["Info"]["S"]) if "Item" in body else {}
                return body.get("ID")
        raise TimeoutError(f"cannot read {store} of {state}")

    def remove(self, store, state, wanted, is_blind):
        """As terraform unlocks: look, compare, remove without a condition. @is_blind: as its SDK does, repeat that
        without another look if the answer is lost; what is there by then may be another's."""
        for attempt in range(100):
            if (attempt == 0 or not is_blind) and self.holder(store, state) != wanted:
                return
            answer = self.send(store, state, "delete")
            if (answer and answer[0] in (200, 204)) or (is_blind and attempt + 1 >= ATTEMPTS):
                if not is_blind:
                    continue  # was it this one's?
                break
            time.sleep(self.rng.uniform(0.02, 0.3))
        if self.holder(store, state) == wanted:
            self.remove(store, state, wanted, is_blind)


class Terraform(Outsider):
    PAUSE = (0.1, 0.6)

    def __init__(self, server, stores, states, seed, is_operated):
        super().__init__(server, stores, states, seed, "terraform")
        self.is_operated = is_operated

    def create(self, store, state, info, wanted):
        for _ in range(ATTEMPTS):
            answer = self.send(store, state, "create", info)
            if answer:
                break
        # Refused by its own lock, real terraform gives up, and its user force-unlocks it.
        return self.holder(store, state) == wanted

    def turn(self, state):
        wanted = str(uuid.UUID(int=self.rng.getrandbits(128)))
        info = json.dumps({"ID": wanted, "Operation": "OperationTypeApply", "Info": "", "Who": "raw@elsewhere",
                           "Version": "1.11.4", "Created": "2026-01-02T03:04:05.678901234Z",
                           "Path": f"tfbucket/{state}/t.tfstate"})
        taken = []
        for store in self.stores:
            if not self.create(store, state, info, wanted):
                break
            taken.append(store)
        else:
            time.sleep(self.rng.uniform(0.02, 0.4) if self.rng.random() < 0.8 else 1.5)
        for store in reversed(taken):
            self.remove(store, state, wanted, self.is_operated(state))


class Operator(Outsider):
    PAUSE = (0.5, 2.0)

    def __init__(self, server, stores, states, seed):
        super().__init__(server, stores, states, seed, "operator")

    def turn(self, state):
        wanted = next(filter(None, (self.holder(store, state) for store in self.stores)), None)
        for store in self.stores if wanted else ():
            self.remove(store, state, wanted, True)
