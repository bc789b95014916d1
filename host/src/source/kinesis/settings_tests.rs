//! Settings that are read, and those that are refused.

use super::*;

fn parse(more: &[(&str, &str)]) -> Result<KinesisSettings, String> {
    let entries = [("stream", "rides")]
        .into_iter()
        .chain(more.iter().copied());
    let entries = entries.map(|(name, value)| (name.to_owned(), value.to_owned()));
    KinesisSettings::parse(entries).map_err(|fault| {
        assert_eq!(fault.kind, FaultKind::Setting);
        // Whoever has them in a file can point at the place.
        let half = fault.message.starts_with("half of the credentials");
        assert_eq!(fault.setting.is_none(), half, "{fault}");
        fault.to_string()
    })
}

#[test]
fn settings_are_read() {
    let usual = parse(&[]).unwrap();
    assert_eq!(
        (usual.start, &usual.consumer, usual.name()),
        (Start::TrimHorizon, &None, "rides")
    );
    // Five reads a second are all that a shard gives to everybody together.
    assert!(usual.poll_every > Duration::from_millis(200));
    let settings = parse(&[
        (
            "stream",
            "arn:aws:kinesis:eu-west-1:123456789012:stream/rides",
        ),
        ("endpoint", "http://127.0.0.1:4568"),
        ("start", "1970-01-01T00:00:01+00:00"),
        ("consumer", "penstock"),
        ("misplaced", "drop"),
        ("batch_records", "1_000_000"),
        ("window_bytes", "1_000_000"),
        ("poll_every", "1s"),
        ("timeout", "2s"),
        ("aws_access_key_id", "AKIAEXAMPLE"),
        ("aws_secret_access_key", "hunter2"),
    ])
    .unwrap();
    assert!(settings.keys.is_some() && !format!("{settings:?}").contains("hunter2"));
    assert_eq!(settings.name(), "rides");
    assert_eq!(settings.region.as_deref(), Some("eu-west-1"));
    assert_eq!(settings.start, Start::Timestamp(1_000_000));
    assert_eq!(settings.consumer.as_deref(), Some("penstock"));
    assert_eq!(settings.misplaced, Misplaced::Drop);
    assert_eq!(settings.batch_records, 10_000);
    assert_eq!(settings.window_bytes, 1_000_000);
    assert_eq!(settings.poll_every, Duration::from_secs(1));
}

#[test]
fn wrong_settings_are_refused() {
    let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/rides";
    for (entries, told) in [
        (
            &[("start", "yesterday")][..],
            "set it to `trim_horizon`, `latest` or a time",
        ),
        (
            &[("batch_records", "0")],
            "set it to a whole number from 1 on",
        ),
        (
            &[("poll_every", "soon")],
            "set it to a time such as `250ms`",
        ),
        (&[("misplaced", "yes")], "set it to `keep` or `drop`"),
        (&[("stream", "")], "`stream` is missing"),
        (&[("stream", "a b")], "set it to a name, or an ARN"),
        (
            &[("stream", "arn:aws:s3:::rides")],
            "set it to a name, or an ARN",
        ),
        (
            &[("stream", arn), ("region", "us-east-1")],
            "set it to `eu-west-1`",
        ),
        (&[("endpoint", "127.0.0.1:4568")], "set it to a URL"),
        (&[("poll_evry", "1s")], "did you mean `poll_every`?"),
        (&[("window.bytes", "1")], "did you mean `window_bytes`?"),
        (
            &[("aws_secret_access_key", "hunter2")],
            "set both `aws_access_key_id`",
        ),
        (
            &[("secret_access_key", "hunter2")],
            "did you mean `aws_secret_access_key`?",
        ),
        (&[("colour", "blue")], "there are `stream`, `region`"),
    ] {
        let error = parse(entries).expect_err(told);
        assert!(error.contains(told), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let error = parse(&[("endpoint", "http://me:hunter2@host")]).unwrap_err();
    assert!(
        error.contains("has a user in it") && !error.contains("hunter2"),
        "{error}"
    );
}
