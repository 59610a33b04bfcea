//! Compares two gradients: errors of the whole vector and of each layer, relative to their bounds.

use crate::model::Parameters;

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
}

impl GradientComparison {
    /// Compares `found` with `exact`, each element within its bound.
    ///
    /// # Panics
    /// Panics if the layouts differ.
    pub fn new(exact: &Parameters<f64>, found: &Parameters<f64>, bounds: &[f64]) -> Self {
        assert_eq!(exact.layout(), found.layout(), "gradients of one network");
        let layout = exact.layout();
        let group = |range| Group::new(exact.flat(), found.flat(), bounds, range);
        Self {
            whole: group(0..layout.len()),
            layers: (0..layout.layers())
                .map(|layer| group(layout.weights(layer).start..layout.biases(layer).end))
                .collect(),
        }
    }

    /// Returns whether every element is within its bound.
    pub fn passed(&self) -> bool {
        self.whole.excess <= 1.0
    }
}

impl Group {
    fn new(exact: &[f64], found: &[f64], bounds: &[f64], range: std::ops::Range<usize>) -> Self {
        let [mut errors, mut allowed, mut dot, mut of_exact, mut of_found] = [0.0; 5];
        let (mut largest, mut worst) = ((range.start, -1.0), (range.start, -1.0));
        for index in range {
            let (g, other, bound) = (exact[index], found[index], bounds[index]);
            let error = (other - g).abs();
            errors += error * error;
            allowed += bound * bound;
            dot += other * g;
            of_exact += g * g;
            of_found += other * other;
            // NaN counts as an infinite error.
            let error = if error.is_nan() { f64::INFINITY } else { error };
            let excess = if error == 0.0 { 0.0 } else { error / bound };
            let excess = if excess.is_nan() {
                f64::INFINITY
            } else {
                excess
            };
            if error > largest.1 {
                largest = (index, error);
            }
            if excess > worst.1 {
                worst = (index, excess);
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
            cosine: if of_exact == 0.0 && of_found == 0.0 {
                1.0
            } else {
                dot / (of_exact.sqrt() * of_found.sqrt())
            },
            max_absolute_error: largest.1.max(0.0),
            largest: largest.0,
            excess: worst.1.max(0.0),
            worst: worst.0,
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
        let comparison = GradientComparison::new(&exact, &found, &[1.0; 4]);
        let first = &comparison.layers[0];
        assert!((first.relative_error - 0.1).abs() < 1e-15);
        assert_eq!((first.max_absolute_error, first.largest), (0.5, 1));
        assert_eq!((comparison.whole.excess, comparison.whole.worst), (0.5, 1));
        assert!((comparison.layers[1].cosine - 1.0).abs() < 1e-15);
        assert!(comparison.passed());
    }

    #[test]
    fn one_element_beyond_its_bound_fails_and_so_does_one_that_is_no_number() {
        let exact = parameters(&[3.0, 4.0, 0.0, 1.0]);
        let bounds = [1.0, 1.0, 1e-9, 1.0];
        for wrong in [1e-8, f64::NAN, f64::INFINITY] {
            let comparison =
                GradientComparison::new(&exact, &parameters(&[3.0, 4.0, wrong, 1.0]), &bounds);
            assert!(
                !comparison.passed() && comparison.whole.worst == 2,
                "{wrong}"
            );
        }
        let same = GradientComparison::new(&exact, &exact, &[0.0; 4]);
        assert!(same.passed(), "no error needs no bound");
    }
}
