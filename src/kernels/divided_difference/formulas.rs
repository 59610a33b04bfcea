//! How a sample's loss changes when pre-activations do: the formulas of finite differences.
//!
//! In plain arithmetic a stage carries the perturbed values, and two losses are subtracted at the
//! end; a quadratic loss is ½ Σ r², r = σ(z) or, of a target 1, 1 − σ(z) = σ(−z). Without cancellation it carries the changes themselves (y = σ(z), ȳ = 1 − y):
//!
//! ```text
//! Δσ = sign(Δz)·y·ȳ·M / (1 + q·M),  M = e^|Δz| − 1,  q = y if Δz > 0, else ȳ
//! quadratic                  ΔL = Σ Δa·(residual + Δa/2)
//! sigmoid cross-entropy      ΔL = Σ ln(1 + y·(e^Δz − 1)),  target 1: ln(1 + ȳ·(e^−Δz − 1))
//! softmax cross-entropy      ΔL = ln(1 + Σ_{k≠t} p_k·(e^(Δz_k − Δz_t) − 1))
//! ```
//!
//! so that no two nearly equal numbers are ever subtracted. What is linear in Δz alone is left as
//! Δz → 0: rates of change, and the same stages are forward mode:
//!
//! ```text
//! σ̇ = y·ȳ·ż     quadratic L̇ = Σ ȧ·residual     sigmoid cross-entropy L̇ = Σ (y − target)·ż
//! softmax cross-entropy L̇ = Σ_{k≠t} p_k·(ż_k − ż_t)
//! ```
//!
//! Small arguments of changes take short series: up to [`NEAR`] for e^x − 1, and up to √u/2 for Δσ as a whole, whose third term is below u there. Which
//! form a panel takes is decided by bounds over the panel, never by the vector's width, so the bits
//! are the same with every instruction set.
//!
//! The kernels that walk by these formulas are in [`super::one_layer`] and [`super::deep`]; where
//! they start from, in [`super::base_values`].

use crate::kernels::Vector;
use crate::kernels::elementary::{
    NEAR, exp, expm1, expm1_near, ln_1p, sigmoid, sigmoid_pair, softplus,
};
use crate::kernels::panels::width;
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;

/// What the stages hand on, from a perturbed unit to the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Perturbed values: two losses are subtracted at the end.
    Values,
    /// Their changes.
    Changes,
    /// Their rates of change, for a perturbation of 1 at an infinitesimal scale: exact, and nothing
    /// is left out.
    Rates,
}

/// Which losses are compared, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossForm {
    /// What is propagated.
    pub carried: Propagation,
    /// The change between −h and +h; otherwise between 0 and +h.
    pub central: bool,
}

/// The units of one layer in some rows: z, y = σ(z) and ȳ = 1 − y (softmax: p and 1 − p).
#[derive(Clone, Copy)]
pub struct Units<'a, R> {
    /// Pre-activations.
    pub z: &'a [R],
    /// Activations.
    pub y: &'a [R],
    /// 1 − y, without the subtraction.
    pub complement: &'a [R],
    /// Number of units.
    pub count: usize,
    /// Distance between rows.
    pub row_stride: usize,
    /// Distance between panels.
    pub panel_stride: usize,
}

impl<R: Real> Units<'_, R> {
    #[inline(always)]
    pub(super) fn at(&self, row: usize, unit: usize) -> usize {
        let width = width::<R>();
        unit / width * self.panel_stride + row * self.row_stride + unit % width
    }

    pub(super) fn check(&self, row: usize) {
        let end = self.at(row, (self.count - 1) / width::<R>() * width::<R>()) + width::<R>();
        assert!(self.z.len() >= end && self.y.len() >= end && self.complement.len() >= end);
    }
}

/// The outputs of one row, and the class it should have.
#[derive(Clone, Copy)]
pub struct OutputRow<'a, R> {
    /// Units and loss.
    pub head: OutputLoss,
    /// The outputs.
    pub units: Units<'a, R>,
    /// The row.
    pub row: usize,
    /// The row's class.
    pub label: u16,
    /// The row's loss as [`super::base_values::RowLosses`] gives it.
    pub loss: R,
}

pub(super) const QUADRATIC: u8 = 0;
pub(super) const LINEAR: u8 = 1;
pub(super) const ENTROPY: u8 = 2;
pub(super) const SOFTMAX: u8 = 3;

