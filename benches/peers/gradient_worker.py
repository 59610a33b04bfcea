"""The parts that the Python peers of the gradients' race share: θ, the mini-batches, the float64
reference gradient, the timing, and the printed line of JSON.

A peer is a class: `Gradient(parameters, x, y, threads)` prepares (compiles, chooses a chunk size; this
is not timed), and a call with `(x, y)` returns the flat gradient at θ in layout order. `notes` is a
dict of its choices. Each gradient is timed on another mini-batch.
"""

import argparse
import json
import platform
import time

import numpy as np

import mnist
import worker
from cases import CASES

CASE = CASES["a"]
# The absolute increment of the f32 peers: near √(round-off of an f32 loss), where their error is
# least, and a power of two, so that θ + h has little round-off. scipy chooses its increment, in f64.
INCREMENT = 2.0**-9
MOST = 200  # gradients per process


def flat(parameters):
    """Returns θ as one array in layout order: layer by layer, weights row-major, then biases."""
    return np.concatenate([array.ravel() for layer in parameters for array in layer])


def layers(theta):
    """Returns [(weights, biases)], views into a flat θ of any array library with `reshape`."""
    views, first = [], 0
    for fan_in, fan_out in zip(CASE.sizes, CASE.sizes[1:]):
        middle, last = first + fan_out * fan_in, first + fan_out * (fan_in + 1)
        views.append((theta[first:middle].reshape(fan_out, fan_in), theta[middle:last]))
        first = last
    return views


def backprop(parameters, x, y):
    """Returns the gradient of 1/(2·rows) Σ (a − y)² in float64: the reference of all errors."""
    activations = [x.astype(np.float64)]
    for weights, biases in parameters:
        z = activations[-1] @ weights.T.astype(np.float64) + biases
        activations.append(1 / (1 + np.exp(-z)))
    delta = (activations[-1] - y) / len(x)
    gradient = []
    for (weights, _), a, below in reversed(list(zip(parameters, activations[1:], activations))):
        delta = delta * a * (1 - a)
        gradient.insert(0, (delta.T @ below, delta.sum(axis=0)))
        delta = delta @ weights
    return flat(gradient)


def fastest(chunks, trial):
    """Returns the chunk whose second `trial(chunk)` is fastest; the first trial compiles and warms up."""
    seconds = {}
    for chunk in chunks:
        trial(chunk)
        start = time.perf_counter()
        trial(chunk)
        seconds[chunk] = time.perf_counter() - start
    return min(seconds, key=seconds.get)


def main(peers, versions):
    """Times gradients as the command line says and prints one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", choices=peers, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=2.0, help="time gradients for this many seconds")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    training = mnist.load("train")
    parameters = worker.first_parameters(CASE, arguments.seed)
    order = np.random.default_rng([arguments.seed, 1]).permutation(len(training.images))
    batches = order[: len(order) // arguments.batch * arguments.batch].reshape(-1, arguments.batch)
    x, y = training.images[batches[0]], training.targets[batches[0]]
    gradient = peers[arguments.peer](parameters, x, y, arguments.threads)
    first, seconds = None, []
    while not seconds or (sum(seconds) < arguments.seconds and len(seconds) < min(MOST, len(batches))):
        rows = batches[len(seconds)]
        start = time.perf_counter()
        elements = gradient(training.images[rows], training.targets[rows])
        seconds.append(time.perf_counter() - start)
        first = elements if first is None else first
    reference = backprop(parameters, x, y)
    error = np.linalg.norm(np.asarray(first, np.float64) - reference) / np.linalg.norm(reference)
    result = {
        "seconds": seconds,
        "relative_error": float(error),
        "notes": gradient.notes,
        "versions": {"python": platform.python_version(), "numpy": np.__version__, **versions},
    }
    print(json.dumps(result))
