//! Requests and their answers, and how a recording says them.
//!
//! | function | input | output |
//! |---|---|---|
//! | `get` | `{key, end?, limit?, revision?, serializable?}` | `{revision, kvs, count?, more?}` |
//! | `put` | `{key, value, lease?}` | `{revision, prev?}` |
//! | `delete` | `{key, end?}` | `{revision, deleted?}` |
//! | `txn` | `{compare, then, else}` | `{revision, succeeded, responses}` |
//! | `lease-grant`, `lease-revoke`, `lease-keepalive` | `{lease}` | `{revision?}` |
//!
//! A key-value is `{key, value, create, mod, version, lease}`, of which any may be missing but `key`. A comparison is
//! `{key, target, result, operand}` with a target of `value`, `version`, `create`, `mod` or `lease` and a result of `=`,
//! `!=`, `<` or `>`. The requests inside a transaction carry their function as `f`. For the simplest tests a `put` may
//! carry the bare value and a `get` answer it, with the key in the operation.

use std::cmp::Ordering;

use super::state::KeyValue;
use crate::history::{Operation, Text, Value};

/// A request with what was answered, if anything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Call {
    /// What was asked.
    pub request: Request,
    /// What was answered; `None` for an unknown outcome.
    pub answer: Option<Answer>,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Request {
    /// The keys of a range, as they are (or were at a revision that is given).
    Get {
        /// The range.
        range: Range,
        /// At most so many; 0 for all.
        limit: i64,
        /// The past revision asked for, if one was.
        revision: Option<i64>,
    },
    /// A key set to a value.
    Put {
        /// The key.
        key: Text,
        /// The value.
        value: Text,
        /// The lease that the key is attached to; 0 for none.
        lease: i64,
    },
    /// The keys of a range deleted.
    Delete(Range),
    /// One of two lists of requests, at one revision.
    Txn {
        /// All must hold for the first list.
        compare: Vec<Compare>,
        /// What is done if they hold.
        then: Vec<Request>,
        /// What is done if not.
        otherwise: Vec<Request>,
    },
    /// A lease begins.
    Grant(i64),
    /// A lease ends, and with it every key attached.
    Revoke(i64),
    /// A lease goes on.
    KeepAlive(i64),
}

/// Keys from one up to another, which is not in it; one key if there is no end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Range {
    /// The first key.
    pub key: Text,
    /// The first key after the range. `"\0"` means that there is none.
    pub end: Option<Text>,
}

impl Range {
    /// Whether `key` is in it.
    pub fn holds(&self, key: &Text) -> bool {
        match &self.end {
            None => *key == self.key,
            Some(end) => *key >= self.key && (end.as_str() == "\0" || key < end),
        }
    }
}

/// A comparison of one field of one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Compare {
    /// The key.
    pub key: Text,
    /// Which field.
    pub target: Target,
    /// What the comparison must say.
    pub result: Wanted,
    /// What the field is compared with.
    pub operand: Operand,
}

/// A field of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// Its value.
    Value,
    /// How often it was put since it was created; 0 if it is not there.
    Version,
    /// The revision at which it was created; 0 if it is not there.
    Create,
    /// The revision of its last put; 0 if it is not there.
    Mod,
    /// Its lease; 0 for none.
    Lease,
}

/// What a comparison must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The same.
    Equal,
    /// Not the same.
    Different,
    /// The field is less.
    Less,
    /// The field is greater.
    Greater,
}

impl Wanted {
    /// Whether a field that stands so to the operand is what was wanted.
    pub fn is(self, field: Ordering) -> bool {
        match self {
            Self::Equal => field == Ordering::Equal,
            Self::Different => field != Ordering::Equal,
            Self::Less => field == Ordering::Less,
            Self::Greater => field == Ordering::Greater,
        }
    }
}

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Operand {
    /// For [`Target::Value`].
    Text(Text),
    /// For all others.
    Number(i64),
}

