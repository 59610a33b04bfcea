//! The metadata of a model file: layer sizes, output, loss, class names, scaling.
//!
//! Our own files say everything, and a key that is missing is refused. Files of other programs may
//! say nothing: what is assumed then is listed. Whatever is said has to agree with the tensors.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use safetensors::tensor::Metadata;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::safetensors::LoadedModel;
use super::{AnyParameters, Model};
use crate::data::Scaling;
use crate::error::{Error, Result};
use crate::model::{Layout, Loss, Network, OutputUnits};

/// What our metadata says under `format`.
const FORMAT: &str = "nplus1";

/// What the metadata says of `model`; every value is a string, as the format demands.
pub fn of(model: &Model) -> Value {
    let layout = model.parameters.layout();
    json!({
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
    })
}

/// The metadata of a file while a model is made of it.
pub struct ModelMetadata<'a> {
    entries: HashMap<String, String>,
    /// Our own files have to say everything.
    complete: bool,
    path: &'a Path,
    assumed: Vec<String>,
}

impl<'a> ModelMetadata<'a> {
    /// The metadata of `header`, of the file `path`.
    pub fn new(header: &Metadata, path: &'a Path) -> Self {
        let entries = header.metadata().clone().unwrap_or_default();
        let complete = entries.get("format").is_some_and(|format| format == FORMAT);
        Self {
            entries,
            complete,
            path,
            assumed: Vec::new(),
        }
    }

    /// The model of `parameters`.
    ///
    /// # Errors
    /// Everything the module refuses, with the key as its place.
    pub fn model(mut self, layout: Arc<Layout>, parameters: AnyParameters) -> Result<LoadedModel> {
        let sizes = layout.sizes();
        self.agrees("sizes", sizes.to_vec())?;
        self.agrees("bias", layout.has_bias())?;
        if self.complete {
            self.agrees_word("precision", parameters.precision().name())?;
        }
        let (inputs, outputs) = (sizes[0], sizes[layout.layers()]);
        let name = self.text("name", || stem(self.path))?;
        let output = self.word(
            "output",
            &[
                OutputUnits::Sigmoid,
                OutputUnits::Softmax,
                OutputUnits::Linear,
            ],
            OutputUnits::name,
        )?;
        let losses = match output {
            OutputUnits::Softmax => [Loss::CrossEntropy, Loss::Quadratic, Loss::Logistic],
            _ => [Loss::Quadratic, Loss::CrossEntropy, Loss::Logistic],
        };
        let loss = self.word("loss", &losses, Loss::name)?;
        self.check_pair(output, loss, outputs)?;
        let l2: f64 = self.parsed("l2", 0.0, "no l2 term")?;
        self.require(l2 >= 0.0 && l2.is_finite(), "l2", "a finite number from 0")?;
        let class_names = self.class_names(outputs)?;
        let identity = Scaling {
            offset: vec![0.0; inputs],
            divisor: vec![1.0; inputs],
        };
        let scaling = self.parsed("scaling", identity, "inputs are taken unscaled")?;
        let each = |numbers: &[f64]| {
            numbers.len() == inputs && numbers.iter().all(|number| number.is_finite())
        };
        self.require(
            each(&scaling.offset)
                && each(&scaling.divisor)
                && scaling.divisor.iter().all(|&number| number != 0.0),
            "scaling",
            &format!("{inputs} finite offsets and {inputs} finite divisors, none of them 0"),
        )?;
        Ok(LoadedModel {
            model: Model {
                name,
                network: Network {
                    layout,
                    output,
                    loss,
                    l2,
                },
                parameters,
                class_names,
                scaling,
            },
            assumed: self.assumed,
        })
    }

    /// The entry `key`; `None` only where it may be assumed.
    fn entry(&self, key: &str) -> Result<Option<&str>> {
        match self.entries.get(key) {
            Some(text) => Ok(Some(text)),
            None if self.complete => Err(self.refuse(key, "missing".to_owned())),
            None => Ok(None),
        }
    }

    fn text(&mut self, key: &str, otherwise: impl FnOnce() -> String) -> Result<String> {
        Ok(self.entry(key)?.map_or_else(otherwise, str::to_owned))
    }

    /// One of `allowed`; the first of them where a foreign file does not say.
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

    /// The entry as JSON; `otherwise` where a foreign file does not say.
    fn parsed<T: DeserializeOwned>(
        &mut self,
        key: &str,
        otherwise: T,
        sentence: &str,
    ) -> Result<T> {
        match self.entry(key)? {
            Some(text) => serde_json::from_str(text)
                .map_err(|error| self.refuse(key, format!("not readable: {error}"))),
            None => {
                self.assumed.push(sentence.to_owned());
                Ok(otherwise)
            }
        }
    }

    fn class_names(&mut self, outputs: usize) -> Result<Vec<String>> {
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

    /// What the metadata says twice has to agree with the tensors.
    fn agrees<T: DeserializeOwned + PartialEq + serde::Serialize>(
        &mut self,
        key: &str,
        tensors: T,
    ) -> Result<()> {
        let Some(text) = self.entry(key)? else {
            return Ok(());
        };
        let fits = serde_json::from_str::<T>(text).is_ok_and(|value| value == tensors);
        self.require(
            fits,
            key,
            &format!("{} as the tensors have", json!(tensors)),
        )
    }

    fn agrees_word(&self, key: &str, tensors: &str) -> Result<()> {
        let fits = self.entry(key)? == Some(tensors);
        self.require(fits, key, &format!("{tensors} as the tensors have"))
    }

    /// Only the pairs that a config may ask for.
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

/// A file's name without its extension.
fn stem(path: &Path) -> String {
    path.file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}
