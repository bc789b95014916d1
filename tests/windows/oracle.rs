//! A naive oracle: one row at a time, maps and sorts, nothing shared with the host.

use std::collections::BTreeMap;

/// A row of a split; every column may be null.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) at: Option<i64>,
    pub(super) city: Option<String>,
    pub(super) rider: Option<i64>,
    pub(super) amount: Option<f64>,
    pub(super) note: Option<String>,
}

/// What must come out for a key in a window.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Total {
    pub(super) rows: u64,
    pub(super) sum: f64,
    pub(super) last_note: Option<String>,
    pub(super) notes: Vec<Option<String>>,
    pub(super) digest: u64,
}

/// Where rows must end.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Expected {
    /// By window end, then key.
    pub(super) windows: BTreeMap<(i64, String, i64), Total>,
    pub(super) applied: u64,
    pub(super) late: u64,
    pub(super) null_event_time: u64,
    pub(super) null_key: u64,
    pub(super) negative: u64,
}

/// Works out what must come of splits that are merged by (event time, split, position), in
/// windows of `size` shifted by `offset`, with `disorder` allowed; all in microseconds.
pub(super) fn expected(splits: &[Vec<Row>], size: i64, offset: i64, disorder: i64) -> Expected {
    let mut expected = Expected::default();
    // Rows without an event time belong to no order.
    let splits: Vec<Vec<&Row>> = splits
        .iter()
        .map(|rows| {
            let timed: Vec<&Row> = rows.iter().filter(|row| row.at.is_some()).collect();
            expected.null_event_time += (rows.len() - timed.len()) as u64;
            timed
        })
        .collect();
    let mut next = vec![0; splits.len()];
    let time = |split: usize, at: usize| splits[split].get(at).and_then(|row| row.at);
    // The merge has looked at each split's next row, so that row counts as seen.
    let mut seen: Vec<Option<i64>> = (0..splits.len()).map(|split| time(split, 0)).collect();
    loop {
        let heads = (0..splits.len()).filter_map(|split| Some((time(split, next[split])?, split)));
        let Some((at, split)) = heads.min() else {
            return expected;
        };
        let live = (0..splits.len()).filter(|split| next[*split] < splits[*split].len());
        let watermark = live
            .filter_map(|split| seen[split])
            .min()
            .expect("one is live")
            - disorder;
        let row = splits[split][next[split]];
        judge(row, at, watermark, size, offset, &mut expected);
        next[split] += 1;
        seen[split] = seen[split].max(time(split, next[split]));
    }
}

fn judge(row: &Row, at: i64, watermark: i64, size: i64, offset: i64, expected: &mut Expected) {
    let (Some(city), Some(rider)) = (&row.city, row.rider) else {
        expected.null_key += 1;
        return;
    };
    let end = (at - offset).div_euclid(size) * size + offset + size;
    if end <= watermark {
        expected.late += 1;
        return;
    }
    if row.amount.is_some_and(|amount| amount < 0.0) {
        expected.negative += 1;
        return;
    }
    expected.applied += 1;
    let total = expected
        .windows
        .entry((end, city.clone(), rider))
        .or_default();
    total.rows += 1;
    total.digest = total.digest.wrapping_mul(31).wrapping_add(1);
    if let Some(amount) = row.amount {
        total.sum += amount;
        total.digest = total.digest.wrapping_mul(31).wrapping_add(amount.to_bits());
    }
    if row.note.is_some() {
        total.last_note.clone_from(&row.note);
    }
    total.notes.push(row.note.clone());
    if total.notes.len() > 3 {
        total.notes.remove(0);
    }
}
