//! `nplus1 check` as a user runs it: its output, the errors it finds, and its exit codes.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::gradient_files::{Tensors, read, write};
use crate::support::program::{Workplace, names, text};
use safetensors::tensor::Dtype;
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
l2 = 1e-3
[optimizer]
learning_rate = 0.2
[train]
epochs = 1
batch_size = 10
"#;

type Damage<'a> = &'a dyn Fn(&mut Tensors);

#[test]
fn every_method_has_a_row_with_its_errors_and_those_of_each_layer() {
    let folder = Workplace::new(CONFIG);
    let document = folder.report("check flowers.toml --json");
    assert_eq!(document["passed"], true);
    assert_eq!(document["parameters"], 4 * 5 + 5 + 5 * 3 + 3);
    assert_eq!(document["batch_rows"], 10);
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1 + 2 * (2 * 4 + 2 + 2 + 1) + 2 * 2 * 2);
    let find = |asked: [&str; 4]| {
        let keys = ["method", "evaluation", "arithmetic", "precision"];
        rows.iter()
            .find(|row| {
                keys.iter()
                    .zip(asked)
                    .all(|(key, value)| row[*key] == value)
            })
            .unwrap_or_else(|| panic!("{asked:?}"))
    };
    for method in ["forward-difference", "central-difference"] {
        for precision in ["f32", "f64"] {
            for (evaluation, arithmetic) in [
                ("full", "plain"),
                ("prefix", "plain"),
                ("incremental", "plain"),
                ("incremental", "cancellation-free"),
            ] {
                let row = find([method, evaluation, arithmetic, precision]);
                assert_eq!(row["increment"], "auto");
                assert_eq!(row["layers"].as_array().unwrap().len(), 2);
                for errors in [row, &row["layers"][0], &row["layers"][1]] {
                    let number = |key: &str| errors[key].as_f64().unwrap();
                    let (error, allowed) = (number("relative_error"), number("allowed"));
                    assert!(0.0 < error && error < allowed && allowed < 1.0, "{row}");
                    assert!(number("max_absolute_error") > 0.0);
                    assert!(number("cosine") > 0.999);
                    let at = errors["max_absolute_error_at"].as_str().unwrap();
                    assert!(at.starts_with("layers."), "{at}");
                }
            }
        }
    }
    let exact = |row: &Value| match row["precision"].as_str() {
        Some("f32") => row["relative_error"].as_f64().unwrap() < 1e-6,
        _ => row["relative_error"].as_f64().unwrap() < 1e-14,
    };
    for precision in ["f32", "f64"] {
        let of = |method: &str| -> Vec<&Value> {
            let asked = |row: &&Value| row["method"] == method && row["precision"] == precision;
            rows.iter().filter(asked).collect()
        };
        let forward_mode = of("forward-mode");
        assert_eq!(forward_mode.len(), 2);
        for (row, evaluation) in forward_mode.into_iter().zip(["full", "incremental"]) {
            assert_eq!(row["evaluation"], evaluation);
            assert!(row["increment"].is_null() && exact(row), "{row}");
        }
        let nodes = of("node-perturbation");
        assert_eq!(nodes.len(), 2);
        for (row, arithmetic) in nodes.into_iter().zip(["plain", "cancellation-free"]) {
            assert_eq!(
                (&row["arithmetic"], &row["increment"]),
                (&arithmetic.into(), &"auto".into())
            );
            assert_eq!(exact(row), arithmetic == "cancellation-free", "{row}");
        }
        let numeric = of("numeric-backprop");
        assert_eq!(numeric.len(), 1);
        assert!(
            numeric[0]["increment"] == "auto" && !exact(numeric[0]),
            "{}",
            numeric[0]
        );
    }
    let backprop = &rows[0];
    assert_eq!(
        (&backprop["method"], &backprop["precision"]),
        (&"backprop".into(), &"f32".into())
    );
    assert!(backprop["relative_error"].as_f64().unwrap() < 1e-6);
}

#[test]
fn the_table_has_a_line_per_method_and_ends_with_the_verdict() {
    let folder = Workplace::new(CONFIG);
    let output = folder.nplus1("check flowers.toml");
    let table = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(
        table.lines().filter(|line| line.ends_with(" ok")).count(),
        35,
        "{table}"
    );
    assert!(
        table.ends_with("all within what truncation and round-off allow\n"),
        "{table}"
    );
    for word in [
        "4-5-3, 43 parameters",
        "cancellation-free",
        "layers.0.weight[",
    ] {
        assert!(table.contains(word), "{table}");
    }
}

