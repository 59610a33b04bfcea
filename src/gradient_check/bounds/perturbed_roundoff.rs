//! Bounds on the round-off of a perturbed pass, hence on the noise of a difference of two losses.

use super::backprop_roundoff::{clamped, spread};
use super::reach::UnitReach;
use super::{CHAIN, ELEMENTARY, ErrorBounds, smaller};
use crate::gradient::finite_difference::{Arithmetic, DifferenceConfig, Reuse, Summation};
use crate::gradient_check::curvature::grown;
use crate::gradient_check::number_format::NumberFormat;
use crate::gradient_check::sample_pass::SamplePass;
use crate::model::Parameters;
use crate::numeric::output_loss::OutputLoss;

impl ErrorBounds<'_> {
    /// Bounds the noise of a perturbation of one unit: a part that is divided by the distance, and
    /// a part that is multiplied by the input. `reach` bounds the changes that the perturbation
    /// causes.
    pub(super) fn noise(
        &self,
        pass: &SamplePass,
        layer: usize,
        unit: usize,
        config: &DifferenceConfig,
        format: NumberFormat,
        reach: UnitReach<'_>,
    ) -> [f64; 2] {
        let u = format.roundoff;
        if config.arithmetic == Arithmetic::Plain {
            let incremental = config.reuse == Reuse::Incremental;
            let roundoff =
                self.perturbed_pass_roundoff(pass, layer, Some(unit), incremental, Some(reach));
            let summed = match config.summation {
                Summation::Differences => 0.0,
                // The sum over the rows rounds the perturbed losses, which exceed the base by their
                // change.
                Summation::Losses => {
                    let rows = self.passes.len() as f64;
                    (2.0 * CHAIN * rows.sqrt() + ELEMENTARY) * reach.loss(pass)
                }
            };
            let lost = self.clamp_error(pass, layer, format, reach);
            return [u * (2.0 * roundoff + summed) + lost, 0.0];
        }
        let [mut fixed, relative] = self.propagation_noise(pass, layer, unit, format);
        let farthest = reach.z(layer, unit) * self.gains[layer][unit];
        let highest = pass.z[layer..].iter().flatten();
        let highest = highest.fold(0.0, |most: f64, z| most.max(z.abs()));
        if farthest > 1.0 && highest + farthest > format.clamp {
            // e^Δz would act on a σ that the clamp changed: there is no bound.
            return [f64::INFINITY, 0.0];
        }
        if farthest > 0.125 {
            // A change that is not small is computed as a difference of losses.
            fixed +=
                2.0 * u * self.perturbed_pass_roundoff(pass, layer, Some(unit), true, Some(reach));
        }
        [fixed, relative]
    }

    /// Bounds the error of a difference of two losses where a perturbation moves units beyond the
    /// clamp: there the computed σ and loss are constant, while their exact slopes are at most
    /// e^−clamp.
    fn clamp_error(
        &self,
        pass: &SamplePass,
        layer: usize,
        format: NumberFormat,
        reach: UnitReach<'_>,
    ) -> f64 {
        let last = pass.z.len() - 1;
        let unit_error = |m: usize, k: usize| {
            let change = reach.z(m, k);
            clamped(pass.z[m][k].abs() + change, format) * change
        };
        let hidden = (layer..last).flat_map(|m| (0..pass.z[m].len()).map(move |k| (m, k)));
        let hidden: f64 = hidden
            .map(|(m, k)| {
                (pass.activation_gradient[m][k].abs() + reach.activation_gradient(m, k))
                    * unit_error(m, k)
            })
            .sum();
        let outputs = 0..pass.z[last].len();
        let output_error = match self.network.output_loss() {
            OutputLoss::LinearQuadratic => 0.0,
            OutputLoss::SoftmaxCrossEntropy => {
                let farthest = outputs.clone().map(|k| reach.z(last, k));
                let margin_change = 2.0 * farthest.fold(0.0, f64::max);
                let spread = spread(&pass.z[last]) + margin_change;
                outputs.len() as f64 * clamped(spread, format) * margin_change
            }
            _ => outputs.map(|k| unit_error(last, k)).sum(),
        };
        hidden + output_error * pass.weight
    }

    /// Bounds the noise of a change, or of a rate of change, that is propagated from a unit to the
    /// loss.
    pub(super) fn propagation_noise(
        &self,
        pass: &SamplePass,
        layer: usize,
        unit: usize,
        format: NumberFormat,
    ) -> [f64; 2] {
        let depth = self.network.layout.layers() - layer;
        let widths = &self.network.layout.sizes()[layer + 1..];
        let chains: f64 = widths
            .iter()
            .map(|&n| (n as f64).min(CHAIN * (n as f64).sqrt()))
            .sum();
        let kappa = 8.0 * ELEMENTARY * depth as f64 + chains;
        let paths = pass.paths[layer][unit];
        // An underflow of Δa reaches the loss without the factor σ′, which may be tiny.
        let activation_gradients = pass.activation_paths.iter().skip(layer);
        let path_sum: f64 = activation_gradients
            .chain(&pass.paths[layer..])
            .flatten()
            .sum();
        // Subnormal changes: each product on the path may lose half the smallest number.
        let fixed = format.tiny * (8.0 * depth as f64 + chains) * (1.0 + path_sum);
        [fixed, kappa * format.roundoff * paths]
    }

    /// Bounds the round-off, in u, of a pass in which unit `unit` of `layer` is perturbed (`None`:
    /// every unit from `layer` on): at θ, or at its largest within `reach`.
    pub(super) fn perturbed_pass_roundoff(
        &self,
        pass: &SamplePass,
        layer: usize,
        unit: Option<usize>,
        incremental: bool,
        reach: Option<UnitReach<'_>>,
    ) -> f64 {
        let last = pass.z.len() - 1;
        let change = |m: usize, k: usize| reach.map_or(0.0, |reach| reach.z(m, k));
        let delta = |m: usize, k: usize| {
            pass.delta[m][k].abs() + reach.map_or(0.0, |reach| reach.delta(m, k))
        };
        let activation_gradient = |m: usize, k: usize| {
            pass.activation_gradient[m][k].abs()
                + reach.map_or(0.0, |reach| reach.activation_gradient(m, k))
        };
        // A rank-1 update rounds once, a product once per term; no partial sum changes more than z.
        let chain = |m: usize, k: usize| {
            let updated = incremental && m <= layer + 1;
            let change = change(m, k);
            let terms = (pass.a[m].len() + 1) as f64;
            pass.z[m][k].abs()
                + change
                + if updated {
                    0.0
                } else {
                    CHAIN * (pass.partial_sum_norm[m][k] + terms.sqrt() * change)
                }
        };
        let (mut sum, mut squares) = (0.0, 0.0);
        let mut add = |term: f64| {
            sum += term;
            squares += term * term;
        };
        for m in layer..=last {
            for k in 0..pass.z[m].len() {
                if m == layer && unit.is_some_and(|unit| unit != k) {
                    continue;
                }
                // z + Δz is rounded, and so is Δz.
                add(2.0 * delta(m, k) * chain(m, k));
                if m < last {
                    let y = grown(pass.y[m][k], change(m, k)).min(1.0);
                    add(ELEMENTARY * activation_gradient(m, k) * y);
                }
            }
        }
        let outputs = 0..pass.z[last].len();
        let count = outputs.len() as f64;
        // A factor of the loss is rounded, and so is the product with it.
        let factor = if self.network.class_weights.is_empty() {
            0.0
        } else {
            2.0
        };
        let terms = ELEMENTARY + factor + count.min(CHAIN * count.sqrt());
        let mut losses = terms * (pass.loss + reach.map_or(0.0, |reach| reach.loss(pass)));
        if self.network.output_loss() == OutputLoss::SoftmaxCrossEntropy {
            // The margin is computed from logarithms of sums, each rounded.
            let moved_to = outputs
                .clone()
                .map(|k| pass.z[last][k].abs() + change(last, k));
            losses += delta(last, pass.label) * moved_to.fold(1.0, f64::max) * terms;
        }
        if self.network.output_loss() == OutputLoss::LinearQuadratic {
            let residuals = outputs.map(|k| delta(last, k) * pass.targets[k].abs().max(1.0));
            losses += residuals.sum::<f64>();
        }
        smaller(sum, squares) + losses
    }

    /// Bounds the round-off ε of a pass with every parameter perturbed: the mean over the rows, in
    /// u.
    pub(in crate::gradient_check) fn whole_pass_roundoff(&self) -> f64 {
        let rows = self.passes.iter();
        rows.map(|pass| self.perturbed_pass_roundoff(pass, 0, None, false, None))
            .sum::<f64>()
            / self.passes.len() as f64
    }
}

/// Bounds |Δz| of any output per |Δz| of a unit, for every unit of every layer (at least 1): the
/// product of the largest sums of weights above the unit, each times the largest slope, 1/4.
pub(super) fn gains(theta: &Parameters<f64>) -> Vec<Vec<f64>> {
    let layers = theta.layout().layers();
    let mut beyond = 1.0;
    let mut gains = vec![vec![1.0; theta.layout().sizes()[layers]]];
    for above in (1..layers).rev() {
        let weights = theta.weights(above);
        let columns = weights.columns().into_iter().map(|column| {
            let largest = column.iter().fold(0.0, |most: f64, w| most.max(w.abs()));
            (0.25 * largest * beyond).max(1.0)
        });
        gains.push(columns.collect());
        let sums = weights
            .outer_iter()
            .map(|row| row.iter().map(|w| w.abs()).sum());
        beyond *= 0.25 * sums.fold(0.0, f64::max);
    }
    gains.reverse();
    gains
}
