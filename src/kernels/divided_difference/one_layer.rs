//! The tails of units at most one layer below the outputs: from a perturbation to the change of a
//! row's loss.
//!
//! The lanes of a vector are units of one panel, each perturbed on its own; the perturbation of
//! unit j by an input v is Δz_j = h_j·v. [`PerturbUnits`] follows it through one layer of outputs above
//! the unit, [`PerturbOutputs`] perturbs outputs themselves. The formulas are in [`super::formulas`].

use super::formulas::{
    CLOSE, ENTROPY, FAR, LINEAR, LossForm, OutputRow, OutputValue, PLAIN, PerturbedOutputs,
    QUADRATIC, RATE, SOFTMAX, TINY, activated, add_terms, kind, lane_of, mode, shares, specialized,
};
use crate::kernels::elementary::sigmoid;
use crate::kernels::panels::width;
use crate::kernels::{Kernel, Vector};
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;

/// Perturbs the units of one panel below the outputs: for each input value the change of the
/// row's loss, lane by lane.
pub struct PerturbUnits<'a, R> {
    /// Which losses are compared.
    pub form: LossForm,
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
    pub outputs: OutputRow<'a, R>,
    /// ΔL out, lines of P numbers.
    pub changes: &'a mut [R],
}

impl<R: Real> Kernel<R> for PerturbUnits<'_, R> {
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
        // What a' is compared with in plain arithmetic, from the function that gives a': where a
        // perturbation moves nothing, Δa is exactly 0.
        let mut still = [R::ZERO; 16];
        if mode == PLAIN {
            for lane in (0..width).step_by(V::LANES) {
                // SAFETY: both hold a panel's width.
                unsafe {
                    let [y] = sigmoid([V::load(self.unit[0].as_ptr().add(lane))]);
                    y.store(still.as_mut_ptr().add(lane));
                }
            }
        }
        specialized!(kind(self.outputs.head), mode, self.blocks::<V>(&still));
    }
}

impl<R: Real> PerturbUnits<'_, R> {
    #[inline(always)]
    fn blocks<V: Vector<Element = R>, const HEAD: u8, const MODE: u8>(&mut self, still: &[R; 16]) {
        if HEAD == QUADRATIC && MODE == PLAIN {
            for first in (0..self.slots.len()).step_by(SQUARES_ABREAST) {
                self.block::<V, HEAD, MODE, SQUARES_ABREAST>(first, still);
            }
        } else {
            for first in (0..self.slots.len()).step_by(ABREAST) {
                self.block::<V, HEAD, MODE, ABREAST>(first, still);
            }
        }
    }

    /// The slots from `first` on, as many as go abreast.
    #[inline(always)]
    fn block<V: Vector<Element = R>, const HEAD: u8, const MODE: u8, const W: usize>(
        &mut self,
        first: usize,
        still: &[R; 16],
    ) {
        let width = width::<R>();
        for lane in (0..width).step_by(V::LANES) {
            let mut changes = [V::splat(R::ZERO); W];
            // One side, or two: the same code, not twice the code.
            for side in 0..=usize::from(self.form.central) {
                let sign = if side == 0 { R::ONE } else { -R::ONE };
                let totals = self.side::<V, HEAD, MODE, W>(first, lane, still, V::splat(sign));
                for w in 0..W {
                    changes[w] = if side == 0 {
                        totals[w]
                    } else {
                        changes[w].sub(totals[w])
                    };
                }
            }
            if MODE == PLAIN && !self.form.central {
                for w in 0..W {
                    changes[w] = changes[w].sub(V::splat(self.outputs.loss));
                }
            }
            for w in 0..W {
                let line = abreast(self.slots, first, w) * width;
                let to = &mut self.changes[line..line + width];
                // SAFETY: `to` holds a panel's width.
                unsafe { changes[w].store(to.as_mut_ptr().add(lane)) };
            }
        }
    }

    /// The loss (or its change) after perturbations by `sign`·h.
    #[inline(always)]
    fn side<V: Vector<Element = R>, const HEAD: u8, const MODE: u8, const W: usize>(
        &self,
        first: usize,
        lane: usize,
        still: &[R; 16],
        sign: V,
    ) -> [V; W] {
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
        let mut changes = [z; W];
        for w in 0..W {
            let dz = h.mul(V::splat(self.values[abreast(self.slots, first, w)]));
            changes[w] = if MODE == PLAIN {
                z.add(dz)
            } else {
                activated::<V, MODE>(y, complement, dz)
            };
        }
        if MODE == PLAIN {
            // SAFETY: `still` holds 16 numbers, a panel at least.
            let still = unsafe { V::load(still.as_ptr().add(lane)) };
            changes = sigmoid(changes);
            for w in 0..W {
                changes[w] = changes[w].sub(still);
            }
        }
        self.outputs
            .total::<V, HEAD, MODE, W>(&RankOneUpdate::<V, MODE, W> {
                outputs: &self.outputs,
                weights: self.weights,
                lane,
                changes,
            })
    }
}

