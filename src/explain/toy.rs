//! The toy y = σ(a·x), z = b·y: both partial derivatives step by step, the operations of every
//! method, and the common mistakes.
//!
//! With u = e^(−ax): y = 1/(1 + u), z = b/(1 + u), and 1 − y = u·y without a subtraction. The
//! reader chooses a, b, x and the increment ε.

use serde::Serialize;

use super::{Operations, check_increment};
use crate::numeric::Real;
use crate::study::table::{Table, figure, rough};
use crate::textbook::counting::{Counted, Number, count};
use crate::textbook::sigmoid;

/// Largest exponent: e^±700 are normal numbers.
const LARGEST_EXPONENT: f64 = 700.0;

/// Smallest increment of the table, as a negative power of ten: 1 … 1e-8.
const DECADES: u32 = 8;

/// The numbers of the example.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Toy {
    /// The inner weight.
    pub a: f64,
    /// The outer weight.
    pub b: f64,
    /// The input.
    pub x: f64,
    /// The increment ε.
    pub epsilon: f64,
}

/// One line of a derivation.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DerivationStep {
    /// The computed quantity.
    pub symbol: &'static str,
    /// Its formula.
    pub formula: &'static str,
    /// Its value.
    pub value: f64,
}

impl DerivationStep {
    fn new(symbol: &'static str, formula: &'static str, value: f64) -> Self {
        Self {
            symbol,
            formula,
            value,
        }
    }
}

/// A method that computes both partial derivatives.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ToyMethod {
    /// Name of the method.
    pub name: &'static str,
    /// ∂z/∂a by this method.
    pub a: f64,
    /// ∂z/∂b by this method.
    pub b: f64,
    /// Absolute error of ∂z/∂a.
    pub error_a: f64,
    /// Absolute error of ∂z/∂b.
    pub error_b: f64,
    /// Operations performed, including those of z.
    pub operations: Operations,
}

/// Quotients at one increment: the true ones, and the one by the wrong rule σ(p + q) = σ(p) + σ(q).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ToyQuotients {
    /// The increment ε.
    pub epsilon: f64,
    /// (z(a + ε, b) − z)/ε.
    pub a: f64,
    /// Absolute error of `a` against ∂z/∂a.
    pub error_a: f64,
    /// (b·σ(ax) + b·σ(εx) − z)/ε, by the wrong rule.
    pub additive: f64,
    /// b/(2ε), the asymptote of `additive`.
    pub divergence: f64,
    /// (z(a, b + ε) − z)/ε.
    pub b: f64,
    /// Absolute error of `b` against ∂z/∂b.
    pub error_b: f64,
    /// Bound on `error_b` from rounding, the only source of error because z is linear in b.
    pub roundoff_b: f64,
}

/// z(a + ε, b) by three formulas.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PerturbedToy {
    /// b·σ((a + ε)·x).
    pub direct: f64,
    /// b/(1 + u·e^(−εx)), which reuses u.
    pub from_u: f64,
    /// z/(y + (1 − y)·e^(−εx)), which factors z out.
    pub from_z: f64,
    /// Bound on the difference of any two of them from rounding.
    pub roundoff: f64,
}

/// The complete worked example.
#[derive(Clone, Debug, Serialize)]
pub struct ToyExplanation {
    /// The reader's numbers.
    #[serde(flatten)]
    pub toy: Toy,
    /// The derivation from a, b and x to z.
    pub forward: Vec<DerivationStep>,
    /// The derivation from z back to both partial derivatives.
    pub backward: Vec<DerivationStep>,
    /// b·x·σ(ax)·(1 − a·σ(ax)), a common mistake for ∂z/∂a.
    pub slip: f64,
    /// Every method at ε.
    pub methods: Vec<ToyMethod>,
    /// Quotients at decreasing increments.
    pub quotients: Vec<ToyQuotients>,
    /// z(a + ε, b) by several formulas.
    pub perturbed: PerturbedToy,
    /// Whether a + ε or b + ε rounds to a or b in double precision, so that a quotient is 0.
    pub lost: bool,
}

impl ToyExplanation {
    /// Returns the table of methods at ε: operations, derivatives and errors.
    pub fn methods_table(&self) -> Table {
        let mut table = Table::new([
            "method",
            "multiplications",
            "additions",
            "exp",
            "divisions",
            "∂z/∂a",
            "its error",
            "∂z/∂b",
            "its error",
        ]);
        for method in &self.methods {
            let count = method.operations;
            table.row([
                method.name.to_owned(),
                count.multiplications.to_string(),
                count.additions.to_string(),
                count.exponentials.to_string(),
                count.divisions.to_string(),
                figure(method.a),
                rough(method.error_a),
                figure(method.b),
                rough(method.error_b),
            ]);
        }
        table
    }

