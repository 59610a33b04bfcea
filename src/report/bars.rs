//! Horizontal bars on a logarithmic axis: a few quantities of each of many methods.
//!
//! A picture is drawn twice, for wide and for narrow windows, since one that is scaled down cannot
//! be read; the style sheet shows one of them.

use maud::{Markup, html};

use super::figure::{AxisUnit, written};
use super::svg::{COLORS, FAINT, INK, PAPER, coordinate, shorten};
use super::ticks::Ticks;
use crate::study::table::Table;
use crate::text::plain;

/// Height of a bar and of the space between two groups, in pixels.
const BAR: f64 = 13.0;
const GAP: f64 = 9.0;
/// Height of the title and of the legend.
const HEAD: [f64; 2] = [34.0, 20.0];
/// Width of the value behind a bar.
const VALUE: f64 = 74.0;

/// A figure of bars.
#[derive(Clone, Debug, PartialEq)]
pub struct Bars {
    /// Its heading.
    pub title: String,
    /// The explanation below the heading.
    pub caption: String,
    /// The unit of the values.
    pub unit: AxisUnit,
    /// The names of the quantities, a bar for each of them in a group.
    pub quantities: Vec<String>,
    /// The name of each group, and its quantities, from the smallest first quantity to the largest.
    pub groups: Vec<(String, Vec<Option<f64>>)>,
}

impl Bars {
    /// Creates a figure of `groups`, ordered by their first known quantity. Values that a
    /// logarithmic axis cannot show, and groups and quantities without values, are left out.
    pub fn new(
        title: impl Into<String>,
        caption: impl Into<String>,
        unit: AxisUnit,
        quantities: &[&str],
        groups: Vec<(String, Vec<Option<f64>>)>,
    ) -> Self {
        let drawable = |value: &f64| (1e-300..=1e300).contains(value);
        let shown: Vec<usize> = (0..quantities.len())
            .filter(|&at| {
                groups
                    .iter()
                    .any(|(_, values)| values[at].is_some_and(|v| drawable(&v)))
            })
            .collect();
        let mut groups: Vec<(String, Vec<Option<f64>>)> = groups
            .into_iter()
            .map(|(name, values)| {
                let values = shown.iter().map(|&at| values[at].filter(drawable));
                (name, values.collect())
            })
            .filter(|(_, values): &(_, Vec<Option<f64>>)| values.iter().any(Option::is_some))
            .collect();
        let first = |values: &[Option<f64>]| values.iter().flatten().copied().next();
        groups.sort_by(|a, b| {
            f64::total_cmp(&first(&a.1).unwrap_or(0.0), &first(&b.1).unwrap_or(0.0))
        });
        Self {
            title: title.into(),
            caption: caption.into(),
            unit,
            quantities: shown.iter().map(|&at| quantities[at].to_owned()).collect(),
            groups,
        }
    }

    /// Returns the values as a table.
    pub fn numbers(&self) -> Table {
        let header = std::iter::once("method").chain(self.quantities.iter().map(String::as_str));
        let mut table = Table::new(header);
        for (name, values) in &self.groups {
            let cells = values
                .iter()
                .map(|value| value.map_or("–".to_owned(), |value| value.to_string()));
            table.row(std::iter::once(name.clone()).chain(cells));
        }
        table
    }

