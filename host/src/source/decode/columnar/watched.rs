//! A recording that remembers why it could not be read: the crates that decode columnar formats make every failure look
//! like damage, and a network that is gone is none.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::super::DecodeError;
use crate::source::recording::Recording;

/// A recording and its size, which is asked for once.
#[derive(Debug)]
pub(in super::super) struct Watched {
    recording: Arc<dyn Recording>,
    size: u64,
    failure: Mutex<Option<(u64, io::Error)>>,
}

impl Watched {
    /// Opens a file of a columnar format, of which an empty one is none.
    pub(in super::super) fn open(
        recording: &Arc<dyn Recording>,
        format: &'static str,
    ) -> Result<Arc<Self>, DecodeError> {
        let size = recording.size().map_err(|source| DecodeError::Open {
            file: recording.name(),
            source,
        })?;
        if size == 0 {
            return Err(DecodeError::Empty {
                file: recording.name(),
                format,
            });
        }
        Ok(Arc::new(Self {
            recording: Arc::clone(recording),
            size,
            failure: Mutex::new(None),
        }))
    }

    /// The length of the file.
    pub(in super::super) fn size(&self) -> u64 {
        self.size
    }

    /// Exactly `length` bytes from `offset` on. A damaged file may ask for any number of them, from anywhere: room is
    /// made only for what is there.
    pub(in super::super) fn read_at(&self, offset: u64, length: u64) -> io::Result<Bytes> {
        let end = offset.checked_add(length).filter(|end| *end <= self.size);
        let length = end.and_then(|_| usize::try_from(length).ok());
        let Some(length) = length else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        self.recording.read_at(offset, length).inspect_err(|error| {
            let copy = io::Error::new(error.kind(), error.to_string());
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert((offset, copy));
        })
    }

    /// Why it could not be read, if it could not; and otherwise what is wrong with its content.
    pub(in super::super) fn failure_or(&self, damage: DecodeError) -> DecodeError {
        let failure = self
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match failure {
            Some((at, source)) => DecodeError::Read {
                file: self.recording.name(),
                at,
                source,
            },
            None => damage,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};

    use super::*;
    use crate::source::decode::testing::in_memory;
    use crate::source::decode::{Format, open};

    /// A recording that is gone after so many reads.
    #[derive(Debug)]
    struct Flaky(Arc<dyn Recording>, AtomicUsize);

    impl Recording for Flaky {
        fn name(&self) -> String {
            self.0.name()
        }

        fn size(&self) -> io::Result<u64> {
            self.0.size()
        }

        fn stream(&self) -> io::Result<Box<dyn Read + Send>> {
            self.0.stream()
        }

        fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
            let left = self
                .1
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                });
            match left {
                Ok(_) => self.0.read_at(offset, length),
                Err(_) => Err(io::Error::other("the network is gone")),
            }
        }
    }

    #[test]
    fn a_network_that_is_gone_is_no_damage() {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100_000));
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        let parquet = writer.into_inner().unwrap();
        let mut writer =
            arrow_ipc::writer::FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        let arrow = writer.into_inner().unwrap();
        for (format, bytes) in [(Format::Parquet, parquet), (Format::ArrowIpc, arrow)] {
            let read = |reads: usize| -> Result<usize, DecodeError> {
                let whole = in_memory("s3://x", bytes.clone());
                let flaky: Arc<dyn Recording> = Arc::new(Flaky(whole, AtomicUsize::new(reads)));
                let mut reader = open(&flaky, format, &batch.schema(), 1 << 20)?;
                let mut rows = 0;
                while let Some(batch) = reader.next_batch()? {
                    rows += batch.rows.num_rows();
                }
                Ok(rows)
            };
            let mut reads = 0;
            let rows = loop {
                match read(reads) {
                    Ok(rows) => break rows,
                    Err(error) => {
                        assert!(error.is_of_the_system(), "{format:?}, {reads}: {error}");
                        assert!(error.to_string().ends_with("the network is gone"));
                        reads += 1;
                    }
                }
            };
            assert!(rows == 100_000 && reads > 2);
        }
    }
}
