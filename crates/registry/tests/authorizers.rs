//! Custom authorizers, from request to response, in the SQLite that D1 is made of.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use authorizer::{Answer, Authorized, AuthorizerFunction, CheckedToken, FunctionError, SigningPolicy};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Database, NOW, P, scope};
use iot_types::AuthorizerName;
use proptest::prelude::*;
use registry::authorizer::{
    self as stored, AuthorizerNameRow, AuthorizerRow, AuthorizerStatus, CreateAuthorizerRequest,
    ListAuthorizersRequest, TestInvokeAuthorizerRequest, UpdateAuthorizerRequest,
};
use registry::{ApiError, Limits, statements as sql};
use serde_json::{Value, json};

const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:auth";
const KEY: &str = include_str!("../../x509/tests/data/rsa2048.pub");
const OTHER_KEY: &str = include_str!("../../x509/tests/data/rsa4096.pub");
const EC_KEY: &str = include_str!("../../x509/tests/data/p256.pub");
/// What openssl has signed with the first key.
const TOKEN: &str = include_str!("../../x509/tests/data/message");
const SIGNATURE: &[u8] = include_bytes!("../../x509/tests/data/message.rsa2048.sha256.sig");

/// So that limits are soon reached.
const LIMITS: Limits = Limits { authorizers: 4, active_authorizers: 2, ..Limits::STANDARD };

fn name(text: &str) -> AuthorizerName {
    AuthorizerName::new(text).unwrap()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn signed() -> Value {
    json!({
        "authorizerFunctionArn": FUNCTION, "tokenKeyName": "Token-Key", "tokenSigningPublicKeys": {"first": KEY},
    })
}

fn unsigned(status: &str) -> Value {
    json!({"authorizerFunctionArn": "service:AUTH", "signingDisabled": true, "status": status})
}

/// The body with a member replaced, or removed for `null`.
fn with(mut body: Value, member: &str, value: Value) -> Value {
    body[member] = value;
    body
}

/// Operations as the workers do them: one batch, then the settling function.
impl Database {
    fn create(&self, authorizer: &str, body: &Value) -> Result<Value, ApiError> {
        let request = CreateAuthorizerRequest::parse(authorizer, body.to_string().as_bytes(), false)?;
        let changed = self.run(&sql::insert_authorizer(P, &request, &LIMITS, NOW));
        stored::settle_create(&scope(), &request.authorizer_name, changed, self.authorizer(authorizer).as_ref())?;
        Ok(json(&stored::authorizer_response(&scope(), &request.authorizer_name)))
    }

    fn authorizer(&self, authorizer: &str) -> Option<AuthorizerRow> {
        self.rows(&sql::select_authorizer(P, &name(authorizer))).pop()
    }

    fn describe(&self, authorizer: &str) -> Result<Value, ApiError> {
        let row = stored::found(&name(authorizer), self.authorizer(authorizer))?;
        Ok(json(&stored::describe_authorizer_response(&scope(), &row)?)["authorizerDescription"].clone())
    }

    fn update(&self, authorizer: &str, body: &Value) -> Result<(), ApiError> {
        let request = UpdateAuthorizerRequest::parse(authorizer, body.to_string().as_bytes(), false)?;
        let changed = self.run(&sql::update_authorizer(P, &request, &LIMITS, NOW.plus_millis(5_000)));
        stored::settle_update(&request, changed, self.authorizer(authorizer).as_ref())
    }

    fn delete(&self, authorizer: &str) -> Result<(), ApiError> {
        let changed = self.run(&sql::delete_authorizer(P, &name(authorizer)));
        stored::settle_delete(&name(authorizer), changed, self.authorizer(authorizer).as_ref())
    }

    fn set_default(&self, authorizer: &str) -> Result<(), ApiError> {
        let body = json!({ "authorizerName": authorizer }).to_string();
        let named = stored::default_authorizer_of(body.as_bytes())?;
        stored::settle_set_default(&named, self.run(&sql::set_default_authorizer(P, &named)))
    }

    fn default_name(&self) -> Result<String, ApiError> {
        let row = self.rows::<AuthorizerRow>(&sql::select_default_authorizer(P)).pop();
        stored::found_default(row).map(|row| row.authorizer_name)
    }

    fn clear_default(&self) -> Result<(), ApiError> {
        stored::settle_clear_default(self.run(&sql::clear_default_authorizer(P)))
    }

    /// All pages.
    fn list(&self, query: &str) -> String {
        let (mut all, mut marker) = (Vec::new(), String::new());
        loop {
            let query = format!("{query}&marker={marker}");
            let request = ListAuthorizersRequest::parse(&query, &Limits::STANDARD).unwrap();
            let rows = self.rows::<AuthorizerNameRow>(&sql::list_authorizers(P, &request));
            let told = json(&stored::list_authorizers_response(&scope(), &request, rows).unwrap());
            for authorizer in told["authorizers"].as_array().unwrap() {
                let authorizer_name = authorizer["authorizerName"].as_str().unwrap();
                let arn = format!("arn:aws:iot:us-east-1:123456789012:authorizer/{authorizer_name}");
                assert_eq!(authorizer["authorizerArn"], arn);
                all.push(authorizer_name.to_owned());
            }
            let Some(next) = told["nextMarker"].as_str() else { return all.join(" ") };
            next.clone_into(&mut marker);
        }
    }
}

fn error<T: core::fmt::Debug>(result: Result<T, ApiError>) -> &'static str {
    result.unwrap_err().name()
}

