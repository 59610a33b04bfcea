//! The search for the elements of a gradient that make its derivative along a direction wrong: by
//! halving.
//!
//! The derivative along v with the other components at rest is compared for one half of the
//! parameters (2 evaluations), and the other half's follows by subtraction. So one wrong element of
//! 10⁵ takes some 17 pairs of evaluations.

use super::line::OnLine;
use super::objective_check::{ComparedDirection, ObjectiveCheck};
use crate::gradient::finite_difference::failure::Failure;
use crate::gradient::finite_difference::quotient::quotient;

/// The disagreement, in multiples of a direction's bound, up to which a part counts as right.
const QUIET: f64 = 2.0;
/// The share of the whole disagreement, as a divisor, up to which a part is left for a later search.
const LOUD: f64 = 8.0;
/// The largest number of elements that one search finds.
const MOST_SUSPECTS: usize = 8;

/// The search for the elements that make a direction disagree.
pub(super) struct Search<'s, 'a> {
    pub(super) check: &'s ObjectiveCheck<'a>,
    pub(super) direction: &'s [f64],
    /// The gradient, corrected where it is known to be wrong.
    pub(super) gradient: &'s [f64],
    /// The distance of the differences.
    pub(super) h: f64,
}

impl Search<'_, '_> {
    /// Returns elements that may be wrong, by halving.
    pub(super) fn suspects(&self, whole: &ComparedDirection) -> Result<Vec<usize>, Failure> {
        let size = self.direction.len();
        let total = self.excess(0, size)?;
        // What differences at one distance leave of truncation.
        let truncation = (total - (whole.ours - whole.theirs)).abs();
        let quiet = (QUIET * (whole.bound + truncation)).max(total.abs() / LOUD);
        let mut suspects = Vec::new();
        let mut open = vec![(0, size, total)];
        // The part with the largest disagreement first.
        while let Some(at) = loudest(&open) {
            let (start, end, excess) = open.swap_remove(at);
            if end - start == 1 {
                suspects.push(start);
                if suspects.len() == MOST_SUSPECTS {
                    break;
                }
                continue;
            }
            let middle = start + (end - start) / 2;
            let first = self.excess(start, middle)?;
            let halves = [(start, middle, first), (middle, end, excess - first)];
            let before = open.len();
            open.extend(halves.iter().filter(|half| half.2.abs() > quiet));
            if open.len() == before {
                // Errors that are spread, or no larger than the noise.
                let larger = usize::from(first.abs() < (excess - first).abs());
                open.push(halves[larger]);
            }
        }
        Ok(suspects)
    }

    /// Returns the difference along the components `start..end` of the direction, less what the
    /// gradient says of them.
    fn excess(&self, start: usize, end: usize) -> Result<f64, Failure> {
        let mut part = vec![0.0; self.direction.len()];
        part[start..end].copy_from_slice(&self.direction[start..end]);
        let line = OnLine {
            objective: self.check.objective,
            theta: self.check.theta,
            direction: &part,
        };
        let values = self.check.threads.map(2, |side| {
            let distance = if side == 0 { self.h } else { -self.h };
            line.finite(distance)
        });
        let values = values.map_err(|error| Failure::Threads(error.to_string()))?;
        let values: Vec<f64> = values.into_iter().collect::<Result<_, _>>()?;
        let found = quotient(values[0] - values[1], 2.0 * self.h);
        let said = self.gradient[start..end]
            .iter()
            .zip(&self.direction[start..end]);
        Ok(found - said.map(|(g, v)| g * v).sum::<f64>())
    }
}

/// Returns the place of the part with the largest disagreement.
fn loudest(parts: &[(usize, usize, f64)]) -> Option<usize> {
    let size = |&at: &usize| parts[at].2.abs();
    (0..parts.len()).max_by(|a, b| size(a).total_cmp(&size(b)))
}
