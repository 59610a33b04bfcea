//! The incremental engine as training and checks use it: steps of descent, and single gradients.

use super::Incremental;
use crate::data::{Batch, Samples};
use crate::gradient::finite_difference::IncrementControl;
use crate::gradient::finite_difference::unit_panels::UnitPanels;
use crate::gradient::operation_counts::finite_difference;
use crate::gradient::{Control, Descent, GradientEngine, GradientEvaluation, Stopped};
use crate::kernels::update::Rule;
use crate::model::Parameters;
use crate::numeric::Real;
use crate::numeric::tally::Tally;

impl<R: Real> Descent<R> for Incremental<R> {
    fn load(&mut self, parameters: &Parameters<R>) {
        self.weights.load(parameters);
        self.velocity = None;
    }

    fn store(&mut self, parameters: &mut Parameters<R>) {
        self.weights.store(parameters);
    }

    fn load_velocity(&mut self, velocity: &Parameters<R>) {
        let layout = &self.network.layout;
        self.velocity
            .get_or_insert_with(|| UnitPanels::zeros(layout))
            .load(velocity);
    }

    fn store_velocity(&mut self, velocity: &mut Parameters<R>) -> bool {
        match &mut self.velocity {
            Some(panels) => {
                panels.store(velocity);
                true
            }
            None => false,
        }
    }

    fn descend(
        &mut self,
        samples: &Samples<R>,
        order: &[u32],
        batch_size: usize,
        rule: Rule<R>,
        workers: usize,
        loss: &mut f64,
        control: &Control,
    ) -> Result<usize, Stopped> {
        if rule.momentum != R::ZERO && self.velocity.is_none() {
            self.velocity = Some(UnitPanels::zeros(&self.network.layout));
        }
        let rows = self.run_batches(
            samples,
            order,
            batch_size,
            Some(rule),
            workers,
            loss,
            control,
        );
        Ok(rows)
    }
}

impl<R: Real> GradientEngine<R> for Incremental<R> {
    fn gradient(
        &mut self,
        parameters: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut Parameters<R>,
        control: &Control,
    ) -> Result<GradientEvaluation, Stopped> {
        self.weights.load(parameters);
        let (rows, workers) = (batch.rows, self.worker_count);
        let mut loss = 0.0;
        let done = self.run_batches(
            batch.samples,
            rows,
            rows.len(),
            None,
            workers,
            &mut loss,
            control,
        );
        if done < rows.len() {
            return Err(Stopped::Interrupted);
        }
        self.sums.store(gradient);
        Ok(GradientEvaluation {
            loss: loss / rows.len() as f64,
            tally: self.tally(batch.samples, rows),
        })
    }

    fn tally(&self, samples: &Samples<R>, rows: &[u32]) -> Tally {
        finite_difference::incremental(&self.network, &self.perturbation, samples, rows)
    }

    fn most_workers(&self) -> usize {
        self.max_workers
    }

    fn limit_workers(&mut self, workers: usize) {
        assert!((1..=self.pool.threads()).contains(&workers));
        self.worker_count = workers;
    }
}

impl<R: Real> IncrementControl<R> for Incremental<R> {
    fn set_increments(&mut self, factor: f64, measured: f64) {
        (self.factor, self.measured) = (factor, measured);
    }
}
