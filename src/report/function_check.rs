//! The page of a check of any function's gradient, from the file that the check wrote: the error of
//! each element against its bound, and the error of plain differences over h for the worst elements.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::figure::{Axis, AxisUnit, Figure, Mark, Series};
use super::page::{Origin, Page};
use crate::error::{Error, Result};
use crate::format::file::read_capped;
use crate::run::json;
use crate::study::table::Table;

/// Size limit of the file, in bytes.
const CAP: u64 = 256 << 20;
/// The largest number of elements in the table.
const MOST_ROWS: usize = 50;

/// An element of the gradient beside its difference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ComparedElement {
    /// The index of the parameter.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// The element of the given gradient.
    pub theirs: f64,
    /// The difference.
    pub ours: f64,
    /// The bound of the difference's error.
    pub bound: f64,
    /// The size from which on a mistake in this element is found.
    pub visible: f64,
    /// |theirs − ours| in multiples of the bound.
    pub bounds: f64,
}

/// Plain central differences of one element.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DifferenceCurve {
    /// The element.
    pub element: ComparedElement,
    /// Each h, and the difference there.
    pub points: Vec<(f64, f64)>,
}

/// What the page shows of a check.
#[derive(Debug, Deserialize)]
struct FunctionCheck {
    program: String,
    parameters: usize,
    loss: f64,
    noise: f64,
    verdict: String,
    compared: String,
    #[serde(default)]
    taylor_orders: Vec<f64>,
    #[serde(default)]
    elements: Vec<ComparedElement>,
    #[serde(default)]
    curves: Vec<DifferenceCurve>,
    #[serde(default)]
    wrong: Vec<ComparedElement>,
    help: Option<String>,
}

/// Reads the file of a check.
fn read(path: &Path) -> Result<FunctionCheck> {
    let bytes = read_capped(path, CAP)?;
    json::parse(&String::from_utf8_lossy(&bytes)).map_err(|error| {
        let problem = format!("is not the file of a function's check: {error}");
        Error::refused(path, problem)
            .help("name the JSON file that `nplus1 check --program CMD --html FILE` wrote")
    })
}

/// Refuses a file that is not of a check, and would be lost if one were written in its place.
///
/// # Errors
/// A file that cannot be read, or is not of a check.
pub fn check(path: &Path) -> Result<()> {
    read(path).map(|_| ())
}

/// Renders the page of the file `path`, which `check --program --html` wrote, dated `date`.
///
/// # Errors
/// A file that cannot be read, or is not of a check.
pub fn render(path: &Path, date: &str) -> Result<String> {
    let check = read(path)?;
    let mut page = Page::new(format!("{} · Check of a gradient", check.program));
    let origin = [Origin {
        command: Some(format!("nplus1 check --program '{}'", check.program)),
        machine: path.display().to_string(),
    }];
    page.section("Verdict");
    page.table("The check", &summary(&check));
    if !check.wrong.is_empty() {
        page.table("Wrong elements", &table(&check.wrong));
    }
    if !check.elements.is_empty() {
        page.figure(&errors(&check.elements), &origin);
        page.table(
            "Elements, nearest to their bounds first",
            &table(&nearest(&check.elements)),
        );
    }
    for curve in &check.curves {
        page.figure(&differences(curve), &origin);
    }
    Ok(page.render(date))
}

fn summary(check: &FunctionCheck) -> Table {
    let mut table = Table::default();
    table.row(["verdict", &check.verdict]);
    table.row(["program", &check.program]);
    table.row(["parameters".to_owned(), check.parameters.to_string()]);
    table.row(["compared", &check.compared]);
    table.row(["value at θ".to_owned(), format!("{:?}", check.loss)]);
    table.row([
        "noise of a value".to_owned(),
        format!("{:.1e}", check.noise),
    ]);
    let orders: Vec<String> = (check.taylor_orders.iter())
        .map(|order| format!("{order:.2}"))
        .collect();
    if !orders.is_empty() {
        let label = "order of Taylor's remainder (2 if right, 1 if wrong)";
        table.row([label.to_owned(), orders.join(", ")]);
    }
    if let Some(help) = &check.help {
        table.row(["what helps", help]);
    }
    table
}

fn table(elements: &[ComparedElement]) -> Table {
    let mut table = Table::new([
        "parameter",
        "theirs",
        "ours",
        "bound",
        "visible",
        "in bounds",
    ]);
    for element in elements.iter().take(MOST_ROWS) {
        let numbers = [element.theirs, element.ours].map(|number| format!("{number:e}"));
        let sizes = [element.bound, element.visible, element.bounds];
        let sizes = sizes.map(|number| format!("{number:.1e}"));
        let cells = [element.name.clone()].into_iter();
        table.row(cells.chain(numbers).chain(sizes));
    }
    table
}

/// Returns the elements by their errors in multiples of their bounds, the largest first.
fn nearest(elements: &[ComparedElement]) -> Vec<ComparedElement> {
    let mut sorted = elements.to_vec();
    sorted.sort_by(|one, other| other.bounds.total_cmp(&one.bounds));
    sorted
}

/// Returns the figure of each element's error and bound.
fn errors(elements: &[ComparedElement]) -> Figure {
    let of = |value: fn(&ComparedElement) -> f64| -> Vec<(f64, f64)> {
        let points = elements.iter();
        points.map(|e| (e.index as f64, value(e))).collect()
    };
    let series = vec![
        Series::new(
            "|theirs − ours|",
            Mark::Dots,
            0,
            of(|element| (element.theirs - element.ours).abs()),
        ),
        Series::new("bound", Mark::Dashed, 1, of(|element| element.bound)),
        Series::new("visible", Mark::Dashed, 2, of(|element| element.visible)).shown_if(false),
        Series::new("|ours|", Mark::Dots, 3, of(|element| element.ours.abs())),
    ];
    let axes = [
        Axis::new("parameter").with_unit(AxisUnit::Whole),
        Axis::new("size").logarithmic(),
    ];
    Figure::new(
        "Each element against its bound",
        "An error above its bound is a mistake. Where the bound comes near the element itself, nobody can tell.",
        axes,
        series,
    )
}

/// Returns the figure of plain central differences of an element.
fn differences(curve: &DifferenceCurve) -> Figure {
    let element = &curve.element;
    let level = |value: f64| -> Vec<(f64, f64)> {
        curve.points.iter().map(|point| (point.0, value)).collect()
    };
    let measured = curve.points.iter();
    let measured: Vec<(f64, f64)> = measured
        .map(|&(h, difference)| (h, (difference - element.ours).abs()))
        .collect();
    let series = vec![
        Series::new(
            "|central difference − ours|",
            Mark::LineAndDots,
            0,
            measured,
        ),
        Series::new(
            "|theirs − ours|",
            Mark::Dashed,
            1,
            level((element.theirs - element.ours).abs()),
        ),
        Series::new("bound", Mark::Dashed, 2, level(element.bound)),
    ];
    let axes = [
        Axis::new("increment h").logarithmic(),
        Axis::new("error").logarithmic(),
    ];
    Figure::new(
        format!("Differences of {} over h", element.name),
        "The V shape: truncation on the right, noise on the left. Their element is wrong where its line is above the bound.",
        axes,
        series,
    )
}
