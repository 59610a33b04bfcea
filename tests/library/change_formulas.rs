//! The formulas of cancellation-free changes agree with evaluations in f64, lane by lane, over the
//! whole range of increments and pre-activations.

use nplus1::kernels::Isa;
use nplus1::kernels::divided_difference::base_values::RowLosses;
use nplus1::kernels::divided_difference::formulas::{LossForm, OutputRow, Propagation, Units};
use nplus1::kernels::divided_difference::one_layer::{PerturbOutputs, PerturbUnits};
use nplus1::kernels::panels::width;
use nplus1::kernels::targets::{RowTarget, Targets};
use nplus1::numeric::Real;
use nplus1::numeric::output_loss::OutputLoss;

/// Returns the target of a row that counts once and has the class `label`.
fn class<R>(label: u16) -> RowTarget<'static, R> {
    RowTarget {
        label,
        numbers: &[],
        weight: None,
    }
}

/// Returns σ(z) and 1 − σ(z) in f64.
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

/// Returns σ(z + x) − σ(z) = y·(1 − y)·(e^x − 1)/(1 + y·(e^x − 1)), exact to a few roundings for
/// every x.
fn sigmoid_change(z: f64, x: f64) -> f64 {
    let (y, one_minus_y) = pair(z);
    // A large exponential would overflow or cancel; σ(z + x) − σ(z) = −(σ(−z − x) − σ(−z)) avoids
    // it.
    if x > 0.0 {
        let m = (-x).exp_m1();
        -one_minus_y * y * m / (1.0 + one_minus_y * m)
    } else {
        let m = x.exp_m1();
        y * one_minus_y * m / (1.0 + y * m)
    }
}

/// Returns the exact change of one output's loss, and the sum of the magnitudes of its terms.
fn change(output_loss: OutputLoss, hot: bool, z: f64, x: f64) -> (f64, f64) {
    let (y, one_minus_y) = pair(z);
    match output_loss {
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
            // The kernel computes large changes as differences of losses.
            let size = match argument.abs() < 0.5 {
                true => change.abs(),
                false => change.abs() + softplus(z) + softplus(z + x),
            };
            (change, size)
        }
    }
}

/// Returns ΔL of one output at `z`, perturbed by each of `dz`, as the kernel computes it with the
/// bounds that an engine passes.
fn output_change<R: Real>(
    output_loss: OutputLoss,
    hot: bool,
    z: f64,
    dz: &[f64],
    central: bool,
) -> Vec<f64> {
    let p = width::<R>();
    let (y, one_minus_y) = pair(z);
    let panel_row = |value: f64| vec![R::from_f64(value); p];
    let (zs, ys, ones_minus_y) = (panel_row(z), panel_row(y), panel_row(one_minus_y));
    dz.chunks(p)
        .flat_map(|dz| {
            let mut increments = vec![R::ZERO; p];
            for (to, &dz) in increments.iter_mut().zip(dz) {
                *to = R::from_f64(dz);
            }
            let bound = dz.iter().fold(0.0f64, |most, dz| most.max(dz.abs()));
            let mut changes = vec![R::from_f64(f64::NAN); p];
            // Every output is perturbed in its own lane. The label makes none of them the target,
            // or the first.
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
                    output_loss,
                    units: Units {
                        z: &zs,
                        y: &ys,
                        one_minus_y: &ones_minus_y,
                        count: p,
                        row_stride: p,
                        panel_stride: p,
                    },
                    row: 0,
                    target: class(if hot { 0 } else { u16::MAX }),
                    loss: R::ZERO,
                },
                changes: &mut changes,
            });
            // Only the first lane can be the target.
            let lanes = if hot { 1 } else { dz.len() };
            changes[..lanes]
                .iter()
                .map(|c| c.to_f64())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Returns the smallest normal number; errors below it are ignored, because subnormals lose digits.
fn smallest_normal<R: Real>() -> f64 {
    if R::BYTES == 4 {
        f64::from(f32::MIN_POSITIVE)
    } else {
        f64::MIN_POSITIVE
    }
}

