//! Elementary functions with the same bits on every machine and for every vector width.
//!
//! [`sigmoid_pair`] computes y = σ(z) and ȳ = 1 − y, both without a subtraction: with t = e^−|z|
//! and r = 1/(1 + t), the two values are r and t·r. So σ′ = y·ȳ keeps its relative precision where
//! y(1 − y) loses it (relative error 9e-3 at z = 12 in `f32`).

use super::Vector;
use crate::numeric::Real;

/// Computes e^x for −[`Real::SIGMOID_CLAMP`] ≤ x ≤ 0; error ≤ 1 ulp.
#[inline(always)]
pub fn exp<V: Vector>(x: V) -> V {
    let constant = |value: f64| V::splat(V::Element::from_f64(value));
    let n = x.mul(constant(std::f64::consts::LOG2_E)).round();
    let r = n.fma(constant(-V::Element::LN_2[0]), x);
    let r = n.fma(constant(-V::Element::LN_2[1]), r);
    let mut p = constant(V::Element::EXP[0]);
    for &coefficient in &V::Element::EXP[1..] {
        p = p.fma(r, constant(coefficient));
    }
    let one = constant(1.0);
    p.mul(r).fma(r, r).add(one).mul(n.power_of_two())
}

/// Largest |x| for which [`expm1_near`]'s short series gives e^x − 1.
pub const NEAR: f64 = 1.0 / 64.0;

/// Computes e^x − 1 for |x| ≤ [`NEAR`]; error ≤ 2 ulp.
#[inline(always)]
pub fn expm1_near<V: Vector>(x: V) -> V {
    let constant = |value: f64| V::splat(V::Element::from_f64(value));
    // The lowest terms of the series of e^x; higher ones are below the rounding error.
    let series = V::Element::EXP;
    let series = &series[series.len() - V::Element::NEAR_TERMS..];
    let mut p = constant(series[0]);
    for &coefficient in &series[1..] {
        p = p.fma(x, constant(coefficient));
    }
    p.fma(x, constant(1.0)).mul(x)
}

/// Computes e^x − 1 for x clamped to ±[`Real::SIGMOID_CLAMP`]; error ≤ 3 ulp.
#[inline(always)]
pub fn expm1<V: Vector>(x: V) -> V {
    let constant = |value: f64| V::splat(V::Element::from_f64(value));
    let clamp = V::Element::SIGMOID_CLAMP;
    // `max` and `min` return their argument for a NaN, so in this order a NaN is kept.
    let x = constant(clamp).min(constant(-clamp).max(x));
    let n = x.mul(constant(std::f64::consts::LOG2_E)).round();
    let r = n.fma(constant(-V::Element::LN_2[0]), x);
    let r = n.fma(constant(-V::Element::LN_2[1]), r);
    let mut p = constant(V::Element::EXP[0]);
    for &coefficient in &V::Element::EXP[1..] {
        p = p.fma(r, constant(coefficient));
    }
    let p = p.mul(r).fma(r, r);
    let power = n.power_of_two();
    power.fma(p, power.sub(constant(1.0)))
}

/// Computes σ(z) and 1 − σ(z).
#[inline(always)]
pub fn sigmoid_pair<V: Vector>(z: V) -> (V, V) {
    let clamp = V::splat(V::Element::from_f64(V::Element::SIGMOID_CLAMP));
    let zero = V::splat(V::Element::ZERO);
    let one = V::splat(V::Element::ONE);
    // `min` returns its argument if that is NaN, so a NaN is kept.
    let t = exp(zero.sub(clamp.min(z.abs())));
    let r = one.div(one.add(t));
    let tr = t.mul(r);
    (z.select_negative(tr, r), z.select_negative(r, tr))
}

