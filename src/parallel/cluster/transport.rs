//! What a means of exchange among ranks must do.

/// A means of exchange. Every call is collective: all ranks make the same calls in the same order.
pub(super) trait Transport: Send + Sync {
    /// Returns this rank's number, from 0.
    fn rank(&self) -> usize;

    /// Returns the number of ranks.
    fn size(&self) -> usize;

    /// Returns the number of ranks on this machine.
    fn on_this_machine(&self) -> usize;

    /// Gathers `own` from each rank: `all` becomes the parts of `lengths` bytes, in the order of the
    /// ranks.
    fn all_gather(&self, own: &[u8], all: &mut [u8], lengths: &[usize]);

    /// Sends `bytes` of the first rank to all others.
    fn broadcast(&self, bytes: &mut [u8]);

    /// Replaces `values` by the sums over all ranks, the same bits on all.
    fn sum_f32(&self, values: &mut [f32]);

    /// Replaces `values` by the sums over all ranks, the same bits on all.
    fn sum_f64(&self, values: &mut [f64]);

    /// Ends all ranks at once.
    fn abort(&self, code: u8);

    /// Ends the means of exchange: the last call.
    fn close(&self);
}
