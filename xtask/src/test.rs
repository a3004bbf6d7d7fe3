//! `cargo xtask test`: everything that CI runs, in stages. A failing stage does not keep the next from running.

use crate::platform::{Logs, Options, Platform};
use crate::repo::Repo;
use crate::service_model;
use crate::setup::{Tools, prepare_everything, venv_python};
use crate::shell::{run as run_command, seconds, stop_asked, tee};
use crate::test_output::{Counts, count};
use crate::{build, conformance as lists, prerequisites};
use anyhow::{Context as _, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

/// Compiled for wasm only.
const WASM_PACKAGES: &[&str] = &["--package", "durable-objects", "--package", "umbra-worker"];
/// Native, but not default members since they need a platform or minutes of compiling.
const SYSTEM_PACKAGES: &[&str] = &["--package", "system-tests", "--package", "bench"];
const WASM: &str = "wasm32-unknown-unknown";

/// How Brokers hold their sockets, `SOCKET_MODE`.
const SOCKET_MODES: &[&str] = &["hibernatable", "accepted"];
/// Stages that go by it.
const ON_THE_PLATFORM: &[&str] = &["rust", "node", "python"];
/// Of the tests in `tests/node`, those that do most with the sockets of Brokers, within three minutes. All of them run
/// with `--socket-mode accepted`.
const WITH_ACCEPTED_SOCKETS: &[&str] = &[
    "auth",
    "hibernation",
    "mqtt_conformance",
    "mqtt_cost",
    "mqtt_output",
    "mqtt_publish",
    "mqtt_qos2",
    "mqtt_retained",
    "mqtt_scale",
    "mqtt_sessions",
    "mqtt_shared",
    "panics",
    "shadow",
];

struct Stage {
    name: &'static str,
    what: &'static str,
    run: fn(&mut Context) -> Result<Counts>,
}

const STAGES: &[Stage] = &[
    Stage { name: "fmt", what: "rustfmt", run: fmt },
    Stage { name: "clippy", what: "clippy on the pure crates, xtask and the tests", run: clippy },
    Stage { name: "clippy-wasm", what: "clippy on what is compiled for wasm only", run: clippy_wasm },
    Stage { name: "unit", what: "tests of the pure crates and xtask", run: unit },
    Stage { name: "fuzz", what: "the fuzzers' corpora, replayed", run: fuzz_corpora },
    Stage { name: "doc", what: "rustdoc without warnings", run: doc },
    Stage { name: "host", what: "tests of the local host", run: host },
    Stage { name: "build", what: "the Worker: size, exported classes", run: build_worker },
    Stage { name: "deploy", what: "wrangler deploy --dry-run", run: deploy_dry_run },
    Stage { name: "wasm", what: "tests of what only exists in wasm", run: wasm },
    Stage { name: "rust", what: "system tests in Rust", run: system_rust },
    Stage { name: "node", what: "system tests in JavaScript", run: system_node },
    Stage { name: "python", what: "system tests in Python", run: system_python },
    Stage { name: "accepted", what: "system tests with SOCKET_MODE=accepted, the most telling", run: accepted },
    Stage {
        name: "conformance",
        what: "the tests named in tests/conformance ran; needs unit, rust and node",
        run: conformance,
    },
];

struct Context<'a> {
    repo: &'a Repo,
    tools: &'a Tools,
    /// Started by the first stage that needs it, shared by the rest that need it with the same `SOCKET_MODE`.
    platform: Option<(Platform, &'static str)>,
    /// What those stages get that don't say themselves.
    socket_mode: &'static str,
    /// Names of the tests that have passed so far.
    passed: BTreeSet<String>,
}

/// # Errors
/// When a stage fails.
pub fn run(repo: &Repo, parser: lexopt::Parser) -> Result<()> {
    let Some(Arguments { stages, socket_mode }) = parse(parser)? else {
        for stage in STAGES {
            println!("{:<12} {}", stage.name, stage.what);
        }
        return Ok(());
    };
    let start = Instant::now();
    prerequisites::check(prerequisites::FOR_EVERYTHING)?;
    let tools = prepare_everything(repo)?;
    let mut context = Context { repo, tools: &tools, platform: None, socket_mode, passed: BTreeSet::new() };
    let mut results = Vec::new();
    for stage in stages {
        if stop_asked() {
            bail!("interrupted");
        }
        println!("\n━━ {}: {}", stage.name, stage.what);
        let begun = Instant::now();
        results.push(conclude(stage.name, begun, (stage.run)(&mut context)));
    }
    if let Some((platform, _)) = context.platform.take() {
        println!("\n━━ end: the platform ends and leaves no process behind");
        let begun = Instant::now();
        results.push(conclude("end", begun, platform.stop().map(|()| ONE_PASSED)));
    }
    summarise(&results, start.elapsed())
}

struct Conclusion {
    name: &'static str,
    took: Duration,
    counts: Counts,
}

fn conclude(name: &'static str, begun: Instant, result: Result<Counts>) -> Conclusion {
    let counts = result.unwrap_or_else(|error| {
        println!("{name}: {error:#}");
        Counts { passed: 0, failed: 1 }
    });
    let took = begun.elapsed();
    println!("━━ {name}: {} passed, {} failed in {}", counts.passed, counts.failed, seconds(took));
    Conclusion { name, took, counts }
}

fn summarise(results: &[Conclusion], took: Duration) -> Result<()> {
    println!("\n━━ all of it took {}", seconds(took));
    let mut sum = Counts::default();
    for Conclusion { name, took, counts } in results {
        sum.add(*counts);
        let verdict = if counts.failed == 0 { "ok" } else { "FAILED" };
        println!("{name:<12} {verdict:<6} {:>5} passed {:>5} failed  {}", counts.passed, counts.failed, seconds(*took));
    }
    // the line that CI reads
    println!("{} passed, {} failed", sum.passed, sum.failed);
    if sum.failed == 0 { Ok(()) } else { bail!("{} failed", sum.failed) }
}

struct Arguments {
    stages: Vec<&'static Stage>,
    socket_mode: &'static str,
}

/// What to run, or `None` when the stages shall be listed.
fn parse(mut parser: lexopt::Parser) -> Result<Option<Arguments>> {
    let mut wanted: Vec<String> = Vec::new();
    let mut socket_mode = None;
    while let Some(argument) = parser.next()? {
        use lexopt::prelude::*;
        match argument {
            Long("list") => return Ok(None),
            Long("only") => wanted.extend(parser.value()?.string()?.split(',').map(str::to_owned)),
            Long("socket-mode") => {
                let value = parser.value()?.string()?;
                socket_mode = SOCKET_MODES.iter().find(|mode| **mode == value).copied();
                if socket_mode.is_none() {
                    bail!("--socket-mode takes {}, not {value:?}", SOCKET_MODES.join(" or "));
                }
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if let Some(unknown) = wanted.iter().find(|name| !STAGES.iter().any(|stage| stage.name == *name)) {
        bail!("no stage {unknown:?}: see cargo xtask test --list");
    }
    if socket_mode.is_some() {
        if let Some(other) = wanted.iter().find(|name| !ON_THE_PLATFORM.contains(&name.as_str())) {
            bail!("--socket-mode is for {}, not for {other:?}", ON_THE_PLATFORM.join(", "));
        }
        if wanted.is_empty() {
            wanted.extend(ON_THE_PLATFORM.iter().map(|name| (*name).to_owned()));
        }
    }
    let is_wanted = |stage: &&Stage| wanted.is_empty() || wanted.iter().any(|name| name == stage.name);
    let stages = STAGES.iter().filter(is_wanted).collect();
    Ok(Some(Arguments { stages, socket_mode: socket_mode.unwrap_or("hibernatable") }))
}

/// What a stage that is one check counts as.
const ONE_PASSED: Counts = Counts { passed: 1, failed: 0 };

impl Context<'_> {
    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = self.tools.command("cargo");
        cargo.args(arguments).current_dir(self.repo.root());
        cargo
    }

    /// Runs a command that is one check. Its failure is a result, so that the stage's other checks run too.
    fn check(&self, command: &mut Command) -> Result<Counts> {
        let (status, _) = tee(command)?;
        Ok(if status.success() { ONE_PASSED } else { Counts { passed: 0, failed: 1 } })
    }

    /// Runs a test runner. One that finds no test at all has failed: the tests were there when this was written.
    fn tests(&mut self, command: &mut Command) -> Result<Counts> {
        let (status, output) = tee(command)?;
        let mut counts = count(&output);
        self.passed.append(&mut lists::passed(&output));
        if counts.total() == 0 {
            bail!("no test ran ({status})");
        }
        if !status.success() && counts.failed == 0 {
            counts.failed = 1;
        }
        Ok(counts)
    }

    /// The contract of the running platform.
    fn platform(&mut self, socket_mode: &'static str) -> Result<String> {
        if let Some((other, _)) = self.platform.take_if(|(_, running)| *running != socket_mode) {
            other.stop()?;
        }
        if self.platform.is_none() {
            build::build(self.repo, self.tools)?;
            let log_file = self.repo.path(log_file(socket_mode));
            if log_file.exists() {
                std::fs::remove_file(&log_file)?;
            }
            let options = Options {
                port: 0,
                ephemeral: true,
                tls: false,
                device: false,
                control: true,
                // several of each, so that every test crosses from one object to another
                vars: BTreeMap::from([
                    ("BROKERS".to_owned(), "3".to_owned()),
                    ("ROUTER_SHARDS".to_owned(), "4".to_owned()),
                    ("SOCKET_MODE".to_owned(), socket_mode.to_owned()),
                ]),
                logs: Logs::Hidden,
                log_file,
            };
            self.platform = Some((Platform::start(self.repo, self.tools, &options)?, socket_mode));
        }
        let contract = self.platform.as_ref().map(|(platform, _)| platform.contract().to_string());
        contract.context("the platform does not run")
    }

    /// Runs a test runner against the platform.
    fn system_tests(&mut self, command: &mut Command) -> Result<Counts> {
        self.system_tests_with(self.socket_mode, command)
    }

    fn system_tests_with(&mut self, socket_mode: &'static str, command: &mut Command) -> Result<Counts> {
        let contract = self.platform(socket_mode)?;
        let counts = self.tests(command.env("UMBRA_PLATFORM", contract).current_dir(self.repo.root()))?;
        if counts.failed > 0 {
            println!("the Worker's log is {}", log_file(socket_mode));
        }
        Ok(counts)
    }
}

fn log_file(socket_mode: &str) -> &'static str {
    if socket_mode == "accepted" { "target/test-logs/worker-accepted.log" } else { "target/test-logs/worker.log" }
}

fn fmt(context: &mut Context) -> Result<Counts> {
    context.check(&mut context.cargo(&["fmt", "--all", "--check"]))
}

fn clippy(context: &mut Context) -> Result<Counts> {
    let mut counts =
        context.check(&mut context.cargo(&["clippy", "--locked", "--all-targets", "--", "-D", "warnings"]))?;
    let mut others = context.cargo(&["clippy", "--locked", "--all-targets"]);
    counts.add(context.check(others.args(SYSTEM_PACKAGES).args(["--", "-D", "warnings"]))?);
    Ok(counts)
}

fn clippy_wasm(context: &mut Context) -> Result<Counts> {
    let mut cargo = context.cargo(&["clippy", "--locked", "--all-targets", "--target", WASM]);
    context.check(cargo.args(WASM_PACKAGES).args(["--", "-D", "warnings"]))
}

fn unit(context: &mut Context) -> Result<Counts> {
    let mut cargo = context.cargo(&["test", "--locked", "--no-fail-fast"]);
    context.tests(&mut cargo)
}

/// The fuzz targets are a workspace of their own: only fuzzing itself needs nightly.
fn fuzz_corpora(context: &mut Context) -> Result<Counts> {
    let manifest = context.repo.path("fuzz/Cargo.toml");
    let mut cargo = context.cargo(&["test", "--locked", "--package", "fuzz-targets", "--manifest-path"]);
    cargo.arg(manifest).arg("--target-dir").arg(context.repo.path("target"));
    context.tests(&mut cargo)
}

fn doc(context: &mut Context) -> Result<Counts> {
    let mut counts = context
        .check(context.cargo(&["doc", "--locked", "--quiet", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    let mut wasm = context.cargo(&["doc", "--locked", "--quiet", "--no-deps", "--target", WASM]);
    counts.add(context.check(wasm.args(WASM_PACKAGES).env("RUSTDOCFLAGS", "-D warnings"))?);
    Ok(counts)
}

/// One file after the other: they share a platform, and some put its objects to sleep or start it again.
fn node_tests(context: &Context, patterns: &[String]) -> Command {
    let mut node = context.tools.node();
    node.args(["--test", "--test-reporter=spec", "--test-concurrency=1"]).args(patterns);
    node.current_dir(context.repo.root());
    node
}

fn host(context: &mut Context) -> Result<Counts> {
    let mut node = node_tests(context, &["xtask/host/**/*.test.mjs".to_owned()]);
    context.tests(&mut node)
}

fn build_worker(context: &mut Context) -> Result<Counts> {
    build::build(context.repo, context.tools)?;
    Ok(ONE_PASSED)
}

fn deploy_dry_run(context: &mut Context) -> Result<Counts> {
    build::build(context.repo, context.tools)?;
    let mut wrangler = context.tools.npm_bin("wrangler");
    wrangler.args(["deploy", "--dry-run", "--outdir", "target/dry-run"]);
    wrangler.env("WRANGLER_SEND_METRICS", "false").env("DO_NOT_TRACK", "1").env("NO_COLOR", "1");
    let counts = context.check(wrangler.current_dir(context.repo.root()))?;
    for name in ["index.js", "umbra_bg.wasm"] {
        if counts.failed == 0 && !context.repo.path("target/dry-run").join(name).is_file() {
            bail!("wrangler would not upload {name}");
        }
    }
    Ok(counts)
}

fn wasm(context: &mut Context) -> Result<Counts> {
    let mut cargo = context.cargo(&["test", "--locked", "--no-fail-fast", "--target", WASM]);
    let runner = context.repo.tools_dir().join("wasm-bindgen-test-runner");
    cargo.args(WASM_PACKAGES).arg("--tests").env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner);
    // the worker crate imports cloudflare:* modules, which only workerd has
    let stub = context.repo.path("xtask/host/cloudflare-modules.mjs");
    cargo.env("NODE_ARGS", format!("--import={}", stub.display()));
    context.tests(&mut cargo)
}

fn system_rust(context: &mut Context) -> Result<Counts> {
    // first, so that the platform does not wait while this compiles
    run_command(&mut context.cargo(&["test", "--locked", "--no-run", "--package", "system-tests"]))?;
    let mut cargo = context.cargo(&["test", "--locked", "--no-fail-fast", "--package", "system-tests"]);
    context.system_tests(&mut cargo)
}

fn system_node(context: &mut Context) -> Result<Counts> {
    let mut node = node_tests(context, &["tests/node/**/*.test.mjs".to_owned()]);
    context.system_tests(&mut node)
}

fn accepted(context: &mut Context) -> Result<Counts> {
    let files: Vec<String> = WITH_ACCEPTED_SOCKETS.iter().map(|name| node_test_file(name)).collect();
    let mut node = node_tests(context, &files);
    context.system_tests_with("accepted", &mut node)
}

fn node_test_file(name: &str) -> String {
    format!("tests/node/{name}.test.mjs")
}

fn system_python(context: &mut Context) -> Result<Counts> {
    service_model::check(context.repo, context.tools)?;
    let mut python = context.tools.command(venv_python(&context.repo.path("target/venv")));
    python.args(["-W", "error::ResourceWarning", "-m", "unittest", "discover", "--start-directory", "tests/python"]);
    context.system_tests(python.env("PYTHONDONTWRITEBYTECODE", "1"))
}

/// Every test that the lists name has run in this very run, and passed.
fn conformance(context: &mut Context) -> Result<Counts> {
    let mut counts = Counts::default();
    for name in ["mqtt-3.1.1.tsv", "mqtt-5.0.tsv"] {
        let path = context.repo.path("tests/conformance").join(name);
        let list = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let missing = lists::not_passed(&list, &context.passed);
        for line in &missing {
            println!("{name}: not among the tests that passed: {line}");
        }
        counts.add(if missing.is_empty() { ONE_PASSED } else { Counts { passed: 0, failed: 1 } });
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arguments: &[&str]) -> Result<Option<Vec<&'static str>>> {
        let arguments = parse(lexopt::Parser::from_args(arguments))?;
        Ok(arguments.map(|Arguments { stages, .. }| stages.iter().map(|stage| stage.name).collect()))
    }

    #[test]
    fn stages_run_in_their_own_order_whatever_the_order_of_names() {
        assert_eq!(names(&["--only", "unit,fmt", "--only", "build"]).unwrap().unwrap(), ["fmt", "unit", "build"]);
        assert_eq!(names(&[]).unwrap().unwrap().len(), STAGES.len());
        assert!(names(&["--list"]).unwrap().is_none());
        assert!(names(&["--only", "ftm"]).is_err());
    }

    #[test]
    fn a_socket_mode_is_for_the_stages_on_the_platform() {
        for mode in SOCKET_MODES {
            assert_eq!(names(&["--socket-mode", mode]).unwrap().unwrap(), ON_THE_PLATFORM);
            assert_eq!(names(&["--socket-mode", mode, "--only", "python"]).unwrap().unwrap(), ["python"]);
            for stage in ["unit", "accepted", "conformance"] {
                assert!(names(&["--socket-mode", mode, "--only", stage]).is_err(), "{stage}");
            }
        }
        assert!(names(&["--socket-mode", "open"]).is_err());
    }

    #[test]
    fn the_tests_with_accepted_sockets_exist() {
        let repo = Repo::find().unwrap();
        for name in WITH_ACCEPTED_SOCKETS {
            assert!(repo.path(node_test_file(name)).is_file(), "{name}");
        }
    }
}
