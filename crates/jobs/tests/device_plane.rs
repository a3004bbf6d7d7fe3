//! Each request of the device plane, row by row.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use iot_types::{JobId, ThingName, UnixMillis};
use jobs::ExecutionStatus;
use jobs::execution::{DeviceRequest, Effects, Execution, Executions, Plane, RejectionCode, Reply};
use serde_json::{Value, json};

const DOCUMENT: &str = r#"{ "z": 1.0, "operation": "test", "big": 123456789012345678901234567890 }"#;
const NOW: UnixMillis = UnixMillis(50_999);

fn thing() -> ThingName {
    ThingName::new("lamp").unwrap()
}

fn id(job: &str) -> JobId {
    JobId::new(job).unwrap()
}

/// `going` is IN_PROGRESS (version 2), `waiting` QUEUED behind it, `over` SUCCEEDED (version 2).
fn executions() -> Executions {
    let mut executions = Executions::default();
    for (job, at) in [("over", 1_000), ("going", 2_000), ("waiting", 3_500)] {
        executions.queue(&thing(), &id(job), DOCUMENT, 1, UnixMillis(at));
    }
    let update = |executions: &mut Executions, job_id, payload: &str| {
        let request = DeviceRequest::Update { job_id };
        executions.request(&thing(), request, payload.as_bytes(), Plane::Mqtt, UnixMillis(10_000));
    };
    update(&mut executions, "over", r#"{"status":"SUCCEEDED","statusDetails":{"a":"b"}}"#);
    update(&mut executions, "going", r#"{"status":"IN_PROGRESS"}"#);
    executions
}

fn ask(executions: &mut Executions, request: DeviceRequest<'_>, payload: &str, plane: Plane) -> (Effects, Value) {
    let effects = executions.request(&thing(), request, payload.as_bytes(), plane, NOW);
    let payload = serde_json::from_slice(&effects.reply.as_ref().unwrap().payload).unwrap();
    (effects, payload)
}

fn accepted(request: DeviceRequest<'_>, payload: &str, expected: &Value) -> Effects {
    let (effects, reply) = ask(&mut executions(), request, payload, Plane::Mqtt);
    assert_eq!(&reply, expected, "{request:?} {payload}");
    assert!(effects.reply.as_ref().unwrap().accepted());
    effects
}

/// A rejected request has no effect but its reply.
fn rejected(request: DeviceRequest<'_>, payload: &str, code: &str, rest: &Value) {
    let mut subject = executions();
    let (mut effects, mut reply) = ask(&mut subject, request, payload, Plane::Mqtt);
    assert_eq!(reply["code"], code, "{request:?} {payload}: {reply}");
    assert_eq!(effects.reply.take().unwrap().code.unwrap().as_str(), code);
    let members = reply.as_object_mut().unwrap();
    members.remove("code");
    assert!(!members.remove("message").unwrap().as_str().unwrap().is_empty());
    assert_eq!(members.remove("timestamp").unwrap(), 50);
    assert_eq!(&reply, rest, "{request:?} {payload}");
    assert_eq!(effects, Effects::default());
    assert_eq!(subject, executions());
}

fn going() -> Value {
    json!({"jobId": "going", "thingName": "lamp", "status": "IN_PROGRESS", "queuedAt": 2, "startedAt": 10,
        "lastUpdatedAt": 10, "versionNumber": 2, "executionNumber": 1,
        "jobDocument": serde_json::from_str::<Value>(DOCUMENT).unwrap()})
}

fn waiting() -> Value {
    json!({"jobId": "waiting", "thingName": "lamp", "status": "QUEUED", "queuedAt": 3, "lastUpdatedAt": 3,
        "versionNumber": 1, "executionNumber": 1, "jobDocument": serde_json::from_str::<Value>(DOCUMENT).unwrap()})
}

#[test]
fn get_lists_what_is_pending_by_status() {
    let going = json!({"jobId": "going", "queuedAt": 2, "startedAt": 10, "lastUpdatedAt": 10, "versionNumber": 2,
        "executionNumber": 1});
    let waiting =
        json!({"jobId": "waiting", "queuedAt": 3, "lastUpdatedAt": 3, "versionNumber": 1, "executionNumber": 1});
    let expected = json!({"inProgressJobs": [going], "queuedJobs": [waiting], "timestamp": 50, "clientToken": "t"});
    accepted(DeviceRequest::GetPending, r#"{"clientToken":"t"}"#, &expected);
    let mut silent = expected;
    silent.as_object_mut().unwrap().remove("clientToken");
    for payload in ["", "{}", r#"{"clientToken":null,"unknown":1}"#] {
        accepted(DeviceRequest::GetPending, payload, &silent);
    }
    let empty = Executions::default().request(&thing(), DeviceRequest::GetPending, b"", Plane::Http, NOW);
    assert_eq!(empty.reply.unwrap().payload, br#"{"inProgressJobs":[],"queuedJobs":[]}"#);
}

#[test]
fn at_most_ten_are_listed_and_in_the_order_in_which_they_were_queued() {
    let mut executions = Executions::default();
    let mut last = Effects::default();
    for n in 0..12 {
        // All within a millisecond, and with ids that sort the other way.
        last = executions.queue(&thing(), &id(&format!("job-{}", 30 - n)), "{}", 1, NOW);
    }
    let expected: Vec<_> = (0..10).map(|n| json!(format!("job-{}", 30 - n))).collect();
    let (_, reply) = ask(&mut executions, DeviceRequest::GetPending, "", Plane::Mqtt);
    let notify: Value = serde_json::from_slice(&last.notify.unwrap()).unwrap();
    for listed in [&reply["queuedJobs"], &notify["jobs"]["QUEUED"]] {
        let ids: Vec<_> = listed.as_array().unwrap().iter().map(|summary| summary["jobId"].clone()).collect();
        assert_eq!(ids, expected);
    }
}

#[test]
fn start_next_hands_out_the_one_in_progress_unchanged() {
    let expected = json!({"execution": going(), "timestamp": 50, "clientToken": "t"});
    let payload = r#"{"clientToken":"t","statusDetails":{"new":"ignored"},"stepTimeoutInMinutes":-1}"#;
    let mut effects = accepted(DeviceRequest::StartNext, payload, &expected);
    effects.reply = None;
    assert_eq!(effects, Effects::default());
}

#[test]
fn start_next_starts_the_oldest_that_is_queued_without_a_notification() {
    let mut executions = executions();
    executions.cancel(&id("going"), true, NOW);
    let (effects, reply) =
        ask(&mut executions, DeviceRequest::StartNext, r#"{"statusDetails":{"a":"1"}}"#, Plane::Mqtt);
    let mut expected = waiting();
    for (name, value) in [
        ("status", json!("IN_PROGRESS")),
        ("statusDetails", json!({"a": "1"})),
        ("startedAt", json!(50)),
        ("lastUpdatedAt", json!(50)),
        ("versionNumber", json!(2)),
    ] {
        expected[name] = value;
    }
    assert_eq!(reply, json!({"execution": expected, "timestamp": 50}));
    assert_eq!((effects.notify, effects.notify_next), (None, None));
    assert_eq!(effects.rows, [executions.get(&id("waiting"), None).unwrap().clone()]);
    let outcome = &effects.outcomes[0];
    assert_eq!((outcome.from, outcome.to), (Some(ExecutionStatus::Queued), ExecutionStatus::InProgress));
    assert_eq!((outcome.execution_number, outcome.version_number, effects.outcomes.len()), (1, 2, 1));
}

#[test]
fn start_next_with_nothing_pending_has_no_execution() {
    let mut executions = Executions::default();
    let (_, reply) = ask(&mut executions, DeviceRequest::StartNext, r#"{"clientToken":"t"}"#, Plane::Mqtt);
    assert_eq!(reply, json!({"timestamp": 50, "clientToken": "t"}));
    let (_, reply) = ask(&mut executions, DeviceRequest::StartNext, "", Plane::Http);
    assert_eq!(reply, json!({}));
    let (effects, reply) = ask(&mut executions, DeviceRequest::Describe { job_id: "$next" }, "", Plane::Mqtt);
    assert_eq!(reply, json!({"timestamp": 50}));
    assert!(effects.reply.unwrap().accepted());
}

#[test]
fn describe_shows_an_execution_and_changes_nothing() {
    let without = |mut execution: Value| {
        execution.as_object_mut().unwrap().remove("jobDocument");
        execution
    };
    for (job_id, payload, execution) in [
        ("going", "", going()),
        ("$next", "{}", going()),
        ("waiting", r#"{"executionNumber":1}"#, waiting()),
        ("waiting", r#"{"executionNumber":"1","includeJobDocument":true}"#, waiting()),
        ("waiting", r#"{"includeJobDocument":false}"#, without(waiting())),
        ("$next", r#"{"includeJobDocument":false}"#, without(going())),
    ] {
        let expected = json!({"execution": execution, "timestamp": 50});
        let mut effects = accepted(DeviceRequest::Describe { job_id }, payload, &expected);
        effects.reply = None;
        assert_eq!(effects, Effects::default());
    }
}

#[test]
fn update_answers_with_what_was_asked_for() {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    for (job_id, payload, expected) in [
        ("going", r#"{"status":"SUCCEEDED","clientToken":"t"}"#, json!({"timestamp": 50, "clientToken": "t"})),
        (
            "going",
            r#"{"status":"IN_PROGRESS","statusDetails":{"p":"50%"},"expectedVersion":"2","includeJobExecutionState":true}"#,
            json!({"executionState": {"status": "IN_PROGRESS", "statusDetails": {"p": "50%"}, "versionNumber": 3},
                "timestamp": 50}),
        ),
        (
            "waiting",
            r#"{"status":"REJECTED","expectedVersion":1,"executionNumber":1,"includeJobExecutionState":true,"includeJobDocument":true}"#,
            json!({"executionState": {"status": "REJECTED", "versionNumber": 2}, "jobDocument": document,
                "timestamp": 50}),
        ),
    ] {
        accepted(DeviceRequest::Update { job_id }, payload, &expected);
    }
}

#[test]
fn every_status_a_device_may_set_can_follow_both_pending_ones() {
    for job_id in ["going", "waiting"] {
        for status in ["IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED"] {
            let mut executions = executions();
            let before = executions.get(&id(job_id), None).unwrap().clone();
            let payload = format!(r#"{{"status":"{status}"}}"#);
            let (effects, _) = ask(&mut executions, DeviceRequest::Update { job_id }, &payload, Plane::Mqtt);
            let after = executions.get(&id(job_id), None).unwrap();
            assert_eq!(after.status.as_str(), status);
            assert_eq!(after.version_number, before.version_number + 1);
            assert_eq!(after.status_details, before.status_details);
            assert_eq!((after.queued_at, after.last_updated_at), (before.queued_at, NOW));
            // Set once, by the first IN_PROGRESS; a device that skips it never started.
            let first = (status == "IN_PROGRESS").then_some(NOW);
            assert_eq!(after.started_at, before.started_at.or(first));
            assert_eq!(after.document.is_empty(), after.status.is_terminal());
            assert_eq!(effects.rows, std::slice::from_ref(after));
            // The job is told of statuses, not of progress within one.
            assert_eq!(effects.outcomes.len(), usize::from(before.status != after.status));
            assert_eq!(effects.notify.is_some(), after.status.is_terminal());
        }
    }
}

#[test]
fn status_details_are_kept_unless_given() {
    for (details, kept) in [("null", true), (r#"{"n":"2"}"#, false), ("{}", false)] {
        let mut executions = executions();
        let mut update =
            |payload: &str| ask(&mut executions, DeviceRequest::Update { job_id: "going" }, payload, Plane::Mqtt).1;
        update(r#"{"status":"IN_PROGRESS","statusDetails":{"o":"1"}}"#);
        let reply =
            update(&format!(r#"{{"status":"IN_PROGRESS","statusDetails":{details},"includeJobExecutionState":true}}"#));
        let found = reply["executionState"].get("statusDetails").cloned();
        let expected = if kept { Some(json!({"o": "1"})) } else { serde_json::from_str(details).ok() };
        assert_eq!(found, expected.filter(|details| details != &json!({})));
    }
}

#[test]
fn malformed_payloads_are_rejected_by_every_operation() {
    for request in [
        DeviceRequest::GetPending,
        DeviceRequest::StartNext,
        DeviceRequest::Describe { job_id: "going" },
        DeviceRequest::Update { job_id: "going" },
    ] {
        for payload in ["[1,2]", "null", "\"x\"", "{", "{\"a\":1}}", &"[".repeat(100_000)] {
            rejected(request, payload, "InvalidJson", &json!({}));
        }
        rejected(request, r#"{"clientToken":5}"#, "InvalidRequest", &json!({}));
    }
    let reply =
        executions().request(&thing(), DeviceRequest::GetPending, b"{\"a\":\"\xff\"}", Plane::Mqtt, NOW).reply.unwrap();
    assert_eq!(reply.code, Some(RejectionCode::InvalidJson));
}

#[test]
fn wrong_members_are_rejected_and_the_token_is_echoed() {
    let long_key = "k".repeat(129);
    let long_value = "v".repeat(1_025);
    let many: String = (0..11).map(|n| format!(r#""k{n}":"v","#)).collect();
    let details = [
        r#""x""#.to_owned(),
        r#"{"k":1}"#.to_owned(),
        r#"{"k":""}"#.to_owned(),
        r#"{"k":"a\nb"}"#.to_owned(),
        r#"{"":"v"}"#.to_owned(),
        r#"{"a b":"v"}"#.to_owned(),
        format!(r#"{{"{long_key}":"v"}}"#),
        format!(r#"{{"k":"{long_value}"}}"#),
        format!("{{{}}}", many.trim_end_matches(',')),
    ];
    let mut rows: Vec<(DeviceRequest<'_>, String)> = Vec::new();
    for details in &details {
        rows.push((DeviceRequest::StartNext, format!(r#""statusDetails":{details}"#)));
        rows.push((
            DeviceRequest::Update { job_id: "going" },
            format!(r#""status":"IN_PROGRESS","statusDetails":{details}"#),
        ));
    }
    for status in ["QUEUED", "TIMED_OUT", "CANCELED", "REMOVED", "SUCCESS", ""] {
        rows.push((DeviceRequest::Update { job_id: "going" }, format!(r#""status":"{status}""#)));
    }
    for (job_id, members) in [
        ("going", r#""statusDetails":{}"#),
        ("going", r#""status":null"#),
        ("going", r#""status":3"#),
        ("going", r#""status":"FAILED","expectedVersion":"x""#),
        ("going", r#""status":"FAILED","expectedVersion":1.5"#),
        ("going", r#""status":"FAILED","executionNumber":[]"#),
        ("going", r#""status":"FAILED","includeJobDocument":"true""#),
        ("going", r#""status":"FAILED","includeJobExecutionState":1"#),
        ("going", r#""status":"IN_PROGRESS","stepTimeoutInMinutes":10"#),
        ("$next", r#""status":"FAILED""#),
        ("a b", r#""status":"FAILED""#),
        ("", r#""status":"FAILED""#),
    ] {
        rows.push((DeviceRequest::Update { job_id }, members.to_owned()));
    }
    rows.push((DeviceRequest::StartNext, r#""stepTimeoutInMinutes":10"#.to_owned()));
    rows.push((DeviceRequest::Describe { job_id: "$last" }, r#""includeJobDocument":true"#.to_owned()));
    rows.push((DeviceRequest::Describe { job_id: "going" }, r#""includeJobDocument":0"#.to_owned()));
    rows.push((DeviceRequest::Describe { job_id: "going" }, r#""executionNumber":true"#.to_owned()));
    for (request, members) in rows {
        rejected(
            request,
            &format!(r#"{{"clientToken":"t",{members}}}"#),
            "InvalidRequest",
            &json!({"clientToken": "t"}),
        );
    }
}

#[test]
fn a_missing_status_is_named_in_the_words_of_aws() {
    let (_, reply) = ask(&mut executions(), DeviceRequest::Update { job_id: "going" }, "{}", Plane::Mqtt);
    assert_eq!(reply["message"], "Value null at 'status' failed to satisfy constraint: Member must not be null");
}

#[test]
fn what_does_not_exist_is_not_found() {
    for (request, payload) in [
        (DeviceRequest::Describe { job_id: "none" }, "{}"),
        (DeviceRequest::Describe { job_id: "going" }, r#"{"executionNumber":2}"#),
        (DeviceRequest::Describe { job_id: "going" }, r#"{"executionNumber":-1}"#),
        (DeviceRequest::Update { job_id: "none" }, r#"{"status":"FAILED"}"#),
        (DeviceRequest::Update { job_id: "over" }, r#"{"status":"FAILED","executionNumber":2}"#),
    ] {
        rejected(request, payload, "ResourceNotFound", &json!({}));
    }
}

#[test]
fn an_execution_that_is_over_can_be_neither_described_nor_updated() {
    for payload in ["{}", r#"{"executionNumber":1}"#] {
        rejected(DeviceRequest::Describe { job_id: "over" }, payload, "TerminalStateReached", &json!({}));
    }
    let state = json!({"status": "SUCCEEDED", "statusDetails": {"a": "b"}, "versionNumber": 2});
    for status in ["IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED"] {
        let payload = format!(r#"{{"status":"{status}","clientToken":"t","expectedVersion":2}}"#);
        let expected = json!({"executionState": state, "clientToken": "t"});
        rejected(DeviceRequest::Update { job_id: "over" }, &payload, "InvalidStateTransition", &expected);
    }
}

#[test]
fn a_version_that_is_not_the_current_one_is_rejected_with_the_state() {
    for expected in ["1", "99", "-2", "\"3\""] {
        let payload = format!(r#"{{"status":"SUCCEEDED","expectedVersion":{expected}}}"#);
        let state = json!({"executionState": {"status": "IN_PROGRESS", "versionNumber": 2}});
        rejected(DeviceRequest::Update { job_id: "going" }, &payload, "VersionMismatch", &state);
    }
    let payload = r#"{"status":"SUCCEEDED","expectedVersion":99}"#;
    let (_, reply) = ask(&mut executions(), DeviceRequest::Update { job_id: "waiting" }, payload, Plane::Mqtt);
    assert_eq!(reply["message"], "Expected version 99 but found version 1");
}

#[test]
fn the_document_reaches_the_device_digit_for_digit() {
    let payload = |plane| {
        let request = DeviceRequest::Describe { job_id: "going" };
        let reply = executions().request(&thing(), request, b"", plane, NOW).reply.unwrap();
        String::from_utf8(reply.payload).unwrap()
    };
    assert!(payload(Plane::Mqtt).contains(&format!(r#""jobDocument":{DOCUMENT}}}"#)));
    let http: Value = serde_json::from_str(&payload(Plane::Http)).unwrap();
    assert_eq!(http["execution"]["jobDocument"], DOCUMENT);
}

#[test]
fn over_http_there_is_neither_timestamp_nor_token_nor_code() {
    let mut subject = executions();
    let update = DeviceRequest::Update { job_id: "going" };
    let payload = r#"{"status":"FAILED","includeJobExecutionState":true,"clientToken":"t"}"#;
    let (_, reply) = ask(&mut subject, update, payload, Plane::Http);
    assert_eq!(reply, json!({"executionState": {"status": "FAILED", "versionNumber": 3}}));
    let (effects, reply) = ask(&mut subject, update, payload, Plane::Http);
    let message = "A job execution cannot change from FAILED to FAILED";
    let state = json!({"status": "FAILED", "versionNumber": 3});
    assert_eq!(reply, json!({"message": message, "executionState": state}));
    let code = effects.reply.unwrap().code.unwrap();
    assert_eq!((code.exception(), code.http_status()), ("InvalidStateTransitionException", 409));
    let (effects, _) = ask(&mut subject, DeviceRequest::Describe { job_id: "over" }, "", Plane::Http);
    let code = effects.reply.unwrap().code.unwrap();
    assert_eq!((code.exception(), code.http_status()), ("TerminalStateException", 410));
}

#[test]
fn a_topic_that_maps_to_nothing_is_rejected_with_the_token() {
    for (request, expected) in [
        (&b"{\"clientToken\":\"t\"}"[..], r#"{"code":"InvalidTopic","message":"m","timestamp":50,"clientToken":"t"}"#),
        (b"\xff", r#"{"code":"InvalidTopic","message":"m","timestamp":50}"#),
    ] {
        let reply = Reply::rejected(RejectionCode::InvalidTopic, "m", request, Plane::Mqtt, NOW);
        assert_eq!(String::from_utf8(reply.payload.clone()).unwrap(), expected);
        assert!(!reply.accepted());
    }
}

#[test]
fn queueing_twice_changes_nothing_but_tells_the_job_again() {
    for (job, number) in [("going", 1), ("going", 2), ("over", 1), ("over", 0)] {
        let mut subject = executions();
        let effects = subject.queue(&thing(), &id(job), "{}", number, NOW);
        let known = executions().get(&id(job), None).unwrap().clone();
        let outcome = &effects.outcomes[0];
        assert_eq!((outcome.from, outcome.to), (None, known.status));
        assert_eq!((outcome.execution_number, outcome.version_number), (1, known.version_number));
        assert_eq!((effects.rows, effects.notify, effects.notify_next), (vec![], None, None));
        assert_eq!(subject, executions());
    }
}

#[test]
fn a_later_attempt_may_follow_one_that_is_over() {
    let mut subject = executions();
    let effects = subject.queue(&thing(), &id("over"), "{}", 2, NOW);
    assert_eq!(effects.rows.len(), 1);
    let status = |number| subject.get(&id("over"), number).map(|execution| execution.status);
    assert_eq!(status(None), Some(ExecutionStatus::Queued));
    assert_eq!(status(Some(2)), Some(ExecutionStatus::Queued));
    assert_eq!(status(Some(1)), Some(ExecutionStatus::Succeeded));
    assert_eq!(status(Some(3)), None);
}

#[test]
fn cancel_takes_what_is_queued_and_with_force_what_is_in_progress() {
    for (job, force, canceled) in [
        ("waiting", false, true),
        ("waiting", true, true),
        ("going", false, false),
        ("going", true, true),
        ("over", true, false),
        ("none", true, false),
    ] {
        let mut subject = executions();
        let effects = subject.cancel(&id(job), force, NOW);
        assert_eq!(effects.rows.len(), usize::from(canceled), "{job} {force}");
        assert_eq!(effects.notify.is_some(), canceled);
        assert_eq!(effects.notify_next.is_some(), canceled && job == "going");
        if canceled {
            assert_eq!(effects.outcomes[0].to, ExecutionStatus::Canceled);
        } else {
            assert_eq!((effects, subject), (Effects::default(), executions()));
        }
    }
}

#[test]
fn rotten_documents_still_make_replies() {
    let mut row: Execution = executions().get(&id("going"), None).unwrap().clone();
    row.document = "{".to_owned();
    let mut executions = Executions::restore([row].into_iter());
    let (_, reply) = ask(&mut executions, DeviceRequest::StartNext, "", Plane::Mqtt);
    assert_eq!(reply["execution"]["jobDocument"], "{");
}
