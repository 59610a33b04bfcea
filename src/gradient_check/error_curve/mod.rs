//! Predicts the V-shaped error curve of finite differences: the expected relative error at an
//! increment, from truncation (`truncation.rs`), the round-off of the perturbed pass
//! (`perturbed_roundoff.rs`) and the round-off that backprop has as well (`backprop_roundoff.rs`).
//!
//! ```text
//! E‖ĝ − g‖² = Σᵢ (truncationᵢ + lostᵢ)² + Σᵢ noiseᵢ/(B·d)² + Σᵢ backprop's round-offᵢ
//!
//! truncation   forward: L″·h/2 + L‴·h²/6
//!              central: L‴·h²/6, plus L″·skew/2 because θ ± h is rounded
//! lost         −δ·a, for the rows in which z + h·a rounds to z
//! noise        of the B rows' differences, or of the sums of losses if these are subtracted, and
//!              of the l2 term
//! ```
//!
//! The best increment minimizes this error; the floor is the minimum. Cancellation-free arithmetic
//! has no noise, hence a floor but no best increment.

mod backprop_roundoff;
mod noise;
mod perturbed_roundoff;
mod repeats;
mod truncation;

pub use self::truncation::Derivatives;

use self::backprop_roundoff::BackpropRoundoff;
pub(super) use self::backprop_roundoff::ExpectedSquares;
pub(super) use self::noise::{DifferenceNoise, NoiseModel};
use super::bounds::PerturbedPart;
use super::evaluation_points::{EvaluationPoints, RealizedIncrement, evaluation_points};
use super::number_format::NumberFormat;
use super::{CheckSubject, CheckedMethod, ReferencePoint, converted};
use crate::gradient::finite_difference::{Arithmetic, DifferenceConfig, Increment, Scheme};
use crate::numeric::{Precision, Real};

/// Largest number of values that the errors of one batch of increments may occupy.
const MAX_VALUES: usize = 1 << 22;
/// Increments per decade in the search for the best one: first over the range, then around the
/// best.
const POINTS_PER_DECADE: [usize; 2] = [4, 32];

/// The minimum of an error curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Minimum {
    /// The increment with the smallest error; `None` for a curve without a minimum, where smaller
    /// increments are as good.
    pub increment: Option<f64>,
    /// The relative error there, or at the smallest increment of a curve without a minimum.
    pub floor: f64,
}

/// Data for predictions at one θ.
pub(super) struct CurveContext {
    derivatives: Derivatives,
    /// Expected squares of backprop's round-off in f32 and in f64, `(N,)` each.
    backprop_roundoff: [Vec<f64>; 2],
}

impl Minimum {
    /// Finds the minimum of a curve of points (increment, relative error), computed in
    /// `arithmetic`. Returns `None` if no error is finite.
    pub fn of(points: &[(f64, f64)], arithmetic: Arithmetic) -> Option<Self> {
        let finite = points.iter().filter(|(_, error)| error.is_finite());
        match arithmetic {
            Arithmetic::Plain => {
                let &(increment, floor) = finite.min_by(|a, b| a.1.total_cmp(&b.1))?;
                Some(Self {
                    increment: Some(increment),
                    floor,
                })
            }
            Arithmetic::CancellationFree => {
                let &(_, floor) = finite.min_by(|a, b| a.0.total_cmp(&b.0))?;
                Some(Self {
                    increment: None,
                    floor,
                })
            }
        }
    }
}

impl CheckSubject<'_> {
    /// Returns the derivatives of the objective along every parameter, at θ in `precision`.
    pub fn derivatives(&self, precision: Precision) -> &Derivatives {
        &self.curve_context(self.point(precision)).derivatives
    }

    /// Predicts the relative error ‖ĝ − g‖/‖g‖ of `method` at each of `increments`. The prediction
    /// is `None` for an increment that is lost in θ, and for a method that is not a single
    /// difference quotient.
    pub fn predict(&self, method: &CheckedMethod, increments: &[Increment]) -> Vec<Option<f64>> {
        let Some(config) = method
            .gradient
            .difference()
            .filter(|config| !config.extrapolate)
        else {
            return vec![None; increments.len()];
        };
        let point = self.point(method.precision);
        let plan = CurvePlan {
            check: self,
            point,
            curve_context: self.curve_context(point),
            config: *config,
            format: NumberFormat::of(method.precision),
        };
        match method.precision {
            Precision::F32 => plan.predict::<f32>(increments),
            Precision::F64 => plan.predict::<f64>(increments),
        }
    }

    /// Predicts the best increment of `method` between `least` and `most`, and the floor.
    pub fn predict_minimum(
        &self,
        method: &CheckedMethod,
        least: f64,
        most: f64,
    ) -> Option<Minimum> {
        let arithmetic = method.gradient.difference()?.arithmetic;
        let mut range = [least, most];
        let mut found = None;
        for per_decade in POINTS_PER_DECADE {
            let step = 10f64.powf(1.0 / per_decade as f64);
            let count = ((range[1] / range[0]).log10() * per_decade as f64).round() as i32;
            let increments: Vec<f64> = (0..=count).map(|k| range[0] * step.powi(k)).collect();
            let absolute: Vec<Increment> =
                increments.iter().map(|&h| Increment::Absolute(h)).collect();
            let errors = self.predict(method, &absolute);
            let points: Vec<(f64, f64)> = increments
                .into_iter()
                .zip(errors)
                .filter_map(|(h, error)| Some((h, error?)))
                .collect();
            found = Minimum::of(&points, arithmetic);
            let Some(best) = found.and_then(|minimum| minimum.increment) else {
                break;
            };
            range = [(best / step).max(least), (best * step).min(most)];
        }
        found
    }

    fn point(&self, precision: Precision) -> &ReferencePoint<'_> {
        match precision {
            Precision::F32 => &self.rounded,
            Precision::F64 => &self.exact,
        }
    }

    fn curve_context<'p>(&self, point: &'p ReferencePoint<'_>) -> &'p CurveContext {
        point.curve_context.get_or_init(|| {
            let passes = point.bounds.passes();
            let precisions = [(Precision::F32, false), (Precision::F64, true)];
            CurveContext {
                derivatives: truncation::derivatives(
                    self.network,
                    &point.theta,
                    passes,
                    self.workers,
                ),
                backprop_roundoff: precisions.map(|(precision, shared)| {
                    let format = NumberFormat::of(precision);
                    self.backprop_roundoff(point, format, shared).squares
                }),
            }
        })
    }

    /// Computes the expected squares of backprop's round-off in `format`, `(N,)`. `shared`: the
    /// reference has the same bits of z and a.
    pub(super) fn backprop_roundoff(
        &self,
        point: &ReferencePoint<'_>,
        format: NumberFormat,
        shared: bool,
    ) -> ExpectedSquares {
        let roundoff = BackpropRoundoff {
            network: self.network,
            theta: &point.theta,
            format,
            shared,
        };
        roundoff.expected_squares(point.bounds.passes())
    }
}

