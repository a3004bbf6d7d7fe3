//! Servers one by one, for measurements that need several of a kind, other settings, or to start them again.

use super::Running;
use crate::proc::{self, Process};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Umbra is built first, which takes minutes on a machine that has built nothing.
const UMBRA_READY_WITHIN: Duration = Duration::from_secs(1_200);
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Where a server starts workerd again.
#[derive(Debug, Deserialize)]
struct Control {
    url: String,
    token: String,
    /// What the Worker has logged, where it is kept.
    log: Option<PathBuf>,
}

/// One server. It ends when this value is dropped.
pub struct Single {
    running: Running,
    /// Where its WebSockets are.
    pub url: String,
    /// User name and password, if it asks for them.
    pub login: Option<(String, String)>,
    control: Control,
}

impl Single {
    /// Umbra with these options of `cargo xtask dev` besides those that make it one of a kind.
    ///
    /// # Errors
    /// When it does not start.
    pub fn umbra(root: &Path, options: &[&str]) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Contract {
            mqtt: String,
            access_key_id: String,
            secret_access_key: String,
            control: Control,
        }
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // `--control`: no cron trigger in the middle of a measurement
        command
            .args("xtask dev --json --ephemeral --port 0 --no-device --control --var TEST_HOOKS=".split(' '))
            .args(options)
            .current_dir(root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut running = Running::spawn("umbra", &mut command)?;
        let contract: Contract = running.json(UMBRA_READY_WITHIN)?;
        let login = Some((contract.access_key_id, contract.secret_access_key));
        Ok(Self { running, url: contract.mqtt, login, control: contract.control })
    }

    /// A floor of `bench/floors`, by the name of its script.
    ///
    /// # Errors
    /// When it does not start.
    pub fn floor(root: &Path, name: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Ready {
            floor: String,
            control: Control,
        }
        let mut command = super::node(root, &root.join("bench/floors/host.mjs"))?;
        let mut running = Running::spawn("floor", command.arg(name))?;
        let Ready { floor, control } = running.json(READY_WITHIN)?;
        Ok(Self { running, url: floor, login: None, control })
    }

    /// The process that all of its processes descend from.
    pub fn root(&self) -> u32 {
        self.running.id()
    }

    /// Ends workerd and starts it again, at the same address and with the same storage.
    ///
    /// # Errors
    /// When the control port does not answer that it has.
    pub async fn restart(&self) -> Result<()> {
        let head =
            format!("POST /restart HTTP/1.1\r\nauthorization: Bearer {}\r\ncontent-length: 0\r\n", self.control.token);
        let status =
            timeout(READY_WITHIN, status_of(&self.control.url, &head)).await.context("no restart in time")??;
        ensure!(status == 200, "POST /restart was answered by {status}");
        Ok(())
    }

    /// The status of the answer to a GET.
    ///
    /// # Errors
    /// When there is none.
    pub async fn get(&self, path: &str) -> Result<u16> {
        timeout(READY_WITHIN, status_of(&self.url, &format!("GET {path} HTTP/1.1\r\n"))).await.context("no answer")?
    }

    /// How many Brokers have begun so far, according to the Worker's log.
    ///
    /// # Errors
    /// When there is no log.
    pub fn nodes_started(&self) -> Result<usize> {
        let log = self.control.log.as_ref().context("this server keeps no log")?;
        let text = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
        Ok(text.matches(r#""event":"node_started""#).count())
    }

    /// Bytes that its processes have caused to be written to storage (`write_bytes` of proc(5)).
    pub fn stored_bytes(&self) -> u64 {
        let written = |process: Process| {
            let text = fs::read_to_string(format!("/proc/{}/io", process.pid)).unwrap_or_default();
            stored_bytes_in(&text)
        };
        proc::tree(self.root()).into_iter().map(written).sum()
    }
}

fn stored_bytes_in(io: &str) -> u64 {
    let value = io.lines().find_map(|line| line.strip_prefix("write_bytes:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}

/// Asks a server on this machine and reads the status of its answer. `head`: the request's line and its own headers.
async fn status_of(url: &str, head: &str) -> Result<u16> {
    let (_, rest) = url.split_once("://").with_context(|| format!("{url:?} is no URL"))?;
    let authority = rest.split('/').next().unwrap_or_default();
    let mut stream = TcpStream::connect(authority).await.with_context(|| authority.to_owned())?;
    stream.write_all(format!("{head}host: {authority}\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    // the first line is enough, and workerd takes seconds to close
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await?;
    let status = answer.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    status.with_context(|| format!("{authority} answered {answer:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn what_goes_to_storage_is_told_from_what_goes_to_sockets() {
        let io = "rchar: 9\nwchar: 8\nsyscr: 7\nsyscw: 6\nread_bytes: 5\nwrite_bytes: 4096\ncancelled_write_bytes: 3\n";
        assert_eq!(stored_bytes_in(io), 4_096);
        assert_eq!(stored_bytes_in(""), 0);
    }

    #[test]
    fn a_request_names_its_host_and_the_answers_status_is_read() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 500];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = format!("ws://{authority}/mqtt");
        assert_eq!(runtime.block_on(status_of(&url, "GET /nothing HTTP/1.1\r\n")).unwrap(), 404);
        let request = server.join().unwrap();
        assert!(
            request.starts_with("GET /nothing HTTP/1.1\r\n") && request.contains(&format!("\r\nhost: {authority}\r\n"))
        );
    }
}
