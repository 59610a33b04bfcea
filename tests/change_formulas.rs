//! The formulas of changes without cancellation, lane by lane, over the whole range of increments
//! and pre-activations, against exact evaluation in double precision.

use nplus1::kernels::Isa;
use nplus1::kernels::divided_difference::base_values::RowLosses;
use nplus1::kernels::divided_difference::formulas::{LossForm, OutputRow, Propagation, Units};
use nplus1::kernels::divided_difference::one_layer::{PerturbOutputs, PerturbUnits};
use nplus1::kernels::panels::width;
use nplus1::numeric::Real;
use nplus1::numeric::output_loss::OutputLoss;

/// σ and 1 − σ in double precision.
fn pair(z: f64) -> (f64, f64) {
    let t = (-z.abs()).exp();
    let (large, small) = (1.0 / (1.0 + t), t / (1.0 + t));
    if z < 0.0 {
        (small, large)
    } else {
        (large, small)
    }
}

fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

/// σ(z + x) − σ(z) = y·ȳ·(e^x − 1)/(1 + y·(e^x − 1)): exact to a few roundings for every x.
fn sigmoid_change(z: f64, x: f64) -> f64 {
    let (y, one_minus_y) = pair(z);
    // The larger exponential would overflow or cancel: σ(z + x) − σ(z) = −(σ(−z − x) − σ(−z)).
    if x > 0.0 {
        let m = (-x).exp_m1();
        -one_minus_y * y * m / (1.0 + one_minus_y * m)
    } else {
        let m = x.exp_m1();
        y * one_minus_y * m / (1.0 + y * m)
    }
}

/// The exact change of one output's loss, and the size of what it is the sum of.
fn change(head: OutputLoss, hot: bool, z: f64, x: f64) -> (f64, f64) {
    let (y, one_minus_y) = pair(z);
    match head {
        OutputLoss::SigmoidQuadratic => {
            let residual = if hot { -one_minus_y } else { y };
            let change = sigmoid_change(z, x);
            let size = change.abs() * (residual.abs() + change.abs() / 2.0);
            (change * (residual + change / 2.0), size)
        }
        OutputLoss::LinearQuadratic => {
            let residual = z - f64::from(u8::from(hot));
            let size = x.abs() * (z.abs() + 1.0 + x.abs() / 2.0);
            (x * (residual + x / 2.0), size)
        }
        _ => {
            let (weight, z, x) = if hot {
                (one_minus_y, -z, -x)
            } else {
                (y, z, x)
            };
            let argument = weight * x.exp_m1();
            let change = argument.ln_1p();
            // Large changes are differences of losses.
            let size = match argument.abs() < 0.5 {
                true => change.abs(),
                false => change.abs() + softplus(z) + softplus(z + x),
            };
            (change, size)
        }
    }
}

