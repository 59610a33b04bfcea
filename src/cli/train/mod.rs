//! `nplus1 train`: one run, one for each seed, or one for each fold.

mod context;
mod followers;
pub mod progress;
mod recorder;
mod runner;
pub mod summary;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use self::context::CommandContext;
use self::runner::{ResumePoint, claim};
use self::summary::{CrossValidation, TrainingResult};
use super::arguments::{Global, Seeds, TrainArguments};
use super::inputs::{fold_of, overrides, splits};
use super::output::{Messages, print};
use super::page;
use super::ranks::start_rank;
use super::session::{Session, load_note};
use crate::config::{Config, Overrides};
use crate::data::{self, SearchPaths};
use crate::error::{Error, Result};
use crate::format::safetensors;
use crate::gradient::GradientConfig;
use crate::gradient::finite_difference::{Arithmetic, DifferenceConfig, Reuse, Summation};
use crate::kernels::Isa;
use crate::model::TargetErrors;
use crate::numeric::statistics::{mean, sample_deviation};
use crate::open::file_type;
use crate::parallel::{Ranks, Workers};
use crate::report;
use crate::run::{RunDirectory, RunSummary, checkpoint, directory, json, metrics};
use crate::study::table::{duration, list};

/// Trains as the arguments say and prints the results.
///
/// # Errors
/// Whatever is wrong with the config, the data, the directory or the machine; an interruption.
pub fn run(
    arguments: &TrainArguments,
    global: &Global,
    (messages, ranks): (Messages, &Ranks),
    out: &mut dyn Write,
) -> Result<()> {
    let search_paths = SearchPaths::new(global.datasets.as_deref());
    let overrides = overrides(&arguments.changes);
    if let Some(path) = &arguments.resume {
        if !ranks.is_first() {
            return followers::resume(path, &search_paths, global, (messages, ranks));
        }
        let outcome = resume(path, &overrides, &search_paths, global, (messages, ranks))?;
        page::write(arguments.page, path)?;
        return show(&[outcome], false, global, out);
    }
    let path = arguments.config.as_deref().expect("clap asks for it");
    let config = Config::load(path, &overrides)?;
    let base = path.parent().unwrap_or(Path::new(""));
    let loaded = data::load(&config.data, &search_paths, base)?;
    loaded.notes().for_each(|note| messages.note(note));
    let start = match &arguments.init_from {
        Some(path) => {
            let loaded = safetensors::load(path)?;
            for assumed in &loaded.assumed {
                messages.detail(format_args!("{}: {assumed}", path.display()));
            }
            Some(loaded.model)
        }
        None => None,
    };
    let seeds = arguments.seeds.unwrap_or(Seeds::only(config.seed));
    let workers = start_rank(ranks, &config.run, messages)?;
    followers::check_settings(ranks, arguments.dry_run, config.run.limit_seconds)?;
    if arguments.dry_run {
        let splits = splits(&loaded, &config)?;
        let session = Session::new(&config, &splits[0], start.map(|model| model.parameters))?;
        session.check_memory(workers.threads())?;
        return print_plan(&session, splits.len(), &workers, global, out);
    }
    let mut context = CommandContext::new(global, workers)?;
    let mut outcomes = Vec::new();
    for seed in seeds.iter() {
        let config = Config {
            seed,
            ..config.clone()
        };
        let splits = splits(&loaded, &config)?;
        let starts = || start.as_ref().map(|model| model.parameters.clone());
        let sessions: Vec<Session<'_>> = splits
            .iter()
            .map(|split| Session::new(&config, split, starts()))
            .collect::<Result<_>>()?;
        if let Some(model) = &start
            && model.scaling != splits[0].scaling
        {
            messages.warn("the model of --init-from scales its inputs differently than this run");
        }
        sessions[0].check_memory(context.workers.threads())?;
        sessions[0].check_increments()?;
        if let Some(limit) = config.run.limit_seconds {
            check_time_limit(limit, &sessions, &context)?;
        }
        sessions[0].check_ranks(ranks)?;
        if !ranks.is_first() {
            sessions
                .iter()
                .try_for_each(|session| session.follow(&context))?;
            continue;
        }
        let first = sessions[0].first_files();
        let directory = claim(arguments.out.as_deref(), &config.name, &first)?;
        let outcome = if config.data.folds.is_some() {
            context.shows_epochs = false;
            train_folds(&sessions, &context, &directory, messages)
        } else {
            let summary = sessions[0].run(&context, &directory, None);
            summary.map(|summary| TrainingResult::Run(Box::new(summary)))
        };
        let outcome = outcome.map_err(|error| explain(error, &directory, messages))?;
        page::write(arguments.page, directory.path())?;
        if seeds.first < seeds.last {
            messages.note(summary::line(&format!("seed {seed}"), &outcome));
        }
        outcomes.push(outcome);
    }
    if !ranks.is_first() {
        return Ok(());
    }
    show(&outcomes, arguments.seeds.is_some(), global, out)
}

