//! One sample's forward and backward pass in double precision, as a textbook has them, with what an
//! error analysis asks of them.
//!
//! Layer m = 0 … L − 1 reads a_m and makes z_m; a_0 are the inputs, a_{m+1} = σ(z_m), δ_m = ∂L/∂z_m of
//! this sample's own loss. Nothing here is shared with the kernels: it is what they are held to.

use crate::model::{Network, Parameters};
use crate::numeric::output_loss::OutputLoss;

/// What one sample's passes found.
pub struct SamplePass {
    /// The sample's class.
    pub label: usize,
    /// a_0 … a_{L−1}.
    pub a: Vec<Vec<f64>>,
    /// z_0 … z_{L−1}.
    pub z: Vec<Vec<f64>>,
    /// σ(z); softmax: p in the last layer.
    pub y: Vec<Vec<f64>>,
    /// 1 − σ(z) without the subtraction; softmax: 1 − p in the last layer.
    pub complement: Vec<Vec<f64>>,
    /// √Σ s² over the partial sums s of each z.
    pub walk: Vec<Vec<f64>>,
    /// δ_m.
    pub delta: Vec<Vec<f64>>,
    /// ∂L/∂a_m of the hidden activations a_1 … a_{L−1}, at m − 1.
    pub pull: Vec<Vec<f64>>,
    /// D_m ≥ |δ_m|: the sum over all paths of their absolute values.
    pub paths: Vec<Vec<f64>>,
    /// The same of the hidden activations, at m − 1: not below |∂L/∂a_m|.
    pub pull_paths: Vec<Vec<f64>>,
    /// The sample's loss, l2 left out.
    pub loss: f64,
}

/// e^−|z| decides both: σ(z) and 1 − σ(z).
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

/// Whether unit `unit` should be 1.
pub(super) fn is_hot(head: OutputLoss, label: usize, unit: usize) -> bool {
    match head {
        OutputLoss::Logistic => label == 1,
        _ => label == unit,
    }
}

impl SamplePass {
    /// The passes of `inputs` at `theta`.
    pub fn new(network: &Network, theta: &Parameters<f64>, inputs: &[f64], label: u16) -> Self {
        let (layers, head) = (network.layout.layers(), network.head());
        let mut trace = Self {
            label: usize::from(label),
            a: vec![inputs.to_vec()],
            z: Vec::new(),
            y: Vec::new(),
            complement: Vec::new(),
            walk: Vec::new(),
            delta: vec![Vec::new(); layers],
            pull: vec![Vec::new(); layers - 1],
            paths: vec![Vec::new(); layers],
            pull_paths: vec![Vec::new(); layers - 1],
            loss: 0.0,
        };
        for layer in 0..layers {
            let biases = theta.biases(layer);
            let (mut z, mut walk) = (Vec::new(), Vec::new());
            for (unit, weights) in theta.weights(layer).outer_iter().enumerate() {
                let mut sum = biases.get(unit).copied().unwrap_or(0.0);
                let mut squares = sum * sum;
                for (w, a) in weights.iter().zip(&trace.a[layer]) {
                    // A zero input is left out, or adds exactly nothing.
                    if *a != 0.0 {
                        sum = w.mul_add(*a, sum);
                        squares += sum * sum;
                    }
                }
                z.push(sum);
                walk.push(squares.sqrt());
            }
            let (y, complement): (Vec<_>, Vec<_>) = z.iter().map(|&z| pair(z)).unzip();
            if layer + 1 < layers {
                trace.a.push(y.clone());
            }
            trace.z.push(z);
            trace.walk.push(walk);
            trace.y.push(y);
            trace.complement.push(complement);
        }
        trace.output(head);
        for layer in (0..layers - 1).rev() {
            let weights = theta.weights(layer + 1);
            let units = trace.z[layer].len();
            let (mut pull, mut paths) = (vec![0.0; units], vec![0.0; units]);
            for (above, weights) in weights.outer_iter().enumerate() {
                let (delta, path) = (trace.delta[layer + 1][above], trace.paths[layer + 1][above]);
                for (unit, w) in weights.iter().enumerate() {
                    pull[unit] += w * delta;
                    paths[unit] += w.abs() * path;
                }
            }
            let slope = |unit: usize| trace.y[layer][unit] * trace.complement[layer][unit];
            trace.delta[layer] = (0..units).map(|unit| slope(unit) * pull[unit]).collect();
            trace.paths[layer] = (0..units).map(|unit| slope(unit) * paths[unit]).collect();
            trace.pull[layer] = pull;
            trace.pull_paths[layer] = paths;
        }
        trace
    }

    /// The last layer: its loss, and δ.
    fn output(&mut self, head: OutputLoss) {
        let last = self.z.len() - 1;
        let z = &self.z[last];
        if head == OutputLoss::SoftmaxCrossEntropy {
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
            self.complement[last] = (0..z.len()).map(rest).collect();
            let margin = largest - z[self.label];
            self.loss = if margin > 0.0 {
                margin + sum.ln()
            } else {
                (sum - 1.0).max(0.0).ln_1p()
            };
        }
        let mut delta = Vec::new();
        for (unit, &z) in z.iter().enumerate() {
            let hot = is_hot(head, self.label, unit);
            let (y, complement) = (self.y[last][unit], self.complement[last][unit]);
            let residual = if hot { -complement } else { y };
            let linear = z - f64::from(u8::from(hot));
            delta.push(match head {
                OutputLoss::SigmoidQuadratic => residual * y * complement,
                OutputLoss::LinearQuadratic => linear,
                _ => residual,
            });
            self.loss += match head {
                OutputLoss::SigmoidQuadratic => 0.5 * residual * residual,
                OutputLoss::LinearQuadratic => 0.5 * linear * linear,
                OutputLoss::SoftmaxCrossEntropy => 0.0,
                _ => softplus(if hot { -z } else { z }),
            };
        }
        self.paths[last] = delta.iter().map(|delta: &f64| delta.abs()).collect();
        self.delta[last] = delta;
    }

    /// σ′ of unit `unit` of layer `layer`.
    pub fn slope(&self, layer: usize, unit: usize) -> f64 {
        self.y[layer][unit] * self.complement[layer][unit]
    }

    /// Largest |a| that layer `layer` reads, a bias's 1 among them.
    pub fn largest_input(&self, layer: usize) -> f64 {
        self.a[layer]
            .iter()
            .fold(1.0, |most: f64, a| most.max(a.abs()))
    }
}
