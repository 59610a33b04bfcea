//! Logistic regression with labels ±1, f(θ) = Σ ln(1 + e^(−y·x·θ)): finite differences need *fewer
//! multiplications* than the gradient, but more exponentials and logarithms.
//!
//! m samples, n features; the label is multiplied into the sample, X = y·x `(m, n)`, so z = X·θ
//! `(m,)`. A change of θ_j by ε changes z by ε·X_j. With the z of the current θ stored, a perturbed
//! f costs one multiplication per sample, none if ε·X is tabulated. But every perturbed f needs m
//! exponentials and logarithms, where the gradient needs m in total. [`LogisticMethod::predicted`]
//! gives the operation counts in closed form; [`Logistic::counts`] counts them by running the
//! formulas.
//!
//! There is no bias and no l2 term. Data with a number of classes other than two are refused.

use serde::Serialize;

use super::{Operations, check_increment};
use crate::data::{Dataset, Scaling};
use crate::textbook::counting::{Counted, Number, count, sum};
use crate::textbook::softplus;

/// Largest number of multiplications that is counted, which takes about ten seconds.
const MAX_MULTIPLICATIONS: u64 = 1_000_000_000;

/// The samples, θ and ε.
#[derive(Clone, Debug)]
pub struct Logistic {
    /// y·x, `(m, n)` row-major.
    samples: Vec<f64>,
    /// y, `(m,)`.
    signs: Vec<f64>,
    /// θ, `(n,)`.
    theta: Vec<f64>,
    /// The increment ε.
    epsilon: f64,
}

/// A method that computes the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogisticMethod {
    /// −Σ σ(−z)·X.
    Gradient,
    /// (f(θ + ε·e_j) − f(θ))/ε, with n + 1 evaluations of f.
    Full,
    /// (f(θ + ε·e_j) − f(θ − ε·e_j))/2ε, with 2n evaluations of f.
    Central,
    /// Forward differences with z stored: f(θ + ε·e_j) = Σ ln(1 + e^−(z + ε·X_j)).
    KeptProducts,
    /// The same, with ε·X from a table.
    Tabulated,
    /// The change of each loss as ln(1 + σ(−z)·(e^(−ε·X_j) − 1)), with σ(−z) stored and e^(−ε·X) −
    /// 1 from a table. No nearly equal numbers are subtracted.
    TabulatedExponentials,
}

impl LogisticMethod {
    /// All methods, in the order of their presentation.
    pub const ALL: [Self; 6] = [
        Self::Gradient,
        Self::Full,
        Self::Central,
        Self::KeptProducts,
        Self::Tabulated,
        Self::TabulatedExponentials,
    ];

    /// Returns the name of the method.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gradient => "gradient",
            Self::Full => "forward differences",
            Self::Central => "central differences",
            Self::KeptProducts => "forward, Xθ kept",
            Self::Tabulated => "forward, Xθ kept, εX tabulated",
            Self::TabulatedExponentials => "forward, σ(−Xθ) kept, e^(−εX) − 1 tabulated",
        }
    }

    /// Returns the operations for loss and gradient with m samples of n features.
    pub fn predicted(self, m: u64, n: u64) -> Operations {
        // Per sample: n products and n − 1 sums for z, one sum for 1 + e^−z; m − 1 sums over
        // samples.
        let losses = m * n + m - 1;
        let (multiplications, additions, [exponentials, logarithms, divisions]) = match self {
            // In addition: 1 + and a division for σ(−z), its product with each sample, and the
            // sums.
            Self::Gradient => (2 * m * n, losses + m + (m - 1) * n, [m, m, m]),
            Self::Full => (
                (n + 1) * m * n + n,
                (n + 1) * losses + 2 * n,
                [(n + 1) * m, (n + 1) * m, 0],
            ),
            Self::Central => (
                2 * n * m * n + n,
                2 * n * losses + 3 * n,
                [2 * n * m, 2 * n * m, 0],
            ),
            // Per feature: z + εX and 1 + per sample, m − 1 sums, − f(θ).
            Self::KeptProducts => (
                2 * m * n + n,
                losses + 3 * m * n,
                [(n + 1) * m, (n + 1) * m, 0],
            ),
            Self::Tabulated => (m * n + n, losses + 3 * m * n, [(n + 1) * m, (n + 1) * m, 0]),
            // ln(1 + x) counts as one logarithm, without an addition.
            Self::TabulatedExponentials => {
                (2 * m * n + n, losses + m + (m - 1) * n, [m, (n + 1) * m, m])
            }
        };
        Operations {
            multiplications,
            additions,
            exponentials,
            logarithms,
            divisions,
        }
    }
}

