//! All errors of a config are reported at once, each with its file, line, column and caret, the
//! value found, the values allowed and the way out.

use std::path::Path;

use crate::support::property_cases::property_cases;
use nplus1::config::{Config, Overrides, keys};
use nplus1::error::Error;

/// A valid config, in which each test breaks one thing.
const RIGHT: &str = r#"seed = 1
[data]
dataset = "mnist"
validation = 10000
[model]
hidden = [30]
output = "sigmoid"
[loss]
kind = "quadratic"
[optimizer]
learning_rate = 3.0
[train]
epochs = 30
"#;

/// Returns the errors of the config `text` with the overrides `set`.
fn errors_of(text: &str, set: &[&str]) -> String {
    let overrides = Overrides {
        set: set.iter().map(ToString::to_string).collect(),
        ..Overrides::default()
    };
    match Config::parse(text, Path::new("a.toml"), &overrides) {
        Err(Error::Config(report)) => report,
        other => panic!("expected a report, found {other:?} from\n{text}"),
    }
}

/// Returns the errors of [`RIGHT`] with the text `line` replaced by `by`.
fn broken(line: &str, by: &str) -> String {
    assert!(RIGHT.contains(line), "{line}");
    errors_of(&RIGHT.replace(line, by), &[])
}

#[track_caller]
fn assert_holds(report: &str, parts: &[&str]) {
    for part in parts {
        assert!(report.contains(part), "`{part}` is not in\n{report}");
    }
}

#[track_caller]
fn assert_alone(report: &str, parts: &[&str]) {
    assert_holds(report, parts);
    assert!(report.ends_with("1 error in a.toml"), "{report}");
    assert_eq!(report.matches("error: ").count(), 1, "{report}");
    assert_holds(report, &["^"]);
}

#[test]
fn the_config_that_the_other_tests_break_is_valid() {
    let config = Config::parse(RIGHT, Path::new("a.toml"), &Overrides::default());
    assert!(config.is_ok(), "{config:?}");
}

#[test]
fn an_error_is_drawn_with_its_line_and_a_caret_under_the_value() {
    let report = broken("learning_rate = 3.0", "learning_rate = -3.0");
    let expected = "\
error: `learning_rate` is out of range: found -3.0
  --> a.toml:11:17
   |
11 | learning_rate = -3.0
   |                 ^^^^ allowed: a number above 0

1 error in a.toml";
    assert_eq!(report, expected);
}

#[test]
fn unknown_keys_and_sections_are_refused_with_a_suggestion() {
    assert_alone(
        &broken("epochs = 30", "epochs = 30\nbatchsize = 10"),
        &[
            "unknown key `batchsize` in [train]",
            "a.toml:14:1",
            "allowed: epochs, max_steps, max_seconds, batch_size, early_stopping",
            "did you mean `batch_size`?",
        ],
    );
    assert_alone(
        &broken("epochs = 30", "epochs = 30\nlearning_rate = 1.0"),
        &["`learning_rate` belongs in [optimizer]"],
    );
    assert_alone(
        &broken("epochs = 30", "epochs = 30\nseed = 1"),
        &["`seed` belongs at the top, before the first [section]"],
    );
    assert_alone(
        &broken("seed = 1", "sed = 1"),
        &[
            "unknown key `sed`",
            "a.toml:1:1",
            "did you mean `seed`?",
            "allowed: name, seed",
        ],
    );
    assert_alone(
        &broken("seed = 1", "learning_rate = 1"),
        &["`learning_rate` belongs in [optimizer]"],
    );
    assert_alone(
        &errors_of(&format!("{RIGHT}[rum]\nthreads = 2\n"), &[]),
        &[
            "unknown section [rum]",
            "a.toml:14:2",
            "did you mean [run]?",
        ],
    );
    assert_alone(
        &broken("seed = 1", "[data.more]\nx = 1"),
        &["unknown key `more` in [data]", "allowed: dataset"],
    );
}

