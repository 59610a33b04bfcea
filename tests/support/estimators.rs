//! What the kernels of estimates from random directions perform, as scalar code: the twin of
//! `gradient/estimator/`, one worker, operation by operation.
//!
//! Left out, here as in `gradient/operation_counts/random_direction.rs`: padding, signs and comparisons, the loss
//! at θ where only the report of a run needs it, drawing the directions. Every sum runs in the
//! kernels' order, so over [`super::exact::Exact`] the bits are theirs.

// As in the kernels: loops over units and rows index several arrays at once.
#![allow(clippy::needless_range_loop)]

use nplus1::gradient::finite_difference::{DifferenceConfig, Reuse};
use nplus1::textbook::TextbookNetwork;
use nplus1::textbook::counting::Number;

use super::differences::{Reach, Twin};
use super::kernels::{Batch, chain, losses_and_errors, sigmoid_pair};

/// A gradient `(N,)`, l2 included, by simultaneous perturbations of ±`h` along `directions`, `(K, N)`.
pub fn spsa<N: Number>(
    net: &TextbookNetwork,
    theta: &[N],
    directions: &[Vec<f64>],
    h: f64,
    batch: &Batch<'_>,
    width: usize,
) -> Vec<N> {
    let config = DifferenceConfig::TEXTBOOK;
    let twin = Twin::new(net, theta, &[], &config, Reach::Plain, batch, width);
    let inputs: Vec<Vec<N>> = (0..twin.rows()).map(|s| twin.read(s)).collect();
    let share = N::of(1.0) / N::of(directions.len() as f64);
    let h = N::of(h);
    let quotients: Vec<N> = (directions.iter())
        .map(|direction| {
            let [above, below] = [h, -h].map(|step| {
                let moved = theta.iter().zip(direction);
                moved
                    .map(|(&theta, &v)| theta + step * N::of(v))
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
            let mut change = sum * twin.share();
            if net.l2 != 0.0 {
                let squares = weights(net).map(|index| {
                    let (above, below) = (above[index], below[index]);
                    let exact = (above.value() - below.value()) * (above.value() + below.value());
                    ((above - below, above + below), exact)
                });
                change = change + penalty(0.5 * net.l2, squares);
            }
            change / (h + h) * share
        })
        .collect();
    combined(&quotients, directions)
}

/// The same by exact derivatives along `directions`.
pub fn perturbed_weights<N: Number>(
    net: &TextbookNetwork,
    theta: &[N],
    directions: &[Vec<f64>],
    batch: &Batch<'_>,
    width: usize,
) -> Vec<N> {
    let primal = Primal::new(net, theta, batch, width);
    let share = N::of(1.0) / N::of(directions.len() as f64);
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
            sum * share
        })
        .collect();
    combined(&derivatives, directions)
}

/// The exact gradient by a derivative along each axis; with [`Reuse::Full`] of all layers, else of those
/// from the parameter's on.
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
            let moves = |s: usize, m: usize| {
                if reuse == Reuse::Full || m == l {
                    primal.twin.products(&axis, m, &primal.below[s][m - 1])
                } else {
                    vec![zero; net.sizes[m]]
                }
            };
            let rows =
                (0..primal.twin.rows()).map(|s| primal.derivative(s, first, |m| moves(s, m)));
            gradient[index] = rows.fold(zero, |sum, row| sum + row);
            if net.l2 != 0.0 && net.weights(l).contains(&index) {
                gradient[index] = N::of(net.l2).fma(theta[index], gradient[index]);
            }
        }
    }
    gradient
}

