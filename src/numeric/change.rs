//! How a sample's loss changes when one unit's pre-activation does: the tails of finite
//! differences.
//!
//! The lanes of a vector are units of one panel, each perturbed on its own; the perturbation of
//! unit j by an input v is Δz_j = h_j·v. [`UnitTail`] follows it through one layer of outputs above
//! the unit, [`OwnTail`] perturbs outputs themselves, and [`Spread`], [`Activate`] and [`LossTail`]
//! are the pieces of a deeper tail, with a matrix product between them. In plain arithmetic a stage
//! carries the perturbed values, and two losses are subtracted at the end. Without cancellation it
//! carries the changes themselves (y = σ(z), ȳ = 1 − y):
//!
//! ```text
//! Δσ = sign(Δz)·y·ȳ·M / (1 + q·M),  M = e^|Δz| − 1,  q = y if Δz > 0, else ȳ
//! quadratic                  ΔL = Σ Δa·(residual + Δa/2)
//! sigmoid cross-entropy      ΔL = Σ ln(1 + y·(e^Δz − 1)),  target 1: ln(1 + ȳ·(e^−Δz − 1))
//! softmax cross-entropy      ΔL = ln(1 + Σ_{k≠t} p_k·(e^(Δz_k − Δz_t) − 1))
//! ```
//!
//! so that no two nearly equal numbers are ever subtracted. Small arguments take short series: up to
//! [`NEAR`] for e^x − 1, and up to √u/2 for Δσ as a whole, whose third term is below u there. Which
//! form a panel takes is decided by bounds over the panel, never by the vector's width, so the bits
//! are the same with every instruction set.

use super::elementary::{NEAR, exp, expm1, expm1_near, ln_1p, sigmoid_pair, softplus};
use super::head::Head;
use super::panels::width;
use super::{Real, Task, Vector};

/// Which losses are compared, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Changes are propagated; otherwise perturbed values are, and losses subtracted.
    pub cancellation_free: bool,
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
    fn at(&self, row: usize, unit: usize) -> usize {
        let width = width::<R>();
        unit / width * self.panel_stride + row * self.row_stride + unit % width
    }

    fn check(&self, row: usize) {
        let end = self.at(row, (self.count - 1) / width::<R>() * width::<R>()) + width::<R>();
        assert!(self.z.len() >= end && self.y.len() >= end && self.complement.len() >= end);
    }
}

/// The outputs of one row, and the class it should have.
#[derive(Clone, Copy)]
pub struct Outputs<'a, R> {
    /// Units and loss.
    pub head: Head,
    /// The outputs.
    pub units: Units<'a, R>,
    /// The row.
    pub row: usize,
    /// The row's class.
    pub label: u16,
    /// The row's loss as [`RowLosses`] gives it.
    pub loss: R,
}

const QUADRATIC: u8 = 0;
const LINEAR: u8 = 1;
const ENTROPY: u8 = 2;
const SOFTMAX: u8 = 3;

const PLAIN: u8 = 0;
const TINY: u8 = 1;
const CLOSE: u8 = 2;
const FAR: u8 = 3;

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
              ($kind, FAR) => specialized!(@call $self, $function, $vector, $kind, FAR, $arguments),)*
            _ => unreachable!("four heads, four modes"),
        }
    };
    (@call $self:ident, $function:ident, $vector:ident, $kind:ident, $mode:ident, ($($argument:expr),*)) => {
        $self.$function::<$vector, $kind, $mode>($($argument),*)
    };
}

fn kind(head: Head) -> u8 {
    match head {
        Head::SigmoidQuadratic => QUADRATIC,
        Head::LinearQuadratic => LINEAR,
        // Labels ±1 are targets 0 and 1 of a sigmoid: ln(1 + e^(−y·z)) is its cross-entropy.
        Head::SigmoidCrossEntropy | Head::Logistic => ENTROPY,
        Head::SoftmaxCrossEntropy => SOFTMAX,
    }
}

/// Whether the outputs' class `label` makes unit `unit`'s target 1.
#[inline(always)]
fn is_hot(head: Head, label: u16, unit: usize) -> bool {
    match head {
        Head::Logistic => label == 1,
        _ => usize::from(label) == unit,
    }
}

