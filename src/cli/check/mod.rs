//! `nplus1 check`: is every gradient the derivative of the loss?
//!
//! ```text
//! nplus1 check configs/iris.toml                  each method's error, and what it may come to
//! nplus1 check configs/iris.toml --sweep          the same over increments, beside what was predicted
//! nplus1 check configs/iris.toml --sweep --json   `curves`: points, best increments, floors
//! ```

pub mod summary;
mod sweep;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use self::summary::{
    CheckReport, CurveSummary, DirectionalComparison, ExternalGradient, MethodRow,
};
use super::arguments::{CheckArguments, Global};
use super::eval::model_file;
use super::gradient_progress::GradientProgress;
use super::output::{Messages, print};
use super::report::conclude;
use super::signals::Interrupt;
use super::table::{Table, duration};
use super::train::session::Session;
use super::train::splits;
use crate::config::{Config, Overrides};
use crate::data::{self, SearchPaths};
use crate::error::{Error, Result};
use crate::format::{AnyParameters, gradient, safetensors};
use crate::gradient::finite_difference::{Increment, Reuse, Scheme, Summation};
use crate::gradient::{Control, Stopped};
use crate::gradient_check::{CheckSubject, CheckedMethod, Outcome, adaptive_methods, methods};
use crate::kernels::Isa;
use crate::model::{Network, Parameters};
use crate::numeric::Precision;
use crate::parallel::Workers;
use crate::run::{Environment, json};
use crate::study::record::{Question, StudyRecord};
use crate::study::sweep as sweep_study;

/// Multiplications beyond which a method is left to random directions: some ten seconds of one core.
const DEAR: f64 = 5e10;
/// Directions, unless the user says how many: an error of 1 % is missed once in 10³⁰ checks in f64.
const DIRECTIONS: u32 = 20;

/// Checks as the arguments say, and prints what came of it.
///
/// # Errors
/// A config, data, model or gradient that is refused; an increment of the config's own method that is
/// lost in θ; [`Error::CheckFailed`] if a gradient is wrong; an interruption.
pub fn run(
    arguments: &CheckArguments,
    global: &Global,
    messages: Messages,
    out: &mut dyn Write,
) -> Result<()> {
    let path = &arguments.config;
    let config = Config::load(path, &Overrides::from(&arguments.changes))?;
    let places = SearchPaths::new(global.datasets.as_deref());
    let base = path.parent().unwrap_or(Path::new(""));
    let loaded = data::load(&config.data, &places, base)?;
    let split = splits(&loaded, &config)?.swap_remove(0);
    let network = Session::new(&config, &split, None)?.network;
    let theta = parameters(arguments.weights.as_deref(), &config, &network, messages)?;
    let foreign = match &arguments.against {
        Some(path) => Some((path, gradient::load(path, &network.layout)?)),
        None => None,
    };
    let train = &split.train;
    let wanted = arguments
        .rows
        .map_or(config.train.batch_size, |rows| rows as usize);
    let rows = &train.rows[..wanted.min(train.rows.len())];
    let team = Arc::new(Workers::new(config.run.threads)?);
    let interrupt = Interrupt::watch("ending without a result")?;
    let control = Control::new(interrupt.flag());
    let subject = CheckSubject::new(
        &network,
        &theta,
        &train.dataset,
        &split.scaling,
        rows,
        &team,
        Isa::detect(),
        &control,
    )
    .map_err(|reason| stopped(reason, &interrupt))?;

    let mut report = CheckReport::new(&config.name, &network, rows.len(), &subject);
    let check = Check {
        subject: &subject,
        network: &network,
        control: &control,
        interrupt: &interrupt,
        messages,
        global,
    };
    let (chosen, dear) = choose(arguments, &subject, candidates(&config));
    if let Some(note) = explain(arguments, &subject, &dear) {
        messages.note(&note);
        report.note = Some(note);
    }
    let own = |method: &CheckedMethod| {
        method.gradient == config.gradient && method.precision == config.model.precision
    };
    report.rows = check.rows(&chosen, |method, outcome| match outcome {
        Outcome::Lost(lost) if own(method) => Err(Error::refused(path, lost.to_string())),
        _ => Ok(()),
    })?;
    if arguments.directions.is_some() || !dear.is_empty() {
        let count = arguments.directions.unwrap_or(DIRECTIONS);
        report.directions = check.directions(count as usize, config.seed)?;
    }
    let count = arguments.directions.unwrap_or(DIRECTIONS) as usize;
    report.estimate = check.estimate(&config, path, count)?;
    let record = if arguments.sweep {
        let record = record(arguments, &config, &network, rows.len(), team.threads())?;
        let swept = check.sweep(&chosen, arguments.full)?;
        (report.sweep, report.curves) = (swept.rows, swept.curves);
        report.oracle = check.oracle(arguments.full)?;
        Some(record)
    } else {
        None
    };
    if let Some((path, (gradient, precision))) = foreign {
        let found = subject.compare_external(&gradient, precision);
        report.against = Some(ExternalGradient::new(
            path,
            precision,
            &found,
            &network.layout,
        ));
    }
    if let Some(path) = &arguments.save {
        gradient::save(subject.gradient(), path)?;
    }
    report.conclude();
    if let Some(mut record) = record {
        report.study = Some(record.path().display().to_string());
        for row in report.curves.iter().flat_map(CurveSummary::rows) {
            record.push(row)?;
        }
        let heading = format!("Accuracy of differences: {}", config.name);
        let render = |heading: &str, _: &dyn Fn(&Table) -> String| match heading {
            "" => format!("{report}Study: {}\n", record.path().display()),
            _ => format!("```text\n{report}```\n"),
        };
        conclude(
            &record,
            &report,
            &heading,
            &render,
            arguments.page,
            global,
            out,
        )?;
    } else if global.json {
        print(out, &json::document(&report))?;
    } else {
        print(out, &report.to_string())?;
    }
    match report.failure() {
        Some(failure) => Err(Error::CheckFailed(failure)),
        None => Ok(()),
    }
}

