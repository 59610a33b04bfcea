//! Small tables as text and as Markdown, and the format of numbers in them. The first column is
//! left-aligned, the others right-aligned.

use std::fmt;

use crate::text::plain_line;

/// Rows of cells, with or without a header.
#[derive(Clone, Debug, Default)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Creates an empty table with a header.
    pub fn new<S: Into<String>>(header: impl IntoIterator<Item = S>) -> Self {
        Self {
            header: cells(header),
            rows: Vec::new(),
        }
    }

    /// Adds a row; missing cells are empty.
    pub fn row<S: Into<String>>(&mut self, row: impl IntoIterator<Item = S>) {
        self.rows.push(cells(row));
    }

    /// Returns the cells of the header; empty without a header.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// Returns the rows.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// Formats the table in Markdown.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells = cells.iter().map(|cell| cell.replace('|', "\\|"));
            format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
        };
        let columns = self.widths().len();
        let mut header = self.header.clone();
        header.resize(columns, String::new());
        let rule = (0..columns).map(|column| if column == 0 { "---" } else { "---:" });
        let mut text = line(&header) + &line(&rule.map(str::to_owned).collect::<Vec<_>>());
        for row in &self.rows {
            let mut row = row.clone();
            row.resize(columns, String::new());
            text.push_str(&line(&row));
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = Vec::new();
        for row in std::iter::once(&self.header).chain(&self.rows) {
            if widths.len() < row.len() {
                widths.resize(row.len(), 0);
            }
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }
}

