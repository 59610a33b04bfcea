//! Finite differences by whole forward passes, N + 1 or 2N of them, as the question counts them.
//!
//! Every worker has a copy of θ of its own. It perturbs one parameter, runs the pass (from the
//! bottom, or with [`Reuse::Prefix`] from the perturbed layer), and puts the parameter back. The
//! passes wait for nothing: the N parameters are cut into one contiguous share a worker, by
//! predicted cost, and each writes its own part of the gradient.

use std::sync::Arc;

use super::forward_pass::{ForwardPass, GatheredBatch, PassRows};
use super::quotient::quotient;
use super::unit_panels::UnitPanels;
use super::{DifferenceConfig, Increment, IncrementControl, Reuse, Scheme, Summation};
use crate::data::{Batch, Samples};
use crate::gradient::{Control, GradientEngine, GradientEvaluation, Stopped};
use crate::kernels::Isa;
use crate::kernels::panels::width;
use crate::kernels::scatter_add::SquaresOf;
use crate::model::{Layout, Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::parallel::{Supersteps, Workers, cut_by_cost};

/// The engine.
pub struct WholePasses<R> {
    network: Network,
    team: Arc<Workers>,
    isa: Isa,
    config: DifferenceConfig,
    /// Workers of a gradient.
    seats: usize,
    /// What all increments are multiplied by.
    factor: f64,
    /// The relative increment that was measured, if one was.
    measured: f64,
    /// h of every unit, layer by layer.
    increments: Vec<Vec<R>>,
    gathered: GatheredBatch<R>,
    /// The pass at θ itself.
    base: ForwardPass<R>,
    /// Counts the passes that are no evaluation of the gradient's.
    monitoring: Control,
    workers: Vec<PassWorker<R>>,
}

/// One worker's memory.
struct PassWorker<R> {
    weights: UnitPanels<R>,
    pass: ForwardPass<R>,
    /// The losses on the upper side of a central difference.
    upper: Vec<R>,
}

impl<R: Real> WholePasses<R> {
    /// An engine for mini-batches of at most `capacity` rows.
    pub fn new(
        network: &Network,
        config: &DifferenceConfig,
        team: &Arc<Workers>,
        isa: Isa,
        capacity: usize,
    ) -> Self {
        let layout = &network.layout;
        let sizes = layout.sizes();
        let worker = |_| PassWorker {
            weights: UnitPanels::zeros(layout),
            pass: ForwardPass::new(network, capacity),
            upper: vec![R::ZERO; capacity],
        };
        Self {
            network: network.clone(),
            team: Arc::clone(team),
            isa,
            config: *config,
            seats: layout.len().min(team.threads()),
            factor: 1.0,
            measured: f64::NAN,
            increments: sizes[1..]
                .iter()
                .map(|&units| vec![R::ZERO; units])
                .collect(),
            gathered: GatheredBatch::new(sizes[0], capacity),
            base: ForwardPass::new(network, capacity),
            monitoring: Control::default(),
            workers: (0..team.threads()).map(worker).collect(),
        }
    }

    /// The gradient at `theta`; returns the sum of the rows' losses.
    fn differentiate(
        &mut self,
        theta: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut [R],
        control: &Control,
    ) -> Result<f64, Stopped> {
        let workers = self.seats;
        let layout = Arc::clone(&self.network.layout);
        self.choose_increments(theta)?;
        self.gathered.read(batch);
        let rows = (self.gathered).rows(&self.network, self.isa, batch, control);
        // The "+ 1" of N + 1: the loss at θ itself. A central difference has no need of it, but
        // its activations serve the passes that start above the bottom, and training reports it.
        let base = match self.config.scheme {
            Scheme::Forward => rows,
            Scheme::Central => PassRows {
                control: &self.monitoring,
                ..rows
            },
        };
        self.workers[0].weights.load(theta);
        self.base.run(&base, &self.workers[0].weights, 0, None);
        let groups: Vec<_> = (0..layout.layers())
            .map(|layer| {
                let parameters = layout.weights(layer).len() + layout.biases(layer).len();
                (parameters, pass_cost(layout.sizes(), self.first(layer)))
            })
            .collect();
        let shares = cut_by_cost(&groups, workers);
        let mut rest = gradient;
        let mut seats = Vec::with_capacity(workers);
        for (share, worker) in shares.iter().zip(&mut self.workers) {
            let len = share.iter().map(|own| own.len()).sum();
            let (own, others) = std::mem::take(&mut rest).split_at_mut(len);
            rest = others;
            seats.push((share, worker, own));
        }
        let shared = PassContext {
            rows,
            theta,
            config: &self.config,
            increments: &self.increments,
            base: &self.base,
        };
        let outcomes: Vec<_> = (0..workers).map(|_| std::sync::OnceLock::new()).collect();
        self.team.run(
            Supersteps::new(workers),
            seats,
            async |(share, worker, gradient), step| {
                let outcome = worker.differentiate(&shared, share, gradient);
                outcomes[step.worker()].get_or_init(|| outcome);
            },
        );
        for outcome in outcomes {
            outcome
                .into_inner()
                .expect("every worker ends with an outcome")?;
        }
        Ok(self.base.losses[..batch.rows.len()]
            .iter()
            .map(|loss| loss.to_f64())
            .sum())
    }

    /// The first layer that a perturbation in `layer` makes it necessary to pass.
    fn first(&self, layer: usize) -> usize {
        first(self.config.reuse, layer)
    }

    fn choose_increments(&mut self, theta: &Parameters<R>) -> Result<(), Stopped> {
        for (layer, increments) in self.increments.iter_mut().enumerate() {
            for (unit, h) in increments.iter_mut().enumerate() {
                let chosen: R = of_unit(&self.config, theta, layer, unit, self.measured);
                *h = chosen * R::from_f64(self.factor);
            }
        }
        hold_increments(self.config.scheme, theta, &self.increments, INSTEAD)
    }
}

/// h of unit `unit` of layer `layer`.
fn of_unit<R: Real>(
    config: &DifferenceConfig,
    theta: &Parameters<R>,
    layer: usize,
    unit: usize,
    measured: f64,
) -> R {
    let weights = theta.weights(layer);
    let biases = theta.biases(layer);
    let row = weights.row(unit);
    let largest = row
        .iter()
        .chain(biases.get(unit))
        .fold(0.0, |most: f64, weight| most.max(weight.to_f64().abs()));
    config
        .increment
        .of_unit(config.scheme, config.arithmetic, largest, measured)
}

/// Whether every θᵢ + h differs from θᵢ, before the first loss is evaluated.
///
/// # Errors
/// [`Stopped::Vanished`], with the first parameter in which h is lost.
pub fn check_increments<R: Real>(
    config: &DifferenceConfig,
    theta: &Parameters<R>,
) -> Result<(), Stopped> {
    if config.reuse == Reuse::Incremental || config.increment == Increment::Noise {
        return Ok(());
    }
    let sizes = theta.layout().sizes();
    let increments: Vec<Vec<R>> = (0..theta.layout().layers())
        .map(|layer| {
            let units = 0..sizes[layer + 1];
            let h = units.map(|unit| of_unit(config, theta, layer, unit, f64::NAN));
            h.collect()
        })
        .collect();
    hold_increments(config.scheme, theta, &increments, INSTEAD)
}

/// What may be used instead of sums that lose h.
const INSTEAD: &str = ", or gradient.evaluation = \"incremental\", which never forms the sum";

/// Whether every θᵢ + h (of a central difference every θᵢ − h, too) differs from θᵢ; `increments`
/// are h by layer and unit, `instead` is what else may be used.
pub(in crate::gradient) fn hold_increments<R: Real>(
    scheme: Scheme,
    theta: &Parameters<R>,
    increments: &[Vec<R>],
    instead: &'static str,
) -> Result<(), Stopped> {
    let layout = theta.layout();
    for (layer, increments) in increments.iter().enumerate() {
        let fan_in = layout.sizes()[layer];
        let weights = layout
            .weights(layer)
            .zip(0..)
            .map(|(index, at)| (index, at / fan_in));
        for (index, unit) in weights.chain(layout.biases(layer).zip(0..)) {
            let (value, h) = (theta.flat()[index], increments[unit]);
            let below = scheme == Scheme::Central && value - h == value;
            if value + h == value || below {
                return Err(Stopped::Vanished {
                    parameter: layout.name(index),
                    value: shortest(value),
                    increment: shortest(h),
                    needed: smallest_change(value),
                    instead,
                });
            }
        }
    }
    Ok(())
}

fn first(reuse: Reuse, layer: usize) -> usize {
    match reuse {
        Reuse::Full => 0,
        Reuse::Prefix | Reuse::Incremental => layer,
    }
}

/// Predicted cost of a pass from layer `first` on, in multiplications a row.
fn pass_cost(sizes: &[usize], first: usize) -> f64 {
    sizes[first..]
        .windows(2)
        .map(|pair| (pair[0] * pair[1]) as f64 + 12.0 * pair[1] as f64)
        .sum()
}

/// What all workers read.
struct PassContext<'a, R> {
    rows: PassRows<'a, R>,
    theta: &'a Parameters<R>,
    config: &'a DifferenceConfig,
    increments: &'a [Vec<R>],
    base: &'a ForwardPass<R>,
}

