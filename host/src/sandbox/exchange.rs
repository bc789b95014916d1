//! The records of the contract: an opening on its way out, and everything else on its way in,
//! checked as a whole (counts that must agree, orders that must hold).

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;

use super::arrow as wire;
use super::bindings::{mapper, types, windowed};
use super::fault::Fault;
use super::limits::{LimitExceeded, Limits};
use super::schema;
use crate::transform::{
    Finished, HOST_COLUMNS, Mapped, MapperSpec, Opening, Reject, Updated, WindowedSpec, bytes_of,
};

/// An opening in the contract's terms, owned.
pub(super) struct LoweredOpening<'a> {
    opening: &'a Opening,
    event: Vec<types::FieldResult>,
    key: Vec<types::FieldResult>,
}

impl<'a> LoweredOpening<'a> {
    /// # Errors
    ///
    /// A column of the key has a type that the contract does not know. Such a column of the event
    /// is not offered; a transform cannot ask for it.
    pub(super) fn new(opening: &'a Opening) -> Result<Self, String> {
        let known: Vec<_> = opening
            .event_schema
            .fields()
            .iter()
            .filter(|field| schema::is_known(field.data_type()))
            .cloned()
            .collect();
        Ok(Self {
            opening,
            event: schema::lower(&Schema::new(known))?,
            key: schema::lower(&opening.key)?,
        })
    }

