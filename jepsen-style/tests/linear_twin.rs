//! The search and the special algorithms against a twin that is slow and obviously right: it tries every order.

#![allow(
    clippy::unwrap_used,
    reason = "a test may end where it finds what cannot be"
)]
#![allow(
    clippy::needless_pass_by_value,
    reason = "tables of questions read better without ampersands"
)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use quorate_jepsen_style::check::linear::explain::{Bar, Explanation};
use quorate_jepsen_style::check::linear::{Judgement, Linearizability, Partition};
use quorate_jepsen_style::history::{
    History, Moment, Name, Operation, Outcome, Process, Value, read,
};
use quorate_jepsen_style::model::etcd::Etcd;
use quorate_jepsen_style::model::lock::{Ends, Lock};
use quorate_jepsen_style::model::{Model, counter, kv, map, queue, register, set};

/// What a client may ask in a test, with the answers that it may get, in EDN.
struct Question {
    function: &'static str,
    key: &'static str,
    input: &'static str,
    outputs: &'static [&'static str],
}

const fn ask(
    function: &'static str,
    input: &'static str,
    outputs: &'static [&'static str],
) -> Question {
    Question {
        function,
        key: "nil",
        input,
        outputs,
    }
}

const fn of(key: &'static str, question: Question) -> Question {
    Question { key, ..question }
}

fn edn(text: &str) -> Value {
    read::edn_value(text).unwrap()
}

/// One draw: who acts next, and if it is an invocation, of what and with which fate.
type Draw = (u8, u8, u8, u8);

fn draws(length: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<Draw>> {
    proptest::collection::vec(any::<Draw>(), length)
}

/// Makes a history of draws. `answer` chooses among the answers of a question at the moment of completion.
struct Maker<'a> {
    questions: &'a [Question],
    processes: u8,
    operations: Vec<Operation>,
    open: BTreeMap<u8, (usize, u8)>,
    order: u32,
}

impl<'a> Maker<'a> {
    fn new(questions: &'a [Question], processes: u8) -> Self {
        Self {
            questions,
            processes,
            operations: Vec::new(),
            open: BTreeMap::new(),
            order: 0,
        }
    }

    fn tick(&mut self) -> Moment {
        self.order += 1;
        Moment::at(self.order)
    }

    fn invoke(&mut self, process: u8, question: u8, outcome: u8) -> usize {
        let question = question as usize % self.questions.len();
        let invoked = self.tick();
        let Question {
            function,
            key,
            input,
            ..
        } = &self.questions[question];
        self.operations.push(Operation {
            process: Process::Client(u32::from(process)),
            function: Name::from(*function),
            key: edn(key),
            input: edn(input),
            output: Value::Nil,
            outcome: match outcome {
                0..=20 => Outcome::Failed,
                21..=40 => Outcome::Unknown,
                _ => Outcome::Ok,
            },
            invoked,
            ended: None,
            details: None,
        });
        self.open
            .insert(process, (self.operations.len() - 1, question as u8));
        self.operations.len() - 1
    }

    fn complete(&mut self, process: u8, output: Value) {
        let ended = self.tick();
        let (number, _) = self.open.remove(&process).unwrap();
        let operation = &mut self.operations[number];
        operation.ended = Some(ended);
        if operation.outcome == Outcome::Ok {
            operation.output = output;
        }
    }

    fn finish(mut self) -> History {
        for (number, _) in std::mem::take(&mut self.open).into_values() {
            self.operations[number].outcome = Outcome::Unknown;
        }
        History::new(self.operations)
    }
}

/// A history with answers as they come: right by chance.
fn any_history(questions: &[Question], draws: &[Draw]) -> History {
    let mut maker = Maker::new(questions, 3);
    for &(process, question, output, outcome) in draws {
        let process = process % maker.processes;
        match maker.open.get(&process) {
            Some(&(_, question)) => {
                let outputs = questions[question as usize].outputs;
                maker.complete(process, edn(outputs[output as usize % outputs.len()]));
            }
            None => {
                maker.invoke(process, question, outcome);
            }
        }
    }
    maker.finish()
}

