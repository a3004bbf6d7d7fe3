//! The layers of ARCHITECTURE.md, checked over `cargo metadata`: which package may depend on which.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Types and formats.
const L0: &[&str] =
    &["iot-types", "mqtt-topic", "mqtt-codec", "json-doc", "x509", "authorizer", "service-model", "fleet-index"];
/// Domains, with no edges among them except to `messages`.
const L1: &[&str] = &[
    "mqtt-session",
    "routing",
    "shadow",
    "jobs",
    "rules",
    "policy",
    "device-auth",
    "registry",
    "notifications",
    "placement",
    "provisioning",
    "messages",
];
/// What composes the domains.
const L2: &[&str] = &["broker", "sessions"];
/// For tests only.
const DEV_ONLY: &[&str] = &["sim"];

/// What makes a crate depend on Cloudflare, on JavaScript or on a runtime.
const PLATFORM: &[&str] =
    &["worker", "worker-sys", "wasm-bindgen", "wasm-bindgen-futures", "js-sys", "web-sys", "tokio"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Normal and build dependencies, on any target.
    Built,
    /// Dependencies of tests.
    Dev,
}

#[derive(Debug, Default)]
struct Package {
    name: String,
    /// Its directory in the repository; `None` for packages from elsewhere.
    directory: Option<String>,
    /// Ids of what it depends on.
    dependencies: BTreeSet<(String, Kind)>,
}

/// Packages by their id: one name may be there in several versions.
type Graph = BTreeMap<String, Package>;

/// Reads what `cargo metadata --format-version 1` prints. `None` when it is not that.
fn graph(metadata: &Value) -> Option<Graph> {
    let root = metadata.get("workspace_root")?.as_str()?;
    let mut graph = Graph::new();
    for package in metadata.get("packages")?.as_array()? {
        let manifest = package.get("manifest_path")?.as_str()?;
        let directory = manifest.strip_prefix(root).and_then(|path| path.strip_suffix("/Cargo.toml"));
        let directory =
            package.get("source")?.is_null().then(|| directory.unwrap_or_default().trim_matches('/').to_owned());
        let name = package.get("name")?.as_str()?.to_owned();
        graph.insert(package.get("id")?.as_str()?.to_owned(), Package { name, directory, ..Package::default() });
    }
    for node in metadata.get("resolve")?.get("nodes")?.as_array()? {
        let package = graph.get_mut(node.get("id")?.as_str()?)?;
        for dependency in node.get("deps")?.as_array()? {
            let id = dependency.get("pkg")?.as_str()?;
            for kind in dependency.get("dep_kinds")?.as_array()? {
                let kind = if kind.get("kind")?.as_str() == Some("dev") { Kind::Dev } else { Kind::Built };
                package.dependencies.insert((id.to_owned(), kind));
            }
        }
    }
    Some(graph)
}

/// Every edge that the layers do not allow, in words.
fn violations(graph: &Graph) -> Vec<String> {
    let mut violations = Vec::new();
    for package in graph.values() {
        let Some(directory) = &package.directory else { continue };
        let is_pure = directory.starts_with("crates/");
        let name = package.name.as_str();
        let Some(allowed) = allowed_dependencies(name, is_pure) else {
            violations.push(format!("{directory} is in no layer: give {name} its place in xtask/src/layers.rs"));
            continue;
        };
        for (id, kind) in &package.dependencies {
            let Some(target) = graph.get(id).filter(|target| target.directory.is_some()) else { continue };
            let to = target.name.as_str();
            let is_allowed = match kind {
                Kind::Built => allowed.is_none_or(|layers| layers.iter().any(|layer| layer.contains(&to))),
                // tests of a crate may use any other crate, but nothing that needs the platform
                Kind::Dev => !is_pure || target.directory.as_ref().is_some_and(|to| to.starts_with("crates/")),
            };
            if !is_allowed || DEV_ONLY.contains(&to) && *kind == Kind::Built {
                violations.push(format!("{name} must not depend on {to}"));
            }
        }
        if is_pure {
            violations.extend(path_to_platform(graph, package).map(|path| format!("{name} must not reach {path}")));
        }
    }
    violations
}

/// The layers that a package of ours may depend on, `Some(None)` for all; `None` when it has no place.
fn allowed_dependencies(name: &str, is_pure: bool) -> Option<Option<&'static [&'static [&'static str]]>> {
    match name {
        _ if !is_pure || DEV_ONLY.contains(&name) => Some(None),
        // above all others in L1, below them in meaning: what objects say to each other
        "messages" => Some(Some(&[L0])),
        _ if L0.contains(&name) => Some(Some(&[L0])),
        _ if L1.contains(&name) => Some(Some(&[L0, &["messages"]])),
        _ if L2.contains(&name) => Some(Some(&[L0, L1])),
        _ => None,
    }
}

