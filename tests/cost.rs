//! `nplus1 cost` reports what gradients cost: its formulas agree with operations counted one by
//! one, its rows are saved one by one, and invalid arguments are refused before it starts.

mod support;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use nplus1::data::Batch;
use nplus1::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, LossEvaluator, NodePerturbationConfig, Reuse, Scheme,
};
use nplus1::gradient::operation_counts::{dense_formulas, finite_difference};
use nplus1::gradient::{Control, GradientConfig};
use nplus1::kernels::Isa;
use nplus1::model::{Network, Parameters};
use nplus1::numeric::statistics::LeastSquaresLine;
use nplus1::parallel::Workers;
use nplus1::study::cost::{CostRow, summary};
use nplus1::study::methods;
use nplus1::study::timing::TimingBench;
use nplus1::textbook::Sample;
use serde_json::Value;
use support::networks::{OUTPUTS_AND_LOSSES, inputs, network, samples, theta};
use support::program::{Workplace, lines, text};
use support::scalar_backprop::InputForm;

/// Hidden layers of networks with 1 to 5 weight layers.
const HIDDEN: [&[usize]; 6] = [&[], &[3], &[18], &[5, 4], &[6, 18, 5], &[4, 3, 5, 2]];
const FEATURES: usize = 11;

fn full(scheme: Scheme) -> GradientConfig {
    GradientConfig::Difference(DifferenceConfig {
        scheme,
        ..DifferenceConfig::TEXTBOOK
    })
}

fn incremental() -> GradientConfig {
    GradientConfig::Difference(DifferenceConfig {
        reuse: Reuse::Incremental,
        ..DifferenceConfig::TEXTBOOK
    })
}

fn node_perturbation() -> GradientConfig {
    GradientConfig::NodePerturbation(NodePerturbationConfig {
        arithmetic: Arithmetic::Plain,
        increment: None,
    })
}

#[test]
fn every_formula_equals_the_operations_counted_in_a_plain_implementation() {
    let methods = [
        GradientConfig::Backprop,
        full(Scheme::Forward),
        full(Scheme::Central),
        incremental(),
        node_perturbation(),
    ];
    let (mut cases, mut absent) = (0, 0);
    for hidden in HIDDEN {
        for outputs_and_loss in OUTPUTS_AND_LOSSES {
            for bias in [true, false] {
                let network = network(FEATURES, hidden, bias, outputs_and_loss, 0.0);
                let theta = theta(&network);
                let classes = if outputs_and_loss == OUTPUTS_AND_LOSSES[4] {
                    2
                } else {
                    3
                };
                for rows in 1..=3 {
                    let (inputs, labels) = inputs(InputForm::Numbers, rows, FEATURES, classes);
                    let batch: Vec<Sample> = inputs.into_iter().zip(labels).collect();
                    let case = format!("{hidden:?} {outputs_and_loss:?} bias {bias}, {rows} rows");
                    let rows = rows as u64;
                    assert_eq!(
                        dense_formulas::evaluation(&network, rows),
                        dense_formulas::counted_evaluation(&network, &theta, &batch),
                        "{case}"
                    );
                    for method in &methods {
                        let predicted = dense_formulas::gradient(&network, method, rows);
                        let counted = dense_formulas::counted(&network, method, &theta, &batch);
                        assert_eq!(predicted, counted, "{method:?} {case}");
                        absent += usize::from(predicted.is_none());
                        cases += 1;
                    }
                }
            }
        }
    }
    // Incremental differences and node perturbation have a formula only with biases, sigmoid
    // outputs and the quadratic loss.
    assert_eq!(absent, 2 * 6 * (5 * 2 - 1) * 3);
    assert_eq!(cases, 6 * 5 * 2 * 3 * 5);
}

