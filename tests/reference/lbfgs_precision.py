"""Writes lbfgs_precision.json: where scipy's L-BFGS-B ends with exact and with inexact gradients. Run
with scipy from the repository's root: python tests/reference/lbfgs_precision.py

It trains 30-4-1 on the first 128 rows of the breast cancer dataset, standardized over all rows. The
objective is the mean cross-entropy of a sigmoid output plus l2/2 times the sum of the squared
weights; with l2 = 2e-3 every start ends in the same minimum. Inexact gradients are forward
differences with a fixed increment, of the mean losses or of each row's loss, in double or single
precision. A search that stalls ends at the size of the gradient, max |g|, computed exactly there.
"""

import json
import pathlib

import numpy as np
import scipy.optimize

FOLDER = pathlib.Path(__file__).parent
HIDDEN, ROWS, L2, SEEDS = 4, 128, 2e-3, range(1, 6)
OPTIONS = {"gtol": 1e-8, "ftol": 0, "maxiter": 10_000, "maxfun": 100_000}


def data():
    rows = np.loadtxt(FOLDER / "../../datasets/breast-cancer/breast-cancer.csv", delimiter=",", skiprows=1)
    x = rows[:, :-1]
    return ((x - x.mean(0)) / x.std(0))[:ROWS], rows[:ROWS, -1]


X, Y = data()


def split(theta):
    ends = [30 * HIDDEN, 31 * HIDDEN, 32 * HIDDEN]
    w1, b1, w2, b2 = np.split(theta, ends)
    return w1.reshape(HIDDEN, 30), b1, w2, b2[0]


def row_losses(theta, x, y):
    w1, b1, w2, b2 = split(theta)
    z = (1 / (1 + np.exp(-(x @ w1.T + b1)))) @ w2 + b2
    return np.logaddexp(0, z) - y * z


def penalty(theta):
    w1, _, w2, _ = split(theta)
    return L2 / 2 * ((w1**2).sum() + (w2**2).sum())


def exact(theta):
    w1, b1, w2, b2 = split(theta)
    h = 1 / (1 + np.exp(-(X @ w1.T + b1)))
    z = h @ w2 + b2
    delta = (1 / (1 + np.exp(-z)) - Y) / len(Y)
    hidden = np.outer(delta, w2) * h * (1 - h)
    parts = [hidden.T @ X + L2 * w1, hidden.sum(0), h.T @ delta + L2 * w2, [delta.sum()]]
    gradient = np.concatenate([np.ravel(part) for part in parts])
    return row_losses(theta, X, Y).mean() + penalty(theta), gradient


def differences(increment, kind, summed_first):
    """Returns the objective with a gradient by forward differences."""
    x, y, h = X.astype(kind), Y.astype(kind), kind(increment)
    weight = np.concatenate([np.ones(30 * HIDDEN), np.zeros(HIDDEN), np.ones(HIDDEN), [0]])

    def objective(theta):
        theta = theta.astype(kind)
        base = row_losses(theta, x, y)
        gradient = []
        for k in range(len(theta)):
            moved = theta.copy()
            moved[k] += h
            if summed_first:
                change = row_losses(moved, x, y).mean() - base.mean()
            else:
                change = (row_losses(moved, x, y) - base).mean()
            gradient.append(float(change) / float(h))
        # l2 is differentiated exactly.
        gradient = np.array(gradient) + L2 * weight * theta
        return float(base.mean()) + float(penalty(theta)), gradient.astype(np.float64)

    return objective


def start(seed):
    random = np.random.default_rng(seed)
    w1, w2 = random.normal(size=30 * HIDDEN) / np.sqrt(30), random.normal(size=HIDDEN) / np.sqrt(HIDDEN)
    return np.concatenate([w1, random.normal(size=HIDDEN), w2, random.normal(size=1)])


def minima(objective):
    return [scipy.optimize.minimize(objective, start(seed), method="L-BFGS-B", jac=True, options=OPTIONS) for seed in SEEDS]


def stalled(increment, kind=np.float64, summed_first=True):
    """Returns the median of max |g| where searches from several starts stall."""
    ends = minima(differences(increment, kind, summed_first))
    return float(np.median([np.abs(exact(end.x.astype(kind).astype(np.float64))[1]).max() for end in ends]))


if __name__ == "__main__":
    ends = minima(exact)
    objectives = [float(end.fun) for end in ends]
    assert max(objectives) - min(objectives) < 1e-11, objectives
    document = {
        "source": f"L-BFGS-B of scipy {scipy.__version__}, numpy {np.__version__}",
        "minimum": min(objectives),
        "stalled_at": {
            "f64, 1e-12": stalled(1e-12),
            "f64, 1e-14": stalled(1e-14),
            "f32, 1e-3, losses": stalled(1e-3, np.float32),
            "f32, 1e-3, differences": stalled(1e-3, np.float32, summed_first=False),
        },
    }
    (FOLDER / "lbfgs_precision.json").write_text(json.dumps(document, indent=1) + "\n")
