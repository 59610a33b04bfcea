//! Partial derivatives of all parameters, one after the other: each rank owns a range of the
//! parameters, and each of its workers a part of it, both cut by predicted cost.
//!
//! No worker waits for another, and no rank for another one, until the gradient comes together by
//! one all-gather of the ranges. The bits do not depend on who computes which derivative.

use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use super::{Control, Stopped};
use crate::numeric::Real;
use crate::parallel::{Supersteps, Workers, partition_by_cost, partition_share};

/// The multiplications after which ranks agree whether to go on, for each worker: some tenths of a
/// second.
const MULTIPLICATIONS_PER_AGREEMENT: f64 = 2e9;

/// The parameters of a gradient and the cost of their derivatives.
pub(super) struct ParameterCosts {
    /// The number of parameters of each layer, and the multiplications of one derivative.
    pub groups: Vec<(usize, f64)>,
    /// The evaluations that one derivative takes.
    pub evaluations: u64,
}

/// Overwrites `gradient` with what `work` writes: it computes the derivatives of a share (a range of
/// each layer's parameters) into its part of the gradient, and counts its evaluations in `control`.
/// There is one worker of this rank per element of `workers`, its memory.
///
/// # Errors
/// [`Stopped`] of the first worker that was stopped.
pub(super) fn differentiate<R: Real, W: Send>(
    pool: &Workers,
    costs: &ParameterCosts,
    workers: &mut [W],
    gradient: &mut [R],
    control: &Control,
    work: impl Fn(&mut W, &[Range<usize>], &mut [R]) -> Result<(), Stopped> + Sync,
) -> Result<(), Stopped> {
    let (ranks, groups) = (pool.ranks(), &costs.groups);
    let ranges = partition_by_cost(groups, ranks.size());
    let lengths: Vec<_> = ranges.iter().map(|range| length(range)).collect();
    let own = &ranges[ranks.rank()];
    let before: usize = lengths[..ranks.rank()].iter().sum();
    let mut rest = &mut gradient[before..before + length(own)];
    let pieces = match ranks.are_many() {
        true => pieces(costs, ranks.size() * workers.len()),
        false => 1,
    };
    for piece in partition_share(groups, own, pieces) {
        let (part, others) = std::mem::take(&mut rest).split_at_mut(length(&piece));
        rest = others;
        let shares = partition_share(groups, &piece, workers.len());
        run(pool, &shares, workers, part, &work)?;
        if pieces > 1 {
            // All ranks stop here, or none.
            let agreed = ranks.agree(Duration::ZERO);
            if agreed.is_err() || control.is_stopped() {
                return Err(Stopped::Interrupted);
            }
        }
    }
    ranks.all_gather_in_place(gradient, &lengths);
    let elsewhere = gradient.len() - lengths[ranks.rank()];
    control.count(elsewhere as u64 * costs.evaluations);
    Ok(())
}

/// Returns the number of parameters of a share.
fn length(share: &[Range<usize>]) -> usize {
    share.iter().map(Range::len).sum()
}

/// Returns the number of pieces of a rank's range, between which the ranks agree.
fn pieces(costs: &ParameterCosts, workers: usize) -> usize {
    let groups = costs.groups.iter();
    let total: f64 = groups.map(|&(tasks, cost)| tasks as f64 * cost).sum();
    (total / workers as f64 / MULTIPLICATIONS_PER_AGREEMENT)
        .ceil()
        .max(1.0) as usize
}

/// Lets each worker compute its share.
fn run<R: Real, W: Send>(
    pool: &Workers,
    shares: &[Vec<Range<usize>>],
    workers: &mut [W],
    gradient: &mut [R],
    work: &(impl Fn(&mut W, &[Range<usize>], &mut [R]) -> Result<(), Stopped> + Sync),
) -> Result<(), Stopped> {
    let mut rest = gradient;
    let mut assignments = Vec::with_capacity(workers.len());
    for (share, worker) in shares.iter().zip(&mut *workers) {
        let (part, others) = std::mem::take(&mut rest).split_at_mut(length(share));
        rest = others;
        assignments.push((share, worker, part));
    }
    let outcome = Mutex::new(Ok(()));
    pool.run(
        Supersteps::new(assignments.len()),
        assignments,
        |(share, worker, part), _| {
            if let Err(stopped) = work(worker, share, part) {
                *outcome.lock().expect("nothing panics while it is locked") = Err(stopped);
            }
        },
    );
    outcome
        .into_inner()
        .expect("nothing panics while it is locked")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::Ranks;

    #[test]
    fn every_rank_gets_every_derivative_and_all_evaluations_are_counted() {
        let costs = |scale: f64| ParameterCosts {
            groups: vec![
                (50, 3.0 * scale),
                (7, 1.0 * scale),
                (0, 5.0),
                (40, 2.0 * scale),
            ],
            evaluations: 2,
        };
        // With the large costs, the ranks agree several times on the way.
        for (ranks, threads, scale) in [(1, 1, 1.0), (2, 2, 1.0), (3, 1, 1e8), (5, 2, 1e9)] {
            let costs = costs(scale);
            let each = |ranks: Ranks| {
                let pool = Workers::of_ranks(threads, ranks).unwrap();
                let control = Control::default();
                let mut gradient = vec![0f64; 97];
                let work = |_: &mut (), share: &[Range<usize>], part: &mut [f64]| {
                    let starts = [0.0, 50.0, 57.0, 57.0];
                    let indices = share.iter().zip(starts).flat_map(|(range, start)| {
                        range.clone().map(move |index| start + index as f64)
                    });
                    for (partial, index) in part.iter_mut().zip(indices) {
                        *partial = index + 1.0;
                        control.count(2);
                    }
                    Ok(())
                };
                let mut workers = vec![(); threads];
                differentiate(&pool, &costs, &mut workers, &mut gradient, &control, work).unwrap();
                assert!(gradient.iter().zip(1..).all(|(&g, k)| g == f64::from(k)));
                assert_eq!(control.evaluations(), 2 * 97);
            };
            std::thread::scope(|scope| {
                for rank in Ranks::as_threads(ranks) {
                    scope.spawn(|| each(rank));
                }
            });
        }
    }
}
