//! A world of machines over a simulator, and time that is ours to spend.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::runtime::Runtime;
use tokio::sync::mpsc;

use crate::clock::{ClockTrouble, ClockTroubleId};
use crate::disk::{CrashMode, Image, Trouble, TroubleId, seed_sqlite};
use crate::host::HostId;
use crate::invariants::Witness;
use crate::machine::{Ambient, Life, Machine};
use crate::net::{Network, Rule, RuleId};
use crate::outages::Outages;
use crate::runtime::Simulated;
use crate::seed::Seed;
use crate::simulator::{MachineFuture, Simulator, Software};
use crate::substrate::{Substrate, Time};
use crate::sync::guard;
use crate::trace::{Detail, Keep, Place, Trace};
use crate::world::{ImageId, Later, Outcome, PauseId, SimulatedTime, World};

/// Makes the future that a machine's process is, at each start.
pub type Process = Arc<dyn Fn() -> MachineFuture + Send + Sync>;

/// A machine as the world keeps it.
struct Slot {
    machine: Arc<Machine>,
    process: Process,
    /// What the machine's software finds when it starts.
    boot: Arc<Mutex<Option<Boot>>>,
    running: Option<Running>,
    /// What survives of the disk's unsynced changes at the next start, if somebody has said so.
    crash_mode: Option<CrashMode>,
}

impl Slot {
    /// Whether its power went while its process ran.
    fn has_lost_power(&self) -> bool {
        self.running.is_some() && !self.machine.disk().is_powered()
    }
}

/// A process that runs: its life, and where tasks are put into it.
struct Running {
    life: Arc<Life>,
    tasks: mpsc::UnboundedSender<MachineFuture>,
}

struct Boot {
    life: Arc<Life>,
    tasks: mpsc::UnboundedReceiver<MachineFuture>,
}

/// A simulated world over the simulator `M`.
pub struct Simulation<M: Simulator> {
    simulator: M,
    seed: Seed,
    trace: Trace,
    witness: Witness,
    network: Network,
    outages: Outages,
    slots: BTreeMap<HostId, Slot>,
    agenda: BTreeMap<(Duration, u64), Later>,
    planned: u64,
    /// Images of disks that are to be put back.
    images: BTreeMap<(HostId, ImageId), Image>,
    saved: u64,
    fired: BTreeMap<&'static str, u64>,
    /// Machines that are started again so long after their fuse has cut their power.
    restarts: BTreeMap<HostId, Duration>,
    /// Machines whose disks hold something else than they should, or may.
    doubted: BTreeSet<HostId>,
    crash_modes: rand::rngs::SmallRng,
}

/// Runs `body` in a fresh world on a thread of its own: what a thread remembers of an earlier run, its hash keys for one,
/// would make the next one differ.
///
/// # Panics
/// With what `body` panicked with.
pub fn simulate<M: Simulator, T: Send>(
    seed: Seed,
    keep: Keep,
    body: impl FnOnce(&mut Simulation<M>) -> T + Send,
) -> T {
    let run = move || {
        seed_sqlite(seed.number());
        body(&mut Simulation::new(seed, keep))
    };
    let joined = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(format!("{} {seed}", M::NAME));
        thread
            .spawn_scoped(scope, run)
            .expect("the operating system can start a thread")
            .join()
    });
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// madsim lets what still waits be forgotten, and never drops it: who runs a thousand worlds would run out of memory.
impl<M: Simulator> Drop for Simulation<M> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for host in self.hosts() {
                self.drop_process(host);
            }
        }
    }
}

impl<M: Simulator> Simulation<M> {
    fn new(seed: Seed, keep: Keep) -> Self {
        let trace = Trace::new(keep);
        let network = Network::new(seed.labelled("network"), trace.clone());
        Self {
            simulator: M::new(seed.labelled("scheduler")),
            seed,
            trace,
            witness: Witness::new(),
            network,
            outages: Outages::default(),
            slots: BTreeMap::new(),
            agenda: BTreeMap::new(),
            planned: 0,
            images: BTreeMap::new(),
            saved: 0,
            fired: BTreeMap::new(),
            restarts: BTreeMap::new(),
            doubted: BTreeSet::new(),
            crash_modes: seed.labelled("crash modes").rng(),
        }
    }

    /// The seed of the run.
    #[must_use]
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// What has happened.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Who holds the nodes to what they told.
    #[must_use]
    pub fn witness(&self) -> &Witness {
        &self.witness
    }

