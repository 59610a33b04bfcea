//! Rows of a dataset in the form that kernels read: sparse bytes if most are 0, otherwise dense
//! bytes or numbers, which are gathered into panels.

use std::sync::{Arc, OnceLock};

use super::{Dataset, Features, Part, Scaling, TargetScaling};
use crate::kernels::panels::width;
use crate::kernels::sparse::{SparseRows, nonzero_bytes};
use crate::kernels::value_sharing::{DistinctBytes, EqualValues};
use crate::numeric::Real;

/// The share of non-zero bytes below which skipping zeros is faster.
const SPARSE_SHARE: f64 = 0.4;

/// The rows of one dataset, scaled, in one precision.
pub struct Samples<R> {
    inputs: Inputs<R>,
    labels: Vec<u16>,
    /// The scaled targets of a regression, `(rows, outputs)` row-major; empty otherwise.
    targets: Vec<R>,
    outputs: usize,
    /// What turns outputs into the numbers of a regression.
    target_scaling: Option<TargetScaling>,
    features: usize,
    /// Whether methods may leave zeros out and compute equal inputs once.
    shares: bool,
    distinct: OnceLock<DistinctBytes>,
    densities: OnceLock<Vec<InputDensity>>,
}

/// The numbers of non-zero and of distinct inputs in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputDensity {
    /// Number of inputs that are not 0.
    pub nonzeros: u32,
    /// Number of distinct values among them.
    pub distinct: u32,
}

/// The form of the inputs, which depends only on the data.
pub enum Inputs<R> {
    /// Bytes, most of them 0.
    Sparse(SparseRows<R>),
    /// Bytes that are scaled when they are gathered.
    Bytes(Arc<Dataset>, Scaling),
    /// Scaled numbers, `(rows, features)` row-major.
    Numbers(Vec<R>),
}

impl<R: Real> Samples<R> {
    /// Prepares all rows of `dataset`.
    pub fn new(dataset: &Arc<Dataset>, scaling: &Scaling) -> Self {
        let features = dataset.feature_count();
        let inputs = match &dataset.features {
            Features::Bytes(bytes) => match byte_values(scaling) {
                Some(values) if is_sparse(bytes) => {
                    let rows = bytes
                        .rows()
                        .into_iter()
                        .map(|row| row.to_slice().expect("datasets are row-major"));
                    Inputs::Sparse(SparseRows::new(features, rows, values))
                }
                _ => Inputs::Bytes(Arc::clone(dataset), scaling.clone()),
            },
            Features::Reals(values) => Inputs::Numbers(
                values
                    .indexed_iter()
                    .map(|((_, feature), &value)| scaled(scaling, feature, value))
                    .collect(),
            ),
        };
        Self {
            inputs,
            labels: dataset.labels.clone(),
            targets: scaled_targets(dataset, scaling),
            outputs: (dataset.targets.as_ref()).map_or(0, |targets| targets.names.len()),
            target_scaling: target_scaling(dataset, scaling),
            features,
            shares: true,
            distinct: OnceLock::new(),
            densities: OnceLock::new(),
        }
    }

    /// Predicts the bytes that [`Samples::new`] takes, and whether the inputs become sparse.
    pub fn predict(dataset: &Dataset, scaling: &Scaling) -> (f64, bool) {
        let (rows, features) = dataset.features.dim();
        let numbers = (rows as f64) * (features as f64);
        match &dataset.features {
            Features::Bytes(bytes) => match byte_values::<R>(scaling) {
                // A word for each byte that is not 0, and a bit for each byte.
                Some(_) if is_sparse(bytes) => (4.0 * filled(bytes) as f64 + numbers / 8.0, true),
                _ => (0.0, false),
            },
            Features::Reals(_) => (numbers * R::BYTES as f64, false),
        }
    }

    /// Prepares all rows of `dataset` as numbers, of which no zero is left out and no equal values
    /// are computed once. A gradient over them performs the same work whatever the values are.
    pub fn dense(dataset: &Dataset, scaling: &Scaling) -> Self {
        let (rows, features) = dataset.features.dim();
        let of_row = |row: usize| {
            (0..features)
                .map(move |feature| scaled(scaling, feature, dataset.features.value(row, feature)))
        };
        Self {
            inputs: Inputs::Numbers((0..rows).flat_map(of_row).collect()),
            labels: dataset.labels.clone(),
            targets: scaled_targets(dataset, scaling),
            outputs: (dataset.targets.as_ref()).map_or(0, |targets| targets.names.len()),
            target_scaling: target_scaling(dataset, scaling),
            features,
            shares: false,
            distinct: OnceLock::new(),
            densities: OnceLock::new(),
        }
    }

    /// Returns the inputs.
    pub fn inputs(&self) -> &Inputs<R> {
        &self.inputs
    }

    /// Returns the distinct non-zero bytes of each row if the inputs are sparse bytes; the first
    /// call computes them.
    pub fn distinct(&self) -> Option<&DistinctBytes> {
        let Inputs::Sparse(records) = &self.inputs else {
            return None;
        };
        Some(
            self.distinct
                .get_or_init(|| DistinctBytes::new(records, self.labels.len())),
        )
    }

    /// Returns whether methods may leave zeros out and compute equal inputs once.
    pub fn shares_values(&self) -> bool {
        self.shares
    }

    /// Returns the number of inputs of a row that are not 0 and of distinct values among them: all
    /// of them for [`Samples::dense`]. If the inputs are not sparse bytes, the first call examines
    /// all rows.
    ///
    /// # Panics
    /// If the inputs are not sparse bytes and there are 2³² − 1 features or more.
    pub fn input_density(&self, row: u32) -> InputDensity {
        if !self.shares {
            let all = self.features as u32;
            return InputDensity {
                nonzeros: all,
                distinct: all,
            };
        }
        if let (Inputs::Sparse(records), Some(distinct)) = (&self.inputs, self.distinct()) {
            return InputDensity {
                nonzeros: records.row(row).len() as u32,
                distinct: distinct.row(row).len() as u32,
            };
        }
        self.densities.get_or_init(|| self.compute_densities())[row as usize]
    }

