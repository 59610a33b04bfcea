//! Finite differences by whole forward passes: N + 1 evaluations, or 2N of a central difference.
//!
//! Every worker has its own copy of θ. It perturbs one parameter, runs the pass (from the inputs,
//! or with [`Reuse::Prefix`] from the perturbed layer), and restores the parameter. The N
//! parameters are partitioned by predicted cost into one contiguous share per worker, and each
//! worker writes its own part of the gradient, so no worker waits for another; nor does a rank.

use std::sync::Arc;

use super::forward_pass::{ForwardPass, GatheredBatch, PassRows};
use super::lost_increments::{INSTEAD, check_unit_increments, unit_increment};
use super::quotient::quotient;
use super::unit_panels::UnitPanels;
use super::{DifferenceConfig, IncrementControl, Reuse, Scheme, Summation};
use crate::data::{Batch, Samples};
use crate::gradient::parameter_shares::{self, ParameterCosts};
use crate::gradient::{Control, GradientEngine, GradientEvaluation, Stopped};
use crate::kernels::Isa;
use crate::kernels::panels::width;
use crate::kernels::scatter_add::SquaresOf;
use crate::model::{Layout, Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::parallel::Workers;

/// The engine of differences by whole passes.
pub struct WholePasses<R> {
    network: Network,
    pool: Arc<Workers>,
    isa: Isa,
    config: DifferenceConfig,
    /// The number of workers of a gradient.
    worker_count: usize,
    /// The factor that all increments are multiplied by.
    factor: f64,
    /// The measured relative increment, or NaN.
    measured: f64,
    /// h of each unit, layer by layer.
    increments: Vec<Vec<R>>,
    gathered: GatheredBatch<R>,
    /// The pass at the unperturbed θ.
    base: ForwardPass<R>,
    workers: Vec<PassWorker<R>>,
}

/// The workspace of one worker.
struct PassWorker<R> {
    weights: UnitPanels<R>,
    pass: ForwardPass<R>,
    /// The losses of the rows at θ + h·eᵢ, of a central difference.
    upper: Vec<R>,
    /// The number of passes not yet added to the counter, which all workers share.
    pending: u64,
}

impl<R: Real> WholePasses<R> {
    /// Creates an engine for mini-batches of at most `capacity` rows of `samples`.
    pub fn new(
        network: &Network,
        config: &DifferenceConfig,
        pool: &Arc<Workers>,
        isa: Isa,
        samples: &Samples<R>,
        capacity: usize,
    ) -> Self {
        let layout = &network.layout;
        let sizes = layout.sizes();
        let worker = |_| PassWorker {
            weights: UnitPanels::zeros(layout),
            pass: ForwardPass::new(network, capacity),
            upper: vec![R::ZERO; capacity],
            pending: 0,
        };
        Self {
            network: network.clone(),
            pool: Arc::clone(pool),
            isa,
            config: *config,
            worker_count: layout.len().min(pool.threads()),
            factor: 1.0,
            measured: f64::NAN,
            increments: sizes[1..]
                .iter()
                .map(|&units| vec![R::ZERO; units])
                .collect(),
            gathered: GatheredBatch::for_many_passes(samples, capacity),
            base: ForwardPass::new(network, capacity),
            workers: (0..pool.threads()).map(worker).collect(),
        }
    }

    /// Computes the gradient at `theta`; returns the sum of the rows' losses.
    fn differentiate(
        &mut self,
        theta: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut [R],
        control: &Control,
    ) -> Result<f64, Stopped> {
        let workers = self.worker_count;
        let layout = Arc::clone(&self.network.layout);
        self.choose_increments(theta)?;
        self.gathered.read(&self.network, batch);
        let rows = (self.gathered).rows(&self.network, self.isa, batch, control);
        // The "+ 1" of N + 1: the loss at θ itself. A central difference does not need it, but its
        // activations serve the passes that start above the inputs, and training reports it.
        self.workers[0].weights.load(theta);
        self.base
            .run_uncounted(&rows, &self.workers[0].weights, 0, None);
        if self.config.scheme == Scheme::Forward {
            control.count(1);
        }
        let group = |layer: usize| {
            let parameters = layout.weights(layer).len() + layout.biases(layer).len();
            let cost = pass_cost(layout.sizes(), first_layer(self.config.reuse, layer));
            (parameters, cost * batch.rows.len() as f64)
        };
        let costs = ParameterCosts {
            groups: (0..layout.layers()).map(group).collect(),
            evaluations: match self.config.scheme {
                Scheme::Forward => 1,
                Scheme::Central => 2,
            },
        };
        let context = PassContext {
            rows,
            theta,
            config: &self.config,
            increments: &self.increments,
            base: &self.base,
        };
        parameter_shares::differentiate(
            &self.pool,
            &costs,
            &mut self.workers[..workers],
            gradient,
            control,
            |worker, share, gradient| worker.differentiate(&context, share, gradient),
        )?;
        if control.is_interrupted() {
            return Err(Stopped::Interrupted);
        }
        Ok(self.base.losses[..batch.rows.len()]
            .iter()
            .map(|loss| loss.to_f64())
            .sum())
    }

    /// Chooses h of each unit at `theta`.
    ///
    /// # Errors
    /// [`Stopped::Vanished`] if θ + h (of a central difference, θ − h too) rounds to θ.
    fn choose_increments(&mut self, theta: &Parameters<R>) -> Result<(), Stopped> {
        for (layer, increments) in self.increments.iter_mut().enumerate() {
            for (unit, h) in increments.iter_mut().enumerate() {
                let chosen: R = unit_increment(&self.config, theta, layer, unit, self.measured);
                *h = chosen * R::from_f64(self.factor);
            }
        }
        check_unit_increments(self.config.scheme, theta, &self.increments, INSTEAD)
    }
}

/// Returns the first layer of a pass in which a parameter of `layer` is perturbed.
fn first_layer(reuse: Reuse, layer: usize) -> usize {
    match reuse {
        Reuse::Full => 0,
        Reuse::Prefix | Reuse::Incremental => layer,
    }
}

/// Predicts the cost of a pass from layer `first` on, in multiplications per row.
fn pass_cost(sizes: &[usize], first: usize) -> f64 {
    sizes[first..]
        .windows(2)
        .map(|pair| (pair[0] * pair[1]) as f64 + 12.0 * pair[1] as f64)
        .sum()
}

/// The multiplications after which a worker adds its passes to the shared counter: some 50 µs. To
/// add every pass of a few µs would move the counter's cache line between the cores each time.
const MULTIPLICATIONS_PER_COUNT: f64 = 4e6;

/// The data that all workers read.
struct PassContext<'a, R> {
    rows: PassRows<'a, R>,
    theta: &'a Parameters<R>,
    config: &'a DifferenceConfig,
    increments: &'a [Vec<R>],
    base: &'a ForwardPass<R>,
}

