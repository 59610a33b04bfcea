//! Increments that are lost in θ: θ + h rounds to θ, so that there is no quotient.

use super::increment::power_of_two;
use super::{DifferenceConfig, Increment, Reuse, Scheme};
use crate::gradient::Stopped;
use crate::model::Parameters;
use crate::numeric::Real;

/// Returns h of unit `unit` of layer `layer`.
pub(super) fn unit_increment<R: Real>(
    config: &DifferenceConfig,
    theta: &Parameters<R>,
    layer: usize,
    unit: usize,
    measured: f64,
) -> R {
    let weights = theta.weights(layer);
    let biases = theta.biases(layer);
    let row = weights.row(unit);
    let largest = row
        .iter()
        .chain(biases.get(unit))
        .fold(0.0, |most: f64, weight| most.max(weight.to_f64().abs()));
    config
        .increment
        .for_unit(config.scheme, config.arithmetic, largest, measured)
}

/// Checks before the first evaluation that every θᵢ + h differs from θᵢ (of a central difference,
/// every θᵢ − h too). Increments of incremental evaluation, which never forms the sum, and those
/// yet to be measured are not checked.
///
/// # Errors
/// [`Stopped::Vanished`] with the first parameter in which h is lost.
pub fn check_increments<R: Real>(
    config: &DifferenceConfig,
    theta: &Parameters<R>,
) -> Result<(), Stopped> {
    if config.reuse == Reuse::Incremental || config.increment == Increment::Noise {
        return Ok(());
    }
    let sizes = theta.layout().sizes();
    let increments: Vec<Vec<R>> = (0..theta.layout().layers())
        .map(|layer| {
            let units = 0..sizes[layer + 1];
            let h = units.map(|unit| unit_increment(config, theta, layer, unit, f64::NAN));
            h.collect()
        })
        .collect();
    check_unit_increments(config.scheme, theta, &increments, INSTEAD)
}

/// The alternative to sums in which h is lost, for the error message.
pub(super) const INSTEAD: &str =
    ", or gradient.evaluation = \"incremental\", which never forms the sum";

/// Checks that every θᵢ + h differs from θᵢ (of a central difference, every θᵢ − h too).
/// `increments` are h by layer and unit; `instead` is the alternative named by the error.
///
/// # Errors
/// [`Stopped::Vanished`] with the first parameter in which h is lost.
pub(in crate::gradient) fn check_unit_increments<R: Real>(
    scheme: Scheme,
    theta: &Parameters<R>,
    increments: &[Vec<R>],
    instead: &'static str,
) -> Result<(), Stopped> {
    let layout = theta.layout();
    for (layer, increments) in increments.iter().enumerate() {
        let fan_in = layout.sizes()[layer];
        let weights = layout
            .weights(layer)
            .zip(0..)
            .map(|(index, offset)| (index, offset / fan_in));
        for (index, unit) in weights.chain(layout.biases(layer).zip(0..)) {
            let (value, h) = (theta.flat()[index], increments[unit]);
            let below = scheme == Scheme::Central && value - h == value;
            if value + h == value || below {
                return Err(Stopped::Vanished {
                    parameter: layout.name(index),
                    value: shortest(value),
                    increment: shortest(h),
                    needed: smallest_change(value),
                    instead,
                });
            }
        }
    }
    Ok(())
}

/// Returns the f64 with the shortest decimal form that rounds to `number` in precision `R`: 1e-30,
/// not 1.0000000031710769e-30.
fn shortest<R: Real>(number: R) -> f64 {
    format!("{number:e}").parse().unwrap_or(number.to_f64())
}

/// Returns the smallest power of two, from about |θ|·u up, that changes `theta` both when added and
/// when subtracted.
fn smallest_change<R: Real>(theta: R) -> f64 {
    let mut h = power_of_two(theta.to_f64().abs().max(f64::MIN_POSITIVE)) * R::UNIT_ROUNDOFF;
    while theta + R::from_f64(h) == theta || theta - R::from_f64(h) == theta {
        h *= 2.0;
    }
    h
}
