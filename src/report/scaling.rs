//! Studies of scaling: speedup and efficiency against threads, the laws that fit, and the samples.

use super::figure::{Axis, AxisUnit, Figure, Mark, Series};
use super::page::Page;
use super::source::{CommonContent, StudyConclusion};
use crate::run::Environment;
use crate::study::scaling::summary::ScalingReport;
use crate::study::scaling::{ScalingFit, ScalingPlan, ScalingRow, ScalingSample};

/// Places between two numbers of threads at which a law is drawn.
const BETWEEN: usize = 4;

/// Writes a study.
pub fn write(
    page: &mut Page,
    held: &CommonContent,
    plan: &ScalingPlan,
    samples: &[ScalingSample],
    concluded: &StudyConclusion,
) {
    let name = super::environment::name(held);
    let machine = machine(held, plan);
    let report = ScalingReport::new(&name, held.label.clone(), &machine, plan, samples, None);
    page.findings(&report.findings);
    // Those of the study itself know of other load, too.
    for warning in concluded.warnings.as_ref().unwrap_or(&report.warnings) {
        page.note(&format!("Doubtful: {warning}."));
    }
    let most = plan.threads.iter().copied().max().unwrap_or(1);
    let threads = || Axis::new("threads").of(AxisUnit::Whole);
    let groups = groups(&report.rows);

    // What is ideal says nothing without what is real.
    let ideals = |of: &dyn Fn(f64) -> f64| -> Vec<Series> {
        let some = (!groups.is_empty()).then(|| ideal(most, of));
        let series = |points| Series::new("ideal", Mark::Dashed, 7, points);
        some.map(series).into_iter().collect()
    };
    let mut speedups = ideals(&|threads| threads);
    let mut efficiencies = ideals(&|_| 1.0);
    let mut times = Vec::new();
    for (color, (label, rows)) in groups.iter().enumerate() {
        let points = |of: fn(&ScalingRow) -> Option<f64>| -> Vec<(f64, f64)> {
            let points = rows
                .iter()
                .filter_map(|row| Some((row.threads as f64, of(row)?)));
            points.collect()
        };
        speedups.push(Series::new(
            label,
            Mark::LineAndDots,
            color,
            points(|row| row.speedup),
        ));
        efficiencies.push(Series::new(
            label,
            Mark::LineAndDots,
            color,
            points(|row| row.efficiency),
        ));
        times.push(Series::new(
            label,
            Mark::LineAndDots,
            color,
            points(|row| Some(row.seconds)),
        ));
        let fit = report
            .fits
            .iter()
            .find(|fit| (&fit.method, fit.batch_rows) == (&rows[0].method, rows[0].batch_rows));
        if let Some((law, points)) = fit.and_then(|fit| law(fit, most)) {
            speedups.push(
                Series::new(format!("{label}, {law}"), Mark::Dashed, color, points).shown(false),
            );
        }
    }
    page.figure(
        &Figure::new(
            "Speedup",
            "How many times as fast as one thread, the median of ratios within a round. Laws are drawn on demand.",
            [threads(), Axis::new("speedup")],
            speedups,
        ),
        &[held.origin()],
    );
    page.figure(
        &Figure::new(
            "Efficiency",
            "Speedup over threads: 100 % is a thread's whole worth.",
            [threads(), Axis::new("efficiency").of(AxisUnit::Fraction)],
            efficiencies,
        ),
        &[held.origin()],
    );
    page.figure(
        &Figure::new(
            "Time of a step",
            "Medians of the samples.",
            [
                threads(),
                Axis::new("time").of(AxisUnit::Seconds).logarithmic(),
            ],
            times,
        ),
        &[held.origin()],
    );
    page.figure(
        &Figure::new(
            "Samples, round by round",
            "Every sample that was taken. What moves together was the machine.",
            [
                Axis::new("round").of(AxisUnit::Whole),
                Axis::new("time").of(AxisUnit::Seconds).logarithmic(),
            ],
            raw(plan, samples),
        ),
        &[held.origin()],
    );
    for (heading, table) in report.tables() {
        page.table(heading, &table);
    }
}

/// The machine of a study; where its files do not tell, one with as many cores as threads were used, so
/// that nothing is said of it.
pub fn machine(held: &CommonContent, plan: &ScalingPlan) -> Environment {
    held.environment.clone().unwrap_or_else(|| {
        let threads = plan.threads.iter().copied().max().unwrap_or(1);
        Environment {
            physical_cores: threads,
            logical_cores: threads,
            ..Environment::detect("unknown", threads)
        }
    })
}

/// Rows of the same method and mini-batch, under their label.
fn groups(rows: &[ScalingRow]) -> Vec<(String, Vec<&ScalingRow>)> {
    let mut groups: Vec<(String, Vec<&ScalingRow>)> = Vec::new();
    for row in rows {
        let label = format!("{}, {} rows", row.method, row.batch_rows);
        match groups.iter_mut().find(|(other, _)| *other == label) {
            Some((_, own)) => own.push(row),
            None => groups.push((label, vec![row])),
        }
    }
    groups
}

fn ideal(most: usize, of: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let ends = [1.0, most.max(2) as f64];
    ends.into_iter()
        .map(|threads| (threads, of(threads)))
        .collect()
}

/// The law that fits best, by name, and its curve.
fn law(fit: &ScalingFit, most: usize) -> Option<(&'static str, Vec<(f64, f64)>)> {
    let (name, speedup): (_, Box<dyn Fn(f64) -> f64>) = match (fit.universal, fit.amdahl) {
        (Some(law), _) => ("USL", Box::new(move |workers| law.speedup(workers))),
        (None, Some(law)) => ("Amdahl", Box::new(move |workers| law.speedup(workers))),
        (None, None) => return None,
    };
    let places = 0..=(most - 1) * BETWEEN;
    let points = places.map(|place| {
        let workers = 1.0 + place as f64 / BETWEEN as f64;
        (workers, speedup(workers))
    });
    Some((name, points.collect()))
}

/// The samples of each method, mini-batch and number of threads.
fn raw(plan: &ScalingPlan, samples: &[ScalingSample]) -> Vec<Series> {
    let cells = plan.cells();
    let mut labels: Vec<String> = Vec::new();
    (cells.iter())
        .map(|cell| {
            let group = format!("{}, {} rows", cell.method, cell.batch_rows);
            let color = labels.iter().position(|label| *label == group);
            let color = color.unwrap_or_else(|| {
                labels.push(group.clone());
                labels.len() - 1
            });
            let own = samples.iter().filter(|sample| sample.is_of(cell));
            let points = own.map(|sample| (sample.round as f64, sample.seconds));
            let label = format!("{group}, {} threads", cell.threads);
            Series::new(label, Mark::LineAndDots, color, points)
        })
        .collect()
}
