//! What the databases of lanes ask of object storage, or of the disk.

use std::fmt;

use super::{Seen, by_lane};
use crate::serve::families::{Families, bytes, plain};

pub(super) fn requests(families: &mut Families<'_>, seen: &[Seen]) -> fmt::Result {
    let requests = seen.iter().flat_map(|seen| {
        seen.lanes.iter().flat_map(move |(number, lane)| {
            let counts = lane.store_requests();
            let named = counts.map(|counts| counts.by_name());
            named.into_iter().flatten().map(move |(op, count)| {
                let mut labels = seen.lane_labels(*number);
                labels.push(("op", op.to_owned()));
                (labels, count)
            })
        })
    });
    families.counter(
        plain(
            "penstock_store_requests",
            "Requests of the lane's database to object storage, or to the disk",
        ),
        requests,
    )?;
    families.counter(
        bytes(
            "penstock_store_read",
            "What the lane's database read from object storage, or from the disk",
        ),
        by_lane(seen, |lane| Some(lane.store_requests()?.read_bytes)),
    )?;
    families.counter(
        bytes(
            "penstock_store_written",
            "What the lane's database wrote to object storage, or to the disk",
        ),
        by_lane(seen, |lane| Some(lane.store_requests()?.written_bytes)),
    )
}
