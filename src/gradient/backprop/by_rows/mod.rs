//! Backprop split by rows: what a worker computes, superstep by superstep.
//!
//! Each worker has a share of the mini-batch's rows and a tile of the parameters. A step of the
//! optimizer takes two supersteps, at any depth:
//!
//! | superstep | computes | reads from others |
//! |---|---|---|
//! | even | the activations and δ of all layers, for its own rows | the parameters |
//! | odd | the gradient of its own tile, over all rows; updates the tile | activations and δ |
//!
//! The values of a share are one region of each buffer: `[share][panel][row][P]`. A worker sums an
//! element of the gradient over the regions in their order, hence in one chain over the rows in
//! theirs: no copy of the gradient exists, and none is reduced.
//!
//! A tile is a range of inputs of each layer, the same in all of the layer's panels of units, and
//! some hidden panels of the last layer. Words of sparse rows are sorted by position, so that a
//! worker reads each word of its range once. Rows are partitioned by their number of non-zero
//! inputs, a tile's inputs by how often they are not 0 (`shares.rs`).
//!
//! With several ranks, the workers of all ranks divide the rows and the parameters, and each
//! superstep is followed by one in which the first worker of each rank exchanges what its rank's
//! workers have computed (`exchange.rs`).

mod buffers;
mod exchange;
mod shares;

pub(super) use self::buffers::RowBuffers;
pub(super) use self::exchange::{Parcels, RowExchange, exchange_velocity};
pub(super) use self::shares::{Regions, row_ends, tile_cost, tiles};

use std::ops::Range;

use self::shares::Tile;
use super::layers::{BackpropScratch, GradientTile, StepTask, UnitPanels, Values, regions};
use super::packed::Strides;
use super::parameter_part::ParameterPart;
use crate::data::Inputs;
use crate::kernels::output_loss::LossTerms;
use crate::kernels::panels::{count, transpose, width};
use crate::kernels::sparse::{FindWords, SparseGradient};
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;
use crate::parallel::{PhasedSlice, Superstep, Supersteps};

/// Phase of the supersteps in which workers write values of their rows.
const PASS: usize = 0;

/// Returns the phase of the supersteps in which workers write parameters.
fn update_phase(supersteps: &Supersteps) -> usize {
    supersteps.phases() / 2
}

/// Returns the supersteps of a step: of `workers` workers, of one rank or one of `many`.
pub(super) fn supersteps(workers: usize, many: bool) -> Supersteps {
    match many {
        false => Supersteps::new(workers),
        true => Supersteps::with_exchanges(workers, 4, &[PASS, 2]),
    }
}

/// Who the workers of this rank are among those of all ranks.
#[derive(Clone, Copy)]
pub(super) struct RankWorkers {
    /// Number of this rank's first worker among all.
    pub first: usize,
    /// Number of this rank's workers.
    pub count: usize,
}

/// One worker's tile of a layer that is stored by panels of its own units.
struct LayerTile<'b, R> {
    weights: ParameterPart<'b, R>,
    biases: ParameterPart<'b, R>,
}

/// One worker: its regions and its tile of the shared buffers, and its scratch memory.
pub(super) struct RowWorker<'b, R> {
    /// The regions of the workers of all ranks.
    regions: Regions,
    /// Number of this worker among those of all ranks.
    number: usize,
    tile: Tile,
    /// The regions whose inputs this worker gathers: its own, and those of other ranks' workers.
    gathered: Range<usize>,
    inputs: PhasedSlice<'b, R>,
    activations: Vec<PhasedSlice<'b, R>>,
    slopes: Vec<PhasedSlice<'b, R>>,
    /// δ of each layer; the outputs' are last.
    errors: Vec<PhasedSlice<'b, R>>,
    partial_outputs: PhasedSlice<'b, R>,
    output_losses: PhasedSlice<'b, R>,
    row_losses: PhasedSlice<'b, f64>,
    layers: Vec<LayerTile<'b, R>>,
    last: ParameterPart<'b, R>,
    transposed: ParameterPart<'b, R>,
    bias: ParameterPart<'b, R>,
    scratch: &'b mut BackpropScratch<R>,
    /// The exchange with other ranks; of the first worker, if there are any.
    exchange: Option<RowExchange<'b>>,
}

