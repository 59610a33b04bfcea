//! Where a method looks at the loss: h of every unit, the step of every parameter as it is taken, and
//! what quotients over these steps leave out.

use crate::gradient::finite_difference::{DifferenceConfig, Reuse, Scheme, richardson};
use crate::model::{Layout, Parameters};
use crate::numeric::Real;

/// The step of one parameter as it is taken: θ + h and θ − h are rounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RealizedIncrement {
    /// The distance of the two points.
    pub distance: f64,
    /// By how much the upper point is farther away than the lower one.
    pub skew: f64,
}

/// One quotient of every parameter.
pub(super) struct EvaluationPoints {
    /// What the quotients are multiplied by: 1, or an extrapolation's weight.
    pub weight: f64,
    /// h, layer by layer, unit by unit.
    pub increments: Vec<Vec<f64>>,
    /// `(N,)`.
    pub strides: Vec<RealizedIncrement>,
}

/// The looks of a method at `theta`, the widest first; `measured` is what its engine measures for an
/// increment from noise.
pub(super) fn looks<R: Real>(
    config: &DifferenceConfig,
    theta: &Parameters<R>,
    measured: f64,
) -> Vec<EvaluationPoints> {
    if !config.extrapolate {
        return vec![EvaluationPoints::new(config, theta, measured, 1.0, 1.0)];
    }
    let factor = richardson::widening::<R>(config);
    let [wide, narrow] = richardson::weights(config.scheme);
    vec![
        EvaluationPoints::new(config, theta, measured, factor, wide),
        EvaluationPoints::new(config, theta, measured, factor / 2.0, narrow),
    ]
}

impl EvaluationPoints {
    /// `factor` times the increments of the config's rule, as the engines take them.
    fn new<R: Real>(
        config: &DifferenceConfig,
        theta: &Parameters<R>,
        measured: f64,
        factor: f64,
        weight: f64,
    ) -> Self {
        let layout: &Layout = theta.layout();
        let mut increments = Vec::new();
        let mut strides = Vec::with_capacity(layout.len());
        for layer in 0..layout.layers() {
            let (weights, biases) = (theta.weights(layer), theta.biases(layer));
            let units: Vec<R> = weights
                .outer_iter()
                .enumerate()
                .map(|(unit, row)| {
                    let largest = row
                        .iter()
                        .chain(biases.get(unit))
                        .fold(0.0, |most: f64, weight| most.max(weight.to_f64().abs()));
                    let (scheme, arithmetic) = (config.scheme, config.arithmetic);
                    let h: R = config
                        .increment
                        .of_unit(scheme, arithmetic, largest, measured);
                    h * R::from_f64(factor)
                })
                .collect();
            for (row, &h) in weights.outer_iter().zip(&units) {
                strides.extend(
                    row.iter()
                        .map(|&weight| RealizedIncrement::of(config, weight, h)),
                );
            }
            let biases = biases.iter().zip(&units);
            strides.extend(biases.map(|(&bias, &h)| RealizedIncrement::of(config, bias, h)));
            increments.push(units.iter().map(|h| h.to_f64()).collect());
        }
        Self {
            weight,
            increments,
            strides,
        }
    }

    /// Whether every increment changes its parameter, on both sides where there are two: of a step
    /// that is lost on one side, the skew is the whole distance.
    pub(super) fn is_kept(&self) -> bool {
        let mut strides = self.strides.iter();
        strides.all(|stride| stride.distance > stride.skew.abs())
    }
}

impl RealizedIncrement {
    fn of<R: Real>(config: &DifferenceConfig, theta: R, h: R) -> Self {
        if config.reuse == Reuse::Incremental {
            return Self {
                distance: config.scheme.distance(h).to_f64(),
                skew: 0.0,
            };
        }
        let (above, at) = ((theta + h).to_f64(), theta.to_f64());
        match config.scheme {
            Scheme::Forward => Self {
                distance: above - at,
                skew: 0.0,
            },
            Scheme::Central => {
                let below = (theta - h).to_f64();
                Self {
                    distance: above - below,
                    skew: (above - at) - (at - below),
                }
            }
        }
    }
}

/// Bounds of the derivatives along one parameter, over the whole step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct DerivativeBounds {
    pub second: f64,
    pub third: f64,
    /// Only extrapolated central quotients ask for it.
    pub fifth: f64,
}

/// What the looks together leave out of the derivative along parameter `index`, at most (d: distance,
/// w: weight, h = d/2):
///
/// ```text
/// forward  one: μ₂·d/2                  more: μ₂·|Σ w·d|/2 + μ₃·Σ |w|·d²/6
/// central  one: μ₃·h²/6 + μ₂·|skew|/2    more: μ₃·|Σ w·h²|/6 + μ₅·Σ |w|·h⁴/120 + μ₂·Σ |w·skew|/2
/// ```
///
/// Σ w·d and Σ w·h² are 0 but for the rounding of θ ± h: that is what extrapolation is for.
pub(super) fn left_out(
    looks: &[EvaluationPoints],
    scheme: Scheme,
    index: usize,
    of: DerivativeBounds,
) -> f64 {
    let DerivativeBounds {
        second,
        third,
        fifth,
    } = of;
    let sum = |term: &dyn Fn(f64, RealizedIncrement) -> f64| -> f64 {
        let looks = looks.iter();
        looks
            .map(|look| term(look.weight, look.strides[index]))
            .sum()
    };
    match (scheme, looks) {
        (Scheme::Forward, [look]) => second * look.strides[index].distance / 2.0,
        (Scheme::Forward, _) => {
            second * sum(&|w, of| w * of.distance).abs() / 2.0
                + third * sum(&|w, of| w.abs() * of.distance.powi(2)) / 6.0
        }
        (Scheme::Central, [look]) => {
            let RealizedIncrement { distance, skew } = look.strides[index];
            third * distance.powi(2) / 24.0 + second * skew.abs() / 2.0
        }
        (Scheme::Central, _) => {
            third * sum(&|w, of| w * of.distance.powi(2)).abs() / 24.0
                + fifth * sum(&|w, of| w.abs() * of.distance.powi(4)) / 1920.0
                + (second / 2.0) * sum(&|w, of| (w * of.skew).abs())
        }
    }
}
