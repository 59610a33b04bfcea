//! Minimizes a program's function from a given θ.
//!
//! Every evaluation is in the journal, and every step follows from the evaluations alone: a
//! minimization that was interrupted makes its steps again from the journal, without asking the
//! program, and goes on where it was.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::pool::Program;
use crate::error::{Error, Result};
use crate::gradient::finite_difference::failure::{EvaluationPoint, Failure};
use crate::gradient::finite_difference::{Differences, Scheme};
use crate::model::{Layout, Parameters};
use crate::optimizer::history::largest;
use crate::optimizer::lbfgs::Iteration;
use crate::optimizer::{History, LbfgsConfig, Method, OptimizerConfig, OptimizerState, SgdConfig};

/// Where the gradients of a minimization come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GradientSource {
    /// Finite differences of the program's values.
    Differences(Differences),
    /// The program's own gradient.
    Program,
}

/// A minimization's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Minimization {
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// The source of the gradients.
    pub gradient: GradientSource,
    /// The largest number of iterations.
    pub iterations: u64,
    /// Converged once no element of the gradient is larger.
    pub tolerance: f64,
}

/// An iteration, as the trace shows it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TraceRow {
    /// The iteration, from 0: θ at the start.
    pub iteration: u64,
    /// The value at θ.
    pub loss: f64,
    /// The largest element of the gradient, ‖g‖∞.
    pub largest: f64,
    /// The number of evaluations so far, those in the journal included.
    pub evaluations: u64,
    /// Seconds since the beginning.
    pub seconds: f64,
}

/// How a minimization ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MinimumEnding {
    /// The gradient is within the tolerance.
    Converged,
    /// No lower value was found along the gradient: its error, or the noise of the values, is as
    /// large as the gradient.
    Stuck,
    /// The number of iterations is used up.
    Iterations,
}

/// The result of a minimization.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundMinimum {
    /// The θ with the lowest value that the iterations reached, `(N,)`.
    pub theta: Vec<f64>,
    /// The value there.
    pub loss: f64,
    /// How it ended.
    pub ending: MinimumEnding,
    /// Every iteration.
    pub trace: Vec<TraceRow>,
}

/// A minimization that runs.
struct ProgramDescent<'a> {
    program: &'a Program,
    settings: &'a Minimization,
    layout: Arc<Layout>,
    start: Instant,
    trace: Vec<TraceRow>,
    on_row: &'a mut dyn FnMut(&TraceRow),
    best: Option<(f64, Vec<f64>)>,
}

impl Minimization {
    /// Minimizes the function of `program` from `theta`, `(N,)`; calls `on_row` for each iteration.
    ///
    /// # Errors
    /// Those of [`Program::conclude`]; [`Error::Diverged`] where the value or the gradient at the
    /// first θ, or at one that SGD or Adam steps to, is not finite.
    pub fn run(
        &self,
        program: &Program,
        theta: &[f64],
        on_row: &mut dyn FnMut(&TraceRow),
    ) -> Result<FoundMinimum> {
        let layout = Arc::new(Layout::new(&[theta.len(), 1], false));
        let parameters = Parameters::from_flat(Arc::clone(&layout), theta.to_vec());
        let mut descent = ProgramDescent {
            program,
            settings: self,
            layout,
            start: Instant::now(),
            trace: Vec::new(),
            on_row,
            best: None,
        };
        let ending = match self.optimizer.method::<f64>() {
            Method::LineSearch(config) => descent.lbfgs(config, parameters)?,
            Method::Fused(config) => {
                let mut velocity = vec![0.0; theta.len()];
                descent.steps(parameters, |theta, gradient| {
                    sgd_step(config, &mut velocity, theta, gradient);
                })?
            }
            Method::Steps(optimizer) => {
                let mut state = OptimizerState::zeros(optimizer.state_form(), &descent.layout);
                descent.steps(parameters, |theta, gradient| {
                    optimizer.step(1.0, theta, gradient, &mut state);
                })?
            }
        };
        let (loss, theta) = descent.best.unwrap_or((f64::NAN, theta.to_vec()));
        Ok(FoundMinimum {
            theta,
            loss,
            ending,
            trace: descent.trace,
        })
    }
}

