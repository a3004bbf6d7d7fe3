//! The dialect: AWS IoT SQL's expressions, on top of `sqlparser`'s tokenizer and precedence climbing.
//!
//! Every prefix is parsed here, none by `sqlparser` itself. Its own rules give meaning to names that are ordinary
//! members of a payload (`timestamp`, `date`, `interval`), know functions by special syntax (`substring(a FROM 1)`),
//! parse subqueries, and try one reading after another, which takes exponential time on the wrong input.

use crate::limits::MAX_OPERATORS;
use core::cell::Cell;
use sqlparser::ast::{
    AccessExpr, Array, DictionaryField, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, Subscript, UnaryOperator, Value, helpers::attached_token::AttachedToken,
};
use sqlparser::dialect::{Dialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Word};

/// The operators whose operands `sqlparser` would look for in a way of its own. [`with_membership_operators`] turns
/// them into custom ones, which take part in the climbing as all others do.
pub(super) const IN: &str = "IN";
/// See [`IN`].
pub(super) const NOT_IN: &str = "NOT IN";

/// The tokens of a statement without white space, and `IN` and `NOT IN` as one operator each.
pub(super) fn with_membership_operators(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let is = |token: &Token, keyword| matches!(token, Token::Word(word) if word.keyword == keyword);
    let mut result: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for mut token in tokens {
        if matches!(token.token, Token::Whitespace(_)) {
            continue;
        }
        // Behind a point it is a member's name.
        if is(&token.token, Keyword::IN) && result.last().is_none_or(|last| last.token != Token::Period) {
            let negated = result.last().is_some_and(|last| is(&last.token, Keyword::NOT));
            if negated && let Some(not) = result.pop() {
                token.span.start = not.span.start;
            }
            token.token = Token::CustomBinaryOperator(if negated { NOT_IN } else { IN }.to_owned());
        }
        result.push(token);
    }
    result
}

/// One per statement: it counts the operators.
#[derive(Debug, Default)]
pub(super) struct IotDialect {
    operators: Cell<usize>,
}

impl Dialect for IotDialect {
    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_'
    }

    /// `"text"` is a string, as `'text'` is.
    fn is_delimited_identifier_start(&self, _ch: char) -> bool {
        false
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        Some(prefix(self, parser).and_then(|root| access(parser, root)))
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        match &parser.peek_token_ref().token {
            Token::CustomBinaryOperator(_) => Some(Ok(self.prec_value(Precedence::Between))),
            _ => None,
        }
    }

    fn parse_infix(&self, parser: &mut Parser<'_>, _expr: &Expr, _precedence: u8) -> Option<Result<Expr, ParserError>> {
        let location = parser.peek_token_ref().span.start;
        self.operators.set(self.operators.get() + 1);
        if self.operators.get() > MAX_OPERATORS {
            return Some(fail(format!("the statement has more than {MAX_OPERATORS} operators"), location));
        }
        match &parser.peek_token_ref().token {
            Token::Eq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq => None,
            Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod => None,
            Token::Word(word) if matches!(word.keyword, Keyword::AND | Keyword::OR) => None,
            Token::CustomBinaryOperator(name) if name == IN || name == NOT_IN => None,
            other => Some(fail(format!("{} is not an operator of AWS IoT SQL", shown(other)), location)),
        }
    }
}

pub(super) fn fail<T>(message: impl core::fmt::Display, location: Location) -> Result<T, ParserError> {
    Err(ParserError::ParserError(format!("{message}{location}")))
}

/// A token in an error message, short whatever the statement holds.
pub(super) fn shown(token: &Token) -> String {
    const LONGEST: usize = 60;
    let text = token.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn prefix(dialect: &IotDialect, parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let token = parser.next_token();
    match token.token {
        Token::Word(word) => word_prefix(dialect, parser, word, token.span),
        Token::Number(..) | Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) => {
            let value = match token.token {
                Token::Number(digits, long) => Value::Number(digits, long),
                Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => Value::SingleQuotedString(text),
                _ => Value::Null,
            };
            Ok(Expr::Value(value.with_span(token.span)))
        }
        Token::Minus => {
            let precedence = dialect.prec_value(Precedence::MulDivModOp);
            let expr = Box::new(parser.parse_subexpr(precedence)?);
            Ok(Expr::UnaryOp { op: UnaryOperator::Minus, expr })
        }
        Token::LParen => parenthesised(parser),
        Token::LBracket => {
            let elem = list(parser, &Token::RBracket, Parser::parse_expr)?;
            Ok(Expr::Array(Array { elem, named: false }))
        }
        Token::LBrace => Ok(Expr::Dictionary(list(parser, &Token::RBrace, object_member)?)),
        other => expected("an expression", &other, token.span.start),
    }
}

