//! How far a finite difference may be from the derivative: truncation and round-off, per parameter,
//! from the loss's own derivatives and a running error analysis of the forward pass.
//!
//! Truncation (Taylor): a forward quotient errs by h/2·|L″| + h²/6·|L‴|, a central one by
//! h²/6·|L‴|, up to terms of the next order. L″ and L‴ along a parameter are differences of the
//! analytic gradient.
//!
//! Round-off is modeled as Higham and Mary do ("A new approach to probabilistic rounding error
//! analysis", 2019): every rounding of a number x is off by an independent amount of deviation
//! u·|x|/√3, so squares add up, not magnitudes. Worst cases would allow a hundred times more, and a
//! test by them would let a gradient of zeros pass. Four deviations are allowed, norm against norm.
//!
//! Plain arithmetic: the two losses of a row are each off by ε_s, the quotient of B such differences
//! by √2·√(Σ ε_s²)/(B·h). ε_s follows the pass: a chain of products is rounded at each of its partial
//! sums, and hands on w·err(a); σ is off by 2 u (`kernels/elementary.rs` tests worst cases of 6 and
//! 8) and hands on σ′·err(z); the loss hands on ∂L/∂z·err(z) and is rounded at its own terms and
//! sums.
//!
//! Without cancellation every operation keeps its relative precision, but sums of mixed sign keep
//! theirs relative to the sum of magnitudes: √c·u times the gradient that backprop gives with all
//! signs positive, c the number of operations in a row on the longest way, about Σ (n_l + 12), and
//! rows. Activations, σ′ and errors feel err(z) of each layer relatively once.
//!
//! Two absolute errors limit what relative precision can do, of whichever sign, and add up. The
//! engine's sigmoids and softmax shares are never below e^−C ([`Real::SIGMOID_CLAMP`]), and so off by
//! up to that: the gradient of positive signs changes by what it changes when e^−C is added to each of
//! them. And a change that is subnormal is off by up to half the smallest number η, which its unit
//! hands on to the loss, and which is divided by h.

use nplus1::gradient::finite_difference::{Arithmetic, DifferenceConfig, Scheme, Summation};
use nplus1::numeric::output_loss::OutputLoss;
use nplus1::numeric::{Precision, Real};

use nplus1::textbook::{Sample, TextbookNetwork, loss, loss_and_errors, sigmoid};

/// Deviations that are allowed.
const DEVIATIONS: f64 = 4.0;

/// Round-off of one row, as squares of deviations.
struct RowNoise {
    /// ε_s².
    loss: f64,
    /// Σ over the layers of the largest err(z)².
    z: f64,
}

/// The round-off of one row in a precision of unit round-off `u`.
fn row_noise(net: &TextbookNetwork, theta: &[f64], (inputs, label): &Sample, u: f64) -> RowNoise {
    let rounded = |x: f64| (u * x).powi(2) / 3.0;
    let mut a = inputs.clone();
    let mut noise: Vec<f64> = a.iter().map(|&a| rounded(a)).collect();
    let mut layers = 0.0;
    for l in 1..=net.layers() {
        let z = net.pre_activations(l, theta, &a);
        let fan_in = net.sizes[l - 1];
        let own = |j: usize| {
            let row = &theta[net.weights(l).start + j * fan_in..][..fan_in];
            let mut sum = match net.bias {
                true => theta[net.biases(l).start + j],
                false => 0.0,
            };
            let mut square = rounded(sum);
            for ((w, a), noise) in row.iter().zip(&a).zip(&noise) {
                sum += w * a;
                // The partial sum, the weight itself, what the activation hands on.
                square += rounded(sum) + rounded(w * a) + w * w * noise;
            }
            square
        };
        let of_z: Vec<f64> = (0..z.len()).map(own).collect();
        layers += of_z.iter().copied().fold(0.0, f64::max);
        if l == net.layers() {
            let (row_loss, errors) = loss_and_errors(net.output_loss, &z, *label);
            let handed: f64 = errors.iter().zip(&of_z).map(|(d, e)| d * d * e).sum();
            // A quadratic loss is flat at its targets: there the square of the error is left.
            let squares: f64 = of_z.iter().map(|e| e * e).sum();
            // A softmax adds and subtracts z themselves.
            let size = match net.output_loss {
                OutputLoss::SoftmaxCrossEntropy => {
                    z.iter().fold(0.0f64, |most, z| most.max(z.abs()))
                }
                _ => 0.0,
            };
            // Each term is off by 2 u or so, each sum of terms is rounded.
            let own = (4.0 + z.len() as f64) * rounded(row_loss.abs() + size);
            return RowNoise {
                loss: handed + squares + own,
                z: layers,
            };
        }
        a = z.iter().map(|&z| sigmoid(z)).collect();
        noise = (a.iter().zip(&of_z))
            .map(|(a, e)| (a * (1.0 - a)).powi(2) * e + rounded(2.0 * a) * 3.0)
            .collect();
    }
    unreachable!("a network has a layer")
}

