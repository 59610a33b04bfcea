//! Unit vectors, which select one output among those in the lanes.

use crate::kernels::Vector;
use crate::numeric::Real;

/// Returns 1 in the lane of `unit` and 0 in the others, where lane 0 belongs to unit `first`.
#[inline(always)]
pub(super) fn lane_of<V: Vector>(unit: usize, first: usize) -> V {
    let lane = unit.wrapping_sub(first);
    if lane >= V::LANES {
        return V::splat(V::Element::ZERO);
    }
    let table = LaneTable::<V::Element>::ONE_AT_16;
    let lanes = &table[16 - lane..][..V::LANES];
    // SAFETY: `lanes` holds LANES numbers.
    unsafe { V::load(lanes.as_ptr()) }
}

/// A table from which unit vectors are loaded.
struct LaneTable<R>(std::marker::PhantomData<R>);

impl<R: Real> LaneTable<R> {
    /// 1 at index 16, else 0.
    const ONE_AT_16: [R; 32] = {
        let mut table = [R::ZERO; 32];
        table[16] = R::ONE;
        table
    };
}
