//! A real Redis server.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisResult, ToRedisArgs};

use super::directory::Directory;
use super::namespace::Namespace;
use super::ports::Port;
use super::programs::Program;
use super::tls::Certificates;
use super::wait::{DEADLINE, eventually_some};

/// The harness's own user, which stays whatever rights a test gives and takes.
const HARNESS_USER: &str = "harness";

/// How a server is to be set up.
#[derive(Debug, Default)]
pub struct RedisOptions {
    /// Another server's program than that of [`server_program`].
    pub program: Option<PathBuf>,
    /// The default user's password; none by default.
    pub password: Option<String>,
    /// Further users, in the form of an ACL file without the word `user`: `"broker on >secret ~*
    /// &workspace:* +@all"`.
    pub users: Vec<String>,
    /// Keep the data over a restart.
    pub append_only: bool,
    /// Listen on TLS too, see [`RedisServer::tls_url`].
    pub tls: bool,
    /// The certificates for TLS; new ones by default.
    pub certificates: Option<Arc<Certificates>>,
    /// The address to listen on; 127.0.0.1 by default.
    pub host: Option<Ipv4Addr>,
    /// The namespace to run in, which has `host`.
    pub namespace: Option<Arc<Namespace>>,
    /// Lines for the server's configuration file.
    pub configuration: Vec<String>,
}

/// The program of servers that a test does not choose: that of the variable `TIDINGS_TEST_REDIS`,
/// or else `redis-server`. With the variable the same tests run on Valkey.
fn server_program() -> PathBuf {
    std::env::var_os("TIDINGS_TEST_REDIS").map_or_else(|| "redis-server".into(), PathBuf::from)
}

/// A Redis server with a TCP port and a unix socket, both kept over restarts. It ends with the
/// value.
#[derive(Debug)]
pub struct RedisServer {
    program: Option<Program>,
    options: RedisOptions,
    port: Port,
    tls: Option<(Port, Arc<Certificates>)>,
    directory: Directory,
}

impl RedisServer {
    /// Starts a server without passwords and persistence, and waits until it responds.
    pub async fn start() -> Self {
        Self::start_with(RedisOptions::default()).await
    }

    /// Starts a server and waits until it responds.
    pub async fn start_with(options: RedisOptions) -> Self {
        let mut server = Self::prepare(options);
        server.restart().await;
        server
    }

    /// A server that has its place but does not run: what connects is refused until
    /// [`Self::restart`].
    pub fn prepare(options: RedisOptions) -> Self {
        let certificates = || options.certificates.clone().unwrap_or_else(|| Arc::new(Certificates::make()));
        let tls = options.tls.then(|| (Port::claim(), certificates()));
        Self { program: None, options, port: Port::claim(), tls, directory: Directory::new() }
    }

    /// Ends the server at once, as a crash would. Without `append_only` it forgets all.
    pub fn stop(&mut self) {
        self.program = None;
    }

    /// Starts the server, if need be after ending it, at the same addresses, and does not wait for
    /// a response.
    pub fn launch(&mut self) {
        self.stop();
        let configuration = self.directory.write("redis.conf", self.configuration());
        let program = self.options.program.clone().unwrap_or_else(server_program);
        let mut command = match &self.options.namespace {
            Some(namespace) => namespace.command(&program),
            None => Command::new(&program),
        };
        command.arg(configuration).current_dir(self.directory.path());
        self.program = Some(Program::start("redis-server", command));
    }

    /// Starts the server, if need be after ending it, at the same addresses, and waits until it
    /// responds.
    pub async fn restart(&mut self) {
        self.launch();
        eventually_some("redis-server answers", DEADLINE, async || {
            let program = self.program.as_mut().expect("just started");
            assert!(program.is_running(), "redis-server ended");
            self.try_command::<String>(&["PING"]).await.ok()
        })
        .await;
    }

    /// The server keeps its connections and says nothing more, like one behind a cable that was
    /// pulled.
    pub fn freeze(&self) {
        self.running().freeze();
    }

    /// Ends a freeze.
    pub fn thaw(&self) {
        self.running().thaw();
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The address of the TCP port.
    pub fn address(&self) -> SocketAddr {
        (self.host(), self.port()).into()
    }

    /// The URL of the TCP port, with the default user's password.
    pub fn url(&self) -> String {
        match &self.options.password {
            Some(password) => format!("redis://:{password}@{}", self.address()),
            None => format!("redis://{}", self.address()),
        }
    }

    /// The URL of the TCP port for one of the further users.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@{}", self.address())
    }

    /// The URL of the unix socket.
    pub fn socket_url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// The TLS port. Needs `options.tls`.
    pub fn tls_port(&self) -> u16 {
        let (port, _) = self.tls.as_ref().expect("a server with options.tls");
        port.number()
    }

    /// The URL of the TLS port, and the certificates, whose authority a client has to trust. Needs
    /// `options.tls`.
    pub fn tls_url(&self) -> (String, &Certificates) {
        let (port, certificates) = self.tls.as_ref().expect("a server with options.tls");
        (format!("rediss://localhost:{}", port.number()), certificates)
    }

