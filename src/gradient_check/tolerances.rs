//! How far each partial derivative by a method may be from the exact one: a bound for the worst
//! case, and a probable one.
//!
//! ```text
//! worst case   truncation + round-off at its worst (bounds/)
//! probable     truncation at its worst + 8·√(expected square of the round-off) (error_curve/)
//! ```
//!
//! The round-off is a sum of many roundings, each with a known mean square. If they are independent,
//! 8 deviations are exceeded once in 10¹⁵ elements. `tests/library/check_power.rs` holds the expected squares
//! against observed errors and looks for errors beyond 8 deviations.
//!
//! The probable bound stands for backprop, this program's or another's, where its assumptions do: z
//! is accurate enough for the chain rule, and no square underflows. Elsewhere the bound for the
//! worst case stands. A difference has rare large errors, where one of two nearly equal values is
//! rounded up and the other down: right differences were seen up to 87 deviations off, so their
//! expected squares are printed and bound nothing.

use super::bounds::{DifferenceSpec, ErrorBounds, PerturbedPart};
use super::error_curve::NoiseModel;
use super::evaluation_points::{EvaluationPoints, evaluation_points};
use super::number_format::NumberFormat;
use super::{CheckSubject, CheckedMethod, ReferencePoint};
use crate::data::{Batch, Samples};
use crate::gradient::finite_difference::{Arithmetic, DifferenceConfig, Increment, NoiseIncrement};
use crate::gradient::{Control, GradientConfig, Stopped};
use crate::model::Parameters;
use crate::numeric::Real;

/// Deviations of the round-off that a probable bound allows.
const DEVIATIONS: f64 = 8.0;
/// The largest error of a z at which errors of σ and of the loss are taken for linear in it.
const SMALL_ERROR: f64 = 0.05;
/// The largest change of a z up to which the noise at θ stands for that of a perturbed pass.
const SMALL_CHANGE: f64 = 0.5;
/// Expected squares below this may have lost parts to underflow: the probable bound is unknown.
const LEAST_SQUARE: f64 = 1e-250;

/// The bounds of a gradient's errors, `(N,)` each.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tolerances {
    /// The errors that truncation and round-off can cause at their worst.
    pub worst_case: Vec<f64>,
    /// The part of `worst_case` that is no round-off.
    pub certain: Vec<f64>,
    /// The expected squares of the round-off; empty if they are unknown.
    pub squares: Vec<f64>,
    /// Whether the probable bound was found never to be exceeded by a right gradient.
    pub validated: bool,
}

impl Tolerances {
    /// Returns tolerances without a probable bound.
    pub(super) fn worst_case(worst_case: Vec<f64>) -> Self {
        Self {
            certain: worst_case.clone(),
            worst_case,
            squares: Vec::new(),
            validated: false,
        }
    }

    /// Adds errors that are no round-off of the method, `(N,)`.
    pub(super) fn add_certain(&mut self, errors: &[f64]) {
        for bounds in [&mut self.worst_case, &mut self.certain] {
            for (bound, error) in bounds.iter_mut().zip(errors) {
                *bound += error;
            }
        }
    }

    /// Returns an error of element `index` beyond what is certain, in expected deviations of the
    /// round-off, if those are known.
    pub(super) fn deviations(&self, index: usize, error: f64) -> Option<f64> {
        let square = *self.squares.get(index)?;
        let known = square >= LEAST_SQUARE && square.is_finite();
        known.then(|| (error - self.certain[index]).max(0.0) / square.sqrt())
    }

    /// Returns the bound of the error of element `index`: the probable one where it is validated and
    /// the round-off is known, and the one for the worst case elsewhere.
    pub(super) fn bound(&self, index: usize) -> f64 {
        let worst_case = self.worst_case[index];
        match self.squares.get(index) {
            // `min` ignores NaN.
            Some(&square) if self.validated && square >= LEAST_SQUARE => {
                worst_case.min(self.certain[index] + DEVIATIONS * square.sqrt())
            }
            _ => worst_case,
        }
    }
}

/// A method with what it evaluates at one θ.
struct MethodPoints<'a> {
    method: &'a CheckedMethod,
    /// The evaluation points of a difference, widest first.
    points: Vec<EvaluationPoints>,
    /// h of numeric backprop.
    increment: f64,
}

