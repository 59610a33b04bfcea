//! Compares the counts and the bits of a gradient engine with those of its scalar twin.

use std::sync::Arc;

use nplus1::data::{Batch, Samples};
use nplus1::gradient::random_direction::DirectionSeed;
use nplus1::gradient::{Control, GradientConfig};
use nplus1::kernels::Isa;
use nplus1::kernels::panels::width;
use nplus1::model::{Loss, Network, OutputUnits, Parameters};
use nplus1::numeric::Real;
use nplus1::numeric::tally::Tally;
use nplus1::parallel::Workers;
use nplus1::textbook::TextbookNetwork;
use nplus1::textbook::counting::{Counted, Number, count};

use super::kernel_number::KernelNumber;
use super::networks::{OUTPUTS_AND_LOSSES, network, samples, theta, to_numbers, weighted};
use super::scalar_backprop::{self, InputForm};

/// The seed of all random directions.
pub const DIRECTION_SEED: DirectionSeed = DirectionSeed { seed: 5, step: 3 };

/// The forms in which engines take inputs.
pub const FORMS: [InputForm; 3] = [
    InputForm::Sparse,
    InputForm::Bytes { divisor: 255.0 },
    InputForm::Numbers,
];

/// What a scalar twin computes from.
pub struct TwinProblem<'a, N> {
    pub net: &'a TextbookNetwork,
    /// θ, rounded to the precision of the engine.
    pub values: &'a [f64],
    /// The same as numbers of the twin.
    pub theta: &'a [N],
    pub batch: &'a scalar_backprop::Batch<'a>,
    /// How many numbers a vector holds.
    pub width: usize,
}

/// A method that has a scalar twin.
pub trait Twinned {
    fn method(&self) -> GradientConfig;

    /// Returns the number of losses and of Jacobian-vector products in a gradient of `network`.
    fn passes(&self, network: &Network) -> [u64; 2];

    /// Returns the gradient in the precision `R` by the scalar twin.
    fn gradient<R: Real, N: Number>(&self, problem: &TwinProblem<'_, N>) -> Vec<N>;
}

/// What an engine computed.
pub struct Computed {
    pub tally: Tally,
    /// As its control counted them.
    pub evaluations: u64,
    /// The sum over the rows.
    pub loss: f64,
    pub gradient: Vec<f64>,
}

/// Computes the gradient of all samples.
pub fn run<R: Real>(
    network: &Network,
    theta: &[f64],
    samples: &Samples<R>,
    method: GradientConfig,
    pool: &Arc<Workers>,
) -> Computed {
    let theta = theta.iter().map(|&x| R::from_f64(x)).collect();
    let theta = Parameters::from_flat(Arc::clone(&network.layout), theta);
    let poison = vec![R::from_f64(f64::NAN); network.layout.len()];
    let mut gradient = Parameters::from_flat(Arc::clone(&network.layout), poison);
    let rows: Vec<u32> = (0..samples.rows() as u32).collect();
    let mut engine = method.engine(network, pool, Isa::detect(), samples, rows.len());
    engine.set_direction_seed(DIRECTION_SEED);
    let control = Control::default();
    let batch = Batch {
        samples,
        rows: &rows,
    };
    let evaluation = engine
        .gradient(&theta, batch, &mut gradient, &control)
        .unwrap();
    Computed {
        tally: evaluation.tally,
        evaluations: control.evaluations(),
        loss: evaluation.loss * rows.len() as f64,
        gradient: gradient.flat().iter().map(|g| g.to_f64()).collect(),
    }
}

/// Asserts that an engine has the counts and the bits of its scalar twin.
pub fn assert_equals_twin<R: Real>(
    network: &Network,
    form: InputForm,
    (inputs, labels): (&[Vec<f64>], &[u16]),
    twinned: &impl Twinned,
    pool: &Arc<Workers>,
) {
    let net = &TextbookNetwork::from(network);
    let values: Vec<f64> = theta(network)
        .iter()
        .map(|&x| R::from_f64(x).to_f64())
        .collect();
    let inputs: Vec<Vec<f64>> = (inputs.iter())
        .map(|row| row.iter().map(|&x| R::from_f64(x).to_f64()).collect())
        .collect();
    let samples = samples::<R>(form, &inputs, labels);
    let batch = &scalar_backprop::Batch {
        form,
        inputs: &inputs,
        labels,
    };
    let method = twinned.method();
    let case = format!(
        "{:?} {:?} bias {} l2 {} {form:?} {} rows {method:?} {}",
        net.sizes,
        net.output_loss,
        net.bias,
        net.l2,
        inputs.len(),
        R::PRECISION.name()
    );
    let found = run(network, &values, &samples, method, pool);
    let (values, width) = (&values[..], width::<R>());

    let (_, counted) = count(|| {
        twinned.gradient::<R, Counted>(&TwinProblem {
            net,
            values,
            theta: &to_numbers(values),
            batch,
            width,
        })
    });
    let [evaluations, jacobian_vector_products] = twinned.passes(network);
    let counted = Tally {
        evaluations,
        jacobian_vector_products,
        ..counted
    };
    assert_eq!(found.tally, counted, "{case}");
    // The control counts evaluations; backprop's own pass is none.
    let is_backprop = matches!(method, GradientConfig::NumericBackprop(_));
    let passes = evaluations + jacobian_vector_products;
    let expected = if is_backprop { 0 } else { passes };
    assert_eq!(found.evaluations, expected, "{case}");

    let twin = twinned.gradient::<R, KernelNumber<R>>(&TwinProblem {
        net,
        values,
        theta: &to_numbers(values),
        batch,
        width,
    });
    let twin: Vec<f64> = twin.iter().map(|g| g.value()).collect();
    // Unscaled sparse bytes saturate units, where a difference in plain arithmetic may be 0.
    let may_vanish = is_backprop && form == InputForm::Sparse;
    assert!(may_vanish || twin.iter().any(|&g| g != 0.0), "{case}");
    assert_eq!(found.gradient, twin, "{case}");
}

/// Visits every pair of outputs and loss with every depth and form of inputs.
pub fn every_network(
    hidden: &[&[usize]],
    mut visit: impl FnMut(&[usize], (OutputUnits, Loss), InputForm),
) {
    for layers in hidden {
        for outputs_and_loss in OUTPUTS_AND_LOSSES {
            for form in FORMS {
                visit(layers, outputs_and_loss, form);
            }
        }
    }
}

/// Returns a network with or without biases, and with class weights where it has a penalty.
pub fn penalized(
    features: usize,
    hidden: &[usize],
    outputs_and_loss: (OutputUnits, Loss),
    (bias, l2): (bool, f64),
) -> Network {
    let network = network(features, hidden, bias, outputs_and_loss, l2);
    if l2 == 0.0 {
        network
    } else {
        weighted(network)
    }
}

/// Returns the rows, the biases and the penalty of a case: they vary with its number.
pub fn varied(case: usize) -> (usize, (bool, f64)) {
    let penalties = [(true, 0.0), (true, 0.25), (false, 0.0), (false, 0.125)];
    (1 + (case * 7 / 3) % 4, penalties[(case * 5 / 7) % 4])
}
