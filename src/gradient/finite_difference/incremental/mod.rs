//! The incremental engine of finite differences, forward mode and node perturbation: it computes
//! only what a perturbation changes.
//!
//! Cost: N + 1 evaluations (central: 2N; forward mode: 1, and N Jacobian-vector products) that
//! share nearly all their work. When a weight of unit j changes by h, then in each row z_j changes
//! by h·a (a is the weight's input), a_j changes with it, and the next layer's z takes a rank-1
//! update; the layers above take full passes. An input of 0 changes nothing, and equal inputs of a
//! unit cause equal changes, computed once. With one hidden layer the work is about n_L times
//! backprop's, whatever N; with more hidden layers it grows with N. Node perturbation, with U + 1
//! evaluations for U units, propagates one change per unit instead of one per input value.
//!
//! θ is stored in panels of units ([`UnitPanels`]). The supersteps are in `worker.rs`, the tables
//! of changes in `tables.rs`, and their sums in `sums.rs`.

mod engine;
mod sums;
mod tables;
mod worker;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam::utils::CachePadded;

use self::tables::{BYTE_SLOTS, CHUNK, SlotValues};
use self::worker::{
    DifferenceTask, IncrementalLayer, IncrementalScratch, IncrementalWorker, RowInputs,
};
use super::Perturbation;
use super::unit_panels::{UnitPanels, panel_height};
use crate::data::{Inputs, Samples};
use crate::gradient::Control;
use crate::kernels::Isa;
use crate::kernels::panels::{Aligned, count, width};
use crate::kernels::update::Rule;
use crate::kernels::value_sharing::EqualValues;
use crate::model::Network;
use crate::numeric::Real;
use crate::parallel::{PhasedSlice, Supersteps, Workers, partition_by_cost};

/// The number of bytes that a block's tables of changes may take, so that they stay in the
/// second-level cache.
const TABLE_BYTES: usize = 1 << 20;

/// The predicted cost, in multiplications of a panel, for which one more worker pays off: the calls
/// of a worker and its transposition of weights cost as much.
const MIN_WORKER_COST: f64 = 1500.0;

/// The incremental engine.
pub struct Incremental<R> {
    network: Network,
    pool: Arc<Workers>,
    isa: Isa,
    perturbation: Perturbation,
    /// The largest number of workers that pays off.
    max_workers: usize,
    /// The number of workers of a gradient.
    worker_count: usize,
    /// The factor that all increments are multiplied by.
    factor: f64,
    /// The measured relative increment, or NaN.
    measured: f64,
    capacity: usize,
    /// The number of rows of a block.
    block: usize,
    /// The number of slots of each layer's table.
    slots: Vec<usize>,
    /// The predicted cost of one (panel, row) pair of each layer's tables, in multiplications of a
    /// panel.
    table_costs: Vec<f64>,
    weights: UnitPanels<R>,
    velocity: Option<UnitPanels<R>>,
    sums: UnitPanels<R>,
    /// z, y, ȳ, layer by layer.
    units: Vec<[Aligned<R>; 3]>,
    tables: Vec<Aligned<R>>,
    losses: Aligned<R>,
    values: Aligned<R>,
    value_slots: Vec<u32>,
    value_counts: Vec<u32>,
    /// The workers' private memory, padded to cache lines: what one worker writes in every step
    /// would otherwise evict its neighbor's line.
    scratch: Vec<CachePadded<IncrementalScratch<R>>>,
}

