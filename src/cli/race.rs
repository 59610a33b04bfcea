//! `nplus1 race`: trains with one gradient method after the other, from the same start, against the
//! clock.

use std::io::Write;

use super::arguments::{Global, RaceArguments};
use super::inputs::{Inputs, overrides};
use super::memory::check_training;
use super::output::Messages;
use super::study::{StudyRunner, source};
use super::workers::start_workers;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::gradient::GradientConfig;
use crate::study::methods::{self, Method};
use crate::study::race::{RacePlan, RaceStudy, evaluation_part};

/// Default methods: exact gradients, differences, node perturbation, and estimates along 1, 10 and
/// 100 random directions of the weights and of the activations.
const METHODS: [&str; 10] = [
    "backprop",
    "forward-difference/incremental",
    "forward-difference/cancellation-free",
    "node-perturbation",
    "spsa",
    "spsa:10",
    "spsa:100",
    "forward-gradient/activations",
    "forward-gradient/activations:10",
    "forward-gradient/activations:100",
];
/// Default target accuracies.
const TARGETS: [f64; 3] = [0.8, 0.9, 0.95];
/// Default number of seeds.
const SEEDS: u64 = 3;
/// Default seconds of training for each method and seed: with the default methods and seeds a race
/// takes at most three minutes.
const LIMIT: f64 = 4.5;
/// Default seconds of training at each learning rate that is tried, as a share of the limit.
const TUNING_SHARE: f64 = 0.2;

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
    let record = &arguments.record;
    let (path, kept) =
        source::<RaceStudy<'_>>(arguments.config.as_deref(), record, arguments.asks())?;
    let inputs = Inputs::load(&path, &overrides(&arguments.changes), global)?;
    let config = &inputs.config;
    let dataset = &inputs.split.train.dataset;
    if dataset.is_regression() {
        return Err(Error::Usage(format!(
            "{}: a race compares accuracies, but the rows have numbers to predict, not classes\n  help: compare the cost of gradients with `nplus1 cost`, or train with each method",
            dataset.name
        )));
    }
    let network = inputs.network()?;
    let plan = match kept {
        Some(plan) => plan,
        None => plan(arguments, &inputs)?,
    };
    let methods: Vec<Method> = (plan.methods.iter())
        .map(|label| configured_method(label, config))
        .collect::<Result<_>>()?;
    let pool = start_workers(config.run.threads, messages)?;
    let gradients: Vec<GradientConfig> = methods.iter().map(|method| method.gradient).collect();
    let (split, threads) = (&inputs.split, pool.threads());
    check_training(&network, split, config, (&gradients, threads))?;
    let runner = StudyRunner::start::<RaceStudy<'_>>(record, global, messages)?;
    let study = RaceStudy {
        subject: runner.subject(&inputs),
        network,
        pool,
        methods,
        judges: evaluation_part(&inputs.split)?,
    };
    runner.run(study, &plan, out)
}

/// Returns the plan that the arguments ask for, with every default filled in.
fn plan(arguments: &RaceArguments, inputs: &Inputs) -> Result<RacePlan> {
    let config = &inputs.config;
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
    let limit = arguments.limit.unwrap_or(LIMIT);
    let seeds = match arguments.seeds {
        Some(seeds) => seeds.iter().collect(),
        None => (config.seed..).take(SEEDS as usize).collect(),
    };
    // Rates are never tried on the test rows.
    let tuning = match inputs.split.validation {
        Some(_) => arguments.tuning.unwrap_or(TUNING_SHARE * limit),
        None => 0.0,
    };
    Ok(RacePlan {
        methods,
        rates,
        seeds,
        tuning,
        targets,
        limit,
    })
}

/// Returns the method of this name, with the config's settings if it is the config's method. `:K`
/// after the name sets the number of random directions.
fn configured_method(name: &str, config: &Config) -> Result<Method> {
    let mut method = methods::with_directions(name)?;
    if name == config.gradient.method() {
        method.gradient = config.gradient;
        method.label = name.to_owned();
    }
    Ok(method)
}