#[test]
fn one_evaluation_costs_as_much_as_a_pass_of_full_differences() {
    let pool = Arc::new(Workers::exactly(1).unwrap());
    for hidden in HIDDEN {
        for outputs_and_loss in OUTPUTS_AND_LOSSES {
            for form in [
                InputForm::Sparse,
                InputForm::Bytes { divisor: 255.0 },
                InputForm::Numbers,
            ] {
                let network = network(FEATURES, hidden, true, outputs_and_loss, 0.0);
                let classes = if outputs_and_loss == OUTPUTS_AND_LOSSES[4] {
                    2
                } else {
                    3
                };
                let (inputs, labels) = inputs(form, 3, FEATURES, classes);
                let samples = samples::<f64>(form, &inputs, &labels);
                let rows = [0, 1, 2];
                let theta = Parameters::from_flat(Arc::clone(&network.layout), theta(&network));
                let batch = Batch {
                    samples: &samples,
                    rows: &rows,
                };
                let control = Control::default();
                let mut evaluator = LossEvaluator::new(&network, &theta, Isa::detect(), 3);
                let loss = evaluator.loss(batch, &control);
                assert_eq!(control.evaluations(), 1);

                let mut gradient = Parameters::zeros(Arc::clone(&network.layout));
                let mut engine =
                    full(Scheme::Forward).engine(&network, &pool, Isa::detect(), &samples, 3);
                let found = engine
                    .gradient(&theta, batch, &mut gradient, &Control::default())
                    .unwrap();
                assert_eq!(loss.to_bits(), found.loss.to_bits());

                // A gradient takes N + 1 passes, without the operations done once per gradient,
                // plus those that turn losses into quotients (θ + h, its distance, 3 row
                // differences and their sum, the mean, the quotient). Bytes are scaled once for all
                // passes.
                let n = network.layout.len() as u64;
                let read = match form {
                    InputForm::Bytes { .. } => 3 * FEATURES as u64,
                    _ => continue,
                };
                let mut pass = finite_difference::evaluation(&network, &samples, &rows);
                assert_eq!(pass, evaluator.tally(&samples, &rows));
                pass.additions -= 3 + read;
                pass.divisions -= 1 + read;
                let mut expected = pass * (n + 1);
                expected.additions += n * (2 + 2 * 3 + 1) + read;
                expected.multiplications += n;
                expected.divisions += n + 1 + read;
                assert_eq!(
                    found.tally, expected,
                    "{hidden:?} {outputs_and_loss:?} {form:?}"
                );
            }
        }
    }
}

/// Returns the exponents of N in the multiplications of backprop, full and incremental differences,
/// fitted to 784-w-…-w-10 with `depth` hidden layers of widths from 1 to 256.
fn exponents(depth: usize) -> [f64; 3] {
    let networks: Vec<Network> = (0..=8)
        .map(|power| {
            let sizes = [&[784], &vec![1 << power; depth][..], &[10]].concat();
            let (output, loss) = OUTPUTS_AND_LOSSES[0];
            Network::new(&sizes, true, output, loss, 0.0).unwrap()
        })
        .collect();
    [
        GradientConfig::Backprop,
        full(Scheme::Forward),
        incremental(),
    ]
    .map(|method| {
        let points: Vec<(f64, f64)> = networks
            .iter()
            .map(|network| {
                let tally = dense_formulas::gradient(network, &method, 10).unwrap();
                (network.layout.len() as f64, tally.multiplications as f64)
            })
            .collect();
        LeastSquaresLine::through_logarithms(&points).unwrap().slope
    })
}

#[test]
fn work_grows_as_n_with_backprop_as_n_squared_with_differences_and_in_between_with_reuse() {
    let [backprop, full, incremental] = exponents(1);
    assert!((backprop - 1.0).abs() <= 0.02, "{backprop}");
    assert!((full - 2.0).abs() <= 0.02, "{full}");
    assert!((incremental - 1.0).abs() <= 0.05, "{incremental}");
    let mut last = incremental;
    for depth in [2, 3, 4] {
        let [backprop, full, incremental] = exponents(depth);
        assert!((backprop - 1.0).abs() <= 0.05, "{depth}: {backprop}");
        assert!((full - 2.0).abs() <= 0.02, "{depth}: {full}");
        assert!(incremental > last, "{depth}: {incremental} after {last}");
        last = incremental;
    }
    assert!(last > 1.8, "{last}");
}

