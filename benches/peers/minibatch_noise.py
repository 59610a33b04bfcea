"""How far the gradient of ten images is from that of many, 784-30-10 on MNIST, in NumPy.

    python benches/peers/minibatch_noise.py

Prints the median of |g_batch - g| / |g| over 50 mini-batches of ten, g of the first 20,000 images,
before training and after every 2,000 steps of SGD with the learning rate 3.
"""

import gzip
from pathlib import Path

import numpy as np

MNIST = Path(__file__).resolve().parents[2] / "datasets/mnist"


def read(name, offset):
    return np.frombuffer(gzip.open(MNIST / name).read(), np.uint8, offset=offset)


images = read("train-images-idx3-ubyte.gz", 16).reshape(-1, 784)[:50_000] / 255
labels = read("train-labels-idx1-ubyte.gz", 8)[:50_000]
random = np.random.default_rng(1)
theta = [random.normal(size=size) for size in [(784, 30), 30, (30, 10), 10]]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def gradient(rows):
    weights, biases, outputs, output_biases = theta
    x, target = images[rows], np.eye(10)[labels[rows]]
    a = sigmoid(x @ weights + biases)
    y = sigmoid(a @ outputs + output_biases)
    top = (y - target) * y * (1 - y) / len(x)
    hidden = (top @ outputs.T) * a * (1 - a)
    return [x.T @ hidden, hidden.sum(0), a.T @ top, top.sum(0)]


def flat(parts):
    return np.concatenate([part.ravel() for part in parts])


for steps in [0, 2_000, 4_000]:
    whole = flat(gradient(np.arange(20_000)))
    batches = [flat(gradient(random.integers(0, 50_000, 10))) for _ in range(50)]
    distances = [np.linalg.norm(batch - whole) / np.linalg.norm(whole) for batch in batches]
    print(f"after {steps} steps: {np.median(distances):.2f}")
    for rows in random.permutation(50_000)[:20_000].reshape(-1, 10):
        for part, change in zip(theta, gradient(rows)):
            part -= 3 * change
