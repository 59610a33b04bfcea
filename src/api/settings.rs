//! The settings of a [`Trainer`], checked and completed.

use super::Trainer;
use crate::error::InputError;
use crate::gradient::GradientConfig;
use crate::model::{Loss, ModelConfig, OutputUnits};
use crate::optimizer::{OptimizerConfig, Schedule};
use crate::train::TrainConfig;

/// Rows of a mini-batch, if no setting says.
const BATCH_SIZE: usize = 10;

/// What a run takes of a [`Trainer`], with every default filled in.
pub(super) struct RunSettings {
    pub(super) model: ModelConfig,
    pub(super) optimizer: OptimizerConfig,
    pub(super) train: TrainConfig,
}

impl RunSettings {
    /// Checks all settings but the sizes of the layers, which depend on the data.
    pub(super) fn new(trainer: &Trainer) -> Result<Self, InputError> {
        let optimizer = optimizer(trainer)?;
        let all_rows = matches!(optimizer, OptimizerConfig::Lbfgs(_));
        if all_rows && trainer.batch_size.is_some() {
            return Err(conflict("`batch_size` has no meaning with L-BFGS"));
        }
        if all_rows
            && matches!(
                trainer.gradient,
                GradientConfig::Spsa(_) | GradientConfig::ForwardGradient(_)
            )
        {
            return Err(conflict(
                "gradients along random directions do not go with L-BFGS",
            ));
        }
        if trainer.early_stopping.is_some() && trainer.validation.is_none() {
            return Err(conflict("`early_stopping` needs `validation` rows"));
        }
        let counts = [
            ("epochs", Some(trainer.epochs)),
            ("batch_size", trainer.batch_size),
            ("early_stopping", trainer.early_stopping),
        ];
        for (setting, count) in counts {
            if count == Some(0) {
                return Err(refused(setting, 0.0, "1 or more"));
            }
        }
        if let Some(fraction) = trainer.validation
            && !(fraction > 0.0 && fraction < 1.0)
        {
            return Err(refused(
                "validation",
                fraction,
                "a fraction above 0 and below 1",
            ));
        }
        let l2 = trainer.loss.l2;
        if !(l2.is_finite() && l2 >= 0.0) {
            return Err(refused("l2", l2, "a finite number, 0 or above"));
        }
        let default_rows = if all_rows {
            TrainConfig::ALL_ROWS
        } else {
            BATCH_SIZE
        };
        Ok(Self {
            model: ModelConfig {
                output: trainer.output.unwrap_or(match trainer.loss.kind {
                    Loss::CrossEntropy => OutputUnits::Softmax,
                    Loss::Quadratic => OutputUnits::Sigmoid,
                    Loss::Logistic => OutputUnits::Linear,
                }),
                ..trainer.model.clone()
            },
            optimizer,
            train: TrainConfig {
                epochs: Some(trainer.epochs),
                max_steps: None,
                max_seconds: None,
                batch_size: trainer.batch_size.unwrap_or(default_rows),
                early_stopping: trainer.early_stopping,
            },
        })
    }
}

/// Returns the optimizer with the settings that were made one by one.
fn optimizer(trainer: &Trainer) -> Result<OptimizerConfig, InputError> {
    let mut optimizer = trainer.optimizer.clone();
    let (rate, schedule) = match &mut optimizer {
        OptimizerConfig::Sgd(sgd) => {
            sgd.momentum = trainer.momentum.unwrap_or(sgd.momentum);
            if !(0.0..1.0).contains(&sgd.momentum) {
                return Err(refused("momentum", sgd.momentum, "from 0 to below 1"));
            }
            (&mut sgd.learning_rate, &mut sgd.schedule)
        }
        other if trainer.momentum.is_some() => {
            let name = other.kind();
            return Err(conflict(&format!("`momentum` has no meaning with {name}")));
        }
        OptimizerConfig::Adam(adam) => (&mut adam.learning_rate, &mut adam.schedule),
        OptimizerConfig::Rmsprop(rmsprop) => (&mut rmsprop.learning_rate, &mut rmsprop.schedule),
        OptimizerConfig::Lbfgs(_) => {
            if trainer.learning_rate.is_some() || trainer.schedule.is_some() {
                return Err(conflict(
                    "`learning_rate` and `schedule` have no meaning with L-BFGS, whose line search chooses the step",
                ));
            }
            return Ok(optimizer);
        }
    };
    *rate = trainer.learning_rate.unwrap_or(*rate);
    *schedule = trainer.schedule.unwrap_or(*schedule);
    if !(rate.is_finite() && *rate > 0.0) {
        return Err(refused("learning_rate", *rate, "a finite number above 0"));
    }
    if let Schedule::Step { every, factor } = *schedule
        && !(every > 0 && factor > 0.0 && factor <= 1.0)
    {
        return Err(refused(
            "schedule",
            factor,
            "steps of 1 epoch or more, a factor above 0 and at most 1",
        ));
    }
    Ok(optimizer)
}

fn refused(setting: &'static str, found: f64, allowed: &'static str) -> InputError {
    InputError::Setting {
        setting,
        found: found.to_string(),
        allowed,
    }
}

fn conflict(message: &str) -> InputError {
    InputError::Conflict(message.to_owned())
}
