//! Backprop: the gradient by one forward and one backward pass over the mini-batch.
//!
//! Cost: 1 evaluation and one backward pass, whatever N is.
//!
//! Parallelism: the work is partitioned by units, not by rows. A layer's units form panels of one
//! cache line (16 units in f32, 8 in f64). Each worker owns some panels and computes their values
//! for all rows of the mini-batch. The last layer is partitioned by the hidden panels that it
//! reads. Each element of a product is one chain in a fixed order, so the bits do not depend on
//! the number of workers. The engine keeps θ in a packed layout ([`PackedParameters`]); the passes
//! are in `worker.rs`.
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

pub mod packed;
mod worker;

use std::sync::Arc;

use crossbeam_utils::CachePadded;

use self::packed::{PackedParameters, Strides, owned_layers};
use self::worker::{BackpropScratch, BackpropWorker, LastLayer, OwnedLayer, StepTask};
use super::finite_difference::{Arithmetic, DifferenceConfig};
use super::operation_counts;
use super::{Control, Descent, GradientEngine, GradientEvaluation, Stopped};
use crate::data::{Batch, Samples};
use crate::kernels::Isa;
use crate::kernels::panels::{Aligned, GAP_ROWS, count, width};
use crate::kernels::sparse::Workspace;
use crate::kernels::update::Rule;
use crate::model::{Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::parallel::{PhasedSlice, Supersteps, Workers};

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

/// Gradient engine that computes backprop, analytic or numeric.
pub struct Backprop<R> {
    network: Network,
    pool: Arc<Workers>,
    isa: Isa,
    /// Number of workers of a gradient; `None`: [`GradientEngine::most_workers`].
    worker_limit: Option<usize>,
    capacity: usize,
    /// Distance between two panels of values, in rows: the capacity and [`GAP_ROWS`] more, so that
    /// the memory of two workers is apart.
    panel_rows: usize,
    /// Increment h of numeric backprop; `None`: analytic derivatives.
    increment: Option<R>,
    weights: PackedParameters<R>,
    velocity: Option<PackedParameters<R>>,
    gradient: Option<PackedParameters<R>>,
    /// Activations a of each hidden layer; these buffers are panels of `(panel_rows, P)`.
    activations: Vec<Aligned<R>>,
    /// Slopes σ′(z) of each hidden layer.
    slopes: Vec<Aligned<R>>,
    /// Errors δ of each hidden layer.
    errors: Vec<Aligned<R>>,
    /// ∂W of each layer in `weights.hidden`, in the same layout; empty for the first layer, whose
    /// update is fused with its gradient.
    weight_gradients: Vec<Aligned<R>>,
    /// Partial sums of the outputs' pre-activations, one per hidden panel; written in even and in
    /// odd supersteps.
    partial_outputs: [Aligned<R>; 2],
    /// Scratch memory per worker. Padded to cache lines: a line that two workers wrote in every
    /// step would travel between their caches.
    scratch: Vec<CachePadded<BackpropScratch<R>>>,
}

impl<R: Real> Backprop<R> {
    /// Creates an engine for mini-batches of at most `capacity` rows.
    pub fn new(network: &Network, pool: &Arc<Workers>, isa: Isa, capacity: usize) -> Self {
        let layout = &network.layout;
        let (sizes, p) = (layout.sizes(), width::<R>());
        let owned = owned_layers(layout);
        let panels = |units: usize| count::<R>(units);
        let outputs = panels(sizes[layout.layers()]);
        let partial_panels = if layout.layers() > 1 {
            panels(sizes[owned])
        } else {
            1
        };
        let panel_rows = capacity + GAP_ROWS;
        let rows = |units: usize| Aligned::zeros(panels(units) * panel_rows * p);
        let hidden = layout.layers() - 1;
        let widest = sizes[1..].iter().copied().max().unwrap_or(0);
        let scratch = |_| BackpropScratch {
            inputs: Aligned::zeros(panels(sizes[0]) * panel_rows * p),
            outputs: Aligned::zeros(outputs * panel_rows * p),
            losses: Vec::with_capacity(capacity),
            changes: Aligned::zeros(0),
            transposed: Aligned::zeros(panels(widest) * p * p),
            tile: Aligned::zeros(outputs.max(2) * p * p),
            labels: Vec::with_capacity(capacity),
            sparse: Workspace::new(sizes[0]),
            loss: 0.0,
        };
        Self {
            network: network.clone(),
            pool: Arc::clone(pool),
            isa,
            worker_limit: None,
            capacity,
            panel_rows,
            increment: None,
            weights: PackedParameters::zeros(layout, pool.threads()),
            velocity: None,
            gradient: None,
            activations: (0..hidden).map(|h| rows(sizes[h + 1])).collect(),
            slopes: (0..hidden).map(|h| rows(sizes[h + 1])).collect(),
            errors: (0..hidden).map(|h| rows(sizes[h + 1])).collect(),
            weight_gradients: (0..owned)
                .map(|h| {
                    Aligned::zeros(if h == 0 {
                        0
                    } else {
                        panels(sizes[h + 1]) * sizes[h] * p
                    })
                })
                .collect(),
            partial_outputs: [(); 2]
                .map(|()| Aligned::zeros(partial_panels * outputs * panel_rows * p)),
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
            scratch.changes = Aligned::zeros(scratch.outputs.len());
        }
        engine
    }

    /// Steps over `order` by `rule`, in mini-batches of `batch_size` rows. Adds the rows' losses,
    /// each before its step, to the sum in the first worker's scratch memory, and returns that sum.
    fn run_batches(
        &mut self,
        samples: &Samples<R>,
        order: &[u32],
        batch_size: usize,
        rule: Rule<R>,
        workers: usize,
        mut velocity: Option<&mut PackedParameters<R>>,
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
        let supersteps = Supersteps::new(workers);
        let task = StepTask {
            samples,
            order,
            batch_size,
            rule,
            isa: self.isa,
            sizes: layout.sizes(),
            bias: layout.has_bias(),
            output_loss: self.network.output_loss(),
            panel_rows: self.panel_rows,
            increment: self.increment,
        };
        let pool = Arc::clone(&self.pool);
        let backprop_workers = self.make_workers(&supersteps, velocity);
        pool.run(
            supersteps,
            backprop_workers,
            async |worker: BackpropWorker<'_, R>, superstep| {
                worker.train(&task, superstep).await;
            },
        );
        let loss = self.scratch[0].loss;
        for scratch in &mut self.scratch {
            scratch.loss = 0.0;
        }
        loss
    }

    /// Partitions all buffers among the workers: each gets the panels that it owns.
    fn make_workers<'b>(
        &'b mut self,
        supersteps: &Supersteps,
        velocity: Option<&'b mut PackedParameters<R>>,
    ) -> Vec<BackpropWorker<'b, R>> {
        let workers = supersteps.workers();
        let layout = Arc::clone(&self.network.layout);
        let (sizes, p, panel_rows) = (layout.sizes(), width::<R>(), self.panel_rows);
        let hidden = layout.layers() - 1;
        let outputs = sizes[layout.layers()];
        let output_panels = count::<R>(outputs);
        let strides = Strides::new::<R>(outputs);
        let partition = |panels: usize| {
            (0..workers).map(move |w| panels * w / workers..panels * (w + 1) / workers)
        };
        let parts = |panels: usize, size: usize| {
            partition(panels).map(move |panels| panels.start * size..panels.end * size)
        };
        let parity = |l: usize, shared: bool| shared.then_some(l % 2);
        let mut velocity = velocity.map(|packed| VelocityBuffers::new(packed));

        let mut layers: Vec<Vec<OwnedLayer<'b, R>>> = (0..workers).map(|_| Vec::new()).collect();
        let mut activations = self.activations.iter_mut();
        let mut slopes = self.slopes.iter_mut();
        let mut errors = self.errors.iter_mut();
        let weights = self
            .weights
            .hidden
            .iter_mut()
            .zip(&mut self.weights.biases)
            .zip(&mut self.weight_gradients);
        for (h, ((weights, biases), gradients)) in weights.enumerate() {
            let l = h + 1;
            let panels = count::<R>(sizes[l]);
            let size = sizes[h] * p;
            let rows = |values: Option<&'b mut Aligned<R>>, written: Option<usize>| match values {
                Some(values) => {
                    supersteps.share(&mut values[..], written, parts(panels, panel_rows * p))
                }
                None => supersteps.share(&mut [][..], written, parts(panels, 0)),
            };
            let weight_parts = supersteps.share(weights, parity(l, h > 0), parts(panels, size));
            let bias_parts = supersteps.share(biases, None, parts(panels, p));
            let activation_parts = rows(activations.next(), parity(h, l < hidden));
            let slope_parts = rows(slopes.next(), None);
            let error_parts = rows(errors.next(), parity(l, h > 0));
            let weight_gradient_parts = supersteps.share(
                gradients,
                None,
                parts(panels, if h == 0 { 0 } else { size }),
            );
            let (velocity_parts, bias_velocity_parts) = match &mut velocity {
                Some(velocity) => {
                    let (weights, biases) = velocity.next();
                    (
                        some_parts(supersteps.share(weights, None, parts(panels, size))),
                        some_parts(supersteps.share(biases, None, parts(panels, p))),
                    )
                }
                None => (no_parts(workers), no_parts(workers)),
            };
            let mut weight_parts = weight_parts.into_iter();
            let mut bias_parts = bias_parts.into_iter();
            let mut activation_parts = activation_parts.into_iter();
            let mut slope_parts = slope_parts.into_iter();
            let mut error_parts = error_parts.into_iter();
            let mut weight_gradient_parts = weight_gradient_parts.into_iter();
            let mut velocity_parts = velocity_parts.into_iter();
            let mut bias_velocity_parts = bias_velocity_parts.into_iter();
            for (panels, layers) in partition(panels).zip(&mut layers) {
                layers.push(OwnedLayer {
                    panels,
                    weights: next_part(&mut weight_parts),
                    velocity: next_part(&mut velocity_parts),
                    biases: next_part(&mut bias_parts),
                    bias_velocity: next_part(&mut bias_velocity_parts),
                    activations: next_part(&mut activation_parts),
                    slopes: next_part(&mut slope_parts),
                    errors: next_part(&mut error_parts),
                    weight_gradients: next_part(&mut weight_gradient_parts),
                });
            }
        }

        let panels = if hidden > 0 {
            count::<R>(sizes[hidden])
        } else {
            0
        };
        let copies = |size: usize| (0..workers).map(move |w| w * size..(w + 1) * size);
        let mut forward = supersteps
            .share(&mut self.weights.last, None, parts(panels, strides.blocks))
            .into_iter();
        let mut transposed = supersteps
            .share(
                &mut self.weights.last_transposed,
                None,
                parts(panels, strides.transposed),
            )
            .into_iter();
        let mut bias = supersteps
            .share(&mut self.weights.last_bias, None, copies(strides.biases))
            .into_iter();
        let (mut forward_velocity, mut transposed_velocity, mut bias_velocity) = match velocity {
            Some(VelocityBuffers {
                last,
                last_transposed,
                last_bias,
                ..
            }) => (
                some_parts(supersteps.share(last, None, parts(panels, strides.blocks))).into_iter(),
                some_parts(supersteps.share(
                    last_transposed,
                    None,
                    parts(panels, strides.transposed),
                ))
                .into_iter(),
                some_parts(supersteps.share(last_bias, None, copies(strides.biases))).into_iter(),
            ),
            None => (
                no_parts(workers).into_iter(),
                no_parts(workers).into_iter(),
                no_parts(workers).into_iter(),
            ),
        };
        let [even, odd] = &mut self.partial_outputs;
        let (partial_panels, partial_size) = if hidden > 0 {
            (panels, output_panels * panel_rows * p)
        } else {
            (output_panels, panel_rows * p)
        };
        let mut even = supersteps
            .share(even, 0, parts(partial_panels, partial_size))
            .into_iter();
        let mut odd = supersteps
            .share(odd, 1, parts(partial_panels, partial_size))
            .into_iter();
        layers
            .into_iter()
            .zip(&mut self.scratch)
            .map(|(layers, scratch)| BackpropWorker {
                layers,
                last: LastLayer {
                    weights: next_part(&mut forward),
                    velocity: next_part(&mut forward_velocity),
                    transposed: next_part(&mut transposed),
                    transposed_velocity: next_part(&mut transposed_velocity),
                    bias: next_part(&mut bias),
                    bias_velocity: next_part(&mut bias_velocity),
                },
                partial_outputs: [next_part(&mut even), next_part(&mut odd)],
                scratch,
            })
            .collect()
    }
}

