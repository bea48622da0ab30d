//! One run: build, break, heal, converge, judge, report.
//!
//! Clients live on a machine of their own, which no partition is about, so that they reach both sides of every cut: a
//! reader on the wrong side is what finds a node that answers from yesterday. They go on after the heal, and what they
//! read then says whether anything acknowledged was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use quorate::runtime::{Instant, Runtime};
use quorate_jepsen_style::client::{Client, Pending};
use quorate_jepsen_style::history::{History, Process, write};
use quorate_jepsen_style::interpreter::{self, Settings};
use quorate_reports::{RunReport, Verdict};
use quorate_sim::cluster::Cluster;
use quorate_sim::cpu::thread_cpu_time;
use quorate_sim::determinism::Recording;
use quorate_sim::disk::{DiskFaults, Image, Rate};
use quorate_sim::faults::{Atlas, Schedule};
use quorate_sim::host::HostId;
use quorate_sim::liveness::is_legitimate;
use quorate_sim::madsim::MadsimWorld;
use quorate_sim::runtime::Simulated;
use quorate_sim::seed::Seed;
use quorate_sim::simulation::{Simulation, simulate};
use quorate_sim::simulator::Simulator;
use quorate_sim::trace::{Detail, Digest, Keep, Place};
use quorate_sim::turmoil::TurmoilWorld;
use quorate_sim::world::{SimulatedTime, World};

use crate::client::{EtcdClient, compact, voters};
use crate::judge::{Evidence, counts, judge, words};
use crate::scenario::{Faults, Scenario};
use crate::world::WorldName;

/// The machine of the clients; nodes count from 1 and never get so far.
const CLIENTS: HostId = HostId::new(200);
/// How soon an undisturbed cluster must have formed.
const FORMS: Duration = Duration::from_secs(60);
/// How long clients wait for what is open when they have asked everything.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is counted beside the faults: nodes that vote at the end and did not in the beginning.
pub const ROLE_CHANGED: &str = "role-changed";

/// A run that is over.
#[derive(Debug, Clone)]
pub struct Run {
    /// What came of it.
    pub report: RunReport,
    /// What clients asked and were told.
    pub history: History,
    /// Everything that happened, to be compared with another run of the seed.
    pub recording: Recording,
}

/// The command that repeats a run.
#[must_use]
pub fn repeat(scenario: &Scenario, seed: Seed, world: WorldName) -> String {
    format!("chaos run {} --seed {seed} --world {world}", scenario.name)
}

/// Runs a scenario from a seed.
///
/// # Panics
/// When the harness itself is broken.
#[must_use]
pub fn run(scenario: &Scenario, seed: Seed, world: WorldName, keep: Keep) -> Run {
    match world {
        WorldName::Madsim => run_in::<MadsimWorld>(scenario, seed, world, keep),
        WorldName::Turmoil => run_in::<TurmoilWorld>(scenario, seed, world, keep),
    }
}

/// The report of a run that the harness could not carry out.
#[must_use]
pub fn not_run(scenario: &Scenario, seed: Seed, world: WorldName, reason: String) -> RunReport {
    RunReport {
        format: quorate_reports::run::FORMAT,
        scenario: scenario.name.to_owned(),
        seed: seed.number(),
        world: world.name().to_owned(),
        verdict: Verdict::NotRun,
        reason,
        evidence: Vec::new(),
        trace_digest: String::new(),
        trace_events: 0,
        simulated_seconds: 0.0,
        cpu_seconds: 0.0,
        operations: counts(&History::default()),
        faults: BTreeMap::new(),
        recoveries: BTreeMap::new(),
        options: scenario.options(seed).to_string(),
        repeat: repeat(scenario, seed, world),
    }
}

/// What is left when the world is gone.
struct Left {
    evidence: Evidence,
    recording: Recording,
    told: Vec<(String, u64)>,
    simulated: Duration,
    cpu: Duration,
}