    /// The machines, by number.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostId> {
        self.slots.keys().copied().collect()
    }

    /// Plugs a machine in that will run `process` once it is started.
    pub fn plug(&mut self, host: HostId, process: Process) {
        let seed = self.seed.labelled("machines").indexed(host.number().into());
        let machine = Machine::new(
            host,
            seed,
            self.network.clone(),
            self.trace.clone(),
            self.witness.clone(),
        );
        machine.disk().set_outages(self.outages.clone());
        let clocked = Arc::downgrade(&machine);
        machine.disk().set_clock(Arc::new(move || {
            let wall = |machine: Arc<Machine>| machine.clock().wall(M::Substrate::elapsed());
            clocked.upgrade().map_or(Duration::ZERO, |machine| {
                Duration::from_millis(wall(machine).millis())
            })
        }));
        let boot = Arc::new(Mutex::new(None));
        self.simulator
            .plug(host, software::<M::Substrate>(Arc::clone(&boot)));
        self.slots.insert(
            host,
            Slot {
                machine,
                process,
                boot,
                running: None,
                crash_mode: None,
            },
        );
    }

    /// A machine.
    ///
    /// # Panics
    /// When there is none of this number, which is a mistake of the test.
    #[must_use]
    pub fn machine(&self, host: HostId) -> &Arc<Machine> {
        &self
            .slots
            .get(&host)
            .expect("the machine was plugged in")
            .machine
    }

    /// Starts a task in the running process of a machine. Nothing happens, and no answer comes, when none runs.
    pub fn spawn<T: Send + 'static>(
        &self,
        host: HostId,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Answer<T> {
        let answer = Answer {
            value: Arc::new(Mutex::new(None)),
        };
        let told = answer.clone();
        let task: MachineFuture = Box::pin(async move {
            let value = task.await;
            *guard(&told.value) = Some(value);
        });
        if let Some(running) = self.slots.get(&host).and_then(|slot| slot.running.as_ref()) {
            // The receiver lives as long as the process.
            let _ = running.tasks.send(task);
        }
        answer
    }

    /// Lets the world run until `condition` answers something, for at most `bound`.
    pub fn until<T>(
        &mut self,
        bound: Duration,
        mut condition: impl FnMut(&Self) -> Option<T>,
    ) -> Option<T> {
        let deadline = self.now() + bound;
        loop {
            if let Some(value) = condition(self) {
                return Some(value);
            }
            if self.now() >= deadline {
                return None;
            }
            self.step();
        }
    }

    /// Runs a task on a machine to its end, for at most `bound`.
    pub fn run<T: Send + 'static>(
        &mut self,
        host: HostId,
        bound: Duration,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let answer = self.spawn(host, task);
        self.until(bound, |_| answer.take())
    }

    /// Cuts the power of a machine and starts it over an older image of its disk, which owes nothing of what it promised since.
    pub fn put_back(&mut self, host: HostId, image: Image) {
        let _ = self.crash(host, CrashMode::Nothing);
        self.machine(host).disk().restore(image);
        if let Some(slot) = self.slots.get_mut(&host) {
            slot.crash_mode = None;
        }
        self.witness.forget(host);
        self.doubted.insert(host);
        let _ = self.start(host);
    }

    /// Machines whose disks hold something else than they should, or may: put back to an older image, rotten, written wrongly.
    #[must_use]
    pub fn doubted(&self) -> &BTreeSet<HostId> {
        &self.doubted
    }

    /// Lets the named points of core make trouble, or not.
    pub fn set_buggify(&mut self, on: bool) {
        let run = on.then(|| self.seed.labelled("buggify"));
        for slot in self.slots.values() {
            slot.machine.points().switch(run);
        }
    }

    /// How often each fault fired, those of the disks included; of what is done to links, how many messages it struck.
    #[must_use]
    pub fn fired(&self) -> BTreeMap<&'static str, u64> {
        let mut fired = self.fired.clone();
        fired.extend(self.network.struck());
        for slot in self.slots.values() {
            for (fault, times) in slot.machine.disk().fired() {
                *fired.entry(fault.name()).or_default() += times;
            }
            for (point, times) in slot.machine.points().fired() {
                *fired.entry(point).or_default() += times;
            }
        }
        fired
    }

    /// What tasks panicked with, with their machine.
    #[must_use]
    pub fn panics(&self) -> Vec<(HostId, String)> {
        let of = |slot: &Slot| {
            slot.machine
                .panics()
                .into_iter()
                .map(|text| (slot.machine.id(), text))
                .collect::<Vec<_>>()
        };
        self.slots.values().flat_map(of).collect()
    }

    /// A machine that is plugged in, or why nothing can be done to it.
    fn plugged(&self, host: HostId) -> Result<&Arc<Machine>, Outcome> {
        let slot = self.slots.get(&host);
        slot.map(|slot| &slot.machine)
            .ok_or(Outcome::Skipped("no such machine"))
    }

    /// A machine whose process runs, or why nothing can be done to it.
    fn running(&self, host: HostId) -> Result<&Arc<Machine>, Outcome> {
        let machine = self.plugged(host)?;
        let runs = self.is_running(host);
        runs.then_some(machine).ok_or(Outcome::Skipped("is down"))
    }

    /// Counts what was done to so many connections, if there were any.
    fn count_connections(
        &mut self,
        one: HostId,
        other: HostId,
        fault: &'static str,
        connections: usize,
    ) -> Outcome {
        if connections == 0 {
            return Outcome::Skipped("no connection");
        }
        self.count(Place::Link(one, other), fault, connections.to_string());
        Outcome::Installed
    }

    fn step(&mut self) {
        self.keep_appointments();
        self.simulator.step();
        self.notice_power_losses();
    }

    fn keep_appointments(&mut self) {
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= self.simulator.elapsed()
        {
            let due = entry.remove();
            let _ = self.carry_out(due);
        }
    }

    /// A fuse has cut a machine's power from inside: its tasks are frozen already, and now dropped.
    fn notice_power_losses(&mut self) {
        let dark: Vec<HostId> = self
            .slots
            .values()
            .filter(|slot| slot.has_lost_power())
            .map(|slot| slot.machine.id())
            .collect();
        for host in dark {
            self.count(Place::Host(host), "power-lost", String::new());
            self.drop_process(host);
            let of_point = self.machine(host).points().take_dark();
            if let Some(delay) = self.restarts.remove(&host).or(of_point) {
                self.later(delay, Later::Start(host));
            }
        }
    }

    /// The links fall silent first and the tasks are dropped afterwards, so that nobody says goodbye.
    fn drop_process(&mut self, host: HostId) {
        if let Some(slot) = self.slots.get_mut(&host)
            && let Some(running) = slot.running.take()
        {
            running.life.end();
            if !slot.machine.disk().is_powered() {
                self.network.power_lost(host);
            }
            slot.machine.resume();
            self.simulator.stop(host);
        }
    }
}

