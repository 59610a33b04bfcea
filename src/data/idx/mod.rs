//! Reads IDX files, the format of MNIST: a header, then numbers.
//!
//! ```text
//! byte 0  0 0           magic
//! byte 2  t             type: 08 unsigned and 09 signed bytes, 0b 16-bit and 0c 32-bit integers,
//!                       0d 32-bit and 0e 64-bit floats, all big-endian
//! byte 3  d             number of dimensions
//! byte 4  d × u32       sizes, big-endian; the first counts the rows
//! then    as many numbers as the product of the sizes, row-major
//! ```
//!
//! Labels are class indices: 0…K − 1 or 1…K, each of them in use, so that a stray byte is an error
//! and not a class. Bytes stay bytes and are held in memory once. Refused: files shorter or longer
//! than their header says, files without rows, numbers that are not finite, labels out of range.
//! Source: the MNIST database's page, "the IDX file format".

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use ndarray::Array2;

pub use self::elements::{ElementType, IdxValues};
use super::array_files::{TARGET, target_names};
use super::classes::{MOST_CLASSES, integer, list};
use super::dataset::Dataset;
use super::input::DataFile;
use super::targets::RegressionTargets;
use crate::error::{Error, Result};
use crate::memory;

mod elements;

/// The constant that scales unsigned-byte images to 0…1.
const BYTE_RANGE: f64 = 255.0;

/// The content of an IDX file.
#[derive(Debug, PartialEq)]
pub struct Idx {
    /// The sizes; the first counts the rows.
    pub sizes: Vec<usize>,
    /// All values, row-major.
    pub values: IdxValues,
    /// The type of a value in the file.
    pub element: ElementType,
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
    let header = read_header(&mut input)?;
    read_all(&mut input, header)
}

/// Reads the values after a header.
fn read_all(input: &mut DataFile, header: IdxHeader) -> Result<Idx> {
    let bytes = read_values(input, &header)?;
    let IdxHeader {
        element,
        sizes,
        start,
        ..
    } = header;
    let values = values_of(bytes, element, start, input.path())?;
    Ok(Idx {
        sizes,
        values,
        element,
        start,
    })
}

/// Converts the bytes of numbers that begin at `start`.
///
/// # Errors
/// A number that is not finite.
fn values_of(bytes: Vec<u8>, element: ElementType, start: u64, path: &Path) -> Result<IdxValues> {
    if element == ElementType::U8 {
        return Ok(IdxValues::Bytes(bytes));
    }
    let width = element.width();
    let mut numbers = Vec::new();
    reserve(&mut numbers, bytes.len() / width, path)?;
    numbers.extend(bytes.chunks_exact(width).map(|bytes| element.number(bytes)));
    match numbers.iter().position(|number| !number.is_finite()) {
        None => Ok(IdxValues::Numbers(numbers)),
        Some(at) => Err(Error::refused(
            path,
            format!("{}; only finite numbers are allowed", numbers[at]),
        )
        .at(format!("byte {}", start + (at * width) as u64))),
    }
}

/// Makes room for the values of the file `path`.
fn reserve<T>(values: &mut Vec<T>, count: usize, path: &Path) -> Result<()> {
    let work = format!("{}: its values need", path.display());
    memory::reserve(values, count, &work, "give a file with fewer rows")
}

/// What the header of an IDX file says.
pub(crate) struct IdxHeader {
    pub(crate) element: ElementType,
    /// The sizes; the first counts the rows.
    pub(crate) sizes: Vec<usize>,
    /// The offset of the first value.
    pub(crate) start: u64,
    /// The number of bytes after the header.
    pub(crate) bytes: u64,
}

