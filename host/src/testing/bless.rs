//! Takes what came out for what is expected from now on.

use std::io::Write as _;
use std::path::Path;

use super::expected::{self, format_of};
use super::refused::{self, Refused};
use super::table::{self, Sides, many};
use super::trial::{Outcome, Trial};
use super::{TestError, compare};
use crate::testing::evidence::Evidence;

/// What was expected until now, and what is from now on.
const BEFORE_NOW: Sides = Sides("before", "now");

/// Writes the expected features in the format of the file's name, byte by byte as a run writes
/// them, and says what changed.
///
/// # Errors
///
/// The file cannot be written, or its format cannot hold what came out.
pub(super) fn features(
    path: &Path,
    trial: &Trial<'_>,
    outcome: &Outcome,
    most: usize,
) -> Result<String, TestError> {
    let format = format_of(path)?;
    let bytes = trial.features_as(format)?;
    let shown = path.display();
    let rows = many(outcome.features.num_rows(), "row", "rows");
    let before = match std::fs::read(path) {
        Ok(before) if before == bytes => return Ok(format!("{shown}: unchanged, {rows}")),
        Ok(_) => Some(expected::read(path, &outcome.layout)),
        Err(_) => None,
    };
    let mut blessed = None;
    write_checked(path, &bytes, |partial| {
        // A format that loses what it was given would make a test that fails from the start.
        let read = expected::read_as(format, partial, &outcome.layout);
        blessed = Some(read.map_err(|error| {
            let reason = format!(
                "it was not written, since it could not be read back ({error}); bless a .parquet file instead"
            );
            TestError::file(path, reason)
        })?);
        Ok(())
    })?;
    let blessed = blessed.expect("it was read before it was put there");
    let compare = |rows, leniency| {
        let outputs = &outcome.layout.outputs;
        let exactly = super::Tolerances::default();
        compare::compare(
            &outcome.layout,
            (rows, leniency),
            &outcome.features,
            outputs,
            &exactly,
        )
    };
    if !compare(&blessed.rows, blessed.leniency)?.is_same() {
        let reason = "this format does not hold these features exactly; bless a .parquet file instead, or give tolerances";
        tracing::warn!("{shown}: {reason}");
    }
    Ok(match before {
        None => format!("{shown}: written, {rows}"),
        Some(Err(_)) => format!("{shown}: written over what could not be read, {rows}"),
        Some(Ok(before)) => {
            let changed = compare(&before.rows, before.leniency)?;
            let table = table::render(&changed, BEFORE_NOW, most, &Evidence::none());
            let summary = table::summary(&changed, BEFORE_NOW);
            format!("{shown}: written, {rows}; {summary}\n{table}")
                .trim_end()
                .to_owned()
        }
    })
}

/// Writes the expected rejected and late rows, and says what changed.
pub(super) fn refused(path: &Path, rows: &[Refused], most: usize) -> Result<String, TestError> {
    let text = refused::as_lines(rows);
    let shown = path.display();
    let before = match std::fs::read(path) {
        Ok(before) if before == text.as_bytes() => {
            return Ok(format!(
                "{shown}: unchanged, {}",
                many(rows.len(), "row", "rows")
            ));
        }
        Ok(_) => refused::read(path).unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    write_whole(path, text.as_bytes())?;
    let changed = refused::compare(&before, rows);
    Ok(format!(
        "{shown}: written, {}\n{}",
        many(rows.len(), "row", "rows"),
        changed.render(most)
    )
    .trim_end()
    .to_owned())
}

/// Writes a file aside and renames it, so that it is never there by halves.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), TestError> {
    write_checked(path, bytes, |_| Ok(()))
}

/// The same, if whoever looks at the file before it is put into its place finds it right.
fn write_checked(
    path: &Path,
    bytes: &[u8],
    check: impl FnOnce(&Path) -> Result<(), TestError>,
) -> Result<(), TestError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let write = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = std::fs::File::create(partial)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(TestError::io("write", path))?;
    let checked = check(partial);
    if checked.is_err() {
        // It says nothing that the error does not.
        let _ = std::fs::remove_file(partial);
        return checked;
    }
    std::fs::rename(partial, path).map_err(TestError::io("write", path))
}
