//! Element-wise kernels of a training step: the SGD update, activations, and sums over rows or
//! shares.

use super::panels::width;
use super::{Kernel, Vector};
use crate::numeric::Real;

/// The SGD rule: g ← g + l2·w + decay·w, v ← momentum·v + g, w ← w − rate·v. Without a stored
/// velocity, v = g.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule<R> {
    /// The learning rate.
    pub rate: R,
    /// λ' of the loss's L2 term; 0 for biases.
    pub l2: R,
    /// λ of weight decay.
    pub decay: R,
    /// μ of momentum.
    pub momentum: R,
}

impl<R: Real> Rule<R> {
    /// Creates a rule that leaves w unchanged and sets v to the gradient, L2 term included.
    pub fn gradient_only(l2: R) -> Self {
        Self {
            rate: R::ZERO,
            l2,
            decay: R::ZERO,
            momentum: R::ZERO,
        }
    }

    /// Returns the rule for biases, which the L2 term does not include.
    #[must_use]
    pub fn for_biases(self) -> Self {
        Self {
            l2: R::ZERO,
            ..self
        }
    }

    /// Applies the rule to one parameter: the scalar form of [`Update`], with the same bits.
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

    /// Returns whether the rule moves parameters whose gradient is 0.
    pub fn moves_without_gradient(&self) -> bool {
        self.l2 != R::ZERO || self.decay != R::ZERO
    }
}

/// A [`Rule`] as vectors.
#[derive(Clone, Copy)]
pub(crate) struct Rules<V> {
    rate: V,
    l2: V,
    decay: V,
    momentum: V,
    moves_without_gradient: bool,
}

impl<V: Vector> Rules<V> {
    /// Copies the rule's numbers into every lane.
    #[inline(always)]
    pub(crate) fn new(rule: &Rule<V::Element>) -> Self {
        Self {
            rate: V::splat(-rule.rate),
            l2: V::splat(rule.l2),
            decay: V::splat(rule.decay),
            momentum: V::splat(rule.momentum),
            moves_without_gradient: rule.moves_without_gradient(),
        }
    }

    /// Applies the rule to the LANES parameters from `at` on, whose gradient is `gradient`.
    ///
    /// # Safety
    /// `weights` and, unless it is null, `velocity` must hold LANES numbers from `at` on.
    #[inline(always)]
    pub(crate) unsafe fn apply(
        &self,
        gradient: V,
        weights: *mut V::Element,
        velocity: *mut V::Element,
        at: usize,
    ) {
        // SAFETY: the caller guarantees both extents.
        unsafe {
            let w = V::load(weights.add(at));
            let mut v = gradient;
            if self.moves_without_gradient {
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

/// Applies a rule to a block of parameters.
pub struct Update<'a, R> {
    /// The rule.
    pub rule: Rule<R>,
    /// The gradient: sums over the rows of the mini-batch.
    pub gradient: &'a [R],
    /// The parameters, as many numbers.
    pub weights: &'a mut [R],
    /// The velocity, as many numbers, if there is momentum or the caller wants v.
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

/// Computes y = σ(z) in place, and σ′ = y·ȳ with ȳ = 1 − y.
pub struct Activate<'a, R> {
    /// z in, y out.
    pub activations: &'a mut [R],
    /// σ′ out, as many numbers.
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
                let (y, one_minus_y) = super::elementary::sigmoid_pair(z);
                y.store(self.activations.as_mut_ptr().add(at));
                y.mul(one_minus_y).store(self.slopes.as_mut_ptr().add(at));
            }
        }
    }
}

/// Computes y = σ(z) in place, and the difference quotient (σ(z + h) − σ(z))/h in place of σ′: the
/// counterpart of [`Activate`] that needs no derivative of σ.
pub struct ActivateByQuotient<'a, R> {
    /// z in, y out.
    pub activations: &'a mut [R],
    /// Quotients out, as many numbers.
    pub slopes: &'a mut [R],
    /// The increment h.
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

/// Computes `values ← values · factors`, element by element.
pub struct Multiply<'a, R> {
    /// Numbers in, products out.
    pub values: &'a mut [R],
    /// Factors, as many numbers.
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

/// Computes `out[c] ← out[c] + Σ_rows values[row][c]` of one panel, in the order of the rows.
pub struct ColumnSums<'a, R> {
    /// One panel, `(rows, P)`.
    pub values: &'a [R],
    /// P sums, which continue from the numbers that are there.
    pub out: &'a mut [R],
}

impl<R: Real> Kernel<R> for ColumnSums<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let width = width::<R>();
        assert!(self.out.len() == width && self.values.len().is_multiple_of(width));
        for lane in (0..width).step_by(V::LANES) {
            // SAFETY: `out` holds `width` numbers.
            let mut sum = unsafe { V::load(self.out.as_ptr().add(lane)) };
            for row in (0..self.values.len()).step_by(width) {
                // SAFETY: row + lane + LANES ≤ the number of values.
                sum = sum.add(unsafe { V::load(self.values.as_ptr().add(row + lane)) });
            }
            // SAFETY: `out` holds `width` numbers.
            unsafe { sum.store(self.out.as_mut_ptr().add(lane)) };
        }
    }
}

/// Computes `out = bias + share 0 + share 1 + …`, in the order of the shares, which are partial
/// sums.
pub struct SumPartials<'a, R> {
    /// P numbers per panel.
    pub bias: &'a [R],
    /// The shares, one after the other, each of `panels` panels that are `stride` numbers apart.
    pub partial_sums: &'a [R],
    /// Number of shares.
    pub count: usize,
    /// The sums: panels that are `stride` numbers apart.
    pub out: &'a mut [R],
    /// Number of panels.
    pub panels: usize,
    /// Number of rows of each panel that are used.
    pub rows: usize,
    /// Distance between panels, in numbers.
    pub stride: usize,
}

impl<R: Real> Kernel<R> for SumPartials<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let width = width::<R>();
        let end = self.rows * width;
        assert!(self.bias.len() >= self.panels * width && end <= self.stride);
        let extent = |panels: usize| {
            panels
                .checked_sub(1)
                .map_or(0, |last| last * self.stride + end)
        };
        assert!(self.partial_sums.len() >= extent(self.count * self.panels));
        assert!(self.out.len() >= extent(self.panels));
        for panel in 0..self.panels {
            for at in (0..end).step_by(V::LANES) {
                // SAFETY: the extents were checked; `at` + LANES ≤ `end` ≤ `stride`.
                unsafe {
                    let mut sum = V::load(self.bias.as_ptr().add(panel * width + at % width));
                    for share in 0..self.count {
                        let from = (share * self.panels + panel) * self.stride + at;
                        sum = sum.add(V::load(self.partial_sums.as_ptr().add(from)));
                    }
                    sum.store(self.out.as_mut_ptr().add(panel * self.stride + at));
                }
            }
        }
    }
}
