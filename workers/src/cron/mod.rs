//! What the cron trigger does each minute.

pub mod audit;
pub mod control;
pub mod expired;
pub mod jobs;
pub mod shards;
