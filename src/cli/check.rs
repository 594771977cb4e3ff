//! `tidings check`.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use clap::Args;
use http::HeaderMap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::reachable;
use super::{CommandFailure, FAILURE, GlobalOptions, block_on, output};
use crate::config::{AuthMethod, Config};
use crate::files;
use crate::files::FileBudget;
use crate::http::PairFiles;
use crate::memory::MemoryBudget;
use tidings_auth::forward::ForwardAuth;
use tidings_auth::jwt::Verifier;
use tidings_auth::{Action, DenialKind};
use tidings_auth::{ForwardConfig, JwtConfig};
use tidings_bus::redis::access;
use tidings_bus::redis::access::Finding;
use tidings_event::workspace::WorkspaceId;
use tidings_metrics::ForwardMetrics;
use tidings_metrics::Metrics;
use tidings_schemas::{SchemaProblem, SchemaSet};

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
        findings.push(open_files(&config));
        findings.push(memory(&config));
        if config.auth.mode.uses(AuthMethod::Jwt) {
            findings.push(tokens(&config.auth.jwt).await);
        }
        if config.auth.mode.uses(AuthMethod::Forward) {
            findings.push(app(&config.auth.forward).await);
        }
        findings.extend(certificate(&config));
        findings.extend(schemas(&config));
        if !config.redis.is_configured() {
            findings
                .push(Finding::good("bus", "embedded: no Redis is configured, so there is none to check"));
        } else {
            findings.extend(access::examine(&config.redis).await);
        }
        report(&findings)
    })
}

/// Whether the limit of open files allows the configured bounds. A broker raises the limit as this
/// command does.
fn open_files(config: &Config) -> Finding {
    const WHAT: &str = "open files";
    let budget = match FileBudget::new(config, files::raise_limit()) {
        Ok(budget) => budget,
        Err(error) => {
            let fix = "raise the limit where the broker is started".to_owned();
            return Finding { check: WHAT, result: error.to_string(), fix: Some(fix) };
        }
    };
    let FileBudget { limit, wanted, connections, embedded_clients, .. } = budget;
    let limit = limit.map_or_else(|| "no limit".to_owned(), |limit| format!("a limit of {limit}"));
    if !budget.is_cut() {
        return Finding::good(WHAT, format!("{limit}, and all configured bounds together need {wanted}"));
    }
    let found = format!("{limit} allows {connections} connections and {embedded_clients} Redis clients");
    let fix = format!(
        "raise the limit to {wanted} (`ulimit -n`, LimitNOFILE= of systemd, ulimits of a container), or lower \
         limits.connections or embedded.clients"
    );
    Finding { check: WHAT, result: found, fix: Some(fix) }
}

/// Whether there is as much memory as all configured bounds come to.
fn memory(config: &Config) -> Finding {
    const WHAT: &str = "memory";
    let budget = MemoryBudget::new(config);
    let (configured, available) = budget.mebibytes();
    let available = available.map_or_else(|| "not known".to_owned(), |available| format!("{available} MiB"));
    let found = format!("{available}, and all configured bounds together are {configured} MiB");
    if !budget.is_exceeded() {
        return Finding::good(WHAT, found);
    }
    let fix = "lower limits.ring_bytes, limits.connections, limits.replay_bytes, limits.unsent_bytes, limits.body_bytes or those of [embedded], or give \
               the broker more memory";
    Finding { check: WHAT, result: found, fix: Some(fix.to_owned()) }
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

fn report(findings: &[Finding]) -> Result<(), CommandFailure> {
    for finding in findings {
        let mark = if finding.fix.is_none() { "ok  " } else { "FAIL" };
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
    let address = reachable(config.admin.listen);
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /live HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await?;
        Ok::<bool, std::io::Error>(&answer == b"HTTP/1.1 200")
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
