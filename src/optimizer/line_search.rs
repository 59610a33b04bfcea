//! How far to go along a direction: the strong Wolfe conditions.
//!
//! φ(α) is the objective at θ + αd. A step is taken that falls enough, φ(α) ≤ φ(0) + c₁αφ′(0), and
//! leaves the slope flat enough, |φ′(α)| ≤ c₂|φ′(0)|: then what the step tells of the curvature is
//! positive. Nocedal and Wright, "Numerical Optimization" (2nd edition), algorithms 3.5 and 3.6, with
//! their constants; trial steps by cubic interpolation, their equation 3.59, kept off the ends.
//!
//! Slopes and values must belong together. A gradient that errs by more than the slope itself sends
//! the search to where the objective does not fall, and it ends with nothing: that is a finding, not
//! an error.

/// c₁: the part of the promised decrease that has to come.
const DECREASE: f64 = 1e-4;
/// c₂: the part of the slope that may stay.
const CURVATURE: f64 = 0.9;
/// Evaluations of one search, as in scipy's L-BFGS-B.
const MOST: usize = 20;
/// A step that is too short becomes so many times longer.
const GROWTH: f64 = 2.0;
/// Interpolation keeps at least this part of the interval from either end.
const MARGIN: f64 = 0.1;

/// φ at one step length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepPoint {
    /// α.
    pub step: f64,
    /// φ(α).
    pub value: f64,
    /// φ′(α).
    pub slope: f64,
}

/// What a search ends with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LineSearchResult {
    /// Both conditions hold, at the point evaluated last.
    Wolfe(StepPoint),
    /// It falls enough, but the slope would not get flat: not always the point evaluated last.
    Lower(StepPoint),
    /// Nowhere along the direction does it fall enough.
    Nothing,
}