impl ProgramDescent<'_> {
    /// Returns the value at θ, and overwrites the gradient.
    fn evaluate(
        &self,
        theta: &Parameters<f64>,
        gradient: &mut Parameters<f64>,
    ) -> Result<f64, Failure> {
        let (program, theta) = (self.program, theta.flat());
        program.set_base(theta);
        let failed = |message| Failure::Function {
            message,
            place: EvaluationPoint::Theta,
        };
        match self.settings.gradient {
            GradientSource::Program => {
                let evaluation = program.evaluate(theta, true).map_err(failed)?;
                let own = evaluation.gradient.unwrap_or_default();
                gradient.flat_mut().copy_from_slice(&own);
                Ok(evaluation.loss)
            }
            GradientSource::Differences(differences) => {
                let control = program.control().with_new_counter();
                let threads = program.threads();
                let estimate =
                    differences.gradient_with_control(program, theta, threads, &control)?;
                gradient.flat_mut().copy_from_slice(&estimate.gradient);
                match estimate.value {
                    Some(value) if differences.scheme == Scheme::Forward => Ok(value),
                    _ => Ok(program.evaluate(theta, false).map_err(failed)?.loss),
                }
            }
        }
    }

    /// Returns the value at a trial step: infinite where the function has none, so that a line
    /// search tries a shorter step.
    fn evaluate_trial(
        &self,
        theta: &Parameters<f64>,
        gradient: &mut Parameters<f64>,
    ) -> Result<f64, Failure> {
        match self.evaluate(theta, gradient) {
            Err(Failure::NotFinite { .. } | Failure::Function { .. })
                if !self.program.has_failed() && !self.program.control().is_stopped() =>
            {
                gradient.flat_mut().fill(f64::NAN);
                Ok(f64::INFINITY)
            }
            other => other,
        }
    }

    fn lbfgs(&mut self, config: &LbfgsConfig, mut theta: Parameters<f64>) -> Result<MinimumEnding> {
        let config = LbfgsConfig {
            tolerance: self.settings.tolerance,
            ..*config
        };
        let mut gradient = Parameters::zeros(Arc::clone(&self.layout));
        let value = self.evaluate(&theta, &mut gradient);
        let value = self.program.conclude(value)?;
        let mut history = Some(History {
            value,
            gradient,
            pairs: std::collections::VecDeque::new(),
        });
        for iteration in 0.. {
            if let Some(history) = &history {
                let (loss, largest) = (history.value, largest(&history.gradient));
                self.record(iteration, loss, largest, theta.flat());
            }
            if iteration == self.settings.iterations {
                break;
            }
            let outcome = config.iterate(&mut theta, &mut history, |theta, gradient| {
                self.evaluate_trial(theta, gradient)
            });
            match self.program.conclude(outcome)? {
                Iteration::Moved { .. } => {}
                Iteration::Converged => return Ok(MinimumEnding::Converged),
                Iteration::Stuck => return Ok(MinimumEnding::Stuck),
                Iteration::NotFinite => return Err(self.diverged(iteration)),
            }
        }
        Ok(MinimumEnding::Iterations)
    }

    /// Makes steps by one gradient each.
    fn steps(
        &mut self,
        mut theta: Parameters<f64>,
        mut step: impl FnMut(&mut Parameters<f64>, &Parameters<f64>),
    ) -> Result<MinimumEnding> {
        let mut gradient = Parameters::zeros(Arc::clone(&self.layout));
        for iteration in 0.. {
            let value = self.evaluate(&theta, &mut gradient);
            let value = match value {
                Err(Failure::NotFinite { .. }) if iteration > 0 => f64::NAN,
                value => self.program.conclude(value)?,
            };
            let largest = largest(&gradient);
            if !value.is_finite() || !largest.is_finite() {
                return Err(self.diverged(iteration));
            }
            self.record(iteration, value, largest, theta.flat());
            if largest <= self.settings.tolerance {
                return Ok(MinimumEnding::Converged);
            }
            if iteration == self.settings.iterations {
                break;
            }
            step(&mut theta, &gradient);
        }
        Ok(MinimumEnding::Iterations)
    }

    fn record(&mut self, iteration: u64, loss: f64, largest: f64, theta: &[f64]) {
        let row = TraceRow {
            iteration,
            loss,
            largest,
            evaluations: self.program.control().evaluations(),
            seconds: self.start.elapsed().as_secs_f64(),
        };
        if self.best.as_ref().is_none_or(|(lowest, _)| loss < *lowest) {
            self.best = Some((loss, theta.to_vec()));
        }
        (self.on_row)(&row);
        self.trace.push(row);
    }

    fn diverged(&self, iteration: u64) -> Error {
        Error::Diverged(format!(
            "the value or the gradient is not finite in iteration {iteration}\n  help: take a smaller --learning-rate, or another θ to begin at"
        ))
    }
}

/// Makes a step of SGD with momentum and weight decay: v ← μv + g + λθ, θ ← θ − rate·v.
fn sgd_step(
    config: &SgdConfig,
    velocity: &mut [f64],
    theta: &mut Parameters<f64>,
    gradient: &Parameters<f64>,
) {
    let numbers = theta
        .flat_mut()
        .iter_mut()
        .zip(velocity)
        .zip(gradient.flat());
    for ((theta, v), g) in numbers {
        *v = config.momentum * *v + g + config.weight_decay * *theta;
        *theta -= config.learning_rate * *v;
    }
}
