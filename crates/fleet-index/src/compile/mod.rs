//! Queries to SQL: one SELECT for a page of one partition, with every value bound.
//!
//! A page is found in one of three ways, chosen by how many rows each term finds ([`estimate`], one statement that
//! counts no further than [`ESTIMATE_LIMIT`]):
//!
//! - **Collect**: a term, or the terms of an OR, find few rows. Those are read by the key of the rows, sorted by name,
//!   and the rest of the query is decided for each.
//! - **Stream**: an equality that finds many rows gives them in the order of names, beginning after the last page, and
//!   the rest is decided for each until the page is full.
//! - **Walk**: documents in the order of names, and the query is decided for each. What has no term that helps (`*`,
//!   negations) is found like this, and so is what most documents match.
//!
//! "Decided for each" means an equality is a probe of the key (field, value, name), and everything else looks into the
//! document's own [`Terms`](crate::Terms).
//!
//! Nothing here may exceed what D1 allows: 100 parameters, 100 levels of an expression, five parts of a compound SELECT,
//! 50 bytes of a GLOB pattern. The tests set SQLite to these limits.

mod filter;
mod source;

use crate::query::{Condition, Expression, Query, Term};
use crate::schema::Index;
use crate::statement::{Parameter, Parameters, Statement};

/// How far [`estimate`] counts the rows of a term, which takes about a millisecond. Above it, collecting and sorting so
/// many names takes longer than most pages take in order.
pub const ESTIMATE_LIMIT: u32 = 20_000;

/// How many rows each term of a query finds, at most [`ESTIMATE_LIMIT`]; of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Estimates(Vec<u32>);

impl Estimates {
    /// What the one row of [`estimate`] says: the columns `t0`, `t1`, …
    #[must_use]
    pub fn new(counts: Vec<u32>) -> Self {
        Self(counts)
    }

    /// Without an estimate: equalities are streamed, other terms collected.
    fn of(&self, term: &Term) -> u32 {
        let unknown = match term.condition {
            Condition::Equal { .. } if term.field.is_some() => ESTIMATE_LIMIT,
            _ => ESTIMATE_LIMIT / 2,
        };
        self.0.get(term.index).copied().unwrap_or(unknown)
    }
}

/// Counts what each term finds: one row with the columns `t0`, `t1`, … `None` when the query has no choice.
#[must_use]
pub fn estimate(index: Index, query: &Query) -> Option<Statement> {
    if query.terms == 0 {
        return None;
    }
    let mut parameters = Parameters::default();
    let mut columns = Vec::new();
    let limit = parameters.bind(Parameter::Integer(ESTIMATE_LIMIT.into()));
    for_each_term(&query.root, &mut |term| {
        let rows = source::collect(index, &[term], None, &mut parameters);
        columns.push(format!("(SELECT count(*) FROM ({rows} LIMIT {limit})) AS t{}", term.index));
    });
    Some(parameters.statement(format!("SELECT {}", columns.join(", "))))
}

/// A page: `name` and `document` of up to `limit` documents that the query finds, in the order of names, beginning after
/// `after` (empty for the first page). Ask for one more than the page to see whether there is another, of every
/// partition, and merge by name.
#[must_use]
pub fn search(index: Index, query: &Query, estimates: &Estimates, after: &str, limit: u32) -> Statement {
    let mut parameters = Parameters::default();
    let selection = select(index, query, estimates, Some(after), &mut parameters);
    let limit = parameters.bind(Parameter::Integer(limit.into()));
    // Without ORDER BY where the rows come in order already: SQLite cannot know it there, and would read all of them
    // to sort them. A test compares every way with the order of names.
    let order = if selection.names.is_none() { " ORDER BY d.name" } else { "" };
    let (from, condition) = (selection.from(), selection.condition(None));
    let sql = format!("SELECT d.name, d.document FROM {from}{condition}{order} LIMIT {limit}");
    parameters.statement(sql)
}

/// How many documents the query finds: one row with the column `count`.
#[must_use]
pub fn count(index: Index, query: &Query, estimates: &Estimates) -> Statement {
    let mut parameters = Parameters::default();
    let selection = select(index, query, estimates, None, &mut parameters);
    // The documents are large: they are read only if the query asks what is not in the rows.
    let needs_documents = selection.conditions.iter().any(|condition| condition.contains("d.terms"));
    if needs_documents {
        let (from, condition) = (selection.from(), selection.condition(None));
        return parameters.statement(format!("SELECT count(*) AS count FROM {from}{condition}"));
    }
    // Every document has one text that is its name.
    let names = selection.names.unwrap_or_else(|| {
        let field = parameters.bind(index.name_field());
        format!("(SELECT name FROM {} WHERE field = {field} AND kind = 0)", index.terms())
    });
    let condition = where_all(&selection.conditions);
    parameters.statement(format!("SELECT count(*) AS count FROM {names} c{condition}"))
}

