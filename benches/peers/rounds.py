"""The rounds of a race: a round visits every place (case, number of threads) and runs the peers there
in turn. Each round begins with another peer, so that no peer always runs on the warmest machine.
Standard library only."""

import json
import subprocess
import time

import machine
from commandline import say


def new_record(peers, versions):
    """Returns the record of a race: the machine, and empty lists for the measurements."""
    record = {"machine": machine.description(), "versions": versions, "peers": peers}
    record |= {"rounds": 0, "samples": [], "failures": []}
    busy = record["machine"]["load_average_before"]
    if busy > 0.5:
        say(f"the load average is {busy:.2f}: other processes are running, expect noise")
    return record


def race(places, rounds, measure, line, record, save):
    """Fills `record` with the samples of `measure(place)` for each peer of each place, in every round.

    A place is a dict that names its `peers`. A sample is kept with its place; `line(sample)` describes
    it on the terminal; `save` is called after every round. A failure is recorded, and the other peers
    go on.
    """
    started = time.monotonic()
    for number in range(1, rounds + 1):
        for group in places:
            start = (number - 1) % len(group["peers"])
            shared = {key: value for key, value in group.items() if key != "peers"}
            for peer in group["peers"][start:] + group["peers"][:start]:
                place = {"round": number, "peer": peer, **shared}
                try:
                    sample = measure(place)
                    record["versions"] |= sample.pop("versions", {})
                    error = other_weights(record["samples"], place, sample)
                except (RuntimeError, ValueError, KeyError, IndexError, subprocess.TimeoutExpired) as raised:
                    sample, error = {}, f"{type(raised).__name__}: {raised}"
                where = f"round {number}/{rounds}  " + "  ".join(f"{key} {shared[key]}" for key in shared)
                if error:
                    say(f"{where}  {peer}: {error}")
                    record["failures"].append(place | {"error": error} | sample)
                else:
                    record["samples"].append(sample | place)
                    say(f"{where}  {peer:24}  {line(sample)}")
        record["rounds"] = number
        save()
        left = (time.monotonic() - started) / number * (rounds - number)
        if left:
            say(f"about {left / 60:.1f} minutes left")


def other_weights(samples, place, sample):
    """Returns an error if the weights differ from those at another number of threads: nplus1 promises
    the same bits at all of them, and a time of other work is not a result."""
    run = {key: value for key, value in place.items() if key != "threads"}
    for earlier in samples:
        same = all(earlier.get(key) == value for key, value in run.items())
        if same and earlier.get("weights_sha256") != sample.get("weights_sha256"):
            return f"other weights than at --threads {earlier['threads']}, so the work was not the same"
    return None


def write(given, record, page):
    """Writes results/NAME.json and results/NAME.md."""
    given.results.mkdir(parents=True, exist_ok=True)
    (given.results / f"{given.name}.json").write_text(json.dumps(record, indent=1) + "\n")
    (given.results / f"{given.name}.md").write_text(page)
