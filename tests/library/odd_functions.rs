//! `check_gradient` as a sceptic tries it: functions that bend, jump, end, oscillate, are flat, noisy,
//! quantized, or of extreme scale. A right gradient is never called wrong, and a wrong one never right.

use nplus1::{Verdict, check_gradient};

/// A function of one number, its derivative, and where to check it.
struct Odd {
    name: &'static str,
    function: fn(f64) -> f64,
    derivative: fn(f64) -> f64,
    places: &'static [f64],
}

fn zero(_: f64) -> f64 {
    0.0
}

fn sign(x: f64) -> f64 {
    x.signum()
}

/// x² to 6 digits after the point, as a program that prints few digits gives it.
fn printed(x: f64) -> f64 {
    format!("{:.6}", x * x).parse().unwrap()
}

/// Linear between points 1/64 apart.
fn table(x: f64) -> f64 {
    let cell = (64.0 * x).floor();
    let at = |cell: f64| (cell / 64.0).sin();
    at(cell) + (64.0 * x - cell) * (at(cell + 1.0) - at(cell))
}

fn table_slope(x: f64) -> f64 {
    let cell = (64.0 * x).floor();
    64.0 * (((cell + 1.0) / 64.0).sin() - (cell / 64.0).sin())
}

const ODD: [Odd; 22] = [
    Odd {
        name: "a bend beside θ",
        function: f64::abs,
        derivative: sign,
        places: &[1.0, 1e-2, -1e-4, 1e-6, -1e-8, 3e-10],
    },
    Odd {
        name: "max(x, 0)",
        function: |x| x.max(0.0),
        derivative: |x| if x > 0.0 { 1.0 } else { 0.0 },
        places: &[1e-3, -1e-3, 1e-7, -1e-7],
    },
    Odd {
        name: "a step beside θ",
        function: |x| if x > 0.0 { 1.0 } else { 0.0 },
        derivative: zero,
        places: &[0.5, 1e-2, -1e-4, 1e-6, -1e-8],
    },
    Odd {
        name: "a slope with a step",
        function: |x| if x > 0.0 { x + 1.0 } else { x },
        derivative: |_| 1.0,
        places: &[0.5, 1e-2, -1e-4, 1e-6, -1e-8],
    },
    Odd {
        name: "a table",
        function: table,
        derivative: table_slope,
        places: &[0.1, 0.5001, 0.7, 1.0 + 1e-6],
    },
    Odd {
        name: "few digits",
        function: printed,
        derivative: |x| 2.0 * x,
        places: &[1.0, 0.3, 7.7, 1e-2],
    },
    Odd {
        name: "a cube root",
        function: f64::cbrt,
        derivative: |x| 1.0 / (3.0 * x.cbrt().powi(2)),
        places: &[1.0, 1e-3, 1e-6, -1e-9],
    },
    Odd {
        name: "the root's edge",
        function: f64::sqrt,
        derivative: |x| 0.5 / x.sqrt(),
        places: &[1.0, 1e-3, 1e-6, 1e-9],
    },
    Odd {
        name: "x ln x at its edge",
        function: |x| x * x.ln(),
        derivative: |x| x.ln() + 1.0,
        places: &[1.0, 1e-3, 1e-6, 1e-9, 1e9],
    },
    Odd {
        name: "a derivative that is not continuous",
        function: |x| {
            if x == 0.0 {
                0.0
            } else {
                x * x * (1.0 / x).sin()
            }
        },
        derivative: |x| {
            if x == 0.0 {
                0.0
            } else {
                2.0 * x * (1.0 / x).sin() - (1.0 / x).cos()
            }
        },
        places: &[0.0, 0.3, 1e-2],
    },
    Odd {
        name: "waves",
        function: |x| (1e3 * x).sin(),
        derivative: |x| 1e3 * (1e3 * x).cos(),
        places: &[0.1, 0.2, 0.3, 1.0, 2.0, 3.0],
    },
    Odd {
        name: "short waves",
        function: |x| (1e6 * x).sin(),
        derivative: |x| 1e6 * (1e6 * x).cos(),
        places: &[0.1, 0.2, 0.3, 1.0],
    },
    Odd {
        name: "a pole",
        function: |x| 1.0 / x,
        derivative: |x| -1.0 / (x * x),
        places: &[1.0, 1e-3, -1e-6, 1e-8, 1e6],
    },
    Odd {
        name: "a steep exponential",
        function: |x| (200.0 * x).exp(),
        derivative: |x| 200.0 * (200.0 * x).exp(),
        places: &[0.0, 1.0, -1.0, 3.0],
    },
    Odd {
        name: "flat",
        function: |x| (-x * x).exp(),
        derivative: |x| -2.0 * x * (-x * x).exp(),
        places: &[0.0, 1.0, 5.0, 12.0, 27.5],
    },
    Odd {
        name: "hidden by a constant",
        function: |x| 1e12 + x.sin(),
        derivative: f64::cos,
        places: &[0.0, 1.0, 1e3],
    },
    Odd {
        name: "huge",
        function: |x| 1e300 * (1.0 + x * x),
        derivative: |x| 2e300 * x,
        places: &[0.0, 1.0, 3.0],
    },
    Odd {
        name: "tiny",
        function: |x| 1e-300 * (1.0 + x * x),
        derivative: |x| 2e-300 * x,
        places: &[0.0, 1.0, 3.0],
    },
    Odd {
        name: "huge θ",
        function: |x| (x / 1e150).powi(2),
        derivative: |x| 2.0 * (x / 1e150) / 1e150,
        places: &[1e150, -2e150, 1e100],
    },
    Odd {
        name: "tiny θ",
        function: |x| (1e100 * x).powi(2) + 1.0,
        derivative: |x| 2e200 * x,
        places: &[1e-100, -3e-100, 0.0],
    },
    Odd {
        name: "cancellation",
        function: |x| (1.0 - x.cos()) / (x * x),
        derivative: |x| x.sin() / (x * x) - 2.0 * (1.0 - x.cos()) / (x * x * x),
        places: &[1.0, 0.3],
    },
    Odd {
        name: "single precision",
        function: |x| f64::from((x as f32).sin() * (x as f32).exp()),
        derivative: |x| x.exp() * (x.sin() + x.cos()),
        places: &[0.0, 0.5, 1.7, -2.0],
    },
];

