//! `nplus1 export`: the formats, what it refuses, what it says, and the programs of the
//! documentation.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use crate::support::compilers::{
    ask_c, ask_rust, c_compiler, c_self_test, rust_self_test, succeeds, tool,
};
use crate::support::program::{Workplace, text};
use nplus1::Model;
use nplus1::format::AnyParameters;
use nplus1::format::export::{ExportFormat, WeightType, sample_inputs};

const CONFIG: &str = r#"
[data]
dataset = "iris"
test = 0.2
normalize = "standard"
[model]
hidden = [8]
output = "softmax"
[optimizer]
learning_rate = 0.2
[train]
epochs = 5
"#;

/// A trained iris, in `run`.
fn trained() -> Workplace {
    let place = Workplace::new(CONFIG);
    place.report("train flowers.toml --out run --no-report --json");
    place
}

/// Returns the names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn each_format_is_written_whole_and_the_same_each_time() {
    let place = trained();
    let model = Model::load(place.path().join("run/model.safetensors")).unwrap();
    for (format, extension) in [
        ("c", "c"),
        ("rust", "rs"),
        ("onnx", "onnx"),
        ("npz", "npz"),
        ("safetensors", "safetensors"),
    ] {
        let document = place.report(&format!("export run -o one.{extension} --json"));
        let (file, errors) = (
            place.path().join(format!("one.{extension}")),
            &document["cost"],
        );
        assert_eq!(
            (document["format"].as_str(), errors.is_null()),
            (Some(format), true)
        );
        let bytes = fs::read(&file).unwrap();
        assert_eq!(document["bytes"].as_u64(), Some(bytes.len() as u64));
        place.report(&format!("export run --format {format} -o other --json"));
        assert_eq!(
            fs::read(place.path().join("other")).unwrap(),
            bytes,
            "{format}"
        );
    }
    assert_eq!(
        Model::load(place.path().join("one.safetensors")).unwrap(),
        model
    );
    // The library writes the same, with drawn rows as the test of source files.
    let path = place.path().join("library.npz");
    model.export(&path, ExportFormat::Npz).unwrap();
    assert_eq!(
        fs::read(&path).unwrap(),
        fs::read(place.path().join("one.npz")).unwrap()
    );
    if let Some((shown, passes)) = c_self_test(place.path(), "one.c") {
        assert!(passes && shown.starts_with("10 of 10 rows"), "{shown}");
    }
    rust_self_test(place.path(), "one.rs");
}

#[test]
fn a_regression_is_exported_in_the_units_of_its_target() {
    let config = CONFIG
        .replace("\"iris\"", "\"diabetes\"")
        .replace("output = \"softmax\"\n", "")
        .replace("0.2\n[train]", "0.02\n[train]");
    let place = Workplace::new(&config);
    place.report("train flowers.toml --out run --no-report --json");
    for extension in ["c", "rs", "onnx", "npz"] {
        place.report(&format!("export run -o one.{extension} --json"));
    }
    let source = fs::read_to_string(place.path().join("one.c")).unwrap();
    assert!(source.contains("\"progression\"") && source.contains("float *targets"));
    if let Some((shown, passes)) = c_self_test(place.path(), "one.c") {
        assert!(passes && shown.starts_with("10 of 10 rows"), "{shown}");
    }
    rust_self_test(place.path(), "one.rs");
}

#[test]
fn an_npz_holds_the_weights_by_layer() {
    let place = trained();
    place.report("export run -o model.npz --json");
    let model = Model::load(place.path().join("run/model.safetensors")).unwrap();
    let AnyParameters::F32(parameters) = &model.parameters else {
        panic!("single precision");
    };
    let file = fs::File::open(place.path().join("model.npz")).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    let mut array = |name: &str| {
        let mut bytes = Vec::new();
        archive
            .by_name(name)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    };
    let weights: Vec<u8> = parameters
        .weights(0)
        .iter()
        .flat_map(|weight| weight.to_le_bytes())
        .collect();
    let found = array("layers.0.weight.npy");
    assert!(found.ends_with(&weights) && text(&found[10..128]).contains("'<f4'"));
    assert!(text(&found[10..128]).contains("(8, 4)"));
    let offsets: Vec<u8> = model
        .scaling
        .offset
        .iter()
        .flat_map(|offset| offset.to_le_bytes())
        .collect();
    assert!(array("offset.npy").ends_with(&offsets));
    let names = array("class_names.npy");
    let name: Vec<u8> = "virginica"
        .bytes()
        .flat_map(|letter| [letter, 0, 0, 0])
        .collect();
    assert!(names.windows(name.len()).any(|window| window == name));
}

