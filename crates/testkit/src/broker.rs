//! The real `tidings` program.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::directory::Directory;
use super::executable::executable;
use super::http::{self, Response};
use super::ports::Port;
use super::programs::{Program, Sink};
use super::redis_cluster::RedisCluster;
use super::redis_server::RedisServer;
use super::sse::{Connect, SseClient};
use super::wait::{DEADLINE, eventually, eventually_some};

/// The `tidings` program with none of the settings of the environment in which the tests run.
pub fn tidings() -> Command {
    without_settings(executable())
}

fn without_settings(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDINGS_") {
            command.env_remove(name);
        }
    }
    command
}

/// How a broker is to be started. The addresses are the harness's to choose.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    host: IpAddr,
    settings: Vec<(String, String)>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    ignored_signal: Option<&'static str>,
    sink: Option<Sink>,
    files: Option<(u64, u64)>,
    input: Option<PathBuf>,
    passed: Option<(String, Sink)>,
    program: Option<PathBuf>,
}

impl BrokerOptions {
    /// A broker on the embedded bus.
    pub fn embedded() -> Self {
        let host = Ipv4Addr::LOCALHOST.into();
        Self {
            host,
            settings: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            ignored_signal: None,
            sink: None,
            files: None,
            input: None,
            passed: None,
            program: None,
        }
    }

    /// A broker on a Redis server.
    pub fn redis(server: &RedisServer) -> Self {
        Self::embedded().set("redis.url", server.url())
    }

    /// A broker on a Redis Cluster.
    pub fn cluster(cluster: &RedisCluster) -> Self {
        Self::embedded().set("redis.cluster.nodes", cluster.urls())
    }

    /// Has the public and the admin listener on all addresses, as in a container, where `auth.mode`
    /// has to be set.
    pub fn on_all_addresses(mut self) -> Self {
        self.host = Ipv4Addr::UNSPECIFIED.into();
        self
    }

    /// Has the public and the admin listener on another loopback address.
    pub fn on(mut self, host: Ipv4Addr) -> Self {
        assert!(host.is_loopback(), "{host} is reached by others");
        self.host = host.into();
        self
    }

    /// Sets a key of the configuration, such as `"sse.heartbeat_seconds"`.
    #[expect(clippy::needless_pass_by_value, reason = "a number or a text, as it comes")]
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.settings.push((key.to_owned(), value.to_string()));
        self
    }

    /// Adds an argument behind `serve`.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts the broker with a signal ignored, such as `XFSZ`, by which the system ends programs
    /// whose files grow too large.
    pub fn ignoring(mut self, signal: &'static str) -> Self {
        self.ignored_signal = Some(signal);
        self
    }

    /// Starts the broker with a soft and a hard limit of open files.
    pub fn open_files(mut self, soft: u64, hard: u64) -> Self {
        self.files = Some((soft, hard));
        self
    }

    /// Starts the broker with a file, such as a terminal, as its standard input.
    pub fn reading_from(mut self, file: &Path) -> Self {
        self.input = Some(file.to_owned());
        self
    }

    /// Passes a listening socket to the broker as a service manager does, by this name.
    pub fn passing(mut self, name: &str, socket: impl Into<OwnedFd>) -> Self {
        self.passed = Some((name.to_owned(), Sink::new(socket)));
        self
    }

    /// Has the broker write to a sink instead of its log.
    pub fn writing_to(mut self, sink: &Sink) -> Self {
        self.sink = Some(sink.clone());
        self
    }

    /// Starts another program than the one that is tested: another version of it.
    pub fn program(mut self, program: &Path) -> Self {
        self.program = Some(program.to_owned());
        self
    }

    /// Sets an environment variable that is not a key of the configuration.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// The environment variable of a key: `server.listen` is `TIDINGS__SERVER__LISTEN`.
pub fn variable(key: &str) -> String {
    format!("TIDINGS__{}", key.to_uppercase().replace('.', "__"))
}

/// A running broker. It ends with the value.
#[derive(Debug)]
pub struct Broker {
    program: Program,
    options: BrokerOptions,
    ports: Arc<Ports>,
    directory: Directory,
}

#[derive(Debug)]
struct Ports {
    server: Port,
    admin: Port,
    embedded: Port,
}

impl Broker {
    /// Starts a broker and waits until it is live.
    pub async fn start(options: BrokerOptions) -> Self {
        let ports = Ports { server: Port::claim(), admin: Port::claim(), embedded: Port::claim() };
        Self::start_at(options, Arc::new(ports)).await
    }

