//! Fits scaling laws to measured speedups.
//!
//! With the speedup S on p workers, the loss is p/S − 1. In Amdahl's law (1967) a serial part σ
//! makes it σ·(p − 1). In Gunther's universal scalability law ("Guerrilla Capacity Planning", 2007)
//! it is α·(p − 1) + β·p·(p − 1), where β is the cost of communication between each pair of
//! workers, so that beyond p = √((1 − α)/β) more workers are slower. Both are fitted by least
//! squares through the origin, because one worker loses nothing by definition.
//!
//! There is no fit if the numbers of workers do not determine the coefficients. A fit that
//! determines them need not describe anything: [`Amdahl::supported`] and [`Universal::supported`]
//! return a law only if the points hold it.

use serde::{Deserialize, Serialize};

use crate::numeric::statistics::t_quantile;

/// The confidence of every interval.
const CONFIDENCE: f64 = 0.95;
/// The largest half width of an interval of σ or α that still says something: a quarter of the work.
const WIDEST: f64 = 0.25;

/// The reason why no law is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unsupported {
    /// Too few numbers of workers above one: any law of as many coefficients passes through them.
    TooFewCounts,
    /// The spread of the points is too wide, or their coefficients are none that the law allows.
    TooNoisy,
}

impl Unsupported {
    /// Returns the reason as a table shows it.
    pub fn text(self) -> &'static str {
        match self {
            Self::TooFewCounts => "too few numbers of threads",
            Self::TooNoisy => "too noisy to fit",
        }
    }
}

/// A measured speedup.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpeedupPoint {
    /// Number of workers.
    pub workers: f64,
    /// The time of one worker divided by the time of these workers.
    pub speedup: f64,
}

impl SpeedupPoint {
    /// Returns p/S − 1.
    fn loss(self) -> f64 {
        self.workers / self.speedup - 1.0
    }
}

/// A coefficient estimated by least squares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coefficient {
    /// The estimate; negative if the speedup exceeded the number of workers.
    pub value: f64,
    /// The 95 % confidence interval for independent normal errors of equal variance; absent with as
    /// many points as coefficients.
    pub interval: Option<[f64; 2]>,
}

impl Coefficient {
    /// Returns whether this is a share of the work: its interval is narrow and meets 0 to 1.
    fn is_share(&self) -> bool {
        let narrow =
            |[low, high]: [f64; 2]| high - low <= 2.0 * WIDEST && high >= 0.0 && low <= 1.0;
        self.interval.is_some_and(narrow)
    }
}

/// Amdahl's law.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Amdahl {
    /// σ, the serial part of the work.
    pub serial: Coefficient,
    /// 1/σ, the upper limit of the speedup; absent for σ ≤ 0.
    pub limit: Option<f64>,
}

impl Amdahl {
    /// Fits the law to `points`; returns `None` if none has more than one worker.
    pub fn fit(points: &[SpeedupPoint]) -> Option<Self> {
        let [serial] = least_squares(points, |p| [p - 1.0])?;
        Some(Self {
            serial,
            limit: (serial.value > 0.0).then(|| 1.0 / serial.value),
        })
    }
}

impl Amdahl {
    /// Returns the law if `points` hold it: they have two numbers of workers above one, and the
    /// interval of σ is narrow and meets what the law allows, 0 to 1.
    ///
    /// # Errors
    /// The reason why they do not.
    pub fn supported(points: &[SpeedupPoint]) -> Result<Self, Unsupported> {
        require_counts(points, 2)?;
        let law = Self::fit(points).ok_or(Unsupported::TooFewCounts)?;
        if law.serial.is_share() {
            Ok(law)
        } else {
            Err(Unsupported::TooNoisy)
        }
    }

    /// Returns the predicted speedup on the given number of workers.
    pub fn speedup(&self, workers: f64) -> f64 {
        workers / (1.0 + self.serial.value * (workers - 1.0))
    }
}

