//! Incremental probes, finite differences or rates of change, as one worker walks through them.
//!
//! A mini-batch is taken in blocks of rows. A block takes L + 2 supersteps, in a network of L
//! layers (l from 0):
//!
//! | superstep | computes | of | reads of others |
//! |---|---|---|---|
//! | l < L − 1 | z_l, y_l, ȳ_l | own (panel, row) pairs | y_{l−1}, θ |
//! | L − 1 | z, y, ȳ of the outputs; the rows' losses | own rows | y_{L−2}, θ |
//! | L | for each layer, panel, row and input value: the change of the row's loss | own (panel, row) pairs | all of the above |
//! | L + 1 | the changes' sums over the rows; after the last block the quotients, and the update of θ | own lines of θ | the changes |
//!
//! A change is computed once for each *value* that a unit's inputs take in a row, and added to the
//! line of every input that has it; a bias is an input that is always 1. Where units are perturbed,
//! there is one change a unit and row, and the line of every input takes it times the input. Sums run over the rows in
//! order, whatever the blocks and the workers.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Probe;
use super::panels::lines;
use crate::data::{Inputs, Samples};
use crate::gradient::Control;
use crate::model::Network;
use crate::numeric::change::{Form, Outputs, Units};
use crate::numeric::deep_tails::{Activate, LossTail, Spread};
use crate::numeric::distinct::{DistinctBytes, Equals};
use crate::numeric::head::Head;
use crate::numeric::lines::{AddAll, AddByteProducts, AddBytes, AddProducts, AddSlots, LargestOf};
use crate::numeric::losses::{Pairs, Probabilities, RowLosses};
use crate::numeric::panels::{Aligned, count, width};
use crate::numeric::product::{Left, Product};
use crate::numeric::sparse::SparseForward;
use crate::numeric::tails::{OwnTail, UnitTail};
use crate::numeric::tally::Tally;
use crate::numeric::update::{Rule, Update};
use crate::numeric::{Isa, Real};
use crate::parallel::{Shared, Step};

/// Values whose deep tails are followed together: the columns of one matrix product.
pub(super) const CHUNK: usize = 8;

/// Lines of a table of changes over bytes: one a byte, and the bias.
pub(super) const BYTE_SLOTS: usize = 257;

/// What all workers are told.
pub(super) struct Task<'a, R> {
    pub samples: &'a Samples<R>,
    pub distinct: Option<&'a DistinctBytes>,
    /// Row numbers, mini-batch after mini-batch.
    pub order: &'a [u32],
    pub batch_size: usize,
    /// `None`: the gradient is left in the sums, and θ as it is.
    pub rule: Option<Rule<R>>,
    pub network: &'a Network,
    pub probe: Probe,
    /// What all increments are multiplied by.
    pub factor: f64,
    /// The relative increment that was measured, if one was.
    pub measured: f64,
    pub isa: Isa,
    /// Rows of a block.
    pub block: usize,
    /// Lines of each layer's table of changes.
    pub slots: &'a [usize],
    pub control: &'a Control,
    /// Set by the first worker in superstep L, obeyed by all at the start of the next block.
    pub stopping: AtomicBool,
}

impl<R> Task<'_, R> {
    fn layers(&self) -> usize {
        self.network.layout.layers()
    }
}

/// One layer, as one worker holds it.
pub(super) struct Layer<'b, R> {
    /// Own (panel, row) pairs, in the order of panels; of the outputs, own rows.
    pub own_units: Range<usize>,
    pub z: Shared<'b, R>,
    pub y: Shared<'b, R>,
    pub complement: Shared<'b, R>,
    /// Own (panel, row) pairs of the tables.
    pub own_tables: Range<usize>,
    pub tables: Shared<'b, R>,
    /// Own (panel, line) pairs of θ.
    pub own_lines: Range<usize>,
    pub weights: Shared<'b, R>,
    pub velocity: Option<Shared<'b, R>>,
    pub sums: Shared<'b, R>,
}

