//! Small networks with every pair of outputs and loss, and mini-batches in every form of inputs.

use std::sync::Arc;

use ndarray::Array2;
use nplus1::data::{Dataset, Features, Inputs, Samples, Scaling};
use nplus1::model::{Initialization, Loss, Network, OutputUnits};
use nplus1::numeric::Real;

use super::scalar_backprop::InputForm;
use nplus1::textbook::counting::Number;

/// Every pair of output units and loss.
pub const OUTPUTS_AND_LOSSES: [(OutputUnits, Loss); 5] = [
    (OutputUnits::Sigmoid, Loss::Quadratic),
    (OutputUnits::Linear, Loss::Quadratic),
    (OutputUnits::Sigmoid, Loss::CrossEntropy),
    (OutputUnits::Softmax, Loss::CrossEntropy),
    (OutputUnits::Linear, Loss::Logistic),
];

/// Returns a network with `features` inputs and 3 outputs, or 1 output for the logistic loss.
pub fn network(
    features: usize,
    hidden: &[usize],
    bias: bool,
    (output, loss): (OutputUnits, Loss),
    l2: f64,
) -> Network {
    let outputs = if loss == Loss::Logistic { 1 } else { 3 };
    let sizes = [&[features], hidden, &[outputs]].concat();
    Network::new(&sizes, bias, output, loss, l2).unwrap()
}

/// Returns the number of classes of the labels for `network`.
pub fn class_count(network: &Network) -> u16 {
    let outputs = network.layout.sizes().last();
    if outputs == Some(&1) { 2 } else { 3 }
}

/// Gives the rows of each of three classes their own factor.
pub fn weighted(mut network: Network) -> Network {
    network.class_weights = vec![0.75, 2.0, 1.1];
    network
}

/// Returns the stored (unscaled) inputs `(rows, features)`, and their labels.
pub fn inputs(
    form: InputForm,
    rows: usize,
    features: usize,
    classes: u16,
) -> (Vec<Vec<f64>>, Vec<u16>) {
    let value = |row: usize, at: usize| {
        let hash = (row * 7919 + at * 104_729 + row * at * 31 + 17) % 1009;
        match form {
            // Column 5 is 0 in every row.
            InputForm::Sparse if !hash.is_multiple_of(4) || at == 5 => 0.0,
            InputForm::Sparse | InputForm::Bytes { .. } => (hash % 255 + 1) as f64,
            InputForm::Numbers => hash as f64 / 500.0 - 1.0,
        }
    };
    let row = |row: usize| (0..features).map(|at| value(row, at)).collect();
    let labels = (0..rows).map(|row| (row * 7 + 1) as u16 % classes);
    ((0..rows).map(row).collect(), labels.collect())
}

/// Returns the samples of precision `R` that hold `inputs` in this form.
pub fn samples<R: Real>(form: InputForm, inputs: &[Vec<f64>], labels: &[u16]) -> Samples<R> {
    let columns = inputs[0].len();
    let shape = (inputs.len(), columns);
    let (features, divisor) = match form {
        InputForm::Numbers => {
            let numbers = Array2::from_shape_fn(shape, |(row, at)| inputs[row][at]);
            (Features::Reals(numbers), 1.0)
        }
        InputForm::Sparse => {
            let bytes = Array2::from_shape_fn(shape, |(row, at)| inputs[row][at] as u8);
            (Features::Bytes(bytes), 1.0)
        }
        InputForm::Bytes { divisor } => {
            let bytes = Array2::from_shape_fn(shape, |(row, at)| inputs[row][at] as u8);
            (Features::Bytes(bytes), divisor)
        }
    };
    let dataset = Dataset {
        name: "rows".to_owned(),
        features,
        labels: labels.to_vec(),
        class_names: (0..3).map(|class| class.to_string()).collect(),
        image: None,
        unit_divisor: None,
        targets: None,
        table: None,
    };
    let samples = Samples::new(&Arc::new(dataset), &uniform_scaling(columns, divisor));
    let has_form = match form {
        InputForm::Sparse => matches!(samples.inputs(), Inputs::Sparse(_)),
        InputForm::Bytes { .. } => matches!(samples.inputs(), Inputs::Bytes(..)),
        InputForm::Numbers => matches!(samples.inputs(), Inputs::Numbers(_)),
    };
    assert!(has_form, "the inputs are not stored as {form:?}");
    samples
}

/// Returns the scaling that divides every feature by `divisor`.
pub fn uniform_scaling(features: usize, divisor: f64) -> Scaling {
    Scaling {
        offset: vec![0.0; features],
        divisor: vec![divisor; features],
        targets: None,
    }
}

/// Returns images `(rows, pixels)`: if `sparse`, three quarters of the pixels are 0; the others are
/// `shade(k)` for pseudo-random k from 0 to 1008.
pub fn images(
    shape: (usize, usize),
    classes: u16,
    sparse: bool,
    shade: impl Fn(usize) -> u8,
) -> Dataset {
    let pixel = |(row, at): (usize, usize)| {
        let hash = (row * 7919 + at * 104_729 + row * at * 31) % 1009;
        if sparse && !hash.is_multiple_of(4) {
            0
        } else {
            shade(hash)
        }
    };
    Dataset {
        name: "images".to_owned(),
        features: Features::Bytes(Array2::from_shape_fn(shape, pixel)),
        labels: (0..shape.0).map(|row| (row * 7) as u16 % classes).collect(),
        class_names: (0..classes).map(|class| class.to_string()).collect(),
        image: None,
        unit_divisor: Some(255.0),
        targets: None,
        table: None,
    }
}

/// Returns random parameters for `network`, always the same ones.
pub fn theta(network: &Network) -> Vec<f64> {
    Initialization::Scaled
        .draw::<f64>(&network.layout, 11)
        .flat()
        .to_vec()
}

/// Converts `numbers` to the number type `N`.
pub fn to_numbers<N: Number>(numbers: &[f64]) -> Vec<N> {
    numbers.iter().map(|&x| N::of(x)).collect()
}

/// Returns ‖found − exact‖₂ / ‖exact‖₂; fails if `exact` is all zero.
pub fn relative_error(found: &[f64], exact: &[f64]) -> f64 {
    let square = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>();
    let norm = square(&mut exact.iter().copied());
    assert!(norm > 0.0, "the exact gradient is all zero");
    let differences = &mut found.iter().zip(exact).map(|(a, b)| a - b);
    (square(differences) / norm).sqrt()
}
