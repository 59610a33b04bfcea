//! Forward gradient by weights: ĝ = 1/K Σ_k (g·v_k)·v_k, with g·v exact by one Jacobian-vector
//! product per direction.
//!
//! Cost: the values of one forward pass, and the rates of change for each of K directions, about
//! twice as much each. A worker stores one direction at a time. l2 is part of the loss: λ'·Σ w·v is
//! added to g·v.

use std::sync::Arc;

use super::DirectionsConfig;
use super::direction::{Direction, DirectionSeed};
use super::projection::{most_workers, project};
use super::tangent::{ParameterDirection, PrimalValues};
use crate::data::{Batch, Samples};
use crate::gradient::finite_difference::forward_pass::{GatheredBatch, PassRows};
use crate::gradient::finite_difference::unit_panels::UnitPanels;
use crate::gradient::operation_counts::random_direction;
use crate::gradient::{Control, GradientEngine, GradientEvaluation, Stopped};
use crate::kernels::Isa;
use crate::model::{Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::parallel::Workers;

/// Gradient engine of the forward gradient by weights.
pub struct PerturbedWeights<R> {
    network: Network,
    directions: DirectionsConfig,
    pool: Arc<Workers>,
    isa: Isa,
    worker_limit: usize,
    direction_seed: DirectionSeed,
    gathered: GatheredBatch<R>,
    weights: UnitPanels<R>,
    primal: PrimalValues<R>,
    workers: Vec<ParameterDirection<R>>,
    derivatives: Vec<R>,
}

impl<R: Real> PerturbedWeights<R> {
    /// Creates an engine for mini-batches of at most `capacity` rows.
    pub fn new(
        network: &Network,
        directions: DirectionsConfig,
        pool: &Arc<Workers>,
        isa: Isa,
        capacity: usize,
    ) -> Self {
        let layout = &network.layout;
        let worker = |_| ParameterDirection::new(network, capacity);
        Self {
            network: network.clone(),
            directions,
            pool: Arc::clone(pool),
            isa,
            worker_limit: most_workers(pool, directions, layout.len()),
            direction_seed: DirectionSeed::default(),
            gathered: GatheredBatch::new(layout.sizes()[0], capacity),
            weights: UnitPanels::zeros(layout),
            primal: PrimalValues::new(network, capacity),
            workers: (0..pool.threads()).map(worker).collect(),
            derivatives: vec![R::ZERO; directions.count],
        }
    }
}

/// Values that all workers read.
struct WeightContext<'a, R> {
    theta: &'a Parameters<R>,
    rows: PassRows<'a, R>,
    weights: &'a UnitPanels<R>,
    primal: &'a PrimalValues<R>,
}

impl<R: Real> WeightContext<'_, R> {
    /// Returns g·v along `direction`, l2 included.
    fn derivative(&self, worker: &mut ParameterDirection<R>, direction: &Direction) -> R {
        let theta = self.theta;
        let l2 = self.rows.network.l2;
        let mut components = direction.components();
        let mut penalty = 0.0;
        (worker.direction).visit(theta.layout(), |place, index, is_weight| {
            let component = f64::from(components.step());
            if l2 != 0.0 && is_weight {
                penalty += theta.flat()[index].to_f64() * component;
            }
            *place = R::from_f64(component);
        });
        let moving = 0..theta.layout().layers();
        let sum = worker.derivative(&self.rows, self.weights, self.primal, moving);
        if l2 == 0.0 {
            sum
        } else {
            sum + R::from_f64(l2 * penalty)
        }
    }
}

impl<R: Real> GradientEngine<R> for PerturbedWeights<R> {
    fn gradient(
        &mut self,
        parameters: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut Parameters<R>,
        control: &Control,
    ) -> Result<GradientEvaluation, Stopped> {
        self.gathered.read(&self.network, batch);
        let rows = (self.gathered).rows(&self.network, self.isa, batch, control);
        self.weights.load(parameters);
        let loss = self.primal.run(&rows, &self.weights);
        let shared = WeightContext {
            theta: parameters,
            rows,
            weights: &self.weights,
            primal: &self.primal,
        };
        project(
            &self.pool,
            &mut self.workers[..self.worker_limit],
            (self.directions, self.direction_seed),
            &mut self.derivatives,
            gradient.flat_mut(),
            control,
            |worker, direction| shared.derivative(worker, direction),
        )?;
        Ok(GradientEvaluation {
            loss: loss / batch.rows.len() as f64,
            tally: self.tally(batch.samples, batch.rows),
        })
    }

    fn tally(&self, samples: &Samples<R>, rows: &[u32]) -> Tally {
        random_direction::perturbed_weights(&self.network, self.directions, samples, rows)
    }

    fn most_workers(&self) -> usize {
        most_workers(&self.pool, self.directions, self.network.layout.len())
    }

    fn limit_workers(&mut self, workers: usize) {
        assert!((1..=self.pool.threads()).contains(&workers));
        self.worker_limit = workers.min(self.most_workers());
    }

    fn set_direction_seed(&mut self, direction_seed: DirectionSeed) {
        self.direction_seed = direction_seed;
    }
}
