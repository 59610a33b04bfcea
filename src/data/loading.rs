//! Loads the datasets that a config names: a named dataset, or the user's own files.
//!
//! A test file must match its training file: the same features, no new classes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::classes::list;
use super::dataset::{Dataset, Features, LoadedData};
use super::search_paths::SearchPaths;
use super::source::{DataConfig, DataSource};
use super::{catalog, csv, idx};
use crate::error::{Error, Result};

/// Reads the data that `config` names; relative paths start from `base`, the config file's folder.
///
/// # Errors
/// Missing or invalid files; a test file whose features or classes do not match the training file.
pub fn load(config: &DataConfig, paths: &SearchPaths, base: &Path) -> Result<LoadedData> {
    match &config.source {
        DataSource::Catalog(name) => {
            let (train, test) = catalog::load(name, paths)?;
            Ok(LoadedData { train, test })
        }
        DataSource::Files { train, test, label } => {
            let train = Files::read(train, base, label.as_deref(), None)?;
            if test.is_empty() {
                return Ok(LoadedData {
                    train: Arc::new(train.dataset),
                    test: None,
                });
            }
            let test = Files::read(test, base, label.as_deref(), Some(&train))?.dataset;
            let (train, test) = unify_types(train.dataset, test);
            Ok(LoadedData {
                train: Arc::new(train),
                test: Some(Arc::new(test)),
            })
        }
    }
}

/// Reads the user's own files for an existing model, with its number of features and its classes.
///
/// `paths` is one CSV, or an images file and a labels file; `model` is named in messages.
///
/// # Errors
/// Missing or invalid files; another number of features, or a class that the model does not have.
pub fn load_for(
    paths: &[PathBuf],
    label: Option<&str>,
    model: &Path,
    features: usize,
    class_names: &[String],
) -> Result<Dataset> {
    let known = ExpectedFormat {
        path: model,
        features,
        feature_names: None,
        class_names,
    };
    Files::read_as(paths, Path::new(""), label, Some(&known)).map(|files| files.dataset)
}

/// A dataset read from the user's own files.
struct Files {
    /// The file named in messages: the CSV, or the images.
    path: PathBuf,
    dataset: Dataset,
    feature_names: Option<Vec<String>>,
}

/// The features and classes that a further file must have.
struct ExpectedFormat<'a> {
    path: &'a Path,
    features: usize,
    feature_names: Option<&'a [String]>,
    class_names: &'a [String],
}

impl Files {
    /// Reads the files; a test file must match `train`.
    fn read(
        paths: &[PathBuf],
        base: &Path,
        label: Option<&str>,
        train: Option<&Self>,
    ) -> Result<Self> {
        let known = train.map(|train| ExpectedFormat {
            path: &train.path,
            features: train.dataset.feature_count(),
            feature_names: train.feature_names.as_deref(),
            class_names: &train.dataset.class_names,
        });
        Self::read_as(paths, base, label, known.as_ref())
    }

    /// Reads the files; they must match `known`, if it is given.
    fn read_as(
        paths: &[PathBuf],
        base: &Path,
        label: Option<&str>,
        known: Option<&ExpectedFormat>,
    ) -> Result<Self> {
        match paths {
            [table] => Self::read_table(base.join(table), label, known),
            [images, labels] => {
                if let Some(label) = label {
                    return Err(Error::refused(
                        base.join(images),
                        format!("`label = \"{label}\"` names a column of a CSV, but two files are read as IDX images and labels"),
                    )
                    .help("remove `label`, or name one CSV file"));
                }
                Self::read_images(base.join(images), &base.join(labels), known)
            }
            _ => Err(Error::Usage(format!(
                "{} data files; allowed are one CSV, or two IDX files: images and labels",
                paths.len()
            ))),
        }
    }

    fn read_table(
        path: PathBuf,
        label: Option<&str>,
        known: Option<&ExpectedFormat>,
    ) -> Result<Self> {
        let mut table = csv::read(&path, label, None)?;
        if let Some(known) = known {
            known.check_features(
                &path,
                table.features.dim().1,
                table.feature_names.as_deref(),
            )?;
            table
                .classes
                .renumber(known.class_names, &path, known.path)?;
        } else if let [only] = &table.classes.names[..] {
            return Err(Error::refused(
                &path,
                format!(
                    "every label is `{}`; a dataset has at least 2 classes",
                    csv::shown(only)
                ),
            )
            .help("choose the label column: label = \"its header, or its number from 0\""));
        }
        Ok(Self {
            dataset: Dataset {
                name: stem(&path),
                features: table.features,
                labels: table.classes.labels,
                class_names: table.classes.names,
                image: None,
                unit_divisor: None,
            },
            feature_names: table.feature_names,
            path,
        })
    }

    fn read_images(path: PathBuf, labels: &Path, known: Option<&ExpectedFormat>) -> Result<Self> {
        let class_names = known.map(|known| known.class_names);
        let name = stem(&path);
        let dataset = idx::load((&path, None), (labels, None), name, class_names)?;
        if let Some(known) = known {
            known.check_features(&path, dataset.feature_count(), None)?;
        }
        Ok(Self {
            path,
            dataset,
            feature_names: None,
        })
    }
}

impl ExpectedFormat<'_> {
    /// Refuses another number of features, or other names of them.
    fn check_features(&self, path: &Path, found: usize, names: Option<&[String]>) -> Result<()> {
        if found != self.features {
            return Err(Error::refused(
                path,
                format!(
                    "{found} features per row, but {} has {}",
                    self.path.display(),
                    self.features
                ),
            ));
        }
        if let (Some(names), Some(known)) = (names, self.feature_names)
            && names != known
        {
            return Err(Error::refused(
                path,
                format!(
                    "the columns are {}, but those of {} are {}",
                    list(names),
                    self.path.display(),
                    list(known)
                ),
            )
            .help("give the columns of both files the same names in the same order"));
        }
        Ok(())
    }
}

/// Converts bytes to reals if only one of the datasets has bytes.
fn unify_types(mut train: Dataset, mut test: Dataset) -> (Dataset, Dataset) {
    match (&train.features, &test.features) {
        (Features::Bytes(bytes), Features::Reals(_)) => {
            train.features = Features::Reals(bytes.mapv(f64::from));
        }
        (Features::Reals(_), Features::Bytes(bytes)) => {
            test.features = Features::Reals(bytes.mapv(f64::from));
        }
        _ => {}
    }
    (train, test)
}

/// Returns the name without folder and extensions: `flowers` of `data/flowers.csv.gz`.
fn stem(path: &Path) -> String {
    let name = path
        .file_name()
        .map_or_else(|| "data".into(), |name| name.to_string_lossy());
    name.split('.')
        .find(|part| !part.is_empty())
        .unwrap_or("data")
        .to_owned()
}
