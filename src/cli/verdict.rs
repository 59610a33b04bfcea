//! What `nplus1 check` found, as JSON and as people read it.

use std::fmt;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::table::{Table, list, loss};
use crate::gradient::GradientConfig;
use crate::gradient::check::directions::Directions;
use crate::gradient::check::{Comparison, Group, Method, Outcome, Subject};
use crate::gradient::difference::{Increment, Scheme};
use crate::model::{Layout, Network};
use crate::numeric::Precision;

/// The document.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The config's name.
    pub name: String,
    /// Layer sizes.
    pub sizes: Vec<usize>,
    /// N.
    pub parameters: usize,
    /// Rows of the mini-batch.
    pub batch_rows: usize,
    /// The mean loss of the rows, l2 left out.
    pub loss: f64,
    /// ‖g‖₂, l2 included.
    pub gradient_norm: f64,
    /// Whether nothing failed.
    pub passed: bool,
    /// What was left out, and why.
    pub note: Option<String>,
    /// Gradients made whole.
    pub rows: Vec<Row>,
    /// Backprop's gradient along random directions.
    pub directions: Vec<Directed>,
    /// Rows at other increments.
    pub sweep: Vec<Row>,
    /// A gradient made elsewhere.
    pub against: Option<Foreign>,
}

/// One method.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// As configs spell it.
    pub method: &'static str,
    /// As configs spell it; none of backprop.
    pub evaluation: Option<&'static str>,
    /// The same.
    pub arithmetic: Option<&'static str>,
    /// The same.
    pub summation: Option<&'static str>,
    /// `f32` or `f64`.
    pub precision: &'static str,
    /// A number, or the rule by which each unit has one.
    pub increment: Value,
    /// Errors over the whole vector; none if the increment is lost.
    #[serde(flatten)]
    pub errors: Errors,
    /// The same per layer.
    pub layers: Vec<Errors>,
    /// Whether the increment vanishes in θ, and in which parameter.
    pub lost: Option<String>,
    /// Whether every element is within its bound.
    pub passed: bool,
}

/// Errors of some elements.
#[derive(Clone, Debug, Serialize)]
pub struct Errors {
    /// ‖ĝ − g‖₂/‖g‖₂.
    pub relative_error: Option<f64>,
    /// The same of the bounds.
    pub allowed: Option<f64>,
    /// The largest |ĝᵢ − gᵢ|.
    pub max_absolute_error: Option<f64>,
    /// The parameter that has it.
    pub max_absolute_error_at: Option<String>,
    /// Between ĝ and g.
    pub cosine: Option<f64>,
    /// The largest |ĝᵢ − gᵢ| in bounds: above 1 is wrong.
    pub excess: Option<f64>,
    /// The parameter that has it.
    pub excess_at: Option<String>,
}

impl Errors {
    const NONE: Self = Self {
        relative_error: None,
        allowed: None,
        max_absolute_error: None,
        max_absolute_error_at: None,
        cosine: None,
        excess: None,
        excess_at: None,
    };

    fn of(group: &Group, layout: &Layout) -> Self {
        Self {
            relative_error: Some(group.relative_error),
            allowed: Some(group.allowed),
            max_absolute_error: Some(group.max_absolute_error),
            max_absolute_error_at: Some(layout.name(group.largest)),
            cosine: Some(group.cosine),
            excess: Some(group.excess),
            excess_at: Some(layout.name(group.worst)),
        }
    }

    fn whole_and_layers(comparison: &Comparison, layout: &Layout) -> (Self, Vec<Self>) {
        let layers = comparison.layers.iter();
        (
            Self::of(&comparison.whole, layout),
            layers.map(|layer| Self::of(layer, layout)).collect(),
        )
    }

    /// `layers.0.weight[3, 17], by 41 times what round-off allows`.
    fn wrong(&self) -> String {
        format!(
            "{}, which is off by {} times what truncation and round-off allow",
            self.excess_at.as_deref().unwrap_or("nothing"),
            short(self.excess)
        )
    }
}

