//! `nplus1 check`: compares every gradient method with backprop in double precision; with `--program`,
//! the gradient of any function with differences (`program.rs`).
//!
//! ```text
//! nplus1 check configs/iris.toml                  error and bound of each method
//! nplus1 check configs/iris.toml --sweep          measured and predicted errors over increments
//! nplus1 check configs/iris.toml --sweep --json   `curves`: points, best increments, floors
//! ```

mod checker;
#[cfg(unix)]
mod program;
pub mod summary;
mod sweep;

use std::io::Write;

use self::checker::{Checker, MOST_MULTIPLICATIONS, stopped};
use self::summary::{CheckReport, CurveSummary, ExternalGradient};
use super::arguments::{CheckArguments, Global};
use super::inputs::{Inputs, overrides, parameters};
use super::memory::check_gradients;
use super::output::{Messages, show};
use super::signals::Interrupt;
use super::study::conclude;
use super::workers::start_workers;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::format::gradient;
use crate::gradient::Control;
use crate::gradient::finite_difference::{Increment, Reuse, Summation};
use crate::gradient_check::{CheckSubject, CheckedMethod, Outcome, adaptive_methods, methods};
use crate::kernels::Isa;
use crate::model::Network;
use crate::run::Environment;
use crate::study::record::{Question, StudyRecord};
use crate::study::sweep as sweep_study;

/// Default number of directions: an error of 1 % is missed once in 10³⁰ checks in f64.
const DIRECTIONS: u32 = 20;

/// Runs the checks that the arguments ask for and prints the results.
///
/// # Errors
/// A config, data, model or gradient that is refused; an increment of the config's method that is
/// lost in θ; [`Error::CheckFailed`] if a gradient is wrong; an interruption.
pub fn run(
    arguments: &CheckArguments,
    global: &Global,
    messages: Messages,
    out: &mut dyn Write,
) -> Result<()> {
    #[cfg(unix)]
    if let Some(command) = &arguments.program {
        return program::run(command, arguments, global, messages, out);
    }
    let Some(path) = &arguments.config else {
        return Err(Error::Usage("--program needs a Unix system".to_owned()));
    };
    let inputs = Inputs::load(path, &overrides(&arguments.changes), global)?;
    let Inputs { config, split } = &inputs;
    let network = inputs.network()?;
    let train = &split.train;
    let wanted = arguments
        .rows
        .map_or(config.train.batch_size, |rows| rows as usize);
    let rows = &train.rows[..wanted.min(train.rows.len())];
    let workers = start_workers(config.run.threads, messages)?;
    check_gradients(&network, split, rows.len(), workers.threads())?;
    let theta = parameters(arguments.weights.as_deref(), config, &network, messages)?;
    let external = match &arguments.against {
        Some(path) => Some((path, gradient::load(path, &network.layout)?)),
        None => None,
    };
    let interrupt = Interrupt::watch_and_end()?;
    let control = Control::new(interrupt.flag());
    let subject = CheckSubject::new(
        &network,
        &theta,
        &train.dataset,
        &split.scaling,
        rows,
        &workers,
        Isa::detect(),
        &control,
    )
    .map_err(|reason| stopped(reason, &interrupt))?;

    let mut report = CheckReport::new(&config.name, &network, rows.len(), &subject);
    report.detailed = global.verbose;
    let check = Checker {
        subject: &subject,
        network: &network,
        control: &control,
        interrupt: &interrupt,
        messages,
        global,
    };
    let (chosen, expensive) = choose(arguments, &subject, candidates(config));
    if let Some(note) = describe_left_out(arguments, &subject, &expensive) {
        messages.note(&note);
        report.note = Some(note);
    }
    let is_configured = |method: &CheckedMethod| {
        method.gradient == config.gradient && method.precision == config.model.precision
    };
    report.rows = check.rows(&chosen, |method, outcome| match outcome {
        Outcome::Lost(lost) if is_configured(method) => Err(Error::refused(path, lost.to_string())),
        _ => Ok(()),
    })?;
    if arguments.directions.is_some() || !expensive.is_empty() {
        let count = arguments.directions.unwrap_or(DIRECTIONS);
        report.directions = check.directions(count as usize, config.seed)?;
    }
    let count = arguments.directions.unwrap_or(DIRECTIONS) as usize;
    report.estimate = check.estimate(config, path, count)?;
    let record = if arguments.sweep {
        let record = record(arguments, config, &network, rows.len(), workers.threads())?;
        let swept = check.sweep(&chosen, arguments.full)?;
        (report.sweep, report.curves) = (swept.rows, swept.curves);
        report.oracle = check.oracle(arguments.full)?;
        Some(record)
    } else {
        None
    };
    if let Some((path, (gradient, precision))) = external {
        let found = subject
            .examine_external(&gradient, precision, &train.rows, &control)
            .map_err(|reason| stopped(reason, &interrupt))?;
        report.against = Some(ExternalGradient::new(
            path,
            precision,
            &found,
            &network.layout,
        ));
    }
    if let Some(path) = &arguments.save {
        gradient::save(subject.gradient(), path)?;
    }
    finish(report, record, arguments, global, out)
}