/// σ(z + Δz) − σ(z), without cancellation.
#[inline(always)]
fn sigmoid_change<V: Vector, const MODE: u8>(y: V, complement: V, dz: V) -> V {
    let one = V::splat(V::Element::ONE);
    let slope = y.mul(complement);
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

/// A unit's next value: its change without cancellation, its perturbed activation in plain
/// arithmetic, where `point` is Δz or z + Δz.
#[inline(always)]
fn activated<V: Vector, const MODE: u8>(y: V, complement: V, point: V) -> V {
    if MODE == PLAIN {
        sigmoid_pair(point).0
    } else {
        sigmoid_change::<V, MODE>(y, complement, point)
    }
}

/// ln(1 + y·(e^x − 1)) = softplus(z + x) − softplus(z), where y = σ(z).
#[inline(always)]
fn entropy_change<V: Vector, const MODE: u8>(y: V, complement: V, z: V, x: V) -> V {
    let half = V::splat(V::Element::from_f64(0.5));
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
struct Output<V> {
    z: V,
    y: V,
    complement: V,
}

/// `sum`, plus one output's share of the loss at z' = `point` (plain), or the change of its share
/// when z changes by `point`.
#[inline(always)]
fn add_term<V: Vector, const HEAD: u8, const MODE: u8>(
    sum: V,
    output: Output<V>,
    hot: bool,
    point: V,
) -> V {
    let zero = V::splat(V::Element::ZERO);
    let half = V::splat(V::Element::from_f64(0.5));
    let Output { z, y, complement } = output;
    match (HEAD, MODE) {
        (QUADRATIC, PLAIN) => {
            let (y, complement) = sigmoid_pair(point);
            let residual = if hot { complement } else { y };
            half.mul(residual).fma(residual, sum)
        }
        (QUADRATIC, _) => {
            let change = sigmoid_change::<V, MODE>(y, complement, point);
            let residual = if hot { zero.sub(complement) } else { y };
            change.fma(half.fma(change, residual), sum)
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

/// Where the outputs are moved to, `W` vectors at once: z' in plain arithmetic, else Δz.
///
/// A trait and no closure: everything between a [`Task`] and an instruction must be inlined.
trait Points<V: Vector, const W: usize> {
    fn of(&self, unit: usize) -> [V; W];
}

impl<R: Real> Outputs<'_, R> {
    #[inline(always)]
    fn z<V: Vector<Element = R>>(&self, unit: usize) -> V {
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

    /// The loss at the outputs z' (plain), or its change when z changes by Δz.
    #[inline(always)]
    fn total<V: Vector<Element = R>, const HEAD: u8, const MODE: u8, const W: usize>(
        &self,
        points: &impl Points<V, W>,
    ) -> [V; W] {
        if HEAD == SOFTMAX {
            return self.softmax::<V, MODE, W>(points);
        }
        let mut sums = [V::splat(R::ZERO); W];
        for unit in 0..self.units.count {
            let hot = is_hot(self.head, self.label, unit);
            let output = Output {
                z: self.z(unit),
                y: self.y(unit),
                complement: self.complement(unit),
            };
            let points = points.of(unit);
            for w in 0..W {
                sums[w] = add_term::<V, HEAD, MODE>(sums[w], output, hot, points[w]);
            }
        }
        sums
    }

    #[inline(always)]
    fn softmax<V: Vector<Element = R>, const MODE: u8, const W: usize>(
        &self,
        points: &impl Points<V, W>,
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
                        let e = if MODE == FAR { expm1(x) } else { expm1_near(x) };
                        sums[w] = p.fma(e, sums[w]);
                    }
                }
            }
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

/// ln(e^a + e^b).
#[inline(always)]
fn log_sum<V: Vector>(a: V, b: V) -> V {
    let zero = V::splat(V::Element::ZERO);
    let clamp = V::splat(V::Element::from_f64(V::Element::SIGMOID_CLAMP));
    let t = exp(zero.sub(clamp.min(a.sub(b).abs())));
    a.max(b).add(ln_1p(t))
}

/// Largest |value|.
fn largest<R: Real>(values: &[R]) -> f64 {
    values
        .iter()
        .fold(0.0, |most, value| value.to_f64().abs().max(most))
}

/// Which form serves arguments up to `bound`.
fn mode<R: Real>(form: Form, bound: f64) -> u8 {
    match form.cancellation_free {
        false => PLAIN,
        // A NaN is neither tiny nor close.
        true if bound * bound <= R::UNIT_ROUNDOFF / 4.0 => TINY,
        true if bound <= NEAR => CLOSE,
        true => FAR,
    }
}

/// Perturbs the units of one panel below the outputs: for each input value the change of the
/// row's loss, lane by lane.
pub struct UnitTail<'a, R> {
    /// Which losses are compared.
    pub form: Form,
    /// z, y, ȳ of the panel's units in this row, P numbers each.
    pub unit: [&'a [R]; 3],
    /// h of each unit, P numbers.
    pub increments: &'a [R],
    /// What the input of each slot is worth.
    pub values: &'a [R],
    /// The slots in use, and so the lines of `changes` that are written.
    pub slots: &'a [u32],
    /// Weights from the panel's units to each output, `(outputs, P)`.
    pub weights: &'a [R],
    /// At least every |Δz| of a unit, and of an output.
    pub bounds: [f64; 2],
    /// The outputs.
    pub outputs: Outputs<'a, R>,
    /// ΔL out, lines of P numbers.
    pub changes: &'a mut [R],
}

impl<R: Real> Task<R> for UnitTail<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(mut self) {
        let width = width::<R>();
        assert!(self.unit.iter().all(|values| values.len() == width));
        assert!(self.increments.len() == width);
        assert!(self.weights.len() >= self.outputs.units.count * width);
        self.outputs.units.check(self.outputs.row);
        // A softmax subtracts two outputs' Δz.
        let mode = mode::<R>(self.form, self.bounds[0].max(2.0 * self.bounds[1]));
        for first in (0..self.slots.len()).step_by(ABREAST) {
            specialized!(kind(self.outputs.head), mode, self.block::<V>(first));
        }
    }
}

impl<R: Real> UnitTail<'_, R> {
    /// The slots from `first` on, as many as go abreast.
    #[inline(always)]
    fn block<V: Vector<Element = R>, const HEAD: u8, const MODE: u8>(&mut self, first: usize) {
        let width = width::<R>();
        for lane in (0..width).step_by(V::LANES) {
            let mut changes = [V::splat(R::ZERO); ABREAST];
            // One side, or two: the same code, not twice the code.
            for side in 0..=usize::from(self.form.central) {
                let sign = if side == 0 { R::ONE } else { -R::ONE };
                let totals = self.side::<V, HEAD, MODE>(first, lane, V::splat(sign));
                for w in 0..ABREAST {
                    changes[w] = if side == 0 {
                        totals[w]
                    } else {
                        changes[w].sub(totals[w])
                    };
                }
            }
            if MODE == PLAIN && !self.form.central {
                for w in 0..ABREAST {
                    changes[w] = changes[w].sub(V::splat(self.outputs.loss));
                }
            }
            for w in 0..ABREAST {
                let line = abreast(self.slots, first, w) * width;
                let to = &mut self.changes[line..line + width];
                // SAFETY: `to` holds a panel's width.
                unsafe { changes[w].store(to.as_mut_ptr().add(lane)) };
            }
        }
    }

    /// The loss (or its change) after perturbations by `sign`·h.
    #[inline(always)]
    fn side<V: Vector<Element = R>, const HEAD: u8, const MODE: u8>(
        &self,
        first: usize,
        lane: usize,
        sign: V,
    ) -> [V; ABREAST] {
        // SAFETY: `run` checked that each holds a panel's width.
        let (z, y, complement, h) = unsafe {
            (
                V::load(self.unit[0].as_ptr().add(lane)),
                V::load(self.unit[1].as_ptr().add(lane)),
                V::load(self.unit[2].as_ptr().add(lane)),
                V::load(self.increments.as_ptr().add(lane)),
            )
        };
        let h = h.mul(sign);
        let mut changes = [z; ABREAST];
        for w in 0..ABREAST {
            let dz = h.mul(V::splat(self.values[abreast(self.slots, first, w)]));
            changes[w] = if MODE == PLAIN {
                activated::<V, MODE>(y, complement, z.add(dz)).sub(y)
            } else {
                activated::<V, MODE>(y, complement, dz)
            };
        }
        self.outputs
            .total::<V, HEAD, MODE, ABREAST>(&Above::<V, MODE, ABREAST> {
                outputs: &self.outputs,
                weights: self.weights,
                lane,
                changes,
            })
    }
}

/// Slots followed side by side: enough independent chains to hide an operation's latency.
const ABREAST: usize = 4;

/// The `w`-th slot from the `first` on; beyond the end the last one again, which is computed once
/// more and gives the same.
#[inline(always)]
fn abreast(slots: &[u32], first: usize, w: usize) -> usize {
    slots[(first + w).min(slots.len() - 1)] as usize
}

/// Outputs above units that have changed: a rank-1 update.
struct Above<'a, V: Vector, const MODE: u8, const W: usize> {
    outputs: &'a Outputs<'a, V::Element>,
    /// `(outputs, P)`.
    weights: &'a [V::Element],
    lane: usize,
    /// Of the units' activations.
    changes: [V; W],
}

impl<V: Vector, const MODE: u8, const W: usize> Points<V, W> for Above<'_, V, MODE, W> {
    #[inline(always)]
    fn of(&self, unit: usize) -> [V; W] {
        let at = unit * width::<V::Element>() + self.lane;
        let weights = &self.weights[at..at + V::LANES];
        // SAFETY: a slice of LANES numbers.
        let weights = unsafe { V::load(weights.as_ptr()) };
        let mut points = self.changes;
        for w in 0..W {
            points[w] = if MODE == PLAIN {
                weights.fma(self.changes[w], self.outputs.z(unit))
            } else {
                weights.mul(self.changes[w])
            };
        }
        points
    }
}

