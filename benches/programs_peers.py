#!/usr/bin/env python3
"""Compares nplus1 with scipy, numdifftools and PyTorch's gradcheck on the same Python functions.

    cargo build --release
    python3 -m venv peers && peers/bin/pip install numpy scipy numdifftools torch
    peers/bin/python benches/programs_peers.py target/release/nplus1 [verdicts] [errors] [times]

All tools get the same functions, points and planted mistakes. nplus1 asks the functions through
`check --program` and `gradient --program`, so its time is that of two processes from start to end;
the others call them within this one, their import not counted.

Right gradients that a tool calls wrong are false alarms; wrong ones that it calls right are missed.
nplus1 and gradcheck (eps 1e-6, atol 1e-5, rtol 1e-3) judge by their own defaults. The other two leave
the judgement to their user, so each gets, for each noise, the tolerance that would have served best
here, by the sum of the rates of false alarms and of missed mistakes: of check_grad, which returns the
norm of the difference, a power of ten of the gradient's norm; of numdifftools, which has no checker, a
power of ten times its estimate of each element's error, but at least 1e-8 of the element. Times are
medians of wall time and means of processor time.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples/programs"))
POINTS = 3


def rosenbrock(x):
    return sum((1 - a) ** 2 + 100 * (b - a * a) ** 2 for a, b in zip(x, x[1:]))


def rosenbrock_gradient(x):
    g = [0.0] * len(x)
    for i, (a, b) in enumerate(zip(x, x[1:])):
        g[i] += -2 * (1 - a) - 400 * a * (b - a * a)
        g[i + 1] += 200 * (b - a * a)
    return g


def offset(x):
    return 1e3 + sum(math.exp(a) for a in x)


def offset_gradient(x):
    return [math.exp(a) for a in x]


def waves(x):
    return sum(math.sin(300 * a) for a in x)


def waves_gradient(x):
    return [300 * math.cos(300 * a) for a in x]


def small(x):
    return sum(1e-6 * (i + 1) * a * a for i, a in enumerate(x))


def small_gradient(x):
    return [2e-6 * (i + 1) * a for i, a in enumerate(x)]


def logistic_rows(n):
    return [[math.sin(1.3 * r + 2.9 * c) for c in range(n)] for r in range(40)]


def logistic(x):
    scores = (sum(w * v for w, v in zip(x, row)) for row in logistic_rows(len(x)))
    return sum(math.log1p(math.exp(-z)) for z in scores) / 40


def logistic_gradient(x):
    g = [0.0] * len(x)
    for row in logistic_rows(len(x)):
        z = sum(w * v for w, v in zip(x, row))
        for i, v in enumerate(row):
            g[i] -= v / (1 + math.exp(z)) / 40
    return g


def large(x):
    return sum(math.sin(a / 1e4) for a in x)


def large_gradient(x):
    return [math.cos(a / 1e4) / 1e4 for a in x]


FUNCTIONS = {
    f.__name__: (f, g)
    for f, g in [
        (rosenbrock, rosenbrock_gradient),
        (offset, offset_gradient),
        (waves, waves_gradient),
        (small, small_gradient),
        (logistic, logistic_gradient),
        (large, large_gradient),
    ]
}
NOISES = ["0", "1e-8", "1e-4", "f32"]
MISTAKES = {
    "right": lambda g, i: g,
    "factor 2": lambda g, i: [2 * v if k == i else v for k, v in enumerate(g)],
    "sign": lambda g, i: [-v if k == i else v for k, v in enumerate(g)],
    "swapped": lambda g, i: [g[{i: i - 1, i - 1: i}.get(k, k)] for k in range(len(g))],
    "1 %": lambda g, i: [1.01 * v if k == i else v for k, v in enumerate(g)],
    "1e-5": lambda g, i: [(1 + 1e-5) * v if k == i else v for k, v in enumerate(g)],
}


def theta(name, point, n=8):
    scale = 1e5 if name == "large" else 1.0
    return [scale * (1.2 * math.sin(1.7 * i + point) + 0.1) for i in range(n)]


def noisy(function, noise):
    """Relative noise that depends on all bits of x, or the value rounded to single precision."""
    import struct

    def value(x):
        exact = function(x)
        if noise == "f32":
            return struct.unpack("f", struct.pack("f", exact))[0]
        bits = hash(tuple(float(v) for v in x)) & 0xFFFFFFFF
        bits = (bits * 2654435761 ^ bits >> 15) * 2246822519 & 0xFFFFFFFF
        return exact * (1 + float(noise) * (2 * bits / 2**32 - 1))

    return value


def planted(name, mistake, point):
    """Returns the gradient with the mistake."""
    change, gradient = MISTAKES[mistake], FUNCTIONS[name][1]
    return lambda x: change(gradient(list(x)), 1 + point % (len(x) - 1))


def serve_one(name, noise, mistake, point):
    """Runs as the program that nplus1 asks."""
    from nplus1_serve import serve

    value = noisy(FUNCTIONS[name][0], noise)
    serve(value, planted(name, mistake, point), theta=theta(name, point))


class Counted:
    """A function of a list that counts its calls."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, x):
        self.calls += 1
        return self.function([float(v) for v in x])


