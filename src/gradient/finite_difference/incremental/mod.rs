//! Incremental finite differences, forward mode and node perturbation of a network: only what the
//! perturbed unit changes is computed.
//!
//! Cost: N + 1 evaluations (central: 2N; forward mode: 1, and N Jacobian-vector products) that share
//! nearly all their work. A change of a weight into
//! unit j by h moves, in each row, z_j by h·a; then a_j; then the next layer's z by a rank-1 update;
//! from there on the layers take full passes. Inputs that are 0 change nothing, equal inputs of a
//! unit change the same. With one hidden layer the work is about
//! n_L times backprop's, whatever N; from two hidden layers on it grows with N. Node perturbation, with
//! U + 1 evaluations, follows one change a unit instead of one an input value.
//!
//! θ is kept in panels of units ([`UnitPanels`]); the supersteps are in `walk.rs`,
//! their work in `tables.rs` and `sums.rs`.

mod sums;
mod tables;
mod worker;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam_utils::CachePadded;

use self::tables::{BYTE_SLOTS, CHUNK, SlotValues};
use self::worker::{
    DifferenceTask, IncrementalLayer, IncrementalScratch, IncrementalWorker, RowInputs,
};
use super::unit_panels::{UnitPanels, lines};
use super::{IncrementControl, Perturbation};
use crate::data::{Batch, Inputs, Samples};
use crate::gradient::{Control, Descent, GradientEngine, GradientEvaluation, Stopped};
use crate::kernels::Isa;
use crate::kernels::panels::{Aligned, count, width};
use crate::kernels::update::Rule;
use crate::kernels::value_sharing::EqualValues;
use crate::model::{Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::parallel::{PhasedSlice, Supersteps, Workers, cut_by_cost};

/// Memory that a block's tables of changes may take: what stays in the second-level cache.
const TABLES: usize = 1 << 20;

/// Predicted cost, in multiplications of a panel, from which one more worker pays: the calls that each
/// makes for its share, and its own transposed weights, cost as much.
const LEAST_SHARE: f64 = 1500.0;

/// The engine.
pub struct Incremental<R> {
    network: Network,
    team: Arc<Workers>,
    isa: Isa,
    probe: Perturbation,
    /// The most workers that pay.
    most: usize,
    /// Workers of a gradient.
    seats: usize,
    /// What all increments are multiplied by.
    factor: f64,
    /// The relative increment that was measured, if one was.
    measured: f64,
    capacity: usize,
    /// Rows of a block.
    block: usize,
    /// Lines of each layer's table.
    slots: Vec<usize>,
    /// Predicted cost of one (panel, row) pair of each layer's tables.
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
    /// In lines of their own: what neighbors write every step would travel between their caches.
    scratch: Vec<CachePadded<IncrementalScratch<R>>>,
}

impl<R: Real> Incremental<R> {
    /// An engine for mini-batches of at most `capacity` rows of `samples`.
    pub fn new(
        network: &Network,
        probe: Perturbation,
        team: &Arc<Workers>,
        isa: Isa,
        samples: &Samples<R>,
        capacity: usize,
    ) -> Self {
        let layout = &network.layout;
        let (sizes, p) = (layout.sizes(), width::<R>());
        let sparse = matches!(samples.inputs(), Inputs::Sparse(_));
        let slots: Vec<usize> = (0..layout.layers())
            .map(|layer| match layer {
                _ if probe.is_of_units() => 1,
                0 if sparse => BYTE_SLOTS,
                _ => lines(sizes[layer]),
            })
            .collect();
        let table = |layer: usize| count::<R>(sizes[layer + 1]) * slots[layer] * p;
        let row: usize = (0..layout.layers()).map(table).sum();
        let block = (TABLES / (row * R::BYTES)).clamp(1, capacity);
        let panels = |units: usize| count::<R>(units) * p;
        let outputs = sizes[layout.layers()];
        let widest = sizes[1..].iter().copied().max().unwrap_or(0);
        let features = if sparse || probe.is_of_units() {
            0
        } else {
            sizes[0]
        };
        let longest = (slots.iter().copied())
            .chain(sizes.iter().map(|&units| lines(units)))
            .max()
            .unwrap_or(0);
        let table_costs: Vec<f64> = (0..layout.layers())
            .map(|layer| {
                let values = match (layer, samples.distinct()) {
                    _ if probe.is_of_units() => 1.0,
                    (0, Some(distinct)) => distinct.mean() + 1.0,
                    _ => lines(sizes[layer]) as f64,
                };
                values * tail_cost(sizes, layer)
            })
            .collect();
        let most = most_workers::<R>(sizes, block, samples, &table_costs).min(team.threads());
        let stage = || Aligned::zeros(CHUNK * lines(widest.next_multiple_of(p)) * p);
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
            equals: EqualValues::new(features),
            labels: Vec::with_capacity(block),
            loss: 0.0,
            done: 0,
        };
        Self {
            network: network.clone(),
            team: Arc::clone(team),
            isa,
            probe,
            most,
            seats: most,
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
            scratch: (0..team.threads())
                .map(scratch)
                .map(CachePadded::new)
                .collect(),
            slots,
            table_costs,
        }
    }

    /// Mini-batches over `order`; returns how many rows are done, all unless it was stopped.
    #[allow(clippy::too_many_arguments)]
    fn walk(
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
                && (1..=self.team.threads()).contains(&workers)
        );
        let layers = self.network.layout.layers();
        let circle = Supersteps::with_phases(workers, layers + 2);
        let team = Arc::clone(&self.team);
        let network = self.network.clone();
        let slots = std::mem::take(&mut self.slots);
        let bytes = match samples.inputs() {
            Inputs::Sparse(records) if !self.probe.is_of_units() => {
                Some(SlotValues::of_bytes(records))
            }
            _ => None,
        };
        let task = DifferenceTask {
            samples,
            distinct: samples.distinct(),
            bytes: bytes.as_ref(),
            order,
            batch_size,
            rule,
            network: &network,
            probe: self.probe,
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
        let seats = self.seats(&circle, &task);
        team.run(
            circle,
            seats,
            async |seat: IncrementalWorker<'_, R>, step| {
                seat.walk(&task, step).await;
            },
        );
        self.slots = slots;
        *loss = self.scratch[0].loss;
        (self.scratch[0].done * batch_size).min(order.len())
    }

    /// One seat a worker: its share of everything, by predicted cost.
    fn seats<'b>(
        &'b mut self,
        circle: &Supersteps,
        task: &DifferenceTask<'_, R>,
    ) -> Vec<IncrementalWorker<'b, R>> {
        let workers = circle.workers();
        let layout = Arc::clone(&self.network.layout);
        let (sizes, p, block) = (layout.sizes(), width::<R>(), self.block);
        let layers = layout.layers();
        let panels = |layer: usize| count::<R>(sizes[layer + 1]);
        let changes: Vec<(usize, f64)> = (self.table_costs.iter().enumerate())
            .map(|(layer, &cost)| (panels(layer) * block, cost))
            .collect();
        let changes = cut_by_cost(&changes, workers);
        let all_lines: Vec<(usize, f64)> = (0..layers)
            .map(|layer| (panels(layer) * lines(sizes[layer]), 1.0))
            .collect();
        let all_lines = cut_by_cost(&all_lines, workers);
        let even = |items: usize| {
            (0..workers).map(move |w| items * w / workers..items * (w + 1) / workers)
        };
        let scaled = |ranges: Vec<Range<usize>>, size: usize| {
            ranges
                .into_iter()
                .map(move |own| own.start * size..own.end * size)
        };

        let mut held: Vec<Vec<IncrementalLayer<'b, R>>> =
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
            // Pairs of panel and row, or rows of all panels.
            let (own_units, size): (Vec<_>, _) = if last {
                (even(block).collect(), panels(layer) * p)
            } else {
                (even(panels(layer) * block).collect(), p)
            };
            let own_tables: Vec<_> = changes.iter().map(|own| own[layer].clone()).collect();
            let own_lines: Vec<_> = all_lines.iter().map(|own| own[layer].clone()).collect();
            let mut units = units.each_mut().map(|values| {
                circle
                    .share(values, layer, scaled(own_units.clone(), size))
                    .into_iter()
            });
            let table = task.slots[layer] * p;
            let mut tables = circle
                .share(tables, layers, scaled(own_tables.clone(), table))
                .into_iter();
            let mut weights = circle
                .share(weights, layers + 1, scaled(own_lines.clone(), p))
                .into_iter();
            let mut sums = circle
                .share(sums, None, scaled(own_lines.clone(), p))
                .into_iter();
            let mut velocity = velocity.as_mut().map(|velocity| {
                let layer = velocity.next().expect("a velocity has every layer");
                circle
                    .share(layer, None, scaled(own_lines.clone(), p))
                    .into_iter()
            });
            for (worker, held) in held.iter_mut().enumerate() {
                let [z, y, complement] = units.each_mut().map(take);
                held.push(IncrementalLayer {
                    own_units: own_units[worker].clone(),
                    z,
                    y,
                    complement,
                    own_tables: own_tables[worker].clone(),
                    tables: take(&mut tables),
                    own_lines: own_lines[worker].clone(),
                    weights: take(&mut weights),
                    velocity: velocity.as_mut().map(take),
                    sums: take(&mut sums),
                });
            }
        }
        let features = self.values.len() / block;
        let rows: Vec<_> = even(block).collect();
        let phase = layers - 1;
        let mut losses = circle
            .share(&mut self.losses[..block], phase, rows.clone())
            .into_iter();
        let mut values = circle
            .share(&mut self.values, phase, scaled(rows.clone(), features))
            .into_iter();
        let mut slots = circle
            .share(&mut self.value_slots, phase, scaled(rows.clone(), features))
            .into_iter();
        let mut counts = circle
            .share(&mut self.value_counts, phase, rows)
            .into_iter();
        held.into_iter()
            .zip(&mut self.scratch)
            .map(|(layers, scratch)| IncrementalWorker {
                layers,
                inputs: RowInputs {
                    values: take(&mut values),
                    slots: take(&mut slots),
                    counts: take(&mut counts),
                },
                losses: take(&mut losses),
                scratch,
            })
            .collect()
    }
}

