//! Text of `nplus1 check`: one table per question.

use std::fmt;

use super::curve::CurveMinimum;
use super::report::{CheckReport, DirectionalComparison, ExternalGradient};
use super::rows::{short, step, verdict};
use crate::study::StudyReport;
use crate::study::table::{Table, list, loss, topology};

impl StudyReport for CheckReport {
    fn heading(&self) -> String {
        format!("Accuracy of differences: {}", self.name)
    }

    fn render(&self, heading: &str, _: &dyn Fn(&Table) -> String) -> String {
        match (heading, &self.study) {
            ("", Some(study)) => format!("{self}Study: {study}\n"),
            ("", None) => self.to_string(),
            _ => {
                let mut detailed = self.clone();
                detailed.detailed = true;
                format!("```text\n{detailed}```\n")
            }
        }
    }

    fn failure(&self) -> Option<String> {
        self.failed()
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = list(&[
            (
                "network",
                format!("{}, {} parameters", topology(&self.sizes), self.parameters),
            ),
            ("rows", self.batch_rows.to_string()),
            ("loss", loss(Some(self.loss))),
            ("gradient norm", loss(Some(self.gradient_norm))),
        ]);
        let swept = !self.curves.is_empty();
        if swept {
            writeln!(formatter, "{}\n", self.verdict())?;
        }
        writeln!(formatter, "{head}\n{}", self.table())?;
        if !swept || self.detailed {
            write!(formatter, "{}", self.layers())?;
        }
        if !self.directions.is_empty() {
            writeln!(formatter, "\n{}", self.directed())?;
            if let Some(note) = &self.note {
                writeln!(formatter, "{note}")?;
            }
        }
        if let Some(estimate) = &self.estimate {
            writeln!(formatter, "\n{}", estimated(estimate))?;
            writeln!(
                formatter,
                "an estimate is correct only on average; the check compares each directional derivative that it uses"
            )?;
        }
        if self.detailed {
            for table in self.swept() {
                write!(formatter, "\n{table}")?;
            }
        }
        if swept {
            write!(formatter, "\n{}", self.lowest())?;
        }
        if swept && !self.detailed {
            let points: usize = self.curves.iter().map(|curve| curve.points.len()).sum();
            writeln!(
                formatter,
                "\n{points} errors, one per method and increment: -v lists them"
            )?;
        }
        if let Some(external) = &self.against {
            write!(formatter, "\n{external}")?;
        }
        if let Some(oracle) = &self.oracle {
            writeln!(
                formatter,
                "\ncomplex step, {} passes: backprop in f64 is {} from it, {} allowed{}",
                oracle.evaluations,
                short(oracle.errors.relative_error),
                short(oracle.errors.allowed),
                match oracle.passed {
                    Some(true) => "",
                    Some(false) => ": WRONG",
                    None => ": cannot tell",
                }
            )?;
        }
        if swept || self.failure().is_some() {
            return Ok(());
        }
        writeln!(formatter, "\n{}", self.verdict())
    }
}

impl fmt::Display for ExternalGradient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "smallest errors that the check of {} sees: {} of one element (median; {} in the least visible one), {} in all elements alike",
            self.file,
            short(Some(self.caught_element)),
            short(Some(self.caught_weakest_element)),
            short(Some(self.caught_whole)),
        )?;
        for tensor in &self.tensors {
            write!(
                formatter,
                "{}: {} of {} elements wrong, relative error {}",
                tensor.name,
                tensor.wrong,
                tensor.elements,
                short(Some(tensor.relative_error))
            )?;
            let mistake = tensor.mistake.as_ref();
            writeln!(
                formatter,
                "{}",
                mistake.map_or(String::new(), |mistake| format!(": {mistake}"))
            )?;
        }
        match &self.mistake {
            Some(mistake) => writeln!(formatter, "mistake: {mistake}"),
            None => Ok(()),
        }
    }
}

