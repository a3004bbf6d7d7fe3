//! Every operation and every action of MQTT, with every kind of principal: what each is answered with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod operations;

use operations::{ROWS, request};
use registry::Plane;
use serde_json::{Value, json};
use system_tests::http::{Answer, Proof, Sent, send};
use system_tests::mqtt::{Socket, Version};
use system_tests::notation;
use system_tests::platform::{Contract, platform};
use system_tests::unique;

/// A certificate of AWS's shape, as `openssl` reads it. Nobody needs its key: TLS is said to have proved it.
const CERTIFICATES: [&str; 3] = [
    include_str!("../../crates/x509/tests/data/aws.pem"),
    include_str!("../../crates/x509/tests/data/by-ed25519.pem"),
    include_str!("../../crates/x509/tests/data/by-p256-sha256.pem"),
];

async fn control(method: &str, target: &str, body: Value) -> Answer {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    send(platform(), &Proof::parse("iot"), &Sent::new(method, target, body)).await
}

async fn done(method: &str, target: &str, body: Value) -> Value {
    let answer = control(method, target, body).await;
    assert_eq!(answer.status, 200, "{method} {target}: {}", answer.verdict());
    answer.json()
}

/// A policy of this name with these statements, attached to the target.
async fn attach(target: &str, statements: Value) {
    let name = unique("principals");
    let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    done("POST", &format!("/policies/{name}"), json!({ "policyDocument": document })).await;
    done("PUT", &format!("/target-policies/{name}"), json!({ "target": target })).await;
}

fn everything() -> Value {
    json!([{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}])
}

