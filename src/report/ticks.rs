//! The ticks of an axis.

/// Approximate number of ticks on an axis.
const TARGET_TICKS: f64 = 6.0;

/// The range of an axis and its ticks.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticks {
    /// The first and the last value.
    pub range: [f64; 2],
    /// The values of the ticks, ascending, within the range.
    pub marks: Vec<f64>,
}

impl Ticks {
    /// Chooses ticks that cover `values`, with the range widened to whole ticks. On a linear axis
    /// they are 1, 2 or 5 times a power of ten apart, and at least `least`. On a logarithmic axis
    /// they are at powers of ten (not at all of them if there are many), and also at 2 and 5 times
    /// them if the axis covers at most two decades.
    ///
    /// # Panics
    /// If there are no values, if the smallest or the largest is not finite, or if a value on a
    /// logarithmic axis is not above 0.
    pub fn over(values: impl Iterator<Item = f64>, logarithmic: bool, least: f64) -> Self {
        let [low, high] = values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
            [low.min(value), high.max(value)]
        });
        assert!(low.is_finite() && high.is_finite(), "an axis has values");
        if logarithmic {
            assert!(low > 0.0, "a logarithmic axis has values above 0");
            Self::logarithmic(low, high)
        } else {
            Self::linear(low, high, least)
        }
    }

    /// Ends the range at `most` and removes the ticks beyond it; no value may exceed `most`.
    pub fn end_at(&mut self, most: f64) {
        self.range[1] = self.range[1].min(most);
        self.marks.retain(|&mark| mark <= most);
    }

    fn linear(mut low: f64, mut high: f64, least: f64) -> Self {
        if low == high {
            let half = if low == 0.0 { 1.0 } else { low.abs() / 2.0 };
            (low, high) = (low - half, high + half);
        }
        let raw = (high - low) / TARGET_TICKS;
        let power = 10_f64.powf(raw.log10().floor());
        let step = power
            * match raw / power {
                r if r < 1.5 => 1.0,
                r if r < 3.5 => 2.0,
                r if r < 7.5 => 5.0,
                _ => 10.0,
            };
        let step = step.max(least);
        let (first, last) = ((low / step).floor(), (high / step).ceil());
        let count = (last - first) as usize;
        let marks = (0..=count).map(|mark| (first + mark as f64) * step);
        Self {
            range: [first * step, last * step],
            marks: marks.collect(),
        }
    }

    fn logarithmic(low: f64, high: f64) -> Self {
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let last = last.max(first + 1);
        let decades = last - first;
        let steps: &[f64] = if decades <= 2 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let every = (decades + TARGET_TICKS as i32 - 1) / TARGET_TICKS as i32;
        let marks = (first..=last)
            .filter(|power| (power - first) % every == 0)
            .flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)))
            .filter(|&mark| mark <= 10_f64.powi(last) * 1.000_001);
        Self {
            range: [10_f64.powi(first), 10_f64.powi(last)],
            marks: marks.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_and_cover_the_values() {
        let ticks = Ticks::over([0.912, 0.951].into_iter(), false, 0.0);
        assert!(ticks.range[0] <= 0.912 && 0.951 <= ticks.range[1]);
        let written: Vec<String> = ticks
            .marks
            .iter()
            .map(|mark| format!("{mark:.4}"))
            .collect();
        assert_eq!(
            (written[0].as_str(), written[1].as_str()),
            ("0.9100", "0.9150")
        );
        assert_eq!(written.len(), 10);
        let ticks = Ticks::over([3.0, 3.0].into_iter(), false, 0.0);
        assert!(ticks.range[0] < 3.0 && 3.0 < ticks.range[1]);
        assert_eq!(
            Ticks::over([0.0].into_iter(), false, 0.0).range,
            [-1.0, 1.0]
        );
        assert_eq!(
            Ticks::over([1.0, 2.0].into_iter(), false, 1.0).marks,
            [1.0, 2.0]
        );
    }

    #[test]
    fn a_logarithmic_axis_has_ticks_at_decades() {
        let ticks = Ticks::over([3e-14, 0.2].into_iter(), true, 0.0);
        assert_eq!(ticks.range, [1e-14, 1.0]);
        assert!(ticks.marks.len() <= 8);
        let ticks = Ticks::over([2.0, 70.0].into_iter(), true, 0.0);
        assert_eq!(ticks.marks, [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!(
            Ticks::over([10.0].into_iter(), true, 0.0).range,
            [10.0, 100.0]
        );
    }
}
