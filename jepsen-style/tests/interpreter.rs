//! Whole runs over a runtime in which time is a number: the same seed gives the same history, an unknown outcome ends its
//! process, and phases wait for each other.

#![allow(
    clippy::unwrap_used,
    reason = "a test may end where it finds what cannot be"
)]

use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use quorate_jepsen_style::check::{Checker, Verdict, linear::Linearizability};
use quorate_jepsen_style::client::{Answer, Client, Pending};
use quorate_jepsen_style::generator::{self, Ask, Generator, Next, Unique};
use quorate_jepsen_style::history::{History, Operation, Outcome, Process, Value};
use quorate_jepsen_style::interpreter::{self, Runtime, Settings};
use quorate_jepsen_style::model::register::Register;
use quorate_jepsen_style::nemesis::Package;
use quorate_jepsen_style::random::Random;

/// Time that goes on when nothing else can.
#[derive(Clone, Default)]
struct Virtual(Arc<Mutex<World>>);

#[derive(Default)]
struct World {
    now: Duration,
    tasks: Vec<Pending<'static, ()>>,
    timers: BinaryHeap<std::cmp::Reverse<Duration>>,
}

struct Sleep(Virtual, Duration);

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0.0.lock().unwrap().now >= self.1 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Runtime for Virtual {
    fn now(&self) -> Duration {
        self.0.lock().unwrap().now
    }

    fn sleep(&self, time: Duration) -> Pending<'static, ()> {
        let mut world = self.0.lock().unwrap();
        let until = world.now + time;
        world.timers.push(std::cmp::Reverse(until));
        Box::pin(Sleep(self.clone(), until))
    }

    fn spawn(&self, task: Pending<'static, ()>) {
        self.0.lock().unwrap().tasks.push(task);
    }
}

struct Never;

impl Wake for Never {
    fn wake(self: Arc<Self>) {}
}

impl Virtual {
    /// Polls everything in turn, and moves time when that changed nothing.
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let waker = Waker::from(Arc::new(Never));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            for _ in 0..3 {
                if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                    return value;
                }
                let tasks = std::mem::take(&mut self.0.lock().unwrap().tasks);
                let left: Vec<_> = tasks
                    .into_iter()
                    .filter_map(|mut task| {
                        task.as_mut()
                            .poll(&mut context)
                            .is_pending()
                            .then_some(task)
                    })
                    .collect();
                let mut world = self.0.lock().unwrap();
                let new = std::mem::take(&mut world.tasks);
                world.tasks = left.into_iter().chain(new).collect();
            }
            let mut world = self.0.lock().unwrap();
            let std::cmp::Reverse(next) = world.timers.pop().expect("nothing left to wait for");
            world.now = world.now.max(next);
        }
    }
}

/// A register that takes a while, and sometimes keeps its answer to itself.
struct Slow {
    runtime: Virtual,
    register: Arc<Mutex<Value>>,
    random: Random,
    lies: bool,
}

impl Client for Slow {
    fn invoke<'a>(&'a mut self, ask: &'a Ask) -> Pending<'a, Answer> {
        let mut time = || Duration::from_micros(100 + self.random.below(900));
        let (before, after) = (time(), time());
        let is_lost = self.random.below(10) == 0;
        Box::pin(async move {
            self.runtime.sleep(before).await;
            let output = match ask.function.as_str() {
                "read" if self.lies => Value::Integer(1),
                "read" => self.register.lock().unwrap().clone(),
                "write" => {
                    self.register.lock().unwrap().clone_from(&ask.input);
                    ask.input.clone()
                }
                _ => return Answer::ok("done"),
            };
            self.runtime.sleep(after).await;
            if is_lost {
                let answer = Answer::unknown("timeout");
                return if ask.function == "read" {
                    answer.of_read()
                } else {
                    answer
                };
            }
            Answer::ok(output).from_node("n1")
        })
    }
}

fn workload(writes: u64) -> Box<dyn Generator> {
    let mut unique = Unique::default();
    let write = generator::from_fn(move |_| Some(Ask::new("write").with(unique.value())));
    let read = generator::forever(Ask::new("read"));
    let mixed = generator::mix(vec![(1, Box::new(write)), (2, Box::new(read))]);
    Box::new(generator::limit(
        writes,
        generator::stagger(Duration::from_micros(150), mixed),
    ))
}