/// What becomes of the signs in backprop.
#[derive(Clone, Copy)]
enum Signs {
    Kept,
    /// Magnitudes of inputs, weights and errors: no sum cancels.
    Dropped,
}

impl Signs {
    fn of(self, x: f64) -> f64 {
        match self {
            Signs::Kept => x,
            Signs::Dropped => x.abs(),
        }
    }
}

/// ∂L/∂z of the outputs, without a subtraction that saturated units would lose; `floor` is added to
/// every sigmoid and share.
fn output_errors(head: OutputLoss, z: &[f64], label: u16, floor: f64) -> Vec<f64> {
    let target = usize::from(label);
    let sigmoid = |z: f64| sigmoid(z) + floor;
    // σ(z) − 1 = −σ(−z)
    let residual = |z: f64, hot: bool| if hot { -sigmoid(-z) } else { sigmoid(z) };
    let share = |k: usize| 1.0 / z.iter().map(|other| (other - z[k]).exp()).sum::<f64>() + floor;
    let of = |k: usize| match head {
        OutputLoss::SigmoidQuadratic => {
            residual(z[k], k == target) * sigmoid(z[k]) * sigmoid(-z[k])
        }
        OutputLoss::SigmoidCrossEntropy => residual(z[k], k == target),
        OutputLoss::LinearQuadratic => z[k] - f64::from(k == target),
        OutputLoss::SoftmaxCrossEntropy => match k == target {
            // p_t − 1 is less the shares of the others.
            true => -(0..z.len())
                .filter(|&k| k != target)
                .map(share)
                .sum::<f64>(),
            false => share(k),
        },
        OutputLoss::Logistic => residual(z[0], label == 1),
    };
    (0..z.len()).map(of).collect()
}

/// What [`backprop`] finds of one row.
struct Backprop {
    /// l2 left out.
    gradient: Vec<f64>,
    /// Σ over all units of |∂L/∂z| and of |∂L/∂a|, and 1 for the loss itself: what an error of every
    /// one of them comes to.
    gain: f64,
}

