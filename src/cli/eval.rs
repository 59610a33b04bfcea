//! `nplus1 eval`: evaluates a trained model on the test rows of its run or on other data.

use std::io::Write;

use super::arguments::{EvalArguments, Global};
use super::evaluation::{evaluation, target_errors};
use super::inputs::load_model;
use super::model_rows::rows;
use super::output::{Messages, print};
use crate::data::SearchPaths;
use crate::error::Result;
use crate::parallel::Workers;
use crate::run::evaluation::ModelEvaluation;
use crate::run::json;
use crate::study::table::{Table, list, loss, percent};

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
    let (file, model) = load_model(path, messages)?;
    let search_paths = SearchPaths::new(global.datasets.as_deref());
    let (name, part) = rows(path, &arguments.data, (&model, &file), &search_paths)?;
    if let Some(table) = &part.dataset.table {
        table.notes.iter().for_each(|note| messages.note(note));
    }
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
