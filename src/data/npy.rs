//! Reads arrays in NumPy's format, NPY versions 1 to 3: numbers of any type, and texts.
//!
//! ```text
//! 93 "NUMPY" · version, 2 bytes · header length, 2 bytes (version 1) or 4 · header · elements
//! header: a Python dictionary {'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }
//! ```
//!
//! Unsigned bytes stay bytes. Refused: objects, dates, complex numbers and records; numbers that are
//! not finite; files shorter or longer than their header says. Source:
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::{self, Read};
use std::path::Path;

use ndarray::{Array2, ArrayD, ShapeBuilder};

use super::dataset::Features;
use super::idx::shape as spelled;
use crate::error::{Error, Result};
use crate::memory;

/// The longest header, in bytes; NumPy refuses 10,000.
const LONGEST_HEADER: usize = 1 << 16;

/// The first bytes of a file.
pub(crate) const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// An array.
#[derive(Debug, PartialEq)]
pub(crate) struct NpyArray {
    pub(crate) shape: Vec<usize>,
    pub(crate) fortran: bool,
    /// The type of an element as the header has it, such as `<f8`.
    pub(crate) descr: String,
    pub(crate) elements: NpyElements,
}

/// The elements of an array, in the order of the file.
#[derive(Debug, PartialEq)]
pub(crate) enum NpyElements {
    /// Unsigned bytes.
    Bytes(Vec<u8>),
    /// Numbers of any other type; booleans are 0 and 1.
    Numbers(Vec<f64>),
    /// Texts.
    Texts(Vec<String>),
}

/// The type of an element: its kind (`f`, `i`, `u`, `b`, `U`, `S`), its bytes, their order.
#[derive(Clone, Copy)]
struct ElementKind {
    kind: u8,
    width: usize,
    big_endian: bool,
}

/// Reads an array of finite numbers or texts from `input`, a stream of at most `most` bytes that is
/// named `path` in messages.
///
/// # Errors
/// Any violation of the format; a number that is not finite; a failed read.
pub(crate) fn read(input: &mut dyn Read, most: u64, path: &Path) -> Result<NpyArray> {
    let array = read_any(input, most, path)?;
    array.check_finite(path)?;
    Ok(array)
}

/// Reads an array as [`read`] does, whose numbers may be infinite or NaN.
///
/// # Errors
/// Any violation of the format; a failed read.
pub(crate) fn read_any(input: &mut dyn Read, most: u64, path: &Path) -> Result<NpyArray> {
    let failed = |source| failure(source, path);
    let (text, start) = read_header(input, path)?;
    let (descr, kind, fortran, shape) = parse(&text).map_err(|problem| {
        Error::refused(path, problem)
            .at("the NPY header")
            .help("save the array with numpy.save, without objects")
    })?;
    let count = shape
        .iter()
        .try_fold(1usize, |count, &size| count.checked_mul(size));
    let bytes = count
        .and_then(|count| count.checked_mul(kind.width))
        .filter(|&bytes| (bytes as u64).saturating_add(start) <= most)
        .ok_or_else(|| {
            Error::refused(
                path,
                format!(
                    "too short: the header announces {} elements of {} bytes",
                    spelled(&shape),
                    kind.width
                ),
            )
        })?;
    let mut content = Vec::new();
    reserve(&mut content, bytes, path)?;
    (&mut *input)
        .take(bytes as u64)
        .read_to_end(&mut content)
        .map_err(failed)?;
    if content.len() < bytes {
        return Err(Error::refused(
            path,
            format!(
                "too short: {} bytes of elements, but the header announces {bytes}",
                content.len()
            ),
        ));
    }
    if input.read(&mut [0]).map_err(failed)? != 0 {
        return Err(Error::refused(
            path,
            format!("too long: bytes follow the {} elements", spelled(&shape)),
        ));
    }
    Ok(NpyArray {
        elements: elements(content, kind, path)?,
        shape,
        fortran,
        descr,
    })
}

/// Makes room for the elements of the file `path`.
fn reserve<T>(elements: &mut Vec<T>, count: usize, path: &Path) -> Result<()> {
    let work = format!("{}: its elements need", path.display());
    memory::reserve(elements, count, &work, "give a file with fewer rows")
}

