//! The import table of ARCHITECTURE.md, compared with the `use` lines of the sources; rayon and
//! `unsafe` stay in the folders that may name them.

use std::fs;
use std::path::{Path, PathBuf};

/// Layers, from the bottom up: a module imports from lower layers and from itself.
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

/// The imports within a layer: a precision has its vectors, vectors have a precision, and what
/// cannot be opened is a typed error.
const WITHIN: [(&str, &str); 3] = [
    ("numeric", "kernels"),
    ("kernels", "numeric"),
    ("open", "error"),
];

/// Modules that may import less than what lies below them, and all that they may import.
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

/// Every source file: its module (`src/MODULE…`), its path and its code without comments and tests.
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

/// Modules named after `crate::`, grouped imports included.
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
        let Some(own) = layer(&module) else {
            assert!(
                ["lib", "main"].contains(&module.as_str()),
                "{module} has no layer"
            );
            continue;
        };
        for other in imports(&code) {
            let Some(there) = layer(&other) else { continue };
            seen += 1;
            let allowed = other == module
                || there < own
                || WITHIN.contains(&(module.as_str(), other.as_str()));
            assert!(
                allowed,
                "{} imports crate::{other}, which is not below {module}",
                path.display()
            );
            let few = ONLY.iter().find(|(of, _)| *of == module);
            assert!(
                other == module || few.is_none_or(|(_, few)| few.contains(&other.as_str())),
                "{} imports crate::{other}, which {module} may not",
                path.display()
            );
        }
    }
    assert!(seen > 50, "the imports were found");
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

/// Beside `open`: the system's own files, and folders that are synced.
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
    assert_eq!(opened, 1 + OPENERS.len(), "the exceptions were found");
}
