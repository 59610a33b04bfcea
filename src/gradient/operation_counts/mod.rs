//! Closed-form operation counts of every gradient method: each formula is here, and here only.
//!
//! [`backprop`], [`finite_difference`] and [`random_direction`] count what the kernels perform on
//! given rows, [`dense_formulas`] what a plain implementation performs.

pub mod backprop;
mod changes;
pub mod communication;
pub mod dense_formulas;
pub mod finite_difference;
pub mod random_direction;
mod shape;

use super::GradientConfig;
use super::finite_difference::{Perturbation, Reuse};
use super::random_direction::PerturbedQuantity;
use crate::data::Samples;
use crate::model::Network;
use crate::numeric::Real;
use crate::numeric::tally::Tally;

/// Returns the operations that the kernels perform for one gradient by `method` over `rows`, or for
/// one forward pass. They are those that the method's engine reports.
///
/// # Panics
/// If the method chooses its increment by measurement or extrapolates: the engine alone knows how
/// often it repeats itself.
pub fn performed<R: Real>(
    network: &Network,
    method: Option<&GradientConfig>,
    samples: &Samples<R>,
    rows: &[u32],
) -> Tally {
    let incremental = |perturbation: Perturbation| {
        finite_difference::incremental(network, &perturbation, samples, rows)
    };
    let Some(method) = method else {
        return finite_difference::evaluation(network, samples, rows);
    };
    match method {
        GradientConfig::Backprop => backprop::gradient(network, samples, rows),
        GradientConfig::NumericBackprop(_) => backprop::numeric_gradient(network, samples, rows),
        GradientConfig::Difference(config) => {
            assert!(!config.is_adaptive());
            match config.reuse {
                Reuse::Incremental => incremental(Perturbation::Difference(*config)),
                _ => finite_difference::whole_passes(network, config, samples, rows),
            }
        }
        GradientConfig::Spsa(config) => random_direction::spsa(network, config, samples, rows),
        GradientConfig::ForwardGradient(config) => match config.perturbed {
            PerturbedQuantity::Weights => {
                random_direction::perturbed_weights(network, config.directions, samples, rows)
            }
            PerturbedQuantity::Activations => {
                random_direction::perturbed_activations(network, config.directions, samples, rows)
            }
        },
        GradientConfig::ForwardMode(Reuse::Incremental) => incremental(Perturbation::Tangent),
        GradientConfig::ForwardMode(reuse) => {
            random_direction::forward_mode(network, *reuse, samples, rows)
        }
        GradientConfig::NodePerturbation(config) => incremental(Perturbation::Unit(*config)),
    }
}
