//! The parser: one pass over the characters, recursion only into parentheses and negations, and that counted.

use super::value::{Comparable, Value, Word, between, glob, search_field};
use super::{Bound, Condition, Expression, PatternToken, Query, Term};
use crate::error::{Problem, QueryError};
use crate::limits::Limits;
use crate::text::{is_whitespace, lower_case, normalise, number};

/// No limit may let the parser recurse deeper than this.
const MAXIMUM_NESTING: usize = 40;

/// D1's longest pattern of a GLOB, in bytes.
pub(crate) const MAXIMUM_GLOB_BYTES: usize = 50;

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// [`QueryError`] with what is wrong and where.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, QueryError> {
        let characters: Vec<char> = text.chars().take(limits.query_length.saturating_add(1)).collect();
        if characters.len() > limits.query_length {
            return Err(QueryError { problem: Problem::TooLong(limits.query_length), position: limits.query_length });
        }
        let nesting = limits.query_nesting.min(MAXIMUM_NESTING);
        let mut parser =
            Parser { characters: &characters, at: 0, limits, nesting, depth: 0, terms: 0, leading_wildcards: 0 };
        parser.skip_whitespace();
        if parser.peek().is_none() {
            return Err(parser.error(Problem::Empty));
        }
        let root = parser.disjunction(None)?;
        if let Some(character) = parser.peek() {
            return Err(parser.error(Problem::Unexpected(character)));
        }
        let has_leading_wildcard = parser.leading_wildcards > 0;
        if has_leading_wildcard && characters.len() > limits.leading_wildcard_query_length {
            let problem = Problem::LeadingWildcardTooLong(limits.leading_wildcard_query_length);
            return Err(QueryError { problem, position: 0 });
        }
        Ok(Self { root, terms: parser.terms })
    }
}

