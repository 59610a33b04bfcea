"""PyTorch, hand-written in matrix form without autograd: all tensors are allocated before the first
step, and a gradient product and its update are one BLAS call (`addmm_`)."""

import torch

import worker

sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input


class Workspace:
    """The tensors of one mini-batch of B rows."""

    def __init__(self, sizes, rows):
        self.x = torch.empty(rows, sizes[0])
        self.y = torch.empty(rows, sizes[-1])
        self.a = [torch.empty(rows, size) for size in sizes[1:]]
        self.delta = [torch.empty(rows, size) for size in sizes[1:]]
        self.ones = torch.ones(rows)


class Trainer:
    def __init__(self, case, training, parameters, threads):
        torch.set_num_threads(threads)
        self.images = torch.from_numpy(training.images)
        self.targets = torch.from_numpy(training.targets)
        self.batch = case.batch
        self.learning_rate = case.learning_rate
        self.weights = [torch.from_numpy(weights) for weights, _ in parameters]
        self.biases = [torch.from_numpy(biases) for _, biases in parameters]
        self.transposed = [weights.t() for weights in self.weights]
        rows = len(training.images)
        self.workspaces = {
            size: Workspace(case.sizes, size) for size in {case.batch, rows % case.batch} - {0}
        }

    @torch.inference_mode()
    def epoch(self, order):
        for indices in torch.from_numpy(order).split(self.batch):
            self.step(indices, self.workspaces[len(indices)])

    def step(self, indices, space):
        torch.index_select(self.images, 0, indices, out=space.x)
        torch.index_select(self.targets, 0, indices, out=space.y)
        below = space.x
        for transposed, biases, a in zip(self.transposed, self.biases, space.a):
            torch.addmm(biases, below, transposed, out=a)
            below = a.sigmoid_()
        delta = torch.sub(space.a[-1], space.y, out=space.delta[-1])
        sigmoid_backward(delta, space.a[-1], grad_input=delta)
        rate = -self.learning_rate / len(indices)
        for layer in reversed(range(len(self.weights))):
            delta = space.delta[layer]
            below = space.a[layer - 1] if layer else space.x
            if layer:
                error = torch.mm(delta, self.weights[layer], out=space.delta[layer - 1])
                sigmoid_backward(error, below, grad_input=error)
            self.weights[layer].addmm_(delta.t(), below, alpha=rate)
            self.biases[layer].addmv_(delta.t(), space.ones, alpha=rate)

    @torch.inference_mode()
    def outputs(self, images):
        a = torch.from_numpy(images)
        for transposed, biases in zip(self.transposed, self.biases):
            a = torch.sigmoid(torch.addmm(biases, a, transposed))
        return a.numpy()


if __name__ == "__main__":
    worker.main("torch-hand", Trainer, {"torch": torch.__version__})