/// The universal scalability law.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Universal {
    /// α, the loss from workers that wait for one another.
    pub contention: Coefficient,
    /// β, the loss from communication between workers.
    pub coherence: Coefficient,
    /// The number of workers beyond which more are slower; absent for β ≤ 0, where the law has
    /// none.
    pub best_workers: Option<f64>,
}

impl Universal {
    /// Fits the law to `points`; returns `None` with fewer than two numbers of workers above 1.
    pub fn fit(points: &[SpeedupPoint]) -> Option<Self> {
        let [contention, coherence] = least_squares(points, |p| [p - 1.0, p * (p - 1.0)])?;
        let (alpha, beta) = (contention.value, coherence.value);
        Some(Self {
            contention,
            coherence,
            best_workers: (beta > 0.0).then(|| ((1.0 - alpha).max(0.0) / beta).sqrt().max(1.0)),
        })
    }

    /// Returns the law if `points` hold it: they have three numbers of workers above one, the
    /// interval of α is narrow and meets what the law allows, 0 to 1, and that of β is not below 0.
    ///
    /// # Errors
    /// The reason why they do not.
    pub fn supported(points: &[SpeedupPoint]) -> Result<Self, Unsupported> {
        require_counts(points, 3)?;
        let law = Self::fit(points).ok_or(Unsupported::TooFewCounts)?;
        let coherent = (law.coherence.interval).is_some_and(|[_, high]| high >= 0.0);
        if law.contention.is_share() && coherent {
            Ok(law)
        } else {
            Err(Unsupported::TooNoisy)
        }
    }

    /// Returns the predicted speedup on the given number of workers.
    pub fn speedup(&self, workers: f64) -> f64 {
        let lost = self.contention.value + self.coherence.value * workers;
        workers / (1.0 + lost * (workers - 1.0))
    }
}

/// Requires at least `needed` numbers of workers above one.
fn require_counts(points: &[SpeedupPoint], needed: usize) -> Result<(), Unsupported> {
    let mut counts: Vec<f64> = points.iter().map(|point| point.workers).collect();
    counts.retain(|&workers| workers > 1.0);
    counts.sort_by(f64::total_cmp);
    counts.dedup();
    if counts.len() < needed {
        return Err(Unsupported::TooFewCounts);
    }
    Ok(())
}

/// Fits the losses of the points as a linear combination of `terms` by least squares.
fn least_squares<const K: usize>(
    points: &[SpeedupPoint],
    terms: impl Fn(f64) -> [f64; K],
) -> Option<[Coefficient; K]> {
    // One worker loses nothing by definition, so it carries no information.
    let points: Vec<(f64, [f64; K])> = (points.iter().filter(|point| point.workers > 1.0))
        .map(|point| (point.loss(), terms(point.workers)))
        .collect();
    let mut normal = [[0.0; K]; K];
    let mut right = [0.0; K];
    for i in 0..K {
        right[i] = points.iter().map(|(loss, x)| loss * x[i]).sum();
        for j in 0..K {
            normal[i][j] = points.iter().map(|(_, x)| x[i] * x[j]).sum();
        }
    }
    let inverse = inverse(normal)?;
    let value = |i: usize| (0..K).map(|j| inverse[i][j] * right[j]).sum::<f64>();
    let values: [f64; K] = std::array::from_fn(value);
    if values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let squared_residual = |(loss, x): &(f64, [f64; K])| {
        let fitted: f64 = (0..K).map(|i| values[i] * x[i]).sum();
        (loss - fitted).powi(2)
    };
    let residual: f64 = points.iter().map(squared_residual).sum();
    let freedom = points.len().saturating_sub(K);
    Some(std::array::from_fn(|i| Coefficient {
        value: values[i],
        interval: (freedom > 0).then(|| {
            let deviation = (residual / freedom as f64 * inverse[i][i]).sqrt();
            let margin = t_quantile(CONFIDENCE, freedom as u32) * deviation;
            [values[i] - margin, values[i] + margin]
        }),
    }))
}

