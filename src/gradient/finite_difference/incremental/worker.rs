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
//!
//! The tables of changes are in `tables.rs`, their sums in `sums.rs`.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::tables::SlotValues;
use crate::data::{Inputs, Samples};
use crate::gradient::Control;
use crate::gradient::finite_difference::Perturbation;
use crate::gradient::finite_difference::unit_panels::{by_panel, lines};
use crate::kernels::Isa;
use crate::kernels::divided_difference::base_values::{Pairs, Probabilities, RowLosses};
use crate::kernels::divided_difference::formulas::Units;
use crate::kernels::matmul::{LeftOperand, Product};
use crate::kernels::panels::{Aligned, count, width};
use crate::kernels::sparse::SparseForward;
use crate::kernels::update::Rule;
use crate::kernels::value_sharing::{DistinctBytes, EqualValues};
use crate::model::Network;
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;
use crate::numeric::tally::Tally;
use crate::parallel::{PhasedSlice, Superstep};

/// What all workers are told.
pub(super) struct DifferenceTask<'a, R> {
    pub samples: &'a Samples<R>,
    pub distinct: Option<&'a DistinctBytes>,
    /// What the slots of a table of changes over bytes are worth, where inputs are perturbed byte by
    /// byte.
    pub bytes: Option<&'a SlotValues<R>>,
    /// Row numbers, mini-batch after mini-batch.
    pub order: &'a [u32],
    pub batch_size: usize,
    /// `None`: the gradient is left in the sums, and θ as it is.
    pub rule: Option<Rule<R>>,
    pub network: &'a Network,
    pub probe: Perturbation,
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

impl<R> DifferenceTask<'_, R> {
    pub(super) fn layers(&self) -> usize {
        self.network.layout.layers()
    }
}

/// One layer, as one worker holds it.
pub(super) struct IncrementalLayer<'b, R> {
    /// Own (panel, row) pairs, in the order of panels; of the outputs, own rows.
    pub own_units: Range<usize>,
    pub z: PhasedSlice<'b, R>,
    pub y: PhasedSlice<'b, R>,
    pub complement: PhasedSlice<'b, R>,
    /// Own (panel, row) pairs of the tables.
    pub own_tables: Range<usize>,
    pub tables: PhasedSlice<'b, R>,
    /// Own (panel, line) pairs of θ.
    pub own_lines: Range<usize>,
    pub weights: PhasedSlice<'b, R>,
    pub velocity: Option<PhasedSlice<'b, R>>,
    pub sums: PhasedSlice<'b, R>,
}

/// What a row's inputs are worth, where they are no sparse bytes.
pub(super) struct RowInputs<'b, R> {
    /// Distinct values, `(rows, features)`.
    pub values: PhasedSlice<'b, R>,
    /// The slot of each feature, `(rows, features)`.
    pub slots: PhasedSlice<'b, u32>,
    /// Number of distinct values of each row.
    pub counts: PhasedSlice<'b, u32>,
}

/// One worker's memory of its own.
pub(super) struct IncrementalScratch<R> {
    /// Inputs of some rows, in panels or one after the other.
    pub inputs: Aligned<R>,
    /// Outputs of some rows, in panels.
    pub outputs: Aligned<R>,
    /// What the input of each slot is worth, in the row at hand.
    pub values: SlotValues<R>,
    /// The slots in use.
    pub slots: Vec<u32>,
    /// Weights from one panel to the layer above.
    pub above: Aligned<R>,
    /// At least every |weight| of them.
    pub largest_above: f64,
    /// A deep tail's values, layer by layer in turns.
    pub stages: [Aligned<R>; 2],
    /// h of every unit, layer by layer, in panels.
    pub increments: Vec<Aligned<R>>,
    pub equals: EqualValues,
    pub labels: Vec<u16>,
    pub loss: f64,
    /// Mini-batches done.
    pub done: usize,
}

/// One worker's seat.
pub(super) struct IncrementalWorker<'b, R> {
    pub layers: Vec<IncrementalLayer<'b, R>>,
    pub inputs: RowInputs<'b, R>,
    pub losses: PhasedSlice<'b, R>,
    pub scratch: &'b mut IncrementalScratch<R>,
}

impl<R: Real> IncrementalWorker<'_, R> {
    /// All mini-batches of the task, unless it is stopped.
    pub(super) async fn walk(mut self, task: &DifferenceTask<'_, R>, mut step: Superstep<'_>) {
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
    fn activate(
        &mut self,
        task: &DifferenceTask<'_, R>,
        layer: usize,
        rows: &[u32],
        step: &Superstep<'_>,
    ) {
        let p = width::<R>();
        let pairs = self.layers[layer].own_units.clone();
        for (panel, own) in by_panel(&pairs, task.block, rows.len()) {
            let start = (panel * task.block + own.start - pairs.start) * p;
            let range = start..start + own.len() * p;
            let (below, this) = self.layers.split_at_mut(layer);
            let this = &mut this[0];
            let below = below.last().map(|below| below.y.all(step));
            let source = PreActivationSource {
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
    fn output(&mut self, task: &DifferenceTask<'_, R>, rows: &[u32], step: &Superstep<'_>) {
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
        let IncrementalScratch {
            inputs,
            outputs: tile,
            labels,
            equals,
            ..
        } = &mut *self.scratch;
        let source = PreActivationSource {
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
            OutputLoss::SoftmaxCrossEntropy => {
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
            OutputLoss::LinearQuadratic => {}
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

    /// Adds up the losses of a block's rows, and the share of the evaluations that is done: `before`
    /// rows of the mini-batch are.
    fn count(
        &mut self,
        task: &DifferenceTask<'_, R>,
        before: usize,
        rows: usize,
        batch: usize,
        step: &Superstep<'_>,
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
struct PreActivationSource<'a, R> {
    task: &'a DifferenceTask<'a, R>,
    layer: usize,
    /// Activations of the layer below, in panels of a block's rows; `None`: the inputs.
    below: Option<&'a [R]>,
    weights: &'a [R],
}

impl<R: Real> PreActivationSource<'_, R> {
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
            (Some(below), _) => LeftOperand::rows_of(&below[own.start * p..], task.block * p),
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
                LeftOperand::rows_of(inputs, own.len() * p)
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