/// The counted operations of one method with n features.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CountRow {
    /// Number n of features used, the first ones.
    pub features: usize,
    /// Name of the method.
    pub method: &'static str,
    /// Operations performed, including those of f.
    pub operations: Operations,
    /// Ratio of its multiplications to the gradient's.
    pub multiplications_ratio: f64,
    /// Ratio of its exponentials and logarithms to the gradient's.
    pub transcendentals_ratio: f64,
    /// ‖ĝ − g‖/‖g‖.
    pub relative_error: f64,
}

/// One element of the gradient, of the quotient, and of a common mistake.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GradientElement {
    /// Feature j, from 0.
    pub feature: usize,
    /// θ_j.
    pub theta: f64,
    /// −Σ y·σ(−y·x·θ)·x_j.
    pub gradient: f64,
    /// (f(θ + ε·e_j) − f(θ − ε·e_j))/2ε.
    pub quotient: f64,
    /// Σ y·σ(−y·x·θ)·θ_j, the mistake.
    pub slip: f64,
}

/// The form and the sign of the gradient, compared with f itself.
#[derive(Clone, Debug, Serialize)]
pub struct ShapeAndSign {
    /// f(θ).
    pub loss: f64,
    /// ‖g‖.
    pub norm: f64,
    /// ‖slip‖.
    pub slip_norm: f64,
    /// Cosine between g and the quotients.
    pub cosine_quotient: f64,
    /// Cosine between g and the slip.
    pub cosine_slip: f64,
    /// Cosine between θ and the slip, which is a multiple of θ for any samples.
    pub cosine_slip_theta: f64,
    /// Length of the trial steps.
    pub step: f64,
    /// f(θ − step·g/‖g‖), a descent.
    pub loss_along: f64,
    /// f(θ + step·g/‖g‖), with the wrong sign.
    pub loss_against: f64,
    /// f(θ − step·slip/‖slip‖).
    pub loss_along_slip: f64,
    /// ‖g‖ at θ = 0.
    pub norm_at_zero: f64,
    /// ‖slip‖ at θ = 0, where the slip indicates a minimum for any samples.
    pub slip_norm_at_zero: f64,
    /// The comparison of each element.
    pub elements: Vec<GradientElement>,
}

/// The complete worked example.
#[derive(Clone, Debug, Serialize)]
pub struct LogisticExplanation {
    /// Number of samples, m.
    pub rows: usize,
    /// Number of features, n.
    pub features: usize,
    /// The increment ε.
    pub epsilon: f64,
    /// Counted operations, by n and method.
    pub counts: Vec<CountRow>,
    /// The gradient compared with the slip.
    #[serde(rename = "form")]
    pub shape_and_sign: ShapeAndSign,
}

impl Logistic {
    /// Takes the first `rows` rows of `dataset`, scaled; its second class becomes y = +1.
    ///
    /// # Errors
    /// Returns a message if the number of classes is not two, the increment is 0, or the operations
    /// are too many to count in seconds.
    ///
    /// # Panics
    /// Panics if `theta` does not hold one number per feature.
    pub fn new(
        dataset: &Dataset,
        scaling: &Scaling,
        rows: usize,
        theta: &[f64],
        epsilon: f64,
    ) -> Result<Self, String> {
        if dataset.class_count() != 2 {
            return Err(format!(
                "its labels are {} classes ({}); allowed: exactly 2, which become y = −1 and y = +1",
                dataset.class_count(),
                dataset.class_names.join(", ")
            ));
        }
        check_increment(epsilon)?;
        assert_eq!(theta.len(), dataset.feature_count());
        let rows = rows.min(dataset.rows());
        let (m, n) = (rows as u64, theta.len() as u64);
        let multiplications = LogisticMethod::Central.predicted(m, n).multiplications;
        if multiplications > MAX_MULTIPLICATIONS {
            return Err(format!(
                "{m} rows of {n} features: central differences alone take {multiplications:.1e} multiplications; allowed here: at most {limit:.0e}, so that they can be counted in seconds",
                multiplications = multiplications as f64,
                limit = MAX_MULTIPLICATIONS as f64
            ));
        }
        let sign = |row: usize| if dataset.labels[row] == 1 { 1.0 } else { -1.0 };
        let samples = (0..rows)
            .flat_map(|row| {
                let value = move |j| scaling.apply(j, dataset.features.value(row, j));
                (0..theta.len()).map(move |j| sign(row) * value(j))
            })
            .collect();
        Ok(Self {
            samples,
            signs: (0..rows).map(sign).collect(),
            theta: theta.to_vec(),
            epsilon,
        })
    }

