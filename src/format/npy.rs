//! Writes arrays in NumPy's format, NPY version 1.0: a magic number, a header that is a Python
//! dictionary, then the elements.
//!
//! Source: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

/// Bytes before the header's text: magic number, version, length.
const PREFIX: usize = 10;

/// The data begins at a multiple of this many bytes.
const ALIGNMENT: usize = 64;

/// Returns the file of an array of doubles with this shape, row-major.
pub fn of_numbers(numbers: &[f64], shape: &[usize]) -> Vec<u8> {
    let mut bytes = header("<f8", shape);
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// Returns the file of an array of these numbers in single precision, row-major.
#[cfg(feature = "export")]
pub fn of_singles(numbers: &[f64], shape: &[usize]) -> Vec<u8> {
    let mut bytes = header("<f4", shape);
    for &number in numbers {
        bytes.extend_from_slice(&(number as f32).to_le_bytes());
    }
    bytes
}

/// Returns the file of a vector of integers.
pub fn of_integers(numbers: &[i64]) -> Vec<u8> {
    let mut bytes = header("<i8", &[numbers.len()]);
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// Returns the file of a vector of texts, each as wide as the longest.
pub fn of_texts<'t>(texts: impl Iterator<Item = &'t str> + Clone) -> Vec<u8> {
    let lengths = texts.clone().map(|text| text.chars().count());
    let width = lengths.max().unwrap_or(0).max(1);
    let mut bytes = header(&format!("<U{width}"), &[texts.clone().count()]);
    for text in texts {
        let letters = text.chars().map(u32::from).chain(std::iter::repeat(0));
        for letter in letters.take(width) {
            bytes.extend_from_slice(&letter.to_le_bytes());
        }
    }
    bytes
}

fn header(element: &str, shape: &[usize]) -> Vec<u8> {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    // A tuple of one number needs its comma.
    let sizes = sizes.join(", ") + if shape.len() == 1 { "," } else { "" };
    let mut text =
        format!("{{'descr': '{element}', 'fortran_order': False, 'shape': ({sizes}), }}");
    // One byte is for the line end.
    let whole = (PREFIX + text.len() + 1).next_multiple_of(ALIGNMENT);
    text.extend(std::iter::repeat_n(' ', whole - PREFIX - text.len() - 1));
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let length = u16::try_from(text.len()).expect("a header has few bytes");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}
