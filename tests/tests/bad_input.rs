//! Every row of `tests/bad-input.tsv`, and then the proof that none of them changed anything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use serde_json::Value;
use system_tests::http::{Proof, Sent, send};
use system_tests::mqtt::{Heard, Socket, Version};
use system_tests::platform::{Contract, platform};
use system_tests::{notation, table, unique};

#[tokio::test]
async fn bad_input_is_refused_as_the_table_says_and_changes_nothing() {
    let contract = platform();
    let thing = unique("bad-input-witness");
    let iot = Proof::parse("iot");
    let created = send(contract, &iot, &Sent::new("POST", &format!("/things/{thing}"), "")).await;
    assert_eq!(created.verdict(), "200");
    let update = Sent::new("POST", &format!("/things/{thing}/shadow"), r#"{"state":{"reported":{"is":"untouched"}}}"#);
    assert_eq!(send(contract, &Proof::parse("iotdata"), &update).await.verdict(), "200");
    let mut witness = Witness::connect(contract, &thing).await;
    let before = state(contract, &thing).await;

    let mut failures = Vec::new();
    let rows = table::rows::<6>("bad-input.tsv");
    for [kind, what, input, answer, answer_5, _source] in &rows {
        // shown when the row fails by a panic
        println!("{kind}: {what}");
        let input = input.replace("{thing}", &thing);
        let answers = match kind.as_str() {
            "http" => vec![(http(contract, &input).await, answer)],
            "mqtt" | "session" => {
                let is_session = kind == "session";
                let mut answers = Vec::new();
                for (version, wanted) in [(Version::V4, answer), (Version::V5, answer_5)] {
                    if wanted != "-" {
                        answers.push((mqtt(contract, version, is_session, &input, wanted).await, wanted));
                    }
                }
                answers
            }
            other => panic!("no such kind: {other}"),
        };
        assert!(!answers.is_empty(), "{kind}: {what}: no answer is expected");
        for (given, wanted) in answers {
            if given != *wanted {
                failures.push(format!("{kind}: {what}: {given:?} instead of {wanted:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} rows of {}:\n{}", failures.len(), rows.len(), failures.join("\n"));
    witness.heard_nothing_and_still_hears().await;
    assert_eq!(state(contract, &thing).await, before, "bad input has changed something");
}

/// Sends the input and says what came back, until the connection ends or as many packets as `wanted` names are there
/// and a PINGREQ shows that it goes on.
async fn mqtt(contract: &Contract, version: Version, is_session: bool, input: &str, wanted: &str) -> String {
    let mut socket = Socket::open(contract, &contract.mqtt, &[]).await.expect("the upgrade is refused");
    if is_session {
        let connect = r#"10 [ "MQTT" v c2 003c p "{id}" "{key}" "{secret}" ]"#;
        socket.send(&notation::frames(connect, version, contract)[0]).await;
        assert_eq!(socket.next().await.describe(version), "connack 00");
    }
    match input.strip_prefix("text ") {
        Some(text) => socket.send_text(text).await,
        None => {
            for frame in notation::frames(input, version, contract) {
                socket.send(&frame).await;
            }
        }
    }
    let stays_open = wanted.ends_with("open");
    let packets = wanted.split(", ").count() - 1;
    let mut heard = Vec::new();
    loop {
        if stays_open && heard.len() == packets {
            socket.send(&[0xC0, 0]).await;
            let last = socket.next().await.describe(version);
            heard.push(if last == "pingresp" { "open".to_owned() } else { last });
            return heard.join(", ");
        }
        let next = socket.next().await;
        heard.push(next.describe(version));
        if matches!(next, Heard::Closed(_)) {
            return heard.join(", ");
        }
    }
}

/// `(PROOF) METHOD target | header: value … || body`
async fn http(contract: &Contract, input: &str) -> String {
    let (head, body) = input.split_once(" || ").unwrap_or((input, ""));
    let mut parts = head.split(" | ");
    let (proof, line) = parts.next().and_then(|first| first.strip_prefix('(')?.split_once(") ")).expect("a proof");
    let (method, target) = line.split_once(' ').expect("a method and a target");
    let body = match body.strip_prefix("zeros*") {
        Some(length) => vec![b'0'; length.parse().unwrap()],
        None => body.as_bytes().to_vec(),
    };
    let header = |part: &str| {
        let (name, value) = part.split_once(": ").expect("a header");
        (name.to_owned(), value.to_owned())
    };
    let request = Sent { headers: parts.map(header).collect(), ..Sent::new(method, target, body) };
    send(contract, &Proof::parse(proof), &request).await.verdict()
}

/// Everything that the tables could have changed.
async fn state(contract: &Contract, thing: &str) -> Vec<(String, Value)> {
    let shadow = format!("/things/{thing}/shadow");
    let mut state = Vec::new();
    for (service, path) in [("iotdata", shadow.as_str()), ("iot", "/rules"), ("iot", "/jobs")] {
        let answer = send(contract, &Proof::parse(service), &Sent::new("GET", path, "")).await;
        assert_eq!(answer.verdict(), "200", "{path}");
        let mut body = answer.json();
        // the time at which it was read
        body.as_object_mut().unwrap().remove("timestamp");
        state.push((path.to_owned(), body));
    }
    let mut path = "/things?maxResults=250".to_owned();
    loop {
        let answer = send(contract, &Proof::parse("iot"), &Sent::new("GET", &path, "")).await;
        assert_eq!(answer.verdict(), "200", "{path}");
        let body = answer.json();
        state.push(("/things".to_owned(), body["things"].clone()));
        let Some(next) = body["nextToken"].as_str() else { return state };
        path = format!("/things?maxResults=250&nextToken={}", next.replace('+', "%2B").replace('/', "%2F"));
    }
}

/// A client that was there before, and hears everything that bad input must not cause.
struct Witness<'a> {
    contract: &'a Contract,
    socket: Socket,
}

impl<'a> Witness<'a> {
    async fn connect(contract: &'a Contract, thing: &str) -> Self {
        let mut socket = Socket::open(contract, &contract.mqtt, &[]).await.unwrap();
        let subscribe = format!(
            r#"10 [ "MQTT" v c2 0000 p "{{id}}" "{{key}}" "{{secret}}" ]
               | 82 [ 0001 p "bad-input/#" 01 "$aws/events/bad-input" 01 "$aws/bad-input" 01 "$aws/things/{thing}/#" 01 ]"#
        );
        for frame in notation::frames(&subscribe.replace('\n', " "), Version::V5, contract) {
            socket.send(&frame).await;
        }
        assert_eq!(socket.next().await.describe(Version::V5), "connack 00");
        assert_eq!(socket.next().await.describe(Version::V5), "suback 01 01 01 01");
        Self { contract, socket }
    }

    async fn heard_nothing_and_still_hears(&mut self) {
        let publish = r#"32 [ "bad-input/the-first-good-one" 0007 p 78 ]"#;
        self.socket.send(&notation::frames(publish, Version::V5, self.contract)[0]).await;
        let mut heard = Vec::new();
        for _ in 0..2 {
            let Heard::Packet(packet) = self.socket.next().await else { panic!("the witness was disconnected") };
            heard.push(packet);
        }
        heard.sort();
        assert_eq!(heard[0][0] >> 4, 3, "{heard:02x?}");
        let publish = String::from_utf8_lossy(&heard[0]);
        assert!(publish.contains("bad-input/the-first-good-one"), "bad input reached a subscriber: {publish:?}");
        assert_eq!(Heard::Packet(heard[1].clone()).describe(Version::V5), "puback 00");
    }
}
