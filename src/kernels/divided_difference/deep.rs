//! The stages of a deep tail: a unit more than one layer below the outputs is perturbed.
//!
//! [`Spread`] perturbs the units of one panel, lane by lane, and updates the layer above them;
//! [`ActivateChanges`] turns a further layer's pre-activations to activations, [`PerturbedLoss`] the outputs' to
//! the change of the loss; between them stands a matrix product. The formulas are in
//! [`super::formulas`].

use super::formulas::{
    CLOSE, ENTROPY, FAR, LINEAR, LossForm, OutputRow, PLAIN, PerturbedOutputs, Propagation,
    QUADRATIC, RATE, SOFTMAX, TINY, Units, activated, kind, largest, mode, specialized,
};
use crate::kernels::panels::width;
use crate::kernels::{Kernel, Vector};
use crate::numeric::Real;

/// The first stage of a deep tail: the units of one panel are perturbed, and each of the next
/// layer's units takes a rank-1 update.
pub struct Spread<'a, R> {
    /// Which losses are compared.
    pub form: LossForm,
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
    /// (or ȧ) and a line of 0.
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

/// A middle stage of a deep tail: from pre-activations z' (or Δz, ż) to activations a' (or Δa, ȧ),
/// in place.
pub struct ActivateChanges<'a, R> {
    /// Which losses are compared.
    pub form: LossForm,
    /// The layer.
    pub units: Units<'a, R>,
    /// The row.
    pub row: usize,
    /// Values that were perturbed.
    pub count: usize,
    /// For each value `(units + 1, P)`; the last line becomes 1 (or 0).
    pub values: &'a mut [R],
}

impl<R: Real> Kernel<R> for ActivateChanges<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(mut self) {
        let width = width::<R>();
        assert!(self.values.len() >= self.count * (self.units.count + 1) * width);
        self.units.check(self.row);
        let lines = (self.units.count + 1) * width;
        for value in 0..self.count {
            self.values[value * lines + self.units.count * width..][..width].fill(
                if self.form.carried == Propagation::Values {
                    R::ONE
                } else {
                    R::ZERO
                },
            );
        }
        let bound = if self.form.carried == Propagation::Changes {
            largest(&self.values[..self.count * lines])
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
pub struct PerturbedLoss<'a, R> {
    /// Which losses are compared.
    pub form: LossForm,
    /// The second side of a central difference: its losses are subtracted from `changes`.
    pub second: bool,
    /// The outputs.
    pub outputs: OutputRow<'a, R>,
    /// z' (or Δz), for each value `(outputs + 1, P)`.
    pub values: &'a [R],
    /// Which line of `changes` each value's change goes to.
    pub slots: &'a [u32],
    /// ΔL out, lines of P numbers.
    pub changes: &'a mut [R],
}

impl<R: Real> Kernel<R> for PerturbedLoss<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(mut self) {
        let width = width::<R>();
        let lines = (self.outputs.units.count + 1) * width;
        assert!(self.values.len() >= self.slots.len() * lines);
        self.outputs.units.check(self.outputs.row);
        let bound = if self.form.carried == Propagation::Changes {
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

impl<R: Real> PerturbedLoss<'_, R> {
    #[inline(always)]
    fn value<V: Vector<Element = R>, const HEAD: u8, const MODE: u8>(&mut self, index: usize) {
        let width = width::<R>();
        let lines = (self.outputs.units.count + 1) * width;
        let values = &self.values[index * lines..][..lines];
        let line = self.slots[index] as usize * width;
        for lane in (0..width).step_by(V::LANES) {
            let [total] = self
                .outputs
                .total::<V, HEAD, MODE, 1>(&PointLines { values, lane });
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
struct PointLines<'a, R> {
    values: &'a [R],
    lane: usize,
}

impl<V: Vector> PerturbedOutputs<V, 1> for PointLines<'_, V::Element> {
    #[inline(always)]
    fn of(&self, unit: usize) -> [V; 1] {
        let at = unit * width::<V::Element>() + self.lane;
        let point = &self.values[at..at + V::LANES];
        // SAFETY: a slice of LANES numbers.
        [unsafe { V::load(point.as_ptr()) }]
    }
}