/// Converts a failed read: what cannot be unpacked is refused, the rest is an error of the system.
fn failure(source: io::Error, path: &Path) -> Error {
    let is_systems = source.get_ref().is_none()
        && !matches!(
            source.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
        );
    if is_systems {
        return Error::io("read", path, source);
    }
    Error::refused(path, format!("cannot be unpacked: {source}"))
        .help("copy or save the file again, without packing it")
}

/// Reads magic number, version and header; returns the header's text and the length of all.
fn read_header(input: &mut dyn Read, path: &Path) -> Result<(String, u64)> {
    let mut exactly = |count: usize| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = (&mut *input).take(count as u64).read_to_end(&mut bytes);
        read.map_err(|source| failure(source, path))?;
        if bytes.len() < count {
            return Err(Error::refused(
                path,
                "too short: the file ends inside the NPY header",
            ));
        }
        Ok(bytes)
    };
    let start = exactly(8)?;
    if !start.starts_with(MAGIC) {
        return Err(Error::refused(
            path,
            "no NPY file: its first bytes are not 93 NUMPY",
        ));
    }
    let (length, prefix) = match start[6] {
        1 => {
            let bytes = exactly(2)?;
            (usize::from(u16::from_le_bytes([bytes[0], bytes[1]])), 10)
        }
        2 | 3 => {
            let bytes = exactly(4)?;
            let length = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            (length as usize, 12)
        }
        other => {
            return Err(Error::refused(
                path,
                format!("NPY version {other}; allowed are 1 to 3"),
            ));
        }
    };
    if length > LONGEST_HEADER {
        return Err(Error::refused(
            path,
            format!("an NPY header of {length} bytes; at most {LONGEST_HEADER} are allowed"),
        ));
    }
    let text = String::from_utf8_lossy(&exactly(length)?).into_owned();
    Ok((text, prefix + length as u64))
}

/// A header: the type of an element as it is spelled, the type, the order, the shape.
type Header = (String, ElementKind, bool, Vec<usize>);

/// Takes type, order and shape from the header's text.
fn parse(text: &str) -> std::result::Result<Header, String> {
    let after = |key: &str| {
        let start = text.find(&format!("'{key}':")).map(|at| at + key.len() + 3);
        start
            .map(|start| text[start..].trim_start())
            .ok_or_else(|| format!("no `{key}`"))
    };
    let descr = after("descr")?;
    let descr = descr
        .strip_prefix('\'')
        .and_then(|rest| rest.split_once('\''))
        .map(|(descr, _)| descr)
        .ok_or("a record of several fields; allowed are numbers and texts")?;
    let fortran = match after("fortran_order")? {
        rest if rest.starts_with("True") => true,
        rest if rest.starts_with("False") => false,
        _ => return Err("`fortran_order` is neither True nor False".to_owned()),
    };
    let shape = after("shape")?;
    let sizes = shape
        .strip_prefix('(')
        .and_then(|rest| rest.split_once(')'))
        .ok_or("`shape` is no tuple")?
        .0;
    let sizes = sizes
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty());
    let sizes: Result<Vec<usize>, _> = sizes.map(str::parse).collect();
    let sizes = sizes.map_err(|_| "`shape` is no tuple of sizes".to_owned())?;
    Ok((descr.to_owned(), element_kind(descr)?, fortran, sizes))
}

fn element_kind(descr: &str) -> std::result::Result<ElementKind, String> {
    let refused =
        || format!("elements of type `{descr}`; allowed are integers, floats, booleans and texts");
    let mut letters = descr.chars();
    let big_endian = letters.next() == Some('>');
    let kind = letters.next().ok_or_else(refused)?;
    let size: usize = letters.as_str().parse().map_err(|_| refused())?;
    let width = match (kind, size) {
        ('f', 2 | 4 | 8) | ('i' | 'u', 1 | 2 | 4 | 8) | ('b', 1) => size,
        ('U', 1..=4096) => 4 * size,
        ('S', 1..=4096) => size,
        _ => return Err(refused()),
    };
    Ok(ElementKind {
        kind: kind as u8,
        width,
        big_endian,
    })
}