/// A history whose answers were given by the model itself, each at one moment between invocation and completion.
fn true_history<M: Model>(model: &M, questions: &[Question], draws: &[Draw]) -> History {
    let mut maker = Maker::new(questions, 5);
    let mut states: BTreeMap<Value, M::State> = BTreeMap::new();
    let mut effect: BTreeMap<u8, Option<Value>> = BTreeMap::new();
    for &(process, question, choice, outcome) in draws {
        let process = process % maker.processes;
        match (
            maker.open.get(&process).copied(),
            effect.get(&process).cloned(),
        ) {
            (None, _) => {
                maker.invoke(process, question, outcome);
            }
            // It takes effect now, and is answered later.
            (Some((number, question)), None) => {
                let outputs = questions[question as usize].outputs;
                let mut operation = maker.operations[number].clone();
                let skipped = operation.outcome == Outcome::Failed
                    || operation.outcome == Outcome::Unknown && choice % 2 == 0;
                let part = model.part(&operation).cloned().unwrap_or_default();
                let state = states.entry(part).or_insert_with(|| model.init());
                let mut answer = None;
                for shift in 0..outputs.len() {
                    let output = edn(outputs[(choice as usize + shift) % outputs.len()]);
                    operation.output.clone_from(&output);
                    operation.outcome = Outcome::Ok;
                    let after = model
                        .call(&operation)
                        .unwrap()
                        .map(|call| model.step(state, &call));
                    match after {
                        _ if skipped => {}
                        Some(Some(after)) => *state = after,
                        Some(None) => continue,
                        None => {}
                    }
                    answer = Some(output);
                    break;
                }
                if answer.is_none() {
                    maker.operations[number].outcome = Outcome::Failed;
                }
                effect.insert(process, answer);
            }
            (Some(_), Some(answer)) => {
                maker.complete(process, answer.unwrap_or_default());
                effect.remove(&process);
            }
        }
    }
    // What took effect and was not answered is open: the twin of a lost answer.
    maker.finish()
}

/// Tries every order of everything, leaving out what may not have happened.
fn twin<M: Model>(model: &M, history: &History) -> bool {
    let calls: Vec<(&Operation, M::Call)> = history
        .operations()
        .iter()
        .filter(|operation| operation.outcome != Outcome::Failed)
        .filter_map(|operation| Some((operation, model.call(operation).unwrap()?)))
        .collect();
    let mut states = BTreeMap::new();
    try_all(model, &calls, &mut vec![false; calls.len()], &mut states)
}

fn try_all<M: Model>(
    model: &M,
    calls: &[(&Operation, M::Call)],
    placed: &mut [bool],
    states: &mut BTreeMap<Value, M::State>,
) -> bool {
    if (0..calls.len()).all(|number| placed[number] || calls[number].0.outcome == Outcome::Unknown)
    {
        return true;
    }
    for number in 0..calls.len() {
        let may_be_next = !placed[number]
            && (0..calls.len())
                .all(|other| placed[other] || !calls[other].0.precedes(calls[number].0));
        if !may_be_next {
            continue;
        }
        let part = model.part(calls[number].0).cloned().unwrap_or_default();
        let before = states.get(&part).cloned();
        let Some(after) = model.step(
            &before.clone().unwrap_or_else(|| model.init()),
            &calls[number].1,
        ) else {
            continue;
        };
        states.insert(part.clone(), after);
        placed[number] = true;
        if try_all(model, calls, placed, states) {
            return true;
        }
        placed[number] = false;
        match before {
            Some(before) => states.insert(part, before),
            None => states.remove(&part),
        };
    }
    false
}

/// Whether an order that was found is one: true to real time, complete, and right in every answer.
fn is_order<M: Model>(model: &M, history: &History, order: &[usize]) -> bool {
    let operations = history.operations();
    let mut states: BTreeMap<Value, M::State> = BTreeMap::new();
    for (place, &number) in order.iter().enumerate() {
        let operation = &operations[number];
        if order[place..]
            .iter()
            .any(|later| operations[*later].precedes(operation))
        {
            return false;
        }
        let Some(call) = model.call(operation).unwrap() else {
            return false;
        };
        let state = states
            .entry(model.part(operation).cloned().unwrap_or_default())
            .or_insert_with(|| model.init());
        match model.step(state, &call) {
            Some(after) => *state = after,
            None => return false,
        }
    }
    (0..operations.len()).all(|number| !operations[number].is_ok() || order.contains(&number))
}