def ask(nplus1, words, program, folder):
    """Returns what the command prints; None if it finds no increment."""
    command = [nplus1, *words, "--json", "-q", "--program", program]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    if b"cannot be separated" in done.stderr or b"does not change within" in done.stderr:
        return None
    if done.returncode not in (0, 3):
        raise RuntimeError(done.stderr.decode())
    return json.loads(done.stdout)


def program(name, noise, mistake, point):
    return f"'{sys.executable}' '{__file__}' serve {name} {noise} '{mistake}' {point}"


def nplus1_says(nplus1, folder, case):
    found = ask(nplus1, ["check", "--workers", "1"], program(*case), folder)
    name, _, mistake, point = case
    x = theta(name, point)
    pairs = zip(planted(name, mistake, point)(x), FUNCTIONS[name][1](x))
    error = max(abs(given - exact) for given, exact in pairs)
    if found["verdict"] == "right" and error > found["smallest_error"]:
        raise AssertionError(f"{case} is called right: {found}")
    return found["verdict"], found["evaluations"]["answered"]


def scipy_says(case):
    """Returns the norm of the difference relative to that of the gradient."""
    import numpy as np
    from scipy.optimize import check_grad

    name, noise, mistake, point = case
    x, value = np.array(theta(name, point)), Counted(noisy(FUNCTIONS[name][0], noise))
    given = planted(name, mistake, point)
    apart = check_grad(value, lambda x: np.array(given(x)), x)
    return apart / np.linalg.norm(given(x)), value.calls


def numdifftools_gradient(value, x):
    """Returns the gradient and its estimated errors."""
    import numdifftools
    import numpy as np

    found = numdifftools.Gradient(value, full_output=True)(x)
    return found.estimate, np.ravel(found.error_estimate)


def numdifftools_says(case):
    """Returns the largest difference relative to the estimated error."""
    import numpy as np

    name, noise, mistake, point = case
    x, value = np.array(theta(name, point)), Counted(noisy(FUNCTIONS[name][0], noise))
    found, errors = numdifftools_gradient(value, x)
    bound = np.maximum(errors, 1e-8 * np.abs(found))
    apart = np.abs(found - planted(name, mistake, point)(x))
    return float(np.max(apart / bound)), value.calls


def torch_says(case):
    """Returns whether gradcheck calls the gradient wrong."""
    import torch

    name, noise, mistake, point = case
    value, given = Counted(noisy(FUNCTIONS[name][0], noise)), planted(name, mistake, point)

    class Checked(torch.autograd.Function):
        @staticmethod
        def forward(context, t):
            context.save_for_backward(t)
            return torch.tensor(value(t.tolist()), dtype=torch.float64)

        @staticmethod
        def backward(context, outer):
            (t,) = context.saved_tensors
            return outer * torch.tensor(given(t.tolist()), dtype=torch.float64)

    t = torch.tensor(theta(name, point), dtype=torch.float64, requires_grad=True)
    return not torch.autograd.gradcheck(Checked.apply, (t,), raise_exception=False), value.calls