/// Saves the rows of a sweep in `record`, and prints the report.
fn finish(
    mut report: CheckReport,
    record: Option<StudyRecord<sweep_study::SweepRow>>,
    arguments: &CheckArguments,
    global: &Global,
    out: &mut dyn Write,
) -> Result<()> {
    report.conclude();
    if let Some(mut record) = record {
        report.study = Some(record.label());
        for row in report.curves.iter().flat_map(CurveSummary::rows) {
            record.push(row)?;
        }
        conclude(&record, &report, arguments.page, global, out)?;
    } else {
        show(&report, CheckReport::to_string, global, out)?;
    }
    match report.failure() {
        Some(failure) => Err(Error::CheckFailed(failure)),
        None => Ok(()),
    }
}

/// Creates the study of a sweep.
fn record(
    arguments: &CheckArguments,
    config: &Config,
    network: &Network,
    batch_rows: usize,
    threads: usize,
) -> Result<StudyRecord<sweep_study::SweepRow>> {
    let weights = arguments.weights.as_ref();
    let plan = sweep_study::SweepPlan {
        layers: network.layout.sizes().to_vec(),
        weights: weights.map(|path| path.display().to_string()),
        batch_rows,
        full: arguments.full,
    };
    StudyRecord::create(
        arguments.out.as_deref(),
        &config.name,
        &Question::new("check", &plan),
        Some(&config.to_toml()),
        &Environment::detect(Isa::detect().name(), threads),
    )
}

/// Returns every method with the increment and summation of the config, and the config's method.
fn candidates(config: &Config) -> Vec<CheckedMethod> {
    let Some(asked) = config.gradient.perturbation() else {
        let mut all = methods(Increment::Auto, Summation::Differences);
        all.extend(adaptive_methods(Increment::Auto));
        return all;
    };
    // Noise-based increments have separate rows.
    let increment = match asked.increment {
        Increment::Noise => Increment::Auto,
        increment => increment,
    };
    let mut all = methods(increment, asked.summation);
    all.extend(adaptive_methods(increment));
    let configured = CheckedMethod {
        gradient: config.gradient,
        precision: config.model.precision,
    };
    if !all.contains(&configured) {
        all.push(configured);
    }
    all
}

/// Splits the methods into those that compute whole gradients and those too expensive for that.
fn choose(
    arguments: &CheckArguments,
    subject: &CheckSubject<'_>,
    all: Vec<CheckedMethod>,
) -> (Vec<CheckedMethod>, Vec<CheckedMethod>) {
    all.into_iter().partition(|method| {
        method.reuse().is_none()
            || arguments.full
            || (arguments.directions.is_none() && subject.cost(method) <= MOST_MULTIPLICATIONS)
    })
}

/// Describes the methods that were left out, and why.
fn describe_left_out(
    arguments: &CheckArguments,
    subject: &CheckSubject<'_>,
    expensive: &[CheckedMethod],
) -> Option<String> {
    let first = expensive
        .first()
        .filter(|_| arguments.directions.is_none())?;
    let mut kinds: Vec<&str> = expensive
        .iter()
        .filter_map(|method| method.reuse().map(Reuse::name))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    Some(format!(
        "left out: {} of {} (from {} evaluations and about {:.0e} multiplications per gradient); {DIRECTIONS} random directions instead; use --full for all",
        if expensive.len() == 1 {
            "1 gradient".to_owned()
        } else {
            format!("{} gradients", expensive.len())
        },
        kinds.join(", "),
        subject.evaluations(first),
        subject.cost(first),
    ))
}
