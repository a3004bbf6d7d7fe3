//! What the cron trigger does each minute.

pub mod jobs;
pub mod shards;