impl<R: Real> PassWorker<R> {
    /// Computes the partial derivatives of `share`: a range of each layer's parameters.
    fn differentiate(
        &mut self,
        context: &PassContext<'_, R>,
        share: &[std::ops::Range<usize>],
        gradient: &mut [R],
    ) -> Result<(), Stopped> {
        self.weights.load(context.theta);
        let layout = Arc::clone(context.theta.layout());
        let mut partials = gradient.iter_mut();
        for (layer, range) in share.iter().enumerate() {
            let start = layout.weights(layer).start;
            let first = first_layer(context.config.reuse, layer);
            let cost = pass_cost(layout.sizes(), first) * context.row_count() as f64;
            let most_pending = (MULTIPLICATIONS_PER_COUNT / cost) as u64;
            for (index, partial) in (start + range.start..start + range.end).zip(&mut partials) {
                if context.rows.control.is_stopped() {
                    self.count(context);
                    return Err(Stopped::Interrupted);
                }
                *partial = self.partial(context, &layout, layer, index)?;
                if self.pending > most_pending {
                    self.count(context);
                }
            }
        }
        self.count(context);
        Ok(())
    }

    /// Adds the passes made since the last call to the shared counter.
    fn count(&mut self, context: &PassContext<'_, R>) {
        context
            .rows
            .control
            .count(std::mem::take(&mut self.pending));
    }

    /// Returns ∂L/∂θᵢ of parameter `index` of θ, which belongs to layer `layer`.
    fn partial(
        &mut self,
        context: &PassContext<'_, R>,
        layout: &Layout,
        layer: usize,
        index: usize,
    ) -> Result<R, Stopped> {
        let place = UnitPanels::<R>::place(layout, layer, index);
        let weights = layout.weights(layer);
        let is_weight = index < weights.end;
        let unit = if is_weight {
            (index - weights.start) / layout.sizes()[layer]
        } else {
            index - weights.end
        };
        let theta = context.theta.flat()[index];
        let h = context.increments[layer][unit];
        let (above, below) = match context.config.scheme {
            Scheme::Forward => (theta + h, theta),
            Scheme::Central => (theta + h, theta - h),
        };
        let rows = context.row_count();
        self.evaluate(context, layer, place, above);
        let change = match (context.config.scheme, context.config.summation) {
            (Scheme::Forward, Summation::Differences) => {
                let change = mean_difference(&self.pass.losses[..rows], &context.base.losses);
                change + context.penalty(is_weight, above, below)
            }
            (Scheme::Central, Summation::Differences) => {
                self.upper.copy_from_slice(&self.pass.losses);
                self.evaluate(context, layer, place, below);
                let change = mean_difference(&self.upper[..rows], &self.pass.losses);
                change + context.penalty(is_weight, above, below)
            }
            (scheme, Summation::Losses) => {
                let upper = self.regularized_loss(context, layer, place, above, rows);
                let lower = if scheme == Scheme::Central {
                    self.evaluate(context, layer, place, below);
                    self.regularized_loss(context, layer, place, below, rows)
                } else {
                    // The losses at θ itself are known; its penalty is computed as any other.
                    self.pass.losses.copy_from_slice(&context.base.losses);
                    self.regularized_loss(context, layer, place, below, rows)
                };
                upper - lower
            }
        };
        Ok(quotient(change, above - below))
    }

