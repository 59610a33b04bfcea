//! Reports as text for a terminal: the results of a run with its curves as sparklines, and the
//! tables of a study.

use super::run::{EpochLine, RunFiles};
use super::source::{Content, ReportSource};
use super::{environment, sweep};
use crate::error::Result;
use crate::numeric::statistics::{mean, range};
use crate::study::cost::summary as cost_summary;
use crate::study::lbfgs_precision::LbfgsReport;
use crate::study::race::summary as race_summary;
use crate::study::table::{Table, loss, percent};
use crate::study::{StudyReport, least_squares, scaling};

/// Maximum number of blocks of a sparkline.
const WIDTH: usize = 60;
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Renders the sources as text.
///
/// # Errors
/// Errors of the operating system.
pub fn render(sources: Vec<ReportSource>) -> Result<String> {
    let mut parts = Vec::new();
    for mut source in sources {
        parts.push(render_source(&mut source)?);
    }
    Ok(parts.join("\n"))
}

fn render_source(source: &mut ReportSource) -> Result<String> {
    let mut text = format!(
        "{} · {}\n",
        environment::name(&source.common),
        source.common.label
    );
    let body = match &mut source.content {
        Content::Run => {
            let run = RunFiles::read(source);
            results(std::slice::from_ref(&run)) + &curves(&run.epochs)
        }
        Content::Folds(folds) => {
            let runs: Vec<RunFiles<'_>> = folds.iter_mut().map(RunFiles::read).collect();
            let spread = super::run::spread(&runs);
            format!("{}{}\n", results(&runs), spread.unwrap_or_default())
        }
        _ => render_study(source)?,
    };
    for note in &source.common.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    Ok(text + &body)
}

/// Renders the tables of what the runs achieved.
fn results(runs: &[RunFiles<'_>]) -> String {
    let tables = super::results::tables(runs).into_iter();
    let tables: Vec<String> = tables.map(|(_, table)| table.to_string()).collect();
    tables.join("\n")
}

fn render_study(source: &ReportSource) -> Result<String> {
    let common = &source.common;
    let name = environment::name(common);
    let label = common.label.clone();
    let table = |table: &Table| table.to_string();
    Ok(match &source.content {
        Content::Cost(rows) => cost_summary::CostReport::new(&name, label, rows).render("", &table),
        Content::LeastSquares(rows) => {
            least_squares::LeastSquaresReport::new(label, rows).render("", &table)
        }
        Content::Race(plan, rows, conclusion) => {
            race_summary::RaceReport::new(&name, label, conclusion.part(), plan, rows)
                .render("", &table)
        }

        Content::Scale(plan, samples, _) => {
            let machine = super::scaling::machine(common, plan);
            scaling::summary::ScalingReport::new(&name, label, &machine, plan, samples, None)
                .render("", &table)
        }
        Content::Accuracy(rows) => sweep::lowest(rows).to_string(),
        Content::Lbfgs(plan, rows) => LbfgsReport::new(&name, label, plan, rows).render("", &table),
        Content::Run | Content::Folds(_) => String::new(),
    })
}

/// Renders the curves of a run, one line each: the losses, and the accuracy if there are validation
/// rows.
pub fn curves(epochs: &[EpochLine]) -> String {
    let of = |quantity: fn(&EpochLine) -> Option<f64>| -> Vec<f64> {
        epochs
            .iter()
            .filter_map(quantity)
            .filter(|value| value.is_finite())
            .collect()
    };
    let line = |label: &str, values: &[f64], shown: &dyn Fn(Option<f64>) -> String| {
        if values.len() < 2 {
            return String::new();
        }
        format!(
            "{label:<20} {}  {} → {}\n",
            sparkline(values),
            shown(values.first().copied()),
            shown(values.last().copied())
        )
    };
    line("train loss", &of(|epoch| epoch.train_loss), &loss)
        + &line("validation loss", &of(|epoch| epoch.validation_loss), &loss)
        + &line("validation R²", &of(|epoch| epoch.validation_r2), &|r2| {
            r2.map_or_else(String::new, |r2| format!("{r2:.4}"))
        })
        + &line(
            "validation accuracy",
            &of(|epoch| epoch.validation_accuracy),
            &percent,
        )
}

/// Renders `values` as blocks between their minimum and maximum; more than [`WIDTH`] values are
/// averaged over intervals.
fn sparkline(values: &[f64]) -> String {
    let count = values.len().min(WIDTH);
    let means: Vec<f64> = (0..count)
        .map(|place| {
            let part = &values[place * values.len() / count..(place + 1) * values.len() / count];
            mean(part).expect("the parts are not empty")
        })
        .collect();
    let Some([low, high]) = range(&means) else {
        return String::new();
    };
    let block = |value: &f64| {
        let share = if high > low {
            (value - low) / (high - low)
        } else {
            0.0
        };
        BLOCKS[(share * (BLOCKS.len() - 1) as f64).round() as usize]
    };
    means.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_as_long_as_its_values_and_as_wide_as_a_terminal() {
        assert_eq!(sparkline(&[0.0, 7.0, 3.0]), "▁█▄");
        assert_eq!(sparkline(&[5.0, 5.0]), "▁▁");
        let long: Vec<f64> = (0..1000).map(f64::from).collect();
        let line: Vec<char> = sparkline(&long).chars().collect();
        assert_eq!((line.len(), line[0], line[WIDTH - 1]), (WIDTH, '▁', '█'));
    }
}
