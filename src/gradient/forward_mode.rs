//! Forward mode by whole passes: one Jacobian-vector product along each axis of θ.
//!
//! Cost: one forward pass for the values, and N tangent passes, each as expensive as about two
//! forward passes: the products V·a with the direction V, and the products W·ȧ that propagate the
//! tangents. The result is exact. So is that of [`super::finite_difference::Incremental`] with
//! [`super::finite_difference::Perturbation::Tangent`], which computes only what the axis changes:
//! the two differ in the amount of work alone. With [`Reuse::Prefix`] a pass starts in the layer of
//! the parameter, since nothing below it changes.

use std::ops::Range;
use std::sync::Arc;

use super::finite_difference::Reuse;
use super::finite_difference::forward_pass::GatheredBatch;
use super::finite_difference::unit_panels::UnitPanels;
use super::operation_counts::random_direction;
use super::parameter_shares::{self, ParameterCosts};
use super::random_direction::tangent::{ParameterDirection, PrimalValues};
use super::{Control, GradientEngine, GradientEvaluation, Stopped};
use crate::data::{Batch, Samples};
use crate::kernels::Isa;
use crate::model::{Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::parallel::Workers;

/// The engine of forward mode by whole passes.
pub struct WholeTangentPasses<R> {
    network: Network,
    reuse: Reuse,
    pool: Arc<Workers>,
    isa: Isa,
    worker_count: usize,
    gathered: GatheredBatch<R>,
    weights: UnitPanels<R>,
    primal: PrimalValues<R>,
    workers: Vec<ParameterDirection<R>>,
}

impl<R: Real> WholeTangentPasses<R> {
    /// Creates an engine for mini-batches of at most `capacity` rows.
    pub fn new(
        network: &Network,
        reuse: Reuse,
        pool: &Arc<Workers>,
        isa: Isa,
        capacity: usize,
    ) -> Self {
        let layout = &network.layout;
        Self {
            network: network.clone(),
            reuse,
            pool: Arc::clone(pool),
            isa,
            worker_count: layout.len().min(pool.threads()),
            gathered: GatheredBatch::new(layout.sizes()[0], capacity),
            weights: UnitPanels::zeros(layout),
            primal: PrimalValues::new(network, capacity),
            workers: (0..pool.threads())
                .map(|_| ParameterDirection::new(network, capacity))
                .collect(),
        }
    }

    /// Returns the layers in which a pass computes the products V·a, for a parameter of `layer`.
    fn direction_layers(&self, layer: usize) -> Range<usize> {
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
        self.gathered.read(&self.network, batch);
        let rows = (self.gathered).rows(&self.network, self.isa, batch, control);
        self.weights.load(parameters);
        let loss = self.primal.run(&rows, &self.weights);
        let direction_layers: Vec<_> = (0..layout.layers())
            .map(|layer| self.direction_layers(layer))
            .collect();
        let group = |layer: usize| {
            let parameters = layout.weights(layer).len() + layout.biases(layer).len();
            let cost = cost(sizes, &direction_layers[layer]);
            (parameters, cost * batch.rows.len() as f64)
        };
        let costs = ParameterCosts {
            groups: (0..layout.layers()).map(group).collect(),
            evaluations: 1,
        };
        let (weights, primal) = (&self.weights, &self.primal);
        let differentiate = |worker: &mut ParameterDirection<R>,
                             share: &[Range<usize>],
                             gradient: &mut [R]| {
            let mut partials = gradient.iter_mut();
            for (layer, range) in share.iter().enumerate() {
                let start = layout.weights(layer).start;
                for (index, partial) in (start + range.start..start + range.end).zip(&mut partials)
                {
                    if control.is_stopped() {
                        return Err(Stopped::Interrupted);
                    }
                    let place = UnitPanels::<R>::place(&layout, layer, index);
                    let layers = direction_layers[layer].clone();
                    *partial = worker.axis(&rows, weights, primal, (layer, place), layers);
                    if rows.network.l2 != 0.0 && layout.weights(layer).contains(&index) {
                        let l2 = R::from_f64(rows.network.l2);
                        *partial = l2.mul_add(parameters.flat()[index], *partial);
                    }
                }
            }
            Ok(())
        };
        parameter_shares::differentiate(
            &self.pool,
            &costs,
            &mut self.workers[..self.worker_count],
            gradient.flat_mut(),
            control,
            differentiate,
        )?;
        if control.is_interrupted() {
            return Err(Stopped::Interrupted);
        }
        Ok(GradientEvaluation {
            loss: loss / batch.rows.len() as f64,
            tally: self.tally(batch.samples, batch.rows),
        })
    }

    fn tally(&self, samples: &Samples<R>, rows: &[u32]) -> Tally {
        random_direction::forward_mode(&self.network, self.reuse, samples, rows)
    }

    fn most_workers(&self) -> usize {
        self.network.layout.len().min(self.pool.threads())
    }

    fn limit_workers(&mut self, workers: usize) {
        assert!((1..=self.pool.threads()).contains(&workers));
        self.worker_count = workers.min(self.most_workers());
    }
}

/// Predicts the cost of one tangent pass, in multiplications per row: the products V·a of the
/// layers in `direction_layers`, and the products W·ȧ of all layers above the first of them.
fn cost(sizes: &[usize], direction_layers: &Range<usize>) -> f64 {
    let product = |layer: usize| (sizes[layer] * sizes[layer + 1]) as f64;
    let propagated = (direction_layers.start + 1..sizes.len() - 1)
        .map(product)
        .sum::<f64>();
    direction_layers.clone().map(product).sum::<f64>() + propagated
}