/// Backprop's gradient along random directions.
#[derive(Clone, Debug, Serialize)]
pub struct Directed {
    /// As configs spell it.
    pub method: &'static str,
    /// `f32` or `f64`.
    pub precision: &'static str,
    /// h.
    pub increment: f64,
    /// K.
    pub directions: usize,
    /// √(Σ (v·ĝ − v·g)²/K)/‖g‖.
    pub relative_error: f64,
    /// The same of the tolerances.
    pub allowed: f64,
    /// Upper bounds of the probability that a gradient with such an error passes.
    pub missed: Vec<Missed>,
    /// Whether every direction is within its tolerance.
    pub passed: bool,
}

/// A size of an error, and how probably it is missed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Missed {
    /// ‖e‖/‖g‖.
    pub relative_error: f64,
    /// At most.
    pub probability: f64,
}

/// A gradient made elsewhere.
#[derive(Clone, Debug, Serialize)]
pub struct Foreign {
    /// Its file.
    pub file: String,
    /// What its numbers need.
    pub precision: &'static str,
    /// Over the whole vector.
    #[serde(flatten)]
    pub errors: Errors,
    /// The same per layer.
    pub layers: Vec<Errors>,
    /// Whether every element is within its bound.
    pub passed: bool,
}

impl Report {
    /// Nothing checked yet.
    pub fn new(name: &str, network: &Network, batch_rows: usize, subject: &Subject<'_>) -> Self {
        let squares = subject.gradient().flat().iter().map(|g| g * g);
        Self {
            name: name.to_owned(),
            sizes: network.layout.sizes().to_vec(),
            parameters: network.layout.len(),
            batch_rows,
            loss: subject.loss(),
            gradient_norm: squares.sum::<f64>().sqrt(),
            passed: true,
            note: None,
            rows: Vec::new(),
            directions: Vec::new(),
            sweep: Vec::new(),
            against: None,
        }
    }

    /// The verdict on everything.
    pub fn conclude(&mut self) {
        self.passed = self.failure().is_none();
    }

    /// What is wrong, if anything is: the first fault of all, and how many there are.
    pub fn failure(&self) -> Option<String> {
        let rows = self
            .rows
            .iter()
            .chain(&self.sweep)
            .filter(|row| !row.passed);
        let mut faults: Vec<String> = rows
            .map(|row| format!("{} is wrong in {}", row.label(), row.errors.wrong()))
            .collect();
        for directed in self.directions.iter().filter(|directed| !directed.passed) {
            faults.push(format!(
                "backprop's gradient is not the derivative that {} in {} finds along random directions: {} off, {} allowed",
                directed.method,
                directed.precision,
                short(Some(directed.relative_error)),
                short(Some(directed.allowed))
            ));
        }
        if let Some(foreign) = self.against.as_ref().filter(|foreign| !foreign.passed) {
            faults.push(format!(
                "{} is wrong in {}",
                foreign.file,
                foreign.errors.wrong()
            ));
        }
        let first = faults.first()?;
        Some(match faults.len() - 1 {
            0 => first.clone(),
            more => format!("{first}; and {more} more"),
        })
    }
}

impl Row {
    /// Of one method.
    pub fn new(method: &Method, outcome: &Outcome, layout: &Layout) -> Self {
        let difference = method.difference();
        let (errors, layers, lost) = match outcome {
            Outcome::Compared(comparison) => {
                let (whole, layers) = Errors::whole_and_layers(comparison, layout);
                (whole, layers, None)
            }
            Outcome::Lost(lost) => (Errors::NONE, Vec::new(), Some(lost.to_string())),
        };
        Self {
            method: method.gradient.method(),
            evaluation: difference.map(|config| config.reuse.name()),
            arithmetic: difference.map(|config| config.arithmetic.name()),
            summation: difference.map(|config| config.summation.name()),
            precision: method.precision.name(),
            increment: match &method.gradient {
                GradientConfig::Backprop => Value::Null,
                GradientConfig::Difference(config) => match config.increment {
                    Increment::Auto => json!("auto"),
                    Increment::Noise => json!("noise"),
                    Increment::Absolute(h) => json!(h),
                    Increment::Relative(h) => json!(format!("{h:e} relative")),
                },
            },
            errors,
            layers,
            lost,
            passed: outcome.passed(),
        }
    }

