//! Counts of the operations performed.

use std::ops::{AddAssign, Mul};

/// Operations performed in training steps, in closed form per kernel call: no counter stands in a
/// hot loop. A fused multiply-add is one multiplication and one addition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    /// Losses at one θ over a whole mini-batch.
    pub evaluations: u64,
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

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.evaluations += other.evaluations;
        self.multiplications += other.multiplications;
        self.additions += other.additions;
        self.exponentials += other.exponentials;
        self.logarithms += other.logarithms;
        self.divisions += other.divisions;
    }
}

impl Mul<u64> for Tally {
    type Output = Self;
    fn mul(self, factor: u64) -> Self {
        Self {
            evaluations: self.evaluations * factor,
            multiplications: self.multiplications * factor,
            additions: self.additions * factor,
            exponentials: self.exponentials * factor,
            logarithms: self.logarithms * factor,
            divisions: self.divisions * factor,
        }
    }
}