impl<R: Real> PassWorker<R> {
    /// The partial derivatives of its share, which holds a range of each layer's parameters.
    fn differentiate(
        &mut self,
        shared: &PassContext<'_, R>,
        share: &[std::ops::Range<usize>],
        gradient: &mut [R],
    ) -> Result<(), Stopped> {
        self.weights.load(shared.theta);
        let layout = Arc::clone(shared.theta.layout());
        let mut partials = gradient.iter_mut();
        for (layer, own) in share.iter().enumerate() {
            let start = layout.weights(layer).start;
            for (index, partial) in (start + own.start..start + own.end).zip(&mut partials) {
                if shared.rows.control.is_stopped() {
                    return Err(Stopped::Interrupted);
                }
                *partial = self.partial(shared, &layout, layer, index)?;
            }
        }
        Ok(())
    }

    /// ∂L/∂θᵢ of parameter `index`, which lies in layer `layer`.
    fn partial(
        &mut self,
        shared: &PassContext<'_, R>,
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
        let theta = shared.theta.flat()[index];
        let h = shared.increments[layer][unit];
        let (above, below) = match shared.config.scheme {
            Scheme::Forward => (theta + h, theta),
            Scheme::Central => (theta + h, theta - h),
        };
        let rows = shared.labels();
        self.evaluate(shared, layer, place, above);
        let change = match (shared.config.scheme, shared.config.summation) {
            (Scheme::Forward, Summation::Differences) => {
                let change = mean_difference(&self.pass.losses[..rows], &shared.base.losses);
                change + shared.penalty(is_weight, above, below)
            }
            (Scheme::Central, Summation::Differences) => {
                self.upper.copy_from_slice(&self.pass.losses);
                self.evaluate(shared, layer, place, below);
                let change = mean_difference(&self.upper[..rows], &self.pass.losses);
                change + shared.penalty(is_weight, above, below)
            }
            (scheme, Summation::Losses) => {
                let upper = self.total(shared, layer, place, above, rows);
                let lower = if scheme == Scheme::Central {
                    self.evaluate(shared, layer, place, below);
                    self.total(shared, layer, place, below, rows)
                } else {
                    // θ itself: its losses are known, its penalty is formed as every other.
                    self.pass.losses.copy_from_slice(&shared.base.losses);
                    self.total(shared, layer, place, below, rows)
                };
                upper - lower
            }
        };
        Ok(quotient(change, above - below))
    }

