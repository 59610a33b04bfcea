//! The protocol: requests as lines of JSON, and the answers, version 1.

use std::fmt::Write as _;

use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// The version of the protocol.
pub const VERSION: u64 = 1;

/// A point at which a program is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point<'a> {
    /// All of θ; `None` for the θ that this copy of the program was sent last.
    pub theta: Option<&'a [f64]>,
    /// One parameter of θ that has another value, for this evaluation only.
    pub change: Option<(usize, f64)>,
}

/// Appends a request to `text`, with its line end.
pub fn request(text: &mut String, id: u64, with_gradient: bool, point: Point<'_>) {
    let want = if with_gradient {
        r#"["loss","gradient"]"#
    } else {
        r#"["loss"]"#
    };
    let written = (|| {
        write!(text, r#"{{"id":{id},"want":{want}"#)?;
        if let Some(theta) = point.theta {
            text.push_str(r#","theta":["#);
            for (index, value) in theta.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                write!(text, "{comma}{value:?}")?;
            }
            text.push(']');
        }
        if let Some((index, value)) = point.change {
            write!(text, r#","index":{index},"value":{value:?}"#)?;
        }
        text.write_str("}\n")
    })();
    written.expect("a string takes all that is written");
}

/// A line that a program writes.
#[derive(Clone, Debug, PartialEq)]
pub enum WrittenLine {
    /// What a program may say of itself before its first answer.
    Greeting(Greeting),
    /// An answer.
    Answer {
        /// The request's number.
        id: u64,
        /// The value, or the program's message that there is none.
        outcome: Result<Answered, String>,
    },
}

/// What a program says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Greeting {
    /// Whether it takes changes of single parameters.
    pub single_changes: bool,
    /// A θ to begin at.
    pub theta: Option<Vec<f64>>,
    /// The names of the parameters.
    pub names: Option<Vec<String>>,
}

/// A value and, if it was asked for, the program's own gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The function's value.
    pub loss: f64,
    /// Its gradient.
    pub gradient: Option<Vec<f64>>,
}

/// The members that a line may have.
#[derive(Deserialize)]
struct Members {
    nplus1: Option<u64>,
    #[serde(default)]
    single_changes: bool,
    theta: Option<Vec<AnyNumber>>,
    names: Option<Vec<String>>,
    id: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    loss: Option<AnyNumber>,
    gradient: Option<Vec<AnyNumber>>,
    error: Option<serde_json::Value>,
}

/// Parses a line that a program wrote.
///
/// # Errors
/// What is wrong with it.
pub fn parse(line: &str) -> Result<WrittenLine, String> {
    let members: Members = match serde_json::from_str(line) {
        Ok(members) => members,
        Err(error) => match quoted(line).map(|quoted| serde_json::from_str(&quoted)) {
            Some(Ok(members)) => members,
            Some(Err(error)) => return Err(problem(line, &error)),
            None => return Err(problem(line, &error)),
        },
    };
    if let Some(version) = members.nplus1 {
        if version != VERSION {
            return Err(format!(
                "it speaks version {version} of the protocol, this nplus1 version {VERSION}"
            ));
        }
        return Ok(WrittenLine::Greeting(Greeting {
            single_changes: members.single_changes,
            theta: members.theta.map(numbers),
            names: members.names,
        }));
    }
    let id = members
        .id
        .ok_or("its answer has no `id`, which must be the request's")?;
    let outcome = match (members.error, members.loss) {
        (Some(serde_json::Value::String(message)), _) => Err(message),
        (Some(other), _) if !other.is_null() => Err(other.to_string()),
        (_, Some(loss)) => Ok(Answered {
            loss: loss.0,
            gradient: members.gradient.map(numbers),
        }),
        (_, None) => return Err("its answer has neither `loss` nor `error`".to_owned()),
    };
    Ok(WrittenLine::Answer { id, outcome })
}

fn numbers(numbers: Vec<AnyNumber>) -> Vec<f64> {
    numbers.into_iter().map(|number| number.0).collect()
}

/// Says whether a line is no JSON at all, or not of the protocol.
fn problem(line: &str, error: &serde_json::Error) -> String {
    let shown: String = line.chars().take(120).collect();
    let dots = if shown.len() < line.len() { "…" } else { "" };
    if error.is_data() {
        format!("it wrote `{shown}{dots}`, which is no answer: {error}")
    } else {
        format!(
            "it wrote `{shown}{dots}` on standard output, which is not a line of JSON (all but answers belongs on standard error)"
        )
    }
}

/// A number as JSON has it, or NaN and the infinities as some languages print them; `null`, which
/// JavaScript prints for these, is NaN.
struct AnyNumber(f64);

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AnyNumber>, D::Error> {
    AnyNumber::deserialize(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for AnyNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl Visitor<'_> for Numbers {
            type Value = AnyNumber;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, NaN, Infinity or -Infinity")
            }
            fn visit_f64<E>(self, number: f64) -> Result<AnyNumber, E> {
                Ok(AnyNumber(number))
            }
            fn visit_u64<E>(self, number: u64) -> Result<AnyNumber, E> {
                Ok(AnyNumber(number as f64))
            }
            fn visit_i64<E>(self, number: i64) -> Result<AnyNumber, E> {
                Ok(AnyNumber(number as f64))
            }
            fn visit_unit<E>(self) -> Result<AnyNumber, E> {
                Ok(AnyNumber(f64::NAN))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<AnyNumber, E> {
                let number = special(text).ok_or_else(|| {
                    E::invalid_value(Unexpected::Str(text), &"a number, NaN or Infinity")
                })?;
                Ok(AnyNumber(number))
            }
        }
        deserializer.deserialize_any(Numbers)
    }
}

