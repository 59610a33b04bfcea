//! JSON of a run's files: numbers that are not finite are written as `null` and read back as NaN.
//!
//! JSON has no NaN, but a diverged run must still leave files that every program can read. `null`
//! is read as NaN only where a float is required; an absent value (`None`) stays absent.

use std::num::NonZeroUsize;

use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, forward_to_deserialize_any};
use serde_json::{Error, Map, Value};

/// Serializes `value` on one line, without a line end.
pub fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("records have string keys and no failing serializer")
}

/// Serializes `value` as an indented document with a final line end.
pub fn document(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value)
        .expect("records have string keys and no failing serializer");
    text.push('\n');
    text
}

/// Parses `text`.
///
/// # Errors
/// Text that is not JSON, or does not describe a `T`.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    from_value(serde_json::from_str(text)?)
}

/// Converts `value` to a `T`.
///
/// # Errors
/// A value that does not describe a `T`.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Lenient(value))
}

/// Deserializes a number that cannot be 0.
///
/// # Errors
/// Another value.
pub fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    NonZeroUsize::deserialize(deserializer).map(NonZeroUsize::get)
}

/// Deserializes the sizes of a network's layers, of which there are at least two.
///
/// # Errors
/// Another value.
pub fn layer_sizes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<usize>, D::Error> {
    let sizes: Vec<usize> = Vec::deserialize(deserializer)?;
    if sizes.len() < 2 {
        return Err(D::Error::invalid_length(sizes.len(), &"two layers or more"));
    }
    Ok(sizes)
}

/// A deserializer in which `null` becomes NaN where a float is required.
struct Lenient(Value);

impl<'de> Deserializer<'de> for Lenient {
    type Error = Error;

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_f64(f64::NAN),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            value => visitor.visit_some(Self(value)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => number.deserialize_any(visitor),
            Value::String(text) => visitor.visit_string(text),
            Value::Array(values) => visitor.visit_seq(Elements(values.into_iter())),
            Value::Object(fields) => visitor.visit_map(Fields::new(fields)),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Elements(std::vec::IntoIter<Value>);

impl<'de> SeqAccess<'de> for Elements {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        let next = self.0.next();
        next.map(|value| seed.deserialize(Lenient(value)))
            .transpose()
    }
}

struct Fields {
    rest: serde_json::map::IntoIter,
    value: Value,
}

impl Fields {
    fn new(fields: Map<String, Value>) -> Self {
        Self {
            rest: fields.into_iter(),
            value: Value::Null,
        }
    }
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        let Some((key, value)) = self.rest.next() else {
            return Ok(None);
        };
        self.value = value;
        seed.deserialize(Lenient(Value::String(key))).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(Lenient(self.value.take()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize, Debug)]
    struct JsonRecord {
        loss: f64,
        accuracy: Option<f64>,
        nested: Vec<(u64, f32)>,
    }

    #[test]
    fn a_number_that_is_not_finite_comes_back_as_nan_and_an_absent_one_as_absent() {
        let record = JsonRecord {
            loss: f64::INFINITY,
            accuracy: None,
            nested: vec![(u64::MAX, f32::NAN), (1, 0.1)],
        };
        let text = line(&record);
        assert_eq!(
            text,
            r#"{"loss":null,"accuracy":null,"nested":[[18446744073709551615,null],[1,0.1]]}"#
        );
        let back: JsonRecord = parse(&text).unwrap();
        assert!(back.loss.is_nan() && back.nested[0].1.is_nan());
        assert_eq!(back.accuracy, None);
        assert_eq!(back.nested[0].0, u64::MAX);
        assert_eq!(back.nested[1], (1, 0.1));
    }

    #[test]
    fn every_bit_of_a_number_survives() {
        for bits in [
            1,
            0x3fb9_9999_9999_999a,
            0x7fef_ffff_ffff_ffff,
            0x3cb0_0000_0000_0001_u64,
        ] {
            let number = f64::from_bits(bits);
            assert_eq!(parse::<f64>(&line(&number)).unwrap().to_bits(), bits);
        }
    }

    #[test]
    fn numbers_that_nothing_can_have_are_refused() {
        #[derive(serde::Deserialize, Debug)]
        struct Sizes {
            #[serde(deserialize_with = "positive")]
            threads: usize,
            #[serde(deserialize_with = "layer_sizes")]
            layers: Vec<usize>,
        }
        let sizes: Sizes = parse(r#"{"threads":2,"layers":[3,1]}"#).unwrap();
        assert_eq!((sizes.threads, &sizes.layers[..]), (2, &[3, 1][..]));
        for text in [
            r#"{"threads":0,"layers":[3,1]}"#,
            r#"{"threads":2,"layers":[3]}"#,
            r#"{"threads":2,"layers":[]}"#,
        ] {
            assert!(parse::<Sizes>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn text_of_another_shape_is_refused() {
        for text in ["", "{", "{}", r#"{"loss":"x","accuracy":1,"nested":[]}"#] {
            assert!(parse::<JsonRecord>(text).is_err(), "{text}");
        }
    }
}
