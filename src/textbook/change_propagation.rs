//! Textbook propagation of changes: a perturbation of one unit is carried to the loss as a change,
//! never as a perturbed value, so no two nearly equal numbers are subtracted.
//!
//! Two kinds of change take the same path, W·Δa in each layer, and differ in what a unit and the
//! loss do with them ([`ChangeRule`]):
//! - finite changes in cancellation-free arithmetic (Reps and Rall, "Computational divided
//!   differencing and divided-difference arithmetics", 2003), with y = σ(z), ȳ = 1 − y:
//!   ```text
//!   Δσ = y·ȳ·M/(1 + y·M), M = e^Δz − 1
//!   ΔL = Δa·(r + ½Δa)                              quadratic, r = a − target
//!      = ln(1 + y·(e^Δz − 1))                      cross-entropy; ȳ and −Δz for the target
//!      = ln(1 + Σ_{k≠t} p_k·(e^(Δz_k − Δz_t) − 1)) softmax
//!   ```
//! - rates of change, their limit: ȧ = σ′·ż, L̇ = Σ δ·ż.
//!
//! l2 is left out.

use super::incremental::sum_of_rows;
use super::{Sample, Target, TextbookNetwork, class, shifted_exponentials, sign};
use crate::numeric::output_loss::OutputLoss;
use crate::textbook::counting::{Number, sum};
use crate::textbook::tangents::TangentBase;

/// What the units and the loss of one sample do with changes of their z.
trait ChangeRule<N> {
    /// Returns the change of a of hidden unit `j` of layer `l`.
    fn activation(&self, l: usize, j: usize, dz: N) -> N;
    /// Returns the change of the loss if output `j` alone moves.
    fn output(&self, j: usize, dz: N) -> N;
    /// Returns the change of the loss if all outputs move.
    fn outputs(&self, dz: &[N]) -> N;
}

/// Rates of change, from the derivatives at θ.
impl<N: Number> ChangeRule<N> for TangentBase<N> {
    fn activation(&self, l: usize, j: usize, dz: N) -> N {
        self.slopes[l][j] * dz
    }
    fn output(&self, j: usize, dz: N) -> N {
        self.errors[j] * dz
    }
    fn outputs(&self, dz: &[N]) -> N {
        sum(self.errors.iter().zip(dz).map(|(&error, &dz)| error * dz))
    }
}

/// Values of one sample at θ from which finite changes start.
struct ChangeBase<N, T> {
    output_loss: OutputLoss,
    target: T,
    /// a_0 … a_{L−1}.
    a: Vec<Vec<N>>,
    /// 1 − a_1 … 1 − a_{L−1}, at their index.
    complements: Vec<Vec<N>>,
    /// y and 1 − y of the outputs: of a sigmoid σ(z), of a softmax p.
    outputs: Vec<(N, N)>,
    /// a − target of each output of a quadratic loss.
    residuals: Vec<N>,
}

impl<N: Number, T: Target> ChangeBase<N, T> {
    fn new(net: &TextbookNetwork, theta: &[N], (inputs, target): &Sample<T>) -> Self {
        let mut a = vec![inputs.iter().map(|&x| N::of(x)).collect::<Vec<N>>()];
        let mut complements = vec![Vec::new()];
        for l in 1..net.layers() {
            let z = net.pre_activations(l, theta, &a[l - 1]);
            let (y, one_minus_y) = z.into_iter().map(sigmoid_pair).unzip();
            a.push(y);
            complements.push(one_minus_y);
        }
        let z = net.pre_activations(net.layers(), theta, &a[net.layers() - 1]);
        let target = *target;
        let is_target = |j: usize| j == usize::from(class(target));
        let outputs: Vec<(N, N)> = match net.output_loss {
            OutputLoss::LinearQuadratic => Vec::new(),
            OutputLoss::SoftmaxCrossEntropy => probabilities(&z, usize::from(class(target))),
            // The probability of the wrong sign.
            OutputLoss::Logistic if sign(class(target)) > 0.0 => vec![sigmoid_pair(-z[0])],
            _ => z.iter().map(|&z| sigmoid_pair(z)).collect(),
        };
        let residuals = match net.output_loss {
            OutputLoss::LinearQuadratic => {
                let outputs = z.iter().enumerate();
                outputs.map(|(j, &z)| z - N::of(target.at(j))).collect()
            }
            OutputLoss::SigmoidQuadratic => (outputs.iter().enumerate())
                .map(|(j, &(y, one_minus_y))| if is_target(j) { -one_minus_y } else { y })
                .collect(),
            _ => Vec::new(),
        };
        Self {
            output_loss: net.output_loss,
            target,
            a,
            complements,
            outputs,
            residuals,
        }
    }
}

