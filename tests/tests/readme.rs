//! The README's commands, run as they stand there.
//!
//! Each fenced block of language `sh` has an HTML comment on the line before it:
//! - `<!-- test: tour -->`: it is run. All of these are run in order, in one bash session, in the repository's root,
//!   against a platform that was started as the README says, with fresh state; the first command that fails ends it.
//!   `UMBRA_ENDPOINT`, `UMBRA_MQTT`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_DEFAULT_REGION` say where the
//!   platform is, as the README tells its reader to set them;
//! - `<!-- test: skip REASON -->`: it is not run, and REASON says why.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::path::Path;
use std::process::{Command, Stdio};
use system_tests::dev::Dev;
use system_tests::platform::{Contract, root};

#[derive(Debug, PartialEq, Eq)]
enum Use {
    Tour,
    Skip(String),
}

#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// Of its first command, from 1.
    line: usize,
    what: Use,
    commands: String,
}

/// The blocks of language `sh`, or what is wrong with one of them.
fn blocks(markdown: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut before = "";
    let mut lines = markdown.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            before = line;
            continue;
        };
        let mut commands = String::new();
        loop {
            let (_, line) = lines.next().ok_or_else(|| format!("line {}: a fence is not closed", index + 1))?;
            if line == "```" {
                break;
            }
            commands.push_str(line);
            commands.push('\n');
        }
        if ["bash", "shell", "console", "zsh", "sh "].iter().any(|other| language.starts_with(other)) {
            return Err(format!("line {}: commands are in ```sh blocks, not {language:?}", index + 1));
        }
        if language == "sh" {
            let marker = before.trim().strip_prefix("<!-- test: ").and_then(|rest| rest.strip_suffix(" -->"));
            let what = match marker.map(|marker| marker.split_once(' ').unwrap_or((marker, ""))) {
                Some(("tour", "")) => Use::Tour,
                Some(("skip", reason)) if !reason.trim().is_empty() => Use::Skip(reason.to_owned()),
                _ => return Err(format!("line {}: no marker, or one without a reason, before ```sh", index + 1)),
            };
            blocks.push(Block { line: index + 2, what, commands });
        }
        before = "";
    }
    Ok(blocks)
}

#[test]
fn marked_blocks_are_found_and_unmarked_ones_refused() {
    let markdown = "# T\n\n<!-- test: tour -->\n```sh\na \\\n  b\n```\ntext\n```json\n{}\n```\n<!-- test: skip it is slow -->\n```sh\nc\n```\n";
    let found = blocks(markdown).unwrap();
    let wanted = [
        Block { line: 5, what: Use::Tour, commands: "a \\\n  b\n".into() },
        Block { line: 14, what: Use::Skip("it is slow".into()), commands: "c\n".into() },
    ];
    assert_eq!(found, wanted);
    for wrong in [
        "```sh\na\n```\n",
        "<!-- test: tour -->\n\n```sh\na\n```\n",
        "<!-- test: skip -->\n```sh\na\n```\n",
        "<!-- test: skip  -->\n```sh\na\n```\n",
        "<!-- test: tuor -->\n```sh\na\n```\n",
        "<!-- test: tour -->\n```bash\na\n```\n",
        "<!-- test: tour -->\n```sh\na\n",
    ] {
        assert!(blocks(wrong).is_err(), "{wrong:?} is accepted");
    }
}

fn readme() -> Vec<Block> {
    let markdown = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    blocks(&markdown).unwrap_or_else(|error| panic!("README.md {error}"))
}

#[test]
fn the_two_commands_are_in_the_readme() {
    let commands: Vec<String> =
        readme().iter().flat_map(|block| block.commands.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    for command in ["cargo xtask dev", "cargo xtask test"] {
        assert!(commands.iter().any(|line| line == command), "README.md has no line `{command}` in a ```sh block");
    }
    let ci = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(
        ci.lines().any(|line| line.trim_start_matches("exec ") == "cargo xtask test"),
        ".ci/run runs something else"
    );
}

#[test]
fn the_tour_works() {
    let tour: Vec<Block> = readme().into_iter().filter(|block| block.what == Use::Tour).collect();
    assert!(!tour.is_empty(), "README.md has no block marked `<!-- test: tour -->`");
    let temporary = tempfile::tempdir().unwrap();
    let dev = Dev::start(&["--ephemeral", "--port", "0", "--json"], temporary.path());
    let contract = dev.contract();
    let output = run(&tour, &contract, temporary.path());
    let ended = dev.terminate();
    assert_eq!(ended.left, Vec::<String>::new(), "processes are left");
    assert!(output.is_ok(), "{}\n\ncargo xtask dev said:\n{}", output.unwrap_err(), ended.stderr);
}

/// Runs the blocks in one session.
fn run(tour: &[Block], contract: &Contract, temporary: &Path) -> Result<String, String> {
    let mut script = "set -eu\n".to_owned();
    for block in tour {
        script.push_str(&format!("echo '== README.md, line {}' >&2\n{}", block.line, block.commands));
    }
    let path = temporary.join("tour.sh");
    std::fs::write(&path, script).unwrap();
    // one pipe for both, so that what failed stands behind what was done before
    let log = temporary.join("tour.log");
    let file = std::fs::File::create(&log).unwrap();
    let status = Command::new("bash")
        .arg(&path)
        .current_dir(root())
        .env("UMBRA_ENDPOINT", &contract.endpoint)
        .env("UMBRA_MQTT", &contract.mqtt)
        .env("AWS_ACCESS_KEY_ID", &contract.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &contract.secret_access_key)
        .env("AWS_DEFAULT_REGION", &contract.region)
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .status()
        .expect("bash");
    let output = std::fs::read_to_string(&log).unwrap();
    if status.success() { Ok(output) } else { Err(format!("the tour failed ({status}):\n{output}")) }
}
