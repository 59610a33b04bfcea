//! Writes the logs, the checkpoints and the progress of a run, on a thread of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::CommandContext;
use super::progress::{ProgressDisplay, ProgressLength};
use crate::cli::event_thread::EventThread;
use crate::cli::session::Session;
use crate::error::{Error, Result};
use crate::gradient::Control;
use crate::numeric::Real;
use crate::run::{Checkpoint, Metrics, RunDirectory, checkpoint};
use crate::train::{Ending, EpochRecord, Observer, TrainingState};

/// A checkpoint costs a few milliseconds of disk: never more often than this.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// What goes to the listener.
enum TrainingEvent {
    Steps(u64),
    Epoch(Box<EpochRecord>),
    Checkpoint(Box<Checkpoint>),
}

/// Hands events to the listener, and decides when a checkpoint is due.
pub struct Recorder<R> {
    listener: EventThread<TrainingEvent>,
    config: String,
    pause: Duration,
    last: Instant,
    batch_size: usize,
    /// With early stopping: where the last epoch ended, before the best weights are restored. A
    /// resumed run goes on from there.
    before_restoring: Option<TrainingState<R>>,
    restores: bool,
}

impl<R: Real> Recorder<R> {
    /// Starts the thread.
    ///
    /// # Errors
    /// A file of metrics that cannot be written; a thread that is refused.
    pub fn start(
        session: &Session<'_>,
        host: &CommandContext<'_>,
        directory: &RunDirectory,
        state: &TrainingState<R>,
        length: ProgressLength,
        control: &Control,
        config: String,
    ) -> Result<Self> {
        let folder: PathBuf = directory.path().to_path_buf();
        let mut metrics = Metrics::start(&folder, &state.records)?;
        let board = if host.shows_epochs {
            ProgressDisplay::new(host.global, length, control.clone())
        } else {
            ProgressDisplay::hidden()
        };
        let board = Arc::new(board);
        let watched = Arc::clone(&board);
        let handle = move |event| {
            match event {
                TrainingEvent::Steps(done) => board.steps(done),
                TrainingEvent::Epoch(record) => {
                    metrics.append(&*record)?;
                    board.epoch(&record);
                }
                TrainingEvent::Checkpoint(content) => {
                    checkpoint::save(&folder, &content)?;
                }
            }
            Ok(())
        };
        let listener = EventThread::start_watching(handle, move || watched.look())?;
        let pause = Duration::try_from_secs_f64(session.config.run.checkpoint_seconds);
        Ok(Self {
            listener,
            config,
            pause: pause.unwrap_or(Duration::MAX).max(SHORTEST_PAUSE),
            last: Instant::now(),
            batch_size: session.config.train.batch_size,
            before_restoring: None,
            restores: session.config.train.early_stopping.is_some(),
        })
    }

    /// Saves where the run ended, whatever ended it, and waits until all is on disk.
    pub fn finish(mut self, ending: Result<Ending>, state: &TrainingState<R>) -> Result<Ending> {
        if let Ok(ending) = &ending {
            let saved = match (ending, self.before_restoring.take()) {
                (Ending::Interrupted, _) | (_, None) => Checkpoint::from_state(self.config, state),
                (_, Some(before)) => Checkpoint::from_state(self.config, &before),
            };
            self.listener
                .deliver(TrainingEvent::Checkpoint(Box::new(saved)));
        }
        // A failed write comes first: it is why the loop ended.
        self.listener.finish()?;
        ending
    }
}

impl<R: Real> Observer<R> for Recorder<R> {
    fn progress(&mut self, epoch: usize, rows: usize, of: usize) {
        let steps = |rows: usize| rows.div_ceil(self.batch_size) as u64;
        let done = (epoch as u64 - 1) * steps(of) + steps(rows);
        self.listener.offer(TrainingEvent::Steps(done));
    }

    fn wants_state(&self) -> bool {
        self.last.elapsed() >= self.pause
    }

    fn state(&mut self, state: &TrainingState<R>) -> Result<()> {
        let due = Checkpoint::from_state(self.config.clone(), state);
        self.listener
            .deliver(TrainingEvent::Checkpoint(Box::new(due)));
        self.last = Instant::now();
        self.check()
    }

    fn epoch(&mut self, record: &EpochRecord, state: &TrainingState<R>) -> Result<()> {
        self.listener
            .deliver(TrainingEvent::Epoch(Box::new(record.clone())));
        if self.restores {
            self.before_restoring = Some(state.clone());
        }
        if self.wants_state() {
            return self.state(state);
        }
        self.check()
    }
}

impl<R> Recorder<R> {
    /// Ends a run that nobody can write down any more.
    fn check(&self) -> Result<()> {
        if self.listener.has_failed() {
            return Err(Error::Resources(
                "the run's logs cannot be written".to_owned(),
            ));
        }
        Ok(())
    }
}
