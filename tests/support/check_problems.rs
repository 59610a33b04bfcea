//! Networks with θ and a mini-batch, for tests of the gradient check.

use std::sync::Arc;

use ndarray::Array2;
use nplus1::data::{Dataset, Features, RegressionTargets, Scaling};
use nplus1::gradient::Control;
use nplus1::gradient_check::CheckSubject;
use nplus1::kernels::Isa;
use nplus1::model::{Initialization, Network, Parameters};
use nplus1::parallel::Workers;

use super::networks::{OUTPUTS_AND_LOSSES, uniform_scaling};
use super::reference_cases::{Case, reference_cases, target_and_weight_cases};

/// A network, its θ and its mini-batch.
pub struct Problem {
    pub name: String,
    pub network: Network,
    pub theta: Parameters<f64>,
    pub dataset: Arc<Dataset>,
    pub scaling: Scaling,
    pub rows: Vec<u32>,
}

impl Problem {
    /// Returns the subject of a check: this problem at its θ.
    pub fn subject<'a>(&'a self, pool: &'a Arc<Workers>) -> CheckSubject<'a> {
        self.subject_at(&self.theta, pool)
    }

    /// Returns the subject of a check at another θ.
    pub fn subject_at<'a>(
        &'a self,
        theta: &Parameters<f64>,
        pool: &'a Arc<Workers>,
    ) -> CheckSubject<'a> {
        CheckSubject::new(
            &self.network,
            theta,
            &self.dataset,
            &self.scaling,
            &self.rows,
            pool,
            Isa::detect(),
            &Control::default(),
        )
        .unwrap()
    }
}

/// Returns the cases of `tests/reference/gradients.json`.
pub fn reference_problems() -> Vec<Problem> {
    problems(reference_cases())
}

/// Returns the cases of `tests/reference/targets_and_weights.json`.
pub fn target_and_weight_problems() -> Vec<Problem> {
    problems(target_and_weight_cases())
}

fn problems(cases: Vec<Case>) -> Vec<Problem> {
    let cases = cases.into_iter();
    cases
        .map(|case| Problem {
            theta: Parameters::from_flat(Arc::clone(&case.network.layout), case.parameters.clone()),
            scaling: uniform_scaling(case.dataset.feature_count(), 1.0),
            rows: (0..case.rows as u32).collect(),
            name: case.name,
            network: case.network,
            dataset: case.dataset,
        })
        .collect()
}

/// Returns a random network with `hidden` layers and the outputs and loss
/// `OUTPUTS_AND_LOSSES[output_index]`: weights `spread`·N(0, 1), inputs `scale`·N(0, 1).
///
/// It has biases unless `seed` is a multiple of 4.
#[allow(clippy::too_many_arguments)]
pub fn random_problem(
    inputs: usize,
    hidden: &[usize],
    output_index: usize,
    classes: usize,
    rows: usize,
    (spread, scale): (f64, f64),
    l2: f64,
    seed: u64,
) -> Problem {
    let (output, loss) = OUTPUTS_AND_LOSSES[output_index];
    let mut sizes = vec![inputs];
    sizes.extend(hidden);
    sizes.push(Network::outputs(loss, classes));
    let bias = !seed.is_multiple_of(4);
    let network = Network::new(&sizes, bias, output, loss, l2).unwrap();
    let mut theta: Parameters<f64> = Initialization::Normal.draw(&network.layout, seed);
    theta
        .flat_mut()
        .iter_mut()
        .for_each(|weight| *weight *= spread);
    let layout = Arc::new(nplus1::model::Layout::new(&[inputs, rows], false));
    let values: Parameters<f64> = Initialization::Normal.draw(&layout, seed + 1);
    let mut features = Array2::from_shape_vec((rows, inputs), values.flat().to_vec()).unwrap();
    features.mapv_inplace(|x| x * scale);
    Problem {
        name: format!("{sizes:?} {} {}", output.name(), loss.name()),
        scaling: uniform_scaling(inputs, 1.0),
        rows: (0..rows as u32).collect(),
        dataset: Arc::new(Dataset {
            name: "random".to_owned(),
            features: Features::Reals(features),
            labels: (0..rows)
                .map(|row| ((row * 7 + seed as usize) % classes) as u16)
                .collect(),
            class_names: (0..classes).map(|class| class.to_string()).collect(),
            image: None,
            unit_divisor: None,
            targets: None,
            table: None,
        }),
        network,
        theta,
    }
}

/// Gives the rows of each class of `problem` their own weight, from 0.1 to 10.
pub fn weighted(mut problem: Problem) -> Problem {
    let classes = problem.dataset.class_count();
    problem.network.class_weights = (0..classes)
        .map(|class| 10f64.powf(((class * 5 + 3) % 7) as f64 / 3.0 - 1.0))
        .collect();
    problem.name += " weighted";
    problem
}

/// Gives the rows of `problem`, whose outputs are linear, numbers around `center` as targets.
pub fn with_number_targets(mut problem: Problem, center: f64) -> Problem {
    let outputs = *problem.network.layout.sizes().last().unwrap();
    let shape = (problem.dataset.rows(), outputs);
    let value = |(row, at): (usize, usize)| center + ((row * 31 + at * 17) % 23) as f64 / 5.0 - 2.0;
    problem.dataset = Arc::new(Dataset {
        labels: vec![0; shape.0],
        class_names: Vec::new(),
        targets: Some(RegressionTargets {
            names: (0..outputs).map(|k| k.to_string()).collect(),
            values: Array2::from_shape_fn(shape, value),
        }),
        ..Dataset::clone(&problem.dataset)
    });
    problem.name += " regression";
    problem
}

/// Returns 784-30-10 after one epoch of training, with the first `rows` images of MNIST.
pub fn mnist_30(rows: u32) -> Problem {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = folder.join("tests/reference/mnist-30.safetensors");
    let model = nplus1::format::safetensors::load(&file).unwrap().model;
    let nplus1::format::AnyParameters::F32(single) = &model.parameters else {
        panic!("f32");
    };
    let numbers = single.flat().iter().map(|&x| f64::from(x)).collect();
    let search_paths = nplus1::data::SearchPaths::new(Some(&folder.join("datasets")));
    Problem {
        name: "mnist-30".to_owned(),
        theta: Parameters::from_flat(Arc::clone(single.layout()), numbers),
        network: model.network,
        dataset: nplus1::data::catalog::load("mnist", &search_paths)
            .unwrap()
            .0,
        scaling: model.scaling,
        rows: (0..rows).collect(),
    }
}
