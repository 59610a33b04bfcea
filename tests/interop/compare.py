"""Compares the answers of exported files with those of nplus1; see `run`."""

import csv
import gzip
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors import safe_open
from safetensors.numpy import load_file

NPLUS1, REPOSITORY = Path(sys.argv[1]), Path(sys.argv[2])
ALLOWED = 1e-5  # of a probability
C_MAIN = """#include <stdio.h>
#include "model.c"
int main(void)
{
    REAL features[NPLUS1_FEATURES], answer[NPLUS1_OUTPUTS];
    while (fread(features, sizeof features, 1, stdin) == 1) {
        int j, class = nplus1_predict(features, answer);
        printf("%d", class);
        for (j = 0; j < NPLUS1_OUTPUTS; j++) printf(" %.17g", (double)answer[j]);
        puts("");
    }
    return 0;
}
"""
RUST_MAIN = """mod model;
use std::io::Read;
fn main() {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).unwrap();
    let numbers: Vec<REAL> = bytes.chunks_exact(std::mem::size_of::<REAL>())
        .map(|bytes| REAL::from_le_bytes(bytes.try_into().unwrap())).collect();
    for features in numbers.chunks_exact(model::FEATURES) {
        let mut answer = [0.0; model::OUTPUTS];
        let class = model::nplus1_predict(features.try_into().unwrap(), &mut answer);
        print!("{}", class.map_or(-1, |class| class as i64));
        answer.iter().for_each(|number| print!(" {number:e}"));
        println!();
    }
}
"""
CONFIG = """[data]
{data}
normalize = "{normalize}"
[model]
hidden = {hidden}
output = "{output}"
precision = "{precision}"
[loss]
kind = "{loss}"
[optimizer]
learning_rate = {rate}
[train]
epochs = {epochs}
"""


def nplus1(*arguments, folder):
    command = [NPLUS1, "--datasets", REPOSITORY / "datasets", *arguments]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if finished.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))}: {finished.stderr}")
    return finished.stdout


def table_of_numbers(name):
    """Returns the header and rows of a dataset of scikit-learn, without labels."""
    lines = (REPOSITORY / "datasets" / name / f"{name}.csv").read_text().splitlines()[1:]
    return [[float(cell) for cell in line.split(",")[:-1]] for line in lines]


def images():
    file = REPOSITORY / "datasets/mnist/t10k-images-idx3-ubyte.gz"
    return np.frombuffer(gzip.open(file).read(), np.uint8, offset=16).reshape(-1, 784)


