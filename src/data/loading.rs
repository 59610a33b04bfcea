//! Loads the datasets that a config names: a named dataset, or the user's own files.
//!
//! A test file must match its training file: the same features, no new classes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::array_files::{self, ArrayFormat, WantedTargets};
use super::classes::Classes;
use super::dataset::{Dataset, Features, LoadedData};
use super::schema::Schema;
use super::search_paths::SearchPaths;
use super::source::{DataConfig, DataSource, Task};
use super::table::encode;
use super::{catalog, csv, idx};
use crate::error::{Error, Result};

/// Reads the data that `config` names; relative paths start from `base`, the config file's folder.
///
/// # Errors
/// Missing or invalid files; a test file whose features or classes do not match the training file.
pub fn load(config: &DataConfig, paths: &SearchPaths, base: &Path) -> Result<LoadedData> {
    load_again(config, paths, base, None)
}

/// Reads the data that `config` names, as [`load`] does, for a model that was trained on it: the
/// columns of a table are found by the names that the model knows.
///
/// # Errors
/// Those of [`load`]; a column that is missing, or a class that the model does not have.
pub fn load_again(
    config: &DataConfig,
    paths: &SearchPaths,
    base: &Path,
    model: Option<&ExpectedData>,
) -> Result<LoadedData> {
    match &config.source {
        DataSource::Catalog(name) => {
            let (train, test) = catalog::load(name, paths)?;
            check_task(&train, config.task.as_ref())?;
            Ok(LoadedData { train, test })
        }
        DataSource::Files {
            train,
            test,
            label,
            options,
        } => {
            let options = csv::ReadOptions {
                label: label.as_deref(),
                ignore: &options.ignore,
                missing: options.missing,
                unknown: options.unknown,
                separator: options.separator,
                targets: match &config.task {
                    Some(Task::Regression { targets }) => Some(targets),
                    _ => None,
                },
                has_classes: config.task == Some(Task::Classification),
                describes: false,
            };
            let known = model.filter(|model| model.schema.has_names());
            let known = known.map(ExpectedFormat::of);
            let train = Files::read_as(train, base, &options, known.as_ref())?;
            if test.is_empty() {
                return Ok(LoadedData {
                    train: Arc::new(train.dataset),
                    test: None,
                });
            }
            let test = Files::read(test, base, &options, Some(&train))?.dataset;
            let (train, test) = unify_types(train.dataset, test);
            Ok(LoadedData {
                train: Arc::new(train),
                test: Some(Arc::new(test)),
            })
        }
    }
}

/// Returns whether a file has arrays of NumPy.
///
/// # Errors
/// A missing file, or a failed read.
#[cfg(feature = "cli")]
pub(crate) fn is_array_file(path: &Path) -> Result<bool> {
    Ok(array_files::format_of(path)?.is_some())
}

/// What a model expects of labeled files.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedData<'a> {
    /// The model, for messages.
    pub path: &'a Path,
    /// The columns.
    pub schema: &'a Schema,
    /// The number of inputs.
    pub inputs: usize,
    /// The names of the classes.
    pub class_names: &'a [String],
    /// The names of the numbers that a regression predicts.
    pub targets: Option<&'a [String]>,
}

impl<'a> ExpectedData<'a> {
    /// Returns the columns of a table, with or without a label.
    pub(crate) fn columns(&self, needs_label: bool) -> csv::ExpectedColumns<'a> {
        csv::ExpectedColumns {
            path: self.path,
            schema: self.schema,
            features: match self.schema.columns.len() {
                0 => self.inputs,
                columns => columns,
            },
            targets: self.targets,
            needs_label,
        }
    }
}

/// Reads the user's own files for an existing model: finds the columns of a CSV by the names that
/// the model knows, and makes the network's inputs of them.
///
/// `paths` is one CSV, or an images file and a labels file.
///
/// # Errors
/// Missing or invalid files; columns that are missing, or another number of features; a class or a
/// category that the model does not have; no column of a target's name.
pub fn load_for(paths: &[PathBuf], expected: &ExpectedData) -> Result<Arc<Dataset>> {
    let known = ExpectedFormat::of(expected);
    let options = csv::ReadOptions {
        targets: expected.targets,
        ..csv::ReadOptions::default()
    };
    let files = Files::read_as(paths, Path::new(""), &options, Some(&known))?;
    encode(&Arc::new(files.dataset), expected.schema, &[])
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

/// A dataset read from the user's own files.
struct Files {
    /// The file named in messages: the CSV, or the images.
    path: PathBuf,
    dataset: Dataset,
}

/// The columns and classes that a further file must have.
struct ExpectedFormat<'a> {
    path: &'a Path,
    schema: &'a Schema,
    features: usize,
    class_names: &'a [String],
    /// The names of the numbers of a regression.
    targets: Option<&'a [String]>,
}

