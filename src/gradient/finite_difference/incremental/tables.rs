//! Superstep L of the incremental engine: computes the tables of changes, which hold, for each
//! layer, panel of units and row, the change of the row's loss for each unit and input value.

use super::worker::{DifferenceTask, IncrementalLayer, IncrementalScratch, IncrementalWorker};
use crate::gradient::finite_difference::unit_panels::{by_panel, panel_height, panels_of};
use crate::kernels::divided_difference::deep::{ActivateChanges, PerturbedLoss, Spread};
use crate::kernels::divided_difference::formulas::{LossForm, OutputRow, Units};
use crate::kernels::divided_difference::one_layer::{PerturbOutputs, PerturbUnits};
use crate::kernels::matmul::{LeftOperand, Product, Start};
use crate::kernels::panels::{Aligned, count, width};
use crate::kernels::scatter_add::LargestOf;
use crate::kernels::sparse::SparseRows;
use crate::numeric::Real;
use crate::parallel::Superstep;

/// The number of input values whose perturbations are propagated together through the layers above,
/// by one matrix product.
pub(super) const CHUNK: usize = 8;

/// The number of slots of a table of changes over bytes: one per byte, and the bias.
pub(super) const BYTE_SLOTS: usize = 257;

/// The input value of each slot.
pub(super) struct SlotValues<R> {
    /// The values, slot by slot.
    pub by_slot: Vec<R>,
    /// An upper bound of every |value|.
    pub largest: f64,
}

impl<R: Real> SlotValues<R> {
    /// Allocates memory for `slots` slots.
    pub(super) fn with_capacity(slots: usize) -> Self {
        Self {
            by_slot: Vec::with_capacity(slots),
            largest: 0.0,
        }
    }

    /// Returns the values of all bytes, and of the bias.
    pub(super) fn of_bytes(records: &SparseRows<R>) -> Self {
        let bytes = (0..BYTE_SLOTS as u32 - 1).map(|byte| records.value(byte));
        let by_slot: Vec<R> = bytes.chain([R::ONE]).collect();
        let largest = largest(&by_slot);
        Self { by_slot, largest }
    }
}

