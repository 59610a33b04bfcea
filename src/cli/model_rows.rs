//! The rows on which a trained model is measured: those of its run, or of other data.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::inputs::{fold_of, splits};
use crate::config::{Config, Overrides};
use crate::data::table::with_columns;
use crate::data::{self, Dataset, Part, SearchPaths, catalog};
use crate::error::{Error, Result};
use crate::format::Model;
use crate::open::file_type;
use crate::run::directory;
use crate::text::plain_line;

/// Returns the rows on which to evaluate a model and the name of their part: those of `data`, or
/// those of the run at `path` that the model, read from a file, belongs to.
///
/// # Errors
/// A config or data that is refused, or that does not fit the model.
pub(super) fn rows(
    path: &Path,
    data: &[PathBuf],
    (model, file): (&Model, &Path),
    search_paths: &SearchPaths,
) -> Result<(String, Part)> {
    let (name, part) = if data.is_empty() {
        part_of_run(path, (model, file), search_paths)?
    } else {
        part_of_data(data, model, file, search_paths)?
    };
    check(model, file, &part.dataset)?;
    Ok((name, part))
}

/// Returns the test rows of the run that a model belongs to, or its validation rows if there are
/// none. The columns of a table are found by the names that the model knows.
fn part_of_run(
    path: &Path,
    (model, model_path): (&Model, &Path),
    search_paths: &SearchPaths,
) -> Result<(String, Part)> {
    let folder = if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(Path::new(""))
    };
    let file = folder.join(directory::CONFIG);
    if file_type(&file)?.is_none() {
        return Err(Error::Usage(format!(
            "{}: a model file names no data\n  help: give the data with --data NAME|FILE",
            path.display()
        )));
    }
    let config = Config::load(&file, &Overrides::default())?;
    let expected = model.expected(model_path);
    let loaded = data::load_again(&config.data, search_paths, folder, Some(&expected))?;
    let mut splits = splits(&loaded, &config)?;
    let fold = match (config.data.folds, fold_of(folder)?) {
        (None, _) => 1,
        (Some(count), Some(fold)) if fold <= count => fold,
        (Some(_), _) => {
            return Err(Error::refused(
                folder,
                "its config asks for folds, but the folder is not a fold",
            )
            .help("give the data with --data NAME|FILE"));
        }
    };
    let split = splits.swap_remove(fold - 1);
    let has_test_part = config.data.folds.is_none() && loaded.test.is_some();
    let by_name = |part: Part, read: &Arc<Dataset>| -> Result<Part> {
        if part.dataset.schema().columns == model.schema.columns {
            return Ok(part);
        }
        Ok(Part {
            dataset: Arc::new(with_columns(read, &model.schema)?.into_owned()),
            ..part
        })
    };
    match (split.test, split.validation, &loaded.test) {
        (Some(part), _, Some(test)) if has_test_part => {
            Ok(("test".to_owned(), by_name(part, test)?))
        }
        (Some(part), ..) => Ok(("test".to_owned(), by_name(part, &loaded.train)?)),
        (None, Some(part), _) => Ok(("validation".to_owned(), by_name(part, &loaded.train)?)),
        (None, None, _) => Err(Error::refused(
            file,
            "the run has neither test nor validation rows",
        )
        .help("give the data with --data NAME|FILE")),
    }
}

/// Returns all rows of the data named on the command line, or the test part of a named dataset.
fn part_of_data(
    data: &[PathBuf],
    model: &Model,
    file: &Path,
    search_paths: &SearchPaths,
) -> Result<(String, Part)> {
    let name = match data {
        [only] if !only.exists() => only.to_str().filter(|name| {
            catalog::names().any(|known| known == *name) || !name.contains(['/', '\\', '.'])
        }),
        _ => None,
    };
    let (label, dataset) = match name {
        Some(name) => {
            let (train, test) = catalog::load(name, search_paths)?;
            let (label, data) = match test {
                Some(test) => (format!("{name}, test part"), test),
                None => (name.to_owned(), train),
            };
            (label, named_columns(data, model)?)
        }
        None => {
            let dataset = data::load_for(data, &model.expected(file))?;
            (data[0].display().to_string(), dataset)
        }
    };
    let rows = (0..dataset.rows() as u32).collect();
    Ok((label, Part { dataset, rows }))
}

/// Returns a named dataset with the columns in the order of the model, if both know their names.
///
/// # Errors
/// A column that is missing, though the number of columns fits.
fn named_columns(data: Arc<Dataset>, model: &Model) -> Result<Arc<Dataset>> {
    if !model.schema.has_names() {
        return Ok(data);
    }
    match with_columns(&data, &model.schema) {
        Ok(Cow::Borrowed(_)) => Ok(data),
        Ok(Cow::Owned(ordered)) => Ok(Arc::new(ordered)),
        // The numbers of columns are the better message.
        Err(_) if data.feature_count() != model.schema.columns.len() => Ok(data),
        Err(error) => Err(error),
    }
}

/// Refuses data whose numbers of features or classes differ from those of the model.
fn check(model: &Model, file: &Path, dataset: &Dataset) -> Result<()> {
    let inputs = model.network.layout.sizes()[0];
    let (features, classes) = (dataset.feature_count(), dataset.class_count());
    if model.is_regression() || dataset.is_regression() {
        return check_regression(model, file, dataset);
    }
    if (features, classes) == (inputs, model.class_names.len()) {
        return Ok(());
    }
    Err(Error::refused(
        file,
        format!(
            "the model has {inputs} features and {} classes, but {} has {features} and {classes}",
            model.class_names.len(),
            dataset.name
        ),
    ))
}

/// Refuses data that do not have the features and targets of a regression model.
fn check_regression(model: &Model, file: &Path, dataset: &Dataset) -> Result<()> {
    let describe = |features: usize, names: Option<&[String]>, classes: usize| match names {
        Some(names) => format!("{features} features and predicts {}", names.join(", ")),
        None => format!("{features} features and {classes} classes"),
    };
    let inputs = model.network.layout.sizes()[0];
    let expected = model.scaling.targets.as_ref();
    let expected = expected.map(|targets| &targets.names[..]);
    let found = dataset.targets.as_ref().map(|targets| &targets.names[..]);
    let same = expected.map(<[String]>::len) == found.map(<[String]>::len);
    if same && dataset.feature_count() == inputs {
        return Ok(());
    }
    let classes = (model.class_names.len(), dataset.class_count());
    Err(Error::refused(
        file,
        plain_line(&format!(
            "the model has {}, but {} has {}",
            describe(inputs, expected, classes.0),
            dataset.name,
            describe(dataset.feature_count(), found, classes.1)
        ))
        .into_owned(),
    ))
}
