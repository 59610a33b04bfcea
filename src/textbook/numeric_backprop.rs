//! Textbook backprop with difference quotients: the passes of backprop, in which
//! (σ(z + h) − σ(z))/h replaces σ′, and (ℓ(z + h·e_j) − ℓ(z))/h replaces δ_j of each output.

use super::{Sample, Target, TextbookNetwork, loss, sigmoid};
use crate::numeric::output_loss::OutputLoss;
use crate::textbook::counting::{Number, sum};

impl TextbookNetwork {
    /// Returns the mean loss of `batch` and the gradient, `(N,)`; l2 is left out.
    pub fn numeric_backprop<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample<impl Target>],
        h: f64,
    ) -> (N, Vec<N>) {
        self.mean_gradient(batch, |sample| {
            let (a, z) = self.passed(theta, &sample.0);
            let (loss, quotients) = self.loss_and_quotients(&z[self.layers()], sample.1, h);
            let weighted = |value: N| self.weighted(sample.1, value);
            let errors = quotients.into_iter().map(weighted).collect();
            let slope =
                |l: usize, i: usize| (sigmoid(z[l][i] + N::of(h)) - a[l][i]) * N::of(1.0 / h);
            (weighted(loss), self.backward(theta, &a, errors, slope))
        })
    }

    /// Returns the loss of one sample and its difference quotient by z of each output, both without
    /// the sample's factor.
    fn loss_and_quotients<N: Number>(&self, z: &[N], target: impl Target, h: f64) -> (N, Vec<N>) {
        if self.output_loss == OutputLoss::SoftmaxCrossEntropy {
            // All outputs share one sum, so each quotient computes the loss again.
            let before = loss(self.output_loss, z, target);
            let quotient = |j: usize| {
                let mut moved = z.to_vec();
                moved[j] = moved[j] + N::of(h);
                (loss(self.output_loss, &moved, target) - before) * N::of(1.0 / h)
            };
            return (before, (0..z.len()).map(quotient).collect());
        }
        let factor = self.loss_factor();
        let outputs = || z.iter().copied().enumerate();
        let terms: Vec<N> = outputs().map(|(j, z)| self.term(z, j, target)).collect();
        let quotient = |(j, z): (usize, N)| {
            (self.term(z + N::of(h), j, target) - terms[j]) * N::of(factor / h)
        };
        let quotients = outputs().map(quotient).collect();
        let total = sum(terms.iter().copied());
        let loss = match factor == 1.0 {
            true => total,
            false => total * N::of(factor),
        };
        (loss, quotients)
    }
}
