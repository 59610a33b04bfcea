//! Operations counted one by one, with a number type that counts, agree with the closed forms of
//! the textbook implementation and of backprop.

use std::sync::Arc;

use crate::support::dual::gradient_by_duals;
use crate::support::networks::{
    OUTPUTS_AND_LOSSES, class_count, inputs, network, relative_error, samples, theta, to_numbers,
};
use crate::support::scalar_backprop::{self, InputForm};
use crate::support::twins::{
    TwinProblem, Twinned, assert_equals_twin, every_network, penalized, run,
};
use nplus1::gradient::{GradientConfig, NumericBackpropConfig};
use nplus1::kernels::panels::width;
use nplus1::model::Network;
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
fn every_case(mut visit: impl FnMut(&Network, InputForm, (&[Vec<f64>], &[u16]))) {
    every_network(&HIDDEN, |hidden, outputs_and_loss, form| {
        for rows in [1, 3, 16, 17] {
            for penalty in [(true, 0.0), (false, 0.0), (true, 0.25)] {
                let network = penalized(FEATURES, hidden, outputs_and_loss, penalty);
                let (inputs, labels) = inputs(form, rows, FEATURES, class_count(&network));
                visit(&network, form, (&inputs, &labels));
            }
        }
    });
}

#[test]
fn backprop_s_tally_is_that_of_its_scalar_twin() {
    let pool = Arc::new(Workers::exactly(1).unwrap());
    let mut cases = 0;
    every_case(|network, form, (inputs, labels)| {
        let net = TextbookNetwork::from(network);
        let theta = theta(network);
        let batch = scalar_backprop::Batch {
            form,
            inputs,
            labels,
        };
        let rows = inputs.len();
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
        let method = GradientConfig::Backprop;
        let samples_f64 = samples::<f64>(form, inputs, labels);
        let found = run(network, &theta, &samples_f64, method, &pool);
        let (counted, twin_loss, twin_gradient) = twin(width::<f64>());
        assert_eq!(found.tally, counted, "f64 {case}");
        // Chains of at most 23 terms in each of four layers have a few hundred roundings.
        let error = (found.loss - twin_loss).abs();
        assert!(error <= 1e-13 * twin_loss, "{case}");
        let error = relative_error(&found.gradient, &twin_gradient);
        assert!(error <= 1e-13, "{case}: {error:e}");

        let samples_f32 = samples::<f32>(form, inputs, labels);
        let found = run(network, &theta, &samples_f32, method, &pool);
        assert_eq!(found.tally, twin(width::<f32>()).0, "f32 {case}");
        cases += 1;
    });
    assert_eq!(cases, 6 * 5 * 3 * 4 * 3);
}

impl Twinned for NumericBackpropConfig {
    fn method(&self) -> GradientConfig {
        GradientConfig::NumericBackprop(*self)
    }

    fn passes(&self, _: &Network) -> [u64; 2] {
        [1, 0]
    }

    fn gradient<R: Real, N: Number>(&self, problem: &TwinProblem<'_, N>) -> Vec<N> {
        let (theta, h) = (problem.theta, self.increment::<R>().to_f64());
        scalar_backprop::numeric_gradient(problem.net, theta, h, problem.batch, problem.width).1
    }
}

#[test]
fn slow_numeric_backprop_has_the_tally_and_the_bits_of_its_scalar_twin() {
    let pool = Arc::new(Workers::exactly(1).unwrap());
    every_case(|network, form, data| {
        for increment in [None, Some(0.125)] {
            let config = NumericBackpropConfig { increment };
            assert_equals_twin::<f64>(network, form, data, &config, &pool);
            assert_equals_twin::<f32>(network, form, data, &config, &pool);
        }
    });
}

#[test]
fn dual_numbers_give_the_gradient_of_backprop() {
    let pool = Arc::new(Workers::exactly(1).unwrap());
    for hidden in HIDDEN {
        for outputs_and_loss in OUTPUTS_AND_LOSSES {
            for l2 in [0.0, 0.25] {
                let network = penalized(FEATURES, hidden, outputs_and_loss, (true, l2));
                let net = TextbookNetwork::from(&network);
                let theta = theta(&network);
                let (form, classes) = (InputForm::Numbers, class_count(&network));
                let (inputs, labels) = inputs(form, 4, FEATURES, classes);
                let batch: Vec<Sample> =
                    inputs.iter().cloned().zip(labels.iter().copied()).collect();
                let exact = gradient_by_duals(&theta, |theta| net.objective(theta, &batch));
                let (_, plain) = net.gradient::<f64>(&theta, &batch);
                let samples = samples::<f64>(form, &inputs, &labels);
                let found = run(&network, &theta, &samples, GradientConfig::Backprop, &pool);
                let case = format!("{:?} {:?} l2 {l2}", net.sizes, net.output_loss);
                assert!(relative_error(&plain, &exact) <= 1e-13, "{case}");
                assert!(relative_error(&found.gradient, &exact) <= 1e-13, "{case}");
                let exact_loss = net.loss::<f64>(&theta, &batch) * 4.0;
                assert!(
                    (found.loss - exact_loss).abs() <= 1e-13 * exact_loss,
                    "{case}"
                );
            }
        }
    }
}
