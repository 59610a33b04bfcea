//! Backprop gives PyTorch's gradients (`tests/reference/gradients.json`, float64 autograd).

use std::sync::Arc;

use ndarray::Array2;
use nplus1::data::{Batch, Dataset, Features, Samples, Scaling};
use nplus1::gradient::{Backprop, GradientEngine};
use nplus1::model::{Loss, Network, Output, Parameters};
use nplus1::numeric::{Isa, Real};
use nplus1::parallel::Team;
use serde_json::Value;

struct Case {
    name: String,
    network: Network,
    parameters: Vec<f64>,
    gradient: Vec<f64>,
    dataset: Arc<Dataset>,
    rows: usize,
    loss: f64,
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        Value::Number(number) => vec![number.as_f64().unwrap()],
        _ => Vec::new(),
    }
}

fn flat(layout: &nplus1::model::Layout, weights: &Value, biases: &Value) -> Vec<f64> {
    let mut flat = vec![0.0; layout.len()];
    for layer in 0..layout.layers() {
        flat[layout.weights(layer)].copy_from_slice(&numbers(&weights[layer]));
        if layout.has_bias() {
            flat[layout.biases(layer)].copy_from_slice(&numbers(&biases[layer]));
        }
    }
    flat
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string("tests/reference/gradients.json").unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    json["cases"].as_array().unwrap().iter().map(case).collect()
}

fn case(case: &Value) -> Case {
    let sizes: Vec<usize> = numbers(&case["sizes"])
        .iter()
        .map(|&size| size as usize)
        .collect();
    let (output, loss) = match case["loss_kind"].as_str().unwrap() {
        "quadratic" => (Output::Sigmoid, Loss::Quadratic),
        "cross-entropy-softmax" => (Output::Softmax, Loss::CrossEntropy),
        "cross-entropy-sigmoid" => (Output::Sigmoid, Loss::CrossEntropy),
        "logistic" => (Output::Linear, Loss::Logistic),
        other => panic!("{other}"),
    };
    let bias = case["bias"].as_bool().unwrap();
    let network = Network::new(&sizes, bias, output, loss, case["l2"].as_f64().unwrap()).unwrap();
    let inputs = numbers(&case["inputs"]);
    let rows = inputs.len() / sizes[0];
    let targets = numbers(&case["targets"]);
    let labels: Vec<u16> = if loss == Loss::Logistic {
        targets.iter().map(|&y| u16::from(y > 0.0)).collect()
    } else if targets.len() == rows {
        targets.iter().map(|&y| y as u16).collect()
    } else {
        targets
            .chunks(targets.len() / rows)
            .map(|row| row.iter().position(|&y| y == 1.0).unwrap() as u16)
            .collect()
    };
    let scale = if loss == Loss::Logistic {
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
        // The file's logistic loss is a sum over the rows, ours a mean.
        gradient: gradient.iter().map(|g| g / scale).collect(),
        loss: case["loss"].as_f64().unwrap() / scale,
        dataset: Arc::new(Dataset {
            name: "reference".to_owned(),
            features: Features::Reals(Array2::from_shape_vec((rows, sizes[0]), inputs).unwrap()),
            labels,
            class_names: (0..sizes[sizes.len() - 1].max(2))
                .map(|k| k.to_string())
                .collect(),
            image: None,
            unit_divisor: None,
        }),
        network,
        rows,
    }
}

fn relative_error<R: Real>(case: &Case, isa: Isa) -> (f64, f64) {
    let features = case.dataset.feature_count();
    let scaling = Scaling {
        offset: vec![0.0; features],
        divisor: vec![1.0; features],
    };
    let samples = Samples::<R>::new(&case.dataset, &scaling);
    let layout = &case.network.layout;
    let theta = case.parameters.iter().map(|&x| R::from_f64(x)).collect();
    let theta = Parameters::from_flat(Arc::clone(layout), theta);
    let mut gradient = Parameters::from_flat(
        Arc::clone(layout),
        vec![R::from_f64(f64::NAN); layout.len()],
    );
    let rows: Vec<u32> = (0..case.rows as u32).collect();
    let team = Arc::new(Team::new(Some(2)).unwrap());
    let mut engine = Backprop::new(&case.network, &team, isa, case.rows);
    let batch = Batch {
        samples: &samples,
        rows: &rows,
    };
    let evaluation = engine.gradient(&theta, batch, &mut gradient);
    let (mut difference, mut norm) = (0.0, 0.0);
    for (g, exact) in gradient.flat().iter().zip(&case.gradient) {
        difference += (g.to_f64() - exact).powi(2);
        norm += exact.powi(2);
    }
    assert!(norm > 0.0, "{}: the gradient is not all zero", case.name);
    let l2: f64 = (0..layout.layers())
        .flat_map(|layer| layout.weights(layer))
        .map(|index| case.parameters[index].powi(2) * case.network.l2 / 2.0)
        .sum();
    let loss = evaluation.loss + l2;
    (
        (difference / norm).sqrt(),
        (loss - case.loss).abs() / case.loss,
    )
}

#[test]
fn double_precision_agrees_to_1e_12() {
    for case in cases() {
        let (gradient, loss) = relative_error::<f64>(&case, Isa::detect());
        println!("{:45} f64 {gradient:.1e} loss {loss:.1e}", case.name);
        assert!(gradient <= 1e-12, "{}: {gradient:e}", case.name);
        assert!(loss <= 1e-12, "{}: {loss:e}", case.name);
    }
}

#[test]
fn single_precision_agrees_to_2e_6_and_saturated_units_to_2e_5() {
    for case in cases() {
        let (gradient, loss) = relative_error::<f32>(&case, Isa::detect());
        println!("{:45} f32 {gradient:.1e} loss {loss:.1e}", case.name);
        let allowed = if case.name.contains("saturated") {
            2e-5
        } else {
            2e-6
        };
        assert!(gradient <= allowed, "{}: {gradient:e}", case.name);
        assert!(loss <= 2e-6, "{}: {loss:e}", case.name);
    }
}
