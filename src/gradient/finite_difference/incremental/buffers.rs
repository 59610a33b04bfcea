//! The partition of the incremental engine's buffers among its workers, and their private memory.

use std::ops::Range;
use std::vec::IntoIter;

use super::Incremental;
use super::exchange::PanelExchange;
use super::tables::{CHUNK, SlotValues};
use super::worker::{IncrementalLayer, IncrementalScratch, IncrementalWorker, RowInputs};
use crate::data::GatheredTargets;
use crate::gradient::finite_difference::unit_panels::panel_height;
use crate::kernels::panels::{Aligned, count, width};
use crate::kernels::value_sharing::EqualValues;
use crate::numeric::Real;
use crate::parallel::{PhasedSlice, Supersteps, partition_share};

impl<R: Real> IncrementalScratch<R> {
    /// Allocates memory for blocks of `block` rows and tables of `slots` slots, layer by layer.
    /// `inputs` is the number of inputs to gather, `features` that of the features among which
    /// equal values are looked for.
    pub(super) fn new(
        sizes: &[usize],
        block: usize,
        slots: &[usize],
        inputs: usize,
        features: usize,
    ) -> Self {
        let p = width::<R>();
        let widest = sizes[1..].iter().copied().max().unwrap_or(0);
        let longest = (slots.iter().copied())
            .chain(sizes.iter().map(|&units| panel_height(units)))
            .max()
            .unwrap_or(0);
        let stage = || Aligned::zeros(CHUNK * panel_height(widest.next_multiple_of(p)) * p);
        Self {
            inputs: Aligned::zeros(inputs),
            outputs: Aligned::zeros(block * p),
            values: SlotValues::with_capacity(longest),
            slots: Vec::with_capacity(longest),
            largest_above: 0.0,
            above: Aligned::zeros(widest * p),
            stages: [stage(), stage()],
            increments: sizes[1..]
                .iter()
                .map(|&units| Aligned::zeros(count::<R>(units) * p))
                .collect(),
            equal_values: EqualValues::new(features),
            targets: GatheredTargets::with_capacity(block),
            loss: 0.0,
            done: 0,
        }
    }
}

/// The buffers of one layer.
struct IncrementalBuffers<'b, R> {
    /// z, y and ȳ of a block.
    units: &'b mut [Aligned<R>; 3],
    tables: &'b mut [R],
    weights: &'b mut [R],
    velocity: Option<&'b mut [R]>,
    sums: &'b mut [R],
}

/// The number of items of a layer, and the range that each worker has.
type Items = (usize, Vec<Range<usize>>);

/// The items of one layer.
struct LayerItems {
    /// The (panel, row) pairs of the units; of the output layer, the rows.
    units: Items,
    /// The (panel, row) pairs of the tables.
    tables: Items,
    /// The (panel, panel row) pairs of θ.
    weights: Items,
}