#[test]
fn every_section_refuses_an_unknown_key_with_its_line() {
    for section in keys::SECTIONS {
        let (header, key) = (format!("[{}]", section.name), "colour = 1");
        let text = if RIGHT.contains(&header) {
            RIGHT.replace(&header, &format!("{header}\n{key}"))
        } else {
            format!("{RIGHT}{header}\n{key}\n")
        };
        let line = 1 + text.lines().position(|line| line == key).unwrap();
        let first = section.keys[0].name;
        assert_alone(
            &errors_of(&text, &[]),
            &[
                &format!("unknown key `colour` in {header}"),
                &format!("a.toml:{line}:1\n"),
                &format!("{line} | {key}\n"),
                &format!("allowed: {first}"),
            ],
        );
    }
}

#[test]
fn wrong_types_are_refused_with_the_type_that_was_found() {
    let cases = [
        (
            "epochs = 30",
            "epochs = 30.0",
            "`epochs` must be an integer, found the number 30.0",
        ),
        ("epochs = 30", "epochs = \"30\"", "found the string \"30\""),
        ("epochs = 30", "epochs = \"30\"", "leave out the quotes"),
        (
            "learning_rate = 3.0",
            "learning_rate = true",
            "must be a number, found the boolean true",
        ),
        (
            "learning_rate = 3.0",
            "learning_rate = [3.0]",
            "found a list",
        ),
        (
            "hidden = [30]",
            "hidden = 30",
            "`hidden` must be a list of integers, found the integer 30",
        ),
        (
            "hidden = [30]",
            "hidden = [30, 2.5]",
            "`hidden[1]` must be an integer, found the number 2.5",
        ),
        (
            "hidden = [30]",
            "hidden = [30]\nbias = 1",
            "`bias` must be a boolean, found the integer 1",
        ),
        (
            "hidden = [30]",
            "hidden = [30]\nbias = 1",
            "allowed: true or false",
        ),
        (
            "seed = 1",
            "name = 5",
            "`name` must be text, found the integer 5",
        ),
        (
            "seed = 1",
            "seed = 2020-01-01",
            "`seed` must be an integer, found a date",
        ),
        (
            "dataset = \"mnist\"",
            "dataset = 3",
            "`dataset` must be text, found the integer 3",
        ),
        (
            "validation = 10000",
            "validation = \"x\"",
            "must be a number of rows or a fraction",
        ),
        (
            "validation = 10000",
            "test = true",
            "found the boolean true",
        ),
        (
            "validation = 10000",
            "label = 1.5",
            "`label` must be a column",
        ),
        (
            "output = \"sigmoid\"",
            "output = { a = 1 }",
            "`output` must be text, found a table",
        ),
        (
            "[loss]\nkind = \"quadratic\"",
            "[[loss]]",
            "must be a section, found a list of sections",
        ),
        (
            "seed = 1",
            "run = 3",
            "`run` must be a section, found the integer 3",
        ),
    ];
    for (line, by, expected) in cases {
        assert_alone(&broken(line, by), &[expected, "allowed: "]);
    }
}

