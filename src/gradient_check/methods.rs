//! The methods that are checked, and what each costs.

use super::{CheckSubject, GradientComparison};
use crate::data::{Inputs, Samples};
use crate::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, NodePerturbationConfig, Reuse, Scheme, Summation,
};
use crate::gradient::{GradientConfig, NumericBackpropConfig, Stopped};
use crate::numeric::{Precision, Real};

/// Multiplications that an exponential with its division is worth.
const SIGMOID: f64 = 12.0;

/// A way to a gradient, in one precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CheckedMethod {
    /// Which.
    pub gradient: GradientConfig,
    /// What it is computed in.
    pub precision: Precision,
}

/// What became of a method.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It has a gradient.
    Compared(GradientComparison),
    /// It has none: an increment is lost in θ.
    Lost(Stopped),
}

impl Outcome {
    /// Whether nothing is wrong: a lost increment is no error of the method.
    pub fn passed(&self) -> bool {
        match self {
            Self::Compared(comparison) => comparison.passed(),
            Self::Lost(_) => true,
        }
    }
}

/// Backprop in single precision, then in both precisions forward mode, numeric backprop, node
/// perturbation, and forward and central differences in all their evaluations and arithmetics; of whole passes by `summation`.
/// A number for `increment` is every difference's; numeric backprop and node perturbation take
/// `auto` for any other rule.
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

/// What needs more than one look at the loss, by incremental differences in plain arithmetic: the
/// increment from measured noise, and extrapolation of quotients at h and h/2 (`increment` is the
/// first h).
pub fn refined(increment: Increment) -> Vec<CheckedMethod> {
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
    /// What it uses again from one parameter to the next; `None`: all of them are found at once.
    pub fn reuse(&self) -> Option<Reuse> {
        match self.gradient {
            GradientConfig::Difference(config) => Some(config.reuse),
            GradientConfig::ForwardMode(reuse) => Some(reuse),
            _ => None,
        }
    }
}

impl CheckSubject<'_> {
    /// Losses that `method` evaluates, and derivatives along a direction.
    pub fn evaluations(&self, method: &CheckedMethod) -> u64 {
        method.gradient.passes(&self.network.layout)
    }

    /// What `method` costs, in multiplications: predicted from shapes and from how many inputs are
    /// not 0 and how many are different. An exponential with its division counts as 12.
    pub fn cost(&self, method: &CheckedMethod) -> f64 {
        let sizes = self.network.layout.sizes();
        let layers = sizes.len() - 1;
        let rows = self.rows.len() as f64;
        let tail = |l: usize| {
            let above = sizes.get(l + 2).map_or(0.0, |&n| n as f64);
            SIGMOID + above * (1.0 + SIGMOID) + self.pass((l + 2).min(layers))
        };
        let Some(reuse) = method.reuse() else {
            let of_units = match method.gradient {
                GradientConfig::NodePerturbation(_) => {
                    (0..layers).map(|l| sizes[l + 1] as f64 * tail(l)).sum()
                }
                _ => self.pass(0),
            };
            return rows * (2.0 * self.pass(0) + of_units);
        };
        let each = |l: usize| {
            let units = sizes[l + 1] as f64;
            let parameters = units * (sizes[l] as f64 + 1.0);
            match reuse {
                Reuse::Full => parameters * self.pass(0),
                Reuse::Prefix => parameters * self.pass(l),
                Reuse::Incremental => {
                    let values = if l == 0 {
                        self.inputs[1]
                    } else {
                        sizes[l] as f64
                    };
                    units * (values + 1.0) * tail(l)
                }
            }
        };
        let sides = method.gradient.perturbation().map_or(1.0, |config| {
            let sides = match config.scheme {
                Scheme::Forward => 1.0,
                Scheme::Central => 2.0,
            };
            sides * config.looks() as f64
        });
        sides * rows * (0..layers).map(each).sum::<f64>()
    }

    /// What the complex step costs, as [`CheckSubject::cost`] has it: one complex multiplication is 4.
    pub fn complex_cost(&self) -> f64 {
        let sizes = self.network.layout.sizes();
        let each = |l: usize| {
            let moved = sizes[l + 1] as f64 * (self.filled(l) + 1.0);
            moved * (SIGMOID + self.pass(l + 1))
        };
        4.0 * self.rows.len() as f64 * (0..sizes.len() - 1).map(each).sum::<f64>()
    }

    /// A row's forward pass from layer `first` on.
    fn pass(&self, first: usize) -> f64 {
        let sizes = self.network.layout.sizes();
        let layers = first..sizes.len() - 1;
        layers
            .map(|l| sizes[l + 1] as f64 * (self.filled(l) + SIGMOID))
            .sum()
    }

    /// Inputs of layer `layer` that are not 0.
    fn filled(&self, layer: usize) -> f64 {
        if layer == 0 {
            self.inputs[0]
        } else {
            self.network.layout.sizes()[layer] as f64
        }
    }
}

/// Means over `rows`: how many inputs are not 0, and how many different values they have.
pub(super) fn inputs<R: Real>(samples: &Samples<R>, rows: &[u32]) -> [f64; 2] {
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
