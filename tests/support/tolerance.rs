//! Error bounds of finite differences, per parameter: truncation from the derivatives of the loss,
//! and round-off from a running error analysis of the forward pass.
//!
//! Truncation (Taylor): a forward quotient errs by h/2·|L″| + h²/6·|L‴|, a central one by
//! h²/6·|L‴|, up to terms of the next order. L″ and L‴ along a parameter are computed as
//! differences of the analytic gradient.
//!
//! Round-off is modeled as by Higham and Mary ("A new approach to probabilistic rounding error
//! analysis", 2019): every rounding of a number x has an independent error with standard deviation
//! u·|x|/√3, so squares add up, not magnitudes. Worst-case bounds would be a hundred times larger,
//! and with them a gradient of zeros would pass. Four standard deviations are allowed, comparing
//! norms.
//!
//! Plain arithmetic: each of the two losses of a row has an error ε_s, the quotient of B such
//! differences √2·√(Σ ε_s²)/(B·h). ε_s is propagated through the pass: a chain of products is
//! rounded at each of its partial sums and propagates w·err(a); σ has an error of 2 u
//! (`kernels/elementary.rs` tests worst cases of 6 and 8) and propagates σ′·err(z); the loss
//! propagates ∂L/∂z·err(z) and is rounded at its terms and sums.
//!
//! Cancellation-free arithmetic: every operation keeps its relative precision, but a sum of terms
//! of either sign only relative to the sum of their magnitudes. The error is √c·u times the
//! gradient of backprop with all signs positive, where c, the number of operations on the longest
//! path, is about Σ (n_l + 12) plus the number of rows. Activations, σ′ and errors each add the
//! relative error err(z) of their layer once.
//!
//! Two absolute errors limit the relative precision; they have either sign and add up. First, the
//! engine's sigmoids and softmax probabilities are never below e^−C ([`Real::SIGMOID_CLAMP`]), so
//! they have an error of up to e^−C; its effect is the change of the gradient of positive signs
//! when e^−C is added to each of them. Second, a subnormal change has an error of up to half the
//! smallest positive number η, which its unit propagates to the loss, and which is divided by h.

use nplus1::gradient::finite_difference::{Arithmetic, DifferenceConfig, Scheme, Summation};
use nplus1::numeric::output_loss::OutputLoss;
use nplus1::numeric::{Precision, Real};

use nplus1::textbook::{Sample, TextbookNetwork, loss, loss_and_errors, sigmoid};

/// The number of standard deviations that are allowed.
const DEVIATIONS: f64 = 4.0;

/// The round-off of one row, as variances.
struct RowNoise {
    /// ε_s².
    loss: f64,
    /// Σ over the layers of the largest err(z)².
    z: f64,
}

/// Returns the round-off of one row in a precision with unit round-off `u`.
fn row_noise(net: &TextbookNetwork, theta: &[f64], (inputs, label): &Sample, u: f64) -> RowNoise {
    let rounded = |x: f64| (u * x).powi(2) / 3.0;
    let mut a = inputs.clone();
    let mut noise: Vec<f64> = a.iter().map(|&a| rounded(a)).collect();
    let mut layers = 0.0;
    for l in 1..=net.layers() {
        let z = net.pre_activations(l, theta, &a);
        let fan_in = net.sizes[l - 1];
        let z_variance = |j: usize| {
            let row = &theta[net.weights(l).start + j * fan_in..][..fan_in];
            let mut sum = match net.bias {
                true => theta[net.biases(l).start + j],
                false => 0.0,
            };
            let mut square = rounded(sum);
            for ((w, a), noise) in row.iter().zip(&a).zip(&noise) {
                sum += w * a;
                // Rounding of the partial sum and of the weight, and the error of the activation.
                square += rounded(sum) + rounded(w * a) + w * w * noise;
            }
            square
        };
        let z_variances: Vec<f64> = (0..z.len()).map(z_variance).collect();
        layers += z_variances.iter().copied().fold(0.0, f64::max);
        if l == net.layers() {
            let (row_loss, errors) = loss_and_errors(net.output_loss, &z, *label);
            let propagated: f64 = errors
                .iter()
                .zip(&z_variances)
                .map(|(d, e)| d * d * e)
                .sum();
            // A quadratic loss has slope 0 at its target; there the square of the error remains.
            let squares: f64 = z_variances.iter().map(|e| e * e).sum();
            // The softmax loss adds and subtracts the z themselves.
            let size = match net.output_loss {
                OutputLoss::SoftmaxCrossEntropy => {
                    z.iter().fold(0.0f64, |most, z| most.max(z.abs()))
                }
                _ => 0.0,
            };
            // Each term has an error of about 2 u, and each sum of terms is rounded.
            let rounding = (4.0 + z.len() as f64) * rounded(row_loss.abs() + size);
            return RowNoise {
                loss: propagated + squares + rounding,
                z: layers,
            };
        }
        a = z.iter().map(|&z| sigmoid(z)).collect();
        noise = (a.iter().zip(&z_variances))
            .map(|(a, e)| (a * (1.0 - a)).powi(2) * e + rounded(2.0 * a) * 3.0)
            .collect();
    }
    unreachable!("a network has a layer")
}

