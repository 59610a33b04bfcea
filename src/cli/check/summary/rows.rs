//! One method's gradient beside backprop's: its errors, over all parameters and in each layer.

use serde::Serialize;
use serde_json::{Value, json};

use crate::gradient::finite_difference::{DifferenceConfig, Increment, Reuse};
use crate::gradient_check::{CheckedMethod, GradientComparison, Group, Outcome};
use crate::model::Layout;

/// One method.
#[derive(Clone, Debug, Serialize)]
pub struct MethodRow {
    /// As configs spell it.
    pub method: &'static str,
    /// As configs spell it; none of backprop.
    pub evaluation: Option<&'static str>,
    /// The same.
    pub arithmetic: Option<&'static str>,
    /// The same.
    pub summation: Option<&'static str>,
    /// The same.
    pub extrapolation: Option<&'static str>,
    /// `f32` or `f64`.
    pub precision: &'static str,
    /// A number, or the rule by which each unit has one.
    pub increment: Value,
    /// Errors over the whole vector; none if the increment is lost.
    #[serde(flatten)]
    pub errors: ElementErrors,
    /// The same per layer.
    pub layers: Vec<ElementErrors>,
    /// Whether the increment vanishes in θ, and in which parameter.
    pub lost: Option<String>,
    /// Whether every element is within its bound.
    pub passed: bool,
}

/// Errors of some elements.
#[derive(Clone, Debug, Serialize)]
pub struct ElementErrors {
    /// ‖ĝ − g‖₂/‖g‖₂.
    pub relative_error: Option<f64>,
    /// The same of the bounds.
    pub allowed: Option<f64>,
    /// The largest |ĝᵢ − gᵢ|.
    pub max_absolute_error: Option<f64>,
    /// The parameter that has it.
    pub max_absolute_error_at: Option<String>,
    /// Between ĝ and g.
    pub cosine: Option<f64>,
    /// The largest |ĝᵢ − gᵢ| in bounds: above 1 is wrong.
    pub excess: Option<f64>,
    /// The parameter that has it.
    pub excess_at: Option<String>,
}

impl ElementErrors {
    const NONE: Self = Self {
        relative_error: None,
        allowed: None,
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
            max_absolute_error: Some(group.max_absolute_error),
            max_absolute_error_at: Some(layout.name(group.largest)),
            cosine: Some(group.cosine),
            excess: Some(group.excess),
            excess_at: Some(layout.name(group.worst)),
        }
    }

    /// Of the whole vector, and of each layer.
    pub fn whole_and_layers(comparison: &GradientComparison, layout: &Layout) -> (Self, Vec<Self>) {
        let layers = comparison.layers.iter();
        (
            Self::of(&comparison.whole, layout),
            layers.map(|layer| Self::of(layer, layout)).collect(),
        )
    }

    /// `layers.0.weight[3, 17], by 41 times what round-off allows`.
    pub fn wrong(&self) -> String {
        format!(
            "{}, which is off by {} times what truncation and round-off allow",
            self.excess_at.as_deref().unwrap_or("nothing"),
            short(self.excess)
        )
    }
}

impl MethodRow {
    /// Of one method.
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
            method: method.gradient.method(),
            evaluation: method.reuse().map(Reuse::name),
            arithmetic: difference.map(|config| config.arithmetic.name()),
            summation: (method.gradient.difference()).map(|config| config.summation.name()),
            extrapolation: (method.gradient.difference()).map(DifferenceConfig::extrapolation),
            precision: method.precision.name(),
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
            passed: outcome.passed(),
        }
    }

    /// `forward-difference, full, plain, f32, h = 1e-3`.
    pub fn label(&self) -> String {
        let parts = [
            self.method.into(),
            self.evaluation,
            self.arithmetic,
            self.extrapolation.filter(|&word| word != "none"),
            Some(self.precision),
        ];
        let mut label = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
        if !self.increment.is_null() {
            label.push_str(&format!(", h = {}", step(&self.increment)));
        }
        label
    }

    /// One word or two.
    pub fn verdict(&self) -> &'static str {
        match (&self.lost, self.passed) {
            (Some(_), _) if self.increment == "noise" => "no h",
            (Some(_), _) => "h is lost",
            (None, true) => "ok",
            (None, false) => "WRONG",
        }
    }
}

/// Two digits.
pub fn short(number: Option<f64>) -> String {
    match number {
        None => "–".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(number) => format!("{number:.1e}"),
    }
}

/// An increment, or its rule.
pub fn step(increment: &Value) -> String {
    match increment {
        Value::Number(number) => number
            .as_f64()
            .map_or_else(String::new, |h| format!("{h:e}")),
        Value::String(rule) => rule.clone(),
        _ => String::new(),
    }
}