/// What was answered. What is `None` was not recorded, and is not judged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Answer {
    /// The revision of the store after the request.
    pub revision: Option<i64>,
    /// Whether the comparisons held.
    pub succeeded: Option<bool>,
    /// What each request of the branch taken answered; of a single request, its own answer alone.
    pub responses: Vec<Response>,
}

/// What one request answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Response {
    /// The keys, in order.
    pub kvs: Option<Vec<KeyValue>>,
    /// How many keys there were, if the limit had not been.
    pub count: Option<i64>,
    /// How many keys were deleted.
    pub deleted: Option<i64>,
    /// The key as it was before a put: empty if it was not there.
    pub previous: Option<Vec<KeyValue>>,
}

impl Answer {
    /// Whether nothing recorded contradicts what the model answers.
    pub fn agrees_with(&self, model: &Self) -> bool {
        agree(self.revision.as_ref(), model.revision.as_ref())
            && agree(self.succeeded.as_ref(), model.succeeded.as_ref())
            && (self.responses.is_empty()
                || self.responses.len() == model.responses.len()
                    && self
                        .responses
                        .iter()
                        .zip(&model.responses)
                        .all(|(one, other)| one.agrees_with(other)))
    }
}

impl Response {
    fn agrees_with(&self, model: &Self) -> bool {
        agree(self.count.as_ref(), model.count.as_ref())
            && agree(self.deleted.as_ref(), model.deleted.as_ref())
            && all_agree(self.kvs.as_deref(), model.kvs.as_deref())
            && all_agree(self.previous.as_deref(), model.previous.as_deref())
    }
}

fn agree<T: PartialEq>(recorded: Option<&T>, model: Option<&T>) -> bool {
    recorded.is_none() || model.is_none() || recorded == model
}

fn all_agree(recorded: Option<&[KeyValue]>, model: Option<&[KeyValue]>) -> bool {
    let (Some(recorded), Some(model)) = (recorded, model) else {
        return true;
    };
    recorded.len() == model.len()
        && recorded
            .iter()
            .zip(model)
            .all(|(one, other)| one.agrees_with(other))
}

impl Call {
    /// The revision that was answered.
    pub fn revision(&self) -> Option<i64> {
        self.answer.as_ref()?.revision
    }

    /// Whether it certainly changed nothing.
    pub fn is_pure(&self) -> bool {
        match &self.request {
            Request::Get { .. } | Request::KeepAlive(_) => true,
            Request::Put { .. } | Request::Grant(_) | Request::Revoke(_) => false,
            Request::Delete(_) => self.deleted(0) == Some(0),
            Request::Txn { .. } => self.branch().is_some_and(|branch| {
                (0..).zip(branch).all(|(number, request)| match request {
                    Request::Get { .. } => true,
                    Request::Delete(_) => self.deleted(number) == Some(0),
                    _ => false,
                })
            }),
        }
    }

    /// Whether it certainly took a revision.
    pub fn is_change(&self) -> bool {
        let deletes = |number: usize| self.deleted(number).is_some_and(|deleted| deleted > 0);
        match &self.request {
            Request::Put { .. } => true,
            Request::Delete(_) => deletes(0),
            Request::Txn { .. } => self.branch().is_some_and(|branch| {
                (0..).zip(branch).any(|(number, request)| match request {
                    Request::Put { .. } => true,
                    Request::Delete(_) => deletes(number),
                    _ => false,
                })
            }),
            Request::Get { .. }
            | Request::Grant(_)
            | Request::Revoke(_)
            | Request::KeepAlive(_) => false,
        }
    }

    /// The branch of a transaction that was taken, if that was recorded.
    fn branch(&self) -> Option<&[Request]> {
        let Request::Txn {
            then, otherwise, ..
        } = &self.request
        else {
            return None;
        };
        self.answer
            .as_ref()?
            .succeeded
            .map(|succeeded| if succeeded { &then[..] } else { &otherwise[..] })
    }

