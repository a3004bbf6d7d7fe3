//! From `sqlparser`'s tree to nodes.
//!
//! Recursion is bounded by the parser's depth limit; the one thing it does not bound, a tree leaning left because of
//! many operators in a row, is walked in a loop.

use super::dialect::{IN, NOT_IN};
use super::statement::{SelectItem, Statement};
use super::{START, error};
use crate::error::SqlError;
use crate::functions;
use crate::operators::{InfixOperator, negate};
use crate::program::{CastType, Item, Node, NodeId, Program, SqlVersion, Step};
use crate::value::Value;
use mqtt_topic::TopicFilter;
use sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    Subscript, UnaryOperator, Value as Literal,
};
use sqlparser::tokenizer::Location;

pub(super) fn lower(statement: Statement, version: SqlVersion) -> Result<Program, SqlError> {
    let topic_filter = match statement.from {
        Some((filter, location)) => match TopicFilter::new(filter.as_str()) {
            Ok(parsed) if parsed.share().is_some() => {
                return Err(error("FROM cannot name a shared subscription", location));
            }
            Ok(_) => Some(filter),
            Err(failure) => return Err(error(format!("FROM needs a topic filter: {failure}"), location)),
        },
        None => None,
    };
    let mut lowering = Lowering { nodes: Vec::new(), payload: None, version, here: START };
    let mut items = Vec::with_capacity(statement.items.len());
    for item in statement.items {
        items.push(lowering.item(item)?);
    }
    let condition = statement.condition.map(|expr| lowering.expression(expr)).transpose()?;
    let here = lowering.here;
    let program = Program::from_parts(version, topic_filter, items, condition, lowering.nodes);
    if program.is_well_formed() { Ok(program) } else { Err(error("expressions nest too deep", here)) }
}

struct Lowering {
    nodes: Vec<Node>,
    /// The one node for the payload, once there is one: most paths begin there.
    payload: Option<NodeId>,
    version: SqlVersion,
    /// The last place that the tree told of: `sqlparser` does not keep one for everything.
    here: Location,
}

impl Lowering {
    fn item(&mut self, item: SelectItem) -> Result<Item, SqlError> {
        match item {
            SelectItem::Spread(expr, location) => {
                self.here = location;
                Ok(Item::Spread(self.expression(expr)?))
            }
            SelectItem::Expression { expr, alias, location } => {
                self.here = location;
                let path = match alias.or_else(|| default_name(&expr).map(|name| vec![name])) {
                    Some(path) => path,
                    None => {
                        return self.fail("an expression that is neither a path nor a function needs AS and a name");
                    }
                };
                Ok(Item::Named { path, value: self.expression(expr)? })
            }
        }
    }

    fn expression(&mut self, expr: Expr) -> Result<NodeId, SqlError> {
        let node = match expr {
            Expr::Nested(inner) => return self.expression(*inner),
            Expr::Wildcard(_) => return self.payload(),
            Expr::Identifier(_) | Expr::CompoundFieldAccess { .. } => self.access(expr)?,
            Expr::Value(literal) => {
                self.here = literal.span.start;
                Node::Constant(self.literal(literal.value)?)
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => Node::Not(self.expression(*expr)?),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
                let operand = self.expression(*expr)?;
                // `-5` is a constant: the operand that was just added, or rather not.
                let added = usize::try_from(operand.0).is_ok_and(|index| index + 1 == self.nodes.len());
                match self.nodes.last() {
                    Some(Node::Constant(value @ (Value::Int(_) | Value::Decimal(_)))) if added => {
                        let negated = negate(value);
                        self.nodes.pop();
                        Node::Constant(negated)
                    }
                    _ => Node::Negate(operand),
                }
            }
            Expr::BinaryOp { .. } => self.chain(expr)?,
            Expr::Case { operand, conditions, else_result, .. } => {
                let operand = operand.map(|expr| self.expression(*expr)).transpose()?;
                let mut branches = Vec::with_capacity(conditions.len());
                for CaseWhen { condition, result } in conditions {
                    branches.push((self.expression(condition)?, self.expression(result)?));
                }
                let otherwise = else_result.map(|expr| self.expression(*expr)).transpose()?;
                Node::Case { operand, branches, otherwise }
            }
            Expr::Array(array) => {
                self.needs_2016("an array literal")?;
                Node::Array(self.expressions(array.elem)?)
            }
            Expr::Dictionary(members) => {
                self.needs_2016("an object literal")?;
                let mut fields = Vec::with_capacity(members.len());
                for member in members {
                    self.here = member.key.span.start;
                    fields.push((member.key.value, self.expression(*member.value)?));
                }
                Node::Object(fields)
            }
            Expr::Function(function) => self.call(function)?,
            Expr::Tuple(_) => return self.fail("a list in parentheses can stand only behind IN"),
            _ => return self.fail("this expression is not part of AWS IoT SQL"),
        };
        self.push(node)
    }