impl<R: Real> RowWorker<'_, R> {
    /// Steps over all mini-batches of the task.
    pub(super) fn train(mut self, task: &StepTask<'_, R>, mut superstep: Superstep<'_>) {
        let (workers, worker) = (self.regions.workers(), self.number);
        let mut batches = task.order.chunks(task.batch_size);
        let mut ends = Vec::with_capacity(workers);
        let mut words = Vec::with_capacity(task.batch_size);
        while let Some(rows) = batches.next() {
            row_ends(task.samples, task.sizes, rows, self.regions, &mut ends);
            let start = if worker == 0 { 0 } else { ends[worker - 1] };
            let own = &rows[start..ends[worker]];
            self.gather_inputs_of_others(task, (rows, &ends), &superstep);
            if !own.is_empty() {
                let scale = R::from_f64(1.0 / rows.len() as f64);
                self.forward(task, own, &superstep);
                self.output_errors(task, own, scale, &superstep);
                self.backward(task, own.len(), &superstep);
            }
            superstep = superstep.next();
            if task.is_exchanged {
                self.exchange_values(task, &ends, &superstep);
                superstep = superstep.next();
            }
            if let Inputs::Sparse(records) = task.samples.inputs() {
                // The next records are fetched while the update computes; the share is a guess.
                let next = batches.clone().next().unwrap_or_default();
                let share = |worker| next.len() * worker / workers;
                let later = batches.clone().nth(1).unwrap_or_default();
                records.prefetch(&next[share(worker)..share(worker + 1)], later);
            }
            if superstep.worker() == 0 {
                self.scratch.loss += self.sum_losses(task, &ends, &superstep);
            }
            self.update_first(task, (rows, &ends), &mut words, &superstep);
            for h in 1..self.layers.len() {
                self.update(h, task, &ends, &superstep);
            }
            self.update_last(task, &ends, &superstep);
            self.update_biases(task, &ends, &superstep);
            if task.is_exchanged {
                superstep = superstep.next();
                self.exchange_parameters(task, &superstep);
            }
            if batches.len() > 0 {
                superstep = superstep.next();
            }
        }
    }

    /// Computes the outputs' z of this worker's rows.
    fn forward(&mut self, task: &StepTask<'_, R>, rows: &[u32], superstep: &Superstep<'_>) {
        let hidden = task.hidden();
        for h in 0..self.layers.len() {
            let layer = &self.layers[h];
            let (below, activations) = self.activations.split_at_mut(h);
            let (activations, slopes) = match activations {
                [activations, ..] => (
                    activations.write_own(superstep),
                    self.slopes[h].write_own(superstep),
                ),
                [] => (self.errors[0].write_own(superstep), &mut [][..]),
            };
            let units = UnitPanels {
                panels: 0..count::<R>(task.sizes[h + 1]),
                weights: layer.weights.values.read_all(superstep),
                biases: layer.biases.values.read_all(superstep),
                activations,
                slopes,
            };
            match below.last() {
                None => {
                    let panels = input_width(task);
                    let own = self.regions.part(self.number - self.gathered.start, panels);
                    let inputs = &mut self.inputs.write_own(superstep)[own];
                    task.forward_first(rows, inputs, None, units);
                }
                Some(below) => task.forward(h, rows.len(), below.read_own(superstep), units),
            }
        }
        if hidden > 0 {
            let partial_sums = self.partial_outputs.write_own(superstep);
            task.partial_outputs(
                rows.len(),
                0..count::<R>(task.sizes[hidden]),
                self.activations[hidden - 1].read_own(superstep),
                self.last.values.read_all(superstep),
                partial_sums,
            );
            let bias = self.bias.values.read_all(superstep);
            let z = self.errors[hidden].write_own(superstep);
            task.sum_outputs(rows.len(), bias, partial_sums, z);
        }
    }

    /// Gathers the inputs of rows of other ranks, if they are dense: their gradient needs them.
    fn gather_inputs_of_others(
        &mut self,
        task: &StepTask<'_, R>,
        (rows, ends): (&[u32], &[usize]),
        superstep: &Superstep<'_>,
    ) {
        let panels = input_width(task);
        if panels == 0 || self.gathered.len() == 1 {
            return;
        }
        let inputs = self.inputs.write_own(superstep);
        for (region, range) in regions(ends) {
            if self.gathered.contains(&region) && region != self.number {
                let part = self.regions.part(region - self.gathered.start, panels);
                task.gather(&rows[range], &mut inputs[part]);
            }
        }
    }

    /// Computes δ of the outputs of this worker's rows, times `scale`, and the terms of the losses.
    fn output_errors(
        &mut self,
        task: &StepTask<'_, R>,
        rows: &[u32],
        scale: R,
        superstep: &Superstep<'_>,
    ) {
        let z = self.errors[task.hidden()].write_own(superstep);
        let terms = LossTerms {
            outputs: self.output_losses.write_own(superstep),
            rows: self.row_losses.write_own(superstep),
        };
        task.output_errors(rows, scale, z, &mut self.scratch.output, Some(terms));
    }

    /// Computes δ of all hidden layers of this worker's rows.
    fn backward(&mut self, task: &StepTask<'_, R>, rows: usize, superstep: &Superstep<'_>) {
        for h in (0..task.hidden()).rev() {
            let (errors, above) = self.errors.split_at_mut(h + 1);
            let above = above[0].read_own(superstep);
            let errors = errors[h].write_own(superstep);
            let slopes = self.slopes[h].read_own(superstep);
            let panels = count::<R>(task.sizes[h + 1]);
            if h + 1 == task.hidden() {
                let transposed = self.transposed.values.read_all(superstep);
                task.backward_last(rows, panels, above, transposed, slopes, errors);
            } else {
                let weights = self.layers[h + 1].weights.values.read_all(superstep);
                let transposed = &mut self.scratch.transposed;
                let errors = (errors, &mut transposed[..]);
                task.backward(h, rows, 0..panels, (weights, above), slopes, errors);
            }
        }
    }

    /// Returns the sum of all rows' losses, in the order in which one worker sums them.
    fn sum_losses(&self, task: &StepTask<'_, R>, ends: &[usize], superstep: &Superstep<'_>) -> f64 {
        if has_row_losses(task) {
            let losses = self.row_losses.read_all(superstep);
            let region = self.regions.panel_rows();
            let losses =
                regions(ends).flat_map(|(share, rows)| &losses[share * region..][..rows.len()]);
            return losses.sum();
        }
        let p = width::<R>();
        let mut total = 0.0;
        for (panel, column) in (0..task.outputs()).step_by(p).enumerate() {
            let losses = self.output_losses.read_all(superstep);
            let sums = task.column_sums(ends, all_of(losses, task.outputs(), panel, task));
            for sum in &sums[..p.min(task.outputs() - column)] {
                total += sum.to_f64();
            }
        }
        total
    }

    /// Updates this worker's inputs of the first layer.
    fn update_first<'t>(
        &mut self,
        task: &StepTask<'t, R>,
        (rows, ends): (&[u32], &[usize]),
        words: &mut Vec<&'t [u32]>,
        superstep: &Superstep<'_>,
    ) {
        let Inputs::Sparse(records) = task.samples.inputs() else {
            return self.update(0, task, ends, superstep);
        };
        let (p, positions) = (width::<R>(), self.tile.lines[0].clone());
        if positions.is_empty() {
            return;
        }
        task.isa.run(FindWords {
            records,
            rows,
            positions: positions.clone(),
            words,
        });
        let (weights, size) = (&mut self.layers[0].weights, positions.len() * p);
        let errors = self.errors[0].read_all(superstep);
        let panels = count::<R>(task.sizes[1]);
        for first in (0..panels).step_by(2) {
            if task.is_stopped() {
                return;
            }
            let pair = 2.min(panels - first);
            let gradient = &mut self.scratch.sparse.gradient()[..pair * size];
            gradient.fill(R::ZERO);
            for (region, rows) in regions(ends) {
                let errors = all_of(errors, task.sizes[1], first, task);
                task.isa.run(SparseGradient {
                    records,
                    positions: positions.clone(),
                    words: &words[rows],
                    errors: errors.region(region, task.stride),
                    stride: task.stride,
                    gradient,
                });
            }
            for (k, gradient) in gradient.chunks_exact(size).enumerate() {
                weights.update(
                    (task.isa, task.rule),
                    gradient,
                    first + k,
                    0..size,
                    superstep,
                );
            }
        }
    }

    /// Updates this worker's inputs of layer h + 1, which are dense, in tiles of at most P inputs
    /// of one panel and two panels of units.
    fn update(
        &mut self,
        h: usize,
        task: &StepTask<'_, R>,
        ends: &[usize],
        superstep: &Superstep<'_>,
    ) {
        let (p, lines) = (width::<R>(), self.tile.lines[h].clone());
        let below = match h {
            0 => self.inputs.read_all(superstep),
            _ => self.activations[h - 1].read_all(superstep),
        };
        let errors = self.errors[h].read_all(superstep);
        let (tile, weights) = (&mut self.scratch.tile, &mut self.layers[h].weights);
        let panels = count::<R>(task.sizes[h + 1]);
        for first in (0..panels).step_by(2) {
            let pair = 2.min(panels - first);
            let mut from = lines.start;
            while from < lines.end && !task.is_stopped() {
                let until = lines.end.min((from / p + 1) * p);
                let mut activations = all_of(below, task.sizes[h], from / p, task);
                activations.from += from % p;
                task.weight_gradient(
                    ends,
                    GradientTile {
                        activations,
                        lines: until - from,
                        errors: all_of(errors, task.sizes[h + 1], first, task),
                        panels: pair,
                        out: tile,
                        out_stride: p * p,
                    },
                );
                let range = (from - lines.start) * p..(until - lines.start) * p;
                for k in 0..pair {
                    let gradient = &tile[k * p * p..][..range.len()];
                    let rule = (task.isa, task.rule);
                    weights.update(rule, gradient, first + k, range.clone(), superstep);
                }
                from = until;
            }
        }
    }

    /// Updates this worker's hidden panels of the last layer, and transposes them.
    fn update_last(&mut self, task: &StepTask<'_, R>, ends: &[usize], superstep: &Superstep<'_>) {
        let (p, hidden, outputs) = (width::<R>(), task.hidden(), task.outputs());
        let output_panels = outputs.div_ceil(p);
        let strides = Strides::new::<R>(outputs);
        let tile = &mut self.scratch.tile;
        for (k, panel) in self.tile.last.clone().enumerate() {
            let activations = self.activations[hidden - 1].read_all(superstep);
            let errors = self.errors[hidden].read_all(superstep);
            task.weight_gradient(
                ends,
                GradientTile {
                    activations: all_of(activations, task.sizes[hidden], panel, task),
                    lines: p,
                    errors: all_of(errors, outputs, 0, task),
                    panels: output_panels,
                    out: tile,
                    out_stride: p * p,
                },
            );
            let size = output_panels * p * p;
            let blocks = k * strides.blocks..k * strides.blocks + size;
            let rule = (task.isa, task.rule);
            (self.last).update(rule, &tile[..size], 0, blocks.clone(), superstep);
            let (weights, velocity) = self.last.write(0, superstep);
            let (transposed, transposed_velocity) = self.transposed.write(0, superstep);
            let copy = |from: &[R], to: &mut [R]| {
                let to = &mut to[k * strides.transposed..][..outputs * p];
                let panels = from[blocks.clone()].chunks_exact(p * p);
                for (from, to) in panels.zip(to.chunks_mut(p * p)) {
                    transpose(from, to, p);
                }
            };
            copy(weights, transposed);
            if let (Some(from), Some(to)) = (velocity, transposed_velocity) {
                copy(from, to);
            }
        }
    }

    /// Updates this worker's panels of biases of all layers.
    fn update_biases(&mut self, task: &StepTask<'_, R>, ends: &[usize], superstep: &Superstep<'_>) {
        if !task.bias {
            return;
        }
        let (p, rule) = (width::<R>(), (task.isa, task.rule.for_biases()));
        for (h, panels) in self.tile.biases.iter().enumerate() {
            let biases = match self.layers.get_mut(h) {
                Some(layer) => &mut layer.biases,
                None => &mut self.bias,
            };
            let errors = self.errors[h].read_all(superstep);
            for (k, panel) in panels.clone().enumerate() {
                let errors = all_of(errors, task.sizes[h + 1], panel, task);
                let sums = task.column_sums(ends, errors);
                biases.update(rule, &sums[..p], 0, k * p..(k + 1) * p, superstep);
            }
        }
    }
}

/// Returns the numbers of a row of gathered inputs, padding included; 0 if they are sparse.
fn input_width<R: Real>(task: &StepTask<'_, R>) -> usize {
    match task.samples.inputs() {
        Inputs::Sparse(_) => 0,
        _ => count::<R>(task.sizes[0]) * width::<R>(),
    }
}

/// Returns whether the loss is the sum of one term per row; else it is one of terms per output.
fn has_row_losses<R: Real>(task: &StepTask<'_, R>) -> bool {
    task.increment.is_some() || task.output_loss == OutputLoss::SoftmaxCrossEntropy
}

/// Returns the values of all rows of a layer of `units` units, from panel `panel` on.
fn all_of<'a, R: Real>(
    values: &'a [R],
    units: usize,
    panel: usize,
    task: &StepTask<'_, R>,
) -> Values<'a, R> {
    Values {
        values,
        panels: count::<R>(units),
        from: panel * task.stride,
    }
}