/// Perturbs the outputs of one panel themselves: one term of the loss changes (with softmax all).
pub struct OwnTail<'a, R> {
    /// Which losses are compared.
    pub form: Form,
    /// The panel.
    pub panel: usize,
    /// h of each unit, P numbers.
    pub increments: &'a [R],
    /// What the input of each slot is worth.
    pub values: &'a [R],
    /// The slots in use, and so the lines of `changes` that are written.
    pub slots: &'a [u32],
    /// At least every |Δz|.
    pub bound: f64,
    /// The outputs.
    pub outputs: Outputs<'a, R>,
    /// ΔL out, lines of P numbers; padding becomes 0.
    pub changes: &'a mut [R],
}

impl<R: Real> Task<R> for OwnTail<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(mut self) {
        let width = width::<R>();
        assert!(self.increments.len() == width);
        self.outputs.units.check(self.outputs.row);
        let mode = mode::<R>(self.form, 2.0 * self.bound);
        specialized!(kind(self.outputs.head), mode, self.all::<V>());
        let real = width.min(self.outputs.units.count - self.panel * width);
        if real < width {
            for &slot in self.slots {
                let line = slot as usize * width;
                self.changes[line + real..line + width].fill(R::ZERO);
            }
        }
    }
}

impl<R: Real> OwnTail<'_, R> {
    #[inline(always)]
    fn all<V: Vector<Element = R>, const HEAD: u8, const MODE: u8>(&mut self) {
        let len = self.slots.len();
        for lane in (0..width::<R>()).step_by(V::LANES) {
            let first = self.panel * width::<R>() + lane;
            let outputs = &self.outputs;
            let units = &outputs.units;
            let at = units.at(outputs.row, first);
            let end = at + V::LANES;
            let operands = [
                &units.z[at..end],
                &units.y[at..end],
                &units.complement[at..end],
            ];
            // SAFETY: slices of LANES numbers.
            let output = unsafe {
                Output {
                    z: V::load(operands[0].as_ptr()),
                    y: V::load(operands[1].as_ptr()),
                    complement: V::load(operands[2].as_ptr()),
                }
            };
            // The target's lane takes the hot term, the others the cold one.
            let target = match outputs.head {
                Head::Logistic if outputs.label == 1 => 0,
                Head::Logistic => usize::MAX,
                _ => usize::from(outputs.label),
            };
            let own = OwnLanes {
                first,
                output,
                hot: V::splat(R::ZERO).sub(lane_of(target, first)),
            };
            for first in (0..len).step_by(ABREAST) {
                self.block::<V, HEAD, MODE>(&own, first, lane);
            }
        }
    }

    /// The slots from `first` on, as many as go abreast.
    #[inline(always)]
    fn block<V: Vector<Element = R>, const HEAD: u8, const MODE: u8>(
        &mut self,
        own: &OwnLanes<V>,
        first: usize,
        lane: usize,
    ) {
        let width = width::<R>();
        let mut changes = [V::splat(R::ZERO); ABREAST];
        // Against the other side of a central difference, or in plain arithmetic against z itself.
        let sides = 1 + usize::from(self.form.central || MODE == PLAIN);
        for side in 0..sides {
            let sign = match side {
                0 => R::ONE,
                _ if self.form.central => -R::ONE,
                _ => R::ZERO,
            };
            for w in 0..ABREAST {
                let slot = abreast(self.slots, first, w);
                let total = self.side::<V, HEAD, MODE>(own, slot, lane, V::splat(sign));
                changes[w] = if side == 0 {
                    total
                } else {
                    changes[w].sub(total)
                };
            }
        }
        for w in 0..ABREAST {
            let line = abreast(self.slots, first, w) * width;
            let to = &mut self.changes[line..line + width];
            // SAFETY: `to` holds a panel's width.
            unsafe { changes[w].store(to.as_mut_ptr().add(lane)) };
        }
    }

    /// The share of the loss that changes (or its change) after a perturbation by `sign`·h.
    #[inline(always)]
    fn side<V: Vector<Element = R>, const HEAD: u8, const MODE: u8>(
        &self,
        own: &OwnLanes<V>,
        slot: usize,
        lane: usize,
        sign: V,
    ) -> V {
        let outputs = &self.outputs;
        // SAFETY: `run` checked that increments hold a panel's width.
        let h = unsafe { V::load(self.increments.as_ptr().add(lane)) }.mul(sign);
        let dz = h.mul(V::splat(self.values[slot]));
        if HEAD == SOFTMAX {
            let first = own.first;
            let points = Own::<V, MODE> { outputs, first, dz };
            let [total] = outputs.total::<V, HEAD, MODE, 1>(&points);
            return total;
        }
        let point = if MODE == PLAIN {
            own.output.z.add(dz)
        } else {
            dz
        };
        let zero = V::splat(R::ZERO);
        let cold = add_term::<V, HEAD, MODE>(zero, own.output, false, point);
        let hot = add_term::<V, HEAD, MODE>(zero, own.output, true, point);
        own.hot.select_negative(hot, cold)
    }
}

