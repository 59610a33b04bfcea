//! A function that K copies of a program compute.

mod asking;
mod messages;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use self::messages::HeldMessages;
use super::journal::{self, Journal};
use super::message::{Answered, Greeting};
use super::worker::{Base, Position, Query, Worker};
use crate::error::{Error, Result};
use crate::gradient::Control;
use crate::gradient::finite_difference::failure::Failure;
use crate::model::Objective;
use crate::parallel::EvaluationThreads;

/// The largest number of workers.
pub const MOST_WORKERS: usize = 1024;
/// The number of evaluations after which θ itself is evaluated again.
const REVISIT: u64 = 1000;

/// How a program is run.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramSettings {
    /// The command, for `sh -c`; `{worker}` in it is replaced by the worker's number, from 1.
    pub command: String,
    /// The number K of copies, from 1 to `MOST_WORKERS`.
    pub workers: usize,
    /// The seconds after which an evaluation counts as hanging.
    pub timeout: Option<f64>,
}

/// A function that takes a worker's number and a line of its standard error.
pub type MessageSink = Arc<dyn Fn(usize, &str) + Send + Sync>;

/// Where a program's messages go.
#[derive(Clone)]
pub struct Notices {
    /// Takes a worker's number and a line that it wrote to standard error.
    pub message: MessageSink,
    /// Takes what the user should know while the work goes on.
    pub note: Arc<dyn Fn(&str) + Send + Sync>,
}

/// An evaluation: the value, and the program's own gradient if it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The function's value, finite or not.
    pub loss: f64,
    /// The gradient, `(N,)`.
    pub gradient: Option<Vec<f64>>,
}

/// How many evaluations there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evaluations {
    /// Answers that the program gave, [`revisits`](Self::revisits) included.
    pub answered: u64,
    /// Answers that were in the journal.
    pub journalled: u64,
    /// Evaluations that were given to another copy because the first one failed.
    pub repeated: u64,
    /// Evaluations of θ itself that only showed whether the program is deterministic.
    pub revisits: u64,
}

/// A program that computes a function of N numbers.
///
/// [`Program::set_base`] comes first, and [`Program::conclude`] turns a result of the gradient's
/// code into one that knows of interruptions and failed systems.
pub struct Program {
    settings: ProgramSettings,
    notices: Notices,
    sink: MessageSink,
    messages: Arc<HeldMessages>,
    slots: Mutex<Vec<Slot>>,
    freed: Condvar,
    base: RwLock<Arc<Base>>,
    journal: Option<Mutex<Journal>>,
    journal_path: Option<PathBuf>,
    control: Control,
    greeting: OnceLock<Greeting>,
    answered_once: AtomicBool,
    counts: Mutex<Evaluations>,
    /// Evaluations beside the base that were begun.
    begun: AtomicU64,
    /// How many of them are planned, if that is known: the base's last visit is due once all have
    /// begun, beside the last of them.
    planned: AtomicU64,
    last_visit: AtomicBool,
    /// Whether the base's value is asked for once only.
    remembers: AtomicBool,
    visits: Mutex<Visits>,
    trouble: Mutex<Option<Error>>,
    /// The first evaluation that failed on two copies.
    fault: OnceLock<Failure>,
}

/// A place for a worker.
struct Slot {
    number: usize,
    worker: Option<Worker>,
}

/// The values at the base itself.
#[derive(Default)]
struct Visits {
    first: Option<f64>,
    /// Two different values at the same θ, of this base or an earlier one.
    contradiction: Option<(f64, f64)>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere ends the work anyway; the counts and workers stay usable for the cleanup.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Program {
    /// Creates the function; the copies are started when they are needed. `control` stops it, and
    /// counts the evaluations.
    ///
    /// # Errors
    /// [`Error::Usage`] for a number of workers out of range or an empty command.
    pub fn new(
        settings: ProgramSettings,
        notices: Notices,
        journal: Option<Journal>,
        control: Control,
    ) -> Result<Self> {
        if settings.command.trim().is_empty() {
            return Err(Error::Usage(
                "the command of --program is empty\n  help: give the command that computes the function, such as --program 'python3 loss.py'".to_owned(),
            ));
        }
        if !(1..=MOST_WORKERS).contains(&settings.workers) {
            return Err(Error::Usage(format!(
                "{} workers: allowed are 1 to {MOST_WORKERS}",
                settings.workers
            )));
        }
        let slot = |number| Slot {
            number,
            worker: None,
        };
        let base = Base {
            theta: Vec::new(),
            key: journal::key(&[]),
        };
        let messages = Arc::new(HeldMessages::new(Arc::clone(&notices.message)));
        Ok(Self {
            sink: messages.sink(),
            messages,
            notices,
            // The last is taken first.
            slots: Mutex::new((1..=settings.workers).rev().map(slot).collect()),
            freed: Condvar::new(),
            base: RwLock::new(Arc::new(base)),
            journal_path: journal.as_ref().map(|journal| journal.path().to_path_buf()),
            journal: journal.map(Mutex::new),
            settings,
            control,
            greeting: OnceLock::new(),
            answered_once: AtomicBool::new(false),
            counts: Mutex::default(),
            begun: AtomicU64::new(0),
            planned: AtomicU64::new(u64::MAX),
            last_visit: AtomicBool::new(false),
            remembers: AtomicBool::new(false),
            visits: Mutex::default(),
            trouble: Mutex::new(None),
            fault: OnceLock::new(),
        })
    }

    /// Sets the θ from which single parameters are changed, `(N,)`.
    pub fn set_base(&self, theta: &[f64]) {
        let base = Base {
            theta: theta.to_vec(),
            key: journal::key(theta),
        };
        *self.base.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(base);
        locked(&self.visits).first = None;
    }

    /// Starts the copies, at most `most` of them, before the first is asked: a program takes a
    /// while to start. A copy that cannot be started is tried again when it is asked.
    pub fn start(&self, most: usize) {
        let mut slots = locked(&self.slots);
        for slot in slots.iter_mut().rev().take(most) {
            if self.control.is_stopped() || self.started(slot).is_err() {
                break;
            }
        }
    }

    /// Asks for the value at a base once, however often it is evaluated, except by
    /// [`Program::revisit`].
    pub fn remember_base(&self) {
        self.remembers.store(true, Ordering::Relaxed);
    }

    /// Returns the threads on which this function is evaluated: one for each worker.
    pub fn threads(&self) -> EvaluationThreads<'static> {
        EvaluationThreads::Waiting(self.settings.workers)
    }

