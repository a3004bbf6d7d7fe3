//! Nothing that a client sends makes compiling or evaluating panic, and a stored program does what it did.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
use common::run;
use proptest::prelude::*;
use rules::{Program, SqlVersion, TopicRule};

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "SELECT",
        "FROM",
        "WHERE",
        "AS",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
        "AND",
        "OR",
        "NOT",
        "IN",
        "NULL",
        "true",
        "VALUE",
        "cast",
        "upper",
        "get",
        "concat",
        "topic",
        "a",
        "b.c",
        "d[0]",
        "*",
        ".",
        ",",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ":",
        "+",
        "-",
        "/",
        "%",
        "=",
        "<>",
        "<",
        ">=",
        "'x'",
        "\"y\"",
        "''",
        "1",
        "2.5",
        "1e9",
        "9999999999999999999",
        "::",
        "LIKE",
        "IS",
        "SET",
        "@v",
        ";",
        "--",
        "'",
        "ANY",
        "INTERVAL",
        "timestamp",
        "ä",
    ])
    .prop_map(str::to_owned)
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a",
        "a.b",
        "l[1]",
        "missing",
        "null",
        "true",
        "'2'",
        "'x'",
        "0",
        "7",
        "-3",
        "2.5",
        "1e300",
        "9223372036854775807",
        "*",
        "topic(1)",
        "timestamp()",
        "clientid()",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 3, |inner| {
        prop_oneof![
            (
                inner.clone(),
                prop::sample::select(vec!["+", "-", "*", "/", "%", "=", "<>", "<", ">=", "AND", "OR", "IN", "NOT IN"]),
                inner.clone()
            )
                .prop_map(|(left, operator, right)| format!("(({left}) {operator} ({right}))")),
            inner.clone().prop_map(|e| format!("(NOT ({e}))")),
            inner.clone().prop_map(|e| format!("(-({e}))")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{{'k': {a}, j: {b}}}.k")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("CASE ({a}) WHEN ({b}) THEN ({c}) ELSE 1 END")),
            (
                prop::sample::select(vec![
                    "abs",
                    "ceil",
                    "floor",
                    "round",
                    "upper",
                    "lower",
                    "length",
                    "isNull",
                    "isUndefined",
                    "concat"
                ]),
                inner.clone()
            )
                .prop_map(|(f, e)| format!("{f}({e})")),
            (
                prop::sample::select(vec!["get", "concat", "startswith", "endswith", "substring"]),
                inner.clone(),
                inner.clone()
            )
                .prop_map(|(f, a, b)| format!("{f}({a}, {b})")),
            (inner, prop::sample::select(vec!["Int", "String", "Decimal", "Bool"]))
                .prop_map(|(e, t)| format!("cast({e} as {t})")),
        ]
    })
    // A bare `*` is an argument, not an operand.
    .prop_map(|text| {
        text.replace("(*)", "(a)")
            .replace("[*", "[a")
            .replace(" *]", " a]")
            .replace(": *", ": a")
            .replace("cast(*", "cast(a")
    })
    .prop_map(|text| if text == "*" { "a".to_owned() } else { text })
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("[abl]|.{0,3}", inner, 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_text_never_panics(sql in ".{0,200}", payload in prop::collection::vec(any::<u8>(), 0..64)) {
        for sql in [sql.clone(), format!("SELECT {sql} AS x FROM 'a'")] {
            if let Ok(program) = Program::compile(&sql, SqlVersion::V2016) {
                drop(run(&program, "a/b", &payload));
            }
        }
    }

    #[test]
    fn arbitrary_words_of_the_language_never_panic(
        words in prop::collection::vec(word(), 0..40),
        payload in json(),
    ) {
        let words = words.join(" ");
        for sql in [words.clone(), format!("SELECT {words} AS x FROM 'a'"), format!("SELECT * FROM 'a' WHERE {words}")] {
            if let Ok(program) = Program::compile(&sql, SqlVersion::V2016) {
                drop(run(&program, "a/b", payload.to_string().as_bytes()));
            }
        }
    }

    #[test]
    fn an_expression_gives_json_and_the_same_after_being_stored(
        item in expression(),
        condition in expression(),
        payload in json(),
    ) {
        for version in [SqlVersion::V2015, SqlVersion::V2016] {
            let sql = format!("SELECT {item} AS x.y, *, a.b FROM 'a' WHERE NOT isNull({condition})");
            let program = Program::compile(&sql, version);
            if version == SqlVersion::V2016 {
                prop_assert!(program.is_ok(), "{sql}: {program:?}");
            }
            let Ok(program) = program else { continue };
            let stored = Program::decode(&program.encode()).unwrap();
            prop_assert_eq!(&program, &stored);
            for payload in [payload.to_string().into_bytes(), b"\xff".to_vec(), Vec::new()] {
                let output = run(&program, "a/b", &payload);
                prop_assert_eq!(&output, &run(&stored, "a/b", &payload));
                if let Ok(Some(bytes)) = output {
                    prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap().is_object());
                }
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_program_or_a_harmless_one(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        if let Ok(program) = Program::decode(&bytes) {
            drop(run(&program, "a/b", b"{}"));
        }
    }

    #[test]
    fn arbitrary_bodies_never_panic(name in ".{0,8}", body in prop::collection::vec(any::<u8>(), 0..100), value in json()) {
        drop(TopicRule::parse(&name, &body));
        drop(TopicRule::parse("rule", value.to_string().as_bytes()));
        drop(TopicRule::parse("rule", serde_json::json!({"sql": "SELECT *", "actions": [value]}).to_string().as_bytes()));
    }
}
