//! The noise of a function is estimated within a small factor, and the increment computed from it
//! is near the best one.

use nplus1::gradient::finite_difference::noise::{
    NoiseEstimate, NoiseVerdict, POINTS, Unmeasured, first_spacing, measure, verdict,
};
use nplus1::gradient::finite_difference::quotient::quotient;
use nplus1::gradient::finite_difference::{Differences, Increment, Scheme};
use nplus1::model::Function;
use nplus1::parallel::Workers;

/// Returns uniform noise of mean 0 and standard deviation 1, determined by `x` and `seed`
/// (splitmix64).
fn noise(x: f64, seed: u64) -> f64 {
    let mut bits = x.to_bits() ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for factor in [
        0xbf58_476d_1ce4_e5b9,
        0x94d0_49bb_1331_11eb,
        0x2545_f491_4f6c_dd1d,
    ] {
        bits = (bits ^ (bits >> 29)).wrapping_mul(factor);
    }
    let uniform = (bits >> 11) as f64 / (1u64 << 53) as f64;
    12f64.sqrt() * (uniform - 0.5)
}

/// Returns `f` as the function that evaluates losses at distances along a line.
fn line(f: impl Fn(f64) -> f64) -> impl FnMut(&[f64], &mut [f64]) -> Result<(), Unmeasured> {
    move |distances, losses| {
        for (loss, &t) in losses.iter_mut().zip(distances) {
            *loss = f(t);
        }
        Ok(())
    }
}

/// Measures the noise of `f` along a line, from the first spacing of f64.
fn measured(f: impl Fn(f64) -> f64) -> Result<NoiseEstimate, Unmeasured> {
    measure(first_spacing::<f64>(), 1, line(f))
}

/// Table 3.1 of Moré and Wild (2011) gives the first value and the first differences of
/// cos t + sin t + 1e-3·noise to three digits.
#[test]
fn the_published_table_gives_the_published_noise() {
    let differences = [7.54e-3, 9.69e-3, 1.20e-2, 8.67e-3, 8.38e-3, 9.52e-3];
    let mut values = vec![1.003];
    for difference in differences {
        values.push(values.last().unwrap() + difference);
    }
    let NoiseVerdict::Noise(deviation, _) = verdict(&mut values, 1) else {
        panic!("no noise");
    };
    assert!((deviation / 8.69e-4 - 1.0).abs() < 0.01, "{deviation:e}");
}

/// The difference table of 9 values is a small sample: five of a thousand estimates are off by
/// more.
#[test]
fn known_noise_is_estimated_within_a_factor_of_4() {
    let mut ratios = Vec::new();
    for exponent in 2..=14 {
        let deviation = 10f64.powi(-exponent);
        for seed in 0..100 {
            let f = |t: f64| 2.0 + t.sin() + (3.0 * t).cos() + deviation * noise(t, seed);
            let found = measured(f).unwrap();
            assert_eq!(found.evaluations % POINTS as u64, 0);
            ratios.push(found.deviation / deviation);
        }
    }
    ratios.sort_by(f64::total_cmp);
    let within = |factor: f64| {
        let near = ratios.iter().filter(|&&r| r < factor && r > 1.0 / factor);
        near.count() as f64 / ratios.len() as f64
    };
    let quantile = |part: f64| ratios[(part * (ratios.len() - 1) as f64) as usize];
    println!(
        "estimated ÷ true: {:.2} to {:.2}, median {:.2}; within 2: {:.3}, 3: {:.3}, 4: {:.3}",
        quantile(0.0),
        quantile(1.0),
        quantile(0.5),
        within(2.0),
        within(3.0),
        within(4.0)
    );
    assert!((0.8..1.25).contains(&quantile(0.5)));
    assert!(within(3.0) >= 0.97);
    assert!(within(4.0) >= 0.99);
    assert!(within(6.0) == 1.0);
}

/// Returns the mean logistic loss of 100 samples, computed in f32 and in f64.
fn logistic(theta: &[f32; 20]) -> (f32, f64) {
    let (mut single, mut double) = (0f32, 0f64);
    for row in 0..100 {
        let (mut z, mut exact) = (0f32, 0f64);
        for (column, theta) in theta.iter().enumerate() {
            let input = (1.3 * row as f32 + 2.9 * column as f32).sin();
            z += theta * input;
            exact += f64::from(*theta) * f64::from(input);
        }
        single += (-z).exp().ln_1p();
        double += (-exact).exp().ln_1p();
    }
    (single / 100.0, double / 100.0)
}

