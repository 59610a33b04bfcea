//! Textbook forward pass, loss, backprop, finite differences and forward mode, one sample at a time.
//!
//! n_l = units of layer l, L = number of weight layers, θ flat in layout order: layer by layer,
//! weights `(n_l, n_{l−1})`, then biases `(n_l,)`. Nothing here is shared with the kernels: tests
//! compare them with it, and the worked examples count operations by it.

mod change_propagation;
pub mod counting;
mod differences;
mod incremental;
mod numeric_backprop;
mod tangents;

pub use incremental::BasePass;

use std::ops::Range;

use self::counting::{Number, sum};
use crate::model::Network;
use crate::numeric::output_loss::OutputLoss;

/// Network whose functions take θ over any [`Number`].
#[derive(Clone, Debug)]
pub struct TextbookNetwork {
    /// Layer sizes n_0 … n_L.
    pub sizes: Vec<usize>,
    /// True if layers have biases.
    pub bias: bool,
    /// Units of the last layer and loss.
    pub output_loss: OutputLoss,
    /// Factor λ' of the l2 term ½λ' Σ weights².
    pub l2: f64,
    /// Factor of the loss of a sample of each class; empty if all count the same.
    pub class_weights: Vec<f64>,
}

/// Sample: inputs `(n_0,)`, and its class or the numbers `(n_L,)` of a regression.
pub type Sample<T = u16> = (Vec<f64>, T);

/// What the outputs of a sample should be.
pub trait Target: Copy + Sync {
    /// Returns the target of output `j`.
    fn at(self, j: usize) -> f64;

    /// Returns the class, if the target is one.
    fn class(self) -> Option<u16>;
}

impl Target for u16 {
    fn at(self, j: usize) -> f64 {
        f64::from(u8::from(j == usize::from(self)))
    }

    fn class(self) -> Option<u16> {
        Some(self)
    }
}

impl Target for &[f64] {
    fn at(self, j: usize) -> f64 {
        self[j]
    }

    fn class(self) -> Option<u16> {
        None
    }
}

impl From<&Network> for TextbookNetwork {
    fn from(network: &Network) -> Self {
        Self {
            sizes: network.layout.sizes().to_vec(),
            bias: network.layout.has_bias(),
            output_loss: network.output_loss(),
            l2: network.l2,
            class_weights: network.class_weights.clone(),
        }
    }
}

impl TextbookNetwork {
    /// Returns L, the number of weight layers.
    pub fn layers(&self) -> usize {
        self.sizes.len() - 1
    }

    /// Returns N, the number of parameters.
    pub fn parameters(&self) -> usize {
        self.biases(self.layers()).end
    }

    /// Returns the range of θ that holds the weights of layer `l`, from 1.
    pub fn weights(&self, l: usize) -> Range<usize> {
        let start = (1..l).fold(0, |start, l| {
            start + self.sizes[l] * (self.sizes[l - 1] + usize::from(self.bias))
        });
        start..start + self.sizes[l] * self.sizes[l - 1]
    }

    /// Returns the range of θ that holds the biases of layer `l`, from 1; empty without biases.
    pub fn biases(&self, l: usize) -> Range<usize> {
        let start = self.weights(l).end;
        start..start + if self.bias { self.sizes[l] } else { 0 }
    }

    /// Returns W·x of layer `l`, `(n_l,)`, from x below, `(n_{l−1},)`.
    pub fn products<N: Number>(&self, l: usize, theta: &[N], below: &[N]) -> Vec<N> {
        let rows = theta[self.weights(l)].chunks(self.sizes[l - 1]);
        rows.map(|row| sum(row.iter().zip(below).map(|(&w, &x)| w * x)))
            .collect()
    }

    /// Returns z of layer `l`, `(n_l,)`, from the activations below, `(n_{l−1},)`.
    pub fn pre_activations<N: Number>(&self, l: usize, theta: &[N], below: &[N]) -> Vec<N> {
        let mut z = self.products(l, theta, below);
        for (z, &bias) in z.iter_mut().zip(&theta[self.biases(l)]) {
            *z = *z + bias;
        }
        z
    }

    /// Returns the activations a_0 … a_{L−1} of one sample, and z_L.
    pub fn forward<N: Number>(&self, theta: &[N], inputs: &[f64]) -> (Vec<Vec<N>>, Vec<N>) {
        let mut activations = vec![inputs.iter().map(|&x| N::of(x)).collect::<Vec<N>>()];
        for l in 1..self.layers() {
            let z = self.pre_activations(l, theta, &activations[l - 1]);
            activations.push(z.into_iter().map(sigmoid).collect());
        }
        let top = self.pre_activations(self.layers(), theta, &activations[self.layers() - 1]);
        (activations, top)
    }

    /// Returns the loss of one sample, l2 left out.
    pub fn sample_loss<N: Number>(&self, theta: &[N], sample: &Sample<impl Target>) -> N {
        let (inputs, target) = sample;
        self.weighted_loss(&self.forward(theta, inputs).1, *target)
    }

