#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tfqd as a service of a real systemd: jobs are units of their own, and outlive what happens to tfqd."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from box import GROUPS, USERS, Box  # noqa: E402
from harness import HOLD, SECRET, case, check, contains, lacks, main, same, wait_for  # noqa: E402

CONFIG = "[runner]\nmemory_high = 3G\ncpu_weight = 77\ntasks_max = 333\n[lock]\nstop_grace = 20s\n"


def unit_of(number):
    return f"tfq-job-{number}.service"


@case("three users queue on one state: in order, each as they are, each in a unit of their own")
def three_users():
    with Box(CONFIG) as box:
        show = 'echo "$(id -u) $(id -g) $(id -G) $(umask) $(pwd) caps $(grep CapEff /proc/self/status | tr -d \\"\\\\t\\")" > seen; '
        works = {user: box.directory_of(user, user, command=show + HOLD) for user in USERS}
        first = box.queue("alice", works["alice"], "alice", env={"TF_VAR_password": "hush", "HOME": "/home/alice"})
        works["alice"].wait_started("alice")
        print(box.sh(f"systemctl status --no-pager {unit_of(first)}; cat {works['alice'].path}/seen"))
        print(box.journal())

main()
