//! Closed-form operation counts of a plain implementation: dense inputs, no shared work.
//!
//! The kernels leave zeros out, share equal inputs and fuse constants, so their counts
//! (`gradient/operation_counts/backprop.rs`) depend on the data. The counts here do not: a sigmoid
//! is 1 addition, 1 exponential, 1 division; the quadratic loss of a sample is multiplied once by
//! ½, the sum once by 1/B, each quotient once by 1/h; l2 is left out. `tests/cost.rs` compares
//! every formula with the operations that the textbook's passes perform on a scalar that counts
//! them.
//!
//! B rows, sizes n_0 … n_L; P = Σ n_l·n_{l−1} weights, U = Σ_{l≥1} n_l units, N parameters,
//! H = P − n_0·n_1 weights above the first layer; R_k and U_k are the sums P and U from layer k on.

use super::shape::{SIGMOID, SOFTPLUS};
use crate::gradient::GradientConfig;
use crate::gradient::finite_difference::{Arithmetic, DifferenceConfig, Reuse, Scheme};
use crate::model::Network;
use crate::numeric::output_loss::OutputLoss;
use crate::numeric::tally::Tally;
use crate::textbook::counting::{Counted, Number, count};
use crate::textbook::{Sample, TextbookNetwork};

/// Returns the operations of one loss over `rows` rows at one θ.
pub fn evaluation(network: &Network, rows: u64) -> Tally {
    NetworkSums::new(network).evaluation(rows)
}

/// Returns the operations of one gradient over `rows` rows; `None` for methods that have no plain
/// form here.
pub fn gradient(network: &Network, method: &GradientConfig, rows: u64) -> Option<Tally> {
    let sizes = NetworkSums::new(network);
    match method {
        GradientConfig::Backprop => Some(sizes.backprop(rows)),
        GradientConfig::Difference(config) => sizes.difference(config, rows),
        GradientConfig::NodePerturbation(config)
            if config.arithmetic == Arithmetic::Plain && sizes.has_incremental_form() =>
        {
            Some(sizes.node_perturbation(rows))
        }
        _ => None,
    }
}

/// Counts the operations of the same gradient, by running the textbook's passes over a number that
/// counts. The result equals that of [`gradient`], whatever `theta` is. Its number of evaluations
/// is not counted, but taken from there.
///
/// Cost: some nanoseconds per operation. `None` where [`gradient`] is `None`.
pub fn counted(
    network: &Network,
    method: &GradientConfig,
    theta: &[f64],
    batch: &[Sample],
) -> Option<Tally> {
    let evaluations = gradient(network, method, batch.len() as u64)?.evaluations;
    let net = TextbookNetwork::from(network);
    let theta: Vec<Counted> = theta.iter().map(|&x| Counted::of(x)).collect();
    // Counts do not depend on h.
    let h = 1e-6;
    let (_, tally) = count(|| match method {
        GradientConfig::Difference(config) => match (config.reuse, config.scheme) {
            (Reuse::Incremental, _) => net.incremental_differences(&theta, batch, h),
            (_, Scheme::Forward) => net.forward_differences(&theta, batch, h),
            (_, Scheme::Central) => net.central_differences(&theta, batch, h),
        },
        GradientConfig::NodePerturbation(_) => net.node_perturbation(&theta, batch, h),
        _ => net.gradient(&theta, batch).1,
    });
    Some(Tally {
        evaluations,
        ..tally
    })
}

/// Counts the operations of one loss over `batch`, by running the textbook's pass.
pub fn counted_evaluation(network: &Network, theta: &[f64], batch: &[Sample]) -> Tally {
    let net = TextbookNetwork::from(network);
    let theta: Vec<Counted> = theta.iter().map(|&x| Counted::of(x)).collect();
    let (_, tally) = count(|| net.loss(&theta, batch));
    Tally {
        evaluations: 1,
        ..tally
    }
}

/// Sums over the network's layers, of which the formulas consist.
struct NetworkSums {
    n: Vec<u64>,
    bias: bool,
    output_loss: OutputLoss,
    /// True if the rows' losses have factors.
    weighted: bool,
    /// P, the number of weights.
    weights: u64,
    /// U, the number of units.
    units: u64,
    /// N, the number of parameters.
    parameters: u64,
}