/// Slots followed side by side: enough independent chains to hide an operation's latency.
const ABREAST: usize = 4;
/// The same of the squares of plain arithmetic, whose chains are longer: [`sigmoid`].
const SQUARES_ABREAST: usize = 8;

/// The `w`-th slot from the `first` on; beyond the end the last one again, which is computed once
/// more and gives the same.
#[inline(always)]
fn abreast(slots: &[u32], first: usize, w: usize) -> usize {
    slots[(first + w).min(slots.len() - 1)] as usize
}

/// Outputs above units that have changed: a rank-1 update.
struct RankOneUpdate<'a, V: Vector, const MODE: u8, const W: usize> {
    outputs: &'a OutputRow<'a, V::Element>,
    /// `(outputs, P)`.
    weights: &'a [V::Element],
    lane: usize,
    /// Of the units' activations.
    changes: [V; W],
}

impl<V: Vector, const MODE: u8, const W: usize> PerturbedOutputs<V, W>
    for RankOneUpdate<'_, V, MODE, W>
{
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

/// Perturbs the outputs of one panel themselves: one term of the loss changes. A softmax, as one of its
/// outputs sees it, is a sigmoid of the output's margin over the others: p_k = σ(z_k − ln Σ_{j≠k} e^z_j).
pub struct PerturbOutputs<'a, R> {
    /// Which losses are compared.
    pub form: LossForm,
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
    pub outputs: OutputRow<'a, R>,
    /// ΔL out, lines of P numbers; padding becomes 0.
    pub changes: &'a mut [R],
}

impl<R: Real> Kernel<R> for PerturbOutputs<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(mut self) {
        let width = width::<R>();
        assert!(self.increments.len() == width);
        self.outputs.units.check(self.outputs.row);
        let mode = mode::<R>(self.form, 2.0 * self.bound);
        let term = match kind(self.outputs.head) {
            SOFTMAX => ENTROPY,
            kind => kind,
        };
        specialized!(term, mode, self.all::<V>());
        let real = width.min(self.outputs.units.count - self.panel * width);
        if real < width {
            for &slot in self.slots {
                let line = slot as usize * width;
                self.changes[line + real..line + width].fill(R::ZERO);
            }
        }
    }
}

impl<R: Real> PerturbOutputs<'_, R> {
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
            let mut output = unsafe {
                OutputValue {
                    z: V::load(operands[0].as_ptr()),
                    y: V::load(operands[1].as_ptr()),
                    complement: V::load(operands[2].as_ptr()),
                }
            };
            if outputs.head == OutputLoss::SoftmaxCrossEntropy && (MODE == PLAIN || MODE == FAR) {
                output.z = outputs.margins(output.z, first);
            }
            // The target's lane takes the hot term, the others the cold one.
            let target = match outputs.head {
                OutputLoss::Logistic if outputs.label == 1 => 0,
                OutputLoss::Logistic => usize::MAX,
                _ => usize::from(outputs.label),
            };
            let own = OutputLanes {
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
        own: &OutputLanes<V>,
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
            let totals = self.side::<V, HEAD, MODE>(own, first, lane, V::splat(sign));
            for w in 0..ABREAST {
                changes[w] = if side == 0 {
                    totals[w]
                } else {
                    changes[w].sub(totals[w])
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
        own: &OutputLanes<V>,
        first: usize,
        lane: usize,
        sign: V,
    ) -> [V; ABREAST] {
        // SAFETY: `run` checked that increments hold a panel's width.
        let h = unsafe { V::load(self.increments.as_ptr().add(lane)) }.mul(sign);
        let mut points = [h; ABREAST];
        for w in 0..ABREAST {
            points[w] = h.mul(V::splat(self.values[abreast(self.slots, first, w)]));
        }
        let zero = V::splat(R::ZERO);
        if MODE == PLAIN {
            for w in 0..ABREAST {
                points[w] = own.output.z.add(points[w]);
            }
        }
        let nothing = [zero; ABREAST];
        if HEAD == QUADRATIC && MODE == PLAIN {
            // Where the target is, −z is to 1 − y what z is to y.
            for w in 0..ABREAST {
                points[w] = own.hot.select_negative(zero.sub(points[w]), points[w]);
            }
            let sums = add_terms::<V, HEAD, MODE, ABREAST>(nothing, own.output, false, points);
            return shares::<V, HEAD, MODE, ABREAST>(sums);
        }
        let mut totals = add_terms::<V, HEAD, MODE, ABREAST>(nothing, own.output, false, points);
        let hot = add_terms::<V, HEAD, MODE, ABREAST>(nothing, own.output, true, points);
        for w in 0..ABREAST {
            totals[w] = own.hot.select_negative(hot[w], totals[w]);
        }
        totals
    }
}

/// Outputs side by side.
struct OutputLanes<V> {
    output: OutputValue<V>,
    /// −1 in the target's lane.
    hot: V,
}