impl CheckSubject<'_> {
    /// Returns the tolerances of `method` at `theta`.
    ///
    /// # Errors
    /// Those of [`NoiseIncrement::measure`].
    pub(super) fn tolerances<R: Real>(
        &self,
        method: &CheckedMethod,
        point: &ReferencePoint<'_>,
        theta: &Parameters<R>,
        samples: &Samples<R>,
        control: &Control,
    ) -> Result<Tolerances, Stopped> {
        let rows = self.rows;
        let points = match method.gradient.perturbation() {
            Some(config) if !matches!(method.gradient, GradientConfig::NumericBackprop(_)) => {
                let measured = match config.increment {
                    // Repeats the engine's measurement, which gives the same h.
                    Increment::Noise => {
                        NoiseIncrement::new(self.network, &config, self.isa, rows.len()).measure(
                            theta,
                            Batch { samples, rows },
                            &control.with_new_counter(),
                        )?
                    }
                    _ => f64::NAN,
                };
                evaluation_points(&config, theta, measured)
            }
            _ => Vec::new(),
        };
        let increment = match &method.gradient {
            GradientConfig::NumericBackprop(config) => config.increment::<R>().to_f64(),
            _ => f64::NAN,
        };
        let format = NumberFormat::of(R::PRECISION);
        let method = MethodPoints {
            method,
            points,
            increment,
        };
        let bounds = |format| self.bounds(&method, &point.bounds, format);
        let mut tolerances = Tolerances {
            worst_case: bounds(format),
            certain: bounds(format.without_roundoff()),
            squares: Vec::new(),
            validated: matches!(method.method.gradient, GradientConfig::Backprop),
        };
        self.add_expected_squares(&method, point, format, &mut tolerances);
        Ok(tolerances)
    }

    /// Returns the tolerances of the gradient by backprop of another program.
    pub(super) fn foreign_tolerances(
        &self,
        point: &ReferencePoint<'_>,
        format: NumberFormat,
    ) -> Tolerances {
        let format = format.foreign();
        Tolerances {
            worst_case: point.bounds.backprop(format),
            certain: point.bounds.backprop(format.without_roundoff()),
            squares: self.round_off(point, format),
            validated: true,
        }
    }

    /// Returns the expected squares of backprop's round-off; none where errors of z are so large
    /// that the chain rule does not describe what they cause.
    fn round_off(&self, point: &ReferencePoint<'_>, format: NumberFormat) -> Vec<f64> {
        let found = self.backprop_roundoff(point, format, false);
        if DEVIATIONS * found.largest_z.sqrt() <= SMALL_ERROR {
            found.squares
        } else {
            Vec::new()
        }
    }

    /// Bounds the errors of a method in the worst case.
    fn bounds(
        &self,
        method: &MethodPoints<'_>,
        bounds: &ErrorBounds<'_>,
        format: NumberFormat,
    ) -> Vec<f64> {
        let difference = |config: &DifferenceConfig, perturbed| {
            let spec = DifferenceSpec {
                config,
                perturbed,
                evaluation_points: &method.points,
            };
            bounds.difference(&spec, format, self.workers)
        };
        match &method.method.gradient {
            GradientConfig::Backprop => bounds.backprop(format),
            GradientConfig::NumericBackprop(_) => bounds.numeric_backprop(format, method.increment),
            GradientConfig::ForwardMode(_) => bounds.tangent(format),
            GradientConfig::Difference(config) => difference(config, PerturbedPart::Parameters),
            GradientConfig::NodePerturbation(config) => {
                difference(&config.difference(), PerturbedPart::PreActivations)
            }
            // An estimate is right only on average, so no single one can be called wrong.
            GradientConfig::Spsa(_) | GradientConfig::ForwardGradient(_) => {
                vec![f64::INFINITY; self.network.layout.len()]
            }
        }
    }

    /// Adds the expected squares of a method's round-off, if they are known, and what rounding
    /// removes from each derivative for certain.
    fn add_expected_squares(
        &self,
        method: &MethodPoints<'_>,
        point: &ReferencePoint<'_>,
        format: NumberFormat,
        tolerances: &mut Tolerances,
    ) {
        let (config, perturbed) = match &method.method.gradient {
            GradientConfig::Backprop => {
                tolerances.squares = self.round_off(point, format);
                return;
            }
            GradientConfig::Difference(config) => (*config, PerturbedPart::Parameters),
            GradientConfig::NodePerturbation(config) => {
                (config.difference(), PerturbedPart::PreActivations)
            }
            _ => return,
        };
        // Without cancellation, as in forward mode, round-off follows the paths to the loss, which
        // may cancel each other: no expected square is derived for that.
        if config.arithmetic == Arithmetic::CancellationFree {
            return;
        }
        tolerances.squares = self.round_off(point, format);
        let model = NoiseModel {
            network: self.network,
            theta: &point.theta,
            gradient: &point.gradient,
            passes: point.bounds.passes(),
            format,
            config,
            perturbed,
        };
        let points: Vec<Option<&EvaluationPoints>> = method.points.iter().map(Some).collect();
        for (points, noise) in method.points.iter().zip(model.noise(&points)) {
            let weight = points.weight.abs();
            for (square, noise) in tolerances.squares.iter_mut().zip(&noise.squares) {
                *square += weight * weight * noise;
            }
            for (certain, lost) in tolerances.certain.iter_mut().zip(&noise.lost) {
                *certain += weight * lost.abs();
            }
        }
        // The noise is that of values at θ: unknown where the increment changes them much.
        let layout = &self.network.layout;
        for (layer, increments) in method.points[0].increments.iter().enumerate() {
            let fan_in = layout.sizes()[layer];
            for (unit, &h) in increments.iter().enumerate() {
                if point.bounds.largest_change(layer, unit, h) <= SMALL_CHANGE {
                    continue;
                }
                let weights = layout.weights(layer).start + unit * fan_in;
                let bias = layout.has_bias().then(|| layout.biases(layer).start + unit);
                for index in (weights..weights + fan_in).chain(bias) {
                    if let Some(square) = tolerances.squares.get_mut(index) {
                        *square = f64::INFINITY;
                    }
                }
            }
        }
    }
}