    /// Returns the loss of one sample times its factor, from z_L.
    fn weighted_loss<N: Number>(&self, z: &[N], target: impl Target) -> N {
        self.weighted(target, loss(self.output_loss, z, target))
    }

    /// Returns the loss of one sample and its errors δ, both times the sample's factor, from z_L.
    fn weighted_loss_and_errors<N: Number>(&self, z: &[N], target: impl Target) -> (N, Vec<N>) {
        let (loss, mut errors) = loss_and_errors(self.output_loss, z, target);
        for error in &mut errors {
            *error = self.weighted(target, *error);
        }
        (self.weighted(target, loss), errors)
    }

    /// Returns `value` times the factor of a sample's loss: 1 multiplication, or none if all
    /// samples count the same.
    fn weighted<N: Number>(&self, target: impl Target, value: N) -> N {
        match self.class_weight(target) {
            None => value,
            Some(weight) => value * N::of(weight),
        }
    }

    /// Returns the factor of a sample's loss; `None` if all samples count the same.
    pub fn class_weight(&self, target: impl Target) -> Option<f64> {
        let class = target.class().filter(|_| !self.class_weights.is_empty())?;
        Some(self.class_weights[usize::from(class)])
    }

    /// Returns the mean loss of `batch`, l2 left out.
    pub fn loss<N: Number>(&self, theta: &[N], batch: &[Sample<impl Target>]) -> N {
        let losses = batch.iter().map(|sample| self.sample_loss(theta, sample));
        sum(losses) * N::of(1.0 / batch.len() as f64)
    }

    /// Returns the mean loss of `batch`, l2 included.
    pub fn objective<N: Number>(&self, theta: &[N], batch: &[Sample<impl Target>]) -> N {
        let loss = self.loss(theta, batch);
        if self.l2 == 0.0 {
            return loss;
        }
        let weights = (1..=self.layers()).flat_map(|l| self.weights(l));
        loss + sum(weights.map(|index| theta[index] * theta[index])) * N::of(self.l2 / 2.0)
    }

    /// Returns the loss and the gradient `(N,)` of one sample by backprop, l2 left out.
    pub fn sample_gradient<N: Number>(
        &self,
        theta: &[N],
        sample: &Sample<impl Target>,
    ) -> (N, Vec<N>) {
        let (activations, top) = self.forward(theta, &sample.0);
        let (loss, errors) = self.weighted_loss_and_errors(&top, sample.1);
        // a_l = σ(z_l)
        let slope = |l: usize, i: usize| {
            let a = activations[l][i];
            a * (N::of(1.0) - a)
        };
        (loss, self.backward(theta, &activations, errors, slope))
    }

    /// Returns the gradient `(N,)` of one sample by the backward pass: from a_0 … a_{L−1}, δ of the
    /// outputs, and `slope(l, i)`, which is σ′ of unit i of hidden layer l.
    fn backward<N: Number>(
        &self,
        theta: &[N],
        activations: &[Vec<N>],
        mut errors: Vec<N>,
        slope: impl Fn(usize, usize) -> N,
    ) -> Vec<N> {
        let mut gradient = vec![N::of(0.0); self.parameters()];
        for l in (1..=self.layers()).rev() {
            // z_l = W_l a_{l−1} + b_l
            let fan_in = self.sizes[l - 1];
            let below = &activations[l - 1];
            let weights = self.weights(l);
            for (j, &error) in errors.iter().enumerate() {
                for (i, &a) in below.iter().enumerate() {
                    gradient[weights.start + j * fan_in + i] = error * a;
                }
                if self.bias {
                    gradient[self.biases(l).start + j] = error;
                }
            }
            if l > 1 {
                // δ_{l−1} = Wᵀδ_l · σ′(z_{l−1})
                let into = |i: usize| {
                    sum((errors.iter().enumerate())
                        .map(|(j, &error)| theta[weights.start + j * fan_in + i] * error))
                };
                errors = (0..fan_in).map(|i| into(i) * slope(l - 1, i)).collect();
            }
        }
        gradient
    }

    /// Returns the mean loss of `batch` (l2 left out) and the gradient of the objective, `(N,)` (l2
    /// included).
    pub fn gradient<N: Number>(&self, theta: &[N], batch: &[Sample<impl Target>]) -> (N, Vec<N>) {
        let (loss, mut gradient) =
            self.mean_gradient(batch, |sample| self.sample_gradient(theta, sample));
        if self.l2 != 0.0 {
            for index in (1..=self.layers()).flat_map(|l| self.weights(l)) {
                gradient[index] = gradient[index] + N::of(self.l2) * theta[index];
            }
        }
        (loss, gradient)
    }

