//! The commands of the scripts in `tests/scripts/join`.

use std::time::Duration;

use quorate::ids::{ClusterId, Epoch, NodeId};
use quorate::join::inviter::Leadership;
use quorate::join::joiner::{Found, Wish};
use quorate::join::{Address, Token};
use quorate::membership::Signer;
use quorate::proto::join::RoleWanted;
use quorate::proto::store;

use crate::world::{Trouble, World};

pub(crate) fn execute(world: &mut World, words: &[&str]) -> String {
    match words {
        ["token", name, options @ ..] => token(world, name, options),
        ["revoke", name] => {
            world.tokens.get_mut(*name).unwrap().1 = None;
            String::new()
        }
        ["machine", name, token, options @ ..] => machine(world, name, token, options),
        ["draws", name, ids @ ..] => {
            let ids = ids
                .iter()
                .rev()
                .map(|id| u64::from_str_radix(id, 16).unwrap());
            world.machines.get_mut(*name).unwrap().draws = ids.collect();
            String::new()
        }
        ["trouble", name, kind] => {
            let trouble = match *kind {
                "crash-after-save" => Trouble::CrashAfterSave,
                "crash-after-submit" => Trouble::CrashAfterSubmit,
                "crash-before-store" => Trouble::CrashBeforeStore,
                "lose-answer" => Trouble::LoseAnswer,
                "other-exporter" => Trouble::OtherExporter,
                kind => panic!("no such trouble: {kind}"),
            };
            world
                .machines
                .get_mut(*name)
                .unwrap()
                .troubles
                .push(trouble);
            String::new()
        }
        ["clock-behind", name, minutes] => {
            let behind = Duration::from_secs(60 * minutes.parse::<u64>().unwrap());
            world.machines.get_mut(*name).unwrap().clock_behind = behind;
            String::new()
        }
        ["join", name] => world.join(name),
        ["race", names @ ..] => world.race(names),
        ["disk", name] => world.machines[*name].on_disk(),
        ["holds", name, cluster] => {
            let cluster = ClusterId(u64::from_str_radix(cluster, 16).unwrap());
            world.machines.get_mut(*name).unwrap().disk = Found::Member {
                cluster,
                node: NodeId(0x77),
            };
            String::new()
        }
        ["remove", id] => {
            let id = u64::from_str_radix(id, 16).unwrap();
            world.view.index.0 += 1;
            world.view.members.remove(&NodeId(id));
            world.view.tombstones.insert(
                NodeId(id),
                store::Tombstone {
                    id,
                    ..Default::default()
                },
            );
            String::new()
        }
        ["uses", token] => match &world.tokens[*token].1 {
            Some(stored) => format!("{} left", stored.uses_left),
            None => "revoked".to_owned(),
        },
        ["members"] => world
            .view
            .members
            .values()
            .map(|member| member.name.as_str())
            .collect::<Vec<_>>()
            .join(" "),
        ["minutes", count] => {
            world.advance_time(Duration::from_secs(60 * count.parse::<u64>().unwrap()));
            String::new()
        }
        ["leader", "elsewhere"] => {
            world.leadership = Leadership::Elsewhere;
            String::new()
        }
        ["no-signer"] => {
            world.signer = Signer::Missing;
            String::new()
        }
        ["recovered"] => {
            world.view.epoch = Epoch(world.view.epoch.0 + 1);
            String::new()
        }
        ["feature-level", level] => {
            world.feature_level = level.parse().unwrap();
            String::new()
        }
        ["signer-clock-ahead", minutes] => {
            world.signer_ahead = Duration::from_secs(60 * minutes.parse::<u64>().unwrap());
            String::new()
        }
        ["leader-clock-back", minutes] => {
            world.now = world.now - Duration::from_secs(60 * minutes.parse::<u64>().unwrap());
            String::new()
        }
        words => panic!("no such command: {words:?}"),
    }
}

fn option<'a>(options: &[&'a str], name: &str) -> Option<&'a str> {
    options
        .iter()
        .find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
}

fn token(world: &mut World, name: &str, options: &[&str]) -> String {
    let seed = u8::try_from(world.tokens.len() + 200).unwrap();
    let token = Token::from_secret([seed; 32]);
    let minutes: u64 = option(options, "minutes").map_or(60, |minutes| minutes.parse().unwrap());
    let stored = store::Token {
        id: token.id().0.to_vec().into(),
        public_key: token.public_key().0.to_vec().into(),
        uses_left: option(options, "uses").map_or(1, |uses| uses.parse().unwrap()),
        expires_at_ms: (world.now + Duration::from_secs(60 * minutes)).millis(),
        spare_only: options.contains(&"spare-only"),
        node_name: option(options, "name").unwrap_or_default().to_owned(),
        created_by: "a".to_owned(),
    };
    world.highest = world.highest.max(world.now);
    world.tokens.insert(name.to_owned(), (token, Some(stored)));
    String::new()
}

fn machine(world: &mut World, name: &str, token: &str, options: &[&str]) -> String {
    let wish = Wish {
        name: option(options, "name").unwrap_or(name).to_owned(),
        peer_addresses: vec![Address::parse("10.0.0.9:7400").unwrap()],
        client_addresses: Vec::new(),
        failure_domain: String::new(),
        role: if options.contains(&"spare") {
            RoleWanted::Spare
        } else {
            RoleWanted::Any
        },
        feature_level: option(options, "level").map_or(1, |level| level.parse().unwrap()),
    };
    let addresses: Vec<&str> = option(options, "addresses")
        .unwrap_or("a")
        .split(',')
        .collect();
    let cluster =
        option(options, "cluster").map_or(0xc1, |id| u64::from_str_radix(id, 16).unwrap());
    world.machine(name, token, &addresses, wish, ClusterId(cluster));
    String::new()
}
