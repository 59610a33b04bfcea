//! How far each partial derivative may be from the exact one: what truncation and round-off come
//! to, derived for this network, these rows, this method.
//!
//! u = unit round-off, h = increment, d = h (forward) or 2h (central), δ = ∂L/∂z, all of one sample;
//! bounds are averaged over the rows as absolute values, because round-off need not be independent
//! from row to row (where θ + h·a rounds to θ it is lost in every row).
//!
//! ```text
//! |ĝ − g| ≤ truncation + noise + own
//!
//! truncation   forward μ₂·h/2, central μ₃·h²/6, with μ bounded over the whole step (curvature.rs);
//!              of an extrapolation what its quotients leave out together (look.rs)
//! noise        plain: 2·ε/d. ε = what the perturbed pass rounds anew (anew.rs):
//!              u·|δ_j|·ρ_j of the perturbed unit, u·|δ_k|·ρ_k and 4u·|a_k·∂L/∂a_k| of all above it,
//!              and the loss's own terms, each where it is largest on the step (moved.rs). What lies beside or below the unit has the same bits in
//!              both passes, and cancels exactly.
//!              cancellation-free: κ·u·D·|a|, relative to the sum D of all paths' absolute values,
//!              and 2⁻¹⁴⁹/d (f32) where a change is subnormal; node perturbation the noise and the
//!              truncation of the unit's bias, times |a|; forward mode as without cancellation, with
//!              d = 1, and no truncation
//! own          that z and a are those of this precision: backprop has this term alone (own.rs);
//!              with quotients for derivatives, what these err by as well (quotients.rs)
//! ```
//!
//! ρ = |z| + Λ·√Σ s² over the partial sums s of a chain: the first rounding at its worst, the others
//! as independent (Higham and Mary, "A new approach to probabilistic rounding error analysis", 2019:
//! √n in place of n, wrong with a probability of 2·exp(−3Λ²/2) for roundings uniform in ±u). Sums
//! over units take the smaller of Σ and Λ·√Σ². With Λ = 4 a false alarm has 1e-10 a row and needs
//! all rows at once. What is wrong by more than these bounds is not round-off.

mod backprop_roundoff;
mod perturbed_roundoff;
mod quotients;
mod reach;

use self::perturbed_roundoff::gains;
use self::reach::ReachBounds;
use super::curvature::{WeightMagnitudes, fifths, of_units};
use super::directional_taylor::{self, DirectionalTaylor};
use super::evaluation_points::{DerivativeBounds, EvaluationPoints, left_out};
use super::number_format::NumberFormat;
use super::sample_pass::SamplePass;
use crate::data::Samples;
use crate::gradient::finite_difference::{Arithmetic, DifferenceConfig, Scheme, Summation};
use crate::kernels::panels::{count, width};
use crate::model::{Network, Parameters};
use crate::parallel::Workers;

/// Standard deviations of √3·u·√Σ s² that a chain may be off.
const CHAIN: f64 = 4.0;
/// Roundings of one sigmoid, exponential or loss term, in u.
const ELEMENTARY: f64 = 4.0;

/// What a difference perturbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PerturbedPart {
    /// Each parameter.
    Parameters,
    /// Each unit's pre-activation, as its bias does; the quotient is multiplied by the inputs.
    PreActivations,
}

/// A difference as it is taken.
#[derive(Clone, Copy)]
pub(super) struct DifferenceSpec<'a> {
    pub config: &'a DifferenceConfig,
    pub perturbed: PerturbedPart,
    /// The widest first.
    pub looks: &'a [EvaluationPoints],
}

/// The bounds at one θ, for one mini-batch.
pub(super) struct ErrorBounds<'a> {
    network: &'a Network,
    theta: Parameters<f64>,
    magnitudes: WeightMagnitudes,
    gains: Vec<Vec<f64>>,
    traces: Vec<SamplePass>,
    loss: f64,
}

impl<'a> ErrorBounds<'a> {
    pub(super) fn new(
        network: &'a Network,
        theta: &Parameters<f64>,
        samples: &Samples<f64>,
        rows: &[u32],
        team: &Workers,
    ) -> Self {
        let traces = team.map(rows.len(), |at| {
            let features = samples.features();
            let mut inputs = vec![0.0; count::<f64>(features) * width::<f64>()];
            // One row in panels of one row is one row after the other.
            samples.gather(&rows[at..=at], &mut inputs, width::<f64>());
            let label = samples.label(rows[at]);
            SamplePass::new(network, theta, &inputs[..features], label)
        });
        let loss = traces.iter().map(|trace| trace.loss).sum::<f64>() / rows.len() as f64;
        Self {
            network,
            theta: theta.clone(),
            magnitudes: WeightMagnitudes::new(theta),
            gains: gains(theta),
            traces,
            loss,
        }
    }

