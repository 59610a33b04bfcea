"""NumPy, hand-written in matrix form: all arrays are allocated before the first step."""

import numpy as np

import worker


class Workspace:
    """The arrays of one mini-batch of B rows."""

    def __init__(self, sizes, rows):
        self.x = np.empty((rows, sizes[0]), np.float32)
        self.y = np.empty((rows, sizes[-1]), np.float32)
        self.a, self.delta, self.slope = (
            [np.empty((rows, size), np.float32) for size in sizes[1:]] for _ in range(3)
        )


class Trainer:
    def __init__(self, case, training, parameters, threads):
        self.training = training
        self.batch = case.batch
        self.learning_rate = case.learning_rate
        self.weights = [weights for weights, _ in parameters]
        self.biases = [biases for _, biases in parameters]
        self.weight_gradients = [np.empty_like(weights) for weights in self.weights]
        self.bias_gradients = [np.empty_like(biases) for biases in self.biases]
        rows = len(training.images)
        self.workspaces = {
            size: Workspace(case.sizes, size) for size in {case.batch, rows % case.batch} - {0}
        }

    def epoch(self, order):
        for first in range(0, len(order), self.batch):
            indices = order[first : first + self.batch]
            self.step(indices, self.workspaces[len(indices)])

    def step(self, indices, space):
        # With mode="clip", take() writes into `out` without a temporary buffer.
        np.take(self.training.images, indices, axis=0, out=space.x, mode="clip")
        np.take(self.training.targets, indices, axis=0, out=space.y, mode="clip")
        below = space.x
        for weights, biases, a in zip(self.weights, self.biases, space.a):
            np.dot(below, weights.T, out=a)
            a += biases
            np.negative(a, out=a)
            np.exp(a, out=a)
            a += 1
            np.reciprocal(a, out=a)
            below = a
        # The learning rate multiplies the δ of the output, which is small, not every gradient.
        np.subtract(space.a[-1], space.y, out=space.delta[-1])
        space.delta[-1] *= np.float32(self.learning_rate / len(indices))
        self.times_slope(space, -1)
        for layer in reversed(range(len(self.weights))):
            delta = space.delta[layer]
            if layer:
                np.dot(delta, self.weights[layer], out=space.delta[layer - 1])
                self.times_slope(space, layer - 1)
            below = space.a[layer - 1] if layer else space.x
            np.dot(delta.T, below, out=self.weight_gradients[layer])
            self.weights[layer] -= self.weight_gradients[layer]
            np.sum(delta, axis=0, out=self.bias_gradients[layer])
            self.biases[layer] -= self.bias_gradients[layer]

    @staticmethod
    def times_slope(space, layer):
        """Multiplies δ by a(1 − a), in place."""
        slope = space.slope[layer]
        np.subtract(1, space.a[layer], out=slope)
        slope *= space.a[layer]
        space.delta[layer] *= slope

    def outputs(self, images):
        a = images
        for weights, biases in zip(self.weights, self.biases):
            a = 1 / (1 + np.exp(-(a @ weights.T + biases)))
        return a


if __name__ == "__main__":
    worker.main("numpy", Trainer, {})