#[test]
fn what_cannot_be_exported_is_refused_and_nothing_is_left() {
    let place = trained();
    place.write("folds.toml", &CONFIG.replace("test = 0.2", "folds = 3"));
    place.report("train folds.toml --out folds --json --no-report --set train.epochs=1");
    let before = names(place.path());
    let errors = place.failure("export folds -o a.c", 2);
    assert!(
        errors.contains("fold-01") && errors.contains("fold-03"),
        "{errors}"
    );
    let errors = place.failure("export run -o model.exe", 2);
    assert!(
        errors.contains(".onnx") && errors.contains("--format"),
        "{errors}"
    );
    let errors = place.failure("export run -o a.c --format cobol", 2);
    assert!(errors.contains("safetensors"), "{errors}");
    let errors = place.failure("export run -o nowhere/a.c", 2);
    assert!(errors.contains("no such folder"), "{errors}");
    let errors = place.failure("export run -o a.onnx --weights int8", 2);
    assert!(errors.contains("c and rust"), "{errors}");
    place.failure("export flowers.toml -o a.c", 2);
    place.failure("export missing -o a.c", 2);
    assert_eq!(names(place.path()), before);
    // A folder cannot be replaced by a file.
    fs::create_dir(place.path().join("taken.c")).unwrap();
    place.failure("export run -o taken.c", 8);
    assert!(names(&place.path().join("taken.c")).is_empty());
    let now = names(place.path());
    assert_eq!(now.len(), before.len() + 1, "{now:?}");
}

#[test]
fn smaller_weights_say_what_they_cost_on_the_test_part() {
    let place = trained();
    let document = place.report("export run -o a.c --weights int8 --json");
    let cost = &document["cost"];
    assert_eq!(
        (cost["part"].as_str(), cost["rows"].as_u64()),
        (Some("test"), Some(30))
    );
    let evaluation = place.report("eval run --json");
    assert_eq!(cost["accuracy"], evaluation["accuracy"]);
    let shown = text(&place.nplus1("export run -o a.c --weights f16").stdout);
    assert!(shown.contains("accuracy of the file"), "{shown}");
    // The accuracy is that of the weights in the file.
    let model = Model::load(place.path().join("run/model.safetensors")).unwrap();
    let rounded = WeightType::Int8.rounded(&model).unwrap();
    rounded
        .save(place.path().join("rounded.safetensors"))
        .unwrap();
    fs::copy(
        place.path().join("rounded.safetensors"),
        place.path().join("run/model.safetensors"),
    )
    .unwrap();
    let evaluation = place.report("eval run --json");
    assert_eq!(cost["accuracy_of_file"], evaluation["accuracy"]);
    // A model alone has no rows: that is said.
    let output = place.nplus1("export rounded.safetensors -o b.c --weights f16");
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("the accuracy is not measured"));
    let document =
        place.report("export rounded.safetensors -o b.c --weights f16 --data iris --json");
    assert_eq!(document["cost"]["rows"], 150);
}