/// Outputs side by side, from unit `first` on.
struct OwnLanes<V> {
    first: usize,
    output: Output<V>,
    /// −1 in the target's lane.
    hot: V,
}

/// 1 in the lane of `unit`, where lanes begin with unit `first`; 0 in the others.
#[inline(always)]
fn lane_of<V: Vector>(unit: usize, first: usize) -> V {
    let mut lanes = [V::Element::ZERO; 16];
    if let Some(own) = unit.checked_sub(first)
        && own < V::LANES
    {
        lanes[own] = V::Element::ONE;
    }
    // SAFETY: no vector has more than 16 lanes.
    unsafe { V::load(lanes.as_ptr()) }
}

/// Outputs that are perturbed themselves, each in its own lane.
struct Own<'a, V: Vector, const MODE: u8> {
    outputs: &'a Outputs<'a, V::Element>,
    first: usize,
    dz: V,
}

impl<V: Vector, const MODE: u8> Points<V, 1> for Own<'_, V, MODE> {
    #[inline(always)]
    fn of(&self, unit: usize) -> [V; 1] {
        let dz = lane_of::<V>(unit, self.first).mul(self.dz);
        [if MODE == PLAIN {
            self.outputs.z::<V>(unit).add(dz)
        } else {
            dz
        }]
    }
}

