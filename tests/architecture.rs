//! The sources follow the rules of ARCHITECTURE.md: the import table, and the places that may use
//! rayon, use `unsafe`, or open files.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the bottom up; a module imports from lower layers and from itself.
const LAYERS: [&[&str]; 12] = [
    &["error", "open", "text", "numeric", "kernels"],
    &["parallel", "data"],
    &["model"],
    &["textbook"],
    &["gradient", "optimizer"],
    &["gradient_check", "train"],
    &["config", "format"],
    &["run"],
    &["study"],
    &["explain"],
    &["report"],
    &["cli"],
];

/// The allowed imports within a layer: a precision names its vectors, vectors name their precision,
/// and `open` returns typed errors.
const WITHIN: [(&str, &str); 3] = [
    ("numeric", "kernels"),
    ("kernels", "numeric"),
    ("open", "error"),
];

/// Modules that may import only some of the lower modules, with the complete list.
const ONLY: [(&str, &[&str]); 4] = [
    ("parallel", &["error"]),
    ("textbook", &["model", "numeric"]),
    ("optimizer", &["kernels", "model", "numeric"]),
    (
        "report",
        &[
            "error", "explain", "format", "numeric", "open", "run", "study", "text",
        ],
    ),
];

/// Adds the paths of all source files in `folder` and its subfolders to `files`.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Returns the module (`src/MODULE…`), the path, and the code without comments and unit tests of
/// every source file.
fn code() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files
        .into_iter()
        .map(|path| {
            let inside = path.strip_prefix(&root).unwrap();
            let first = inside
                .components()
                .next()
                .unwrap()
                .as_os_str()
                .to_str()
                .unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let lines = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            let code = lines.collect::<Vec<_>>().join("\n");
            (first.trim_end_matches(".rs").to_owned(), path, code)
        })
        .collect()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Returns the modules named after `crate::`, including those of grouped imports.
fn imports(code: &str) -> Vec<String> {
    code.match_indices("crate::")
        .flat_map(|(at, _)| {
            let rest = &code[at + "crate::".len()..];
            let name = |text: &str| {
                text.trim()
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect::<String>()
            };
            match rest.strip_prefix('{') {
                Some(group) => group
                    .split('}')
                    .next()
                    .unwrap()
                    .split(',')
                    .map(name)
                    .collect(),
                None => vec![name(rest)],
            }
        })
        .collect()
}

#[test]
fn imports_point_down() {
    let mut seen = 0;
    for (module, path, code) in code() {
        let Some(own_layer) = layer(&module) else {
            assert!(
                ["lib", "main"].contains(&module.as_str()),
                "{module} has no layer"
            );
            continue;
        };
        for other in imports(&code) {
            let Some(other_layer) = layer(&other) else {
                continue;
            };
            seen += 1;
            let allowed = other == module
                || other_layer < own_layer
                || WITHIN.contains(&(module.as_str(), other.as_str()));
            assert!(
                allowed,
                "{} imports crate::{other}, which is not below {module}",
                path.display()
            );
            let restriction = ONLY.iter().find(|(restricted, _)| *restricted == module);
            assert!(
                other == module
                    || restriction.is_none_or(|(_, allowed)| allowed.contains(&other.as_str())),
                "{} imports crate::{other}, which {module} may not",
                path.display()
            );
        }
    }
    assert!(seen > 50, "only {seen} imports were found");
}

#[test]
fn rayon_is_named_in_parallel_only() {
    for (module, path, code) in code() {
        assert!(
            module == "parallel" || !code.contains("rayon::"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn unsafe_stays_in_kernels_and_parallel() {
    for (module, path, code) in code() {
        let allowed = module == "kernels" || module == "parallel";
        assert!(
            allowed || !(code.contains("unsafe {") || code.contains("unsafe_code")),
            "{}",
            path.display()
        );
    }
}

/// The files that open files besides `open`: they read files of the system or sync folders.
const OPENERS: [&str; 4] = [
    "src/parallel/processors.rs",
    "src/run/cpu_caches.rs",
    "src/run/environment.rs",
    "src/format/file.rs",
];

#[test]
fn files_that_are_read_are_opened_in_one_place() {
    let calls = [
        "File::open(",
        "fs::read(",
        "fs::read_to_string(",
        ".read(true)",
    ];
    let mut opened = 0;
    for (module, path, code) in code() {
        if module == "open" || OPENERS.iter().any(|opener| path.ends_with(opener)) {
            opened += 1;
            continue;
        }
        for call in calls {
            // `DataFile::open(` is another function.
            let named = code.match_indices(call).any(|(at, _)| {
                let before = code[..at].chars().next_back();
                !before.is_some_and(|letter| letter.is_alphanumeric())
            });
            assert!(!named, "{} calls {call}", path.display());
        }
    }
    assert_eq!(opened, 1 + OPENERS.len(), "exceptions in the sources");
}
