//! Rows without labels, for which a model is asked: from CSV, IDX, NPY, NPZ and PNG files.
//!
//! The kind of a file follows from its first bytes. Rows of an IDX file that is not gzipped are read
//! in parts, where they are needed; all others are read whole.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndarray::{Array2, s};

use super::array_files;
use super::csv;
use super::dataset::{Dataset, Features};
use super::idx::{self, ElementType, IdxHeader};
use super::input::DataFile;
use super::loading::ExpectedData;
use super::table::encode;
use crate::error::{Error, Result};
use crate::open;

/// Rows for a model, as its network's inputs before they are scaled.
#[derive(Debug)]
pub struct UnlabeledRows {
    content: RowContent,
    rows: usize,
    /// The name of each row, if it has one: that of a picture's file.
    pub names: Option<Vec<String>>,
    /// What was found out, a sentence each.
    pub notes: Vec<String>,
}

#[derive(Debug)]
enum RowContent {
    Whole(Features),
    Bytes(ByteRows),
}

/// The rows of an IDX file of bytes.
#[derive(Debug)]
struct ByteRows {
    path: PathBuf,
    file: File,
    start: u64,
    width: usize,
}

impl UnlabeledRows {
    /// Opens the file or the folder `path` for a model; columns of a CSV are found by the names that
    /// it knows.
    ///
    /// # Errors
    /// Missing or invalid files; a column that is missing, or another number of features; a category
    /// that the model does not know.
    pub fn open(path: &Path, expected: &ExpectedData) -> Result<Self> {
        if path.is_dir() {
            return Self::pictures(path, expected);
        }
        if let Some(format) = array_files::format_of(path)? {
            return Self::whole(array_files::read_features(path, format)?, path, expected);
        }
        let mut magic = [0; 6];
        let count = DataFile::open(path, None)?.read_start(&mut magic)?;
        match &magic[..count] {
            [0x89, b'P', b'N', b'G', ..] => Self::picture(path, expected),
            [0, 0, code, ..] if *code != 0 => Self::idx(path, expected),
            _ => Self::table(path, expected),
        }
    }

    fn whole(features: Features, path: &Path, expected: &ExpectedData) -> Result<Self> {
        let (rows, found) = features.dim();
        check_width(found, path, expected)?;
        Ok(Self {
            content: RowContent::Whole(features),
            rows,
            names: None,
            notes: Vec::new(),
        })
    }

    fn table(path: &Path, expected: &ExpectedData) -> Result<Self> {
        let columns = expected.columns(false);
        let table = csv::read_as(path, &columns, None)?;
        let notes = table.table.notes.clone();
        let data = Dataset {
            name: String::new(),
            features: table.features,
            labels: Vec::new(),
            class_names: Vec::new(),
            image: None,
            unit_divisor: None,
            targets: None,
            table: Some(Arc::new(table.table)),
        };
        let data = encode(&Arc::new(data), expected.schema, &[])?;
        let features = Arc::unwrap_or_clone(data).features;
        Ok(Self {
            notes,
            ..Self::whole(features, path, expected)?
        })
    }

    fn idx(path: &Path, expected: &ExpectedData) -> Result<Self> {
        let mut input = DataFile::open(path, None)?;
        let IdxHeader {
            element,
            sizes,
            start,
            bytes,
        } = idx::read_header(&mut input)?;
        let rows = sizes[0];
        let width = (bytes / element.width() as u64) as usize / rows;
        check_width(width, path, expected)
            .map_err(|error| error.at(format!("{} numbers in the header", idx::shape(&sizes))))?;
        let is_whole = input.is_gzipped() || element != ElementType::U8 || cfg!(not(unix));
        if is_whole || input.most_bytes() != start + bytes {
            let whole = idx::read(path, None)?;
            return Self::whole(whole.values.into_features(rows), path, expected);
        }
        Ok(Self {
            content: RowContent::Bytes(ByteRows {
                path: path.to_path_buf(),
                file: open::regular(path)?,
                start,
                width,
            }),
            rows,
            names: None,
            notes: Vec::new(),
        })
    }

    #[cfg(feature = "png")]
    fn picture(path: &Path, expected: &ExpectedData) -> Result<Self> {
        let picture = super::pictures::read(path)?;
        super::pictures::check_size(&picture, path, expected)?;
        let features = Array2::from_shape_vec((1, picture.pixels.len()), picture.pixels);
        let features = Features::Bytes(features.expect("one row"));
        Self::whole(features, path, expected)
    }

    #[cfg(feature = "png")]
    fn pictures(path: &Path, expected: &ExpectedData) -> Result<Self> {
        let files = super::pictures::files(path)?;
        let mut pixels = Vec::new();
        for file in &files {
            let picture = super::pictures::read(&path.join(file))?;
            super::pictures::check_size(&picture, &path.join(file), expected)?;
            pixels.extend(picture.pixels);
        }
        let shape = (files.len(), pixels.len() / files.len());
        let features = Array2::from_shape_vec(shape, pixels).expect("pictures of one size");
        let names = files.iter().map(|file| file.to_string_lossy().into_owned());
        Ok(Self {
            names: Some(names.collect()),
            ..Self::whole(Features::Bytes(features), path, expected)?
        })
    }

    #[cfg(not(feature = "png"))]
    fn picture(path: &Path, _: &ExpectedData) -> Result<Self> {
        Err(no_pictures(path))
    }

    #[cfg(not(feature = "png"))]
    fn pictures(path: &Path, _: &ExpectedData) -> Result<Self> {
        Err(no_pictures(path))
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns some of the rows, `(rows, inputs)`.
    ///
    /// # Errors
    /// A failed read.
    pub fn part(&self, rows: Range<usize>) -> Result<Features> {
        match &self.content {
            RowContent::Whole(Features::Bytes(values)) => {
                Ok(Features::Bytes(values.slice(s![rows, ..]).to_owned()))
            }
            RowContent::Whole(Features::Reals(values)) => {
                Ok(Features::Reals(values.slice(s![rows, ..]).to_owned()))
            }
            RowContent::Bytes(file) => file.part(rows),
        }
    }
}

#[cfg(not(feature = "png"))]
fn no_pictures(path: &Path) -> Error {
    Error::refused(path, "pictures need the feature `png`")
        .help("build nplus1 with its default features")
}

impl ByteRows {
    #[cfg(unix)]
    fn part(&self, rows: Range<usize>) -> Result<Features> {
        use std::os::unix::fs::FileExt;
        let mut bytes = vec![0; rows.len() * self.width];
        let offset = self.start + (rows.start * self.width) as u64;
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|source| Error::io("read", &self.path, source))?;
        let features = Array2::from_shape_vec((rows.len(), self.width), bytes);
        Ok(Features::Bytes(features.expect("rows × width bytes")))
    }

    #[cfg(not(unix))]
    fn part(&self, _: Range<usize>) -> Result<Features> {
        unreachable!("read whole on this system: {:?}", self.file)
    }
}

fn check_width(found: usize, path: &Path, expected: &ExpectedData) -> Result<()> {
    if found == expected.inputs {
        return Ok(());
    }
    Err(Error::refused(
        path,
        format!(
            "{found} features per row, but {} has {}",
            expected.path.display(),
            expected.inputs
        ),
    ))
}
