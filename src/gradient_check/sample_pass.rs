//! One sample's forward and backward pass in double precision, with the quantities that the error
//! analysis needs.
//!
//! Layer m = 0 … L − 1 reads a_m and computes z_m; a_0 are the inputs, a_{m+1} = σ(z_m), and δ_m =
//! ∂L/∂z_m of this sample's loss. The code shares nothing with the kernels, so that it can serve as
//! their reference.

use crate::model::{Network, Parameters};
use crate::numeric::output_loss::OutputLoss;

/// The values of one sample's forward and backward pass.
pub struct SamplePass {
    /// The sample's class.
    pub label: usize,
    /// The target of each linear output: its number, or 1 and 0 by the class.
    pub targets: Vec<f64>,
    /// The factor of the sample's loss by its class, which is in `loss`, δ and all paths.
    pub weight: f64,
    /// a_0 … a_{L−1}.
    pub a: Vec<Vec<f64>>,
    /// z_0 … z_{L−1}.
    pub z: Vec<Vec<f64>>,
    /// σ(z), or p in the last layer of a softmax.
    pub y: Vec<Vec<f64>>,
    /// 1 − σ(z), or 1 − p in the last layer of a softmax, computed without the subtraction.
    pub one_minus_y: Vec<Vec<f64>>,
    /// √Σ s² over the partial sums s of each z.
    pub partial_sum_norm: Vec<Vec<f64>>,
    /// δ_m.
    pub delta: Vec<Vec<f64>>,
    /// ∂L/∂a_m of the hidden activations a_1 … a_{L−1}, at m − 1.
    pub activation_gradient: Vec<Vec<f64>>,
    /// D_m ≥ |δ_m|: the sum of the absolute values of all paths from the unit to the loss.
    pub paths: Vec<Vec<f64>>,
    /// The same sum for the hidden activations, at m − 1; at least |∂L/∂a_m|.
    pub activation_paths: Vec<Vec<f64>>,
    /// The sample's loss times its factor, without the l2 term.
    pub loss: f64,
}

/// Computes σ(z) and 1 − σ(z) from e^−|z|, without cancellation.
fn pair(z: f64) -> (f64, f64) {
    let t = (-z.abs()).exp();
    let (large, small) = (1.0 / (1.0 + t), t / (1.0 + t));
    if z >= 0.0 {
        (large, small)
    } else {
        (small, large)
    }
}

fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

/// Returns whether the target of output `unit` is 1.
pub(super) fn is_hot(output_loss: OutputLoss, label: usize, unit: usize) -> bool {
    match output_loss {
        OutputLoss::Logistic => label == 1,
        _ => label == unit,
    }
}

