//! Reads IDX files, the format of MNIST: a header, then unsigned bytes.
//!
//! ```text
//! byte 0  0 0           magic
//! byte 2  8             type code: unsigned bytes
//! byte 3  d             number of dimensions
//! byte 4  d × u32       sizes, big-endian; the first counts the rows
//! then    product of the sizes bytes, row-major
//! ```
//!
//! Labels are class indices: 0…K − 1 or 1…K, each of them in use, so that a stray byte is an error
//! and not a class. The values stay bytes and are held in memory once. Refused: other types, files
//! shorter or longer than their header says, files without rows, labels out of range. Source: the
//! MNIST database's page, "the IDX file format".

use std::io::Read;
use std::path::Path;

use ndarray::Array2;

use super::classes::{integer, list};
use super::dataset::{Dataset, Features};
use super::input::DataFile;
use crate::error::{Error, Result};

/// The constant that scales unsigned-byte images to 0…1.
const BYTE_RANGE: f64 = 255.0;

/// The content of an IDX file.
#[derive(Debug, PartialEq, Eq)]
pub struct Idx {
    /// The sizes; the first counts the rows.
    pub sizes: Vec<usize>,
    /// All values, row-major.
    pub values: Vec<u8>,
    /// The offset of the first value in the (unpacked) file.
    pub start: u64,
}

/// Reads an IDX file, gzipped or not. If a checksum (SHA-256, hexadecimal) is given, the file must
/// have it.
///
/// # Errors
/// Any violation of the format, with its byte offset; a wrong checksum; a failed read.
pub fn read(path: &Path, sha256: Option<&str>) -> Result<Idx> {
    let mut input = DataFile::open(path, sha256)?;
    let sizes = read_header(&mut input)?;
    let start = 4 + 4 * sizes.len() as u64;
    let announced = sizes
        .iter()
        .try_fold(1u64, |product, &size| product.checked_mul(size as u64))
        .filter(|bytes| bytes.saturating_add(start) <= input.most_bytes())
        .ok_or_else(|| {
            let capacity = input.most_bytes().saturating_sub(start);
            Error::refused(
                path,
                format!(
                    "too short: the header announces {} values, but the file holds at most {capacity}",
                    shape(&sizes)
                ),
            )
            .at(input.place(4))
            .help("the file is truncated, or its header is wrong: copy or download it again")
        })?;
    let values = read_values(&mut input, start, announced, &sizes)?;
    Ok(Idx {
        sizes,
        values,
        start,
    })
}

/// Reads the header; returns the sizes.
fn read_header(input: &mut DataFile) -> Result<Vec<usize>> {
    let path = input.path().to_path_buf();
    let magic = read_exactly(input, 0, 4)?;
    if magic[..2] != [0, 0] {
        let known = match magic[..] {
            [0x93, b'N', b'U', b'M'] => ": this is an NPY file",
            [b'P', b'K', ..] => ": this is a zip file",
            _ if magic.is_ascii() => ": this looks like text",
            _ => "",
        };
        return Err(Error::refused(
            path,
            format!(
                "wrong magic number {}{known}; an IDX file begins with 00 00 08",
                hexadecimal(&magic)
            ),
        )
        .at(input.place(0))
        .help("two files are read as IDX images and labels; for a CSV, name one file"));
    }
    if magic[2] != 8 {
        let known = match magic[2] {
            0x09 => " (signed bytes)",
            0x0b => " (16-bit integers)",
            0x0c => " (32-bit integers)",
            0x0d => " (32-bit floats)",
            0x0e => " (64-bit floats)",
            _ => "",
        };
        return Err(Error::refused(
            path,
            format!(
                "wrong type code 0x{:02x}{known}; only 0x08 (unsigned bytes) is allowed",
                magic[2]
            ),
        )
        .at(input.place(2))
        .help("convert the file to unsigned bytes, or to CSV"));
    }
    if magic[3] == 0 {
        return Err(
            Error::refused(path, "0 dimensions; labels have 1, images 2 or more")
                .at(input.place(3)),
        );
    }
    let sizes: Vec<usize> = read_exactly(input, 4, 4 * usize::from(magic[3]))?
        .chunks_exact(4)
        .map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
        .collect();
    if let Some(zero) = sizes.iter().position(|&size| size == 0) {
        let problem = if zero == 0 {
            "0 rows".to_owned()
        } else {
            format!("size 0 in dimension {}", zero + 1)
        };
        return Err(
            Error::refused(path, format!("{problem}; a dataset has at least one"))
                .at(input.place(4 + 4 * zero as u64)),
        );
    }
    Ok(sizes)
}

/// Reads the next `count` bytes of the header.
fn read_exactly(input: &mut DataFile, offset: u64, count: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(count);
    if let Err(source) = input.by_ref().take(count as u64).read_to_end(&mut bytes) {
        return Err(input.failure(offset + bytes.len() as u64, source));
    }
    if bytes.len() < count {
        let end = offset + bytes.len() as u64;
        return Err(Error::refused(
            input.path(),
            format!(
                "too short: the file ends inside its header, which needs {} bytes",
                offset + count as u64
            ),
        )
        .at(input.place(end)));
    }
    Ok(bytes)
}