/// Returns the number that is not finite and that `word` means.
fn special(word: &str) -> Option<f64> {
    let (sign, word) = match word.strip_prefix('-') {
        Some(word) => (-1.0, word),
        None => (1.0, word.strip_prefix('+').unwrap_or(word)),
    };
    match word.to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "inf" | "infinity" => Some(sign * f64::INFINITY),
        _ => None,
    }
}

/// Puts the numbers that JSON does not have into quotes, outside of strings; `None` if there are
/// none.
fn quoted(line: &str) -> Option<String> {
    let mut text = String::with_capacity(line.len() + 16);
    let mut changed = false;
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            '+' | '-' | 'A'..='Z' | 'a'..='z' => {
                let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '.';
                let sign = usize::from(!first.is_ascii_alphabetic());
                let end = rest[sign..].find(|letter| !is_word(letter));
                end.map_or(rest.len(), |end| sign + end)
            }
            _ => first.len_utf8(),
        };
        let (part, after) = rest.split_at(length);
        if special(part).is_some() {
            changed = true;
            text.extend(["\"", part, "\""]);
        } else {
            text.push_str(part);
        }
        rest = after;
    }
    changed.then_some(text)
}

/// Returns the length of the JSON string that `text` begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Parses `text` as an array of numbers, NaN and infinities included.
///
/// # Errors
/// The message of the parser.
pub fn parse_numbers(text: &str) -> Result<Vec<f64>, serde_json::Error> {
    let found: Result<Vec<AnyNumber>, _> = serde_json::from_str(text);
    match (found, quoted(text)) {
        (Err(_), Some(quoted)) => serde_json::from_str(&quoted).map(numbers),
        (found, _) => found.map(numbers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_lines_of_json_that_keep_every_bit() {
        let theta = [0.1, -1e-300, 3.0, 1e22];
        let mut text = String::new();
        let point = Point {
            theta: Some(&theta),
            change: Some((2, f64::MIN_POSITIVE)),
        };
        request(&mut text, 7, true, point);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let back: Vec<f64> = serde_json::from_value(value["theta"].clone()).unwrap();
        assert_eq!(back, theta);
        assert_eq!(value["value"].as_f64(), Some(f64::MIN_POSITIVE));
        assert_eq!(value["want"], serde_json::json!(["loss", "gradient"]));
        let mut text = String::new();
        let point = Point {
            theta: None,
            change: Some((412, 0.31)),
        };
        request(&mut text, 8, false, point);
        assert_eq!(
            text,
            "{\"id\":8,\"want\":[\"loss\"],\"index\":412,\"value\":0.31}\n"
        );
    }

    #[test]
    fn numbers_that_json_lacks_are_read_in_every_spelling() {
        let loss = |line: &str| match parse(line) {
            Ok(WrittenLine::Answer {
                outcome: Ok(answered),
                ..
            }) => answered.loss,
            other => panic!("{line}: {other:?}"),
        };
        for word in ["NaN", "nan", "-nan", "null", "\"NaN\""] {
            assert!(
                loss(&format!("{{\"id\":1,\"loss\":{word}}}")).is_nan(),
                "{word}"
            );
        }
        for word in ["Infinity", "inf", "Inf", "+inf"] {
            assert_eq!(
                loss(&format!("{{\"id\":1,\"loss\": {word}}}")),
                f64::INFINITY
            );
        }
        assert_eq!(loss(r#"{"loss":-Infinity,"id":1}"#), f64::NEG_INFINITY);
        assert_eq!(
            loss(r#"{"loss":-3,"id":1,"comment":"a nan, \" inf"}"#),
            -3.0
        );
        let Ok(WrittenLine::Answer { id: 2, outcome }) =
            parse(r#"{"id":2,"loss":1.5,"gradient":[NaN,-Infinity,1e-3]}"#)
        else {
            panic!();
        };
        let gradient = outcome.unwrap().gradient.unwrap();
        assert!(gradient[0].is_nan() && gradient[1] == f64::NEG_INFINITY && gradient[2] == 1e-3);
    }

    #[test]
    fn greetings_errors_and_garbage_are_told_apart() {
        let greeting = parse(r#"{"nplus1":1,"single_changes":true,"theta":[1,2]}"#);
        assert!(
            matches!(greeting, Ok(WrittenLine::Greeting(Greeting { single_changes: true, theta: Some(theta), .. })) if theta == [1.0, 2.0])
        );
        assert!(parse(r#"{"nplus1":2}"#).unwrap_err().contains("version 2"));
        let failed = parse(r#"{"id":3,"error":"singular matrix"}"#);
        assert!(
            matches!(failed, Ok(WrittenLine::Answer { id: 3, outcome: Err(message) }) if message == "singular matrix")
        );
        for garbage in [
            "Welcome to the simulator",
            "",
            "{",
            "[1]",
            "17",
            r#"{"loss":1}"#,
        ] {
            assert!(parse(garbage).is_err(), "{garbage}");
        }
        assert!(parse(r#"{"id":1}"#).unwrap_err().contains("`loss`"));
        assert!(parse("Banner v1").unwrap_err().contains("Banner v1"));
    }
}