fn run_in<M: Simulator>(scenario: &Scenario, seed: Seed, world: WorldName, keep: Keep) -> Run {
    let left = simulate::<M, _>(seed, keep, |world| {
        let evidence = live(scenario, seed, world);
        if let Ok(history) = &evidence.history {
            note(world, history);
        }
        let told = world.witness().told();
        Left {
            evidence,
            recording: Recording::of(world.trace()),
            told: told
                .into_iter()
                .map(|(name, times)| (name.to_owned(), times))
                .collect(),
            simulated: world.now(),
            cpu: thread_cpu_time(),
        }
    });
    let judged = judge(scenario, seed, &left.evidence);
    let (reason, lines) = words(&judged);
    let history = left.evidence.history.unwrap_or_default();
    let report = RunReport {
        verdict: judged.verdict,
        evidence: lines,
        operations: counts(&history),
        faults: left.evidence.fired,
        trace_digest: left.recording.digest.to_string(),
        trace_events: left.recording.events,
        simulated_seconds: left.simulated.as_secs_f64(),
        cpu_seconds: left.cpu.as_secs_f64(),
        recoveries: left.told.into_iter().collect(),
        ..not_run(scenario, seed, world, reason)
    };
    Run {
        report,
        history,
        recording: left.recording,
    }
}

/// The phases of a run.
fn live<M: Simulator>(scenario: &Scenario, seed: Seed, world: &mut Simulation<M>) -> Evidence {
    let options = scenario.options(seed);
    let nodes: Vec<HostId> = (1..=options.nodes).map(HostId::new).collect();
    let machines = 1..=options.nodes + options.reserve;
    let machines: Vec<HostId> = machines.map(HostId::new).collect();
    let mut plan = Schedule::new(&options, &machines, seed);
    world.plug(CLIENTS, Arc::new(|| Box::pin(async {})));
    let _ = world.start(CLIENTS);

    let mut cluster = Cluster::plug(world, options);
    // Nothing has been done to it yet, so that it has no right not to.
    if let Err(reason) = cluster.form(FORMS) {
        let history = Err("nobody asked anything of a cluster that did not form".to_owned());
        let stuck = format!("in the beginning: {reason}");
        return evidence(&mut cluster, history, Some(stuck));
    }

    if scenario.faults == Faults::Lies {
        let faults = DiskFaults {
            ignored_sync: Rate::ALWAYS,
            ..DiskFaults::none()
        };
        for node in &nodes {
            cluster.world().machine(*node).disk().set_faults(faults);
        }
    }
    let at_first = voting(cluster.world());
    let atlas = Atlas::new(&nodes, seed);
    let mut able: BTreeSet<HostId> = nodes.iter().copied().collect();
    let compacting = compact::<Simulated<M::Substrate>>(machines.clone());
    let _ = cluster.world().spawn(CLIENTS, compacting);
    // Those in reserve as well: they answer once they have joined.
    let asking = ask::<M>(scenario, seed, machines);
    let answer = cluster.world().spawn(CLIENTS, asking);
    let asked = cluster.world().now();
    let mut forgotten = None;
    if scenario.faults == Faults::Amnesia {
        forget(&mut cluster, &atlas, &mut able, scenario.suffers);
        forgotten = Some(cluster.world().now() - asked);
    } else {
        cluster.suffer(&mut plan, scenario.suffers);
        cluster.heal();
    }
    let bound = scenario.calm + scenario.converges + PATIENCE * 2;
    let history = cluster.until(bound, || answer.take());
    let history = history.unwrap_or_else(|| Err("the clients did not come back".to_owned()));
    let answered_from_yesterday = forgotten
        .zip(history.as_ref().ok())
        .is_some_and(|(moment, history)| is_answered_after(history, moment));
    let stuck = cluster.converge(scenario.converges).err();
    let had_a_right = stuck
        .as_ref()
        .is_some_and(|reason| is_legitimate(reason, &atlas, &able));
    let stuck = stuck.map(|reason| format!("after the heal: {reason}"));
    let mut evidence = Evidence {
        had_a_right,
        answered_from_yesterday,
        ..evidence(&mut cluster, history, stuck)
    };
    let at_last = voting(cluster.world());
    if let (Some(first), Some(last)) = (at_first, at_last) {
        let promoted = last.difference(&first).count();
        let promoted = (promoted > 0).then_some((ROLE_CHANGED.to_owned(), promoted as u64));
        evidence.fired.extend(promoted);
    }
    evidence
}

