//! One copy of a program, which answers one request after the other.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;

use super::message::{self, Answered, Greeting, Point, WrittenLine};
use super::pool::MessageSink;
use super::process::{Patience, Process, Silence};

/// A θ from which single parameters are changed.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) theta: Vec<f64>,
    pub(super) key: ThetaKey,
}

/// The first bytes of the SHA-256 of a θ.
pub(super) type ThetaKey = [u8; 16];

/// A point of evaluation, relative to a base.
#[derive(Clone, Copy, Debug)]
pub(super) enum Position<'a> {
    /// The base with at most one parameter changed.
    Change(Option<(usize, f64)>),
    /// Another θ.
    Whole(&'a [f64]),
}

/// What a worker is asked.
#[derive(Clone, Debug)]
pub(super) struct Query<'a> {
    pub(super) base: Arc<Base>,
    pub(super) position: Position<'a>,
    pub(super) with_gradient: bool,
}

/// The reason why a worker gave no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// The command could not be started.
    NotStarted(io::Error),
    /// The answer did not come.
    Silent(Silence),
    /// Something else came.
    Answer(String),
}

/// A running copy of the program.
pub(super) struct Worker {
    process: Process,
    id: u64,
    answered: bool,
    greeting: Option<Greeting>,
    /// The base that the program holds.
    held: Option<ThetaKey>,
    text: String,
}

impl Worker {
    /// Starts the command, `{worker}` in it replaced by `number`.
    pub(super) fn start(
        command: &str,
        number: usize,
        longest: usize,
        sink: &MessageSink,
    ) -> Result<Self, Fault> {
        let line = command.replace("{worker}", &number.to_string());
        let process = Process::start(&line, number, longest, sink).map_err(Fault::NotStarted)?;
        Ok(Self {
            process,
            id: 0,
            answered: false,
            greeting: None,
            held: None,
            text: String::new(),
        })
    }

    /// Returns what the program said of itself, if it did.
    pub(super) fn greeting(&self) -> Option<&Greeting> {
        self.greeting.as_ref()
    }

    /// Waits for the program's greeting, before any request.
    pub(super) fn await_greeting(&mut self, patience: &Patience<'_>) -> Result<&Greeting, Fault> {
        let line = self
            .process
            .exchange(&[], patience)
            .map_err(Fault::Silent)?;
        match message::parse(&line).map_err(Fault::Answer)? {
            WrittenLine::Greeting(greeting) => Ok(self.greeting.insert(greeting)),
            WrittenLine::Answer { .. } => {
                Err(Fault::Answer("it answered before it was asked".to_owned()))
            }
        }
    }

    /// Asks for a value; the inner error is the program's own.
    pub(super) fn ask(
        &mut self,
        query: &Query<'_>,
        patience: &Patience<'_>,
    ) -> Result<Result<Answered, String>, Fault> {
        self.id += 1;
        self.write_request(query);
        let mut request = self.text.as_bytes();
        loop {
            let line = self
                .process
                .exchange(request, patience)
                .map_err(Fault::Silent)?;
            request = &[];
            match message::parse(&line).map_err(Fault::Answer)? {
                WrittenLine::Greeting(greeting) if !self.answered && self.greeting.is_none() => {
                    self.greeting = Some(greeting);
                }
                WrittenLine::Greeting(_) => {
                    return Err(Fault::Answer("it greeted a second time".to_owned()));
                }
                WrittenLine::Answer { id, .. } if id != self.id => {
                    return Err(Fault::Answer(format!(
                        "it answered request {id}, but was asked {}",
                        self.id
                    )));
                }
                WrittenLine::Answer { outcome, .. } => {
                    if self.process.has_more() {
                        return Err(Fault::Answer(
                            "it wrote more than one line for one request".to_owned(),
                        ));
                    }
                    self.answered = true;
                    if let Ok(answered) = &outcome {
                        check_gradient(query, answered)?;
                    }
                    return Ok(outcome);
                }
            }
        }
    }