/// The treatment of signs in backprop.
#[derive(Clone, Copy)]
enum Signs {
    Kept,
    /// Magnitudes of inputs, weights and errors, so that no sum cancels.
    Dropped,
}

impl Signs {
    fn apply(self, x: f64) -> f64 {
        match self {
            Signs::Kept => x,
            Signs::Dropped => x.abs(),
        }
    }
}

/// Returns ∂L/∂z of the outputs, without subtractions that lose the precision of saturated units.
/// `floor` is added to every sigmoid and every softmax probability.
fn output_errors(output_loss: OutputLoss, z: &[f64], label: u16, floor: f64) -> Vec<f64> {
    let target = usize::from(label);
    let sigmoid = |z: f64| sigmoid(z) + floor;
    // σ(z) − 1 = −σ(−z)
    let residual = |z: f64, hot: bool| if hot { -sigmoid(-z) } else { sigmoid(z) };
    let probability =
        |k: usize| 1.0 / z.iter().map(|other| (other - z[k]).exp()).sum::<f64>() + floor;
    let error = |k: usize| match output_loss {
        OutputLoss::SigmoidQuadratic => {
            residual(z[k], k == target) * sigmoid(z[k]) * sigmoid(-z[k])
        }
        OutputLoss::SigmoidCrossEntropy => residual(z[k], k == target),
        OutputLoss::LinearQuadratic => z[k] - f64::from(k == target),
        OutputLoss::SoftmaxCrossEntropy => match k == target {
            // p_t − 1 = −Σ_{k≠t} p_k
            true => -(0..z.len())
                .filter(|&k| k != target)
                .map(probability)
                .sum::<f64>(),
            false => probability(k),
        },
        OutputLoss::Logistic => residual(z[0], label == 1),
    };
    (0..z.len()).map(error).collect()
}

/// The result of [`backprop`] for one row.
struct Backprop {
    /// The gradient without the l2 term.
    gradient: Vec<f64>,
    /// Σ over all units of |∂L/∂z| and |∂L/∂a|, plus 1 for the loss: the error of the loss per unit
    /// error of every z, every a and the loss.
    gain: f64,
}

/// Computes backprop of one row, keeping relative precision for saturated units, which the
/// textbook's 1 − a does not. `floor` is added to every sigmoid and every softmax probability.
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
        // z − y is also a sum that may cancel.
        errors = z.iter().map(|z| z.abs() + 1.0).collect();
    }
    let mut gradient = vec![0.0; net.parameters()];
    let mut gain = 1.0;
    for l in (1..=net.layers()).rev() {
        let fan_in = net.sizes[l - 1];
        errors
            .iter_mut()
            .for_each(|error| *error = signs.apply(*error));
        gain += errors.iter().map(|error| error.abs()).sum::<f64>();
        for (j, &error) in errors.iter().enumerate() {
            for i in 0..fan_in {
                gradient[net.weights(l).start + j * fan_in + i] = error * signs.apply(a[l - 1][i]);
            }
            if net.bias {
                gradient[net.biases(l).start + j] = error;
            }
        }
        if l > 1 {
            let activation_gradient = |i: usize| -> f64 {
                let weight = |j: usize| signs.apply(theta[net.weights(l).start + j * fan_in + i]);
                (errors.iter().enumerate())
                    .map(|(j, e)| weight(j) * e)
                    .sum()
            };
            let activation_gradients: Vec<f64> = (0..fan_in).map(activation_gradient).collect();
            gain += (activation_gradients.iter())
                .map(|error| error.abs())
                .sum::<f64>();
            errors = (activation_gradients.iter().zip(&slopes[l - 1]))
                .map(|(error, slope)| error * slope)
                .collect();
        }
    }
    Backprop { gradient, gain }
}

