//! Where the named datasets lie: they are found from any working folder.
//!
//! A folder given on the command line is the only place then: a set it lacks is an error, never
//! taken from elsewhere. Otherwise, in this order: `NPLUS1_DATASETS`, `./datasets`, the crate's own
//! folder, beside the executable, the user's data folder. The files' checksums make them the same
//! everywhere.

use std::env;
use std::path::{Path, PathBuf};

use super::catalog::CatalogEntry;
use crate::error::{Error, Result};

/// The environment variable that names a folder of datasets.
pub const VARIABLE: &str = "NPLUS1_DATASETS";

/// The folders that named datasets are looked for in; each holds `NAME/FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPaths {
    places: Vec<SearchPath>,
}

/// One folder, and why it is looked in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPath {
    /// `--datasets`, `NPLUS1_DATASETS`, `working folder`, …
    pub why: &'static str,
    /// The folder that holds a folder for each set.
    pub folder: PathBuf,
}

impl SearchPaths {
    /// The places of this process: `explicit` alone (`--datasets DIR`), or the usual ones.
    pub fn new(explicit: Option<&Path>) -> Self {
        if let Some(folder) = explicit {
            return Self {
                places: vec![SearchPath {
                    why: "--datasets",
                    folder: folder.to_path_buf(),
                }],
            };
        }
        let folder = |name: &str| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let executable = env::current_exe().ok();
        let beside = executable.as_deref().and_then(Path::parent);
        let places = [
            (VARIABLE, folder(VARIABLE)),
            ("the working folder's", Some(PathBuf::from("datasets"))),
            (
                "the crate's own",
                Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets")),
            ),
            (
                "beside the executable",
                beside.map(|folder| folder.join("datasets")),
            ),
            (
                "the user's data folder",
                user_folder(folder("XDG_DATA_HOME"), folder("HOME"))
                    .map(|data| data.join("nplus1").join("datasets")),
            ),
        ];
        Self {
            places: places
                .into_iter()
                .filter_map(|(why, folder)| Some((why, folder?)))
                .map(|(why, folder)| SearchPath { why, folder })
                .collect(),
        }
    }

    /// The folders, in the order they are looked in.
    pub fn iter(&self) -> impl Iterator<Item = &SearchPath> {
        self.places.iter()
    }

    /// The first folder that holds all files of `entry`.
    ///
    /// # Errors
    /// None does: the message names all places looked in, what each lacks, and the way out.
    pub fn find(&self, entry: &CatalogEntry) -> Result<PathBuf> {
        let mut looked = String::new();
        for place in &self.places {
            let folder = place.folder.join(entry.name);
            let missing = entry
                .files
                .iter()
                .find(|file| !folder.join(file.name).exists());
            let Some(missing) = missing else {
                return Ok(folder);
            };
            let lacks = if folder.is_dir() {
                format!("lacks {}", missing.name)
            } else {
                "no such folder".to_owned()
            };
            looked += &format!("\n  {} ({}): {lacks}", folder.display(), place.why);
        }
        let name = entry.name;
        Err(Error::refused(
            name,
            format!("this dataset's files are missing; looked in{looked}"),
        )
        .help(format!(
            "copy datasets/{name}/ from the project's repository to one of them, or name the folder that holds {name}/ with `--datasets DIR` or {VARIABLE}=DIR; `nplus1 data list` shows what is found"
        )))
    }

    /// The folder to verify `entry` in: the first that holds any of its files.
    pub(crate) fn find_any(&self, entry: &CatalogEntry) -> Option<PathBuf> {
        self.places
            .iter()
            .map(|place| place.folder.join(entry.name))
            .find(|folder| {
                entry
                    .files
                    .iter()
                    .any(|file| folder.join(file.name).exists())
            })
    }
}

fn user_folder(data: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    // The XDG specification has relative paths ignored.
    let data = data.filter(|folder| folder.is_absolute());
    if cfg!(target_os = "macos") {
        data.or_else(|| Some(home?.join("Library").join("Application Support")))
    } else {
        data.or_else(|| Some(home?.join(".local").join("share")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::catalog;

    #[test]
    fn an_explicit_folder_is_the_only_place() {
        let empty = tempfile::tempdir().unwrap();
        let places = SearchPaths::new(Some(empty.path()));
        assert_eq!(places.iter().count(), 1);
        let error = places.find(catalog::entry("iris").unwrap()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let message = error.to_string();
        assert!(message.contains(&empty.path().join("iris").display().to_string()));
        assert!(message.contains("--datasets DIR"), "{message}");
    }

    #[test]
    fn the_usual_places_hold_every_set_of_this_repository() {
        let places = SearchPaths::new(None);
        for entry in catalog::entries() {
            assert!(places.find(entry).is_ok(), "{}", entry.name);
        }
    }

    #[test]
    fn a_folder_without_all_files_is_passed_over_and_named() {
        let partial = tempfile::tempdir().unwrap();
        let folder = partial.path().join("mnist");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("train-images-idx3-ubyte.gz"), "").unwrap();
        let places = SearchPaths::new(Some(partial.path()));
        let mnist = catalog::entry("mnist").unwrap();
        let message = places.find(mnist).unwrap_err().to_string();
        assert!(
            message.contains("lacks train-labels-idx1-ubyte.gz"),
            "{message}"
        );
        assert_eq!(places.find_any(mnist), Some(folder));
    }

    #[test]
    fn the_users_data_folder_follows_xdg_and_then_home() {
        let home = || Some(PathBuf::from("/home/ada"));
        let xdg = user_folder(Some(PathBuf::from("/data")), home());
        assert_eq!(xdg, Some(PathBuf::from("/data")));
        assert!(
            user_folder(Some(PathBuf::from("relative")), home())
                .unwrap()
                .starts_with("/home/ada")
        );
        assert_eq!(user_folder(None, None), None);
    }
}
