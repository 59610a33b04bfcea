//! `nplus1 cost`: the cost of a gradient by each method, predicted, counted and measured.

mod least_squares;

use std::io::Write;
use std::path::{Path, PathBuf};

use super::arguments::{CostArguments, Global};
use super::inputs::{overrides, splits};
use super::output::Messages;
use super::page::conclude;
use super::session::Session;
use super::signals::Interrupt;
use super::study_arguments::{REPEATS, ascending, options_beside_resume};
use super::workers::start_workers;
use crate::config::Config;
use crate::data::{self, SearchPaths, Split};
use crate::error::{Error, Result};
use crate::gradient::Control;
use crate::kernels::Isa;
use crate::model::Network;
use crate::numeric::Precision;
use crate::run::Environment;
use crate::run::environment::available_memory;
use crate::study::cost::memory::MemoryShape;
use crate::study::cost::summary::{CostReport, line};
use crate::study::cost::{BACKPROP, CostEnding, CostPlan, CostRow, CostSubject};
use crate::study::methods;
use crate::study::record::{Question, StudyRecord, read_plan};

/// Default seconds after which a measurement is stopped and extrapolated.
const LIMIT: f64 = 5.0;
/// Name of this kind of study.
const KIND: &str = "cost";
/// Largest number of networks of a study, and of hidden layers of a network.
const MOST: usize = 1000;

/// Measures the rows and prints their summary.
///
/// # Errors
/// A config, widths, depths or methods that are refused; networks that need more memory than there
/// is; an interruption, after the rows are saved.
pub fn run(
    arguments: &CostArguments,
    global: &Global,
    messages: Messages,
    out: &mut dyn Write,
) -> Result<()> {
    if least_squares::is_meant(arguments)? {
        return least_squares::run(arguments, global, messages, out);
    }
    if arguments.sizes.is_some() {
        return Err(Error::Usage(format!(
            "--sizes applies to `{}` only\n  help: use --widths and --depths for networks",
            least_squares::KIND
        )));
    }
    let overrides = overrides(&arguments.changes);
    let (path, kept) = source(arguments)?;
    let config = Config::load(&path, &overrides)?;
    let search_paths = SearchPaths::new(global.datasets.as_deref());
    let base = path.parent().unwrap_or(Path::new(""));
    let loaded = data::load(&config.data, &search_paths, base)?;
    let split = splits(&loaded, &config)?.swap_remove(0);
    let plan = match kept {
        Some(plan) => plan,
        None => plan(arguments, &config, &split)?,
    };
    // One worker by default, so that ratios to a forward pass compare like with like.
    let threads = config.run.threads.unwrap_or(1);
    let sizes = sizes(&plan, &config, &split);
    check_memory(&plan, &config, &split, &sizes, threads)?;
    let networks = networks(&plan, &config, &split)?;
    let workers = start_workers(Some(threads), messages)?;
    let isa = Isa::detect();
    let interrupt = Interrupt::watch("keeping the rows")?;
    let control = Control::new(interrupt.flag());
    let subject = CostSubject {
        split: &split,
        networks: &networks,
        initialization: config.model.initialization,
        seed: config.seed,
        precision: config.model.precision,
        pool: &workers,
        isa,
        control: &control,
    };
    let question = Question::new(KIND, &plan);
    let environment = Environment::detect(isa.name(), workers.threads());
    let text = config.to_toml();
    let mut record: StudyRecord<CostRow> = StudyRecord::begin(
        arguments.resume.as_deref(),
        arguments.out.as_deref(),
        &config.name,
        &question,
        Some(&text),
        &environment,
    )?;
    let ending = subject.run(&plan, &mut record, &mut |row| messages.note(line(row)))?;
    if ending == CostEnding::Interrupted {
        messages.note(format_args!(
            "resume with: nplus1 cost --resume {}",
            record.path().display()
        ));
        return Err(record.interrupted(interrupt.exit_code()));
    }
    let report = CostReport::new(
        &config.name,
        record.path().display().to_string(),
        record.rows(),
    );
    conclude(
        &record,
        &report,
        &format!("Cost of a gradient: {}", config.name),
        &|heading, table| report.render(heading, table),
        arguments.page,
        global,
        out,
    )
}

/// Returns the config file, and the plan of a study that is resumed without one.
fn source(arguments: &CostArguments) -> Result<(PathBuf, Option<CostPlan>)> {
    if let Some(config) = &arguments.config {
        return Ok((config.clone(), None));
    }
    let study = arguments.resume.as_deref().expect("clap asks for one");
    if arguments.asks() {
        return Err(options_beside_resume());
    }
    let (config, plan): (_, CostPlan) = read_plan(study, KIND)?;
    plan.check().map_err(|problem| {
        Error::refused(study, problem).help("resume it with the command that began it")
    })?;
    Ok((config, Some(plan)))
}

