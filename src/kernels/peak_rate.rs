//! What a processor can do at best: fused multiply-adds in registers, and numbers read once.
//!
//! Neither computes anything; they are what measured gradients are held against.

use super::{Kernel, Vector};
use crate::numeric::Real;

/// Chains of multiply-adds that do not wait for one another: latency × throughput of every
/// processor so far (4 cycles × 2 a cycle on x86-64), and half as many again.
const CHAINS: usize = 12;

/// So many rounds of a multiply-add on each of 12 vectors; returns the floating-point operations,
/// two for each lane.
pub struct MultiplyAdds<R> {
    /// How often.
    pub rounds: usize,
    /// The factor, which the compiler must not know; of a size at most 1, lest numbers overflow.
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
    /// The numbers, a multiple of 512 bytes of them; what is left is not read.
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
        let mut all = V::splat(R::ZERO);
        for sum in sums {
            all = all.add(sum);
        }
        std::hint::black_box(all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;

    #[test]
    fn operations_are_told_as_performed() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let told = isa.run(MultiplyAdds {
                rounds: 10,
                factor: 0.5f32,
            });
            let lanes = match isa {
                Isa::Avx512 => 16,
                Isa::Avx2 => 8,
                Isa::Portable => 4,
            };
            assert_eq!(told, 2 * 10 * 12 * lanes, "{}", isa.name());
            isa.run(MemoryReads {
                values: &[1.0f64; 1000],
            });
        }
    }
}
