//! `nplus1 cost llsq`: the cost of the derivative of a least-squares objective, in evaluations.

use std::io::Write;
use std::path::Path;

use crate::cli::arguments::{CostArguments, Global};
use crate::cli::output::Messages;
use crate::cli::study::{REPEATS, StudyRunner, ascending, source};
use crate::cli::workers::start_workers;
use crate::error::{Error, Result};
use crate::study::Study;
use crate::study::least_squares::{LeastSquaresPlan, LeastSquaresStudy};
use crate::study::record::read_question;

/// Argument in place of a config, and name of this kind of study.
const KIND: &str = LeastSquaresStudy::KIND;
/// Data points of the objective.
const POINTS: usize = 1024;
/// Default numbers of parameters.
const SIZES: [usize; 6] = [4, 8, 16, 32, 64, 128];
/// Largest number of parameters; with more, one derivative takes minutes.
const MOST: usize = 4096;

/// Measures the rows and prints their summary.
///
/// # Errors
/// Sizes that are refused; an interruption, after the rows are saved.
pub fn run(
    arguments: &CostArguments,
    global: &Global,
    messages: Messages,
    out: &mut dyn Write,
) -> Result<()> {
    let plan = plan(arguments)?;
    let threads = arguments.changes.threads.unwrap_or(1);
    let workers = start_workers(Some(threads), messages)?;
    let runner = StudyRunner::start::<LeastSquaresStudy<'_>>(&arguments.record, global, messages)?;
    let study = LeastSquaresStudy {
        workers: &workers,
        control: &runner.control,
    };
    runner.run(study, &plan, out)
}

/// Returns whether the arguments ask for this study.
///
/// # Errors
/// A folder to resume that holds no study.
pub fn is_meant(arguments: &CostArguments) -> Result<bool> {
    match (&arguments.config, &arguments.record.resume) {
        (Some(config), _) => Ok(config == Path::new(KIND)),
        (None, Some(study)) => Ok(read_question(study)?.study == KIND),
        (None, None) => Ok(false),
    }
}

fn plan(arguments: &CostArguments) -> Result<LeastSquaresPlan> {
    let changes = &arguments.changes;
    let of_networks = [
        ("--widths", arguments.widths.is_some()),
        ("--scale-all", arguments.scale_all.is_some()),
        ("--depths", arguments.depths.is_some()),
        ("--dense", arguments.dense),
        ("--batch", arguments.batch.is_some()),
        ("--methods", arguments.methods.is_some()),
        ("--limit", arguments.limit.is_some()),
        ("--set", !changes.set.is_empty()),
        ("--seed", changes.seed.is_some()),
    ];
    if let Some((option, _)) = of_networks.iter().find(|(_, given)| *given) {
        return Err(Error::Usage(format!(
            "{option} applies to networks, and `{KIND}` has none\n  help: leave it out, or name a config file (./{KIND} if that is its name)"
        )));
    }
    let (config, record) = (arguments.config.as_deref(), &arguments.record);
    if let (_, Some(plan)) = source::<LeastSquaresStudy<'_>>(config, record, arguments.asks())? {
        return Ok(plan);
    }
    let sizes = match &arguments.sizes {
        None => SIZES.to_vec(),
        Some(sizes) => ascending("--sizes", sizes)?,
    };
    if let Some(size) = sizes.iter().find(|&&size| size > MOST) {
        return Err(Error::Usage(format!(
            "--sizes: {size} parameters; allowed: 1 to {MOST}"
        )));
    }
    Ok(LeastSquaresPlan {
        sizes,
        points: POINTS,
        repeats: arguments.repeats.unwrap_or(REPEATS) as usize,
    })
}
