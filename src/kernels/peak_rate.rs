//! Kernels that measure a processor's peak rates: fused multiply-adds in registers, and memory
//! reads.
//!
//! Their results are discarded; measured gradients are compared with their rates.

use super::{Kernel, Vector};
use crate::numeric::Real;

/// Number of independent chains of multiply-adds: latency × throughput (4 cycles × 2 per cycle on
/// x86-64), and half as many again.
const CHAINS: usize = 12;

/// Performs `rounds` rounds of one multiply-add on each of 12 vectors; returns the number of
/// floating-point operations, two per lane.
pub struct MultiplyAdds<R> {
    /// Number of rounds.
    pub rounds: usize,
    /// The factor, of size at most 1 to avoid overflow; the compiler must not know its value.
    pub factor: R,
}

impl<R: Real> Kernel<R> for MultiplyAdds<R> {
    type Output = u64;

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) -> u64 {
        let (factor, addend) = (V::splat(self.factor), V::splat(R::ONE));
        let mut chains = [V::splat(R::ONE); CHAINS];
        for _ in 0..self.rounds {
            for chain in &mut chains {
                *chain = chain.fma(factor, addend);
            }
        }
        let mut sum = V::splat(R::ZERO);
        for chain in chains {
            sum = sum.add(chain);
        }
        std::hint::black_box(sum);
        2 * (self.rounds * CHAINS * V::LANES) as u64
    }
}

/// Reads every number once.
pub struct MemoryReads<'a, R> {
    /// The numbers, read in blocks of 8 vectors (at most 512 bytes); an incomplete last block is
    /// not read.
    pub values: &'a [R],
}

impl<R: Real> Kernel<R> for MemoryReads<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let mut sums = [V::splat(R::ZERO); 8];
        for block in self.values.chunks_exact(8 * V::LANES) {
            for (k, sum) in sums.iter_mut().enumerate() {
                // SAFETY: a block holds 8 · LANES numbers.
                *sum = sum.add(unsafe { V::load(block.as_ptr().add(k * V::LANES)) });
            }
        }
        let mut total = V::splat(R::ZERO);
        for sum in sums {
            total = total.add(sum);
        }
        std::hint::black_box(total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;

    #[test]
    fn multiply_adds_return_the_number_of_operations_performed() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let operations = isa.run(MultiplyAdds {
                rounds: 10,
                factor: 0.5f32,
            });
            let lanes = match isa {
                Isa::Avx512 => 16,
                Isa::Avx2 => 8,
                Isa::Portable if cfg!(target_arch = "x86_64") => 1,
                Isa::Portable => 4,
            };
            assert_eq!(operations, 2 * 10 * 12 * lanes, "{}", isa.name());
            isa.run(MemoryReads {
                values: &[1.0f64; 1000],
            });
        }
    }
}
