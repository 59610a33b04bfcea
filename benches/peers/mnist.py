"""MNIST as NumPy arrays, read from the repository's IDX files."""

import gzip
from dataclasses import dataclass

import numpy as np

from machine import REPOSITORY

FOLDER = REPOSITORY / "datasets" / "mnist"


@dataclass
class Mnist:
    """Images (rows, 784) f32, pixels ÷ 255; targets (rows, 10) f32, one-hot; labels (rows,) u8."""

    images: np.ndarray
    targets: np.ndarray
    labels: np.ndarray


def read_idx(name, dimensions):
    """Returns the bytes of an IDX file as an array of its shape."""
    content = gzip.decompress((FOLDER / name).read_bytes())
    header = np.frombuffer(content, ">u4", 1 + dimensions)
    assert header[0] == 0x0800 + dimensions, f"{name}: magic number {header[0]:#x}"
    return np.frombuffer(content, np.uint8, offset=header.nbytes).reshape(header[1:].astype(int))


def load(part):
    """Reads a part: `train` (60,000 rows) or `t10k` (10,000)."""
    images = read_idx(f"{part}-images-idx3-ubyte.gz", 3)
    labels = read_idx(f"{part}-labels-idx1-ubyte.gz", 1)
    return Mnist(
        images=images.reshape(len(images), -1).astype(np.float32) / np.float32(255),
        targets=np.eye(10, dtype=np.float32)[labels],
        labels=labels,
    )
