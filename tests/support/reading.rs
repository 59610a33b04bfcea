//! Reads a file of any format as the program would.

use std::fs;
use std::path::{Path, PathBuf};

use nplus1::config::{Config, Overrides};
use nplus1::data::{DataConfig, DataSource, Normalize, SearchPaths, TableOptions, load};
use nplus1::error::{Error, Result};
use nplus1::format::{safetensors, vector};
use nplus1::program::message;
use nplus1::run::{Checkpoint, metrics};
use nplus1::study::cost::CostRow;
use nplus1::train::EpochRecord;

use super::hostile::{Format, images, labels, png};

/// Reads `bytes`, which claim to have this format; writes them to files in `folder` where the reader
/// takes a path.
///
/// # Errors
/// Whatever the reader refuses.
pub fn read(format: Format, bytes: &[u8], folder: &Path) -> Result<()> {
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    match format {
        Format::Idx => {
            write("images", bytes);
            write("labels", &labels());
            load_data(folder, &["images", "labels"])
        }
        Format::IdxLabels => {
            write("images", &images());
            write("labels", bytes);
            load_data(folder, &["images", "labels"])
        }
        Format::Csv | Format::Gzip | Format::Npy | Format::Npz => {
            write("table", bytes);
            load_data(folder, &["table"])
        }
        Format::Png => {
            for class in ["pictures/a", "pictures/b"] {
                fs::create_dir_all(folder.join(class)).unwrap();
            }
            write("pictures/a/1.png", &png());
            write("pictures/b/1.png", bytes);
            load_data(folder, &["pictures"])
        }
        Format::Toml => Config::load(&write("a.toml", bytes), &Overrides::default()).map(drop),
        Format::Safetensors => safetensors::load(&write("a.safetensors", bytes)).map(drop),
        Format::Checkpoint => Checkpoint::from_bytes(bytes, Path::new("a")).map(drop),
        Format::StudyRows => {
            let path = write("rows.jsonl", bytes);
            metrics::read_log::<CostRow>(&path)?;
            metrics::read_log::<EpochRecord>(&path).map(drop)
        }
        Format::Program => {
            for line in String::from_utf8_lossy(bytes).lines() {
                let _ = message::parse(line);
            }
            Ok(())
        }
        Format::Theta => {
            let _ = message::parse_numbers(&String::from_utf8_lossy(bytes));
            for name in ["a.json", "a.csv", "a.npy"] {
                match vector::load(&write(name, bytes)) {
                    Err(error) if error.exit_code() != 2 => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        }
    }
}

/// Loads data files as a config does.
fn load_data(folder: &Path, names: &[&str]) -> Result<(), Error> {
    let config = DataConfig {
        source: DataSource::Files {
            train: names.iter().map(PathBuf::from).collect(),
            test: Vec::new(),
            label: None,
            options: TableOptions::default(),
        },
        task: None,
        validation: None,
        test: None,
        folds: None,
        limit: None,
        normalize: Normalize::Unit,
    };
    load(&config, &SearchPaths::new(Some(folder)), folder).map(drop)
}
