//! What must be on the machine. All that is missing is named at once, with the command that mends it.

use crate::shell::capture;
use anyhow::{Result, bail};
use std::fmt::Write;
use std::process::Command;

/// The oldest Node that npm and the host start with; the runtime itself wants 22, which npm brings where it is missing.
const OLDEST_NODE: (u32, u32) = (20, 0);
const OLDEST_PYTHON: (u32, u32) = (3, 11);

/// One thing that must be there.
pub struct Prerequisite {
    what: &'static str,
    is_met: fn() -> bool,
    debian: &'static str,
    macos: &'static str,
}

const RUSTUP: Prerequisite = Prerequisite {
    what: "rustup",
    is_met: || runs("rustup", &["--version"]),
    debian: "apt-get install rustup",
    macos: "brew install rustup",
};
const NODE: Prerequisite = Prerequisite {
    what: "Node ≥ 20",
    is_met: || version_of("node", &["--version"]).is_some_and(|found| found >= OLDEST_NODE),
    debian: "apt-get install nodejs",
    macos: "brew install node",
};
const NPM: Prerequisite = Prerequisite {
    what: "npm",
    is_met: || runs("npm", &["--version"]),
    debian: "apt-get install npm",
    macos: "brew install node",
};
const GIT: Prerequisite = Prerequisite {
    what: "git",
    is_met: || runs("git", &["--version"]),
    debian: "apt-get install git",
    macos: "xcode-select --install",
};
const COMPILER: Prerequisite = Prerequisite {
    what: "a C and C++ compiler (cc, c++)",
    is_met: || runs("cc", &["--version"]) && runs("c++", &["--version"]),
    debian: "apt-get install build-essential",
    macos: "xcode-select --install",
};
const PYTHON: Prerequisite = Prerequisite {
    what: "Python ≥ 3.11",
    is_met: || version_of("python3", &["--version"]).is_some_and(|found| found >= OLDEST_PYTHON),
    debian: "apt-get install python3",
    macos: "brew install python",
};
const VENV: Prerequisite = Prerequisite {
    what: "Python's venv",
    is_met: || runs("python3", &["-c", "import venv, ensurepip"]),
    debian: "apt-get install python3-venv",
    macos: "brew install python",
};
const OPENSSL: Prerequisite = Prerequisite {
    what: "openssl",
    is_met: || runs("openssl", &["version"]),
    debian: "apt-get install openssl",
    macos: "brew install openssl",
};

/// For `build`, which also runs where there is no Python, such as in a deploy.
pub const FOR_BUILD: &[Prerequisite] = &[RUSTUP, COMPILER, NODE, NPM];
/// For `dev` and `test`.
pub const FOR_EVERYTHING: &[Prerequisite] = &[GIT, RUSTUP, COMPILER, NODE, NPM, PYTHON, VENV, OPENSSL];

/// # Errors
/// When something is missing.
pub fn check(needed: &[Prerequisite]) -> Result<()> {
    let missing: Vec<&Prerequisite> = needed.iter().filter(|one| !(one.is_met)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("{}", report(&missing))
}

fn report(missing: &[&Prerequisite]) -> String {
    let mut text = String::from("this machine lacks:\n");
    for one in missing {
        // writing to a String cannot fail
        let _ = writeln!(text, "  {:<32} Debian: {:<34} macOS: {}", one.what, one.debian, one.macos);
    }
    text
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    capture(Command::new(program).args(arguments)).is_ok()
}

/// `major.minor` of what a `--version` prints.
pub fn version_of(program: &str, arguments: &[&str]) -> Option<(u32, u32)> {
    parse_version(&capture(Command::new(program).args(arguments)).ok()?)
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let number = text.trim_start_matches(|character: char| !character.is_ascii_digit());
    let mut parts = number.split(|character: char| !character.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_tools_print() {
        for (printed, expected) in [
            ("v20.20.2\n", Some((20, 20))),
            ("Python 3.11.7\n", Some((3, 11))),
            ("git version 2.39", Some((2, 39))),
            ("", None),
            ("v20", None),
        ] {
            assert_eq!(parse_version(printed), expected, "{printed:?}");
        }
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once_with_its_remedy() {
        let text = report(&[&GIT, &OPENSSL]);
        for expected in ["git", "openssl", "apt-get install openssl", "xcode-select --install"] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }
}
