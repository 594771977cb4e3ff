//! `tidings serve`.

use std::io::IsTerminal as _;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;

use super::{CommandFailure, GlobalOptions};
use crate::config::{AuthMethod, AuthMode, Config, LogFormat};
use crate::http::Certificates;
use crate::server::{Addresses, Ended, Server, Shutdown};
use crate::telemetry::{InstallError, Telemetry};
use tidings_auth::jwt::Verifier;

pub(super) fn run(options: &GlobalOptions) -> Result<(), CommandFailure> {
    let config = options.load()?.config;
    let telemetry = Telemetry::install(&config.log).map_err(|error| match error {
        InstallError::Level(_) => CommandFailure::Usage(error.to_string()),
        InstallError::Thread(_) | InstallError::Taken(_) => CommandFailure::Failed(error.to_string()),
    })?;
    let outcome = start(&config, &telemetry);
    // By the same way as the log: standard error may have no reader.
    let outcome = outcome.map_err(|failure| failure.report(|line| telemetry.print_error(line)));
    telemetry.finish();
    outcome.map_err(CommandFailure::Silent)
}

/// Serves on a runtime of its own, of which nothing is left at the end.
fn start(config: &Config, telemetry: &Telemetry) -> Result<(), CommandFailure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandFailure::Failed(format!("cannot start: {error}")))?
        .block_on(async {
            tokio::select! {
                outcome = serve(config, telemetry) => outcome,
                never = telemetry.report_floods() => match never {},
            }
        })
}

async fn serve(config: &Config, telemetry: &Telemetry) -> Result<(), CommandFailure> {
    // Before anything is bound, so that no signal is lost.
    let unwatched = |error| CommandFailure::Failed(format!("cannot watch for signals: {error}"));
    let mut signals = Signals::new().map_err(unwatched)?;
    let hangups = signal(SignalKind::hangup()).map_err(unwatched)?;
    let server = Server::bind(config).await.map_err(|error| CommandFailure::Failed(error.to_string()))?;
    telemetry.count_dropped_in(server.log_lines_dropped());
    announce(config, server.addresses(), telemetry);
    let _reloading =
        AbortOnDropHandle::new(tokio::spawn(reload(hangups, server.certificates(), server.verifier())));
    let (stop, stopped) = tokio::sync::oneshot::channel::<Shutdown>();
    let mut running = tokio::spawn(server.run(async {
        // The sender lives as long as this function; either way the server has to stop.
        stopped.await.unwrap_or(Shutdown::Drain)
    }));
    let ended = tokio::select! {
        ended = &mut running => ended,
        number = signals.next() => {
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

/// Has the certificate and the files of keys read again at each SIGHUP, which ends no program that
/// watches for it.
async fn reload(
    mut hangups: Signal,
    certificates: Option<Arc<Certificates>>,
    verifier: Option<Arc<Verifier>>,
) {
    while hangups.recv().await.is_some() {
        if let Some(certificates) = &certificates {
            certificates.reload();
        }
        let has_key_files = verifier.as_ref().is_some_and(|verifier| verifier.reload());
        if certificates.is_none() && !has_key_files {
            tracing::info!("SIGHUP: there is no certificate and no file of keys to read again");
        }
    }
}

/// Whether a signal is Ctrl-C on a terminal: then a person waits for the end. Supervisors send
/// another signal.
fn is_from_terminal(number: u8) -> bool {
    number == INTERRUPT && std::io::stdin().is_terminal()
}

/// The numbers of SIGTERM and SIGINT.
const TERMINATE: u8 = 15;
const INTERRUPT: u8 = 2;

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

/// Says where everything is: lines to copy for people, one log line for machines.
fn announce(config: &Config, addresses: Addresses, telemetry: &Telemetry) {
    let scheme = if config.server.tls.files().is_some() { "https" } else { "http" };
    let stream = format!("{scheme}://{}{}/workspaces/demo/events", addresses.public, config.server.base_path);
    tracing::info!(
        listen = %addresses.public,
        admin = %addresses.admin,
        redis = config.redis.describe(),
        embedded = addresses.embedded.map(|address| address.to_string()),
        "listening"
    );
    if config.log.format == LogFormat::Json {
        return;
    }
    let payload = r#"{"type":"CHANNEL_UPDATED","channel":{"id":"c1","name":"general"}}"#;
    let channel = format!("{}demo", config.redis.channel_prefix);
    // The password itself is not shown; redis-cli takes it from there.
    let login = if config.embedded.password.is_empty() { "" } else { "REDISCLI_AUTH=… " };
    let (bus, redis_cli) = match (!config.redis.is_configured(), addresses.embedded) {
        (true, Some(embedded)) => (
            format!("embedded mode: no Redis configured, the bus runs in this process at {embedded}"),
            Some(format!("{login}redis-cli -p {} PUBLISH {channel} '{payload}'", embedded.port())),
        ),
        (true, None) => {
            ("embedded mode: no Redis configured, and no listener for Redis clients".to_owned(), None)
        }
        (false, _) => {
            let shown = config.redis.url.to_string();
            let server = match shown.split_once("unix://") {
                // The primary moves about, and a cluster has several, so no address can be named.
                _ if !config.redis.cluster.nodes.is_empty() => None,
                _ if !config.redis.sentinel.nodes.is_empty() => None,
                Some((_, path)) => Some(format!("-s {path}")),
                None => Some(format!("-u {shown}")),
            };
            let redis_cli = server.map(|server| format!("redis-cli {server} PUBLISH {channel} '{payload}'"));
            (format!("bus: {}", config.redis.describe()), redis_cli)
        }
    };
    let version = env!("CARGO_PKG_VERSION");
    let mut lines = vec![format!("Tidings {version}, {bus}"), String::new()];
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
    lines.push(format!("Operations: http://{}/status", addresses.admin));
    lines.push(String::new());
    telemetry.print(&lines.join("\n"));
}
