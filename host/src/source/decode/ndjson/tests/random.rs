//! Random files, whole, damaged, and cut anywhere.

use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use proptest::prelude::*;

use super::oracle::agrees;
use super::{Malformed, Sizes, read, read_sized, schema};

fn wide() -> SchemaRef {
    let position = vec![
        Field::new("x", DataType::Int64, true),
        Field::new("näme", DataType::Utf8, false),
    ];
    schema(vec![
        Field::new("flag", DataType::Boolean, true),
        Field::new("int", DataType::Int64, true),
        Field::new("float", DataType::Float64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new(
            "time",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            true,
        ),
        Field::new("list", DataType::new_list(DataType::Int64, true), true),
        Field::new(
            "deep",
            DataType::new_list(DataType::Struct(position.into()), true),
            true,
        ),
    ])
}

/// A value as JSON text, with the spaces and escapes that a writer may choose.
fn value() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        "[a-z]{0,20}",
        "([a-z ]|\\\\[\"\\\\/bfnrt]|\\\\u00e9|\\\\ud83d\\\\ude00|ü|漢|😀){0,30}",
        "\\\\ud83d|\\\\u12|\\\\x|a\tb",
        "[0-9]{4}-(0[1-9]|1[0-2])-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,10})?(Z|\\+0[0-9]:30)?",
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|i| i.to_string()),
        (-1000..1000i64).prop_map(|i| i.to_string()),
        "-?[0-9]{1,4}\\.[0-9]{1,3}",
        "-?[0-9]{1,2}[eE][+-]?[0-9]",
        prop_oneof![
            "01",
            "1\\.",
            "-",
            "\\+1",
            "nul",
            "True",
            "NaN",
            "9223372036854775807",
            "9223372036854775808"
        ],
        text.prop_map(|t| format!("\"{t}\"")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let member = ("(x|näme|n\\\\u00e4me|z)", inner.clone());
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(|v| format!("[{}]", v.join(", "))),
            proptest::collection::vec(member, 0..4).prop_map(|v| {
                let members: Vec<String> =
                    v.into_iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// A value that fits the column, most of the time.
fn member() -> impl Strategy<Value = (String, String)> {
    let fitting = prop_oneof![
        any::<bool>().prop_map(|b| ("flag".into(), b.to_string())),
        any::<i64>().prop_map(|i| ("int".into(), i.to_string())),
        "-?(0|[1-9][0-9]{0,3})\\.[0-9]{1,3}".prop_map(|x| ("float".into(), x)),
        "([a-z ]|\\\\n|ü|\\\\ud83d\\\\ude00){0,30}"
            .prop_map(|x| ("text".into(), format!("\"{x}\""))),
        (0..4_000_000_000_000i64).prop_map(|ms| {
            (
                "time".into(),
                format!("\"{}\"", jiff::Timestamp::from_millisecond(ms).unwrap()),
            )
        }),
        proptest::collection::vec(-9..9i64, 0..5).prop_map(|v| ("list".into(), format!("{v:?}"))),
        (any::<i32>(), "[a-z]{0,9}").prop_map(|(x, n)| {
            (
                "deep".into(),
                format!(r#"[{{"x":{x},"näme":"{n}"}}, null, {{"z":[{{}}], "näme":""}}]"#),
            )
        }),
        ("[u-z]{1,40}", "[a-z]{0,9}").prop_map(|(k, v)| (k, format!("\"{v}\""))),
    ];
    let any_name = "(flag|int|float|text|time|list|deep|other|\\\\u0069nt|long_name_of_a_field_that_is_not_wanted)";
    prop_oneof![8 => fitting, 1 => (any_name, value())]
}

fn line() -> impl Strategy<Value = String> {
    let space = prop_oneof![4 => Just(String::new()), 1 => "[ \t]{1,2}"];
    let members = proptest::collection::vec(member(), 0..9);
    prop_oneof![
        20 => (members, space, "\r?").prop_map(|(members, s, end)| {
            let members: Vec<String> = members.iter().map(|(k, v)| format!("{s}\"{k}\"{s}:{s}{v}{s}")).collect();
            format!("{{{}}}{s}{end}", members.join(","))
        }),
        1 => "[ \t\r]{0,3}",
        1 => value(),
    ]
}

/// Each line stands there twice, so that what was learnt from its layout is used.
fn file() -> impl Strategy<Value = String> {
    let lines = proptest::collection::vec(line(), 0..12);
    (lines, any::<bool>()).prop_map(|(lines, newline)| {
        let text: String = lines
            .iter()
            .map(|line| format!("{line}\n{line}\n"))
            .collect();
        if newline {
            text
        } else {
            text.trim_end_matches('\n').to_owned()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lines_are_read_as_serde_json_reads_them(file in file()) {
        agrees(&file, &wide());
    }

    #[test]
    fn damaged_lines_are_refused_as_serde_json_refuses_them(
        file in file(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![
            prop::sample::select(b"\"\\{}[],:0-.eE \t\rtfnu1\x00\x1f\x7f".to_vec()), 0u8..128,
        ]), 1..8),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = file.into_bytes();
        for (index, byte) in damage {
            if !bytes.is_empty() {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
        }
        if let Some(cut) = cut && !bytes.is_empty() {
            bytes.truncate(cut.index(bytes.len()));
        }
        // Lines that are not UTF-8 are refused whatever else they are; the others must not notice.
        let text: Vec<&str> = bytes.split(|&b| b == b'\n').map(|l| std::str::from_utf8(l).unwrap_or("?")).collect();
        let expected = agrees(&text.join("\n"), &wide());
        let found = read(&bytes, &wide());
        prop_assert!(expected.rows.iter().all(|row| found.rows.contains(row)));
        let refused = |(_, reject): &(_, Malformed)| found.rejects.iter().any(|(_, r)| r.position == reject.position);
        prop_assert!(expected.rejects.iter().all(refused));
        prop_assert_eq!(found.all(), read(text.join("\n").as_bytes(), &wide()).all());
    }

    #[test]
    fn cuts_change_nothing(file in file(), line in prop_oneof![Just(1 << 20), 1..200usize]) {
        let sizes = Sizes { line, ..Sizes::default() };
        let whole = read_sized(file.as_bytes(), &wide(), 65536, sizes);
        for chunk in [1, 7, 64, 1024] {
            for batch_rows in [1, 7, 1024] {
                for batch in [1, 100, 1 << 20] {
                    let cut = read_sized(file.as_bytes(), &wide(), batch_rows, Sizes { chunk, batch, line });
                    prop_assert_eq!(&cut, &whole, "chunk {}, batch {} rows, {} bytes", chunk, batch_rows, batch);
                }
            }
        }
    }
}
