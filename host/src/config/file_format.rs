//! The formats of recorded files, and the endings of their names.

use std::path::Path;

/// The formats of recorded files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// One JSON object a line: `.ndjson`, `.jsonl`; compressed as well: `.ndjson.gz`, `.ndjson.zst`.
    Ndjson,
    /// Comma-separated values with a header: `.csv`; compressed as well: `.csv.gz`, `.csv.zst`.
    Csv,
    /// `.parquet`
    Parquet,
    /// Arrow IPC, file or stream: `.arrow`, `.arrows`, `.ipc`, `.feather`.
    Arrow,
}

impl FileFormat {
    /// The formats by the names that they are declared by.
    pub(super) const ALL: [(&'static str, FileFormat); 4] = [
        ("ndjson", FileFormat::Ndjson),
        ("csv", FileFormat::Csv),
        ("parquet", FileFormat::Parquet),
        ("arrow", FileFormat::Arrow),
    ];

    /// The endings of names that show a format, for people.
    pub(super) const ENDINGS: &'static str =
        ".ndjson, .jsonl, .csv (these also with .gz or .zst), .parquet or .arrow";

    /// The format that a file of this name has, in any case.
    pub fn of_path(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let plain = (name.strip_suffix(".gz")).or_else(|| name.strip_suffix(".zst"));
        let (_, extension) = plain.unwrap_or(&name).rsplit_once('.')?;
        match extension {
            "ndjson" | "jsonl" => Some(FileFormat::Ndjson),
            "csv" => Some(FileFormat::Csv),
            // These compress their columns themselves.
            _ if plain.is_some() => None,
            "parquet" => Some(FileFormat::Parquet),
            "arrow" | "arrows" | "ipc" | "feather" => Some(FileFormat::Arrow),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_name() {
        let check = |name: &str, expected| {
            assert_eq!(FileFormat::of_path(Path::new(name)), expected, "{name}");
        };
        check("a/b.ndjson", Some(FileFormat::Ndjson));
        check("b.2026.JSONL.gz", Some(FileFormat::Ndjson));
        check("b.csv", Some(FileFormat::Csv));
        check("b.csv.zst", Some(FileFormat::Csv));
        check("b.Parquet", Some(FileFormat::Parquet));
        for name in ["b.arrow", "b.arrows", "b.ipc", "b.feather"] {
            check(name, Some(FileFormat::Arrow));
        }
        for name in [
            "b",
            "csv",
            "b.gz",
            "b.parquet.gz",
            "b.arrow.zst",
            "b.txt",
            "b.csv.bz2",
        ] {
            check(name, None);
        }
    }
}