fn take<'b, T>(parts: &mut std::vec::IntoIter<PhasedSlice<'b, T>>) -> PhasedSlice<'b, T> {
    parts.next().expect("one part a worker")
}

/// Predicted cost of one perturbation in layer `layer`, in multiplications.
fn tail_cost(sizes: &[usize], layer: usize) -> f64 {
    /// An exponential and a division in multiplications.
    const SIGMOID: f64 = 12.0;
    let size = |layer: usize| sizes.get(layer).map_or(0.0, |&size| size as f64);
    // The unit itself, the rank-1 update above it, full passes from there on.
    let passes: f64 = (layer + 3..sizes.len())
        .map(|above| size(above) * size(above - 1) + SIGMOID * size(above))
        .sum();
    SIGMOID + size(layer + 2) * (1.0 + SIGMOID) + passes
}

impl<R: Real> Descent<R> for Incremental<R> {
    fn load(&mut self, parameters: &Parameters<R>) {
        self.weights.load(parameters);
        self.velocity = None;
    }

    fn store(&mut self, parameters: &mut Parameters<R>) {
        self.weights.store(parameters);
    }

    fn load_velocity(&mut self, velocity: &Parameters<R>) {
        let layout = &self.network.layout;
        self.velocity
            .get_or_insert_with(|| UnitPanels::zeros(layout))
            .load(velocity);
    }