pub(super) const PLAIN: u8 = 0;
pub(super) const TINY: u8 = 1;
pub(super) const CLOSE: u8 = 2;
pub(super) const FAR: u8 = 3;
pub(super) const RATE: u8 = 4;

/// Calls `$function::<V, HEAD, MODE>` for the head and the mode at hand.
macro_rules! specialized {
    ($head:expr, $mode:expr, $self:ident.$function:ident::<$vector:ident>($($argument:expr),*)) => {
        specialized!(@head $head, $mode, $self, $function, $vector, ($($argument),*),
            [QUADRATIC LINEAR ENTROPY SOFTMAX])
    };
    (@head $head:expr, $mode:expr, $self:ident, $function:ident, $vector:ident, $arguments:tt, [$($kind:ident)*]) => {
        match ($head, $mode) {
            $(($kind, PLAIN) => specialized!(@call $self, $function, $vector, $kind, PLAIN, $arguments),
              ($kind, TINY) => specialized!(@call $self, $function, $vector, $kind, TINY, $arguments),
              ($kind, CLOSE) => specialized!(@call $self, $function, $vector, $kind, CLOSE, $arguments),
              ($kind, FAR) => specialized!(@call $self, $function, $vector, $kind, FAR, $arguments),
              ($kind, RATE) => specialized!(@call $self, $function, $vector, $kind, RATE, $arguments),)*
            _ => unreachable!("four heads, five modes"),
        }
    };
    (@call $self:ident, $function:ident, $vector:ident, $kind:ident, $mode:ident, ($($argument:expr),*)) => {
        $self.$function::<$vector, $kind, $mode>($($argument),*)
    };
}
pub(super) use specialized;

pub(super) fn kind(head: OutputLoss) -> u8 {
    match head {
        OutputLoss::SigmoidQuadratic => QUADRATIC,
        OutputLoss::LinearQuadratic => LINEAR,
        // Labels ±1 are targets 0 and 1 of a sigmoid: ln(1 + e^(−y·z)) is its cross-entropy.
        OutputLoss::SigmoidCrossEntropy | OutputLoss::Logistic => ENTROPY,
        OutputLoss::SoftmaxCrossEntropy => SOFTMAX,
    }
}

/// Whether the outputs' class `label` makes unit `unit`'s target 1.
#[inline(always)]
pub(super) fn is_hot(head: OutputLoss, label: u16, unit: usize) -> bool {
    match head {
        OutputLoss::Logistic => label == 1,
        _ => usize::from(label) == unit,
    }
}

/// σ(z + Δz) − σ(z), without cancellation; of rates σ′·ż.
#[inline(always)]
fn sigmoid_change<V: Vector, const MODE: u8>(y: V, complement: V, dz: V) -> V {
    let one = V::splat(V::Element::ONE);
    let slope = y.mul(complement);
    if MODE == RATE {
        return slope.mul(dz);
    }
    if MODE == TINY {
        // e/(1 + y·e) with e = Δz + Δz²/2 + …, to the second order; the third is below Δz²/6.
        let bend = V::splat(V::Element::from_f64(0.5)).sub(y);
        return slope.mul(dz).mul(dz.fma(bend, one));
    }
    if MODE == CLOSE {
        // e^Δz − 1 > −1/64: the denominator loses nothing.
        let e = expm1_near(dz);
        return slope.mul(e).div(y.fma(e, one));
    }
    let m = expm1(dz.abs());
    let q = dz.select_negative(complement, y);
    let change = slope.mul(m).div(q.fma(m, one));
    dz.select_negative(V::splat(V::Element::ZERO).sub(change), change)
}

/// A unit's next value: its change without cancellation (or its rate), its perturbed activation in
/// plain arithmetic, where `point` is Δz (or ż) or z + Δz.
#[inline(always)]
pub(super) fn activated<V: Vector, const MODE: u8>(y: V, complement: V, point: V) -> V {
    if MODE == PLAIN {
        sigmoid_pair(point).0
    } else {
        sigmoid_change::<V, MODE>(y, complement, point)
    }
}

