//! The `[data]` section: reads the training, validation and test rows of a run.

use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Location};
use super::fields::{FieldValue, SectionReader};
use super::keys;
use super::messages::nearest;
use super::reader::Reader;
use super::sections::to_size;
use crate::data::{DataConfig, DataSource, Missing, Normalize, Share, TableOptions, Task, Unknown};

/// The values that `dataset` allows.
pub const DATASETS: [&str; 6] = [
    "mnist",
    "iris",
    "wine",
    "breast-cancer",
    "digits",
    "diabetes",
];

/// The values that `train` allows, for messages.
const FILES: &str = "\"FILE.csv\", or [\"IMAGES\", \"LABELS\"] for IDX and NPY";
/// The values that `validation` allows, for messages.
const SHARE: &str = "a number of rows (an integer; 0 for none), or a fraction between 0 and 1";

/// Reads the section; relative paths start from `folder`.
pub(super) fn read(reader: &Reader, folder: &Path) -> DataConfig {
    let data = reader.section(&keys::DATA);
    let dataset = data.optional_text("dataset");
    let train = data
        .field("train")
        .map(|field| read_files(&data, &field, folder));
    let (test_files, test) = read_test(&data, folder);
    let label = read_label(&data);
    if let Some((name, place)) = &dataset
        && !DATASETS.contains(&name.as_str())
    {
        let near = nearest(name, DATASETS).map(|near| format!("did you mean \"{near}\"?"));
        let files =
            "for your own files, write train = \"FILE.csv\" instead of `dataset`".to_owned();
        let allowed = format!(
            "allowed: {}",
            DATASETS.map(|name| format!("{name:?}")).join(", ")
        );
        let message = format!("unknown dataset {name:?}");
        reader.refuse(Diagnostic::new(message, place.clone(), allowed).help(near.or(Some(files))));
    }
    let has_files = data.field("train").is_some();
    let options = read_options(&data);
    if data.lacks_all_alternatives() {
        reader.refuse_missing(
            "data",
            "[data] has neither `dataset` nor `train`".to_owned(),
            "add `dataset = …` or `train = …` under [data]",
            format!(
                "the datasets are {}; for your own files, write train = \"FILE.csv\"",
                DATASETS.join(", ")
            ),
        );
    }
    DataConfig {
        source: match dataset {
            Some((name, _)) if !has_files => DataSource::Catalog(name),
            _ => DataSource::Files {
                train: train.unwrap_or_default(),
                test: test_files,
                label,
                options,
            },
        },
        task: read_task(&data),
        validation: data
            .field("validation")
            .and_then(|field| read_share(&data, &field, SHARE)),
        test,
        folds: data.optional_integer("folds").map(to_size),
        limit: data.optional_integer("limit").map(to_size),
        normalize: data.word(
            "normalize",
            &[Normalize::None, Normalize::Unit, Normalize::Standard]
                .map(|normalize| (normalize.name(), normalize)),
        ),
    }
}

/// Reads one path (a CSV) or two (images and labels).
fn read_files(data: &SectionReader, field: &FieldValue, folder: &Path) -> Vec<PathBuf> {
    let allowed = FILES;
    let entries: Vec<(Option<&str>, Location)> = match field.item.as_array() {
        Some(list) => list
            .iter()
            .map(|entry| (entry.as_str(), data.entry_place(field, entry)))
            .collect(),
        None => vec![(field.item.as_str(), field.place.clone())],
    };
    if entries.is_empty() || entries.len() > 2 {
        return data.out_of_range(field, allowed).unwrap_or_default();
    }
    let mut files = Vec::with_capacity(entries.len());
    for (entry, place) in entries {
        let Some(name) = entry else {
            return data
                .wrong_type(field, "one file or two", allowed)
                .unwrap_or_default();
        };
        let file = folder.join(name);
        if name.is_empty() || file.to_str().is_none() {
            let problem = if name.is_empty() {
                "an empty file name"
            } else {
                "a folder whose name is not UTF-8"
            };
            let fault = Diagnostic::new(problem, place, format!("allowed: {allowed}"));
            return data.refuse(field, fault).unwrap_or_default();
        }
        files.push(file);
    }
    files
}

/// Reads `test`: files, or a share of the rows.
fn read_test(data: &SectionReader, folder: &Path) -> (Vec<PathBuf>, Option<Share>) {
    match data.field("test") {
        None => (Vec::new(), None),
        Some(field) if field.item.is_str() || field.item.is_array() => {
            (read_files(data, &field, folder), None)
        }
        Some(field) => (
            Vec::new(),
            read_share(data, &field, &format!("{FILES}; or {SHARE}")),
        ),
    }
}

