//! A compiled statement: nodes in one list, each naming its operands by position, so that storing and loading it
//! needs no recursion and a depth can be checked in one pass.

use crate::error::{DecodeError, SqlError};
use crate::functions::FunctionRef;
use crate::limits::MAX_PROGRAM_DEPTH;
use crate::operators::InfixOperator;
use crate::sql;
use crate::value::Value;
use serde::{Deserialize, Serialize};

/// The first byte of an encoded program. Raise it when a stored program would mean something else or not decode, and
/// keep in mind that positions of enum variants are part of the encoding.
const ENCODING: u8 = 1;

/// `awsIotSqlVersion` of a rule (developer guide, "SQL versions").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SqlVersion {
    /// `2015-10-08`, which a rule has when it names none.
    #[default]
    V2015,
    /// `2016-03-23`: literals of arrays and objects, more functions, whole decimals read as integers.
    V2016,
    /// `beta`: the most recent one; the same as `2016-03-23`.
    Beta,
}

impl SqlVersion {
    /// Reads `awsIotSqlVersion`; `None` for a version that does not exist.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "2015-10-08" => Some(Self::V2015),
            "2016-03-23" => Some(Self::V2016),
            "beta" => Some(Self::Beta),
            _ => None,
        }
    }

    /// The name as `awsIotSqlVersion` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V2015 => "2015-10-08",
            Self::V2016 => "2016-03-23",
            Self::Beta => "beta",
        }
    }

    pub(crate) const fn is_2016_or_later(self) -> bool {
        !matches!(self, Self::V2015)
    }
}

/// A statement ready to run: compiled once when the rule is created, stored as bytes, evaluated on every message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    pub(crate) version: SqlVersion,
    topic_filter: Option<String>,
    pub(crate) items: Vec<Item>,
    pub(crate) condition: Option<NodeId>,
    nodes: Vec<Node>,
}

/// Position of a node in [`Program::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeId(pub(crate) u32);

/// One item of the SELECT clause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Item {
    /// `*` or `path.*`: the members of an object.
    Spread(NodeId),
    /// An expression and where in the output it goes; more than one segment nests.
    Named { path: Vec<String>, value: NodeId },
}

/// Encoded by position: append only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Node {
    /// A literal without operands, or `Undefined`.
    Constant(#[serde(with = "scalar")] Value),
    /// The payload as JSON; `Undefined` when it is none.
    Payload,
    /// `base.a[1].b`.
    Access {
        base: NodeId,
        steps: Vec<Step>,
    },
    Not(NodeId),
    Negate(NodeId),
    /// `first op1 e1 op2 e2 …`, from the left. What binds more tightly is an operand of its own.
    Chain {
        first: NodeId,
        rest: Vec<(InfixOperator, NodeId)>,
    },
    Case {
        operand: Option<NodeId>,
        branches: Vec<(NodeId, NodeId)>,
        otherwise: Option<NodeId>,
    },
    Array(Vec<NodeId>),
    Object(Vec<(String, NodeId)>),
    Call {
        function: FunctionRef,
        arguments: Vec<NodeId>,
    },
    Cast {
        value: NodeId,
        target: CastType,
    },
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Step {
    Member(String),
    Index(NodeId),
}

/// What `cast(… as …)` may name. Encoded by position: append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CastType {
    String,
    Int,
    Decimal,
    Boolean,
}

impl Program {
    /// Compiles a statement.
    ///
    /// # Errors
    /// [`SqlError`] when the text is too long, too deep, not AWS IoT SQL, or uses what this server does not support.
    pub fn compile(sql: &str, version: SqlVersion) -> Result<Self, SqlError> {
        sql::compile(sql, version)
    }

    /// The topic filter of the FROM clause; `None` for a statement without one, which only Basic Ingest can reach.
    #[must_use]
    pub fn topic_filter(&self) -> Option<&str> {
        self.topic_filter.as_deref()
    }

