//! What runs achieved, as tables.

use super::environment;
use super::regression::score;
use super::run::RunFiles;
use crate::run::evaluation::TargetErrors;
use crate::study::table::{Table, duration, figure, loss, percent, topology, whole};

/// Maximum number of runs that are columns of a table; more runs are rows.
const MAX_COLUMNS: usize = 3;

/// A quantity of a run.
type Quantity = fn(&RunFiles<'_>) -> Option<String>;

/// Returns the tables of what the runs achieved, under their captions: first what all of several
/// runs have in common, then the other quantities.
pub fn tables(runs: &[RunFiles<'_>]) -> Vec<(&'static str, Table)> {
    let found: Vec<(&str, Vec<String>)> = QUANTITIES
        .iter()
        .filter_map(|(label, cell)| {
            let cells: Vec<Option<String>> = runs.iter().map(cell).collect();
            let cells = cells.iter().any(Option::is_some).then_some(cells)?;
            let shown = cells.into_iter().map(|cell| cell.unwrap_or("–".to_owned()));
            Some((*label, shown.collect()))
        })
        .collect();
    let is_common = |(_, cells): &(&str, Vec<String>)| {
        runs.len() > 1 && cells.iter().all(|cell| *cell == cells[0])
    };
    let (common, own): (Vec<_>, Vec<_>) = found.into_iter().partition(is_common);
    let mut shared = Table::new(["quantity", "in all runs"]);
    for (label, cells) in &common {
        shared.row([*label, &cells[0]]);
    }
    let mut tables = Vec::new();
    if !common.is_empty() {
        tables.push(("In common", shared));
    }
    tables.push(("Results", by_run(runs, &own)));
    tables
}

/// Returns a table of quantities: a column for each of a few runs, or a row for each of many.
fn by_run(runs: &[RunFiles<'_>], quantities: &[(&str, Vec<String>)]) -> Table {
    if runs.len() <= MAX_COLUMNS {
        let labels = runs.iter().map(|run| run.label);
        let mut table = Table::new(std::iter::once("run").chain(labels));
        for (label, cells) in quantities {
            let cells = cells.iter().map(String::as_str);
            table.row(std::iter::once(*label).chain(cells));
        }
        return table;
    }
    let labels = quantities.iter().map(|(label, _)| *label);
    let mut table = Table::new(std::iter::once("run").chain(labels));
    for (at, run) in runs.iter().enumerate() {
        let cells = quantities.iter().map(|(_, cells)| cells[at].as_str());
        table.row(std::iter::once(run.label).chain(cells));
    }
    table
}

const QUANTITIES: [(&str, Quantity); 18] = [
    ("network", |run| {
        Some(topology(&run.summary.as_ref()?.sizes))
    }),
    ("parameters", |run| {
        Some(whole(run.summary.as_ref()?.parameters as u64))
    }),
    ("gradient", |run| {
        environment::value(&run.source.common, "gradient", "method")
    }),
    ("optimizer", |run| {
        environment::value(&run.source.common, "optimizer", "kind")
    }),
    ("seed", |run| Some(run.summary.as_ref()?.seed.to_string())),
    ("threads", |run| {
        Some(run.summary.as_ref()?.threads.to_string())
    }),
    ("epochs", |run| {
        Some(
            run.summary
                .as_ref()
                .map_or(run.epochs.len(), |s| s.epochs)
                .to_string(),
        )
    }),
    ("ended", |run| Some(run.summary.as_ref()?.ending.clone())),
    ("training time", |run| {
        Some(duration(run.summary.as_ref()?.seconds))
    }),
    ("time per epoch (median)", |run| {
        run.summary.as_ref()?.seconds_per_epoch.map(duration)
    }),
    ("train loss", |run| {
        Some(loss(run.summary.as_ref()?.train_loss))
    }),
    ("validation accuracy", |run| {
        let summary = run.summary.as_ref()?;
        let is_regression = !summary.target_errors.is_empty();
        (!is_regression).then(|| percent(summary.validation_accuracy))
    }),
    ("test accuracy", |run| {
        let summary = run.summary.as_ref()?;
        let is_regression = !summary.target_errors.is_empty();
        (!is_regression).then(|| percent(summary.test_accuracy))
    }),
    ("validation R²", |run| {
        run.summary.as_ref()?.validation_r2.map(score)
    }),
    ("test R²", |run| run.summary.as_ref()?.test_r2.map(score)),
    ("RMSE", |run| Some(figure(only_target(run)?.rmse))),
    ("MAE", |run| Some(figure(only_target(run)?.mae))),
    ("predictions per second", |run| {
        let evaluation = run.evaluation.as_ref()?;
        let seconds = evaluation.seconds.filter(|seconds| *seconds > 0.0)?;
        Some(whole((evaluation.rows as f64 / seconds) as u64))
    }),
];

/// Returns the errors of the only target of a regression.
fn only_target<'a>(run: &'a RunFiles<'_>) -> Option<&'a TargetErrors> {
    match &run.summary.as_ref()?.target_errors[..] {
        [only] => Some(only),
        _ => None,
    }
}
