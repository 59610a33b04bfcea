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
//! θ is stored in panels of units ([X

mod buffers;
mod engine;
mod exchange;
mod sums;
mod tables;
mod worker;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam::utils::CachePadded;

use self::exchange::{PanelExchange, Parcels, RankPanels, panels_of_ranks};
use self::tables::{BYTE_SLOTS, SlotValues};
use self::worker::{DifferenceTask, IncrementalScratch, IncrementalWorker};
use super::Perturbation;
use super::unit_panels::{UnitPanels, panel_height};
use crate::data::{Inputs, Samples};
use crate::gradient::Control;
use crate::kernels::Isa;
use crate::kernels::panels::{Aligned, count, width};
use crate::kernels::update::Rule;
use crate::model::Network;
use crate::numeric::Real;
use crate::parallel::{Supersteps, Workers};

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
    /// The panels that each rank owns.
    rank_panels: Vec<RankPanels>,
    parcels: Parcels,
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
        let slots = table_slots(sizes, perturbation, sparse);
        let table = |layer: usize| count::<R>(sizes[layer + 1]) * slots[layer] * p;
        let row: usize = (0..layout.layers()).map(table).sum();
        let block = (TABLE_BYTES / (row * R::BYTES)).clamp(1, capacity);
        let panels = |units: usize| count::<R>(units) * p;
        let outputs = sizes[layout.layers()];
        let features = if sparse || perturbation.perturbs_units() {
            0
        } else {
            sizes[0]
        };
        let table_costs = table_costs(sizes, perturbation, samples);
        let costs = panel_costs(sizes, block, samples, &table_costs);
        let max_workers = most_workers::<R>(sizes, &costs).min(pool.threads());
        let rank_panels = panels_of_ranks::<R>(sizes, &costs, pool.ranks());
        let inputs = if sparse { 0 } else { block * panels(sizes[0]) };
        let scratch = |_| IncrementalScratch::new(sizes, block, &slots, inputs, features);
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
            rank_panels,
            parcels: Parcels::default(),
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
        let pool = Arc::clone(&self.pool);
        let ranks = pool.ranks();
        let supersteps = match ranks.are_many() {
            false => Supersteps::with_phases(workers, layers + 2),
            true => Supersteps::with_exchanges(workers, layers + 3, &[layers + 1]),
        };
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
            interrupted: AtomicBool::new(false),
            is_exchanged: ranks.are_many(),
        };
        for scratch in &mut self.scratch {
            (scratch.loss, scratch.done) = (*loss, 0);
        }
        let incremental_workers = self.create_workers(&supersteps);
        pool.run(
            supersteps,
            incremental_workers,
            |worker: IncrementalWorker<'_, R>, step| {
                worker.run(&task, step);
            },
        );
        self.slots = slots;
        self.exchange_private(rule.is_none());
        *loss = self.scratch[0].loss;
        (self.scratch[0].done * batch_size).min(order.len())
    }
}

impl<R: Real> Incremental<R> {
    /// Exchanges with other ranks what workers do not share: the gradient, or else the velocity.
    fn exchange_private(&mut self, is_gradient: bool) {
        let private = match is_gradient {
            true => Some(&mut self.sums),
            false => self.velocity.as_mut(),
        };
        let (Some(private), true) = (private, self.pool.ranks().are_many()) else {
            return;
        };
        let layers = private.layers_mut().iter_mut();
        let mut layers: Vec<_> = layers.map(|layer| &mut layer[..]).collect();
        let mut exchange = PanelExchange {
            ranks: self.pool.ranks(),
            panels: &self.rank_panels,
            parcels: &mut self.parcels,
        };
        exchange.exchange(&self.network.layout, &mut layers);
    }
}

/// Returns the number of slots of each layer's table.
fn table_slots(sizes: &[usize], perturbation: Perturbation, sparse: bool) -> Vec<usize> {
    let slots = |(layer, &fan_in): (usize, &usize)| match layer {
        _ if perturbation.perturbs_units() => 1,
        0 if sparse => BYTE_SLOTS,
        _ => panel_height(fan_in),
    };
    let fan_ins = &sizes[..sizes.len() - 1];
    fan_ins.iter().enumerate().map(slots).collect()
}

/// Predicts the cost of one (panel, row) pair of each layer's tables, in multiplications of a
/// panel.
fn table_costs<R: Real>(
    sizes: &[usize],
    perturbation: Perturbation,
    samples: &Samples<R>,
) -> Vec<f64> {
    let cost = |layer: usize| {
        let values = match (layer, samples.distinct()) {
            _ if perturbation.perturbs_units() => 1.0,
            (0, Some(distinct)) => distinct.mean() + 1.0,
            _ => panel_height(sizes[layer]) as f64,
        };
        values * perturbation_cost(sizes, layer)
    };
    (0..sizes.len() - 1).map(cost).collect()
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

/// Predicts the cost of one panel of each layer in a block of `block` rows, in multiplications of a
/// panel.
fn panel_costs<R: Real>(
    sizes: &[usize],
    block: usize,
    samples: &Samples<R>,
    table_costs: &[f64],
) -> Vec<f64> {
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
        block as f64 * (table + inputs)
    };
    table_costs.iter().enumerate().map(cost).collect()
}

/// Returns the largest number of workers for which each has a cost of at least [`MIN_WORKER_COST`]
/// in a block, whose panels have `panel_costs`.
fn most_workers<R: Real>(sizes: &[usize], panel_costs: &[f64]) -> usize {
    let layers = sizes[1..].iter().zip(panel_costs);
    let cost: f64 = layers
        .map(|(&units, cost)| count::<R>(units) as f64 * cost)
        .sum();
    (cost / MIN_WORKER_COST).max(1.0) as usize
}
