//! How large rows become when they are made plain. A dictionary's value is stored once however many rows have it, and
//! views may share their bytes: a small file can stand for more than memory holds.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, OffsetSizeTrait};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type};

/// The bytes of the rows of an array, as far as they are stored otherwise than plain; 0 if nothing is.
pub(super) fn bytes(array: &dyn Array) -> u64 {
    match array.data_type() {
        DataType::Dictionary(..) => dictionary(array),
        DataType::RunEndEncoded(run_ends, _) => {
            let values = match run_ends.data_type() {
                DataType::Int16 => array.as_run::<Int16Type>().values(),
                DataType::Int32 => array.as_run::<Int32Type>().values(),
                _ => array.as_run::<Int64Type>().values(),
            };
            let longest = (0..values.len()).map(|index| length(values, index)).max();
            longest.unwrap_or(0).saturating_mul(array.len() as u64)
        }
        DataType::Utf8View => views(array.as_string_view().views()),
        DataType::BinaryView => views(array.as_binary_view().views()),
        DataType::List(_) => list::<i32>(array),
        DataType::LargeList(_) => list::<i64>(array),
        DataType::ListView(_) => {
            let list = array.as_list_view::<i32>();
            let items = list.sizes().iter().map(|size| *size as u64).sum::<u64>();
            items.saturating_mul(average(list.values()))
        }
        DataType::LargeListView(_) => {
            let list = array.as_list_view::<i64>();
            let items = list.sizes().iter().map(|size| *size as u64).sum::<u64>();
            items.saturating_mul(average(list.values()))
        }
        DataType::FixedSizeList(..) => bytes(array.as_fixed_size_list().values().as_ref()),
        DataType::Struct(_) => {
            let columns = array.as_struct().columns().iter();
            columns.map(|column| bytes(column.as_ref())).sum()
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let (first, last) = ends(map.offsets());
            bytes(&map.entries().slice(first, last - first))
        }
        _ => 0,
    }
}

fn views(views: &[u128]) -> u64 {
    // The length stands in the lowest 32 bits.
    views.iter().map(|view| u64::from(*view as u32)).sum()
}

fn list<O: OffsetSizeTrait>(array: &dyn Array) -> u64 {
    let list = array.as_list::<O>();
    let (first, last) = ends(list.offsets());
    bytes(list.values().slice(first, last - first).as_ref())
}

fn ends<O: OffsetSizeTrait>(offsets: &[O]) -> (usize, usize) {
    let at = |offset: Option<&O>| offset.map_or(0, |offset| offset.as_usize());
    (at(offsets.first()), at(offsets.last()))
}

fn dictionary(array: &dyn Array) -> u64 {
    let dictionary = array.as_any_dictionary();
    let values = dictionary.values();
    let Ok(keys) = cast(dictionary.keys(), &DataType::Int64) else {
        return u64::MAX;
    };
    let keys: &Int64Array = keys.as_primitive();
    keys.iter()
        .flatten()
        .map(|key| length(values, key as usize))
        .fold(0, u64::saturating_add)
}

/// The bytes of one value of an array.
fn length(values: &ArrayRef, index: usize) -> u64 {
    if index >= values.len() {
        return 0;
    }
    match values.data_type() {
        DataType::Utf8 => values.as_string::<i32>().value_length(index) as u64,
        DataType::LargeUtf8 => values.as_string::<i64>().value_length(index) as u64,
        DataType::Binary => values.as_binary::<i32>().value_length(index) as u64,
        DataType::LargeBinary => values.as_binary::<i64>().value_length(index) as u64,
        DataType::Utf8View => u64::from(values.as_string_view().views()[index] as u32),
        DataType::BinaryView => u64::from(values.as_binary_view().views()[index] as u32),
        _ => average(values),
    }
}

fn average(values: &ArrayRef) -> u64 {
    let rows = values.len().max(1);
    (values.get_array_memory_size() / rows) as u64 + 1
}
