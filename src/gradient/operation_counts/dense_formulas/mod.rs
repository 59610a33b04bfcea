//! Closed-form operation counts of a plain implementation: dense inputs, no shared work.
//!
//! The kernels leave zeros out, share equal inputs and fuse constants, so their counts
//! (`gradient/operation_counts/backprop.rs` and its siblings) depend on the data. The counts here
//! do not: every method has one, for every loss, and all are of the same plain style. A sigmoid is
//! 1 addition, 1 exponential, 1 division; the quadratic loss of a sample is multiplied once by ½,
//! a sum over rows once by 1/B, each quotient once by 1/h; constants are free; l2 is left out. With
//! class weights each row's loss, its change by a parameter or unit, and each of its δ_L is
//! multiplied once by the row's factor.
//! `tests/library/dense_counts.rs` compares every formula with the operations that the textbook's passes
//! perform on a scalar that counts them.
//!
//! B rows, sizes n_0 … n_L; P = Σ n_l·n_{l−1} weights, U = Σ_{l≥1} n_l units, N parameters,
//! H = P − n_0·n_1 weights above the first layer; R_k and U_k are the sums P and U from layer k on.
//! `passes.rs` has backprop and whole passes, `incremental.rs` what computes only changes,
//! `directions.rs` directional derivatives, `growth.rs` how multiplications grow with the widths.
//!
//! Backprop over a forward pass: `B(2P + H + 2U + n_L + 1) + N + 1` multiplications over
//! `B(P + n_L + 1) + 1`. To leading order in the widths that is `(2P + H)/P + 1/B`, at most
//! 3 + 1/B: near 2 where the first layer holds most weights, since nobody needs the gradient of the
//! inputs, near 3 where the layers above do. For all operations together the bound is 4 to 5
//! (Griewank and Walther, "Evaluating Derivatives", 2008, section 3.3).

mod directions;
pub mod growth;
mod incremental;
mod passes;

use super::shape::{SIGMOID, SOFTPLUS};
use crate::gradient::GradientConfig;
use crate::gradient::finite_difference::{Arithmetic, DifferenceConfig, Reuse, Scheme};
use crate::gradient::random_direction::PerturbedQuantity;
use crate::model::Network;
use crate::numeric::output_loss::OutputLoss;
use crate::numeric::tally::Tally;
use crate::textbook::counting::{Counted, Number, count};
use crate::textbook::{Sample, Target, TextbookNetwork};

/// Returns the operations of one loss over `rows` rows at one θ.
pub fn evaluation(network: &Network, rows: u64) -> Tally {
    NetworkSums::new(network).evaluation(rows)
}

/// Returns the operations of one gradient over `rows` rows; `None` for extrapolated differences,
/// whose plain form would be that of two differences.
pub fn gradient(network: &Network, method: &GradientConfig, rows: u64) -> Option<Tally> {
    let sizes = NetworkSums::new(network);
    let tally = match method {
        GradientConfig::Backprop => sizes.backprop(rows),
        GradientConfig::NumericBackprop(_) => sizes.numeric_backprop(rows),
        GradientConfig::Difference(config) if config.extrapolate => return None,
        GradientConfig::Difference(config) => sizes.difference(config, rows),
        GradientConfig::NodePerturbation(config) => {
            sizes.node_perturbation(config.arithmetic, rows)
        }
        GradientConfig::ForwardMode(Reuse::Incremental) => sizes.incremental_forward_mode(rows),
        GradientConfig::ForwardMode(reuse) => sizes.forward_mode(*reuse, rows),
        GradientConfig::ForwardGradient(config) => {
            let count = config.directions.count as u64;
            match config.perturbed {
                PerturbedQuantity::Weights => sizes.forward_gradient(count, rows),
                PerturbedQuantity::Activations => sizes.activity_forward_gradient(count, rows),
            }
        }
        GradientConfig::Spsa(config) => sizes.spsa(config.directions.count as u64, rows),
    };
    Some(tally)
}