/// Converts the bytes of all elements.
fn elements(content: Vec<u8>, kind: ElementKind, path: &Path) -> Result<NpyElements> {
    if (kind.kind, kind.width) == (b'u', 1) {
        return Ok(NpyElements::Bytes(content));
    }
    let each = content.chunks_exact(kind.width);
    if matches!(kind.kind, b'U' | b'S') {
        let mut texts = Vec::new();
        reserve(&mut texts, each.len(), path)?;
        texts.extend(each.map(|bytes| text(bytes, kind)));
        return Ok(NpyElements::Texts(texts));
    }
    let mut numbers = Vec::new();
    reserve(&mut numbers, each.len(), path)?;
    numbers.extend(each.map(|bytes| number(bytes, kind)));
    Ok(NpyElements::Numbers(numbers))
}

/// Converts a number of any type to a double.
fn number(bytes: &[u8], kind: ElementKind) -> f64 {
    let mut little = [0; 8];
    little[..kind.width].copy_from_slice(bytes);
    if kind.big_endian {
        little[..kind.width].reverse();
    }
    let bits = u64::from_le_bytes(little);
    let unused = 64 - 8 * kind.width as u32;
    match (kind.kind, kind.width) {
        (b'f', 2) => half(bits as u16),
        (b'f', 4) => f64::from(f32::from_bits(bits as u32)),
        (b'f', _) => f64::from_bits(bits),
        (b'i', _) => ((bits << unused) as i64 >> unused) as f64,
        _ => bits as f64,
    }
}

/// Converts a number in half precision (IEEE 754 binary16).
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    match exponent {
        0 => sign * fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    }
}

fn text(bytes: &[u8], kind: ElementKind) -> String {
    if kind.kind == b'S' {
        return String::from_utf8_lossy(bytes)
            .trim_end_matches('\0')
            .to_owned();
    }
    let letters = bytes.chunks_exact(4).map(|letter| {
        let letter = [letter[0], letter[1], letter[2], letter[3]];
        let code = if kind.big_endian {
            u32::from_be_bytes(letter)
        } else {
            u32::from_le_bytes(letter)
        };
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
    });
    letters
        .collect::<String>()
        .trim_end_matches('\0')
        .to_owned()
}

impl NpyArray {
    /// Refuses numbers that are infinite or NaN.
    ///
    /// # Errors
    /// The first such number, with its place in the file.
    pub(crate) fn check_finite(&self, path: &Path) -> Result<()> {
        let NpyElements::Numbers(numbers) = &self.elements else {
            return Ok(());
        };
        match numbers.iter().position(|number| !number.is_finite()) {
            None => Ok(()),
            Some(at) => Err(Error::refused(
                path,
                format!("{}; only finite numbers are allowed", numbers[at]),
            )
            .at(format!("element {at}"))
            .help("fill in or leave out missing values before saving the array")),
        }
    }

    /// Returns all numbers row-major; `None` for texts.
    pub(crate) fn into_numbers(self) -> Option<Vec<f64>> {
        let numbers = match self.elements {
            NpyElements::Bytes(bytes) => bytes.into_iter().map(f64::from).collect(),
            NpyElements::Numbers(numbers) => numbers,
            NpyElements::Texts(_) => return None,
        };
        if !self.fortran {
            return Some(numbers);
        }
        let array = ArrayD::from_shape_vec(self.shape.f(), numbers);
        let array = array.expect("as many elements as the shape says");
        Some(array.iter().copied().collect())
    }

    /// Returns the array as features: `(rows, features)`, or images `(rows, height, width)`, whose
    /// height and width are returned too.
    ///
    /// # Errors
    /// One dimension or none, a size of 0, texts, or more than two dimensions in Fortran's order.
    pub(crate) fn into_features(self, path: &Path) -> Result<(Features, Option<(usize, usize)>)> {
        let shape = self.shape;
        let refused = |problem: String| {
            Error::refused(path, problem)
                .help("features are an array of numbers, (rows, features) or (rows, height, width)")
        };
        if shape.len() < 2 || shape.contains(&0) {
            return Err(refused(format!("an array of shape ({})", spelled(&shape))));
        }
        if self.fortran && shape.len() > 2 {
            return Err(refused(
                "more than two dimensions in Fortran's order".to_owned(),
            ));
        }
        let (rows, width) = (shape[0], shape[1..].iter().product::<usize>());
        let fits = "as many elements as the shape says";
        let ordered = (rows, width).set_f(self.fortran);
        let features = match self.elements {
            NpyElements::Bytes(bytes) => Features::Bytes(
                Array2::from_shape_vec(ordered, bytes)
                    .expect(fits)
                    .as_standard_layout()
                    .into_owned(),
            ),
            NpyElements::Numbers(numbers) => Features::Reals(
                Array2::from_shape_vec(ordered, numbers)
                    .expect(fits)
                    .as_standard_layout()
                    .into_owned(),
            ),
            NpyElements::Texts(_) => return Err(refused("an array of texts".to_owned())),
        };
        let image = match shape[1..] {
            [height, width] => Some((height, width)),
            _ => None,
        };
        Ok((features, image))
    }

