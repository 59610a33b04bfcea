//! Regression and class weights, from the config to the page and in the library: what is printed is
//! in the units of the targets, and what cannot be right is refused.

use std::fs;

use crate::support::program::{Workplace, text};
use ndarray::{Array2, array};
use nplus1::error::{Error, InputError};
use nplus1::model::{ClassWeights, Loss, OutputUnits};
use nplus1::{Dataset, Model, Trainer};
use serde_json::Value;

/// Two targets far from 0 and of different spread, from three features, and a column of text numbers.
fn table(rows: usize) -> String {
    let mut csv = "size,age,rooms,price,rent\n".to_owned();
    for (size, age, rooms, price, rent) in (0..rows).map(house) {
        csv += &format!("{size},{age},{rooms},{price},{rent}\n");
    }
    csv
}

fn house(row: usize) -> (f64, f64, f64, f64, f64) {
    let hash =
        |salt: usize| ((row * 7919 + salt * 104_729 + row * salt * 31) % 1009) as f64 / 1009.0;
    let (size, age, rooms) = (40.0 + 160.0 * hash(1), 80.0 * hash(2), 1.0 + 5.0 * hash(3));
    let price = 100_000.0 + 2500.0 * size - 900.0 * age + 5000.0 * (rooms * 1.3).sin();
    let rent = 5.5 * size + 40.0 * rooms;
    (size, age, rooms, price, rent)
}

const SETTINGS: &str = "\
[model]
hidden = [6]
[optimizer]
kind = 'lbfgs'
[train]
epochs = 60
";

fn houses(data: &str) -> Workplace {
    let place = Workplace::new(&format!(
        "[data]\ntrain = 'houses.csv'\ntest = 0.25\nnormalize = 'standard'\n{data}\n{SETTINGS}"
    ));
    place.write("houses.csv", &table(240));
    place
}

