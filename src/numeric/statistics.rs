//! Statistics of measurements: means, medians, quantiles, a rank sum test, and least-squares lines with
//! the confidence interval of the slope.
//!
//! Timings are summarized by medians: one disturbed sample moves a mean, but hardly a median. A
//! figure that the values do not determine is `None`.

use serde::{Deserialize, Serialize};

/// Returns the arithmetic mean; `None` without values.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Returns the smallest and the largest value; `None` without values.
pub fn range(values: &[f64]) -> Option<[f64; 2]> {
    let (first, others) = values.split_first()?;
    let widened = |[least, most]: [f64; 2], value: &f64| [least.min(*value), most.max(*value)];
    Some(others.iter().fold([*first; 2], widened))
}

/// Returns the median: the middle value, or the mean of the middle two; `None` without values.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// Returns the standard deviation of a sample, over n − 1; `None` for fewer than two values.
pub fn sample_deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() as f64 - 1.0)).sqrt())
}

/// Returns the median of the ratios `values[i]/others[i]`, `None` without pairs. The samples of a
/// pair are taken side by side, so a machine whose speed drifts changes both.
pub fn median_ratio(values: &[f64], others: &[f64]) -> Option<f64> {
    let pairs = values.iter().zip(others);
    let ratios: Vec<f64> = pairs.map(|(value, other)| value / other).collect();
    median(&ratios)
}

/// Returns the quantile of `values` at `fraction`, with linear interpolation between neighbors
/// (Hyndman and Fan, "Sample quantiles in statistical packages", 1996, definition 7, NumPy's
/// default); `None` without values.
///
/// # Panics
/// If `fraction` is not between 0 and 1.
pub fn quantile(values: &[f64], fraction: f64) -> Option<f64> {
    assert!(
        (0.0..=1.0).contains(&fraction),
        "a quantile at {fraction}: allowed are 0 to 1"
    );
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = fraction * (sorted.len().checked_sub(1)? as f64);
    let (below, above) = (
        sorted[place.floor() as usize],
        sorted[place.ceil() as usize],
    );
    let weight = place.fract();
    // This form makes the median of two values their mean, rounded once.
    Some(if weight == 0.0 {
        below
    } else {
        below * (1.0 - weight) + above * weight
    })
}

/// Returns the median distance of the values from their median; `None` without values.
pub fn median_absolute_deviation(values: &[f64]) -> Option<f64> {
    let center = median(values)?;
    let distances: Vec<f64> = values.iter().map(|value| (value - center).abs()).collect();
    median(&distances)
}

/// A least-squares line through points.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeastSquaresLine {
    /// Change of y per unit of x.
    pub slope: f64,
    /// Value of y at x = 0.
    pub intercept: f64,
    /// Ends of the slope's 95 % confidence interval, for independent normal errors of equal
    /// variance in y; `None` with 2 points, which always lie on a line.
    pub interval: Option<[f64; 2]>,
    /// Number of points.
    pub points: usize,
}

impl LeastSquaresLine {
    /// Fits a line to `points` of (x, y); `None` with fewer than two different x, or if a number is
    /// not finite.
    pub fn through(points: &[(f64, f64)]) -> Option<Self> {
        let count = points.len() as f64;
        let mean =
            |value: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / count;
        let (x, y) = (mean(&|point| point.0), mean(&|point| point.1));
        let variation_of_x: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
        let covariation: f64 = (points.iter().map(|point| (point.0 - x) * (point.1 - y))).sum();
        let slope = covariation / variation_of_x;
        let intercept = y - slope * x;
        if !(variation_of_x > 0.0 && slope.is_finite()) {
            return None;
        }
        let squared_residual = |point: &(f64, f64)| (point.1 - y - slope * (point.0 - x)).powi(2);
        let interval = (points.len() > 2).then(|| {
            let freedom = points.len() - 2;
            let variance = points.iter().map(squared_residual).sum::<f64>() / freedom as f64;
            let half_width = t_quantile(0.95, freedom as u32) * (variance / variation_of_x).sqrt();
            [slope - half_width, slope + half_width]
        });
        Some(Self {
            slope,
            intercept,
            interval,
            points: points.len(),
        })
    }

    /// Fits a power law: a line through the logarithms of `points`, whose slope is the exponent.
    pub fn through_logarithms(points: &[(f64, f64)]) -> Option<Self> {
        let logarithms: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
        Self::through(&logarithms)
    }
}

