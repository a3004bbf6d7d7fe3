//! A table as it is used.

use regex_lite::Regex;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// The operations of a service and the shapes of their requests.
///
/// Lines that are no facts are passed over, and names that nothing stands behind are unconstrained: whether the
/// committed tables are whole is for tests to say, not for a running platform.
#[derive(Debug, Default)]
pub struct Model {
    operations: BTreeMap<&'static str, Operation>,
    errors: BTreeMap<&'static str, u16>,
    shapes: BTreeMap<&'static str, Shape>,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// As in the service model.
    pub name: &'static str,
    /// The HTTP method.
    pub method: &'static str,
    /// `{name}` is one segment of the path, `{name+}` the rest of it with its slashes.
    pub uri_template: &'static str,
    /// The HTTP status of success.
    pub success_status: u16,
    /// The structure of the request; `None` when it has no members.
    pub input: Option<&'static str>,
    /// Exceptions without the word `Exception`, in the model's order.
    errors: Vec<&'static str>,
}

impl Operation {
    /// Whether the operation may answer with this exception, by its whole name.
    #[must_use]
    pub fn may_fail_with(&self, exception: &str) -> bool {
        self.errors.iter().any(|short| exception == *short || exception.strip_suffix("Exception") == Some(short))
    }

    /// What a request that breaks the model is answered with.
    #[must_use]
    pub fn validation_exception(&self) -> &'static str {
        if !self.may_fail_with("InvalidRequestException") && self.may_fail_with("ValidationException") {
            "ValidationException"
        } else {
            "InvalidRequestException"
        }
    }
}

/// Where a member is in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// A member of the JSON object in the body.
    Body,
    /// The whole body.
    Payload,
    /// The path parameter of this name.
    Path(&'static str),
    /// The query parameter of this name.
    Query(&'static str),
    /// The header of this name.
    Header(&'static str),
}

/// A member of a structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, also on the wire when it is in the body.
    pub name: &'static str,
    /// Whether it must be there.
    pub is_required: bool,
    /// Where it is.
    pub location: Location,
    /// The name of its shape.
    pub shape: &'static str,
}

/// What a value must be.
#[derive(Debug)]
pub struct Shape {
    /// Its type.
    pub kind: Kind,
    /// The smallest length, size or value.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// Made of the pattern when it is first needed; `None` in it when it can't be, and then it is not checked.
    compiled: OnceLock<Option<Regex>>,
}

/// The types of the models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Named members.
    Structure(Vec<Member>),
    /// Values of one shape.
    List(&'static str),
    /// Any keys, of one shape, with values of another.
    Map(&'static str, &'static str),
    /// Text, and the pattern it matches as a whole; empty: any.
    String(&'static str),
    /// One of these.
    Enum(Vec<&'static str>),
    /// A whole number of 64 bits.
    Long,
    /// A whole number of 32 bits.
    Integer,
    /// A number.
    Double,
    /// `true` or `false`.
    Boolean,
    /// Seconds since 1970, or text after RFC 3339.
    Timestamp,
    /// Bytes, in base64.
    Blob,
}

impl Shape {
    /// Whether `text` matches the pattern of a string.
    pub(crate) fn matches(&self, pattern: &str, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| crate::pattern::compile(pattern));
        compiled.as_ref().is_none_or(|regex| regex.is_match(text))
    }
}

impl Model {
    /// Reads tables; rows of a later one take the place of those of the same name.
    #[must_use]
    pub fn parse(tables: &[&'static str]) -> Self {
        let mut model = Self::default();
        for line in tables.iter().flat_map(|table| table.lines()) {
            model.note(line);
        }
        model
    }

    fn note(&mut self, line: &'static str) -> Option<()> {
        let (what, rest) = line.split_once(' ')?;
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut words = rest.split(' ');
        match what {
            "operation" => {
                let operation = Operation {
                    name,
                    method: words.next()?,
                    uri_template: words.next()?,
                    success_status: words.next()?.parse().ok()?,
                    input: words.next().filter(|input| *input != "-"),
                    errors: words.next().into_iter().flat_map(|all| all.split(',')).collect(),
                };
                self.operations.insert(name, operation);
            }
            "error" => {
                self.errors.insert(name, words.next()?.parse().ok()?);
            }
            _ => {
                let (kind, bounds) = kind(what, rest)?;
                let mut bounds = bounds.split(' ').map(|bound| bound.parse().ok());
                let (min, max) = (bounds.next().flatten(), bounds.next().flatten());
                self.shapes.insert(name, Shape { kind, min, max, compiled: OnceLock::new() });
            }
        }
        Some(())
    }

    /// All operations, by name.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.operations.values()
    }

    /// The operation of this name.
    #[must_use]
    pub fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations.get(name)
    }

    /// The HTTP status of an exception, by its whole name.
    #[must_use]
    pub fn status_of(&self, exception: &str) -> Option<u16> {
        self.errors.get(exception).copied()
    }

    /// All shapes, by name.
    pub fn shapes(&self) -> impl Iterator<Item = (&'static str, &Shape)> {
        self.shapes.iter().map(|(name, shape)| (*name, shape))
    }

    /// The shape of this name.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&Shape> {
        self.shapes.get(name)
    }

    /// The members of a structure.
    #[must_use]
    pub fn members(&self, structure: &str) -> &[Member] {
        match self.shape(structure).map(|shape| &shape.kind) {
            Some(Kind::Structure(members)) => members,
            _ => &[],
        }
    }
}

/// The type, and what follows it on the line: the bounds.
fn kind(what: &str, rest: &'static str) -> Option<(Kind, &'static str)> {
    let two = |text: &'static str| text.split_once(' ');
    Some(match what {
        "structure" => (Kind::Structure(rest.split(' ').filter_map(member).collect()), ""),
        "list" => {
            let (of, bounds) = two(rest)?;
            (Kind::List(of), bounds)
        }
        "map" => {
            let (key, rest) = two(rest)?;
            let (value, bounds) = two(rest)?;
            (Kind::Map(key, value), bounds)
        }
        "enum" => (Kind::Enum(rest.split(' ').collect()), ""),
        "string" => {
            let pattern = rest.splitn(3, ' ').nth(2).unwrap_or_default();
            (Kind::String(pattern), rest)
        }
        "integer" => (Kind::Integer, rest),
        "long" => (Kind::Long, rest),
        "double" | "float" => (Kind::Double, rest),
        "blob" => (Kind::Blob, rest),
        "boolean" => (Kind::Boolean, ""),
        "timestamp" => (Kind::Timestamp, ""),
        _ => return None,
    })
}

fn member(word: &'static str) -> Option<Member> {
    let (left, shape) = word.rsplit_once(':')?;
    let split = left.find(['!', '/', '?', '^', '@']).unwrap_or(left.len());
    let (name, marks) = left.split_at_checked(split)?;
    let is_required = marks.starts_with('!');
    let place = marks.strip_prefix('!').unwrap_or(marks);
    let location = match (place.get(..1), place.get(1..).unwrap_or_default()) {
        (Some("/"), wire) => Location::Path(wire),
        (Some("?"), wire) => Location::Query(wire),
        (Some("^"), wire) => Location::Header(wire),
        (Some("@"), _) => Location::Payload,
        _ => Location::Body,
    };
    Some(Member { name, is_required, location, shape })
}
