//! Hostile files of every format that the program reads: a seeded generator, so that a number names a
//! file and a failure can be repeated.
//!
//! Of each format there are valid files, files that were made to take time or memory, and damaged
//! ones: cut, with bits flipped, numbers replaced by extreme ones, parts doubled, swapped or taken
//! from a list of words of the format.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// IDX images; the labels beside them are right.
    Idx,
    /// IDX labels; the images beside them are right.
    IdxLabels,
    /// A table.
    Csv,
    /// A gzipped table or gzipped IDX images.
    Gzip,
    /// An array.
    Npy,
    /// An archive of arrays.
    Npz,
    /// A picture in a class's folder.
    Png,
    /// A config.
    Toml,
    /// A model.
    Safetensors,
    /// A run's checkpoint.
    Checkpoint,
    /// Rows of a study, lines of JSON.
    StudyRows,
    /// Lines that a program writes.
    Program,
    /// A vector θ as JSON.
    Theta,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Idx,
        Self::IdxLabels,
        Self::Csv,
        Self::Gzip,
        Self::Npy,
        Self::Npz,
        Self::Png,
        Self::Toml,
        Self::Safetensors,
        Self::Checkpoint,
        Self::StudyRows,
        Self::Program,
        Self::Theta,
    ];

    /// Returns its name in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idx => "idx",
            Self::IdxLabels => "idx-labels",
            Self::Csv => "csv",
            Self::Gzip => "gzip",
            Self::Npy => "npy",
            Self::Npz => "npz",
            Self::Png => "png",
            Self::Toml => "toml",
            Self::Safetensors => "safetensors",
            Self::Checkpoint => "checkpoint",
            Self::StudyRows => "study-rows",
            Self::Program => "program",
            Self::Theta => "theta",
        }
    }
}

/// A hostile file.
pub struct HostileFile {
    /// The format that it claims to have.
    pub format: Format,
    /// Its number among those of its format.
    pub number: usize,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Returns the processor time that a hostile file may take: a second with `NPLUS1_STRICT=1`, otherwise
/// three, since tests are not optimized.
pub fn time_limit() -> Duration {
    let is_strict = std::env::var_os("NPLUS1_STRICT").is_some();
    Duration::from_secs(if is_strict { 1 } else { 3 })
}

/// Files of each format.
pub const OF_EACH: usize = 104;

/// Returns the files of a format, one after the other.
pub fn files(format: Format) -> impl Iterator<Item = HostileFile> {
    let seeds = valid(format);
    let mut made = bombs(format);
    made.extend(seeds.iter().cloned());
    (0..OF_EACH.max(made.len())).map(move |number| {
        let bytes = match made.get(number) {
            Some(bytes) => bytes.clone(),
            None => damaged(&seeds, format, number),
        };
        HostileFile {
            format,
            number,
            bytes,
        }
    })
}

/// Random numbers (SplitMix64, Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Returns a valid file with one to six faults.
fn damaged(seeds: &[Vec<u8>], format: Format, number: usize) -> Vec<u8> {
    let mut random = Random(0x6e70_6c75_7331 ^ (format as u64) << 32 ^ number as u64);
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..1 + random.below(6) {
        damage(&mut bytes, format, &mut random);
    }
    // A checksum or a packed form would hide the fault.
    match format {
        Format::Checkpoint if number.is_multiple_of(2) => sealed(&bytes),
        Format::Gzip if number.is_multiple_of(2) => gzip(&bytes),
        _ => bytes,
    }
}

fn damage(bytes: &mut Vec<u8>, format: Format, random: &mut Random) {
    const EXTREMES: [u64; 8] = [
        0,
        1,
        0x7f,
        0xff,
        0x7fff_ffff,
        0xffff_ffff,
        0x7fff_ffff_ffff_ffff,
        u64::MAX,
    ];
    if bytes.is_empty() {
        bytes.push(random.next() as u8);
        return;
    }
    let at = random.below(bytes.len());
    match random.below(8) {
        0 => bytes.truncate(at),
        1 => bytes[at] ^= 1 << random.below(8),
        2 => {
            let width = [1, 2, 4, 8][random.below(4)];
            let extreme = EXTREMES[random.below(EXTREMES.len())].to_le_bytes();
            let end = bytes.len().min(at + width);
            let mut number = extreme[..end - at].to_vec();
            if random.below(2) == 0 {
                number.reverse();
            }
            bytes[at..end].copy_from_slice(&number);
        }
        3 => {
            let end = bytes.len().min(at + 1 + random.below(64));
            let part = bytes[at..end].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, part);
        }
        4 => {
            let end = bytes.len().min(at + 1 + random.below(64));
            bytes.drain(at..end);
        }
        5 | 6 => {
            let words = words(format);
            let word = words[random.below(words.len())];
            let end = bytes.len().min(at + random.below(word.len() + 1));
            bytes.splice(at..end, word.iter().copied());
        }
        _ => {
            let noise: Vec<u8> = (0..random.below(16)).map(|_| random.next() as u8).collect();
            bytes.splice(at..at, noise);
        }
    }
}

