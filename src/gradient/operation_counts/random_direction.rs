//! Closed-form operation counts of gradient estimates from random directions, and of forward mode
//! by whole passes.
//!
//! B rows, layer sizes n_0 … n_L, N parameters, P of them weights, K directions. As in
//! [`crate::gradient::operation_counts::backprop`], a fused multiply-add is a multiplication and an
//! addition, and padding, signs and comparisons are not counted. Drawing the directions is not
//! counted either (integer arithmetic, and for Gaussian directions a function of it): their
//! components count as constants. `tests/library/random_direction_counts.rs` counts the same passes operation by
//! operation and compares.

use super::backprop::all_losses_and_errors;
use super::finite_difference::pass;
use super::shape::{BatchShape, SIGMOID_PAIR};
use crate::data::Samples;
use crate::gradient::finite_difference::Reuse;
use crate::gradient::random_direction::{DirectionsConfig, SpsaConfig};
use crate::model::Network;
use crate::numeric::Real;
use crate::numeric::tally::Tally;

/// Returns the operations of an SPSA estimate: 2K evaluations.
pub fn spsa<R: Real>(
    network: &Network,
    config: &SpsaConfig,
    samples: &Samples<R>,
    rows: &[u32],
) -> Tally {
    let shape = BatchShape::new(network, samples, rows);
    let directions = config.directions.count as u64;
    let side = pass(network, samples, rows) + Tally::fused(shape.parameters());
    // Differences of the rows' losses and their sum, 2h; the mean, the quotient, the factor 1/K.
    let mut quotient =
        Tally::additions(2 * shape.rows + 1) + Tally::multiplications(2) + Tally::divisions(1);
    if shape.l2 {
        // Σ (w₊ − w₋)·(w₊ + w₋); times ½λ', and its addition to the change.
        quotient += (Tally::additions(2) + Tally::fused(1)) * shape.all_weights();
        quotient += Tally::fused(1);
    }
    let evaluations = Tally {
        evaluations: 2 * directions,
        ..Tally::NONE
    };
    // 1/B, for the means.
    let reciprocal_of_rows = Tally::divisions(1);
    evaluations
        + shape.scaled_inputs()
        + (side * 2 + quotient) * directions
        + reciprocal_of_rows
        + shape.combined(directions)
}

/// Returns the operations of a forward gradient by weights: the values of one pass, the rates of K.
pub fn perturbed_weights<R: Real>(
    network: &Network,
    directions: DirectionsConfig,
    samples: &Samples<R>,
    rows: &[u32],
) -> Tally {
    let shape = BatchShape::new(network, samples, rows);
    let directions = directions.count as u64;
    // m = V·a + c, the rows' derivatives, their sum, the factor 1/K.
    let mut product = shape.all_products()
        + shape.rates(1)
        + Tally::additions(shape.rows)
        + Tally::multiplications(1);
    if shape.l2 {
        // λ'·Σ w·v.
        product += Tally::fused(shape.all_weights()) + Tally::fused(1);
    }
    shape.scaled_inputs() + shape.values() + product * directions + shape.combined(directions)
}

/// Returns the operations of forward mode by whole passes: the values of one pass, the rates of N
/// passes along the axes.
pub fn forward_mode<R: Real>(
    network: &Network,
    reuse: Reuse,
    samples: &Samples<R>,
    rows: &[u32],
) -> Tally {
    let shape = BatchShape::new(network, samples, rows);
    let mut tally = shape.scaled_inputs() + shape.values();
    for l in 1..=shape.layers() {
        // m of all layers, though it is 0 but in one of them, or of this layer only; the sum over
        // the rows.
        let (first, moves) = match reuse {
            Reuse::Full => (1, shape.all_products()),
            Reuse::Prefix | Reuse::Incremental => (l, shape.products(l)),
        };
        let partial = moves + shape.rates(first) + Tally::additions(shape.rows);
        tally += partial * (shape.weights(l) + shape.biases(l));
        if shape.l2 {
            // λ'·w.
            tally += Tally::fused(shape.weights(l));
        }
    }
    tally
}

/// Returns the operations of a forward gradient by activations.
pub fn perturbed_activations<R: Real>(
    network: &Network,
    directions: DirectionsConfig,
    samples: &Samples<R>,
    rows: &[u32],
) -> Tally {
    let shape = BatchShape::new(network, samples, rows);
    let directions = directions.count as u64;
    let units = shape.units();
    // The rates, each row's derivative times 1/K, δ̂; 1/K itself.
    let product =
        shape.rates(1) + Tally::multiplications(shape.rows) + Tally::fused(shape.rows * units);
    let mut tally =
        shape.scaled_inputs() + shape.values() + product * directions + Tally::divisions(1);
    // ∂W, ∂b; λ'W.
    tally += Tally::fused(shape.rows * shape.all_weights());
    if shape.bias {
        tally += Tally::additions(shape.rows * units);
    }
    if shape.l2 {
        tally += Tally::fused(shape.all_weights());
    }
    tally
}

impl BatchShape {
    /// Returns the operations of `PrimalValues`: z, σ and σ′ of hidden units, losses and δ of the
    /// outputs; 1/B.
    fn values(&self) -> Tally {
        let mut tally = Tally {
            evaluations: 1,
            ..Tally::NONE
        };
        tally += self.all_products();
        tally += (SIGMOID_PAIR + Tally::multiplications(1)) * (self.rows * self.hidden());
        tally + all_losses_and_errors(self) + Tally::divisions(1)
    }

    /// Returns the operations of `TangentBuffers` from layer `first` on, m left out: ż and ȧ, and
    /// each row's Σ δ·ż.
    fn rates(&self, first: usize) -> Tally {
        let pairs = self.sizes[first..].windows(2);
        let above: u64 = pairs.map(|pair| pair[0] * pair[1]).sum();
        let units_above: u64 = self.sizes[first + 1..].iter().sum();
        let hidden: u64 = self.sizes[first..self.sizes.len() - 1].iter().sum();
        Tally {
            jacobian_vector_products: 1,
            ..Tally::NONE
        } + Tally::fused(self.rows * above)
            + Tally::additions(self.rows * units_above)
            + Tally::multiplications(self.rows * hidden)
            + Tally::fused(self.rows * self.classes())
    }

    /// Returns the operations of `project`: Σ_k s_k·v_k of every parameter; 1/K.
    fn combined(&self, directions: u64) -> Tally {
        Tally::fused(directions * self.parameters()) + Tally::divisions(1)
    }
}
