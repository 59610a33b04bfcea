//! Columns have names: `eval`, `predict`, the library and a stream find them, in any order.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::Stdio;

use crate::support::program::{Workplace, text};
use nplus1::Model;
use nplus1::data::{LoadedData, SearchPaths, catalog};
use serde_json::Value;

const CONFIG: &str = r#"
seed = 3
[data]
train = "wine.csv"
label = "kind"
ignore = ["id"]
test = 0.3
normalize = "standard"
[model]
hidden = [6]
output = "softmax"
[optimizer]
learning_rate = 0.2
[train]
epochs = 6
"#;

/// The columns of `wine.csv`: an id, the label in the middle, and 13 features.
fn names() -> Vec<String> {
    let mut names: Vec<String> = (0..13).map(|feature| format!("f{feature}")).collect();
    names.insert(5, "kind".to_owned());
    names.insert(0, "id".to_owned());
    names
}

/// The cells of the wine dataset under [`names`].
fn rows() -> Vec<Vec<String>> {
    let (train, test) = catalog::load("wine", &SearchPaths::new(None)).unwrap();
    let data = LoadedData { train, test }.train;
    let row = |row: usize| {
        let value = |feature| data.features.value(row, feature).to_string();
        let mut cells: Vec<String> = (0..13).map(value).collect();
        cells.insert(5, data.class_names[usize::from(data.labels[row])].clone());
        cells.insert(0, format!("bottle-{row}"));
        cells
    };
    (0..data.rows()).map(row).collect()
}

/// A CSV with the columns called `chosen`, separated by `separator`; an unknown one is empty.
fn csv(chosen: &[&str], separator: &str, header: bool) -> String {
    let names = names();
    let mut lines = Vec::new();
    if header {
        lines.push(chosen.join(separator));
    }
    for row in rows() {
        let cell = |name: &&str| {
            let at = names.iter().position(|known| known == name);
            at.map_or(String::new(), |at| row[at].clone())
        };
        lines.push(chosen.iter().map(cell).collect::<Vec<_>>().join(separator));
    }
    lines.join("\n") + "\n"
}

/// A workplace with `wine.csv`, and a model trained on it in `run`.
fn trained() -> Workplace {
    let place = Workplace::new(CONFIG);
    let names = names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    place.write("wine.csv", &csv(&names, ",", true));
    place.report("train flowers.toml --out run --no-report --json");
    place
}

fn reversed() -> Vec<String> {
    let mut names = names();
    names.reverse();
    names.insert(3, "extra".to_owned());
    names
}

/// The answer of `predict` on `file` with probabilities, as JSON.
fn predictions(place: &Workplace, file: &str) -> Value {
    let line = format!("predict run {file} --probabilities --json");
    place.report(&line)["predictions"].clone()
}

#[test]
fn predictions_are_the_same_bits_for_columns_in_any_order_by_every_way() {
    let place = trained();
    let reversed = reversed();
    let reversed: Vec<&str> = reversed.iter().map(String::as_str).collect();
    let unlabeled: Vec<&str> = reversed
        .iter()
        .copied()
        .filter(|name| name.starts_with('f'))
        .collect();
    place.write("reversed.csv", &csv(&reversed, ";", true));
    place.write("unlabeled.csv", &csv(&unlabeled, "\t", true));
    let expected = predictions(&place, "wine.csv");
    assert_eq!(expected.as_array().unwrap().len(), 178);
    assert_eq!(expected[0].as_object().unwrap().len(), 4);
    assert_eq!(predictions(&place, "reversed.csv"), expected);
    assert_eq!(predictions(&place, "unlabeled.csv"), expected);
    // Without a header in the order of the training file, with and without its other columns.
    let all = names();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let features: Vec<&str> = all
        .iter()
        .copied()
        .filter(|name| name.starts_with('f'))
        .collect();
    let without_label: Vec<&str> = all.iter().copied().filter(|name| *name != "kind").collect();
    for (file, columns) in [("a", &all), ("b", &features), ("c", &without_label)] {
        place.write(file, &csv(columns, ",", false));
        assert_eq!(predictions(&place, file), expected, "{file}");
    }
    // The library.
    let model = Model::load(place.path().join("run/model.safetensors")).unwrap();
    let inputs = model.read_rows(place.path().join("reversed.csv")).unwrap();
    let probabilities = model.predict_proba(inputs.view()).unwrap();
    let classes = model.predict(inputs.view()).unwrap();
    for (row, class) in classes.iter().enumerate() {
        assert_eq!(expected[row]["kind"], *class);
        for (class, name) in model.class_names.iter().enumerate() {
            let number = expected[row][format!("p_{name}")].as_f64().unwrap();
            assert_eq!(probabilities[[row, class]].to_bits(), number.to_bits());
        }
    }
    // A stream.
    for file in ["reversed.csv", "unlabeled.csv"] {
        let input = fs::File::open(place.path().join(file)).unwrap();
        let mut command = place.command("predict run - --probabilities --json");
        let output = command.stdin(input).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["predictions"], expected, "{file}");
    }
}

