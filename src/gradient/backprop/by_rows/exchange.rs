//! What the ranks exchange in a step of backprop: values of their rows, then the parameters that
//! they have updated.
//!
//! Each exchange is one all-gather. A rank sends the activations and δ of all layers for its rows,
//! and the terms of their losses; then the weights and biases of its tiles. Padding is not sent, so
//! the bytes of a step depend on neither the division nor the layout
//! (`operation_counts::communication`). With momentum, velocities are exchanged once per segment of
//! steps; a gradient is exchanged as they are, and no parameters.

use super::shares::{Regions, Tile};
use super::{RankWorkers, RowWorker, has_row_losses};
use crate::gradient::backprop::layers::{StepTask, regions};
use crate::gradient::backprop::packed::{PackedParameters, Strides};
use crate::kernels::panels::{count, transpose, width};
use crate::numeric::Real;
use crate::parallel::cluster::Parcel;
use crate::parallel::{Ranks, Superstep};

/// The exchange with other ranks, made by the first worker of each.
pub(in crate::gradient::backprop) struct RowExchange<'a> {
    /// The ranks.
    pub ranks: &'a Ranks,
    /// The tiles of the workers of all ranks.
    pub tiles: &'a [Tile],
    /// This rank's workers.
    pub own: RankWorkers,
    /// Whether the parameters change: not if only a gradient is computed.
    pub moves: bool,
    /// Memory for the messages.
    pub parcels: &'a mut Parcels,
}

/// Memory for messages, kept from step to step.
#[derive(Default)]
pub(in crate::gradient::backprop) struct Parcels {
    sent: Parcel,
    received: Parcel,
    /// Bytes of each rank's part.
    lengths: Vec<usize>,
}

impl Parcels {
    /// Exchanges what was sent; returns the start of each rank's part of what was received.
    fn gather(&mut self, ranks: &Ranks) {
        let total = self.lengths.iter().sum();
        self.received.clear();
        self.received.bytes.resize(total, 0);
        ranks.all_gather(&self.sent.bytes, &mut self.received.bytes, &self.lengths);
    }
}

/// A buffer of panels of values, region after region: the units of its layer.
struct PanelValues<'a, R> {
    values: &'a mut [R],
    units: usize,
}

impl<R: Real> PanelValues<'_, R> {
    /// Calls `move_panel` for each panel of `rows` rows of region `region`.
    fn visit(
        &mut self,
        (regions, region): (Regions, usize),
        rows: usize,
        mut move_panel: impl FnMut(&mut [R], (usize, usize), usize),
    ) {
        let (p, panels) = (width::<R>(), count::<R>(self.units));
        let region = &mut self.values[regions.part(region, panels * p)];
        for (k, panel) in region.chunks_mut(regions.panel_rows() * p).enumerate() {
            move_panel(panel, (rows, p), p.min(self.units - k * p));
        }
    }
}

impl<R: Real> RowWorker<'_, R> {
    /// Exchanges the values of all ranks' rows, if this is the first worker.
    pub(super) fn exchange_values(
        &mut self,
        task: &StepTask<'_, R>,
        ends: &[usize],
        superstep: &Superstep<'_>,
    ) {
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        let (grid, sizes) = (self.regions, task.sizes);
        let activations = self.activations.iter_mut().zip(&sizes[1..]);
        let errors = self.errors.iter_mut().zip(&sizes[1..]);
        let mut values: Vec<_> = (activations.chain(errors))
            .map(|(slice, &units)| PanelValues {
                values: slice.exchange(superstep),
                units,
            })
            .collect();
        let mut row_losses = None;
        if has_row_losses(task) {
            row_losses = Some(self.row_losses.exchange(superstep));
        } else {
            values.push(PanelValues {
                values: self.output_losses.exchange(superstep),
                units: task.outputs(),
            });
        }
        let numbers: usize = values.iter().map(|values| values.units).sum();
        let row_bytes = numbers * R::BYTES + if row_losses.is_some() { 8 } else { 0 };
        let (own, ranks, parcels) = (exchange.own, exchange.ranks, &mut *exchange.parcels);
        let rank_of = |region: usize| region / own.count;
        let is_own = |region: usize| rank_of(region) == ranks.rank();
        parcels.lengths.clear();
        parcels.lengths.resize(ranks.size(), 0);
        parcels.sent.clear();
        for (region, rows) in regions(ends) {
            parcels.lengths[rank_of(region)] += rows.len() * row_bytes;
            if !is_own(region) {
                continue;
            }
            for values in &mut values {
                values.visit((grid, region), rows.len(), |panel, shape, columns| {
                    parcels.sent.put_panel(panel, shape, columns);
                });
            }
            if let Some(losses) = &row_losses {
                let start = grid.part(region, 1).start;
                parcels.sent.put(&losses[start..start + rows.len()]);
            }
        }
        parcels.gather(ranks);
        let mut next = 0;
        for (region, rows) in regions(ends) {
            parcels.received.seek(next);
            next += rows.len() * row_bytes;
            if is_own(region) {
                continue;
            }
            for values in &mut values {
                values.visit((grid, region), rows.len(), |panel, shape, columns| {
                    parcels.received.take_panel(panel, shape, columns);
                });
            }
            if let Some(losses) = &mut row_losses {
                let start = grid.part(region, 1).start;
                let losses = &mut losses[start..start + rows.len()];
                parcels.received.take(losses);
            }
        }
    }

    /// Exchanges the parameters of all ranks' tiles, if this is the first worker and they have
    /// changed.
    pub(super) fn exchange_parameters(
        &mut self,
        task: &StepTask<'_, R>,
        superstep: &Superstep<'_>,
    ) {
        let Some(exchange) = self.exchange.as_mut().filter(|exchange| exchange.moves) else {
            return;
        };
        let layers = self.layers.iter_mut().map(|layer| {
            let weights = layer.weights.values.exchange(superstep);
            (weights, layer.biases.values.exchange(superstep))
        });
        let mut parameters = TileParameters {
            sizes: task.sizes,
            bias: task.bias,
            layers: layers.collect(),
            last: self.last.values.exchange(superstep),
            transposed: self.transposed.values.exchange(superstep),
            last_bias: self.bias.values.exchange(superstep),
        };
        parameters.exchange(exchange);
    }
}

