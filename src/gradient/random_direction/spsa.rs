//! SPSA, simultaneous perturbation stochastic approximation: all parameters are perturbed at once,
//! and the derivative along the direction is a central difference of two losses.
//!
//! ```text
//! ĝ = 1/K Σ_k (L(θ + h·v_k) − L(θ − h·v_k))/2h · v_k      2K evaluations
//! ```
//!
//! Spall, "Multivariate stochastic approximation using a simultaneous perturbation gradient
//! approximation", 1992; with directions that are drawn again instead of stored, MeZO (arXiv
//! 2305.17333). MeZO moves θ in place and then back, which rounds. Here each worker computes
//! θ + h·v and θ − h·v from θ in a copy, so θ keeps its bits.
//!
//! The difference is the sum of the rows' differences, in order. The l2 term's difference is
//! computed as (w₊ − w₋)·(w₊ + w₋). A run also reports the loss at θ. That takes one more pass,
//! which is monitoring and not counted as an evaluation of the estimate.

use std::sync::Arc;

use super::SpsaConfig;
use super::direction::{Direction, DirectionSeed};
use super::projection::{most_workers, project};
use crate::data::{Batch, Samples};
use crate::gradient::finite_difference::forward_pass::{ForwardPass, GatheredBatch, PassRows};
use crate::gradient::finite_difference::lost_increments::check_unit_increments;
use crate::gradient::finite_difference::quotient::quotient;
use crate::gradient::finite_difference::unit_panels::UnitPanels;
use crate::gradient::finite_difference::whole_passes::mean_difference;
use crate::gradient::finite_difference::{Scheme, increment};
use crate::gradient::operation_counts::random_direction;
use crate::gradient::{Control, GradientEngine, GradientEvaluation, Stopped};
use crate::kernels::Isa;
use crate::model::{Layout, Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::parallel::Workers;

/// Gradient engine of SPSA.
pub struct Spsa<R> {
    network: Network,
    config: SpsaConfig,
    pool: Arc<Workers>,
    isa: Isa,
    worker_limit: usize,
    direction_seed: DirectionSeed,
    /// Increment h for each unit of each layer, all equal.
    increments: Vec<Vec<R>>,
    gathered: GatheredBatch<R>,
    workers: Vec<SpsaWorker<R>>,
    derivatives: Vec<R>,
}

/// One worker's scratch memory.
struct SpsaWorker<R> {
    /// Perturbed θ.
    weights: UnitPanels<R>,
    pass: ForwardPass<R>,
    /// The rows' losses at θ + h·v.
    losses_above: Vec<R>,
}

impl<R: Real> Spsa<R> {
    /// Creates an engine for mini-batches of at most `capacity` rows.
    pub fn new(
        network: &Network,
        config: &SpsaConfig,
        pool: &Arc<Workers>,
        isa: Isa,
        capacity: usize,
    ) -> Self {
        let layout = &network.layout;
        let worker = |_| SpsaWorker {
            weights: UnitPanels::zeros(layout),
            pass: ForwardPass::new(network, capacity),
            losses_above: vec![R::ZERO; capacity],
        };
        Self {
            network: network.clone(),
            config: *config,
            pool: Arc::clone(pool),
            isa,
            worker_limit: most_workers(pool, config.directions, layout.len()),
            direction_seed: DirectionSeed::default(),
            increments: increments(config, layout),
            gathered: GatheredBatch::new(layout.sizes()[0], capacity),
            workers: (0..pool.threads()).map(worker).collect(),
            derivatives: vec![R::ZERO; config.directions.count],
        }
    }
}

impl SpsaConfig {
    /// Returns the increment h for a network of `layout`.
    pub fn increment_of<R: Real>(&self, layout: &Layout) -> R {
        let widest = layout.sizes()[..layout.layers()].iter().copied().max();
        match self.increment {
            Some(number) => R::from_f64(number),
            None => increment::for_direction(widest.unwrap_or(0)),
        }
    }
}

/// Returns h for each unit of each layer.
fn increments<R: Real>(config: &SpsaConfig, layout: &Layout) -> Vec<Vec<R>> {
    let h = config.increment_of(layout);
    let units = layout.sizes()[1..].iter();
    units.map(|&units| vec![h; units]).collect()
}

/// Checks, without evaluating a loss, that every θᵢ ± h differs from θᵢ.
///
/// # Errors
/// [`Stopped::Vanished`], which names the first parameter in which h is lost to rounding.
pub fn check_increment<R: Real>(config: &SpsaConfig, theta: &Parameters<R>) -> Result<(), Stopped> {
    check_unit_increments(
        Scheme::Central,
        theta,
        &increments(config, theta.layout()),
        "",
    )
}

/// Values that all workers read.
struct SpsaContext<'a, R> {
    theta: &'a Parameters<R>,
    rows: PassRows<'a, R>,
    h: R,
}

