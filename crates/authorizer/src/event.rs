//! What the function is told (AWS IoT developer guide, "Defining your Lambda function").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use serde_json::json;
use std::collections::BTreeMap;

/// The event that the function gets. What is not relevant for the client is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// The token, if there is one.
    pub token: Option<&'a str>,
    /// Whether its signature was checked, and is good.
    pub is_signature_verified: bool,
    /// The name that the client asked for in TLS.
    pub server_name: Option<&'a str>,
    /// The request with which it came.
    pub http: Option<Http<'a>>,
    /// What it said in CONNECT.
    pub mqtt: Option<Mqtt<'a>>,
    /// The connection, or the request: for the function's log.
    pub connection_id: &'a str,
}

/// `protocolData.http`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Http<'a> {
    /// By name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<&'a BTreeMap<String, String>>,
    /// With its question mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_string: Option<&'a str>,
}

/// `protocolData.mqtt`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mqtt<'a> {
    /// As it was sent, with what is behind its question mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<&'a str>,
    /// Told in Base64.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "base64")]
    pub password: Option<&'a [u8]>,
    /// The client identifier; nothing if the client sent an empty one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<&'a str>,
}

fn base64<S: Serializer>(bytes: &Option<&[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes.unwrap_or_default()))
}

impl Event<'_> {
    /// The request body.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut protocols = Vec::new();
        let mut data = serde_json::Map::new();
        let mut add = |protocol: &str, value| {
            protocols.push(protocol.to_owned());
            data.insert(protocol.to_owned(), value);
        };
        if let Some(server_name) = self.server_name {
            add("tls", json!({ "serverName": server_name }));
        }
        if let Some(http) = &self.http {
            add("http", json!(http));
        }
        if let Some(mqtt) = &self.mqtt {
            add("mqtt", json!(mqtt));
        }
        let mut event = serde_json::Map::new();
        if let Some(token) = self.token {
            event.insert("token".to_owned(), token.into());
        }
        event.insert("signatureVerified".to_owned(), self.is_signature_verified.into());
        event.insert("protocols".to_owned(), json!(protocols));
        event.insert("protocolData".to_owned(), data.into());
        event.insert("connectionMetadata".to_owned(), json!({ "id": self.connection_id }));
        serde_json::Value::Object(event).to_string().into_bytes()
    }
}
