//! How a lane comes to a generation when it is opened: as it was left, forward, or back.
//!
//! A commit names one generation, and whoever opens the lane goes on from there. If another generation is wanted by
//! then, the lane goes over to it before it judges anything: it takes a snapshot, and the next commit names the new
//! generation and the snapshot. What is written before that commit is undone where it does not come. If the lane's
//! generation was taken back, everything of the lane is put back as it was at that snapshot, the cursors last: what the
//! lane reads from there on, it reads once more, under a higher epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::keeper::KeeperError;
use crate::pipeline::swap::Running;
use crate::source::live::SplitCursor;
use crate::store::embedded::Restored;
use crate::transform::WindowedSpec;

/// The way back from a generation, as a commit says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Undo {
    /// The generation before.
    pub(super) from: u64,
    /// What the lane was then.
    pub(super) snapshot: String,
    /// How far each split was judged then.
    #[serde(default)]
    pub(super) splits: BTreeMap<String, SplitCursor>,
}

/// What states are, as a commit says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StateShape {
    pub(super) version: u32,
    /// Their columns; in what is kept, as a schema of Arrow's IPC format in base64.
    #[serde(with = "kept_columns")]
    pub(super) columns: SchemaRef,
}

impl StateShape {
    pub(super) fn of(spec: &WindowedSpec) -> Self {
        Self {
            version: spec.state_version,
            columns: Arc::clone(&spec.state),
        }
    }
}

mod kept_columns {
    use std::sync::Arc;

    use arrow::datatypes::SchemaRef;
    use arrow_ipc::convert::{IpcSchemaEncoder, fb_to_schema};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use serde::de::{Deserialize as _, Deserializer, Error as _};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(columns: &SchemaRef, to: S) -> Result<S::Ok, S::Error> {
        let encoded = IpcSchemaEncoder::new().schema_to_fb(columns);
        to.serialize_str(&BASE64.encode(encoded.finished_data()))
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<SchemaRef, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = BASE64.decode(text).map_err(D::Error::custom)?;
        let schema = arrow_ipc::root_as_schema(&bytes).map_err(D::Error::custom)?;
        Ok(Arc::new(fb_to_schema(schema)))
    }
}

/// What is to be done with a lane before it works on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Stay,
    /// It goes over from this generation.
    Forward(u64),
    /// It goes over from this generation, whose states are to be taken over.
    Migrate(u64),
    /// It forgets what it was in this generation, and begins anew.
    Anew(u64),
    /// It goes back to this.
    Back(Undo),
}

/// What a lane's last commit says of its generation.
pub(super) struct Left<'a> {
    pub(super) lane: u32,
    /// Zero where generations had no numbers yet.
    pub(super) generation: u64,
    pub(super) undo: Option<&'a Undo>,
    pub(super) state: Option<&'a StateShape>,
}

/// What is to be done with a lane that was left like this, by a host that runs a generation whose states are this.
/// `takes` says whether it takes over others.
pub(super) fn step(
    left: &Left<'_>,
    running: &Running,
    state: Option<&StateShape>,
    takes: &dyn Fn(&StateShape) -> bool,
) -> Result<Step, KeeperError> {
    let lane = left.lane;
    let generation = left.generation.max(1);
    if running.undone.contains(&generation) {
        return match left.undo {
            Some(undo) => Ok(Step::Back(undo.clone())),
            None => Err(KeeperError::NoWayBack { lane, generation }),
        };
    }
    match generation.cmp(&running.number) {
        std::cmp::Ordering::Equal => Ok(Step::Stay),
        std::cmp::Ordering::Greater => Err(KeeperError::Newer {
            lane,
            generation,
            ours: running.number,
        }),
        std::cmp::Ordering::Less if running.fresh => Ok(Step::Anew(generation)),
        std::cmp::Ordering::Less => match (left.state, state) {
            (Some(then), Some(now)) if then != now && takes(then) => Ok(Step::Migrate(generation)),
            (Some(then), Some(now)) if then != now => Err(KeeperError::OtherState {
                lane,
                before: then.version,
                now: now.version,
            }),
            _ => Ok(Step::Forward(generation)),
        },
    }
}

