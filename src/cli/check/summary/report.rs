//! What `nplus1 check` found, as JSON; `text.rs` has it as people read it.

use std::path::Path;

use serde::Serialize;

use super::curve::CurveSummary;
use super::rows::{ElementErrors, MethodRow, short};
use crate::gradient_check::directions::DirectionsResult;
use crate::gradient_check::{CheckSubject, GradientComparison};
use crate::model::{Layout, Network};
use crate::numeric::Precision;

/// The document.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// The config's name.
    pub name: String,
    /// Layer sizes.
    pub sizes: Vec<usize>,
    /// N.
    pub parameters: usize,
    /// Rows of the mini-batch.
    pub batch_rows: usize,
    /// The mean loss of the rows, l2 left out.
    pub loss: f64,
    /// ‖g‖₂, l2 included.
    pub gradient_norm: f64,
    /// Whether nothing failed.
    pub passed: bool,
    /// What was left out, and why.
    pub note: Option<String>,
    /// Gradients made whole.
    pub rows: Vec<MethodRow>,
    /// Backprop's gradient along random directions.
    pub directions: Vec<DirectionalComparison>,
    /// The config's estimator along its own directions, if it is one.
    pub estimate: Option<DirectionalComparison>,
    /// Rows at other increments.
    pub sweep: Vec<MethodRow>,
    /// The same, a curve a method, with what was predicted.
    pub curves: Vec<CurveSummary>,
    /// Backprop in double precision held against the complex step.
    pub oracle: Option<ComplexStepComparison>,
    /// A gradient made elsewhere.
    pub against: Option<ExternalGradient>,
    /// The directory of the study that a sweep leaves behind.
    pub study: Option<String>,
}

/// Derivatives along random directions, by backprop's gradient and by another way.
#[derive(Clone, Debug, Serialize)]
pub struct DirectionalComparison {
    /// As configs spell it.
    pub method: &'static str,
    /// `f32` or `f64`.
    pub precision: &'static str,
    /// h; none of exact derivatives.
    pub increment: Option<f64>,
    /// K.
    pub directions: usize,
    /// √(Σ (v·ĝ − v·g)²/K)/‖g‖.
    pub relative_error: f64,
    /// The same of the tolerances.
    pub allowed: f64,
    /// Upper bounds of the probability that a gradient with such an error passes.
    pub missed: Vec<MissProbability>,
    /// Whether every direction is within its tolerance.
    pub passed: bool,
}

/// A size of an error, and how probably it is missed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MissProbability {
    /// ‖e‖/‖g‖.
    pub relative_error: f64,
    /// At most.
    pub probability: f64,
}

/// The derivative by the complex step, against backprop's in double precision.
#[derive(Clone, Debug, Serialize)]
pub struct ComplexStepComparison {
    /// `complex-step`.
    pub method: &'static str,
    /// Losses evaluated, in complex numbers: N.
    pub evaluations: u64,
    /// Over the whole vector.
    #[serde(flatten)]
    pub errors: ElementErrors,
    /// The same per layer.
    pub layers: Vec<ElementErrors>,
    /// Whether every element is within its bound.
    pub passed: bool,
}

/// A gradient made elsewhere.
#[derive(Clone, Debug, Serialize)]
pub struct ExternalGradient {
    /// Its file.
    pub file: String,
    /// What its numbers need.
    pub precision: &'static str,
    /// Over the whole vector.
    #[serde(flatten)]
    pub errors: ElementErrors,
    /// The same per layer.
    pub layers: Vec<ElementErrors>,
    /// Whether every element is within its bound.
    pub passed: bool,
}