    fn write_request(&mut self, query: &Query<'_>) {
        let base = &query.base;
        let changes = self
            .greeting
            .as_ref()
            .is_some_and(|greeting| greeting.single_changes);
        let whole: Vec<f64>;
        let point = match query.position {
            Position::Change(change) if changes => {
                let unknown = self.held != Some(base.key);
                self.held = Some(base.key);
                Point {
                    theta: unknown.then_some(&base.theta[..]),
                    change,
                }
            }
            Position::Change(Some((index, value))) => {
                let mut theta = base.theta.clone();
                theta[index] = value;
                whole = theta;
                self.held = None;
                Point {
                    theta: Some(&whole),
                    change: None,
                }
            }
            Position::Change(None) => {
                self.held = Some(base.key);
                Point {
                    theta: Some(&base.theta),
                    change: None,
                }
            }
            Position::Whole(theta) => {
                self.held = None;
                Point {
                    theta: Some(theta),
                    change: None,
                }
            }
        };
        self.text.clear();
        message::request(&mut self.text, self.id, query.with_gradient, point);
    }

    /// Returns the program's last lines on standard error.
    pub(super) fn last_messages(&self) -> Vec<String> {
        self.process.last_messages()
    }

    /// Ends the program's input.
    pub(super) fn end_input(&mut self) {
        self.process.end_input();
    }

    /// Waits a moment for the program to end.
    pub(super) fn end_in_order(&mut self) {
        self.process.end_in_order();
    }
}

/// Refuses a gradient that is missing or of another length than θ.
fn check_gradient(query: &Query<'_>, answered: &Answered) -> Result<(), Fault> {
    if !query.with_gradient {
        return Ok(());
    }
    let expected = query.base.theta.len();
    match answered.gradient.as_ref().map(Vec::len) {
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(Fault::Answer(format!(
            "its gradient has {found} numbers, but θ has {expected}"
        ))),
        None => Err(Fault::Answer(
            "its answer has no `gradient`, which was wanted".to_owned(),
        )),
    }
}

impl Fault {
    /// Describes the fault of worker `number`, with its last lines.
    pub(super) fn describe(
        &self,
        number: usize,
        timeout: Option<f64>,
        last_lines: &[String],
    ) -> String {
        let what = match self {
            Self::NotStarted(error) => format!("cannot start `sh`: {error}"),
            Self::Answer(problem) => problem.clone(),
            Self::Silent(Silence::Ended(status)) => status.as_ref().map_or_else(
                || "it closed its standard output".to_owned(),
                |status| format!("it ended{} before it answered", ending(status)),
            ),
            Self::Silent(Silence::TimedOut) => format!(
                "it gave no answer within {} s (--timeout)",
                timeout.unwrap_or_default()
            ),
            Self::Silent(Silence::Stopped) => "interrupted".to_owned(),
            Self::Silent(Silence::TooLong(bytes)) => {
                format!("it wrote {bytes} bytes without a line end")
            }
            Self::Silent(Silence::System(error)) => format!("the system failed a call: {error}"),
        };
        let mut text = format!("worker {number}: {what}");
        if !last_lines.is_empty() {
            text.push_str("\n  its last lines on standard error:");
            for line in last_lines {
                text.push_str("\n    ");
                text.push_str(&crate::text::plain_line(line));
            }
        }
        text
    }

    /// Returns whether the system failed, not the program.
    pub(super) fn is_of_the_system(&self) -> bool {
        matches!(self, Self::NotStarted(_) | Self::Silent(Silence::System(_)))
    }
}

/// Says how a process ended: with an exit status, or by a signal.
fn ending(status: &ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(127), _) => " with exit status 127 (`sh` found no such command)".to_owned(),
        (Some(126), _) => " with exit status 126 (`sh` may not run the command)".to_owned(),
        (Some(code), _) => format!(" with exit status {code}"),
        (None, Some(signal)) => format!(" by signal {signal}"),
        (None, None) => String::new(),
    }
}
