//! A regression on a table as it is: texts, missing values, an id, columns in any order. Answers are
//! in the units of the targets and under their names.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::support::program::{Workplace, text};
use ndarray::Array2;
use nplus1::Model;
use serde_json::Value;

const COLUMNS: [&str; 6] = ["id", "price", "size", "town", "age", "rent"];
const ROWS: usize = 120;

/// The cells of a house under [`COLUMNS`]; some sizes and towns are missing.
fn house(row: usize) -> [String; 6] {
    let hash =
        |salt: usize| ((row * 7919 + salt * 104_729 + row * salt * 31) % 1009) as f64 / 1009.0;
    let (size, age) = (40.0 + 160.0 * hash(1), 80.0 * hash(2));
    let town = row * 7 % 3;
    let price = 100_000.0 + 2500.0 * size - 900.0 * age + 60_000.0 * town as f64;
    let rent = 5.5 * size + 150.0 * town as f64;
    let missing = |is_missing: bool, cell: String| if is_missing { String::new() } else { cell };
    [
        format!("house-{row}"),
        price.to_string(),
        missing(row % 29 == 3, size.to_string()),
        missing(row % 31 == 4, ["Ulm", "Bonn", "Jena"][town].to_owned()),
        age.to_string(),
        rent.to_string(),
    ]
}

/// A CSV with these columns of all houses, separated by semicolons.
fn csv(chosen: &[&str], header: bool) -> String {
    let mut lines = Vec::new();
    if header {
        lines.push(chosen.join(";"));
    }
    for row in (0..ROWS).map(house) {
        let cell =
            |name: &&str| row[COLUMNS.iter().position(|column| column == name).unwrap()].clone();
        lines.push(chosen.iter().map(cell).collect::<Vec<String>>().join(";"));
    }
    lines.join("\n") + "\n"
}

/// A run called `run` that was trained on `houses.csv`.
fn trained(data: &str) -> Workplace {
    let place = Workplace::new(&format!(
        "[data]\ntrain = 'houses.csv'\nignore = ['id']\nmissing = 'mean'\nnormalize = 'standard'\n\
         validation = 0.1\ntest = 0.25\n{data}\n[model]\nhidden = [6]\nprecision = 'f64'\n\
         [optimizer]\nkind = 'lbfgs'\n[train]\nepochs = 60\n"
    ));
    place.write("houses.csv", &csv(&COLUMNS, true));
    let summary = place.report("train flowers.toml --out run --no-report --json");
    assert!(summary["test_r2"].as_f64().unwrap() > 0.5, "{summary}");
    place
}