/// Iterators over a velocity's buffers, layer by layer.
struct VelocityBuffers<'b, R> {
    hidden: std::slice::IterMut<'b, Aligned<R>>,
    biases: std::slice::IterMut<'b, Aligned<R>>,
    last: &'b mut Aligned<R>,
    last_transposed: &'b mut Aligned<R>,
    last_bias: &'b mut Aligned<R>,
}

impl<'b, R: Real> VelocityBuffers<'b, R> {
    fn new(packed: &'b mut PackedParameters<R>) -> Self {
        Self {
            hidden: packed.hidden.iter_mut(),
            biases: packed.biases.iter_mut(),
            last: &mut packed.last,
            last_transposed: &mut packed.last_transposed,
            last_bias: &mut packed.last_bias,
        }
    }

    fn next(&mut self) -> (&'b mut [R], &'b mut [R]) {
        (next_part(&mut self.hidden), next_part(&mut self.biases))
    }
}

fn some_parts<'b, R>(parts: Vec<PhasedSlice<'b, R>>) -> Vec<Option<PhasedSlice<'b, R>>> {
    parts.into_iter().map(Some).collect()
}

fn no_parts<'b, R>(workers: usize) -> Vec<Option<PhasedSlice<'b, R>>> {
    (0..workers).map(|_| None).collect()
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
        _: &Control,
    ) -> Result<usize, Stopped> {
        if rule.momentum != R::ZERO && self.velocity.is_none() {
            self.velocity = Some(PackedParameters::zeros(
                &self.network.layout,
                self.pool.threads(),
            ));
        }
        let mut velocity = self.velocity.take();
        self.scratch[0].loss = *loss;
        *loss = self.run_batches(samples, order, batch_size, rule, workers, velocity.as_mut());
        self.velocity = velocity;
        Ok(order.len())
    }
}

impl<R: Real> GradientEngine<R> for Backprop<R> {
    fn gradient(
        &mut self,
        parameters: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut Parameters<R>,
        _: &Control,
    ) -> Result<GradientEvaluation, Stopped> {
        self.weights.load(parameters);
        let mut packed = self
            .gradient
            .take()
            .unwrap_or_else(|| PackedParameters::zeros(&self.network.layout, self.pool.threads()));
        packed.clear();
        let rule = Rule::gradient_only(R::from_f64(self.network.l2));
        let rows = batch.rows.len();
        let loss = self.run_batches(
            batch.samples,
            batch.rows,
            rows,
            rule,
            self.worker_limit.unwrap_or_else(|| self.most_workers()),
            Some(&mut packed),
        );
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
        // The number of panels of the widest owned layer.
        let sizes = self.network.layout.sizes();
        let owned = owned_layers(&self.network.layout);
        let panels = (1..=owned).map(|layer| count::<R>(sizes[layer])).max();
        panels.unwrap_or(1).min(self.pool.threads())
    }

    fn limit_workers(&mut self, workers: usize) {
        assert!((1..=self.pool.threads()).contains(&workers));
        self.worker_limit = Some(workers);
    }
}