/// The first stage of a deep tail: the units of one panel are perturbed, and each of the next
/// layer's units takes a rank-1 update.
pub struct Spread<'a, R> {
    /// Which losses are compared.
    pub form: Form,
    /// 1 or −1: the side that the perturbation is on.
    pub sign: R,
    /// z, y, ȳ of the panel's units in this row, P numbers each.
    pub unit: [&'a [R]; 3],
    /// h of each unit, P numbers.
    pub increments: &'a [R],
    /// What the input of each slot is worth.
    pub values: &'a [R],
    /// The slots to be perturbed.
    pub slots: &'a [u32],
    /// At least every |Δz| of a unit, and of the next layer.
    pub bounds: [f64; 2],
    /// Weights from the panel's units to each of the next layer's, `(count, P)`.
    pub weights: &'a [R],
    /// The next layer.
    pub next: Units<'a, R>,
    /// The row.
    pub row: usize,
    /// Out, for each value `(count + 1, P)`: a' and a line of 1 for the bias above (plain), or Δa
    /// and a line of 0.
    pub out: &'a mut [R],
}

impl<R: Real> Task<R> for Spread<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(mut self) {
        let width = width::<R>();
        let count = self.next.count;
        assert!(self.unit.iter().all(|values| values.len() == width));
        assert!(self.increments.len() == width && self.weights.len() >= count * width);
        assert!(self.out.len() >= self.slots.len() * (count + 1) * width);
        self.next.check(self.row);
        match mode::<R>(self.form, self.bounds[0].max(self.bounds[1])) {
            PLAIN => self.spread::<V, PLAIN>(),
            TINY => self.spread::<V, TINY>(),
            CLOSE => self.spread::<V, CLOSE>(),
            _ => self.spread::<V, FAR>(),
        }
    }
}

