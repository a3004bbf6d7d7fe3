//! Nothing is open without credentials: every operation, with every kind of proof.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod operations;

use operations::{ROWS, request};
use registry::{Operation, Plane};
use std::collections::BTreeSet;
use system_tests::http::{Proof, presigned_mqtt_url, send};
use system_tests::mqtt::{Socket, Version};
use system_tests::notation;
use system_tests::platform::platform;

/// Proofs in the words of [`Proof`], `SERVICE` being the operation's own, and what each is answered with.
const REFUSED: &[(&str, &str)] = &[
    ("unsigned", "403 MissingAuthenticationTokenException"),
    ("SERVICE wrong-secret", "403 InvalidSignatureException"),
    ("SERVICE unknown-key", "403 UnrecognizedClientException"),
    ("SERVICE expired", "403 InvalidSignatureException"),
    ("SERVICE presigned expired", "403 InvalidSignatureException"),
    ("SERVICE presigned wrong-secret", "403 InvalidSignatureException"),
];

#[test]
fn every_operation_has_a_row() {
    let rows: BTreeSet<_> = ROWS.iter().map(|(operation, ..)| *operation).collect();
    for operation in Operation::ALL {
        assert!(rows.contains(operation), "{} has no row in this table", operation.name());
    }
}

#[tokio::test]
async fn no_operation_is_open_without_the_right_credentials() {
    let contract = platform();
    for (operation, target, body, right) in ROWS {
        let name = operation.name();
        // every name that the plane is signed with, by newer clients and by older ones; and one of another plane
        let (services, other): (&[&str], _) = match operation.plane() {
            Plane::Iot => (&["iot"], "iotdata"),
            Plane::IotData => (&["iotdata", "iotdevicegateway"], "iot"),
            Plane::IotJobsData => (&["iot-jobs-data"], "iotdata"),
        };
        let request = request(*operation, target, body);
        for service in services {
            for (proof, answer) in REFUSED {
                let proof = proof.replace("SERVICE", service);
                let given = send(contract, &Proof::parse(&proof), &request).await.verdict();
                assert_eq!(given, *answer, "{}, {proof}", name);
            }
            for proof in [(*service).to_owned(), format!("{service} presigned")] {
                let given = send(contract, &Proof::parse(&proof), &request).await.verdict();
                assert_eq!(given, *right, "{}, {proof}", name);
            }
        }
        let given = send(contract, &Proof::parse(other), &request).await.verdict();
        assert_eq!(given, "404 UnknownOperationException", "{}, {other}", name);
    }
}

const ANONYMOUS: &str = r#"10 [ "MQTT" v 02 003c p "{id}" ]"#;
const WITH_KEY: &str = r#"10 [ "MQTT" v c2 003c p "{id}" "{key}" "{secret}" ]"#;
const WITH_METRICS: &str = r#"10 [ "MQTT" v c2 003c p "{id}" "?SDK=PythonV2&Version=1.0" "x" ]"#;

/// The proof in the upgrade's URL, CONNECT, and the answers in MQTT 3.1.1 and 5.0 or the status of a refused upgrade.
const CONNECTIONS: &[(&str, &str, &str, &str)] = &[
    ("unsigned", ANONYMOUS, "connack 05", "connack 87"),
    ("unsigned", WITH_METRICS, "connack 04", "connack 86"),
    ("unsigned", WITH_KEY, "connack 00", "connack 00"),
    // a valid proof decides, and makes the user name irrelevant
    ("iotdevicegateway presigned", ANONYMOUS, "connack 00", "connack 00"),
    ("iotdevicegateway presigned-long", WITH_METRICS, "connack 00", "connack 00"),
    // an invalid proof is refused, and never tried as anything else
    ("iotdevicegateway presigned wrong-secret", WITH_KEY, "403", "403"),
    ("iotdevicegateway presigned unknown-key", WITH_KEY, "403", "403"),
    ("iotdevicegateway presigned expired", WITH_KEY, "403", "403"),
    ("iotdevicegateway presigned early", WITH_KEY, "403", "403"),
    ("iotdevicegateway presigned region=eu-west-1", WITH_KEY, "403", "403"),
    ("iotdata presigned", WITH_KEY, "403", "403"),
    ("iot presigned", WITH_KEY, "403", "403"),
];

#[tokio::test]
async fn no_connection_is_accepted_without_the_right_credentials() {
    let contract = platform();
    // what only the Gateway may say is not believed when somebody else says it
    let forged = [
        ("x-umbra-internal-grant", r#"{"principal":{"RootKey":{"access_key_id":"AKIAUNKNOWNUNKNOWN"}}}"#),
        ("X-Umbra-Internal-Principal", "root"),
    ];
    for (proof, connect, answer, answer_5) in CONNECTIONS {
        for (version, wanted) in [(Version::V4, answer), (Version::V5, answer_5)] {
            for headers in [&[], forged.as_slice()] {
                let url = presigned_mqtt_url(contract, &Proof::parse(proof));
                let given = match Socket::open(contract, &url, headers).await {
                    Err(status) => status.to_string(),
                    Ok(mut socket) => {
                        socket.send(&notation::frames(connect, version, contract)[0]).await;
                        socket.next().await.describe(version)
                    }
                };
                assert_eq!(given, **wanted, "{proof}, {connect}, {version:?}, {headers:?}");
            }
        }
    }
}
