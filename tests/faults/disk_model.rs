//! A model of a disk that loses power: which of the changes that a program has made are on it.
//!
//! Each change is on the disk for certain once a later sync covers it: that of a file its content,
//! that of a folder its entries, and neither the other. Of all others, any subset may be there, in
//! sectors of 512 bytes, whatever their order: this is more than file systems lose.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nplus1::format::disk::{Call, Fate, watch};

use super::{Promise, Promises};

/// The bytes that a disk writes as a whole.
const SECTOR: usize = 512;
/// The most changes of which all subsets are tried.
const MOST_PENDING: usize = 15;

/// A file or a folder, whatever its name; the folder in which everything happens is 0.
type Node = usize;
/// A name in a folder.
type Entry = (Node, String);

/// A change of the disk, or a sync.
#[derive(Clone, Debug)]
pub enum Change {
    Create {
        at: Entry,
        node: Node,
    },
    Write {
        node: Node,
        start: usize,
        bytes: Vec<u8>,
    },
    Rename {
        from: Entry,
        to: Entry,
        node: Node,
    },
    Remove {
        at: Entry,
    },
    Sync(Node),
    SyncFolder(Node),
}

/// The changes in order, each with the number of promises before it.
#[derive(Clone, Default)]
pub struct Trace {
    pub changes: Vec<(Change, usize)>,
    nodes: usize,
    folders: HashSet<Node>,
    paths: HashMap<PathBuf, Node>,
    lengths: HashMap<Node, usize>,
}

impl Trace {
    /// Records the changes that `work` makes below `root`, which is empty.
    pub fn record(root: &Path, promises: &Promises, work: impl FnOnce()) -> Self {
        let mut trace = Self::default();
        trace.new_node(root, true);
        let trace = Rc::new(RefCell::new(trace));
        let (seen, promises) = (Rc::clone(&trace), Rc::clone(promises));
        let watcher = move |call: &Call<'_>| {
            let promised = promises.borrow().len();
            let mut trace = seen.borrow_mut();
            if let Some(change) = trace.change(call) {
                trace.changes.push((change, promised));
            }
            Fate::Make
        };
        watch(watcher, work);
        trace.take()
    }

    fn new_node(&mut self, path: &Path, folder: bool) -> Node {
        let node = self.nodes;
        self.nodes += 1;
        self.paths.insert(path.to_path_buf(), node);
        if folder {
            self.folders.insert(node);
        }
        node
    }

    fn entry(&self, path: &Path) -> Entry {
        let name = path.file_name().unwrap().to_str().unwrap();
        (self.paths[path.parent().unwrap()], name.to_owned())
    }

    /// Returns the change that a call makes; opening an existing file is none.
    fn change(&mut self, call: &Call<'_>) -> Option<Change> {
        Some(match *call {
            Call::Create(path) if self.paths.contains_key(path) => return None,
            Call::Create(path) | Call::CreateFolder(path) => Change::Create {
                at: self.entry(path),
                node: self.new_node(path, matches!(call, Call::CreateFolder(_))),
            },
            Call::Write(path, bytes) => {
                let node = self.paths[path];
                let length = self.lengths.entry(node).or_default();
                let start = *length;
                *length += bytes.len();
                let bytes = bytes.to_vec();
                Change::Write { node, start, bytes }
            }
            Call::Rename(from, to) => {
                let change = Change::Rename {
                    from: self.entry(from),
                    to: self.entry(to),
                    node: self.paths[from],
                };
                let moved = |path: &PathBuf| path.starts_with(from);
                let paths: Vec<PathBuf> = self
                    .paths
                    .keys()
                    .filter(|path| moved(path))
                    .cloned()
                    .collect();
                for path in paths {
                    let node = self.paths.remove(&path).unwrap();
                    let rest = path.strip_prefix(from).unwrap();
                    let path = if rest.as_os_str().is_empty() {
                        to.to_path_buf()
                    } else {
                        to.join(rest)
                    };
                    self.paths.insert(path, node);
                }
                change
            }
            Call::Remove(path) => {
                let at = self.entry(path);
                self.paths.remove(path);
                Change::Remove { at }
            }
            Call::Sync(path) => Change::Sync(self.paths[path]),
            Call::SyncFolder(path) => Change::SyncFolder(self.paths[path]),
            Call::Truncate(..) | Call::RemoveFolder(_) => panic!("{call:?} is not modelled"),
        })
    }

    /// Returns the places of all syncs.
    pub fn syncs(&self) -> Vec<usize> {
        let is_sync = |change: &Change| matches!(change, Change::Sync(_) | Change::SyncFolder(_));
        let places = 0..self.changes.len();
        places
            .filter(|&place| is_sync(&self.changes[place].0))
            .collect()
    }

    /// Returns the trace without the change at `place`.
    pub fn without(&self, place: usize) -> Self {
        let mut trace = self.clone();
        trace.changes.remove(place);
        trace
    }
}

