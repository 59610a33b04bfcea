//! What a perturbed pass rounds anew, at its worst: bounds of the noise of a difference of two losses.

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
    /// The noise of a perturbation of one unit: what is divided by the distance, and what is
    /// relative to the input. `moved` is how far the perturbation takes the pass.
    pub(super) fn noise(
        &self,
        trace: &SamplePass,
        layer: usize,
        unit: usize,
        config: &DifferenceConfig,
        format: NumberFormat,
        moved: UnitReach<'_>,
    ) -> [f64; 2] {
        let u = format.roundoff;
        if config.arithmetic == Arithmetic::Plain {
            let incremental = config.reuse == Reuse::Incremental;
            let anew = self.rounded_anew(trace, layer, Some(unit), incremental, Some(moved));
            let summed = match config.summation {
                Summation::Differences => 0.0,
                // The sum over the rows rounds the perturbed losses, which are larger by what they moved.
                Summation::Losses => {
                    let rows = self.traces.len() as f64;
                    (2.0 * CHAIN * rows.sqrt() + ELEMENTARY) * moved.loss(trace)
                }
            };
            let lost = self.clamped_anew(trace, layer, format, moved);
            return [u * (2.0 * anew + summed) + lost, 0.0];
        }
        let [mut fixed, relative] = self.carried(trace, layer, unit, format);
        let farthest = moved.z(layer, unit) * self.gains[layer][unit];
        let highest = trace.z[layer..].iter().flatten();
        let highest = highest.fold(0.0, |most: f64, z| most.max(z.abs()));
        if farthest > 1.0 && highest + farthest > format.clamp {
            // e^Δz would make up for a σ that the clamp has changed: nothing is promised.
            return [f64::INFINITY, 0.0];
        }
        if farthest > 0.125 {
            // A change that is not small is a difference of losses after all.
            fixed += 2.0 * u * self.rounded_anew(trace, layer, Some(unit), true, Some(moved));
        }
        [fixed, relative]
    }

    /// What a difference of two losses misses where a perturbation takes units across the clamp: beyond
    /// it σ and the loss stay as they are, where their slopes are e^−clamp at most.
    fn clamped_anew(
        &self,
        trace: &SamplePass,
        layer: usize,
        format: NumberFormat,
        moved: UnitReach<'_>,
    ) -> f64 {
        let last = trace.z.len() - 1;
        let of_unit = |m: usize, k: usize| {
            let change = moved.z(m, k);
            clamped(trace.z[m][k].abs() + change, format) * change
        };
        let hidden = (layer..last).flat_map(|m| (0..trace.z[m].len()).map(move |k| (m, k)));
        let hidden: f64 = hidden
            .map(|(m, k)| (trace.pull[m][k].abs() + moved.pull(m, k)) * of_unit(m, k))
            .sum();
        let outputs = 0..trace.z[last].len();
        let of_outputs = match self.network.head() {
            OutputLoss::LinearQuadratic => 0.0,
            OutputLoss::SoftmaxCrossEntropy => {
                let farthest = outputs.clone().map(|k| moved.z(last, k));
                let apart = 2.0 * farthest.fold(0.0, f64::max);
                let spread = spread(&trace.z[last]) + apart;
                outputs.len() as f64 * clamped(spread, format) * apart
            }
            _ => outputs.map(|k| of_unit(last, k)).sum(),
        };
        hidden + of_outputs
    }

    /// The noise of a change, or of a rate of change, that is carried from a unit to the loss.
    pub(super) fn carried(
        &self,
        trace: &SamplePass,
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
        let paths = trace.paths[layer][unit];
        // What is lost of Δa reaches the loss without σ′, which may be next to nothing.
        let pulls = trace.pull_paths.iter().skip(layer);
        let all: f64 = pulls.chain(&trace.paths[layer..]).flatten().sum();
        // Subnormal changes: each product on its way may lose half the smallest number.
        let fixed = format.tiny * (8.0 * depth as f64 + chains) * (1.0 + all);
        [fixed, kappa * format.roundoff * paths]
    }

    /// What a pass rounds anew if unit `unit` of `layer` is perturbed (`None`: every unit from
    /// `layer` on), in u: at θ, or where it is largest as far as it has `moved`.
    pub(super) fn rounded_anew(
        &self,
        trace: &SamplePass,
        layer: usize,
        unit: Option<usize>,
        incremental: bool,
        moved: Option<UnitReach<'_>>,
    ) -> f64 {
        let last = trace.z.len() - 1;
        let change = |m: usize, k: usize| moved.map_or(0.0, |moved| moved.z(m, k));
        let delta = |m: usize, k: usize| {
            trace.delta[m][k].abs() + moved.map_or(0.0, |moved| moved.delta(m, k))
        };
        let pull = |m: usize, k: usize| {
            trace.pull[m][k].abs() + moved.map_or(0.0, |moved| moved.pull(m, k))
        };
        // An update of rank 1 rounds once, a product once a term; no partial sum moves farther than z.
        let chain = |m: usize, k: usize| {
            let updated = incremental && m <= layer + 1;
            let change = change(m, k);
            let terms = (trace.a[m].len() + 1) as f64;
            trace.z[m][k].abs()
                + change
                + if updated {
                    0.0
                } else {
                    CHAIN * (trace.walk[m][k] + terms.sqrt() * change)
                }
        };
        let (mut sum, mut squares) = (0.0, 0.0);
        let mut add = |term: f64| {
            sum += term;
            squares += term * term;
        };
        for m in layer..=last {
            for k in 0..trace.z[m].len() {
                if m == layer && unit.is_some_and(|unit| unit != k) {
                    continue;
                }
                // z + Δz, and Δz itself.
                add(2.0 * delta(m, k) * chain(m, k));
                if m < last {
                    let y = grown(trace.y[m][k], change(m, k)).min(1.0);
                    add(ELEMENTARY * pull(m, k) * y);
                }
            }
        }
        let outputs = 0..trace.z[last].len();
        let count = outputs.len() as f64;
        let terms = ELEMENTARY + count.min(CHAIN * count.sqrt());
        let mut losses = terms * (trace.loss + moved.map_or(0.0, |moved| moved.loss(trace)));
        if self.network.head() == OutputLoss::SoftmaxCrossEntropy {
            // The margin is formed from logarithms of sums, each rounded.
            let moved_to = outputs
                .clone()
                .map(|k| trace.z[last][k].abs() + change(last, k));
            losses += delta(last, trace.label) * moved_to.fold(1.0, f64::max) * terms;
        }
        if self.network.head() == OutputLoss::LinearQuadratic {
            losses += outputs.map(|k| delta(last, k)).sum::<f64>();
        }
        smaller(sum, squares) + losses
    }

    /// ε of a pass with every parameter perturbed: the mean over the rows, in u.
    pub(in crate::gradient_check) fn noise_of_a_pass(&self) -> f64 {
        let rows = self.traces.iter();
        rows.map(|trace| self.rounded_anew(trace, 0, None, false, None))
            .sum::<f64>()
            / self.traces.len() as f64
    }
}

/// How much farther than a unit an output can move, for every unit of every layer: the product of
/// the largest sums of weights above it, each with a slope of 1/4.
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
