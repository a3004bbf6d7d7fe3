//! Whether the tests that the lists in `tests/conformance` name ran and passed, read from what the test runners print.
//!
//! That the lists are complete and the tests exist is checked by tests/tests/conformance.rs.

use std::collections::BTreeSet;

/// The test that goes through the rows of `tests/bad-input.tsv`, whose names nothing prints.
const BAD_INPUT: &str = "bad_input_is_refused_as_the_table_says_and_changes_nothing";

/// The names of tests that passed, in the output of `cargo test` (not with `--quiet`) and of node's spec reporter.
pub fn passed(output: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        if let Some(rest) = line.strip_prefix("test ") {
            return rest.strip_suffix(" ... ok").map(str::to_owned);
        }
        // ✔ NAME (12.345678ms)
        let (name, took) = line.strip_prefix("✔ ")?.rsplit_once(" (")?;
        took.ends_with("ms)").then(|| name.to_owned())
    };
    output.lines().filter_map(|line| name(line.trim())).collect()
}

/// The tests that a list names and that are not among those that passed, each with its statement.
///
/// A test of Rust is known by its path only, whatever its package: the runner prints no more.
pub fn not_passed(list: &str, passed: &BTreeSet<String>) -> Vec<String> {
    let mut missing = Vec::new();
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [statement, _, coverage] = *cells.as_slice() else { continue };
        let Some(tests) = coverage.trim().strip_prefix("test: ") else { continue };
        for test in tests.split("; ").filter(|test| !has_passed(test, passed)) {
            missing.push(format!("{statement}: {test}"));
        }
    }
    missing
}

fn has_passed(test: &str, passed: &BTreeSet<String>) -> bool {
    let Some((layer, name)) = test.split_once("::") else { return false };
    let without_file = name.split_once("::").map_or(name, |(_, name)| name);
    match layer {
        "bad-input" => passed.contains(BAD_INPUT),
        "node" => passed.iter().any(|passed| is_like(passed, without_file)),
        // of a crate, or of a file of its `tests`
        _ => passed.contains(name) || passed.contains(without_file),
    }
}

/// Whether the text is the template with something in each place of `${…}`.
fn is_like(text: &str, template: &str) -> bool {
    let mut literals = template
        .split("${")
        .enumerate()
        .map(|(index, part)| if index == 0 { part } else { part.split_once('}').map_or("", |(_, literal)| literal) });
    let Some(mut rest) = literals.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut literals = literals.peekable();
    if literals.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(literal) = literals.next() {
        if literals.peek().is_none() {
            return rest.ends_with(literal);
        }
        let Some((_, after)) = rest.split_once(literal) else { return false };
        rest = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
running 3 tests
test session::tests::connect::a_test_of_a_crate ... ok
test a_test_of_a_file ... ok
test a_test_that_fails ... FAILED
test a_test_that_is_ignored ... ignored

test result: FAILED. 2 passed; 1 failed; 1 ignored
▶ MQTT 5.0
  ✔ a will of QoS 0 is published (12.34ms)
  ✖ a will is kept (3.2ms)
  ﹣ a will is skipped (0.1ms) # SKIP
  ✔ of the subprotocols mqtt, chat mqtt (the first) is chosen (7.01ms)
✔ MQTT 5.0 (30.5ms)
ℹ pass 2
";

    #[test]
    fn the_names_of_tests_that_passed_are_read() {
        let expected = [
            "MQTT 5.0",
            "a will of QoS 0 is published",
            "a_test_of_a_file",
            "of the subprotocols mqtt, chat mqtt (the first) is chosen",
            "session::tests::connect::a_test_of_a_crate",
        ];
        assert_eq!(passed(OUTPUT).iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_named_test_that_did_not_pass_is_told_with_its_statement() {
        let rows = [
            ("reason: client-side", true),
            ("test: mqtt-session::session::tests::connect::a_test_of_a_crate", true),
            ("test: mqtt-codec::malformed::a_test_of_a_file", true),
            ("test: mqtt-session::session::tests::close::a_test_of_a_crate", false),
            ("test: mqtt-codec::malformed::a_test_that_fails", false),
            ("test: mqtt-codec::malformed::a_test_that_is_ignored", false),
            ("test: mqtt-codec::malformed::a_test", false),
            ("test: node::mqtt_publish::a will of QoS ${qos} is published", true),
            ("test: node::mqtt_publish::a will of QoS ${qos} is", false),
            ("test: node::mqtt_publish::will of QoS ${qos} is published", false),
            ("test: node::mqtt_publish::a will is kept", false),
            ("test: node::mqtt_publish::a will is skipped", false),
            ("test: node::mqtt_publish::of the subprotocols ${offered.join(\", \")} ${chosen} is chosen", true),
            ("test: node::mqtt_publish::of the subprotocols ${offered.join(\", \")} or ${chosen} is chosen", false),
            ("test: TODO system: a test", false),
        ];
        let passed = passed(OUTPUT);
        for (coverage, has_passed) in rows {
            let missing = not_passed(&format!("# a list\n\nMQTT-1.5.4-1\twords\t{coverage}\n"), &passed);
            let expected: Vec<String> = coverage
                .strip_prefix("test: ")
                .filter(|_| !has_passed)
                .map(|test| format!("MQTT-1.5.4-1: {test}"))
                .into_iter()
                .collect();
            assert_eq!(missing, expected, "{coverage}");
        }
        let both = "MQTT-1.5.4-1\twords\ttest: a::b::a_test_of_a_file; bad-input::mqtt::noise\n";
        assert_eq!(not_passed(both, &passed), ["MQTT-1.5.4-1: bad-input::mqtt::noise"]);
        let with_rows = [BAD_INPUT.to_owned(), "a_test_of_a_file".to_owned()].into();
        assert_eq!(not_passed(both, &with_rows), Vec::<String>::new());
    }
}
