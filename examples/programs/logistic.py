"""A logistic unit, two weights and a bias, with a gradient in which the bias is wrong.

nplus1 check --program 'python3 examples/programs/logistic.py'
"""

import math

from nplus1_serve import serve

X, Y = [[0.2, -1.0], [1.5, 0.3], [-0.4, 0.8]], [1, 0, 1]


def out(theta, x):
    return 1 / (1 + math.exp(-(theta[0] * x[0] + theta[1] * x[1] + theta[2])))


def loss(theta):
    return -sum(math.log(out(theta, x) if y else 1 - out(theta, x)) for x, y in zip(X, Y))


def gradient(theta):
    deltas = [out(theta, x) - y for x, y in zip(X, Y)]
    weights = [sum(d * x[i] for d, x in zip(deltas, X)) for i in range(2)]
    return weights + [deltas[-1]]  # wrong: the bias needs the sum of the deltas


serve(loss, gradient, theta=[0.1, -0.2, 0.3], names=["weight 0", "weight 1", "bias"])