impl<N: Number, T: Target> ChangeRule<N> for ChangeBase<N, T> {
    fn activation(&self, l: usize, j: usize, dz: N) -> N {
        sigmoid_change(self.a[l][j], self.complements[l][j], dz)
    }

    fn output(&self, j: usize, dz: N) -> N {
        let is_target = || j == usize::from(class(self.target));
        let square = |da: N| da * (self.residuals[j] + N::of(0.5) * da);
        match self.output_loss {
            OutputLoss::LinearQuadratic => square(dz),
            OutputLoss::SigmoidQuadratic => {
                let (y, one_minus_y) = self.outputs[j];
                square(sigmoid_change(y, one_minus_y, dz))
            }
            OutputLoss::SigmoidCrossEntropy | OutputLoss::SoftmaxCrossEntropy => {
                let (y, one_minus_y) = self.outputs[j];
                match is_target() {
                    true => (one_minus_y * (-dz).exp_m1()).ln_1p(),
                    false => (y * dz.exp_m1()).ln_1p(),
                }
            }
            OutputLoss::Logistic => {
                let dz = if sign(class(self.target)) > 0.0 {
                    -dz
                } else {
                    dz
                };
                (self.outputs[0].0 * dz.exp_m1()).ln_1p()
            }
        }
    }

    fn outputs(&self, dz: &[N]) -> N {
        if self.output_loss != OutputLoss::SoftmaxCrossEntropy {
            let outputs = dz.iter().enumerate();
            return sum(outputs.map(|(j, &dz)| self.output(j, dz)));
        }
        let target = usize::from(class(self.target));
        let others = (0..dz.len()).filter(|&k| k != target);
        sum(others.map(|k| self.outputs[k].0 * (dz[k] - dz[target]).exp_m1())).ln_1p()
    }
}

