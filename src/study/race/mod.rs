//! The race: the same network and data, trained by one method after another from the same initial
//! weights and in the same order of rows, once for each seed.
//!
//! A row records the progress of a method: accuracy and loss on rows that are not used for
//! training, with the seconds and the operations of its steps so far. Evaluations come at growing
//! intervals, and their time is not counted. A checkpoint is saved with each row, so that an
//! interrupted race continues with the same bits and seconds. If a method diverges, its race ends
//! and that of the next one begins.
//!
//! Methods that compute the gradient take the config's learning rate. Random-direction estimates
//! take the rate that [`rates`] finds for them on the validation rows.

mod race_run;
pub mod rates;
mod sentences;
pub mod summary;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::race_run::{Judges, RaceRun};
use self::summary::RaceReport;
use super::methods::Method;
use super::record::StudyRecord;
use super::table::{duration, percent};
use super::{Study, StudyReport, Subject};
use crate::config::Config;
use crate::data::{Part, Samples, Split};
use crate::error::{Error, Result};
use crate::model::Network;
use crate::numeric::tally::Tally;
use crate::numeric::{Precision, Real};
use crate::parallel::Workers;

/// The arguments of a race, with all defaults filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RacePlan {
    /// Labels of the methods, in the order in which they are trained.
    pub methods: Vec<String>,
    /// Learning rates that the user gave, by label.
    pub rates: Vec<(String, f64)>,
    /// Seeds of the initial weights, of the order of rows and of random directions.
    pub seeds: Vec<u64>,
    /// Seconds of training at each learning rate that is tried for a random-direction estimate;
    /// 0: no rate is tried.
    pub tuning: f64,
    /// Target accuracies: the race reports when each method first reaches them.
    pub targets: Vec<f64>,
    /// Seconds of training steps allowed for each method and seed.
    pub limit: f64,
}

/// The progress of a method at one evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RaceRow {
    /// The method's label.
    pub method: String,
    /// The seed.
    pub seed: u64,
    /// The learning rate; `None` if the optimizer has none.
    pub learning_rate: Option<f64>,
    /// Whether the learning rate was only tried; such a row is no part of the race.
    pub tuning: bool,
    /// Epochs completed, including the fraction of the one in progress.
    pub epochs: f64,
    /// Number of steps so far.
    pub steps: u64,
    /// Seconds of shuffling and training steps so far.
    pub seconds: f64,
    /// Accuracy on the evaluation rows.
    pub accuracy: f64,
    /// Mean loss on the evaluation rows, without the l2 term.
    pub loss: f64,
    /// Operations performed in all steps so far.
    pub tally: Tally,
    /// Multiplications of a plain implementation of the same steps: zeros are multiplied, and
    /// nothing is shared. `None` if the method has no plain form.
    pub dense_multiplications: Option<u64>,
    /// The reason why the method ended; only in its last row.
    pub ending: Option<String>,
}

/// A race that is ready to start.
pub struct RaceStudy<'a> {
    /// The config and the rows.
    pub subject: Subject<'a>,
    /// The network.
    pub network: Network,
    /// The worker threads.
    pub pool: Arc<Workers>,
    /// The methods of the plan.
    pub methods: Vec<Method>,
    /// The rows on which accuracy is measured, and their name.
    pub judges: (&'a Part, &'static str),
}

/// Returns the rows on which accuracy is measured, and their name: the validation rows, or the test
/// rows if there are no validation rows.
///
/// # Errors
/// [`Error::Usage`] if there are neither validation nor test rows.
pub fn evaluation_part(split: &Split) -> Result<(&Part, &'static str)> {
    let validation = split.validation.as_ref().map(|part| (part, "validation"));
    let test = || split.test.as_ref().map(|part| (part, "test"));
    validation.or_else(test).ok_or_else(|| {
        Error::Usage(
            "a race needs validation or test rows, which are not used for training\n  help: set data.validation in the config"
                .to_owned(),
        )
    })
}

impl Study for RaceStudy<'_> {
    const KIND: &'static str = "race";
    type Plan = RacePlan;
    type Row = RaceRow;

    fn config(&self) -> Option<&Config> {
        Some(self.subject.config)
    }

    fn threads(&self, _: &RacePlan) -> usize {
        self.pool.threads()
    }

    /// Trains by every method and seed that has not ended in `record`.
    fn run(&mut self, plan: &RacePlan, record: &mut StudyRecord<RaceRow>) -> Result<bool> {
        match self.subject.config.model.precision {
            Precision::F32 => self.run_in::<f32>(plan, record),
            Precision::F64 => self.run_in::<f64>(plan, record),
        }
    }

    fn line(row: &RaceRow) -> String {
        let ending = row.ending.as_ref();
        let ending = ending.map_or(String::new(), |ending| format!(", ended: {ending}"));
        let rate = row.learning_rate.filter(|_| row.tuning);
        let rate = rate.map_or(String::new(), |rate| {
            format!(" at learning rate {rate:.2e}")
        });
        format!(
            "{}, seed {}{rate}: {} after {}, epoch {:.2}{ending}",
            row.method,
            row.seed,
            percent(Some(row.accuracy)),
            duration(row.seconds),
            row.epochs,
        )
    }

    fn is_detail(row: &RaceRow) -> bool {
        row.ending.is_none()
    }

    fn report<'a>(
        &'a self,
        plan: &'a RacePlan,
        record: &'a StudyRecord<RaceRow>,
    ) -> impl StudyReport + 'a {
        let name = &self.subject.config.name;
        RaceReport::new(name, record.label(), self.judges.1, plan, record.rows())
    }
}

impl RaceStudy<'_> {
    fn run_in<R: Real>(&self, plan: &RacePlan, record: &mut StudyRecord<RaceRow>) -> Result<bool> {
        let Subject { config, split, .. } = self.subject;
        let samples = Samples::<R>::new(&split.train.dataset, &split.scaling);
        let part = self.judges.0;
        let same_dataset = Arc::ptr_eq(&part.dataset, &split.train.dataset);
        let other_samples =
            (!same_dataset).then(|| Samples::<R>::new(&part.dataset, &split.scaling));
        let judges = Judges {
            samples: other_samples.as_ref().unwrap_or(&samples),
            rows: &part.rows,
        };
        for method in &self.methods {
            let given = plan.rates.iter().find(|(label, _)| *label == method.label);
            let race_run = |seed, rate, seconds| RaceRun {
                study: self,
                method,
                seed,
                rate,
                seconds,
                samples: &samples,
                judges,
            };
            let rate = match given {
                Some(&(_, rate)) => Some(rate),
                None => match rates::center(method, &self.network, config) {
                    None => config.optimizer.learning_rate(),
                    Some(center) if plan.tuning == 0.0 => Some(center),
                    Some(center) => {
                        let tried = |rate| race_run(plan.seeds[0], Some(rate), plan.tuning);
                        match rates::tune(center, &method.label, record, tried)? {
                            Some(rate) => Some(rate),
                            None => return Ok(false),
                        }
                    }
                },
            };
            for &seed in &plan.seeds {
                if !race_run(seed, rate, plan.limit).run(record)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
