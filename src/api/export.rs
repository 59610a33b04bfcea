//! Exports a model to files of other programs, with a test of some rows in source files.

use std::path::Path;

use ndarray::{Array2, ArrayView2};

use super::Predictor;
use super::predictor::has_probabilities;
use crate::data::Features;
use crate::error::Result;
use crate::format::Model;
use crate::format::export::{self, ExportFormat, SelfTest, WeightType, sample_inputs};
use crate::format::file::write_atomically;

impl Model {
    /// Writes the model to `path` as a file of `format`, in its own precision, atomically. The source
    /// formats test themselves with ten rows that are drawn from the range of the training data.
    ///
    /// ```no_run
    /// # use nplus1::{Model, format::export::ExportFormat};
    /// let model = Model::load("runs/iris/001/fold-01/model.safetensors")?;
    /// model.export("iris.c", ExportFormat::C)?;
    /// # Ok::<(), nplus1::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Model::exported`]; [`Error::Io`](crate::error::Error::Io) if the operating system
    /// refuses a call.
    pub fn export(&self, path: impl AsRef<Path>, format: ExportFormat) -> Result<()> {
        let rows = sample_inputs(self);
        let bytes = self.exported(format, WeightType::Full, rows.view())?;
        write_atomically(path.as_ref(), &bytes)
    }

    /// Returns the bytes of the model as a file of `format` with weights of type `weights`. The
    /// source formats test themselves with `rows`, network inputs before scaling, `(rows, inputs)`.
    ///
    /// # Errors
    /// Those of [`export::to_bytes`]; rows that [`Model::predict`] refuses.
    pub fn exported(
        &self,
        format: ExportFormat,
        weights: WeightType,
        rows: ArrayView2<'_, f64>,
    ) -> Result<Vec<u8>> {
        let test = match format {
            ExportFormat::C | ExportFormat::Rust => {
                let rounded = weights.rounded(self)?;
                SelfTest::new(&rounded, rows, |rows| rounded.answers(rows))?
            }
            _ => SelfTest::default(),
        };
        Ok(export::to_bytes(self, format, weights, &test)?)
    }

    /// Returns the pre-activations, and the numbers of the answers that exported files give.
    fn answers(&self, rows: Array2<f64>) -> Result<(Array2<f64>, Array2<f64>)> {
        let predictor = Predictor::new(self);
        let outputs = predictor.outputs(Features::Reals(rows))?;
        let mut answers = Vec::new();
        let mut answer = Vec::new();
        for z in outputs.rows() {
            if let Some(targets) = &self.scaling.targets {
                let units = targets.deviation.iter().zip(&targets.mean);
                answers.extend(
                    z.iter()
                        .zip(units)
                        .map(|(z, (scale, mean))| z * scale + mean),
                );
            } else if has_probabilities(self) {
                predictor.probabilities(z, &mut answer);
                answers.extend_from_slice(&answer);
            } else {
                answers.extend(z);
            }
        }
        let shape = (outputs.nrows(), answers.len() / outputs.nrows().max(1));
        let answers = Array2::from_shape_vec(shape, answers).expect("as many numbers in each row");
        Ok((outputs, answers))
    }
}
