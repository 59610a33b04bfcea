//! Parsers and types of single arguments.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};

/// A method's learning rate, `NAME=RATE`.
#[derive(Clone, Debug, PartialEq)]
pub struct MethodRate {
    /// Name of the method.
    pub method: String,
    /// The learning rate, above 0.
    pub rate: f64,
}

impl std::str::FromStr for MethodRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = "allowed: NAME=RATE, with a rate above 0, such as spsa=1e-4";
        let (method, rate) = text.split_once('=').ok_or(allowed)?;
        match rate.parse::<f64>() {
            Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(Self {
                method: method.to_owned(),
                rate,
            }),
            _ => Err(allowed.to_owned()),
        }
    }
}

/// Parses the path of a file or folder to write.
pub fn output() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(no_option)
}

/// Parses the path of a file to write, or `-` for standard output.
pub fn output_or_stdout() -> impl TypedValueParser<Value = PathBuf> {
    let stdout = |path: &PathBuf| path.as_os_str() == "-";
    PathBufValueParser::new().try_map(move |path| {
        if stdout(&path) {
            Ok(path)
        } else {
            no_option(path)
        }
    })
}

/// Refuses a path that other programs would read as an option.
fn no_option(path: PathBuf) -> Result<PathBuf, &'static str> {
    let dash = |name: &OsStr| name.as_encoded_bytes().starts_with(b"-");
    if dash(path.as_os_str()) || path.file_name().is_some_and(dash) {
        return Err(
            "other programs would take a name that begins with `-` for an option; allowed: any other first letter",
        );
    }
    Ok(path)
}

/// Parses a time limit in seconds: above 0, at most about a year.
pub fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3.2e7 => Ok(seconds),
        _ => Err("allowed: seconds above 0, at most 3.2e7 (a year)".to_owned()),
    }
}

/// Parses the factor of a network's layers.
pub fn scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor > 0.0 && factor <= 1024.0 => Ok(factor),
        _ => Err("allowed: factors above 0, at most 1024".to_owned()),
    }
}

/// A range of seeds, `A..B`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    /// The first seed.
    pub first: u64,
    /// The last seed, not below the first.
    pub last: u64,
}

impl Seeds {
    /// The largest seed that a config can have.
    const LARGEST: u64 = i64::MAX.unsigned_abs();

    /// Returns a range of one seed.
    pub fn only(seed: u64) -> Self {
        Self {
            first: seed,
            last: seed,
        }
    }

    /// Returns all seeds in order.
    pub fn iter(self) -> impl Iterator<Item = u64> {
        self.first..=self.last
    }
}

impl std::str::FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let largest = Self::LARGEST;
        let allowed = format!(
            "allowed: A..B, both included, with A not above B and B at most {largest}, such as 1..5"
        );
        let number = |text: &str| {
            let seed = text.parse().ok().filter(|&seed: &u64| seed <= largest);
            seed.ok_or_else(|| format!("`{text}` is not a seed; {allowed}"))
        };
        let (first, last) = text.split_once("..").ok_or_else(|| allowed.clone())?;
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("{first} is above {last}; {allowed}"));
        }
        Ok(Self { first, last })
    }
}

/// Parses an increment: a normal number above 0.
pub fn increment(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_normal() && number > 0.0 => Ok(number),
        _ => Err("allowed: numbers above 0, such as 1e-6".to_owned()),
    }
}

/// Parses a finite number above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("allowed: numbers above 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_include_both_ends() {
        let seeds: Seeds = "1..5".parse().unwrap();
        assert_eq!(seeds.iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        let last: Seeds = format!("{0}..{0}", i64::MAX).parse().unwrap();
        assert_eq!(last.iter().count(), 1);
    }
}
