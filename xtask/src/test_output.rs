//! How many tests passed, read from what the test runners print.

/// Tests that ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
}

impl Counts {
    /// Both together.
    pub fn total(self) -> u64 {
        self.passed + self.failed
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// The sum over all summaries of cargo test, wasm-bindgen-test-runner, node's test runner and Python's unittest in `output`.
pub fn count(output: &str) -> Counts {
    let mut counts = Counts::default();
    let mut ran_by_unittest = 0;
    for line in output.lines().map(str::trim) {
        if let Some(summary) = line.strip_prefix("test result: ") {
            // ok. 5 passed; 0 failed; 1 ignored; …
            counts.passed += number_before(summary, " passed");
            counts.failed += number_before(summary, " failed");
        } else if let Some(passed) = line.strip_prefix("ℹ pass ") {
            counts.passed += passed.parse().unwrap_or(0);
        } else if let Some(failed) = line.strip_prefix("ℹ fail ").or_else(|| line.strip_prefix("ℹ cancelled ")) {
            counts.failed += failed.parse().unwrap_or(0);
        } else if let Some(summary) = line.strip_prefix("Ran ") {
            ran_by_unittest = number_before(summary, " test");
        } else if ran_by_unittest > 0 && (line == "OK" || line.starts_with("OK (") || line.starts_with("FAILED (")) {
            let failed = number_after(line, "failures=")
                + number_after(line, "errors=")
                + number_after(line, "unexpected successes=");
            let failed = failed.min(ran_by_unittest);
            let skipped = number_after(line, "skipped=").min(ran_by_unittest - failed);
            counts.failed += failed;
            counts.passed += ran_by_unittest - failed - skipped;
            ran_by_unittest = 0;
        }
    }
    counts
}

fn number_before(text: &str, marker: &str) -> u64 {
    let before = text.split_once(marker).map_or("", |(before, _)| before);
    before
        .rsplit(|character: char| !character.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

fn number_after(text: &str, marker: &str) -> u64 {
    let after = text.split_once(marker).map_or("", |(_, after)| after);
    after
        .split(|character: char| !character.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_each_runner_are_counted() {
        let rows = [
            ("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s", 12, 0),
            ("test result: FAILED. 3 passed; 2 failed; 0 ignored", 3, 2),
            ("test result: ok. 1 passed; 0 failed;\nnoise\ntest result: ok. 2 passed; 0 failed;", 3, 0),
            ("ℹ tests 5\nℹ suites 0\nℹ pass 4\nℹ fail 1\nℹ cancelled 0\nℹ skipped 0", 4, 1),
            ("Ran 7 tests in 0.5s\n\nOK", 7, 0),
            ("Ran 7 tests in 0.5s\n\nOK (skipped=2)", 5, 0),
            ("Ran 7 tests in 0.5s\n\nFAILED (failures=1, errors=2, skipped=1)", 3, 3),
            ("Ran 1 test in 0.5s\n\nOK", 1, 0),
            ("nothing at all", 0, 0),
        ];
        for (output, passed, failed) in rows {
            assert_eq!(count(output), Counts { passed, failed }, "{output:?}");
        }
    }
}
