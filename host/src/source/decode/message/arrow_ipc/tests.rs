//! Streams, bare record batches, and what is refused.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Int32Array, Int64Array, StringArray, UInt32Array};
use arrow::datatypes::{DataType, UInt32Type};
use arrow_ipc::writer::StreamWriter;
use proptest::prelude::*;

use super::super::testing::{messages, row};
use super::super::{DecodedMessages, MessageDecoder, MessageFormat};
use super::*;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .unwrap()
}

fn rides(ids: Vec<Option<i32>>) -> RecordBatch {
    let fares: Vec<f32> = (0..ids.len()).map(|row| row as f32 / 2.0).collect();
    batch(vec![
        ("other", Arc::new(StringArray::from(vec!["x"; ids.len()]))),
        ("fare", Arc::new(Float32Array::from(fares))),
        ("id", Arc::new(Int32Array::from(ids))),
    ])
}

fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    batches
        .iter()
        .for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

/// What a stream has behind its schema.
fn bare(batch: &RecordBatch) -> Vec<u8> {
    let prefix = ArrowSchema::new(&batch.schema()).prefix.len();
    stream(std::slice::from_ref(batch))[prefix..].to_vec()
}

fn decoder(declared: Option<ArrowSchema>) -> MessageDecoder {
    let wanted = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("fare", DataType::Float64, true),
        Field::new("tip", DataType::Float64, true),
    ]);
    MessageDecoder::new(&MessageFormat::ArrowIpc(declared), &Arc::new(wanted)).unwrap()
}

fn decode(decoder: &mut MessageDecoder, values: &[Vec<u8>]) -> DecodedMessages {
    let decoded = decoder
        .decode(&messages(values.iter().map(Some)), 0)
        .unwrap();
    assert_eq!(decoded.next, values.len());
    assert_eq!(decoded.rows.num_rows(), decoded.message_of_row.len());
    decoded
}

#[test]
fn a_message_has_any_number_of_rows() {
    let ids = |ids: Vec<i32>| rides(ids.into_iter().map(Some).collect());
    let dictionary: arrow::array::DictionaryArray<UInt32Type> = vec!["7"].into_iter().collect();
    let values = [
        stream(&[ids(vec![1, 2]), ids(vec![3])]),
        stream(&[ids(vec![])]),
        stream(&[rides(vec![Some(4), None, Some(5)])]),
        stream(&[batch(vec![("fare", Arc::new(Int64Array::from(vec![1])))])]),
        stream(&[batch(vec![("id", Arc::new(dictionary))])]),
        stream(&[batch(vec![("id", Arc::new(UInt32Array::from(vec![6])))])]),
        vec![],
        b"ARROW1 and nothing else".to_vec(),
        stream(&[ids(vec![8])])[..200].to_vec(),
    ];
    let decoded = decode(&mut decoder(None), &values);
    assert_eq!(&decoded.message_of_row[..], [0, 0, 0, 2, 2, 5]);
    let rows: Vec<_> = (0..6)
        .map(|at| row(&decoded.rows, at)["id"].clone())
        .collect();
    assert_eq!(rows, [1, 2, 3, 4, 5, 6]);
    assert!(row(&decoded.rows, 5)["fare"].is_null() && row(&decoded.rows, 0)["tip"].is_null());
    let rejects: Vec<_> = decoded
        .rejects
        .iter()
        .map(|r| (r.message, r.before_row, r.code))
        .collect();
    assert_eq!(
        rejects,
        [
            (2, 4, "missing_value"),
            (3, 5, "missing_value"),
            (4, 5, "wrong_type"),
            (6, 6, "malformed_arrow"),
            (7, 6, "malformed_arrow"),
            (8, 6, "malformed_arrow"),
        ]
    );
    assert_eq!(
        decoded.rejects[0].detail,
        "row 1: column `id` is null, but declared as not nullable"
    );
    assert_eq!(decoded.rejects[0].record, "{\"fare\":0.5}");
    assert_eq!(
        decoded.rejects[2].detail,
        "column `id`: expected Int64, found Utf8"
    );
}

#[test]
fn a_bare_batch_has_the_schema_that_came_before_or_was_declared() {
    let rows = rides(vec![Some(1), Some(2)]);
    let schema_alone = ArrowSchema::new(&rows.schema());
    let values = [bare(&rows), schema_alone.prefix.to_vec(), bare(&rows)];
    let decoded = decode(&mut decoder(None), &values);
    assert_eq!(&decoded.message_of_row[..], [2, 2]);
    assert_eq!(decoded.rejects.len(), 1);
    assert_eq!(
        decoded.rejects[0].detail,
        "it has no schema, and none came before it; declare one in a file"
    );
    let decoded = decode(&mut decoder(Some(schema_alone)), &values);
    assert_eq!(&decoded.message_of_row[..], [0, 0, 2, 2]);
    assert!(decoded.rejects.is_empty());
}

#[test]
fn a_schema_comes_from_a_file() {
    let rows = rides(vec![Some(1)]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, &stream(std::slice::from_ref(&rows))).unwrap();
    let schema = ArrowSchema::read(file.path()).unwrap();
    assert_eq!(schema.infer().fields().len(), 3);
    let decoded = decode(&mut decoder(Some(schema)), &[bare(&rows)]);
    assert_eq!(decoded.rows.num_rows(), 1);
    assert!(ArrowSchema::read(std::path::Path::new("no such file")).is_err());
}

#[test]
fn a_whole_file_is_a_message_too() {
    let rows = rides(vec![Some(1), Some(2)]);
    let mut writer = arrow_ipc::writer::FileWriter::try_new(Vec::new(), &rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    writer.finish().unwrap();
    let file = writer.into_inner().unwrap();
    let decoded = decode(&mut decoder(None), &[file, bare(&rows)]);
    assert_eq!(&decoded.message_of_row[..], [0, 0]);
    assert_eq!(decoded.rejects.len(), 1);
}

#[test]
fn messages_that_grow_large_are_not_all_taken_at_once() {
    let long = "x".repeat(1 << 20);
    let names: arrow::array::DictionaryArray<UInt32Type> = vec![&*long; 70].into_iter().collect();
    let large = stream(&[batch(vec![("name", Arc::new(names))])]);
    assert!(large.len() < 2 << 20);
    let wanted = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, true)]));
    let mut decoder = MessageDecoder::new(&MessageFormat::ArrowIpc(None), &wanted).unwrap();
    let messages = messages([Some(&large), Some(&large)]);
    let first = decoder.decode(&messages, 0).unwrap();
    assert_eq!((first.next, first.rows.num_rows()), (1, 70));
    let second = decoder.decode(&messages, first.next).unwrap();
    assert_eq!((second.next, second.message_of_row[0]), (2, 1));
}

#[test]
fn a_decoder_goes_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&decoder(None));
}

proptest! {
    #[test]
    fn damage_is_a_reject_or_other_rows(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        noise in any::<Vec<u8>>(),
    ) {
        let good = stream(&[rides(vec![Some(1), Some(2)])]);
        let mut damaged = good.clone();
        for (at, byte) in changes {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        if let Some(cut) = cut {
            damaged.truncate(cut.index(damaged.len()));
        }
        let decoded = decode(&mut decoder(None), &[good.clone(), damaged, noise, good]);
        let of = |message| decoded.message_of_row.iter().filter(|of| **of == message).count();
        prop_assert_eq!((of(0), of(3)), (2, 2));
    }
}