fn word_prefix(dialect: &IotDialect, parser: &mut Parser<'_>, word: Word, span: Span) -> Result<Expr, ParserError> {
    match word.keyword {
        Keyword::CASE => parser.parse_case_expr(),
        Keyword::NOT => {
            let precedence = dialect.prec_value(Precedence::UnaryNot);
            let expr = Box::new(parser.parse_subexpr(precedence)?);
            Ok(Expr::UnaryOp { op: UnaryOperator::Not, expr })
        }
        Keyword::NULL => Ok(Expr::Value(Value::Null.with_span(span))),
        Keyword::TRUE => Ok(Expr::Value(Value::Boolean(true).with_span(span))),
        Keyword::FALSE => Ok(Expr::Value(Value::Boolean(false).with_span(span))),
        Keyword::SELECT
        | Keyword::FROM
        | Keyword::WHERE
        | Keyword::AS
        | Keyword::WHEN
        | Keyword::THEN
        | Keyword::ELSE
        | Keyword::END
        | Keyword::AND
        | Keyword::OR
        | Keyword::IN => expected("an expression", &Token::Word(word), span.start),
        _ if parser.consume_token(&Token::LParen) => call(parser, Ident::with_span(span, word.value), word.keyword),
        _ => Ok(Expr::Identifier(Ident::with_span(span, word.value))),
    }
}

fn call(parser: &mut Parser<'_>, name: Ident, keyword: Keyword) -> Result<Expr, ParserError> {
    let args = if keyword == Keyword::CAST {
        let expr = Box::new(parser.parse_expr()?);
        parser.expect_keyword_is(Keyword::AS)?;
        let target = parser.next_token();
        let Token::Word(word) = target.token else {
            return expected("the name of a type", &target.token, target.span.start);
        };
        parser.expect_token(&Token::RParen)?;
        vec![Expr::Named { expr, name: Ident::with_span(target.span, word.value) }]
    } else if peek_is(parser, Keyword::SELECT) {
        return nested_select(parser);
    } else {
        list(parser, &Token::RParen, |parser| {
            let token = parser.peek_token_ref();
            if token.token == Token::Mul {
                let token = parser.next_token();
                return Ok(Expr::Wildcard(AttachedToken(token)));
            }
            parser.parse_expr()
        })?
    };
    Ok(Expr::Function(Function {
        name: ObjectName::from(vec![name]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect(),
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    }))
}

fn parenthesised(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    if peek_is(parser, Keyword::SELECT) {
        return nested_select(parser);
    }
    let first = parser.parse_expr()?;
    if parser.consume_token(&Token::RParen) {
        return Ok(Expr::Nested(Box::new(first)));
    }
    parser.expect_token(&Token::Comma)?;
    let mut items = vec![first];
    items.extend(list(parser, &Token::RParen, Parser::parse_expr)?);
    Ok(Expr::Tuple(items))
}

fn object_member(parser: &mut Parser<'_>) -> Result<DictionaryField, ParserError> {
    let token = parser.next_token();
    let key = match token.token {
        Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => text,
        Token::Word(word) => word.value,
        other => return expected("the name of a member", &other, token.span.start),
    };
    parser.expect_token(&Token::Colon)?;
    Ok(DictionaryField { key: Ident::with_span(token.span, key), value: Box::new(parser.parse_expr()?) })
}

/// The path behind an expression: `.name`, whatever the name, and `[index]`. Leaves `.*` alone.
fn access(parser: &mut Parser<'_>, root: Expr) -> Result<Expr, ParserError> {
    let mut access_chain = Vec::new();
    loop {
        let after = &parser.peek_nth_token_ref(1).token;
        match &parser.peek_token_ref().token {
            Token::Period if matches!(after, Token::Word(_)) => {
                parser.advance_token();
                let token = parser.next_token();
                if let Token::Word(word) = token.token {
                    access_chain.push(AccessExpr::Dot(Expr::Identifier(Ident::with_span(token.span, word.value))));
                }
            }
            Token::LBracket => {
                parser.advance_token();
                let index = parser.parse_expr()?;
                parser.expect_token(&Token::RBracket)?;
                access_chain.push(AccessExpr::Subscript(Subscript::Index { index }));
            }
            _ => break,
        }
    }
    if access_chain.is_empty() {
        return Ok(root);
    }
    Ok(Expr::CompoundFieldAccess { root: Box::new(root), access_chain })
}

/// Elements between commas up to the closing token, which is consumed. May be empty.
fn list<'p, T>(
    parser: &mut Parser<'p>,
    end: &Token,
    element: fn(&mut Parser<'p>) -> Result<T, ParserError>,
) -> Result<Vec<T>, ParserError> {
    let mut elements = Vec::new();
    if parser.consume_token(end) {
        return Ok(elements);
    }
    loop {
        elements.push(element(parser)?);
        if parser.consume_token(end) {
            return Ok(elements);
        }
        parser.expect_token(&Token::Comma)?;
    }
}

pub(super) fn peek_is(parser: &Parser<'_>, keyword: Keyword) -> bool {
    matches!(&parser.peek_token_ref().token, Token::Word(word) if word.keyword == keyword)
}

pub(super) fn expected<T>(what: &str, found: &Token, location: Location) -> Result<T, ParserError> {
    fail(format!("expected {what}, found {}", shown(found)), location)
}

fn nested_select<T>(parser: &Parser<'_>) -> Result<T, ParserError> {
    fail("nested SELECT is not supported", parser.peek_token_ref().span.start)
}
