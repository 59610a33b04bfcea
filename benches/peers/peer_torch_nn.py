"""PyTorch as in its tutorials: nn.Sequential, autograd, torch.optim.SGD (the fused form)."""

import torch
from torch import nn

import worker


class Trainer:
    def __init__(self, case, training, parameters, threads):
        torch.set_num_threads(threads)
        self.images = torch.from_numpy(training.images)
        self.targets = torch.from_numpy(training.targets)
        self.batch = case.batch
        layers = []
        for weights, biases in parameters:
            linear = nn.Linear(weights.shape[1], weights.shape[0])
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(weights))
                linear.bias.copy_(torch.from_numpy(biases))
            layers += [linear, nn.Sigmoid()]
        self.model = nn.Sequential(*layers)
        self.squares = nn.MSELoss(reduction="sum")
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=case.learning_rate, fused=True
        )

    def epoch(self, order):
        for indices in torch.from_numpy(order).split(self.batch):
            self.optimizer.zero_grad(set_to_none=True)
            outputs = self.model(self.images[indices])
            loss = self.squares(outputs, self.targets[indices]) * (0.5 / len(indices))
            loss.backward()
            self.optimizer.step()

    def outputs(self, images):
        with torch.no_grad():
            return self.model(torch.from_numpy(images)).numpy()


if __name__ == "__main__":
    worker.main("torch-nn", Trainer, {"torch": torch.__version__})
