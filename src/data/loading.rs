//! Loads the datasets that a config names: a named dataset, or the user's own files.
//!
//! A test file must match its training file: the same features, no new classes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::classes::list;
use super::dataset::{Dataset, Features, LoadedData};
use super::search_paths::SearchPaths;
use super::source::{DataConfig, DataSource, Task};
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
            check_task(&train, config.task.as_ref())?;
            Ok(LoadedData { train, test })
        }
        DataSource::Files { train, test, label } => {
            let answer = Answer {
                label: label.as_deref(),
                task: config.task.as_ref(),
            };
            let train = Files::read(train, base, answer, None)?;
            if test.is_empty() {
                return Ok(LoadedData {
                    train: Arc::new(train.dataset),
                    test: None,
                });
            }
            let test = Files::read(test, base, answer, Some(&train))?.dataset;
            let (train, test) = unify_types(train.dataset, test);
            Ok(LoadedData {
                train: Arc::new(train),
                test: Some(Arc::new(test)),
            })
        }
    }
}

/// Reads the user's own files for an existing model, with its number of features and its classes,
/// or the names of the numbers that it predicts.
///
/// `paths` is one CSV, or an images file and a labels file; `model` is named in messages.
///
/// # Errors
/// Missing or invalid files; another number of features, a class that the model does not have, or
/// no column of a target's name.
pub fn load_for(
    paths: &[PathBuf],
    label: Option<&str>,
    model: &Path,
    features: usize,
    class_names: &[String],
    targets: Option<&[String]>,
) -> Result<Dataset> {
    let task = match targets {
        // A model of a file without a header numbers its targets.
        Some(targets) => Task::Regression {
            targets: (targets.iter())
                .map(|name| name.strip_prefix("column ").unwrap_or(name).to_owned())
                .collect(),
        },
        None => Task::Classification,
    };
    let answer = Answer {
        label,
        task: Some(&task),
    };
    let known = ExpectedFormat {
        path: model,
        features,
        feature_names: None,
        class_names,
    };
    Files::read_as(paths, Path::new(""), answer, Some(&known)).map(|files| files.dataset)
}

/// Refuses a task that a named dataset is not for.
fn check_task(dataset: &Dataset, task: Option<&Task>) -> Result<()> {
    let (has, help) = match (dataset.is_regression(), task) {
        (true, Some(Task::Classification)) => ("numbers to predict, no classes", "regression"),
        (false, Some(Task::Regression { .. })) => {
            ("classes, no numbers to predict", "classification")
        }
        _ => return Ok(()),
    };
    let problem = format!("the dataset has {has}");
    let help = format!("set task = \"{help}\", or leave `task` out");
    Err(Error::refused(&dataset.name, problem).help(help))
}

/// What is predicted from the features of a file.
#[derive(Clone, Copy)]
struct Answer<'a> {
    /// The label column, by header or by number.
    label: Option<&'a str>,
    task: Option<&'a Task>,
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
        answer: Answer<'_>,
        train: Option<&Self>,
    ) -> Result<Self> {
        let known = train.map(|train| ExpectedFormat {
            path: &train.path,
            features: train.dataset.feature_count(),
            feature_names: train.feature_names.as_deref(),
            class_names: &train.dataset.class_names,
        });
        Self::read_as(paths, base, answer, known.as_ref())
    }

    /// Reads the files; they must match `known`, if it is given.
    fn read_as(
        paths: &[PathBuf],
        base: &Path,
        answer: Answer<'_>,
        known: Option<&ExpectedFormat>,
    ) -> Result<Self> {
        match paths {
            [table] => match answer.task {
                Some(Task::Regression { targets }) => {
                    Self::read_targets(base.join(table), answer.label, targets, known)
                }
                _ => Self::read_table(base.join(table), answer, known),
            },
            [images, labels] => {
                if let Some(Task::Regression { .. }) = answer.task {
                    return Err(Error::refused(
                        base.join(labels),
                        "the labels of IDX files are classes, but a regression predicts numbers",
                    )
                    .help("give one CSV whose columns are features and targets"));
                }
                if let Some(label) = answer.label {
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

    /// Reads a CSV of features and numbers to predict: the columns `targets`, or else `label`.
    fn read_targets(
        path: PathBuf,
        label: Option<&str>,
        targets: &[String],
        known: Option<&ExpectedFormat>,
    ) -> Result<Self> {
        let table = match (targets, label) {
            ([], Some(label)) => csv::read_targets(&path, &[label.to_owned()], None)?,
            _ => csv::read_targets(&path, targets, None)?,
        };
        if let Some(known) = known {
            let names = table.feature_names.as_deref();
            known.check_features(&path, table.features.dim().1, names)?;
        }
        Ok(Self {
            dataset: Dataset {
                name: stem(&path),
                features: table.features,
                labels: table.classes.labels,
                class_names: Vec::new(),
                image: None,
                unit_divisor: None,
                targets: table.targets,
            },
            feature_names: table.feature_names,
            path,
        })
    }

    fn read_table(
        path: PathBuf,
        answer: Answer<'_>,
        known: Option<&ExpectedFormat>,
    ) -> Result<Self> {
        let mut table = csv::read(&path, answer.label, None)?;
        if known.is_none() && answer.task.is_none() {
            refuse_measurements(&path, &table)?;
        }
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
                targets: None,
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

/// Distinct numbers in a label column above which they may be measurements.
const MANY_NUMBERS: usize = 50;
/// Rows of a class below which, on average, many integers are taken for measurements.
const FEW_ROWS: usize = 10;

/// Refuses labels that are measurements rather than classes: more than 50 distinct numbers, of which
/// some are no integers, or fewer than 10 rows for each. A config may say that they are classes.
fn refuse_measurements(path: &Path, table: &csv::CsvTable) -> Result<()> {
    let names = &table.classes.names;
    let numbers: Vec<f64> = names.iter().filter_map(|name| name.parse().ok()).collect();
    let distinct = names.len();
    if distinct <= MANY_NUMBERS || numbers.len() < distinct {
        return Ok(());
    }
    let fractions = numbers.iter().any(|number| number.fract() != 0.0);
    if !fractions && table.classes.labels.len() >= FEW_ROWS * distinct {
        return Ok(());
    }
    let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let problem = format!(
        "the labels are {distinct} distinct numbers from {least} to {most} in {} rows: measurements rather than classes",
        table.classes.labels.len()
    );
    Err(Error::refused(path, problem).help(
        "predict the number with task = \"regression\" under [data], or say that they are classes with task = \"classification\"; or choose another label column: label = \"its header, or its number from 0\"",
    ))
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
