//! JSON document of `nplus1 check`; `text.rs` formats it as text.

use std::path::Path;

use serde::Serialize;

use super::curve::CurveSummary;
use super::rows::{ElementErrors, MethodRow, short};
use crate::gradient_check::directions::DirectionsResult;
use crate::gradient_check::{
    CheckSubject, ExternalComparison, GradientComparison, Mistake, WrongTensor,
};
use crate::model::{Layout, Network};
use crate::numeric::Precision;

/// The JSON document.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// The config's name.
    pub name: String,
    /// Layer sizes.
    pub sizes: Vec<usize>,
    /// Number of parameters, N.
    pub parameters: usize,
    /// Rows of the mini-batch.
    pub batch_rows: usize,
    /// The mean loss of the rows, l2 left out.
    pub loss: f64,
    /// ‖g‖₂, l2 included.
    pub gradient_norm: f64,
    /// Whether nothing is wrong.
    pub passed: bool,
    /// Number of whole gradients of which the check cannot tell whether they are right.
    pub cannot_tell: usize,
    /// Methods that were left out, and why.
    pub note: Option<String>,
    /// Whole gradients.
    pub rows: Vec<MethodRow>,
    /// Backprop's gradient along random directions.
    pub directions: Vec<DirectionalComparison>,
    /// Check of the config's random-direction method, if it is one.
    pub estimate: Option<DirectionalComparison>,
    /// Rows at other increments.
    pub sweep: Vec<MethodRow>,
    /// Measured and predicted errors, one curve per method.
    pub curves: Vec<CurveSummary>,
    /// Comparison of backprop in double precision with the complex step.
    pub oracle: Option<ComplexStepComparison>,
    /// Comparison with the gradient of another program.
    pub against: Option<ExternalGradient>,
    /// Directory of the study of a sweep.
    pub study: Option<String>,
    /// Whether the text of a sweep has a line for every increment.
    #[serde(skip)]
    pub detailed: bool,
}

/// Derivatives along random directions, by backprop's gradient and by another method.
#[derive(Clone, Debug, Serialize)]
pub struct DirectionalComparison {
    /// Name of the method in configs.
    pub method: &'static str,
    /// `f32` or `f64`.
    pub precision: &'static str,
    /// Increment h; none for exact derivatives.
    pub increment: Option<f64>,
    /// Number of directions, K.
    pub directions: usize,
    /// √(Σ (v·ĝ − v·g)²/K)/‖g‖.
    pub relative_error: f64,
    /// Bound of the relative error, from the tolerances.
    pub allowed: f64,
    /// Upper bounds of the probability that a gradient with such an error passes.
    pub missed: Vec<MissProbability>,
    /// Whether every direction is within its tolerance.
    pub passed: bool,
}

/// Size of an error, and the probability of missing it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MissProbability {
    /// ‖e‖/‖g‖.
    pub relative_error: f64,
    /// Upper bound of the probability.
    pub probability: f64,
}

/// Comparison of the derivative by the complex step with backprop's in double precision.
#[derive(Clone, Debug, Serialize)]
pub struct ComplexStepComparison {
    /// `complex-step`.
    pub method: &'static str,
    /// Evaluations in complex numbers, N.
    pub evaluations: u64,
    /// Errors over the whole vector.
    #[serde(flatten)]
    pub errors: ElementErrors,
    /// Errors per layer.
    pub layers: Vec<ElementErrors>,
    /// Whether the gradient is right; none if that cannot be told.
    pub passed: Option<bool>,
}

/// Comparison with the gradient of another program.
#[derive(Clone, Debug, Serialize)]
pub struct ExternalGradient {
    /// Path of its file.
    pub file: String,
    /// Precision of its numbers.
    pub precision: &'static str,
    /// Errors over the whole vector.
    #[serde(flatten)]
    pub errors: ElementErrors,
    /// Errors per layer.
    pub layers: Vec<ElementErrors>,
    /// Whether the gradient is right; none if that cannot be told.
    pub passed: Option<bool>,
    /// Smallest error of one element that would have been seen, relative to it: median.
    pub caught_element: f64,
    /// The same for the element that shows the least.
    pub caught_weakest_element: f64,
    /// Smallest error of all elements that would have been seen, relative to each.
    pub caught_whole: f64,
    /// Every tensor with wrong elements.
    pub tensors: Vec<ExternalTensor>,
    /// Mistake that explains all errors, in words.
    pub mistake: Option<String>,
}

