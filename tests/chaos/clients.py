# SPDX-License-Identifier: MIT
"""A tfq on pipes, and one on a terminal; what they print is read all the while."""
import os
import pty
import subprocess
import threading


class Pipe:
    """A tfq with pipes, which are read all the while."""

    def __init__(self, world, path, argv, env):
        self.out = self.err = b""
        self.process = subprocess.Popen(argv, cwd=path, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        world.programs.append(self)
        self.readers = [threading.Thread(target=self.read, args=(name,), daemon=True) for name in ("out", "err")]
        for reader in self.readers:
            reader.start()

    def read(self, name):
        pipe = getattr(self.process, "std" + name)
        while data := os.read(pipe.fileno(), 65536):
            setattr(self, name, getattr(self, name) + data)

    def wait(self):
        self.process.wait()
        for reader in self.readers:
            reader.join(5)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.wait()


class Screen:
    """A tfq on a terminal of its own, with the same face."""

    def __init__(self, world, path, argv, env):
        self.out = self.err = b""
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(argv, cwd=path, env=env, stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True)
        os.close(slave)
        world.programs.append(self)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        try:
            while data := os.read(self.master, 65536):
                self.out += data
        except OSError:  # nobody has the other end any more
            pass

    def wait(self):
        self.process.wait()
        self.reader.join(5)
        os.close(self.master)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
