//! What the formulas of all methods depend on: the numbers of a network and of a mini-batch, and the
//! operations of the steps that several methods share.

use crate::data::{Inputs, Samples};
use crate::model::Network;
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;
use crate::numeric::tally::Tally;

/// Operations of σ alone: e^−z, 1 + e^−z, the reciprocal.
pub(super) const SIGMOID: Tally = Tally {
    exponentials: 1,
    additions: 1,
    divisions: 1,
    ..Tally::NONE
};

/// Operations of y = σ(z) together with 1 − y: t = e^−|z|, 1 + t, r = 1/(1 + t), t·r.
pub(super) const SIGMOID_PAIR: Tally = Tally {
    multiplications: 1,
    ..SIGMOID
};

/// Operations of softplus: max(z, 0) + ln(1 + e^−|z|).
pub(super) const SOFTPLUS: Tally = Tally {
    additions: 1,
    exponentials: 1,
    logarithms: 1,
    ..Tally::NONE
};

/// Operations of an input that is scaled as it is read, (x − offset)/divisor.
const SCALED_INPUT: Tally = Tally {
    additions: 1,
    divisions: 1,
    ..Tally::NONE
};

/// The numbers of a network and of a mini-batch.
pub(super) struct BatchShape {
    /// Layer sizes n_0 … n_L.
    pub sizes: Vec<u64>,
    pub bias: bool,
    pub output_loss: OutputLoss,
    pub l2: bool,
    /// True if the rows' losses have factors.
    pub weighted: bool,
    /// B, the number of rows.
    pub rows: u64,
    /// True where inputs are bytes that are scaled as they are read.
    reads_bytes: bool,
    /// Number of fused multiply-adds of the first layer's z. Inputs that are 0 in sparse rows are
    /// left out.
    pub first_products: u64,
}

impl BatchShape {
    pub fn new<R: Real>(network: &Network, samples: &Samples<R>, rows: &[u32]) -> Self {
        let sizes = network.layout.sizes().iter();
        let sizes: Vec<u64> = sizes.map(|&size| size as u64).collect();
        let inputs = match samples.inputs() {
            Inputs::Sparse(records) => rows.iter().map(|&row| records.row(row).len()).sum(),
            Inputs::Bytes(..) | Inputs::Numbers(_) => rows.len() * samples.features(),
        };
        Self {
            bias: network.layout.has_bias(),
            output_loss: network.output_loss(),
            l2: network.l2 != 0.0,
            weighted: !network.class_weights.is_empty(),
            rows: rows.len() as u64,
            reads_bytes: matches!(samples.inputs(), Inputs::Bytes(..)),
            first_products: inputs as u64 * sizes[1],
            sizes,
        }
    }

    /// Returns the operations of the factor of each of `values` losses or changes of them.
    pub fn factors(&self, values: u64) -> Tally {
        Tally::multiplications(if self.weighted { values } else { 0 })
    }

    /// Returns L, the number of layers.
    pub fn layers(&self) -> usize {
        self.sizes.len() - 1
    }

    /// Returns n_L.
    pub fn classes(&self) -> u64 {
        self.sizes[self.layers()]
    }

    /// Returns the number of hidden units.
    pub fn hidden(&self) -> u64 {
        self.sizes[1..self.layers()].iter().sum()
    }

    /// Returns U, the number of units.
    pub fn units(&self) -> u64 {
        self.hidden() + self.classes()
    }

    /// Returns the number of weights of layer l.
    pub fn weights(&self, l: usize) -> u64 {
        self.sizes[l] * self.sizes[l - 1]
    }

    /// Returns P, the number of weights of all layers.
    pub fn all_weights(&self) -> u64 {
        (1..=self.layers()).map(|l| self.weights(l)).sum()
    }

    /// Returns the number of biases of layer l.
    pub fn biases(&self, l: usize) -> u64 {
        if self.bias { self.sizes[l] } else { 0 }
    }

    /// Returns N, the number of parameters.
    pub fn parameters(&self) -> u64 {
        self.all_weights() + if self.bias { self.units() } else { 0 }
    }

    /// Returns the operations of z of layer l: per unit one chain of n_{l−1} fused multiply-adds
    /// that starts from the bias.
    pub fn products(&self, l: usize) -> Tally {
        Tally::fused(match l {
            1 => self.first_products,
            _ => self.rows * self.weights(l),
        })
    }

    /// Returns the operations of z of all layers.
    pub fn all_products(&self) -> Tally {
        (1..=self.layers()).fold(Tally::NONE, |sum, l| sum + self.products(l))
    }

    /// Returns the operations of scaling the inputs as they are read, once.
    pub fn scaled_inputs(&self) -> Tally {
        let inputs = if self.reads_bytes { self.sizes[0] } else { 0 };
        SCALED_INPUT * (self.rows * inputs)
    }
}
