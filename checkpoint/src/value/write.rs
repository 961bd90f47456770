//! From values to JSON values.

use std::fmt::Display;

use serde::ser::{self, Error as _, Serialize, Serializer};
use serde_json::{Error, Map, Value};

use super::{FLOAT, float};

type Result<T> = serde_json::Result<T>;

/// A serializer whose output is a JSON value.
pub(super) struct ToValue;

/// Names the field or key inside which an error occurred.
fn within(error: Error, place: impl Display) -> Error {
    Error::custom(format_args!("{place}: {error}"))
}

fn entry(name: &'static str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}

macro_rules! as_serde_json_does {
    ($($method:ident($type:ty);)*) => {
        $(fn $method(self, value: $type) -> Result<Value> {
            serde_json::to_value(value)
        })*
    };
}

impl Serializer for ToValue {
    type Ok = Value;
    type Error = Error;
    type SerializeSeq = Elements;
    type SerializeTuple = Elements;
    type SerializeTupleStruct = Elements;
    type SerializeTupleVariant = Elements;
    type SerializeMap = Entries;
    type SerializeStruct = Entries;
    type SerializeStructVariant = Entries;

    as_serde_json_does! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_char(char);
        serialize_str(&str);
    }

    fn serialize_f32(self, value: f32) -> Result<Value> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<Value> {
        Ok(match value.is_finite() {
            true => Value::from(value),
            false => entry(FLOAT, Value::String(value.to_string())),
        })
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value> {
        Ok(Value::Array(bytes.iter().map(|byte| Value::from(*byte)).collect()))
    }

    fn serialize_none(self) -> Result<Value> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value> {
        Ok(Value::String(variant.to_owned()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Value> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value> {
        let value = value.serialize(self).map_err(|error| within(error, variant))?;
        Ok(entry(variant, value))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Elements> {
        Ok(Elements { variant: None, values: Vec::new() })
    }

    fn serialize_tuple(self, _: usize) -> Result<Elements> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Elements> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Elements> {
        Ok(Elements { variant: Some(variant), values: Vec::new() })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries> {
        Ok(Entries { variant: None, key: None, values: Map::new() })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Entries> {
        self.serialize_map(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Entries> {
        Ok(Entries { variant: Some(variant), key: None, values: Map::new() })
    }
}

/// An array that is being filled, inside a variant if it has a name.
pub(super) struct Elements {
    variant: Option<&'static str>,
    values: Vec<Value>,
}

impl Elements {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let value = value.serialize(ToValue).map_err(|error| within(error, self.values.len()))?;
        self.values.push(value);
        Ok(())
    }

    fn finish(self) -> Value {
        let array = Value::Array(self.values);
        match self.variant {
            Some(variant) => entry(variant, array),
            None => array,
        }
    }
}

macro_rules! push_elements {
    ($($trait:ident::$method:ident;)*) => {
        $(impl ser::$trait for Elements {
            type Ok = Value;
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
                self.push(value)
            }

            fn end(self) -> Result<Value> {
                Ok(self.finish())
            }
        })*
    };
}

push_elements! {
    SerializeSeq::serialize_element;
    SerializeTuple::serialize_element;
    SerializeTupleStruct::serialize_field;
    SerializeTupleVariant::serialize_field;
}

/// An object that is being filled, inside a variant if it has a name.
pub(super) struct Entries {
    variant: Option<&'static str>,
    key: Option<String>,
    values: Map<String, Value>,
}

impl Entries {
    fn insert<T: Serialize + ?Sized>(&mut self, key: String, value: &T) -> Result<()> {
        let value = value.serialize(ToValue).map_err(|error| within(error, &key))?;
        self.values.insert(key, value);
        Ok(())
    }

    fn finish(self) -> Result<Value> {
        // A JSON value that was converted before may hold floats already.
        if self.values.contains_key(FLOAT) && float(&self.values).is_none() {
            return Err(Error::custom(format_args!("the key `{FLOAT}` is reserved for floats")));
        }
        let object = Value::Object(self.values);
        Ok(match self.variant {
            Some(variant) => entry(variant, object),
            None => object,
        })
    }
}

impl ser::SerializeMap for Entries {
    type Ok = Value;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.key = Some(match serde_json::to_value(key)? {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            other => return Err(Error::custom(format_args!("a key must be text, not {other}"))),
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let key = self.key.take().ok_or_else(|| Error::custom("a value without a key"))?;
        self.insert(key, value)
    }

    fn end(self) -> Result<Value> {
        self.finish()
    }
}

macro_rules! insert_fields {
    ($($trait:ident;)*) => {
        $(impl ser::$trait for Entries {
            type Ok = Value;
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<()> {
                self.insert(key.to_owned(), value)
            }

            fn end(self) -> Result<Value> {
                self.finish()
            }
        })*
    };
}

insert_fields! {
    SerializeStruct;
    SerializeStructVariant;
}
