"""Fits a small ordinary differential equation to data: a substance A turns into B, and B decays.

    nplus1 minimize --program 'python3 examples/programs/decay.py'

A' = -p A, B' = p A - q B, solved by the classical Runge-Kutta method; theta is (log p, log q).
Nobody has written the gradient.
"""

import math

from nplus1_serve import serve

TIMES = [0.5 * k for k in range(1, 13)]


def solve(log_p, log_q, steps=20):
    p, q = math.exp(log_p), math.exp(log_q)
    a, b, values = 2.0, 0.0, []
    slope = lambda a, b: (-p * a, p * a - q * b)
    h = 0.5 / steps
    for _ in TIMES:
        for _ in range(steps):
            k1 = slope(a, b)
            k2 = slope(a + h / 2 * k1[0], b + h / 2 * k1[1])
            k3 = slope(a + h / 2 * k2[0], b + h / 2 * k2[1])
            k4 = slope(a + h * k3[0], b + h * k3[1])
            a += h / 6 * (k1[0] + 2 * k2[0] + 2 * k3[0] + k4[0])
            b += h / 6 * (k1[1] + 2 * k2[1] + 2 * k3[1] + k4[1])
        values.append(b)
    return values


# Measured with p = 0.9, q = 0.4 and a little disturbance.
DATA = [b + 0.005 * math.sin(7 * k) for k, b in enumerate(solve(math.log(0.9), math.log(0.4)))]


def loss(theta):
    return sum((b - d) ** 2 for b, d in zip(solve(*theta), DATA))


serve(loss, theta=[0.0, 0.0], names=["log p", "log q"])
