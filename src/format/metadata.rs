//! The metadata of a model file: layer sizes, output, loss, class names, scaling (of a regression's
//! targets, too), columns, and weights of classes, if there are any.
//!
//! A file of nplus1 has all keys; a missing one is refused. A file of another program may lack
//! them: the values assumed instead are listed. The values present must match the tensors.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use safetensors::tensor::Metadata;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::safetensors::LoadedModel;
use super::{AnyParameters, Model};
use crate::data::{Scaling, Schema};
use crate::error::{Error, Result};
use crate::model::{Layout, Loss, Network, OutputUnits};

/// The value of `format` in a file of nplus1.
const FORMAT: &str = "nplus1";

/// Returns the metadata of `model`; every value is a string, as the format requires.
pub fn of(model: &Model) -> Value {
    let layout = model.parameters.layout();
    let mut entries = json!({
        "format": FORMAT,
        "version": env!("CARGO_PKG_VERSION"),
        "name": model.name,
        "sizes": json!(layout.sizes()).to_string(),
        "bias": layout.has_bias().to_string(),
        "output": model.network.output.name(),
        "loss": model.network.loss.name(),
        "l2": json!(model.network.l2).to_string(),
        "precision": model.parameters.precision().name(),
        "class_names": json!(model.class_names).to_string(),
        "scaling": json!(model.scaling).to_string(),
    });
    if !model.network.class_weights.is_empty() {
        entries["class_weights"] = json!(model.network.class_weights).to_string().into();
    }
    if !model.schema.is_plain() {
        let columns = StoredSchema {
            version: SCHEMA_VERSION,
            schema: model.schema.clone(),
        };
        entries[COLUMNS] = json!(columns).to_string().into();
    }
    entries
}

/// The entry of a file that says what is known of the columns. Without it nothing is known.
const COLUMNS: &str = "columns";

/// The version of that entry which is written, and the only one that is read.
const SCHEMA_VERSION: u32 = 1;

/// What is known of the columns, as the file has it.
#[derive(Serialize, Deserialize)]
struct StoredSchema {
    version: u32,
    #[serde(flatten)]
    schema: Schema,
}

/// The version alone, which is read before the rest.
#[derive(Deserialize)]
struct StoredVersion {
    version: u32,
}

/// The metadata of a file that is being read.
pub struct ModelMetadata<'a> {
    entries: HashMap<String, String>,
    /// Whether every key is required, as in a file of nplus1.
    all_required: bool,
    path: &'a Path,
    /// The values assumed for missing keys, one sentence each.
    assumed: Vec<String>,
}

impl<'a> ModelMetadata<'a> {
    /// Takes the metadata from the `header` of the file `path`.
    pub fn new(header: &Metadata, path: &'a Path) -> Self {
        let entries = header.metadata().clone().unwrap_or_default();
        let all_required = entries.get("format").is_some_and(|format| format == FORMAT);
        Self {
            entries,
            all_required,
            path,
            assumed: Vec::new(),
        }
    }

    /// Combines `parameters` and the metadata into a model.
    ///
    /// # Errors
    /// Metadata that the module refuses, with the key as its place.
    pub fn model(mut self, layout: Arc<Layout>, parameters: AnyParameters) -> Result<LoadedModel> {
        let sizes = layout.sizes();
        self.check_matches("sizes", sizes.to_vec())?;
        self.check_matches("bias", layout.has_bias())?;
        if self.all_required {
            self.check_word("precision", parameters.precision().name())?;
        }
        let (inputs, outputs) = (sizes[0], sizes[layout.layers()]);
        let name = self.text("name", || stem(self.path))?;
        // A file that says nothing has the first; one output tells classes apart by its sign alone.
        let kinds = match outputs {
            1 => [
                OutputUnits::Linear,
                OutputUnits::Sigmoid,
                OutputUnits::Softmax,
            ],
            _ => [
                OutputUnits::Sigmoid,
                OutputUnits::Softmax,
                OutputUnits::Linear,
            ],
        };
        let output = self.word("output", &kinds, OutputUnits::name)?;
        let losses = match (output, outputs) {
            (OutputUnits::Softmax, _) => [Loss::CrossEntropy, Loss::Quadratic, Loss::Logistic],
            (OutputUnits::Linear, 1) => [Loss::Logistic, Loss::Quadratic, Loss::CrossEntropy],
            _ => [Loss::Quadratic, Loss::CrossEntropy, Loss::Logistic],
        };
        let loss = self.word("loss", &losses, Loss::name)?;
        self.check_pair(output, loss, outputs)?;
        let l2: f64 = self.parsed("l2", 0.0, "no l2 term")?;
        self.require(
            l2 >= 0.0 && l2.is_finite(),
            "l2",
            "a finite number, 0 or above",
        )?;
        let scaling = self.scaling(inputs, outputs, (output, loss))?;
        let class_names = match &scaling.targets {
            Some(_) => Vec::new(),
            None => self.class_names(outputs, loss)?,
        };
        let class_weights = self.class_weights(class_names.len())?;
        let schema = self.schema(inputs)?;
        let targets = scaling.targets.as_ref().map_or(0, |t| t.names.len());
        if ![0, targets].contains(&schema.targets.len()) {
            let problem = "another number of targets than `scaling` has".to_owned();
            return Err(self.refuse(COLUMNS, problem));
        }
        Ok(LoadedModel {
            model: Model {
                name,
                network: Network {
                    layout,
                    output,
                    loss,
                    l2,
                    class_weights,
                },
                parameters,
                class_names,
                scaling,
                schema,
            },
            assumed: self.assumed,
        })
    }

