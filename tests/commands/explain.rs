//! The numbers of `nplus1 explain` are computed and right: the worked example and its known
//! errors, the operation counts of logistic regression, the units that a perturbation changes, and
//! the derivative of one weight of the user's network.

use std::sync::Arc;

use ndarray::Array2;
use nplus1::data::{Dataset, Features, Scaling, SearchPaths, catalog};
use nplus1::explain::Operations;
use nplus1::explain::claims::claims;
use nplus1::explain::logistic::{Logistic, LogisticMethod};
use nplus1::explain::network::NetworkReuse;
use nplus1::explain::toy::Toy;
use nplus1::explain::weight::{ParameterPosition, explain};
use nplus1::model::{Initialization, Loss, Network, OutputUnits, Parameters};
use nplus1::numeric::output_loss::OutputLoss;
use nplus1::textbook::counting::{Counted, Number, count};
use nplus1::textbook::{Sample, TextbookNetwork};

fn operations(
    [
        multiplications,
        additions,
        exponentials,
        logarithms,
        divisions,
    ]: [u64; 5],
) -> Operations {
    Operations {
        multiplications,
        additions,
        exponentials,
        logarithms,
        divisions,
    }
}

mod toy {
    use super::*;

    fn published() -> Toy {
        Toy::new(0.7, 1.3, -0.9, 1e-4).unwrap()
    }

    #[test]
    fn the_derivative_and_the_known_error_have_the_published_values() {
        let found = published().explain();
        let gradient = found.methods[0];
        assert_eq!(format!("{:.5}", gradient.a), "-0.26529");
        assert_eq!(format!("{:.5}", found.slip), "-0.30768");
        // The last two lines of the derivation, compared with the gradient.
        let last: Vec<f64> = found.backward.iter().rev().map(|step| step.value).collect();
        for value in &last[..2] {
            assert!((value - gradient.a).abs() <= 1e-15, "{value}");
        }
        assert_eq!(found.backward[0].value, gradient.b);
    }

    #[test]
    fn every_method_performs_the_operations_of_its_formula() {
        let found = published().explain();
        let counted: Vec<Operations> = found.methods.iter().map(|one| one.operations).collect();
        let expected = [
            [4, 2, 1, 0, 1],
            [8, 7, 3, 0, 3],
            [10, 10, 4, 0, 4],
            [5, 3, 2, 0, 2],
            [4, 3, 1, 0, 2],
        ];
        assert_eq!(counted, expected.map(operations));
    }

    #[test]
    fn every_method_gives_the_gradient_up_to_its_truncation() {
        for (a, b, x) in [(0.7, 1.3, -0.9), (-2.0, 0.4, 3.0), (30.0, -5.0, 0.9)] {
            let found = Toy::new(a, b, x, 1e-5).unwrap().explain();
            let z = found.forward[3].value.abs();
            for method in &found.methods {
                // |∂²z/∂a²| ≤ |b|x²/10; two z and the quotients are rounded.
                let truncation = b.abs() * x * x / 20.0 * 1e-5;
                let rounding = 4.0 * 1.2e-16 * (z + b.abs()) / 1e-5 + 1e-15;
                assert!(method.error_a <= truncation + rounding, "{method:?}");
                assert!(method.error_b <= rounding, "{method:?}");
            }
        }
    }

    #[test]
    fn taking_sigma_as_additive_diverges_like_b_over_two_epsilon() {
        let found = published().explain();
        assert!(found.quotients.len() >= 9);
        for row in &found.quotients {
            // σ(εx) is ½ up to |εx|/4, and the sum that contains it is rounded.
            let allowed = row.divergence.abs() * (row.epsilon * 0.9).abs() / 2.0
                + 4.0 * 1.2e-16 * 2.0 / row.epsilon;
            let distance = (row.additive - row.divergence).abs();
            assert!(distance <= allowed, "{row:?}");
        }
        let smallest = found.quotients.last().unwrap();
        assert!(smallest.additive > 1e7 && smallest.error_a < 1e-6);
    }