impl<R: Real> Incremental<R> {
    /// Creates an engine for mini-batches of at most `capacity` rows of `samples`.
    pub fn new(
        network: &Network,
        perturbation: Perturbation,
        pool: &Arc<Workers>,
        isa: Isa,
        samples: &Samples<R>,
        capacity: usize,
    ) -> Self {
        let layout = &network.layout;
        let (sizes, p) = (layout.sizes(), width::<R>());
        let sparse = matches!(samples.inputs(), Inputs::Sparse(_));
        let slots: Vec<usize> = (0..layout.layers())
            .map(|layer| match layer {
                _ if perturbation.perturbs_units() => 1,
                0 if sparse => BYTE_SLOTS,
                _ => panel_height(sizes[layer]),
            })
            .collect();
        let table = |layer: usize| count::<R>(sizes[layer + 1]) * slots[layer] * p;
        let row: usize = (0..layout.layers()).map(table).sum();
        let block = (TABLE_BYTES / (row * R::BYTES)).clamp(1, capacity);
        let panels = |units: usize| count::<R>(units) * p;
        let outputs = sizes[layout.layers()];
        let widest = sizes[1..].iter().copied().max().unwrap_or(0);
        let features = if sparse || perturbation.perturbs_units() {
            0
        } else {
            sizes[0]
        };
        let longest = (slots.iter().copied())
            .chain(sizes.iter().map(|&units| panel_height(units)))
            .max()
            .unwrap_or(0);
        let table_costs: Vec<f64> = (0..layout.layers())
            .map(|layer| {
                let values = match (layer, samples.distinct()) {
                    _ if perturbation.perturbs_units() => 1.0,
                    (0, Some(distinct)) => distinct.mean() + 1.0,
                    _ => panel_height(sizes[layer]) as f64,
                };
                values * perturbation_cost(sizes, layer)
            })
            .collect();
        let max_workers =
            most_workers::<R>(sizes, block, samples, &table_costs).min(pool.threads());
        let stage = || Aligned::zeros(CHUNK * panel_height(widest.next_multiple_of(p)) * p);
        let scratch = |_| IncrementalScratch {
            inputs: Aligned::zeros(if sparse { 0 } else { block * panels(sizes[0]) }),
            outputs: Aligned::zeros(block * p),
            values: SlotValues::with_capacity(longest),
            slots: Vec::with_capacity(longest),
            largest_above: 0.0,
            above: Aligned::zeros(widest * p),
            stages: [stage(), stage()],
            increments: sizes[1..]
                .iter()
                .map(|&units| Aligned::zeros(panels(units)))
                .collect(),
            equal_values: EqualValues::new(features),
            labels: Vec::with_capacity(block),
            loss: 0.0,
            done: 0,
        };
        Self {
            network: network.clone(),
            pool: Arc::clone(pool),
            isa,
            perturbation,
            max_workers,
            worker_count: max_workers,
            factor: 1.0,
            measured: f64::NAN,
            capacity,
            block,
            weights: UnitPanels::zeros(layout),
            velocity: None,
            sums: UnitPanels::zeros(layout),
            units: sizes[1..]
                .iter()
                .map(|&units| [(); 3].map(|()| Aligned::zeros(block * panels(units))))
                .collect(),
            tables: (0..layout.layers())
                .map(|layer| Aligned::zeros(block * table(layer)))
                .collect(),
            losses: Aligned::zeros(block.max(outputs.min(1))),
            values: Aligned::zeros(block * features),
            value_slots: vec![0; block * features],
            value_counts: vec![0; block],
            scratch: (0..pool.threads())
                .map(scratch)
                .map(CachePadded::new)
                .collect(),
            slots,
            table_costs,
        }
    }

