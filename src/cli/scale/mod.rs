//! `nplus1 scale`: measures how each method scales with threads, and where more threads stop
//! paying.

mod ranks;

use std::io::Write;

use self::ranks::METHODS;
use crate::cli::arguments::{Global, ScaleArguments, ThreadList};
use crate::cli::inputs::Inputs;
use crate::cli::memory::check_scaling;
use crate::cli::output::Messages;
use crate::cli::study::{StudyRunner, source};
use crate::config::Overrides;
use crate::error::{Error, Result};
use crate::parallel::{Ranks, Workers, processors};
use crate::study::methods;
use crate::study::scaling::ScalingPlan;
use crate::study::scaling::measurement::ScalingStudy;
use crate::study::table::counted;

/// Mini-batch that is measured by default beside the config's.
const LARGE_BATCH: usize = 128;

/// Takes the samples and prints their summary.
///
/// # Errors
/// A config, methods, mini-batches or threads that are refused; an interruption, after the rows are
/// saved.
pub fn run(
    arguments: &ScaleArguments,
    global: &Global,
    (messages, ranks): (Messages, &Ranks),
    out: &mut dyn Write,
) -> Result<()> {
    if let Some(counts) = &arguments.ranks {
        return ranks::run(arguments, counts, global, (messages, ranks), out);
    }
    let record = &arguments.record;
    // Options beside --resume are usage errors already.
    let (path, kept) = source::<ScalingStudy<'_>>(arguments.config.as_deref(), record, false)?;
    let overrides = Overrides {
        set: arguments.set.clone(),
        ..Overrides::default()
    };
    let inputs = Inputs::load(&path, &overrides, global)?;
    let network = inputs.network()?;
    let resumed = kept.is_some();
    let mut plan = match kept {
        Some(plan) => plan,
        None => plan(arguments, &inputs)?,
    };
    if !plan.predicted_threads.is_empty() && !resumed {
        messages.note(format_args!(
            "{} to use: {} threads are predicted, not measured",
            counted(Workers::processors(), "processor"),
            plan.predicted_threads
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ));
    }
    let precision = inputs.config.model.precision;
    check_scaling(&network, &inputs.split, precision, &plan)?;
    let order = match plan.pinned {
        true => processors::in_order().ok_or_else(|| {
            Error::Usage(
                "--pin: this system cannot pin threads to processors\n  help: leave the option out"
                    .to_owned(),
            )
        })?,
        false => Vec::new(),
    };
    let runner = StudyRunner::start::<ScalingStudy<'_>>(record, global, messages)?;
    let study = ScalingStudy::new(runner.subject(&inputs), network, order);
    if !resumed {
        plan.divisions = study.divisions(&plan);
    }
    runner.run(study, &plan, out)
}

/// Returns the plan that the arguments ask for, with every default filled in.
fn plan(arguments: &ScaleArguments, inputs: &Inputs) -> Result<ScalingPlan> {
    let rows = inputs.split.train.rows.len();
    let names = match &arguments.methods {
        Some(names) => names.clone(),
        None => METHODS.map(str::to_owned).to_vec(),
    };
    let threads = arguments.threads.clone();
    let threads = threads.unwrap_or_else(ThreadList::up_to_all).0;
    let processors = Workers::processors();
    let (mut threads, predicted_threads): (Vec<_>, Vec<_>) =
        threads.into_iter().partition(|&count| count <= processors);
    if !predicted_threads.is_empty() && !threads.contains(&1) {
        // A prediction is made from the time of one thread.
        threads.insert(0, 1);
    }
    let configured = inputs.config.train.batch_size.min(rows);
    let mut batches = match &arguments.batches {
        Some(batches) => batches.clone(),
        None if configured == LARGE_BATCH || rows < LARGE_BATCH => vec![configured],
        None => vec![configured, LARGE_BATCH],
    };
    batches.sort_unstable();
    let factor = if arguments.weak {
        threads.iter().max().copied().unwrap_or(1)
    } else {
        1
    };
    for (index, &batch) in batches.iter().enumerate() {
        if batch == 0 || batch.saturating_mul(factor) > rows {
            return Err(Error::Usage(format!(
                "--batches: {batch} rows; allowed: 1 to {} (of {rows} training rows{})",
                rows / factor,
                if arguments.weak { ", per thread" } else { "" }
            )));
        }
        if index > 0 && batches[index - 1] == batch {
            return Err(Error::Usage(format!("--batches: duplicate value {batch}")));
        }
    }
    let methods = methods::select(&names)?;
    Ok(ScalingPlan {
        methods: methods.into_iter().map(|method| method.label).collect(),
        batches,
        threads,
        predicted_threads,
        divisions: Vec::new(),
        rounds: arguments.runs as usize,
        weak: arguments.weak,
        pinned: arguments.pin,
        limit_seconds: arguments.limit,
    })
}