/// The documents that a query finds.
pub(crate) struct Selection {
    /// A subquery with their names in order, and others; `None` for all.
    names: Option<String>,
    /// What decides, of `c.name` and `d.terms`.
    conditions: Vec<String>,
    documents: &'static str,
}

impl Selection {
    /// What follows FROM: the documents are `d`.
    pub(crate) fn from(&self) -> String {
        let documents = self.documents;
        match &self.names {
            // CROSS JOIN: the names come first, in their order.
            Some(names) => format!("{names} c CROSS JOIN {documents} d ON d.name = c.name"),
            None => format!("{documents} d"),
        }
    }

    /// ` WHERE …` with one condition more, or nothing.
    pub(crate) fn condition(&self, more: Option<String>) -> String {
        let mut conditions = self.conditions.clone();
        if self.names.is_none() {
            conditions.iter_mut().for_each(|condition| *condition = condition.replace("c.name", "d.name"));
        }
        conditions.extend(more);
        where_all(&conditions)
    }
}

pub(crate) fn select(
    index: Index,
    query: &Query,
    estimates: &Estimates,
    after: Option<&str>,
    parameters: &mut Parameters,
) -> Selection {
    let (names, decided) = match plan(&query.root, estimates, after.is_some()) {
        Plan::Collect(sources) => {
            let rows = source::collect(index, &sources, after, parameters);
            // A subquery keeps its order only if it has a limit.
            let order = if after.is_some() { " ORDER BY name LIMIT -1" } else { "" };
            let names = format!("(SELECT DISTINCT name FROM ({rows}){order})");
            let only = if let [only] = sources.as_slice() { Some(*only) } else { None };
            (Some(names), only.filter(|term| source::is_exact(term)))
        }
        Plan::Stream(term) => (Some(source::stream(index.terms(), term, after, parameters)), Some(term)),
        Plan::Walk => (None, None),
    };
    let mut conditions = Vec::new();
    if let (None, Some(after)) = (&names, after) {
        conditions.push(format!("c.name > {}", parameters.bind(after)));
    }
    conditions.extend(filter::filter(index, &query.root, decided, parameters));
    Selection { names, conditions, documents: index.documents() }
}

fn where_all(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

enum Plan<'a> {
    Collect(Vec<&'a Term>),
    Stream(&'a Term),
    Walk,
}

/// Of all pages together nothing is gained by an order, and the rows of a term are never more work than all documents.
fn plan<'a>(root: &'a Expression, estimates: &Estimates, is_page: bool) -> Plan<'a> {
    match (cheapest(root, estimates), streamable(root, estimates)) {
        (Some((rows, sources)), _) if rows < ESTIMATE_LIMIT => Plan::Collect(sources),
        (_, Some(term)) => Plan::Stream(term),
        (Some((_, sources)), None) if !is_page => Plan::Collect(sources),
        _ => Plan::Walk,
    }
}

/// The terms whose rows contain everything that the expression finds, and how many rows that are.
fn cheapest<'a>(node: &'a Expression, estimates: &Estimates) -> Option<(u32, Vec<&'a Term>)> {
    match node {
        Expression::All | Expression::Not(_) => None,
        Expression::Term(term) => Some((estimates.of(term), vec![term])),
        Expression::And(parts) => {
            parts.iter().filter_map(|part| cheapest(part, estimates)).min_by_key(|(rows, _)| *rows)
        }
        Expression::Or(parts) => {
            let mut sum = (0_u32, Vec::new());
            for part in parts {
                let (rows, sources) = cheapest(part, estimates)?;
                sum.0 = sum.0.saturating_add(rows);
                sum.1.extend(sources);
            }
            Some(sum)
        }
    }
}

/// An equality that everything must fulfil: the rarest.
fn streamable<'a>(node: &'a Expression, estimates: &Estimates) -> Option<&'a Term> {
    match node {
        Expression::Term(term) => {
            (term.field.is_some() && matches!(term.condition, Condition::Equal { .. })).then_some(term)
        }
        Expression::And(parts) => {
            let equalities = parts.iter().filter_map(|part| streamable(part, estimates));
            equalities.min_by_key(|term| estimates.of(term))
        }
        Expression::All | Expression::Not(_) | Expression::Or(_) => None,
    }
}

fn for_each_term(node: &Expression, visit: &mut dyn FnMut(&Term)) {
    match node {
        Expression::All => {}
        Expression::Term(term) => visit(term),
        Expression::Not(inner) => for_each_term(inner, visit),
        Expression::And(parts) | Expression::Or(parts) => parts.iter().for_each(|part| for_each_term(part, visit)),
    }
}
