//! Fleet indexing without I/O: what of a thing is searchable, AWS's query grammar, and both as SQL.
//!
//! In scope:
//! - the query grammar of SearchIndex and of dynamic thing groups ([`query`]), with typed errors and limits ([`Limits`]);
//! - documents of things and thing groups ([`ThingDocument`], [`ThingGroupDocument`]), what they are found by ([`Terms`]),
//!   and what changes between two of them;
//! - the tables and the statements that write them ([`schema`]);
//! - queries as SQL ([`estimate`], [`search`], [`count`]) and without a database ([`matches()`]);
//! - aggregations ([`aggregate`]) and the indexing configuration ([`configuration`]).
//!
//! Out of scope: running statements, gathering what a document consists of, tokens of pages, HTTP, and when a dynamic
//! thing group is evaluated. Geoqueries are refused as unsupported.
//!
//! # How the caller uses it
//!
//! When something of a thing changes: [`schema::read`] what is stored, assemble the [`ThingDocument`], let
//! [`keep`](configuration::ThingIndexingConfiguration::keep) leave what is indexed, [`Terms::of`], and run the batch of
//! [`schema::write`]; if its last statement changed nothing, begin again. For a query: [`Query::parse`], for each partition
//! [`estimate`] and then [`search`] (one more than the page), merge by name, cut. A page needs no estimate, but is found
//! much faster with one.
//!
//! # What it costs
//!
//! A million things with 24 values each (5 attributes and a shadow among them), by
//! `cargo run --release -p fleet-index --example million -- FILE`, on two cores of a server, SQLite 3.50 with a warm cache.
//! Times are of one partition, without the network; D1 is slower by a factor that has not been measured. The page is of
//! 101 documents, the deep one begins after nine tenths of the things, the estimate comes before either.
//!
//! | query | found | estimate ms | page ms | deep page ms | count ms |
//! |---|---|---|---|---|---|
//! | `*` | 1000000 | 0.0 | 0.1 | 0.1 | 62 |
//! | `thingName:thing-0500000` | 1 | 0.0 | 0.1 | 0.0 | 0 |
//! | `attributes.serial:sn00777777` | 1 | 0.0 | 0.0 | 0.0 | 0 |
//! | `attributes.model:m7` | 50035 | 1.2 | 0.2 | 0.2 | 4 |
//! | `attributes.country:de` | 199512 | 1.2 | 0.2 | 0.1 | 18 |
//! | `attributes.model:m7 AND attributes.country:de` | 10067 | 2.4 | 0.9 | 0.7 | 56 |
//! | `attributes.site:site-1234 AND attributes.country:de` | 18 | 1.3 | 0.2 | 0.1 | 0 |
//! | `thingName:thing-05000*` | 100 | 0.0 | 0.3 | 0.0 | 0 |
//! | `thingName:thing-*` | 1000000 | 1.2 | 0.4 | 0.3 | 298 |
//! | `thingName:*77777` | 10 | 99.9 | 104.2 | 110.1 | 123 |
//! | `shadow.reported.battery<1` | 9482 | 0.4 | 2.4 | 0.8 | 4 |
//! | `shadow.reported.battery>=10` | 900521 | 0.9 | 0.3 | 0.3 | 1238 |
//! | `shadow.reported.temperature:[20.5 TO 20.51]` | 352 | 0.0 | 0.4 | 0.2 | 0 |
//! | `attributes.model:m7 shadow.reported.battery<5` | 2432 | 1.8 | 8.3 | 9.6 | 391 |
//! | `attributes.model:m7 NOT connectivity.connected:true` | 3516 | 1.9 | 1.3 | 2.0 | 69 |
//! | `NOT connectivity.connected:true` | 69691 | 1.0 | 1.2 | 1.2 | 838 |
//! | `NOT attributes.country:*` | 0 | 1.2 | 2394.2 | 153.6 | 2034 |
//! | `shadow.reported.status:"low battery"` | 40059 | 0.9 | 4.4 | 5.2 | 165 |
//! | `shadow.reported.status:fault` | 10089 | 0.5 | 0.2 | 0.1 | 1 |
//! | `fault` | 10089 | 0.6 | 1.5 | 0.3 | 2 |
//! | `sn00777777` | 1 | 0.1 | 0.1 | 0.1 | 0 |
//! | `attributes.country:de AND shadow.reported.status:fault AND shadow.reported.battery>50` | 998 | 2.5 | 2.3 | 2.5 | 25 |
//! | `attributes.site:site-1 OR attributes.site:site-2 OR shadow.reported.battery<0.1` | 683 | 0.1 | 0.7 | 0.4 | 5 |
//! | `attributes.country:de AND attributes.model:m7 AND shadow.reported.status:fault AND NOT connectivity.connected:true` | 10 | 3.6 | 17.3 | 1.7 | 21 |
//!
//! | aggregation | query | ms |
//! |---|---|---|
//! | statistics of registry.version | `*` | 422 |
//! | statistics of a number | `*` | 476 |
//! | percentiles of a number | `*` | 1087 |
//! | cardinality of a string | `*` | 392 |
//! | buckets of a string | `*` | 69 |
//! | statistics of registry.version | `attributes.model:m7` | 282 |
//! | statistics of a number | `attributes.model:m7` | 301 |
//! | percentiles of a number | `attributes.model:m7` | 346 |
//! | cardinality of a string | `attributes.model:m7` | 184 |
//! | buckets of a string | `attributes.model:m7` | 153 |
//! | statistics of registry.version | `attributes.site:site-1234` | 1 |
//! | statistics of a number | `attributes.site:site-1234` | 1 |
//! | percentiles of a number | `attributes.site:site-1234` | 1 |
//! | cardinality of a string | `attributes.site:site-1234` | 0 |
//! | buckets of a string | `attributes.site:site-1234` | 0 |
//!
//! The file has 3.4 GB: 2.1 KB for each document and its terms, 47 bytes for each row. So D1's 10 GB hold some three
//! million such things.
//!
//! **Rows written** (what D1 bills a thousand times higher than rows read): 24 for the values and 2 for the document when a
//! thing comes; 3 when one number of its shadow changes (a row goes, a row comes, the document). With a table by name and
//! two indexes, one by text and a partial one by number, the same things would take 58 and 2, and the change 7.
//!
//! **Rows read**: the estimate reads up to [`ESTIMATE_LIMIT`] rows for each term. What is slow is a query without any term
//! that helps, and for which few documents match: `NOT attributes.country:*` above reads all documents to find none. A
//! pattern that begins with a wildcard reads all values of its field, once for the estimate and once for the page.

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
