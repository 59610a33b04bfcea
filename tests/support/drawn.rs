//! How many cases a property is tried on, and which.
//!
//! The same ones every time, so that a change that turns a test red is the cause of it. `just fuzz`
//! draws others, and more of them: `NPLUS1_FUZZ=20` are twenty times as many.

use proptest::test_runner::{Config, RngSeed};

/// `cases` drawn from a fixed seed; under `NPLUS1_FUZZ` as many times as many, from a seed of this
/// run.
pub fn cases(cases: u32) -> Config {
    let fuzz: Option<u32> = std::env::var("NPLUS1_FUZZ").ok().map(|factor| {
        (factor.parse()).unwrap_or_else(|_| panic!("NPLUS1_FUZZ is {factor:?}, not a number"))
    });
    Config {
        cases: fuzz.map_or(cases, |factor| cases * factor),
        rng_seed: fuzz.map_or(RngSeed::Fixed(1), |_| RngSeed::Random),
        failure_persistence: None,
        ..Config::default()
    }
}
