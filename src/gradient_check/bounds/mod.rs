//! Bounds on the error of each partial derivative, from truncation and round-off, derived for a
//! given network, mini-batch and gradient method.
//!
//! u = unit round-off, h = increment, d = h (forward) or 2h (central), δ = ∂L/∂z, all of one
//! sample. The bounds of the rows are averaged as absolute values, because round-off need not be
//! independent from row to row (an increment that rounding removes is lost in every row).
//!
//! ```text
//! |ĝ − g| ≤ truncation + noise + backprop's round-off
//!
//! truncation   forward: μ₂·h/2; central: μ₃·h²/6; μ bounds the derivative over the whole increment
//!              (curvature.rs). Extrapolation: the truncation that remains of the weighted
//!              quotients (evaluation_points.rs).
//! noise        Plain arithmetic: 2·ε/d, where ε is the round-off of the perturbed pass
//!              (perturbed_roundoff.rs): u·|δ_j|·ρ_j of the perturbed unit, u·|δ_k|·ρ_k and
//!              4u·|a_k·∂L/∂a_k| of all units above it, and the terms of the loss, each at its
//!              largest over the increment (reach.rs). Units beside or below the perturbed one have
//!              the same bits in both passes, and their round-off cancels exactly.
//!              Cancellation-free: κ·u·D·|a|, where D is the sum of the absolute values of all
//!              paths, plus 2⁻¹⁴⁹/d (f32) where a change is subnormal.
//!              Node perturbation: noise and truncation of the unit's bias, times |a|.
//!              Forward mode: as cancellation-free with d = 1, without truncation.
//! backprop's   the errors of z, a and the products in this precision (backprop_roundoff.rs); it is
//! round-off    backprop's only term. Numeric backprop adds the errors of its quotients
//!              (quotients.rs).
//! ```
//!
//! ρ = |z| + Λ·√Σ s² over the partial sums s of z: the first rounding is taken at its worst, the
//! others as independent (Higham and Mary, "A new approach to probabilistic rounding error
//! analysis", 2019: √n in place of n, wrong with a probability of 2·exp(−3Λ²/2) for roundings
//! uniform in ±u). Sums over units take the smaller of Σ and Λ·√Σ². With Λ = 4 a false alarm has
//! the probability 1e-10 per row and needs all rows at once. An error beyond these bounds is not
//! round-off.

mod backprop_roundoff;
mod perturbed_roundoff;
mod quotients;
mod reach;

use self::perturbed_roundoff::gains;
use self::reach::ReachBounds;
use super::curvature::{WeightMagnitudes, fifth_derivatives, second_and_third};
use super::directional_taylor::{self, DirectionalTaylor};
use super::evaluation_points::{DerivativeBounds, EvaluationPoints, truncation_bound};
use super::number_format::NumberFormat;
use super::sample_pass::SamplePass;
use crate::data::Samples;
use crate::gradient::finite_difference::{Arithmetic, DifferenceConfig, Scheme, Summation};
use crate::kernels::panels::{count, width};
use crate::model::{Network, Parameters};
use crate::parallel::Workers;

/// Λ: the error of a sum is bounded by Λ·u·√Σ s² over its partial sums s.
const CHAIN: f64 = 4.0;
/// Roundings of one sigmoid, exponential or loss term, in u.
const ELEMENTARY: f64 = 4.0;

/// The quantity that a difference perturbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PerturbedPart {
    /// Each parameter.
    Parameters,
    /// Each unit's pre-activation, as its bias would; the quotient is multiplied by the inputs.
    PreActivations,
}

/// A finite-difference method at one θ.
#[derive(Clone, Copy)]
pub(super) struct DifferenceSpec<'a> {
    pub config: &'a DifferenceConfig,
    pub perturbed: PerturbedPart,
    /// The evaluation points, widest first.
    pub evaluation_points: &'a [EvaluationPoints],
}

/// Computes error bounds at one θ for one mini-batch.
pub(super) struct ErrorBounds<'a> {
    network: &'a Network,
    theta: Parameters<f64>,
    magnitudes: WeightMagnitudes,
    gains: Vec<Vec<f64>>,
    passes: Vec<SamplePass>,
    /// The largest |a| that each layer reads in any row, at least 1.
    largest_inputs: Vec<f64>,
    loss: f64,
}

