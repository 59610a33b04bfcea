//! Vectors of numbers in files: JSON (an array), CSV (numbers separated by commas, spaces or lines)
//! and NPY (NumPy's arrays of numbers of any type). The file's extension tells the form.

use std::fmt::Write as _;
use std::path::Path;

use super::file::{read_capped, write_atomically};
use super::npy;
use crate::data::npy::read as read_npy;
use crate::error::{Error, Result};

/// The largest file that is read.
const LARGEST: u64 = 1 << 32;

/// The form of a vector's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum VectorForm {
    Json,
    Csv,
    Npy,
}

/// Returns the form that the extension of `path` names.
///
/// # Errors
/// Another extension is refused.
fn form(path: &Path) -> Result<VectorForm> {
    let extension = path
        .extension()
        .map(|extension| extension.to_ascii_lowercase());
    match extension.as_ref().and_then(|extension| extension.to_str()) {
        Some("json") => Ok(VectorForm::Json),
        Some("csv" | "txt") => Ok(VectorForm::Csv),
        Some("npy") => Ok(VectorForm::Npy),
        _ => Err(
            Error::refused(path, "its extension names no form of a vector")
                .help("allowed: .json, .csv, .npy"),
        ),
    }
}

/// Refuses a path to which no vector can be written, before any work is done for it.
///
/// # Errors
/// An extension that names no form.
pub fn check_output(path: &Path) -> Result<()> {
    form(path).map(|_| ())
}

/// Reads the vector in `path`; its numbers may be infinite or NaN.
///
/// # Errors
/// Content that is no vector, with its place; an unknown extension; a failed read.
pub fn load(path: &Path) -> Result<Vec<f64>> {
    let form = form(path)?;
    let bytes = read_capped(path, LARGEST)?;
    match form {
        VectorForm::Npy => from_npy(path, &bytes),
        VectorForm::Json => from_json(path, text(path, &bytes)?),
        VectorForm::Csv => from_csv(path, text(path, &bytes)?),
    }
}

/// Writes `vector` to `path`, each number with all its bits.
///
/// # Errors
/// An unknown extension, or a failed write; `path` is then unchanged.
pub fn save(path: &Path, vector: &[f64]) -> Result<()> {
    let bytes = match form(path)? {
        VectorForm::Json => {
            let mut text = serde_json::to_string(vector).expect("numbers can be written");
            text.push('\n');
            text.into_bytes()
        }
        VectorForm::Csv => {
            let mut text = String::new();
            for number in vector {
                writeln!(text, "{number:?}").expect("a string takes all that is written");
            }
            text.into_bytes()
        }
        VectorForm::Npy => npy::of_numbers(vector, &[vector.len()]),
    };
    write_atomically(path, &bytes)
}

fn text<'b>(path: &Path, bytes: &'b [u8]) -> Result<&'b str> {
    std::str::from_utf8(bytes).map_err(|error| {
        Error::refused(path, "is not UTF-8 text").at(format!("byte {}", error.valid_up_to()))
    })
}

fn from_json(path: &Path, text: &str) -> Result<Vec<f64>> {
    serde_json::from_str(text).map_err(|error| {
        if ["NaN", "Infinity"].iter().any(|word| text.contains(word)) {
            return Error::refused(path, "holds NaN or Infinity, which JSON does not have")
                .help("give finite numbers, such as [0.5, -1.2, …]");
        }
        Error::refused(path, format!("is no JSON array of numbers: {error}"))
            .help("write the vector as [0.5, -1.2, …]")
    })
}

fn from_csv(path: &Path, text: &str) -> Result<Vec<f64>> {
    let mut vector = Vec::new();
    for (line, content) in text.lines().enumerate() {
        let separates = |letter: char| ",; \t".contains(letter);
        let words = content.split(separates).map(str::trim);
        for word in words.filter(|word| !word.is_empty()) {
            match word.parse() {
                Ok(number) => vector.push(number),
                // A heading.
                Err(_) if line == 0 && vector.is_empty() => break,
                Err(_) => {
                    return Err(Error::refused(path, format!("`{word}` is no number"))
                        .at(format!("line {}", line + 1))
                        .help(
                            "write the numbers of the vector one a line, or separated by commas",
                        ));
                }
            }
        }
    }
    Ok(vector)
}

fn from_npy(path: &Path, bytes: &[u8]) -> Result<Vec<f64>> {
    let mut input = bytes;
    let array = read_npy(&mut input, bytes.len() as u64, path)?;
    array
        .into_numbers()
        .ok_or_else(|| Error::refused(path, "holds texts; save an array of numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_keeps_every_bit() {
        let folder = tempfile::tempdir().unwrap();
        let vector = [0.1, -1e-300, 3.0, f64::MAX, 5e-324, -0.0];
        for name in ["a.json", "a.csv", "a.npy"] {
            let path = folder.path().join(name);
            save(&path, &vector).unwrap();
            let back = load(&path).unwrap();
            let bits = |vector: &[f64]| vector.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&back), bits(&vector), "{name}");
        }
    }

    #[test]
    fn files_of_others_are_read_and_what_is_no_vector_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            load(&path).map_err(|error| error.to_string())
        };
        assert_eq!(write("h.csv", b"theta\n1\n2.5\n"), Ok(vec![1.0, 2.5]));
        assert_eq!(
            write("r.csv", b"1, 2;3\t4\r\n"),
            Ok(vec![1.0, 2.0, 3.0, 4.0])
        );
        assert!(
            write("x.csv", b"1\ntwo\n")
                .unwrap_err()
                .contains("line 2: `two`")
        );
        assert!(
            write("x.json", b"{\"a\":1}")
                .unwrap_err()
                .contains("JSON array")
        );
        assert!(
            write("n.json", b"[1, NaN]")
                .unwrap_err()
                .contains("holds NaN")
        );
        assert!(write("x.bin", b"").unwrap_err().contains(".npy"));
        // numpy.save of float32 [[1.5], [2]].
        let mut npy = b"\x93NUMPY\x01\x00\x46\x00".to_vec();
        let mut header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }".to_vec();
        header.resize(69, b' ');
        header.push(b'\n');
        npy.extend(&header);
        npy.extend([1.5f32.to_le_bytes(), 2f32.to_le_bytes()].concat());
        assert_eq!(write("f.npy", &npy), Ok(vec![1.5, 2.0]));
        assert!(
            write("s.npy", &npy[..npy.len() - 1])
                .unwrap_err()
                .contains("too short")
        );
        assert!(write("t.npy", &npy[..20]).unwrap_err().contains("header"));
        // numpy.save of int32 [[1], [2]], and of two by two numbers in Fortran's order.
        let other = |from: &[u8], to: &[u8], elements: [[u8; 4]; 2]| {
            let mut bytes = npy[..80].to_vec();
            let at = bytes.windows(from.len()).position(|part| part == from);
            bytes[at.unwrap()..][..to.len()].copy_from_slice(to);
            bytes.extend(elements.concat());
            bytes
        };
        let integers = other(b"<f4", b"<i4", [1i32.to_le_bytes(), 2i32.to_le_bytes()]);
        assert_eq!(write("i.npy", &integers), Ok(vec![1.0, 2.0]));
        let nan = other(b"<f4", b"<f4", [f32::NAN.to_le_bytes(), 2f32.to_le_bytes()]);
        assert!(write("n.npy", &nan).is_err());
    }
}
