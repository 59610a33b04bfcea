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
//! so that no two nearly equal numbers are ever subtracted. Small arguments take a short series for
//! e^x − 1 ([`NEAR`]); which form a panel takes is decided by bounds over the panel, never by the
//! vector's width, so the bits are the same with every instruction set.

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
const CLOSE: u8 = 1;
const FAR: u8 = 2;

/// Calls `$function::<V, HEAD, MODE>` for the head and the mode at hand.
macro_rules! specialized {
    ($head:expr, $mode:expr, $self:ident.$function:ident::<$vector:ident>($($argument:expr),*)) => {
        specialized!(@head $head, $mode, $self, $function, $vector, ($($argument),*),
            [QUADRATIC LINEAR ENTROPY SOFTMAX])
    };
    (@head $head:expr, $mode:expr, $self:ident, $function:ident, $vector:ident, $arguments:tt, [$($kind:ident)*]) => {
        match ($head, $mode) {
            $(($kind, PLAIN) => specialized!(@call $self, $function, $vector, $kind, PLAIN, $arguments),
              ($kind, CLOSE) => specialized!(@call $self, $function, $vector, $kind, CLOSE, $arguments),
              ($kind, FAR) => specialized!(@call $self, $function, $vector, $kind, FAR, $arguments),)*
            _ => unreachable!("four heads, three modes"),
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

/// ln(1 + weight·(e^x − 1)) = softplus(z + x) − softplus(z), where σ(z) = `weight`.
#[inline(always)]
fn entropy_change<V: Vector, const MODE: u8>(weight: V, z: V, x: V) -> V {
    if MODE == CLOSE {
        return ln_1p(weight.mul(expm1_near(x)));
    }
    let argument = weight.mul(expm1(x));
    let half = V::splat(V::Element::from_f64(0.5));
    // A change that is not small next to the losses: there is nothing to cancel.
    let large = softplus(z.add(x)).sub(softplus(z));
    half.sub(argument.abs())
        .select_negative(large, ln_1p(argument))
}

/// Unit `unit`'s share of the loss at z' = `point` (plain), or the change of its share when z
/// changes by `point`.
#[inline(always)]
fn term<V: Vector, const HEAD: u8, const MODE: u8>(
    z: V,
    y: V,
    complement: V,
    hot: bool,
    point: V,
) -> V {
    let zero = V::splat(V::Element::ZERO);
    let half = V::splat(V::Element::from_f64(0.5));
    let residual = |y: V, complement: V| if hot { zero.sub(complement) } else { y };
    match (HEAD, MODE) {
        (QUADRATIC, PLAIN) => {
            let (y, complement) = sigmoid_pair(point);
            let residual = residual(y, complement);
            half.mul(residual).mul(residual)
        }
        (QUADRATIC, _) => {
            let change = sigmoid_change::<V, MODE>(y, complement, point);
            change.mul(half.fma(change, residual(y, complement)))
        }
        (LINEAR, _) => {
            let target = V::splat(if hot {
                V::Element::ONE
            } else {
                V::Element::ZERO
            });
            if MODE == PLAIN {
                let residual = point.sub(target);
                half.mul(residual).mul(residual)
            } else {
                point.mul(half.fma(point, z.sub(target)))
            }
        }
        (_, PLAIN) => softplus(if hot { zero.sub(point) } else { point }),
        (_, _) if hot => entropy_change::<V, MODE>(complement, zero.sub(z), zero.sub(point)),
        (_, _) => entropy_change::<V, MODE>(y, z, point),
    }
}

impl<R: Real> Outputs<'_, R> {
    /// The loss at the outputs z' = `point(k)` (plain), or its change when z changes by
    /// `point(k)`, for `W` vectors at once.
    #[inline(always)]
    fn total<V: Vector<Element = R>, const HEAD: u8, const MODE: u8, const W: usize>(
        &self,
        point: impl Fn(usize) -> [V; W],
    ) -> [V; W] {
        let zero = V::splat(R::ZERO);
        let target = usize::from(self.label);
        let scalar = |values: &[R], unit: usize| V::splat(values[self.units.at(self.row, unit)]);
        let units = &self.units;
        let mut sums = [zero; W];
        if HEAD != SOFTMAX {
            for unit in 0..units.count {
                let hot = is_hot(self.head, self.label, unit);
                let (z, y) = (scalar(units.z, unit), scalar(units.y, unit));
                let complement = scalar(units.complement, unit);
                let points = point(unit);
                for w in 0..W {
                    let term = term::<V, HEAD, MODE>(z, y, complement, hot, points[w]);
                    sums[w] = sums[w].add(term);
                }
            }
            return sums;
        }
        let at_target = point(target);
        let others = (0..units.count).filter(|&unit| unit != target);
        if MODE != PLAIN {
            for unit in others.clone() {
                let points = point(unit);
                let p = scalar(units.y, unit);
                for w in 0..W {
                    let x = points[w].sub(at_target[w]);
                    let e = if MODE == CLOSE {
                        expm1_near(x)
                    } else {
                        expm1(x)
                    };
                    sums[w] = p.fma(e, sums[w]);
                }
            }
            if MODE == CLOSE {
                return sums.map(ln_1p);
            }
        }
        let base = |unit: usize| {
            if MODE == PLAIN {
                zero
            } else {
                scalar(units.z, unit)
            }
        };
        let mut margins = [zero; W];
        let mut before = zero;
        for (place, unit) in others.enumerate() {
            let points = point(unit);
            let z = base(unit);
            for w in 0..W {
                let z = z.add(points[w]);
                margins[w] = if place == 0 {
                    z
                } else {
                    log_sum(margins[w], z)
                };
            }
            before = if place == 0 { z } else { log_sum(before, z) };
        }
        let before = softplus(before.sub(base(target)));
        let half = V::splat(R::from_f64(0.5));
        for w in 0..W {
            let loss = softplus(margins[w].sub(base(target).add(at_target[w])));
            sums[w] = if MODE == PLAIN {
                loss
            } else {
                // As in `entropy_change`.
                half.sub(sums[w].abs())
                    .select_negative(loss.sub(before), ln_1p(sums[w]))
            };
        }
        sums
    }

    /// The change of the loss, of whichever `form`: `total(sign)` is what [`Outputs::total`]
    /// gives for a perturbation by sign·h.
    #[inline(always)]
    fn change<V: Vector<Element = R>, const MODE: u8, const W: usize>(
        &self,
        central: bool,
        total: impl Fn(V) -> [V; W],
    ) -> [V; W] {
        let one = V::splat(R::ONE);
        let mut changes = total(one);
        if central {
            let below = total(V::splat(R::ZERO).sub(one));
            for w in 0..W {
                changes[w] = changes[w].sub(below[w]);
            }
        } else if MODE == PLAIN {
            let base = V::splat(self.loss);
            for w in 0..W {
                changes[w] = changes[w].sub(base);
            }
        }
        changes
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

fn mode(form: Form, bound: f64) -> u8 {
    match form.cancellation_free {
        false => PLAIN,
        // A NaN is not close.
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
    /// What the inputs are worth.
    pub values: &'a [R],
    /// Which line of `changes` each value's change goes to.
    pub slots: &'a [u16],
    /// Weights from the panel's units to each output, `(outputs, P)`.
    pub weights: &'a [R],
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
        assert!(self.increments.len() == width && self.values.len() == self.slots.len());
        assert!(self.weights.len() >= self.outputs.units.count * width);
        self.outputs.units.check(self.outputs.row);
        let bound = largest(self.increments) * largest(self.values);
        // |Δσ| ≤ |Δz|/4; a softmax subtracts two of them.
        let above = bound / 4.0 * largest(self.weights) * 2.0;
        let mode = mode(self.form, bound.max(above));
        let mut first = 0;
        while first < self.values.len() {
            if first + 4 <= self.values.len() {
                specialized!(kind(self.outputs.head), mode, self.four::<V>(first));
                first += 4;
            } else {
                specialized!(kind(self.outputs.head), mode, self.one::<V>(first));
                first += 1;
            }
        }
    }
}

impl<R: Real> UnitTail<'_, R> {
    #[inline(always)]
    fn four<V: Vector<Element = R>, const HEAD: u8, const MODE: u8>(&mut self, first: usize) {
        self.block::<V, HEAD, MODE, 4>(first);
    }

    #[inline(always)]
    fn one<V: Vector<Element = R>, const HEAD: u8, const MODE: u8>(&mut self, first: usize) {
        self.block::<V, HEAD, MODE, 1>(first);
    }

    /// `W` values from `first` on.
    #[inline(always)]
    fn block<V: Vector<Element = R>, const HEAD: u8, const MODE: u8, const W: usize>(
        &mut self,
        first: usize,
    ) {
        let width = width::<R>();
        for lane in (0..width).step_by(V::LANES) {
            // SAFETY: `run` checked that each holds a panel's width, `weights` one an output.
            let load = |values: &[R], at: usize| unsafe { V::load(values.as_ptr().add(at + lane)) };
            let [z, y, complement] = self.unit.map(|values| load(values, 0));
            let h = load(self.increments, 0);
            let outputs = &self.outputs;
            let changes = outputs.change::<V, MODE, W>(self.form.central, |sign| {
                let mut below = [z; W];
                for w in 0..W {
                    let dz = h.mul(sign).mul(V::splat(self.values[first + w]));
                    let point = if MODE == PLAIN { z.add(dz) } else { dz };
                    let next = activated::<V, MODE>(y, complement, point);
                    below[w] = if MODE == PLAIN { next.sub(y) } else { next };
                }
                outputs.total::<V, HEAD, MODE, W>(|unit| {
                    let weight = load(self.weights, unit * width);
                    let z = outputs.units.z[outputs.units.at(outputs.row, unit)];
                    below.map(|change| {
                        if MODE == PLAIN {
                            weight.fma(change, V::splat(z))
                        } else {
                            weight.mul(change)
                        }
                    })
                })
            });
            for w in 0..W {
                let line = usize::from(self.slots[first + w]) * width;
                let to = &mut self.changes[line..line + width];
                // SAFETY: `to` holds a panel's width.
                unsafe { changes[w].store(to.as_mut_ptr().add(lane)) };
            }
        }
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
    /// What the inputs are worth.
    pub values: &'a [R],
    /// Which line of `changes` each value's change goes to.
    pub slots: &'a [u16],
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
        assert!(self.increments.len() == width && self.values.len() == self.slots.len());
        self.outputs.units.check(self.outputs.row);
        let bound = largest(self.increments) * largest(self.values) * 2.0;
        let mode = mode(self.form, bound);
        for index in 0..self.values.len() {
            specialized!(kind(self.outputs.head), mode, self.value::<V>(index));
        }
        let real = width.min(self.outputs.units.count - self.panel * width);
        if real < width {
            for &slot in self.slots {
                let line = usize::from(slot) * width;
                self.changes[line + real..line + width].fill(R::ZERO);
            }
        }
    }
}

impl<R: Real> OwnTail<'_, R> {
    #[inline(always)]
    fn value<V: Vector<Element = R>, const HEAD: u8, const MODE: u8>(&mut self, index: usize) {
        let width = width::<R>();
        let outputs = &self.outputs;
        let line = usize::from(self.slots[index]) * width;
        for lane in (0..width).step_by(V::LANES) {
            let first = self.panel * width + lane;
            let zero = V::splat(R::ZERO);
            // SAFETY: `run` checked that increments hold a panel's width.
            let h = unsafe { V::load(self.increments.as_ptr().add(lane)) };
            let value = V::splat(self.values[index]);
            let hot = |unit: usize| {
                let mut lanes = [R::ZERO; 16];
                if let Some(own) = unit.checked_sub(first)
                    && own < V::LANES
                {
                    lanes[own] = R::ONE;
                }
                // SAFETY: no vector has more than 16 lanes.
                unsafe { V::load(lanes.as_ptr()) }
            };
            let changes = if HEAD == SOFTMAX {
                outputs.change::<V, MODE, 1>(self.form.central, |sign| {
                    outputs.total::<V, HEAD, MODE, 1>(|unit| {
                        let dz = hot(unit).mul(h.mul(sign).mul(value));
                        let z = outputs.units.z[outputs.units.at(outputs.row, unit)];
                        [if MODE == PLAIN {
                            V::splat(z).add(dz)
                        } else {
                            dz
                        }]
                    })
                })
            } else {
                let at = outputs.units.at(outputs.row, first);
                let load = |values: &[R]| {
                    let values = &values[at..at + V::LANES];
                    // SAFETY: a slice of LANES numbers.
                    unsafe { V::load(values.as_ptr()) }
                };
                let units = &outputs.units;
                let (z, y) = (load(units.z), load(units.y));
                let complement = load(units.complement);
                // The target's lane takes the hot term, the others the cold one.
                let target = match outputs.head {
                    Head::Logistic if outputs.label == 1 => 0,
                    Head::Logistic => usize::MAX,
                    _ => usize::from(outputs.label),
                };
                let mask = zero.sub(hot(target));
                let term = |point: V| {
                    let cold = term::<V, HEAD, MODE>(z, y, complement, false, point);
                    let hot = term::<V, HEAD, MODE>(z, y, complement, true, point);
                    mask.select_negative(hot, cold)
                };
                let at_sign = |sign: V| {
                    let dz = h.mul(sign).mul(value);
                    term(if MODE == PLAIN { z.add(dz) } else { dz })
                };
                let one = V::splat(R::ONE);
                let mut change = at_sign(one);
                if self.form.central {
                    change = change.sub(at_sign(zero.sub(one)));
                } else if MODE == PLAIN {
                    change = change.sub(term(z));
                }
                [change]
            };
            let to = &mut self.changes[line + lane..line + lane + V::LANES];
            // SAFETY: a slice of LANES numbers.
            unsafe { changes[0].store(to.as_mut_ptr()) };
        }
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
    /// What the inputs are worth.
    pub values: &'a [R],
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
        assert!(self.out.len() >= self.values.len() * (count + 1) * width);
        self.next.check(self.row);
        let bound = largest(self.increments) * largest(self.values);
        let above = bound / 4.0 * largest(self.weights);
        match mode(self.form, bound.max(above)) {
            PLAIN => self.spread::<V, PLAIN>(),
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
        for (index, &value) in self.values.iter().enumerate() {
            let out = self.out[index * (next.count + 1) * width..].as_mut_ptr();
            for lane in (0..width).step_by(V::LANES) {
                // SAFETY: `run` checked the extents of all operands.
                unsafe {
                    let [z, y, complement] =
                        self.unit.map(|values| V::load(values.as_ptr().add(lane)));
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
        match mode(self.form, bound) {
            PLAIN => self.activate::<V, PLAIN>(),
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
    pub slots: &'a [u16],
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
        let mode = mode(self.form, bound);
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
        let line = usize::from(self.slots[index]) * width;
        for lane in (0..width).step_by(V::LANES) {
            let [total] = self.outputs.total::<V, HEAD, MODE, 1>(|unit| {
                let point = &values[unit * width + lane..][..V::LANES];
                // SAFETY: a slice of LANES numbers.
                [unsafe { V::load(point.as_ptr()) }]
            });
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
    /// Outputs side by side, then their terms in order.
    #[inline(always)]
    fn row<V: Vector<Element = R>, const HEAD: u8>(&mut self, row: usize) -> R {
        let zero = V::splat(R::ZERO);
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
                let mask = zero.sub(V::load(lanes.as_ptr()));
                let cold = term::<V, HEAD, PLAIN>(z, z, z, false, z);
                let hot = term::<V, HEAD, PLAIN>(z, z, z, true, z);
                mask.select_negative(hot, cold).store(lanes.as_mut_ptr());
            }
            for &term in &lanes[..real] {
                sum = sum + term;
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
        let [loss] = outputs.total::<V, SOFTMAX, PLAIN, 1>(|unit| {
            [V::splat(self.units.z[self.units.at(row, unit)])]
        });
        let mut lanes = [R::ZERO; 16];
        // SAFETY: no vector has more than 16 lanes.
        unsafe { loss.store(lanes.as_mut_ptr()) };
        lanes[0]
    }
}
