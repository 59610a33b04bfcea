//! What a perturbed pass rounds anew, at its worst: bounds of the noise of a difference of two losses.

use super::{CHAIN, ELEMENTARY, Tolerance, smaller};
use crate::gradient::check::format::Format;
use crate::gradient::check::trace::Trace;
use crate::gradient::difference::{Arithmetic, DifferenceConfig, Reuse};
use crate::model::Parameters;
use crate::numeric::head::Head;

impl Tolerance<'_> {
    /// The noise of a perturbation of one unit: what is divided by the distance, and what is
    /// relative to the input.
    pub(super) fn noise(
        &self,
        trace: &Trace,
        layer: usize,
        unit: usize,
        config: &DifferenceConfig,
        format: Format,
        reach: f64,
    ) -> [f64; 2] {
        let u = format.roundoff;
        if config.arithmetic == Arithmetic::Plain {
            let incremental = config.reuse == Reuse::Incremental;
            return [
                2.0 * u * self.rounded_anew(trace, layer, Some(unit), incremental),
                0.0,
            ];
        }
        let [mut fixed, relative] = self.carried(trace, layer, unit, format);
        let farthest = reach * self.gains[layer][unit];
        let highest = trace.z[layer..].iter().flatten();
        let highest = highest.fold(0.0, |most: f64, z| most.max(z.abs()));
        if farthest > 1.0 && highest + farthest > format.clamp {
            // e^Δz would make up for a σ that the clamp has changed: nothing is promised.
            return [f64::INFINITY, 0.0];
        }
        if farthest > 0.125 {
            // A change that is not small is a difference of losses after all.
            fixed += 2.0 * u * self.rounded_anew(trace, layer, Some(unit), true);
        }
        [fixed, relative]
    }

    /// The noise of a change, or of a rate of change, that is carried from a unit to the loss.
    pub(super) fn carried(
        &self,
        trace: &Trace,
        layer: usize,
        unit: usize,
        format: Format,
    ) -> [f64; 2] {
        let depth = self.network.layout.layers() - layer;
        let widths = &self.network.layout.sizes()[layer + 1..];
        let chains: f64 = widths
            .iter()
            .map(|&n| (n as f64).min(CHAIN * (n as f64).sqrt()))
            .sum();
        let kappa = 8.0 * ELEMENTARY * depth as f64 + chains;
        let paths = trace.paths[layer][unit];
        let all: f64 = trace.paths[layer..].iter().flatten().sum();
        // Subnormal changes: each product on its way may lose half the smallest number.
        let fixed = format.tiny * (8.0 * depth as f64 + chains) * (1.0 + all);
        [fixed, kappa * format.roundoff * paths]
    }

    /// What a pass rounds anew if unit `unit` of `layer` is perturbed (`None`: every unit from
    /// `layer` on), in u.
    pub(super) fn rounded_anew(
        &self,
        trace: &Trace,
        layer: usize,
        unit: Option<usize>,
        incremental: bool,
    ) -> f64 {
        let last = trace.z.len() - 1;
        // An update of rank 1 rounds once, a product once a term.
        let chain = |m: usize, k: usize| {
            let updated = incremental && m <= layer + 1;
            trace.z[m][k].abs()
                + if updated {
                    0.0
                } else {
                    CHAIN * trace.walk[m][k]
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
                add(2.0 * trace.delta[m][k].abs() * chain(m, k));
                if m < last {
                    add(ELEMENTARY * trace.pull[m][k].abs() * trace.y[m][k]);
                }
            }
        }
        let outputs = trace.z[last].len() as f64;
        let mut losses = (ELEMENTARY + outputs.min(CHAIN * outputs.sqrt())) * trace.loss;
        if self.network.head() == Head::SoftmaxCrossEntropy {
            // The margin is formed from logarithms of sums, each rounded.
            let largest = trace.z[last]
                .iter()
                .fold(1.0, |most: f64, z| most.max(z.abs()));
            losses += trace.complement[last][trace.label]
                * largest
                * (ELEMENTARY + outputs.min(CHAIN * outputs.sqrt()));
        }
        if self.network.head() == Head::LinearQuadratic {
            losses += trace.delta[last]
                .iter()
                .map(|delta| delta.abs())
                .sum::<f64>();
        }
        smaller(sum, squares) + losses
    }

    /// ε of a pass with every parameter perturbed: the mean over the rows, in u.
    pub(in crate::gradient::check) fn noise_of_a_pass(&self) -> f64 {
        let rows = self.traces.iter();
        rows.map(|trace| self.rounded_anew(trace, 0, None, false))
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
