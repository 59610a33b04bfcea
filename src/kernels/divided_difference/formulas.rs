//! Formulas of finite differences: the change of a sample's loss when pre-activations change.
//!
//! In plain arithmetic, each stage propagates perturbed values, and two losses are subtracted at
//! the end. A quadratic loss is ½ Σ r² with r = σ(z), or r = 1 − σ(z) = σ(−z) for a target of 1.
//! Without cancellation, each stage propagates the changes (y = σ(z), ȳ = 1 − y):
//!
//! ```text
//! Δσ = sign(Δz)·y·ȳ·M / (1 + q·M),  M = e^|Δz| − 1,  q = y if Δz > 0, else ȳ
//! quadratic                  ΔL = Σ Δa·(residual + Δa/2), of linear outputs a = z
//! sigmoid cross-entropy      ΔL = Σ ln(1 + y·(e^Δz − 1)),  target 1: ln(1 + ȳ·(e^−Δz − 1))
//! softmax cross-entropy      ΔL = ln(1 + Σ_{k≠t} p_k·(e^(Δz_k − Δz_t) − 1))
//! ```
//!
//! so that no two nearly equal numbers are ever subtracted. As Δz → 0 only the terms linear in Δz
//! remain. They are rates of change, with which the same stages compute forward mode:
//!
//! ```text
//! σ̇ = y·ȳ·ż     quadratic L̇ = Σ ȧ·residual     sigmoid cross-entropy L̇ = Σ (y − target)·ż
//! softmax cross-entropy L̇ = Σ_{k≠t} p_k·(ż_k − ż_t)
//! ```
//!
//! Changes with small arguments use short series: up to [`NEAR`] for e^x − 1, and up to √u/2 for Δσ
//! as a whole, whose third term is below u there. The form is chosen by bounds over a whole panel,
//! never by the vector's width, so the bits are the same with every instruction set.
//!
//! The kernels that use these formulas are in [`super::one_layer`] and [`super::deep`]; the base
//! values are computed in [`super::base_values`].

pub(super) use super::lanes::lane_of;
use crate::kernels::Vector;
use crate::kernels::elementary::{
    NEAR, exp, expm1, expm1_near, ln_1p, sigmoid, sigmoid_pair, softplus,
};
use crate::kernels::panels::width;
use crate::kernels::targets::RowTarget;
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;

/// The quantity that the stages propagate from a perturbed unit to the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Perturbed values: two losses are subtracted at the end.
    Values,
    /// Changes of the values, without cancellation.
    Changes,
    /// Rates of change of the values, for a perturbation at rate 1: exact derivatives, without
    /// truncation error.
    Rates,
}

/// The losses whose difference is computed, and the arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossForm {
    /// The quantity that is propagated.
    pub propagation: Propagation,
    /// True to compare the losses at −h and +h, false to compare those at 0 and +h.
    pub central: bool,
}

/// The base values of one layer's units in several rows: z, y = σ(z) and ȳ = 1 − y (for softmax p
/// and 1 − p).
#[derive(Clone, Copy)]
pub struct Units<'a, R> {
    /// Pre-activations.
    pub z: &'a [R],
    /// Activations.
    pub y: &'a [R],
    /// 1 − y, computed without a subtraction.
    pub one_minus_y: &'a [R],
    /// Number of units.
    pub count: usize,
    /// Distance between rows, in numbers.
    pub row_stride: usize,
    /// Distance between panels, in numbers.
    pub panel_stride: usize,
}

impl<R: Real> Units<'_, R> {
    /// Returns the index of unit `unit` in row `row`.
    #[inline(always)]
    pub(super) fn at(&self, row: usize, unit: usize) -> usize {
        let width = width::<R>();
        unit / width * self.panel_stride + row * self.row_stride + unit % width
    }

    /// Asserts that the slices hold all panels of row `row`.
    pub(super) fn check(&self, row: usize) {
        let end = self.at(row, (self.count - 1) / width::<R>() * width::<R>()) + width::<R>();
        assert!(self.z.len() >= end && self.y.len() >= end && self.one_minus_y.len() >= end);
    }
}