    #[test]
    fn z_is_linear_in_b_so_any_increment_gives_the_derivative_up_to_rounding() {
        for (a, b, x) in [(0.7, 1.3, -0.9), (-2.0, 0.4, 3.0), (0.0, 0.0, 0.0)] {
            for epsilon in [200.0, -7.0, 0.3, 1e-5, 1e-12] {
                let found = Toy::new(a, b, x, epsilon).unwrap().explain();
                let row = found.quotients.iter().find(|row| row.epsilon == epsilon);
                let row = row.unwrap();
                assert!(row.error_b <= 1.01 * row.roundoff_b, "{row:?}");
            }
        }
    }

    #[test]
    fn the_perturbed_value_can_be_computed_from_z() {
        for (a, b, x) in [(0.7, 1.3, -0.9), (40.0, 1.0, 1.0), (-300.0, 2.0, 2.0)] {
            for epsilon in [1e-4, 1.0, -40.0] {
                let found = Toy::new(a, b, x, epsilon).unwrap().explain().perturbed;
                assert!(found.direct > 0.0);
                for form in [found.from_u, found.from_z] {
                    assert!((form - found.direct).abs() <= found.roundoff, "{found:?}");
                }
            }
        }
    }

    #[test]
    fn numbers_that_leave_the_finite_ones_are_refused_with_what_is_allowed() {
        for (numbers, part) in [
            ([f64::NAN, 1.0, 1.0, 1e-4], "a is NaN"),
            ([1.0, f64::INFINITY, 1.0, 1e-4], "b is inf"),
            ([1.0, 1.0, 1.0, 0.0], "epsilon is 0; allowed"),
            ([1.0, 1.0, 1.0, f64::NAN], "epsilon is NaN; allowed"),
            ([100.0, 1.0, 8.0, 1e-4], "a·x is 8e2; allowed"),
            ([1.0, 1.0, 8.0, 100.0], "epsilon·x is 8e2; allowed"),
            ([1.0, 1e300, 1.0, 1e-10], "the quotients overflow; allowed"),
        ] {
            let [a, b, x, epsilon] = numbers;
            let refusal = Toy::new(a, b, x, epsilon).unwrap_err();
            assert!(refusal.contains(part), "{refusal}");
        }
    }

    #[test]
    fn an_increment_that_is_lost_in_a_is_reported() {
        assert!(Toy::new(0.7, 1.3, -0.9, 1e-17).unwrap().explain().lost);
        assert!(!published().explain().lost);
    }
}

mod logistic {
    use super::*;

    /// Returns logistic regression on all rows of the breast cancer dataset, standardized, at a
    /// fixed θ.
    fn breast_cancer(epsilon: f64) -> Logistic {
        let dataset = catalog::load("breast-cancer", &SearchPaths::new(None))
            .unwrap()
            .0;
        let part = nplus1::data::Part {
            rows: (0..dataset.rows() as u32).collect(),
            dataset,
        };
        let scaling = Scaling::fit(nplus1::data::Normalize::Standard, &part).unwrap();
        let theta: Vec<f64> = (0..30).map(|j| 0.3 - 0.02 * f64::from(j)).collect();
        Logistic::new(&part.dataset, &scaling, 569, &theta, epsilon).unwrap()
    }

