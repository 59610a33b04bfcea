//! Typed errors, each with an exit code.
//!
//! A message names the file, the place in it, what was found, what is allowed and the way out.

use std::io;
use std::path::{Path, PathBuf};

/// The result type of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An invalid command line, or an argument outside its allowed range.
    #[error("{0}")]
    Usage(String),
    /// Arrays or settings of the library's callers that do not fit together.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Invalid content of a config, data or model file, or a path that does not exist.
    #[error(transparent)]
    Refused(Box<Refused>),
    /// All errors of an invalid config, each rendered with its line and a caret.
    #[error("{0}")]
    Config(String),
    /// A check or a threshold failed.
    #[error("{0}")]
    CheckFailed(String),
    /// Training produced a number that is not finite.
    #[error("{0}")]
    Diverged(String),
    /// The operating system refused threads or memory.
    #[error("{0}")]
    Resources(String),
    /// The run's directory is in use by another run.
    #[error("{0}")]
    InUse(String),
    /// Resume found no valid checkpoint.
    #[error("{0}")]
    NoCheckpoint(String),
    /// The operating system failed a read or a write.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The failed action as a verb: `read`, `write`, `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error that the operating system reported.
        source: io::Error,
    },
    /// A signal ended the work; its state is saved if there is any.
    #[error("interrupted{}", saved.as_ref().map(|path| format!("; saved in {}", path.display())).unwrap_or_default())]
    Interrupted {
        /// The exit code: 130 for an interrupt, 143 for a termination.
        code: u8,
        /// The file or folder that holds the saved state; `None` for work that saves nothing.
        saved: Option<PathBuf>,
    },
    /// Another rank has ended with an error, which it prints itself.
    #[error("another rank has failed")]
    OtherRank {
        /// Its exit code.
        code: u8,
    },
}

/// What is wrong with arrays or settings; rows, features and layers are counted from 0.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The data has no rows.
    #[error("the data has no rows")]
    NoRows,
    /// The data has no features.
    #[error("the data has no features: its shape is ({rows}, 0)")]
    NoFeatures {
        /// Number of rows.
        rows: usize,
    },
    /// There are more rows than a run can number.
    #[error("{rows} rows; at most {} are allowed", u32::MAX)]
    TooManyRows {
        /// Number of rows.
        rows: usize,
    },
    /// The numbers of rows and of labels differ.
    #[error("{rows} rows of features, but {labels} labels")]
    LabelCount {
        /// Number of rows of the features.
        rows: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A feature is infinite or NaN, or is so once it is scaled in the network's precision.
    #[error("row {row}, feature {feature}: {value} is no finite number, or too large to be scaled")]
    NotFinite {
        /// The row.
        row: usize,
        /// The feature.
        feature: usize,
        /// The value.
        value: f64,
    },
    /// All rows have the same class.
    #[error("a network learns to tell at least 2 classes apart, but the data has {classes}")]
    TooFewClasses {
        /// Number of classes: 0 or 1.
        classes: usize,
    },
    /// There are more classes than a dataset may have.
    #[error(
        "more than {most} classes\n  help: labels are integers or strings that name classes, not measurements"
    )]
    TooManyClasses {
        /// The largest number of classes.
        most: usize,
    },
    /// The logistic loss is for two classes.
    #[error(
        "{classes} classes, but the logistic loss needs exactly 2\n  help: use the cross-entropy loss with softmax outputs"
    )]
    NotTwoClasses {
        /// Number of classes.
        classes: usize,
    },
    /// A label is no index of a class.
    #[error("row {row} has label {label}, but there are {classes} classes, counted from 0")]
    LabelBeyondClasses {
        /// The row.
        row: usize,
        /// The label.
        label: usize,
        /// Number of classes.
        classes: usize,
    },
    /// The data has a class that the model does not know.
    #[error("the model does not know class `{class}`; its classes are {known}")]
    UnknownClass {
        /// The name of the class.
        class: String,
        /// The classes of the model.
        known: String,
    },
    /// The number of features is not that of the network.
    #[error("{found} features per row, but the network has {expected} inputs")]
    FeatureCount {
        /// Number of features.
        found: usize,
        /// Number of inputs of the network.
        expected: usize,
    },
    /// The number of classes does not go with the number of outputs.
    #[error("{classes} classes, but the network has {outputs} outputs")]
    OutputCount {
        /// Number of classes.
        classes: usize,
        /// Number of outputs of the network.
        outputs: usize,
    },
    /// The number of targets is not that of the outputs.
    #[error("{targets} numbers to predict, but the network has {outputs} outputs")]
    TargetCount {
        /// Number of targets.
        targets: usize,
        /// Number of outputs of the network.
        outputs: usize,
    },
    /// The numbers of rows of features and of targets differ.
    #[error("{rows} rows of features, but {found} rows of numbers to predict")]
    TargetRows {
        /// Number of rows of the features.
        rows: usize,
        /// Number of rows of the targets.
        found: usize,
    },
    /// There is no target, or not one name for each.
    #[error(
        "{targets} numbers to predict in each row, but {names} names; at least one is needed, each with a name"
    )]
    TargetNames {
        /// Number of targets.
        targets: usize,
        /// Number of names.
        names: usize,
    },
    /// A target of a regression is infinite or NaN.
    #[error("row {row}, target {target}: {value} is no finite number")]
    TargetNotFinite {
        /// The row.
        row: usize,
        /// The target.
        target: usize,
        /// The value.
        value: f64,
    },
    /// Classes are asked of a model that predicts numbers, or the other way round.
    #[error("{0}")]
    OtherTask(&'static str),
    /// A row number is beyond the rows of the data.
    #[error("row {row} is asked for, but there are {rows} rows")]
    RowBeyondData {
        /// The row.
        row: usize,
        /// Number of rows.
        rows: usize,
    },
    /// The outputs of the network are no probabilities: linear units with the quadratic loss.
    #[error("linear outputs with the quadratic loss give no probabilities")]
    NoProbabilities,
    /// The length of a gradient is not that of θ.
    #[error("the gradient has length {gradient}, but θ has length {theta}")]
    GradientLength {
        /// The length of the gradient.
        gradient: usize,
        /// The length of θ.
        theta: usize,
    },
    /// A setting is outside its range.
    #[error("{setting} is {found}; allowed: {allowed}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// The allowed values.
        allowed: &'static str,
    },
    /// Two settings do not go together.
    #[error("{0}")]
    Conflict(String),
}