impl<R: Real> Spread<'_, R> {
    #[inline(always)]
    fn spread<V: Vector<Element = R>, const MODE: u8>(&mut self) {
        let width = width::<R>();
        let next = &self.next;
        let last = V::splat(if MODE == PLAIN { R::ONE } else { R::ZERO });
        for (index, &slot) in self.slots.iter().enumerate() {
            let value = self.values[slot as usize];
            let out = self.out[index * (next.count + 1) * width..].as_mut_ptr();
            for lane in (0..width).step_by(V::LANES) {
                // SAFETY: `run` checked the extents of all operands.
                unsafe {
                    let z = V::load(self.unit[0].as_ptr().add(lane));
                    let y = V::load(self.unit[1].as_ptr().add(lane));
                    let complement = V::load(self.unit[2].as_ptr().add(lane));
                    let h = V::load(self.increments.as_ptr().add(lane));
                    let dz = h.mul(V::splat(self.sign)).mul(V::splat(value));
                    let point = if MODE == PLAIN { z.add(dz) } else { dz };
                    let mut change = activated::<V, MODE>(y, complement, point);
                    if MODE == PLAIN {
                        change = change.sub(y);
                    }
                    for unit in 0..next.count {
                        let at = next.at(self.row, unit);
                        let weight = V::load(self.weights.as_ptr().add(unit * width + lane));
                        let point = if MODE == PLAIN {
                            weight.fma(change, V::splat(next.z[at]))
                        } else {
                            weight.mul(change)
                        };
                        let y = V::splat(next.y[at]);
                        let complement = V::splat(next.complement[at]);
                        activated::<V, MODE>(y, complement, point)
                            .store(out.add(unit * width + lane));
                    }
                    last.store(out.add(next.count * width + lane));
                }
            }
        }
    }
}

/// A middle stage of a deep tail: from pre-activations z' (or Δz) to activations a' (or Δa), in
/// place.
pub struct Activate<'a, R> {
    /// Which losses are compared.
    pub form: Form,
    /// The layer.
    pub units: Units<'a, R>,
    /// The row.
    pub row: usize,
    /// Values that were perturbed.
    pub count: usize,
    /// For each value `(units + 1, P)`; the last line becomes 1 (or 0).
    pub values: &'a mut [R],
}

impl<R: Real> Task<R> for Activate<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(mut self) {
        let width = width::<R>();
        assert!(self.values.len() >= self.count * (self.units.count + 1) * width);
        self.units.check(self.row);
        let lines = (self.units.count + 1) * width;
        for value in 0..self.count {
            self.values[value * lines + self.units.count * width..][..width].fill(
                if self.form.cancellation_free {
                    R::ZERO
                } else {
                    R::ONE
                },
            );
        }
        let bound = if self.form.cancellation_free {
            largest(&self.values[..self.count * lines])
        } else {
            0.0
        };
        match mode::<R>(self.form, bound) {
            PLAIN => self.activate::<V, PLAIN>(),
            TINY => self.activate::<V, TINY>(),
            CLOSE => self.activate::<V, CLOSE>(),
            _ => self.activate::<V, FAR>(),
        }
    }
}

impl<R: Real> Activate<'_, R> {
    #[inline(always)]
    fn activate<V: Vector<Element = R>, const MODE: u8>(&mut self) {
        let width = width::<R>();
        let lines = (self.units.count + 1) * width;
        for value in 0..self.count {
            let values = self.values[value * lines..][..lines].as_mut_ptr();
            for unit in 0..self.units.count {
                let at = self.units.at(self.row, unit);
                let y = V::splat(self.units.y[at]);
                let complement = V::splat(self.units.complement[at]);
                for lane in (0..width).step_by(V::LANES) {
                    // SAFETY: unit · P + lane + LANES ≤ `lines`.
                    unsafe {
                        let place = values.add(unit * width + lane);
                        activated::<V, MODE>(y, complement, V::load(place)).store(place);
                    }
                }
            }
        }
    }
}

