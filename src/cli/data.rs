//! `nplus1 data`: lists, verifies and describes the named datasets, and describes files.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::arguments::DataCommand;
use super::description::Description;
use crate::data::catalog::{self, CatalogEntry};
use crate::data::classes;
use crate::data::input::sha256;
use crate::data::{Dataset, Features, SearchPaths};
use crate::error::{Error, Result};

/// Runs `command`, writing to `out`: a table, or with `json` one JSON document.
///
/// # Errors
/// An unknown name, a missing or damaged file (after the whole table is written), a failed write.
pub fn run(
    command: &DataCommand,
    search_paths: &SearchPaths,
    json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    match command {
        DataCommand::List => list(search_paths, json, out),
        DataCommand::Verify { name } => verify(name.as_deref(), search_paths, json, out),
        DataCommand::Describe {
            name,
            labels,
            label,
        } => match named(name).filter(|_| labels.is_none() && label.is_none()) {
            Some(name) => describe(name, search_paths, json, out),
            None => {
                let description = Description::of(name, labels.as_deref(), label.as_deref())?;
                if json {
                    return write_json(&description, out);
                }
                written(write!(out, "{description}"))
            }
        },
    }
}

/// Returns the name of a dataset, if `path` is none of a file.
fn named(path: &Path) -> Option<&str> {
    let name = path.to_str().filter(|_| !path.exists())?;
    let is_path = name.contains(['/', '\\', '.']);
    Some(name).filter(|name| !is_path || catalog::names().any(|known| known == *name))
}

/// Row of `data list`.
#[derive(Serialize)]
struct DatasetListing {
    name: &'static str,
    title: &'static str,
    rows: usize,
    test_rows: usize,
    features: usize,
    classes: usize,
    license: &'static str,
    /// Folder of the dataset; `None` if it is not found.
    folder: Option<String>,
}

fn list(search_paths: &SearchPaths, json: bool, out: &mut dyn Write) -> Result<()> {
    let sets: Vec<DatasetListing> = catalog::entries()
        .iter()
        .map(|entry| DatasetListing {
            name: entry.name,
            title: entry.title,
            rows: entry.rows,
            test_rows: entry.test_rows,
            features: entry.features,
            classes: entry.class_names.len(),
            license: entry.license,
            folder: search_paths.find(entry).ok().map(|folder| text(&folder)),
        })
        .collect();
    let folders: Vec<(&str, String)> = search_paths
        .iter()
        .map(|place| (place.why, text(&place.folder)))
        .collect();
    if json {
        let folders: Vec<_> = folders
            .iter()
            .map(|(why, folder)| serde_json::json!({"why": why, "folder": folder}))
            .collect();
        return write_json(
            &serde_json::json!({"datasets": sets, "places": folders}),
            out,
        );
    }
    written(write_list(&sets, &folders, out))
}

fn write_list(
    sets: &[DatasetListing],
    folders: &[(&str, String)],
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(
        out,
        "{:<14} {:>14} {:>8} {:>7}  found in",
        "dataset", "rows", "features", "classes"
    )?;
    for set in sets {
        let rows = match set.test_rows {
            0 => set.rows.to_string(),
            test => format!("{} + {test}", set.rows),
        };
        let found = set.folder.as_deref().unwrap_or("missing");
        writeln!(
            out,
            "{:<14} {rows:>14} {:>8} {:>7}  {found}",
            set.name, set.features, set.classes
        )?;
    }
    writeln!(out, "\nfolders searched, in this order:")?;
    for (why, folder) in folders {
        writeln!(out, "  {folder} ({why})")?;
    }
    Ok(())
}

/// State of one file, as `data verify` shows it.
#[derive(Serialize)]
struct FileVerification {
    dataset: &'static str,
    path: String,
    /// `ok`, `missing` or `wrong`.
    state: &'static str,
    expected: &'static str,
    /// Checksum of the file, if it exists.
    found: Option<String>,
}

fn verify(
    name: Option<&str>,
    search_paths: &SearchPaths,
    json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let entries: Vec<&CatalogEntry> = match name {
        Some(name) => vec![catalog::entry(name)?],
        None => catalog::entries().iter().collect(),
    };
    let mut files = Vec::new();
    for entry in entries {
        files.extend(verify_set(entry, search_paths)?);
    }
    let bad: Vec<&FileVerification> = files.iter().filter(|file| file.state != "ok").collect();
    if json {
        write_json(
            &serde_json::json!({"ok": bad.is_empty(), "files": files}),
            out,
        )?;
    } else {
        written(write_verified(&files, out))?;
    }
    let Some(first) = bad.first() else {
        return Ok(());
    };
    let problem = match &first.found {
        Some(found) => format!(
            "wrong checksum: SHA-256 found {found}, expected {}",
            first.expected
        ),
        None => "missing".to_owned(),
    };
    Err(Error::refused(
        &first.path,
        format!("{problem} ({} of {} files bad)", bad.len(), files.len()),
    )
    .help("restore the files from the project's datasets/ folder; `nplus1 data list` shows the folders searched"))
}

