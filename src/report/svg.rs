//! A figure as a self-contained static SVG picture: title, axes, series and legend.
//!
//! Colors are given as attributes, which a page's style sheet overrides through the classes
//! `c0` … `c7`, `ink`, `faint` and `paper`. So the same picture suits paper, a separate file, and a
//! page in dark mode.

use maud::{Markup, html};

use super::figure::{Axis, AxisUnit, Figure, Mark, Series, written};
use super::ticks::Ticks;
use crate::text::plain;

/// The colors of the series, distinguishable for most people with a color vision deficiency (after
/// Okabe and Ito, 2008, darkened for paper); the same as on the page in light mode.
pub const COLORS: [&str; 8] = [
    "#0072b2", "#c24e00", "#00805c", "#b0497f", "#8a6d00", "#2b84c4", "#6b5bb5", "#5c5c5c",
];
pub(super) const INK: &str = "#1d2430";
pub(super) const FAINT: &str = "#d5dae1";
pub(super) const PAPER: &str = "#ffffff";

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 340.0;
/// Margins around the plot area: left, top, right, bottom.
const MARGINS: [f64; 4] = [72.0, 40.0, 20.0, 52.0];
/// Height of a line of the legend.
const LEGEND_LINE: f64 = 18.0;
/// Maximum number of characters of a label.
const MAX_LABEL: usize = 44;

/// Draws a figure as SVG.
pub fn draw(figure: &Figure) -> Markup {
    let shown: Vec<&Series> = figure.series.iter().filter(|series| series.shown).collect();
    let points = || shown.iter().flat_map(|series| series.points.iter());
    let across = PixelScale::new(
        points().map(|point| point.0),
        &figure.x,
        [MARGINS[0], WIDTH - MARGINS[2]],
    );
    let up = PixelScale::new(
        points().map(|point| point.1),
        &figure.y,
        [HEIGHT - MARGINS[3], MARGINS[1]],
    );
    let shown_of = |group: &Vec<&Series>| group.iter().any(|series| series.shown);
    let mut groups = figure.groups();
    groups.retain(|(_, group)| shown_of(group));
    let columns = 2;
    let legend = LEGEND_LINE * groups.len().div_ceil(columns) as f64;
    let height = HEIGHT + legend + 8.0;
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {height}"))
            width=(WIDTH) height=(height)
            role="img" font-family="system-ui, sans-serif" font-size="12" {
            title { (plain(&figure.alternative())) }
            rect class="paper" width=(WIDTH) height=(height) fill=(PAPER) {}
            text class="ink" x=(MARGINS[0]) y="22" font-size="15" font-weight="600" fill=(INK) {
                (plain(&figure.title))
            }
            @for &mark in &across.ticks.marks {
                @let x = coordinate(across.position(mark));
                line class="faint" x1=(x) x2=(x) y1=(MARGINS[1]) y2=(HEIGHT - MARGINS[3]) stroke=(FAINT) {}
                text class="ink" x=(x) y=(HEIGHT - MARGINS[3] + 17.0) text-anchor="middle" fill=(INK) {
                    (written(mark, figure.x.unit))
                }
            }
            @for &mark in &up.ticks.marks {
                @let y = coordinate(up.position(mark));
                line class="faint" x1=(MARGINS[0]) x2=(WIDTH - MARGINS[2]) y1=(y) y2=(y) stroke=(FAINT) {}
                text class="ink" x=(MARGINS[0] - 7.0) y=(y) dy="4" text-anchor="end" fill=(INK) {
                    (written(mark, figure.y.unit))
                }
            }
            text class="ink" x=(f64::midpoint(MARGINS[0], WIDTH - MARGINS[2])) y=(HEIGHT - 14.0)
                text-anchor="middle" fill=(INK) { (plain(&figure.x.label)) }
            text class="ink" transform=(format!("translate(15 {}) rotate(-90)", f64::midpoint(MARGINS[1], HEIGHT - MARGINS[3])))
                text-anchor="middle" fill=(INK) { (plain(&figure.y.label)) }
            @for series in &shown { (draw_series(series, &across, &up)) }
            @for (place, (name, group)) in groups.iter().enumerate() {
                @let x = MARGINS[0] + (WIDTH - MARGINS[0]) / columns as f64 * (place % columns) as f64;
                @let y = HEIGHT + 6.0 + LEGEND_LINE * (place / columns) as f64;
                @for series in group { (legend_sample(series, x, y)) }
                text class="ink" x=(x + 32.0) y=(y + 4.0) fill=(INK) { (plain(&shorten(name))) }
            }
        }
    }
}

