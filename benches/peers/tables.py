"""Compares regressions, classification and class weights with scikit-learn on the same rows, through
CSV files, and prints the table of docs/measurements.md. Takes a minute or two:

    .venv/bin/python benches/peers/tables.py [PROGRAM]

PROGRAM is nplus1, by default target/release/nplus1. Each fold is a training file and a test file.
Both sides see standardized features and targets, train by L-BFGS, and have the same l2 term:
scikit-learn divides `alpha` by the number of rows, nplus1 does not divide `l2`.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import (
    load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine, make_classification, make_friedman1,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score, root_mean_squared_error
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

PROGRAM = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "target/release/nplus1").resolve()


def write(path, x, y):
    names = [f"x{i}" for i in range(x.shape[1])] + ["y"]
    rows = (",".join(map(repr, [*map(float, row), label])) for row, label in zip(x, y.tolist()))
    path.write_text("\n".join([",".join(names), *rows]) + "\n")


def train(x, y, train, test, settings):
    """Returns the summary of nplus1, trained on the rows `train` and tested on `test`."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write(folder / "train.csv", x[train], y[train])
        write(folder / "test.csv", x[test], y[test])
        (folder / "config.toml").write_text(
            "data.train = 'train.csv'\ndata.test = 'test.csv'\ndata.normalize = 'standard'\n"
            "optimizer.kind = 'lbfgs'\nmodel.precision = 'f64'\n" + settings
        )
        command = [PROGRAM, "train", "config.toml", "--out", "run", "--json", "--quiet"]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if result.returncode != 0:
            sys.exit(result.stderr)
        return json.loads(result.stdout)


def regression(name, x, y, splits, hidden, alpha, epochs):
    """Prints the mean RMSE of both over the splits, with the standard deviation over them."""
    ours, theirs = [], []
    for seed, (rows, test) in enumerate(splits):
        summary = train(
            x, y, rows, test,
            f"seed = {seed}\nmodel.hidden = [{hidden}]\nloss.l2 = {alpha / len(rows)}\n"
            f"train.epochs = {epochs}\ndata.task = 'regression'\n",
        )
        ours.append(summary["target_errors"][0]["rmse"])
        network = MLPRegressor(
            hidden_layer_sizes=(hidden,), activation="logistic", solver="lbfgs", alpha=alpha, max_iter=epochs,
            max_fun=10 * epochs, random_state=seed,
        )
        network = TransformedTargetRegressor(network, transformer=StandardScaler())
        network = make_pipeline(StandardScaler(), network).fit(x[rows], y[rows])
        theirs.append(root_mean_squared_error(y[test], network.predict(x[test])))
    figures = [f"{np.mean(of):.4g} ± {np.std(of, ddof=1):.2g}" for of in (ours, theirs)]
    ratio = np.mean(ours) / np.mean(theirs)
    print(f"| {name} | RMSE | {figures[0]} | {figures[1]} | {100 * (ratio - 1):+.1f} % |", flush=True)


def classification(name, x, y, splits, hidden, l2, epochs=1000):
    """Prints the mean accuracy of both over the splits, with the standard deviation over them."""
    ours, theirs = [], []
    # As scikit-learn: one logistic output for two classes, softmax for more.
    several = "loss.kind = 'cross-entropy'\nmodel.output = 'softmax'\n"
    loss = "loss.kind = 'logistic'\n" if y.max() == 1 else several
    for seed, (rows, test) in enumerate(splits):
        summary = train(
            x, y, rows, test,
            f"seed = {seed}\nmodel.hidden = [{hidden}]\nmodel.initialization = 'scaled'\nloss.l2 = {l2}\n"
            f"train.epochs = {epochs}\n" + loss,
        )
        ours.append(100 * summary["test_accuracy"])
        network = MLPClassifier(
            hidden_layer_sizes=(hidden,), activation="logistic", solver="lbfgs", alpha=l2 * len(rows),
            max_iter=epochs, max_fun=10 * epochs, random_state=seed,
        )
        network = make_pipeline(StandardScaler(), network).fit(x[rows], y[rows])
        theirs.append(100 * network.score(x[test], y[test]))
    figures = [f"{np.mean(of):.2f} ± {np.std(of, ddof=1):.2g} %" for of in (ours, theirs)]
    difference = np.mean(ours) - np.mean(theirs)
    print(f"| {name} | accuracy | {figures[0]} | {figures[1]} | {difference:+.2f} points |", flush=True)


def imbalance(name, x, y, splits, c=1.0):
    """Prints the recall of class 1 of both with balanced weights, and without weights."""
    ours, theirs, without = [], [], []
    for rows, test in splits:
        # scikit-learn minimizes ½‖w‖² + c·Σ losses.
        settings = (
            f"model.hidden = []\nloss.kind = 'logistic'\nloss.l2 = {1 / (c * len(rows))}\n"
            "train.epochs = 1000\n"
        )
        balanced = settings + "loss.class_weights = 'balanced'\n"
        summary = train(x, y, rows, test, balanced)
        ours.append(summary["rarest_class"]["recall"])
        without.append(train(x, y, rows, test, settings)["rarest_class"]["recall"])
        model = LogisticRegression(C=c, class_weight="balanced", max_iter=1000)
        model = make_pipeline(StandardScaler(), model).fit(x[rows], y[rows])
        rare = int(np.bincount(y[rows]).argmin())
        theirs.append(recall_score(y[test], model.predict(x[test]), pos_label=rare))
    ours, theirs, without = (100 * np.mean(of) for of in (ours, theirs, without))
    print(
        f"| {name} | recall of the rare class | {ours:.1f} % (without weights {without:.1f} %) "
        f"| {theirs:.1f} % | {ours - theirs:+.1f} points |",
        flush=True,
    )


print("| rows | figure | nplus1 | scikit-learn | difference |\n|---|---|---|---|---|")
x, y = load_diabetes(return_X_y=True, scaled=False)
folds = KFold(10, shuffle=True, random_state=0)
regression("diabetes, 10-8-1, 10 folds", x, y, folds.split(x), 8, 3.0, 200)
x, y = make_friedman1(10_000, noise=1.0, random_state=0)
folds = KFold(5, shuffle=True, random_state=0)
regression("make_friedman1, 10,000 rows, noise 1, 10-32-1, 5 folds", x, y, folds.split(x), 32, 1e-2, 200)
for name, load, hidden, l2 in (  # the layers and l2 terms of configs/
    ("iris, 4-8-3", load_iris, 8, 1e-3),
    ("wine, 13-8-3", load_wine, 8, 1e-3),
    ("breast cancer, 30-8-1", load_breast_cancer, 8, 1e-3),
    ("digits, 64-32-10", load_digits, 32, 1e-4),
):
    x, y = load(return_X_y=True)
    folds = StratifiedKFold(10, shuffle=True, random_state=0)
    classification(f"{name}, 10 folds", x, y, folds.split(x, y), hidden, l2)
x, y = make_classification(
    10_000, 20, n_informative=6, weights=[0.95], class_sep=0.7, flip_y=0.02, random_state=0
)
folds = StratifiedKFold(5, shuffle=True, random_state=0)
imbalance("make_classification, 10,000 rows, 5.8 % rare, 5 folds", x, y, folds.split(x, y))
x, y = load_breast_cancer(return_X_y=True)
folds = StratifiedKFold(10, shuffle=True, random_state=0)
imbalance("breast cancer, 10 folds", x, y, folds.split(x, y))
