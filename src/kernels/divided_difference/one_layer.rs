//! The perturbed loss of shallow units: kernels that compute the change of a row's loss when an
//! output, or a unit directly below the outputs, is perturbed.
//!
//! The lanes of a vector are units of one panel, each perturbed separately: an increment h_j of a
//! weight whose input is v changes the pre-activation of unit j by Δz_j = h_j·v. [`PerturbUnits`]
//! propagates the change through the output layer; [`PerturbOutputs`] perturbs outputs. The
//! formulas are in [`super::formulas`].

use super::formulas::{
    CLOSE, ENTROPY, FAR, LINEAR, LossForm, OutputRow, OutputValue, PLAIN, PerturbedOutputs,
    QUADRATIC, RATE, SOFTMAX, TINY, activated, add_terms, kind, lane_of, loss_of_sums, mode,
    specialized,
};
use crate::kernels::elementary::sigmoid;
use crate::kernels::panels::width;
use crate::kernels::{Kernel, Vector};
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;

/// Perturbs the units of one panel below the outputs; computes the change of the row's loss for
/// each input value and unit.
pub struct PerturbUnits<'a, R> {
    /// The losses that are compared.
    pub form: LossForm,
    /// z, y and ȳ = 1 − y of the panel's units in this row, P numbers each.
    pub unit: [&'a [R]; 3],
    /// The increment h of each unit, P numbers.
    pub increments: &'a [R],
    /// The input value of each slot.
    pub values: &'a [R],
    /// The slots to evaluate, which are also the rows of `changes` to write.
    pub slots: &'a [u32],
    /// Weights from the panel's units to each output, `(outputs, P)`.
    pub weights: &'a [R],
    /// Upper bounds of |Δz| of the panel's units, and of the outputs.
    pub bounds: [f64; 2],
    /// The outputs.
    pub outputs: OutputRow<'a, R>,
    /// ΔL out, rows of P numbers.
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
        // A softmax subtracts the Δz of two outputs.
        let mode = mode::<R>(self.form, self.bounds[0].max(2.0 * self.bounds[1]));
        // The unperturbed activation from the function that gives a' in plain arithmetic: if a
        // perturbation leaves z unchanged, Δa is exactly 0.
        let mut unperturbed = [R::ZERO; 16];
        if mode == PLAIN {
            for lane in (0..width).step_by(V::LANES) {
                // SAFETY: both hold at least P numbers.
                unsafe {
                    let [y] = sigmoid([V::load(self.unit[0].as_ptr().add(lane))]);
                    y.store(unperturbed.as_mut_ptr().add(lane));
                }
            }
        }
        specialized!(
            [QUADRATIC LINEAR ENTROPY SOFTMAX] kind(self.outputs.output_loss),
            mode,
            self.blocks::<V>(&unperturbed)
        );
    }
}

impl<R: Real> PerturbUnits<'_, R> {
    /// Computes the changes of all slots, `W` at a time.
    #[inline(always)]
    fn blocks<V: Vector<Element = R>, const LOSS: u8, const MODE: u8>(
        &mut self,
        unperturbed: &[R; 16],
    ) {
        if LOSS == QUADRATIC && MODE == PLAIN {
            for first in (0..self.slots.len()).step_by(QUADRATIC_SLOTS_PER_BLOCK) {
                self.block::<V, LOSS, MODE, QUADRATIC_SLOTS_PER_BLOCK>(first, unperturbed);
            }
        } else {
            for first in (0..self.slots.len()).step_by(SLOTS_PER_BLOCK) {
                self.block::<V, LOSS, MODE, SLOTS_PER_BLOCK>(first, unperturbed);
            }
        }
    }

    /// Computes the changes of `W` slots from the `first`-th on.
    #[inline(always)]
    fn block<V: Vector<Element = R>, const LOSS: u8, const MODE: u8, const W: usize>(
        &mut self,
        first: usize,
        unperturbed: &[R; 16],
    ) {
        let width = width::<R>();
        for lane in (0..width).step_by(V::LANES) {
            let mut changes = [V::splat(R::ZERO); W];
            // A loop over one or two sides, so that the code is compiled once.
            for side in 0..=usize::from(self.form.central) {
                let sign = if side == 0 { R::ONE } else { -R::ONE };
                let totals =
                    self.side::<V, LOSS, MODE, W>(first, lane, unperturbed, V::splat(sign));
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
                let row = block_slot(self.slots, first, w) * width;
                let to = &mut self.changes[row..row + width];
                // SAFETY: `to` holds P numbers.
                unsafe {
                    let change = self.outputs.target.weighted(changes[w]);
                    change.store(to.as_mut_ptr().add(lane));
                }
            }
        }
    }

    /// Returns the loss (or its change) after perturbations by `sign`·h, for `W` slots.
    #[inline(always)]
    fn side<V: Vector<Element = R>, const LOSS: u8, const MODE: u8, const W: usize>(
        &self,
        first: usize,
        lane: usize,
        unperturbed: &[R; 16],
        sign: V,
    ) -> [V; W] {
        // SAFETY: `run` checked that each holds P numbers.
        let (z, y, one_minus_y, h) = unsafe {
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
            let dz = h.mul(V::splat(self.values[block_slot(self.slots, first, w)]));
            changes[w] = if MODE == PLAIN {
                z.add(dz)
            } else {
                activated::<V, MODE>(y, one_minus_y, dz)
            };
        }
        if MODE == PLAIN {
            // SAFETY: `unperturbed` holds 16 ≥ P numbers.
            let unperturbed = unsafe { V::load(unperturbed.as_ptr().add(lane)) };
            changes = sigmoid(changes);
            for w in 0..W {
                changes[w] = changes[w].sub(unperturbed);
            }
        }
        self.outputs
            .total::<V, LOSS, MODE, W>(&RankOneUpdate::<V, MODE, W> {
                outputs: &self.outputs,
                weights: self.weights,
                lane,
                changes,
            })
    }
}