/// Draws a series in the plot area.
fn draw_series(series: &Series, across: &PixelScale, up: &PixelScale) -> Markup {
    let points: Vec<(String, String)> = (series.points.iter())
        .map(|&(x, y)| (coordinate(across.position(x)), coordinate(up.position(y))))
        .collect();
    let line: Vec<String> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
    let color = series.color % COLORS.len();
    // Dots on more than about a hundred points would merge into a thick line.
    let dots = match series.mark {
        Mark::Dots => true,
        Mark::LineAndDots => points.len() <= 120,
        // A single point makes no line, so it gets a dot.
        Mark::Dashed => points.len() == 1,
    };
    html! {
        @if series.mark != Mark::Dots {
            polyline class=(format!("c{color}")) points=(line.join(" ")) fill="none" stroke=(COLORS[color])
                stroke-width="1.8" stroke-dasharray=[dash(series)] {}
        }
        @if dots {
            @for (x, y) in &points {
                circle class=(format!("c{color}")) cx=(x) cy=(y) r="2.8" fill=(COLORS[color]) stroke="none" {}
            }
        }
    }
}

/// Draws the sample of a series for the legend.
fn legend_sample(series: &Series, x: f64, y: f64) -> Markup {
    let color = series.color % COLORS.len();
    html! {
        @if series.mark != Mark::Dots {
            line class=(format!("c{color}")) x1=(x) x2=(x + 26.0) y1=(y) y2=(y) stroke=(COLORS[color])
                stroke-width="1.8" stroke-dasharray=[dash(series)] {}
        }
        @if series.mark != Mark::Dashed {
            circle class=(format!("c{color}")) cx=(x + 13.0) cy=(y) r="2.8" fill=(COLORS[color]) stroke="none" {}
        }
    }
}

/// Returns the dash pattern: dashes for predictions, and dots for measurements whose color is used
/// a second time.
fn dash(series: &Series) -> Option<&'static str> {
    match series.mark {
        Mark::Dashed => Some("6 4"),
        _ if series.color >= COLORS.len() => Some("2 3"),
        _ => None,
    }
}

/// Shortens a long label by leaving out its middle.
pub(super) fn shorten(label: &str) -> String {
    let letters: Vec<char> = label.chars().collect();
    if letters.len() <= MAX_LABEL {
        return label.to_owned();
    }
    let part = |letters: &[char]| letters.iter().collect::<String>();
    let half = (MAX_LABEL - 1) / 2;
    format!(
        "{}…{}",
        part(&letters[..half]),
        part(&letters[letters.len() - half..])
    )
}

/// Formats a coordinate with at most one decimal.
pub(super) fn coordinate(position: f64) -> String {
    let text = format!("{position:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// The map from the values of an axis to pixel positions.
struct PixelScale {
    ticks: Ticks,
    logarithmic: bool,
    /// The positions of the first and the last value.
    ends: [f64; 2],
}

impl PixelScale {
    fn new(values: impl Iterator<Item = f64>, axis: &Axis, ends: [f64; 2]) -> Self {
        let least = if axis.unit == AxisUnit::Whole {
            1.0
        } else {
            0.0
        };
        let mut most = 0.0_f64;
        let values = values.inspect(|value| most = most.max(*value));
        let mut ticks = Ticks::over(values, axis.logarithmic, least);
        if axis.unit == AxisUnit::Fraction && most <= 1.0 {
            ticks.end_at(1.0);
        }
        Self {
            ticks,
            logarithmic: axis.logarithmic,
            ends,
        }
    }

    /// Returns the position of `value`.
    fn position(&self, value: f64) -> f64 {
        let measure = |value: f64| if self.logarithmic { value.ln() } else { value };
        let [low, high] = self.ticks.range.map(measure);
        let share = (measure(value) - low) / (high - low);
        self.ends[0] + share * (self.ends[1] - self.ends[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_within_the_frame_and_text_is_escaped() {
        let series = vec![
            Series::new(
                "</text><script>",
                Mark::LineAndDots,
                0,
                [(1.0, 0.5), (9.0, 700.0)],
            ),
            Series::new("b", Mark::Dashed, 9, [(1.0, 1.0), (2.0, 2.0)]),
        ];
        let axes = [Axis::new("x"), Axis::new("y").logarithmic()];
        let svg = draw(&Figure::new("<t>", "", axes, series)).into_string();
        assert!(!svg.contains("<script>") && svg.contains("&lt;/text&gt;&lt;script&gt;"));
        assert_eq!(svg.matches("<circle").count(), 2 + 1);
        for part in svg.split("cx=\"").skip(1) {
            let x: f64 = part.split('"').next().unwrap().parse().unwrap();
            assert!((MARGINS[0]..=WIDTH - MARGINS[2]).contains(&x), "{x}");
        }
    }

    #[test]
    fn long_labels_lose_their_middle() {
        assert_eq!(shorten("short"), "short");
        let label = shorten(&"n".repeat(10_000));
        assert_eq!(label.chars().count(), MAX_LABEL - 1);
        assert!(label.contains('…'));
    }
}
