//! Standard test functions of optimization, over any number type: Moré, Garbow and Hillstrom,
//! "Testing unconstrained optimization software", ACM TOMS 7 (1981); numbers in parentheses are
//! theirs. Each is a sum of squares of residuals. Over dual numbers they give exact gradients.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// A number that the functions compute with.
pub trait Number:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    fn of(number: f64) -> Self;
    fn exp(self) -> Self;
    fn ln(self) -> Self;
    fn sin(self) -> Self;
    fn cos(self) -> Self;
    fn atan(self) -> Self;
    fn sqrt(self) -> Self;
    fn value(self) -> f64;
}

macro_rules! plain_number {
    ($type:ty) => {
        impl Number for $type {
            fn of(number: f64) -> Self {
                number as $type
            }
            fn exp(self) -> Self {
                <$type>::exp(self)
            }
            fn ln(self) -> Self {
                <$type>::ln(self)
            }
            fn sin(self) -> Self {
                <$type>::sin(self)
            }
            fn cos(self) -> Self {
                <$type>::cos(self)
            }
            fn atan(self) -> Self {
                <$type>::atan(self)
            }
            fn sqrt(self) -> Self {
                <$type>::sqrt(self)
            }
            fn value(self) -> f64 {
                f64::from(self)
            }
        }
    };
}

plain_number!(f32);
plain_number!(f64);

/// A number and its derivative with respect to one parameter.
#[derive(Clone, Copy, Debug)]
pub struct Slope(pub f64, pub f64);

impl Add for Slope {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0, self.1 + other.1)
    }
}
impl Sub for Slope {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0, self.1 - other.1)
    }
}
impl Mul for Slope {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0, self.1 * other.0 + self.0 * other.1)
    }
}
impl Div for Slope {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let quotient = self.0 / other.0;
        Self(quotient, (self.1 - quotient * other.1) / other.0)
    }
}
impl Neg for Slope {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0, -self.1)
    }
}
impl Number for Slope {
    fn of(number: f64) -> Self {
        Self(number, 0.0)
    }
    fn exp(self) -> Self {
        Self(self.0.exp(), self.1 * self.0.exp())
    }
    fn ln(self) -> Self {
        Self(self.0.ln(), self.1 / self.0)
    }
    fn sin(self) -> Self {
        Self(self.0.sin(), self.1 * self.0.cos())
    }
    fn cos(self) -> Self {
        Self(self.0.cos(), -self.1 * self.0.sin())
    }
    fn atan(self) -> Self {
        Self(self.0.atan(), self.1 / (1.0 + self.0 * self.0))
    }
    fn sqrt(self) -> Self {
        Self(self.0.sqrt(), self.1 / (2.0 * self.0.sqrt()))
    }
    fn value(self) -> f64 {
        self.0
    }
}

/// A function with the point from which minimizations start.
pub struct StandardFunction {
    pub name: &'static str,
    pub start: Vec<f64>,
    single: fn(&[f32]) -> Vec<f32>,
    double: fn(&[f64]) -> Vec<f64>,
    slopes: fn(&[Slope]) -> Vec<Slope>,
}

impl StandardFunction {
    /// Returns the residuals at `x`.
    pub fn residuals(&self, x: &[f64]) -> Vec<f64> {
        (self.double)(x)
    }

    /// Returns the function of `parameters` numbers; only for those that scale.
    pub fn of_size(mut self, parameters: usize) -> Self {
        let start = self.start.iter().copied().cycle();
        self.start = start.take(parameters).collect();
        self
    }

    /// Returns the value in double precision.
    pub fn value(&self, x: &[f64]) -> f64 {
        (self.double)(x).iter().map(|r| r * r).sum()
    }

    /// Returns the value computed in single precision.
    pub fn single_value(&self, x: &[f64]) -> f64 {
        let x: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        f64::from((self.single)(&x).iter().map(|r| r * r).sum::<f32>())
    }

    /// Returns the exact gradient.
    pub fn gradient(&self, x: &[f64]) -> Vec<f64> {
        (0..x.len())
            .map(|k| {
                let along = |(i, &x): (usize, &f64)| Slope(x, if i == k { 1.0 } else { 0.0 });
                let x: Vec<Slope> = x.iter().enumerate().map(along).collect();
                (self.slopes)(&x).iter().map(|r| 2.0 * r.0 * r.1).sum()
            })
            .collect()
    }
}

