//! Converts values to JSON. The conversion either keeps a value exactly or fails.

use serde::{
    Serialize, Serializer,
    ser::{
        Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant,
    },
};
use serde_json::{Error, Value};

/// Converts a value to JSON.
///
/// # Errors
/// JSON cannot represent the value. Examples are NaN and the infinities. `serde_json` would write them as
/// `null`. To read this `null` back would fail, or would give another value.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, Error> {
    value.serialize(Finite)?;
    serde_json::to_value(value)
}

/// A serializer that writes nothing. It fails if the value contains a number that is not finite.
struct Finite;

impl Finite {
    fn check(is_finite: bool) -> Result<(), Error> {
        if is_finite {
            Ok(())
        } else {
            Err(Error::custom("a number is NaN or infinite, which JSON cannot hold"))
        }
    }
}

macro_rules! passes {
    ($($name:ident: $type:ty),* $(,)?) => {
        $(fn $name(self, _: $type) -> Result<(), Error> { Ok(()) })*
    };
}

impl Serializer for Finite {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    passes! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_u128: u128, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_unit_struct: &'static str,
    }

    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        Self::check(value.is_finite())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        Self::check(value.is_finite())
    }

    fn serialize_none(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Error> {
        Ok(self)
    }
}

macro_rules! elements {
    ($($trait:ident::$name:ident),* $(,)?) => {
        $(impl $trait for Finite {
            type Ok = ();
            type Error = Error;
            fn $name<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                value.serialize(Finite)
            }
            fn end(self) -> Result<(), Error> {
                Ok(())
            }
        })*
    };
}

elements! {
    SerializeSeq::serialize_element, SerializeTuple::serialize_element, SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

macro_rules! fields {
    ($($trait:ident),* $(,)?) => {
        $(impl $trait for Finite {
            type Ok = ();
            type Error = Error;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<(), Error> {
                value.serialize(Finite)
            }
            fn end(self) -> Result<(), Error> {
                Ok(())
            }
        })*
    };
}

fields!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for Finite {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        key.serialize(Self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(Self)
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[derive(Serialize)]
    struct Deep {
        list: Vec<Option<f64>>,
        map: BTreeMap<String, (u8, Shape)>,
    }

    #[derive(Serialize)]
    enum Shape {
        Unit,
        New(f32),
        Struct { side: f64 },
    }

    fn deep(list: f64, new: f32, side: f64) -> Deep {
        let shapes = [("unit", Shape::Unit), ("new", Shape::New(new)), ("struct", Shape::Struct { side })];
        let map = shapes.into_iter().map(|(name, shape)| (name.to_owned(), (1, shape))).collect();
        Deep { list: vec![None, Some(list)], map }
    }

    #[test]
    fn finite_numbers_are_written_as_ever() {
        let value = to_value(&deep(f64::MAX, 0.5, 5e-324)).unwrap();
        let expected = json!({
            "list": [null, f64::MAX],
            "map": { "unit": [1, "Unit"], "new": [1, {"New": 0.5}], "struct": [1, {"Struct": {"side": 5e-324}}] },
        });
        assert_eq!(value, expected);
        assert_eq!(to_value(&(Some(()), "x", 'c', u64::MAX)).unwrap(), json!([null, "x", "c", u64::MAX]));
    }

    #[test]
    fn a_number_that_is_not_finite_is_refused_however_deep() {
        assert!(to_value(&f64::NAN).is_err());
        assert!(to_value(&deep(f64::NAN, 0.0, 0.0)).is_err());
        assert!(to_value(&deep(0.0, f32::INFINITY, 0.0)).is_err());
        assert!(to_value(&deep(0.0, 0.0, f64::NEG_INFINITY)).is_err());
    }
}
