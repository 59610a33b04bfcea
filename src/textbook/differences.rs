//! Textbook finite differences by passes: every perturbed loss is a pass over the mini-batch, from
//! the inputs or from the layer of the perturbed parameter on.
//!
//! One increment h for all parameters; l2 is left out.

use super::{Sample, Target, TextbookNetwork, sigmoid};
use crate::textbook::counting::{Number, sum};

impl TextbookNetwork {
    /// Returns (L(θ + h·eᵢ) − L(θ))/h for each i, `(N,)`: N + 1 passes.
    pub fn forward_differences<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample<impl Target>],
        h: f64,
    ) -> Vec<N> {
        let base = self.loss(theta, batch);
        let mut theta = theta.to_vec();
        let partial = |index: usize| {
            let at = theta[index];
            theta[index] = at + N::of(h);
            let change = self.loss(&theta, batch) - base;
            theta[index] = at;
            change * N::of(1.0 / h)
        };
        (0..self.parameters()).map(partial).collect()
    }

    /// Returns the same as [`TextbookNetwork::forward_differences`], with the N perturbed passes
    /// distributed over rayon's threads. Each partial derivative is a computation of its own, so the
    /// bits are the same on any number of threads.
    ///
    /// This is the whole idea of the parallel finite-difference engines. They differ in what they do
    /// not compute again.
    pub fn parallel_forward_differences(
        &self,
        theta: &[f64],
        batch: &[Sample<impl Target>],
        h: f64,
    ) -> Vec<f64> {
        use rayon::prelude::*;
        let base = self.loss(theta, batch);
        let partial = |theta: &mut Vec<f64>, index: usize| {
            let at = theta[index];
            theta[index] = at + h;
            let change = self.loss(theta, batch) - base;
            theta[index] = at;
            change * (1.0 / h)
        };
        (0..self.parameters())
            .into_par_iter()
            .map_init(|| theta.to_vec(), partial)
            .collect()
    }

    /// Returns (L(θ + h·eᵢ) − L(θ − h·eᵢ))/2h for each i, `(N,)`: 2N passes.
    pub fn central_differences<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample<impl Target>],
        h: f64,
    ) -> Vec<N> {
        let mut theta = theta.to_vec();
        let partial = |index: usize| {
            let at = theta[index];
            theta[index] = at + N::of(h);
            let above = self.loss(&theta, batch);
            theta[index] = at - N::of(h);
            let change = above - self.loss(&theta, batch);
            theta[index] = at;
            change * N::of(0.5 / h)
        };
        (0..self.parameters()).map(partial).collect()
    }

    /// Returns the forward differences, `(N,)`, with N perturbed passes that each start from the
    /// activations below the perturbed layer, which the parameter does not change.
    pub fn prefix_forward_differences<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample<impl Target>],
        h: f64,
    ) -> Vec<N> {
        let below = self.hidden_activations(theta, batch);
        let base = self.loss_from(self.layers(), theta, &below, batch);
        self.prefix_partials(theta, |theta, l, index| {
            let at = theta[index];
            theta[index] = at + N::of(h);
            let change = self.loss_from(l, theta, &below, batch) - base;
            theta[index] = at;
            change * N::of(1.0 / h)
        })
    }

    /// Returns the central differences, `(N,)`, with 2N perturbed passes likewise.
    pub fn prefix_central_differences<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample<impl Target>],
        h: f64,
    ) -> Vec<N> {
        let below = self.hidden_activations(theta, batch);
        self.prefix_partials(theta, |theta, l, index| {
            let at = theta[index];
            theta[index] = at + N::of(h);
            let above = self.loss_from(l, theta, &below, batch);
            theta[index] = at - N::of(h);
            let change = above - self.loss_from(l, theta, &below, batch);
            theta[index] = at;
            change * N::of(0.5 / h)
        })
    }

    /// Returns `partial(θ, l, index)` of each parameter; l is its layer.
    fn prefix_partials<N: Number>(
        &self,
        theta: &[N],
        mut partial: impl FnMut(&mut [N], usize, usize) -> N,
    ) -> Vec<N> {
        let mut theta = theta.to_vec();
        let mut partials = Vec::with_capacity(theta.len());
        for l in 1..=self.layers() {
            for index in self.weights(l).chain(self.biases(l)) {
                partials.push(partial(&mut theta, l, index));
            }
        }
        partials
    }

    /// Returns a_0 … a_{L−1} of each sample.
    fn hidden_activations<N: Number, T: Target>(
        &self,
        theta: &[N],
        batch: &[Sample<T>],
    ) -> Vec<Vec<Vec<N>>> {
        let of_row = |(inputs, _): &Sample<T>| {
            let mut a = vec![inputs.iter().map(|&x| N::of(x)).collect::<Vec<N>>()];
            for l in 1..self.layers() {
                let z = self.pre_activations(l, theta, &a[l - 1]);
                a.push(z.into_iter().map(sigmoid).collect());
            }
            a
        };
        batch.iter().map(of_row).collect()
    }

    /// Returns the mean loss of `batch` by passes from layer `l` on; `below` has a_0 … a_{L−1} of
    /// each sample, of which a_{l−1} is read.
    fn loss_from<N: Number>(
        &self,
        l: usize,
        theta: &[N],
        below: &[Vec<Vec<N>>],
        batch: &[Sample<impl Target>],
    ) -> N {
        let losses = below.iter().zip(batch).map(|(below, (_, target))| {
            let mut a = below[l - 1].clone();
            for m in l..self.layers() {
                let z = self.pre_activations(m, theta, &a);
                a = z.into_iter().map(sigmoid).collect();
            }
            let top = self.pre_activations(self.layers(), theta, &a);
            self.weighted_loss(&top, *target)
        });
        sum(losses) * N::of(1.0 / batch.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::output_loss::OutputLoss;

    #[test]
    fn differences_on_all_threads_have_the_bits_of_those_on_one() {
        let network = TextbookNetwork {
            sizes: vec![3, 4, 2],
            bias: true,
            output_loss: OutputLoss::SigmoidQuadratic,
            l2: 0.0,
            class_weights: Vec::new(),
        };
        let theta: Vec<f64> = (0..network.parameters())
            .map(|k| (k as f64).sin())
            .collect();
        let batch = vec![(vec![0.5, -1.0, 2.0], 0), (vec![1.5, 0.25, -0.5], 1)];
        let serial = network.forward_differences(&theta, &batch, 1e-6);
        assert_eq!(
            network.parallel_forward_differences(&theta, &batch, 1e-6),
            serial
        );
        let (_, gradient) = network.gradient(&theta, &batch);
        for (found, exact) in serial.iter().zip(&gradient) {
            assert!((found - exact).abs() < 1e-5, "{found} for {exact}");
        }
    }
}
