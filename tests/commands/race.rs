//! `nplus1 race` trains by every method from the same start, reports when each reached the targets,
//! and loses nothing when it is interrupted.

use std::fs;

use crate::support::program::Workplace;
use serde_json::Value;

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
output = "softmax"
initialization = "scaled"
[loss]
kind = "cross-entropy"
[optimizer]
learning_rate = 0.5
[train]
epochs = 40
batch_size = 10
"#;

fn rows<'a>(document: &'a Value, method: &str) -> Vec<&'a Value> {
    let rows = document["rows"].as_array().unwrap().iter();
    rows.filter(|row| row["method"] == method).collect()
}

#[test]
fn every_method_trains_from_the_same_start_and_its_targets_are_reported() {
    let folder = Workplace::new(CONFIG);
    let line = "race flowers.toml --methods backprop,forward-difference,central-difference/full --targets 0.9,0.8 --seeds 3..3 --json";
    let document = folder.report(line);
    assert_eq!(document["targets"], serde_json::json!([0.8, 0.9]));
    assert_eq!(document["judged"], "validation");
    let standings = document["standings"].as_array().unwrap();
    let methods: Vec<&str> = (standings.iter())
        .map(|standing| standing["method"].as_str().unwrap())
        .collect();
    assert_eq!(
        methods,
        [
            "backprop",
            "forward-difference/incremental",
            "central-difference/full"
        ]
    );
    for (standing, method) in standings.iter().zip(methods) {
        assert!(
            standing["best_accuracy"].as_f64().unwrap() > 0.9,
            "{method}"
        );
        assert_eq!(
            standing["ending"], "as long as [train] asks for",
            "{method}"
        );
        let rows = rows(&document, method);
        let last = rows.last().unwrap();
        // 90 rows are 9 steps per epoch.
        assert_eq!(last["steps"], 360, "{method}");
        assert_eq!(last["epochs"], 40.0, "{method}");
        // In f32 the increments are about 1e-4, so weights that agree to three digits classify
        // alike.
        let accuracy = rows.last().unwrap()["accuracy"].as_f64().unwrap();
        let best = standings[0]["accuracy"].as_f64().unwrap();
        assert!(
            (accuracy - best).abs() <= 1.5 / 30.0,
            "{method}: {accuracy}"
        );
        let seconds: Vec<f64> = rows
            .iter()
            .map(|row| row["seconds"].as_f64().unwrap())
            .collect();
        assert!(seconds.is_sorted(), "{method}: {seconds:?}");
        for (index, target) in [0.8, 0.9].into_iter().enumerate() {
            let first = rows
                .iter()
                .find(|row| row["accuracy"].as_f64().unwrap() >= target)
                .unwrap();
            let reached = &standing["reached"][index];
            assert_eq!(reached["seconds"], first["seconds"], "{method}");
            assert_eq!(
                reached["multiplications"], first["tally"]["multiplications"],
                "{method}"
            );
            assert_eq!(
                reached["dense_multiplications"], first["dense_multiplications"],
                "{method}"
            );
        }
    }
    // N + 1 losses per step.
    let n = 4 * 5 + 5 + 5 * 3 + 3;
    let last = *rows(&document, "forward-difference/incremental")
        .last()
        .unwrap();
    assert_eq!(last["tally"]["evaluations"], 360 * (n + 1));
    let last = *rows(&document, "backprop").last().unwrap();
    assert_eq!(last["tally"]["evaluations"], 360);

    let study = folder.path().join(document["study"].as_str().unwrap());
    let kept: Value =
        serde_json::from_slice(&fs::read(study.join("results.json")).unwrap()).unwrap();
    assert_eq!(kept, document);
    let markdown = fs::read_to_string(study.join("results.md")).unwrap();
    assert!(markdown.contains("| backprop |"), "{markdown}");
}

