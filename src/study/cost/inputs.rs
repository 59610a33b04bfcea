//! The inputs of a cost study: the mini-batch of each network, in the form of the config and in
//! others.
//!
//! A network with as many inputs and outputs as the dataset takes its rows. Another one takes the
//! same rows with their inputs repeated or cut, and the class modulo the outputs, or the numbers of a
//! regression repeated or cut, so shares of zeros and of equal values stay nearly as they are.

use std::sync::Arc;

use ndarray::Array2;

use crate::data::{
    Dataset, Features, Inputs, Normalize, RegressionTargets, Samples, Scaling, TargetScaling,
};
use crate::error::Result;
use crate::gradient::GradientConfig;
use crate::gradient::operation_counts::performed;
use crate::model::Network;
use crate::numeric::Real;
use crate::study::Subject;

use super::rows::{CostPlan, MultiplicationsByInputs};

/// A mini-batch: prepared samples, and its rows among them.
pub(super) struct CostInputs<R> {
    pub samples: Samples<R>,
    pub rows: Vec<u32>,
}

impl<R: Real> CostInputs<R> {
    fn all(samples: Samples<R>) -> Self {
        let rows = (0..samples.rows() as u32).collect();
        Self { samples, rows }
    }
}

/// A mini-batch in every form, for networks of one number of inputs and outputs.
pub(super) struct InputForms<R> {
    /// The form of the config, or the dense one if the plan says so.
    pub own: CostInputs<R>,
    /// The unscaled rows, for counting.
    pub dataset: Arc<Dataset>,
    unit: CostInputs<R>,
    standard: CostInputs<R>,
    dense: CostInputs<R>,
}

impl<R: Real> InputForms<R> {
    /// Prepares the first rows of the training part for `network`.
    ///
    /// # Errors
    /// A feature whose range or variance is not finite.
    pub fn new(subject: &Subject<'_>, network: &Network, plan: &CostPlan) -> Result<Self> {
        let train = &subject.split.train;
        let sizes = network.layout.sizes();
        let (features, outputs) = (sizes[0], sizes[sizes.len() - 1]);
        let whole = &train.dataset;
        let own_outputs = Network::outputs_for(whole, network.loss);
        let is_tiled = features != whole.feature_count() || outputs != own_outputs;
        let rows = train.rows[..plan.batch.min(train.rows.len())].to_vec();
        let tiled_outputs = is_tiled.then_some(outputs);
        let selected = Arc::new(select(whole, &rows, features, tiled_outputs));
        let tiled = |scaling: &Scaling| Scaling {
            offset: tile(&scaling.offset, features),
            divisor: tile(&scaling.divisor, features),
            targets: scaling.targets.as_ref().map(|targets| TargetScaling {
                names: tile(&targets.names, outputs),
                mean: tile(&targets.mean, outputs),
                deviation: tile(&targets.deviation, outputs),
            }),
        };
        let of_selected =
            |scaling: &Scaling| CostInputs::all(Samples::new(&selected, &tiled(scaling)));
        // Whether bytes are read in sparse form depends on the whole dataset.
        let of_whole = |scaling: &Scaling| {
            let samples = Samples::new(whole, scaling);
            match samples.inputs() {
                Inputs::Sparse(_) => CostInputs {
                    samples,
                    rows: rows.clone(),
                },
                _ => of_selected(scaling),
            }
        };
        let prepared = |scaling: &Scaling| {
            if is_tiled {
                of_selected(scaling)
            } else {
                of_whole(scaling)
            }
        };
        let fitted = |normalize| Scaling::fit(normalize, train);
        let own = &subject.split.scaling;
        let dense = || CostInputs::all(Samples::dense(&selected, &tiled(own)));
        Ok(Self {
            own: if plan.dense { dense() } else { prepared(own) },
            unit: prepared(&fitted(Normalize::Unit)?),
            standard: prepared(&fitted(Normalize::Standard)?),
            dense: dense(),
            dataset: selected,
        })
    }

    /// Returns whether the forms fit `network`.
    pub fn fit(&self, network: &Network) -> bool {
        let sizes = network.layout.sizes();
        let outputs = Network::outputs_for(&self.dataset, network.loss);
        (self.dataset.feature_count(), outputs) == (sizes[0], sizes[sizes.len() - 1])
    }

    /// Returns the multiplications of a gradient by `method`, or of a forward pass, over each form.
    pub fn multiplications(
        &self,
        network: &Network,
        method: Option<&GradientConfig>,
    ) -> MultiplicationsByInputs {
        let of = |inputs: &CostInputs<R>| {
            performed(network, method, &inputs.samples, &inputs.rows).multiplications
        };
        MultiplicationsByInputs {
            unit: of(&self.unit),
            standard: of(&self.standard),
            dense: of(&self.dense),
        }
    }
}

/// Returns `rows` of `dataset` with their inputs repeated or cut to `features`, and classes modulo
/// `outputs`, or target numbers repeated or cut to them, if given.
fn select(dataset: &Dataset, rows: &[u32], features: usize, outputs: Option<usize>) -> Dataset {
    let count = dataset.feature_count();
    let shape = (rows.len(), features);
    let row = |row: usize| rows[row] as usize;
    let features = match &dataset.features {
        Features::Bytes(values) => {
            let at = |(r, feature): (usize, usize)| values[[row(r), feature % count]];
            Features::Bytes(Array2::from_shape_fn(shape, at))
        }
        Features::Reals(values) => {
            let at = |(r, feature): (usize, usize)| values[[row(r), feature % count]];
            Features::Reals(Array2::from_shape_fn(shape, at))
        }
    };
    let label = |&row: &u32| {
        let label = usize::from(dataset.labels[row as usize]);
        outputs.map_or(label, |classes| label % classes) as u16
    };
    let targets = dataset.targets.as_ref().map(|targets| {
        let own = targets.names.len();
        let outputs = outputs.unwrap_or(own);
        let at = |(r, target): (usize, usize)| targets.values[[row(r), target % own]];
        RegressionTargets {
            names: tile(&targets.names, outputs),
            values: Array2::from_shape_fn((rows.len(), outputs), at),
        }
    });
    Dataset {
        name: dataset.name.clone(),
        features,
        labels: rows.iter().map(label).collect(),
        class_names: match outputs {
            Some(classes) if targets.is_none() => {
                (0..classes).map(|class| class.to_string()).collect()
            }
            _ => dataset.class_names.clone(),
        },
        targets,
        table: None,
        image: None,
        unit_divisor: dataset.unit_divisor,
    }
}

fn tile<T: Clone>(values: &[T], count: usize) -> Vec<T> {
    values.iter().cloned().cycle().take(count).collect()
}
