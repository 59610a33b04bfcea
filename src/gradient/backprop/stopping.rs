//! Steps that can be stopped in the middle.
//!
//! A step that takes long computes in pieces of a few milliseconds, and each worker looks at the
//! stop flag before the next one. Once the flag is set, workers compute nothing more, but pass all
//! supersteps that are left, so that none waits for another. Not even a product of values that are
//! there is left: it may be the first to write to a large buffer, whose pages take longer to get
//! than it takes to compute. The flag is never reset: after the step, a look at it tells whether the
//! results can be used. θ is then that of the last whole step, from a copy that is made before the
//! step.
//!
//! A short step, as most are, neither looks at the flag nor copies θ.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::layers::{StepTask, UnitPanels};
use super::packed::PackedParameters;
use crate::data::Inputs;
use crate::kernels::matmul::Product;
use crate::kernels::panels::width;
use crate::kernels::sparse::{SMALL_BATCH, SparseForward, SparseRows, SparseUpdate, Workspace};
use crate::model::Layout;
use crate::numeric::Real;

/// Multiplications of a step that can be stopped: 10 ms or more with vector instructions, half a
/// second without.
const LONG_STEP: u64 = 1 << 29;
/// Rows in a piece of what is computed row by row.
const PIECE_ROWS: usize = 1024;

/// Returns whether a step over `rows` rows takes so long that it must be possible to stop it.
///
/// Over few rows it is not: a copy of θ takes about as long as such a step, and the update of sparse
/// inputs needs what the forward pass has left for it.
pub(super) fn is_long(layout: &Layout, rows: usize) -> bool {
    // A forward pass, and twice as much for errors and gradient.
    rows > SMALL_BATCH && 3 * rows as u64 * layout.len() as u64 > LONG_STEP
}

/// θ and its velocity before a step.
pub(super) struct StepStart<R> {
    weights: PackedParameters<R>,
    velocity: Option<PackedParameters<R>>,
}

impl<R: Real> StepStart<R> {
    /// Copies θ and the velocity, to the memory of `earlier` if there is one.
    pub(super) fn copy(
        earlier: Option<Self>,
        weights: &PackedParameters<R>,
        velocity: Option<&PackedParameters<R>>,
    ) -> Self {
        let into = |earlier: Option<PackedParameters<R>>, from: &PackedParameters<R>| {
            let mut copy = earlier.unwrap_or_else(|| from.zeros_like());
            copy.copy_from(from);
            copy
        };
        let (old_weights, old_velocity) = match earlier {
            Some(earlier) => (Some(earlier.weights), earlier.velocity),
            None => (None, None),
        };
        Self {
            weights: into(old_weights, weights),
            velocity: velocity.map(|velocity| into(old_velocity, velocity)),
        }
    }

    /// Copies θ and the velocity back.
    pub(super) fn restore(
        &self,
        weights: &mut PackedParameters<R>,
        velocity: Option<&mut PackedParameters<R>>,
    ) {
        weights.copy_from(&self.weights);
        if let (Some(velocity), Some(copy)) = (velocity, &self.velocity) {
            velocity.copy_from(copy);
        }
    }
}

impl<R: Real> StepTask<'_, R> {
    /// Returns whether this step is to end without a result.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    /// Returns the rows of a step in pieces, until the step is stopped; all rows at once if it cannot
    /// be.
    pub(super) fn pieces(&self, rows: usize) -> impl Iterator<Item = Range<usize>> {
        let size = match self.stop {
            None => rows.max(1),
            Some(_) => PIECE_ROWS,
        };
        let pieces = (0..rows)
            .step_by(size)
            .map(move |from| from..rows.min(from + size));
        pieces.take_while(move |_| !self.is_stopped())
    }

    /// Gathers dense inputs into panels.
    pub(super) fn gather(&self, rows: &[u32], inputs: &mut [R]) {
        for piece in self.pieces(rows.len()) {
            let from = piece.start * width::<R>();
            self.samples
                .gather(&rows[piece], &mut inputs[from..], self.stride);
        }
    }

    /// Computes a product, in pieces if the step can be stopped.
    pub(super) fn multiply(&self, product: Product<'_, R>) {
        match self.stop {
            None => self.isa.run(product),
            Some(stop) => product.run_unless_stopped(self.isa, stop),
        }
    }

    /// Computes the activations of the first layer from sparse inputs, with slopes if `fused`.
    pub(super) fn forward_sparse(
        &self,
        (records, rows): (&SparseRows<R>, &[u32]),
        mut transposed: Option<&mut [u8]>,
        units: &mut UnitPanels<'_, R>,
        fused: bool,
    ) {
        for piece in self.pieces(rows.len()) {
            let from = piece.start * width::<R>();
            self.isa.run(SparseForward {
                records,
                rows: &rows[piece],
                weights: units.weights,
                biases: units.biases,
                activations: &mut units.activations[from..],
                slopes: fused.then_some(&mut units.slopes[from..]),
                stride: self.stride,
                transposed: transposed.take(),
            });
        }
    }

    /// Updates panels of the first layer's `weights` from sparse inputs and the units' `errors`.
    pub(super) fn update_sparse(
        &self,
        rows: &[u32],
        errors: &[R],
        (weights, mut velocity): (&mut [R], Option<&mut [R]>),
        workspace: &mut Workspace<R>,
    ) {
        let Inputs::Sparse(records) = self.samples.inputs() else {
            return;
        };
        // The kernel sums the gradient of two panels at a time.
        let size = 2 * self.sizes[0] * width::<R>();
        let size_of_piece = match self.stop {
            None => weights.len().max(1),
            Some(_) => size,
        };
        for (piece, weights) in weights.chunks_mut(size_of_piece).enumerate() {
            if self.is_stopped() {
                return;
            }
            let range = piece * size_of_piece..piece * size_of_piece + weights.len();
            self.isa.run(SparseUpdate {
                records,
                rows,
                errors: &errors[piece * 2 * self.stride..],
                stride: self.stride,
                rule: self.rule,
                weights,
                velocity: velocity.as_mut().map(|velocity| &mut velocity[range]),
                workspace,
            });
        }
    }
}
