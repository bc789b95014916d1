//! What each message says of where it comes from, as headers in decimal digits, so that every tool
//! shows them.

use rdkafka::message::{Header, Headers, OwnedHeaders};

use super::Published;

/// Pipeline and lane: `rides/3`; of what is beside the rows, `rides/3/late`.
const LANE: &str = "penstock-lane";
/// The lane's epoch.
const EPOCH: &str = "penstock-epoch";
/// The number of the row in the lane's output.
const SEQUENCE: &str = "penstock-sequence";
/// The generation of the transform that made it.
const GENERATION: &str = "penstock-generation";

pub(super) fn write(lane: &str, at: Published, generation: u64) -> OwnedHeaders {
    let number = |key, value: u64| (key, value.to_string());
    let mut headers = OwnedHeaders::new_with_capacity(4).insert(Header {
        key: LANE,
        value: Some(lane),
    });
    for (key, value) in [
        number(EPOCH, at.epoch),
        number(SEQUENCE, at.sequence),
        number(GENERATION, generation),
    ] {
        headers = headers.insert(Header {
            key,
            value: Some(&value),
        });
    }
    headers
}

/// The place of a message in the output of `lane`, if it is that lane's.
pub(super) fn read(headers: &impl Headers, lane: &str) -> Option<Published> {
    let (mut of_lane, mut epoch, mut sequence) = (false, None, None);
    for index in 0..headers.count() {
        // A name that is no UTF-8 makes rdkafka panic. Whoever writes such a message into a topic of
        // Penstock's must not keep its lanes from starting.
        let header =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| headers.try_get(index)));
        let Some(header) = header.ok().flatten() else {
            continue;
        };
        let text = header
            .value
            .and_then(|value| std::str::from_utf8(value).ok());
        match header.key {
            LANE => of_lane = text == Some(lane),
            EPOCH => epoch = text.and_then(|text| text.parse().ok()),
            SEQUENCE => sequence = text.and_then(|text| text.parse().ok()),
            _ => {}
        }
    }
    let at = Published {
        epoch: epoch?,
        sequence: sequence?,
    };
    of_lane.then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_for_their_lane_alone() {
        let at = Published {
            epoch: 3,
            sequence: u64::MAX,
        };
        let headers = write("rides/1", at, 7);
        assert_eq!(read(&headers, "rides/1"), Some(at));
        assert_eq!(read(&headers, "rides/10"), None);
        assert_eq!(read(&OwnedHeaders::new(), "rides/1"), None);
    }
}