/// Number of slots evaluated side by side: enough independent chains to hide an operation's
/// latency.
const SLOTS_PER_BLOCK: usize = 4;
/// Number of slots evaluated side by side for quadratic losses in plain arithmetic, whose chains
/// are longer ([`sigmoid`]).
const QUADRATIC_SLOTS_PER_BLOCK: usize = 8;

/// Returns the `w`-th slot of the block that begins with the `first`-th; beyond the end the last
/// slot, which is computed again with the same result.
#[inline(always)]
fn block_slot(slots: &[u32], first: usize, w: usize) -> usize {
    slots[(first + w).min(slots.len() - 1)] as usize
}

/// Outputs perturbed by the change of one unit below: a rank-1 update.
struct RankOneUpdate<'a, V: Vector, const MODE: u8, const W: usize> {
    outputs: &'a OutputRow<'a, V::Element>,
    /// Weights from the panel's units to each output, `(outputs, P)`.
    weights: &'a [V::Element],
    lane: usize,
    /// Changes of the units' activations, for `W` slots.
    changes: [V; W],
}

impl<V: Vector, const MODE: u8, const W: usize> PerturbedOutputs<V, W>
    for RankOneUpdate<'_, V, MODE, W>
{
    #[inline(always)]
    fn at(&self, unit: usize) -> [V; W] {
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

/// Perturbs the outputs of one panel, which changes one term of the loss each. As a function of one
/// output, a softmax is the sigmoid of that output's margin over the others:
/// p_k = σ(z_k − ln Σ_{j≠k} e^z_j).
pub struct PerturbOutputs<'a, R> {
    /// The losses that are compared.
    pub form: LossForm,
    /// Index of the panel.
    pub panel: usize,
    /// The increment h of each unit, P numbers.
    pub increments: &'a [R],
    /// The input value of each slot.
    pub values: &'a [R],
    /// The slots to evaluate, which are also the rows of `changes` to write.
    pub slots: &'a [u32],
    /// Upper bound of |Δz|.
    pub bound: f64,
    /// The outputs.
    pub outputs: OutputRow<'a, R>,
    /// ΔL out, rows of P numbers; padding becomes 0.
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
        let term = match kind(self.outputs.output_loss) {
            SOFTMAX => ENTROPY,
            kind => kind,
        };
        specialized!([QUADRATIC LINEAR ENTROPY] term, mode, self.blocks::<V>());
        let used = width.min(self.outputs.units.count - self.panel * width);
        if used < width {
            for &slot in self.slots {
                let row = slot as usize * width;
                self.changes[row + used..row + width].fill(R::ZERO);
            }
        }
    }
}