/// What a row's inputs are worth, where they are no sparse bytes.
pub(super) struct RowInputs<'b, R> {
    /// Distinct values, `(rows, features)`.
    pub values: Shared<'b, R>,
    /// The slot of each feature, `(rows, features)`.
    pub slots: Shared<'b, u32>,
    /// Number of distinct values of each row.
    pub counts: Shared<'b, u32>,
}

/// One worker's memory of its own.
pub(super) struct Scratch<R> {
    /// Inputs of some rows, in panels or one after the other.
    pub inputs: Aligned<R>,
    /// Outputs of some rows, in panels.
    pub outputs: Aligned<R>,
    /// What the input of each slot is worth, in the row at hand.
    pub values: Vec<R>,
    /// The slots in use.
    pub slots: Vec<u32>,
    /// At least every |value|.
    pub largest_value: f64,
    /// Weights from one panel to the layer above.
    pub above: Aligned<R>,
    /// At least every |weight| of them.
    pub largest_above: f64,
    /// A deep tail's values, layer by layer in turns.
    pub stages: [Aligned<R>; 2],
    /// h of every unit, layer by layer, in panels.
    pub increments: Vec<Aligned<R>>,
    pub equals: Equals,
    pub labels: Vec<u16>,
    pub loss: f64,
    /// Mini-batches done.
    pub done: usize,
}

/// One worker's seat.
pub(super) struct Seat<'b, R> {
    pub layers: Vec<Layer<'b, R>>,
    pub inputs: RowInputs<'b, R>,
    pub losses: Shared<'b, R>,
    pub scratch: &'b mut Scratch<R>,
}

