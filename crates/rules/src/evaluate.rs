//! Running a program on a message.

use crate::convert::{cast, to_boolean, to_int};
use crate::error::EvaluationError;
use crate::functions::{Arguments, Environment};
use crate::limits::{BASE_WORK, UNITS_PER_NODE, WORK_PER_PAYLOAD_BYTE};
use crate::operators::{equal, infix, negate, not};
use crate::program::{Item, Node, NodeId, Program, SqlVersion, Step};
use crate::value::{Object, Value};
use core::cell::OnceCell;
use iot_types::{RuleName, Scope, UnixMillis};
use std::borrow::Cow;

/// A published message, as rules see it. The payload is parsed once, when the first rule looks inside.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) client_id: Option<&'a str>,
    pub(crate) timestamp: UnixMillis,
    document_2015: OnceCell<Value>,
    document_2016: OnceCell<Value>,
}

impl<'a> Message<'a> {
    /// A message that arrived on `topic` at `timestamp`. Over MQTT it has the publisher's client identifier, else
    /// none.
    #[must_use]
    pub const fn new(topic: &'a str, payload: &'a [u8], client_id: Option<&'a str>, timestamp: UnixMillis) -> Self {
        Self { topic, payload, client_id, timestamp, document_2015: OnceCell::new(), document_2016: OnceCell::new() }
    }

    /// The payload as JSON; `Undefined` when it is none.
    fn document(&self, version: SqlVersion) -> &Value {
        let parse = || serde_json::from_slice(self.payload).unwrap_or(Value::Undefined);
        if version.is_2016_or_later() {
            self.document_2016.get_or_init(|| {
                let mut value = parse();
                value.read_whole_decimals_as_int();
                value
            })
        } else {
            self.document_2015.get_or_init(parse)
        }
    }
}

/// Which rule is evaluated, and where.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The account and region that own the rule.
    pub scope: &'a Scope,
    /// The rule's name.
    pub rule_name: &'a RuleName,
}

/// Runs a statement on a message: the bytes that its actions get, or `None` when WHERE does not hold.
///
/// A lone `SELECT *` gives the payload as it arrived, JSON or not. Everything else gives a JSON object without the
/// items that are `Undefined`. Of a payload that is no JSON, every path is `Undefined`.
///
/// # Errors
/// [`EvaluationError`] when the statement and the message do not fit together; AWS logs it and runs no action.
pub fn evaluate(
    program: &Program,
    message: &Message<'_>,
    context: &Context<'_>,
) -> Result<Option<Vec<u8>>, EvaluationError> {
    let work = BASE_WORK.saturating_add(message.payload.len().saturating_mul(WORK_PER_PAYLOAD_BYTE));
    let environment = Environment { message, context, version: program.version };
    let mut evaluation = Evaluation { program, environment, work };
    if let Some(condition) = program.condition
        && to_boolean(&*evaluation.node(condition)?) != Some(true)
    {
        return Ok(None);
    }
    if let [Item::Spread(id)] = program.items.as_slice()
        && matches!(program.node(*id), Some(Node::Payload))
    {
        return Ok(Some(message.payload.to_vec()));
    }
    let mut output = Object::new();
    for item in &program.items {
        evaluation.item(item, &mut output)?;
    }
    // Writing to memory fails only for maps whose keys are no strings.
    Ok(Some(serde_json::to_vec(&Value::Object(output)).unwrap_or_default()))
}

struct Evaluation<'a> {
    program: &'a Program,
    environment: Environment<'a>,
    /// What is left of the work allowed.
    work: usize,
}

impl<'a> Evaluation<'a> {
    fn item(&mut self, item: &'a Item, output: &mut Object) -> Result<(), EvaluationError> {
        match item {
            Item::Spread(id) => {
                let value = self.node(*id)?;
                match self.own(value)? {
                    Value::Object(members) => output.extend(members),
                    _ if !matches!(self.program.node(*id), Some(Node::Payload)) => {}
                    // An empty payload has nothing to add, a binary one nothing that could be added to.
                    _ if self.environment.message.payload.is_empty() => {}
                    _ => return Err(EvaluationError::PayloadIsNoObject),
                }
            }
            Item::Named { path, value } => {
                let value = self.node(*value)?;
                if !value.is_undefined() {
                    let value = self.own(value)?;
                    place(output, path, value);
                }
            }
        }
        Ok(())
    }

