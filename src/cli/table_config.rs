//! The config that `config init --data` makes of a table.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::description::{ColumnDescription, Description};
use crate::data::classes::MOST_CLASSES;
use crate::error::{Error, Result};

/// Returns a config that trains on the CSV at `path`, to stand in `folder`: columns that are
/// constant or name rows are ignored, missing values are filled in; a label of measurements is the
/// number that a regression predicts.
///
/// # Errors
/// A file that is missing or invalid, or whose label has one value only, or too many texts.
pub fn config(path: &Path, label: Option<&str>, folder: &Path) -> Result<String> {
    let table = Description::of(path, None, label)?;
    if table.columns.is_empty() {
        return Err(Error::refused(path, "no CSV, of whose columns a config can be made").help(
            "write a config with `nplus1 config init FILE`, and name the arrays or the folder there: train = [\"X.npy\", \"y.npy\"]",
        ));
    }
    let label = label_column(&table, path)?;
    let is_feature = |column: &&ColumnDescription| column.number != label.number;
    let (useless, used): (Vec<_>, Vec<_>) = (table.columns.iter())
        .filter(is_feature)
        .partition(|column| column.is_useless());
    let mut text = format!(
        "# {} rows of {} columns; `nplus1 data describe` shows them.\n\n[data]\ntrain = {}\n",
        table.rows,
        table.columns.len(),
        quoted(&data_path(path, folder)?.to_string_lossy())
    );
    // A header that is a number would be taken for the number of a column.
    let title = label.title();
    let name = if title.parse::<usize>().is_ok() {
        label.number.to_string()
    } else {
        quoted(&title)
    };
    let _ = writeln!(text, "label = {name}");
    let is_regression = table.task == Some("regression");
    if is_regression {
        text.push_str("task = \"regression\"\n");
    }
    if !useless.is_empty() {
        let names: Vec<String> = useless
            .iter()
            .map(|column| quoted(&column.title()))
            .collect();
        let _ = writeln!(text, "ignore = [{}]", names.join(", "));
    }
    if label.missing > 0 {
        text.push_str("missing = \"drop\"\n");
    } else if used.iter().any(|column| column.missing > 0) {
        text.push_str("missing = \"mean\"\n");
    }
    let inputs = |column: &&ColumnDescription| match column.kind {
        "text" => column.distinct,
        _ => 1,
    };
    let inputs: usize = used.iter().map(inputs).sum();
    let hidden = (2 * inputs).clamp(8, 64).next_multiple_of(8);
    let epochs = (200_000 / table.rows.max(1)).clamp(10, 60);
    let outputs = if is_regression {
        ""
    } else {
        "output = \"softmax\"\n\n[loss]\nkind = \"cross-entropy\"\n"
    };
    let _ = write!(
        text,
        "test = 0.2\nnormalize = \"standard\"\n\n[model]\nhidden = [{hidden}]\n{outputs}\n[optimizer]\nkind = \"adam\"\nlearning_rate = 0.01\n\n\
         [train]\nepochs = {epochs}\nbatch_size = 10\n"
    );
    Ok(text)
}

/// Returns the label column; refuses one class, and text that is hardly a class.
fn label_column<'t>(table: &'t Description, path: &Path) -> Result<&'t ColumnDescription> {
    let title = table.label.as_deref().unwrap_or_default();
    let label = table.columns.iter().find(|column| column.title() == title);
    let classes = table.classes.len();
    let most = MOST_CLASSES.min(table.rows / 2);
    let is_answer =
        |_: &&ColumnDescription| table.task == Some("regression") || (2..=most).contains(&classes);
    label.filter(is_answer).ok_or_else(|| {
        Error::refused(
            path,
            format!("the label `{title}` has {classes} different values, which are no classes"),
        )
        .help("choose the column with classes, or with a number to predict: --label \"its header, or its number from 0\"")
    })
}

/// Returns the path of the data as a config in `folder` names it.
fn data_path(path: &Path, folder: &Path) -> Result<PathBuf> {
    if folder.as_os_str().is_empty() || folder == Path::new(".") {
        return Ok(path.to_path_buf());
    }
    match path.file_name().filter(|_| path.parent() == Some(folder)) {
        Some(name) => Ok(PathBuf::from(name)),
        None => std::path::absolute(path).map_err(|source| Error::io("find", path, source)),
    }
}

/// Spells text as a TOML string.
fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}