    /// Returns the table of quotients at every increment.
    pub fn quotients_table(&self) -> Table {
        let mut table = Table::new([
            "ε",
            "in a",
            "its error",
            "if σ were additive",
            "b/(2ε)",
            "in b",
            "its error",
            "rounding allows",
        ]);
        for row in &self.quotients {
            table.row([
                format!("{:e}", row.epsilon),
                figure(row.a),
                rough(row.error_a),
                figure(row.additive),
                figure(row.divergence),
                figure(row.b),
                rough(row.error_b),
                rough(row.roundoff_b),
            ]);
        }
        table
    }
}

impl Toy {
    /// Creates the example with these numbers.
    ///
    /// # Errors
    /// Returns a message if a number is not finite, if ε = 0, if e^(±ax) or e^(±εx) is beyond
    /// e^700, or if a quotient overflows.
    pub fn new(a: f64, b: f64, x: f64, epsilon: f64) -> Result<Self, String> {
        for (name, value) in [("a", a), ("b", b), ("x", x)] {
            if !value.is_finite() {
                return Err(format!("{name} is {value}; allowed: any finite number"));
            }
        }
        check_increment(epsilon)?;
        for (name, exponent) in [("a·x", a * x), ("epsilon·x", epsilon * x)] {
            if exponent.abs() > LARGEST_EXPONENT {
                return Err(format!(
                    "{name} is {exponent:e}; allowed: from −{LARGEST_EXPONENT} to {LARGEST_EXPONENT}, where e^({name}) and its inverse are finite: take a smaller x"
                ));
            }
        }
        let largest = b.abs().max(epsilon.abs()) * x.abs().max(1.0) / epsilon.abs().min(1e-8);
        if !largest.is_finite() {
            return Err(format!(
                "with b = {b:e}, x = {x:e} and epsilon = {epsilon:e} the quotients overflow; allowed: numbers whose b·x/epsilon is at most {:e}",
                f64::MAX
            ));
        }
        Ok(Self { a, b, x, epsilon })
    }

    /// Computes the example.
    pub fn explain(&self) -> ToyExplanation {
        let epsilon = self.epsilon;
        ToyExplanation {
            toy: *self,
            forward: self.forward(),
            backward: self.backward(),
            slip: self.slip(),
            methods: self.methods(),
            quotients: self.increments().map(|h| self.quotients(h)).collect(),
            perturbed: self.perturbed(),
            lost: self.a + epsilon == self.a || self.b + epsilon == self.b,
        }
    }

    fn u(&self) -> f64 {
        (-(self.a * self.x)).exp()
    }

    fn y(&self) -> f64 {
        sigmoid(self.a * self.x)
    }

    fn z(&self) -> f64 {
        self.b * self.y()
    }

    /// Returns 1 − y, computed without a subtraction.
    fn one_minus_y(&self) -> f64 {
        self.u() * self.y()
    }

    /// Returns ∂z/∂a, computed without a subtraction.
    fn derivative_a(&self) -> f64 {
        self.z() * self.one_minus_y() * self.x
    }

    fn forward(&self) -> Vec<DerivationStep> {
        vec![
            DerivationStep::new("p", "a·x", self.a * self.x),
            DerivationStep::new("u", "e^(−p)", self.u()),
            DerivationStep::new("y", "σ(p) = 1/(1 + u)", self.y()),
            DerivationStep::new("z", "b·y", self.z()),
        ]
    }

    fn backward(&self) -> Vec<DerivationStep> {
        let slope = self.y() * self.one_minus_y();
        vec![
            DerivationStep::new("∂z/∂b", "y", self.y()),
            DerivationStep::new("∂z/∂y", "b", self.b),
            DerivationStep::new("∂y/∂p", "y·(1 − y)", slope),
            DerivationStep::new("∂p/∂a", "x", self.x),
            DerivationStep::new("∂z/∂a", "b · y·(1 − y) · x", self.b * slope * self.x),
            DerivationStep::new("", "z·(1 − y)·x: the same", self.derivative_a()),
        ]
    }

    fn slip(&self) -> f64 {
        let y = self.y();
        self.b * self.x * y * (1.0 - self.a * y)
    }

    fn methods(&self) -> Vec<ToyMethod> {
        let exact = (self.derivative_a(), self.y());
        let method = |name, formula: fn(&Self) -> (Counted, Counted)| {
            let ((a, b), tally) = count(|| formula(self));
            let (a, b) = (a.value(), b.value());
            ToyMethod {
                name,
                a,
                b,
                error_a: (a - exact.0).abs(),
                error_b: (b - exact.1).abs(),
                operations: tally.into(),
            }
        };
        vec![
            method("gradient", gradient),
            method("forward differences", forward_differences),
            method("central differences", central_differences),
            method("forward, u kept", differences_from_u),
            method("forward, e^(−εx) tabulated too", differences_from_table),
        ]
    }

