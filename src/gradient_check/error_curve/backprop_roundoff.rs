//! What a gradient in some precision is typically off by on its own account: its z and a are those
//! of this precision, and every product on the way is rounded. What a difference without
//! cancellation comes down to, and backprop.
//!
//! Squares of errors are carried through the forward and the backward pass as if independent; a
//! rounding of x errs by q²/12 in the mean square, between .06·u²x² and .33·u²x² as x lies between two
//! powers of two, [`ROUNDING`]·u²x² on the whole.

use super::perturbed_roundoff::chains;
use crate::gradient_check::number_format::NumberFormat;
use crate::gradient_check::sample_pass::{SamplePass, is_hot};
use crate::model::{Network, Parameters};
use crate::numeric::output_loss::OutputLoss;

/// E q²/(12·u²x²): of a significand whose logarithm is spread evenly.
const ROUNDING: f64 = 0.18;
/// Roundings of σ′ and of the product with it, or of a residual.
const PRODUCTS: f64 = 6.0;

/// Adds the expected squares of errors of one sample's δ_j·a_i to `squares`, `(N,)`.
///
/// `shared`: what it is compared with has the same bits of z and a, and rounds its own products, so
/// that these count twice and those not at all.
pub(super) fn add(
    network: &Network,
    theta: &Parameters<f64>,
    trace: &SamplePass,
    format: NumberFormat,
    shared: bool,
    squares: &mut [f64],
) {
    let layout = &network.layout;
    let layers = layout.layers();
    let u2 = format.roundoff * format.roundoff;
    let [forward, both] = if shared { [0.0, 2.0] } else { [1.0, 1.0] };
    let chains = chains(theta, trace, format);
    let (mut of_z, mut of_a): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
    of_a.push(
        (trace.a[0].iter())
            .map(|a| forward * (format.nearest(*a) - a).powi(2))
            .collect(),
    );
    for layer in 0..layers {
        let fan_in = trace.a[layer].len();
        let squares: Vec<f64> = theta
            .weights(layer)
            .outer_iter()
            .enumerate()
            .map(|(unit, weights)| {
                let below = weights.iter().zip(&of_a[layer]);
                let handed: f64 = below.map(|(w, square)| w * w * square).sum();
                forward * chains[layer][unit * fan_in][1] / 2.0 + handed
            })
            .collect();
        of_a.push(
            (squares.iter().enumerate())
                .map(|(unit, square)| {
                    let rounded = 3.0 * ROUNDING * u2 * trace.y[layer][unit].powi(2);
                    trace.slope(layer, unit).powi(2) * square + forward * rounded
                })
                .collect(),
        );
        of_z.push(squares);
    }
    let mut errors = of_outputs(network.head(), trace, &of_z[layers - 1]);
    for (error, delta) in errors.iter_mut().zip(&trace.delta[layers - 1]) {
        *error += both * PRODUCTS * ROUNDING * u2 * delta * delta;
    }
    for layer in (0..layers).rev() {
        let (weights, biases) = (layout.weights(layer), layout.biases(layer));
        let inputs = trace.a[layer].len();
        for (unit, error) in errors.iter().enumerate() {
            let delta = trace.delta[layer][unit].powi(2);
            let start = weights.start + unit * inputs;
            let own = squares[start..].iter_mut();
            for ((square, a), of_a) in own.zip(&trace.a[layer]).zip(&of_a[layer]) {
                let product = both * ROUNDING * u2 * delta;
                *square += (error + product) * a * a + delta * of_a;
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
        errors = (0..trace.z[below].len())
            .map(|unit| {
                let (mut handed, mut sum, mut rounded) = (0.0, 0.0, 0.0);
                for (above, error) in errors.iter().enumerate() {
                    let w = theta[[above, unit]];
                    handed += w * w * error;
                    sum += w * trace.delta[layer][above];
                    rounded += both * ROUNDING * u2 * sum * sum;
                }
                let slope = trace.slope(below, unit);
                let tilt = trace.complement[below][unit] - trace.y[below][unit];
                let pull = trace.pull[below][unit];
                slope * slope * (handed + rounded)
                    + (slope * tilt * pull).powi(2) * of_z[below][unit]
                    + both * PRODUCTS * ROUNDING * u2 * trace.delta[below][unit].powi(2)
            })
            .collect();
    }
}

/// What the sum over `rows` rows, the mean and the quotient add, relative to a derivative: u²·…
pub(super) fn of_sums(rows: usize, format: NumberFormat, shared: bool) -> f64 {
    let both = if shared { 2.0 } else { 1.0 };
    // Partial sums grow evenly, if at all: Σ (b/B)² = B/3.
    both * ROUNDING * format.roundoff.powi(2) * (rows as f64 / 3.0 + 2.0)
}

/// Of δ in the last layer, from those of z.
fn of_outputs(head: OutputLoss, trace: &SamplePass, of_z: &[f64]) -> Vec<f64> {
    let last = trace.z.len() - 1;
    let of_unit = |unit: usize| {
        let (y, complement) = (trace.y[last][unit], trace.complement[last][unit]);
        let slope = trace.slope(last, unit);
        let bend = match head {
            OutputLoss::SigmoidQuadratic => {
                let hot = is_hot(head, trace.label, unit);
                let residual = if hot { -complement } else { y };
                slope * slope + residual * slope * (complement - y)
            }
            OutputLoss::LinearQuadratic => 1.0,
            OutputLoss::SoftmaxCrossEntropy => {
                let others = of_z.iter().zip(&trace.y[last]).enumerate();
                return others
                    .map(|(other, (square, p))| {
                        let bend = if other == unit { y * complement } else { y * p };
                        bend * bend * square
                    })
                    .sum();
            }
            _ => slope,
        };
        bend * bend * of_z[unit]
    };
    (0..of_z.len()).map(of_unit).collect()
}