#[test]
fn the_noise_of_an_f32_mean_loss_is_estimated_within_a_factor_of_4() {
    let point = |t: f64| {
        std::array::from_fn::<f32, 20, _>(|i| {
            let direction = if noise(i as f64, 9) < 0.0 { -1.0 } else { 1.0 } / 20f64.sqrt();
            ((0.7 * i as f64).cos() + t * direction) as f32
        })
    };
    let errors: Vec<f64> = (0..400)
        .map(|k| logistic(&point(1e-3 * noise(f64::from(k), 1))))
        .map(|(single, double)| f64::from(single) - double)
        .collect();
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    let squares: f64 = errors.iter().map(|error| (error - mean).powi(2)).sum();
    let truth = (squares / errors.len() as f64).sqrt();
    let f = |t: f64| f64::from(logistic(&point(t)).0);
    let at_spacing = |h: f64| {
        let mut values: Vec<f64> = (-4..=4).map(|k| f(f64::from(k) * h)).collect();
        verdict(&mut values, 1)
    };
    assert_eq!(at_spacing(1e-8), NoiseVerdict::TooSmall);
    let found = measure(first_spacing::<f32>(), 1, line(f)).unwrap();
    println!("f32 mean loss: {:.1e}, true {truth:.1e}", found.deviation);
    let ratio = found.deviation / truth;
    assert!(
        (0.25..4.0).contains(&ratio),
        "{:e} for {truth:e}",
        found.deviation
    );
    // Starting with a far too small spacing gives the same estimate.
    let from_small = measure(1e-10, 1, line(f)).unwrap();
    assert!(from_small.evaluations > POINTS as u64);
    assert!((0.25..4.0).contains(&(from_small.deviation / truth)));
}

/// The mean of B independent noises has the deviation √(Σ ε²)/B. A third of the samples have no
/// noise, as saturated ones.
#[test]
fn noise_measured_per_sample_is_that_of_their_mean() {
    const B: usize = 60;
    let deviations: Vec<f64> = (0..B)
        .map(|s| {
            if s % 3 == 0 {
                0.0
            } else {
                10f64.powi(-6 - (s % 4) as i32)
            }
        })
        .collect();
    let sum: f64 = deviations.iter().map(|d| d * d).sum();
    let truth = sum.sqrt() / B as f64;
    for seed in 0..20 {
        let sample_losses = |distances: &[f64], losses: &mut [f64]| -> Result<(), Unmeasured> {
            for (losses, &t) in losses.chunks_mut(B).zip(distances) {
                for (s, loss) in losses.iter_mut().enumerate() {
                    let smooth = if deviations[s] == 0.0 {
                        0.0
                    } else {
                        (t + s as f64).sin()
                    };
                    *loss = 1.5 + smooth + deviations[s] * noise(t, seed * 1000 + s as u64);
                }
            }
            Ok(())
        };
        let found = measure(1e-8, B, sample_losses).unwrap();
        let ratio = found.deviation / truth;
        assert!((0.6..1.6).contains(&ratio), "seed {seed}: {ratio}");
    }
}

#[test]
fn a_verdict_without_noise_says_whether_the_spacing_is_too_small_or_too_large() {
    let values = |f: &dyn Fn(f64) -> f64| (-4..=4).map(|k| f(f64::from(k))).collect::<Vec<_>>();
    let staircase = |t: f64| 1.0 + (t / 3.0).floor() * 1e-9;
    assert_eq!(verdict(&mut values(&staircase), 1), NoiseVerdict::TooSmall);
    assert_eq!(verdict(&mut values(&|_| 2.0), 1), NoiseVerdict::TooSmall);
    assert_eq!(
        verdict(&mut values(&|t| 1.0 + 0.1 * t), 1),
        NoiseVerdict::TooLarge
    );
    assert_eq!(
        verdict(&mut values(&|t| 9.0 + (0.1 * t).exp()), 1),
        NoiseVerdict::TooLarge
    );
}

