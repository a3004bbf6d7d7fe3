//! `cargo xtask size`: which crate adds how much to the deployed wasm.

mod module;

use crate::build::{self, CARGO_OUTPUT, FULL_NAMES};
use crate::repo::{Repo, read};
use crate::shell::say;
use crate::symbols::{defining_crate, leading_crate, readable, trait_of, without_arguments, without_number};
use crate::{prerequisites, setup};
use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use module::{Function, Module};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

pub const USAGE: &str = "\
cargo xtask size [options]
  --top N           functions, generic functions and modules to print (20)
  --json            everything, in bytes, as JSON on stdout
  --no-build        of what was built last
";

/// What comes with the compiler.
const STD: &[&str] =
    &["core", "alloc", "std", "std_detect", "compiler_builtins", "panic_unwind", "unwind", "dlmalloc", "__rustc"];
/// Functions whose names have no crate: exports, and what wasm-bindgen puts in between.
const NO_CRATE: &str = "(no crate in the name)";
/// Crates below this are not worth a compression each.
const SMALL: usize = 1024;

struct Arguments {
    top: usize,
    json: bool,
    build: bool,
    help: bool,
}

/// # Errors
/// When the Worker cannot be built or read.
pub fn run(repo: &Repo, parser: lexopt::Parser) -> Result<()> {
    let arguments = parse(parser)?;
    if arguments.help {
        print!("{USAGE}");
        return Ok(());
    }
    if arguments.build {
        prerequisites::check(prerequisites::FOR_BUILD)?;
        build::build(repo, &setup::prepare_build(repo)?)?;
    }
    let wasm = read(&repo.path(FULL_NAMES))?;
    let deployed = gzip(&read(&repo.path("build/umbra_bg.wasm"))?)?;
    let mangled = Module::read(&read(&repo.path(CARGO_OUTPUT))?).context(CARGO_OUTPUT)?;
    let owners = Owners::new(mangled.functions.iter().map(|function| function.name.as_str()));
    let ours = our_crates(&String::from_utf8_lossy(&read(&repo.path("Cargo.lock"))?))?;
    say("compressing the module without each crate …");
    let report = Report::new(&wasm, &Module::read(&wasm).context(FULL_NAMES)?, &owners, &ours)?;
    if arguments.json {
        println!("{:#}", report.json());
    } else {
        println!("{}", report.text(arguments.top));
        println!("\nThis is {FULL_NAMES}. Deployed is the same with short names: {} KiB gzip.", kib(deployed));
    }
    Ok(())
}

fn parse(mut parser: lexopt::Parser) -> Result<Arguments> {
    use lexopt::prelude::*;
    let mut arguments = Arguments { top: 20, json: false, build: true, help: false };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("top") => arguments.top = parser.value()?.parse()?,
            Long("json") => arguments.json = true,
            Long("no-build") => arguments.build = false,
            Long("help") | Short('h') => arguments.help = true,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(arguments)
}

/// The crates of this workspace, as they are called in names of functions.
fn our_crates(lockfile: &str) -> Result<BTreeSet<String>> {
    let lock: toml::Table = lockfile.parse().context("Cargo.lock")?;
    let packages = lock.get("package").and_then(toml::Value::as_array).context("no packages in Cargo.lock")?;
    let ours = packages.iter().filter(|package| package.get("source").is_none());
    Ok(ours.filter_map(|package| Some(package.get("name")?.as_str()?.replace('-', "_"))).collect())
}

/// Which crate a function is written in. wasm-bindgen leaves demangled names, which say that of most functions, but not of a
/// method of a trait; the mangled ones are in the wasm that cargo wrote.
struct Owners {
    by_demangled: HashMap<String, String>,
}