/// Reads the header and checks it against the size of the file.
pub(crate) fn read_header(input: &mut DataFile) -> Result<IdxHeader> {
    let path = input.path().to_path_buf();
    let (element, sizes) = read_sizes(input)?;
    let start = 4 + 4 * sizes.len() as u64;
    let bytes = sizes
        .iter()
        .try_fold(element.width() as u64, |product, &size| {
            product.checked_mul(size as u64)
        })
        .filter(|bytes| bytes.saturating_add(start) <= input.most_bytes())
        .ok_or_else(|| {
            let capacity = input.most_bytes().saturating_sub(start) / element.width() as u64;
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
    Ok(IdxHeader {
        element,
        sizes,
        start,
        bytes,
    })
}

/// Reads the header; returns the type and the sizes.
fn read_sizes(input: &mut DataFile) -> Result<(ElementType, Vec<usize>)> {
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
                "wrong magic number {}{known}; an IDX file begins with 00 00",
                hexadecimal(&magic)
            ),
        )
        .at(input.place(0))
        .help("two files are read as IDX images and labels; for a CSV, name one file"));
    }
    let known = ElementType::ALL.iter().find(|(code, _)| *code == magic[2]);
    let Some((_, element)) = known else {
        return Err(Error::refused(
            path,
            format!(
                "unknown type code 0x{:02x}; allowed are 0x08 (unsigned bytes), 0x09, 0x0b, 0x0c, 0x0d and 0x0e",
                magic[2]
            ),
        )
        .at(input.place(2))
        .help("convert the file to unsigned bytes, or to CSV"));
    };
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
    Ok((*element, sizes))
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

