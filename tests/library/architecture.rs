//! The sources follow the rules of ARCHITECTURE.md: the import table, and the places that may use
//! rayon, use `unsafe`, or open files; and no cycle among the files of the command line. Files and
//! functions are no longer than CONTRIBUTING.md says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use nplus1::cli::arguments::Arguments;

/// The layers from the bottom up; a module imports from lower layers and from itself.
const LAYERS: [&[&str]; 12] = [
    &["error", "memory", "open", "text", "numeric", "kernels"],
    &["parallel", "data"],
    &["model"],
    &["textbook"],
    &["gradient", "optimizer"],
    &["gradient_check", "train"],
    &["config", "format"],
    &["api", "program", "run"],
    &["study"],
    &["explain"],
    &["report"],
    &["cli"],
];

/// The allowed imports within a layer: a precision names its vectors, vectors name their precision,
/// and `open` and `memory` return typed errors.
const WITHIN: [(&str, &str); 4] = [
    ("numeric", "kernels"),
    ("kernels", "numeric"),
    ("open", "error"),
    ("memory", "error"),
];

/// Modules that may import only some of the lower modules, with the complete list.
const ONLY: [(&str, &[&str]); 4] = [
    ("parallel", &["error"]),
    ("textbook", &["model", "numeric"]),
    ("optimizer", &["kernels", "model", "numeric"]),
    (
        "report",
        &[
            "error", "explain", "format", "memory", "numeric", "open", "parallel", "run", "study",
            "text",
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

/// Returns the text of a source file without its unit tests.
fn without_tests(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.to_owned()
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
            let text = without_tests(&path);
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
                ["lib", "main", "out_of_memory"].contains(&module.as_str()),
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
fn rayon_is_named_in_parallel_and_in_one_function_of_the_textbook() {
    for (module, path, code) in code() {
        let most = match module.as_str() {
            "parallel" => usize::MAX,
            "textbook" if path.ends_with("differences.rs") => 1,
            _ => 0,
        };
        assert!(
            code.matches("rayon::").count() <= most,
            "{}",
            path.display()
        );
    }
}

#[test]
fn mpi_is_named_in_one_file() {
    let mut named = 0;
    for (_, path, code) in code() {
        let is_the_file = path.ends_with("src/parallel/cluster/mpi.rs");
        named += usize::from(is_the_file && code.contains("use mpi::"));
        let uses = code.contains("use mpi::") || code.contains("::mpi::");
        assert!(is_the_file || !uses, "{}", path.display());
    }
    assert_eq!(named, 1);
}

#[test]
fn unsafe_stays_in_kernels_in_parallel_and_in_the_programs_allocator() {
    for (module, path, code) in code() {
        let allowed = ["kernels", "parallel", "out_of_memory"].contains(&module.as_str());
        assert!(
            allowed || !(code.contains("unsafe {") || code.contains("unsafe_code")),
            "{}",
            path.display()
        );
    }
}

/// The files that open files besides `open`: they read files of the system or sync folders.
const OPENERS: [&str; 5] = [
    "src/memory.rs",
    "src/parallel/processors.rs",
    "src/run/cpu_caches.rs",
    "src/run/environment.rs",
    "src/format/disk.rs",
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
            // `DataFile::open` is no call of the system's.
            let calls_it = code
                .match_indices(call)
                .any(|(at, _)| !code[..at].ends_with(|letter: char| letter.is_alphanumeric()));
            assert!(!calls_it, "{} calls {call}", path.display());
        }
    }
    assert_eq!(opened, 1 + OPENERS.len(), "exceptions in the sources");
}

/// A file's place below `src/cli`, as modules: `train/mod.rs` is `["train"]`.
type ModulePath = Vec<String>;

/// Every file of the command line with the files it declares (`mod`) or names in a path.
fn command_line_imports() -> BTreeMap<ModulePath, BTreeSet<ModulePath>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli");
    let module = |path: &Path| -> ModulePath {
        let inside = path.strip_prefix(&root).unwrap().with_extension("");
        let names = inside.iter().map(|name| name.to_str().unwrap().to_owned());
        names.filter(|name| name != "mod").collect()
    };
    let files: BTreeMap<ModulePath, String> = code()
        .into_iter()
        .filter(|(of, ..)| of == "cli")
        .map(|(_, path, code)| (module(&path), code))
        .collect();
    let imports = |(from, code): (&ModulePath, &String)| {
        let mut named = BTreeSet::new();
        for line in code.lines() {
            let declared = line.trim_start_matches("pub ").strip_prefix("mod ");
            if let Some(child) = declared.and_then(|rest| rest.strip_suffix(';')) {
                named.insert([&from[..], &[child.to_owned()]].concat());
            }
        }
        for path in paths(code) {
            let mut module = Vec::new();
            let mut names = path.iter().peekable();
            if path[0] != "crate" {
                module.clone_from(from);
            }
            while names.next_if(|name| *name == "super").is_some() {
                module.pop();
            }
            let names = names.skip_while(|name| ["crate", "cli", "self"].contains(&name.as_str()));
            for name in names {
                module.push(name.clone());
                if !files.contains_key(&module) {
                    module.pop();
                    break;
                }
            }
            named.insert(module);
        }
        named.remove(from);
        (from.clone(), named)
    };
    files.iter().map(imports).collect()
}

/// The paths in `code` that begin with `super`, `self` or `crate::cli`, a group one a member.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for beginning in ["super::", "self::", "crate::cli::"] {
        for (at, _) in code.match_indices(beginning) {
            let before = code[..at].chars().next_back();
            if before.is_none_or(|letter| !letter.is_alphanumeric() && !"_:".contains(letter)) {
                members(&code[at..], &[], &mut found);
            }
        }
    }
    found
}