impl Owners {
    fn new<'a>(mangled: impl Iterator<Item = &'a str>) -> Self {
        let entry =
            |name: &'a str| Some((rustc_demangle::demangle(name).to_string(), defining_crate(name)?.to_owned()));
        Self { by_demangled: mangled.filter_map(entry).collect() }
    }

    fn of<'a>(&'a self, name: &'a str) -> &'a str {
        let name = without_number(name);
        if let Some(owner) = self.by_demangled.get(name) {
            return owner;
        }
        // wasm-bindgen's own, which are not what they are named after
        if name.ends_with(" shim") || name.ends_with(" wrapper") {
            return NO_CRATE;
        }
        // a provided method is written where its trait is
        let provided = trait_of(name).filter(|_| !self.by_demangled.is_empty()).and_then(leading_crate);
        provided.or_else(|| leading_crate(name)).unwrap_or(NO_CRATE)
    }
}

/// A crate, or something else that bytes are counted for.
#[derive(Debug, Default, PartialEq)]
struct Share {
    functions: usize,
    code: usize,
    names: usize,
    data: usize,
    gzip: usize,
}

struct Report {
    total: Share,
    /// By name, the largest first.
    crates: Vec<(String, Share)>,
    ours: BTreeSet<String>,
    /// Headers, types, imports, exports, and data that nobody is known to refer to.
    other: Share,
    other_bytes: usize,
    bytes: usize,
    /// The crate, the name and the bytes of code, the largest first.
    functions: Vec<(String, String, usize)>,
    generic: Vec<Instances>,
    modules: Vec<Instances>,
}

/// Instances of a generic function, or of all of them in a module.
struct Instances {
    name: String,
    count: usize,
    code: usize,
}

impl Report {
    fn new(wasm: &[u8], module: &Module, owners: &Owners, ours: &BTreeSet<String>) -> Result<Self> {
        let mut ranges: BTreeMap<&str, Vec<Range<usize>>> = BTreeMap::new();
        let mut crates: BTreeMap<&str, Share> = BTreeMap::new();
        for function in &module.functions {
            let owner = owners.of(&function.name);
            let share = crates.entry(owner).or_default();
            share.functions += 1;
            share.code += function.body.len();
            share.names += function.name_at.len();
            ranges.entry(owner).or_default().extend([function.body.clone(), function.name_at.clone()]);
        }
        for data in &module.data {
            if let Some(owner) = main_user(&data.users, module, owners) {
                crates.entry(owner).or_default().data += data.at.len();
                ranges.entry(owner).or_default().push(data.at.clone());
            }
        }
        let whole = gzip(wasm)?;
        let large: Vec<(&str, &[Range<usize>])> = ranges
            .iter()
            .map(|(&owner, ranges)| (owner, ranges.as_slice()))
            .filter(|(_, ranges)| ranges.iter().map(ExactSizeIterator::len).sum::<usize>() >= SMALL)
            .collect();
        for (owner, without) in gzip_without(wasm, &large)? {
            crates.entry(owner).or_default().gzip = whole.saturating_sub(without);
        }
        let sum = |of: fn(&Share) -> usize| crates.values().map(of).sum::<usize>();
        let counted = Share {
            functions: sum(|share| share.functions),
            code: sum(|share| share.code),
            names: sum(|share| share.names),
            data: sum(|share| share.data),
            gzip: sum(|share| share.gzip),
        };
        let all_data = module.data.iter().map(|data| data.at.len()).sum::<usize>();
        let total = Share { data: all_data, gzip: whole, ..counted };
        let other =
            Share { data: all_data - counted.data, gzip: whole.saturating_sub(counted.gzip), ..Share::default() };
        let other_bytes = wasm.len() - total.code - total.names - total.data;
        let mut crates: Vec<(String, Share)> =
            crates.into_iter().map(|(owner, share)| (owner.to_owned(), share)).collect();
        crates.sort_by_key(|(_, share)| std::cmp::Reverse(share.code + share.names + share.data));
        let mut functions: Vec<_> = module
            .functions
            .iter()
            .map(|function| (owners.of(&function.name).to_owned(), readable(&function.name), function.body.len()))
            .collect();
        functions.sort_by_key(|&(.., code)| std::cmp::Reverse(code));
        Ok(Self {
            total,
            crates,
            ours: ours.clone(),
            other,
            other_bytes,
            bytes: wasm.len(),
            functions,
            generic: instances(&module.functions, |generic| generic.to_owned()),
            modules: instances(&module.functions, |generic| module_of(generic).to_owned()),
        })
    }

