//! The tables of an incremental gradient, superstep L: for each layer, panel of units, row and input
//! value the change of the row's loss.

use super::worker::{DifferenceTask, IncrementalLayer, IncrementalScratch, IncrementalWorker};
use crate::gradient::finite_difference::unit_panels::{by_panel, lines, panels_of};
use crate::kernels::divided_difference::deep::{ActivateChanges, PerturbedLoss, Spread};
use crate::kernels::divided_difference::formulas::{LossForm, OutputRow, Units};
use crate::kernels::divided_difference::one_layer::{PerturbOutputs, PerturbUnits};
use crate::kernels::matmul::{LeftOperand, Product};
use crate::kernels::panels::{Aligned, count, width};
use crate::kernels::scatter_add::LargestOf;
use crate::kernels::sparse::SparseRows;
use crate::numeric::Real;
use crate::parallel::Superstep;

/// Values whose deep tails are followed together: the columns of one matrix product.
pub(super) const CHUNK: usize = 8;

/// Lines of a table of changes over bytes: one a byte, and the bias.
pub(super) const BYTE_SLOTS: usize = 257;

/// What the input of each slot is worth.
pub(super) struct SlotValues<R> {
    pub of_slots: Vec<R>,
    /// At least every |value|.
    pub largest: f64,
}

impl<R: Real> SlotValues<R> {
    /// Room for `slots` slots.
    pub(super) fn with_capacity(slots: usize) -> Self {
        Self {
            of_slots: Vec::with_capacity(slots),
            largest: 0.0,
        }
    }

    /// Of each byte, and of the bias.
    pub(super) fn of_bytes(records: &SparseRows<R>) -> Self {
        let bytes = (0..BYTE_SLOTS as u32 - 1).map(|byte| records.value(byte));
        let of_slots: Vec<R> = bytes.chain([R::ONE]).collect();
        let largest = largest(&of_slots);
        Self { of_slots, largest }
    }
}

