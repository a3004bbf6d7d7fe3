//! The registry's D1 databases: runs the statements of the `registry` crate.

use js_sys::Uint8Array;
use registry::statements::{Parameter, Statement};
use serde::de::DeserializeOwned;
use wasm_bindgen::JsValue;
use worker::{D1Database, D1PreparedStatement, D1Result, Env, Result};

/// Access to the registry. Which database a statement is for is in the statement.
pub struct Registry {
    env: Env,
}

impl Registry {
    /// The registry of a deployment.
    #[must_use]
    pub const fn new(env: Env) -> Self {
        Self { env }
    }

    /// Runs one statement and returns its rows.
    ///
    /// # Errors
    /// When D1 fails or a row has another shape than the statement promises.
    pub async fn read<T: DeserializeOwned>(&self, statement: Statement) -> Result<Vec<T>> {
        // What is waited for is the same for every row: only what follows is compiled for each.
        self.run(&statement).await?.results()
    }

    async fn run(&self, statement: &Statement) -> Result<D1Result> {
        let database = self.database(statement)?;
        prepare(&database, statement)?.all().await
    }

    /// Runs statements of one partition as one transaction.
    ///
    /// # Errors
    /// When D1 fails; then nothing was changed.
    pub async fn batch(&self, statements: &[Statement]) -> Result<Vec<D1Result>> {
        let Some(first) = statements.first() else { return Ok(Vec::new()) };
        let database = self.database(first)?;
        let prepared = statements.iter().map(|s| prepare(&database, s)).collect::<Result<Vec<_>>>()?;
        database.batch(prepared).await
    }

    fn database(&self, statement: &Statement) -> Result<D1Database> {
        self.env.d1(&format!("REGISTRY_{}", statement.partition.index()))
    }
}

/// The rows that a statement of a batch changed.
///
/// # Errors
/// When D1 tells nothing about it.
pub fn changes(result: &D1Result) -> Result<u64> {
    let changes = result.meta()?.and_then(|meta| meta.changes);
    changes.and_then(|count| u64::try_from(count).ok()).ok_or_else(|| "D1 told no number of changes".into())
}

/// The rows that the statement at this place of a batch changed.
///
/// # Errors
/// When D1 tells nothing about it.
pub fn changes_at(results: &[D1Result], place: usize) -> Result<u64> {
    changes(results.get(place).ok_or("D1 left an answer out")?)
}

/// The rows that the statement at this place of a batch read.
///
/// # Errors
/// When D1 tells nothing about it, or a row has another shape than the statement promises.
pub fn rows_at<T: DeserializeOwned>(results: &[D1Result], place: usize) -> Result<Vec<T>> {
    results.get(place).ok_or("D1 left an answer out")?.results()
}

fn prepare(database: &D1Database, statement: &Statement) -> Result<D1PreparedStatement> {
    let values: Vec<JsValue> = statement
        .parameters
        .iter()
        .map(|parameter| match parameter {
            Parameter::Null => JsValue::NULL,
            // The registry's integers are below 2^53, which a double holds exactly.
            Parameter::Integer(number) => JsValue::from_f64(*number as f64),
            Parameter::Text(text) => JsValue::from_str(text),
            Parameter::Blob(bytes) => Uint8Array::from(bytes.as_slice()).into(),
        })
        .collect();
    database.prepare(statement.sql.as_ref()).bind(&values)
}