#[test]
fn the_table_of_known_networks_is_reproduced() {
    // Ratios of multiplications for 1000 rows: backprop to forward pass; then full differences,
    // incremental differences and node perturbation to backprop.
    let table: [(&[usize], [f64; 4]); 4] = [
        (&[784, 30, 10], [2.02, 11_830.0, 10.3, 1.005]),
        (&[784, 100, 10], [2.02, 39_440.0, 10.3, 1.005]),
        (&[784, 30, 30, 10], [2.05, 12_070.0, 158.0, 1.19]),
        (&[784, 512, 512, 10], [2.40, 278_600.0, 1414.0, 2.64]),
    ];
    for (sizes, expected) in table {
        let (output, loss) = OUTPUTS_AND_LOSSES[0];
        let network = Network::new(sizes, true, output, loss, 0.0).unwrap();
        let multiplications = |method: &GradientConfig| {
            let tally = dense_formulas::gradient(&network, method, 1000).unwrap();
            tally.multiplications as f64
        };
        let backprop = multiplications(&GradientConfig::Backprop);
        let forward = dense_formulas::evaluation(&network, 1000).multiplications as f64;
        let found = [
            backprop / forward,
            multiplications(&full(Scheme::Forward)) / backprop,
            multiplications(&incremental()) / backprop,
            multiplications(&node_perturbation()) / backprop,
        ];
        for (found, expected) in found.into_iter().zip(expected) {
            // The table has three or four digits.
            assert!(
                (found / expected - 1.0).abs() < 5e-3,
                "{sizes:?}: {found} for {expected}"
            );
        }
    }
}

// ---- The command
// -----------------------------------------------------------------------------------

const CONFIG: &str = r#"
name = "flowers"
seed = 3
[data]
dataset = "iris"
validation = 30
test = 30
normalize = "standard"
[model]
hidden = [5]
output = "sigmoid"
initialization = "scaled"
[loss]
kind = "quadratic"
[optimizer]
learning_rate = 0.2
[train]
epochs = 1
batch_size = 10
"#;

/// The number of parameters of 4-5-3.
const N: u64 = 4 * 5 + 5 + 5 * 3 + 3;

fn row<'a>(document: &'a Value, label: &str) -> &'a Value {
    let rows = document["rows"].as_array().unwrap();
    rows.iter()
        .find(|row| row["label"] == label)
        .unwrap_or_else(|| panic!("a row of {label}"))
}

#[test]
fn the_worst_prediction_is_reported() {
    let folder = Workplace::new(CONFIG);
    let methods = "backprop,forward-difference/full,spsa";
    let document = folder.report(&format!("cost flowers.toml --methods {methods} --json"));
    let mut rows: Vec<CostRow> = serde_json::from_value(document["rows"].clone()).unwrap();
    // The ratios are measured over predicted times; those below 1 count as errors too.
    let reported = |rows: &mut [CostRow], ratios: [f64; 4]| {
        for (row, ratio) in rows.iter_mut().zip(ratios) {
            row.seconds = Some(ratio * row.predicted_seconds);
        }
        summary::CostReport::new("flowers", String::new(), rows)
            .findings
            .join("\n")
    };
    assert_eq!(rows.len(), 4);
    for (ratios, at) in [([1.0, 1.5, 0.25, 2.0], 2), ([1.0, 4.0, 0.5, 2.0], 1)] {
        let sentence = format!(
            "The worst of 4 predictions was off by a factor of 4.00: {} on 4-5-3.",
            rows[at].label
        );
        let found = reported(&mut rows, ratios);
        assert!(found.contains(&sentence), "{sentence}\n{found}");
    }
}

