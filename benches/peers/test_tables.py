"""Tests of everything but the measurements, without peers: python3 -m unittest discover benches/peers"""

import argparse
import contextlib
import io
import os
import sys
import unittest
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

import commandline
import gradient_table
import gradients
import machine
import rounds
import table

MACHINE = {"cpu": "a processor", "cores": 2, "system": "Linux", "load_average_before": 0.0}


def timed(peer, threads, seconds, batch=10, section="gradients", **more):
    place = {"section": section, "peer": peer, "batch": batch, "threads": threads, "round": 1}
    return place | {"seconds": seconds} | more


def record_of(samples, failures=()):
    peers = list(dict.fromkeys(sample["peer"] for sample in samples))
    record = {"machine": MACHINE, "versions": {"numpy": "2"}, "rounds": 1, "peers": peers}
    return record | {"samples": samples, "failures": list(failures), "errors": []}


class Epochs(unittest.TestCase):
    SAMPLES = [
        {"peer": "nplus1", "case": "a", "threads": 1, "seconds": [0.05, 0.07], "test_accuracy": 0.9},
        {"peer": "nplus1", "case": "a", "threads": 1, "seconds": [0.06], "test_accuracy": 0.9},
        {"peer": "nplus1", "case": "a", "threads": 2, "seconds": [0.04], "test_accuracy": 0.9},
        {"peer": "jax", "case": "a", "threads": 1, "seconds": [0.18], "test_accuracy": 0.9},
        {"peer": "jax", "case": "a", "threads": 2, "seconds": [0.40], "test_accuracy": 0.9},
    ]

    def test_medians_pool_the_seconds_of_all_rounds(self):
        self.assertEqual(table.medians(self.SAMPLES)["nplus1", "a", 1], 0.06)

    def test_at_2_threads_the_best_peer_may_run_on_1(self):
        one, two = table.ratios(table.medians(self.SAMPLES))
        self.assertAlmostEqual(one["ratio"], 3.0)
        self.assertFalse(one["met"])
        self.assertEqual((two["best_peer"], two["best_peer_threads"]), ("jax", 1))
        self.assertAlmostEqual(two["ratio"], 4.5)

    def test_the_page_names_the_peer_with_another_loss_if_it_ran(self):
        other = {"peer": "scikit-learn", "case": "a", "threads": 1, "seconds": [2.0], "test_accuracy": 0.9}
        self.assertIn("softmax with the log-loss", table.markdown(record_of([*self.SAMPLES, other])))
        self.assertNotIn("log-loss", table.markdown(record_of(self.SAMPLES)))

    def test_the_page_names_what_failed(self):
        failure = {"round": 1, "peer": "numpy", "case": "a", "threads": 2, "error": "no\nmore"}
        page = table.markdown(record_of(self.SAMPLES, [failure]))
        self.assertIn("FAILED: numpy, round 1, case a, threads 2: no\n", page)


class Gradients(unittest.TestCase):
    def reached(self, samples, word):
        rows = [row for row in gradient_table.targets(samples) if word in row["claim"]]
        return [(row["threads"], round(row["reached"], 6), row["met"]) for row in rows]

    def test_full_differences_are_compared_with_the_best_generic_peer_at_1_thread(self):
        samples = [
            timed("nplus1-full", 1, [0.1]),
            timed("nplus1-full", 2, [0.05]),
            timed("jax-map", 1, [0.4]),
            timed("scipy", 1, [1.0]),
            timed("numpy-incremental", 1, [0.001]),
        ]
        self.assertEqual(self.reached(samples, "nplus1-full"), [(1, 4.0, True)])

    def test_incremental_differences_have_a_target_at_every_number_of_threads(self):
        samples = [timed("nplus1-incremental", threads, [0.0002 / threads]) for threads in (1, 2)]
        samples += [timed("jax-map", 1, [0.4]), timed("jax-map", 2, [0.31]), timed("numpy-incremental", 1, [0.004])]
        self.assertEqual(self.reached(samples, "generic"), [(1, 2000.0, False), (2, 3100.0, True)])
        self.assertEqual(self.reached(samples, "numpy-incremental"), [(1, 20.0, False), (2, 40.0, False)])

    def test_the_ratio_to_the_tuned_peer_is_reported_without_a_target(self):
        samples = [timed("nplus1-incremental", 1, [0.0001]), timed("numpy-incremental-shared", 1, [0.0012])]
        self.assertEqual(self.reached(samples, "numpy-incremental-shared"), [(1, 12.0, None)])
        page = gradient_table.markdown(record_of(samples))
        self.assertIn("| 1 | 12 | – | – |", page)

    def test_efficiency_is_half_the_speedup_at_2_threads(self):
        samples = [timed("nplus1-full", 1, [1.8], batch=128), timed("nplus1-full", 2, [1.0], batch=128)]
        self.assertEqual(self.reached(samples, "efficiency"), [(2, 0.9, True)])

    def test_epochs_by_differences_are_compared_with_jaxs_best_backprop(self):
        samples = [
            timed("jax", 1, [0.2], section="epochs"),
            timed("jax", 2, [0.4], section="epochs"),
            timed("nplus1-cancellation-free", 2, [0.32], section="epochs"),
            timed("nplus1-incremental", 2, [0.5], section="epochs"),
        ]
        self.assertEqual(self.reached(samples, "an epoch"), [(2, 1.6, False), (2, 2.5, True)])

    def test_a_target_without_measurements_is_omitted(self):
        self.assertEqual(gradient_table.targets([timed("nplus1-full", 1, [0.1])]), [])

    def test_the_page_shows_times_errors_and_targets(self):
        samples = [timed("nplus1-full", 1, [0.1]), timed("scipy", 1, [1.14], relative_error=2e-7)]
        record = record_of(samples)
        gradient_table.summarize(record)
        page = gradient_table.markdown(record)
        self.assertIn("| scipy | 1.14 s | 2.0e-07 |", page)
        self.assertIn("| nplus1-full | 100 ms | – |", page)
        self.assertIn("| 1 | 11.4 | ≥ 3 | pass |", page)

    def test_durations_have_a_suitable_unit(self):
        texts = [gradient_table.duration(value) for value in (1.143, 0.0127, 5.4e-5, None)]
        self.assertEqual(texts, ["1.14 s", "12.7 ms", "54 µs", "–"])

    def test_the_network_has_23860_parameters(self):
        self.assertEqual(gradients.PARAMETERS, 23_860)