    /// Processes the mini-batches of `order`; returns the number of rows processed: all, unless
    /// `control` was stopped.
    #[allow(clippy::too_many_arguments)]
    fn run_batches(
        &mut self,
        samples: &Samples<R>,
        order: &[u32],
        batch_size: usize,
        rule: Option<Rule<R>>,
        workers: usize,
        loss: &mut f64,
        control: &Control,
    ) -> usize {
        assert!(
            (1..=self.capacity).contains(&batch_size)
                && (1..=self.pool.threads()).contains(&workers)
        );
        let layers = self.network.layout.layers();
        let supersteps = Supersteps::with_phases(workers, layers + 2);
        let pool = Arc::clone(&self.pool);
        let network = self.network.clone();
        let slots = std::mem::take(&mut self.slots);
        let bytes = match samples.inputs() {
            Inputs::Sparse(records) if !self.perturbation.perturbs_units() => {
                Some(SlotValues::of_bytes(records))
            }
            _ => None,
        };
        let task = DifferenceTask {
            samples,
            distinct_bytes: samples.distinct(),
            bytes: bytes.as_ref(),
            order,
            batch_size,
            rule,
            network: &network,
            perturbation: self.perturbation,
            factor: self.factor,
            measured: self.measured,
            isa: self.isa,
            block: self.block,
            slots: &slots,
            control,
            stopping: AtomicBool::new(false),
        };
        for scratch in &mut self.scratch {
            (scratch.loss, scratch.done) = (*loss, 0);
        }
        let incremental_workers = self.create_workers(&supersteps, &task);
        pool.run(
            supersteps,
            incremental_workers,
            |worker: IncrementalWorker<'_, R>, step| {
                worker.run(&task, step);
            },
        );
        self.slots = slots;
        *loss = self.scratch[0].loss;
        (self.scratch[0].done * batch_size).min(order.len())
    }

    /// Creates the workers, each with its share of every buffer: the tables are partitioned by
    /// predicted cost, all else evenly.
    fn create_workers<'b>(
        &'b mut self,
        supersteps: &Supersteps,
        task: &DifferenceTask<'_, R>,
    ) -> Vec<IncrementalWorker<'b, R>> {
        let workers = supersteps.workers();
        let layout = Arc::clone(&self.network.layout);
        let (sizes, p, block) = (layout.sizes(), width::<R>(), self.block);
        let layers = layout.layers();
        let panels = |layer: usize| count::<R>(sizes[layer + 1]);
        let table_shares: Vec<(usize, f64)> = (self.table_costs.iter().enumerate())
            .map(|(layer, &cost)| (panels(layer) * block, cost))
            .collect();
        let table_shares = partition_by_cost(&table_shares, workers);
        let weight_shares: Vec<(usize, f64)> = (0..layers)
            .map(|layer| (panels(layer) * panel_height(sizes[layer]), 1.0))
            .collect();
        let weight_shares = partition_by_cost(&weight_shares, workers);
        let even = |items: usize| {
            (0..workers).map(move |w| items * w / workers..items * (w + 1) / workers)
        };
        let scaled = |ranges: Vec<Range<usize>>, size: usize| {
            ranges
                .into_iter()
                .map(move |range| range.start * size..range.end * size)
        };

        let mut worker_layers: Vec<Vec<IncrementalLayer<'b, R>>> =
            (0..workers).map(|_| Vec::new()).collect();
        let mut velocity = self
            .velocity
            .as_mut()
            .map(|velocity| velocity.layers_mut().iter_mut());
        let buffers = self
            .weights
            .layers_mut()
            .iter_mut()
            .zip(self.sums.layers_mut())
            .zip(&mut self.units)
            .zip(&mut self.tables);
        for (layer, (((weights, sums), units), tables)) in buffers.enumerate() {
            let last = layer + 1 == layers;
            // The items are (panel, row) pairs, or rows of all output panels.
            let (unit_ranges, size): (Vec<_>, _) = if last {
                (even(block).collect(), panels(layer) * p)
            } else {
                (even(panels(layer) * block).collect(), p)
            };
            let table_ranges: Vec<_> = table_shares
                .iter()
                .map(|share| share[layer].clone())
                .collect();
            let weight_ranges: Vec<_> = weight_shares
                .iter()
                .map(|share| share[layer].clone())
                .collect();
            let mut units = units.each_mut().map(|values| {
                supersteps
                    .share(values, layer, scaled(unit_ranges.clone(), size))
                    .into_iter()
            });
            let table = task.slots[layer] * p;
            let mut tables = supersteps
                .share(tables, layers, scaled(table_ranges.clone(), table))
                .into_iter();
            let mut weights = supersteps
                .share(weights, layers + 1, scaled(weight_ranges.clone(), p))
                .into_iter();
            let mut sums = supersteps
                .share(sums, None, scaled(weight_ranges.clone(), p))
                .into_iter();
            let mut velocity = velocity.as_mut().map(|velocity| {
                let layer = velocity.next().expect("a velocity has every layer");
                supersteps
                    .share(layer, None, scaled(weight_ranges.clone(), p))
                    .into_iter()
            });
            for (worker, worker_layers) in worker_layers.iter_mut().enumerate() {
                let [z, y, one_minus_y] = units.each_mut().map(next_part);
                worker_layers.push(IncrementalLayer {
                    unit_range: unit_ranges[worker].clone(),
                    z,
                    y,
                    one_minus_y,
                    table_range: table_ranges[worker].clone(),
                    tables: next_part(&mut tables),
                    weight_range: weight_ranges[worker].clone(),
                    weights: next_part(&mut weights),
                    velocity: velocity.as_mut().map(next_part),
                    sums: next_part(&mut sums),
                });
            }
        }
        let features = self.values.len() / block;
        let rows: Vec<_> = even(block).collect();
        let phase = layers - 1;
        let mut losses = supersteps
            .share(&mut self.losses[..block], phase, rows.clone())
            .into_iter();
        let mut values = supersteps
            .share(&mut self.values, phase, scaled(rows.clone(), features))
            .into_iter();
        let mut slots = supersteps
            .share(&mut self.value_slots, phase, scaled(rows.clone(), features))
            .into_iter();
        let mut counts = supersteps
            .share(&mut self.value_counts, phase, rows)
            .into_iter();
        worker_layers
            .into_iter()
            .zip(&mut self.scratch)
            .map(|(layers, scratch)| IncrementalWorker {
                layers,
                inputs: RowInputs {
                    values: next_part(&mut values),
                    slots: next_part(&mut slots),
                    counts: next_part(&mut counts),
                },
                losses: next_part(&mut losses),
                scratch,
            })
            .collect()
    }
}

