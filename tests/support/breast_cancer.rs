//! All 569 rows of the breast cancer dataset, standardized, as `tests/reference/optimizers.py` uses
//! them.

use std::sync::Arc;

use nplus1::data::{
    DataConfig, DataSource, Dataset, Normalize, Samples, Scaling, SearchPaths, load,
};
use nplus1::model::{Loss, Network, OutputUnits};
use nplus1::numeric::Real;

/// The dataset, its scaling, and the indices of all its rows.
pub struct BreastCancer {
    pub dataset: Arc<Dataset>,
    pub scaling: Scaling,
    pub rows: Vec<u32>,
}

impl BreastCancer {
    /// Loads the dataset and fits the standardization to all rows.
    pub fn standardized() -> Self {
        let config = DataConfig {
            source: DataSource::Catalog("breast-cancer".to_owned()),
            task: None,
            validation: None,
            test: None,
            folds: None,
            limit: None,
            normalize: Normalize::Standard,
        };
        let loaded = load(&config, &SearchPaths::new(None), "".as_ref()).unwrap();
        let split = loaded.split(&config, 1).unwrap();
        let dataset = Arc::clone(&split.train.dataset);
        let rows = (0..dataset.labels.len() as u32).collect();
        Self {
            scaling: split.scaling.clone(),
            dataset,
            rows,
        }
    }

    /// Returns a 30-8-1 network with the logistic loss: one output for the two classes.
    pub fn network(&self, l2: f64) -> Network {
        Network::new(&[30, 8, 1], true, OutputUnits::Linear, Loss::Logistic, l2).unwrap()
    }

    /// Returns the standardized rows in precision `R`.
    pub fn samples<R: Real>(&self) -> Samples<R> {
        Samples::new(&self.dataset, &self.scaling)
    }
}
