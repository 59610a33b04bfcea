//! Datasets (features, labels, class names) and the parts of them that a run uses.

use std::sync::Arc;

use ndarray::Array2;

use super::schema::Schema;
use super::table::DataTable;
use super::targets::{RegressionTargets, TargetScaling};

/// Features, shape `(rows, features)`, in the type of the file: bytes stay bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Features {
    /// Integers 0…255, such as pixels.
    Bytes(Array2<u8>),
    /// Any finite numbers.
    Reals(Array2<f64>),
}

impl Features {
    /// Returns `(rows, features)`.
    pub fn dim(&self) -> (usize, usize) {
        match self {
            Self::Bytes(values) => values.dim(),
            Self::Reals(values) => values.dim(),
        }
    }

    /// Returns one value, unscaled.
    pub fn value(&self, row: usize, feature: usize) -> f64 {
        match self {
            Self::Bytes(values) => f64::from(values[[row, feature]]),
            Self::Reals(values) => values[[row, feature]],
        }
    }
}

/// A labeled dataset: each row has a class, or the numbers of a regression.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The name in the catalog, or the file's stem.
    pub name: String,
    /// Shape `(rows, features)`.
    pub features: Features,
    /// The class index of each row, below `class_names.len()`; all 0 in a regression.
    pub labels: Vec<u16>,
    /// The name of each class; none in a regression.
    pub class_names: Vec<String>,
    /// The numbers to predict, if this is a regression.
    pub targets: Option<RegressionTargets>,
    /// `(height, width)`, if a row is an image.
    pub image: Option<(usize, usize)>,
    /// The constant that `normalize = "unit"` divides by (255 or 16); `None` if it uses the range
    /// of the training rows instead.
    pub unit_divisor: Option<f64>,
    /// The columns, if the dataset comes from a table; its features may be cells, of which
    /// [`LoadedData::split`] makes inputs.
    pub table: Option<Arc<DataTable>>,
}

impl Dataset {
    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Returns the number of features.
    pub fn feature_count(&self) -> usize {
        self.features.dim().1
    }

    /// Returns what is known of the columns.
    pub fn schema(&self) -> Schema {
        let schema = self.table.as_ref().map(|table| table.schema.clone());
        Schema {
            image: self.image,
            ..schema.unwrap_or_default()
        }
    }

    /// Returns the number of classes; 0 in a regression.
    pub fn class_count(&self) -> usize {
        self.class_names.len()
    }

    /// Returns whether the rows have numbers to predict instead of classes.
    pub fn is_regression(&self) -> bool {
        self.targets.is_some()
    }
}

/// The datasets of a run, before they are split.
#[derive(Clone, Debug)]
pub struct LoadedData {
    /// The training part, or the whole dataset if there is no test part.
    pub train: Arc<Dataset>,
    /// The test part of the dataset, if it has one.
    pub test: Option<Arc<Dataset>>,
}

impl LoadedData {
    /// Returns what was found out about the files, a sentence each.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        let parts = [Some(&self.train), self.test.as_ref()];
        let tables = parts
            .into_iter()
            .flatten()
            .filter_map(|data| data.table.as_ref());
        tables.flat_map(|table| table.notes.iter().map(String::as_str))
    }
}

/// A selection of a dataset's rows, in a fixed order.
#[derive(Clone, Debug)]
pub struct Part {
    /// The dataset.
    pub dataset: Arc<Dataset>,
    /// Row numbers in the dataset.
    pub rows: Vec<u32>,
}

/// The training, validation and test rows of a run, and the scaling of their features.
#[derive(Clone, Debug)]
pub struct Split {
    /// Training rows.
    pub train: Part,
    /// Validation rows, if the config asks for them.
    pub validation: Option<Part>,
    /// Test rows, if there are any.
    pub test: Option<Part>,
    /// The scaling of all parts, computed from the training rows only.
    pub scaling: Scaling,
}

/// The affine map of each feature, `x' = (x − offset) / divisor`, and of each target of a
/// regression.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Scaling {
    /// The offset of each feature.
    pub offset: Vec<f64>,
    /// The divisor of each feature, never 0 (1 for a constant feature).
    pub divisor: Vec<f64>,
    /// The standardization of the targets of a regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<TargetScaling>,
}
