//! `nplus1 minimize`: minimizes a function that any program computes.
//!
//! ```text
//! nplus1 minimize --program 'python3 loss.py' --at theta.json --workers 8 -o best.json
//! ```

use std::fmt::Write as _;
use std::io::Write;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::arguments::{Global, MinimizeArguments, OptimizerName, SourceName};
use super::output::{Messages, show};
use super::programs::{EvaluationCounts, open, warn_of_contradiction};
use crate::error::Result;
use crate::format::file::write_atomically;
use crate::format::vector;
use crate::gradient::finite_difference::Differences;
use crate::model::Objective;
use crate::optimizer::{AdamConfig, LbfgsConfig, OptimizerConfig, Schedule, SgdConfig};
use crate::program::minimize::{GradientSource, Minimization, MinimumEnding, TraceRow};

/// The largest number of parameters that are printed as text.
const PRINTED: usize = 20;
/// The learning rate of SGD.
const SGD_RATE: f64 = 0.01;
/// The shortest time between two lines of progress.
const PAUSE: Duration = Duration::from_secs(1);

/// The result of the command.
#[derive(Debug, Serialize)]
struct MinimumReport {
    program: String,
    parameters: usize,
    optimizer: &'static str,
    ending: MinimumEnding,
    iterations: u64,
    loss: f64,
    /// ‖g‖∞ at the end.
    largest: f64,
    /// Absent if it is in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    theta: Option<Vec<f64>>,
    trace: Vec<TraceRow>,
    deterministic: bool,
    evaluations: EvaluationCounts,
    workers: usize,
    output: Option<String>,
    #[serde(skip)]
    names: Vec<String>,
}

/// Minimizes the function that the arguments name.
///
/// # Errors
/// Arguments, θ or the program's answers that are refused; values that are not finite; an
/// interruption; a failed write.
pub fn run(
    arguments: &MinimizeArguments,
    global: &Global,
    messages: Messages,
    out: &mut dyn Write,
) -> Result<()> {
    if let Some(path) = &arguments.output {
        vector::check_output(path)?;
    }
    let output = arguments.output.as_deref();
    let context = (global, messages);
    let opened = open(
        &arguments.program,
        &arguments.options,
        output,
        "minimize",
        context,
    )?;
    let minimization = minimization(arguments);
    let mut last = None::<Instant>;
    let mut on_row = |row: &TraceRow| {
        if last.is_none_or(|last| last.elapsed() >= PAUSE) {
            last = Some(Instant::now());
            messages.note(format_args!(
                "iteration {}: loss {:e}, largest element of the gradient {:.1e}, {} evaluations",
                row.iteration, row.loss, row.largest, row.evaluations
            ));
        }
    };
    let minimum = minimization.run(&opened.program, &opened.theta, &mut on_row);
    let minimum = opened.coded(minimum)?;
    let deterministic = warn_of_contradiction(&opened.program, messages);
    if let Some(path) = output {
        vector::save(path, &minimum.theta)?;
    }
    if let Some(path) = &arguments.trace {
        write_atomically(path, trace(&minimum.trace).as_bytes())?;
    }
    let end = minimum.trace.last();
    let names = 0..minimum.theta.len().min(PRINTED);
    let report = MinimumReport {
        program: arguments.program.clone(),
        parameters: opened.theta.len(),
        optimizer: minimization.optimizer.kind(),
        ending: minimum.ending,
        iterations: end.map_or(0, |row| row.iteration),
        loss: minimum.loss,
        largest: end.map_or(f64::NAN, |row| row.largest),
        trace: minimum.trace,
        deterministic,
        evaluations: EvaluationCounts::of(&opened.program),
        workers: opened.workers,
        output: output.map(|path| path.display().to_string()),
        names: names.map(|index| opened.program.name(index)).collect(),
        theta: Some(minimum.theta).filter(|_| output.is_none()),
    };
    show(&report, text, global, out)?;
    opened.program.finish();
    Ok(())
}

fn minimization(arguments: &MinimizeArguments) -> Minimization {
    let optimizer = match arguments.optimizer {
        OptimizerName::Lbfgs => OptimizerConfig::Lbfgs(LbfgsConfig::default()),
        OptimizerName::Adam => {
            let default = AdamConfig::default();
            OptimizerConfig::Adam(AdamConfig {
                learning_rate: arguments.learning_rate.unwrap_or(default.learning_rate),
                ..default
            })
        }
        OptimizerName::Sgd => OptimizerConfig::Sgd(SgdConfig {
            learning_rate: arguments.learning_rate.unwrap_or(SGD_RATE),
            momentum: arguments.momentum,
            weight_decay: 0.0,
            schedule: Schedule::Constant,
        }),
    };
    let differences = |method: Differences| {
        GradientSource::Differences(Differences {
            increment: arguments.increment,
            ..method
        })
    };
    let gradient = match arguments.gradient {
        SourceName::Forward => differences(Differences::FORWARD),
        SourceName::Central => differences(Differences::CENTRAL),
        SourceName::Richardson => differences(Differences {
            levels: 3,
            ..Differences::CENTRAL
        }),
        SourceName::Program => GradientSource::Program,
    };
    Minimization {
        optimizer,
        gradient,
        iterations: arguments.iterations,
        tolerance: arguments.tolerance,
    }
}

/// Returns the trace as CSV.
fn trace(rows: &[TraceRow]) -> String {
    let mut text = "iteration,loss,largest,evaluations,seconds\n".to_owned();
    for row in rows {
        let TraceRow {
            iteration,
            loss,
            largest,
            evaluations,
            seconds,
        } = row;
        writeln!(
            text,
            "{iteration},{loss:?},{largest:?},{evaluations},{seconds:.6}"
        )
        .expect("a string takes all that is written");
    }
    text
}

fn text(report: &MinimumReport) -> String {
    let mut text = String::new();
    let mut write = |line: String| {
        writeln!(text, "{line}").expect("a string takes all that is written");
    };
    let ending = match report.ending {
        MinimumEnding::Converged => "converged".to_owned(),
        MinimumEnding::Stuck => {
            "no lower value found: the gradient's error is as large as the gradient".to_owned()
        }
        MinimumEnding::Iterations => "not converged, --iterations are used up".to_owned(),
    };
    write(format!("program      {}", report.program));
    write(format!("parameters   {}", report.parameters));
    write(format!(
        "ending       {ending} after {} iterations of {}",
        report.iterations, report.optimizer
    ));
    write(format!("loss         {:?}", report.loss));
    write(format!(
        "gradient     largest element {:.1e}",
        report.largest
    ));
    write(format!("evaluations  {}", report.evaluations));
    match (&report.output, &report.theta) {
        (Some(path), _) => write(format!("theta        in {path}")),
        (None, Some(theta)) => {
            write("theta".to_owned());
            for (value, name) in theta.iter().zip(&report.names) {
                write(format!("  {name:<12} {value:?}"));
            }
            if theta.len() > PRINTED {
                write(format!(
                    "  … {} more: -o FILE or --json has all",
                    theta.len() - PRINTED
                ));
            }
        }
        (None, None) => {}
    }
    text
}