    /// Draws the bars as SVG: beside their names (`wide`) or below them; with the title if it is
    /// `titled`, as a separate file is.
    ///
    /// # Panics
    /// If there are no bars.
    pub fn draw(&self, wide: bool, titled: bool) -> Markup {
        let values = self
            .groups
            .iter()
            .flat_map(|(_, values)| values.iter().flatten().copied());
        let ticks = Ticks::over(values, true, 0.0);
        let width = if wide { 860.0 } else { 340.0 };
        let left = if wide { 250.0 } else { 10.0 };
        let right = width - VALUE;
        let [low, high] = ticks.range.map(f64::ln);
        // A bar begins a little before the axis does, so that the smallest one is seen.
        let x =
            |value: f64| left + (0.04 + 0.96 * (value.ln() - low) / (high - low)) * (right - left);
        let label = if wide { 0.0 } else { 16.0 };
        let group = label + BAR * self.quantities.len() as f64 + GAP;
        let legend = if titled { HEAD[0] } else { 4.0 };
        let top = legend + HEAD[1];
        let bottom = top + group * self.groups.len() as f64;
        let height = bottom + 26.0;
        let every = ticks.marks.len().div_ceil(if wide { 12 } else { 5 });
        html! {
            svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {height}"))
                width=(width) height=(height) role="img" font-family="system-ui, sans-serif" font-size="12" {
                title { (plain(&self.alternative())) }
                rect class="paper" width=(width) height=(height) fill=(PAPER) {}
                @if titled {
                    text class="ink" x="10" y="20" font-size="15" font-weight="600" fill=(INK) { (plain(&self.title)) }
                }
                @for (at, name) in self.quantities.iter().enumerate() {
                    @let start = left + 150.0 * at as f64;
                    rect class=(format!("c{at}")) x=(start) y=(legend) width="12" height="12" rx="2" fill=(COLORS[at]) {}
                    text class="ink" x=(start + 18.0) y=(legend + 10.5) fill=(INK) { (plain(name)) }
                }
                @for mark in ticks.marks.iter().step_by(every) {
                    @let at = coordinate(x(*mark));
                    line class="faint" x1=(at) x2=(at) y1=(top) y2=(bottom) stroke=(FAINT) {}
                    text class="ink" x=(at) y=(bottom + 16.0) text-anchor="middle" fill=(INK) { (written(*mark, self.unit)) }
                }
                @for (place, (name, values)) in self.groups.iter().enumerate() {
                    @let y = top + group * place as f64 + GAP / 2.0;
                    @if wide {
                        text class="ink" x=(left - 8.0) y=(coordinate(y + (group - GAP) / 2.0 + 4.0)) text-anchor="end" fill=(INK) {
                            (plain(&shorten(name)))
                        }
                    } @else {
                        text class="ink" x=(left) y=(coordinate(y + 11.0)) fill=(INK) { (plain(&shorten(name))) }
                    }
                    @for (at, value) in values.iter().enumerate() {
                        @if let Some(value) = value {
                            @let y = y + label + BAR * at as f64;
                            @let end = x(*value);
                            rect class=(format!("c{at}")) x=(left) y=(coordinate(y + 0.5)) width=(coordinate(end - left))
                                height=(BAR - 1.0) rx="2" fill=(COLORS[at]) {}
                            text class="ink" x=(coordinate(end + 5.0)) y=(coordinate(y + 10.5)) font-size="11" fill=(INK) {
                                (written(rounded(*value), self.unit))
                            }
                        }
                    }
                }
            }
        }
    }

    /// Describes the figure in a sentence, for readers who cannot see it.
    fn alternative(&self) -> String {
        let first = self.groups.first().map_or("", |(name, _)| name);
        let last = self.groups.last().map_or("", |(name, _)| name);
        format!(
            "{}: {} of {} methods, from {first} to {last}.",
            self.title,
            self.quantities.join(" and "),
            self.groups.len()
        )
    }
}

/// Rounds a value to three significant digits, as a bar can show them.
fn rounded(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_ordered_within_the_frame_and_quantities_without_values_are_left_out() {
        let groups = vec![
            ("slow".to_owned(), vec![Some(1e6), None, Some(f64::NAN)]),
            ("fast".to_owned(), vec![Some(3.0), Some(2.0), None]),
            ("none".to_owned(), vec![None, Some(0.0), None]),
        ];
        let bars = Bars::new("t", "", AxisUnit::Number, &["a", "b", "c"], groups);
        assert_eq!(bars.quantities, ["a", "b"]);
        let names: Vec<&str> = bars.groups.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["fast", "slow"]);
        for wide in [true, false] {
            let svg = bars.draw(wide, true).into_string();
            assert_eq!(
                svg.matches("<rect class=\"c").count(),
                3 + 2,
                "bars and legend"
            );
            let frame = if wide { 860.0 } else { 340.0 };
            for part in svg.split("width=\"").skip(1) {
                let width: f64 = part.split('"').next().unwrap().parse().unwrap();
                assert!((0.0..=frame).contains(&width), "{width}");
            }
        }
    }
}
