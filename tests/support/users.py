# SPDX-License-Identifier: MIT
"""Root's tfqd, and accounts that every Debian has to use it."""
import contextlib
import grp
import os
import pwd

from harness import CopiedPrograms, Skip, Varlink, VarlinkError, World

ALL = "[access]\nsubmitters = *\n"


class Users(CopiedPrograms, World):
    """Root, who becomes others."""

    def __init__(self, config=ALL, **options):
        if os.geteuid() != 0:
            raise Skip("only root can become other users")
        try:
            self.nobody, self.other = pwd.getpwnam("nobody"), pwd.getpwnam("daemon")
        except KeyError:
            raise Skip("there are no users nobody and daemon") from None
        super().__init__(config, shared=True, **options)
        self.copy_programs()

    def become(self, user, groups=()):
        def change():
            os.setgroups(list(groups))
            os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
            os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
        return {"preexec": change}

    def give(self, work, user):
        for folder, _, names in os.walk(work.path):
            for path in [folder] + [os.path.join(folder, name) for name in names]:
                os.chown(path, user.pw_uid, user.pw_gid)

    @staticmethod
    def account(name):
        return pwd.getpwnam(name)

    @staticmethod
    def group(name):
        return grp.getgrnam(name).gr_gid

    @contextlib.contextmanager
    def acting_as(self, user, groups=()):
        """What connects to tfqd meanwhile is that user, as far as the kernel tells."""
        before = os.getgroups()
        os.setgroups(list(groups))
        os.setegid(user.pw_gid)
        os.seteuid(user.pw_uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(before)

    def link(self, user, groups=()):
        with self.acting_as(user, groups):
            return Varlink(self.socket)

    def ask(self, user, groups, method, parameters=None, fds=()):
        """What tfqd answers that user: "ok" and the answer, or the error's last word and its message."""
        with self.link(user, groups) as varlink:
            varlink.send(method, parameters, fds)
            try:
                return "ok", varlink.answer()
            except VarlinkError as error:
                return error.name.rpartition(".")[2], error.parameters.get("message")
            except EOFError:
                return "closed", None

    def audit(self, *kinds):
        """All events of these kinds."""
        found, page = [], None
        while page != []:
            page = self.call("Events", after=found[-1]["id"] if found else 0)["events"]
            found += page
        return [event for event in found if event["kind"] in kinds]
