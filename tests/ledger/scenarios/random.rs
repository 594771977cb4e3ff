//! Faults drawn from a seed. `TIDINGS_LEDGER_SEED` repeats a run.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::scene::{Scene, Setting, print, tell};
use crate::support::{DEADLINE, RedisServer, eventually};

const FAULTS: usize = 8;

/// What may go wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    KillBroker(usize),
    RestartBroker(usize),
    FreezeBroker(usize),
    RestartRedis,
    FreezeRedis,
    KillSubscribers,
    KillCommands,
    FlushScripts,
    FlushFunctions,
    ClientsLeave,
    ClientsHang,
}

impl Fault {
    fn draw(random: &mut fastrand::Rng) -> Self {
        let broker = random.usize(..2);
        match random.u8(..11) {
            0 => Self::KillBroker(broker),
            1 => Self::RestartBroker(broker),
            2 => Self::FreezeBroker(broker),
            3 => Self::RestartRedis,
            4 => Self::FreezeRedis,
            5 => Self::KillSubscribers,
            6 => Self::KillCommands,
            7 => Self::FlushScripts,
            8 => Self::FlushFunctions,
            9 => Self::ClientsLeave,
            _ => Self::ClientsHang,
        }
    }
}

#[tokio::test]
async fn faults_drawn_from_a_seed() {
    let seed = std::env::var("TIDINGS_LEDGER_SEED").ok();
    let seed =
        seed.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("TIDINGS_LEDGER_SEED is a number"));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut setting = Setting { append_only: true, ..Setting::default() };
    setting.publishers.retention = [100, 100_000][random.usize(..2)];
    setting.publishers.padding = [50, 2_000][random.usize(..2)];
    setting.brokers.push(("ring.events", [20, 200][random.usize(..2)].to_string()));
    let faults: Vec<_> = (0..FAULTS)
        .map(|_| (Fault::draw(&mut random), Duration::from_millis(random.u64(0..4_000))))
        .collect();
    print(&format!("ledger: TIDINGS_LEDGER_SEED={seed} draws {faults:?}"));

    let (mut redis, mut scene) = Scene::open(&format!("random faults, seed {seed}"), setting).await;
    for (fault, lasting) in faults {
        scene.more_within(10, DEADLINE * 3).await;
        strike(&mut redis, &mut scene, fault, lasting).await;
    }
    eventually("both brokers are ready", DEADLINE * 3, async || {
        scene.brokers[0].is_ready().await && scene.brokers[1].is_ready().await
    })
    .await;
    scene.more_within(20, DEADLINE * 3).await;
    scene.close().await;
}

async fn strike(redis: &mut RedisServer, scene: &mut Scene, fault: Fault, lasting: Duration) {
    match fault {
        Fault::KillBroker(index) => {
            scene.brokers[index].kill();
            tokio::time::sleep(lasting).await;
            scene.brokers[index].restart().await;
        }
        Fault::RestartBroker(index) => {
            scene.brokers[index].terminate(DEADLINE).await;
            tokio::time::sleep(lasting).await;
            scene.brokers[index].restart().await;
        }
        Fault::FreezeBroker(index) => {
            scene.brokers[index].signal(Signal::SIGSTOP);
            tokio::time::sleep(lasting).await;
            scene.brokers[index].signal(Signal::SIGCONT);
        }
        Fault::RestartRedis => {
            redis.stop();
            tokio::time::sleep(lasting).await;
            redis.restart().await;
        }
        Fault::FreezeRedis => {
            redis.freeze();
            tokio::time::sleep(lasting * 2).await;
            redis.thaw();
        }
        Fault::KillSubscribers => {
            for _ in 0..10 {
                redis.kill_subscribers().await;
                tokio::time::sleep(lasting / 10).await;
            }
        }
        Fault::KillCommands => tell(redis, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await,
        Fault::FlushScripts => tell(redis, &["SCRIPT", "FLUSH"]).await,
        Fault::FlushFunctions => tell(redis, &["FUNCTION", "FLUSH"]).await,
        Fault::ClientsLeave | Fault::ClientsHang => {
            let chosen: Vec<_> = scene.listeners.iter().step_by(2).collect();
            for listener in &chosen {
                if matches!(fault, Fault::ClientsLeave) { listener.leave() } else { listener.hang() }
            }
            tokio::time::sleep(lasting).await;
            chosen.iter().for_each(|listener| listener.come_back());
        }
    }
}
