//! Compressed files: whole, in several pieces, cut off, damaged, and much larger than they look.

use std::io::{Read, Write};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use flate2::write::GzEncoder;

use super::Content;
use crate::source::decode::testing::in_memory;
use crate::source::decode::{DecodeError, Format, code, infer, open};
use crate::source::recording::Recording;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn lines(numbers: std::ops::Range<u64>) -> Vec<u8> {
    let line = |i: u64| {
        // Text that does not compress to nothing.
        let noise = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{{\"x\":{i},\"noise\":\"{noise:x}\"}}\n")
    };
    numbers.map(line).collect::<String>().into_bytes()
}

/// The rows of a file of [`lines`], and how reading it ended.
fn rows(recording: &Arc<dyn Recording>) -> (u64, Option<DecodeError>) {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::UInt64, false)]));
    let mut reader = match open(recording, Format::Ndjson, &schema, 1000) {
        Ok(reader) => reader,
        Err(error) => return (0, Some(error)),
    };
    let mut rows = 0;
    loop {
        match reader.next_batch() {
            Ok(Some(batch)) => {
                assert_eq!(batch.rejects, []);
                let x: &arrow::array::UInt64Array =
                    arrow::array::AsArray::as_primitive(batch.rows.column(0));
                for x in x.values() {
                    assert_eq!(*x, rows);
                    rows += 1;
                }
            }
            Ok(None) => {
                assert_eq!(reader.bytes_read(), recording.size().unwrap());
                return (rows, None);
            }
            Err(error) => {
                assert!(reader.next_batch().unwrap().is_none());
                return (rows, Some(error));
            }
        }
    }
}

#[test]
fn members_and_frames_follow_each_other() {
    for compress in [gzip, zstd] {
        let mut bytes = Vec::new();
        for start in (0..50_000).step_by(10_000) {
            bytes.extend(compress(&lines(start..start + 10_000)));
            bytes.extend(compress(b""));
        }
        for name in ["a.ndjson", "a.ndjson.gz", "a.jsonl.zst"] {
            let right = name == "a.ndjson" || name.ends_with("gz") == (bytes[0] == 0x1f);
            let (rows, error) = rows(&in_memory(name, bytes.clone()));
            match error {
                None => assert!(right && rows == 50_000, "{name}: {rows}"),
                Some(DecodeError::NotCompressed { .. }) => assert!(!right, "{name}"),
                Some(error) => panic!("{error}"),
            }
        }
    }
    let mut skipped = vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    skipped.extend(zstd(&lines(0..10)));
    assert_eq!(rows(&in_memory("a.ndjson", skipped)).0, 10);
    assert!(matches!(rows(&in_memory("a.ndjson.gz", "")), (0, None)));
    let error = rows(&in_memory("a.ndjson.gz", lines(0..3))).1.unwrap();
    assert_eq!(
        error.to_string(),
        "a.ndjson.gz: is named as a gzip file, but does not begin like one; rename it, or write it again"
    );
}

#[test]
fn what_stands_before_the_end_of_a_cut_file_is_read() {
    let text = lines(0..20_000);
    for (name, bytes) in [("a.ndjson.gz", gzip(&text)), ("a.ndjson.zst", zstd(&text))] {
        let mut last = 0;
        for cut in (0..bytes.len()).step_by(bytes.len() / 40).skip(1) {
            let (rows, error) = rows(&in_memory(name, &bytes[..cut]));
            let error = error.expect("the file is cut");
            let DecodeError::Damaged { at, size, .. } = error else {
                panic!("{error}");
            };
            assert!(at == size && size == cut as u64, "{at}, {size}");
            assert!(rows >= last && rows <= 20_000);
            last = rows;
        }
        assert!(last > 10_000, "{name}: {last}");
        let almost = in_memory(name, &bytes[..bytes.len() - 1]);
        let (_, error) = rows(&almost);
        let error = error.unwrap().to_string();
        assert!(error.contains("it ends too early"), "{error}");
        assert!(
            error.contains("the records before that were read"),
            "{error}"
        );
        // What is there says what the columns are.
        let schema = infer(&[almost], Format::Ndjson).unwrap();
        assert_eq!(schema.field(0).data_type(), &DataType::Int64);
    }
}

