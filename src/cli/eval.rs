//! `nplus1 eval`: evaluates a trained model on the test rows of its run or on other data.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::arguments::{EvalArguments, Global};
use super::evaluation::{evaluation, target_errors};
use super::inputs::{fold_of, model_file, splits};
use super::output::{Messages, print};
use crate::config::{Config, Overrides};
use crate::data::table::with_columns;
use crate::data::{self, Dataset, Part, SearchPaths, catalog};
use crate::error::{Error, Result};
use crate::format::{Model, safetensors};
use crate::open::file_type;
use crate::parallel::Workers;
use crate::run::evaluation::ModelEvaluation;
use crate::run::{directory, json};
use crate::study::table::{Table, list, loss, percent};
use crate::text::plain_line;

/// Evaluates as the arguments say and prints the evaluation.
///
/// # Errors
/// A model, config or data that is refused, or that do not fit together.
pub fn run(
    arguments: &EvalArguments,
    global: &Global,
    messages: Messages,
    out: &mut dyn Write,
) -> Result<()> {
    let path = &arguments.model;
    let file = model_file(path)?;
    let loaded = safetensors::load(&file)?;
    for assumed in &loaded.assumed {
        messages.warn(format_args!(
            "{}: not in the file, assumed: {assumed}",
            file.display()
        ));
    }
    let model = loaded.model;
    let search_paths = SearchPaths::new(global.datasets.as_deref());
    let (name, part) = if arguments.data.is_empty() {
        part_of_run(path, (&model, &file), &search_paths)?
    } else {
        part_of_data(&arguments.data, &model, &file, &search_paths)?
    };
    if let Some(table) = &part.dataset.table {
        table.notes.iter().for_each(|note| messages.note(note));
    }
    check(&model, &file, &part.dataset)?;
    if model.class_names != part.dataset.class_names {
        messages.warn("the classes of the data have other names than those of the model; they are matched in order");
    }
    let workers = Workers::new(None)?;
    let assessment = model.assess(&part, &workers);
    let evaluation = evaluation(&name, &assessment, &part, &model.class_names);
    let text = if global.json {
        json::document(&evaluation)
    } else {
        table(&evaluation, arguments.confusion)
    };
    print(out, &text)
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
            match test {
                Some(test) => (format!("{name}, test part"), test),
                None => (name.to_owned(), train),
            }
        }
        None => {
            let dataset = data::load_for(data, &model.expected(file))?;
            (data[0].display().to_string(), dataset)
        }
    };
    let rows = (0..dataset.rows() as u32).collect();
    Ok((label, Part { dataset, rows }))
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

/// Formats the evaluation as text.
pub fn table(evaluation: &ModelEvaluation, confusion: bool) -> String {
    if let Some(regression) = &evaluation.regression {
        let mut entries = vec![
            ("part", evaluation.part.clone()),
            ("rows", evaluation.rows.to_string()),
            (
                "loss",
                format!("{} (of standardized targets)", loss(Some(evaluation.loss))),
            ),
        ];
        entries.extend(target_errors("errors", &regression.targets));
        return list(&entries);
    }
    let mut text = list(&[
        ("part", evaluation.part.clone()),
        ("rows", evaluation.rows.to_string()),
        ("loss", loss(Some(evaluation.loss))),
        ("accuracy", percent(Some(evaluation.accuracy))),
    ]);
    let mut classes = Table::new(["class", "rows", "precision", "recall", "F1"]);
    for class in &evaluation.classes {
        classes.row([
            class.name.clone(),
            class.rows.to_string(),
            percent(class.precision),
            percent(class.recall),
            percent(class.f1),
        ]);
    }
    text.push_str(&format!("\n{classes}"));
    if confusion {
        let names = || evaluation.classes.iter().map(|class| class.name.clone());
        let corner = "true \\ predicted".to_owned();
        let mut matrix = Table::new(std::iter::once(corner).chain(names()));
        for (name, row) in names().zip(&evaluation.confusion) {
            matrix.row(std::iter::once(name).chain(row.iter().map(u64::to_string)));
        }
        text.push_str(&format!("\n{matrix}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_table_shows_the_confusion_matrix_only_on_request() {
        let names = ["cat".to_owned(), "dog".to_owned()];
        let evaluation =
            ModelEvaluation::new("test", 0.5, &array![[8, 2], [0, 10]], &names, vec![]);
        let short = table(&evaluation, false);
        assert!(short.contains("accuracy  90.00 %"), "{short}");
        assert!(
            short.contains("cat      10   100.00 %   80.00 %  88.89 %"),
            "{short}"
        );
        assert!(!short.contains("predicted"), "{short}");
        let long = table(&evaluation, true);
        assert!(
            long.contains("true \\ predicted  cat  dog\ncat                 8    2\n"),
            "{long}"
        );
    }
}
