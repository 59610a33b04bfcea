"""Writes optimizers.json: networks trained by PyTorch's SGD and Adam and by scipy's L-BFGS-B in double
precision. Run with torch and scipy from the repository's root: python tests/reference/optimizers.py

SGD and Adam start from the networks of gradients.json. Adam uses the gradient of all rows in each
step; SGD goes through the rows in order, in mini-batches of which the last may be smaller. PyTorch
applies weight decay to every parameter, biases included.
L-BFGS-B trains 30-8-1 on all 569 standardized rows of the breast cancer dataset. Its objective is the
mean cross-entropy of a sigmoid output plus l2/2 times the sum of the squared weights. With l2 = 2e-3
every start ends in the same minimum; with 1e-3 there are several minima.
"""

import json
import pathlib

import numpy as np
import scipy.optimize
import torch

FOLDER = pathlib.Path(__file__).parent
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


def train(case, kind, batches, settings):
    """Returns the weights and biases after one step on each of `batches`, which are slices of the rows."""
    weights = [torch.tensor(w).requires_grad_() for w in case["weights"]]
    biases = [torch.tensor(b).requires_grad_() for b in case["biases"]]
    inputs, targets = torch.tensor(case["inputs"]), torch.tensor(case["targets"])
    optimizer = kind(weights + biases, **settings)
    for rows in batches:
        optimizer.zero_grad()
        a, y = inputs[rows], targets[rows]
        for layer, (w, b) in enumerate(zip(weights, biases)):
            z = a @ w.T + b
            a = torch.sigmoid(z)
        if case["loss_kind"] == "quadratic":
            loss = ((a - y) ** 2).sum(1).mean() / 2
        else:
            loss = torch.nn.functional.cross_entropy(z, y.argmax(1) if y.dim() > 1 else y)
        loss = loss + case["l2"] / 2 * sum((w**2).sum() for w in weights)
        loss.backward()
        optimizer.step()
    return {
        "settings": settings,
        "weights": [w.tolist() for w in weights],
        "biases": [b.tolist() for b in biases],
    }


def adam(case, steps, **settings):
    result = train(case, torch.optim.Adam, [slice(None)] * steps, settings)
    return {"case": case["name"], "steps": steps, **result}


def sgd(case, epochs, batch_size, **settings):
    starts = range(0, len(case["inputs"]), batch_size)
    batches = [slice(start, start + batch_size) for start in starts] * epochs
    result = train(case, torch.optim.SGD, batches, settings)
    return {"case": case["name"], "epochs": epochs, "batch_size": batch_size, **result}


def breast_cancer():
    path = FOLDER / "../../datasets/breast-cancer/breast-cancer.csv"
    rows = np.loadtxt(path, delimiter=",", skiprows=1)
    x = rows[:, :-1]
    return (x - x.mean(0)) / x.std(0), rows[:, -1]


def objective(theta, x, y, l2):
    w1, b1 = theta[:240].reshape(8, 30), theta[240:248]
    w2, b2 = theta[248:256], theta[256]
    h = 1 / (1 + np.exp(-(x @ w1.T + b1)))
    z = h @ w2 + b2
    loss = np.mean(np.logaddexp(0, z) - y * z) + l2 / 2 * ((w1**2).sum() + (w2**2).sum())
    delta = (1 / (1 + np.exp(-z)) - y) / len(y)
    hidden = np.outer(delta, w2) * h * (1 - h)
    gradient = [hidden.T @ x + l2 * w1, hidden.sum(0), h.T @ delta + l2 * w2, delta.sum()]
    return loss, np.concatenate([np.ravel(part) for part in gradient])


def lbfgs(l2, seed):
    x, y = breast_cancer()
    random = np.random.default_rng(seed)
    w1, w2 = random.normal(size=240) / np.sqrt(30), random.normal(size=8) / np.sqrt(8)
    start = np.concatenate([w1, random.normal(size=8), w2, random.normal(size=1)])
    result = scipy.optimize.minimize(
        objective, start, (x, y, l2), "L-BFGS-B", jac=True,
        options={"gtol": 1e-8, "ftol": 0, "maxiter": 10_000, "maxfun": 100_000},
    )
    first, _ = objective(start, x, y, l2)
    return {
        "l2": l2,
        "start": start.tolist(),
        "start_objective": float(first),
        "objective": float(result.fun),
        "largest_gradient": float(np.abs(result.jac).max()),
        "iterations": result.nit,
        "evaluations": result.nfev,
        "message": result.message,
    }


if __name__ == "__main__":
    cases = {case["name"]: case for case in json.loads((FOLDER / "gradients.json").read_text())["cases"]}
    document = {
        "source": f"torch.optim.SGD and Adam of PyTorch {torch.__version__} and L-BFGS-B of scipy {scipy.__version__}, float64",
        "adam": [
            adam(cases["4-8-3 softmax cross-entropy"], 1),
            adam(cases["4-8-3 softmax cross-entropy"], 10),
            adam(cases["4-6-3 softmax cross-entropy with L2 0.1"], 10, lr=0.05, betas=(0.8, 0.99), eps=1e-4, weight_decay=0.1),
            adam(cases["6-5-5-5-4 deep quadratic"], 10, lr=0.01),
        ],
        "sgd": [
            sgd(cases["4-8-3 softmax cross-entropy"], 3, 3, lr=0.5, weight_decay=0.1),
            sgd(cases["4-6-3 softmax cross-entropy with L2 0.1"], 3, 3, lr=0.1, momentum=0.9, weight_decay=0.05),
            sgd(cases["6-5-5-5-4 deep quadratic"], 3, 4, lr=0.2, momentum=0.5, weight_decay=0.2),
            sgd(cases["64-10-10 quadratic on the first 8 digits"], 2, 5, lr=0.3, momentum=0.9, weight_decay=0.1),
        ],
        "lbfgs": [lbfgs(l2, seed) for l2 in (2e-3, 1e-3) for seed in (1, 2, 3)],
    }
    (FOLDER / "optimizers.json").write_text(json.dumps(document) + "\n")
