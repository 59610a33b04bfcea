"""The parts that the races' command lines share: options, the checks of their values, exit codes.
Standard library only."""

import argparse
import subprocess
import sys
from pathlib import Path

import machine

TARGET_MISSED = 3


def parser(description, name, rounds, peers):
    """Returns a parser with the options that every race has."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--threads", default="1,2", help="numbers of threads (default: %(default)s)")
    options.add_argument("--rounds", type=int, default=rounds, help="default: %(default)s")
    options.add_argument("--peers", default=",".join(peers), help="default: %(default)s")
    options.add_argument("--quick", action="store_true", help="one short round, to see that everything works")
    options.add_argument("--binary", help="this nplus1 instead of a fresh release build")
    options.add_argument("--name", default=name, help="name of the result files (default: %(default)s)")
    options.add_argument("--results", type=Path, default=machine.HERE / "results", help="folder of the result files")
    options.add_argument("--timeout", type=float, default=1800, help="seconds per process (default: %(default)s)")
    options.add_argument("--check", action="store_true", help=f"exit {TARGET_MISSED} if a target is missed")
    return options


def chosen(options, option, text, allowed, families=None):
    """Returns the names in `text`, in order and without duplicates; `families` maps a name to several."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    names = [name for part in parts for name in (families or {}).get(part, [part])]
    names = list(dict.fromkeys(names))
    if not names or any(name not in allowed for name in names):
        options.error(f"{option} {text}: choose from {', '.join([*allowed, *(families or {})])}")
    return names


def counts(options, option, text):
    """Returns the integers in `text`, each at least 1, in ascending order and without duplicates."""
    try:
        numbers = sorted({int(part) for part in text.split(",")})
    except ValueError:
        numbers = [0]
    if numbers[0] < 1:
        options.error(f"{option} {text}: give numbers of 1 or more, separated by commas, such as 1,2")
    return numbers


def say(text):
    """Prints to standard error; standard output is for the results."""
    print(text, file=sys.stderr, flush=True)


def leave(main):
    """Ends the process with the exit code that `main` returns."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed: {' '.join(map(str, error.cmd))}")
