//! `nplus1 gradient`: the gradient of a function that any program computes.
//!
//! ```text
//! nplus1 gradient --program 'python3 loss.py' --at theta.json --workers 8 -o gradient.npy
//! ```

use std::fmt::Write as _;
use std::io::Write;
use std::time::Instant;

use serde::Serialize;

use super::arguments::{Global, GradientArguments, SchemeName};
use super::gradient_progress::GradientProgress;
use super::output::{Messages, show};
use super::programs::{EvaluationCounts, Opened, open, warn_of_contradiction};
use crate::error::{Error, Result};
use crate::format::vector;
use crate::gradient::finite_difference::failure::{EvaluationPoint, Failure};
use crate::gradient::finite_difference::{Differences, GradientEstimate, Increment, Scheme};
use crate::model::Objective;
use crate::study::table::duration;

/// The number of levels of `richardson`: 6N evaluations, and those that measure the noise.
const LEVELS: usize = 3;
/// The largest number of elements that are printed as text.
const PRINTED: usize = 20;

/// The result of the command.
#[derive(Debug, Serialize)]
struct GradientReport {
    program: String,
    parameters: usize,
    scheme: &'static str,
    /// h of the rule: `auto`, `noise` or a number.
    increment: String,
    loss: f64,
    /// The standard deviation of the loss's noise, with `noise`.
    noise: Option<f64>,
    norm: f64,
    /// Absent if it is in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient: Option<Vec<f64>>,
    /// The estimated errors, with `richardson`; absent if they are in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<f64>>,
    /// The largest of the estimated errors.
    largest_error: Option<f64>,
    deterministic: bool,
    evaluations: EvaluationCounts,
    workers: usize,
    seconds: f64,
    output: Option<String>,
    #[serde(skip)]
    names: Vec<String>,
}

/// Computes the gradient that the arguments ask for, and writes or prints it.
///
/// # Errors
/// Arguments, θ or the program's answers that are refused; an interruption; a failed write.
pub fn run(
    arguments: &GradientArguments,
    global: &Global,
    messages: Messages,
    out: &mut dyn Write,
) -> Result<()> {
    for path in arguments.output.iter().chain(&arguments.errors) {
        vector::check_output(path)?;
    }
    if arguments.errors.is_some() && arguments.scheme != SchemeName::Richardson {
        return Err(Error::Usage(
            "--errors needs --scheme richardson, which estimates them".to_owned(),
        ));
    }
    let output = arguments.output.as_deref();
    let command = &arguments.program;
    let context = (global, messages);
    let opened = open(command, &arguments.options, output, "gradient", context)?;
    let start = Instant::now();
    let method = differences(arguments.scheme, arguments.increment);
    let (loss, estimate) = opened.conclude(estimate(&opened, method, global))?;
    let deterministic = warn_of_contradiction(&opened.program, messages);
    if let Some(path) = output {
        vector::save(path, &estimate.gradient)?;
    }
    if let (Some(path), Some(errors)) = (&arguments.errors, &estimate.errors) {
        vector::save(path, errors)?;
    }
    let largest = |errors: &Vec<f64>| errors.iter().copied().fold(0.0, f64::max);
    let printed = output.is_none();
    let report = GradientReport {
        program: command.clone(),
        parameters: opened.theta.len(),
        scheme: scheme_name(arguments.scheme),
        increment: increment_name(arguments.increment),
        loss,
        noise: estimate.noise.map(|(noise, _)| noise),
        norm: estimate.gradient.iter().map(|g| g * g).sum::<f64>().sqrt(),
        largest_error: estimate.errors.as_ref().map(largest),
        errors: estimate.errors.filter(|_| arguments.errors.is_none()),
        deterministic,
        evaluations: EvaluationCounts::of(&opened.program),
        workers: opened.workers,
        seconds: start.elapsed().as_secs_f64(),
        output: output.map(|path| path.display().to_string()),
        names: (0..estimate.gradient.len().min(PRINTED))
            .map(|index| opened.program.name(index))
            .collect(),
        gradient: Some(estimate.gradient).filter(|_| printed),
    };
    show(&report, text, global, out)?;
    opened.program.finish();
    Ok(())
}