/// What is known of a unit that a disk writes as a whole.
#[derive(Clone, Copy, Debug)]
struct Unit {
    change: usize,
    /// The bytes of a write that it has.
    from: usize,
    to: usize,
    durable: bool,
}

/// What stands where a sector of a write was lost.
#[derive(Clone, Copy, Debug)]
enum Lost {
    /// The file ends before it, or has zeros there.
    Short,
    /// Zeros, and the file has its whole length.
    Zeros,
    /// Old bytes of the disk, and the file has its whole length.
    Garbage,
}

/// Which subsets are tried of the changes that may be lost.
#[derive(Clone, Copy, PartialEq)]
pub enum Subsets {
    All,
    /// None, all, each alone, all but each.
    Few,
}

/// What a loss of power at any time may leave.
pub struct Explored {
    /// The states with different content or promises.
    pub states: usize,
    /// The first state in which a promise was broken.
    pub broken: Option<String>,
}

/// Tries every state that a loss of power after any change of `trace` may leave, and asks `judge`
/// whether the promises are kept in the folder that it is given. Stops at the first broken promise.
pub fn explore(
    trace: &Trace,
    promises: &[Promise],
    subsets: Subsets,
    mut judge: impl FnMut(&Path, &[Promise]) -> Result<(), String>,
) -> Explored {
    let scratch = super::scratch();
    let mut seen = HashSet::new();
    for prefix in 0..=trace.changes.len() {
        let promised = trace
            .changes
            .get(prefix)
            .map_or(promises.len(), |(_, count)| *count);
        let units = units(&trace.changes[..prefix]);
        let pending: Vec<usize> = (0..units.len())
            .filter(|&unit| !units[unit].durable)
            .collect();
        for chosen in chosen(pending.len(), subsets) {
            let is_there = |unit: usize| {
                units[unit].durable || chosen[pending.iter().position(|&p| p == unit).unwrap()]
            };
            let there: Vec<Unit> = (0..units.len())
                .filter(|&u| is_there(u))
                .map(|u| units[u])
                .collect();
            for lost in [Lost::Short, Lost::Zeros, Lost::Garbage] {
                let files = files(trace, prefix, &there, lost);
                let mut hasher = DefaultHasher::new();
                (promised, &files).hash(&mut hasher);
                if !seen.insert(hasher.finish()) {
                    continue;
                }
                let folder = scratch.path().join(seen.len().to_string());
                write(&folder, &files);
                let kept = judge(&folder, &promises[..promised]);
                std::fs::remove_dir_all(&folder).unwrap();
                if let Err(problem) = kept {
                    let last = prefix.checked_sub(1).map(|last| &trace.changes[last].0);
                    let broken = format!(
                        "after change {prefix}, {last:?}, {promised} promises, {lost:?}: {problem}; the disk had {:?}",
                        files.keys().collect::<Vec<_>>()
                    );
                    return Explored {
                        states: seen.len(),
                        broken: Some(broken),
                    };
                }
            }
        }
    }
    Explored {
        states: seen.len(),
        broken: None,
    }
}

