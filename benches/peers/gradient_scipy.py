"""scipy as its users call it: `approx_fprime` on a loss of a flat θ, float64, with scipy's increment.

Its option `workers` is not used: for a loss this short, a pool of processes costs far more than it
gains.
"""

import numpy as np
import scipy
from scipy.optimize import approx_fprime

import gradient_worker
from gradient_worker import flat, layers


class Gradient:
    def __init__(self, parameters, x, y, threads):
        self.notes = {"increment": float(np.sqrt(np.finfo(float).eps))}
        self.theta = flat(parameters).astype(np.float64)
        for _ in range(100):
            self.loss(self.theta, x, y)

    @staticmethod
    def loss(theta, x, y):
        a = x
        for weights, biases in layers(theta):
            a = 1 / (1 + np.exp(-(a @ weights.T + biases)))
        return np.square(a - y).sum() / (2 * len(x))

    def __call__(self, x, y):
        # Converted once per gradient: otherwise every evaluation would convert.
        x, y = x.astype(np.float64), y.astype(np.float64)
        return approx_fprime(self.theta, self.loss, self.notes["increment"], x, y)


if __name__ == "__main__":
    gradient_worker.main({"scipy": Gradient}, {"scipy": scipy.__version__})