/// Inverts a positive definite matrix by Gauss–Jordan elimination; returns `None` if it is
/// singular.
fn inverse<const K: usize>(mut matrix: [[f64; K]; K]) -> Option<[[f64; K]; K]> {
    // A pivot below this share of its diagonal entry is round-off.
    const MIN_PIVOT: f64 = 1e-10;
    let diagonal: [f64; K] = std::array::from_fn(|i| matrix[i][i]);
    let mut inverse: [[f64; K]; K] =
        std::array::from_fn(|i| std::array::from_fn(|j| f64::from(u8::from(i == j))));
    for i in 0..K {
        let pivot = matrix[i][i];
        if pivot.is_nan() || pivot <= MIN_PIVOT * diagonal[i] {
            return None;
        }
        for rows in [&mut matrix, &mut inverse] {
            rows[i] = rows[i].map(|entry| entry / pivot);
        }
        let (pivots, units) = (matrix[i], inverse[i]);
        for k in (0..K).filter(|&k| k != i) {
            let factor = matrix[k][i];
            for j in 0..K {
                matrix[k][j] -= factor * pivots[j];
                inverse[k][j] -= factor * units[j];
            }
        }
    }
    Some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns speedups by the law with α and β, with a relative error of alternating sign,
    /// ±`error`.
    fn generated(alpha: f64, beta: f64, error: f64) -> Vec<SpeedupPoint> {
        let workers = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0];
        let point = |(index, p): (usize, f64)| {
            let lost = alpha * (p - 1.0) + beta * p * (p - 1.0);
            let signed = if index % 2 == 0 { error } else { -error };
            let speedup = p / (1.0 + lost) * (1.0 + signed);
            SpeedupPoint {
                workers: p,
                speedup,
            }
        };
        workers.into_iter().enumerate().map(point).collect()
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    }

    #[test]
    fn a_fit_recovers_the_coefficients_of_a_generated_curve() {
        for (alpha, beta) in [(0.05, 0.001), (0.0, 0.01), (0.3, 0.0), (0.0, 0.0)] {
            let fit = Universal::fit(&generated(alpha, beta, 0.0)).unwrap();
            close(fit.contention.value, alpha);
            close(fit.coherence.value, beta);
            close(fit.speedup(16.0), generated(alpha, beta, 0.0)[7].speedup);
        }
        let fit = Amdahl::fit(&generated(0.25, 0.0, 0.0)).unwrap();
        close(fit.serial.value, 0.25);
        close(fit.limit.unwrap(), 4.0);
    }

    #[test]
    fn the_best_number_of_workers_is_where_the_law_turns() {
        let fit = Universal::fit(&generated(0.02, 0.005, 0.0)).unwrap();
        let best = fit.best_workers.unwrap();
        close(best, (0.98f64 / 0.005).sqrt());
        assert!(fit.speedup(best) > fit.speedup(best - 1.0));
        assert!(fit.speedup(best) > fit.speedup(best + 1.0));
        let never = Universal::fit(&generated(0.1, -0.001, 0.0)).unwrap();
        assert_eq!(never.best_workers, None);
    }

    #[test]
    fn intervals_contain_the_truth_and_widen_with_the_noise() {
        let width = |error| {
            let fit = Universal::fit(&generated(0.05, 0.002, error)).unwrap();
            for (coefficient, truth) in [(fit.contention, 0.05), (fit.coherence, 0.002)] {
                let [low, high] = coefficient.interval.unwrap();
                assert!(low <= truth && truth <= high, "{low} {truth} {high}");
            }
            let [low, high] = fit.contention.interval.unwrap();
            high - low
        };
        assert!(width(0.02) > 5.0 * width(0.002));
    }

    /// numpy.linalg.lstsq, and scipy.stats.t.ppf(0.975, n − K) times the standard error: n points
    /// leave n − K degrees of freedom to K coefficients.
    #[test]
    fn intervals_are_numpy_s_and_scipy_s() {
        let points = [(1.0, 1.0), (2.0, 1.8), (3.0, 2.5), (4.0, 3.1), (8.0, 4.7)];
        let points = points.map(|(workers, speedup)| SpeedupPoint { workers, speedup });
        let universal = Universal::fit(&points).unwrap();
        let amdahl = Amdahl::fit(&points).unwrap();
        for (found, value, [low, high]) in [
            (
                universal.contention,
                0.098_462_712_443_747_62,
                [0.076_750_896_681_977_42, 0.120_174_528_205_517_81],
            ),
            (
                universal.coherence,
                0.000_212_266_031_927_089_8,
                [-0.002_778_602_875_716_899, 0.003_203_134_939_571_078_8],
            ),
            (
                amdahl.serial,
                0.099_951_943_969_331_3,
                [0.096_506_795_753_071_85, 0.103_397_092_185_590_3],
            ),
        ] {
            close(found.value, value);
            let interval = found.interval.unwrap();
            close(interval[0], low);
            close(interval[1], high);
        }
    }

    #[test]
    fn coefficients_that_the_points_do_not_determine_are_absent() {
        let at = |workers, speedup| SpeedupPoint { workers, speedup };
        assert_eq!(Amdahl::fit(&[at(1.0, 1.0)]), None);
        let two = [at(1.0, 1.0), at(2.0, 1.6)];
        close(Amdahl::fit(&two).unwrap().serial.value, 0.25);
        assert_eq!(Amdahl::fit(&two).unwrap().serial.interval, None);
        assert_eq!(Universal::fit(&two), None);
        // Several points, but a single number of workers.
        let repeated = [at(2.0, 1.6), at(2.0, 1.7), at(2.0, 1.65)];
        assert!(Amdahl::fit(&repeated).unwrap().serial.interval.is_some());
        assert_eq!(Universal::fit(&repeated), None);
    }

    #[test]
    fn a_law_is_given_only_if_the_points_hold_it() {
        let law = Universal::supported(&generated(0.05, 0.002, 0.01)).unwrap();
        close(
            law.best_workers.unwrap(),
            Universal::fit(&generated(0.05, 0.002, 0.01))
                .unwrap()
                .best_workers
                .unwrap(),
        );
        assert!(Amdahl::supported(&generated(0.1, 0.0, 0.02)).is_ok());
        // A gradient of microseconds on threads that share a core: σ = 6 is no share of anything.
        let slower: Vec<SpeedupPoint> = (generated(0.0, 0.0, 0.0).into_iter())
            .map(|point| SpeedupPoint {
                speedup: if point.workers > 1.0 { 0.15 } else { 1.0 },
                ..point
            })
            .collect();
        assert_eq!(Amdahl::supported(&slower), Err(Unsupported::TooNoisy));
        assert_eq!(Universal::supported(&slower), Err(Unsupported::TooNoisy));
        assert_eq!(
            Amdahl::supported(&generated(0.1, 0.0, 0.8)),
            Err(Unsupported::TooNoisy)
        );
        // One number of workers lies on a curve of every law.
        let two = [(2.0, 1.5), (2.0, 1.6), (2.0, 1.7)]
            .map(|(workers, speedup)| SpeedupPoint { workers, speedup });
        assert_eq!(Amdahl::supported(&two), Err(Unsupported::TooFewCounts));
        let three = [(2.0, 1.7), (4.0, 2.7), (4.0, 2.8)]
            .map(|(workers, speedup)| SpeedupPoint { workers, speedup });
        assert!(Amdahl::supported(&three).is_ok());
        assert_eq!(Universal::supported(&three), Err(Unsupported::TooFewCounts));
    }
}