/// Adds the paths that `text` begins with to `found`, each after `prefix`; returns what follows.
fn members<'a>(text: &'a str, prefix: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = prefix.to_vec();
    let mut rest = text.trim_start();
    loop {
        if let Some(group) = rest.strip_prefix('{') {
            rest = group;
            while !rest.trim_start().starts_with('}') {
                rest = members(rest, &path, found).trim_start();
                rest = rest.strip_prefix(',').unwrap_or(rest);
            }
            return &rest.trim_start()[1..];
        }
        let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let end = end.unwrap_or(rest.len());
        path.push(rest[..end].to_owned());
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(next) if !next.starts_with('<') => rest = next,
            _ => break,
        }
    }
    found.push(path);
    // `as name`, up to the next member.
    &rest[rest.find([',', '}', ';']).unwrap_or(rest.len())..]
}

#[test]
fn files_of_the_command_line_do_not_import_each_other_in_a_cycle() {
    fn visit(
        file: &ModulePath,
        imports: &BTreeMap<ModulePath, BTreeSet<ModulePath>>,
        on_the_way: &mut Vec<ModulePath>,
        done: &mut BTreeSet<ModulePath>,
    ) {
        if let Some(start) = on_the_way.iter().position(|other| other == file) {
            panic!("a cycle: {:?}", &on_the_way[start..]);
        }
        if done.contains(file) {
            return;
        }
        on_the_way.push(file.clone());
        for other in &imports[file] {
            visit(other, imports, on_the_way, done);
        }
        on_the_way.pop();
        done.insert(file.clone());
    }
    let imports = command_line_imports();
    let mut done = BTreeSet::new();
    for file in imports.keys() {
        visit(file, &imports, &mut Vec::new(), &mut done);
    }
    let count: usize = imports.values().map(BTreeSet::len).sum();
    assert!(done.len() > 30 && count > 100, "the imports were found");
}