    fn kind(&self, owner: &str) -> &'static str {
        if owner == NO_CRATE {
            "glue"
        } else if STD.contains(&owner) {
            "std"
        } else if self.ours.contains(owner) {
            "ours"
        } else {
            "dependency"
        }
    }

    fn text(&self, top: usize) -> String {
        let mut text = String::from(
            "     all    code   names    data    gzip  functions  crate (KiB; gzip: what the module loses without it)\n",
        );
        for kind in ["ours", "dependency", "std", "glue"] {
            let (mut all, mut count) = (Share::default(), 0);
            for (_, share) in self.crates.iter().filter(|(owner, _)| self.kind(owner) == kind) {
                add(&mut all, share);
                count += 1;
            }
            write_line(&mut text, &all, bytes(&all), &format!("= {kind}, {count}"));
        }
        let other = "= headers, tables, data of nobody; gzip: what several crates have in common";
        write_line(&mut text, &self.other, self.other_bytes + self.other.data, other);
        write_line(&mut text, &self.total, self.bytes, "= the module");
        text.push('\n');
        for (owner, share) in &self.crates {
            write_line(&mut text, share, bytes(share), &format!("{owner} ({})", self.kind(owner)));
        }
        let _ = writeln!(text, "\n    code  function");
        for (owner, name, code) in self.functions.iter().take(top) {
            let _ = writeln!(text, "{:>8}  {} ({owner})", kib(*code), shortened(name));
        }
        for (title, of) in [("generic function", &self.generic), ("module, all its generic functions", &self.modules)] {
            let _ = writeln!(text, "\n    code       %  instances  {title}");
            for Instances { name, count, code } in of.iter().take(top) {
                let percent = percent(*code, self.total.code);
                let _ = writeln!(text, "{:>8}  {percent:>5.1}%  {count:>9}  {}", kib(*code), shortened(name));
            }
        }
        text
    }

    fn json(&self) -> Value {
        let share = |share: &Share| {
            json!({
                "functions": share.functions, "code": share.code, "names": share.names, "data": share.data, "gzip": share.gzip
            })
        };
        let crates = self.crates.iter().map(|(owner, of)| {
            let mut value = share(of);
            if let Some(object) = value.as_object_mut() {
                object.insert("name".to_owned(), json!(owner));
                object.insert("kind".to_owned(), json!(self.kind(owner)));
            }
            value
        });
        let instances = |of: &[Instances]| {
            let each = of.iter().map(|one| json!({ "name": one.name, "instances": one.count, "code": one.code }));
            each.collect::<Vec<_>>()
        };
        let functions =
            self.functions.iter().map(|(owner, name, code)| json!({ "crate": owner, "name": name, "code": code }));
        json!({
            "bytes": self.bytes,
            "total": share(&self.total),
            "other": { "bytes": self.other_bytes, "data": self.other.data, "gzip": self.other.gzip },
            "crates": crates.collect::<Vec<_>>(),
            "functions": functions.collect::<Vec<_>>(),
            "generic": instances(&self.generic),
            "modules": instances(&self.modules),
        })
    }
}

/// The crate of most functions that use the data.
fn main_user<'a>(users: &[usize], module: &'a Module, owners: &'a Owners) -> Option<&'a str> {
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for function in users.iter().filter_map(|&index| module.functions.get(index)) {
        *votes.entry(owners.of(&function.name)).or_default() += 1;
    }
    votes.into_iter().max_by_key(|&(_, count)| count).map(|(owner, _)| owner)
}