fn check(odd: &Odd, slope: f64, x: f64) -> Option<Verdict> {
    check_gradient(|x: &[f64]| (odd.function)(x[0]), &[slope], &[x]).ok()
}

#[test]
fn a_right_gradient_is_never_wrong_and_a_wrong_one_never_right() {
    let (mut told, mut cases) = (0, 0);
    for odd in &ODD {
        for &x in odd.places {
            let slope = (odd.derivative)(x);
            let verdict = check(odd, slope, x);
            assert!(
                !matches!(verdict, Some(Verdict::Wrong { .. })),
                "{} at {x}: {verdict:?}",
                odd.name
            );
            cases += 1;
            told += usize::from(matches!(verdict, Some(Verdict::Right { .. })));
            let elsewhere = odd.places.iter().map(|&x| (odd.derivative)(x).abs());
            let size = match slope {
                0.0 => elsewhere.fold(0.0, f64::max),
                slope => slope,
            };
            let size = if size == 0.0 { 1.0 } else { size };
            for wrong in [2.0 * size, -size, slope + 0.3 * size] {
                let verdict = check(odd, wrong, x);
                let right = matches!(verdict, Some(Verdict::Right { .. }));
                assert!(!right, "{} at {x}, {wrong}: {verdict:?}", odd.name);
            }
        }
    }
    println!("{told} of {cases} told");
    assert!(
        5 * told >= 4 * cases,
        "{told} of {cases} right gradients told"
    );
}

