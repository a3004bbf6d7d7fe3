//! The Worker as it is deployed: cargo → wasm-bindgen → wasm-opt → esbuild → `build/index.js` and `build/umbra_bg.wasm`.
//!
//! worker-build does the same, but knows only `cargo +nightly` and a JavaScript entry of its own; ours extends `DurableObject`.

use crate::names;
use crate::repo::{Repo, Stamp, fingerprint, read};
use crate::setup::{Tools, lock};
use crate::shell::{run, run_quietly, say, timed};
use crate::wrangler::Wrangler;
use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use std::fs;
use std::io::Write;

const PACKAGE: &str = "umbra-worker";
/// The Worker before wasm-bindgen, with mangled names.
pub const CARGO_OUTPUT: &str = "target/worker/wasm32-unknown-unknown/release/umbra_worker.wasm";
/// The deployed module but for the names of its functions, which are whole here.
pub const FULL_NAMES: &str = "target/worker/umbra_full_names.wasm";
const ENTRY: &str = "workers/entry/index.js";

/// A panic unwinds, so that it costs one request and not the isolate; V8 in workerd knows the older exception instructions.
const RUSTFLAGS: &str = "-Cpanic=unwind -Cllvm-args=-wasm-use-legacy-eh";

const BINDGEN: &[&str] = &[
    "--target=module",
    "--out-name=umbra",
    "--no-typescript",
    // what the entry needs to begin anew after an abort, which even unwinding cannot catch
    "--experimental-reset-state-function",
    "--force-enable-abort-handler",
];

/// Named features and not `--all-features`, so that nothing is emitted which workerd does not know yet.
/// The function names stay, shortened by [`names`]: without them a stack trace says nothing.
const WASM_OPT: &[&str] = &[
    "-Os",
    "--enable-mutable-globals",
    "--enable-sign-ext",
    "--enable-nontrapping-float-to-int",
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-reference-types",
    "--enable-exception-handling",
    "--debuginfo",
];

/// What every account may upload, whichever of the platform's limits holds there (docs/decisions/0025).
const GZIP_LIMIT_BYTES: usize = 3 * 1024 * 1024 - 64 * 1024;

/// # Errors
/// When a step fails, the result is too large, or it lacks a class that wrangler.toml names.
pub fn build(repo: &Repo, tools: &Tools) -> Result<()> {
    let _lock = lock(repo)?;
    if !repo.path(ENTRY).is_file() {
        bail!("{ENTRY} is missing");
    }
    timed("compiling the Worker", || {
        let mut cargo = tools.command("rustup");
        cargo.args([
            "run",
            &tools.nightly,
            "cargo",
            "build",
            "--quiet",
            "--locked",
            "--release",
            "--lib",
            "--package",
            PACKAGE,
        ]);
        cargo.args([
            "-Zbuild-std=std,panic_unwind",
            "-Zbuild-std-features=optimize_for_size",
            "--target=wasm32-unknown-unknown",
            "--target-dir",
        ]);
        cargo.arg(repo.path("target/worker")).env("RUSTFLAGS", RUSTFLAGS);
        // the macros then emit js_sys::futures, which the worker crate expects
        cargo.env("WASM_BINDGEN_USE_JS_SYS", "1").current_dir(repo.root());
        run(&mut cargo)
    })?;
    let compiled = read(&repo.path(CARGO_OUTPUT)).context("the crate needs crate-type cdylib")?;
    let settings = [BINDGEN.join(" "), WASM_OPT.join(" "), "short names".to_owned()].join("\n");
    let tool_versions = [read(&repo.tools_dir().join(".stamp"))?, read(&repo.path("package-lock.json"))?].concat();
    let stamp = Stamp::new(repo.path("build/.stamp"), fingerprint(&[&compiled, settings.as_bytes(), &tool_versions]));
    if !(stamp.is_current()
        && repo.path("build/umbra_bg.wasm").is_file()
        && repo.path(FULL_NAMES).is_file()
        && repo.path("build/bindgen/umbra.js").is_file())
    {
        fs::create_dir_all(repo.path("build"))?;
        stamp.remove()?;
        bind(repo, tools)?;
        optimise(repo, tools)?;
        stamp.write()?;
    }
    let bundled = bundle(repo, tools)?;
    let missing = missing_exports(&bundled, &Wrangler::load(repo)?.class_names());
    if !missing.is_empty() {
        bail!(
            "{ENTRY} does not export {}, which wrangler.toml names (a class in a library crate is exported only when the cdylib names the crate)",
            missing.join(", ")
        );
    }
    check_sizes(repo)
}

