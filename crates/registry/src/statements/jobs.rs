//! Statements about jobs. Lists are newest first.

use super::{Parameter, Sql, Statement, page_limit};
use crate::job::{JobRecord, JobStatus, ListJobsRequest};
use crate::partition::Partition;
use iot_types::{JobId, UnixMillis};

macro_rules! columns {
    () => {
        "job_id, status, target_selection, created_at, last_updated_at, completed_at"
    };
}

pub(super) const INSERT_JOB: Sql = Sql {
    name: "INSERT_JOB",
    text: concat!(
        "INSERT INTO jobs (",
        columns!(),
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (job_id) DO NOTHING"
    ),
    parameters: &["job_id", "status", "target_selection", "created_at", "last_updated_at", "completed_at"],
    plan: "",
};

pub(super) const SELECT_JOB: Sql = Sql {
    name: "SELECT_JOB",
    text: concat!("SELECT ", columns!(), " FROM jobs WHERE job_id = ?1"),
    parameters: &["job_id"],
    plan: "SEARCH jobs USING PRIMARY KEY (job_id=?)",
};

/// The object of the job is the only writer, but its calls may arrive out of order: an older one changes nothing.
pub(super) const UPDATE_JOB_STATUS: Sql = Sql {
    name: "UPDATE_JOB_STATUS",
    text: "UPDATE jobs SET status = ?2, last_updated_at = ?3, completed_at = ?4 \
           WHERE job_id = ?1 AND last_updated_at <= ?3",
    parameters: &["job_id", "status", "last_updated_at", "completed_at"],
    plan: "SEARCH jobs USING PRIMARY KEY (job_id=?)",
};

pub(super) const LIST_JOBS: Sql = Sql {
    name: "LIST_JOBS",
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM jobs WHERE (created_at, job_id) < (?1, ?2) AND (?4 IS NULL OR target_selection = ?4) \
         ORDER BY created_at DESC, job_id DESC LIMIT ?3"
    ),
    parameters: &["before created_at", "before job_id", "limit", "target_selection or NULL"],
    plan: "SEARCH jobs USING INDEX jobs_by_creation ((created_at,job_id)<(?,?))",
};

pub(super) const LIST_JOBS_BY_STATUS: Sql = Sql {
    name: "LIST_JOBS_BY_STATUS",
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM jobs WHERE status = ?5 AND (created_at, job_id) < (?1, ?2) AND (?4 IS NULL OR target_selection = ?4) \
         ORDER BY created_at DESC, job_id DESC LIMIT ?3"
    ),
    parameters: &["before created_at", "before job_id", "limit", "target_selection or NULL", "status"],
    plan: "SEARCH jobs USING INDEX jobs_by_status (status=? AND (created_at,job_id)<(?,?))",
};

/// Stores a new job; changes 0 rows when there is one of the id.
#[must_use]
pub fn insert_job(partition: Partition, job: &JobRecord) -> Statement {
    let parameters = vec![
        job.job_id.as_str().into(),
        job.status.as_str().into(),
        job.target_selection.as_str().into(),
        job.created_at.into(),
        job.last_updated_at.into(),
        job.completed_at.into(),
    ];
    INSERT_JOB.bind(partition, parameters)
}

/// Reads a job: [`JobRow`](crate::job::JobRow), none or one.
#[must_use]
pub fn select_job(partition: Partition, job_id: &JobId) -> Statement {
    SELECT_JOB.bind(partition, vec![job_id.as_str().into()])
}

/// Stores a job's status at `now`; changes 0 rows when a later one is stored already. The end of a job's rollout sets
/// `completed_at`.
#[must_use]
pub fn update_job_status(
    partition: Partition,
    job_id: &JobId,
    status: JobStatus,
    now: UnixMillis,
    completed_at: Option<UnixMillis>,
) -> Statement {
    let parameters: Vec<Parameter> =
        vec![job_id.as_str().into(), status.as_str().into(), now.into(), completed_at.into()];
    UPDATE_JOB_STATUS.bind(partition, parameters)
}

/// Reads a page of jobs: [`JobRow`](crate::job::JobRow), up to one more than the page. The scheduler asks for the jobs
/// in one status with the same statement.
#[must_use]
pub fn list_jobs(partition: Partition, request: &ListJobsRequest) -> Statement {
    let mut parameters = vec![
        request.after.created_at.into(),
        request.after.job_id.as_str().into(),
        page_limit(request.max_results),
        request.target_selection.map(|selection| selection.as_str()).into(),
    ];
    let Some(status) = request.status else { return LIST_JOBS.bind(partition, parameters) };
    parameters.push(status.as_str().into());
    LIST_JOBS_BY_STATUS.bind(partition, parameters)
}
