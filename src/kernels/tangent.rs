//! Rates of change, carried from layer to layer: what a forward pass of dual numbers has besides
//! its values.

use super::panels::width;
use super::{Kernel, Vector};
use crate::numeric::Real;

/// ż = moves + carried, and above it ȧ = σ′·ż, in place.
pub struct ActivationRates<'a, R> {
    /// The layer's own moves in, rates out.
    pub rates: &'a mut [R],
    /// W·ȧ of the layer below, as many; `None`: nothing moves there.
    pub carried: Option<&'a [R]>,
    /// σ′, as many; `None`: ż is wanted.
    pub slopes: Option<&'a [R]>,
}

impl<R: Real> Kernel<R> for ActivationRates<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let len = self.rates.len();
        assert!(len.is_multiple_of(width::<R>()));
        assert!(self.carried.is_none_or(|carried| carried.len() == len));
        assert!(self.slopes.is_none_or(|slopes| slopes.len() == len));
        for at in (0..len).step_by(V::LANES) {
            // SAFETY: all of them hold `len` numbers, a multiple of LANES.
            unsafe {
                let mut rate = V::load(self.rates.as_ptr().add(at));
                if let Some(carried) = self.carried {
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
