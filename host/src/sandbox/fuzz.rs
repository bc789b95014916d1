//! What a guest returns, as a fuzzer has it: a schema, columns of it, and the lists beside them.

use arrow::array::Array;
use arrow::datatypes::Schema;

use super::bindings::types;
use super::exchange::{lift_finished, lift_mapped, lift_updated};
use super::limits::Limits;
use super::{arrow as wire, schema};

/// Takes an input apart: bytes that say how long the next piece is.
struct Pieces<'a>(&'a [u8]);

impl<'a> Pieces<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = (self.byte() as usize).min(self.0.len());
        let (piece, rest) = self.0.split_at(length);
        self.0 = rest;
        piece
    }

    fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    fn fields(&mut self) -> Vec<types::FieldResult> {
        let fields = (0..self.byte() % 8).map(|_| {
            let (name, format, flags) = (self.text(), self.text(), self.byte());
            let children = u32::from(self.byte());
            let entries = if flags < 0x80 { 0 } else { self.byte() };
            let metadata = (0..entries).map(|_| (self.text(), self.text()));
            types::FieldResult {
                name,
                format,
                nullable: flags.is_multiple_of(2),
                children,
                metadata: metadata.collect(),
            }
        });
        fields.collect()
    }

    fn columns(&mut self) -> types::ColumnsResult {
        let rows = match self.byte() {
            255 => self.u32(),
            rows => u32::from(rows),
        };
        let buffers = (0..self.byte() % 32).map(|_| self.bytes().to_vec());
        types::ColumnsResult {
            rows,
            buffers: buffers.collect(),
        }
    }

    fn rejects(&mut self) -> Vec<types::Reject> {
        let rejects = (0..self.byte() % 4).map(|_| types::Reject {
            row: u32::from(self.byte()),
            code: self.text(),
            detail: self.text(),
        });
        rejects.collect()
    }
}

/// A schema and columns as [`Pieces`] reads them.
fn seed(fields: &[(&str, &str, u8)], rows: u8, buffers: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![fields.len() as u8];
    let put = |piece: &[u8], bytes: &mut Vec<u8>| {
        bytes.push(piece.len() as u8);
        bytes.extend_from_slice(piece);
    };
    for (name, format, children) in fields {
        put(name.as_bytes(), &mut bytes);
        put(format.as_bytes(), &mut bytes);
        bytes.extend([0, *children]);
    }
    bytes.extend([rows, buffers.len() as u8]);
    buffers.iter().for_each(|buffer| put(buffer, &mut bytes));
    bytes
}

fn seeds() -> Vec<Vec<u8>> {
    let offsets: &[u8] = &[0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0];
    let mut seeds = vec![
        seed(&[("a", "l", 0)], 1, &[&[1], &[7; 8]]),
        seed(&[("a", "u", 0)], 2, &[&[3], offsets, b"abc"]),
        seed(&[("a", "b", 0)], 9, &[&[255, 1], &[255, 1]]),
        seed(
            &[("a", "+l", 1), ("item", "c", 0)],
            2,
            &[&[], offsets, &[], b"abc"],
        ),
        seed(
            &[("a", "+s", 2), ("x", "g", 0), ("y", "z", 0)],
            2,
            &[&[3], &[3], &[0; 16], &[], offsets, b"xyz"],
        ),
        seed(&[("a", "w:3", 0)], 2, &[&[], b"abcdef"]),
        seed(&[("a", "d:5,2", 0)], 1, &[&[], &[1; 16]]),
        seed(&[("a", "tsu:UTC", 0)], 1, &[&[], &[1; 8]]),
        seed(
            &[("a", "U", 0)],
            1,
            &[
                &[],
                &[0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0],
                b"abc",
            ],
        ),
    ];
    for seed in &mut seeds {
        seed.extend([4, 0, 0, 0, 0, 1, 0, 1, b'c', 1, b'd']);
    }
    seeds
}

