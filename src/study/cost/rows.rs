//! The plan of a cost study, and its rows.

use serde::{Deserialize, Serialize};

use crate::gradient::GradientConfig;
use crate::gradient::operation_counts::dense_formulas::{self, growth};
use crate::model::Network;
use crate::numeric::statistics::{median, median_ratio};
use crate::numeric::tally::Tally;
use crate::run::json;
use crate::study::timing::Timing;

/// The parameters of a cost study, with all defaults filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostPlan {
    /// Hidden layers of each network, ordered by the number of parameters.
    pub hidden: Vec<Vec<usize>>,
    /// Inputs and outputs of each network, if they differ from those of the dataset.
    #[serde(default)]
    pub ends: Vec<[usize; 2]>,
    /// Rows of the mini-batch.
    pub batch: usize,
    /// Labels of the methods.
    pub methods: Vec<String>,
    /// Whether the kernels multiply zeros and compute equal inputs again, as a plain
    /// implementation does.
    #[serde(default)]
    pub dense: bool,
    /// Whether times are measured in addition to being predicted.
    pub measure: bool,
    /// Number of samples of a measured time.
    pub repeats: usize,
    /// Seconds after which a measurement is interrupted.
    pub limit: f64,
}

impl CostPlan {
    /// Checks the plan, which may come from an edited file.
    ///
    /// # Errors
    /// Returns a message about an empty layer, a number of rows or samples of 0, or networks
    /// without their inputs and outputs.
    pub fn check(&self) -> Result<(), String> {
        let mut layers = self
            .hidden
            .iter()
            .flatten()
            .chain(self.ends.iter().flatten());
        if layers.any(|&units| units == 0) {
            return Err("a layer has no units".to_owned());
        }
        if self.batch == 0 || self.repeats == 0 {
            return Err("the number of rows or of samples is 0".to_owned());
        }
        if !self.ends.is_empty() && self.ends.len() != self.hidden.len() {
            return Err("`ends` has to have as many networks as `hidden`".to_owned());
        }
        Ok(())
    }

    /// Returns the layer sizes of each network, of which the dataset has `inputs` and `outputs`.
    pub fn sizes(&self, inputs: usize, outputs: usize) -> Vec<Vec<usize>> {
        let sizes = |(at, hidden): (usize, &Vec<usize>)| {
            let [inputs, outputs] = self.ends.get(at).copied().unwrap_or([inputs, outputs]);
            [&[inputs], &hidden[..], &[outputs]].concat()
        };
        self.hidden.iter().enumerate().map(sizes).collect()
    }
}

/// One method on one network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostRow {
    /// `forward-pass`, or the method with its variant.
    pub label: String,
    /// Name of the method, spelled as in a config.
    pub method: String,
    /// Values that a perturbed loss reuses, spelled as in a config.
    pub evaluation: Option<String>,
    /// Arithmetic of a difference of losses, spelled as in a config.
    pub arithmetic: Option<String>,
    /// Layer sizes n_0 … n_L.
    #[serde(deserialize_with = "json::layer_sizes")]
    pub layers: Vec<usize>,
    /// Number of parameters, N.
    pub parameters: usize,
    /// Rows of the mini-batch.
    pub batch_rows: usize,
    /// Operations of a plain implementation on dense inputs, if there is a formula.
    pub tally: Option<Tally>,
    /// Predicted operations of the kernels on these rows.
    pub tally_performed: Tally,
    /// Operations of the plain implementation counted one by one, if that is quick.
    pub tally_counted: Option<Tally>,
    /// Operations of the kernels with the passes counted by the measured gradient.
    pub tally_measured: Option<Tally>,
    /// Multiplications relative to one forward pass, both of a plain implementation (`tally`).
    pub multiplications_to_forward: Option<f64>,
    /// Multiplications relative to backprop, likewise.
    pub multiplications_to_backprop: Option<f64>,
    /// Multiplications relative to one forward pass, both performed (`tally_performed`).
    pub multiplications_performed_to_forward: Option<f64>,
    /// Multiplications relative to backprop, likewise.
    pub multiplications_performed_to_backprop: Option<f64>,
    /// Multiplications that the kernels perform on the same rows in other forms.
    #[serde(default)]
    pub multiplications_by_inputs: MultiplicationsByInputs,
    /// How the multiplications of a plain implementation grow with the widths.
    #[serde(default)]
    pub growth: MethodGrowth,
    /// Predicted bytes of memory of a step, without the data.
    pub memory: f64,
    /// Seconds predicted from a short measurement.
    pub predicted_seconds: f64,
    /// Median seconds of the samples.
    pub seconds: Option<f64>,
    /// Seconds of a gradient in each sample.
    pub samples: Vec<f64>,
    /// Seconds of a forward pass on one worker, measured with each sample.
    pub forward_samples: Vec<f64>,
    /// Number of gradients per sample.
    pub gradients_per_sample: usize,
    /// Completed share of a gradient; less than 1 if it was interrupted at the limit.
    pub measured_share: Option<f64>,
    /// Seconds relative to a forward pass: the median over the samples.
    pub seconds_to_forward: Option<f64>,
    /// Seconds relative to backprop: the ratio of the medians.
    pub seconds_to_backprop: Option<f64>,
}

/// Multiplications that the kernels perform on the same rows in three forms: what zeros and equal
/// values save.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MultiplicationsByInputs {
    /// Inputs scaled as by `normalize = "unit"`: zeros stay zeros.
    pub unit: u64,
    /// Inputs scaled as by `normalize = "standard"`: hardly any zeros, values equal only where
    /// inputs of the same feature or scaling are.
    pub standard: u64,
    /// No zero left out, no two values equal.
    pub dense: u64,
}