    /// Returns the array as labels: one integer or text for each row.
    ///
    /// # Errors
    /// More than one value per row, or numbers that are not whole.
    pub(crate) fn into_labels(self, path: &Path) -> Result<Vec<String>> {
        let help = "labels are one integer or text for each row, shape (rows) or (rows, 1)";
        if !matches!(self.shape[..], [_] | [_, 1]) {
            let problem = format!("labels of shape ({})", spelled(&self.shape));
            return Err(Error::refused(path, problem).help(help));
        }
        match self.elements {
            NpyElements::Bytes(bytes) => Ok(bytes.iter().map(u8::to_string).collect()),
            NpyElements::Texts(texts) => Ok(texts),
            NpyElements::Numbers(numbers) => {
                if let Some(at) = numbers.iter().position(|number| number.fract() != 0.0) {
                    let problem = format!("label {} is no integer", numbers[at]);
                    return Err(Error::refused(path, problem)
                        .at(format!("row {}", at + 1))
                        .help(format!(
                            "{help}; predict the numbers with task = \"regression\" under [data]"
                        )));
                }
                Ok(numbers.iter().map(f64::to_string).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(descr: &str, shape: &str, content: &[u8]) -> Vec<u8> {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(content);
        bytes
    }

    fn read_all(bytes: &[u8]) -> Result<NpyArray> {
        read(&mut &bytes[..], bytes.len() as u64, Path::new("a.npy"))
    }

    #[test]
    fn every_type_of_number_is_read() {
        for (descr, content, expected) in [
            ("<f8", &1.5f64.to_le_bytes()[..], 1.5),
            (">f8", &1.5f64.to_be_bytes(), 1.5),
            ("<f4", &(-2.5f32).to_le_bytes(), -2.5),
            ("<f2", &0x3e00u16.to_le_bytes(), 1.5),
            ("|i1", &[0xff], -1.0),
            ("<i2", &(-300i16).to_le_bytes(), -300.0),
            (">i4", &(-70_000i32).to_be_bytes(), -70_000.0),
            ("<i8", &(-1i64 << 40).to_le_bytes(), -(2f64.powi(40))),
            ("<u8", &(1u64 << 40).to_le_bytes(), 2f64.powi(40)),
            ("<u2", &65_535u16.to_le_bytes(), 65_535.0),
            ("|b1", &[1], 1.0),
        ] {
            let array = read_all(&file(descr, "(1,)", content)).unwrap();
            assert_eq!(
                array.elements,
                NpyElements::Numbers(vec![expected]),
                "{descr}"
            );
        }
        let texts = read_all(&file(
            "<U2",
            "(2,)",
            &[97, 0, 0, 0, 0, 0, 0, 0, 98, 0, 0, 0, 99, 0, 0, 0],
        ));
        let texts = texts.unwrap().into_labels(Path::new("a.npy")).unwrap();
        assert_eq!(texts, ["a", "bc"]);
    }

    #[test]
    fn hostile_files_are_refused() {
        let good = file("|u1", "(2, 2)", &[1, 2, 3, 4]);
        assert_eq!(read_all(&good).unwrap().shape, [2, 2]);
        for cut in 0..good.len() {
            assert_eq!(read_all(&good[..cut]).unwrap_err().exit_code(), 2, "{cut}");
        }
        for bytes in [
            file("|u1", "(2, 2)", &[1, 2, 3, 4, 5]),
            file("|O", "(1,)", &[0; 8]),
            file("<c16", "(1,)", &[0; 16]),
            file("<f8", "(18446744073709551615, 18446744073709551615)", &[]),
            file("<f8", "(1000000000000,)", &[]),
            file("<f8", "nothing", &[]),
            file("<f8", "(1,)", &f64::NAN.to_le_bytes()),
            b"\x93NUMPY\x09\x00aaaa".to_vec(),
            b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(),
        ] {
            assert_eq!(read_all(&bytes).unwrap_err().exit_code(), 2);
        }
    }
}
