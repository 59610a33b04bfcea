//! The checks of `nplus1 check`: each method's gradient, directions, an estimator.

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

/// Multiplications beyond which a method is left to random directions: some ten seconds of one core.
pub const DEAR: f64 = 5e10;
/// The gradients of one subject, computed one after the other with progress.
pub struct Checker<'a> {
    /// What is checked.
    pub subject: &'a CheckSubject<'a>,
    /// Its network.
    pub network: &'a Network,
    /// Ends it early.
    pub control: &'a Control,
    /// The signal that does.
    pub interrupt: &'a Interrupt,
    /// Where details go.
    pub messages: Messages,
    /// How progress is shown.
    pub global: &'a Global,
}

impl Checker<'_> {
    /// Runs the methods; `judge` may refuse an outcome.
    pub fn rows(
        &self,
        methods: &[CheckedMethod],
        judge: impl Fn(&CheckedMethod, &Outcome) -> Result<()>,
    ) -> Result<Vec<MethodRow>> {
        let evaluations = methods
            .iter()
            .map(|method| self.subject.evaluations(method));
        let control = self.control.with_new_counter();
        let meter = GradientProgress::start(self.global, &control, evaluations.sum());
        let mut rows = Vec::new();
        for method in methods {
            let start = Instant::now();
            let outcome = self
                .subject
                .run(method, &control)
                .map_err(|reason| stopped(reason, self.interrupt))?;
            judge(method, &outcome)?;
            let row = MethodRow::new(method, &outcome, &self.network.layout);
            self.messages.detail(format_args!(
                "{}: {}",
                row.label(),
                duration(start.elapsed().as_secs_f64())
            ));
            rows.push(row);
        }
        drop(meter);
        Ok(rows)
    }

    /// Backprop in double precision along `count` directions.
    pub fn directions(&self, count: usize, seed: u64) -> Result<Vec<DirectionalComparison>> {
        let control = self.control.with_new_counter();
        let meter = GradientProgress::start(self.global, &control, 8 * count as u64);
        let mut directed = Vec::new();
        for precision in [Precision::F64, Precision::F32] {
            for scheme in [Scheme::Forward, Scheme::Central] {
                let subject = self.subject;
                let found = subject.directions(scheme, precision, count, seed, &control);
                let found = found.map_err(|reason| stopped(reason, self.interrupt))?;
                directed.push(DirectionalComparison::new(&found));
            }
        }
        drop(meter);
        Ok(directed)
    }

    /// The config's own estimator along `count` of its directions, if it is one.
    pub fn estimate(
        &self,
        config: &Config,
        path: &Path,
        count: usize,
    ) -> Result<Option<DirectionalComparison>> {
        let control = self.control.with_new_counter();
        let meter = GradientProgress::start(self.global, &control, 2 * count as u64);
        let (precision, seed) = (config.model.precision, config.seed);
        let found = self
            .subject
            .estimate(&config.gradient, precision, count, seed, &control);
        drop(meter);
        match found {
            Ok(found) => Ok(found.as_ref().map(DirectionalComparison::estimate)),
            Err(Stopped::Interrupted) => Err(stopped(Stopped::Interrupted, self.interrupt)),
            Err(lost) => Err(Error::refused(path, lost.to_string())),
        }
    }
}

/// Why a gradient was not computed, as an error.
pub fn stopped(reason: Stopped, interrupt: &Interrupt) -> Error {
    match reason {
        Stopped::Interrupted => Error::Interrupted {
            code: interrupt.exit_code(),
            saved: None,
        },
        lost => Error::Usage(lost.to_string()),
    }
}