/// Words that mean something in a format.
fn words(format: Format) -> &'static [&'static [u8]] {
    match format {
        Format::Idx | Format::IdxLabels => &[
            b"\0\0\x08\x01",
            b"\0\0\x08\x03",
            b"\0\0\x0e\x02",
            b"\xff\xff\xff\xff",
            b"\0\0\0\0",
        ],
        Format::Csv | Format::Gzip => &[
            b",",
            b"\"",
            b"\"\"",
            b"\n",
            b"\r\n",
            b";",
            b"\t",
            b"nan",
            b"inf",
            b"1e999",
            b"-",
            b"\0",
            b"\xef\xbb\xbf",
            b"\xff",
            b"9999999999999999999999",
            b"label",
            b"1,5",
        ],
        Format::Npy | Format::Npz => &[
            b"'<f8'",
            b"'>u2'",
            b"'|O'",
            b"'<U4096'",
            b"'|S1'",
            b"(99999999999999999999,)",
            b"()",
            b"(0,)",
            b"True",
            b"PK\x05\x06",
            b"PK\x01\x02",
            b"\x93NUMPY",
            b"-1",
            b",",
        ],
        Format::Png => &[
            b"IHDR",
            b"IDAT",
            b"IEND",
            b"PLTE",
            b"tRNS",
            b"zTXt",
            b"\xff\xff\xff\xff",
            b"\0\0\0\0",
        ],
        Format::Toml => &[
            b"[",
            b"]",
            b"[[data]]",
            b"=",
            b"\"",
            b"\"\"\"",
            b"'",
            b"{",
            b"}",
            b"1e309",
            b"nan",
            b"-1",
            b"99999999999999999999",
            b"hidden",
            b"[data]",
            b"\\u0000",
            b"\n",
            b"#",
            b"true",
            b"18446744073709551615",
            b"\xff",
            b"1979-05-27",
        ],
        Format::Safetensors => &[
            b"\"dtype\":\"F64\"",
            b"\"BF16\"",
            b"[0,0]",
            b"[18446744073709551615,2]",
            b"{",
            b"}",
            b"\"__metadata__\"",
            b"null",
            b"layers.0.weight",
            b"\"data_offsets\":[0,1]",
            b"[[[[",
        ],
        Format::Checkpoint => &[
            b"\"epoch\":",
            b"\"vectors\":9999999",
            b"null",
            b"1e999",
            b"[",
            b"{",
            b"\"history\"",
            b"\"f32\"",
            b"\"parameters_bytes\":0",
            b"-1",
        ],
        Format::StudyRows | Format::Program | Format::Theta => &[
            b"{",
            b"}",
            b"[",
            b"]",
            b"null",
            b"NaN",
            b"-Infinity",
            b"1e999",
            b"\"",
            b"\\ud800",
            b":",
            b",",
            b"\"id\":1",
            b"\"loss\":",
            b"\"nplus1\":1",
            b"\"theta\":[",
            b"\n",
            b"\xff",
            b"\0",
            b"\"gradient\":[1,2",
            b"\"error\":{}",
            b"18446744073709551616",
        ],
    }
}

