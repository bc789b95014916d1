//! Types printed and read back, and names that are not types.

use proptest::prelude::*;

use super::*;

#[test]
fn names_are_read() {
    let item = |data_type, nullable| Arc::new(Field::new_list_field(data_type, nullable));
    for (text, data_type) in [
        ("bool", DataType::Boolean),
        (" float16 ", DataType::Float16),
        ("fixed_size_binary[16]", DataType::FixedSizeBinary(16)),
        ("time32[ s ]", DataType::Time32(TimeUnit::Second)),
        (
            "timestamp[us]",
            DataType::Timestamp(TimeUnit::Microsecond, None),
        ),
        (
            "timestamp[us,UTC]",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ),
        (
            "timestamp[ns, Europe/Berlin]",
            DataType::Timestamp(TimeUnit::Nanosecond, Some("Europe/Berlin".into())),
        ),
        ("decimal128[12, -2]", DataType::Decimal128(12, -2)),
        ("list[utf8!]", DataType::List(item(DataType::Utf8, false))),
        (
            "large_list[list[int8]]",
            DataType::LargeList(item(DataType::List(item(DataType::Int8, true)), true)),
        ),
        (
            "struct{a: int64!, \"b c\": list[utf8]}",
            DataType::Struct(Fields::from(vec![
                Field::new("a", DataType::Int64, false),
                Field::new("b c", DataType::List(item(DataType::Utf8, true)), true),
            ])),
        ),
        ("struct{}", DataType::Struct(Fields::empty())),
    ] {
        assert_eq!(parse_type(text), Ok(data_type), "{text}");
    }
    let field = parse_field("n", "int64!").expect("a type");
    assert_eq!(
        (field.data_type(), field.is_nullable()),
        (&DataType::Int64, false)
    );
}

#[test]
fn names_that_are_not_types_are_refused_with_the_fix() {
    let deep = format!("{}int8{}", "list[".repeat(40), "]".repeat(40));
    for (text, said) in [
        ("", "`` is not a type; the types are bool int8"),
        ("string", "`string` is not a type; did you mean `utf8`?"),
        ("int46", "`int46` is not a type; did you mean `int64`?"),
        ("INT64", "did you mean `int64`?"),
        ("timestmap[us]", "did you mean `timestamp[us, UTC]`?"),
        ("datetime", "did you mean `timestamp[us, UTC]`?"),
        (
            "list",
            "`list` is not a type: it lacks what stands in brackets; write it as in `list[int64]`",
        ),
        ("list[strng]", "`strng` is not a type; did you mean `utf8`?"),
        ("list[int8", "it ends where `]` should be"),
        (
            "int64!",
            "`int64!`: `!` cannot stand here; leave out the `!` at the end",
        ),
        ("int64 int64", "`int64` stands where nothing more should be"),
        (
            "time32[us]",
            "`us` is not a unit of this type; the units are `s`, `ms`",
        ),
        ("timestamp", "as in `timestamp[us, UTC]`"),
        ("timestamp[us,]", "has a comma and no time zone"),
        (
            "decimal128[39, 2]",
            "`39` is not the precision; write a whole number from 1 to 38",
        ),
        ("decimal128[10]", "has no scale"),
        (
            "decimal128[10, 11]",
            "`11` is not the scale; write a whole number from -10 to 10",
        ),
        ("fixed_size_binary[0]", "`0` is not the length"),
        ("struct{a: int8, a: int8}", "two fields named `a`"),
        ("struct{a}", "where `:` and the field's type should be"),
        ("struct{\"a: int8}", "a quoted name has no end"),
        (deep.as_str(), "nests more than 32 deep"),
    ] {
        let error = parse_type(text).expect_err(text).to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn a_child_without_nulls_fits_one_that_may_have_some() {
    let read = |text| parse_type(text).expect(text);
    for (declared, actual, fit) in [
        ("int64", "int64", true),
        ("int64", "int32", false),
        ("list[int64]", "list[int64!]", true),
        ("list[int64!]", "list[int64]", false),
        ("list[int64]", "large_list[int64]", false),
        ("struct{a: list[int8]}", "struct{a: list[int8!]!}", true),
        ("struct{a: int8}", "struct{b: int8}", false),
        ("struct{a: int8}", "struct{a: int8, b: int8}", false),
    ] {
        assert_eq!(
            fits(&read(declared), &read(actual)),
            fit,
            "{declared} for {actual}"
        );
    }
}

fn unit() -> impl Strategy<Value = TimeUnit> {
    prop::sample::select(vec![
        TimeUnit::Second,
        TimeUnit::Millisecond,
        TimeUnit::Microsecond,
        TimeUnit::Nanosecond,
    ])
}

fn decimal(widest: u8) -> impl Strategy<Value = (u8, i8)> {
    (1..=widest).prop_flat_map(|precision| (Just(precision), -(precision as i8)..=precision as i8))
}

fn data_type() -> impl Strategy<Value = DataType> {
    let leaf = prop_oneof![
        prop::sample::select(
            PLAIN
                .iter()
                .map(|(_, plain)| plain.clone())
                .collect::<Vec<_>>()
        ),
        (1..i32::MAX).prop_map(DataType::FixedSizeBinary),
        prop::sample::select(vec![TimeUnit::Second, TimeUnit::Millisecond])
            .prop_map(DataType::Time32),
        prop::sample::select(vec![TimeUnit::Microsecond, TimeUnit::Nanosecond])
            .prop_map(DataType::Time64),
        (
            unit(),
            prop::option::of("[A-Za-z+:/_-][A-Za-z0-9+:/_-]{0,8}")
        )
            .prop_map(|(unit, zone)| DataType::Timestamp(unit, zone.map(Arc::from))),
        unit().prop_map(DataType::Duration),
        decimal(38).prop_map(|(precision, scale)| DataType::Decimal128(precision, scale)),
        decimal(76).prop_map(|(precision, scale)| DataType::Decimal256(precision, scale)),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let item = (inner.clone(), any::<bool>())
            .prop_map(|(inner, nullable)| Arc::new(Field::new_list_field(inner, nullable)));
        let fields = prop::collection::btree_map("\\PC{0,6}", (inner, any::<bool>()), 0..4);
        prop_oneof![
            item.clone().prop_map(DataType::List),
            item.prop_map(DataType::LargeList),
            fields.prop_map(|fields| {
                let field =
                    |(name, (inner, nullable)): (String, _)| Field::new(name, inner, nullable);
                DataType::Struct(fields.into_iter().map(field).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn printed_types_read_back(data_type in data_type(), nullable: bool) {
        let field = Field::new("c", data_type.clone(), nullable);
        prop_assert_eq!(parse_field("c", &field_type_name(&field)), Ok(field));
        prop_assert_eq!(parse_type(&type_name(&data_type)), Ok(data_type.clone()));
        prop_assert!(fits(&data_type, &data_type));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a-z0-9\\[\\]{}:,!\" \\\\é]{0,24}", prefix in "(list\\[|struct\\{\"?|decimal128\\[|)") {
        let _ = parse_type(&format!("{prefix}{text}"));
    }
}
