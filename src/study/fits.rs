//! Laws of scaling, fitted to measured speedups.
//!
//! With S the speedup on p workers, p/S − 1 is what p workers lose. Amdahl (1967): a serial part σ
//! costs σ·(p − 1). Gunther's universal scalability law ("Guerrilla Capacity Planning", 2007)
//! adds what every pair of workers costs the others: α·(p − 1) + β·p·(p − 1), so that beyond
//! p = √((1 − α)/β) more workers are slower. Both are least squares through the origin, where one
//! worker loses nothing by definition.
//!
//! Refused, as an absent fit: numbers of workers that do not determine the coefficients.

use serde::{Deserialize, Serialize};

use crate::numeric::statistics::t_quantile;

/// The confidence of every interval.
const CONFIDENCE: f64 = 0.95;

/// A speedup as measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpeedupPoint {
    /// Workers.
    pub workers: f64,
    /// The time of one worker over theirs.
    pub speedup: f64,
}

impl SpeedupPoint {
    fn loss(self) -> f64 {
        self.workers / self.speedup - 1.0
    }
}

/// A coefficient by least squares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coefficient {
    /// The best estimate; below 0 where more workers gained more than their number.
    pub value: f64,
    /// Both ends of its 95 % confidence interval, for independent normal errors of equal variance;
    /// absent with as many points as coefficients.
    pub interval: Option<[f64; 2]>,
}

/// Amdahl's law.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Amdahl {
    /// σ, the serial part of the work.
    pub serial: Coefficient,
    /// 1/σ, the speedup that no number of workers exceeds; absent for σ ≤ 0.
    pub limit: Option<f64>,
}

impl Amdahl {
    /// The fit to `points`; absent if none has more than one worker.
    pub fn fit(points: &[SpeedupPoint]) -> Option<Self> {
        let [serial] = least_squares(points, |p| [p - 1.0])?;
        Some(Self {
            serial,
            limit: (serial.value > 0.0).then(|| 1.0 / serial.value),
        })
    }
}

impl Amdahl {
    /// The speedup on so many workers.
    pub fn speedup(&self, workers: f64) -> f64 {
        workers / (1.0 + self.serial.value * (workers - 1.0))
    }
}

/// The universal scalability law.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Universal {
    /// α: what workers lose by waiting for one another.
    pub contention: Coefficient,
    /// β: what they lose by telling one another.
    pub coherence: Coefficient,
    /// The number of workers from which more are slower; absent for β ≤ 0: within this law there
    /// is none.
    pub best_workers: Option<f64>,
}

impl Universal {
    /// The fit to `points`; absent with fewer than two numbers of workers above 1.
    pub fn fit(points: &[SpeedupPoint]) -> Option<Self> {
        let [contention, coherence] = least_squares(points, |p| [p - 1.0, p * (p - 1.0)])?;
        let (alpha, beta) = (contention.value, coherence.value);
        Some(Self {
            contention,
            coherence,
            best_workers: (beta > 0.0).then(|| ((1.0 - alpha).max(0.0) / beta).sqrt().max(1.0)),
        })
    }

    /// The speedup on so many workers.
    pub fn speedup(&self, workers: f64) -> f64 {
        let lost = self.contention.value + self.coherence.value * workers;
        workers / (1.0 + lost * (workers - 1.0))
    }
}

/// The coefficients of `terms` that leave the least squares of the points' losses.
fn least_squares<const K: usize>(
    points: &[SpeedupPoint],
    terms: impl Fn(f64) -> [f64; K],
) -> Option<[Coefficient; K]> {
    // One worker loses nothing by definition, and says nothing.
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
    let rest = |(loss, x): &(f64, [f64; K])| {
        let fitted: f64 = (0..K).map(|i| values[i] * x[i]).sum();
        (loss - fitted).powi(2)
    };
    let rest: f64 = points.iter().map(rest).sum();
    let freedom = points.len().saturating_sub(K);
    Some(std::array::from_fn(|i| Coefficient {
        value: values[i],
        interval: (freedom > 0).then(|| {
            let deviation = (rest / freedom as f64 * inverse[i][i]).sqrt();
            let reach = t_quantile(CONFIDENCE, freedom as u32) * deviation;
            [values[i] - reach, values[i] + reach]
        }),
    }))
}

/// The inverse of a positive definite matrix by Gauss and Jordan; absent where it is singular.
fn inverse<const K: usize>(mut matrix: [[f64; K]; K]) -> Option<[[f64; K]; K]> {
    // A pivot that elimination leaves below this share of its diagonal entry is round-off.
    const LEAST: f64 = 1e-10;
    let diagonal: [f64; K] = std::array::from_fn(|i| matrix[i][i]);
    let mut inverse: [[f64; K]; K] =
        std::array::from_fn(|i| std::array::from_fn(|j| f64::from(u8::from(i == j))));
    for i in 0..K {
        let pivot = matrix[i][i];
        if pivot.is_nan() || pivot <= LEAST * diagonal[i] {
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

    /// Speedups of the law with α and β, each off by `error` of itself, in turns up and down.
    fn generated(alpha: f64, beta: f64, error: f64) -> Vec<SpeedupPoint> {
        let workers = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0];
        let point = |(index, p): (usize, f64)| {
            let lost = alpha * (p - 1.0) + beta * p * (p - 1.0);
            let side = if index % 2 == 0 { error } else { -error };
            let speedup = p / (1.0 + lost) * (1.0 + side);
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
    fn a_generated_curve_gives_its_coefficients_back() {
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
    fn intervals_hold_the_truth_and_widen_with_the_noise() {
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
    fn what_the_points_do_not_determine_is_left_out() {
        let at = |workers, speedup| SpeedupPoint { workers, speedup };
        assert_eq!(Amdahl::fit(&[at(1.0, 1.0)]), None);
        let two = [at(1.0, 1.0), at(2.0, 1.6)];
        close(Amdahl::fit(&two).unwrap().serial.value, 0.25);
        assert_eq!(Amdahl::fit(&two).unwrap().serial.interval, None);
        assert_eq!(Universal::fit(&two), None);
        // Repeated, but still of one number of workers.
        let again = [at(2.0, 1.6), at(2.0, 1.7), at(2.0, 1.65)];
        assert!(Amdahl::fit(&again).unwrap().serial.interval.is_some());
        assert_eq!(Universal::fit(&again), None);
    }
}