/// Exchanges velocities, of which each rank has those of its tiles.
pub(in crate::gradient::backprop) fn exchange_velocity<R: Real>(
    velocity: &mut PackedParameters<R>,
    (sizes, bias): (&[usize], bool),
    exchange: &mut RowExchange<'_>,
) {
    let buffers = velocity.with_velocity(None);
    let layers = buffers.layers.into_iter();
    let mut parameters = TileParameters {
        sizes,
        bias,
        layers: layers
            .map(|((weights, _), (biases, _))| (weights, biases))
            .collect(),
        last: buffers.last.0,
        transposed: buffers.last_transposed.0,
        last_bias: buffers.last_bias.0,
    };
    parameters.exchange(exchange);
}

/// Packed parameters, or velocities, of all tiles.
struct TileParameters<'a, R> {
    sizes: &'a [usize],
    bias: bool,
    /// Weights and biases of each layer that is partitioned by its own units.
    layers: Vec<(&'a mut [R], &'a mut [R])>,
    last: &'a mut [R],
    transposed: &'a mut [R],
    last_bias: &'a mut [R],
}

impl<R: Real> TileParameters<'_, R> {
    /// Exchanges the tiles of all ranks.
    fn exchange(&mut self, exchange: &mut RowExchange<'_>) {
        let RowExchange {
            ranks,
            tiles,
            own,
            parcels,
            ..
        } = exchange;
        parcels.lengths.clear();
        parcels.sent.clear();
        for (rank, tiles) in tiles.chunks(own.count).enumerate() {
            let mut numbers = 0;
            for tile in tiles {
                self.visit(tile, |panel, (rows, width), columns| {
                    numbers += rows * columns;
                    if rank == ranks.rank() {
                        parcels.sent.put_panel(panel, (rows, width), columns);
                    }
                });
            }
            parcels.lengths.push(numbers * R::BYTES);
        }
        parcels.gather(ranks);
        let mut next = 0;
        for (rank, tiles) in tiles.chunks(own.count).enumerate() {
            parcels.received.seek(next);
            next += parcels.lengths[rank];
            if rank == ranks.rank() {
                continue;
            }
            for tile in tiles {
                self.visit(tile, |panel, shape, columns| {
                    parcels.received.take_panel(panel, shape, columns);
                });
                self.transpose_last(tile);
            }
        }
    }

    /// Calls `move_panel` for each part of a panel that belongs to `tile`, with its shape and the
    /// number of columns in use.
    fn visit(&mut self, tile: &Tile, mut move_panel: impl FnMut(&mut [R], (usize, usize), usize)) {
        let (p, hidden) = (width::<R>(), self.sizes.len() - 2);
        for (h, lines) in tile.lines.iter().enumerate() {
            let (fan_in, units) = (self.sizes[h], self.sizes[h + 1]);
            for (q, panel) in self.layers[h].0.chunks_mut(fan_in * p).enumerate() {
                let part = &mut panel[lines.start * p..lines.end * p];
                move_panel(part, (lines.len(), p), p.min(units - q * p));
            }
        }
        let outputs = self.sizes[hidden + 1];
        let strides = Strides::new::<R>(outputs);
        for panel in tile.last.clone() {
            let blocks = &mut self.last[panel * strides.blocks..];
            let rows = p.min(self.sizes[hidden] - panel * p);
            for q in 0..count::<R>(outputs) {
                move_panel(&mut blocks[q * p * p..], (rows, p), p.min(outputs - q * p));
            }
        }
        if !self.bias {
            return;
        }
        for (h, panels) in tile.biases.iter().enumerate() {
            let units = self.sizes[h + 1];
            let biases = match self.layers.get_mut(h) {
                Some((_, biases)) => &mut **biases,
                None => &mut *self.last_bias,
            };
            for panel in panels.clone() {
                let part = &mut biases[panel * p..(panel + 1) * p];
                move_panel(part, (1, p), p.min(units - panel * p));
            }
        }
    }

    /// Transposes the blocks of the last layer that belong to `tile`.
    fn transpose_last(&mut self, tile: &Tile) {
        let (p, outputs) = (width::<R>(), self.sizes[self.sizes.len() - 1]);
        let strides = Strides::new::<R>(outputs);
        for panel in tile.last.clone() {
            let blocks = &self.last[panel * strides.blocks..];
            let to = &mut self.transposed[panel * strides.transposed..][..outputs * p];
            for (from, to) in blocks.chunks_exact(p * p).zip(to.chunks_mut(p * p)) {
                transpose(from, to, p);
            }
        }
    }
}