impl<'a> ErrorBounds<'a> {
    pub(super) fn new(
        network: &'a Network,
        theta: &Parameters<f64>,
        samples: &Samples<f64>,
        rows: &[u32],
        workers: &Workers,
    ) -> Self {
        let passes = workers.map(rows.len(), |at| {
            let features = samples.features();
            let mut inputs = vec![0.0; count::<f64>(features) * width::<f64>()];
            // Panels of a single row store its features one after the other.
            samples.gather(&rows[at..=at], &mut inputs, width::<f64>());
            let target = (samples.label(rows[at]), samples.targets(rows[at]));
            SamplePass::new(network, theta, &inputs[..features], target)
        });
        let loss = passes.iter().map(|pass| pass.loss).sum::<f64>() / rows.len() as f64;
        let largest_input = |layer| {
            let inputs = passes.iter().map(|pass| pass.largest_input(layer));
            inputs.fold(1.0, f64::max)
        };
        Self {
            network,
            largest_inputs: (0..network.layout.layers()).map(largest_input).collect(),
            theta: theta.clone(),
            magnitudes: WeightMagnitudes::new(theta),
            gains: gains(theta),
            passes,
            loss,
        }
    }

    /// Returns the forward and backward passes of the rows.
    pub(super) fn passes(&self) -> &[SamplePass] {
        &self.passes
    }

    /// Bounds the change of any z that a perturbation of unit `unit` of `layer` by `increment` times
    /// an input causes.
    pub(super) fn largest_change(&self, layer: usize, unit: usize, increment: f64) -> f64 {
        increment * self.largest_inputs[layer] * self.gains[layer][unit]
    }

    /// Bounds the errors of backprop in `format`, `(N,)`.
    pub(super) fn backprop(&self, format: NumberFormat) -> Vec<f64> {
        self.backward(format, None)
    }

    /// Bounds the errors of numeric backprop, where quotients over `h` replace the derivatives of σ
    /// and of the loss, `(N,)`.
    pub(super) fn numeric_backprop(&self, format: NumberFormat, h: f64) -> Vec<f64> {
        self.backward(format, Some(h))
    }

    fn backward(&self, format: NumberFormat, h: Option<f64>) -> Vec<f64> {
        let mut bounds = vec![0.0; self.network.layout.len()];
        for pass in &self.passes {
            self.add_backprop_roundoff(pass, format, h, &mut bounds);
        }
        self.finish(&mut bounds, format);
        bounds
    }

    /// Bounds the errors of forward mode, `(N,)`.
    pub(super) fn tangent(&self, format: NumberFormat) -> Vec<f64> {
        let layout = &self.network.layout;
        let mut bounds = vec![0.0; layout.len()];
        for pass in &self.passes {
            let errors = self.add_backprop_roundoff(pass, format, None, &mut bounds);
            for (layer, errors) in errors[..layout.layers()].iter().enumerate() {
                let (weights, biases) = (layout.weights(layer), layout.biases(layer));
                let fan_in = layout.sizes()[layer];
                for unit in 0..pass.z[layer].len() {
                    let [fixed, relative] = self.propagation_noise(pass, layer, unit, format);
                    for (input, (a, e)) in pass.a[layer].iter().zip(errors).enumerate() {
                        let index = weights.start + unit * fan_in + input;
                        bounds[index] += fixed + relative * (a.abs() + e);
                    }
                    if layout.has_bias() {
                        bounds[biases.start + unit] += fixed + relative;
                    }
                }
            }
        }
        self.finish(&mut bounds, format);
        bounds
    }