/// A parameter at the edge of the function's domain has a derivative from one side.
#[test]
fn where_the_function_ends_one_side_is_enough() {
    type Edge = (&'static str, fn(&[f64]) -> f64, [f64; 2], [f64; 2]);
    let edges: [Edge; 3] = [
        (
            "a rate of 0",
            |x| {
                if x[0] < 0.0 {
                    f64::NAN
                } else {
                    (x[0] * x[1]).exp()
                }
            },
            [0.0, 2.0],
            [2.0, 0.0],
        ),
        (
            "a share of 1",
            |x| {
                if x[0] > 1.0 {
                    f64::NAN
                } else {
                    x[0].powi(3) + x[1].sin()
                }
            },
            [1.0, 0.5],
            [3.0, 0.877_582_561_890_372_8],
        ),
        (
            "a corner",
            |x| {
                if x[0] < 0.0 || x[1] < 0.0 {
                    f64::NAN
                } else {
                    1.0 + x[0] - 3.0 * x[1]
                }
            },
            [0.0, 0.0],
            [1.0, -3.0],
        ),
    ];
    for (name, function, theta, gradient) in edges {
        let verdict = check_gradient(function, &gradient, &theta).unwrap();
        assert!(
            matches!(verdict, Verdict::Right { .. }),
            "{name}: {verdict:?}"
        );
        let wrong = [2.0 * gradient[0], gradient[1]];
        let verdict = check_gradient(function, &wrong, &theta).unwrap();
        assert!(
            matches!(verdict, Verdict::Wrong { worst, wrong: 1, .. } if worst.index == 0),
            "{name}: {verdict:?}"
        );
    }
    let root = |x: &[f64]| x[0].sqrt();
    let verdict = check_gradient(root, &[1.0], &[0.0]).unwrap();
    assert!(!matches!(verdict, Verdict::Right { .. }), "{verdict:?}");
}

/// Where there is no derivative, any number is as good as another.
#[test]
fn where_there_is_no_derivative_nobody_can_tell() {
    type Case = (&'static str, fn(f64) -> f64, &'static [f64]);
    // Slopes between those on either side.
    let any = &[0.0, 1.0, -1.0, 0.5];
    let none: [Case; 7] = [
        ("bend", f64::abs, any),
        ("max", |x| x.max(0.0), &[0.0, 1.0, 0.5]),
        ("step", |x| if x < 0.0 { 0.0 } else { 1.0 }, any),
        ("step after", |x| if x <= 0.0 { 0.0 } else { 1.0 }, any),
        ("root of the size", |x| x.abs().sqrt(), any),
        ("sawtooth", |x| x - x.floor(), any),
        (
            "x sin 1/x",
            |x| if x == 0.0 { 0.0 } else { x * (1.0 / x).sin() },
            &[0.0],
        ),
    ];
    for (name, function, slopes) in none {
        for &slope in slopes {
            let verdict = check_gradient(|x: &[f64]| function(x[0]), &[slope], &[0.0]).unwrap();
            assert!(
                matches!(verdict, Verdict::CannotTell { .. }),
                "{name}, {slope}: {verdict:?}"
            );
        }
    }
}

/// Coincidences of three distances with a wave's length deceive nobody.
#[test]
fn waves_of_any_length_are_told_or_left() {
    let mut told = 0;
    for number in 0..4000 {
        let place = 1.0 + f64::from(number) * 0.618_034;
        let rate = 10f64.powf(1.0 + 5.0 * f64::from(number % 997) / 997.0);
        let wave = |x: &[f64]| (rate * x[0]).sin() + 0.5 * (0.37 * rate * x[0]).cos();
        let slope = rate * (rate * place).cos() - 0.185 * rate * (0.37 * rate * place).sin();
        let verdict = check_gradient(wave, &[slope], &[place]).unwrap();
        assert!(
            !matches!(verdict, Verdict::Wrong { .. }),
            "{rate} at {place}: {verdict:?}"
        );
        told += i32::from(matches!(verdict, Verdict::Right { .. }));
        let verdict = check_gradient(wave, &[1.5 * slope], &[place]).unwrap();
        assert!(
            !matches!(verdict, Verdict::Right { .. }),
            "{rate} at {place}: {verdict:?}"
        );
    }
    println!("{told} of 4000 told");
    assert!(told > 3800, "{told}");
}

/// Noise that is not normal: rare large errors, two values, noise that depends on one element.
#[test]
fn noises_of_any_shape_are_told_or_left() {
    let hash = |x: f64| {
        let mut state = x.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^= state >> 29;
        state = state.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state ^= state >> 32;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let shapes: [fn(f64) -> f64; 4] = [
        |u| 2.0 * u - 1.0,
        |u| if u < 0.5 { -1.0 } else { 1.0 },
        |u| (u / (1.0 - u).max(1e-12)).ln(),
        |u| if u < 0.2 { 2.0 } else { 0.0 },
    ];
    for (number, shape) in shapes.into_iter().enumerate() {
        for seed in 0..500 {
            let theta = [1.0 + f64::from(seed) / 500.0, 0.0, -0.3];
            for size in [1e-10, 1e-6, 1e-3] {
                let noisy = |x: &[f64]| {
                    let u = hash(x[0] + 3.1 * x[1] + 7.7 * x[2] + f64::from(seed));
                    x[0] * x[0] + x[1].exp() + x[0] * x[2] + size * shape(u)
                };
                let gradient = [2.0 * theta[0] + theta[2], 1.0, theta[0]];
                let verdict = check_gradient(noisy, &gradient, &theta).unwrap();
                assert!(
                    !matches!(verdict, Verdict::Wrong { .. }),
                    "{number} {seed} {size}: {verdict:?}"
                );
                let wrong = [gradient[0], 2.0, gradient[2]];
                let verdict = check_gradient(noisy, &wrong, &theta).unwrap();
                assert!(
                    !matches!(verdict, Verdict::Right { .. }),
                    "{number} {seed} {size}: {verdict:?}"
                );
            }
        }
    }
}
