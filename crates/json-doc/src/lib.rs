//! JSON documents from outside, read within bounds, and the algebra that shadows and rules share.
//!
//! In scope: reading bytes into [`serde_json::Value`] with a bound on bytes, nesting and number of values; merging,
//! comparing and measuring documents; finding a value by its path.
//! Out of scope: what a document means. Shadow sections, metadata and versions live in `shadow`, SQL paths in `rules`.
//!
//! Numbers keep their form as far as `serde_json` does without `arbitrary_precision`: integers within 64 bits exactly
//! and as integers, everything else as an IEEE 754 double.
//!
//! Only [`depth`] and [`count_values`] are safe on a document of any depth. The others recurse once per level, which
//! [`parse`] keeps within [`MAXIMUM_DEPTH`].

mod algebra;
mod parse;

pub use algebra::{count_values, depth, difference, equivalent, get_path, has_null_in_array, merge};
pub use parse::{Bounds, MAXIMUM_DEPTH, ParseError, parse};

pub use serde_json::{Map, Number, Value};