impl Files {
    /// Reads the files; a test file must match `train`.
    fn read(
        paths: &[PathBuf],
        base: &Path,
        options: &csv::ReadOptions,
        train: Option<&Self>,
    ) -> Result<Self> {
        let schema = train.map(|train| train.dataset.schema());
        let known = train
            .zip(schema.as_ref())
            .map(|(train, schema)| ExpectedFormat {
                path: &train.path,
                schema,
                features: train.dataset.feature_count(),
                class_names: &train.dataset.class_names,
                targets: train.dataset.targets.as_ref().map(|t| &t.names[..]),
            });
        Self::read_as(paths, base, options, known.as_ref())
    }

    /// Reads the files; they must match `known`, if it is given.
    fn read_as(
        paths: &[PathBuf],
        base: &Path,
        options: &csv::ReadOptions,
        known: Option<&ExpectedFormat>,
    ) -> Result<Self> {
        match paths {
            [table] => {
                let path = base.join(table);
                if path.is_dir() {
                    refuse_numbers(&path, options)?;
                    return Self::read_pictures(path, known);
                }
                let name = stem(&path);
                match array_files::format_of(&path)? {
                    Some(format) if options.targets.is_some() => {
                        let wanted = wanted_targets(options, known);
                        let read = array_files::load_numbers(&path, format, &wanted, name)?;
                        Self::from_numbers(path, read, known)
                    }
                    Some(format) => {
                        let read = array_files::load(&path, format, options.label, name)?;
                        Self::from_arrays(path, read, (options, known))
                    }
                    None => Self::read_table(path, options, known),
                }
            }
            [images, labels] => {
                if let Some(label) = options.label {
                    return Err(Error::refused(
                        base.join(images),
                        format!("`label = \"{label}\"` names a column of a CSV, but two files are read as IDX images and labels"),
                    )
                    .help("remove `label`, or name one CSV file"));
                }
                let (images, labels) = (base.join(images), base.join(labels));
                let is_npy = array_files::format_of(&images)? == Some(ArrayFormat::Npy);
                let name = stem(&images);
                if options.targets.is_some() {
                    let wanted = wanted_targets(options, known);
                    let read = if is_npy {
                        array_files::load_number_pair(&images, &labels, &wanted, name)?
                    } else {
                        let mut read = idx::load_numbers(&images, &labels, name)?;
                        let targets = read.targets.take();
                        let named = targets.map(|targets| wanted.named(targets, &labels));
                        read.targets = named.transpose()?;
                        read
                    };
                    return Self::from_numbers(images, read, known);
                }
                if is_npy {
                    let read = array_files::load_pair(&images, &labels, name)?;
                    return Self::from_arrays(images, read, (options, known));
                }
                Self::read_images(images, &labels, known)
            }
            _ => Err(Error::Usage(format!(
                "{} data files; allowed are one CSV, NPY, NPZ or folder, or two IDX or NPY files: images and labels",
                paths.len()
            ))),
        }
    }

    fn read_table(
        path: PathBuf,
        options: &csv::ReadOptions,
        known: Option<&ExpectedFormat>,
    ) -> Result<Self> {
        let mut table = match known {
            Some(known) => csv::read_as(&path, &known.columns(), options.separator)?,
            None => csv::read(&path, options, None)?,
        };
        if known.is_none() && !options.has_classes && table.targets.is_none() {
            refuse_measurements(&path, &table.classes)?;
        }
        if table.targets.is_some() {
            // The numbers of a regression are no classes.
        } else if let Some(known) = known {
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
                targets: table.targets,
                table: Some(Arc::new(table.table)),
            },
            path,
        })
    }

    /// Sorts the classes, or gives them the numbers that are known.
    fn from_arrays(
        path: PathBuf,
        (mut dataset, mut classes): (Dataset, Classes),
        (options, known): (&csv::ReadOptions, Option<&ExpectedFormat>),
    ) -> Result<Self> {
        if known.is_none() && !options.has_classes {
            refuse_measurements(&path, &classes)?;
        }
        match known {
            Some(known) => {
                known.check_features(&path, dataset.feature_count())?;
                classes.renumber(known.class_names, &path, known.path)?;
            }
            None => classes.sort(),
        }
        if let ([only], None) = (&classes.names[..], known) {
            let problem = format!("every label is `{only}`; a dataset has at least 2 classes");
            return Err(Error::refused(path, problem));
        }
        dataset.labels = classes.labels;
        dataset.class_names = classes.names;
        Ok(Self { path, dataset })
    }

    /// Takes over the features and the numbers to predict of arrays.
    fn from_numbers(
        path: PathBuf,
        dataset: Dataset,
        known: Option<&ExpectedFormat>,
    ) -> Result<Self> {
        if let Some(known) = known {
            known.check_features(&path, dataset.feature_count())?;
        }
        Ok(Self { path, dataset })
    }

    #[cfg(feature = "png")]
    fn read_pictures(path: PathBuf, known: Option<&ExpectedFormat>) -> Result<Self> {
        let classes = known.map(|known| (known.class_names, known.path));
        let dataset = super::pictures::load(&path, stem(&path), classes)?;
        if let Some(known) = known {
            known.check_features(&path, dataset.feature_count())?;
        }
        Ok(Self { path, dataset })
    }

    #[cfg(not(feature = "png"))]
    fn read_pictures(path: PathBuf, _: Option<&ExpectedFormat>) -> Result<Self> {
        Err(
            Error::refused(path, "a folder of pictures needs the feature `png`")
                .help("build nplus1 with its default features"),
        )
    }

    fn read_images(path: PathBuf, labels: &Path, known: Option<&ExpectedFormat>) -> Result<Self> {
        let class_names = known.map(|known| known.class_names);
        let name = stem(&path);
        let dataset = idx::load((&path, None), (labels, None), name, class_names)?;
        if let Some(known) = known {
            known.check_features(&path, dataset.feature_count())?;
        }
        Ok(Self { path, dataset })
    }
}