#[test]
fn every_method_has_a_row_whose_measured_tally_equals_the_predicted_one() {
    let folder = Workplace::new(CONFIG);
    let document = folder.report("cost flowers.toml --measure --repeats 2 --json");
    let rows = document["rows"].as_array().unwrap();
    // One row for the forward pass and one for every method.
    assert_eq!(rows.len(), 1 + methods::all().len());
    for row in rows {
        assert_eq!(row["parameters"], N);
        assert_eq!(row["batch_rows"], 10);
        assert_eq!(row["tally_measured"], row["tally_performed"], "{row}");
        assert_eq!(row["tally_counted"], row["tally"], "{row}");
        assert_eq!(row["samples"].as_array().unwrap().len(), 2);
        assert!(row["predicted_seconds"].as_f64().unwrap() > 0.0);
        assert!(row["memory"].as_f64().unwrap() > 0.0);
        let evaluations = match row["label"].as_str().unwrap() {
            "forward-pass" | "backprop" => 1,
            label if label.starts_with("forward-difference") => N + 1,
            "forward-mode/full" | "forward-mode/incremental" => {
                assert_eq!(row["tally_performed"]["jacobian_vector_products"], N);
                continue;
            }
            label if label.starts_with("central-difference") => 2 * N,
            "spsa" => 2,
            _ => continue,
        };
        assert_eq!(row["tally_performed"]["evaluations"], evaluations, "{row}");
    }
    let ratio = row(&document, "backprop")["multiplications_to_forward"].as_f64();
    // The ratio is 2.02 for 784-30-10, and larger here, because the products of the second layer
    // and the output errors weigh more in a small network.
    assert!((2.0..3.0).contains(&ratio.unwrap()), "{ratio:?}");
    let ratio = row(&document, "forward-difference/full")["multiplications_to_forward"].as_f64();
    // N + 1 passes of 391 multiplications, and one multiplication per quotient.
    assert!(
        (ratio.unwrap() / (N + 1) as f64 - 1.0).abs() < 3e-3,
        "{ratio:?}"
    );
    let findings = document["findings"].to_string();
    assert!(findings.contains("N + 1 = 44 losses"), "{findings}");

    let path = folder.study(&document);
    assert_eq!(path, folder.path().join("studies/flowers/001"));
    assert_eq!(lines(&path.join("rows.jsonl")).len(), rows.len());
    assert_eq!(lines(&path.join("rows.csv")).len(), rows.len() + 1);
    let markdown = fs::read_to_string(path.join("results.md")).unwrap();
    assert!(
        markdown.contains("| forward-difference/full | 44 |"),
        "{markdown}"
    );
    let kept: Value =
        serde_json::from_slice(&fs::read(path.join("results.json")).unwrap()).unwrap();
    assert_eq!(kept, document);
    for file in ["study.json", "config.toml", "environment.json"] {
        assert!(path.join(file).exists(), "{file}");
    }
}

/// Compares the shortest of many predictions with the shortest of many samples, measured in turns on one
/// thread: both minima approach the undisturbed time, so the comparison is repeated until they agree.
#[test]
fn the_predicted_time_of_a_gradient_is_within_a_factor_of_2() {
    let network = network(FEATURES, HIDDEN[2], true, OUTPUTS_AND_LOSSES[0], 0.0);
    let (inputs, labels) = inputs(InputForm::Numbers, 8, FEATURES, 3);
    let samples = samples::<f64>(InputForm::Numbers, &inputs, &labels);
    let theta = Parameters::from_flat(Arc::clone(&network.layout), theta(&network));
    let pool = Arc::new(Workers::exactly(1).unwrap());
    let rows: Vec<u32> = (0..8).collect();
    let bench = TimingBench {
        network: &network,
        theta: &theta,
        samples: &samples,
        rows: &rows,
        workers: &pool,
        isa: Isa::detect(),
        control: &Control::default(),
        repeats: 4,
        limit: Duration::from_secs(60),
        split: None,
    };
    for method in [GradientConfig::Backprop, full(Scheme::Forward)] {
        let [mut predicted, mut taken] = [f64::INFINITY; 2];
        let agree = (0..60).any(|_| {
            predicted = predicted.min(bench.predict(&method).unwrap());
            let Ok(timing) = bench.gradient(&method).unwrap() else {
                panic!("stopped without an interrupt and within the limit of a minute");
            };
            taken = timing.samples.into_iter().fold(taken, f64::min);
            (0.5..2.0).contains(&(predicted / taken))
        });
        let method = method.method();
        assert!(agree, "{method}: {predicted:e} s predicted, {taken:e} s");
    }
}

#[test]
fn widths_and_depths_have_exponents_with_intervals() {
    let folder = Workplace::new(CONFIG);
    let line =
        "cost flowers.toml --widths 8,1,4,2 --depths 2,1 --json --methods forward-difference/full";
    let document = folder.report(line);
    let rows = document["rows"].as_array().unwrap();
    // 8 networks, each with the forward pass, backprop, which is always included, and the method.
    assert_eq!(rows.len(), 8 * 3);
    assert_eq!(rows[0]["layers"], serde_json::json!([4, 1, 3]));
    assert!(rows.iter().all(|row| row["seconds"].is_null()));
    let fits = document["fits"].as_array().unwrap();
    let of = |method: &str, over: &str, at: u64| {
        let own = |fit: &&Value| {
            fit["method"] == method
                && fit["over"] == over
                && fit["at"] == at
                && fit["quantity"] == "multiplications"
        };
        fits.iter().find(own).unwrap_or_else(|| panic!("{fits:?}"))
    };
    let fit = of("forward-difference/full", "widths", 1);
    assert_eq!(fit["points"], 4);
    assert_eq!(fit["range"], serde_json::json!([1, 8]));
    let slope = fit["slope"].as_f64().unwrap();
    let ends: Vec<f64> = (0..2)
        .map(|at| fit["interval"][at].as_f64().unwrap())
        .collect();
    assert!(ends[0] < slope && slope < ends[1]);
    assert!((1.7..2.1).contains(&slope), "{slope}");
    // Two depths determine a line, but no interval.
    assert!(of("backprop", "depths", 8)["interval"].is_null());
}