/// Searches from φ(0) = `start`, `first` long at first. At most 20 evaluations. A value or a slope
/// that is not finite counts as too high, so what is found is finite.
///
/// # Errors
/// Whatever `evaluate` refuses.
///
/// # Panics
/// If the direction does not go down: `start.slope` ≥ 0.
pub fn strong_wolfe<E>(
    start: StepPoint,
    first: f64,
    mut evaluate: impl FnMut(f64) -> Result<StepPoint, E>,
) -> Result<LineSearchResult, E> {
    assert!(start.slope < 0.0, "a direction of descent");
    let high = |point: &StepPoint| {
        let allowed = start.value + DECREASE * point.step * start.slope;
        // What is no number is nothing to go on from.
        point.value > allowed || !point.value.is_finite() || !point.slope.is_finite()
    };
    let flat = |point: &StepPoint| point.slope.abs() <= -CURVATURE * start.slope;

    let mut before = start;
    let mut step = first;
    let mut left = MOST;
    // Algorithm 3.5: lengthen, until an interval holds a step that will do.
    let (mut low, mut other) = loop {
        if left == 0 {
            return Ok(end(before));
        }
        left -= 1;
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
    // Algorithm 3.6: narrow it. `low` is the lowest that falls enough, or the start.
    while left > 0 {
        left -= 1;
        let point = evaluate(between(&low, &other))?;
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
    Ok(end(low))
}

fn end(low: StepPoint) -> LineSearchResult {
    if low.step > 0.0 {
        LineSearchResult::Lower(low)
    } else {
        LineSearchResult::Nothing
    }
}

/// The minimum of the cubic with the values and slopes of both ends; the middle, where there is none
/// or it is too near to an end.
fn between(low: &StepPoint, other: &StepPoint) -> f64 {
    let width = other.step - low.step;
    let d1 = low.slope + other.slope - 3.0 * (other.value - low.value) / width;
    let d2 = width.signum() * (d1 * d1 - low.slope * other.slope).sqrt();
    let part = 1.0 - (other.slope + d2 - d1) / (other.slope - low.slope + 2.0 * d2);
    if (MARGIN..=1.0 - MARGIN).contains(&part) {
        low.step + part * width
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
        let found = strong_wolfe(point(0.0), first, |step| {
            evaluations += 1;
            Ok::<_, Infallible>(point(step))
        });
        (found.unwrap(), evaluations)
    }

    #[test]
    fn a_parabola_is_solved_from_any_first_step() {
        for first in [1e-6, 1e-3, 0.3, 1.0, 3.0, 1e4] {
            let (found, evaluations) = search(|x| ((x - 1.0).powi(2), 2.0 * (x - 1.0)), first);
            let LineSearchResult::Wolfe(point) = found else {
                panic!("{first}: {found:?}");
            };
            // |φ′(α)| ≤ .9 |φ′(0)| is |α − 1| ≤ .9.
            assert!((point.step - 1.0).abs() <= 0.9, "{first}: {point:?}");
            assert!(evaluations <= MOST, "{first}: {evaluations}");
        }
    }

    #[test]
    fn the_cubic_through_a_cubic_is_the_cubic() {
        // x³ − 3x has its minimum at 1.
        let at = |step: f64| StepPoint {
            step,
            value: step.powi(3) - 3.0 * step,
            slope: 3.0 * step * step - 3.0,
        };
        for (low, other) in [(0.0, 2.0), (2.0, 0.0), (0.5, 1.5)] {
            let found = between(&at(low), &at(other));
            assert!((found - 1.0).abs() < 1e-14, "{low}, {other}: {found}");
        }
    }

    #[test]
    fn a_slope_that_lies_ends_with_nothing_after_20_evaluations() {
        let (found, evaluations) = search(|x| (x, -1.0), 1.0);
        assert_eq!((found, evaluations), (LineSearchResult::Nothing, 20));
    }

    #[test]
    fn values_that_are_not_finite_are_too_far() {
        let wall = |x: f64| {
            if x > 0.01 {
                (f64::NAN, f64::NAN)
            } else {
                ((x - 0.005).powi(2), 2.0 * (x - 0.005))
            }
        };
        let (found, _) = search(wall, 1.0);
        assert!(
            matches!(found, LineSearchResult::Wolfe(point) if point.step <= 0.01),
            "{found:?}"
        );
    }

    #[test]
    fn a_slope_that_is_not_finite_is_too_far_even_where_its_value_is_lower() {
        for nowhere in [f64::NAN, f64::NEG_INFINITY, f64::INFINITY] {
            let cliff = |x: f64| {
                let slope = if x > 0.5 { nowhere } else { 2.0 * (x - 1.0) };
                ((x - 1.0).powi(2), slope)
            };
            let (found, _) = search(cliff, 1.0);
            let (LineSearchResult::Wolfe(point) | LineSearchResult::Lower(point)) = found else {
                panic!("{nowhere}: {found:?}");
            };
            assert!(point.slope.is_finite() && point.step <= 0.5, "{point:?}");
        }
    }

    #[test]
    fn a_step_beyond_the_minimum_turns_the_search_back() {
        // It falls enough there, and rises too steeply: 1.95 is between 1.9 and 2.
        let (found, evaluations) = search(|x| ((x - 1.0).powi(2), 2.0 * (x - 1.0)), 1.95);
        assert!(
            matches!(found, LineSearchResult::Wolfe(point) if (point.step - 1.0).abs() < 1e-14),
            "{found:?}"
        );
        assert_eq!(evaluations, 2);
    }

    #[test]
    fn a_step_that_is_higher_than_the_one_before_ends_the_lengthening() {
        // Down to −1 at 1, up to −.5 at 2, and down again as steeply ever after.
        let waves = |x: f64| match x {
            x if x <= 1.0 => (-x, -1.0),
            x if x >= 2.0 => (1.5 - x, -1.0),
            x => {
                let t = x - 1.0;
                let value = -1.0 - t + 4.5 * t * t - 3.0 * t.powi(3);
                (value, -1.0 + 9.0 * t - 9.0 * t * t)
            }
        };
        let (found, _) = search(waves, 1.0);
        assert!(
            matches!(found, LineSearchResult::Wolfe(point) if point.step > 1.0 && point.step < 2.0),
            "{found:?}"
        );
    }

    #[test]
    fn a_kink_gives_the_lowest_step_that_was_found() {
        let (found, evaluations) = search(|x| ((x - 1.0).abs(), (x - 1.0).signum()), 0.7);
        assert_eq!(evaluations, MOST);
        assert!(
            matches!(found, LineSearchResult::Lower(point) if (point.step - 1.0).abs() < 1e-3),
            "{found:?}"
        );
    }

    #[test]
    #[should_panic(expected = "a direction of descent")]
    fn a_direction_that_goes_up_is_a_defect_of_the_caller() {
        search(|x| (x, 1.0), 1.0);
    }
}