fn add(to: &mut Share, share: &Share) {
    to.functions += share.functions;
    to.code += share.code;
    to.names += share.names;
    to.data += share.data;
    to.gzip += share.gzip;
}

fn bytes(share: &Share) -> usize {
    share.code + share.names + share.data
}

fn write_line(text: &mut String, share: &Share, bytes: usize, name: &str) {
    // writing to a String cannot fail
    for column in [bytes, share.code, share.names, share.data, share.gzip] {
        let _ = write!(text, "{:>8}", kib(column));
    }
    let _ = writeln!(text, "{:>11}  {name}", share.functions);
}

/// What has more than one instance, by the name that they have in common, the largest first.
fn instances(functions: &[Function], group: impl Fn(&str) -> String) -> Vec<Instances> {
    let mut by_generic: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for function in functions {
        let name = readable(&function.name);
        let generic = without_arguments(&name);
        if generic != name {
            let (count, code) = by_generic.entry(group(&generic)).or_default();
            *count += 1;
            *code += function.body.len();
        }
    }
    let several = by_generic.into_iter().filter(|(_, (count, _))| *count > 1);
    let mut all: Vec<Instances> = several.map(|(name, (count, code))| Instances { name, count, code }).collect();
    all.sort_by_key(|instances| std::cmp::Reverse(instances.code));
    all
}

/// The first three parts of its path, such as `alloc::collections::btree`; less where there are no three modules.
fn module_of(generic: &str) -> &str {
    const DEPTH: usize = 3;
    let path = generic.trim_start_matches(['<', '&']);
    let path = path.strip_prefix("mut ").unwrap_or(path);
    let path = path.split_once([' ', '>']).map_or(path, |(path, _)| path);
    let ends = path.match_indices("::").map(|(at, _)| at);
    // the last part is the function or the type
    let end = ends.take(DEPTH).last().unwrap_or(path.len());
    path.get(..end).unwrap_or(path)
}

/// The size of the module without each of the crates. They are independent, and a compression takes a while.
fn gzip_without<'a>(wasm: &[u8], crates: &[(&'a str, &[Range<usize>])]) -> Result<Vec<(&'a str, usize)>> {
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let worker = || -> Result<Vec<(&'a str, usize)>> {
        let mut sizes = Vec::new();
        while let Some((owner, ranges)) = crates.get(next.fetch_add(1, Ordering::Relaxed)) {
            sizes.push((*owner, gzip(&without(wasm, ranges))?));
        }
        Ok(sizes)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let mut all = Vec::new();
        for worker in workers {
            let Ok(sizes) = worker.join() else { bail!("a thread that compresses has panicked") };
            all.extend(sizes?);
        }
        Ok(all)
    })
}

fn without(bytes: &[u8], ranges: &[Range<usize>]) -> Vec<u8> {
    let mut sorted: Vec<_> = ranges.iter().collect();
    sorted.sort_by_key(|range| range.start);
    let (mut left, mut at) = (Vec::with_capacity(bytes.len()), 0);
    for range in sorted {
        left.extend_from_slice(bytes.get(at..range.start).unwrap_or_default());
        at = at.max(range.end);
    }
    left.extend_from_slice(bytes.get(at..).unwrap_or_default());
    left
}

fn gzip(bytes: &[u8]) -> Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}

fn kib(bytes: usize) -> String {
    format!("{:.1}", u32::try_from(bytes).map_or(f64::INFINITY, f64::from) / 1024.0)
}

fn percent(part: usize, whole: usize) -> f64 {
    let number = |bytes: usize| u32::try_from(bytes).map_or(f64::INFINITY, f64::from);
    100.0 * number(part) / number(whole.max(1))
}

