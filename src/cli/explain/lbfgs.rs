//! `nplus1 explain lbfgs`: whether L-BFGS needs precise gradients.

use std::fmt;
use std::io::Write;
use std::time::Instant;

use serde::Serialize;

use crate::cli::arguments::{Global, LbfgsArguments};
use crate::cli::inputs::{Inputs, configured, overrides};
use crate::cli::output::{Messages, show};
use crate::cli::signals::Interrupt;
use crate::cli::workers::start_workers;
use crate::error::{Error, Result};
use crate::gradient::Control;
use crate::kernels::Isa;
use crate::numeric::Precision;
use crate::optimizer::{LbfgsConfig, OptimizerConfig};
use crate::study::lbfgs_precision::{
    GradientCase, MinimizationEnding, MinimizationRow, MinimizationSubject, MinimizationVerdict,
    cases,
};
use crate::study::table::{Table, duration, list, topology};

/// Default config: its text and its name.
const DEFAULT: (&str, &str) = (
    include_str!("../../../configs/breast-cancer-lbfgs.toml"),
    "configs/breast-cancer-lbfgs.toml",
);

/// Settings for configs of another optimizer.
const LBFGS: LbfgsConfig = LbfgsConfig {
    memory: 10,
    tolerance: 1e-6,
};
/// Largest number of iterations, unless a config of L-BFGS sets it.
const MOST: usize = 1000;

/// Multiplications above which a study is refused (many minutes on one core), assuming 100
/// gradients per case.
const MOST_MULTIPLICATIONS: f64 = 1e13;
const GRADIENTS: f64 = 100.0;

/// The JSON document.
#[derive(Clone, Debug, Serialize)]
struct LbfgsReport {
    /// The config's name.
    name: String,
    /// Layer sizes.
    sizes: Vec<usize>,
    /// Number of parameters, N.
    parameters: usize,
    /// Rows of the objective: all training rows.
    batch_rows: usize,
    /// Coefficient of the l2 term.
    l2: f64,
    /// Pairs in the history of L-BFGS.
    memory: usize,
    /// Tolerance of the largest element of the gradient.
    tolerance: f64,
    /// One row per case.
    rows: Vec<MinimizationRow>,
    /// Summary of the rows; none if the study was interrupted.
    answer: Option<String>,
}

/// Runs the study that the arguments ask for and prints its results.
///
/// # Errors
/// A config or data that is refused; a network for which the study would take too long; an
/// interruption, after the finished rows are printed.
pub fn run(
    arguments: &LbfgsArguments,
    global: &Global,
    messages: Messages,
    out: &mut dyn Write,
) -> Result<()> {
    let overrides = overrides(&arguments.changes);
    let (config, base) = configured(arguments.config.as_deref(), DEFAULT, &overrides)?;
    let inputs = Inputs::of(config, base, global)?;
    let Inputs { config, split } = &inputs;
    let network = inputs.network()?;
    let start = config
        .model
        .initialization
        .draw::<f64>(&network.layout, config.seed);
    let workers = start_workers(config.run.threads, messages)?;
    let interrupt = Interrupt::watch("ending with the finished rows")?;
    let control = Control::new(interrupt.flag());
    let (lbfgs, most) = match config.optimizer {
        OptimizerConfig::Lbfgs(lbfgs) => (lbfgs, config.train.epochs.unwrap_or(MOST)),
        _ => (LBFGS, MOST),
    };
    let subject = MinimizationSubject {
        network: &network,
        dataset: &split.train.dataset,
        scaling: &split.scaling,
        rows: &split.train.rows,
        start: &start,
        config: lbfgs,
        max_iterations: most,
        pool: &workers,
        isa: Isa::detect(),
        control: &control,
    };
    let cases = cases(arguments.increments.as_deref());
    check_cost(&subject, &cases)?;
    let mut report = LbfgsReport {
        name: config.name.clone(),
        sizes: network.layout.sizes().to_vec(),
        parameters: network.layout.len(),
        batch_rows: split.train.rows.len(),
        l2: network.l2,
        memory: lbfgs.memory,
        tolerance: lbfgs.tolerance,
        rows: Vec::new(),
        answer: None,
    };
    let mut ended = Ok(());
    for (done, case) in cases.iter().enumerate() {
        let begin = Instant::now();
        let Some(row) = workers.install(|| subject.row(case))? else {
            ended = Err(Error::Interrupted {
                code: interrupt.exit_code(),
                saved: None,
            });
            break;
        };
        messages.note(format_args!(
            "{}/{} {}: {} iterations, {}",
            done + 1,
            cases.len(),
            line(&row),
            row.iterations,
            duration(begin.elapsed().as_secs_f64())
        ));
        report.rows.push(row);
    }
    if ended.is_ok() {
        report.answer = answer(&report.rows);
    }
    show(&report, LbfgsReport::to_string, global, out)?;
    ended
}