/// What a task on a machine will answer.
pub struct Answer<T> {
    value: Arc<Mutex<Option<T>>>,
}

impl<T> Clone for Answer<T> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
        }
    }
}

impl<T> Answer<T> {
    /// The answer, once, if it is there.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        guard(&self.value).take()
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if guard(&self.value).is_some() {
            "Answer(there)"
        } else {
            "Answer(awaited)"
        })
    }
}

/// A machine without a process waits for ever; one with a process runs the tasks that are put into it.
fn software<S: Substrate>(boot: Arc<Mutex<Option<Boot>>>) -> Software {
    Arc::new(move || {
        let boot = guard(&boot).take();
        Box::pin(async move {
            if let Some(Boot { life, mut tasks }) = boot {
                let run = async move {
                    while let Some(task) = tasks.recv().await {
                        // Dropping the handle lets it run on.
                        let _task = Simulated::<S>::spawn(task);
                    }
                };
                let (process, _ends) = Ambient::new(life, run, S::elapsed);
                process.await;
            }
            std::future::pending::<()>().await;
        })
    })
}

impl<M: Simulator> World for Simulation<M> {
    fn start(&mut self, host: HostId) -> Outcome {
        let now = self.now();
        let random = CrashMode::random(&mut self.crash_modes);
        let Some(slot) = self.slots.get_mut(&host) else {
            return Outcome::Skipped("no such machine");
        };
        if slot.running.is_some() {
            return Outcome::Skipped("runs already");
        }
        let disk = slot.machine.disk();
        if !disk.is_powered() {
            disk.restart(slot.crash_mode.take().unwrap_or(random));
        }
        let life = Life::new(Arc::clone(&slot.machine));
        let (sender, tasks) = mpsc::unbounded_channel();
        // The receiver is two lines away.
        let _ = sender.send((slot.process)());
        *guard(&slot.boot) = Some(Boot {
            life: Arc::clone(&life),
            tasks,
        });
        slot.running = Some(Running {
            life,
            tasks: sender,
        });
        self.witness.begin(host);
        self.network.power_back(host, now);
        self.network.machine_changed();
        self.trace
            .record(now, Place::Host(host), "start", Detail::Number(0));
        self.simulator.restart(host);
        Outcome::Installed
    }

