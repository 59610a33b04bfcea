//! The folders that are searched for named datasets.
//!
//! A folder given on the command line is the only one: a dataset that it lacks is an error.
//! Otherwise the order is: `NPLUS1_DATASETS`, `./datasets`, `datasets` in the crate's source
//! folder, `datasets` beside the executable, the user's data folder. The files' checksums make a
//! dataset the same in all of them.

use std::env;
use std::path::{Path, PathBuf};

use super::catalog::CatalogEntry;
use crate::error::{Error, Result};

/// The environment variable that names a folder of datasets.
pub const VARIABLE: &str = "NPLUS1_DATASETS";

/// The folders that are searched for named datasets; each holds files `NAME/FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPaths {
    paths: Vec<SearchPath>,
}

/// A folder, and the reason why it is searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPath {
    /// The reason: `--datasets`, `NPLUS1_DATASETS`, `the working folder's`, …
    pub why: &'static str,
    /// The folder, which has a folder for each dataset.
    pub folder: PathBuf,
}

impl SearchPaths {
    /// Returns the folders for this process: only `explicit` (`--datasets DIR`), or the usual ones.
    pub fn new(explicit: Option<&Path>) -> Self {
        if let Some(folder) = explicit {
            return Self {
                paths: vec![SearchPath {
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
        let paths = [
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
            paths: paths
                .into_iter()
                .filter_map(|(why, folder)| Some((why, folder?)))
                .map(|(why, folder)| SearchPath { why, folder })
                .collect(),
        }
    }

    /// Returns the folders in the order in which they are searched.
    pub fn iter(&self) -> impl Iterator<Item = &SearchPath> {
        self.paths.iter()
    }

    /// Returns the first folder that holds all files of `entry`.
    ///
    /// # Errors
    /// No folder holds them: the message names all folders searched, what each lacks, and the way
    /// out.
    pub fn find(&self, entry: &CatalogEntry) -> Result<PathBuf> {
        let mut searched = String::new();
        for path in &self.paths {
            let folder = path.folder.join(entry.name);
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
            searched += &format!("\n  {} ({}): {lacks}", folder.display(), path.why);
        }
        let name = entry.name;
        Err(Error::refused(
            name,
            format!("the files of this dataset are missing; searched in{searched}"),
        )
        .help(format!(
            "copy datasets/{name}/ from the project's repository to one of them, or name the folder that holds {name}/ with `--datasets DIR` or {VARIABLE}=DIR; `nplus1 data list` shows the datasets that are found"
        )))
    }

    /// Returns the first folder that holds any file of `entry`, to verify what is there.
    #[cfg_attr(not(feature = "cli"), allow(dead_code))]
    pub(crate) fn find_any(&self, entry: &CatalogEntry) -> Option<PathBuf> {
        self.paths
            .iter()
            .map(|path| path.folder.join(entry.name))
            .find(|folder| {
                entry
                    .files
                    .iter()
                    .any(|file| folder.join(file.name).exists())
            })
    }
}

/// Returns the user's data folder, from the values of `XDG_DATA_HOME` and `HOME`.
fn user_folder(data: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    // The XDG specification says to ignore relative paths.
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
    fn an_explicit_folder_is_the_only_one_searched() {
        let empty = tempfile::tempdir().unwrap();
        let paths = SearchPaths::new(Some(empty.path()));
        assert_eq!(paths.iter().count(), 1);
        let error = paths.find(catalog::entry("iris").unwrap()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let message = error.to_string();
        assert!(message.contains(&empty.path().join("iris").display().to_string()));
        assert!(message.contains("--datasets DIR"), "{message}");
    }

    #[test]
    fn the_usual_folders_hold_every_dataset_of_this_repository() {
        let paths = SearchPaths::new(None);
        for entry in catalog::entries() {
            assert!(paths.find(entry).is_ok(), "{}", entry.name);
        }
    }

    #[test]
    fn a_folder_that_lacks_a_file_is_skipped_and_named() {
        let partial = tempfile::tempdir().unwrap();
        let folder = partial.path().join("mnist");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("train-images-idx3-ubyte.gz"), "").unwrap();
        let paths = SearchPaths::new(Some(partial.path()));
        let mnist = catalog::entry("mnist").unwrap();
        let message = paths.find(mnist).unwrap_err().to_string();
        assert!(
            message.contains("lacks train-labels-idx1-ubyte.gz"),
            "{message}"
        );
        assert_eq!(paths.find_any(mnist), Some(folder));
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
