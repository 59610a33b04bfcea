"""Writes targets_and_weights.json: losses and gradients by PyTorch's float64 autograd of networks that
predict numbers, and of networks whose classes have weights. Run with torch from the repository's root:
python tests/reference/targets_and_weights.py

Every loss is a mean over the rows, 1/rows Σ w·L: the weight of a row is that of its class, and the sum is
not divided by the sum of the weights, as the mean of torch.nn.functional.cross_entropy would be.
"""

import json
import pathlib

import torch

FOLDER = pathlib.Path(__file__).parent
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
F = torch.nn.functional


def row_losses(kind, z, y):
    """Returns the loss of each row; y holds numbers (regression) or class indices."""
    if kind == "regression":
        return F.mse_loss(z, y, reduction="none").sum(1) / 2
    if kind == "cross-entropy-softmax":
        return F.cross_entropy(z, y, reduction="none")
    if kind == "logistic":
        return F.binary_cross_entropy_with_logits(z[:, 0], y.double(), reduction="none")
    hot = F.one_hot(y, z.shape[1]).double()
    if kind == "cross-entropy-sigmoid":
        return F.binary_cross_entropy_with_logits(z, hot, reduction="none").sum(1)
    a = torch.sigmoid(z) if kind == "quadratic" else z
    return F.mse_loss(a, hot, reduction="none").sum(1) / 2


def case(name, kind, sizes, rows, class_weights=(), bias=True, l2=0.0, seed=1):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        # Numbers of few digits keep the file small.
        return (torch.randn(shape, generator=generator) * 1000).round() / 1000

    pairs = list(zip(sizes, sizes[1:]))
    weights = [normal(above, below).requires_grad_() for below, above in pairs]
    biases = [normal(above).requires_grad_() for _, above in pairs if bias]
    inputs = normal(rows, sizes[0])
    if kind == "regression":
        targets = 3 * normal(rows, sizes[-1])
    else:
        targets = torch.arange(rows) % max(sizes[-1], 2)
    a = inputs
    for layer, w in enumerate(weights):
        z = a @ w.T + (biases[layer] if bias else 0)
        a = torch.sigmoid(z)
    losses = row_losses(kind, z, targets)
    if class_weights:
        losses = losses * torch.tensor(class_weights)[targets]
    loss = losses.mean() + l2 / 2 * sum((w**2).sum() for w in weights)
    loss.backward()
    return {
        "name": name,
        "sizes": sizes,
        "loss_kind": kind,
        "class_weights": list(class_weights),
        "l2": l2,
        "bias": bias,
        "weights": [w.tolist() for w in weights],
        "biases": [b.tolist() for b in biases],
        "inputs": inputs.tolist(),
        "targets": targets.tolist(),
        "loss": loss.item(),
        "weight_gradients": [w.grad.tolist() for w in weights],
        "bias_gradients": [b.grad.tolist() for b in biases],
    }


CASES = [
    case("4-5-1 regression", "regression", [4, 5, 1], 7, seed=1),
    case("3-6-4-2 regression without biases, l2 0.1", "regression", [3, 6, 4, 2], 6, bias=False, l2=0.1, seed=2),
    case("5-3 linear regression", "regression", [5, 3], 8, seed=3),
    case("4-5-4-18 regression of more targets than lanes", "regression", [4, 5, 4, 18], 5, seed=4),
    case("4-5-3 weighted quadratic", "quadratic", [4, 5, 3], 7, (0.5, 2.25, 1.1), seed=5),
    case("4-5-3 weighted linear quadratic", "linear-quadratic", [4, 5, 3], 7, (0.5, 2.25, 1.1), seed=6),
    case("5-4-3-3 weighted sigmoid cross-entropy", "cross-entropy-sigmoid", [5, 4, 3, 3], 8, (3.0, 0.2, 1.7), seed=7),
    case("4-6-3 weighted softmax, l2 0.05", "cross-entropy-softmax", [4, 6, 3], 9, (0.3, 4.0, 0.9), l2=0.05, seed=8),
    case("6-1 weighted logistic regression", "logistic", [6, 1], 9, (0.6, 2.7), seed=9),
    case("5-4-1 weighted logistic", "logistic", [5, 4, 1], 8, (0.6, 2.7), seed=10),
]

document = {
    "source": f"PyTorch {torch.__version__}, float64 autograd: python tests/reference/targets_and_weights.py",
    "cases": CASES,
}
(FOLDER / "targets_and_weights.json").write_text(json.dumps(document) + "\n")
