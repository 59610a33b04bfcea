//! The scalar twin of backprop (`gradient/backprop/worker.rs`): it performs the operations of one
//! worker, one by one.
//!
//! As in `gradient/operation_counts/backprop.rs`, these are not counted: padding and its masks,
//! signs and comparisons, the optimizer's update, and what several workers compute redundantly.
//! Whoever changes a kernel changes its twin: tests compare the twin's values with the kernels, and
//! the closed form with the twin's counts.

// As in the kernels, loops over units and rows index several arrays at once.
#![allow(clippy::needless_range_loop)]

use nplus1::kernels::sparse::SMALL_BATCH;
use nplus1::numeric::output_loss::OutputLoss;
use nplus1::textbook::TextbookNetwork;
use nplus1::textbook::counting::Number;

use super::scalar_differences::output_differences;

/// How the kernels read the inputs `(rows, n_0)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InputForm {
    /// Lists of non-zero bytes, scaled by a table.
    Sparse,
    /// Bytes, scaled as `(x − 0)/divisor` when they are read.
    Bytes {
        /// The divisor of all features.
        divisor: f64,
    },
    /// Scaled numbers.
    Numbers,
}

/// A mini-batch: inputs `(rows, n_0)` as they are stored, and labels.
pub struct Batch<'a> {
    pub form: InputForm,
    pub inputs: &'a [Vec<f64>],
    pub labels: &'a [u16],
}

/// Returns y = σ(z) and 1 − y, from t = e^−|z|, r = 1/(1 + t) and t·r.
pub fn sigmoid_pair<N: Number>(z: N) -> (N, N) {
    let t = (-z.abs()).exp();
    let r = N::of(1.0) / (N::of(1.0) + t);
    let tr = t * r;
    if z.value() < 0.0 { (tr, r) } else { (r, tr) }
}

/// Returns ln(1 + e^z).
pub fn softplus<N: Number>(z: N) -> N {
    z.max(N::of(0.0)) + (-z.abs()).exp().ln_1p()
}

/// Returns `start` plus the sum of the products, by one chain of fused multiply-adds.
pub fn chain<N: Number>(start: N, pairs: impl Iterator<Item = (N, N)>) -> N {
    pairs.fold(start, |sum, (left, right)| left.fma(right, sum))
}

/// Returns the sum of the rows' losses (without the l2 term) and the gradient (with it); `width` is
/// P, the number of columns of a panel.
pub fn gradient<N: Number>(
    net: &TextbookNetwork,
    theta: &[N],
    batch: &Batch<'_>,
    width: usize,
) -> (N, Vec<N>) {
    passes(net, theta, None, batch, width)
}

/// Returns the same with difference quotients of increment `h` in place of σ′ of the hidden units
/// and δ of the outputs.
pub fn numeric_gradient<N: Number>(
    net: &TextbookNetwork,
    theta: &[N],
    h: f64,
    batch: &Batch<'_>,
    width: usize,
) -> (N, Vec<N>) {
    passes(net, theta, Some(h), batch, width)
}

