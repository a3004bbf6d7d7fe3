//! `cargo xtask service-model`: the operation tables of `crates/service-model/model`, from the service models that the
//! Python client botocore is made from. Only facts go in, no prose: names, routes, members, constraints, errors.

#![allow(clippy::indexing_slicing, reason = "only JSON values are indexed, and what is missing in one is null")]

use crate::repo::Repo;
use crate::setup::{Tools, prepare_everything, venv_python};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// The services, by botocore's name.
const SERVICES: &[&str] = &["iot", "iot-data", "iot-jobs-data"];

/// Prints a model as JSON, and the version it is of.
const DUMP: &str = "import json, sys, botocore, botocore.loaders
model = botocore.loaders.Loader().load_service_model(sys.argv[1], 'service-2')
json.dump({'version': botocore.__version__, 'model': model}, sys.stdout)";

/// Writes the tables, or with `--check` says whether they are as they should be.
pub fn run(repo: &Repo, mut arguments: lexopt::Parser) -> Result<()> {
    let mut is_check = false;
    while let Some(argument) = arguments.next()? {
        match argument {
            lexopt::Arg::Long("check") => is_check = true,
            other => return Err(other.unexpected().into()),
        }
    }
    let tools = prepare_everything(repo)?;
    if is_check { check(repo, &tools) } else { write(repo, &tools) }
}

fn write(repo: &Repo, tools: &Tools) -> Result<()> {
    for service in SERVICES {
        let path = path(repo, service);
        fs::write(&path, derive(repo, tools, service)?).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Whether the tables are those of the installed botocore.
pub fn check(repo: &Repo, tools: &Tools) -> Result<()> {
    for service in SERVICES {
        let path = path(repo, service);
        if fs::read_to_string(&path).unwrap_or_default() != derive(repo, tools, service)? {
            bail!("{} is not what botocore's model gives: run `cargo xtask service-model`", path.display());
        }
    }
    Ok(())
}

fn path(repo: &Repo, service: &str) -> PathBuf {
    repo.path(format!("crates/service-model/model/{service}.txt"))
}

fn derive(repo: &Repo, tools: &Tools, service: &str) -> Result<String> {
    let mut python = tools.command(venv_python(&repo.path("target/venv")));
    let output = python.args(["-c", DUMP, service]).output().context("running Python")?;
    if !output.status.success() {
        bail!("botocore's model of {service} can't be read: {}", String::from_utf8_lossy(&output.stderr));
    }
    let dump: Value = serde_json::from_slice(&output.stdout)?;
    let version = dump["version"].as_str().context("no version")?;
    table(service, version, &dump["model"]).with_context(|| format!("the model of {service}"))
}

/// The table in the notation that the crate `service-model` describes.
fn table(service: &str, version: &str, model: &Value) -> Result<String> {
    let mut text = format!("# {service}, from botocore {version} by `cargo xtask service-model`: not edited by hand\n");
    let operations = model["operations"].as_object().context("no operations")?;
    let (mut names, mut inputs, mut errors): (Vec<&String>, BTreeSet<String>, BTreeSet<String>) = Default::default();
    names.extend(operations.keys());
    names.sort_unstable();
    for name in names {
        let operation = &operations[name];
        let http = &operation["http"];
        let input = operation["input"]["shape"].as_str().unwrap_or("-");
        let codes = operation["errors"].as_array().into_iter().flatten().filter_map(|error| error["shape"].as_str());
        let codes: Vec<&str> = codes.map(|name| name.strip_suffix("Exception").unwrap_or(name)).collect();
        errors.extend(
            operation["errors"].as_array().into_iter().flatten().filter_map(|e| Some(e["shape"].as_str()?.to_owned())),
        );
        if input != "-" {
            reach(model, input, &mut inputs)?;
        }
        writeln!(
            text,
            "operation {name} {} {} {} {input} {}",
            http["method"].as_str().context("no method")?,
            http["requestUri"].as_str().context("no path")?.split('?').next().unwrap_or_default(),
            http["responseCode"].as_u64().unwrap_or(200),
            codes.join(",")
        )?;
    }
    for name in errors {
        let status = model["shapes"][&name]["error"]["httpStatusCode"].as_u64().unwrap_or(500);
        writeln!(text, "error {name} {status}")?;
    }
    for name in inputs {
        writeln!(text, "{}", shape(&name, &model["shapes"][&name])?)?;
    }
    Ok(text)
}

/// Collects the shapes that an input is made of.
fn reach(model: &Value, name: &str, reached: &mut BTreeSet<String>) -> Result<()> {
    if !reached.insert(name.to_owned()) {
        return Ok(());
    }
    let shape = model["shapes"].get(name).with_context(|| format!("no shape {name}"))?;
    let members = shape["members"].as_object().into_iter().flat_map(|members| members.values());
    for part in members.chain([&shape["member"], &shape["key"], &shape["value"]]) {
        if let Some(name) = part["shape"].as_str() {
            reach(model, name, reached)?;
        }
    }
    Ok(())
}

fn shape(name: &str, shape: &Value) -> Result<String> {
    let kind = shape["type"].as_str().context("no type")?;
    let bound = |key: &str| shape[key].as_f64().map_or_else(|| "-".to_owned(), |bound| bound.to_string());
    let bounds = format!("{} {}", bound("min"), bound("max"));
    let of = |key: &str| shape[key]["shape"].as_str().unwrap_or_default().to_owned();
    Ok(match kind {
        "structure" => {
            let required: BTreeSet<&str> =
                shape["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let mut line = format!("structure {name}");
            for (member, about) in shape["members"].as_object().context("no members")? {
                let mark = if required.contains(member.as_str()) { "!" } else { "" };
                let wire = about["locationName"].as_str().unwrap_or(member);
                let place = match about["location"].as_str() {
                    None if shape["payload"].as_str() == Some(member) => "@".to_owned(),
                    None => String::new(),
                    Some("uri") => format!("/{wire}"),
                    Some("querystring") => format!("?{wire}"),
                    Some("header") => format!("^{wire}"),
                    Some(other) => bail!("{name}.{member} is in a place that is not known: {other}"),
                };
                write!(line, " {member}{mark}{place}:{}", about["shape"].as_str().context("no shape")?)?;
            }
            line
        }
        "list" => format!("list {name} {} {bounds}", of("member")),
        "map" => format!("map {name} {} {} {bounds}", of("key"), of("value")),
        "string" => match shape["enum"].as_array() {
            Some(values) => {
                let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
                format!("enum {name} {}", values.join(" "))
            }
            None => {
                let pattern = shape["pattern"].as_str().unwrap_or_default();
                format!("string {name} {bounds} {pattern}").trim_end().to_owned()
            }
        },
        "integer" | "long" | "double" | "float" | "blob" => format!("{kind} {name} {bounds}"),
        "boolean" | "timestamp" => format!("{kind} {name}"),
        other => bail!("{name} is of a type that is not known: {other}"),
    })
}
