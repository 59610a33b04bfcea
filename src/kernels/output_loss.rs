//! The output layer: computes the loss and the errors δ = ∂L/∂z from the pre-activations z.
//!
//! Each sample has one target class, or one target number per linear output, and its loss may have
//! a factor. The residual a − y of a sigmoid is taken from the pair
//! (σ, 1 − σ), never from a subtraction. Each loss is computed from z in a form that is finite for
//! every finite z, the linear quadratic one as long as z² does not overflow.

use super::elementary::{exp, ln, ln_1p, sigmoid_pair, softplus};
use super::panels::width;
use super::targets::Targets;
use super::{Kernel, Vector};
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;

/// Computes the losses and the errors of a mini-batch.
pub struct OutputErrors<'a, R> {
    /// Kind of output units and loss.
    pub output_loss: OutputLoss,
    /// Number of outputs.
    pub columns: usize,
    /// The rows' targets.
    pub targets: Targets<'a, R>,
    /// Factor of each error: 1/rows.
    pub scale: R,
    /// z in, δ out: panels `(rows, P)`, `stride` numbers apart. Padding becomes 0.
    pub values: &'a mut [R],
    /// Distance between panels, in numbers.
    pub stride: usize,
    /// Where to write the terms of the losses, if they are wanted beside their sum.
    pub terms: Option<LossTerms<'a, R>>,
}

/// The terms of the rows' losses, for a sum that another worker's rows continue.
pub struct LossTerms<'a, R> {
    /// The losses of the outputs, in the layout of [`OutputErrors::values`]: unless the outputs are
    /// a softmax, each column's losses are summed over the rows, then the columns' sums.
    pub outputs: &'a mut [R],
    /// The losses of the rows, which are the terms of a softmax.
    pub rows: &'a mut [f64],
}

impl<R: Real> Kernel<R> for OutputErrors<'_, R> {
    /// Sum of the rows' losses.
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector<Element = R>>(mut self) -> f64 {
        let width = width::<R>();
        let panels = self.columns.div_ceil(width);
        assert!(
            self.terms
                .as_ref()
                .is_none_or(|terms| terms.outputs.len() >= self.values.len())
        );
        self.targets.check(self.columns);
        let rows = self.targets.rows();
        assert!(self.values.len() >= (panels - 1) * self.stride + rows * width);
        assert!(V::LANES <= 16 && width <= 16);
        let mut total = 0.0;
        if self.output_loss == OutputLoss::SoftmaxCrossEntropy {
            for (row, &label) in self.targets.labels.iter().enumerate() {
                let weight = self.targets.weight(row);
                let scale = weight.map_or(self.scale, |weight| self.scale * weight);
                let (stride, columns) = (self.stride, self.columns);
                let mut loss = softmax::<V>(self.values, stride, row, columns, label, scale);
                if let Some(weight) = weight {
                    loss *= weight.to_f64();
                }
                total += loss;
                if let Some(terms) = &mut self.terms {
                    terms.rows[row] = loss;
                }
            }
            return total;
        }
        let zero = V::splat(R::ZERO);
        let one = V::splat(R::ONE);
        let half = V::splat(R::from_f64(0.5));
        let scale = V::splat(self.scale);
        // LANES numbers from identity[16 − offset] on are a unit vector with its 1 in lane
        // `offset`.
        let mut identity = [R::ZERO; 48];
        identity[16] = R::ONE;
        for first in (0..self.columns).step_by(V::LANES) {
            let used = V::LANES.min(self.columns - first);
            let mut mask = [R::ZERO; 16];
            mask[..used].fill(R::ONE);
            let mut lanes = [R::ZERO; 16];
            // SAFETY: `mask` and `lanes` hold 16 numbers, at most LANES of which are used; the
            // extents of `values` and of the terms were checked; `identity` holds 48 numbers and is read from at most
            // 16 on.
            unsafe {
                let mask = V::load(mask.as_ptr());
                let mut losses = zero;
                let base = first / width * self.stride + first % width;
                for (row, &label) in self.targets.labels.iter().enumerate() {
                    let at = self.values.as_mut_ptr().add(base + row * width);
                    let offset = (usize::from(label)).wrapping_sub(first);
                    let hot = if offset < V::LANES {
                        V::load(identity.as_ptr().add(16 - offset))
                    } else {
                        zero
                    };
                    let minus_hot = zero.sub(hot);
                    let z = V::load(at);
                    let (error, loss) = match self.output_loss {
                        OutputLoss::SigmoidQuadratic => {
                            let (y, one_minus_y) = sigmoid_pair(z);
                            let residual = minus_hot.select_negative(zero.sub(one_minus_y), y);
                            (
                                residual.mul(y.mul(one_minus_y)),
                                half.mul(residual).mul(residual),
                            )
                        }
                        OutputLoss::LinearQuadratic => {
                            let target = if self.targets.numbers.is_empty() {
                                hot
                            } else {
                                self.targets.row(row, self.columns).lanes(first)
                            };
                            let residual = z.sub(target);
                            (residual, half.mul(residual).mul(residual))
                        }
                        OutputLoss::SigmoidCrossEntropy => {
                            let (y, one_minus_y) = sigmoid_pair(z);
                            let residual = minus_hot.select_negative(zero.sub(one_minus_y), y);
                            (
                                residual,
                                softplus(minus_hot.select_negative(zero.sub(z), z)),
                            )
                        }
                        OutputLoss::Logistic => {
                            // The margin is y·z with y = ±1.
                            let sign = if label == 1 { one } else { zero.sub(one) };
                            let margin = sign.mul(z);
                            let (_, one_minus_y) = sigmoid_pair(margin);
                            (zero.sub(sign.mul(one_minus_y)), softplus(zero.sub(margin)))
                        }
                        OutputLoss::SoftmaxCrossEntropy => {
                            unreachable!("softmax is handled row by row above")
                        }
                    };
                    let (scale, loss) = match self.targets.weight(row) {
                        None => (scale, loss),
                        Some(weight) => {
                            let weight = V::splat(weight);
                            (scale.mul(weight), loss.mul(weight))
                        }
                    };
                    error.mul(scale).mul(mask).store(at);
                    losses = losses.add(loss);
                    if let Some(terms) = &mut self.terms {
                        loss.store(terms.outputs.as_mut_ptr().add(base + row * width));
                    }
                }
                losses.store(lanes.as_mut_ptr());
            }
            for &lane in &lanes[..used] {
                total += lane.to_f64();
            }
        }
        total
    }
}