/// Backprop of one row that keeps its relative precision however saturated units are, which the
/// textbook's 1 − a does not; `floor` is added to every sigmoid and share.
fn backprop(
    net: &TextbookNetwork,
    theta: &[f64],
    (inputs, label): &Sample,
    signs: Signs,
    floor: f64,
) -> Backprop {
    let sigmoid = |z: f64| sigmoid(z) + floor;
    let mut a = vec![inputs.clone()];
    let mut slopes = vec![Vec::new()];
    let mut z = Vec::new();
    for l in 1..=net.layers() {
        z = net.pre_activations(l, theta, &a[l - 1]);
        a.push(z.iter().map(|&z| sigmoid(z)).collect());
        slopes.push(z.iter().map(|&z| sigmoid(z) * sigmoid(-z)).collect());
    }
    let mut errors = output_errors(net.output_loss, &z, *label, floor);
    if let (Signs::Dropped, OutputLoss::LinearQuadratic) = (signs, net.output_loss) {
        // z − y is a sum as well.
        errors = z.iter().map(|z| z.abs() + 1.0).collect();
    }
    let mut gradient = vec![0.0; net.parameters()];
    let mut gain = 1.0;
    for l in (1..=net.layers()).rev() {
        let fan_in = net.sizes[l - 1];
        errors
            .iter_mut()
            .for_each(|error| *error = signs.of(*error));
        gain += errors.iter().map(|error| error.abs()).sum::<f64>();
        for (j, &error) in errors.iter().enumerate() {
            for i in 0..fan_in {
                gradient[net.weights(l).start + j * fan_in + i] = error * signs.of(a[l - 1][i]);
            }
            if net.bias {
                gradient[net.biases(l).start + j] = error;
            }
        }
        if l > 1 {
            let into = |i: usize| -> f64 {
                let weight = |j: usize| signs.of(theta[net.weights(l).start + j * fan_in + i]);
                (errors.iter().enumerate())
                    .map(|(j, e)| weight(j) * e)
                    .sum()
            };
            let of_activations: Vec<f64> = (0..fan_in).map(into).collect();
            gain += of_activations.iter().map(|error| error.abs()).sum::<f64>();
            errors = (of_activations.iter().zip(&slopes[l - 1]))
                .map(|(error, slope)| error * slope)
                .collect();
        }
    }
    Backprop { gradient, gain }
}

fn is_weight(net: &TextbookNetwork, index: usize) -> bool {
    (1..=net.layers()).any(|l| net.weights(l).contains(&index))
}

fn mean(rows: usize, of: impl Fn(usize) -> f64) -> f64 {
    (0..rows).map(of).sum::<f64>() / rows as f64
}

/// What each partial derivative by `config` with increments `h` may be off by for round-off alone.
pub fn round_off<R: Real>(
    net: &TextbookNetwork,
    theta: &[f64],
    batch: &[Sample],
    h: &[f64],
    config: &DifferenceConfig,
) -> Vec<f64> {
    let (u, rows) = (R::UNIT_ROUNDOFF, batch.len());
    let rounded = |x: f64| (u * x).powi(2) / 3.0;
    let noise: Vec<RowNoise> = (batch.iter())
        .map(|sample| row_noise(net, theta, sample, u))
        .collect();
    if config.arithmetic == Arithmetic::CancellationFree {
        let operations: f64 = net.sizes.iter().map(|&n| n as f64 + 12.0).sum();
        let of_rows = |floor: f64| -> Vec<Backprop> {
            (batch.iter())
                .map(|sample| backprop(net, theta, sample, Signs::Dropped, floor))
                .collect()
        };
        let magnitudes = of_rows(0.0);
        let clamped = of_rows((-R::SIGMOID_CLAMP).exp());
        let smallest = match R::PRECISION {
            Precision::F32 => f64::from(f32::from_bits(1)),
            Precision::F64 => f64::from_bits(1),
        };
        // Every operation of a row may round a subnormal number, and so may the mean of the rows.
        let subnormal = smallest / 2.0 * (operations + rows as f64);
        let gain = mean(rows, |s| clamped[s].gain);
        return (0..theta.len())
            .map(|index| {
                let size = mean(rows, |s| magnitudes[s].gradient[index]);
                let floor = mean(rows, |s| clamped[s].gradient[index]) - size;
                let z = noise.iter().map(|row| row.z).fold(0.0, f64::max);
                let penalty = if is_weight(net, index) {
                    net.l2 * theta[index]
                } else {
                    0.0
                };
                let relative = (operations + rows as f64) * rounded(1.0) + z;
                DEVIATIONS * (relative * size * size + 4.0 * rounded(penalty)).sqrt()
                    + floor
                    + subnormal * gain / h[index]
            })
            .collect();
    }
    // Of the mean of the rows' losses.
    let of_rows = noise.iter().map(|row| row.loss).sum::<f64>() / (rows as f64).powi(2);
    // Of the sums of all losses and of all squares, where these are subtracted.
    let of_sums = match config.summation {
        Summation::Differences => 0.0,
        Summation::Losses => {
            let losses = batch.iter().map(|(inputs, label)| {
                loss(
                    net.output_loss,
                    &net.forward::<f64>(theta, inputs).1,
                    *label,
                ) / rows as f64
            });
            let weights = (1..=net.layers()).flat_map(|l| net.weights(l));
            let squares = weights.map(|index| net.l2 / 2.0 * theta[index].powi(2));
            partial_sums(losses, rounded) + partial_sums(squares, rounded)
        }
    };
    (0..theta.len())
        .map(|index| {
            let of_penalty = match (config.summation, is_weight(net, index)) {
                (Summation::Differences, true) => {
                    // ½λ'·w²: the square, and what it is multiplied by.
                    3.0 * rounded(net.l2 / 2.0 * (theta[index].abs() + h[index]).powi(2))
                }
                _ => 0.0,
            };
            let sides = if config.scheme == Scheme::Central {
                2.0
            } else {
                1.0
            };
            let square = 2.0 * (of_rows + of_sums + of_penalty);
            DEVIATIONS * square.sqrt() / (sides * h[index])
        })
        .collect()
}

