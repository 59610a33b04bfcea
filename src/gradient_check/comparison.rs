//! Compares two gradients: errors of the whole vector and of each layer, relative to their bounds.

use std::ops::Range;

use super::tolerances::Tolerances;
use crate::model::Parameters;

/// The share of the gradient up to which bounds let a mistake be seen.
const VISIBLE: f64 = 0.1;

/// What a comparison establishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgment {
    /// Every element is within its bound, and the bounds are at most a tenth of the gradient.
    Right,
    /// An element is beyond its bound.
    Wrong,
    /// No element is beyond its bound, but a mistake could hide: the bounds exceed a tenth of the
    /// gradient.
    CannotTell,
}

/// The comparison of a gradient ĝ with the exact one, g.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientComparison {
    /// The comparison of all N partial derivatives.
    pub whole: Group,
    /// The comparison of each layer, weights and biases together.
    pub layers: Vec<Group>,
}

/// The comparison of a group of partial derivatives.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// ‖ĝ − g‖₂/‖g‖₂; 0 if both are 0, ∞ if only g is.
    pub relative_error: f64,
    /// ‖bounds‖₂/‖g‖₂: the relative error that round-off and truncation allow.
    pub allowed: f64,
    /// The expected ‖ĝ − g‖₂/‖g‖₂ of the round-off alone; NaN if it is unknown.
    pub expected: f64,
    /// ĝ·g/(‖ĝ‖‖g‖); 1 if both are 0, NaN if only one is.
    pub cosine: f64,
    /// The largest |ĝᵢ − gᵢ|.
    pub max_absolute_error: f64,
    /// The index of that element in θ.
    pub largest: usize,
    /// The largest |ĝᵢ − gᵢ| divided by its bound; above 1 the gradient is wrong.
    pub excess: f64,
    /// The index of that element in θ.
    pub worst: usize,
    /// The largest |ĝᵢ − gᵢ| beyond truncation, in expected deviations of the round-off; 0 if those
    /// are unknown.
    pub deviations: f64,
}

impl GradientComparison {
    /// Compares `found` with `exact`, each element within its bound.
    ///
    /// # Panics
    /// Panics if the layouts differ.
    pub(super) fn new(
        exact: &Parameters<f64>,
        found: &Parameters<f64>,
        tolerances: &Tolerances,
    ) -> Self {
        assert_eq!(exact.layout(), found.layout(), "gradients of one network");
        let layout = exact.layout();
        let group = |range| Group::new(exact.flat(), found.flat(), tolerances, range);
        Self {
            whole: group(0..layout.len()),
            layers: (0..layout.layers())
                .map(|layer| group(layout.weights(layer).start..layout.biases(layer).end))
                .collect(),
        }
    }

    /// Returns what the comparison of all elements establishes.
    pub fn judgment(&self) -> Judgment {
        let Group {
            excess, allowed, ..
        } = self.whole;
        if excess > 1.0 {
            Judgment::Wrong
        } else if allowed <= VISIBLE {
            Judgment::Right
        } else {
            Judgment::CannotTell
        }
    }

    /// Returns whether an element is beyond its bound.
    pub fn is_wrong(&self) -> bool {
        self.judgment() == Judgment::Wrong
    }
}

impl Judgment {
    /// Returns whether the gradient is right; `None` if that cannot be told.
    pub fn passed(self) -> Option<bool> {
        match self {
            Self::Right => Some(true),
            Self::Wrong => Some(false),
            Self::CannotTell => None,
        }
    }
}

/// The largest ratio seen and its index.
struct Largest {
    index: usize,
    value: f64,
}

impl Largest {
    fn see(&mut self, index: usize, value: f64) {
        // NaN counts as infinite.
        let value = if value.is_nan() { f64::INFINITY } else { value };
        if value > self.value {
            *self = Self { index, value };
        }
    }
}

/// Returns `error`/`bound`; an error of 0 needs no bound.
fn ratio(error: f64, bound: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / bound }
}

impl Group {
    fn new(exact: &[f64], found: &[f64], tolerances: &Tolerances, range: Range<usize>) -> Self {
        let [mut errors, mut allowed, mut expected] = [0.0; 3];
        let [mut dot, mut of_exact, mut of_found] = [0.0; 3];
        let nothing = || Largest {
            index: range.start,
            value: -1.0,
        };
        let [mut largest, mut worst, mut deviations] = [nothing(), nothing(), nothing()];
        for index in range {
            let (g, other) = (exact[index], found[index]);
            let bound = tolerances.bound(index);
            let error = (other - g).abs();
            errors += error * error;
            allowed += bound * bound;
            expected += tolerances.squares.get(index).copied().unwrap_or(f64::NAN);
            dot += other * g;
            of_exact += g * g;
            of_found += other * other;
            largest.see(index, error);
            worst.see(index, ratio(error, bound));
            if let Some(number) = tolerances.deviations(index, error) {
                deviations.see(index, number);
            }
        }
        let relative = |squares: f64| {
            if squares == 0.0 {
                0.0
            } else {
                (squares / of_exact).sqrt()
            }
        };
        Self {
            relative_error: relative(errors),
            allowed: relative(allowed),
            expected: relative(expected),
            cosine: if of_exact == 0.0 && of_found == 0.0 {
                1.0
            } else {
                dot / (of_exact.sqrt() * of_found.sqrt())
            },
            max_absolute_error: largest.value.max(0.0),
            largest: largest.index,
            excess: worst.value.max(0.0),
            worst: worst.index,
            deviations: deviations.value.max(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::Layout;

    fn parameters(flat: &[f64]) -> Parameters<f64> {
        Parameters::from_flat(Arc::new(Layout::new(&[1, 1, 1], true)), flat.to_vec())
    }

    #[test]
    fn the_errors_are_those_of_the_vectors() {
        let exact = parameters(&[3.0, 4.0, 0.0, 1.0]);
        let found = parameters(&[3.0, 4.5, 0.0, 1.0]);
        let comparison =
            GradientComparison::new(&exact, &found, &Tolerances::worst_case(vec![1.0; 4]));
        let first = &comparison.layers[0];
        assert!((first.relative_error - 0.1).abs() < 1e-15);
        assert_eq!((first.max_absolute_error, first.largest), (0.5, 1));
        assert_eq!((comparison.whole.excess, comparison.whole.worst), (0.5, 1));
        assert!((comparison.layers[1].cosine - 1.0).abs() < 1e-15);
        assert!(!comparison.is_wrong());
    }

    #[test]
    fn one_element_beyond_its_bound_fails_and_so_does_one_that_is_no_number() {
        let exact = parameters(&[3.0, 4.0, 0.0, 1.0]);
        let bounds = Tolerances::worst_case(vec![1.0, 1.0, 1e-9, 1.0]);
        for wrong in [1e-8, f64::NAN, f64::INFINITY] {
            let comparison =
                GradientComparison::new(&exact, &parameters(&[3.0, 4.0, wrong, 1.0]), &bounds);
            assert!(
                comparison.is_wrong() && comparison.whole.worst == 2,
                "{wrong}"
            );
        }
        let nothing = Tolerances::worst_case(vec![0.0; 4]);
        let same = GradientComparison::new(&exact, &exact, &nothing);
        assert_eq!(same.judgment(), Judgment::Right, "no error needs no bound");
    }
}
