"""Writes the peers' θ as a model file for nplus1, so that all errors are measured at the same θ."""

import argparse
import json

from safetensors.numpy import save_file

import worker
from gradient_worker import CASE


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--threads", type=int)  # every script of the race accepts it
    arguments = parser.parse_args()
    tensors = {}
    for number, (weights, biases) in enumerate(worker.first_parameters(CASE, arguments.seed)):
        tensors |= {f"layers.{number}.weight": weights, f"layers.{number}.bias": biases}
    inputs, outputs = CASE.sizes[0], CASE.sizes[-1]
    metadata = {
        "format": "nplus1",
        "version": "0.1.0",
        "name": "gradients",
        "sizes": json.dumps(CASE.sizes),
        "bias": "true",
        "output": "sigmoid",
        "loss": "quadratic",
        "l2": "0.0",
        "precision": "f32",
        "class_names": json.dumps([str(label) for label in range(outputs)]),
        "scaling": json.dumps({"offset": [0.0] * inputs, "divisor": [255.0] * inputs}),
    }
    save_file(tensors, arguments.out, metadata)
    print(json.dumps({"parameters": sum(tensor.size for tensor in tensors.values())}))


if __name__ == "__main__":
    main()
