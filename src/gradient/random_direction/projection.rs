//! The estimate ĝ = 1/K Σ_k (g·v_k)·v_k, computed by several workers: first the K derivatives,
//! partitioned by direction, then the sum, partitioned by parameter.
//!
//! Each element of ĝ is one sum in the order of the directions, so its bits do not depend on the
//! number of workers. Each worker draws the components of its parameters again.

use std::sync::atomic::{AtomicBool, Ordering};

use super::DirectionsConfig;
use super::direction::{Direction, DirectionSeed};
use crate::gradient::{Control, Stopped};
use crate::numeric::Real;
use crate::numeric::random::GAUSSIANS_PER_CALL;
use crate::parallel::{Supersteps, Workers};

/// Returns the largest number of workers among whom the work can be divided.
pub(super) fn most_workers(
    pool: &Workers,
    directions: DirectionsConfig,
    parameters: usize,
) -> usize {
    let parts = directions.count.max(parameters / GAUSSIANS_PER_CALL);
    parts.clamp(1, pool.threads())
}

/// Overwrites `gradient` with 1/K Σ_k s_k·v_k, s_k = `derivative` along direction k. There is one
/// worker per element of `workers`, its scratch memory; `derivatives` is scratch memory, `(K,)`.
///
/// # Errors
/// [`Stopped::Interrupted`] if `control` requests a stop between two derivatives.
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
    let supersteps = Supersteps::new(worker_count);
    let partition = |len: usize| {
        (0..worker_count).map(move |w| len * w / worker_count..len * (w + 1) / worker_count)
    };
    let (count, parameters) = (directions.count, gradient.len());
    let scale = R::ONE / R::from_f64(count as f64);
    let stopped = AtomicBool::new(false);
    let derivatives = supersteps.share(derivatives, 0, partition(count));
    let gradients = supersteps.share(gradient, None, partition(parameters));
    let parts = derivatives
        .into_iter()
        .zip(gradients)
        .zip(partition(count).zip(partition(parameters)))
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
            let sums = gradient.write_own(&superstep);
            sums.fill(R::ZERO);
            for (number, &derivative) in derivatives.read_all(&superstep).iter().enumerate() {
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
