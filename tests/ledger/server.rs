//! The server of a setup on either bus, for what a scenario does to it by commands.

use redis::{Client, FromRedisValue, Value};
use tidings_testkit::ledger::{Setting, Setup};

use super::support::redis_server::connect;
use super::support::{Bus, RedisServer};

/// Where the logs of a setup are.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
    /// None on the embedded bus, whose server is the setup's broker.
    pub redis: Option<RedisServer>,
}

impl Server {
    /// A setup of the brokers that the setting wants, or of one with a bus of its own, and its
    /// server.
    pub(crate) async fn open(bus: Bus, name: &str, setting: Setting) -> (Self, Setup) {
        match bus {
            Bus::Redis => {
                let (redis, setup) = Setup::open(name, setting).await;
                (Self { url: redis.url(), redis: Some(redis) }, setup)
            }
            Bus::Embedded => {
                let setup = Setup::open_embedded(&format!("{name}, embedded bus"), setting).await;
                (Self { url: format!("redis://{}", setup.brokers[0].embedded()), redis: None }, setup)
            }
        }
    }

    /// Sends one command. Fails the test when the server refuses it.
    pub(crate) async fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut pipe = redis::pipe();
        let command = pipe.cmd(words[0]);
        command.arg(&words[1..]);
        let (answer,) = self.send(&pipe).await;
        answer
    }

    /// The same for a command whose reply does not matter.
    pub(crate) async fn tell(&self, words: &[&str]) {
        self.command::<Value>(words).await;
    }

    /// Sends several commands at once, or a transaction.
    pub(crate) async fn send<T: FromRedisValue>(&self, commands: &redis::Pipeline) -> T {
        let client = Client::open(self.url.as_str()).expect("the server's address");
        let mut connection = connect(&client).await.expect("a connection to the server");
        commands.query_async(&mut connection).await.expect("an answer")
    }
}
