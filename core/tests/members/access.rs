//! Who is served, and over what: sockets, certificates, plain text, and what a spare may ask for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::REFUSED;
use crate::clients;
use crate::running::{eventually, free_ports};
use crate::world::{World, channel, node};

#[test]
fn plain_text_gets_nowhere_at_the_peers_port() {
    let world = World::cluster(&["a"]);
    let mut stream = TcpStream::connect(("127.0.0.1", world.peer_port("a"))).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    // A reset is as good an end as a close.
    let _ = stream.read_to_end(&mut answer);
    // At most an alert: never a frame of HTTP/2.
    assert!(answer.len() <= 7, "{answer:?}");
}

#[test]
fn a_node_of_another_cluster_gets_nowhere() {
    let world = World::cluster(&["a"]);
    let answer = clients::as_foreign_member(&format!("127.0.0.1:{}", world.peer_port("a")));
    assert!(answer.is_err(), "a foreign certificate was accepted");
}

#[test]
fn clients_of_other_machines_need_a_certificate_of_the_cluster() {
    let mut world = World::new();
    serve_other_machines(&mut world);
    let said = certify(&world, "alice", "1h");
    assert_eq!(said.lines().count(), 3, "{said}");
    assert_eq!(clients::put_with_certificate(&world, "a", "alice"), Ok(()));
    assert!(
        clients::plain_put(world.channel("a")).is_err(),
        "plain text was served"
    );
}

#[test]
fn an_old_client_certificate_is_refused_and_both_sides_say_why() {
    let mut world = World::new();
    serve_other_machines(&mut world);
    certify(&world, "bob", "2s");
    assert_eq!(clients::put_with_certificate(&world, "a", "bob"), Ok(()));
    eventually("it has expired", || {
        clients::put_with_certificate(&world, "a", "bob").is_err()
    });
    let said = clients::refusal(&world, "a", "bob");
    assert!(said.contains("CertificateExpired"), "{said}");
    assert!(world.logged("a", &["somebody was not let in", "certificate expired"]) > 0);
    // Issued anew, under another name for its files, it is as good as ever.
    certify(&world, "robert", "1h");
    assert_eq!(clients::put_with_certificate(&world, "a", "robert"), Ok(()));
}

/// Node `a`, with clients at an address that stands for all of the machine's.
fn serve_other_machines(world: &mut World) {
    let [port] = free_ports();
    let mut command = world.command_at("a", &["start"], &format!("0.0.0.0:{port}"));
    command.args(["--advertise-client", &format!("127.0.0.1:{port}")]);
    world.spawn("a", command);
    world.serves_at("a", port);
    world.until("a", "it leads", |status| {
        status["availability"] == "available"
    });
}

fn certify(world: &World, client: &str, ttl: &str) -> String {
    let out = world.path("certificates");
    let out = out.to_str().unwrap();
    let arguments = ["client-cert", client, "--ttl", ttl, "--out", out];
    world.ask("a", &arguments).done()
}

#[test]
fn clients_of_the_same_user_are_served_on_a_socket() {
    let mut world = World::new();
    let socket = world.path("run").join("client.socket");
    let address = format!("unix:{}", socket.display());
    for start in ["start", "start"] {
        let command = world.command_at("a", &[start], &address);
        world.spawn("a", command);
        world.until("a", "it leads", |status| {
            status["availability"] == "available"
        });
        assert_eq!(clients::plain_put(channel(&address)), Ok(()));
        let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // What is left behind by this is replaced in the next round.
        world.kill("a");
        assert!(socket.exists());
    }
    let command = world.command_at("a", &["start"], &address);
    world.spawn("a", command);
    world.until("a", "it leads", |status| {
        status["availability"] == "available"
    });
    const HEADERS: u8 = 1;
    assert_eq!(clients::range_with_a_path_for_a_host(&socket), HEADERS);
    assert_eq!(world.stop("a"), Some(0));
    assert!(!socket.exists(), "it goes with the node");
}

#[test]
fn a_spare_says_where_a_command_works_and_other_flags_are_seen() {
    let mut world = World::cluster(&["a"]);
    world.join("b", "a", &["--role", "spare", "--standbys", "1"]);
    for refused in [
        &["add-node"][..],
        &["token", "list"],
        &["token", "revoke", "0123456789abcdef"],
        &["remove-node", "a"],
        &["client-cert", "alice"],
    ] {
        let said = world.ask("b", refused);
        said.refused(REFUSED, "this node is a spare");
        said.refused(REFUSED, "on one of: a");
    }
    world.ask("b", &["set-failure-domain", "cellar"]).done();
    world.until("a", "its own row it may change", |status| {
        node(status, "b")["failure_domain"] == "cellar"
    });
    world.until("a", "its flags are told", |status| {
        let other = node(status, "b")["other_aims"].as_str();
        other.is_some_and(|aims| aims.contains("standbys 1"))
    });
    let text = world.ask("b", &["status"]).done();
    assert!(
        text.contains("b: would aim at something else as a leader"),
        "{text}"
    );
    assert!(
        text.contains("this node's certificate: good until"),
        "{text}"
    );
    assert!(text.contains("the first to expire is that of "), "{text}");
}
