//! Closed-form operation counts of gradient estimates from random directions, and of forward mode
//! by whole passes.
//!
//! B rows, layer sizes n_0 … n_L, N parameters, P of them weights, K directions. As in
//! [`crate::gradient::operation_counts::backprop`], a fused multiply-add is a multiplication and an
//! addition, and padding, signs and comparisons are not counted. Drawing the directions is not
//! counted either (integer arithmetic, and for Gaussian directions a function of it): their
//! components count as constants. `tests/random_direction_counts.rs` counts the same passes operation by
//! operation and compares.

use crate::data::{Inputs, Samples};
use crate::gradient::finite_difference::Reuse;
use crate::gradient::operation_counts::backprop::{
    SCALED_INPUT, SIGMOID_PAIR, first_products, losses_and_errors, sizes,
};
use crate::gradient::operation_counts::finite_difference::pass;
use crate::gradient::random_direction::{DirectionsConfig, SpsaConfig};
use crate::model::Network;
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;
use crate::numeric::tally::Tally;

/// Returns the operations of an SPSA estimate: 2K evaluations.
pub fn spsa<R: Real>(
    network: &Network,
    config: &SpsaConfig,
    samples: &Samples<R>,
    rows: &[u32],
) -> Tally {
    let shape = DirectionShape::new(network, samples, rows);
    let directions = config.directions.count as u64;
    let side = pass(network, samples, rows) + Tally::fused(shape.parameters);
    // Differences of the rows' losses and their sum, 2h; the mean, the quotient, the factor 1/K.
    let mut quotient =
        Tally::additions(2 * shape.rows + 1) + Tally::multiplications(2) + Tally::divisions(1);
    if shape.l2 {
        // Σ (w₊ − w₋)·(w₊ + w₋); times ½λ', and its addition to the change.
        quotient += (Tally::additions(2) + Tally::fused(1)) * shape.weights;
        quotient += Tally::fused(1);
    }
    let evaluations = Tally {
        evaluations: 2 * directions,
        ..Tally::NONE
    };
    // 1/B, for the means.
    let reciprocal_of_rows = Tally::divisions(1);
    evaluations
        + shape.gathered()
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
    let shape = DirectionShape::new(network, samples, rows);
    let directions = directions.count as u64;
    // m = V·a + c, the rows' derivatives, their sum, the factor 1/K.
    let mut product = shape.products()
        + shape.rates(1)
        + Tally::additions(shape.rows)
        + Tally::multiplications(1);
    if shape.l2 {
        // λ'·Σ w·v.
        product += Tally::fused(shape.weights) + Tally::fused(1);
    }
    shape.gathered() + shape.values() + product * directions + shape.combined(directions)
}

/// Returns the operations of forward mode by whole passes: the values of one pass, the rates of N
/// passes along the axes.
pub fn forward_mode<R: Real>(
    network: &Network,
    reuse: Reuse,
    samples: &Samples<R>,
    rows: &[u32],
) -> Tally {
    let shape = DirectionShape::new(network, samples, rows);
    let mut tally = shape.gathered() + shape.values();
    for l in 1..shape.sizes.len() {
        // m of all layers, though it is 0 but in one of them, or of this layer only; the sum over
        // the rows.
        let (first, moves) = match reuse {
            Reuse::Full => (1, shape.products()),
            Reuse::Prefix | Reuse::Incremental => (l, shape.product(l)),
        };
        let partial = moves + shape.rates(first) + Tally::additions(shape.rows);
        let layer = l - 1;
        let (weights, biases) = (network.layout.weights(layer), network.layout.biases(layer));
        tally += partial * (weights.len() + biases.len()) as u64;
        if shape.l2 {
            // λ'·w.
            tally += Tally::fused(weights.len() as u64);
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
    let shape = DirectionShape::new(network, samples, rows);
    let directions = directions.count as u64;
    let units: u64 = shape.sizes[1..].iter().sum();
    // The rates, each row's derivative times 1/K, δ̂; 1/K itself.
    let product =
        shape.rates(1) + Tally::multiplications(shape.rows) + Tally::fused(shape.rows * units);
    let mut tally = shape.gathered() + shape.values() + product * directions + Tally::divisions(1);
    // ∂W, ∂b; λ'W.
    tally += Tally::fused(shape.rows * shape.weights);
    if network.layout.has_bias() {
        tally += Tally::additions(shape.rows * units);
    }
    if shape.l2 {
        tally += Tally::fused(shape.weights);
    }
    tally
}

/// Numbers that the formulas depend on.
struct DirectionShape {
    /// Layer sizes n_0 … n_L.
    sizes: Vec<u64>,
    output_loss: OutputLoss,
    l2: bool,
    /// B, the number of rows.
    rows: u64,
    /// True where inputs are bytes that are scaled as they are read.
    reads_bytes: bool,
    /// Number of fused multiply-adds of the first layer's z.
    first_products: u64,
    /// N, the number of parameters.
    parameters: u64,
    /// P, the number of weights.
    weights: u64,
}

impl DirectionShape {
    fn new<R: Real>(network: &Network, samples: &Samples<R>, rows: &[u32]) -> Self {
        let sizes = sizes(network);
        Self {
            output_loss: network.output_loss(),
            l2: network.l2 != 0.0,
            rows: rows.len() as u64,
            reads_bytes: matches!(samples.inputs(), Inputs::Bytes(..)),
            first_products: first_products(samples, rows, sizes[1]),
            parameters: network.layout.len() as u64,
            weights: sizes.windows(2).map(|pair| pair[0] * pair[1]).sum(),
            sizes,
        }
    }

    /// Returns the operations of scaling inputs as they are read, once for all passes.
    fn gathered(&self) -> Tally {
        if self.reads_bytes {
            SCALED_INPUT * (self.rows * self.sizes[0])
        } else {
            Tally::NONE
        }
    }

    /// Returns the operations of W·a + b of all layers.
    fn products(&self) -> Tally {
        let above = self.weights - self.sizes[0] * self.sizes[1];
        Tally::fused(self.first_products + self.rows * above)
    }

    /// Returns the operations of W·a + b of layer l.
    fn product(&self, l: usize) -> Tally {
        Tally::fused(match l {
            1 => self.first_products,
            _ => self.rows * self.sizes[l] * self.sizes[l - 1],
        })
    }

    /// Returns the number of hidden units.
    fn hidden(&self) -> u64 {
        self.sizes[1..self.sizes.len() - 1].iter().sum()
    }

    /// Returns n_L.
    fn outputs(&self) -> u64 {
        self.sizes[self.sizes.len() - 1]
    }

    /// Returns the operations of `PrimalValues`: z, σ and σ′ of hidden units, losses and δ of the
    /// outputs; 1/B.
    fn values(&self) -> Tally {
        let mut tally = Tally {
            evaluations: 1,
            ..Tally::NONE
        };
        tally += self.products();
        tally += (SIGMOID_PAIR + Tally::multiplications(1)) * (self.rows * self.hidden());
        tally += losses_and_errors(self.output_loss, self.outputs()) * self.rows;
        if self.output_loss != OutputLoss::SoftmaxCrossEntropy {
            // Losses are summed over the rows for each output, then over the outputs.
            tally.additions += self.outputs();
        }
        tally + Tally::divisions(1)
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
            + Tally::fused(self.rows * self.outputs())
    }

    /// Returns the operations of `project`: Σ_k s_k·v_k of every parameter; 1/K.
    fn combined(&self, directions: u64) -> Tally {
        Tally::fused(directions * self.parameters) + Tally::divisions(1)
    }
}