    /// Returns the control that stops and counts the evaluations.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Returns the numbers of evaluations so far.
    pub fn evaluations(&self) -> Evaluations {
        *locked(&self.counts)
    }

    /// Returns whether a worker failed twice, so that no result can be trusted to be complete.
    pub fn has_failed(&self) -> bool {
        self.fault.get().is_some()
    }

    /// Returns two different values that the program gave at the same θ, if it did.
    pub fn contradiction(&self) -> Option<(f64, f64)> {
        locked(&self.visits).contradiction
    }

    /// Evaluates the function at `theta`, `(N,)`, with the program's own gradient if asked; the value
    /// may be infinite or NaN.
    ///
    /// # Errors
    /// The program's own message; what two copies in a row did instead of answering; or what the
    /// system failed, which [`Program::conclude`] knows with its exit code.
    pub fn evaluate(&self, theta: &[f64], with_gradient: bool) -> Result<Evaluation, String> {
        let base = Arc::clone(&self.base.read().unwrap_or_else(PoisonError::into_inner));
        let position = position(&base, theta);
        let at_base = matches!(position, Position::Change(None));
        if at_base
            && !with_gradient
            && self.remembers.load(Ordering::Relaxed)
            && let Some(loss) = locked(&self.visits).first
        {
            return Ok(Evaluation {
                loss,
                gradient: None,
            });
        }
        let place = journal::place(&base, position);
        let query = Query {
            base,
            position,
            with_gradient,
        };
        let number = match at_base {
            true => 0,
            false => self.begun.fetch_add(1, Ordering::Relaxed) + 1,
        };
        let known = self
            .journal
            .as_ref()
            .and_then(|journal| locked(journal).get(&place, with_gradient).cloned());
        let answered = match known {
            Some(answered) => {
                locked(&self.counts).journalled += 1;
                self.control.count(1);
                answered
            }
            None => {
                let answered = self.ask(&query)?;
                self.keep(place, &answered)?;
                answered
            }
        };
        if at_base {
            self.visited(answered.loss);
        } else if number.is_multiple_of(REVISIT) {
            self.revisit()?;
        } else if self.begun.load(Ordering::Relaxed) == self.planned.load(Ordering::Relaxed) {
            self.revisit_last()?;
        }
        Ok(Evaluation {
            loss: answered.loss,
            gradient: answered.gradient,
        })
    }

    /// Says that `evaluations` evaluations beside the base are left: once they have begun, a worker
    /// that finds none left evaluates the base for the last time, while others evaluate the last of
    /// them.
    pub fn plan(&self, evaluations: u64) {
        let begun = self.begun.load(Ordering::Relaxed);
        self.planned.store(begun + evaluations, Ordering::Relaxed);
    }

    /// Evaluates the base for the last time, unless that is done.
    ///
    /// # Errors
    /// Those of [`Program::evaluate`].
    pub fn revisit_last(&self) -> Result<(), String> {
        match self.last_visit.swap(true, Ordering::Relaxed) {
            true => Ok(()),
            false => self.revisit(),
        }
    }

    /// Evaluates the base once more, to see whether the program is deterministic.
    ///
    /// # Errors
    /// Those of [`Program::evaluate`].
    pub fn revisit(&self) -> Result<(), String> {
        let base = Arc::clone(&self.base.read().unwrap_or_else(PoisonError::into_inner));
        let query = Query {
            base,
            position: Position::Change(None),
            with_gradient: false,
        };
        let answered = self.ask(&query)?;
        locked(&self.counts).revisits += 1;
        self.visited(answered.loss);
        Ok(())
    }

