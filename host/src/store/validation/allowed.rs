//! The values that a validation allows, as values of the feature's type.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, GenericByteArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{
    ByteArrayType, DataType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};

use super::{Literal, Rule, SenselessRule, bounds};
use crate::config::types;

/// The only values there may be.
#[derive(Debug, Clone)]
pub(super) enum Allowed {
    Booleans {
        yes: bool,
        no: bool,
    },
    /// Sorted.
    Integers(Vec<i64>),
    /// Sorted.
    Texts(Vec<String>),
}

impl Allowed {
    /// Reads the values as values of `data_type`.
    pub(super) fn new(
        allowed: &[Literal],
        data_type: &DataType,
    ) -> Result<Self, Vec<SenselessRule>> {
        use DataType::*;
        let name = types::type_name(data_type);
        let refuse = |message: &str, hint: &str| {
            let (message, hint) = (message.to_owned(), hint.to_owned());
            Err(vec![SenselessRule {
                rule: Rule::Allowed,
                item: None,
                message,
                hint,
            }])
        };
        if allowed.is_empty() {
            return refuse(
                "no value at all is allowed",
                "list the allowed values, or leave `allowed` out",
            );
        }
        match data_type {
            Boolean => {
                let read = |literal: &Literal| match literal {
                    Literal::Boolean(value) => Ok(*value),
                    _ => Err("write `true` or `false`".to_owned()),
                };
                let values = read_all(allowed, &name, read)?;
                Ok(Allowed::Booleans {
                    yes: values.contains(&true),
                    no: values.contains(&false),
                })
            }
            Utf8 | LargeUtf8 => {
                let read = |literal: &Literal| match literal {
                    Literal::Text(text) => Ok(text.clone()),
                    _ => Err("write it in quotes".to_owned()),
                };
                read_all(allowed, &name, read).map(Allowed::Texts)
            }
            integer if integer.is_integer() => {
                let (least, greatest) = bounds::limits(integer);
                let read = |literal: &Literal| match literal {
                    Literal::Integer(value) if (least..=greatest).contains(&i128::from(*value)) => {
                        Ok(*value)
                    }
                    Literal::Integer(_) => Err(format!("{name} goes from {least} to {greatest}")),
                    _ => Err("write a whole number".to_owned()),
                };
                read_all(allowed, &name, read).map(Allowed::Integers)
            }
            _ => refuse(
                &format!("type {name} cannot be limited to a list of values"),
                "`allowed` is for strings, integers and booleans; for other numbers and times give `min` and `max`",
            ),
        }
    }

    /// Rows with another value, also where the row is null.
    pub(super) fn others(&self, column: &ArrayRef) -> BooleanBuffer {
        match (self, column.data_type()) {
            (Allowed::Booleans { yes, no }, _) => {
                let values = column.as_boolean();
                BooleanBuffer::collect_bool(values.len(), |row| {
                    if values.value(row) { !yes } else { !no }
                })
            }
            (Allowed::Texts(texts), DataType::Utf8) => {
                other_texts(column.as_string::<i32>(), texts)
            }
            (Allowed::Texts(texts), _) => other_texts(column.as_string::<i64>(), texts),
            (Allowed::Integers(integers), data_type) => match data_type {
                DataType::Int8 => other_integers::<Int8Type>(column, integers),
                DataType::Int16 => other_integers::<Int16Type>(column, integers),
                DataType::Int32 => other_integers::<Int32Type>(column, integers),
                DataType::Int64 => other_integers::<Int64Type>(column, integers),
                DataType::UInt8 => other_integers::<UInt8Type>(column, integers),
                DataType::UInt16 => other_integers::<UInt16Type>(column, integers),
                DataType::UInt32 => other_integers::<UInt32Type>(column, integers),
                _ => other_integers::<UInt64Type>(column, integers),
            },
        }
    }
}

fn other_texts<T: ByteArrayType<Native = str>>(
    texts: &GenericByteArray<T>,
    allowed: &[String],
) -> BooleanBuffer {
    // In a short list, most values differ in length already, which a search by order cannot use.
    const SHORT: usize = 8;
    let is_allowed = |text: &str| match allowed.len() {
        0..=SHORT => allowed.iter().any(|allowed| allowed == text),
        _ => allowed
            .binary_search_by(|allowed| allowed.as_str().cmp(text))
            .is_ok(),
    };
    BooleanBuffer::collect_bool(texts.len(), |row| !is_allowed(texts.value(row)))
}

fn other_integers<T: ArrowPrimitiveType>(column: &ArrayRef, allowed: &[i64]) -> BooleanBuffer
where
    T::Native: TryInto<i64>,
{
    let values = column.as_primitive::<T>().values();
    // A value past the greatest i64 cannot have been written down, and is not in the list.
    BooleanBuffer::collect_bool(values.len(), |row| {
        values[row]
            .try_into()
            .map_or(true, |value: i64| allowed.binary_search(&value).is_err())
    })
}

/// The values, sorted, or every one that is not of the type; `read` gives the hint for those.
fn read_all<T: Ord>(
    allowed: &[Literal],
    type_name: &str,
    read: impl Fn(&Literal) -> Result<T, String>,
) -> Result<Vec<T>, Vec<SenselessRule>> {
    let mut values = Vec::with_capacity(allowed.len());
    let mut senseless = Vec::new();
    for (item, literal) in allowed.iter().enumerate() {
        match read(literal) {
            Ok(value) => values.push(value),
            Err(hint) => senseless.push(SenselessRule {
                rule: Rule::Allowed,
                item: Some(item),
                message: format!("{literal} is not a value of type {type_name}"),
                hint,
            }),
        }
    }
    values.sort_unstable();
    if senseless.is_empty() {
        Ok(values)
    } else {
        Err(senseless)
    }
}
