//! What a file holds: features, labels, class names; and the rows a run takes from it.

use std::sync::Arc;

use ndarray::Array2;

/// Features, shape `(rows, features)`, as the file holds them: bytes stay bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Features {
    /// Values 0…255: images.
    Bytes(Array2<u8>),
    /// Any finite numbers.
    Reals(Array2<f64>),
}

impl Features {
    /// `(rows, features)`.
    pub fn dim(&self) -> (usize, usize) {
        match self {
            Self::Bytes(values) => values.dim(),
            Self::Reals(values) => values.dim(),
        }
    }

    /// One value, unscaled.
    pub fn value(&self, row: usize, feature: usize) -> f64 {
        match self {
            Self::Bytes(values) => f64::from(values[[row, feature]]),
            Self::Reals(values) => values[[row, feature]],
        }
    }
}

/// A labelled dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The catalog's name, or the file's stem.
    pub name: String,
    /// Shape `(rows, features)`.
    pub features: Features,
    /// One class index a row, below `class_names.len()`.
    pub labels: Vec<u16>,
    /// One name a class.
    pub class_names: Vec<String>,
    /// `(height, width)`, where a row is an image.
    pub image: Option<(usize, usize)>,
    /// The constant that `normalize = "unit"` divides by (255, 16); `None`: from the training rows.
    pub unit_divisor: Option<f64>,
}

impl Dataset {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Number of features.
    pub fn feature_count(&self) -> usize {
        self.features.dim().1
    }

    /// Number of classes.
    pub fn class_count(&self) -> usize {
        self.class_names.len()
    }
}

/// Some rows of a dataset, in a fixed order.
#[derive(Clone, Debug)]
pub struct Part {
    /// The dataset the rows are of.
    pub dataset: Arc<Dataset>,
    /// Row numbers in it.
    pub rows: Vec<u32>,
}

/// What a run trains, validates and tests on, and how its features are scaled.
#[derive(Clone, Debug)]
pub struct Split {
    /// Training rows.
    pub train: Part,
    /// Validation rows, if any were asked for.
    pub validation: Option<Part>,
    /// Test rows, if there are any.
    pub test: Option<Part>,
    /// From the training rows alone; applies to all parts.
    pub scaling: Scaling,
}

/// The affine map of each feature, `x' = (x − offset) / divisor`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Scaling {
    /// One offset a feature.
    pub offset: Vec<f64>,
    /// One divisor a feature, never 0 (1 for a constant feature).
    pub divisor: Vec<f64>,
}
