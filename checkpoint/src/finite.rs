//! A check for numbers that JSON does not have.
//!
//! `serde_json` turns NaN and infinities into `null` without a word, and the loss would only show
//! when the checkpoint is restored. The serialiser here writes nothing and fails on the first.

use std::fmt::{self, Display};

use serde::ser::{self, Serialize, Serializer};

/// Fails if a value holds a NaN or an infinity, with a message that says where.
pub(super) fn check_finite<T: Serialize + ?Sized>(value: &T) -> Result<(), NotFinite> {
    value.serialize(Finite)
}

/// The reason why a value was refused.
#[derive(Debug)]
pub(super) struct NotFinite(String);

impl Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotFinite {}

impl ser::Error for NotFinite {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl NotFinite {
    fn within(self, place: impl Display) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

type Done = Result<(), NotFinite>;

fn check(value: f64) -> Done {
    if value.is_finite() {
        Ok(())
    } else {
        Err(NotFinite(format!("{value} is not a JSON number, keep it in a tensor")))
    }
}

struct Finite;

macro_rules! nothing_to_check {
    ($($method:ident($($argument:ty),*);)*) => {
        $(fn $method(self, $(_: $argument),*) -> Done {
            Ok(())
        })*
    };
}

impl Serializer for Finite {
    type Ok = ();
    type Error = NotFinite;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    nothing_to_check! {
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
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_f32(self, value: f32) -> Done {
        check(value.into())
    }

    fn serialize_f64(self, value: f64) -> Done {
        check(value)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Done {
        value.serialize(self).map_err(|e| e.within(variant))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, NotFinite> {
        Ok(self)
    }
}

macro_rules! check_elements {
    ($($trait:ident::$method:ident;)*) => {
        $(impl ser::$trait for Finite {
            type Ok = ();
            type Error = NotFinite;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
                check_finite(value)
            }

            fn end(self) -> Done {
                Ok(())
            }
        })*
    };
}

check_elements! {
    SerializeSeq::serialize_element;
    SerializeTuple::serialize_element;
    SerializeTupleStruct::serialize_field;
    SerializeTupleVariant::serialize_field;
}

macro_rules! check_fields {
    ($($trait:ident;)*) => {
        $(impl ser::$trait for Finite {
            type Ok = ();
            type Error = NotFinite;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Done {
                check_finite(value).map_err(|e| e.within(key))
            }

            fn end(self) -> Done {
                Ok(())
            }
        })*
    };
}

check_fields! {
    SerializeStruct;
    SerializeStructVariant;
}

impl ser::SerializeMap for Finite {
    type Ok = ();
    type Error = NotFinite;

    /// Keys become text, or are refused later.
    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Done {
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        check_finite(value)
    }

    fn end(self) -> Done {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;

    use super::*;

    #[derive(Serialize)]
    enum Shape {
        Unit,
        New(f32),
        Tuple(u8, f64),
        Struct { x: Option<f64> },
    }

    #[derive(Serialize)]
    struct Config {
        shapes: Vec<Shape>,
        map: BTreeMap<String, (char, f64)>,
    }

    fn refusal(shape: Shape, x: f64) -> Option<String> {
        let shapes = vec![Shape::Unit, shape];
        let map = BTreeMap::from([("key".to_owned(), ('c', x))]);
        check_finite(&Config { shapes, map }).err().map(|e| e.to_string())
    }

    #[test]
    fn finite_numbers_pass() {
        for shape in [Shape::New(1.0), Shape::Tuple(1, -0.0), Shape::Struct { x: None }] {
            assert_eq!(refusal(shape, f64::MAX), None);
        }
    }

    #[test]
    fn other_numbers_are_found_anywhere() {
        let message = refusal(Shape::Struct { x: Some(f64::NAN) }, 0.0).unwrap();
        assert_eq!(message, "shapes: x: NaN is not a JSON number, keep it in a tensor");
        let message = refusal(Shape::New(f32::INFINITY), 0.0).unwrap();
        assert_eq!(message, "shapes: New: inf is not a JSON number, keep it in a tensor");
        assert!(refusal(Shape::Tuple(0, f64::NEG_INFINITY), 0.0).is_some());
        assert!(refusal(Shape::Unit, f64::NAN).is_some());
    }
}