/// The outputs of one row, with its target.
#[derive(Clone, Copy)]
pub struct OutputRow<'a, R> {
    /// Kind of output units and loss.
    pub output_loss: OutputLoss,
    /// The outputs' base values.
    pub units: Units<'a, R>,
    /// The row.
    pub row: usize,
    /// The row's target. Its factor multiplies each change of the loss.
    pub target: RowTarget<'a, R>,
    /// The row's loss without its factor, as [`super::base_values::RowLosses`] computes it.
    pub loss: R,
}

// Values of the const parameter `LOSS`: the kind of an output's term of the loss.
pub(super) const QUADRATIC: u8 = 0;
pub(super) const LINEAR: u8 = 1;
pub(super) const ENTROPY: u8 = 2;
pub(super) const SOFTMAX: u8 = 3;

// Values of the const parameter `MODE`: plain arithmetic; changes whose arguments are tiny
// (≤ √u/2), close to 0 (≤ `NEAR`) or far from it; rates.
pub(super) const PLAIN: u8 = 0;
pub(super) const TINY: u8 = 1;
pub(super) const CLOSE: u8 = 2;
pub(super) const FAR: u8 = 3;
pub(super) const RATE: u8 = 4;

/// Calls `$function::<V, LOSS, MODE>` for a kind of loss, one of those listed, and a mode that are
/// known at run time only.
macro_rules! specialized {
    ([$($kind:ident)*] $loss:expr, $mode:expr, $self:ident.$function:ident::<$vector:ident>($($argument:expr),*)) => {
        specialized!(@loss $loss, $mode, $self, $function, $vector, ($($argument),*), [$($kind)*])
    };
    (@loss $loss:expr, $mode:expr, $self:ident, $function:ident, $vector:ident, $arguments:tt, [$($kind:ident)*]) => {
        match ($loss, $mode) {
            $(($kind, PLAIN) => specialized!(@call $self, $function, $vector, $kind, PLAIN, $arguments),
              ($kind, TINY) => specialized!(@call $self, $function, $vector, $kind, TINY, $arguments),
              ($kind, CLOSE) => specialized!(@call $self, $function, $vector, $kind, CLOSE, $arguments),
              ($kind, FAR) => specialized!(@call $self, $function, $vector, $kind, FAR, $arguments),
              ($kind, RATE) => specialized!(@call $self, $function, $vector, $kind, RATE, $arguments),)*
            _ => unreachable!("no other kind of loss and mode is possible here"),
        }
    };
    (@call $self:ident, $function:ident, $vector:ident, $kind:ident, $mode:ident, ($($argument:expr),*)) => {
        $self.$function::<$vector, $kind, $mode>($($argument),*)
    };
}
pub(super) use specialized;

/// Returns the value of `LOSS` for an output loss.
pub(super) fn kind(output_loss: OutputLoss) -> u8 {
    match output_loss {
        OutputLoss::SigmoidQuadratic => QUADRATIC,
        OutputLoss::LinearQuadratic => LINEAR,
        // With targets 0 and 1 for the labels y = −1 and 1, ln(1 + e^(−y·z)) is a sigmoid's
        // cross-entropy.
        OutputLoss::SigmoidCrossEntropy | OutputLoss::Logistic => ENTROPY,
        OutputLoss::SoftmaxCrossEntropy => SOFTMAX,
    }
}

/// Computes σ(z + Δz) − σ(z) without cancellation; for rates, σ′·ż.
#[inline(always)]
fn sigmoid_change<V: Vector, const MODE: u8>(y: V, one_minus_y: V, dz: V) -> V {
    let one = V::splat(V::Element::ONE);
    let slope = y.mul(one_minus_y);
    if MODE == RATE {
        return slope.mul(dz);
    }
    if MODE == TINY {
        // e/(1 + y·e) with e = Δz + Δz²/2 + …, to second order; the next term relative to the first
        // is below Δz²/6.
        let second_order = V::splat(V::Element::from_f64(0.5)).sub(y);
        return slope.mul(dz).mul(dz.fma(second_order, one));
    }
    if MODE == CLOSE {
        // e^Δz − 1 > −1/64, so the denominator has no cancellation.
        let e = expm1_near(dz);
        return slope.mul(e).div(y.fma(e, one));
    }
    let m = expm1(dz.abs());
    let q = dz.select_negative(one_minus_y, y);
    let change = slope.mul(m).div(q.fma(m, one));
    dz.select_negative(V::splat(V::Element::ZERO).sub(change), change)
}

