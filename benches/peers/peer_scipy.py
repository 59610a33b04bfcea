"""scipy, hand-written in matrix form: as `peer_numpy`, but with scipy's BLAS, all operands in place,
gradient and update in one call, and scipy's sigmoid, `expit`.

BLAS reads a C-ordered (rows, units) array as (units, rows), so all products have transposed views.
"""

import numpy as np
import scipy
from scipy.linalg.blas import sgemm
from scipy.special import expit

import peer_numpy
import worker


class Trainer(peer_numpy.Trainer):
    def step(self, indices, space):
        # With mode="clip", take() writes into `out` without a temporary buffer.
        np.take(self.training.images, indices, axis=0, out=space.x, mode="clip")
        np.take(self.training.targets, indices, axis=0, out=space.y, mode="clip")
        below = space.x
        for weights, biases, a in zip(self.weights, self.biases, space.a):
            a[:] = biases
            sgemm(1, weights.T, below.T, 1, a.T, trans_a=True, overwrite_c=True)
            below = expit(a, out=a)
        np.subtract(space.a[-1], space.y, out=space.delta[-1])
        space.delta[-1] *= np.float32(self.learning_rate / len(indices))
        self.times_slope(space, -1)
        for layer in reversed(range(len(self.weights))):
            weights, delta = self.weights[layer], space.delta[layer]
            if layer:
                lower = space.delta[layer - 1]
                sgemm(1, weights.T, delta.T, 0, lower.T, overwrite_c=True)
                self.times_slope(space, layer - 1)
            below = space.a[layer - 1] if layer else space.x
            sgemm(-1, below.T, delta.T, 1, weights.T, trans_b=True, overwrite_c=True)
            self.biases[layer] -= delta.sum(axis=0)


if __name__ == "__main__":
    worker.main("scipy", Trainer, {"scipy": scipy.__version__})
