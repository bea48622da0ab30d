//! Joining, as golden scripts that read like the conversations they are.

#![allow(clippy::unwrap_used, reason = "a test that meets None has failed")]

#[path = "../scripting/mod.rs"]
mod scripting;

mod script;
mod world;

#[test]
fn scripts_give_the_recorded_conversations() {
    scripting::run_all("join", world::World::new, script::execute);
}
