//! The dialect: AWS IoT SQL's expressions, on top of `sqlparser`'s tokenizer, precedences and syntax tree.
//!
//! Expressions are climbed here, and not by `sqlparser` itself: that is half of what it would add to the Worker, for
//! forms that AWS IoT SQL doesn't have (docs/decisions/0009). Its own rules give meaning to names that are ordinary
//! members of a payload (`timestamp`, `date`, `interval`), know functions by special syntax (`substring(a FROM 1)`),
//! parse subqueries, and try one reading after another, which takes exponential time on the wrong input.

use crate::limits::{MAX_EXPRESSION_DEPTH, MAX_OPERATORS};
use core::cell::Cell;
use sqlparser::ast::{
    AccessExpr, Array, BinaryOperator, CaseWhen, DictionaryField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, Subscript, UnaryOperator, Value,
    helpers::attached_token::AttachedToken,
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
    /// How many expressions are being read that are within each other.
    depth: Cell<usize>,
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
}

/// An expression, with the operators that bind it together.
pub(super) fn expression(dialect: &IotDialect, parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    climb(dialect, parser, 0)
}

/// As much as binds more strongly than `precedence`.
fn climb(dialect: &IotDialect, parser: &mut Parser<'_>, precedence: u8) -> Result<Expr, ParserError> {
    if dialect.depth.get() >= MAX_EXPRESSION_DEPTH {
        return Err(ParserError::RecursionLimitExceeded);
    }
    dialect.depth.set(dialect.depth.get() + 1);
    let climbed = operands(dialect, parser, precedence);
    dialect.depth.set(dialect.depth.get() - 1);
    climbed
}

fn operands(dialect: &IotDialect, parser: &mut Parser<'_>, precedence: u8) -> Result<Expr, ParserError> {
    let root = prefix(dialect, parser)?;
    let mut left = access(dialect, parser, root)?;
    loop {
        let next = match &parser.peek_token_ref().token {
            Token::CustomBinaryOperator(_) => dialect.prec_value(Precedence::Between),
            Token::Period => return Ok(left),
            _ => dialect.get_next_precedence_default(parser)?,
        };
        if precedence >= next {
            return Ok(left);
        }
        let TokenWithSpan { token, span } = parser.next_token();
        dialect.operators.set(dialect.operators.get() + 1);
        if dialect.operators.get() > MAX_OPERATORS {
            return fail(format!("the statement has more than {MAX_OPERATORS} operators"), span.start);
        }
        let op = match token {
            Token::Eq => BinaryOperator::Eq,
            Token::Neq => BinaryOperator::NotEq,
            Token::Lt => BinaryOperator::Lt,
            Token::LtEq => BinaryOperator::LtEq,
            Token::Gt => BinaryOperator::Gt,
            Token::GtEq => BinaryOperator::GtEq,
            Token::Plus => BinaryOperator::Plus,
            Token::Minus => BinaryOperator::Minus,
            Token::Mul => BinaryOperator::Multiply,
            Token::Div => BinaryOperator::Divide,
            Token::Mod => BinaryOperator::Modulo,
            Token::Word(word) if word.keyword == Keyword::AND => BinaryOperator::And,
            Token::Word(word) if word.keyword == Keyword::OR => BinaryOperator::Or,
            Token::CustomBinaryOperator(name) if name == IN || name == NOT_IN => BinaryOperator::Custom(name),
            other => return fail(format!("{} is not an operator of AWS IoT SQL", shown(&other)), span.start),
        };
        let right = Box::new(climb(dialect, parser, next)?);
        left = Expr::BinaryOp { left: Box::new(left), op, right };
    }
}

/// Takes a word that has to come now.
pub(super) fn word(parser: &mut Parser<'_>, keyword: Keyword, shown: &str) -> Result<(), ParserError> {
    let token = parser.next_token();
    match &token.token {
        Token::Word(word) if word.keyword == keyword => Ok(()),
        other => expected(shown, other, token.span.start),
    }
}

