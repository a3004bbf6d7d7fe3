-- What ListJobs answers and the scheduler looks for; the job itself is in its Durable Object.
CREATE TABLE IF NOT EXISTS jobs (
    job_id TEXT NOT NULL PRIMARY KEY,
    status TEXT NOT NULL,
    target_selection TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_updated_at INTEGER NOT NULL,
    completed_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS jobs_by_creation ON jobs (created_at, job_id);

CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, created_at, job_id);
