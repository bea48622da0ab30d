//! The network cable of each role is pulled in turn: no packet comes, no connection is refused, no process has ended. The others
//! go on, status says who is missing, and when the cable is back everything is as it should be.

use serde_json::Value;

use crate::cables::Cables;
use crate::clients::{get, put};
use crate::running::eventually;
use crate::world::{World, node};

const NODES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Three voters, one standby and one spare.
fn cluster(cables: &Cables) -> World {
    let mut world = World::new();
    for name in NODES {
        let line = (name != "a").then(|| world.line("a", &[]));
        let arguments = match &line {
            None => vec!["start"],
            Some(line) => vec!["join", line],
        };
        let mut command = world.command(name, &arguments);
        let cable = cables.lay(name, world.peer_port(name));
        command.args(["--advertise-peer", &format!("127.0.0.1:{cable}")]);
        command.args(["--voters", "3", "--standbys", "1"]);
        world.spawn(name, command);
        cables.belongs(world.process_id(name), name);
        eventually("commands reach the node", || {
            world.ask(name, &["status"]).code != Some(4)
        });
    }
    settled(&world, "a");
    world
}

fn settled(world: &World, ask: &str) {
    world.until(ask, "everybody is well", |status| {
        let is = |role: &str| named(status, |node| node["role"] == role).len();
        let here = named(status, |node| node["contact"] == "responding");
        (is("voter"), is("standby"), is("spare")) == (3, 1, 1)
            && here.len() == 5
            && status["planner"]["reason"] == "settled"
    });
}

fn named(status: &Value, is: impl Fn(&Value) -> bool) -> Vec<String> {
    let nodes = status["nodes"].as_array().into_iter().flatten();
    let names = nodes
        .filter(|node| is(node))
        .map(|node| node["name"].as_str());
    names.flatten().map(str::to_owned).collect()
}

/// Who has this role; of the voters, one that leads or one that does not.
fn of_role(status: &Value, role: &str, leads: bool) -> String {
    let is = |node: &Value| node["role"] == role && (node["id"] == status["leader"]) == leads;
    named(status, is).remove(0)
}

#[test]
fn the_cable_of_each_role_is_pulled_and_put_back() {
    let cables = Cables::default();
    let world = cluster(&cables);
    for (role, leads) in [
        ("voter", true),
        ("voter", false),
        ("standby", false),
        ("spare", false),
    ] {
        let victim = of_role(&world.status("a"), role, leads);
        let other = *NODES.iter().find(|name| **name != victim).unwrap();
        let key = format!("while-{victim}-was-away");
        cables.pull(&victim);
        put(&world, other, &key, "written");
        world.until(other, "it is missed", |status| {
            let missed = node(status, &victim);
            missed["contact"] == "lost" && status["leader"] != missed["id"]
        });
        if role == "voter" {
            world.until(other, "the standby votes instead", |status| {
                status["voters"]["alive"] == 3 && node(status, &victim)["role"] != "voter"
            });
        }
        cables.put_back(&victim);
        settled(&world, other);
        assert_eq!(get(&world, &victim, &key).as_deref(), Some("written"));
    }
}