/// Returns the two-sided p of Mann and Whitney's rank sum test: the probability that two samples of
/// one distribution differ in their rank sums at least as much as `one` and `other` do. `None` if a
/// sample is empty.
///
/// p is exact: all assignments of the values to the two samples are counted, with equal values at
/// their mean rank. Costs O((m + n)³·m) operations for samples of m and n values.
pub fn rank_sum_p(one: &[f64], other: &[f64]) -> Option<f64> {
    if one.is_empty() || other.is_empty() {
        return None;
    }
    let mut pooled: Vec<f64> = one.iter().chain(other).copied().collect();
    pooled.sort_by(f64::total_cmp);
    // Returns twice the mean rank of a value, an integer even for equal values.
    let rank = |value: f64| {
        let below = pooled.partition_point(|other| other.total_cmp(&value).is_lt());
        let within = pooled.partition_point(|other| other.total_cmp(&value).is_le());
        below + within + 1
    };
    let ranks: Vec<usize> = pooled.iter().map(|&value| rank(value)).collect();
    let total: usize = ranks.iter().sum();
    // ways[k][s] is the number of ways in which k of the ranks so far have the sum s.
    let mut ways = vec![vec![0.0f64; total + 1]; one.len() + 1];
    ways[0][0] = 1.0;
    for &rank in &ranks {
        for k in (1..=one.len()).rev() {
            for sum in (rank..=total).rev() {
                ways[k][sum] += ways[k - 1][sum - rank];
            }
        }
    }
    let ways = &ways[one.len()];
    // The distance from the mean sum, times the number of values: an integer, so ties are exact.
    let distance = |sum: usize| (sum * pooled.len()).abs_diff(total * one.len());
    let observed = distance(one.iter().map(|&value| rank(value)).sum());
    let as_far = (ways.iter().enumerate()).filter(|(sum, _)| distance(*sum) >= observed);
    Some(as_far.map(|(_, count)| count).sum::<f64>() / ways.iter().sum::<f64>())
}

/// Returns t such that a variable of Student's distribution with `freedom` degrees of freedom lies
/// between −t and t with probability `confidence`.
///
/// # Panics
/// If `freedom` is 0, or `confidence` is not strictly between 0 and 1.
pub fn t_quantile(confidence: f64, freedom: u32) -> f64 {
    assert!(freedom > 0 && confidence > 0.0 && confidence < 1.0);
    // As a function of θ = atan(t/√ν) the distribution is smooth on 0…π/2: 60 bisections reach the
    // last bit.
    let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if central_probability(middle, freedom) < confidence {
            low = middle;
        } else {
            high = middle;
        }
    }
    low.tan() * f64::from(freedom).sqrt()
}

