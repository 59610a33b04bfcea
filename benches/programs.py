#!/usr/bin/env python3
"""Measures how `nplus1 gradient --program` uses workers, and what an evaluation costs beside the function.

    cargo build --release
    python3 benches/programs.py target/release/nplus1

The function is a compiled program, so that no interpreter is measured. Beside nplus1, in turns, the
same program runs by hand: K processes that evaluate their share without being asked, which is what
the machine gives at that moment. Spans are from the first request to the last answer, as the
programs see them.

1. A function that waits 20 ms: efficiency = (N + 1) * 20 ms / (K * span), where N + 1 = 50 K (K = 1: 100).
   nplus1 evaluates theta once more, at the end; the program by hand evaluates N + 1 times.
2. A function that computes for some 2 ms: span on 1 worker over that on 2, and by hand on 1 process over
   2; nplus1's span on 2 over that by hand on 2, in turns; and, which no other load of the machine
   changes, the processor time of everything but the function, from which follows the speedup that two
   processors of one's own would allow.
3. A function that does nothing: microseconds an evaluation, N = 10 and N = 23,860 with single changes,
   the program's own side included.

Each is repeated, in alternating order; medians are printed, with the least and the most.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = int(os.environ.get("ROUNDS", 7))

PROGRAM = r"""
#include "nplus1_serve.hpp"
#include <cstring>
#include <ctime>
#include <sys/wait.h>
#include <unistd.h>
static double wait_seconds;
static long work;
static double first = 0, last = 0;
static double now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}
static double value(double x) {
    if (first == 0) first = now();
    if (wait_seconds > 0) {
        timespec t = {0, long(1e9 * wait_seconds)};
        nanosleep(&t, nullptr);
    }
    for (long k = 0; k < work; ++k) x = x * 0.999999 + 1e-9;
    last = now();
    return x * x + 1;
}
static int end(const std::string& name) {
    clock_t used = clock();
    if (FILE* file = std::fopen(("times." + name).c_str(), "w")) {
        std::fprintf(file, "%.9f %.9f %.9f\n", first, last, double(used) / CLOCKS_PER_SEC);
        std::fclose(file);
    }
    return 0;
}
int main(int count, char** arguments) {
    wait_seconds = std::atof(arguments[1]);
    work = std::atol(arguments[2]);
    if (count == 5) {  // by hand: processes, evaluations
        int processes = std::atoi(arguments[3]), evaluations = std::atoi(arguments[4]);
        for (int k = 0; k < processes; ++k)
            if (fork() == 0) {
                double x = 0.5;
                for (int i = k; i < evaluations; i += processes) x = value(x) - 1;
                return end(std::to_string(k)) + (x == 7);
            }
        while (wait(nullptr) > 0) {}
        return 0;
    }
    nplus1::serve([](const std::vector<double>& x) { return value(x[0]); });
    return end(std::getenv("NPLUS1_WORKER"));
}
"""


class Bench:
    def __init__(self, nplus1, folder):
        self.nplus1, self.folder = nplus1, folder
        (folder / "f.cpp").write_text(PROGRAM)
        build = ["c++", "-O2", "-static", "-std=c++17", "-I", str(ROOT / "examples/programs")]
        subprocess.run([*build, "-o", "f", "f.cpp"], cwd=folder, check=True)
        # The work of 2 ms.
        self.run("./f", 0, 100_000_000, 1, 1)
        self.work = int(100_000_000 * 0.002 / self.times()[1])

    def run(self, *command):
        for old in self.folder.glob("times.*"):
            old.unlink()
        command = [str(word) for word in command]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{command}: {done.stderr}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.processor_time = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return done.stdout

    def times(self):
        """Returns the span and the processor time of the programs that ran last."""
        rows = [[float(t) for t in file.read_text().split()] for file in self.folder.glob("times.*")]
        rows = [row for row in rows if row[0] > 0]
        return max(r[1] for r in rows) - min(r[0] for r in rows), sum(r[2] for r in rows)

    def gradient(self, n, workers, wait, work):
        (self.folder / "theta.json").write_text(json.dumps([0.5] * n))
        command = [self.nplus1, "gradient", "-q", "--json", "--program", f"./f {wait} {work}"]
        command += ["--at", "theta.json", "--workers", workers, "-o", "g.npy"]
        return json.loads(self.run(*command))["evaluations"]["answered"]

    def small(self):
        """Microseconds an evaluation of many gradients of N = 10."""
        (self.folder / "theta.json").write_text(json.dumps([0.5] * 10))
        command = [self.nplus1, "minimize", "-q", "--json", "--program", "./f 0 0", "--at", "theta.json"]
        command += ["--workers", 1, "--optimizer", "sgd", "--learning-rate", 1e-9]
        command += ["--iterations", 500, "--tolerance", 1e-300]
        first, *_, last = json.loads(self.run(*command))["trace"]
        return (last["seconds"] - first["seconds"]) / (last["evaluations"] - first["evaluations"]) * 1e6


def shown(values, form="{:.3f}"):
    numbers = statistics.median(values), min(values), max(values)
    return "{} ({} to {})".format(*(form.format(number) for number in numbers))


def waiting(bench):
    print("waiting 20 ms an evaluation, N + 1 = 50 K: efficiency")
    for workers in (1, 2, 8, 32):
        evaluations = max(50 * workers, 100)
        found = {"nplus1": [], "by hand": []}
        for _ in range(ROUNDS):
            bench.gradient(evaluations - 1, workers, 0.02, 0)
            found["nplus1"].append(evaluations * 0.02 / (workers * bench.times()[0]))
            bench.run("./f", 0.02, 0, workers, evaluations)
            found["by hand"].append(evaluations * 0.02 / (workers * bench.times()[0]))
        print(f"  {workers:2} workers: {shown(found['nplus1'])}; by hand {shown(found['by hand'])}", flush=True)


def computing(bench):
    spans = {}
    shares = {}
    beside = []
    for _ in range(ROUNDS):
        for workers in (1, 2):
            bench.gradient(499, workers, 0, bench.work)
            span, used = bench.times()
            spans.setdefault(("nplus1", workers), []).append(span)
            shares.setdefault(("nplus1", workers), []).append(used / span)
            if workers == 2:
                beside.append((bench.processor_time - used) / used)
            bench.run("./f", 0, bench.work, workers, 500)
            span, used = bench.times()
            spans.setdefault(("by hand", workers), []).append(span)
            shares.setdefault(("by hand", workers), []).append(used / span)
    print("computing 2 ms an evaluation: time on 1 over time on 2")
    for how in ("nplus1", "by hand"):
        ratios = [one / two for one, two in zip(spans[how, 1], spans[how, 2])]
        used = statistics.median(shares[how, 1]), statistics.median(shares[how, 2])
        print(f"  {how:7}: {shown(ratios, '{:.2f}')}; processors in use: {used[0]:.2f} and {used[1]:.2f}", flush=True)
    ratios = [one / two for one, two in zip(spans["nplus1", 2], spans["by hand", 2])]
    print(f"  on 2: nplus1 takes {shown(ratios, '{:.2f}')} of the time by hand")
    print(f"  processor time beside the function: {shown([100 * b for b in beside], '{:.1f}')} % of it;", end=" ")
    print(f"two processors of one's own allow {2 / (1 + statistics.median(beside)):.2f}", flush=True)


def small(bench):
    print("a function that does nothing, 1 worker: microseconds an evaluation")
    costs = {10: [], 23_860: []}
    for _ in range(ROUNDS):
        # Many gradients of a small N, so that the start of the program does not count.
        costs[10].append(bench.small())
        evaluations = bench.gradient(23_860, 1, 0, 0)
        costs[23_860].append(bench.times()[0] / evaluations * 1e6)
    for n, found in costs.items():
        print(f"  N = {n:6,}: {shown(found, '{:.0f}')}")


def main():
    nplus1 = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(nplus1, Path(name))
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        for part in (waiting, computing, small):
            if len(sys.argv) < 3 or part.__name__ in sys.argv[2:]:
                part(bench)


if __name__ == "__main__":
    main()
