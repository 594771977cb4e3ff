//! `tidings explain`.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::history::bus;
use super::token::standard_input;
use super::trace::{row, time};
use super::{CommandFailure, GlobalOptions, block_on, output};
use crate::config::{AuthMethod, Config};
use crate::nodes::{self, ClientExplanation, ExplainRequest, ExplainRules};
use tidings_auth::jwt::Verifier;
use tidings_auth::jwt::token::TOKEN_BYTES_MAX;
use tidings_metrics::Metrics;

/// Arguments of `tidings explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
The token is checked here, with the keys of this configuration, and is sent to no node. A ticket is
read in Redis, and stays valid. No stream is opened. The last line says why the client gets nothing,
or that it is served.")]
pub(super) struct ExplainClientArgs {
    /// The workspace, such as `acme`
    workspace: String,
    /// The user id
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Read the token of the client from this file; `-` is standard input
    #[arg(long, value_name = "FILE|-")]
    token_file: Option<PathBuf>,
    /// Read the ticket of the client from this file; `-` is standard input
    #[arg(long, value_name = "FILE|-", conflicts_with = "token_file")]
    ticket_file: Option<PathBuf>,
    /// The `Last-Event-ID` with which the client reconnects
    #[arg(long, value_name = "ID")]
    last_event_id: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &GlobalOptions, args: &ExplainClientArgs) -> Result<(), CommandFailure> {
    let config = options.load()?.config;
    let request = ExplainRequest {
        workspace: args.workspace.clone(),
        user: args.user.clone(),
        token: args.token_file.as_ref().map(secret).transpose()?,
        ticket: args.ticket_file.as_ref().map(secret).transpose()?,
        last_event_id: args.last_event_id.clone(),
    };
    block_on(async {
        let rules = rules(&config, request.token.is_some()).await?;
        let bus = bus(config)?;
        let explained = nodes::explain(&*bus, None, &rules, &request).await;
        let explained = explained.map_err(|error| CommandFailure::Usage(error.to_string()))?;
        let text = if args.json {
            serde_json::to_string(&explained).map_err(|error| CommandFailure::Failed(error.to_string()))?
        } else {
            text(&explained)
        };
        output::result(&text).map(drop)
    })
}

/// The token or ticket in a file, or on standard input.
fn secret(path: &PathBuf) -> Result<String, CommandFailure> {
    if path.as_os_str() == "-" {
        return standard_input();
    }
    let read = || {
        let mut text = String::new();
        std::fs::File::open(path)?.take(TOKEN_BYTES_MAX as u64 + 64).read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    read().map_err(|error| CommandFailure::Failed(format!("cannot read {}: {error}", path.display())))
}

/// The rules of a broker with this configuration. Keys at URLs are fetched once, for a token.
async fn rules(config: &Config, has_token: bool) -> Result<ExplainRules, CommandFailure> {
    let mode = &config.auth.mode;
    let mut rules = ExplainRules {
        authenticated: mode.uses(AuthMethod::Jwt) || mode.uses(AuthMethod::Forward),
        tokens: mode.uses(AuthMethod::Jwt),
        verifier: None,
        forward: mode.uses(AuthMethod::Forward),
        tickets: config.redis.is_configured(),
    };
    if has_token && rules.tokens {
        let verifier = Verifier::new(&config.auth.jwt, &Metrics::new())
            .map_err(|error| CommandFailure::Usage(error.to_string()))?;
        verifier.fetch_once().await;
        rules.verifier = Some(Arc::new(verifier));
    }
    Ok(rules)
}

fn text(explained: &ClientExplanation) -> String {
    let user = explained.user.as_deref().unwrap_or("any");
    let mut lines = vec![format!("client     user {user} of {}", explained.workspace)];
    for check in explained.token.iter().flat_map(|token| &token.checks) {
        let name = format!("{}: {}", check.check, check.seen);
        lines.push(match &check.fault {
            None => format!("token      ok    {name}"),
            Some(fault) => format!("token      FAIL  {name}: {fault}"),
        });
    }
    if let Some(ticket) = &explained.ticket {
        let workspace = ticket.workspace.as_deref().unwrap_or("-");
        let user = ticket.user.as_deref().unwrap_or("-");
        let until = ticket.until_ms.map_or_else(|| "-".to_owned(), time);
        let stream = ticket.stream_until_ms.map_or_else(|| "its client ends it".to_owned(), time);
        lines.push(match &ticket.fault {
            None => format!(
                "ticket     ok    user {user} of {workspace}, until {until}; its stream until {stream}"
            ),
            Some(fault) if ticket.permitted.is_some() => format!("ticket     FAIL  {fault}"),
            Some(fault) => format!("ticket     not checked: {fault}"),
        });
    }
    lines.extend(explained.note.as_ref().map(|note| format!("note       {note}")));
    for node in &explained.nodes {
        let (id, node) = (&node.node, &node.reply);
        let held = match node.confirmed {
            None => "does not hold the workspace",
            Some(true) => "holds the workspace",
            Some(false) => "waits for the subscription of the workspace",
        };
        let (open, limits) = (node.open, node.limits);
        let of = |open: usize, limit: usize| {
            if limit == 0 { open.to_string() } else { format!("{open} of {limit}") }
        };
        lines.push(format!(
            "{id:<8}   {held}; open streams: node {}, workspace {}, user {}",
            of(open.node, limits.node),
            of(open.workspace, limits.workspace),
            of(open.user, limits.user)
        ));
        lines.extend(node.not_ready_because.iter().map(|reason| format!("           not ready: {reason}")));
        lines.extend(node.banned_until_ms.map(|until| format!("           banned until {}", time(until))));
        if let Some(resumption) = &node.resumption {
            let from = serde_json::to_value(resumption.from).unwrap_or_default();
            let reason = resumption.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
            lines.push(format!("           continues from: {}{reason}", from.as_str().unwrap_or_default()));
        }
        lines.extend(node.streams.iter().map(row));
        if node.left_out > 0 {
            lines.push(format!("           streams left out: {}", node.left_out));
        }
        for refusal in &node.refusals {
            let check = refusal.check.as_ref().map_or_else(String::new, |check| format!(", {check}"));
            lines.push(format!(
                "           rejected {} {} from {}: {} ({}{check})",
                time(refusal.at_ms),
                refusal.request,
                refusal.client,
                refusal.status,
                refusal.reason
            ));
        }
    }
    lines.extend(explained.silent.iter().map(|node| format!("{node:<8}   no reply within a second")));
    lines.extend(explained.error.as_ref().map(|error| format!("error      {error}")));
    if explained.unreadable > 0 {
        lines
            .push(format!("note       {} texts in Redis are no announcement or reply", explained.unreadable));
    }
    lines.push(explained.verdict.clone());
    lines.join("\n")
}
