//! The keys before the first section, and those of `[data]`, `[model]` and `[loss]`.

use std::ops::Bound;

use super::{Form, Interval, Key, SectionKeys, Selector};
use crate::config::data::DATASETS;
use crate::config::sections::MOST;

/// The names that are safe as a folder's name.
const NAME: &[Form] = &[Form::Text {
    pattern: Some("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$"),
}];

/// Where the losses are chosen.
const LOSS_KIND: Selector = ("loss", "kind");

const TEXT: Form = Form::Text { pattern: None };
const FILES: Form = Form::Texts { least: 1, most: 2 };
const ROWS: Form = Form::Integer {
    least: 0,
    most: MOST,
};
const FRACTION: Form = Form::Number(Interval {
    lower: Bound::Excluded(0.0),
    upper: Bound::Excluded(1.0),
});

/// The keys before the first section.
pub static TOP: SectionKeys = SectionKeys {
    name: "",
    any_of: &[],
    keys: &[
        Key::new(
            "name",
            NAME,
            "name of the run's folder; default: the config file's name",
        )
        .shown(
            "\"my-net\"",
            "name of the run's folder; default: the name of this file",
        ),
        Key::new(
            "seed",
            &[Form::Integer {
                least: 0,
                most: i64::MAX,
            }],
            "seed of every random stream",
        )
        .default("1")
        .set("1", "seed of every random stream"),
    ],
};

/// The largest number of columns that `targets` lists.
pub const MOST_TARGETS: usize = 1000;

/// The largest number of columns that `ignore` lists.
pub const MOST_IGNORED: usize = 1000;

/// The keys of `[data]`.
pub static DATA: SectionKeys = SectionKeys {
    name: "data",
    any_of: &["dataset", "train"],
    keys: &[
        Key::new(
            "dataset",
            &[Form::Word(&DATASETS)],
            "name of a dataset; for your own files, `train` instead",
        )
        .set("\"mnist\"", "mnist, iris, wine, breast-cancer, digits or diabetes"),
        Key::new(
            "train",
            &[TEXT, FILES],
            "a CSV file, or [images, labels]; relative to the config file",
        )
        .shown(
            "\"train.csv\"",
            "or [\"images.gz\", \"labels.gz\"] for IDX",
        )
        .after_comment("Your own files instead of `dataset`, relative to this file:"),
        Key::new(
            "test",
            &[TEXT, FILES, ROWS, FRACTION],
            "test files, in the same form as `train`; or a number or fraction of rows set aside for the test",
        )
        .shown(
            "\"test.csv\"",
            "or a number or fraction (0.2) of rows to set aside for the test",
        ),
        Key::new(
            "label",
            &[
                TEXT,
                Form::Integer {
                    least: 0,
                    most: i64::MAX,
                },
            ],
            "label column of a CSV: its header, or its number from 0; default: the last column",
        )
        .shown(
            "\"species\"",
            "header of the label column, or its number from 0; default: the last",
        ),
        Key::new(
            "task",
            &[Form::Word(&["classification", "regression"])],
            "classification, or regression (the label column is a number to predict); default: classification, and what a named dataset is for",
        )
        .shown(
            "\"regression\"",
            "predict the number in the label column, not its class",
        ),
        Key::new(
            "targets",
            &[Form::Texts {
                least: 1,
                most: MOST_TARGETS,
            }],
            "columns of a CSV with the numbers that a regression predicts, by header or by number from 0; of arrays their names",
        )
        .shown(
            "[\"price\", \"weight\"]",
            "predict the numbers in these columns",
        ),
        Key::new(
            "ignore",
            &[Form::Texts {
                least: 1,
                most: MOST_IGNORED,
            }],
            "columns of a CSV that are no features, by header, or by number from 0",
        )
        .shown("[\"id\"]", "columns that are no features, by header or number"),
        Key::new(
            "missing",
            &[Form::Word(&["refuse", "mean", "drop"])],
            "missing values of a CSV: refuse them, fill in the mean (of text the most frequent category), or drop their rows",
        )
        .default("\"refuse\"")
        .shown(
            "\"mean\"",
            "missing values: refuse | mean (of text the most frequent one) | drop (the rows)",
        ),
        Key::new(
            "unknown",
            &[Form::Word(&["refuse", "zero"])],
            "categories that no training row has: refuse them, or let all inputs of their column be zero",
        )
        .default("\"refuse\"")
        .shown("\"zero\"", "categories that no training row has: refuse | zero"),
        Key::new(
            "separator",
            &[Form::Text {
                pattern: Some("^[\\t !#-/:-@\\[-`{-~]$"),
            }],
            "character between the columns of a CSV; default: found out",
        )
        .shown("\";\"", "character between columns; default: found out"),
        Key::new(
            "validation",
            &[ROWS, FRACTION],
            "number or fraction of rows set aside for validation",
        )
        .set(
            "10000",
            "number or fraction of rows set aside for validation; 0 for none",
        ),
        Key::new(
            "folds",
            &[Form::Integer {
                least: 2,
                most: 1000,
            }],
            "number of folds of a cross-validation, stratified by class",
        )
        .shown(
            "10",
            "number of folds of a cross-validation, instead of `test`",
        ),
        Key::new(
            "limit",
            &[Form::Integer {
                least: 1,
                most: MOST,
            }],
            "number of training rows to use, from the first",
        )
        .shown("512", "number of training rows to use, from the first"),
        Key::new(
            "normalize",
            &[Form::Word(&["none", "unit", "standard"])],
            "none, unit (scaled to 0…1) or standard (mean 0, deviation 1)",
        )
        .default("\"unit\"")
        .set(
            "\"unit\"",
            "none | unit (scaled to 0…1) | standard (mean 0, deviation 1)",
        ),
    ],
};

