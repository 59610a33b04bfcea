//! The methods that are checked, and what each costs.

use super::{Comparison, Subject};
use crate::data::{Inputs, Samples};
use crate::gradient::difference::{
    Arithmetic, DifferenceConfig, Increment, Reuse, Scheme, Summation,
};
use crate::gradient::{GradientConfig, Stopped};
use crate::numeric::{Precision, Real};

/// A way to a gradient, in one precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Method {
    /// Which.
    pub gradient: GradientConfig,
    /// What it is computed in.
    pub precision: Precision,
}

/// What became of a method.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It has a gradient.
    Compared(Comparison),
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

/// Backprop in single precision, then forward and central differences in all their evaluations and
/// arithmetics, in both precisions; of whole passes by `summation`.
pub fn methods(increment: Increment, summation: Summation) -> Vec<Method> {
    let mut methods = vec![Method {
        gradient: GradientConfig::Backprop,
        precision: Precision::F32,
    }];
    for precision in [Precision::F64, Precision::F32] {
        for scheme in [Scheme::Forward, Scheme::Central] {
            for (reuse, arithmetic) in [
                (Reuse::Full, Arithmetic::Plain),
                (Reuse::Prefix, Arithmetic::Plain),
                (Reuse::Incremental, Arithmetic::Plain),
                (Reuse::Incremental, Arithmetic::CancellationFree),
            ] {
                methods.push(Method {
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

impl Subject<'_> {
    /// Losses that `method` evaluates.
    pub fn evaluations(&self, method: &Method) -> u64 {
        let parameters = self.network.layout.len() as u64;
        method
            .gradient
            .difference()
            .map_or(1, |config| config.scheme.evaluations(parameters))
    }

    /// What `method` costs, in multiplications: predicted from shapes and from how many inputs are
    /// not 0 and how many are different. An exponential with its division counts as 12.
    pub fn cost(&self, method: &Method) -> f64 {
        const SIGMOID: f64 = 12.0;
        let sizes = self.network.layout.sizes();
        let [filled, distinct] = self.inputs;
        let layers = sizes.len() - 1;
        let inputs = |layer: usize| {
            if layer == 0 {
                filled
            } else {
                sizes[layer] as f64
            }
        };
        let layer = |l: usize| sizes[l + 1] as f64 * (inputs(l) + SIGMOID);
        let pass = |first: usize| (first..layers).map(layer).sum::<f64>();
        let rows = self.rows.len() as f64;
        let Some(config) = method.gradient.difference() else {
            return 3.0 * rows * pass(0);
        };
        let each = |l: usize| {
            let units = sizes[l + 1] as f64;
            let parameters = units * (sizes[l] as f64 + 1.0);
            match config.reuse {
                Reuse::Full => parameters * pass(0),
                Reuse::Prefix => parameters * pass(l),
                Reuse::Incremental => {
                    let values = if l == 0 { distinct } else { sizes[l] as f64 };
                    let above = sizes.get(l + 2).map_or(0.0, |&n| n as f64);
                    let tail = SIGMOID + above * (1.0 + SIGMOID) + pass((l + 2).min(layers));
                    units * (values + 1.0) * tail
                }
            }
        };
        let sides = match config.scheme {
            Scheme::Forward => 1.0,
            Scheme::Central => 2.0,
        };
        sides * rows * (0..layers).map(each).sum::<f64>()
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
