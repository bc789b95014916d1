//! Whether two cells of a table are the same, within a tolerance.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, DynComparator, make_comparator};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Float64Type};
use arrow::error::ArrowError;

use super::tolerance::within;

/// What a format of files cannot tell apart, and a comparison with one must not either.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Leniency {
    /// JSON has neither NaN nor infinities: they are written as null.
    pub(super) not_finite_is_null: bool,
    /// The same within lists and structs.
    pub(super) not_finite_inside_is_null: bool,
    /// CSV writes an empty text and a null alike: as nothing.
    pub(super) empty_is_null: bool,
}

impl Leniency {
    /// What holds within lists and structs, which are JSON in texts of either format.
    fn inside(self) -> Self {
        Self {
            not_finite_is_null: self.not_finite_inside_is_null,
            empty_is_null: false,
            ..self
        }
    }

    fn is_null(&self, (column, row): (&dyn Array, usize)) -> bool {
        if column.is_null(row) {
            return true;
        }
        match column.data_type() {
            kind if kind.is_floating() && self.not_finite_is_null => {
                !number((column, row)).is_finite()
            }
            DataType::Utf8 if self.empty_is_null => column.as_string::<i32>().value(row).is_empty(),
            DataType::LargeUtf8 if self.empty_is_null => {
                column.as_string::<i64>().value(row).is_empty()
            }
            DataType::Binary if self.empty_is_null => {
                column.as_binary::<i32>().value(row).is_empty()
            }
            DataType::LargeBinary if self.empty_is_null => {
                column.as_binary::<i64>().value(row).is_empty()
            }
            _ => false,
        }
    }
}

/// A column of what was expected beside the same column of what came.
pub(super) struct Cells {
    expected: ArrayRef,
    got: ArrayRef,
    exactly: DynComparator,
    tolerance: f64,
    leniency: Leniency,
}

impl Cells {
    /// Two columns of one type.
    ///
    /// # Errors
    ///
    /// The types differ, or Arrow cannot compare values of this type.
    pub(super) fn new(
        expected: &ArrayRef,
        got: &ArrayRef,
        tolerance: f64,
        leniency: Leniency,
    ) -> Result<Self, ArrowError> {
        Ok(Self {
            exactly: make_comparator(expected, got, SortOptions::default())?,
            expected: ArrayRef::clone(expected),
            got: ArrayRef::clone(got),
            tolerance,
            leniency,
        })
    }

    /// Whether row `expected` of the one is the same as row `got` of the other.
    pub(super) fn same(&self, expected: usize, got: usize) -> bool {
        (self.exactly)(expected, got) == Ordering::Equal
            || self.close(
                self.leniency,
                (self.expected.as_ref(), expected),
                (self.got.as_ref(), got),
            )
    }

    fn close(
        &self,
        leniency: Leniency,
        expected: (&dyn Array, usize),
        got: (&dyn Array, usize),
    ) -> bool {
        match (leniency.is_null(expected), leniency.is_null(got)) {
            (true, true) => return true,
            (false, false) => {}
            _ => return false,
        }
        match expected.0.data_type() {
            kind if kind.is_floating() || (kind.is_numeric() && self.tolerance > 0.0) => {
                within(number(expected), number(got), self.tolerance)
            }
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
                let (expected, got) = (items(expected), items(got));
                expected.len() == got.len()
                    && (0..expected.len())
                        .all(|item| self.close(leniency.inside(), (&expected, item), (&got, item)))
            }
            DataType::Struct(_) => {
                let columns = expected.0.as_struct().columns().iter();
                let mut columns = columns.zip(got.0.as_struct().columns());
                columns.all(|(one, other)| {
                    self.close(leniency.inside(), (one, expected.1), (other, got.1))
                })
            }
            _ => {
                let (one, other) = (expected.0.slice(expected.1, 1), got.0.slice(got.1, 1));
                make_comparator(&one, &other, SortOptions::default())
                    .is_ok_and(|compare| compare(0, 0) == Ordering::Equal)
            }
        }
    }
}