#[test]
fn numbers_out_of_range_are_refused_with_the_range() {
    let run = |text: &str| format!("epochs = 30\n[run]\n{text}");
    let train = |text: &str| format!("epochs = 30\n{text}");
    let rate = |text: &str| format!("learning_rate = 1\n{text}");
    let cases = [
        (
            "epochs = 30",
            "epochs = 0".to_owned(),
            "allowed: an integer from 1 to 1000000000",
        ),
        (
            "epochs = 30",
            "max_steps = -1".to_owned(),
            "allowed: an integer, 1 or more",
        ),
        (
            "epochs = 30",
            train("max_seconds = 0"),
            "allowed: a number above 0",
        ),
        (
            "epochs = 30",
            train("batch_size = 0"),
            "`batch_size` is out of range: found 0",
        ),
        ("epochs = 30", train("early_stopping = 0"), "found 0"),
        ("epochs = 30", run("threads = 0"), "found 0"),
        (
            "epochs = 30",
            run("threads = 70000"),
            "allowed: \"auto\", or an integer from 1 to 1024",
        ),
        (
            "epochs = 30",
            run("threads = \"many\""),
            "found the string \"many\"",
        ),
        (
            "epochs = 30",
            run("checkpoint_seconds = 0.5"),
            "allowed: a number from 1 to 1e9",
        ),
        (
            "learning_rate = 3.0",
            "learning_rate = 0".to_owned(),
            "found 0",
        ),
        (
            "learning_rate = 3.0",
            "learning_rate = nan".to_owned(),
            "must be a finite number, found the number nan",
        ),
        (
            "learning_rate = 3.0",
            "learning_rate = inf".to_owned(),
            "must be a finite number, found the number inf",
        ),
        (
            "learning_rate = 3.0",
            rate("momentum = 1"),
            "allowed: a number from 0 to below 1",
        ),
        (
            "learning_rate = 3.0",
            rate("weight_decay = -1e-3"),
            "found -0.001",
        ),
        (
            "kind = \"quadratic\"",
            "l2 = -1".to_owned(),
            "allowed: a number, 0 or above",
        ),
        (
            "hidden = [30]",
            "hidden = [30, 0]".to_owned(),
            "`hidden[1]` is out of range: found 0",
        ),
        (
            "hidden = [30]",
            "hidden = [65537]".to_owned(),
            "allowed: an integer from 1 to 65536",
        ),
        (
            "hidden = [30]",
            format!("hidden = {:?}", [1; 33]),
            "too many entries: found 33",
        ),
        (
            "seed = 1",
            "seed = -1".to_owned(),
            "`seed` is out of range: found -1",
        ),
        (
            "validation = 10000",
            "validation = 1.0".to_owned(),
            "`validation` is out of range: found 1.0",
        ),
        (
            "validation = 10000",
            "validation = -5".to_owned(),
            "a fraction between 0 and 1",
        ),
        (
            "validation = 10000",
            "validation = nan".to_owned(),
            "found nan",
        ),
        (
            "validation = 10000",
            "folds = 1".to_owned(),
            "allowed: an integer from 2 to 1000",
        ),
        (
            "validation = 10000",
            "limit = 0".to_owned(),
            "`limit` is out of range",
        ),
    ];
    for (line, by, expected) in cases {
        assert_alone(&broken(line, &by), &[expected, "allowed: ", "found "]);
    }
}

#[test]
fn unknown_values_are_refused_with_the_values_allowed() {
    assert_alone(
        &broken("kind = \"quadratic\"", "kind = \"crossentropy\""),
        &[
            "unknown kind \"crossentropy\"",
            "a.toml:9:8",
            "^^^^^^^^^^^^^^ allowed: \"quadratic\", \"cross-entropy\", \"logistic\"",
            "did you mean \"cross-entropy\"?",
        ],
    );
    assert_alone(
        &broken("dataset = \"mnist\"", "dataset = \"minst\""),
        &[
            "unknown dataset \"minst\"",
            "a.toml:3:11",
            "\"breast-cancer\"",
            "did you mean \"mnist\"?",
        ],
    );
    let gradient = "seed = 1\ngradient.method = \"evolution\"";
    assert_alone(
        &broken("seed = 1", gradient),
        &["unknown method \"evolution\"", "allowed: \"backprop\""],
    );
    let cases = [
        (
            "output = \"sigmoid\"",
            "output = \"sofmax\"",
            "did you mean \"softmax\"?",
        ),
        (
            "output = \"sigmoid\"",
            "precision = \"F32\"",
            "did you mean \"f32\"?",
        ),
        (
            "output = \"sigmoid\"",
            "initialization = \"glorot\"",
            "allowed: \"normal\", \"scaled\", \"xavier\"",
        ),
        (
            "validation = 10000",
            "normalize = \"minmax\"",
            "allowed: \"none\", \"unit\", \"standard\"",
        ),
        (
            "learning_rate = 3.0",
            "learning_rate = 3\nkind = \"adams\"",
            "allowed: \"sgd\"",
        ),
        (
            "learning_rate = 3.0",
            "learning_rate = 3\nschedule = \"cosin\"",
            "did you mean \"cosine\"?",
        ),
        (
            "epochs = 30",
            "epochs = 30\n[run]\nsplit = \"row\"",
            "did you mean \"rows\"?",
        ),
    ];
    for (line, by, expected) in cases {
        assert_alone(&broken(line, by), &[expected]);
    }
}

