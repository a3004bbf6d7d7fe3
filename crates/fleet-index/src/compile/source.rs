//! The names that a term finds, read from the rows.

use crate::document::REGISTRY_VERSION;
use crate::query::{Bound, Condition, PatternToken, Term, glob};
use crate::schema::Index;
use crate::statement::Parameters;
use crate::text::after_prefix;

/// D1's most parts of a compound SELECT.
const MAXIMUM_COMPOUND: usize = 5;

/// A SELECT of names that one of the terms finds, some of them twice.
pub(super) fn collect(index: Index, terms: &[&Term], after: Option<&str>, parameters: &mut Parameters) -> String {
    let mut arms = Vec::new();
    for term in terms {
        let after = after.map(|after| format!(" AND t.name > {}", parameters.bind(after))).unwrap_or_default();
        let table = index.terms();
        match &term.field {
            Some(field) if term.condition == Condition::Exists => {
                let is_it = format!("t.field = {}", parameters.bind(field.as_str()));
                let is_below = below(field, "t.field", parameters);
                for condition in [is_it, is_below] {
                    arms.push(format!("SELECT t.name FROM {table} t WHERE {condition}{after}"));
                }
            }
            Some(field) => {
                let field = parameters.bind(field.as_str());
                let condition = condition(&term.condition, "t.value", Some("t.kind"), parameters);
                arms.push(format!("SELECT t.name FROM {table} t WHERE t.field = {field}{condition}{after}"));
            }
            None => {
                // One search for each field that there is: the next field is found by the key.
                let condition = condition(&term.condition, "t.value", Some("t.kind"), parameters);
                let is_searched = searched("f.field");
                arms.push(format!(
                    "SELECT t.name FROM (WITH RECURSIVE fields (field) AS (SELECT min(field) FROM {table} UNION ALL \
                     SELECT (SELECT min(n.field) FROM {table} n WHERE n.field > fields.field) FROM fields \
                     WHERE fields.field IS NOT NULL) SELECT field FROM fields) f \
                     CROSS JOIN {table} t ON t.field = f.field WHERE {is_searched}{condition}{after}"
                ));
            }
        }
    }
    union_all(arms)
}

/// Names in their order, from an equality.
pub(super) fn stream(table: &str, term: &Term, after: Option<&str>, parameters: &mut Parameters) -> String {
    let Condition::Equal { text, number } = &term.condition else { return String::new() };
    let field = parameters.bind(term.field.as_deref().unwrap_or_default());
    let text = parameters.bind(text.as_str());
    let after = after.map(|after| format!(" AND name > {}", parameters.bind(after))).unwrap_or_default();
    let texts = format!("SELECT name FROM {table} WHERE field = {field} AND value = {text}{after}");
    // A subquery keeps its order only if it has a limit; of the two parts SQLite merges what is in order.
    match number {
        None => format!("({texts} ORDER BY name LIMIT -1)"),
        Some(number) => {
            let number = parameters.bind_number(*number);
            format!(
                "({texts} UNION SELECT name FROM {table} WHERE field = {field} AND value = {number} AND kind = 1{after} \
                 ORDER BY name LIMIT -1)"
            )
        }
    }
}

/// Whether the rows of a term are exactly the documents that it finds. A phrase is looked for by one of its words.
pub(super) fn is_exact(term: &Term) -> bool {
    !matches!(term.condition, Condition::Phrase(_))
}

/// The fields below one.
pub(super) fn below(field: &str, column: &str, parameters: &mut Parameters) -> String {
    let (from, to) = (parameters.bind(format!("{field}.")), parameters.bind(format!("{field}/")));
    format!("{column} >= {from} AND {column} < {to}")
}

/// [`is_searched_without_field`](crate::document::is_searched_without_field) in SQL.
pub(super) fn searched(column: &str) -> String {
    format!(
        "{column} NOT IN ('{REGISTRY_VERSION}', 'version') AND NOT ({column} >= 'connectivity.' AND \
         {column} < 'connectivity/')"
    )
}

/// What a value must be, as ` AND …`. Without a column for the kind the value is never the number of a text.
pub(super) fn condition(condition: &Condition, value: &str, kind: Option<&str>, parameters: &mut Parameters) -> String {
    match condition {
        Condition::Exists => String::new(),
        Condition::Equal { text, number } => {
            let text = parameters.bind(text.as_str());
            let Some(number) = number else { return format!(" AND {value} = {text}") };
            let number = parameters.bind_number(*number);
            let kind = kind.map(|kind| format!(" AND {kind} <> 2")).unwrap_or_default();
            format!(" AND {value} IN ({text}, {number}){kind}")
        }
        // The longest word is the rarest, as a rule.
        Condition::Phrase(words) => {
            let word = words.iter().max_by_key(|word| word.len()).map(String::as_str).unwrap_or_default();
            format!(" AND {value} = {}", parameters.bind(word))
        }
        Condition::Pattern(tokens) => pattern(tokens, value, parameters),
        Condition::Numbers(low, high) => {
            let low = match low {
                Bound::Open => String::new(),
                Bound::Including(low) => format!(" AND {value} >= {}", parameters.bind_number(*low)),
                Bound::Excluding(low) => format!(" AND {value} > {}", parameters.bind_number(*low)),
            };
            let high = match high {
                // every text is greater than every number, and the empty one is the least
                Bound::Open => format!(" AND {value} < ''"),
                Bound::Including(high) => format!(" AND {value} <= {}", parameters.bind_number(*high)),
                Bound::Excluding(high) => format!(" AND {value} < {}", parameters.bind_number(*high)),
            };
            low + &high
        }
        Condition::Texts(low, high) => {
            let low = match low {
                Bound::Open => format!(" AND {value} >= ''"),
                Bound::Including(low) => format!(" AND {value} >= {}", parameters.bind(low.as_str())),
                Bound::Excluding(low) => format!(" AND {value} > {}", parameters.bind(low.as_str())),
            };
            let high = match high {
                Bound::Open => String::new(),
                Bound::Including(high) => format!(" AND {value} <= {}", parameters.bind(high.as_str())),
                Bound::Excluding(high) => format!(" AND {value} < {}", parameters.bind(high.as_str())),
            };
            low + &high
        }
    }
}

/// What stands before the first wildcard is a range of the key; only the rest is a GLOB, whose length D1 limits.
fn pattern(tokens: &[PatternToken], value: &str, parameters: &mut Parameters) -> String {
    let literal = |token: &PatternToken| match token {
        PatternToken::Character(character) => Some(*character),
        PatternToken::One | PatternToken::Many => None,
    };
    let prefix: String = tokens.iter().map_while(literal).collect();
    let length = prefix.chars().count();
    let mut condition = format!(" AND {value} >= {}", parameters.bind(prefix.as_str()));
    if let Some(end) = after_prefix(&prefix) {
        condition += &format!(" AND {value} < {}", parameters.bind(end));
    }
    match tokens.get(length..) {
        Some([PatternToken::Many]) => condition,
        Some(rest) => {
            let glob = parameters.bind(glob(rest.iter().copied()));
            format!("{condition} AND substr({value}, {}) GLOB {glob}", length + 1)
        }
        None => condition,
    }
}

/// Any number of SELECTs as one, with at most five side by side.
fn union_all(mut arms: Vec<String>) -> String {
    while arms.len() > MAXIMUM_COMPOUND {
        let groups = arms.chunks(MAXIMUM_COMPOUND);
        arms = groups.map(|group| format!("SELECT name FROM ({} LIMIT -1)", group.join(" UNION ALL "))).collect();
    }
    arms.join(" UNION ALL ")
}