    /// The rows' losses with the number at `place` of layer `layer` set to `value`; θ is put back.
    fn evaluate(&mut self, shared: &PassContext<'_, R>, layer: usize, place: usize, value: R) {
        let before = std::mem::replace(&mut self.weights.layers_mut()[layer][place], value);
        let first = first(shared.config.reuse, layer);
        self.pass
            .run(&shared.rows, &self.weights, first, Some(shared.base));
        self.weights.layers_mut()[layer][place] = before;
    }

    /// The mean of the losses last evaluated, and the penalty with `value` in its place: the loss as
    /// one number.
    fn total(
        &mut self,
        shared: &PassContext<'_, R>,
        layer: usize,
        place: usize,
        value: R,
        rows: usize,
    ) -> R {
        let sum = self.pass.losses[..rows]
            .iter()
            .fold(R::ZERO, |sum, &loss| sum + loss);
        let mean = sum * R::from_f64(1.0 / rows as f64);
        let l2 = shared.rows.network.l2;
        if l2 == 0.0 {
            return mean;
        }
        let p = width::<R>();
        let before = std::mem::replace(&mut self.weights.layers_mut()[layer][place], value);
        let sizes = shared.rows.network.layout.sizes();
        let mut squares = R::ZERO;
        for (layer, &fan_in) in sizes[..sizes.len() - 1].iter().enumerate() {
            let panels = self
                .weights
                .layer(layer)
                .chunks_exact(super::unit_panels::lines(fan_in) * p);
            for panel in panels {
                let values = &panel[..fan_in * p];
                squares = squares + shared.rows.isa.run(SquaresOf { values });
            }
        }
        self.weights.layers_mut()[layer][place] = before;
        R::from_f64(0.5 * l2).mul_add(squares, mean)
    }
}

