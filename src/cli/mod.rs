//! The command line.
//!
//! Exit codes: 0 success; 1 the command failed, or `check` found a problem; 2 wrong usage or
//! configuration. A second signal ends `serve` with 128 + its number.

mod bench;
mod check;
mod client;
mod config;
mod explain;
mod generate;
mod history;
mod nodes;
mod output;
mod publish;
mod reload;
mod schema;
mod serve;
mod tail;
mod terminal;
mod token;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::build;
use crate::config::{ConfigError, Loaded, Sources};

/// The command failed.
const FAILURE: u8 = 1;
/// Wrong usage or configuration; also what clap exits with.
const USAGE: u8 = 2;

/// Tidings streams the events of backends from Redis to browsers, as Server-Sent Events.
///
/// Without a command it serves. Without a configured Redis it runs an embedded bus, so one command
/// is enough to try it.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, long_version = build::TEXT, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    options: GlobalOptions,
    #[command(subcommand)]
    command: Option<CliCommand>,
}

const AFTER_HELP: &str = "\
Every setting: `tidings config`, docs/configuration.md, or a variable TIDINGS__SECTION__KEY.
Exit codes: 0 success; 1 failure; 2 wrong usage or configuration; 128 + signal after a second signal.";

#[derive(Debug, Args)]
struct GlobalOptions {
    /// Read settings from a TOML file, with any of the keys of config/default.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen for clients on this address, name or unix:/path [server.listen]
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Use this Redis server: redis://…, rediss://… or redis+unix:///… [redis.url]
    ///
    /// An address with a password belongs in TIDINGS__REDIS__URL or in a file: other users of the
    /// machine can see arguments.
    #[arg(long, global = true, value_name = "URL")]
    redis: Option<String>,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run the broker (also without any command)
    Serve,
    /// Publish one event and print its id
    Publish(publish::PublishArgs),
    /// Print the events of a workspace as they arrive, and reconnect when the stream ends
    Tail(tail::TailArgs),
    /// List the entries of a workspace's log
    History(history::HistoryArgs),
    /// List the nodes that share the bus
    Nodes(nodes::NodesArgs),
    /// Show what happened to an event: when it came, and the streams that have it
    Trace(trace::TraceArgs),
    /// Explain why a client gets nothing
    Explain(explain::ExplainClientArgs),
    /// Check the configuration and the path to Redis, and print fixes
    Check(check::CheckArgs),
    /// Put load on a broker, check that every event arrives, and measure
    Bench(Box<bench::BenchArgs>),
    /// Make tokens for development, and explain the access that a token gives
    Token(token::TokenArgs),
    /// Check schemas of event types, and compare two versions of them
    Schema(schema::SchemaArgs),
    /// Show each setting and its source, with secrets masked, or write a file of settings
    Config(config::ConfigArgs),
    /// Print a script with which a shell completes commands and flags
    Completions(generate::CompletionsArgs),
    /// Print the manual page, or write the pages of all commands
    Man(generate::ManArgs),
}

/// The variable that names the file of settings where `--config` does not, so that every command of
/// a container reads the same.
const CONFIG_VARIABLE: &str = "TIDINGS_CONFIG";

/// The global flags that change nothing of a command, or of a command below it. They are left out
/// of its help, and an error.
const UNUSED_FLAGS: [(&str, &[&str]); 12] = [
    ("publish", &["listen"]),
    ("tail", &["listen", "redis"]),
    ("history", &["listen"]),
    ("nodes", &["listen"]),
    ("trace", &["listen"]),
    ("explain", &["listen"]),
    ("bench", &["listen"]),
    ("token", &["listen", "redis"]),
    ("schema", &["config", "listen", "redis"]),
    ("config init", &["config", "listen", "redis"]),
    ("completions", &["config", "listen", "redis"]),
    ("man", &["config", "listen", "redis"]),
];

/// The command line, each command with the flags that it uses.
fn command() -> clap::Command {
    UNUSED_FLAGS.iter().fold(Cli::command(), |all, (path, flags)| {
        let hidden = |flag: &'static str| {
            Arg::new(flag).long(flag).global(true).hide(true).value_name("VALUE").action(ArgAction::Set)
        };
        let hide = |command: clap::Command| command.args(flags.iter().copied().map(hidden));
        match path.split_once(' ') {
            Some((name, below)) => all.mut_subcommand(name, |command| command.mut_subcommand(below, hide)),
            None => all.mut_subcommand(path, hide),
        }
    })
}