/// Returns valid files of a format.
fn valid(format: Format) -> Vec<Vec<u8>> {
    match format {
        Format::Idx => vec![images(), idx(0x0e, &[4, 1], &[0; 32])],
        Format::IdxLabels => vec![idx(8, &[4], &[0, 1, 1, 0]), idx(0x0c, &[4], &[0; 16])],
        Format::Csv => vec![
            table(),
            b"a;b;y\n1,5;x;yes\n2,5;z;no\n3,5;x;yes\n".to_vec(),
            b"4,2,one,two\n1,2,0\n3,4,1\n5,6,0\n7,8,1\n".to_vec(),
        ],
        Format::Gzip => vec![gzip(&table()), table()],
        Format::Npy => vec![
            npy("<f8", "(2, 2)", &[0; 32]),
            npy("|u1", "(2, 3)", &[1; 6]),
        ],
        Format::Npz => vec![npz(0), npz(8)],
        Format::Png => vec![png()],
        Format::Toml => vec![
            include_bytes!("../../configs/mnist-30.toml").to_vec(),
            include_bytes!("../../configs/mnist-differences.toml").to_vec(),
            b"data = { train = \"a.csv\", label = 0 }\nmodel.hidden = [3]\n".to_vec(),
        ],
        Format::Safetensors => vec![model()],
        Format::Checkpoint => vec![checkpoint()],
        Format::StudyRows => vec![
            b"{\"label\":\"backprop\",\"layers\":[2,3,2],\"parameters\":17}\n{}\n".repeat(3),
            b"{\"epoch\":1,\"seconds\":0.5,\"train_loss\":null,\"tally\":{\"evaluations\":3}}\n"
                .to_vec(),
        ],
        Format::Program => vec![
            b"{\"nplus1\":1,\"single_changes\":true,\"theta\":[1,2]}\n{\"id\":1,\"loss\":0.5}\n"
                .to_vec(),
            b"{\"id\":1,\"loss\":NaN,\"gradient\":[1e-3,Infinity]}\n{\"id\":2,\"error\":\"no\"}\n"
                .to_vec(),
        ],
        Format::Theta => vec![b"[0.5, -1.2, 3]".to_vec(), b"[NaN, 1e300]".to_vec()],
    }
}