    fn expressions(&mut self, exprs: Vec<Expr>) -> Result<Vec<NodeId>, SqlError> {
        exprs.into_iter().map(|expr| self.expression(expr)).collect()
    }

    fn access(&mut self, expr: Expr) -> Result<Node, SqlError> {
        let (root, chain) = match expr {
            Expr::CompoundFieldAccess { root, access_chain } => (*root, access_chain),
            other => (other, Vec::new()),
        };
        let mut steps = Vec::with_capacity(chain.len() + 1);
        let base = match root {
            Expr::Identifier(name) => {
                steps.push(self.member(name));
                self.payload()?
            }
            other => self.expression(other)?,
        };
        for link in chain {
            steps.push(match link {
                AccessExpr::Dot(Expr::Identifier(name)) => self.member(name),
                AccessExpr::Subscript(Subscript::Index { index }) => Step::Index(self.expression(index)?),
                AccessExpr::Dot(_) | AccessExpr::Subscript(_) => return self.fail("this is not a path"),
            });
        }
        Ok(Node::Access { base, steps })
    }

    fn payload(&mut self) -> Result<NodeId, SqlError> {
        let id = match self.payload {
            Some(id) => id,
            None => self.push(Node::Payload)?,
        };
        self.payload = Some(id);
        Ok(id)
    }

    fn member(&mut self, name: Ident) -> Step {
        self.here = name.span.start;
        Step::Member(name.value)
    }

    fn literal(&self, literal: Literal) -> Result<Value, SqlError> {
        match literal {
            Literal::Null => Ok(Value::Null),
            Literal::Boolean(value) => Ok(Value::Boolean(value)),
            Literal::SingleQuotedString(text) => Ok(Value::String(text)),
            Literal::Number(digits, false) => match digits.parse() {
                Ok(int) => Ok(Value::Int(int)),
                Err(_) => match digits.parse() {
                    Ok(number) if f64::is_finite(number) => {
                        let mut value = Value::Decimal(number);
                        if self.version.is_2016_or_later() {
                            value.read_whole_decimals_as_int();
                        }
                        Ok(value)
                    }
                    _ => self.fail("the number is out of range"),
                },
            },
            _ => self.fail("this literal is not part of AWS IoT SQL"),
        }
    }

    fn chain(&mut self, mut expr: Expr) -> Result<Node, SqlError> {
        let mut operations = Vec::new();
        while let Expr::BinaryOp { left, op, right } = expr {
            operations.push((op, right));
            expr = *left;
        }
        let first = self.expression(expr)?;
        let mut rest = Vec::with_capacity(operations.len());
        for (operator, right) in operations.into_iter().rev() {
            let operator = self.operator(&operator)?;
            let right = match (operator, *right) {
                (InfixOperator::In | InfixOperator::NotIn, Expr::Tuple(items)) => {
                    let items = self.expressions(items)?;
                    self.push(Node::Array(items))?
                }
                // `x IN (3)` is a list of one, `x IN (list)` a path.
                (InfixOperator::In | InfixOperator::NotIn, Expr::Nested(inner)) if matches!(*inner, Expr::Value(_)) => {
                    let item = self.expression(*inner)?;
                    self.push(Node::Array(vec![item]))?
                }
                (_, right) => self.expression(right)?,
            };
            rest.push((operator, right));
        }
        Ok(Node::Chain { first, rest })
    }

