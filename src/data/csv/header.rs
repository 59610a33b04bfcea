//! The columns of a CSV whose meaning a config says: which line is the header, which column is the
//! label, which are ignored.

use std::collections::HashSet;
use std::path::Path;

use super::cells::{is_missing, is_word};
use super::layout::{CountsLine, CsvLayout};
use super::records::CsvRow;
use super::{ReadOptions, separator};
use crate::data::classes::{integer, list};
use crate::data::schema::ColumnPlace;
use crate::data::suggestions;
use crate::error::{Error, Result};

/// Finds the columns of a training file from its first rows.
///
/// # Errors
/// A column that does not exist or is ambiguous, or too few columns.
pub(super) fn discover(
    rows: &[CsvRow],
    options: &ReadOptions,
    separator: u8,
    path: &Path,
) -> Result<CsvLayout> {
    let mut layout = columns(rows, options, separator, path)?;
    if options.describes
        && let Some(label) = layout.label.take()
    {
        let at = layout
            .features
            .partition_point(|(source, _)| *source < label);
        let name = layout.names.get(label).cloned();
        layout.features.insert(at, (label, name));
    }
    Ok(layout)
}

fn columns(
    rows: &[CsvRow],
    options: &ReadOptions,
    separator: u8,
    path: &Path,
) -> Result<CsvLayout> {
    let [first, rest @ ..] = rows else {
        return Err(Error::refused(path, "empty file").help("a CSV has one row per line"));
    };
    let fields = first.texts(path)?;
    if let Some(counts) = counts_line(&fields, rest.first(), options) {
        if options.targets.is_some() {
            return Err(Error::refused(
                path,
                "its first line names classes, so its last column is a label, not a number to predict",
            )
            .at(format!("line {}", first.line))
            .help("leave out `task`"));
        }
        let mut layout = layout(&[], rest[0].fields.len(), (options, &rest[0], path))?;
        layout.has_header = true;
        layout.counts = Some(counts);
        return Ok(layout);
    }
    if fields.len() < 2 {
        let help = if options.separator.is_some() {
            format!(
                "the config says that {} separate columns",
                separator::name(separator)
            )
        } else {
            "separate the columns with commas, semicolons, tabs, bars or blanks".to_owned()
        };
        return Err(Error::refused(
            path,
            "1 column; a dataset has at least one feature and a label",
        )
        .at(format!("line {}", first.line))
        .help(help));
    }
    let named = [options.label]
        .into_iter()
        .flatten()
        .chain(options.targets.unwrap_or(&[]).iter().map(String::as_str))
        .chain(options.ignore.iter().map(String::as_str))
        .filter(|name| name.parse::<usize>().is_err());
    let named: Vec<&str> = named.collect();
    let mut has_header = named.iter().any(|name| fields.contains(name));
    if !has_header {
        let excluded = layout(&[], fields.len(), (&without_names(options), first, path))?;
        has_header = is_header(&fields, rest, &excluded);
    }
    if let (false, Some(name)) = (has_header, named.first()) {
        return Err(
            Error::refused(path, format!("no column `{name}`: the file has no header"))
                .at(format!("line {}", first.line))
                .help(format!(
                    "give the column by its number, 0…{}",
                    fields.len() - 1
                )),
        );
    }
    let names: Vec<String> = if has_header {
        fields.iter().map(ToString::to_string).collect()
    } else {
        Vec::new()
    };
    layout(&names, fields.len(), (options, first, path))
}

/// Returns the options with the columns that are given by number alone.
fn without_names<'a>(options: &ReadOptions<'a>) -> ReadOptions<'a> {
    ReadOptions {
        label: options.label.filter(|name| name.parse::<usize>().is_ok()),
        ignore: &[],
        targets: options
            .targets
            .filter(|targets| targets.iter().all(|name| name.parse::<usize>().is_ok())),
        ..*options
    }
}

