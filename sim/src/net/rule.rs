//! Rules about links, as data, and what they mean for one message.
//!
//! A rule says what happens from some machines to some machines. It knows no stream and no simulator; asking it needs
//! nothing but a generator. Rules add up: blocked wins over everything, delays are summed, the narrowest pipe counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use crate::disk::Rate;
use crate::host::HostId;

/// Which machines a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosts {
    /// Every one.
    All,
    /// These.
    Only(BTreeSet<HostId>),
}

impl Hosts {
    /// One machine.
    #[must_use]
    pub fn one(host: HostId) -> Self {
        Self::Only(BTreeSet::from([host]))
    }

    /// Several machines.
    #[must_use]
    pub fn these(hosts: &[HostId]) -> Self {
        Self::Only(hosts.iter().copied().collect())
    }

    fn include(&self, host: HostId) -> bool {
        match self {
            Self::All => true,
            Self::Only(hosts) => hosts.contains(&host),
        }
    }
}

/// What happens on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing arrives and nothing is lost: TCP goes on trying, and all of it arrives in a burst when the link is back.
    /// New connections wait likewise. A partition, a clog and a black hole differ only in which links and for how long.
    Block,
    /// Packets of connections that exist vanish for good, as behind a firewall that forgot them: those connections are
    /// silent for ever, though the rule be lifted; new ones work.
    Forget,
    /// New connections are refused at once.
    Refuse,
    /// Every message takes a time between the two, in order.
    Delay {
        /// At least this long.
        least: Duration,
        /// At most this long.
        most: Duration,
    },
    /// Some messages take much longer than the others.
    LongTail {
        /// How many.
        rate: Rate,
        /// How much longer.
        delay: Duration,
    },
    /// Some packets are lost and sent again after a timeout that doubles; too many in a row reset the connection.
    Loss {
        /// How many.
        rate: Rate,
    },
    /// So many bytes a second fit.
    Bandwidth {
        /// How many.
        bytes_per_second: u64,
    },
}

impl Effect {
    /// The name in reports, where it is counted how often it struck.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Block => "link-blocked",
            Self::Forget => "link-forgotten",
            Self::Refuse => "link-refused",
            Self::Delay { .. } => "link-delay",
            Self::LongTail { .. } => "link-long-tail",
            Self::Loss { .. } => "link-loss",
            Self::Bandwidth { .. } => "link-bandwidth",
        }
    }
}

/// What happens from some machines to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Who sends.
    pub from: Hosts,
    /// Who receives.
    pub to: Hosts,
    /// What happens.
    pub effect: Effect,
}

impl Rule {
    /// Nothing from `from` arrives at `to`; the way back is open.
    #[must_use]
    pub fn one_way(from: &[HostId], to: &[HostId]) -> Self {
        Self {
            from: Hosts::these(from),
            to: Hosts::these(to),
            effect: Effect::Block,
        }
    }

    /// The effect, on every link.
    #[must_use]
    pub fn everywhere(effect: Effect) -> Self {
        Self {
            from: Hosts::All,
            to: Hosts::All,
            effect,
        }
    }

    /// The effect on both ways between two machines.
    #[must_use]
    pub fn between(one: HostId, other: HostId, effect: Effect) -> Vec<Self> {
        let rule = |from, to| Self {
            from: Hosts::one(from),
            to: Hosts::one(to),
            effect,
        };
        vec![rule(one, other), rule(other, one)]
    }

    /// Whether nothing passes, now or ever again.
    fn cuts(&self) -> bool {
        matches!(self.effect, Effect::Block | Effect::Forget)
    }

    fn covers(&self, from: HostId, to: HostId) -> bool {
        // A machine reaches itself without a network.
        from != to && self.from.include(from) && self.to.include(to)
    }
}

/// Cuts the machines into groups that cannot reach each other.
#[must_use]
pub fn groups(groups: &[Vec<HostId>]) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (index, from) in groups.iter().enumerate() {
        for (other, to) in groups.iter().enumerate() {
            if index != other {
                rules.push(Rule::one_way(from, to));
            }
        }
    }
    rules
}

