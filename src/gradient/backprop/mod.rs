//! Backprop: the gradient by one forward and one backward pass over the mini-batch.
//!
//! Cost: 1 evaluation and one backward pass, whatever N is.
//!
//! Parallelism: two splits of the work, which give the same bits, since each element of a product
//! and of the gradient is one chain in a fixed order ([`Split`]; training chooses by measurement).
//! By rows (`by_rows/`), each worker computes activations and errors of its rows of the
//! mini-batch, then the gradient and the update of its tile of the parameters: two meetings a step.
//! By units (`by_units/`), each worker owns panels of units (one cache line: 16 units in f32, 8 in
//! f64) and computes their values for all rows; their weights never leave its core. Several ranks
//! divide a step by rows, and exchange values and parameters. `layers.rs` has the computations that
//! both share; the engine keeps θ in a packed layout
//! ([`PackedParameters`]).
//!
//! [`Backprop::numeric`] runs the same passes, but replaces two analytic derivatives by difference
//! quotients, σ′(z) of each hidden unit and ∂L/∂z of each output:
//!
//! ```text
//! σ′(z) ≈ (σ(z + h) − σ(z))/h      ∂L/∂z_k ≈ (L(z + h·e_k) − L(z))/h
//! ```
//!
//! The chain rule, and with it the cost's order, is that of backprop. The error is that of a
//! forward difference: h·max|σ″|/2 ≤ .05·h of truncation, and about 2u/h of round-off relative to
//! each slope.

mod by_rows;
mod by_units;
mod layers;
pub mod limits;
pub mod packed;
mod parameter_part;
mod stopping;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam::utils::CachePadded;

use self::by_rows::{
    Parcels, RankWorkers, Regions, RowBuffers, RowExchange, RowWorker, exchange_velocity, tiles,
};
use self::by_units::{UnitBuffers, UnitWorker};
use self::layers::{BackpropScratch, OutputScratch, StepTask};
use self::packed::{PackedParameters, owned_layers};
use self::stopping::{StepStart, is_long};
use super::finite_difference::{Arithmetic, DifferenceConfig};
use super::operation_counts;
use super::{Control, Descent, GradientEngine, GradientEvaluation, Stopped};
use crate::data::{Batch, GatheredTargets, Samples};
use crate::kernels::Isa;
use crate::kernels::panels::{Aligned, count, width};
use crate::kernels::sparse::Workspace;
use crate::kernels::update::Rule;
use crate::model::{Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::parallel::{Ranks, Split, Supersteps, Workers};

/// Configuration of `method = "numeric-backprop"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NumericBackpropConfig {
    /// Increment h of every pre-activation; `None`: the power of two nearest to √u.
    pub increment: Option<f64>,
}

impl NumericBackpropConfig {
    /// Returns the difference scheme that replaces the derivatives of σ and of the loss.
    pub fn difference(&self) -> DifferenceConfig {
        DifferenceConfig::forward(Arithmetic::Plain, self.increment)
    }

    /// Returns the increment h in the precision of `R`.
    pub fn increment<R: Real>(&self) -> R {
        let DifferenceConfig {
            scheme,
            arithmetic,
            increment,
            ..
        } = self.difference();
        increment.for_unit(scheme, arithmetic, 0.0, f64::NAN)
    }
}

/// Scratch memory per worker. Padded to cache lines: a line that two workers wrote in every step
/// would travel between their caches.
type Scratch<R> = Vec<CachePadded<BackpropScratch<R>>>;

