//! Simultaneous perturbation: all of θ is moved at once, and the loss compared on both sides.
//!
//! ```text
//! ĝ = 1/K Σ_k (L(θ + h·v_k) − L(θ − h·v_k))/2h · v_k      2K evaluations
//! ```
//!
//! Spall, "Multivariate stochastic approximation using a simultaneous perturbation gradient
//! approximation", 1992; with directions that are drawn again, MeZO (arXiv 2305.17333). MeZO moves θ
//! in place and adds back what it subtracted, which rounds; here each worker forms θ ± h·v from θ
//! itself in a copy of its own, so θ never drifts by a bit.
//!
//! The differences are those of each row's losses, summed in order. The l2 term has its difference
//! like the rest of the loss, as (w₊ − w₋)·(w₊ + w₋). A run reports the loss at θ: one more pass,
//! which is monitoring and no evaluation of the estimate's.

use std::sync::Arc;

use super::SpsaConfig;
use super::direction::{Direction, DirectionSeed};
use super::projection::{most_workers, project};
use crate::data::{Batch, Samples};
use crate::gradient::finite_difference::forward_pass::{ForwardPass, GatheredBatch, PassRows};
use crate::gradient::finite_difference::quotient::quotient;
use crate::gradient::finite_difference::unit_panels::UnitPanels;
use crate::gradient::finite_difference::whole_passes::{hold_increments, mean_difference};
use crate::gradient::finite_difference::{Scheme, increment};
use crate::gradient::operation_counts::random_direction;
use crate::gradient::{Control, GradientEngine, GradientEvaluation, Stopped};
use crate::kernels::Isa;
use crate::model::{Layout, Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::parallel::Workers;

/// The engine.
pub struct Spsa<R> {
    network: Network,
    config: SpsaConfig,
    team: Arc<Workers>,
    isa: Isa,
    seats: usize,
    draw: DirectionSeed,
    /// h, for each unit of each layer: all alike.
    increments: Vec<Vec<R>>,
    gathered: GatheredBatch<R>,
    /// Counts the passes that are no evaluation of the estimate's.
    monitoring: Control,
    workers: Vec<SpsaWorker<R>>,
    derivatives: Vec<R>,
}

/// One worker's memory.
struct SpsaWorker<R> {
    /// θ, moved.
    weights: UnitPanels<R>,
    pass: ForwardPass<R>,
    /// The losses on the upper side.
    upper: Vec<R>,
}

impl<R: Real> Spsa<R> {
    /// An engine for mini-batches of at most `capacity` rows.
    pub fn new(
        network: &Network,
        config: &SpsaConfig,
        team: &Arc<Workers>,
        isa: Isa,
        capacity: usize,
    ) -> Self {
        let layout = &network.layout;
        let worker = |_| SpsaWorker {
            weights: UnitPanels::zeros(layout),
            pass: ForwardPass::new(network, capacity),
            upper: vec![R::ZERO; capacity],
        };
        Self {
            network: network.clone(),
            config: *config,
            team: Arc::clone(team),
            isa,
            seats: most_workers(team, config.directions, layout.len()),
            draw: DirectionSeed::default(),
            increments: increments(config, layout),
            gathered: GatheredBatch::new(layout.sizes()[0], capacity),
            monitoring: Control::default(),
            workers: (0..team.threads()).map(worker).collect(),
            derivatives: vec![R::ZERO; config.directions.count],
        }
    }
}

impl SpsaConfig {
    /// h in a network of `layout`.
    pub fn increment_of<R: Real>(&self, layout: &Layout) -> R {
        let widest = layout.sizes()[..layout.layers()].iter().copied().max();
        match self.increment {
            Some(number) => R::from_f64(number),
            None => increment::of_direction(widest.unwrap_or(0)),
        }
    }
}

/// h of every unit.
fn increments<R: Real>(config: &SpsaConfig, layout: &Layout) -> Vec<Vec<R>> {
    let h = config.increment_of(layout);
    let units = layout.sizes()[1..].iter();
    units.map(|&units| vec![h; units]).collect()
}

/// Whether every θᵢ ± h differs from θᵢ, before the first loss is evaluated.
///
/// # Errors
/// [`Stopped::Vanished`], with the first parameter in which h is lost.
pub fn check_increment<R: Real>(config: &SpsaConfig, theta: &Parameters<R>) -> Result<(), Stopped> {
    hold_increments(
        Scheme::Central,
        theta,
        &increments(config, theta.layout()),
        "",
    )
}

/// What all workers read.
struct SpsaContext<'a, R> {
    theta: &'a Parameters<R>,
    rows: PassRows<'a, R>,
    h: R,
}

impl<R: Real> SpsaWorker<R> {
    /// The quotient along `direction`, l2 included.
    fn derivative(&mut self, shared: &SpsaContext<'_, R>, direction: &Direction) -> R {
        let count = self.upper.len();
        self.evaluate(shared, direction, shared.h);
        self.upper.copy_from_slice(&self.pass.losses[..count]);
        let penalty = self.evaluate(shared, direction, -shared.h);
        let rows = shared.rows.labels.len();
        let mut change = mean_difference(&self.upper[..rows], &self.pass.losses);
        if shared.rows.network.l2 != 0.0 {
            change = change + R::from_f64(penalty);
        }
        quotient(change, Scheme::Central.distance(shared.h))
    }

    /// The rows' losses at θ + `step`·v; on the second side, the difference of the penalties of both.
    fn evaluate(&mut self, shared: &SpsaContext<'_, R>, direction: &Direction, step: R) -> f64 {
        let theta = shared.theta;
        let mut components = direction.components();
        let l2 = shared.rows.network.l2;
        let mut squares = 0.0;
        self.weights
            .visit(theta.layout(), |place, index, is_weight| {
                let moved = theta.flat()[index] + step * R::from_f64(f64::from(components.step()));
                if l2 != 0.0 && is_weight {
                    // The other side still stands there.
                    let (above, below) = (place.to_f64(), moved.to_f64());
                    squares += (above - below) * (above + below);
                }
                *place = moved;
            });
        self.pass.run(&shared.rows, &self.weights, 0, None);
        0.5 * l2 * squares
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
        hold_increments(Scheme::Central, parameters, &self.increments, "")?;
        self.gathered.read(batch);
        let gathered = &self.gathered;
        let rows = |control| gathered.rows(&self.network, self.isa, batch, control);
        let first = &mut self.workers[0];
        first.weights.load(parameters);
        first
            .pass
            .run(&rows(&self.monitoring), &first.weights, 0, None);
        let losses = &first.pass.losses[..batch.rows.len()];
        let loss: f64 = losses.iter().map(|loss| loss.to_f64()).sum();
        let shared = SpsaContext {
            theta: parameters,
            rows: rows(control),
            h: self.increments[0][0],
        };
        project(
            &self.team,
            &mut self.workers[..self.seats],
            (self.config.directions, self.draw),
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
        most_workers(&self.team, self.config.directions, parameters)
    }

    fn limit_workers(&mut self, workers: usize) {
        assert!((1..=self.team.threads()).contains(&workers));
        self.seats = workers.min(self.most_workers());
    }

    fn set_draw(&mut self, draw: DirectionSeed) {
        self.draw = draw;
    }
}