macro_rules! functions {
    ($($function:ident $start:expr;)*) => {
        /// All functions.
        pub fn standard_functions() -> Vec<StandardFunction> {
            vec![$(StandardFunction {
                name: stringify!($function),
                start: $start.to_vec(),
                single: $function::<f32>,
                double: $function::<f64>,
                slopes: $function::<Slope>,
            }),*]
        }
    };
}

functions! {
    rosenbrock [-1.2, 1.0];
    freudenstein_roth [0.5, -2.0];
    powell_badly_scaled [0.1, 1.0];
    brown_badly_scaled [1.0, 1.0];
    beale [1.0, 1.0];
    jennrich_sampson [0.3, 0.4];
    helical_valley [-1.0, 0.1, 0.1];
    bard [1.0, 1.0, 1.0];
    gaussian [0.4, 1.0, 0.1];
    meyer [0.02, 4000.0, 250.0];
    box_three [0.1, 10.0, 20.0];
    powell_singular [3.0, -1.0, 0.1, 1.0];
    wood [-3.0, -1.0, -3.0, -1.0];
    kowalik_osborne [0.25, 0.39, 0.415, 0.39];
    brown_dennis [25.0, 5.0, -5.0, -1.0];
    osborne_one [0.5, 1.5, -1.0, 0.01, 0.02];
    biggs [1.0, 2.0, 1.0, 1.1, 1.2, 1.3];
    watson [0.1, -0.2, 0.3, 0.1, 0.2, -0.1];
    extended_rosenbrock [-1.2, 1.0, -1.2, 1.0, -1.2, 1.0, -1.2, 1.0];
    extended_powell [3.0, -1.0, 0.1, 1.0, 3.0, -1.0, 0.1, 1.0];
    penalty_one [1.0, 2.0, 3.0, 4.0, 5.0];
    penalty_two [0.5, 0.6, 0.4, 0.7, 0.5];
    variably_dimensioned [0.8, 0.6, 0.4, 0.2, 0.1];
    trigonometric [0.2, 0.21, 0.19, 0.22, 0.2, 0.23];
    brown_almost_linear [0.5, 0.6, 0.4, 0.5, 0.7];
    discrete_boundary [-0.1, -0.15, -0.2, -0.15, -0.1, -0.05];
    discrete_integral [-0.1, -0.15, -0.2, -0.15, -0.1, -0.05];
    broyden_tridiagonal [-1.0; 9];
    broyden_banded [-1.0; 9];
    linear_full_rank [1.0; 7];
    chebyquad [0.15, 0.3, 0.45, 0.6, 0.75, 0.9];
}

fn n<T: Number>(number: f64) -> T {
    T::of(number)
}

fn sum<T: Number>(terms: impl Iterator<Item = T>) -> T {
    terms.fold(n(0.0), |sum, term| sum + term)
}

/// (1)
pub fn rosenbrock<T: Number>(x: &[T]) -> Vec<T> {
    vec![n::<T>(10.0) * (x[1] - x[0] * x[0]), n::<T>(1.0) - x[0]]
}

/// (2)
fn freudenstein_roth<T: Number>(x: &[T]) -> Vec<T> {
    let y = x[1];
    vec![
        n::<T>(-13.0) + x[0] + ((n::<T>(5.0) - y) * y - n(2.0)) * y,
        n::<T>(-29.0) + x[0] + ((y + n(1.0)) * y - n(14.0)) * y,
    ]
}

/// (3)
fn powell_badly_scaled<T: Number>(x: &[T]) -> Vec<T> {
    vec![
        n::<T>(1e4) * x[0] * x[1] - n(1.0),
        (-x[0]).exp() + (-x[1]).exp() - n(1.0001),
    ]
}

/// (4)
fn brown_badly_scaled<T: Number>(x: &[T]) -> Vec<T> {
    vec![x[0] - n(1e6), x[1] - n(2e-6), x[0] * x[1] - n(2.0)]
}

/// (5)
fn beale<T: Number>(x: &[T]) -> Vec<T> {
    let mut power = n::<T>(1.0);
    let mut residual = |y: f64| {
        power = power * x[1];
        n::<T>(y) - x[0] * (n::<T>(1.0) - power)
    };
    vec![residual(1.5), residual(2.25), residual(2.625)]
}

