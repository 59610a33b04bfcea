//! What several ranks exchange for a gradient or a step, in closed form.
//!
//! Every exchange is an all-gather, or an addition over all ranks: each byte of it is delivered to
//! every other rank once. [`Communication`] counts the bytes of one copy; P ranks deliver P − 1 times
//! as many ([`Communication::delivered`]), which is what [`crate::parallel::cluster::Traffic`]
//! counts. Neither depends on the division of the work, on threads or on padding:
//!
//! | method | numbers of a step |
//! |---|---|
//! | backprop, exact | rows × (2·hidden units + outputs), the rows' losses, N |
//! | backprop, fast | N, and one loss |
//! | differences and forward mode of every parameter, node perturbation | N |
//! | SPSA, forward gradient by weights | K |
//! | forward gradient by activations | K × rows |
//!
//! With momentum, a segment of steps (of some milliseconds) of a fused engine exchanges N numbers
//! more.

use crate::gradient::GradientConfig;
use crate::gradient::random_direction::PerturbedQuantity;
use crate::model::Network;
use crate::numeric::output_loss::OutputLoss;
use crate::parallel::cluster::Reduce;

/// Bytes and collective calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Communication {
    /// Bytes of one copy of what is exchanged.
    pub bytes: u64,
    /// Collective calls.
    pub exchanges: u64,
}

impl Communication {
    /// Returns the bytes that `ranks` ranks deliver to each other.
    pub fn delivered(self, ranks: usize) -> u64 {
        self.bytes * (ranks as u64).saturating_sub(1)
    }
}

impl std::ops::Add for Communication {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            exchanges: self.exchanges + other.exchanges,
        }
    }
}

/// Returns what one gradient of `rows` rows exchanges, with numbers of `width` bytes. A step
/// exchanges as much: θ instead of the gradient, or the gradient.
pub fn gradient(
    config: &GradientConfig,
    network: &Network,
    (rows, width): (usize, usize),
    reduce: Reduce,
) -> Communication {
    let sizes = network.layout.sizes();
    let numbers = |count: usize| (count * width) as u64;
    let parameters = Communication {
        bytes: numbers(network.layout.len()),
        exchanges: 1,
    };
    let directions = |count: usize| Communication {
        bytes: numbers(count),
        exchanges: 1,
    };
    match config {
        GradientConfig::Backprop | GradientConfig::NumericBackprop(_) => {
            if reduce == Reduce::Fast {
                let loss = Communication {
                    bytes: 8,
                    exchanges: 1,
                };
                return parameters + loss;
            }
            let hidden: usize = sizes[1..sizes.len() - 1].iter().sum();
            let outputs = sizes[sizes.len() - 1];
            let is_softmax = network.output_loss() == OutputLoss::SoftmaxCrossEntropy;
            let row_losses = match config {
                // One loss in double precision, or a term per output.
                GradientConfig::NumericBackprop(_) => 8,
                _ if is_softmax => 8,
                _ => numbers(outputs),
            };
            let values = rows as u64 * (numbers(2 * hidden + outputs) + row_losses);
            parameters
                + Communication {
                    bytes: values,
                    exchanges: 1,
                }
        }
        GradientConfig::Difference(config) if config.extrapolate => parameters + parameters,
        GradientConfig::Difference(_)
        | GradientConfig::ForwardMode(_)
        | GradientConfig::NodePerturbation(_) => parameters,
        GradientConfig::Spsa(config) => directions(config.directions.count),
        GradientConfig::ForwardGradient(config) => match config.perturbed {
            PerturbedQuantity::Weights => directions(config.directions.count),
            PerturbedQuantity::Activations => directions(config.directions.count * rows),
        },
    }
}