/// Computes the quantity that a unit propagates: in plain arithmetic its perturbed activation, with
/// `point` = z + Δz; otherwise the change (or the rate) of its activation, with `point` = Δz (or
/// ż).
#[inline(always)]
pub(super) fn activated<V: Vector, const MODE: u8>(y: V, one_minus_y: V, point: V) -> V {
    if MODE == PLAIN {
        sigmoid_pair(point).0
    } else {
        sigmoid_change::<V, MODE>(y, one_minus_y, point)
    }
}

/// Computes softplus(z + x) − softplus(z) = ln(1 + y·(e^x − 1)), where y = σ(z); for rates, y·x.
#[inline(always)]
fn entropy_change<V: Vector, const MODE: u8>(y: V, one_minus_y: V, z: V, x: V) -> V {
    let half = V::splat(V::Element::from_f64(0.5));
    if MODE == RATE {
        return y.mul(x);
    }
    if MODE == TINY {
        // y·x + y·ȳ·x²/2; the next term relative to the first is below x²/6.
        let one = V::splat(V::Element::ONE);
        return y.mul(x).mul(x.fma(half.mul(one_minus_y), one));
    }
    if MODE == CLOSE {
        return ln_1p(y.mul(expm1_near(x)));
    }
    let argument = y.mul(expm1(x));
    // A change that is not small relative to the losses may be computed by subtraction.
    let large = softplus(z.add(x)).sub(softplus(z));
    half.sub(argument.abs())
        .select_negative(large, ln_1p(argument))
}

/// Base values of one output in all lanes, or of several outputs, one per lane.
#[derive(Clone, Copy)]
pub(super) struct OutputValue<V> {
    pub z: V,
    pub y: V,
    pub one_minus_y: V,
    /// Target of a linear output with the quadratic loss.
    pub target: V,
}

/// Adds one output's term of the loss to `sums`: in plain arithmetic the term at z' = `points`,
/// doubled for a quadratic loss (see [`loss_of_sums`]); otherwise the change of the term when z
/// changes by `points`, or its rate at the rates `points`. `hot` means that the target is 1.
#[inline(always)]
pub(super) fn add_terms<V: Vector, const LOSS: u8, const MODE: u8, const W: usize>(
    mut sums: [V; W],
    output: OutputValue<V>,
    hot: bool,
    mut points: [V; W],
) -> [V; W] {
    if LOSS == QUADRATIC && MODE == PLAIN {
        if hot {
            for w in 0..W {
                points[w] = V::splat(V::Element::ZERO).sub(points[w]);
            }
        }
        let residuals = sigmoid(points);
        for w in 0..W {
            sums[w] = residuals[w].fma(residuals[w], sums[w]);
        }
        return sums;
    }
    for w in 0..W {
        sums[w] = add_term::<V, LOSS, MODE>(sums[w], output, hot, points[w]);
    }
    sums
}

/// Returns the loss, or its change, from the sums of [`add_terms`]: halves sums of squares.
#[inline(always)]
pub(super) fn loss_of_sums<V: Vector, const LOSS: u8, const MODE: u8, const W: usize>(
    mut sums: [V; W],
) -> [V; W] {
    if LOSS == QUADRATIC && MODE == PLAIN {
        let half = V::splat(V::Element::from_f64(0.5));
        for w in 0..W {
            sums[w] = half.mul(sums[w]);
        }
    }
    sums
}