impl<R: Real> Seat<'_, R> {
    /// All mini-batches of the task, unless it is stopped.
    pub(super) async fn walk(mut self, task: &Task<'_, R>, mut step: Step<'_>) {
        for batch in task.order.chunks(task.batch_size) {
            let loss = self.scratch.loss;
            let blocks = batch.len().div_ceil(task.block);
            for (b, rows) in batch.chunks(task.block).enumerate() {
                if task.stopping.load(Ordering::Relaxed) {
                    self.scratch.loss = loss;
                    return;
                }
                for layer in 0..task.layers() - 1 {
                    self.activate(task, layer, rows, &step);
                    step = step.next().await;
                }
                self.output(task, rows, &step);
                step = step.next().await;
                if step.worker() == 0 && task.control.is_stopped() {
                    task.stopping.store(true, Ordering::Relaxed);
                }
                self.choose_increments(task, &step);
                self.change(task, rows, &step);
                step = step.next().await;
                if b == 0 {
                    self.clear_sums(&step);
                }
                if task.probe.is_of_units() {
                    self.sum_products(task, rows, &step);
                } else {
                    self.sum(task, rows, &step);
                }
                if b + 1 == blocks {
                    self.finish(task, batch.len(), &step);
                    self.scratch.done += 1;
                }
                if step.worker() == 0 {
                    self.count(task, b * task.block, rows.len(), batch.len(), &step);
                }
                step = step.next().await;
            }
        }
    }

    /// z, y and ȳ of own (panel, row) pairs of a hidden layer.
    fn activate(&mut self, task: &Task<'_, R>, layer: usize, rows: &[u32], step: &Step<'_>) {
        let p = width::<R>();
        let pairs = self.layers[layer].own_units.clone();
        for (panel, own) in by_panel(&pairs, task.block, rows.len()) {
            let start = (panel * task.block + own.start - pairs.start) * p;
            let range = start..start + own.len() * p;
            let (below, this) = self.layers.split_at_mut(layer);
            let this = &mut this[0];
            let below = below.last().map(|below| below.y.all(step));
            let source = Source {
                task,
                layer,
                below,
                weights: this.weights.all(step),
            };
            let z = &mut this.z.own(step)[range.clone()];
            source.multiply(panel, rows, own, &mut self.scratch.inputs, z);
            task.isa.run(Pairs {
                z: &this.z.mine(step)[range.clone()],
                y: &mut this.y.own(step)[range.clone()],
                complement: &mut this.complement.own(step)[range],
            });
        }
    }

    /// z, y, ȳ of the outputs and the loss of own rows; what their inputs are worth.
    fn output(&mut self, task: &Task<'_, R>, rows: &[u32], step: &Step<'_>) {
        let (p, head) = (width::<R>(), task.network.head());
        let layer = task.layers() - 1;
        let (below, this) = self.layers.split_at_mut(layer);
        let this = &mut this[0];
        let own = this.own_units.start.min(rows.len())..this.own_units.end.min(rows.len());
        if own.is_empty() {
            return;
        }
        let outputs = task.network.layout.sizes()[layer + 1];
        let panels = count::<R>(outputs);
        let Scratch {
            inputs,
            outputs: tile,
            labels,
            equals,
            ..
        } = &mut *self.scratch;
        let source = Source {
            task,
            layer,
            below: below.last().map(|below| below.y.all(step)),
            weights: this.weights.all(step),
        };
        let z = this.z.own(step);
        for panel in 0..panels {
            let tile = &mut tile[..own.len() * p];
            source.multiply(panel, rows, own.clone(), inputs, tile);
            for (row, values) in tile.chunks_exact(p).enumerate() {
                z[(row * panels + panel) * p..][..p].copy_from_slice(values);
            }
        }
        let range = 0..own.len() * panels * p;
        let z = &this.z.mine(step)[range.clone()];
        let y = &mut this.y.own(step)[range.clone()];
        let complement = &mut this.complement.own(step)[range];
        match head {
            Head::SoftmaxCrossEntropy => {
                let rows = z
                    .chunks_exact(panels * p)
                    .zip(y.chunks_exact_mut(panels * p));
                for ((z, y), complement) in rows.zip(complement.chunks_exact_mut(panels * p)) {
                    task.isa.run(Probabilities {
                        count: outputs,
                        z,
                        y,
                        complement,
                    });
                }
            }
            Head::LinearQuadratic => {}
            _ => task.isa.run(Pairs { z, y, complement }),
        }
        labels.clear();
        labels.extend(rows[own.clone()].iter().map(|&row| task.samples.label(row)));
        task.isa.run(RowLosses {
            head,
            units: Units {
                z,
                y: z,
                complement: z,
                count: outputs,
                row_stride: panels * p,
                panel_stride: p,
            },
            labels,
            losses: &mut self.losses.own(step)[..own.len()],
        });
        if task.distinct.is_none() && !task.probe.is_of_units() {
            let features = task.samples.features();
            let (values, slots) = (self.inputs.values.own(step), self.inputs.slots.own(step));
            let counts = self.inputs.counts.own(step);
            for (k, row) in own.enumerate() {
                // One row in panels of one row is one row after the other.
                task.samples.gather(&rows[row..=row], inputs, p);
                let range = k * features..(k + 1) * features;
                let slots = &mut slots[range.clone()];
                counts[k] = equals.find(&inputs[..features], slots, &mut values[range]) as u32;
            }
        }
    }

    /// h of every unit in the panels of which this worker has a part.
    fn choose_increments(&mut self, task: &Task<'_, R>, step: &Step<'_>) {
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
    fn change(&mut self, task: &Task<'_, R>, rows: &[u32], step: &Step<'_>) {
        for layer in 0..task.layers() {
            let pairs = self.layers[layer].own_tables.clone();
            for (panel, own) in by_panel(&pairs, task.block, rows.len()) {
                self.transpose_above(task, layer, panel, step);
                self.list_bytes(task, layer);
                for row in own {
                    self.list_values(task, layer, rows, row, step);
                    self.change_one(task, layer, panel, rows, row, step);
                }
            }
        }
    }

    /// Weights from the units of one panel to each unit above, `(units above, P)`.
    fn transpose_above(&mut self, task: &Task<'_, R>, layer: usize, panel: usize, step: &Step<'_>) {
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

    /// What each byte is worth, where the inputs are sparse bytes: the same in every row.
    fn list_bytes(&mut self, task: &Task<'_, R>, layer: usize) {
        if task.probe.is_of_units() {
            return;
        }
        if let (0, Inputs::Sparse(records)) = (layer, task.samples.inputs()) {
            let values = &mut self.scratch.values;
            values.clear();
            values.extend((0..BYTE_SLOTS as u32 - 1).map(|byte| records.value(byte)));
            values.push(R::ONE);
            self.scratch.largest_value = largest(values);
        }
    }

    /// What the inputs of layer `layer` are worth in row `row`, and the slots in use; the bias comes
    /// last.
    fn list_values(
        &mut self,
        task: &Task<'_, R>,
        layer: usize,
        rows: &[u32],
        row: usize,
        step: &Step<'_>,
    ) {
        let Scratch {
            values,
            slots,
            largest_value,
            ..
        } = &mut *self.scratch;
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
        task: &Task<'_, R>,
        layer: usize,
        panel: usize,
        rows: &[u32],
        row: usize,
        step: &Step<'_>,
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
        let outputs = Outputs {
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
        let Scratch {
            values,
            slots,
            largest_value,
            above: weights,
            largest_above,
            stages,
            increments,
            ..
        } = &mut *self.scratch;
        let increments = &increments[layer][panel * p..][..p];
        // |Δz| of the unit; |Δσ| ≤ |Δz|/4 moves the layer above.
        let bound = largest(increments) * *largest_value;
        let bounds = [bound, bound / 4.0 * *largest_above];
        let table = task.slots[layer] * p;
        let at = (panel * task.block + row - held.own_tables.start) * table;
        if layer == last {
            let changes = &mut held.tables.own(step)[at..at + table];
            task.isa.run(OwnTail {
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
            task.isa.run(UnitTail {
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
        let deep = Deep {
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

    fn clear_sums(&mut self, step: &Step<'_>) {
        for held in &mut self.layers {
            held.sums.own(step).fill(R::ZERO);
        }
    }

    /// Adds the block's changes to the sums of own lines.
    fn sum(&mut self, task: &Task<'_, R>, rows: &[u32], step: &Step<'_>) {
        let p = width::<R>();
        let sizes = task.network.layout.sizes();
        let bias = task.network.layout.has_bias();
        for (layer, held) in self.layers.iter_mut().enumerate() {
            let fan_in = sizes[layer];
            let table = task.slots[layer] * p;
            let tables = held.tables.all(step);
            let pairs = held.own_lines.clone();
            let sums = held.sums.own(step);
            for (panel, own) in by_panel(&pairs, lines(fan_in), lines(fan_in)) {
                let start = (panel * lines(fan_in) + own.start - pairs.start) * p;
                let sums = &mut sums[start..start + own.len() * p];
                let inputs = own.start..own.end.min(fan_in);
                let (sums, bias_sums) = sums.split_at_mut(inputs.len() * p);
                for (k, &row) in rows.iter().enumerate() {
                    let changes = &tables[(panel * task.block + k) * table..][..table];
                    if layer > 0 {
                        task.isa.run(AddAll {
                            values: &changes[inputs.start * p..inputs.end * p],
                            sums,
                        });
                    } else if let Inputs::Sparse(records) = task.samples.inputs() {
                        task.isa.run(AddBytes {
                            records,
                            row,
                            first: inputs.start,
                            table: changes,
                            sums,
                        });
                    } else {
                        let slots = &self.inputs.slots.all(step)[k * fan_in..][..fan_in];
                        task.isa.run(AddSlots {
                            slots: &slots[inputs.clone()],
                            table: changes,
                            sums,
                        });
                    }
                    if bias && !bias_sums.is_empty() {
                        task.isa.run(AddAll {
                            values: &changes[table - p..],
                            sums: bias_sums,
                        });
                    }
                }
            }
        }
    }

    /// Adds to the sums of own lines what the block's units changed, times the inputs of each.
    fn sum_products(&mut self, task: &Task<'_, R>, rows: &[u32], step: &Step<'_>) {
        let p = width::<R>();
        let sizes = task.network.layout.sizes();
        let bias = task.network.layout.has_bias();
        for (layer, &fan_in) in sizes[..task.layers()].iter().enumerate() {
            let pairs = self.layers[layer].own_lines.clone();
            for (k, &row) in rows.iter().enumerate() {
                let (below, held) = self.layers.split_at_mut(layer);
                let held = &mut held[0];
                let values = &mut self.scratch.values;
                let records = match (below.last(), task.samples.inputs()) {
                    (Some(below), _) => {
                        list_activations(below.y.all(step), task.block, k, fan_in, values);
                        None
                    }
                    (None, Inputs::Sparse(records)) => Some(records),
                    (None, _) => {
                        let inputs = &mut self.scratch.inputs;
                        // One row in panels of one row is one row after the other.
                        task.samples.gather(&rows[k..=k], inputs, p);
                        values.clear();
                        values.extend_from_slice(&inputs[..fan_in]);
                        None
                    }
                };
                let tables = held.tables.all(step);
                let sums = held.sums.own(step);
                for (panel, own) in by_panel(&pairs, lines(fan_in), lines(fan_in)) {
                    let start = (panel * lines(fan_in) + own.start - pairs.start) * p;
                    let sums = &mut sums[start..start + own.len() * p];
                    let inputs = own.start..own.end.min(fan_in);
                    let (sums, bias_sums) = sums.split_at_mut(inputs.len() * p);
                    let changes = &tables[(panel * task.block + k) * p..][..p];
                    match records {
                        Some(records) => task.isa.run(AddByteProducts {
                            records,
                            row,
                            first: inputs.start,
                            changes,
                            sums,
                        }),
                        None => task.isa.run(AddProducts {
                            values: &values[inputs],
                            changes,
                            sums,
                        }),
                    }
                    if bias && !bias_sums.is_empty() {
                        task.isa.run(AddAll {
                            values: changes,
                            sums: bias_sums,
                        });
                    }
                }
            }
        }
    }

    /// Quotients of own lines from their sums over `rows` rows, and the update.
    fn finish(&mut self, task: &Task<'_, R>, rows: usize, step: &Step<'_>) {
        let p = width::<R>();
        let sizes = task.network.layout.sizes();
        let l2 = R::from_f64(task.network.l2);
        let scheme = task.probe.scheme();
        let carried = task.probe.penalty();
        let share = R::from_f64(1.0 / rows as f64);
        for (layer, held) in self.layers.iter_mut().enumerate() {
            let fan_in = sizes[layer];
            let pairs = held.own_lines.clone();
            for (panel, own) in by_panel(&pairs, lines(fan_in), lines(fan_in)) {
                let start = (panel * lines(fan_in) + own.start - pairs.start) * p;
                let weights = start..start + (own.end.min(fan_in) - own.start) * p;
                let range = start..start + own.len() * p;
                let increments = &self.scratch.increments[layer][panel * p..][..p];
                task.isa.run(super::quotient::Quotients {
                    scheme,
                    share,
                    increments,
                    changes: &mut held.sums.own(step)[range],
                });
                if l2 != R::ZERO {
                    task.isa.run(super::quotient::Penalties {
                        scheme,
                        carried,
                        l2,
                        units: p.min(sizes[layer + 1] - panel * p),
                        increments,
                        weights: &held.weights.mine(step)[weights.clone()],
                        gradient: &mut held.sums.own(step)[weights],
                    });
                }
            }
            if let Some(rule) = task.rule {
                task.isa.run(Update {
                    // Its difference is in the gradient already.
                    rule: rule.for_biases(),
                    gradient: held.sums.mine(step),
                    weights: held.weights.own(step),
                    velocity: held.velocity.as_mut().map(|velocity| velocity.own(step)),
                });
            }
        }
    }

    /// Adds up the losses of a block's rows, and the share of the evaluations that is done: `before`
    /// rows of the mini-batch are.
    fn count(
        &mut self,
        task: &Task<'_, R>,
        before: usize,
        rows: usize,
        batch: usize,
        step: &Step<'_>,
    ) {
        for &loss in &self.losses.all(step)[..rows] {
            self.scratch.loss += loss.to_f64();
        }
        let Tally {
            evaluations,
            jacobian_vector_products,
            ..
        } = task.probe.evaluations(&task.network.layout);
        let evaluations = evaluations + jacobian_vector_products;
        let up_to = |rows: usize| evaluations * rows as u64 / batch as u64;
        task.control.count(up_to(before + rows) - up_to(before));
    }
}

/// Where a layer's pre-activations come from.
struct Source<'a, R> {
    task: &'a Task<'a, R>,
    layer: usize,
    /// Activations of the layer below, in panels of a block's rows; `None`: the inputs.
    below: Option<&'a [R]>,
    weights: &'a [R],
}

impl<R: Real> Source<'_, R> {
    /// z of panel `panel` in rows `own` of the block `rows`, `(rows, P)`.
    fn multiply(
        &self,
        panel: usize,
        rows: &[u32],
        own: Range<usize>,
        inputs: &mut [R],
        out: &mut [R],
    ) {
        let (task, p) = (self.task, width::<R>());
        let fan_in = task.network.layout.sizes()[self.layer];
        let panel = &self.weights[panel * lines(fan_in) * p..][..lines(fan_in) * p];
        let (weights, bias) = panel.split_at(fan_in * p);
        let out_stride = out.len();
        let left = match (self.below, task.samples.inputs()) {
            (Some(below), _) => Left::rows_of(&below[own.start * p..], task.block * p),
            (None, Inputs::Sparse(records)) => {
                return task.isa.run(SparseForward {
                    records,
                    rows: &rows[own],
                    weights,
                    biases: bias,
                    activations: out,
                    slopes: None,
                    stride: out_stride,
                    transposed: None,
                });
            }
            (None, _) => {
                task.samples
                    .gather(&rows[own.clone()], inputs, own.len() * p);
                Left::rows_of(inputs, own.len() * p)
            }
        };
        task.isa.run(Product {
            left,
            rows: own.len(),
            depth: fan_in,
            right: weights,
            right_stride: 0,
            start: Some(bias),
            out,
            out_stride,
            panels: 1,
        });
    }
}

/// The tail of a perturbation more than one layer below the outputs.
struct Deep<'a, 'b, R> {
    task: &'a Task<'a, R>,
    /// The layer perturbed.
    layer: usize,
    form: Form,
    /// The layers above it.
    above: &'a [Layer<'b, R>],
    row: usize,
    outputs: Outputs<'a, R>,
    step: &'a Step<'a>,
}

impl<'a, R: Real> Deep<'a, '_, R> {
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
                    left: Left::columns_of(weights),
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
                task.isa.run(Activate {
                    form: self.form,
                    units: self.units(layer),
                    row: self.row,
                    count: slots.len(),
                    values: above,
                });
            }
            std::mem::swap(&mut below, &mut above);
        }
        task.isa.run(LossTail {
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
fn list_activations<R: Real>(
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

/// The panels that `pairs` are of, `size` pairs a panel.
fn panels_of(pairs: &Range<usize>, size: usize) -> Range<usize> {
    if pairs.is_empty() {
        0..0
    } else {
        pairs.start / size..(pairs.end - 1) / size + 1
    }
}

/// Cuts a range of (panel, item) pairs, `size` items a panel, by panels; of each panel only the
/// first `used` items.
fn by_panel(
    pairs: &Range<usize>,
    size: usize,
    used: usize,
) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
    let pairs = pairs.clone();
    panels_of(&pairs, size).filter_map(move |panel| {
        let start = pairs.start.max(panel * size) - panel * size;
        let end = (pairs.end - panel * size).min(used);
        (start < end).then_some((panel, start..end))
    })
}
