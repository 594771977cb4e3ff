//! `tidings check`.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use clap::Args;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::history::bus;
use super::{CommandFailure, FAILURE, GlobalOptions, block_on, output};
use crate::admin::console::AdminToken;
use crate::config::{AuthMethod, Config};
use crate::files;
use crate::files::FileBudget;
use crate::http::PairFiles;
use crate::memory::MemoryBudget;
use crate::nodes;
use crate::server;
use crate::server::{AddressTrial, try_addresses};
use crate::warnings::{self, app_in_the_clear};
use tidings_auth::forward::ForwardAuth;
use tidings_auth::jwt::Verifier;
use tidings_auth::{Action, DenialKind};
use tidings_auth::{ForwardConfig, JwtConfig};
use tidings_bus::redis::access;
use tidings_bus::redis::access::Finding;
use tidings_embedded::OpenError;
use tidings_event::workspace::WorkspaceId;
use tidings_metrics::ForwardMetrics;
use tidings_metrics::Metrics;
use tidings_schemas::{SchemaProblem, SchemaSet};
use tidings_settings::ListenAddress;
use tidings_traces::Collector;

/// Bound on asking a running broker.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// Arguments of `tidings check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Only check that the broker with this configuration is alive, for health checks of containers
    ///
    /// The configuration has to be that of `tidings serve`: give both the same flags, or set
    /// TIDINGS_CONFIG and other variables for both. Only admin.listen counts.
    #[arg(long)]
    health: bool,
}

pub(super) fn run(options: &GlobalOptions, args: &CheckArgs) -> Result<(), CommandFailure> {
    let config = options.load()?.config;
    block_on(async {
        if args.health {
            return health(&config).await;
        }
        let mut findings =
            vec![Finding::good("configuration", "every key is known and every value is valid")];
        let files = FileBudget::new(&config, files::raise_limit());
        findings.push(warnings::open_files(&files));
        findings.push(warnings::memory(&MemoryBudget::new(&config)));
        let mut warnings = Vec::new();
        if let Ok(files) = &files {
            addresses(&config, files, &mut findings, &mut warnings).await;
        }
        findings.extend(admin_token(&config));
        if config.auth.mode.uses(AuthMethod::Jwt) {
            findings.push(tokens(&config.auth.jwt).await);
        }
        if config.auth.mode.uses(AuthMethod::Forward) {
            findings.push(app(&config.auth.forward).await);
            warnings.extend(app_in_the_clear(&config.auth.forward.url));
        }
        findings.extend(certificate(&config));
        findings.extend(schemas(&config));
        findings.extend(traces(&config).await);
        if !config.redis.is_configured() {
            findings
                .push(Finding::good("bus", "embedded: no Redis is configured, so there is none to check"));
            log_file(&config, &mut findings, &mut warnings);
        } else {
            findings.extend(access::examine(&config.redis).await);
            if findings.iter().all(|finding| finding.fix.is_none()) {
                asked_nodes(config, &mut findings, &mut warnings).await;
            }
        }
        report(&findings, &warnings)
    })
}

/// Asks all nodes that use this Redis, as `tidings nodes` does.
async fn asked_nodes(config: Config, findings: &mut Vec<Finding>, warnings: &mut Vec<Finding>) {
    const WHAT: &str = "asking all nodes";
    let rule = access::access_rule(&config.redis);
    let Ok(bus) = bus(config) else { return };
    let (reports, inquiry) = nodes::list(&*bus, None).await;
    if let Some(error) = inquiry.error {
        let fix = if error.contains("NOPERM") {
            rule
        } else {
            "read the error of the server, and its log".to_owned()
        };
        findings.push(Finding { check: WHAT, result: error, fix: Some(fix) });
    } else if inquiry.silent.is_empty() {
        findings.push(Finding::good(WHAT, format!("allowed, and {} replied", reports.len())));
    } else {
        let result = format!("no reply within a second from {}", inquiry.silent.join(", "));
        let fix = "look at these nodes: they were killed a moment ago, or do not run on".to_owned();
        warnings.push(Finding { check: WHAT, result, fix: Some(fix) });
    }
}

/// Tries to listen at each address. The addresses of a running broker are no fault: the
/// configuration may be checked for its restart.
async fn addresses(
    config: &Config,
    files: &FileBudget,
    findings: &mut Vec<Finding>,
    warnings: &mut Vec<Finding>,
) {
    let trials = try_addresses(config, files).await;
    let is_running = trials.iter().any(AddressTrial::is_in_use) && health(config).await.is_ok();
    for trial in trials {
        let AddressTrial { key: check, address, outcome, .. } = &trial;
        let Err(error) = outcome else {
            findings.push(Finding::good(check, format!("{address} is free")));
            continue;
        };
        let (list, result, fix) = match (trial.is_in_use(), trial.same_as) {
            (true, Some(other)) => (
                &mut *findings,
                format!("{address} is the address of {other} too"),
                "give each listener an address of its own",
            ),
            (true, None) if is_running => (
                &mut *warnings,
                format!("{address} is in use, and a broker is live at {}", config.admin.listen),
                "restart that broker, or stop it before you start another one here",
            ),
            (true, None) => (
                &mut *findings,
                error.to_string(),
                "end the program that listens there, or name another address; if tidings.socket of systemd listens there, \
                 start tidings.service, which gets the socket from systemd",
            ),
            (false, _) => (
                &mut *findings,
                error.to_string(),
                "name an address of this machine, a port from 1024 on, or a directory that exists",
            ),
        };
        list.push(Finding { check, result, fix: Some(fix.to_owned()) });
    }
}

