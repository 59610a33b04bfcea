//! Every config of the repository is valid; a resolved config lists the defaults of the key
//! table for omitted keys, and can be read again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nplus1::cli::arguments::{ConfigArguments, ConfigCommand, OverrideArguments};
use nplus1::cli::config::run;
use nplus1::cli::output::Messages;
use nplus1::config::{Config, DATASETS, Overrides, keys, starter};
use nplus1::data::{DataSource, Share, TableOptions};
use nplus1::error::Error;
use nplus1::optimizer::Schedule;
use nplus1::train::TrainConfig;

/// A minimal valid config.
const LEAST: &str =
    "data.dataset = 'iris'\nmodel.hidden = [8]\noptimizer.learning_rate = 1\ntrain.epochs = 2\n";

fn parse(text: &str) -> Config {
    parse_with(text, &Overrides::default())
}

fn parse_with(text: &str, overrides: &Overrides) -> Config {
    Config::parse(text, Path::new("nets/least.toml"), overrides)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Returns the sorted paths of all configs of the repository.
fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder of configs exists")
        .map(|entry| entry.expect("the folder of configs is readable").path())
        .collect();
    files.sort();
    files
}

/// Runs a `config` command; returns its result and its standard output.
fn run_command(command: &ConfigCommand, json: bool) -> (Result<(), Error>, String) {
    let mut out = Vec::new();
    let result = run(command, &mut out, json, Messages::default());
    (result, String::from_utf8(out).expect("results are text"))
}

#[test]
fn every_shipped_config_is_valid_and_begins_with_a_comment() {
    let files = shipped();
    assert!(files.len() >= 13, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# "), "{}", file.display());
        let config =
            Config::load(&file, &Overrides::default()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.name, file.file_stem().unwrap().to_str().unwrap());
        assert_eq!(parse(&config.to_toml()), config, "{}", file.display());
    }
}

#[test]
fn the_mnist_configs_have_the_settings_of_nielsen_s_book() {
    for hidden in [30, 100] {
        let file = format!("{}/configs/mnist-{hidden}.toml", env!("CARGO_MANIFEST_DIR"));
        let config = Config::load(Path::new(&file), &Overrides::default()).unwrap();
        assert_eq!(config.model.hidden, [hidden]);
        assert_eq!(config.loss.kind.name(), "quadratic");
        assert_eq!(config.model.initialization.name(), "normal");
        assert_eq!(config.data.validation, Some(Share::Rows(10_000)));
        assert_eq!(
            (config.optimizer.learning_rate(), config.train.batch_size),
            (Some(3.0), 10)
        );
        assert_eq!(config.train.epochs, Some(30));
    }
}