    fn crash(&mut self, host: HostId, mode: CrashMode) -> Outcome {
        let Some(slot) = self.slots.get_mut(&host) else {
            return Outcome::Skipped("no such machine");
        };
        if slot.running.is_none() {
            return Outcome::Skipped("is down");
        }
        slot.machine.disk().cut_power();
        slot.crash_mode = Some(mode);
        self.count(Place::Host(host), "crash", format!("{mode:?}"));
        self.drop_process(host);
        Outcome::Installed
    }

    fn kill(&mut self, host: HostId) -> Outcome {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(&host) else {
            return Outcome::Skipped("no such machine");
        };
        if slot.running.is_none() {
            return Outcome::Skipped("is down");
        }
        slot.machine.disk().end_process();
        self.count(Place::Host(host), "kill", String::new());
        self.network.process_ended(host, now);
        self.drop_process(host);
        Outcome::Installed
    }

    fn pause(&mut self, host: HostId) -> (Outcome, Option<PauseId>) {
        let Some(slot) = self.slots.get(&host) else {
            return (Outcome::Skipped("no such machine"), None);
        };
        if slot.running.is_none() || slot.machine.is_paused() {
            return (Outcome::Skipped("does not run"), None);
        }
        slot.machine.pause();
        let pause = PauseId::new(slot.machine.pauses());
        self.count(Place::Host(host), "pause", String::new());
        (Outcome::Installed, Some(pause))
    }

    fn resume(&mut self, host: HostId) -> Outcome {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(&host) else {
            return Outcome::Skipped("no such machine");
        };
        if !slot.machine.is_paused() {
            return Outcome::Skipped("is not paused");
        }
        slot.machine.resume();
        self.trace
            .record(now, Place::Host(host), "resume", Detail::Number(0));
        Outcome::Installed
    }

    fn end_pause(&mut self, host: HostId, pause: PauseId) -> Outcome {
        match self.plugged(host) {
            Ok(machine) if PauseId::new(machine.pauses()) == pause => self.resume(host),
            Ok(_) => Outcome::Skipped("is not in this pause"),
            Err(outcome) => outcome,
        }
    }

    fn wipe(&mut self, host: HostId) -> Outcome {
        let Some(slot) = self.slots.get_mut(&host) else {
            return Outcome::Skipped("no such machine");
        };
        if slot.running.is_some() {
            return Outcome::Skipped("runs");
        }
        slot.machine.disk().wipe();
        // There is nothing left of which something could survive the next start.
        slot.crash_mode = None;
        self.witness.forget(host);
        self.doubted.remove(&host);
        // An older image would be of another member.
        self.agenda
            .retain(|_, later| !matches!(later, Later::PutBack(of, _) if *of == host));
        self.images.retain(|(of, _), _| *of != host);
        self.count(Place::Host(host), "wipe", String::new());
        Outcome::Installed
    }

    fn cut(&mut self, rules: Vec<Rule>) -> (Outcome, Vec<RuleId>) {
        let Some(first) = rules.first() else {
            return (Outcome::Skipped("no link is meant"), Vec::new());
        };
        // It is counted when it strikes, not when it is made.
        let detail = Detail::Text(format!("{rules:?}"));
        self.trace
            .record(self.now(), Place::World, first.effect.name(), detail);
        (Outcome::Installed, self.network.add(rules))
    }

    fn mend(&mut self, rules: &[RuleId]) -> Outcome {
        self.network.remove(rules);
        self.trace.record(
            self.now(),
            Place::World,
            "mend",
            Detail::Number(rules.len() as u64),
        );
        Outcome::Installed
    }

    fn heal(&mut self) -> Outcome {
        let now = self.now();
        self.network.heal();
        self.set_buggify(false);
        // What was to end by itself may; what was still to be destroyed is not.
        self.agenda
            .retain(|_, later| !matches!(later, Later::PutBack(..) | Later::Reboot(_)));
        self.images.clear();
        for slot in self.slots.values() {
            slot.machine.clock().heal(now);
            slot.machine.disk().heal();
            slot.machine.resume();
        }
        self.trace
            .record(now, Place::World, "heal", Detail::Number(0));
        Outcome::Installed
    }

    fn is_running(&self, host: HostId) -> bool {
        self.slots
            .get(&host)
            .is_some_and(|slot| slot.running.is_some())
    }

    fn later(&mut self, delay: Duration, what: Later) {
        self.planned += 1;
        self.agenda.insert((self.now() + delay, self.planned), what);
    }

