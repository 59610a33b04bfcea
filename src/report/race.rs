//! Races: accuracy and loss against seconds and against operations, a line a method.

use super::figure::{Axis, Figure, Mark, Series, Unit};
use super::page::Page;
use super::source::{Concluded, Held};
use crate::study::race::summary::Report;
use crate::study::race::{Plan, Row};

/// Writes a race.
pub fn write(page: &mut Page, held: &Held, plan: &Plan, rows: &[Row], concluded: &Concluded) {
    let name = super::environment::name(held);
    let judged = concluded.judged();
    let report = Report::new(&name, held.label.clone(), judged, plan, rows);
    page.findings(&report.findings);
    page.table("Standings", &report.table());
    type Quantity = fn(&Row) -> f64;
    let seconds = || {
        Axis::new("seconds of training")
            .of(Unit::Seconds)
            .logarithmic()
    };
    let multiplications = || Axis::new("multiplications").logarithmic();
    let accuracy = || Axis::new("accuracy").of(Unit::Fraction);
    let figures: [(&str, [Axis; 2], [Quantity; 2]); 3] = [
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
