//! The scalar twins of the random-direction methods (`gradient/random_direction/`) and of forward
//! mode by whole passes (`gradient/forward_mode.rs`): they perform the operations of one worker,
//! one by one.
//!
//! As in `gradient/operation_counts/`, these are not counted: padding, signs and comparisons, the
//! loss at θ where only the report of a run needs it, and drawing the directions. Every sum runs in
//! the kernels' order, so over [`super::kernel_number::KernelNumber`] the results have the kernels'
//! bits.

// As in the kernels, loops over units and rows index several arrays at once.
#![allow(clippy::needless_range_loop)]

use nplus1::gradient::finite_difference::{DifferenceConfig, Reuse};
use nplus1::textbook::TextbookNetwork;
use nplus1::textbook::counting::Number;

use super::scalar_backprop::{Batch, chain, losses_and_errors, sigmoid_pair};
use super::scalar_differences::{ChangeForm, Twin};

/// Returns the gradient `(N,)` by SPSA, with the l2 term: from the losses at θ ± `h`·v for each v
/// of `directions` `(K, N)`.
pub fn spsa<N: Number>(
    net: &TextbookNetwork,
    theta: &[N],
    directions: &[Vec<f64>],
    h: f64,
    batch: &Batch<'_>,
    width: usize,
) -> Vec<N> {
    let config = DifferenceConfig::TEXTBOOK;
    let twin = Twin::new(net, theta, &[], &config, ChangeForm::Plain, batch, width);
    let inputs: Vec<Vec<N>> = (0..twin.rows()).map(|s| twin.read(s)).collect();
    let inverse_count = N::of(1.0) / N::of(directions.len() as f64);
    let h = N::of(h);
    let quotients: Vec<N> = (directions.iter())
        .map(|direction| {
            let [above, below] = [h, -h].map(|h| {
                let pairs = theta.iter().zip(direction);
                pairs
                    .map(|(&theta, &v)| theta + h * N::of(v))
                    .collect::<Vec<N>>()
            });
            let losses = |theta: &[N]| -> Vec<N> {
                let rows = inputs.iter().enumerate();
                rows.map(|(s, inputs)| {
                    let layers = twin.pass(theta, 1, inputs);
                    twin.loss(s, &layers[net.layers()].z)
                })
                .collect()
            };
            let pairs = losses(&above).into_iter().zip(losses(&below));
            let sum = pairs.fold(N::of(0.0), |sum, (above, below)| sum + (above - below));
            let mut change = sum * twin.inverse_rows();
            if net.l2 != 0.0 {
                let squares = weights(net).map(|index| {
                    let (above, below) = (above[index], below[index]);
                    let exact = (above.value() - below.value()) * (above.value() + below.value());
                    ((above - below, above + below), exact)
                });
                change = change + penalty(0.5 * net.l2, squares);
            }
            change / (h + h) * inverse_count
        })
        .collect();
    combined(&quotients, directions)
}

/// Returns the forward gradient with perturbed weights, from exact derivatives along `directions`.
pub fn perturbed_weights<N: Number>(
    net: &TextbookNetwork,
    theta: &[N],
    directions: &[Vec<f64>],
    batch: &Batch<'_>,
    width: usize,
) -> Vec<N> {
    let primal = Primal::new(net, theta, batch, width);
    let inverse_count = N::of(1.0) / N::of(directions.len() as f64);
    let derivatives: Vec<N> = (directions.iter())
        .map(|direction| {
            let direction: Vec<N> = direction.iter().map(|&v| N::of(v)).collect();
            let rows = (0..primal.twin.rows()).map(|s| {
                primal.derivative(s, 1, |l| {
                    primal.twin.products(&direction, l, &primal.below[s][l - 1])
                })
            });
            let mut sum = rows.fold(N::of(0.0), |sum, row| sum + row);
            if net.l2 != 0.0 {
                let products = weights(net).map(|index| {
                    let (theta, v) = (theta[index], direction[index]);
                    ((theta, v), theta.value() * v.value())
                });
                sum = sum + penalty(net.l2, products);
            }
            sum * inverse_count
        })
        .collect();
    combined(&derivatives, directions)
}

