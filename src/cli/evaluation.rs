//! `evaluation.json`: the assessment of a model on a part of a dataset, with the worst mistakes.

use crate::data::Part;
use crate::model::Assessment;
use crate::run::evaluation::{ModelEvaluation, RegressionEvaluation, TargetErrors, WrongSample};
use crate::study::table::figure;
use crate::text::plain_line;

/// Returns the content of `evaluation.json` for an assessment of `part`.
pub fn evaluation(
    name: &str,
    assessment: &Assessment,
    part: &Part,
    class_names: &[String],
) -> ModelEvaluation {
    let dataset = &part.dataset;
    // Only the most confident mistakes are described, because a bad model is wrong on most rows.
    let mut mistakes = assessment.wrong.clone();
    mistakes.sort_by(|a, b| {
        b.confidence
            .total_cmp(&a.confidence)
            .then(a.position.cmp(&b.position))
    });
    mistakes.truncate(ModelEvaluation::WRONG_KEPT);
    let described = mistakes.iter().map(|mistake| {
        let row = part.rows[mistake.position] as usize;
        WrongSample {
            row,
            label: class_names[usize::from(dataset.labels[row])].clone(),
            predicted: class_names[mistake.predicted].clone(),
            confidence: mistake.confidence,
            inputs: (0..dataset.feature_count())
                .map(|feature| dataset.features.value(row, feature))
                .collect(),
        }
    });
    ModelEvaluation {
        rows: part.rows.len() as u64,
        image: dataset.image.map(|(height, width)| [height, width]),
        regression: assessment
            .regression
            .as_ref()
            .map(RegressionEvaluation::new),
        ..ModelEvaluation::new(
            name,
            assessment.loss,
            &assessment.confusion,
            class_names,
            described.collect(),
        )
    }
}

/// Returns a line of errors for each target, in its units.
pub fn target_errors(title: &'static str, targets: &[TargetErrors]) -> Vec<(&'static str, String)> {
    let line = |target: &TargetErrors| {
        let figures = format!(
            "RMSE {}, MAE {}, R² {}",
            figure(target.rmse),
            figure(target.mae),
            score(Some(target.r2))
        );
        (title, format!("{} ({})", figures, plain_line(&target.name)))
    };
    targets.iter().map(line).collect()
}

/// Formats R² with four decimals.
pub fn score(r2: Option<f64>) -> String {
    r2.map_or("–".to_owned(), |r2| format!("{r2:.4}"))
}