#[test]
fn conflicting_keys_are_refused_and_both_are_named() {
    assert_alone(
        &broken("output = \"sigmoid\"", "output = \"softmax\""),
        &[
            "softmax outputs do not go with the quadratic loss",
            "a.toml:7:10",
            "conflicts with `loss.kind` (line 9)",
            "sigmoid or linear",
        ],
    );
    let rate = |text: &str| format!("learning_rate = 1\n{text}");
    let cases = [
        (
            "kind = \"quadratic\"",
            "kind = \"logistic\"".to_owned(),
            "sigmoid outputs do not go with the logistic loss",
        ),
        (
            "output = \"sigmoid\"\n[loss]\nkind = \"quadratic\"",
            "output = \"linear\"".to_owned(),
            "conflicts with `loss.kind` (\"cross-entropy\" by default)",
        ),
        (
            "epochs = 30",
            "epochs = 3\nmax_steps = 10".to_owned(),
            "conflicts with `train.epochs` (line 13)",
        ),
        (
            "validation = 10000\n",
            "validation = 0\ntest = 1\nfolds = 3\n".to_owned(),
            "`folds` and `test` both choose the test rows",
        ),
        (
            "dataset = \"mnist\"",
            "dataset = \"mnist\"\ntrain = \"a.csv\"".to_owned(),
            "`dataset` and `train` both name the data",
        ),
        (
            "dataset = \"mnist\"",
            "dataset = \"mnist\"\ntest = \"a.csv\"".to_owned(),
            "files in `test` go with files in `train`",
        ),
        (
            "dataset = \"mnist\"",
            "dataset = \"mnist\"\nlabel = \"x\"".to_owned(),
            "`label` goes with files in `train`",
        ),
        (
            "dataset = \"mnist\"",
            "dataset = \"mnist\"\nignore = [\"id\"]".to_owned(),
            "`ignore` goes with files in `train`",
        ),
        (
            "dataset = \"mnist\"",
            "dataset = \"mnist\"\nmissing = \"mean\"".to_owned(),
            "`missing` goes with files in `train`",
        ),
        (
            "dataset = \"mnist\"",
            "train = [\"a\", \"b\"]\nlabel = \"x\"".to_owned(),
            "the labels are in a separate file",
        ),
        (
            "dataset = \"mnist\"",
            "train = [\"a\", \"b\"]\ntest = \"c\"".to_owned(),
            "`test` must have as many files as `train`",
        ),
        (
            "learning_rate = 3.0",
            rate("step_every = 3"),
            "`step_every` has no meaning with the constant schedule",
        ),
        (
            "learning_rate = 3.0",
            rate("step_factor = 0.5\nschedule = \"cosine\""),
            "`step_factor` has no meaning with the cosine schedule",
        ),
    ];
    for (line, by, expected) in cases {
        assert_alone(
            &broken(line, &by),
            &[expected, "conflicts with", "= help: "],
        );
    }
    let patience = RIGHT.replace("validation = 10000\n", "") + "early_stopping = 5\n";
    assert_alone(
        &errors_of(&patience, &[]),
        &[
            "`early_stopping` needs validation rows",
            "conflicts with `data.validation` (not given)",
        ],
    );
    let cosine = RIGHT.replace("epochs = 30", "max_seconds = 30").replace(
        "learning_rate = 3.0",
        "learning_rate = 3.0\nschedule = \"cosine\"",
    );
    assert_alone(
        &errors_of(&cosine, &[]),
        &["the cosine schedule needs the number of steps"],
    );
}

