//! Statements with their parameters.

/// A statement for one partition's database. The caller knows which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The text, with parameters `?1`, `?2`, …
    pub sql: String,
    /// The parameters, `?1` first.
    pub parameters: Vec<Parameter>,
}

/// A value bound to a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// SQL NULL.
    Null,
    /// An integer that JavaScript holds exactly.
    Integer(i64),
    /// UTF-8 text.
    Text(String),
}

impl From<&str> for Parameter {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Parameter {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Option<u64>> for Parameter {
    fn from(value: Option<u64>) -> Self {
        value.map_or(Self::Null, |value| Self::Integer(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

/// The parameters of a statement that is being written. A value that is bound twice is one parameter.
#[derive(Default)]
pub(crate) struct Parameters(Vec<Parameter>);

impl Parameters {
    /// The text that stands for the value.
    pub(crate) fn bind(&mut self, value: impl Into<Parameter>) -> String {
        let value = value.into();
        let position = self.0.iter().position(|bound| *bound == value).unwrap_or_else(|| {
            self.0.push(value);
            self.0.len() - 1
        });
        format!("?{}", position + 1)
    }

    /// A number, bound as text and converted by SQLite. The sum has no affinity: a `CAST` had one, and would make a
    /// number of every text that it is compared with.
    pub(crate) fn bind_number(&mut self, number: f64) -> String {
        let text = serde_json::Number::from_f64(number).map(|number| number.to_string()).unwrap_or_default();
        format!("({} + 0.0)", self.bind(text))
    }

    pub(crate) fn statement(self, sql: String) -> Statement {
        Statement { sql, parameters: self.0 }
    }
}
