//! CreateJob, dispatch, counting, DescribeJob.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use iot_types::{AccountId, JobId, Region, Scope, ThingName, UnixMillis};
use jobs::job::{Changes, CreateJobRequest, Job, JobStatus};
use jobs::{ExecutionStatus, JobError, Outcome};
use serde_json::{Value, json};

const A: &str = "arn:aws:iot:us-east-1:123456789012:thing/a";
const B: &str = "arn:aws:iot:us-east-1:123456789012:thing/b";

fn thing(name: &str) -> ThingName {
    ThingName::new(name).unwrap()
}

fn scope() -> Scope {
    Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() }
}

fn parse(body: &Value) -> Result<CreateJobRequest, JobError> {
    CreateJobRequest::parse("job-1", body.to_string().as_bytes())
}

fn job() -> Job {
    let request = parse(&json!({"targets": [B, A], "document": "{}", "description": "two"})).unwrap();
    Job::create(request, &scope(), UnixMillis(1_500))
}

fn outcome(name: &str, execution_number: u64, version_number: u64, to: ExecutionStatus) -> Outcome {
    let job_id = JobId::new("job-1").unwrap();
    Outcome { job_id, thing_name: thing(name), execution_number, from: None, to, version_number }
}

#[test]
fn a_request_names_each_thing_once_and_in_order() {
    let request = parse(&json!({"targets": [B, A, B], "document": " {\"a\": 1} ", "targetSelection": "SNAPSHOT",
        "tags": [], "timeoutConfig": {}, "abortConfig": null, "namespaceId": null, "unknown": 1}))
    .unwrap();
    assert_eq!(request.things, [thing("b"), thing("a")]);
    assert_eq!(request.targets, [B, A]);
    assert_eq!(request.document, " {\"a\": 1} ");
    assert_eq!(request.description, None);
}

#[test]
fn parameters_that_are_not_supported_are_refused_by_name() {
    for (name, value) in [
        ("abortConfig", json!({"criteriaList": []})),
        ("destinationPackageVersions", json!(["x"])),
        ("documentParameters", json!({"a": "b"})),
        ("documentSource", json!("https://s3.amazonaws.com/b/k")),
        ("jobExecutionsRetryConfig", json!({"criteriaList": []})),
        ("jobExecutionsRolloutConfig", json!({"maximumPerMinute": 1})),
        ("jobTemplateArn", json!("arn")),
        ("namespaceId", json!("ns")),
        ("presignedUrlConfig", json!({"roleArn": "r"})),
        ("schedulingConfig", json!({"startTime": "x"})),
        ("tags", json!([{"Key": "k"}])),
        ("targetSelection", json!("CONTINUOUS")),
        ("timeoutConfig", json!({"inProgressTimeoutInMinutes": 1})),
    ] {
        let mut body = json!({"targets": [A], "document": "{}"});
        body[name] = value;
        let error = parse(&body).unwrap_err();
        assert_eq!((error.exception(), error.http_status()), ("InvalidRequestException", 400));
        let message = error.to_string();
        assert!(message.starts_with(name) && message.ends_with("is not supported"), "{message}");
    }
}