/// Reads the `announced` bytes after the header; refuses bytes after them.
fn read_values(
    input: &mut DataFile,
    start: u64,
    announced: u64,
    sizes: &[usize],
) -> Result<Vec<u8>> {
    let mut values = Vec::new();
    // Reserved exactly, so that growth never holds the data twice. The file's size bounds the
    // request, and pages that are never written take no memory, so a wrong header does no harm.
    usize::try_from(announced)
        .ok()
        .and_then(|count| values.try_reserve_exact(count).ok())
        .ok_or_else(|| {
            Error::Resources(format!(
                "{}: not enough memory for its {announced} bytes",
                input.path().display()
            ))
        })?;
    if let Err(source) = input.by_ref().take(announced).read_to_end(&mut values) {
        return Err(input.failure(start + values.len() as u64, source));
    }
    let end = start + values.len() as u64;
    if (values.len() as u64) < announced {
        return Err(Error::refused(
            input.path(),
            format!(
                "too short: the header announces {} values, but the file ends after {}",
                shape(sizes),
                values.len()
            ),
        )
        .at(input.place(end))
        .help("copy or download the file again"));
    }
    // Reading beyond the end also makes gzip verify its checksum.
    match input.read(&mut [0]) {
        Ok(0) => Ok(values),
        Ok(_) => Err(Error::refused(
            input.path(),
            format!(
                "too long: bytes follow the {} values that the header announces",
                shape(sizes)
            ),
        )
        .at(input.place(end))),
        Err(source) => Err(input.failure(end, source)),
    }
}

/// Spells sizes: `60000 × 28 × 28`.
fn shape(sizes: &[usize]) -> String {
    let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
    sizes.join(" × ")
}

fn hexadecimal(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

/// A file, and the checksum it must have, if one is given.
pub(crate) type CheckedFile<'a> = (&'a Path, Option<&'a str>);

/// Reads an images file and its labels file; `class_names` are the classes, if they are known,
/// otherwise they follow from the labels. Images are flattened to `(rows, features)`.
///
/// # Errors
/// The errors of [`read`] for each file, different numbers of rows, labels out of range.
pub(crate) fn load(
    (images_path, images_sha256): CheckedFile,
    (labels_path, labels_sha256): CheckedFile,
    name: String,
    class_names: Option<&[String]>,
) -> Result<Dataset> {
    // The labels first: they are small, so a wrong pair is refused before the images are unpacked.
    let labels = read(labels_path, labels_sha256)?;
    if labels.sizes.len() != 1 {
        return Err(Error::refused(
            labels_path,
            format!(
                "{} values in {} dimensions; labels have 1 dimension",
                shape(&labels.sizes),
                labels.sizes.len()
            ),
        )
        .at("byte 3")
        .help("name the images file first, then the labels file"));
    }
    let images = read(images_path, images_sha256)?;
    if images.sizes.len() < 2 {
        return Err(
            Error::refused(images_path, "1 dimension; images have 2 or more")
                .at("byte 3")
                .help("name the images file first, then the labels file"),
        );
    }
    let rows = images.sizes[0];
    if rows != labels.sizes[0] {
        return Err(Error::refused(
            images_path,
            format!(
                "{rows} images, but {} labels in {}",
                labels.sizes[0],
                labels_path.display()
            ),
        )
        .at("byte 4")
        .help("name an images file and the labels file that belongs to it"));
    }
    let class_names = match class_names {
        Some(names) => names.to_vec(),
        None => count_classes(&labels, labels_path)?,
    };
    let features = images.values.len() / rows;
    let image = match images.sizes[1..] {
        [height, width] => Some((height, width)),
        _ => None,
    };
    Ok(Dataset {
        name,
        labels: class_indices(&labels, labels_path, &class_names)?,
        features: Features::Bytes(
            Array2::from_shape_vec((rows, features), images.values)
                .expect("the reader returns rows × features values"),
        ),
        class_names,
        image,
        unit_divisor: image.map(|_| BYTE_RANGE),
        targets: None,
    })
}

/// Names the classes after their labels, which must have no gap.
fn count_classes(labels: &Idx, path: &Path) -> Result<Vec<String>> {
    let mut used = [false; 256];
    for &label in &labels.values {
        used[usize::from(label)] = true;
    }
    let first = usize::from(!used[0]);
    let classes = used[first..].iter().take_while(|&&used| used).count();
    let end = first + classes;
    let is_stray = |&label: &u8| usize::from(label) >= end;
    if let Some(row) = labels.values.iter().position(is_stray) {
        let missing = format!("no row has label {end}; labels are 0…K − 1 or 1…K, each in use");
        return Err(out_of_range(labels, row, path, &missing)
            .help("number the classes without gaps, or use a CSV, where labels can be any text"));
    }
    if classes < 2 {
        return Err(Error::refused(
            path,
            format!("every label is {first}; a dataset has at least 2 classes"),
        ));
    }
    Ok((first..end).map(|label| label.to_string()).collect())
}

/// Converts labels to class indices. If all class names are integers, a label is a class name,
/// otherwise it is a class index.
fn class_indices(labels: &Idx, path: &Path, class_names: &[String]) -> Result<Vec<u16>> {
    let numbered = class_names.iter().all(|name| integer(name).is_some());
    let mut classes = [None; 256];
    for (class, name) in (0u16..).zip(class_names) {
        let label = if numbered {
            integer(name).and_then(|label| usize::try_from(label).ok())
        } else {
            Some(usize::from(class))
        };
        if let Some(entry) = label.and_then(|label| classes.get_mut(label)) {
            *entry = Some(class);
        }
    }
    (0..labels.values.len())
        .map(|row| {
            classes[usize::from(labels.values[row])].ok_or_else(|| {
                let allowed = format!("the classes are {}", list(class_names));
                out_of_range(labels, row, path, &allowed)
            })
        })
        .collect()
}

fn out_of_range(labels: &Idx, row: usize, path: &Path, allowed: &str) -> Error {
    let label = labels.values[row];
    Error::refused(path, format!("label {label} out of range: {allowed}")).at(format!(
        "byte {} (row {})",
        labels.start + row as u64,
        row + 1
    ))
}