#[test]
fn an_authorizer_is_created_once_and_described() {
    let database = Database::new();
    let told = database.create("A,=@-_1", &signed()).unwrap();
    let arn = "arn:aws:iot:us-east-1:123456789012:authorizer/A,=@-_1";
    assert_eq!(told, json!({"authorizerName": "A,=@-_1", "authorizerArn": arn}));
    for body in [signed(), unsigned("ACTIVE")] {
        let refused = database.create("A,=@-_1", &body).unwrap_err();
        assert_eq!((refused.name(), refused.status()), ("ResourceAlreadyExistsException", 409));
        assert_eq!(json(&refused.body())["resourceArn"], arn);
    }
    let described = json!({
        "authorizerName": "A,=@-_1",
        "authorizerArn": arn,
        "authorizerFunctionArn": FUNCTION,
        "tokenSigningPublicKeys": {"first": KEY},
        "status": "INACTIVE",
        "creationDate": 1_700_000_000,
        "lastModifiedDate": 1_700_000_000,
        "signingDisabled": false,
        "enableCachingForHttp": false,
        "tokenKeyName": "Token-Key",
    });
    assert_eq!(database.describe("A,=@-_1").unwrap(), described);
    assert_eq!(error(database.describe("B")), "ResourceNotFoundException");

    database.create("B", &with(unsigned("ACTIVE"), "enableCachingForHttp", true.into())).unwrap();
    let described = database.describe("B").unwrap();
    assert_eq!(described["tokenSigningPublicKeys"], json!({}));
    assert_eq!((&described["signingDisabled"], &described["enableCachingForHttp"]), (&true.into(), &true.into()));
    assert_eq!((&described["status"], described.get("tokenKeyName")), (&"ACTIVE".into(), None));
    let row = database.authorizer("B").unwrap();
    assert!(row.is_active() && !database.authorizer("A,=@-_1").unwrap().is_active());
    assert_eq!(row.signing_policy(), Ok(SigningPolicy::Disabled));
    assert!(matches!(database.authorizer("A,=@-_1").unwrap().signing_policy(), Ok(SigningPolicy::Required(_))));
    assert_eq!(row.function(false), Ok(AuthorizerFunction::Service("AUTH".to_owned())));
}

