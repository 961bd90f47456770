//! JSON that keeps NaN and infinities.
//!
//! JSON has no such numbers, and `serde_json` writes them as `null`, which no longer reads as a
//! number. [`to_value`] writes them as the strings `"NaN"`, `"inf"` and `"-inf"`, and
//! [`from_value`] reads these strings wherever a floating-point number is expected. Everything else
//! is as in `serde_json`, so each side reads what the other wrote.
//!
//! ```
//! use rekindle_env::json;
//!
//! let best = f64::NEG_INFINITY;
//! let saved = json::to_value(&(7_u32, best)).map_err(rekindle_env::EnvError::custom)?;
//! assert_eq!(saved.to_string(), r#"[7,"-inf"]"#);
//! assert_eq!(json::from_value::<(u32, f64)>(&saved).ok(), Some((7, best)));
//! # Ok::<(), rekindle_env::EnvError>(())
//! ```
//!
//! Serde reads `#[serde(flatten)]` and untagged enums without knowing the types of their fields, so
//! a number that is not finite fails to load there, with an error that names the string.

mod reader;
mod writer;

use serde::{Deserialize, Serialize};
use serde_json::{Error, Value as Json};

use reader::Reader;
use writer::Writer;

/// Converts data to JSON.
///
/// # Errors
///
/// The error of `serde_json`, for example for a map whose keys are not strings or numbers.
pub fn to_value<T: Serialize + ?Sized>(data: &T) -> Result<Json, Error> {
    data.serialize(Writer(serde_json::value::Serializer))
}

/// Reads data that [`to_value`] or `serde_json` wrote.
///
/// # Errors
///
/// The error of `serde_json` if the JSON does not have the form of a `T`.
pub fn from_value<'de, T: Deserialize<'de>>(json: &'de Json) -> Result<T, Error> {
    T::deserialize(Reader(json))
}

/// The text of a number that JSON does not have.
const NOT_FINITE: [&str; 3] = ["NaN", "inf", "-inf"];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Phase {
        New,
        Warm(f64),
        Pair(f64, f32),
        Timed { since: f64 },
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct State {
        best: f64,
        last: Option<f32>,
        none: Option<f64>,
        by_number: BTreeMap<u32, f64>,
        by_name: BTreeMap<String, Vec<f32>>,
        phases: Vec<Phase>,
        unit: (),
        bytes: Vec<u8>,
        letter: char,
        flag: bool,
        wide: i64,
    }

    fn state(number: f64) -> State {
        State {
            best: number,
            last: Some(number as f32),
            none: None,
            by_number: BTreeMap::from([(3, number), (10, 0.1)]),
            by_name: BTreeMap::from([("a".to_owned(), vec![number as f32, 0.1, 1e-30])]),
            phases: vec![
                Phase::New,
                Phase::Warm(number),
                Phase::Pair(number, number as f32),
                Phase::Timed { since: number },
            ],
            unit: (),
            bytes: vec![0, 255],
            letter: 'ß',
            flag: true,
            wide: i64::MIN,
        }
    }

    #[test]
    fn infinities_survive_in_every_place_of_a_type() {
        for number in [f64::INFINITY, f64::NEG_INFINITY] {
            let saved = to_value(&state(number)).unwrap();
            let text = saved.to_string();
            let read: State = from_value(&serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(read, state(number));
        }
        assert!(from_value::<f64>(&to_value(&f64::NAN).unwrap()).unwrap().is_nan());
        assert!(from_value::<f32>(&to_value(&f32::NAN).unwrap()).unwrap().is_nan());
    }

    #[test]
    fn finite_data_is_written_and_read_as_serde_json_does() {
        let state = state(0.1);
        let saved = to_value(&state).unwrap();
        assert_eq!(saved, serde_json::to_value(&state).unwrap());
        assert_eq!(from_value::<State>(&saved).unwrap(), state);
        assert_eq!(serde_json::from_value::<State>(saved).unwrap(), state);
    }

    #[test]
    fn json_inside_a_type_keeps_what_it_says() {
        let inner = to_value(&f64::INFINITY).unwrap();
        let outer = to_value(&(1, &inner)).unwrap();
        let (_, read): (u32, Json) = from_value(&outer).unwrap();
        assert_eq!(read, inner);
        assert_eq!(from_value::<f64>(&read).unwrap(), f64::INFINITY);
    }

    #[test]
    fn only_the_three_words_are_numbers() {
        for word in ["infinity", "nan", "+inf", "1.0", ""] {
            assert!(from_value::<f64>(&json!(word)).is_err(), "{word}");
        }
        assert_eq!(from_value::<String>(&json!("inf")).unwrap(), "inf");
        assert!(from_value::<f64>(&Json::Null).is_err());
        assert!(from_value::<i64>(&json!("inf")).is_err());
    }

    #[test]
    fn malformed_data_is_an_error() {
        for json in [json!({}), json!({ "Warm": 1.0, "New": null }), json!("Warm"), json!(3)] {
            assert!(from_value::<Phase>(&json).is_err(), "{json}");
        }
        assert!(from_value::<(f64, f64)>(&json!([1.0])).is_err());
        assert!(from_value::<(f64, f64)>(&json!([1.0, 2.0, 3.0])).is_err());
        assert!(from_value::<BTreeMap<u32, f64>>(&json!({ "x": 1.0 })).is_err());
    }
}
