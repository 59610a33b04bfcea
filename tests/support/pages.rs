//! One small run and one small study of every kind, and the HTML pages that their commands write.

use std::path::PathBuf;

use super::program::Workplace;

/// A config that trains on a few images of the digits dataset.
pub const CONFIG: &str = r#"
name = "digits"
seed = 3
[data]
dataset = "digits"
validation = 200
test = 200
limit = 300
normalize = "unit"
[model]
hidden = [6]
output = "softmax"
initialization = "scaled"
[loss]
kind = "cross-entropy"
[optimizer]
learning_rate = 0.5
[train]
epochs = 5
batch_size = 10
"#;

/// The kinds of pages, each with its command, which writes into the folder of that name.
pub const COMMANDS: [(&str, &str); 10] = [
    ("run", "train flowers.toml --out run"),
    (
        "folds",
        concat!(
            "train ",
            env!("CARGO_MANIFEST_DIR"),
            "/configs/digits.toml --set data.folds=3 --set train.epochs=2 --out folds"
        ),
    ),
    (
        "cost",
        "cost flowers.toml --widths 2,4,8 --methods backprop,forward-difference/incremental --out cost",
    ),
    ("llsq", "cost llsq --sizes 1,2,4 --repeats 2 --out llsq"),
    (
        "race",
        "race flowers.toml --methods backprop,forward-difference --limit 1 --out race",
    ),
    (
        "scale",
        "scale flowers.toml --threads 1,2 --methods backprop,forward-difference/incremental --batches 10 --runs 3 --out scale",
    ),
    (
        "sweep",
        concat!(
            "check ",
            env!("CARGO_MANIFEST_DIR"),
            "/configs/iris.toml --rows 4 --sweep --out sweep"
        ),
    ),
    (
        "bars",
        "cost flowers.toml --measure --limit 0.1 --repeats 1 --out bars",
    ),
    (
        "depths",
        "cost flowers.toml --widths 4,6 --depths 1,2 --methods backprop,forward-difference/incremental --out depths",
    ),
    (
        "regression",
        concat!(
            "train ",
            env!("CARGO_MANIFEST_DIR"),
            "/configs/diabetes.toml --set data.folds=4 --set train.epochs=3 --out regression"
        ),
    ),
];

/// Creates a folder with [`CONFIG`] in it.
pub fn workplace() -> Workplace {
    Workplace::new(CONFIG)
}

/// Runs every command, and `explain toy`; returns each kind and the path of its page.
pub fn make_all(place: &Workplace) -> Vec<(&'static str, PathBuf)> {
    let mut pages = Vec::new();
    for (kind, line) in COMMANDS {
        make(place, line);
        pages.push((kind, place.path().join(kind).join("report.html")));
    }
    std::fs::create_dir(place.path().join("toy")).unwrap();
    make(place, "explain toy --b 2.5 --html toy/report.html");
    pages.push(("toy", place.path().join("toy/report.html")));
    pages
}

/// Runs a command that must succeed, and returns its standard output.
pub fn make(place: &Workplace, line: &str) -> String {
    let output = place.nplus1(line);
    let errors = super::program::text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{line}: {errors}");
    super::program::text(&output.stdout)
}
