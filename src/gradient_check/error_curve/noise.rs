//! The expected squares of a difference's round-off, for every parameter: of the rows' losses, of
//! the sums if the losses of whole mini-batches are subtracted, and of the l2 term.

use super::perturbed_roundoff::RowNoise;
use super::repeats::Repeats;
use crate::gradient::finite_difference::{DifferenceConfig, Summation};
use crate::gradient_check::bounds::PerturbedPart;
use crate::gradient_check::evaluation_points::EvaluationPoints;
use crate::gradient_check::number_format::NumberFormat;
use crate::gradient_check::sample_pass::SamplePass;
use crate::model::{Network, Parameters};

/// Typical number of units in a panel in f32.
const PANEL_UNITS: usize = 16;

/// The round-off of a difference.
pub(in crate::gradient_check) struct DifferenceNoise {
    /// The expected squares, `(N,)`.
    pub squares: Vec<f64>,
    /// The part of each derivative that is lost, because z + h·a rounds to z, `(N,)`.
    pub lost: Vec<f64>,
}

impl DifferenceNoise {
    /// No noise.
    pub(super) const NONE: Self = Self {
        squares: Vec::new(),
        lost: Vec::new(),
    };
}

/// A network at one θ and one mini-batch, and the arithmetic whose round-off is predicted.
pub(in crate::gradient_check) struct NoiseModel<'a> {
    pub network: &'a Network,
    pub theta: &'a Parameters<f64>,
    /// The gradient at θ.
    pub gradient: &'a Parameters<f64>,
    pub passes: &'a [SamplePass],
    pub format: NumberFormat,
    pub config: DifferenceConfig,
    pub perturbed: PerturbedPart,
}

