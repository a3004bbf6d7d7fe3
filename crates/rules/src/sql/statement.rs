//! The clauses of a statement: `SELECT … [FROM '…'] [WHERE …]`.

use super::dialect::{IotDialect, expected, expression, fail, peek_is, with_membership_operators, word};
use super::error;
use crate::error::SqlError;
use crate::limits::{MAX_ALIAS_SEGMENTS, MAX_EXPRESSION_DEPTH};
use sqlparser::ast::{Expr, helpers::attached_token::AttachedToken};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace};

pub(super) struct Statement {
    pub(super) items: Vec<SelectItem>,
    /// The topic filter and where it stands.
    pub(super) from: Option<(String, Location)>,
    pub(super) condition: Option<Expr>,
}

pub(super) enum SelectItem {
    Spread(Expr, Location),
    Expression { expr: Expr, alias: Option<Vec<String>>, location: Location },
}

pub(super) fn parse(sql: &str) -> Result<Statement, SqlError> {
    let dialect = IotDialect::default();
    let tokens = Tokenizer::new(&dialect, sql)
        .tokenize_with_location()
        .map_err(|failure| error(failure.message, failure.location))?;
    if let Some(comment) = tokens.iter().find(|token| is_comment(&token.token)) {
        return Err(error("comments are not part of AWS IoT SQL", comment.span.start));
    }
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(MAX_EXPRESSION_DEPTH)
        .with_tokens_with_locations(with_membership_operators(tokens));
    statement(&dialect, &mut parser).map_err(|failure| describe(&failure, &parser, end_of(sql)))
}

fn is_comment(token: &Token) -> bool {
    matches!(token, Token::Whitespace(Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_)))
}

fn statement(dialect: &IotDialect, parser: &mut Parser<'_>) -> Result<Statement, ParserError> {
    if peek_is(parser, Keyword::SET) {
        return fail("SET is not supported", parser.peek_token_ref().span.start);
    }
    word(parser, Keyword::SELECT, "SELECT")?;
    if selects_value(parser) {
        return fail("SELECT VALUE is not supported", parser.peek_token_ref().span.start);
    }
    let mut items = vec![item(dialect, parser)?];
    while parser.consume_token(&Token::Comma) {
        items.push(item(dialect, parser)?);
    }
    let from = if parser.parse_keyword(Keyword::FROM) { Some(topic_filter(parser)?) } else { None };
    let condition = if parser.parse_keyword(Keyword::WHERE) { Some(expression(dialect, parser)?) } else { None };
    let end = parser.next_token();
    if end.token != Token::EOF {
        return expected("the end of the statement", &end.token, end.span.start);
    }
    Ok(Statement { items, from, condition })
}

/// Whether `VALUE` is the keyword: then an expression follows, which never follows the member `value`.
fn selects_value(parser: &Parser<'_>) -> bool {
    if !peek_is(parser, Keyword::VALUE) {
        return false;
    }
    match &parser.peek_nth_token_ref(1).token {
        Token::Word(word) => {
            !matches!(word.keyword, Keyword::AS | Keyword::FROM | Keyword::WHERE | Keyword::AND | Keyword::OR)
        }
        Token::Number(..) | Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) | Token::LBrace => true,
        Token::Mul => matches!(&parser.peek_nth_token_ref(2).token, Token::Word(word) if word.keyword == Keyword::FROM),
        _ => false,
    }
}

fn item(dialect: &IotDialect, parser: &mut Parser<'_>) -> Result<SelectItem, ParserError> {
    let TokenWithSpan { token, span } = parser.peek_token();
    let location = span.start;
    if token == Token::Mul {
        let star = parser.next_token();
        return Ok(SelectItem::Spread(Expr::Wildcard(AttachedToken(star)), location));
    }
    let expr = expression(dialect, parser)?;
    if parser.consume_tokens(&[Token::Period, Token::Mul]) {
        return Ok(SelectItem::Spread(expr, location));
    }
    let alias = if parser.parse_keyword(Keyword::AS) { Some(alias(parser)?) } else { None };
    Ok(SelectItem::Expression { expr, alias, location })
}

/// `name` or `name.name…`.
fn alias(parser: &mut Parser<'_>) -> Result<Vec<String>, ParserError> {
    let mut segments = Vec::new();
    loop {
        let token = parser.next_token();
        let Token::Word(word) = token.token else {
            return expected("a name", &token.token, token.span.start);
        };
        if segments.len() == MAX_ALIAS_SEGMENTS {
            return fail(format!("an alias has at most {MAX_ALIAS_SEGMENTS} segments"), token.span.start);
        }
        segments.push(word.value);
        if !parser.consume_token(&Token::Period) {
            return Ok(segments);
        }
    }
}

fn topic_filter(parser: &mut Parser<'_>) -> Result<(String, Location), ParserError> {
    let token = parser.next_token();
    match token.token {
        Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => Ok((text, token.span.start)),
        other => expected("a topic filter in quotes", &other, token.span.start),
    }
}

/// `sqlparser` writes the place of an error at the end of its text, or not at all when that is the statement's end.
fn describe(failure: &ParserError, parser: &Parser<'_>, end: Location) -> SqlError {
    let (ParserError::ParserError(text) | ParserError::TokenizerError(text)) = failure else {
        let here = parser.peek_token_ref().span.start;
        return error(format!("expressions nest deeper than {MAX_EXPRESSION_DEPTH} levels"), here);
    };
    let placed = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((message, Location { line: line.parse().ok()?, column: column.parse().ok()? }))
    });
    let (message, location) = placed.unwrap_or((text, end));
    let message =
        message.strip_prefix("Expected: ").map_or_else(|| message.to_owned(), |rest| format!("expected {rest}"));
    error(shown_message(&message), location)
}

/// The place behind the last character.
fn end_of(sql: &str) -> Location {
    let last_line = sql.rsplit('\n').next().unwrap_or_default();
    let position = |count: usize| u64::try_from(count).unwrap_or(u64::MAX).saturating_add(1);
    Location { line: position(sql.matches('\n').count()), column: position(last_line.chars().count()) }
}

/// A message of `sqlparser` may repeat a literal of any length.
fn shown_message(message: &str) -> String {
    const LONGEST: usize = 300;
    match message.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message.to_owned(),
    }
}