/// What was recorded of an object (of all, if it is nil) up to and with the return at `end`.
fn prefix<M: Model>(model: &M, history: &History, part: &Value, end: u32) -> History {
    let is_in = |operation: &&Operation| {
        operation.invoked.order < end
            && (part.is_nil() || model.part(operation).unwrap_or(&Value::Nil) == part)
    };
    let cut = |operation: &Operation| {
        let mut operation = operation.clone();
        // What failed is known never to have happened, then as later.
        if operation.is_ok() && operation.ended.is_some_and(|ended| ended.order > end) {
            operation.outcome = Outcome::Unknown;
            operation.output = Value::Nil;
        }
        operation
    };
    history.operations().iter().filter(is_in).map(cut).collect()
}

/// Whether the prefix that an explanation names is the shortest that fails, and everything in it happened before its end.
fn is_right<M: Model>(
    model: &M,
    history: &History,
    part: &Value,
    explanation: &Explanation,
) -> Result<(), String> {
    let Some(culprit) = &explanation.culprit else {
        return Err("no culprit".to_owned());
    };
    let end = culprit.returned.ok_or("the culprit did not return")?;
    if twin(model, &prefix(model, history, part, end)) {
        return Err("the prefix does not fail".into());
    }
    let returns = history.operations().iter().filter_map(Operation::returned);
    if let Some(before) = returns
        .map(|moment| moment.order)
        .filter(|order| *order < end)
        .max()
        && !twin(model, &prefix(model, history, part, before))
    {
        return Err("there is a shorter prefix that fails".into());
    }
    let told = || explanation.order.iter().chain(&explanation.open);
    if told().any(|bar| bar.invoked > end) {
        return Err("something that is told began after the end".into());
    }
    let is_placed = |bar: &Bar| explanation.order.contains(bar);
    if explanation
        .open
        .iter()
        .any(|bar| is_placed(bar) || bar == culprit)
    {
        return Err("something is open and is placed, or is the culprit".into());
    }
    if explanation
        .open
        .iter()
        .any(|bar| bar.returned.is_some_and(|order| order < end))
    {
        return Err("something had returned and is not placed".into());
    }
    if explanation.order.len() > 12 {
        return Err("the order is long".into());
    }
    if explanation.prefix > told().count() + 1 {
        return Err("something of the prefix is not told".into());
    }
    // The culprit is placed, if at all, without its answer.
    let mut before = prefix(model, history, part, end).into_operations();
    for operation in before
        .iter_mut()
        .filter(|one| one.invoked.order == culprit.invoked)
    {
        operation.outcome = Outcome::Unknown;
        operation.output = Value::Nil;
    }
    let mut states = BTreeMap::new();
    for (place, bar) in explanation.order.iter().enumerate() {
        let placed = before.iter().find(|one| one.invoked.order == bar.invoked);
        let operation = placed.ok_or("something that is placed began after the end")?;
        let later = &explanation.order[place..];
        if later
            .iter()
            .any(|later| later.returned.is_some_and(|order| order < bar.invoked))
        {
            return Err("the order is not that of real time".into());
        }
        let key = model.part(operation).cloned().unwrap_or_default();
        let state = states.entry(key).or_insert_with(|| model.init());
        let call = model
            .call(operation)?
            .ok_or("something without a call is placed")?;
        *state = model
            .step(state, &call)
            .ok_or("the order does not explain an answer")?;
    }
    Ok(())
}