    fn store_velocity(&mut self, velocity: &mut Parameters<R>) -> bool {
        match &mut self.velocity {
            Some(panels) => {
                panels.store(velocity);
                true
            }
            None => false,
        }
    }

    fn descend(
        &mut self,
        samples: &Samples<R>,
        order: &[u32],
        batch_size: usize,
        rule: Rule<R>,
        workers: usize,
        loss: &mut f64,
        control: &Control,
    ) -> Result<usize, Stopped> {
        if rule.momentum != R::ZERO && self.velocity.is_none() {
            self.velocity = Some(UnitPanels::zeros(&self.network.layout));
        }
        let rows = self.walk(
            samples,
            order,
            batch_size,
            Some(rule),
            workers,
            loss,
            control,
        );
        Ok(rows)
    }
}

impl<R: Real> GradientEngine<R> for Incremental<R> {
    fn gradient(
        &mut self,
        parameters: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut Parameters<R>,
        control: &Control,
    ) -> Result<GradientEvaluation, Stopped> {
        self.weights.load(parameters);
        let (rows, workers) = (batch.rows, self.seats);
        let mut loss = 0.0;
        let done = self.walk(
            batch.samples,
            rows,
            rows.len(),
            None,
            workers,
            &mut loss,
            control,
        );
        if done < rows.len() {
            return Err(Stopped::Interrupted);
        }
        self.sums.store(gradient);
        Ok(GradientEvaluation {
            loss: loss / rows.len() as f64,
            tally: self.tally(batch.samples, rows),
        })
    }

    fn tally(&self, samples: &Samples<R>, rows: &[u32]) -> Tally {
        crate::gradient::operation_counts::finite_difference::incremental(
            &self.network,
            &self.probe,
            samples,
            rows,
        )
    }

    fn most_workers(&self) -> usize {
        self.most
    }

    fn limit_workers(&mut self, workers: usize) {
        assert!((1..=self.team.threads()).contains(&workers));
        self.seats = workers;
    }
}

impl<R: Real> IncrementControl<R> for Incremental<R> {
    fn set_increments(&mut self, factor: f64, measured: f64) {
        (self.factor, self.measured) = (factor, measured);
    }
}

/// As many as have work for [`LEAST_SHARE`] in a block of `block` rows.
fn most_workers<R: Real>(
    sizes: &[usize],
    block: usize,
    samples: &Samples<R>,
    table_costs: &[f64],
) -> usize {
    let filled = match samples.inputs() {
        Inputs::Sparse(records) => records.mean_filled(),
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
    (cost / LEAST_SHARE).max(1.0) as usize
}