/// A number of any numeric type. Whole numbers beyond 2^53 are rounded, which a tolerance forgives.
fn number((column, row): (&dyn Array, usize)) -> f64 {
    if let Some(column) = column.as_primitive_opt::<Float64Type>() {
        return column.value(row);
    }
    let number = cast(&column.slice(row, 1), &DataType::Float64);
    number.map_or(f64::NAN, |number| {
        number.as_primitive::<Float64Type>().value(0)
    })
}

fn items((column, row): (&dyn Array, usize)) -> ArrayRef {
    match column.data_type() {
        DataType::List(_) => column.as_list::<i32>().value(row),
        DataType::LargeList(_) => column.as_list::<i64>().value(row),
        _ => column.as_fixed_size_list().value(row),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, ListArray, StringArray, StructArray};
    use arrow::datatypes::{Field, Fields};

    use super::*;

    fn same(expected: &ArrayRef, got: &ArrayRef, tolerance: f64) -> Vec<bool> {
        let cells = Cells::new(expected, got, tolerance, Leniency::default()).unwrap();
        (0..expected.len())
            .map(|row| cells.same(row, row))
            .collect()
    }

    fn floats(values: &[Option<f64>]) -> ArrayRef {
        Arc::new(Float64Array::from(values.to_vec()))
    }

    #[test]
    fn floats_are_compared_by_bits_or_within_a_tolerance() {
        let expected = floats(&[Some(1.0), Some(0.0), Some(f64::NAN), None, None, Some(2.0)]);
        let got = floats(&[
            Some(1.0 + 1e-12),
            Some(-0.0),
            Some(f64::NAN),
            None,
            Some(0.0),
            Some(2.0),
        ]);
        let exact = [false, false, true, true, false, true];
        assert_eq!(same(&expected, &got, 0.0), exact);
        let near = [true, true, true, true, false, true];
        assert_eq!(same(&expected, &got, 1e-9), near);
    }

    #[test]
    fn a_tolerance_reaches_into_lists_and_structs_and_holds_for_whole_numbers() {
        let list = |values: &[f64]| -> ArrayRef {
            let lists = [Some(values.iter().copied().map(Some).collect::<Vec<_>>())];
            Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists))
        };
        let (one, other) = (list(&[1.0, 2.0]), list(&[1.0, 2.0 + 1e-12]));
        assert_eq!(same(&one, &other, 0.0), [false]);
        assert_eq!(same(&one, &other, 1e-9), [true]);
        assert_eq!(same(&one, &list(&[1.0]), 1e-9), [false]);

        let fields = Fields::from(vec![Field::new("a", DataType::Float64, true)]);
        let part = |value: f64| -> ArrayRef {
            let column = floats(&[Some(value)]);
            Arc::new(StructArray::new(fields.clone(), vec![column], None))
        };
        assert_eq!(same(&part(1.0), &part(1.1), 0.1), [true]);
        assert_eq!(same(&part(1.0), &part(1.1), 0.01), [false]);

        let whole = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
        assert_eq!(same(&whole(1000), &whole(1001), 0.0), [false]);
        assert_eq!(same(&whole(1000), &whole(1001), 1e-3), [true]);
    }

    #[test]
    fn what_a_format_cannot_say_is_no_difference() {
        let json = Leniency {
            not_finite_is_null: true,
            ..Leniency::default()
        };
        let cells = Cells::new(&floats(&[None]), &floats(&[Some(f64::NAN)]), 0.0, json).unwrap();
        assert!(cells.same(0, 0));
        let csv = Leniency {
            empty_is_null: true,
            ..Leniency::default()
        };
        let (null, empty): (ArrayRef, ArrayRef) = (
            Arc::new(StringArray::from(vec![None::<&str>])),
            Arc::new(StringArray::from(vec![""])),
        );
        assert!(Cells::new(&null, &empty, 0.0, csv).unwrap().same(0, 0));
        let strict = Leniency::default();
        assert!(!Cells::new(&null, &empty, 0.0, strict).unwrap().same(0, 0));
    }
}