impl SamplePass {
    /// Runs both passes at `theta` for `inputs` with class `label`, or in a regression with the
    /// target `numbers`, which are empty otherwise.
    pub fn new(
        network: &Network,
        theta: &Parameters<f64>,
        inputs: &[f64],
        (label, numbers): (u16, &[f64]),
    ) -> Self {
        let (layers, output_loss) = (network.layout.layers(), network.output_loss());
        let outputs = network.layout.sizes()[layers];
        let is_hot = |unit: usize| f64::from(u8::from(unit == usize::from(label)));
        let mut pass = Self {
            label: usize::from(label),
            targets: if numbers.is_empty() {
                (0..outputs).map(is_hot).collect()
            } else {
                numbers.to_vec()
            },
            weight: network.row_weight(label),
            a: vec![inputs.to_vec()],
            z: Vec::new(),
            y: Vec::new(),
            one_minus_y: Vec::new(),
            partial_sum_norm: Vec::new(),
            delta: vec![Vec::new(); layers],
            activation_gradient: vec![Vec::new(); layers - 1],
            paths: vec![Vec::new(); layers],
            activation_paths: vec![Vec::new(); layers - 1],
            loss: 0.0,
        };
        for layer in 0..layers {
            let biases = theta.biases(layer);
            let (mut z, mut partial_sum_norm) = (Vec::new(), Vec::new());
            for (unit, weights) in theta.weights(layer).outer_iter().enumerate() {
                let mut sum = biases.get(unit).copied().unwrap_or(0.0);
                let mut squares = sum * sum;
                for (w, a) in weights.iter().zip(&pass.a[layer]) {
                    // The kernels skip a zero input, or add exactly 0 for it.
                    if *a != 0.0 {
                        sum = w.mul_add(*a, sum);
                        squares += sum * sum;
                    }
                }
                z.push(sum);
                partial_sum_norm.push(squares.sqrt());
            }
            let (y, one_minus_y): (Vec<_>, Vec<_>) = z.iter().map(|&z| pair(z)).unzip();
            if layer + 1 < layers {
                pass.a.push(y.clone());
            }
            pass.z.push(z);
            pass.partial_sum_norm.push(partial_sum_norm);
            pass.y.push(y);
            pass.one_minus_y.push(one_minus_y);
        }
        pass.output(output_loss);
        for layer in (0..layers - 1).rev() {
            let weights = theta.weights(layer + 1);
            let units = pass.z[layer].len();
            let (mut activation_gradient, mut paths) = (vec![0.0; units], vec![0.0; units]);
            for (above, weights) in weights.outer_iter().enumerate() {
                let (delta, path) = (pass.delta[layer + 1][above], pass.paths[layer + 1][above]);
                for (unit, w) in weights.iter().enumerate() {
                    activation_gradient[unit] += w * delta;
                    paths[unit] += w.abs() * path;
                }
            }
            let slope = |unit: usize| pass.y[layer][unit] * pass.one_minus_y[layer][unit];
            pass.delta[layer] = (0..units)
                .map(|unit| slope(unit) * activation_gradient[unit])
                .collect();
            pass.paths[layer] = (0..units).map(|unit| slope(unit) * paths[unit]).collect();
            pass.activation_gradient[layer] = activation_gradient;
            pass.activation_paths[layer] = paths;
        }
        pass
    }

    /// Computes the loss and the last layer's δ.
    fn output(&mut self, output_loss: OutputLoss) {
        let last = self.z.len() - 1;
        let z = &self.z[last];
        if output_loss == OutputLoss::SoftmaxCrossEntropy {
            let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let powers: Vec<f64> = z.iter().map(|z| (z - largest).exp()).collect();
            let sum: f64 = powers.iter().sum();
            self.y[last] = powers.iter().map(|power| power / sum).collect();
            let rest = |unit: usize| {
                let others = powers
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != unit);
                others.map(|(_, power)| power).sum::<f64>() / sum
            };
            self.one_minus_y[last] = (0..z.len()).map(rest).collect();
            let margin = largest - z[self.label];
            self.loss = if margin > 0.0 {
                margin + sum.ln()
            } else {
                (sum - 1.0).max(0.0).ln_1p()
            };
        }
        let mut delta = Vec::new();
        for (unit, &z) in z.iter().enumerate() {
            let hot = is_hot(output_loss, self.label, unit);
            let (y, one_minus_y) = (self.y[last][unit], self.one_minus_y[last][unit]);
            let residual = if hot { -one_minus_y } else { y };
            let linear = z - self.targets[unit];
            delta.push(match output_loss {
                OutputLoss::SigmoidQuadratic => residual * y * one_minus_y,
                OutputLoss::LinearQuadratic => linear,
                _ => residual,
            });
            self.loss += match output_loss {
                OutputLoss::SigmoidQuadratic => 0.5 * residual * residual,
                OutputLoss::LinearQuadratic => 0.5 * linear * linear,
                OutputLoss::SoftmaxCrossEntropy => 0.0,
                _ => softplus(if hot { -z } else { z }),
            };
        }
        self.loss *= self.weight;
        delta.iter_mut().for_each(|delta| *delta *= self.weight);
        self.paths[last] = delta.iter().map(|delta: &f64| delta.abs()).collect();
        self.delta[last] = delta;
    }

    /// Returns z − y of linear output `unit`.
    pub fn residual(&self, unit: usize) -> f64 {
        self.z[self.z.len() - 1][unit] - self.targets[unit]
    }

    /// Returns σ′ of unit `unit` of layer `layer`.
    pub fn slope(&self, layer: usize, unit: usize) -> f64 {
        self.y[layer][unit] * self.one_minus_y[layer][unit]
    }

    /// Returns the largest |a| that layer `layer` reads, including the bias's input 1.
    pub fn largest_input(&self, layer: usize) -> f64 {
        self.a[layer]
            .iter()
            .fold(1.0, |most: f64, a| most.max(a.abs()))
    }
}