/// Refused content: the file, the place in it, the problem and the way out.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {problem}{}", path.display(), place.as_ref().map(|place| format!(", {place}")).unwrap_or_default(), help.as_ref().map(|help| format!("\n  help: {help}")).unwrap_or_default())]
pub struct Refused {
    /// The file.
    pub path: PathBuf,
    /// The place in the file: `line 3, column 5`, `byte 16`, `row 12`.
    pub place: Option<String>,
    /// The content found, and the content allowed.
    pub problem: String,
    /// The way out.
    pub help: Option<String>,
}

impl Error {
    /// Creates a refusal of the whole file or path.
    pub fn refused(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Refused(Box::new(Refused {
            path: path.into(),
            place: None,
            problem: problem.into(),
            help: None,
        }))
    }

    /// Adds the place (`line 3`, `byte 16`) to a refusal; returns any other error unchanged.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        if let Self::Refused(refused) = &mut self {
            refused.place = Some(place.into());
        }
        self
    }

    /// Adds the way out to a refusal; returns any other error unchanged.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        if let Self::Refused(refused) = &mut self {
            refused.help = Some(help.into());
        }
        self
    }

    /// Creates an error of the operating system; reading a path that does not exist gives a refusal
    /// (exit code 2), and too little memory [`Error::Resources`] (5).
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound if action == "read" => {
                Self::refused(path, "no such file or folder")
            }
            io::ErrorKind::OutOfMemory => {
                Self::Resources(format!("not enough memory to {action} {}", path.display()))
            }
            _ => Self::Io {
                action,
                path: path.to_path_buf(),
                source,
            },
        }
    }

    /// Returns the exit code of a process that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Input(_) | Self::Refused(_) | Self::Config(_) => 2,
            Self::CheckFailed(_) => 3,
            Self::Diverged(_) => 4,
            Self::Resources(_) => 5,
            Self::InUse(_) => 6,
            Self::NoCheckpoint(_) => 7,
            Self::Io { .. } => 8,
            Self::Interrupted { code, .. } | Self::OtherRank { code } => *code,
        }
    }
}