/// Returns the next worker's part.
fn next_part<'b, T>(parts: &mut std::vec::IntoIter<PhasedSlice<'b, T>>) -> PhasedSlice<'b, T> {
    parts.next().expect("one part per worker")
}

/// Predicts the cost of one perturbation in layer `layer`, in multiplications.
fn perturbation_cost(sizes: &[usize], layer: usize) -> f64 {
    /// The cost of an exponential and a division, in multiplications.
    const SIGMOID: f64 = 12.0;
    let size = |layer: usize| sizes.get(layer).map_or(0.0, |&size| size as f64);
    // Full passes of the layers above the next one; besides them, the unit itself and the rank-1
    // update of the next layer.
    let passes: f64 = (layer + 3..sizes.len())
        .map(|above| size(above) * size(above - 1) + SIGMOID * size(above))
        .sum();
    SIGMOID + size(layer + 2) * (1.0 + SIGMOID) + passes
}

/// Returns the largest number of workers for which each has a cost of at least [`MIN_WORKER_COST`]
/// in a block of `block` rows.
fn most_workers<R: Real>(
    sizes: &[usize],
    block: usize,
    samples: &Samples<R>,
    table_costs: &[f64],
) -> usize {
    let filled = match samples.inputs() {
        Inputs::Sparse(records) => records.mean_nonzeros(),
        _ => sizes[0] as f64,
    };
    let cost = |(layer, table): (usize, &f64)| {
        let inputs = if layer == 0 {
            filled
        } else {
            sizes[layer] as f64
        };
        (count::<R>(sizes[layer + 1]) * block) as f64 * (table + inputs)
    };
    let cost: f64 = table_costs.iter().enumerate().map(cost).sum();
    (cost / MIN_WORKER_COST).max(1.0) as usize
}
