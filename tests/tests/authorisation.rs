//! Nothing is open without credentials: every operation, with every kind of proof.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use registry::operation::{Method, Operation, Plane, TABLE};
use std::collections::BTreeSet;
use system_tests::http::{Proof, Sent, presigned_mqtt_url, send};
use system_tests::mqtt::{Socket, Version};
use system_tests::notation;
use system_tests::platform::platform;

/// For each operation a request to names that do not exist, and its answer to whoever may make it. The answers change
/// nothing, in whatever order they come.
const ROWS: &[(Operation, &str, &str, &str)] = &[
    (Operation::CreateThing, "/things/a%20b", "", "400 InvalidRequestException"),
    (Operation::DescribeThing, "/things/authorisation", "", "404 ResourceNotFoundException"),
    (Operation::ListThings, "/things?maxResults=1", "", "200"),
    (Operation::UpdateThing, "/things/authorisation", "{}", "404 ResourceNotFoundException"),
    (Operation::DeleteThing, "/things/authorisation", "", "200"),
    (Operation::CreateTopicRule, "/rules/authorisation", "{}", "400 InvalidRequestException"),
    (Operation::GetTopicRule, "/rules/authorisation", "", "401 UnauthorizedException"),
    (Operation::ListTopicRules, "/rules", "", "200"),
    (Operation::DeleteTopicRule, "/rules/authorisation", "", "200"),
    (Operation::CreateJob, "/jobs/authorisation", "{}", "400 InvalidRequestException"),
    (Operation::DescribeJob, "/jobs/authorisation", "", "404 ResourceNotFoundException"),
    (Operation::ListJobs, "/jobs", "", "200"),
    (Operation::CreatePolicy, "/policies/authorisation", "{}", "400 InvalidRequestException"),
    (Operation::GetPolicy, "/policies/authorisation", "", "404 ResourceNotFoundException"),
    (Operation::ListPolicies, "/policies?pageSize=1", "", "200"),
    (Operation::DeletePolicy, "/policies/authorisation", "", "404 ResourceNotFoundException"),
    (Operation::CreatePolicyVersion, "/policies/authorisation/version", "{}", "400 InvalidRequestException"),
    (Operation::GetPolicyVersion, "/policies/authorisation/version/1", "", "404 ResourceNotFoundException"),
    (Operation::ListPolicyVersions, "/policies/authorisation/version", "", "404 ResourceNotFoundException"),
    (Operation::DeletePolicyVersion, "/policies/authorisation/version/1", "", "404 ResourceNotFoundException"),
    (Operation::SetDefaultPolicyVersion, "/policies/authorisation/version/1", "", "404 ResourceNotFoundException"),
    (Operation::AttachPolicy, "/target-policies/authorisation", r#"{"target":"x"}"#, "404 ResourceNotFoundException"),
    (Operation::DetachPolicy, "/target-policies/authorisation", r#"{"target":"x"}"#, "200"),
    (Operation::ListAttachedPolicies, "/attached-policies/authorisation", "", "200"),
    (Operation::ListTargetsForPolicy, "/policy-targets/authorisation", "", "404 ResourceNotFoundException"),
    (Operation::RegisterCertificateWithoutCA, "/certificate/register-no-ca", "{}", "400 InvalidRequestException"),
    (Operation::DescribeCertificate, "/certificates/CERTIFICATE", "", "404 ResourceNotFoundException"),
    (Operation::ListCertificates, "/certificates?pageSize=1", "", "200"),
    (Operation::UpdateCertificate, "/certificates/CERTIFICATE?newStatus=ACTIVE", "", "404 ResourceNotFoundException"),
    (Operation::DeleteCertificate, "/certificates/CERTIFICATE", "", "404 ResourceNotFoundException"),
    (Operation::CreateKeysAndCertificate, "/keys-and-certificate?setAsActive=x", "", "400 SerializationException"),
    (Operation::CreateCertificateFromCsr, "/certificates", "{}", "400 InvalidRequestException"),
    (Operation::RegisterCertificate, "/certificate/register", "{}", "400 InvalidRequestException"),
    (Operation::RegisterCACertificate, "/cacertificate", "{}", "400 InvalidRequestException"),
    (Operation::DescribeCACertificate, "/cacertificate/CERTIFICATE", "", "404 ResourceNotFoundException"),
    (
        Operation::UpdateCACertificate,
        "/cacertificate/CERTIFICATE?newStatus=ACTIVE",
        "",
        "404 ResourceNotFoundException",
    ),
    (Operation::DeleteCACertificate, "/cacertificate/CERTIFICATE", "", "404 ResourceNotFoundException"),
    (Operation::ListCACertificates, "/cacertificates?pageSize=1", "", "200"),
    (Operation::ListCertificatesByCA, "/certificates-by-ca/CERTIFICATE", "", "200"),
    (Operation::GetRegistrationCode, "/registrationcode", "", "200"),
    (Operation::DeleteRegistrationCode, "/registrationcode?authorisation", "", "200"),
    (
        Operation::TransferCertificate,
        "/transfer-certificate/CERTIFICATE?targetAwsAccount=123456789012",
        "",
        "404 ResourceNotFoundException",
    ),
    (
        Operation::CancelCertificateTransfer,
        "/cancel-certificate-transfer/CERTIFICATE",
        "",
        "404 ResourceNotFoundException",
    ),
    (
        Operation::AcceptCertificateTransfer,
        "/accept-certificate-transfer/CERTIFICATE",
        "",
        "404 ResourceNotFoundException",
    ),
    (
        Operation::RejectCertificateTransfer,
        "/reject-certificate-transfer/CERTIFICATE",
        "",
        "404 ResourceNotFoundException",
    ),
    (Operation::ListOutgoingCertificates, "/certificates-out-going?pageSize=1", "", "200"),
    (Operation::AttachThingPrincipal, "/things/authorisation/principals", "", "400 InvalidRequestException"),
    (Operation::DetachThingPrincipal, "/things/authorisation/principals", "", "400 InvalidRequestException"),
    (Operation::ListThingPrincipals, "/things/authorisation/principals", "", "404 ResourceNotFoundException"),
    (Operation::ListThingPrincipalsV2, "/things/authorisation/principals-v2", "", "404 ResourceNotFoundException"),
    (Operation::ListPrincipalThings, "/principals/things", "", "400 InvalidRequestException"),
    (Operation::ListPrincipalThingsV2, "/principals/things-v2", "", "400 InvalidRequestException"),
    (Operation::GetEffectivePolicies, "/effective-policies", "{}", "400 InvalidRequestException"),
    (Operation::TestAuthorization, "/test-authorization", "{}", "400 InvalidRequestException"),
    (Operation::AttachPrincipalPolicy, "/principal-policies/authorisation", "", "400 InvalidRequestException"),
    (Operation::DetachPrincipalPolicy, "/principal-policies/authorisation", "", "400 InvalidRequestException"),
    (Operation::ListPrincipalPolicies, "/principal-policies", "", "400 InvalidRequestException"),
    (Operation::ListPolicyPrincipals, "/policy-principals", "", "400 InvalidRequestException"),
    (Operation::CreateRoleAlias, "/role-aliases/authorisation", "{}", "400 InvalidRequestException"),
    (Operation::DescribeRoleAlias, "/role-aliases/authorisation", "", "404 ResourceNotFoundException"),
    (Operation::UpdateRoleAlias, "/role-aliases/authorisation", "{}", "404 ResourceNotFoundException"),
    (Operation::DeleteRoleAlias, "/role-aliases/authorisation", "", "404 ResourceNotFoundException"),
    (Operation::ListRoleAliases, "/role-aliases?pageSize=1", "", "200"),
    (Operation::AssumeRoleWithCertificate, "/role-aliases/authorisation/credentials", "", "403 ForbiddenException"),
    (Operation::CreateApiKey, "/api-keys", r#"{"description":1}"#, "400 SerializationException"),
    (Operation::DescribeApiKey, "/api-keys/authorisation", "", "404 ResourceNotFoundException"),
    (Operation::ListApiKeys, "/api-keys?maxResults=1", "", "200"),
    (Operation::UpdateApiKey, "/api-keys/authorisation", "{}", "404 ResourceNotFoundException"),
    (Operation::DeleteApiKey, "/api-keys/authorisation", "", "404 ResourceNotFoundException"),
    (Operation::CreateAuthorizer, "/authorizer/authorisation", "{}", "400 InvalidRequestException"),
    (Operation::DescribeAuthorizer, "/authorizer/authorisation", "", "404 ResourceNotFoundException"),
    (Operation::UpdateAuthorizer, "/authorizer/authorisation", "{}", "404 ResourceNotFoundException"),
    (Operation::DeleteAuthorizer, "/authorizer/authorisation", "", "404 ResourceNotFoundException"),
    (Operation::TestInvokeAuthorizer, "/authorizer/authorisation/test", "{}", "404 ResourceNotFoundException"),
    (Operation::ListAuthorizers, "/authorizers/?pageSize=1", "", "200"),
    (
        Operation::SetDefaultAuthorizer,
        "/default-authorizer",
        r#"{"authorizerName":"authorisation"}"#,
        "404 ResourceNotFoundException",
    ),
    (Operation::DescribeDefaultAuthorizer, "/default-authorizer", "", "404 ResourceNotFoundException"),
    (Operation::ClearDefaultAuthorizer, "/default-authorizer", "", "404 ResourceNotFoundException"),
    (Operation::ListAuditEvents, "/audit-log?maxResults=1", "", "200"),
    (Operation::GetThingShadow, "/things/authorisation/shadow", "", "404 ResourceNotFoundException"),
    (Operation::UpdateThingShadow, "/things/authorisation/shadow", "{}", "400 InvalidRequestException"),
    (Operation::DeleteThingShadow, "/things/authorisation/shadow", "", "404 ResourceNotFoundException"),
    (Operation::Publish, "/topics/authorisation", "x", "200"),
    (Operation::GetRetainedMessage, "/retainedMessage/authorisation", "", "404 ResourceNotFoundException"),
    (Operation::ListRetainedMessages, "/retainedMessage?maxResults=1", "", "200"),
    (Operation::GetConnection, "/connections/authorisation", "", "404 ResourceNotFoundException"),
    (Operation::DeleteConnection, "/connections/authorisation", "", "404 ResourceNotFoundException"),
    (Operation::ListSubscriptions, "/connections/authorisation/subscriptions", "", "404 ResourceNotFoundException"),
    (Operation::SendDirectMessage, "/connections/authorisation/messages?topic=a", "x", "404 ResourceNotFoundException"),
];

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
    for specification in TABLE {
        assert!(rows.contains(&specification.operation), "{} has no row in this table", specification.name);
    }
}

#[tokio::test]
async fn no_operation_is_open_without_the_right_credentials() {
    let contract = platform();
    for (operation, target, body, right) in ROWS {
        let specification = operation.specification();
        let method = match specification.method {
            Method::Delete => "DELETE",
            Method::Get => "GET",
            Method::Patch => "PATCH",
            Method::Post => "POST",
            Method::Put => "PUT",
        };
        // every name that the plane is signed with, by newer clients and by older ones; and one of another plane
        let (services, other): (&[&str], _) = match specification.plane {
            Plane::Iot => (&["iot"], "iotdata"),
            Plane::IotData => (&["iotdata", "iotdevicegateway"], "iot"),
        };
        let target = target.replace("CERTIFICATE", &"0a".repeat(32));
        let request = Sent::new(method, &target, *body);
        for service in services {
            for (proof, answer) in REFUSED {
                let proof = proof.replace("SERVICE", service);
                let given = send(contract, &Proof::parse(&proof), &request).await.verdict();
                assert_eq!(given, *answer, "{}, {proof}", specification.name);
            }
            for proof in [(*service).to_owned(), format!("{service} presigned")] {
                let given = send(contract, &Proof::parse(&proof), &request).await.verdict();
                assert_eq!(given, *right, "{}, {proof}", specification.name);
            }
        }
        let given = send(contract, &Proof::parse(other), &request).await.verdict();
        assert_eq!(given, "404 UnknownOperationException", "{}, {other}", specification.name);
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
