//! Propagation of rates of change (tangents) from layer to layer: the derivative part of a forward
//! pass over dual numbers.

use super::panels::width;
use super::{Kernel, Vector};
use crate::numeric::Real;

/// Adds the propagated rates to those of the layer, which gives ż; if slopes are given, multiplies
/// by them, which gives ȧ = σ′·ż. In place.
pub struct ActivationRates<'a, R> {
    /// The rates of z due to this layer's own parameters in; ż or ȧ out. Whole panels.
    pub rates: &'a mut [R],
    /// W·ȧ propagated from the layer below, as many numbers; `None` if nothing changes there.
    pub propagated: Option<&'a [R]>,
    /// σ′, as many numbers; `None` to compute ż.
    pub slopes: Option<&'a [R]>,
}

impl<R: Real> Kernel<R> for ActivationRates<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let len = self.rates.len();
        assert!(len.is_multiple_of(width::<R>()));
        assert!(self.propagated.is_none_or(|carried| carried.len() == len));
        assert!(self.slopes.is_none_or(|slopes| slopes.len() == len));
        for at in (0..len).step_by(V::LANES) {
            // SAFETY: all operands hold `len` numbers, a multiple of LANES.
            unsafe {
                let mut rate = V::load(self.rates.as_ptr().add(at));
                if let Some(carried) = self.propagated {
                    rate = rate.add(V::load(carried.as_ptr().add(at)));
                }
                if let Some(slopes) = self.slopes {
                    rate = rate.mul(V::load(slopes.as_ptr().add(at)));
                }
                rate.store(self.rates.as_mut_ptr().add(at));
            }
        }
    }
}
