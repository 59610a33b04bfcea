//! Worked examples of claims about gradients and finite differences.
//!
//! Every value is computed by the formula itself, and every operation count by running the same
//! code over [`Counted`](crate::textbook::counting::Counted); this module prints nothing. Inputs
//! that would overflow, or take minutes to count, are refused with a message.

pub mod claims;
pub mod logistic;
pub mod network;
pub mod toy;
pub mod weight;

use serde::Serialize;

use crate::numeric::tally::Tally;

/// Counted operations of a formula.
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

/// Checks that an increment is finite and not 0.
///
/// # Errors
/// Returns a message with the value found and the values allowed.
pub fn check_increment(epsilon: f64) -> Result<(), String> {
    if epsilon.is_finite() && epsilon != 0.0 {
        return Ok(());
    }
    Err(format!(
        "epsilon is {epsilon}; allowed: any finite number but 0, such as 1e-4, which the change of the result is divided by"
    ))
}