#[test]
fn backprop_in_a_race_has_the_weights_and_the_counts_of_a_run() {
    let folder = Workplace::new(CONFIG);
    let document = folder.report("race flowers.toml --methods backprop --seeds 3..3 --json");
    let run = folder.report("train flowers.toml --json");
    let raced = *rows(&document, "backprop").last().unwrap();
    assert_eq!(raced["accuracy"], run["validation_accuracy"]);
    assert_eq!(raced["loss"], run["validation_loss"]);
    assert_eq!(raced["tally"], run["tally"]);
}

#[test]
fn a_method_that_diverges_does_not_end_the_race() {
    let folder = Workplace::new(CONFIG);
    let line = "race flowers.toml --methods backprop,forward-difference --rates backprop=1e38 --seeds 3..3 --json";
    let document = folder.report(line);
    let standings = document["standings"].as_array().unwrap();
    let ending = standings[0]["ending"].as_str().unwrap();
    assert!(ending.starts_with("diverged in epoch"), "{ending}");
    assert_eq!(standings[0]["learning_rate"], 1e38);
    assert_eq!(standings[1]["ending"], "as long as [train] asks for");
    let findings = document["findings"].to_string();
    assert!(findings.contains("not reached by backprop"), "{findings}");
    assert!(
        findings.contains("backprop, seed 3: diverged in epoch"),
        "{findings}"
    );
}

#[test]
fn estimates_try_learning_rates_on_the_validation_rows_unless_one_is_given() {
    let folder = Workplace::new(CONFIG);
    let methods =
        "--methods backprop,spsa,spsa:4,forward-gradient/weights,forward-gradient/activations";
    let line =
        format!("race flowers.toml {methods} --rates spsa=0.01 --tuning 0.01 --seeds 3..4 --json");
    let document = folder.report(&line);
    let standing = |method: &str| {
        let standings = document["standings"].as_array().unwrap().iter();
        standings
            .clone()
            .find(|standing| standing["method"] == method)
            .unwrap()
    };
    let tried = |method: &str| -> Vec<&Value> {
        (rows(&document, method).into_iter())
            .filter(|row| row["tuning"] == true)
            .collect()
    };
    assert_eq!(standing("backprop")["learning_rate"], 0.5);
    assert_eq!(standing("spsa")["learning_rate"], 0.01);
    assert!(tried("backprop").is_empty() && tried("spsa").is_empty());
    // The search begins at 0.5/√(1 + (d − 1)/K), with d = N = 43 weights or U = 8 units.
    for (method, center) in [
        ("spsa:4", 0.5 / (1.0 + 42.0 / 4.0f64).sqrt()),
        ("forward-gradient/weights", 0.5 / 43f64.sqrt()),
        ("forward-gradient/activations", 0.5 / 8f64.sqrt()),
    ] {
        let tried = tried(method);
        assert!(tried.len() >= 5, "{method}");
        let rate = |row: &Value| row["learning_rate"].as_f64().unwrap();
        for row in &tried {
            let exponent = (rate(row) / center).log(4.0);
            assert!(
                (exponent - exponent.round()).abs() < 1e-9,
                "{method}: {row}"
            );
            assert_eq!(row["seed"], 3);
        }
        let best = (tried.iter())
            .map(|row| row["accuracy"].as_f64().unwrap())
            .fold(0.0, f64::max);
        let chosen = rate(standing(method));
        let row = tried.iter().find(|row| rate(row) == chosen).unwrap();
        assert_eq!(row["accuracy"].as_f64().unwrap(), best, "{method}");
        // Its neighbors were tried too, unless the search had to end.
        let neighbors = [chosen / 4.0, 4.0 * chosen].map(|neighbor| {
            let near = |row: &&Value| (rate(row) / neighbor - 1.0).abs() < 1e-9;
            tried.iter().copied().any(|row| near(&row))
        });
        let farthest = (chosen / center).log(4.0).abs().round() == 5.0;
        assert!(neighbors == [true; 2] || farthest, "{method}");
    }
    // Each step of one direction evaluates two losses: 9 steps in each of 40 epochs.
    for seed in [3, 4] {
        let last = *rows(&document, "spsa")
            .iter()
            .rfind(|row| row["seed"] == seed)
            .unwrap();
        assert_eq!(last["tally"]["evaluations"], 2 * 360);
    }
    let findings = document["findings"].to_string();
    assert!(
        findings.contains("Learning rates of spsa:4, "),
        "{findings}"
    );
}

