//! One evaluation of the loss: the forward pass that differences by whole passes repeat N + 1
//! times. Its duration is the unit in which studies express the cost of a gradient.

use super::forward_pass::{ForwardPass, GatheredBatch};
use super::unit_panels::UnitPanels;
use crate::data::{Batch, Samples};
use crate::gradient::Control;
use crate::gradient::operation_counts::finite_difference;
use crate::kernels::Isa;
use crate::model::{Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;

/// An evaluator of the loss at a fixed θ, on one thread.
pub struct LossEvaluator<R> {
    network: Network,
    isa: Isa,
    weights: UnitPanels<R>,
    pass: ForwardPass<R>,
    gathered: GatheredBatch<R>,
}

impl<R: Real> LossEvaluator<R> {
    /// Creates an evaluator at θ = `parameters`, for mini-batches of at most `capacity` rows.
    pub fn new(network: &Network, parameters: &Parameters<R>, isa: Isa, capacity: usize) -> Self {
        let features = network.layout.sizes()[0];
        let mut weights = UnitPanels::zeros(&network.layout);
        weights.load(parameters);
        Self {
            network: network.clone(),
            isa,
            weights,
            pass: ForwardPass::new(network, capacity),
            gathered: GatheredBatch::new(features, capacity),
        }
    }

    /// Returns the mean loss of `batch`, without the l2 term; adds 1 evaluation to `control`.
    ///
    /// # Panics
    /// If `batch` has more rows than the capacity.
    pub fn loss(&mut self, batch: Batch<'_, R>, control: &Control) -> f64 {
        self.gathered.read(&self.network, batch);
        let rows = (self.gathered).rows(&self.network, self.isa, batch, control);
        self.pass.run(&rows, &self.weights, 0, None);
        let losses = &self.pass.losses[..batch.rows.len()];
        let sum: f64 = losses.iter().map(|loss| loss.to_f64()).sum();
        sum / batch.rows.len() as f64
    }

    /// Returns the number of operations that an evaluation of these rows performs.
    pub fn tally(&self, samples: &Samples<R>, rows: &[u32]) -> Tally {
        finite_difference::evaluation(&self.network, samples, rows)
    }
}
