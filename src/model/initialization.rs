//! Random initialization of weights and biases.

use std::sync::Arc;

use ndarray::{Array1, Array2};
use ndarray_rand::RandomExt;
use ndarray_rand::rand::Rng;
use ndarray_rand::rand_distr::Distribution;

use super::{Layout, Parameters};
use crate::numeric::Real;
use crate::numeric::random::{Gaussian, Purpose, stream, unit};

/// Distribution from which the initial parameters are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Initialization {
    /// Weights and biases N(0, 1).
    Normal,
    /// Weights N(0, 1/fan_in), biases N(0, 1).
    Scaled,
    /// Weights uniform in ±√(6/(fan_in + fan_out)), biases 0.
    Xavier,
}

impl Initialization {
    /// Returns the name used in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Scaled => "scaled",
            Self::Xavier => "xavier",
        }
    }
}

impl Initialization {
    /// Draws the initial θ of a network from `seed`: the same bits on every machine.
    pub fn draw<R: Real>(self, layout: &Arc<Layout>, seed: u64) -> Parameters<R> {
        let mut random = stream(seed, Purpose::Initialization);
        let mut parameters = Parameters::zeros(Arc::clone(layout));
        for layer in 0..layout.layers() {
            let (fan_in, fan_out) = (layout.sizes()[layer], layout.sizes()[layer + 1]);
            let scale = match self {
                Self::Normal => 1.0,
                Self::Scaled => 1.0 / (fan_in as f64).sqrt(),
                Self::Xavier => (6.0 / (fan_in + fan_out) as f64).sqrt(),
            };
            let uniform = self == Self::Xavier;
            let weights: Array2<f64> = if uniform {
                Array2::random_using((fan_out, fan_in), Symmetric, &mut random)
            } else {
                Array2::random_using((fan_out, fan_in), Gaussian, &mut random)
            };
            let flat = parameters.flat_mut();
            for (to, from) in flat[layout.weights(layer)].iter_mut().zip(&weights) {
                *to = R::from_f64(from * scale);
            }
            if !uniform {
                let biases: Array1<f64> =
                    Array1::random_using(layout.biases(layer).len(), Gaussian, &mut random);
                for (to, &from) in flat[layout.biases(layer)].iter_mut().zip(&biases) {
                    *to = R::from_f64(from);
                }
            }
        }
        parameters
    }
}

/// Uniform distribution in [−1, 1).
struct Symmetric;

impl Distribution<f64> for Symmetric {
    fn sample<G: Rng + ?Sized>(&self, random: &mut G) -> f64 {
        2.0 * unit(random) - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (
            mean,
            values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n,
        )
    }

    #[test]
    fn each_initialization_has_the_mean_and_variance_of_its_distribution() {
        let layout = Arc::new(Layout::new(&[400, 300], true));
        for (kind, weight_variance, bias_variance) in [
            (Initialization::Normal, 1.0_f64, 1.0_f64),
            (Initialization::Scaled, 1.0 / 400.0, 1.0),
            (Initialization::Xavier, 2.0 / 700.0, 0.0),
        ] {
            let theta: Parameters<f64> = kind.draw(&layout, 7);
            let (mean, variance) = moments(&theta.flat()[layout.weights(0)]);
            assert!(
                mean.abs() < 0.02 * weight_variance.sqrt(),
                "{kind:?} {mean}"
            );
            assert!(
                (variance / weight_variance - 1.0).abs() < 0.02,
                "{kind:?} {variance}"
            );
            let (_, variance) = moments(&theta.flat()[layout.biases(0)]);
            assert!(
                (variance - bias_variance).abs() < 0.3,
                "{kind:?} {variance}"
            );
        }
    }

    #[test]
    fn different_seeds_draw_different_parameters() {
        let layout = Arc::new(Layout::new(&[4, 3], true));
        let draw = |seed| Initialization::Normal.draw::<f32>(&layout, seed);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
