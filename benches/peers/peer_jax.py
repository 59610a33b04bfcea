"""JAX: an epoch is one compiled call, a `lax.scan` over the shuffled mini-batches.

The rows are gathered inside the scan: permuting all images first took 1.5 to 2 times as long. The
parameters are donated, so that an epoch updates them in place.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import worker


def forward(parameters, x):
    a = x
    for weights, biases in parameters:
        a = jax.nn.sigmoid(a @ weights.T + biases)
    return a


def loss(parameters, x, y):
    return 0.5 * jnp.sum(jnp.square(forward(parameters, x) - y)) / x.shape[0]


@partial(jax.jit, static_argnames=("batch", "learning_rate"), donate_argnums=0)
def epoch(parameters, images, targets, order, batch, learning_rate):
    def step(parameters, indices):
        gradient = jax.grad(loss)(parameters, images[indices], targets[indices])
        return jax.tree.map(lambda p, g: p - learning_rate * g, parameters, gradient), None

    full = len(order) // batch * batch
    parameters, _ = jax.lax.scan(step, parameters, order[:full].reshape(-1, batch))
    if full < len(order):
        parameters, _ = step(parameters, order[full:])
    return parameters


class Trainer:
    def __init__(self, case, training, parameters, threads):
        self.images = jnp.asarray(training.images)
        self.targets = jnp.asarray(training.targets)
        self.parameters = jax.tree.map(jnp.array, parameters)
        self.settings = {"batch": case.batch, "learning_rate": case.learning_rate}

    def epoch(self, order):
        self.parameters = epoch(
            self.parameters, self.images, self.targets, order.astype(np.int32), **self.settings
        )
        jax.block_until_ready(self.parameters)

    def outputs(self, images):
        return np.asarray(forward(self.parameters, jnp.asarray(images)))


if __name__ == "__main__":
    worker.main("jax", Trainer, {"jax": jax.__version__})
