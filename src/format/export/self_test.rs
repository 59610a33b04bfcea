//! The rows with which an exported file tests itself.

use ndarray::{Array2, ArrayView2};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use super::rounding::{probability_bound, rounding_bounds};
use crate::data::schema::Column;
use crate::format::Model;
use crate::numeric::{Precision, random};

/// Number of rows that [`sample_inputs`] draws.
const ROWS: usize = 10;

/// The seed of these rows: constant, so that equal models give equal files.
const SEED: u64 = 10;

/// Share of inputs that are 0 if the scaling keeps zeros, as in pictures.
const ZEROS: f64 = 0.8;

/// Rows with the answers of nplus1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SelfTest {
    /// The rows.
    pub rows: Vec<TestRow>,
    /// The largest allowed difference of a number of an answer.
    pub allowed: f64,
}

/// A row and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct TestRow {
    /// The features as an exported file takes them: text as the index of its category.
    pub features: Vec<f64>,
    /// The answer: one number per class or target.
    pub answer: Vec<f64>,
    /// The class; `None` if the two best are too close to tell, or if there are no classes.
    pub class: Option<usize>,
}

impl SelfTest {
    /// Makes a test of `inputs`, network inputs before scaling, `(rows, inputs)`. `answer` computes
    /// for inputs of the same shape the pre-activations and the numbers of the answers, both
    /// `(rows, …)`.
    ///
    /// The numbers are rounded to the precision in which the file of `model` computes before they
    /// are answered. What is allowed is the derived bound of rounding, in single precision at least
    /// 1e-6.
    ///
    /// # Errors
    /// Those of `answer`.
    pub fn new<E>(
        model: &Model,
        inputs: ArrayView2<'_, f64>,
        answer: impl FnOnce(Array2<f64>) -> Result<(Array2<f64>, Array2<f64>), E>,
    ) -> Result<Self, E> {
        let is_single = model.parameters.precision() == Precision::F32;
        let inputs = inputs.mapv(|value| {
            if is_single {
                f64::from(value as f32)
            } else {
                value
            }
        });
        let (outputs, answers) = answer(inputs.clone())?;
        let mut allowed: f64 = if is_single { 1e-6 } else { 1e-12 };
        let mut rows = Vec::with_capacity(inputs.nrows());
        for (at, row) in inputs.rows().into_iter().enumerate() {
            let row = row.to_vec();
            let bounds = rounding_bounds(model, &row);
            allowed = allowed.max(answer_bound(model, &bounds));
            rows.push(TestRow {
                features: features(&model.schema.columns, &row),
                answer: answers.row(at).to_vec(),
                class: class(model, &outputs.row(at).to_vec(), &bounds),
            });
        }
        Ok(Self { rows, allowed })
    }
}

/// Returns the largest difference of a number of an answer.
fn answer_bound(model: &Model, bounds: &[f64]) -> f64 {
    let Some(targets) = &model.scaling.targets else {
        return match super::contents::is_plain(model) {
            true => bounds.iter().fold(0.0, |most, bound| most.max(*bound)),
            false => probability_bound(model, bounds),
        };
    };
    let precision = match model.parameters.precision() {
        Precision::F32 => f64::from(f32::EPSILON),
        Precision::F64 => f64::EPSILON,
    };
    let units = bounds.iter().zip(&targets.deviation).zip(&targets.mean);
    units.fold(0.0, |most, ((bound, scale), mean)| {
        most.max(bound * scale.abs() + 4.0 * precision * (mean.abs() + scale.abs()))
    })
}

/// Returns the class of pre-activations, unless rounding may change it.
fn class(model: &Model, outputs: &[f64], bounds: &[f64]) -> Option<usize> {
    if model.scaling.targets.is_some() {
        return None;
    }
    let class = model.network.predict(outputs.iter().copied());
    if let ([z], [bound]) = (outputs, bounds) {
        return (z.abs() > *bound).then_some(class);
    }
    let best = outputs[class] - bounds[class];
    let mut others = outputs.iter().zip(bounds).enumerate();
    let is_safe = others.all(|(other, (z, bound))| other == class || z + bound < best);
    is_safe.then_some(class)
}

/// Returns the features of a row of inputs: those of a text column become the index of the one that
/// is 1, or −1.
fn features(columns: &[Column], inputs: &[f64]) -> Vec<f64> {
    if columns.is_empty() {
        return inputs.to_vec();
    }
    let mut rest = inputs;
    let feature = |column: &Column| {
        let (own, others) = rest.split_at(column.inputs());
        rest = others;
        match &column.categories {
            None => own[0],
            Some(_) => {
                let set = own.iter().position(|&input| input == 1.0);
                set.map_or(-1.0, |at| at as f64)
            }
        }
    };
    columns.iter().map(feature).collect()
}

/// Draws rows of network inputs of `model`, before scaling, `(10, inputs)`: numbers in the range
/// that the scaling was learned from, categories in turn. The same for equal models.
pub fn sample_inputs(model: &Model) -> Array2<f64> {
    let mut stream = ChaCha12Rng::seed_from_u64(SEED);
    let scaling = &model.scaling;
    let inputs = scaling.offset.len();
    let keeps_zero = scaling.keeps_zero();
    let mut rows = Array2::from_shape_simple_fn((ROWS, inputs), || random::unit(&mut stream));
    for ((_, input), value) in rows.indexed_iter_mut() {
        let share = match keeps_zero {
            true => (*value - ZEROS).max(0.0) / (1.0 - ZEROS),
            false => 3.0 * *value - 1.5,
        };
        *value = scaling.offset[input] + scaling.divisor[input] * share;
    }
    let mut start = 0;
    for column in &model.schema.columns {
        if column.categories.is_some() {
            let count = column.inputs();
            for row in 0..ROWS {
                let mut own = rows.slice_mut(ndarray::s![row, start..start + count]);
                own.fill(0.0);
                own[row % count] = 1.0;
            }
        }
        start += column.inputs();
    }
    rows
}
