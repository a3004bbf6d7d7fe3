//! Jobs: CreateJob, DescribeJob, ListJobs.

use super::error::{self, Failure};
use super::{Call, things};
use bytes::Bytes;
use durable_objects::call_object;
use futures_util::future::try_join_all;
use iot_types::JobId;
use jobs::JobError;
use jobs::job::CreateJobRequest;
use messages::address::Address;
use messages::codec::Batch;
use messages::jobs::{JobReply, JobRequest};
use messages::{Reply, Request};
use registry::job::{JobRecord, JobRow, JobStatus, ListJobsRequest, TargetSelection, list_jobs_response, parse_job_id};
use registry::{Partition, statements};
use worker::Env;

pub async fn create(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let job_id = parse_job_id(call.route.parameter("jobId"))?;
    let request = CreateJobRequest::parse(job_id.as_str(), &call.body)?;
    let stored = try_join_all(request.things.iter().map(|name| things::read(call, name))).await?;
    if let Some((missing, _)) = request.things.iter().zip(&stored).find(|(_, stored)| stored.is_none()) {
        return Err(registry::ApiError::resource_not_found(format!("Thing {missing} not found")).into());
    }
    // The registry's row comes first: it is what the scheduler looks for, and a row whose object was never created is
    // created by the client's next try.
    let record = JobRecord {
        job_id: job_id.clone(),
        status: JobStatus::InProgress,
        target_selection: TargetSelection::Snapshot,
        created_at: call.now,
        last_updated_at: call.now,
        completed_at: None,
    };
    call.deployment.registry().batch(&[statements::insert_job(Partition::FIRST, &record)]).await?;
    let body = Bytes::copy_from_slice(&call.body);
    match ask(&call.deployment.env, &job_id, JobRequest::Create { body }).await {
        Some(JobReply::Body(body)) => Ok(body.to_vec()),
        Some(JobReply::AlreadyExists) => {
            let resource_arn = call.deployment.config.scope.job_arn(&job_id).to_string();
            Err(JobError::ResourceAlreadyExists { job_id: job_id.as_str().to_owned(), resource_arn }.into())
        }
        Some(JobReply::NotFound | JobReply::Dispatched { .. }) | None => Err(error::unreachable("the Job")),
    }
}

pub async fn describe(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let job_id = parse_job_id(call.route.parameter("jobId"))?;
    match ask(&call.deployment.env, &job_id, JobRequest::Describe).await {
        Some(JobReply::Body(job)) => Ok([b"{\"job\":".as_slice(), &job, b"}"].concat()),
        Some(JobReply::NotFound) => {
            Err(registry::ApiError::resource_not_found(format!("Job {job_id} not found")).into())
        }
        Some(JobReply::AlreadyExists | JobReply::Dispatched { .. }) | None => Err(error::unreachable("the Job")),
    }
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = ListJobsRequest::parse(call.query, &call.deployment.limits())?;
    let rows: Vec<JobRow> = call.deployment.registry().read(statements::list_jobs(Partition::FIRST, &request)).await?;
    let jobs = rows.into_iter().map(JobRecord::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(list_jobs_response(&call.deployment.config.scope, &request, jobs))
}

/// Asks a Job; `None` when it did not answer.
pub async fn ask(env: &Env, job_id: &JobId, request: JobRequest) -> Option<JobReply> {
    let batch = Batch { sender: None, requests: vec![Request::Job(request)] };
    let reply = call_object(env, &Address::Job(job_id.clone()), &batch).await?;
    match reply.replies.into_iter().next() {
        Some(Reply::Job(reply)) => Some(reply),
        _ => None,
    }
}