impl NetworkSums {
    fn new(network: &Network) -> Self {
        let n: Vec<u64> = (network.layout.sizes().iter())
            .map(|&size| size as u64)
            .collect();
        Self {
            bias: network.layout.has_bias(),
            output_loss: network.output_loss(),
            weighted: !network.class_weights.is_empty(),
            weights: n.windows(2).map(|pair| pair[0] * pair[1]).sum(),
            units: n[1..].iter().sum(),
            parameters: network.layout.len() as u64,
            n,
        }
    }

    /// Returns L, the number of layers.
    fn layers(&self) -> usize {
        self.n.len() - 1
    }

    /// Returns n_L.
    fn outputs(&self) -> u64 {
        self.n[self.layers()]
    }

    /// Returns R_k.
    fn products_from(&self, k: usize) -> u64 {
        (k..=self.layers()).map(|m| self.n[m] * self.n[m - 1]).sum()
    }

    /// Returns U_k.
    fn units_from(&self, k: usize) -> u64 {
        (k..=self.layers()).map(|m| self.n[m]).sum()
    }

    /// Returns the operations of one row's forward pass up to z_L: sums of products, biases, hidden
    /// sigmoids.
    fn activations(&self) -> Tally {
        let biases = if self.bias { self.units } else { 0 };
        Tally {
            multiplications: self.weights,
            additions: self.weights - self.units + biases,
            ..Tally::NONE
        } + SIGMOID * (self.units - self.outputs())
    }

    /// Returns the operations of one row's loss, from z_L.
    fn loss(&self) -> Tally {
        let n = self.outputs();
        let residuals = Tally::additions(n);
        // ½ Σ r²
        let half_square = Tally {
            multiplications: n + 1,
            additions: n - 1,
            ..Tally::NONE
        };
        match self.output_loss {
            OutputLoss::SigmoidQuadratic => SIGMOID * n + residuals + half_square,
            OutputLoss::LinearQuadratic => residuals + half_square,
            OutputLoss::SigmoidCrossEntropy => SOFTPLUS * n + Tally::additions(n - 1),
            // z − max, e^…, their sum; ln of the sum, z_target − max, their difference.
            OutputLoss::SoftmaxCrossEntropy => Tally {
                additions: 2 * n + 1,
                exponentials: n,
                logarithms: 1,
                ..Tally::NONE
            },
            OutputLoss::Logistic => SOFTPLUS + Tally::multiplications(1),
        }
    }

    /// Returns the operations of one row's δ_L, in addition to those of the loss, whose values are
    /// reused.
    fn errors(&self) -> Tally {
        let n = self.outputs();
        match self.output_loss {
            // r·(a·(1 − a))
            OutputLoss::SigmoidQuadratic => Tally::fused(n) + Tally::multiplications(n),
            OutputLoss::LinearQuadratic => Tally::NONE,
            OutputLoss::SigmoidCrossEntropy => (SIGMOID + Tally::additions(1)) * n,
            // p = e^…/Σ, p − y
            OutputLoss::SoftmaxCrossEntropy => (Tally::divisions(1) + Tally::additions(1)) * n,
            // −y·σ(−y·z)
            OutputLoss::Logistic => SIGMOID + Tally::multiplications(2),
        }
    }

    /// Returns the operations of the factor of `values` numbers.
    fn factors(&self, values: u64) -> Tally {
        Tally::multiplications(if self.weighted { values } else { 0 })
    }

    /// Returns the operations of the mean loss over `rows` rows.
    fn evaluation(&self, rows: u64) -> Tally {
        let mean = Tally::additions(rows - 1) + Tally::multiplications(1);
        let mut tally = (self.activations() + self.loss() + self.factors(1)) * rows + mean;
        tally.evaluations = 1;
        tally
    }