#[test]
fn damage_is_an_error_after_the_rows_before_it() {
    let text = lines(0..20_000);
    for (name, bytes) in [("a.ndjson.gz", gzip(&text)), ("a.ndjson.zst", zstd(&text))] {
        let mut noticed = 0;
        for at in (20..bytes.len()).step_by(bytes.len() / 40) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x55;
            // A changed byte may decompress to other text, which is refused line by line; here only the end counts.
            let recording = in_memory(name, bytes);
            let mut content = Content::open(&recording).unwrap();
            let mut read = Vec::new();
            if let Err(error) = content.read_to_end(&mut read) {
                noticed += 1;
                let failure = content.failure(0, error);
                assert!(matches!(failure, DecodeError::Damaged { .. }), "{failure}");
            }
            // Nothing before the damaged byte's place is lost: text and file are about as long, part by part.
            let same = read.iter().zip(&text).take_while(|(a, b)| a == b).count();
            let before = (at as u64 * text.len() as u64 / recording.size().unwrap()) as usize;
            assert!(
                same + (384 << 10) >= before,
                "{name} at {at}: {same} of {before}"
            );
        }
        assert!(noticed > 30, "{name}: {noticed}");
    }
    let mut garbage = gzip(&lines(0..100));
    garbage.extend(b"no gzip");
    let (rows, error) = rows(&in_memory("a.ndjson", garbage));
    assert!(rows == 100 && matches!(error, Some(DecodeError::Damaged { .. })));
}

#[test]
fn one_line_of_a_gigabyte_takes_no_memory() {
    struct Zeros(u64);
    impl Read for Zeros {
        fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
            let length = to.len().min(usize::try_from(self.0).unwrap());
            to[..length].fill(b'a');
            self.0 -= length as u64;
            Ok(length)
        }
    }
    let mut bomb = zstd(b"\"");
    bomb.extend(zstd::encode_all(Zeros(1 << 30), 1).unwrap());
    bomb.extend(zstd(b"\n1\n"));
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    for (format, name, header) in [
        (Format::Ndjson, "a.ndjson", &b""[..]),
        (Format::Csv, "a.csv", b"x\n"),
    ] {
        let mut bytes = zstd(header);
        bytes.extend(&bomb);
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::UInt64, true)]));
        let mut reader = open(&in_memory(name, bytes), format, &schema, 1000).unwrap();
        let batch = reader.next_batch().unwrap().unwrap();
        let long = &batch.rejects[0];
        assert_eq!(long.code, code::LINE_TOO_LONG);
        assert_eq!(long.record.len(), 64 << 10);
    }
}

#[test]
fn an_error_of_the_disk_is_no_damage() {
    #[derive(Debug)]
    struct Failing(Vec<u8>);
    impl Recording for Failing {
        fn name(&self) -> String {
            "a.ndjson.gz".to_owned()
        }
        fn size(&self) -> std::io::Result<u64> {
            Ok(self.0.len() as u64)
        }
        fn stream(&self) -> std::io::Result<Box<dyn Read + Send>> {
            struct Gone;
            impl Read for Gone {
                fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                    Err(std::io::Error::other("the disk is gone"))
                }
            }
            Ok(Box::new(std::io::Cursor::new(self.0.clone()).chain(Gone)))
        }
        fn read_at(&self, _: u64, _: usize) -> std::io::Result<bytes::Bytes> {
            unreachable!("text files are read from their start")
        }
    }
    let mut bytes = gzip(&lines(0..20_000));
    bytes.truncate(bytes.len() / 2);
    let length = bytes.len();
    let (rows, error) = rows(&(Arc::new(Failing(bytes)) as Arc<dyn Recording>));
    assert!(rows > 5_000, "{rows}");
    let error = error.unwrap();
    assert!(error.is_of_the_system());
    assert_eq!(
        error.to_string(),
        format!("reading a.ndjson.gz at byte {length}: the disk is gone")
    );
}
