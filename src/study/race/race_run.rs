//! One run of a race: training by one method with one seed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{RaceRow, RaceStudy};
use crate::config::Config;
use crate::data::Samples;
use crate::error::{Error, Result};
use crate::format::file::create_folders;
use crate::gradient::TrainingEngine;
use crate::gradient::operation_counts::dense_formulas;
use crate::model::{Assessment, Forward};
use crate::numeric::Real;
use crate::optimizer::OptimizerConfig;
use crate::run::{Checkpoint, checkpoint, directory};
use crate::study::methods::Method;
use crate::study::record::StudyRecord;
use crate::train::{EpochRecord, Observer, TrainConfig, Training, TrainingState};

/// Seconds before the first evaluation, and the factor by which each pause is longer than the one
/// before.
const FIRST_PAUSE: f64 = 0.001;
const GROWTH: f64 = 1.25;
/// The pause after an evaluation is at least the time it took divided by this share.
const MAX_EVALUATION_SHARE: f64 = 0.2;
/// The longest pause as a share of the time limit; only slow evaluations make it longer.
const LONGEST_PAUSE_SHARE: f64 = 0.05;

/// The rows on which accuracy is measured.
#[derive(Clone, Copy)]
pub(super) struct Judges<'a, R> {
    pub samples: &'a Samples<R>,
    pub rows: &'a [u32],
}

/// Training by one method with one seed and one learning rate.
pub(super) struct RaceRun<'a, R> {
    pub study: &'a RaceStudy<'a>,
    pub method: &'a Method,
    pub seed: u64,
    /// The learning rate; `None` if the optimizer has none.
    pub rate: Option<f64>,
    /// Seconds of training steps allowed.
    pub seconds: f64,
    /// The samples of the training rows.
    pub samples: &'a Samples<R>,
    pub judges: Judges<'a, R>,
}