/// Runs the forward and the backward pass, with exact derivatives or, given `h`, with quotients.
fn passes<N: Number>(
    net: &TextbookNetwork,
    theta: &[N],
    h: Option<f64>,
    batch: &Batch<'_>,
    width: usize,
) -> (N, Vec<N>) {
    let (zero, layers, rows) = (N::of(0.0), net.layers(), batch.inputs.len());
    let weight =
        |l: usize, j: usize, i: usize| theta[net.weights(l).start + j * net.sizes[l - 1] + i];
    let bias = |l: usize, j: usize| match net.bias {
        true => theta[net.biases(l).start + j],
        false => zero,
    };
    let read = |x: f64| match batch.form {
        InputForm::Bytes { divisor } => (N::of(x) - zero) / N::of(divisor),
        InputForm::Sparse | InputForm::Numbers => N::of(x),
    };
    let inputs: Vec<Vec<N>> = (batch.inputs.iter())
        .map(|row| row.iter().map(|&x| read(x)).collect())
        .collect();
    let is_nonzero =
        |s: usize, i: usize| batch.form != InputForm::Sparse || batch.inputs[s][i] != 0.0;

    // Forward pass: activations a[l][s] and σ′ slopes[l][s]; a[0] holds the inputs.
    let mut a = vec![inputs];
    let mut slopes = vec![Vec::new()];
    for l in 1..layers {
        let mut outputs = vec![Vec::new(); rows];
        let mut layer_slopes = vec![Vec::new(); rows];
        for s in 0..rows {
            for j in 0..net.sizes[l] {
                let below = (0..net.sizes[l - 1]).filter(|&i| l > 1 || is_nonzero(s, i));
                let z = chain(bias(l, j), below.map(|i| (a[l - 1][s][i], weight(l, j, i))));
                let (y, one_minus_y) = sigmoid_pair(z);
                outputs[s].push(y);
                layer_slopes[s].push(match h.map(N::of) {
                    None => y * one_minus_y,
                    Some(h) => (sigmoid_pair(z + h).0 - y) / h,
                });
            }
        }
        a.push(outputs);
        slopes.push(layer_slopes);
    }
    let (fan_in, outputs) = (net.sizes[layers - 1], net.sizes[layers]);
    let below = &a[layers - 1];
    let top = |s: usize, j: usize| {
        if layers == 1 {
            let nonzero = (0..fan_in).filter(|&i| is_nonzero(s, i));
            return chain(bias(1, j), nonzero.map(|i| (below[s][i], weight(1, j, i))));
        }
        // Each panel of hidden units contributes one partial sum.
        let partial_sums = (0..fan_in).step_by(width).map(|from| {
            let panel = from..fan_in.min(from + width);
            chain(zero, panel.map(|i| (below[s][i], weight(layers, j, i))))
        });
        partial_sums.fold(bias(layers, j), |z, partial| z + partial)
    };
    let z: Vec<Vec<N>> = (0..rows)
        .map(|s| (0..outputs).map(|j| top(s, j)).collect())
        .collect();

    let scale = N::of(1.0) / N::of(rows as f64);
    let (loss, mut errors) = match h {
        None => losses_and_errors(net, &z, batch.labels, scale),
        Some(h) => losses_and_quotients(net, &z, batch.labels, scale, h),
    };
    // The kernel adds this loss to the sum over the mini-batches of a call.
    let loss = zero + loss;

    // Backward pass.
    let mut gradient = vec![zero; theta.len()];
    for l in (1..=layers).rev() {
        let (units, fan_in) = (net.sizes[l], net.sizes[l - 1]);
        let errors_below = (l > 1).then(|| {
            let error = |s: usize, i: usize| {
                let activation_gradient =
                    chain(zero, (0..units).map(|j| (errors[s][j], weight(l, j, i))));
                activation_gradient * slopes[l - 1][s][i]
            };
            (0..rows)
                .map(|s| (0..fan_in).map(|i| error(s, i)).collect::<Vec<N>>())
                .collect::<Vec<_>>()
        });
        // The engine stores the last of several layers twice, and updates both copies.
        let copies = if l == layers && layers > 1 { 2 } else { 1 };
        for _ in 0..copies {
            for j in 0..units {
                for i in 0..fan_in {
                    let product = |s: usize| (a[l - 1][s][i], errors[s][j]);
                    let sum = if l > 1 || batch.form != InputForm::Sparse {
                        chain(zero, (0..rows).map(product))
                    } else if rows > SMALL_BATCH {
                        chain(zero, (0..rows).filter(|&s| is_nonzero(s, i)).map(product))
                    } else if (0..rows).any(|s| is_nonzero(s, i)) {
                        // If any row is not 0, all rows are added; the first is a plain product.
                        let (x, error) = product(0);
                        chain(x * error, (1..rows).map(product))
                    } else {
                        zero
                    };
                    let index = net.weights(l).start + j * fan_in + i;
                    gradient[index] = match net.l2 {
                        0.0 => sum,
                        l2 => N::of(l2).fma(theta[index], sum),
                    };
                }
            }
        }
        for (j, index) in net.biases(l).enumerate() {
            gradient[index] = errors.iter().fold(zero, |sum, row| sum + row[j]);
        }
        if let Some(below) = errors_below {
            errors = below;
        }
    }
    (loss, gradient)
}