fn run(seed: u64, generator: &mut dyn Generator, lies: bool) -> (History, usize) {
    let runtime = Virtual::default();
    let register = Arc::new(Mutex::new(Value::Nil));
    let mut seeds = Random::new(seed);
    let world = runtime.clone();
    let mut clients = move |_: Process| -> Box<dyn Client> {
        let random = Random::new(seeds.bits());
        Box::new(Slow {
            runtime: world.clone(),
            register: Arc::clone(&register),
            random,
            lies,
        })
    };
    let settings = Settings {
        clients: 5,
        seed,
        patience: Duration::from_secs(1),
    };
    let mut journalled = 0;
    let mut journal = |_: &_| journalled += 1;
    let history = runtime
        .block_on(interpreter::run(
            &runtime,
            &settings,
            &mut clients,
            generator,
            &mut journal,
        ))
        .unwrap();
    (history, journalled)
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let (first, journalled) = run(7, &mut *workload(200), false);
    let (second, _) = run(7, &mut *workload(200), false);
    let (other, _) = run(8, &mut *workload(200), false);
    assert_eq!(first, second);
    assert_ne!(first, other);
    assert_eq!(first.len(), 200);
    assert_eq!(first.events().len(), journalled);
}

#[test]
fn a_register_that_works_passes_and_one_that_lies_fails() {
    let (good, _) = run(3, &mut *workload(300), false);
    assert_eq!(
        Linearizability::of(Register::default())
            .check(&good)
            .verdict,
        Verdict::Pass
    );
    let (bad, _) = run(3, &mut *workload(300), true);
    assert_eq!(
        Linearizability::of(Register::default()).check(&bad).verdict,
        Verdict::Fail
    );
}

#[test]
fn a_process_whose_outcome_is_unknown_never_asks_again() {
    let (history, _) = run(5, &mut *workload(300), false);
    let unknown: Vec<_> = history
        .operations()
        .iter()
        .filter(|operation| operation.outcome == Outcome::Unknown)
        .collect();
    assert!(unknown.len() > 3, "the test must see some");
    for operation in unknown {
        let later = history.operations().iter().filter(|other| {
            other.process == operation.process && other.invoked > operation.invoked
        });
        assert_eq!(later.count(), 0);
    }
}

#[test]
fn a_phase_begins_when_nothing_is_open() {
    let last = generator::each([Ask::new("read").with("last")]);
    let mut phases = generator::phases(vec![workload(50), Box::new(last)]);
    let (history, _) = run(9, &mut phases, false);
    let last = history.operations().last().unwrap();
    assert_eq!(last.input, Value::from("last"));
    let before = &history.operations()[..history.len() - 1];
    assert!(
        before
            .iter()
            .all(|operation| operation.ended.unwrap() < last.invoked)
    );
}

#[test]
fn keys_follow_one_another_each_by_one_group() {
    let mut keys = generator::per_key(2, 0..6, |_| Box::new(generator::limit(10, workload(100))));
    let (history, _) = run(4, &mut keys, false);
    let parts = history.by_key();
    assert_eq!(parts.len(), 6);
    for operations in parts.values() {
        assert_eq!(operations.len(), 10);
        let mut threads: Vec<u32> = operations
            .iter()
            .map(|operation| match operation.process {
                Process::Client(number) => number % 5 / 2,
                Process::Nemesis => panic!("the nemesis has no key"),
            })
            .collect();
        threads.dedup();
        assert_eq!(threads.len(), 1);
    }
}

#[test]
fn faults_run_beside_clients_and_are_ended() {
    let crashes = Package::crashes(Duration::from_millis(2));
    let both = generator::any(vec![crashes.schedule(), workload(400)]);
    let limited = generator::time_limit(Duration::from_millis(40), both);
    let mut phases = generator::phases(vec![Box::new(limited), crashes.heal()]);
    let (history, _) = run(2, &mut phases, false);
    let faults: Vec<&str> = history
        .nemesis()
        .map(|operation| operation.function.as_str())
        .collect();
    assert!(faults.len() > 5, "{faults:?}");
    assert!(
        faults.windows(2).all(|pair| pair[0] != pair[1]) || faults.ends_with(&["start", "start"])
    );
    assert_eq!(faults.last(), Some(&"start"));
    assert!(history.clients().count() > 100);
}