/// Gradient engine that computes backprop, analytic or numeric.
pub struct Backprop<R> {
    network: Network,
    pool: Arc<Workers>,
    /// The ranks that divide a step; one if each computes the gradient of rows of its own.
    ranks: Ranks,
    isa: Isa,
    split: Split,
    /// Number of workers of a gradient; `None`: [`GradientEngine::most_workers`].
    worker_limit: Option<usize>,
    capacity: usize,
    /// Increment h of numeric backprop; `None`: analytic derivatives.
    increment: Option<R>,
    weights: PackedParameters<R>,
    velocity: Option<PackedParameters<R>>,
    gradient: Option<PackedParameters<R>>,
    /// θ before a step that can be stopped; `None` until there is one.
    step_start: Option<StepStart<R>>,
    by_units: UnitBuffers<R>,
    /// Empty until the first step that is split by rows.
    by_rows: RowBuffers<R>,
    parcels: Parcels,
    scratch: Scratch<R>,
}

impl<R: Real> Backprop<R> {
    /// Creates an engine for mini-batches of at most `capacity` rows.
    pub fn new(network: &Network, pool: &Arc<Workers>, isa: Isa, capacity: usize) -> Self {
        let layout = &network.layout;
        let (sizes, p) = (layout.sizes(), width::<R>());
        let by_units = UnitBuffers::new(layout, capacity);
        let panel_rows = by_units.panel_rows;
        let outputs = count::<R>(sizes[layout.layers()]);
        let widest = sizes[1..].iter().copied().max().unwrap_or(0);
        let scratch = |_| BackpropScratch {
            inputs: Aligned::zeros(count::<R>(sizes[0]) * panel_rows * p),
            outputs: Aligned::zeros(outputs * panel_rows * p),
            transposed: Aligned::zeros(count::<R>(widest) * p * p),
            tile: Aligned::zeros(outputs.max(2) * p * p),
            output: OutputScratch {
                targets: GatheredTargets::with_capacity(capacity),
                losses: Vec::with_capacity(capacity),
                changes: Aligned::zeros(0),
            },
            sparse: Workspace::new(sizes[0]),
            loss: 0.0,
        };
        Self {
            network: network.clone(),
            pool: Arc::clone(pool),
            ranks: pool.ranks().clone(),
            isa,
            split: Split::Units,
            worker_limit: None,
            capacity,
            increment: None,
            weights: PackedParameters::zeros(layout, pool.threads()),
            velocity: None,
            gradient: None,
            step_start: None,
            by_units,
            by_rows: RowBuffers::new(),
            parcels: Parcels::default(),
            scratch: (0..pool.threads())
                .map(scratch)
                .map(CachePadded::new)
                .collect(),
        }
    }

    /// Creates an engine that evaluates σ and the loss, but not their derivatives.
    pub fn numeric(
        network: &Network,
        config: NumericBackpropConfig,
        pool: &Arc<Workers>,
        isa: Isa,
        capacity: usize,
    ) -> Self {
        let mut engine = Self::new(network, pool, isa, capacity);
        engine.increment = Some(config.increment());
        for scratch in &mut engine.scratch {
            scratch.output.changes = Aligned::zeros(scratch.outputs.len());
        }
        engine
    }

    /// Lets each rank compute gradients of rows of its own, without any exchange.
    pub fn on_one_rank(&mut self) {
        self.ranks = Ranks::alone();
    }

    /// Returns the split of the next steps: several ranks divide by rows.
    fn split(&self) -> Split {
        match self.ranks.are_many() {
            true => Split::Rows,
            false => self.split,
        }
    }

