//! Tables on a page, which fit its window: cells may wrap at some places, and where that is not
//! enough, each row becomes a block of labeled values.
//!
//! The width that a table needs at least is estimated from its text. The style sheet stacks a table
//! in a box narrower than its bracket, without any script.

use maud::{Markup, html};

use super::figure::Figure;
use crate::study::table::Table;
use crate::text::plain;

/// Maximum number of rows of a figure's table; the files have all of them.
const MAX_ROWS: usize = 200;
/// Maximum number of series that are columns of a figure's table.
const MAX_SERIES: usize = 3;
/// Maximum number of x that are columns of a figure's table, where the series are its rows.
const MAX_ABSCISSAS: usize = 4;
/// The classes of tables that need at most so many pixels; they are stacked in narrower boxes.
const BRACKETS: [(f64, &str); 3] = [
    (350.0, "narrow-table"),
    (720.0, "medium"),
    (1230.0, "wide-table"),
];
/// The class of wider tables, which are always stacked.
const WIDEST: &str = "widest";
/// Estimated pixels of the space around a cell.
const SPACE: f64 = 16.0;
/// Width of the header's letters, relative to others.
const BOLD: f64 = 1.1;
/// A cell of at most so many characters does not break after a slash.
const SHORT: usize = 12;
/// A cell of more characters may break anywhere.
const LONG: usize = 40;
/// The least width of a long cell, as in the style sheet.
const LONG_WIDTH: f64 = 144.0;