/// What is to be seen of a cluster now.
fn evidence<M: Simulator>(
    cluster: &mut Cluster<'_, M>,
    history: Result<History, String>,
    stuck: Option<String>,
) -> Evidence {
    let standing = stuck.as_ref().map(|_| cluster.describe());
    let (findings, panics) = cluster.findings();
    let fired = cluster.world().fired().into_iter();
    Evidence {
        history,
        findings: findings.iter().map(ToString::to_string).collect(),
        panics: panics
            .iter()
            .map(|(host, text)| format!("{host} panicked: {text}"))
            .collect(),
        stuck,
        had_a_right: false,
        answered_from_yesterday: false,
        standing: standing.unwrap_or_default(),
        fired: fired
            .map(|(name, times)| (name.to_owned(), times))
            .collect(),
    }
}

/// Puts the disks of one more follower than can be spared back to what they were in the middle of this time. No operator
/// helps: they are not able any more.
fn forget<M: Simulator>(
    cluster: &mut Cluster<'_, M>,
    atlas: &Atlas,
    able: &mut BTreeSet<HostId>,
    time: Duration,
) {
    cluster.advance(time / 2);
    let leader = cluster.leader().map(HostId::new);
    let followers = able.iter().copied().filter(|host| Some(*host) != leader);
    let forgetful: Vec<HostId> = followers.take(atlas.spare_failures() + 1).collect();
    let disk = |world: &Simulation<M>, host| world.machine(host).disk().save();
    let images: Vec<(HostId, Image)> = forgetful
        .iter()
        .map(|host| (*host, disk(cluster.world(), *host)))
        .collect();
    cluster.advance(time / 2);
    for (host, image) in images {
        cluster.world().put_back(host, image);
        able.remove(&host);
    }
}

/// Whether anything was answered that was asked later than so long after the first question. Clients count their time from
/// when they begin, a moment after they were told to.
fn is_answered_after(history: &History, moment: Duration) -> bool {
    history.clients().any(|operation| {
        operation.is_ok() && Duration::from_nanos(operation.invoked.nanoseconds) > moment
    })
}

/// Who votes, as the first node says.
fn voting<M: Simulator>(world: &mut Simulation<M>) -> Option<BTreeSet<u64>> {
    let asked = voters::<Simulated<M::Substrate>>(HostId::new(1));
    world.run(CLIENTS, PATIENCE, asked).flatten()
}

/// What the machine of the clients does. A process that was lost goes on as another one, mostly on another node.
fn ask<M: Simulator>(
    scenario: &Scenario,
    seed: Seed,
    nodes: Vec<HostId>,
) -> impl Future<Output = Result<History, String>> + Send + use<M> {
    let time = scenario.suffers + scenario.calm;
    // A cluster may take as long to come together after the heal.
    let mut generator = scenario.workload.generator(time, scenario.converges);
    let settings = Settings {
        clients: scenario.workload.clients,
        seed: seed.labelled("workload").number(),
        patience: PATIENCE,
    };
    async move {
        let runtime = Ticking::<Simulated<M::Substrate>>::new();
        let overtime = runtime.started + time;
        let mut clients = move |process: Process| -> Box<dyn Client> {
            let number = match process {
                Process::Client(number) => number as usize,
                Process::Nemesis => 0,
            };
            Box::new(EtcdClient::<Simulated<M::Substrate>>::of(
                nodes.clone(),
                number,
                overtime,
            ))
        };
        interpreter::run(
            &runtime,
            &settings,
            &mut clients,
            &mut generator,
            &mut |_| (),
        )
        .await
        .map_err(|error| format!("the recording is broken: {error}"))
    }
}

/// The digest of what clients were told belongs to what happened.
fn note<M: Simulator>(world: &Simulation<M>, history: &History) {
    let mut lines = Vec::new();
    write::write(history, &mut lines).expect("memory takes everything");
    world.trace().record(
        world.now(),
        Place::World,
        "history",
        Detail::Number(Digest::of(&lines).value()),
    );
}

/// The world as the interpreter wants it: the time since it began.
struct Ticking<R> {
    started: Instant,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Ticking<R> {
    fn new() -> Self {
        Self {
            started: R::now(),
            runtime: PhantomData,
        }
    }
}

impl<R: Runtime> interpreter::Runtime for Ticking<R> {
    fn now(&self) -> Duration {
        R::now() - self.started
    }

    fn sleep(&self, time: Duration) -> Pending<'static, ()> {
        Box::pin(R::sleep(time))
    }

    fn spawn(&self, task: Pending<'static, ()>) {
        // Dropping the handle lets it run on.
        drop(R::spawn(task));
    }
}
