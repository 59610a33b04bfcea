"""Computes medians and targets from the raw samples of gradients, and writes the Markdown page. No
measurements here."""

from statistics import median

import gradients
from table import facts, failures, pooled, row_of

EPOCH_TITLES = {
    "jax": "JAX, backprop",
    "nplus1-cancellation-free": "nplus1, cancellation-free differences",
    "nplus1-incremental": "nplus1, incremental differences",
}


def medians(samples, section):
    """Returns {(peer, batch, threads): median seconds over all rounds} of a section, "gradients" or
    "epochs"."""
    chosen = [sample for sample in samples if sample["section"] == section]
    seconds = pooled(chosen, ("peer", "batch", "threads"))
    return {key: median(values) for key, values in seconds.items()}


def best(seconds, peers, batch, threads):
    """Returns ((peer, threads), seconds) of the fastest of `peers` with at most `threads` threads, or
    None."""
    rivals = {
        (peer, count): value
        for (peer, rows, count), value in seconds.items()
        if peer in peers and rows == batch and count <= threads
    }
    return min(rivals.items(), key=lambda item: item[1]) if rivals else None


def targets(samples):
    """Returns a row for each target that was measured: the value reached, and whether it is met."""
    seconds, epochs = medians(samples, "gradients"), medians(samples, "epochs")
    rows = []

    def add(claim, threads, reached, bound, at_least=True):
        row = {"claim": claim, "threads": threads, "reached": reached, "target": "–", "met": None}
        if bound is not None:
            row["target"] = f"{'≥' if at_least else '≤'} {bound:g}"
            row["met"] = reached >= bound if at_least else reached <= bound
        rows.append(row)

    for target in gradients.SPEED:
        rivals = gradients.GENERIC if target.rival == "generic" else [target.rival]
        for (peer, batch, threads), seconds_of_nplus1 in sorted(seconds.items(), key=lambda item: item[0][2]):
            if (peer, batch) != (target.method, target.batch) or target.threads not in (None, threads):
                continue
            rival = best(seconds, rivals, batch, threads)
            if rival:
                (name, count), value = rival
                at = f" at {count}" if count != threads else ""
                generic = "the best generic peer, " if target.rival == "generic" else ""
                claim = f"{peer}, batch {batch}: times faster than {generic}{name}{at}"
                add(claim, threads, value / seconds_of_nplus1, target.least)
    for peer, least in gradients.EFFICIENCY.items():
        one, two = (seconds.get((peer, 128, threads)) for threads in (1, 2))
        if one and two:
            add(f"{peer}, batch 128: efficiency from 1 to 2 threads", 2, one / (2 * two), least)
    for peer, most in gradients.EPOCH.items():
        for (name, batch, threads), seconds_of_nplus1 in sorted(epochs.items()):
            jax = best(epochs, ["jax"], batch, threads)
            if (name, threads) == (peer, 2) and jax:
                claim = f"an epoch of {peer} over JAX's backprop epoch at {jax[0][1]}"
                add(claim, threads, seconds_of_nplus1 / jax[1], most, at_least=False)
    return rows


def summarize(record):
    """Adds the medians and targets to the record."""
    record["medians"] = [
        {"section": section, "peer": peer, "batch": batch, "threads": threads, "seconds": value}
        for section in ("gradients", "epochs")
        for (peer, batch, threads), value in sorted(medians(record["samples"], section).items())
    ]
    record["targets"] = targets(record["samples"])


def markdown(record):
    """Returns the record as a Markdown page."""
    samples = record["samples"]
    lines = gradient_lines(record, samples) + epoch_lines(samples) + target_lines(record)
    return "\n".join([*lines, facts(record), *failures(record)]) + "\n"


def gradient_lines(record, samples):
    seconds = medians(samples, "gradients")
    places = sorted({(batch, threads) for _, batch, threads in seconds})
    if not places:
        return []
    batches = sorted({batch for batch, _ in places})
    sizes = "-".join(map(str, gradients.SIZES))
    lines = [f"### Median time of one gradient of {sizes} (N = {gradients.PARAMETERS:,}), quadratic loss", ""]
    heads = [f"batch {batch}, {threads} thread{'s' if threads > 1 else ''}" for batch, threads in places]
    heads += [f"error, batch {batch}" for batch in batches]
    lines += row_of(["", *heads])
    lines += row_of(["---"] * (1 + len(heads)))
    for peer in record["peers"]:
        cells = [duration(seconds.get((peer, *place))) for place in places]
        cells += [scientific(error(record, peer, batch)) for batch in batches]
        lines += row_of([peer, *cells])
    return lines + ["", "Error: ‖ĝ − g‖/‖g‖ relative to the float64 gradient by backprop at the same θ.", ""]


def error(record, peer, batch):
    """Returns the median of a peer's relative error over the rounds; nplus1's errors are in
    `record["errors"]`."""
    errors = [
        sample["relative_error"]
        for sample in [*record["samples"], *record["errors"]]
        if sample["peer"] == peer and sample["batch"] == batch and "relative_error" in sample
    ]
    return median(errors) if errors else None


def epoch_lines(samples):
    seconds = medians(samples, "epochs")
    counts = sorted({threads for _, _, threads in seconds})
    if not counts:
        return []
    lines = ["### Median time of one epoch of 60,000 samples, batch 10", ""]
    lines += row_of(["", *(f"{count} thread{'s' if count > 1 else ''}" for count in counts), "test accuracy"])
    lines += row_of(["---"] * (2 + len(counts)))
    for peer, title in EPOCH_TITLES.items():
        by_threads = {threads: value for (name, _, threads), value in seconds.items() if name == peer}
        reached = [s["test_accuracy"] for s in samples if s["section"] == "epochs" and s["peer"] == peer]
        if by_threads:
            cells = [duration(by_threads.get(count)) for count in counts]
            lines += row_of([title, *cells, f"{100 * median(reached):.1f} %"])
    return lines + [""]


def target_lines(record):
    rows = targets(record["samples"])
    if not rows:
        return []
    lines = ["### Targets", ""]
    lines += row_of(["", "threads", "reached", "target", ""])
    lines += row_of(["---"] * 5)
    for row in rows:
        verdict = {True: "pass", False: "FAIL", None: "–"}[row["met"]]
        lines += row_of([row["claim"], str(row["threads"]), figures(row["reached"]), row["target"], verdict])
    return lines + [""]


def figures(value):
    """Formats with three significant figures; without decimals from 100."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def duration(value):
    """Formats seconds with three significant figures in s, ms or µs."""
    if value is None:
        return "–"
    for scale, unit in ((1, "s"), (1e3, "ms")):
        if value * scale >= 1:
            return f"{value * scale:.3g} {unit}"
    return f"{value * 1e6:.3g} µs"


def scientific(value):
    return "–" if value is None else f"{value:.1e}"
