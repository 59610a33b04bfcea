//! Textbook incremental differences: each perturbed loss is computed only from what the
//! perturbation changes, its unit, the next layer by a rank-1 update, the layers above in full.
//!
//! One parameter at a time ([`TextbookNetwork::incremental_differences`]), or one unit at a time
//! (node perturbation). Perturbed values are subtracted from values at θ;
//! [`super::change_propagation`] propagates the changes themselves instead. l2 is left out.

use super::{Sample, Target, TextbookNetwork, class, loss, sigmoid, sign, softplus};
use crate::numeric::output_loss::OutputLoss;
use crate::textbook::counting::{Number, sum};

/// Values of one sample's pass at θ, from which perturbations of θ start.
#[derive(Clone, Debug)]
pub struct BasePass<N, T = u16> {
    /// Activations a_0 … a_{L−1}.
    pub a: Vec<Vec<N>>,
    /// Pre-activations z_1 … z_L, z_l at index l; entry 0 is empty.
    pub z: Vec<Vec<N>>,
    /// Terms of the loss at θ, and their sum.
    loss: RowTerms<N>,
    target: T,
}

/// Terms of one sample's loss: one per output, or a single one for softmax, whose outputs share a
/// sum. A quadratic loss is half the sum of its terms r².
#[derive(Clone, Debug)]
struct RowTerms<N> {
    terms: Vec<N>,
    total: N,
}