/// Returns files that were made to take time or memory.
fn bombs(format: Format) -> Vec<Vec<u8>> {
    const MIB: usize = 1 << 20;
    let repeated = |part: &str, bytes: usize| part.repeat(bytes / part.len()).into_bytes();
    let nested = |open: &str, close: &str| {
        let depth = 100_000;
        format!("{}{}", open.repeat(depth), close.repeat(depth)).into_bytes()
    };
    match format {
        Format::Idx => vec![
            idx(8, &[u32::MAX, u32::MAX, u32::MAX], &[]),
            idx(8, &[2_000_000, 1_000], &[0; 4096]),
            gzip(&idx(8, &[2_000_000, 1_000], &vec![0; 8 * MIB])),
            gzip(&idx(0x0e, &[4, 1 << 20], &vec![0; 32 * MIB])),
            idx(8, &[4; 200], &[]),
            idx(0x0e, &[4, 1], &f64::NAN.to_be_bytes().repeat(4)),
        ],
        Format::IdxLabels => vec![
            idx(8, &[1_350_000_000], &[0; 64]),
            gzip(&idx(8, &[32 << 20], &vec![0; 32 * MIB])),
        ],
        Format::Csv => vec![
            vec![b','; 2 * MIB],
            [&b"\""[..], &vec![b'x'; 5 * MIB]].concat(),
            [&b"a,b\n\""[..], &vec![b'\n'; 2 * MIB]].concat(),
            repeated("\"", MIB),
            repeated("\n", MIB),
            repeated("\"\n", MIB),
            repeated("a,b,c\n", MIB),
            repeated("0,", MIB),
            [
                &repeated("0,", 120_000)[..],
                b"\n",
                &repeated("1,", 120_000),
            ]
            .concat(),
            (0..60_000)
                .flat_map(|at| format!("c{at},").into_bytes())
                .collect(),
            (0..100_000)
                .flat_map(|at| format!("{at},t{at}\n").into_bytes())
                .collect(),
            (0..900)
                .flat_map(|at| format!("{},w{at},y{}\n", at, at % 2).into_bytes())
                .collect(),
            vec![b' '; MIB],
            vec![0xff; MIB],
        ],
        Format::Gzip => vec![
            gzip(&vec![b','; 19 * MIB]),
            gzip(&repeated("1,2,3\n1,2,4\n", 40 * MIB)),
            gzip(&vec![b'\n'; 40 * MIB]),
            gzip(&[&b"\""[..], &vec![b'x'; 40 * MIB]].concat()),
            gzip(b"").repeat(20_000),
            gzip(&gzip(&vec![0; 20 * MIB])),
        ],
        Format::Npy => vec![
            npy("<f8", "(1000000000, 1000000000)", &[]),
            npy("<f8", "(18446744073709551615, 18446744073709551615)", &[]),
            npy("<U4096", "(65536, 65536)", &[]),
            npy("|S1", "(1048576,)", &vec![b'a'; MIB]),
            npy("<f8", "(0, 1000000000000)", &[]),
            npy("<f8", &format!("({})", "1,".repeat(20_000)), &[0; 8]),
            npy("<f8", "()", &[0; 8]),
            gzip(&npy("|u1", "(33554432, 1)", &vec![0; 32 * MIB])),
        ],
        Format::Npz => vec![
            zip_of(
                &[("x.npy", npy("|u1", "(33554432, 1)", &vec![0; 32 * MIB]))],
                8,
            ),
            zip_of(&vec![("y.npy", npy("|u1", "(1, 1)", &[0])); 3000], 0),
            b"PK\x03\x04PK\x05\x06\0\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0".to_vec(),
            b"PK\x05\x06".repeat(20_000),
        ],
        Format::Png => vec![picture(4096, 4096, &vec![0; 4097 * 4096])],
        Format::Toml => vec![
            nested("a=[", "]"),
            nested("[a", "]"),
            (0..60_000)
                .flat_map(|at| format!("key{at} = {at}\n").into_bytes())
                .collect(),
            (0..50_000)
                .flat_map(|at| format!("[table{at}]\n").into_bytes())
                .collect(),
            format!("a{} = 1", ".a".repeat(100_000)).into_bytes(),
            [&b"model.hidden = ["[..], &repeated("1,", 900_000), b"]"].concat(),
            [&b"name = \""[..], &vec![b'x'; 900_000], b"\""].concat(),
            b"model.hidden = [65536, 65536]\n[data]\ndataset = \"iris\"".to_vec(),
            b"model.hidden = [18446744073709551615]".to_vec(),
            repeated("= ", 900_000),
            vec![b'x'; 2 * MIB],
        ],
        Format::Safetensors => vec![
            with_header(&many_tensors(20_000), 0),
            with_header(&format!("{{\"a\":{}", "[".repeat(100_000)), 0),
            with_header(
                &format!("{{\"__metadata__\":{{\"a\":\"{}\"}}}}", "x".repeat(4 * MIB)),
                0,
            ),
            with_header(
                &format!(
                    "{{\"__metadata__\":{{{}}}}}",
                    (0..90_000)
                        .map(|at| format!("\"{at}\":\"\""))
                        .collect::<Vec<_>>()
                        .join(",")
                ),
                0,
            ),
            with_header(
                &format!(
                    "{{\"a\":{{\"dtype\":\"F32\",\"shape\":[{}0],\"data_offsets\":[0,0]}}}}",
                    "0,".repeat(MIB)
                ),
                0,
            ),
            u64::MAX.to_le_bytes().to_vec(),
            (1u64 << 26).to_le_bytes().to_vec(),
        ],
        Format::Checkpoint => vec![
            forged(&format!(
                "{{\"config\":\"\",\"records\":[{}0]}}",
                "0,".repeat(MIB / 8)
            )),
            forged(&"[".repeat(100_000)),
            forged(&format!("{{\"config\":\"{}\"}}", "x".repeat(MIB))),
        ],
        Format::StudyRows => vec![
            nested("[", "]"),
            nested("{\"a\":", "}"),
            repeated("{}\n", 2 * MIB),
            repeated("\n", MIB),
            [&b"["[..], &repeated("0,", MIB / 4)].concat(),
        ],
        Format::Program => vec![
            nested("[", "]"),
            [&b"{\"id\":1,\"error\":"[..], &nested("[", "]"), b"}"].concat(),
            [
                &b"{\"nplus1\":1,\"theta\":["[..],
                &repeated("0,", MIB),
                b"0]}",
            ]
            .concat(),
            [
                &b"{\"id\":1,\"loss\":1,\"gradient\":["[..],
                &repeated("NaN,", MIB),
                b"0]}",
            ]
            .concat(),
            vec![b'x'; MIB],
            repeated("{\"id\":1,\"loss\":1}\n", MIB),
        ],
        Format::Theta => vec![
            nested("[", "]"),
            [&b"["[..], &repeated("0,", 2 * MIB), b"0]"].concat(),
            [&b"["[..], &repeated("NaN,", MIB), b"0]"].concat(),
            [&b"["[..], &vec![b'9'; MIB], b"]"].concat(),
        ],
    }
}

fn idx(kind: u8, sizes: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, kind, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(values);
    bytes
}

/// Returns four images of two by two pixels.
pub fn images() -> Vec<u8> {
    idx(8, &[4, 2, 2], &(0..16).collect::<Vec<u8>>())
}

/// Returns the labels of [`images`].
pub fn labels() -> Vec<u8> {
    idx(8, &[4], &[0, 1, 1, 0])
}

/// Packs `bytes`.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn table() -> Vec<u8> {
    let rows = (0..30).map(|row| format!("{row}.5,{},{}\n", row % 7, ["a", "b"][row % 2]));
    format!("width,length,kind\n{}", rows.collect::<String>()).into_bytes()
}