class Case:
    """A trained model and the rows about which its files are asked."""

    def __init__(self, name, data, rows, hidden=(8,), normalize="standard", output="softmax",
                 loss="cross-entropy", precision="f32", rate=0.1, epochs=5):
        self.name, self.rows, self.precision = name, rows, precision
        self.folder = Path(tempfile.mkdtemp(prefix="nplus1-interop-"))
        self.config = CONFIG.format(data=data, normalize=normalize, hidden=list(hidden), output=output,
                                    loss=loss, precision=precision, rate=rate, epochs=epochs)

    def prepare(self):
        (self.folder / "model.toml").write_text("seed = 1\n" + self.config)
        for file in ["fruit.csv"]:
            shutil.copy(REPOSITORY / "examples" / file, self.folder)
        nplus1("train", "model.toml", "--out", "run", "--no-report", "--quiet", folder=self.folder)
        for extension in ["c", "rs", "onnx", "npz", "safetensors"]:
            nplus1("export", "run", "-o", f"model.{extension}", "--quiet", folder=self.folder)
        self.number = np.float32 if self.precision == "f32" else np.float64
        with safe_open(self.folder / "model.safetensors", "np") as file:
            self.metadata = file.metadata()
        self.output, self.loss = self.metadata["output"], self.metadata["loss"]
        self.classes = json.loads(self.metadata["class_names"])
        self.columns = json.loads(self.metadata.get("columns", "{}")).get("columns", [])
        self.ask()

    def ask(self):
        """Asks nplus1 itself: the classes' indices and the probabilities of each row."""
        if isinstance(self.rows, np.ndarray):
            np.save(self.folder / "rows.npy", self.rows)
            file = "rows.npy"
        else:
            file = "rows.csv"
            with open(self.folder / file, "w", newline="") as rows:
                csv.writer(rows).writerows(self.rows)
        lines = nplus1("predict", "run", file, "--probabilities", "--json", folder=self.folder)
        answers = json.loads(lines)["predictions"]
        self.expected = np.array([[row[f"p_{name}"] for name in self.classes] for row in answers])
        label = next(iter(answers[0]))
        self.expected_classes = np.array([self.classes.index(str(row[label])) for row in answers])
        if self.columns and not isinstance(self.rows, np.ndarray):
            self.encode()
        else:
            self.features = np.asarray(self.rows, self.number)
            self.inputs = self.features.astype(float)

    def encode(self):
        """Makes features (the indices of categories, NaN for missing values) and inputs of a table."""
        header, *rows = self.rows
        features, inputs = [], []
        for row in rows:
            cells, one, many = dict(zip(header, row)), [], []
            for column in self.columns:
                text, categories, fill = cells[column["name"]], column.get("categories"), column.get("fill")
                if categories is None:
                    one.append(float(text) if text else math.nan)
                    many.append(float(np.float32(text)) if text else fill)
                else:
                    one.append(categories.index(text) if text else math.nan)
                    many += [float(category == (text or fill)) for category in categories]
            features.append(one)
            inputs.append(many)
        self.features, self.inputs = np.array(features, self.number), np.array(inputs)


def onnx_answers(case):
    model = onnx.load(case.folder / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(case.folder / "model.onnx")
    fed = {}
    text = [column["name"] for column in case.columns if "categories" in column]
    if text:
        header, *rows = case.rows
        for name in text:
            fed[name] = np.array([[row[header.index(name)]] for row in rows])
    numbers = [at for at, column in enumerate(case.columns) if "categories" not in column]
    fed["features"] = case.features[:, numbers] if case.columns else case.features
    classes, probabilities = session.run(["class", "probabilities"], fed)
    return classes, probabilities


def sigmoid(z):
    return np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))


def finished(case, z):
    """Returns classes and probabilities of pre-activations."""
    if case.loss == "logistic":
        return (z[:, 0] > 0).astype(int), np.hstack([sigmoid(-z), sigmoid(z)])
    shares = sigmoid(z) if case.output == "sigmoid" else np.exp(z - z.max(1, keepdims=True))
    return z.argmax(1), shares / shares.sum(1, keepdims=True)


def layered(case, arrays, offset, divisor):
    a = ((case.inputs - offset) / divisor).astype(case.number)
    layers = sum(name.endswith(".weight") for name in arrays)
    for layer in range(layers):
        a = a @ arrays[f"layers.{layer}.weight"].T + arrays[f"layers.{layer}.bias"]
        a = sigmoid(a) if layer < layers - 1 else a
    return finished(case, a)


def numpy_answers(case):
    arrays = np.load(case.folder / "model.npz")
    weights = {name: arrays[name] for name in arrays.files if name.startswith("layers")}
    assert list(arrays["class_names"]) == case.classes
    return layered(case, weights, arrays["offset"], arrays["divisor"])


def scaling(case):
    scaling = json.loads(case.metadata["scaling"])
    return np.array(scaling["offset"]), np.array(scaling["divisor"])


def safetensors_answers(case):
    return layered(case, load_file(case.folder / "model.safetensors"), *scaling(case))