    /// Bounds the errors of a finite difference, `(N,)`. With extrapolation, the round-off of each
    /// difference counts with its weight.
    pub(super) fn difference(
        &self,
        spec: &DifferenceSpec<'_>,
        format: NumberFormat,
        workers: &Workers,
    ) -> Vec<f64> {
        let layout = &self.network.layout;
        let weight: f64 = spec
            .evaluation_points
            .iter()
            .map(|points| points.weight.abs())
            .sum();
        let parts = workers.map(self.passes.len(), |at| {
            let pass = &self.passes[at];
            let mut bounds = vec![0.0; layout.len()];
            let errors = self.add_backprop_roundoff(pass, format, None, &mut bounds);
            bounds.iter_mut().for_each(|bound| *bound *= weight);
            for (layer, errors) in errors[..layout.layers()].iter().enumerate() {
                self.add_difference(pass, layer, spec, format, errors, &mut bounds);
            }
            bounds
        });
        let mut bounds = vec![0.0; layout.len()];
        for part in parts {
            for (bound, part) in bounds.iter_mut().zip(part) {
                *bound += part;
            }
        }
        self.finish(&mut bounds, format);
        self.add_summation(spec, format, &mut bounds);
        bounds
    }

    /// Turns the sum over the rows into a mean, and adds the roundings of the l2 term and
    /// underflow.
    fn finish(&self, bounds: &mut [f64], format: NumberFormat) {
        let share = 1.0 / self.passes.len() as f64;
        for bound in bounds.iter_mut() {
            *bound = *bound * share + 4.0 * format.least;
        }
        let l2 = 4.0 * format.roundoff * self.network.l2;
        for layer in 0..self.network.layout.layers() {
            for index in self.network.layout.weights(layer) {
                bounds[index] += l2 * self.theta.flat()[index].abs();
            }
        }
    }

    /// Adds the round-off of the sum over the rows, and the errors of the l2 term's difference.
    fn add_summation(&self, spec: &DifferenceSpec<'_>, format: NumberFormat, bounds: &mut [f64]) {
        let DifferenceSpec {
            config,
            evaluation_points,
            ..
        } = *spec;
        let (u, l2) = (format.roundoff, self.network.l2);
        let layout = &self.network.layout;
        let plain = config.arithmetic == Arithmetic::Plain;
        let weights = (0..layout.layers()).flat_map(|layer| layout.weights(layer));
        let penalty_sum: f64 = weights
            .map(|index| 0.5 * l2 * self.theta.flat()[index].powi(2))
            .sum();
        let summation_noise = match config.summation {
            Summation::Differences => 0.0,
            // Two sums of B losses and of N squares, each rounded term by term.
            Summation::Losses => {
                let sum_roundoff = |items: usize, sum: f64| CHAIN * (items as f64).sqrt() * sum;
                2.0 * u
                    * (sum_roundoff(self.passes.len(), self.loss)
                        + sum_roundoff(layout.len(), penalty_sum))
                    + ELEMENTARY * u * (self.loss + penalty_sum)
            }
        };
        let penalty = DerivativeBounds {
            second: l2,
            ..DerivativeBounds::default()
        };
        for layer in 0..layout.layers() {
            for index in layout.weights(layer).chain(layout.biases(layer)) {
                for points in evaluation_points {
                    let distance = points.realized[index].distance;
                    // The mean of subnormal changes is rounded once more.
                    bounds[index] +=
                        points.weight.abs() * (summation_noise + 2.0 * format.tiny) / distance;
                }
                let penalized = l2 != 0.0 && layout.weights(layer).contains(&index);
                // l2 does not depend on the pre-activations: its exact derivative is added.
                if !penalized || spec.perturbed == PerturbedPart::PreActivations {
                    continue;
                }
                let truncated = truncation_bound(evaluation_points, config.scheme, index, penalty);
                bounds[index] += truncated * (1.0 + 16.0 * u);
                for points in evaluation_points {
                    let distance = points.realized[index].distance;
                    let weight = self.theta.flat()[index].abs() + distance;
                    let noise = match config.summation {
                        Summation::Differences if plain => {
                            ELEMENTARY * u * l2 * weight * weight / distance
                        }
                        Summation::Differences => ELEMENTARY * u * l2 * weight,
                        // The growth of the sum of squares, rounded term by term.
                        Summation::Losses => {
                            let terms = 2.0 * CHAIN * (layout.len() as f64).sqrt();
                            (terms + ELEMENTARY) * u * l2 * weight
                        }
                    };
                    bounds[index] += points.weight.abs() * noise;
                }
            }
        }
    }

