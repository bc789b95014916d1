//! A naive oracle: one row at a time, maps and sorts, nothing shared with the host.

use std::collections::BTreeMap;

/// A row of a split; every column may be null.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) at: Option<i64>,
    pub(crate) city: Option<String>,
    pub(crate) rider: Option<i64>,
    pub(crate) amount: Option<f64>,
    pub(crate) note: Option<String>,
}

/// What must come out for a key in a window.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Total {
    pub(crate) rows: u64,
    pub(crate) sum: f64,
    pub(crate) last_note: Option<String>,
    pub(crate) notes: Vec<Option<String>>,
    pub(crate) digest: u64,
}

/// Where rows must end.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Expected {
    /// By window end, then key.
    pub(crate) windows: BTreeMap<(i64, String, i64), Total>,
    pub(crate) applied: u64,
    pub(crate) late: u64,
    pub(crate) null_event_time: u64,
    pub(crate) null_key: u64,
    pub(crate) negative: u64,
}

/// Works out what must come of splits that are merged by (event time, split, position), in
/// windows of `size` shifted by `offset`, with `disorder` allowed; all in microseconds.
pub(crate) fn expected(splits: &[Vec<Row>], size: i64, offset: i64, disorder: i64) -> Expected {
    let mut expected = Expected::default();
    let untimed = merge(
        splits,
        |row| row.at,
        disorder,
        |row, at, watermark| {
            judge(row.item, at, watermark, size, offset, &mut expected);
        },
    );
    expected.null_event_time = untimed;
    expected
}

/// A row of a split, and where it stands.
pub(crate) struct Placed<'a, T> {
    pub(crate) item: &'a T,
    pub(crate) split: usize,
    pub(crate) position: usize,
}

/// Gives every row that has an event time, in the order of the merge, with its time and the watermark
/// at it; and how many have none.
pub(crate) fn merge<T>(
    splits: &[Vec<T>],
    at: impl Fn(&T) -> Option<i64>,
    disorder: i64,
    mut each: impl FnMut(Placed<'_, T>, i64, i64),
) -> u64 {
    let mut untimed = 0;
    // Rows without an event time belong to no order.
    let splits: Vec<Vec<(usize, &T)>> = splits
        .iter()
        .map(|rows| {
            let timed = rows.iter().enumerate().filter(|(_, row)| at(row).is_some());
            let timed: Vec<_> = timed.collect();
            untimed += (rows.len() - timed.len()) as u64;
            timed
        })
        .collect();
    let mut next = vec![0; splits.len()];
    let time = |split: usize, row: usize| splits[split].get(row).and_then(|(_, row)| at(row));
    // The merge has looked at each split's next row, so that row counts as seen.
    let mut seen: Vec<Option<i64>> = (0..splits.len()).map(|split| time(split, 0)).collect();
    loop {
        let heads = (0..splits.len()).filter_map(|split| Some((time(split, next[split])?, split)));
        let Some((at, split)) = heads.min() else {
            return untimed;
        };
        let live = (0..splits.len()).filter(|split| next[*split] < splits[*split].len());
        let watermark = live
            .filter_map(|split| seen[split])
            .min()
            .expect("one is live")
            - disorder;
        let (position, item) = splits[split][next[split]];
        let placed = Placed {
            item,
            split,
            position,
        };
        each(placed, at, watermark);
        next[split] += 1;
        seen[split] = seen[split].max(time(split, next[split]));
    }
}

/// Judges a row, and gives the code of its reject if it has one.
pub(crate) fn judge(
    row: &Row,
    at: i64,
    watermark: i64,
    size: i64,
    offset: i64,
    expected: &mut Expected,
) -> Option<&'static str> {
    let (Some(city), Some(rider)) = (&row.city, row.rider) else {
        expected.null_key += 1;
        return Some("null_key");
    };
    let end = (at - offset).div_euclid(size) * size + offset + size;
    if end <= watermark {
        expected.late += 1;
        return Some("late");
    }
    if row.amount.is_some_and(|amount| amount < 0.0) {
        expected.negative += 1;
        return Some("negative");
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
    None
}