/// Returns the counts and class names, if this is the first line of a dataset of scikit-learn.
fn counts_line(
    fields: &[&str],
    second: Option<&CsvRow>,
    options: &ReadOptions,
) -> Option<CountsLine> {
    let [rows, features, names @ ..] = fields else {
        return None;
    };
    let (rows, features): (usize, usize) = (rows.parse().ok()?, features.parse().ok()?);
    let fits = names.len() >= 2
        && names.iter().all(|name| name.parse::<f64>().is_err())
        && second?.fields.len() == features.checked_add(1)?
        && options
            .label
            .is_none_or(|label| label.parse() == Ok(features));
    fits.then(|| CountsLine {
        rows,
        names: names.iter().map(ToString::to_string).collect(),
    })
}

/// Returns whether the first line has column names: most of its feature columns are words, and
/// below one of them are numbers; if words are everywhere, they do not occur again. Names may be
/// numbers if only the label's is a word.
fn is_header(fields: &[&str], rest: &[CsvRow], layout: &CsvLayout) -> bool {
    let value = |row: &CsvRow, column: usize| {
        let field = row.fields.get(column).unwrap_or_default().trim_ascii();
        String::from_utf8_lossy(field).into_owned()
    };
    let target = layout.targets.first().map(|(at, _)| *at);
    let label = layout.label.or(target).unwrap_or(usize::MAX);
    let label_of = |row: &CsvRow| match target {
        Some(_) => value(row, label).parse::<f64>().is_ok(),
        None => integer(&value(row, label)).is_some(),
    };
    let label_name = fields.get(label).is_some_and(|name| is_word(name));
    if label_name && !rest.is_empty() && rest.iter().all(label_of) {
        let below = |column: usize| rest.iter().all(|row| !is_word(&value(row, column)));
        let features = layout.features.iter();
        if features.map(|(source, _)| *source).all(below) {
            return true;
        }
    }
    let sources = layout.features.iter().map(|(source, _)| *source);
    let words: Vec<usize> = sources.filter(|&source| is_word(fields[source])).collect();
    if 2 * words.len() <= layout.features.len() {
        return false;
    }
    if rest.is_empty() {
        return true;
    }
    let is_text = |column: &usize| rest.iter().any(|row| is_word(&value(row, *column)));
    if words.iter().any(|column| !is_text(column)) {
        return true;
    }
    // All words stand above words. Numbers in the line are values.
    let others = layout
        .features
        .iter()
        .filter(|(source, _)| !words.contains(source));
    if others
        .into_iter()
        .any(|(source, _)| !is_missing(fields[*source]))
    {
        return false;
    }
    let recurs = |column: &usize| {
        rest.iter()
            .any(|row| value(row, *column) == fields[*column])
    };
    !words.iter().any(recurs)
}