/// Computes σ(z) = 1/(1 + e^−z) of `W` vectors side by side; error ≤ 4 ulp. The result has the
/// relative precision of [`sigmoid_pair`] in both tails, but not its bits; it is exactly 1 where
/// e^−z is below u.
///
/// Each operation is done for all vectors before the next operation. Vector by vector, the
/// dependency chains would be longer than the processor's window for out-of-order execution.
#[inline(always)]
pub fn sigmoid<V: Vector, const W: usize>(z: [V; W]) -> [V; W] {
    let constant = |value: f64| V::splat(V::Element::from_f64(value));
    let (zero, one) = (V::splat(V::Element::ZERO), V::splat(V::Element::ONE));
    let clamp = V::Element::SIGMOID_CLAMP;
    let mut r = z;
    // `max` and `min` return their argument for a NaN, so in this order a NaN is kept.
    for w in 0..W {
        r[w] = constant(-clamp).max(z[w]);
    }
    for w in 0..W {
        r[w] = constant(clamp).min(r[w]);
    }
    for w in 0..W {
        r[w] = zero.sub(r[w]);
    }
    let mut n = r;
    for w in 0..W {
        n[w] = r[w].mul(constant(std::f64::consts::LOG2_E));
    }
    for w in 0..W {
        n[w] = n[w].round();
    }
    for &part in V::Element::LN_2_FUSED {
        for w in 0..W {
            r[w] = n[w].fma(constant(-part), r[w]);
        }
    }
    let mut p = [constant(V::Element::EXP_SHORT[0]); W];
    for &coefficient in &V::Element::EXP_SHORT[1..] {
        for w in 0..W {
            p[w] = p[w].fma(r[w], constant(coefficient));
        }
    }
    for w in 0..W {
        p[w] = p[w].fma(r[w], one);
    }
    for w in 0..W {
        p[w] = p[w].fma(r[w], one);
    }
    for w in 0..W {
        p[w] = p[w].scale(n[w]);
    }
    for w in 0..W {
        p[w] = one.add(p[w]);
    }
    for w in 0..W {
        p[w] = one.div(p[w]);
    }
    p
}

/// Computes ln(1 + t) for 0 ≤ t ≤ 1 as 2 atanh(t/(2 + t)); relative error ≤ 3 ulp.
#[inline(always)]
pub fn ln_1p<V: Vector>(t: V) -> V {
    let constant = |value: f64| V::splat(V::Element::from_f64(value));
    let s = t.div(constant(2.0).add(t));
    let s2 = s.mul(s);
    let mut p = constant(2.0 / (2 * V::Element::ATANH_TERMS - 1) as f64);
    for k in (1..V::Element::ATANH_TERMS).rev() {
        p = p.fma(s2, constant(2.0 / (2 * k - 1) as f64));
    }
    p.mul(s)
}

/// Computes ln(1 + e^z), finite for every finite z.
#[inline(always)]
pub fn softplus<V: Vector>(z: V) -> V {
    let zero = V::splat(V::Element::ZERO);
    let clamp = V::splat(V::Element::from_f64(V::Element::SIGMOID_CLAMP));
    let t = exp(zero.sub(clamp.min(z.abs())));
    z.select_negative(zero, z).add(ln_1p(t))
}

/// Computes ln x of a normal number x > 0 in double precision; error ≤ 2 ulp.
pub fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 1023 << 52);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let s2 = s * s;
    let mut p = 2.0 / 23.0;
    for k in (1..12).rev() {
        p = f64::mul_add(p, s2, 2.0 / (2 * k - 1) as f64);
    }
    let n = exponent as f64;
    f64::mul_add(n, f64::LN_2[0], f64::mul_add(n, f64::LN_2[1], p * s))
}

