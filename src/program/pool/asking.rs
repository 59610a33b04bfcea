//! Asking one worker, and if it fails another.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Program, Slot, locked};
use crate::error::{Error, Result};
use crate::gradient::finite_difference::failure::{EvaluationPoint, Failure};
use crate::model::Objective;
use crate::program::message::Answered;
use crate::program::process::{Patience, Silence};
use crate::program::worker::{Fault, Position, Query, Worker};

/// The time without a first answer after which a message says that it is awaited.
const SLOW_START: Duration = Duration::from_secs(10);
/// The most bytes of a line, beside those of its numbers.
const LINE: usize = 1 << 20;
/// The most bytes of a number in a line.
const NUMBER: usize = 64;

impl Program {
    /// Starts a copy and returns the θ with which it greets; `None` if it greets without one.
    ///
    /// # Errors
    /// [`Error::Usage`] if its first line is no greeting, or it ends or gives none in time.
    pub fn greeted_theta(&self, within: Duration) -> Result<Option<Vec<f64>>> {
        let mut slot = self.take(None);
        self.messages.ask(slot.number);
        let number = slot.number;
        let start = Instant::now();
        let told = Cell::new(false);
        let stopped = || {
            if start.elapsed() > SLOW_START && !told.replace(true) {
                self.say_slow("greeting", number, Some(within.as_secs_f64()));
            }
            self.control.is_stopped()
        };
        let found = self.started(&mut slot).and_then(|worker| {
            let patience = Patience {
                until: Some(start + within),
                stopped: &stopped,
            };
            worker.await_greeting(&patience).cloned()
        });
        let result = match found {
            Ok(greeting) => {
                let _ = self.greeting.set(greeting.clone());
                Ok(greeting.theta)
            }
            Err(Fault::Silent(Silence::Stopped)) => Err(self.interrupted()),
            Err(Fault::Silent(Silence::TimedOut)) => Err(Error::Usage(format!(
                "`{}` has not greeted with a θ to begin at within {} s\n  help: give θ with --at FILE, or more time with --timeout S",
                self.settings.command,
                within.as_secs_f64()
            ))),
            Err(fault) => Err(self.error_of(&mut slot, &fault)),
        };
        self.put(slot);
        result
    }

    /// Asks one worker, and if it fails another one.
    pub(super) fn ask(&self, query: &Query<'_>) -> Result<Answered, String> {
        let mut avoid = None;
        let mut first = None;
        loop {
            let mut slot = self.take(avoid);
            let asked = self.ask_slot(&mut slot, query);
            let fault = match asked {
                Ok(outcome) => {
                    self.put(slot);
                    locked(&self.counts).answered += 1;
                    self.control.count(1);
                    return outcome;
                }
                Err(fault) => fault,
            };
            if self.control.is_stopped() {
                slot.worker = None;
                self.put(slot);
                return Err("interrupted".to_owned());
            }
            let description = self.describe(&mut slot, &fault);
            let number = slot.number;
            self.put(slot);
            match first.replace(description) {
                None => {
                    locked(&self.counts).repeated += 1;
                    avoid = Some(number);
                }
                Some(before) => {
                    let last = first.unwrap_or_default();
                    let text = format!(
                        "{last}\n  before that, the same evaluation failed on another copy: {}",
                        before.lines().next().unwrap_or_default()
                    );
                    let failure = Failure::Function {
                        message: text.clone(),
                        place: self.point(query),
                    };
                    self.fault.get_or_init(|| failure);
                    if fault.is_of_the_system() {
                        self.fail(Error::Io {
                            action: "run",
                            path: PathBuf::from(&self.settings.command),
                            source: std::io::Error::other(text.clone()),
                        });
                    }
                    return Err(text);
                }
            }
        }
    }

    /// Describes where a query asks.
    fn point(&self, query: &Query<'_>) -> EvaluationPoint {
        match query.position {
            Position::Change(None) => EvaluationPoint::Theta,
            Position::Change(Some((index, value))) => EvaluationPoint::Perturbed {
                parameter: self.name(index),
                value: query.base.theta[index],
                increment: value - query.base.theta[index],
            },
            Position::Whole(theta) => {
                let pairs = theta.iter().zip(&query.base.theta);
                let squares = pairs.map(|(theta, base)| (theta - base).powi(2));
                EvaluationPoint::Line {
                    distance: squares.sum::<f64>().sqrt(),
                }
            }
        }
    }