/// Assigns the columns as the options say. `names` is empty without a header.
fn layout(
    names: &[String],
    width: usize,
    (options, first, path): (&ReadOptions, &CsvRow, &Path),
) -> Result<CsvLayout> {
    let place = format!("line {}", first.line);
    let find = |name: &str, what: &str| -> Result<usize> {
        if let Some(found) = find_name(name, names, path, &place)? {
            return Ok(found);
        }
        match name.parse::<usize>() {
            Ok(number) if number < width => Ok(number),
            Ok(number) => Err(Error::refused(
                path,
                format!("no {what} {number}: the columns are 0…{}", width - 1),
            )
            .at(place.clone())),
            Err(_) => Err(no_column(name, names, path).at(place.clone())),
        }
    };
    let title = |at: usize| {
        let name = names.get(at).cloned();
        name.unwrap_or_else(|| format!("column {at}"))
    };
    let mut ignored = Vec::new();
    for name in options.ignore {
        let at = find(name, "column")?;
        if ignored.iter().all(|place: &ColumnPlace| place.at != at) {
            ignored.push(ColumnPlace {
                name: names.get(at).cloned(),
                at,
            });
        }
    }
    ignored.sort_by_key(|place| place.at);
    let is_ignored = |column: &usize| ignored.iter().any(|place| place.at == *column);
    let mut targets: Vec<usize> = Vec::new();
    for name in options.targets.unwrap_or(&[]) {
        targets.push(find(name, "column")?);
    }
    let mut label = match options.label {
        _ if !targets.is_empty() => None,
        Some(name) => Some(find(name, "label column")?),
        None => (0..width).rev().find(|column| !is_ignored(column)),
    };
    if options.targets.is_some() {
        targets.extend(label.take());
    }
    let targets: Vec<(usize, String)> = targets.into_iter().map(|at| (at, title(at))).collect();
    check_answers(label, &targets, is_ignored, path).map_err(|error| error.at(&place))?;
    let is_answer =
        |column: &usize| Some(*column) == label || targets.iter().any(|(at, _)| at == column);
    let sources = (0..width).filter(|column| !is_answer(column) && !is_ignored(column));
    let features: Vec<(usize, Option<String>)> = sources
        .map(|source| (source, names.get(source).cloned()))
        .collect();
    if features.is_empty() {
        return Err(no_feature(width, !targets.is_empty(), path).at(place));
    }
    let mut seen = HashSet::new();
    let mut given = features.iter().filter_map(|(_, name)| name.as_ref());
    if let Some(twice) = given.find(|name| !seen.insert(*name)) {
        return Err(repeated(twice, path).at(place));
    }
    Ok(CsvLayout {
        has_header: !names.is_empty(),
        counts: None,
        width,
        width_line: first.line,
        features,
        label,
        targets,
        ignored,
        names: names.to_vec(),
        notes: Vec::new(),
    })
}

/// Refuses a label or a target that is ignored, and a target that is named twice.
fn check_answers(
    label: Option<usize>,
    targets: &[(usize, String)],
    is_ignored: impl Fn(&usize) -> bool,
    path: &Path,
) -> Result<()> {
    if label.is_some_and(|label| is_ignored(&label)) {
        return Err(Error::refused(path, "the label column is ignored")
            .help("remove it from `ignore`, or choose another `label`"));
    }
    for (index, (at, name)) in targets.iter().enumerate() {
        if is_ignored(at) {
            let problem = format!("the target `{}` is ignored", super::shown(name));
            return Err(Error::refused(path, problem)
                .help("remove it from `ignore`, or choose other `targets`"));
        }
        if targets[..index].iter().any(|(other, _)| other == at) {
            let problem = format!("`targets` names column {at} twice");
            return Err(Error::refused(path, problem).help("name each column once"));
        }
    }
    Ok(())
}

/// Describes a table without features.
fn no_feature(width: usize, has_targets: bool, path: &Path) -> Error {
    if has_targets {
        let problem = "every column is a target or ignored; none is left as a feature";
        return Error::refused(path, problem)
            .help("leave the columns out of `targets` from which it is predicted");
    }
    let problem = "no feature column; a dataset has at least one feature and a label";
    Error::refused(path, problem).help(format!(
        "the file has {width} columns, without a label and the ignored ones none"
    ))
}

/// Returns the column called `name`; refuses a name that two columns have.
pub(super) fn find_name(
    name: &str,
    names: &[String],
    path: &Path,
    place: &str,
) -> Result<Option<usize>> {
    let mut matches = (0..names.len()).filter(|&column| names[column] == name);
    match (matches.next(), matches.next()) {
        (_, Some(_)) => Err(repeated(name, path).at(place)),
        (found, None) => Ok(found),
    }
}

/// Describes a name that two columns have.
pub(super) fn repeated(name: &str, path: &Path) -> Error {
    Error::refused(
        path,
        format!("two columns are called `{}`", super::shown(name)),
    )
    .help("give each column a name of its own, or choose columns by their numbers from 0")
}

/// Describes a column that does not exist.
pub(super) fn no_column(name: &str, names: &[String], path: &Path) -> Error {
    let nearest = suggestions::nearest(name, names.iter().map(String::as_str));
    Error::refused(
        path,
        format!(
            "no column is called `{name}`{}",
            suggestions::question(nearest)
        ),
    )
    .help(format!("the columns are {}", list(names)))
}
