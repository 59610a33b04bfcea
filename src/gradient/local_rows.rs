//! Backprop of several ranks with `reduce = "fast"`: each rank computes the gradient of its own rows of
//! the mini-batch, and the gradients are added.
//!
//! One exchange a step, of N numbers. The sum over the rows is not one chain in their order, so the
//! bits depend on the number of ranks; on each number of ranks they are the same in every run of the
//! same MPI library.

use super::backprop::Backprop;
use super::{Control, GradientEngine, GradientEvaluation, Stopped};
use crate::data::{Batch, Samples};
use crate::model::Parameters;
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::parallel::{Ranks, Split};

/// The engine: backprop over the rows of one rank.
pub struct LocalRows<R> {
    backprop: Backprop<R>,
    ranks: Ranks,
}

impl<R: Real> LocalRows<R> {
    /// Creates the engine from one for all rows.
    pub fn new(mut backprop: Backprop<R>, ranks: &Ranks) -> Self {
        backprop.on_one_rank();
        Self {
            backprop,
            ranks: ranks.clone(),
        }
    }
}

impl<R: Real> GradientEngine<R> for LocalRows<R> {
    fn gradient(
        &mut self,
        parameters: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut Parameters<R>,
        control: &Control,
    ) -> Result<GradientEvaluation, Stopped> {
        let (count, size, rank) = (batch.rows.len(), self.ranks.size(), self.ranks.rank());
        let rows = &batch.rows[count * rank / size..count * (rank + 1) / size];
        let mut loss = [0.0];
        gradient.flat_mut().fill(R::ZERO);
        if !rows.is_empty() {
            let samples = batch.samples;
            let own = Batch { samples, rows };
            let evaluation = self.backprop.gradient(parameters, own, gradient, control)?;
            let part = rows.len() as f64 / count as f64;
            loss[0] = evaluation.loss * part;
            let part = R::from_f64(part);
            for partial in gradient.flat_mut() {
                *partial = *partial * part;
            }
        }
        self.ranks.sum(gradient.flat_mut());
        self.ranks.sum(&mut loss);
        Ok(GradientEvaluation {
            loss: loss[0],
            tally: self.tally(batch.samples, batch.rows),
        })
    }

    fn tally(&self, samples: &Samples<R>, rows: &[u32]) -> Tally {
        self.backprop.tally(samples, rows)
    }

    fn most_workers(&self) -> usize {
        self.backprop.most_workers()
    }

    fn splits(&self) -> &'static [Split] {
        self.backprop.splits()
    }

    fn set_split(&mut self, split: Split) {
        self.backprop.set_split(split);
    }

    fn limit_workers(&mut self, workers: usize) {
        self.backprop.limit_workers(workers);
    }
}