    /// How many keys the request of that number deleted, if that was recorded.
    fn deleted(&self, number: usize) -> Option<i64> {
        self.responses().get(number)?.deleted
    }

    fn responses(&self) -> &[Response] {
        self.answer.as_ref().map_or(&[], |answer| &answer.responses)
    }
}

/// Reads a recorded operation.
pub(super) fn read(operation: &Operation) -> Result<Option<Call>, String> {
    let input = &operation.input;
    if input.get("serializable").and_then(Value::as_bool) == Some(true) {
        return Ok(None);
    }
    let request = request(operation.function.as_str(), &operation.key, input)?;
    let answer = if operation.is_ok() {
        Some(answer(&request, &operation.key, &operation.output)?)
    } else {
        None
    };
    Ok(Some(Call { request, answer }))
}

fn request(function: &str, key: &Value, input: &Value) -> Result<Request, String> {
    Ok(match function {
        "get" | "range" | "read" => Request::Get {
            range: range(key, input)?,
            limit: number(input, "limit").unwrap_or(0),
            revision: number(input, "revision").filter(|revision| *revision > 0),
        },
        "put" | "write" => {
            let value = if input.as_map().is_some() {
                input.get("value").unwrap_or(&Value::Nil)
            } else {
                input
            };
            let lease = number(input, "lease").unwrap_or(0);
            Request::Put {
                key: key_of(key, input)?,
                value: text(value)?,
                lease,
            }
        }
        "delete" => Request::Delete(range(key, input)?),
        "txn" => Request::Txn {
            compare: each(input, "compare", compare)?,
            then: each(input, "then", inner)?,
            otherwise: each(input, "else", inner)?,
        },
        "lease-grant" => Request::Grant(lease(input)?),
        "lease-revoke" => Request::Revoke(lease(input)?),
        "lease-keepalive" => Request::KeepAlive(lease(input)?),
        other => return Err(format!("the model of etcd does not know {other}")),
    })
}

fn inner(said: &Value) -> Result<Request, String> {
    let function = said
        .get("f")
        .and_then(Value::as_text)
        .ok_or("a request of a transaction needs its f")?;
    if !["get", "range", "put", "delete"].contains(&function) {
        return Err(format!(
            "a transaction of the model holds get, put and delete, not {function}"
        ));
    }
    request(function, &Value::Nil, said)
}

fn compare(said: &Value) -> Result<Compare, String> {
    let word = |name: &str| {
        said.get(name)
            .and_then(Value::as_text)
            .ok_or(format!("a comparison needs its {name}"))
    };
    let target = match word("target")? {
        "value" => Target::Value,
        "version" => Target::Version,
        "create" => Target::Create,
        "mod" => Target::Mod,
        "lease" => Target::Lease,
        other => return Err(format!("{other} is no target of a comparison")),
    };
    let result = match word("result")? {
        "=" => Wanted::Equal,
        "!=" => Wanted::Different,
        "<" => Wanted::Less,
        ">" => Wanted::Greater,
        other => return Err(format!("{other} is no result of a comparison")),
    };
    let operand = said
        .get("operand")
        .ok_or("a comparison needs its operand")?;
    let operand = match target {
        Target::Value => Operand::Text(text(operand)?),
        _ => Operand::Number(
            operand
                .as_integer()
                .ok_or("this field is compared with a number")?,
        ),
    };
    Ok(Compare {
        key: key_of(&Value::Nil, said)?,
        target,
        result,
        operand,
    })
}

fn answer(request: &Request, key: &Value, output: &Value) -> Result<Answer, String> {
    let is_map = output.as_map().is_some();
    let responses = match request {
        Request::Txn { .. } => each(output, "responses", response)?,
        Request::Get { .. } if !is_map => vec![bare(key, output)?],
        _ if is_map => vec![response(output)?],
        _ => Vec::new(),
    };
    let succeeded = output.get("succeeded").and_then(Value::as_bool);
    Ok(Answer {
        revision: number(output, "revision"),
        succeeded,
        responses,
    })
}

