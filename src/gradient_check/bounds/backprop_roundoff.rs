//! Bounds on the round-off of backprop in a number format: the errors of z, a and every product are
//! propagated through a forward and a backward pass. Finite differences contain the same errors,
//! since their losses are computed from the same z and a.

use super::quotients::sigmoid_quotient_error;
use super::{CHAIN, ELEMENTARY, ErrorBounds, smaller};
use crate::gradient_check::number_format::NumberFormat;
use crate::gradient_check::sample_pass::SamplePass;
use crate::numeric::output_loss::OutputLoss;

impl ErrorBounds<'_> {
    /// Adds one sample's round-off in a backward pass in `format` to `bounds`, `(N,)`. With `h`, σ′
    /// and the outputs' δ are difference quotients over h. Returns error bounds of a, layer by
    /// layer.
    pub(super) fn add_backprop_roundoff(
        &self,
        pass: &SamplePass,
        format: NumberFormat,
        h: Option<f64>,
        bounds: &mut [f64],
    ) -> Vec<Vec<f64>> {
        let layout = &self.network.layout;
        let layers = layout.layers();
        let u = format.roundoff;
        // Error bounds of z and a.
        let (mut ez, mut ea): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
        ea.push(pass.a[0].iter().map(|a| u * a.abs()).collect());
        for layer in 0..layers {
            let weights = self.theta.weights(layer);
            let mut errors = Vec::new();
            for (unit, weights) in weights.outer_iter().enumerate() {
                let input_errors: f64 = weights
                    .iter()
                    .zip(&ea[layer])
                    .map(|(w, e)| (w * e).powi(2))
                    .sum();
                let partial_sum_norm = if format.foreign {
                    // In another order the partial sums differ; none exceeds the sum of magnitudes.
                    let terms = weights.iter().zip(&pass.a[layer]);
                    let sum: f64 = terms.map(|(w, a)| (w * a).abs()).sum();
                    let biases = self.theta.biases(layer);
                    let n = weights.len() as f64;
                    n.min(CHAIN * n.sqrt()) / CHAIN
                        * (sum + biases.get(unit).map_or(0.0, |bias| bias.abs()))
                } else {
                    pass.partial_sum_norm[layer][unit]
                };
                errors.push(
                    u * (pass.z[layer][unit].abs() + CHAIN * partial_sum_norm)
                        + CHAIN * input_errors.sqrt(),
                );
            }
            let values = errors.iter().enumerate().map(|(unit, &error)| {
                decaying_error(pass.slope(layer, unit), error, 0.0).min(1.0)
                    + ELEMENTARY * u * pass.y[layer][unit]
                    + clamped(pass.z[layer][unit], format)
            });
            ea.push(values.collect());
            ez.push(errors);
        }
        // Error bounds of δ, from the outputs down.
        let mut errors = self.output_errors(pass, format, &ez[layers - 1]);
        if let Some(h) = h {
            for (unit, error) in errors.iter_mut().enumerate() {
                *error += self.loss_quotient_error(pass, unit, format, h);
            }
        }
        for layer in (0..layers).rev() {
            self.add_products(pass, layer, format, &errors, &ea[layer], bounds);
            if layer == 0 {
                break;
            }
            let below = layer - 1;
            let weights = self.theta.weights(layer);
            let mut next = Vec::new();
            for unit in 0..pass.z[below].len() {
                let (mut sum, mut squares, mut partial_sum_norm) = (0.0, 0.0, 0.0);
                for (above, error) in errors.iter().enumerate() {
                    let w = weights[[above, unit]].abs();
                    sum += w * error;
                    squares += (w * error).powi(2);
                    partial_sum_norm += (w * pass.delta[layer][above]).powi(2);
                }
                let n = errors.len() as f64;
                let through = smaller(sum, squares)
                    + u * n.min(CHAIN * n.sqrt()) * f64::sqrt(partial_sum_norm);
                let slope = pass.slope(below, unit);
                let activation_gradient = pass.activation_gradient[below][unit].abs();
                let lost = clamped(pass.z[below][unit], format)
                    + if format.foreign { 2.0 * u } else { 0.0 }
                    + h.map_or(0.0, |h| {
                        sigmoid_quotient_error(pass, below, unit, format, h)
                    });
                // σ′ is at most 1/4.
                let error = decaying_error(slope, ez[below][unit], ELEMENTARY * u).min(0.25) + lost;
                next.push((slope + error) * through + activation_gradient * error);
            }
            errors = next;
        }
        ea
    }

    /// Computes error bounds of δ in the last layer from the error bounds `ez` of z.
    fn output_errors(&self, pass: &SamplePass, format: NumberFormat, ez: &[f64]) -> Vec<f64> {
        let errors = self.unweighted_output_errors(pass, format, ez);
        if self.network.class_weights.is_empty() {
            return errors;
        }
        // The factor, its product with 1/B, and the product with δ are rounded.
        let deltas = &pass.delta[pass.z.len() - 1];
        let weighted = errors.iter().zip(deltas);
        weighted
            .map(|(error, delta)| error * pass.weight + 3.0 * format.roundoff * delta.abs())
            .collect()
    }

    /// Computes the same bounds for a sample whose factor is 1.
    fn unweighted_output_errors(
        &self,
        pass: &SamplePass,
        format: NumberFormat,
        ez: &[f64],
    ) -> Vec<f64> {
        let last = pass.z.len() - 1;
        let u = format.roundoff;
        let largest = ez.iter().copied().fold(0.0, f64::max);
        let z = || pass.z[last].iter().copied();
        let highest = z().fold(0.0, |most: f64, z| most.max(z.abs()));
        // Softmax clamps the distance from the largest z.
        let spread = spread(&pass.z[last]);
        (0..ez.len())
            .map(|unit| {
                let (y, one_minus_y) = (pass.y[last][unit], pass.one_minus_y[last][unit]);
                let delta = pass.delta[last][unit].abs() / pass.weight;
                let absolute = clamped(pass.z[last][unit], format)
                    + if format.foreign { 2.0 * u } else { 0.0 };
                match self.network.output_loss() {
                    // The product of two slopes and a residual, each with a relative error.
                    OutputLoss::SigmoidQuadratic => {
                        decaying_error(delta, 3.0 * ez[unit], 3.0 * ELEMENTARY * u).min(1.0)
                            + 2.0 * absolute
                    }
                    OutputLoss::LinearQuadratic => {
                        // The target is rounded, too.
                        let target = pass.targets[unit].abs().max(1.0);
                        ez[unit] + ELEMENTARY * u * (delta + target)
                    }
                    OutputLoss::SoftmaxCrossEntropy => {
                        let n = ez.len() as f64;
                        let rounded = u * (2.0 * ELEMENTARY + n + highest * 2.0);
                        let lost = n * clamped(spread, format);
                        let value = y.min(one_minus_y).max(delta.min(1.0));
                        decaying_error(value, 2.0 * largest, rounded).min(1.0) + absolute + lost
                    }
                    _ => decaying_error(delta, ez[unit], ELEMENTARY * u).min(1.0) + absolute,
                }
            })
            .collect()
    }

    /// Adds error bounds of δ·a, from the bounds `errors` of δ and `ea` of a, and the round-off of
    /// the sum over the rows.
    fn add_products(
        &self,
        pass: &SamplePass,
        layer: usize,
        format: NumberFormat,
        errors: &[f64],
        ea: &[f64],
        bounds: &mut [f64],
    ) {
        let layout = &self.network.layout;
        let rows = self.passes.len() as f64;
        let sums = format.roundoff * (ELEMENTARY + rows.min(CHAIN * rows.sqrt()));
        let fan_in = layout.sizes()[layer];
        let weights = &mut bounds[layout.weights(layer)];
        for (unit, row) in weights.chunks_exact_mut(fan_in).enumerate() {
            let delta = pass.delta[layer][unit].abs();
            let per_input = errors[unit] + sums * delta;
            for ((bound, a), e) in row.iter_mut().zip(&pass.a[layer]).zip(ea) {
                *bound += per_input * (a.abs() + e) + delta * e;
            }
        }
        for (unit, bound) in bounds[layout.biases(layer)].iter_mut().enumerate() {
            *bound += errors[unit] + sums * pass.delta[layer][unit].abs();
        }
    }
}

/// Bounds the error of a quantity that decays like e^−|z| if z has the error `error` and the
/// quantity itself the relative error `rounded`: e^error − 1 + `rounded` times the quantity, or ∞.
/// A quantity that underflowed to 0 counts as the smallest normal number.
fn decaying_error(value: f64, error: f64, rounded: f64) -> f64 {
    value.max(f64::MIN_POSITIVE) * (error.exp_m1() + rounded)
}

/// Returns the difference of the largest z and the smallest.
pub(super) fn spread(z: &[f64]) -> f64 {
    let z = || z.iter().copied();
    z().fold(f64::NEG_INFINITY, f64::max) - z().fold(f64::INFINITY, f64::min)
}

/// Bounds the errors of σ(z), 1 − σ(z) and σ′(z) where z lies beyond the clamp; 0 elsewhere.
pub(super) fn clamped(z: f64, format: NumberFormat) -> f64 {
    if z.abs() > format.clamp {
        2.0 * (-format.clamp).exp()
    } else {
        0.0
    }
}
