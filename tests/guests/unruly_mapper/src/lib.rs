//! A mapper that misbehaves as its configuration says when it meets a row of amount 13. It goes
//! around the SDK's own checks.

use penstock_sdk::contract::{Mapped, MapperSpec, Opening, Reject};
use penstock_sdk::native::{Batch, MapByRows, Mapping};
use penstock_sdk::prelude::{Config, Failure, Mapper, Output, Row, export_mapper, log, metrics};

/// A row.
#[derive(Row)]
pub struct Entry {
    key: i64,
    amount: f64,
}

/// The same row.
#[derive(Output)]
pub struct Copy {
    key: i64,
    amount: f64,
}

/// Lets every row through.
#[derive(Default)]
pub struct Through;

impl Mapper for Through {
    type Row<'a> = Entry;
    type Output<'a> = Copy;

    fn open(_config: &Config<'_>) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn map(&self, entry: Entry) -> Result<Copy, penstock_sdk::Reject> {
        Ok(Copy {
            key: entry.key,
            amount: entry.amount,
        })
    }
}

/// The mapper.
pub struct UnrulyMapper {
    through: MapByRows<Through>,
    misdeed: String,
}

impl Mapping for UnrulyMapper {
    fn open(opening: &Opening) -> Result<(Self, MapperSpec), Failure> {
        let misdeed = opening.config.split('"').nth(3).unwrap_or_default();
        let (through, mut spec) = MapByRows::open(opening)?;
        match misdeed {
            "needs-nothing" => spec.needs.clear(),
            "needs-ghosts" => spec.needs[0].columns.push("ghost".into()),
            "no-output" => spec.output.clear(),
            "twins" => spec.output[1].name = "key".into(),
            _ => {}
        }
        let misdeed = misdeed.to_owned();
        Ok((Self { through, misdeed }, spec))
    }

    fn map(&self, event: u32, input: Batch<'_>) -> Result<Mapped, Failure> {
        let mapped = self.through.map(event, input)?;
        let amounts = mapped.output.buffers[3].as_chunks::<8>().0;
        if amounts
            .iter()
            .any(|amount| f64::from_le_bytes(*amount) == 13.0)
        {
            return self.misbehave(mapped);
        }
        Ok(mapped)
    }
}

impl UnrulyMapper {
    fn misbehave(&self, mut mapped: Mapped) -> Result<Mapped, Failure> {
        let rows = mapped.output.rows;
        let sources = &mut mapped.source_row;
        let reject = |row: u32, code: &str| Reject {
            row,
            code: code.into(),
            detail: String::new(),
        };
        match self.misdeed.as_str() {
            "short" => sources.truncate(sources.len() - 4),
            "ragged" => sources.push(0),
            "long" => sources.extend_from_slice(&(rows - 1).to_le_bytes()),
            "backwards" => sources[..8].rotate_left(4),
            "beyond" => {
                sources.truncate(sources.len() - 4);
                sources.extend_from_slice(&rows.to_le_bytes());
            }
            "both" => mapped.rejects.push(reject(3, "c")),
            "reject-beyond" => mapped.rejects.push(reject(rows, "c")),
            "reject-backwards" => {
                mapped = nothing(mapped);
                mapped.rejects = vec![reject(2, "c"), reject(1, "c")];
            }
            "mislabel" => {
                mapped = nothing(mapped);
                mapped.rejects.push(reject(0, "\u{1b}[2J"));
            }
            "many-codes" => {
                mapped = nothing(mapped);
                let codes = (0..40).map(|row| reject(row, &format!("c{row}")));
                mapped.rejects.extend(codes);
            }
            "cut-column" => mapped.output.buffers[3].truncate(7),
            "more-rows" => mapped.output.rows += 1,
            "null" => mapped.output.buffers[0] = vec![0; rows.div_ceil(8) as usize],
            "flood" => mapped.output.buffers[3].resize(2 << 20, 0),
            "spin" => loop {
                std::hint::black_box(rows);
            },
            "allocate" => {
                let mut all = Vec::new();
                loop {
                    all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
                }
            }
            "panic" => panic!("thirteen"),
            "fail" => return Err(Failure::Internal("no thirteens".into())),
            "chatter" => {
                for line in 0..1000 {
                    log::info!("line {line}");
                }
                metrics::count("thirteens", 1);
            }
            _ => {}
        }
        Ok(mapped)
    }
}

fn nothing(mut mapped: Mapped) -> Mapped {
    mapped.output.rows = 0;
    mapped.output.buffers.iter_mut().for_each(Vec::clear);
    mapped.source_row.clear();
    mapped
}

export_mapper!(@ UnrulyMapper);