def torch_answers(case):
    import torch
    from safetensors.torch import load_file as load

    arrays = load(case.folder / "model.safetensors")
    modules = []
    for layer in range(len(arrays) // 2):
        linear = torch.nn.Linear(*arrays[f"layers.{layer}.weight"].shape[::-1], dtype=arrays["layers.0.bias"].dtype)
        linear.load_state_dict({part: arrays[f"layers.{layer}.{part}"] for part in ["weight", "bias"]})
        modules += [linear, torch.nn.Sigmoid()]
    offset, divisor = scaling(case)
    inputs = torch.from_numpy(((case.inputs - offset) / divisor).astype(case.number))
    with torch.no_grad():
        return finished(case, torch.nn.Sequential(*modules[:-1])(inputs).numpy())


def ran(command, folder, rows=None):
    command = [str(word) for word in command]
    done = subprocess.run(command, cwd=folder, input=rows, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.decode()}{done.stdout.decode()}")
    return done.stdout.decode()


def asked(case, program):
    lines = ran([case.folder / program], case.folder, case.features.tobytes()).splitlines()
    numbers = np.array([line.split() for line in lines], float)
    return numbers[:, 0].astype(int), numbers[:, 1:]


STRICT = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def c_answers(case):
    real = "float" if case.precision == "f32" else "double"
    (case.folder / "main.c").write_text(C_MAIN.replace("REAL", real))
    ran(["cc", *STRICT, "main.c", "-o", "c-program", "-lm"], case.folder)
    ran(["cc", *STRICT, "-DNPLUS1_SELF_TEST", "model.c", "-o", "c-test", "-lm"], case.folder)
    ran([case.folder / "c-test"], case.folder)
    return asked(case, "c-program")


def rust_answers(case):
    (case.folder / "main.rs").write_text(RUST_MAIN.replace("REAL", case.precision))
    ran(["rustc", "--edition", "2021", "-O", "main.rs", "-o", "rust-program"], case.folder)
    ran(["rustc", "--edition", "2021", "--test", "model.rs", "-o", "rust-test"], case.folder)
    ran([case.folder / "rust-test"], case.folder)
    return asked(case, "rust-program")


def back_from_torch():
    """Trains in PyTorch, and gives the file to `eval` and `train --init-from`."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(1)
    lines = (REPOSITORY / "datasets/iris/iris.csv").read_text().splitlines()[1:]
    cells = torch.tensor([[float(cell) for cell in line.split(",")] for line in lines])
    x, y = cells[:, :-1], cells[:, -1].long()
    offset, divisor = x.mean(0), x.std(0, unbiased=False)
    first, second = torch.nn.Linear(4, 8), torch.nn.Linear(8, 3)
    network = torch.nn.Sequential(first, torch.nn.Sigmoid(), second)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network((x - offset) / divisor), y).backward()
        optimizer.step()
    right = (network((x - offset) / divisor).argmax(1) == y).float().mean().item()
    tensors = {"layers.0.weight": first.weight, "layers.0.bias": first.bias,
               "layers.1.weight": second.weight, "layers.1.bias": second.bias}
    scaling = {"offset": offset.tolist(), "divisor": divisor.tolist()}
    metadata = {"output": "softmax", "scaling": json.dumps(scaling),
                "class_names": json.dumps(["setosa", "versicolor", "virginica"])}
    folder = Path(tempfile.mkdtemp(prefix="nplus1-interop-"))
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, folder / "torch.safetensors", metadata)
    evaluation = json.loads(nplus1("eval", "torch.safetensors", "--data", "iris", "--json", folder=folder))
    shutil.copy(REPOSITORY / "configs/iris.toml", folder)
    (folder / "iris.toml").write_text(re.sub("folds = 10.*", "test = 0.2", (folder / "iris.toml").read_text()))
    begun = json.loads(nplus1("train", "iris.toml", "--init-from", "torch.safetensors", "--set", "train.epochs=1",
                              "--no-report", "--json", folder=folder))
    return right, evaluation["accuracy"], begun["test_accuracy"]


def documented():
    """Runs the Python programs of docs/exports.md beside the files that they name."""
    page = (REPOSITORY / "docs/exports.md").read_text()
    block = lambda language: re.findall(rf"```{language}\n(.*?)```", page, re.S)
    folder = Path(tempfile.mkdtemp(prefix="nplus1-interop-"))
    (folder / "datasets/iris").mkdir(parents=True)
    shutil.copy(REPOSITORY / "datasets/iris/iris.csv", folder / "datasets/iris")
    for line in block("sh")[0].splitlines()[:2]:
        nplus1(*line.split()[1:], folder=folder)
    for extension in ["onnx", "npz", "safetensors"]:
        nplus1("export", "iris-run", "-o", f"iris.{extension}", folder=folder)
    for number, text in enumerate(block("python")):
        if "torch" in text and not has_torch():
            print(f"docs/exports.md, Python program {number + 1}: left out, no torch")
            continue
        (folder / "program.py").write_text(text)
        shown = ran([sys.executable, "program.py"], folder)
        assert shown == block("text")[0], (number, shown)
        print(f"docs/exports.md, Python program {number + 1}: {shown.strip()}")


def has_torch():
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True


def fruit_rows():
    with open(REPOSITORY / "examples/fruit.csv") as file:
        rows = [row[1:-1] for row in csv.reader(file, delimiter=";")]
    missing = {"NA", "N/A", "#N/A", "NaN", "null", "?"}
    return [["" if cell in missing else cell for cell in row] for row in rows]


CASES = [
    Case("iris, 4-8-3, softmax", 'dataset = "iris"\ntest = 0.2', np.array(table_of_numbers("iris"), np.float32)),
    Case("iris in f64, two hidden layers", 'dataset = "iris"\ntest = 0.2', np.array(table_of_numbers("iris")),
         hidden=(6, 5), precision="f64"),
    Case("breast cancer, logistic", 'dataset = "breast-cancer"\ntest = 0.2',
         np.array(table_of_numbers("breast-cancer"), np.float32), output="linear", loss="logistic"),
    Case("fruit: text, missing values", 'train = "fruit.csv"\nignore = ["id"]\nmissing = "mean"\ntest = 0.2',
         fruit_rows()),
    Case("MNIST, 784-30-10, sigmoid", 'dataset = "mnist"', images(), hidden=(30,), normalize="unit",
         output="sigmoid", loss="quadratic", rate=3.0, epochs=1),
]
READERS = [
    ("c", "cc -std=c99 -O2", c_answers),
    ("rust", "rustc -O", rust_answers),
    ("onnx", f"onnxruntime {onnxruntime.__version__}", onnx_answers),
    ("npz", f"NumPy {np.__version__}", numpy_answers),
    ("safetensors", "safetensors, NumPy", safetensors_answers),
    ("safetensors", "PyTorch", torch_answers),
]


def main():
    print("| model | format | read by | rows | other classes | largest difference |")
    print("|---|---|---|---|---|---|")
    is_right = True
    for case in CASES:
        case.prepare()
        for form, reader, answers in READERS:
            if answers is torch_answers and not has_torch():
                continue
            if form in ("c", "rust") and not shutil.which(reader.split()[0]):
                continue
            classes, probabilities = answers(case)
            difference = np.abs(probabilities - case.expected).max()
            others = int((classes != case.expected_classes).sum())
            is_right &= bool(difference <= ALLOWED and others == 0)
            print(f"| {case.name} | {form} | {reader} | {len(classes)} | {others} | {difference:.1e} |", flush=True)
        shutil.rmtree(case.folder)
    print()
    documented()
    if has_torch():
        right, evaluated, begun = back_from_torch()
        print(f"trained in PyTorch: accuracy {right:.4f} there, {evaluated:.4f} by `eval`; "
              f"{begun:.4f} on test rows after an epoch of `train --init-from`")
        is_right &= abs(right - evaluated) < 1e-6
    print("every answer within", ALLOWED if is_right else f"{ALLOWED}: NO")
    return 0 if is_right else 1


sys.exit(main())
