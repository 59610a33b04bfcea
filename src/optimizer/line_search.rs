//! Line search for a step length that satisfies the strong Wolfe conditions.
//!
//! φ(α) is the objective at θ + αd. An accepted step decreases the objective enough, φ(α) ≤ φ(0) +
//! c₁αφ′(0), and flattens the slope enough, |φ′(α)| ≤ c₂|φ′(0)|; the curvature along the step,
//! φ′(α) − φ′(0), is then positive. Nocedal and Wright, "Numerical Optimization" (2nd edition),
//! algorithms 3.5 and 3.6, with their constants; trial steps by cubic interpolation, their equation
//! 3.59, kept away from the ends of the interval.
//!
//! Values and slopes must belong to the same function. A gradient whose error exceeds the slope
//! itself leads the search to where the objective does not decrease, and no step is found: that is
//! a result, not an error.

/// c₁: required fraction of the decrease that the slope at 0 predicts.
const DECREASE: f64 = 1e-4;
/// c₂: largest allowed fraction of the slope at 0.
const CURVATURE: f64 = 0.9;
/// Maximum number of evaluations of one search, as in scipy's L-BFGS-B.
const MAX_EVALUATIONS: usize = 20;
/// Factor by which a step that is too short grows.
const GROWTH: f64 = 2.0;
/// Smallest distance of an interpolated step from either end, as a fraction of the interval.
const MARGIN: f64 = 0.1;

/// Value and slope of φ at one step length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepPoint {
    /// Step length α.
    pub step: f64,
    /// Value φ(α).
    pub value: f64,
    /// Slope φ′(α).
    pub slope: f64,
}

/// Result of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LineSearchResult {
    /// Step that satisfies both conditions; it is the point evaluated last.
    Wolfe(StepPoint),
    /// Step that decreases the objective enough, but whose slope is too steep; it is not always the
    /// point evaluated last.
    Lower(StepPoint),
    /// No step along the direction was found that decreases the objective enough.
    Nothing,
}

/// Searches a step length from φ(0) = `start` on; the first trial step is `first`. At most 20
/// evaluations. A point whose value or slope is not finite counts as too high, so a step that is
/// returned is finite.
///
/// # Errors
/// Any error of `evaluate`.
///
/// # Panics
/// If the direction is not one of descent: `start.slope` ≥ 0, or NaN.
pub fn strong_wolfe<E>(
    start: StepPoint,
    first: f64,
    mut evaluate: impl FnMut(f64) -> Result<StepPoint, E>,
) -> Result<LineSearchResult, E> {
    assert!(start.slope < 0.0, "the direction must be one of descent");
    let high = |point: &StepPoint| {
        let allowed = start.value + DECREASE * point.step * start.slope;
        // The search cannot go on from a point that is not finite.
        point.value > allowed || !point.value.is_finite() || !point.slope.is_finite()
    };
    let flat = |point: &StepPoint| point.slope.abs() <= -CURVATURE * start.slope;

    let mut before = start;
    let mut step = first;
    let mut evaluations_left = MAX_EVALUATIONS;
    // Algorithm 3.5: lengthen the step until an interval contains an acceptable one.
    let (mut low, mut other) = loop {
        if evaluations_left == 0 {
            return Ok(result_without_wolfe(before));
        }
        evaluations_left -= 1;
        let point = evaluate(step)?;
        if high(&point) || (before.step > 0.0 && point.value >= before.value) {
            break (before, point);
        }
        if flat(&point) {
            return Ok(LineSearchResult::Wolfe(point));
        }
        if point.slope >= 0.0 {
            break (point, before);
        }
        before = point;
        step *= GROWTH;
    };
    // Algorithm 3.6: narrow the interval. `low` is the lowest point so far that decreases the
    // objective enough, or the start.
    while evaluations_left > 0 {
        evaluations_left -= 1;
        let point = evaluate(interpolate(&low, &other))?;
        if high(&point) || point.value >= low.value {
            other = point;
            continue;
        }
        if flat(&point) {
            return Ok(LineSearchResult::Wolfe(point));
        }
        if point.slope * (other.step - low.step) >= 0.0 {
            other = low;
        }
        low = point;
    }
    Ok(result_without_wolfe(low))
}

/// Returns the result of a search that ends without a step that satisfies both conditions.
fn result_without_wolfe(low: StepPoint) -> LineSearchResult {
    if low.step > 0.0 {
        LineSearchResult::Lower(low)
    } else {
        LineSearchResult::Nothing
    }
}

