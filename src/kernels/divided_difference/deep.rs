//! The perturbed loss of deep units: stages that propagate a perturbation of a unit more than one
//! layer below the outputs.
//!
//! [`Spread`] perturbs the units of one panel, one per lane, and computes the effect on the next
//! layer. [`ActivateChanges`] turns the pre-activations of a further layer into activations, and
//! [`PerturbedLoss`] those of the outputs into the change of the loss. Between two stages there is
//! a matrix product. The formulas are in [`super::formulas`].

use super::formulas::{
    CLOSE, ENTROPY, FAR, LINEAR, LossForm, OutputRow, PLAIN, PerturbedOutputs, Propagation,
    QUADRATIC, RATE, SOFTMAX, TINY, Units, activated, kind, largest, mode, specialized,
};
use crate::kernels::panels::width;
use crate::kernels::{Kernel, Vector};
use crate::numeric::Real;

/// First stage: perturbs the units of one panel, and applies a rank-1 update to each unit of the
/// next layer.
pub struct Spread<'a, R> {
    /// The losses that are compared.
    pub form: LossForm,
    /// 1 for a perturbation by +h, −1 for one by −h.
    pub sign: R,
    /// z, y and ȳ = 1 − y of the panel's units in this row, P numbers each.
    pub unit: [&'a [R]; 3],
    /// The increment h of each unit, P numbers.
    pub increments: &'a [R],
    /// The input value of each slot.
    pub values: &'a [R],
    /// The slots to evaluate.
    pub slots: &'a [u32],
    /// Upper bounds of |Δz| of the panel's units, and of the next layer's.
    pub bounds: [f64; 2],
    /// Weights from the panel's units to each unit of the next layer, `(count, P)`.
    pub weights: &'a [R],
    /// The next layer.
    pub next: Units<'a, R>,
    /// The row.
    pub row: usize,
    /// For each slot, `(count + 1, P)` out: a' and a last row of 1 for the next bias (plain
    /// arithmetic), or Δa (or ȧ) and a last row of 0.
    pub out: &'a mut [R],
}

impl<R: Real> Kernel<R> for Spread<'_, R> {
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
            RATE => self.spread::<V, RATE>(),
            _ => self.spread::<V, FAR>(),
        }
    }
}

impl<R: Real> Spread<'_, R> {
    /// Evaluates every slot in arithmetic `MODE`.
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
                    let one_minus_y = V::load(self.unit[2].as_ptr().add(lane));
                    let h = V::load(self.increments.as_ptr().add(lane));
                    let dz = h.mul(V::splat(self.sign)).mul(V::splat(value));
                    let point = if MODE == PLAIN { z.add(dz) } else { dz };
                    let mut change = activated::<V, MODE>(y, one_minus_y, point);
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
                        let one_minus_y = V::splat(next.one_minus_y[at]);
                        activated::<V, MODE>(y, one_minus_y, point)
                            .store(out.add(unit * width + lane));
                    }
                    last.store(out.add(next.count * width + lane));
                }
            }
        }
    }
}

/// Middle stage: computes activations a' (or Δa, ȧ) from pre-activations z' (or Δz, ż), in place.
pub struct ActivateChanges<'a, R> {
    /// The losses that are compared.
    pub form: LossForm,
    /// The layer's units.
    pub units: Units<'a, R>,
    /// The row.
    pub row: usize,
    /// Number of slots.
    pub count: usize,
    /// For each slot, `(units + 1, P)`; the last row becomes 1 (or 0).
    pub values: &'a mut [R],
}

impl<R: Real> Kernel<R> for ActivateChanges<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(mut self) {
        let width = width::<R>();
        assert!(self.values.len() >= self.count * (self.units.count + 1) * width);
        self.units.check(self.row);
        let slot_size = (self.units.count + 1) * width;
        for slot in 0..self.count {
            self.values[slot * slot_size + self.units.count * width..][..width].fill(
                if self.form.propagation == Propagation::Values {
                    R::ONE
                } else {
                    R::ZERO
                },
            );
        }
        let bound = if self.form.propagation == Propagation::Changes {
            largest(&self.values[..self.count * slot_size])
        } else {
            0.0
        };
        match mode::<R>(self.form, bound) {
            PLAIN => self.activate::<V, PLAIN>(),
            TINY => self.activate::<V, TINY>(),
            CLOSE => self.activate::<V, CLOSE>(),
            RATE => self.activate::<V, RATE>(),
            _ => self.activate::<V, FAR>(),
        }
    }
}

