//! The ranks other than the first: they compute their share of a training run, and write nothing.
//!
//! They read the config and the data themselves. A run to resume is read by the first rank alone, so
//! that its directory need be seen by no other; it sends the config and the checkpoint.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::context::CommandContext;
use super::runner::ResumePoint;
use crate::cli::arguments::Global;
use crate::cli::inputs::splits;
use crate::cli::output::Messages;
use crate::cli::ranks::start_rank;
use crate::cli::session::Session;
use crate::config::{Config, Overrides};
use crate::data::{self, Dataset, Features, Part, Samples, SearchPaths};
use crate::error::{Error, Result};
use crate::gradient::Control;
use crate::numeric::{Precision, Real};
use crate::parallel::Ranks;
use crate::run::{Checkpoint, directory, json};
use crate::train::{Ending, NoObserver, TrainingState};

/// A run to resume, as the first rank sends it to the others.
#[derive(Serialize, Deserialize)]
struct SharedRun {
    config: String,
    fold: Option<usize>,
}

/// Refuses settings whose result is a prediction for one process.
///
/// # Errors
/// [`Error::Usage`] if there are several ranks.
pub fn check_settings(ranks: &Ranks, dry_run: bool, limit: Option<f64>) -> Result<()> {
    if !ranks.are_many() {
        return Ok(());
    }
    if dry_run {
        return Err(Error::Usage(
            "--dry-run predicts the time of one process\n  help: run it without mpirun or srun; `nplus1 scale CONFIG --ranks 1,2,4` predicts several".to_owned(),
        ));
    }
    match limit {
        None => Ok(()),
        Some(limit) => Err(Error::Usage(format!(
            "run.limit_seconds = {limit}: the time of several ranks is not predicted before a run\n  help: set train.max_seconds instead, which ends the run in time"
        ))),
    }
}

/// Sends the run that the first rank resumes to the others.
///
/// # Errors
/// [`Error::OtherRank`].
pub fn share_run(ranks: &Ranks, config: &Config, fold: Option<usize>) -> Result<()> {
    let config = config.to_toml();
    let run = SharedRun { config, fold };
    ranks.share(&mut json::document(&run).into_bytes())
}

/// Takes part in the run that the first rank resumes.
///
/// # Errors
/// Those of the data and of the run; [`Error::OtherRank`].
pub fn resume(
    path: &Path,
    search_paths: &SearchPaths,
    global: &Global,
    (messages, ranks): (Messages, &Ranks),
) -> Result<()> {
    let mut shared = Vec::new();
    ranks.share(&mut shared)?;
    let shared = String::from_utf8_lossy(&shared);
    let file = path.join(directory::CONFIG);
    let run: SharedRun =
        json::parse(&shared).map_err(|error| Error::refused(&file, error.to_string()))?;
    let config = Config::parse(&run.config, &file, &Overrides::default())?;
    let loaded = data::load(&config.data, search_paths, path)?;
    let mut splits = splits(&loaded, &config)?;
    let workers = start_rank(ranks, &config.run, messages)?;
    if let Some(fold) = run.fold.filter(|_| config.data.folds.is_some()) {
        let split = splits.swap_remove(fold.min(splits.len()) - 1);
        splits = vec![split];
    } else if config.data.folds.is_none() {
        splits.truncate(1);
    }
    let sessions = splits
        .iter()
        .map(|split| Session::new(&config, split, None));
    let sessions: Vec<Session<'_>> = sessions.collect::<Result<_>>()?;
    sessions[0].check_ranks(ranks)?;
    let context = CommandContext::new(global, workers)?;
    sessions
        .iter()
        .try_for_each(|session| session.follow(&context))
}

impl Session<'_> {
    /// Refuses ranks that would compute something else than the first one.
    ///
    /// # Errors
    /// [`Error::Usage`], the same on all ranks; [`Error::OtherRank`].
    pub fn check_ranks(&self, ranks: &Ranks) -> Result<()> {
        if !ranks.are_many() {
            return Ok(());
        }
        let version = concat!("nplus1 ", env!("CARGO_PKG_VERSION"));
        let commit = option_env!("NPLUS1_COMMIT").unwrap_or_default();
        let digest = |bytes: &[u8]| Sha256::digest(bytes).into();
        ranks.check_equal(
            "version of nplus1",
            digest(format!("{version} {commit}").as_bytes()),
            "install the same program on all machines",
        )?;
        ranks.check_equal(
            "config",
            digest(self.config.to_toml().as_bytes()),
            "all ranks read the config by the same path: give them the same file",
        )?;
        let split = self.split;
        let parts = [
            Some(&split.train),
            split.validation.as_ref(),
            split.test.as_ref(),
        ];
        let mut data = Sha256::new();
        parts
            .into_iter()
            .flatten()
            .for_each(|part| add_part(&mut data, part));
        ranks.check_equal(
            "dataset",
            data.finalize().into(),
            "all ranks read the data by the same path: give them the same files",
        )?;
        let start = match self.config.model.precision {
            Precision::F32 => self.first_parameters::<f32>().sha256(),
            Precision::F64 => self.first_parameters::<f64>().sha256(),
        };
        ranks.check_equal(
            "start",
            digest(start.as_bytes()),
            "give all ranks the same model of --init-from",
        )
    }

    /// Computes this rank's share of the run that the first rank records.
    ///
    /// # Errors
    /// Those that the first rank has as well; [`Error::Interrupted`]; [`Error::OtherRank`].
    pub fn follow(&self, context: &CommandContext<'_>) -> Result<()> {
        match self.config.model.precision {
            Precision::F32 => self.follow_in::<f32>(context),
            Precision::F64 => self.follow_in::<f64>(context),
        }
    }

    fn follow_in<R: Real>(&self, context: &CommandContext<'_>) -> Result<()> {
        let ranks = context.workers.ranks();
        let mut checkpoint = Vec::new();
        ranks.share(&mut checkpoint)?;
        let mut state = if checkpoint.is_empty() {
            TrainingState::new(self.first_parameters::<R>())
        } else {
            let path = Path::new("checkpoint of rank 0").to_path_buf();
            let checkpoint = Checkpoint::from_bytes(&checkpoint, &path)?;
            self.resumed(&ResumePoint { checkpoint, path })?
        };
        let split = self.split;
        let samples = Samples::<R>::new(&split.train.dataset, &split.scaling);
        let control = Control::new(&ranks.stop_flag(context.interrupt.flag()));
        let gradient = &self.config.gradient;
        let training = self.training(gradient, &samples, &context.workers, context.isa, &control);
        let ending = context
            .workers
            .install(|| training.run(&mut state, &mut NoObserver))?;
        match ending {
            Ending::Interrupted => Err(Error::Interrupted {
                code: context.interrupt.exit_code(),
                saved: None,
            }),
            _ => Ok(()),
        }
    }
}

/// Adds the data and the rows of a part to a digest.
fn add_part(digest: &mut Sha256, part: &Part) {
    let Dataset {
        features,
        labels,
        class_names,
        targets,
        ..
    } = &*part.dataset;
    match features {
        Features::Bytes(values) => match values.as_slice() {
            Some(bytes) => digest.update(bytes),
            None => values.iter().for_each(|byte| digest.update([*byte])),
        },
        Features::Reals(values) => values.iter().for_each(|x| digest.update(x.to_le_bytes())),
    }
    labels
        .iter()
        .for_each(|label| digest.update(label.to_le_bytes()));
    digest.update(format!("{class_names:?} {targets:?}"));
    part.rows
        .iter()
        .for_each(|row| digest.update(row.to_le_bytes()));
}
