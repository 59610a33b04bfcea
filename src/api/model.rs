//! What a trained model does: predict, evaluate, save and load.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use ndarray::{Array2, ArrayView2};

use super::predictor::{has_probabilities, write_probabilities};
use crate::data::arrays::Feature;
use crate::data::classes::list;
use crate::data::table::with_columns;
use crate::data::{Dataset, Features, Part, Samples, Scaling};
use crate::error::{InputError, Result};
use crate::format::{AnyParameters, Model, safetensors};
use crate::kernels::Isa;
use crate::model::{Assessment, Forward, Parameters};
use crate::numeric::{Precision, Real};
use crate::parallel::Workers;

impl Model {
    /// Reads a model file, `model.safetensors` of a run or of [`Model::save`]. What the file of
    /// another program does not say is assumed; [`safetensors::load`] tells what that was.
    ///
    /// # Errors
    /// Those of [`safetensors::load`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Ok(safetensors::load(path.as_ref())?.model)
    }

    /// Writes the model to `path` in the safetensors format, atomically.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) if the operating system refuses a call.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        safetensors::save(self, path.as_ref())
    }

    /// Returns the SHA-256 of θ: equal for equal weights, bit by bit.
    pub fn weights_sha256(&self) -> String {
        self.parameters.sha256()
    }

    /// Returns the name of the predicted class of each row of `features`, `(rows, features)`,
    /// unscaled. One forward pass of each row, on all cores.
    ///
    /// # Errors
    /// [`InputError::FeatureCount`] and [`InputError::NotFinite`]; [`InputError::OtherTask`] if the
    /// model predicts numbers.
    pub fn predict<T: Feature>(&self, features: ArrayView2<'_, T>) -> Result<Vec<&str>> {
        let classes = self.predict_indices(features)?.into_iter();
        Ok(classes
            .map(|class| self.class_names[class].as_str())
            .collect())
    }

    /// Returns the index of the predicted class of each row, into `class_names`; as
    /// [`Model::predict`].
    ///
    /// # Errors
    /// Those of [`Model::predict`].
    pub fn predict_indices<T: Feature>(&self, features: ArrayView2<'_, T>) -> Result<Vec<usize>> {
        self.check_predicts_classes()?;
        let outputs = self.outputs(features)?;
        let rows = outputs.rows().into_iter();
        Ok(rows
            .map(|row| self.network.predict(row.iter().copied()))
            .collect())
    }

    /// Returns the numbers that a regression predicts for each row of `features`,
    /// `(rows, targets)`, in the units of the targets. One forward pass of each row, on all cores.
    ///
    /// # Errors
    /// [`InputError::FeatureCount`] and [`InputError::NotFinite`]; [`InputError::OtherTask`] if the
    /// model predicts classes.
    pub fn predict_numbers<T: Feature>(&self, features: ArrayView2<'_, T>) -> Result<Array2<f64>> {
        let Some(targets) = &self.scaling.targets else {
            return Err(InputError::OtherTask(
                "the model predicts classes, not numbers\n  help: use `predict`, `predict_indices` or `predict_proba`",
            )
            .into());
        };
        let mut numbers = self.outputs(features)?;
        for ((_, target), number) in numbers.indexed_iter_mut() {
            *number = targets.undo(target, *number);
        }
        Ok(numbers)
    }

    /// Refuses to name classes if the model predicts numbers.
    fn check_predicts_classes(&self) -> Result<(), InputError> {
        if self.is_regression() {
            return Err(InputError::OtherTask(
                "the model predicts numbers, not classes\n  help: use `predict_numbers`",
            ));
        }
        Ok(())
    }

    /// Returns the probability of each class for each row of `features`, `(rows, classes)`. With
    /// softmax outputs and the logistic loss these are the network's; sigmoid outputs are divided by
    /// their sum.
    ///
    /// # Errors
    /// Those of [`Model::predict`], and [`InputError::NoProbabilities`].
    pub fn predict_proba<T: Feature>(&self, features: ArrayView2<'_, T>) -> Result<Array2<f64>> {
        self.check_predicts_classes()?;
        if !has_probabilities(self) {
            return Err(InputError::NoProbabilities.into());
        }
        let outputs = self.outputs(features)?;
        let mut probabilities = Array2::zeros((outputs.nrows(), self.class_names.len()));
        let mut row_of = Vec::new();
        for (z, mut row) in outputs.rows().into_iter().zip(probabilities.rows_mut()) {
            write_probabilities(self, z, &mut row_of);
            row.assign(&ndarray::ArrayView1::from(&row_of));
        }
        Ok(probabilities)
    }

    /// Reads rows without labels from the file or the folder `path` (CSV, IDX, PNG), as the inputs
    /// of this model before they are scaled, `(rows, inputs)`: the columns of a table are found by
    /// the names that the model knows, text becomes categories, missing values are filled in.
    ///
    /// ```no_run
    /// # use nplus1::Model;
    /// let model = Model::load("runs/wine/001/model.safetensors")?;
    /// let rows = model.read_rows("new.csv")?;
    /// let classes = model.predict(rows.view())?;
    /// # Ok::<(), nplus1::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`UnlabeledRows::open`](crate::data::UnlabeledRows::open).
    #[cfg(feature = "files")]
    pub fn read_rows(&self, path: impl AsRef<Path>) -> Result<Array2<f64>> {
        let expected = self.expected(Path::new("the model"));
        let rows = crate::data::UnlabeledRows::open(path.as_ref(), &expected)?;
        Ok(match rows.part(0..rows.rows())? {
            Features::Bytes(bytes) => bytes.mapv(f64::from),
            Features::Reals(reals) => reals,
        })
    }

    /// Returns what the model, named `path` in messages, expects of files.
    #[cfg(feature = "files")]
    pub(crate) fn expected<'a>(&'a self, path: &'a Path) -> crate::data::ExpectedData<'a> {
        crate::data::ExpectedData {
            path,
            schema: &self.schema,
            inputs: self.network.layout.sizes()[0],
            class_names: &self.class_names,
            targets: self
                .scaling
                .targets
                .as_ref()
                .map(|targets| &targets.names[..]),
        }
    }

    /// Evaluates the model on labeled rows: mean loss (l2 left out), accuracy, confusion matrix,
    /// mistakes; for a regression the errors of each target, in its units. Classes are matched by
    /// name, and so are the columns of a table, if the model knows their names. One forward pass of
    /// each row, on all cores; copies the
    /// data once.
    ///
    /// # Errors
    /// [`InputError`]: data that [`Dataset::check`] refuses, another number of features, a class
    /// that the model does not know, classes for a model that predicts numbers.
    pub fn evaluate(&self, data: &Dataset) -> Result<Assessment> {
        data.check()?;
        match (&data.targets, self.is_regression()) {
            (None, true) => {
                return Err(InputError::OtherTask(
                    "the model predicts numbers, but the data has classes",
                )
                .into());
            }
            (Some(_), false) => {
                return Err(InputError::OtherTask(
                    "the model predicts classes, but the data has numbers",
                )
                .into());
            }
            (Some(targets), true) if targets.names.len() != self.outputs_count() => {
                return Err(InputError::TargetCount {
                    targets: targets.names.len(),
                    outputs: self.outputs_count(),
                }
                .into());
            }
            _ => {}
        }
        let data = with_columns(data, &self.schema)?;
        self.check_features(&data.features)?;
        let dataset = Arc::new(self.with_own_classes(&data)?.into_owned());
        let rows = (0..dataset.rows() as u32).collect();
        Ok(self.assess(&Part { dataset, rows }, Workers::shared()?))
    }

    fn outputs_count(&self) -> usize {
        let layout = &self.network.layout;
        layout.sizes()[layout.layers()]
    }

    /// Evaluates the model on the rows of `part`, whose features and classes must be the model's.
    pub(crate) fn assess(&self, part: &Part, workers: &Workers) -> Assessment {
        fn assess<R: Real>(
            model: &Model,
            parameters: &Parameters<R>,
            part: &Part,
            workers: &Workers,
        ) -> Assessment {
            let samples = Samples::<R>::new(&part.dataset, &model.scaling);
            let forward = Forward::new(&model.network, parameters, Isa::detect());
            let classes = part.dataset.class_count();
            forward.assess(&samples, &part.rows, classes, workers)
        }
        match &self.parameters {
            AnyParameters::F32(parameters) => assess(self, parameters, part, workers),
            AnyParameters::F64(parameters) => assess(self, parameters, part, workers),
        }
    }

    /// Returns `data` with its labels as indices into this model's classes.
    fn with_own_classes<'d>(&self, data: &'d Dataset) -> Result<Cow<'d, Dataset>, InputError> {
        if data.class_names == self.class_names {
            return Ok(Cow::Borrowed(data));
        }
        let index = |name: &String| {
            let known = (0u16..).zip(&self.class_names);
            let found = known.into_iter().find(|(_, known)| *known == name);
            found
                .map(|(class, _)| class)
                .ok_or_else(|| InputError::UnknownClass {
                    class: name.clone(),
                    known: list(&self.class_names),
                })
        };
        let classes: Vec<u16> = data
            .class_names
            .iter()
            .map(index)
            .collect::<Result<_, _>>()?;
        let mut data = data.clone();
        for label in &mut data.labels {
            *label = classes[usize::from(*label)];
        }
        data.class_names.clone_from(&self.class_names);
        Ok(Cow::Owned(data))
    }

    /// Returns the pre-activations of the outputs, `(rows, outputs)`.
    fn outputs<T: Feature>(&self, features: ArrayView2<'_, T>) -> Result<Array2<f64>> {
        fn outputs<R: Real>(
            model: &Model,
            parameters: &Parameters<R>,
            data: &Arc<Dataset>,
        ) -> Result<Array2<f64>> {
            let samples = Samples::<R>::new(data, &model.scaling);
            let rows: Vec<u32> = (0..data.rows() as u32).collect();
            let forward = Forward::new(&model.network, parameters, Isa::detect());
            Ok(forward.pre_activations(&samples, &rows, Workers::shared()?))
        }
        let rows = features.nrows();
        if u32::try_from(rows).is_err() {
            return Err(InputError::TooManyRows { rows }.into());
        }
        let data = Dataset::unlabeled(features, &self.class_names);
        self.check_features(&data.features)?;
        let data = Arc::new(data);
        match &self.parameters {
            AnyParameters::F32(parameters) => outputs(self, parameters, &data),
            AnyParameters::F64(parameters) => outputs(self, parameters, &data),
        }
    }

    /// Refuses another number of features, and numbers that are not finite once they are scaled.
    fn check_features(&self, features: &Features) -> Result<(), InputError> {
        let (found, expected) = (features.dim().1, self.network.layout.sizes()[0]);
        if found != expected {
            return Err(InputError::FeatureCount { found, expected });
        }
        check_scaled(features, &self.scaling, self.parameters.precision())
    }
}

/// Refuses features that are infinite or NaN, or are so once they are scaled in `precision`.
pub(super) fn check_scaled(
    features: &Features,
    scaling: &Scaling,
    precision: Precision,
) -> Result<(), InputError> {
    let Features::Reals(values) = features else {
        return Ok(());
    };
    let is_finite = |number: f64| match precision {
        Precision::F32 => (number as f32).is_finite(),
        Precision::F64 => number.is_finite(),
    };
    for ((row, feature), &value) in values.indexed_iter() {
        if !value.is_finite() || !is_finite(scaling.apply(feature, value)) {
            return Err(InputError::NotFinite {
                row,
                feature,
                value,
            });
        }
    }
    Ok(())
}