/// Evaluates θ, differentiates, and evaluates θ again; returns the value and the gradient.
fn estimate(
    opened: &Opened,
    method: Differences,
    global: &Global,
) -> Result<(f64, GradientEstimate), Failure> {
    let (program, theta) = (&opened.program, &opened.theta[..]);
    program.remember_base();
    let failed = |message| Failure::Function {
        message,
        place: EvaluationPoint::Theta,
    };
    let planned = method.evaluations(theta.len());
    let _progress = GradientProgress::start(global, program.control(), planned);
    let value = program.evaluate(theta, false).map_err(failed)?.loss;
    if !value.is_finite() {
        return Err(Failure::NotFinite {
            value,
            place: EvaluationPoint::Theta,
        });
    }
    if method.increment != Increment::Noise && !method.errors {
        // The forward scheme has θ's value.
        let known = u64::from(method.scheme == Scheme::Forward);
        program.plan(planned - known);
    }
    let control = program.control().with_new_counter();
    let estimate = method.gradient_with_control(program, theta, program.threads(), &control)?;
    program.revisit_last().map_err(failed)?;
    Ok((value, estimate))
}

fn differences(scheme: SchemeName, increment: Increment) -> Differences {
    let method = match scheme {
        SchemeName::Forward => Differences::FORWARD,
        SchemeName::Central => Differences::CENTRAL,
        SchemeName::Richardson => Differences {
            levels: LEVELS,
            errors: true,
            ..Differences::CENTRAL
        },
    };
    Differences {
        increment,
        ..method
    }
}

fn scheme_name(scheme: SchemeName) -> &'static str {
    match scheme {
        SchemeName::Forward => "forward",
        SchemeName::Central => "central",
        SchemeName::Richardson => "richardson",
    }
}

fn increment_name(increment: Increment) -> String {
    match increment {
        Increment::Auto => "auto".to_owned(),
        Increment::Noise => "noise".to_owned(),
        Increment::Absolute(h) | Increment::Relative(h) => format!("{h:?}"),
    }
}

fn text(report: &GradientReport) -> String {
    let mut text = String::new();
    let mut write = |line: String| {
        writeln!(text, "{line}").expect("a string takes all that is written");
    };
    write(format!("program      {}", report.program));
    write(format!("parameters   {}", report.parameters));
    write(format!("loss         {:?}", report.loss));
    if let Some(noise) = report.noise {
        write(format!(
            "noise        {noise:.1e}, the deviation of the loss"
        ));
    }
    write(format!(
        "differences  {}, increment {}",
        report.scheme, report.increment
    ));
    write(format!(
        "evaluations  {} in {} by {} {}",
        report.evaluations,
        duration(report.seconds),
        report.workers,
        if report.workers == 1 {
            "worker"
        } else {
            "workers"
        }
    ));
    write(format!("norm         {:e}", report.norm));
    if let Some(error) = report.largest_error {
        write(format!(
            "error        at most about {error:.1e} in any element"
        ));
    }
    match (&report.output, &report.gradient) {
        (Some(path), _) => write(format!("gradient     in {path}")),
        (None, Some(gradient)) => {
            write("gradient".to_owned());
            for (index, (g, name)) in gradient.iter().zip(&report.names).enumerate() {
                let error = report.errors.as_ref().map(|errors| errors[index]);
                let error = error.map_or_else(String::new, |error| format!("  ± {error:.1e}"));
                write(format!("  {name:<12} {g:?}{error}"));
            }
            if gradient.len() > PRINTED {
                write(format!(
                    "  … {} more: -o FILE or --json has all",
                    gradient.len() - PRINTED
                ));
            }
        }
        (None, None) => {}
    }
    text
}