    /// `forward-difference, full, plain, f32, h = 1e-3`.
    pub fn label(&self) -> String {
        let parts = [
            self.method.into(),
            self.evaluation,
            self.arithmetic,
            Some(self.precision),
        ];
        let mut label = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
        if !self.increment.is_null() {
            label.push_str(&format!(", h = {}", step(&self.increment)));
        }
        label
    }

    fn verdict(&self) -> &'static str {
        match (&self.lost, self.passed) {
            (Some(_), _) => "h is lost",
            (None, true) => "ok",
            (None, false) => "WRONG",
        }
    }
}

impl Directed {
    /// What they told.
    pub fn new(directions: &Directions) -> Self {
        let missed = [1e-1, 1e-2, 1e-3, 1e-4, 1e-6];
        Self {
            method: directions.scheme.name(),
            precision: directions.precision.name(),
            increment: directions.increment,
            directions: directions.probes.len(),
            relative_error: directions.relative_error(),
            allowed: directions.allowed(),
            missed: missed
                .map(|relative_error| Missed {
                    relative_error,
                    probability: directions.missed(relative_error),
                })
                .to_vec(),
            passed: directions.passed(),
        }
    }
}

impl Foreign {
    /// Of the gradient in `file`.
    pub fn new(file: &Path, precision: Precision, found: &Comparison, layout: &Layout) -> Self {
        let (errors, layers) = Errors::whole_and_layers(found, layout);
        Self {
            file: file.display().to_string(),
            precision: precision.name(),
            errors,
            layers,
            passed: found.passed(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<String> = self.sizes.iter().map(usize::to_string).collect();
        let head = list(&[
            (
                "network",
                format!("{}, {} parameters", sizes.join("-"), self.parameters),
            ),
            ("rows", self.batch_rows.to_string()),
            ("loss", loss(Some(self.loss))),
            ("gradient norm", loss(Some(self.gradient_norm))),
        ]);
        writeln!(formatter, "{head}\n{}", self.table())?;
        write!(formatter, "{}", self.layers())?;
        if !self.directions.is_empty() {
            writeln!(formatter, "\n{}", self.directed())?;
            if let Some(note) = &self.note {
                writeln!(formatter, "{note}")?;
            }
        }
        if !self.sweep.is_empty() {
            write!(formatter, "\n{}", self.swept())?;
        }
        match self.failure() {
            None => writeln!(
                formatter,
                "\nall within what truncation and round-off allow"
            ),
            Some(_) => Ok(()),
        }
    }
}

impl Report {
    fn table(&self) -> Table {
        let mut table = Table::new([
            "method",
            "evaluation",
            "arithmetic",
            "in",
            "h",
            "relative error",
            "allowed",
            "1 − cosine",
            "largest error",
            "at",
            "",
        ]);
        for row in &self.rows {
            table.row([
                row.method.to_owned(),
                row.evaluation.unwrap_or("").to_owned(),
                row.arithmetic.unwrap_or("").to_owned(),
                row.precision.to_owned(),
                step(&row.increment),
                short(row.errors.relative_error),
                short(row.errors.allowed),
                short(row.errors.cosine.map(|cosine| 1.0 - cosine)),
                short(row.errors.max_absolute_error),
                row.errors.max_absolute_error_at.clone().unwrap_or_default(),
                row.verdict().to_owned(),
            ]);
        }
        if let Some(foreign) = &self.against {
            let errors = &foreign.errors;
            table.row([
                foreign.file.clone(),
                String::new(),
                String::new(),
                foreign.precision.to_owned(),
                String::new(),
                short(errors.relative_error),
                short(errors.allowed),
                short(errors.cosine.map(|cosine| 1.0 - cosine)),
                short(errors.max_absolute_error),
                errors.max_absolute_error_at.clone().unwrap_or_default(),
                if foreign.passed { "ok" } else { "WRONG" }.to_owned(),
            ]);
        }
        table
    }

    /// Each layer's relative error and where its largest error is.
    fn layers(&self) -> Table {
        let layers = 0..self.sizes.len() - 1;
        let heading = layers
            .clone()
            .flat_map(|layer| [format!("layer {layer}"), "largest".into(), "at".into()]);
        let mut table = Table::new(std::iter::once("relative error of".to_owned()).chain(heading));
        let rows = self.rows.iter().map(|row| (row.label(), &row.layers));
        let foreign = self
            .against
            .iter()
            .map(|foreign| (foreign.file.clone(), &foreign.layers));
        for (label, layers) in rows.chain(foreign) {
            let figures = layers.iter().flat_map(|errors| {
                [
                    short(errors.relative_error),
                    short(errors.max_absolute_error),
                    errors.max_absolute_error_at.clone().unwrap_or_default(),
                ]
            });
            table.row(std::iter::once(label).chain(figures));
        }
        table
    }

    fn directed(&self) -> Table {
        let first = &self.directions[0];
        let sizes = first
            .missed
            .iter()
            .map(|missed| format!("misses {:e}", missed.relative_error));
        let label = format!(
            "backprop f64 along {} random directions, by",
            first.directions
        );
        let heading = [
            label,
            "in".into(),
            "h".into(),
            "relative error".into(),
            "allowed".into(),
        ];
        let mut table = Table::new(heading.into_iter().chain(sizes).chain([String::new()]));
        for row in &self.directions {
            let figures = [
                row.method.to_owned(),
                row.precision.to_owned(),
                short(Some(row.increment)),
                short(Some(row.relative_error)),
                short(Some(row.allowed)),
            ];
            let missed = row
                .missed
                .iter()
                .map(|missed| short(Some(missed.probability)));
            let verdict = if row.passed { "ok" } else { "WRONG" }.to_owned();
            table.row(figures.into_iter().chain(missed).chain([verdict]));
        }
        table
    }

    /// A line an increment, a column a method.
    fn swept(&self) -> Table {
        let name = |row: &Row| {
            let scheme = match row.method {
                name if name == Scheme::Forward.name() => "forward",
                _ => "central",
            };
            let way = match (row.evaluation, row.arithmetic) {
                (Some("full"), _) => "full",
                (_, Some("plain")) => "incremental",
                _ => "cancellation-free",
            };
            format!("{scheme} {way} {}", row.precision)
        };
        let mut columns: Vec<String> = Vec::new();
        let mut steps: Vec<f64> = Vec::new();
        for row in &self.sweep {
            if !columns.contains(&name(row)) {
                columns.push(name(row));
            }
            let h = row.increment.as_f64().unwrap_or(f64::NAN);
            if !steps.contains(&h) {
                steps.push(h);
            }
        }
        steps.sort_by(|a, b| b.total_cmp(a));
        let mut table = Table::new(std::iter::once("h".to_owned()).chain(columns.iter().cloned()));
        for h in steps {
            let cells = columns.iter().map(|column| {
                let at = |row: &&Row| row.increment.as_f64() == Some(h) && name(row) == *column;
                match self.sweep.iter().find(at) {
                    None => String::new(),
                    Some(row) if row.lost.is_some() => "lost".to_owned(),
                    Some(row) => {
                        let mark = if row.passed { "" } else { " WRONG" };
                        format!("{}{mark}", short(row.errors.relative_error))
                    }
                }
            });
            table.row(std::iter::once(format!("{h:e}")).chain(cells));
        }
        table
    }
}

/// Two digits.
fn short(number: Option<f64>) -> String {
    match number {
        None => "–".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(number) => format!("{number:.1e}"),
    }
}

fn step(increment: &Value) -> String {
    match increment {
        Value::Number(number) => number
            .as_f64()
            .map_or_else(String::new, |h| format!("{h:e}")),
        Value::String(rule) => rule.clone(),
        _ => String::new(),
    }
}
