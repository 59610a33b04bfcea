//! `nplus1 explain lbfgs`: whether L-BFGS needs precise gradients.

use std::io::Write;

use crate::cli::arguments::{Global, LbfgsArguments};
use crate::cli::inputs::{Inputs, configured, overrides};
use crate::cli::output::Messages;
use crate::cli::study::{StudyRunner, source};
use crate::cli::workers::start_workers;
use crate::error::{Error, Result};
use crate::kernels::Isa;
use crate::optimizer::{LbfgsConfig, OptimizerConfig};
use crate::study::lbfgs_precision::{
    GradientCase, LbfgsPlan, LbfgsStudy, MinimizationSubject, cases,
};

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

/// Runs the study that the arguments ask for and prints its results.
///
/// # Errors
/// A config or data that is refused; a network for which the study would take too long; an
/// interruption, after the rows are saved.
pub fn run(
    arguments: &LbfgsArguments,
    global: &Global,
    messages: Messages,
    out: &mut dyn Write,
) -> Result<()> {
    let record = &arguments.record;
    let (path, begun) = match (&arguments.config, &record.resume) {
        (None, Some(_)) => {
            let asks = arguments.changes.asks() || arguments.increments.is_some();
            let (path, plan) = source::<LbfgsStudy<'_>>(None, record, asks)?;
            (Some(path), plan)
        }
        (config, _) => (config.clone(), None),
    };
    let overrides = overrides(&arguments.changes);
    let (config, base) = configured(path.as_deref(), DEFAULT, &overrides)?;
    let inputs = Inputs::of(config, base, global)?;
    let Inputs { config, split } = &inputs;
    let network = inputs.network()?;
    let start = config
        .model
        .initialization
        .draw::<f64>(&network.layout, config.seed);
    let workers = start_workers(config.run.threads, messages)?;
    let runner = StudyRunner::start::<LbfgsStudy<'_>>(record, global, messages)?;
    let (lbfgs, most) = match config.optimizer {
        OptimizerConfig::Lbfgs(lbfgs) => (lbfgs, config.train.epochs.unwrap_or(MOST)),
        _ => (LBFGS, MOST),
    };
    let plan = LbfgsPlan {
        sizes: network.layout.sizes().to_vec(),
        parameters: network.layout.len(),
        batch_rows: split.train.rows.len(),
        l2: network.l2,
        memory: lbfgs.memory,
        tolerance: lbfgs.tolerance,
        max_iterations: most,
        increments: match begun {
            Some(begun) => begun.increments,
            None => arguments.increments.clone(),
        },
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
        control: &runner.control,
    };
    check_cost(&subject, &cases(plan.increments.as_deref()))?;
    runner.run(LbfgsStudy { config, subject }, &plan, out)
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