#[test]
fn the_keys_of_finite_differences_are_checked_too() {
    let gradient = |lines: &str| errors_of(&format!("{RIGHT}[gradient]\n{lines}\n"), &[]);
    for increment in ["0", "-1e-3", "0.0"] {
        let report = gradient(&format!(
            "method = 'forward-difference'\nincrement = {increment}"
        ));
        assert_alone(
            &report,
            &[
                "`increment` is out of range",
                "allowed: \"auto\", \"noise\", or a number above 0",
            ],
        );
    }
    let report = gradient("method = 'central-difference'\nincrement = nan");
    assert_alone(&report, &["`increment`", "nan", "or a number above 0"]);
    let report = gradient("method = 'central-difference'\nincrement = 'small'");
    assert_alone(&report, &["unknown increment \"small\"", "\"noise\""]);
    let report = gradient("method = 'forwards-difference'");
    assert_alone(&report, &["did you mean \"forward-difference\"?"]);
    let report = gradient("evaluation = 'full'");
    assert_alone(
        &report,
        &["`evaluation` has no meaning with backprop", "method = "],
    );
    let report = gradient(
        "method = 'forward-difference'\nevaluation = 'full'\narithmetic = 'cancellation-free'",
    );
    assert_alone(
        &report,
        &["cancellation-free", "evaluation = \"incremental\""],
    );
    let report = gradient("method = 'forward-difference'\nsummation = 'losses'");
    assert_alone(&report, &["not the mean", "evaluation = \"full\""]);
    let report =
        gradient("method = 'forward-difference'\nincrement = 1e-3\nrelative_increment = 1e-3");
    assert_alone(&report, &["`relative_increment`", "keep one"]);
}

#[test]
fn the_keys_of_random_directions_are_checked_too() {
    let gradient = |lines: &str| errors_of(&format!("{RIGHT}[gradient]\n{lines}\n"), &[]);
    for method in ["spsa", "forward-gradient"] {
        for (value, found) in [("0", "0"), ("-1", "-1"), ("65537", "65537")] {
            let report = gradient(&format!("method = '{method}'\ndirections = {value}"));
            assert_alone(
                &report,
                &["`directions` is out of range", found, "1 to 65536"],
            );
        }
        let report = gradient(&format!("method = '{method}'\ndirections = 1.5"));
        assert_alone(&report, &["`directions`", "1.5"]);
        let report = gradient(&format!("method = '{method}'\ndistribution = 'uniform'"));
        assert_alone(&report, &["\"uniform\"", "\"rademacher\"", "\"gaussian\""]);
    }
    for method in ["spsa", "numeric-backprop", "node-perturbation"] {
        for increment in ["0", "-1e-3", "inf"] {
            let report = gradient(&format!("method = '{method}'\nincrement = {increment}"));
            assert_alone(&report, &["`increment`", "\"auto\", or a number above 0"]);
        }
        // Noise-based increments exist only for differences along the axes.
        let report = gradient(&format!("method = '{method}'\nincrement = 'noise'"));
        assert_alone(
            &report,
            &[
                "unknown increment \"noise\"",
                "\"auto\", or a number above 0",
            ],
        );
    }
    let report = gradient("method = 'forward-gradient'\nperturbed = 'inputs'");
    assert_alone(&report, &["\"inputs\"", "\"weights\"", "\"activations\""]);
    let report = gradient("method = 'spa'");
    assert_alone(&report, &["did you mean \"spsa\"?"]);
}

/// Tests for each key of `[gradient]` which methods accept it.
#[test]
fn a_key_of_another_method_is_refused_with_the_methods_it_belongs_to() {
    let differences: &[&str] = &["forward-difference", "central-difference"];
    let keys: [(&str, &[&str]); 9] = [
        (
            "evaluation = 'incremental'",
            &["forward-difference", "central-difference", "forward-mode"],
        ),
        (
            "arithmetic = 'plain'",
            &[
                "forward-difference",
                "central-difference",
                "node-perturbation",
            ],
        ),
        ("summation = 'differences'", differences),
        ("relative_increment = 1e-3", differences),
        ("extrapolation = 'none'", differences),
        (
            "increment = 'auto'",
            &[
                "forward-difference",
                "central-difference",
                "numeric-backprop",
                "node-perturbation",
                "spsa",
            ],
        ),
        ("directions = 2", &["spsa", "forward-gradient"]),
        ("distribution = 'gaussian'", &["spsa", "forward-gradient"]),
        ("perturbed = 'weights'", &["forward-gradient"]),
    ];
    let methods = [
        "backprop",
        "forward-difference",
        "central-difference",
        "forward-mode",
        "numeric-backprop",
        "node-perturbation",
        "spsa",
        "forward-gradient",
    ];
    for (line, accepting) in keys {
        let key = line.split(' ').next().unwrap();
        for method in methods {
            let text = format!("{RIGHT}[gradient]\nmethod = '{method}'\n{line}\n");
            if accepting.contains(&method) {
                let config = Config::parse(&text, Path::new("a.toml"), &Overrides::default());
                assert!(config.is_ok(), "{text}{config:?}");
                continue;
            }
            let report = errors_of(&text, &[]);
            assert_alone(&report, &[&format!("`{key}` has no meaning with {method}")]);
            for taker in accepting {
                assert_holds(&report, &[&format!("\"{taker}\"")]);
            }
        }
    }
}