    /// Computes the example.
    pub fn explain(&self) -> LogisticExplanation {
        LogisticExplanation {
            rows: self.signs.len(),
            features: self.theta.len(),
            epsilon: self.epsilon,
            counts: self.subsets().flat_map(|n| self.counts(n)).collect(),
            shape_and_sign: self.form(),
        }
    }

    /// Returns 1, 2, 5, 10, 20, 50 … features, up to all of them.
    fn subsets(&self) -> impl Iterator<Item = usize> {
        let all = self.theta.len();
        let ladder = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_usize.pow(power)));
        ladder
            .take_while(move |&n| n < all)
            .chain(std::iter::once(all))
    }

    /// Counts the operations of every method with the first `n` features.
    pub fn counts(&self, n: usize) -> Vec<CountRow> {
        let exact = self.run::<f64>(LogisticMethod::Gradient, n).1;
        let norm = norm(&exact);
        let base = LogisticMethod::Gradient.predicted(self.signs.len() as u64, n as u64);
        let transcendentals = |count: Operations| (count.exponentials + count.logarithms) as f64;
        let row = |method: LogisticMethod| {
            let ((_, found), tally) = count(|| self.run::<Counted>(method, n));
            let operations = Operations::from(tally);
            let errors = found.iter().zip(&exact).map(|(g, exact)| g.value() - exact);
            CountRow {
                features: n,
                method: method.name(),
                operations,
                multiplications_ratio: operations.multiplications as f64
                    / base.multiplications as f64,
                transcendentals_ratio: transcendentals(operations) / transcendentals(base),
                relative_error: errors.map(|error| error * error).sum::<f64>().sqrt() / norm,
            }
        };
        LogisticMethod::ALL.map(row).to_vec()
    }

    /// Computes f(θ) and its gradient by `method`, with the first `n` features.
    pub fn run<N: Number>(&self, method: LogisticMethod, n: usize) -> (N, Vec<N>) {
        let problem = LeadingFeatures::<N>::new(self, n);
        match method {
            LogisticMethod::Gradient => problem.gradient(),
            LogisticMethod::Full => problem.full(),
            LogisticMethod::Central => problem.central(),
            LogisticMethod::KeptProducts => problem.kept(|h, x| h * x),
            LogisticMethod::Tabulated => problem.kept(|h, x| N::of(h.value() * x.value())),
            LogisticMethod::TabulatedExponentials => problem.kept_exponentials(),
        }
    }

    fn form(&self) -> ShapeAndSign {
        let n = self.theta.len();
        let problem = LeadingFeatures::<f64>::new(self, n);
        let (loss, gradient) = problem.gradient();
        let quotients = problem.central().1;
        let slip = problem.slip(&self.signs);
        let (norm_g, slip_norm) = (norm(&gradient), norm(&slip));
        let step = 1e-3;
        let along = |direction: &[f64], length: f64| {
            let scale = length / norm(direction);
            let moved = self.theta.iter().zip(direction);
            problem.loss(&moved.map(|(t, d)| t + scale * d).collect::<Vec<_>>())
        };
        let zero = Self {
            theta: vec![0.0; n],
            ..self.clone()
        };
        let zero = LeadingFeatures::<f64>::new(&zero, n);
        let element = |feature: usize| GradientElement {
            feature,
            theta: self.theta[feature],
            gradient: gradient[feature],
            quotient: quotients[feature],
            slip: slip[feature],
        };
        ShapeAndSign {
            loss,
            norm: norm_g,
            slip_norm,
            cosine_quotient: cosine(&gradient, &quotients),
            cosine_slip: cosine(&gradient, &slip),
            cosine_slip_theta: cosine(&self.theta, &slip),
            step,
            loss_along: along(&gradient, -step),
            loss_against: along(&gradient, step),
            loss_along_slip: along(&slip, -step),
            norm_at_zero: norm(&zero.gradient().1),
            slip_norm_at_zero: norm(&zero.slip(&self.signs)),
            elements: (0..n).map(element).collect(),
        }
    }
}

/// The problem with the first n features, over any number type.
struct LeadingFeatures<N> {
    samples: Vec<Vec<N>>,
    theta: Vec<N>,
    epsilon: f64,
}

impl<N: Number> LeadingFeatures<N> {
    fn new(logistic: &Logistic, n: usize) -> Self {
        let over = |numbers: &[f64]| numbers[..n].iter().map(|&x| N::of(x)).collect();
        let rows = logistic.samples.chunks_exact(logistic.theta.len());
        Self {
            samples: rows.map(over).collect(),
            theta: over(&logistic.theta),
            epsilon: logistic.epsilon,
        }
    }

