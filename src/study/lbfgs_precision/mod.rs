//! Does L-BFGS need precise gradients? Runs the same minimization from the same θ with gradients of
//! different precision, and compares each with the true gradient at the end.
//!
//! A quasi-Newton method estimates the curvature from differences of gradients, so it is often said
//! to need exact ones. It needs a gradient whose error is small relative to the gradient: it
//! converges until both have the same size, where its line search finds no lower loss. (Xie, Byrd,
//! Nocedal, "Analysis of the BFGS method with errors"; Shi, Xie, Byrd, Nocedal, "A noise-tolerant
//! quasi-Newton algorithm", arXiv 2010.04352.)
//!
//! Where the line search of a difference quotient fails, the quotient is computed once more with
//! half the increment: a truncation error then falls, a round-off error grows. So the verdict on
//! the cause rests on an observation.

mod rows;

pub use rows::{LbfgsPlan, LbfgsReport, LbfgsStudy};

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data::{Batch, Dataset, Samples, Scaling};
use crate::error::{Error, Result};
use crate::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, Reuse, Scheme, Summation, check_increments,
};
use crate::gradient::{Control, GradientConfig, Stopped, TrainingEngine};
use crate::kernels::Isa;
use crate::model::{Network, Parameters};
use crate::numeric::{Precision, Real};
use crate::optimizer::{History, LbfgsConfig, OptimizerConfig};
use crate::parallel::Workers;
use crate::train::{self, NoObserver, TrainConfig, Training, TrainingState};

/// A gradient method in one precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientCase {
    /// The method with its increment.
    pub gradient: GradientConfig,
    /// The precision of θ, losses and gradients.
    pub precision: Precision,
}

/// Returns the cases of the study: backprop, textbook quotients at `increments` (by default, the
/// most informative ones), and cancellation-free differences.
pub fn cases(increments: Option<&[f64]>) -> Vec<GradientCase> {
    let mut cases = vec![exact(Precision::F64), exact(Precision::F32)];
    let (sums, differences) = (Summation::Losses, Summation::Differences);
    let (forward, central) = (Scheme::Forward, Scheme::Central);
    let double = [1e-1, 1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12, 1e-14];
    // Increments of 1e-7 and below are lost in θᵢ near 1.
    let single = [1e-2, 1e-3, 1e-6];
    for (scheme, precision, summation, usual) in [
        (forward, Precision::F64, sums, &double[..]),
        (central, Precision::F64, sums, &[1e-1, 1e-4, 1e-8, 1e-14]),
        (forward, Precision::F32, sums, &single),
        (forward, Precision::F32, differences, &single),
        (central, Precision::F32, sums, &[1e-2]),
        (central, Precision::F32, differences, &[1e-2]),
    ] {
        for &increment in increments.unwrap_or(usual) {
            cases.push(quotient(scheme, precision, summation, increment));
        }
    }
    for precision in [Precision::F64, Precision::F32] {
        cases.push(GradientCase {
            gradient: GradientConfig::Difference(DifferenceConfig {
                scheme: Scheme::Forward,
                reuse: Reuse::Incremental,
                arithmetic: Arithmetic::CancellationFree,
                summation: differences,
                increment: Increment::Auto,
                extrapolate: false,
            }),
            precision,
        });
    }
    cases
}

/// Returns the case of backprop.
pub fn exact(precision: Precision) -> GradientCase {
    GradientCase {
        gradient: GradientConfig::Backprop,
        precision,
    }
}

/// Returns the case of textbook quotients: whole passes, plain arithmetic, one increment for all
/// parameters.
pub fn quotient(
    scheme: Scheme,
    precision: Precision,
    summation: Summation,
    increment: f64,
) -> GradientCase {
    GradientCase {
        gradient: GradientConfig::Difference(DifferenceConfig {
            scheme,
            reuse: Reuse::Full,
            arithmetic: Arithmetic::Plain,
            summation,
            increment: Increment::Absolute(increment),
            extrapolate: false,
        }),
        precision,
    }
}

/// The end of a minimization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MinimizationEnding {
    /// The computed gradient is within the tolerance.
    Tolerance,
    /// The line search found no lower loss.
    LineSearch,
    /// The maximum number of iterations was reached.
    Iterations,
    /// θ + h rounds to θ at the start.
    IncrementLost,
    /// Loss or gradient was not finite at the start.
    NotFinite,
}