fn verify_set(
    entry: &'static CatalogEntry,
    search_paths: &SearchPaths,
) -> Result<Vec<FileVerification>> {
    let folder = search_paths
        .find(entry)
        .ok()
        .or_else(|| search_paths.find_any(entry));
    entry
        .files
        .iter()
        .map(|file| {
            let relative = Path::new(entry.name).join(file.name);
            let path = folder.as_ref().map(|folder| folder.join(file.name));
            let there = path.as_ref().filter(|path| path.exists());
            let found = there.map(|path| sha256(path)).transpose()?;
            Ok(FileVerification {
                dataset: entry.name,
                path: text(&path.unwrap_or(relative)),
                state: match &found {
                    None => "missing",
                    Some(found) if found == file.sha256 => "ok",
                    Some(_) => "wrong",
                },
                expected: file.sha256,
                found,
            })
        })
        .collect()
}

fn write_verified(files: &[FileVerification], out: &mut dyn Write) -> io::Result<()> {
    for file in files {
        writeln!(out, "{:<8} {}", file.state, file.path)?;
        if let ("wrong", Some(found)) = (file.state, &file.found) {
            writeln!(out, "           found    {found}")?;
            writeln!(out, "           expected {}", file.expected)?;
        }
    }
    Ok(())
}

/// Content of `data describe`.
#[derive(Serialize)]
struct DatasetDescription {
    name: &'static str,
    title: &'static str,
    features: usize,
    /// The names of the features, if the source has them.
    feature_names: Vec<String>,
    image: Option<(usize, usize)>,
    unit_divisor: Option<f64>,
    class_names: &'static [&'static str],
    /// The numbers to predict, if there are no classes.
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    targets: &'static [&'static str],
    train: PartStatistics,
    test: Option<PartStatistics>,
    source: &'static str,
    license: &'static str,
    citation: &'static str,
    files: Vec<FileVerification>,
}

/// Statistics of the rows of a part.
#[derive(Serialize)]
struct PartStatistics {
    rows: usize,
    class_counts: Vec<usize>,
    minimum: f64,
    maximum: f64,
    /// The fraction of values that are 0.
    zeros: f64,
}

impl PartStatistics {
    fn of(dataset: &Dataset) -> Self {
        let mut class_counts = vec![0; dataset.class_count()];
        let labels = if dataset.is_regression() {
            &[]
        } else {
            &dataset.labels[..]
        };
        for &label in labels {
            class_counts[usize::from(label)] += 1;
        }
        let (rows, features) = dataset.features.dim();
        let mut zeros = 0usize;
        let (mut minimum, mut maximum) = (f64::INFINITY, f64::NEG_INFINITY);
        let mut visit = |value: f64| {
            zeros += usize::from(value == 0.0);
            minimum = minimum.min(value);
            maximum = maximum.max(value);
        };
        match &dataset.features {
            Features::Bytes(values) => values.iter().for_each(|&value| visit(f64::from(value))),
            Features::Reals(values) => values.iter().for_each(|&value| visit(value)),
        }
        Self {
            rows,
            class_counts,
            minimum,
            maximum,
            zeros: zeros as f64 / (rows * features) as f64,
        }
    }
}

fn describe(name: &str, search_paths: &SearchPaths, json: bool, out: &mut dyn Write) -> Result<()> {
    let entry = catalog::entry(name)?;
    let (train, test) = entry.load(search_paths)?;
    let described = DatasetDescription {
        name: entry.name,
        title: entry.title,
        features: entry.features,
        feature_names: train.schema().names().map(str::to_owned).collect(),
        image: entry.image,
        unit_divisor: entry.unit_divisor,
        class_names: entry.class_names,
        targets: entry.targets,
        train: PartStatistics::of(&train),
        test: test.as_ref().map(PartStatistics::of),
        source: entry.source,
        license: entry.license,
        citation: entry.citation,
        files: verify_set(entry, search_paths)?,
    };
    if json {
        return write_json(&described, out);
    }
    written(write_described(&described, out))
}

