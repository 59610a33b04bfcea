//! Textbook directional derivatives: forward mode by whole Jacobian-vector products, and gradient
//! estimates along random directions, exact (forward gradients) or by two losses (SPSA).
//!
//! Along a direction the tangent of z is `ż_l = W_l·ȧ_{l−1} + V_l·a_{l−1} + c_l` for a direction
//! (V, c) of θ, and `ȧ = σ′·ż`; the derivative of the loss is Σ δ·ż of the outputs. l2 is left out.

use super::incremental::sum_of_rows;
use super::{Sample, Target, TextbookNetwork};
use crate::textbook::counting::{Number, sum};

/// Values of one sample at θ from which tangents start.
pub(super) struct TangentBase<N> {
    /// a_0 … a_{L−1}.
    pub a: Vec<Vec<N>>,
    /// σ′ of the hidden layers, at their index.
    pub slopes: Vec<Vec<N>>,
    /// δ of the outputs, times the sample's factor.
    pub errors: Vec<N>,
}

impl<N: Number> TangentBase<N> {
    /// Runs the pass at `theta`, loss included.
    pub fn new(net: &TextbookNetwork, theta: &[N], (inputs, target): &Sample<impl Target>) -> Self {
        let (a, top) = net.forward(theta, inputs);
        let (_, errors) = net.weighted_loss_and_errors(&top, *target);
        let slope = |a: &N| *a * (N::of(1.0) - *a);
        let hidden = a.iter().skip(1);
        let slopes = hidden.map(|a| a.iter().map(slope).collect());
        let slopes = std::iter::once(Vec::new()).chain(slopes).collect();
        Self { a, slopes, errors }
    }
}

impl TextbookNetwork {
    /// Returns the exact gradient, `(N,)`, by N Jacobian-vector products through all layers: the
    /// direction of each is an axis of θ, and its zeros are multiplied like other numbers.
    pub fn forward_mode<N: Number>(&self, theta: &[N], batch: &[Sample<impl Target>]) -> Vec<N> {
        self.along_axes(theta, batch, |_| 1)
    }