impl<R: Real> ActivateChanges<'_, R> {
    /// Activates every slot in arithmetic `MODE`.
    #[inline(always)]
    fn activate<V: Vector<Element = R>, const MODE: u8>(&mut self) {
        let width = width::<R>();
        let slot_size = (self.units.count + 1) * width;
        for slot in 0..self.count {
            let values = self.values[slot * slot_size..][..slot_size].as_mut_ptr();
            for unit in 0..self.units.count {
                let at = self.units.at(self.row, unit);
                let y = V::splat(self.units.y[at]);
                let one_minus_y = V::splat(self.units.one_minus_y[at]);
                for lane in (0..width).step_by(V::LANES) {
                    // SAFETY: unit · P + lane + LANES ≤ `slot_size`.
                    unsafe {
                        let at = values.add(unit * width + lane);
                        activated::<V, MODE>(y, one_minus_y, V::load(at)).store(at);
                    }
                }
            }
        }
    }
}

/// Last stage: computes the change of the loss from the outputs' perturbed pre-activations.
pub struct PerturbedLoss<'a, R> {
    /// The losses that are compared.
    pub form: LossForm,
    /// True for the −h side of a central difference: its losses are subtracted from `changes`.
    pub second: bool,
    /// The outputs.
    pub outputs: OutputRow<'a, R>,
    /// For each slot, z' (or Δz, ż), `(outputs + 1, P)`; the last row is not read.
    pub values: &'a [R],
    /// The row of `changes` for each slot's change.
    pub slots: &'a [u32],
    /// ΔL out, rows of P numbers.
    pub changes: &'a mut [R],
}

impl<R: Real> Kernel<R> for PerturbedLoss<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(mut self) {
        let width = width::<R>();
        let slot_size = (self.outputs.units.count + 1) * width;
        assert!(self.values.len() >= self.slots.len() * slot_size);
        self.outputs.units.check(self.outputs.row);
        let bound = if self.form.propagation == Propagation::Changes {
            let slots = self.values.chunks(slot_size).take(self.slots.len());
            let bounds = slots.map(|slot| largest(&slot[..self.outputs.units.count * width]));
            // A softmax subtracts the Δz of two outputs.
            2.0 * bounds.fold(0.0, f64::max)
        } else {
            0.0
        };
        let mode = mode::<R>(self.form, bound);
        for index in 0..self.slots.len() {
            specialized!(
                [QUADRATIC LINEAR ENTROPY SOFTMAX] kind(self.outputs.output_loss),
                mode,
                self.slot::<V>(index)
            );
        }
    }
}

impl<R: Real> PerturbedLoss<'_, R> {
    /// Computes the change of the loss for slot `index`.
    #[inline(always)]
    fn slot<V: Vector<Element = R>, const LOSS: u8, const MODE: u8>(&mut self, index: usize) {
        let width = width::<R>();
        let slot_size = (self.outputs.units.count + 1) * width;
        let values = &self.values[index * slot_size..][..slot_size];
        let row = self.slots[index] as usize * width;
        for lane in (0..width).step_by(V::LANES) {
            let [total] = self
                .outputs
                .total::<V, LOSS, MODE, 1>(&PointRows { values, lane });
            let to = &mut self.changes[row + lane..row + lane + V::LANES];
            // SAFETY: a slice of LANES numbers.
            unsafe {
                let target = self.outputs.target;
                let change = if self.second {
                    V::load(to.as_ptr()).sub(target.weighted(total))
                } else if MODE == PLAIN && !self.form.central {
                    target.weighted(total.sub(V::splat(self.outputs.loss)))
                } else {
                    target.weighted(total)
                };
                change.store(to.as_mut_ptr());
            }
        }
    }
}

/// Perturbed outputs that are rows of P numbers in memory.
struct PointRows<'a, R> {
    values: &'a [R],
    lane: usize,
}

impl<V: Vector> PerturbedOutputs<V, 1> for PointRows<'_, V::Element> {
    #[inline(always)]
    fn at(&self, unit: usize) -> [V; 1] {
        let at = unit * width::<V::Element>() + self.lane;
        let point = &self.values[at..at + V::LANES];
        // SAFETY: a slice of LANES numbers.
        [unsafe { V::load(point.as_ptr()) }]
    }
}
