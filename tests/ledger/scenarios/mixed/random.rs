//! Faults drawn from a seed, for mixed workspaces. `TIDINGS_LEDGER_SEED` repeats a run.

use std::time::Duration;

use fastrand::Rng;
use tidings_testkit::ledger::Setting;

use super::{WITHOUT_HTTP, links, setting_with_residents};
use crate::scenarios::random::{self, Draw, Fault, OfBroker, OfServer};
use crate::support::chaos::{ChaosProxy, Toward, Transfer};

const DRAW: Draw = Draw { faults: 4, pause_max_ms: 1_500, lasting_max_ms: 2_500 };
const RECOVERY: Duration = Duration::from_secs(45);

#[derive(Debug, Clone, Copy)]
enum OfLink {
    Cut,
    LoseTail,
    HalfOpen,
    Deaf,
    Mute,
    Slow,
}

#[tokio::test]
async fn faults_drawn_from_a_seed() {
    let seed = random::seed();
    let mut random = Rng::with_seed(seed);
    let mut setting = Setting { append_only: true, ..setting_with_residents(&WITHOUT_HTTP) };
    setting.brokers.push(("ring.events", [20, 200][random.usize(..2)].to_string()));
    let of_server = {
        use OfServer::*;
        DRAW.faults(&mut random, &[Restart, Freeze, KillSubscribers, KillCommands, FlushScripts])
    };
    let of_links = {
        use OfLink::*;
        DRAW.faults(&mut random, &[Cut, LoseTail, HalfOpen, Deaf, Mute, Slow])
    };
    let of_brokers = {
        use OfBroker::*;
        DRAW.faults(&mut random, &[Kill, Terminate, Freeze])
    };
    random::say("server", &of_server);
    random::say("links", &of_links);
    random::say("brokers", &of_brokers);

    let name = format!("mixed, random faults, seed {seed}");
    let (mut redis, proxies, mut setup) = links::open(&name, setting).await;
    tokio::join!(
        random::strike_server(&mut redis, of_server),
        strike_links(&proxies, of_links),
        // The first broker receives every live event that the server can send.
        random::strike_brokers(&mut setup.brokers[1..], of_brokers),
    );
    links::all_ready(&setup.brokers, RECOVERY).await;
    setup.more_within(10, RECOVERY).await;
    setup.close().await;
}

async fn strike_links(proxies: &[ChaosProxy], faults: Vec<Fault<OfLink>>) {
    for fault in faults {
        tokio::time::sleep(fault.pause).await;
        let proxy = &proxies[fault.whom];
        match fault.kind {
            OfLink::Cut => proxy.cut(),
            OfLink::LoseTail => proxy.close_losing_tail(fault.lasting / 4).await,
            OfLink::HalfOpen => {
                proxy.set_open(Toward::Server, Transfer::Swallow);
                proxy.set_open(Toward::Client, Transfer::Swallow);
            }
            OfLink::Deaf => proxy.set(Toward::Client, Transfer::Swallow),
            OfLink::Mute => proxy.set(Toward::Server, Transfer::Swallow),
            OfLink::Slow => proxy.set(Toward::Client, Transfer::Delay(fault.lasting / 2)),
        }
        tokio::time::sleep(fault.lasting).await;
        proxy.heal();
    }
}
