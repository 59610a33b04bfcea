//! Studies of cost: multiplications and time of a gradient against N, method by method.

use super::figure::{Axis, AxisUnit, Figure, Mark, Series};
use super::page::Page;
use super::source::CommonContent;
use crate::study::cost::summary::CostReport;
use crate::study::cost::{BACKPROP, CostRow, FORWARD_PASS};
use crate::study::least_squares;
use crate::study::table::Table;

/// Methods that are drawn before the reader asks for more.
const SHOWN: [&str; 5] = [
    FORWARD_PASS,
    BACKPROP,
    "forward-difference/incremental",
    "forward-difference/cancellation-free",
    "forward-difference/full",
];

/// Writes a study of networks.
pub fn write(page: &mut Page, held: &CommonContent, rows: &[CostRow]) {
    let name = super::environment::name(held);
    let report = CostReport::new(&name, held.label.clone(), rows);
    page.findings(&report.findings);
    let mut sizes: Vec<usize> = rows.iter().map(|row| row.parameters).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let against = if sizes.len() > 1 {
        "Both axes are logarithmic: a straight line is a power of N, its slope the exponent."
    } else {
        "One network has one N: --widths or --depths add others."
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
                let own = rows.iter().filter(|row| row.label == label);
                let mut points: Vec<(f64, f64)> = own
                    .filter_map(|row| Some((row.parameters as f64, quantity(row)?)))
                    .collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                points
            };
            // Those that are shown first have colors of their own.
            let shown = SHOWN.iter().position(|shown| *shown == label);
            let hidden = || labels.iter().position(|other| *other == label);
            let color = shown.or_else(|| Some(SHOWN.len() + hidden()?)).unwrap_or(0);
            for (name, mark, quantity) in
                [(line.0, Mark::Dashed, line.1), (dots.0, Mark::Dots, dots.1)]
            {
                series.push(
                    Series::new(format!("{label}, {name}"), mark, color, points(quantity))
                        .of(label)
                        .shown(shown.is_some()),
                );
            }
        }
        page.figure(
            &Figure::new(title, caption, [n(), y], series),
            &[held.origin()],
        );
    };
    add(
        "Multiplications of a gradient",
        format!(
            "Lines: by formula, of a plain implementation on dense inputs; dots: counted. {against}"
        ),
        Axis::new("multiplications").logarithmic(),
        ("by formula", |row| Some(row.tally?.multiplications as f64)),
        ("counted", |row| {
            Some(row.tally_counted?.multiplications as f64)
        }),
    );
    add(
        "Time of a gradient",
        format!("Lines: predicted from a short look; dots: measured. {against}"),
        Axis::new("time").of(AxisUnit::Seconds).logarithmic(),
        ("predicted", |row| Some(row.predicted_seconds)),
        ("measured", |row| row.seconds),
    );
    for (heading, table) in report.tables().iter().rev() {
        page.table(heading, table);
    }
}

/// Writes a study of the linear least-squares objective.
pub fn write_least_squares(
    page: &mut Page,
    held: &CommonContent,
    rows: &[least_squares::LeastSquaresRow],
) {
    let report = least_squares::LeastSquaresReport::new(held.label.clone(), rows);
    let mut methods: Vec<&str> = Vec::new();
    for row in rows {
        if !methods.contains(&row.method.as_str()) {
            methods.push(&row.method);
        }
    }
    let series = |of: fn(&least_squares::LeastSquaresRow) -> f64| -> Vec<Series> {
        (methods.iter().enumerate())
            .map(|(color, method)| {
                let own = rows.iter().filter(|row| row.method == *method);
                let points = own.map(|row| (row.parameters as f64, of(row)));
                Series::new(*method, Mark::LineAndDots, color, points)
            })
            .collect()
    };
    let n = || Axis::new("parameters N").logarithmic();
    page.figure(
        &Figure::new(
            "Time over that of one value",
            "Both axes are logarithmic: differences cost N + 1 or 2N values, the derivative by hand about 2.",
            [n(), Axis::new("time ÷ value's time").logarithmic()],
            series(|row| row.seconds_to_primal),
        ),
        &[held.origin()],
    );
    page.figure(
        &Figure::new(
            "Time",
            "",
            [n(), Axis::new("time").of(AxisUnit::Seconds).logarithmic()],
            series(|row| row.seconds),
        ),
        &[held.origin()],
    );
    let table: Table = report.table();
    page.table("Linear least squares", &table);
}

/// Every label once, in the order of the rows.
fn labels(rows: &[CostRow]) -> Vec<&str> {
    let mut labels: Vec<&str> = Vec::new();
    for row in rows {
        if !labels.contains(&row.label.as_str()) {
            labels.push(&row.label);
        }
    }
    labels
}
