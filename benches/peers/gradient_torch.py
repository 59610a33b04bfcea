"""Forward differences in PyTorch, f32: `torch.func.vmap` of the loss over chunks of perturbed θ."""

import torch
from torch.func import vmap
from torch.nn import functional

import gradient_worker
from gradient_worker import INCREMENT, flat, layers

CHUNKS = (16, 64, 128, 512)
TRIAL = 1024  # perturbations of a trial of a chunk size


def loss(theta, x, y):
    a = x
    for weights, biases in layers(theta):
        a = torch.sigmoid(functional.linear(a, weights, biases))
    return (a - y).square().sum() * (0.5 / len(x))


class Gradient:
    def __init__(self, parameters, x, y, threads):
        torch.set_num_threads(threads)
        self.theta = torch.from_numpy(flat(parameters))
        self.losses = vmap(loss, in_dims=(0, None, None))
        x, y = torch.from_numpy(x), torch.from_numpy(y)
        chunk = gradient_worker.fastest(CHUNKS, lambda chunk: self.differences(x, y, TRIAL, chunk))
        self.notes = {"increment": INCREMENT, "chunk": chunk}

    @torch.inference_mode()
    def differences(self, x, y, count, chunk):
        """Returns the first `count` elements of the gradient."""
        gradient = torch.empty(count)
        # One buffer of copies of θ: each copy is perturbed in one element, on a diagonal, and restored.
        stacked = self.theta.repeat(min(chunk, count), 1)
        for first in range(0, count, chunk):
            last = min(first + chunk, count)
            perturbed = stacked[: last - first]
            diagonal = perturbed[:, first:last].diagonal()
            diagonal += INCREMENT
            gradient[first:last] = self.losses(perturbed, x, y)
            diagonal.copy_(self.theta[first:last])
        return (gradient - loss(self.theta, x, y)) / INCREMENT

    def __call__(self, x, y):
        x, y = torch.from_numpy(x), torch.from_numpy(y)
        return self.differences(x, y, self.theta.numel(), self.notes["chunk"]).numpy()


if __name__ == "__main__":
    gradient_worker.main({"torch-vmap": Gradient}, {"torch": torch.__version__})
