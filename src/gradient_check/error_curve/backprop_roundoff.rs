//! The typical round-off of a gradient by backprop in a given precision: its z and a are computed
//! in that precision, and every product is rounded. A cancellation-free difference has the same
//! error.
//!
//! Squared errors are propagated through the forward and the backward pass as if independent. The
//! mean square of a rounding of x is q²/12, between 0.08·u²x² and 0.33·u²x² depending on the
//! position of x between two powers of two; on average it is [`ROUNDING`]·u²x².
//!
//! Equal numbers round alike: the errors of m equal rows, or of m units with equal activations, add
//! up to m times one of them, so each of their squares counts m times (`Repeats`).
//!
//! Another program sums in another order, which changes the partial sums, and may get 1 − a by a
//! subtraction. A sum S of n terms t in any order has Σ s² of about n·(S²/3 + Σt²/4) over its
//! partial sums s.

use super::perturbed_roundoff::chains;
use super::repeats::Repeats;
use crate::gradient_check::number_format::NumberFormat;
use crate::gradient_check::sample_pass::{SamplePass, is_hot};
use crate::model::{Layout, Network, Parameters};
use crate::numeric::output_loss::OutputLoss;

/// E q²/(12·u²x²), for a significand whose logarithm is uniformly distributed.
const ROUNDING: f64 = 0.18;
/// Number of roundings of σ′ and of the product with it, or of a residual.
const PRODUCTS: f64 = 6.0;

/// The round-off of one gradient by backprop.
pub(super) struct BackpropRoundoff<'a> {
    pub network: &'a Network,
    pub theta: &'a Parameters<f64>,
    pub format: NumberFormat,
    /// Whether the reference gradient has the same bits of z and a, and rounds products of its own:
    /// then the errors of z and a do not count, and those of the products count twice.
    pub shared: bool,
}

/// Expected squares of the errors of a gradient.
pub(in crate::gradient_check) struct ExpectedSquares {
    /// Of each derivative, `(N,)`.
    pub squares: Vec<f64>,
    /// The largest of any z. The errors of δ and a follow from it by the chain rule, which holds
    /// for small errors only.
    pub largest_z: f64,
}