/// Returns the exact gradient from a derivative along each axis: with [`Reuse::Full`] each tangent
/// pass runs through all layers, otherwise from the parameter's layer on.
pub fn forward_mode<N: Number>(
    net: &TextbookNetwork,
    theta: &[N],
    reuse: Reuse,
    batch: &Batch<'_>,
    width: usize,
) -> Vec<N> {
    let primal = Primal::new(net, theta, batch, width);
    let zero = N::of(0.0);
    let mut gradient = vec![zero; theta.len()];
    for l in 1..=net.layers() {
        for index in net.weights(l).chain(net.biases(l)) {
            let mut axis = vec![zero; theta.len()];
            axis[index] = N::of(1.0);
            let first = if reuse == Reuse::Full { 1 } else { l };
            let layer_tangent = |s: usize, m: usize| {
                if reuse == Reuse::Full || m == l {
                    primal.twin.products(&axis, m, &primal.below[s][m - 1])
                } else {
                    vec![zero; net.sizes[m]]
                }
            };
            let rows = (0..primal.twin.rows())
                .map(|s| primal.derivative(s, first, |m| layer_tangent(s, m)));
            gradient[index] = rows.fold(zero, |sum, row| sum + row);
            if net.l2 != 0.0 && net.weights(l).contains(&index) {
                gradient[index] = N::of(net.l2).fma(theta[index], gradient[index]);
            }
        }
    }
    gradient
}

/// Returns the forward gradient with perturbed activations, from exact derivatives along
/// perturbations of every row's pre-activations. Each of `directions` lists its components by
/// layer, row and unit.
pub fn perturbed_activations<N: Number>(
    net: &TextbookNetwork,
    theta: &[N],
    directions: &[Vec<f64>],
    batch: &Batch<'_>,
    width: usize,
) -> Vec<N> {
    let primal = Primal::new(net, theta, batch, width);
    let rows = primal.twin.rows();
    let first = |l: usize| rows * net.sizes[1..l].iter().sum::<usize>();
    let component = |direction: &[f64], l: usize, s: usize, j: usize| {
        N::of(direction[first(l) + s * net.sizes[l] + j])
    };
    let inverse_count = N::of(1.0) / N::of(directions.len() as f64);
    // Shape (K, rows).
    let derivatives: Vec<Vec<N>> = (directions.iter())
        .map(|direction| {
            let layer_tangent = |s: usize, l: usize| -> Vec<N> {
                let units = 0..net.sizes[l];
                units.map(|j| component(direction, l, s, j)).collect()
            };
            (0..rows)
                .map(|s| primal.derivative(s, 1, |l| layer_tangent(s, l)) * inverse_count)
                .collect()
        })
        .collect();
    let mut gradient = theta.to_vec();
    for l in 1..=net.layers() {
        for j in 0..net.sizes[l] {
            let errors: Vec<N> = (0..rows)
                .map(|s| {
                    let terms = derivatives.iter().zip(directions);
                    terms.fold(N::of(0.0), |sum, (derivatives, direction)| {
                        sum + derivatives[s] * component(direction, l, s, j)
                    })
                })
                .collect();
            for i in 0..net.sizes[l - 1] {
                let index = net.weights(l).start + j * net.sizes[l - 1] + i;
                let products = (0..rows).map(|s| (primal.below[s][l - 1][i], errors[s]));
                gradient[index] = chain(N::of(0.0), products);
                if net.l2 != 0.0 {
                    gradient[index] = N::of(net.l2).fma(theta[index], gradient[index]);
                }
            }
            if net.bias {
                gradient[net.biases(l).start + j] =
                    errors.iter().fold(N::of(0.0), |sum, &error| sum + error);
            }
        }
    }
    gradient
}

/// Returns the indices of the weights in θ.
fn weights(net: &TextbookNetwork) -> impl Iterator<Item = usize> + '_ {
    (1..=net.layers()).flat_map(|l| net.weights(l))
}

