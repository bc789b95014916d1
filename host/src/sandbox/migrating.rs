//! Taking over states of an older version: the contract's `migration`, of an opened windowed transform.

use arrow::array::ArrayRef;
use arrow::datatypes::Schema;

use super::arrow as wire;
use super::exchange::{lift_rows, refuse_large_states};
use super::instance::Instance;
use super::meter::CpuMeter;
use super::schema;
use super::session::param;
use crate::transform::CallError;

impl Instance {
    /// Turns states of an older version, in the schema that they have, into as many states of this one, row by row.
    ///
    /// # Errors
    ///
    /// The component takes over no states, fails, or gives something else than so many states of its own.
    pub async fn migrate(
        &mut self,
        version: u32,
        schema: &Schema,
        states: &[ArrayRef],
        rows: usize,
    ) -> Result<Vec<ArrayRef>, CallError> {
        const CALL: &str = "migrate";
        let guest = self.migration.as_ref().map_err(Clone::clone)?;
        let fields = schema::lower(schema).map_err(|message| CallError::Failure {
            call: CALL,
            kind: "bad input",
            message,
        })?;
        let metadata = schema::borrowed_metadata(&fields);
        let fields = schema::borrowed(&fields, &metadata);
        let old = wire::lower(states);
        let meter = self.session.begin(CALL)?;
        let result = CpuMeter::run(
            meter,
            guest.call_migrate_states(
                &mut self.session.store,
                version,
                &fields,
                param(rows, &old.slices()),
            ),
        )
        .await;
        self.session.end(CALL, result, |migrated, limits, _| {
            let states = lift_rows(&self.spec.state, migrated, rows)?;
            refuse_large_states(&states, limits.state_per_group)?;
            Ok(states)
        })
    }
}