/// Returns |found − exact| in units of u·size, or 0 if it is at most the smallest normal number.
fn error<R: Real>(found: f64, exact: f64, size: f64) -> f64 {
    let error = (found - exact).abs();
    if error <= smallest_normal::<R>() {
        return 0.0;
    }
    error / (size * R::UNIT_ROUNDOFF)
}

/// Returns 1, 2.3 and 5.1 times 10^e for e from `least_exponent` to 0, up to 2.5, with both signs.
fn increments<R: Real>(least_exponent: i32) -> Vec<f64> {
    (least_exponent..=0)
        .flat_map(|e| [1.0, 2.3, 5.1].map(|x| x * 10f64.powi(e)))
        .filter(|&x| x <= 2.5)
        .flat_map(|x| [x, -x])
        // Rounded to this precision.
        .map(|x| R::from_f64(x).to_f64())
        .collect()
}

/// Returns the largest error of the change of an output, in u, for |z| up to `largest_z`.
fn worst_output_error<R: Real>(largest_z: f64, least_exponent: i32) -> f64 {
    let mut worst: f64 = 0.0;
    for step in -40..=40 {
        let z = R::from_f64(f64::from(step) / 40.0 * largest_z).to_f64();
        for output_loss in [
            OutputLoss::SigmoidQuadratic,
            OutputLoss::LinearQuadratic,
            OutputLoss::SigmoidCrossEntropy,
        ] {
            for hot in [false, true] {
                for dz in increments::<R>(least_exponent) {
                    let (exact, size) = change(output_loss, hot, z, dz);
                    let [found] = output_change::<R>(output_loss, hot, z, &[dz], false)[..] else {
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
    // e^x − 1 has an error of 3 ulp = 6 u, a quotient of two such values 14 u, a logarithm 3 ulp;
    // the inputs y and 1 − y have 1 u each, products 1 u each: 32 u in total.
    let single = worst_output_error::<f32>(55.0, -20);
    assert!(single <= 32.0, "f32: {single} u");
    let double = worst_output_error::<f64>(300.0, -30);
    assert!(double <= 32.0, "f64: {double} u");
}

#[test]
fn a_central_change_is_the_change_above_minus_the_change_below() {
    for z in [-20.0, -3.0, 0.0, 0.7, 12.0, 20.0] {
        for output_loss in [
            OutputLoss::SigmoidQuadratic,
            OutputLoss::SigmoidCrossEntropy,
        ] {
            for dz in increments::<f32>(-20).into_iter().filter(|&dz| dz > 0.0) {
                let (above, size_above) = change(output_loss, false, z, dz);
                let (below, size_below) = change(output_loss, false, z, -dz);
                let found = output_change::<f32>(output_loss, false, z, &[dz], true)[0];
                let allowed = 33.0 * f32::UNIT_ROUNDOFF * (size_above + size_below);
                let exact = above - below;
                assert!(
                    (found - exact).abs() <= allowed,
                    "{output_loss:?} z {z} dz {dz:e}"
                );
            }
        }
    }
}

/// Returns ΔL of a softmax with three outputs at `output_z`, when `dz` is added to the z of one
/// hidden unit at `z`.
fn softmax_change<R: Real>(
    z: f64,
    output_z: [f64; 3],
    weights: [f64; 3],
    label: u16,
    dz: f64,
) -> f64 {
    let p = width::<R>();
    let largest = output_z.iter().fold(f64::MIN, |most, &z| most.max(z));
    let powers = output_z.map(|z| (z - largest).exp());
    let total: f64 = powers.iter().sum();
    let mut outputs = [(); 3].map(|()| vec![R::ZERO; p]);
    for k in 0..3 {
        let others: f64 = (0..3).filter(|&other| other != k).map(|k| powers[k]).sum();
        outputs[0][k] = R::from_f64(output_z[k]);
        outputs[1][k] = R::from_f64(powers[k] / total);
        outputs[2][k] = R::from_f64(others / total);
    }
    let (y, one_minus_y) = pair(z);
    let unit = [z, y, one_minus_y].map(|value| vec![R::from_f64(value); p]);
    let output_weights: Vec<R> = weights
        .iter()
        .flat_map(|&w| vec![R::from_f64(w); p])
        .collect();
    let largest_weight = weights.iter().fold(0.0f64, |most, w| most.max(w.abs()));
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
        weights: &output_weights,
        bounds: [dz.abs(), dz.abs() / 4.0 * largest_weight],
        outputs: OutputRow {
            output_loss: OutputLoss::SoftmaxCrossEntropy,
            units: Units {
                z: &outputs[0],
                y: &outputs[1],
                one_minus_y: &outputs[2],
                count: 3,
                row_stride: p,
                panel_stride: p,
            },
            row: 0,
            target: class(label),
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
                    let output_z = [margin, 0.0, 0.25];
                    let target = usize::from(label);
                    let largest = output_z.iter().fold(f64::MIN, |most, &z| most.max(z));
                    let total: f64 = output_z.iter().map(|z| (z - largest).exp()).sum();
                    let a = sigmoid_change(z, dz);
                    let (mut sum, mut size) = (0.0, 0.0);
                    for k in (0..3).filter(|&k| k != target) {
                        let p = (output_z[k] - largest).exp() / total;
                        let term = p * ((weights[k] - weights[target]) * a).exp_m1();
                        sum += term;
                        size += p * (weights[k].abs() + weights[target].abs()) * a.abs();
                    }
                    if sum.abs() >= 0.5 {
                        size += output_z.iter().fold(1.0, |sum, z| sum + z.abs());
                    }
                    let found = softmax_change::<f32>(z, output_z, weights, label, dz);
                    worst = worst.max(error::<f32>(found, sum.ln_1p(), size));
                }
            }
        }
    }
    // As for one output, plus a product, a difference and a sum.
    assert!(worst <= 40.0, "{worst} u");
}

/// Returns ΔL of the outputs at `output_z`, when `dz` is added to the z of one hidden unit at `z`,
/// in plain arithmetic.
fn plain_change<R: Real>(
    isa: Isa,
    output_loss: OutputLoss,
    z: f64,
    output_z: &[f64],
    dz: f64,
) -> f64 {
    let p = width::<R>();
    let mut outputs = vec![R::ZERO; p];
    for (lane, &z) in outputs.iter_mut().zip(output_z) {
        *lane = R::from_f64(z);
    }
    let units = Units {
        z: &outputs,
        y: &outputs,
        one_minus_y: &outputs,
        count: output_z.len(),
        row_stride: p,
        panel_stride: p,
    };
    let mut losses = [R::ZERO];
    isa.run(RowLosses {
        output_loss,
        units,
        targets: Targets {
            labels: &[1],
            numbers: &[],
            weights: &[],
        },
        losses: &mut losses,
    });
    let unit = vec![R::from_f64(z); p];
    let weights: Vec<R> = (0..output_z.len() * p)
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
            output_loss,
            units,
            row: 0,
            target: class(1),
            loss: losses[0],
        },
        changes: &mut changes,
    });
    changes[0].to_f64()
}

#[test]
fn a_perturbation_lost_to_rounding_changes_a_plain_loss_by_exactly_0() {
    let output_z = [-7.0, 0.3, 2.5, -0.75, 1.1];
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        for output_loss in [
            OutputLoss::SigmoidQuadratic,
            OutputLoss::LinearQuadratic,
            OutputLoss::SigmoidCrossEntropy,
            OutputLoss::SoftmaxCrossEntropy,
        ] {
            // For positive z the change of σ is lost in σ, for negative z it is lost in the
            // outputs.
            for z in [-58.0, -45.0, -38.0, 38.0, 45.0, 58.0] {
                assert_eq!(
                    plain_change::<f32>(isa, output_loss, z, &output_z, 1e-3),
                    0.0
                );
                assert_eq!(
                    plain_change::<f64>(isa, output_loss, z, &output_z, 1e-3),
                    0.0
                );
            }
            assert_ne!(
                plain_change::<f32>(isa, output_loss, 1.0, &output_z, 1e-2),
                0.0
            );
            assert_ne!(
                plain_change::<f64>(isa, output_loss, 1.0, &output_z, 1e-2),
                0.0
            );
        }
    }
}