    fn node(&mut self, id: NodeId) -> Result<Cow<'a, Value>, EvaluationError> {
        self.spend(UNITS_PER_NODE)?;
        // A program is well formed, so every node is there.
        let Some(node) = self.program.node(id) else {
            return Ok(Cow::Owned(Value::Undefined));
        };
        let value = match node {
            Node::Constant(value) => return Ok(Cow::Borrowed(value)),
            Node::Payload => return Ok(Cow::Borrowed(self.environment.message.document(self.program.version))),
            Node::Access { base, steps } => return self.access(*base, steps),
            Node::Not(operand) => not(&*self.node(*operand)?),
            Node::Negate(operand) => negate(&*self.node(*operand)?),
            Node::Chain { first, rest } => {
                let mut left = self.node(*first)?;
                for (operator, right) in rest {
                    let right = self.node(*right)?;
                    self.spend(left.weight().saturating_add(right.weight()))?;
                    left = Cow::Owned(infix(*operator, &left, &right));
                }
                return Ok(left);
            }
            Node::Case { operand, branches, otherwise } => return self.case(*operand, branches, *otherwise),
            Node::Array(items) => {
                let mut array = Vec::with_capacity(items.len());
                for item in items {
                    let value = self.node(*item)?;
                    if !value.is_undefined() {
                        array.push(self.own(value)?);
                    }
                }
                Value::Array(array)
            }
            Node::Object(members) => {
                let mut object = Object::with_capacity(members.len());
                for (key, member) in members {
                    let value = self.node(*member)?;
                    if !value.is_undefined() {
                        object.insert(key.clone(), self.own(value)?);
                    }
                }
                Value::Object(object)
            }
            Node::Call { function, arguments } => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    let value = self.node(*argument)?;
                    self.spend(value.weight())?;
                    values.push(value);
                }
                function.call(&self.environment, &Arguments::new(values))
            }
            Node::Cast { value, target } => {
                let value = self.node(*value)?;
                self.spend(value.weight())?;
                cast(&value, *target, self.program.version)
            }
        };
        Ok(Cow::Owned(value))
    }

    fn access(&mut self, base: NodeId, steps: &'a [Step]) -> Result<Cow<'a, Value>, EvaluationError> {
        let mut value = self.node(base)?;
        for step in steps {
            let index = match step {
                Step::Index(id) => Some(self.node(*id)?),
                Step::Member(_) => None,
            };
            value = match value {
                Cow::Borrowed(value) => walk(value, step, index.as_deref()).map(Cow::Borrowed),
                Cow::Owned(value) => {
                    let found = walk(&value, step, index.as_deref());
                    self.spend(found.map_or(0, Value::weight))?;
                    found.cloned().map(Cow::Owned)
                }
            }
            .unwrap_or(Cow::Owned(Value::Undefined));
        }
        Ok(value)
    }

    /// With an operand the first equal branch wins, and nothing is equal to `Undefined`; without, the first true one.
    fn case(
        &mut self,
        operand: Option<NodeId>,
        branches: &'a [(NodeId, NodeId)],
        otherwise: Option<NodeId>,
    ) -> Result<Cow<'a, Value>, EvaluationError> {
        let operand = operand.map(|id| self.node(id)).transpose()?;
        if operand.as_ref().is_some_and(|value| value.is_undefined()) {
            return Ok(Cow::Owned(Value::Undefined));
        }
        for (when, then) in branches {
            let when = self.node(*when)?;
            let taken = match &operand {
                Some(operand) => {
                    self.spend(operand.weight().saturating_add(when.weight()))?;
                    equal(operand, &when)
                }
                None => to_boolean(&when),
            };
            if taken == Some(true) {
                return self.node(*then);
            }
        }
        otherwise.map_or(Ok(Cow::Owned(Value::Undefined)), |id| self.node(id))
    }

    fn own(&mut self, value: Cow<'a, Value>) -> Result<Value, EvaluationError> {
        if let Cow::Borrowed(value) = value {
            self.spend(value.weight())?;
        }
        Ok(value.into_owned())
    }

    fn spend(&mut self, units: usize) -> Result<(), EvaluationError> {
        self.work = self.work.checked_sub(units).ok_or(EvaluationError::TooMuchWork)?;
        Ok(())
    }
}

fn walk<'v>(value: &'v Value, step: &Step, index: Option<&Value>) -> Option<&'v Value> {
    match (value, step, index) {
        (Value::Object(members), Step::Member(name), _) => members.get(name),
        (Value::Object(members), Step::Index(_), Some(Value::String(name))) => members.get(name),
        (Value::Array(items), Step::Index(_), Some(index)) => items.get(usize::try_from(to_int(index)?).ok()?),
        _ => None,
    }
}

/// Puts `value` where the alias says, making or replacing what is no object on the way.
fn place(output: &mut Object, path: &[String], value: Value) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let mut target = output;
    for name in parents {
        let slot = target.entry(name.clone()).or_insert_with(|| Value::Object(Object::new()));
        if !matches!(slot, Value::Object(_)) {
            *slot = Value::Object(Object::new());
        }
        let Value::Object(members) = slot else {
            return;
        };
        target = members;
    }
    target.insert(last.clone(), value);
}