/// Computes the loss and the errors of one row of softmax with cross-entropy; returns the loss.
#[inline(always)]
fn softmax<V: Vector>(
    values: &mut [V::Element],
    stride: usize,
    row: usize,
    columns: usize,
    label: u16,
    scale: V::Element,
) -> f64 {
    let width = width::<V::Element>();
    let place = |column: usize| column / width * stride + row * width + column % width;
    let target = usize::from(label);
    let z_target = values[place(target)].to_f64();
    let mut largest = values[place(0)];
    for column in 1..columns {
        let z = values[place(column)];
        if z > largest || z.to_f64().is_nan() {
            largest = z;
        }
    }
    let clamp = V::splat(V::Element::from_f64(-V::Element::SIGMOID_CLAMP));
    for first in (0..columns).step_by(V::LANES) {
        // SAFETY: the caller checked the extent of `values`.
        unsafe {
            let at = values.as_mut_ptr().add(place(first));
            exp(clamp.max(V::load(at).sub(V::splat(largest)))).store(at);
        }
    }
    let mut others = V::Element::ZERO;
    for column in (0..columns).filter(|&column| column != target) {
        others = others + values[place(column)];
    }
    let sum = others + values[place(target)];
    for column in 0..columns {
        let part = if column == target {
            -others
        } else {
            values[place(column)]
        };
        values[place(column)] = part / sum * scale;
    }
    for column in columns..columns.next_multiple_of(width) {
        values[place(column)] = V::Element::ZERO;
    }
    // The margin is 0 if the target has the largest z. Adding it in any case keeps the number of
    // operations independent of the data, so that a formula can count them.
    let margin = largest.to_f64() - z_target;
    margin
        + if margin > 0.0 {
            ln(sum.to_f64())
        } else {
            ln_1p_of(others.to_f64())
        }
}

/// Returns ln(1 + x) for x ≥ 0; a NaN stays NaN.
fn ln_1p_of(x: f64) -> f64 {
    struct Scalar(f64);
    impl Kernel<f64> for Scalar {
        type Output = f64;
        #[inline(always)]
        fn run<V: Vector<Element = f64>>(self) -> f64 {
            let mut lanes = [0.0; 8];
            // SAFETY: a vector has at most 8 lanes.
            unsafe { ln_1p(V::splat(self.0)).store(lanes.as_mut_ptr()) };
            lanes[0]
        }
    }
    if x <= 1.0 {
        super::Isa::Portable.run(Scalar(x))
    } else if x.is_finite() {
        ln(1.0 + x)
    } else {
        x
    }
}