/// Refuses a network for which N + 1 evaluations per gradient would take too long.
fn check_cost(subject: &MinimizationSubject<'_>, cases: &[GradientCase]) -> Result<()> {
    let all = cases
        .iter()
        .map(|case| subject.multiplications(case) as f64);
    let all = GRADIENTS * all.sum::<f64>();
    if all <= MOST_MULTIPLICATIONS {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "the study would take about {all:.0e} multiplications, more than {MOST_MULTIPLICATIONS:.0e}: N = {} parameters, {} rows\n  help: take a smaller network, fewer rows or fewer increments, such as --set data.limit=100 --increments 1e-6",
        subject.network.layout.len(),
        subject.rows.len()
    )))
}

fn label(row: &MinimizationRow) -> String {
    let mut label = format!("{} {}", row.method, row.precision);
    if row.arithmetic == Some("cancellation-free") {
        label.push_str(", cancellation-free");
    } else if row.precision == Precision::F32.name() && row.summation == Some("differences") {
        label.push_str(", per sample");
    }
    label
}

/// Returns the label with the increment.
fn line(row: &MinimizationRow) -> String {
    let increment = row.increment;
    label(row) + &increment.map_or(String::new(), |h| format!(" at {h:.0e}"))
}

/// Summarizes the rows.
fn answer(rows: &[MinimizationRow]) -> Option<String> {
    let exact = rows.first()?;
    let quotients = rows.iter().filter(|row| row.increment.is_some());
    let judged = |verdicts: &[MinimizationVerdict]| {
        let alike = quotients
            .clone()
            .filter(|row| verdicts.contains(&row.verdict));
        alike.count()
    };
    Some(format!(
        "With exact gradients L-BFGS makes {} iterations ({}). Of {} minimizations by plain quotients {} reach a point where the exact gradient is within twice the tolerance. {} stop too early, judged by their own gradient; {} end where the truncation error (increments too large), and {} where round-off (too small) has grown to the gradient's own size. L-BFGS does not need exact gradients: it needs an error below the gradient that it is to reach.",
        exact.iterations,
        exact.explanation,
        quotients.clone().count(),
        judged(&[MinimizationVerdict::Converges]),
        judged(&[MinimizationVerdict::Deceived]),
        judged(&[MinimizationVerdict::Truncation]),
        judged(&[MinimizationVerdict::RoundOff]),
    ))
}

impl fmt::Display for LbfgsReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = list(&[
            ("config", self.name.clone()),
            ("network", topology(&self.sizes)),
            ("parameters", self.parameters.to_string()),
            ("rows", self.batch_rows.to_string()),
            ("l2", format!("{:e}", self.l2)),
            ("pairs kept", self.memory.to_string()),
            ("tolerance", format!("{:e}", self.tolerance)),
        ]);
        writeln!(formatter, "{entries}")?;
        let mut table = Table::new([
            "gradient",
            "increment",
            "iterations",
            "losses",
            "objective",
            "exact ‖g‖",
            "largest |g|",
            "its own",
            "error",
            "relative",
            "ended by",
        ]);
        let number = |number: Option<f64>| number.map_or("–".to_owned(), |x| format!("{x:.1e}"));
        for row in &self.rows {
            table.row([
                label(row),
                row.increment.map_or("–".to_owned(), |h| format!("{h:.0e}")),
                row.iterations.to_string(),
                row.evaluations.to_string(),
                format!("{:.8}", row.objective),
                number(Some(row.gradient_norm)),
                number(Some(row.largest_gradient)),
                number(row.largest_computed),
                number(row.largest_error),
                number(row.relative_error),
                match row.ending {
                    MinimizationEnding::Tolerance => "tolerance",
                    MinimizationEnding::LineSearch => "line search",
                    MinimizationEnding::Iterations => "iterations",
                    MinimizationEnding::IncrementLost => "lost increment",
                    MinimizationEnding::NotFinite => "not finite",
                }
                .to_owned(),
            ]);
        }
        writeln!(formatter, "{table}")?;
        let failing = self
            .rows
            .iter()
            .filter(|row| row.verdict != MinimizationVerdict::Converges);
        for row in failing {
            writeln!(formatter, "{}: {}", line(row), row.explanation)?;
        }
        match &self.answer {
            Some(answer) => writeln!(formatter, "\n{answer}"),
            None => writeln!(
                formatter,
                "\nno conclusion: the study was interrupted after {} minimizations",
                self.rows.len()
            ),
        }
    }
}