impl<R: Real> SpsaWorker<R> {
    /// Returns the difference quotient along `direction`, l2 included.
    fn derivative(&mut self, shared: &SpsaContext<'_, R>, direction: &Direction) -> R {
        let count = self.losses_above.len();
        self.evaluate(shared, direction, shared.h);
        self.losses_above
            .copy_from_slice(&self.pass.losses[..count]);
        let penalty = self.evaluate(shared, direction, -shared.h);
        let rows = shared.rows.targets.rows();
        let mut change = mean_difference(&self.losses_above[..rows], &self.pass.losses);
        if shared.rows.network.l2 != 0.0 {
            change = change + R::from_f64(penalty);
        }
        quotient(change, Scheme::Central.distance(shared.h))
    }

    /// Evaluates the rows' losses at θ + `increment`·v. Returns the l2 term of the previous call's
    /// point minus that of this one.
    fn evaluate(
        &mut self,
        shared: &SpsaContext<'_, R>,
        direction: &Direction,
        increment: R,
    ) -> f64 {
        let theta = shared.theta;
        let mut components = direction.components();
        let l2 = shared.rows.network.l2;
        let mut squares_difference = 0.0;
        self.weights
            .visit(theta.layout(), |place, index, is_weight| {
                let perturbed =
                    theta.flat()[index] + increment * R::from_f64(f64::from(components.step()));
                if l2 != 0.0 && is_weight {
                    // `place` still holds the parameter of the previous call.
                    let (above, below) = (place.to_f64(), perturbed.to_f64());
                    squares_difference += (above - below) * (above + below);
                }
                *place = perturbed;
            });
        self.pass.run(&shared.rows, &self.weights, 0, None);
        0.5 * l2 * squares_difference
    }
}

impl<R: Real> GradientEngine<R> for Spsa<R> {
    fn gradient(
        &mut self,
        parameters: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut Parameters<R>,
        control: &Control,
    ) -> Result<GradientEvaluation, Stopped> {
        check_unit_increments(Scheme::Central, parameters, &self.increments, "")?;
        self.gathered.read(&self.network, batch);
        let gathered = &self.gathered;
        let rows = gathered.rows(&self.network, self.isa, batch, control);
        let first = &mut self.workers[0];
        first.weights.load(parameters);
        // The loss at θ is monitoring, and not counted.
        first.pass.run_uncounted(&rows, &first.weights, 0, None);
        let losses = &first.pass.losses[..batch.rows.len()];
        let loss: f64 = losses.iter().map(|loss| loss.to_f64()).sum();
        let shared = SpsaContext {
            theta: parameters,
            rows,
            h: self.increments[0][0],
        };
        project(
            &self.pool,
            &mut self.workers[..self.worker_limit],
            (self.config.directions, self.direction_seed),
            &mut self.derivatives,
            gradient.flat_mut(),
            control,
            |worker, direction| worker.derivative(&shared, direction),
        )?;
        Ok(GradientEvaluation {
            loss: loss / batch.rows.len() as f64,
            tally: self.tally(batch.samples, batch.rows),
        })
    }

    fn tally(&self, samples: &Samples<R>, rows: &[u32]) -> Tally {
        random_direction::spsa(&self.network, &self.config, samples, rows)
    }

    fn most_workers(&self) -> usize {
        let parameters = self.network.layout.len();
        most_workers(&self.pool, self.config.directions, parameters)
    }

    fn limit_workers(&mut self, workers: usize) {
        assert!((1..=self.pool.threads()).contains(&workers));
        self.worker_limit = workers.min(self.most_workers());
    }

    fn set_direction_seed(&mut self, direction_seed: DirectionSeed) {
        self.direction_seed = direction_seed;
    }
}
