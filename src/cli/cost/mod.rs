//! `nplus1 cost`: the cost of a gradient by each method, predicted, counted and measured.

mod least_squares;

use std::io::Write;

use super::arguments::{CostArguments, Global};
use super::inputs::{Inputs, overrides};
use super::output::Messages;
use super::session::Session;
use super::study::{REPEATS, StudyRunner, ascending, source};
use super::workers::start_workers;
use crate::error::{Error, Result};
use crate::model::{Loss, Network};
use crate::numeric::Precision;
use crate::study::Study;
use crate::study::cost::memory::MemoryShape;
use crate::study::cost::{BACKPROP, CostPlan, CostStudy};
use crate::study::least_squares::LeastSquaresStudy;
use crate::study::methods;

/// Default seconds after which a measurement is stopped and extrapolated.
const LIMIT: f64 = 5.0;
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
            LeastSquaresStudy::KIND
        )));
    }
    let record = &arguments.record;
    let (path, kept) =
        source::<CostStudy<'_>>(arguments.config.as_deref(), record, arguments.asks())?;
    if let (Some(plan), Some(study)) = (&kept, &record.resume) {
        plan.check().map_err(|problem| {
            Error::refused(study, problem).help("resume it with the command that began it")
        })?;
    }
    let inputs = Inputs::load(&path, &overrides(&arguments.changes), global)?;
    let plan = match kept {
        Some(plan) => plan,
        None => plan(arguments, &inputs)?,
    };
    // One worker by default, so that ratios to a forward pass compare like with like.
    let threads = inputs.config.run.threads.unwrap_or(1);
    check_memory(&plan, &inputs, threads)?;
    let networks = networks(&plan, &inputs)?;
    let pool = start_workers(Some(threads), messages)?;
    let runner = StudyRunner::start::<CostStudy<'_>>(record, global, messages)?;
    let study = CostStudy {
        subject: runner.subject(&inputs),
        networks,
        pool,
    };
    runner.run(study, &plan, out)
}

/// Returns the plan that the arguments ask for, with every default filled in.
fn plan(arguments: &CostArguments, inputs: &Inputs) -> Result<CostPlan> {
    let Inputs { config, split } = inputs;
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
    let (hidden, ends) = match &arguments.scale_all {
        None => (layers_of(arguments, &config.model.hidden)?, Vec::new()),
        Some(factors) => scaled(arguments, factors, inputs)?,
    };
    Ok(CostPlan {
        hidden,
        ends,
        batch: batch.min(rows),
        methods: methods.into_iter().map(|method| method.label).collect(),
        dense: arguments.dense,
        measure: arguments.measure,
        repeats: arguments.repeats.unwrap_or(REPEATS) as usize,
        limit: arguments.limit.unwrap_or(LIMIT),
    })
}

/// Returns the hidden layers of each network: every width at every depth, or those of the config.
fn layers_of(arguments: &CostArguments, configured: &[usize]) -> Result<Vec<Vec<usize>>> {
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

/// Hidden layers of each network, and inputs and outputs of each.
type ScaledNetworks = (Vec<Vec<usize>>, Vec<[usize; 2]>);

/// Returns the config's network, or one network of its first width for each depth, with every layer
/// multiplied by each of `factors`.
fn scaled(arguments: &CostArguments, factors: &[f64], inputs: &Inputs) -> Result<ScaledNetworks> {
    let (config, dataset) = (&inputs.config, &inputs.split.train.dataset);
    if config.loss.kind == Loss::Logistic {
        return Err(Error::Usage(
            "--scale-all multiplies the outputs, and the logistic loss has one\n  help: choose another loss, as by --set loss.kind=quadratic, or --widths".to_owned(),
        ));
    }
    let mut factors = factors.to_vec();
    factors.sort_by(f64::total_cmp);
    if let Some(twice) = factors.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::Usage(format!(
            "--scale-all: duplicate value {}",
            twice[0]
        )));
    }
    let outputs = Network::outputs_for(dataset, config.loss.kind);
    // A class needs another one beside it.
    let least_outputs = if dataset.is_regression() { 1 } else { 2 };
    let at_least = |least: usize, units: usize, factor: f64| {
        ((units as f64 * factor).round() as usize).max(least)
    };
    let (mut hidden, mut ends) = (Vec::new(), Vec::new());
    for base in layers_of(arguments, &config.model.hidden)? {
        for &factor in &factors {
            let widths = base.iter().map(|&units| at_least(1, units, factor));
            let widths: Vec<usize> = widths.collect();
            let ends_of = [
                at_least(1, dataset.feature_count(), factor),
                at_least(least_outputs, outputs, factor),
            ];
            let mut known = hidden.iter().zip(&ends);
            if known.any(|known| known == (&widths, &ends_of)) {
                return Err(Error::Usage(format!(
                    "--scale-all: {factor} rounds to the layers of a smaller factor"
                )));
            }
            hidden.push(widths);
            ends.push(ends_of);
        }
    }
    Ok((hidden, ends))
}

/// Refuses networks that need more memory than is available, before anything is allocated for them.
fn check_memory(plan: &CostPlan, inputs: &Inputs, threads: usize) -> Result<()> {
    let Inputs { config, split } = inputs;
    let dataset = &split.train.dataset;
    let outputs = Network::outputs_for(dataset, config.loss.kind);
    let methods = methods::select(&plan.methods)?;
    for sizes in plan.sizes(dataset.feature_count(), outputs) {
        let shape = MemoryShape {
            sizes: &sizes,
            rows: plan.batch,
            threads,
            sparse: dataset.image.is_some() && !plan.dense,
            number: match config.model.precision {
                Precision::F32 => 4,
                Precision::F64 => 8,
            },
        };
        let most = methods
            .iter()
            .map(|method| shape.gradient(&method.gradient))
            .fold(0.0, f64::max);
        shape.check_available(most)?;
    }
    Ok(())
}

fn networks(plan: &CostPlan, inputs: &Inputs) -> Result<Vec<Network>> {
    let Inputs { config, split } = inputs;
    // The config's own network is refused where it cannot be made for these rows.
    let own = Session::new(config, split, None)?.network;
    let dataset = &split.train.dataset;
    let outputs = Network::outputs_for(dataset, config.loss.kind);
    let network = |sizes: Vec<usize>| -> Result<Network> {
        let (model, loss) = (&config.model, &config.loss);
        let mut network = Network::new(&sizes, model.bias, model.output, loss.kind, loss.l2)
            .map_err(Error::Usage)?;
        // Other outputs are other classes, which take the weights of the own ones in turn.
        let of_network = sizes[sizes.len() - 1];
        let classes = match of_network == outputs {
            true => own.class_weights.len(),
            false => of_network,
        };
        let weights = own.class_weights.iter().copied().cycle().take(classes);
        network.class_weights = weights.collect();
        Ok(network)
    };
    let sizes = plan.sizes(dataset.feature_count(), outputs);
    sizes.into_iter().map(network).collect()
}