#[test]
fn a_saved_gradient_passes_against_in_either_precision_and_with_pytorch_s_names() {
    let folder = Workplace::new(CONFIG);
    let at = |name: &str| folder.path().join(name);
    folder.report("check flowers.toml --json --save g.safetensors");
    let tensors = read(&at("g.safetensors"));
    let names: Vec<&str> = tensors.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "layers.0.bias",
            "layers.0.weight",
            "layers.1.bias",
            "layers.1.weight"
        ]
    );
    assert_eq!(tensors[1].1, [5, 4]);
    write(&at("single.safetensors"), &tensors, Dtype::F32);
    let mut renamed = tensors.clone();
    for (name, ..) in &mut renamed {
        *name = name.replace("layers.0", "0").replace("layers.1", "2");
    }
    write(&at("sequential.safetensors"), &renamed, Dtype::F64);
    for (file, precision) in [("g", "f64"), ("single", "f32"), ("sequential", "f64")] {
        let line = format!("check flowers.toml --json --against {file}.safetensors");
        let against = &folder.report(&line)["against"];
        assert_eq!(
            (&against["passed"], &against["precision"]),
            (&true.into(), &precision.into())
        );
        assert_eq!(against["layers"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn one_wrong_element_of_an_external_gradient_is_named() {
    let folder = Workplace::new(CONFIG);
    folder.report("check flowers.toml --json --save g.safetensors");
    let path: PathBuf = folder.path().join("g.safetensors");
    let right = read(&path);
    for (tensor, element, factor, dtype, name) in [
        (1, 7, 1.001, Dtype::F32, "layers.0.weight[1, 3]"),
        (3, 14, 1.000_001, Dtype::F64, "layers.1.weight[2, 4]"),
        (2, 1, -1.0, Dtype::F64, "layers.1.bias[1]"),
        (0, 4, f64::NAN, Dtype::F32, "layers.0.bias[4]"),
    ] {
        let mut wrong = right.clone();
        wrong[tensor].2[element] *= factor;
        write(&path, &wrong, dtype);
        let line = "check flowers.toml --json --against g.safetensors";
        let (document, errors) = folder.document(line, 3);
        assert_eq!(document["passed"], false);
        assert_eq!(document["against"]["excess_at"], name);
        assert!(
            errors.contains(name) && errors.contains("g.safetensors"),
            "{errors}"
        );
        let rows = document["rows"].as_array().unwrap();
        assert!(rows.iter().all(|row| row["passed"] == true));
    }
}

#[test]
fn a_gradient_of_another_network_is_refused_with_names_and_shapes() {
    let folder = Workplace::new(CONFIG);
    folder.report("check flowers.toml --json --save g.safetensors");
    let path = folder.path().join("g.safetensors");
    let right = read(&path);
    let cases: [(Damage, &str); 4] = [
        (
            &|tensors| tensors[1].1 = vec![4, 5],
            "shape [4, 5], but the network has [5, 4]",
        ),
        (
            &|tensors| drop(tensors.remove(2)),
            "tensor layers.1.bias: missing",
        ),
        (
            &|tensors| tensors[0].0 = "fc1.bias".into(),
            "the file holds fc1.bias [5]",
        ),
        (
            &|tensors| tensors.push(("layers.2.bias".into(), vec![1], vec![0.0])),
            "tensor layers.2.bias: not a parameter of the network",
        ),
    ];
    for (damage, message) in cases {
        let mut damaged = right.clone();
        damage(&mut damaged);
        write(&path, &damaged, Dtype::F64);
        let errors = folder.refusal("check flowers.toml --against g.safetensors");
        assert!(errors.contains(message), "{errors}");
        assert!(errors.contains("layers.0.weight [5, 4]"), "{errors}");
    }
}

#[test]
fn a_sweep_has_a_row_per_increment_and_reports_lost_ones() {
    let folder = Workplace::new(CONFIG);
    let document = folder.report("check flowers.toml --json --sweep");
    let sweep = document["sweep"].as_array().unwrap();
    let count = |precision: &str, arithmetic: &str| {
        let asked = |row: &&Value| row["precision"] == precision && row["arithmetic"] == arithmetic;
        sweep.iter().filter(asked).count()
    };
    // Forward and central differences; full with both summations, and incremental; an increment per
    // decade, and six around the best.
    assert_eq!(count("f64", "plain"), 2 * 3 * (14 + 6));
    for precision in ["f32", "f64"] {
        assert_eq!(count(precision, "cancellation-free"), 2 * 30);
    }
    for row in sweep {
        let lost = row["lost"].as_str();
        assert_eq!(lost.is_some(), row["relative_error"].is_null(), "{row}");
        let small = row["increment"].as_f64().unwrap() <= 1e-10;
        if row["evaluation"] == "full" && row["precision"] == "f32" && small {
            assert!(lost.unwrap().contains("layers."), "{row}");
        }
        if row["evaluation"] == "incremental" {
            assert_eq!(lost, None);
        }
    }
    let error = |arithmetic: &str, h: f64| {
        let row = sweep.iter().find(|row| {
            row["precision"] == "f32"
                && row["arithmetic"] == arithmetic
                && row["evaluation"] == "incremental"
                && row["increment"].as_f64() == Some(h)
        });
        row.unwrap()["relative_error"].as_f64().unwrap()
    };
    assert!(error("plain", 1e-3) < error("plain", 1e-1));
    assert!(
        error("plain", 1e-3) < error("plain", 1e-6),
        "the error does not grow at small increments"
    );
    for h in [1e-7, 1e-14, 1e-20, 1e-30] {
        assert!(
            error("cancellation-free", h) < 2e-6,
            "the error grows without cancellation"
        );
    }
}

#[test]
fn a_sweep_reports_predicted_and_measured_errors() {
    let folder = Workplace::new(CONFIG);
    let document = folder.report("check flowers.toml --json --sweep");
    let curves = document["curves"].as_array().unwrap();
    assert_eq!(curves.len(), 2 * 2 * (2 + 1 + 1));
    for curve in curves {
        let figure = |of: &str, key: &str| curve[of][key].as_f64();
        let free = curve["arithmetic"] == "cancellation-free";
        let ratio = |key: &str| Some(figure("predicted", key)? / figure("measured", key)?);
        match ratio("increment") {
            None => assert!(free, "{curve}"),
            Some(best) => assert!(!free && (0.3..3.0).contains(&best), "{best}: {curve}"),
        }
        let floor = ratio("floor").unwrap();
        assert!((0.25..4.0).contains(&floor), "{floor}: {curve}");
        let points = curve["points"].as_array().unwrap();
        assert!(points.len() >= 20);
        for points in points.windows(2) {
            let h = |point: &Value| point["increment"].as_f64().unwrap();
            assert!(h(&points[0]) > h(&points[1]));
        }
        for point in points {
            assert_eq!(point["measured"].is_null(), point["predicted"].is_null());
        }
    }
    let oracle = &document["oracle"];
    assert_eq!(
        (&oracle["method"], &oracle["evaluations"]),
        (&"complex-step".into(), &document["parameters"])
    );
    assert!(oracle["relative_error"].as_f64().unwrap() < 1e-14);
    let short = text(&folder.nplus1("check flowers.toml --sweep").stdout);
    assert!(
        short.starts_with("all within what truncation and round-off allow\n"),
        "{short}"
    );
    assert!(
        short.lines().count() < 90 && short.contains("-v lists them"),
        "{short}"
    );
    let table = text(&folder.nplus1("check flowers.toml --sweep -v").stdout);
    assert!(table.lines().count() > 150);
    for words in [
        "forward-difference in f32, h",
        "central-difference in f64, h",
        "full, losses",
        "lowest of",
        "no V",
        "complex step, 43 passes: backprop in f64 is",
    ] {
        assert!(table.contains(words), "{words}: {table}");
    }
}

#[test]
fn noise_based_increments_and_extrapolation_are_among_the_methods() {
    let folder = Workplace::new(CONFIG);
    let find = |document: &Value, asked: [&str; 4]| {
        let keys = ["method", "precision", "increment", "extrapolation"];
        let mut rows = document["rows"].as_array().unwrap().iter();
        let found = rows.find(|row| {
            keys.iter()
                .zip(asked)
                .all(|(key, value)| row[*key] == value)
        });
        found.unwrap_or_else(|| panic!("{asked:?}"))["relative_error"]
            .as_f64()
            .unwrap()
    };
    let document = folder.report("check flowers.toml --json");
    for precision in ["f32", "f64"] {
        for method in ["forward-difference", "central-difference"] {
            let plain = find(&document, [method, precision, "auto", "none"]);
            let measured = find(&document, [method, precision, "noise", "none"]);
            let extrapolated = find(&document, [method, precision, "auto", "richardson"]);
            assert!(measured < 10.0 * plain, "{measured:e}, {plain:e}");
            assert!(extrapolated < plain, "{extrapolated:e}, {plain:e}");
        }
    }
    // A config with such a method adds a row for it.
    let asked = "--set gradient.method=\"central-difference\" --set gradient.evaluation=\"full\"";
    let more = "--set gradient.increment=\"noise\" --set gradient.extrapolation=\"richardson\"";
    let line = format!("check flowers.toml --json {asked} {more}");
    let document = folder.report(&line);
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 36);
    let own = rows.last().unwrap();
    for (key, value) in [
        ("evaluation", "full"),
        ("increment", "noise"),
        ("extrapolation", "richardson"),
    ] {
        assert_eq!(own[key], value);
    }
}

/// An increment of 1e-7 is far too small for f32: the error is near the gradient's own size.
#[test]
fn a_bound_above_a_tenth_of_the_gradient_is_no_verdict() {
    let folder = Workplace::new(CONFIG);
    let line = "check flowers.toml --set gradient.method=\"central-difference\" --set gradient.increment=1e-6";
    let document = folder.report(&format!("{line} --json"));
    let mut undecided = 0;
    for row in document["rows"].as_array().unwrap() {
        if row["lost"].is_string() {
            assert!(row["passed"].is_null(), "{row}");
            continue;
        }
        let allowed = row["allowed"].as_f64().unwrap_or(f64::INFINITY);
        let expected = if allowed > 0.1 {
            Value::Null
        } else {
            true.into()
        };
        assert_eq!(row["passed"], expected, "{row}");
        undecided += u64::from(row["passed"].is_null());
    }
    assert!(undecided > 0);
    assert_eq!(
        (&document["cannot_tell"], &document["passed"]),
        (&undecided.into(), &true.into())
    );
    let table = text(&folder.nplus1(line).stdout);
    assert!(
        table.contains(" cannot tell\n") && table.contains("nothing is wrong, but"),
        "{table}"
    );
}

#[test]
fn directions_check_backprop_without_a_gradient_by_differences() {
    let folder = Workplace::new(CONFIG);
    let document = folder.report("check flowers.toml --json --directions 6");
    let rows = document["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["evaluation"].is_null()));
    assert_eq!(rows.len(), 1 + 2 * (1 + 2), "what costs no N passes");
    let directions = document["directions"].as_array().unwrap();
    assert_eq!(directions.len(), 4);
    for row in directions {
        assert_eq!(
            (&row["directions"], &row["passed"]),
            (&6.into(), &true.into())
        );
        let missed = row["missed"].as_array().unwrap();
        let figure = |key: &str| missed.iter().map(|of| of[key].as_f64().unwrap()).collect();
        let (sizes, probabilities): (Vec<f64>, Vec<f64>) =
            (figure("relative_error"), figure("probability"));
        assert_eq!(sizes[..2], [1e-1, 1e-2]);
        assert!(probabilities.is_sorted() && probabilities.iter().all(|&p| p <= 1.0));
        assert!(
            row["precision"] == "f32" || probabilities[1] < 1e-6,
            "{row}"
        );
    }
}

#[test]
fn a_random_direction_method_is_compared_with_the_derivatives_along_its_directions() {
    let folder = Workplace::new(CONFIG);
    for (method, more, allowed) in [
        ("spsa", "", 1e-1),
        ("spsa", "--set model.precision=\"f64\"", 1e-5),
        ("forward-gradient", "", 1e-3),
        (
            "forward-gradient",
            "--set gradient.perturbed=\"activations\" --set gradient.distribution=\"gaussian\"",
            1e-3,
        ),
    ] {
        let line = format!(
            "check flowers.toml --json --directions 6 --set gradient.method=\"{method}\" --set gradient.directions=3 {more}"
        );
        let document = folder.report(&line);
        let row = &document["estimate"];
        assert_eq!(
            (&row["method"], &row["directions"], &row["passed"]),
            (&method.into(), &6.into(), &true.into()),
            "{document}"
        );
        assert_eq!(row["increment"].is_null(), method == "forward-gradient");
        let figure = |key: &str| row[key].as_f64().unwrap();
        assert!(figure("relative_error") <= figure("allowed"), "{row}");
        assert!(figure("allowed") <= allowed, "{row}");
        assert!(row["missed"].as_array().unwrap().is_empty());
    }
    let document = folder.report("check flowers.toml --json --directions 6");
    assert!(document["estimate"].is_null());
    // An increment that changes no weight is refused, as in training.
    let errors = folder.refusal(
        "check flowers.toml --set gradient.method=\"spsa\" --set gradient.increment=1e-20",
    );
    assert!(errors.contains("is lost in"), "{errors}");
    assert!(!errors.contains("incremental"), "{errors}");
}

#[test]
fn slow_a_network_too_large_for_n_passes_is_checked_along_directions_with_a_note() {
    let folder = Workplace::new(CONFIG);
    let line = "check flowers.toml --json --rows 2 --set data.dataset=\"mnist\" --set data.test=0 --set model.hidden=[400]";
    let config = CONFIG
        .replace("\"iris\"", "\"mnist\"")
        .replace("test = 30\n", "");
    folder.write("flowers.toml", &config);
    let line = line.replace(" --set data.dataset=\"mnist\" --set data.test=0", "");
    let (document, errors) = folder.document(&line, 0);
    assert!(document["directions"].as_array().unwrap().len() == 4);
    let note = document["note"].as_str().unwrap();
    assert!(
        note.contains("20 random directions") && note.contains("--full"),
        "{note}"
    );
    assert!(errors.contains(note), "{errors}");
    let evaluations: Vec<&Value> = document["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["evaluation"])
        .collect();
    assert!(evaluations.contains(&&"incremental".into()) && !evaluations.contains(&&"full".into()));
}

#[test]
fn a_check_uses_the_weights_of_the_given_run_or_file() {
    let folder = Workplace::new(CONFIG);
    let trained = folder.nplus1("train flowers.toml --quiet --out run");
    assert!(trained.status.success());
    let start = folder.report("check flowers.toml --json");
    let run = folder.report("check flowers.toml --json --weights run");
    let file = "check flowers.toml --json --weights run/model.safetensors";
    assert_eq!(folder.report(file), run);
    assert_ne!(run["loss"], start["loss"]);
    let line = "check flowers.toml --weights run --set model.hidden=[6]";
    let errors = folder.refusal(line);
    assert!(
        errors.contains("[4, 5, 3]") && errors.contains("[4, 6, 3]"),
        "{errors}"
    );
}

#[test]
fn invalid_increments_are_refused() {
    let folder = Workplace::new(CONFIG);
    let differences = "check flowers.toml --set gradient.method=\"forward-difference\"";
    for increment in ["0", "-1e-3", "nan", "\"small\""] {
        folder.refusal(&format!(
            "{differences} --set gradient.increment={increment}"
        ));
    }
    let lost =
        format!("{differences} --set gradient.evaluation=\"full\" --set gradient.increment=1e-30");
    let errors = folder.refusal(&lost);
    for word in ["is lost in layers.", "1e-30", "auto", "incremental"] {
        assert!(errors.contains(word), "{errors}");
    }
    // If the config's method can use the increment, the methods that lose it are only reported.
    let fine = format!(
        "{differences} --json --set gradient.arithmetic=\"cancellation-free\" --set gradient.increment=1e-30"
    );
    let document = folder.report(&fine);
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows.iter().filter(|row| row["lost"].is_string()).count(), 8);
}

#[cfg(unix)]
#[test]
fn slow_an_interrupted_check_ends_with_130_and_no_result() {
    let folder = Workplace::new(CONFIG);
    let config = CONFIG
        .replace("\"iris\"", "\"mnist\"")
        .replace("test = 30\n", "");
    folder.write("flowers.toml", &config);
    let child = folder
        .command("check flowers.toml --full --set model.hidden=[300] --json")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_secs(6));
    crate::support::program::send("-INT", &child);
    let output = child.wait_with_output().unwrap();
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{errors}");
    assert_eq!(text(&output.stdout), "");
    // Nothing is saved, and no message says that something is.
    assert!(
        errors.contains("interrupted: ending without a result\n"),
        "{errors}"
    );
    assert!(!errors.contains("sav"), "{errors}");
}

/// The MNIST configs are checked with few rows, so that whole passes are cheap.
#[test]
fn slow_no_config_of_the_repository_raises_an_alarm() {
    let folder = Workplace::new(CONFIG);
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut seen = 0;
    for name in names(&configs) {
        let budget = if name.starts_with("mnist") {
            "--rows 4 --directions 8"
        } else {
            ""
        };
        let config = configs.join(&name);
        let line = format!("check {} --json {budget}", config.display());
        let (document, errors) = folder.document(&line, 0);
        assert_eq!(document["passed"], true, "{name}: {errors}");
        seen += 1;
    }
    assert!(seen > 10);
}