class CommandLine(unittest.TestCase):
    def refusal(self, function, *arguments):
        output = io.StringIO()
        with contextlib.redirect_stderr(output), self.assertRaises(SystemExit) as ended:
            function(argparse.ArgumentParser(), *arguments)
        self.assertEqual(ended.exception.code, 2)
        return output.getvalue()

    def test_duplicate_names_are_dropped_and_families_are_expanded(self):
        names = commandline.chosen(None, "--peers", "c, torch,c", ["t1", "t2", "c"], {"torch": ["t1", "t2"]})
        self.assertEqual(names, ["c", "t1", "t2"])

    def test_unknown_and_missing_names_are_refused_with_the_allowed_names(self):
        for text in ("jaxx", "", ","):
            self.assertIn("choose from jax, numpy", self.refusal(commandline.chosen, "--peers", text, ["jax", "numpy"]))

    def test_counts_are_ascending_and_at_least_1(self):
        self.assertEqual(commandline.counts(None, "--threads", "2,1,2"), [1, 2])
        for text in ("0", "1,-2", "two", ""):
            self.assertIn("1 or more", self.refusal(commandline.counts, "--threads", text))


class Rounds(unittest.TestCase):
    def test_each_round_begins_with_another_peer_and_the_others_go_on_after_a_failure(self):
        order, saved = [], []

        def measure(place):
            order.append((place["round"], place["peer"]))
            if place["peer"] == "b":
                raise RuntimeError("broken")
            return {"seconds": [1.0], "versions": {place["peer"]: "1"}}

        record = record_of([])
        with contextlib.redirect_stderr(io.StringIO()):
            places = [{"threads": 1, "peers": ["a", "b"]}]
            rounds.race(places, 2, measure, lambda sample: "", record, lambda: saved.append(record["rounds"]))
        self.assertEqual(order, [(1, "a"), (1, "b"), (2, "b"), (2, "a")])
        self.assertEqual([sample["peer"] for sample in record["samples"]], ["a", "a"])
        self.assertEqual([failure["error"] for failure in record["failures"]], ["RuntimeError: broken"] * 2)
        self.assertEqual((saved, record["versions"]["a"]), ([1, 2], "1"))

    def test_other_weights_at_another_number_of_threads_are_a_failure(self):
        place = {"round": 1, "peer": "nplus1", "case": "a", "threads": 2}
        earlier = [place | {"threads": 1, "weights_sha256": "x"}]
        self.assertIsNone(rounds.other_weights(earlier, place, {"weights_sha256": "x"}))
        self.assertIn("other weights", rounds.other_weights(earlier, place, {"weights_sha256": "y"}))
        self.assertIsNone(rounds.other_weights(earlier, place | {"round": 2}, {"weights_sha256": "y"}))


class Machine(unittest.TestCase):
    def test_the_peers_choose_their_kernels_and_use_the_given_number_of_threads(self):
        with mock.patch.dict(os.environ, {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_L2_SIZE": "1", "XLA_FLAGS": "-"}):
            one, two = machine.environment(1), machine.environment(2)
        self.assertNotIn("OPENBLAS_CORETYPE", one)
        self.assertNotIn("OPENBLAS_L2_SIZE", one)
        self.assertEqual((one["OPENBLAS_NUM_THREADS"], two["OMP_NUM_THREADS"]), ("1", "2"))
        self.assertNotIn("XLA_FLAGS", two)


if __name__ == "__main__":
    unittest.main()