impl<R: Real> RaceRun<'_, R> {
    /// Trains until the run ends, unless it has ended in `record`. Returns whether it ended; it does
    /// not if the control requested a stop.
    ///
    /// # Errors
    /// Checkpoints that cannot be read; errors of the operating system.
    pub fn run(&self, record: &mut StudyRecord<RaceRow>) -> Result<bool> {
        let name = self.method.label.replace(['/', ':'], "-");
        let folder = record.path().join(format!("{name}-{}", self.seed));
        create_folders(&folder)?;
        // This process holds the study's lock, so nobody else writes here.
        directory::remove_leftovers(&folder)?;
        let ended = |row: &RaceRow| self.owns(row) && row.ending.is_some();
        if record.rows().iter().any(ended) {
            return Ok(true);
        }
        let state = self.start(&folder, record)?;
        let ended = self.train(state, Some((folder, record)))?;
        Ok(ended.is_some())
    }

    /// Trains from the beginning without a checkpoint, and returns the last row; `None` if the
    /// control requested a stop.
    ///
    /// # Errors
    /// Errors of training, except divergence.
    pub fn try_rate(&self) -> Result<Option<RaceRow>> {
        let row = self.train(self.beginning(), None)?;
        Ok(row.map(|row| RaceRow {
            tuning: true,
            ..row
        }))
    }

    /// Returns whether `row` is one of this run.
    fn owns(&self, row: &RaceRow) -> bool {
        !row.tuning && row.method == self.method.label && row.seed == self.seed
    }

    fn train(
        &self,
        mut state: TrainingState<R>,
        kept: Option<(PathBuf, &mut StudyRecord<RaceRow>)>,
    ) -> Result<Option<RaceRow>> {
        let study = self.study;
        let config = study.subject.config;
        let train = &study.subject.split.train;
        let control = study.subject.control;
        let mut optimizer: OptimizerConfig = config.optimizer.clone();
        if let Some(rate) = self.rate {
            optimizer.set_learning_rate(rate);
        }
        let training_config = TrainConfig {
            max_seconds: Some(self.seconds),
            early_stopping: None,
            ..config.train.clone()
        };
        let training = Training {
            network: &study.network,
            samples: self.samples,
            rows: &train.rows,
            validation: None,
            classes: train.dataset.class_count(),
            gradient: &self.method.gradient,
            optimizer: &optimizer,
            config: &training_config,
            seed: self.seed,
            pool: &study.pool,
            isa: study.subject.isa,
            workers: None,
            split: config.run.split,
            control,
        };
        let mut observer = RaceRunObserver {
            run: self,
            engine: training.engine(),
            training: &training,
            kept,
            last: Instant::now(),
            pause: FIRST_PAUSE,
        };
        let result = (study.pool).install(|| training.run(&mut state, &mut observer).map(|_| ()));
        if control.is_stopped() {
            observer.record_state(&state, None)?;
            return Ok(None);
        }
        let ending = match result {
            Ok(()) if state.seconds() >= self.seconds => "the time limit".to_owned(),
            Ok(()) => "as long as [train] asks for".to_owned(),
            Err(Error::Diverged(_)) => format!("diverged in epoch {}", state.epoch + 1),
            Err(other) => return Err(other),
        };
        observer.record_state(&state, Some(ending.clone()))?;
        Ok(observer.row(&state, Some(ending)))
    }

    /// Returns the initial state, which all methods share.
    fn beginning(&self) -> TrainingState<R> {
        let Config { model, .. } = self.study.subject.config;
        let layout = &self.study.network.layout;
        TrainingState::new(model.initialization.draw(layout, self.seed))
    }

    /// Returns the initial state, or the last saved one of an interrupted run; rows after that state
    /// are removed. If checkpoints cannot be read, or all are damaged, this is an error and the rows
    /// are kept.
    fn start(&self, folder: &Path, record: &mut StudyRecord<RaceRow>) -> Result<TrainingState<R>> {
        let state = match checkpoint::newest(folder) {
            Ok(found) => (found.checkpoint).state::<R>(&self.study.network.layout, &found.path)?,
            Err(Error::NoCheckpoint(message)) if checkpoint::any(folder)? => {
                return Err(Error::NoCheckpoint(format!(
                    "{message}\n  help: remove this folder to run {} from the start; this replaces its rows",
                    self.method.label
                )));
            }
            Err(Error::NoCheckpoint(_)) => self.beginning(),
            Err(other) => return Err(other),
        };
        let steps = state.steps;
        record.retain(|row| !self.owns(row) || (steps > 0 && row.steps <= steps))?;
        Ok(state)
    }

    /// Returns the multiplications of a plain implementation of `steps` steps; `None` if the method
    /// has no plain form.
    fn dense_multiplications(&self, steps: StepCount) -> Option<u64> {
        let step = |rows: usize| -> Option<u64> {
            let network = &self.study.network;
            let tally = dense_formulas::gradient(network, &self.method.gradient, rows as u64)?;
            Some(tally.multiplications)
        };
        let ragged = if steps.ragged_rows == 0 {
            0
        } else {
            step(steps.ragged_rows)?
        };
        Some(steps.whole * step(steps.batch_rows)? + steps.ragged * ragged)
    }
}

/// The steps so far, by their number of rows.
#[derive(Clone, Copy)]
struct StepCount {
    /// Rows of a whole mini-batch, and the steps with so many.
    batch_rows: usize,
    whole: u64,
    /// Rows of the last mini-batch of an epoch if it is smaller, and the steps with so many.
    ragged_rows: usize,
    ragged: u64,
}

impl StepCount {
    /// Divides `steps` steps over epochs of `rows` rows.
    fn new(steps: u64, rows: usize, batch_size: usize) -> Self {
        let batch_rows = batch_size.min(rows);
        let epochs = steps / rows.div_ceil(batch_rows) as u64;
        let ragged_rows = rows % batch_rows;
        let ragged = if ragged_rows == 0 { 0 } else { epochs };
        Self {
            batch_rows,
            whole: steps - ragged,
            ragged_rows,
            ragged,
        }
    }

    /// Returns the number of rows of all steps.
    fn rows(self) -> u64 {
        self.whole * self.batch_rows as u64 + self.ragged * self.ragged_rows as u64
    }
}

