//! The peak memory of loading MNIST is the size of its data, stored once.

mod support;

use nplus1::data::{SearchPaths, catalog};
use support::allocations::{MemoryCounter, peak_of};

#[global_allocator]
static ALLOCATOR: MemoryCounter = MemoryCounter;

#[test]
fn loading_mnist_stores_no_byte_twice() {
    let (loaded, peak) = peak_of(|| catalog::load("mnist", &SearchPaths::new(None)).unwrap());
    let (train, test) = loaded;
    let rows = train.rows() + test.map_or(0, |test| test.rows());
    // One byte per pixel, three per label, and half a megabyte for buffers and paths.
    let data = rows * (784 + 3);
    assert!(peak >= rows * 784, "{peak} bytes cannot hold the data");
    assert!(peak <= data + (1 << 19), "{peak} bytes for {data} of data");
}
