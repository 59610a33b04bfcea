//! The buffers of backprop split by rows, and each worker's parts of them.

use std::ops::Range;
use std::vec::IntoIter;

use super::exchange::RowExchange;
use super::shares::{Regions, Tile, hidden_panels};
use super::{LayerTile, PASS, RankWorkers, RowWorker, update_phase};
use crate::data::Inputs;
use crate::gradient::backprop::layers::StepTask;
use crate::gradient::backprop::packed::{Buffers, PackedParameters, Strides, WithVelocity};
use crate::gradient::backprop::parameter_part::ParameterPart;
use crate::gradient::backprop::{Scratch, next_part};
use crate::kernels::panels::{Aligned, count, width};
use crate::numeric::Real;
use crate::parallel::Supersteps;

/// The buffers that the workers share, and those private to them: region after region.
pub(in crate::gradient::backprop) struct RowBuffers<R> {
    /// Rows of all regions, and of this rank's, gaps included, that the buffers can hold.
    rows: [usize; 2],
    /// The inputs, if they are dense.
    inputs: Aligned<R>,
    /// Activations a of each hidden layer.
    activations: Vec<Aligned<R>>,
    /// Slopes σ′(z) of each hidden layer.
    slopes: Vec<Aligned<R>>,
    /// Errors δ of each layer.
    errors: Vec<Aligned<R>>,
    /// Partial sums of the outputs' pre-activations, one per hidden panel.
    partial_outputs: Aligned<R>,
    /// Terms of the losses: of the outputs, and of the rows.
    output_losses: Aligned<R>,
    row_losses: Vec<f64>,
}

impl<R: Real> RowBuffers<R> {
    /// Creates empty buffers.
    pub(in crate::gradient::backprop) fn new() -> Self {
        Self {
            rows: [0, 0],
            inputs: Aligned::zeros(0),
            activations: Vec::new(),
            slopes: Vec::new(),
            errors: Vec::new(),
            partial_outputs: Aligned::zeros(0),
            output_losses: Aligned::zeros(0),
            row_losses: Vec::new(),
        }
    }

    /// Allocates what these regions need, unless there is room.
    fn reserve(&mut self, sizes: &[usize], input_panels: usize, regions: Regions, own: usize) {
        let rows = regions.rows();
        let own_rows = own * regions.panel_rows();
        let panels = |panels: usize, rows: usize| Aligned::zeros(panels * rows * width::<R>());
        if self.inputs.len() < input_panels * rows * width::<R>() {
            self.inputs = panels(input_panels, rows);
        }
        if rows <= self.rows[0] && own_rows <= self.rows[1] {
            return;
        }
        let layers = |layers: &[usize], rows: usize| {
            let layers = layers.iter().map(|&units| panels(count::<R>(units), rows));
            layers.collect::<Vec<_>>()
        };
        let hidden = sizes.len() - 2;
        let outputs = count::<R>(sizes[hidden + 1]);
        *self = Self {
            rows: [rows, own_rows],
            inputs: std::mem::replace(&mut self.inputs, Aligned::zeros(0)),
            activations: layers(&sizes[1..=hidden], rows),
            slopes: layers(&sizes[1..=hidden], own_rows),
            errors: layers(&sizes[1..], rows),
            partial_outputs: panels(hidden_panels::<R>(sizes) * outputs, own_rows),
            output_losses: panels(outputs, rows),
            row_losses: vec![0.0; rows],
        };
    }