/// ΔL of one output at `z`, perturbed by each of `dz`, as the kernel computes it; bounds as an
/// engine gives them.
fn own_tail<R: Real>(head: OutputLoss, hot: bool, z: f64, dz: &[f64], central: bool) -> Vec<f64> {
    let p = width::<R>();
    let (y, one_minus_y) = pair(z);
    let line = |value: f64| vec![R::from_f64(value); p];
    let (zs, ys, ones_minus_y) = (line(z), line(y), line(one_minus_y));
    dz.chunks(p)
        .flat_map(|dz| {
            let mut increments = vec![R::ZERO; p];
            for (to, &dz) in increments.iter_mut().zip(dz) {
                *to = R::from_f64(dz);
            }
            let bound = dz.iter().fold(0.0f64, |most, dz| most.max(dz.abs()));
            let mut changes = vec![R::from_f64(f64::NAN); p];
            // Every output is perturbed in its own lane; the label makes all of them cold, or
            // (of ±1 labels) the first hot.
            Isa::detect().run(PerturbOutputs {
                form: LossForm {
                    propagation: Propagation::Changes,
                    central,
                },
                panel: 0,
                increments: &increments,
                values: &[R::ONE],
                slots: &[0],
                bound,
                outputs: OutputRow {
                    output_loss: head,
                    units: Units {
                        z: &zs,
                        y: &ys,
                        one_minus_y: &ones_minus_y,
                        count: p,
                        row_stride: p,
                        panel_stride: p,
                    },
                    row: 0,
                    label: if hot { 0 } else { u16::MAX },
                    loss: R::ZERO,
                },
                changes: &mut changes,
            });
            // A label is one lane: where hot is asked for, only the first counts.
            let lanes = if hot { 1 } else { dz.len() };
            changes[..lanes]
                .iter()
                .map(|c| c.to_f64())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The smallest normal number: what is smaller loses digits, and that is no matter.
fn smallest<R: Real>() -> f64 {
    if R::BYTES == 4 {
        f64::from(f32::MIN_POSITIVE)
    } else {
        f64::MIN_POSITIVE
    }
}

/// |found − exact| in units of u·size, numbers below the smallest normal one forgiven.
fn error<R: Real>(found: f64, exact: f64, size: f64) -> f64 {
    let error = (found - exact).abs();
    if error <= smallest::<R>() {
        return 0.0;
    }
    error / (size * R::UNIT_ROUNDOFF)
}

/// 10^e for e from `smallest` to 0, both signs.
fn increments<R: Real>(smallest: i32) -> Vec<f64> {
    (smallest..=0)
        .flat_map(|e| [1.0, 2.3, 5.1].map(|x| x * 10f64.powi(e)))
        .filter(|&x| x <= 2.5)
        .flat_map(|x| [x, -x])
        // As this precision holds it.
        .map(|x| R::from_f64(x).to_f64())
        .collect()
}

fn worst_of_own<R: Real>(largest_z: f64, smallest: i32) -> f64 {
    let mut worst: f64 = 0.0;
    for step in -40..=40 {
        let z = R::from_f64(f64::from(step) / 40.0 * largest_z).to_f64();
        for head in [
            OutputLoss::SigmoidQuadratic,
            OutputLoss::LinearQuadratic,
            OutputLoss::SigmoidCrossEntropy,
        ] {
            for hot in [false, true] {
                for dz in increments::<R>(smallest) {
                    let (exact, size) = change(head, hot, z, dz);
                    let [found] = own_tail::<R>(head, hot, z, &[dz], false)[..] else {
                        panic!("one lane");
                    };
                    worst = worst.max(error::<R>(found, exact, size));
                }
            }
        }
    }
    worst
}

#[test]
fn changes_of_an_output_keep_their_relative_precision_at_every_increment() {
    // e^x − 1 errs by 3 ulp = 6 u, a quotient of two such by 14; a logarithm by 3 ulp; the inputs
    // y and ȳ by 1 each, products by 1 each: 32 u.
    let single = worst_of_own::<f32>(55.0, -20);
    assert!(single <= 32.0, "f32: {single} u");
    let double = worst_of_own::<f64>(300.0, -30);
    assert!(double <= 32.0, "f64: {double} u");
}

#[test]
fn central_changes_are_the_sum_of_both_sides() {
    for z in [-20.0, -3.0, 0.0, 0.7, 12.0, 20.0] {
        for head in [
            OutputLoss::SigmoidQuadratic,
            OutputLoss::SigmoidCrossEntropy,
        ] {
            for dz in increments::<f32>(-20).into_iter().filter(|&dz| dz > 0.0) {
                let (above, size_above) = change(head, false, z, dz);
                let (below, size_below) = change(head, false, z, -dz);
                let found = own_tail::<f32>(head, false, z, &[dz], true)[0];
                let allowed = 33.0 * f32::UNIT_ROUNDOFF * (size_above + size_below);
                let exact = above - below;
                assert!((found - exact).abs() <= allowed, "{head:?} z {z} dz {dz:e}");
            }
        }
    }
}

/// ΔL of three softmax outputs above one unit at `z`, whose z moves by `dz`.
fn softmax_above<R: Real>(z: f64, tops: [f64; 3], weights: [f64; 3], label: u16, dz: f64) -> f64 {
    let p = width::<R>();
    let most = tops.iter().fold(f64::MIN, |most, &z| most.max(z));
    let powers = tops.map(|z| (z - most).exp());
    let total: f64 = powers.iter().sum();
    let mut lines = [(); 3].map(|()| vec![R::ZERO; p]);
    for k in 0..3 {
        let others: f64 = (0..3).filter(|&other| other != k).map(|k| powers[k]).sum();
        lines[0][k] = R::from_f64(tops[k]);
        lines[1][k] = R::from_f64(powers[k] / total);
        lines[2][k] = R::from_f64(others / total);
    }
    let (y, one_minus_y) = pair(z);
    let unit = [z, y, one_minus_y].map(|value| vec![R::from_f64(value); p]);
    let above: Vec<R> = weights
        .iter()
        .flat_map(|&w| vec![R::from_f64(w); p])
        .collect();
    let heaviest = weights.iter().fold(0.0f64, |most, w| most.max(w.abs()));
    let mut changes = vec![R::from_f64(f64::NAN); p];
    Isa::detect().run(PerturbUnits {
        form: LossForm {
            propagation: Propagation::Changes,
            central: false,
        },
        unit: [&unit[0], &unit[1], &unit[2]],
        increments: &vec![R::from_f64(dz); p],
        values: &[R::ONE],
        slots: &[0],
        weights: &above,
        bounds: [dz.abs(), dz.abs() / 4.0 * heaviest],
        outputs: OutputRow {
            output_loss: OutputLoss::SoftmaxCrossEntropy,
            units: Units {
                z: &lines[0],
                y: &lines[1],
                one_minus_y: &lines[2],
                count: 3,
                row_stride: p,
                panel_stride: p,
            },
            row: 0,
            label,
            loss: R::ZERO,
        },
        changes: &mut changes,
    });
    changes[0].to_f64()
}

#[test]
fn a_softmax_keeps_its_relative_precision_at_every_margin() {
    let weights = [0.75, -1.5, 0.5];
    let mut worst: f64 = 0.0;
    for margin in [0.0, 1.0, 4.0, 14.0, 30.0, 50.0] {
        for label in 0..3_u16 {
            for z in [-12.0, -1.0, 0.5, 9.0] {
                for dz in increments::<f32>(-18) {
                    let tops = [margin, 0.0, 0.25];
                    let target = usize::from(label);
                    let most = tops.iter().fold(f64::MIN, |most, &z| most.max(z));
                    let total: f64 = tops.iter().map(|z| (z - most).exp()).sum();
                    let a = sigmoid_change(z, dz);
                    let (mut sum, mut size) = (0.0, 0.0);
                    for k in (0..3).filter(|&k| k != target) {
                        let p = (tops[k] - most).exp() / total;
                        let term = p * ((weights[k] - weights[target]) * a).exp_m1();
                        sum += term;
                        size += p * (weights[k].abs() + weights[target].abs()) * a.abs();
                    }
                    if sum.abs() >= 0.5 {
                        size += tops.iter().fold(1.0, |most, z| most + z.abs());
                    }
                    let found = softmax_above::<f32>(z, tops, weights, label, dz);
                    worst = worst.max(error::<f32>(found, sum.ln_1p(), size));
                }
            }
        }
    }
    // As for one output, and a product, a difference and a sum more.
    assert!(worst <= 40.0, "{worst} u");
}

/// ΔL of `tops.len()` outputs above one unit at `z` by `dz`, in plain arithmetic.
fn plain_above<R: Real>(isa: Isa, head: OutputLoss, z: f64, tops: &[f64], dz: f64) -> f64 {
    let p = width::<R>();
    let mut line = vec![R::ZERO; p];
    for (lane, &top) in line.iter_mut().zip(tops) {
        *lane = R::from_f64(top);
    }
    let units = Units {
        z: &line,
        y: &line,
        one_minus_y: &line,
        count: tops.len(),
        row_stride: p,
        panel_stride: p,
    };
    let mut losses = [R::ZERO];
    isa.run(RowLosses {
        output_loss: head,
        units,
        labels: &[1],
        losses: &mut losses,
    });
    let unit = vec![R::from_f64(z); p];
    let weights: Vec<R> = (0..tops.len() * p)
        .map(|at| R::from_f64(0.75 - 0.5 * (at / p) as f64))
        .collect();
    let mut changes = vec![R::from_f64(f64::NAN); p];
    isa.run(PerturbUnits {
        form: LossForm {
            propagation: Propagation::Values,
            central: false,
        },
        unit: [&unit, &unit, &unit],
        increments: &vec![R::from_f64(dz); p],
        values: &[R::ONE],
        slots: &[0],
        weights: &weights,
        bounds: [dz, dz],
        outputs: OutputRow {
            output_loss: head,
            units,
            row: 0,
            label: 1,
            loss: losses[0],
        },
        changes: &mut changes,
    });
    changes[0].to_f64()
}

#[test]
fn what_moves_nothing_changes_a_plain_loss_by_exactly_nothing() {
    let tops = [-7.0, 0.3, 2.5, -0.75, 1.1];
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        for head in [
            OutputLoss::SigmoidQuadratic,
            OutputLoss::LinearQuadratic,
            OutputLoss::SigmoidCrossEntropy,
            OutputLoss::SoftmaxCrossEntropy,
        ] {
            // Where z is positive σ stands still; where it is negative, what σ moves.
            for z in [-58.0, -45.0, -38.0, 38.0, 45.0, 58.0] {
                assert_eq!(plain_above::<f32>(isa, head, z, &tops, 1e-3), 0.0);
                assert_eq!(plain_above::<f64>(isa, head, z, &tops, 1e-3), 0.0);
            }
            assert_ne!(plain_above::<f32>(isa, head, 1.0, &tops, 1e-2), 0.0);
            assert_ne!(plain_above::<f64>(isa, head, 1.0, &tops, 1e-2), 0.0);
        }
    }
}