/// Adds one output's term of the loss to one vector; all cases of [`add_terms`] but plain
/// quadratic.
#[inline(always)]
fn add_term<V: Vector, const LOSS: u8, const MODE: u8>(
    sum: V,
    output: OutputValue<V>,
    hot: bool,
    point: V,
) -> V {
    let zero = V::splat(V::Element::ZERO);
    let half = V::splat(V::Element::from_f64(0.5));
    let OutputValue {
        z,
        y,
        one_minus_y,
        target,
    } = output;
    match (LOSS, MODE) {
        (QUADRATIC, _) => {
            let change = sigmoid_change::<V, MODE>(y, one_minus_y, point);
            let residual = if hot { zero.sub(one_minus_y) } else { y };
            if MODE == RATE {
                change.fma(residual, sum)
            } else {
                change.fma(half.fma(change, residual), sum)
            }
        }
        (LINEAR, _) => {
            if MODE == PLAIN {
                let residual = point.sub(target);
                half.mul(residual).fma(residual, sum)
            } else if MODE == RATE {
                point.fma(z.sub(target), sum)
            } else {
                point.fma(half.fma(point, z.sub(target)), sum)
            }
        }
        (_, PLAIN) => sum.add(softplus(if hot { zero.sub(point) } else { point })),
        (_, _) if hot => {
            let (z, point) = (zero.sub(z), zero.sub(point));
            sum.add(entropy_change::<V, MODE>(one_minus_y, y, z, point))
        }
        (_, _) => sum.add(entropy_change::<V, MODE>(y, one_minus_y, z, point)),
    }
}

/// The perturbed outputs, `W` vectors at once: z' in plain arithmetic, otherwise Δz or ż.
///
/// This is a trait instead of a closure because every call below a [`crate::kernels::Kernel`] must
/// be `#[inline(always)]`.
pub(super) trait PerturbedOutputs<V: Vector, const W: usize> {
    /// Returns the vectors of output `unit`.
    fn at(&self, unit: usize) -> [V; W];
}

