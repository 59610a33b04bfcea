//! The number and the seed of the random cases of property tests.
//!
//! The seed is fixed, so that only a change of the code can turn a test red. `just fuzz` tries
//! other and more cases: with `NPLUS1_FUZZ=20` it draws twenty times as many from a random seed.

use proptest::test_runner::{Config, RngSeed};

/// Returns a configuration of `cases` cases from a fixed seed; where `NPLUS1_FUZZ` is set, of that
/// many times `cases`, from a random seed.
pub fn property_cases(cases: u32) -> Config {
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
