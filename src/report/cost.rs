//! The page of a cost study: multiplications and time per gradient against N, for each method.

use std::collections::BTreeSet;

use super::bars::Bars;
use super::figure::{Axis, AxisUnit, Figure, Mark, Series};
use super::page::Page;
use super::source::CommonContent;
use crate::study::cost::summary::CostReport;
use crate::study::cost::{BACKPROP, CostRow, FORWARD_PASS};
use crate::study::least_squares;
use crate::study::table::{Table, counted};

/// Methods that are drawn initially, the most telling ones first; the reader can show the others.
const SHOWN: [&str; 5] = [
    BACKPROP,
    "forward-difference/incremental",
    "forward-difference/full",
    FORWARD_PASS,
    "forward-difference/cancellation-free",
];
/// Number of lines that a figure of several depths shows initially.
const MOST_LINES: usize = 6;

/// Writes the section of a cost study of networks.
pub fn write(page: &mut Page, common: &CommonContent, rows: &[CostRow]) {
    let name = super::environment::name(common);
    let report = CostReport::new(&name, common.label.clone(), rows);
    page.sentences(&report.findings);
    let networks = Networks::of(rows);
    let quantities = [
        CostQuantity {
            title: "Multiplications of a gradient",
            axis: Axis::new("multiplications").logarithmic(),
            lines: "computed by formula for a plain implementation on dense inputs",
            dots: "the same, counted one by one",
            names: ["by formula", "counted"],
            of: [
                |row| Some(row.tally?.multiplications as f64),
                |row| Some(row.tally_counted?.multiplications as f64),
            ],
        },
        CostQuantity {
            title: "Time of a gradient",
            axis: Axis::new("time").with_unit(AxisUnit::Seconds).logarithmic(),
            lines: "predicted from a short measurement",
            dots: "measured",
            names: ["predicted", "measured"],
            of: [|row| Some(row.predicted_seconds), |row| row.seconds],
        },
    ];
    for quantity in quantities {
        if networks == Networks::One {
            page.bars(&bars(&quantity, rows), &[common.origin()]);
        } else {
            page.figure(&figure(&quantity, rows, networks), &[common.origin()]);
        }
    }
    // The largest network first; the others on demand.
    let sections = report.sections();
    let count = count(rows, |row| row.layers.clone());
    for (at, section) in sections.iter().enumerate().rev() {
        let write = |page: &mut Page| {
            for (heading, table) in section {
                page.table(heading, table);
            }
        };
        match section.first() {
            Some((heading, _)) if at + 1 < count => {
                let network = heading.split(':').next().unwrap_or(heading);
                page.collapsed(network, write);
            }
            _ => write(page),
        }
    }
}

/// The networks of a study, which decide what its figures show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Networks {
    /// A single network, or none: a bar for each method.
    One,
    /// Networks that differ in the number of equal hidden layers: a line for each method.
    Depths,
    /// Networks of one depth that differ in their widths: a line for each method.
    Widths,
    /// Networks of several depths and widths: a line for each method and depth.
    DepthsAndWidths,
}

impl Networks {
    fn of(rows: &[CostRow]) -> Self {
        let networks = count(rows, |row| row.layers.clone());
        let depths = count(rows, |row| row.hidden().len());
        let ends = count(rows, |row| {
            [row.layers[0], row.layers[row.layers.len() - 1]]
        });
        // Without hidden layers there is no width to differ.
        let hidden: Vec<&CostRow> = rows.iter().filter(|row| !row.hidden().is_empty()).collect();
        let width = hidden.first().and_then(|row| row.width());
        let is_equal = ends == 1 && hidden.iter().all(|row| row.width() == width);
        match (networks, depths) {
            (0 | 1, _) => Self::One,
            (_, 1) => Self::Widths,
            _ if is_equal && width.is_some() => Self::Depths,
            _ => Self::DepthsAndWidths,
        }
    }
}

/// Counts the distinct values of a property of the rows.
fn count<T: Ord>(rows: &[CostRow], of: impl Fn(&CostRow) -> T) -> usize {
    rows.iter().map(of).collect::<BTreeSet<T>>().len()
}

/// A number of a row, if it is known.
type RowNumber = fn(&CostRow) -> Option<f64>;