/// The study that a sweep leaves behind.
fn record(
    arguments: &CheckArguments,
    config: &Config,
    network: &Network,
    batch_rows: usize,
    threads: usize,
) -> Result<StudyRecord<sweep_study::SweepRow>> {
    let weights = arguments.weights.as_ref();
    let plan = sweep_study::SweepPlan {
        layers: network.layout.sizes().to_vec(),
        weights: weights.map(|path| path.display().to_string()),
        batch_rows,
        full: arguments.full,
    };
    StudyRecord::create(
        arguments.out.as_deref(),
        &config.name,
        &Question::new("check", &plan),
        Some(&config.to_toml()),
        &Environment::detect(Isa::detect().name(), threads),
    )
}

/// Every method at the increment and by the summation that the config asks for, and the config's own.
fn candidates(config: &Config) -> Vec<CheckedMethod> {
    let Some(asked) = config.gradient.perturbation() else {
        let mut all = methods(Increment::Auto, Summation::Differences);
        all.extend(adaptive_methods(Increment::Auto));
        return all;
    };
    // Measured increments have rows of their own.
    let increment = match asked.increment {
        Increment::Noise => Increment::Auto,
        increment => increment,
    };
    let mut all = methods(increment, asked.summation);
    all.extend(adaptive_methods(increment));
    let own = CheckedMethod {
        gradient: config.gradient,
        precision: config.model.precision,
    };
    if !all.contains(&own) {
        all.push(own);
    }
    all
}

/// θ: of the model given, or drawn as training draws it.
pub(super) fn parameters(
    weights: Option<&Path>,
    config: &Config,
    network: &Network,
    messages: Messages,
) -> Result<Parameters<f64>> {
    let layout = &network.layout;
    let Some(path) = weights else {
        let (initialization, seed) = (config.model.initialization, config.seed);
        return Ok(match config.model.precision {
            Precision::F32 => initialization.draw::<f32>(layout, seed).widened(),
            Precision::F64 => initialization.draw::<f64>(layout, seed),
        });
    };
    let file = model_file(path)?;
    let loaded = safetensors::load(&file)?;
    for assumed in &loaded.assumed {
        messages.detail(format_args!("{}: {assumed}", file.display()));
    }
    let parameters = loaded.model.parameters;
    if parameters.layout() != layout {
        let describe = |sizes: &[usize], bias| {
            format!("{sizes:?} {} biases", if bias { "with" } else { "without" })
        };
        let held = parameters.layout();
        return Err(Error::refused(
            file,
            format!(
                "holds a network {}, but the config asks for {}",
                describe(held.sizes(), held.has_bias()),
                describe(layout.sizes(), layout.has_bias()),
            ),
        ));
    }
    Ok(match &parameters {
        AnyParameters::F32(parameters) => parameters.widened(),
        AnyParameters::F64(parameters) => parameters.clone(),
    })
}

