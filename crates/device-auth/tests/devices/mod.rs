//! Devices with the keys and certificates of `crates/x509/tests/data`; openssl signs for them.
#![allow(dead_code, reason = "each test crate uses some of it")]
#![allow(clippy::disallowed_methods, reason = "tests read their data and call openssl")]

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use x509::Certificate;

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../x509/tests/data").join(name)
}

/// `rsa2048`, `rsa3072`, `rsa4096`, `p256`, `p384` or `ed25519`.
pub fn certificate(kind: &str) -> Certificate {
    named(&format!("device-{kind}"))
}

pub fn named(name: &str) -> Certificate {
    Certificate::from_pem(&std::fs::read_to_string(data(&format!("{name}.pem"))).unwrap()).unwrap()
}

/// What openssl signs with a device's key; `algorithm` as JOSE calls it, `ES256-DER` and `ES384-DER` for ECDSA's DER.
pub fn sign(kind: &str, algorithm: &str, message: &[u8]) -> Vec<u8> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let file = std::env::temp_dir().join(format!("umbra-device-{}-{number}", std::process::id()));
    std::fs::write(&file, message).unwrap();
    let key = data(&format!("{kind}.key"));
    let (key, path) = (key.to_str().unwrap(), file.to_str().unwrap());
    let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"];
    let arguments = match algorithm {
        "EdDSA" => vec!["pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", path],
        "ES384" | "ES384-DER" => vec!["dgst", "-sha384", "-sign", key, path],
        "PS256" => [&["dgst", "-sha256", "-sign", key], &pss[..], &[path]].concat(),
        _ => vec!["dgst", "-sha256", "-sign", key, path],
    };
    let output = Command::new("openssl").args(arguments).output().unwrap();
    std::fs::remove_file(file).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    match algorithm {
        "ES256" => raw(&output.stdout, 32),
        "ES384" => raw(&output.stdout, 48),
        _ => output.stdout,
    }
}

/// SEQUENCE { INTEGER r, INTEGER s }, all shorter than 128 bytes, as r and s of `half` bytes.
fn raw(der: &[u8], half: usize) -> Vec<u8> {
    let length = usize::from(der[3]);
    [&der[4..4 + length], &der[6 + length..]]
        .into_iter()
        .flat_map(|number| {
            let number: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
            [vec![0; half - number.len()], number].concat()
        })
        .collect()
}
