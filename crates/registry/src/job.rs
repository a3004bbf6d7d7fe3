//! Jobs as D1 holds them: what ListJobs answers and what the scheduler looks for. The rest of a job is in its object.

use crate::error::{ApiError, CorruptRow};
use crate::input::{Query, Violations};
use crate::limits::Limits;
use crate::page::{self, List};
use iot_types::{JobId, Scope, UnixMillis};
use serde::Deserialize;
use serde_json::{Map, Value};

macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum $name {
            $($variant,)+
        }

        impl $name {
            /// As on the wire and in D1.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The value of this text.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }

            const ALL: &'static str = concat!("[" $(, $text, ", ")+);
        }
    };
}

wire_enum! {
    /// JobStatus of the service model.
    JobStatus {
        InProgress = "IN_PROGRESS",
        Canceled = "CANCELED",
        Completed = "COMPLETED",
        DeletionInProgress = "DELETION_IN_PROGRESS",
        Scheduled = "SCHEDULED",
    }
}

wire_enum! {
    /// TargetSelection of the service model.
    TargetSelection {
        Continuous = "CONTINUOUS",
        Snapshot = "SNAPSHOT",
    }
}

/// A job to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// The identifier, which never changes.
    pub job_id: JobId,
    /// Where it is in its life.
    pub status: JobStatus,
    /// Whether it reaches targets that come later.
    pub target_selection: TargetSelection,
    /// When it was created.
    pub created_at: UnixMillis,
    /// When its status last changed.
    pub last_updated_at: UnixMillis,
    /// When it completed.
    pub completed_at: Option<UnixMillis>,
}

/// A row of the table `jobs`, as D1 gives it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct JobRow {
    pub job_id: String,
    pub status: String,
    pub target_selection: String,
    pub created_at: u64,
    pub last_updated_at: u64,
    pub completed_at: Option<u64>,
}

impl TryFrom<JobRow> for JobRecord {
    type Error = CorruptRow;

    fn try_from(row: JobRow) -> Result<Self, CorruptRow> {
        let corrupt = |column| CorruptRow { table: "jobs", column };
        Ok(Self {
            job_id: JobId::new(row.job_id).map_err(|_| corrupt("job_id"))?,
            status: JobStatus::parse(&row.status).ok_or(corrupt("status"))?,
            target_selection: TargetSelection::parse(&row.target_selection).ok_or(corrupt("target_selection"))?,
            created_at: UnixMillis(row.created_at),
            last_updated_at: UnixMillis(row.last_updated_at),
            completed_at: row.completed_at.map(UnixMillis),
        })
    }
}

/// The job's identifier in a path.
///
/// # Errors
/// `InvalidRequestException`.
pub fn parse_job_id(text: &str) -> Result<JobId, ApiError> {
    JobId::new(text).map_err(|error| ApiError::invalid_request(error.to_string()))
}

/// Whether CreateJob stored the job, from the rows that [`insert_job`](crate::statements::insert_job) changed.
///
/// # Errors
/// `ResourceAlreadyExistsException`.
pub fn settle_create(scope: &Scope, job_id: &JobId, rows_changed: u64) -> Result<(), ApiError> {
    if rows_changed > 0 {
        return Ok(());
    }
    let arn = scope.job_arn(job_id);
    Err(ApiError::resource_already_exists(format!("Job {job_id} already exists"), job_id.as_str(), arn.as_str()))
}

/// The record of a job that must exist.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn found(job_id: &JobId, stored: Option<JobRecord>) -> Result<JobRecord, ApiError> {
    stored.ok_or_else(|| ApiError::resource_not_found(format!("Job {job_id} not found")))
}

/// A place in the list of jobs, which is newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPosition {
    /// When the job before was created.
    pub created_at: UnixMillis,
    /// Its identifier: two jobs may be created in one millisecond.
    pub job_id: String,
}

