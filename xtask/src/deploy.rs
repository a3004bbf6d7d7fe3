//! `cargo xtask deploy`: what has to be done on a Cloudflare account, in order, read from wrangler.toml. docs/deploy.md explains it.

use crate::prerequisites;
use crate::repo::{Repo, read};
use crate::setup::{self, Tools};
use crate::shell::{self, say};
use crate::wrangler::Wrangler;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

const TOKEN_VARIABLE: &str = "CLOUDFLARE_API_TOKEN";
const SECRETS_FILE: &str = ".umbra/deploy-secrets.json";

/// What a step's failure means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    Fatal,
    /// It may have been done by an earlier deploy.
    Tolerated,
}

struct Step {
    why: String,
    /// Arguments of wrangler.
    arguments: Vec<String>,
    failure: Failure,
}

/// # Errors
/// When there is no token, or a command fails.
pub fn run(repo: &Repo, mut parser: lexopt::Parser) -> Result<()> {
    let (mut plan_only, mut show_secrets) = (false, false);
    while let Some(argument) = parser.next()? {
        use lexopt::prelude::*;
        match argument {
            Long("plan") => plan_only = true,
            Long("show-secrets") => show_secrets = true,
            other => return Err(other.unexpected().into()),
        }
    }
    let wrangler = Wrangler::load(repo)?;
    let steps = steps(&wrangler);
    if plan_only {
        let secrets = show_secrets.then(generate_secrets).transpose()?;
        print!("{}", describe(&wrangler, &steps, secrets.as_ref()));
        return Ok(());
    }
    if env::var_os(TOKEN_VARIABLE).is_none() {
        bail!(
            "{TOKEN_VARIABLE} is not set. `cargo xtask deploy --plan` prints what would be done; docs/deploy.md explains it"
        );
    }
    prerequisites::check(prerequisites::FOR_BUILD)?;
    let tools = setup::prepare_build(repo)?;
    create_databases(repo, &tools, &wrangler)?;
    ensure_secrets(repo, show_secrets)?;
    for step in &steps {
        say(format_args!("\n{}\n  wrangler {}", step.why, step.arguments.join(" ")));
        let result = shell::run(wrangler_command(repo, &tools).args(&step.arguments));
        match (result, step.failure) {
            (Err(error), Failure::Fatal) => return Err(error),
            (Err(error), Failure::Tolerated) => say(format_args!("  {error:#}; going on")),
            (Ok(()), _) => {}
        }
    }
    say("\ndeployed");
    Ok(())
}

/// Everything after the databases exist and wrangler.toml has their ids.
fn steps(wrangler: &Wrangler) -> Vec<Step> {
    let step = |why: String, arguments: &[&str], failure| Step {
        why,
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        failure,
    };
    let mut steps = Vec::new();
    for queue in wrangler.queues() {
        steps.push(step(format!("queue {queue}"), &["queues", "create", &queue], Failure::Tolerated));
    }
    for (binding, name, _) in wrangler.databases() {
        steps.push(step(
            format!("D1 migrations of {binding}"),
            &["d1", "migrations", "apply", &name, "--remote"],
            Failure::Fatal,
        ));
    }
    steps.push(step(
        "build, and upload the code with the secrets of the first deploy".to_owned(),
        &["deploy", "--secrets-file", SECRETS_FILE],
        Failure::Fatal,
    ));
    steps
}