#[test]
fn missing_keys_are_named_with_their_section() {
    let cases = [
        (
            "hidden = [30]\n",
            "missing key `hidden` in [model]",
            "a.toml:5:1",
        ),
        (
            "learning_rate = 3.0\n",
            "missing key `learning_rate` in [optimizer]",
            "a.toml:10:1",
        ),
        (
            "epochs = 30\n",
            "[train] needs `epochs`, `max_steps` or `max_seconds`",
            "a.toml:12:1",
        ),
        (
            "dataset = \"mnist\"\n",
            "[data] has neither `dataset` nor `train`",
            "a.toml:2:1",
        ),
        (
            "[train]\nepochs = 30\n",
            "[train] needs `epochs`, `max_steps` or `max_seconds`",
            "a.toml:11:20",
        ),
    ];
    for (line, expected, place) in cases {
        assert_alone(&broken(line, ""), &[expected, place, "add `"]);
    }
    let step = broken(
        "learning_rate = 3.0",
        "learning_rate = 3.0\nschedule = \"step\"",
    );
    assert_alone(&step, &["the step schedule needs `step_every`"]);
    let report = errors_of("", &[]);
    assert_holds(
        &report,
        &[
            "a.toml:1:1",
            "[data] has neither `dataset` nor `train`",
            "4 errors in a.toml",
        ],
    );
}

#[test]
fn names_that_cannot_name_a_folder_are_refused() {
    for name in [
        "",
        "..",
        ".hidden",
        "-option",
        "a/b",
        "a b",
        "é",
        &"x".repeat(101),
    ] {
        let report = broken("seed = 1", &format!("name = {name:?}"));
        assert_alone(
            &report,
            &["`name` is not safe as a folder's name", "allowed: letters"],
        );
    }
}

#[test]
fn all_errors_are_reported_at_once_in_the_order_of_the_file() {
    let text = RIGHT
        .replace("seed = 1", "sead = 1")
        .replace("dataset = \"mnist\"", "dataset = \"minst\"")
        .replace("hidden = [30]", "hidden = [0, -1]")
        .replace("learning_rate = 3.0", "learning_rate = \"fast\"")
        .replace("epochs = 30", "epochs = 30\nmax_steps = 1\nthreads = 2");
    let report = errors_of(&text, &["run.threads=0", "bogus"]);
    let places: Vec<&str> = report
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--> "))
        .collect();
    let expected = [
        "a.toml:1:1",
        "a.toml:3:11",
        "a.toml:6:11",
        "a.toml:6:14",
        "a.toml:11:17",
        "a.toml:14:13",
        "a.toml:15:1",
        "--set bogus",
        "--set run.threads=0",
    ];
    assert_eq!(places, expected, "{report}");
    assert!(report.ends_with("9 errors in a.toml"), "{report}");
}