/// The last stage of a deep tail: from the outputs' pre-activations to the change of the loss.
pub struct LossTail<'a, R> {
    /// Which losses are compared.
    pub form: Form,
    /// The second side of a central difference: its losses are subtracted from `changes`.
    pub second: bool,
    /// The outputs.
    pub outputs: Outputs<'a, R>,
    /// z' (or Δz), for each value `(outputs + 1, P)`.
    pub values: &'a [R],
    /// Which line of `changes` each value's change goes to.
    pub slots: &'a [u32],
    /// ΔL out, lines of P numbers.
    pub changes: &'a mut [R],
}

impl<R: Real> Task<R> for LossTail<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(mut self) {
        let width = width::<R>();
        let lines = (self.outputs.units.count + 1) * width;
        assert!(self.values.len() >= self.slots.len() * lines);
        self.outputs.units.check(self.outputs.row);
        let bound = if self.form.cancellation_free {
            let lines = self.values.chunks(lines).take(self.slots.len());
            let points = lines.map(|line| largest(&line[..self.outputs.units.count * width]));
            2.0 * points.fold(0.0, f64::max)
        } else {
            0.0
        };
        let mode = mode::<R>(self.form, bound);
        for index in 0..self.slots.len() {
            specialized!(kind(self.outputs.head), mode, self.value::<V>(index));
        }
    }
}

impl<R: Real> LossTail<'_, R> {
    #[inline(always)]
    fn value<V: Vector<Element = R>, const HEAD: u8, const MODE: u8>(&mut self, index: usize) {
        let width = width::<R>();
        let lines = (self.outputs.units.count + 1) * width;
        let values = &self.values[index * lines..][..lines];
        let line = self.slots[index] as usize * width;
        for lane in (0..width).step_by(V::LANES) {
            let [total] = self
                .outputs
                .total::<V, HEAD, MODE, 1>(&Lines { values, lane });
            let to = &mut self.changes[line + lane..line + lane + V::LANES];
            // SAFETY: a slice of LANES numbers.
            unsafe {
                let change = if self.second {
                    V::load(to.as_ptr()).sub(total)
                } else if MODE == PLAIN && !self.form.central {
                    total.sub(V::splat(self.outputs.loss))
                } else {
                    total
                };
                change.store(to.as_mut_ptr());
            }
        }
    }
}

/// Outputs whose points stand in lines.
struct Lines<'a, R> {
    values: &'a [R],
    lane: usize,
}

impl<V: Vector> Points<V, 1> for Lines<'_, V::Element> {
    #[inline(always)]
    fn of(&self, unit: usize) -> [V; 1] {
        let at = unit * width::<V::Element>() + self.lane;
        let point = &self.values[at..at + V::LANES];
        // SAFETY: a slice of LANES numbers.
        [unsafe { V::load(point.as_ptr()) }]
    }
}

/// y = σ(z) and ȳ = 1 − y.
pub struct Pairs<'a, R> {
    /// Pre-activations.
    pub z: &'a [R],
    /// Activations out, as many.
    pub y: &'a mut [R],
    /// 1 − y out, as many.
    pub complement: &'a mut [R],
}

impl<R: Real> Task<R> for Pairs<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let len = self.z.len();
        assert!(self.y.len() == len && self.complement.len() == len);
        assert!(len.is_multiple_of(width::<R>()));
        for at in (0..len).step_by(V::LANES) {
            // SAFETY: all three hold `len` numbers, a multiple of LANES.
            unsafe {
                let (y, complement) = sigmoid_pair(V::load(self.z.as_ptr().add(at)));
                y.store(self.y.as_mut_ptr().add(at));
                complement.store(self.complement.as_mut_ptr().add(at));
            }
        }
    }
}

/// Softmax of one row of outputs: p, and 1 − p as the sum of the others.
pub struct Probabilities<'a, R> {
    /// Number of outputs.
    pub count: usize,
    /// Pre-activations of the row, padded to whole panels.
    pub z: &'a [R],
    /// Probabilities out, as many.
    pub y: &'a mut [R],
    /// 1 − p out, as many.
    pub complement: &'a mut [R],
}

