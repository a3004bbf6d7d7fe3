//! Other brokers: where their programs come from, and how they are configured.

use anyhow::{Context, Result, bail};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where what only the benchmarks need is built and installed, below the repository.
const DIRECTORY: &str = "target/bench";
/// The package with the peer aedes.
const AEDES: &str = "bench/peers/aedes";
/// The package with the peer rumqttd.
const RUMQTTD: &str = "bench/peers/rumqttd";

/// The installed program.
///
/// # Errors
/// When there is none.
pub fn find_mosquitto() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian has it where the PATH of a user does not lead
    let directories = env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    directories.map(|directory| directory.join("mosquitto")).find(|program| program.is_file()).context(
        "mosquitto is missing: `apt-get install mosquitto` (package mosquitto; macOS: `brew install mosquitto`), \
         or leave it out with `--targets umbra,floor`",
    )
}

/// In-flight messages as Umbra allows them by default, and more than the load's window; a queue that the windows of 100
/// publishers or 1,000 retained messages fit into, instead of dropping what is beyond 1,000 messages. Everything else is
/// the default.
///
/// Debian's 2.0.11 refuses to run with a WebSocket listener alone, hence the idle one, and with IPv6 allowed it binds the
/// WebSocket listener to all addresses, whatever address it is given.
pub fn mosquitto_conf(websocket_port: u16, idle_port: u16) -> String {
    format!(
        "listener {idle_port} 127.0.0.1\n\
         listener {websocket_port} 127.0.0.1\n\
         protocol websockets\n\
         socket_domain ipv4\n\
         allow_anonymous true\n\
         persistence false\n\
         set_tcp_nodelay true\n\
         max_inflight_messages 100\n\
         max_queued_messages 0\n\
         log_type error\n\
         log_dest stderr\n"
    )
}

/// Builds rumqttd, which takes some minutes the first time.
///
/// # Errors
/// When it does not build.
pub fn build_rumqttd(root: &Path) -> Result<PathBuf> {
    let target = root.join(DIRECTORY).join("rumqttd");
    let manifest = root.join(RUMQTTD).join("Cargo.toml");
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--locked", "--release", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        .current_dir(root)
        .status()?;
    if !status.success() {
        bail!("rumqttd does not build; leave it out with --targets");
    }
    Ok(target.join("release/bench-rumqttd"))
}

/// Its example configuration, but for: loopback only, no console, 100 messages under way as with the others, no pause after
/// each connection, and 1,200 packets for a client at a time instead of 200, since of retained messages it sends no more
/// than that.
pub fn rumqttd_conf(port: u16) -> String {
    format!(
        "id = 0\n\
         [router]\n\
         id = 0\n\
         max_connections = 10010\n\
         max_outgoing_packet_count = 1200\n\
         max_segment_size = 104857600\n\
         max_segment_count = 10\n\
         [ws.1]\n\
         name = \"ws-1\"\n\
         listen = \"127.0.0.1:{port}\"\n\
         next_connection_delay_ms = 0\n\
         [ws.1.connections]\n\
         connection_timeout_ms = 60000\n\
         max_payload_size = 20480\n\
         max_inflight_count = 100\n\
         dynamic_filters = true\n"
    )
}

/// Installs aedes where its lockfile has changed or it is not there yet. Answers the program for Node.
///
/// # Errors
/// When npm fails.
pub fn install_aedes(root: &Path) -> Result<PathBuf> {
    let package = root.join(AEDES);
    let lockfile = fs::read(package.join("package-lock.json")).context("bench/peers/aedes has no lockfile")?;
    let stamp = package.join("node_modules/.bench-stamp");
    if fs::read(&stamp).is_ok_and(|installed| installed == lockfile) {
        return Ok(package.join("host.mjs"));
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--silent"]).env("PATH", path_with_node(root)?).current_dir(&package);
    if !npm.status().context("npm is missing")?.success() {
        bail!("aedes cannot be installed; leave it out with --targets");
    }
    fs::write(stamp, lockfile)?;
    Ok(package.join("host.mjs"))
}

/// Two that nobody uses at this moment.
///
/// # Errors
/// When there are none.
pub fn free_ports() -> Result<(u16, u16)> {
    let (one, other) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
    Ok((one.local_addr()?.port(), other.local_addr()?.port()))
}

/// The Node that `cargo xtask` uses: npm brings one where the machine's is too old.
///
/// # Errors
/// When PATH makes no sense.
pub fn path_with_node(root: &Path) -> Result<OsString> {
    let architecture = if env::consts::ARCH == "aarch64" { "arm64" } else { "x64" };
    let brought = root.join(format!("node_modules/node-linux-{architecture}/bin"));
    let inherited = env::var_os("PATH").unwrap_or_default();
    let brought = brought.is_dir().then_some(brought);
    env::join_paths(brought.into_iter().chain(env::split_paths(&inherited))).context("PATH cannot be extended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mosquitto_listens_on_loopback_only() {
        let conf = mosquitto_conf(9001, 1883);
        let listeners: Vec<&str> = conf.lines().filter(|line| line.starts_with("listener")).collect();
        assert_eq!(listeners, ["listener 1883 127.0.0.1", "listener 9001 127.0.0.1"]);
        assert!(conf.contains("socket_domain ipv4\n"));
    }

    #[test]
    fn rumqttd_listens_on_loopback_only() {
        let conf = rumqttd_conf(9002);
        let listeners: Vec<&str> = conf.lines().filter(|line| line.starts_with("listen ")).collect();
        assert_eq!(listeners, ["listen = \"127.0.0.1:9002\""]);
    }
}