    /// The bytes to store. [`Program::decode`] reads them in this and later releases.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Writing to a growing vector fails only for types that no node has.
        postcard::to_extend(self, vec![ENCODING]).unwrap_or_default()
    }

    /// Reads what [`Program::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes were damaged or written by a newer release.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (encoding, body) = bytes.split_first().ok_or(DecodeError::Malformed)?;
        if *encoding != ENCODING {
            return Err(DecodeError::UnknownEncoding(*encoding));
        }
        let (program, rest): (Self, _) = postcard::take_from_bytes(body).map_err(|_| DecodeError::Malformed)?;
        if rest.is_empty() && program.is_well_formed() { Ok(program) } else { Err(DecodeError::Malformed) }
    }

    pub(crate) const fn from_parts(
        version: SqlVersion,
        topic_filter: Option<String>,
        items: Vec<Item>,
        condition: Option<NodeId>,
        nodes: Vec<Node>,
    ) -> Self {
        Self { version, topic_filter, items, condition, nodes }
    }

    pub(crate) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::try_from(id.0).ok()?)
    }

    /// Whether every node names only earlier ones and none is deeper than evaluation can go: then evaluation ends,
    /// and its stack is bounded.
    pub(crate) fn is_well_formed(&self) -> bool {
        let mut depths: Vec<usize> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let mut deepest = 0;
            let mut known = true;
            node.for_each_operand(|id| match usize::try_from(id.0).ok().and_then(|index| depths.get(index)) {
                Some(depth) => deepest = deepest.max(*depth),
                None => known = false,
            });
            if !known || deepest >= MAX_PROGRAM_DEPTH {
                return false;
            }
            depths.push(deepest + 1);
        }
        let mut roots = self.condition.iter().chain(self.items.iter().map(|item| match item {
            Item::Spread(id) | Item::Named { value: id, .. } => id,
        }));
        roots.all(|id| self.node(*id).is_some())
    }
}

impl Node {
    fn for_each_operand(&self, mut visit: impl FnMut(NodeId)) {
        match self {
            Self::Constant(_) | Self::Payload => {}
            Self::Not(id) | Self::Negate(id) | Self::Cast { value: id, .. } => visit(*id),
            Self::Access { base, steps } => {
                visit(*base);
                for step in steps {
                    if let Step::Index(id) = step {
                        visit(*id);
                    }
                }
            }
            Self::Chain { first, rest } => {
                visit(*first);
                rest.iter().for_each(|(_, id)| visit(*id));
            }
            Self::Case { operand, branches, otherwise } => {
                operand.iter().chain(otherwise).for_each(|id| visit(*id));
                for (when, then) in branches {
                    visit(*when);
                    visit(*then);
                }
            }
            Self::Array(ids) | Self::Call { arguments: ids, .. } => ids.iter().for_each(|id| visit(*id)),
            Self::Object(members) => members.iter().for_each(|(_, id)| visit(*id)),
        }
    }
}

/// Constants are scalars: an encoding of containers would recurse.
mod scalar {
    use crate::value::Value;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    enum Scalar {
        Undefined,
        Null,
        Boolean(bool),
        Int(i64),
        Decimal(f64),
        String(String),
    }

    pub(super) fn serialize<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Value::Undefined | Value::Array(_) | Value::Object(_) => Scalar::Undefined,
            Value::Null => Scalar::Null,
            Value::Boolean(value) => Scalar::Boolean(*value),
            Value::Int(value) => Scalar::Int(*value),
            Value::Decimal(value) => Scalar::Decimal(*value),
            Value::String(text) => Scalar::String(text.clone()),
        }
        .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        Ok(match Scalar::deserialize(deserializer)? {
            Scalar::Undefined => Value::Undefined,
            Scalar::Null => Value::Null,
            Scalar::Boolean(value) => Value::Boolean(value),
            Scalar::Int(value) => Value::Int(value),
            Scalar::Decimal(value) => Value::decimal(value),
            Scalar::String(text) => Value::String(text),
        })
    }
}
