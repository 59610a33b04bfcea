//! Logistic regression with labels ±1: f(θ) = Σ ln(1 + e^(−y·x·θ)), where finite differences need
//! *fewer multiplications* than the gradient, and lose on exponentials and logarithms.
//!
//! m samples, n features; the label is folded into the sample, X = y·x `(m, n)`, so z = X·θ `(m,)`.
//! A change of θ_j by ε moves z by ε·X_j: the z of the current θ are kept, and one multiplication a
//! sample is all that a perturbed f costs, none if ε·X is tabulated. But every perturbed f has its own
//! m exponentials and logarithms, where the gradient has them once. Each formula stands beside its
//! closed form ([`LogisticMethod::predicted`]); both are counted alike.
//!
//! No bias, no l2: the loss of the discussion. Refused are labels of more or fewer than two classes.

use serde::Serialize;

use super::{Operations, check_increment};
use crate::data::{Dataset, Scaling};
use crate::textbook::counting::{Counted, Number, count, sum};
use crate::textbook::softplus;

/// Operations beyond which nothing is counted: some ten seconds.
const DEAR: u64 = 1_000_000_000;

/// The samples, and θ.
#[derive(Clone, Debug)]
pub struct Logistic {
    /// y·x, `(m, n)` row-major.
    samples: Vec<f64>,
    /// y, `(m,)`.
    signs: Vec<f64>,
    /// `(n,)`.
    theta: Vec<f64>,
    /// ε.
    epsilon: f64,
}

/// One way to the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogisticMethod {
    /// −Σ σ(−z)·X.
    Gradient,
    /// (f(θ + ε·e_j) − f(θ))/ε, n + 1 times f.
    Full,
    /// (f(θ + ε·e_j) − f(θ − ε·e_j))/2ε, 2n times f.
    Central,
    /// z is kept: f(θ + ε·e_j) is Σ ln(1 + e^−(z + ε·X_j)).
    KeptProducts,
    /// ε·X comes from a table as well.
    Tabulated,
    /// The change of each loss is ln(1 + σ(−z)·(e^(−ε·X_j) − 1)): σ(−z) is kept, e^(−ε·X) − 1 comes
    /// from a table. Nothing nearly equal is subtracted.
    TabulatedExponentials,
}

impl LogisticMethod {
    /// All, in the order of their discussion.
    pub const ALL: [Self; 6] = [
        Self::Gradient,
        Self::Full,
        Self::Central,
        Self::KeptProducts,
        Self::Tabulated,
        Self::TabulatedExponentials,
    ];

    /// What it is.
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