/// The verdict on a minimization, from measurements at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MinimizationVerdict {
    /// The exact gradient is within twice the tolerance.
    Converges,
    /// Only the computed gradient is within the tolerance.
    Deceived,
    /// The error has reached the gradient's size, and falls as the increment falls.
    Truncation,
    /// The error has reached the gradient's size, and grows as the increment falls.
    RoundOff,
    /// The error has reached the gradient's size; half the increment does not show the cause.
    Error,
    /// The gradient is still accurate, but the loss falls by less than its round-off.
    LossRoundOff,
    /// The minimization did not end within the iterations.
    Unfinished,
    /// The increment is lost in θ, so there is no quotient.
    IncrementLost,
    /// The loss or gradient is not finite.
    NotFinite,
}

/// The result of one case. The objective and the true gradient g are computed in double precision
/// by backprop at the final θ; ĝ is the gradient that L-BFGS used there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MinimizationRow {
    /// Name of the method, spelled as in a config.
    pub method: String,
    /// Arithmetic of a difference, spelled as in a config; `None` for backprop.
    pub arithmetic: Option<String>,
    /// Summation over the rows, spelled as in a config; `None` for backprop.
    pub summation: Option<String>,
    /// `f32` or `f64`.
    pub precision: String,
    /// h, if it is a number.
    pub increment: Option<f64>,
    /// Number of steps.
    pub iterations: usize,
    /// Number of losses evaluated, including those of rejected trial steps; one per gradient with
    /// backprop.
    pub evaluations: u64,
    /// The end of the minimization.
    pub ending: MinimizationEnding,
    /// Loss plus l2 term.
    pub objective: f64,
    /// ‖g‖₂.
    pub gradient_norm: f64,
    /// ‖g‖∞, on which the verdict rests.
    pub largest_gradient: f64,
    /// ‖ĝ‖∞, by which the minimization ended; `None` if there is no ĝ.
    pub largest_computed: Option<f64>,
    /// ‖ĝ − g‖∞; `None` if there is no ĝ.
    pub largest_error: Option<f64>,
    /// ‖ĝ − g‖₂/‖g‖₂.
    pub relative_error: Option<f64>,
    /// ‖ĝ − g‖∞ of a quotient at half the increment.
    pub error_at_half: Option<f64>,
    /// The verdict.
    pub verdict: MinimizationVerdict,
    /// The verdict in words.
    pub explanation: String,
}

/// The minimization problem and its settings.
pub struct MinimizationSubject<'a> {
    /// Topology, loss and l2.
    pub network: &'a Network,
    /// The dataset of the rows.
    pub dataset: &'a Arc<Dataset>,
    /// The scaling of its inputs.
    pub scaling: &'a Scaling,
    /// All rows of the objective.
    pub rows: &'a [u32],
    /// The initial θ.
    pub start: &'a Parameters<f64>,
    /// Number of stored pairs, and the tolerance.
    pub config: LbfgsConfig,
    /// Maximum number of iterations.
    pub max_iterations: usize,
    /// The worker threads.
    pub pool: &'a Arc<Workers>,
    /// The instruction set of the kernels.
    pub isa: Isa,
    /// Stops the minimization.
    pub control: &'a Control,
}

