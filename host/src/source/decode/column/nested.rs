//! Columns of lists and structs.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, GenericListArray, NullBufferBuilder, OffsetSizeTrait, StructArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{FieldRef, Fields};
use hashbrown::HashMap;

use super::super::origin::code;
use super::super::scan::{Elements, Members, Syntax, skip_value, unescape};
use super::{Column, Misfit, Unsupported, Written, column, push};

/// The grammar was checked before a column sees a value, so this is not met; but nothing is taken on trust either.
fn malformed(syntax: Syntax) -> Misfit {
    Misfit::new(
        code::MALFORMED_JSON,
        format!("expected {}", syntax.expected),
    )
}

/// A column of lists with offsets of type `O`.
pub(super) struct ListColumn<O> {
    element: FieldRef,
    values: Box<dyn Column>,
    offsets: Vec<O>,
    nulls: NullBufferBuilder,
}

impl<O: OffsetSizeTrait> ListColumn<O> {
    pub(super) fn new(element: &FieldRef, depth: u32) -> Result<Self, Unsupported> {
        let values = column(element, depth + 1).map_err(|u| Unsupported {
            path: format!("[]{}", u.path),
            ..u
        })?;
        let nulls = NullBufferBuilder::new(0);
        Ok(Self {
            element: Arc::clone(element),
            values,
            offsets: vec![O::zero()],
            nulls,
        })
    }

    fn last_offset(&self) -> O {
        *self
            .offsets
            .last()
            .expect("the first offset, zero, is never removed")
    }
}

impl<O: OffsetSizeTrait> Column for ListColumn<O> {
    fn push(&mut self, written: Written<'_>) -> Result<(), Misfit> {
        if written.first() != b'[' {
            return Err(Misfit::wrong_type("List", written));
        }
        let mut elements = Elements::new(written.text, written.start + 1);
        let mut count = 0;
        while let Some(start) = elements.next_start().map_err(malformed)? {
            let end = skip_value(written.text, start, 1).map_err(malformed)?;
            push(
                self.values.as_mut(),
                self.element.is_nullable(),
                Some(Written {
                    start,
                    end,
                    ..written
                }),
            )
            .map_err(|misfit| misfit.within(format!("[{count}]")))?;
            elements.at = end;
            count += 1;
        }
        self.offsets.push(self.last_offset() + O::usize_as(count));
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.offsets.push(self.last_offset());
        self.nulls.append_null();
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.values.truncate(self.last_offset().as_usize());
        self.nulls.truncate(rows);
    }

    fn finish(&mut self) -> ArrayRef {
        let offsets = std::mem::replace(&mut self.offsets, vec![O::zero()]);
        Arc::new(GenericListArray::<O>::new(
            Arc::clone(&self.element),
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            self.values.finish(),
            self.nulls.finish(),
        ))
    }
}

/// A column of structs. Members of the object that are not fields of the struct are skipped; of a member that stands
/// there twice, the last counts.
pub(super) struct StructColumn {
    fields: Fields,
    by_name: HashMap<Box<[u8]>, usize>,
    children: Vec<Box<dyn Column>>,
    /// Where the fields of the object at hand stand.
    found: Vec<Option<(usize, usize)>>,
    nulls: NullBufferBuilder,
}

impl StructColumn {
    pub(super) fn new(fields: &Fields, depth: u32) -> Result<Self, Unsupported> {
        let children: Result<Vec<_>, _> = fields
            .iter()
            .map(|field| {
                column(field, depth + 1).map_err(|u| Unsupported {
                    path: format!(".{}{}", field.name(), u.path),
                    ..u
                })
            })
            .collect();
        let by_name = fields
            .iter()
            .enumerate()
            .map(|(i, f)| (Box::from(f.name().as_bytes()), i))
            .collect();
        Ok(Self {
            fields: fields.clone(),
            by_name,
            children: children?,
            found: vec![None; fields.len()],
            nulls: NullBufferBuilder::new(0),
        })
    }

    /// Notes where the fields stand.
    fn find(&mut self, written: Written<'_>) -> Result<(), Misfit> {
        self.found.fill(None);
        let mut members = Members::new(written.text, written.start + 1);
        while let Some((name, start)) = members.next_start().map_err(malformed)? {
            let end = skip_value(written.text, start, 1).map_err(malformed)?;
            let raw = &written.text[name.start..name.end];
            let field = if raw.contains(&b'\\') {
                let quoted = Written {
                    start: name.start - 1,
                    end: name.end + 1,
                    ..written
                };
                let plain =
                    unescape(quoted.bytes()).ok_or_else(|| Misfit::lone_surrogate(quoted))?;
                self.by_name.get(plain.as_bytes())
            } else {
                self.by_name.get(raw)
            };
            if let Some(&field) = field {
                self.found[field] = Some((start, end));
            }
            members.at = end;
        }
        Ok(())
    }
}

impl Column for StructColumn {
    fn push(&mut self, written: Written<'_>) -> Result<(), Misfit> {
        if written.first() != b'{' {
            return Err(Misfit::wrong_type("Struct", written));
        }
        self.find(written)?;
        for ((child, found), field) in self.children.iter_mut().zip(&self.found).zip(&self.fields) {
            let value = found.map(|(start, end)| Written {
                start,
                end,
                ..written
            });
            push(child.as_mut(), field.is_nullable(), value)
                .map_err(|misfit| misfit.within(format!(".{}", field.name())))?;
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// Under a null, a child that may not be null gets one as well: Arrow allows it where the parent hides it.
    fn push_null(&mut self) {
        for child in &mut self.children {
            child.push_null();
        }
        self.nulls.append_null();
    }

    fn truncate(&mut self, rows: usize) {
        for child in &mut self.children {
            child.truncate(rows);
        }
        self.nulls.truncate(rows);
    }

    fn finish(&mut self) -> ArrayRef {
        let rows = self.nulls.len();
        let children: Vec<ArrayRef> = self
            .children
            .iter_mut()
            .map(|child| child.finish())
            .collect();
        debug_assert!(
            children.iter().all(|child| child.len() == rows),
            "a row is a row in every child"
        );
        let array = StructArray::try_new_with_length(
            self.fields.clone(),
            children,
            self.nulls.finish(),
            rows,
        );
        Arc::new(
            array.expect("each child was built from its field, and nulls were checked against it"),
        )
    }
}
