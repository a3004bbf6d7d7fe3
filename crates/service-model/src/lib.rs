//! AWS's operations as data: routes, where parameters are, what they must be, which errors there are.
//!
//! In scope:
//! - the tables in `model/`, made by `cargo xtask service-model` from the service models of botocore, and
//!   `model/umbra.txt`, which is ours: operations that AWS doesn't have, and rows that differ;
//! - [`Model`], a table as it is used; [`Model::read`], which takes a request apart and checks it in one go.
//!
//! Out of scope: which operations are built, and everything that happens after a request was found well-formed: the
//! crate `registry` and the workers.
//!
//! # Notation
//!
//! One fact to a line, words separated by a space:
//!
//! | line | meaning |
//! |---|---|
//! | `operation NAME METHOD PATH STATUS INPUT ERROR,…` | a route; `INPUT` is a structure or `-`; error names without `Exception` |
//! | `error NAME STATUS` | an exception's HTTP status |
//! | `structure NAME MEMBER:SHAPE …` | `!` behind a member: required; then where it is, if not in the body: `/name` path, `?name` query, `^name` header, `@` the whole body |
//! | `list NAME SHAPE MIN MAX`, `map NAME KEY VALUE MIN MAX` | `-`: unbounded |
//! | `string NAME MIN MAX PATTERN`, `enum NAME VALUE …` | lengths in characters; the pattern, a Java regular expression of the whole string, is the rest of the line |
//! | `integer`, `long`, `double`, `float`, `blob` `NAME MIN MAX`, `boolean NAME`, `timestamp NAME` | |

mod model;
mod pattern;
mod problem;
mod read;

pub use model::{Kind, Location, Member, Model, Operation, Shape};
pub use problem::{Input, Problem};
pub use read::{ECHO_LIMIT, Request};

use std::sync::LazyLock;

/// The control plane (`iot`, 2015-05-28), with what is ours.
pub static IOT: LazyLock<Model> =
    LazyLock::new(|| Model::parse(&[include_str!("../model/iot.txt"), include_str!("../model/umbra-iot.txt")]));
/// The data plane (`iot-data`, 2015-05-28), with what is ours.
pub static IOT_DATA: LazyLock<Model> = LazyLock::new(|| {
    Model::parse(&[include_str!("../model/iot-data.txt"), include_str!("../model/umbra-iot-data.txt")])
});
/// The jobs of one device (`iot-jobs-data`, 2017-09-29).
pub static IOT_JOBS_DATA: LazyLock<Model> =
    LazyLock::new(|| Model::parse(&[include_str!("../model/iot-jobs-data.txt")]));