    fn ask_slot(
        &self,
        slot: &mut Slot,
        query: &Query<'_>,
    ) -> Result<Result<Answered, String>, Fault> {
        let number = slot.number;
        if !self.answered_once.load(Ordering::Relaxed) {
            self.messages.ask(number);
        }
        let worker = self.started(slot)?;
        let start = Instant::now();
        let told = Cell::new(false);
        let stopped = || {
            let slow = start.elapsed() > SLOW_START && !told.replace(true);
            if slow && !self.answered_once.load(Ordering::Relaxed) {
                self.say_slow("first answer", number, self.settings.timeout);
            }
            self.control.is_stopped()
        };
        let patience = Patience {
            until: self
                .settings
                .timeout
                .map(|limit| start + Duration::from_secs_f64(limit)),
            stopped: &stopped,
        };
        let mut outcome = worker.ask(query, &patience)?;
        if let Some(greeting) = worker.greeting() {
            self.greeting.get_or_init(|| greeting.clone());
            // A program may take any length, so this alone is no fault.
            let (given, greeted) = (
                query.base.theta.len(),
                greeting.theta.as_ref().map(Vec::len),
            );
            if let (Err(message), Some(greeted)) = (&mut outcome, greeted)
                && greeted != given
            {
                message.push_str(&format!(
                    "\n  help: θ has {given} numbers here, and {greeted} in the program's greeting"
                ));
            }
        }
        if !self.answered_once.load(Ordering::Relaxed) {
            self.messages.answered();
            self.answered_once.store(true, Ordering::Relaxed);
        }
        Ok(outcome)
    }

    fn say_slow(&self, awaited: &str, number: usize, limit: Option<f64>) {
        let limit = match limit {
            Some(limit) => format!("for at most {limit} s"),
            None => "without a limit (--timeout S sets one)".to_owned(),
        };
        (self.notices.note)(&format!(
            "waiting for the {awaited} of `{}` (worker {number}), {limit}",
            self.settings.command
        ));
    }

    /// Returns the slot's worker, started if it was not.
    pub(super) fn started<'s>(&self, slot: &'s mut Slot) -> Result<&'s mut Worker, Fault> {
        if slot.worker.is_none() {
            let parameters = self
                .base
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .theta
                .len();
            // θ may come with the greeting.
            let longest = LINE + NUMBER * parameters.max(1 << 20);
            let (command, number) = (&self.settings.command, slot.number);
            slot.worker = Some(Worker::start(command, number, longest, &self.sink)?);
        }
        Ok(slot.worker.as_mut().expect("just started"))
    }

    /// Ends a faulty worker and describes its fault.
    fn describe(&self, slot: &mut Slot, fault: &Fault) -> String {
        let ended = matches!(fault, Fault::Silent(Silence::Ended(_)));
        let lines = match slot.worker.take() {
            // Messages of a program that ended on its own are complete; those of others so far.
            Some(worker) if ended => worker.last_messages(),
            Some(mut worker) => {
                worker.end_input();
                let lines = worker.last_messages();
                drop(worker);
                lines
            }
            None => Vec::new(),
        };
        fault.describe(slot.number, self.settings.timeout, &lines)
    }

    fn error_of(&self, slot: &mut Slot, fault: &Fault) -> Error {
        let system = fault.is_of_the_system();
        let text = self.describe(slot, fault);
        if system {
            return Error::Io {
                action: "run",
                path: PathBuf::from(&self.settings.command),
                source: std::io::Error::other(text),
            };
        }
        Error::Usage(format!(
            "`{}` gives no θ to begin at: {text}\n  help: give θ with --at FILE, or let the program greet with `theta`",
            self.settings.command
        ))
    }

    /// Takes a worker that nobody uses, rather another than `avoid`.
    fn take(&self, avoid: Option<usize>) -> Slot {
        let mut slots = locked(&self.slots);
        loop {
            let other = slots.iter().rposition(|slot| Some(slot.number) != avoid);
            if let Some(at) = other.or(slots.len().checked_sub(1)) {
                return slots.remove(at);
            }
            slots = self
                .freed
                .wait(slots)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn put(&self, slot: Slot) {
        locked(&self.slots).push(slot);
        self.freed.notify_one();
    }
}