/// Returns the plan that the arguments ask for, with every default filled in.
fn plan(arguments: &CostArguments, config: &Config, split: &Split) -> Result<CostPlan> {
    let batch = arguments
        .batch
        .map_or(config.train.batch_size, |rows| rows as usize);
    let rows = split.train.len();
    if arguments.batch.is_some() && batch > rows {
        return Err(Error::Usage(format!(
            "--batch {batch} is more than the {rows} training rows"
        )));
    }
    let mut methods = match &arguments.methods {
        Some(names) => methods::select(names)?,
        None => methods::all(),
    };
    // All other methods are compared with backprop.
    if !methods.iter().any(|method| method.label == BACKPROP) {
        methods.insert(0, methods::by_name(BACKPROP)?);
    }
    Ok(CostPlan {
        hidden: hidden(arguments, &config.model.hidden)?,
        batch: batch.min(rows),
        methods: methods.into_iter().map(|method| method.label).collect(),
        measure: arguments.measure,
        repeats: arguments.repeats.unwrap_or(REPEATS) as usize,
        limit: arguments.limit.unwrap_or(LIMIT),
    })
}

/// Returns the hidden layers of each network: every width at every depth, or those of the config.
fn hidden(arguments: &CostArguments, configured: &[usize]) -> Result<Vec<Vec<usize>>> {
    let sorted = |option, numbers: &Option<Vec<usize>>| {
        let numbers = numbers.as_deref();
        numbers
            .map(|numbers| ascending(option, numbers))
            .transpose()
    };
    let widths = sorted("--widths", &arguments.widths)?;
    let depths = sorted("--depths", &arguments.depths)?;
    let (widths, depths) = match (widths, depths) {
        (None, None) => return Ok(vec![configured.to_vec()]),
        (widths, depths) => {
            let width = configured.first().copied();
            let widths = widths.or(width.map(|width| vec![width])).ok_or_else(|| {
                Error::Usage(
                    "--depths needs a width, and the config has no hidden layer to take it from\n  help: give --widths as well".to_owned(),
                )
            })?;
            (widths, depths.unwrap_or(vec![configured.len().max(1)]))
        }
    };
    if widths.len().saturating_mul(depths.len()) > MOST {
        return Err(Error::Usage(format!(
            "{} widths at {} depths are too many; allowed: {MOST} networks",
            widths.len(),
            depths.len()
        )));
    }
    if let Some(depth) = depths.iter().find(|&&depth| depth > MOST) {
        return Err(Error::Usage(format!(
            "--depths: {depth} hidden layers; allowed: 1 to {MOST}"
        )));
    }
    let at = |depth: &usize| -> Vec<Vec<usize>> {
        widths.iter().map(|&width| vec![width; *depth]).collect()
    };
    Ok(depths.iter().flat_map(at).collect())
}

/// Returns the layer sizes of each network.
fn sizes(plan: &CostPlan, config: &Config, split: &Split) -> Vec<Vec<usize>> {
    let dataset = &split.train.dataset;
    let outputs = Network::outputs(config.loss.kind, dataset.class_count());
    let sizes =
        |hidden: &Vec<usize>| [&[dataset.feature_count()], &hidden[..], &[outputs]].concat();
    plan.hidden.iter().map(sizes).collect()
}

/// Refuses networks that need more memory than is available, before anything is allocated for them.
fn check_memory(
    plan: &CostPlan,
    config: &Config,
    split: &Split,
    sizes: &[Vec<usize>],
    threads: usize,
) -> Result<()> {
    let methods = methods::select(&plan.methods)?;
    let available = available_memory();
    for sizes in sizes {
        let shape = MemoryShape {
            sizes,
            rows: plan.batch,
            threads,
            sparse: split.train.dataset.image.is_some(),
            number: match config.model.precision {
                Precision::F32 => 4,
                Precision::F64 => 8,
            },
        };
        let most = methods
            .iter()
            .map(|method| shape.gradient(&method.gradient))
            .fold(0.0, f64::max);
        shape.check_available(most, available)?;
    }
    Ok(())
}

fn networks(plan: &CostPlan, config: &Config, split: &Split) -> Result<Vec<Network>> {
    let network = |hidden: &Vec<usize>| {
        let mut config = config.clone();
        config.model.hidden.clone_from(hidden);
        Ok(Session::new(&config, split, None)?.network)
    };
    plan.hidden.iter().map(network).collect()
}
