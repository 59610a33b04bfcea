"""A network 64-32-10 in NumPy with a gradient by hand, in which one line is wrong.

    nplus1 check --program 'python3 examples/programs/network_numpy.py'

N = 2,410: the check looks along random directions, then searches the wrong elements.
"""

import numpy as np

from nplus1_serve import serve

rng = np.random.default_rng(1)
X, Y = rng.normal(size=(20, 64)), np.eye(10)[rng.integers(10, size=20)]
SHAPES = {"W1": (32, 64), "b1": (32,), "W2": (10, 32), "b2": (10,)}


def unpack(theta):
    theta, at, parts = np.asarray(theta), 0, []
    for shape in SHAPES.values():
        size = int(np.prod(shape))
        parts.append(theta[at : at + size].reshape(shape))
        at += size
    return parts


def forward(theta):
    w1, b1, w2, b2 = unpack(theta)
    hidden = np.tanh(X @ w1.T + b1)
    z = hidden @ w2.T + b2
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return hidden, p / p.sum(axis=1, keepdims=True)


def loss(theta):
    return -np.log((forward(theta)[1] * Y).sum(axis=1)).mean()


def gradient(theta):
    w2 = unpack(theta)[2]
    hidden, p = forward(theta)
    d2 = (p - Y) / len(X)
    d1 = (d2 @ w2) * (1 - hidden**2)
    parts = [d1.T @ X, d1.sum(axis=0), d2.T @ hidden, d2.sum(axis=0)]
    parts[1][7] *= 2  # the mistake
    return np.concatenate([part.ravel() for part in parts])


NAMES = [f"{name}{list(at)}" for name, shape in SHAPES.items() for at in np.ndindex(shape)]
serve(loss, gradient, 0.3 * rng.normal(size=len(NAMES)), NAMES)