/// Returns the sum of the rows' losses, and each row's quotients times `scale`, as
/// `BackpropWorker::output_quotients` computes them.
fn losses_and_quotients<N: Number>(
    net: &TextbookNetwork,
    z: &[Vec<N>],
    labels: &[u16],
    scale: N,
    h: f64,
) -> (N, Vec<Vec<N>>) {
    let factors: Vec<N> = z[0].iter().map(|_| scale / N::of(h)).collect();
    let mut total = N::of(0.0);
    let mut errors = Vec::new();
    for (z, &label) in z.iter().zip(labels) {
        let (mut loss, mut changes) = output_differences(net.output_loss, z, label, h);
        if let Some(weight) = net.class_weight(label).map(N::of) {
            loss = loss * weight;
            changes
                .iter_mut()
                .for_each(|change| *change = *change * weight);
        }
        total = total + loss;
        errors.push(
            (changes.iter().zip(&factors))
                .map(|(&change, &factor)| change * factor)
                .collect(),
        );
    }
    (total, errors)
}

/// Returns the sum of the rows' losses, and each row's δ times `scale`, as `kernels/output_loss.rs`
/// computes them.
pub fn losses_and_errors<N: Number>(
    net: &TextbookNetwork,
    z: &[Vec<N>],
    labels: &[u16],
    scale: N,
) -> (N, Vec<Vec<N>>) {
    let (output_loss, zero) = (net.output_loss, N::of(0.0));
    let weights: Vec<Option<N>> = (labels.iter())
        .map(|&label| net.class_weight(label).map(N::of))
        .collect();
    let scales: Vec<N> = (weights.iter())
        .map(|weight| weight.map_or(scale, |weight| scale * weight))
        .collect();
    let mut total = zero;
    let mut errors = vec![Vec::new(); z.len()];
    if output_loss == OutputLoss::SoftmaxCrossEntropy {
        for (s, &label) in labels.iter().enumerate() {
            let (loss, row_errors) = softmax(&z[s], usize::from(label), scales[s]);
            total = total + weights[s].map_or(loss, |weight| loss * weight);
            errors[s] = row_errors;
        }
        return (total, errors);
    }
    for j in 0..z[0].len() {
        let mut losses = zero;
        for (s, &label) in labels.iter().enumerate() {
            let (error, loss) = output(output_loss, z[s][j], usize::from(label) == j, label == 1);
            errors[s].push(error * scales[s]);
            losses = losses + weights[s].map_or(loss, |weight| loss * weight);
        }
        total = total + losses;
    }
    (total, errors)
}

/// Returns δ and the loss of one output. `hot` is whether it is the target, `positive` whether the
/// logistic label is +1.
fn output<N: Number>(output_loss: OutputLoss, z: N, hot: bool, positive: bool) -> (N, N) {
    let half = N::of(0.5);
    match output_loss {
        OutputLoss::SigmoidQuadratic => {
            let (y, one_minus_y) = sigmoid_pair(z);
            let residual = if hot { -one_minus_y } else { y };
            (residual * (y * one_minus_y), half * residual * residual)
        }
        OutputLoss::LinearQuadratic => {
            let residual = z - N::of(f64::from(hot));
            (residual, half * residual * residual)
        }
        OutputLoss::SigmoidCrossEntropy => {
            let (y, one_minus_y) = sigmoid_pair(z);
            let residual = if hot { -one_minus_y } else { y };
            (residual, softplus(if hot { -z } else { z }))
        }
        OutputLoss::Logistic => {
            let sign = N::of(if positive { 1.0 } else { -1.0 });
            let margin = sign * z;
            let (_, miss) = sigmoid_pair(margin);
            (-(sign * miss), softplus(-margin))
        }
        OutputLoss::SoftmaxCrossEntropy => unreachable!("handled by rows"),
    }
}

/// Returns the loss and δ of one row of softmax outputs.
fn softmax<N: Number>(z: &[N], target: usize, scale: N) -> (N, Vec<N>) {
    let largest = z.iter().copied().reduce(N::max).expect("an output");
    let powers: Vec<N> = z.iter().map(|&z| (z - largest).exp()).collect();
    let others = (0..z.len()).filter(|&j| j != target).map(|j| powers[j]);
    let others = others.fold(N::of(0.0), |sum, power| sum + power);
    let sum = others + powers[target];
    let errors = (0..z.len()).map(|j| {
        let part = if j == target { -others } else { powers[j] };
        part / sum * scale
    });
    let errors = errors.collect();
    let margin = largest - z[target];
    let logarithm = if margin.value() > 0.0 {
        sum.ln()
    } else {
        others.ln_1p()
    };
    (margin + logarithm, errors)
}