fn stopped(reason: Stopped, interrupt: &Interrupt) -> Error {
    match reason {
        Stopped::Interrupted => Error::Interrupted {
            code: interrupt.exit_code(),
            saved: None,
        },
        lost => Error::Usage(lost.to_string()),
    }
}

/// The methods that make whole gradients, and those that are too dear for that.
fn choose(
    arguments: &CheckArguments,
    subject: &CheckSubject<'_>,
    all: Vec<CheckedMethod>,
) -> (Vec<CheckedMethod>, Vec<CheckedMethod>) {
    all.into_iter().partition(|method| {
        method.reuse().is_none()
            || arguments.full
            || (arguments.directions.is_none() && subject.cost(method) <= DEAR)
    })
}

/// Which way was chosen, and why.
fn explain(
    arguments: &CheckArguments,
    subject: &CheckSubject<'_>,
    dear: &[CheckedMethod],
) -> Option<String> {
    let first = dear.first().filter(|_| arguments.directions.is_none())?;
    let mut kinds: Vec<&str> = dear
        .iter()
        .filter_map(|method| method.reuse().map(Reuse::name))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    Some(format!(
        "left out: {} of {} (from {} losses and about {:.0e} multiplications a gradient); {DIRECTIONS} random directions instead, --full for all",
        if dear.len() == 1 {
            "1 gradient".to_owned()
        } else {
            format!("{} gradients", dear.len())
        },
        kinds.join(", "),
        subject.evaluations(first),
        subject.cost(first),
    ))
}

struct Check<'a> {
    subject: &'a CheckSubject<'a>,
    network: &'a Network,
    control: &'a Control,
    interrupt: &'a Interrupt,
    messages: Messages,
    global: &'a Global,
}

impl Check<'_> {
    /// Runs the methods; `judge` may refuse an outcome.
    fn rows(
        &self,
        methods: &[CheckedMethod],
        judge: impl Fn(&CheckedMethod, &Outcome) -> Result<()>,
    ) -> Result<Vec<MethodRow>> {
        let evaluations = methods
            .iter()
            .map(|method| self.subject.evaluations(method));
        let control = self.control.with_new_counter();
        let meter = GradientProgress::start(self.global, &control, evaluations.sum());
        let mut rows = Vec::new();
        for method in methods {
            let start = Instant::now();
            let outcome = self
                .subject
                .run(method, &control)
                .map_err(|reason| stopped(reason, self.interrupt))?;
            judge(method, &outcome)?;
            let row = MethodRow::new(method, &outcome, &self.network.layout);
            self.messages.detail(format_args!(
                "{}: {}",
                row.label(),
                duration(start.elapsed().as_secs_f64())
            ));
            rows.push(row);
        }
        drop(meter);
        Ok(rows)
    }

    /// Backprop in double precision along `count` directions.
    fn directions(&self, count: usize, seed: u64) -> Result<Vec<DirectionalComparison>> {
        let control = self.control.with_new_counter();
        let meter = GradientProgress::start(self.global, &control, 8 * count as u64);
        let mut directed = Vec::new();
        for precision in [Precision::F64, Precision::F32] {
            for scheme in [Scheme::Forward, Scheme::Central] {
                let subject = self.subject;
                let found = subject.directions(scheme, precision, count, seed, &control);
                let found = found.map_err(|reason| stopped(reason, self.interrupt))?;
                directed.push(DirectionalComparison::new(&found));
            }
        }
        drop(meter);
        Ok(directed)
    }

    /// The config's own estimator along `count` of its directions, if it is one.
    fn estimate(
        &self,
        config: &Config,
        path: &Path,
        count: usize,
    ) -> Result<Option<DirectionalComparison>> {
        let control = self.control.with_new_counter();
        let meter = GradientProgress::start(self.global, &control, 2 * count as u64);
        let (precision, seed) = (config.model.precision, config.seed);
        let found = self
            .subject
            .estimate(&config.gradient, precision, count, seed, &control);
        drop(meter);
        match found {
            Ok(found) => Ok(found.as_ref().map(DirectionalComparison::estimate)),
            Err(Stopped::Interrupted) => Err(stopped(Stopped::Interrupted, self.interrupt)),
            Err(lost) => Err(Error::refused(path, lost.to_string())),
        }
    }
}
