//! Which columns of an event somebody asks for.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

/// Columns of a schema, none twice, in the order in which they are asked for. What nobody asks for is
/// neither decoded nor divided.
#[derive(Clone)]
pub(super) struct Selection<'a> {
    of: &'a Schema,
    fields: Vec<Arc<Field>>,
}

impl<'a> Selection<'a> {
    /// None of its columns yet.
    pub(super) fn of(of: &'a Schema) -> Self {
        Self {
            of,
            fields: Vec::new(),
        }
    }

    /// Where a column of this name will be, which there is.
    pub(super) fn at(&mut self, name: &str) -> usize {
        let known = self.fields.iter().position(|field| field.name() == name);
        known.unwrap_or_else(|| {
            let (index, _) = self.of.column_with_name(name).expect("checked before");
            self.fields.push(Arc::clone(&self.of.fields()[index]));
            self.fields.len() - 1
        })
    }

    /// The same of several.
    pub(super) fn all(&mut self, names: &[String]) -> Vec<usize> {
        names.iter().map(|name| self.at(name)).collect()
    }

    /// All that were asked for.
    pub(super) fn schema(self) -> SchemaRef {
        Arc::new(Schema::new(self.fields))
    }
}