    /// Starts a broker with the ports of another, on an address of its own, and waits until it is
    /// ready.
    pub async fn start_beside(other: &Self, host: Ipv4Addr) -> Self {
        let broker = Self::start_at(other.options.clone().on(host), Arc::clone(&other.ports)).await;
        broker.ready().await;
        broker
    }

    /// Starts a broker and waits until its log has a text, without a request to it. Returns
    /// the log too.
    pub async fn start_until(options: BrokerOptions, logged: &str) -> (Self, String) {
        let ports = Ports { server: Port::claim(), admin: Port::claim(), embedded: Port::claim() };
        let (ports, directory) = (Arc::new(ports), Directory::new());
        let program = launch(&options, &ports, &directory);
        let broker = Self { program, options, ports, directory };
        let log = broker.logged(logged).await;
        (broker, log)
    }

    async fn start_at(options: BrokerOptions, ports: Arc<Ports>) -> Self {
        let directory = Directory::new();
        let program = launch(&options, &ports, &directory);
        let mut broker = Self { program, options, ports, directory };
        broker.live().await;
        broker
    }

    /// Starts a broker and waits until it is ready.
    pub async fn start_ready(options: BrokerOptions) -> Self {
        let broker = Self::start(options).await;
        broker.ready().await;
        broker
    }

    /// The public listener.
    pub fn address(&self) -> SocketAddr {
        self.here(&self.ports.server)
    }

    /// The admin listener.
    pub fn admin(&self) -> SocketAddr {
        self.here(&self.ports.admin)
    }

    /// Where a port of this broker is reached.
    fn here(&self, port: &Port) -> SocketAddr {
        let host =
            if self.options.host.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { self.options.host };
        (host, port.number()).into()
    }

    /// Where Redis clients reach the embedded bus.
    pub fn embedded(&self) -> SocketAddr {
        self.ports.embedded.address()
    }

    /// Opens a stream of a workspace.
    pub async fn connect(&self, workspace: &str) -> SseClient {
        self.connect_with(workspace, Connect::default()).await
    }

    /// Opens a stream of a workspace.
    pub async fn connect_with(&self, workspace: &str, options: Connect) -> SseClient {
        SseClient::connect(self.address(), workspace, options).await
    }

    /// Publishes through the HTTP interface and returns the event's id. Fails the test when it is
    /// refused.
    pub async fn publish(&self, workspace: &str, payload: &str) -> String {
        let target = format!("/api/workspaces/{workspace}/events");
        let response = http::request(self.address(), "POST", &target, &[], payload.to_owned()).await;
        assert!(response.status.is_success(), "{}: {:?}", response.status, response.body);
        response.json()["id"].as_str().expect("the event's id").to_owned()
    }

    /// Publishes an event once, however often this is called with the same payload; `None` while
    /// the broker cannot.
    pub async fn try_publish(&self, workspace: &str, payload: &str) -> Option<String> {
        let target = format!("/api/workspaces/{workspace}/events");
        let key: String = payload.chars().filter(char::is_ascii_alphanumeric).collect();
        let headers = [("idempotency-key", key.as_str())];
        let response = http::request(self.address(), "POST", &target, &headers, payload.to_owned()).await;
        response
            .status
            .is_success()
            .then(|| response.json()["id"].as_str().expect("the event's id").to_owned())
    }

    /// Waits until `/ready` says so.
    pub async fn ready(&self) {
        eventually("the broker is ready", DEADLINE, async || self.is_ready().await).await;
    }

    /// Whether `/ready` says so now.
    pub async fn is_ready(&self) -> bool {
        self.admin_get("/ready").await.is_some_and(|response| response.status == 200)
    }

    /// The response of `/status`.
    pub async fn status(&self) -> serde_json::Value {
        http::get(self.admin(), "/status").await.json()
    }

    /// The response of `/metrics`.
    pub async fn metrics(&self) -> String {
        http::get(self.admin(), "/metrics").await.text().to_owned()
    }