/// The observer of a run, which records its progress.
struct RaceRunObserver<'a, R> {
    run: &'a RaceRun<'a, R>,
    training: &'a Training<'a, R>,
    /// Used for its operation counts only.
    engine: Box<dyn TrainingEngine<R>>,
    /// The folder of the checkpoints, and the study's rows; `None` while a rate is tried.
    kept: Option<(PathBuf, &'a mut StudyRecord<RaceRow>)>,
    /// The time of the last evaluation.
    last: Instant,
    /// Seconds from then to the next evaluation.
    pause: f64,
}

impl<R: Real> RaceRunObserver<'_, R> {
    /// Evaluates `state`, and saves it with its row; without one if a stop is requested before a long
    /// evaluation has ended. A state has only one row: the one with the ending replaces the earlier
    /// one.
    fn record_state(&mut self, state: &TrainingState<R>, ending: Option<String>) -> Result<()> {
        let run = self.run;
        let same = |row: &RaceRow| run.owns(row) && row.steps == state.steps;
        let Some((_, record)) = &self.kept else {
            return Ok(());
        };
        if ending.is_none() && record.rows().iter().any(same) {
            return Ok(());
        }
        let begin = Instant::now();
        let row = self.row(state, ending);
        let config = run.study.subject.config.to_toml();
        if let Some((folder, record)) = &mut self.kept {
            checkpoint::save(folder, &Checkpoint::from_state(config, state))?;
            if let Some(row) = row {
                record.retain(|row| !same(row))?;
                record.push(row)?;
            }
        }
        let taken = begin.elapsed().as_secs_f64();
        self.pause = (GROWTH * self.pause)
            .min(LONGEST_PAUSE_SHARE * run.seconds)
            .max(taken / MAX_EVALUATION_SHARE);
        self.last = Instant::now();
        Ok(())
    }

    /// Evaluates `state`; returns `None` if a stop is requested before a long evaluation has ended.
    fn row(&self, state: &TrainingState<R>, ending: Option<String>) -> Option<RaceRow> {
        let (run, training) = (self.run, self.training);
        let forward = Forward::new(training.network, &state.parameters, training.isa);
        let Judges { samples, rows } = run.judges;
        let (classes, pool) = (training.classes, training.pool);
        let stop = training.control.interruption();
        let Assessment { loss, accuracy, .. } =
            forward.assess_unless_stopped(samples, rows, classes, pool, stop)?;
        let all = training.rows.len();
        // A time limit closes an epoch early, so epochs are counted by steps.
        let steps = StepCount::new(state.steps, all, training.config.batch_size);
        Some(RaceRow {
            method: run.method.label.clone(),
            seed: run.seed,
            learning_rate: run.rate,
            tuning: false,
            epochs: steps.rows() as f64 / all as f64,
            steps: state.steps,
            seconds: state.seconds(),
            accuracy,
            loss,
            tally: training.tally(state, &*self.engine),
            dense_multiplications: run.dense_multiplications(steps),
            ending,
        })
    }
}

impl<R: Real> Observer<R> for RaceRunObserver<'_, R> {
    fn progress(&mut self, _: usize, _: usize, _: usize) {}

    fn wants_state(&self) -> bool {
        self.kept.is_some() && self.last.elapsed() >= Duration::from_secs_f64(self.pause)
    }

    fn state(&mut self, state: &TrainingState<R>) -> Result<()> {
        self.record_state(state, None)
    }

    fn epoch(&mut self, _: &EpochRecord, state: &TrainingState<R>) -> Result<()> {
        if self.wants_state() {
            self.record_state(state, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::StepCount;

    #[test]
    fn steps_are_counted_by_their_rows() {
        // 25 rows by 10: two whole steps and one of 5 rows an epoch.
        let count = |steps| {
            let count = StepCount::new(steps, 25, 10);
            (count.whole, count.ragged, count.rows())
        };
        assert_eq!(count(0), (0, 0, 0));
        assert_eq!(count(2), (2, 0, 20));
        assert_eq!(count(3), (2, 1, 25));
        assert_eq!(count(8), (6, 2, 70));
        // A mini-batch of more rows than there are is all of them.
        let all = StepCount::new(3, 7, 10);
        assert_eq!((all.batch_rows, all.whole, all.rows()), (7, 3, 21));
    }
}
