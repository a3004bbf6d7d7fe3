//! Wakes the jobs that are under way, so that each sends the next step of its rollout.

use crate::api::jobs::ask;
use durable_objects::d1::Registry;
use durable_objects::log_line;
use futures_util::StreamExt as _;
use iot_types::JobId;
use messages::jobs::{JobReply, JobRequest};
use registry::job::{JobPosition, JobRecord, JobRow, JobStatus, ListJobsRequest};
use registry::{Partition, statements};
use serde_json::json;
use worker::Env;

/// Jobs in one read.
const PAGE: u32 = 100;
/// Jobs woken at the same time.
const AT_ONCE: usize = 16;

/// Goes through all jobs under way. A job that can't be reached is woken in the next minute.
pub async fn dispatch(env: &Env) {
    if let Err(error) = walk(env).await {
        log_line(&json!({"level": "error", "event": "jobs_not_dispatched", "reason": error.to_string()}));
    }
}

async fn walk(env: &Env) -> worker::Result<()> {
    let registry = Registry::new(env.clone());
    let mut request = ListJobsRequest {
        after: JobPosition::start(),
        max_results: PAGE,
        status: Some(JobStatus::InProgress),
        target_selection: None,
    };
    loop {
        let rows: Vec<JobRow> = registry.read(statements::list_jobs(Partition::FIRST, &request)).await?;
        let jobs: Vec<JobRecord> = rows.into_iter().filter_map(|row| JobRecord::try_from(row).ok()).collect();
        let is_last = jobs.len() <= PAGE as usize;
        let page: Vec<JobRecord> = jobs.into_iter().take(PAGE as usize).collect();
        let Some(last) = page.last() else { return Ok(()) };
        request.after = JobPosition { created_at: last.created_at, job_id: last.job_id.as_str().to_owned() };
        let ids: Vec<JobId> = page.into_iter().map(|job| job.job_id).collect();
        futures_util::stream::iter(ids).for_each_concurrent(AT_ONCE, |job_id| wake(env, &registry, job_id)).await;
        if is_last {
            return Ok(());
        }
    }
}

async fn wake(env: &Env, registry: &Registry, job_id: JobId) {
    let reply = ask(env, &job_id, JobRequest::Dispatch).await;
    let Some(JobReply::Dispatched { status, left }) = reply else {
        return log_line(&json!({"level": "warn", "event": "job_not_woken", "job_id": job_id.as_str()}));
    };
    log_line(
        &json!({"level": "info", "event": "job_dispatched", "job_id": job_id.as_str(), "status": status, "targets": left}),
    );
    let Some(status) = JobStatus::parse(&status).filter(|status| *status != JobStatus::InProgress) else { return };
    let now = crate::http::now();
    let completed_at = (status == JobStatus::Completed).then_some(now);
    let statement = statements::update_job_status(Partition::FIRST, &job_id, status, now, completed_at);
    if let Err(error) = registry.batch(&[statement]).await {
        log_line(
            &json!({"level": "warn", "event": "job_status_not_stored", "job_id": job_id.as_str(), "reason": error.to_string()}),
        );
    }
}