#[test]
fn a_resolved_config_parses_to_the_same_config() {
    let texts = [
        LEAST.to_owned(),
        starter(),
        "seed = 9223372036854775807\nname = 'a.b-c_d'\n[data]\ntrain = ['i.gz', 'l.gz']\ntest = ['j.gz', 'k.gz']\nvalidation = 0.1\nlimit = 7\n[model]\nhidden = [65536, 1]\nprecision = 'f64'\nbias = false\ninitialization = 'xavier'\n[optimizer]\nlearning_rate = 1e-300\nschedule = 'step'\nstep_every = 3\nmomentum = 0.1\n[train]\nmax_steps = 9223372036854775807\nmax_seconds = 0.25\nearly_stopping = 2\n[run]\nthreads = 1024\nsplit = 'rows'\n".to_owned(),
        "[data]\ndataset = 'wine'\n[model]\nhidden = [3]\n[optimizer]\nkind = 'adam'\nbeta1 = 0\nepsilon = 1e-300\nschedule = 'cosine'\n[train]\nepochs = 1\nbatch_size = 1000000000\n".to_owned(),
        "[data]\ndataset = 'wine'\n[model]\nhidden = [3]\n[optimizer]\nkind = 'lbfgs'\nmemory = 1000\ntolerance = 0\n[train]\nmax_seconds = 1\n[run]\nsplit = 'units'\n".to_owned(),
        "[data]\ndataset = 'wine'\n[model]\nhidden = [3]\n[gradient]\nmethod = 'spsa'\ndirections = 65536\ndistribution = 'gaussian'\nincrement = 1e-300\n[optimizer]\nlearning_rate = 1\n[train]\nepochs = 1\n".to_owned(),
        "[data]\ndataset = 'wine'\n[model]\nhidden = [3]\n[gradient]\nmethod = 'forward-mode'\nevaluation = 'full'\n[optimizer]\nlearning_rate = 1\n[train]\nepochs = 1\n".to_owned(),
        "[data]\ndataset = 'wine'\n[model]\nhidden = [3]\n[gradient]\nmethod = 'numeric-backprop'\nincrement = 1e-5\n[optimizer]\nlearning_rate = 1\n[train]\nepochs = 1\n".to_owned(),
        "[data]\ndataset = 'wine'\n[model]\nhidden = [3]\n[gradient]\nmethod = 'node-perturbation'\narithmetic = 'cancellation-free'\nincrement = 1e-300\n[optimizer]\nlearning_rate = 1\n[train]\nepochs = 1\n".to_owned(),
        "[data]\ndataset = 'wine'\n[model]\nhidden = [3]\n[gradient]\nmethod = 'spsa'\n[optimizer]\nlearning_rate = 1\n[train]\nepochs = 1\n".to_owned(),
        "[data]\ndataset = 'wine'\n[model]\nhidden = [3]\n[gradient]\nmethod = 'forward-gradient'\ndirections = 3\nperturbed = 'activations'\n[optimizer]\nlearning_rate = 1\n[train]\nepochs = 1\n".to_owned(),
        "[data]\ndataset = 'wine'\nfolds = 2\n[model]\nhidden = [3]\n[gradient]\nmethod = 'central-difference'\nrelative_increment = 1e-6\nextrapolation = 'richardson'\n[optimizer]\nkind = 'rmsprop'\n[train]\nepochs = 1\n[run]\nlimit_seconds = 10\n".to_owned(),
        "[data]\ntrain = 'a.csv'\nlabel = 3\ntest = 0.25\n[model]\nhidden = []\n[loss]\nkind = 'logistic'\n[optimizer]\nlearning_rate = 1e300\nschedule = 'cosine'\n[train]\nepochs = 1\n".to_owned(),
        "[data]\ntrain = 'a.csv'\ntargets = ['b', '3']\nignore = ['id', '0']\nmissing = 'mean'\nunknown = 'zero'\nseparator = \"\\t\"\n[model]\nhidden = []\n[optimizer]\nlearning_rate = 1\n[train]\nepochs = 1\n".to_owned(),
        "[data]\ntrain = 'a.csv'\n[model]\nhidden = []\n[loss]\nclass_weights = [1, 2.5]\n[optimizer]\nlearning_rate = 1\n[train]\nepochs = 1\n".to_owned(),
    ];
    let mut written = BTreeSet::new();
    for text in texts {
        let config = parse(&text);
        let resolved = config.to_toml();
        assert_eq!(parse(&resolved), config, "{resolved}");
        assert_eq!(parse(&resolved).to_toml(), resolved);
        let document: toml_edit::DocumentMut = resolved.parse().unwrap();
        for (name, item) in document.iter() {
            match item.as_table() {
                Some(section) => {
                    written.extend(section.iter().map(|(key, _)| format!("{name}.{key}")))
                }
                None => written.extend([format!(".{name}")]),
            }
        }
    }
    for section in keys::SECTIONS.into_iter().chain([&keys::TOP]) {
        for key in section.keys {
            let key = format!("{}.{}", section.name, key.name);
            assert!(written.contains(&key), "no config above writes {key}");
        }
    }
}

#[test]
fn a_resolved_config_lists_every_default() {
    // Files have defaults that a named dataset does not have.
    let least = LEAST.replace("data.dataset = 'iris'", "data.train = 'flowers.csv'");
    let resolved: toml_edit::DocumentMut = parse(&least).to_toml().parse().unwrap();
    let mut seen = 0;
    for section in keys::SECTIONS.into_iter().chain([&keys::TOP]) {
        for key in section.keys {
            let Some(text) = key.unconditional_default() else {
                continue;
            };
            let found = if section.name.is_empty() {
                &resolved[key.name]
            } else {
                &resolved[section.name][key.name]
            };
            assert_eq!(found.to_string().trim(), text, "{}", key.name);
            seen += 1;
        }
    }
    assert!(seen >= 11, "{seen}");
}

#[test]
fn defaults_that_depend_on_other_keys_are_resolved() {
    let config = parse(LEAST);
    assert_eq!(config.name, "least");
    assert_eq!(config.model.output.name(), "sigmoid");
    assert_eq!(config.run.threads, None);
    let config = parse(&format!("{LEAST}loss.kind = 'logistic'"));
    assert_eq!(config.model.output.name(), "linear");
    let config = parse(&format!(
        "{LEAST}optimizer.schedule = 'step'\noptimizer.step_every = 4"
    ));
    assert_eq!(
        config.optimizer.schedule(),
        Some(Schedule::Step {
            every: 4,
            factor: 0.1
        })
    );
    let bare =
        "data.dataset = 'iris'\nmodel.hidden = [8]\ntrain.epochs = 2\noptimizer.kind = ".to_owned();
    let adam = parse(&(bare.clone() + "'adam'"));
    assert_eq!(adam.optimizer.learning_rate(), Some(1e-3));
    assert_eq!(adam.train.batch_size, 10);
    let lbfgs = parse(&(bare + "'lbfgs'"));
    assert_eq!(lbfgs.optimizer.learning_rate(), None);
    assert_eq!(lbfgs.train.batch_size, TrainConfig::ALL_ROWS);
    assert_eq!(
        parse(&format!("{LEAST}data.validation = 0"))
            .data
            .validation,
        None
    );
}

