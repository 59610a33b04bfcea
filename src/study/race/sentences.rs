//! The sentences of a race's summary: who reached each target first, what random directions cost,
//! how learning rates were chosen, what diverged.

use super::summary::{MethodSummary, Reached, SeedSummary};
use super::{RacePlan, RaceRow};
use crate::study::table::{duration, percent, times, whole};

/// Number of methods that a sentence names with their figures; of more it gives the range.
const MOST_NAMED: usize = 3;

/// Lists methods that missed a target, with their best accuracies if they are few.
fn missed_methods(missed: &[&MethodSummary]) -> String {
    let name = |summary: &&MethodSummary| match missed.len() {
        ..=MOST_NAMED => format!(
            "{} (best {} in {})",
            summary.method,
            percent(Some(summary.best_accuracy)),
            duration(summary.total.seconds)
        ),
        _ => summary.method.clone(),
    };
    missed.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Writes a sentence per target: the first method to reach it, how much longer the others took, and
/// the methods that did not reach it.
pub(super) fn sentences(summaries: &[MethodSummary], targets: &[f64]) -> Vec<String> {
    let sentence = |(place, target): (usize, &f64)| {
        let target = format!("{} %", trimmed(100.0 * target));
        let mut reached: Vec<(&MethodSummary, Reached)> = (summaries.iter())
            .filter_map(|summary| Some((summary, summary.reached[place]?)))
            .collect();
        reached.sort_by(|a, b| a.1.seconds.total_cmp(&b.1.seconds));
        let missed: Vec<&MethodSummary> = (summaries.iter())
            .filter(|summary| summary.reached[place].is_none())
            .collect();
        let missed = missed_methods(&missed);
        let Some(((winner, best), others)) = reached.split_first() else {
            return format!("No method reached {target}: {missed}.");
        };
        let mut text = format!(
            "{} reached {target} first, after {} and {} multiplications performed",
            winner.method,
            duration(best.seconds),
            whole(best.multiplications),
        );
        let times_as_long = |reached: &Reached| times(reached.seconds / best.seconds);
        match others {
            [(nearest, first), .., (farthest, last)] if others.len() > MOST_NAMED => {
                text.push_str(&format!(
                    "; {} others took from {} ({}) to {} times as long ({})",
                    others.len(),
                    times_as_long(first),
                    nearest.method,
                    times_as_long(last),
                    farthest.method,
                ));
            }
            _ => {
                for (other, reached) in others {
                    text.push_str(&format!(
                        "; {} after {} ({} times the time, {} times the multiplications)",
                        other.method,
                        duration(reached.seconds),
                        times_as_long(reached),
                        times(reached.multiplications as f64 / best.multiplications as f64),
                    ));
                }
            }
        }
        if !missed.is_empty() {
            text.push_str(&format!("; not reached by {missed}"));
        }
        text + "."
    };
    targets.iter().enumerate().map(sentence).collect()
}

/// Compares the steps of the estimates along random directions with those of backprop: the steps to
/// the best accuracy of each, with its median seed, and those of backprop to the same accuracy with
/// the same seed. `None` without backprop or without estimates.
pub(super) fn cost_of_random_directions(
    summaries: &[MethodSummary],
    rows: &[RaceRow],
) -> Option<String> {
    let own = |label: &str, seed: u64, least: f64| {
        let reached = move |row: &&RaceRow| {
            (row.method.as_str(), row.seed, row.tuning) == (label, seed, false)
                && row.accuracy >= least
        };
        rows.iter().find(reached)
    };
    let comparisons: Vec<String> = (summaries.iter())
        .filter(|summary| is_estimate(&summary.method))
        .filter_map(|summary| {
            let accuracy = summary.best_accuracy;
            let median = |seed: &&SeedSummary| seed.best_accuracy == accuracy;
            let seed = summary.seeds.iter().find(median)?.seed;
            let row = own(&summary.method, seed, accuracy)?;
            let backprop = own("backprop", seed, accuracy)?;
            Some(format!(
                "{} {} after {} steps of {:.0} evaluations, backprop after {} at most",
                summary.method,
                percent(Some(accuracy)),
                whole(row.steps),
                row.tally.passes() as f64 / row.steps as f64,
                whole(backprop.steps),
            ))
        })
        .collect();
    (!comparisons.is_empty()).then(|| {
        format!(
            "An estimate along K random directions has about d/K times the squared length of the gradient (d: parameters, or units if activations are perturbed): what it saves in a step it pays back in shorter steps, and more of them. The best accuracy of each: {}.",
            comparisons.join("; ")
        )
    })
}

/// Says how the learning rates were chosen; `None` if no rate was tried.
pub(super) fn choice_of_rates(
    summaries: &[MethodSummary],
    plan: &RacePlan,
    judged: &str,
) -> Option<String> {
    let tuned: Vec<&str> = (summaries.iter())
        .filter(|summary| summary.tuned)
        .map(|summary| summary.method.as_str())
        .collect();
    let first = plan.seeds.first()?;
    (!tuned.is_empty()).then(|| {
        format!(
            "Learning rates of {}: the best of at least five, by accuracy on the {judged} rows after {} of training each with seed {first}. The other methods use the config's.",
            tuned.join(", "),
            duration(plan.tuning),
        )
    })
}

/// Names the methods and seeds that diverged; `None` if none did.
pub(super) fn divergences(summaries: &[MethodSummary]) -> Option<String> {
    let diverged = summaries.iter().flat_map(|summary| {
        let endings = summary.seeds.iter().filter_map(|seed| {
            let ending = seed.ending.as_ref()?;
            Some((seed.seed, ending)).filter(|(_, ending)| ending.starts_with("diverged"))
        });
        endings.map(|(seed, ending)| format!("{}, seed {seed}: {ending}", summary.method))
    });
    let diverged: Vec<String> = diverged.collect();
    (!diverged.is_empty()).then(|| format!("{}.", diverged.join("; ")))
}

/// Returns whether the method is an estimate along random directions.
fn is_estimate(label: &str) -> bool {
    let name = label.split(['/', ':']).next().unwrap_or(label);
    matches!(name, "spsa" | "forward-gradient")
}

/// Formats a percentage without trailing zeros, such as `95` or `97.5`.
fn trimmed(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
