//! One worker of the incremental engine, and the supersteps that it runs.
//!
//! A mini-batch is processed in blocks of rows. In a network of L layers (l from 0) a block takes
//! L + 2 supersteps, in each of which a worker computes its share of the following:
//!
//! | superstep | computes | partitioned by | reads |
//! |---|---|---|---|
//! | l < L − 1 | z_l, y_l, ȳ_l (y = σ(z), ȳ = 1 − y) | (panel, row) | y_{l−1}, θ |
//! | L − 1 | z, y, ȳ of the outputs; losses, distinct inputs | row | y_{L−2}, θ |
//! | L | tables: changes of the losses | (panel, row) | all of the above |
//! | L + 1 | sums of the changes; at the end quotients, new θ | (panel, panel row) | tables |
//! | (L + 2) | at the end of a step of several ranks: exchange of θ | rank | |
//!
//! A row is one sample of the mini-batch; a panel row holds the weights of one input into a panel's
//! units. A table holds, for one layer, panel and row, the change of the row's loss for each unit
//! and each *value* that the unit's inputs take in the row; the change is added to the panel row of
//! every input that has this value. A bias is the weight of an input that is always 1. In node
//! perturbation there is one change per unit and row, and it is multiplied by each input. Sums run
//! over the rows in order, whatever the blocks and the workers.
//!
//! The tables are computed in `tables.rs`, and summed in `sums.rs`.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::exchange::PanelExchange;
use super::tables::SlotValues;
use crate::data::{GatheredTargets, Inputs, Samples};
use crate::gradient::Control;
use crate::gradient::finite_difference::Perturbation;
use crate::gradient::finite_difference::unit_panels::{by_panel, panel_height};
use crate::kernels::Isa;
use crate::kernels::divided_difference::base_values::{Pairs, Probabilities, RowLosses};
use crate::kernels::divided_difference::formulas::Units;
use crate::kernels::matmul::{LeftOperand, Product, Start};
use crate::kernels::panels::{Aligned, count, width};
use crate::kernels::sparse::SparseForward;
use crate::kernels::targets::RowTarget;
use crate::kernels::update::Rule;
use crate::kernels::value_sharing::{DistinctBytes, EqualValues, one_slot_each};
use crate::model::Network;
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;
use crate::numeric::tally::Tally;
use crate::parallel::{PhasedSlice, Superstep};

/// The task that all workers share.
pub(super) struct DifferenceTask<'a, R> {
    pub samples: &'a Samples<R>,
    /// The distinct non-zero bytes of each row, if the inputs are sparse bytes.
    pub distinct_bytes: Option<&'a DistinctBytes>,
    /// The input value of each slot of the first layer's table, if it has a slot for each byte.
    pub bytes: Option<&'a SlotValues<R>>,
    /// Row numbers, mini-batch after mini-batch.
    pub order: &'a [u32],
    pub batch_size: usize,
    /// The update rule; `None`: the gradient stays in the sums, and θ does not change.
    pub rule: Option<Rule<R>>,
    pub network: &'a Network,
    pub perturbation: Perturbation,
    /// The factor that all increments are multiplied by.
    pub factor: f64,
    /// The measured relative increment, or NaN.
    pub measured: f64,
    pub isa: Isa,
    /// The number of rows of a block.
    pub block: usize,
    /// The number of slots of each layer's table of changes.
    pub slots: &'a [usize],
    pub control: &'a Control,
    /// The stop flag of all workers: set by the first worker in superstep L, checked by every
    /// worker at the start of the next block.
    pub stopping: AtomicBool,
    /// Whether a worker has left out tables, because of an interruption: set in superstep L, looked
    /// at by every worker after it.
    pub interrupted: AtomicBool,
    /// Whether other ranks have a share of the panels.
    pub is_exchanged: bool,
}

impl<R: Real> DifferenceTask<'_, R> {
    /// Returns the target of a row.
    pub(super) fn target(&self, row: u32) -> RowTarget<'_, R> {
        let label = self.samples.label(row);
        let is_weighted = !self.network.class_weights.is_empty();
        RowTarget {
            label,
            numbers: self.samples.targets(row),
            weight: is_weighted.then(|| R::from_f64(self.network.row_weight(label))),
        }
    }

    pub(super) fn layers(&self) -> usize {
        self.network.layout.layers()
    }

    /// Returns, in superstep L, whether the tables that are left may be left out: no worker uses any
    /// then.
    pub(super) fn leaves_out_tables(&self) -> bool {
        let is_interrupted = self.control.is_interrupted();
        if is_interrupted {
            self.interrupted.store(true, Ordering::Relaxed);
        }
        is_interrupted
    }
}

