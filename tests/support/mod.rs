//! Code that the test files share: scalar twins of the engines, number types, networks and
//! mini-batches, error bounds, and tools that run the program or a browser.
//!
//! A scalar twin performs the operations of an engine with one worker, in the same order, over any
//! number type: over a counting number it gives the operation counts, over
//! [`kernel_number::KernelNumber`] the engine's bits.
//!
//! Every test file compiles this module and uses only a part of it.

#![allow(dead_code)]

pub mod allocations;
pub mod breast_cancer;
pub mod browser;
pub mod check_problems;
pub mod compilers;
pub mod dual;
pub mod flowers;
#[cfg(unix)]
pub mod fuzzed;
pub mod gradient_files;
pub mod hostile;
pub mod interruptions;
pub mod kernel_number;
#[cfg(target_os = "linux")]
pub mod limited;
pub mod networks;
pub mod pages;
pub mod program;
pub mod property_cases;
#[cfg(unix)]
pub mod reading;
pub mod reference_cases;
pub mod scalar_backprop;
pub mod scalar_differences;
pub mod scalar_random_directions;
pub mod standard_functions;
pub mod tolerance;
pub mod twins;
pub mod watchdog;
