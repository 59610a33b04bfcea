//! How far a finite difference may be from the derivative: truncation and round-off, per parameter,
//! from the loss's own derivatives and a running error analysis of the forward pass.
//!
//! Truncation (Taylor): a forward quotient errs by h/2·|L″| + h²/6·|L‴|, a central one by
//! h²/6·|L‴|, up to terms of the next order. L″ and L‴ along a parameter are differences of the
//! analytic gradient.
//!
//! Round-off in plain arithmetic: each of the two losses of a row is off by ε_s, their quotient by
//! 2ε_s/h. ε_s follows the pass (Higham, "Accuracy and Stability of Numerical Algorithms", section
//! 3.3): a sum of n products errs by (n + 2)·u·Σ|w·a| and hands on Σ|w|·err(a); σ, by at most 8 u
//! relative (`numeric/elementary.rs` tests 6 and 8), hands on σ′·err(z); the loss hands on
//! Σ|∂L/∂z|·err(z) and errs by its own rounding, (4 + n_L)·u of the summands.
//!
//! Round-off without cancellation: every operation keeps its relative precision, but sums of mixed
//! sign keep theirs relative to the sum of magnitudes: c·u times the gradient that backprop gives
//! with all signs positive, c the number of operations in a row on the longest way, about
//! Σ (n_l + 12). The activations that it starts from carry err(z), which σ′ and the errors feel
//! relatively once: the largest err(z) comes on top.
//!
//! Bounds are sums of worst cases; they hold norm against norm, ‖ĝ − g‖₂ ≤ ‖tolerance‖₂.

use nplus1::gradient::difference::{Arithmetic, DifferenceConfig, Scheme, Summation};
use nplus1::numeric::Real;
use nplus1::numeric::head::Head;

use super::reference::{Net, Sample, loss, loss_and_errors, sigmoid};

/// σ's relative error, in u.
const SIGMOID: f64 = 8.0;

/// Round-off of one row: of its loss, of its largest pre-activation.
struct RowNoise {
    loss: f64,
    largest: f64,
}

/// ε_s and max err(z), in a precision of unit round-off `u`.
fn row_noise(net: &Net, theta: &[f64], (inputs, label): &Sample, u: f64) -> RowNoise {
    let mut a = inputs.clone();
    let mut error: Vec<f64> = a.iter().map(|a| a.abs() * u).collect();
    let mut largest: f64 = 0.0;
    for l in 1..=net.layers() {
        let z = net.pre_activations(l, theta, &a);
        let fan_in = net.sizes[l - 1];
        let own = |j: usize| {
            let row = &theta[net.weights(l).start + j * fan_in..][..fan_in];
            let bias = if net.bias {
                theta[net.biases(l).start + j].abs()
            } else {
                0.0
            };
            let terms = row.iter().zip(&a).map(|(w, a)| (w * a).abs()).sum::<f64>() + bias;
            // Weights are rounded to this precision too.
            let handed: f64 = row.iter().zip(&error).map(|(w, e)| w.abs() * e).sum();
            (fan_in as f64 + 3.0) * u * terms + handed
        };
        let of_z: Vec<f64> = (0..z.len()).map(own).collect();
        largest = of_z.iter().fold(largest, |most, &e| most.max(e));
        if l == net.layers() {
            let (row_loss, errors) = loss_and_errors(net.head, &z, *label);
            let handed: f64 = errors.iter().zip(&of_z).map(|(d, e)| d.abs() * e).sum();
            // A quadratic loss of outputs that hit is flat there: the square of the error remains.
            let squares: f64 = of_z.iter().map(|e| e * e).sum();
            // A softmax adds and subtracts z themselves.
            let size = match net.head {
                Head::SoftmaxCrossEntropy => z.iter().fold(0.0f64, |most, z| most.max(z.abs())),
                _ => 0.0,
            };
            let own = (4.0 + z.len() as f64 + SIGMOID) * u * (row_loss.abs() + size);
            let loss = handed + squares + own;
            return RowNoise { loss, largest };
        }
        a = z.iter().map(|&z| sigmoid(z)).collect();
        error = (a.iter().zip(&of_z))
            .map(|(a, e)| a * (1.0 - a) * e + SIGMOID * u * a)
            .collect();
    }
    unreachable!("a network has a layer")
}

/// Backprop of one row with every sign positive.
fn magnitudes(net: &Net, theta: &[f64], sample: &Sample) -> Vec<f64> {
    let (a, top) = net.forward::<f64>(theta, &sample.0);
    let (_, errors) = loss_and_errors(net.head, &top, sample.1);
    let mut errors: Vec<f64> = errors.iter().map(|e| e.abs()).collect();
    let mut gradient = vec![0.0; net.parameters()];
    for l in (1..=net.layers()).rev() {
        let fan_in = net.sizes[l - 1];
        for (j, &error) in errors.iter().enumerate() {
            for i in 0..fan_in {
                gradient[net.weights(l).start + j * fan_in + i] = error * a[l - 1][i].abs();
            }
            if net.bias {
                gradient[net.biases(l).start + j] = error;
            }
        }
        if l > 1 {
            let into = |i: usize| -> f64 {
                let weight = |j: usize| theta[net.weights(l).start + j * fan_in + i].abs();
                (errors.iter().enumerate())
                    .map(|(j, e)| weight(j) * e)
                    .sum()
            };
            errors = (0..fan_in)
                .map(|i| into(i) * a[l - 1][i] * (1.0 - a[l - 1][i]))
                .collect();
        }
    }
    gradient
}