    /// What it performs with m samples of n features: loss and gradient.
    pub fn predicted(self, m: u64, n: u64) -> Operations {
        // z: n products. 1 +, exp, ln: the loss of a sample. m − 1 sums.
        let losses = m * n + m - 1;
        let (multiplications, additions, [exponentials, logarithms, divisions]) = match self {
            // σ(−z) has 1 + and a division more; each sample times it, and the sums.
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
            // z + εX, 1 +, m − 1 sums, − f(θ).
            Self::KeptProducts => (
                2 * m * n + n,
                losses + 3 * m * n,
                [(n + 1) * m, (n + 1) * m, 0],
            ),
            Self::Tabulated => (m * n + n, losses + 3 * m * n, [(n + 1) * m, (n + 1) * m, 0]),
            // ln(1 + x) is one logarithm.
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

/// One method with n features.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CountRow {
    /// n: the first so many.
    pub features: usize,
    /// What it is.
    pub method: &'static str,
    /// What it performed, f included.
    pub operations: Operations,
    /// Its multiplications over the gradient's.
    pub multiplications_ratio: f64,
    /// Its exponentials and logarithms over the gradient's.
    pub transcendentals_ratio: f64,
    /// ‖ĝ − g‖/‖g‖.
    pub relative_error: f64,
}

/// One element of the gradient, and what is taken for it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GradientElement {
    /// j, from 0.
    pub feature: usize,
    /// θ_j.
    pub theta: f64,
    /// −Σ y·σ(−y·x·θ)·x_j.
    pub gradient: f64,
    /// (f(θ + ε·e_j) − f(θ − ε·e_j))/2ε.
    pub quotient: f64,
    /// Σ y·σ(−y·x·θ)·θ_j: the slip.
    pub slip: f64,
}

/// The shape and the sign of the gradient, held to f itself.
#[derive(Clone, Debug, Serialize)]
pub struct ShapeAndSign {
    /// f(θ).
    pub loss: f64,
    /// ‖g‖.
    pub norm: f64,
    /// ‖slip‖.
    pub slip_norm: f64,
    /// Between g and the quotients.
    pub cosine_quotient: f64,
    /// Between g and the slip.
    pub cosine_slip: f64,
    /// Between θ and the slip: the slip is a multiple of θ, whatever the samples are.
    pub cosine_slip_theta: f64,
    /// Length of the steps that are tried.
    pub step: f64,
    /// f(θ − step·g/‖g‖): the gradient leads down.
    pub loss_along: f64,
    /// f(θ + step·g/‖g‖): the sign forgotten.
    pub loss_against: f64,
    /// f(θ − step·slip/‖slip‖).
    pub loss_along_slip: f64,
    /// ‖g‖ at θ = 0.
    pub norm_at_zero: f64,
    /// ‖slip‖ at θ = 0, which calls it a minimum, whatever the samples are.
    pub slip_norm_at_zero: f64,
    /// Element by element.
    pub elements: Vec<GradientElement>,
}

/// All that there is to say.
#[derive(Clone, Debug, Serialize)]
pub struct LogisticExplanation {
    /// m.
    pub rows: usize,
    /// n.
    pub features: usize,
    /// ε.
    pub epsilon: f64,
    /// Counts, by n and method.
    pub counts: Vec<CountRow>,
    /// Gradient against slip.
    pub form: ShapeAndSign,
}

impl Logistic {
    /// The first `rows` rows of `dataset`, scaled; of its two classes the second is y = +1.
    ///
    /// # Errors
    /// In words: labels that are not two classes, an increment of 0, more operations than can be
    /// counted in seconds.
    ///
    /// # Panics
    /// If `theta` does not hold one number a feature.
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
        let dear = LogisticMethod::Central.predicted(m, n).multiplications;
        if dear > DEAR {
            return Err(format!(
                "{m} rows of {n} features: central differences alone take {dear:.1e} multiplications, and at most {DEAR:.0e} are counted here",
                dear = dear as f64,
                DEAR = DEAR as f64
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

    /// Works the example out.
    pub fn explain(&self) -> LogisticExplanation {
        LogisticExplanation {
            rows: self.signs.len(),
            features: self.theta.len(),
            epsilon: self.epsilon,
            counts: self.subsets().flat_map(|n| self.counts(n)).collect(),
            form: self.form(),
        }
    }

    /// 1, 2, 5, 10, 20, 50 … features, and all of them.
    fn subsets(&self) -> impl Iterator<Item = usize> {
        let all = self.theta.len();
        let ladder = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_usize.pow(power)));
        ladder
            .take_while(move |&n| n < all)
            .chain(std::iter::once(all))
    }

    /// Every method with the first `n` features.
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

    /// f(θ) and its gradient by `method`, with the first `n` features.
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

/// The first n features, over any number.
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

    /// z = X·θ.
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

    /// Σ residual·θ: with residuals y·σ(−y·x·θ), what is sometimes taken for the gradient.
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

    /// f itself is none of the values.
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

    /// `shift` gives ε·x.
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

/// Σ ln(1 + e^−z).
fn total<N: Number>(z: &[N]) -> N {
    sum(z.iter().map(|&z| softplus(-z)))
}

/// ln(1 + e^−z) and σ(−z), which share an exponential.
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

/// NaN if either is 0.
fn cosine(one: &[f64], other: &[f64]) -> f64 {
    let product: f64 = one.iter().zip(other).map(|(x, y)| x * y).sum();
    product / (norm(one) * norm(other))
}
