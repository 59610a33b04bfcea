"""nplus1's own runs: starts `nplus1 train` and reads what it timed. Standard library only.

`seconds_per_epoch` and the lines of `metrics.jsonl` cover shuffle and steps alone, as the peers'
clock does. Seconds are scaled to 60,000 samples an epoch.
"""

import json
import tempfile
from pathlib import Path

import machine
from cases import SAMPLES

CONFIG = machine.HERE / "configs" / "race.toml"


def train(binary, case, threads, epochs, seed, cpus, config=CONFIG, timeout=None):
    """Trains `1 + epochs` epochs on `cpus`; the first is the warm-up. `threads=None`: `auto`."""
    with tempfile.TemporaryDirectory(prefix="nplus1-race-") as folder:
        out = Path(folder) / "run"
        command = [binary, "train", config, "--json", "--quiet", "--out", out]
        command += ["--datasets", machine.REPOSITORY / "datasets", "--seed", seed]
        if threads is not None:
            command += ["--threads", threads]
        for key, value in {
            "model.hidden": list(case.hidden),
            "train.batch_size": case.batch,
            "train.epochs": 1 + epochs,
            "optimizer.learning_rate": case.learning_rate,
        }.items():
            command += ["--set", f"{key}={value}"]
        finished = machine.pinned(command, cpus, timeout=timeout)
        if finished.returncode != 0:
            raise RuntimeError(f"exit code {finished.returncode}: {finished.stderr.strip()}")
        summary = json.loads(finished.stdout)
        per_epoch = epochs_of(out / "metrics.jsonl", summary)
    scale = SAMPLES / summary["samples_per_epoch"]
    return {
        "peer": "nplus1",
        "case": case.letter,
        "threads": threads if threads is not None else summary["threads"],
        "warm_up": per_epoch[0] * scale,
        "seconds": [seconds * scale for seconds in per_epoch[1:]],
        "test_loss": summary["test_loss"],
        "test_accuracy": summary["test_accuracy"],
        "weights_sha256": summary["weights_sha256"],
    }


def epochs_of(metrics, summary):
    """Each epoch's seconds from the run's log, held against the total that the run reported."""
    records = [json.loads(line) for line in metrics.read_text().splitlines() if line.strip()]
    seconds = [record["seconds"] for record in records]
    if len(seconds) != summary["epochs"] or abs(sum(seconds) - summary["seconds"]) > 0.01 * sum(seconds):
        raise RuntimeError(
            f"{metrics.name} has {len(seconds)} epochs of {sum(seconds):.3f} s in all, "
            f"the summary {summary['epochs']} of {summary['seconds']:.3f} s"
        )
    return seconds


def version(binary):
    """`nplus1 --version`, its number alone."""
    finished = machine.pinned([binary, "--version"], machine.processors(1))
    return finished.stdout.split()[-1] if finished.stdout.strip() else "unknown"