    /// Returns decreasing increments: powers of ten, and ε.
    fn increments(&self) -> impl Iterator<Item = f64> {
        let decade = |power| format!("1e-{power}").parse().expect("a number");
        let mut all: Vec<f64> = (0..=DECADES).map(decade).collect();
        if !all.contains(&self.epsilon) {
            all.push(self.epsilon);
        }
        all.sort_by(|one, other| other.abs().total_cmp(&one.abs()));
        all.into_iter()
    }

    /// Computes the quotients at the increment `epsilon`.
    pub fn quotients(&self, epsilon: f64) -> ToyQuotients {
        let (b, x, z) = (self.b, self.x, self.z());
        let a = (value(self.a + epsilon, b, x) - z) / epsilon;
        let perturbed = value(self.a, b + epsilon, x);
        let quotient = (perturbed - z) / epsilon;
        // Each of b + ε, its product with y, z, the subtraction and the quotient is rounded once.
        let rounding = <f64 as Real>::UNIT_ROUNDOFF;
        let roundoff = 2.0 * perturbed.abs() + z.abs() + (perturbed - z).abs();
        ToyQuotients {
            epsilon,
            a,
            error_a: (a - self.derivative_a()).abs(),
            additive: (z + b * sigmoid(epsilon * x) - z) / epsilon,
            divergence: b / (2.0 * epsilon),
            b: quotient,
            error_b: (quotient - self.y()).abs(),
            roundoff_b: rounding * (roundoff / epsilon.abs() + quotient.abs()),
        }
    }

    fn perturbed(&self) -> PerturbedToy {
        let factor = (-(self.epsilon * self.x)).exp();
        let direct = value(self.a + self.epsilon, self.b, self.x);
        // Each formula rounds at most twice in an exponent of at most |ax| + |εx|, whose absolute
        // error is a relative error of z, and at most eight times elsewhere.
        let exponent = (self.a * self.x).abs() + (self.epsilon * self.x).abs();
        PerturbedToy {
            direct,
            from_u: self.b / (1.0 + self.u() * factor),
            from_z: self.z() / (self.y() + self.one_minus_y() * factor),
            roundoff: <f64 as Real>::UNIT_ROUNDOFF * (4.0 * exponent + 16.0) * direct.abs(),
        }
    }
}

/// Computes z.
fn value<N: Number>(a: N, b: N, x: N) -> N {
    b * sigmoid(a * x)
}

fn arguments<N: Number>(toy: &Toy) -> (N, N, N) {
    (N::of(toy.a), N::of(toy.b), N::of(toy.x))
}

/// Computes ∂z/∂a = z(1 − y)x and ∂z/∂b = y; this includes z.
fn gradient<N: Number>(toy: &Toy) -> (N, N) {
    let (a, b, x) = arguments::<N>(toy);
    let y = sigmoid(a * x);
    let z = b * y;
    (z * (N::of(1.0) - y) * x, y)
}

/// Computes forward differences, from three values of z.
fn forward_differences<N: Number>(toy: &Toy) -> (N, N) {
    let (a, b, x) = arguments::<N>(toy);
    let (h, inverse) = (N::of(toy.epsilon), N::of(1.0 / toy.epsilon));
    let z: N = value(a, b, x);
    (
        (value(a + h, b, x) - z) * inverse,
        (value(a, b + h, x) - z) * inverse,
    )
}

/// Computes central differences, from four values of z, none of which is z itself.
fn central_differences<N: Number>(toy: &Toy) -> (N, N) {
    let (a, b, x) = arguments::<N>(toy);
    let (h, inverse) = (N::of(toy.epsilon), N::of(0.5 / toy.epsilon));
    (
        (value(a + h, b, x) - value(a - h, b, x)) * inverse,
        (value(a, b + h, x) - value(a, b - h, x)) * inverse,
    )
}

/// Computes forward differences with z(a + ε) = b/(1 + u·e^(−εx)); the difference in b is ε·y, so
/// its quotient is y.
fn differences_from_u<N: Number>(toy: &Toy) -> (N, N) {
    differences_by(toy, |h: N, x: N| (-(h * x)).exp())
}

/// Computes the same differences with e^(−εx) from a table, which is computed once for many a.
fn differences_from_table<N: Number>(toy: &Toy) -> (N, N) {
    let tabulated = N::of((-(toy.epsilon * toy.x)).exp());
    differences_by(toy, |_, _| tabulated)
}

fn differences_by<N: Number>(toy: &Toy, factor: impl Fn(N, N) -> N) -> (N, N) {
    let (a, b, x) = arguments::<N>(toy);
    let one = N::of(1.0);
    let u = (-(a * x)).exp();
    let y = one / (one + u);
    let z = b * y;
    let perturbed = b / (one + u * factor(N::of(toy.epsilon), x));
    ((perturbed - z) * N::of(1.0 / toy.epsilon), y)
}