/// ln(1 + y·(e^x − 1)) = softplus(z + x) − softplus(z), where y = σ(z); of rates y·x.
#[inline(always)]
fn entropy_change<V: Vector, const MODE: u8>(y: V, complement: V, z: V, x: V) -> V {
    let half = V::splat(V::Element::from_f64(0.5));
    if MODE == RATE {
        return y.mul(x);
    }
    if MODE == TINY {
        // y·x + y·ȳ·x²/2; the third term is below x²/6.
        let one = V::splat(V::Element::ONE);
        return y.mul(x).mul(x.fma(half.mul(complement), one));
    }
    if MODE == CLOSE {
        return ln_1p(y.mul(expm1_near(x)));
    }
    let argument = y.mul(expm1(x));
    // A change that is not small next to the losses: there is nothing to cancel.
    let large = softplus(z.add(x)).sub(softplus(z));
    half.sub(argument.abs())
        .select_negative(large, ln_1p(argument))
}

/// One output, as vectors of the same number or of several outputs.
#[derive(Clone, Copy)]
pub(super) struct OutputValue<V> {
    pub z: V,
    pub y: V,
    pub complement: V,
}

/// `sums`, plus one output's share of the loss at z' = `points` (plain; of a quadratic loss twice its
/// share, see [`shares`]), or the change of its share when z changes by `points` (or its rate, at the
/// rates `points`).
#[inline(always)]
pub(super) fn add_terms<V: Vector, const HEAD: u8, const MODE: u8, const W: usize>(
    mut sums: [V; W],
    output: OutputValue<V>,
    hot: bool,
    mut points: [V; W],
) -> [V; W] {
    if HEAD == QUADRATIC && MODE == PLAIN {
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
        sums[w] = add_term::<V, HEAD, MODE>(sums[w], output, hot, points[w]);
    }
    sums
}

/// The loss, or a share of it, from what [`add_terms`] has summed: half of it where that are squares.
#[inline(always)]
pub(super) fn shares<V: Vector, const HEAD: u8, const MODE: u8, const W: usize>(
    mut sums: [V; W],
) -> [V; W] {
    if HEAD == QUADRATIC && MODE == PLAIN {
        let half = V::splat(V::Element::from_f64(0.5));
        for w in 0..W {
            sums[w] = half.mul(sums[w]);
        }
    }
    sums
}

#[inline(always)]
fn add_term<V: Vector, const HEAD: u8, const MODE: u8>(
    sum: V,
    output: OutputValue<V>,
    hot: bool,
    point: V,
) -> V {
    let zero = V::splat(V::Element::ZERO);
    let half = V::splat(V::Element::from_f64(0.5));
    let OutputValue { z, y, complement } = output;
    match (HEAD, MODE) {
        (QUADRATIC, _) => {
            let change = sigmoid_change::<V, MODE>(y, complement, point);
            let residual = if hot { zero.sub(complement) } else { y };
            if MODE == RATE {
                change.fma(residual, sum)
            } else {
                change.fma(half.fma(change, residual), sum)
            }
        }
        (LINEAR, _) => {
            let target = V::splat(if hot {
                V::Element::ONE
            } else {
                V::Element::ZERO
            });
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
            sum.add(entropy_change::<V, MODE>(complement, y, z, point))
        }
        (_, _) => sum.add(entropy_change::<V, MODE>(y, complement, z, point)),
    }
}

/// Where the outputs are moved to, `W` vectors at once: z' in plain arithmetic, else Δz or ż.
///
/// A trait and no closure: everything between a [`crate::kernels::Kernel`] and an instruction must be inlined.
pub(super) trait PerturbedOutputs<V: Vector, const W: usize> {
    fn of(&self, unit: usize) -> [V; W];
}

