//! Forward mode by whole passes: a Jacobian-vector product along each axis of θ.
//!
//! Cost: one pass for the values, and N passes of rates, each about two forward passes: what an axis
//! moves in its own layer, V·a, and what each layer hands on, W·ȧ. It is exact, and so is
//! [`super::finite_difference::Incremental`] with [`super::finite_difference::Perturbation::Tangent`], which follows only
//! what the axis moves; the two differ in the work alone. With [`Reuse::Prefix`] rates start in the
//! layer of the parameter, since none below it moves.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::finite_difference::Reuse;
use super::finite_difference::forward_pass::GatheredBatch;
use super::finite_difference::unit_panels::UnitPanels;
use super::operation_counts::random_direction;
use super::random_direction::tangent::{ParameterDirection, PrimalValues};
use super::{Control, GradientEngine, GradientEvaluation, Stopped};
use crate::data::{Batch, Samples};
use crate::kernels::Isa;
use crate::model::{Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::parallel::{Supersteps, Workers, cut_by_cost};

/// The engine.
pub struct WholeTangentPasses<R> {
    network: Network,
    reuse: Reuse,
    team: Arc<Workers>,
    isa: Isa,
    seats: usize,
    gathered: GatheredBatch<R>,
    weights: UnitPanels<R>,
    primal: PrimalValues<R>,
    workers: Vec<ParameterDirection<R>>,
}

impl<R: Real> WholeTangentPasses<R> {
    /// An engine for mini-batches of at most `capacity` rows.
    pub fn new(
        network: &Network,
        reuse: Reuse,
        team: &Arc<Workers>,
        isa: Isa,
        capacity: usize,
    ) -> Self {
        let layout = &network.layout;
        Self {
            network: network.clone(),
            reuse,
            team: Arc::clone(team),
            isa,
            seats: layout.len().min(team.threads()),
            gathered: GatheredBatch::new(layout.sizes()[0], capacity),
            weights: UnitPanels::zeros(layout),
            primal: PrimalValues::new(network, capacity),
            workers: (0..team.threads())
                .map(|_| ParameterDirection::new(network, capacity))
                .collect(),
        }
    }

    /// The layers that a move of a parameter in `layer` takes a pass through.
    fn moving(&self, layer: usize) -> Range<usize> {
        match self.reuse {
            Reuse::Full => 0..self.network.layout.layers(),
            Reuse::Prefix | Reuse::Incremental => layer..layer + 1,
        }
    }
}

impl<R: Real> GradientEngine<R> for WholeTangentPasses<R> {
    fn gradient(
        &mut self,
        parameters: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut Parameters<R>,
        control: &Control,
    ) -> Result<GradientEvaluation, Stopped> {
        let layout = Arc::clone(&self.network.layout);
        let sizes = layout.sizes();
        self.gathered.read(batch);
        let rows = (self.gathered).rows(&self.network, self.isa, batch, control);
        self.weights.load(parameters);
        let loss = self.primal.run(&rows, &self.weights);
        let moving: Vec<_> = (0..layout.layers())
            .map(|layer| self.moving(layer))
            .collect();
        let groups: Vec<_> = (0..layout.layers())
            .map(|layer| {
                let parameters = layout.weights(layer).len() + layout.biases(layer).len();
                (parameters, cost(sizes, &moving[layer]))
            })
            .collect();
        let shares = cut_by_cost(&groups, self.seats);
        let mut rest = gradient.flat_mut();
        let mut seats = Vec::with_capacity(self.seats);
        for (share, worker) in shares.iter().zip(&mut self.workers) {
            let len = share.iter().map(|own| own.len()).sum();
            let (own, others) = std::mem::take(&mut rest).split_at_mut(len);
            rest = others;
            seats.push((share, worker, own));
        }
        let (weights, primal) = (&self.weights, &self.primal);
        let stopped = AtomicBool::new(false);
        self.team.run(
            Supersteps::new(self.seats),
            seats,
            async |(share, worker, gradient), _| {
                let mut partials = gradient.iter_mut();
                for (layer, own) in share.iter().enumerate() {
                    let start = layout.weights(layer).start;
                    for (index, partial) in (start + own.start..start + own.end).zip(&mut partials)
                    {
                        if control.is_stopped() {
                            stopped.store(true, Ordering::Relaxed);
                            return;
                        }
                        let place = UnitPanels::<R>::place(&layout, layer, index);
                        let moved = moving[layer].clone();
                        *partial = worker.axis(&rows, weights, primal, (layer, place), moved);
                        if rows.network.l2 != 0.0 && layout.weights(layer).contains(&index) {
                            let l2 = R::from_f64(rows.network.l2);
                            *partial = l2.mul_add(parameters.flat()[index], *partial);
                        }
                    }
                }
            },
        );
        if stopped.into_inner() {
            return Err(Stopped::Interrupted);
        }
        Ok(GradientEvaluation {
            loss: loss / batch.rows.len() as f64,
            tally: self.tally(batch.samples, batch.rows),
        })
    }

    fn tally(&self, samples: &Samples<R>, rows: &[u32]) -> Tally {
        random_direction::along_axes(&self.network, self.reuse, samples, rows)
    }

    fn most_workers(&self) -> usize {
        self.network.layout.len().min(self.team.threads())
    }

    fn limit_workers(&mut self, workers: usize) {
        assert!((1..=self.team.threads()).contains(&workers));
        self.seats = workers.min(self.most_workers());
    }
}

/// Predicted cost of a pass of rates, in multiplications a row: the moves of the layers in `moving`,
/// and what all above the first hand on.
fn cost(sizes: &[usize], moving: &Range<usize>) -> f64 {
    let product = |layer: usize| (sizes[layer] * sizes[layer + 1]) as f64;
    let handed = (moving.start + 1..sizes.len() - 1)
        .map(product)
        .sum::<f64>();
    moving.clone().map(product).sum::<f64>() + handed
}
