//! How far backprop in some number format may be off: bounds of the errors of z and a, carried
//! through a forward and a backward pass, and of every product on the way. Finite differences have
//! them too, since their losses are made of the same z and a.

use super::quotients::quotient_of_sigmoid;
use super::{CHAIN, ELEMENTARY, ErrorBounds, smaller};
use crate::gradient_check::number_format::NumberFormat;
use crate::gradient_check::sample_pass::SamplePass;
use crate::numeric::output_loss::OutputLoss;

impl ErrorBounds<'_> {
    /// Own errors of one sample's δ and a, at the end of a backward pass in `format`; `h`: with
    /// difference quotients for σ′ and for the outputs' δ. Returns the errors of a, layer by layer.
    pub(super) fn add_own(
        &self,
        trace: &SamplePass,
        format: NumberFormat,
        h: Option<f64>,
        bounds: &mut [f64],
    ) -> Vec<Vec<f64>> {
        let layout = &self.network.layout;
        let layers = layout.layers();
        let u = format.roundoff;
        // Errors of z and a.
        let (mut ez, mut ea): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
        ea.push(trace.a[0].iter().map(|a| u * a.abs()).collect());
        for layer in 0..layers {
            let weights = self.theta.weights(layer);
            let mut errors = Vec::new();
            for (unit, weights) in weights.outer_iter().enumerate() {
                let of_inputs: f64 = weights
                    .iter()
                    .zip(&ea[layer])
                    .map(|(w, e)| (w * e).powi(2))
                    .sum();
                let walk = if format.foreign {
                    // Another order has other partial sums: none beyond the sum of magnitudes.
                    let terms = weights.iter().zip(&trace.a[layer]);
                    let sum: f64 = terms.map(|(w, a)| (w * a).abs()).sum();
                    let biases = self.theta.biases(layer);
                    let n = weights.len() as f64;
                    n.min(CHAIN * n.sqrt()) / CHAIN
                        * (sum + biases.get(unit).map_or(0.0, |bias| bias.abs()))
                } else {
                    trace.walk[layer][unit]
                };
                errors.push(
                    u * (trace.z[layer][unit].abs() + CHAIN * walk) + CHAIN * of_inputs.sqrt(),
                );
            }
            let values = errors.iter().enumerate().map(|(unit, &error)| {
                off(trace.slope(layer, unit), error, 0.0).min(1.0)
                    + ELEMENTARY * u * trace.y[layer][unit]
                    + clamped(trace.z[layer][unit], format)
            });
            ea.push(values.collect());
            ez.push(errors);
        }
        // Errors of δ, downward.
        let mut errors = self.output_errors(trace, format, &ez[layers - 1]);
        if let Some(h) = h {
            for (unit, error) in errors.iter_mut().enumerate() {
                *error += self.quotient_of_loss(trace, unit, format, h);
            }
        }
        for layer in (0..layers).rev() {
            self.add_products(trace, layer, format, &errors, &ea[layer], bounds);
            if layer == 0 {
                break;
            }
            let below = layer - 1;
            let weights = self.theta.weights(layer);
            let mut next = Vec::new();
            for unit in 0..trace.z[below].len() {
                let (mut sum, mut squares, mut walk) = (0.0, 0.0, 0.0);
                for (above, error) in errors.iter().enumerate() {
                    let w = weights[[above, unit]].abs();
                    sum += w * error;
                    squares += (w * error).powi(2);
                    walk += (w * trace.delta[layer][above]).powi(2);
                }
                let n = errors.len() as f64;
                let through = smaller(sum, squares) + u * n.min(CHAIN * n.sqrt()) * f64::sqrt(walk);
                let slope = trace.slope(below, unit);
                let pull = trace.pull[below][unit].abs();
                let lost = clamped(trace.z[below][unit], format)
                    + if format.foreign { 2.0 * u } else { 0.0 }
                    + h.map_or(0.0, |h| quotient_of_sigmoid(trace, below, unit, format, h));
                // σ′ is never above 1/4.
                let error = off(slope, ez[below][unit], ELEMENTARY * u).min(0.25) + lost;
                next.push((slope + error) * through + pull * error);
            }
            errors = next;
        }
        ea
    }

    /// Errors of δ in the last layer, from those of z.
    fn output_errors(&self, trace: &SamplePass, format: NumberFormat, ez: &[f64]) -> Vec<f64> {
        let last = trace.z.len() - 1;
        let u = format.roundoff;
        let largest = ez.iter().copied().fold(0.0, f64::max);
        let z = || trace.z[last].iter().copied();
        let highest = z().fold(0.0, |most: f64, z| most.max(z.abs()));
        // Softmax clamps the distance from the largest.
        let spread = spread(&trace.z[last]);
        (0..ez.len())
            .map(|unit| {
                let (y, complement) = (trace.y[last][unit], trace.complement[last][unit]);
                let delta = trace.delta[last][unit].abs();
                let absolute = clamped(trace.z[last][unit], format)
                    + if format.foreign { 2.0 * u } else { 0.0 };
                match self.network.head() {
                    // Two slopes and a residual, each relative to itself.
                    OutputLoss::SigmoidQuadratic => {
                        off(delta, 3.0 * ez[unit], 3.0 * ELEMENTARY * u).min(1.0) + 2.0 * absolute
                    }
                    OutputLoss::LinearQuadratic => ez[unit] + ELEMENTARY * u * (delta + 1.0),
                    OutputLoss::SoftmaxCrossEntropy => {
                        let n = ez.len() as f64;
                        let rounded = u * (2.0 * ELEMENTARY + n + highest * 2.0);
                        let lost = n * clamped(spread, format);
                        let tail = y.min(complement).max(delta.min(1.0));
                        off(tail, 2.0 * largest, rounded).min(1.0) + absolute + lost
                    }
                    _ => off(delta, ez[unit], ELEMENTARY * u).min(1.0) + absolute,
                }
            })
            .collect()
    }

    /// Adds errors of δ·a: `errors` of δ, `ea` of a, and the sum's own.
    fn add_products(
        &self,
        trace: &SamplePass,
        layer: usize,
        format: NumberFormat,
        errors: &[f64],
        ea: &[f64],
        bounds: &mut [f64],
    ) {
        let layout = &self.network.layout;
        let rows = self.traces.len() as f64;
        let sums = format.roundoff * (ELEMENTARY + rows.min(CHAIN * rows.sqrt()));
        let fan_in = layout.sizes()[layer];
        let weights = &mut bounds[layout.weights(layer)];
        for (unit, row) in weights.chunks_exact_mut(fan_in).enumerate() {
            let delta = trace.delta[layer][unit].abs();
            let per_input = errors[unit] + sums * delta;
            for ((bound, a), e) in row.iter_mut().zip(&trace.a[layer]).zip(ea) {
                *bound += per_input * (a.abs() + e) + delta * e;
            }
        }
        for (unit, bound) in bounds[layout.biases(layer)].iter_mut().enumerate() {
            *bound += errors[unit] + sums * trace.delta[layer][unit].abs();
        }
    }
}

/// What a tail of e^−|z| is off where its z is off by `error`, and it is `rounded` itself: in all
/// e^error − 1 times as much, or infinitely, also of what has underflowed to 0 here.
fn off(tail: f64, error: f64, rounded: f64) -> f64 {
    tail.max(f64::MIN_POSITIVE) * (error.exp_m1() + rounded)
}

/// How far the largest z is from the smallest.
pub(super) fn spread(z: &[f64]) -> f64 {
    let z = || z.iter().copied();
    z().fold(f64::NEG_INFINITY, f64::max) - z().fold(f64::INFINITY, f64::min)
}

/// What σ(z), 1 − σ(z) and σ′(z) may be off where z lies beyond the clamp.
pub(super) fn clamped(z: f64, format: NumberFormat) -> f64 {
    if z.abs() > format.clamp {
        2.0 * (-format.clamp).exp()
    } else {
        0.0
    }
}
