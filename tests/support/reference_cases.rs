//! The cases of `tests/reference/gradients.json`: gradients by PyTorch's float64 autograd.

use std::sync::Arc;

use ndarray::Array2;
use nplus1::data::{Batch, Dataset, Features, RegressionTargets, Samples};
use nplus1::gradient::{Control, GradientConfig};
use nplus1::kernels::Isa;
use nplus1::model::{Loss, Network, OutputUnits, Parameters};
use nplus1::numeric::Real;
use nplus1::parallel::Workers;
use nplus1::textbook::Sample;
use serde_json::Value;

use super::networks::uniform_scaling;

/// One network with its θ, mini-batch, loss and gradient.
pub struct Case {
    pub name: String,
    pub network: Network,
    pub parameters: Vec<f64>,
    pub gradient: Vec<f64>,
    pub dataset: Arc<Dataset>,
    pub rows: usize,
    pub loss: f64,
}

/// Returns all numbers in a JSON value of nested arrays, in order.
pub fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        Value::Number(number) => vec![number.as_f64().unwrap()],
        _ => Vec::new(),
    }
}

/// Returns the weights and biases, given as one JSON array per layer, in the layout's flat order.
pub fn flat(layout: &nplus1::model::Layout, weights: &Value, biases: &Value) -> Vec<f64> {
    let mut flat = vec![0.0; layout.len()];
    for layer in 0..layout.layers() {
        flat[layout.weights(layer)].copy_from_slice(&numbers(&weights[layer]));
        if layout.has_bias() {
            flat[layout.biases(layer)].copy_from_slice(&numbers(&biases[layer]));
        }
    }
    flat
}

/// Reads the cases of `gradients.json`.
pub fn reference_cases() -> Vec<Case> {
    cases_of("tests/reference/gradients.json")
}

/// Reads the cases of `targets_and_weights.json`: numbers as targets, and weights of classes.
pub fn target_and_weight_cases() -> Vec<Case> {
    cases_of("tests/reference/targets_and_weights.json")
}

fn cases_of(path: &str) -> Vec<Case> {
    let text = std::fs::read_to_string(path).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    json["cases"].as_array().unwrap().iter().map(case).collect()
}

fn case(case: &Value) -> Case {
    let sizes: Vec<usize> = numbers(&case["sizes"])
        .iter()
        .map(|&size| size as usize)
        .collect();
    let (output, loss) = match case["loss_kind"].as_str().unwrap() {
        "quadratic" => (OutputUnits::Sigmoid, Loss::Quadratic),
        "cross-entropy-softmax" => (OutputUnits::Softmax, Loss::CrossEntropy),
        "cross-entropy-sigmoid" => (OutputUnits::Sigmoid, Loss::CrossEntropy),
        "logistic" => (OutputUnits::Linear, Loss::Logistic),
        "regression" | "linear-quadratic" => (OutputUnits::Linear, Loss::Quadratic),
        other => panic!("{other}"),
    };
    let bias = case["bias"].as_bool().unwrap();
    let mut network =
        Network::new(&sizes, bias, output, loss, case["l2"].as_f64().unwrap()).unwrap();
    network.class_weights = numbers(&case["class_weights"]);
    let is_weighted = !network.class_weights.is_empty();
    let is_regression = case["loss_kind"] == "regression";
    let inputs = numbers(&case["inputs"]);
    let rows = inputs.len() / sizes[0];
    let targets = numbers(&case["targets"]);
    let labels: Vec<u16> = if is_regression {
        vec![0; rows]
    } else if loss == Loss::Logistic {
        targets.iter().map(|&y| u16::from(y > 0.0)).collect()
    } else if targets.len() == rows {
        targets.iter().map(|&y| y as u16).collect()
    } else {
        targets
            .chunks(targets.len() / rows)
            .map(|row| row.iter().position(|&y| y == 1.0).unwrap() as u16)
            .collect()
    };
    let scale = if loss == Loss::Logistic && !is_weighted {
        rows as f64
    } else {
        1.0
    };
    let gradient = flat(
        &network.layout,
        &case["weight_gradients"],
        &case["bias_gradients"],
    );
    Case {
        name: case["name"].as_str().unwrap().to_owned(),
        parameters: flat(&network.layout, &case["weights"], &case["biases"]),
        // The logistic loss of `gradients.json` is a sum over the rows, that of the library a mean.
        gradient: gradient.iter().map(|g| g / scale).collect(),
        loss: case["loss"].as_f64().unwrap() / scale,
        dataset: Arc::new(Dataset {
            name: "reference".to_owned(),
            features: Features::Reals(Array2::from_shape_vec((rows, sizes[0]), inputs).unwrap()),
            labels,
            class_names: match is_regression {
                true => Vec::new(),
                false => (0..sizes[sizes.len() - 1].max(2))
                    .map(|k| k.to_string())
                    .collect(),
            },
            image: None,
            unit_divisor: None,
            targets: is_regression.then(|| RegressionTargets {
                names: (0..targets.len() / rows).map(|k| k.to_string()).collect(),
                values: Array2::from_shape_vec((rows, targets.len() / rows), targets).unwrap(),
            }),
            table: None,
        }),
        network,
        rows,
    }
}

impl Case {
    /// Returns the rows as samples of the textbook implementation.
    pub fn batch(&self) -> Vec<Sample> {
        (0..self.rows)
            .map(|row| {
                let features = 0..self.dataset.feature_count();
                let inputs = features.map(|at| self.dataset.features.value(row, at));
                (inputs.collect(), self.dataset.labels[row])
            })
            .collect()
    }

    /// Returns the unscaled inputs in precision `R`.
    pub fn samples<R: Real>(&self) -> Samples<R> {
        Samples::new(
            &self.dataset,
            &uniform_scaling(self.dataset.feature_count(), 1.0),
        )
    }

    /// Computes the gradient by `method` in precision `R` on two threads; returns it and the mean
    /// loss without its l2 term.
    pub fn gradient_by<R: Real>(
        &self,
        method: &GradientConfig,
        control: &Control,
    ) -> (Vec<f64>, f64) {
        let samples = self.samples::<R>();
        let layout = &self.network.layout;
        let theta = self.parameters.iter().map(|&x| R::from_f64(x)).collect();
        let theta = Parameters::from_flat(Arc::clone(layout), theta);
        let poison = vec![R::from_f64(f64::NAN); layout.len()];
        let mut gradient = Parameters::from_flat(Arc::clone(layout), poison);
        let rows: Vec<u32> = (0..self.rows as u32).collect();
        let batch = Batch {
            samples: &samples,
            rows: &rows,
        };
        let pool = Arc::new(Workers::exactly(2).unwrap());
        let evaluation = method
            .engine(&self.network, &pool, Isa::detect(), &samples, self.rows)
            .gradient(&theta, batch, &mut gradient, control)
            .unwrap();
        let gradient = gradient.flat().iter().map(|g| g.to_f64());
        (gradient.collect(), evaluation.loss)
    }
}