    /// Writes a finite answer to the journal.
    fn keep(&self, place: journal::Place, answered: &Answered) -> Result<(), String> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let gradient = answered.gradient.iter().flatten();
        if !answered.loss.is_finite() || gradient.clone().any(|element| !element.is_finite()) {
            return Ok(());
        }
        locked(journal).add(place, answered).map_err(|error| {
            let text = error.to_string();
            self.fail(error);
            text
        })
    }

    fn visited(&self, value: f64) {
        let mut visits = locked(&self.visits);
        match visits.first {
            None => visits.first = Some(value),
            Some(first) if first.to_bits() != value.to_bits() => {
                visits.contradiction = Some((first, value));
            }
            Some(_) => {}
        }
    }

    fn fail(&self, error: Error) {
        locked(&self.trouble).get_or_insert(error);
    }

    fn interrupted(&self) -> Error {
        Error::Interrupted {
            code: 130,
            saved: self.journal_path.clone(),
        }
    }

    /// Turns the result of code that evaluated this program into that of the command: an
    /// interruption, a failure of the system, or what the program did.
    ///
    /// # Errors
    /// [`Error::Interrupted`] with code 130, [`Error::Io`], or [`Error::Usage`] with what the
    /// program did.
    pub fn conclude<T>(&self, result: Result<T, Failure>) -> Result<T> {
        let failure = match result {
            Ok(result) => return Ok(result),
            Err(failure) => failure,
        };
        if self.control.is_stopped() {
            return Err(self.interrupted());
        }
        if let Some(error) = locked(&self.trouble).take() {
            return Err(error);
        }
        // Code that tries other points where a function has no value may end with another failure.
        let failure = self.fault.get().cloned().unwrap_or(failure);
        let error = match failure {
            // The program's answer is refused; nothing diverged.
            Failure::NotFinite { .. } => Error::Usage(failure.to_string()),
            failure => failure.into(),
        };
        Err(self.with_journal(error))
    }

    /// Says in `error` where the evaluations so far are, if there are any.
    fn with_journal(&self, error: Error) -> Error {
        let kept = self.journal.as_ref().map(locked);
        match (error, kept.filter(|journal| !journal.is_empty())) {
            (Error::Usage(text), Some(journal)) => Error::Usage(format!(
                "{text}\n  help: the evaluations so far are in {}: the same command goes on from there",
                journal.path().display()
            )),
            (error, _) => error,
        }
    }

    /// Ends the copies in order, and removes the journal: its work is done.
    pub fn finish(self) {
        let mut this = self;
        if let Some(journal) = this.journal.take() {
            journal
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner)
                .remove();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let mut slots = std::mem::take(&mut *locked(&self.slots));
        let workers = slots.iter_mut().filter_map(|slot| slot.worker.as_mut());
        let mut workers: Vec<&mut Worker> = workers.collect();
        workers.iter_mut().for_each(|worker| worker.end_input());
        // Those that have ended by themselves take no time; the first that has not is the last for
        // which this waits.
        let start = Instant::now();
        for worker in workers {
            if self.control.is_stopped() || start.elapsed() > Duration::from_millis(400) {
                break;
            }
            worker.end_in_order();
        }
    }
}

/// Returns where `theta` is, seen from the base.
fn position<'t>(base: &Base, theta: &'t [f64]) -> Position<'t> {
    if theta.len() != base.theta.len() {
        return Position::Whole(theta);
    }
    let differs = |&index: &usize| theta[index].to_bits() != base.theta[index].to_bits();
    let mut changed = (0..theta.len()).filter(differs);
    match (changed.next(), changed.next()) {
        (None, _) => Position::Change(None),
        (Some(index), None) => Position::Change(Some((index, theta[index]))),
        (Some(_), Some(_)) => Position::Whole(theta),
    }
}

impl Objective for Program {
    fn parameters(&self) -> usize {
        self.base
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .theta
            .len()
    }

    fn value(&self, theta: &[f64]) -> f64 {
        self.try_value(theta).unwrap_or(f64::NAN)
    }

    fn try_value(&self, theta: &[f64]) -> Result<f64, String> {
        if self.control.is_stopped() {
            return Err("interrupted".to_owned());
        }
        if let Some(fault) = self.fault.get() {
            return Err(fault.to_string());
        }
        self.evaluate(theta, false)
            .map(|evaluation| evaluation.loss)
    }

    fn name(&self, index: usize) -> String {
        let names = self
            .greeting
            .get()
            .and_then(|greeting| greeting.names.as_ref());
        match names.and_then(|names| names.get(index)) {
            Some(name) => format!("{} (θ[{index}])", crate::text::plain_line(name)),
            None => format!("θ[{index}]"),
        }
    }
}
