//! `tidings token new`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use jiff::SignedDuration;

use super::super::{CommandFailure, GlobalOptions, output};
use tidings_auth::jwt::mint::{NewToken, mint};
use tidings_event::{TokenId, UserId};

/// The longest time that a token is made for.
const TTL_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Arguments of `tidings token new`.
#[derive(Debug, Args)]
#[command(after_help = "\
The token is signed with the configured secret (auth.jwt.secret or auth.jwt.secret_file) and the first of auth.jwt.algorithm, \
or with a private key by --key. It has the first auth.jwt.issuer and the first auth.jwt.audience, if these are set.")]
pub(super) struct NewArgs {
    /// A workspace that the token may read, or a pattern such as 'team-*'; repeat the flag for
    /// several
    #[arg(long, value_name = "WORKSPACE")]
    workspace: Vec<String>,
    /// A workspace that the token may write, or a pattern; repeat the flag for several
    #[arg(long, value_name = "WORKSPACE")]
    publish: Vec<String>,
    /// The user of the token
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// The time until it expires, such as 90s, 30m or 1h
    #[arg(long, value_name = "TIME", default_value = "1h")]
    ttl: String,
    /// The id of the token (`jti`), by which it can be disconnected
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Sign with the private key in this file (PKCS#8 in PEM), for a broker with the public one
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The name of the key (`kid`), for a broker with a set of keys
    #[arg(long, value_name = "KID", requires = "key")]
    kid: Option<String>,
}

pub(super) fn run(options: &GlobalOptions, args: &NewArgs) -> Result<(), CommandFailure> {
    let config = options.load()?.config;
    let usage = |message: &str| CommandFailure::Usage(message.to_owned());
    if args.workspace.is_empty() && args.publish.is_empty() {
        return Err(usage("a token needs a workspace: name one with --workspace or --publish"));
    }
    if let Some(wrong) = args.workspace.iter().chain(&args.publish).find(|pattern| !is_pattern(pattern)) {
        return Err(CommandFailure::Usage(format!(
            "{wrong:?} matches no workspace: its characters are A-Z a-z 0-9 . _ ~ -, and * for any number of them"
        )));
    }
    let new = NewToken {
        workspaces: args.workspace.clone(),
        publish: args.publish.clone(),
        user: args
            .user
            .as_deref()
            .map(UserId::parse)
            .transpose()
            .map_err(|error| CommandFailure::Usage(format!("--user: {error}")))?,
        id: args
            .id
            .as_deref()
            .map(TokenId::parse)
            .transpose()
            .map_err(|error| CommandFailure::Usage(format!("--id: {error}")))?,
        ttl: ttl(&args.ttl)
            .ok_or_else(|| usage("--ttl is a time from 1s to 8784h, such as 90s, 30m or 1h"))?,
        key_id: args.kid.clone(),
    };
    let token = mint(&config.auth.jwt, args.key.as_deref(), &new, SystemTime::now())
        .map_err(|error| CommandFailure::Usage(error.to_string()))?;
    output::result(token.reveal()).map(|_| ())
}

fn is_pattern(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-*".contains(&b))
}

fn ttl(text: &str) -> Option<Duration> {
    let ttl = Duration::try_from(text.parse::<SignedDuration>().ok()?).ok()?;
    (Duration::from_secs(1)..=TTL_MAX).contains(&ttl).then_some(ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_do() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("1h", 3600), ("1h 30m", 5400), ("1h30m", 5400)] {
            assert_eq!(ttl(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "90", "0s", "500ms", "-1h", "9000h", "an hour", "99999999999999999999h"] {
            assert_eq!(ttl(wrong), None, "{wrong}");
        }
    }
}