fn answers(place: &Workplace, line: &str) -> String {
    let output = place.nplus1(line);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

const SHUFFLED: [&str; 6] = ["rent", "town", "id", "age", "price", "size"];

#[test]
fn an_evaluation_finds_features_and_targets_by_name() {
    let place = trained("targets = ['price', 'rent']");
    let own = place.report("eval run --json");
    let whole = place.report("eval run --data houses.csv --json");
    place.write("shuffled.csv", &csv(&SHUFFLED, true));
    let mut shuffled = place.report("eval run/model.safetensors --data shuffled.csv --json");
    shuffled["part"] = whole["part"].clone();
    assert_eq!(shuffled, whole);
    // The run's own file may change the order of its columns, too.
    place.write("houses.csv", &csv(&SHUFFLED, true));
    assert_eq!(place.report("eval run --json"), own);

    place.write("less.csv", &csv(&["size", "age", "town", "price"], true));
    let message = place.refusal("eval run --data less.csv");
    assert!(message.contains("no column is called `rent`"), "{message}");
    // Without a header the columns of the training file stand in their order.
    place.write("bare.csv", &csv(&COLUMNS, false));
    let mut bare = place.report("eval run --data bare.csv --json");
    bare["part"] = whole["part"].clone();
    assert_eq!(bare, whole);
}

#[test]
fn predictions_are_in_the_units_of_the_targets_and_under_their_names() {
    let place = trained("targets = ['price', 'rent']");
    let all = answers(&place, "predict run houses.csv");
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!((lines[0], lines.len()), ("price,rent", ROWS + 1));
    let numbers: Vec<Vec<f64>> = lines[1..]
        .iter()
        .map(|line| line.split(',').map(|cell| cell.parse().unwrap()).collect())
        .collect();
    let wrong = |row: usize, target: usize, at: usize| {
        let truth: f64 = house(row)[at].parse().unwrap();
        (numbers[row][target] - truth).abs() / truth
    };
    let near = (0..ROWS).filter(|&row| wrong(row, 0, 1) < 0.1 && wrong(row, 1, 5) < 0.15);
    assert!(near.count() > ROWS * 3 / 4, "{all}");

    // Without targets, in another order, from the model's file, row by row: the same bits.
    place.write("new.csv", &csv(&["town", "size", "age"], true));
    assert_eq!(
        answers(&place, "predict run/model.safetensors new.csv"),
        all
    );
    place.write("bare.csv", &csv(&["size", "town", "age"], false));
    assert_eq!(answers(&place, "predict run bare.csv"), all);
    let mut command = place.command("predict run -");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(csv(&SHUFFLED, true).as_bytes()).unwrap();
    drop(input);
    assert_eq!(text(&child.wait_with_output().unwrap().stdout), all);

    place.nplus1("predict run houses.csv -o out.jsonl");
    let objects = fs::read_to_string(place.path().join("out.jsonl")).unwrap();
    for (line, row) in objects.lines().zip(&numbers) {
        let object: Value = serde_json::from_str(line).unwrap();
        let of = |name: &str| object[name].as_f64().unwrap();
        // The reader of JSON may miss the last bit.
        for (name, number) in ["price", "rent"].into_iter().zip(row) {
            assert!((of(name) - number).abs() <= 1e-15 * number.abs(), "{line}");
        }
    }
    place.nplus1("predict run houses.csv -o out.npy");
    let bytes = fs::read(place.path().join("out.npy")).unwrap();
    let header = String::from_utf8_lossy(&bytes[..128]);
    assert!(header.contains(&format!("({ROWS}, 2)")), "{header}");
    let last = &bytes[bytes.len() - 16 * ROWS..];
    let of_file = last
        .chunks(8)
        .map(|eight| f64::from_le_bytes(eight.try_into().unwrap()));
    assert!(of_file.eq(numbers.iter().flatten().copied()));

    let model = Model::load(place.path().join("run/model.safetensors")).unwrap();
    let rows = model.read_rows(place.path().join("new.csv")).unwrap();
    let expected: Vec<f64> = numbers.into_iter().flatten().collect();
    let expected = Array2::from_shape_vec((ROWS, 2), expected).unwrap();
    assert_eq!(model.predict_numbers(rows.view()).unwrap(), expected);
    assert!(model.predict(rows.view()).is_err());

    let message = place.refusal("predict run houses.csv --probabilities");
    assert!(message.contains("predicts numbers"), "{message}");
    place.write("foreign.csv", "town,size,age\nParis,100,3\n");
    let message = place.refusal("predict run foreign.csv");
    assert!(message.contains("`Paris`"), "{message}");
}

#[test]
fn a_label_can_be_the_number_and_missing_ones_are_refused_or_dropped() {
    let place = trained("label = 'price'\ntask = 'regression'");
    let all = answers(&place, "predict run houses.csv");
    assert_eq!(all.lines().next(), Some("price"));
    let table = csv(&COLUMNS, true) + "last;;100;Ulm;3;500\n";
    place.write("houses.csv", &table);
    let line = "train flowers.toml --out more --no-report --json";
    let message = place.refusal(line);
    assert!(
        message.contains("(price)") && message.contains("missing = \"drop\""),
        "{message}"
    );
    let summary = place.report(&format!("{line} --set data.missing=drop"));
    assert!(summary["test_r2"].as_f64().unwrap() > 0.5, "{summary}");
}

#[test]
fn a_table_with_a_number_to_predict_is_described_and_configured_as_a_regression() {
    let place = Workplace::new("");
    place.write("houses.csv", &csv(&COLUMNS, true));
    let document = place.report("data describe houses.csv --label price --json");
    assert_eq!(document["task"], "regression");
    assert_eq!(document["classes"].as_array().unwrap().len(), 0);
    let shown = answers(&place, "data describe houses.csv --label price");
    assert!(shown.contains("task = \"regression\""), "{shown}");
    let document = place.report("data describe houses.csv --label town --json");
    assert_eq!(document["task"], "classification");
    place.nplus1("config init houses.toml --data houses.csv --label price");
    let config = fs::read_to_string(place.path().join("houses.toml")).unwrap();
    for line in [
        "label = \"price\"",
        "task = \"regression\"",
        "ignore = [\"id\"]",
    ] {
        assert!(config.contains(line), "{line}: {config}");
    }
    let summary = place.report("train houses.toml --out run --no-report --json");
    assert!(summary["test_r2"].as_f64().unwrap() > 0.5, "{summary}");
}

#[test]
fn a_model_without_columns_takes_them_in_their_order_and_says_so() {
    let place = Workplace::new("");
    let x = Array2::from_shape_fn((40, 2), |(row, column)| ((row * (column + 3)) % 17) as f64);
    let y = Array2::from_shape_fn((40, 1), |(row, _)| 3.0 * x[[row, 0]] - x[[row, 1]]);
    let data = nplus1::Dataset::from_arrays_regression(x.view(), y.view(), &["gain"]).unwrap();
    let fit = nplus1::Trainer::new()
        .hidden([])
        .epochs(3)
        .fit(&data)
        .unwrap();
    fit.model
        .save(place.path().join("old.safetensors"))
        .unwrap();
    let mut table = "first,gain,second\n".to_owned();
    for (x, y) in x.rows().into_iter().zip(&y) {
        table += &format!("{},{y},{}\n", x[0], x[1]);
    }
    place.write("table.csv", &table);
    let output = place.nplus1("predict old.safetensors table.csv");
    let errors = text(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("knows no column names"), "{errors}");
    let shown = text(&output.stdout);
    let shown: Vec<&str> = shown.lines().collect();
    assert_eq!((shown[0], shown.len()), ("gain", 41));
    let numbers = fit.model.predict_numbers(x.view()).unwrap();
    assert_eq!(shown[1].parse::<f64>().unwrap(), numbers[[0, 0]]);
    let evaluation = place.report("eval old.safetensors --data table.csv --json");
    assert_eq!(evaluation["rows"], 40);
}
