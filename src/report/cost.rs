//! The page of a cost study: multiplications and time per gradient against N, for each method.

use super::figure::{Axis, AxisUnit, Figure, Mark, Series};
use super::page::Page;
use super::source::CommonContent;
use crate::study::cost::summary::{CostReport, labels};
use crate::study::cost::{BACKPROP, CostRow, FORWARD_PASS};
use crate::study::least_squares;
use crate::study::table::Table;

/// Methods that are drawn initially; the reader can show the others.
const SHOWN: [&str; 5] = [
    FORWARD_PASS,
    BACKPROP,
    "forward-difference/incremental",
    "forward-difference/cancellation-free",
    "forward-difference/full",
];

/// Writes the section of a cost study of networks.
pub fn write(page: &mut Page, common: &CommonContent, rows: &[CostRow]) {
    let name = super::environment::name(common);
    let report = CostReport::new(&name, common.label.clone(), rows);
    page.sentences(&report.findings);
    let mut sizes: Vec<usize> = rows.iter().map(|row| row.parameters).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let scale_note = if sizes.len() > 1 {
        "Both axes are logarithmic: the slope between two networks is the local exponent of N."
    } else {
        "A single network has a single N: add more with --widths or --depths."
    };
    let n = || Axis::new("parameters N").logarithmic();
    type CostQuantity = fn(&CostRow) -> Option<f64>;
    let mut add = |title: &str,
                   caption: String,
                   y: Axis,
                   line: (&str, CostQuantity),
                   dots: (&str, CostQuantity)| {
        let mut series = Vec::new();
        let labels = labels(rows);
        for &label in &labels {
            let points = |quantity: CostQuantity| -> Vec<(f64, f64)> {
                let method_rows = rows.iter().filter(|row| row.label == label);
                let mut points: Vec<(f64, f64)> = method_rows
                    .filter_map(|row| Some((row.parameters as f64, quantity(row)?)))
                    .collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                points
            };
            // The methods shown initially take the first colors.
            let shown = SHOWN.iter().position(|shown| *shown == label);
            let hidden = || labels.iter().position(|other| *other == label);
            let color = shown.or_else(|| Some(SHOWN.len() + hidden()?)).unwrap_or(0);
            for (name, mark, quantity) in
                [(line.0, Mark::Dashed, line.1), (dots.0, Mark::Dots, dots.1)]
            {
                series.push(
                    Series::new(format!("{label}, {name}"), mark, color, points(quantity))
                        .in_group(label)
                        .shown_if(shown.is_some()),
                );
            }
        }
        page.figure(
            &Figure::new(title, caption, [n(), y], series),
            &[common.origin()],
        );
    };
    add(
        "Multiplications of a gradient",
        format!(
            "Lines: computed by formula for a plain implementation on dense inputs; dots: the same, counted one by one. {scale_note}"
        ),
        Axis::new("multiplications").logarithmic(),
        ("by formula", |row| Some(row.tally?.multiplications as f64)),
        ("counted", |row| {
            Some(row.tally_counted?.multiplications as f64)
        }),
    );
    add(
        "Time of a gradient",
        format!("Lines: predicted from a short measurement; dots: measured. {scale_note}"),
        Axis::new("time").with_unit(AxisUnit::Seconds).logarithmic(),
        ("predicted", |row| Some(row.predicted_seconds)),
        ("measured", |row| row.seconds),
    );
    // The largest network first.
    for (heading, table) in report.sections().iter().rev().flatten() {
        page.table(heading, table);
    }
}

/// Writes the section of a cost study of the linear least-squares objective.
pub fn write_least_squares(
    page: &mut Page,
    common: &CommonContent,
    rows: &[least_squares::LeastSquaresRow],
) {
    let report = least_squares::LeastSquaresReport::new(common.label.clone(), rows);
    let mut methods: Vec<&str> = Vec::new();
    for row in rows {
        if !methods.contains(&row.method.as_str()) {
            methods.push(&row.method);
        }
    }
    let series = |of: fn(&least_squares::LeastSquaresRow) -> f64| -> Vec<Series> {
        (methods.iter().enumerate())
            .map(|(color, method)| {
                let method_rows = rows.iter().filter(|row| row.method == *method);
                let points = method_rows.map(|row| (row.parameters as f64, of(row)));
                Series::new(*method, Mark::LineAndDots, color, points)
            })
            .collect()
    };
    let n = || Axis::new("parameters N").logarithmic();
    page.figure(
        &Figure::new(
            "Time relative to one evaluation",
            "Both axes are logarithmic: differences cost N + 1 or 2N evaluations, the hand-written derivative about 2.",
            [n(), Axis::new("time ÷ time of one evaluation").logarithmic()],
            series(|row| row.seconds_to_primal),
        ),
        &[common.origin()],
    );
    page.figure(
        &Figure::new(
            "Time",
            "",
            [
                n(),
                Axis::new("time").with_unit(AxisUnit::Seconds).logarithmic(),
            ],
            series(|row| row.seconds),
        ),
        &[common.origin()],
    );
    let table: Table = report.table();
    page.table("Linear least squares", &table);
}