fn is_weight(net: &TextbookNetwork, index: usize) -> bool {
    (1..=net.layers()).any(|l| net.weights(l).contains(&index))
}

fn mean(rows: usize, row_value: impl Fn(usize) -> f64) -> f64 {
    (0..rows).map(row_value).sum::<f64>() / rows as f64
}

/// Returns the bound of the round-off error of each partial derivative by `config` with increments
/// `h`.
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
        let row_gradients = |floor: f64| -> Vec<Backprop> {
            (batch.iter())
                .map(|sample| backprop(net, theta, sample, Signs::Dropped, floor))
                .collect()
        };
        let magnitudes = row_gradients(0.0);
        let clamped = row_gradients((-R::SIGMOID_CLAMP).exp());
        let smallest = match R::PRECISION {
            Precision::F32 => f64::from(f32::from_bits(1)),
            Precision::F64 => f64::from_bits(1),
        };
        // Every operation of a row, and the mean over the rows, may round a subnormal number.
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
    // The variance of the mean of the rows' losses.
    let row_variance = noise.iter().map(|row| row.loss).sum::<f64>() / (rows as f64).powi(2);
    // The variance of the sums of all losses and of all squares, if these are subtracted.
    let sum_variance = match config.summation {
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
            let penalty_variance = match (config.summation, is_weight(net, index)) {
                (Summation::Differences, true) => {
                    // ½λ'·w²: the square and two multiplications are rounded.
                    3.0 * rounded(net.l2 / 2.0 * (theta[index].abs() + h[index]).powi(2))
                }
                _ => 0.0,
            };
            let sides = if config.scheme == Scheme::Central {
                2.0
            } else {
                1.0
            };
            let square = 2.0 * (row_variance + sum_variance + penalty_variance);
            DEVIATIONS * square.sqrt() / (sides * h[index])
        })
        .collect()
}

/// Returns the variance of the roundings of a sum and of its mean.
fn partial_sums(terms: impl Iterator<Item = f64>, rounded: impl Fn(f64) -> f64) -> f64 {
    let (mut sum, mut square) = (0.0, 0.0);
    for term in terms {
        sum += term;
        square += rounded(sum);
    }
    square + 2.0 * rounded(sum)
}

/// Returns the truncation error of each partial derivative with increments `h`.
pub fn truncation(
    net: &TextbookNetwork,
    theta: &[f64],
    batch: &[Sample],
    h: &[f64],
    scheme: Scheme,
) -> Vec<f64> {
    // Second differences of the gradient have a relative round-off of u/D² = 1e-8.
    const D: f64 = 1e-4;
    let partial = |theta: &[f64], index: usize| {
        let row_partial =
            |s: usize| backprop(net, theta, &batch[s], Signs::Kept, 0.0).gradient[index];
        let penalty = if is_weight(net, index) {
            net.l2 * theta[index]
        } else {
            0.0
        };
        mean(batch.len(), row_partial) + penalty
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

/// Returns ‖x‖₂.
pub fn norm(numbers: &[f64]) -> f64 {
    numbers.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Returns ‖x − y‖₂.
pub fn distance(x: &[f64], y: &[f64]) -> f64 {
    let differences: Vec<f64> = x.iter().zip(y).map(|(x, y)| x - y).collect();
    norm(&differences)
}

/// Returns the increment of every parameter from that of every unit.
pub fn parameter_increments(net: &TextbookNetwork, units: &[Vec<f64>]) -> Vec<f64> {
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
