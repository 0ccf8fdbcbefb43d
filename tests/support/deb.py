# SPDX-License-Identifier: MIT
"""The Debian package, built once for all who look at it."""
import glob
import os
import shutil
import subprocess

from harness import ROOT, Skip, check, same

BUILD_SECONDS = 600
STEP_SECONDS = 120
DEBS = os.path.join(ROOT, "build", "deb")


def run(*argv, cwd=None, seconds=STEP_SECONDS, code=0):
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    result = subprocess.run(argv, cwd=cwd, env={**env, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            timeout=seconds, check=False)
    check(code is None or result.returncode == code, f"{' '.join(argv)}: exit code {result.returncode}\n{result.stdout}")
    return result.stdout


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            raise Skip(f"there is no {tool}: apt-get install debhelper dpkg-dev")


def package():
    """Build it, unless what lies there is newer than all that it is made of. Return the path of the .deb."""
    need("dh", "dpkg-buildpackage", "dpkg-deb")
    sources = [path for folder in ("client", "common", "daemon", "runner", "units", "conf", "man", "debian")
               for path in glob.glob(os.path.join(ROOT, folder, "**"), recursive=True) if os.path.isfile(path)]
    newest = max(os.path.getmtime(path) for path in [*sources, os.path.join(ROOT, "Makefile")])
    found = glob.glob(os.path.join(DEBS, "tfqd_*.deb"))
    if not found or os.path.getmtime(found[0]) < newest:
        run("make", "-o", "debdeps", "deb", cwd=ROOT, seconds=BUILD_SECONDS)
        found = glob.glob(os.path.join(DEBS, "tfqd_*.deb"))
    same(len(found), 1, f"how many packages are in {DEBS}")
    return found[0]