impl<R: Real> IncrementalWorker<'_, R> {
    /// Chooses h of each unit in the panels of which this worker has a part.
    pub(super) fn choose_increments(&mut self, task: &DifferenceTask<'_, R>, step: &Superstep<'_>) {
        let p = width::<R>();
        let sizes = task.network.layout.sizes();
        for (layer, buffers) in self.layers.iter().enumerate() {
            let weights = buffers.weights.read_all(step);
            let panel = panel_height(sizes[layer]) * p;
            let increments = &mut self.scratch.increments[layer];
            if !task.perturbation.depends_on_theta() {
                let h: R = task.perturbation.unit_increment(0.0, task.measured);
                increments.fill(h * R::from_f64(task.factor));
                continue;
            }
            let changed = panels_of(&buffers.table_range, task.block);
            let summed = panels_of(&buffers.weight_range, panel_height(sizes[layer]));
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
                    *h = task.perturbation.unit_increment(h.to_f64(), task.measured);
                    *h = *h * R::from_f64(task.factor);
                }
            }
        }
    }

    /// Computes the tables of this worker's (panel, row) pairs of every layer.
    pub(super) fn compute_changes(
        &mut self,
        task: &DifferenceTask<'_, R>,
        rows: &[u32],
        step: &Superstep<'_>,
    ) {
        for layer in 0..task.layers() {
            let pairs = self.layers[layer].table_range.clone();
            for (panel, block_rows) in by_panel(&pairs, task.block, rows.len()) {
                self.transpose_above(task, layer, panel, step);
                for row in block_rows {
                    if task.leaves_out_tables() {
                        return;
                    }
                    self.list_slot_values(task, layer, rows, row, step);
                    self.compute_table(task, layer, panel, rows, row, step);
                }
            }
        }
    }

    /// Transposes the weights from the units of one panel to the units above into `scratch.above`,
    /// `(units above, P)`.
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
        let weights = above.weights.read_all(step);
        let used = p.min(fan_in - panel * p);
        let block = &mut self.scratch.above[..units * p];
        block.fill(R::ZERO);
        for (unit, to) in block.chunks_exact_mut(p).enumerate() {
            let column = unit / p * panel_height(fan_in) * p + unit % p;
            for (lane, to) in to[..used].iter_mut().enumerate() {
                *to = weights[column + (panel * p + lane) * p];
            }
        }
        self.scratch.largest_above = largest(block);
    }

    /// Lists the slots in use of layer `layer` in row `row`, and the input values of the slots,
    /// unless they are in the task. The bias comes last.
    fn list_slot_values(
        &mut self,
        task: &DifferenceTask<'_, R>,
        layer: usize,
        rows: &[u32],
        row: usize,
        step: &Superstep<'_>,
    ) {
        let IncrementalScratch { values, slots, .. } = &mut *self.scratch;
        let SlotValues {
            by_slot: values,
            largest: largest_value,
        } = values;
        slots.clear();
        if task.perturbation.perturbs_units() {
            values.clear();
            values.push(R::ONE);
            slots.push(0);
            *largest_value = 1.0;
            return;
        }
        if layer > 0 {
            let fan_in = task.network.layout.sizes()[layer];
            let below = self.layers[layer - 1].y.read_all(step);
            list_activations(below, task.block, row, fan_in, values);
            values.push(R::ONE);
            slots.extend(0..fan_in as u32);
            // σ is at most 1.
            *largest_value = 1.0;
        } else if let Some(distinct_bytes) = task.distinct_bytes {
            slots.extend_from_slice(distinct_bytes.row(rows[row]));
        } else {
            let features = task.samples.features();
            let count = self.inputs.counts.read_all(step)[row];
            let from = &self.inputs.values.read_all(step)[row * features..];
            values.clear();
            values.extend_from_slice(&from[..count as usize]);
            values.resize(features, R::ZERO);
            values.push(R::ONE);
            slots.extend(0..count);
            *largest_value = largest(values);
        }
        if task.network.layout.has_bias() {
            slots.push(task.slots[layer] as u32 - 1);
        }
    }

    /// Computes one table: the change of the loss of row `row` for each input value and each unit
    /// of the panel.
    fn compute_table(
        &mut self,
        task: &DifferenceTask<'_, R>,
        layer: usize,
        panel: usize,
        rows: &[u32],
        row: usize,
        step: &Superstep<'_>,
    ) {
        let p = width::<R>();
        let (below, above) = self.layers.split_at_mut(layer + 1);
        let buffers = &mut below[layer];
        let base =
            [&buffers.z, &buffers.y, &buffers.one_minus_y].map(|values| values.read_all(step));
        let outputs = match above.last() {
            Some(top) => [&top.z, &top.y, &top.one_minus_y].map(|values| values.read_all(step)),
            None => base,
        };
        let losses = self.losses.read_all(step);
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
            by_slot: values,
            largest: largest_value,
        } = match task.bytes {
            Some(bytes) if layer == 0 => bytes,
            _ => &*values,
        };
        // Bounds of |Δz| of the unit, and of the layer above, since |Δσ| ≤ |Δz|/4.
        let bound = largest(increments) * *largest_value;
        let perturbation = PanelPerturbation {
            task,
            layer,
            panel,
            row,
            form: task.perturbation.form(),
            base,
            increments,
            values,
            slots,
            bounds: [bound, bound / 4.0 * *largest_above],
            weights,
            above,
            outputs: task.output_row(outputs, losses, (rows[row], row)),
            step,
        };
        let table = task.slots[layer] * p;
        let start = (panel * task.block + row - buffers.table_range.start) * table;
        let changes = &mut buffers.tables.write_own(step)[start..start + table];
        match above.len() {
            0 => perturbation.of_outputs(changes),
            1 => perturbation.below_outputs(changes),
            _ => perturbation.deep(stages, changes),
        }
    }
}

impl<R: Real> DifferenceTask<'_, R> {
    /// Returns row `row` of a block as the kernels take it: `[z, y, ȳ]` of the outputs of the whole
    /// block, the block's losses, and the row's number in the dataset and in the block.
    #[inline]
    fn output_row<'a>(
        &'a self,
        [z, y, one_minus_y]: [&'a [R]; 3],
        losses: &[R],
        (number, row): (u32, usize),
    ) -> OutputRow<'a, R> {
        let (p, units) = (width::<R>(), self.network.layout.sizes()[self.layers()]);
        OutputRow {
            output_loss: self.network.output_loss(),
            units: Units {
                z,
                y,
                one_minus_y,
                count: units,
                row_stride: count::<R>(units) * p,
                panel_stride: p,
            },
            row,
            target: self.target(number),
            loss: losses[row],
        }
    }
}

