//! Operations counted one by one, with a number type that counts, agree with the closed forms of
//! the textbook implementation and of backprop.

use std::sync::Arc;

use crate::support::dual::gradient_by_duals;
use crate::support::kernel_number::KernelNumber;
use crate::support::networks::{
    OUTPUTS_AND_LOSSES, inputs, network, relative_error, samples, theta, to_numbers, weighted,
};
use crate::support::scalar_backprop::{self, InputForm};
use nplus1::data::Batch;
use nplus1::gradient::{Backprop, Control, GradientEngine, NumericBackpropConfig};
use nplus1::kernels::Isa;
use nplus1::kernels::panels::width;
use nplus1::model::{Network, Parameters};
use nplus1::numeric::Real;
use nplus1::numeric::tally::Tally;
use nplus1::parallel::Workers;
use nplus1::textbook::counting::{Counted, Number, count};
use nplus1::textbook::{Sample, TextbookNetwork};

/// Hidden layers of networks with 1 to 4 weight layers; some are wider than a panel.
const HIDDEN: [&[usize]; 6] = [&[], &[3], &[20], &[5, 4], &[20, 9], &[6, 18, 5]];

const FEATURES: usize = 23;

/// The sums over layer sizes of which the closed forms consist.
struct Sums {
    p: u64,
    u: u64,
    n: u64,
    h_products: u64,
    hidden: u64,
    outputs: u64,
}

fn sums(net: &TextbookNetwork) -> Sums {
    let sizes: Vec<u64> = net.sizes.iter().map(|&size| size as u64).collect();
    let p = sizes.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let u = sizes[1..].iter().sum();
    let outputs = sizes[sizes.len() - 1];
    Sums {
        p,
        u,
        n: p + u,
        h_products: p - sizes[0] * sizes[1],
        hidden: u - outputs,
        outputs,
    }
}

fn quadratic_nets() -> impl Iterator<Item = (TextbookNetwork, Vec<f64>)> {
    HIDDEN.iter().map(|hidden| {
        let network = network(FEATURES, hidden, true, OUTPUTS_AND_LOSSES[0], 0.0);
        (TextbookNetwork::from(&network), theta(&network))
    })
}

fn batch(rows: usize) -> Vec<Sample> {
    let (inputs, labels) = inputs(InputForm::Numbers, rows, FEATURES, 3);
    inputs.into_iter().zip(labels).collect()
}

#[test]
fn a_plain_forward_pass_and_loss_cost_their_closed_form() {
    for (net, theta) in quadratic_nets() {
        for b in 1..=4 {
            let (_, counted) =
                count(|| net.loss::<Counted>(&to_numbers(&theta), &batch(b as usize)));
            let s = sums(&net);
            let predicted = Tally {
                multiplications: b * (s.p + s.outputs + 1) + 1,
                additions: b * (s.p + s.u + 2 * s.outputs - 1) + b - 1,
                exponentials: b * s.u,
                divisions: b * s.u,
                ..Tally::default()
            };
            assert_eq!(counted, predicted, "{:?}, {b} rows", net.sizes);
        }
    }
}

#[test]
fn plain_backprop_costs_its_closed_form() {
    for (net, theta) in quadratic_nets() {
        for b in 1..=4 {
            let (_, counted) =
                count(|| net.gradient::<Counted>(&to_numbers(&theta), &batch(b as usize)));
            let s = sums(&net);
            let predicted = Tally {
                multiplications: b * (2 * s.p + s.h_products + 2 * s.u + s.outputs + 1) + s.n + 1,
                additions: b * (s.p + 2 * s.u + s.h_products + 2 * s.outputs - 1 - s.hidden)
                    + (b - 1) * (s.n + 1),
                exponentials: b * s.u,
                divisions: b * s.u,
                ..Tally::default()
            };
            assert_eq!(counted, predicted, "{:?}, {b} rows", net.sizes);
        }
    }
}