    #[test]
    fn every_method_performs_its_closed_form() {
        let logistic = breast_cancer(1e-6);
        let m = 569;
        for n in [1, 2, 7, 30] {
            for (method, row) in LogisticMethod::ALL.into_iter().zip(logistic.counts(n)) {
                let predicted = method.predicted(m, n as u64);
                assert_eq!(row.operations, predicted, "{method:?}, {n} features");
            }
        }
        // The published numbers of multiplications, exponentials, logarithms and divisions.
        let n = 30;
        let published = [
            (LogisticMethod::Gradient, [2 * m * n, m, m, m]),
            (
                LogisticMethod::Full,
                [(n + 1) * m * n + n, (n + 1) * m, (n + 1) * m, 0],
            ),
            (
                LogisticMethod::Tabulated,
                [m * n + n, (n + 1) * m, (n + 1) * m, 0],
            ),
        ];
        for (method, [multiplications, exponentials, logarithms, divisions]) in published {
            let found = method.predicted(m, n);
            assert_eq!(found.multiplications, multiplications);
            assert_eq!(found.exponentials, exponentials);
            assert_eq!(found.logarithms, logarithms);
            assert_eq!(found.divisions, divisions);
        }
    }

    #[test]
    fn differences_with_stored_products_save_multiplications_but_need_more_exponentials() {
        let found = breast_cancer(1e-6).explain();
        let row = |method: LogisticMethod| {
            let mut rows = found.counts.iter().rev();
            rows.find(|row| row.method == method.name()).unwrap()
        };
        let tabulated = row(LogisticMethod::Tabulated);
        assert_eq!(tabulated.features, 30);
        assert!((0.5..0.51).contains(&tabulated.multiplications_ratio));
        assert_eq!(tabulated.transcendentals_ratio, 31.0);
        let features: Vec<usize> = found.counts.iter().map(|row| row.features).collect();
        let mut distinct = features.clone();
        distinct.dedup();
        assert_eq!(distinct, [1, 2, 5, 10, 20, 30]);
        assert_eq!(features.len(), 6 * LogisticMethod::ALL.len());
    }

    #[test]
    fn every_method_gives_the_gradient_and_the_cancellation_free_one_at_any_increment() {
        // Σ x²/4 bounds the second derivative: an error of 142·h/2 = 7e-5 per element, where the
        // norm of the gradient is above 10.
        for row in breast_cancer(1e-6).explain().counts {
            assert!(row.relative_error < 1e-5, "{row:?}");
        }
        let tiny = breast_cancer(1e-100);
        let exact = tiny.run::<f64>(LogisticMethod::Gradient, 30).1;
        let found = tiny.run::<f64>(LogisticMethod::TabulatedExponentials, 30).1;
        let plain = tiny.run::<f64>(LogisticMethod::Tabulated, 30).1;
        for ((found, exact), plain) in found.iter().zip(&exact).zip(plain) {
            // Sums of 569 products of either sign, whose magnitudes add up to about 300.
            assert!(
                (found - exact).abs() <= 569.0 * 300.0 * 2.3e-16,
                "{found} {exact}"
            );
            assert_eq!(plain, 0.0);
        }
    }

    #[test]
    fn the_gradient_weights_the_samples_negatively_and_the_known_error_is_a_multiple_of_theta() {
        let form = breast_cancer(1e-6).explain().shape_and_sign;
        assert!(form.cosine_quotient > 1.0 - 1e-9);
        assert!((form.cosine_slip_theta.abs() - 1.0).abs() < 1e-12);
        assert!(form.cosine_slip.abs() < 0.99);
        assert!(form.loss_along < form.loss && form.loss < form.loss_against);
        // To first order the loss falls by the step times the norm.
        let fall = form.step * form.norm;
        assert!(
            (form.loss - form.loss_along - fall).abs() < 0.01 * fall,
            "{form:?}"
        );
        assert!(form.norm_at_zero > 100.0);
        assert_eq!(form.slip_norm_at_zero, 0.0);
    }