/// Reads `label`: a column's header, or its number.
fn read_label(data: &SectionReader) -> Option<String> {
    let field = data.field("label")?;
    let allowed = "a column's header in quotes, or its number from 0";
    match (field.item.as_str(), field.item.as_integer()) {
        (Some(""), _) => data.out_of_range(&field, allowed),
        (Some(header), _) => Some(header.to_owned()),
        (_, Some(number)) if field.key.allows_integer(number) => Some(number.to_string()),
        (_, Some(_)) => data.out_of_range(&field, allowed),
        _ => data.wrong_type(&field, "a column", allowed),
    }
}

/// Reads `task` and `targets`, which makes it a regression.
fn read_task(data: &SectionReader) -> Option<Task> {
    let targets = data
        .field("targets")
        .map(|field| read_targets(data, &field));
    let regression = |targets: Option<Vec<String>>| Task::Regression {
        targets: targets.unwrap_or_default(),
    };
    let task = data.field("task").map(|_| {
        let words = [("classification", false), ("regression", true)];
        data.optional_word("task", &words)
    });
    match task {
        Some(Some(false)) => Some(Task::Classification),
        Some(Some(true)) => Some(regression(targets)),
        Some(None) | None => targets.map(|targets| regression(Some(targets))),
    }
}

/// Reads `targets`: a list of headers, or of numbers in quotes.
fn read_targets(data: &SectionReader, field: &FieldValue) -> Vec<String> {
    let allowed = "a list of columns, each a header or a number from 0 in quotes";
    let wrong_type = || {
        data.wrong_type(field, "a list of columns", allowed)
            .unwrap_or_default()
    };
    let Some(list) = field.item.as_array() else {
        return wrong_type();
    };
    if list.is_empty() || list.len() > keys::MOST_TARGETS {
        return data.out_of_range(field, allowed).unwrap_or_default();
    }
    let columns: Option<Vec<String>> = list
        .iter()
        .map(|entry| entry.as_str().filter(|name| !name.is_empty()))
        .map(|name| name.map(str::to_owned))
        .collect();
    columns.unwrap_or_else(wrong_type)
}

/// Reads what is said of a table's columns apart from the label.
fn read_options(data: &SectionReader) -> TableOptions {
    TableOptions {
        ignore: read_ignore(data),
        missing: data.word("missing", &Missing::ALL),
        unknown: data.word("unknown", &Unknown::ALL),
        separator: read_separator(data),
    }
}

/// Reads `ignore`: a list of headers or numbers.
fn read_ignore(data: &SectionReader) -> Vec<String> {
    let Some(field) = data.field("ignore") else {
        return Vec::new();
    };
    let allowed = "a list of headers in quotes, or of numbers from 0 in quotes";
    let Some(list) = field.item.as_array() else {
        return data
            .wrong_type(&field, "a list of columns", allowed)
            .unwrap_or_default();
    };
    let mut columns = Vec::new();
    for entry in list {
        match entry.as_str() {
            Some(header) if !header.is_empty() => columns.push(header.to_owned()),
            _ => {
                return data
                    .wrong_type(&field, "a list of columns", allowed)
                    .unwrap_or_default();
            }
        }
    }
    if columns.is_empty() || columns.len() > keys::MOST_IGNORED {
        return data.out_of_range(&field, allowed).unwrap_or_default();
    }
    columns
}

/// Reads `separator`: one character.
fn read_separator(data: &SectionReader) -> Option<u8> {
    let field = data.field("separator")?;
    let allowed = "one character, such as \";\" or \"\\t\"";
    let Some(text) = field.item.as_str() else {
        return data.wrong_type(&field, "text", allowed);
    };
    match text.as_bytes() {
        [sign] if sign.is_ascii_punctuation() && *sign != b'"' => Some(*sign),
        [sign @ (b'\t' | b' ')] => Some(*sign),
        _ => data.out_of_range(&field, allowed),
    }
}

/// Reads a number of rows or a fraction of them; `None` for 0.
fn read_share(data: &SectionReader, field: &FieldValue, allowed: &str) -> Option<Share> {
    match (field.item.as_integer(), field.item.as_float()) {
        (Some(0), _) => None,
        (Some(rows), _) if field.key.allows_integer(rows) => Some(Share::Rows(to_size(rows))),
        (_, Some(fraction)) if field.key.allows_number(fraction) => Some(Share::Fraction(fraction)),
        (None, None) => data.wrong_type(field, "a number of rows or a fraction", allowed),
        _ => data.out_of_range(field, allowed),
    }
}