/// Whether the file of the admin token can be used.
fn admin_token(config: &Config) -> Option<Finding> {
    const WHAT: &str = "admin.token_file";
    let path = config.admin.token_file.as_deref()?;
    Some(match AdminToken::open(&config.admin.token, Some(path)) {
        Ok(_) => Finding::good(WHAT, format!("{} has a token", path.display())),
        Err(error) => Finding {
            check: WHAT,
            result: error.to_string(),
            fix: Some("write a token to the file, and let the user of the broker read it".to_owned()),
        },
    })
}

/// Whether the embedded bus can keep its logs in their file.
fn log_file(config: &Config, findings: &mut Vec<Finding>, warnings: &mut Vec<Finding>) {
    const WHAT: &str = "embedded.path";
    let Some(path) = &config.embedded.path else { return };
    let (list, error, fix) = match tidings_embedded::examine_log(path) {
        Ok(()) => {
            let found = format!("{} can be read and written", path.display());
            return findings.push(Finding::good(WHAT, found));
        }
        Err(error @ OpenError::InUse(_)) => {
            (warnings, error, "stop the broker that has it open before you start another one")
        }
        Err(error) => (
            findings,
            error,
            "name a file in a directory that the broker may write to, or move the file away",
        ),
    };
    list.push(Finding { check: WHAT, result: error.to_string(), fix: Some(fix.to_owned()) });
}

/// Reads or fetches the keys that tokens are checked with.
async fn tokens(config: &JwtConfig) -> Finding {
    const WHAT: &str = "keys for tokens";
    let verifier = match Verifier::new(config, &Metrics::new()) {
        Ok(verifier) => verifier,
        Err(error) => {
            let fix = "correct [auth.jwt], or the file that it names".to_owned();
            return Finding { check: WHAT, result: error.to_string(), fix: Some(fix) };
        }
    };
    verifier.fetch_once().await;
    let without = verifier.without_keys().join(", ");
    if without.is_empty() {
        return Finding::good(WHAT, format!("there, for {}", config.algorithm));
    }
    let fix = "let it return 200 and a set of keys, with one for auth.jwt.algorithm".to_owned();
    Finding { check: WHAT, result: format!("none that can be used from {without}"), fix: Some(fix) }
}

/// Asks the app about a client without credentials, as the broker would.
async fn app(config: &ForwardConfig) -> Finding {
    const WHAT: &str = "app at auth.forward.url";
    let bad = |found: String, fix: &str| Finding { check: WHAT, result: found, fix: Some(fix.to_owned()) };
    let workspace = match WorkspaceId::parse("tidings-check") {
        Ok(workspace) => workspace,
        Err(error) => return bad(error.to_string(), "report it; it is a defect"),
    };
    let auth = match ForwardAuth::new(config, ForwardMetrics::default()) {
        Ok(auth) => auth,
        Err(error) => return bad(error.to_string(), "correct [auth.forward]"),
    };
    let asking = auth.auth_request(&HeaderMap::new(), Ipv4Addr::LOCALHOST.into(), "https", None, "/");
    match auth.ask(&workspace, Action::Subscribe, &asking).await {
        Ok(_) => bad(
            "it lets a client without credentials read a workspace".to_owned(),
            "return 401 to a client without a session, as docs/guides/cookies-of-your-app.md shows",
        ),
        Err(denial) => match denial.kind {
            DenialKind::Unauthenticated => {
                Finding::good(WHAT, "it returns 401 to a client without credentials")
            }
            DenialKind::Passing => bad(
                format!(
                    "no valid response within {} s: it redirects, fails, or is unreachable",
                    config.timeout_seconds.duration().as_secs_f64()
                ),
                "ask that URL by curl, with `X-Forwarded-Proto: https`; docs/guides/cookies-of-your-app.md has what frameworks need",
            ),
            DenialKind::Forbidden | DenialKind::Final => Finding::good(
                WHAT,
                "it returns 403 to a client without credentials. If every client gets 403, add the host of the URL to the hosts \
                 that the app serves",
            ),
        },
    }
}