fn npy(descr: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len().min(65_535) as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(elements);
    bytes
}

fn npz(method: u16) -> Vec<u8> {
    let arrays = [
        ("x.npy", npy("<f8", "(2, 2)", &[0; 32])),
        ("y.npy", npy("|u1", "(2,)", &[0, 1])),
    ];
    zip_of(&arrays, method)
}

/// Returns a zip archive, its members stored (0) or deflated (8).
fn zip_of(members: &[(&str, Vec<u8>)], method: u16) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let packed = match method {
            8 => {
                let mut encoder =
                    flate2::write::DeflateEncoder::new(Vec::new(), Compression::new(6));
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            _ => content.clone(),
        };
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let mut common = vec![20, 0, 0, 0];
        common.extend(method.to_le_bytes());
        common.extend([0; 4]);
        common.extend(crc.sum().to_le_bytes());
        common.extend((packed.len() as u32).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        let at = bytes.len() as u32;
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(name.as_bytes());
        bytes.extend(packed);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (at, count) = (bytes.len() as u32, members.len() as u16);
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend(count.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(at.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

/// Returns a gray picture of two by two pixels.
pub fn png() -> Vec<u8> {
    picture(2, 2, &[0, 10, 20, 0, 30, 40])
}

fn picture(width: u32, height: u32, lines: &[u8]) -> Vec<u8> {
    let chunk = |name: &[u8], content: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(name);
        crc.update(content);
        let mut bytes = (content.len() as u32).to_be_bytes().to_vec();
        bytes.extend(name);
        bytes.extend(content);
        bytes.extend(crc.sum().to_be_bytes());
        bytes
    };
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(lines).unwrap();
    let header = [
        &width.to_be_bytes()[..],
        &height.to_be_bytes(),
        &[8, 0, 0, 0, 0],
    ]
    .concat();
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.extend(chunk(b"IHDR", &header));
    bytes.extend(chunk(b"IDAT", &encoder.finish().unwrap()));
    bytes.extend(chunk(b"IEND", b""));
    bytes
}

/// Returns a safetensors file with this header and so many bytes of data.
fn with_header(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn many_tensors(count: usize) -> String {
    let tensor = |at: usize| {
        format!("\"layers.{at}.bias\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}")
    };
    format!(
        "{{{}}}",
        (0..count).map(tensor).collect::<Vec<_>>().join(",")
    )
}

fn model() -> Vec<u8> {
    let tensor = |name: &str, shape: &str, from: usize, to: usize| {
        format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{from},{to}]}}")
    };
    let header = [
        tensor("layers.0.weight", "[3,2]", 0, 24),
        tensor("layers.0.bias", "[3]", 24, 36),
        tensor("layers.1.weight", "[2,3]", 36, 60),
        tensor("layers.1.bias", "[2]", 60, 68),
    ];
    with_header(&format!("{{{}}}", header.join(",")), 68)
}

/// Returns a checkpoint with this header, its lengths and hash right.
fn forged(header: &str) -> Vec<u8> {
    let mut payload = (header.len() as u32).to_le_bytes().to_vec();
    payload.extend(header.as_bytes());
    let mut bytes = b"nplus1cp\x02\0\0\0".to_vec();
    bytes.extend([0; 40]);
    bytes.extend(payload);
    sealed(&bytes)
}

fn checkpoint() -> Vec<u8> {
    let tally = "{\"multiplications\":0,\"additions\":0,\"exponentials\":0,\"logarithms\":0,\"divisions\":0,\"evaluations\":0,\"jacobian_vector_products\":0}";
    let header = format!(
        "{{\"config\":\"\",\"epoch\":1,\"steps\":2,\"precision\":\"f64\",\"parameters_bytes\":16,\"scalars\":{{\"kind\":\"nothing\",\"steps\":0,\"value\":0.0}},\"vectors\":0,\"best\":null,\"partial\":{{\"loss\":0.0,\"rows\":0,\"seconds\":0.0,\"tally\":{tally}}},\"records\":[]}}"
    );
    let mut bytes = forged(&header);
    bytes.extend([0; 16]);
    sealed(&bytes)
}

/// Returns a checkpoint whose length and hash are those of its payload.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() > 52 {
        let length = (bytes.len() - 52) as u64;
        let hash = Sha256::digest(&bytes[52..]);
        bytes[12..20].copy_from_slice(&length.to_le_bytes());
        bytes[20..52].copy_from_slice(&hash);
    }
    bytes
}