impl MinimizationSubject<'_> {
    /// Minimizes with the gradients of one case; returns `None` if it was stopped.
    ///
    /// Cost: a training run, and up to two gradients.
    ///
    /// # Errors
    /// Returns the errors of training that have no [`MinimizationEnding`].
    pub fn row(&self, case: &GradientCase) -> Result<Option<MinimizationRow>> {
        match case.precision {
            Precision::F32 => self.row_in::<f32>(case),
            Precision::F64 => self.row_in::<f64>(case),
        }
    }

    /// Returns the multiplications of one gradient of a case.
    pub fn multiplications(&self, case: &GradientCase) -> u64 {
        match case.precision {
            Precision::F32 => self.multiplications_in::<f32>(case),
            Precision::F64 => self.multiplications_in::<f64>(case),
        }
    }

    fn multiplications_in<R: Real>(&self, case: &GradientCase) -> u64 {
        let samples = Samples::<R>::new(self.dataset, self.scaling);
        let engine = self.engine(&case.gradient, &samples);
        engine.tally(&samples, self.rows).multiplications
    }

    fn engine<R: Real>(
        &self,
        gradient: &GradientConfig,
        samples: &Samples<R>,
    ) -> Box<dyn TrainingEngine<R>> {
        gradient.engine(self.network, self.pool, self.isa, samples, self.rows.len())
    }

    fn row_in<R: Real>(&self, case: &GradientCase) -> Result<Option<MinimizationRow>> {
        let samples = Samples::<R>::new(self.dataset, self.scaling);
        let numbers = self.start.flat().iter().map(|&x| R::from_f64(x));
        let start = Parameters::from_flat(Arc::clone(&self.network.layout), numbers.collect());
        let mut state = TrainingState::new(start);
        let Some(ending) = self.minimize(case, &samples, &mut state)? else {
            return Ok(None);
        };
        let (objective, truth) = self.truth(&state.parameters.widened());
        let gradient = History::gradient_in(&state.optimizer_state);
        let error = gradient.map(|gradient| differences(gradient, &truth));
        let error_at_half = match half(&case.gradient) {
            Some(half) if ending == MinimizationEnding::LineSearch => {
                let mut gradient = Parameters::zeros(Arc::clone(&self.network.layout));
                let batch = Batch {
                    samples: &samples,
                    rows: self.rows,
                };
                let mut engine = self.engine(&half, &samples);
                match engine.gradient(&state.parameters, batch, &mut gradient, self.control) {
                    Ok(_) => Some(largest(&differences(&gradient, &truth))),
                    Err(Stopped::Interrupted) => return Ok(None),
                    // Half the increment may be lost in θ.
                    Err(_) => None,
                }
            }
            _ => None,
        };
        let difference = case.gradient.difference();
        let mut row = MinimizationRow {
            method: case.gradient.method().to_owned(),
            arithmetic: difference.map(|config| config.arithmetic.name().to_owned()),
            summation: difference.map(|config| config.summation.name().to_owned()),
            precision: case.precision.name().to_owned(),
            increment: difference.and_then(|config| match config.increment {
                Increment::Absolute(number) => Some(number),
                _ => None,
            }),
            iterations: state.epoch,
            evaluations: state.tally().evaluations,
            ending,
            objective,
            gradient_norm: norm(truth.flat()),
            largest_gradient: largest(truth.flat()),
            largest_computed: gradient.map(|gradient| largest(gradient.widened().flat())),
            largest_error: error.as_deref().map(largest),
            relative_error: error
                .as_deref()
                .map(|error| norm(error) / norm(truth.flat())),
            error_at_half,
            verdict: MinimizationVerdict::Unfinished,
            explanation: String::new(),
        };
        row.verdict = MinimizationVerdict::of(&row, self.config.tolerance);
        row.explanation = row.explain();
        Ok(Some(row))
    }

    /// Trains from `state` to an end; returns `None` if it was stopped.
    fn minimize<R: Real>(
        &self,
        case: &GradientCase,
        samples: &Samples<R>,
        state: &mut TrainingState<R>,
    ) -> Result<Option<MinimizationEnding>> {
        if let GradientConfig::Difference(config) = &case.gradient
            && check_increments(config, &state.parameters).is_err()
        {
            return Ok(Some(MinimizationEnding::IncrementLost));
        }
        let training = Training {
            network: self.network,
            samples,
            rows: self.rows,
            validation: None,
            classes: self.dataset.class_count(),
            gradient: &case.gradient,
            optimizer: &OptimizerConfig::Lbfgs(self.config),
            config: &TrainConfig {
                epochs: Some(self.max_iterations),
                max_steps: None,
                max_seconds: None,
                batch_size: TrainConfig::ALL_ROWS,
                early_stopping: None,
            },
            // L-BFGS uses no random numbers.
            seed: 0,
            pool: self.pool,
            isa: self.isa,
            workers: None,
            split: None,
            control: self.control,
        };
        Ok(match training.run(state, &mut NoObserver) {
            Ok(train::Ending::Converged) => Some(MinimizationEnding::Tolerance),
            Ok(train::Ending::Stuck) => Some(MinimizationEnding::LineSearch),
            Ok(train::Ending::Interrupted) => None,
            Ok(train::Ending::Finished | train::Ending::StoppedEarly) => {
                Some(MinimizationEnding::Iterations)
            }
            Err(Error::Diverged(_)) => Some(MinimizationEnding::NotFinite),
            Err(other) => return Err(other),
        })
    }

    /// Computes the objective and the gradient at θ by backprop in double precision.
    fn truth(&self, theta: &Parameters<f64>) -> (f64, Parameters<f64>) {
        let samples = Samples::<f64>::new(self.dataset, self.scaling);
        let mut gradient = Parameters::zeros(Arc::clone(&self.network.layout));
        let batch = Batch {
            samples: &samples,
            rows: self.rows,
        };
        let found = self
            .engine(&GradientConfig::Backprop, &samples)
            .gradient(theta, batch, &mut gradient, &Control::default())
            .expect("backprop has no increment, and nothing stops this one");
        (found.loss + self.network.penalty(theta), gradient)
    }
}