    #[test]
    fn labels_of_more_or_fewer_than_two_classes_are_refused() {
        for classes in [1, 3] {
            let dataset = Dataset {
                name: "rows".to_owned(),
                features: Features::Reals(Array2::zeros((4, 2))),
                labels: vec![0; 4],
                class_names: (0..classes).map(|class| format!("c{class}")).collect(),
                image: None,
                unit_divisor: None,
                targets: None,
                table: None,
            };
            let refusal = Logistic::new(&dataset, &Scaling::identity(2), 4, &[0.0; 2], 1e-6);
            let refusal = refusal.unwrap_err();
            let named = format!("{classes} classes (c0");
            assert!(
                refusal.contains(&named) && refusal.contains("exactly 2"),
                "{refusal}"
            );
        }
    }
}

mod network {
    use super::*;

    #[test]
    fn counts_are_those_of_the_textbooks_differences() {
        for sizes in [&[4, 1][..], &[3, 3, 1], &[5, 4, 3, 2], &[2, 3, 3, 3, 3, 1]] {
            let shape = NetworkReuse::new(sizes).unwrap();
            let net = TextbookNetwork {
                sizes: sizes.to_vec(),
                bias: true,
                output_loss: OutputLoss::SigmoidQuadratic,
                l2: 0.0,
                class_weights: Vec::new(),
            };
            let theta = vec![Counted::of(0.1); net.parameters()];
            let sample: [Sample; 1] = [(vec![0.5; sizes[0]], 0)];
            let (_, full) = count(|| net.forward_differences(&theta, &sample, 1e-3));
            let (_, incremental) = count(|| net.incremental_differences(&theta, &sample, 1e-3));
            assert_eq!(shape.full, full.multiplications, "{sizes:?}");
            assert_eq!(shape.incremental, incremental.multiplications, "{sizes:?}");
            let n: Vec<u64> = sizes.iter().map(|&n| n as u64).collect();
            let last = n.len() - 1;
            for one in &shape.perturbations {
                // t_l = n_{l+1} + R_{l+2} + n_L, t_L = 1; e_l = 1 + U_{l+1}.
                let l = one.layer + 1;
                let products: u64 = (l + 2..=last).map(|m| n[m] * n[m - 1]).sum();
                let units: u64 = n[l + 1..].iter().sum();
                let multiplications = if l == last {
                    1
                } else {
                    n[l + 1] + products + n[last]
                };
                assert_eq!(
                    one.operations.multiplications, multiplications,
                    "{sizes:?} {l}"
                );
                assert_eq!(one.operations.exponentials, 1 + units, "{sizes:?} {l}");
            }
        }
    }