    /// Hands the opening to a call.
    pub(super) async fn pass<T>(&self, call: impl AsyncFnOnce(types::Opening<'_>) -> T) -> T {
        let (event_metadata, key_metadata) = (
            schema::borrowed_metadata(&self.event),
            schema::borrowed_metadata(&self.key),
        );
        let event = schema::borrowed(&self.event, &event_metadata);
        let key = schema::borrowed(&self.key, &key_metadata);
        call(types::Opening {
            config: &self.opening.config,
            events: &[types::Event {
                name: &self.opening.event,
                schema: &event,
            }],
            key: &key,
            options: &[],
        })
        .await
    }
}

/// Versions of states that a transform takes over, at most.
const MOST_VERSIONS: usize = 1_024;

/// What a windowed transform says of itself.
pub(super) fn lift_spec(
    spec: windowed::WindowedSpec,
    opening: &Opening,
    limits: &Limits,
) -> Result<WindowedSpec, Fault> {
    let columns = lift_needs(&spec.needs, opening)?;
    let state = schema::lift(&spec.state, limits).map_err(|fault| fault.within("its state"))?;
    let output = lift_output(&spec.output, limits)?;
    let keys = opening
        .key
        .fields()
        .iter()
        .map(|field| field.name().as_str());
    for name in keys.chain(HOST_COLUMNS) {
        if output.field_with_name(name).is_ok() {
            return Err(Fault::Breaks(format!(
                "its output has a column `{name}`, which the host adds by itself"
            )));
        }
    }
    // Each instance keeps them.
    if spec.migrates_from.len() > MOST_VERSIONS {
        return Err(Fault::Breaks(format!(
            "it takes over {} versions of states, and {MOST_VERSIONS} are the most",
            spec.migrates_from.len()
        )));
    }
    let state = Arc::new(state);
    let initial = lift_rows(&state, spec.initial, 1)
        .map_err(|fault| format!("its initial state: {fault}"))?;
    refuse_large_states(&initial, limits.state_per_group)?;
    let initial = batch(&state, initial, 1)?;
    Ok(WindowedSpec {
        columns,
        state,
        state_version: spec.state_version,
        migrates_from: spec.migrates_from,
        initial,
        output: Arc::new(output),
    })
}

/// What a mapper says of itself.
pub(super) fn lift_mapper_spec(
    spec: mapper::MapperSpec,
    opening: &Opening,
    limits: &Limits,
) -> Result<MapperSpec, Fault> {
    Ok(MapperSpec {
        columns: lift_needs(&spec.needs, opening)?,
        output: Arc::new(lift_output(&spec.output, limits)?),
    })
}

fn lift_output(output: &[types::FieldResult], limits: &Limits) -> Result<Schema, Fault> {
    let output = schema::lift(output, limits).map_err(|fault| fault.within("its output"))?;
    if output.fields().is_empty() {
        return Err("its output has no columns".to_owned().into());
    }
    Ok(output)
}

fn lift_needs(needs: &[types::Needs], opening: &Opening) -> Result<Vec<String>, String> {
    let [needs] = needs else {
        return Err(format!(
            "it needs {} events, where contract 0.1 offers one",
            needs.len()
        ));
    };
    if needs.event != opening.event {
        return Err(format!(
            "it needs event `{}`, and was offered `{}`",
            needs.event, opening.event
        ));
    }
    for (at, column) in needs.columns.iter().enumerate() {
        if needs.columns[..at].contains(column) {
            return Err(format!("it needs column `{column}` twice"));
        }
        match opening.event_schema.field_with_name(column) {
            Ok(field) if schema::is_known(field.data_type()) => {}
            _ => {
                return Err(format!(
                    "it needs column `{column}`, which event `{}` does not have",
                    opening.event
                ));
            }
        }
    }
    Ok(needs.columns.clone())
}

/// What `accumulate` returned for `rows` rows in `groups` groups.
pub(super) fn lift_updated(
    updated: windowed::Updated,
    state: &Schema,
    rows: usize,
    groups: usize,
    limits: &Limits,
) -> Result<Updated, Fault> {
    let changed = match updated.changed {
        None => None,
        Some(bytes) => {
            let changed = wire::lift_u32s("changed", &bytes)?;
            let rising = changed.windows(2).all(|pair| pair[0] < pair[1]);
            if !rising || changed.last().is_some_and(|last| *last as usize >= groups) {
                return Err(Fault::Breaks(format!(
                    "`changed` must rise and name groups below {groups}"
                )));
            }
            Some(changed)
        }
    };
    let count = changed.as_ref().map_or(groups, Vec::len);
    let states = lift_rows(state, updated.states, count)?;
    refuse_large_states(&states, limits.state_per_group)?;
    let rejects = lift_rejects(updated.rejects, rows)?;
    Ok(Updated {
        states,
        changed,
        rejects,
    })
}

/// Refuses states of which one takes more bytes than a group may have.
pub(super) fn refuse_large_states(states: &[ArrayRef], most: usize) -> Result<(), LimitExceeded> {
    // A half that is small enough as a whole has no row that is too large: only what is suspicious is looked at closely.
    let mut suspects = vec![(0, states.first().map_or(0, |column| column.len()))];
    while let Some((first, rows)) = suspects.pop() {
        let slices: Vec<ArrayRef> = states
            .iter()
            .map(|column| column.slice(first, rows))
            .collect();
        let bytes = bytes_of(&slices);
        if bytes <= most {
            continue;
        }
        if rows == 1 {
            return Err(LimitExceeded {
                name: "state_per_group",
                limit: format!("{most} bytes"),
                current: "0 bytes".into(),
                requested: format!("{bytes} bytes"),
            });
        }
        suspects.push((first, rows / 2));
        suspects.push((first + rows / 2, rows - rows / 2));
    }
    Ok(())
}

/// The codes of an instance's rejects. They are counted each by itself, so a guest may not invent
/// new ones for ever.
#[derive(Debug, Default)]
pub(super) struct RejectCodes(BTreeSet<String>);

impl RejectCodes {
    /// Takes note of codes, up to `most` distinct ones.
    pub(super) fn learn(&mut self, rejects: &[Reject], most: usize) -> Result<(), LimitExceeded> {
        for reject in rejects {
            if self.0.contains(&reject.code) {
                continue;
            }
            if self.0.len() >= most {
                return Err(LimitExceeded {
                    name: "reject_codes",
                    limit: format!("{most} different codes"),
                    current: self.0.len().to_string(),
                    requested: format!("`{}`", reject.code),
                });
            }
            self.0.insert(reject.code.clone());
        }
        Ok(())
    }
}

/// Bytes of a reject's code.
const CODE_BYTES: usize = 64;
/// Bytes of a reject's detail; the rest is cut.
const DETAIL_BYTES: usize = 4 << 10;

fn lift_rejects(rejects: Vec<types::Reject>, rows: usize) -> Result<Vec<Reject>, Fault> {
    let rising = rejects.windows(2).all(|pair| pair[0].row < pair[1].row);
    if !rising || rejects.last().is_some_and(|last| last.row as usize >= rows) {
        return Err(Fault::Breaks(format!(
            "the rejects must rise by row and name rows below {rows}"
        )));
    }
    rejects.into_iter().map(lift_reject).collect()
}

fn lift_reject(mut reject: types::Reject) -> Result<Reject, Fault> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let code = &reject.code;
    if code.len() > CODE_BYTES {
        return Err(Fault::Limit(LimitExceeded {
            name: "reject_code_bytes",
            limit: format!("{CODE_BYTES} bytes"),
            current: "0 bytes".into(),
            requested: format!("{} bytes", code.len()),
        }));
    }
    if code.is_empty() || !code.bytes().all(is_name) {
        return Err(Fault::Breaks(format!(
            "a reject's code `{code}`; a code has 1 to {CODE_BYTES} letters, digits, `-` and `_`"
        )));
    }
    reject
        .detail
        .truncate(reject.detail.floor_char_boundary(DETAIL_BYTES));
    // To truncate keeps the room, and dead letters may wait a while.
    reject.detail.shrink_to_fit();
    Ok(Reject {
        row: reject.row,
        code: reject.code,
        detail: reject.detail,
    })
}