/// Whoever has been let through is read to its last bit.
fn read(columns: &[arrow::array::ArrayRef]) {
    for column in columns {
        column.to_data().validate_full().expect("it was checked");
        let shown = arrow::util::display::ArrayFormatter::try_new(column, &Default::default());
        if let (Ok(shown), false) = (shown, column.is_empty()) {
            let _ = shown.value(column.len() - 1).try_to_string();
        }
    }
}

/// What is seen of a component before it is compiled.
#[test]
fn fuzz_component() {
    let texts = [
        "(component (core module $m (memory 1) (table 3 funcref) (func $f) (elem func $f $f)) (core instance (instantiate $m)))",
        "(component $o (core module $m) (component $c (alias outer $o $m (core module $n)) (core instance (instantiate $n))) (instance (instantiate $c)) (export \"c\" (component $c)))",
        "(component (import \"m\" (core module $m)) (core instance $i (instantiate $m)) (alias core export $i \"f\" (core func)))",
    ];
    let seeds = texts.map(|text| wat::parse_str(text).expect("it is a component"));
    crate::fuzz::run("component", seeds.to_vec(), |input| {
        let _ = super::footprint::Footprint::of(input);
    });
}

#[test]
fn fuzz_guest() {
    let limits = Limits::default();
    crate::fuzz::run("guest", seeds(), |input| {
        let mut pieces = Pieces(input);
        let fields = pieces.fields();
        let Ok(schema) = schema::lift(&fields, &limits) else {
            return;
        };
        let lowered = schema::lower(&schema).expect("what came in goes out");
        assert_eq!(lowered.len(), fields.len());
        let columns = pieces.columns();
        let (sources, rejects) = (pieces.bytes().to_vec(), pieces.rejects());
        if let Ok(lifted) = wire::lift(&schema, columns.rows, columns.buffers.clone()) {
            read(&lifted);
            // What was let in can be handed out again, and is the same.
            let again = wire::lower(&lifted);
            let again = again.slices().iter().map(|slice| slice.to_vec()).collect();
            let again = wire::lift(&schema, columns.rows, again).expect("it was good");
            assert_eq!(again.len(), lifted.len());
        }
        calls(&schema, columns, &sources, rejects, &limits);
    });
}

fn calls(
    schema: &Schema,
    columns: types::ColumnsResult,
    sources: &[u8],
    rejects: Vec<types::Reject>,
    limits: &Limits,
) {
    use super::bindings::{mapper, windowed};
    let output = std::sync::Arc::new(schema.clone());
    let again = |columns: &types::ColumnsResult| types::ColumnsResult {
        rows: columns.rows,
        buffers: columns.buffers.clone(),
    };
    let finished = windowed::Finished {
        output: again(&columns),
        source_group: sources.to_vec(),
    };
    if let Ok(finished) = lift_finished(finished, &output, 3, limits.output_rows) {
        assert_eq!(finished.source_group.len(), finished.output.num_rows());
        assert!(finished.source_group.iter().all(|group| *group < 3));
    }
    let same = |reject: &types::Reject| types::Reject {
        row: reject.row,
        code: reject.code.clone(),
        detail: reject.detail.clone(),
    };
    let mapped = mapper::Mapped {
        output: again(&columns),
        source_row: sources.to_vec(),
        rejects: rejects.iter().map(same).collect(),
    };
    if let Ok(mapped) = lift_mapped(mapped, &output, 3, limits.output_rows) {
        assert_eq!(mapped.source_row.len(), mapped.output.num_rows());
    }
    let updated = windowed::Updated {
        states: columns,
        changed: Some(sources.to_vec()),
        rejects,
    };
    if let Ok(updated) = lift_updated(updated, schema, 3, 3, limits) {
        let changed = updated.changed.expect("it was given");
        assert!(changed.iter().all(|group| *group < 3));
        assert!(
            updated
                .rejects
                .iter()
                .all(|reject| reject.row < 3 && !reject.is_poison())
        );
    }
}