class Stopwatch:
    """The median of wall time and the mean of processor time, child processes included."""

    def __init__(self):
        self.spans = []

    def time(self, work):
        start, before = time.perf_counter(), sum(os.times()[:4])
        result = work()
        self.spans.append((time.perf_counter() - start, sum(os.times()[:4]) - before))
        return result

    def __str__(self):
        wall = statistics.median(wall for wall, _ in self.spans)
        processor = statistics.fmean(processor for _, processor in self.spans)
        two_digits = lambda seconds: f"{float(f'{1e3 * seconds:.2g}'):g}"
        return f"{two_digits(wall)} | {two_digits(processor)}"


def verdicts(nplus1, folder):
    tools = {
        "nplus1 check": lambda case: nplus1_says(nplus1, folder, case),
        "scipy check_grad": scipy_says,
        "numdifftools": numdifftools_says,
        "torch gradcheck": torch_says,
    }
    for says in tools.values():
        says(("rosenbrock", "0", "right", 0))  # imports
    large = len(MISTAKES) - 2
    each = len(FUNCTIONS) * POINTS
    print(f"| tool | noise | false alarms of {each} | missed of {large * each}, 1 % or more |", end="")
    print(f" missed of {each}, 1e-5 | tolerance | evaluations | ms | CPU ms |")
    print("|---" * 9 + "|")
    for tool, says in tools.items():
        for noise in NOISES:
            found, watch = [], Stopwatch()
            for name in FUNCTIONS:
                for mistake in MISTAKES:
                    for point in range(POINTS):
                        said, calls = watch.time(lambda: says((name, noise, mistake, point)))
                        found.append((mistake, said, calls))
            print_verdicts(tool, noise, found, watch)


def print_verdicts(tool, noise, found, watch):
    def missed(wrong, right):
        """False alarms, and missed mistakes of either size."""
        alarms = sum(wrong(said) for mistake, said, _ in found if mistake == "right")
        small = sum(right(said) for mistake, said, _ in found if mistake == "1e-5")
        large = [said for mistake, said, _ in found if mistake not in ("right", "1e-5")]
        return alarms, sum(map(right, large)), small

    tolerance = "own"
    if tool == "nplus1 check":
        counts = missed(lambda said: said == "wrong", lambda said: said == "right")
        cannot = missed(lambda said: said == "cannot-tell", lambda said: said == "cannot-tell")
        counts = [f"{c} ({k} cannot tell)" if k else c for c, k in zip(counts, cannot)]
    elif tool == "torch gradcheck":
        counts = missed(lambda said: said, lambda said: not said)
    else:
        unit = ["·‖g‖", "·estimate"][tool == "numdifftools"]
        powers = range(-8, 0) if tool.startswith("scipy") else range(7)
        at = {p: missed(lambda said: said > 10.0**p, lambda said: not said > 10.0**p) for p in powers}
        mistakes = len(MISTAKES) - 1
        rates = lambda item: mistakes * item[1][0] + item[1][1] + item[1][2]
        power, counts = min(at.items(), key=rates)
        tolerance = f"1e{power}{unit}"
    calls = statistics.median(calls for *_, calls in found)
    cells = [tool, noise, *counts, tolerance, f"{calls:.0f}", watch]
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def errors(nplus1, folder):
    import numpy as np
    from scipy.optimize._numdiff import approx_derivative

    def command(*words):
        def run(name, noise, point):
            asked = program(name, noise, "right", point)
            found = ask(nplus1, ["gradient", "--workers", "1", *words], asked, folder)
            if found is None:
                return None
            return found["gradient"], found.get("errors"), found["evaluations"]["answered"]

        return run

    def called(differentiate):
        def run(name, noise, point):
            value = Counted(noisy(FUNCTIONS[name][0], noise))
            found, estimates = differentiate(value, np.array(theta(name, point)))
            return found, estimates, value.calls

        return run

    methods = {
        "nplus1 forward": command("--scheme", "forward"),
        "nplus1 central": command("--scheme", "central"),
        "nplus1 central, `--increment noise`": command("--scheme", "central", "--increment", "noise"),
        "nplus1 richardson": command("--scheme", "richardson"),
        "nplus1 richardson, `--increment noise`": command(
            "--scheme", "richardson", "--increment", "noise"
        ),
        "scipy 2-point": called(lambda f, x: (approx_derivative(f, x, method="2-point"), None)),
        "scipy 3-point": called(lambda f, x: (approx_derivative(f, x, method="3-point"), None)),
        "numdifftools Gradient": called(numdifftools_gradient),
    }
    print("\n| gradient, N = 8 | median (worst) error, no noise | noise 1e-8 | 1e-4 |", end="")
    print(" errors within the estimate | evaluations | ms | CPU ms |")
    print("|---" * 8 + "|")
    for method, run in methods.items():
        print_errors(method, run)


