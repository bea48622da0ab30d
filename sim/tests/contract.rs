//! Both simulated runtimes keep the contract that the production runtime keeps.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quorate::runtime::contract;
use quorate_sim::host::HostId;
use quorate_sim::madsim::MadsimWorld;
use quorate_sim::runtime::Simulated;
use quorate_sim::seed::Seed;
use quorate_sim::simulation::simulate;
use quorate_sim::simulator::Simulator;
use quorate_sim::trace::Keep;
use quorate_sim::turmoil::TurmoilWorld;
use quorate_sim::world::World;

fn keeps_the_contract<M: Simulator>() {
    for (name, case) in contract::suite::<Simulated<M::Substrate>>() {
        println!("contract: {name}");
        simulate::<M, _>(Seed::new(1), Keep::Last(50), |world| {
            let host = HostId::new(1);
            world.plug(host, Arc::new(|| Box::pin(async {})));
            let _ = world.start(host);
            let done = world.run(
                host,
                Duration::from_secs(60),
                case(PathBuf::from("/data").join(name), host.ip()),
            );
            assert!(
                done.is_some(),
                "{name}: {:?} {:#?}",
                world.panics(),
                world.trace().lines()
            );
        });
    }
}

#[test]
fn madsim_keeps_the_contract() {
    keeps_the_contract::<MadsimWorld>();
}

#[test]
fn turmoil_keeps_the_contract() {
    keeps_the_contract::<TurmoilWorld>();
}
