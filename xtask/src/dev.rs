//! `cargo xtask dev`: the whole platform on this machine.

use crate::platform::{Logs, Options, Platform};
use crate::repo::Repo;
use crate::shell::{say, seconds};
use crate::{build, prerequisites, setup};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::time::Instant;

const DEFAULT_PORT: u16 = 8787;

struct Arguments {
    options: Options,
    json: bool,
}

/// # Errors
/// When something cannot be built or started, or the platform ends by itself.
pub fn run(repo: &Repo, parser: lexopt::Parser) -> Result<()> {
    let Arguments { options, json } = parse(repo, parser)?;
    let start = Instant::now();
    let _state = if options.ephemeral { None } else { Some(lock_state(repo)?) };
    prerequisites::check(prerequisites::FOR_EVERYTHING)?;
    let tools = setup::prepare_everything(repo)?;
    build::build(repo, &tools)?;
    let mut platform = Platform::start(repo, &tools, &options)?;
    let text = if json { platform.contract().to_string() } else { banner(platform.contract()) };
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).context("cannot write to stdout")?;
    drop(stdout);
    say(format_args!(
        "ready after {}; Ctrl-C ends it; the Worker's log is {}",
        seconds(start.elapsed()),
        options.log_file.display()
    ));
    platform.wait_until_asked_to_stop()?;
    platform.stop()
}

/// Two platforms on the same database files would destroy each other's state.
fn lock_state(repo: &Repo) -> Result<File> {
    fs::create_dir_all(repo.path(".umbra"))?;
    let file = File::create(repo.path(".umbra/lock")).context("cannot create .umbra/lock")?;
    if file.try_lock().is_err() {
        bail!("another cargo xtask dev uses the state in .umbra: stop it, or start this one with --ephemeral --port 0");
    }
    Ok(file)
}