/// Whether the certificate and its key can be used, and for how long.
fn certificate(config: &Config) -> Option<Finding> {
    let (certificate, key) = config.server.tls.files()?;
    let bad =
        |found: String, fix: &str| Finding { check: "certificate", result: found, fix: Some(fix.to_owned()) };
    let pair = match (PairFiles { certificate, key }).read() {
        Ok(pair) => pair,
        Err(error) => return Some(bad(error.to_string(), "name a certificate and its key in [server.tls]")),
    };
    let Some(ends) = pair.not_after else {
        return Some(Finding::good("certificate", "it goes with its key"));
    };
    let time = jiff::Timestamp::try_from(ends).map(|time| time.to_string()).unwrap_or_default();
    Some(match ends.duration_since(SystemTime::now()) {
        Ok(left) => Finding::good(
            "certificate",
            format!("it goes with its key and ends on {time}, in {} days", left.as_secs() / 86_400),
        ),
        Err(_) => bad(format!("it ended on {time}"), "replace the files; a running broker takes new ones"),
    })
}

/// Whether each file of schemas can be used.
fn schemas(config: &Config) -> Vec<Finding> {
    let Some(path) = &config.schemas.path else { return Vec::new() };
    match SchemaSet::read(path) {
        Ok(set) => {
            let found = format!("{} event types, version {}", set.types().len(), set.version());
            vec![Finding::good("schemas", found)]
        }
        Err(error) => {
            let bad = |problem: &SchemaProblem| Finding {
                check: "schemas",
                result: problem.to_string(),
                fix: Some("correct the file; docs/guides/event-versions.md has the rules".to_owned()),
            };
            error.problems().iter().map(bad).collect()
        }
    }
}

/// Sends the collector a request without spans.
async fn traces(config: &Config) -> Option<Finding> {
    const WHAT: &str = "collector at tracing.otlp.endpoint";
    let bad = |found: String, fix: &str| Finding { check: WHAT, result: found, fix: Some(fix.to_owned()) };
    let settings = match server::collector(&config.tracing.otlp) {
        Ok(settings) => settings?,
        Err(error) => {
            return Some(bad(error.to_string(), "correct [tracing.otlp], or the file that it names"));
        }
    };
    let collector = match Collector::new(settings) {
        Ok(collector) => collector,
        Err(error) => return Some(bad(error.to_string(), "correct tracing.otlp.endpoint")),
    };
    Some(match collector.try_it().await {
        Ok(()) => Finding::good(WHAT, "it accepts spans"),
        Err(error) => bad(
            error.to_string(),
            "name the OTLP receiver of a collector for HTTP, mostly port 4318, with the headers that it wants",
        ),
    })
}

/// Prints all findings; a warning is no failure.
fn report(findings: &[Finding], warnings: &[Finding]) -> Result<(), CommandFailure> {
    let of_findings =
        findings.iter().map(|finding| (if finding.fix.is_none() { "ok  " } else { "FAIL" }, finding));
    for (mark, finding) in of_findings.chain(warnings.iter().map(|warning| ("warn", warning))) {
        // The exit code reports the outcome, with or without a reader.
        let _ = output::line(&format!("{mark}  {}: {}", finding.check, finding.result));
        if let Some(fix) = &finding.fix {
            let _ = output::line(&format!("      to fix it: {fix}"));
        }
    }
    if findings.iter().any(|finding| finding.fix.is_some()) {
        Err(CommandFailure::Silent(FAILURE))
    } else {
        Ok(())
    }
}

/// What may be wrong where a broker runs.
const OTHER_ADDRESS: &str = "Where it runs, it has another admin.listen: give this command the --config that `tidings serve` has, or set \
                             TIDINGS_CONFIG for both";

/// Asks `/live` of the broker on this machine.
async fn health(config: &Config) -> Result<(), CommandFailure> {
    let address = config.admin.listen.reachable();
    let request = format!("GET /live HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", address.authority());
    let asked = async {
        match &address {
            ListenAddress::Socket(address) => is_live(TcpStream::connect(address).await?, &request).await,
            ListenAddress::Host { name, port } => {
                is_live(TcpStream::connect((name.as_str(), *port)).await?, &request).await
            }
            ListenAddress::Unix(path) => is_live(UnixStream::connect(path).await?, &request).await,
        }
    };
    match tokio::time::timeout(HEALTH_TIMEOUT, asked).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(CommandFailure::Failed(format!(
            "the broker at {address} does not say that it is alive. {OTHER_ADDRESS}"
        ))),
        Ok(Err(error)) => {
            Err(CommandFailure::Failed(format!("no broker at {address}: {error}. {OTHER_ADDRESS}")))
        }
        Err(_) => Err(CommandFailure::Failed(format!(
            "no response from {address} within {} s",
            HEALTH_TIMEOUT.as_secs()
        ))),
    }
}

/// Sends a request and returns whether the response has status 200.
async fn is_live(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> std::io::Result<bool> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    Ok(&answer == b"HTTP/1.1 200")
}