/// One worker's view of the buffers of one layer.
pub(super) struct IncrementalLayer<'b, R> {
    /// The range of this worker's (panel, row) pairs, in the order of panels; of the output layer,
    /// the range of its rows.
    pub unit_range: Range<usize>,
    pub z: PhasedSlice<'b, R>,
    pub y: PhasedSlice<'b, R>,
    pub one_minus_y: PhasedSlice<'b, R>,
    /// The range of this worker's (panel, row) pairs of the tables.
    pub table_range: Range<usize>,
    pub tables: PhasedSlice<'b, R>,
    /// The range of this worker's (panel, panel row) pairs of θ.
    pub weight_range: Range<usize>,
    pub weights: PhasedSlice<'b, R>,
    pub velocity: Option<PhasedSlice<'b, R>>,
    pub sums: PhasedSlice<'b, R>,
}

/// The distinct input values of each row, found for inputs that are not sparse bytes.
pub(super) struct RowInputs<'b, R> {
    /// The distinct values, `(rows, features)`.
    pub values: PhasedSlice<'b, R>,
    /// The slot of each feature, `(rows, features)`.
    pub slots: PhasedSlice<'b, u32>,
    /// The number of distinct values of each row, `(rows,)`.
    pub counts: PhasedSlice<'b, u32>,
}

/// One worker's private memory.
pub(super) struct IncrementalScratch<R> {
    /// The inputs of some rows, in panels, or of one row, contiguous.
    pub inputs: Aligned<R>,
    /// The outputs of some rows, one panel of them.
    pub outputs: Aligned<R>,
    /// The input value of each slot in the current row.
    pub values: SlotValues<R>,
    /// The slots in use.
    pub slots: Vec<u32>,
    /// The weights from the units of one panel to the layer above, `(units above, P)`.
    pub above: Aligned<R>,
    /// The largest |weight| of `above`.
    pub largest_above: f64,
    /// The propagated values of a perturbation more than one layer below the outputs; the layers
    /// use the two buffers in turn.
    pub stages: [Aligned<R>; 2],
    /// h of each unit, layer by layer, in panels.
    pub increments: Vec<Aligned<R>>,
    pub equal_values: EqualValues,
    pub targets: GatheredTargets<R>,
    /// The sum of the rows' losses; used by the first worker.
    pub loss: f64,
    /// The number of mini-batches completed.
    pub done: usize,
}

/// One worker: its part of every buffer, and its private memory.
pub(super) struct IncrementalWorker<'b, R> {
    pub layers: Vec<IncrementalLayer<'b, R>>,
    /// The exchange with other ranks; of the first worker, if there are any.
    pub exchange: Option<PanelExchange<'b>>,
    pub inputs: RowInputs<'b, R>,
    pub losses: PhasedSlice<'b, R>,
    pub scratch: &'b mut IncrementalScratch<R>,
}