fn case(dialect: &IotDialect, parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let mut operand = None;
    if !parser.parse_keyword(Keyword::WHEN) {
        operand = Some(Box::new(expression(dialect, parser)?));
        word(parser, Keyword::WHEN, "WHEN")?;
    }
    let mut conditions = vec![];
    loop {
        let condition = expression(dialect, parser)?;
        word(parser, Keyword::THEN, "THEN")?;
        conditions.push(CaseWhen { condition, result: expression(dialect, parser)? });
        if !parser.parse_keyword(Keyword::WHEN) {
            break;
        }
    }
    let else_result =
        if parser.parse_keyword(Keyword::ELSE) { Some(Box::new(expression(dialect, parser)?)) } else { None };
    word(parser, Keyword::END, "END")?;
    Ok(Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand,
        conditions,
        else_result,
    })
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
            let expr = Box::new(climb(dialect, parser, precedence)?);
            Ok(Expr::UnaryOp { op: UnaryOperator::Minus, expr })
        }
        Token::LParen => parenthesised(dialect, parser),
        Token::LBracket => {
            let elem = list(parser, &Token::RBracket, |parser| expression(dialect, parser))?;
            Ok(Expr::Array(Array { elem, named: false }))
        }
        Token::LBrace => Ok(Expr::Dictionary(list(parser, &Token::RBrace, |parser| object_member(dialect, parser))?)),
        other => expected("an expression", &other, token.span.start),
    }
}

fn word_prefix(dialect: &IotDialect, parser: &mut Parser<'_>, word: Word, span: Span) -> Result<Expr, ParserError> {
    match word.keyword {
        Keyword::CASE => case(dialect, parser),
        Keyword::NOT => {
            let precedence = dialect.prec_value(Precedence::UnaryNot);
            let expr = Box::new(climb(dialect, parser, precedence)?);
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
        _ if parser.consume_token(&Token::LParen) => {
            call(dialect, parser, Ident::with_span(span, word.value), word.keyword)
        }
        _ => Ok(Expr::Identifier(Ident::with_span(span, word.value))),
    }
}

fn call(dialect: &IotDialect, parser: &mut Parser<'_>, name: Ident, keyword: Keyword) -> Result<Expr, ParserError> {
    let args = if keyword == Keyword::CAST {
        let expr = Box::new(expression(dialect, parser)?);
        word(parser, Keyword::AS, "AS")?;
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
            expression(dialect, parser)
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

fn parenthesised(dialect: &IotDialect, parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    if peek_is(parser, Keyword::SELECT) {
        return nested_select(parser);
    }
    let first = expression(dialect, parser)?;
    if parser.consume_token(&Token::RParen) {
        return Ok(Expr::Nested(Box::new(first)));
    }
    parser.expect_token(&Token::Comma)?;
    let mut items = vec![first];
    items.extend(list(parser, &Token::RParen, |parser| expression(dialect, parser))?);
    Ok(Expr::Tuple(items))
}

fn object_member(dialect: &IotDialect, parser: &mut Parser<'_>) -> Result<DictionaryField, ParserError> {
    let token = parser.next_token();
    let key = match token.token {
        Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => text,
        Token::Word(word) => word.value,
        other => return expected("the name of a member", &other, token.span.start),
    };
    parser.expect_token(&Token::Colon)?;
    Ok(DictionaryField { key: Ident::with_span(token.span, key), value: Box::new(expression(dialect, parser)?) })
}

/// The path behind an expression: `.name`, whatever the name, and `[index]`. Leaves `.*` alone.
fn access(dialect: &IotDialect, parser: &mut Parser<'_>, root: Expr) -> Result<Expr, ParserError> {
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
                let index = expression(dialect, parser)?;
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
    mut element: impl FnMut(&mut Parser<'p>) -> Result<T, ParserError>,
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