fn agrees<M: Model + Clone>(model: M, history: &History) -> Result<(), TestCaseError> {
    let expected = twin(&model, history);
    for partition in [Partition::ByPart, Partition::Off] {
        let checker = Linearizability::of(model.clone()).partitioned(partition);
        let judged = checker.judge(history);
        let story: Vec<String> = history
            .operations()
            .iter()
            .map(|operation| {
                format!(
                    "{:?} {:?} {operation}",
                    operation.invoked.order,
                    operation.returned()
                )
            })
            .collect();
        prop_assert_eq!(
            judged == Judgement::Linearizable,
            expected,
            "{:?}: {:?} {:#?}",
            partition,
            judged,
            story
        );
        match checker.order(history) {
            Some(order) => prop_assert!(
                expected && is_order(&model, history, &order),
                "{order:?} {story:#?}"
            ),
            None => prop_assert!(!expected, "no order {story:#?}"),
        }
        if let Judgement::Illegal { part, .. } = judged {
            let explanation = checker.explain(history, &part);
            if let Err(wrong) = is_right(&model, history, &part, &explanation) {
                return Err(TestCaseError::fail(format!(
                    "{wrong}: {partition:?} {explanation:#?} {story:#?}"
                )));
            }
        }
    }
    Ok(())
}