/// Every machine reaches a majority, itself included, and no two the same one: its neighbours on a ring.
#[must_use]
pub fn majority_ring(hosts: &[HostId]) -> Vec<Rule> {
    let count = hosts.len();
    let reach = count / 4 + usize::from(count % 4 > 1);
    let mut rules = Vec::new();
    for (index, from) in hosts.iter().enumerate() {
        for (other, to) in hosts.iter().enumerate() {
            let apart = index.abs_diff(other);
            if apart.min(count - apart) > reach {
                rules.push(Rule::one_way(&[*from], &[*to]));
            }
        }
    }
    rules
}

/// Two halves that cannot reach each other, and one machine in the middle that reaches both.
#[must_use]
pub fn bridge(hosts: &[HostId]) -> Vec<Rule> {
    let half = hosts.len() / 2;
    match hosts.get(half) {
        Some(_) => groups(&[hosts[..half].to_vec(), hosts[half + 1..].to_vec()]),
        None => Vec::new(),
    }
}

/// What becomes of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It arrives after so long, and takes so much of the pipe.
    Passes {
        /// The time on the way.
        delay: Duration,
        /// How many bytes a second fit, if that is bounded.
        bytes_per_second: Option<u64>,
    },
    /// It never arrives: the connection is given up.
    GivenUp,
}

/// How long TCP waits before it sends a lost packet again, at first.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// After so many losses in a row the connection is given up; a real one takes minutes, a cluster's deadlines do not.
const RETRANSMISSIONS: u32 = 6;

/// A rule that was made, to take it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleId(u64);

impl RuleId {
    /// The rule of this number; a world gives each another one.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// The rules in force.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    rules: BTreeMap<RuleId, Rule>,
    /// Those that only give links their speed: no fault, never counted, and no heal takes them back.
    speeds: BTreeSet<RuleId>,
    /// How many of them let nothing pass: mostly none, and that is asked with every message.
    cuts: usize,
    struck: BTreeMap<&'static str, u64>,
    next: u64,
}

impl Rules {
    /// Adds a rule.
    pub fn add(&mut self, rule: Rule) -> RuleId {
        self.next += 1;
        self.cuts += usize::from(rule.cuts());
        self.rules.insert(RuleId(self.next), rule);
        RuleId(self.next)
    }

    /// Adds a rule that is no fault.
    pub fn add_speed(&mut self, rule: Rule) {
        let id = self.add(rule);
        self.speeds.insert(id);
    }