#[test]
fn relative_paths_start_at_the_config_s_folder_and_are_absolute_once_resolved() {
    let text = LEAST.replace(
        "data.dataset = 'iris'",
        "data.train = 'a.csv'\ndata.test = '/b.csv'",
    );
    let config = parse(&text);
    let here = std::path::absolute("nets/a.csv").unwrap();
    let expected = DataSource::Files {
        train: vec![here],
        test: vec!["/b.csv".into()],
        label: None,
        options: TableOptions::default(),
    };
    assert_eq!(config.data.source, expected);
    let copy = Config::parse(
        &config.to_toml(),
        Path::new("/else/where.toml"),
        &Overrides::default(),
    );
    assert_eq!(copy.unwrap().data.source, expected);
}

#[test]
fn the_command_line_wins_over_the_file_and_the_last_over_the_first() {
    let overrides = Overrides {
        set: [
            "train.epochs=3",
            "train.epochs=4",
            "data.dataset=wine",
            "model.hidden=[]",
            "seed=5",
        ]
        .map(str::to_owned)
        .to_vec(),
        seed: Some(6),
        threads: Some(2),
    };
    let config = parse_with(LEAST, &overrides);
    assert_eq!(config.train.epochs, Some(4));
    assert_eq!(config.data.source, DataSource::Catalog("wine".to_owned()));
    assert!(config.model.hidden.is_empty());
    assert_eq!((config.seed, config.run.threads), (6, Some(2)));
}

#[test]
fn every_dataset_can_be_named() {
    for name in DATASETS {
        let set = vec![format!("data.dataset={name}")];
        let config = parse_with(
            LEAST,
            &Overrides {
                set,
                ..Overrides::default()
            },
        );
        assert_eq!(config.data.source, DataSource::Catalog(name.to_owned()));
    }
}

#[test]
fn the_arguments_are_valid_for_clap() {
    use clap::Args;
    ConfigArguments::augment_args(clap::Command::new("config")).debug_assert();
}

#[test]
fn check_reports_every_file_before_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (
        folder.path().join("good.toml"),
        folder.path().join("bad.toml"),
    );
    std::fs::write(&good, LEAST).unwrap();
    std::fs::write(&bad, "seed = -1\n").unwrap();
    let none = folder.path().join("none.toml");
    let files = vec![bad.clone(), none, good.clone()];
    let command = ConfigCommand::Check {
        files,
        changes: OverrideArguments::default(),
    };
    let (result, out) = run_command(&command, false);
    let error = result.unwrap_err();
    assert_eq!(error.exit_code(), 2);
    // The other files are reported before the last error ends the program.
    let missing = "none.toml: no such file";
    assert!(error.to_string().contains(missing), "{error}");
    let line = format!(
        "{}: ok (iris, hidden [8], sigmoid outputs, cross-entropy, sgd 1, 2 epochs",
        good.display()
    );
    assert!(out.starts_with(&line), "{out}");
    let (_, out) = run_command(&command, true);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let verdicts: Vec<_> = (0..3)
        .map(|file| json["files"][file]["ok"].as_bool())
        .collect();
    assert_eq!(verdicts, [Some(false), Some(false), Some(true)]);
    for (file, part) in ["bad.toml:1:8", missing].into_iter().enumerate() {
        let error = json["files"][file]["error"].as_str().unwrap();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn show_prints_the_resolved_config_as_toml_and_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("least.toml");
    std::fs::write(&file, LEAST).unwrap();
    let changes = OverrideArguments {
        set: vec!["train.batch_size=7".to_owned()],
        ..OverrideArguments::default()
    };
    let command = ConfigCommand::Show { file, changes };
    let (result, out) = run_command(&command, false);
    result.unwrap();
    assert_eq!(parse(&out).train.batch_size, 7);
    let (_, out) = run_command(&command, true);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["train"]["batch_size"], 7);
    assert_eq!(json["model"]["hidden"], serde_json::json!([8]));
    assert_eq!(json["run"]["threads"], "auto");
}

#[test]
fn init_writes_a_valid_config_and_overwrites_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    let command = ConfigCommand::Init {
        file: Some(file.clone()),
        data: None,
        label: None,
    };
    let (result, out) = run_command(&command, false);
    result.unwrap();
    assert!(out.contains("mine.toml"), "{out}");
    assert_eq!(
        Config::load(&file, &Overrides::default()).unwrap().name,
        "mine"
    );
    std::fs::write(&file, "mine").unwrap();
    let (result, _) = run_command(&command, false);
    assert_eq!(result.unwrap_err().exit_code(), 2);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    for file in [None, Some("-".into())] {
        let (result, out) = run_command(
            &ConfigCommand::Init {
                file,
                data: None,
                label: None,
            },
            false,
        );
        result.unwrap();
        assert_eq!(out, starter());
    }
}

#[test]
fn the_starter_file_names_every_key() {
    let starter = starter();
    for section in keys::SECTIONS.into_iter().chain([&keys::TOP]) {
        assert!(section.name.is_empty() || starter.contains(&format!("[{}]", section.name)));
        for key in section.keys {
            let named = starter.lines().any(|line| {
                let key_of_line = line.trim_start_matches("# ").split(" =").next();
                key_of_line == Some(key.name) || line.contains(&format!("{} = …", key.name))
            });
            assert!(named, "{}", key.name);
        }
    }
}