/// Reads the bytes after the header; refuses bytes after them.
fn read_values(input: &mut DataFile, header: &IdxHeader) -> Result<Vec<u8>> {
    let IdxHeader {
        element,
        sizes,
        start,
        bytes: announced,
    } = header;
    let (start, announced) = (*start, *announced);
    let mut values = Vec::new();
    // Reserved exactly, so that growth never holds the data twice. The file's size bounds the
    // request, and pages that are never written take no memory, so a wrong header does no harm.
    let count = usize::try_from(announced).unwrap_or(usize::MAX);
    reserve(&mut values, count, input.path())?;
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
                values.len() / element.width()
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
pub(crate) fn shape(sizes: &[usize]) -> String {
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
    images: CheckedFile,
    (labels_path, labels_sha256): CheckedFile,
    name: String,
    class_names: Option<&[String]>,
) -> Result<Dataset> {
    let (images, labels) = read_pair(images, (labels_path, labels_sha256), 1)?;
    let class_names = match class_names {
        Some(names) => names.to_vec(),
        None => count_classes(&labels, labels_path)?,
    };
    Ok(Dataset {
        labels: class_indices(&labels, labels_path, &class_names)?,
        class_names,
        ..dataset(images, name)
    })
}

/// Reads an images file and its file of the numbers that a regression predicts, `(rows)` or
/// `(rows, targets)` of any type, whose names are yet to be given.
///
/// # Errors
/// The errors of [`read`] for each file, different numbers of rows.
pub(crate) fn load_numbers(images: &Path, numbers: &Path, name: String) -> Result<Dataset> {
    let (images, answers) = read_pair((images, None), (numbers, None), 2)?;
    let width = answers.sizes.get(1).copied().unwrap_or(1);
    let rows = images.sizes[0];
    let value = |(row, target): (usize, usize)| answers.values.value(row * width + target);
    Ok(Dataset {
        labels: vec![0; rows],
        targets: Some(RegressionTargets {
            names: target_names(TARGET, width),
            values: Array2::from_shape_fn((rows, width), value),
        }),
        ..dataset(images, name)
    })
}

/// Reads an images file and the file of the labels, or numbers, that belong to it, which has at
/// most `dimensions` dimensions.
fn read_pair(
    (images_path, images_sha256): CheckedFile,
    (labels_path, labels_sha256): CheckedFile,
    dimensions: usize,
) -> Result<(Idx, Idx)> {
    // Both headers first: a wrong pair is refused before any value is read, let alone unpacked.
    let mut labels_file = DataFile::open(labels_path, labels_sha256)?;
    let labels_header = read_header(&mut labels_file)?;
    let mut images_file = DataFile::open(images_path, images_sha256)?;
    let images_header = read_header(&mut images_file)?;
    let (images, labels) = (&images_header, &labels_header);
    check_pair((images_path, images), (labels_path, labels), dimensions)?;
    let labels = read_all(&mut labels_file, labels_header)?;
    drop(labels_file);
    Ok((read_all(&mut images_file, images_header)?, labels))
}

/// Makes a dataset of images, without labels.
fn dataset(images: Idx, name: String) -> Dataset {
    let is_bytes = images.element == ElementType::U8;
    let image = match images.sizes[1..] {
        [height, width] => Some((height, width)),
        _ => None,
    };
    Dataset {
        name,
        labels: Vec::new(),
        features: images.values.into_features(images.sizes[0]),
        class_names: Vec::new(),
        image,
        unit_divisor: image.filter(|_| is_bytes).map(|_| BYTE_RANGE),
        targets: None,
        table: None,
    }
}

/// Refuses images and labels that do not belong together, by their headers; labels have at most
/// `dimensions` dimensions.
fn check_pair(
    (images_path, images): (&Path, &IdxHeader),
    (labels_path, labels): (&Path, &IdxHeader),
    dimensions: usize,
) -> Result<()> {
    if !(1..=dimensions).contains(&labels.sizes.len()) {
        let allowed = match dimensions {
            1 => "labels have 1 dimension",
            _ => "numbers to predict have 1 dimension, or 2 if there are several for each row",
        };
        return Err(Error::refused(
            labels_path,
            format!(
                "{} values in {} dimensions; {allowed}",
                shape(&labels.sizes),
                labels.sizes.len()
            ),
        )
        .at("byte 3")
        .help("name the images file first, then the labels file"));
    }
    if images.sizes.len() < 2 {
        return Err(
            Error::refused(images_path, "1 dimension; images have 2 or more")
                .at("byte 3")
                .help("name the images file first, then the labels file"),
        );
    }
    let (rows, labels) = (images.sizes[0], labels.sizes[0]);
    if rows != labels {
        return Err(Error::refused(
            images_path,
            format!(
                "{rows} images, but {labels} labels in {}",
                labels_path.display()
            ),
        )
        .at("byte 4")
        .help("name an images file and the labels file that belongs to it"));
    }
    Ok(())
}

/// Names the classes after their labels, which must have no gap.
fn count_classes(labels: &Idx, path: &Path) -> Result<Vec<String>> {
    let mut used = vec![false; MOST_CLASSES + 2];
    for row in 0..labels.values.len() {
        match label_of(labels, row).and_then(|label| used.get_mut(label)) {
            Some(used) => *used = true,
            None => {
                let allowed = format!("labels are 0…K − 1 or 1…K, K at most {MOST_CLASSES}");
                return Err(out_of_range(labels, row, path, &allowed));
            }
        }
    }
    let first = usize::from(!used[0]);
    let classes = used[first..].iter().take_while(|&&used| used).count();
    let end = first + classes;
    let is_stray = |row: &usize| label_of(labels, *row).is_none_or(|label| label >= end);
    if let Some(row) = (0..labels.values.len()).find(is_stray) {
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

/// Returns the label of a row, if it is a whole number from 0.
fn label_of(labels: &Idx, row: usize) -> Option<usize> {
    let value = labels.values.value(row);
    (value >= 0.0 && value.fract() == 0.0 && value < f64::from(u32::MAX)).then_some(value as usize)
}

/// Converts labels to class indices. If all class names are integers, a label is a class name,
/// otherwise it is a class index.
fn class_indices(labels: &Idx, path: &Path, class_names: &[String]) -> Result<Vec<u16>> {
    let numbered = class_names.iter().all(|name| integer(name).is_some());
    let mut classes = HashMap::new();
    for (class, name) in (0u16..).zip(class_names) {
        let label = if numbered {
            integer(name).and_then(|label| usize::try_from(label).ok())
        } else {
            Some(usize::from(class))
        };
        if let Some(label) = label {
            classes.insert(label, class);
        }
    }
    (0..labels.values.len())
        .map(|row| {
            let class = label_of(labels, row).and_then(|label| classes.get(&label));
            class.copied().ok_or_else(|| {
                let allowed = format!("the classes are {}", list(class_names));
                out_of_range(labels, row, path, &allowed)
            })
        })
        .collect()
}

fn out_of_range(labels: &Idx, row: usize, path: &Path, allowed: &str) -> Error {
    let label = labels.values.value(row);
    let byte = labels.start + (row * labels.element.width()) as u64;
    Error::refused(path, format!("label {label} out of range: {allowed}"))
        .at(format!("byte {byte} (row {})", row + 1))
}
