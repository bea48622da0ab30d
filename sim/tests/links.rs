//! One fault means one thing in both worlds: every story runs over madsim and over turmoil.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate::runtime::{Listener, Runtime, Stream};
use quorate_sim::disk::{CrashMode, Rate};
use quorate_sim::host::HostId;
use quorate_sim::madsim::MadsimWorld;
use quorate_sim::net::{Effect, Rule, groups};
use quorate_sim::runtime::Simulated;
use quorate_sim::seed::Seed;
use quorate_sim::simulation::{Answer, Simulation, simulate};
use quorate_sim::simulator::Simulator;
use quorate_sim::trace::Keep;
use quorate_sim::turmoil::TurmoilWorld;
use quorate_sim::world::{Later, SimulatedTime, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ONE: HostId = HostId::new(1);
const TWO: HostId = HostId::new(2);
const BOUND: Duration = Duration::from_secs(20);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Makes a test of each story for each world.
macro_rules! stories {
    ($($story:ident),* $(,)?) => {
        mod madsim { $( #[test] fn $story() { super::tell::<super::MadsimWorld>(super::$story); } )* }
        mod turmoil { $( #[test] fn $story() { super::tell::<super::TurmoilWorld>(super::$story); } )* }
    };
}

stories![
    echo_answers_after_the_delay_of_both_ways,
    cut_link_delivers_in_a_burst_when_it_is_back,
    one_way_cut_swallows_only_the_answers,
    connecting_through_a_cut_waits_and_refusal_does_not,
    crash_is_silent_and_the_next_life_resets,
    kill_says_goodbye,
    reset_is_seen_by_both_and_half_open_by_one,
    forgotten_connection_stays_silent_and_a_new_one_works,
    writer_waits_for_a_reader_that_does_not_read,
    lossy_link_delivers_everything_later,
    narrow_link_takes_its_time,
    half_closed_stream_still_answers,
    paused_machine_does_nothing_while_its_clock_runs,
    drifting_clock_sleeps_longer_and_never_wakes_early,
    fuse_ends_the_process_from_inside,
    panic_in_a_task_is_kept_and_ends_nothing_else,
];

/// A world of two machines, where the second answers every message with itself.
fn tell<M: Simulator>(story: fn(&mut dyn Told)) {
    simulate::<M, _>(Seed::new(7), Keep::Last(100), |world| {
        for host in [ONE, TWO] {
            let process = move || -> quorate_sim::simulator::MachineFuture {
                Box::pin(echo::<Simulated<M::Substrate>>(host))
            };
            world.plug(host, Arc::new(process));
            world.start(host);
        }
        world.advance(millis(20));
        story(world);
        assert_eq!(
            world.panics(),
            [],
            "nothing panics unless the story takes it"
        );
    });
}

async fn echo<R: Runtime>(host: HostId) {
    let listener = R::listen(&format!("{}:7000", host.ip()))
        .await
        .expect("a free port");
    loop {
        let (mut stream, _from) = listener.accept().await.expect("a connection");
        let _task = R::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(length) = stream.read(&mut buffer).await {
                if length == 0 || stream.write_all(&buffer[..length]).await.is_err() {
                    break;
                }
            }
        });
    }
}

/// What a client does on its connection, a step at a time; the answers are read without waiting.
#[derive(Clone, Copy, Debug)]
enum Step {
    Connect,
    Send(usize),
    Receive(usize),
    ReceiveEnd,
    CloseWriting,
    Sleep(Duration),
}

type Times = Vec<(Duration, Result<(), io::ErrorKind>)>;

async fn client<R: Runtime>(steps: Vec<Step>, done: Arc<std::sync::Mutex<Times>>) {
    let mut stream = None;
    for step in steps {
        let outcome = perform::<R>(step, &mut stream).await;
        done.lock().unwrap().push((
            R::now().since_start(),
            outcome.map_err(|error| error.kind()),
        ));
    }
    // Keeps the connection open.
    std::future::pending::<()>().await;
}

async fn perform<R: Runtime>(step: Step, stream: &mut Option<R::Stream>) -> io::Result<()> {
    match (step, stream) {
        (Step::Connect, stream) => {
            *stream = Some(R::connect(&format!("{}:7000", TWO.ip())).await?);
            Ok(())
        }
        (Step::Sleep(duration), _) => {
            R::sleep(duration).await;
            Ok(())
        }
        (step, Some(stream)) => on_stream(step, stream).await,
        (_, None) => Err(io::ErrorKind::NotConnected.into()),
    }
}

async fn on_stream(step: Step, stream: &mut impl Stream) -> io::Result<()> {
    match step {
        Step::Send(length) => stream.write_all(&vec![7; length]).await,
        Step::Receive(length) => {
            let mut buffer = vec![0; length];
            stream.read_exact(&mut buffer).await?;
            assert_eq!(buffer, vec![7; length]);
            Ok(())
        }
        Step::ReceiveEnd => match stream.read(&mut [0]).await? {
            0 => Ok(()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        },
        Step::CloseWriting => stream.shutdown().await,
        Step::Connect | Step::Sleep(_) => unreachable!("need no stream"),
    }
}

/// A client that works its steps off.
struct Client(Arc<std::sync::Mutex<Times>>);

impl Client {
    fn done(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn time(&self, step: usize) -> Duration {
        self.0.lock().unwrap()[step].0
    }

    fn outcome(&self, step: usize) -> Result<(), io::ErrorKind> {
        self.0.lock().unwrap()[step].1
    }

    fn all_well(&self) -> bool {
        self.0
            .lock()
            .unwrap()
            .iter()
            .all(|(_, outcome)| outcome.is_ok())
    }
}

/// A world, whichever it is.
trait Told: World + SimulatedTime {
    fn client(&mut self, steps: &[Step]) -> Client;
    fn until_done(&mut self, client: &Client, steps: usize) -> bool;
    fn sim_network(&self) -> quorate_sim::net::Network;
    fn sim_machine(&self, host: HostId) -> Arc<quorate_sim::machine::Machine>;
    fn count_up(&mut self, host: HostId, every: Duration) -> Arc<AtomicU64>;
    fn write_files(&mut self, host: HostId) -> Answer<()>;
    fn panic_on(&mut self, host: HostId) -> Answer<()>;
}

impl<M: Simulator> Told for Simulation<M> {
    fn client(&mut self, steps: &[Step]) -> Client {
        let done = Arc::default();
        let _forever = self.spawn(
            ONE,
            client::<Simulated<M::Substrate>>(steps.to_vec(), Arc::clone(&done)),
        );
        Client(done)
    }

    fn until_done(&mut self, client: &Client, steps: usize) -> bool {
        self.until(BOUND, |_| (client.done() >= steps).then_some(()))
            .is_some()
    }

    fn sim_network(&self) -> quorate_sim::net::Network {
        self.network().clone()
    }

    fn sim_machine(&self, host: HostId) -> Arc<quorate_sim::machine::Machine> {
        Arc::clone(self.machine(host))
    }

    fn count_up(&mut self, host: HostId, every: Duration) -> Arc<AtomicU64> {
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let _forever = self.spawn(host, async move {
            loop {
                <Simulated<M::Substrate> as Runtime>::sleep(every).await;
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        count
    }

    fn write_files(&mut self, host: HostId) -> Answer<()> {
        use quorate::runtime::{Access, Disk};
        self.spawn(host, async move {
            let disk = <Simulated<M::Substrate> as Runtime>::disk();
            for number in 0.. {
                let written = disk.write(
                    "file".as_ref(),
                    format!("{number}").as_bytes(),
                    Access::Public,
                );
                <Simulated<M::Substrate> as Runtime>::sleep(millis(1)).await;
                if written.is_err() {
                    return;
                }
            }
        })
    }

    fn panic_on(&mut self, host: HostId) -> Answer<()> {
        self.spawn(host, async { panic!("planted") })
    }
}

fn delay(least: Duration) -> Rule {
    Rule::everywhere(Effect::Delay { least, most: least })
}

fn both_ways(effect: Effect) -> Vec<Rule> {
    Rule::between(ONE, TWO, effect)
}

fn echo_answers_after_the_delay_of_both_ways(world: &mut dyn Told) {
    world.cut(vec![delay(millis(50))]);
    let client = world.client(&[Step::Connect, Step::Send(10_000), Step::Receive(10_000)]);
    assert!(world.until_done(&client, 3));
    let round_trip = client.time(2) - client.time(1);
    assert!(
        round_trip >= millis(100) && round_trip < millis(180),
        "{round_trip:?}"
    );
}

fn cut_link_delivers_in_a_burst_when_it_is_back(world: &mut dyn Told) {
    let client = world.client(&[
        Step::Connect,
        Step::Sleep(millis(100)),
        Step::Send(1000),
        Step::Sleep(millis(500)),
        Step::Send(1000),
        Step::Receive(2000),
    ]);
    assert!(world.until_done(&client, 1));
    let (_, rules) = world.cut(groups(&[vec![ONE], vec![TWO]]));
    world.advance(millis(5000));
    assert_eq!(client.done(), 5, "nothing comes through");
    world.later(millis(1000), Later::Mend(rules));
    assert!(world.until_done(&client, 6));
    assert!(client.all_well() && client.time(5) >= millis(6000));
}

fn one_way_cut_swallows_only_the_answers(world: &mut dyn Told) {
    let client = world.client(&[
        Step::Connect,
        Step::Sleep(millis(100)),
        Step::Send(500),
        Step::Receive(500),
    ]);
    assert!(world.until_done(&client, 1));
    let (_, rules) = world.cut(vec![Rule::one_way(&[TWO], &[ONE])]);
    world.advance(millis(2000));
    assert_eq!(client.done(), 3);
    world.pause(TWO);
    world.mend(&rules);
    assert!(
        world.until_done(&client, 4),
        "the answer was on its way before the pause"
    );
}

fn connecting_through_a_cut_waits_and_refusal_does_not(world: &mut dyn Told) {
    let (_, rules) = world.cut(both_ways(Effect::Block));
    let client = world.client(&[Step::Connect]);
    world.advance(millis(5000));
    assert_eq!(client.done(), 0, "a packet that vanishes is not a refusal");
    world.mend(&rules);
    assert!(world.until_done(&client, 1) && client.all_well());
    world.cut(both_ways(Effect::Refuse));
    let refused = world.client(&[Step::Connect]);
    assert!(world.until_done(&refused, 1));
    assert_eq!(refused.outcome(0), Err(io::ErrorKind::ConnectionRefused));
}

fn crash_is_silent_and_the_next_life_resets(world: &mut dyn Told) {
    let sends = world.client(&[
        Step::Connect,
        Step::Sleep(millis(300)),
        Step::Send(10),
        Step::Receive(10),
    ]);
    let listens = world.client(&[Step::Connect, Step::Receive(1)]);
    assert!(world.until_done(&sends, 1) && world.until_done(&listens, 1));
    world.crash(TWO, CrashMode::Nothing);
    world.advance(millis(3000));
    assert_eq!(
        (sends.done(), listens.done()),
        (3, 1),
        "no goodbye from a machine without power"
    );
    world.start(TWO);
    assert!(world.until_done(&sends, 4));
    assert_eq!(sends.outcome(3), Err(io::ErrorKind::ConnectionReset));
    world.advance(millis(3000));
    assert_eq!(listens.done(), 1, "who sends nothing learns nothing");
}

fn kill_says_goodbye(world: &mut dyn Told) {
    let client = world.client(&[Step::Connect, Step::ReceiveEnd]);
    assert!(world.until_done(&client, 1));
    world.advance(millis(100));
    world.kill(TWO);
    assert!(world.until_done(&client, 2) && client.all_well());
}

fn reset_is_seen_by_both_and_half_open_by_one(world: &mut dyn Told) {
    let client = world.client(&[Step::Connect, Step::Receive(1)]);
    assert!(world.until_done(&client, 1));
    world.advance(millis(100));
    let now = world.now();
    assert_eq!(world.sim_network().reset(ONE, TWO, now), 1);
    assert!(world.until_done(&client, 2));
    assert_eq!(client.outcome(1), Err(io::ErrorKind::ConnectionReset));

    let half = world.client(&[
        Step::Connect,
        Step::Sleep(millis(2000)),
        Step::Send(1),
        Step::Receive(1),
    ]);
    assert!(world.until_done(&half, 1));
    world.advance(millis(100));
    let now = world.now();
    assert!(world.sim_network().half_open(TWO, ONE, now) > 0);
    world.advance(millis(1000));
    assert_eq!(half.done(), 1);
    assert!(world.until_done(&half, 4));
    assert_eq!(
        half.outcome(3),
        Err(io::ErrorKind::ConnectionReset),
        "whoever speaks is told"
    );
}

fn forgotten_connection_stays_silent_and_a_new_one_works(world: &mut dyn Told) {
    let old = world.client(&[
        Step::Connect,
        Step::Sleep(millis(200)),
        Step::Send(1),
        Step::Receive(1),
    ]);
    assert!(world.until_done(&old, 1));
    let (_, rules) = world.cut(both_ways(Effect::Forget));
    world.advance(millis(1000));
    world.mend(&rules);
    let new = world.client(&[Step::Connect, Step::Send(1), Step::Receive(1)]);
    assert!(world.until_done(&new, 3) && new.all_well());
    world.advance(millis(5000));
    assert_eq!(old.done(), 3);
}

fn writer_waits_for_a_reader_that_does_not_read(world: &mut dyn Told) {
    let client = world.client(&[Step::Connect, Step::Send(100_000), Step::Send(2_000_000)]);
    assert!(world.until_done(&client, 2));
    // It would echo, but its answers are not read, so that it stops reading in turn.
    world.advance(millis(5000));
    assert_eq!(client.done(), 2, "what is on its way is bounded");
}

fn lossy_link_delivers_everything_later(world: &mut dyn Told) {
    world.cut(both_ways(Effect::Loss {
        rate: Rate::per_million(200_000),
    }));
    let mut steps = vec![Step::Connect];
    for _ in 0..20 {
        steps.extend([Step::Send(100), Step::Receive(100)]);
    }
    let client = world.client(&steps);
    assert!(world.until_done(&client, 41) && client.all_well());
    assert!(
        client.time(40) > millis(1000),
        "timeouts took time: {:?}",
        client.time(40)
    );
}

fn narrow_link_takes_its_time(world: &mut dyn Told) {
    world.cut(both_ways(Effect::Bandwidth {
        bytes_per_second: 10_000,
    }));
    let client = world.client(&[Step::Connect, Step::Send(20_000), Step::Receive(20_000)]);
    assert!(world.until_done(&client, 3));
    let took = client.time(2) - client.time(0);
    assert!(took >= millis(2000) && took < millis(4500), "{took:?}");
}

fn half_closed_stream_still_answers(world: &mut dyn Told) {
    let client = world.client(&[
        Step::Connect,
        Step::Send(5000),
        Step::CloseWriting,
        Step::Receive(5000),
        Step::ReceiveEnd,
    ]);
    assert!(world.until_done(&client, 5), "{}", client.done());
    assert!(client.all_well());
}

fn paused_machine_does_nothing_while_its_clock_runs(world: &mut dyn Told) {
    let count = world.count_up(TWO, millis(100));
    world.advance(millis(1050));
    let before = count.load(Ordering::SeqCst);
    assert!((8..=10).contains(&before), "{before}");
    let (_, pause) = world.pause(TWO);
    world.advance(millis(5000));
    assert_eq!(count.load(Ordering::SeqCst), before);
    let clock = world
        .sim_machine(TWO)
        .clock()
        .now(world.now())
        .since_start();
    assert!(clock >= millis(6000));
    world.later(millis(500), Later::Resume(TWO, pause.unwrap()));
    world.advance(millis(1000));
    let after = count.load(Ordering::SeqCst);
    assert!(
        (before + 3..=before + 6).contains(&after),
        "sleeps that were over end at once, and only those: {after}"
    );
}

fn drifting_clock_sleeps_longer_and_never_wakes_early(world: &mut dyn Told) {
    let now = world.now();
    world.sim_machine(TWO).clock().drift(now, -500_000);
    let (right, slow) = (
        world.count_up(ONE, millis(100)),
        world.count_up(TWO, millis(100)),
    );
    world.advance(millis(10_000));
    let (right, slow) = (right.load(Ordering::SeqCst), slow.load(Ordering::SeqCst));
    assert!(
        (80..=100).contains(&right) && (40..=50).contains(&slow),
        "{right} {slow}"
    );
}

fn fuse_ends_the_process_from_inside(world: &mut dyn Told) {
    let files = world.write_files(TWO);
    world.advance(millis(100));
    world.sim_machine(TWO).disk().set_fuse(Some(10));
    world.advance(millis(200));
    assert!(!world.is_running(TWO));
    assert!(
        files.take().is_none(),
        "its tasks are dropped where they stood"
    );
    world.start(TWO);
    let kept = world.write_files(TWO);
    world.advance(millis(50));
    assert!(world.is_running(TWO) && kept.take().is_none());
}

fn panic_in_a_task_is_kept_and_ends_nothing_else(world: &mut dyn Told) {
    let count = world.count_up(TWO, millis(10));
    let panicked = world.panic_on(TWO);
    world.advance(millis(500));
    assert!(panicked.take().is_none() && count.load(Ordering::SeqCst) > 20);
    assert_eq!(world.sim_machine(TWO).take_panics(), ["planted"]);
}
