"""Runs `nplus1 train` and reads its times. Standard library only.

The seconds in `metrics.jsonl` cover only shuffle and steps, as the peers' do. They are scaled to
60,000 samples per epoch.
"""

import json
import tempfile
from pathlib import Path

import machine
from cases import SAMPLES

CONFIG = machine.HERE / "configs" / "race.toml"
GRADIENT_CONFIG = machine.HERE / "configs" / "gradients.toml"
# Timed epochs, after one warm-up epoch, of a gradient that is fast enough for whole epochs.
KEPT_EPOCHS = 2


def train(binary, case, threads, epochs, seed, cpus, config=CONFIG, settings=None, timeout=None):
    """Trains for `1 + epochs` epochs on `cpus`; the first is the warm-up. `threads=None`: `auto`."""
    settings = (settings or {}) | {
        "model.hidden": list(case.hidden),
        "train.batch_size": case.batch,
        "train.epochs": 1 + epochs,
        "optimizer.learning_rate": case.learning_rate,
    }
    summary, records = run(binary, config, settings, threads, seed, cpus, timeout)
    scale = SAMPLES / summary["samples_per_epoch"]
    per_epoch = [record["seconds"] * scale for record in records]
    return {
        "peer": "nplus1",
        "case": case.letter,
        "threads": threads if threads is not None else summary["threads"],
        "warm_up": per_epoch[0],
        "seconds": per_epoch[1:],
        "test_loss": summary["test_loss"],
        "test_accuracy": summary["test_accuracy"],
        "weights_sha256": summary["weights_sha256"],
    }


def gradient(binary, settings, batch, steps, threads, seed, cpus, timeout=None):
    """Returns seconds per gradient, from training steps: each is a gradient and a negligible update.

    `steps=None` makes whole epochs and drops the first; a given number is timed from the first step.
    """
    kept_from = 0 if steps else 1
    steps = steps or (1 + KEPT_EPOCHS) * -(-SAMPLES // batch)
    settings = settings | {"train.batch_size": batch, "train.max_steps": steps}
    summary, records = run(binary, GRADIENT_CONFIG, settings, threads, seed, cpus, timeout)
    before = [0] + [record["steps"] for record in records]
    seconds = [
        record["seconds"] / (record["steps"] - earlier) for record, earlier in zip(records, before)
    ]
    return {
        "steps": steps,
        "seconds": seconds[kept_from:],
        "weights_sha256": summary["weights_sha256"],
    }


def relative_error(binary, settings, batch, weights, timeout=None):
    """Returns ‖ĝ − g‖/‖g‖ as reported by `nplus1 check` for this method, at the weights in a file."""
    settings = settings | {"train.batch_size": batch}
    command = [binary, "check", GRADIENT_CONFIG, "--weights", weights, "--json", "--quiet"]
    command += ["--datasets", machine.REPOSITORY / "datasets"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    finished = machine.pinned(command, machine.processors(1), timeout=timeout)
    # Exit code 3 means that the gradient failed the check; the result is printed all the same.
    if finished.returncode not in (0, 3):
        raise RuntimeError(f"exit code {finished.returncode}: {finished.stderr.strip()}")
    wanted = {key.removeprefix("gradient."): value for key, value in settings.items() if "gradient." in key}
    wanted["precision"] = "f32"
    for row in json.loads(finished.stdout)["rows"]:
        if all(row[key] == value for key, value in wanted.items()):
            return row["relative_error"]
    raise RuntimeError(f"check reports no row for {wanted}")


def run(binary, config, settings, threads, seed, cpus, timeout=None):
    """Runs `nplus1 train`; returns its summary and the records of its log, one per epoch."""
    with tempfile.TemporaryDirectory(prefix="nplus1-race-") as folder:
        out = Path(folder) / "run"
        command = [binary, "train", config, "--json", "--quiet", "--out", out]
        command += ["--datasets", machine.REPOSITORY / "datasets", "--seed", seed]
        if threads is not None:
            command += ["--threads", threads]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        finished = machine.pinned(command, cpus, timeout=timeout)
        if finished.returncode != 0:
            raise RuntimeError(f"exit code {finished.returncode}: {finished.stderr.strip()}")
        summary = json.loads(finished.stdout)
        return summary, records_of(out / "metrics.jsonl", summary)


def records_of(metrics, summary):
    """Returns the records of the run's log; checks their sum against the total of the summary."""
    records = [json.loads(line) for line in metrics.read_text().splitlines() if line.strip()]
    total = sum(record["seconds"] for record in records)
    if len(records) != summary["epochs"] or abs(total - summary["seconds"]) > 0.01 * total:
        raise RuntimeError(
            f"{metrics.name} has {len(records)} epochs and {total:.3f} s, "
            f"but the summary {summary['epochs']} epochs and {summary['seconds']:.3f} s"
        )
    return records


def version(binary):
    """Returns the version number of `nplus1 --version`."""
    finished = machine.pinned([binary, "--version"], machine.processors(1))
    return finished.stdout.split()[-1] if finished.stdout.strip() else "unknown"
