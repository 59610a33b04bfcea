//! The gradient methods that are checked, with the predicted cost of each.

use super::{CheckSubject, GradientComparison, Judgment};
use crate::data::{Inputs, Samples};
use crate::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, NodePerturbationConfig, Reuse, Scheme, Summation,
};
use crate::gradient::{GradientConfig, NumericBackpropConfig, Stopped};
use crate::numeric::{Precision, Real};

/// Cost of a sigmoid (an exponential and a division), in multiplications.
const SIGMOID_COST: f64 = 12.0;

/// A gradient method in one precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CheckedMethod {
    /// The method.
    pub gradient: GradientConfig,
    /// The precision of its arithmetic.
    pub precision: Precision,
}

/// The outcome of checking one method.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The method computed a gradient, which was compared.
    Compared(GradientComparison),
    /// The method computed no gradient, because an increment is lost in θ.
    Lost(Stopped),
}

impl Outcome {
    /// Returns what the check establishes; a lost increment is no error of the method.
    pub fn judgment(&self) -> Judgment {
        match self {
            Self::Compared(comparison) => comparison.judgment(),
            Self::Lost(_) => Judgment::CannotTell,
        }
    }
}

/// Lists the methods to check: backprop in single precision, then, in both precisions, forward
/// mode, numeric backprop, node perturbation, and forward and central differences with every kind
/// of reuse and arithmetic.
///
/// `summation` applies to differences of whole passes. All differences use `increment`; numeric
/// backprop and node perturbation use it only if it is a number, and the rule `auto` otherwise.
pub fn methods(increment: Increment, summation: Summation) -> Vec<CheckedMethod> {
    let mut methods = vec![CheckedMethod {
        gradient: GradientConfig::Backprop,
        precision: Precision::F32,
    }];
    for precision in [Precision::F64, Precision::F32] {
        for reuse in [Reuse::Full, Reuse::Incremental] {
            methods.push(CheckedMethod {
                gradient: GradientConfig::ForwardMode(reuse),
                precision,
            });
        }
        let number = match increment {
            Increment::Absolute(h) => Some(h),
            _ => None,
        };
        methods.push(CheckedMethod {
            gradient: GradientConfig::NumericBackprop(NumericBackpropConfig { increment: number }),
            precision,
        });
        for arithmetic in [Arithmetic::Plain, Arithmetic::CancellationFree] {
            methods.push(CheckedMethod {
                gradient: GradientConfig::NodePerturbation(NodePerturbationConfig {
                    arithmetic,
                    increment: number,
                }),
                precision,
            });
        }
        for scheme in [Scheme::Forward, Scheme::Central] {
            for (reuse, arithmetic) in [
                (Reuse::Full, Arithmetic::Plain),
                (Reuse::Prefix, Arithmetic::Plain),
                (Reuse::Incremental, Arithmetic::Plain),
                (Reuse::Incremental, Arithmetic::CancellationFree),
            ] {
                methods.push(CheckedMethod {
                    gradient: GradientConfig::Difference(DifferenceConfig {
                        scheme,
                        reuse,
                        arithmetic,
                        summation: match reuse {
                            Reuse::Incremental => Summation::Differences,
                            _ => summation,
                        },
                        increment,
                        extrapolate: false,
                    }),
                    precision,
                });
            }
        }
    }
    methods
}

/// Lists the incremental differences in plain arithmetic that need further evaluations: with the
/// increment chosen from measured noise, and with extrapolation of the quotients at h and h/2
/// (`increment` gives h).
pub fn adaptive_methods(increment: Increment) -> Vec<CheckedMethod> {
    let mut methods = Vec::new();
    for precision in [Precision::F64, Precision::F32] {
        for scheme in [Scheme::Forward, Scheme::Central] {
            for (increment, extrapolate) in [(Increment::Noise, false), (increment, true)] {
                methods.push(CheckedMethod {
                    gradient: GradientConfig::Difference(DifferenceConfig {
                        scheme,
                        reuse: Reuse::Incremental,
                        arithmetic: Arithmetic::Plain,
                        summation: Summation::Differences,
                        increment,
                        extrapolate,
                    }),
                    precision,
                });
            }
        }
    }
    methods
}

