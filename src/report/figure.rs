//! A figure: series of points over two axes.
//!
//! It is drawn twice from the same numbers: as a static picture (`svg.rs`) and, where scripts run,
//! as an interactive plot that can be zoomed and read value by value.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::numeric::statistics;

/// Maximum number of points of a series on a page; a longer series keeps the lowest and the highest
/// point of each interval.
pub const MAX_POINTS: usize = 4_000;

/// Magnitudes that an axis can show: beyond them the computation of its ticks overflows or
/// underflows.
const DRAWABLE: std::ops::Range<f64> = 1e-300..1e300;

/// The unit of an axis, which decides how its numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisUnit {
    /// A plain number.
    Number,
    /// A whole number: no ticks between whole numbers.
    Whole,
    /// A fraction, written in percent.
    Fraction,
    /// Seconds, written with a prefix.
    Seconds,
}

/// An axis of a figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// The quantity that it shows.
    pub label: String,
    /// The unit, which decides how its numbers are written.
    pub unit: AxisUnit,
    /// True if the axis is logarithmic; points at or below 0 are then left out and counted.
    pub logarithmic: bool,
}

impl Axis {
    /// Creates a linear axis of plain numbers.
    pub fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            unit: AxisUnit::Number,
            logarithmic: false,
        }
    }

    /// Sets the unit.
    #[must_use]
    pub fn with_unit(mut self, unit: AxisUnit) -> Self {
        self.unit = unit;
        self
    }

    /// Makes the axis logarithmic.
    #[must_use]
    pub fn logarithmic(mut self) -> Self {
        self.logarithmic = true;
        self
    }

    fn value(&self) -> Value {
        let unit = match self.unit {
            AxisUnit::Number => "number",
            AxisUnit::Whole => "whole",
            AxisUnit::Fraction => "fraction",
            AxisUnit::Seconds => "seconds",
        };
        json!({"label": self.label, "unit": unit, "log": self.logarithmic})
    }
}

/// The way a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Points joined by lines: measurements in order.
    LineAndDots,
    /// Points alone.
    Dots,
    /// A dashed line: a prediction, an ideal, a law.
    Dashed,
}

/// A series of points.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The name of the series.
    pub label: String,
    /// The legend entry, which shows and hides all series of the group together.
    pub group: String,
    /// Its points, with the values of the file.
    pub points: Vec<(f64, f64)>,
    /// The way it is drawn.
    pub mark: Mark,
    /// The index of its color; series that belong together share one.
    pub color: usize,
    /// True if it is drawn initially.
    pub shown: bool,
}

impl Series {
    /// Creates a series that is shown initially, in a group of the same name.
    pub fn new(
        label: impl Into<String>,
        mark: Mark,
        color: usize,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        let label = label.into();
        Self {
            group: label.clone(),
            label,
            points: points.into_iter().collect(),
            mark,
            color,
            shown: true,
        }
    }

    /// Puts the series into `group`: series that belong together for a reader, such as measured and
    /// predicted values of one method.
    #[must_use]
    pub fn in_group(mut self, group: &str) -> Self {
        group.clone_into(&mut self.group);
        self
    }

    /// Shows the series initially only if `when` is true.
    #[must_use]
    pub fn shown_if(mut self, when: bool) -> Self {
        self.shown = when;
        self
    }
}

/// A figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its heading.
    pub title: String,
    /// The explanation below the heading.
    pub caption: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The series to draw.
    pub series: Vec<Series>,
    /// Notes on points that are not drawn.
    pub notes: Vec<String>,
}

impl Figure {
    /// Creates a figure of `series`. Points that an axis cannot show are removed, and long series
    /// are thinned; notes say so.
    pub fn new(
        title: impl Into<String>,
        caption: impl Into<String>,
        [x, y]: [Axis; 2],
        series: Vec<Series>,
    ) -> Self {
        let mut figure = Self {
            title: title.into(),
            caption: caption.into(),
            x,
            y,
            series,
            notes: Vec::new(),
        };
        figure.remove_undrawable();
        figure.thin();
        figure.series.retain(|series| !series.points.is_empty());
        if !figure.series.iter().any(|series| series.shown) {
            for series in &mut figure.series {
                series.shown = true;
            }
        }
        figure
    }