    /// Computes the rows' losses with the parameter at `place` of layer `layer` set to `value`, and
    /// restores θ.
    fn evaluate(&mut self, context: &PassContext<'_, R>, layer: usize, place: usize, value: R) {
        let before = std::mem::replace(&mut self.weights.layers_mut()[layer][place], value);
        let first = first_layer(context.config.reuse, layer);
        self.pass
            .run_uncounted(&context.rows, &self.weights, first, Some(context.base));
        self.pending += 1;
        self.weights.layers_mut()[layer][place] = before;
    }

    /// Returns the mean of the losses last evaluated plus the l2 penalty of θ with the parameter at
    /// `place` set to `value`.
    fn regularized_loss(
        &mut self,
        context: &PassContext<'_, R>,
        layer: usize,
        place: usize,
        value: R,
        rows: usize,
    ) -> R {
        let sum = self.pass.losses[..rows]
            .iter()
            .fold(R::ZERO, |sum, &loss| sum + loss);
        let mean = sum * R::from_f64(1.0 / rows as f64);
        let l2 = context.rows.network.l2;
        if l2 == 0.0 {
            return mean;
        }
        let p = width::<R>();
        let before = std::mem::replace(&mut self.weights.layers_mut()[layer][place], value);
        let sizes = context.rows.network.layout.sizes();
        let mut squares = R::ZERO;
        for (layer, &fan_in) in sizes[..sizes.len() - 1].iter().enumerate() {
            let panels = self
                .weights
                .layer(layer)
                .chunks_exact(super::unit_panels::panel_height(fan_in) * p);
            for panel in panels {
                let values = &panel[..fan_in * p];
                squares = squares + context.rows.isa.run(SquaresOf { values });
            }
        }
        self.weights.layers_mut()[layer][place] = before;
        R::from_f64(0.5 * l2).mul_add(squares, mean)
    }
}

impl<R: Real> PassContext<'_, R> {
    /// Returns the number of rows.
    fn row_count(&self) -> usize {
        self.rows.targets.rows()
    }

    /// Returns the difference of ½λ'·w² between two values of a weight; 0 for a bias.
    fn penalty(&self, is_weight: bool, above: R, below: R) -> R {
        let l2 = self.rows.network.l2;
        if l2 == 0.0 || !is_weight {
            return R::ZERO;
        }
        let half = R::from_f64(0.5 * l2);
        half * (above * above) - half * (below * below)
    }
}

/// Returns the mean of the differences of the rows' losses, summed in order.
pub(in crate::gradient) fn mean_difference<R: Real>(losses: &[R], others: &[R]) -> R {
    let pairs = losses.iter().zip(others);
    let sum = pairs.fold(R::ZERO, |sum, (&loss, &other)| sum + (loss - other));
    sum * R::from_f64(1.0 / losses.len() as f64)
}

impl<R: Real> GradientEngine<R> for WholePasses<R> {
    fn gradient(
        &mut self,
        parameters: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut Parameters<R>,
        control: &Control,
    ) -> Result<GradientEvaluation, Stopped> {
        let loss = self.differentiate(parameters, batch, gradient.flat_mut(), control)?;
        Ok(GradientEvaluation {
            loss: loss / batch.rows.len() as f64,
            tally: self.tally(batch.samples, batch.rows),
        })
    }

    fn tally(&self, samples: &Samples<R>, rows: &[u32]) -> Tally {
        crate::gradient::operation_counts::finite_difference::whole_passes(
            &self.network,
            &self.config,
            samples,
            rows,
        )
    }

    fn most_workers(&self) -> usize {
        self.network.layout.len().min(self.pool.threads())
    }

    fn limit_workers(&mut self, workers: usize) {
        assert!((1..=self.pool.threads()).contains(&workers));
        self.worker_count = workers.min(self.most_workers());
    }
}

impl<R: Real> IncrementControl<R> for WholePasses<R> {
    fn set_increments(&mut self, factor: f64, measured: f64) {
        (self.factor, self.measured) = (factor, measured);
    }
}