impl BackpropRoundoff<'_> {
    /// Computes the expected squares of the mean over the rows of `passes`.
    pub(super) fn expected_squares(&self, passes: &[SamplePass]) -> ExpectedSquares {
        let layout = &self.network.layout;
        let mut found = ExpectedSquares {
            squares: vec![0.0; layout.len()],
            largest_z: 0.0,
        };
        // Sums over the rows, the squares of their partial sums, and those of their terms.
        let [mut sums, mut partial, mut terms] = [(); 3].map(|()| vec![0.0; layout.len()]);
        let repeats = Repeats::of(passes);
        for (pass, repeats) in passes.iter().zip(&repeats) {
            self.add_squared_errors(pass, repeats, &mut found);
            for_each_product(layout, pass, |index, product| {
                sums[index] += product;
                partial[index] += repeats.rows * sums[index] * sums[index];
                terms[index] += product * product;
            });
        }
        let rows = passes.len() as f64;
        let u2 = self.both() * ROUNDING * self.format.roundoff.powi(2);
        for (index, square) in found.squares.iter_mut().enumerate() {
            let total = sums[index] * sums[index];
            let in_order = partial[index];
            let summed = if self.format.foreign {
                in_order.max(any_order(rows, total, terms[index]))
            } else {
                in_order
            };
            // The mean and the quotient are rounded once each.
            *square = (*square + u2 * (summed + 2.0 * total)) / (rows * rows);
        }
        let l2 = self.network.l2;
        for index in (0..layout.layers()).flat_map(|layer| layout.weights(layer)) {
            let penalty = l2 * self.theta.flat()[index];
            found.squares[index] += 2.0 * u2 * penalty * penalty;
        }
        found
    }

    fn both(&self) -> f64 {
        if self.shared { 2.0 } else { 1.0 }
    }

    /// Computes the expected squares of z and a of one sample.
    fn forward_errors(&self, pass: &SamplePass, repeats: &Repeats) -> [Vec<Vec<f64>>; 2] {
        let (theta, format) = (self.theta, self.format);
        let u2 = format.roundoff * format.roundoff;
        let forward = if self.shared { 0.0 } else { 1.0 };
        let chains = chains(theta, pass, format);
        let (mut z_errors, mut a_errors): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
        a_errors.push(
            (pass.a[0].iter())
                .map(|a| {
                    // Another program may scale the inputs by several operations.
                    let scaled = if format.foreign {
                        4.0 * ROUNDING * u2 * a * a
                    } else {
                        0.0
                    };
                    forward * (format.nearest(*a) - a).powi(2) + scaled
                })
                .collect(),
        );
        for layer in 0..pass.z.len() {
            let fan_in = pass.a[layer].len();
            let weights = theta.weights(layer);
            let units = weights.outer_iter().enumerate();
            let squares: Vec<f64> = units
                .map(|(unit, weights)| {
                    let below = weights.iter().zip(&a_errors[layer]).enumerate();
                    let propagated: f64 = below
                        .map(|(k, (w, square))| w * w * square * repeats.units(layer, k))
                        .sum();
                    let mut chain = chains[layer][unit * fan_in][1] / 2.0;
                    if format.foreign {
                        let products = weights.iter().zip(&pass.a[layer]).map(|(w, a)| w * a);
                        let squares: f64 = products.map(|product| product * product).sum();
                        let total = pass.z[layer][unit].powi(2);
                        let any_order = any_order(fan_in as f64, total, squares) + squares;
                        chain = chain.max(ROUNDING * u2 * any_order);
                    }
                    forward * chain + propagated
                })
                .collect();
            a_errors.push(
                (squares.iter().enumerate())
                    .map(|(unit, square)| {
                        let rounded = 3.0 * ROUNDING * u2 * pass.y[layer][unit].powi(2);
                        pass.slope(layer, unit).powi(2) * square + forward * rounded
                    })
                    .collect(),
            );
            z_errors.push(squares);
        }
        [z_errors, a_errors]
    }

    /// Adds the expected squared errors of one sample's δ_j·a_i.
    fn add_squared_errors(
        &self,
        pass: &SamplePass,
        repeats: &Repeats,
        found: &mut ExpectedSquares,
    ) {
        let layout = &self.network.layout;
        let layers = layout.layers();
        let u2 = self.format.roundoff * self.format.roundoff;
        let both = self.both();
        // The error of 1 − a, if it is a difference.
        let subtracted = if self.format.foreign {
            4.0 * ROUNDING * u2
        } else {
            0.0
        };
        // Products that underflow.
        let lost = 4.0 * self.format.tiny * self.format.tiny;
        let [z_errors, a_errors] = self.forward_errors(pass, repeats);
        let largest = z_errors.iter().flatten().copied().fold(0.0, f64::max);
        found.largest_z = found.largest_z.max(largest);
        let mut errors = output_errors(self.network.output_loss(), pass, &z_errors[layers - 1]);
        let exponents = exponent_errors(self.network.output_loss(), pass);
        for (unit, error) in errors.iter_mut().enumerate() {
            let delta = pass.delta[layers - 1][unit];
            let products = PRODUCTS * delta * delta + exponents[unit];
            *error += both * ROUNDING * u2 * products + subtracted + lost;
        }
        for layer in (0..layers).rev() {
            let (weights, biases) = (layout.weights(layer), layout.biases(layer));
            let inputs = pass.a[layer].len();
            for (unit, error) in errors.iter().enumerate() {
                let delta = pass.delta[layer][unit].powi(2);
                let start = weights.start + unit * inputs;
                let row = found.squares[start..].iter_mut();
                for ((square, a), a_error) in row.zip(&pass.a[layer]).zip(&a_errors[layer]) {
                    let product = both * ROUNDING * u2 * delta;
                    *square += repeats.rows * ((error + product) * a * a + delta * a_error);
                }
                if layout.has_bias() {
                    found.squares[biases.start + unit] += repeats.rows * error;
                }
            }
            if layer == 0 {
                break;
            }
            let below = layer - 1;
            let theta = self.theta.weights(layer);
            errors = (0..pass.z[below].len())
                .map(|unit| {
                    let (mut propagated, mut sum) = (0.0, 0.0);
                    let (mut partial, mut terms) = (0.0, 0.0);
                    for (above, error) in errors.iter().enumerate() {
                        let w = theta[[above, unit]];
                        propagated += w * w * error * repeats.units(layer + 1, above);
                        let term = w * pass.delta[layer][above];
                        sum += term;
                        partial += sum * sum;
                        terms += term * term;
                    }
                    if self.format.foreign {
                        let any_order = any_order(errors.len() as f64, sum * sum, terms);
                        partial = partial.max(any_order + terms);
                    }
                    let rounded = both * ROUNDING * u2 * partial;
                    let slope = pass.slope(below, unit);
                    let tilt = pass.one_minus_y[below][unit] - pass.y[below][unit];
                    let activation_gradient = pass.activation_gradient[below][unit];
                    slope * slope * (propagated + rounded)
                        + (slope * tilt * activation_gradient).powi(2) * z_errors[below][unit]
                        + both * PRODUCTS * ROUNDING * u2 * pass.delta[below][unit].powi(2)
                        + subtracted * activation_gradient.powi(2)
                        + lost
                })
                .collect();
        }
    }
}

