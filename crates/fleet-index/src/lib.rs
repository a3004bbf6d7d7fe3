//! Fleet indexing without I/O: AWS's query grammar, what of a document is searchable, the tables, queries and
//! aggregations as SQL, the indexing configuration.

pub mod aggregate;
mod compile;
pub mod configuration;
mod document;
mod error;
mod evaluate;
mod limits;
pub mod query;
pub mod schema;
mod statement;
mod terms;
mod text;

pub use compile::{ESTIMATE_LIMIT, Estimates, count, estimate, search};
pub use document::{Connectivity, Document, Part, Shadow, Shadows, ThingDocument, ThingGroupDocument};
pub use error::{AggregationError, ConfigurationError, Problem, QueryError};
pub use evaluate::{matches, matches_terms};
pub use limits::{DocumentLimits, Limits};
pub use query::Query;
pub use schema::{Index, Stored};
pub use statement::{Parameter, Statement};
pub use terms::{Difference, Kind, Row, TermValue, Terms};