#[test]
fn what_creates_no_authorizer_is_refused() {
    let database = Database::new();
    let keys = |keys: Value| with(signed(), "tokenSigningPublicKeys", keys);
    for (body, expected) in [
        (json!({}), "InvalidRequestException"),
        (with(signed(), "authorizerFunctionArn", Value::Null), "InvalidRequestException"),
        (with(signed(), "authorizerFunctionArn", "http://example.com/".into()), "InvalidRequestException"),
        (with(signed(), "authorizerFunctionArn", "https://127.0.0.1/".into()), "InvalidRequestException"),
        (with(signed(), "authorizerFunctionArn", 1.into()), "SerializationException"),
        (with(signed(), "tokenKeyName", Value::Null), "InvalidRequestException"),
        (with(signed(), "tokenKeyName", "".into()), "InvalidRequestException"),
        (with(signed(), "tokenKeyName", "a b".into()), "InvalidRequestException"),
        (with(signed(), "tokenKeyName", "x".repeat(129).into()), "InvalidRequestException"),
        (with(unsigned("ACTIVE"), "tokenKeyName", "a:b".into()), "InvalidRequestException"),
        (keys(Value::Null), "InvalidRequestException"),
        (keys(json!({})), "InvalidRequestException"),
        (keys(json!({ "a": null })), "InvalidRequestException"),
        (keys(json!({ "a": "PEM" })), "InvalidRequestException"),
        (keys(json!({ "a": EC_KEY })), "InvalidRequestException"),
        (keys(json!({ "a b": KEY })), "InvalidRequestException"),
        (keys(json!({"a": KEY, "b": KEY, "c": KEY})), "InvalidRequestException"),
        (keys(json!([KEY])), "SerializationException"),
        (keys(json!({ "a": 1 })), "SerializationException"),
        (with(unsigned("ACTIVE"), "tokenSigningPublicKeys", json!({ "a": "PEM" })), "InvalidRequestException"),
        (with(signed(), "status", "active".into()), "InvalidRequestException"),
        (with(signed(), "signingDisabled", "true".into()), "SerializationException"),
        (with(signed(), "enableCachingForHttp", 1.into()), "SerializationException"),
    ] {
        assert_eq!(error(database.create("A", &body)), expected, "{body}");
    }
    for bad in ["", "a b", "a.b", "a+b", "ä", &"x".repeat(129)] {
        assert_eq!(error(database.create(bad, &signed())), "InvalidRequestException", "{bad}");
    }
    assert!(database.authorizer("A").is_none());
    let told = database.create("A", &with(with(signed(), "status", "x".into()), "tokenKeyName", "".into()));
    let expected = "2 validation errors detected: Value '' at 'tokenKeyName' failed to satisfy constraint: Member must \
                    have length greater than or equal to 1; Value 'x' at 'status' failed to satisfy constraint: Member \
                    must satisfy enum value set: [ACTIVE, INACTIVE]";
    assert_eq!(told.unwrap_err().message(), expected);
    assert!(database.create(&"x".repeat(128), &keys(json!({"a": KEY, "b": OTHER_KEY}))).is_ok());
    assert!(database.create("A", &with(signed(), "tags", json!([{"Key": "k", "Value": "v"}]))).is_ok());
}

#[test]
fn an_update_changes_what_it_names() {
    let database = Database::new();
    assert_eq!(error(database.update("A", &json!({}))), "ResourceNotFoundException");
    database.create("A", &signed()).unwrap();
    let before = database.describe("A").unwrap();
    database.update("A", &json!({})).unwrap();
    assert_eq!(database.describe("A").unwrap(), with(before, "lastModifiedDate", 1_700_000_005.into()));
    for (member, value) in [
        ("authorizerFunctionArn", json!("https://auth.example.com/a")),
        ("tokenKeyName", json!("other")),
        ("tokenSigningPublicKeys", json!({"second": OTHER_KEY, "third": KEY})),
        ("status", json!("ACTIVE")),
        ("status", json!("INACTIVE")),
        ("enableCachingForHttp", json!(true)),
        ("enableCachingForHttp", json!(false)),
    ] {
        let before = database.describe("A").unwrap();
        database.update("A", &with(json!({}), member, value.clone())).unwrap();
        assert_eq!(database.describe("A").unwrap(), with(before, member, value), "{member}");
    }
    let before = database.describe("A").unwrap();
    for (body, expected) in [
        (json!({"signingDisabled": true}), "InvalidRequestException"),
        (json!({"signingDisabled": false}), "InvalidRequestException"),
        (json!({"authorizerFunctionArn": "x"}), "InvalidRequestException"),
        (json!({"tokenKeyName": ""}), "InvalidRequestException"),
        (json!({"tokenSigningPublicKeys": {}}), "InvalidRequestException"),
        (json!({"tokenSigningPublicKeys": {"a": EC_KEY}}), "InvalidRequestException"),
        (json!({"status": "DELETED"}), "InvalidRequestException"),
        (json!({"status": true}), "SerializationException"),
    ] {
        assert_eq!(error(database.update("A", &body)), expected, "{body}");
    }
    assert_eq!(database.describe("A").unwrap(), before, "nothing is half changed");
    database.create("B", &with(unsigned("ACTIVE"), "tokenSigningPublicKeys", json!({ "a": KEY }))).unwrap();
    database.update("B", &json!({"tokenSigningPublicKeys": {}})).unwrap();
    assert_eq!(database.describe("B").unwrap()["tokenSigningPublicKeys"], json!({}));
}

