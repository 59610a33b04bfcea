//! The page of a scaling study: speedup, efficiency and time against threads, the fitted laws, and
//! the samples.

use super::figure::{Axis, AxisUnit, Figure, Mark, Series};
use super::page::Page;
use super::source::{CommonContent, StudyConclusion};
use crate::run::Environment;
use crate::study::scaling::Split;
use crate::study::scaling::summary::ScalingReport;
use crate::study::scaling::{ScalingFit, ScalingPlan, ScalingRow, ScalingSample};
use crate::study::table::counted;

/// Number of points per thread at which a law is drawn.
const POINTS_PER_THREAD: usize = 4;
/// Number of points at which a law is drawn, at most.
const MOST_POINTS: usize = 4096;
/// Number of lines that a figure shows at first, the ideal one included.
const MOST_LINES: usize = 6;

/// Writes the section of a scaling study.
pub fn write(
    page: &mut Page,
    common: &CommonContent,
    plan: &ScalingPlan,
    samples: &[ScalingSample],
    conclusion: &StudyConclusion,
) {
    let name = super::environment::name(common);
    let machine = machine(common, plan);
    let report = ScalingReport::new(&name, common.label.clone(), &machine, plan, samples, None);
    page.sentences(&report.findings);
    let most = plan.threads.iter().copied().max().unwrap_or(1);
    let Curves {
        speedups,
        efficiencies,
        times,
    } = Curves::new(&report, most);
    page.figure(
        &Figure::new(
            "Speedup",
            "Speed relative to one thread with its fastest split: the median of the ratios within a round. The legend shows further lines, and the fitted laws, on demand.",
            [threads(), Axis::new("speedup")],
            speedups,
        ),
        &[common.origin()],
    );
    // The study's own warnings are preferred: they also cover other load on the machine.
    for warning in conclusion.warnings.as_ref().unwrap_or(&report.warnings) {
        page.note(&format!("Doubtful: {warning}."));
    }
    let shown = shown_first(&groups(&report.rows), MOST_LINES - 1);
    let samples = sample_series(plan, samples, &shown);
    write_other_figures(page, common, efficiencies, times, samples);
    for (heading, table) in report.tables() {
        page.table(heading, &table);
    }
}

/// The series of the figures against threads.
struct Curves {
    speedups: Vec<Series>,
    efficiencies: Vec<Series>,
    times: Vec<Series>,
}

impl Curves {
    /// Takes the curves from the rows and the fitted laws of a study with at most `most` threads.
    fn new(report: &ScalingReport, most: usize) -> Self {
        let groups = groups(&report.rows);
        // The ideal line is of use only beside measurements.
        let ideals = |of: &dyn Fn(f64) -> f64| -> Vec<Series> {
            let some = (!groups.is_empty()).then(|| ideal(most, of));
            let series = |points| Series::new("ideal", Mark::Dashed, 7, points);
            some.map(series).into_iter().collect()
        };
        let mut curves = Self {
            speedups: ideals(&|threads| threads),
            efficiencies: ideals(&|_| 1.0),
            times: Vec::new(),
        };
        let shown = shown_first(&groups, MOST_LINES - 1);
        for (color, (label, rows)) in groups.iter().enumerate() {
            let shown = shown.contains(label);
            let series = |of: fn(&ScalingRow) -> Option<f64>| {
                let points = rows.iter();
                let points = points.filter_map(|row| Some((row.threads as f64, of(row)?)));
                Series::new(label, Mark::LineAndDots, color, points).shown_if(shown)
            };
            curves.speedups.push(series(|row| row.speedup));
            curves.efficiencies.push(series(|row| row.efficiency));
            curves.times.push(series(|row| Some(row.seconds)));
            let fit = report.fits.iter().find(|fit| {
                (&fit.method, fit.split, fit.batch_rows)
                    == (&rows[0].method, rows[0].split, rows[0].batch_rows)
            });
            if let Some((law, points)) = fit.and_then(|fit| law(fit, most)) {
                let label = format!("{label}, {law}");
                let series = Series::new(label, Mark::Dashed, color, points);
                curves.speedups.push(series.shown_if(false));
            }
        }
        curves
    }
}

fn threads() -> Axis {
    Axis::new("threads").with_unit(AxisUnit::Whole)
}

/// Writes the figures after that of the speedups.
fn write_other_figures(
    page: &mut Page,
    common: &CommonContent,
    efficiencies: Vec<Series>,
    times: Vec<Series>,
    samples: Vec<Series>,
) {
    let seconds = || Axis::new("time").with_unit(AxisUnit::Seconds).logarithmic();
    page.figure(
        &Figure::new(
            "Efficiency",
            "Speedup divided by the number of threads: 100 % is perfect scaling.",
            [
                threads(),
                Axis::new("efficiency").with_unit(AxisUnit::Fraction),
            ],
            efficiencies,
        ),
        &[common.origin()],
    );
    page.figure(
        &Figure::new(
            "Time of a step",
            "Median of the samples.",
            [threads(), seconds()],
            times,
        ),
        &[common.origin()],
    );
    page.figure(
        &Figure::new(
            "Samples, round by round",
            "All samples. Changes that all series share come from the machine. The legend shows further lines on demand.",
            [Axis::new("round").with_unit(AxisUnit::Whole), seconds()],
            samples,
        ),
        &[common.origin()],
    );
}