    /// Partitions all buffers among the workers of this rank: each gets its regions and its tile.
    pub(in crate::gradient::backprop) fn workers<'b>(
        &'b mut self,
        task: &StepTask<'_, R>,
        (supersteps, own, regions, tiles): (&Supersteps, RankWorkers, Regions, &[Tile]),
        parameters: WithPackedVelocity<'b, R>,
        mut exchange: Option<RowExchange<'b>>,
        scratch: &'b mut Scratch<R>,
    ) -> Vec<RowWorker<'b, R>> {
        let (weights, velocity) = parameters;
        let tiles = &tiles[own.first..own.first + own.count];
        let (sizes, p) = (task.sizes, width::<R>());
        let input_panels = match task.samples.inputs() {
            Inputs::Sparse(_) => 0,
            _ => count::<R>(sizes[0]),
        };
        self.reserve(sizes, input_panels, regions, own.count);
        // Regions of this rank's workers: among those of all ranks, and in buffers of their own.
        let (numbers, private) = (own.first..own.first + own.count, 0..own.count);
        let hidden = sizes.len() - 2;
        let outputs = count::<R>(sizes[hidden + 1]);
        let share = |values: &'b mut [R], panels: usize, phase: Option<usize>| {
            let own = match phase {
                Some(_) => numbers.clone(),
                None => private.clone(),
            };
            let parts = supersteps.share(values, phase, regions.parts(own, panels * p));
            parts.into_iter()
        };
        let share_layers = |layers: &'b mut [Aligned<R>], phase: Option<usize>| {
            let shares = layers.iter_mut().zip(&sizes[1..]);
            let shares = shares.map(|(values, &units)| share(values, count::<R>(units), phase));
            shares.collect::<Vec<_>>()
        };
        // This rank's workers gather the inputs of all rows.
        let gathered = gathered_regions(own, regions);
        let input_parts = parts_of(&gathered, regions, input_panels * p);
        let mut inputs = supersteps
            .share(&mut self.inputs, Some(PASS), input_parts)
            .into_iter();
        let mut activations = share_layers(&mut self.activations, Some(PASS));
        let mut slopes = share_layers(&mut self.slopes, None);
        let mut errors = share_layers(&mut self.errors, Some(PASS));
        let panels = hidden_panels::<R>(sizes) * outputs;
        let mut partial_outputs = share(&mut self.partial_outputs, panels, None);
        let mut output_losses = share(&mut self.output_losses, outputs, Some(PASS));
        let row_losses = &mut self.row_losses;
        let mut row_losses = supersteps
            .share(row_losses, Some(PASS), regions.parts(numbers.clone(), 1))
            .into_iter();

        let mut parameters =
            TileParts::new((supersteps, tiles), sizes, weights.with_velocity(velocity));
        let workers = numbers.zip(gathered).zip(tiles.iter().zip(scratch));
        let workers = workers.map(|((number, gathered), (tile, scratch))| RowWorker {
            regions,
            number,
            tile: tile.clone(),
            gathered,
            exchange: exchange.take(),
            inputs: next_part(&mut inputs),
            activations: activations.iter_mut().map(next_part).collect(),
            slopes: slopes.iter_mut().map(next_part).collect(),
            errors: errors.iter_mut().map(next_part).collect(),
            partial_outputs: next_part(&mut partial_outputs),
            output_losses: next_part(&mut output_losses),
            row_losses: next_part(&mut row_losses),
            layers: (parameters.layers.iter_mut())
                .map(|[weights, biases]| LayerTile {
                    weights: next_part(weights),
                    biases: next_part(biases),
                })
                .collect(),
            last: next_part(&mut parameters.last),
            transposed: next_part(&mut parameters.transposed),
            bias: next_part(&mut parameters.bias),
            scratch,
        });
        workers.collect()
    }
}

/// The parameters, and those of their velocity, if there is one.
pub(in crate::gradient::backprop) type WithPackedVelocity<'b, R> = (
    &'b mut PackedParameters<R>,
    Option<&'b mut PackedParameters<R>>,
);

/// Returns the regions whose inputs each worker of this rank gathers: all regions of all ranks, in
/// their order, each worker's own among them.
fn gathered_regions(own: RankWorkers, regions: Regions) -> Vec<Range<usize>> {
    let worker = |w: usize| {
        let start = if w == 0 { 0 } else { own.first + w };
        let end = match w + 1 == own.count {
            true => regions.workers(),
            false => own.first + w + 1,
        };
        start..end
    };
    (0..own.count).map(worker).collect()
}

/// Returns the ranges of consecutive regions in a buffer, with `size` numbers per row of a region.
fn parts_of(gathered: &[Range<usize>], regions: Regions, size: usize) -> Vec<Range<usize>> {
    let part = |gathered: &Range<usize>| {
        let last = regions.part(gathered.end - 1, size);
        regions.part(gathered.start, size).start..last.end
    };
    gathered.iter().map(part).collect()
}

/// The parameters in the workers' tiles; each iterator goes over the workers.
struct TileParts<'b, R> {
    /// Weights and biases of each layer that is partitioned by its own units.
    layers: Vec<[IntoIter<ParameterPart<'b, R>>; 2]>,
    /// Last layer, in blocks.
    last: IntoIter<ParameterPart<'b, R>>,
    /// Last layer, transposed.
    transposed: IntoIter<ParameterPart<'b, R>>,
    /// Biases of the last layer.
    bias: IntoIter<ParameterPart<'b, R>>,
}

impl<'b, R: Real> TileParts<'b, R> {
    /// Partitions the parameters by tiles.
    fn new(
        (supersteps, tiles): (&Supersteps, &[Tile]),
        sizes: &[usize],
        parameters: Buffers<'b, R>,
    ) -> Self {
        let (p, hidden) = (width::<R>(), sizes.len() - 2);
        let strides = Strides::new::<R>(sizes[hidden + 1]);
        let share = |parameters: WithVelocity<'b, R>,
                     block: Option<usize>,
                     part: &dyn Fn(&Tile) -> Range<usize>,
                     size: usize| {
            let block = block.unwrap_or(parameters.0.len());
            let parts = tiles.iter().map(part);
            let parts = parts.map(|part| part.start * size..part.end * size);
            let phase = Some(update_phase(supersteps));
            ParameterPart::share(supersteps, parameters, phase, block, parts)
        };
        let layers = parameters.layers.into_iter().enumerate();
        let layers = layers.map(|(h, (weights, biases))| {
            let block = Some(sizes[h] * p);
            [
                share(weights, block, &|tile| tile.lines[h].clone(), p),
                share(biases, None, &|tile| tile.biases[h].clone(), p),
            ]
        });
        let panels = |tile: &Tile| tile.last.clone();
        // Only the first of the copies of the biases is used.
        let bias = |tile: &Tile| tile.biases.get(hidden).map_or(0..0, Range::clone);
        Self {
            layers: layers.collect(),
            last: share(parameters.last, None, &panels, strides.blocks),
            transposed: share(
                parameters.last_transposed,
                None,
                &panels,
                strides.transposed,
            ),
            bias: share(parameters.last_bias, None, &bias, p),
        }
    }
}