impl TextbookNetwork {
    /// Returns the forward differences, `(N,)`, in cancellation-free arithmetic.
    pub fn cancellation_free_differences<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample<impl Target>],
        h: f64,
    ) -> Vec<N> {
        let rows = batch.iter().map(|sample| {
            let base = ChangeBase::new(self, theta, sample);
            self.changes_by_parameter(&base.a, h, |at, dz| {
                self.weighted(sample.1, self.propagated(theta, &base, at, dz))
            })
        });
        let scale = N::of(1.0 / batch.len() as f64 / h);
        sum_of_rows(rows).into_iter().map(|g| g * scale).collect()
    }

    /// Returns the central differences, `(N,)`, in cancellation-free arithmetic.
    pub fn cancellation_free_central_differences<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample<impl Target>],
        h: f64,
    ) -> Vec<N> {
        let rows = batch.iter().map(|sample| {
            let base = ChangeBase::new(self, theta, sample);
            self.changes_by_parameter(&base.a, h, |at, dz| {
                let change = |dz: N| self.propagated(theta, &base, at, dz);
                self.weighted(sample.1, change(dz) - change(-dz))
            })
        });
        let scale = N::of(0.5 / batch.len() as f64 / h);
        sum_of_rows(rows).into_iter().map(|g| g * scale).collect()
    }

    /// Returns the gradient by node perturbation, `(N,)`, in cancellation-free arithmetic.
    pub fn cancellation_free_node_perturbation<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample<impl Target>],
        h: f64,
    ) -> Vec<N> {
        let scale = N::of(1.0 / batch.len() as f64 / h);
        let rows = batch.iter().map(|sample| {
            let base = ChangeBase::new(self, theta, sample);
            self.products_by_unit(&base.a, |at| {
                self.weighted(sample.1, self.propagated(theta, &base, at, N::of(h))) * scale
            })
        });
        sum_of_rows(rows)
    }

    /// Returns the exact gradient, `(N,)`, by N Jacobian-vector products, each computed only from
    /// what its parameter changes: forward mode, incremental.
    pub fn incremental_forward_mode<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample<impl Target>],
    ) -> Vec<N> {
        let rows = batch.iter().map(|sample| {
            let base = TangentBase::new(self, theta, sample);
            let mut rates = vec![N::of(0.0); self.parameters()];
            for l in 1..=self.layers() {
                for j in 0..self.sizes[l] {
                    let weights = self.weights(l).start + j * self.sizes[l - 1];
                    // ż of the unit is the input of the weight.
                    for (i, &input) in base.a[l - 1].iter().enumerate() {
                        rates[weights + i] = self.propagated(theta, &base, (l, j), input);
                    }
                    if self.bias {
                        let rate = self.propagated(theta, &base, (l, j), N::of(1.0));
                        rates[self.biases(l).start + j] = rate;
                    }
                }
            }
            rates
        });
        let scale = N::of(1.0 / batch.len() as f64);
        sum_of_rows(rows).into_iter().map(|g| g * scale).collect()
    }

    /// Returns the change of one sample's loss, when z of unit `j` of layer `l` changes by `dz`: the
    /// unit, one product for each unit of the next layer, full products above. Finite changes do not
    /// have the sample's factor.
    fn propagated<N: Number>(
        &self,
        theta: &[N],
        rule: &impl ChangeRule<N>,
        (l, j): (usize, usize),
        dz: N,
    ) -> N {
        let layers = self.layers();
        if l == layers {
            return rule.output(j, dz);
        }
        let da = rule.activation(l, j, dz);
        let weight = |k: usize| theta[self.weights(l + 1).start + k * self.sizes[l] + j];
        let mut above: Vec<N> = (0..self.sizes[l + 1]).map(|k| weight(k) * da).collect();
        for m in l + 2..=layers {
            let below = above.iter().enumerate();
            let below: Vec<N> = below
                .map(|(k, &dz)| rule.activation(m - 1, k, dz))
                .collect();
            above = self.products(m, theta, &below);
        }
        rule.outputs(&above)
    }
}

/// Returns y = σ(z) and 1 − y, neither by a subtraction: t = e^−|z|, 1/(1 + t) and t/(1 + t).
fn sigmoid_pair<N: Number>(z: N) -> (N, N) {
    let t = (-z.abs()).exp();
    let r = N::of(1.0) / (N::of(1.0) + t);
    let other = t * r;
    if z.value() < 0.0 {
        (other, r)
    } else {
        (r, other)
    }
}

/// Returns σ(z + Δz) − σ(z), from y = σ(z) and 1 − y.
fn sigmoid_change<N: Number>(y: N, one_minus_y: N, dz: N) -> N {
    // For a negative Δz the same formula with y and 1 − y exchanged, whose divisor is above 1.
    let m = dz.abs().exp_m1();
    let (q, negative) = if dz.value() < 0.0 {
        (one_minus_y, true)
    } else {
        (y, false)
    };
    let change = y * one_minus_y * m / (N::of(1.0) + q * m);
    if negative { -change } else { change }
}

/// Returns p of each output of a softmax, and 1 − p of output `target` as the sum of the others;
/// the other complements are not used.
fn probabilities<N: Number>(z: &[N], target: usize) -> Vec<(N, N)> {
    let (powers, total, _) = shifted_exponentials(z);
    let p: Vec<N> = powers.into_iter().map(|power| power / total).collect();
    let others = sum((0..z.len()).filter(|&k| k != target).map(|k| p[k]));
    p.into_iter().map(|p| (p, others)).collect()
}
