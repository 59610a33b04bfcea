//! The estimate ĝ = 1/K Σ_k (g·v_k)·v_k, computed by several workers: first the K derivatives,
//! partitioned by direction, then the sum, partitioned by parameter.
//!
//! Each element of ĝ is one sum in the order of the directions, so its bits do not depend on the
//! number of workers. Each worker draws the components of its parameters again. So ranks divide the
//! directions and exchange K derivatives, no components; each then computes the whole sum.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::DirectionsConfig;
use super::direction::{Direction, DirectionSeed};
use crate::gradient::{Control, Stopped};
use crate::numeric::Real;
use crate::numeric::random::GAUSSIANS_PER_CALL;
use crate::parallel::{PhasedSlice, Ranks, Superstep, Supersteps, Workers};

/// Returns the largest number of workers among whom the work can be divided.
pub(super) fn most_workers(
    pool: &Workers,
    directions: DirectionsConfig,
    parameters: usize,
) -> usize {
    let parts = directions.count.max(parameters / GAUSSIANS_PER_CALL);
    parts.clamp(1, pool.threads())
}

/// Returns the supersteps of an estimate: derivatives, their exchange if there are several ranks, and
/// sums.
pub(super) fn supersteps(workers: usize, ranks: &Ranks) -> Supersteps {
    match ranks.are_many() {
        false => Supersteps::new(workers),
        true => Supersteps::with_exchanges(workers, 3, &[0]),
    }
}

/// Returns the directions of each of this rank's workers, of `count`.
pub(super) fn own_directions(
    count: usize,
    workers: usize,
    ranks: &Ranks,
) -> impl Iterator<Item = Range<usize>> + Clone + use<> {
    let start = count * ranks.rank() / ranks.size();
    let own = count * (ranks.rank() + 1) / ranks.size() - start;
    (0..workers).map(move |w| start + own * w / workers..start + own * (w + 1) / workers)
}

/// Exchanges the derivatives along `count` directions, `each` numbers of each, and enters the next
/// superstep, if there are several ranks.
pub(super) fn exchange<'s, R: Real>(
    ranks: &Ranks,
    derivatives: &mut PhasedSlice<'_, R>,
    (count, each): (usize, usize),
    superstep: Superstep<'s>,
) -> Superstep<'s> {
    if !ranks.are_many() {
        return superstep;
    }
    if superstep.worker() == 0 {
        let size = ranks.size();
        let length = |rank| (count * (rank + 1) / size - count * rank / size) * each;
        let lengths: Vec<_> = (0..size).map(length).collect();
        ranks.all_gather_in_place(derivatives.exchange(&superstep), &lengths);
    }
    superstep.next()
}

/// Overwrites `gradient` with 1/K Σ_k s_k·v_k, s_k = `derivative` along direction k. There is one
/// worker per element of `workers`, its scratch memory; `derivatives` is scratch memory, `(K,)`.
///
/// # Errors
/// [`Stopped::Interrupted`] if `control` requests a stop between two derivatives, or an interruption
/// at any time.
pub(super) fn project<R: Real, W: Send>(
    pool: &Workers,
    workers: &mut [W],
    (directions, direction_seed): (DirectionsConfig, DirectionSeed),
    derivatives: &mut [R],
    gradient: &mut [R],
    control: &Control,
    derivative: impl Fn(&mut W, &Direction) -> R + Sync,
) -> Result<(), Stopped> {
    let worker_count = workers.len();
    let ranks = pool.ranks();
    let supersteps = supersteps(worker_count, ranks);
    let partition = |len: usize| {
        (0..worker_count).map(move |w| len * w / worker_count..len * (w + 1) / worker_count)
    };
    let (count, parameters) = (directions.count, gradient.len());
    let scale = R::ONE / R::from_f64(count as f64);
    let stopped = AtomicBool::new(false);
    let own = own_directions(count, worker_count, ranks);
    let derivatives = supersteps.share(derivatives, 0, own.clone());
    let gradients = supersteps.share(gradient, None, partition(parameters));
    let parts = derivatives
        .into_iter()
        .zip(gradients)
        .zip(own.zip(partition(parameters)))
        .zip(workers)
        .collect();
    pool.run(
        supersteps,
        parts,
        |(((mut derivatives, mut gradient), (numbers, indices)), worker), mut superstep| {
            for (slot, number) in derivatives.write_own(&superstep).iter_mut().zip(numbers) {
                if control.is_stopped() {
                    stopped.store(true, Ordering::Relaxed);
                    break;
                }
                *slot = derivative(worker, &directions.direction(direction_seed, number)) * scale;
            }
            superstep = superstep.next();
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            superstep = exchange(ranks, &mut derivatives, (count, 1), superstep);
            let sums = gradient.write_own(&superstep);
            sums.fill(R::ZERO);
            let derivatives = derivatives.read_all(&superstep).iter().enumerate();
            for (number, &derivative) in derivatives.take_while(|_| !control.is_interrupted()) {
                let mut components = directions.direction(direction_seed, number).components();
                components.seek(indices.start);
                for sum in &mut *sums {
                    *sum = *sum + derivative * R::from_f64(f64::from(components.step()));
                }
            }
        },
    );
    if stopped.into_inner() || control.is_interrupted() {
        return Err(Stopped::Interrupted);
    }
    Ok(())
}