    fn compute_densities(&self) -> Vec<InputDensity> {
        let width = width::<R>();
        let mut equals = EqualValues::new(self.features);
        let mut inputs = vec![R::ZERO; self.features.next_multiple_of(width)];
        let (mut slots, mut values) = (vec![0; self.features], vec![R::ZERO; self.features]);
        let count = |row: usize| {
            // With panels of one row, the panels of the row follow each other without a gap.
            self.gather(&[row as u32], &mut inputs, width);
            let row = &inputs[..self.features];
            let distinct = equals.find(row, &mut slots, &mut values);
            InputDensity {
                nonzeros: row.iter().filter(|&&value| value != R::ZERO).count() as u32,
                distinct: distinct as u32,
            }
        };
        (0..self.labels.len()).map(count).collect()
    }

    /// Returns the class index of a row.
    pub fn label(&self, row: u32) -> u16 {
        self.labels[row as usize]
    }

    /// Returns whether the rows have numbers to predict instead of classes.
    pub fn is_regression(&self) -> bool {
        self.outputs > 0
    }

    /// Returns the number of target numbers of a row; 0 if rows have classes.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns what turns outputs into numbers in the units of the data; `None` if rows have
    /// classes.
    pub fn target_scaling(&self) -> Option<&TargetScaling> {
        self.target_scaling.as_ref()
    }

    /// Returns the scaled target numbers of a row, `(outputs,)`; none if rows have classes.
    pub fn targets(&self, row: u32) -> &[R] {
        &self.targets[row as usize * self.outputs..][..self.outputs]
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Returns the number of features.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Writes the inputs of `rows` into panels of `(rows, P)`, `stride` apart; leaves the padding
    /// as it is.
    pub fn gather(&self, rows: &[u32], panels: &mut [R], stride: usize) {
        let width = width::<R>();
        for (s, &row) in rows.iter().enumerate() {
            let index = |feature: usize| feature / width * stride + s * width + feature % width;
            match &self.inputs {
                Inputs::Sparse(records) => {
                    for feature in 0..self.features {
                        panels[index(feature)] = R::ZERO;
                    }
                    for &word in records.row(row) {
                        panels[index((word >> 8) as usize)] = records.value(word);
                    }
                }
                Inputs::Bytes(dataset, scaling) => {
                    for feature in 0..self.features {
                        let value = dataset.features.value(row as usize, feature);
                        panels[index(feature)] = scaled(scaling, feature, value);
                    }
                }
                Inputs::Numbers(values) => {
                    let row = &values[row as usize * self.features..][..self.features];
                    for (panel, numbers) in row.chunks(width).enumerate() {
                        panels[panel * stride + s * width..][..numbers.len()]
                            .copy_from_slice(numbers);
                    }
                }
            }
        }
    }
}

/// A selection of rows, such as a mini-batch.
#[derive(Clone, Copy)]
pub struct Batch<'a, R> {
    /// The samples.
    pub samples: &'a Samples<R>,
    /// Row numbers.
    pub rows: &'a [u32],
}

impl Part {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Returns the scaling of a regression's targets: that of `scaling`, or one that changes nothing.
fn target_scaling(dataset: &Dataset, scaling: &Scaling) -> Option<TargetScaling> {
    let targets = dataset.targets.as_ref()?;
    Some(scaling.targets.clone().unwrap_or_else(|| TargetScaling {
        names: targets.names.clone(),
        mean: vec![0.0; targets.names.len()],
        deviation: vec![1.0; targets.names.len()],
    }))
}

/// Returns the scaled targets of all rows, row-major.
fn scaled_targets<R: Real>(dataset: &Dataset, scaling: &Scaling) -> Vec<R> {
    let (Some(targets), Some(scaling)) = (&dataset.targets, target_scaling(dataset, scaling))
    else {
        return Vec::new();
    };
    let scaled =
        |((_, target), &value): ((usize, usize), &f64)| R::from_f64(scaling.apply(target, value));
    targets.values.indexed_iter().map(scaled).collect()
}

fn scaled<R: Real>(scaling: &Scaling, feature: usize, value: f64) -> R {
    R::from_f64((value - scaling.offset[feature]) / scaling.divisor[feature])
}

/// Returns the scaled value of each byte, if the scaling maps 0 to 0 and is the same for all
/// features.
fn byte_values<R: Real>(scaling: &Scaling) -> Option<Vec<R>> {
    let divisor = *scaling.divisor.first()?;
    let uniform = scaling.offset.iter().all(|&offset| offset == 0.0)
        && scaling.divisor.iter().all(|&other| other == divisor);
    uniform.then(|| {
        (0..256)
            .map(|byte| R::from_f64(f64::from(byte) / divisor))
            .collect()
    })
}

/// Returns whether the sparse form is possible (at most 2¹⁶ features, counts in 32 bits) and
/// faster.
fn is_sparse(bytes: &ndarray::Array2<u8>) -> bool {
    let filled = filled(bytes);
    bytes.ncols() <= 1 << 16
        && filled < u32::MAX as usize
        && (filled as f64) < SPARSE_SHARE * bytes.len() as f64
}

/// Returns the number of bytes that are not 0.
fn filled(bytes: &ndarray::Array2<u8>) -> usize {
    match bytes.as_slice_memory_order() {
        Some(bytes) => nonzero_bytes(bytes),
        None => bytes.iter().filter(|&&byte| byte != 0).count(),
    }
}