    /// Returns the same by Jacobian-vector products from the layer of the parameter on.
    pub fn prefix_forward_mode<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample<impl Target>],
    ) -> Vec<N> {
        self.along_axes(theta, batch, |l| l)
    }

    /// Returns the derivative along each axis of θ, whose tangents start in layer `first(l)` for a
    /// parameter of layer l.
    fn along_axes<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample<impl Target>],
        first: impl Fn(usize) -> usize,
    ) -> Vec<N> {
        let rows = self.tangent_bases(theta, batch);
        let scale = N::of(1.0 / batch.len() as f64);
        let mut axis = vec![N::of(0.0); theta.len()];
        let mut partials = Vec::with_capacity(theta.len());
        for l in 1..=self.layers() {
            let first = first(l);
            for index in self.weights(l).chain(self.biases(l)) {
                axis[index] = N::of(1.0);
                let rates = rows.iter().map(|row| {
                    self.tangent(theta, row, first, |m| {
                        // From the layer of the parameter on, only that layer moves by itself.
                        (first == 1 || m == l)
                            .then(|| self.pre_activations(m, &axis, &row.a[m - 1]))
                    })
                });
                partials.push(sum(rates) * scale);
                axis[index] = N::of(0.0);
            }
        }
        partials
    }

    /// Returns the forward gradient, `(N,)`: the exact derivative along each of `directions`,
    /// `(K, N)`, times that direction, averaged.
    pub fn forward_gradient<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample<impl Target>],
        directions: &[Vec<f64>],
    ) -> Vec<N> {
        let rows = self.tangent_bases(theta, batch);
        let scale = N::of(1.0 / (batch.len() * directions.len()) as f64);
        let estimates = directions.iter().map(|direction| {
            let v: Vec<N> = direction.iter().map(|&v| N::of(v)).collect();
            let rates = rows.iter().map(|row| {
                self.tangent(theta, row, 1, |l| {
                    Some(self.pre_activations(l, &v, &row.a[l - 1]))
                })
            });
            let rate = sum(rates) * scale;
            v.into_iter().map(|v| rate * v).collect()
        });
        sum_of_rows(estimates)
    }

    /// Returns the forward gradient with perturbed pre-activations, `(N,)`: `directions` has the
    /// U components of each direction, `(K, U)`, for every row the same (their values do not change
    /// the number of operations).
    pub fn activity_forward_gradient<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample<impl Target>],
        directions: &[Vec<f64>],
    ) -> Vec<N> {
        let start = |l: usize| self.sizes[1..l].iter().sum::<usize>();
        let scale = N::of(1.0 / (batch.len() * directions.len()) as f64);
        let rows = self.tangent_bases(theta, batch).into_iter().map(|row| {
            let estimates = directions.iter().map(|direction| {
                let v: Vec<N> = direction.iter().map(|&v| N::of(v)).collect();
                let rate = self.tangent(theta, &row, 1, |l| {
                    Some(v[start(l)..start(l) + self.sizes[l]].to_vec())
                });
                let rate = rate * scale;
                v.into_iter().map(|v| rate * v).collect()
            });
            let errors: Vec<N> = sum_of_rows(estimates);
            self.products_by_unit(&row.a, |(l, j)| errors[start(l) + j])
        });
        sum_of_rows(rows)
    }

    /// Returns the estimate by SPSA, `(N,)`: (L(θ + h·v) − L(θ − h·v))/2h times v, averaged over
    /// `directions`, `(K, N)`.
    pub fn spsa<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample<impl Target>],
        directions: &[Vec<f64>],
        h: f64,
    ) -> Vec<N> {
        let scale = N::of(0.5 / h / directions.len() as f64);
        let estimates = directions.iter().map(|direction| {
            let v: Vec<N> = direction.iter().map(|&v| N::of(v)).collect();
            let steps: Vec<N> = v.iter().map(|&v| N::of(h) * v).collect();
            let pairs = || theta.iter().zip(&steps);
            let above: Vec<N> = pairs().map(|(&theta, &step)| theta + step).collect();
            let below: Vec<N> = pairs().map(|(&theta, &step)| theta - step).collect();
            let change = self.loss(&above, batch) - self.loss(&below, batch);
            let quotient = change * scale;
            v.into_iter().map(|v| quotient * v).collect()
        });
        sum_of_rows(estimates)
    }

    fn tangent_bases<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample<impl Target>],
    ) -> Vec<TangentBase<N>> {
        let rows = batch.iter();
        rows.map(|sample| TangentBase::new(self, theta, sample))
            .collect()
    }

    /// Returns the derivative of one sample's loss. `own(l)` is the part of ż_l that layer l's own
    /// parameters or perturbation contribute, if any; below layer `first` nothing moves.
    fn tangent<N: Number>(
        &self,
        theta: &[N],
        base: &TangentBase<N>,
        first: usize,
        own: impl Fn(usize) -> Option<Vec<N>>,
    ) -> N {
        let mut below: Vec<N> = Vec::new();
        for l in first..=self.layers() {
            let passed = (l > first).then(|| self.products(l, theta, &below));
            let z: Vec<N> = match (passed, own(l)) {
                (Some(passed), Some(own)) => {
                    let pairs = passed.into_iter().zip(own);
                    pairs.map(|(passed, own)| passed + own).collect()
                }
                (passed, own) => passed.or(own).expect("the first layer moves"),
            };
            if l == self.layers() {
                return sum((base.errors.iter().zip(&z)).map(|(&error, &z)| error * z));
            }
            let slopes = base.slopes[l].iter();
            below = slopes.zip(&z).map(|(&slope, &z)| slope * z).collect();
        }
        unreachable!("the last layer returns")
    }
}