/// Counts the operations of the same gradient, by running the textbook's passes over a number that
/// counts. The result equals that of [`gradient`], whatever `theta` is. Its numbers of evaluations
/// and Jacobian-vector products are not counted, but taken from there.
///
/// Cost: some nanoseconds per operation. `None` where [`gradient`] is `None`.
pub fn counted(
    network: &Network,
    method: &GradientConfig,
    theta: &[f64],
    batch: &[Sample<impl Target>],
) -> Option<Tally> {
    let predicted = gradient(network, method, batch.len() as u64)?;
    let net = TextbookNetwork {
        l2: 0.0,
        ..TextbookNetwork::from(network)
    };
    let theta: Vec<Counted> = theta.iter().map(|&x| Counted::of(x)).collect();
    let (_, tally) = count(|| run(&net, method, &theta, batch));
    Some(Tally {
        evaluations: predicted.evaluations,
        jacobian_vector_products: predicted.jacobian_vector_products,
        ..tally
    })
}

/// Computes the gradient `(N,)` by the textbook's form of `method`. Increments and directions are
/// constants, on which counts do not depend.
fn run(
    net: &TextbookNetwork,
    method: &GradientConfig,
    theta: &[Counted],
    batch: &[Sample<impl Target>],
) -> Vec<Counted> {
    let h = 1e-6;
    let directions = |count: usize, components: usize| vec![vec![1.0; components]; count];
    match method {
        GradientConfig::Backprop => net.gradient(theta, batch).1,
        GradientConfig::NumericBackprop(_) => net.numeric_backprop(theta, batch, h).1,
        GradientConfig::Difference(config) => differences(net, config, theta, batch, h),
        GradientConfig::NodePerturbation(config) => match config.arithmetic {
            Arithmetic::Plain => net.node_perturbation(theta, batch, h),
            Arithmetic::CancellationFree => {
                net.cancellation_free_node_perturbation(theta, batch, h)
            }
        },
        GradientConfig::ForwardMode(Reuse::Full) => net.forward_mode(theta, batch),
        GradientConfig::ForwardMode(Reuse::Prefix) => net.prefix_forward_mode(theta, batch),
        GradientConfig::ForwardMode(Reuse::Incremental) => {
            net.incremental_forward_mode(theta, batch)
        }
        GradientConfig::ForwardGradient(config) => {
            let count = config.directions.count;
            match config.perturbed {
                PerturbedQuantity::Weights => {
                    net.forward_gradient(theta, batch, &directions(count, theta.len()))
                }
                PerturbedQuantity::Activations => {
                    let units = net.sizes[1..].iter().sum();
                    net.activity_forward_gradient(theta, batch, &directions(count, units))
                }
            }
        }
        GradientConfig::Spsa(config) => {
            let directions = directions(config.directions.count, theta.len());
            net.spsa(theta, batch, &directions, h)
        }
    }
}

fn differences(
    net: &TextbookNetwork,
    config: &DifferenceConfig,
    theta: &[Counted],
    batch: &[Sample<impl Target>],
    h: f64,
) -> Vec<Counted> {
    match (config.reuse, config.arithmetic, config.scheme) {
        (Reuse::Full, _, Scheme::Forward) => net.forward_differences(theta, batch, h),
        (Reuse::Full, _, Scheme::Central) => net.central_differences(theta, batch, h),
        (Reuse::Prefix, _, Scheme::Forward) => net.prefix_forward_differences(theta, batch, h),
        (Reuse::Prefix, _, Scheme::Central) => net.prefix_central_differences(theta, batch, h),
        (Reuse::Incremental, Arithmetic::Plain, Scheme::Forward) => {
            net.incremental_differences(theta, batch, h)
        }
        (Reuse::Incremental, Arithmetic::Plain, Scheme::Central) => {
            net.incremental_central_differences(theta, batch, h)
        }
        (Reuse::Incremental, Arithmetic::CancellationFree, Scheme::Forward) => {
            net.cancellation_free_differences(theta, batch, h)
        }
        (Reuse::Incremental, Arithmetic::CancellationFree, Scheme::Central) => {
            net.cancellation_free_central_differences(theta, batch, h)
        }
    }
}

