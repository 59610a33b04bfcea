//! Claims about the cost of gradients, each with a verdict and with numbers computed on demand.
//!
//! Everything here is cheap to compute. A claim whose evidence takes longer has no number, only the
//! command that computes it.

use ndarray::Array2;
use serde::Serialize;

use super::logistic::{Logistic, LogisticMethod};
use super::network::NetworkReuse;
use super::toy::Toy;
use crate::data::{Dataset, Features, Scaling};
use crate::numeric::output_loss::OutputLoss;
use crate::study::table::{rough, times};
use crate::textbook::counting::{Counted, Number, count};
use crate::textbook::{Sample, TextbookNetwork, loss, loss_and_errors};

/// Layer sizes of the network used for costs, and the rows of its mini-batch: those of
/// `configs/mnist-30.toml`, so that the numbers are what the named commands print.
const SIZES: [usize; 3] = [784, 30, 10];
const ROWS: usize = 10;
/// The largest number of hidden layers in the table of `nplus1 explain network`.
const DEEPEST: usize = 6;

/// Samples and features of the logistic example; the counts depend on nothing else.
const SAMPLES: (usize, usize) = (100, 10);

/// One claim.
#[derive(Clone, Debug, Serialize)]
pub struct Claim {
    /// The claim itself.
    pub claim: &'static str,
    /// The verdict: right, wrong, or under which condition.
    pub verdict: &'static str,
    /// The reason.
    pub because: &'static str,
    /// The evidence in numbers, computed on demand.
    pub evidence: Option<String>,
    /// The command that shows the evidence in full.
    pub command: &'static str,
}

/// The computed results from which the evidence is taken.
struct Evidence {
    toy: super::toy::ToyExplanation,
    errors: [f64; 3],
    shallow: NetworkReuse,
    /// The network of [`SIZES`], with 1 and with [`DEEPEST`] hidden layers.
    by_depth: [NetworkReuse; 2],
    /// Multiplications of a forward pass, and of loss and gradient by backprop, over a mini-batch.
    passes: [u64; 2],
    logistic: super::logistic::LogisticExplanation,
}

impl Evidence {
    fn new() -> Self {
        let toy = Toy::new(0.7, 1.3, -0.9, 1e-4).expect("finite numbers");
        let samples = samples();
        let theta: Vec<f64> = (0..SAMPLES.1).map(|j| 0.3 - 0.05 * j as f64).collect();
        let scaling = Scaling::identity(SAMPLES.1);
        let logistic = Logistic::new(&samples, &scaling, SAMPLES.0, &theta, 1e-6);
        let shape = |sizes: &[usize]| NetworkReuse::new(sizes).expect("a small network");
        Self {
            toy: toy.explain(),
            errors: [1e-1, 1e-8, 1e-13].map(|epsilon| toy.quotients(epsilon).error_a),
            shallow: shape(&[3, 3, 1]),
            by_depth: [1, DEEPEST].map(|depth| {
                let hidden = vec![SIZES[1]; depth];
                shape(&[&SIZES[..1], &hidden, &SIZES[2..]].concat())
            }),
            passes: passes(),
            logistic: logistic.expect("two classes").explain(),
        }
    }
}

/// Returns arbitrary rows of two classes.
fn samples() -> Dataset {
    let value = |(row, j): (usize, usize)| ((row * 7 + j * 13 + row * j) % 19) as f64 / 9.0 - 1.0;
    Dataset {
        name: "rows".to_owned(),
        features: Features::Reals(Array2::from_shape_fn(SAMPLES, value)),
        labels: (0..SAMPLES.0).map(|row| (row % 2) as u16).collect(),
        class_names: vec!["−1".to_owned(), "+1".to_owned()],
        image: None,
        unit_divisor: None,
        targets: None,
        table: None,
    }
}

/// Counts the multiplications of a mini-batch's loss, and of its loss and gradient by backprop.
fn passes() -> [u64; 2] {
    let net = TextbookNetwork {
        sizes: SIZES.to_vec(),
        bias: true,
        output_loss: OutputLoss::SigmoidQuadratic,
        l2: 0.0,
        class_weights: Vec::new(),
    };
    let theta = vec![Counted::of(0.01); net.parameters()];
    let batch: Vec<Sample> = vec![(vec![0.5; SIZES[0]], 0); ROWS];
    let (_, forward) = count(|| net.loss(&theta, &batch));
    let (_, gradient) = count(|| net.gradient(&theta, &batch));
    [forward.multiplications, gradient.multiplications]
}

