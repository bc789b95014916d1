//! Where a partition goes on: behind its newest whole file.
//!
//! How files and folders are called, and what they hold, is said in
//! [`crate::source::live::recorded::layout`]. A recording of something else must not be mixed with this one.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::{Value, json};

use super::{Place, RecordError};
use crate::source::decode;
use crate::source::live::recorded::layout::{
    NOTE_NEXT, NOTE_RECORDING, NOTE_VERSION, START, VERSION, first_of_rejects, first_of_rows,
    folder,
};
pub(super) use crate::source::live::recorded::layout::{rejects_name, rows_name};

/// What a file that covers the offsets up to `next` notes.
pub(super) fn notes(next: i64, recording: &Value) -> [(String, String); 3] {
    [
        (NOTE_VERSION.to_owned(), VERSION.to_string()),
        (NOTE_NEXT.to_owned(), next.to_string()),
        (NOTE_RECORDING.to_owned(), recording.to_string()),
    ]
}

/// Notes where the recording of a partition begins.
pub(super) fn begin(
    place: &Place,
    partition: u32,
    offset: i64,
    recording: &Value,
) -> Result<(), RecordError> {
    let start = json!({"version": VERSION, "offset": offset, "recording": recording});
    place.put(
        &format!("{}/{START}", folder(partition)),
        &start.to_string(),
    )
}

/// The offset at which the recording of a partition goes on; none if nothing of it was ever begun. Rejects whose
/// file of rows was never written are removed: their messages are read again.
pub(super) fn resume(
    place: &Place,
    partition: u32,
    recording: &Value,
) -> Result<Option<i64>, RecordError> {
    let folder = folder(partition);
    let names = place.names(&folder)?;
    let newest = names.iter().filter_map(|name| first_of_rows(name)).max();
    let next = match newest {
        Some(first) => Some(next_of(
            place,
            &rows_name(partition, first),
            first,
            recording,
        )?),
        None if names.iter().any(|name| name == START) => {
            Some(start_of(place, &format!("{folder}/{START}"), recording)?)
        }
        None => None,
    };
    let rejects = names.iter().filter_map(|name| first_of_rejects(name));
    for first in rejects.filter(|first| next.is_none_or(|next| *first >= next)) {
        place.remove(&rejects_name(partition, first))?;
    }
    Ok(next)
}

fn next_of(place: &Place, name: &str, first: i64, recording: &Value) -> Result<i64, RecordError> {
    let file = place.file(name)?;
    let notes = decode::parquet_notes(&file).map_err(RecordError::Newest)?;
    let foreign = |reason: &str| RecordError::Foreign {
        path: file.name(),
        reason: reason.to_owned(),
    };
    let version = notes
        .get(NOTE_VERSION)
        .ok_or_else(|| foreign("its footer has no notes of a recording"))?;
    if *version != VERSION.to_string() {
        return Err(foreign("it is of another version of Penstock"));
    }
    let written = notes
        .get(NOTE_RECORDING)
        .and_then(|text| serde_json::from_str(text).ok());
    check_same(&file.name(), &written.unwrap_or_default(), recording)?;
    let next = notes.get(NOTE_NEXT).and_then(|next| next.parse().ok());
    next.filter(|next| *next >= first)
        .ok_or_else(|| foreign("its footer does not say how far it goes"))
}

fn start_of(place: &Place, name: &str, recording: &Value) -> Result<i64, RecordError> {
    let file = place.file(name)?;
    let mut text = String::new();
    let read = file
        .stream()
        .and_then(|mut stream| stream.read_to_string(&mut text));
    read.map_err(|source| RecordError::File {
        doing: "read",
        path: file.name(),
        source,
    })?;
    let foreign = |reason: &str| RecordError::Foreign {
        path: file.name(),
        reason: reason.to_owned(),
    };
    let start: Value = serde_json::from_str(&text).map_err(|_| foreign("it is no JSON"))?;
    if start["version"] != VERSION {
        return Err(foreign("it is of another version of Penstock"));
    }
    check_same(&file.name(), &start["recording"], recording)?;
    start["offset"]
        .as_i64()
        .ok_or_else(|| foreign("it does not say where the recording begins"))
}

/// Whether the same was asked for.
fn check_same(path: &str, before: &Value, now: &Value) -> Result<(), RecordError> {
    let parts = |value: &Value| -> BTreeMap<String, String> {
        let parts = value.as_object().into_iter().flatten();
        parts
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect()
    };
    let (before, now) = (parts(before), parts(now));
    let said =
        |name: &str, parts: &BTreeMap<String, String>| match parts.get(name).map(String::as_str) {
            None | Some("") => format!("no {name}"),
            Some(text) => format!("the {name} {text}"),
        };
    match now
        .keys()
        .chain(before.keys())
        .find(|name| before.get(*name) != now.get(*name))
    {
        None => Ok(()),
        Some(name) => Err(RecordError::Different {
            path: path.to_owned(),
            before: said(name, &before),
            now: said(name, &now),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use arrow::datatypes::Schema;
    use parquet::arrow::ArrowWriter;
    use parquet::file::metadata::KeyValue;

    use super::*;

    fn write(folder: &Path, first: i64, notes: &[(String, String)]) {
        let path = folder.join(rows_name(0, first));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let schema = Arc::new(Schema::empty());
        let mut writer =
            ArrowWriter::try_new(fs::File::create(path).unwrap(), schema, None).unwrap();
        for (key, value) in notes {
            writer.append_key_value_metadata(KeyValue::new(key.clone(), value.clone()));
        }
        writer.close().unwrap();
    }

    #[test]
    fn a_partition_goes_on_behind_its_newest_file() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Local(folder.path().to_owned());
        let recording = json!({"columns": "a int64", "sample": ""});
        let go_on =
            |recording: &Value| resume(&place, 0, recording).map_err(|error| error.to_string());
        assert_eq!(go_on(&recording), Ok(None));
        begin(&place, 0, 7, &recording).unwrap();
        assert_eq!(go_on(&recording), Ok(Some(7)));
        write(folder.path(), 7, &notes(20, &recording));
        write(folder.path(), 20, &notes(31, &recording));
        // Those of the files that are there stay; of others the messages are read again.
        for first in [7, 20, 31, 44] {
            fs::write(folder.path().join(rejects_name(0, first)), "{}\n").unwrap();
        }
        fs::write(folder.path().join("p=0/notes.parquet"), "somebody else's").unwrap();
        assert_eq!(go_on(&recording), Ok(Some(31)));
        let left = |first| folder.path().join(rejects_name(0, first)).exists();
        assert_eq!([7, 20, 31, 44].map(left), [true, true, false, false]);

        let other = go_on(&json!({"columns": "a int64", "sample": "0.1 by a"})).unwrap_err();
        assert!(
            other.contains(
                "was recorded with no sample, and this recording has the sample 0.1 by a"
            ),
            "{other}"
        );
        write(folder.path(), 40, &[]);
        assert!(
            go_on(&recording)
                .unwrap_err()
                .contains("no notes of a recording")
        );
        let mut newer = notes(50, &recording);
        newer[0].1 = "2".to_owned();
        write(folder.path(), 41, &newer);
        assert!(
            go_on(&recording)
                .unwrap_err()
                .contains("another version of Penstock")
        );
        write(folder.path(), 42, &notes(41, &recording));
        assert!(
            go_on(&recording)
                .unwrap_err()
                .contains("does not say how far it goes")
        );
        fs::write(folder.path().join(rows_name(0, 43)), "cut o").unwrap();
        assert!(
            go_on(&recording)
                .unwrap_err()
                .contains("repair or remove the file")
        );
    }
}