impl TextbookNetwork {
    /// Returns the forward differences, `(N,)`. The loss at θ is one of N + 1 evaluations. The
    /// factors ½, 1/B and 1/h are applied last, as one.
    pub fn incremental_differences<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample<impl Target>],
        h: f64,
    ) -> Vec<N> {
        let rows = batch.iter().map(|sample| {
            let base = self.base(theta, sample);
            self.changes_by_parameter(&base.a, h, |at, dz| self.change(theta, &base, at, dz))
        });
        let scale = N::of(self.loss_factor() / batch.len() as f64 / h);
        sum_of_rows(rows).into_iter().map(|g| g * scale).collect()
    }

    /// Returns the central differences, `(N,)`, of 2N evaluations likewise.
    pub fn incremental_central_differences<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample<impl Target>],
        h: f64,
    ) -> Vec<N> {
        let rows = batch.iter().map(|sample| {
            let (a, z) = self.passed(theta, &sample.0);
            self.changes_by_parameter(&a, h, |at, dz| {
                let moved = |dz: N| self.moved_loss(theta, (&a, &z), sample.1, at, dz);
                self.weighted(sample.1, moved(dz) - moved(-dz))
            })
        });
        let scale = N::of(0.5 * self.loss_factor() / batch.len() as f64 / h);
        sum_of_rows(rows).into_iter().map(|g| g * scale).collect()
    }

    /// Returns `change((l, j), Δz)` for each parameter, `(N,)`: unit j of layer l has the
    /// parameter, which moves its z by Δz = h·a; a bias moves z by h.
    pub(super) fn changes_by_parameter<N: Number>(
        &self,
        a: &[Vec<N>],
        h: f64,
        change: impl Fn((usize, usize), N) -> N,
    ) -> Vec<N> {
        let mut changes = vec![N::of(0.0); self.parameters()];
        for l in 1..=self.layers() {
            // The same for every unit of the layer.
            let z_changes: Vec<N> = a[l - 1].iter().map(|&a| N::of(h) * a).collect();
            for j in 0..self.sizes[l] {
                let weights = self.weights(l).start + j * self.sizes[l - 1];
                for (i, &dz) in z_changes.iter().enumerate() {
                    changes[weights + i] = change((l, j), dz);
                }
                if self.bias {
                    changes[self.biases(l).start + j] = change((l, j), N::of(h));
                }
            }
        }
        changes
    }

    /// Returns the gradient by node perturbation, `(N,)`: each unit is perturbed by h, one at a
    /// time, in each sample. That is U + 1 evaluations for U units. The quotient approximates δ of
    /// the unit; times the unit's inputs it gives the partial derivatives of its weights.
    pub fn node_perturbation<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample<impl Target>],
        h: f64,
    ) -> Vec<N> {
        let scale = N::of(self.loss_factor() / batch.len() as f64 / h);
        let rows = batch.iter().map(|sample| {
            let base = self.base(theta, sample);
            self.products_by_unit(&base.a, |at| {
                self.change(theta, &base, at, N::of(h)) * scale
            })
        });
        sum_of_rows(rows)
    }

    /// Returns `delta((l, j))` of each unit times the unit's inputs, `(N,)`; a bias has an input
    /// of 1.
    pub(super) fn products_by_unit<N: Number>(
        &self,
        a: &[Vec<N>],
        delta: impl Fn((usize, usize)) -> N,
    ) -> Vec<N> {
        let mut partials = vec![N::of(0.0); self.parameters()];
        for l in 1..=self.layers() {
            for j in 0..self.sizes[l] {
                let delta = delta((l, j));
                let weights = self.weights(l).start + j * self.sizes[l - 1];
                for (i, &a) in a[l - 1].iter().enumerate() {
                    partials[weights + i] = delta * a;
                }
                if self.bias {
                    partials[self.biases(l).start + j] = delta;
                }
            }
        }
        partials
    }

    /// Runs the pass of one sample at `theta` from which perturbations start.
    pub fn base<N: Number, T: Target>(
        &self,
        theta: &[N],
        (inputs, target): &Sample<T>,
    ) -> BasePass<N, T> {
        let (a, z) = self.passed(theta, inputs);
        let loss = self.loss_terms(&z[self.layers()], *target);
        BasePass {
            a,
            z,
            loss,
            target: *target,
        }
    }

    /// Returns a_0 … a_{L−1}, and z_1 … z_L at indices 1 … L.
    pub(super) fn passed<N: Number>(
        &self,
        theta: &[N],
        inputs: &[f64],
    ) -> (Vec<Vec<N>>, Vec<Vec<N>>) {
        let mut a = vec![inputs.iter().map(|&x| N::of(x)).collect::<Vec<N>>()];
        let mut z = vec![Vec::new()];
        for l in 1..=self.layers() {
            z.push(self.pre_activations(l, theta, &a[l - 1]));
            if l < self.layers() {
                a.push(z[l].iter().map(|&z| sigmoid(z)).collect());
            }
        }
        (a, z)
    }

    /// Returns the change of the sum of the loss's terms, times the sample's factor, when z of unit
    /// `j` of layer `l` changes by `dz`. Times [`TextbookNetwork::loss_factor`] it is the change of
    /// the loss.
    pub fn change<N: Number>(
        &self,
        theta: &[N],
        base: &BasePass<N, impl Target>,
        (l, j): (usize, usize),
        dz: N,
    ) -> N {
        let before = match l == self.layers() && self.has_separate_terms() {
            true => base.loss.terms[j],
            false => base.loss.total,
        };
        let moved = self.moved_loss(theta, (&base.a, &base.z), base.target, (l, j), dz);
        self.weighted(base.target, moved - before)
    }

    /// Returns the sum of the loss's terms after z of unit `j` of layer `l` moved by `dz`; of the
    /// terms of separate outputs only the one that moved, if an output did.
    fn moved_loss<N: Number>(
        &self,
        theta: &[N],
        (a, z): (&[Vec<N>], &[Vec<N>]),
        target: impl Target,
        (l, j): (usize, usize),
        dz: N,
    ) -> N {
        let layers = self.layers();
        let moved = z[l][j] + dz;
        if l == layers && self.has_separate_terms() {
            return self.term(moved, j, target);
        }
        if l == layers {
            let mut z = z[l].clone();
            z[j] = moved;
            return self.loss_terms(&z, target).total;
        }
        let change = sigmoid(moved) - a[l][j];
        let weight = |k: usize| theta[self.weights(l + 1).start + k * self.sizes[l] + j];
        let mut above: Vec<N> = (0..self.sizes[l + 1])
            .map(|k| z[l + 1][k] + weight(k) * change)
            .collect();
        for m in l + 2..=layers {
            let y: Vec<N> = above.into_iter().map(sigmoid).collect();
            above = self.pre_activations(m, theta, &y);
        }
        self.loss_terms(&above, target).total
    }

    /// Returns the factor of the sum of the loss's terms.
    pub fn loss_factor(&self) -> f64 {
        match self.output_loss {
            OutputLoss::SigmoidQuadratic | OutputLoss::LinearQuadratic => 0.5,
            _ => 1.0,
        }
    }

    /// Tells whether each output has a term of its own.
    fn has_separate_terms(&self) -> bool {
        self.output_loss != OutputLoss::SoftmaxCrossEntropy
    }

    /// Returns the terms of the loss without the sample's factor, from z_L.
    fn loss_terms<N: Number>(&self, z: &[N], target: impl Target) -> RowTerms<N> {
        let terms: Vec<N> = match self.has_separate_terms() {
            true => (z.iter().enumerate())
                .map(|(j, &z)| self.term(z, j, target))
                .collect(),
            false => vec![loss(self.output_loss, z, target)],
        };
        RowTerms {
            total: sum(terms.iter().copied()),
            terms,
        }
    }

    /// Returns the term of output `j`, from its z.
    ///
    /// # Panics
    /// If the outputs are those of a softmax.
    pub(super) fn term<N: Number>(&self, z: N, j: usize, target: impl Target) -> N {
        let square = |residual: N| residual * residual;
        match self.output_loss {
            OutputLoss::SigmoidQuadratic => square(z.sigmoid_residual(target.at(j))),
            OutputLoss::LinearQuadratic => square(z - N::of(target.at(j))),
            OutputLoss::SigmoidCrossEntropy => {
                let is_target = j == usize::from(class(target));
                softplus(if is_target { -z } else { z })
            }
            OutputLoss::Logistic => softplus(N::of(-sign(class(target))) * z),
            OutputLoss::SoftmaxCrossEntropy => unreachable!("softmax outputs share one term"),
        }
    }
}

/// Returns the sums of the rows' vectors, in order.
pub(super) fn sum_of_rows<N: Number>(mut rows: impl Iterator<Item = Vec<N>>) -> Vec<N> {
    let mut sums = rows.next().expect("a batch has a row");
    for row in rows {
        for (total, value) in sums.iter_mut().zip(row) {
            *total = *total + value;
        }
    }
    sums
}