    /// Adds truncation and noise of one sample for the parameters of one layer, whose inputs have
    /// the error bounds `errors`.
    fn add_difference(
        &self,
        pass: &SamplePass,
        layer: usize,
        spec: &DifferenceSpec<'_>,
        format: NumberFormat,
        errors: &[f64],
        bounds: &mut [f64],
    ) {
        let layout = &self.network.layout;
        let DifferenceSpec {
            config,
            evaluation_points,
            ..
        } = *spec;
        let by_unit = spec.perturbed == PerturbedPart::PreActivations;
        let largest = if by_unit {
            1.0
        } else {
            pass.largest_input(layer)
        };
        let unit_reach = |points: &EvaluationPoints| -> Vec<f64> {
            let increments = points.increments[layer].iter();
            increments.map(|h| 2.0 * h * largest).collect()
        };
        let (network, magnitudes) = (self.network, &self.magnitudes);
        let noises: Vec<Vec<[f64; 2]>> = evaluation_points
            .iter()
            .map(|points| {
                let reach = ReachBounds::new(network, magnitudes, pass, layer, &unit_reach(points));
                let units = 0..points.increments[layer].len();
                let unit_noise =
                    |unit| self.noise(pass, layer, unit, config, format, reach.for_unit(unit));
                units.map(unit_noise).collect()
            })
            .collect();
        let widest = unit_reach(&evaluation_points[0]);
        let curvatures = second_and_third(network, magnitudes, pass, layer, &widest);
        let fifth_derivatives = if config.extrapolate && config.scheme == Scheme::Central {
            fifth_derivatives(network, magnitudes, pass, layer, &widest)
        } else {
            vec![0.0; widest.len()]
        };
        let fan_in = layout.sizes()[layer];
        let weights = layout.weights(layer);
        let roundings = format.roundoff * (64.0 + self.passes.len() as f64);
        for (unit, (&[second, third], fifth)) in
            curvatures.iter().zip(fifth_derivatives).enumerate()
        {
            let error = |input: f64, index: usize| {
                let a = input.abs();
                let derivatives = DerivativeBounds {
                    second: second * a * a,
                    third: third * a.powi(3),
                    fifth: fifth * a.powi(5),
                };
                let truncated =
                    truncation_bound(evaluation_points, config.scheme, index, derivatives);
                let noise = evaluation_points
                    .iter()
                    .zip(&noises)
                    .map(|(points, noises)| {
                        let [fixed, relative] = noises[unit];
                        let distance = points.realized[index].distance;
                        // The truncation of each side is rounded, even where the two sides cancel
                        // it.
                        let rounded_truncation = roundings * derivatives.second * distance / 2.0;
                        points.weight.abs() * (fixed / distance + relative * a + rounded_truncation)
                    });
                truncated * (1.0 + roundings) + noise.sum::<f64>()
            };
            for (input, (a, e)) in pass.a[layer].iter().zip(errors).enumerate() {
                let index = weights.start + unit * fan_in + input;
                // An input of 0 contributes nothing. An activation of 0 underflowed here; the
                // engines clamp σ, which is then not 0.
                if layer > 0 || *a != 0.0 {
                    bounds[index] += if by_unit {
                        (a.abs() + e) * error(1.0, index)
                    } else {
                        error(*a, index)
                    };
                }
            }
            if layout.has_bias() {
                let index = weights.end + unit;
                bounds[index] += error(1.0, index);
            }
        }
    }

    /// Computes the means over the rows of L′, |L″| and |L‴| along θ + t·`direction` at t = 0, and
    /// the largest |dz/dt|.
    pub(super) fn directional_taylor(&self, direction: &Parameters<f64>) -> DirectionalTaylor {
        directional_taylor::row_means(self.network, &self.theta, &self.passes, direction)
    }
}

/// Returns the smaller of Σ and Λ·√Σ². Where the squares are too small for an accurate root (errors
/// below 1e-145), it returns Σ.
fn smaller(sum: f64, squares: f64) -> f64 {
    const LEAST: f64 = 1e-290;
    if squares < LEAST {
        return sum;
    }
    sum.min(CHAIN * squares.sqrt())
}
