#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the compiler and the linker do against those who find a bug: seen in the files that were built."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import BUILD, Skip, case, check, main, same  # noqa: E402

PROGRAMS = ["tfqd", "tfq", "tfq-runner", "tfq-credentials", "tfq-doctor"]


def readelf(path, *options):
    if not shutil.which("readelf"):
        raise Skip("there is no readelf: apt-get install binutils")
    result = subprocess.run(["readelf", "--wide", *options, path], capture_output=True, text=True, check=True,
                            env={**os.environ, "LC_ALL": "C"})
    return result.stdout


def symbols(path):
    """(name, is it defined here?) of what the dynamic linker sees."""
    for line in readelf(path, "--dyn-syms").splitlines():
        fields = line.split()
        if len(fields) >= 8 and fields[0].rstrip(":").isdigit():
            yield fields[7], fields[6] != "UND"


def names(path):
    return {name.split("@")[0] for name, _ in symbols(path)}


def is_watched(path):
    """Built with a sanitizer, or to count what is run: those switch some of it off."""
    return bool(re.search(r"__(asan|ubsan|tsan|msan|gcov)_", readelf(path, "--syms")))


# Each returns why @path fails, or None.

def position_independent(path):
    return None if re.search(r"Type: +DYN .*Position-Independent Executable", readelf(path, "--file-header")) else \
        "is loaded at a fixed address (-pie)"


def relocations_read_only(path):
    return None if "GNU_RELRO" in readelf(path, "--program-headers") else "has writable relocations (-z relro)"


def bound_at_start(path):
    return None if re.search(r"\((FLAGS|FLAGS_1|BIND_NOW)\).*(BIND_NOW|NOW)", readelf(path, "--dynamic")) else \
        "has a writable table of functions (-z now)"


def stack_not_executable(path):
    flags = re.search(r"GNU_STACK +(?:0x\w+ +){5}([RWE ]{3})", readelf(path, "--program-headers"))
    return None if flags and "E" not in flags[1] else "has an executable stack (-z noexecstack)"


def nothing_writable_and_executable(path):
    wrong = re.findall(r"LOAD +(?:0x\w+ +){5}RWE", readelf(path, "--program-headers"))
    return "has memory that can be written and executed" if wrong else None


def stack_guarded(path):
    return None if "__stack_chk_fail" in names(path) else "has no stack protector (-fstack-protector-strong)"


def calls_fortified(path):
    return None if any(re.fullmatch(r"__\w+_chk", name) for name in names(path)) else \
        "calls no checked functions (-D_FORTIFY_SOURCE)"


def no_library_path(path):
    found = re.search(r"\((RPATH|RUNPATH)\).*", readelf(path, "--dynamic"))
    return f"looks for libraries in a path of its own: {found[0]}" if found else None


def exports_nothing(path):
    """What has a version is a library's variable, which the linker puts here."""
    own = [name for name, is_here in symbols(path) if is_here and "@" not in name]
    return f"exports {own}" if own else None


def no_relocated_text(path):
    return "has relocations in its code" if "(TEXTREL)" in readelf(path, "--dynamic") else None


CHECKS = [position_independent, relocations_read_only, bound_at_start, stack_not_executable,
          nothing_writable_and_executable, stack_guarded, calls_fortified, no_library_path, exports_nothing,
          no_relocated_text]


def why_not(path):
    return [why for why in (one(path) for one in CHECKS) if why]


@case("every program is position independent, read-only where it can be, guarded, checked, and exports nothing")
def programs():
    for name in PROGRAMS:
        path = os.path.join(BUILD, name)
        if is_watched(path):
            raise Skip("built with a sanitizer or for coverage: that has other flags")
        same(why_not(path), [], f"what is wrong with {name}")


@case("every object says that it may run with indirect branches tracked and a shadow stack")
def control_flow():
    """Not the programs: the C library of Debian 12 has start files that do not."""
    if "X86-64" not in readelf(os.path.join(BUILD, "tfqd"), "--file-header"):
        raise Skip("only x86-64 has that")
    objects = [path for folder in ("common", "client", "daemon", "runner")
               for path in glob.glob(os.path.join(BUILD, folder, "**", "*.o"), recursive=True)]
    check(len(objects) > 100, f"only {len(objects)} objects are there")
    without = [path for path in objects if not re.search(r"IBT, SHSTK", readelf(path, "--notes"))]
    same(without, [], "objects without (-fcf-protection)")


@case("a program that was built without all of that is told from one that was")
def unhardened():
    if not shutil.which("cc"):
        raise Skip("there is no cc")
    with tempfile.TemporaryDirectory() as folder:
        source, program = os.path.join(folder, "a.c"), os.path.join(folder, "a")
        with open(source, "w", encoding="utf-8") as file:
            file.write("#include <stdio.h>\n"
                       "int shown(const char *s) { char b[64]; return sprintf(b, \"%s\", s) + b[0]; }\n"
                       "int main(int n, char **v) { return shown(v[n - 1]); }\n")
        subprocess.run(["cc", "-O0", "-no-pie", "-fno-pie", "-fno-stack-protector", "-U_FORTIFY_SOURCE",
                        "-Wl,-z,norelro,-z,lazy,-z,execstack,-rpath,/nowhere,--export-dynamic", "-o", program, source],
                       check=True, capture_output=True)
        missed = [one.__name__ for one in CHECKS
                  if one not in (nothing_writable_and_executable, no_relocated_text) and not one(program)]
    same(missed, [], "checks that it passes")


main()