#[test]
fn an_interrupted_study_goes_on_with_the_rows_it_has() {
    let folder = Workplace::new(CONFIG);
    let all = "cost flowers.toml --measure --repeats 2 --json";
    let document = folder.report(all);
    let path = folder.study(&document);
    let begun = lines(&path.join("rows.jsonl"));
    fs::write(
        path.join("rows.jsonl"),
        begun[..4].join("\n") + "\n{\"label\":",
    )
    .unwrap();
    fs::remove_file(path.join("results.json")).unwrap();

    let other =
        folder.nplus1("cost flowers.toml --measure --repeats 3 --resume studies/flowers/001");
    let errors = text(&other.stderr);
    assert_eq!(other.status.code(), Some(2), "{errors}");
    assert!(errors.contains("repeats: begun with 2, now 3"), "{errors}");
    let other = folder
        .nplus1("cost flowers.toml --measure --repeats 2 --seed 4 --resume studies/flowers/001");
    let errors = text(&other.stderr);
    assert_eq!(other.status.code(), Some(2), "{errors}");
    assert!(
        errors.contains("config: begun with seed = 3, now seed = 4"),
        "{errors}"
    );
    let other = folder.nplus1("cost --resume studies/flowers/001 --widths 3");
    assert_eq!(other.status.code(), Some(2));

    for resume in [
        "cost --resume studies/flowers/001 --json".to_owned(),
        format!("{all} --resume studies/flowers/001"),
    ] {
        let resumed = folder.report(&resume);
        assert_eq!(resumed["rows"].as_array().unwrap().len(), begun.len());
        let now = lines(&path.join("rows.jsonl"));
        assert_eq!(now[..4], begun[..4], "existing rows were measured again");
        assert_eq!(now.len(), begun.len());
    }
}

#[test]
fn invalid_arguments_are_refused_before_anything_is_written() {
    let folder = Workplace::new(CONFIG);
    for (options, expected) in [
        ("--widths 1,0", "--widths: 0 is not allowed"),
        ("--widths 4,2,4", "--widths: duplicate value 4"),
        ("--depths 0", "--depths: 0 is not allowed"),
        ("--depths 2000", "allowed: 1 to 1000"),
        ("--batch 100000", "more than the 90 training rows"),
        (
            "--methods backprop,magic",
            "unknown method `magic`; a bare name selects all its variants\n  allowed: backprop, ",
        ),
        ("--threads 0", "threads"),
        // Hidden layers of 10¹² units have 10¹³ numbers of 4 bytes per copy.
        ("--widths 1000000000000", "PiB of memory; "),
        ("--widths 18446744073709551615 --depths 3", "of memory; "),
    ] {
        let errors = folder.refusal(&format!("cost flowers.toml {options}"));
        assert!(errors.contains(expected), "{options}: {errors}");
    }
    let errors = folder.refusal("cost --resume nowhere");
    assert!(errors.contains("no study in this folder"), "{errors}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_study_keeps_its_rows_and_ends_with_130() {
    let folder = Workplace::new(CONFIG);
    let line = "cost flowers.toml --measure --repeats 1000 --limit 60";
    let rows = folder.path().join("studies/flowers/001/rows.jsonl");
    let errors = folder.interrupted(line, &rows, |_| true);
    assert!(
        errors.contains("nplus1 cost --resume studies/flowers/001"),
        "{errors}"
    );
    let kept = lines(&rows);
    assert!(!kept.is_empty() && kept.len() < 1 + methods::all().len());
    for line in kept {
        serde_json::from_str::<Value>(&line).unwrap();
    }
}
