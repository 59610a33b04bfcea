"""Writes examples/fruit.csv: 240 made-up fruits, as a table of one's own may look.

Semicolons separate the columns; there is an id, two columns are text, and some values are missing.
Run in the repository: python3 tests/reference/fruit.py
"""

import random

KINDS = {
    # kind: (colors with weights, surface with weights, grams, diameter in mm, sweetness in °Bx)
    "apple": (["red", "green", "yellow"], [5, 3, 2], ["smooth", "rough"], [9, 1], (170, 25), (75, 5), (13, 1.5)),
    "lemon": (["yellow", "green"], [9, 1], ["rough", "smooth"], [7, 3], (100, 15), (58, 4), (8, 1)),
    "orange": (["orange", "yellow"], [9, 1], ["rough"], [1], (180, 25), (74, 5), (11, 1.2)),
    "plum": (["purple", "red", "yellow"], [6, 3, 1], ["smooth"], [1], (60, 10), (45, 4), (15, 1.5)),
}

random.seed(20)
rows = []
for number in range(240):
    kind = random.choice(list(KINDS))
    colors, color_weights, surfaces, surface_weights, grams, size, sweet = KINDS[kind]
    cells = [
        f"F{number + 1:03}",
        random.choices(colors, color_weights)[0],
        random.choices(surfaces, surface_weights)[0],
        f"{max(20, random.gauss(*grams)):.0f}",
        f"{max(20, random.gauss(*size)):.1f}",
        f"{max(4, random.gauss(*sweet)):.1f}",
        kind,
    ]
    for column in (2, 3, 5):
        if random.random() < 0.03:
            cells[column] = random.choice(["", "NA"])
    rows.append(";".join(cells))

with open("examples/fruit.csv", "w") as file:
    file.write("id;color;surface;weight;diameter;sweetness;kind\n")
    file.write("\n".join(rows) + "\n")
