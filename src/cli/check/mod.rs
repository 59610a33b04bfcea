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
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::checker::{Checker, MOST_MULTIPLICATIONS, stopped};
use self::summary::{CheckReport, ExternalGradient};
use self::sweep::SweepStudy;
use super::arguments::{CheckArguments, Global};
use super::inputs::{Inputs, overrides, parameters};
use super::memory::check_gradients;
use super::output::{Messages, show};
use super::signals::Interrupt;
use super::study::{StudyRunner, source};
use super::workers::start_workers;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::format::gradient;
use crate::gradient::Control;
use crate::gradient::finite_difference::{Increment, Reuse, Summation};
use crate::gradient_check::{CheckSubject, CheckedMethod, Outcome, adaptive_methods, methods};
use crate::kernels::Isa;
use crate::model::{Network, Parameters};
use crate::numeric::Precision;
use crate::study::sweep::SweepPlan;

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
    if arguments.config.is_none() && arguments.record.resume.is_none() {
        return Err(Error::Usage("--program needs a Unix system".to_owned()));
    }
    let (path, arguments) = &resumed(arguments)?;
    let inputs = Inputs::load(path, &overrides(&arguments.changes), global)?;
    let config = &inputs.config;
    let network = inputs.network()?;
    let train = &inputs.split.train;
    let wanted = arguments
        .rows
        .map_or(config.train.batch_size, |rows| rows as usize);
    let rows = &train.rows[..wanted.min(train.rows.len())];
    let workers = start_workers(config.run.threads, messages)?;
    check_gradients(&network, &inputs.split, rows.len(), workers.threads())?;
    let theta = parameters(arguments.weights.as_deref(), config, &network, messages)?;
    let external = match &arguments.against {
        Some(path) => Some((path.as_path(), gradient::load(path, &network.layout)?)),
        None => None,
    };
    // A sweep's rows are on the disk when they are measured.
    let interrupt = match arguments.sweep {
        true => Interrupt::watch_and_end("keeping the rows", Duration::from_secs(1))?,
        false => Interrupt::watch_and_end("ending without a result", Duration::from_millis(200))?,
    };
    let control = Control::new(interrupt.flag());
    let subject = CheckSubject::new(
        &network,
        &theta,
        &train.dataset,
        &inputs.split.scaling,
        rows,
        &workers,
        Isa::detect(),
        &control,
    )
    .map_err(|reason| stopped(reason, &interrupt))?;
    let check = Checker {
        subject: &subject,
        network: &network,
        control: &control,
        interrupt: &interrupt,
        messages,
        global,
    };
    let (mut report, chosen) = check_once(&check, (path.as_path(), config), arguments, rows.len())?;
    if let Some((path, gradient)) = external {
        report.against = Some(compare(&check, path, &gradient, &train.rows)?);
    }
    if let Some(path) = &arguments.save {
        gradient::save(subject.gradient(), path)?;
    }
    if !arguments.sweep {
        report.conclude();
        show(&report, CheckReport::to_string, global, out)?;
        return report
            .failed()
            .map_or(Ok(()), |failure| Err(Error::CheckFailed(failure)));
    }
    let plan = plan(arguments, &network, rows.len());
    let study = SweepStudy {
        config,
        check,
        chosen,
        report,
        threads: workers.threads(),
    };
    let runner = StudyRunner::of(&arguments.record, global, messages, interrupt.clone());
    runner.run(study, &plan, out)
}

/// Compares the gradient that was read from `path`, whose rows may have been any of `rows`.
fn compare(
    check: &Checker,
    path: &Path,
    (gradient, precision): &(Parameters<f64>, Precision),
    rows: &[u32],
) -> Result<ExternalGradient> {
    let found = check
        .subject
        .examine_external(gradient, *precision, rows, check.control)
        .map_err(|reason| stopped(reason, check.interrupt))?;
    let layout = &check.network.layout;
    Ok(ExternalGradient::new(path, *precision, &found, layout))
}

/// Returns the plan of the sweep that the arguments ask for.
fn plan(arguments: &CheckArguments, network: &Network, batch_rows: usize) -> SweepPlan {
    let weights = arguments.weights.as_ref();
    SweepPlan {
        layers: network.layout.sizes().to_vec(),
        weights: weights.map(|path| path.display().to_string()),
        batch_rows,
        directions: arguments.directions,
        full: arguments.full,
    }
}

/// Returns the config file and the arguments; those with which a sweep was begun, if it is resumed
/// without a config.
fn resumed(arguments: &CheckArguments) -> Result<(PathBuf, CheckArguments)> {
    let mut arguments = arguments.clone();
    arguments.sweep |= arguments.record.resume.is_some();
    if arguments.record.out.is_some() && !arguments.sweep {
        return Err(Error::Usage(
            "--out is the directory of a sweep\n  help: add --sweep, or leave --out out".to_owned(),
        ));
    }
    let asks = arguments.changes.asks()
        || arguments.weights.is_some()
        || arguments.rows.is_some()
        || arguments.full
        || arguments.directions.is_some();
    let config = arguments.config.as_deref();
    let (path, plan) = source::<SweepStudy<'_>>(config, &arguments.record, asks)?;
    if let Some(plan) = plan {
        arguments.weights = plan.weights.map(PathBuf::from);
        arguments.rows = u32::try_from(plan.batch_rows).ok();
        arguments.directions = plan.directions;
        arguments.full = plan.full;
    }
    Ok((path, arguments))
}

/// Checks the methods at one increment; returns the report and the methods that compute whole
/// gradients.
fn check_once(
    check: &Checker,
    (path, config): (&Path, &Config),
    arguments: &CheckArguments,
    rows: usize,
) -> Result<(CheckReport, Vec<CheckedMethod>)> {
    let subject = check.subject;
    let mut report = CheckReport::new(&config.name, check.network, rows, subject);
    report.detailed = check.global.verbose;
    let (chosen, expensive) = choose(arguments, subject, candidates(config));
    if let Some(note) = describe_left_out(arguments, subject, &expensive) {
        check.messages.note(&note);
        report.note = Some(note);
    }
    let is_configured = |method: &CheckedMethod| {
        method.gradient == config.gradient && method.precision == config.model.precision
    };
    report.rows = check.rows(&chosen, |method, outcome| match outcome {
        Outcome::Lost(lost) if is_configured(method) => Err(Error::refused(path, lost.to_string())),
        _ => Ok(()),
    })?;
    let count = arguments.directions.unwrap_or(DIRECTIONS) as usize;
    if arguments.directions.is_some() || !expensive.is_empty() {
        report.directions = check.directions(count, config.seed)?;
    }
    report.estimate = check.estimate(config, path, count)?;
    Ok((report, chosen))
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