#[test]
fn a_refused_value_causes_no_errors_of_other_keys() {
    let text = RIGHT
        .replace("\"sigmoid\"", "\"softmax\"")
        .replace("\"quadratic\"", "\"crossentropy\"");
    assert_alone(&errors_of(&text, &[]), &["unknown kind"]);
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_position() {
    let cases = [
        (
            "dataset = \"mnist\"",
            "dataset = mnist",
            "a.toml:3:11",
            "put text in quotes",
        ),
        (
            "epochs = 30",
            "epochs = 30\nepochs = 31",
            "a.toml:14:1",
            "duplicate key",
        ),
        (
            "epochs = 30",
            "epochs = 30\n[train]",
            "a.toml:14:2",
            "duplicate key",
        ),
        ("hidden = [30]", "hidden = [30", "a.toml:", "not TOML"),
        (
            "seed = 1",
            "seed = 9223372036854775808",
            "a.toml:1:8",
            "not TOML",
        ),
    ];
    for (line, by, place, expected) in cases {
        assert_alone(&broken(line, by), &[place, expected]);
    }
}

#[test]
fn an_override_is_checked_like_the_file_and_named_as_the_location() {
    let report = errors_of(RIGHT, &["train.epochs=0"]);
    let expected = "\
error: `epochs` is out of range: found 0
 --> --set train.epochs=0
  |
  | --set train.epochs=0
  |                    ^ allowed: an integer from 1 to 1000000000

1 error in a.toml";
    assert_eq!(report, expected);
    let cases = [
        (
            "train.epoch=3",
            "unknown key `epoch` in [train]",
            "did you mean `epochs`?",
        ),
        (
            "trian.epochs=3",
            "unknown section [trian]",
            "did you mean [train]?",
        ),
        (
            "epochs=3",
            "unknown key `epochs`",
            "`epochs` belongs in [train]",
        ),
        (
            "data.dataset=minst",
            "unknown dataset \"minst\"",
            "did you mean \"mnist\"?",
        ),
        (
            "model.output=softmax",
            "softmax outputs do not go with",
            "`loss.kind` (line 9)",
        ),
        (
            "loss.kind=logistic",
            "sigmoid outputs do not go with",
            "`model.output` (line 7)",
        ),
        (
            "train.max_steps=5",
            "`epochs` and `max_steps`",
            "`train.epochs` (line 13)",
        ),
        ("run.threads=70000", "found 70000", "from 1 to 1024"),
        (
            "model.hidden=[30,0]",
            "`hidden[1]` is out of range: found 0",
            "from 1 to 65536",
        ),
        (
            "data=3",
            "`data` must be a section, found the integer 3",
            "[data]",
        ),
        ("seed.x=3", "`seed` is not a section", "seed=VALUE"),
        ("epochs", "missing `=`", "KEY=VALUE"),
        ("train.epochs=", "missing value after the `=`", "KEY=VALUE"),
        ("=3", "missing key before the `=`", "KEY=VALUE"),
        ("train..epochs=3", "is not a key", "section.key"),
        ("model.hidden=[30", "the value is not TOML", "a bare word"),
    ];
    for (set, message, way_out) in cases {
        assert_alone(
            &errors_of(RIGHT, &[set]),
            &[message, way_out, &format!("--> --set {set}\n")],
        );
    }
}

#[test]
fn the_seed_and_threads_of_the_command_line_are_checked_too() {
    let overrides = Overrides {
        set: vec!["seed=5".to_owned()],
        seed: Some(u64::MAX),
        threads: Some(0),
    };
    let error = Config::parse(RIGHT, Path::new("a.toml"), &overrides).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let report = error.to_string();
    assert_holds(
        &report,
        &[
            "--> --threads 0",
            "--> --seed 18446744073709551615",
            "2 errors",
        ],
    );
}

#[test]
fn files_that_are_not_configs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str| Config::load(&folder.path().join(name), &Overrides::default());
    let refusal = |name: &str| {
        let error = load(name).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    };
    assert_holds(
        &refusal("none.toml"),
        &["none.toml", "no such file", "config init"],
    );
    assert_holds(&refusal(""), &["is a folder, not a regular file"]);
    std::fs::write(folder.path().join("large.toml"), " ".repeat((1 << 20) + 1)).unwrap();
    assert_holds(&refusal("large.toml"), &["larger than 256 KiB"]);
    std::fs::write(
        folder.path().join("latin.toml"),
        b"seed = 1\nname = \"caf\xe9\"\n",
    )
    .unwrap();
    assert_holds(
        &refusal("latin.toml"),
        &["not UTF-8", "0xe9", "latin.toml:2:12", "1 error in"],
    );
    std::fs::write(
        folder.path().join("deep.toml"),
        format!("a = {}", "[".repeat(250_000)),
    )
    .unwrap();
    assert_holds(&refusal("deep.toml"), &["not TOML"]);
}