/// Splits changes into the units that a disk writes as a whole.
fn units(changes: &[(Change, usize)]) -> Vec<Unit> {
    let mut units = Vec::new();
    for (place, (change, _)) in changes.iter().enumerate() {
        let later = || changes[place..].iter().map(|(change, _)| change);
        let synced = |node: Node| later().any(|c| matches!(c, Change::Sync(n) if *n == node));
        let folder_synced =
            |at: &Entry| later().any(|c| matches!(c, Change::SyncFolder(n) if *n == at.0));
        let mut add = |from, to, durable| {
            units.push(Unit {
                change: place,
                from,
                to,
                durable,
            })
        };
        match change {
            Change::Write { node, start, bytes } => {
                let mut from = 0;
                while from < bytes.len() {
                    let to = bytes.len().min(from + SECTOR - (start + from) % SECTOR);
                    add(from, to, synced(*node));
                    from = to;
                }
            }
            Change::Create { at, .. } | Change::Remove { at } => add(0, 0, folder_synced(at)),
            Change::Rename { from, to, .. } => {
                add(0, 0, folder_synced(from) && folder_synced(to));
            }
            Change::Sync(_) | Change::SyncFolder(_) => {}
        }
    }
    units
}

/// Returns the subsets of `count` changes, one flag for each.
fn chosen(count: usize, subsets: Subsets) -> Vec<Vec<bool>> {
    if subsets == Subsets::Few {
        let alone = (0..count).map(|one| (0..count).map(|other| other == one).collect());
        let without = (0..count).map(|one| (0..count).map(|other| other != one).collect());
        let both = [vec![false; count], vec![true; count]];
        return alone.chain(without).chain(both).collect();
    }
    assert!(
        count <= MOST_PENDING,
        "{count} changes that may be lost have too many subsets"
    );
    (0..1usize << count)
        .map(|mask| (0..count).map(|bit| mask >> bit & 1 == 1).collect())
        .collect()
}

/// Returns the content of each file that can be reached, and `None` for each folder.
fn files(
    trace: &Trace,
    prefix: usize,
    there: &[Unit],
    lost: Lost,
) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut entries: BTreeMap<Entry, Node> = BTreeMap::new();
    let mut content: HashMap<Node, Vec<u8>> = HashMap::new();
    if !matches!(lost, Lost::Short) {
        let filler = if matches!(lost, Lost::Zeros) { 0 } else { 0xa5 };
        for (change, _) in &trace.changes[..prefix] {
            if let Change::Write { node, start, bytes } = change {
                content
                    .entry(*node)
                    .or_default()
                    .resize(start + bytes.len(), filler);
            }
        }
    }
    for unit in there {
        match &trace.changes[unit.change].0 {
            Change::Create { at, node } => drop(entries.insert(at.clone(), *node)),
            Change::Remove { at } => drop(entries.remove(at)),
            Change::Rename { from, to, node } => {
                entries.remove(from);
                entries.insert(to.clone(), *node);
            }
            Change::Write { node, start, bytes } => {
                let file = content.entry(*node).or_default();
                let (from, to) = (start + unit.from, start + unit.to);
                if file.len() < to {
                    file.resize(to, 0);
                }
                file[from..to].copy_from_slice(&bytes[unit.from..unit.to]);
            }
            Change::Sync(_) | Change::SyncFolder(_) => {}
        }
    }
    let mut files = BTreeMap::new();
    let mut folders = vec![(0, PathBuf::new())];
    while let Some((folder, path)) = folders.pop() {
        for ((_, name), node) in entries.range((folder, String::new())..(folder + 1, String::new()))
        {
            let path = path.join(name);
            if trace.folders.contains(node) {
                folders.push((*node, path.clone()));
                files.insert(path, None);
            } else {
                files.insert(path, Some(content.get(node).cloned().unwrap_or_default()));
            }
        }
    }
    files
}

/// Writes files and folders below `folder`.
fn write(folder: &Path, files: &BTreeMap<PathBuf, Option<Vec<u8>>>) {
    std::fs::create_dir(folder).unwrap();
    for (path, content) in files {
        match content {
            None => std::fs::create_dir(folder.join(path)).unwrap(),
            Some(bytes) => std::fs::write(folder.join(path), bytes).unwrap(),
        }
    }
}
