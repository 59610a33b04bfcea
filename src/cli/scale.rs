//! `nplus1 scale`: measures how each method scales with threads, and where more threads stop
//! paying.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::arguments::{Global, ScaleArguments, ThreadList};
use super::inputs::splits;
use super::output::Messages;
use super::page::conclude;
use super::session::Session;
use super::signals::Interrupt;
use crate::config::{Config, Overrides};
use crate::data::{self, SearchPaths};
use crate::error::{Error, Result};
use crate::gradient::Control;
use crate::kernels::Isa;
use crate::parallel::{Workers, processors};
use crate::run::Environment;
use crate::study::methods;
use crate::study::record::{Question, StudyRecord, read_plan};
use crate::study::scaling::measurement::Measurement;
use crate::study::scaling::summary::{ScalingReport, counted, line};
use crate::study::scaling::{ScalingPlan, ScalingSample};

/// Name of this kind of study.
const KIND: &str = "scale";
/// Default methods.
const METHODS: [&str; 4] = [
    "backprop",
    "forward-difference/incremental",
    "forward-difference/cancellation-free",
    "forward-difference/full",
];
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
    messages: Messages,
    out: &mut dyn Write,
) -> Result<()> {
    let (path, kept) = source(arguments)?;
    let resumed = kept.is_some();
    let overrides = Overrides {
        set: arguments.set.clone(),
        ..Overrides::default()
    };
    let config = Config::load(&path, &overrides)?;
    let search_paths = SearchPaths::new(global.datasets.as_deref());
    let base = path.parent().unwrap_or(Path::new(""));
    let loaded = data::load(&config.data, &search_paths, base)?;
    let split = splits(&loaded, &config)?.swap_remove(0);
    let network = Session::new(&config, &split, None)?.network;
    let mut plan = match kept {
        Some(plan) => plan,
        None => plan(arguments, &config, split.train.rows.len())?,
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
    let order = match plan.pinned {
        true => processors::in_order().ok_or_else(|| {
            Error::Usage(
                "--pin: this system cannot pin threads to processors\n  help: leave the option out"
                    .to_owned(),
            )
        })?,
        false => Vec::new(),
    };
    let isa = Isa::detect();
    let interrupt = Interrupt::watch("keeping the samples")?;
    let control = Control::new(interrupt.flag());
    let measurement = Measurement {
        split: &split,
        network: &network,
        initialization: config.model.initialization,
        seed: config.seed,
        learning_rate: config.optimizer.learning_rate().unwrap_or(1.0),
        precision: config.model.precision,
        processors: &order,
        isa,
        control: &control,
    };
    if !resumed {
        plan.divisions = measurement.divisions(&plan);
    }
    let question = Question::new(KIND, &plan);
    let most = plan.threads.iter().max().copied().unwrap_or(1);
    let environment = Environment::detect(isa.name(), most);
    let text = config.to_toml();
    let mut record: StudyRecord<ScalingSample> = StudyRecord::begin(
        arguments.resume.as_deref(),
        arguments.out.as_deref(),
        &config.name,
        &question,
        Some(&text),
        &environment,
    )?;
    let before = (Instant::now(), processor_seconds_of_others());
    let taken = measurement.run(&plan, &mut record, &mut |sample| {
        messages.note(line(sample))
    });
    let resume = format!("nplus1 scale --resume {}", record.path().display());
    let finished = taken.map_err(|error| match error {
        Error::Resources(refused) => Error::Resources(format!(
            "{refused}\n  {} samples are saved; where so many threads are allowed, resume with: {resume}",
            record.rows().len()
        )),
        other => other,
    })?;
    if !finished {
        messages.note(format_args!("resume with: {resume}"));
        return Err(record.interrupted(interrupt.exit_code()));
    }
    let taken = before.0.elapsed().as_secs_f64();
    let load = before
        .1
        .zip(processor_seconds_of_others())
        .map(|(from, to)| (to - from).max(0.0) / taken);
    let study = record.path().display().to_string();
    let report = ScalingReport::new(
        &config.name,
        study,
        &environment,
        &plan,
        record.rows(),
        load,
    );
    conclude(
        &record,
        &report,
        &format!("Scaling: {}", config.name),
        &|_, table| report.render(table),
        arguments.page,
        global,
        out,
    )
}

/// Returns the processor seconds that other processes have used since the machine started.
fn processor_seconds_of_others() -> Option<f64> {
    Some(processors::machine_busy_seconds()? - processors::busy_seconds()?)
}

/// Returns the config file, and the plan of a study that is resumed without one.
fn source(arguments: &ScaleArguments) -> Result<(PathBuf, Option<ScalingPlan>)> {
    if let Some(config) = &arguments.config {
        return Ok((config.clone(), None));
    }
    let study = arguments.resume.as_deref().expect("clap asks for one");
    let (config, plan): (_, ScalingPlan) = read_plan(study, KIND)?;
    Ok((config, Some(plan)))
}

/// Returns the plan that the arguments ask for, with every default filled in.
fn plan(arguments: &ScaleArguments, config: &Config, rows: usize) -> Result<ScalingPlan> {
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
    let configured = config.train.batch_size.min(rows);
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