/// Returns P(|T| ≤ √ν·tan θ), a finite sum for integer ν (Abramowitz and Stegun, 26.7.3 and
/// 26.7.4).
fn central_probability(theta: f64, freedom: u32) -> f64 {
    let (sine, cosine) = theta.sin_cos();
    let odd = freedom % 2;
    // For odd ν: cos θ + 2/3·cos³ θ + …; for even ν: 1 + 1/2·cos² θ + …; up to cos^(ν−2) θ.
    let mut term = if odd == 1 { cosine } else { 1.0 };
    let mut sum = 0.0;
    let mut power = odd;
    while power + 2 <= freedom {
        sum += term;
        power += 2;
        term *= cosine * cosine * f64::from(power - 1) / f64::from(power);
    }
    if odd == 1 {
        (theta + sine * sum) * std::f64::consts::FRAC_2_PI
    } else {
        sine * sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts that two numbers agree within `tolerance`, relative to `expected`, or absolute if
    /// that is below 1.
    fn assert_close(found: f64, expected: f64, tolerance: f64) {
        let error = (found - expected).abs() / expected.abs().max(1.0);
        assert!(error <= tolerance, "{found} for {expected}");
    }

    #[test]
    fn the_mean_and_the_range_are_those_of_all_values() {
        assert_eq!((mean(&[]), range(&[])), (None, None));
        assert_eq!(mean(&[1.0, 2.0, 6.0]), Some(3.0));
        assert_eq!(range(&[2.0, -1.0, 6.0]), Some([-1.0, 6.0]));
        assert_eq!(range(&[f64::NAN, 2.0, 1.0]), Some([1.0, 2.0]));
    }

    #[test]
    fn the_deviation_of_a_sample_is_over_one_less_than_its_values() {
        assert_eq!(sample_deviation(&[]), None);
        assert_eq!(sample_deviation(&[1.0]), None);
        // Over n it would be 2.
        let deviation = sample_deviation(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_close(deviation, (32.0f64 / 7.0).sqrt(), 1e-15);
    }

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }

    #[test]
    fn a_median_ratio_is_of_pairs_and_no_ratio_of_medians() {
        // 4, 0.5 and 3 have the median 3; the medians 4 and 2 have the ratio 2.
        let found = median_ratio(&[4.0, 1.0, 6.0], &[1.0, 2.0, 2.0]);
        assert_eq!(found, Some(3.0));
        assert_eq!(median_ratio(&[], &[]), None);
    }

    #[test]
    fn quantiles_are_numpy_s() {
        // numpy.quantile([3.1, 0.4, 9.2, 5.5, 7.7, 2.6], q)
        let values = [3.1, 0.4, 9.2, 5.5, 7.7, 2.6];
        for (at, expected) in QUANTILES {
            assert_close(quantile(&values, at).unwrap(), expected, 1e-15);
        }
        assert_eq!(quantile(&[], 0.3), None);
        assert_eq!(quantile(&[8.0], 0.3), Some(8.0));
    }

    #[test]
    fn the_median_absolute_deviation_is_scipy_s() {
        // scipy.stats.median_abs_deviation of the same values
        let values = [3.1, 0.4, 9.2, 5.5, 7.7, 2.6];
        assert_close(median_absolute_deviation(&values).unwrap(), MAD, 1e-15);
    }

    #[test]
    fn t_quantiles_are_scipy_s() {
        // scipy.stats.t.ppf((1 + confidence)/2, freedom). In the upper tail θ is accurate to about
        // 1e-16, so tan θ to 1e-16·(1 + tan² θ): 1e-14 for t/√ν = 13.
        for (confidence, freedom, expected) in T_QUANTILES {
            let found = t_quantile(confidence, freedom);
            assert!(
                (found / expected - 1.0).abs() <= 1e-12,
                "{freedom}: {found} for {expected}"
            );
        }
    }

    #[test]
    fn rank_sum_p_is_scipy_s_and_with_ties_that_of_all_assignments() {
        // scipy.stats.mannwhitneyu(…, method="exact").pvalue
        let one = [1.0, 2.0, 3.5, 4.0, 6.0];
        let other = [2.5, 5.0, 7.0, 8.0, 9.0, 10.0];
        assert_close(
            rank_sum_p(&one, &other).unwrap(),
            0.05194805194805195,
            1e-15,
        );
        let (low, high) = ([1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 8.0, 9.0, 10.0]);
        assert_close(rank_sum_p(&low, &high).unwrap(), 2.0 / 252.0, 1e-15);
        assert_eq!(rank_sum_p(&low, &high), rank_sum_p(&high, &low));
        // itertools.combinations over scipy.stats.rankdata
        let (one, other) = ([1.0, 2.0, 2.0, 3.0], [2.0, 3.0, 4.0, 4.0, 5.0]);
        assert_close(rank_sum_p(&one, &other).unwrap(), 11.0 / 126.0, 1e-15);
        assert_eq!(rank_sum_p(&low, &low), Some(1.0));
        assert_eq!(rank_sum_p(&[], &low), None);
    }

    #[test]
    fn slopes_and_their_intervals_are_scipy_s() {
        // scipy.stats.linregress(x, y): slope, intercept, slope ± t.ppf(.975, n − 2)·stderr
        let points = [(0.0, 1.2), (1.0, 2.9), (2.5, 6.4), (4.0, 8.8), (7.0, 15.7)];
        let line = LeastSquaresLine::through(&points).unwrap();
        let [slope, intercept, low, high] = REGRESSION;
        assert_close(line.slope, slope, 1e-14);
        assert_close(line.intercept, intercept, 1e-14);
        let interval = line.interval.unwrap();
        assert_close(interval[0], low, 1e-13);
        assert_close(interval[1], high, 1e-13);
    }

    #[test]
    fn a_line_that_the_points_do_not_determine_is_none() {
        assert_eq!(LeastSquaresLine::through(&[]), None);
        assert_eq!(LeastSquaresLine::through(&[(1.0, 2.0)]), None);
        assert_eq!(LeastSquaresLine::through(&[(1.0, 2.0), (1.0, 3.0)]), None);
        assert_eq!(
            LeastSquaresLine::through(&[(1.0, 2.0), (2.0, f64::NAN)]),
            None
        );
        let line = LeastSquaresLine::through(&[(1.0, 2.0), (3.0, 8.0)]).unwrap();
        assert_eq!((line.slope, line.interval), (3.0, None));
    }

    #[test]
    fn the_slope_through_logarithms_is_the_exponent_of_a_power_law() {
        let points: Vec<(f64, f64)> = (1..9)
            .map(|x| (f64::from(x), f64::from(x).powi(2)))
            .collect();
        let line = LeastSquaresLine::through_logarithms(&points).unwrap();
        assert_close(line.slope, 2.0, 1e-14);
        assert!(line.interval.unwrap()[1] - line.interval.unwrap()[0] < 1e-12);
    }

    const QUANTILES: [(f64, f64); 5] = [
        (0.0, 0.4),
        (0.25, 2.725),
        (0.5, 4.3),
        (0.9, 8.45),
        (1.0, 9.2),
    ];
    const MAD: f64 = 2.55;
    const T_QUANTILES: [(f64, u32, f64); 12] = [
        (0.95, 1, 12.706204736174694),
        (0.95, 2, 4.302652729749462),
        (0.95, 3, 3.1824463052837078),
        (0.95, 4, 2.7764451051977934),
        (0.95, 7, 2.364624251592784),
        (0.95, 10, 2.228138851986274),
        (0.95, 30, 2.0422724563012378),
        (0.95, 101, 1.983731002955606),
        (0.5, 1, 1.0000000000000002),
        (0.99, 2, 9.924843200918287),
        (0.999, 5, 6.868826625881276),
        (0.9, 6, 1.9431802805153042),
    ];
    const REGRESSION: [f64; 4] = [
        2.0695364238410594,
        0.9983443708609281,
        1.8596760235619991,
        2.27939682412012,
    ];
}