    fn count(&mut self, place: Place, fault: &'static str, detail: String) {
        *self.fired.entry(fault).or_default() += 1;
        self.trace
            .record(self.now(), place, fault, Detail::Text(detail));
    }

    fn light_fuse(&mut self, host: HostId, operations: u64, dark: Duration) -> Outcome {
        match self.running(host) {
            Ok(machine) => machine.disk().set_fuse(Some(operations)),
            Err(outcome) => return outcome,
        }
        self.restarts.insert(host, dark);
        Outcome::Installed
    }

    fn reset(&mut self, one: HostId, other: HostId) -> Outcome {
        let reset = self.network.reset(one, other, self.now());
        self.count_connections(one, other, "link-reset", reset)
    }

    fn half_open(&mut self, forgetful: HostId, other: HostId) -> Outcome {
        let open = self.network.half_open(forgetful, other, self.now());
        self.count_connections(forgetful, other, "link-half-open", open)
    }

    fn begin_disk_trouble(
        &mut self,
        host: HostId,
        trouble: Trouble,
    ) -> (Outcome, Option<TroubleId>) {
        match self.running(host) {
            Ok(machine) => {
                let begun = machine.disk().begin(trouble);
                (Outcome::Installed, Some(begun))
            }
            Err(outcome) => (outcome, None),
        }
    }

    fn end_disk_trouble(&mut self, host: HostId, trouble: TroubleId) -> Outcome {
        match self.plugged(host) {
            Ok(machine) => machine.disk().end(trouble),
            Err(outcome) => return outcome,
        }
        Outcome::Installed
    }

    fn stall_disk(&mut self, host: HostId, time: Duration) -> Outcome {
        match self.running(host) {
            Ok(machine) => machine.disk().stall(time),
            Err(outcome) => return outcome,
        }
        Outcome::Installed
    }

    fn stored(&self, host: HostId) -> Result<u64, Outcome> {
        self.running(host).map(|machine| machine.disk().stored())
    }

    fn rot(&mut self, host: HostId, file: usize, bits: u32) -> Outcome {
        let disk = match self.plugged(host) {
            Ok(machine) => machine.disk(),
            Err(outcome) => return outcome,
        };
        let files = disk.files();
        let Some(file) = files.get(file % files.len().max(1)) else {
            return Outcome::Skipped("has no files");
        };
        if disk.rot(file, bits) == 0 {
            return Outcome::Skipped("the file is empty");
        }
        // The disk counts the bits.
        let detail = Detail::Text(format!("{bits} bits of {file}"));
        self.trace
            .record(self.now(), Place::Host(host), "bit-rot", detail);
        Outcome::Installed
    }

    fn save_disk(&mut self, host: HostId) -> (Outcome, Option<ImageId>) {
        let saved = match self.plugged(host) {
            Ok(machine) => machine.disk().save(),
            Err(outcome) => return (outcome, None),
        };
        self.saved += 1;
        let image = ImageId::new(self.saved);
        self.images.insert((host, image), saved);
        (Outcome::Installed, Some(image))
    }

    fn restore_disk(&mut self, host: HostId, image: ImageId) -> Outcome {
        let Some(saved) = self.images.remove(&(host, image)) else {
            return Outcome::Skipped("no such image");
        };
        self.put_back(host, saved);
        Outcome::Installed
    }

    fn doubt(&mut self, host: HostId) {
        self.witness.excuse(host);
        self.doubted.insert(host);
    }

    fn begin_clock_trouble(
        &mut self,
        host: HostId,
        trouble: ClockTrouble,
    ) -> (Outcome, Option<ClockTroubleId>) {
        match self.plugged(host) {
            Ok(machine) => {
                let begun = machine.clock().begin(self.now(), trouble);
                (Outcome::Installed, Some(begun))
            }
            Err(outcome) => (outcome, None),
        }
    }

    fn end_clock_trouble(&mut self, host: HostId, trouble: ClockTroubleId) -> Outcome {
        match self.plugged(host) {
            Ok(machine) => machine.clock().end(self.now(), trouble),
            Err(outcome) => return outcome,
        }
        Outcome::Installed
    }
}

impl<M: Simulator> SimulatedTime for Simulation<M> {
    fn now(&self) -> Duration {
        self.simulator.elapsed()
    }

    fn advance(&mut self, duration: Duration) {
        let target = self.now() + duration;
        while self.now() < target {
            self.keep_appointments();
            let next = self.agenda.keys().next().map(|(due, _)| *due);
            let until = next.map_or(target, |due| due.min(target));
            self.simulator.run(until, &self.outages);
            self.notice_power_losses();
        }
    }
}