#[test]
fn functions_without_measurable_noise_are_refused_with_the_way_out() {
    let constant = measured(|_| 3.0).unwrap_err();
    assert!(
        matches!(constant, Unmeasured::Constant { .. }),
        "{constant}"
    );
    let steep = measured(|t| t).unwrap_err();
    assert!(matches!(steep, Unmeasured::Steep { .. }), "{steep}");
    let infinite = measured(|t| if t > 0.0 { f64::INFINITY } else { 1.0 }).unwrap_err();
    assert_eq!(
        infinite,
        Unmeasured::NotFinite {
            distance: first_spacing::<f64>()
        }
    );
    for unmeasured in [constant, steep, infinite] {
        let error = nplus1::error::Error::from(unmeasured);
        assert_eq!(error.exit_code(), 2);
        assert!(
            error
                .to_string()
                .contains("help: leave the increment to `auto`"),
            "{error}"
        );
    }
}

/// Compares root mean square errors over 200 noises with the best of a dense sweep.
#[test]
fn the_error_with_the_increment_from_noise_is_at_most_twice_the_best_one() {
    for (scheme, deviation) in [
        (Scheme::Forward, 1e-4),
        (Scheme::Forward, 1e-9),
        (Scheme::Central, 1e-4),
        (Scheme::Central, 1e-9),
    ] {
        let smooth = |t: f64| 3.0 + t.exp() + (2.0 * t).sin();
        let slope = 3.0;
        let error = |h: f64| {
            let squares: f64 = (0..200)
                .map(|seed| {
                    let f = |t: f64| smooth(t) + deviation * noise(t, seed);
                    let change = match scheme {
                        Scheme::Forward => f(h) - f(0.0),
                        Scheme::Central => f(h) - f(-h),
                    };
                    (quotient(change, scheme.distance(h)) - slope).powi(2)
                })
                .sum();
            (squares / 200.0).sqrt()
        };
        let best = (0..160)
            .map(|k| error(10f64.powf(-f64::from(k) / 16.0)))
            .fold(f64::MAX, f64::min);
        for seed in 0..20 {
            let f = |t: f64| smooth(t) + deviation * noise(t, seed + 1000);
            let found = measured(f).unwrap();
            let derivative = found.derivative(scheme, line(f)).unwrap();
            let h = found.increment(scheme, derivative.magnitude);
            let reached = error(h);
            assert!(
                reached < 2.0 * best,
                "{scheme:?}, {deviation:e}, seed {seed}: {reached:e} at h = {h:e}, best {best:e}"
            );
        }
    }
}

#[test]
fn where_noise_hides_the_curvature_the_increment_is_large() {
    for scheme in [Scheme::Forward, Scheme::Central] {
        for seed in 0..20 {
            let f = |t: f64| 5.0 + 0.3 * t + 1e-10 * noise(t, seed);
            let found = measured(f).unwrap();
            let derivative = found.derivative(scheme, line(f)).unwrap();
            assert!((2..=12).contains(&derivative.evaluations));
            let h = found.increment(scheme, derivative.magnitude);
            assert!((1e-3..=2.0).contains(&h), "{scheme:?}, seed {seed}: {h:e}");
        }
    }
}

/// `auto` assumes that the only noise is round-off, and errs by orders of magnitude where there is
/// more.
#[test]
fn a_noisy_objective_needs_the_increment_from_noise() {
    let noisy = Function::new(6, |x: &[f64]| {
        let smooth: f64 = x
            .iter()
            .enumerate()
            .map(|(i, x)| (x + i as f64).sin())
            .sum();
        4.0 + smooth + 1e-7 * noise(x.iter().sum::<f64>(), 3)
    });
    let theta = [0.3, -0.8, 1.9, 0.1, -4.0, 2.2];
    let pool = Workers::exactly(2).unwrap();
    for scheme in [Scheme::Forward, Scheme::Central] {
        let worst = |increment| {
            let method = Differences {
                scheme,
                increment,
                ..Differences::FORWARD
            };
            let estimate = method.gradient(&noisy, &theta, &pool).unwrap();
            let errors = estimate.gradient.iter().zip(&theta).enumerate();
            let worst = errors
                .map(|(i, (found, x))| (found - (x + i as f64).cos()).abs())
                .fold(0.0, f64::max);
            (worst, estimate)
        };
        let (auto, plain) = worst(Increment::Auto);
        let (measured, estimate) = worst(Increment::Noise);
        println!("{scheme:?}: auto {auto:.1e}, noise {measured:.1e}");
        assert!(
            measured < auto / 20.0,
            "{scheme:?}: {measured:e}, auto {auto:e}"
        );
        assert!(estimate.evaluations > plain.evaluations);
        let (deviation, _) = estimate.noise.unwrap();
        assert!((0.3e-7..3e-7).contains(&deviation), "{deviation:e}");
    }
}
