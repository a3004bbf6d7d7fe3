//! Whether a query finds one document, without a database: for dynamic thing groups, and to test the SQL against.

use crate::document::{Document, is_searched_without_field};
use crate::limits::DocumentLimits;
use crate::query::{Bound, Condition, Expression, PatternToken, Query, Term};
use crate::terms::{TermValue, Terms};
use crate::text::number;

/// Whether the query finds the document.
#[must_use]
pub fn matches(query: &Query, document: &impl Document, limits: &DocumentLimits) -> bool {
    matches_terms(query, &Terms::of(document, limits))
}

/// The same for a document that was taken apart: with many queries, do that once.
#[must_use]
pub fn matches_terms(query: &Query, terms: &Terms) -> bool {
    expression(&query.root, terms)
}

/// Recurses as deeply as the query is nested, which the parser limits.
fn expression(node: &Expression, terms: &Terms) -> bool {
    match node {
        Expression::All => true,
        Expression::Term(term) => is_found(term, terms),
        Expression::Not(inner) => !expression(inner, terms),
        Expression::And(parts) => parts.iter().all(|part| expression(part, terms)),
        Expression::Or(parts) => parts.iter().any(|part| expression(part, terms)),
    }
}

fn is_found(term: &Term, terms: &Terms) -> bool {
    let field = term.field.as_deref();
    if term.condition == Condition::Exists {
        return terms.values.keys().any(|name| match field {
            None => is_searched_without_field(name),
            Some(field) => name.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        });
    }
    terms.looked_at(field).any(|value| match value {
        TermValue::Number(number) => is_number_found(&term.condition, *number),
        TermValue::Text(text) => is_text_found(&term.condition, text),
    })
}

fn is_number_found(condition: &Condition, value: f64) -> bool {
    match condition {
        Condition::Equal { number, .. } => *number == Some(value),
        Condition::Numbers(low, high) => is_within(&value, low, high),
        Condition::Exists | Condition::Phrase(_) | Condition::Pattern(_) | Condition::Texts(..) => false,
    }
}

fn is_text_found(condition: &Condition, text: &str) -> bool {
    let whole_or_word = |is_meant: &dyn Fn(&str) -> bool| is_meant(text) || text.split(' ').any(is_meant);
    match condition {
        Condition::Exists => true,
        Condition::Equal { text: wanted, .. } => whole_or_word(&|text| text == wanted),
        Condition::Phrase(phrase) => {
            let words: Vec<&str> = text.split(' ').collect();
            words.windows(phrase.len().max(1)).any(|words| words.iter().eq(phrase))
        }
        Condition::Pattern(tokens) => whole_or_word(&|text| is_like(tokens, text)),
        Condition::Numbers(low, high) => number(text).is_some_and(|number| is_within(&number, low, high)),
        Condition::Texts(low, high) => whole_or_word(&|text| is_within(&text.to_owned(), low, high)),
    }
}

fn is_within<T: PartialOrd>(value: &T, low: &Bound<T>, high: &Bound<T>) -> bool {
    let is_above = match low {
        Bound::Open => true,
        Bound::Including(low) => value >= low,
        Bound::Excluding(low) => value > low,
    };
    let is_below = match high {
        Bound::Open => true,
        Bound::Including(high) => value <= high,
        Bound::Excluding(high) => value < high,
    };
    is_above && is_below
}

/// Wildcards, by remembering the last `*` and what it began with: at most length times length steps.
fn is_like(tokens: &[PatternToken], text: &str) -> bool {
    let (mut pattern, mut rest) = (tokens, text);
    let mut retry: Option<(&[PatternToken], &str)> = None;
    loop {
        match (pattern.split_first(), rest.chars().next()) {
            (Some((PatternToken::Many, after)), _) => {
                retry = Some((after, rest));
                pattern = after;
                continue;
            }
            (Some((token, after)), Some(first)) if matches!(token, PatternToken::One) || is(token, first) => {
                pattern = after;
                rest = skip(rest);
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        // it went wrong: the last `*` takes one character more
        match retry {
            Some((after, start)) if !start.is_empty() => {
                (pattern, rest) = (after, skip(start));
                retry = Some((after, rest));
            }
            _ => return false,
        }
    }
}

fn is(token: &PatternToken, character: char) -> bool {
    *token == PatternToken::Character(character)
}

fn skip(text: &str) -> &str {
    let mut characters = text.chars();
    characters.next();
    characters.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_any_run_and_any_one() {
        let tokens = |pattern: &str| -> Vec<PatternToken> {
            let token = |character| match character {
                '*' => PatternToken::Many,
                '?' => PatternToken::One,
                character => PatternToken::Character(character),
            };
            pattern.chars().map(token).collect()
        };
        for (pattern, found, missed) in [
            ("i*t", &["it", "iot", "i..t"][..], &["i", "t", "its", "xit"][..]),
            ("ab?", &["abc", "abä"], &["ab", "abcd"]),
            ("*my", &["my", "mymy", "xmy"], &["myx"]),
            ("*a*b*", &["ab", "xaxbx"], &["ba"]),
            ("a*?", &["ab", "abc"], &["a"]),
            ("*", &["", "x"], &[]),
        ] {
            found.iter().for_each(|text| assert!(is_like(&tokens(pattern), text), "{pattern} {text}"));
            missed.iter().for_each(|text| assert!(!is_like(&tokens(pattern), text), "{pattern} {text}"));
        }
    }

    #[test]
    fn a_pattern_that_almost_matches_takes_little_time() {
        let mut tokens = vec![PatternToken::Many; 0];
        (0..100).for_each(|_| tokens.extend([PatternToken::Many, PatternToken::Character('a')]));
        tokens.push(PatternToken::Character('b'));
        assert!(!is_like(&tokens, &"a".repeat(1_024)));
    }
}
