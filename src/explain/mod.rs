//! Worked examples: what is claimed about gradients and finite differences, in the reader's own
//! numbers.
//!
//! Nothing here is typed in and nothing is printed: every value comes from running the formula, every
//! operation count from running the same lines over [`Counted`](crate::textbook::counting::Counted).
//! Refused, in words, is what would leave the finite numbers or take minutes to count.

pub mod claims;
pub mod logistic;
pub mod network;
pub mod toy;
pub mod weight;

use serde::Serialize;

use crate::numeric::tally::Tally;

/// Operations of a formula, as they were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Operations {
    /// Multiplications.
    pub multiplications: u64,
    /// Additions and subtractions.
    pub additions: u64,
    /// Exponentials.
    pub exponentials: u64,
    /// Logarithms.
    pub logarithms: u64,
    /// Divisions.
    pub divisions: u64,
}

impl From<Tally> for Operations {
    fn from(tally: Tally) -> Self {
        Self {
            multiplications: tally.multiplications,
            additions: tally.additions,
            exponentials: tally.exponentials,
            logarithms: tally.logarithms,
            divisions: tally.divisions,
        }
    }
}

/// An increment that quotients can be formed with: finite, and not 0.
///
/// # Errors
/// What was found and what is allowed, in words.
pub fn check_increment(epsilon: f64) -> Result<(), String> {
    if epsilon.is_finite() && epsilon != 0.0 {
        return Ok(());
    }
    Err(format!(
        "epsilon is {epsilon}; allowed: any finite number but 0, such as 1e-4, which the change of the result is divided by"
    ))
}
