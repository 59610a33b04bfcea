//! Sharing of equal input values: the distinct non-zero values of each row.
//!
//! If all weights of a unit have the same increment, perturbing the weights of two inputs of equal
//! value changes the unit equally, so the change is computed once per distinct value. An image of
//! MNIST has 150 non-zero pixels but only 67 values.

use super::sparse::SparseRows;
use crate::numeric::Real;

/// The distinct non-zero bytes of each row, in ascending order.
#[derive(Clone, Debug)]
pub struct DistinctBytes {
    starts: Vec<u32>,
    bytes: Vec<u32>,
}

impl DistinctBytes {
    /// Collects the distinct bytes of the first `rows` rows of `records`.
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

    /// Returns the distinct bytes of row `row`, which are slots of a table with one row per byte.
    #[inline(always)]
    pub fn row(&self, row: u32) -> &[u32] {
        let row = row as usize;
        &self.bytes[self.starts[row] as usize..self.starts[row + 1] as usize]
    }

    /// Returns the mean number of distinct bytes per row.
    pub fn mean(&self) -> f64 {
        self.bytes.len() as f64 / (self.starts.len() - 1).max(1) as f64
    }
}

/// A hash table that finds equal numbers in a row of numbers.
pub struct EqualValues {
    /// Open addressing: the slot of the value stored there, or [`super::scatter_add::NO_SLOT`].
    table: Vec<u32>,
}

impl EqualValues {
    /// Creates a table for rows of at most `max_len` numbers.
    ///
    /// # Panics
    /// If `max_len` is 2³² − 1 or more.
    pub fn new(max_len: usize) -> Self {
        assert!(max_len < super::scatter_add::NO_SLOT as usize);
        Self {
            table: vec![super::scatter_add::NO_SLOT; (2 * max_len).next_power_of_two()],
        }
    }

    /// Assigns a slot to each number of `row`: slots count the distinct values from 0 in the order
    /// of their first appearance; zeros get [`super::scatter_add::NO_SLOT`]. Writes the value of
    /// each slot to `values`; returns the number of slots.
    pub fn find<R: Real>(&mut self, row: &[R], slots: &mut [u32], values: &mut [R]) -> usize {
        use super::scatter_add::NO_SLOT;
        self.table.fill(NO_SLOT);
        let mask = self.table.len() - 1;
        let mut count = 0;
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
                        self.table[at] = count as u32;
                        values[count] = value;
                        *slot = count as u32;
                        count += 1;
                        break;
                    }
                    stored if values[stored as usize].to_f64().to_bits() == bits => {
                        *slot = stored;
                        break;
                    }
                    _ => at = (at + 1) & mask,
                }
            }
        }
        count
    }
}

/// Assigns a slot of its own to each number of `row`, zeros included, as if no two were equal;
/// writes the values; returns the number of slots.
pub fn one_slot_each<R: Real>(row: &[R], slots: &mut [u32], values: &mut [R]) -> usize {
    for (at, (&value, slot)) in row.iter().zip(slots).enumerate() {
        (*slot, values[at]) = (at as u32, value);
    }
    row.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::scatter_add::NO_SLOT;

    #[test]
    fn equal_numbers_share_a_slot_and_zeros_have_none() {
        let row = [0.5_f32, 0.0, -0.5, 0.5, -0.0, 7.0, -0.5];
        let (mut slots, mut values) = ([0; 7], [0.0; 7]);
        let count = EqualValues::new(7).find(&row, &mut slots, &mut values);
        assert_eq!(slots, [0, NO_SLOT, 1, 0, NO_SLOT, 2, 1]);
        assert_eq!(values[..count], [0.5, -0.5, 7.0]);
    }

    #[test]
    fn without_sharing_every_number_has_its_slot() {
        let row = [0.5_f32, 0.0, 0.5];
        let (mut slots, mut values) = ([9; 3], [9.0; 3]);
        assert_eq!(one_slot_each(&row, &mut slots, &mut values), 3);
        assert_eq!((slots, values), ([0, 1, 2], row));
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
