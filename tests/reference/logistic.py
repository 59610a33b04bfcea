"""Writes logistic.json: scikit-learn's logistic regression on the breast cancer dataset. Run with
scikit-learn from the repository's root: python tests/reference/logistic.py

The objective of scikit-learn is C times the sum of the losses plus half the sum of the squared
weights, without the bias. With C = 1 and n rows it is n times the mean loss with l2 = 1/n.
"""

import json
import pathlib

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDER = pathlib.Path(__file__).parent

if __name__ == "__main__":
    rows = np.loadtxt(FOLDER / "../../datasets/breast-cancer/breast-cancer.csv", delimiter=",", skiprows=1)
    raw, y = rows[:, :-1], rows[:, -1].astype(int)
    x = (raw - raw.mean(0)) / raw.std(0)
    l2 = 1 / len(y)
    model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(x, y)
    w, b = model.coef_[0], model.intercept_[0]
    z = x @ w + b
    p = 1 / (1 + np.exp(-z))
    ones = np.c_[x, np.ones(len(y))]
    penalty = l2 * np.diag([1.0] * x.shape[1] + [0.0])
    gradient = ones.T @ (p - y) / len(y) + penalty @ np.r_[w, b]
    hessian = (ones * (p * (1 - p))[:, None]).T @ ones / len(y) + penalty
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=1.0))
    folds = [
        float(cross_val_score(pipeline, raw, y, cv=StratifiedKFold(10, shuffle=True, random_state=seed)).mean())
        for seed in range(10)
    ]
    document = {
        "source": f"LogisticRegression of scikit-learn {sklearn.__version__}",
        "l2": l2,
        "weights": w.tolist(),
        "bias": float(b),
        "objective": float(np.mean(np.logaddexp(0, z) - y * z) + l2 / 2 * (w @ w)),
        "largest_gradient": float(np.abs(gradient).max()),
        "smallest_curvature": float(np.linalg.eigvalsh(hessian)[0]),
        "correct": int(((z > 0) == y).sum()),
        "accuracy_by_10_folds": float(cross_val_score(pipeline, raw, y, cv=StratifiedKFold(10)).mean()),
        "accuracies_by_10_shuffled_folds": folds,
    }
    (FOLDER / "logistic.json").write_text(json.dumps(document) + "\n")