#[test]
fn commands_import_no_other_command_and_arguments_import_nothing_of_the_command_line() {
    let commands: BTreeSet<String> = Arguments::command()
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    let imports = command_line_imports();
    for command in &commands {
        assert!(
            imports.contains_key(std::slice::from_ref(command)),
            "{command} has no file"
        );
    }
    for (file, named) in &imports {
        let Some(own) = file.first() else { continue };
        for other in named.iter().filter_map(|other| other.first()) {
            assert!(
                other == own || !commands.contains(other),
                "{file:?} imports the command {other}"
            );
            assert!(
                other == own || own != "arguments",
                "{file:?} imports {other}"
            );
        }
    }
}

/// The largest number of lines of a file and of a function, unit tests not counted.
const LONGEST_FILE: usize = 500;
const LONGEST_FUNCTION: usize = 80;

/// Functions that may be longer, with the reason.
const LONG_FUNCTIONS: [(&str, &str, &str); 5] = [
    (
        "src/cli/train/mod.rs",
        "run",
        "the steps of the command, in their order",
    ),
    (
        "src/gradient_check/bounds/backprop_roundoff.rs",
        "add_backprop_roundoff",
        "one recursion up and down the layers, term by term",
    ),
    (
        "src/gradient_check/bounds/mod.rs",
        "add_difference",
        "one bound, term by term",
    ),
    (
        "src/gradient_check/error_curve/perturbed_roundoff.rs",
        "unit_noise",
        "one recursion up the layers, term by term",
    ),
    (
        "src/kernels/output_loss.rs",
        "run",
        "one loop over the rows, with the error and the loss of each kind of output side by side",
    ),
];

/// Returns the name and the number of lines of every function in `text`, which rustfmt has formatted:
/// a function ends with the brace that is as far to the right as its first line.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let Some((before, after)) = code.split_once("fn ") else {
            continue;
        };
        let is_definition = before.split_whitespace().all(|word| {
            word.starts_with("pub")
                || word.starts_with("in")
                || word.ends_with(')')
                || ["const", "unsafe", "async", "extern", "\"C\""].contains(&word)
        });
        let name: String = after
            .chars()
            .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
            .collect();
        if !is_definition || name.is_empty() {
            continue;
        }
        let indent = &line[..line.len() - code.len()];
        let is_last = |line: &&str| {
            let rest = line.strip_prefix(indent);
            // Without a body, a function ends with a semicolon.
            rest.is_some_and(|rest| {
                rest == "}" || (!rest.starts_with(' ') && rest.ends_with([';', '}']))
            })
        };
        let length = lines[start..].iter().position(is_last);
        found.push((name, length.map_or(1, |length| length + 1)));
    }
    found
}

#[test]
fn no_file_and_no_function_is_longer_than_agreed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    let (mut seen, mut long) = (0, BTreeSet::new());
    for path in files {
        let text = without_tests(&path);
        let path = path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let lines = text.lines().count();
        assert!(
            lines <= LONGEST_FILE,
            "{path} has {lines} lines: split it, {LONGEST_FILE} are allowed"
        );
        for (name, lines) in functions(&text) {
            seen += 1;
            if lines > LONGEST_FUNCTION {
                let is_listed = LONG_FUNCTIONS
                    .iter()
                    .any(|(file, function, _)| (*file, *function) == (&path, &name));
                assert!(
                    is_listed,
                    "{path}: `{name}` has {lines} lines: split it, {LONGEST_FUNCTION} are allowed"
                );
                long.insert((path.clone(), name));
            }
        }
    }
    assert!(seen > 1500, "only {seen} functions were found");
    for (file, function, _) in LONG_FUNCTIONS {
        assert!(
            long.contains(&(file.to_owned(), function.to_owned())),
            "{file}: `{function}` is no longer long: remove it from LONG_FUNCTIONS"
        );
    }
}

#[test]
fn the_lines_of_a_function_are_counted_up_to_its_closing_brace() {
    let text = "\
impl A {
    pub(crate) fn first(
        &self,
    ) -> u8 {
        if true {
            1
        }
    }

    fn second(&self);
}

/// Calls fn third.
const fn third() {}
";
    let named = |name: &str, lines| (name.to_owned(), lines);
    assert_eq!(
        functions(text),
        [named("first", 7), named("second", 1), named("third", 1)]
    );
}