/// The table of examples/, with missing values, and a category that it does not have.
#[test]
fn texts_and_missing_values_are_answered_in_c_and_rust() {
    let place = Workplace::new("");
    let fruit = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fruit.csv");
    fs::copy(&fruit, place.path().join("fruit.csv")).unwrap();
    for (unknown, refused) in [("zero", false), ("refuse", true)] {
        place.write(
            "fruit.toml",
            &format!(
                "[data]\ntrain = \"fruit.csv\"\nignore = [\"id\"]\nmissing = \"mean\"\n\
                 unknown = \"{unknown}\"\ntest = 0.3\nnormalize = \"standard\"\n[model]\n\
                 hidden = [8]\noutput = \"softmax\"\n[optimizer]\nlearning_rate = 0.2\n[train]\n\
                 epochs = 20\n"
            ),
        );
        let run = format!("run-{unknown}");
        place.report(&format!("train fruit.toml --out {run} --no-report --json"));
        let known = "color;surface;weight;diameter;sweetness\nyellow;rough;125;53.5;7.5\n\
                     ;smooth;160;;12.5\norange;;;70;11.5\n";
        place.write("known.csv", known);
        place.report(&format!("export {run} -o model.c --json"));
        place.report(&format!("export {run} -o model.rs --json"));
        let model = Model::load(place.path().join(&run).join("model.safetensors")).unwrap();
        let categories = |at: usize| model.schema.columns[at].categories.clone().unwrap();
        let code = |at: usize, name: &str| {
            let categories = categories(at);
            categories.iter().position(|known| known == name).unwrap() as f64
        };
        let nan = f64::NAN;
        let mut rows = vec![
            vec![code(0, "yellow"), code(1, "rough"), 125.0, 53.5, 7.5],
            vec![nan, code(1, "smooth"), 160.0, nan, 12.5],
            vec![code(0, "orange"), nan, nan, 70.0, 11.5],
        ];
        let inputs = model.read_rows(place.path().join("known.csv")).unwrap();
        let expected = model.predict_proba(inputs.view()).unwrap();
        rows.push(vec![-1.0, 0.0, 160.0, 70.0, 11.5]);
        rows.push(vec![1e9, 0.0, 160.0, 70.0, 11.5]);
        let folder = tempfile::tempdir().unwrap();
        let c = fs::read(place.path().join("model.c")).unwrap();
        let rust = fs::read(place.path().join("model.rs")).unwrap();
        let answers = [
            ask_c(folder.path(), &c, "float", &rows),
            ask_rust(folder.path(), &rust, "float", &rows),
        ];
        for answers in answers.into_iter().flatten() {
            for ((_, numbers), expected) in answers.iter().zip(expected.rows()) {
                for (number, expected) in numbers.iter().zip(expected) {
                    assert!(
                        (number - expected).abs() < 1e-5,
                        "{numbers:?}, {expected:?}"
                    );
                }
            }
            assert!(answers[..3].iter().all(|(class, _)| *class >= 0));
            assert!(
                answers[3..]
                    .iter()
                    .all(|(class, _)| (*class < 0) == refused),
                "{answers:?}"
            );
        }
        if c_compiler().is_some() {
            assert!(c_self_test(place.path(), "model.c").unwrap().1);
        }
        rust_self_test(place.path(), "model.rs");
    }
}

/// Returns the fenced blocks of `language` in a page.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let parts = page.split(&fence).skip(1);
    parts
        .map(|part| part.split("```").next().unwrap().to_owned())
        .collect()
}

/// docs/exports.md: the commands make the files, the programs answer what the page says.
#[test]
fn the_programs_of_the_documentation_answer_as_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/exports.md")).unwrap();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let place = Workplace::new("");
    fs::create_dir_all(place.path().join("datasets/iris")).unwrap();
    fs::copy(
        root.join("datasets/iris/iris.csv"),
        place.path().join("datasets/iris/iris.csv"),
    )
    .unwrap();
    fs::create_dir(place.path().join("examples")).unwrap();
    let flower = &blocks(&page, "c")[0];
    assert_eq!(
        *flower,
        fs::read_to_string(root.join("examples/flower.c")).unwrap()
    );
    place.write("examples/flower.c", flower);
    let commands = &blocks(&page, "sh")[0];
    assert!(
        readme.contains(commands.as_str()),
        "the README has the four commands"
    );
    let lines: Vec<&str> = commands.lines().collect();
    assert_eq!(lines.len(), 4);
    for line in &lines[..3] {
        let output = place.nplus1(line.strip_prefix("nplus1 ").unwrap());
        assert_eq!(
            output.status.code(),
            Some(0),
            "{line}: {}",
            text(&output.stderr)
        );
    }
    let answer = &blocks(&page, "text")[0];
    assert!(
        readme.contains(answer.as_str()),
        "the README has the answer"
    );
    if c_compiler().is_some() {
        let mut shell = Command::new("sh");
        let shown = succeeds(shell.current_dir(place.path()).args(["-c", lines[3]]));
        assert_eq!(shown, *answer);
    }
    if tool(&["rustc"]).is_some() {
        place.report("export iris-run -o iris_model.rs --json");
        place.write("main.rs", &blocks(&page, "rust")[0]);
        let arguments = [
            "--edition",
            "2024",
            "-D",
            "warnings",
            "-o",
            "flower-rust",
            "main.rs",
        ];
        succeeds(
            Command::new("rustc")
                .current_dir(place.path())
                .args(arguments),
        );
        let shown = succeeds(&mut Command::new(place.path().join("flower-rust")));
        assert_eq!(shown, *answer);
    }
}

#[test]
fn drawn_rows_are_in_the_range_of_the_scaling() {
    let place = trained();
    let model = Model::load(place.path().join("run/model.safetensors")).unwrap();
    let rows = sample_inputs(&model);
    assert_eq!(rows.dim(), (10, 4));
    for ((_, input), value) in rows.indexed_iter() {
        let scaled = model.scaling.apply(input, *value);
        assert!(scaled.abs() <= 1.5 + 1e-9, "{scaled}");
    }
    assert_eq!(rows, sample_inputs(&model));
}