    /// Reads the scaling of the inputs, and of the targets of a regression.
    fn scaling(
        &mut self,
        inputs: usize,
        outputs: usize,
        (output, loss): (OutputUnits, Loss),
    ) -> Result<Scaling> {
        let identity = Scaling {
            offset: vec![0.0; inputs],
            divisor: vec![1.0; inputs],
            targets: None,
        };
        let scaling = self.parsed("scaling", identity, "inputs are taken unscaled")?;
        let valid = |numbers: &[f64]| {
            numbers.len() == inputs && numbers.iter().all(|number| number.is_finite())
        };
        self.require(
            valid(&scaling.offset)
                && valid(&scaling.divisor)
                && scaling.divisor.iter().all(|&number| number != 0.0),
            "scaling",
            &format!("{inputs} finite offsets and {inputs} finite divisors, none of them 0"),
        )?;
        if let Some(targets) = &scaling.targets {
            self.require(
                targets.is_valid() && targets.names.len() == outputs,
                "scaling",
                &format!("a name, a mean and a deviation above 0 of each of {outputs} targets"),
            )?;
            self.require(
                (output, loss) == (OutputUnits::Linear, Loss::Quadratic),
                "output",
                "linear, with the quadratic loss, since the file says how targets are scaled",
            )?;
        }
        Ok(scaling)
    }

    /// Returns the entry `key`; `None` if it is missing and need not be there.
    fn entry(&self, key: &str) -> Result<Option<&str>> {
        match self.entries.get(key) {
            Some(text) => Ok(Some(text)),
            None if self.all_required => Err(self.refuse(key, "missing".to_owned())),
            None => Ok(None),
        }
    }

    /// Returns the entry as text; `otherwise` if a foreign file lacks it.
    fn text(&mut self, key: &str, otherwise: impl FnOnce() -> String) -> Result<String> {
        Ok(self.entry(key)?.map_or_else(otherwise, str::to_owned))
    }

    /// Reads one of `allowed`; assumes the first if a foreign file lacks the key.
    fn word<T: Copy>(
        &mut self,
        key: &str,
        allowed: &[T],
        name: fn(T) -> &'static str,
    ) -> Result<T> {
        let Some(text) = self.entry(key)? else {
            self.assumed
                .push(format!("{key} = \"{}\"", name(allowed[0])));
            return Ok(allowed[0]);
        };
        let found = allowed.iter().find(|&&value| name(value) == text);
        found.copied().ok_or_else(|| {
            let names: Vec<_> = allowed.iter().map(|&value| name(value)).collect();
            self.refuse(key, format!("`{text}`; allowed: {}", names.join(", ")))
        })
    }

    /// Reads the entry as JSON. If a foreign file lacks it, assumes `otherwise`, which `sentence`
    /// describes.
    fn parsed<T: DeserializeOwned>(
        &mut self,
        key: &str,
        otherwise: T,
        sentence: &str,
    ) -> Result<T> {
        match self.entry(key)? {
            Some(text) => serde_json::from_str(text)
                .map_err(|error| self.refuse(key, format!("not valid: {error}"))),
            None => {
                self.assumed.push(sentence.to_owned());
                Ok(otherwise)
            }
        }
    }