/// The prediction for one method at one θ.
struct CurvePlan<'a> {
    check: &'a CheckSubject<'a>,
    point: &'a ReferencePoint<'a>,
    curve_context: &'a CurveContext,
    config: DifferenceConfig,
    format: NumberFormat,
}

impl CurvePlan<'_> {
    fn predict<R: Real>(&self, increments: &[Increment]) -> Vec<Option<f64>> {
        let layout = &self.check.network.layout;
        let theta = converted::<f64, R>(&self.point.theta);
        let batch = (MAX_VALUES / layout.len()).clamp(1, 32);
        let batches: Vec<&[Increment]> = increments.chunks(batch).collect();
        let errors = self.check.workers.map(batches.len(), |at| {
            let points: Vec<Option<EvaluationPoints>> = batches[at]
                .iter()
                .map(|&increment| {
                    let config = DifferenceConfig {
                        increment,
                        ..self.config
                    };
                    let points = evaluation_points(&config, &theta, f64::NAN).swap_remove(0);
                    points.changes_every_parameter().then_some(points)
                })
                .collect();
            self.errors(&points)
        });
        errors.into_iter().flatten().collect()
    }

    fn errors(&self, points: &[Option<EvaluationPoints>]) -> Vec<Option<f64>> {
        let gradient = self.point.gradient.flat();
        let norm: f64 = gradient.iter().map(|g| g * g).sum();
        let noises = match self.config.arithmetic {
            Arithmetic::Plain => self.noise(points),
            Arithmetic::CancellationFree => points.iter().map(|_| DifferenceNoise::NONE).collect(),
        };
        let backprop_roundoff = match self.format.roundoff == f64::UNIT_ROUNDOFF {
            false => &self.curve_context.backprop_roundoff[0],
            true => &self.curve_context.backprop_roundoff[1],
        };
        let backprop_roundoff: f64 = backprop_roundoff.iter().sum();
        let relative_error = |(points, noise): (&Option<EvaluationPoints>, DifferenceNoise)| {
            let truncated = self.truncation(points.as_ref()?);
            let squares = truncated.iter().enumerate().map(|(index, truncated)| {
                let lost = noise.lost.get(index).copied().unwrap_or(0.0);
                (truncated + lost).powi(2)
            });
            let noise: f64 = noise.squares.iter().sum();
            Some(((squares.sum::<f64>() + noise + backprop_roundoff) / norm).sqrt())
        };
        points.iter().zip(noises).map(relative_error).collect()
    }

    fn noise(&self, points: &[Option<EvaluationPoints>]) -> Vec<DifferenceNoise> {
        let model = NoiseModel {
            network: self.check.network,
            theta: &self.point.theta,
            gradient: &self.point.gradient,
            passes: self.point.bounds.passes(),
            format: self.format,
            config: self.config,
            perturbed: PerturbedPart::Parameters,
        };
        model.noise(&points.iter().map(Option::as_ref).collect::<Vec<_>>())
    }

    /// Computes the truncation of each quotient, `(N,)`.
    fn truncation(&self, points: &EvaluationPoints) -> Vec<f64> {
        let Derivatives { second, third, .. } = &self.curve_context.derivatives;
        let derivatives = second.iter().zip(third);
        derivatives
            .zip(&points.realized)
            .map(|((second, third), &RealizedIncrement { distance, skew })| {
                match self.config.scheme {
                    Scheme::Forward => distance * (second / 2.0 + distance * third / 6.0),
                    Scheme::Central => skew * second / 2.0 + distance * distance * third / 24.0,
                }
            })
            .collect()
    }
}