    /// Steps over the rows of `order` by `rule`, in mini-batches of `batch_size` rows. Adds the
    /// rows' losses,
    /// each before its step, to the sum in the first worker's scratch memory, and returns that sum.
    /// With a flag to `stop`, nothing is computed once it is set, and sum and θ are unspecified.
    fn run_batches(
        &mut self,
        Batch {
            samples,
            rows: order,
        }: Batch<'_, R>,
        batch_size: usize,
        rule: Rule<R>,
        workers: usize,
        mut velocity: Option<&mut PackedParameters<R>>,
        stop: Option<&AtomicBool>,
    ) -> f64 {
        assert!(
            (1..=self.capacity).contains(&batch_size)
                && (1..=self.pool.threads()).contains(&workers)
        );
        self.weights.copy_biases();
        if let Some(velocity) = &mut velocity {
            velocity.copy_biases();
        }
        let layout = Arc::clone(&self.network.layout);
        let (split, size) = (self.split(), self.ranks.size());
        let class_weights = self.network.class_weights.clone();
        let workers = match split {
            Split::Units => workers,
            // At most as many as there are rows.
            Split::Rows => workers.min(batch_size.min(order.len()).div_ceil(size).max(1)),
        };
        let regions = Regions::new(self.capacity, size * workers);
        let panel_rows = match split {
            Split::Units => self.by_units.panel_rows,
            Split::Rows => regions.panel_rows(),
        };
        let task = StepTask {
            samples,
            order,
            batch_size,
            rule,
            isa: self.isa,
            sizes: layout.sizes(),
            bias: layout.has_bias(),
            output_loss: self.network.output_loss(),
            class_weights: &class_weights,
            stride: panel_rows * width::<R>(),
            increment: self.increment,
            stop,
            is_exchanged: self.ranks.are_many(),
        };
        match split {
            Split::Units => {
                let supersteps = Supersteps::new(workers);
                let (weights, scratch) = (&mut self.weights, &mut self.scratch);
                let states =
                    (self.by_units).workers(&layout, &supersteps, weights, velocity, scratch);
                self.pool.run(
                    supersteps,
                    states,
                    |worker: UnitWorker<'_, R>, superstep| {
                        worker.train(&task, superstep);
                    },
                );
            }
            Split::Rows => self.run_by_rows(&task, regions, workers, velocity),
        }
        let loss = self.scratch[0].loss;
        for scratch in &mut self.scratch {
            scratch.loss = 0.0;
        }
        loss
    }
}

impl<R: Real> Backprop<R> {
    /// Steps over the task by rows, with `workers` workers of each rank.
    fn run_by_rows(
        &mut self,
        task: &StepTask<'_, R>,
        regions: Regions,
        workers: usize,
        mut velocity: Option<&mut PackedParameters<R>>,
    ) {
        let (ranks, sizes) = (&self.ranks, task.sizes);
        let tiles = tiles(task.samples, sizes, task.batch_size, regions.workers());
        let own = RankWorkers {
            first: ranks.rank() * workers,
            count: workers,
        };
        let supersteps = by_rows::supersteps(workers, ranks.are_many());
        let exchange = ranks.are_many().then_some(RowExchange {
            ranks,
            tiles: &tiles,
            own,
            moves: task.rule != Rule::gradient_only(task.rule.l2),
            parcels: &mut self.parcels,
        });
        let shares = (&supersteps, own, regions, &tiles[..]);
        let parameters = (&mut self.weights, velocity.as_deref_mut());
        let scratch = &mut self.scratch;
        let states = (self.by_rows).workers(task, shares, parameters, exchange, scratch);
        self.pool
            .run(supersteps, states, |worker: RowWorker<'_, R>, superstep| {
                worker.train(task, superstep);
            });
        if let (Some(velocity), true) = (velocity, ranks.are_many()) {
            let mut exchange = RowExchange {
                ranks,
                tiles: &tiles,
                own,
                moves: true,
                parcels: &mut self.parcels,
            };
            exchange_velocity(velocity, (sizes, task.bias), &mut exchange);
        }
    }
}

fn next_part<I: Iterator>(parts: &mut I) -> I::Item {
    parts
        .next()
        .expect("one part per worker, one buffer per layer")
}

impl<R: Real> Descent<R> for Backprop<R> {
    fn load(&mut self, parameters: &Parameters<R>) {
        self.weights.load(parameters);
        self.velocity = None;
    }

    fn store(&mut self, parameters: &mut Parameters<R>) {
        self.weights.store(parameters);
    }

    fn load_velocity(&mut self, velocity: &Parameters<R>) {
        let copies = self.pool.threads();
        let layout = &self.network.layout;
        self.velocity
            .get_or_insert_with(|| PackedParameters::zeros(layout, copies))
            .load(velocity);
    }