fn denied() -> Value {
    json!([
        {"Effect": "Allow", "Action": "iot:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "*", "Resource": "*"},
    ])
}

/// The platform as the holder of a new API key sees it, and the key's ARN.
async fn api_key() -> (Contract, String, String) {
    let made = done("POST", "/api-keys", Value::Null).await;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let contract =
        Contract { access_key_id: text("apiKeyId"), secret_access_key: text("secretAccessKey"), ..platform().clone() };
    (contract, text("apiKeyId"), text("apiKeyArn"))
}

#[tokio::test]
async fn an_operation_is_for_keys_that_a_policy_allows_it_to() {
    let (allowed, _, arn) = api_key().await;
    attach(&arn, everything()).await;
    let (without, _, _) = api_key().await;
    let (explicitly, _, arn) = api_key().await;
    attach(&arn, denied()).await;
    let (inactive, id, arn) = api_key().await;
    attach(&arn, everything()).await;
    done("PATCH", &format!("/api-keys/{id}"), json!({"status": "INACTIVE"})).await;
    let (deleted, id, arn) = api_key().await;
    attach(&arn, everything()).await;
    done("DELETE", &format!("/api-keys/{id}"), Value::Null).await;
    for (operation, target, body, right) in ROWS {
        let name = operation.name();
        let (service, refused) = match operation.plane() {
            Plane::Iot => ("iot", "403 AccessDeniedException"),
            Plane::IotData => ("iotdata", "403 ForbiddenException"),
            Plane::IotJobsData => ("iot-jobs-data", "403 ForbiddenException"),
        };
        let request = request(*operation, target, body);
        for (who, contract, expected) in [
            ("allowed", &allowed, *right),
            ("without policies", &without, refused),
            ("denied", &explicitly, refused),
            ("inactive", &inactive, "403 UnrecognizedClientException"),
            ("deleted", &deleted, "403 UnrecognizedClientException"),
        ] {
            let given = send(contract, &Proof::parse(service), &request).await.verdict();
            assert_eq!(given, expected, "{}, {who}", name);
        }
    }
}

/// Registers a certificate, or finds it; its header, as if Cloudflare had verified it in TLS, and its ARN.
async fn certificate(pem: &str, status: &str) -> ((String, String), String) {
    let registered = control("POST", "/certificate/register-no-ca", json!({"certificatePem": pem})).await;
    let body = registered.json();
    let id = ["certificateId", "resourceId"].iter().find_map(|name| body[*name].as_str()).unwrap().to_owned();
    done("PUT", &format!("/certificates/{id}?newStatus={status}"), Value::Null).await;
    let seen = json!({"tlsClientAuth": {
        "certPresented": "1", "certVerified": "SUCCESS", "certRevoked": "0", "certFingerprintSHA256": id,
        "localSecret": platform().local_tls_secret,
    }});
    let arn = format!("arn:aws:iot:{}:{}:cert/{id}", platform().region, platform().account_id);
    (("mf-cf-blob".to_owned(), seen.to_string()), arn)
}

#[tokio::test]
async fn a_device_has_the_data_plane_as_far_as_its_policies_allow() {
    let [one, two, three] = CERTIFICATES;
    let (allowed, arn) = certificate(one, "ACTIVE").await;
    attach(&arn, everything()).await;
    let (without, _) = certificate(two, "ACTIVE").await;
    let (revoked, arn) = certificate(three, "REVOKED").await;
    attach(&arn, everything()).await;
    for (operation, target, body, right) in ROWS {
        let name = operation.name();
        // the one operation that is for certificates alone
        let right = if name == "AssumeRoleWithCertificate" { "404 ResourceNotFoundException" } else { right };
        for (who, header, expected) in [
            ("allowed", &allowed, right),
            ("without policies", &without, "403 ForbiddenException"),
            ("revoked", &revoked, "403 UnrecognizedClientException"),
        ] {
            let mut request = request(*operation, target, body);
            request.headers.push(header.clone());
            let given = send(platform(), &Proof::parse("unsigned"), &request).await.verdict();
            match operation.plane() {
                Plane::IotData => assert_eq!(given, expected, "{}, {who}", name),
                // what is the control plane's is not there for devices
                Plane::Iot | Plane::IotJobsData => {
                    let is_unknown = ["404 Unknown", "405 MethodNotAllowed", "501 NotImplemented"]
                        .iter()
                        .any(|start| given.starts_with(start));
                    assert!(is_unknown, "{}, {who}: {given}", name);
                }
            }
        }
    }
}

const CONNECT: &str = r#"10 [ "MQTT" v c2 003c p "{id}" "{key}" "{secret}" ]"#;

/// What a client sends, and what it is answered with in MQTT 5.0: who may, and who may not.
const ACTIONS: &[(&str, &str, &str)] = &[
    (r#"32 [ "principals/a" 0001 p 78 ]"#, "puback 00", "puback 87"),
    (r#"33 [ "principals/a" 0001 p ]"#, "puback 00", "puback 87"),
    (r#"82 [ 0002 p "principals/b" 01 ]"#, "suback 01", "suback 87"),
    (r#"82 [ 0002 p "$share/g/principals/b" 01 ]"#, "suback 01", "suback 87"),
];

#[tokio::test]
async fn an_action_of_mqtt_is_for_clients_that_a_policy_allows_it_to() {
    let (allowed, _, arn) = api_key().await;
    attach(&arn, everything()).await;
    let (narrow, _, arn) = api_key().await;
    attach(&arn, json!([{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}])).await;
    let (without, _, _) = api_key().await;
    let (inactive, id, arn) = api_key().await;
    attach(&arn, everything()).await;
    done("PATCH", &format!("/api-keys/{id}"), json!({"status": "INACTIVE"})).await;
    for (who, contract, expected) in [
        ("root", platform(), "connack 00"),
        ("allowed", &allowed, "connack 00"),
        ("narrow", &narrow, "connack 00"),
        ("without policies", &without, "connack 87"),
        ("inactive", &inactive, "connack 87"),
    ] {
        for (packet, may, may_not) in ACTIONS {
            let mut socket = Socket::open(contract, &contract.mqtt, &[]).await.unwrap();
            socket.send(&notation::frames(CONNECT, Version::V5, contract)[0]).await;
            assert_eq!(socket.next().await.describe(Version::V5), expected, "{who}");
            if expected != "connack 00" {
                break;
            }
            socket.send(&notation::frames(packet, Version::V5, contract)[0]).await;
            let wanted = if who == "narrow" { may_not } else { may };
            let given = socket.next().await.describe(Version::V5);
            // nobody may be subscribed: 0x10, No matching subscribers, is as good
            assert!(given == *wanted || given == wanted.replace("00", "10"), "{who}, {packet}: {given}");
        }
    }
}