impl JobPosition {
    /// Before the newest job. The largest integer that JavaScript, and so D1, holds exactly.
    #[must_use]
    pub const fn start() -> Self {
        Self { created_at: UnixMillis((1 << 53) - 1), job_id: String::new() }
    }

    fn parse(key: &str) -> Option<Self> {
        let (created_at, job_id) = key.split_once(':')?;
        let created_at = created_at.parse().ok().filter(|millis| *millis <= Self::start().created_at.0)?;
        Some(Self { created_at: UnixMillis(created_at), job_id: job_id.to_owned() })
    }
}

/// A valid ListJobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListJobsRequest {
    /// The page begins after this job.
    pub after: JobPosition,
    /// The most jobs on the page.
    pub max_results: u32,
    /// Only jobs with this status.
    pub status: Option<JobStatus>,
    /// Only jobs of this selection.
    pub target_selection: Option<TargetSelection>,
}

impl ListJobsRequest {
    /// Parses the query string (without `?`).
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`, and `ResourceNotFoundException` for a thing group: none
    /// exists yet.
    pub fn parse(query: &str, limits: &Limits) -> Result<Self, ApiError> {
        let query = Query::parse(query);
        let mut violations = Violations::default();
        let max_results = query.max_results(limits.default_page_size, limits.max_page_size, &mut violations)?;
        let status = query.string("status").map(|text| (text, JobStatus::parse(text)));
        let selection = query.string("targetSelection").map(|text| (text, TargetSelection::parse(text)));
        if let Some((text, None)) = status {
            violations.add(text, "status", &enum_constraint(JobStatus::ALL));
        }
        if let Some((text, None)) = selection {
            violations.add(text, "targetSelection", &enum_constraint(TargetSelection::ALL));
        }
        violations.finish()?;
        for parameter in ["thingGroupName", "thingGroupId"] {
            if let Some(value) = query.string(parameter) {
                let mut violations = Violations::default();
                violations.name(value, parameter);
                violations.finish()?;
                return Err(ApiError::resource_not_found(format!("ThingGroup {value} not found")));
            }
        }
        if query.string("namespaceId").is_some() {
            return Err(ApiError::invalid_request("namespaceId is not supported"));
        }
        let after = match query.string("nextToken") {
            None => JobPosition::start(),
            Some(token) => JobPosition::parse(&page::decode_token(List::Jobs, token)?)
                .ok_or_else(|| ApiError::invalid_request("The nextToken is not valid"))?,
        };
        Ok(Self {
            after,
            max_results,
            status: status.and_then(|(_, status)| status),
            target_selection: selection.and_then(|(_, selection)| selection),
        })
    }
}

fn enum_constraint(all: &str) -> String {
    format!("Member must satisfy enum value set: {}]", all.trim_end_matches(", "))
}

/// ListJobsResponse from the rows that [`list_jobs`](crate::statements::list_jobs) gave.
#[must_use]
pub fn list_jobs_response(scope: &Scope, request: &ListJobsRequest, mut jobs: Vec<JobRecord>) -> Vec<u8> {
    let next_token =
        page::cut(&mut jobs, request.max_results, List::Jobs, |job| format!("{}:{}", job.created_at.0, job.job_id));
    let jobs = jobs.iter().map(|job| {
        let mut summary = Map::new();
        summary.insert("jobArn".to_owned(), scope.job_arn(&job.job_id).as_str().into());
        summary.insert("jobId".to_owned(), job.job_id.as_str().into());
        summary.insert("targetSelection".to_owned(), job.target_selection.as_str().into());
        summary.insert("status".to_owned(), job.status.as_str().into());
        summary.insert("createdAt".to_owned(), job.created_at.as_secs().into());
        summary.insert("lastUpdatedAt".to_owned(), job.last_updated_at.as_secs().into());
        if let Some(completed_at) = job.completed_at {
            summary.insert("completedAt".to_owned(), completed_at.as_secs().into());
        }
        Value::Object(summary)
    });
    let mut body = Map::new();
    body.insert("jobs".to_owned(), jobs.collect());
    if let Some(token) = next_token {
        body.insert("nextToken".to_owned(), token.into());
    }
    Value::Object(body).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_types::{AccountId, Region};

    fn scope() -> Scope {
        Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() }
    }

    #[test]
    fn list_jobs_requests_are_checked() {
        let parse = |query: &str| ListJobsRequest::parse(query, &Limits::STANDARD);
        let all = parse("").unwrap();
        assert_eq!((all.max_results, all.after), (25, JobPosition::start()));
        let some = parse("status=SCHEDULED&targetSelection=SNAPSHOT").unwrap();
        assert_eq!((some.status, some.target_selection), (Some(JobStatus::Scheduled), Some(TargetSelection::Snapshot)));
        let rows = [
            (
                "status=DONE",
                "InvalidRequestException: 1 validation error detected: Value 'DONE' at 'status' failed to \
                satisfy constraint: Member must satisfy enum value set: [IN_PROGRESS, CANCELED, COMPLETED, \
                DELETION_IN_PROGRESS, SCHEDULED]",
            ),
            (
                "targetSelection=x",
                "InvalidRequestException: 1 validation error detected: Value 'x' at 'targetSelection' \
                failed to satisfy constraint: Member must satisfy enum value set: [CONTINUOUS, SNAPSHOT]",
            ),
            ("thingGroupName=g", "ResourceNotFoundException: ThingGroup g not found"),
            ("namespaceId=n", "InvalidRequestException: namespaceId is not supported"),
            ("nextToken=AXRsYW1w", "InvalidRequestException: The nextToken is not valid"),
        ];
        for (query, expected) in rows {
            assert_eq!(parse(query).unwrap_err().to_string(), expected, "{query}");
        }
        for key in ["", "1", "x:y", "99999999999999999:y", "-1:y"] {
            let query = format!("nextToken={}", page::encode_token(List::Jobs, key));
            assert_eq!(parse(&query).unwrap_err().message(), "The nextToken is not valid", "{key}");
        }
    }

    #[test]
    fn a_page_of_jobs_continues_after_its_last() {
        let job = |id: &str, created_at| JobRecord {
            job_id: JobId::new(id).unwrap(),
            status: JobStatus::Completed,
            target_selection: TargetSelection::Snapshot,
            created_at: UnixMillis(created_at),
            last_updated_at: UnixMillis(2_000),
            completed_at: Some(UnixMillis(2_000)),
        };
        let request = ListJobsRequest::parse("maxResults=1", &Limits::STANDARD).unwrap();
        let body = list_jobs_response(&scope(), &request, vec![job("b", 1_500), job("a", 1_500)]);
        let text = String::from_utf8(body).unwrap();
        assert!(text.starts_with(
            r#"{"jobs":[{"jobArn":"arn:aws:iot:us-east-1:123456789012:job/b","jobId":"b","targetSelection":"SNAPSHOT","status":"COMPLETED","createdAt":1,"lastUpdatedAt":2,"completedAt":2}],"nextToken":"#
        ), "{text}");
        let token = serde_json::from_str::<Value>(&text).unwrap()["nextToken"].as_str().unwrap().to_owned();
        let next = ListJobsRequest::parse(&format!("nextToken={token}"), &Limits::STANDARD).unwrap();
        assert_eq!(next.after, JobPosition { created_at: UnixMillis(1_500), job_id: "b".to_owned() });
    }

    #[test]
    fn a_second_job_of_the_id_is_refused() {
        let id = parse_job_id("j-1").unwrap();
        assert_eq!(settle_create(&scope(), &id, 1), Ok(()));
        assert_eq!(settle_create(&scope(), &id, 0).unwrap_err().name(), "ResourceAlreadyExistsException");
        assert_eq!(found(&id, None).unwrap_err().name(), "ResourceNotFoundException");
        assert_eq!(parse_job_id("j:1").unwrap_err().name(), "InvalidRequestException");
    }
}
