//! What the cron trigger does each minute.

pub mod audit;
pub mod control;
pub mod jobs;
pub mod shards;