/// Returns the minimum of the cubic that has the values and slopes of both ends; the middle, if
/// there is no minimum between them or it is too close to an end.
fn interpolate(low: &StepPoint, other: &StepPoint) -> f64 {
    let width = other.step - low.step;
    let d1 = low.slope + other.slope - 3.0 * (other.value - low.value) / width;
    let d2 = width.signum() * (d1 * d1 - low.slope * other.slope).sqrt();
    let fraction = 1.0 - (other.slope + d2 - d1) / (other.slope - low.slope + 2.0 * d2);
    if (MARGIN..=1.0 - MARGIN).contains(&fraction) {
        low.step + fraction * width
    } else {
        low.step + 0.5 * width
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn search(phi: impl Fn(f64) -> (f64, f64), first: f64) -> (LineSearchResult, usize) {
        let point = |step| {
            let (value, slope) = phi(step);
            StepPoint { step, value, slope }
        };
        let mut evaluations = 0;
        let result = strong_wolfe(point(0.0), first, |step| {
            evaluations += 1;
            Ok::<_, Infallible>(point(step))
        });
        (result.unwrap(), evaluations)
    }

    #[test]
    fn a_parabola_is_solved_from_any_first_step() {
        for first in [1e-6, 1e-3, 0.3, 1.0, 3.0, 1e4] {
            let (result, evaluations) = search(|x| ((x - 1.0).powi(2), 2.0 * (x - 1.0)), first);
            let LineSearchResult::Wolfe(point) = result else {
                panic!("{first}: {result:?}");
            };
            // |φ′(α)| ≤ .9 |φ′(0)| is |α − 1| ≤ .9.
            assert!((point.step - 1.0).abs() <= 0.9, "{first}: {point:?}");
            assert!(evaluations <= MAX_EVALUATIONS, "{first}: {evaluations}");
        }
    }

    #[test]
    fn interpolation_finds_the_minimum_of_a_cubic() {
        // x³ − 3x has its minimum at 1.
        let at = |step: f64| StepPoint {
            step,
            value: step.powi(3) - 3.0 * step,
            slope: 3.0 * step * step - 3.0,
        };
        for (low, other) in [(0.0, 2.0), (2.0, 0.0), (0.5, 1.5)] {
            let minimum = interpolate(&at(low), &at(other));
            assert!((minimum - 1.0).abs() < 1e-14, "{low}, {other}: {minimum}");
        }
    }

    #[test]
    fn a_wrong_slope_ends_with_no_step_after_20_evaluations() {
        let (result, evaluations) = search(|x| (x, -1.0), 1.0);
        assert_eq!((result, evaluations), (LineSearchResult::Nothing, 20));
    }

    #[test]
    fn a_value_that_is_not_finite_counts_as_too_high() {
        let wall = |x: f64| {
            if x > 0.01 {
                (f64::NAN, f64::NAN)
            } else {
                ((x - 0.005).powi(2), 2.0 * (x - 0.005))
            }
        };
        let (result, _) = search(wall, 1.0);
        assert!(
            matches!(result, LineSearchResult::Wolfe(point) if point.step <= 0.01),
            "{result:?}"
        );
    }

    #[test]
    fn a_slope_that_is_not_finite_counts_as_too_high_even_if_the_value_is_lower() {
        for bad_slope in [f64::NAN, f64::NEG_INFINITY, f64::INFINITY] {
            let cliff = |x: f64| {
                let slope = if x > 0.5 { bad_slope } else { 2.0 * (x - 1.0) };
                ((x - 1.0).powi(2), slope)
            };
            let (result, _) = search(cliff, 1.0);
            let (LineSearchResult::Wolfe(point) | LineSearchResult::Lower(point)) = result else {
                panic!("{bad_slope}: {result:?}");
            };
            assert!(point.slope.is_finite() && point.step <= 0.5, "{point:?}");
        }
    }

    #[test]
    fn a_first_step_beyond_the_minimum_is_followed_by_a_shorter_one() {
        // At 1.95, between 1.9 and 2, the decrease is enough, but the slope too steep.
        let (result, evaluations) = search(|x| ((x - 1.0).powi(2), 2.0 * (x - 1.0)), 1.95);
        assert!(
            matches!(result, LineSearchResult::Wolfe(point) if (point.step - 1.0).abs() < 1e-14),
            "{result:?}"
        );
        assert_eq!(evaluations, 2);
    }

    #[test]
    fn a_value_above_the_previous_one_ends_the_lengthening() {
        // Falls to −1 at 1, rises to −.5 at 2, and falls with slope −1 from there on.
        let waves = |x: f64| match x {
            x if x <= 1.0 => (-x, -1.0),
            x if x >= 2.0 => (1.5 - x, -1.0),
            x => {
                let t = x - 1.0;
                let value = -1.0 - t + 4.5 * t * t - 3.0 * t.powi(3);
                (value, -1.0 + 9.0 * t - 9.0 * t * t)
            }
        };
        let (result, _) = search(waves, 1.0);
        assert!(
            matches!(result, LineSearchResult::Wolfe(point) if point.step > 1.0 && point.step < 2.0),
            "{result:?}"
        );
    }

    #[test]
    fn a_kink_gives_the_lowest_point_found() {
        let (result, evaluations) = search(|x| ((x - 1.0).abs(), (x - 1.0).signum()), 0.7);
        assert_eq!(evaluations, MAX_EVALUATIONS);
        assert!(
            matches!(result, LineSearchResult::Lower(point) if (point.step - 1.0).abs() < 1e-3),
            "{result:?}"
        );
    }

    #[test]
    #[should_panic(expected = "the direction must be one of descent")]
    fn a_direction_of_ascent_panics() {
        search(|x| (x, 1.0), 1.0);
    }
}
