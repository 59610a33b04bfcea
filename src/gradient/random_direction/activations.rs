//! Forward gradient by activations: the pre-activations of each sample are perturbed in an
//! independent random direction, and the chain rule gives the weights' partial derivatives.
//!
//! ```text
//! δ̂_s = 1/K Σ_k (δ_s·v_{s,k})·v_{s,k}      over the U pre-activations of sample s, δ = ∂L/∂z
//! ∂Ŵ_l = Σ_s δ̂_{s,l} a_{s,l−1}ᵀ + λ'W_l
//! ```
//!
//! δ_s·v is exact, from the rates of one forward pass: a Jacobian-vector product of the whole
//! mini-batch. With one direction, E‖δ̂‖² is U‖δ‖² for components of ±1 and (U + 2)‖δ‖² for
//! Gaussian ones; U is the number of units, not of weights. l2 does not depend on pre-activations;
//! its gradient is added exactly. ∂Ŵ of the first layer is a dense product, for sparse inputs as
//! well.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::DirectionsConfig;
use super::direction::{Direction, DirectionSeed};
use super::projection::{exchange, own_directions, supersteps};
use super::tangent::{PrimalValues, TangentBuffers};
use crate::data::{Batch, Inputs, Samples};
use crate::gradient::finite_difference::forward_pass::{GatheredBatch, PassRows};
use crate::gradient::finite_difference::unit_panels::{UnitPanels, panel_height};
use crate::gradient::operation_counts::random_direction;
use crate::gradient::{Control, GradientEngine, GradientEvaluation, Stopped};
use crate::kernels::Isa;
use crate::kernels::matmul::{LeftOperand, Product, Start};
use crate::kernels::panels::{Aligned, count, width};
use crate::kernels::update::ColumnSums;
use crate::model::{Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::parallel::{Workers, partition_by_cost};

/// Gradient engine of the forward gradient by activations.
pub struct PerturbedActivations<R> {
    network: Network,
    directions: DirectionsConfig,
    pool: Arc<Workers>,
    isa: Isa,
    worker_limit: usize,
    direction_seed: DirectionSeed,
    gathered: GatheredBatch<R>,
    weights: UnitPanels<R>,
    primal: PrimalValues<R>,
    workers: Vec<ActivationWorker<R>>,
    /// Derivative of each row's loss along each direction, `(K, rows)`.
    derivatives: Vec<R>,
    gradient: UnitPanels<R>,
}

/// One worker's scratch memory.
struct ActivationWorker<R> {
    tangent: TangentBuffers<R>,
    /// δ̂ of one panel, `(rows, P)`.
    errors: Aligned<R>,
}

impl<R: Real> PerturbedActivations<R> {
    /// Creates an engine for mini-batches of at most `capacity` rows.
    pub fn new(
        network: &Network,
        directions: DirectionsConfig,
        pool: &Arc<Workers>,
        isa: Isa,
        capacity: usize,
    ) -> Self {
        let layout = &network.layout;
        let worker = |_| ActivationWorker {
            tangent: TangentBuffers::new(network, capacity),
            errors: Aligned::zeros(capacity * width::<R>()),
        };
        let mut engine = Self {
            network: network.clone(),
            directions,
            pool: Arc::clone(pool),
            isa,
            worker_limit: 1,
            direction_seed: DirectionSeed::default(),
            gathered: GatheredBatch::new(layout.sizes()[0], capacity),
            weights: UnitPanels::zeros(layout),
            primal: PrimalValues::new(network, capacity),
            workers: (0..pool.threads()).map(worker).collect(),
            derivatives: vec![R::ZERO; directions.count * capacity],
            gradient: UnitPanels::zeros(layout),
        };
        engine.worker_limit = engine.most_workers();
        engine
    }

    /// Overwrites `self.gradient` with the estimate, l2 left out. Returns the sum of the rows'
    /// losses.
    fn estimate(&mut self, batch: Batch<'_, R>, control: &Control) -> Result<f64, Stopped> {
        let layout = Arc::clone(&self.network.layout);
        let (sizes, p) = (layout.sizes(), width::<R>());
        let rows = (self.gathered).rows(&self.network, self.isa, batch, control);
        let loss = self.primal.run(&rows, &self.weights);
        let shared = ActivationContext {
            rows,
            weights: &self.weights,
            primal: &self.primal,
            directions: self.directions,
            direction_seed: self.direction_seed,
        };
        let (workers, row_count, directions) =
            (self.worker_limit, batch.rows.len(), self.directions.count);
        let ranks = self.pool.ranks();
        let supersteps = supersteps(workers, ranks);
        let numbers = own_directions(directions, workers, ranks);
        let rows_of = |numbers: Range<usize>| numbers.start * row_count..numbers.end * row_count;
        let derivatives = supersteps.share(
            &mut self.derivatives[..directions * row_count],
            0,
            numbers.clone().map(rows_of),
        );
        let partition = partition_panels::<R>(sizes, directions, workers);
        let mut gradients: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        for (layer, values) in self.gradient.layers_mut().iter_mut().enumerate() {
            let size = panel_height(sizes[layer]) * p;
            let ranges = partition
                .iter()
                .map(|panels| panels[layer].start * size..panels[layer].end * size);
            for (parts, part) in gradients
                .iter_mut()
                .zip(supersteps.share(values, None, ranges))
            {
                parts.push(part);
            }
        }
        let parts = derivatives
            .into_iter()
            .zip(gradients)
            .zip(numbers.zip(&partition))
            .zip(&mut self.workers)
            .collect();
        let stopped = AtomicBool::new(false);
        self.pool.run(
            supersteps,
            parts,
            |(((mut derivatives, mut gradients), (numbers, panels)), worker), mut superstep| {
                let rows = derivatives
                    .write_own(&superstep)
                    .chunks_exact_mut(row_count);
                for (derivatives, number) in rows.zip(numbers) {
                    if control.is_stopped() {
                        stopped.store(true, Ordering::Relaxed);
                        break;
                    }
                    worker.derivatives(&shared, number, derivatives);
                }
                superstep = superstep.next();
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let length = (directions, row_count);
                superstep = exchange(ranks, &mut derivatives, length, superstep);
                let derivatives = derivatives.read_all(&superstep);
                for (layer, (gradient, panels)) in gradients.iter_mut().zip(panels).enumerate() {
                    let size = panel_height(sizes[layer]) * p;
                    let gradients = gradient.write_own(&superstep).chunks_exact_mut(size);
                    for (panel, gradient) in panels.clone().zip(gradients) {
                        worker.errors(&shared, layer, panel, derivatives);
                        worker.products(&shared, layer, gradient);
                    }
                }
            },
        );
        if stopped.into_inner() || control.is_interrupted() {
            return Err(Stopped::Interrupted);
        }
        Ok(loss)
    }
}

/// Partitions the panels of each layer's gradient among the workers, by cost.
fn partition_panels<R: Real>(
    sizes: &[usize],
    directions: usize,
    workers: usize,
) -> Vec<Vec<Range<usize>>> {
    let layers = sizes.windows(2);
    let costs = layers.map(|pair| (count::<R>(pair[1]), (pair[0] + directions) as f64));
    partition_by_cost(&costs.collect::<Vec<_>>(), workers)
}

/// Values that all workers read.
struct ActivationContext<'a, R> {
    rows: PassRows<'a, R>,
    weights: &'a UnitPanels<R>,
    primal: &'a PrimalValues<R>,
    directions: DirectionsConfig,
    direction_seed: DirectionSeed,
}

