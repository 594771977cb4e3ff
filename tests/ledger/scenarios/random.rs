//! Faults drawn from a seed, on servers, brokers and clients at the same time.
//! `TIDINGS_LEDGER_SEED` repeats a run.

use std::time::Duration;

use fastrand::Rng;
use nix::sys::signal::Signal;
use tidings_testkit::ledger::{LedgerClient, Setting, Setup, print, tell};

use crate::support::{Broker, DEADLINE, RedisServer, eventually};

const DRAW: Draw = Draw { faults: 6, pause_max_ms: 2_000, lasting_max_ms: 3_000 };
const RECOVERY: Duration = Duration::from_secs(45);

#[derive(Debug, Clone, Copy)]
pub(crate) enum OfServer {
    Restart,
    Freeze,
    KillSubscribers,
    KillCommands,
    FlushScripts,
    FlushFunctions,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum OfBroker {
    Kill,
    Terminate,
    Freeze,
}

#[derive(Debug, Clone, Copy)]
enum OfClients {
    Leave,
    Hang,
}

/// Something that happens after a pause, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault<Kind> {
    pub pause: Duration,
    pub kind: Kind,
    /// Which of the brokers, links or clients.
    pub whom: usize,
    pub lasting: Duration,
}

/// How faults are drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draw {
    /// How many strike the server, and how many the brokers and so on.
    pub faults: usize,
    /// The longest pause before one.
    pub pause_max_ms: u64,
    /// The longest that one lasts.
    pub lasting_max_ms: u64,
}

impl Draw {
    pub(crate) fn faults<Kind: Copy>(self, random: &mut Rng, kinds: &[Kind]) -> Vec<Fault<Kind>> {
        let fault = |_| Fault {
            pause: Duration::from_millis(random.u64(..self.pause_max_ms)),
            kind: kinds[random.usize(..kinds.len())],
            whom: random.usize(..2),
            lasting: Duration::from_millis(random.u64(..self.lasting_max_ms)),
        };
        (0..self.faults).map(fault).collect()
    }
}

/// The seed of the run, which it prints.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("TIDINGS_LEDGER_SEED").ok();
    let seed =
        seed.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("TIDINGS_LEDGER_SEED is a number"));
    print(&format!("ledger: faults are drawn with TIDINGS_LEDGER_SEED={seed}"));
    seed
}

pub(crate) fn say<Kind: std::fmt::Debug>(whose: &str, faults: &[Fault<Kind>]) {
    let words: Vec<_> = faults
        .iter()
        .map(|fault| {
            format!("{:?}({}) for {:?} after {:?}", fault.kind, fault.whom, fault.lasting, fault.pause)
        })
        .collect();
    print(&format!("ledger:   {whose}: {}", words.join(", ")));
}

#[tokio::test]
async fn faults_drawn_from_a_seed() {
    let seed = seed();
    let mut random = Rng::with_seed(seed);
    let mut setting = Setting { append_only: true, ..Setting::default() };
    setting.publishers.retention = [100, 100_000][random.usize(..2)];
    setting.publishers.padding = [50, 5_000][random.usize(..2)];
    setting.brokers.push(("ring.events", [20, 200][random.usize(..2)].to_string()));
    let of_server = {
        use OfServer::*;
        // The heavy ones come twice as often.
        let kinds = [
            Restart,
            Restart,
            Freeze,
            Freeze,
            KillSubscribers,
            KillSubscribers,
            KillCommands,
            FlushScripts,
            FlushFunctions,
        ];
        DRAW.faults(&mut random, &kinds)
    };
    let of_brokers = DRAW.faults(&mut random, &[OfBroker::Kill, OfBroker::Terminate, OfBroker::Freeze]);
    let of_clients = DRAW.faults(&mut random, &[OfClients::Leave, OfClients::Hang]);
    say("server", &of_server);
    say("brokers", &of_brokers);
    say("clients", &of_clients);

    let (mut redis, mut setup) = Setup::open(&format!("random faults, seed {seed}"), setting).await;
    tokio::join!(
        strike_server(&mut redis, of_server),
        strike_brokers(&mut setup.brokers, of_brokers),
        strike_clients(&setup.listeners, of_clients),
    );
    eventually("both brokers are ready", RECOVERY, async || {
        setup.brokers[0].is_ready().await && setup.brokers[1].is_ready().await
    })
    .await;
    setup.more_within(20, RECOVERY).await;
    setup.close().await;
}

pub(crate) async fn strike_server(redis: &mut RedisServer, faults: Vec<Fault<OfServer>>) {
    for fault in faults {
        tokio::time::sleep(fault.pause).await;
        match fault.kind {
            OfServer::Restart => {
                redis.stop();
                tokio::time::sleep(fault.lasting).await;
                redis.restart().await;
            }
            OfServer::Freeze => {
                redis.freeze();
                // Sometimes longer than it takes a broker to notice.
                tokio::time::sleep(fault.lasting * 2).await;
                redis.thaw();
            }
            OfServer::KillSubscribers => {
                for _ in 0..10 {
                    redis.kill_subscribers().await;
                    tokio::time::sleep(fault.lasting / 10).await;
                }
            }
            OfServer::KillCommands => tell(redis, &["CLIENT", "KILL", "TYPE", "normal"]).await,
            OfServer::FlushScripts => tell(redis, &["SCRIPT", "FLUSH"]).await,
            OfServer::FlushFunctions => tell(redis, &["FUNCTION", "FLUSH"]).await,
        }
    }
}

pub(crate) async fn strike_brokers(brokers: &mut [Broker], faults: Vec<Fault<OfBroker>>) {
    for fault in faults {
        tokio::time::sleep(fault.pause).await;
        let broker = &mut brokers[fault.whom];
        match fault.kind {
            OfBroker::Kill => {
                broker.kill();
                tokio::time::sleep(fault.lasting).await;
                broker.restart().await;
            }
            OfBroker::Terminate => {
                broker.terminate(DEADLINE).await;
                tokio::time::sleep(fault.lasting).await;
                broker.restart().await;
            }
            OfBroker::Freeze => {
                broker.signal(Signal::SIGSTOP);
                tokio::time::sleep(fault.lasting).await;
                broker.signal(Signal::SIGCONT);
            }
        }
    }
}

async fn strike_clients(clients: &[LedgerClient], faults: Vec<Fault<OfClients>>) {
    for fault in faults {
        tokio::time::sleep(fault.pause).await;
        let struck = || clients.iter().skip(fault.whom).step_by(2);
        match fault.kind {
            OfClients::Leave => struck().for_each(LedgerClient::leave),
            OfClients::Hang => struck().for_each(LedgerClient::hang),
        }
        tokio::time::sleep(fault.lasting).await;
        struck().for_each(LedgerClient::come_back);
    }
}
