//! What a statement, a program and an evaluation may cost.

/// Longest statement in bytes: AWS's quota for "Maximum SQL statement size", 256 KB.
pub const MAX_SQL_BYTES: usize = 256 * 1024;

/// How deep expressions may nest in a statement: parentheses, arguments, `CASE`, literals. A level costs `sqlparser`
/// up to three stack frames, and a wasm stack is 1 MiB in all.
pub const MAX_EXPRESSION_DEPTH: usize = 64;

/// How many infix operators one statement may hold. `a OR b OR c …` becomes a tree that leans left by one level per
/// operator and `sqlparser` drops it recursively, so this bounds the stack, too.
pub const MAX_OPERATORS: usize = 1_000;

/// How deep the nodes of a program may nest: one level of a statement compiles to at most three nodes (a chain of
/// operators, an access, and the node itself), and the roots of both clauses add a few.
pub const MAX_PROGRAM_DEPTH: usize = 4 * MAX_EXPRESSION_DEPTH;

/// Segments of an alias such as `AS a.b.c`, each of which nests the output by one object.
pub const MAX_ALIAS_SEGMENTS: usize = 64;

/// Work that one evaluation may do, whatever the payload's size. A unit is a byte of text looked at or copied, and
/// every node and every element of a container counts [`UNITS_PER_NODE`].
pub const BASE_WORK: usize = 1 << 20;

/// Work allowed on top of [`BASE_WORK`] for each byte of payload: enough to copy the whole payload 64 times.
pub const WORK_PER_PAYLOAD_BYTE: usize = 64;

/// What visiting a node or an element of a container costs.
pub const UNITS_PER_NODE: usize = 8;

/// Actions of one rule: AWS's quota "Maximum number of actions per rule".
pub const MAX_ACTIONS: usize = 10;

/// Headers of one `http` action (AWS service model, `HeaderList`).
pub const MAX_HTTP_HEADERS: usize = 100;

/// Bytes of an `http` action's `url` and `confirmationUrl` (AWS service model, `Url`).
pub const MAX_URL_BYTES: usize = 2_000;

/// Bytes of a header's name (AWS service model, `HeaderKey`).
pub const MAX_HEADER_KEY_BYTES: usize = 256;

/// Bytes of a header's value (AWS service model, `HeaderValue`).
pub const MAX_HEADER_VALUE_BYTES: usize = 2_048;
