//! `tidings serve`.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;

use super::reload::Reloader;
use super::terminal::StartTerminal;
use super::{CommandFailure, GlobalOptions};
use crate::config::{AuthMethod, AuthMode, Config, Loaded, LogFormat, Sources};
use crate::server::{Addresses, Ended, Server, Shutdown, redis_cli};
use crate::service_manager::PassedSockets;
use crate::service_manager::notify::{Notifier, ProcessState, watchdog_timeout};
use crate::service_manager::watchdog;
use crate::telemetry::{InstallError, Telemetry};
use tidings_settings::ListenAddress;

pub(super) fn run(options: &GlobalOptions) -> Result<(), CommandFailure> {
    // Before there is another thread, since it changes the environment.
    let passed = PassedSockets::take().map_err(|error| CommandFailure::Failed(error.to_string()))?;
    let mut sources = options.sources();
    sources.flags.extend(passed.settings());
    let loaded = sources.load()?;
    let telemetry = Telemetry::install(&loaded.config.log).map_err(|error| match error {
        InstallError::Level(_) => CommandFailure::Usage(error.to_string()),
        InstallError::Thread(_) | InstallError::Taken(_) => CommandFailure::Failed(error.to_string()),
    })?;
    let outcome = start(NodeStart { sources, loaded, passed }, &telemetry);
    // By the same way as the log: standard error may have no reader.
    let outcome = outcome.map_err(|failure| failure.report(|line| telemetry.print_error(line)));
    telemetry.finish();
    outcome.map_err(CommandFailure::Silent)
}

/// Everything that a node starts with.
struct NodeStart {
    sources: Sources,
    loaded: Loaded,
    passed: PassedSockets,
}

/// Limits the wait for threads that read files at the end. A file system that does not respond
/// holds such a thread for ever.
const THREADS_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves on a runtime of its own, of which nothing but stalled reads of files is left at the end.
fn start(start: NodeStart, telemetry: &Telemetry) -> Result<(), CommandFailure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandFailure::Failed(format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = serve(start, telemetry) => outcome,
            never = telemetry.report_floods() => match never {},
        }
    });
    runtime.shutdown_timeout(THREADS_TIMEOUT);
    outcome
}

async fn serve(start: NodeStart, telemetry: &Telemetry) -> Result<(), CommandFailure> {
    let NodeStart { sources, loaded, passed } = start;
    // Before anything is bound, so that no signal is lost.
    let unwatched = |error| CommandFailure::Failed(format!("cannot watch for signals: {error}"));
    let terminal = StartTerminal::of_process();
    let mut signals = Signals::new().map_err(unwatched)?;
    let hangups = signal(SignalKind::hangup()).map_err(unwatched)?;
    let notifier = Arc::new(Notifier::of_environment());
    let server = Server::bind(&loaded.config, passed, telemetry.recent_lines())
        .await
        .map_err(|error| CommandFailure::Failed(error.to_string()))?;
    telemetry.count_dropped_in(server.log_lines_dropped());
    let link = if is_first_run(&loaded.config) { server.console_link() } else { None };
    announce(&loaded.config, server.addresses(), link.as_deref(), telemetry);
    let reloader = Reloader {
        sources,
        started: loaded,
        server: server.reload(),
        log: telemetry.control(),
        notifier: Arc::clone(&notifier),
        terminal,
    };
    let mut reloading = AbortOnDropHandle::new(tokio::spawn(reloader.run(hangups)));
    let monitor = server.monitor();
    let (stop, stopped) = tokio::sync::oneshot::channel::<Shutdown>();
    let mut running = tokio::spawn(server.run(async {
        // The sender lives as long as this function; either way the server has to stop.
        stopped.await.unwrap_or(Shutdown::Drain)
    }));
    notifier.send(Some(ProcessState::Ready), None).await;
    // It looks at the server during the drain too.
    let watching = watchdog::run(Arc::clone(&notifier), monitor, watchdog_timeout());
    let _watching = AbortOnDropHandle::new(tokio::spawn(watching));
    let first = async {
        tokio::select! {
            number = signals.next() => number,
            _ = &mut reloading => HANGUP,
        }
    };
    let ended = tokio::select! {
        ended = &mut running => ended,
        number = first => {
            notifier.send(Some(ProcessState::Stopping), None).await;
            let _ = stop.send(if is_from_terminal(number) { Shutdown::AtOnce } else { Shutdown::Drain });
            tokio::select! {
                ended = &mut running => ended,
                number = signals.next() => {
                    tracing::warn!("second signal: exiting at once");
                    return Err(CommandFailure::Silent(128 + number));
                }
            }
        }
    };
    match ended {
        Ok(Ended::Drained) => tracing::info!("stopped: every connection ended"),
        Ok(Ended::Cut) => tracing::warn!("stopped: connections that did not end in time were closed"),
        Ok(Ended::Broken) => {
            return Err(CommandFailure::Failed(
                "a part of the broker ended by itself; see the log".to_owned(),
            ));
        }
        Err(error) => return Err(CommandFailure::Failed(format!("the server ended unexpectedly: {error}"))),
    }
    Ok(())
}