impl<R: Real> ActivationContext<'_, R> {
    fn direction(&self, number: usize) -> Direction {
        self.directions.direction(self.direction_seed, number)
    }

    /// Returns the index of the first component of layer `layer`'s units, whose components are
    /// `(rows, units)`.
    fn first(&self, layer: usize) -> usize {
        let sizes = self.rows.network.layout.sizes();
        self.rows.targets.rows() * sizes[1..=layer].iter().sum::<usize>()
    }

    /// Returns the number of units of a layer, and of a panel.
    fn units(&self, layer: usize, panel: usize) -> (usize, usize) {
        let units = self.rows.network.layout.sizes()[layer + 1];
        (units, width::<R>().min(units - panel * width::<R>()))
    }
}

impl<R: Real> ActivationWorker<R> {
    /// Computes the rows' derivatives along direction `number`, the factor 1/K included.
    fn derivatives(
        &mut self,
        shared: &ActivationContext<'_, R>,
        number: usize,
        derivatives: &mut [R],
    ) {
        let p = width::<R>();
        let mut components = shared.direction(number).components();
        let direct_rates = |layer: usize, panel: usize, out: &mut [R]| {
            let (units, panel_units) = shared.units(layer, panel);
            for (row, out) in out.chunks_exact_mut(p).enumerate() {
                components.seek(shared.first(layer) + row * units + panel * p);
                for out in &mut out[..panel_units] {
                    *out = R::from_f64(f64::from(components.step()));
                }
                out[panel_units..].fill(R::ZERO);
            }
        };
        let ActivationContext {
            rows,
            weights,
            primal,
            ..
        } = shared;
        self.tangent
            .run(rows, weights, primal, 0, direct_rates, derivatives);
        let scale = R::ONE / R::from_f64(shared.directions.count as f64);
        for derivative in derivatives {
            *derivative = *derivative * scale;
        }
    }