/// Counts the multiplications of the outputs' δ beyond those of the loss.
fn output_multiplications(output_loss: OutputLoss) -> u64 {
    let z = vec![Counted::of(0.3); SIZES[2]];
    let (_, loss) = count(|| loss(output_loss, &z, 0));
    let (_, both) = count(|| loss_and_errors(output_loss, &z, 0));
    both.multiplications - loss.multiplications
}

/// Returns every claim.
pub fn claims() -> Vec<Claim> {
    let evidence = Evidence::new();
    let mut claims = costs(&evidence);
    claims.extend(toy_examples(&evidence));
    claims.extend(logistic_examples(&evidence));
    claims.extend(networks(&evidence));
    claims
}

fn network_name() -> String {
    SIZES.map(|size| size.to_string()).join("-")
}

fn costs(evidence: &Evidence) -> Vec<Claim> {
    let net = network_name();
    let parameters: usize = SIZES.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum();
    let [forward, gradient] = evidence.passes;
    let ratio = gradient as f64 / forward as f64;
    let full = (parameters as u64 + 1) * forward + parameters as u64;
    let [large, best, small] = evidence.errors;
    vec![
        Claim {
            claim: "the gradient is \"N evaluations\"",
            verdict: "wrong for backprop, right if each partial derivative is computed on its own",
            because: "all N partial derivatives share one forward and one backward pass",
            evidence: Some(format!(
                "{net}, {ROWS} rows: loss and gradient take {ratio:.2} times the multiplications of the loss (dense), N = {parameters}; 3 + 1/{ROWS} times at most for wide layers of any network"
            )),
            command: "nplus1 cost configs/mnist-30.toml",
        },
        Claim {
            claim: "finite differences are N + 1 evaluations, so there is no difference",
            verdict: "the count is right; only the \"+ 1\" is negligible",
            because: "each of the N + 1 is a whole pass",
            evidence: Some(format!(
                "{net}: {} losses, {:.0} times the multiplications of one (dense); backprop {ratio:.2} times",
                parameters + 1,
                full as f64 / forward as f64
            )),
            command: "nplus1 cost configs/mnist-30.toml",
        },
        Claim {
            claim: "backprop is 2·O(v + e), finite differences are N·O(v + e), two-sided ones twice that",
            verdict: "right where nothing is reused",
            because: "a backward pass has two products where a forward pass has one",
            evidence: Some(format!(
                "{net}: {ratio:.2}, N + 1 = {}, 2N = {}",
                parameters + 1,
                2 * parameters
            )),
            command: "nplus1 cost configs/mnist-30.toml",
        },
        Claim {
            claim: "the analytical gradient is more accurate; ε can be too large or too small",
            verdict: "right",
            because: "truncation grows with ε, round-off with 1/ε",
            evidence: Some(format!(
                "error of the toy's ∂z/∂a: {} at ε = 1e-1, {} at 1e-8, {} at 1e-13",
                rough(large),
                rough(best),
                rough(small)
            )),
            command: "nplus1 explain toy --epsilon 1e-13",
        },
        Claim {
            claim: "L-BFGS will not work without precise gradients",
            verdict: "wrong in general",
            because: "it fails once the gradient's error reaches the gradient's own size",
            evidence: None,
            command: "nplus1 explain lbfgs",
        },
    ]
}