/// Returns Σ s² over the partial sums s of `n` terms in any order, whose sum has the square `total`
/// and whose squares sum to `terms`.
fn any_order(n: f64, total: f64, terms: f64) -> f64 {
    n * (total / 3.0 + terms / 4.0)
}

/// Calls `visit` with the index of every parameter and δ_j·a_i of a sample.
fn for_each_product(layout: &Layout, pass: &SamplePass, mut visit: impl FnMut(usize, f64)) {
    for layer in 0..layout.layers() {
        let (weights, biases) = (layout.weights(layer), layout.biases(layer));
        let inputs = pass.a[layer].len();
        for (unit, delta) in pass.delta[layer].iter().enumerate() {
            let start = weights.start + unit * inputs;
            for (at, a) in pass.a[layer].iter().enumerate() {
                visit(start + at, delta * a);
            }
            if layout.has_bias() {
                visit(biases.start + unit, *delta);
            }
        }
    }
}

/// Computes the expected squared errors of δ in the last layer from those of z.
fn output_errors(output_loss: OutputLoss, pass: &SamplePass, z_errors: &[f64]) -> Vec<f64> {
    let last = pass.z.len() - 1;
    let unit_error = |unit: usize| {
        let (y, one_minus_y) = (pass.y[last][unit], pass.one_minus_y[last][unit]);
        let slope = pass.slope(last, unit);
        let bend = match output_loss {
            OutputLoss::SigmoidQuadratic => {
                let hot = is_hot(output_loss, pass.label, unit);
                let residual = if hot { -one_minus_y } else { y };
                slope * slope + residual * slope * (one_minus_y - y)
            }
            OutputLoss::LinearQuadratic => 1.0,
            OutputLoss::SoftmaxCrossEntropy => {
                let others = z_errors.iter().zip(&pass.y[last]).enumerate();
                return others
                    .map(|(other, (square, p))| {
                        let bend = if other == unit {
                            y * one_minus_y
                        } else {
                            y * p
                        };
                        (bend * pass.weight).powi(2) * square
                    })
                    .sum();
            }
            _ => slope,
        };
        (bend * pass.weight).powi(2) * z_errors[unit]
    };
    (0..z_errors.len()).map(unit_error).collect()
}

/// Computes the squared errors of a softmax's δ from the rounding of z − max z, which the
/// exponential magnifies, in u².
fn exponent_errors(output_loss: OutputLoss, pass: &SamplePass) -> Vec<f64> {
    let last = pass.z.len() - 1;
    let (z, p) = (&pass.z[last], &pass.y[last]);
    if output_loss != OutputLoss::SoftmaxCrossEntropy {
        return vec![0.0; z.len()];
    }
    let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let errors: Vec<f64> = z
        .iter()
        .zip(p)
        .map(|(z, p)| (p * (z - largest)).powi(2))
        .collect();
    let of_sum: f64 = errors.iter().sum();
    errors
        .iter()
        .zip(p)
        .map(|(error, p)| error + p * p * of_sum)
        .collect()
}
