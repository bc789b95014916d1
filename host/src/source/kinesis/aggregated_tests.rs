//! Records as the Kinesis Producer Library writes them, and everything that is none.

use proptest::prelude::*;

use super::*;

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut written = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        written.push(length as u8 | 0x80);
        length >>= 7;
    }
    written.push(length as u8);
    written.extend(bytes);
    written
}

fn sealed(message: &[u8]) -> Vec<u8> {
    [&MAGIC, message, &md5(message)].concat()
}

#[test]
fn records_are_taken_apart() {
    // Tags, of field 4, mean nothing here; nor does a field that nobody knows. Tables may come last.
    let one = [
        vec![1 << 3, 1, 2 << 3, 0],
        field(3, b"first"),
        field(4, b"\x0a\x01k"),
    ]
    .concat();
    let two = [vec![1 << 3, 0], field(3, b"")].concat();
    let message = [
        field(3, &one),
        field(3, &two),
        field(9, b"?"),
        field(1, b"a"),
        field(1, b"driver 7"),
        field(2, b"340282366920938463463374607431768211455"),
    ]
    .concat();
    let data = sealed(&message);
    let parts = parts(&data).unwrap();
    assert_eq!(
        (parts[0].key, parts[0].data),
        (&b"driver 7"[..], &b"first"[..])
    );
    assert_eq!((parts[1].key, parts[1].data), (&b"a"[..], &b""[..]));
    assert_eq!(parts[0].hash_key(), u128::MAX);
    // MD5 of "a", as everybody writes it.
    assert_eq!(
        parts[1].hash_key(),
        0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661
    );
    assert_eq!(parts.len(), 2);
}

#[test]
fn everything_else_is_a_plain_record() {
    let good = sealed(
        &[
            field(1, b"k"),
            field(3, &[vec![1 << 3, 0], field(3, b"x")].concat()),
        ]
        .concat(),
    );
    assert!(parts(&good).is_some());
    for at in 0..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        assert_eq!(parts(&flipped), None, "{at}");
        assert_eq!(parts(&good[..at]), None, "{at}");
    }
    // What is broken under a right digest: a key that is in no table, one that is missing, a length.
    let no_key = field(3, &[vec![1 << 3, 1], field(3, b"x")].concat());
    for message in [
        &no_key[..],
        &field(3, &field(3, b"x")),
        &[3 << 3 | 2, 9, 1],
        &[0xff],
    ] {
        assert_eq!(parts(&sealed(message)), None, "{message:?}");
    }
    assert_eq!(parts(&sealed(b"")), Some(vec![]));
}

proptest! {
    #[test]
    fn nothing_panics(message in prop::collection::vec(any::<u8>(), 0..64)) {
        parts(&message);
        parts(&sealed(&message));
    }
}

#[test]
fn fuzz_aggregated() {
    let one = [vec![1 << 3, 1, 2 << 3, 0], field(3, b"first")].concat();
    let tables = [field(1, b"driver 7"), field(1, b"a"), field(2, b"12")].concat();
    let two = [vec![1 << 3, 0], field(3, b"")].concat();
    let seeds = vec![
        [&field(3, &one), &tables[..], &field(3, &two)].concat(),
        [&tables[..], &field(3, &two), &field(9, b"?")].concat(),
    ];
    crate::fuzz::run("aggregated", seeds, |input| {
        // With a digest that is right, as whoever may write to the stream can make one.
        let record = sealed(input);
        for part in parts(&record).unwrap_or_default() {
            assert!(part.key.len() + part.data.len() <= input.len());
            part.hash_key();
        }
        let _ = parts(input);
    });
}
