//! `cargo xtask`: everything that is done to this repository, each command with its own set-up.
//!
//! In scope: checking and installing the pinned tools, building the Worker, running it locally, tests, deploying.
//! Out of scope: what the platform does (`crates`, `durable-objects`, `workers`), and running it in Node, which `xtask/host` does.

mod build;
mod conformance;
mod deploy;
mod dev;
#[cfg(test)]
mod layers;
mod names;
mod platform;
mod prerequisites;
mod profile;
mod repo;
mod service_model;
mod setup;
mod shell;
mod size;
mod soak;
mod symbols;
mod test;
mod test_output;
mod wrangler;

use anyhow::{Result, bail};
use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask <command> [options]

  dev      build, start the platform locally and a simulated device against it
             --port N             listen on N (default 8787, 0 picks one)
             --ephemeral          fresh state in a temporary directory, removed at the end
             --no-device          no simulated device
             --brokers N          how many Brokers the region has
             --compat aws|standard
             --tls                https and wss, with a generated certificate
             --json               one line of JSON on stdout when everything is ready; narration on stderr
             --logs               show every line that the Worker logs (always in .umbra/worker.log)
  test     everything that CI runs
             --only STAGE[,STAGE] some of it
             --list               the names of the stages
             --socket-mode MODE   rust, node and python with Brokers' sockets hibernatable or accepted
  build    build/index.js and build/umbra_bg.wasm, as they are deployed
  soak     the same tests at full size
  deploy   to a Cloudflare account
             --plan               print the commands, run nothing
             --show-secrets       also print the secrets that were generated
  profile  what workerd does under a load of bench: the time by function of the wasm, a flame graph (--help)
  size     which crate adds how much to the deployed wasm (--help)
  service-model  the tables of AWS's operations, from botocore
             --check              compare, write nothing
  setup    install what the other commands need, and nothing else
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    shell::catch_signals()?;
    let repo = repo::Repo::find()?;
    let mut arguments = lexopt::Parser::from_env();
    let Some(command) = arguments.next()? else {
        print!("{USAGE}");
        return Ok(());
    };
    match command {
        lexopt::Arg::Short('h') | lexopt::Arg::Long("help") => {
            print!("{USAGE}");
            Ok(())
        }
        lexopt::Arg::Value(name) => match name.to_str() {
            Some("build") => {
                no_more(arguments)?;
                prerequisites::check(prerequisites::FOR_BUILD)?;
                build::build(&repo, &setup::prepare_build(&repo)?).map(|_| ())
            }
            Some("deploy") => deploy::run(&repo, arguments),
            Some("dev") => dev::run(&repo, arguments),
            Some("profile") => profile::run(&repo, arguments),
            Some("setup") => {
                no_more(arguments)?;
                prerequisites::check(prerequisites::FOR_EVERYTHING)?;
                setup::prepare_everything(&repo).map(|_| ())
            }
            Some("service-model") => service_model::run(&repo, arguments),
            Some("size") => size::run(&repo, arguments),
            Some("soak") => {
                no_more(arguments)?;
                soak::run(&repo)
            }
            Some("test") => test::run(&repo, arguments),
            Some("help") => {
                print!("{USAGE}");
                Ok(())
            }
            _ => bail!("no command {name:?}\n\n{USAGE}"),
        },
        other => Err(other.unexpected().into()),
    }
}

fn no_more(mut arguments: lexopt::Parser) -> Result<()> {
    match arguments.next()? {
        None => Ok(()),
        Some(argument) => Err(argument.unexpected().into()),
    }
}