/// Returns the machine of a study. If its files do not describe it, the machine is assumed to have
/// as many cores as the most threads used, so that no warning about it is given.
pub fn machine(common: &CommonContent, plan: &ScalingPlan) -> Environment {
    common.environment.clone().unwrap_or_else(|| {
        let threads = plan.threads.iter().copied().max().unwrap_or(1);
        Environment {
            physical_cores: threads,
            logical_cores: threads,
            ..Environment::detect("unknown", threads)
        }
    })
}

/// Returns the label of a method, split and mini-batch size.
fn label(method: &str, split: Option<Split>, rows: usize) -> String {
    let split = split.map_or_else(String::new, |split| format!(" by {}", split.name()));
    format!("{method}{split}, {rows} rows")
}

/// Groups the rows by method, split and mini-batch size, each group under its label.
fn groups(rows: &[ScalingRow]) -> Vec<(String, Vec<&ScalingRow>)> {
    let mut groups: Vec<(String, Vec<&ScalingRow>)> = Vec::new();
    for row in rows {
        let label = label(&row.method, row.split, row.batch_rows);
        match groups.iter_mut().find(|(other, _)| *other == label) {
            Some((_, members)) => members.push(row),
            None => groups.push((label, vec![row])),
        }
    }
    groups
}

/// Returns the labels of at most `most` groups that are shown first: those that training would take
/// on the most threads, those of the most rows first.
fn shown_first(groups: &[(String, Vec<&ScalingRow>)], most: usize) -> Vec<String> {
    let mut order: Vec<&(String, Vec<&ScalingRow>)> = groups.iter().collect();
    let rank = |(_, rows): &(String, Vec<&ScalingRow>)| {
        let last = rows.iter().max_by_key(|row| row.threads);
        let taken = last.is_some_and(|row| row.auto);
        (!taken, std::cmp::Reverse(rows[0].batch_rows))
    };
    order.sort_by_key(|group| rank(group));
    order
        .into_iter()
        .take(most)
        .map(|(label, _)| label.clone())
        .collect()
}

/// Returns the line of ideal scaling from 1 to `most` threads, at least to 2.
fn ideal(most: usize, of: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let ends = [1.0, most.max(2) as f64];
    ends.into_iter()
        .map(|threads| (threads, of(threads)))
        .collect()
}

/// Returns the name and the curve of the fitted law: the universal scalability law if it could be
/// fitted, else Amdahl's.
fn law(fit: &ScalingFit, most: usize) -> Option<(&'static str, Vec<(f64, f64)>)> {
    let (name, speedup): (_, Box<dyn Fn(f64) -> f64>) = match (fit.universal, fit.amdahl) {
        (Some(law), _) => ("USL", Box::new(move |workers| law.speedup(workers))),
        (None, Some(law)) => ("Amdahl", Box::new(move |workers| law.speedup(workers))),
        (None, None) => return None,
    };
    let further = most.saturating_sub(1);
    let steps = further
        .saturating_mul(POINTS_PER_THREAD)
        .clamp(1, MOST_POINTS);
    let points = (0..=steps).map(|index| {
        let workers = 1.0 + index as f64 * further as f64 / steps as f64;
        (workers, speedup(workers))
    });
    Some((name, points.collect()))
}

/// Returns a series of samples for each method, mini-batch size and number of threads; initially,
/// those of the groups `shown` on the most threads are drawn.
fn sample_series(plan: &ScalingPlan, samples: &[ScalingSample], shown: &[String]) -> Vec<Series> {
    let cells = plan.cells();
    let most = cells.iter().map(|cell| cell.threads).max().unwrap_or(1);
    let mut labels: Vec<String> = Vec::new();
    (cells.iter())
        .map(|cell| {
            let group = label(&cell.method, cell.split, cell.batch_rows);
            let color = labels.iter().position(|label| *label == group);
            let color = color.unwrap_or_else(|| {
                labels.push(group.clone());
                labels.len() - 1
            });
            let cell_samples = samples.iter().filter(|sample| sample.is_of(cell));
            let points = cell_samples.map(|sample| (sample.round as f64, sample.seconds));
            let label = format!("{group}, {}", counted(cell.threads, "thread"));
            Series::new(label, Mark::LineAndDots, color, points)
                .shown_if(cell.threads == most && shown.contains(&group))
        })
        .collect()
}
