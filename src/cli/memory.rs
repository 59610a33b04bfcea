//! The memory that a command needs, estimated and compared with what is available before anything is
//! computed or written.

use std::sync::Arc;

use super::session::Session;
use crate::config::Config;
use crate::data::{Dataset, Samples, Split};
use crate::error::Result;
use crate::gradient::GradientConfig;
use crate::memory::{self, bytes};
use crate::model::Network;
use crate::numeric::Precision;
use crate::optimizer::OptimizerConfig;
use crate::study::cost::memory::MemoryShape;
use crate::study::machine_peaks::bytes_to_read;
use crate::study::methods;
use crate::study::scaling::ScalingPlan;
use crate::study::table::topology;

/// What would need less memory.
const HELP: &str = "take narrower or fewer layers (model.hidden), fewer rows (data.limit), a smaller train.batch_size or fewer --threads";

/// The estimate for a network and its rows.
pub(super) struct MemoryEstimate<'a> {
    network: &'a Network,
    precision: Precision,
    threads: usize,
    /// Bytes of the rows in the form that kernels read.
    rows: f64,
    is_sparse: bool,
}

impl<'a> MemoryEstimate<'a> {
    /// Begins the estimate for the training rows of `split`.
    pub(super) fn new(
        network: &'a Network,
        split: &Split,
        precision: Precision,
        threads: usize,
    ) -> Self {
        let (mut rows, is_sparse) = predict(&split.train.dataset, split, precision);
        // Test rows of a file of their own are prepared when training has ended.
        if let Some(test) = &split.test
            && !Arc::ptr_eq(&test.dataset, &split.train.dataset)
        {
            rows += predict(&test.dataset, split, precision).0;
        }
        Self {
            network,
            precision,
            threads,
            rows,
            is_sparse,
        }
    }

    /// Returns the sizes of the work on `batch` rows.
    pub(super) fn shape(&self, batch: usize) -> MemoryShape<'_> {
        MemoryShape {
            sizes: self.network.layout.sizes(),
            rows: batch,
            threads: self.threads,
            sparse: self.is_sparse,
            number: match self.precision {
                Precision::F32 => 4,
                Precision::F64 => 8,
            },
        }
    }

    /// Refuses `work`, a noun, that needs `parameters` bytes besides the rows, if there are fewer.
    ///
    /// # Errors
    /// [`Error::Resources`](crate::error::Error::Resources).
    pub(super) fn check(&self, work: &str, parameters: f64) -> Result<()> {
        let work = format!(
            "{work} of {} needs about {} for its rows and {} for parameters, gradients and measurements, together",
            topology(self.network.layout.sizes()),
            bytes(self.rows),
            bytes(parameters)
        );
        memory::check(self.rows + parameters, &work, HELP)
    }
}

/// Predicts the bytes of the rows of `dataset`.
fn predict(dataset: &Dataset, split: &Split, precision: Precision) -> (f64, bool) {
    match precision {
        Precision::F32 => Samples::<f32>::predict(dataset, &split.scaling),
        Precision::F64 => Samples::<f64>::predict(dataset, &split.scaling),
    }
}

impl Session<'_> {
    /// Refuses a training, on so many threads, that needs more memory than is available.
    ///
    /// # Errors
    /// [`Error::Resources`](crate::error::Error::Resources) with the sizes.
    pub(super) fn check_memory(&self, threads: usize) -> Result<()> {
        let config = self.config;
        let gradient = [config.gradient];
        check_training(&self.network, self.split, config, (&gradient, threads))
    }
}

/// Refuses a training with each of `methods` in turn that needs more memory than is available.
///
/// # Errors
/// As [`Session::check_memory`].
pub(super) fn check_training(
    network: &Network,
    split: &Split,
    config: &Config,
    (methods, threads): (&[GradientConfig], usize),
) -> Result<()> {
    let estimate = MemoryEstimate::new(network, split, config.model.precision, threads);
    let shape = estimate.shape(config.train.batch_size.min(split.train.rows.len()));
    let vectors = kept_vectors(config);
    let needs = methods.iter().map(|method| shape.training(method, vectors));
    estimate.check("the training", needs.fold(0.0, f64::max))
}

/// Returns the number of vectors of θ's length that a training keeps besides θ: the optimizer's, and
/// the best θ if it stops early.
fn kept_vectors(config: &Config) -> usize {
    let optimizer = match &config.optimizer {
        OptimizerConfig::Sgd(sgd) => usize::from(sgd.momentum != 0.0),
        OptimizerConfig::Adam(_) => 2,
        OptimizerConfig::Rmsprop(_) => 1,
        OptimizerConfig::Lbfgs(lbfgs) => 2 * lbfgs.memory + 1,
    };
    optimizer + usize::from(config.train.early_stopping.is_some())
}

/// Vectors of θ's length that a check keeps: θ, the gradient, its bounds, and those of the method that
/// is compared.
const CHECK_VECTORS: f64 = 6.0;

/// Refuses a check of gradients over `rows` rows, on so many threads, that needs more memory than is
/// available.
///
/// # Errors
/// As [`Session::check_memory`].
pub(super) fn check_gradients(
    network: &Network,
    split: &Split,
    rows: usize,
    threads: usize,
) -> Result<()> {
    let estimate = MemoryEstimate::new(network, split, Precision::F64, threads);
    let shape = estimate.shape(rows);
    let needed = shape.gradient(&GradientConfig::Backprop) + CHECK_VECTORS * shape.parameters();
    estimate.check("the check", needed)
}

/// Refuses a scaling study, whose engines and memory to read all last until its end, that needs more
/// memory than is available.
///
/// # Errors
/// As [`Session::check_memory`].
pub(super) fn check_scaling(
    network: &Network,
    split: &Split,
    precision: Precision,
    plan: &ScalingPlan,
) -> Result<()> {
    let estimate = MemoryEstimate::new(network, split, precision, 1);
    let mut needed = plan.threads.len() as f64 * bytes_to_read() as f64;
    for cell in plan.cells() {
        let shape = MemoryShape {
            threads: cell.threads,
            ..estimate.shape(cell.batch_rows)
        };
        let method = methods::by_name(&cell.method)?;
        needed += shape.gradient(&method.gradient) - shape.parameters();
    }
    estimate.check("the study", needed)
}