    /// How many messages or connections each effect has struck: a rule that was in force while nobody spoke shows nothing.
    #[must_use]
    pub fn struck(&self) -> &BTreeMap<&'static str, u64> {
        &self.struck
    }

    /// Takes a rule back.
    pub fn remove(&mut self, id: RuleId) {
        if let Some(rule) = self.rules.remove(&id) {
            self.cuts -= usize::from(rule.cuts());
        }
    }

    /// Takes all rules back, but for those that only give links their speed.
    pub fn heal(&mut self) {
        let speeds = &self.speeds;
        self.rules.retain(|id, _| speeds.contains(id));
        self.cuts = self.rules.values().filter(|rule| rule.cuts()).count();
    }

    fn effects(&self, from: HostId, to: HostId) -> impl Iterator<Item = Effect> {
        self.rules
            .values()
            .filter(move |rule| rule.covers(from, to))
            .map(|rule| rule.effect)
    }

    /// Whether nothing passes from one machine to another just now.
    #[must_use]
    pub fn is_blocked(&self, from: HostId, to: HostId) -> bool {
        self.cuts > 0 && self.effects(from, to).any(|effect| effect == Effect::Block)
    }

    /// Whether a connection that is asked for now is refused.
    pub fn refuses(&mut self, from: HostId, to: HostId) -> bool {
        let refused = self
            .effects(from, to)
            .any(|effect| effect == Effect::Refuse);
        if refused {
            *self.struck.entry(Effect::Refuse.name()).or_default() += 1;
        }
        refused
    }

    /// Whether connections that exist are forgotten.
    #[must_use]
    pub fn is_forgotten(&self, from: HostId, to: HostId) -> bool {
        self.cuts > 0
            && self
                .effects(from, to)
                .any(|effect| effect == Effect::Forget)
    }

    /// What becomes of a message that is sent now. That a link is blocked is asked at the other end, when it arrives.
    pub fn verdict(&mut self, from: HostId, to: HostId, rng: &mut SmallRng) -> Verdict {
        let (mut total, mut narrowest) = (Duration::ZERO, None::<u64>);
        let mut given_up = false;
        for (id, rule) in &self.rules {
            if !rule.covers(from, to) || given_up {
                continue;
            }
            let mut strikes = !self.speeds.contains(id);
            match rule.effect {
                Effect::Block | Effect::Forget => {}
                Effect::Refuse => strikes = false,
                Effect::Delay { least, most } => total += between(least, most, rng),
                Effect::LongTail { rate, delay } => {
                    strikes &= rate.fires(rng);
                    if strikes {
                        total += between(Duration::ZERO, delay * 2, rng);
                    }
                }
                Effect::Loss { rate } => {
                    let late = lost(rate, rng);
                    strikes &= late != Some(Duration::ZERO);
                    given_up = late.is_none();
                    total += late.unwrap_or_default();
                }
                Effect::Bandwidth { bytes_per_second } => {
                    let least = narrowest.unwrap_or(u64::MAX).min(bytes_per_second);
                    narrowest = Some(least);
                }
            }
            if strikes {
                *self.struck.entry(rule.effect.name()).or_default() += 1;
            }
        }
        if given_up {
            return Verdict::GivenUp;
        }
        Verdict::Passes {
            delay: total,
            bytes_per_second: narrowest,
        }
    }
}

/// How much later a packet arrives that is lost so often; nothing when the connection is given up over it.
fn lost(rate: Rate, rng: &mut SmallRng) -> Option<Duration> {
    let (mut late, mut timeout) = (Duration::ZERO, RETRANSMISSION);
    for _ in 0..RETRANSMISSIONS {
        if !rate.fires(rng) {
            return Some(late);
        }
        late += timeout;
        timeout *= 2;
    }
    None
}

