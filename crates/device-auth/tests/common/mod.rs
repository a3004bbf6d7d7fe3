//! What the integration tests share.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use device_auth::access_key::{AccessKeyId, SecretAccessKey};
use device_auth::sigv4::{HttpRequest, Signer};
use iot_types::{Region, UnixMillis};

pub const KEY_ID: &str = "AKIDEXAMPLEEXAMPLE";
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub const HOST: &str = "abc123-ats.iot.us-east-1.amazonaws.com";
/// 2025-01-30T12:34:56Z.
pub const NOW: UnixMillis = UnixMillis(1_738_240_496_000);

/// A request that tests may change.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, path: &str, query: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: body.to_vec(),
        }
    }

    /// Calls `f` with the borrowed form.
    pub fn with<T>(&self, f: impl FnOnce(&HttpRequest<'_>) -> T) -> T {
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        f(&HttpRequest {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &headers,
            body: &self.body,
        })
    }

    pub fn header(&self, name: &str) -> &str {
        &self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).unwrap().1
    }

    pub fn set_header(&mut self, name: &str, value: &str) {
        self.remove_header(name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    pub fn remove_header(&mut self, name: &str) {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
    }

    /// Takes path and query from a URL.
    pub fn set_url(&mut self, url: &str) {
        let target = url.split_once(HOST).unwrap().1;
        let (path, query) = target.split_once('?').unwrap();
        path.clone_into(&mut self.path);
        query.clone_into(&mut self.query);
    }
}

/// The keys and names that a [`Signer`] borrows.
pub struct Keys {
    pub id: AccessKeyId,
    pub secret: SecretAccessKey,
    pub region: Region,
}

impl Keys {
    pub fn new() -> Self {
        Self {
            id: AccessKeyId::new(KEY_ID).unwrap(),
            secret: SecretAccessKey::new(SECRET).unwrap(),
            region: Region::new("us-east-1").unwrap(),
        }
    }

    pub fn signer<'a>(&'a self, service: &'a str, session_token: Option<&'a str>) -> Signer<'a> {
        Signer { access_key_id: &self.id, secret: &self.secret, session_token, region: &self.region, service }
    }
}

/// The cells of a table under tests/data.
pub fn rows(table: &'static str) -> impl Iterator<Item = Vec<String>> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').map(unescape).collect())
}

pub fn unescape(cell: &str) -> String {
    let mut text = String::new();
    let mut characters = cell.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => match characters.next().unwrap() {
                'n' => '\n',
                't' => '\t',
                other => other,
            },
            other => other,
        });
    }
    text
}