    /// Returns the means of the samples' losses and gradients.
    fn mean_gradient<N: Number, T: Target>(
        &self,
        batch: &[Sample<T>],
        of: impl Fn(&Sample<T>) -> (N, Vec<N>),
    ) -> (N, Vec<N>) {
        let mut samples = batch.iter().map(of);
        let (mut loss, mut gradient) = samples.next().expect("a batch has a row");
        for (sample_loss, sample_gradient) in samples {
            loss = loss + sample_loss;
            for (total, g) in gradient.iter_mut().zip(sample_gradient) {
                *total = *total + g;
            }
        }
        let scale = N::of(1.0 / batch.len() as f64);
        gradient.iter_mut().for_each(|g| *g = *g * scale);
        (loss * scale, gradient)
    }
}

/// Returns σ(z): 1 addition, 1 exponential, 1 division.
pub fn sigmoid<N: Number>(z: N) -> N {
    z.sigmoid()
}

/// Returns ln(1 + e^z), finite for every finite z.
pub fn softplus<N: Number>(z: N) -> N {
    z.max(N::of(0.0)) + (-z.abs()).exp().ln_1p()
}

/// Returns e^{z − max z} for each z, their sum, and max z.
fn shifted_exponentials<N: Number>(z: &[N]) -> (Vec<N>, N, N) {
    let largest = z.iter().copied().reduce(N::max).expect("an output");
    let powers: Vec<N> = z.iter().map(|&z| (z - largest).exp()).collect();
    let total = sum(powers.iter().copied());
    (powers, total, largest)
}

/// Returns ½ Σ r².
fn half_square<N: Number>(residuals: &[N]) -> N {
    sum(residuals.iter().map(|&r| r * r)) * N::of(0.5)
}

/// Returns the class, for the losses that have no other target.
fn class(target: impl Target) -> u16 {
    target
        .class()
        .expect("only linear outputs with the quadratic loss take numbers")
}

/// Returns the label as ±1: class 1 is 1, any other −1.
fn sign(label: u16) -> f64 {
    if label == 1 { 1.0 } else { -1.0 }
}

/// Returns the loss of one sample, from z_L.
pub fn loss<N: Number>(output_loss: OutputLoss, z: &[N], target: impl Target) -> N {
    let outputs = || z.iter().copied().enumerate();
    match output_loss {
        OutputLoss::SigmoidQuadratic => {
            let residuals = outputs().map(|(j, z)| z.sigmoid_residual(target.at(j)));
            half_square(&residuals.collect::<Vec<N>>())
        }
        OutputLoss::LinearQuadratic => {
            let residuals = outputs().map(|(j, z)| z - N::of(target.at(j)));
            half_square(&residuals.collect::<Vec<N>>())
        }
        OutputLoss::SigmoidCrossEntropy => sum(outputs().map(|(j, z)| {
            let is_target = j == usize::from(class(target));
            softplus(if is_target { -z } else { z })
        })),
        OutputLoss::SoftmaxCrossEntropy => {
            let (_, total, largest) = shifted_exponentials(z);
            total.ln() - (z[usize::from(class(target))] - largest)
        }
        OutputLoss::Logistic => softplus(N::of(-sign(class(target))) * z[0]),
    }
}

/// Returns the loss of one sample and its errors δ = ∂loss/∂z_L, from z_L. The errors reuse values
/// of the loss.
pub fn loss_and_errors<N: Number>(
    output_loss: OutputLoss,
    z: &[N],
    target: impl Target,
) -> (N, Vec<N>) {
    let outputs = || z.iter().copied().enumerate();
    let one = N::of(1.0);
    match output_loss {
        OutputLoss::SigmoidQuadratic => {
            let a: Vec<N> = z.iter().map(|&z| sigmoid(z)).collect();
            let residuals = a.iter().enumerate().map(|(j, &a)| a - N::of(target.at(j)));
            let residuals: Vec<N> = residuals.collect();
            let errors = a.iter().zip(&residuals);
            let errors = errors.map(|(&a, &r)| r * (a * (one - a))).collect();
            (half_square(&residuals), errors)
        }
        OutputLoss::LinearQuadratic => {
            let residuals: Vec<N> = outputs().map(|(j, z)| z - N::of(target.at(j))).collect();
            (half_square(&residuals), residuals)
        }
        OutputLoss::SigmoidCrossEntropy => {
            let errors = outputs().map(|(j, z)| sigmoid(z) - N::of(target.at(j)));
            (loss(output_loss, z, target), errors.collect())
        }
        OutputLoss::SoftmaxCrossEntropy => {
            let (powers, total, largest) = shifted_exponentials(z);
            let errors = powers.iter().enumerate();
            let errors = errors.map(|(j, &power)| power / total - N::of(target.at(j)));
            let loss = total.ln() - (z[usize::from(class(target))] - largest);
            (loss, errors.collect())
        }
        OutputLoss::Logistic => {
            let sign = N::of(sign(class(target)));
            (
                loss(output_loss, z, target),
                vec![-(sign * sigmoid(-(sign * z[0])))],
            )
        }
    }
}