/// Prints what a dry run predicts for `runs` runs like `session`.
fn print_plan(
    session: &Session<'_>,
    runs: usize,
    workers: &Arc<Workers>,
    global: &Global,
    out: &mut dyn Write,
) -> Result<()> {
    let isa = Isa::detect();
    let prediction = session.predict(&session.config.gradient, workers, isa)?;
    let plan = summary::DryRun::new(session, runs, workers.threads(), isa, prediction);
    let text = if global.json {
        json::document(&plan)
    } else {
        plan.to_string()
    };
    print(out, &text)
}

/// Refuses runs that are predicted to take longer than `limit` seconds, and names cheaper methods.
fn check_time_limit(
    limit: f64,
    sessions: &[Session<'_>],
    context: &CommandContext<'_>,
) -> Result<()> {
    let session = &sessions[0];
    let predict = |gradient: &GradientConfig| -> Result<(f64, Option<f64>)> {
        let prediction = session.predict(gradient, &context.workers, context.isa)?;
        let seconds = prediction.seconds.unwrap_or(0.0) * sessions.len() as f64;
        Ok((seconds, prediction.busy_elsewhere))
    };
    let configured = &session.config.gradient;
    let (predicted, busy_elsewhere) = predict(configured)?;
    if predicted <= limit {
        return Ok(());
    }
    let mut cheaper = Vec::new();
    for (settings, gradient) in alternatives(configured) {
        let (seconds, _) = predict(&gradient)?;
        if seconds < predicted {
            cheaper.push(format!("{settings}: {}", duration(seconds)));
        }
    }
    let help = if cheaper.is_empty() {
        "train fewer epochs".to_owned()
    } else {
        format!("cheaper here: {}", cheaper.join("; "))
    };
    let doubt = busy_elsewhere.and_then(load_note);
    let doubt = doubt.map_or_else(String::new, |note| format!("\n  doubtful: {note}"));
    Err(Error::Usage(format!(
        "the run is predicted to take {}, more than run.limit_seconds = {limit} allows{doubt}\n  help: {help}",
        duration(predicted)
    )))
}

/// Returns other methods for the same gradient, with the settings that select them.
fn alternatives(configured: &GradientConfig) -> Vec<(&'static str, GradientConfig)> {
    let mut others = Vec::new();
    if let GradientConfig::Difference(config) = configured {
        let incremental = DifferenceConfig {
            reuse: Reuse::Incremental,
            summation: Summation::Differences,
            ..*config
        };
        let cancellation_free = DifferenceConfig {
            arithmetic: Arithmetic::CancellationFree,
            ..incremental
        };
        others.push((
            "gradient.evaluation = \"incremental\"",
            GradientConfig::Difference(incremental),
        ));
        others.push((
            "with gradient.arithmetic = \"cancellation-free\"",
            GradientConfig::Difference(cancellation_free),
        ));
    }
    if let GradientConfig::ForwardMode(_) = configured {
        let incremental = GradientConfig::ForwardMode(Reuse::Incremental);
        others.push(("gradient.evaluation = \"incremental\"", incremental));
    }
    others.push(("gradient.method = \"backprop\"", GradientConfig::Backprop));
    others.retain(|(_, other)| other != configured);
    others
}

/// Resumes the run in `path`, as the first rank.
fn resume(
    path: &Path,
    overrides: &Overrides,
    search_paths: &SearchPaths,
    global: &Global,
    (messages, ranks): (Messages, &Ranks),
) -> Result<TrainingResult> {
    let directory = RunDirectory::open(path)?;
    let file = directory.file(directory::CONFIG);
    // A damaged config does not matter if a checkpoint holds it as well.
    let config = match Config::load(&file, overrides) {
        Err(failed @ Error::Io { .. }) => return Err(failed),
        config => config,
    };
    let fold = fold_of(path)?;
    let has_folds = |config: &Config| config.data.folds.is_some() && fold.is_none();
    // Each fold has its checkpoints; the one beside the folds holds the model they start from.
    let resumed = if config.as_ref().is_ok_and(has_folds) && !checkpoint::any(path)? {
        None
    } else {
        newest(&directory, messages)?
    };
    let config = match (config, &resumed) {
        (Ok(config), _) if has_folds(&config) => config,
        (_, Some(from)) => Config::parse(&from.checkpoint.config, &file, overrides)?,
        (config, None) => config?,
    };
    let folded = has_folds(&config);
    followers::share_run(ranks, &config, fold)?;
    let loaded = data::load(&config.data, search_paths, directory.path())?;
    let mut splits = splits(&loaded, &config)?;
    let workers = start_rank(ranks, &config.run, messages)?;
    let outcome = if !folded {
        let fold = fold.filter(|_| config.data.folds.is_some());
        let split = splits.swap_remove(fold.map_or(0, |fold| fold.min(splits.len()) - 1));
        let session = Session::new(&config, &split, None)?;
        session.check_ranks(ranks)?;
        session.check_memory(workers.threads())?;
        let summary = session.run(
            &CommandContext::new(global, workers)?,
            &directory,
            resumed.as_ref(),
        );
        summary.map(|summary| TrainingResult::Run(Box::new(summary)))
    } else {
        let session = |split| {
            let session = Session::new(&config, split, None)?;
            match &resumed {
                Some(from) => session.start_from(from),
                None => Ok(session),
            }
        };
        let sessions: Vec<Session<'_>> = splits.iter().map(session).collect::<Result<_>>()?;
        sessions[0].check_ranks(ranks)?;
        sessions[0].check_memory(workers.threads())?;
        let mut context = CommandContext::new(global, workers)?;
        context.shows_epochs = false;
        train_folds(&sessions, &context, &directory, messages)
    };
    outcome.map_err(|error| explain(error, &directory, messages))
}

/// Trains each fold in its directory, `fold-01`, `fold-02`, …; resumes folds that an earlier
/// process began and keeps those it finished.
fn train_folds(
    sessions: &[Session<'_>],
    context: &CommandContext<'_>,
    directory: &RunDirectory,
    messages: Messages,
) -> Result<TrainingResult> {
    let config = sessions[0].config;
    directory.write(directory::CONFIG, config.to_toml().as_bytes())?;
    let mut folds = Vec::new();
    for (index, session) in sessions.iter().enumerate() {
        let path = directory.file(&format!("fold-{:02}", index + 1));
        let begun = file_type(&path.join(directory::CONFIG))?.is_some();
        let (fold_directory, resumed) = if begun {
            let fold_directory = RunDirectory::open(&path)?;
            let resumed = newest(&fold_directory, messages)?;
            (fold_directory, resumed)
        } else {
            let fold_directory = RunDirectory::create_at(&path, &session.first_files())?;
            (fold_directory, None)
        };
        let summary = session.run(context, &fold_directory, resumed.as_ref())?;
        let label = format!("fold {}/{}", index + 1, sessions.len());
        messages.note(summary::line(
            &label,
            &TrainingResult::Run(Box::new(summary.clone())),
        ));
        folds.push(summary);
    }
    let accuracies: Vec<f64> = folds.iter().filter_map(|fold| fold.test_accuracy).collect();
    let losses: Vec<f64> = folds.iter().filter_map(|fold| fold.test_loss).collect();
    let scores: Vec<f64> = folds.iter().filter_map(|fold| fold.test_r2).collect();
    let folded = CrossValidation {
        run: directory.path().to_path_buf(),
        name: config.name.clone(),
        seed: config.seed,
        parameters: folds[0].parameters,
        threads: folds[0].threads,
        seconds: folds.iter().map(|fold| fold.seconds).sum(),
        test_accuracy: mean(&accuracies).unwrap_or(f64::NAN),
        test_accuracy_deviation: sample_deviation(&accuracies).unwrap_or(f64::NAN),
        test_loss: mean(&losses).unwrap_or(f64::NAN),
        test_r2: mean(&scores),
        test_r2_deviation: sample_deviation(&scores),
        target_errors: mean_errors(&folds),
        folds,
    };
    directory.write(directory::SUMMARY, json::document(&folded).as_bytes())?;
    Ok(TrainingResult::Folds(Box::new(folded)))
}

/// Returns the means of the folds' errors of each target.
fn mean_errors(folds: &[RunSummary]) -> Vec<TargetErrors> {
    let targets = folds[0].target_errors.iter().enumerate();
    let mean_of = |target: usize, figure: fn(&TargetErrors) -> f64| {
        let figures = folds
            .iter()
            .filter_map(|fold| fold.target_errors.get(target));
        mean(&figures.map(figure).collect::<Vec<f64>>()).unwrap_or(f64::NAN)
    };
    targets
        .map(|(target, errors)| TargetErrors {
            name: errors.name.clone(),
            rmse: mean_of(target, |errors| errors.rmse),
            mae: mean_of(target, |errors| errors.mae),
            r2: mean_of(target, |errors| errors.r2),
        })
        .collect()
}

/// Returns the newest checkpoint of `directory`; `None` if the run ended before its first one.
fn newest(directory: &RunDirectory, messages: Messages) -> Result<Option<ResumePoint>> {
    let path = directory.path();
    match checkpoint::newest(path) {
        Ok(found) => {
            for refused in &found.refused {
                messages.warn(format_args!("skipped: {refused}"));
            }
            Ok(Some(ResumePoint {
                checkpoint: found.checkpoint,
                path: found.path,
            }))
        }
        Err(Error::NoCheckpoint(_)) if directory.ended_before_first_checkpoint()? => {
            messages.note(format_args!(
                "{}: ended before its first checkpoint; starting from the beginning",
                path.display()
            ));
            Ok(None)
        }
        Err(Error::NoCheckpoint(message)) => Err(Error::NoCheckpoint(format!(
            "{message}\n  help: train from the start in another directory, or with --init-from its model.safetensors"
        ))),
        Err(failed) => Err(failed),
    }
}

/// Adds the command that resumes an interrupted run.
fn explain(error: Error, directory: &RunDirectory, messages: Messages) -> Error {
    let path = directory.path();
    match error {
        Error::Interrupted { code, .. } => {
            messages.note(format_args!(
                "resume with: nplus1 train --resume {}",
                path.display()
            ));
            Error::Interrupted {
                code,
                saved: Some(path.to_path_buf()),
            }
        }
        Error::Diverged(message) => Error::Diverged(format!(
            "{message}\n  the epochs before it are in {}",
            path.display()
        )),
        other => other,
    }
}

/// Returns the curves of a run and the path of its page.
fn curves_and_page(outcome: &TrainingResult) -> Result<String> {
    let (curves, run) = match outcome {
        TrainingResult::Run(summary) => {
            let epochs = metrics::read(&summary.run)?.records;
            (report::text::curves(&epochs), &summary.run)
        }
        TrainingResult::Folds(folded) => (String::new(), &folded.run),
    };
    let page = run.join(directory::REPORT);
    let page = page
        .exists()
        .then(|| list(&[("report", page.display().to_string())]));
    Ok(curves + &page.unwrap_or_default())
}

fn show(
    outcomes: &[TrainingResult],
    seeds: bool,
    global: &Global,
    out: &mut dyn Write,
) -> Result<()> {
    let text = match (global.json, seeds) {
        (true, true) => json::document(&summary::SeedsSummary::new(outcomes)),
        (true, false) => json::document(&outcomes[0]),
        (false, true) => summary::seeds_table(outcomes),
        (false, false) => summary::table(&outcomes[0]) + &curves_and_page(&outcomes[0])?,
    };
    print(out, &text)
}
