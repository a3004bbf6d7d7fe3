//! Operators with every kind of operand (developer guide, "Operators").
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
use common::result_of;
use rules::SqlVersion;

const PAYLOAD: &str = r#"{"n":null,"one":1,"half":0.5,"ten":10.0,"list":[1,"a",{"b":2}],"same":[1.0,"a",{"b":2}],
    "object":{"x":1,"y":[2]},"other":{"y":[2],"x":1},"text":"abc","number":"2.5","yes":true,"big":9223372036854775807}"#;

fn check(rows: &[(&str, &str)]) {
    for (expression, expected) in rows {
        assert_eq!(result_of(expression, SqlVersion::V2016, PAYLOAD), *expected, "{expression}");
    }
}

#[test]
fn logic_takes_booleans_and_their_names_and_nothing_else() {
    check(&[
        ("yes AND true", "true"),
        ("yes AND false", "false"),
        ("'TRUE' AND 'true'", "true"),
        ("'False' OR yes", "true"),
        ("false OR 'false'", "false"),
        ("NOT yes", "false"),
        ("NOT 'false'", "true"),
        ("NOT 'no'", "Undefined"),
        ("NOT 0", "Undefined"),
        ("NOT missing", "Undefined"),
        ("NOT n", "Undefined"),
        ("true OR missing", "Undefined"),
        ("missing OR true", "Undefined"),
        ("false AND missing", "Undefined"),
        ("true OR n", "Undefined"),
        ("true AND 1", "Undefined"),
        ("true AND 'abc'", "Undefined"),
        ("NOT (true OR missing)", "Undefined"),
    ]);
}

#[test]
fn order_compares_numbers_and_strings_that_spell_them() {
    check(&[
        ("1 < 2", "true"),
        ("2 <= 2", "true"),
        ("half > 0.25", "true"),
        ("one >= 1.5", "false"),
        ("number > 2", "true"),
        ("'10' > '9'", "true"),
        ("text > 1", "Undefined"),
        ("'a' < 'b'", "Undefined"),
        ("yes > 0", "Undefined"),
        ("n < 1", "Undefined"),
        ("missing < 1", "Undefined"),
        ("1 < missing", "Undefined"),
        ("list < 1", "Undefined"),
        ("object >= object", "Undefined"),
        ("big > 9223372036854775806", "true"),
    ]);
}

#[test]
fn equality_converts_nothing_but_int_to_decimal() {
    check(&[
        ("one = 1", "true"),
        ("one = 1.0", "true"),
        ("one = '1'", "false"),
        ("one <> '1'", "true"),
        ("yes = 'true'", "false"),
        ("yes = true", "true"),
        ("text = 'abc'", "true"),
        ("text != 'ABC'", "true"),
        ("list = same", "true"),
        ("list = [1, 'a']", "false"),
        ("list <> ['a', 1, {'b': 2}]", "true"),
        ("object = other", "true"),
        ("object = {'x': 1}", "false"),
        ("object <> other", "false"),
        ("n = n", "true"),
        ("n <> null", "false"),
        ("n = 0", "false"),
        ("n <> 0", "true"),
        ("missing = missing", "Undefined"),
        ("missing <> 1", "Undefined"),
        ("1 = missing", "Undefined"),
        ("n = missing", "Undefined"),
    ]);
}

