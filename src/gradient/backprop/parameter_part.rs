//! One worker's part of some parameters, and their update.

use std::ops::Range;

use super::packed::WithVelocity;
use crate::kernels::Isa;
use crate::kernels::update::{Rule, Update};
use crate::numeric::Real;
use crate::parallel::{PhasedSlice, Superstep, Supersteps};

/// One worker's part of some parameters and of their velocity.
pub(super) struct ParameterPart<'b, R> {
    pub values: PhasedSlice<'b, R>,
    velocity: Option<PhasedSlice<'b, R>>,
}

impl<'b, R: Real> ParameterPart<'b, R> {
    /// Shares parameters among the workers, as [`Supersteps::share_blocks`] does; the velocity is
    /// private.
    pub(super) fn share(
        supersteps: &Supersteps,
        (values, velocity): WithVelocity<'b, R>,
        write_phase: Option<usize>,
        block: usize,
        parts: impl Iterator<Item = Range<usize>> + Clone,
    ) -> std::vec::IntoIter<Self> {
        let mut velocity = velocity.map(|velocity| {
            supersteps
                .share_blocks(velocity, None, block, parts.clone())
                .into_iter()
        });
        let values = supersteps.share_blocks(values, write_phase, block, parts);
        let parts: Vec<_> = (values.into_iter())
            .map(|values| Self {
                values,
                velocity: velocity.as_mut().and_then(Iterator::next),
            })
            .collect();
        parts.into_iter()
    }

    /// Returns this worker's part of block `block` of the parameters and of the velocity, to write.
    pub(super) fn write<'s>(
        &'s mut self,
        block: usize,
        superstep: &'s Superstep<'_>,
    ) -> (&'s mut [R], Option<&'s mut [R]>) {
        let velocity = self.velocity.as_mut();
        (
            self.values.write_block(block, superstep),
            velocity.map(|velocity| velocity.write_block(block, superstep)),
        )
    }

    /// Applies an update rule to `range` of this worker's part of block `block`.
    pub(super) fn update(
        &mut self,
        (isa, rule): (Isa, Rule<R>),
        gradient: &[R],
        block: usize,
        range: Range<usize>,
        superstep: &Superstep<'_>,
    ) {
        let (weights, velocity) = self.write(block, superstep);
        isa.run(Update {
            rule,
            gradient,
            weights: &mut weights[range.clone()],
            velocity: velocity.map(|velocity| &mut velocity[range]),
        });
    }
}
