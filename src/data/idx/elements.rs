//! The elements of an IDX file.

use ndarray::Array2;

use crate::data::dataset::Features;

/// The type of the numbers in an IDX file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementType {
    /// Unsigned bytes.
    U8,
    /// Signed bytes.
    I8,
    /// 16-bit integers.
    I16,
    /// 32-bit integers.
    I32,
    /// 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
}

impl ElementType {
    pub(super) const ALL: [(u8, Self); 6] = [
        (0x08, Self::U8),
        (0x09, Self::I8),
        (0x0b, Self::I16),
        (0x0c, Self::I32),
        (0x0d, Self::F32),
        (0x0e, Self::F64),
    ];

    /// Returns the number of bytes of a number.
    pub fn width(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Converts the bytes of a number.
    pub(super) fn number(self, bytes: &[u8]) -> f64 {
        let four = || [bytes[0], bytes[1], bytes[2], bytes[3]];
        match self {
            Self::U8 => f64::from(bytes[0]),
            Self::I8 => f64::from(bytes[0] as i8),
            Self::I16 => f64::from(i16::from_be_bytes([bytes[0], bytes[1]])),
            Self::I32 => f64::from(i32::from_be_bytes(four())),
            Self::F32 => f64::from(f32::from_be_bytes(four())),
            Self::F64 => f64::from_be_bytes(bytes.try_into().expect("8 bytes")),
        }
    }
}

/// The numbers of an IDX file.
#[derive(Clone, Debug, PartialEq)]
pub enum IdxValues {
    /// Unsigned bytes.
    Bytes(Vec<u8>),
    /// Numbers of any other type.
    Numbers(Vec<f64>),
}

impl IdxValues {
    /// Returns how many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(values) => values.len(),
            Self::Numbers(values) => values.len(),
        }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns one of them.
    pub fn value(&self, at: usize) -> f64 {
        match self {
            Self::Bytes(values) => f64::from(values[at]),
            Self::Numbers(values) => values[at],
        }
    }

    /// Returns them as features of so many rows.
    pub(crate) fn into_features(self, rows: usize) -> Features {
        let shape = (rows, self.len() / rows.max(1));
        let whole = "the reader returns rows × features values";
        match self {
            Self::Bytes(values) => {
                Features::Bytes(Array2::from_shape_vec(shape, values).expect(whole))
            }
            Self::Numbers(values) => {
                Features::Reals(Array2::from_shape_vec(shape, values).expect(whole))
            }
        }
    }
}
