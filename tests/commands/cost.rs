//! `nplus1 cost` reports what gradients cost: its formulas agree with operations counted one by
//! one, its rows are saved one by one, and invalid arguments are refused before it starts.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use crate::support::flowers::QUADRATIC as CONFIG;
use crate::support::networks::{
    OUTPUTS_AND_LOSSES, inputs, network, relative_error, samples, theta, uniform_scaling,
};
use crate::support::program::{Workplace, lines, text};
use crate::support::scalar_backprop::InputForm;
use ndarray::Array2;
use nplus1::data::{Batch, Dataset, Features, Samples};
use nplus1::gradient::finite_difference::{DifferenceConfig, LossEvaluator, Scheme};
use nplus1::gradient::operation_counts::performed;
use nplus1::gradient::{Control, GradientConfig};
use nplus1::kernels::Isa;
use nplus1::model::Parameters;
use nplus1::parallel::Workers;
use nplus1::study::cost::{CostRow, summary};
use nplus1::study::methods;
use nplus1::study::timing::TimingBench;
use serde_json::Value;

/// Hidden layers of networks with 1 to 5 weight layers.
const HIDDEN: [&[usize]; 6] = [&[], &[3], &[18], &[5, 4], &[6, 18, 5], &[4, 3, 5, 2]];
const FEATURES: usize = 11;

fn full(scheme: Scheme) -> GradientConfig {
    GradientConfig::Difference(DifferenceConfig {
        scheme,
        ..DifferenceConfig::TEXTBOOK
    })
}

/// A gradient by whole differences is N + 1 forward passes, and what turns losses into quotients:
/// inputs are read and scaled before, once, in whatever form they are. So the unit in which a cost
/// is expressed is the same work as what is measured in it.
#[test]
fn full_differences_are_n_plus_one_forward_passes_in_every_form_of_inputs() {
    let pool = Arc::new(Workers::exactly(1).unwrap());
    let mut cases = 0;
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
                let mut evaluator = LossEvaluator::new(&network, &theta, Isa::detect(), batch);
                let loss = evaluator.loss(&control);
                assert_eq!(control.evaluations(), 1);
                assert_eq!(loss.to_bits(), evaluator.loss(&control).to_bits());

                let mut gradient = Parameters::zeros(Arc::clone(&network.layout));
                let mut engine =
                    full(Scheme::Forward).engine(&network, &pool, Isa::detect(), &samples, 3);
                let found = engine
                    .gradient(&theta, batch, &mut gradient, &Control::default())
                    .unwrap();
                let case = format!("{hidden:?} {outputs_and_loss:?} {form:?}");
                if form != InputForm::Sparse {
                    // Unscaled sparse bytes may saturate every unit.
                    assert!(loss.is_finite(), "{case}");
                }
                assert_eq!(loss.to_bits(), found.loss.to_bits(), "{case}");

                // N + 1 passes, without the mean that a single loss takes, plus what turns losses
                // into quotients (θ + h, its distance, 3 row differences and their sum, the mean,
                // the quotient). Bytes are scaled once for all passes.
                let n = network.layout.len() as u64;
                let read = match form {
                    InputForm::Bytes { .. } => 3 * FEATURES as u64,
                    _ => 0,
                };
                let mut pass = evaluator.tally();
                assert_eq!(pass, performed(&network, None, &samples, &rows));
                pass.additions -= 3;
                pass.divisions -= 1;
                let mut expected = pass * (n + 1);
                expected.additions += n * (2 + 2 * 3 + 1) + read;
                expected.multiplications += n;
                expected.divisions += n + 1 + read;
                assert_eq!(found.tally, expected, "{case}");
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 6 * 5 * 3);
}

/// Dense samples of a mostly blank image: no zero is left out, no equal value shared, so the work
/// does not depend on the values; the gradient does not depend on the form.
#[test]
fn dense_samples_change_the_work_and_not_the_gradient() {
    let pool = Arc::new(Workers::exactly(1).unwrap());
    let network = network(FEATURES, HIDDEN[3], true, OUTPUTS_AND_LOSSES[0], 0.0);
    let image = |seed: usize| -> Vec<u8> {
        let pixel = |k: usize| if (k + seed).is_multiple_of(4) { 120 } else { 0 };
        (0..FEATURES).map(pixel).collect()
    };
    let pixels: Vec<u8> = (0..3).flat_map(image).collect();
    let dataset = Arc::new(Dataset {
        name: "images".to_owned(),
        features: Features::Bytes(Array2::from_shape_vec((3, FEATURES), pixels).unwrap()),
        labels: vec![0, 1, 2],
        class_names: ["a", "b", "c"].map(str::to_owned).to_vec(),
        image: None,
        unit_divisor: Some(255.0),
        targets: None,
        table: None,
    });
    let scaling = uniform_scaling(FEATURES, 255.0);
    let sparse = Samples::<f64>::new(&dataset, &scaling);
    let dense = Samples::<f64>::dense(&dataset, &scaling);
    let theta = Parameters::from_flat(Arc::clone(&network.layout), theta(&network));
    let rows = [0, 1, 2];
    for method in methods::all() {
        let run = |samples: &Samples<f64>| {
            let mut gradient = Parameters::zeros(Arc::clone(&network.layout));
            let mut engine = (method.gradient).engine(&network, &pool, Isa::detect(), samples, 3);
            let batch = Batch {
                samples,
                rows: &rows,
            };
            let found = engine
                .gradient(&theta, batch, &mut gradient, &Control::default())
                .unwrap();
            let predicted = performed(&network, Some(&method.gradient), samples, &rows);
            assert_eq!(found.tally, predicted, "{}", method.label);
            (found.tally, gradient.flat().to_vec())
        };
        let (few, of_sparse) = run(&sparse);
        let (many, of_dense) = run(&dense);
        let error = relative_error(&of_dense, &of_sparse);
        // Round-off over h, in an order of its own.
        assert!(error <= 1e-6, "{}: {error:e}", method.label);
        assert!(of_dense.iter().any(|&g| g != 0.0));
        assert!(
            many.multiplications > few.multiplications,
            "{}",
            method.label
        );
        // What the zeros were is no matter: no product of an input is left out.
        let products = (FEATURES * 5 * 3) as u64;
        assert!(many.multiplications >= products);
    }
}

// ---- The command
// -----------------------------------------------------------------------------------

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
    ] {
        let errors = folder.refusal(&format!("cost flowers.toml {options}"));
        assert!(errors.contains(expected), "{options}: {errors}");
    }
    for (options, expected) in [
        // Hidden layers of 10¹² units have 10¹³ numbers of 4 bytes per copy.
        ("--widths 1000000000000", "PiB of memory; "),
        ("--widths 18446744073709551615 --depths 3", "of memory; "),
    ] {
        let errors = folder.failure(&format!("cost flowers.toml {options}"), 5);
        assert!(errors.contains(expected), "{options}: {errors}");
    }
    assert!(!folder.path().join("studies").exists());
    let errors = folder.refusal("cost --resume nowhere");
    assert!(errors.contains("no study in this folder"), "{errors}");
}

#[cfg(unix)]
#[test]
fn slow_an_interrupted_study_keeps_its_rows_and_ends_with_130() {
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