/// Computes cos(2π·turn) for 0 ≤ turn < 1 in double precision; error ≤ 2 ulp of 1.
pub fn cos_turn(turn: f64) -> f64 {
    // Subtract the nearest multiple of a quarter turn: the rest is at most 1/8 of a turn, where a
    // short series of cos or sin suffices.
    let quarters = (turn * 4.0).round();
    let x = (turn - quarters / 4.0) * std::f64::consts::TAU;
    let x2 = x * x;
    let series = |first: f64, from: u32| {
        let mut sum = 0.0;
        let mut term = first;
        let mut k = from;
        for _ in 0..10 {
            sum += term;
            term *= -x2 / f64::from((k + 1) * (k + 2));
            k += 2;
        }
        sum
    };
    match quarters as i64 {
        0 | 4 => series(1.0, 0),
        1 => -series(x, 1),
        2 => -series(1.0, 0),
        _ => series(x, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Isa, Kernel};

    struct Map<'a, R>(&'a [R], &'a mut [R], ElementaryFunction);
    #[derive(Clone, Copy)]
    enum ElementaryFunction {
        Sigmoid,
        SigmoidAlone,
        OneMinusSigmoid,
        Softplus,
    }

    impl<R: Real> Kernel<R> for Map<'_, R> {
        type Output = ();
        #[inline(always)]
        fn run<V: Vector<Element = R>>(self) {
            for (from, to) in self
                .0
                .chunks_exact(V::LANES)
                .zip(self.1.chunks_exact_mut(V::LANES))
            {
                // SAFETY: a chunk holds LANES numbers.
                let z = unsafe { V::load(from.as_ptr()) };
                let y = match self.2 {
                    ElementaryFunction::Sigmoid => sigmoid_pair(z).0,
                    ElementaryFunction::SigmoidAlone => {
                        let [_, y] = sigmoid([V::splat(R::ZERO), z]);
                        y
                    }
                    ElementaryFunction::OneMinusSigmoid => sigmoid_pair(z).1,
                    ElementaryFunction::Softplus => softplus(z),
                };
                // SAFETY: as above.
                unsafe { y.store(to.as_mut_ptr()) };
            }
        }
    }

    fn map<R: Real>(isa: Isa, z: &[R], function: ElementaryFunction) -> Vec<R> {
        let mut y = vec![R::ZERO; z.len()];
        isa.run(Map(z, &mut y, function));
        y
    }

    fn grid<R: Real>(largest: f64) -> Vec<R> {
        (0..4096)
            .map(|k| R::from_f64((f64::from(k) - 2047.5) / 2048.0 * largest))
            .collect()
    }

    fn worst<R: Real>(z: &[R], y: &[R], exact: impl Fn(f64) -> f64) -> f64 {
        z.iter()
            .zip(y)
            .map(|(z, y)| {
                let exact = exact(z.to_f64());
                ((y.to_f64() - exact) / exact).abs() / R::UNIT_ROUNDOFF
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn sigmoid_and_one_minus_sigmoid_keep_their_relative_precision_in_both_tails() {
        let z = grid::<f32>(59.0);
        let exact = |z: f64| 1.0 / (1.0 + (-z).exp());
        assert!(
            worst(
                &z,
                &map(Isa::detect(), &z, ElementaryFunction::Sigmoid),
                exact
            ) < 6.0
        );
        assert!(
            worst(
                &z,
                &map(Isa::detect(), &z, ElementaryFunction::OneMinusSigmoid),
                |z| exact(-z)
            ) < 6.0
        );
        let z = grid::<f64>(30.0);
        assert!(
            worst(
                &z,
                &map(Isa::detect(), &z, ElementaryFunction::Sigmoid),
                exact
            ) < 8.0
        );
    }

    #[test]
    fn sigmoid_alone_keeps_its_relative_precision_and_saturates_at_exactly_one() {
        let exact = |z: f64| 1.0 / (1.0 + (-z).exp());
        let z = grid::<f32>(59.0);
        let y = map(Isa::detect(), &z, ElementaryFunction::SigmoidAlone);
        assert!(worst(&z, &y, exact) < 8.0);
        let saturated = z.iter().zip(&y).filter(|(z, _)| **z > 18.0);
        assert!(saturated.clone().count() > 100 && saturated.map(|(_, y)| y).all(|y| *y == 1.0));
        let z = grid::<f64>(30.0);
        assert!(
            worst(
                &z,
                &map(Isa::detect(), &z, ElementaryFunction::SigmoidAlone),
                exact
            ) < 8.0
        );
    }

    #[test]
    fn softplus_keeps_its_relative_precision() {
        let exact = |z: f64| z.max(0.0) + (-z.abs()).exp().ln_1p();
        let z = grid::<f32>(59.0);
        assert!(
            worst(
                &z,
                &map(Isa::detect(), &z, ElementaryFunction::Softplus),
                exact
            ) < 8.0
        );
        let z = grid::<f64>(30.0);
        assert!(
            worst(
                &z,
                &map(Isa::detect(), &z, ElementaryFunction::Softplus),
                exact
            ) < 8.0
        );
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            for function in [
                ElementaryFunction::Sigmoid,
                ElementaryFunction::SigmoidAlone,
                ElementaryFunction::OneMinusSigmoid,
                ElementaryFunction::Softplus,
            ] {
                let z = grid::<f32>(100.0);
                assert_eq!(map(isa, &z, function), map(Isa::Portable, &z, function));
                let z = grid::<f64>(1000.0);
                assert_eq!(map(isa, &z, function), map(Isa::Portable, &z, function));
            }
        }
    }

    #[test]
    fn the_sigmoid_of_nan_is_nan() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            assert!(map(isa, &[f32::NAN; 16], ElementaryFunction::Sigmoid)[3].is_nan());
            assert!(map(isa, &[f32::NAN; 16], ElementaryFunction::SigmoidAlone)[3].is_nan());
        }
    }

    #[test]
    fn the_scalar_logarithm_and_cosine_agree_with_the_library() {
        for k in 1..10_000 {
            let x = f64::from(k) / 777.0;
            assert!(
                (ln(x) - x.ln()).abs() <= 4e-16 * x.ln().abs().max(1.0),
                "ln {x}"
            );
            let turn = f64::from(k) / 10_000.0;
            let exact = (turn * std::f64::consts::TAU).cos();
            assert!((cos_turn(turn) - exact).abs() < 1e-15, "cos {turn}");
        }
        assert!((ln(1e-300) - 1e-300f64.ln()).abs() < 1e-12);
    }
}
