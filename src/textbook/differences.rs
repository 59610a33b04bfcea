//! Textbook finite differences: by whole passes, incremental by parameter, and by unit (node
//! perturbation), without the shortcuts of the kernels.
//!
//! One increment h for all parameters; l2 is left out. The incremental and the unit-wise form are
//! for the quadratic loss of sigmoid outputs, with biases.

use super::{Sample, Target, TextbookNetwork, sigmoid};
use crate::numeric::output_loss::OutputLoss;
use crate::textbook::counting::{Number, sum};

/// Values of one sample's pass at θ, from which perturbations of θ start.
#[derive(Clone, Debug)]
pub struct BasePass<N> {
    /// Activations a_0 … a_L.
    pub a: Vec<Vec<N>>,
    /// Pre-activations z_1 … z_L, z_l at index l; entry 0 is empty.
    pub z: Vec<Vec<N>>,
    /// Squared residual r² of each output.
    squares: Vec<N>,
    /// Sum of the squares, Σ r².
    total: N,
    label: u16,
    /// Factor of the sample's loss; `None` if all samples count the same.
    weight: Option<f64>,
}

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

    /// Returns the forward differences, `(N,)`, each computed only from what the parameter changes:
    /// its unit, the next layer by a rank-1 update, the layers above in full. Differences are those
    /// of squared errors; ½, 1/B and 1/h are applied last, as one factor.
    pub fn incremental_differences<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample],
        h: f64,
    ) -> Vec<N> {
        let mut rows = batch.iter().map(|row| self.changes(theta, row, h));
        let mut sums = rows.next().expect("a batch has a row");
        for row in rows {
            for (total, change) in sums.iter_mut().zip(row) {
                *total = *total + change;
            }
        }
        let scale = N::of(0.5 / batch.len() as f64 / h);
        sums.into_iter().map(|total| total * scale).collect()
    }

    /// Returns the change of one sample's Σ r² for each parameter, `(N,)`.
    fn changes<N: Number>(&self, theta: &[N], sample: &Sample, h: f64) -> Vec<N> {
        let base = self.base(theta, sample);
        let mut changes = theta.to_vec();
        for l in 1..=self.layers() {
            // Δz = h·a, the same for every unit of the layer; a bias changes z by h.
            let mut z_changes: Vec<N> = base.a[l - 1].iter().map(|&a| N::of(h) * a).collect();
            z_changes.push(N::of(h));
            for j in 0..self.sizes[l] {
                for (i, &dz) in z_changes.iter().enumerate() {
                    let index = match i < self.sizes[l - 1] {
                        true => self.weights(l).start + j * self.sizes[l - 1] + i,
                        false => self.biases(l).start + j,
                    };
                    changes[index] = self.change(theta, &base, (l, j), dz);
                }
            }
        }
        changes
    }

    /// Returns the gradient by node perturbation, `(N,)`: each unit is perturbed by h, one at a
    /// time, in each sample. That is U + 1 evaluations for U units. The quotient approximates δ of
    /// the unit; times the unit's inputs it gives the partial derivatives of its weights.
    pub fn node_perturbation<N: Number>(&self, theta: &[N], batch: &[Sample], h: f64) -> Vec<N> {
        let scale = N::of(0.5 / batch.len() as f64 / h);
        let mut rows = batch.iter().map(|sample| {
            let base = self.base(theta, sample);
            let mut partials = theta.to_vec();
            for l in 1..=self.layers() {
                let fan_in = self.sizes[l - 1];
                for j in 0..self.sizes[l] {
                    let delta = self.change(theta, &base, (l, j), N::of(h)) * scale;
                    let weights = self.weights(l).start + j * fan_in;
                    for i in 0..fan_in {
                        partials[weights + i] = delta * base.a[l - 1][i];
                    }
                    partials[self.biases(l).start + j] = delta;
                }
            }
            partials
        });
        let mut sums = rows.next().expect("a batch has a row");
        for row in rows {
            for (total, partial) in sums.iter_mut().zip(row) {
                *total = *total + partial;
            }
        }
        sums
    }

    /// Runs the pass of one sample at `theta` from which perturbations start.
    ///
    /// # Panics
    /// If the network does not have sigmoid outputs and the quadratic loss.
    pub fn base<N: Number>(&self, theta: &[N], (inputs, label): &Sample) -> BasePass<N> {
        assert_eq!(self.output_loss, OutputLoss::SigmoidQuadratic);
        let mut a = vec![inputs.iter().map(|&x| N::of(x)).collect::<Vec<N>>()];
        let mut z = vec![Vec::new()];
        for l in 1..=self.layers() {
            z.push(self.pre_activations(l, theta, &a[l - 1]));
            a.push(z[l].iter().map(|&z| sigmoid(z)).collect());
        }
        let outputs = a[self.layers()].iter().enumerate();
        let squares: Vec<N> = outputs.map(|(k, &a)| square(a, k, *label)).collect();
        BasePass {
            a,
            z,
            total: sum(squares.iter().copied()),
            squares,
            label: *label,
            weight: self.class_weight(*label),
        }
    }

    /// Returns the change of Σ r², times the sample's factor, when z of unit `j` of layer `l` changes by `dz`: computes the
    /// unit, a rank-1 update of layer l + 1, and full products above.
    pub fn change<N: Number>(
        &self,
        theta: &[N],
        base: &BasePass<N>,
        (l, j): (usize, usize),
        dz: N,
    ) -> N {
        let change = self.unweighted_change(theta, base, (l, j), dz);
        match base.weight {
            None => change,
            Some(weight) => change * N::of(weight),
        }
    }

    fn unweighted_change<N: Number>(
        &self,
        theta: &[N],
        base: &BasePass<N>,
        (l, j): (usize, usize),
        dz: N,
    ) -> N {
        let perturbed = sigmoid(base.z[l][j] + dz);
        if l == self.layers() {
            return square(perturbed, j, base.label) - base.squares[j];
        }
        let change = perturbed - base.a[l][j];
        let weight = |k: usize| theta[self.weights(l + 1).start + k * self.sizes[l] + j];
        let mut y: Vec<N> = (0..self.sizes[l + 1])
            .map(|k| sigmoid(base.z[l + 1][k] + weight(k) * change))
            .collect();
        for m in l + 2..=self.layers() {
            let z = self.pre_activations(m, theta, &y);
            y = z.into_iter().map(sigmoid).collect();
        }
        let outputs = y.iter().enumerate();
        sum(outputs.map(|(k, &a)| square(a, k, base.label))) - base.total
    }
}

/// Returns (a − y)² of output `k`; y is 1 for the class `label`, else 0.
fn square<N: Number>(a: N, k: usize, label: u16) -> N {
    let residual = a - N::of(f64::from(k == usize::from(label)));
    residual * residual
}

#[cfg(test)]
mod tests {
    use super::*;

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