impl<R: Real> IncrementalWorker<'_, R> {
    /// Processes all mini-batches of the task, unless it is stopped.
    pub(super) fn run(mut self, task: &DifferenceTask<'_, R>, mut step: Superstep<'_>) {
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
                    step = step.next();
                }
                self.compute_outputs(task, rows, &step);
                step = step.next();
                if step.worker() == 0 && task.control.is_stopped() {
                    task.stopping.store(true, Ordering::Relaxed);
                }
                self.choose_increments(task, &step);
                self.compute_changes(task, rows, &step);
                step = step.next();
                if task.interrupted.load(Ordering::Relaxed) {
                    self.scratch.loss = loss;
                    return;
                }
                if b == 0 {
                    self.clear_sums(&step);
                }
                if task.perturbation.perturbs_units() {
                    self.sum_products(task, rows, &step);
                } else {
                    self.sum_changes(task, rows, &step);
                }
                if b + 1 == blocks {
                    self.finish(task, batch.len(), &step);
                    self.scratch.done += 1;
                }
                if step.worker() == 0 {
                    self.count_rows(task, b * task.block, rows, batch.len(), &step);
                }
                step = step.next();
                if task.is_exchanged {
                    if b + 1 == blocks && task.rule.is_some() {
                        self.exchange_parameters(task, &step);
                    }
                    step = step.next();
                }
            }
        }
    }

    /// Exchanges θ with other ranks, if this is the first worker.
    fn exchange_parameters(&mut self, task: &DifferenceTask<'_, R>, step: &Superstep<'_>) {
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        let layers = self.layers.iter_mut();
        let mut layers: Vec<_> = layers.map(|layer| layer.weights.exchange(step)).collect();
        exchange.exchange(&task.network.layout, &mut layers);
    }

    /// Computes z, y and ȳ of this worker's (panel, row) pairs of a hidden layer.
    fn activate(
        &mut self,
        task: &DifferenceTask<'_, R>,
        layer: usize,
        rows: &[u32],
        step: &Superstep<'_>,
    ) {
        let p = width::<R>();
        let pairs = self.layers[layer].unit_range.clone();
        for (panel, block_rows) in by_panel(&pairs, task.block, rows.len()) {
            let start = (panel * task.block + block_rows.start - pairs.start) * p;
            let range = start..start + block_rows.len() * p;
            let (below, this) = self.layers.split_at_mut(layer);
            let this = &mut this[0];
            let below = below.last().map(|below| below.y.read_all(step));
            let source = PreActivationSource {
                task,
                layer,
                below,
                weights: this.weights.read_all(step),
            };
            let z = &mut this.z.write_own(step)[range.clone()];
            source.multiply(panel, rows, block_rows, &mut self.scratch.inputs, z);
            task.isa.run(Pairs {
                z: &this.z.read_own(step)[range.clone()],
                y: &mut this.y.write_own(step)[range.clone()],
                one_minus_y: &mut this.one_minus_y.write_own(step)[range],
            });
        }
    }

    /// Computes z, y, ȳ of the outputs and the loss of this worker's rows, and finds the rows'
    /// distinct input values.
    fn compute_outputs(
        &mut self,
        task: &DifferenceTask<'_, R>,
        rows: &[u32],
        step: &Superstep<'_>,
    ) {
        let (p, head) = (width::<R>(), task.network.output_loss());
        let layer = task.layers() - 1;
        let (below, this) = self.layers.split_at_mut(layer);
        let this = &mut this[0];
        let block_rows = this.unit_range.start.min(rows.len())..this.unit_range.end.min(rows.len());
        if block_rows.is_empty() {
            return;
        }
        let outputs = task.network.layout.sizes()[layer + 1];
        let panels = count::<R>(outputs);
        let IncrementalScratch {
            inputs,
            outputs: tile,
            targets,
            ..
        } = &mut *self.scratch;
        let source = PreActivationSource {
            task,
            layer,
            below: below.last().map(|below| below.y.read_all(step)),
            weights: this.weights.read_all(step),
        };
        let z = this.z.write_own(step);
        for panel in 0..panels {
            let tile = &mut tile[..block_rows.len() * p];
            source.multiply(panel, rows, block_rows.clone(), inputs, tile);
            for (row, values) in tile.chunks_exact(p).enumerate() {
                z[(row * panels + panel) * p..][..p].copy_from_slice(values);
            }
        }
        let range = 0..block_rows.len() * panels * p;
        let z = &this.z.read_own(step)[range.clone()];
        let y = &mut this.y.write_own(step)[range.clone()];
        let one_minus_y = &mut this.one_minus_y.write_own(step)[range];
        match head {
            OutputLoss::SoftmaxCrossEntropy => {
                let rows = z
                    .chunks_exact(panels * p)
                    .zip(y.chunks_exact_mut(panels * p));
                for ((z, y), one_minus_y) in rows.zip(one_minus_y.chunks_exact_mut(panels * p)) {
                    task.isa.run(Probabilities {
                        count: outputs,
                        z,
                        y,
                        one_minus_y,
                    });
                }
            }
            OutputLoss::LinearQuadratic => {}
            _ => task.isa.run(Pairs { z, y, one_minus_y }),
        }
        // Losses and their changes are weighted after the subtraction.
        targets.read(task.samples, &rows[block_rows.clone()], &[]);
        task.isa.run(RowLosses {
            output_loss: head,
            units: Units {
                z,
                y: z,
                one_minus_y: z,
                count: outputs,
                row_stride: panels * p,
                panel_stride: p,
            },
            targets: targets.targets(),
            losses: &mut self.losses.write_own(step)[..block_rows.len()],
        });
        if task.distinct_bytes.is_none() && !task.perturbation.perturbs_units() {
            self.find_distinct_values(task, &rows[block_rows], step);
        }
    }

    /// Finds the distinct input values of this worker's rows; `rows` are their numbers.
    fn find_distinct_values(
        &mut self,
        task: &DifferenceTask<'_, R>,
        rows: &[u32],
        step: &Superstep<'_>,
    ) {
        let IncrementalScratch {
            inputs,
            equal_values,
            ..
        } = &mut *self.scratch;
        let features = task.samples.features();
        let values = self.inputs.values.write_own(step);
        let slots = self.inputs.slots.write_own(step);
        let counts = self.inputs.counts.write_own(step);
        for (k, row) in rows.chunks_exact(1).enumerate() {
            // Panels of one row are that row's inputs, contiguous.
            task.samples.gather(row, inputs, width::<R>());
            let range = k * features..(k + 1) * features;
            let slots = &mut slots[range.clone()];
            let (row, values) = (&inputs[..features], &mut values[range]);
            counts[k] = match task.samples.shares_values() {
                true => equal_values.find(row, slots, values),
                false => one_slot_each(row, slots, values),
            } as u32;
        }
    }

    /// Adds the losses of a block's rows to the sum, and the block's share of the evaluations to
    /// the control; `before` is the number of earlier rows of the mini-batch.
    fn count_rows(
        &mut self,
        task: &DifferenceTask<'_, R>,
        before: usize,
        rows: &[u32],
        batch: usize,
        step: &Superstep<'_>,
    ) {
        for (&loss, &row) in self.losses.read_all(step).iter().zip(rows) {
            let weight = task.network.row_weight(task.samples.label(row));
            self.scratch.loss += loss.to_f64() * weight;
        }
        let Tally {
            evaluations,
            jacobian_vector_products,
            ..
        } = task.perturbation.evaluations(&task.network.layout);
        let evaluations = evaluations + jacobian_vector_products;
        let evaluations_up_to = |rows: usize| evaluations * rows as u64 / batch as u64;
        task.control
            .count(evaluations_up_to(before + rows.len()) - evaluations_up_to(before));
    }
}