/// How the multiplications of a plain implementation grow with the widths of the layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MethodGrowth {
    /// The exponent of N in the limit of wide hidden layers; inputs and outputs stay as they are.
    pub hidden_limit: Option<f64>,
    /// The exponent of N if inputs and outputs widen as well.
    pub all_limit: Option<f64>,
    /// The ratio to backprop in the limit of wide hidden layers; absent if it grows without limit.
    pub ratio_limit: Option<f64>,
}

impl MethodGrowth {
    /// Computes the limits for a gradient of `network` by `method`, over `rows` rows.
    pub fn new(network: &Network, method: &GradientConfig, rows: u64) -> Self {
        let sizes = network.layout.sizes();
        let mut degrees = vec![1; sizes.len()];
        let all_limit = growth::limit(method, &degrees);
        (degrees[0], degrees[sizes.len() - 1]) = (0, 0);
        let hidden_limit = growth::limit(method, &degrees);
        Self {
            hidden_limit,
            all_limit,
            ratio_limit: (hidden_limit == Some(1.0))
                .then(|| limit_of_ratio(network, method, rows))
                .flatten(),
        }
    }
}

/// Returns the limit of the ratio to backprop for wide hidden layers, r in r + c/w + O(1/w²): from
/// two widths near 10⁶, with a relative error of about 10⁻⁶. `None` if a count could exceed 64 bits.
fn limit_of_ratio(network: &Network, method: &GradientConfig, rows: u64) -> Option<f64> {
    const WIDE: usize = 1 << 19;
    let sizes = network.layout.sizes();
    let last = sizes.len() - 1;
    let ends = ((sizes[0] + 1) * (sizes[last] + 8)) as f64;
    if 4.0 * rows as f64 * ends * (WIDE as f64).powi(2) >= u64::MAX as f64 {
        return None;
    }
    let ratio = |width: usize| {
        let mut sizes = sizes.to_vec();
        sizes[1..last].fill(width);
        let bias = network.layout.has_bias();
        let wide = Network::new(&sizes, bias, network.output, network.loss, network.l2).ok()?;
        let multiplications = |method: &GradientConfig| {
            let tally = dense_formulas::gradient(&wide, method, rows)?;
            Some(tally.multiplications as f64)
        };
        Some(multiplications(method)? / multiplications(&GradientConfig::Backprop)?)
    };
    Some(2.0 * ratio(WIDE)? - ratio(WIDE / 2)?)
}

impl CostRow {
    /// Returns the sizes of the hidden layers.
    pub fn hidden(&self) -> &[usize] {
        &self.layers[1..self.layers.len() - 1]
    }

    /// Returns the common width of the hidden layers, if there are any and they have equal widths.
    pub fn width(&self) -> Option<usize> {
        let first = *self.hidden().first()?;
        self.hidden()
            .iter()
            .all(|&units| units == first)
            .then_some(first)
    }

    /// Fills in the measured times.
    pub(super) fn take(&mut self, timing: Timing, backprop: Option<&Self>) {
        self.seconds = median(&timing.samples);
        self.seconds_to_forward = median_ratio(&timing.samples, &timing.evaluations);
        let backprop = backprop.and_then(|row| row.seconds);
        self.seconds_to_backprop = match (self.seconds, backprop) {
            (Some(seconds), Some(backprop)) => Some(seconds / backprop),
            _ => None,
        };
        if timing.share == 1.0 {
            let mut tally = self.tally_performed;
            if timing.counted > 0 && tally.jacobian_vector_products == 0 {
                tally.evaluations = timing.counted;
            } else if timing.counted > 0 {
                tally.jacobian_vector_products = timing.counted.saturating_sub(tally.evaluations);
            }
            self.tally_measured = Some(tally);
        }
        self.measured_share = Some(timing.share);
        self.gradients_per_sample = timing.gradients;
        self.samples = timing.samples;
        self.forward_samples = timing.evaluations;
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    /// Uneven rounds: the least, median and largest of the seconds and of the ratios all differ.
    #[test]
    fn a_row_has_the_median_of_its_samples_and_of_its_ratios() {
        let backprop: CostRow = serde_json::from_value(serde_json::json!({
            "label": "backprop", "method": "backprop", "layers": [4, 5, 3], "parameters": 43,
            "batch_rows": 10, "tally_performed": Tally::default(), "memory": 0.0,
            "predicted_seconds": 1.0, "seconds": 2.5, "samples": [], "forward_samples": [],
            "gradients_per_sample": 0
        }))
        .unwrap();
        let mut row = backprop.clone();
        let timing = Timing {
            samples: vec![50.0, 30.0, 10.0, 20.0, 90.0],
            evaluations: vec![5.0, 10.0, 1.0, 10.0, 10.0],
            gradients: 7,
            share: 0.5,
            counted: 0,
        };
        row.take(timing.clone(), Some(&backprop));
        assert_eq!(row.seconds, Some(30.0));
        // 10, 3, 10, 2 and 9.
        assert_eq!(row.seconds_to_forward, Some(9.0));
        assert_eq!(row.seconds_to_backprop, Some(30.0 / 2.5));
        assert_eq!(row.samples, timing.samples);
        assert_eq!(row.forward_samples, timing.evaluations);
        assert_eq!(
            (row.measured_share, row.gradients_per_sample),
            (Some(0.5), 7)
        );
    }
}
