#!/usr/bin/env python3
"""Compares epochs at `threads = auto` and `--threads 1` while another process keeps a core busy.

A busy loop is pinned to one of nplus1's processors. Runs with the two settings alternate, and each
pair gives one ratio of their times. The goal is a median ratio of at most 1.3; with --check the exit
code is 3 if it is missed. Standard library only.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from statistics import median

sys.dont_write_bytecode = True

import machine
import nplus1
from cases import CASES

GOAL = 1.3
GOAL_MISSED = 3


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=CASES, default="a", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=7, help="pairs of runs (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=10, help="timed epochs per run (default: %(default)s)")
    parser.add_argument("--cores", type=int, default=2, help="processors nplus1 may use (default: %(default)s)")
    parser.add_argument("--busy", type=int, default=1, help="number of processors kept busy (default: %(default)s)")
    parser.add_argument("--binary", help="this nplus1 instead of a fresh release build")
    parser.add_argument("--json", action="store_true", help="print the raw samples as JSON")
    parser.add_argument("--check", action="store_true", help=f"exit {GOAL_MISSED} if the goal is missed")
    given = parser.parse_args()
    if not 0 <= given.busy <= given.cores or given.rounds < 1 or given.epochs < 1:
        parser.error("--rounds and --epochs must be 1 or more, --busy at most --cores")
    return given


@contextlib.contextmanager
def kept_busy(cpus):
    """Runs a busy loop on each of `cpus` during the `with` block."""
    # The loop checks its parent, so that it ends even if the parent is killed.
    loop = "import os\np = os.getppid()\nwhile os.getppid() == p:\n for _ in range(10**6): pass"
    loops = [
        subprocess.Popen(
            [sys.executable, "-c", loop],
            preexec_fn=lambda cpu=cpu: os.sched_setaffinity(0, {cpu}),
        )
        for cpu in cpus
    ]
    try:
        time.sleep(0.5)
        yield
        if any(process.poll() is not None for process in loops):
            raise SystemExit("the busy loop ended early, so the processors were free")
    finally:
        for process in loops:
            process.kill()
            process.wait()


def measure(given, binary):
    """Returns the pair of runs (1 thread, auto) of each round; their order alternates."""
    case = CASES[given.case]
    cpus = machine.processors(given.cores)
    rounds = []
    with kept_busy(cpus[given.cores - given.busy :]):
        for number in range(given.rounds):
            runs = {}
            for threads in (1, None) if number % 2 == 0 else (None, 1):
                run = nplus1.train(binary, case, threads, given.epochs, seed=1, cpus=cpus)
                runs[threads] = run
            rounds.append((runs[1], runs[None]))
            one, auto = (median(run["seconds"]) for run in rounds[-1])
            note = f"round {number + 1}/{given.rounds}: 1 thread {one:.4f} s, auto {auto:.4f} s, {auto / one:.2f}×"
            print(note, file=sys.stderr, flush=True)
    return rounds


def main():
    given = arguments()
    rounds = measure(given, machine.release_binary(given.binary))
    if len({run["weights_sha256"] for pair in rounds for run in pair}) != 1:
        raise SystemExit("the weights differ between runs, so the work was not the same")
    ratios = [median(auto["seconds"]) / median(one["seconds"]) for one, auto in rounds]
    result = {
        "machine": machine.description(),
        "case": given.case,
        "processors": given.cores,
        "held": given.busy,
        "threads_auto": rounds[0][1]["threads"],
        "one_thread": [one["seconds"] for one, _ in rounds],
        "auto": [auto["seconds"] for _, auto in rounds],
        "ratios": ratios,
        "ratio": median(ratios),
        "worst_epoch": max(max(auto["seconds"]) for _, auto in rounds),
        "goal": GOAL,
    }
    if given.json:
        print(json.dumps(result, indent=1))
    else:
        one, auto = (median(sum(result[key], [])) for key in ("one_thread", "auto"))
        print(f"{CASES[given.case].title}, {given.busy} of {given.cores} processors kept busy by another process")
        print(f"  --threads 1      {one:.4f} s per epoch")
        print(f"  auto ({result['threads_auto']} threads) {auto:.4f} s per epoch, {result['worst_epoch']:.4f} at worst")
        print(f"  ratio            {result['ratio']:.2f} ({min(ratios):.2f} to {max(ratios):.2f}), goal at most {GOAL}")
    return GOAL_MISSED if given.check and result["ratio"] > GOAL else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed: {' '.join(map(str, error.cmd))}")
