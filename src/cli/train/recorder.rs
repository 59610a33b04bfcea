//! Writes the logs, the checkpoints and the progress of a run, on an event thread.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::context::CommandContext;
use super::progress::{ProgressDisplay, ProgressLength};
use crate::cli::event_thread::EventThread;
use crate::cli::session::Session;
use crate::data::Schema;
use crate::error::{Error, Result};
use crate::gradient::Control;
use crate::numeric::Real;
use crate::run::{Checkpoint, Metrics, RunDirectory, checkpoint};
use crate::train::{Ending, EpochRecord, Observer, TrainingState};

/// Shortest time between two checkpoints, each of which costs a few milliseconds of disk time.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// Events for the event thread.
enum TrainingEvent {
    Steps(u64),
    Epoch(Box<EpochRecord>),
    Checkpoint(Box<Checkpoint>),
}

/// Sends events to the event thread and decides when a checkpoint is due.
pub struct Recorder<R> {
    events: EventThread<TrainingEvent>,
    config: String,
    schema: Schema,
    pause: Duration,
    last: Instant,
    batch_size: usize,
    /// With early stopping, the state at the start or at the end of the last epoch since, before the
    /// best weights are restored: a resumed run continues from there.
    before_restoring: Option<TrainingState<R>>,
    restores: bool,
    /// With several ranks, the wish to stop, by which all end together if the logs cannot be
    /// written.
    wish: Option<Arc<AtomicBool>>,
}

impl<R: Real> Recorder<R> {
    /// Starts the event thread.
    ///
    /// # Errors
    /// A file of metrics that cannot be written; a thread that is refused.
    pub fn start(
        session: &Session<'_>,
        context: &CommandContext<'_>,
        directory: &RunDirectory,
        state: &TrainingState<R>,
        length: ProgressLength,
        control: &Control,
        config: String,
    ) -> Result<Self> {
        let folder: PathBuf = directory.path().to_path_buf();
        let mut metrics = Metrics::start(&folder, &state.records)?;
        let display = if context.shows_epochs {
            ProgressDisplay::new(context.global, length, control.clone())
        } else {
            ProgressDisplay::hidden()
        };
        let display = Arc::new(display);
        let watched_display = Arc::clone(&display);
        let handle = move |event| {
            match event {
                TrainingEvent::Steps(done) => display.steps(done),
                TrainingEvent::Epoch(record) => {
                    metrics.append(&*record)?;
                    display.epoch(&record);
                }
                TrainingEvent::Checkpoint(content) => {
                    checkpoint::save(&folder, &content)?;
                }
            }
            Ok(())
        };
        let events = EventThread::start_with_updates(handle, move || watched_display.update())?;
        let pause = Duration::try_from_secs_f64(session.config.run.checkpoint_seconds);
        let restores = session.config.train.early_stopping.is_some();
        Ok(Self {
            events,
            config,
            schema: session.split.train.dataset.schema(),
            pause: pause.unwrap_or(Duration::MAX).max(SHORTEST_PAUSE),
            last: Instant::now(),
            batch_size: session.config.train.batch_size,
            before_restoring: restores.then(|| state.clone()),
            restores,
            wish: (context.workers.ranks().are_many())
                .then(|| Arc::clone(context.interrupt.flag())),
        })
    }

    /// Saves the state in which the run ended, and waits until everything is on disk.
    pub fn finish(mut self, ending: Result<Ending>, state: &TrainingState<R>) -> Result<Ending> {
        if let Ok(ending) = &ending {
            let saved = match (ending, self.before_restoring.take()) {
                (Ending::Interrupted, _) | (_, None) => Checkpoint::from_state(self.config, state),
                (_, Some(before)) => Checkpoint::from_state(self.config, &before),
            };
            let saved = saved.with_schema(self.schema);
            self.events
                .deliver(TrainingEvent::Checkpoint(Box::new(saved)));
        }
        // A failed write comes first, because it ended the loop.
        self.events.finish()?;
        ending
    }
}

impl<R: Real> Observer<R> for Recorder<R> {
    fn progress(&mut self, epoch: usize, rows: usize, of: usize) {
        let steps = |rows: usize| rows.div_ceil(self.batch_size) as u64;
        let done = (epoch as u64 - 1) * steps(of) + steps(rows);
        self.events.offer(TrainingEvent::Steps(done));
    }

    fn wants_state(&self) -> bool {
        self.last.elapsed() >= self.pause
    }

    fn state(&mut self, state: &TrainingState<R>) -> Result<()> {
        let due = Checkpoint::from_state(self.config.clone(), state);
        let due = due.with_schema(self.schema.clone());
        self.events
            .deliver(TrainingEvent::Checkpoint(Box::new(due)));
        self.last = Instant::now();
        self.check()
    }

    fn epoch(&mut self, record: &EpochRecord, state: &TrainingState<R>) -> Result<()> {
        self.events
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
    /// Ends a run whose logs cannot be written.
    fn check(&self) -> Result<()> {
        if self.events.has_failed() {
            if let Some(wish) = &self.wish {
                // `finish` returns the error, once all ranks have stopped.
                wish.store(true, Ordering::Relaxed);
                return Ok(());
            }
            return Err(Error::Resources(
                "the run's logs cannot be written".to_owned(),
            ));
        }
        Ok(())
    }
}
