//! Numbers as bytes, and parcels of numbers that are sent as one message.

use std::any::TypeId;

/// Returns whether every bit pattern of `T` is a value, and `T` has no padding.
fn is_plain<T: 'static>() -> bool {
    let plain = [
        TypeId::of::<u8>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<f32>(),
        TypeId::of::<f64>(),
    ];
    plain.contains(&TypeId::of::<T>())
}

/// Returns the bytes of `values`.
pub(super) fn bytes_of<T: Copy + 'static>(values: &[T]) -> &[u8] {
    assert!(is_plain::<T>(), "numbers are exchanged, nothing else");
    // SAFETY: a number of these types has no padding, and bytes need no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// Returns the bytes of `values`, to write.
pub(super) fn bytes_of_mut<T: Copy + 'static>(values: &mut [T]) -> &mut [u8] {
    assert!(is_plain::<T>(), "numbers are exchanged, nothing else");
    // SAFETY: as `bytes_of`; and any bytes written are numbers of these types.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

/// Returns `values` as numbers of type `U`, if that is their type.
pub(super) fn cast_mut<T: 'static, U: 'static>(values: &mut [T]) -> Option<&mut [U]> {
    if TypeId::of::<T>() != TypeId::of::<U>() {
        return None;
    }
    // SAFETY: both are the same type.
    Some(unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), values.len()) })
}

/// Numbers of one or several types, one after the other: what a rank sends as one message, or
/// receives.
#[derive(Clone, Debug, Default)]
pub struct Parcel {
    /// The numbers as bytes.
    pub bytes: Vec<u8>,
    /// The position of the next number to take.
    next: usize,
}

impl Parcel {
    /// Empties the parcel.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.next = 0;
    }

    /// Sets the position of the next number to take, in bytes.
    pub fn seek(&mut self, next: usize) {
        self.next = next;
    }

    /// Adds numbers.
    pub fn put<T: Copy + 'static>(&mut self, values: &[T]) {
        self.bytes.extend_from_slice(bytes_of(values));
    }

    /// Takes the next numbers.
    ///
    /// # Panics
    /// If there are not that many.
    pub fn take<T: Copy + 'static>(&mut self, values: &mut [T]) {
        let to = bytes_of_mut(values);
        to.copy_from_slice(&self.bytes[self.next..self.next + to.len()]);
        self.next += to.len();
    }

    /// Adds `rows` rows of a panel of `width` columns, of which the first `columns` are in use.
    pub fn put_panel<T: Copy + 'static>(
        &mut self,
        panel: &[T],
        (rows, width): (usize, usize),
        columns: usize,
    ) {
        if columns == width {
            return self.put(&panel[..rows * width]);
        }
        for row in panel[..rows * width].chunks_exact(width) {
            self.put(&row[..columns]);
        }
    }

    /// Takes what [`Parcel::put_panel`] has added; sets the other columns to 0.
    pub fn take_panel<T: Copy + Default + 'static>(
        &mut self,
        panel: &mut [T],
        (rows, width): (usize, usize),
        columns: usize,
    ) {
        if columns == width {
            return self.take(&mut panel[..rows * width]);
        }
        for row in panel[..rows * width].chunks_exact_mut(width) {
            self.take(&mut row[..columns]);
            row[columns..].fill(T::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_returns_its_numbers_and_sets_unused_columns_to_zero() {
        let mut parcel = Parcel::default();
        parcel.put(&[1.5f64, -2.5]);
        parcel.put_panel(&[1f32, 2., 9., 3., 4., 9.], (2, 3), 2);
        assert_eq!(parcel.bytes.len(), 2 * 8 + 4 * 4);
        let (mut numbers, mut panel) = ([0f64; 2], [7f32; 6]);
        parcel.take(&mut numbers);
        parcel.take_panel(&mut panel, (2, 3), 2);
        assert_eq!(numbers, [1.5, -2.5]);
        assert_eq!(panel, [1., 2., 0., 3., 4., 0.]);
    }
}
