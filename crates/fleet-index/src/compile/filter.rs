//! A query decided for one document, `d`, whose name is `c.name`: an equality is decided before the document is read.

use super::source::{below, condition, searched};
use crate::query::{Condition, Expression, Term};
use crate::schema::Index;
use crate::statement::Parameters;
use crate::terms::is_nameable;

/// The condition; `None` when all documents fulfil it. `decided` is a term that the documents come from: where it must
/// hold for all of them, it is left out.
pub(super) fn filter(
    index: Index,
    node: &Expression,
    decided: Option<&Term>,
    parameters: &mut Parameters,
) -> Option<String> {
    match node {
        Expression::All => None,
        Expression::Term(one) if decided.is_some_and(|decided| decided.index == one.index) => None,
        Expression::Term(one) => Some(term(index, one, parameters)),
        Expression::And(parts) => {
            let parts: Vec<String> = parts.iter().filter_map(|part| filter(index, part, decided, parameters)).collect();
            (!parts.is_empty()).then(|| parenthesised(&parts, " AND "))
        }
        // below here a term may be false although the documents come from it, or the whole may be true without it
        Expression::Or(parts) => {
            // asked first: what has been written has bound parameters
            if parts.iter().any(is_always) {
                return None;
            }
            let parts: Vec<String> = parts.iter().filter_map(|part| filter(index, part, None, parameters)).collect();
            Some(parenthesised(&parts, " OR "))
        }
        Expression::Not(inner) => {
            let inner = filter(index, inner, None, parameters).unwrap_or_else(|| "1".to_owned());
            Some(format!("NOT {inner}"))
        }
    }
}

/// Whether every document fulfils it, as [`filter`] sees it.
fn is_always(node: &Expression) -> bool {
    match node {
        Expression::All => true,
        Expression::Term(_) | Expression::Not(_) => false,
        Expression::And(parts) => parts.iter().all(is_always),
        Expression::Or(parts) => parts.iter().any(is_always),
    }
}

/// An operator between many operands is as deep as they are many, which the limit of terms keeps far below D1's.
fn parenthesised(parts: &[String], operator: &str) -> String {
    format!("({})", parts.join(operator))
}

fn term(index: Index, term: &Term, parameters: &mut Parameters) -> String {
    // No document has such a field, and SQLite would refuse the path.
    if term.field.as_deref().is_some_and(|field| !is_nameable(field)) {
        return "0".to_owned();
    }
    match (&term.field, &term.condition) {
        (Some(field), condition @ Condition::Equal { .. }) => {
            let field = parameters.bind(field.as_str());
            let value = self::condition(condition, "t.value", Some("t.kind"), parameters);
            let table = index.terms();
            format!("EXISTS (SELECT 1 FROM {table} t WHERE t.field = {field}{value} AND t.name = c.name)")
        }
        (Some(field), Condition::Exists) => {
            let is_it = format!("f.key = {}", parameters.bind(field.as_str()));
            let is_below = below(field, "f.key", parameters);
            format!("EXISTS (SELECT 1 FROM json_each(d.terms, '$.v') f WHERE {is_it} OR {is_below})")
        }
        (None, Condition::Exists) => {
            format!("EXISTS (SELECT 1 FROM json_each(d.terms, '$.v') f WHERE {})", searched("f.key"))
        }
        (field, Condition::Phrase(words)) => {
            let phrase = parameters.bind(format!(" {} ", words.join(" ")));
            let is_there = format!(" AND instr(' ' || v.value || ' ', {phrase}) > 0");
            any(field.as_deref(), &["v"], &is_there, parameters)
        }
        (field, condition @ Condition::Equal { .. }) => {
            let is_it = self::condition(condition, "v.value", None, parameters);
            any(field.as_deref(), &["v", "w"], &is_it, parameters)
        }
        (field, condition @ Condition::Numbers(..)) => {
            let is_it = self::condition(condition, "v.value", None, parameters);
            any(field.as_deref(), &["v", "n"], &is_it, parameters)
        }
        (field, condition @ (Condition::Pattern(_) | Condition::Texts(..))) => {
            let is_it = self::condition(condition, "v.value", None, parameters);
            any(field.as_deref(), &["v", "w"], &is_it, parameters)
        }
    }
}

/// Whether a value in one of these sections of the document's terms fulfils the condition.
fn any(field: Option<&str>, sections: &[&str], condition: &str, parameters: &mut Parameters) -> String {
    let exists = |section: &&str| match field {
        Some(field) => {
            let path = parameters.bind(format!("\"{field}\""));
            format!("EXISTS (SELECT 1 FROM json_each(d.terms, '$.{section}.' || {path}) v WHERE 1{condition})")
        }
        None => {
            let is_searched = searched("f.key");
            format!(
                "EXISTS (SELECT 1 FROM json_each(d.terms, '$.{section}') f, json_each(f.value) v \
                 WHERE {is_searched}{condition})"
            )
        }
    };
    let exists: Vec<String> = sections.iter().map(exists).collect();
    parenthesised(&exists, " OR ")
}
