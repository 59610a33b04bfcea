//! Small networks of every kind, and rows of inputs of every form for them.

use std::sync::Arc;

use ndarray::Array2;
use nplus1::data::{Dataset, Features, Inputs, Samples, Scaling};
use nplus1::model::{Initialization, Loss, Network, OutputUnits};
use nplus1::numeric::Real;

use super::kernels::Form;
use nplus1::textbook::counting::Number;

/// Every pair of outputs and loss.
pub const HEADS: [(OutputUnits, Loss); 5] = [
    (OutputUnits::Sigmoid, Loss::Quadratic),
    (OutputUnits::Linear, Loss::Quadratic),
    (OutputUnits::Sigmoid, Loss::CrossEntropy),
    (OutputUnits::Softmax, Loss::CrossEntropy),
    (OutputUnits::Linear, Loss::Logistic),
];

/// A network on `features` inputs: 3 outputs, or the one of the logistic loss.
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

/// `rows` rows of inputs as they are stored, and their labels.
pub fn inputs(form: Form, rows: usize, features: usize, classes: u16) -> (Vec<Vec<f64>>, Vec<u16>) {
    let value = |row: usize, at: usize| {
        let hash = (row * 7919 + at * 104_729 + row * at * 31 + 17) % 1009;
        match form {
            // One column is empty in every row.
            Form::Sparse if !hash.is_multiple_of(4) || at == 5 => 0.0,
            Form::Sparse | Form::Bytes { .. } => (hash % 255 + 1) as f64,
            Form::Numbers => hash as f64 / 500.0 - 1.0,
        }
    };
    let row = |row: usize| (0..features).map(|at| value(row, at)).collect();
    let labels = (0..rows).map(|row| (row * 7 + 1) as u16 % classes);
    ((0..rows).map(row).collect(), labels.collect())
}

pub fn samples<R: Real>(form: Form, inputs: &[Vec<f64>], labels: &[u16]) -> Samples<R> {
    let columns = inputs[0].len();
    let shape = (inputs.len(), columns);
    let (features, divisor) = match form {
        Form::Numbers => {
            let numbers = Array2::from_shape_fn(shape, |(row, at)| inputs[row][at]);
            (Features::Reals(numbers), 1.0)
        }
        Form::Sparse => {
            let bytes = Array2::from_shape_fn(shape, |(row, at)| inputs[row][at] as u8);
            (Features::Bytes(bytes), 1.0)
        }
        Form::Bytes { divisor } => {
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
    };
    let samples = Samples::new(&Arc::new(dataset), &divided(columns, divisor));
    let as_meant = match form {
        Form::Sparse => matches!(samples.inputs(), Inputs::Sparse(_)),
        Form::Bytes { .. } => matches!(samples.inputs(), Inputs::Bytes(..)),
        Form::Numbers => matches!(samples.inputs(), Inputs::Numbers(_)),
    };
    assert!(as_meant, "the inputs are held as {form:?}");
    samples
}

/// Inputs divided by `divisor`.
pub fn divided(features: usize, divisor: f64) -> Scaling {
    Scaling {
        offset: vec![0.0; features],
        divisor: vec![divisor; features],
    }
}

/// Images, `(rows, pixels)`: three quarters of the pixels 0, or none; the others by `shade`, of numbers
/// up to 1008.
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
    }
}

pub fn theta(network: &Network) -> Vec<f64> {
    Initialization::Scaled
        .draw::<f64>(&network.layout, 11)
        .flat()
        .to_vec()
}

pub fn over<N: Number>(numbers: &[f64]) -> Vec<N> {
    numbers.iter().map(|&x| N::of(x)).collect()
}

/// ‖found − exact‖₂ / ‖exact‖₂.
pub fn relative_error(found: &[f64], exact: &[f64]) -> f64 {
    let square = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>();
    let norm = square(&mut exact.iter().copied());
    assert!(norm > 0.0, "the gradient is not all zero");
    let differences = &mut found.iter().zip(exact).map(|(a, b)| a - b);
    (square(differences) / norm).sqrt()
}
