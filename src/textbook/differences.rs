//! Finite differences as a textbook has them: whole passes, and the incremental idea, by parameter and
//! by unit, without any short cut of the kernels. Quadratic loss of sigmoid outputs, biases, one increment h for all.

use super::{Sample, TextbookNetwork, sigmoid};
use crate::numeric::output_loss::OutputLoss;
use crate::textbook::counting::{Number, sum};

/// What one sample's pass at θ keeps for the perturbations of θ.
#[derive(Clone, Debug)]
pub struct BasePass<N> {
    /// a_0 … a_L.
    pub a: Vec<Vec<N>>,
    /// z_1 … z_L, at their own numbers: the first entry is empty.
    pub z: Vec<Vec<N>>,
    /// r² of every output.
    squares: Vec<N>,
    /// Σ r².
    total: N,
    label: u16,
}

impl TextbookNetwork {
    /// (L(θ + h·eᵢ) − L(θ))/h, N + 1 passes.
    pub fn forward_differences<N: Number>(&self, theta: &[N], batch: &[Sample], h: f64) -> Vec<N> {
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

    /// (L(θ + h·eᵢ) − L(θ − h·eᵢ))/2h, 2N passes.
    pub fn central_differences<N: Number>(&self, theta: &[N], batch: &[Sample], h: f64) -> Vec<N> {
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

    /// The forward differences again, each from what it changes: its unit, a rank-1 update of the
    /// next layer, full passes after it. Squared errors are compared; ½, 1/B and 1/h come last.
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

    /// The change of one sample's Σ r² by each parameter.
    fn changes<N: Number>(&self, theta: &[N], sample: &Sample, h: f64) -> Vec<N> {
        let base = self.base(theta, sample);
        let mut changes = theta.to_vec();
        for l in 1..=self.layers() {
            // Δz = h·a, the same for every unit; a bias moves z by h.
            let mut moves: Vec<N> = base.a[l - 1].iter().map(|&a| N::of(h) * a).collect();
            moves.push(N::of(h));
            for j in 0..self.sizes[l] {
                for (i, &dz) in moves.iter().enumerate() {
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

    /// Node perturbation: each unit moved by h in every sample on its own, U + 1 passes. The quotient
    /// stands for δ of the unit; times the unit's inputs it gives its weights' partial derivatives.
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

    /// The pass of `sample` at `theta` that perturbations start from.
    ///
    /// # Panics
    /// With another head than sigmoid outputs and the quadratic loss.
    pub fn base<N: Number>(&self, theta: &[N], (inputs, label): &Sample) -> BasePass<N> {
        assert_eq!(self.head, OutputLoss::SigmoidQuadratic);
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
        }
    }

    /// The change of Σ r² when z of unit `j` of layer `l` moves by `dz`: its unit, a rank-1 update of
    /// layer l + 1, full products above.
    pub fn change<N: Number>(
        &self,
        theta: &[N],
        base: &BasePass<N>,
        (l, j): (usize, usize),
        dz: N,
    ) -> N {
        let next = sigmoid(base.z[l][j] + dz);
        if l == self.layers() {
            return square(next, j, base.label) - base.squares[j];
        }
        let change = next - base.a[l][j];
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

/// (a − y)² of output `k`.
fn square<N: Number>(a: N, k: usize, label: u16) -> N {
    let residual = a - N::of(f64::from(k == usize::from(label)));
    residual * residual
}