/// (6)
fn jennrich_sampson<T: Number>(x: &[T]) -> Vec<T> {
    let residual = |i: i32| {
        let i = f64::from(i);
        n::<T>(2.0 + 2.0 * i) - ((n::<T>(i) * x[0]).exp() + (n::<T>(i) * x[1]).exp())
    };
    (1..=10).map(residual).collect()
}

/// (7)
fn helical_valley<T: Number>(x: &[T]) -> Vec<T> {
    let shift = if x[0].value() < 0.0 { 0.5 } else { 0.0 };
    let turn = (x[1] / x[0]).atan() * n(0.5 / std::f64::consts::PI) + n(shift);
    vec![
        n::<T>(10.0) * (x[2] - n::<T>(10.0) * turn),
        n::<T>(10.0) * ((x[0] * x[0] + x[1] * x[1]).sqrt() - n(1.0)),
        x[2],
    ]
}

/// (8)
fn bard<T: Number>(x: &[T]) -> Vec<T> {
    let y = [
        0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39,
    ];
    let residual = |(i, y): (usize, &f64)| {
        let (u, v) = (i as f64 + 1.0, 15.0 - i as f64);
        n::<T>(*y) - (x[0] + n::<T>(u) / (n::<T>(v) * x[1] + n::<T>(u.min(v)) * x[2]))
    };
    y.iter().enumerate().map(residual).collect()
}

/// (9)
fn gaussian<T: Number>(x: &[T]) -> Vec<T> {
    let half = [
        0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989,
    ];
    let residual = |i: usize| {
        let t = n::<T>((8.0 - (i as f64 + 1.0)) / 2.0) - x[2];
        x[0] * (-x[1] * t * t * n(0.5)).exp() - n(half[i.min(14 - i)])
    };
    (0..15).map(residual).collect()
}

/// (10)
fn meyer<T: Number>(x: &[T]) -> Vec<T> {
    let y = [
        34780.0, 28610.0, 23650.0, 19630.0, 16370.0, 13720.0, 11540.0, 9744.0, 8261.0, 7030.0,
        6005.0, 5147.0, 4427.0, 3820.0, 3307.0, 2872.0,
    ];
    let residual = |(i, y): (usize, &f64)| {
        let t = 45.0 + 5.0 * (i as f64 + 1.0);
        x[0] * (x[1] / (n::<T>(t) + x[2])).exp() - n(*y)
    };
    y.iter().enumerate().map(residual).collect()
}

/// (12)
fn box_three<T: Number>(x: &[T]) -> Vec<T> {
    let residual = |i: i32| {
        let t = 0.1 * f64::from(i);
        (-x[0] * n(t)).exp() - (-x[1] * n(t)).exp() - x[2] * n((-t).exp() - (-10.0 * t).exp())
    };
    (1..=10).map(residual).collect()
}

/// (13)
fn powell_singular<T: Number>(x: &[T]) -> Vec<T> {
    let (a, b) = (x[1] - n::<T>(2.0) * x[2], x[0] - x[3]);
    vec![
        x[0] + n::<T>(10.0) * x[1],
        n::<T>(5f64.sqrt()) * (x[2] - x[3]),
        a * a,
        n::<T>(10f64.sqrt()) * b * b,
    ]
}

/// (14)
fn wood<T: Number>(x: &[T]) -> Vec<T> {
    vec![
        n::<T>(10.0) * (x[1] - x[0] * x[0]),
        n::<T>(1.0) - x[0],
        n::<T>(90f64.sqrt()) * (x[3] - x[2] * x[2]),
        n::<T>(1.0) - x[2],
        n::<T>(10f64.sqrt()) * (x[1] + x[3] - n(2.0)),
        (x[1] - x[3]) / n(10f64.sqrt()),
    ]
}

/// (15)
fn kowalik_osborne<T: Number>(x: &[T]) -> Vec<T> {
    let data = [
        (0.1957, 4.0),
        (0.1947, 2.0),
        (0.1735, 1.0),
        (0.1600, 0.5),
        (0.0844, 0.25),
        (0.0627, 0.167),
        (0.0456, 0.125),
        (0.0342, 0.1),
        (0.0323, 0.0833),
        (0.0235, 0.0714),
        (0.0246, 0.0625),
    ];
    let residual = |(y, u): &(f64, f64)| {
        let above = x[0] * (n::<T>(u * u) + x[1] * n(*u));
        n::<T>(*y) - above / (n::<T>(u * u) + x[2] * n(*u) + x[3])
    };
    data.iter().map(residual).collect()
}