#[test]
fn without_validation_rows_no_rate_is_tried_on_the_test_rows() {
    let folder = Workplace::new(CONFIG);
    let line =
        "race flowers.toml --set data.validation=0 --methods spsa --seeds 3..3 --limit 0.1 --json";
    let document = folder.report(line);
    let rows = document["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["tuning"] == false));
    let rate = document["standings"][0]["learning_rate"].as_f64().unwrap();
    assert!((rate - 0.5 / 43f64.sqrt()).abs() < 1e-15);
}

#[test]
fn the_time_limit_applies_to_each_method() {
    let folder = Workplace::new(CONFIG);
    let line = "race flowers.toml --set train.epochs=1000000 --methods backprop,forward-difference --limit 0.3 --seeds 3..3 --json";
    let document = folder.report(line);
    for standing in document["standings"].as_array().unwrap() {
        assert_eq!(standing["ending"], "the time limit");
        let seconds = standing["seconds"].as_f64().unwrap();
        // The time limit ends the method; a busy machine may add to it.
        assert!((0.3..60.0).contains(&seconds), "{seconds}");
    }
}

#[test]
fn invalid_arguments_are_refused_before_anything_is_written() {
    let folder = Workplace::new(CONFIG);
    for (options, expected) in [
        (
            "--methods backprop,magic",
            "unknown method `magic`; a bare name selects all its variants\n  allowed: backprop, ",
        ),
        ("--methods backprop,backprop", "duplicate method backprop"),
        ("--methods spsa,spsa:1", "duplicate method spsa"),
        (
            "--methods spsa:0",
            "`spsa:0`: a number of random directions",
        ),
        (
            "--methods backprop:10",
            "this method has no random directions",
        ),
        ("--seeds 5..1", "5 is above 1"),
        ("--targets 1.5", "1.5 is not an accuracy"),
        ("--targets 0", "0 is not an accuracy"),
        (
            "--methods backprop --rates forward-difference=1",
            "is not in the race",
        ),
    ] {
        let errors = folder.refusal(&format!("race flowers.toml {options}"));
        assert!(errors.contains(expected), "{options}: {errors}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_race_ends_with_130_and_goes_on_with_the_same_bits() {
    let folder = Workplace::new(CONFIG);
    // Enough steps for the signal to arrive during training, few enough for a short test.
    let line = "race flowers.toml --methods backprop,forward-difference/full --set train.epochs=600 --limit 600 --seeds 3..3";
    let path = folder.path().join("studies/flowers/001/rows.jsonl");
    let begun = |text: &str| text.contains("forward-difference/full");
    let errors = folder.interrupted(line, &path, begun);
    assert!(
        errors.contains("nplus1 race --resume studies/flowers/001"),
        "{errors}"
    );
    let kept = fs::read_to_string(&path).unwrap();

    let resumed = folder.report("race --resume studies/flowers/001 --json");
    let now = fs::read_to_string(&path).unwrap();
    assert!(now.starts_with(&kept), "rows were measured again");
    let whole = folder.report(&format!("{line} --json"));
    for method in ["backprop", "forward-difference/full"] {
        let [mut a, mut b] =
            [&resumed, &whole].map(|race| (*rows(race, method).last().unwrap()).clone());
        for row in [&mut a, &mut b] {
            row["seconds"] = Value::Null;
        }
        assert_eq!(a, b);
    }
}