fn shortened(name: &str) -> String {
    const WIDTH: usize = 140;
    if name.chars().nth(WIDTH).is_none() {
        return name.to_owned();
    }
    name.chars().take(WIDTH).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let wasm = module::tests::wasm();
        let owners = Owners::new(std::iter::empty());
        let ours = our_crates("[[package]]\nname = \"mine\"\n[[package]]\nname = \"a-b\"\nsource = \"x\"\n").unwrap();
        Report::new(&wasm, &Module::read(&wasm).unwrap(), &owners, &ours).unwrap()
    }

    #[test]
    fn every_byte_is_counted_once() {
        let report = report();
        let of_crates: usize = report.crates.iter().map(|(_, share)| bytes(share)).sum();
        assert_eq!(of_crates + report.other.data + report.other_bytes, report.bytes);
        assert_eq!(report.bytes, module::tests::wasm().len());
        let gzip: usize = report.crates.iter().map(|(_, share)| share.gzip).sum();
        assert_eq!(gzip + report.other.gzip, report.total.gzip);
    }

    #[test]
    fn crates_have_their_code_names_and_data() {
        let report = report();
        let share = |name: &str| report.crates.iter().find(|(owner, _)| owner == name).map(|(_, share)| share).unwrap();
        assert_eq!((share("core").code, share("core").names, share("core").data), (3, 9, 0));
        assert_eq!((share("mine").code, share("mine").names, share("mine").data), (6, 14, 8));
        assert_eq!((report.kind("mine"), report.kind("core"), report.kind("a_b")), ("ours", "std", "dependency"));
        let text = report.text(5);
        assert!(text.contains("mine (ours)") && text.contains("<mine::B>::c (mine)"), "{text}");
    }

    #[test]
    fn the_mangled_name_says_where_a_method_of_a_trait_is_written() {
        let mangled = "_RNvXs_Cs1234_7mycrateNtC4core3FooNtC5alloc3Bar3baz";
        let owners = Owners::new(std::iter::once(mangled));
        let demangled = rustc_demangle::demangle(mangled).to_string();
        assert_eq!(owners.of(&demangled), "mycrate", "{demangled}");
        assert_eq!(owners.of("<a::B as c::D>::provided"), "c");
        assert_eq!(owners.of("a::b externref shim"), NO_CRATE);
        assert_eq!(owners.of("memcpy"), NO_CRATE);
        assert_eq!(owners.of(&format!("{demangled}[1]")), "mycrate");
    }

    #[test]
    fn instances_are_counted_by_function_and_by_module() {
        let function = |name: &str, length| Function { name: name.to_owned(), body: 0..length, name_at: 0..0 };
        let functions = [
            function("<alloc::collections::btree::map::BTreeMap<u8, u8>>::remove::<u8>", 10),
            function("<alloc::collections::btree::map::BTreeMap<u16, u8>>::remove::<u16>", 20),
            function("<alloc::collections::btree::node::Node<u16>>::split", 5),
            function("alone::f::<u8>", 100),
            function("plain::f", 100),
        ];
        let generic = instances(&functions, str::to_owned);
        let [remove] = generic.as_slice() else { panic!("{}", generic.len()) };
        assert_eq!(remove.name, "<alloc::collections::btree::map::BTreeMap>::remove");
        assert_eq!((remove.count, remove.code), (2, 30));
        let modules = instances(&functions, |generic| module_of(generic).to_owned());
        let [btree] = modules.as_slice() else { panic!("{}", modules.len()) };
        assert_eq!((btree.name.as_str(), btree.count, btree.code), ("alloc::collections::btree", 3, 35));
        assert_eq!(module_of("<&mut serde_json::de::Deserializer as serde::Deserializer>::x"), "serde_json::de");
    }

    #[test]
    fn ranges_are_left_out_in_any_order() {
        assert_eq!(without(b"0123456789", &[7..9, 1..3, 0..0]), b"034569");
    }
}