/// (16)
fn brown_dennis<T: Number>(x: &[T]) -> Vec<T> {
    let residual = |i: i32| {
        let t = f64::from(i) / 5.0;
        let (a, b) = (
            x[0] + x[1] * n(t) - n(t.exp()),
            x[2] + x[3] * n(t.sin()) - n(t.cos()),
        );
        a * a + b * b
    };
    (1..=20).map(residual).collect()
}

/// (17)
fn osborne_one<T: Number>(x: &[T]) -> Vec<T> {
    let y = [
        0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751, 0.718, 0.685,
        0.658, 0.628, 0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490, 0.478, 0.467, 0.457, 0.448,
        0.438, 0.431, 0.424, 0.420, 0.414, 0.411, 0.406,
    ];
    let residual = |(i, y): (usize, &f64)| {
        let t = 10.0 * i as f64;
        n::<T>(*y) - (x[0] + x[1] * (-x[3] * n(t)).exp() + x[2] * (-x[4] * n(t)).exp())
    };
    y.iter().enumerate().map(residual).collect()
}

/// (18)
fn biggs<T: Number>(x: &[T]) -> Vec<T> {
    let residual = |i: i32| {
        let t = 0.1 * f64::from(i);
        let y = (-t).exp() - 5.0 * (-10.0 * t).exp() + 3.0 * (-4.0 * t).exp();
        let decay = |rate: T| (-rate * n(t)).exp();
        x[2] * decay(x[0]) - x[3] * decay(x[1]) + x[5] * decay(x[4]) - n(y)
    };
    (1..=13).map(residual).collect()
}

/// (20)
fn watson<T: Number>(x: &[T]) -> Vec<T> {
    let residual = |i: i32| {
        let t = f64::from(i) / 29.0;
        let slope = sum((1..x.len()).map(|j| x[j] * n(j as f64 * t.powi(j as i32 - 1))));
        let value = sum((0..x.len()).map(|j| x[j] * n(t.powi(j as i32))));
        slope - value * value - n(1.0)
    };
    let mut residuals: Vec<T> = (1..=29).map(residual).collect();
    residuals.extend([x[0], x[1] - x[0] * x[0] - n(1.0)]);
    residuals
}

/// (21)
pub fn extended_rosenbrock<T: Number>(x: &[T]) -> Vec<T> {
    x.chunks_exact(2).flat_map(rosenbrock).collect()
}

/// (22)
fn extended_powell<T: Number>(x: &[T]) -> Vec<T> {
    x.chunks_exact(4).flat_map(powell_singular).collect()
}

/// (23)
fn penalty_one<T: Number>(x: &[T]) -> Vec<T> {
    let scale = n::<T>(1e-5f64.sqrt());
    let mut residuals: Vec<T> = x.iter().map(|&x| scale * (x - n(1.0))).collect();
    residuals.push(sum(x.iter().map(|&x| x * x)) - n(0.25));
    residuals
}

/// (24)
fn penalty_two<T: Number>(x: &[T]) -> Vec<T> {
    let scale = n::<T>(1e-5f64.sqrt());
    let tenth = |x: T| (x * n(0.1)).exp();
    let mut residuals = vec![x[0] - n(0.2)];
    for i in 1..x.len() {
        let y = (0.1 * (i as f64 + 1.0)).exp() + (0.1 * i as f64).exp();
        residuals.push(scale * (tenth(x[i]) + tenth(x[i - 1]) - n(y)));
        residuals.push(scale * (tenth(x[i]) - n((-0.1f64).exp())));
    }
    let weights = (0..x.len()).map(|i| x[i] * x[i] * n((x.len() - i) as f64));
    residuals.push(sum(weights) - n(1.0));
    residuals
}

/// (25)
fn variably_dimensioned<T: Number>(x: &[T]) -> Vec<T> {
    let mut residuals: Vec<T> = x.iter().map(|&x| x - n(1.0)).collect();
    let total = sum((0..x.len()).map(|i| (x[i] - n(1.0)) * n(i as f64 + 1.0)));
    residuals.extend([total, total * total]);
    residuals
}