#[test]
fn there_are_only_so_many_authorizers_and_active_ones() {
    let database = Database::new();
    for authorizer in ["a", "b"] {
        database.create(authorizer, &unsigned("ACTIVE")).unwrap();
    }
    let refused = database.create("c", &unsigned("ACTIVE")).unwrap_err();
    assert_eq!((refused.name(), refused.status()), ("LimitExceededException", 410));
    database.create("c", &unsigned("INACTIVE")).unwrap();
    assert_eq!(error(database.update("c", &json!({"status": "ACTIVE"}))), "LimitExceededException");
    assert_eq!(database.update("a", &json!({"status": "ACTIVE"})), Ok(()), "it is active");
    database.update("a", &json!({"status": "INACTIVE"})).unwrap();
    database.update("c", &json!({"status": "ACTIVE"})).unwrap();
    database.create("d", &unsigned("INACTIVE")).unwrap();
    assert_eq!(error(database.create("e", &unsigned("INACTIVE"))), "LimitExceededException");
    assert_eq!(error(database.create("d", &unsigned("INACTIVE"))), "ResourceAlreadyExistsException");
    database.delete("d").unwrap();
    database.create("e", &unsigned("INACTIVE")).unwrap();
}

#[test]
fn an_authorizer_that_is_active_or_the_default_one_is_not_deleted() {
    let database = Database::new();
    assert_eq!(error(database.delete("A")), "ResourceNotFoundException");
    assert_eq!(error(database.set_default("A")), "ResourceNotFoundException");
    assert_eq!(error(database.default_name()), "ResourceNotFoundException");
    assert_eq!(error(database.clear_default()), "ResourceNotFoundException");
    database.create("A", &unsigned("ACTIVE")).unwrap();
    database.create("B", &unsigned("INACTIVE")).unwrap();
    assert_eq!(error(database.delete("A")), "DeleteConflictException");
    database.update("A", &json!({"status": "INACTIVE"})).unwrap();
    for default in ["B", "A", "A"] {
        database.set_default(default).unwrap();
        assert_eq!(database.default_name().unwrap(), default);
    }
    assert_eq!(database.authorizer("A").unwrap().is_default, 1);
    assert_eq!(database.authorizer("B").unwrap().is_default, 0);
    let refused = database.delete("A").unwrap_err();
    assert_eq!((refused.name(), refused.status()), ("DeleteConflictException", 409));
    assert_eq!(database.delete("B"), Ok(()));
    assert_eq!(database.clear_default(), Ok(()));
    assert_eq!(error(database.default_name()), "ResourceNotFoundException");
    assert_eq!(database.delete("A"), Ok(()));
    assert_eq!(error(database.describe("A")), "ResourceNotFoundException");
    for (body, expected) in [
        ("{}", "InvalidRequestException"),
        (r#"{"authorizerName":"a b"}"#, "InvalidRequestException"),
        (r#"{"authorizerName":1}"#, "SerializationException"),
    ] {
        assert_eq!(error(stored::default_authorizer_of(body.as_bytes())), expected, "{body}");
    }
}

#[test]
fn authorizers_are_listed_by_status_page_by_page_in_both_directions() {
    let database = Database::new();
    for (authorizer, status) in [("c", "ACTIVE"), ("a", "INACTIVE"), ("d", "INACTIVE"), ("b", "ACTIVE")] {
        database.create(authorizer, &unsigned(status)).unwrap();
    }
    for (query, expected) in [
        ("", "a b c d"),
        ("isAscendingOrder=true", "a b c d"),
        ("isAscendingOrder=false", "d c b a"),
        ("status=ACTIVE", "b c"),
        ("status=INACTIVE&isAscendingOrder=true", "a d"),
        ("status=INACTIVE&isAscendingOrder=false", "d a"),
    ] {
        for size in [1, 2, 3, 250] {
            assert_eq!(database.list(&format!("{query}&pageSize={size}")), expected, "{query} {size}");
        }
    }
    for (query, expected) in [
        ("status=active", "InvalidRequestException"),
        ("status=", "InvalidRequestException"),
        ("pageSize=0", "InvalidRequestException"),
        ("pageSize=251", "InvalidRequestException"),
        ("marker=AXRsYW1w", "InvalidRequestException"),
        ("isAscendingOrder=yes", "SerializationException"),
    ] {
        assert_eq!(error(ListAuthorizersRequest::parse(query, &Limits::STANDARD)), expected, "{query}");
    }
    let refused = ListAuthorizersRequest::parse("marker=AXRsYW1w", &Limits::STANDARD).unwrap_err();
    assert_eq!(refused.message(), "The marker is not valid");
}

#[test]
fn a_row_that_no_longer_fits_is_not_believed() {
    let database = Database::new();
    let body = with(signed(), "authorizerFunctionArn", "http://localhost:8080/".into()).to_string();
    let request = CreateAuthorizerRequest::parse("A", body.as_bytes(), true).unwrap();
    database.run(&sql::insert_authorizer(P, &request, &LIMITS, NOW));
    let row = database.authorizer("A").unwrap();
    assert!(row.function(true).is_ok());
    assert_eq!(row.function(false), Err(FunctionError::NotEncrypted), "the deployment is not local any longer");
    for keys in ["", "[]", "{}", r#"{"a":"PEM"}"#] {
        let corrupt = AuthorizerRow { signing_keys: keys.to_owned(), ..row.clone() };
        assert!(corrupt.signing_policy().is_err(), "{keys}");
    }
    let corrupt = AuthorizerRow { authorizer_name: "a b".to_owned(), ..row };
    assert!(stored::describe_authorizer_response(&scope(), &corrupt).is_err());
    assert_eq!(AuthorizerStatus::parse("ACTIVE").unwrap().to_string(), "ACTIVE");
}

fn row(body: &Value) -> AuthorizerRow {
    let database = Database::new();
    database.create("A", body).unwrap();
    database.authorizer("A").unwrap()
}

fn tested(body: &Value) -> Result<TestInvokeAuthorizerRequest, ApiError> {
    TestInvokeAuthorizerRequest::parse("A", body.to_string().as_bytes())
}

#[test]
fn a_test_tells_the_function_what_a_client_would() {
    let row = row(&unsigned("ACTIVE"));
    let told = |body: &Value| {
        let request = tested(body).unwrap();
        json(&request.event(&request.check(&row).unwrap(), "uuid"))
    };
    let nothing = json!({
        "signatureVerified": false, "protocols": [], "protocolData": {}, "connectionMetadata": {"id": "uuid"},
    });
    assert_eq!(told(&json!({})), nothing);
    let everything = json!({
        "token": "t",
        "httpContext": {"headers": {"A": "1"}, "queryString": "?b=2"},
        "mqttContext": {"username": "u?c=3", "password": "cGFzcw==", "clientId": "lamp"},
        "tlsContext": {"serverName": "iot.example.com"},
    });
    let expected = json!({
        "token": "t",
        "signatureVerified": false,
        "protocols": ["tls", "http", "mqtt"],
        "protocolData": {
            "tls": {"serverName": "iot.example.com"},
            "http": {"headers": {"a": "1"}, "queryString": "?b=2"},
            "mqtt": {"username": "u?c=3", "password": "cGFzcw==", "clientId": "lamp"},
        },
        "connectionMetadata": {"id": "uuid"},
    });
    assert_eq!(told(&everything), expected);
    let partly = told(&json!({"httpContext": {}, "mqttContext": {}, "tlsContext": {}}));
    assert_eq!(partly["protocolData"], json!({"http": {}, "mqtt": {}}));
}

#[test]
fn a_test_calls_the_function_only_with_a_signed_token() {
    let signature = STANDARD.encode(SIGNATURE);
    let encoded = signature.replace('+', "%2B").replace('/', "%2F");
    let good = Ok(CheckedToken { token: Some(TOKEN.to_owned()), is_signature_verified: true });
    let refused = Err("InvalidRequestException");
    let in_user_name = format!("u?Token-Key={}&x-amz-customauthorizer-signature={encoded}", TOKEN.replace(' ', "%20"));
    let in_headers = json!({"TOKEN-KEY": TOKEN, "X-Amz-CustomAuthorizer-Signature": signature});
    for (body, expected) in [
        (json!({"token": TOKEN, "tokenSignature": signature}), &good),
        (json!({"httpContext": {"headers": in_headers}}), &good),
        (json!({"mqttContext": {"username": in_user_name}}), &good),
        (json!({"token": TOKEN, "mqttContext": {"username": in_user_name}}), &good),
        (json!({"token": "another", "mqttContext": {"username": in_user_name}}), &refused),
        (json!({"token": TOKEN, "tokenSignature": "AAAA", "mqttContext": {"username": in_user_name}}), &refused),
        (json!({"token": TOKEN}), &refused),
        (json!({"tokenSignature": signature}), &refused),
        (json!({}), &refused),
    ] {
        let checked = tested(&body).unwrap().check(&row(&signed()));
        assert_eq!(&checked.map_err(|error| error.name()), expected, "{body}");
    }
}

#[test]
fn what_is_no_test_is_refused() {
    let long = |length: usize| "x".repeat(length);
    let blob = |length: usize| STANDARD.encode(vec![0; length]);
    for (body, is_good) in [
        (json!({"token": long(6_144)}), true),
        (json!({"token": long(6_145)}), false),
        (json!({"token": ""}), false),
        (json!({"tokenSignature": long(2_560)}), true),
        (json!({"tokenSignature": long(2_561)}), false),
        (json!({"tokenSignature": "a-b"}), false),
        (json!({"tokenSignature": "ab==="}), false),
        (json!({"tokenSignature": "=="}), false),
        (json!({"tlsContext": {"serverName": long(253)}}), true),
        (json!({"tlsContext": {"serverName": long(254)}}), false),
        (json!({"httpContext": {"queryString": long(4_096)}}), true),
        (json!({"httpContext": {"queryString": long(4_097)}}), false),
        (json!({"httpContext": {"queryString": ""}}), false),
        (json!({"httpContext": {"headers": {"a": long(8_191)}}}), true),
        (json!({"httpContext": {"headers": {"a": long(8_192)}}}), false),
        (json!({"mqttContext": {"clientId": long(65_535)}}), true),
        (json!({"mqttContext": {"clientId": long(65_536)}}), false),
        (json!({"mqttContext": {"username": long(65_535)}}), true),
        (json!({"mqttContext": {"username": long(65_536)}}), false),
        (json!({"mqttContext": {"username": format!("?{}", long(8_193))}}), false),
        (json!({"mqttContext": {"password": blob(65_535)}}), true),
        (json!({"mqttContext": {"password": blob(65_536)}}), false),
        (json!({"mqttContext": {"password": ""}}), false),
    ] {
        let refused = tested(&body).err().map(|error| error.name());
        assert_eq!(refused, (!is_good).then_some("InvalidRequestException"), "{:.80}", body.to_string());
    }
    for body in [
        json!({"token": 1}),
        json!({"httpContext": "x"}),
        json!({"httpContext": {"headers": {"a": 1}}}),
        json!({"mqttContext": {"password": "not Base64"}}),
        json!({"mqttContext": {"username": []}}),
    ] {
        assert_eq!(error(tested(&body)), "SerializationException", "{body}");
    }
    assert_eq!(error(TestInvokeAuthorizerRequest::parse("a b", b"{}")), "InvalidRequestException");
}

#[test]
fn a_test_answers_what_the_function_said() {
    let answer = Answer::Authorized(Authorized {
        principal_id: "lamp1".to_owned(),
        disconnect_after_secs: 3_600,
        refresh_after_secs: 300,
        policy_documents: vec!["{}".to_owned()],
    });
    let expected = json!({
        "isAuthenticated": true, "principalId": "lamp1", "policyDocuments": ["{}"], "refreshAfterInSeconds": 300,
        "disconnectAfterInSeconds": 3_600,
    });
    assert_eq!(json(&stored::test_invoke_authorizer_response(&answer)), expected);
    assert_eq!(json(&stored::test_invoke_authorizer_response(&Answer::Denied)), json!({"isAuthenticated": false}));
    let refused = stored::invalid_response(&"why");
    assert_eq!((refused.name(), refused.status(), refused.message()), ("InvalidResponseException", 400, "why"));
}

proptest! {
    #[test]
    fn no_request_panics(name in "\\PC{0,5}", body in proptest::collection::vec(any::<u8>(), 0..60), text in "\\PC{0,40}") {
        let contexts = json!({
            "authorizerFunctionArn": text, "tokenKeyName": text, "token": text, "tokenSignature": text, "status": text,
            "tokenSigningPublicKeys": {&text: text}, "httpContext": {"headers": {&text: text}, "queryString": text},
            "mqttContext": {"username": text, "clientId": text},
        });
        for body in [body, text.clone().into_bytes(), contexts.to_string().into_bytes()] {
            for name in [name.as_str(), "A"] {
                let _ = CreateAuthorizerRequest::parse(name, &body, true);
                let _ = UpdateAuthorizerRequest::parse(name, &body, false);
                let _ = TestInvokeAuthorizerRequest::parse(name, &body);
            }
            let _ = stored::default_authorizer_of(&body);
        }
        let _ = ListAuthorizersRequest::parse(&text, &Limits::STANDARD);
    }
}