    /// The rows' passes.
    pub(super) fn traces(&self) -> &[SamplePass] {
        &self.traces
    }

    /// Bounds of a backprop's errors, its own number format's.
    pub(super) fn backprop(&self, format: NumberFormat) -> Vec<f64> {
        self.backward(format, None)
    }

    /// Bounds of a backprop's errors whose derivatives of σ and of the loss are quotients over `h`.
    pub(super) fn numeric_backprop(&self, format: NumberFormat, h: f64) -> Vec<f64> {
        self.backward(format, Some(h))
    }

    fn backward(&self, format: NumberFormat, h: Option<f64>) -> Vec<f64> {
        let mut bounds = vec![0.0; self.network.layout.len()];
        for trace in &self.traces {
            self.add_own(trace, format, h, &mut bounds);
        }
        self.finish(&mut bounds, format);
        bounds
    }

    /// Bounds of forward mode's errors.
    pub(super) fn tangent(&self, format: NumberFormat) -> Vec<f64> {
        let layout = &self.network.layout;
        let mut bounds = vec![0.0; layout.len()];
        for trace in &self.traces {
            let errors = self.add_own(trace, format, None, &mut bounds);
            for (layer, errors) in errors[..layout.layers()].iter().enumerate() {
                let (weights, biases) = (layout.weights(layer), layout.biases(layer));
                let fan_in = layout.sizes()[layer];
                for unit in 0..trace.z[layer].len() {
                    let [fixed, relative] = self.carried(trace, layer, unit, format);
                    for (input, (a, e)) in trace.a[layer].iter().zip(errors).enumerate() {
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

    /// Bounds of the errors of a finite difference, or of several, extrapolated: own errors are then
    /// those of each, weighted.
    pub(super) fn difference(
        &self,
        taken: &DifferenceSpec<'_>,
        format: NumberFormat,
        team: &Workers,
    ) -> Vec<f64> {
        let layout = &self.network.layout;
        let weight: f64 = taken.looks.iter().map(|look| look.weight.abs()).sum();
        let parts = team.map(self.traces.len(), |at| {
            let trace = &self.traces[at];
            let mut bounds = vec![0.0; layout.len()];
            let errors = self.add_own(trace, format, None, &mut bounds);
            bounds.iter_mut().for_each(|bound| *bound *= weight);
            for (layer, errors) in errors[..layout.layers()].iter().enumerate() {
                self.add_difference(trace, layer, taken, format, errors, &mut bounds);
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
        self.add_sums(taken, format, &mut bounds);
        bounds
    }

    /// From the rows' sum to their mean, with l2's own roundings and what is below every number.
    fn finish(&self, bounds: &mut [f64], format: NumberFormat) {
        let share = 1.0 / self.traces.len() as f64;
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

    /// What concerns the sum over the rows, and the l2 term's own difference.
    fn add_sums(&self, taken: &DifferenceSpec<'_>, format: NumberFormat, bounds: &mut [f64]) {
        let DifferenceSpec { config, looks, .. } = *taken;
        let (u, l2) = (format.roundoff, self.network.l2);
        let layout = &self.network.layout;
        let plain = config.arithmetic == Arithmetic::Plain;
        let weights = (0..layout.layers()).flat_map(|layer| layout.weights(layer));
        let of_weights: f64 = weights
            .map(|index| 0.5 * l2 * self.theta.flat()[index].powi(2))
            .sum();
        let whole = match config.summation {
            Summation::Differences => 0.0,
            // Two sums of B losses and of N squares, each rounded on its way.
            Summation::Losses => {
                let of = |items: usize, sum: f64| CHAIN * (items as f64).sqrt() * sum;
                2.0 * u * (of(self.traces.len(), self.loss) + of(layout.len(), of_weights))
                    + ELEMENTARY * u * (self.loss + of_weights)
            }
        };
        let penalty = DerivativeBounds {
            second: l2,
            ..DerivativeBounds::default()
        };
        for layer in 0..layout.layers() {
            for index in layout.weights(layer).chain(layout.biases(layer)) {
                for look in looks {
                    let distance = look.strides[index].distance;
                    // The mean of subnormal changes is rounded once more.
                    bounds[index] += look.weight.abs() * (whole + 2.0 * format.tiny) / distance;
                }
                let penalized = l2 != 0.0 && layout.weights(layer).contains(&index);
                // No pre-activation feels l2: its derivative is added as it is.
                if !penalized || taken.perturbed == PerturbedPart::PreActivations {
                    continue;
                }
                let truncated = left_out(looks, config.scheme, index, penalty);
                bounds[index] += truncated * (1.0 + 16.0 * u);
                for look in looks {
                    let distance = look.strides[index].distance;
                    let weight = self.theta.flat()[index].abs() + distance;
                    let noise = match config.summation {
                        Summation::Differences if plain => {
                            ELEMENTARY * u * l2 * weight * weight / distance
                        }
                        Summation::Differences => ELEMENTARY * u * l2 * weight,
                        // By how much the sum of squares has grown, rounded on its way.
                        Summation::Losses => {
                            let terms = 2.0 * CHAIN * (layout.len() as f64).sqrt();
                            (terms + ELEMENTARY) * u * l2 * weight
                        }
                    };
                    bounds[index] += look.weight.abs() * noise;
                }
            }
        }
    }

    /// Adds truncation and noise of the parameters of one layer, of one sample, whose inputs are off by
    /// `errors`.
    fn add_difference(
        &self,
        trace: &SamplePass,
        layer: usize,
        taken: &DifferenceSpec<'_>,
        format: NumberFormat,
        errors: &[f64],
        bounds: &mut [f64],
    ) {
        let layout = &self.network.layout;
        let DifferenceSpec { config, looks, .. } = *taken;
        let by_unit = taken.perturbed == PerturbedPart::PreActivations;
        let largest = if by_unit {
            1.0
        } else {
            trace.largest_input(layer)
        };
        let reach = |look: &EvaluationPoints| -> Vec<f64> {
            let increments = look.increments[layer].iter();
            increments.map(|h| 2.0 * h * largest).collect()
        };
        let (network, magnitudes) = (self.network, &self.magnitudes);
        let noises: Vec<Vec<[f64; 2]>> = looks
            .iter()
            .map(|look| {
                let moved = ReachBounds::new(network, magnitudes, trace, layer, &reach(look));
                let units = 0..look.increments[layer].len();
                let of_unit =
                    |unit| self.noise(trace, layer, unit, config, format, moved.along(unit));
                units.map(of_unit).collect()
            })
            .collect();
        let widest = reach(&looks[0]);
        let curvatures = of_units(network, magnitudes, trace, layer, &widest);
        let fifths = if config.extrapolate && config.scheme == Scheme::Central {
            fifths(network, magnitudes, trace, layer, &widest)
        } else {
            vec![0.0; widest.len()]
        };
        let fan_in = layout.sizes()[layer];
        let weights = layout.weights(layer);
        let roundings = format.roundoff * (64.0 + self.traces.len() as f64);
        for (unit, (&[second, third], fifth)) in curvatures.iter().zip(fifths).enumerate() {
            let error = |input: f64, index: usize| {
                let a = input.abs();
                let of = DerivativeBounds {
                    second: second * a * a,
                    third: third * a.powi(3),
                    fifth: fifth * a.powi(5),
                };
                let truncated = left_out(looks, config.scheme, index, of);
                let noise = looks.iter().zip(&noises).map(|(look, noises)| {
                    let [fixed, relative] = noises[unit];
                    let distance = look.strides[index].distance;
                    // What each side leaves out is rounded, also where two sides cancel it.
                    let bent = roundings * of.second * distance / 2.0;
                    look.weight.abs() * (fixed / distance + relative * a + bent)
                });
                truncated * (1.0 + roundings) + noise.sum::<f64>()
            };
            for (input, (a, e)) in trace.a[layer].iter().zip(errors).enumerate() {
                let index = weights.start + unit * fan_in + input;
                // An input of 0 is left out. An activation of 0 is none: σ is clamped, not 0.
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

    /// Bounds of the mean of |L″| and |L‴| over the rows along θ + t·`direction`, at θ, and the
    /// largest |dz/dt|.
    pub(super) fn along(&self, direction: &Parameters<f64>) -> DirectionalTaylor {
        directional_taylor::of(self.network, &self.theta, &self.traces, direction)
    }
}

/// Σ, or Λ·√Σ² where the terms are many; squares of errors below 1e-145 are no numbers that a root
/// could be drawn from.
fn smaller(sum: f64, squares: f64) -> f64 {
    const LEAST: f64 = 1e-290;
    if squares < LEAST {
        return sum;
    }
    sum.min(CHAIN * squares.sqrt())
}