    fn operator(&self, operator: &BinaryOperator) -> Result<InfixOperator, SqlError> {
        Ok(match operator {
            BinaryOperator::And => InfixOperator::And,
            BinaryOperator::Or => InfixOperator::Or,
            BinaryOperator::Eq => InfixOperator::Equal,
            BinaryOperator::NotEq => InfixOperator::NotEqual,
            BinaryOperator::Lt => InfixOperator::Less,
            BinaryOperator::LtEq => InfixOperator::LessOrEqual,
            BinaryOperator::Gt => InfixOperator::Greater,
            BinaryOperator::GtEq => InfixOperator::GreaterOrEqual,
            BinaryOperator::Plus => InfixOperator::Add,
            BinaryOperator::Minus => InfixOperator::Subtract,
            BinaryOperator::Multiply => InfixOperator::Multiply,
            BinaryOperator::Divide => InfixOperator::Divide,
            BinaryOperator::Modulo => InfixOperator::Remainder,
            BinaryOperator::Custom(name) if name == IN => InfixOperator::In,
            BinaryOperator::Custom(name) if name == NOT_IN => InfixOperator::NotIn,
            _ => return self.fail("this operator is not part of AWS IoT SQL"),
        })
    }

    fn call(&mut self, function: Function) -> Result<Node, SqlError> {
        let FunctionArguments::List(arguments) = function.args else {
            return self.fail("this call is not part of AWS IoT SQL");
        };
        let Some(name) = function.name.0.first().and_then(|part| part.as_ident()) else {
            return self.fail("this call is not part of AWS IoT SQL");
        };
        let location = name.span.start;
        self.here = location;
        let mut operands = Vec::with_capacity(arguments.args.len());
        for argument in arguments.args {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Named { expr, name })) => {
                    let target = self.cast_type(&name)?;
                    return Ok(Node::Cast { value: self.expression(*expr)?, target });
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => operands.push(expr),
                _ => return self.fail("this argument is not part of AWS IoT SQL"),
            }
        }
        let Some(known) = functions::find(&name.value) else {
            return Err(error(format!("the function '{}' is not known or not supported", name.value), location));
        };
        if known.since() > self.version {
            return Err(error(
                format!("the function '{}' needs awsIotSqlVersion {}", name.value, known.since().name()),
                location,
            ));
        }
        let arguments = self.expressions(operands)?;
        // "Functions called with … wrong number of arguments … return Undefined" (developer guide, "Data types").
        Ok(if known.takes(arguments.len()) {
            Node::Call { function: known, arguments }
        } else {
            Node::Constant(Value::Undefined)
        })
    }

    fn cast_type(&mut self, name: &Ident) -> Result<CastType, SqlError> {
        self.here = name.span.start;
        let target = match name.value.to_ascii_lowercase().as_str() {
            "string" | "nvarchar" | "text" | "ntext" | "varchar" => CastType::String,
            "int" | "integer" => CastType::Int,
            "double" => CastType::Decimal,
            "decimal" => {
                self.needs_2016("cast to Decimal")?;
                CastType::Decimal
            }
            "bool" | "boolean" => {
                self.needs_2016("cast to Boolean")?;
                CastType::Boolean
            }
            _ => return self.fail(
                "cast knows String, Nvarchar, Text, Ntext, Varchar, Int, Integer, Double, Decimal, Bool and Boolean",
            ),
        };
        Ok(target)
    }

    fn push(&mut self, node: Node) -> Result<NodeId, SqlError> {
        let Ok(id) = u32::try_from(self.nodes.len()) else {
            return self.fail("the statement is too long");
        };
        self.nodes.push(node);
        Ok(NodeId(id))
    }

    fn needs_2016(&self, what: &str) -> Result<(), SqlError> {
        if self.version.is_2016_or_later() {
            return Ok(());
        }
        self.fail(format!("{what} needs awsIotSqlVersion 2016-03-23"))
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, SqlError> {
        Err(error(message, self.here))
    }
}

/// The name of an item without alias: the last named segment of a path, or the function's.
fn default_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(name) => Some(name.value.clone()),
        Expr::CompoundFieldAccess { root, access_chain } => access_chain
            .iter()
            .rev()
            .find_map(|link| match link {
                AccessExpr::Dot(Expr::Identifier(name)) => Some(name.value.clone()),
                AccessExpr::Dot(_) | AccessExpr::Subscript(_) => None,
            })
            .or_else(|| default_name(root)),
        Expr::Function(function) => function.name.0.first()?.as_ident().map(|name| name.value.clone()),
        Expr::Nested(inner) => default_name(inner),
        _ => None,
    }
}
