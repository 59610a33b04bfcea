//! Sweeps: the error of differences against the increment, measured beside predicted.

use super::figure::{Axis, Figure, Mark, Series};
use super::page::Page;
use super::source::CommonContent;
use crate::study::sweep::{SweepRow, curves};
use crate::study::table::{Table, rough};

/// Writes a sweep: a figure for each precision, and one for each way of arithmetic in it.
pub fn write(page: &mut Page, held: &CommonContent, rows: &[SweepRow]) {
    let figures = [
        (
            "f64",
            true,
            "Error against the increment, f64, plain arithmetic",
        ),
        (
            "f32",
            true,
            "Error against the increment, f32, plain arithmetic",
        ),
        (
            "f64",
            false,
            "Error against the increment, f64, cancellation-free",
        ),
        (
            "f32",
            false,
            "Error against the increment, f32, cancellation-free",
        ),
    ];
    for (precision, plain, title) in figures {
        let own: Vec<SweepRow> = (rows.iter())
            .filter(|row| row.precision == precision && (row.arithmetic == "plain") == plain)
            .cloned()
            .collect();
        if own.is_empty() {
            continue;
        }
        let mut series = Vec::new();
        for (color, (label, points)) in curves(&own).into_iter().enumerate() {
            let of = |value: fn(&SweepRow) -> Option<f64>| -> Vec<(f64, f64)> {
                let points = points
                    .iter()
                    .filter_map(|row| Some((row.increment, value(row)?)));
                points.collect()
            };
            let predicted = of(|row| row.predicted);
            let measured = of(|row| row.measured);
            for (name, mark, points) in [
                ("predicted", Mark::Dashed, predicted),
                ("measured", Mark::Dots, measured),
            ] {
                let label_of = format!("{label}, {name}");
                series.push(Series::new(label_of, mark, color, points).of(&label));
            }
        }
        let caption = if plain {
            "The V: to the right what a quotient leaves out, to the left what subtraction loses. Dots: measured against backprop in double precision; lines: predicted before."
        } else {
            "No V: no two nearly equal numbers are subtracted, so the error falls to a rounding's and stays there."
        };
        let axes = [
            Axis::new("increment ε").logarithmic(),
            Axis::new("relative error").logarithmic(),
        ];
        page.figure(&Figure::new(title, caption, axes, series), &[held.origin()]);
    }
    page.table("Where each curve is lowest", &lowest(rows));
}

/// Of each curve the increment at which it is lowest.
pub fn lowest(rows: &[SweepRow]) -> Table {
    let mut table = Table::new([
        "method",
        "best increment",
        "error there",
        "predicted there",
        "increments",
        "within bounds",
    ]);
    for (label, rows) in curves(rows) {
        let measured = rows.iter().filter_map(|row| Some((row, row.measured?)));
        let best = measured.min_by(|a, b| a.1.total_cmp(&b.1));
        let passed = rows.iter().filter(|row| row.passed).count();
        table.row([
            label,
            best.map_or("–".to_owned(), |(row, _)| rough(row.increment)),
            best.map_or("–".to_owned(), |(_, error)| format!("{error:.1e}")),
            best.and_then(|(row, _)| row.predicted)
                .map_or("–".to_owned(), |error| format!("{error:.1e}")),
            rows.len().to_string(),
            format!("{passed} of {}", rows.len()),
        ]);
    }
    table
}
