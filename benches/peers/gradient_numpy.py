"""Forward differences in NumPy, f32: a generic loop, and two implementations of incremental evaluation.

`Incremental` is straightforward: it computes only what a perturbed unit changes, and all perturbations
of a unit as one block of arrays. `Shared` is tuned: it skips inputs of 0, and equal inputs of a row
share their perturbed loss. Variants that were slower: rows in the outer loop (3 times as long), blocks
of several units.
"""

import numpy as np

import gradient_worker
from gradient_worker import INCREMENT, flat, layers


def sigmoid(z):
    """Computes σ(z) in place."""
    np.negative(z, out=z)
    np.exp(z, out=z)
    z += 1
    return np.reciprocal(z, out=z)


class Loop:
    """N + 1 evaluations; perturbs θ in place; allocates all arrays in advance."""

    def __init__(self, parameters, x, y, threads):
        self.notes = {"increment": INCREMENT}
        self.theta = flat(parameters)
        self.layers = [(weights.T, biases) for weights, biases in layers(self.theta)]
        self.activations = [np.empty((len(x), len(b)), np.float32) for _, b in self.layers]
        for _ in range(100):
            self.loss(x, y)

    def loss(self, x, y):
        for (transposed, biases), a in zip(self.layers, self.activations):
            np.dot(x, transposed, out=a)
            a += biases
            x = sigmoid(a)
        x -= y
        x = x.ravel()
        return x.dot(x) / np.float32(2 * len(y))

    def __call__(self, x, y):
        theta, gradient = self.theta, np.empty_like(self.theta)
        loss = self.loss(x, y)
        for i in range(theta.size):
            kept = theta[i]
            theta[i] = kept + np.float32(INCREMENT)
            gradient[i] = self.loss(x, y) - loss
            theta[i] = kept
        return gradient / np.float32(INCREMENT)


class Incremental:
    """Only what a perturbed unit changes: the differences of each row, then their mean."""

    def __init__(self, parameters, x, y, threads):
        self.notes = {"increment": INCREMENT}
        self.parameters = parameters
        for _ in range(3):
            self(x, y)

    def __call__(self, x, y):
        (w1, b1), (w2, b2) = self.parameters
        rows, h = len(x), np.float32(INCREMENT)
        z1 = x @ w1.T + b1
        a1 = sigmoid(z1.copy())
        z2 = a1 @ w2.T + b2
        squares = np.square(sigmoid(z2.copy()) - y)
        x = np.column_stack([x, np.ones(rows, np.float32)])  # a bias is the weight of an input of 1
        a1x = np.column_stack([a1, np.ones(rows, np.float32)])
        first = self.first_layer(w1, w2, x, y, h, z1, a1, z2, squares.sum(axis=1))
        # Last layer: only the output of the perturbed unit changes.
        a2 = sigmoid(z2[:, :, None] + h * a1x[:, None, :])
        last = (np.square(a2 - y[:, :, None]) - squares[:, :, None]).sum(axis=0)
        parts = [(part[:, :-1], part[:, -1]) for part in (first, last)]
        return flat(parts) / (2 * rows * INCREMENT)

    def first_layer(self, w1, w2, x, y, h, z1, a1, z2, loss):
        first = np.empty((len(w1), x.shape[1]))
        for unit, outgoing in enumerate(w2.T):
            change = sigmoid(z1[:, unit, None] + h * x) - a1[:, unit, None]
            a2 = sigmoid(z2[:, None, :] + change[:, :, None] * outgoing)
            first[unit] = (np.square(a2 - y[:, None, :]).sum(axis=2) - loss[:, None]).sum(axis=0)
        return first


class Shared(Incremental):
    """One entry for each distinct non-zero pixel value of a row; computes in place."""

    def first_layer(self, w1, w2, x, y, h, z1, a1, z2, loss):
        row, column = np.nonzero(x)
        key, entry = np.unique(row * 256 + np.rint(x[row, column] * 255).astype(int), return_inverse=True)
        row, value = np.divmod(key, 256)
        z2r, yr, loss = z2.T[:, row], y.T[:, row], loss[row]
        change = sigmoid(z1.T[:, row] + h * (value / 255).astype(np.float32)) - a1.T[:, row]
        first, a2 = np.empty((len(w1), x.shape[1])), np.empty_like(z2r)
        for unit, outgoing in enumerate(w2.T):
            np.multiply(outgoing[:, None], change[unit], out=a2)
            a2 += z2r
            sigmoid(a2)
            a2 -= yr
            difference = np.square(a2, out=a2).sum(axis=0) - loss
            first[unit] = np.bincount(column, difference[entry], x.shape[1])
        return first


if __name__ == "__main__":
    methods = {"numpy-loop": Loop, "numpy-incremental": Incremental, "numpy-incremental-shared": Shared}
    gradient_worker.main(methods, {})
