//! What the exported formats say of a model: features, outputs, layers, names.

use super::WeightType;
use super::weights::{StoredLayer, stored};
use crate::data::schema::{Column, Fill, Unknown};
use crate::error::InputError;
use crate::format::Model;
use crate::model::{Loss, OutputUnits};
use crate::numeric::Precision;

/// A model, as the writers see it.
pub(super) struct Contents<'m> {
    pub(super) model: &'m Model,
    pub(super) features: Vec<ExportedFeature<'m>>,
    pub(super) outputs: Outputs<'m>,
    pub(super) layers: Vec<StoredLayer>,
    /// Whether the file computes in single precision.
    pub(super) is_single: bool,
}

/// A number that the user of a file passes.
pub(super) struct ExportedFeature<'m> {
    pub(super) name: Option<&'m str>,
    /// The categories of a text, which is passed as their index; each makes an input.
    pub(super) categories: Option<&'m [String]>,
    /// What replaces a missing value: a number, or the index of a category.
    pub(super) fill: Option<f64>,
}

/// How the outputs' pre-activations become answers.
pub(super) struct Outputs<'m> {
    pub(super) rule: OutputRule,
    /// The names of the classes, or of the targets of a regression.
    pub(super) names: Vec<&'m str>,
    /// The units of a regression's targets; `None` if the answer is a class.
    pub(super) units: Option<TargetUnits<'m>>,
}

/// What the network's last layer computes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputRule {
    /// e^z over its sum.
    Softmax,
    /// σ(z) over its sum.
    Shares,
    /// σ(−z) and σ(z) of the single output.
    Logistic,
    /// z itself.
    Plain,
}

/// A target is its output times `scale` plus `mean`.
pub(super) struct TargetUnits<'m> {
    pub(super) mean: &'m [f64],
    pub(super) scale: &'m [f64],
}

impl<'m> Contents<'m> {
    pub(super) fn new(model: &'m Model, weights: WeightType) -> Result<Self, InputError> {
        let is_single =
            weights != WeightType::Full || model.parameters.precision() == Precision::F32;
        Ok(Self {
            model,
            features: features(model),
            outputs: Outputs::of(model)?,
            layers: stored(model, weights)?,
            is_single,
        })
    }

    /// Returns the number of network inputs.
    pub(super) fn inputs(&self) -> usize {
        self.model.network.layout.sizes()[0]
    }

    /// Returns whether a feature is text or may be missing, so that features are no inputs yet.
    pub(super) fn needs_encoding(&self) -> bool {
        let plain =
            |feature: &ExportedFeature| feature.categories.is_none() && feature.fill.is_none();
        !self.features.iter().all(plain)
    }

    /// Returns whether categories that no training row has are refused.
    pub(super) fn refuses_unknown(&self) -> bool {
        self.model.schema.unknown == Unknown::Refuse
    }

    /// Returns whether the model knows the names of its features.
    pub(super) fn has_names(&self) -> bool {
        self.features.iter().any(|feature| feature.name.is_some())
    }

    /// Returns whether a feature is a text.
    pub(super) fn has_text(&self) -> bool {
        let mut features = self.features.iter();
        features.any(|feature| feature.categories.is_some())
    }

    /// Returns the layer sizes: `4-8-3`.
    pub(super) fn sizes(&self) -> String {
        let sizes = self.model.network.layout.sizes();
        let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
        sizes.join("-")
    }

    /// Returns the name of a feature, or its number if the model knows no names.
    pub(super) fn feature_name(&self, index: usize) -> String {
        let name = self.features[index].name;
        name.map_or_else(|| index.to_string(), str::to_owned)
    }
}

/// Lists what the user of a file passes: the columns of the schema, or numbers without names.
fn features(model: &Model) -> Vec<ExportedFeature<'_>> {
    let columns = &model.schema.columns;
    if columns.is_empty() {
        let inputs = model.network.layout.sizes()[0];
        let plain = || ExportedFeature {
            name: None,
            categories: None,
            fill: None,
        };
        return (0..inputs).map(|_| plain()).collect();
    }
    columns.iter().map(feature).collect()
}

fn feature(column: &Column) -> ExportedFeature<'_> {
    let categories = column.categories.as_deref();
    let fill = column.fill.as_ref().and_then(|fill| match fill {
        Fill::Mean(mean) => Some(*mean),
        Fill::Category(name) => {
            let mut known = categories.unwrap_or_default().iter();
            known.position(|known| known == name).map(|at| at as f64)
        }
    });
    ExportedFeature {
        name: column.name.as_deref(),
        categories,
        fill,
    }
}

impl<'m> Outputs<'m> {
    /// Names the argument of a source file's function that receives the answer.
    pub(super) fn argument(&self) -> &'static str {
        match (self.rule, &self.units) {
            (_, Some(_)) => "targets",
            (OutputRule::Plain, None) => "outputs",
            _ => "probabilities",
        }
    }

    fn of(model: &'m Model) -> Result<Self, InputError> {
        let rule = match (model.network.output, model.network.loss) {
            (OutputUnits::Softmax, _) => OutputRule::Softmax,
            (OutputUnits::Sigmoid, _) => OutputRule::Shares,
            (OutputUnits::Linear, Loss::Logistic) => OutputRule::Logistic,
            (OutputUnits::Linear, _) => OutputRule::Plain,
        };
        let Some(targets) = &model.scaling.targets else {
            return Ok(Self {
                rule,
                names: model.class_names.iter().map(String::as_str).collect(),
                units: None,
            });
        };
        let outputs = model.network.layout.sizes()[model.network.layout.layers()];
        let lengths = [
            targets.names.len(),
            targets.mean.len(),
            targets.deviation.len(),
        ];
        if rule != OutputRule::Plain || lengths != [outputs; 3] {
            return Err(InputError::Conflict(format!(
                "a regression has linear outputs, and a name, a mean and a scale of each of its \
                 {outputs} targets"
            )));
        }
        Ok(Self {
            rule,
            names: targets.names.iter().map(String::as_str).collect(),
            units: Some(TargetUnits {
                mean: &targets.mean,
                scale: &targets.deviation,
            }),
        })
    }

    /// Returns the number of answers: one per class, or per target.
    pub(super) fn count(&self) -> usize {
        self.names.len()
    }

    /// Returns what the numbers of an answer are, for the documentation of a file.
    pub(super) fn meaning(&self) -> &'static str {
        match (self.rule, &self.units) {
            (_, Some(_)) => "the predicted number of each target, in its own units",
            (OutputRule::Plain, None) => "the output of each class, which is no probability",
            _ => "the probability of each class",
        }
    }
}

/// Returns whether the answers are the outputs themselves, neither probabilities nor targets.
pub(super) fn is_plain(model: &Model) -> bool {
    model.network.output == OutputUnits::Linear && model.network.loss != Loss::Logistic
}
