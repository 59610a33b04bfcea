//! What `nplus1 check` found, as people read it: a table a question.

use std::fmt;

use super::{Report, Row, short, step};
use crate::cli::table::{Table, list, loss};
use crate::gradient::difference::Scheme;

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