impl<R: Real> Task<R> for Probabilities<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let len = self.z.len();
        assert!(self.y.len() == len && self.complement.len() == len && self.count <= len);
        assert!(len.is_multiple_of(width::<R>()));
        let mut most = self.z[0];
        for &z in &self.z[..self.count] {
            if z > most || z.to_f64().is_nan() {
                most = z;
            }
        }
        let clamp = V::splat(R::from_f64(-R::SIGMOID_CLAMP));
        for at in (0..len).step_by(V::LANES) {
            // SAFETY: both hold `len` numbers, a multiple of LANES.
            unsafe {
                let z = V::load(self.z.as_ptr().add(at)).sub(V::splat(most));
                exp(clamp.max(z)).store(self.y.as_mut_ptr().add(at));
            }
        }
        self.y[self.count..].fill(R::ZERO);
        self.complement.fill(R::ZERO);
        // The sum of the others: those before and those after, never all minus one.
        let mut before = R::ZERO;
        for unit in 0..self.count {
            self.complement[unit] = before;
            before = before + self.y[unit];
        }
        let mut after = R::ZERO;
        for unit in (0..self.count).rev() {
            let others = self.complement[unit] + after;
            after = after + self.y[unit];
            let sum = others + self.y[unit];
            self.complement[unit] = others / sum;
            self.y[unit] = self.y[unit] / sum;
        }
    }
}

/// The loss of each row, in its own precision.
pub struct RowLosses<'a, R> {
    /// Units and loss.
    pub head: Head,
    /// The outputs' pre-activations; `y` and `complement` are not read.
    pub units: Units<'a, R>,
    /// One class a row.
    pub labels: &'a [u16],
    /// The losses out, as many.
    pub losses: &'a mut [R],
}

impl<R: Real> Task<R> for RowLosses<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(mut self) {
        assert_eq!(self.labels.len(), self.losses.len());
        for row in 0..self.labels.len() {
            self.losses[row] = match kind(self.head) {
                QUADRATIC => self.row::<V, QUADRATIC>(row),
                LINEAR => self.row::<V, LINEAR>(row),
                ENTROPY => self.row::<V, ENTROPY>(row),
                _ => self.softmax::<V>(row),
            };
        }
    }
}

impl<R: Real> RowLosses<'_, R> {
    /// Outputs side by side, then their sum in order: the bits of [`Outputs::total`] at the same z,
    /// so that a perturbation that moves nothing changes the loss by exactly 0.
    #[inline(always)]
    fn row<V: Vector<Element = R>, const HEAD: u8>(&mut self, row: usize) -> R {
        let zero = V::splat(R::ZERO);
        let half = R::from_f64(0.5);
        let label = self.labels[row];
        let mut sum = R::ZERO;
        for first in (0..self.units.count).step_by(V::LANES) {
            let at = self.units.at(row, first);
            let z = &self.units.z[at..at + V::LANES];
            let mut lanes = [R::ZERO; 16];
            let real = V::LANES.min(self.units.count - first);
            for lane in 0..real {
                if is_hot(self.head, label, first + lane) {
                    lanes[lane] = R::ONE;
                }
            }
            // SAFETY: `z` holds LANES numbers, and no vector has more than 16.
            unsafe {
                let z = V::load(z.as_ptr());
                let hot = V::load(lanes.as_ptr());
                let mask = zero.sub(hot);
                match HEAD {
                    QUADRATIC => {
                        let (y, complement) = sigmoid_pair(z);
                        mask.select_negative(complement, y)
                    }
                    LINEAR => z.sub(hot),
                    _ => softplus(mask.select_negative(zero.sub(z), z)),
                }
                .store(lanes.as_mut_ptr());
            }
            for &lane in &lanes[..real] {
                sum = match HEAD {
                    QUADRATIC | LINEAR => (half * lane).mul_add(lane, sum),
                    _ => sum + lane,
                };
            }
        }
        sum
    }

    #[inline(always)]
    fn softmax<V: Vector<Element = R>>(&self, row: usize) -> R {
        let outputs = Outputs {
            head: self.head,
            units: self.units,
            row,
            label: self.labels[row],
            loss: R::ZERO,
        };
        let [loss] = outputs.total::<V, SOFTMAX, PLAIN, 1>(&Still { outputs: &outputs });
        let mut lanes = [R::ZERO; 16];
        // SAFETY: no vector has more than 16 lanes.
        unsafe { loss.store(lanes.as_mut_ptr()) };
        lanes[0]
    }
}

/// Outputs that stay where they are.
struct Still<'a, R> {
    outputs: &'a Outputs<'a, R>,
}

impl<V: Vector> Points<V, 1> for Still<'_, V::Element> {
    #[inline(always)]
    fn of(&self, unit: usize) -> [V; 1] {
        [self.outputs.z(unit)]
    }
}
