//! `tidings bench`: a load generator that checks what it measures.
//!
//! | part | does |
//! | --- | --- |
//! | [`args`] | the flags, and the plan they make |
//! | [`places`] | where streams are and where events go to |
//! | [`preparing`] | what is seen to before a run |
//! | [`conduct`] | the course of a run |
//! | [`client_pool`], [`client`] | the streams: some threads, each with many clients |
//! | [`pace`] | when events are published |
//! | [`publish`] | publishing them |
//! | [`summing`] | what it all comes to |
//! | [`progress`] | the line on the terminal |
//!
//! The parts without a network are in [`tidings_bench`].

mod args;
mod client;
mod client_pool;
mod conduct;
mod pace;
mod places;
mod preparing;
mod progress;
mod publish;
mod summing;

use std::path::Path;

pub(super) use self::args::BenchArgs;
use super::client::Broker;
use super::{CommandFailure, FAILURE, GlobalOptions, block_on, output};
use tidings_bench::outcome::Outcome;
use tidings_bench::{report, table};

pub(super) fn run(options: &GlobalOptions, args: &BenchArgs) -> Result<(), CommandFailure> {
    let broker = Broker::new(args.url.as_deref(), options)?;
    let config = options.load()?.config;
    let plan = args.plan(broker.base())?;
    // Before the work, so that a run is not lost for want of a place to write to.
    if let Some(path) = &args.report {
        write(path, "")?;
    }
    block_on(async {
        let outcome = conduct::run(plan, broker, &config).await?;
        if let Some(path) = &args.report {
            write(path, &report::page(&outcome))?;
        }
        print(&outcome, args.json())?;
        if outcome.passed { Ok(()) } else { Err(CommandFailure::Silent(FAILURE)) }
    })
}

fn print(outcome: &Outcome, json: bool) -> Result<(), CommandFailure> {
    let text = if json {
        serde_json::to_string(outcome)
            .map_err(|error| CommandFailure::Failed(format!("cannot write the figures as JSON: {error}")))?
    } else {
        table::text(outcome)
    };
    output::result(&text).map(|_| ())
}

fn write(path: &Path, text: &str) -> Result<(), CommandFailure> {
    std::fs::write(path, text).map_err(|error| {
        CommandFailure::Failed(format!("cannot write the report to {}: {error}", path.display()))
    })
}
