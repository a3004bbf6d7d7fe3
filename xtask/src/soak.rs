//! `cargo xtask soak`: the tests that scale, at full size and optimised. The same code as in `test`, told by the environment.

use crate::prerequisites;
use crate::repo::Repo;
use crate::shell::{say, seconds, tee};
use crate::test_output::count;
use anyhow::{Result, bail};
use std::process::Command;
use std::time::Instant;

/// What the tests read: the sizes of `test` are their defaults.
const FULL_SIZE: &[(&str, &str)] =
    &[("UMBRA_SCALE", "full"), ("UMBRA_SIM_STEPS", "2000000"), ("PROPTEST_CASES", "20000")];

/// # Errors
/// When a test fails.
pub fn run(repo: &Repo) -> Result<()> {
    prerequisites::check(prerequisites::FOR_BUILD)?;
    let start = Instant::now();
    for (name, value) in FULL_SIZE {
        say(format_args!("{name}={value}"));
    }
    let mut cargo = Command::new("cargo");
    // optimised as the native tools are: a release build would take longer to link than it saves
    cargo.args(["test", "--locked", "--profile", "tools", "--no-fail-fast"]).current_dir(repo.root());
    let (status, output) = tee(cargo.envs(FULL_SIZE.iter().copied()))?;
    let counts = count(&output);
    println!("\nsoak took {}", seconds(start.elapsed()));
    println!("{} passed, {} failed", counts.passed, counts.failed);
    if status.success() { Ok(()) } else { bail!("soak failed: {status}") }
}
