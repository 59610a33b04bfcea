"""Checks that the Python peers do the same work: trained from the same parameters on the same order
of rows, their networks give the same outputs up to round-off. Run it with the peers' interpreter:

    .venv/bin/python benches/peers/agreement.py

scikit-learn is not checked: it has another loss and shuffles the rows by itself.
"""

import sys

sys.dont_write_bytecode = True

import numpy as np

import mnist
import peer_jax
import peer_numpy
import peer_scipy
import peer_torch_hand
import peer_torch_nn
import worker
from cases import CASES

PEERS = {
    "jax": peer_jax,
    "torch-nn": peer_torch_nn,
    "torch-hand": peer_torch_hand,
    "scipy": peer_scipy,
}
# Rows that are no multiple of the mini-batch, so that the last one is smaller.
ROWS = {"a": 503, "b": 503, "c": 503, "d": 503, "e": 2_500}
# Round-off in f32 stays below 1e-4 here; an error of 2 % in δ gives 2e-3 to 1e-1.
TOLERANCE = 1e-3


def main():
    training, test = mnist.load("train"), mnist.load("t10k")
    failed = False
    for letter, case in CASES.items():
        rows = ROWS[letter]
        part = mnist.Mnist(training.images[:rows], training.targets[:rows], training.labels[:rows])
        order = np.random.default_rng(1).permutation(rows)

        def outputs(peer):
            trainer = peer.Trainer(case, part, worker.first_parameters(case, 1), 1)
            before = np.array(trainer.outputs(test.images))
            trainer.epoch(order)
            after = np.asarray(trainer.outputs(test.images))
            return after, float(abs(after - before).max())

        reference, change = outputs(peer_numpy)
        for name, peer in PEERS.items():
            difference = float(abs(outputs(peer)[0] - reference).max())
            agrees = difference <= TOLERANCE < change
            failed |= not agrees
            print(
                f"{case.title:34} {name:10} differs from numpy by {difference:.1e} "
                f"(training changed the outputs by {change:.2f}): {'ok' if agrees else 'FAILED'}"
            )
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
