//! Avro: one record a message, behind the id of its schema (Confluent's framing) or without.
//!
//! In: messages, and where their schemas are. Out: the wanted columns. Every schema is looked up once, and how its
//! records become rows is worked out once (`plan`); reading (`read`) then goes through the bytes of a record alone.
//!
//! All schemas of a batch are at hand before its first record is read: so a registry that is down leaves nothing half
//! done, and never makes a reject.

mod infer;
mod plan;
mod read;
mod schema;
mod wire;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Fields, SchemaRef};

use self::plan::RecordPlan;
pub use self::schema::AvroSchema;
use super::super::batch::Refusal;
use super::super::origin::code;
use super::outcome::Outcome;
use super::registry::{Found, Registry};
use super::values::Values;
use super::{Inferred, MessageError, columns_of, framing};
use crate::source::messages::Messages;

/// Where the schemas of Avro messages are.
#[derive(Debug, Clone)]
pub enum AvroSchemas {
    /// In a registry; each message begins with a zero byte and the id of its schema.
    Registry(Arc<Registry>),
    /// In a file, for all messages.
    File {
        /// The schema that the messages were written with.
        schema: Arc<AvroSchema>,
        /// Whether messages begin with a zero byte and an id, which then says nothing.
        framed: bool,
    },
}

impl AvroSchema {
    /// Reads a schema from a file (`.avsc`).
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no Avro schema.
    pub fn read(path: &Path) -> Result<Self, MessageError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| MessageError::Open {
            file: file.clone(),
            source,
        })?;
        Self::parse(&text).map_err(|reason| MessageError::BadSchemaFile {
            file,
            format: "Avro",
            reason,
        })
    }

    /// The columns of its record. All are nullable, since later schemas may do without them.
    ///
    /// # Errors
    ///
    /// It is no record; the reason is a sentence without its subject.
    pub fn infer(&self) -> Result<Inferred, String> {
        infer::columns(self)
    }
}

/// Decodes Avro messages.
pub(super) struct AvroMessages {
    schemas: AvroSchemas,
    wanted: Fields,
    columns: Values,
    /// By id; the one schema of a file has any.
    plans: HashMap<u32, Plan>,
}

/// How records of a schema are read; or why none of them can be.
type Plan = Result<(Arc<AvroSchema>, RecordPlan), (&'static str, String)>;

impl AvroMessages {
    pub(super) fn new(schemas: &AvroSchemas, wanted: &SchemaRef) -> Result<Self, MessageError> {
        let mut this = Self {
            schemas: schemas.clone(),
            columns: columns_of("Avro", wanted.fields())?,
            wanted: wanted.fields().clone(),
            plans: HashMap::new(),
        };
        if let AvroSchemas::File { schema, .. } = schemas {
            let plan =
                RecordPlan::root(schema, &this.wanted).map_err(|misfit| MessageError::Unfit {
                    format: "the Avro schema",
                    reason: match misfit.code {
                        code::BAD_SCHEMA => misfit.what.clone(),
                        _ => misfit.reason(""),
                    },
                })?;
            this.plans.insert(0, Ok((Arc::clone(schema), plan)));
        }
        Ok(this)
    }

    /// The columns that are filled.
    pub(super) fn columns(&mut self) -> &mut Values {
        &mut self.columns
    }

    pub(super) fn decode(
        &mut self,
        messages: &Messages,
        first: usize,
        outcome: &mut Outcome,
    ) -> Result<(), MessageError> {
        let unknown = self.look_up(messages, first)?;
        for (number, value) in messages.values.iter().enumerate().skip(first) {
            let Some(value) = outcome.value(number, value) else {
                continue;
            };
            match self.read(value, &unknown) {
                Ok(()) => outcome.push(number, 1),
                Err(refusal) => {
                    self.columns.truncate(outcome.rows());
                    outcome.refuse_bytes(number, refusal, value);
                }
            }
        }
        Ok(())
    }

    /// Sees to it that the schemas of all messages are at hand; gives those that the registry does not have.
    fn look_up(
        &mut self,
        messages: &Messages,
        first: usize,
    ) -> Result<HashMap<u32, Refusal>, MessageError> {
        let mut unknown = HashMap::new();
        let AvroSchemas::Registry(registry) = &self.schemas else {
            return Ok(unknown);
        };
        let mut last = None;
        for value in messages.values.iter().skip(first).flatten() {
            let Ok((id, _)) = framing::confluent(value) else {
                continue;
            };
            if last.replace(id) == Some(id)
                || self.plans.contains_key(&id)
                || unknown.contains_key(&id)
            {
                continue;
            }
            match registry.schema(id)? {
                Found::Schema(schema) => {
                    self.plans.insert(id, plan(id, &schema, &self.wanted));
                }
                Found::Unreadable(reason) => {
                    let refusal = (code::BAD_SCHEMA, format!("schema {id} {reason}"));
                    self.plans.insert(id, Err(refusal));
                }
                Found::Unknown => {
                    let refusal = Refusal {
                        code: code::UNKNOWN_SCHEMA,
                        reason: format!("schema {id} is unknown to the registry at {registry}"),
                    };
                    unknown.insert(id, refusal);
                }
            }
        }
        Ok(unknown)
    }

    /// Appends a row.
    fn read(&mut self, value: &[u8], unknown: &HashMap<u32, Refusal>) -> Result<(), Refusal> {
        let (id, record) = match &self.schemas {
            AvroSchemas::Registry(_) => framing::confluent(value)?,
            AvroSchemas::File { framed: true, .. } => (0, framing::confluent(value)?.1),
            AvroSchemas::File { framed: false, .. } => (0, value),
        };
        let (schema, plan) = match self.plans.get(&id) {
            Some(Ok(plan)) => plan,
            Some(Err((code, reason))) => {
                return Err(Refusal {
                    code,
                    reason: reason.clone(),
                });
            }
            None => {
                let refusal = unknown.get(&id).map(|refusal| refusal.reason.clone());
                return Err(Refusal {
                    code: code::UNKNOWN_SCHEMA,
                    reason: refusal.unwrap_or_else(|| format!("schema {id} is unknown")),
                });
            }
        };
        read::read_message(schema, plan, record, &mut self.columns)
            .map_err(|fault| fault.refusal(value.len() - record.len()))
    }
}

/// How records of schema `id` are read.
fn plan(id: u32, schema: &Arc<AvroSchema>, wanted: &Fields) -> Plan {
    match RecordPlan::root(schema, wanted) {
        Ok(plan) => Ok((Arc::clone(schema), plan)),
        Err(misfit) => {
            let what = match misfit.code {
                code::BAD_SCHEMA => format!(" {}", misfit.what),
                _ => format!(": {}", misfit.reason("")),
            };
            Err((misfit.code, format!("schema {id}{what}")))
        }
    }
}

#[cfg(test)]
mod tests;