/// Reads the arguments. Ends the process where they are wrong or ask for help.
fn parse() -> Cli {
    let mut command = command();
    let matches = command.get_matches_mut();
    if let Some((path, flag)) = unused_flag(&matches) {
        let reason = format!(
            "--{flag} changes nothing of `tidings {path}`: leave it out, or see `tidings {path} --help`"
        );
        command.error(ErrorKind::UnknownArgument, reason).exit();
    }
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
}

/// The command with a given flag that changes nothing of it, and that flag.
fn unused_flag(matches: &ArgMatches) -> Option<(&'static str, &'static str)> {
    let (name, of_command) = matches.subcommand()?;
    let below = of_command.subcommand().map(|(below, matches)| (format!("{name} {below}"), matches));
    UNUSED_FLAGS.iter().find_map(|(path, unused)| {
        let given = match &below {
            Some((both, matches)) if both == path => *matches,
            _ if *path == name => of_command,
            _ => return None,
        };
        unused.iter().find(|flag| given.contains_id(flag)).map(|flag| (*path, *flag))
    })
}

/// What a command ends with when it fails.
#[derive(Debug)]
enum CommandFailure {
    /// It was asked for in a wrong way.
    Usage(String),
    /// It could not be done.
    Failed(String),
    /// What is to be said was said.
    Silent(u8),
}

impl From<ConfigError> for CommandFailure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Reads the arguments, runs the command, and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = parse();
    let outcome = match &cli.command {
        None | Some(CliCommand::Serve) => serve::run(&cli.options),
        Some(CliCommand::Publish(args)) => publish::run(&cli.options, args),
        Some(CliCommand::Tail(args)) => tail::run(&cli.options, args),
        Some(CliCommand::History(args)) => history::run(&cli.options, args),
        Some(CliCommand::Nodes(args)) => nodes::run(&cli.options, args),
        Some(CliCommand::Trace(args)) => trace::run(&cli.options, args),
        Some(CliCommand::Explain(args)) => explain::run(&cli.options, args),
        Some(CliCommand::Check(args)) => check::run(&cli.options, args),
        Some(CliCommand::Bench(args)) => bench::run(&cli.options, args),
        Some(CliCommand::Token(args)) => token::run(&cli.options, args),
        Some(CliCommand::Schema(args)) => schema::run(args),
        Some(CliCommand::Config(args)) => config::run(&cli.options, args),
        Some(CliCommand::Completions(args)) => generate::completions(args),
        Some(CliCommand::Man(args)) => generate::man(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(failure.report(output::error)),
    }
}

impl CommandFailure {
    /// Writes what is still to be said, and returns the exit code.
    fn report(self, write: impl FnOnce(&str)) -> u8 {
        let (code, message) = match self {
            Self::Silent(code) => return code,
            Self::Usage(message) => (USAGE, message),
            Self::Failed(message) => (FAILURE, message),
        };
        write(&format!("tidings: {message}"));
        code
    }
}

impl GlobalOptions {
    /// The file of settings, if one is given.
    fn file(&self) -> Option<PathBuf> {
        let named = || std::env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty());
        self.config.clone().or_else(|| named().map(PathBuf::from))
    }

    /// The sources of the configuration, with the flags on top. Prints their warnings.
    fn sources(&self) -> Sources {
        let flags = [("server.listen", &self.listen, "--listen"), ("redis.url", &self.redis, "--redis")];
        let given =
            flags.into_iter().filter_map(|(key, value, flag)| Some((key, value.clone()?, flag))).collect();
        let sources = Sources::of_process(self.file(), given);
        for warning in sources.warnings() {
            output::error(&format!("tidings: {warning}"));
        }
        sources
    }

    /// The configuration in force.
    fn load(&self) -> Result<Loaded, ConfigError> {
        self.sources().load()
    }
}

/// Runs a future on a runtime for commands that do one thing.
fn block_on<F: Future<Output = Result<(), CommandFailure>>>(future: F) -> Result<(), CommandFailure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandFailure::Failed(format!("cannot start: {error}")))?
        .block_on(future)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_arguments_are_well_formed() {
        super::command().debug_assert();
    }
}