/// Returns the same method at half its increment, if that is a number.
fn half(gradient: &GradientConfig) -> Option<GradientConfig> {
    let config = gradient.difference()?;
    match config.increment {
        Increment::Absolute(number) => Some(GradientConfig::Difference(DifferenceConfig {
            increment: Increment::Absolute(0.5 * number),
            ..*config
        })),
        _ => None,
    }
}

/// Computes ĝ − g.
fn differences<R: Real>(found: &Parameters<R>, truth: &Parameters<f64>) -> Vec<f64> {
    let pairs = found.flat().iter().zip(truth.flat());
    pairs.map(|(found, truth)| found.to_f64() - truth).collect()
}

fn largest(numbers: &[f64]) -> f64 {
    numbers
        .iter()
        .fold(0.0, |most, number| most.max(number.abs()))
}

fn norm(numbers: &[f64]) -> f64 {
    numbers.iter().map(|x| x * x).sum::<f64>().sqrt()
}

impl MinimizationVerdict {
    /// Returns the verdict on a row with complete measurements.
    fn of(row: &MinimizationRow, tolerance: f64) -> Self {
        let size = row.largest_gradient;
        let error = row.largest_error.unwrap_or(f64::NAN);
        match row.ending {
            // However it ended, the exact gradient tells whether it is at a minimum.
            MinimizationEnding::Tolerance | MinimizationEnding::LineSearch
                if size <= 2.0 * tolerance =>
            {
                Self::Converges
            }
            MinimizationEnding::Tolerance => Self::Deceived,
            MinimizationEnding::LineSearch if error < 0.5 * size => Self::LossRoundOff,
            // Half the increment halves or quarters a truncation error, and doubles round-off.
            MinimizationEnding::LineSearch => match row.error_at_half {
                Some(half) if half < 0.75 * error => Self::Truncation,
                Some(half) if half > 1.25 * error => Self::RoundOff,
                _ => Self::Error,
            },
            MinimizationEnding::Iterations => Self::Unfinished,
            MinimizationEnding::IncrementLost => Self::IncrementLost,
            MinimizationEnding::NotFinite => Self::NotFinite,
        }
    }
}

impl MinimizationRow {
    /// Puts the verdict into words, with the row's numbers.
    fn explain(&self) -> String {
        let size = self.largest_gradient;
        let error = self.largest_error.unwrap_or(f64::NAN);
        let reached = |cause: &str| {
            format!(
                "line search fails at |g| = {size:.1e}: the gradient's error, {error:.1e}, has reached its size{cause}"
            )
        };
        let at_half = |word: &str| {
            let half = self.error_at_half.unwrap_or(f64::NAN);
            format!("; at half the increment it is {half:.1e}: {word}")
        };
        match self.verdict {
            MinimizationVerdict::Converges => "converges".to_owned(),
            MinimizationVerdict::Deceived => format!(
                "stops too early: its own gradient, {:.1e}, is within the tolerance, the exact one is {size:.1e}",
                self.largest_computed.unwrap_or(f64::NAN)
            ),
            MinimizationVerdict::Truncation => reached(&at_half("the increment is too large")),
            MinimizationVerdict::RoundOff => {
                reached(&at_half("the increment is lost in round-off"))
            }
            MinimizationVerdict::Error => reached(""),
            MinimizationVerdict::LossRoundOff => format!(
                "line search fails at |g| = {size:.1e}: the gradient is right to {:.2} % there, but the loss falls by less than it rounds",
                100.0 * error / size
            ),
            MinimizationVerdict::Unfinished => format!(
                "not converged after {} iterations, at |g| = {size:.1e}",
                self.iterations
            ),
            MinimizationVerdict::IncrementLost => {
                "cannot start: θ + h rounds to θ, so there is no quotient".to_owned()
            }
            MinimizationVerdict::NotFinite => {
                "cannot start: the loss is not finite at the start".to_owned()
            }
        }
    }
}