    /// Returns the operations of one backprop gradient: 2P + H products for the forward pass, δ of
    /// each layer and ∂W; sums over the rows; one multiplication by 1/B per partial derivative and
    /// loss.
    fn backprop(&self, rows: u64) -> Tally {
        let hidden = self.units - self.outputs();
        let deep = self.products_from(2);
        let row = self.activations()
            + self.loss()
            + self.errors()
            + self.factors(1 + self.outputs())
            + Tally::multiplications(self.weights)
            // Wᵀδ takes one addition fewer than products for each unit below, and 1 − a is one
            // more: as many of both. Then the products of δ·(a·(1 − a)).
            + Tally::fused(deep)
            + Tally::multiplications(2 * hidden);
        let mut tally = row * rows
            + Tally::additions((rows - 1) * (self.parameters + 1))
            + Tally::multiplications(self.parameters + 1);
        tally.evaluations = 1;
        tally
    }

    /// Returns the operations of one gradient by finite differences; `None` without a plain form.
    fn difference(&self, config: &DifferenceConfig, rows: u64) -> Option<Tally> {
        let n = self.parameters;
        match (config.reuse, config.scheme, config.arithmetic) {
            _ if config.extrapolate => None,
            (Reuse::Full, Scheme::Forward, _) => {
                Some(self.evaluation(rows) * (n + 1) + Tally::fused(n) + Tally::additions(n))
            }
            (Reuse::Full, Scheme::Central, _) => {
                Some(self.evaluation(rows) * (2 * n) + Tally::fused(n) + Tally::additions(2 * n))
            }
            (Reuse::Incremental, Scheme::Forward, Arithmetic::Plain)
                if self.has_incremental_form() =>
            {
                Some(self.incremental(rows))
            }
            _ => None,
        }
    }

    /// Tells whether the textbook has an incremental form for this network: quadratic loss of
    /// sigmoid outputs, with biases.
    fn has_incremental_form(&self) -> bool {
        self.bias && self.output_loss == OutputLoss::SigmoidQuadratic
    }

    /// Returns the operations of one row's pass at θ, Σ r² included, from which perturbations
    /// start.
    fn base(&self) -> Tally {
        Tally {
            multiplications: self.weights + self.outputs(),
            additions: self.weights + self.units + 2 * self.outputs() - 1,
            exponentials: self.units,
            divisions: self.units,
            ..Tally::NONE
        }
    }

    /// Returns the operations from one perturbation of a unit in layer `l` to the change of Σ r²: a
    /// rank-1 update of the next layer, then full products.
    fn perturbed_loss(&self, l: usize) -> Tally {
        if l == self.layers() {
            return SIGMOID + Tally::fused(1) + Tally::additions(2);
        }
        let top = self.outputs();
        let passes = self.products_from(l + 2);
        let sigmoids = 1 + self.units_from(l + 1);
        Tally {
            multiplications: self.n[l + 1] + passes + top,
            additions: self.units_from(l + 1) + self.n[l + 1] + passes + 2 * top + 3,
            exponentials: sigmoids,
            divisions: sigmoids,
            ..Tally::NONE
        }
    }

    /// Returns the operations of node perturbation: each unit is perturbed once per row; its
    /// quotient, with ½, 1/B and 1/h as one constant, is multiplied by its inputs.
    fn node_perturbation(&self, rows: u64) -> Tally {
        let factors = self.factors(self.units);
        let mut row = self.base() + factors + Tally::multiplications(self.units + self.weights);
        for l in 1..=self.layers() {
            row += self.perturbed_loss(l) * self.n[l];
        }
        let mut tally = row * rows + Tally::additions((rows - 1) * self.parameters);
        tally.evaluations = self.units + 1;
        tally
    }

    /// Returns the operations of incremental forward differences: each perturbation is propagated
    /// from its unit on. Differences are those of squared errors; ½, 1/B and 1/h are applied last,
    /// as one constant.
    fn incremental(&self, rows: u64) -> Tally {
        let layers = self.layers();
        let factors = self.factors(self.parameters);
        let mut row = self.base() + factors + Tally::multiplications(self.n[..layers].iter().sum());
        for l in 1..=layers {
            row += self.perturbed_loss(l) * (self.n[l] * (self.n[l - 1] + 1));
        }
        let n = self.parameters;
        let mut tally = row * rows + Tally::multiplications(n) + Tally::additions((rows - 1) * n);
        tally.evaluations = n + 1;
        tally
    }
}