    /// Reads the weights of the classes, if there are any.
    fn class_weights(&self, classes: usize) -> Result<Vec<f64>> {
        const KEY: &str = "class_weights";
        let Some(text) = self.entries.get(KEY) else {
            return Ok(Vec::new());
        };
        let weights: Vec<f64> = serde_json::from_str(text)
            .map_err(|error| self.refuse(KEY, format!("not valid: {error}")))?;
        let positive = weights
            .iter()
            .all(|&weight| weight > 0.0 && weight.is_finite());
        self.require(
            positive && weights.len() == classes,
            KEY,
            &format!("a finite number above 0 for each of {classes} classes"),
        )?;
        Ok(weights)
    }

    /// Reads the class names: one per output, or two for one output, whose loss must be logistic.
    fn class_names(&mut self, outputs: usize, loss: Loss) -> Result<Vec<String>> {
        if outputs == 1 && loss != Loss::Logistic {
            let problem = format!(
                "{} with one output, which tells no classes apart; allowed: `output` \"linear\" with \
                 `loss` \"logistic\", whose probability is the sigmoid of the output",
                loss.name()
            );
            return Err(self.refuse("loss", problem));
        }
        let classes = outputs.max(2);
        let numbers = (0..classes).map(|class| class.to_string()).collect();
        let names: Vec<String> =
            self.parsed("class_names", numbers, "classes are numbered from 0")?;
        self.require(
            names.len() == classes,
            "class_names",
            &format!("{classes} names for {outputs} outputs, not {}", names.len()),
        )?;
        Ok(names)
    }

    /// Reads what is known of the columns.
    fn schema(&self, inputs: usize) -> Result<Schema> {
        let Some(text) = self.entries.get(COLUMNS) else {
            return Ok(Schema::default());
        };
        let invalid =
            |error: serde_json::Error| self.refuse(COLUMNS, format!("not valid: {error}"));
        let StoredVersion { version } = serde_json::from_str(text).map_err(invalid)?;
        if version != SCHEMA_VERSION {
            let problem =
                format!("version {version}; this version of nplus1 reads {SCHEMA_VERSION}");
            return Err(self.refuse(COLUMNS, problem));
        }
        let stored: StoredSchema = serde_json::from_str(text).map_err(invalid)?;
        match stored.schema.fault(inputs) {
            None => Ok(stored.schema),
            Some(fault) => Err(self.refuse(COLUMNS, fault)),
        }
    }

    /// Refuses an entry that contradicts the tensors.
    fn check_matches<T: DeserializeOwned + PartialEq + Serialize>(
        &mut self,
        key: &str,
        tensors: T,
    ) -> Result<()> {
        let Some(text) = self.entry(key)? else {
            return Ok(());
        };
        let fits = serde_json::from_str::<T>(text).is_ok_and(|value| value == tensors);
        self.require(fits, key, &format!("{}, as in the tensors", json!(tensors)))
    }

    /// Refuses a required entry that is not the word that follows from the tensors.
    fn check_word(&self, key: &str, tensors: &str) -> Result<()> {
        let fits = self.entry(key)? == Some(tensors);
        self.require(fits, key, &format!("{tensors}, as in the tensors"))
    }

    /// Refuses outputs that a config does not allow with this loss.
    fn check_pair(&self, output: OutputUnits, loss: Loss, outputs: usize) -> Result<()> {
        let fits = match loss {
            Loss::Quadratic => output != OutputUnits::Softmax,
            Loss::CrossEntropy => output != OutputUnits::Linear,
            Loss::Logistic => output == OutputUnits::Linear && outputs == 1,
        };
        if fits {
            return Ok(());
        }
        let problem = format!(
            "{} with {} outputs of kind {}; allowed: quadratic with sigmoid or linear, \
             cross-entropy with sigmoid or softmax, logistic with one linear output",
            loss.name(),
            outputs,
            output.name()
        );
        Err(self.refuse("loss", problem))
    }

    /// Refuses the entry unless `fits`; names the value found and those allowed.
    fn require(&self, fits: bool, key: &str, allowed: &str) -> Result<()> {
        if fits {
            return Ok(());
        }
        let found = self.entries.get(key).map_or("nothing", String::as_str);
        let short: String = found.chars().take(60).collect();
        let more = if short.len() < found.len() { "…" } else { "" };
        Err(self.refuse(key, format!("`{short}{more}`; allowed: {allowed}")))
    }

    fn refuse(&self, key: &str, problem: String) -> Error {
        Error::refused(self.path, problem).at(format!("metadata `{key}`"))
    }
}

/// Returns a file's name without its extension.
fn stem(path: &Path) -> String {
    path.file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}