/// Σ of the roundings of a sum and of its mean.
fn partial_sums(terms: impl Iterator<Item = f64>, rounded: impl Fn(f64) -> f64) -> f64 {
    let (mut sum, mut square) = (0.0, 0.0);
    for term in terms {
        sum += term;
        square += rounded(sum);
    }
    square + 2.0 * rounded(sum)
}

/// What each partial derivative with increments `h` is off by for truncation.
pub fn truncation(
    net: &TextbookNetwork,
    theta: &[f64],
    batch: &[Sample],
    h: &[f64],
    scheme: Scheme,
) -> Vec<f64> {
    // Second differences of the gradient are good to u/D² = 1e-8 of it.
    const D: f64 = 1e-4;
    let partial = |theta: &[f64], index: usize| {
        let of_row = |s: usize| backprop(net, theta, &batch[s], Signs::Kept, 0.0).gradient[index];
        let penalty = if is_weight(net, index) {
            net.l2 * theta[index]
        } else {
            0.0
        };
        mean(batch.len(), of_row) + penalty
    };
    let mut point = theta.to_vec();
    (0..theta.len())
        .map(|index| {
            let middle = partial(&point, index);
            point[index] = theta[index] + D;
            let above = partial(&point, index);
            point[index] = theta[index] - D;
            let below = partial(&point, index);
            point[index] = theta[index];
            let second = (above - below) / (2.0 * D);
            let third = (above - 2.0 * middle + below) / (D * D);
            let order_two = h[index].powi(2) / 6.0 * third.abs();
            match scheme {
                Scheme::Forward => h[index] / 2.0 * second.abs() + order_two,
                Scheme::Central => order_two,
            }
        })
        .collect()
}

/// ‖x‖₂.
pub fn norm(numbers: &[f64]) -> f64 {
    numbers.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// ‖x − y‖₂.
pub fn distance(x: &[f64], y: &[f64]) -> f64 {
    let differences: Vec<f64> = x.iter().zip(y).map(|(x, y)| x - y).collect();
    norm(&differences)
}

/// h of every parameter, from h of every unit.
pub fn of_parameters(net: &TextbookNetwork, units: &[Vec<f64>]) -> Vec<f64> {
    let mut h = vec![0.0; net.parameters()];
    for l in 1..=net.layers() {
        for (at, index) in net.weights(l).enumerate() {
            h[index] = units[l][at / net.sizes[l - 1]];
        }
        for (j, index) in net.biases(l).enumerate() {
            h[index] = units[l][j];
        }
    }
    h
}