fn mean(rows: usize, of: impl Fn(usize) -> f64) -> f64 {
    (0..rows).map(of).sum::<f64>() / rows as f64
}

/// What each partial derivative by `config` with increments `h` may be off by for round-off alone.
pub fn round_off<R: Real>(
    net: &Net,
    theta: &[f64],
    batch: &[Sample],
    h: &[f64],
    config: &DifferenceConfig,
) -> Vec<f64> {
    let (u, rows) = (R::UNIT_ROUNDOFF, batch.len());
    let noise: Vec<RowNoise> = (batch.iter())
        .map(|sample| row_noise(net, theta, sample, u))
        .collect();
    let weights = || (1..=net.layers()).flat_map(|l| net.weights(l));
    let is_weight = |index: usize| (1..=net.layers()).any(|l| net.weights(l).contains(&index));
    // ½λ'·w² and its difference, of a weight.
    let penalty = |index: usize| match is_weight(index) {
        true => 4.0 * u * net.l2 * (theta[index].abs() + h[index]).powi(2),
        false => 0.0,
    };
    if config.arithmetic == Arithmetic::CancellationFree {
        let operations: f64 = net.sizes.iter().map(|&n| n as f64 + 12.0).sum();
        let largest = noise.iter().fold(0.0f64, |most, row| most.max(row.largest));
        let magnitudes: Vec<Vec<f64>> = (batch.iter())
            .map(|sample| magnitudes(net, theta, sample))
            .collect();
        return (0..theta.len())
            .map(|index| {
                let size = mean(rows, |s| magnitudes[s][index]);
                let penalty = if is_weight(index) {
                    net.l2 * theta[index].abs()
                } else {
                    0.0
                };
                ((operations + rows as f64) * u + 2.0 * largest) * size + 4.0 * u * penalty
            })
            .collect();
    }
    let of_loss = mean(rows, |s| noise[s].loss);
    let losses = mean(rows, |s| {
        loss(
            net.head,
            &net.forward::<f64>(theta, &batch[s].0).1,
            batch[s].1,
        )
        .abs()
    });
    let squares: f64 = weights().map(|index| theta[index].powi(2)).sum::<f64>() * net.l2 / 2.0;
    (0..theta.len())
        .map(|index| {
            let noise = match config.summation {
                // Each row's difference, then their sum.
                Summation::Differences => 2.0 * of_loss + 2.0 * penalty(index),
                // Sums of all rows' losses and of all squares.
                Summation::Losses => {
                    let squares = (net.sizes.iter().sum::<usize>() as f64 + 4.0) * squares;
                    2.0 * (of_loss + u * ((rows as f64 + 2.0) * losses + squares))
                }
            };
            let sides = if config.scheme == Scheme::Central {
                2.0
            } else {
                1.0
            };
            noise / (sides * h[index])
        })
        .collect()
}

/// What each partial derivative with increments `h` is off by for truncation.
pub fn truncation(
    net: &Net,
    theta: &[f64],
    batch: &[Sample],
    h: &[f64],
    scheme: Scheme,
) -> Vec<f64> {
    // Second differences of the gradient are good to u/D² = 1e-8 of it.
    const D: f64 = 1e-4;
    let partial = |theta: &[f64], index: usize| net.gradient::<f64>(theta, batch).1[index];
    let mut point = theta.to_vec();
    (0..theta.len())
        .map(|index| {
            let middle = partial(&point, index);
            point[index] = theta[index] + D;
            let above = partial(&point, index);
            point[index] = theta[index] - D;
            let below = partial(&point, index);
            point[index] = theta[index];
            let second = (above - below) / (2.0 * D);
            let third = (above - 2.0 * middle + below) / (D * D);
            let order_two = h[index].powi(2) / 6.0 * third.abs();
            match scheme {
                Scheme::Forward => h[index] / 2.0 * second.abs() + order_two,
                Scheme::Central => order_two,
            }
        })
        .collect()
}

/// ‖x‖₂.
pub fn norm(numbers: &[f64]) -> f64 {
    numbers.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// ‖x − y‖₂.
pub fn distance(x: &[f64], y: &[f64]) -> f64 {
    let differences: Vec<f64> = x.iter().zip(y).map(|(x, y)| x - y).collect();
    norm(&differences)
}

/// h of every parameter, from h of every unit.
pub fn of_parameters(net: &Net, units: &[Vec<f64>]) -> Vec<f64> {
    let mut h = vec![0.0; net.parameters()];
    for l in 1..=net.layers() {
        for (at, index) in net.weights(l).enumerate() {
            h[index] = units[l][at / net.sizes[l - 1]];
        }
        for (j, index) in net.biases(l).enumerate() {
            h[index] = units[l][j];
        }
    }
    h
}
