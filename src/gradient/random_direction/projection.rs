//! ĝ = 1/K Σ_k (g·v_k)·v_k over a team: first the K derivatives, cut by direction, then their sum,
//! cut by parameter.
//!
//! Every element of ĝ is one sum in the order of the directions, so its bits do not depend on who
//! adds it. Each worker draws the components of its own parameters again.

use std::sync::atomic::{AtomicBool, Ordering};

use super::DirectionsConfig;
use super::direction::{Direction, DirectionSeed};
use crate::gradient::{Control, Stopped};
use crate::numeric::Real;
use crate::numeric::random::DRAWN;
use crate::parallel::{Supersteps, Workers};

/// The most workers that find something to do.
pub(super) fn most_workers(
    team: &Workers,
    directions: DirectionsConfig,
    parameters: usize,
) -> usize {
    let parts = directions.count.max(parameters / DRAWN);
    parts.clamp(1, team.threads())
}

/// Overwrites `gradient` with 1/K Σ_k s_k·v_k, s_k = `derivative` along direction k, by one worker for
/// each of `workers`; `derivatives` has room for K numbers.
///
/// # Errors
/// [`Stopped::Interrupted`] if `control` asked for it between two derivatives.
pub(super) fn project<R: Real, W: Send>(
    team: &Workers,
    workers: &mut [W],
    (directions, draw): (DirectionsConfig, DirectionSeed),
    derivatives: &mut [R],
    gradient: &mut [R],
    control: &Control,
    derivative: impl Fn(&mut W, &Direction) -> R + Sync,
) -> Result<(), Stopped> {
    let seats = workers.len();
    let circle = Supersteps::new(seats);
    let cut = |len: usize| (0..seats).map(move |seat| len * seat / seats..len * (seat + 1) / seats);
    let (count, parameters) = (directions.count, gradient.len());
    let share = R::ONE / R::from_f64(count as f64);
    let stopped = AtomicBool::new(false);
    let derivatives = circle.share(derivatives, 0, cut(count));
    let gradients = circle.share(gradient, None, cut(parameters));
    let seats = derivatives
        .into_iter()
        .zip(gradients)
        .zip(cut(count).zip(cut(parameters)))
        .zip(workers)
        .collect();
    team.run(
        circle,
        seats,
        async |(((mut derivatives, mut gradient), (numbers, own)), worker), mut step| {
            for (slot, number) in derivatives.own(&step).iter_mut().zip(numbers) {
                if control.is_stopped() {
                    stopped.store(true, Ordering::Relaxed);
                    break;
                }
                *slot = derivative(worker, &directions.of(draw, number)) * share;
            }
            step = step.next().await;
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            let sums = gradient.own(&step);
            sums.fill(R::ZERO);
            for (number, &derivative) in derivatives.all(&step).iter().enumerate() {
                let mut components = directions.of(draw, number).components();
                components.seek(own.start);
                for sum in &mut *sums {
                    *sum = *sum + derivative * R::from_f64(f64::from(components.step()));
                }
            }
        },
    );
    if stopped.into_inner() {
        return Err(Stopped::Interrupted);
    }
    Ok(())
}
