//! The page of an increment sweep: the error of differences against the increment, measured and
//! predicted.

use super::figure::{Axis, Figure, Mark, Series};
use super::page::Page;
use super::source::CommonContent;
use crate::study::sweep::{SweepRow, curves};
use crate::study::table::{Table, rough};

/// Writes the section of a sweep: a figure for each precision and each arithmetic (plain and
/// cancellation-free).
pub fn write(page: &mut Page, common: &CommonContent, rows: &[SweepRow]) {
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
        let figure_rows: Vec<SweepRow> = (rows.iter())
            .filter(|row| row.precision == precision && (row.arithmetic == "plain") == plain)
            .cloned()
            .collect();
        if figure_rows.is_empty() {
            continue;
        }
        let mut series = Vec::new();
        for (color, (label, points)) in curves(&figure_rows).into_iter().enumerate() {
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
                series.push(Series::new(label_of, mark, color, points).in_group(&label));
            }
        }
        let caption = if plain {
            "The V shape: truncation error on the right, round-off of the subtraction on the left. Dots: measured against backprop in double precision; lines: predicted beforehand."
        } else {
            "No V shape: no two nearly equal numbers are subtracted, so the error falls to the size of a rounding error and stays there."
        };
        let axes = [
            Axis::new("increment ε").logarithmic(),
            Axis::new("relative error").logarithmic(),
        ];
        page.figure(
            &Figure::new(title, caption, axes, series),
            &[common.origin()],
        );
    }
    page.table("Minimum of each curve", &lowest(rows));
}

/// Returns a table of the increment with the smallest measured error on each curve.
pub fn lowest(rows: &[SweepRow]) -> Table {
    let mut table = Table::new([
        "method",
        "best increment",
        "measured error",
        "predicted error",
        "increments",
        "within bounds",
    ]);
    for (label, rows) in curves(rows) {
        let measured = rows.iter().filter_map(|row| Some((row, row.measured?)));
        let best = measured.min_by(|a, b| a.1.total_cmp(&b.1));
        let passed = rows.iter().filter(|row| row.passed != Some(false)).count();
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
