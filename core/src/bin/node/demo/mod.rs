//! `quorate demo`: what a newcomer runs to believe us.
//!
//! Three nodes of this very program on loopback, clients that write to them, and a leader that is killed with SIGKILL while
//! they do. Shown is how long writes stalled and whether anything that was acknowledged is lost; the process ends with a
//! code of its own if so.
//!
//! * `args` what the user typed
//! * `writer` a client that writes and remembers what it was told
//! * `ledger` what all of them were told, and the judgement
//! * `readback` what a node really has

pub(crate) mod args;
mod ledger;
mod readback;
mod writer;

use crate::exit::{Context, Exit, Failure};
use crate::processes::{Cluster, Program, or_interrupted};
use crate::say::say;
use args::{Arguments, Victim};
use ledger::{Judgement, Ledger};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use readback::Content;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use writer::Writers;

const NODES: usize = 3;
/// Longer than any stall that a healthy cluster shows.
const STALL_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(1);

/// Runs the demonstration; fails with [`Exit::Lost`] if an acknowledged write is lost.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.check()?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context(Exit::Failed, "starting the runtime")?
        .block_on(or_interrupted(tell(arguments)))
}

async fn tell(arguments: &Arguments) -> Result<(), Failure> {
    let directory = Scratch::new(arguments)?;
    say!(
        "Three nodes start on loopback, with their data under {} ...",
        directory.path.display()
    );
    let begun = Instant::now();
    let mut cluster = Cluster::start(Program::ourselves()?, &directory.path, NODES).await?;
    for (index, endpoint) in cluster.endpoints().iter().enumerate() {
        let pid = cluster.pid(index).unwrap_or_default();
        say!(
            "  {}: process {pid}, clients are served at {endpoint}",
            cluster.name(index)
        );
    }
    let leader = cluster.leader().await?;
    say!(
        "  all serve and vote after {}, {} leads",
        seconds(begun.elapsed()),
        cluster.name(leader)
    );

    say!("{} clients write, each key once ...", arguments.clients);
    let ledger = Arc::new(Ledger::default());
    let writers = Writers::start(&cluster.endpoints(), arguments.clients, &ledger);
    let phase = Duration::from_millis(arguments.phase_ms);
    tokio::time::sleep(phase).await;
    let acknowledged = ledger.acknowledged();
    say!("  {acknowledged} writes acknowledged in {}", seconds(phase));

    let mut choice = StdRng::seed_from_u64(arguments.seed);
    let mut stalls = Vec::with_capacity(arguments.kills);
    for _ in 0..arguments.kills {
        let victim = match arguments.victim {
            Victim::Leader => cluster.leader().await?,
            Victim::Any => choice.random_range(0..NODES),
        };
        stalls.push(kill(&mut cluster, victim, &ledger).await?);
        tokio::time::sleep(phase).await;
    }
    writers.stop().await?;
    if let Some(longest) = stalls.iter().max().filter(|_| stalls.len() > 1) {
        say!(
            "The longest of {} stalls was {}.",
            stalls.len(),
            seconds(*longest)
        );
    }
    let verdict = judge(&mut cluster, &ledger).await;
    cluster.stop_all().await?;
    verdict
}

/// Kills a node under load, sees writes go on, and starts it again.
async fn kill(cluster: &mut Cluster, victim: usize, ledger: &Ledger) -> Result<Duration, Failure> {
    let leads = if cluster.leader().await? == victim {
        ", the leader"
    } else {
        ""
    };
    say!(
        "kill -9 {} ({}{leads}) ...",
        cluster.pid(victim).unwrap_or_default(),
        cluster.name(victim)
    );
    let killed = Instant::now();
    cluster.kill(victim);
    let stall = loop {
        if let Some(stall) = ledger.first_success_after(killed) {
            break stall;
        }
        if killed.elapsed() > STALL_LIMIT {
            let message = format!(
                "no write was acknowledged for {} after the kill",
                seconds(STALL_LIMIT)
            );
            return Err(Failure::new(Exit::Failed, message));
        }
        tokio::time::sleep(POLL).await;
    };
    let leader = cluster.leader().await?;
    say!(
        "  the next write was acknowledged after {} ms; {} leads",
        stall.as_millis(),
        cluster.name(leader)
    );
    let begun = Instant::now();
    cluster.spawn(victim)?;
    cluster.serving(victim).await?;
    say!(
        "  {} is back and serves after {}",
        cluster.name(victim),
        seconds(begun.elapsed())
    );
    Ok(stall)
}

/// Reads everything back from every node and compares it with what clients were told.
async fn judge(cluster: &mut Cluster, ledger: &Ledger) -> Result<(), Failure> {
    say!("Everything is read back, from each node ...");
    cluster.ready().await?;
    let mut lost = 0;
    let mut digests = Vec::with_capacity(NODES);
    for (index, endpoint) in cluster.endpoints().iter().enumerate() {
        let content = Content::read(endpoint).await?;
        let Judgement {
            acknowledged,
            lost: missing,
            unanswered,
            of_these_there,
        } = ledger.judge(&content.keys);
        say!(
            "  {}: {} of {acknowledged} acknowledged writes are there",
            cluster.name(index),
            acknowledged - missing.len()
        );
        if index == 0 && unanswered > 0 {
            say!(
                "  ({unanswered} writes were cut off without an answer; {of_these_there} took effect: either is right)"
            );
        }
        if let Some(example) = missing.first() {
            say!("  LOST: {} writes, for example {example}", missing.len());
        }
        lost = lost.max(missing.len());
        digests.push((content.revision, content.digest));
    }
    digests.dedup();
    match digests.as_slice() {
        [(revision, digest)] => {
            say!("  equal on all three: digest {digest}, revision {revision}");
        }
        _ => {
            say!("  NOT EQUAL: revisions and digests {digests:?}");
            return Err(Failure::new(Exit::Lost, "the nodes differ"));
        }
    }
    if lost > 0 {
        return Err(Failure::new(
            Exit::Lost,
            format!("{lost} acknowledged writes are lost"),
        ));
    }
    say!("Nothing that was acknowledged is lost.");
    Ok(())
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// The directory of the nodes' data, removed at the end unless the user wants to look at it.
struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let parent = arguments
            .directory
            .clone()
            .unwrap_or_else(std::env::temp_dir);
        let path = parent.join(format!("quorate-demo-{}", std::process::id()));
        let what = format!("making the directory {}", path.display());
        fs::create_dir_all(&path).context(Exit::Failed, what)?;
        Ok(Self {
            path,
            keep: arguments.keep,
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed is the user's to look at.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