/// A chain of dependencies from the package to one that a pure crate must not have.
fn path_to_platform(graph: &Graph, from: &Package) -> Option<String> {
    let mut paths = vec![(from, String::new())];
    let mut seen = BTreeSet::new();
    while let Some((package, path)) = paths.pop() {
        for (id, kind) in &package.dependencies {
            let Some(target) = graph.get(id).filter(|_| *kind == Kind::Built && seen.insert(id)) else { continue };
            let path = if path.is_empty() { target.name.clone() } else { format!("{path} → {}", target.name) };
            if PLATFORM.contains(&target.name.as_str()) {
                return Some(path);
            }
            paths.push((target, path));
        }
    }
    None
}

/// Members whose manifest does not take over the workspace's lints.
fn without_workspace_lints(graph: &Graph, manifest: impl Fn(&str) -> Option<toml::Table>) -> Vec<String> {
    let directories = graph.values().filter_map(|package| package.directory.as_deref());
    let takes_over = |directory: &str| {
        let manifest = manifest(directory)?;
        manifest.get("lints")?.get("workspace")?.as_bool()
    };
    directories.filter(|directory| takes_over(directory) != Some(true)).map(str::to_owned).collect()
}

#[test]
fn packages_keep_to_their_layers() {
    let graph = this_repository();
    assert!(graph.values().any(|package| package.directory.as_deref() == Some("crates/broker")));
    assert_eq!(violations(&graph), Vec::<String>::new());
}

#[test]
fn every_member_has_the_workspaces_lints() {
    let read = |directory: &str| {
        let path = crate::repo::Repo::find().ok()?.path(directory).join("Cargo.toml");
        std::fs::read_to_string(path).ok()?.parse().ok()
    };
    assert_eq!(without_workspace_lints(&this_repository(), read), Vec::<String>::new());
}

fn this_repository() -> Graph {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command.args(["metadata", "--format-version", "1", "--locked", "--all-features"]);
    let output = command.current_dir(crate::repo::Repo::find().unwrap().root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    graph(&serde_json::from_slice(&output.stdout).unwrap()).unwrap()
}

#[test]
fn each_kind_of_violation_is_caught() {
    type Row = (&'static [(&'static str, &'static str, Kind)], &'static [&'static str]);
    let rows: &[Row] = &[
        (&[("shadow", "json-doc", Kind::Built), ("shadow", "messages", Kind::Built)], &[]),
        (&[("broker", "shadow", Kind::Built), ("sim", "broker", Kind::Built), ("broker", "sim", Kind::Dev)], &[]),
        (&[("rules", "shadow", Kind::Dev)], &[]),
        (&[("umbra-worker", "worker", Kind::Built), ("umbra-worker", "broker", Kind::Built)], &[]),
        (&[("shadow", "tokio", Kind::Dev)], &[]),
        (&[("iot-types", "messages", Kind::Built)], &["iot-types must not depend on messages"]),
        (&[("messages", "shadow", Kind::Built)], &["messages must not depend on shadow"]),
        (&[("shadow", "rules", Kind::Built)], &["shadow must not depend on rules"]),
        (&[("shadow", "broker", Kind::Built)], &["shadow must not depend on broker"]),
        (&[("broker", "sim", Kind::Built)], &["broker must not depend on sim"]),
        (&[("umbra-worker", "sim", Kind::Built)], &["umbra-worker must not depend on sim"]),
        (&[("broker", "umbra-worker", Kind::Built)], &["broker must not depend on umbra-worker"]),
        (&[("broker", "umbra-worker", Kind::Dev)], &["broker must not depend on umbra-worker"]),
        (&[("rules", "tokio", Kind::Built)], &["rules must not reach tokio"]),
        (
            &[("iot-types", "helper", Kind::Built), ("helper", "js-sys", Kind::Built)],
            &["iot-types must not reach helper → js-sys"],
        ),
        (&[("iot-types", "helper", Kind::Built), ("helper", "js-sys", Kind::Dev)], &[]),
        (
            &[("unheard-of", "iot-types", Kind::Built)],
            &["crates/unheard-of is in no layer: give unheard-of its place in xtask/src/layers.rs"],
        ),
    ];
    for (edges, expected) in rows {
        let mut graph = Graph::new();
        for (from, to, kind) in *edges {
            for name in [from, to] {
                let directory = match *name {
                    "tokio" | "worker" | "js-sys" | "helper" => None,
                    "umbra-worker" => Some("workers".to_owned()),
                    name => Some(format!("crates/{name}")),
                };
                let package = Package { name: (*name).to_owned(), directory, ..Package::default() };
                graph.entry((*name).to_owned()).or_insert(package);
            }
            graph.get_mut(*from).unwrap().dependencies.insert(((*to).to_owned(), *kind));
        }
        assert_eq!(violations(&graph), *expected, "{edges:?}");
    }
}

#[test]
fn a_member_without_the_lints_is_caught() {
    let package = |directory: &str| Package { directory: Some(directory.to_owned()), ..Package::default() };
    let graph = Graph::from(["a", "b", "c"].map(|name| (name.to_owned(), package(name))));
    let manifest = |directory: &str| match directory {
        "a" => "[lints]\nworkspace = true".parse().ok(),
        "b" => "[lints]\nworkspace = false".parse().ok(),
        _ => "[package]".parse().ok(),
    };
    assert_eq!(without_workspace_lints(&graph, manifest), ["b", "c"]);
}
