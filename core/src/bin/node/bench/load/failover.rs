//! The outage that writers see when a process, usually the leader's, is ended.
//!
//! A write starts at every endpoint every few milliseconds, whether or not earlier ones were answered. The outage is the
//! time from the signal to the first success of a write that *began after* it: one that was already under way may still
//! succeed and would flatter the figure.

use super::put::put_request;
use crate::bench::args::Signal;
use crate::bench::report::Report;
use crate::bench::settings::Settings;
use crate::bench::source::Source;
use crate::bench::tally::{Answer, Tally};
use crate::client::Channel;
use crate::exit::{Context, Exit, Failure};
use rustix::process::{Pid, kill_process};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// How long writes go on after the first success, to see that it lasts.
const AFTERMATH: Duration = Duration::from_secs(1);

/// Whom to end, how and when.
pub(in crate::bench) struct Plan {
    pid: Pid,
    signal: Signal,
    kill_after: Duration,
    probe_every: Duration,
}

/// What the writers saw.
pub(in crate::bench) struct Outage {
    /// From the signal to the first success of a write that began after it; `None` if there was none.
    pub(in crate::bench) length: Option<Duration>,
    written_before: u64,
    failed_after: u64,
    tally: Tally,
    wall: Duration,
}

struct Probe {
    begun: Instant,
    ended: Instant,
    error: Option<String>,
}

impl Plan {
    pub(in crate::bench) fn check(
        pid: u32,
        signal: Signal,
        kill_after_ms: u64,
        probe_ms: u64,
    ) -> Result<Self, Failure> {
        let mut errors = Vec::new();
        // 0 would be this process's whole group and 1 is the machine's init.
        let process = i32::try_from(pid)
            .ok()
            .filter(|&pid| pid > 1)
            .and_then(Pid::from_raw);
        if process.is_none() {
            errors.push("--kill-pid is a process id above 1".into());
        }
        if !(1..=10_000).contains(&probe_ms) {
            errors.push("--probe-ms is 1 to 10000".into());
        }
        match process {
            Some(pid) if errors.is_empty() => Ok(Self {
                pid,
                signal,
                kill_after: Duration::from_millis(kill_after_ms),
                probe_every: Duration::from_millis(probe_ms),
            }),
            _ => Err(Failure::usage(&errors)),
        }
    }

    fn kill(&self) -> Result<(), Failure> {
        let signal = match self.signal {
            Signal::Kill => rustix::process::Signal::KILL,
            Signal::Term => rustix::process::Signal::TERM,
        };
        let what = || format!("ending process {}", self.pid.as_raw_nonzero());
        kill_process(self.pid, signal).context(Exit::Failed, what())
    }
}

/// Writes, ends the process, and writes on until it is seen to work again or the run is over.
pub(in crate::bench) async fn failover(
    settings: &Settings,
    plan: &Plan,
) -> Result<Outage, Failure> {
    let mut channels = Vec::with_capacity(settings.endpoints.len());
    for endpoint in &settings.endpoints {
        channels.push(Channel::connect(endpoint).await?);
    }
    let (sender, mut receiver) = unbounded_channel();
    let mut source = Source::single(settings);
    let mut tick = tokio::time::interval(plan.probe_every);
    let start = Instant::now();
    let mut killed = None;
    let mut recovered: Option<Instant> = None;
    let mut probes: Vec<Probe> = Vec::new();
    for number in 0..settings.total {
        tick.tick().await;
        while let Ok(probe) = receiver.try_recv() {
            if recovered.is_none() && probe_is_after(&probe, killed) {
                recovered = Some(probe.ended);
            }
            probes.push(probe);
        }
        let lasted = recovered.is_some_and(|since| since.elapsed() > AFTERMATH);
        if lasted || start.elapsed() >= settings.duration {
            break;
        }
        if killed.is_none() && start.elapsed() >= plan.kill_after {
            killed = Some(Instant::now());
            plan.kill()?;
        }
        for channel in &channels {
            let put = put_request(source.key(number), source.value());
            tokio::spawn(probe(
                channel.clone(),
                put,
                settings.timeout,
                sender.clone(),
            ));
        }
    }
    let killed =
        killed.ok_or_else(|| Failure::new(Exit::Failed, "the run ended before the signal"))?;
    Ok(outage(killed, &probes, start.elapsed()))
}

