//! Guests that cannot finish any of their windows, each of which is kept for the version that comes next.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::Schema;
use futures::FutureExt;
use futures::future::BoxFuture;
use penstock::pipeline::Host;
use penstock::sandbox::Instance;
use penstock::transform::{CallError, Finished, Groups, Merged, Reject, Rows, Updated, Windowed};
use penstock::window::{
    Calls, Codec, Emission, Emit, RowBatch, Sequences, Unfinished, WindowError, Windows,
};

use super::attack::{Attack, Ends, opened};
use super::guest::{Entry, Guest};
use crate::support::Folder;

/// Keys, each with a window that closes.
const KEYS: i64 = 1_000;

pub(super) fn attacks() -> Vec<Attack> {
    let guest = Guest::windowed().body(Entry::Finish, "(unreachable)");
    let attack = Attack::keeping(
        "keep_more_windows_than_there_is_room_for",
        Entry::Finish,
        "unfinished_bytes",
        guest,
    );
    vec![
        attack
            .limits("unfinished_bytes = \"16KiB\"")
            .ending(Ends::Drops),
    ]
}

/// What a lane does with a transform that fails, once it is known on which windows: here on all of them.
struct Failing(Instance);

impl Windowed for Failing {
    fn accumulate<'a>(
        &'a mut self,
        rows: Rows<'a>,
        groups: Groups<'a>,
    ) -> BoxFuture<'a, Result<Updated, CallError>> {
        self.0.accumulate(rows, groups)
    }

    fn merge<'a>(
        &'a mut self,
        earlier: Groups<'a>,
        later: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Merged, CallError>> {
        self.0.merge(earlier, later)
    }

    fn finish<'a>(
        &'a mut self,
        groups: Groups<'a>,
        bounds: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Finished, CallError>> {
        async move {
            let Err(error) = self.0.finish(groups, bounds).await else {
                panic!("it fails");
            };
            let failed = (0..groups.len as u32).map(|row| Reject {
                row,
                code: "poison:trap".to_owned(),
                detail: error.to_string(),
            });
            Ok(Finished {
                output: RecordBatch::new_empty(Arc::new(Schema::empty())),
                source_group: Vec::new(),
                failed: failed.collect(),
            })
        }
        .boxed()
    }
}

struct Nowhere;

impl Emit for Nowhere {
    fn emit(&mut self, _emission: Emission) -> BoxFuture<'_, Result<(), WindowError>> {
        async { Ok(()) }.boxed()
    }
}

/// Opens an attacker as its pipeline does, has windows of many keys close, and sees to it that what is kept of them is
/// within the limit. Gives how many were not kept.
///
/// # Errors
///
/// What is said of it, and of which pipeline.
pub(super) fn keep(name: &str, host: &Host, folder: &Folder) -> Result<u64, String> {
    let opened = opened(host, folder)?;
    let (plan, limits) = (&opened.plan, &opened.declaration.limits);
    let planned = plan.windows().expect("it has windows");
    let opener = opened.opener().expect("it has windows");
    let kept = host.lanes.block_on(async {
        let failing = Failing(opener.instance(name).await?);
        let mut calls = Calls::new(Box::new(failing), plan.call_bytes, plan.call_groups);
        let codec = Codec::new(&plan.key_schema, &planned.spec.state)?;
        calls.keep_unfinished(Unfinished::new(
            codec,
            &opened.digest,
            limits.unfinished_bytes,
        ));
        let mut windows = Windows::new(&planned.shape, &plan.key_schema, &planned.spec)?;
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..KEYS));
        let amounts: ArrayRef = Arc::new(Float64Array::from(vec![1.0; KEYS as usize]));
        let batch = RowBatch {
            input: vec![amounts],
            keys: vec![keys],
            event_times: vec![0; KEYS as usize].into(),
            watermarks: None,
            sequences: Sequences::From(0),
            watermark: 60_000_000,
            next_sequence: KEYS as u64,
            partials: None,
        };
        let outcome = windows.batch(&batch, &mut calls, &mut Nowhere).await?;
        assert_eq!(outcome.closed, KEYS as u64);
        let unfinished = calls.unfinished().expect("they are kept");
        let bytes = unfinished.changes().into_iter().map(|(key, value)| {
            let value = value.expect("nothing is forgotten");
            (key.len() + value.len()) as u64
        });
        let bytes: u64 = bytes.sum();
        assert!(bytes > 0 && bytes <= limits.unfinished_bytes, "{bytes}");
        Ok(calls.unfinished_counts())
    });
    let kept = kept.map_err(|error: WindowError| format!("{name}: {error}"))?;
    assert_eq!(kept.kept + kept.dropped, KEYS as u64);
    Ok(kept.dropped)
}