impl CheckReport {
    /// Puts the result of all checks into words.
    fn verdict(&self) -> String {
        match (self.failure(), self.cannot_tell) {
            (Some(failure), _) => format!("WRONG: {failure}"),
            (None, 0) => "all within what truncation and round-off allow".to_owned(),
            (None, count) => format!(
                "nothing is wrong, but {count} of {} gradients cannot be told right: the errors allowed exceed 10 % of the gradient",
                self.rows.len()
            ),
        }
    }

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
                row.method.to_string(),
                row.evaluation.as_deref().unwrap_or("").to_owned(),
                row.arithmetic.as_deref().unwrap_or("").to_owned(),
                row.precision.to_string(),
                match row.extrapolation.as_deref() {
                    Some("richardson") => format!("{}, richardson", step(&row.increment)),
                    _ => step(&row.increment),
                },
                short(row.errors.relative_error),
                short(row.errors.allowed),
                short(row.errors.cosine.map(|cosine| 1.0 - cosine)),
                short(row.errors.max_absolute_error),
                row.errors.max_absolute_error_at.clone().unwrap_or_default(),
                row.verdict().to_owned(),
            ]);
        }
        if let Some(external) = &self.against {
            let errors = &external.errors;
            table.row([
                external.file.clone(),
                String::new(),
                String::new(),
                external.precision.to_owned(),
                String::new(),
                short(errors.relative_error),
                short(errors.allowed),
                short(errors.cosine.map(|cosine| 1.0 - cosine)),
                short(errors.max_absolute_error),
                errors.max_absolute_error_at.clone().unwrap_or_default(),
                verdict(external.passed).to_owned(),
            ]);
        }
        table
    }

    /// Returns the relative error of each layer and the position of its largest error.
    fn layers(&self) -> Table {
        let layers = 0..self.sizes.len() - 1;
        let heading = layers
            .clone()
            .flat_map(|layer| [format!("layer {layer}"), "largest".into(), "at".into()]);
        let mut table = Table::new(std::iter::once("relative error of".to_owned()).chain(heading));
        let rows = self.rows.iter().map(|row| (row.label(), &row.layers));
        let external = self
            .against
            .iter()
            .map(|external| (external.file.clone(), &external.layers));
        for (label, layers) in rows.chain(external) {
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
                short(row.increment),
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

    /// Returns a table for each scheme and precision: one line per increment, two columns per
    /// method.
    fn swept(&self) -> Vec<Table> {
        let mut tables = Vec::new();
        for group in self
            .curves
            .chunk_by(|a, b| (&a.method, &a.precision) == (&b.method, &b.precision))
        {
            let mut increments: Vec<f64> = group
                .iter()
                .flat_map(|curve| curve.points.iter().map(|point| point.increment))
                .collect();
            increments.sort_by(|a, b| b.total_cmp(a));
            increments.dedup();
            let title = format!("{} in {}, h", group[0].method, group[0].precision);
            let columns = group
                .iter()
                .flat_map(|curve| [curve.variant(), "predicted".to_owned()]);
            let mut table = Table::new(std::iter::once(title).chain(columns));
            for h in increments {
                let cells = group.iter().flat_map(|curve| {
                    let point = curve.points.iter().find(|point| point.increment == h);
                    point.map_or([String::new(), String::new()], |point| {
                        let mark = match point.passed {
                            Some(false) => " WRONG",
                            _ => "",
                        };
                        let measured = match point.measured {
                            None => "lost".to_owned(),
                            error => format!("{}{mark}", short(error)),
                        };
                        [measured, short(point.predicted)]
                    })
                });
                table.row(std::iter::once(short(Some(h))).chain(cells));
            }
            tables.push(table);
        }
        tables
    }

    /// Returns the measured and predicted minimum of each curve.
    fn lowest(&self) -> Table {
        let mut table = Table::new([
            "lowest of",
            "in",
            "best h",
            "predicted",
            "error there",
            "predicted",
        ]);
        for curve in &self.curves {
            let best = |of: Option<CurveMinimum>| match of {
                Some(CurveMinimum {
                    increment: None, ..
                }) => "no V".to_owned(),
                lowest => short(lowest.and_then(|lowest| lowest.increment)),
            };
            let floor = |of: Option<CurveMinimum>| short(of.map(|lowest| lowest.floor));
            table.row([
                format!("{}, {}", curve.method, curve.variant()),
                curve.precision.to_owned(),
                best(curve.measured),
                best(curve.predicted),
                floor(curve.measured),
                floor(curve.predicted),
            ]);
        }
        table
    }
}

/// Formats the check of a random-direction method along its directions.
fn estimated(row: &DirectionalComparison) -> Table {
    let label = format!("derivatives along {} of its directions, by", row.directions);
    let heading = [label.as_str(), "in", "h", "relative error", "allowed", ""];
    let mut table = Table::new(heading);
    table.row([
        row.method.to_owned(),
        row.precision.to_owned(),
        short(row.increment),
        short(Some(row.relative_error)),
        short(Some(row.allowed)),
        if row.passed { "ok" } else { "WRONG" }.to_owned(),
    ]);
    table
}