#[test]
fn plus_concatenates_as_soon_as_one_side_is_a_string() {
    check(&[
        ("1 + 2", "3"),
        ("1 + half", "1.5"),
        ("text + 1", "\"abc1\""),
        ("1 + text", "\"1abc\""),
        ("'1' + '2'", "\"12\""),
        ("text + yes", "\"abctrue\""),
        ("'x' + list", r#""x[1,\"a\",{\"b\":2}]""#),
        ("text + n", "Undefined"),
        ("text + missing", "Undefined"),
        ("1 + n", "Undefined"),
        ("1 + yes", "Undefined"),
        ("list + list", "Undefined"),
        ("missing + 1", "Undefined"),
    ]);
}

#[test]
fn arithmetic_keeps_ints_and_reads_strings_as_decimals() {
    check(&[
        ("7 - 2", "5"),
        ("'7' - 2", "5.0"),
        ("number * 2", "5.0"),
        ("7 / 2", "3"),
        ("-7 / 2", "-3"),
        ("7.0 / 2", "3"),
        ("7 / 2.5", "2.8"),
        ("'7' / 2", "3.5"),
        ("7 % 3", "1"),
        ("-7 % 3", "-1"),
        ("7.5 % 2", "1.5"),
        ("7 / 0", "Undefined"),
        ("7 % 0", "Undefined"),
        ("7.5 / 0", "Undefined"),
        ("7 % 0.0", "Undefined"),
        ("big + 1", "9.223372036854776e+18"),
        ("(-9223372036854775807 - 1) / -1", "9.223372036854776e+18"),
        ("1e308 * 10", "Undefined"),
        ("text - 1", "Undefined"),
        ("yes * 1", "Undefined"),
        ("n * 1", "Undefined"),
        ("missing - 1", "Undefined"),
        ("-one", "-1"),
        ("-number", "-2.5"),
        ("-text", "Undefined"),
        ("-missing", "Undefined"),
        ("- -5", "5"),
    ]);
}

#[test]
fn operators_bind_as_in_ansi_sql_and_from_the_left() {
    check(&[
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("10 - 3 - 2", "5"),
        ("2 * 3 % 4", "2"),
        ("-2 + 3", "1"),
        ("true OR false AND false", "true"),
        ("(true OR false) AND false", "false"),
        ("NOT false AND false", "false"),
        ("NOT 1 = 2", "true"),
        ("1 + 1 = 2 AND 3 > 2", "true"),
        ("1 IN [1] AND true", "true"),
        ("one = 1 OR missing.deep", "Undefined"),
    ]);
}

#[test]
fn in_looks_for_an_equal_element() {
    check(&[
        ("'a' IN list", "true"),
        ("{'b': 2} IN list", "true"),
        ("1.0 IN list", "true"),
        ("2 IN list", "false"),
        ("2 NOT IN list", "true"),
        ("'1' IN list", "false"),
        ("1 IN (1, 2)", "true"),
        ("3 IN (1, 2)", "false"),
        ("'abc' IN ('abc')", "true"),
        ("1 IN (list)", "true"),
        ("1 IN (1, missing)", "true"),
        ("n IN [null]", "true"),
        ("missing IN list", "Undefined"),
        ("missing NOT IN list", "Undefined"),
        ("1 IN missing", "Undefined"),
        ("1 IN text", "Undefined"),
        ("1 IN object", "Undefined"),
    ]);
}

#[test]
fn case_takes_the_first_equal_branch() {
    check(&[
        ("CASE one WHEN 0 THEN 'zero' WHEN 1 THEN 'one' WHEN 1 THEN 'again' ELSE 'many' END", "\"one\""),
        ("CASE one WHEN '1' THEN 'text' ELSE 'many' END", "\"many\""),
        ("CASE one WHEN 2 THEN 'two' END", "Undefined"),
        ("CASE missing WHEN 1 THEN 'one' ELSE 'many' END", "Undefined"),
        ("CASE n WHEN null THEN 'null' END", "\"null\""),
        ("CASE one WHEN missing THEN 'x' ELSE 'y' END", "\"y\""),
        ("CASE WHEN one > 5 THEN 'big' WHEN one > 0 THEN 'small' END", "\"small\""),
        ("CASE WHEN missing THEN 1 ELSE 2 END", "2"),
        ("CASE one WHEN 1 THEN missing ELSE 2 END", "Undefined"),
    ]);
}

#[test]
fn version_2016_reads_whole_decimals_as_ints_and_2015_does_not() {
    for (expression, in_2015, in_2016) in [
        ("ten", "10.0", "10"),
        ("ten / 4", "2.5", "2"),
        ("10.0", "10.0", "10"),
        ("cast('3.0' as Double)", "3.0", "3"),
        ("half", "0.5", "0.5"),
    ] {
        assert_eq!(result_of(expression, SqlVersion::V2015, PAYLOAD), in_2015, "{expression} in 2015-10-08");
        assert_eq!(result_of(expression, SqlVersion::V2016, PAYLOAD), in_2016, "{expression} in 2016-03-23");
        assert_eq!(result_of(expression, SqlVersion::Beta, PAYLOAD), in_2016, "{expression} in beta");
    }
}