#[test]
fn reserved_clients_ask_only_their_own() {
    let reads = generator::limit(40, generator::forever(Ask::new("read")));
    let rest = generator::limit(40, generator::forever(Ask::new("write").with(1)));
    let mut reserved = generator::reserve(vec![(2, Box::new(reads))], Box::new(rest));
    let (history, _) = run(6, &mut reserved, false);
    assert_eq!(history.len(), 80);
    for operation in history.operations() {
        let Process::Client(number) = operation.process else {
            panic!("no faults here")
        };
        assert_eq!(operation.function == "read", number % 5 < 2);
    }
}

/// The answers of a generator that is asked so many times, with one free client and nothing open.
fn answers(generator: &mut dyn Generator, times: usize) -> Vec<Next> {
    let mut random = Random::new(1);
    let mut ask = |_| {
        generator.next(&mut generator::Context {
            now: Duration::ZERO,
            free: &[Process::Client(0)],
            open: 0,
            clients: 1,
            random: &mut random,
        })
    };
    (0..times).map(&mut ask).collect()
}

#[test]
fn a_mix_asks_by_weight_and_never_what_has_none() {
    let of = |function: &str| Box::new(generator::forever(Ask::new(function)));
    let mut mix = generator::mix(vec![(0, of("never")), (1, of("seldom")), (3, of("often"))]);
    let asked = answers(&mut mix, 4000);
    let count = |function: &str| {
        let is_it = |next: &&Next| matches!(next, Next::Ask(_, ask) if ask.function == function);
        asked.iter().filter(is_it).count()
    };
    assert_eq!(count("never"), 0);
    assert!(
        (900..1100).contains(&count("seldom")),
        "{}",
        count("seldom")
    );
    assert_eq!(count("often"), 4000 - count("seldom"));
}

#[test]
fn time_ends_though_nothing_completes() {
    let by_nemesis = generator::from_fn(|_| Some(Ask::new("start"))).by_nemesis();
    let mut limited = generator::time_limit(Duration::from_secs(3), by_nemesis);
    assert_eq!(
        answers(&mut limited, 1),
        [Next::Wait(Duration::from_secs(3))]
    );
}

/// The keys of the operations that a generator was told of.
type Told = Arc<Mutex<Vec<Value>>>;

/// Asks twice and remembers what it is told of.
struct Twice {
    asked: usize,
    told: Told,
}

impl Generator for Twice {
    fn next(&mut self, context: &mut generator::Context<'_>) -> Next {
        let Some(process) = context.client() else {
            return Next::Blocked;
        };
        if self.asked == 2 {
            return Next::Done;
        }
        self.asked += 1;
        Next::Ask(process, Ask::new("read"))
    }

    fn completed(&mut self, operation: &Operation) {
        self.told.lock().unwrap().push(operation.key.clone());
    }
}

#[test]
fn a_key_is_told_of_its_own_completions_only() {
    let all: Arc<Mutex<Vec<(Value, Told)>>> = Arc::default();
    let made = Arc::clone(&all);
    let mut keys = generator::per_key(2, 0..6, move |key| {
        let told = Told::default();
        made.lock().unwrap().push((key.clone(), Arc::clone(&told)));
        Box::new(Twice { asked: 0, told })
    });
    let (history, _) = run(4, &mut keys, false);
    assert_eq!(history.len(), 12);
    for (key, told) in all.lock().unwrap().iter() {
        assert!(
            told.lock().unwrap().iter().all(|other| other == key),
            "{key} {told:?}"
        );
    }
}

/// Takes requests and never answers.
struct Silent;

impl Client for Silent {
    fn invoke<'a>(&'a mut self, _: &'a Ask) -> Pending<'a, Answer> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn a_run_ends_with_its_patience_though_nobody_answers() {
    let runtime = Virtual::default();
    let settings = Settings {
        clients: 3,
        seed: 1,
        patience: Duration::from_secs(5),
    };
    let mut asks = generator::each([Ask::new("read"), Ask::new("read")]);
    let history = runtime
        .block_on(interpreter::run(
            &runtime,
            &settings,
            &mut |_| -> Box<dyn Client> { Box::new(Silent) },
            &mut asks,
            &mut |_| {},
        ))
        .unwrap();
    assert_eq!(runtime.now(), Duration::from_secs(5));
    let outcomes: Vec<Outcome> = history.operations().iter().map(|one| one.outcome).collect();
    assert_eq!(outcomes, [Outcome::Unknown; 2]);
}
