//! The tails of units at most one layer below the outputs: from a perturbation to the change of a
//! row's loss.
//!
//! The lanes of a vector are units of one panel, each perturbed on its own; the perturbation of
//! unit j by an input v is Δz_j = h_j·v. [`UnitTail`] follows it through one layer of outputs above
//! the unit, [`OwnTail`] perturbs outputs themselves. The formulas are in [`super::change`].

use super::change::{
    CLOSE, ENTROPY, FAR, Form, LINEAR, Output, Outputs, PLAIN, Points, QUADRATIC, RATE, SOFTMAX,
    TINY, activated, add_term, kind, mode, specialized,
};
use super::head::Head;
use super::panels::width;
use super::{Real, Task, Vector};

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