impl<R: Real> OutputRow<'_, R> {
    #[inline(always)]
    pub(super) fn z<V: Vector<Element = R>>(&self, unit: usize) -> V {
        V::splat(self.units.z[self.units.at(self.row, unit)])
    }

    #[inline(always)]
    fn y<V: Vector<Element = R>>(&self, unit: usize) -> V {
        V::splat(self.units.y[self.units.at(self.row, unit)])
    }

    #[inline(always)]
    fn complement<V: Vector<Element = R>>(&self, unit: usize) -> V {
        V::splat(self.units.complement[self.units.at(self.row, unit)])
    }

    /// The loss at the outputs z' (plain), its change when z changes by Δz, or its rate.
    #[inline(always)]
    pub(super) fn total<V: Vector<Element = R>, const HEAD: u8, const MODE: u8, const W: usize>(
        &self,
        points: &impl PerturbedOutputs<V, W>,
    ) -> [V; W] {
        if HEAD == SOFTMAX {
            return self.softmax::<V, MODE, W>(points);
        }
        let mut sums = [V::splat(R::ZERO); W];
        for unit in 0..self.units.count {
            let hot = is_hot(self.head, self.label, unit);
            let output = OutputValue {
                z: self.z(unit),
                y: self.y(unit),
                complement: self.complement(unit),
            };
            sums = add_terms::<V, HEAD, MODE, W>(sums, output, hot, points.of(unit));
        }
        shares::<V, HEAD, MODE, W>(sums)
    }

    /// z_k − ln Σ_{j≠k} e^z_j of outputs side by side, from unit `first` on; `z` are theirs.
    #[inline(always)]
    pub(super) fn margins<V: Vector<Element = R>>(&self, z: V, first: usize) -> V {
        // −1 in the unit's own lane.
        let own = |unit: usize| V::splat(R::ZERO).sub(lane_of(unit, first));
        // The others of the first output begin with the second.
        let mut others = own(0).select_negative(self.z(1), self.z(0));
        for unit in 1..self.units.count {
            let left_out = if unit == 1 {
                own(0).add(own(1))
            } else {
                own(unit)
            };
            others = left_out.select_negative(others, log_sum(others, self.z(unit)));
        }
        z.sub(others)
    }

    #[inline(always)]
    fn softmax<V: Vector<Element = R>, const MODE: u8, const W: usize>(
        &self,
        points: &impl PerturbedOutputs<V, W>,
    ) -> [V; W] {
        let zero = V::splat(R::ZERO);
        let half = V::splat(R::from_f64(0.5));
        let target = usize::from(self.label);
        let at_target = points.of(target);
        let mut sums = [zero; W];
        if MODE != PLAIN {
            for unit in 0..self.units.count {
                if unit != target {
                    let points = points.of(unit);
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
        // ln Σ e^z of the others, at the points and where they started from.
        let mut others = [V::splat(R::from_f64(f64::NEG_INFINITY)); W];
        let mut before = others[0];
        let mut first = true;
        for unit in 0..self.units.count {
            if unit != target {
                let z = if MODE == PLAIN { zero } else { self.z(unit) };
                let points = points.of(unit);
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
                // As in `entropy_change`.
                half.sub(sums[w].abs())
                    .select_negative(loss.sub(softplus(before.sub(z))), ln_1p(sums[w]))
            };
        }
        sums
    }
}

/// 1 in the lane of `unit`, where lanes begin with unit `first`; 0 in the others.
#[inline(always)]
pub(super) fn lane_of<V: Vector>(unit: usize, first: usize) -> V {
    let mut lanes = [V::Element::ZERO; 16];
    if let Some(own) = unit.checked_sub(first)
        && own < V::LANES
    {
        lanes[own] = V::Element::ONE;
    }
    // SAFETY: no vector has more than 16 lanes.
    unsafe { V::load(lanes.as_ptr()) }
}

/// ln(e^a + e^b).
#[inline(always)]
fn log_sum<V: Vector>(a: V, b: V) -> V {
    let zero = V::splat(V::Element::ZERO);
    let clamp = V::splat(V::Element::from_f64(V::Element::SIGMOID_CLAMP));
    let t = exp(zero.sub(clamp.min(a.sub(b).abs())));
    a.max(b).add(ln_1p(t))
}

/// Largest |value|.
pub(super) fn largest<R: Real>(values: &[R]) -> f64 {
    values
        .iter()
        .fold(0.0, |most, value| value.to_f64().abs().max(most))
}

/// Which form serves arguments up to `bound`.
pub(super) fn mode<R: Real>(form: LossForm, bound: f64) -> u8 {
    match form.carried {
        Propagation::Values => PLAIN,
        Propagation::Rates => RATE,
        // A NaN is neither tiny nor close.
        Propagation::Changes if bound * bound <= R::UNIT_ROUNDOFF / 4.0 => TINY,
        Propagation::Changes if bound <= NEAR => CLOSE,
        Propagation::Changes => FAR,
    }
}
