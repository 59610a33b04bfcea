"""The parts that the Python peers share: the initial parameters, the shuffle, the timing, and the
printed line of JSON.

A peer is a class: `Trainer(case, training, parameters, threads)` with `epoch(order)`, which trains on
the rows in that order and returns when the work is done, and `outputs(images)`. The time covers the
shuffle and `epoch`. All peers start from the same parameters and get the same orders.
"""

import argparse
import json
import platform
import time

import numpy as np

import mnist
from cases import CASES


def first_parameters(case, seed):
    """Returns [(weights (fan_out, fan_in) from N(0, 1/fan_in), biases (fan_out,) from N(0, 1))], f32."""
    random = np.random.default_rng(seed)
    return [
        (
            (random.standard_normal((fan_out, fan_in)) / np.sqrt(fan_in)).astype(np.float32),
            random.standard_normal(fan_out).astype(np.float32),
        )
        for fan_in, fan_out in zip(case.sizes, case.sizes[1:])
    ]


def main(peer, make_trainer, versions):
    """Trains as the command line says and prints one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", choices=CASES, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    case = CASES[arguments.case]
    training, test = mnist.load("train"), mnist.load("t10k")
    parameters = first_parameters(case, arguments.seed)
    trainer = make_trainer(case, training, parameters, arguments.threads)
    random = np.random.default_rng([arguments.seed, 1])
    seconds = []
    for _ in range(1 + arguments.epochs):
        start = time.perf_counter()
        trainer.epoch(random.permutation(len(training.images)))
        seconds.append(time.perf_counter() - start)
    outputs = np.asarray(trainer.outputs(test.images))
    result = {
        "peer": peer,
        "case": case.letter,
        "threads": arguments.threads,
        "warm_up": seconds[0],
        "seconds": seconds[1:],
        "test_loss": float(np.square(outputs - test.targets).sum(axis=1).mean() / 2),
        "test_accuracy": float(np.mean(outputs.argmax(axis=1) == test.labels)),
        "versions": {"python": platform.python_version(), "numpy": np.__version__, **versions},
    }
    print(json.dumps(result))