impl NoiseModel<'_> {
    /// Predicts the noise at each of `points`; `None` stays without noise.
    pub(in crate::gradient_check) fn noise(
        &self,
        points: &[Option<&EvaluationPoints>],
    ) -> Vec<DifferenceNoise> {
        let parameters = self.network.layout.len();
        let share = 1.0 / self.passes.len() as f64;
        let nothing = || DifferenceNoise {
            squares: vec![0.0; parameters],
            lost: vec![0.0; parameters],
        };
        let mut noises: Vec<DifferenceNoise> = points.iter().map(|_| nothing()).collect();
        let repeats = Repeats::of(self.passes);
        for (pass, repeats) in self.passes.iter().zip(&repeats) {
            let repeated = repeats.rows * repeats.most_units();
            let row = RowNoise::new(self.network, self.theta, pass, &self.config, self.format);
            for (points, noise) in points.iter().zip(&mut noises) {
                if let Some(points) = points {
                    let factor = share * repeated.sqrt();
                    self.add_row(pass, &row, [share, factor], points, noise);
                }
            }
        }
        for (points, noise) in points.iter().zip(&mut noises) {
            if let Some(points) = points {
                self.add_summation_noise(points, &mut noise.squares);
                self.add_penalty_noise(points, &mut noise.squares);
            }
        }
        noises
    }

    /// Adds the noise of one row's difference of losses. `share` is 1/B, `factor` the factor of the
    /// noise.
    fn add_row(
        &self,
        pass: &SamplePass,
        row: &RowNoise,
        [share, factor]: [f64; 2],
        points: &EvaluationPoints,
        noise: &mut DifferenceNoise,
    ) {
        let by_unit = self.perturbed == PerturbedPart::PreActivations;
        self.for_each_parameter(|layer, unit, input, index| {
            let a = input.map_or(1.0, |input| pass.a[layer][input]);
            // A perturbation of an input of 0 has no effect.
            if a == 0.0 {
                return;
            }
            let h = points.increments[layer][unit];
            let distance = self.config.scheme.distance(h);
            // A perturbed pre-activation moves as with its bias; its quotient is multiplied by a.
            let (input, moved) = if by_unit {
                (None, 1.0)
            } else {
                (input, a.abs())
            };
            let (square, is_lost) = row.square(layer, unit, input, h * moved, distance * moved);
            let input = if by_unit { a } else { 1.0 };
            noise.squares[index] += square * (input * factor / distance).powi(2);
            if is_lost {
                noise.lost[index] -= share * pass.delta[layer][unit] * a;
            }
        });
    }

    /// Adds the expected squared noise of sums, if the mini-batch's mean losses are subtracted: two
    /// sums of B losses, their means, and the l2 term's sum of squares.
    fn add_summation_noise(&self, points: &EvaluationPoints, squares: &mut [f64]) {
        if self.config.summation == Summation::Differences {
            return;
        }
        let (format, network, passes) = (self.format, self.network, self.passes);
        let share = 1.0 / passes.len() as f64;
        // (spacing q, share of a change of the mean that has reached the sum)
        let mut roundings = Vec::new();
        let mut sum = 0.0;
        for (row, pass) in passes.iter().enumerate() {
            sum += pass.loss;
            roundings.push((format.spacing(sum) * share, (row + 1) as f64 * share));
        }
        let mean = sum * share;
        roundings.push((format.spacing(mean), 1.0));
        if network.l2 != 0.0 {
            let theta = self.theta.flat();
            let layout = &network.layout;
            let weights = (0..layout.layers()).flat_map(|layer| layout.weights(layer));
            let norm: f64 = weights.map(|index| theta[index].powi(2)).sum();
            let penalty = 0.5 * network.l2;
            // Panels of weights are summed one after the other; on average half of them follow the
            // panel of a weight.
            let panels: usize = layout.sizes()[1..]
                .iter()
                .map(|units| units.div_ceil(PANEL_UNITS))
                .sum();
            for _ in 0..panels.div_ceil(2) {
                roundings.push((penalty * format.spacing(norm), 1.0));
            }
            roundings.push((format.spacing(mean + penalty * norm), 1.0));
        }
        let slope: f64 = roundings.iter().map(|(q, reached)| q * reached).sum();
        let level: f64 = roundings.iter().map(|(q, _)| q * q / 6.0).sum();
        let increments = points.realized.iter().zip(self.gradient.flat());
        for ((increment, g), square) in increments.zip(squares) {
            *square +=
                (slope * increment.distance * g.abs()).min(level) / increment.distance.powi(2);
        }
    }

    /// Adds the expected squared noise of ½λ'·w² at both evaluation points of a weight, with two
    /// roundings each. A method that perturbs pre-activations adds the exact derivative instead.
    fn add_penalty_noise(&self, points: &EvaluationPoints, squares: &mut [f64]) {
        let (format, network) = (self.format, self.network);
        let exact = self.perturbed == PerturbedPart::PreActivations;
        if network.l2 == 0.0 || self.config.summation == Summation::Losses || exact {
            return;
        }
        let layout = &network.layout;
        let weights = (0..layout.layers()).flat_map(|layer| layout.weights(layer));
        let half = 0.5 * network.l2;
        for index in weights {
            let w = self.theta.flat()[index];
            let distance = points.realized[index].distance;
            let change = 2.0 * w.abs() * distance;
            let rounded = |q: f64, change: f64| (q * change).min(q * q / 6.0);
            let square = half * half * rounded(format.spacing(w * w), change)
                + rounded(format.spacing(half * w * w), half * change);
            squares[index] += square / (distance * distance);
        }
    }

    /// Calls `visit` with each parameter's layer, unit, input (`None` for a bias) and index in θ.
    fn for_each_parameter(&self, mut visit: impl FnMut(usize, usize, Option<usize>, usize)) {
        let layout = &self.network.layout;
        for layer in 0..layout.layers() {
            let fan_in = layout.sizes()[layer];
            for (at, index) in layout.weights(layer).enumerate() {
                visit(layer, at / fan_in, Some(at % fan_in), index);
            }
            for (unit, index) in layout.biases(layer).enumerate() {
                visit(layer, unit, None, index);
            }
        }
    }
}