/// The keys of `[model]`.
pub static MODEL: SectionKeys = SectionKeys {
    name: "model",
    any_of: &[],
    keys: &[
        Key::new(
            "hidden",
            &[Form::Integers {
                least: 1,
                most: 65_536,
                entries: 32,
            }],
            "units of each hidden layer; [] for none",
        )
        .required()
        .set("[30]", "units of each hidden layer; [] for none"),
        Key::new(
            "output",
            &[Form::Word(&["sigmoid", "softmax", "linear"])],
            "sigmoid, softmax or linear; default: sigmoid, or linear with the logistic loss and in a regression",
        )
        .default_by(
            LOSS_KIND,
            &[
                ("quadratic", "\"sigmoid\""),
                ("cross-entropy", "\"sigmoid\""),
                ("logistic", "\"linear\""),
            ],
        )
        .set("\"sigmoid\"", "sigmoid | softmax | linear"),
        Key::new(
            "initialization",
            &[Form::Word(&["normal", "scaled", "xavier"])],
            "normal N(0, 1), scaled N(0, 1/fan_in) or xavier",
        )
        .default("\"scaled\"")
        .set(
            "\"scaled\"",
            "normal N(0, 1) | scaled N(0, 1/fan_in), biases N(0, 1) | xavier",
        ),
        Key::new("bias", &[Form::Boolean], "whether layers have biases")
            .default("true")
            .set("true", ""),
        Key::new("precision", &[Form::Word(&["f32", "f64"])], "f32 or f64")
            .default("\"f32\"")
            .set("\"f32\"", "f32 | f64"),
    ],
};

/// The keys of `[loss]`.
pub static LOSS: SectionKeys = SectionKeys {
    name: "loss",
    any_of: &[],
    keys: &[
        Key::new(
            "kind",
            &[Form::Word(&["quadratic", "cross-entropy", "logistic"])],
            "quadratic, cross-entropy or logistic; default: cross-entropy, in a regression quadratic",
        )
        .default("\"cross-entropy\"")
        .set(
            "\"cross-entropy\"",
            "quadratic | cross-entropy | logistic (two classes, linear output)",
        ),
        Key::new(
            "l2",
            &[Form::Number(Interval {
                lower: Bound::Included(0.0),
                upper: Bound::Unbounded,
            })],
            "λ of ½λ Σ weights²",
        )
        .default("0.0")
        .set("0.0", "λ of ½λ Σ weights²"),
        Key::new(
            "class_weights",
            &[
                Form::Word(&["balanced"]),
                Form::Numbers {
                    interval: Interval {
                        lower: Bound::Excluded(0.0),
                        upper: Bound::Included(1e9),
                    },
                    least: 2,
                    most: 1000,
                },
            ],
            "factor of the loss of each class: \"balanced\" (rows / (classes · rows of the class)), or a number for each class in their order",
        )
        .shown(
            "\"balanced\"",
            "rare classes weigh more; or one number for each class",
        ),
    ],
};