    /// The value of a metric, written as in the text form with its labels:
    /// `tidings_events_total{kind="live"}`.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let metrics = self.metrics().await;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(value.split(' ').next()?.parse().expect("a metric's value"))
    }

    /// What the broker logged so far, since it was last started.
    pub fn log(&self) -> String {
        self.program.log()
    }

    /// Waits until the log has a text, and returns the log. Lines are written beside what they are
    /// about.
    pub async fn logged(&self, text: &str) -> String {
        let what = format!("the log has {text:?}");
        eventually_some(&what, DEADLINE, async || Some(self.log()).filter(|log| log.contains(text))).await
    }

    /// The broker's process id.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// How much memory the broker takes, in bytes (VmRSS of `proc(5)`).
    pub fn memory_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most memory that the broker has taken since it started, in bytes (VmHWM of `proc(5)`).
    pub fn memory_peak_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("/proc/PID/status");
        let kibibytes = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
        kibibytes.expect("a line of memory").parse::<u64>().expect("a number") * 1024
    }

    /// How many file descriptors the broker has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("/proc/PID/fd").count()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// Asks the broker to end (SIGTERM) and returns its exit code, `None` when a signal ended it.
    pub async fn terminate(&mut self, within: Duration) -> Option<i32> {
        self.program.terminate(within).await
    }

    /// Waits for the end of the broker.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        self.program.ended(within).await
    }

    /// Ends the broker at once (SIGKILL): its connections are closed.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Kills the broker and starts it on another address, with the same ports. Waits until it is
    /// ready.
    pub async fn move_to(&mut self, host: Ipv4Addr) {
        self.options = self.options.clone().on(host);
        self.restart().await;
        self.ready().await;
    }

    /// Starts the broker, if need be after killing it, at the same addresses, and waits until it is
    /// live.
    pub async fn restart(&mut self) {
        self.kill();
        self.program = launch(&self.options, &self.ports, &self.directory);
        self.live().await;
    }

    /// Has the next [`Self::restart`] start another program, or the one that is tested.
    pub fn set_program(&mut self, program: Option<&Path>) {
        self.options.program = program.map(Path::to_owned);
    }

    async fn live(&mut self) {
        eventually_some("the broker is live", DEADLINE, async || {
            assert!(self.program.is_running(), "the broker ended");
            self.admin_get("/live").await.filter(|response| response.status == 200)
        })
        .await;
    }

    async fn admin_get(&self, target: &str) -> Option<Response> {
        http::try_request(self.admin(), "GET", target, &[], "").await.ok()
    }
}

fn tidings_ignoring(signal: &str) -> Command {
    tidings_behind("env", &[&format!("--ignore-signal={signal}")])
}

/// The program with a soft and a hard limit of open files.
pub fn tidings_with_files(soft: u64, hard: u64) -> Command {
    let line = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
    tidings_behind("sh", &["-c", &line])
}

fn tidings_reading_from(file: &Path) -> Command {
    let line = format!("exec \"$0\" \"$@\" < '{}'", file.display());
    tidings_behind("sh", &["-c", &line])
}

/// The program with its standard input as the first passed socket (`sd_listen_fds(3)`).
fn tidings_with_passed_socket() -> Command {
    let line = "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\" 3<&0 </dev/null";
    tidings_behind("sh", &["-c", line])
}

/// The program behind one that takes its place, and its process id.
fn tidings_behind(program: &str, arguments: &[&str]) -> Command {
    let tidings = tidings();
    let mut command = Command::new(program);
    command.args(arguments).arg(tidings.get_program());
    for (name, _) in tidings.get_envs().filter(|(_, value)| value.is_none()) {
        command.env_remove(name);
    }
    command
}

fn launch(options: &BrokerOptions, ports: &Ports, directory: &Directory) -> Program {
    let passing = options.passed.is_some();
    let mut command = match (&options.program, options.ignored_signal, options.files, &options.input) {
        (Some(program), ..) => without_settings(program),
        (None, Some(signal), ..) => tidings_ignoring(signal),
        (None, None, Some((soft, hard)), _) => tidings_with_files(soft, hard),
        (None, None, None, Some(file)) => tidings_reading_from(file),
        (None, None, None, None) if passing => tidings_with_passed_socket(),
        (None, None, None, None) => tidings(),
    };
    command.arg("serve").args(&options.arguments).current_dir(directory.path());
    let listen = |port: &Port| SocketAddr::new(options.host, port.number()).to_string();
    command.env(variable("server.listen"), listen(&ports.server));
    command.env(variable("admin.listen"), listen(&ports.admin));
    command.env(variable("embedded.listen"), ports.embedded.address().to_string());
    // The same tests hold for both writers of streams.
    if let Ok(writer) = std::env::var("WRITER") {
        command.env(variable("delivery.writer"), writer);
    }
    command.envs(options.settings.iter().map(|(key, value)| (variable(key), value)));
    command.envs(options.environment.iter().map(|(name, value)| (name, value)));
    if let Some((names, socket)) = &options.passed {
        command.env("LISTEN_FDNAMES", names);
        return Program::start_reading_from("tidings", command, socket);
    }
    match &options.sink {
        Some(sink) => Program::start_writing_to("tidings", command, sink),
        None => Program::start("tidings", command),
    }
}
