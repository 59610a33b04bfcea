"""Holds the Python peers to the same work: from the same parameters, over the same order of rows,
their networks give the same outputs up to round-off. Run it with the peers' interpreter:

    .venv/bin/python benches/peers/agreement.py

scikit-learn has another loss and draws its own orders: it is not held to them.
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
# A ragged last mini-batch in (a) to (d), two whole ones and a rest in (e).
ROWS = {"a": 503, "b": 503, "c": 503, "d": 503, "e": 2_500}
# f32 round-off stays below 1e-4 here; a δ that is 2 % too large gives 2e-3 to 1e-1.
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

        reference, moved = outputs(peer_numpy)
        for name, peer in PEERS.items():
            difference = float(abs(outputs(peer)[0] - reference).max())
            agrees = difference <= TOLERANCE < moved
            failed |= not agrees
            print(
                f"{case.title:34} {name:10} differs from numpy by {difference:.1e} "
                f"(training moved the outputs by {moved:.2f}): {'ok' if agrees else 'FAILED'}"
            )
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