/// Returns `factor` times the sum of the products of pairs.
///
/// The kernels compute it in f64 in either precision. So it is computed twice: over `N` from the
/// pairs, to count the operations, and in f64 from the exact products, to have the kernels' bits.
fn penalty<N: Number>(factor: f64, products: impl Iterator<Item = ((N, N), f64)>) -> N {
    let (mut performed, mut sum) = (N::of(0.0), 0.0);
    for ((left, right), exact) in products {
        performed = left.fma(right, performed);
        sum += exact;
    }
    let _ = N::of(factor) * performed;
    N::of(factor * sum)
}

/// Returns Σ_k d_k·v_k for the directional derivatives d_k, each times 1/K already.
fn combined<N: Number>(derivatives: &[N], directions: &[Vec<f64>]) -> Vec<N> {
    (0..directions[0].len())
        .map(|index| {
            let terms = derivatives.iter().zip(directions);
            terms.fold(N::of(0.0), |sum, (&derivative, direction)| {
                sum + derivative * N::of(direction[index])
            })
        })
        .collect()
}

/// The primal values of every row: activations, slopes and output errors at θ.
struct Primal<'a, N> {
    net: &'a TextbookNetwork,
    theta: &'a [N],
    twin: Twin<'a, N>,
    /// Activations below layer l in row s: `[s][l − 1]`.
    below: Vec<Vec<Vec<N>>>,
    /// σ′ of hidden layer l in row s: `[s][l − 1]`.
    slopes: Vec<Vec<Vec<N>>>,
    /// δ of the outputs by row, times 1/B.
    errors: Vec<Vec<N>>,
}

impl<'a, N: Number> Primal<'a, N> {
    fn new(net: &'a TextbookNetwork, theta: &'a [N], batch: &'a Batch<'a>, width: usize) -> Self {
        const CONFIG: &DifferenceConfig = &DifferenceConfig::TEXTBOOK;
        let twin = Twin::new(net, theta, &[], CONFIG, ChangeForm::Plain, batch, width);
        let scale = twin.inverse_rows();
        let (mut below, mut slopes, mut tops) = (Vec::new(), Vec::new(), Vec::new());
        for s in 0..twin.rows() {
            let mut activations = vec![twin.read(s)];
            let mut row_slopes = Vec::new();
            for l in 1..net.layers() {
                let z = twin.products(theta, l, &activations[l - 1]);
                let pairs: Vec<(N, N)> = z.into_iter().map(sigmoid_pair).collect();
                row_slopes.push(
                    pairs
                        .iter()
                        .map(|&(y, one_minus_y)| y * one_minus_y)
                        .collect(),
                );
                activations.push(pairs.iter().map(|&(y, _)| y).collect());
            }
            tops.push(twin.products(theta, net.layers(), &activations[net.layers() - 1]));
            below.push(activations);
            slopes.push(row_slopes);
        }
        let (_, errors) = losses_and_errors(net, &tops, batch.labels, scale);
        Self {
            net,
            theta,
            twin,
            below,
            slopes,
            errors,
        }
    }

    /// Returns the directional derivative of row `s`'s contribution to the mean loss.
    ///
    /// `layer_tangent(l)` is the derivative of z of layer l by its own parameters or its own
    /// perturbation; the tangents of all layers below `first` are 0.
    fn derivative(&self, s: usize, first: usize, layer_tangent: impl Fn(usize) -> Vec<N>) -> N {
        let net = self.net;
        let mut below: Vec<N> = Vec::new();
        for l in first..=net.layers() {
            let mut tangent = layer_tangent(l);
            for j in 0..net.sizes[l] {
                if l > first {
                    let row = &self.theta[net.weights(l).start + j * net.sizes[l - 1]..];
                    let pairs = below.iter().copied().zip(row.iter().copied());
                    tangent[j] = tangent[j] + chain(N::of(0.0), pairs);
                }
                if l < net.layers() {
                    tangent[j] = tangent[j] * self.slopes[s][l - 1][j];
                }
            }
            below = tangent;
        }
        let pairs = self.errors[s].iter().zip(&below);
        pairs.fold(N::of(0.0), |sum, (&error, &rate)| sum + error * rate)
    }
}
