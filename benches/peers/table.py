"""Computes medians and ratios from raw samples, and writes the Markdown table. No measurements here."""

from statistics import median

from cases import CASES

NPLUS1 = "nplus1"
# Differences of a peer's work, printed below the table if the peer ran.
DIFFERENCES = {
    "scikit-learn": "scikit-learn's outputs are a softmax with the log-loss, at a tenth of the learning rate; "
    "the others have sigmoids with the quadratic loss. The products are the same, δ of the outputs differs.",
}
FIRST_EPOCH = "The first epoch of a process is not counted. "


def pooled(samples, keys):
    """Returns {(values of `keys`): the seconds of all rounds}."""
    seconds = {}
    for sample in samples:
        seconds.setdefault(tuple(sample[key] for key in keys), []).extend(sample["seconds"])
    return seconds


def medians(samples):
    """Returns {(peer, case, threads): median seconds of an epoch over all rounds}."""
    return {key: median(values) for key, values in pooled(samples, ("peer", "case", "threads")).items()}


def ratios(seconds):
    """Returns a row for each case and number of threads of nplus1: the best peer with at most as many
    threads, its seconds ÷ nplus1's, and the target."""
    rows = []
    for (peer, letter, threads), seconds_of_nplus1 in sorted(seconds.items(), key=lambda item: item[0][1:]):
        if peer != NPLUS1:
            continue
        rivals = {
            (rival, count): value
            for (rival, case, count), value in seconds.items()
            if rival != NPLUS1 and case == letter and count <= threads
        }
        row = {"case": letter, "threads": threads, "nplus1": seconds_of_nplus1}
        row["target"] = CASES[letter].target.get(threads)
        if rivals:
            (rival, count), value = min(rivals.items(), key=lambda item: item[1])
            row |= {"best_peer": rival, "best_peer_threads": count}
            row |= {"best_peer_seconds": value, "ratio": value / seconds_of_nplus1}
            row["met"] = row["target"] is None or row["ratio"] >= row["target"]
        rows.append(row)
    return rows


def markdown(record):
    """Returns the record as a Markdown page."""
    samples = record["samples"]
    seconds = medians(samples)
    by_place = {(row["case"], row["threads"]): row for row in ratios(seconds)}
    letters = sorted({sample["case"] for sample in samples})
    peers = [peer for peer in record["peers"] if any(s["peer"] == peer for s in samples)]
    lines = []
    for threads in sorted({sample["threads"] for sample in samples}):
        fewer = "" if threads == 1 else " (the best peer may use fewer threads)"
        lines += [f"### {threads} thread{'s' if threads > 1 else ''}: median seconds per epoch{fewer}", ""]
        lines += row_of(["case", *peers, "best peer", "ratio", "target"])
        lines += row_of(["---"] * (len(peers) + 4))
        for letter in letters:
            place = by_place.get((letter, threads), {})
            cells = [CASES[letter].title]
            cells += [number(seconds.get((peer, letter, threads))) for peer in peers]
            best = place.get("best_peer")
            if best and place["best_peer_threads"] != threads:
                best += f" at {place['best_peer_threads']}"
            cells += [best or "–", verdict(place), target(letter, threads)]
            lines += row_of(cells)
        lines.append("")
    lines += ["### Test accuracy after the last epoch, in percent (medians over the rounds)", ""]
    lines += row_of(["case", "epochs", *peers])
    lines += row_of(["---"] * (len(peers) + 2))
    for letter in letters:
        trained = {1 + len(s["seconds"]) for s in samples if s["case"] == letter}
        cells = [CASES[letter].title, ", ".join(map(str, sorted(trained)))]
        cells += [accuracy(samples, peer, letter) for peer in peers]
        lines += row_of(cells)
    lines += [line for peer in peers if peer in DIFFERENCES for line in ("", DIFFERENCES[peer])]
    return "\n".join([*lines, "", facts(record, FIRST_EPOCH), *failures(record)]) + "\n"


def failures(record):
    """Returns a paragraph for each failed run, with its place and the first line of the error."""
    lines = []
    for failure in record["failures"]:
        place = {key: failure[key] for key in ("round", "section", "case", "batch", "threads") if key in failure}
        where = ", ".join(f"{key} {value}" for key, value in place.items())
        lines += ["", f"FAILED: {failure['peer']}, {where}: {failure['error'].splitlines()[0]}"]
    return lines


def row_of(cells):
    return ["| " + " | ".join(cells) + " |"]


def number(value):
    if value is None:
        return "–"
    return f"{value:.4f}" if value < 1 else f"{value:.2f}"


def verdict(place):
    if "ratio" not in place:
        return "–"
    return f"{place['ratio']:.2f}×" + ("" if place["met"] else " (missed)")


def target(letter, threads):
    wanted = CASES[letter].target.get(threads)
    return "–" if wanted is None else f"≥ {wanted:.1f}×"


def accuracy(samples, peer, letter):
    reached = [s["test_accuracy"] for s in samples if s["peer"] == peer and s["case"] == letter]
    return f"{100 * median(reached):.1f}" if reached else "–"


def facts(record, note=""):
    """Returns a sentence about the rounds, the machine and the versions."""
    machine, versions = record["machine"], record["versions"]
    named = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return (
        f"{record['rounds']} round{'s' if record['rounds'] != 1 else ''}, alternating peers, a new process each. "
        f"{note}"
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; "
        f"load average before: {machine['load_average_before']:.2f}. {named}."
    )
