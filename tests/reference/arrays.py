"""Writes tests/reference/arrays: files of NumPy and Pillow that tests/commands/array_files.rs reads.

Run in the repository: python3 tests/reference/arrays.py (with numpy and pillow)
"""

import os

import numpy
from PIL import Image

FOLDER = "tests/reference/arrays"
os.makedirs(FOLDER, exist_ok=True)
os.chdir(FOLDER)

# x[i, j] = i + j / 4; y[i] = i % 2
x = numpy.add.outer(numpy.arange(12.0), numpy.arange(3.0) / 4)
y = numpy.arange(12) % 2
names = numpy.array(["even", "odd"])[y]

numpy.savez("stored.npz", X=x.astype("f4"), y=y)
numpy.savez_compressed("packed.npz", names=names, X=x)
numpy.save("c.npy", x.astype(">f4"))
numpy.save("fortran.npy", numpy.asfortranarray(x))
numpy.save("half.npy", x.astype("f2"))
numpy.save("y.npy", y.astype("i8"))
numpy.save("names.npy", names)
numpy.save("bytes.npy", names.astype("S"))
numpy.save("table.npy", numpy.column_stack([x, y]))
numpy.save("objects.npy", numpy.array([{}], dtype=object))
numpy.save("images.npy", numpy.arange(12 * 4, dtype="u1").reshape(12, 2, 2))

# pixel (row, column) = 40 row + 10 column
gray = Image.fromarray(numpy.add.outer(40 * numpy.arange(3), 10 * numpy.arange(2)).astype("u1"))
gray.save("gray.png")
gray.convert("RGB").save("color.png")
gray.convert("LA").save("alpha.png")
gray.convert("P").save("palette.png")
Image.fromarray(numpy.full((3, 2), 1000, dtype="u2")).save("deep.png")
gray.resize((3, 3)).save("wide.png")
Image.fromarray(numpy.eye(3, 2, dtype="u1") * 255).convert("1").save("bits.png")