    /// Computes z = X·θ.
    fn products(&self, theta: &[N]) -> Vec<N> {
        let product = |sample: &Vec<N>| sum(sample.iter().zip(theta).map(|(&x, &theta)| x * theta));
        self.samples.iter().map(product).collect()
    }

    fn loss(&self, theta: &[N]) -> N {
        total(&self.products(theta))
    }

    fn gradient(&self) -> (N, Vec<N>) {
        let (losses, weights): (Vec<N>, Vec<N>) =
            self.products(&self.theta).into_iter().map(pair).unzip();
        let partial = |j: usize| {
            let terms = self.samples.iter().zip(&weights);
            -sum(terms.map(|(sample, &weight)| weight * sample[j]))
        };
        let gradient = (0..self.theta.len()).map(partial).collect();
        (sum(losses), gradient)
    }

    /// Computes Σ residual·θ with the residuals y·σ(−y·x·θ), which is sometimes mistaken for the
    /// gradient.
    fn slip(&self, signs: &[N]) -> Vec<N> {
        let z = self.products(&self.theta);
        let residuals = z.into_iter().zip(signs).map(|(z, &y)| y * pair(z).1);
        let residual = sum(residuals);
        self.theta.iter().map(|&theta| residual * theta).collect()
    }

    fn full(&self) -> (N, Vec<N>) {
        let loss = self.loss(&self.theta);
        let mut theta = self.theta.clone();
        let partial = |j: usize| {
            theta[j] = self.theta[j] + N::of(self.epsilon);
            let change = self.loss(&theta) - loss;
            theta[j] = self.theta[j];
            change * N::of(1.0 / self.epsilon)
        };
        (loss, (0..self.theta.len()).map(partial).collect())
    }

    /// Computes the loss and central differences. None of the evaluations is f(θ); the last one is
    /// returned in its place.
    fn central(&self) -> (N, Vec<N>) {
        let mut theta = self.theta.clone();
        let mut last = N::of(f64::NAN);
        let mut partial = |j: usize| {
            theta[j] = self.theta[j] + N::of(self.epsilon);
            let above = self.loss(&theta);
            theta[j] = self.theta[j] - N::of(self.epsilon);
            last = self.loss(&theta);
            theta[j] = self.theta[j];
            (above - last) * N::of(0.5 / self.epsilon)
        };
        let gradient = (0..self.theta.len()).map(&mut partial).collect();
        (last, gradient)
    }

    /// Computes forward differences with z stored; `shift` computes ε·x.
    fn kept(&self, shift: impl Fn(N, N) -> N) -> (N, Vec<N>) {
        let z = self.products(&self.theta);
        let loss = total(&z);
        let h = N::of(self.epsilon);
        let partial = |j: usize| {
            let moved = z.iter().zip(&self.samples);
            let moved: Vec<N> = moved.map(|(&z, sample)| z + shift(h, sample[j])).collect();
            (total(&moved) - loss) * N::of(1.0 / self.epsilon)
        };
        (loss, (0..self.theta.len()).map(partial).collect())
    }

    fn kept_exponentials(&self) -> (N, Vec<N>) {
        let (losses, weights): (Vec<N>, Vec<N>) =
            self.products(&self.theta).into_iter().map(pair).unzip();
        let partial = |j: usize| {
            let changes = self.samples.iter().zip(&weights).map(|(sample, &weight)| {
                let tabulated = N::of((-(self.epsilon * sample[j].value())).exp_m1());
                (weight * tabulated).ln_1p()
            });
            sum(changes) * N::of(1.0 / self.epsilon)
        };
        let gradient = (0..self.theta.len()).map(partial).collect();
        (sum(losses), gradient)
    }
}

/// Computes Σ ln(1 + e^−z).
fn total<N: Number>(z: &[N]) -> N {
    sum(z.iter().map(|&z| softplus(-z)))
}

/// Computes ln(1 + e^−z) and σ(−z), which share an exponential.
fn pair<N: Number>(z: N) -> (N, N) {
    let one = N::of(1.0);
    let t = (-z.abs()).exp();
    let loss = (-z).max(N::of(0.0)) + t.ln_1p();
    let top = if z.value() > 0.0 { t } else { one };
    (loss, top / (one + t))
}

fn norm(vector: &[f64]) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Computes the cosine of the angle between two vectors; NaN if either is 0.
fn cosine(one: &[f64], other: &[f64]) -> f64 {
    let product: f64 = one.iter().zip(other).map(|(x, y)| x * y).sum();
    product / (norm(one) * norm(other))
}