impl<R: Real> PerturbOutputs<'_, R> {
    /// Computes the changes of all slots, [`SLOTS_PER_BLOCK`] at a time.
    #[inline(always)]
    fn blocks<V: Vector<Element = R>, const LOSS: u8, const MODE: u8>(&mut self) {
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
                &units.one_minus_y[at..end],
            ];
            // SAFETY: slices of LANES numbers.
            let mut output = unsafe {
                OutputValue {
                    z: V::load(operands[0].as_ptr()),
                    y: V::load(operands[1].as_ptr()),
                    one_minus_y: V::load(operands[2].as_ptr()),
                    target: V::splat(R::ZERO),
                }
            };
            if outputs.output_loss == OutputLoss::SoftmaxCrossEntropy
                && (MODE == PLAIN || MODE == FAR)
            {
                output.z = outputs.margins(output.z, first);
            }
            if LOSS == LINEAR {
                output.target = outputs.target.lanes(first);
            }
            // The target's lane takes the hot term, the others the cold one.
            let label = outputs.target.label;
            let target = match outputs.output_loss {
                OutputLoss::Logistic if label == 1 => 0,
                OutputLoss::Logistic => usize::MAX,
                _ => usize::from(label),
            };
            let lanes = OutputLanes {
                output,
                hot: V::splat(R::ZERO).sub(lane_of(target, first)),
            };
            for first in (0..len).step_by(SLOTS_PER_BLOCK) {
                self.block::<V, LOSS, MODE>(&lanes, first, lane);
            }
        }
    }

    /// Computes the changes of [`SLOTS_PER_BLOCK`] slots from the `first`-th on.
    #[inline(always)]
    fn block<V: Vector<Element = R>, const LOSS: u8, const MODE: u8>(
        &mut self,
        lanes: &OutputLanes<V>,
        first: usize,
        lane: usize,
    ) {
        let width = width::<R>();
        let mut changes = [V::splat(R::ZERO); SLOTS_PER_BLOCK];
        // The second side is −h of a central difference, or the unperturbed z in plain arithmetic.
        let sides = 1 + usize::from(self.form.central || MODE == PLAIN);
        for side in 0..sides {
            let sign = match side {
                0 => R::ONE,
                _ if self.form.central => -R::ONE,
                _ => R::ZERO,
            };
            let totals = self.side::<V, LOSS, MODE>(lanes, first, lane, V::splat(sign));
            for w in 0..SLOTS_PER_BLOCK {
                changes[w] = if side == 0 {
                    totals[w]
                } else {
                    changes[w].sub(totals[w])
                };
            }
        }
        for w in 0..SLOTS_PER_BLOCK {
            let row = block_slot(self.slots, first, w) * width;
            let to = &mut self.changes[row..row + width];
            // SAFETY: `to` holds P numbers.
            unsafe {
                let change = self.outputs.target.weighted(changes[w]);
                change.store(to.as_mut_ptr().add(lane));
            }
        }
    }

    /// Returns the term of the loss that changes (or its change) after a perturbation by `sign`·h.
    #[inline(always)]
    fn side<V: Vector<Element = R>, const LOSS: u8, const MODE: u8>(
        &self,
        lanes: &OutputLanes<V>,
        first: usize,
        lane: usize,
        sign: V,
    ) -> [V; SLOTS_PER_BLOCK] {
        // SAFETY: `run` checked that there are P increments.
        let h = unsafe { V::load(self.increments.as_ptr().add(lane)) }.mul(sign);
        let mut points = [h; SLOTS_PER_BLOCK];
        for w in 0..SLOTS_PER_BLOCK {
            points[w] = h.mul(V::splat(self.values[block_slot(self.slots, first, w)]));
        }
        let zero = V::splat(R::ZERO);
        if MODE == PLAIN {
            for w in 0..SLOTS_PER_BLOCK {
                points[w] = lanes.output.z.add(points[w]);
            }
        }
        let zeros = [zero; SLOTS_PER_BLOCK];
        if LOSS == QUADRATIC && MODE == PLAIN {
            // For the target, −z takes the place of z: σ(−z) = 1 − y.
            for w in 0..SLOTS_PER_BLOCK {
                points[w] = lanes.hot.select_negative(zero.sub(points[w]), points[w]);
            }
            let sums =
                add_terms::<V, LOSS, MODE, SLOTS_PER_BLOCK>(zeros, lanes.output, false, points);
            return loss_of_sums::<V, LOSS, MODE, SLOTS_PER_BLOCK>(sums);
        }
        let mut totals =
            add_terms::<V, LOSS, MODE, SLOTS_PER_BLOCK>(zeros, lanes.output, false, points);
        if LOSS == LINEAR {
            return totals;
        }
        let hot = add_terms::<V, LOSS, MODE, SLOTS_PER_BLOCK>(zeros, lanes.output, true, points);
        for w in 0..SLOTS_PER_BLOCK {
            totals[w] = lanes.hot.select_negative(hot[w], totals[w]);
        }
        totals
    }
}

/// Several outputs, one per lane.
struct OutputLanes<V> {
    output: OutputValue<V>,
    /// −1 in the target's lane.
    hot: V,
}
