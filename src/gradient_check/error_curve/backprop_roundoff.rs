//! The typical round-off of a gradient by backprop in a given precision: its z and a are computed
//! in that precision, and every product is rounded. A cancellation-free difference has the same
//! error.
//!
//! Squared errors are propagated through the forward and the backward pass as if independent. The
//! mean square of a rounding of x is q²/12, between 0.08·u²x² and 0.33·u²x² depending on the
//! position of x between two powers of two; on average it is [`ROUNDING`]·u²x².

use super::perturbed_roundoff::chains;
use crate::gradient_check::number_format::NumberFormat;
use crate::gradient_check::sample_pass::{SamplePass, is_hot};
use crate::model::{Network, Parameters};
use crate::numeric::output_loss::OutputLoss;

/// E q²/(12·u²x²), for a significand whose logarithm is uniformly distributed.
const ROUNDING: f64 = 0.18;
/// Number of roundings of σ′ and of the product with it, or of a residual.
const PRODUCTS: f64 = 6.0;

/// Adds the expected squared errors of one sample's δ_j·a_i to `squares`, `(N,)`.
///
/// `shared` states that the reference gradient has the same bits of z and a, and rounds products of
/// its own: then the errors of z and a do not count, and those of the products count twice.
pub(super) fn add_squared_errors(
    network: &Network,
    theta: &Parameters<f64>,
    pass: &SamplePass,
    format: NumberFormat,
    shared: bool,
    squares: &mut [f64],
) {
    let layout = &network.layout;
    let layers = layout.layers();
    let u2 = format.roundoff * format.roundoff;
    let [forward, both] = if shared { [0.0, 2.0] } else { [1.0, 1.0] };
    let chains = chains(theta, pass, format);
    let (mut z_errors, mut a_errors): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
    a_errors.push(
        (pass.a[0].iter())
            .map(|a| forward * (format.nearest(*a) - a).powi(2))
            .collect(),
    );
    for layer in 0..layers {
        let fan_in = pass.a[layer].len();
        let squares: Vec<f64> = theta
            .weights(layer)
            .outer_iter()
            .enumerate()
            .map(|(unit, weights)| {
                let below = weights.iter().zip(&a_errors[layer]);
                let propagated: f64 = below.map(|(w, square)| w * w * square).sum();
                forward * chains[layer][unit * fan_in][1] / 2.0 + propagated
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
    let mut errors = output_errors(network.output_loss(), pass, &z_errors[layers - 1]);
    for (error, delta) in errors.iter_mut().zip(&pass.delta[layers - 1]) {
        *error += both * PRODUCTS * ROUNDING * u2 * delta * delta;
    }
    for layer in (0..layers).rev() {
        let (weights, biases) = (layout.weights(layer), layout.biases(layer));
        let inputs = pass.a[layer].len();
        for (unit, error) in errors.iter().enumerate() {
            let delta = pass.delta[layer][unit].powi(2);
            let start = weights.start + unit * inputs;
            let row = squares[start..].iter_mut();
            for ((square, a), a_error) in row.zip(&pass.a[layer]).zip(&a_errors[layer]) {
                let product = both * ROUNDING * u2 * delta;
                *square += (error + product) * a * a + delta * a_error;
            }
            if layout.has_bias() {
                squares[biases.start + unit] += error;
            }
        }
        if layer == 0 {
            break;
        }
        let below = layer - 1;
        let theta = theta.weights(layer);
        errors = (0..pass.z[below].len())
            .map(|unit| {
                let (mut propagated, mut sum, mut rounded) = (0.0, 0.0, 0.0);
                for (above, error) in errors.iter().enumerate() {
                    let w = theta[[above, unit]];
                    propagated += w * w * error;
                    sum += w * pass.delta[layer][above];
                    rounded += both * ROUNDING * u2 * sum * sum;
                }
                let slope = pass.slope(below, unit);
                let tilt = pass.one_minus_y[below][unit] - pass.y[below][unit];
                let activation_gradient = pass.activation_gradient[below][unit];
                slope * slope * (propagated + rounded)
                    + (slope * tilt * activation_gradient).powi(2) * z_errors[below][unit]
                    + both * PRODUCTS * ROUNDING * u2 * pass.delta[below][unit].powi(2)
            })
            .collect();
    }
}

/// Returns the expected squared error that the sum over `rows` rows, the mean and the quotient add,
/// relative to the square of a derivative.
pub(super) fn summation_error(rows: usize, format: NumberFormat, shared: bool) -> f64 {
    let both = if shared { 2.0 } else { 1.0 };
    // Partial sums grow evenly, if at all: Σ (b/B)² = B/3.
    both * ROUNDING * format.roundoff.powi(2) * (rows as f64 / 3.0 + 2.0)
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
