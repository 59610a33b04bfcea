//! The memory that files take: of MNIST the size of its data, stored once; of hostile files little,
//! whatever they say.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use nplus1::data::{SearchPaths, catalog};
use nplus1::parallel::processors::busy_seconds;
use support::allocations::{MemoryCounter, peak_of};
use support::hostile::{Format, files, time_limit};
use support::reading::read;

#[global_allocator]
static ALLOCATOR: MemoryCounter = MemoryCounter;

/// All threads' memory is counted, so one test runs at a time.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn loading_mnist_stores_no_byte_twice() {
    let _turn = TURN.lock();
    let (loaded, peak) = peak_of(|| catalog::load("mnist", &SearchPaths::new(None)).unwrap());
    let (train, test) = loaded;
    let rows = train.rows() + test.map_or(0, |test| test.rows());
    // One byte per pixel, three per label, and half a megabyte for buffers and paths.
    let data = rows * (784 + 3);
    assert!(peak >= rows * 784, "{peak} bytes cannot hold the data");
    assert!(peak <= data + (1 << 19), "{peak} bytes for {data} of data");
}

/// The bytes that a hostile file may take while it is read.
const MOST_BYTES: usize = 64 << 20;

#[cfg(unix)]
#[test]
fn slow_hostile_files_are_refused_in_little_time_and_memory() {
    let _turn = TURN.lock();
    let folder = tempfile::tempdir().unwrap();
    let (mut count, mut errors, mut faults) = (0, 0, Vec::new());
    let (mut slowest, mut largest) = (Duration::ZERO, 0);
    for file in Format::ALL.into_iter().flat_map(files) {
        let name = format!("{:?} {}", file.format, file.number);
        let start = busy_seconds().unwrap();
        let read = || read(file.format, &file.bytes, folder.path());
        let (outcome, peak) = peak_of(|| catch_unwind(AssertUnwindSafe(read)));
        let elapsed = Duration::from_secs_f64(busy_seconds().unwrap() - start);
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.exit_code() == 2 => errors += 1,
            Ok(Err(error)) => faults.push(format!("{name}: {} {error}", error.exit_code())),
            Err(_) => faults.push(format!("{name}: a panic")),
        }
        if elapsed > time_limit() {
            faults.push(format!("{name}: {elapsed:?}"));
        }
        if peak > MOST_BYTES {
            faults.push(format!("{name}: {} MB", peak >> 20));
        }
        count += 1;
        slowest = slowest.max(elapsed);
        largest = largest.max(peak);
    }
    println!(
        "hostile files: {count} files, {errors} refused, {} faults, slowest {:.2} s, largest {} MB",
        faults.len(),
        slowest.as_secs_f64(),
        largest >> 20
    );
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count >= 1000 && errors > count / 3);
}