fn config(cases: u32) -> Config {
    // Set QUORATE_TWIN_CASES to search further, from other seeds each time.
    match std::env::var("QUORATE_TWIN_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
    {
        Some(cases) => Config {
            cases,
            failure_persistence: None,
            ..Config::default()
        },
        None => Config {
            cases,
            rng_seed: RngSeed::Fixed(7),
            failure_persistence: None,
            ..Config::default()
        },
    }
}

macro_rules! against_the_twin {
    ($($name:ident: $model:expr, $questions:expr;)*) => { $(
        mod $name {
            use super::*;

            const QUESTIONS: &[Question] = $questions;

            proptest! {
                #![proptest_config(config(1500))]

                #[test]
                fn short_histories_are_judged_as_the_twin_judges(draws in draws(0..16)) {
                    agrees($model, &any_history(QUESTIONS, &draws))?;
                }

                #[test]
                fn one_corruption_is_judged_as_the_twin_judges(draws in draws(0..21), place: u8, output: u8) {
                    let history = true_history(&$model, QUESTIONS, &draws);
                    let mut operations = history.into_operations();
                    operations.truncate(8);
                    if !operations.is_empty() {
                        let place = place as usize % operations.len();
                        let operation = &mut operations[place];
                        let question = QUESTIONS.iter().find(|question| {
                            operation.function == question.function
                                && operation.input == edn(question.input)
                                && operation.key == edn(question.key)
                        });
                        let outputs = question.unwrap().outputs;
                        operation.output = edn(outputs[output as usize % outputs.len()]);
                    }
                    agrees($model, &History::new(operations))?;
                }
            }

            proptest! {
                #![proptest_config(config(100))]

                #[test]
                fn what_the_model_did_itself_is_never_wrong(draws in draws(0..80)) {
                    let history = true_history(&$model, QUESTIONS, &draws);
                    for partition in [Partition::ByPart, Partition::Off] {
                        let judged = Linearizability::of($model).partitioned(partition).judge(&history);
                        prop_assert_eq!(judged, Judgement::Linearizable);
                    }
                }
            }
        }
    )* };
}

against_the_twin! {
    cas_register: register::CasRegister::default(), &[
        ask("read", "nil", &["nil", "1", "2", "3"]),
        ask("read", "nil", &["1", "2", "nil"]),
        ask("write", "1", &["1"]),
        ask("write", "2", &["2"]),
        ask("cas", "[1 2]", &["true", "false"]),
        ask("cas", "[2 3]", &["false", "true"]),
    ];
    register_of_unique_writes: register::Register::default(), &[
        ask("read", "nil", &["nil", "1", "2", "3", "4"]),
        ask("read", "nil", &["1", "2", "3", "4", "nil", "5"]),
        ask("read", "nil", &["4", "3", "2", "1"]),
        ask("write", "1", &["1"]),
        ask("write", "2", &["2"]),
        ask("write", "3", &["3"]),
        ask("write", "4", &["4"]),
    ];
    two_registers: register::CasRegister::default(), &[
        of(":x", ask("read", "nil", &["nil", "1", "2"])),
        of(":x", ask("write", "1", &["1"])),
        of(":y", ask("read", "nil", &["nil", "1", "2"])),
        of(":y", ask("write", "2", &["2"])),
        of(":y", ask("cas", "[2 1]", &["true", "false"])),
    ];
    key_value: kv::KeyValue, &[
        of("1", ask("get", "nil", &[r#""""#, r#""a""#, r#""b""#, r#""ab""#, r#""ba""#, r#""cb""#])),
        of("1", ask("put", r#""c""#, &["nil"])),
        of("1", ask("append", r#""a""#, &["nil"])),
        of("1", ask("append", r#""b""#, &["nil"])),
        of("2", ask("get", "nil", &[r#""""#, r#""a""#, r#""b""#, r#""ab""#, r#""ba""#])),
        of("2", ask("append", r#""a""#, &["nil"])),
        of("2", ask("append", r#""b""#, &["nil"])),
        of("2", ask("put", r#""""#, &["nil"])),
    ];
    multi_key_map: map::MultiKeyMap, &[
        ask("txn", "[[:r :x nil] [:r :y nil]]", &["[[:r :x 1] [:r :y 1]]", "[[:r :x nil] [:r :y nil]]", "[[:r :x 1] [:r :y 2]]"]),
        ask("txn", "[[:w :x 1] [:w :y 1]]", &["[[:w :x 1] [:w :y 1]]"]),
        ask("txn", "[[:r :x nil] [:w :y 2]]", &["[[:r :x 1] [:w :y 2]]", "[[:r :x nil] [:w :y 2]]"]),
    ];
    set_of_unique_adds: set::Set, &[
        ask("add", "1", &["nil"]),
        ask("add", "2", &["nil"]),
        ask("add", "3", &["nil"]),
        ask("read", "nil", &["[]", "[1]", "[2]", "[1 2]", "[1 2 3]", "[3]"]),
        ask("read", "nil", &["[1 2 3]", "[1 3]", "[2 3]", "[1]", "[]"]),
    ];
    plain_set: set::Set, &[
        ask("add", "1", &["nil"]),
        ask("remove", "1", &["nil"]),
        ask("contains", "1", &["true", "false"]),
        ask("add", "2", &["nil"]),
        ask("read", "nil", &["[]", "[1]", "[2]", "[1 2]"]),
    ];
    fifo_queue: queue::Queue, &[
        ask("enqueue", "1", &["nil"]),
        ask("enqueue", "2", &["nil"]),
        ask("enqueue", "3", &["nil"]),
        ask("enqueue", "4", &["nil"]),
        ask("dequeue", "nil", &["1", "2", "3", "4", "nil"]),
        ask("dequeue", "nil", &["nil", "1", "2", "3"]),
        ask("dequeue", "nil", &["2", "3", "1", "nil"]),
    ];
    counter_of_ones: counter::Counter, &[
        ask("increment", "nil", &["nil"]),
        ask("read", "nil", &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"]),
        ask("read", "nil", &["1", "2", "0", "3", "4", "5", "6"]),
    ];
    any_counter: counter::Counter, &[
        ask("add", "2", &["nil"]),
        ask("decrement", "nil", &["nil"]),
        ask("read", "nil", &["0", "1", "2", "3", "-1", "4", "-2"]),
    ];
    held_lock: Lock::ending(Ends::ByRelease), &[
        ask("acquire", "nil", &["1", "2", "3"]),
        ask("release", "nil", &["nil"]),
        ask("use", "1", &["true", "false"]),
        ask("use", "2", &["true", "false"]),
    ];
    lock_that_expires: Lock::ending(Ends::ByExpiry), &[
        ask("acquire", "nil", &["1", "2", "3", "4"]),
        ask("release", "nil", &["nil"]),
        ask("use", "1", &["true", "false"]),
        ask("use", "2", &["true", "false"]),
    ];
    etcd_with_revisions: Etcd::default(), &[
        ask("put", r#"{"key" "a" "value" "1"}"#, &[r#"{"revision" 2}"#, r#"{"revision" 3}"#, r#"{"revision" 4}"#, r#"{"revision" 5}"#, r#"{"revision" 6}"#, r#"{"revision" 7}"#, r#"{"revision" 8}"#]),
        ask("put", r#"{"key" "a" "value" "2"}"#, &[r#"{"revision" 2}"#, r#"{"revision" 3}"#, r#"{"revision" 4}"#, r#"{"revision" 5}"#, r#"{"revision" 6}"#, r#"{"revision" 7}"#, r#"{"revision" 8}"#]),
        ask("get", r#"{"key" "a"}"#, &[r#"{"revision" 1 "kvs" []}"#, r#"{"revision" 1 "kvs" [{"key" "a" "value" "1"}]}"#, r#"{"revision" 1 "kvs" [{"key" "a" "value" "2"}]}"#, r#"{"revision" 2 "kvs" []}"#, r#"{"revision" 2 "kvs" [{"key" "a" "value" "1"}]}"#, r#"{"revision" 2 "kvs" [{"key" "a" "value" "2"}]}"#, r#"{"revision" 3 "kvs" []}"#, r#"{"revision" 3 "kvs" [{"key" "a" "value" "1"}]}"#, r#"{"revision" 3 "kvs" [{"key" "a" "value" "2"}]}"#, r#"{"revision" 4 "kvs" []}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "1"}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "2"}]}"#, r#"{"revision" 5 "kvs" []}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1"}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2"}]}"#]),
        ask("txn", r#"{"compare" [{"key" "a" "target" "value" "result" "=" "operand" "1"}] "then" [{"f" "put" "key" "a" "value" "2"}] "else" [{"f" "delete" "key" "a"}]}"#, &[r#"{"revision" 2 "succeeded" true}"#, r#"{"revision" 2 "succeeded" false}"#, r#"{"revision" 3 "succeeded" true}"#, r#"{"revision" 3 "succeeded" false}"#, r#"{"revision" 4 "succeeded" true}"#, r#"{"revision" 4 "succeeded" false}"#, r#"{"revision" 5 "succeeded" true}"#, r#"{"revision" 5 "succeeded" false}"#, r#"{"revision" 6 "succeeded" true}"#, r#"{"revision" 6 "succeeded" false}"#]),
    ];
    etcd_with_versions: Etcd::default(), &[
        ask("put", r#"{"key" "a" "value" "1"}"#, &[r#"{"revision" 2}"#, r#"{"revision" 3}"#, r#"{"revision" 4}"#, r#"{"revision" 5}"#, r#"{"revision" 6}"#]),
        ask("put", r#"{"key" "a" "value" "2"}"#, &[r#"{"revision" 2}"#, r#"{"revision" 3}"#, r#"{"revision" 4}"#, r#"{"revision" 5}"#, r#"{"revision" 6}"#]),
        ask("put", r#"{"key" "b" "value" "3"}"#, &[r#"{"revision" 2}"#, r#"{"revision" 3}"#, r#"{"revision" 4}"#, r#"{"revision" 5}"#, r#"{"revision" 6}"#]),
        ask("put", r#"{"key" "b" "value" "4"}"#, &[r#"{"revision" 2}"#, r#"{"revision" 3}"#, r#"{"revision" 4}"#, r#"{"revision" 5}"#, r#"{"revision" 6}"#]),
        ask("put", r#"{"key" "b" "value" "5"}"#, &[r#"{"revision" 2}"#, r#"{"revision" 3}"#, r#"{"revision" 4}"#, r#"{"revision" 5}"#, r#"{"revision" 6}"#]),
        ask("delete", r#"{"key" "a"}"#, &[r#"{"revision" 1 "deleted" 0}"#, r#"{"revision" 1 "deleted" 1}"#, r#"{"revision" 2 "deleted" 0}"#, r#"{"revision" 2 "deleted" 1}"#, r#"{"revision" 3 "deleted" 0}"#, r#"{"revision" 3 "deleted" 1}"#, r#"{"revision" 4 "deleted" 0}"#, r#"{"revision" 4 "deleted" 1}"#, r#"{"revision" 5 "deleted" 0}"#, r#"{"revision" 5 "deleted" 1}"#, r#"{"revision" 6 "deleted" 0}"#, r#"{"revision" 6 "deleted" 1}"#]),
        ask("get", r#"{"key" "a"}"#, &[r#"{"revision" 1 "kvs" []}"#, r#"{"revision" 2 "kvs" []}"#, r#"{"revision" 3 "kvs" []}"#, r#"{"revision" 4 "kvs" []}"#, r#"{"revision" 5 "kvs" []}"#, r#"{"revision" 2 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 2 "version" 1}]}"#, r#"{"revision" 2 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 2 "version" 1}]}"#, r#"{"revision" 3 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 2 "version" 1}]}"#, r#"{"revision" 3 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 2 "version" 1}]}"#, r#"{"revision" 3 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 3 "version" 2}]}"#, r#"{"revision" 3 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 3 "version" 2}]}"#, r#"{"revision" 3 "kvs" [{"key" "a" "value" "1" "create" 3 "mod" 3 "version" 1}]}"#, r#"{"revision" 3 "kvs" [{"key" "a" "value" "2" "create" 3 "mod" 3 "version" 1}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 2 "version" 1}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 2 "version" 1}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 3 "version" 2}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 3 "version" 2}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "1" "create" 3 "mod" 3 "version" 1}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "2" "create" 3 "mod" 3 "version" 1}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 4 "version" 2}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 4 "version" 2}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 4 "version" 3}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 4 "version" 3}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "1" "create" 3 "mod" 4 "version" 2}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "2" "create" 3 "mod" 4 "version" 2}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "1" "create" 4 "mod" 4 "version" 1}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "2" "create" 4 "mod" 4 "version" 1}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 2 "version" 1}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 2 "version" 1}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 3 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 3 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 3 "mod" 3 "version" 1}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 3 "mod" 3 "version" 1}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 4 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 4 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 4 "version" 3}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 4 "version" 3}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 3 "mod" 4 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 3 "mod" 4 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 4 "mod" 4 "version" 1}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 4 "mod" 4 "version" 1}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 5 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 5 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 5 "version" 3}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 5 "version" 3}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 5 "version" 4}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 5 "version" 4}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 3 "mod" 5 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 3 "mod" 5 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 3 "mod" 5 "version" 3}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 3 "mod" 5 "version" 3}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 4 "mod" 5 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 4 "mod" 5 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 5 "mod" 5 "version" 1}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 5 "mod" 5 "version" 1}]}"#]),
        ask("get", r#"{"key" "a"}"#, &[r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 5 "mod" 5 "version" 1}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 5 "mod" 5 "version" 1}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 4 "mod" 5 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 4 "mod" 5 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 3 "mod" 5 "version" 3}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 3 "mod" 5 "version" 3}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 3 "mod" 5 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 3 "mod" 5 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 5 "version" 4}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 5 "version" 4}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 5 "version" 3}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 5 "version" 3}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 5 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 5 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 4 "mod" 4 "version" 1}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 4 "mod" 4 "version" 1}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 3 "mod" 4 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 3 "mod" 4 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 4 "version" 3}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 4 "version" 3}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 4 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 4 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 3 "mod" 3 "version" 1}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 3 "mod" 3 "version" 1}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 3 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 3 "version" 2}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 2 "version" 1}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 2 "version" 1}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "2" "create" 4 "mod" 4 "version" 1}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "1" "create" 4 "mod" 4 "version" 1}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "2" "create" 3 "mod" 4 "version" 2}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "1" "create" 3 "mod" 4 "version" 2}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 4 "version" 3}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 4 "version" 3}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 4 "version" 2}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 4 "version" 2}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "2" "create" 3 "mod" 3 "version" 1}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "1" "create" 3 "mod" 3 "version" 1}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 3 "version" 2}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 3 "version" 2}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 2 "version" 1}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 2 "version" 1}]}"#, r#"{"revision" 3 "kvs" [{"key" "a" "value" "2" "create" 3 "mod" 3 "version" 1}]}"#, r#"{"revision" 3 "kvs" [{"key" "a" "value" "1" "create" 3 "mod" 3 "version" 1}]}"#, r#"{"revision" 3 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 3 "version" 2}]}"#, r#"{"revision" 3 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 3 "version" 2}]}"#, r#"{"revision" 3 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 2 "version" 1}]}"#, r#"{"revision" 3 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 2 "version" 1}]}"#, r#"{"revision" 2 "kvs" [{"key" "a" "value" "2" "create" 2 "mod" 2 "version" 1}]}"#, r#"{"revision" 2 "kvs" [{"key" "a" "value" "1" "create" 2 "mod" 2 "version" 1}]}"#, r#"{"revision" 5 "kvs" []}"#, r#"{"revision" 4 "kvs" []}"#, r#"{"revision" 3 "kvs" []}"#, r#"{"revision" 2 "kvs" []}"#, r#"{"revision" 1 "kvs" []}"#]),
        ask("txn", r#"{"compare" [{"key" "b" "target" "value" "result" "=" "operand" "4"}] "then" [{"f" "put" "key" "a" "value" "1"}] "else" [{"f" "put" "key" "a" "value" "2"}]}"#, &[r#"{"revision" 2 "succeeded" true}"#, r#"{"revision" 2 "succeeded" false}"#, r#"{"revision" 3 "succeeded" true}"#, r#"{"revision" 3 "succeeded" false}"#, r#"{"revision" 4 "succeeded" true}"#, r#"{"revision" 4 "succeeded" false}"#, r#"{"revision" 5 "succeeded" true}"#, r#"{"revision" 5 "succeeded" false}"#]),
    ];
    etcd_with_bare_revisions: Etcd::default(), &[
        ask("put", r#"{"key" "a" "value" "1"}"#, &[r#"{"revision" 2}"#, r#"{"revision" 3}"#, r#"{"revision" 4}"#, r#"{"revision" 5}"#, r#"{"revision" 6}"#, r#"{"revision" 7}"#, r#"{"revision" 8}"#]),
        ask("delete", r#"{"key" "a"}"#, &[r#"{"revision" 1}"#, r#"{"revision" 2}"#, r#"{"revision" 3}"#, r#"{"revision" 4}"#, r#"{"revision" 5}"#, r#"{"revision" 6}"#]),
        ask("txn", r#"{"compare" [{"key" "a" "target" "version" "result" "=" "operand" 0}] "then" [{"f" "put" "key" "a" "value" "2"}] "else" []}"#, &[r#"{"revision" 1}"#, r#"{"revision" 2}"#, r#"{"revision" 3}"#, r#"{"revision" 4}"#, r#"{"revision" 5}"#, r#"{"revision" 6}"#]),
        ask("get", r#"{"key" "a"}"#, &[r#"{"revision" 1 "kvs" []}"#, r#"{"revision" 2 "kvs" []}"#, r#"{"revision" 3 "kvs" []}"#, r#"{"revision" 4 "kvs" []}"#, r#"{"revision" 2 "kvs" [{"key" "a" "value" "1"}]}"#, r#"{"revision" 2 "kvs" [{"key" "a" "value" "2"}]}"#, r#"{"revision" 3 "kvs" [{"key" "a" "value" "1"}]}"#, r#"{"revision" 4 "kvs" [{"key" "a" "value" "2"}]}"#, r#"{"revision" 5 "kvs" [{"key" "a" "value" "1"}]}"#]),
    ];
    etcd_without_revisions: Etcd::default(), &[
        ask("put", r#"{"key" "a" "value" "1"}"#, &["{}"]),
        ask("put", r#"{"key" "a" "value" "2" "lease" 7}"#, &["{}"]),
        ask("delete", r#"{"key" "a"}"#, &[r#"{"deleted" 0}"#, r#"{"deleted" 1}"#]),
        ask("get", r#"{"key" "a"}"#, &[r#"{"kvs" []}"#, r#"{"kvs" [{"key" "a" "value" "1"}]}"#, r#"{"kvs" [{"key" "a" "value" "2"}]}"#]),
        ask("txn", r#"{"compare" [{"key" "a" "target" "value" "result" "=" "operand" "1"}] "then" [{"f" "put" "key" "a" "value" "2"}] "else" [{"f" "delete" "key" "a"}]}"#, &[r#"{"succeeded" true}"#, r#"{"succeeded" false}"#]),
        ask("lease-grant", r#"{"lease" 7}"#, &["{}"]),
        ask("lease-revoke", r#"{"lease" 7}"#, &["{}"]),
    ];
}
