//! Small pictures in `data:` addresses, so that a page stays one file: PNG, or BMP without the
//! feature `png`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
#[cfg(feature = "png")]
use png::{BitDepth, ColorType, Compression, Encoder};

/// Number of shades below and above 0 in a picture of weights; few, so that it compresses well.
const SHADES: f64 = 24.0;

/// An encoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// The `data:` address with the file.
    pub address: String,
}

/// Draws `values`, `(height, width)`, in gray: `low` is white, `high` is black.
///
/// # Panics
/// If there are not `width` times `height` values.
pub fn gray(values: &[f64], [height, width]: [usize; 2], [low, high]: [f64; 2]) -> Picture {
    let shade = |value: &f64| {
        let share = (value - low) / (high - low);
        (255.0 * (1.0 - share.clamp(0.0, 1.0))).round() as u8
    };
    let pixels: Vec<u8> = values.iter().map(shade).collect();
    picture(&pixels, [height, width], None)
}

/// Draws tiles of `(height, width)` values, `columns` per row, one pixel apart: blue below 0, white
/// at 0, red above. Values beyond ±`most` have the strongest color.
///
/// # Panics
/// If a tile does not have `height` times `width` values.
pub fn tiles(
    tiles: &[Vec<f64>],
    [height, width]: [usize; 2],
    columns: usize,
    most: f64,
) -> Picture {
    let columns = columns.min(tiles.len()).max(1);
    let rows = tiles.len().div_ceil(columns);
    let (across, down) = (columns * (width + 1) + 1, rows * (height + 1) + 1);
    // The last color of the palette is that of the frame.
    let frame = (2.0 * SHADES) as u8 + 1;
    let mut pixels = vec![frame; across * down];
    for (place, tile) in tiles.iter().enumerate() {
        assert_eq!(tile.len(), width * height, "a tile has one value per pixel");
        let (top, left) = (
            place / columns * (height + 1) + 1,
            place % columns * (width + 1) + 1,
        );
        for (row, values) in tile.chunks(width).enumerate() {
            for (column, value) in values.iter().enumerate() {
                let share = (value / most).clamp(-1.0, 1.0);
                let share = if share.is_nan() { 0.0 } else { share };
                pixels[(top + row) * across + left + column] =
                    (SHADES + (SHADES * share).round()) as u8;
            }
        }
    }
    picture(&pixels, [down, across], Some(&palette()))
}

/// Returns the palette as RGB bytes: from blue through white to red, then the gray of the frame.
fn palette() -> Vec<u8> {
    let (blue, white, red) = ([0, 68, 136], [255, 255, 255], [170, 34, 17]);
    let mut colors = Vec::new();
    for step in 0..=(2.0 * SHADES) as i32 {
        let share = f64::from(step) / SHADES - 1.0;
        let end: [i32; 3] = if share < 0.0 { blue } else { red };
        for (&end, white) in end.iter().zip(white) {
            let mixed = f64::from(white) + share.abs() * f64::from(end - white);
            colors.push(mixed.round() as u8);
        }
    }
    colors.extend([128, 128, 128]);
    colors
}

fn picture(pixels: &[u8], [height, width]: [usize; 2], palette: Option<&[u8]>) -> Picture {
    assert_eq!(
        pixels.len(),
        width * height,
        "a picture has one byte per pixel"
    );
    let (kind, bytes) = encoded(pixels, [height, width], palette);
    Picture {
        width,
        height,
        address: format!("data:image/{kind};base64,{}", STANDARD.encode(bytes)),
    }
}

/// Returns the kind of a picture's file, and the file: pixels are shades of gray, or indices of a
/// color of the palette.
#[cfg(feature = "png")]
fn encoded(
    pixels: &[u8],
    [height, width]: [usize; 2],
    palette: Option<&[u8]>,
) -> (&'static str, Vec<u8>) {
    let side = |side: usize| u32::try_from(side).expect("pictures are small");
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, side(width), side(height));
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::High);
    match palette {
        Some(palette) => {
            encoder.set_color(ColorType::Indexed);
            encoder.set_palette(palette);
        }
        None => encoder.set_color(ColorType::Grayscale),
    }
    let mut writer = encoder
        .write_header()
        .expect("writing to memory cannot fail");
    writer
        .write_image_data(pixels)
        .expect("writing to memory cannot fail");
    writer.finish().expect("writing to memory cannot fail");
    ("png", bytes)
}

/// As above, uncompressed: a header, 256 colors of 4 bytes, rows from the bottom up, each padded to
/// a multiple of 4 bytes.
#[cfg(not(feature = "png"))]
fn encoded(
    pixels: &[u8],
    [height, width]: [usize; 2],
    palette: Option<&[u8]>,
) -> (&'static str, Vec<u8>) {
    const HEADERS: usize = 14 + 40;
    const COLORS: usize = 256;
    let number = |number: usize| (number as u32).to_le_bytes();
    let start = HEADERS + 4 * COLORS;
    let row_bytes = width.next_multiple_of(4);
    let mut bytes = b"BM".to_vec();
    for field in [start + row_bytes * height, 0, start, 40, width, height] {
        bytes.extend(number(field));
    }
    // 1 plane, 8 bits per pixel; no compression, default resolution.
    bytes.extend([1, 0, 8, 0]);
    for field in [0, row_bytes * height, 0, 0, COLORS, 0] {
        bytes.extend(number(field));
    }
    for index in 0..COLORS {
        let gray = [index as u8; 3];
        let color = palette.map_or(&gray[..], |palette| {
            palette.get(3 * index..3 * index + 3).unwrap_or(&[0; 3])
        });
        bytes.extend([color[2], color[1], color[0], 0]);
    }
    for row in pixels.chunks(width).rev() {
        bytes.extend_from_slice(row);
        bytes.resize(bytes.len() + row_bytes - width, 0);
    }
    ("bmp", bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(picture: &Picture) -> (Vec<u8>, ColorType) {
        let text = picture.address.split_once(',').unwrap().1;
        let bytes = STANDARD.decode(text).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        assert_eq!(
            (frame.width as usize, frame.height as usize),
            (picture.width, picture.height)
        );
        pixels.truncate(frame.buffer_size());
        (pixels, frame.color_type)
    }

    #[test]
    fn low_values_are_white_and_high_values_are_black() {
        let picture = gray(&[0.0, 255.0, 51.0, 300.0, 0.0, 0.0], [2, 3], [0.0, 255.0]);
        let (pixels, color) = decoded(&picture);
        assert_eq!(color, ColorType::Grayscale);
        assert_eq!(pixels, [255, 0, 204, 0, 255, 255]);
    }

    #[test]
    fn tiles_are_one_pixel_apart_and_zero_is_white() {
        let tiles = tiles(&[vec![-1.0, 0.0], vec![1.0, f64::NAN]], [1, 2], 8, 1.0);
        assert_eq!((tiles.width, tiles.height), (7, 3));
        let (pixels, color) = decoded(&tiles);
        assert_eq!(color, ColorType::Indexed);
        let frame = 49;
        assert_eq!(pixels[7..14], [frame, 0, 24, frame, 48, 24, frame]);
        assert_eq!(palette()[3 * 24..3 * 25], [255, 255, 255]);
    }
}
