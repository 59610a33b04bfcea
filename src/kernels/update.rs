//! The element-wise update of stochastic gradient descent, which backprop fuses with the gradient.

use super::panels::width;
use super::{Kernel, Vector};
use crate::numeric::Real;

/// g ← g + l2·w + decay·w, v ← momentum·v + g, w ← w − rate·v.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule<R> {
    /// The learning rate.
    pub rate: R,
    /// λ' of the loss; 0 for biases.
    pub l2: R,
    /// λ of weight decay.
    pub decay: R,
    /// μ of momentum.
    pub momentum: R,
}

impl<R: Real> Rule<R> {
    /// Leaves w as it is and v = the gradient.
    pub fn gradient_only(l2: R) -> Self {
        Self {
            rate: R::ZERO,
            l2,
            decay: R::ZERO,
            momentum: R::ZERO,
        }
    }

    /// The same rule for biases, which l2 leaves out.
    #[must_use]
    pub fn for_biases(self) -> Self {
        Self {
            l2: R::ZERO,
            ..self
        }
    }

    /// Applies the rule to one parameter: the scalar twin of [`Update`].
    #[inline(always)]
    pub fn apply(&self, gradient: R, weight: &mut R, velocity: Option<&mut R>) {
        let w = *weight;
        let mut v = self.decay.mul_add(w, self.l2.mul_add(w, gradient));
        if let Some(velocity) = velocity {
            v = self.momentum.mul_add(*velocity, v);
            *velocity = v;
        }
        *weight = (-self.rate).mul_add(v, w);
    }

    /// Whether a parameter whose gradient is 0 moves all the same.
    pub fn moves_without_gradient(&self) -> bool {
        self.l2 != R::ZERO || self.decay != R::ZERO
    }
}

/// A rule in vectors.
#[derive(Clone, Copy)]
pub(crate) struct Rules<V> {
    rate: V,
    l2: V,
    decay: V,
    momentum: V,
    shrinks: bool,
}

impl<V: Vector> Rules<V> {
    #[inline(always)]
    pub(crate) fn new(rule: &Rule<V::Element>) -> Self {
        Self {
            rate: V::splat(-rule.rate),
            l2: V::splat(rule.l2),
            decay: V::splat(rule.decay),
            momentum: V::splat(rule.momentum),
            shrinks: rule.moves_without_gradient(),
        }
    }

    /// Applies the rule at `at` for the sum `gradient`.
    ///
    /// # Safety
    /// `weights` and `velocity` (where it is not null) hold LANES numbers at `at`.
    #[inline(always)]
    pub(crate) unsafe fn apply(
        &self,
        gradient: V,
        weights: *mut V::Element,
        velocity: *mut V::Element,
        at: usize,
    ) {
        // SAFETY: the caller vouches for both.
        unsafe {
            let w = V::load(weights.add(at));
            let mut v = gradient;
            if self.shrinks {
                v = self.decay.fma(w, self.l2.fma(w, v));
            }
            if !velocity.is_null() {
                v = self.momentum.fma(V::load(velocity.add(at)), v);
                v.store(velocity.add(at));
            }
            self.rate.fma(v, w).store(weights.add(at));
        }
    }
}

/// The rule over a block of parameters whose gradient stands in `gradient`.
pub struct Update<'a, R> {
    /// The rule.
    pub rule: Rule<R>,
    /// The gradient's sums over the rows.
    pub gradient: &'a [R],
    /// The parameters, as many.
    pub weights: &'a mut [R],
    /// The velocity, as many, if it is kept.
    pub velocity: Option<&'a mut [R]>,
}

impl<R: Real> Kernel<R> for Update<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let len = self.gradient.len();
        assert!(self.weights.len() == len && len.is_multiple_of(width::<R>()));
        let velocity = self.velocity.map_or(std::ptr::null_mut(), |velocity| {
            assert_eq!(velocity.len(), len);
            velocity.as_mut_ptr()
        });
        let rules = Rules::<V>::new(&self.rule);
        let weights = self.weights.as_mut_ptr();
        for at in (0..len).step_by(V::LANES) {
            // SAFETY: all three hold `len` numbers, a multiple of LANES.
            unsafe {
                rules.apply(
                    V::load(self.gradient.as_ptr().add(at)),
                    weights,
                    velocity,
                    at,
                )
            };
        }
    }
}

/// a = σ(z) in place, and σ′ = y·ȳ beside it.
pub struct Activate<'a, R> {
    /// z in, y out.
    pub activations: &'a mut [R],
    /// σ′ out, as many.
    pub slopes: &'a mut [R],
}

