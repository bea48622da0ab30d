//! The role planner: golden scripts, and random fleets that it must never lead through an unsafe configuration.

#![allow(clippy::unwrap_used, reason = "a test that meets None has failed")]

#[path = "../scripting/mod.rs"]
mod scripting;

mod properties;
mod script;
mod world;

#[test]
fn scripts_give_the_recorded_steps() {
    scripting::run_all("membership", world::World::new, script::execute);
}
