//! `tidings token explain`.

use std::io::Read as _;

use clap::Args;

use super::super::{CommandFailure, FAILURE, GlobalOptions, block_on, output};
use crate::config::AuthMethod;
use tidings_auth::jwt::token::TOKEN_BYTES_MAX;
use tidings_auth::jwt::{VerifiedToken, Verifier};
use tidings_auth::{Action, Pattern};
use tidings_event::workspace::WorkspaceId;
use tidings_metrics::Metrics;

/// Arguments of `tidings token explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
The rules and keys are those of a broker with this configuration. Keys at addresses are fetched once.
The exit code is 0 if the token permits a stream of the workspace, and 1 if not.")]
pub(super) struct ExplainArgs {
    /// The token; `-` reads it from standard input, where other users of the machine cannot see it
    ///
    /// Each holder of a token may use it, and other users of the machine can see arguments. So pass
    /// a token of production by `-`.
    #[arg(value_name = "TOKEN|-", allow_hyphen_values = true)]
    token: String,
    /// The workspace, such as `acme`
    workspace: String,
}

pub(super) fn run(options: &GlobalOptions, args: &ExplainArgs) -> Result<(), CommandFailure> {
    let config = options.load()?.config;
    let workspace =
        WorkspaceId::parse(&args.workspace).map_err(|error| CommandFailure::Usage(error.to_string()))?;
    let token = if args.token == "-" { standard_input()? } else { args.token.clone() };
    let verifier = Verifier::new(&config.auth.jwt, &Metrics::new())
        .map_err(|error| CommandFailure::Usage(error.to_string()))?;
    if !config.auth.mode.uses(AuthMethod::Jwt) {
        line("note", "auth.mode does not use jwt: a broker with this configuration looks at no token");
    }
    block_on(async {
        verifier.fetch_once().await;
        let explanation = verifier.explain(token.trim()).await;
        for step in explanation.steps {
            let (check, seen) = (step.reason.as_str(), step.seen);
            match step.result {
                Ok(()) => line("ok", &format!("{check}: {seen}")),
                Err(denial) => line("FAIL", &format!("{check}: {seen}: {denial}")),
            }
        }
        let verified = match explanation.outcome {
            Ok(verified) => verified,
            Err(denial) => {
                line("no", &format!("it is refused by the check `{}`: {denial}", denial.reason.as_str()));
                return Err(CommandFailure::Silent(FAILURE));
            }
        };
        let subscribe = decide(&verified, Action::Subscribe, &workspace);
        decide(&verified, Action::Publish, &workspace);
        if subscribe { Ok(()) } else { Err(CommandFailure::Silent(FAILURE)) }
    })
}

/// Says whether a token allows something, and why.
fn decide(verified: &VerifiedToken, action: Action, workspace: &WorkspaceId) -> bool {
    let patterns = match action {
        Action::Subscribe => &verified.scope.subscribe,
        Action::Publish => &verified.scope.publish,
    };
    let user =
        verified.identity.user.as_ref().map_or("a user without an id".to_owned(), |user| format!("{user:?}"));
    let action = action.as_str();
    match patterns.iter().find(|pattern| pattern.matches(workspace)) {
        Some(pattern) => {
            let pattern = pattern.as_str();
            line("yes", &format!("{user} may {action} to {workspace}, by {pattern:?}"));
            true
        }
        None => {
            let all: Vec<&str> = patterns.iter().map(Pattern::as_str).collect();
            line("no", &format!("{user} may not {action} to {workspace}: it is none of {all:?}"));
            false
        }
    }
}

/// The exit code reports the outcome, with or without a reader.
fn line(mark: &str, text: &str) {
    let _ = output::line(&format!("{mark:<4}  {text}"));
}

/// The token on standard input: at most the longest one, and a byte that shows a longer one.
pub(in crate::cli) fn standard_input() -> Result<String, CommandFailure> {
    let mut text = String::new();
    std::io::stdin().take(TOKEN_BYTES_MAX as u64 + 64).read_to_string(&mut text).map_err(|error| {
        CommandFailure::Failed(format!("cannot read the token from standard input: {error}"))
    })?;
    Ok(text)
}