impl<R: Real> Kernel<R> for Activate<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let len = self.activations.len();
        assert!(self.slopes.len() == len && len.is_multiple_of(width::<R>()));
        for at in (0..len).step_by(V::LANES) {
            // SAFETY: both hold `len` numbers, a multiple of LANES.
            unsafe {
                let z = V::load(self.activations.as_ptr().add(at));
                let (y, complement) = super::elementary::sigmoid_pair(z);
                y.store(self.activations.as_mut_ptr().add(at));
                y.mul(complement).store(self.slopes.as_mut_ptr().add(at));
            }
        }
    }
}

/// a = σ(z) in place, and a difference quotient (σ(z + h) − σ(z))/h for σ′ beside it: the twin of
/// [`Activate`] that knows σ and not its derivative.
pub struct ActivateByQuotient<'a, R> {
    /// z in, y out.
    pub activations: &'a mut [R],
    /// Quotients out, as many.
    pub slopes: &'a mut [R],
    /// h.
    pub increment: R,
}

impl<R: Real> Kernel<R> for ActivateByQuotient<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let len = self.activations.len();
        assert!(self.slopes.len() == len && len.is_multiple_of(width::<R>()));
        let h = V::splat(self.increment);
        for at in (0..len).step_by(V::LANES) {
            // SAFETY: both hold `len` numbers, a multiple of LANES.
            unsafe {
                let z = V::load(self.activations.as_ptr().add(at));
                let (y, _) = super::elementary::sigmoid_pair(z);
                let (above, _) = super::elementary::sigmoid_pair(z.add(h));
                y.store(self.activations.as_mut_ptr().add(at));
                (above.sub(y).div(h)).store(self.slopes.as_mut_ptr().add(at));
            }
        }
    }
}

/// `values ← values · factors`.
pub struct Multiply<'a, R> {
    /// Changed in place.
    pub values: &'a mut [R],
    /// As many.
    pub factors: &'a [R],
}

impl<R: Real> Kernel<R> for Multiply<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let len = self.values.len();
        assert!(self.factors.len() == len && len.is_multiple_of(width::<R>()));
        for at in (0..len).step_by(V::LANES) {
            // SAFETY: both hold `len` numbers, a multiple of LANES.
            unsafe {
                let product = V::load(self.values.as_ptr().add(at))
                    .mul(V::load(self.factors.as_ptr().add(at)));
                product.store(self.values.as_mut_ptr().add(at));
            }
        }
    }
}

/// `out[c] = Σ_rows values[row][c]` of one panel, in the order of the rows.
pub struct ColumnSums<'a, R> {
    /// One panel, `(rows, P)`.
    pub values: &'a [R],
    /// P sums.
    pub out: &'a mut [R],
}

impl<R: Real> Kernel<R> for ColumnSums<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let width = width::<R>();
        assert!(self.out.len() == width && self.values.len().is_multiple_of(width));
        for lane in (0..width).step_by(V::LANES) {
            let mut sum = V::splat(R::ZERO);
            for row in (0..self.values.len()).step_by(width) {
                // SAFETY: row + lane + LANES ≤ the number of values.
                sum = sum.add(unsafe { V::load(self.values.as_ptr().add(row + lane)) });
            }
            // SAFETY: `out` holds `width` numbers.
            unsafe { sum.store(self.out.as_mut_ptr().add(lane)) };
        }
    }
}

/// `out = bias + share 0 + share 1 + …`, in the order of the shares.
pub struct SumShares<'a, R> {
    /// A panel's width for each panel.
    pub bias: &'a [R],
    /// Share after share, each of `panels` panels, `stride` apart.
    pub shares: &'a [R],
    /// Number of shares.
    pub count: usize,
    /// Panels, `stride` apart.
    pub out: &'a mut [R],
    /// Number of panels.
    pub panels: usize,
    /// Rows of each panel that are used.
    pub rows: usize,
    /// Distance between panels.
    pub stride: usize,
}

impl<R: Real> Kernel<R> for SumShares<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let width = width::<R>();
        let end = self.rows * width;
        assert!(self.bias.len() >= self.panels * width && end <= self.stride);
        assert!(self.shares.len() >= self.count * self.panels * self.stride);
        assert!(self.out.len() >= self.panels * self.stride);
        for panel in 0..self.panels {
            for at in (0..end).step_by(V::LANES) {
                // SAFETY: the extents were checked; `at` + LANES ≤ `end` ≤ `stride`.
                unsafe {
                    let mut sum = V::load(self.bias.as_ptr().add(panel * width + at % width));
                    for share in 0..self.count {
                        let from = (share * self.panels + panel) * self.stride + at;
                        sum = sum.add(V::load(self.shares.as_ptr().add(from)));
                    }
                    sum.store(self.out.as_mut_ptr().add(panel * self.stride + at));
                }
            }
        }
    }
}