/// Visits every pair of outputs and loss, depth, form of inputs and mini-batch size; the sizes
/// include the largest small batch and the next larger one.
fn every_case(mut visit: impl FnMut(&Network, InputForm, usize)) {
    let forms = [
        InputForm::Sparse,
        InputForm::Bytes { divisor: 255.0 },
        InputForm::Numbers,
    ];
    for hidden in HIDDEN {
        for outputs_and_loss in OUTPUTS_AND_LOSSES {
            for form in forms {
                for rows in [1, 3, 16, 17] {
                    for (bias, l2) in [(true, 0.0), (false, 0.0), (true, 0.25)] {
                        let network = network(FEATURES, hidden, bias, outputs_and_loss, l2);
                        let network = if l2 == 0.0 {
                            network
                        } else {
                            weighted(network)
                        };
                        visit(&network, form, rows);
                    }
                }
            }
        }
    }
}

/// Runs the engine; returns the tally that it reports, the sum of losses and the gradient.
fn run<R: Real>(
    network: &Network,
    theta: &[f64],
    form: InputForm,
    inputs: &[Vec<f64>],
    labels: &[u16],
    numeric: Option<NumericBackpropConfig>,
    pool: &Arc<Workers>,
) -> (Tally, f64, Vec<f64>) {
    let samples = samples::<R>(form, inputs, labels);
    let rows: Vec<u32> = (0..inputs.len() as u32).collect();
    let theta = theta.iter().map(|&x| R::from_f64(x)).collect();
    let theta = Parameters::from_flat(Arc::clone(&network.layout), theta);
    let mut gradient = Parameters::zeros(Arc::clone(&network.layout));
    let mut engine = match numeric {
        None => Backprop::new(network, pool, Isa::detect(), rows.len()),
        Some(config) => Backprop::numeric(network, config, pool, Isa::detect(), rows.len()),
    };
    let batch = Batch {
        samples: &samples,
        rows: &rows,
    };
    let evaluation = engine
        .gradient(&theta, batch, &mut gradient, &Control::default())
        .unwrap();
    let found = gradient.flat().iter().map(|g| g.to_f64()).collect();
    (evaluation.tally, evaluation.loss * rows.len() as f64, found)
}

#[test]
fn backprop_s_tally_is_that_of_its_scalar_twin() {
    let pool = Arc::new(Workers::exactly(1).unwrap());
    let mut cases = 0;
    every_case(|network, form, rows| {
        let net = TextbookNetwork::from(network);
        let theta = theta(network);
        let classes = if net.sizes.last() == Some(&1) { 2 } else { 3 };
        let (inputs, labels) = inputs(form, rows, FEATURES, classes);
        let batch = scalar_backprop::Batch {
            form,
            inputs: &inputs,
            labels: &labels,
        };
        let case = format!("{:?} {:?} {form:?} {rows} rows", net.sizes, net.output_loss);

        let twin = |width| {
            let theta = to_numbers::<Counted>(&theta);
            let ((loss, gradient), counted) =
                count(|| scalar_backprop::gradient(&net, &theta, &batch, width));
            let gradient: Vec<f64> = gradient.iter().map(|g| g.value()).collect();
            let counted = Tally {
                evaluations: 1,
                ..counted
            };
            (counted, loss.value(), gradient)
        };
        let (tally, loss, gradient) =
            run::<f64>(network, &theta, form, &inputs, &labels, None, &pool);
        let (counted, twin_loss, twin_gradient) = twin(width::<f64>());
        assert_eq!(tally, counted, "f64 {case}");
        // Chains of at most 23 terms in each of four layers have a few hundred roundings.
        assert!((loss - twin_loss).abs() <= 1e-13 * twin_loss, "{case}");
        let error = relative_error(&gradient, &twin_gradient);
        assert!(error <= 1e-13, "{case}: {error:e}");

        let (tally, ..) = run::<f32>(network, &theta, form, &inputs, &labels, None, &pool);
        assert_eq!(tally, twin(width::<f32>()).0, "f32 {case}");
        cases += 1;
    });
    assert_eq!(cases, 6 * 5 * 3 * 4 * 3);
}