/// A `get` that answered the value and nothing else.
fn bare(key: &Value, output: &Value) -> Result<Response, String> {
    let kvs = match output {
        Value::Nil => Vec::new(),
        value => vec![KeyValue::of(text(key)?, text(value)?)],
    };
    Ok(Response {
        kvs: Some(kvs),
        ..Response::default()
    })
}

fn response(said: &Value) -> Result<Response, String> {
    let kvs = |name: &str| {
        said.get(name)
            .map(|_| each(said, name, key_value))
            .transpose()
    };
    let previous = match said.get("prev") {
        None => None,
        Some(Value::Nil) => Some(Vec::new()),
        Some(previous) => Some(vec![key_value(previous)?]),
    };
    Ok(Response {
        kvs: kvs("kvs")?,
        count: number(said, "count"),
        deleted: number(said, "deleted"),
        previous,
    })
}

fn key_value(said: &Value) -> Result<KeyValue, String> {
    Ok(KeyValue {
        key: key_of(&Value::Nil, said)?,
        value: said.get("value").map(text).transpose()?,
        create: number(said, "create"),
        modified: number(said, "mod"),
        version: number(said, "version"),
        lease: number(said, "lease"),
    })
}

fn each<T>(
    said: &Value,
    name: &str,
    read: impl Fn(&Value) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    match said.get(name) {
        None | Some(Value::Nil) => Ok(Vec::new()),
        Some(list) => list
            .as_list()
            .ok_or(format!("{name} is a list"))?
            .iter()
            .map(read)
            .collect(),
    }
}

fn number(said: &Value, name: &str) -> Option<i64> {
    said.get(name).and_then(Value::as_integer)
}

fn lease(said: &Value) -> Result<i64, String> {
    number(said, "lease")
        .or(said.as_integer())
        .ok_or_else(|| "a request about a lease needs its lease".to_owned())
}

fn range(key: &Value, said: &Value) -> Result<Range, String> {
    let end = said
        .get("end")
        .filter(|end| !end.is_nil())
        .map(text)
        .transpose()?;
    Ok(Range {
        key: key_of(key, said)?,
        end,
    })
}

fn key_of(key: &Value, said: &Value) -> Result<Text, String> {
    match said.get("key") {
        Some(key) => text(key),
        None if key.is_nil() => Err("a request needs its key".to_owned()),
        None => text(key),
    }
}

/// Keys and values are strings; a whole number stands for its digits.
fn text(value: &Value) -> Result<Text, String> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Keyword(name) => Ok(Text::from(name.as_str())),
        Value::Integer(number) => Ok(Text::from(number.to_string())),
        Value::Nil => Ok(Text::from("")),
        other => Err(format!("keys and values are strings, not {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_before_its_end() {
        let range = |key: &str, end: Option<&str>| Range {
            key: key.into(),
            end: end.map(Text::from),
        };
        let holds = |range: &Range| ["a", "b", "c"].map(|key| range.holds(&Text::from(key)));
        assert_eq!(holds(&range("b", None)), [false, true, false]);
        assert_eq!(holds(&range("a", Some("c"))), [true, true, false]);
        assert_eq!(holds(&range("b", Some("\0"))), [false, true, true]);
        assert_eq!(holds(&range("b", Some("b"))), [false, false, false]);
    }

    #[test]
    fn each_result_is_of_the_orderings_that_it_names() {
        let orderings = [Ordering::Less, Ordering::Equal, Ordering::Greater];
        let holds = |wanted: Wanted| orderings.map(|field| wanted.is(field));
        assert_eq!(holds(Wanted::Equal), [false, true, false]);
        assert_eq!(holds(Wanted::Different), [true, false, true]);
        assert_eq!(holds(Wanted::Less), [true, false, false]);
        assert_eq!(holds(Wanted::Greater), [false, false, true]);
    }
}