fn bind(repo: &Repo, tools: &Tools) -> Result<()> {
    let directory = repo.path("build/bindgen");
    timed("wasm-bindgen", || {
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        let mut bindgen = tools.tool("wasm-bindgen");
        run(bindgen.arg(repo.path(CARGO_OUTPUT)).args(BINDGEN).arg("--out-dir").arg(&directory))?;
        // workerd takes the compiled module from an ordinary import
        let glue = directory.join("umbra.js");
        let text = fs::read_to_string(&glue).context("wasm-bindgen wrote no umbra.js")?;
        Ok(fs::write(&glue, text.replace("import source ", "import "))?)
    })
}

fn optimise(repo: &Repo, tools: &Tools) -> Result<()> {
    timed("wasm-opt", || {
        let mut wasm_opt = tools.npm_bin("wasm-opt");
        wasm_opt.arg(repo.path("build/bindgen/umbra_bg.wasm")).args(WASM_OPT);
        run(wasm_opt.arg("-o").arg(repo.path(FULL_NAMES)))
    })?;
    let deployed = names::with_short_names(&read(&repo.path(FULL_NAMES))?).context(FULL_NAMES)?;
    Ok(fs::write(repo.path("build/umbra_bg.wasm"), deployed)?)
}

/// One module, and esbuild's description of it.
fn bundle(repo: &Repo, tools: &Tools) -> Result<Value> {
    let mut esbuild = tools.npm_bin("esbuild");
    esbuild.args([
        ENTRY,
        "--bundle",
        "--format=esm",
        "--target=es2022",
        "--outfile=build/index.js",
        "--metafile=build/meta.json",
    ]);
    esbuild.args(["--alias:umbra-wasm=./build/bindgen/umbra.js", "--external:*.wasm", "--external:cloudflare:*"]);
    // names stay readable in stack traces
    esbuild.args(["--minify-whitespace", "--minify-syntax", "--log-level=warning"]);
    run_quietly(esbuild.current_dir(repo.root()))?;
    serde_json::from_slice(&read(&repo.path("build/meta.json"))?).context("build/meta.json")
}

fn missing_exports(metafile: &Value, class_names: &[String]) -> Vec<String> {
    let exports = metafile.pointer("/outputs/build~1index.js/exports").and_then(Value::as_array);
    let is_exported = |name: &str| exports.is_some_and(|exports| exports.iter().any(|export| export == name));
    class_names
        .iter()
        .map(String::as_str)
        .chain(["default"])
        .filter(|name| !is_exported(name))
        .map(str::to_owned)
        .collect()
}

fn check_sizes(repo: &Repo) -> Result<()> {
    let mut total = 0;
    let mut parts = Vec::new();
    for name in ["umbra_bg.wasm", "index.js"] {
        let bytes = read(&repo.path("build").join(name))?;
        let compressed = gzip_size(&bytes)?;
        total += compressed;
        parts.push(format!("{name} {} KiB, {} gzip", kib(bytes.len()), kib(compressed)));
    }
    say(format_args!("build/: {}; together {} of {} KiB gzip", parts.join("; "), kib(total), kib(GZIP_LIMIT_BYTES)));
    if total > GZIP_LIMIT_BYTES {
        bail!("the Worker is {} KiB gzip, more than {}", kib(total), kib(GZIP_LIMIT_BYTES));
    }
    Ok(())
}

fn gzip_size(bytes: &[u8]) -> Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}

fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_class_or_default_handler_that_is_not_exported_is_named() {
        let metafile = json!({ "outputs": { "build/index.js": { "exports": ["Broker", "default"] } } });
        assert!(missing_exports(&metafile, &["Broker".to_owned()]).is_empty());
        assert_eq!(missing_exports(&metafile, &["Broker".to_owned(), "Thing".to_owned()]), ["Thing"]);
        assert_eq!(missing_exports(&json!({}), &["Broker".to_owned()]), ["Broker", "default"]);
    }
}
