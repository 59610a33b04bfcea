//! Checks of whole gradients, of random directions and of random-direction methods.

use std::path::Path;
use std::time::Instant;

use super::summary::{DirectionalComparison, MethodRow};
use crate::cli::arguments::Global;
use crate::cli::gradient_progress::GradientProgress;
use crate::cli::output::Messages;
use crate::cli::signals::Interrupt;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::gradient::finite_difference::Scheme;
use crate::gradient::{Control, Stopped};
use crate::gradient_check::{CheckSubject, CheckedMethod, Outcome};
use crate::model::Network;
use crate::numeric::Precision;
use crate::study::table::duration;

/// Multiplications above which a method is checked along random directions only: about ten seconds
/// on one core.
pub const MOST_MULTIPLICATIONS: f64 = 5e10;
/// Runs the checks of one subject with progress.
pub struct Checker<'a> {
    /// Subject of the checks.
    pub subject: &'a CheckSubject<'a>,
    /// Network of the subject.
    pub network: &'a Network,
    /// Control that can stop the computation.
    pub control: &'a Control,
    /// Signals received so far.
    pub interrupt: &'a Interrupt,
    /// Messages for details.
    pub messages: Messages,
    /// Options of every command.
    pub global: &'a Global,
}

impl Checker<'_> {
    /// Runs the methods; `judge` may refuse an outcome.
    pub fn rows(
        &self,
        methods: &[CheckedMethod],
        judge: impl Fn(&CheckedMethod, &Outcome) -> Result<()>,
    ) -> Result<Vec<MethodRow>> {
        let mut rows = Vec::new();
        let mut start = Instant::now();
        self.each(methods, |method, outcome| {
            judge(method, &outcome)?;
            let row = MethodRow::new(method, &outcome, &self.network.layout);
            self.messages.detail(format_args!(
                "{}: {}",
                row.label(),
                duration(start.elapsed().as_secs_f64())
            ));
            start = Instant::now();
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }

    /// Runs the methods with progress, and calls `on_outcome` with each outcome.
    pub fn each(
        &self,
        methods: &[CheckedMethod],
        mut on_outcome: impl FnMut(&CheckedMethod, Outcome) -> Result<()>,
    ) -> Result<()> {
        let evaluations = methods
            .iter()
            .map(|method| self.subject.evaluations(method));
        let control = self.control.with_new_counter();
        let _progress = GradientProgress::start(self.global, &control, evaluations.sum());
        for method in methods {
            let outcome = self
                .subject
                .run(method, &control)
                .map_err(|reason| stopped(reason, self.interrupt))?;
            on_outcome(method, outcome)?;
        }
        Ok(())
    }

    /// Checks backprop in double precision along `count` directions.
    pub fn directions(&self, count: usize, seed: u64) -> Result<Vec<DirectionalComparison>> {
        let control = self.control.with_new_counter();
        let progress = GradientProgress::start(self.global, &control, 8 * count as u64);
        let mut directed = Vec::new();
        for precision in [Precision::F64, Precision::F32] {
            for scheme in [Scheme::Forward, Scheme::Central] {
                let subject = self.subject;
                let found = subject.directions(scheme, precision, count, seed, &control);
                let found = found.map_err(|reason| stopped(reason, self.interrupt))?;
                directed.push(DirectionalComparison::new(&found));
            }
        }
        drop(progress);
        Ok(directed)
    }

    /// Checks the config's random-direction method along `count` of its directions, if it is one.
    pub fn estimate(
        &self,
        config: &Config,
        path: &Path,
        count: usize,
    ) -> Result<Option<DirectionalComparison>> {
        let control = self.control.with_new_counter();
        let progress = GradientProgress::start(self.global, &control, 2 * count as u64);
        let (precision, seed) = (config.model.precision, config.seed);
        let found = self
            .subject
            .estimate(&config.gradient, precision, count, seed, &control);
        drop(progress);
        match found {
            Ok(found) => Ok(found.as_ref().map(DirectionalComparison::estimate)),
            Err(Stopped::Interrupted) => Err(stopped(Stopped::Interrupted, self.interrupt)),
            Err(lost) => Err(Error::refused(path, lost.to_string())),
        }
    }
}

/// Converts the reason for an uncomputed gradient into an error.
pub fn stopped(reason: Stopped, interrupt: &Interrupt) -> Error {
    match reason {
        Stopped::Interrupted => Error::Interrupted {
            code: interrupt.exit_code(),
            saved: None,
        },
        lost => Error::Usage(lost.to_string()),
    }
}