    #[test]
    fn the_units_reported_as_changed_are_those_that_a_whole_pass_changes() {
        for sizes in [&[4, 1][..], &[3, 3, 1], &[5, 4, 3, 2], &[2, 3, 3, 3, 3, 1]] {
            let shape = NetworkReuse::new(sizes).unwrap();
            let net = TextbookNetwork {
                sizes: sizes.to_vec(),
                bias: true,
                output_loss: OutputLoss::SigmoidQuadratic,
                l2: 0.0,
                class_weights: Vec::new(),
            };
            let theta: Vec<f64> = (0..net.parameters())
                .map(|index| ((index * 37 % 19) as f64 - 9.0) / 5.0)
                .map(|x| if x == 0.0 { 0.5 } else { x })
                .collect();
            let units = |theta: &[f64]| {
                let (mut a, z) = net.forward(theta, &vec![0.5; sizes[0]]);
                a.push(z);
                a.remove(0);
                a
            };
            let before = units(&theta);
            for one in &shape.perturbations {
                let mut theta = theta.clone();
                theta[net.weights(one.layer + 1).start] += 1.0;
                let after = units(&theta);
                for ((before, after), effect) in before.iter().zip(&after).zip(&one.layers) {
                    let changed = before.iter().zip(after).filter(|(x, y)| x != y).count();
                    assert_eq!(
                        changed,
                        effect.moved + effect.recomputed,
                        "{sizes:?} {one:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_benefit_of_reuse_falls_with_depth_and_not_with_the_number_of_units() {
        let by_depth = NetworkReuse::by_depth(3, 3, 1, 6).unwrap();
        // Changing the first of 3 hidden units leaves the 2 others as they are.
        let beside = by_depth[0].perturbations[0].layers[0];
        assert_eq!((beside.reused, beside.moved, beside.recomputed), (2, 1, 0));
        let gain = |shape: &NetworkReuse| shape.full as f64 / shape.incremental as f64;
        let wide = |width| NetworkReuse::by_depth(20, width, 10, 6).unwrap();
        for shapes in [by_depth, wide(30), wide(100)] {
            for pair in shapes.windows(2) {
                assert!(gain(&pair[1]) < gain(&pair[0]));
            }
        }
        // With one hidden layer most values are reused, whatever its width. With H layers of equal
        // width the gain falls to 2H²/((H − 1)(H − 2)) and a little, which approaches 2.
        assert!(wide(100)[0].reused > 0.85);
        let deep = NetworkReuse::new(&[10; 42]).unwrap();
        assert!((2.0..2.3).contains(&gain(&deep)), "{}", gain(&deep));
    }

    #[test]
    fn the_published_ratios_of_784_30_10_follow() {
        let shape = NetworkReuse::new(&[784, 30, 10]).unwrap();
        assert_eq!(shape.parameters, 23_860);
        // Each weight of the first layer changes 11 units and takes 20 products.
        let first = &shape.perturbations[0];
        assert_eq!((first.total.moved, first.total.reused), (11, 29));
        assert_eq!(first.operations.multiplications, 20);
    }
}

mod weight {
    use super::*;

    const INPUTS: [f64; 4] = [0.5, -1.0, 0.0, 2.0];

    fn network(hidden: &[usize], output: OutputUnits, loss: Loss) -> (Network, Parameters<f64>) {
        let outputs = if loss == Loss::Logistic { 1 } else { 3 };
        let sizes = [&[4], hidden, &[outputs]].concat();
        let network = Network::new(&sizes, true, output, loss, 0.0).unwrap();
        let theta = Initialization::Scaled.draw::<f64>(&network.layout, 5);
        (network, theta)
    }

    fn position(text: &str) -> ParameterPosition {
        text.parse().unwrap()
    }

    #[test]
    fn the_quotients_agree_with_the_derivative_for_every_loss_and_parameter() {
        for (output, loss) in [
            (OutputUnits::Sigmoid, Loss::Quadratic),
            (OutputUnits::Linear, Loss::Quadratic),
            (OutputUnits::Sigmoid, Loss::CrossEntropy),
            (OutputUnits::Softmax, Loss::CrossEntropy),
            (OutputUnits::Linear, Loss::Logistic),
        ] {
            let (network, theta) = network(&[5, 8], output, loss);
            let mut largest: f64 = 0.0;
            for text in ["0,1,3", "0,4,bias", "1,7,2", "2,0,0", "2,0,bias", "0,0,2"] {
                let found =
                    explain(&network, &theta, (&INPUTS, (1, &[])), position(text), 1e-4).unwrap();
                // |∂²L/∂θ²| and |∂³L/∂θ³| are of the order of input³ = 8 at most.
                let error = (found.quotient - found.derivative).abs();
                assert!(error <= 1e-4 * 8.0, "{text} {loss:?}: {error}");
                let error = (found.quotient_central - found.derivative).abs();
                assert!(error <= 1e-8 * 8.0 + 1e-11, "{text} {loss:?}: {error}");
                largest = largest.max(found.derivative.abs());
                // The derivative is the product and the sum of the terms shown.
                assert_eq!(found.derivative, found.delta * found.input);
                if let Some((gradient, slope)) = found.activation_gradient.zip(found.slope) {
                    let shown: f64 = gradient.shown.iter().map(|term| term.product).sum();
                    assert!((shown + gradient.others_sum - gradient.sum).abs() <= 1e-14);
                    assert!((gradient.sum * slope - found.delta).abs() <= 1e-15);
                }
            }
            assert!(largest > 1e-3);
        }
    }

    #[test]
    fn as_many_units_change_as_the_sizes_say_and_the_rest_of_wide_layers_is_summed() {
        let (network, theta) = network(&[9, 8], OutputUnits::Sigmoid, Loss::Quadratic);
        let found = explain(
            &network,
            &theta,
            (&INPUTS, (1, &[])),
            position("0,3,0"),
            0.1,
        )
        .unwrap();
        let changed: Vec<usize> = found.forward.iter().map(|pass| pass.changed).collect();
        assert_eq!(changed, [1, 8, 3]);
        let total = found.total;
        assert_eq!((total.reused, total.moved, total.recomputed), (8, 9, 3));
        let wide = &found.forward[1];
        assert_eq!((wide.shown.len(), wide.others), (6, 2));
        let sizes: Vec<f64> = wide.shown.iter().map(|unit| unit.a_change.abs()).collect();
        assert!(sizes.is_sorted_by(|one, other| one >= other) && wide.others_sum > 0.0);
        // The changes of the second layer are w·Δa exactly.
        let moved = found.forward[0].shown[0];
        assert!((moved.z_change - 0.1 * INPUTS[0]).abs() < 2e-15);
        for unit in &wide.shown {
            let product = theta.weights(1)[[unit.unit, 3]] * moved.a_change;
            assert!((unit.z_change - product).abs() < 1e-14);
        }
    }

    #[test]
    fn a_weight_of_an_input_that_is_0_changes_nothing() {
        let (network, theta) = network(&[5], OutputUnits::Softmax, Loss::CrossEntropy);
        let found = explain(
            &network,
            &theta,
            (&INPUTS, (2, &[])),
            position("0,1,2"),
            0.5,
        )
        .unwrap();
        assert!(found.forward.iter().all(|pass| pass.changed == 0));
        assert_eq!((found.derivative, found.quotient), (0.0, 0.0));
    }

    #[test]
    fn indices_outside_the_network_are_refused_with_their_ranges() {
        let (network, theta) = network(&[5], OutputUnits::Sigmoid, Loss::Quadratic);
        for (text, part) in [
            (
                "2,0,0",
                "layer 2 is outside: the network 4-5-3 has layers 0 to 1",
            ),
            ("0,5,0", "row 5 is outside: layer 0 has rows 0 to 4"),
            ("1,0,5", "column 5 is outside: layer 1 has columns 0 to 4"),
            ("1,3,bias", "row 3 is outside: layer 1 has rows 0 to 2"),
        ] {
            let refusal =
                explain(&network, &theta, (&INPUTS, (1, &[])), position(text), 1e-4).unwrap_err();
            assert_eq!(refusal, part);
        }
        let refusal = explain(
            &network,
            &theta,
            (&INPUTS, (1, &[])),
            position("0,0,0"),
            0.0,
        )
        .unwrap_err();
        assert!(refusal.contains("epsilon is 0; allowed"), "{refusal}");
        for text in ["", "0", "0,1", "0,1,x", "0,-1,2", "0,1,2,3"] {
            let refusal = text.parse::<ParameterPosition>().unwrap_err();
            assert!(refusal.contains("allowed: LAYER,ROW,COLUMN"), "{refusal}");
        }
    }

    #[test]
    fn without_biases_a_bias_is_refused() {
        let network =
            Network::new(&[4, 3], false, OutputUnits::Sigmoid, Loss::Quadratic, 0.0).unwrap();
        let theta = Parameters::zeros(Arc::clone(&network.layout));
        let refusal = explain(
            &network,
            &theta,
            (&INPUTS, (0, &[])),
            position("0,0,bias"),
            1e-4,
        );
        assert!(refusal.unwrap_err().contains("no biases"));
    }
}

mod claim {
    use super::*;

    #[test]
    fn every_claim_has_a_verdict_and_a_computed_number() {
        let claims = claims();
        assert_eq!(claims.len(), 14);
        let evidence = |part: &str| {
            let claim = claims
                .iter()
                .find(|claim| claim.claim.contains(part))
                .unwrap();
            claim.evidence.clone().unwrap()
        };
        for (claim, number) in [
            ("N + 1 evaluations", "784-30-10: 23861 losses"),
            ("∇z", "∂z/∂a = -0.26529, the slip -0.30768"),
            (
                "keeping x·θ",
                "1010 multiplications against 2000, 1100 exponentials against 100",
            ),
            ("3 hidden units", "2 of 3 stay as they are"),
            ("cross-entropy", "0 multiplications, quadratic 20"),
        ] {
            let found = evidence(claim);
            assert!(found.contains(number), "{claim}: {found}");
        }
        for claim in &claims {
            assert!(claim.command.starts_with("nplus1 "), "{claim:?}");
            assert!(!claim.verdict.is_empty() && !claim.because.is_empty());
        }
    }
}

mod command {
    use clap::Parser;
    use nplus1::cli::arguments::{Arguments, Command as Cli};
    use serde_json::Value;

    use super::*;
    use crate::support::program::{Workplace, text};

    const CONFIG: &str = r#"
[data]
dataset = "iris"
test = 30
normalize = "standard"
[model]
hidden = [5]
output = "softmax"
[loss]
kind = "cross-entropy"
[optimizer]
learning_rate = 0.1
[train]
epochs = 1
"#;

    fn workplace() -> Workplace {
        let folder = Workplace::new(CONFIG);
        let images = CONFIG.replace("iris", "mnist").replace("test = 30\n", "");
        let images = images.replace("[5]", "[30]").replace("standard", "unit");
        folder.write("mnist.toml", &images);
        folder
    }

    fn json(folder: &Workplace, line: &str) -> Value {
        folder.report(&format!("{line} --json"))
    }

    #[test]
    fn each_subject_prints_one_json_document() {
        let folder = workplace();
        let toy = json(
            &folder,
            "explain toy --a 0.7 --b 1.3 --x -0.9 --epsilon 1e-4",
        );
        assert_eq!(toy["methods"][0]["operations"]["multiplications"], 4);
        assert_eq!(toy["methods"].as_array().unwrap().len(), 5);
        let logistic = json(&folder, "explain logistic --set data.limit=50");
        assert_eq!(
            (&logistic["rows"], &logistic["features"]),
            (&50.into(), &30.into())
        );
        let network = json(&folder, "explain network flowers.toml --depth 2");
        assert_eq!(network["own"]["sizes"], serde_json::json!([4, 5, 3]));
        assert_eq!(
            network["by_depth"][1]["sizes"],
            serde_json::json!([4, 5, 5, 3])
        );
        let weight = json(&folder, "explain flowers.toml --weight 1,2,3 --sample 7");
        assert_eq!(weight["parameter"], "layers.1.weight[2, 3]");
        let plain = json(&folder, "explain");
        assert_eq!(plain, json(&folder, "explain claims"));
        assert_eq!(plain["claims"].as_array().unwrap().len(), 14);
    }

    #[test]
    fn the_text_of_each_subject_contains_its_numbers() {
        let folder = workplace();
        for (line, parts) in [
            (
                "explain toy",
                &[
                    "-0.265294  ∂z/∂a",
                    "-0.307682  not ∂z/∂a",
                    "6.50000e7",
                    "σ is not additive",
                ][..],
            ),
            (
                "explain logistic",
                &[
                    "569 samples of 30 features",
                    "(17,100 against 34,140)",
                    "17,639 exponentials against 569",
                ],
            ),
            (
                "explain network",
                &[
                    "hidden 1  ~ = =\n",
                    "hidden 2  ~ ~ ~\n",
                    "hidden 3  # # #\n",
                    "outputs   #\n",
                    "is wrong",
                ],
            ),
            (
                "explain flowers.toml --weight 0,1,bias",
                &[
                    "layers.0.bias[1] = ",
                    "its input  1.00000\n",
                    "p − y",
                    "∂L/∂θ = δ·input",
                ],
            ),
            // A corner of an image is 0 in every one.
            (
                "explain mnist.toml --weight 0,1,0",
                &["no unit changes", "all 40 units are reused", "exactly 0"],
            ),
            (
                "explain claims",
                &["nplus1 explain lbfgs", "the slip -0.30768"],
            ),
        ] {
            let output = folder.nplus1(line);
            assert!(output.status.success(), "{line}: {}", text(&output.stderr));
            let text = text(&output.stdout);
            for part in parts {
                assert!(text.contains(part), "{line}: no {part:?} in\n{text}");
            }
        }
    }

    #[test]
    fn invalid_arguments_are_refused_with_the_values_allowed_and_the_way_out() {
        let folder = workplace();
        for (line, parts) in [
            (
                "explain toy --epsilon 0",
                &["epsilon is 0", "any finite number but 0"][..],
            ),
            (
                "explain toy --epsilon nan",
                &["epsilon is NaN", "any finite number but 0"],
            ),
            ("explain toy --a inf", &["a is inf", "any finite number"]),
            ("explain toy --a one", &["one", "--a"]),
            (
                "explain logistic --dataset iris",
                &[
                    "iris",
                    "3 classes (setosa, versicolor, virginica)",
                    "exactly 2",
                    "--dataset breast-cancer",
                ],
            ),
            ("explain logistic flowers.toml", &["3 classes", "exactly 2"]),
            (
                "explain logistic --dataset nothing",
                &["nothing", "breast-cancer"],
            ),
            ("explain logistic --epsilon 0", &["epsilon is 0"]),
            (
                "explain network --width 100000",
                &["weights; allowed here", "--width"],
            ),
            (
                "explain flowers.toml --weight 2,0,0",
                &["layer 2", "layers 0 to 1"],
            ),
            (
                "explain flowers.toml --weight 0,0,4",
                &["column 4", "columns 0 to 3"],
            ),
            ("explain flowers.toml --weight 0,0", &["LAYER,ROW,COLUMN"]),
            (
                "explain flowers.toml --sample 120",
                &["--sample: no row 120", "120 training rows", "0 to 119"],
            ),
            ("explain flowers.toml --epsilon 0", &["epsilon is 0"]),
            ("explain --weight 0,0,0", &["CONFIG"]),
            ("explain --sample 3 toy", &["CONFIG"]),
            (
                "explain flowers.toml toy",
                &["precede the subcommand", "explain network CONFIG"],
            ),
            ("explain --set seed=3 network", &["precede the subcommand"]),
            ("explain --seed 3", &["without a CONFIG"]),
            (
                "explain toys",
                &["toys", "claims, toy, logistic, network, lbfgs"],
            ),
        ] {
            let errors = folder.refusal(line);
            for part in parts {
                assert!(errors.contains(part), "{line}: no {part:?} in\n{errors}");
            }
        }
    }

    #[test]
    fn the_command_of_every_claim_exists() {
        for claim in claims() {
            let words = claim.command.split_whitespace();
            let parsed = Arguments::try_parse_from(words);
            let parsed = parsed.unwrap_or_else(|error| panic!("{}: {error}", claim.command));
            if let Cli::Explain(explain) = parsed.command {
                // An unknown subject would be parsed as a config.
                assert!(explain.command.is_some() || claim.command.ends_with(".toml"));
            }
            let config = claim
                .command
                .split_whitespace()
                .find(|word| word.ends_with(".toml"));
            if let Some(config) = config {
                let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
                assert!(root.join(config).exists(), "{config}");
            }
        }
    }
}