#[test]
fn two_targets_are_learned_and_every_error_is_in_their_units() {
    let place = houses("targets = ['price', 'rent']\nvalidation = 0.2");
    let summary = place.report("train flowers.toml --out run --json");
    let errors = summary["target_errors"].as_array().unwrap();
    let names: Vec<&str> = errors.iter().map(|e| e["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["price", "rent"]);
    for (errors, deviation) in errors.iter().zip([120_000.0, 260.0]) {
        let [rmse, mae, r2] = ["rmse", "mae", "r2"].map(|name| errors[name].as_f64().unwrap());
        assert!(r2 > 0.99 && r2 <= 1.0, "{errors}");
        // R² = 1 − RMSE²/variance, in the units of the target.
        let implied = deviation * (1.0 - r2).sqrt();
        assert!(rmse > 0.5 * implied && rmse < 2.0 * implied, "{errors}");
        assert!(mae > 0.0 && mae <= rmse, "{errors}");
    }
    assert_eq!(summary["test_accuracy"], Value::Null);
    assert!(summary["test_r2"].as_f64().unwrap() > 0.99);
    let line: Value = {
        let metrics = fs::read_to_string(place.path().join("run/metrics.jsonl")).unwrap();
        serde_json::from_str(metrics.lines().last().unwrap()).unwrap()
    };
    assert!(line["validation_r2"].as_f64().unwrap() > 0.99, "{line}");

    let evaluation = place.report("eval run --json");
    assert_eq!(
        evaluation["regression"]["targets"],
        summary["target_errors"]
    );
    let shown = text(&place.nplus1("eval run").stdout);
    assert!(
        shown.contains("(price)") && shown.contains("(rent)"),
        "{shown}"
    );
    // Every row of the file, found by the targets' names.
    let all = place.report("eval run/model.safetensors --data houses.csv --json");
    assert_eq!(all["rows"], 240);
    assert_eq!(all["regression"]["targets"][1]["name"], "rent");

    let page = fs::read_to_string(place.path().join("run/report.html")).unwrap();
    for title in [
        "Predicted against true: price",
        "Residuals: rent",
        "validation R²",
    ] {
        assert!(page.contains(title), "{title}");
    }
}

#[test]
fn the_label_column_can_be_the_number_to_predict() {
    for data in [
        "task = 'regression'",
        "task = 'regression'\nlabel = 'rent'",
        "targets = ['4']",
    ] {
        let place = houses(data);
        let summary = place.report("train flowers.toml --out run --json");
        let errors = &summary["target_errors"][0];
        assert_eq!(errors["name"], "rent", "{data}");
        assert!(errors["rmse"].as_f64().unwrap() < 20.0, "{errors}");
        assert_eq!(summary["sizes"], serde_json::json!([4, 6, 1]));
    }
}

#[test]
fn a_resumed_regression_has_the_bits_of_one_that_was_not_interrupted() {
    let place = houses("targets = ['price']");
    let whole = place.report("train flowers.toml --out whole --set train.epochs=20 --json");
    place.report("train flowers.toml --out part --set train.epochs=7 --json");
    let resumed = place.report("train --resume part --set train.epochs=20 --json");
    assert_eq!(resumed["weights_sha256"], whole["weights_sha256"]);
    assert_eq!(resumed["target_errors"], whole["target_errors"]);
}

#[test]
fn folds_and_seeds_of_a_regression_report_r2() {
    let place = houses("targets = ['price']");
    let config = fs::read_to_string(place.path().join("flowers.toml")).unwrap();
    place.write("flowers.toml", &config.replace("test = 0.25", "folds = 4"));
    let folded = place.report("train flowers.toml --out run --json");
    assert_eq!(folded["test_accuracy"], Value::Null);
    assert!(folded["test_r2"].as_f64().unwrap() > 0.98, "{folded}");
    assert!(folded["target_errors"][0]["rmse"].as_f64().unwrap() < 20_000.0);
    let rows: u64 = (1..=4)
        .map(|fold| {
            let path = place
                .path()
                .join(format!("run/fold-{fold:02}/evaluation.json"));
            let text = fs::read_to_string(path).unwrap();
            serde_json::from_str::<Value>(&text).unwrap()["rows"]
                .as_u64()
                .unwrap()
        })
        .sum();
    assert_eq!(rows, 240);
    let output = place.nplus1("train flowers.toml --seeds 1..2 --set train.epochs=3");
    let shown = text(&output.stdout);
    assert!(
        output.status.success() && shown.contains("mean test R²"),
        "{shown}"
    );
}

#[test]
fn measurements_are_refused_as_classes_unless_the_config_says_that_they_are() {
    let place = houses("label = 'rent'");
    let message = place.refusal("train flowers.toml --out run");
    for part in [
        "houses.csv",
        "240 rows",
        "measurements",
        "task = \"regression\"",
        "task = \"classification\"",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let summary = place.report(
        "train flowers.toml --out run --set data.task=classification --set train.epochs=1 --json",
    );
    assert!(summary["sizes"][2].as_u64().unwrap() > 50, "{summary}");

    // Integers of which each occurs twice are measurements as well; 60 classes of 12 rows are not.
    let integers = |of: &dyn Fn(usize) -> usize, rows: usize| {
        let line = |row: usize| format!("{},{}\n", row % 7, of(row));
        (0..rows).map(line).collect::<String>()
    };
    place.write("houses.csv", &integers(&|row| row / 2 + 100, 240));
    let unlabeled = "train flowers.toml --out more --set data.label=1 --set train.epochs=1";
    let message = place.failure(unlabeled, 2);
    assert!(
        message.contains("120 distinct numbers from 100 to 219"),
        "{message}"
    );
    place.write("houses.csv", &integers(&|row| row % 60, 720));
    place.report(&format!("{unlabeled} --json"));
}

#[test]
fn targets_that_cannot_be_right_are_refused_with_the_way_out() {
    let cases = [
        ("targets = ['pries']", "did you mean"),
        ("targets = ['price', 'price']", "twice"),
        ("targets = ['9']", "no column 9: the columns are 0…4"),
        ("targets = []", "targets"),
        (
            "targets = ['size', 'age', 'rooms', 'price', 'rent']",
            "every column is a target",
        ),
        ("task = 'regresion'", "did you mean"),
        (
            "task = 'classification'\ntargets = ['price']",
            "remove `targets`",
        ),
        ("label = 'rent'\ntargets = ['price']", "keep `targets`"),
        (
            "targets = ['price']\n[loss]\nkind = 'cross-entropy'",
            "for classes, not for numbers",
        ),
        (
            "targets = ['price']\n[loss]\nclass_weights = 'balanced'",
            "remove `class_weights`",
        ),
    ];
    for (data, expected) in cases {
        let place = houses(data);
        let message = place.refusal("train flowers.toml --out run");
        assert!(message.contains(expected), "{data}: {message}");
    }
    let place = houses("targets = ['price']");
    let output = place.refusal("train flowers.toml --out run --set model.output=sigmoid");
    assert!(output.contains("linear"), "{output}");
    place.write("houses.csv", &(table(20) + "1,2,3,cheap,5\n"));
    let message = place.refusal("train flowers.toml --out run");
    assert!(
        message.contains("line 22, column 4 (price)") && message.contains("cheap"),
        "{message}"
    );
    let place = Workplace::new(
        "data.dataset = 'iris'\ndata.task = 'regression'\nmodel.hidden = []\noptimizer.kind = 'lbfgs'\ntrain.epochs = 1\n",
    );
    let message = place.refusal("train flowers.toml --out run");
    assert!(
        message.contains("classes, no numbers to predict"),
        "{message}"
    );
    let place = Workplace::new(
        "data.dataset = 'diabetes'\nmodel.hidden = []\noptimizer.learning_rate = 1e-2\ntrain.epochs = 1\n",
    );
    let message = place.refusal("race flowers.toml --limit 1 --out race");
    assert!(message.contains("compares accuracies"), "{message}");
}

#[test]
fn the_check_and_the_cost_know_regressions_and_class_weights() {
    let place = houses("targets = ['price', 'rent']\nlimit = 20");
    place.report("check flowers.toml --json");
    let rows = place.report("cost flowers.toml --json");
    assert!(!rows["rows"].as_array().unwrap().is_empty());
    let place = rare();
    for kind in ["logistic", "quadratic", "cross-entropy"] {
        place.report(&format!(
            "check flowers.toml --json --set loss.kind={kind} --set data.limit=20"
        ));
    }
}

/// Two overlapping classes, of which the second has one row in 20.
fn rare() -> Workplace {
    let place = Workplace::new(
        "[data]\ntrain = 'rare.csv'\ntest = 0.5\nnormalize = 'standard'\n[model]\nhidden = []\n[loss]\nkind = 'logistic'\nclass_weights = 'balanced'\n[optimizer]\nkind = 'lbfgs'\n[train]\nepochs = 60\n",
    );
    let mut csv = "a,b,kind\n".to_owned();
    for row in 0..2000usize {
        let hash = |salt: usize| {
            ((row * 7919 + salt * 104_729 + row * salt * 31) % 1009) as f64 / 1009.0 - 0.5
        };
        let is_rare = row % 20 == 0;
        let shift = if is_rare { 0.35 } else { 0.0 };
        let kind = if is_rare { "rare" } else { "common" };
        csv += &format!("{},{},{kind}\n", hash(1) + shift, hash(2) + shift);
    }
    place.write("rare.csv", &csv);
    place
}

#[test]
fn balanced_weights_raise_the_recall_of_the_rare_class() {
    let place = rare();
    let recall = |arguments: &str| {
        let summary = place.report(&format!("train flowers.toml --json {arguments}"));
        let rarest = &summary["rarest_class"];
        assert_eq!(rarest["name"], "rare");
        assert_eq!(rarest["share"], 0.05);
        rarest["recall"].as_f64().unwrap()
    };
    let balanced = recall("--out balanced");
    let given = recall("--out given --set loss.class_weights=[1,19]");
    place.write(
        "plain.toml",
        &fs::read_to_string(place.path().join("flowers.toml"))
            .unwrap()
            .replace("class_weights = 'balanced'\n", ""),
    );
    let plain = place.report("train plain.toml --out plain --json");
    let plain = plain["rarest_class"]["recall"].as_f64().unwrap();
    assert!(
        balanced > 0.7 && plain < balanced - 0.3,
        "{balanced} {plain}"
    );
    // The same ratio of weights, so the same minimum.
    assert!((given - balanced).abs() < 0.02, "{given} {balanced}");
    let shown = text(&place.nplus1("train flowers.toml --out shown").stdout);
    let line = shown
        .lines()
        .find(|line| line.starts_with("rarest class"))
        .unwrap();
    assert!(
        line.contains("rare (5.00 % of the training rows): recall"),
        "{line}"
    );
    let config = fs::read_to_string(place.path().join("given/config.toml")).unwrap();
    assert!(config.contains("class_weights = [1.0, 19.0]"), "{config}");
    // The evaluation of the model weighs as the training did.
    let run = place.report("eval balanced --json");
    let summary = fs::read_to_string(place.path().join("balanced/summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(run["loss"], summary["test_loss"]);
    for (weights, expected) in [
        ("[1,2,3]", "2 classes"),
        ("[1]", "2 to 1000 numbers"),
        ("[1,0]", "above 0"),
        ("even", "balanced"),
    ] {
        let message = place.refusal(&format!(
            "train flowers.toml --out refused --set loss.class_weights={weights}"
        ));
        assert!(message.contains(expected), "{weights}: {message}");
    }
}

fn arrays(rows: usize) -> (Array2<f64>, Array2<f64>) {
    let houses: Vec<_> = (0..rows).map(house).collect();
    let x = Array2::from_shape_fn((rows, 3), |(row, at)| {
        let (size, age, rooms, ..) = houses[row];
        [size, age, rooms][at]
    });
    let y = Array2::from_shape_fn((rows, 2), |(row, at)| {
        let (.., price, rent) = houses[row];
        [price, rent][at]
    });
    (x, y)
}

#[test]
fn the_library_predicts_numbers_in_the_units_of_the_targets() {
    let (x, y) = arrays(300);
    let data = Dataset::from_arrays_regression(x.view(), y.view(), &["price", "rent"]).unwrap();
    let trained = Trainer::new()
        .hidden([8])
        .learning_rate(0.1)
        .epochs(60)
        .fit(&data)
        .unwrap();
    assert_eq!(trained.model.network.output, OutputUnits::Linear);
    let predicted = trained.predict_numbers(x.view()).unwrap();
    assert_eq!(predicted.dim(), (300, 2));
    let evaluated = trained.evaluate(&data).unwrap().regression.unwrap();
    assert_eq!(evaluated.predicted, predicted);
    for (target, deviation) in evaluated.targets.iter().zip([120_000.0, 260.0]) {
        assert!(
            target.rmse < 0.15 * deviation && target.r2 > 0.97,
            "{target:?}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("houses.safetensors");
    trained.save(&path).unwrap();
    let loaded = Model::load(&path).unwrap();
    assert_eq!(loaded.predict_numbers(x.view()).unwrap(), predicted);
    assert_eq!(loaded.scaling.targets.unwrap().names, ["price", "rent"]);

    let other_task = |result: Result<(), Error>| match result {
        Err(Error::Input(InputError::OtherTask(message))) => message,
        other => panic!("{other:?}"),
    };
    let message = other_task(trained.predict(x.view()).map(drop));
    assert!(message.contains("predict_numbers"), "{message}");
    other_task(trained.predict_proba(x.view()).map(drop));
    let classes = Dataset::from_arrays(array![[1.0, 2.0, 3.0], [2.0, 3.0, 5.0]].view(), &[0, 1]);
    other_task(trained.evaluate(&classes.unwrap()).map(drop));
}

#[test]
fn the_library_refuses_targets_and_weights_that_do_not_fit() {
    let (x, mut y) = arrays(30);
    let names = ["price", "rent"];
    let make = |y: &Array2<f64>, names: &[&str]| {
        Dataset::from_arrays_regression(x.view(), y.view(), names)
    };
    for (result, expected) in [
        (
            make(&y, &names[..1]),
            "2 numbers to predict in each row, but 1 names",
        ),
        (
            make(&arrays(29).1, &names),
            "30 rows of features, but 29 rows",
        ),
        (
            {
                y[[4, 1]] = f64::NAN;
                make(&y, &names)
            },
            "row 4, target 1",
        ),
    ] {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let data = make(&arrays(30).1, &names).unwrap();
    for trainer in [
        Trainer::new().loss(Loss::CrossEntropy),
        Trainer::new().output(OutputUnits::Sigmoid),
        Trainer::new().class_weights(ClassWeights::Balanced),
    ] {
        assert!(matches!(
            trainer.fit(&data),
            Err(Error::Input(InputError::Conflict(_)))
        ));
    }
}