impl<R: Real> IncrementalWorker<'_, R> {
    /// h of every unit in the panels of which this worker has a part.
    pub(super) fn choose_increments(&mut self, task: &DifferenceTask<'_, R>, step: &Superstep<'_>) {
        let p = width::<R>();
        let sizes = task.network.layout.sizes();
        for (layer, held) in self.layers.iter().enumerate() {
            let weights = held.weights.all(step);
            let panel = lines(sizes[layer]) * p;
            let increments = &mut self.scratch.increments[layer];
            if !task.probe.follows_theta() {
                let h: R = task.probe.of_unit(0.0, task.measured);
                increments.fill(h * R::from_f64(task.factor));
                continue;
            }
            let changed = panels_of(&held.own_tables, task.block);
            let summed = panels_of(&held.own_lines, lines(sizes[layer]));
            let panels = weights.chunks_exact(panel);
            for (panel, (values, h)) in panels.zip(increments.chunks_exact_mut(p)).enumerate() {
                if !changed.contains(&panel) && !summed.contains(&panel) {
                    continue;
                }
                task.isa.run(LargestOf {
                    values,
                    out: &mut *h,
                });
                for h in h {
                    *h = task.probe.of_unit(h.to_f64(), task.measured);
                    *h = *h * R::from_f64(task.factor);
                }
            }
        }
    }

    /// The changes of the loss in own (panel, row) pairs of every layer.
    pub(super) fn change(
        &mut self,
        task: &DifferenceTask<'_, R>,
        rows: &[u32],
        step: &Superstep<'_>,
    ) {
        for layer in 0..task.layers() {
            let pairs = self.layers[layer].own_tables.clone();
            for (panel, own) in by_panel(&pairs, task.block, rows.len()) {
                self.transpose_above(task, layer, panel, step);
                for row in own {
                    self.list_values(task, layer, rows, row, step);
                    self.change_one(task, layer, panel, rows, row, step);
                }
            }
        }
    }

    /// Weights from the units of one panel to each unit above, `(units above, P)`.
    fn transpose_above(
        &mut self,
        task: &DifferenceTask<'_, R>,
        layer: usize,
        panel: usize,
        step: &Superstep<'_>,
    ) {
        let p = width::<R>();
        let sizes = task.network.layout.sizes();
        let Some(above) = self.layers.get(layer + 1) else {
            return;
        };
        let (units, fan_in) = (sizes[layer + 2], sizes[layer + 1]);
        let weights = above.weights.all(step);
        let real = p.min(fan_in - panel * p);
        let block = &mut self.scratch.above[..units * p];
        block.fill(R::ZERO);
        for (unit, to) in block.chunks_exact_mut(p).enumerate() {
            let column = unit / p * lines(fan_in) * p + unit % p;
            for (lane, to) in to[..real].iter_mut().enumerate() {
                *to = weights[column + (panel * p + lane) * p];
            }
        }
        self.scratch.largest_above = largest(block);
    }

    /// What the inputs of layer `layer` are worth in row `row`, bytes apart, and the slots in use; the
    /// bias comes last.
    fn list_values(
        &mut self,
        task: &DifferenceTask<'_, R>,
        layer: usize,
        rows: &[u32],
        row: usize,
        step: &Superstep<'_>,
    ) {
        let IncrementalScratch { values, slots, .. } = &mut *self.scratch;
        let SlotValues {
            of_slots: values,
            largest: largest_value,
        } = values;
        slots.clear();
        if task.probe.is_of_units() {
            values.clear();
            values.push(R::ONE);
            slots.push(0);
            *largest_value = 1.0;
            return;
        }
        if layer > 0 {
            let fan_in = task.network.layout.sizes()[layer];
            let below = self.layers[layer - 1].y.all(step);
            list_activations(below, task.block, row, fan_in, values);
            values.push(R::ONE);
            slots.extend(0..fan_in as u32);
            // σ is at most 1.
            *largest_value = 1.0;
        } else if let Some(distinct) = task.distinct {
            slots.extend_from_slice(distinct.row(rows[row]));
        } else {
            let features = task.samples.features();
            let found = self.inputs.counts.all(step)[row];
            let from = &self.inputs.values.all(step)[row * features..];
            values.clear();
            values.extend_from_slice(&from[..found as usize]);
            values.resize(features, R::ZERO);
            values.push(R::ONE);
            slots.extend(0..found);
            *largest_value = largest(values);
        }
        if task.network.layout.has_bias() {
            slots.push(task.slots[layer] as u32 - 1);
        }
    }

    /// One table: the change of the loss of row `row` for each value, in each unit of the panel.
    fn change_one(
        &mut self,
        task: &DifferenceTask<'_, R>,
        layer: usize,
        panel: usize,
        rows: &[u32],
        row: usize,
        step: &Superstep<'_>,
    ) {
        let p = width::<R>();
        let last = task.layers() - 1;
        let (form, head) = (task.probe.form(), task.network.head());
        let sizes = task.network.layout.sizes();
        let (below, above) = self.layers.split_at_mut(layer + 1);
        let held = &mut below[layer];
        let [z, y, complement] = match above.last() {
            Some(top) => [&top.z, &top.y, &top.complement].map(|values| values.all(step)),
            None => [&held.z, &held.y, &held.complement].map(|values| values.all(step)),
        };
        let panels = count::<R>(sizes[last + 1]);
        let outputs = OutputRow {
            head,
            units: Units {
                z,
                y,
                complement,
                count: sizes[last + 1],
                row_stride: panels * p,
                panel_stride: p,
            },
            row,
            label: task.samples.label(rows[row]),
            loss: self.losses.all(step)[row],
        };
        let IncrementalScratch {
            values,
            slots,
            above: weights,
            largest_above,
            stages,
            increments,
            ..
        } = &mut *self.scratch;
        let increments = &increments[layer][panel * p..][..p];
        let SlotValues {
            of_slots: values,
            largest: largest_value,
        } = match task.bytes {
            Some(bytes) if layer == 0 => bytes,
            _ => &*values,
        };
        // |Δz| of the unit; |Δσ| ≤ |Δz|/4 moves the layer above.
        let bound = largest(increments) * *largest_value;
        let bounds = [bound, bound / 4.0 * *largest_above];
        let table = task.slots[layer] * p;
        let at = (panel * task.block + row - held.own_tables.start) * table;
        if layer == last {
            let changes = &mut held.tables.own(step)[at..at + table];
            task.isa.run(PerturbOutputs {
                form,
                panel,
                increments,
                values,
                slots,
                bound,
                outputs,
                changes,
            });
            return;
        }
        let place = (panel * task.block + row) * p;
        let unit = [
            &held.z.all(step)[place..place + p],
            &held.y.all(step)[place..place + p],
            &held.complement.all(step)[place..place + p],
        ];
        let changes = &mut held.tables.own(step)[at..at + table];
        if layer + 1 == last {
            task.isa.run(PerturbUnits {
                form,
                unit,
                increments,
                values,
                slots,
                weights,
                bounds,
                outputs,
                changes,
            });
            return;
        }
        let deep = DeepPerturbation {
            task,
            layer,
            form,
            above,
            row,
            outputs,
            step,
        };
        let signs: &[f64] = if form.central { &[1.0, -1.0] } else { &[1.0] };
        for slots in slots.chunks(CHUNK) {
            for (side, &sign) in signs.iter().enumerate() {
                let [below, above] = &mut *stages;
                task.isa.run(Spread {
                    form,
                    sign: R::from_f64(sign),
                    unit,
                    increments,
                    values,
                    slots,
                    bounds,
                    weights,
                    next: deep.units(layer + 1),
                    row,
                    out: below,
                });
                deep.follow(side == 1, slots, below, above, changes);
            }
        }
    }
}

