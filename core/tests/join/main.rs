//! Joining, as golden scripts that read like the conversations they are.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that meets None has failed, and looks at the disk itself"
)]

#[path = "../filming/mod.rs"]
mod filming;
#[path = "../nodes/mod.rs"]
mod nodes;
#[path = "../scripting/mod.rs"]
mod scripting;

mod script;
mod sockets;
mod wipe;
mod world;

#[test]
fn scripts_give_the_recorded_conversations() {
    scripting::run_all("join", world::World::new, script::execute);
}
