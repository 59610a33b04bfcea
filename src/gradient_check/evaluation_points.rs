//! The points at which a difference evaluates the loss: h of every unit, the realized increment of
//! every parameter, and the truncation of quotients over these increments.

use crate::gradient::finite_difference::{DifferenceConfig, Reuse, Scheme, richardson};
use crate::model::{Layout, Parameters};
use crate::numeric::Real;

/// The increment of one parameter after θ + h and θ − h are rounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RealizedIncrement {
    /// The distance between the two evaluation points.
    pub distance: f64,
    /// The distance of the upper point from θ minus that of the lower one.
    pub skew: f64,
}

/// The evaluation points of one difference quotient for every parameter.
pub(super) struct EvaluationPoints {
    /// The factor of the quotients: 1, or an extrapolation's weight.
    pub weight: f64,
    /// h of each unit, layer by layer.
    pub increments: Vec<Vec<f64>>,
    /// The realized increment of each parameter, `(N,)`.
    pub realized: Vec<RealizedIncrement>,
}

/// Returns the evaluation points of a method at `theta`, widest first. `measured` is the increment
/// that the engine measures under the noise rule.
pub(super) fn evaluation_points<R: Real>(
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
    /// Computes the points for `factor` times the increments of the config's rule, exactly as the
    /// engines do.
    fn new<R: Real>(
        config: &DifferenceConfig,
        theta: &Parameters<R>,
        measured: f64,
        factor: f64,
        weight: f64,
    ) -> Self {
        let layout: &Layout = theta.layout();
        let mut increments = Vec::new();
        let mut realized = Vec::with_capacity(layout.len());
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
                        .for_unit(scheme, arithmetic, largest, measured);
                    h * R::from_f64(factor)
                })
                .collect();
            for (row, &h) in weights.outer_iter().zip(&units) {
                realized.extend(
                    row.iter()
                        .map(|&weight| RealizedIncrement::realize(config, weight, h)),
                );
            }
            let biases = biases.iter().zip(&units);
            realized.extend(biases.map(|(&bias, &h)| RealizedIncrement::realize(config, bias, h)));
            increments.push(units.iter().map(|h| h.to_f64()).collect());
        }
        Self {
            weight,
            increments,
            realized,
        }
    }

    /// Returns whether every increment changes its parameter, on both sides if there are two. If one
    /// side is lost by rounding, the skew is the whole distance.
    pub(super) fn changes_every_parameter(&self) -> bool {
        self.realized
            .iter()
            .all(|increment| increment.distance > increment.skew.abs())
    }
}

impl RealizedIncrement {
    fn realize<R: Real>(config: &DifferenceConfig, theta: R, h: R) -> Self {
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

/// Bounds on the derivatives along one parameter, over the whole increment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct DerivativeBounds {
    pub second: f64,
    pub third: f64,
    /// Used by extrapolated central quotients only.
    pub fifth: f64,
}

/// Bounds the truncation of the weighted quotients along parameter `index` (d: distance, w: weight,
/// h = d/2):
///
/// ```text
/// forward  one quotient   μ₂·d/2
///          several        μ₂·|Σ w·d|/2 + μ₃·Σ |w|·d²/6
/// central  one quotient   μ₃·h²/6 + μ₂·|skew|/2
///          several        μ₃·|Σ w·h²|/6 + μ₅·Σ |w|·h⁴/120 + μ₂·Σ |w·skew|/2
/// ```
///
/// The weights of an extrapolation make Σ w·d, or Σ w·h², 0 except for the rounding of θ ± h.
pub(super) fn truncation_bound(
    evaluation_points: &[EvaluationPoints],
    scheme: Scheme,
    index: usize,
    bounds: DerivativeBounds,
) -> f64 {
    let DerivativeBounds {
        second,
        third,
        fifth,
    } = bounds;
    let sum = |term: &dyn Fn(f64, RealizedIncrement) -> f64| -> f64 {
        let evaluation_points = evaluation_points.iter();
        evaluation_points
            .map(|points| term(points.weight, points.realized[index]))
            .sum()
    };
    match (scheme, evaluation_points) {
        (Scheme::Forward, [points]) => second * points.realized[index].distance / 2.0,
        (Scheme::Forward, _) => {
            second * sum(&|w, x| w * x.distance).abs() / 2.0
                + third * sum(&|w, x| w.abs() * x.distance.powi(2)) / 6.0
        }
        (Scheme::Central, [points]) => {
            let RealizedIncrement { distance, skew } = points.realized[index];
            third * distance.powi(2) / 24.0 + second * skew.abs() / 2.0
        }
        (Scheme::Central, _) => {
            third * sum(&|w, x| w * x.distance.powi(2)).abs() / 24.0
                + fifth * sum(&|w, x| w.abs() * x.distance.powi(4)) / 1920.0
                + (second / 2.0) * sum(&|w, x| (w * x.skew).abs())
        }
    }
}