/// Tensor with wrong elements in the gradient of another program.
#[derive(Clone, Debug, Serialize)]
pub struct ExternalTensor {
    /// Name, such as `layers.0.weight`.
    pub name: String,
    /// Elements beyond their bounds.
    pub wrong: usize,
    /// All elements.
    pub elements: usize,
    /// ‖ĝ − g‖₂/‖g‖₂ over the tensor.
    pub relative_error: f64,
    /// Mistake that explains its errors, in words.
    pub mistake: Option<String>,
}

impl CheckReport {
    /// Creates a report without checks.
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
            cannot_tell: 0,
            note: None,
            rows: Vec::new(),
            directions: Vec::new(),
            estimate: None,
            sweep: Vec::new(),
            curves: Vec::new(),
            oracle: None,
            against: None,
            study: None,
            detailed: false,
        }
    }

    /// Sets `passed` from all checks.
    pub fn conclude(&mut self) {
        self.passed = self.failed().is_none();
        let undecided = |row: &&MethodRow| row.passed.is_none() && row.lost.is_none();
        self.cannot_tell = self.rows.iter().filter(undecided).count();
    }

    /// Describes the first failed check and counts the others; `None` if all passed.
    pub fn failed(&self) -> Option<String> {
        let rows = self
            .rows
            .iter()
            .chain(&self.sweep)
            .filter(|row| row.passed == Some(false));
        let mut failures: Vec<String> = rows
            .map(|row| format!("{} is wrong in {}", row.label(), row.errors.wrong()))
            .collect();
        for directed in self.directions.iter().filter(|directed| !directed.passed) {
            failures.push(format!(
                "backprop's gradient is not the derivative that {} in {} finds along random directions: {} off, {} allowed",
                directed.method,
                directed.precision,
                short(Some(directed.relative_error)),
                short(Some(directed.allowed))
            ));
        }
        if let Some(estimate) = self.estimate.as_ref().filter(|estimate| !estimate.passed) {
            failures.push(format!(
                "{} in {} is no estimate of the gradient: its derivatives along its directions are {} off, {} allowed",
                estimate.method,
                estimate.precision,
                short(Some(estimate.relative_error)),
                short(Some(estimate.allowed))
            ));
        }
        if let Some(external) = self
            .against
            .as_ref()
            .filter(|external| external.passed == Some(false))
        {
            let mistake = external.mistake.as_ref();
            failures.push(format!(
                "{} is wrong in {}{}",
                external.file,
                external.errors.wrong(),
                mistake.map_or(String::new(), |mistake| format!("; {mistake}"))
            ));
        }
        if let Some(oracle) = self
            .oracle
            .as_ref()
            .filter(|oracle| oracle.passed == Some(false))
        {
            failures.push(format!(
                "backprop in f64 and the complex step differ in {}",
                oracle.errors.wrong()
            ));
        }
        let first = failures.first()?;
        Some(match failures.len() - 1 {
            0 => first.clone(),
            more => format!("{first}; and {more} more"),
        })
    }
}

impl DirectionalComparison {
    /// Summarizes a check along random directions.
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

    /// Summarizes a check along a method's directions, whose distribution is arbitrary, so that no
    /// probabilities of missed errors are known.
    pub fn estimate(directions: &DirectionsResult) -> Self {
        Self {
            missed: Vec::new(),
            ..Self::new(directions)
        }
    }
}

impl ComplexStepComparison {
    /// Summarizes the comparison of the two gradients.
    pub fn new(comparison: &GradientComparison, layout: &Layout) -> Self {
        let (errors, layers) = ElementErrors::whole_and_layers(comparison, layout);
        Self {
            method: "complex-step",
            evaluations: layout.len() as u64,
            errors,
            layers,
            passed: comparison.judgment().passed(),
        }
    }
}

impl ExternalGradient {
    /// Summarizes the comparison with the gradient in `file`.
    pub fn new(
        file: &Path,
        precision: Precision,
        found: &ExternalComparison,
        layout: &Layout,
    ) -> Self {
        let (errors, layers) = ElementErrors::whole_and_layers(&found.comparison, layout);
        let words = |mistake: &Option<Mistake>| mistake.as_ref().map(Mistake::to_string);
        let tensor = |tensor: &WrongTensor| ExternalTensor {
            name: tensor.name.clone(),
            wrong: tensor.wrong,
            elements: tensor.elements,
            relative_error: tensor.relative_error,
            mistake: words(&tensor.mistake),
        };
        Self {
            file: file.display().to_string(),
            precision: precision.name(),
            errors,
            layers,
            passed: found.comparison.judgment().passed(),
            caught_element: found.power.element,
            caught_weakest_element: found.power.weakest_element,
            caught_whole: found.power.whole,
            tensors: found.tensors.iter().map(tensor).collect(),
            mistake: words(&found.mistake),
        }
    }
}