fn write_described(set: &DatasetDescription, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}: {}", set.name, set.title)?;
    let image = set.image.map_or_else(String::new, |(height, width)| {
        format!(" ({height} × {width})")
    });
    writeln!(out, "features  {}{image}", set.features)?;
    if !set.feature_names.is_empty() {
        writeln!(out, "  {}", classes::list(&set.feature_names))?;
    }
    let parts = [
        Some(("train", &set.train)),
        set.test.as_ref().map(|test| ("test", test)),
    ];
    for (name, part) in parts.iter().flatten() {
        let name = if set.test.is_some() { *name } else { "rows" };
        writeln!(
            out,
            "{name:<9} {} rows, values {}…{}, {:.1} % of them 0",
            part.rows,
            part.minimum,
            part.maximum,
            100.0 * part.zeros
        )?;
    }
    if let Some(divisor) = set.unit_divisor {
        writeln!(out, "unit      ÷ {divisor}")?;
    }
    if set.targets.is_empty() {
        writeln!(out, "classes   {}", set.class_names.len())?;
    } else {
        writeln!(out, "targets   {}", set.targets.join(", "))?;
    }
    for (class, name) in set.class_names.iter().enumerate() {
        let counts: Vec<String> = parts
            .iter()
            .flatten()
            .map(|(_, part)| part.class_counts[class].to_string())
            .collect();
        writeln!(out, "  {name:<12} {}", counts.join(" + "))?;
    }
    writeln!(out, "source    {}", set.source)?;
    writeln!(out, "license   {}", set.license)?;
    writeln!(out, "citation  {}", set.citation)?;
    writeln!(out, "files")?;
    for file in &set.files {
        writeln!(out, "  {}", file.path)?;
        writeln!(out, "    sha256 {}", file.expected)?;
    }
    Ok(())
}

/// Returns a path as text, with invalid Unicode replaced, which JSON could not hold.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn write_json(document: &impl Serialize, out: &mut dyn Write) -> Result<()> {
    let text = serde_json::to_string_pretty(document)
        .expect("texts, finite numbers and lists of them are always JSON");
    written(writeln!(out, "{text}"))
}

fn written(result: io::Result<()>) -> Result<()> {
    result.map_err(|source| Error::io("write", Path::new("standard output"), source))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn output(
        command: &DataCommand,
        search_paths: &SearchPaths,
        json: bool,
    ) -> (String, Result<()>) {
        let mut out = Vec::new();
        let result = run(command, search_paths, json, &mut out);
        (String::from_utf8(out).unwrap(), result)
    }

    fn describe(name: &str) -> DataCommand {
        DataCommand::Describe {
            name: name.into(),
            labels: None,
            label: None,
        }
    }

    #[test]
    fn list_names_every_dataset() {
        let search_paths = SearchPaths::new(None);
        let (text, result) = output(&DataCommand::List, &search_paths, false);
        result.unwrap();
        for name in catalog::names() {
            assert!(
                text.lines().any(|line| line.starts_with(name)),
                "{name}: {text}"
            );
        }
        assert!(text.contains("60000 + 10000"));
        let (text, _) = output(&DataCommand::List, &search_paths, true);
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["datasets"][0]["test_rows"], 10_000);
        assert_eq!(document["datasets"].as_array().unwrap().len(), 6);
    }

    #[test]
    fn describe_counts_classes_values_and_zeros() {
        let (text, result) = output(&describe("digits"), &SearchPaths::new(None), true);
        result.unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["train"]["rows"], 1797);
        assert_eq!(document["train"]["maximum"], 16.0);
        let expected = serde_json::json!([178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert_eq!(document["train"]["class_counts"], expected);
        let (text, _) = output(&describe("iris"), &SearchPaths::new(None), false);
        assert!(
            text.contains("150 rows, values 0.1…7.9, 0.0 % of them 0"),
            "{text}"
        );
        assert!(text.contains("versicolor   50"), "{text}");
    }

    #[test]
    fn verify_finds_whole_missing_and_wrong_files() {
        let (text, result) = output(
            &DataCommand::Verify { name: None },
            &SearchPaths::new(None),
            false,
        );
        result.unwrap();
        assert_eq!(
            text.lines().filter(|line| line.starts_with("ok")).count(),
            9
        );

        let folder = tempfile::tempdir().unwrap();
        let search_paths = SearchPaths::new(Some(folder.path()));
        let iris = DataCommand::Verify {
            name: Some("iris".into()),
        };
        let (text, result) = output(&iris, &search_paths, false);
        assert!(text.starts_with("missing"), "{text}");
        assert_eq!(result.unwrap_err().exit_code(), 2);

        fs::create_dir(folder.path().join("iris")).unwrap();
        fs::write(folder.path().join("iris/iris.csv"), "1,2,3\n").unwrap();
        let (text, result) = output(&iris, &search_paths, true);
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["ok"], false);
        assert_eq!(document["files"][0]["state"], "wrong");
        let error = result.unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("(1 of 1 files bad)"), "{error}");
    }

    #[test]
    fn an_unknown_name_is_refused_before_anything_is_written() {
        let (text, result) = output(&describe("wein"), &SearchPaths::new(None), false);
        assert_eq!(text, "");
        assert_eq!(result.unwrap_err().exit_code(), 2);
    }
}
