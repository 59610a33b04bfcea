#!/usr/bin/env python3
"""Compares nplus1 with scipy, numdifftools and PyTorch's gradcheck on the same Python functions.

    cargo build --release
    python3 -m venv peers && peers/bin/pip install numpy scipy numdifftools torch
    peers/bin/python benches/programs_peers.py target/release/nplus1

nplus1 asks the functions through `check --program` and `gradient --program`. Right gradients that a
tool calls wrong are false alarms; wrong ones that it does not call wrong are missed. The rules are the
tools' own defaults: gradcheck's eps 1e-6, atol 1e-5, rtol 1e-3; of numdifftools, which has no checker,
its error estimate, but at least 1e-8 of the element; of scipy's check_grad, which returns the norm of
the difference, 1e-6 of the gradient's norm, but at least 1e-6.
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
from multiprocessing.pool import ThreadPool
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
    return sum(math.sin(a / 1e4) for a in (1e5 * v for v in x))


def large_gradient(x):
    return [10 * math.cos(10 * v) for v in x]


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


def theta(point, n=8):
    return [1.2 * math.sin(1.7 * i + point) + 0.1 for i in range(n)]


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


def serve_one(name, noise, mistake, point):
    """Runs as the program that nplus1 asks."""
    from nplus1_serve import serve

    function, gradient = FUNCTIONS[name]
    change = MISTAKES[mistake]
    serve(
        noisy(function, noise),
        lambda x: change(gradient(x), 1 + point % (len(x) - 1)),
        theta=theta(point),
    )


def ask(nplus1, words, program, folder):
    command = [nplus1, *words, "--json", "-q", "--program", program]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    if done.returncode not in (0, 3):
        raise RuntimeError(done.stderr.decode())
    return json.loads(done.stdout)


def nplus1_says(nplus1, folder, name, noise, mistake, point):
    program = f"'{sys.executable}' '{__file__}' serve {name} {noise} '{mistake}' {point}"
    return ask(nplus1, ["check", "--workers", "1"], program, folder)["verdict"]


def peers_say(name, noise, mistake, point):
    """Returns whether scipy, numdifftools and torch call the gradient wrong."""
    import numdifftools
    import numpy as np
    import torch
    from scipy.optimize import check_grad

    function, gradient = FUNCTIONS[name]
    x = np.array(theta(point))
    value = noisy(function, noise)
    given = lambda x: np.array(MISTAKES[mistake](gradient(list(x)), 1 + point % (len(x) - 1)))
    apart = check_grad(value, given, x)
    scipy_says = apart > 1e-6 * max(1.0, np.linalg.norm(given(x)))
    estimate = numdifftools.Gradient(value, full_output=True)(x)
    found, errors = estimate.estimate, np.ravel(estimate.error_estimate)
    bound = np.maximum(errors, 1e-8 * np.abs(found))
    numdifftools_says = bool(np.any(np.abs(found - given(x)) > bound))

    class Checked(torch.autograd.Function):
        @staticmethod
        def forward(context, t):
            context.save_for_backward(t)
            return torch.tensor(value(t.tolist()), dtype=torch.float64)

        @staticmethod
        def backward(context, outer):
            (t,) = context.saved_tensors
            return outer * torch.tensor(given(t.numpy()), dtype=torch.float64)

    t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    torch_says = not torch.autograd.gradcheck(Checked.apply, (t,), raise_exception=False)
    return {"scipy check_grad": scipy_says, "numdifftools": numdifftools_says, "torch gradcheck": torch_says}


def verdicts(nplus1, folder):
    tools = ["nplus1", "scipy check_grad", "numdifftools", "torch gradcheck"]
    counts = {(tool, noise): dict.fromkeys(MISTAKES, 0) for tool in tools for noise in NOISES}
    cannot = dict.fromkeys(NOISES, 0)
    for name in FUNCTIONS:
        for noise in NOISES:
            for mistake in MISTAKES:
                for point in range(POINTS):
                    verdict = nplus1_says(nplus1, folder, name, noise, mistake, point)
                    says = {"nplus1": verdict == "wrong", **peers_say(name, noise, mistake, point)}
                    for tool, wrong in says.items():
                        counts[tool, noise][mistake] += wrong
                    cannot[noise] += verdict == "cannot-tell"
    total = len(FUNCTIONS) * POINTS
    mistakes = [m for m in MISTAKES if m != "right"]
    print(f"| tool | noise | false alarms of {total} | " + " | ".join(f"missed: {m}" for m in mistakes) + " |")
    print("|---" * (3 + len(mistakes)) + "|")
    for tool in tools:
        for noise in NOISES:
            row = counts[tool, noise]
            missed = " | ".join(str(total - row[m]) for m in mistakes)
            print(f"| {tool} | {noise} | {row['right']} | {missed} |")
    print(f"\nnplus1 answered `cannot tell` in {cannot} of {total * len(MISTAKES)} checks each")


def errors(nplus1, folder):
    import numdifftools
    import numpy as np
    from scipy.optimize._numdiff import approx_derivative

    methods = {}

    def add(method, found, exact, evaluations):
        error = max(abs(a - b) for a, b in zip(found, exact)) / max(map(abs, exact))
        methods.setdefault(method, []).append((error, evaluations))

    for name, (function, gradient) in FUNCTIONS.items():
        for point in range(POINTS):
            x, program = theta(point), f"'{sys.executable}' '{__file__}' serve {name} 0 right {point}"
            exact = gradient(x)
            for scheme in ["forward", "central", "richardson"]:
                words = ["gradient", "--workers", "1", "--scheme", scheme]
                found = ask(nplus1, words, program, folder)
                add(f"nplus1 {scheme}", found["gradient"], exact, found["evaluations"]["answered"])
            calls = [0]

            def counted(x):
                calls[0] += 1
                return function(list(x))

            for scheme in ["2-point", "3-point"]:
                calls[0] = 0
                add(f"scipy {scheme}", approx_derivative(counted, x, method=scheme), exact, calls[0])
            calls[0] = 0
            add("numdifftools", numdifftools.Gradient(counted)(np.array(x)), exact, calls[0])
    print("\n| gradient, N = 8, no noise | median relative error | worst | evaluations |")
    print("|---|---|---|---|")
    for method, found in methods.items():
        relative = [error for error, _ in found]
        count = statistics.median(evaluations for _, evaluations in found)
        print(f"| {method} | {statistics.median(relative):.0e} | {max(relative):.0e} | {count:.0f} |")


def waiting(x):
    time.sleep(0.02)
    return sum(v * v for v in x)


def times(nplus1, folder):
    from scipy.optimize._numdiff import approx_derivative

    n, workers = 200, 8
    x = theta(0, n)
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
        print(f"| nplus1, {k} workers, its start and end included | {time.monotonic() - start:.2f} |")
    for k in (1, workers):
        with ThreadPool(k) as pool:
            start = time.monotonic()
            approx_derivative(waiting, x, method="2-point", workers=pool.map if k > 1 else None)
            print(f"| scipy approx_derivative, {k} workers (threads) | {time.monotonic() - start:.2f} |")


def main():
    if sys.argv[1] == "serve":
        return serve_one(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
    warnings.simplefilter("ignore")
    nplus1 = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        verdicts(nplus1, Path(name))
        errors(nplus1, Path(name))
        times(nplus1, Path(name))


if __name__ == "__main__":
    main()