/// Renders a table; the first column has the row headers.
pub fn table(caption: &str, data: &Table) -> Markup {
    let labels = labels(data.header());
    html! {
        div.scroll tabindex="0" role="region" aria-label=(plain(caption)) {
            table class=(bracket(data)) role="table" {
                caption { (plain(caption)) }
                @if !data.header().is_empty() {
                    thead role="rowgroup" {
                        tr role="row" {
                            @for cell in data.header() { th scope="col" role="columnheader" { (breakable(cell)) } }
                        }
                    }
                }
                tbody role="rowgroup" {
                    @for row in data.rows() {
                        tr role="row" {
                            @for (column, cell) in row.iter().enumerate() {
                                @let long = (cell.chars().count() > LONG).then_some("long");
                                @if column == 0 {
                                    // A number alone does not say what it counts.
                                    @let label = labels.first().filter(|_| cell.parse::<f64>().is_ok());
                                    th scope="row" role="rowheader" class=[long] data-label=[label] { bdi { (breakable(cell)) } }
                                }
                                @else {
                                    td role="cell" class=[long] data-label=[labels.get(column)] { bdi { (breakable(cell)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Returns the label of each column in a stacked row. A quotient is named with the column before
/// it that it is a quotient of.
fn labels(header: &[String]) -> Vec<String> {
    let mut base = "";
    let mut labels = Vec::new();
    for name in header {
        if name.starts_with('÷') {
            labels.push(plain(&format!("{base} {name}")).into_owned());
        } else {
            base = name;
            labels.push(plain(name).into_owned());
        }
    }
    labels
}

/// Returns the class of the width that a table needs at least.
fn bracket(data: &Table) -> &'static str {
    let longest = |cell: &String| pieces(cell).into_iter().map(pixels).fold(0.0, f64::max);
    let column = |column: usize| {
        let cells = data.rows().iter().filter_map(|row| row.get(column));
        let cells = cells.map(|cell| match cell.chars().count() > LONG {
            true => LONG_WIDTH,
            false => longest(cell),
        });
        let header = data.header().get(column).map_or(0.0, longest);
        cells.fold(BOLD * header, f64::max) + SPACE
    };
    let columns = data.rows().iter().map(Vec::len).max().unwrap_or(0);
    let needed: f64 = (0..columns.max(data.header().len())).map(column).sum();
    BRACKETS
        .iter()
        .find(|(most, _)| needed <= *most)
        .map_or(WIDEST, |(_, class)| *class)
}

/// Estimates the width of a text in a wide font.
fn pixels(text: &str) -> f64 {
    let letter = |letter: char| match letter {
        ' ' | '.' | ',' | ':' | ';' | '/' | '(' | ')' | '-' | '\'' | 'i' | 'j' | 'l' | 't'
        | 'f' | 'r' => 5.6,
        letter if letter.is_ascii_digit() => 8.8,
        letter if letter.is_ascii_lowercase() => 8.2,
        _ => 10.5,
    };
    text.chars().map(letter).sum()
}

/// Splits a cell where its line may break: after a slash or a comma, before a parenthesis, and in a
/// text at each space. A number stays with its unit.
fn pieces(cell: &str) -> Vec<&str> {
    let letters = cell.chars().filter(|letter| letter.is_alphabetic()).count();
    let is_text = 2 * letters > cell.chars().count();
    let mut pieces = Vec::new();
    let mut start = 0;
    let places = cell.char_indices().zip(cell.char_indices().skip(1));
    for ((_, letter), (next, following)) in places {
        let breaks = match letter {
            '/' => following.is_alphabetic() && cell.chars().count() > SHORT,
            ',' => following == ' ',
            ' ' => is_text || following == '(',
            _ => false,
        };
        if breaks {
            pieces.push(&cell[start..next]);
            start = next;
        }
    }
    pieces.push(&cell[start..]);
    pieces
}

/// Renders a cell that may break between its pieces, and nowhere else; a long cell may anywhere.
fn breakable(cell: &str) -> Markup {
    if cell.chars().count() > LONG {
        return html! { (plain(cell)) };
    }
    html! {
        @for (at, piece) in pieces(cell).into_iter().enumerate() {
            @if at > 0 { wbr; }
            span { (plain(piece.trim_end())) }
            @if piece.ends_with(' ') { " " }
        }
    }
}

/// Formats a number exactly, and short.
fn exact(number: f64) -> String {
    let text = format!("{number:?}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Renders the numbers of a figure: few series as columns over x, or few x as columns over the
/// series, or a row for each point.
pub(super) fn numbers(figure: &Figure) -> Markup {
    let xs = figure.abscissas();
    let at = |series: &super::figure::Series, x: f64| {
        let point = series.points.iter().find(|point| point.0 == x);
        point.map_or(String::new(), |point| exact(point.1))
    };
    let (data, all) = if figure.series.len() <= MAX_SERIES {
        let labels = figure.series.iter().map(|series| series.label.clone());
        let mut data = Table::new(std::iter::once(figure.x.label.clone()).chain(labels));
        for &x in xs.iter().take(MAX_ROWS) {
            let cells = figure.series.iter().map(|series| at(series, x));
            data.row(std::iter::once(exact(x)).chain(cells));
        }
        (data, xs.len())
    } else if xs.len() <= MAX_ABSCISSAS {
        let header = xs
            .iter()
            .map(|&x| format!("{} {}", figure.x.label, exact(x)));
        let mut data = Table::new(std::iter::once(figure.y.label.clone()).chain(header));
        for series in figure.series.iter().take(MAX_ROWS) {
            let cells = xs.iter().map(|&x| at(series, x));
            data.row(std::iter::once(series.label.clone()).chain(cells));
        }
        (data, figure.series.len())
    } else {
        let mut data = Table::new(["series", &figure.x.label, &figure.y.label]);
        let points = figure.series.iter().flat_map(|series| {
            let points = series.points.iter();
            points.map(|&(x, y)| [series.label.clone(), exact(x), exact(y)])
        });
        let all = points.clone().count();
        points.take(MAX_ROWS).for_each(|row| data.row(row));
        (data, all)
    };
    html! {
        (table(&figure.title, &data))
        @if all > MAX_ROWS {
            p.note { "The first " (MAX_ROWS) " of " (all) " rows; the files have all of them." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_breaks_between_words_and_not_within_a_number() {
        assert_eq!(
            pieces("98.89 % (97.78 … 99.44)"),
            ["98.89 % ", "(97.78 … 99.44)"]
        );
        assert_eq!(pieces("6.51e7 / 6.07e7"), ["6.51e7 / 6.07e7"]);
        assert_eq!(
            pieces("forward-difference/cancellation-free"),
            ["forward-difference/", "cancellation-free"]
        );
        assert_eq!(pieces("1,234 µs"), ["1,234 µs"]);
    }

    #[test]
    fn a_wide_table_has_a_wide_bracket_and_quotients_name_their_column() {
        let mut data = Table::new(["method", "dense", "÷ forward", "performed", "÷ forward"]);
        data.row(["backprop", "504,171", "2.12", "165,870", "3.70"]);
        assert_eq!(bracket(&data), "medium");
        assert_eq!(labels(data.header())[2], "dense ÷ forward");
        assert_eq!(labels(data.header())[4], "performed ÷ forward");
        let mut small = Table::default();
        small.row(["seed", "1"]);
        assert_eq!(bracket(&small), "narrow-table");
        let many = Table::new((0..40).map(|column| format!("column-{column}")));
        assert_eq!(bracket(&many), WIDEST);
    }

    #[test]
    fn numbers_are_exact() {
        assert_eq!(exact(3.0), "3");
        assert_eq!(exact(0.1), "0.1");
        assert_eq!(exact(1e-300), "1e-300");
    }
}