impl<'a> ExpectedFormat<'a> {
    fn of(expected: &ExpectedData<'a>) -> Self {
        Self {
            path: expected.path,
            schema: expected.schema,
            features: expected.columns(true).features,
            class_names: expected.class_names,
            targets: expected.targets,
        }
    }

    fn columns(&self) -> csv::ExpectedColumns<'_> {
        csv::ExpectedColumns {
            path: self.path,
            schema: self.schema,
            features: self.features,
            targets: self.targets,
            needs_label: true,
        }
    }

    /// Refuses another number of features.
    fn check_features(&self, path: &Path, found: usize) -> Result<()> {
        let inputs = match self.schema.columns.len() {
            0 => self.features,
            _ => self.schema.inputs(),
        };
        if found == inputs {
            return Ok(());
        }
        Err(Error::refused(
            path,
            format!(
                "{found} features per row, but {} has {inputs}",
                self.path.display()
            ),
        ))
    }
}

/// Returns what the config, or the model or training file that is known, says of the numbers to
/// predict.
fn wanted_targets<'a>(
    options: &csv::ReadOptions<'a>,
    known: Option<&'a ExpectedFormat<'a>>,
) -> WantedTargets<'a> {
    let names = known.map_or(options.targets, |known| known.targets);
    WantedTargets {
        label: options.label,
        names: names.unwrap_or(&[]),
        known: known.map(|known| known.path),
    }
}

/// Refuses a folder of pictures if the config asks for numbers.
fn refuse_numbers(path: &Path, options: &csv::ReadOptions) -> Result<()> {
    if options.targets.is_none() {
        return Ok(());
    }
    let problem =
        "the labels of a folder of pictures are classes, but a regression predicts numbers";
    Err(Error::refused(path, problem).help(
        "save the pictures as one array (rows, height, width), and the numbers as another: train = [\"X.npy\", \"y.npy\"]",
    ))
}

/// Distinct numbers in a label column above which they may be measurements.
const MANY_NUMBERS: usize = 50;
/// Rows of a class below which, on average, many integers are taken for measurements.
const FEW_ROWS: usize = 10;

/// Returns whether so many distinct numbers in so many rows are measurements rather than classes:
/// more than 50, of which some are no integers, or fewer than 10 rows for each.
pub(crate) fn are_measurements(distinct: usize, rows: usize, has_fractions: bool) -> bool {
    distinct > MANY_NUMBERS && (has_fractions || rows < FEW_ROWS * distinct)
}

/// Refuses labels that are measurements rather than classes. A config may say that they are classes.
fn refuse_measurements(path: &Path, classes: &Classes) -> Result<()> {
    let names = &classes.names;
    let numbers: Vec<f64> = names.iter().filter_map(|name| name.parse().ok()).collect();
    let distinct = names.len();
    let has_fractions = numbers.iter().any(|number| number.fract() != 0.0);
    let rows = classes.labels.len();
    if numbers.len() < distinct || !are_measurements(distinct, rows, has_fractions) {
        return Ok(());
    }
    let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let problem = format!(
        "the labels are {distinct} distinct numbers from {least} to {most} in {rows} rows: measurements rather than classes"
    );
    Err(Error::refused(path, problem).help(
        "predict the number with task = \"regression\" under [data], or say that they are classes with task = \"classification\"; or choose another label: label = \"its header, or its number from 0\"",
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
