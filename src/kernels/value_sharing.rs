//! The different non-zero bytes of each row: what a unit has to be evaluated for.
//!
//! A unit whose weights all have the same increment sees no difference between two inputs of equal
//! value, so its change is computed once a value. An image of MNIST has 150 non-zero pixels and 67
//! values.

use super::sparse::SparseRows;
use crate::numeric::Real;

/// The different non-zero bytes of each row, in ascending order.
#[derive(Clone, Debug)]
pub struct DistinctBytes {
    starts: Vec<u32>,
    bytes: Vec<u32>,
}

impl DistinctBytes {
    /// Those of the first `rows` rows of `records`.
    pub fn new<R: Real>(records: &SparseRows<R>, rows: usize) -> Self {
        let mut starts = Vec::with_capacity(rows + 1);
        let mut bytes = Vec::new();
        starts.push(0);
        for row in 0..rows as u32 {
            let mut seen = [false; 256];
            for &word in records.row(row) {
                seen[(word & 255) as usize] = true;
            }
            bytes.extend((1..=255u32).filter(|&byte| seen[byte as usize]));
            starts.push(bytes.len() as u32);
        }
        Self { starts, bytes }
    }

    /// The bytes of row `row`, as slots of a table of bytes.
    #[inline(always)]
    pub fn row(&self, row: u32) -> &[u32] {
        let row = row as usize;
        &self.bytes[self.starts[row] as usize..self.starts[row + 1] as usize]
    }

    /// Mean number of them in a row.
    pub fn mean(&self) -> f64 {
        self.bytes.len() as f64 / (self.starts.len() - 1).max(1) as f64
    }
}

/// Finds equal numbers in a row of numbers.
pub struct EqualValues {
    /// Open addressing: place of the value found there, or [`super::scatter_add::NO_SLOT`].
    table: Vec<u32>,
}

impl EqualValues {
    /// For rows of at most `longest` numbers.
    ///
    /// # Panics
    /// With 2³² − 1 numbers or more.
    pub fn new(longest: usize) -> Self {
        assert!(longest < super::scatter_add::NO_SLOT as usize);
        Self {
            table: vec![super::scatter_add::NO_SLOT; (2 * longest).next_power_of_two()],
        }
    }

    /// Gives each number of `row` the slot of its value, 0 to `values`' length, in the order in
    /// which values first appear; zeros get [`super::scatter_add::NO_SLOT`]. Writes the values; returns
    /// how many there are.
    pub fn find<R: Real>(&mut self, row: &[R], slots: &mut [u32], values: &mut [R]) -> usize {
        use super::scatter_add::NO_SLOT;
        self.table.fill(NO_SLOT);
        let mask = self.table.len() - 1;
        let mut found = 0;
        for (&value, slot) in row.iter().zip(slots) {
            if value == R::ZERO {
                *slot = NO_SLOT;
                continue;
            }
            let bits = value.to_f64().to_bits();
            let mut at = (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & mask;
            loop {
                match self.table[at] {
                    NO_SLOT => {
                        self.table[at] = found as u32;
                        values[found] = value;
                        *slot = found as u32;
                        found += 1;
                        break;
                    }
                    place if values[place as usize].to_f64().to_bits() == bits => {
                        *slot = place;
                        break;
                    }
                    _ => at = (at + 1) & mask,
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::scatter_add::NO_SLOT;

    #[test]
    fn equal_numbers_share_a_slot_and_zeros_have_none() {
        let row = [0.5_f32, 0.0, -0.5, 0.5, -0.0, 7.0, -0.5];
        let (mut slots, mut values) = ([0; 7], [0.0; 7]);
        let found = EqualValues::new(7).find(&row, &mut slots, &mut values);
        assert_eq!(slots, [0, NO_SLOT, 1, 0, NO_SLOT, 2, 1]);
        assert_eq!(values[..found], [0.5, -0.5, 7.0]);
    }

    #[test]
    fn each_byte_of_a_row_is_listed_once() {
        let rows: [&[u8]; 2] = [&[0, 9, 3, 9, 0, 3, 255], &[0; 7]];
        let records = SparseRows::<f32>::new(7, rows.into_iter(), vec![0.0; 256]);
        let distinct = DistinctBytes::new(&records, 2);
        assert_eq!(distinct.row(0), [3, 9, 255]);
        assert!(distinct.row(1).is_empty());
        assert_eq!(distinct.mean(), 1.5);
    }
}
