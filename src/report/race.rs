//! The page of a race: accuracy against time and multiplications, and loss against time, one line
//! per method, of its seed with the median accuracy.

use super::figure::{Axis, AxisUnit, Figure, Mark, Series};
use super::page::Page;
use super::source::{CommonContent, StudyConclusion};
use crate::study::race::summary::RaceReport;
use crate::study::race::{RacePlan, RaceRow};

/// Writes the section of a race.
pub fn write(
    page: &mut Page,
    common: &CommonContent,
    plan: &RacePlan,
    rows: &[RaceRow],
    conclusion: &StudyConclusion,
) {
    let name = super::environment::name(common);
    let part = conclusion.part();
    let report = RaceReport::new(&name, common.label.clone(), part, plan, rows);
    page.sentences(&report.findings);
    for (heading, table) in report.tables() {
        page.table(heading, &table);
    }
    type RaceQuantity = fn(&RaceRow) -> f64;
    let seconds = || {
        Axis::new("seconds of training")
            .with_unit(AxisUnit::Seconds)
            .logarithmic()
    };
    let multiplications = || Axis::new("multiplications").logarithmic();
    let accuracy = || Axis::new("accuracy").with_unit(AxisUnit::Fraction);
    let figures: [(&str, [Axis; 2], [RaceQuantity; 2]); 3] = [
        (
            "Accuracy against time",
            [seconds(), accuracy()],
            [|row| row.seconds, |row| row.accuracy],
        ),
        (
            "Accuracy against multiplications",
            [multiplications(), accuracy()],
            [|row| row.tally.multiplications as f64, |row| row.accuracy],
        ),
        (
            "Loss against time",
            [seconds(), Axis::new("loss").logarithmic()],
            [|row| row.seconds, |row| row.loss],
        ),
    ];
    for (title, axes, [x, y]) in figures {
        let series = (plan.methods.iter().enumerate())
            .map(|(color, method)| {
                let seed = median_seed(&report, method);
                let method_rows = (rows.iter())
                    .filter(|row| row.method == *method && Some(row.seed) == seed && !row.tuning);
                Series::new(
                    method,
                    Mark::LineAndDots,
                    color,
                    method_rows.map(|row| (x(row), y(row))),
                )
            })
            .collect();
        let caption = format!(
            "Measured on the {part} rows, which no method trains on. All methods start from the same weights and see the rows in the same order. Of several seeds, the line is that with the median accuracy."
        );
        page.figure(
            &Figure::new(title, caption, axes, series),
            &[common.origin()],
        );
    }
}

/// Returns the seed whose best accuracy is the median of the method's seeds.
fn median_seed(report: &RaceReport<'_>, method: &str) -> Option<u64> {
    let summary = (report.standings.iter()).find(|summary| summary.method == method)?;
    let median = summary.best_accuracy;
    let seed = summary
        .seeds
        .iter()
        .find(|seed| seed.best_accuracy == median)?;
    Some(seed.seed)
}
