"""Forward differences in JAX, f32: the gradient is one compiled call, a `lax.map` over the N
perturbations, one at a time or in chunks that `vmap` vectorizes (`batch_size`)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import gradient_worker
from gradient_worker import INCREMENT, flat, layers

CHUNKS = (8, 32, 128, 512)
TRIAL = 2048  # perturbations of a trial of a chunk size


def loss(theta, x, y):
    a = x
    for weights, biases in layers(theta):
        a = jax.nn.sigmoid(a @ weights.T + biases)
    return 0.5 * jnp.sum(jnp.square(a - y)) / x.shape[0]


@partial(jax.jit, static_argnames=("count", "chunk"))
def differences(theta, x, y, count, chunk):
    """Returns the first `count` elements of the gradient."""
    before = loss(theta, x, y)

    def difference(i):
        return loss(theta.at[i].add(INCREMENT), x, y) - before

    return jax.lax.map(difference, jnp.arange(count), batch_size=chunk) / INCREMENT


class Map:
    chunks = (None,)

    def __init__(self, parameters, x, y, threads):
        self.theta = jnp.asarray(flat(parameters))
        x, y = jnp.asarray(x), jnp.asarray(y)

        def trial(chunk):
            differences(self.theta, x, y, count=TRIAL, chunk=chunk).block_until_ready()

        chunk = gradient_worker.fastest(self.chunks, trial) if len(self.chunks) > 1 else self.chunks[0]
        self.notes = {"increment": INCREMENT, "chunk": chunk}
        settings = {"count": self.theta.size, "chunk": chunk}
        self.compiled = differences.lower(self.theta, x, y, **settings).compile()

    def __call__(self, x, y):
        return np.asarray(self.compiled(self.theta, jnp.asarray(x), jnp.asarray(y)))


class Vmap(Map):
    chunks = CHUNKS


if __name__ == "__main__":
    gradient_worker.main({"jax-map": Map, "jax-vmap": Vmap}, {"jax": jax.__version__})