fn parse(repo: &Repo, mut parser: lexopt::Parser) -> Result<Arguments> {
    let mut options = Options {
        port: DEFAULT_PORT,
        ephemeral: false,
        tls: false,
        device: true,
        control: false,
        vars: BTreeMap::new(),
        logs: Logs::Warnings,
        log_file: repo.path(".umbra/worker.log"),
    };
    let mut json = false;
    while let Some(argument) = parser.next()? {
        use lexopt::prelude::*;
        match argument {
            Long("port") => options.port = parser.value()?.parse()?,
            Long("ephemeral") => {
                options.ephemeral = true;
                // several of them may run at once
                options.log_file = repo.path(format!(".umbra/worker-{}.log", std::process::id()));
            }
            Long("no-device") => options.device = false,
            Long("brokers") => {
                let count: u32 = parser.value()?.parse()?;
                if count == 0 {
                    bail!("--brokers takes a number of at least 1");
                }
                options.vars.insert("BROKERS".to_owned(), count.to_string());
            }
            Long("compat") => match parser.value()?.string()?.as_str() {
                value @ ("aws" | "standard") => {
                    options.vars.insert("COMPAT".to_owned(), value.to_owned());
                }
                other => bail!("--compat takes aws or standard, not {other:?}"),
            },
            Long("tls") => options.tls = true,
            Long("json") => json = true,
            Long("logs") => options.logs = Logs::All,
            // not in the usage: what harnesses of other kinds (bench, soak) need
            Long("control") => options.control = true,
            Long("var") => {
                let pair = parser.value()?.string()?;
                let (name, value) = pair.split_once('=').context("--var takes NAME=VALUE")?;
                options.vars.insert(name.to_owned(), value.to_owned());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Arguments { options, json })
}

/// What a person needs to talk to the platform, each line ready to paste in the repository's directory.
fn banner(contract: &Value) -> String {
    let get = |key: &str| contract.get(key).and_then(Value::as_str).unwrap_or_default();
    let (endpoint, mqtt, region) = (get("endpoint"), get("mqtt"), get("region"));
    let (id, secret, ca) = (get("accessKeyId"), get("secretAccessKey"), get("ca"));
    let authority = endpoint.split_once("://").map_or(endpoint, |(_, authority)| authority);
    let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
    let is_tls = !ca.is_empty();
    let (protocol, mqtt_ca, curl_ca, boto_ca, node_ca) = if is_tls {
        (
            "wss",
            format!(" --ca {ca}"),
            format!(" --cacert {ca}"),
            format!(", verify='{ca}'"),
            format!("NODE_EXTRA_CA_CERTS={ca} "),
        )
    } else {
        ("ws", String::new(), String::new(), String::new(), String::new())
    };
    let mosquitto_ca = if is_tls { format!(" --cafile {ca}") } else { String::new() };
    let common = format!("-h {host} -p {port} -u {id} -P '{secret}'");
    let facts = [
        ("endpoint", endpoint.to_owned()),
        ("MQTT", format!("{mqtt}   (user name: the access key; password: the secret)")),
        ("access key", id.to_owned()),
        ("secret", format!("{secret}   (may do everything)")),
        ("region", format!("{region}, account {}", get("accountId"))),
        ("CA", if is_tls { ca.to_owned() } else { "none, since this is without TLS".to_owned() }),
    ];
    let examples = [
        (
            "MQTT.js",
            format!(
                "{node_ca}node -e 'const c = require(\"mqtt\").connect(\"{mqtt}\", {{username: \"{id}\", password: \"{secret}\"}}); \
                 c.on(\"connect\", () => c.subscribe(\"#\")); c.on(\"message\", (t, m) => console.log(t, String(m)))'"
            ),
        ),
        (
            "mosquitto's options, with the client that npm brought",
            format!("npx mqtt sub -C {protocol} {common}{mqtt_ca} --path /mqtt -v -t 'sensors/#'"),
        ),
        (
            "mosquitto ≥ 2.1",
            format!("mosquitto_pub --ws {common}{mosquitto_ca} -t sensors/hall/temperature -m '{{\"temp\": 21.5}}'"),
        ),
        (
            "boto3",
            format!(
                "target/venv/bin/python -c \"import boto3; print(boto3.client('iot', endpoint_url='{endpoint}', region_name='{region}', \
                 aws_access_key_id='{id}', aws_secret_access_key='{secret}'{boto_ca}).list_things()['things'])\""
            ),
        ),
        ("curl", format!("curl{curl_ca} --aws-sigv4 aws:amz:{region}:iot --user '{id}:{secret}' {endpoint}/things")),
    ];
    let mut text = String::new();
    // writing to a String cannot fail
    for (what, value) in facts {
        let _ = writeln!(text, "  {what:<11} {value}");
    }
    for (client, command) in examples {
        let _ = writeln!(text, "\n  # {client}\n  {command}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(arguments: &[&str]) -> Result<Arguments> {
        parse(&Repo::find().unwrap(), lexopt::Parser::from_args(arguments))
    }

    #[test]
    fn options_are_those_of_the_contract() {
        let all = "--port 0 --ephemeral --no-device --brokers 5 --compat aws --tls --json";
        let Arguments { options, json } = parsed(&all.split(' ').collect::<Vec<_>>()).unwrap();
        assert!(json && options.ephemeral && options.tls && !options.device && !options.control);
        assert_eq!(options.port, 0);
        assert_eq!(options.vars.get("BROKERS").map(String::as_str), Some("5"));
        assert_eq!(options.vars.get("COMPAT").map(String::as_str), Some("aws"));
    }

    #[test]
    fn wrong_options_are_refused() {
        for wrong in ["--brokers 0", "--compat azure", "--port 99999", "--prot 1", "--var X", "extra"] {
            assert!(parsed(&wrong.split(' ').collect::<Vec<_>>()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_banner_names_everything_that_is_needed_and_the_ca_only_with_tls() {
        let plain = json!({
            "endpoint": "http://127.0.0.1:8787", "mqtt": "ws://127.0.0.1:8787/mqtt", "accessKeyId": "AKIAX",
            "secretAccessKey": "s3cret", "region": "us-east-1", "accountId": "123456789012", "ca": null
        });
        let text = banner(&plain);
        for expected in
            ["http://127.0.0.1:8787", "ws://127.0.0.1:8787/mqtt", "AKIAX", "s3cret", "boto3", "--aws-sigv4", "-p 8787"]
        {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert!(!text.contains("--cacert"));
        let mut tls = plain;
        if let Some(ca) = tls.get_mut("ca") {
            *ca = json!("/x/ca.pem");
        }
        assert!(banner(&tls).contains("--cacert /x/ca.pem"));
    }
}