fn toy_examples(evidence: &Evidence) -> Vec<Claim> {
    let toy = &evidence.toy;
    let gradient = toy.methods[0];
    let smallest = toy.quotients.last().expect("a row of increments");
    let largest = toy.quotients.first().expect("a row of increments");
    vec![
        Claim {
            claim: "y = σ(ax), z = by: ∇z = (b·x·σ(ax)·(1 − σ(ax)), σ(ax))",
            verdict: "right; with 1 − a·σ(ax) in place of 1 − σ(ax) it is a slip",
            because: "σ′ = σ·(1 − σ)",
            evidence: Some(format!(
                "a = {}, b = {}, x = {}: ∂z/∂a = {:.5}, the slip {:.5}",
                toy.toy.a, toy.toy.b, toy.toy.x, gradient.a, toy.slip
            )),
            command: "nplus1 explain toy",
        },
        Claim {
            claim: "z(a + ε, b) = b·σ(ax) + b·σ(εx)",
            verdict: "wrong",
            because: "σ is not additive: a quotient of it grows like b/(2ε)",
            evidence: Some(format!(
                "at ε = {:e} it gives {:.3e}, and ∂z/∂a is {:.5}",
                smallest.epsilon, smallest.additive, gradient.a
            )),
            command: "nplus1 explain toy",
        },
        Claim {
            claim: "z(a, b + ε) = z + ε·y, so the difference in b is the derivative for any ε",
            verdict: "right, up to rounding",
            because: "z is linear in b",
            evidence: Some(format!(
                "error {} at ε = {:e}, {} at {:e}, where the rounding bound is {}",
                rough(largest.error_b),
                largest.epsilon,
                rough(smallest.error_b),
                smallest.epsilon,
                rough(smallest.roundoff_b)
            )),
            command: "nplus1 explain toy",
        },
        Claim {
            claim: "∂z/∂a = z·(1 − y)·x and z(a + ε) = b/(1 + u·e^(−εx)), but z cannot be taken out",
            verdict: "right, and z can: z(a + ε) = z/(y + (1 − y)·e^(−εx))",
            because: "1 + u = 1/y and u = (1 − y)/y",
            evidence: Some(format!(
                "the two formulas differ by {}; the rounding bound is {}",
                rough((toy.perturbed.from_z - toy.perturbed.from_u).abs()),
                rough(toy.perturbed.roundoff)
            )),
            command: "nplus1 explain toy",
        },
    ]
}

fn logistic_examples(evidence: &Evidence) -> Vec<Claim> {
    let row = |method: LogisticMethod| {
        let mut rows = evidence.logistic.counts.iter().rev();
        rows.find(|row| row.method == method.name())
            .expect("every method has its row")
            .operations
    };
    let (analytic, differences) = (
        row(LogisticMethod::Gradient),
        row(LogisticMethod::Tabulated),
    );
    let (samples, features) = SAMPLES;
    let form = &evidence.logistic.shape_and_sign;
    vec![
        Claim {
            claim: "logistic regression: keeping x·θ saves work",
            verdict: "right: differences then need fewer multiplications than the gradient, but more exponentials and logarithms",
            because: "z changes by ε·x, but each of the n perturbed losses needs m exponentials",
            evidence: Some(format!(
                "{samples} samples of {features} features: {} multiplications against {}, {} exponentials against {}",
                differences.multiplications,
                analytic.multiplications,
                differences.exponentials,
                analytic.exponentials
            )),
            command: "nplus1 explain logistic",
        },
        Claim {
            claim: "its gradient is Σ residual·θ",
            verdict: "wrong: it is −Σ y·σ(−y·x·θ)·x",
            because: "the residuals are the weights of the samples, with a minus sign; Σ residual·θ is a multiple of θ",
            evidence: Some(format!(
                "cosine between gradient and quotients: {:.6}, between gradient and Σ residual·θ: {:.6}",
                form.cosine_quotient, form.cosine_slip
            )),
            command: "nplus1 explain logistic",
        },
    ]
}

fn networks(evidence: &Evidence) -> Vec<Claim> {
    let (shallow, [one, many]) = (&evidence.shallow, &evidence.by_depth);
    let layer = shallow.perturbations[0].layers[0];
    let saved = |shape: &NetworkReuse| times(shape.full as f64 / shape.incremental as f64);
    vec![
        Claim {
            claim: "with 3 hidden units, changing the first reuses nothing of the others",
            verdict: "wrong",
            because: "the others are unchanged and the next layer is a rank-1 update; reuse vanishes with depth",
            evidence: Some(format!(
                "{} of {} stay as they are, and the output changes by {} product",
                layer.reused, layer.units, shallow.perturbations[0].layers[1].moved
            )),
            command: "nplus1 explain network",
        },
        Claim {
            claim: "each parameter takes at least one pass over the graph",
            verdict: "wrong with reuse",
            because: "a perturbation changes only what lies above it",
            evidence: Some(format!(
                "{}, one row: whole passes take {} times the multiplications of incremental ones, and {} times with {DEEPEST} hidden layers",
                network_name(),
                saved(one),
                saved(many),
            )),
            command: "nplus1 explain network configs/mnist-30.toml",
        },
        Claim {
            claim: "cross-entropy is made for differentiation",
            verdict: "right",
            because: "δ at the output is a − y, without a multiplication by σ′",
            evidence: Some(format!(
                "δ of {} outputs beyond their loss: {} multiplications, quadratic {}",
                SIZES[2],
                output_multiplications(OutputLoss::SigmoidCrossEntropy),
                output_multiplications(OutputLoss::SigmoidQuadratic)
            )),
            command: "nplus1 explain configs/mnist-30-cross-entropy.toml",
        },
    ]
}
