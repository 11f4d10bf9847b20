//! A JSON value in which no key of an object may stand twice; serde_json's own keeps the last one and says nothing.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::wire::order::{Problem, problem};

/// Reads the value at this path; every repeat in it becomes a problem.
pub(super) struct Once<'a> {
    pub(super) path: String,
    pub(super) problems: &'a mut Vec<Problem>,
}

/// The path of a field, its name cut where it is long.
pub(super) fn below(parent: &str, key: &str) -> String {
    format!("{parent}.{}", key.chars().take(60).collect::<String>())
}

pub(super) fn repeated(path: &str) -> Problem {
    problem(path, "", "the field stands twice", "each field once")
}

impl<'de> DeserializeSeed<'de> for Once<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Once<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, is: bool) -> Result<Value, E> {
        Ok(is.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        let mut path = format!("{}[0]", self.path);
        while let Some(value) = list.next_element_seed(Once { path, problems: &mut *self.problems })? {
            values.push(value);
            path = format!("{}[{}]", self.path, values.len());
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = below(&self.path, &key);
            let value = map.next_value_seed(Once { path: path.clone(), problems: &mut *self.problems })?;
            if fields.insert(key, value).is_some() {
                self.problems.push(repeated(&path));
            }
        }
        Ok(Value::Object(fields))
    }
}
