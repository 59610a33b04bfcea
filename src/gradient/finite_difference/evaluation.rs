//! One evaluation, on its own: the forward pass and the loss that whole differences repeat N + 1
//! times, and that a gradient's cost is told in.

use super::forward_pass::{ForwardPass, GatheredBatch};
use super::unit_panels::UnitPanels;
use crate::data::{Batch, Samples};
use crate::gradient::Control;
use crate::gradient::operation_counts::finite_difference;
use crate::kernels::Isa;
use crate::model::{Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;

/// Evaluates the loss at a θ that it holds, on one worker.
pub struct LossEvaluator<R> {
    network: Network,
    isa: Isa,
    weights: UnitPanels<R>,
    pass: ForwardPass<R>,
    gathered: GatheredBatch<R>,
}

impl<R: Real> LossEvaluator<R> {
    /// For mini-batches of at most `capacity` rows, at θ = `parameters`.
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

    /// The mean loss of `batch`, l2 left out: 1 evaluation, told to `control`.
    ///
    /// # Panics
    /// With more rows than there is room for.
    pub fn loss(&mut self, batch: Batch<'_, R>, control: &Control) -> f64 {
        self.gathered.read(batch);
        let rows = (self.gathered).rows(&self.network, self.isa, batch, control);
        self.pass.run(&rows, &self.weights, 0, None);
        let losses = &self.pass.losses[..batch.rows.len()];
        let sum: f64 = losses.iter().map(|loss| loss.to_f64()).sum();
        sum / batch.rows.len() as f64
    }

    /// The operations that an evaluation of these rows performs.
    pub fn tally(&self, samples: &Samples<R>, rows: &[u32]) -> Tally {
        finite_difference::evaluation(&self.network, samples, rows)
    }
}