/// What is noted of a lane that went back.
pub(super) fn noted(lane: u32, undo: &Undo, restored: Restored) -> String {
    let Restored {
        put_back,
        withdrawn,
        records,
    } = restored;
    format!(
        "lane {lane} went back to generation {}: {put_back} served items are as they were, {withdrawn} were withdrawn, {records} records of state were put back; it reads on from where it was then",
        undo.from
    )
}

/// Whether two windowed transforms can take each other's place in a lane that has its state in memory.
pub(super) fn are_alike(one: &WindowedSpec, other: &WindowedSpec) -> bool {
    one.columns == other.columns
        && one.state == other.state
        && one.state_version == other.state_version
        && one.initial == other.initial
        && one.output == other.output
}

/// A generation with its number alone, in tests.
#[cfg(test)]
fn running(number: u64, undone: &[u64], fresh: bool) -> Running {
    Running {
        number,
        undone: undone.iter().copied().collect(),
        fresh,
        probation: None,
        is_committed: Arc::default(),
        digest: String::new(),
        identity: crate::pipeline::commit::Identity::of(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn what_states_are_is_kept() {
        let list = DataType::new_list(DataType::Utf8, true);
        let metadata = [("unit".to_owned(), "metres".to_owned())];
        let fields = vec![
            Field::new("names", list, false),
            Field::new("far", DataType::Float32, true).with_metadata(metadata.into()),
        ];
        let shape = StateShape {
            version: 3,
            columns: Arc::new(Schema::new(fields)),
        };
        let text = serde_json::to_string(&shape).unwrap();
        assert_eq!(serde_json::from_str::<StateShape>(&text).unwrap(), shape);
        let damaged = text.replacen("columns\":\"", "columns\":\"AAAA", 1);
        assert!(serde_json::from_str::<StateShape>(&damaged).is_err());
    }

    #[test]
    fn a_lane_stays_goes_forward_or_back() {
        let undo = Undo {
            from: 2,
            snapshot: "then".to_owned(),
            splits: BTreeMap::new(),
        };
        let state = |version| StateShape {
            version,
            columns: Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)])),
        };
        let step = |generation, running: &Running, version| {
            let left = Left {
                lane: 7,
                generation,
                undo: Some(&undo),
                state: Some(&state(1)),
            };
            // It takes over the states of the version before its own.
            let takes = |before: &StateShape| before.version + 1 == version;
            super::step(&left, running, Some(&state(version)), &takes)
        };
        assert_eq!(step(3, &running(3, &[], false), 1).unwrap(), Step::Stay);
        assert_eq!(
            step(2, &running(3, &[], false), 1).unwrap(),
            Step::Forward(2)
        );
        assert_eq!(step(2, &running(3, &[], true), 9).unwrap(), Step::Anew(2));
        // Without a number it is the first.
        assert_eq!(step(0, &running(1, &[], false), 1).unwrap(), Step::Stay);
        let back = Step::Back(undo.clone());
        assert_eq!(step(3, &running(2, &[3], false), 1).unwrap(), back);
        // Also where the next one is wanted already.
        assert_eq!(step(3, &running(4, &[3], false), 1).unwrap(), back);
        assert!(matches!(
            step(3, &running(2, &[], false), 1),
            Err(KeeperError::Newer { ours: 2, .. })
        ));
        assert_eq!(
            step(2, &running(3, &[], false), 2).unwrap(),
            Step::Migrate(2)
        );
        assert!(matches!(
            step(2, &running(3, &[], false), 3),
            Err(KeeperError::OtherState {
                before: 1,
                now: 3,
                ..
            })
        ));
        let left = Left {
            lane: 7,
            generation: 3,
            undo: None,
            state: None,
        };
        assert!(matches!(
            super::step(&left, &running(2, &[3], false), None, &|_| false),
            Err(KeeperError::NoWayBack { generation: 3, .. })
        ));
    }
}
