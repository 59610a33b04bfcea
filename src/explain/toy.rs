//! y = σ(a·x), z = b·y: both gradients step by step, every method's operations, and the slips that are
//! made with it.
//!
//! u = e^(−ax), so y = 1/(1 + u) and z = b/(1 + u); 1 − y is u·y, without a subtraction. With the
//! reader's a, b, x and an increment ε.

use serde::Serialize;

use super::{Operations, check_increment};
use crate::numeric::Real;
use crate::study::table::{Table, figure, rough};
use crate::textbook::counting::{Counted, Number, count};
use crate::textbook::sigmoid;

/// e^±700 is a normal number.
const LARGEST_EXPONENT: f64 = 700.0;

/// Increments of the row: 1 … 1e-8.
const DECADES: u32 = 8;

/// The example.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Toy {
    /// The inner weight.
    pub a: f64,
    /// The outer weight.
    pub b: f64,
    /// The input.
    pub x: f64,
    /// ε.
    pub epsilon: f64,
}

/// One line of a derivation.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DerivationStep {
    /// What is computed.
    pub symbol: &'static str,
    /// From what.
    pub formula: &'static str,
    /// What it comes to.
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

/// One way to both partial derivatives.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ToyMethod {
    /// What it is.
    pub name: &'static str,
    /// ∂z/∂a, as it found it.
    pub a: f64,
    /// ∂z/∂b, as it found it.
    pub b: f64,
    /// |error| of ∂z/∂a.
    pub error_a: f64,
    /// |error| of ∂z/∂b.
    pub error_b: f64,
    /// What it performed, z included.
    pub operations: Operations,
}

/// Quotients at one increment: true ones, and what the wrong rule σ(p + q) = σ(p) + σ(q) makes of it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ToyQuotients {
    /// ε.
    pub epsilon: f64,
    /// (z(a + ε, b) − z)/ε.
    pub a: f64,
    /// Its distance from ∂z/∂a.
    pub error_a: f64,
    /// (b·σ(ax) + b·σ(εx) − z)/ε, by the wrong rule.
    pub additive: f64,
    /// b/(2ε), which that tends to.
    pub divergence: f64,
    /// (z(a, b + ε) − z)/ε.
    pub b: f64,
    /// Its distance from ∂z/∂b.
    pub error_b: f64,
    /// The most that rounding can make of it: z is linear in b, so nothing else can.
    pub roundoff_b: f64,
}

/// z(a + ε, b) in three ways.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PerturbedToy {
    /// b·σ((a + ε)·x).
    pub direct: f64,
    /// b/(1 + u·e^(−εx)): u is kept.
    pub from_u: f64,
    /// z/(y + (1 − y)·e^(−εx)): z is taken out.
    pub from_z: f64,
    /// The most that rounding can set them apart.
    pub roundoff: f64,
}

/// All that there is to say.
#[derive(Clone, Debug, Serialize)]
pub struct ToyExplanation {
    /// The reader's numbers.
    #[serde(flatten)]
    pub toy: Toy,
    /// From a, b and x to z.
    pub forward: Vec<DerivationStep>,
    /// From z back to both partial derivatives.
    pub backward: Vec<DerivationStep>,
    /// b·x·σ(ax)·(1 − a·σ(ax)): the slip that is made in ∂z/∂a.
    pub slip: f64,
    /// Every method, at ε.
    pub methods: Vec<ToyMethod>,
    /// A row of increments, falling.
    pub quotients: Vec<ToyQuotients>,
    /// z(a + ε, b).
    pub perturbed: PerturbedToy,
    /// Whether a + ε or b + ε is a or b itself in double precision, so that a quotient is 0.
    pub lost: bool,
}

impl ToyExplanation {
    /// Every method at ε: its operations, then what it found.
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

