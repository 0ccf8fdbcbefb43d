# SPDX-License-Identifier: MIT
"""Another server for S3 and DynamoDB, by other authors, where one is given.

TFQ_STRICT_MOTO names a program that serves both on the port it prints first (argument: a port, 0 to pick one). It is
run by the first python3 that has what it needs.
"""
import glob
import os
import select
import shutil
import subprocess

from harness import Skip

START_SECONDS = 20


def pythons():
    """Interpreters that may have moto, the one in PATH first."""
    found = [shutil.which("python3")] + sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python3")))
    return [path for path in dict.fromkeys(found) if path]


class Moto:
    def __enter__(self):
        program = os.environ.get("TFQ_STRICT_MOTO")
        if not program:
            raise Skip("TFQ_STRICT_MOTO names no other S3 server")
        if not os.path.exists(program):
            raise Skip(f"{program} (TFQ_STRICT_MOTO) is not there")
        for python in pythons():
            self.process = subprocess.Popen([python, program, "0"], stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL, text=True)
            ready = select.select([self.process.stdout], [], [], START_SECONDS)[0]
            line = self.process.stdout.readline().strip() if ready else ""
            if line.isdigit():
                self.url = f"http://127.0.0.1:{line}"
                return self
            self.__exit__()
        raise Skip(f"no python3 here can run {program}")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
