//! The files of `tests/data`, which `generate.sh` there has made, and openssl.
#![allow(dead_code, reason = "each test crate uses some of it")]
#![allow(clippy::disallowed_methods, reason = "tests read their data")]

use std::path::PathBuf;
use std::process::Command;
use x509::{Certificate, Error};

pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

pub fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub fn text(name: &str) -> String {
    String::from_utf8(bytes(name)).unwrap()
}

pub fn read(name: &str) -> Result<Certificate, Error> {
    Certificate::from_pem(&text(&format!("{name}.pem")))
}

pub fn certificate(name: &str) -> Certificate {
    read(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A directory for openssl's files, which is removed in the end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("umbra-x509-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, contents).unwrap();
        path
    }

    /// What openssl says, if it succeeds.
    pub fn openssl(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("openssl").args(arguments).current_dir(&self.0).output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(out) } else { Err(out + &String::from_utf8_lossy(&output.stderr)) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
