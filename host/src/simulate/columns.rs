//! Offers as Parquet: the same rows as the NDJSON, with types.
//!
//! | column | type |
//! | --- | --- |
//! | `offer_id`, `city` | string |
//! | `occurred_at` | timestamp, microseconds, UTC |
//! | `driver_id`, `rider_id`, `pickup_eta_s` | int64 |
//! | `accepted` | boolean |
//!
//! All columns may be null for a reader, as in a stream of a real service; this simulator writes no nulls.

use std::{io::Write, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanBuilder, Int64Builder, RecordBatch, StringBuilder,
        TimestampMicrosecondBuilder,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use parquet::{
    arrow::ArrowWriter, basic::Compression, errors::Result, file::properties::WriterProperties,
    schema::types::ColumnPath,
};

use super::{ndjson::uuid, rides::Offer};

/// Rows in a row group; see [`super::RidesFormat::Parquet`].
const ROWS_PER_GROUP: usize = 1_048_576;

/// Rows handed to the Parquet writer at once.
const ROWS_PER_BATCH: usize = 8_192;

/// Gathers rows into columns and writes them.
#[derive(Debug)]
pub(super) struct ColumnWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    columns: Columns,
}

impl<W: Write + Send> ColumnWriter<W> {
    pub(super) fn new(file: W) -> Result<Self> {
        let plain = |builder: parquet::file::properties::WriterPropertiesBuilder, column: &str| {
            builder.set_column_dictionary_enabled(ColumnPath::from(column), false)
        };
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            // The version of the library is no part of the data.
            .set_created_by("penstock simulate rides".to_owned())
            .set_max_row_group_row_count(Some(ROWS_PER_GROUP));
        // Nearly every row has its own value, so a dictionary would only be built to be thrown away.
        for column in ["offer_id", "occurred_at", "rider_id"] {
            properties = plain(properties, column);
        }
        let writer = ArrowWriter::try_new(file, schema(), Some(properties.build()))?;
        Ok(ColumnWriter {
            writer,
            columns: Columns::default(),
        })
    }

    pub(super) fn write(&mut self, offer: &Offer) -> Result<()> {
        self.columns.push(offer);
        if self.columns.rows == ROWS_PER_BATCH {
            self.writer.write(&self.columns.take())?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<()> {
        if self.columns.rows > 0 {
            self.writer.write(&self.columns.take())?;
        }
        self.writer.close()?;
        Ok(())
    }
}

fn schema() -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("offer_id", DataType::Utf8),
        field(
            "occurred_at",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ),
        field("driver_id", DataType::Int64),
        field("rider_id", DataType::Int64),
        field("city", DataType::Utf8),
        field("pickup_eta_s", DataType::Int64),
        field("accepted", DataType::Boolean),
    ]))
}

#[derive(Debug, Default)]
struct Columns {
    rows: usize,
    offer_id: StringBuilder,
    occurred_at: TimestampMicrosecondBuilder,
    driver_id: Int64Builder,
    rider_id: Int64Builder,
    city: StringBuilder,
    pickup_eta_s: Int64Builder,
    accepted: BooleanBuilder,
}

impl Columns {
    fn push(&mut self, offer: &Offer) {
        let id = uuid(offer.offer_id);
        self.offer_id.append_value(
            std::str::from_utf8(&id).expect("hexadecimal digits and hyphens are ASCII"),
        );
        self.occurred_at.append_value(offer.occurred_at_ms * 1_000);
        self.driver_id.append_value(i64::from(offer.driver_id));
        self.rider_id.append_value(offer.rider_id as i64);
        self.city.append_value(offer.city);
        self.pickup_eta_s
            .append_value(i64::from(offer.pickup_eta_s));
        self.accepted.append_value(offer.accepted);
        self.rows += 1;
    }

    fn take(&mut self) -> RecordBatch {
        self.rows = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.offer_id.finish()),
            Arc::new(self.occurred_at.finish().with_timezone("UTC")),
            Arc::new(self.driver_id.finish()),
            Arc::new(self.rider_id.finish()),
            Arc::new(self.city.finish()),
            Arc::new(self.pickup_eta_s.finish()),
            Arc::new(self.accepted.finish()),
        ];
        RecordBatch::try_new(schema(), columns)
            .expect("the builders are those of the schema, a row each")
    }
}