struct Parser<'a> {
    characters: &'a [char],
    at: usize,
    limits: &'a Limits,
    nesting: usize,
    depth: usize,
    terms: usize,
    leading_wildcards: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn next_is(&self, wanted: impl Fn(char) -> bool) -> bool {
        self.peek().is_some_and(wanted)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn skip_whitespace(&mut self) {
        while self.next_is(is_whitespace) {
            self.at += 1;
        }
    }

    fn error(&self, problem: Problem) -> QueryError {
        QueryError { problem, position: self.at }
    }

    /// Whether the next word is this operator, in capitals, not escaped, and ends there.
    fn take_operator(&mut self, operator: &str) -> bool {
        let end = self.at + operator.len();
        let is_there = self.characters.get(self.at..end).is_some_and(|word| word.iter().copied().eq(operator.chars()));
        // what makes it the name of a field, as in `OR:x`, does not end it
        let ends = self.characters.get(end).is_none_or(|next| is_whitespace(*next) || matches!(next, '(' | ')' | '"'));
        if is_there && ends {
            self.at = end;
            self.skip_whitespace();
        }
        is_there && ends
    }

    fn disjunction(&mut self, field: Option<&str>) -> Result<Expression, QueryError> {
        let mut parts = vec![self.conjunction(field)?];
        while self.take_operator("OR") {
            parts.push(self.conjunction(field)?);
        }
        Ok(one_or(parts, Expression::Or))
    }

    fn conjunction(&mut self, field: Option<&str>) -> Result<Expression, QueryError> {
        let mut parts = vec![self.negation(field)?];
        loop {
            let is_operator = self.take_operator("AND");
            let position = self.at;
            if !is_operator {
                let ends = self.take_operator("OR");
                self.at = position;
                if ends || self.peek().is_none() || self.next_is(|next| next == ')') {
                    break;
                }
            }
            parts.push(self.negation(field)?);
        }
        Ok(one_or(parts, Expression::And))
    }

    /// Signs before a clause are counted, not recursed into.
    fn negation(&mut self, field: Option<&str>) -> Result<Expression, QueryError> {
        let (mut is_negated, mut signs) = (false, 0_usize);
        loop {
            if self.take_operator("NOT") {
                is_negated = !is_negated;
            } else if self.next_is(|next| matches!(next, '-' | '+')) {
                let is_minus = self.take('-');
                is_negated ^= is_minus;
                self.at += usize::from(!is_minus);
                // `- a` would be a term that is a hyphen in AWS's eyes: nobody means that
                if self.peek().is_none_or(is_whitespace) {
                    return Err(self.error(Problem::TermExpected));
                }
            } else {
                break;
            }
            signs += 1;
            if signs > self.nesting {
                return Err(self.error(Problem::TooDeep(self.nesting)));
            }
        }
        let clause = self.clause(field)?;
        self.skip_whitespace();
        Ok(if is_negated { Expression::Not(Box::new(clause)) } else { clause })
    }

    fn clause(&mut self, field: Option<&str>) -> Result<Expression, QueryError> {
        match self.peek() {
            None => Err(self.error(Problem::TermExpected)),
            Some('(') => self.group(field),
            Some(')') => Err(self.error(Problem::TermExpected)),
            Some('"') => {
                let value = self.quoted()?;
                self.term(field, Value::Quoted(value))
            }
            Some('[' | '{' | '<' | '>') => match field {
                Some(field) => self.condition(field),
                None => Err(self.error(Problem::FieldExpected)),
            },
            Some(first @ (':' | ']' | '}')) => Err(self.error(Problem::Unexpected(first))),
            Some(_) => {
                let start = self.at;
                if self.take_operator("AND") || self.take_operator("OR") {
                    self.at = start;
                    return Err(self.error(Problem::TermExpected));
                }
                let word = self.word(true)?;
                let end = self.at;
                self.skip_whitespace();
                if !self.next_is(|next| matches!(next, ':' | '<' | '>')) {
                    self.at = end;
                    return self.term(field, Value::Word(word));
                }
                if word.has_wildcard() {
                    return Err(QueryError { problem: Problem::Wildcard, position: word.position });
                }
                let field = word.text();
                if self.take(':') {
                    self.skip_whitespace();
                    if self.next_is(|next| next == '(') {
                        return self.group(Some(&field));
                    }
                }
                self.condition(&field)
            }
        }
    }

    fn group(&mut self, field: Option<&str>) -> Result<Expression, QueryError> {
        let open = self.at;
        if self.depth >= self.nesting {
            return Err(self.error(Problem::TooDeep(self.nesting)));
        }
        self.depth += 1;
        self.at += 1;
        self.skip_whitespace();
        let inner = self.disjunction(field)?;
        self.depth -= 1;
        if self.take(')') { Ok(inner) } else { Err(QueryError { problem: Problem::NotClosed('('), position: open }) }
    }

    /// What follows `field:` or stands in a field's group: a value, a comparison or a range.
    fn condition(&mut self, field: &str) -> Result<Expression, QueryError> {
        match self.peek() {
            Some('[' | '{') => self.range(field),
            Some(comparison @ ('<' | '>')) => {
                self.at += 1;
                let includes = self.take('=');
                self.skip_whitespace();
                let value = self.value(field)?;
                let value = self.bound(value)?;
                let bound = |is_here: bool| match &value {
                    Some(value) if is_here && includes => Bound::Including(value.clone()),
                    Some(value) if is_here => Bound::Excluding(value.clone()),
                    _ => Bound::Open,
                };
                if value.is_none() {
                    return Err(self.error(Problem::Wildcard));
                }
                let condition = between(bound(comparison == '>'), bound(comparison == '<'));
                self.count(Some(field), condition)
            }
            _ => {
                let value = self.value(field)?;
                self.term(Some(field), value)
            }
        }
    }

    fn value(&mut self, field: &str) -> Result<Value, QueryError> {
        match self.peek() {
            None | Some(')' | ']' | '}') => Err(self.error(Problem::ValueExpected(field.to_owned()))),
            Some('"') => self.quoted().map(Value::Quoted),
            Some(first @ ('(' | '[' | '{' | '<' | '>')) => Err(self.error(Problem::Unexpected(first))),
            Some(_) => self.word(false).map(Value::Word),
        }
    }

    fn range(&mut self, field: &str) -> Result<Expression, QueryError> {
        let open = self.at;
        let includes_low = self.take('[');
        self.at += usize::from(!includes_low);
        self.skip_whitespace();
        let low = self.range_value(open)?;
        if !self.take_operator("TO") {
            return Err(self.error(Problem::Range));
        }
        let high = self.range_value(open)?;
        let includes_high = self.take(']');
        if !includes_high && !self.take('}') {
            let symbol = if includes_low { '[' } else { '{' };
            return Err(QueryError { problem: Problem::NotClosed(symbol), position: open });
        }
        let bound = |value: Option<Comparable>, includes: bool| match value {
            None => Bound::Open,
            Some(value) if includes => Bound::Including(value),
            Some(value) => Bound::Excluding(value),
        };
        self.count(Some(field), between(bound(low, includes_low), bound(high, includes_high)))
    }

    fn range_value(&mut self, open: usize) -> Result<Option<Comparable>, QueryError> {
        let value = match self.peek() {
            None => return Err(QueryError { problem: Problem::Range, position: open }),
            Some('"') => Value::Quoted(self.quoted()?),
            Some(']' | '}' | '[' | '{' | '(' | ')') => return Err(self.error(Problem::Range)),
            Some(_) => Value::Word(self.word(false)?),
        };
        let value = self.bound(value)?;
        self.skip_whitespace();
        Ok(value)
    }

    /// The side of a comparison or range; `None` for `*`.
    fn bound(&self, value: Value) -> Result<Option<Comparable>, QueryError> {
        match value {
            Value::Quoted(text) => Ok(Some(Comparable { number: None, text: self.normalise(&text) })),
            Value::Word(word) if word.is_stars() => Ok(None),
            Value::Word(word) if word.has_wildcard() => {
                Err(QueryError { problem: Problem::Wildcard, position: word.position })
            }
            Value::Word(word) => {
                let text = word.text();
                Ok(Some(Comparable { number: number(&text), text: self.normalise(&text) }))
            }
        }
    }

    fn normalise(&self, text: &str) -> String {
        normalise(text, self.limits.document.text_length)
    }

    fn term(&mut self, field: Option<&str>, value: Value) -> Result<Expression, QueryError> {
        let condition = match value {
            Value::Quoted(text) => self.phrase(&text),
            Value::Word(word) if word.is_stars() && field.is_none() => return Ok(Expression::All),
            Value::Word(word) if word.is_stars() => Condition::Exists,
            Value::Word(word) if word.has_wildcard() => self.pattern(&word)?,
            Value::Word(word) => {
                self.refuse_other_languages(&word)?;
                self.phrase(&word.text())
            }
        };
        self.count(field, condition)
    }

    fn phrase(&self, text: &str) -> Condition {
        let text = self.normalise(text);
        if text.contains(' ') {
            return Condition::Phrase(text.split(' ').map(str::to_owned).collect());
        }
        Condition::Equal { number: number(&text), text }
    }

    fn pattern(&mut self, word: &Word) -> Result<Condition, QueryError> {
        self.refuse_other_languages(word)?;
        let mut tokens = Vec::with_capacity(word.characters.len());
        for character in &word.characters {
            match character {
                ('*', false) if tokens.last() == Some(&PatternToken::Many) => {}
                ('*', false) => tokens.push(PatternToken::Many),
                ('?', false) => tokens.push(PatternToken::One),
                (character, _) => tokens.extend(lower_case(*character).map(PatternToken::Character)),
            }
        }
        let rest = tokens.iter().skip_while(|token| matches!(token, PatternToken::Character(_)));
        if glob(rest.copied()).len() > MAXIMUM_GLOB_BYTES {
            let problem = Problem::PatternTooLong(MAXIMUM_GLOB_BYTES);
            return Err(QueryError { problem, position: word.position });
        }
        if !matches!(tokens.first(), Some(PatternToken::Character(_))) {
            self.leading_wildcards += 1;
            if self.leading_wildcards > self.limits.leading_wildcards {
                let problem = Problem::TooManyLeadingWildcards(self.limits.leading_wildcards);
                return Err(QueryError { problem, position: word.position });
            }
        }
        Ok(Condition::Pattern(tokens))
    }

    /// Fuzzy searches and boosting are Lucene's, geoqueries AWS's. A text that happens to look like one is quoted.
    fn refuse_other_languages(&self, word: &Word) -> Result<(), QueryError> {
        let refuse = |what| Err(QueryError { problem: Problem::Unsupported(what), position: word.position });
        if word.text().to_ascii_lowercase().starts_with("geo_distance,") {
            return refuse("A geoquery");
        }
        match word.characters.iter().find(|character| matches!(character, ('~' | '^', false))) {
            Some(('~', _)) => refuse("A fuzzy search (~)"),
            Some(_) => refuse("Boosting (^)"),
            None => Ok(()),
        }
    }

    fn count(&mut self, field: Option<&str>, condition: Condition) -> Result<Expression, QueryError> {
        if self.terms >= self.limits.query_terms {
            return Err(self.error(Problem::TooManyTerms(self.limits.query_terms)));
        }
        let index = self.terms;
        self.terms += 1;
        let field = field.map(|field| search_field(field).to_owned());
        Ok(Expression::Term(Term { index, field, condition }))
    }

    /// Characters up to white space, a parenthesis, bracket or quote; with `is_first` also up to what ends a field.
    fn word(&mut self, is_first: bool) -> Result<Word, QueryError> {
        let mut word = Word { characters: Vec::new(), position: self.at };
        while let Some(character) = self.peek() {
            match character {
                '(' | ')' | '[' | ']' | '{' | '}' | '"' => break,
                ':' | '<' | '>' if is_first => break,
                _ if is_whitespace(character) => break,
                '\\' => {
                    self.at += 1;
                    let escaped = self.peek().ok_or_else(|| self.error(Problem::Escape))?;
                    word.characters.push((escaped, true));
                }
                _ => word.characters.push((character, false)),
            }
            self.at += 1;
        }
        if word.characters.is_empty() || word.is("TO") && !is_first {
            return Err(QueryError { problem: Problem::TermExpected, position: word.position });
        }
        Ok(word)
    }

    fn quoted(&mut self) -> Result<String, QueryError> {
        let open = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek() {
                None => return Err(QueryError { problem: Problem::NotClosed('"'), position: open }),
                Some('"') => break,
                Some('\\') => {
                    self.at += 1;
                    text.push(self.peek().ok_or_else(|| self.error(Problem::Escape))?);
                }
                Some(character) => text.push(character),
            }
            self.at += 1;
        }
        self.at += 1;
        Ok(text)
    }
}

fn one_or(mut parts: Vec<Expression>, several: impl FnOnce(Vec<Expression>) -> Expression) -> Expression {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            several(parts)
        }
    }
}
