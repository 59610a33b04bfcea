//! `nplus1 race`: trains with one gradient method after the other, from the same start, against the
//! clock.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::arguments::{Global, RaceArguments};
use super::inputs::{overrides, splits};
use super::output::Messages;
use super::page::conclude;
use super::session::Session;
use super::signals::Interrupt;
use super::study_arguments::options_beside_resume;
use super::workers::start_workers;
use crate::config::Config;
use crate::data::{self, SearchPaths};
use crate::error::{Error, Result};
use crate::gradient::Control;
use crate::kernels::Isa;
use crate::model::Network;
use crate::optimizer::OptimizerConfig;
use crate::run::Environment;
use crate::study::methods::{self, Method};
use crate::study::race::summary::{RaceReport, line};
use crate::study::race::{RacePlan, RaceRow, RaceSubject, rate_of_estimate};
use crate::study::record::{Question, StudyRecord, read_plan};

/// Default methods.
const METHODS: [&str; 2] = ["backprop", "forward-difference"];
/// Default target accuracies.
const TARGETS: [f64; 2] = [0.9, 0.95];
/// Default seconds of training for each method.
const LIMIT: f64 = 30.0;
/// Name of this kind of study.
const KIND: &str = "race";

/// Runs the methods and prints the results.
///
/// # Errors
/// A config, methods, rates or targets that are refused; an interruption, after the rows are saved.
pub fn run(
    arguments: &RaceArguments,
    global: &Global,
    messages: Messages,
    out: &mut dyn Write,
) -> Result<()> {
    let (path, kept) = source(arguments)?;
    let config = Config::load(&path, &overrides(&arguments.changes))?;
    let search_paths = SearchPaths::new(global.datasets.as_deref());
    let base = path.parent().unwrap_or(Path::new(""));
    let loaded = data::load(&config.data, &search_paths, base)?;
    let split = splits(&loaded, &config)?.swap_remove(0);
    let network = Session::new(&config, &split, None)?.network;
    let plan = match kept {
        Some(plan) => plan,
        None => plan(arguments, &config, &network)?,
    };
    let methods: Vec<Method> = (plan.methods.iter())
        .map(|label| configured_method(label, &config))
        .collect::<Result<_>>()?;
    let workers = start_workers(config.run.threads, messages)?;
    let isa = Isa::detect();
    let interrupt = Interrupt::watch("keeping the rows")?;
    let control = Control::new(interrupt.flag());
    let subject = RaceSubject {
        config: &config,
        split: &split,
        network: &network,
        pool: &workers,
        isa,
        control: &control,
    };
    let (_, judged) = subject.evaluation_part()?;
    let question = Question::new(KIND, &plan);
    let environment = Environment::detect(isa.name(), workers.threads());
    let text = config.to_toml();
    let mut record: StudyRecord<RaceRow> = StudyRecord::begin(
        arguments.resume.as_deref(),
        arguments.out.as_deref(),
        &config.name,
        &question,
        Some(&text),
        &environment,
    )?;
    let mut report_row = |row: &RaceRow| {
        if row.ending.is_some() {
            messages.note(line(row));
        } else {
            messages.detail(line(row));
        }
    };
    if !subject.run(&plan, &methods, &mut record, &mut report_row)? {
        messages.note(format_args!(
            "resume with: nplus1 race --resume {}",
            record.path().display()
        ));
        return Err(record.interrupted(interrupt.exit_code()));
    }
    let study = record.path().display().to_string();
    let report = RaceReport::new(&config.name, study, judged, &plan, record.rows());
    conclude(
        &record,
        &report,
        &format!("Race: {}", config.name),
        &|_, table| report.render(table),
        arguments.page,
        global,
        out,
    )
}

/// Returns the config file, and the plan of a race that is resumed without one.
fn source(arguments: &RaceArguments) -> Result<(PathBuf, Option<RacePlan>)> {
    if let Some(config) = &arguments.config {
        return Ok((config.clone(), None));
    }
    let study = arguments.resume.as_deref().expect("clap asks for one");
    if arguments.asks() {
        return Err(options_beside_resume());
    }
    let (config, plan): (_, RacePlan) = read_plan(study, KIND)?;
    Ok((config, Some(plan)))
}

/// Returns the plan that the arguments ask for, with every default filled in.
fn plan(arguments: &RaceArguments, config: &Config, network: &Network) -> Result<RacePlan> {
    let mut methods = Vec::new();
    let names = arguments.methods.clone();
    for name in &names.unwrap_or(METHODS.map(str::to_owned).to_vec()) {
        let label = configured_method(name, config)?.label;
        if methods.contains(&label) {
            return Err(Error::Usage(format!("--methods: duplicate method {label}")));
        }
        methods.push(label);
    }
    let mut targets = arguments.targets.clone().unwrap_or(TARGETS.to_vec());
    if let Some(target) = targets
        .iter()
        .find(|&&target| !(target > 0.0 && target <= 1.0))
    {
        return Err(Error::Usage(format!(
            "--targets: {target} is not an accuracy; allowed: fractions above 0, up to 1"
        )));
    }
    targets.sort_by(f64::total_cmp);
    targets.dedup();
    let mut rates = Vec::new();
    for rate in &arguments.rates {
        let label = configured_method(&rate.method, config)?.label;
        if !methods.contains(&label) {
            return Err(Error::Usage(format!(
                "--rates: {label} is not in the race; add it to --methods"
            )));
        }
        rates.push((label, rate.rate));
    }
    if let OptimizerConfig::Sgd(sgd) = &config.optimizer {
        for label in &methods {
            let default = rate_of_estimate(
                &configured_method(label, config)?,
                network,
                sgd.learning_rate,
            );
            if let Some(rate) = default.filter(|_| rates.iter().all(|(other, _)| other != label)) {
                rates.push((label.clone(), rate));
            }
        }
    }
    Ok(RacePlan {
        methods,
        rates,
        targets,
        limit: arguments.limit.unwrap_or(LIMIT),
    })
}

/// Returns the method of this name, with the config's settings if it is the config's method.
fn configured_method(name: &str, config: &Config) -> Result<Method> {
    let mut method = methods::by_name(name)?;
    if name == config.gradient.method() {
        method.gradient = config.gradient;
        method.label = name.to_owned();
    }
    Ok(method)
}
