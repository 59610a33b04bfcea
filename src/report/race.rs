//! Races: accuracy and loss against seconds and against operations, a line a method.

use super::figure::{Axis, AxisUnit, Figure, Mark, Series};
use super::page::Page;
use super::source::{CommonContent, StudyConclusion};
use crate::study::race::summary::RaceReport;
use crate::study::race::{RacePlan, RaceRow};

/// Writes a race.
pub fn write(
    page: &mut Page,
    held: &CommonContent,
    plan: &RacePlan,
    rows: &[RaceRow],
    concluded: &StudyConclusion,
) {
    let name = super::environment::name(held);
    let judged = concluded.judged();
    let report = RaceReport::new(&name, held.label.clone(), judged, plan, rows);
    page.findings(&report.findings);
    page.table("Standings", &report.table());
    type RaceQuantity = fn(&RaceRow) -> f64;
    let seconds = || {
        Axis::new("seconds of training")
            .of(AxisUnit::Seconds)
            .logarithmic()
    };
    let multiplications = || Axis::new("multiplications").logarithmic();
    let accuracy = || Axis::new("accuracy").of(AxisUnit::Fraction);
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
                let own = rows.iter().filter(|row| row.method == *method);
                Series::new(
                    method,
                    Mark::LineAndDots,
                    color,
                    own.map(|row| (x(row), y(row))),
                )
            })
            .collect();
        let caption = format!(
            "Of the {judged} rows, which nobody trained on; the same start and the same order of rows for all."
        );
        page.figure(&Figure::new(title, caption, axes, series), &[held.origin()]);
    }
}