    /// The quotients at every increment.
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
    /// The example with these numbers.
    ///
    /// # Errors
    /// In words: a number that is not finite, ε = 0, exponents e^(±ax) or e^(±εx) beyond e^700,
    /// quotients that overflow.
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
                "with b = {b:e}, x = {x:e} and epsilon = {epsilon:e} quotients are no finite numbers; allowed: numbers whose b·x/epsilon is at most {:e}",
                f64::MAX
            ));
        }
        Ok(Self { a, b, x, epsilon })
    }

    /// Works the example out.
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

    /// 1 − y, without a subtraction.
    fn complement(&self) -> f64 {
        self.u() * self.y()
    }

    /// ∂z/∂a, with nothing subtracted.
    fn derivative_a(&self) -> f64 {
        self.z() * self.complement() * self.x
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
        let slope = self.y() * self.complement();
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
        let of = |name, formula: fn(&Self) -> (Counted, Counted)| {
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
            of("gradient", gradient),
            of("forward differences", forward_differences),
            of("central differences", central_differences),
            of("forward, u kept", differences_from_u),
            of("forward, e^(−εx) tabulated too", differences_from_table),
        ]
    }

    /// Falling increments: decades, and ε among them.
    fn increments(&self) -> impl Iterator<Item = f64> {
        let decade = |power| format!("1e-{power}").parse().expect("a number");
        let mut all: Vec<f64> = (0..=DECADES).map(decade).collect();
        if !all.contains(&self.epsilon) {
            all.push(self.epsilon);
        }
        all.sort_by(|one, other| other.abs().total_cmp(&one.abs()));
        all.into_iter()
    }

    /// The quotients at the increment `epsilon`.
    pub fn quotients(&self, epsilon: f64) -> ToyQuotients {
        let (b, x, z) = (self.b, self.x, self.z());
        let a = (value(self.a + epsilon, b, x) - z) / epsilon;
        let moved = value(self.a, b + epsilon, x);
        let quotient = (moved - z) / epsilon;
        // Rounded are b + ε and the product with y, z, the subtraction, the quotient: once each.
        let rounding = <f64 as Real>::UNIT_ROUNDOFF;
        let roundoff = 2.0 * moved.abs() + z.abs() + (moved - z).abs();
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
        let tail = (-(self.epsilon * self.x)).exp();
        let direct = value(self.a + self.epsilon, self.b, self.x);
        // Each form rounds at most twice in an exponent of |ax| + |εx| at most, whose error is one of z
        // relative to its size, and at most eight times outside.
        let exponent = (self.a * self.x).abs() + (self.epsilon * self.x).abs();
        PerturbedToy {
            direct,
            from_u: self.b / (1.0 + self.u() * tail),
            from_z: self.z() / (self.y() + self.complement() * tail),
            roundoff: <f64 as Real>::UNIT_ROUNDOFF * (4.0 * exponent + 16.0) * direct.abs(),
        }
    }
}

/// z.
fn value<N: Number>(a: N, b: N, x: N) -> N {
    b * sigmoid(a * x)
}

fn over<N: Number>(toy: &Toy) -> (N, N, N) {
    (N::of(toy.a), N::of(toy.b), N::of(toy.x))
}

/// z(1 − y)x and y; z is computed by the way.
fn gradient<N: Number>(toy: &Toy) -> (N, N) {
    let (a, b, x) = over::<N>(toy);
    let y = sigmoid(a * x);
    let z = b * y;
    (z * (N::of(1.0) - y) * x, y)
}

/// Three values of z.
fn forward_differences<N: Number>(toy: &Toy) -> (N, N) {
    let (a, b, x) = over::<N>(toy);
    let (h, inverse) = (N::of(toy.epsilon), N::of(1.0 / toy.epsilon));
    let z: N = value(a, b, x);
    (
        (value(a + h, b, x) - z) * inverse,
        (value(a, b + h, x) - z) * inverse,
    )
}

/// Four values of z, and z itself is none of them.
fn central_differences<N: Number>(toy: &Toy) -> (N, N) {
    let (a, b, x) = over::<N>(toy);
    let (h, inverse) = (N::of(toy.epsilon), N::of(0.5 / toy.epsilon));
    (
        (value(a + h, b, x) - value(a - h, b, x)) * inverse,
        (value(a, b + h, x) - value(a, b - h, x)) * inverse,
    )
}

/// z(a + ε) is b/(1 + u·e^(−εx)); the difference in b is ε·y, so its quotient is y.
fn differences_from_u<N: Number>(toy: &Toy) -> (N, N) {
    differences_by(toy, |h: N, x: N| (-(h * x)).exp())
}

/// The same, with e^(−εx) from a table that is made once for many a.
fn differences_from_table<N: Number>(toy: &Toy) -> (N, N) {
    let tabulated = N::of((-(toy.epsilon * toy.x)).exp());
    differences_by(toy, |_, _| tabulated)
}

fn differences_by<N: Number>(toy: &Toy, tail: impl Fn(N, N) -> N) -> (N, N) {
    let (a, b, x) = over::<N>(toy);
    let one = N::of(1.0);
    let u = (-(a * x)).exp();
    let y = one / (one + u);
    let z = b * y;
    let moved = b / (one + u * tail(N::of(toy.epsilon), x));
    ((moved - z) * N::of(1.0 / toy.epsilon), y)
}
