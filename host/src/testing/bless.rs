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
    let bytes = trial.features_as(format_of(path)?)?;
    let shown = path.display();
    let rows = many(outcome.features.num_rows(), "row", "rows");
    let before = match std::fs::read(path) {
        Ok(before) if before == bytes => return Ok(format!("{shown}: unchanged, {rows}")),
        Ok(_) => Some(expected::read(path, &outcome.layout)),
        Err(_) => None,
    };
    write_whole(path, &bytes)?;
    // A format that loses what it was given would make a test that fails from the start.
    let blessed = expected::read(path, &outcome.layout).map_err(|error| {
        let reason = format!(
            "it was written, and cannot be read back ({error}); bless a .parquet file instead"
        );
        TestError::file(path, reason)
    })?;
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
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let write = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = std::fs::File::create(partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(partial, path)
    };
    write().map_err(TestError::io("write", path))
}