async fn probe(
    channel: Channel,
    put: quorate::proto::etcdserverpb::PutRequest,
    limit: Duration,
    sender: UnboundedSender<Probe>,
) {
    let begun = Instant::now();
    let error = match tokio::time::timeout(limit, channel.kv().put(put)).await {
        Ok(Ok(_)) => None,
        Ok(Err(status)) => Some(status.to_string()),
        Err(_) => Some("timed out".into()),
    };
    let ended = Instant::now();
    // The receiver is gone once the run is over, and then nobody asks.
    let _ = sender.send(Probe {
        begun,
        ended,
        error,
    });
}

/// Whether the probe succeeded and began after the signal.
fn probe_is_after(probe: &Probe, killed: Option<Instant>) -> bool {
    probe.error.is_none() && killed.is_some_and(|killed| probe.begun > killed)
}

fn outage(killed: Instant, probes: &[Probe], wall: Duration) -> Outage {
    let mut tally = Tally::new(&["put"]);
    for probe in probes {
        match &probe.error {
            None => tally.answered(0, Answer::Done, probe.ended - probe.begun),
            Some(error) => tally.failed(error),
        }
    }
    let successes = probes
        .iter()
        .filter(|probe| probe_is_after(probe, Some(killed)));
    let first = successes.map(|probe| probe.ended).min();
    let count = |wanted: fn(&Probe, Instant) -> bool| {
        probes.iter().filter(|probe| wanted(probe, killed)).count()
    };
    Outage {
        length: first.map(|first| first - killed),
        written_before: count(|probe, killed| probe.error.is_none() && probe.ended < killed) as u64,
        failed_after: count(|probe, killed| probe.error.is_some() && probe.begun > killed) as u64,
        tally,
        wall,
    }
}

impl Outage {
    pub(super) fn report(&self, settings: &Settings) -> Report {
        let milliseconds = |length: Duration| (length.as_secs_f64() * 1e4).round() / 10.0;
        Report::new("failover", settings, &self.tally, self.wall)
            .with("outage_ms", self.length.map(milliseconds))
            .with("written_before", self.written_before)
            .with("failed_after", self.failed_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_under_way_at_the_signal_does_not_end_the_outage() {
        let killed = Instant::now();
        let at = |milliseconds: i64| {
            if milliseconds < 0 {
                killed - Duration::from_millis(milliseconds.unsigned_abs())
            } else {
                killed + Duration::from_millis(milliseconds.unsigned_abs())
            }
        };
        let probe = |begun, ended, error: Option<&str>| Probe {
            begun: at(begun),
            ended: at(ended),
            error: error.map(str::to_owned),
        };
        let probes = [
            probe(-20, -10, None),
            probe(-5, 3, None),
            probe(1, 50, Some("unavailable")),
            probe(90, 120, None),
            probe(80, 130, None),
        ];
        let outage = outage(killed, &probes, Duration::from_secs(1));
        assert_eq!(outage.length, Some(Duration::from_millis(120)));
        assert_eq!(outage.written_before, 1);
        assert_eq!(outage.failed_after, 1);
    }

    #[test]
    fn whole_groups_and_init_are_not_killed() {
        for pid in [0, 1, u32::MAX] {
            assert!(Plan::check(pid, Signal::Kill, 0, 10).is_err(), "{pid}");
        }
        assert!(Plan::check(2, Signal::Kill, 0, 10).is_ok());
        assert!(Plan::check(2, Signal::Kill, 0, 0).is_err());
    }
}
