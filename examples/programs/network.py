"""A network 3-4-2 in plain Python with a gradient by hand, in which one line is wrong.

    nplus1 check --program 'python3 examples/programs/network.py'
"""

import math

from nplus1_serve import serve

SIZES = (3, 4, 2)
ROWS = [([0.2, -1.0, 0.5], [1, 0]), ([1.5, 0.3, -0.7], [0, 1]), ([-0.4, 0.8, 1.1], [1, 0])]


def unpack(theta):
    inputs, hidden, outputs = SIZES
    at = 0
    parts = []
    for rows, columns in ((hidden, inputs), (outputs, hidden)):
        weights = [theta[at + r * columns : at + (r + 1) * columns] for r in range(rows)]
        at += rows * columns
        parts += [weights, theta[at : at + rows]]
        at += rows
    return parts


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def layer(weights, biases, x):
    return [sigmoid(sum(w * v for w, v in zip(row, x)) + b) for row, b in zip(weights, biases)]


def loss(theta):
    w1, b1, w2, b2 = unpack(theta)
    outputs = ((layer(w2, b2, layer(w1, b1, x)), y) for x, y in ROWS)
    return sum(0.5 * (a - t) ** 2 for out, y in outputs for a, t in zip(out, y)) / len(ROWS)


def gradient(theta):
    w1, b1, w2, b2 = unpack(theta)
    g1, g2 = [[0.0] * 3 for _ in range(4)], [[0.0] * 4 for _ in range(2)]
    gb1, gb2 = [0.0] * 4, [0.0] * 2
    for x, y in ROWS:
        hidden = layer(w1, b1, x)
        out = layer(w2, b2, hidden)
        delta2 = [(a - t) * a * (1 - a) / len(ROWS) for a, t in zip(out, y)]
        delta1 = [
            sum(d * w2[k][j] for k, d in enumerate(delta2)) * hidden[j] * (1 - hidden[j])
            for j in range(4)
        ]
        for k in range(2):
            gb2[k] = delta2[k]  # the mistake: it must be +=, a sum over the rows
            for j in range(4):
                g2[k][j] += delta2[k] * hidden[j]
        for j in range(4):
            gb1[j] += delta1[j]
            for i in range(3):
                g1[j][i] += delta1[j] * x[i]
    flat = lambda rows: [v for row in rows for v in row]
    return flat(g1) + gb1 + flat(g2) + gb2


NAMES = [f"W1[{j},{i}]" for j in range(4) for i in range(3)] + [f"b1[{j}]" for j in range(4)]
NAMES += [f"W2[{k},{j}]" for k in range(2) for j in range(4)] + [f"b2[{k}]" for k in range(2)]
THETA = [math.sin(1.7 * k) for k in range(len(NAMES))]
serve(loss, gradient, THETA, NAMES)
