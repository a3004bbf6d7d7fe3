//! AWS's worked example, message by message:
//! <https://docs.aws.amazon.com/iot/latest/developerguide/jobs-comm-notifications.html>
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use iot_types::{JobId, ThingName, UnixMillis};
use jobs::execution::{DeviceRequest, Effects, Executions, Plane};
use serde_json::{Value, json};

fn id(job: &str) -> JobId {
    JobId::new(job).unwrap()
}

fn queue(executions: &mut Executions, job: &str, secs: u64) -> Effects {
    let thing = ThingName::new("lamp").unwrap();
    executions.queue(&thing, &id(job), r#"{"operation": "test"}"#, 1, UnixMillis(secs * 1_000))
}

fn update(executions: &mut Executions, job_id: &str, status: &str, secs: u64) -> Effects {
    let thing = ThingName::new("lamp").unwrap();
    let payload = format!(r#"{{"status":"{status}"}}"#);
    let request = DeviceRequest::Update { job_id };
    executions.request(&thing, request, payload.as_bytes(), Plane::Mqtt, UnixMillis(secs * 1_000))
}

fn check(effects: &Effects, notify: Option<Value>, notify_next: Option<Value>) {
    let read = |payload: &Option<Vec<u8>>| payload.as_ref().map(|payload| serde_json::from_slice(payload).unwrap());
    assert_eq!(read(&effects.notify), notify);
    assert_eq!(read(&effects.notify_next), notify_next);
}

#[test]
fn the_worked_example_of_aws_comes_out_message_by_message() {
    let mut executions = Executions::default();
    let queued = |job: &str, at: u64| json!({"jobId": job, "queuedAt": at, "lastUpdatedAt": at, "executionNumber": 1, "versionNumber": 1});
    let started = |job: &str, queued_at: u64, at: u64| {
        json!({"jobId": job, "queuedAt": queued_at, "lastUpdatedAt": at, "startedAt": at, "executionNumber": 1,
            "versionNumber": 2})
    };
    let next = |summary: Value, status: &str| {
        let mut execution = summary;
        execution["status"] = json!(status);
        execution["jobDocument"] = json!({"operation": "test"});
        execution
    };
    // AWS's timestamps are those of sending, a second after queueing; here both are one call.
    let (t1, t2, t3) = (1_517_016_947, 1_517_017_191, 1_517_017_905);

    check(
        &queue(&mut executions, "job1", t1),
        Some(json!({"timestamp": t1, "jobs": {"QUEUED": [queued("job1", t1)]}})),
        Some(json!({"timestamp": t1, "execution": next(queued("job1", t1), "QUEUED")})),
    );
    check(
        &queue(&mut executions, "job2", t2),
        Some(json!({"timestamp": t2, "jobs": {"QUEUED": [queued("job1", t1), queued("job2", t2)]}})),
        None,
    );
    check(&update(&mut executions, "job1", "IN_PROGRESS", 1_517_017_472), None, None);
    check(
        &queue(&mut executions, "job3", t3),
        Some(json!({"timestamp": t3, "jobs": {
            "IN_PROGRESS": [started("job1", t1, 1_517_017_472)],
            "QUEUED": [queued("job2", t2), queued("job3", t3)],
        }})),
        None,
    );
    check(
        &update(&mut executions, "job1", "SUCCEEDED", 1_517_186_269),
        Some(json!({"timestamp": 1_517_186_269, "jobs": {"QUEUED": [queued("job2", t2), queued("job3", t3)]}})),
        Some(json!({"timestamp": 1_517_186_269, "execution": next(queued("job2", t2), "QUEUED")})),
    );
    let job3 = started("job3", t3, 1_517_186_779);
    check(
        &update(&mut executions, "job3", "IN_PROGRESS", 1_517_186_779),
        None,
        Some(json!({"timestamp": 1_517_186_779, "execution": next(job3.clone(), "IN_PROGRESS")})),
    );
    check(
        &update(&mut executions, "job2", "REJECTED", 1_517_189_392),
        Some(json!({"timestamp": 1_517_189_392, "jobs": {"IN_PROGRESS": [job3]}})),
        None,
    );
    check(
        &executions.cancel(&id("job3"), true, UnixMillis(1_517_189_551_000)),
        Some(json!({"timestamp": 1_517_189_551, "jobs": {}})),
        Some(json!({"timestamp": 1_517_189_551})),
    );
}

#[test]
fn one_started_earlier_in_the_queue_overtakes_one_in_progress() {
    let mut executions = Executions::default();
    queue(&mut executions, "job1", 1);
    queue(&mut executions, "job2", 2);
    assert!(update(&mut executions, "job2", "IN_PROGRESS", 3).notify_next.is_some());
    let effects = update(&mut executions, "job1", "IN_PROGRESS", 4);
    let payload: Value = serde_json::from_slice(&effects.notify_next.unwrap()).unwrap();
    assert_eq!(payload["execution"]["jobId"], "job1");
    assert_eq!(effects.notify, None);
}

#[test]
fn notify_next_leaves_out_the_name_of_the_thing() {
    let effects = queue(&mut Executions::default(), "job1", 1);
    let expected = concat!(
        r#"{"execution":{"jobId":"job1","status":"QUEUED","queuedAt":1,"lastUpdatedAt":1,"versionNumber":1,"#,
        r#""executionNumber":1,"jobDocument":{"operation": "test"}},"timestamp":1}"#
    );
    assert_eq!(String::from_utf8(effects.notify_next.unwrap()).unwrap(), expected);
}