impl CheckedMethod {
    /// Returns what the method reuses from one parameter to the next, or `None` if it computes all
    /// derivatives at once.
    pub fn reuse(&self) -> Option<Reuse> {
        match self.gradient {
            GradientConfig::Difference(config) => Some(config.reuse),
            GradientConfig::ForwardMode(reuse) => Some(reuse),
            _ => None,
        }
    }
}

impl CheckSubject<'_> {
    /// Returns the number of losses and directional derivatives that `method` evaluates.
    pub fn evaluations(&self, method: &CheckedMethod) -> u64 {
        method.gradient.passes(&self.network.layout)
    }

    /// Predicts the cost of `method` in multiplications, from the shapes and the numbers of
    /// non-zero and of distinct inputs. An exponential with its division counts as 12.
    pub fn cost(&self, method: &CheckedMethod) -> f64 {
        let sizes = self.network.layout.sizes();
        let layers = sizes.len() - 1;
        let rows = self.rows.len() as f64;
        let perturbed_loss = |l: usize| {
            let above = sizes.get(l + 2).map_or(0.0, |&n| n as f64);
            SIGMOID_COST + above * (1.0 + SIGMOID_COST) + self.pass_cost((l + 2).min(layers))
        };
        let Some(reuse) = method.reuse() else {
            let perturbations = match method.gradient {
                GradientConfig::NodePerturbation(_) => (0..layers)
                    .map(|l| sizes[l + 1] as f64 * perturbed_loss(l))
                    .sum(),
                _ => self.pass_cost(0),
            };
            return rows * (2.0 * self.pass_cost(0) + perturbations);
        };
        let layer_cost = |l: usize| {
            let units = sizes[l + 1] as f64;
            let parameters = units * (sizes[l] as f64 + 1.0);
            match reuse {
                Reuse::Full => parameters * self.pass_cost(0),
                Reuse::Prefix => parameters * self.pass_cost(l),
                Reuse::Incremental => {
                    let values = if l == 0 {
                        self.mean_input_counts[1]
                    } else {
                        sizes[l] as f64
                    };
                    units * (values + 1.0) * perturbed_loss(l)
                }
            }
        };
        let sides = method.gradient.perturbation().map_or(1.0, |config| {
            let sides = match config.scheme {
                Scheme::Forward => 1.0,
                Scheme::Central => 2.0,
            };
            sides * config.levels() as f64
        });
        sides * rows * (0..layers).map(layer_cost).sum::<f64>()
    }

    /// Predicts the cost of the complex step in the unit of [`CheckSubject::cost`]; a complex
    /// multiplication counts as 4.
    pub fn complex_cost(&self) -> f64 {
        let sizes = self.network.layout.sizes();
        let layer_cost = |l: usize| {
            let parameters = sizes[l + 1] as f64 * (self.nonzero_inputs(l) + 1.0);
            parameters * (SIGMOID_COST + self.pass_cost(l + 1))
        };
        4.0 * self.rows.len() as f64 * (0..sizes.len() - 1).map(layer_cost).sum::<f64>()
    }

    /// Returns the cost of one row's forward pass from layer `first` on.
    fn pass_cost(&self, first: usize) -> f64 {
        let sizes = self.network.layout.sizes();
        let layers = first..sizes.len() - 1;
        layers
            .map(|l| sizes[l + 1] as f64 * (self.nonzero_inputs(l) + SIGMOID_COST))
            .sum()
    }

    /// Returns the number of non-zero inputs of layer `layer`.
    fn nonzero_inputs(&self, layer: usize) -> f64 {
        if layer == 0 {
            self.mean_input_counts[0]
        } else {
            self.network.layout.sizes()[layer] as f64
        }
    }
}

/// Returns the means over `rows` of the number of non-zero inputs and of their distinct values.
pub(super) fn mean_input_counts<R: Real>(samples: &Samples<R>, rows: &[u32]) -> [f64; 2] {
    let features = samples.features() as f64;
    let Inputs::Sparse(records) = samples.inputs() else {
        return [features, features];
    };
    let mean = |of: &dyn Fn(u32) -> usize| {
        rows.iter().map(|&row| of(row) as f64).sum::<f64>() / rows.len() as f64
    };
    let different = |row: u32| {
        let mut bytes: Vec<u8> = records.row(row).iter().map(|&word| word as u8).collect();
        bytes.sort_unstable();
        bytes.dedup();
        bytes.len()
    };
    [mean(&|row| records.row(row).len()), mean(&different)]
}
