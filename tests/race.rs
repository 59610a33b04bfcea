//! `nplus1 race` trains by every method from the same start, reports when each reached the targets,
//! and loses nothing when it is interrupted.

mod support;

use std::fs;

use serde_json::Value;
use support::program::Workplace;

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
    let line = "race flowers.toml --methods backprop,forward-difference,central-difference/full --targets 0.9,0.8 --json";
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
    let document = folder.report("race flowers.toml --methods backprop --json");
    let run = folder.report("train flowers.toml --json");
    let raced = *rows(&document, "backprop").last().unwrap();
    assert_eq!(raced["accuracy"], run["validation_accuracy"]);
    assert_eq!(raced["loss"], run["validation_loss"]);
    assert_eq!(raced["tally"], run["tally"]);
}

#[test]
fn a_method_that_diverges_does_not_end_the_race() {
    let folder = Workplace::new(CONFIG);
    let line =
        "race flowers.toml --methods backprop,forward-difference --rates backprop=1e38 --json";
    let document = folder.report(line);
    let standings = document["standings"].as_array().unwrap();
    let ending = standings[0]["ending"].as_str().unwrap();
    assert!(ending.starts_with("diverged in epoch"), "{ending}");
    assert_eq!(standings[0]["learning_rate"], 1e38);
    assert_eq!(standings[1]["ending"], "as long as [train] asks for");
    let findings = document["findings"].to_string();
    assert!(findings.contains("not reached by backprop"), "{findings}");
}

#[test]
fn random_direction_methods_scale_the_learning_rate_unless_one_is_given() {
    let folder = Workplace::new(CONFIG);
    let methods = "--methods spsa,forward-gradient/weights,forward-gradient/activations";
    let line = format!("race flowers.toml {methods} --rates spsa=0.01 --json");
    let document = folder.report(&line);
    let rate = |index: usize| document["standings"][index]["learning_rate"].as_f64();
    assert_eq!(rate(0), Some(0.01));
    // 0.5/√N for the weights of 4-5-3, and 0.5/√U for its units.
    assert!((rate(1).unwrap() - 0.5 / 43f64.sqrt()).abs() < 1e-15);
    assert!((rate(2).unwrap() - 0.5 / 8f64.sqrt()).abs() < 1e-15);
    let last = *rows(&document, "spsa").last().unwrap();
    assert_eq!(last["tally"]["evaluations"], 2 * 360);
}

#[test]
fn the_time_limit_applies_to_each_method() {
    let folder = Workplace::new(CONFIG);
    let line = "race flowers.toml --set train.epochs=1000000 --limit 0.3 --json";
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
    let line = "race flowers.toml --methods backprop,forward-difference/full --set train.epochs=600 --limit 600";
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
