//! One evaluation of the loss: the forward pass that differences by whole passes repeat N + 1
//! times. Its duration is the unit in which studies express the cost of a gradient.

use super::forward_pass::{ForwardPass, GatheredBatch};
use super::unit_panels::UnitPanels;
use crate::data::Batch;
use crate::gradient::Control;
use crate::gradient::operation_counts::finite_difference;
use crate::kernels::Isa;
use crate::model::{Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;

/// An evaluator of the loss of one mini-batch at a fixed θ, on one thread.
///
/// It reads and scales the mini-batch's inputs when it is created, once, as differences by whole
/// passes do for all of their passes. So N + 1 of its evaluations are the work of a forward
/// difference, in whatever form the inputs are.
pub struct LossEvaluator<'a, R> {
    network: Network,
    isa: Isa,
    weights: UnitPanels<R>,
    pass: ForwardPass<R>,
    gathered: GatheredBatch<R>,
    batch: Batch<'a, R>,
}

impl<'a, R: Real> LossEvaluator<'a, R> {
    /// Creates an evaluator of the loss of `batch` at θ = `parameters`.
    pub fn new(
        network: &Network,
        parameters: &Parameters<R>,
        isa: Isa,
        batch: Batch<'a, R>,
    ) -> Self {
        let mut weights = UnitPanels::zeros(&network.layout);
        weights.load(parameters);
        let mut gathered = GatheredBatch::for_many_passes(batch.samples, batch.rows.len());
        gathered.read(network, batch);
        Self {
            network: network.clone(),
            isa,
            weights,
            pass: ForwardPass::new(network, batch.rows.len()),
            gathered,
            batch,
        }
    }

    /// Returns the mean loss, without the l2 term; adds 1 evaluation to `control`.
    pub fn loss(&mut self, control: &Control) -> f64 {
        let rows = (self.gathered).rows(&self.network, self.isa, self.batch, control);
        self.pass.run(&rows, &self.weights, 0, None);
        let losses = &self.pass.losses[..self.batch.rows.len()];
        let sum: f64 = losses.iter().map(|loss| loss.to_f64()).sum();
        sum / self.batch.rows.len() as f64
    }

    /// Returns the number of operations that an evaluation performs.
    pub fn tally(&self) -> Tally {
        let Batch { samples, rows } = self.batch;
        finite_difference::evaluation(&self.network, samples, rows)
    }
}