#[test]
fn malformed_requests_are_refused_with_the_parameter_in_the_message() {
    let group = "arn:aws:iot:us-east-1:123456789012:thinggroup/g";
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let body = |targets: Value, document: Value| json!({"targets": targets, "document": document});
    for (body, part) in [
        (json!([]), "body is not a JSON object"),
        (json!({"document": "{}"}), "targets is required"),
        (body(json!("x"), json!("{}")), "targets must be a list"),
        (body(json!([]), json!("{}")), "targets must have 1 to 100"),
        (body(json!(vec![A; 101]), json!("{}")), "targets must have 1 to 100"),
        (body(json!([1]), json!("{}")), "targets must be ARNs"),
        (body(json!(["x".repeat(2_049)]), json!("{}")), "targets must be ARNs"),
        (body(json!(["a"]), json!("{}")), "targets: not the ARN of a thing"),
        (body(json!([group]), json!("{}")), "targets: thing groups are not supported"),
        (body(json!([format!("{A} ")]), json!("{}")), "targets: thingName"),
        (json!({"targets": [A]}), "document is required"),
        (body(json!([A]), json!({})), "document must be a string"),
        (body(json!([A]), json!("")), "document is not valid JSON"),
        (body(json!([A]), json!("{a}")), "document is not valid JSON"),
        (body(json!([A]), json!(deep)), "document is not valid JSON"),
        (body(json!([A]), json!(format!("\"{}\"", "x".repeat(32_767)))), "document must have at most 32768"),
        (body(json!([A]), json!(r#"{"u":"${aws:iot:s3-presigned-url:https://s3/b/k}"}"#)), "${aws:iot:…} are not"),
        (json!({"targets": [A], "document": "{}", "description": ""}), "description"),
        (json!({"targets": [A], "document": "{}", "description": "a\u{7}"}), "description"),
        (json!({"targets": [A], "document": "{}", "description": "x".repeat(2_029)}), "description"),
        (json!({"targets": [A], "document": "{}", "targetSelection": "X"}), "targetSelection"),
    ] {
        let error = parse(&body).unwrap_err();
        assert!(matches!(error, JobError::InvalidRequest(_)));
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    for job_id in ["", "a b", "$next", &"x".repeat(65)] {
        assert!(CreateJobRequest::parse(job_id, b"{}").unwrap_err().to_string().contains("jobId"));
    }
    assert!(CreateJobRequest::parse("j", b"\xff").unwrap_err().to_string().contains("not JSON"));
    assert!(parse(&body(json!([A]), json!(format!("\"{}\"", "x".repeat(32_766))))).is_ok());
    assert!(parse(&body(json!(vec![A; 100]), json!("{}"))).is_ok());
}

#[test]
fn errors_have_the_names_and_statuses_of_the_service_model() {
    let taken = JobError::ResourceAlreadyExists { job_id: "j".to_owned(), resource_arn: "arn".to_owned() };
    assert_eq!(taken.to_string(), "Job j already exists.");
    for (error, exception, status) in [
        (taken, "ResourceAlreadyExistsException", 409),
        (JobError::InvalidStateTransition(String::new()), "InvalidStateTransitionException", 409),
        (JobError::LimitExceeded(String::new()), "LimitExceededException", 410),
        (JobError::ResourceNotFound(String::new()), "ResourceNotFoundException", 404),
        (JobError::VersionConflict(String::new()), "VersionConflictException", 409),
        (JobError::CorruptRow(String::new()), "InternalFailureException", 500),
    ] {
        assert_eq!((error.exception(), error.http_status()), (exception, status));
        assert_eq!(error.is_client_fault(), status < 500);
    }
}

#[test]
fn a_new_job_is_in_progress_and_names_the_targets_it_still_processes() {
    let arn = "arn:aws:iot:us-east-1:123456789012:job/job-1";
    let job = job();
    assert_eq!(job.created(), json!({"jobArn": arn, "jobId": "job-1", "description": "two"}));
    let summary = json!({"jobArn": arn, "jobId": "job-1", "targetSelection": "SNAPSHOT", "status": "IN_PROGRESS",
        "createdAt": 1.5, "lastUpdatedAt": 1.5, "isConcurrent": true});
    assert_eq!(job.summary(), summary);
    let mut expected = summary;
    expected["targets"] = json!([B, A]);
    expected["description"] = json!("two");
    expected["jobProcessDetails"] = json!({"processingTargets": [B, A], "numberOfCanceledThings": 0,
        "numberOfSucceededThings": 0, "numberOfFailedThings": 0, "numberOfRejectedThings": 0,
        "numberOfQueuedThings": 0, "numberOfInProgressThings": 0, "numberOfRemovedThings": 0,
        "numberOfTimedOutThings": 0});
    assert_eq!(job.describe(), expected);
}

#[test]
fn a_job_goes_through_its_targets_in_order_and_completes_with_the_last() {
    let mut job = job();
    assert_eq!(job.next_dispatch(0), []);
    assert_eq!(job.next_dispatch(1), [thing("b")]);
    assert_eq!(job.next_dispatch(9), [thing("b"), thing("a")]);
    let changes = job.dispatched(&[thing("b")], UnixMillis(2_000));
    assert_eq!(changes, Changes { progress: job.progress().clone(), targets: vec![job.targets()[0].clone()] });
    assert_eq!(job.next_dispatch(9), [thing("a")]);
    assert_eq!(job.describe()["jobProcessDetails"]["processingTargets"], json!([A]));

    // The first thing is done before the second one has begun.
    assert!(job.outcome(&outcome("b", 1, 2, ExecutionStatus::Succeeded), UnixMillis(3_000)).is_some());
    assert_eq!(job.status(), JobStatus::InProgress);
    job.dispatched(&[thing("a"), thing("b"), thing("stranger")], UnixMillis(4_000));
    assert_eq!(job.describe()["jobProcessDetails"].get("processingTargets"), None);
    assert_eq!(job.describe()["isConcurrent"], json!(false));
    let changes = job.outcome(&outcome("a", 1, 2, ExecutionStatus::Failed), UnixMillis(5_250)).unwrap();
    assert_eq!(changes.progress.status, JobStatus::Completed);

    let described = job.describe();
    assert_eq!(
        (&described["status"], &described["completedAt"], &described["lastUpdatedAt"]),
        (&json!("COMPLETED"), &json!(5.25), &json!(5.25))
    );
    assert_eq!(described["jobProcessDetails"]["numberOfSucceededThings"], 1);
    assert_eq!(described["jobProcessDetails"]["numberOfFailedThings"], 1);
    assert_eq!(described["jobProcessDetails"]["numberOfQueuedThings"], 0);
}

#[test]
fn replays_and_older_versions_are_not_counted() {
    let mut job = job();
    // Before `dispatched`: the thing was quicker.
    assert!(job.outcome(&outcome("a", 1, 2, ExecutionStatus::InProgress), UnixMillis(2_000)).is_some());
    let after = job.clone();
    for ignored in [
        outcome("a", 1, 2, ExecutionStatus::InProgress),
        outcome("a", 1, 1, ExecutionStatus::Queued),
        outcome("a", 0, 9, ExecutionStatus::Succeeded),
        outcome("stranger", 1, 1, ExecutionStatus::Queued),
        Outcome { job_id: JobId::new("other").unwrap(), ..outcome("b", 1, 1, ExecutionStatus::Queued) },
    ] {
        assert_eq!(job.outcome(&ignored, UnixMillis(9_000)), None);
    }
    assert!(job.dispatched(&[thing("a")], UnixMillis(9_000)).targets.is_empty());
    assert_eq!(job, after);
    assert_eq!(job.next_dispatch(9), [thing("b")]);
}

#[test]
fn a_terminal_outcome_is_final() {
    let mut job = job();
    job.outcome(&outcome("a", 1, 3, ExecutionStatus::Rejected), UnixMillis(2_000)).unwrap();
    assert_eq!(job.outcome(&outcome("a", 1, 4, ExecutionStatus::Succeeded), UnixMillis(3_000)), None);
    assert_eq!(job.progress().counts.rejected, 1);
}

#[test]
fn a_job_reads_back_from_its_rows_in_any_order() {
    let mut job = job();
    job.outcome(&outcome("a", 1, 2, ExecutionStatus::InProgress), UnixMillis(2_000)).unwrap();
    let targets = job.targets().iter().rev().cloned();
    assert_eq!(Job::restore(job.row().clone(), job.progress().clone(), targets), job);
}
