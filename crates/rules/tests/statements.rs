//! Whole statements: clauses, paths, names of items, payloads that are no JSON, and errors with their place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
use common::{output, run};
use rules::limits::{MAX_EXPRESSION_DEPTH, MAX_OPERATORS, MAX_SQL_BYTES};
use rules::{EvaluationError, Program, SqlVersion};

const PAYLOAD: &str = r#"{"color":"red","temperature":50,"state":{"reported":{"led":true,"levels":[{"v":3},{"v":5}]}},"timestamp":7,"value":1,"a b":2}"#;

fn check(rows: &[(&str, &str)]) {
    for (sql, expected) in rows {
        assert_eq!(output(sql, SqlVersion::V2016, PAYLOAD), *expected, "{sql}");
    }
}

fn check_errors(version: SqlVersion, rows: &[(&str, u64, u64, &str)]) {
    for (sql, line, column, part) in rows {
        let error = Program::compile(sql, version).expect_err(sql);
        assert_eq!((error.line, error.column), (*line, *column), "{sql}: {error}");
        assert!(error.message.contains(part), "{sql}: {error}");
    }
}

#[test]
fn the_examples_of_the_select_clause_page_hold() {
    let payload = r#"{"color":{"red":255,"green":0},"temperature":50}"#;
    for (sql, expected) in [
        ("SELECT * FROM 'a/b'", payload),
        ("SELECT temperature FROM 'a/b'", r#"{"temperature":50}"#),
        ("SELECT temperature AS t FROM 'a/b'", r#"{"t":50}"#),
        ("SELECT color.green AS g, temperature as f FROM 'a/b'", r#"{"g":0,"f":50}"#),
        ("SELECT *, 15 as speed FROM 'a/b'", r#"{"color":{"red":255,"green":0},"temperature":50,"speed":15}"#),
        ("SELECT color.red as red_value FROM 'a/b'", r#"{"red_value":255}"#),
        (
            "SELECT (temperature - 32) * 5 / 9 AS celsius, upper('red') as my_color FROM 'a/b'",
            r#"{"celsius":10,"my_color":"RED"}"#,
        ),
    ] {
        assert_eq!(output(sql, SqlVersion::V2016, payload), expected, "{sql}");
        assert_eq!(output(sql, SqlVersion::V2015, payload), expected, "{sql} in 2015-10-08");
    }
}

#[test]
fn paths_reach_into_objects_and_arrays_and_miss_quietly() {
    check(&[
        ("SELECT state.reported.led FROM 'a'", r#"{"led":true}"#),
        ("SELECT state.reported.levels[1].v FROM 'a'", r#"{"v":5}"#),
        ("SELECT state.reported.levels[1 - 1].v AS first FROM 'a'", r#"{"first":3}"#),
        ("SELECT state['reported'].led FROM 'a'", r#"{"led":true}"#),
        ("SELECT get(*, 'a b') AS ab FROM 'a'", r#"{"ab":2}"#),
        ("SELECT get(state, 'reported').levels[0] AS l FROM 'a'", r#"{"l":{"v":3}}"#),
        ("SELECT {'a': [1, 2]}.a[1] AS two FROM 'a'", r#"{"two":2}"#),
        ("SELECT state.reported.levels[9].v, nothing, color.deeper, temperature[0] FROM 'a'", "{}"),
        ("SELECT state.reported.levels[-1] AS l, state.reported[0] AS r FROM 'a'", "{}"),
        ("SELECT Color FROM 'a'", "{}"),
    ]);
}

#[test]
fn names_that_are_keywords_elsewhere_are_ordinary_members() {
    check(&[
        ("SELECT timestamp FROM 'a'", r#"{"timestamp":7}"#),
        ("SELECT timestamp() AS now, timestamp FROM 'a'", r#"{"now":1481825251155,"timestamp":7}"#),
        ("SELECT value FROM 'a'", r#"{"value":1}"#),
        ("SELECT value, value + 1 AS next FROM 'a'", r#"{"value":1,"next":2}"#),
        ("SELECT value AS date, value AS interval FROM 'a'", r#"{"date":1,"interval":1}"#),
        ("SELECT state.select, state.from.in.where AS a FROM 'a'", "{}"),
        ("select color from 'a' where temperature = 50 and not false", r#"{"color":"red"}"#),
    ]);
}

#[test]
fn items_go_where_their_alias_says() {
    check(&[
        ("SELECT color AS a.b, temperature AS a.c, 1 AS d FROM 'a'", r#"{"a":{"b":"red","c":50},"d":1}"#),
        ("SELECT 1 AS a, 2 AS a.b FROM 'a'", r#"{"a":{"b":2}}"#),
        ("SELECT 1 AS a, 2 AS a FROM 'a'", r#"{"a":2}"#),
        ("SELECT nothing AS a.b FROM 'a'", "{}"),
        ("SELECT topic(), topic(1) AS first FROM 'a'", r#"{"topic":"a/b","first":"a"}"#),
        ("SELECT cast(1.5 as Int) FROM 'a'", r#"{"cast":1}"#),
        ("SELECT state.reported.levels[0] FROM 'a'", r#"{"levels":{"v":3}}"#),
        ("SELECT (color) FROM 'a'", r#"{"color":"red"}"#),
        ("SELECT NULL AS n FROM 'a'", r#"{"n":null}"#),
        ("SELECT state.reported.*, 1 AS one FROM 'a'", r#"{"led":true,"levels":[{"v":3},{"v":5}],"one":1}"#),
        ("SELECT color.*, nothing.* FROM 'a'", "{}"),
        (
            "SELECT {'a': color, b: nothing, \"c\": [1, nothing, null]} AS o FROM 'a'",
            r#"{"o":{"a":"red","c":[1,null]}}"#,
        ),
        ("SELECT {} AS o, [] AS l FROM 'a'", r#"{"o":{},"l":[]}"#),
    ]);
}

#[test]
fn only_a_where_clause_that_is_true_lets_the_rule_fire() {
    check(&[
        ("SELECT color FROM 'a' WHERE temperature > 40", r#"{"color":"red"}"#),
        ("SELECT color FROM 'a' WHERE temperature > 60", "silent"),
        ("SELECT color FROM 'a' WHERE nothing > 60", "silent"),
        ("SELECT color FROM 'a' WHERE nothing", "silent"),
        ("SELECT color FROM 'a' WHERE 1", "silent"),
        ("SELECT color FROM 'a' WHERE null", "silent"),
        ("SELECT color FROM 'a' WHERE 'true'", r#"{"color":"red"}"#),
        ("SELECT temperature AS t FROM 'a' WHERE t = 50", "silent"),
        ("SELECT * FROM 'a' WHERE startswith(topic(2), 'b')", PAYLOAD),
    ]);
}

#[test]
fn strings_take_either_quote_and_double_it_to_hold_it() {
    check(&[
        (r#"SELECT "red" AS a, 'red' AS b FROM "a""#, r#"{"a":"red","b":"red"}"#),
        (r#"SELECT color = "red" AS same FROM 'a'"#, r#"{"same":true}"#),
        (
            r#"SELECT 'it''s' AS a, "say ""hi""" AS b, 'back\slash' AS c FROM 'a'"#,
            r#"{"a":"it's","b":"say \"hi\"","c":"back\\slash"}"#,
        ),
    ]);
}

#[test]
fn a_payload_that_is_no_json_passes_whole_and_has_no_members() {
    for (sql, payload, expected) in [
        ("SELECT * FROM 'a'", &b"\x00\xff binary"[..], Ok(Some(&b"\x00\xff binary"[..]))),
        ("SELECT * FROM 'a' WHERE timestamp() > 0", b"{bad", Ok(Some(b"{bad"))),
        ("SELECT * FROM 'a' WHERE device = 'x'", b"{bad", Ok(None)),
        ("SELECT color, topic() AS t FROM 'a'", b"{bad", Ok(Some(br#"{"t":"a/b"}"#))),
        ("SELECT *, topic() AS t FROM 'a'", b"{bad", Err(EvaluationError::PayloadIsNoObject)),
        ("SELECT *, topic() AS t FROM 'a'", b"[1]", Err(EvaluationError::PayloadIsNoObject)),
        ("SELECT *, topic() AS t FROM 'a'", b"", Ok(Some(br#"{"t":"a/b"}"#))),
        ("SELECT isUndefined(*) AS u FROM 'a'", b"", Ok(Some(br#"{"u":true}"#))),
        ("SELECT length(*) AS l FROM 'a'", b"[1, 2]", Ok(Some(br#"{"l":5}"#))),
    ] {
        let program = Program::compile(sql, SqlVersion::V2016).unwrap();
        assert_eq!(
            run(&program, "a/b", payload).map(|bytes| bytes.map(|b| b.to_vec())),
            expected.map(|bytes| bytes.map(<[u8]>::to_vec)),
            "{sql}"
        );
    }
}

#[test]
fn a_lone_star_keeps_the_digits_that_numbers_lose_elsewhere() {
    let payload = r#"{ "id": 12345678901234567890123, "x": 10.0 }"#;
    assert_eq!(output("SELECT * FROM 'a'", SqlVersion::V2016, payload), payload);
    assert_eq!(output("SELECT id FROM 'a'", SqlVersion::V2016, payload), r#"{"id":1.2345678901234568e+22}"#);
}

#[test]
fn the_topic_filter_is_that_of_from_and_may_be_missing() {
    let filter = |sql: &str| Program::compile(sql, SqlVersion::V2015).unwrap().topic_filter().map(str::to_owned);
    assert_eq!(filter("SELECT * FROM 'a/+/b/#' WHERE true").as_deref(), Some("a/+/b/#"));
    assert_eq!(filter("SELECT *").as_deref(), None);
    assert_eq!(filter("SELECT * WHERE a = 1").as_deref(), None);
}

#[test]
fn statements_that_do_not_compile_say_where_and_why() {
    check_errors(
        SqlVersion::V2016,
        &[
            ("", 1, 1, "SELECT"),
            ("SELECT a\nFROM", 2, 5, "topic filter in quotes"),
            ("DELETE FROM 'a'", 1, 1, "SELECT"),
            ("SELECT FROM 'a'", 1, 8, "expected an expression"),
            ("SELECT a,, b FROM 'a'", 1, 10, "expected an expression"),
            ("SELECT a\nFROM b", 2, 6, "topic filter in quotes"),
            ("SELECT a FROM 'a' LIMIT 1", 1, 19, "end of the statement"),
            ("SELECT a FROM 'a';", 1, 18, "end of the statement"),
            ("SELECT a FROM 'a/#/b'", 1, 15, "FROM needs a topic filter"),
            ("SELECT a FROM ''", 1, 15, "FROM needs a topic filter"),
            ("SELECT a FROM '$share/g/a'", 1, 15, "shared subscription"),
            ("SELECT 'a FROM b", 1, 8, "Unterminated"),
            ("SELECT nosuch(a) FROM 'a'", 1, 8, "'nosuch' is not known"),
            ("SELECT a,\n  1 + nosuch(a) AS b FROM 'a'", 2, 7, "'nosuch' is not known"),
            ("SELECT a FROM 'a' WHERE a LIKE 'b'", 1, 27, "LIKE is not an operator"),
            ("SELECT a FROM 'a' WHERE a IS NULL", 1, 27, "IS is not an operator"),
            ("SELECT a || b AS c FROM 'a'", 1, 10, "|| is not an operator"),
            ("SELECT a::int AS c FROM 'a'", 1, 9, ":: is not an operator"),
            ("SELECT `a` FROM 'a'", 1, 8, "expected an expression"),
            ("SELECT 1 + 1 FROM 'a'", 1, 8, "needs AS and a name"),
            ("SELECT a AS 'b' FROM 'a'", 1, 13, "expected a name"),
            ("SELECT a b FROM 'a'", 1, 10, "end of the statement"),
            ("SELECT VALUE color FROM 'a'", 1, 8, "SELECT VALUE is not supported"),
            ("SET @a = 1 SELECT a FROM 'a'", 1, 1, "SET is not supported"),
            ("SELECT (SELECT b FROM c) AS a FROM 'a'", 1, 9, "nested SELECT is not supported"),
            ("SELECT a FROM 'a' WHERE EXISTS (SELECT * FROM c)", 1, 33, "nested SELECT is not supported"),
            ("SELECT a FROM 'a' WHERE a IN (SELECT b FROM c)", 1, 31, "nested SELECT is not supported"),
            ("SELECT (1, 2) AS a FROM 'a'", 1, 8, "only behind IN"),
            ("SELECT cast(a as Blob) FROM 'a'", 1, 18, "cast knows"),
            ("SELECT cast(a) FROM 'a'", 1, 14, "expected AS"),
            ("SELECT a -- no\nFROM 'a'", 1, 10, "comments"),
            ("SELECT a /* no */ FROM 'a'", 1, 10, "comments"),
            ("SELECT 1e999 AS a FROM 'a'", 1, 8, "out of range"),
            ("SELECT X'41' AS a FROM 'a'", 1, 8, "expected an expression"),
            ("SELECT CASE a WHEN 1 THEN 2 FROM 'a'", 1, 29, "expected END"),
            ("SELECT a[1 FROM 'a'", 1, 12, "expected ]"),
            ("SELECT upper(a FROM 'a'", 1, 16, "expected ,"),
            ("SELECT a FROM 'a' WHERE", 1, 24, "expected an expression"),
        ],
    );
}

#[test]
fn version_2015_knows_no_literals_of_containers_and_fewer_functions() {
    check_errors(
        SqlVersion::V2015,
        &[
            ("SELECT [1] AS a FROM 'a'", 1, 8, "an array literal needs awsIotSqlVersion 2016-03-23"),
            ("SELECT {'a': 1} AS a FROM 'a'", 1, 8, "an object literal needs"),
            ("SELECT a, length(b) FROM 'a'", 1, 11, "'length' needs awsIotSqlVersion 2016-03-23"),
            ("SELECT cast(a as Bool) FROM 'a'", 1, 18, "needs awsIotSqlVersion"),
        ],
    );
    assert_eq!(output("SELECT 1 IN (1, 2) AS a FROM 'a'", SqlVersion::V2015, "{}"), r#"{"a":true}"#);
}

#[test]
fn statements_are_bounded_in_length_depth_and_operators() {
    let compile = |sql: String| Program::compile(&sql, SqlVersion::V2016).map(|_| ()).map_err(|error| error.message);

    let fits = format!("SELECT '{}' AS a FROM 'a'", "x".repeat(MAX_SQL_BYTES - 24));
    assert_eq!(fits.len(), MAX_SQL_BYTES + 1 - 2);
    assert_eq!(compile(fits.clone()), Ok(()));
    assert!(compile(fits + "  ").unwrap_err().contains("longer than"));

    let nested = |depth: usize, open: &str, close: &str| {
        format!("SELECT {}a{} AS a FROM 'a'", open.repeat(depth), close.repeat(depth))
    };
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{'a':", "}"),
        ("upper(", ")"),
        ("NOT ", ""),
        ("- ", ""),
        ("CASE ", " WHEN 1 THEN 2 END"),
        ("a[", "]"),
        ("cast(", " as Int)"),
        ("(1 + (", ").a.b)"),
    ] {
        assert_eq!(compile(nested(20, open, close)), Ok(()), "{open}");
        let deep = compile(nested(MAX_EXPRESSION_DEPTH + 1, open, close));
        assert!(deep.unwrap_err().contains("deeper"), "{open}");
        // Far beyond every limit there is an error, not an exhausted stack.
        assert!(compile(nested(20_000, open, close)).is_err(), "{open}");
    }

    let chained = |operators: usize, operator: &str| format!("SELECT 1{} AS a FROM 'a'", operator.repeat(operators));
    for operator in [" + 1", " OR true", " = 1", " IN [1]", " * 2 - 1"] {
        let operators = if operator == " * 2 - 1" { MAX_OPERATORS / 2 } else { MAX_OPERATORS };
        assert_eq!(compile(chained(operators, operator)), Ok(()), "{operator}");
        assert!(compile(chained(operators + 1, operator)).unwrap_err().contains("operators"), "{operator}");
        assert!(compile(chained(30_000, operator)).is_err(), "{operator}");
    }
    assert!(compile(format!("SELECT 1 AS {}a FROM 'a'", "a.".repeat(64))).unwrap_err().contains("segments"));
}

#[test]
fn a_statement_cannot_multiply_a_payload_without_bound() {
    let payload = format!("[{}]", vec!["\"0123456789\""; 10_000].join(","));
    let copies = vec!["*"; 2_000].join(",");
    for sql in [
        format!("SELECT [{copies}] AS a FROM 'a'").replace('*', "concat(*)"),
        format!("SELECT concat({copies}) AS a FROM 'a'"),
        format!("SELECT 1 AS one{} FROM 'a'", ", concat(*) = concat(*) AS a".repeat(500)),
    ] {
        let program = Program::compile(&sql, SqlVersion::V2016).unwrap();
        assert_eq!(run(&program, "a/b", payload.as_bytes()), Err(EvaluationError::TooMuchWork));
    }
}