fn describe(wrangler: &Wrangler, steps: &[Step], secrets: Option<&Value>) -> String {
    let mut lines = vec![
        "# What `cargo xtask deploy` does, in order. Not yet run on an account by anyone: see docs/deploy.md."
            .to_owned(),
        format!("export {TOKEN_VARIABLE}=…   # may edit Workers Scripts, D1 and Queues"),
        String::new(),
    ];
    for (binding, name, id) in wrangler.databases() {
        match id {
            Some(id) => lines.push(format!("# D1 {binding}: {name} has the id {id}")),
            None => {
                lines.push(format!(
                    "# D1 {binding}: write the id it prints below database_name in wrangler.toml, and commit that"
                ));
                lines.push(format!("npx wrangler d1 create {name}"));
            }
        }
    }
    lines.push(String::new());
    lines.push(format!(
        "# the secrets: {SECRETS_FILE}, generated once, mode 0600, never overwritten. Keep a copy where it is safe"
    ));
    match secrets {
        Some(secrets) => {
            lines.push(format!("mkdir -p .umbra && umask 077 && cat > {SECRETS_FILE} <<'END'"));
            lines.push(format!("{secrets:#}"));
            lines.push("END".to_owned());
        }
        None => lines.push(
            "#   ROOT_ACCESS_KEY_ID, ROOT_SECRET_ACCESS_KEY, MASTER_SECRET (--show-secrets prints a generated set)"
                .to_owned(),
        ),
    }
    for step in steps {
        lines.push(String::new());
        lines.push(format!("# {}", step.why));
        lines.push(format!("npx wrangler {}", step.arguments.join(" ")));
    }
    lines.push(String::new());
    lines.push("# to change one secret later".to_owned());
    for name in ["ROOT_ACCESS_KEY_ID", "ROOT_SECRET_ACCESS_KEY", "MASTER_SECRET"] {
        lines.push(format!("npx wrangler secret put {name}"));
    }
    lines.push(String::new());
    lines.push("# back to the version before: code only, neither the data of D1 nor of Durable Objects".to_owned());
    lines.push(format!("npx wrangler rollback --name {}", wrangler.name()));
    for (_, name, _) in wrangler.databases() {
        lines.push(format!("npx wrangler d1 time-travel restore {name} --timestamp …"));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn wrangler_command(repo: &Repo, tools: &Tools) -> Command {
    let mut command = tools.npm_bin("wrangler");
    command.env("WRANGLER_SEND_METRICS", "false").current_dir(repo.root());
    command
}

/// Creates what is missing and writes the ids into wrangler.toml.
fn create_databases(repo: &Repo, tools: &Tools, wrangler: &Wrangler) -> Result<()> {
    for (binding, name, id) in wrangler.databases() {
        if id.is_some() {
            continue;
        }
        let id = match database_id(repo, tools, &name)? {
            Some(id) => id,
            None => {
                say(format_args!("D1 {binding}: creating {name}"));
                shell::run(wrangler_command(repo, tools).args(["d1", "create", &name]))?;
                database_id(repo, tools, &name)?.with_context(|| format!("{name} was created and is not listed"))?
            }
        };
        let path = repo.path("wrangler.toml");
        let text = String::from_utf8(read(&path)?).context("wrangler.toml is not text")?;
        fs::write(&path, with_database_id(&text, &name, &id).context("wrangler.toml has no such database_name line")?)?;
        say(format_args!("wrote the id of {name} into wrangler.toml: commit it"));
    }
    Ok(())
}

fn database_id(repo: &Repo, tools: &Tools, name: &str) -> Result<Option<String>> {
    let listing = shell::capture(wrangler_command(repo, tools).args(["d1", "list", "--json"]))?;
    let databases: Vec<Value> = serde_json::from_str(&listing).context("wrangler d1 list --json")?;
    let found = databases.iter().find(|database| database.get("name").and_then(Value::as_str) == Some(name));
    Ok(found.and_then(|database| database.get("uuid")).and_then(Value::as_str).map(str::to_owned))
}

/// The same text with a `database_id` line after the database's name, comments and order kept.
fn with_database_id(text: &str, name: &str, id: &str) -> Option<String> {
    let line = format!("database_name = \"{name}\"\n");
    let (before, after) = text.split_once(&line)?;
    Some(format!("{before}{line}database_id = \"{id}\"\n{after}"))
}

/// Writes [`SECRETS_FILE`] unless it is there: another MASTER_SECRET would make everything derived from it worthless.
fn ensure_secrets(repo: &Repo, show: bool) -> Result<()> {
    let path = repo.path(SECRETS_FILE);
    if !path.exists() {
        fs::create_dir_all(repo.path(".umbra"))?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        writeln!(file, "{:#}", generate_secrets()?)?;
        say(format_args!(
            "generated the first access key and the master secret into {SECRETS_FILE}: keep a copy where it is safe"
        ));
    }
    if show {
        println!("{}", String::from_utf8_lossy(&read(&path)?).trim());
    }
    Ok(())
}

fn generate_secrets() -> Result<Value> {
    let mut random = [0_u8; 60];
    File::open("/dev/urandom")?.read_exact(&mut random).context("no random numbers")?;
    let (id, rest) = random.split_at(8);
    let (secret, master) = rest.split_at(20);
    Ok(json!({
        // 20 and 40 characters, as AWS clients check
        "ROOT_ACCESS_KEY_ID": format!("AKIA{}", id.iter().map(|byte| letter_pair(*byte)).collect::<String>()),
        "ROOT_SECRET_ACCESS_KEY": hex::encode(secret),
        "MASTER_SECRET": hex::encode(master),
    }))
}

/// Two letters, which AWS's alphabet for key ids has, from the halves of a byte.
fn letter_pair(byte: u8) -> String {
    [byte >> 4, byte & 15].into_iter().map(|half| char::from(b'A' + half)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_names_every_resource_of_wrangler_toml_and_no_secret_unless_asked() {
        let repo = Repo::find().unwrap();
        let wrangler = Wrangler::load(&repo).unwrap();
        let plan = describe(&wrangler, &steps(&wrangler), None);
        for expected in [
            "d1 create umbra-registry-0",
            "queues create rule-actions",
            "rule-actions-dlq",
            "migrations apply",
            "rollback",
        ] {
            assert!(plan.contains(expected), "{expected} is not in\n{plan}");
        }
        assert!(!plan.contains("AKIA"));
        assert!(describe(&wrangler, &steps(&wrangler), Some(&generate_secrets().unwrap())).contains("AKIA"));
    }

    #[test]
    fn a_database_id_is_written_below_its_own_name_only() {
        let text = "# c\ndatabase_name = \"a\"\nmigrations_dir = \"m\"\ndatabase_name = \"b\"\n";
        assert_eq!(
            with_database_id(text, "b", "42").unwrap(),
            "# c\ndatabase_name = \"a\"\nmigrations_dir = \"m\"\ndatabase_name = \"b\"\ndatabase_id = \"42\"\n"
        );
        assert_eq!(with_database_id(text, "z", "42"), None);
    }

    #[test]
    fn generated_keys_have_the_shape_that_aws_clients_expect() {
        let secrets = generate_secrets().unwrap();
        let text = |name: &str| secrets.get(name).and_then(Value::as_str).unwrap().to_owned();
        assert_eq!(text("ROOT_ACCESS_KEY_ID").len(), 20);
        assert_eq!(text("ROOT_SECRET_ACCESS_KEY").len(), 40);
        assert_eq!(text("MASTER_SECRET").len(), 64);
        assert_ne!(generate_secrets().unwrap(), secrets);
    }
}