#[test]
fn numeric_backprop_has_the_tally_and_the_bits_of_its_scalar_twin() {
    let pool = Arc::new(Workers::exactly(1).unwrap());
    every_case(|network, form, rows| {
        let net = TextbookNetwork::from(network);
        let classes = if net.sizes.last() == Some(&1) { 2 } else { 3 };
        let (inputs, labels) = inputs(form, rows, FEATURES, classes);
        for increment in [None, Some(0.125)] {
            let config = NumericBackpropConfig { increment };
            assert_numeric_equals_twin::<f64>(network, form, (&inputs, &labels), config, &pool);
            assert_numeric_equals_twin::<f32>(network, form, (&inputs, &labels), config, &pool);
        }
    });
}

/// Compares the tally and the bits of one gradient with those of the scalar twin.
fn assert_numeric_equals_twin<R: Real>(
    network: &Network,
    form: InputForm,
    (inputs, labels): (&[Vec<f64>], &[u16]),
    config: NumericBackpropConfig,
    pool: &Arc<Workers>,
) {
    let net = TextbookNetwork::from(network);
    let theta: Vec<f64> = theta(network)
        .iter()
        .map(|&x| R::from_f64(x).to_f64())
        .collect();
    let batch = scalar_backprop::Batch {
        form,
        inputs,
        labels,
    };
    let h = config.increment::<R>().to_f64();
    let case = format!("{:?} {:?} {form:?} {config:?}", net.sizes, net.output_loss);
    let (tally, _, found) = run::<R>(network, &theta, form, inputs, labels, Some(config), pool);
    let width = width::<R>();
    let (_, counted) = count(|| {
        scalar_backprop::numeric_gradient::<Counted>(&net, &to_numbers(&theta), h, &batch, width)
    });
    let counted = Tally {
        evaluations: 1,
        ..counted
    };
    assert_eq!(tally, counted, "{case}");
    let (_, twin) = scalar_backprop::numeric_gradient::<KernelNumber<R>>(
        &net,
        &to_numbers(&theta),
        h,
        &batch,
        width,
    );
    // The unscaled sparse bytes saturate units, where a difference in plain arithmetic may be 0.
    let twin: Vec<f64> = twin.iter().map(|g| g.value()).collect();
    assert!(
        form == InputForm::Sparse || twin.iter().any(|&g| g != 0.0),
        "{case}"
    );
    assert_eq!(found, twin, "{case}");
}

#[test]
fn dual_numbers_give_the_gradient_of_backprop() {
    let pool = Arc::new(Workers::exactly(1).unwrap());
    for hidden in HIDDEN {
        for outputs_and_loss in OUTPUTS_AND_LOSSES {
            for l2 in [0.0, 0.25] {
                let network = network(FEATURES, hidden, true, outputs_and_loss, l2);
                let network = if l2 == 0.0 {
                    network
                } else {
                    weighted(network)
                };
                let net = TextbookNetwork::from(&network);
                let theta = theta(&network);
                let classes = if net.sizes.last() == Some(&1) { 2 } else { 3 };
                let (inputs, labels) = inputs(InputForm::Numbers, 4, FEATURES, classes);
                let batch: Vec<Sample> =
                    inputs.iter().cloned().zip(labels.iter().copied()).collect();
                let exact = gradient_by_duals(&theta, |theta| net.objective(theta, &batch));
                let (_, plain) = net.gradient::<f64>(&theta, &batch);
                let (_, loss, found) = run::<f64>(
                    &network,
                    &theta,
                    InputForm::Numbers,
                    &inputs,
                    &labels,
                    None,
                    &pool,
                );
                let case = format!("{:?} {:?} l2 {l2}", net.sizes, net.output_loss);
                assert!(relative_error(&plain, &exact) <= 1e-13, "{case}");
                assert!(relative_error(&found, &exact) <= 1e-13, "{case}");
                let exact_loss = net.loss::<f64>(&theta, &batch) * 4.0;
                assert!((loss - exact_loss).abs() <= 1e-13 * exact_loss, "{case}");
            }
        }
    }
}
