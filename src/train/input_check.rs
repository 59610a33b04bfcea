//! The check that the parts of a training run fit together, before its first step.

use super::Training;
use crate::error::InputError;
use crate::model::{Loss, Network};
use crate::numeric::Real;

impl<R: Real> Training<'_, R> {
    /// Refuses samples and rows that the network cannot take. Reads the label of each row once.
    pub(super) fn check(&self) -> Result<(), InputError> {
        let sizes = self.network.layout.sizes();
        let (inputs, outputs) = (sizes[0], sizes[sizes.len() - 1]);
        let (found, classes) = (self.samples.features(), self.classes);
        if found != inputs {
            return Err(InputError::FeatureCount {
                found,
                expected: inputs,
            });
        }
        if self.samples.is_regression() {
            if self.samples.outputs() != outputs {
                return Err(InputError::TargetCount {
                    targets: self.samples.outputs(),
                    outputs,
                });
            }
        } else if self.network.loss == Loss::Logistic && classes != 2 {
            return Err(InputError::NotTwoClasses { classes });
        } else if Network::outputs(self.network.loss, classes) != outputs {
            return Err(InputError::OutputCount { classes, outputs });
        }
        if self.config.batch_size == 0 {
            return Err(InputError::Setting {
                setting: "batch_size",
                found: "0".to_owned(),
                allowed: "1 or more",
            });
        }
        if self.rows.is_empty() {
            return Err(InputError::NoRows);
        }
        let rows = self.samples.rows();
        for &row in self.rows.iter().chain(self.validation.unwrap_or(&[])) {
            if row as usize >= rows {
                return Err(InputError::RowBeyondData {
                    row: row as usize,
                    rows,
                });
            }
            let label = usize::from(self.samples.label(row));
            if label >= classes && !self.samples.is_regression() {
                return Err(InputError::LabelBeyondClasses {
                    row: row as usize,
                    label,
                    classes,
                });
            }
        }
        Ok(())
    }
}