/// The same by exact derivatives along moves of every row's pre-activations: layer by layer, row by
/// row, unit by unit in each of `directions`.
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
    let share = N::of(1.0) / N::of(directions.len() as f64);
    // (K, rows).
    let derivatives: Vec<Vec<N>> = (directions.iter())
        .map(|direction| {
            let moves = |s: usize, l: usize| -> Vec<N> {
                let units = 0..net.sizes[l];
                units.map(|j| component(direction, l, s, j)).collect()
            };
            (0..rows)
                .map(|s| primal.derivative(s, 1, |l| moves(s, l)) * share)
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

/// Where the weights are in θ.
fn weights(net: &TextbookNetwork) -> impl Iterator<Item = usize> + '_ {
    (1..=net.layers()).flat_map(|l| net.weights(l))
}

/// `factor` times a sum of products of two. The kernels have it in double precision, whatever the
/// network's: it is performed over N, which counts it, and taken from `exact`, which has the bits.
fn penalty<N: Number>(factor: f64, products: impl Iterator<Item = ((N, N), f64)>) -> N {
    let (mut performed, mut sum) = (N::of(0.0), 0.0);
    for ((left, right), exact) in products {
        performed = left.fma(right, performed);
        sum += exact;
    }
    let _ = N::of(factor) * performed;
    N::of(factor * sum)
}

/// Σ_k s_k·v_k.
fn combined<N: Number>(shares: &[N], directions: &[Vec<f64>]) -> Vec<N> {
    (0..directions[0].len())
        .map(|index| {
            let terms = shares.iter().zip(directions);
            terms.fold(N::of(0.0), |sum, (&share, direction)| {
                sum + share * N::of(direction[index])
            })
        })
        .collect()
}

/// The values of every row.
struct Primal<'a, N> {
    net: &'a TextbookNetwork,
    theta: &'a [N],
    twin: Twin<'a, N>,
    /// a below each layer, by row: `[s][l − 1]`.
    below: Vec<Vec<Vec<N>>>,
    /// σ′ of the hidden layers, by row: `[s][l − 1]`.
    slopes: Vec<Vec<Vec<N>>>,
    /// δ of the outputs by row, 1/B included.
    errors: Vec<Vec<N>>,
}

impl<'a, N: Number> Primal<'a, N> {
    fn new(net: &'a TextbookNetwork, theta: &'a [N], batch: &'a Batch<'a>, width: usize) -> Self {
        const CONFIG: &DifferenceConfig = &DifferenceConfig::TEXTBOOK;
        let twin = Twin::new(net, theta, &[], CONFIG, Reach::Plain, batch, width);
        let scale = twin.share();
        let (mut below, mut slopes, mut tops) = (Vec::new(), Vec::new(), Vec::new());
        for s in 0..twin.rows() {
            let mut activations = vec![twin.read(s)];
            let mut own = Vec::new();
            for l in 1..net.layers() {
                let z = twin.products(theta, l, &activations[l - 1]);
                let pairs: Vec<(N, N)> = z.into_iter().map(sigmoid_pair).collect();
                own.push(
                    pairs
                        .iter()
                        .map(|&(y, one_minus_y)| y * one_minus_y)
                        .collect(),
                );
                activations.push(pairs.iter().map(|&(y, _)| y).collect());
            }
            tops.push(twin.products(theta, net.layers(), &activations[net.layers() - 1]));
            below.push(activations);
            slopes.push(own);
        }
        let (_, errors) = losses_and_errors(net.output_loss, &tops, batch.labels, scale);
        Self {
            net,
            theta,
            twin,
            below,
            slopes,
            errors,
        }
    }

    /// The derivative of row `s`'s share of the mean loss; `moves(l)` are those of layer l itself,
    /// and no layer below `first` moves.
    fn derivative(&self, s: usize, first: usize, moves: impl Fn(usize) -> Vec<N>) -> N {
        let net = self.net;
        let mut rates: Vec<N> = Vec::new();
        for l in first..=net.layers() {
            let mut own = moves(l);
            for j in 0..net.sizes[l] {
                if l > first {
                    let row = &self.theta[net.weights(l).start + j * net.sizes[l - 1]..];
                    let pairs = rates.iter().copied().zip(row.iter().copied());
                    own[j] = own[j] + chain(N::of(0.0), pairs);
                }
                if l < net.layers() {
                    own[j] = own[j] * self.slopes[s][l - 1][j];
                }
            }
            rates = own;
        }
        let pairs = self.errors[s].iter().zip(&rates);
        pairs.fold(N::of(0.0), |sum, (&error, &rate)| sum + error * rate)
    }
}
