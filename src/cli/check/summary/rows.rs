//! Errors of one method's gradient compared with backprop's, over all parameters and in each layer.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::gradient::finite_difference::Increment;
use crate::gradient_check::{CheckedMethod, GradientComparison, Group, Outcome};
use crate::model::Layout;

/// A word of a config.
pub type Word = Cow<'static, str>;

/// Result of one method.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MethodRow {
    /// Name of the method in configs.
    pub method: Word,
    /// Evaluation in configs; none for backprop.
    pub evaluation: Option<Word>,
    /// Arithmetic in configs.
    pub arithmetic: Option<Word>,
    /// Summation in configs.
    pub summation: Option<Word>,
    /// Extrapolation in configs.
    pub extrapolation: Option<Word>,
    /// `f32` or `f64`.
    pub precision: Word,
    /// A number, or the rule that gives each unit its increment.
    pub increment: Value,
    /// Errors over the whole vector; absent if the increment is lost.
    #[serde(flatten)]
    pub errors: ElementErrors,
    /// Errors per layer.
    pub layers: Vec<ElementErrors>,
    /// Description of the parameter in which the increment is lost, if one is.
    pub lost: Option<String>,
    /// Whether the gradient is right; none if that cannot be told.
    pub passed: Option<bool>,
}

/// Errors of a group of elements.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ElementErrors {
    /// ‖ĝ − g‖₂/‖g‖₂.
    pub relative_error: Option<f64>,
    /// Bound of the relative error.
    pub allowed: Option<f64>,
    /// Expected relative error of the round-off; none if it is unknown.
    pub expected: Option<f64>,
    /// The largest |ĝᵢ − gᵢ|.
    pub max_absolute_error: Option<f64>,
    /// Parameter with that error.
    pub max_absolute_error_at: Option<String>,
    /// Cosine between ĝ and g.
    pub cosine: Option<f64>,
    /// The largest |ĝᵢ − gᵢ| relative to its bound; above 1 is wrong.
    pub excess: Option<f64>,
    /// Parameter with that error.
    pub excess_at: Option<String>,
}

impl ElementErrors {
    const NONE: Self = Self {
        relative_error: None,
        allowed: None,
        expected: None,
        max_absolute_error: None,
        max_absolute_error_at: None,
        cosine: None,
        excess: None,
        excess_at: None,
    };

    fn of(group: &Group, layout: &Layout) -> Self {
        Self {
            relative_error: Some(group.relative_error),
            allowed: Some(group.allowed),
            expected: Some(group.expected).filter(|expected| !expected.is_nan()),
            max_absolute_error: Some(group.max_absolute_error),
            max_absolute_error_at: Some(layout.name(group.largest)),
            cosine: Some(group.cosine),
            excess: Some(group.excess),
            excess_at: Some(layout.name(group.worst)),
        }
    }

    /// Returns the errors of the whole vector and of each layer.
    pub fn whole_and_layers(comparison: &GradientComparison, layout: &Layout) -> (Self, Vec<Self>) {
        let layers = comparison.layers.iter();
        (
            Self::of(&comparison.whole, layout),
            layers.map(|layer| Self::of(layer, layout)).collect(),
        )
    }

    /// Describes the worst element and the ratio of its error to its bound.
    pub fn wrong(&self) -> String {
        format!(
            "{}, whose error is {} times what truncation and round-off allow",
            self.excess_at.as_deref().unwrap_or("nothing"),
            short(self.excess)
        )
    }
}

impl MethodRow {
    /// Summarizes the outcome of one method.
    pub fn new(method: &CheckedMethod, outcome: &Outcome, layout: &Layout) -> Self {
        let difference = method.gradient.perturbation();
        let (errors, layers, lost) = match outcome {
            Outcome::Compared(comparison) => {
                let (whole, layers) = ElementErrors::whole_and_layers(comparison, layout);
                (whole, layers, None)
            }
            Outcome::Lost(lost) => (ElementErrors::NONE, Vec::new(), Some(lost.to_string())),
        };
        Self {
            method: method.gradient.method().into(),
            evaluation: method.reuse().map(|reuse| reuse.name().into()),
            arithmetic: difference.map(|config| config.arithmetic.name().into()),
            summation: (method.gradient.difference()).map(|config| config.summation.name().into()),
            extrapolation: (method.gradient.difference())
                .map(|config| config.extrapolation().into()),
            precision: method.precision.name().into(),
            increment: match difference {
                None => Value::Null,
                Some(config) => match config.increment {
                    Increment::Auto => json!("auto"),
                    Increment::Noise => json!("noise"),
                    Increment::Absolute(h) => json!(h),
                    Increment::Relative(h) => json!(format!("{h:e} relative")),
                },
            },
            errors,
            layers,
            lost,
            passed: outcome.judgment().passed(),
        }
    }

    /// Returns a label such as `forward-difference, full, plain, f32, h = 1e-3`.
    pub fn label(&self) -> String {
        let parts = [
            Some(&self.method),
            self.evaluation.as_ref(),
            self.arithmetic.as_ref(),
            (self.extrapolation.as_ref()).filter(|&word| word != "none"),
            Some(&self.precision),
        ];
        let parts: Vec<&str> = parts.into_iter().flatten().map(|word| &**word).collect();
        let mut label = parts.join(", ");
        if !self.increment.is_null() {
            label.push_str(&format!(", h = {}", step(&self.increment)));
        }
        label
    }

    /// Returns the verdict as text.
    pub fn verdict(&self) -> &'static str {
        match &self.lost {
            Some(_) if self.increment == "noise" => "no h",
            Some(_) => "h is lost",
            None => verdict(self.passed),
        }
    }
}

/// Formats a verdict.
pub fn verdict(passed: Option<bool>) -> &'static str {
    match passed {
        Some(true) => "ok",
        Some(false) => "WRONG",
        None => "cannot tell",
    }
}

/// Formats a number with two digits.
pub fn short(number: Option<f64>) -> String {
    match number {
        None => "–".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(number) => format!("{number:.1e}"),
    }
}

/// Formats an increment or its rule.
pub fn step(increment: &Value) -> String {
    match increment {
        Value::Number(number) => number
            .as_f64()
            .map_or_else(String::new, |h| format!("{h:e}")),
        Value::String(rule) => rule.clone(),
        _ => String::new(),
    }
}
