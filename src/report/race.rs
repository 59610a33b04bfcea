//! The page of a race: accuracy against time and multiplications, and loss against time, one line
//! per method.

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
    page.table("Summary", &report.table());
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
                let method_rows = rows.iter().filter(|row| row.method == *method);
                Series::new(
                    method,
                    Mark::LineAndDots,
                    color,
                    method_rows.map(|row| (x(row), y(row))),
                )
            })
            .collect();
        let caption = format!(
            "Measured on the {part} rows, which no method trains on. All methods start from the same weights and see the rows in the same order."
        );
        page.figure(
            &Figure::new(title, caption, axes, series),
            &[common.origin()],
        );
    }
}
