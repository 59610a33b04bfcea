//! Tallies: how many operations of each kind were performed.

use std::ops::{Add, AddAssign, Mul};

/// Numbers of operations performed, by kind. They are computed in closed form per kernel call: no
/// hot loop has a counter. A fused multiply-add counts as one multiplication and one addition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    /// Evaluations: losses at one θ over a whole mini-batch.
    pub evaluations: u64,
    /// Exact derivatives along one direction over a whole mini-batch (forward mode).
    #[serde(default)]
    pub jacobian_vector_products: u64,
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

impl Tally {
    /// Returns a tally of `count` multiplications.
    pub const fn multiplications(count: u64) -> Self {
        Self {
            multiplications: count,
            ..Self::NONE
        }
    }

    /// Returns a tally of `count` additions.
    pub const fn additions(count: u64) -> Self {
        Self {
            additions: count,
            ..Self::NONE
        }
    }

    /// Returns a tally of `count` divisions.
    pub const fn divisions(count: u64) -> Self {
        Self {
            divisions: count,
            ..Self::NONE
        }
    }

    /// Returns a tally of `count` fused multiply-adds.
    pub const fn fused(count: u64) -> Self {
        Self {
            multiplications: count,
            additions: count,
            ..Self::NONE
        }
    }

    /// Returns the number of passes over a mini-batch: evaluations and Jacobian-vector products.
    pub const fn passes(&self) -> u64 {
        self.evaluations + self.jacobian_vector_products
    }

    /// The tally of no operation.
    pub const NONE: Self = Self {
        evaluations: 0,
        jacobian_vector_products: 0,
        multiplications: 0,
        additions: 0,
        exponentials: 0,
        logarithms: 0,
        divisions: 0,
    };
}

impl Add for Tally {
    type Output = Self;
    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.evaluations += other.evaluations;
        self.jacobian_vector_products += other.jacobian_vector_products;
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
            jacobian_vector_products: self.jacobian_vector_products * factor,
            multiplications: self.multiplications * factor,
            additions: self.additions * factor,
            exponentials: self.exponentials * factor,
            logarithms: self.logarithms * factor,
            divisions: self.divisions * factor,
        }
    }
}