/// A quantity of a gradient, known in two ways.
struct CostQuantity {
    title: &'static str,
    axis: Axis,
    /// The meaning of the lines and of the dots.
    lines: &'static str,
    dots: &'static str,
    /// The names of both.
    names: [&'static str; 2],
    of: [RowNumber; 2],
}

/// Returns the bars of a single network.
fn bars(quantity: &CostQuantity, rows: &[CostRow]) -> Bars {
    let is_time = quantity.axis.unit == AxisUnit::Seconds;
    // The count one by one equals the formula; what the kernels perform does not.
    let (names, of): ([&str; 2], [RowNumber; 2]) = if is_time {
        (quantity.names, quantity.of)
    } else {
        let performed: RowNumber = |row| Some(row.tally_performed.multiplications as f64);
        (["dense", "performed"], [quantity.of[0], performed])
    };
    let caption = if is_time {
        "Predicted from a short measurement, and measured if that was asked for. The axis is logarithmic."
    } else {
        "Dense: of a plain implementation, by formula. Performed: of the kernels on these rows, zeros left out and equal values shared. The axis is logarithmic."
    };
    let groups = rows.iter().map(|row| {
        let values = of.iter().map(|of| of(row)).collect();
        (row.label.clone(), values)
    });
    Bars::new(
        quantity.title,
        caption,
        quantity.axis.unit,
        &names,
        groups.collect(),
    )
}

/// Returns the figure of several networks.
fn figure(quantity: &CostQuantity, rows: &[CostRow], networks: Networks) -> Figure {
    let (x, note) = match networks {
        Networks::Depths => (
            Axis::new("hidden layers").with_unit(AxisUnit::Whole),
            "All hidden layers have the same width.",
        ),
        _ => (
            Axis::new("parameters N").logarithmic(),
            "Both axes are logarithmic: the slope between two networks is the local exponent of N.",
        ),
    };
    let abscissa = |row: &CostRow| match networks {
        Networks::Depths => row.hidden().len() as f64,
        _ => row.parameters as f64,
    };
    let groups = groups(rows, networks == Networks::DepthsAndWidths);
    let most = if networks == Networks::DepthsAndWidths {
        MOST_LINES
    } else {
        SHOWN.len()
    };
    let mut series = Vec::new();
    for (color, (label, own)) in groups.iter().enumerate() {
        let is_shown = color < most && SHOWN.contains(&own[0].label.as_str());
        for at in 0..2 {
            let of = quantity.of[at];
            let points = own.iter().filter_map(|row| Some((abscissa(row), of(row)?)));
            let mut points: Vec<(f64, f64)> = points.collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mark = [Mark::Dashed, Mark::Dots][at];
            series.push(
                Series::new(
                    format!("{label}, {}", quantity.names[at]),
                    mark,
                    color,
                    points,
                )
                .in_group(label)
                .shown_if(is_shown),
            );
        }
    }
    let caption = format!("Lines: {}; dots: {}. {note}", quantity.lines, quantity.dots);
    Figure::new(quantity.title, caption, [x, quantity.axis.clone()], series)
}

/// Returns the rows of each method, and if `by_depth` of each number of hidden layers, under their
/// label; those that are shown initially first.
fn groups(rows: &[CostRow], by_depth: bool) -> Vec<(String, Vec<&CostRow>)> {
    let mut groups: Vec<(String, Vec<&CostRow>)> = Vec::new();
    for row in rows {
        let label = match by_depth {
            true => format!(
                "{}, {}",
                row.label,
                counted(row.hidden().len(), "hidden layer")
            ),
            false => row.label.clone(),
        };
        match groups.iter_mut().find(|(other, _)| *other == label) {
            Some((_, own)) => own.push(row),
            None => groups.push((label, vec![row])),
        }
    }
    let rank = |label: &str| SHOWN.iter().position(|shown| *shown == label);
    groups.sort_by_key(|(_, own)| rank(&own[0].label).unwrap_or(SHOWN.len()));
    groups
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::tally::Tally;

    fn row(label: &str, hidden: &[usize]) -> CostRow {
        let layers = [&[4], hidden, &[3]].concat();
        let parameters: usize = layers.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum();
        serde_json::from_value(serde_json::json!({
            "label": label, "method": label, "layers": layers, "parameters": parameters,
            "batch_rows": 10, "tally": Tally { multiplications: 7, ..Tally::default() },
            "tally_performed": Tally { multiplications: 5, ..Tally::default() }, "memory": 0.0,
            "predicted_seconds": 1.0, "samples": [], "forward_samples": [],
            "gradients_per_sample": 0
        }))
        .unwrap()
    }

    fn rows(networks: &[&[usize]]) -> Vec<CostRow> {
        let of = |hidden: &&[usize]| {
            ["forward-pass", "backprop", "forward-difference/full"].map(|label| row(label, hidden))
        };
        networks.iter().flat_map(of).collect()
    }

    #[test]
    fn the_figure_follows_what_differs_between_the_networks() {
        let of = |networks: &[&[usize]]| Networks::of(&rows(networks));
        assert_eq!(of(&[&[5]]), Networks::One);
        assert_eq!(of(&[&[5], &[6]]), Networks::Widths);
        assert_eq!(of(&[&[], &[5], &[5, 5]]), Networks::Depths);
        assert_eq!(
            of(&[&[5], &[6], &[5, 5], &[6, 6]]),
            Networks::DepthsAndWidths
        );
        assert_eq!(of(&[&[5], &[5, 6]]), Networks::DepthsAndWidths);
    }

    #[test]
    fn depths_have_a_line_each() {
        let quantity = CostQuantity {
            title: "t",
            axis: Axis::new("multiplications").logarithmic(),
            lines: "",
            dots: "",
            names: ["by formula", "counted"],
            of: [|row| Some(row.tally?.multiplications as f64), |_| None],
        };
        let rows = rows(&[&[5], &[6], &[5, 5], &[6, 6]]);
        let figure = figure(&quantity, &rows, Networks::of(&rows));
        assert_eq!(figure.series.len(), 3 * 2);
        assert_eq!(
            figure.series[0].label,
            "backprop, 1 hidden layer, by formula"
        );
        assert!(figure.series.iter().all(|series| series.points.len() == 2));
        let bars = bars(&quantity, &rows[..3]);
        assert_eq!(bars.quantities, ["dense", "performed"]);
        assert_eq!(bars.groups[0].1, [Some(7.0), Some(5.0)]);
    }
}