/// The tail of a perturbation more than one layer below the outputs.
struct DeepPerturbation<'a, 'b, R> {
    task: &'a DifferenceTask<'a, R>,
    /// The layer perturbed.
    layer: usize,
    form: LossForm,
    /// The layers above it.
    above: &'a [IncrementalLayer<'b, R>],
    row: usize,
    outputs: OutputRow<'a, R>,
    step: &'a Superstep<'a>,
}

impl<'a, R: Real> DeepPerturbation<'a, '_, R> {
    /// The units of hidden layer `layer`.
    fn units(&self, layer: usize) -> Units<'a, R> {
        let p = width::<R>();
        let held = &self.above[layer - self.layer - 1];
        Units {
            z: held.z.all(self.step),
            y: held.y.all(self.step),
            complement: held.complement.all(self.step),
            count: self.task.network.layout.sizes()[layer + 1],
            row_stride: p,
            panel_stride: self.task.block * p,
        }
    }

    /// From the next layer's activations, `below`, to the change of the loss.
    fn follow<'s>(
        &self,
        second: bool,
        slots: &[u32],
        mut below: &'s mut Aligned<R>,
        mut above: &'s mut Aligned<R>,
        changes: &mut [R],
    ) {
        let (task, p) = (self.task, width::<R>());
        let sizes = task.network.layout.sizes();
        let last = task.layers() - 1;
        for layer in self.layer + 2..=last {
            let (fan_in, units) = (sizes[layer], sizes[layer + 1]);
            let weights = self.above[layer - self.layer - 1].weights.all(self.step);
            for (panel, weights) in weights.chunks_exact(lines(fan_in) * p).enumerate() {
                task.isa.run(Product {
                    left: LeftOperand::columns_of(weights),
                    rows: p.min(units - panel * p),
                    depth: lines(fan_in),
                    right: below,
                    right_stride: lines(fan_in) * p,
                    start: None,
                    out: &mut above[panel * p * p..],
                    out_stride: lines(units) * p,
                    panels: slots.len(),
                });
            }
            if layer < last {
                task.isa.run(ActivateChanges {
                    form: self.form,
                    units: self.units(layer),
                    row: self.row,
                    count: slots.len(),
                    values: above,
                });
            }
            std::mem::swap(&mut below, &mut above);
        }
        task.isa.run(PerturbedLoss {
            form: self.form,
            second,
            outputs: self.outputs,
            values: below,
            slots,
            changes,
        });
    }
}

/// The activations of `units` units in row `row` of a block of `block` rows, one after the other.
pub(super) fn list_activations<R: Real>(
    below: &[R],
    block: usize,
    row: usize,
    units: usize,
    values: &mut Vec<R>,
) {
    let p = width::<R>();
    values.clear();
    for panel in 0..count::<R>(units) {
        let real = p.min(units - panel * p);
        values.extend_from_slice(&below[(panel * block + row) * p..][..real]);
    }
}

/// The largest |value|.
fn largest<R: Real>(values: &[R]) -> f64 {
    let most = |most: R, value: &R| {
        if value.abs() > most {
            value.abs()
        } else {
            most
        }
    };
    values.iter().fold(R::ZERO, most).to_f64()
}