proptest::proptest! {
    #![proptest_config(property_cases(256))]

    #[test]
    fn no_damage_to_a_config_makes_reading_panic(
        at in 0..RIGHT.len(),
        length in 0..40_usize,
        by in "[\\[\\]{}=\"'.,#\\-0-9a-zé\\n\\r\\t ]{0,12}",
        set in "[a-z.]{0,12}=?[\\[\\]{}\"'.,0-9a-zé ]{0,8}",
    ) {
        let end = (at + length).min(RIGHT.len());
        let text = format!("{}{by}{}", &RIGHT[..at], &RIGHT[end..]);
        let overrides = Overrides { set: vec![set], ..Overrides::default() };
        if let Err(error) = Config::parse(&text, Path::new("a.toml"), &overrides) {
            proptest::prop_assert_eq!(error.exit_code(), 2);
            let report = error.to_string();
            proptest::prop_assert!(report.contains('^') && report.ends_with(" in a.toml"));
        }
    }
}

#[test]
fn a_key_of_another_optimizer_is_refused_with_the_kinds_it_belongs_to() {
    let with = |kind: &str, line: &str| {
        let text = RIGHT.replace("learning_rate = 3.0", &format!("kind = \"{kind}\"\n{line}"));
        errors_of(&text, &[])
    };
    let cases = [
        (
            "adam",
            "momentum = 0.9",
            "set kind = \"sgd\", or remove `momentum`",
        ),
        (
            "adam",
            "memory = 10",
            "set kind = \"lbfgs\", or remove `memory`",
        ),
        (
            "lbfgs",
            "learning_rate = 1",
            "set kind = \"sgd\" or \"adam\" or \"rmsprop\", or remove `learning_rate`",
        ),
        (
            "lbfgs",
            "weight_decay = 0.0",
            "`weight_decay` has no meaning with lbfgs",
        ),
        (
            "lbfgs",
            "schedule = \"cosine\"",
            "`schedule` has no meaning with lbfgs",
        ),
        (
            "lbfgs",
            "beta1 = 0.9",
            "set kind = \"adam\", or remove `beta1`",
        ),
        (
            "sgd",
            "learning_rate = 1\ntolerance = 1e-6",
            "`tolerance` has no meaning with sgd",
        ),
    ];
    for (kind, line, expected) in cases {
        assert_alone(&with(kind, line), &[expected, "conflicts with `optimizer."]);
    }
    assert_alone(
        &with("adam", "beta2 = 1"),
        &[
            "`beta2` is out of range: found 1",
            "a number from 0 to below 1",
        ],
    );
    assert_alone(&with("adam", "epsilon = 0"), &["a number above 0"]);
    assert_alone(&with("lbfgs", "memory = 0"), &["an integer from 1 to 1000"]);
    assert_alone(&with("lbfgs", "tolerance = -1"), &["a number, 0 or above"]);
    assert_alone(
        &with("lbgfs", ""),
        &["unknown kind \"lbgfs\"", "did you mean \"lbfgs\"?"],
    );
    assert_alone(
        &with("sgd", ""),
        &[
            "missing key `learning_rate` in [optimizer]",
            "`learning_rate`: initial learning rate",
        ],
    );
}

#[test]
fn lbfgs_takes_all_rows_and_refuses_a_batch_size() {
    let text = RIGHT
        .replace("learning_rate = 3.0", "kind = \"lbfgs\"")
        .replace("epochs = 30", "epochs = 30\nbatch_size = 50000");
    assert_alone(
        &errors_of(&text, &[]),
        &[
            "`batch_size` has no meaning with lbfgs: its objective is the loss of all training rows",
            "remove `batch_size`, or set kind = \"sgd\" or \"adam\"",
        ],
    );
}

#[test]
fn lbfgs_refuses_gradients_from_random_directions() {
    for method in ["spsa", "forward-gradient"] {
        let text = RIGHT.replace("learning_rate = 3.0", "kind = \"lbfgs\"")
            + &format!("[gradient]\nmethod = \"{method}\"\n");
        let expected = format!("{method} does not go with lbfgs");
        assert_alone(
            &errors_of(&text, &[]),
            &[&expected, "draws new directions for each step"],
        );
    }
}