impl CheckReport {
    /// Nothing checked yet.
    pub fn new(
        name: &str,
        network: &Network,
        batch_rows: usize,
        subject: &CheckSubject<'_>,
    ) -> Self {
        let squares = subject.gradient().flat().iter().map(|g| g * g);
        Self {
            name: name.to_owned(),
            sizes: network.layout.sizes().to_vec(),
            parameters: network.layout.len(),
            batch_rows,
            loss: subject.loss(),
            gradient_norm: squares.sum::<f64>().sqrt(),
            passed: true,
            note: None,
            rows: Vec::new(),
            directions: Vec::new(),
            estimate: None,
            sweep: Vec::new(),
            curves: Vec::new(),
            oracle: None,
            against: None,
            study: None,
        }
    }

    /// The verdict on everything.
    pub fn conclude(&mut self) {
        self.passed = self.failure().is_none();
    }

    /// What is wrong, if anything is: the first fault of all, and how many there are.
    pub fn failure(&self) -> Option<String> {
        let rows = self
            .rows
            .iter()
            .chain(&self.sweep)
            .filter(|row| !row.passed);
        let mut faults: Vec<String> = rows
            .map(|row| format!("{} is wrong in {}", row.label(), row.errors.wrong()))
            .collect();
        for directed in self.directions.iter().filter(|directed| !directed.passed) {
            faults.push(format!(
                "backprop's gradient is not the derivative that {} in {} finds along random directions: {} off, {} allowed",
                directed.method,
                directed.precision,
                short(Some(directed.relative_error)),
                short(Some(directed.allowed))
            ));
        }
        if let Some(estimate) = self.estimate.as_ref().filter(|estimate| !estimate.passed) {
            faults.push(format!(
                "{} in {} is no estimate of the gradient: its derivatives along its directions are {} off, {} allowed",
                estimate.method,
                estimate.precision,
                short(Some(estimate.relative_error)),
                short(Some(estimate.allowed))
            ));
        }
        if let Some(foreign) = self.against.as_ref().filter(|foreign| !foreign.passed) {
            faults.push(format!(
                "{} is wrong in {}",
                foreign.file,
                foreign.errors.wrong()
            ));
        }
        if let Some(oracle) = self.oracle.as_ref().filter(|oracle| !oracle.passed) {
            faults.push(format!(
                "backprop in f64 and the complex step differ in {}",
                oracle.errors.wrong()
            ));
        }
        let first = faults.first()?;
        Some(match faults.len() - 1 {
            0 => first.clone(),
            more => format!("{first}; and {more} more"),
        })
    }
}

impl DirectionalComparison {
    /// What they told.
    pub fn new(directions: &DirectionsResult) -> Self {
        let missed = [1e-1, 1e-2, 1e-3, 1e-4, 1e-6];
        Self {
            method: directions.method,
            precision: directions.precision.name(),
            increment: directions.increment,
            directions: directions.checks.len(),
            relative_error: directions.relative_error(),
            allowed: directions.allowed(),
            missed: missed
                .map(|relative_error| MissProbability {
                    relative_error,
                    probability: directions.miss_probability(relative_error),
                })
                .to_vec(),
            passed: directions.passed(),
        }
    }

    /// What an estimator's own directions told: of any distribution, so nothing is said of what they
    /// miss.
    pub fn estimate(directions: &DirectionsResult) -> Self {
        Self {
            missed: Vec::new(),
            ..Self::new(directions)
        }
    }
}

impl ComplexStepComparison {
    /// What the two gradients' comparison told.
    pub fn new(found: &GradientComparison, layout: &Layout) -> Self {
        let (errors, layers) = ElementErrors::whole_and_layers(found, layout);
        Self {
            method: "complex-step",
            evaluations: layout.len() as u64,
            errors,
            layers,
            passed: found.passed(),
        }
    }
}

impl ExternalGradient {
    /// Of the gradient in `file`.
    pub fn new(
        file: &Path,
        precision: Precision,
        found: &GradientComparison,
        layout: &Layout,
    ) -> Self {
        let (errors, layers) = ElementErrors::whole_and_layers(found, layout);
        Self {
            file: file.display().to_string(),
            precision: precision.name(),
            errors,
            layers,
            passed: found.passed(),
        }
    }
}
