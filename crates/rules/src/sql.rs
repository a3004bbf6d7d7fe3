//! From the text of a statement to a [`Program`].

mod dialect;
mod lower;
mod statement;

use crate::error::SqlError;
use crate::limits::MAX_SQL_BYTES;
use crate::program::{Program, SqlVersion};
use sqlparser::tokenizer::Location;

pub(crate) fn compile(sql: &str, version: SqlVersion) -> Result<Program, SqlError> {
    if sql.len() > MAX_SQL_BYTES {
        return Err(error(format!("the statement is longer than {MAX_SQL_BYTES} bytes"), START));
    }
    let statement = statement::parse(sql)?;
    lower::lower(statement, version)
}

/// Where a statement begins.
const START: Location = Location { line: 1, column: 1 };

fn error(message: impl Into<String>, location: Location) -> SqlError {
    // `sqlparser` has line 0 for what it cannot place.
    SqlError { message: message.into(), line: location.line.max(1), column: location.column.max(1) }
}