    /// A connection with all rights.
    ///
    /// # Errors
    ///
    /// The server does not run, or does not respond.
    pub async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let url = format!("{}?user={HARNESS_USER}&pass={HARNESS_USER}", self.socket_url());
        connect(&Client::open(url)?).await
    }

    /// Sends one command with all rights, such as `["CLIENT", "KILL", "TYPE", "pubsub"]`, and fails
    /// the test when the server refuses it.
    pub async fn command<T: FromRedisValue>(&self, words: &[impl ToRedisArgs]) -> T {
        self.try_command(words).await.unwrap_or_else(|error| panic!("redis: {error}"))
    }

    /// Sends one command with all rights.
    ///
    /// # Errors
    ///
    /// The server refuses it, or does not run.
    pub async fn try_command<T: FromRedisValue>(&self, words: &[impl ToRedisArgs]) -> RedisResult<T> {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        command.query_async(&mut self.connection().await?).await
    }

    /// Publishes a message and returns how many subscribers the server sent it to.
    pub async fn publish(&self, channel: &str, message: &str) -> u64 {
        self.command(&["PUBLISH", channel, message]).await
    }

    /// How many connections are subscribed to a channel.
    pub async fn subscribers(&self, channel: &str) -> u64 {
        let (_, count): (String, u64) = self.command(&["PUBSUB", "NUMSUB", channel]).await;
        count
    }

    /// Closes all subscribers and returns how many there were.
    pub async fn kill_subscribers(&self) -> u64 {
        self.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await
    }

    /// Whether the server runs and responds within a second.
    pub async fn is_responsive(&self) -> bool {
        let asked = self.try_command::<String>(&["PING"]);
        matches!(tokio::time::timeout(Duration::from_secs(1), asked).await, Ok(Ok(_)))
    }

    /// A section of `INFO`.
    pub async fn info(&self, section: &str) -> String {
        self.command(&["INFO", section]).await
    }

    /// The CPU time that the server has taken so far.
    pub async fn cpu_time(&self) -> Duration {
        let info = self.info("cpu").await;
        let seconds = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name)).expect("a line of INFO");
            Duration::from_secs_f64(value.trim().parse().expect("seconds"))
        };
        seconds("used_cpu_user:") + seconds("used_cpu_sys:")
    }

    /// The append-only files, those of one data set after the other. A server begins a new data
    /// set when it copies that of another server. Needs `append_only`, and for all but the last one
    /// `aof-disable-auto-gc yes`.
    pub fn data_sets(&self) -> Vec<Vec<u8>> {
        let files = std::fs::read_dir(self.directory.file("appendonlydir")).expect("append-only files");
        let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        // `appendonly.aof.<number>.base.rdb` is before `appendonly.aof.<number>.incr.aof`.
        paths.sort();
        let mut data_sets: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for path in paths {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            if let Some(number) = name.split('.').nth(2).and_then(|number| number.parse().ok()) {
                let bytes = std::fs::read(&path).expect("read an append-only file");
                data_sets.entry(number).or_default().extend(bytes);
            }
        }
        data_sets.into_values().collect()
    }

    fn host(&self) -> Ipv4Addr {
        self.options.host.unwrap_or(Ipv4Addr::LOCALHOST)
    }

    fn running(&self) -> &Program {
        self.program.as_ref().expect("a server that runs")
    }

    fn socket(&self) -> PathBuf {
        self.directory.file("redis.sock")
    }

    fn configuration(&self) -> String {
        let mut users = format!("user {HARNESS_USER} on >{HARNESS_USER} ~* &* +@all\n");
        let secret = self.options.password.as_ref().map_or("nopass".to_owned(), |word| format!(">{word}"));
        writeln!(users, "user default on {secret} ~* &* +@all").expect("write to a string");
        for user in &self.options.users {
            writeln!(users, "user {user}").expect("write to a string");
        }
        let users = self.directory.write("users.acl", users);

        let mut lines = vec![
            format!("bind {}", self.host()),
            format!("port {}", self.port.number()),
            format!("unixsocket {}", self.socket().display()),
            format!("aclfile {}", users.display()),
            "save \"\"".to_owned(),
            format!("appendonly {}", if self.options.append_only { "yes" } else { "no" }),
            "appendfsync always".to_owned(),
        ];
        if let Some((port, certificates)) = &self.tls {
            lines.push(format!("tls-port {}", port.number()));
            lines.push(format!("tls-cert-file {}", certificates.certificate.display()));
            lines.push(format!("tls-key-file {}", certificates.key.display()));
            lines.push(format!("tls-ca-cert-file {}", certificates.authority.display()));
            lines.push("tls-auth-clients no".to_owned());
        }
        lines.extend(self.options.configuration.iter().cloned());
        lines.join("\n")
    }
}

/// Connects with a bound that a busy machine keeps; that of the client library is half a second.
///
/// # Errors
///
/// The server does not run, or does not respond.
pub async fn connect(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(DEADLINE))
        .set_response_timeout(Some(DEADLINE));
    client.get_multiplexed_async_connection_with_config(&config).await
}

#[cfg(test)]
mod tests;