    fn store_velocity(&mut self, velocity: &mut Parameters<R>) -> bool {
        match &mut self.velocity {
            Some(packed) => {
                packed.store(velocity);
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
            self.velocity = Some(PackedParameters::zeros(
                &self.network.layout,
                self.pool.threads(),
            ));
        }
        let mut velocity = self.velocity.take();
        let layout = Arc::clone(&self.network.layout);
        // A step that can be stopped is a run of its own.
        let rows_of_run = match is_long(&layout, batch_size.min(order.len())) {
            true => batch_size,
            false => order.len().max(1),
        };
        let mut done = 0;
        for rows in order.chunks(rows_of_run) {
            let is_long = is_long(&layout, rows.len().min(batch_size));
            let start = is_long.then(|| {
                let earlier = self.step_start.take();
                StepStart::copy(earlier, &self.weights, velocity.as_ref())
            });
            self.scratch[0].loss = *loss;
            let sum = self.run_batches(
                Batch { samples, rows },
                batch_size,
                rule,
                workers,
                velocity.as_mut(),
                is_long.then(|| control.interruption()),
            );
            let stopped = is_long && control.is_interrupted();
            if let Some(start) = start {
                if stopped {
                    start.restore(&mut self.weights, velocity.as_mut());
                }
                self.step_start = Some(start);
            }
            if stopped {
                break;
            }
            *loss = sum;
            done += rows.len();
        }
        self.velocity = velocity;
        Ok(done)
    }
}

impl<R: Real> GradientEngine<R> for Backprop<R> {
    fn gradient(
        &mut self,
        parameters: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut Parameters<R>,
        control: &Control,
    ) -> Result<GradientEvaluation, Stopped> {
        self.weights.load(parameters);
        let mut packed = self
            .gradient
            .take()
            .unwrap_or_else(|| PackedParameters::zeros(&self.network.layout, self.pool.threads()));
        packed.clear();
        let rule = Rule::gradient_only(R::from_f64(self.network.l2));
        let rows = batch.rows.len();
        let is_long = is_long(&self.network.layout, rows);
        let loss = self.run_batches(
            batch,
            rows,
            rule,
            self.worker_limit.unwrap_or_else(|| self.most_workers()),
            Some(&mut packed),
            is_long.then(|| control.interruption()),
        );
        if is_long && control.is_interrupted() {
            self.gradient = Some(packed);
            return Err(Stopped::Interrupted);
        }
        packed.store(gradient);
        self.gradient = Some(packed);
        Ok(GradientEvaluation {
            loss: loss / rows as f64,
            tally: self.tally(batch.samples, batch.rows),
        })
    }

    fn tally(&self, samples: &Samples<R>, rows: &[u32]) -> Tally {
        match self.increment {
            None => operation_counts::backprop::gradient(&self.network, samples, rows),
            Some(_) => operation_counts::backprop::numeric_gradient(&self.network, samples, rows),
        }
    }

    fn most_workers(&self) -> usize {
        let most = match self.split() {
            Split::Rows => self.capacity.div_ceil(self.ranks.size()),
            // The number of panels of the widest owned layer.
            Split::Units => {
                let sizes = self.network.layout.sizes();
                let owned = owned_layers(&self.network.layout);
                let panels = (1..=owned).map(|layer| count::<R>(sizes[layer])).max();
                panels.unwrap_or(1)
            }
        };
        most.min(self.pool.threads())
    }

    fn splits(&self) -> &'static [Split] {
        match self.ranks.are_many() {
            true => &[Split::Rows],
            false => &Split::ALL,
        }
    }

    fn set_split(&mut self, split: Split) {
        self.split = split;
    }

    fn limit_workers(&mut self, workers: usize) {
        assert!((1..=self.pool.threads()).contains(&workers));
        self.worker_limit = Some(workers);
    }
}