impl<R: Real> Incremental<R> {
    /// Creates the workers, each with its share of every buffer: the tables are partitioned by
    /// predicted cost, all else evenly.
    pub(super) fn create_workers<'b>(
        &'b mut self,
        supersteps: &Supersteps,
    ) -> Vec<IncrementalWorker<'b, R>> {
        let (block, layers) = (self.block, self.network.layout.layers());
        let items = self.items(supersteps.workers());
        let mut exchange = self.pool.ranks().are_many().then_some(PanelExchange {
            ranks: self.pool.ranks(),
            panels: &self.rank_panels,
            parcels: &mut self.parcels,
        });
        let mut velocity = (self.velocity.as_mut()).map(|panels| panels.layers_mut().iter_mut());
        let buffers = (self.weights.layers_mut().iter_mut())
            .zip(self.sums.layers_mut())
            .zip(&mut self.units)
            .zip(&mut self.tables)
            .map(|(((weights, sums), units), tables)| IncrementalBuffers {
                units,
                tables,
                weights,
                velocity: velocity.as_mut().map(|velocity| {
                    let panels = velocity.next().expect("a velocity has every layer");
                    &mut panels[..]
                }),
                sums,
            });
        let mut worker_layers: Vec<_> = (buffers.zip(items).enumerate())
            .map(|(layer, (buffers, items))| buffers.share(supersteps, (layer, layers), items))
            .collect();

        let (rows, phase) = (even(block, supersteps.workers()), layers - 1);
        let rows = (block, &rows[..]);
        let mut losses = share_items(supersteps, &mut self.losses[..block], phase, rows);
        let mut values = share_items(supersteps, &mut self.values, phase, rows);
        let mut slots = share_items(supersteps, &mut self.value_slots, phase, rows);
        let mut counts = share_items(supersteps, &mut self.value_counts, phase, rows);
        let scratch = self.scratch.iter_mut().take(supersteps.workers());
        let workers = scratch.map(|scratch| IncrementalWorker {
            layers: worker_layers.iter_mut().map(next_part).collect(),
            exchange: exchange.take(),
            inputs: RowInputs {
                values: next_part(&mut values),
                slots: next_part(&mut slots),
                counts: next_part(&mut counts),
            },
            losses: next_part(&mut losses),
            scratch,
        });
        workers.collect()
    }

    /// Partitions the items of each layer among `workers` workers: those of all panels, or of the
    /// panels that this rank owns.
    fn items(&self, workers: usize) -> Vec<LayerItems> {
        let (sizes, block) = (self.network.layout.sizes(), self.block);
        let panels = |layer: usize| count::<R>(sizes[layer + 1]);
        let layers = sizes.len() - 1;
        let owned = &self.rank_panels[self.pool.ranks().rank()];
        // Shares of the owned panels, with `size(layer)` items each.
        let partition = |costs: &[f64], size: &dyn Fn(usize) -> usize| {
            let groups = costs.iter().enumerate();
            let groups: Vec<_> = groups
                .map(|(layer, &cost)| (panels(layer) * size(layer), cost))
                .collect();
            let owned = owned.iter().enumerate();
            let owned: Vec<_> = owned
                .map(|(layer, panels)| panels.start * size(layer)..panels.end * size(layer))
                .collect();
            partition_share(&groups, &owned, workers)
        };
        let tables = partition(&self.table_costs, &|_| block);
        let weights = partition(&vec![1.0; layers], &|layer| panel_height(sizes[layer]));
        let of_layer = |shares: &[Vec<Range<usize>>], layer: usize| {
            let ranges = shares.iter().map(|share| share[layer].clone());
            ranges.collect()
        };
        let items = |layer: usize| {
            let (pairs, panel_rows) = (
                panels(layer) * block,
                panels(layer) * panel_height(sizes[layer]),
            );
            let units = if layer + 1 == layers { block } else { pairs };
            LayerItems {
                units: (units, even(units, workers)),
                tables: (pairs, of_layer(&tables, layer)),
                weights: (panel_rows, of_layer(&weights, layer)),
            }
        };
        (0..layers).map(items).collect()
    }
}

impl<'b, R: Real> IncrementalBuffers<'b, R> {
    /// Partitions the buffers of layer `layer` of `layers` among the workers.
    fn share(
        self,
        supersteps: &Supersteps,
        (layer, layers): (usize, usize),
        items: LayerItems,
    ) -> IntoIter<IncrementalLayer<'b, R>> {
        let [units, tables, weights] = [&items.units, &items.tables, &items.weights]
            .map(|(count, ranges)| (*count, &ranges[..]));
        let mut values =
            (self.units.each_mut()).map(|values| share_items(supersteps, values, layer, units));
        let mut changes = share_items(supersteps, self.tables, layers, tables);
        let mut theta = share_items(supersteps, self.weights, layers + 1, weights);
        let mut velocity =
            (self.velocity).map(|velocity| share_items(supersteps, velocity, None, weights));
        let mut sums = share_items(supersteps, self.sums, None, weights);
        let parts = (0..supersteps.workers()).map(|worker| {
            let [z, y, one_minus_y] = values.each_mut().map(next_part);
            IncrementalLayer {
                unit_range: units.1[worker].clone(),
                z,
                y,
                one_minus_y,
                table_range: tables.1[worker].clone(),
                tables: next_part(&mut changes),
                weight_range: weights.1[worker].clone(),
                weights: next_part(&mut theta),
                velocity: velocity.as_mut().map(next_part),
                sums: next_part(&mut sums),
            }
        });
        parts.collect::<Vec<_>>().into_iter()
    }
}

/// Partitions `items` items evenly.
fn even(items: usize, workers: usize) -> Vec<Range<usize>> {
    (0..workers)
        .map(|w| items * w / workers..items * (w + 1) / workers)
        .collect()
}

/// Partitions `values`, those of `items` items, among the workers by their ranges of items; each item
/// has equally many values.
fn share_items<'b, T>(
    supersteps: &Supersteps,
    values: &'b mut [T],
    write_phase: impl Into<Option<usize>>,
    (items, ranges): (usize, &[Range<usize>]),
) -> IntoIter<PhasedSlice<'b, T>> {
    let size = values.len() / items;
    let ranges = ranges.iter();
    let ranges = ranges.map(|range| range.start * size..range.end * size);
    supersteps.share(values, write_phase, ranges).into_iter()
}

/// Returns the next worker's part.
fn next_part<T>(parts: &mut IntoIter<T>) -> T {
    parts.next().expect("one part per worker")
}