fn between(least: Duration, most: Duration, rng: &mut SmallRng) -> Duration {
    let spread = u64::try_from(most.saturating_sub(least).as_nanos()).unwrap_or(u64::MAX);
    least + Duration::from_nanos(rng.random_range(0..=spread))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn hosts(count: u16) -> Vec<HostId> {
        (1..=count).map(HostId::new).collect()
    }

    fn with(rules: Vec<Rule>) -> Rules {
        let mut all = Rules::default();
        for rule in rules {
            all.add(rule);
        }
        all
    }

    /// Who reaches whom both ways, as one letter a pair.
    fn picture(rules: &Rules, hosts: &[HostId]) -> Vec<String> {
        let row = |from: &HostId| {
            hosts
                .iter()
                .map(|to| {
                    if rules.is_blocked(*from, *to) {
                        '.'
                    } else {
                        'x'
                    }
                })
                .collect()
        };
        hosts.iter().map(row).collect()
    }

    #[test]
    fn one_way_leaves_the_way_back_open() {
        let hosts = hosts(3);
        let rules = with(vec![Rule::one_way(&hosts[..1], &hosts[1..])]);
        assert_eq!(picture(&rules, &hosts), ["x..", "xxx", "xxx"]);
    }

    #[test]
    fn groups_are_cut_both_ways_and_machines_that_are_in_none_reach_all() {
        let hosts = hosts(5);
        let rules = with(groups(&[
            vec![hosts[0], hosts[1]],
            vec![hosts[2], hosts[3]],
        ]));
        assert_eq!(
            picture(&rules, &hosts),
            ["xx..x", "xx..x", "..xxx", "..xxx", "xxxxx"]
        );
    }

    #[test]
    fn ring_gives_each_a_majority_of_its_own() {
        for count in [3, 4, 5, 7, 9] {
            let hosts = hosts(count);
            let rows = picture(&with(majority_ring(&hosts)), &hosts);
            let distinct: BTreeSet<&String> = rows.iter().collect();
            for row in &rows {
                assert!(
                    row.matches('x').count() > usize::from(count) / 2,
                    "{count}: {rows:?}"
                );
            }
            assert!(
                count < 5 || distinct.len() == usize::from(count),
                "{count}: {rows:?}"
            );
        }
        let five = hosts(5);
        assert_eq!(
            picture(&with(majority_ring(&five)), &five),
            ["xx..x", "xxx..", ".xxx.", "..xxx", "x..xx"]
        );
    }

    #[test]
    fn bridge_reaches_both_halves() {
        let hosts = hosts(5);
        assert_eq!(
            picture(&with(bridge(&hosts)), &hosts),
            ["xxx..", "xxx..", "xxxxx", "..xxx", "..xxx"]
        );
    }

    #[test]
    fn effects_add_up_and_a_rule_taken_back_is_gone() {
        let hosts = hosts(2);
        let mut rules = Rules::default();
        let millis = Duration::from_millis;
        let least = rules.add(Rule::everywhere(Effect::Delay {
            least: millis(5),
            most: millis(5),
        }));
        rules.add(Rule::everywhere(Effect::LongTail {
            rate: Rate::ALWAYS,
            delay: millis(100),
        }));
        rules.add(Rule::everywhere(Effect::Bandwidth {
            bytes_per_second: 10,
        }));
        rules.add(Rule::everywhere(Effect::Bandwidth {
            bytes_per_second: 1000,
        }));
        let mut rng = Seed::new(1).rng();
        let Verdict::Passes {
            delay,
            bytes_per_second,
        } = rules.verdict(hosts[0], hosts[1], &mut rng)
        else {
            panic!("nothing is lost");
        };
        assert!(delay >= millis(5) && delay <= millis(205) && bytes_per_second == Some(10));
        rules.remove(least);
        rules.heal();
        let passes = Verdict::Passes {
            delay: Duration::ZERO,
            bytes_per_second: None,
        };
        assert_eq!(rules.verdict(hosts[0], hosts[1], &mut rng), passes);
    }

    #[test]
    fn only_what_a_rule_did_to_somebody_is_counted() {
        let hosts = hosts(3);
        let mut rng = Seed::new(1).rng();
        let mut rules = with(groups(&[vec![hosts[0]], vec![hosts[1]]]));
        let none = Duration::ZERO;
        rules.add_speed(Rule::everywhere(Effect::Delay {
            least: none,
            most: none,
        }));
        rules.add(Rule::everywhere(Effect::Refuse));
        rules.add(Rule::everywhere(Effect::Loss { rate: Rate::NEVER }));
        let _ = rules.verdict(hosts[0], hosts[2], &mut rng);
        assert_eq!(rules.struck(), &BTreeMap::new(), "nobody was hindered");
        let _ = rules.verdict(hosts[0], hosts[1], &mut rng);
        assert!(rules.refuses(hosts[0], hosts[2]));
        let struck = [("link-blocked", 1), ("link-refused", 1)];
        assert_eq!(rules.struck(), &struck.into());
    }

    #[test]
    fn loss_delays_by_timeouts_and_in_the_end_gives_up() {
        let hosts = hosts(2);
        let mut rng = Seed::new(1).rng();
        let mut always = with(vec![Rule::everywhere(Effect::Loss { rate: Rate::ALWAYS })]);
        assert_eq!(
            always.verdict(hosts[0], hosts[1], &mut rng),
            Verdict::GivenUp
        );
        let mut some = with(vec![Rule::everywhere(Effect::Loss {
            rate: Rate::per_million(300_000),
        })]);
        let delays: BTreeSet<Duration> = (0..200)
            .filter_map(|_| match some.verdict(hosts[0], hosts[1], &mut rng) {
                Verdict::Passes { delay, .. } => Some(delay),
                Verdict::GivenUp => None,
            })
            .collect();
        let expected = [0, 200, 600, 1400].map(Duration::from_millis);
        assert!(
            expected.iter().all(|delay| delays.contains(delay)),
            "{delays:?}"
        );
    }
}