/// What `map` returned for `inputs` rows.
pub(super) fn lift_mapped(
    mapped: mapper::Mapped,
    output: &Arc<Schema>,
    inputs: usize,
    most: usize,
) -> Result<Mapped, Fault> {
    let rows = refuse_many_rows(mapped.output.rows, most)?;
    let source_row = lift_sources("source-row", &mapped.source_row, rows, inputs, "rows")?;
    let rejects = lift_rejects(mapped.rejects, inputs)?;
    refuse_rejected_sources(&source_row, &rejects)?;
    let columns = lift_rows(output, mapped.output, rows)?;
    Ok(Mapped {
        output: batch(output, columns, rows)?,
        source_row,
        rejects,
    })
}

/// An input row is either rejected or mapped. Both lists are in order.
fn refuse_rejected_sources(source_row: &[u32], rejects: &[Reject]) -> Result<(), String> {
    let mut sources = source_row.iter().copied().peekable();
    for reject in rejects {
        while sources.next_if(|source| *source < reject.row).is_some() {}
        if sources.peek() == Some(&reject.row) {
            return Err(format!(
                "row {} is rejected and named in `source-row` too",
                reject.row
            ));
        }
    }
    Ok(())
}

fn refuse_many_rows(rows: u32, most: usize) -> Result<usize, LimitExceeded> {
    let rows = rows as usize;
    if rows <= most {
        return Ok(rows);
    }
    Err(LimitExceeded {
        name: "output_rows",
        limit: format!("{most} rows"),
        current: "0 rows".into(),
        requested: format!("{rows} rows"),
    })
}

/// For each of `rows` output rows where it came from: one of `sources`, never falling.
fn lift_sources(
    name: &'static str,
    bytes: &[u8],
    rows: usize,
    sources: usize,
    of: &str,
) -> Result<Vec<u32>, String> {
    let source = wire::lift_u32s(name, bytes)?;
    if !source.is_sorted() || source.last().is_some_and(|last| *last as usize >= sources) {
        return Err(format!(
            "`{name}` must never fall and name {of} below {sources}"
        ));
    }
    if source.len() != rows {
        return Err(format!(
            "`{name}` names {} rows, and there are {rows}",
            source.len()
        ));
    }
    Ok(source)
}

/// What `finish` returned for `groups` groups.
pub(super) fn lift_finished(
    finished: windowed::Finished,
    output: &Arc<Schema>,
    groups: usize,
    most: usize,
) -> Result<Finished, Fault> {
    let rows = refuse_many_rows(finished.output.rows, most)?;
    let source_group = lift_sources(
        "source-group",
        &finished.source_group,
        rows,
        groups,
        "groups",
    )?;
    let columns = lift_rows(output, finished.output, rows)?;
    Ok(Finished {
        output: batch(output, columns, rows)?,
        source_group,
        failed: Vec::new(),
    })
}

/// Columns that must have `expected` rows.
pub(super) fn lift_rows(
    schema: &Schema,
    columns: types::ColumnsResult,
    expected: usize,
) -> Result<Vec<ArrayRef>, String> {
    if columns.rows as usize != expected {
        return Err(format!("{} rows where {expected} belong", columns.rows));
    }
    wire::lift(schema, columns.rows, columns.buffers)
}

fn batch(schema: &Arc<Schema>, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, String> {
    // A schema without columns says nothing of its rows, so their number is given.
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejects(codes: &[String]) -> Result<Vec<Reject>, Fault> {
        let rejects = codes.iter().zip(0..).map(|(code, row)| types::Reject {
            row,
            code: code.clone(),
            detail: "é".repeat(DETAIL_BYTES),
        });
        lift_rejects(rejects.collect(), codes.len())
    }

    #[test]
    fn a_code_is_a_short_name_and_a_detail_is_cut() {
        let good = rejects(&["negative-fare_2".into()]).unwrap();
        assert_eq!(good[0].detail.len(), DETAIL_BYTES);
        assert!(good[0].detail.capacity() <= DETAIL_BYTES);
        for code in ["", "a b", "a\nb", "\u{1b}[2J", "é", &"x".repeat(65)] {
            let fault = rejects(&[code.into()]).expect_err("no name").to_string();
            let expected = match code.len() {
                65 => "reject_code_bytes",
                _ => "a reject's code",
            };
            assert!(fault.contains(expected), "{fault}");
        }
    }

    #[test]
    fn an_instance_has_only_so_many_codes() {
        let codes: Vec<String> = (0..5).map(|code| format!("c{code}")).collect();
        let mut known = RejectCodes::default();
        known.learn(&rejects(&codes[..4]).unwrap(), 4).unwrap();
        known.learn(&rejects(&codes[1..3]).unwrap(), 4).unwrap();
        let exceeded = known.learn(&rejects(&codes).unwrap(), 4).unwrap_err();
        assert_eq!(exceeded.name, "reject_codes");
        assert_eq!(exceeded.requested, "`c4`");
    }
}