/// (26)
fn trigonometric<T: Number>(x: &[T]) -> Vec<T> {
    let cosines = sum(x.iter().map(|x| x.cos()));
    let count = x.len() as f64;
    let residual = |(i, x): (usize, &T)| {
        n::<T>(count) - cosines + n::<T>(i as f64 + 1.0) * (n::<T>(1.0) - x.cos()) - x.sin()
    };
    x.iter().enumerate().map(residual).collect()
}

/// (27)
fn brown_almost_linear<T: Number>(x: &[T]) -> Vec<T> {
    let total = sum(x.iter().copied());
    let product = x.iter().fold(n::<T>(1.0), |product, &x| product * x);
    let last = x.len() - 1;
    let mut residuals: Vec<T> = x[..last]
        .iter()
        .map(|&x| x + total - n(last as f64 + 2.0))
        .collect();
    residuals.push(product - n(1.0));
    residuals
}

/// (28)
fn discrete_boundary<T: Number>(x: &[T]) -> Vec<T> {
    let h = 1.0 / (x.len() as f64 + 1.0);
    let at = |i: usize| x.get(i).copied().unwrap_or(n(0.0));
    let residual = |i: usize| {
        let bend = x[i] + n(h * (i as f64 + 1.0) + 1.0);
        n::<T>(2.0) * x[i] - at(i.wrapping_sub(1)) - at(i + 1)
            + n::<T>(h * h / 2.0) * bend * bend * bend
    };
    (0..x.len()).map(residual).collect()
}

/// (29)
fn discrete_integral<T: Number>(x: &[T]) -> Vec<T> {
    let h = 1.0 / (x.len() as f64 + 1.0);
    let t = |i: usize| h * (i as f64 + 1.0);
    let cube = |j: usize| {
        let bend = x[j] + n(t(j) + 1.0);
        bend * bend * bend
    };
    let residual = |i: usize| {
        let below = sum((0..=i).map(|j| cube(j) * n(t(j))));
        let above = sum((i + 1..x.len()).map(|j| cube(j) * n(1.0 - t(j))));
        x[i] + n::<T>(h / 2.0) * (n::<T>(1.0 - t(i)) * below + n::<T>(t(i)) * above)
    };
    (0..x.len()).map(residual).collect()
}

/// (30)
pub fn broyden_tridiagonal<T: Number>(x: &[T]) -> Vec<T> {
    let at = |i: usize| x.get(i).copied().unwrap_or(n(0.0));
    let residual = |i: usize| {
        (n::<T>(3.0) - n::<T>(2.0) * x[i]) * x[i] - at(i.wrapping_sub(1)) - n::<T>(2.0) * at(i + 1)
            + n(1.0)
    };
    (0..x.len()).map(residual).collect()
}

/// (31)
fn broyden_banded<T: Number>(x: &[T]) -> Vec<T> {
    let residual = |i: usize| {
        let near = (i.saturating_sub(5)..=(i + 1).min(x.len() - 1)).filter(|&j| j != i);
        x[i] * (n::<T>(2.0) + n::<T>(5.0) * x[i] * x[i]) + n(1.0)
            - sum(near.map(|j| x[j] * (n::<T>(1.0) + x[j])))
    };
    (0..x.len()).map(residual).collect()
}

/// (32)
fn linear_full_rank<T: Number>(x: &[T]) -> Vec<T> {
    let mean = sum(x.iter().copied()) * n(2.0 / 10.0);
    let residual = |i: usize| x.get(i).map_or(-mean - n(1.0), |&x| x - mean - n(1.0));
    (0..10).map(residual).collect()
}

/// (35)
fn chebyquad<T: Number>(x: &[T]) -> Vec<T> {
    let residual = |i: usize| {
        let chebyshev = |x: T| {
            let y = n::<T>(2.0) * x - n(1.0);
            let (mut before, mut now) = (n::<T>(1.0), y);
            for _ in 1..i {
                (before, now) = (now, n::<T>(2.0) * y * now - before);
            }
            now
        };
        let integral = if i.is_multiple_of(2) {
            -1.0 / ((i * i) as f64 - 1.0)
        } else {
            0.0
        };
        sum(x.iter().map(|&x| chebyshev(x))) * n(1.0 / x.len() as f64) - n(integral)
    };
    (1..=x.len()).map(residual).collect()
}