    /// Returns true if there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    fn remove_undrawable(&mut self) {
        let drawable_on = |axis: &Axis, value: f64| {
            let drawable = value == 0.0 || DRAWABLE.contains(&value.abs());
            drawable && !(axis.logarithmic && value <= 0.0)
        };
        let (x, y) = (self.x.clone(), self.y.clone());
        let mut missing = 0;
        for series in &mut self.series {
            let before = series.points.len();
            series
                .points
                .retain(|point| drawable_on(&x, point.0) && drawable_on(&y, point.1));
            missing += before - series.points.len();
        }
        if missing > 0 {
            let reason = if x.logarithmic || y.logarithmic {
                "a logarithmic axis shows only numbers from 1e-300 to 1e300"
            } else {
                "an axis shows only 0 and magnitudes from 1e-300 to 1e300"
            };
            let count = match missing {
                1 => "1 point is".to_owned(),
                more => format!("{more} points are"),
            };
            self.notes.push(format!("{count} not drawn: {reason}."));
        }
    }

    fn thin(&mut self) {
        let (mut whole, mut kept) = (0, 0);
        for series in &mut self.series {
            if series.points.len() > MAX_POINTS {
                whole += series.points.len();
                series.points = thinned(&series.points, MAX_POINTS);
                kept += series.points.len();
            }
        }
        if whole > 0 {
            self.notes.push(format!(
                "Drawn: {kept} of {whole} points, the lowest and the highest of each interval; the files have all of them."
            ));
        }
    }

    /// Returns the groups with their series, in the order of first appearance.
    pub fn groups(&self) -> Vec<(&str, Vec<&Series>)> {
        let mut groups: Vec<(&str, Vec<&Series>)> = Vec::new();
        for series in &self.series {
            match groups.iter_mut().find(|(group, _)| *group == series.group) {
                Some((_, members)) => members.push(series),
                None => groups.push((&series.group, vec![series])),
            }
        }
        groups
    }

    /// Returns the distinct x of all series, ascending.
    pub fn abscissas(&self) -> Vec<f64> {
        // All numbers are finite, so integers made of their bits, with the sign folded in, have the
        // same order.
        let ordered = |x: f64| {
            let bits = (x + 0.0).to_bits();
            if bits >> 63 == 1 {
                !bits
            } else {
                bits | 1 << 63
            }
        };
        let points = self.series.iter().flat_map(|series| &series.points);
        let keys: BTreeSet<u64> = points.map(|point| ordered(point.0)).collect();
        let number = |key: u64| {
            f64::from_bits(if key >> 63 == 1 {
                key & !(1 << 63)
            } else {
                !key
            })
        };
        keys.into_iter().map(number).collect()
    }

    /// Returns the data of the figure for the script: `xs`, and for each series a value or `null`
    /// at each x.
    pub fn value(&self) -> Value {
        let xs = self.abscissas();
        let series: Vec<Value> = (self.series.iter())
            .map(|series| {
                let mut ys = vec![Value::Null; xs.len()];
                for &(x, y) in &series.points {
                    let at = xs.partition_point(|&other| other < x);
                    ys[at] = json!(y);
                }
                json!({
                    "label": series.label,
                    "group": series.group,
                    "mark": match series.mark {
                        Mark::LineAndDots => "line",
                        Mark::Dots => "dots",
                        Mark::Dashed => "dashed",
                    },
                    "color": series.color,
                    "shown": series.shown,
                    "y": ys,
                })
            })
            .collect();
        json!({
            "title": self.title,
            "x": self.x.value(),
            "y": self.y.value(),
            "xs": xs,
            "series": series,
        })
    }

    /// Describes the figure in a sentence, for readers who cannot see it.
    pub fn alternative(&self) -> String {
        let range = |axis: &Axis, of: &dyn Fn(&(f64, f64)) -> f64| {
            let points = self.series.iter().flat_map(|series| &series.points);
            let none = [f64::INFINITY, f64::NEG_INFINITY];
            let [low, high] =
                statistics::range(&points.map(of).collect::<Vec<f64>>()).unwrap_or(none);
            format!(
                "{} from {} to {}",
                axis.label,
                written(low, axis.unit),
                written(high, axis.unit)
            )
        };
        format!(
            "{}: {} against {}; {} series: {}.",
            self.title,
            range(&self.y, &|point| point.1),
            range(&self.x, &|point| point.0),
            self.series.len(),
            self.series
                .iter()
                .map(|series| series.label.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        )
    }
}

/// Returns at most `most` of `points`, in order: the first, the last, and the lowest and the
/// highest of each interval between them, so that no peak is lost.
fn thinned(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let intervals = (most - 2) / 2;
    let inner = &points[1..points.len() - 1];
    let mut kept = vec![points[0]];
    for interval in 0..intervals {
        let part =
            &inner[interval * inner.len() / intervals..(interval + 1) * inner.len() / intervals];
        let order = |a: &usize, b: &usize| part[*a].1.total_cmp(&part[*b].1);
        let (Some(low), Some(high)) =
            ((0..part.len()).min_by(order), (0..part.len()).max_by(order))
        else {
            continue;
        };
        kept.push(part[low.min(high)]);
        if low != high {
            kept.push(part[low.max(high)]);
        }
    }
    kept.push(points[points.len() - 1]);
    kept
}

