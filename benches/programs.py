#!/usr/bin/env python3
"""Measures how `nplus1 gradient --program` uses workers, and what an evaluation costs beside the function.

    cargo build --release
    python3 benches/programs.py target/release/nplus1

1. A function that waits 20 ms, on 1 to 32 workers: efficiency = (N + 1) * 20 ms / (K * time), from the
   first request to the last answer, as the program itself sees them.
2. A function that computes for 2 ms, on 1 and 2 workers: speedup.
3. A function that does nothing: microseconds an evaluation, N = 10 and N = 23,860 with single changes,
   the program's own side included.

Each is repeated, in alternating order, and the median is printed.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5

PROGRAM = r"""
#include "nplus1_serve.hpp"
#include <chrono>
#include <fstream>
#include <thread>
using Clock = std::chrono::steady_clock;
static double now() { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); }
int main(int, char** arguments) {
    const double wait = std::atof(arguments[1]), compute = std::atof(arguments[2]);
    std::ofstream times(std::string("times.") + std::getenv("NPLUS1_WORKER"), std::ios::app);
    times.precision(17);
    return nplus1::serve([&](const std::vector<double>& x) {
        double begin = now();
        if (wait > 0) std::this_thread::sleep_for(std::chrono::duration<double>(wait));
        double sum = x[0] * x[0] + 1;
        if (compute > 0) {
            double start = now();
            while (now() - start < compute) sum += 1e-300;
        }
        if (wait + compute > 0) times << begin << " " << now() << std::endl;
        return sum;
    });
}
"""


def gradient(nplus1, folder, n, workers, wait, compute):
    for old in folder.glob("times.*"):
        old.unlink()
    (folder / "theta.json").write_text(json.dumps([0.5] * n))
    command = [nplus1, "gradient", "-q", "--json", "--program", f"./f {wait} {compute}"]
    command += ["--at", "theta.json", "--workers", str(workers), "-o", "g.npy"]
    start = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    seconds = time.monotonic() - start
    report = json.loads(done.stdout)
    times = [float(t) for file in folder.glob("times.*") for t in file.read_text().split()]
    span = max(times) - min(times) if times else report["seconds"]
    return span, report["evaluations"]["answered"], seconds


def small(nplus1, folder):
    (folder / "theta.json").write_text(json.dumps([0.5] * 10))
    command = [nplus1, "minimize", "-q", "--json", "--program", "./f 0 0", "--at", "theta.json"]
    command += ["--workers", "1", "--optimizer", "sgd", "--learning-rate", "1e-9"]
    command += ["--iterations", "500", "--tolerance", "1e-300"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    first, *_, last = json.loads(done.stdout)["trace"]
    evaluations = last["evaluations"] - first["evaluations"]
    return (last["seconds"] - first["seconds"]) / evaluations * 1e6


def main():
    nplus1 = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "f.cpp").write_text(PROGRAM)
        build = ["c++", "-O2", "-std=c++17", "-I", str(ROOT / "examples/programs"), "-o", "f", "f.cpp"]
        subprocess.run(build, cwd=folder, check=True)
        run = lambda *what: gradient(nplus1, folder, *what)
        print("waiting 20 ms an evaluation, N + 1 = 50 K")
        found = {workers: [] for workers in (1, 2, 8, 32)}
        for _ in range(ROUNDS):
            for workers, efficiencies in found.items():
                n = max(50 * workers - 1, 99)
                span, evaluations, _ = run(n, workers, 0.02, 0)
                efficiencies.append(evaluations * 0.02 / (workers * span))
        for workers, efficiencies in found.items():
            print(f"  {workers:2} workers: efficiency {statistics.median(efficiencies):.3f}")
        spans = {1: [], 2: []}
        for _ in range(ROUNDS):
            for workers, list_ in spans.items():
                list_.append(run(500, workers, 0, 0.002)[0])
        speedup = statistics.median(spans[1]) / statistics.median(spans[2])
        print(f"computing 2 ms an evaluation: 2 workers are {speedup:.2f} times as fast as 1")
        print("a function that does nothing, 1 worker")
        costs = {10: [], 23_860: []}
        for _ in range(ROUNDS):
            # Many gradients of a small N, so that the start of the program does not count.
            costs[10].append(small(nplus1, folder))
            span, evaluations, _ = run(23_860, 1, 0, 0)
            costs[23_860].append(span / evaluations * 1e6)
        for n, list_ in costs.items():
            print(f"  N = {n:6,}: {statistics.median(list_):.0f} us an evaluation")


if __name__ == "__main__":
    main()