/// The perturbation of the units of one panel in one row, whose table is to be computed.
struct PanelPerturbation<'a, 'b, R> {
    task: &'a DifferenceTask<'a, R>,
    /// The perturbed layer.
    layer: usize,
    panel: usize,
    row: usize,
    form: LossForm,
    /// z, y and ȳ of the perturbed layer in the whole block.
    base: [&'a [R]; 3],
    /// h of each unit of the panel.
    increments: &'a [R],
    /// The input value of each slot.
    values: &'a [R],
    /// The slots in use.
    slots: &'a [u32],
    /// Bounds of |Δz| of the units, and of the layer above.
    bounds: [f64; 2],
    /// The weights from the units to the layer above.
    weights: &'a [R],
    /// The layers above.
    above: &'a [IncrementalLayer<'b, R>],
    outputs: OutputRow<'a, R>,
    step: &'a Superstep<'a>,
}

impl<'a, R: Real> PanelPerturbation<'a, '_, R> {
    /// Computes the table of a panel of outputs.
    fn of_outputs(&self, changes: &mut [R]) {
        self.task.isa.run(PerturbOutputs {
            form: self.form,
            panel: self.panel,
            increments: self.increments,
            values: self.values,
            slots: self.slots,
            bound: self.bounds[0],
            outputs: self.outputs,
            changes,
        });
    }

    /// Computes the table of a panel of the layer below the outputs.
    fn below_outputs(&self, changes: &mut [R]) {
        self.task.isa.run(PerturbUnits {
            form: self.form,
            unit: self.unit(),
            increments: self.increments,
            values: self.values,
            slots: self.slots,
            weights: self.weights,
            bounds: self.bounds,
            outputs: self.outputs,
            changes,
        });
    }

    /// Computes the table of a panel more than one layer below the outputs.
    fn deep(&self, stages: &mut [Aligned<R>; 2], changes: &mut [R]) {
        let signs: &[f64] = match self.form.central {
            true => &[1.0, -1.0],
            false => &[1.0],
        };
        let [below, above] = stages;
        for slots in self.slots.chunks(CHUNK) {
            if self.task.leaves_out_tables() {
                return;
            }
            for (side, &sign) in signs.iter().enumerate() {
                self.task.isa.run(Spread {
                    form: self.form,
                    sign: R::from_f64(sign),
                    unit: self.unit(),
                    increments: self.increments,
                    values: self.values,
                    slots,
                    bounds: self.bounds,
                    weights: self.weights,
                    next: self.units(self.layer + 1),
                    row: self.row,
                    out: below,
                });
                self.propagate(side == 1, slots, below, above, changes);
            }
        }
    }

    /// Returns z, y and ȳ of the panel's units in the row; its layer is hidden.
    fn unit(&self) -> [&'a [R]; 3] {
        let p = width::<R>();
        let place = (self.panel * self.task.block + self.row) * p;
        self.base.map(|values| &values[place..place + p])
    }

    /// Returns the units of hidden layer `layer`.
    fn units(&self, layer: usize) -> Units<'a, R> {
        let p = width::<R>();
        let buffers = &self.above[layer - self.layer - 1];
        Units {
            z: buffers.z.read_all(self.step),
            y: buffers.y.read_all(self.step),
            one_minus_y: buffers.one_minus_y.read_all(self.step),
            count: self.task.network.layout.sizes()[layer + 1],
            row_stride: p,
            panel_stride: self.task.block * p,
        }
    }

    /// Propagates `below`, the activations of the layer above the perturbed one (or their changes
    /// or rates of change), to the outputs, and computes the changes of the loss. `second` is
    /// `true` for θ − h of a central difference.
    fn propagate<'s>(
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
            let weights = self.above[layer - self.layer - 1]
                .weights
                .read_all(self.step);
            for (panel, weights) in weights.chunks_exact(panel_height(fan_in) * p).enumerate() {
                task.isa.run(Product {
                    left: LeftOperand::columns_of(weights),
                    rows: p.min(units - panel * p),
                    depth: panel_height(fan_in),
                    right: below,
                    right_stride: panel_height(fan_in) * p,
                    start: Start::Zero,
                    out: &mut above[panel * p * p..],
                    out_stride: panel_height(units) * p,
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

/// Lists the activations of `units` units in row `row` of a block of `block` rows, contiguous, in
/// `values`.
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
        let used = p.min(units - panel * p);
        values.extend_from_slice(&below[(panel * block + row) * p..][..used]);
    }
}

/// Returns the largest |value|.
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