/// Counts the operations of one loss over `batch`, by running the textbook's pass.
pub fn counted_evaluation(
    network: &Network,
    theta: &[f64],
    batch: &[Sample<impl Target>],
) -> Tally {
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

    /// Returns the number of hidden units.
    fn hidden(&self) -> u64 {
        self.units - self.outputs()
    }

    /// Returns the number of biases of layers k … L.
    fn biases_from(&self, k: usize) -> u64 {
        if self.bias { self.units_from(k) } else { 0 }
    }

    /// Returns the number of parameters of layer l.
    fn parameters_of(&self, l: usize) -> u64 {
        self.n[l] * (self.n[l - 1] + u64::from(self.bias))
    }

    /// Returns R_k.
    fn products_from(&self, k: usize) -> u64 {
        (k..=self.layers()).map(|m| self.n[m] * self.n[m - 1]).sum()
    }

    /// Returns U_k.
    fn units_from(&self, k: usize) -> u64 {
        (k..=self.layers()).map(|m| self.n[m]).sum()
    }

    /// Returns the operations of W·x of layers k … L for one row: sums of products, no biases.
    fn products(&self, k: usize) -> Tally {
        let products = self.products_from(k);
        Tally::multiplications(products) + Tally::additions(products - self.units_from(k))
    }

    /// Returns the operations of one row's pass through layers k … L up to z_L: products, biases,
    /// hidden sigmoids.
    fn activations_from(&self, k: usize) -> Tally {
        self.products(k)
            + Tally::additions(self.biases_from(k))
            + SIGMOID * (self.units_from(k) - self.outputs())
    }

    /// Returns the operations of the hidden activations of one row.
    fn hidden_activations(&self) -> Tally {
        let last = self.layers();
        let top = self.products(last) + Tally::additions(self.biases_from(last));
        let mut tally = self.activations_from(1);
        tally.multiplications -= top.multiplications;
        tally.additions -= top.additions;
        tally
    }

    /// Returns the operations of one output's term of the loss, from its z; of the whole loss where
    /// the outputs share one term, as those of a softmax.
    fn term(&self) -> Tally {
        match self.output_loss {
            // r²
            OutputLoss::SigmoidQuadratic => SIGMOID + Tally::fused(1),
            OutputLoss::LinearQuadratic => Tally::fused(1),
            OutputLoss::SigmoidCrossEntropy => SOFTPLUS,
            OutputLoss::Logistic => SOFTPLUS + Tally::multiplications(1),
            // z − max, e^…, their sum; ln of the sum, z_target − max, their difference.
            OutputLoss::SoftmaxCrossEntropy => {
                let n = self.outputs();
                Tally {
                    additions: 2 * n + 1,
                    exponentials: n,
                    logarithms: 1,
                    ..Tally::NONE
                }
            }
        }
    }

    /// Returns the operations of one row's loss from z_L without the factor ½: its terms and their
    /// sum.
    fn terms(&self) -> Tally {
        match self.output_loss {
            OutputLoss::SoftmaxCrossEntropy => self.term(),
            _ => self.term() * self.outputs() + Tally::additions(self.outputs() - 1),
        }
    }

    /// Returns the operations of one row's loss, from z_L.
    fn loss(&self) -> Tally {
        let is_quadratic = matches!(
            self.output_loss,
            OutputLoss::SigmoidQuadratic | OutputLoss::LinearQuadratic
        );
        self.terms() + Tally::multiplications(u64::from(is_quadratic))
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

    /// Returns the operations of the factors of `values` losses, changes of them, or errors: class
    /// weights give each row one.
    fn factors(&self, values: u64) -> Tally {
        Tally::multiplications(if self.weighted { values } else { 0 })
    }

    /// Returns the operations of the mean loss over `rows` rows, by passes from layer `l` on.
    fn evaluation_from(&self, l: usize, rows: u64) -> Tally {
        let mean = Tally::additions(rows - 1) + Tally::multiplications(1);
        (self.activations_from(l) + self.loss() + self.factors(1)) * rows + mean
    }

    /// Returns the operations of the mean loss over `rows` rows.
    fn evaluation(&self, rows: u64) -> Tally {
        let mut tally = self.evaluation_from(1, rows);
        tally.evaluations = 1;
        tally
    }

    /// Returns the operations of summing N values over `rows` rows.
    fn sums_over(&self, rows: u64) -> Tally {
        Tally::additions((rows - 1) * self.parameters)
    }
}