/// Each on one line, so that a row is.
fn cells<S: Into<String>>(of: impl IntoIterator<Item = S>) -> Vec<String> {
    let cell = |cell: S| plain_line(&cell.into()).into_owned();
    of.into_iter().map(cell).collect()
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let header = (!self.header.is_empty()).then_some(&self.header);
        for row in header.into_iter().chain(&self.rows) {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    line.push_str(&format!("{cell:<width$}"));
                } else {
                    line.push_str(&format!("  {cell:>width$}"));
                }
            }
            writeln!(formatter, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Formats labeled values, one per line, with labels and values left-aligned.
pub fn list(entries: &[(&str, String)]) -> String {
    let width = entries
        .iter()
        .map(|(label, _)| label.chars().count())
        .max()
        .unwrap_or(0);
    let line = |(label, value): &(&str, String)| format!("{label:<width$}  {value}\n");
    entries.iter().map(line).collect()
}

/// Formats a fraction in percent, or `–` for `None`.
pub fn percent(fraction: Option<f64>) -> String {
    fraction.map_or("–".to_owned(), |fraction| {
        format!("{:.2} %", 100.0 * fraction)
    })
}

/// Formats a loss: below 1 with five decimals, from 1 on with six significant digits, very small
/// and very large ones as `1.5000e-7`, and `None` as `–`.
pub fn loss(loss: Option<f64>) -> String {
    match loss {
        None => "–".to_owned(),
        Some(loss) if loss == 0.0 || (1e-3..1e4).contains(&loss.abs()) => {
            let before = loss.abs().max(1.0).log10() as usize;
            format!("{loss:.*}", 5 - before.min(4))
        }
        Some(loss) => format!("{loss:.4e}"),
    }
}

/// Formats a count with its noun, `1 row`, `2 rows`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Formats layer sizes, `784-30-10`.
pub fn topology(sizes: &[usize]) -> String {
    let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
    sizes.join("-")
}

/// Formats a count with thousands separators, `23,860`; from 10¹² on in scientific notation,
/// `1.23e15`.
pub fn whole(count: u64) -> String {
    if count >= 1_000_000_000_000 {
        return format!("{:.2e}", count as f64);
    }
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a ratio with up to three significant digits; from 1000 on as a whole number.
pub fn times(ratio: f64) -> String {
    match ratio {
        _ if !ratio.is_finite() => "–".to_owned(),
        _ if ratio >= 999.5 => whole(ratio.round() as u64),
        _ if ratio >= 99.95 => format!("{ratio:.0}"),
        _ if ratio >= 9.995 => format!("{ratio:.1}"),
        _ if ratio >= 0.01 => format!("{ratio:.2}"),
        _ => format!("{ratio:.1e}"),
    }
}

/// Formats a number with six significant digits.
pub fn figure(number: f64) -> String {
    match number.abs() {
        size if size == 0.0 || !size.is_finite() => number.to_string(),
        size if (1e-4..1e7).contains(&size) => {
            let before = size.log10().floor() as i32;
            format!("{number:.*}", usize::try_from(5 - before).unwrap_or(0))
        }
        _ => format!("{number:.5e}"),
    }
}

/// Formats a magnitude with one significant digit, `4e-6`; zero as `0`.
pub fn rough(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    format!("{number:.0e}")
}

/// Formats a duration: `9.41 µs`, `1.23 ms`, `430 ms`, `4.21 s`, `3 min 05 s`, `2 h 07 min`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "–".to_owned();
    }
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 0.000_995 => format!("{:.2} µs", 1e6 * seconds),
        _ if seconds < 0.009_995 => format!("{:.2} ms", 1e3 * seconds),
        _ if seconds < 0.9995 => format!("{:.0} ms", 1e3 * seconds),
        _ if seconds < 99.995 => format!("{seconds:.2} s"),
        0..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_by_letters_not_bytes() {
        let mut table = Table::new(["class", "rows"]);
        table.row(["ünï", "7"]);
        table.row(["setosa", "120"]);
        assert_eq!(
            table.to_string(),
            "class   rows\nünï        7\nsetosa   120\n"
        );
    }

    #[test]
    fn a_cell_stays_on_its_line_and_is_as_wide_as_it_is_shown() {
        let mut table = Table::new(["class", "rows"]);
        table.row(["a\nb\u{202e}", "1"]);
        table.row(["c", "2"]);
        assert_eq!(
            table.to_string(),
            "class        rows\na␊b<U+202E>     1\nc               2\n"
        );
    }

    #[test]
    fn a_short_row_leaves_its_last_cells_empty() {
        let mut table = Table::default();
        table.row(["a", "b", "c"]);
        table.row(["d"]);
        assert_eq!(table.to_string(), "a  b  c\nd\n");
    }

    #[test]
    fn markdown_has_a_rule_and_every_cell() {
        let mut table = Table::new(["a|b", "c"]);
        table.row(["1"]);
        assert_eq!(
            table.markdown(),
            "| a\\|b | c |\n| --- | ---: |\n| 1 |  |\n"
        );
    }

    #[test]
    fn counts_and_ratios_read_as_people_write_them() {
        assert_eq!(whole(7), "7");
        assert_eq!(whole(23_860), "23,860");
        assert_eq!(whole(1_234_567_890_123), "1.23e12");
        assert_eq!(times(2.021), "2.02");
        assert_eq!(times(11_830.4), "11,830");
        assert_eq!(times(258.9), "259");
        assert_eq!(times(0.004), "4.0e-3");
    }

    #[test]
    fn labels_and_values_line_up() {
        let text = list(&[("a", "1".to_owned()), ("long", "2".to_owned())]);
        assert_eq!(text, "a     1\nlong  2\n");
    }

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!(percent(Some(0.98125)), "98.12 %");
        assert_eq!(percent(None), "–");
        assert_eq!(loss(Some(0.08125)), "0.08125");
        assert_eq!(loss(Some(123.456)), "123.456");
        assert_eq!(loss(Some(1.5e-7)), "1.5000e-7");
        assert_eq!(loss(Some(f64::NAN)), "NaN");
        assert_eq!(duration(9.41e-6), "9.41 µs");
        assert_eq!(figure(-0.265_290_3), "-0.265290");
        assert_eq!(figure(6500.0), "6500.00");
        assert_eq!(figure(6.5e7), "6.50000e7");
        assert_eq!(figure(0.0), "0");
        assert_eq!(rough(3.6e-6), "4e-6");
        assert_eq!(rough(0.0), "0");
        assert_eq!(duration(0.001_234), "1.23 ms");
        assert_eq!(duration(0.4304), "430 ms");
        assert_eq!(duration(4.2), "4.20 s");
        assert_eq!(duration(185.0), "3 min 05 s");
        assert_eq!(duration(7620.0), "2 h 07 min");
        assert_eq!(duration(f64::NAN), "–");
    }
}