def print_errors(method, run):
    cells, within, elements, calls, watch = [], 0, 0, [], Stopwatch()
    for noise in ["0", "1e-8", "1e-4"]:
        relative, refused = [], 0
        for name in FUNCTIONS:
            for point in range(POINTS):
                found = watch.time(lambda: run(name, noise, point))
                if found is None:
                    refused += 1
                    continue
                exact = FUNCTIONS[name][1](theta(name, point))
                apart = [abs(a - b) for a, b in zip(found[0], exact)]
                relative.append(max(apart) / max(map(abs, exact)))
                calls.append(found[2])
                if found[1] is not None:
                    within += sum(a <= estimate for a, estimate in zip(apart, found[1]))
                    elements += len(apart)
        cell = f"{statistics.median(relative):.0e} ({max(relative):.0e})"
        cells.append(cell + (f", {refused} refused" if refused else ""))
    share = f"{within} of {elements}" if elements else "–"
    cells = [method, *cells, share, f"{statistics.median(calls):.0f}", watch]
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def waiting(x):
    time.sleep(0.02)
    return sum(v * v for v in x)


def times(nplus1, folder):
    import inspect
    from multiprocessing.pool import ThreadPool

    import numpy as np
    from scipy.optimize._numdiff import approx_derivative

    n, workers = 200, 8
    x = theta("waiting", 0, n)
    (folder / "theta.json").write_text(json.dumps(x))
    (folder / "wait.py").write_text(
        f"import sys, time; sys.path.insert(0, {str(ROOT / 'examples/programs')!r})\n"
        "from nplus1_serve import serve\n"
        "serve(lambda x: (time.sleep(0.02), sum(v * v for v in x))[1])\n"
    )
    print(f"\n| forward differences, N = {n}, 20 ms an evaluation | seconds |")
    print("|---|---|")
    for k in (1, workers):
        words = ["gradient", "--at", "theta.json", "--workers", str(k)]
        start = time.monotonic()
        ask(nplus1, words, f"'{sys.executable}' wait.py", folder)
        print(f"| nplus1, {k} processes, their start and end included | {time.monotonic() - start:.2f} |")
    has_workers = "workers" in inspect.signature(approx_derivative).parameters
    for k in (1, workers) if has_workers else (1,):
        with ThreadPool(k) as pool:
            more = {"workers": pool.map} if k > 1 else {}
            start = time.monotonic()
            approx_derivative(waiting, np.array(x), method="2-point", **more)
            seconds = time.monotonic() - start
        print(f"| scipy approx_derivative, {k} threads (`workers=`) | {seconds:.2f} |", flush=True)
    if not has_workers:
        print("| scipy approx_derivative has no `workers` in this version | |")


def versions(nplus1):
    import platform
    from importlib.metadata import version

    peers = ["numpy", "scipy", "numdifftools", "torch"]
    found = [f"{peer} {version(peer)}" for peer in peers]
    own = subprocess.run([nplus1, "--version"], capture_output=True, check=True).stdout.decode().strip()
    print(f"{own}, Python {platform.python_version()}, {', '.join(found)}; {os.cpu_count()} processors\n")


def main():
    if sys.argv[1] == "serve":
        return serve_one(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
    warnings.simplefilter("ignore")
    nplus1 = os.path.abspath(sys.argv[1])
    versions(nplus1)
    with tempfile.TemporaryDirectory() as name:
        for part in (verdicts, errors, times):
            if not sys.argv[2:] or part.__name__ in sys.argv[2:]:
                part(nplus1, Path(name))


if __name__ == "__main__":
    main()