impl<R: Real> PassContext<'_, R> {
    fn labels(&self) -> usize {
        self.rows.labels.len()
    }

    /// The change of ½λ'·w² between the two values of a weight.
    fn penalty(&self, is_weight: bool, above: R, below: R) -> R {
        let l2 = self.rows.network.l2;
        if l2 == 0.0 || !is_weight {
            return R::ZERO;
        }
        let half = R::from_f64(0.5 * l2);
        half * (above * above) - half * (below * below)
    }
}

/// The mean of the rows' differences, summed in order.
pub(in crate::gradient) fn mean_difference<R: Real>(losses: &[R], others: &[R]) -> R {
    let pairs = losses.iter().zip(others);
    let sum = pairs.fold(R::ZERO, |sum, (&loss, &other)| sum + (loss - other));
    sum * R::from_f64(1.0 / losses.len() as f64)
}

/// The number that is written as `number` is in its own precision: 1e-30, not 1.0000000031710769e-30.
fn shortest<R: Real>(number: R) -> f64 {
    format!("{number:e}").parse().unwrap_or(number.to_f64())
}

/// The smallest power of two that changes `theta` when it is added.
fn smallest_change<R: Real>(theta: R) -> f64 {
    let mut h = super::increment::power_of_two(theta.to_f64().abs().max(f64::MIN_POSITIVE))
        * R::UNIT_ROUNDOFF;
    while theta + R::from_f64(h) == theta || theta - R::from_f64(h) == theta {
        h *= 2.0;
    }
    h
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
        crate::gradient::operation_counts::finite_difference::whole(
            &self.network,
            &self.config,
            samples,
            rows,
        )
    }

    fn most_workers(&self) -> usize {
        self.network.layout.len().min(self.team.threads())
    }

    fn limit_workers(&mut self, workers: usize) {
        assert!((1..=self.team.threads()).contains(&workers));
        self.seats = workers.min(self.most_workers());
    }
}

impl<R: Real> IncrementControl<R> for WholePasses<R> {
    fn set_increments(&mut self, factor: f64, measured: f64) {
        (self.factor, self.measured) = (factor, measured);
    }
}