/// Whether a signal is Ctrl-C on a terminal, or the end of the terminal: then no supervisor waits
/// for a drain. Supervisors send another signal.
fn is_from_terminal(number: u8) -> bool {
    number == HANGUP || number == INTERRUPT && std::io::stdin().is_terminal()
}

/// The numbers of SIGTERM, SIGINT and SIGHUP.
const TERMINATE: u8 = 15;
const INTERRUPT: u8 = 2;
const HANGUP: u8 = 1;

/// Signals that ask the process to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Signals that are commands to other daemons, such as opening their logs again. Unwatched,
    /// they end a process.
    _ignored: [Signal; 2],
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let ignored = [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?];
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, _ignored: ignored })
    }

    /// Waits for the next one and returns its number.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.terminate.recv() => TERMINATE,
            _ = self.interrupt.recv() => INTERRUPT,
        }
    }
}

/// Whether a person sees the start of a node that only this machine reaches: then the link to the
/// console is printed.
fn is_first_run(config: &Config) -> bool {
    std::io::stdout().is_terminal() && config.admin.listen.is_local() && !config.redis.is_configured()
}

/// Says where everything is: lines to copy for people, one log line for machines.
fn announce(config: &Config, addresses: &Addresses, link: Option<&str>, telemetry: &Telemetry) {
    let scheme = if config.server.tls.files().is_some() { "https" } else { "http" };
    let (public, admin) = (addresses.public(), addresses.admin());
    let stream = format!(
        "{}{scheme}://{}{}/workspaces/demo/events",
        socket_option(public),
        public.reachable().authority(),
        config.server.base_path
    );
    let [listen, admin_listen] = addresses.texts();
    tracing::info!(
        listen,
        admin = admin_listen,
        redis = config.redis.describe(),
        embedded = addresses.embedded.map(|address| address.to_string()),
        "listening"
    );
    if config.log.format == LogFormat::Json {
        return;
    }
    let payload = r#"{"type":"CHANNEL_UPDATED","channel":{"id":"c1","name":"general"}}"#;
    let channel = format!("{}demo", config.redis.channel_prefix);
    let bus = match (config.redis.is_configured(), addresses.embedded) {
        (false, Some(embedded)) => {
            format!("embedded mode: no Redis configured, the bus runs in this process at {embedded}")
        }
        (false, None) => "embedded mode: no Redis configured, and no listener for Redis clients".to_owned(),
        (true, _) => format!("bus: {}", config.redis.describe()),
    };
    let redis_cli =
        redis_cli(config, addresses).map(|reach| format!("{reach} PUBLISH {channel} '{payload}'"));
    let version = crate::build::VERSION;
    let mut lines = Vec::new();
    if let Some(link) = link {
        lines.push(format!("Console (this link is good once, for ten minutes): {link}"));
    }
    lines.extend([format!("Tidings {version}, {bus}"), String::new()]);
    let auth = &config.auth;
    let token = if auth.mode.uses(AuthMethod::Jwt) && auth.jwt.can_mint() {
        lines.push("Make a token:".to_owned());
        lines.push("  TOKEN=$(tidings token new --workspace demo --publish demo)".to_owned());
        r#" -H "Authorization: Bearer $TOKEN""#
    } else if matches!(auth.mode, AuthMode::Methods(_)) {
        lines.push("Streams need authentication (auth.mode): add a token or a cookie.".to_owned());
        ""
    } else {
        ""
    };
    lines.push("Watch a workspace:".to_owned());
    lines.push(format!("  curl -N{token} {stream}"));
    lines.push("Publish to it:".to_owned());
    lines.extend(redis_cli.map(|line| format!("  {line}")));
    lines.push(format!("  curl{token} {stream} -d '{payload}'"));
    lines.push(format!(
        "Operations: {}http://{}/status",
        socket_option(admin),
        admin.reachable().authority()
    ));
    lines.push(String::new());
    telemetry.print(&lines.join("\n"));
}

/// The option by which curl connects to a socket in the file system, in front of its URL.
fn socket_option(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Unix(path) => format!("--unix-socket {} ", path.display()),
        ListenAddress::Socket(_) | ListenAddress::Host { .. } => String::new(),
    }
}