    /// Computes δ̂ of one panel: a sum over the directions, in order. If the control is interrupted,
    /// the sum is unspecified.
    fn errors(
        &mut self,
        shared: &ActivationContext<'_, R>,
        layer: usize,
        panel: usize,
        derivatives: &[R],
    ) {
        let (p, rows) = (width::<R>(), shared.rows.targets.rows());
        let (units, panel_units) = shared.units(layer, panel);
        self.errors[..rows * p].fill(R::ZERO);
        let control = shared.rows.control;
        let derivatives = derivatives.chunks_exact(rows).enumerate();
        for (number, derivatives) in derivatives.take_while(|_| !control.is_interrupted()) {
            let mut components = shared.direction(number).components();
            let errors = self.errors.chunks_exact_mut(p);
            for (row, (&derivative, errors)) in derivatives.iter().zip(errors).enumerate() {
                components.seek(shared.first(layer) + row * units + panel * p);
                for error in &mut errors[..panel_units] {
                    *error = *error + derivative * R::from_f64(f64::from(components.step()));
                }
            }
        }
    }

    /// Computes Σ_s δ̂·aᵀ and Σ_s δ̂ of the panel whose δ̂ was computed last, `(fan_in + 1, P)`.
    fn products(&self, shared: &ActivationContext<'_, R>, layer: usize, gradient: &mut [R]) {
        let (p, rows) = (width::<R>(), &shared.rows);
        let (fan_in, count) = (gradient.len() / p - 1, rows.targets.rows());
        let errors = &self.errors[..count * p];
        let (below, stride) = shared
            .primal
            .below(layer)
            .unwrap_or((rows.inputs, count * p));
        let (weights, bias) = gradient.split_at_mut(fan_in * p);
        for (panel, out) in weights.chunks_mut(p * p).enumerate() {
            let product = Product {
                left: LeftOperand::columns_of(&below[panel * stride..]),
                rows: out.len() / p,
                depth: count,
                right: errors,
                right_stride: 0,
                start: Start::Zero,
                out,
                out_stride: 0,
                panels: 1,
            };
            product.run_unless_stopped(rows.isa, rows.control.interruption());
        }
        if rows.network.layout.has_bias() {
            bias.fill(R::ZERO);
            rows.isa.run(ColumnSums {
                values: errors,
                out: bias,
            });
        }
    }
}

impl<R: Real> GradientEngine<R> for PerturbedActivations<R> {
    fn gradient(
        &mut self,
        parameters: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut Parameters<R>,
        control: &Control,
    ) -> Result<GradientEvaluation, Stopped> {
        self.gathered.read(&self.network, batch);
        if matches!(batch.samples.inputs(), Inputs::Sparse(_)) {
            self.gathered.read_inputs(batch.samples, batch.rows);
        }
        self.weights.load(parameters);
        let loss = self.estimate(batch, control)?;
        self.gradient.store(gradient);
        let l2 = R::from_f64(self.network.l2);
        if l2 != R::ZERO {
            let layout = parameters.layout();
            for index in (0..layout.layers()).flat_map(|layer| layout.weights(layer)) {
                let partial = &mut gradient.flat_mut()[index];
                *partial = l2.mul_add(parameters.flat()[index], *partial);
            }
        }
        Ok(GradientEvaluation {
            loss: loss / batch.rows.len() as f64,
            tally: self.tally(batch.samples, batch.rows),
        })
    }

    fn tally(&self, samples: &Samples<R>, rows: &[u32]) -> Tally {
        random_direction::perturbed_activations(&self.network, self.directions, samples, rows)
    }

    fn most_workers(&self) -> usize {
        let units = self.network.layout.sizes()[1..].iter();
        let panels: usize = units.map(|&units| count::<R>(units)).sum();
        panels.max(self.directions.count).min(self.pool.threads())
    }

    fn limit_workers(&mut self, workers: usize) {
        assert!((1..=self.pool.threads()).contains(&workers));
        self.worker_limit = workers.min(self.most_workers());
    }

    fn set_direction_seed(&mut self, direction_seed: DirectionSeed) {
        self.direction_seed = direction_seed;
    }
}