/// The operands of a layer's pre-activations.
struct PreActivationSource<'a, R> {
    task: &'a DifferenceTask<'a, R>,
    layer: usize,
    /// The activations of the layer below, in panels of a block's rows; `None`: the inputs.
    below: Option<&'a [R]>,
    weights: &'a [R],
}

impl<R: Real> PreActivationSource<'_, R> {
    /// Computes z of panel `panel` into `out`, `(rows, P)`, for the rows `block_rows` of the block,
    /// whose row numbers are `rows`.
    fn multiply(
        &self,
        panel: usize,
        rows: &[u32],
        block_rows: Range<usize>,
        inputs: &mut [R],
        out: &mut [R],
    ) {
        let (task, p) = (self.task, width::<R>());
        let fan_in = task.network.layout.sizes()[self.layer];
        let panel = &self.weights[panel * panel_height(fan_in) * p..][..panel_height(fan_in) * p];
        let (weights, bias) = panel.split_at(fan_in * p);
        let out_stride = out.len();
        let left = match (self.below, task.samples.inputs()) {
            (Some(below), _) => {
                LeftOperand::rows_of(&below[block_rows.start * p..], task.block * p)
            }
            (None, Inputs::Sparse(records)) => {
                return task.isa.run(SparseForward {
                    records,
                    rows: &rows[block_rows],
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
                    .gather(&rows[block_rows.clone()], inputs, block_rows.len() * p);
                LeftOperand::rows_of(inputs, block_rows.len() * p)
            }
        };
        task.isa.run(Product {
            left,
            rows: block_rows.len(),
            depth: fan_in,
            right: weights,
            right_stride: 0,
            start: Start::Columns(bias),
            out,
            out_stride,
            panels: 1,
        });
    }
}
