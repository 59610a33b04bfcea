//! Gray pictures in PNG files: one, or a folder with a subfolder for each class.

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use png::{BitDepth, ColorType, Decoder, Limits, Transformations};

use super::classes::{Classes, MOST_CLASSES};
use super::dataset::{Dataset, Features};
use super::loading::ExpectedData;
use crate::error::{Error, Result};
use crate::open;

/// The largest number of pixels of a picture: as many as a layer may have inputs, and more.
const MOST_PIXELS: u64 = 1 << 24;

/// The constant that scales pixels to 0…1.
const BYTE_RANGE: f64 = 255.0;

/// A gray picture.
#[derive(Debug)]
pub(crate) struct GrayPicture {
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Row by row, 0 is black.
    pub(crate) pixels: Vec<u8>,
}

/// Reads a PNG of at most 8 bits per pixel, without color and transparency.
///
/// # Errors
/// A file that is no such PNG.
pub(crate) fn read(path: &Path) -> Result<GrayPicture> {
    let refused = |error: png::DecodingError| match error {
        png::DecodingError::IoError(source)
            if source.kind() != std::io::ErrorKind::UnexpectedEof =>
        {
            Error::io("read", path, source)
        }
        other => Error::refused(path, format!("no valid PNG: {other}"))
            .help("save the picture again as a gray PNG"),
    };
    let file = BufReader::new(open::regular(path)?);
    let mut decoder = Decoder::new_with_limits(file, Limits { bytes: 1 << 26 });
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(refused)?;
    let info = reader.info();
    let (color, depth) = (info.color_type, info.bit_depth);
    if color != ColorType::Grayscale || depth == BitDepth::Sixteen || info.trns.is_some() {
        let found = match color {
            ColorType::Grayscale if depth == BitDepth::Sixteen => "16 bits per pixel",
            ColorType::Grayscale => "transparency",
            ColorType::GrayscaleAlpha => "transparency",
            ColorType::Rgb | ColorType::Rgba | ColorType::Indexed => "color",
        };
        return Err(Error::refused(
            path,
            format!("a PNG with {found}; allowed are gray ones of at most 8 bits per pixel"),
        )
        .help("convert it, for example with: magick IN.png -colorspace gray -alpha off -depth 8 OUT.png"));
    }
    let (width, height) = (info.width as usize, info.height as usize);
    if u64::from(info.width) * u64::from(info.height) > MOST_PIXELS {
        return Err(Error::refused(
            path,
            format!("{height} × {width} pixels; at most {MOST_PIXELS} are allowed"),
        ));
    }
    let mut pixels = vec![0; width * height];
    reader.next_frame(&mut pixels).map_err(refused)?;
    Ok(GrayPicture {
        height,
        width,
        pixels,
    })
}

/// Refuses a picture of another size than those of the model, or of another number of pixels.
pub(crate) fn check_size(
    picture: &GrayPicture,
    path: &Path,
    expected: &ExpectedData,
) -> Result<()> {
    let found = (picture.height, picture.width);
    let fits = match expected.schema.image {
        Some(image) => image == found,
        None => picture.pixels.len() == expected.inputs,
    };
    if fits {
        return Ok(());
    }
    let allowed = match expected.schema.image {
        Some((height, width)) => format!("{height} × {width}"),
        None => format!("{} in all", expected.inputs),
    };
    Err(Error::refused(
        path,
        format!(
            "{} × {} pixels (height × width), but {} was trained with {allowed}",
            found.0,
            found.1,
            expected.path.display()
        ),
    )
    .help("scale the picture to that size"))
}

/// Returns the PNG files of a folder and of its subfolders, sorted, relative to it.
///
/// # Errors
/// A folder that cannot be read, or has no PNG file.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for name in names(folder)? {
        if folder.join(&name).is_dir() {
            let inner = names(&folder.join(&name))?;
            files.extend(inner.iter().map(|file| name.join(file)));
        } else {
            files.push(name);
        }
    }
    files.retain(|file| is_png(file) && folder.join(file).is_file());
    if files.is_empty() {
        return Err(Error::refused(folder, "no PNG file in this folder")
            .help("put pictures into it, or into one subfolder for each class"));
    }
    Ok(files)
}

fn is_png(file: &Path) -> bool {
    let extension = file.extension().unwrap_or_default();
    extension.eq_ignore_ascii_case("png")
}

/// Returns the names in a folder, sorted, without hidden ones.
fn names(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |source| Error::io("read", folder, source);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            names.push(PathBuf::from(name));
        }
    }
    names.sort();
    Ok(names)
}

/// Reads a folder that has a subfolder of pictures for each class, named after it. If `classes` and
/// an image size are known, they must be those.
///
/// # Errors
/// No pictures, a picture beside the subfolders, pictures of different sizes, more than 1000
/// classes.
pub(crate) fn load(
    folder: &Path,
    name: String,
    known: Option<(&[String], &Path)>,
) -> Result<Dataset> {
    let files = files(folder)?;
    let mut classes = Classes::default();
    let mut pixels = Vec::new();
    let mut first: Option<(usize, usize)> = None;
    for (row, file) in (1..).zip(&files) {
        let path = folder.join(file);
        let class = file.parent().and_then(Path::to_str).unwrap_or_default();
        if class.is_empty() {
            return Err(Error::refused(&path, "a picture without a class")
                .help("put it into the subfolder of its class"));
        }
        classes.push(class, row).ok_or_else(|| {
            Error::refused(
                folder,
                format!("more than {MOST_CLASSES} subfolders, which are classes"),
            )
        })?;
        let picture = read(&path)?;
        let size = (picture.height, picture.width);
        let expected = *first.get_or_insert(size);
        if size != expected {
            return Err(Error::refused(
                &path,
                format!(
                    "{} × {} pixels (height × width), but {} has {} × {}",
                    size.0,
                    size.1,
                    folder.join(&files[0]).display(),
                    expected.0,
                    expected.1
                ),
            )
            .help("scale all pictures to one size"));
        }
        pixels.extend(picture.pixels);
    }
    match known {
        Some((names, path)) => classes.renumber(names, folder, path)?,
        None => classes.sort(),
    }
    if let [only] = &classes.names[..] {
        return Err(Error::refused(
            folder,
            format!("every picture is in `{only}`; a dataset has at least 2 classes"),
        ));
    }
    let shape = (files.len(), pixels.len() / files.len());
    Ok(Dataset {
        name,
        features: Features::Bytes(Array2::from_shape_vec(shape, pixels).expect("one size")),
        labels: classes.labels,
        class_names: classes.names,
        image: first,
        unit_divisor: Some(BYTE_RANGE),
        targets: None,
        table: None,
    })
}