#[test]
fn eval_finds_columns_by_name_and_the_label_of_the_config() {
    let place = trained();
    let expected = place.report("eval run --data wine.csv --json");
    assert!(expected["accuracy"].as_f64().unwrap() > 0.8, "{expected}");
    let tested = place.report("eval run --json");
    let reversed = reversed();
    let reversed: Vec<&str> = reversed.iter().map(String::as_str).collect();
    place.write("reversed.csv", &csv(&reversed, ",", true));
    let output = place.nplus1("eval run --data reversed.csv --json");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    for key in ["loss", "accuracy", "confusion"] {
        assert_eq!(found[key], expected[key], "{key}");
    }
    let errors = text(&output.stderr);
    assert!(errors.contains("ignored extra"), "{errors}");
    // Without a header: the label is where it was.
    let all = names();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    place.write("bare.csv", &csv(&all, ",", false));
    let found = place.report("eval run --data bare.csv --json");
    assert_eq!(found["loss"], expected["loss"]);
    // The file of the run itself, written in another order.
    place.write("wine.csv", &csv(&reversed, ",", true));
    let found = place.report("eval run --json");
    assert_eq!(found["loss"], tested["loss"]);
}

#[test]
fn tables_that_do_not_fit_the_model_are_refused() {
    let place = trained();
    let features: Vec<String> = (0..13).map(|feature| format!("f{feature}")).collect();
    let mut columns: Vec<&str> = features.iter().map(String::as_str).collect();
    place.write("bare.csv", &csv(&columns, ",", true));
    // `eval` without a label must not take a feature for it.
    let errors = place.refusal("eval run --data bare.csv");
    for part in ["bare.csv, line 1", "no column is called `kind`", "predict"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    place.write("unnamed.csv", &csv(&columns, ",", false));
    let errors = place.refusal("eval run --data unnamed.csv");
    assert!(errors.contains("features per row, but"), "{errors}");
    columns[3] = "F-3";
    place.write("renamed.csv", &csv(&columns, ",", true));
    let errors = place.refusal("predict run renamed.csv");
    for part in ["renamed.csv, line 1", "no column is called `f3`", "F-3"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    columns[3] = "f2";
    place.write("twice.csv", &csv(&columns, ",", true));
    let errors = place.refusal("predict run twice.csv -o out.csv");
    assert!(errors.contains("two columns are called `f2`"), "{errors}");
    let narrow = &columns[..7];
    place.write("narrow.csv", &csv(narrow, ",", false));
    let errors = place.refusal("predict run narrow.csv");
    assert!(errors.contains("7 features per row, but"), "{errors}");
    place.write(
        "word.csv",
        &csv(&columns, ",", false).replacen('\n', "\n1,2,x,", 1),
    );
    let errors = place.refusal("predict run word.csv");
    assert!(errors.contains("line 2"), "{errors}");
}

#[test]
fn a_stream_answers_each_row_before_the_next_is_sent() {
    let place = trained();
    let mut command = place.command("predict run -");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let table = csv(
        &names().iter().map(String::as_str).collect::<Vec<_>>(),
        ",",
        true,
    );
    let mut lines = table.lines();
    writeln!(input, "{}", lines.next().unwrap()).unwrap();
    for (row, line) in lines.enumerate().take(5) {
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
        if row == 0 {
            assert_eq!(output.next().unwrap().unwrap(), "kind");
        }
        let answer = output.next().unwrap().unwrap();
        assert!(answer.starts_with("class_"), "{answer}");
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_empty_stream_and_a_bad_row_are_refused() {
    let place = trained();
    let all = names().join(",");
    for (content, parts) in [
        ("", &["standard input", "empty input"][..]),
        ("\n\n", &["empty input"]),
        (&format!("{all}\n"), &["a header, but no rows"]),
        (
            &format!("{all}\n1,2\n"),
            &["line 2, column 3", "2 columns, but line 1 has 15"],
        ),
        (
            &format!("{all}\n,x{}\n", ",1".repeat(13)),
            &["line 2, column 2 (f0)", "`x` is not a number"],
        ),
        (
            &format!("{all}\n,inf{}\n", ",1".repeat(13)),
            &["line 2", "not finite"],
        ),
        (
            &format!("{all}\n,{}\n", ",1".repeat(13)),
            &["line 2", "a missing value"],
        ),
    ] {
        let path = place.path().join("input");
        fs::write(&path, content).unwrap();
        let mut command = place.command("predict run - -o out.csv");
        command.stdin(fs::File::open(&path).unwrap());
        let errors = place.ends(&mut command, 2);
        for part in parts {
            assert!(errors.contains(part), "{part}: {errors}");
        }
        assert!(!place.path().join("out.csv").exists());
    }
}

#[test]
fn answers_are_written_whole_in_the_format_of_the_name() {
    let place = trained();
    let csv = text(&place.nplus1("predict run wine.csv").stdout);
    let classes: Vec<&str> = csv.lines().skip(1).collect();
    assert_eq!((csv.lines().next(), classes.len()), (Some("kind"), 178));
    place.nplus1("predict run wine.csv -o out.csv");
    let read = |name: &str| fs::read(place.path().join(name)).unwrap();
    assert_eq!(text(&read("out.csv")), csv);
    place.nplus1("predict run wine.csv -o out.jsonl --probabilities");
    for (line, class) in text(&read("out.jsonl")).lines().zip(&classes) {
        let row: Value = serde_json::from_str(line).unwrap();
        assert_eq!(row["kind"], *class);
        let shares = (0..3).map(|class| row[format!("p_class_{class}")].as_f64().unwrap());
        assert!((shares.sum::<f64>() - 1.0).abs() < 1e-12);
    }
    place.nplus1("predict run wine.csv -o out.npy");
    let bytes = read("out.npy");
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00") && bytes.len() % 64 == 178 * 7 * 4 % 64);
    assert!(
        text(&bytes[10..128]).contains("'descr': '<U7'"),
        "{}",
        text(&bytes[10..128])
    );
    let errors = place.refusal("predict run wine.csv -o out.txt");
    assert!(errors.contains(".csv, .jsonl or .npy"), "{errors}");
    let errors = place.refusal("predict run wine.csv -o absent/out.csv");
    assert!(errors.contains("no such folder"), "{errors}");
}

#[test]
fn a_run_of_folds_names_its_members() {
    let place = Workplace::new(&CONFIG.replace("test = 0.3", "folds = 3"));
    let names = names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    place.write("wine.csv", &csv(&names, ",", true));
    place.report("train flowers.toml --out run --no-report --json");
    let errors = place.refusal("predict run wine.csv");
    let folds: PathBuf = ["run", "fold-01"].iter().collect();
    assert!(errors.contains(&folds.display().to_string()), "{errors}");
    assert!(errors.contains("fold-03"), "{errors}");
    let document = place.report("predict run/fold-02 wine.csv --json");
    assert_eq!(document["rows"], 178);
}

#[test]
fn a_model_of_before_is_read_and_says_that_it_knows_no_names() {
    let place = trained();
    let path = place.path().join("run/model.safetensors");
    let mut model = Model::load(&path).unwrap();
    model.schema = nplus1::data::Schema::default();
    model.save(place.path().join("old.safetensors")).unwrap();
    let features: Vec<String> = (0..13).map(|feature| format!("f{feature}")).collect();
    let features: Vec<&str> = features.iter().map(String::as_str).collect();
    place.write("features.csv", &csv(&features, ",", true));
    let output = place.nplus1("predict old.safetensors features.csv");
    let errors = text(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("knows no column names"), "{errors}");
    let expected = text(&place.nplus1("predict run wine.csv").stdout);
    assert_eq!(text(&output.stdout).lines().skip(1).count(), 178);
    assert!(
        text(&output.stdout)
            .lines()
            .skip(1)
            .eq(expected.lines().skip(1))
    );
}

#[test]
fn a_resumed_run_needs_the_columns_that_it_began_with() {
    let place = trained();
    let all = names();
    let mut swapped: Vec<&str> = all.iter().map(String::as_str).collect();
    swapped.swap(1, 2);
    place.write("wine.csv", &csv(&swapped, ",", true));
    let errors = place.failure("train --resume run --set train.epochs=8 --no-report", 2);
    for part in ["wine.csv", "its inputs are f1, f0", "start a new run"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    let same: Vec<&str> = all.iter().map(String::as_str).collect();
    place.write("wine.csv", &csv(&same, ",", true));
    let summary = place.report("train --resume run --set train.epochs=8 --no-report --json");
    assert_eq!(summary["epochs"], 8);
}

/// The first `rows` rows of a named dataset under the names of its features, in reverse order, with
/// its classes in a column `answer`; and the features alone, without a header.
fn named_dataset(name: &str) -> (String, String) {
    let (data, _) = catalog::load(name, &SearchPaths::new(None)).unwrap();
    let names: Vec<String> = data.schema().names().map(str::to_owned).collect();
    assert_eq!(names.len(), data.feature_count(), "{name}");
    let reversed: Vec<&str> = names.iter().rev().map(String::as_str).collect();
    let mut named = format!("{},answer\n", reversed.join(","));
    let mut bare = String::new();
    for row in 0..data.rows() {
        let value = |feature| data.features.value(row, feature).to_string();
        let mut cells: Vec<String> = (0..names.len()).map(value).collect();
        bare += &(cells.join(",") + "\n");
        cells.reverse();
        let class = data.class_names.get(usize::from(data.labels[row]));
        let target = |targets: &nplus1::data::RegressionTargets| targets.values[[row, 0]];
        let answer = class.cloned();
        let answer = answer.or_else(|| Some(target(data.targets.as_ref()?).to_string()));
        named += &format!("{},{}\n", cells.join(","), answer.unwrap());
    }
    (named, bare)
}

#[test]
fn a_model_of_a_named_dataset_finds_the_columns_of_a_csv_by_name() {
    for name in ["iris", "wine", "breast-cancer", "digits", "diabetes"] {
        let place = Workplace::new(&format!(
            "[data]\ndataset = '{name}'\ntest = 0.3\nnormalize = 'standard'\n[model]\nhidden = [4]\n\
             [optimizer]\nlearning_rate = 0.1\n[train]\nepochs = 1\n"
        ));
        place.report("train flowers.toml --out run --no-report --json");
        let (named, bare) = named_dataset(name);
        let named = named.replace(
            "answer",
            if name == "diabetes" {
                "progression"
            } else {
                "kind"
            },
        );
        place.write("named.csv", &named);
        place.write("bare.csv", &bare);
        let options = match name {
            "diabetes" => "--json",
            _ => "--probabilities --json",
        };
        let answers = |file: &str| {
            let document = place.report(&format!("predict run {file} {options}"));
            document["predictions"].clone()
        };
        let expected = answers("bare.csv");
        assert_eq!(answers("named.csv"), expected, "{name}");
        let input = fs::File::open(place.path().join("named.csv")).unwrap();
        let mut command = place.command(&format!("predict run - {options}"));
        let output = command.stdin(input).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["predictions"], expected, "{name}");
        // An evaluation needs the label, the only other column; the dataset itself gives the same.
        let by_file = place.report("eval run --data named.csv --json");
        let by_name = place.report(&format!("eval run --data {name} --json"));
        for key in ["rows", "loss", "accuracy", "confusion"] {
            assert_eq!(by_file[key], by_name[key], "{name}: {key}");
        }
        let twice = named.replace('\n', ",0\n");
        place.write("twice.csv", &twice);
        if name != "diabetes" {
            let errors = place.refusal("eval run --data twice.csv");
            assert!(errors.contains("it is the label"), "{errors}");
        }
        // Names of another source.
        let (header, rows) = named.split_once('\n').unwrap();
        let other = header.replace("e", "E");
        place.write("other.csv", &format!("{other}\n{rows}"));
        let errors = place.refusal("predict run other.csv");
        assert!(errors.contains("no column is called"), "{name}: {errors}");
    }
}

#[test]
fn a_model_of_a_file_finds_the_columns_of_a_named_dataset_by_name() {
    let place = Workplace::new(&CONFIG.replace("ignore = [\"id\"]\n", ""));
    let (named, _) = named_dataset("wine");
    place.write("wine.csv", &named.replace("answer", "kind"));
    place.report("train flowers.toml --out run --no-report --json");
    let expected = place.report("eval run --data wine.csv --json");
    // `wine.csv` has another order of columns.
    let found = place.report("eval run --data wine --json");
    assert_eq!(found["loss"], expected["loss"]);
    let output = place.nplus1("data describe wine");
    let described = text(&output.stdout);
    assert!(
        described.contains("alcohol, malic_acid, ash"),
        "{described}"
    );
    let errors = place.refusal("eval run --data iris");
    assert!(errors.contains("13 features"), "{errors}");
    // Other names than those of the dataset.
    let place = trained();
    let errors = place.refusal("eval run --data wine");
    assert!(
        errors.contains("no column `f0`") && errors.contains("alcohol"),
        "{errors}"
    );
}