/// Formats a value for an axis, with few digits.
pub fn written(value: f64, unit: AxisUnit) -> String {
    match unit {
        AxisUnit::Fraction => format!("{} %", short(100.0 * value)),
        AxisUnit::Number | AxisUnit::Whole => short(value),
        AxisUnit::Seconds => {
            let prefixes = [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")];
            let fits = |(size, _): &&(f64, &str)| value.abs() >= 0.999_999 * size;
            let (size, prefix) = prefixes.iter().find(fits).unwrap_or(&(1.0, "s"));
            format!("{} {prefix}", short(value / size))
        }
    }
}

/// Formats a number with at most six significant digits and no trailing zeros; below 1e-3 and from
/// 1e6 on in exponential notation.
fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs();
    if !(1e-3..1e6).contains(&size) {
        let text = format!("{value:.2e}");
        let Some((digits, power)) = text.split_once('e') else {
            return text;
        };
        let digits = digits.trim_end_matches('0').trim_end_matches('.');
        return format!("{digits}e{power}");
    }
    let before = size.log10().floor() as i32;
    let decimals = usize::try_from(5 - before).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes() -> [Axis; 2] {
        [Axis::new("x"), Axis::new("y")]
    }

    #[test]
    fn undrawable_points_are_removed_and_counted() {
        let points = [(1.0, 0.0), (2.0, f64::NAN), (3.0, 5.0)];
        let series = || vec![Series::new("a", Mark::Dots, 0, points)];
        let [x, y] = axes();
        let linear = Figure::new("t", "", [x.clone(), y.clone()], series());
        assert_eq!(linear.series[0].points.len(), 2);
        assert_eq!(
            linear.notes,
            ["1 point is not drawn: an axis shows only 0 and magnitudes from 1e-300 to 1e300."]
        );
        let logarithmic = Figure::new("t", "", [x, y.logarithmic()], series());
        assert_eq!(logarithmic.series[0].points, [(3.0, 5.0)]);
        assert!(logarithmic.notes[0].starts_with("2 points are not drawn"));
    }

    #[test]
    fn a_long_series_keeps_its_ends_and_its_peaks_and_says_so() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|i| (f64::from(i), 1.0)).collect();
        points[54_321].1 = 9.0;
        points[54_322].1 = -9.0;
        let series = vec![Series::new("a", Mark::LineAndDots, 0, points)];
        let figure = Figure::new("t", "", axes(), series);
        let kept = &figure.series[0].points;
        assert!(kept.len() <= MAX_POINTS);
        assert_eq!((kept[0].0, kept[kept.len() - 1].0), (0.0, 99_999.0));
        assert!(kept.contains(&(54_321.0, 9.0)) && kept.contains(&(54_322.0, -9.0)));
        assert!(kept.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(figure.notes[0].contains("of 100000 points"));
    }

    #[test]
    fn series_with_different_x_share_one_x_axis() {
        let series = vec![
            Series::new("a", Mark::Dots, 0, [(-1.0, 1.0), (2.0, 3.0)]),
            Series::new("b", Mark::Dots, 1, [(0.0, 4.0), (2.0, 5.0)]),
        ];
        let value = Figure::new("t", "", axes(), series).value();
        assert_eq!(value["xs"], json!([-1.0, 0.0, 2.0]));
        assert_eq!(value["series"][0]["y"], json!([1.0, null, 3.0]));
        assert_eq!(value["series"][1]["y"], json!([null, 4.0, 5.0]));
    }

    #[test]
    fn numbers_are_written_short() {
        for (value, unit, text) in [
            (0.95, AxisUnit::Fraction, "95 %"),
            (0.000_12, AxisUnit::Seconds, "120 µs"),
            (1e-3, AxisUnit::Seconds, "1 ms"),
            (2.5, AxisUnit::Seconds, "2.5 s"),
            (0.0, AxisUnit::Seconds, "0 s"),
            (23_860.0, AxisUnit::Number, "23860"),
            (1e9, AxisUnit::Number, "1e9"),
            (2.5e-7, AxisUnit::Number, "2.5e-7"),
        ] {
            assert_eq!(written(value, unit), text);
        }
    }
}