impl<R: Real> OutputRow<'_, R> {
    /// Returns z of output `unit` in every lane.
    #[inline(always)]
    pub(super) fn z<V: Vector<Element = R>>(&self, unit: usize) -> V {
        V::splat(self.units.z[self.units.at(self.row, unit)])
    }

    /// Returns y of output `unit` in every lane.
    #[inline(always)]
    fn y<V: Vector<Element = R>>(&self, unit: usize) -> V {
        V::splat(self.units.y[self.units.at(self.row, unit)])
    }

    /// Returns 1 − y of output `unit` in every lane.
    #[inline(always)]
    fn one_minus_y<V: Vector<Element = R>>(&self, unit: usize) -> V {
        V::splat(self.units.one_minus_y[self.units.at(self.row, unit)])
    }

    /// Returns the row's loss at the outputs z' (plain arithmetic), its change when z changes by
    /// Δz, or its rate.
    #[inline(always)]
    pub(super) fn total<V: Vector<Element = R>, const LOSS: u8, const MODE: u8, const W: usize>(
        &self,
        points: &impl PerturbedOutputs<V, W>,
    ) -> [V; W] {
        if LOSS == SOFTMAX {
            return self.softmax::<V, MODE, W>(points);
        }
        let mut sums = [V::splat(R::ZERO); W];
        for unit in 0..self.units.count {
            let hot = self.target.is_hot(self.output_loss, unit);
            let output = OutputValue {
                z: self.z(unit),
                y: self.y(unit),
                one_minus_y: self.one_minus_y(unit),
                target: V::splat(if LOSS == LINEAR {
                    self.target.number(unit)
                } else {
                    R::ZERO
                }),
            };
            sums = add_terms::<V, LOSS, MODE, W>(sums, output, hot, points.at(unit));
        }
        loss_of_sums::<V, LOSS, MODE, W>(sums)
    }

    /// Returns the margins z_k − ln Σ_{j≠k} e^z_j of several outputs k, one per lane from unit
    /// `first` on; `z` holds their z.
    #[inline(always)]
    pub(super) fn margins<V: Vector<Element = R>>(&self, z: V, first: usize) -> V {
        // −1 in the lane of `unit`.
        let minus_lane = |unit: usize| V::splat(R::ZERO).sub(lane_of(unit, first));
        // The sum over the others starts with output 0, for output 0 itself with output 1.
        let mut others = minus_lane(0).select_negative(self.z(1), self.z(0));
        for unit in 1..self.units.count {
            let skipped = if unit == 1 {
                minus_lane(0).add(minus_lane(1))
            } else {
                minus_lane(unit)
            };
            others = skipped.select_negative(others, log_sum(others, self.z(unit)));
        }
        z.sub(others)
    }

    /// Returns [`OutputRow::total`] for softmax outputs.
    #[inline(always)]
    fn softmax<V: Vector<Element = R>, const MODE: u8, const W: usize>(
        &self,
        points: &impl PerturbedOutputs<V, W>,
    ) -> [V; W] {
        let zero = V::splat(R::ZERO);
        let half = V::splat(R::from_f64(0.5));
        let target = usize::from(self.target.label);
        let at_target = points.at(target);
        let mut sums = [zero; W];
        if MODE != PLAIN {
            for unit in 0..self.units.count {
                if unit != target {
                    let points = points.at(unit);
                    let p = self.y::<V>(unit);
                    for w in 0..W {
                        let x = points[w].sub(at_target[w]);
                        let e = match MODE {
                            RATE => x,
                            FAR => expm1(x),
                            _ => expm1_near(x),
                        };
                        sums[w] = p.fma(e, sums[w]);
                    }
                }
            }
        }
        if MODE == RATE {
            return sums;
        }
        if MODE == TINY || MODE == CLOSE {
            for w in 0..W {
                sums[w] = ln_1p(sums[w]);
            }
            return sums;
        }
        // ln Σ e^z over the outputs other than the target, perturbed (`others`) and at their base
        // values (`before`).
        let mut others = [V::splat(R::from_f64(f64::NEG_INFINITY)); W];
        let mut before = others[0];
        let mut first = true;
        for unit in 0..self.units.count {
            if unit != target {
                let z = if MODE == PLAIN { zero } else { self.z(unit) };
                let points = points.at(unit);
                for w in 0..W {
                    let z = z.add(points[w]);
                    others[w] = if first { z } else { log_sum(others[w], z) };
                }
                before = if first { z } else { log_sum(before, z) };
                first = false;
            }
        }
        let z = if MODE == PLAIN { zero } else { self.z(target) };
        for w in 0..W {
            let loss = softplus(others[w].sub(z.add(at_target[w])));
            sums[w] = if MODE == PLAIN {
                loss
            } else {
                // As in `entropy_change`: by subtraction if the change is large.
                half.sub(sums[w].abs())
                    .select_negative(loss.sub(softplus(before.sub(z))), ln_1p(sums[w]))
            };
        }
        sums
    }
}

/// Computes ln(e^a + e^b).
#[inline(always)]
fn log_sum<V: Vector>(a: V, b: V) -> V {
    let zero = V::splat(V::Element::ZERO);
    let clamp = V::splat(V::Element::from_f64(V::Element::SIGMOID_CLAMP));
    let t = exp(zero.sub(clamp.min(a.sub(b).abs())));
    a.max(b).add(ln_1p(t))
}

/// Returns the largest |value|; NaNs are ignored.
pub(super) fn largest<R: Real>(values: &[R]) -> f64 {
    values
        .iter()
        .fold(0.0, |most, value| value.to_f64().abs().max(most))
}

/// Returns the value of `MODE` for a loss form whose arguments are at most `bound` in size.
pub(super) fn mode<R: Real>(form: LossForm, bound: f64) -> u8 {
    match form.propagation {
        Propagation::Values => PLAIN,
        Propagation::Rates => RATE,
        // A bound that is NaN satisfies neither condition.
        Propagation::Changes if bound * bound <= R::UNIT_ROUNDOFF / 4.0 => TINY,
        Propagation::Changes if bound <= NEAR => CLOSE,
        Propagation::Changes => FAR,
    }
}
