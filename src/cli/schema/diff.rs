//! `tidings schema diff`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::print;
use crate::cli::{CommandFailure, FAILURE};
use tidings_schemas::diff::{TypeChange, compare_paths};

/// Arguments of `tidings schema diff`.
///
/// Exit code 0: pages that were built for OLD understand all events of NEW. Exit code 1: some may
/// not. Exit code 2: wrong usage, or files that are no schemas.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The schemas for which the open pages were built: a directory, or one file
    old: PathBuf,
    /// The schemas to publish by from now on: a directory, or one file
    new: PathBuf,
    /// No open page needs this type any more, so that NEW may lack it; repeat the flag for several
    #[arg(long, value_name = "TYPE")]
    removed: Vec<String>,
}

pub(super) fn run(args: &DiffArgs) -> Result<(), CommandFailure> {
    let changes = compare_paths(&args.old, &args.new, &args.removed)
        .map_err(|error| CommandFailure::Usage(error.to_string()))?;
    let unknown =
        args.removed.iter().find(|name| !matches!(changes.get(*name), Some(TypeChange::Removed { .. })));
    if let Some(name) = unknown {
        return Err(CommandFailure::Usage(format!(
            "--removed {name}: OLD has no such type, or NEW has it too"
        )));
    }
    print(&report(&changes))?;
    if changes.values().all(TypeChange::is_compatible) {
        Ok(())
    } else {
        Err(CommandFailure::Silent(FAILURE))
    }
}

/// The lines of the report.
fn report(changes: &BTreeMap<String, TypeChange>) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, change) in changes {
        match change {
            TypeChange::Same => lines.push(format!("same          {name}")),
            TypeChange::Added => lines.push(format!("added         {name}")),
            TypeChange::Removed { is_intended: true } => lines.push(format!("removed       {name}")),
            TypeChange::Removed { is_intended: false } => {
                lines.push(format!("incompatible  {name}"));
                lines.push("    /: removed, and open pages still wait for its events".to_owned());
                lines.push(format!(
                    "    fix: keep {name}.json, or say --removed {name} if no open page needs it"
                ));
            }
            TypeChange::Compatible { places, older_events } => {
                lines.push(format!("compatible    {name}"));
                lines.extend(places.iter().map(|place| format!("    {place}")));
                if let Some(pointer) = older_events {
                    lines.push(format!("    note: an event of OLD may break the rule {pointer} of NEW, so deploy publishers first"));
                }
            }
            TypeChange::Incompatible { obstacles, .. } => {
                lines.push(format!("incompatible  {name}"));
                lines.extend(obstacles.iter().map(|obstacle| format!("    {obstacle}")));
                lines.push(format!(
                    "    fix: leave {name} as it is, and add the new form as {}",
                    next_version(name)
                ));
            }
        }
    }
    lines
}

/// The name of the next form of a type.
fn next_version(name: &str) -> String {
    let numbered = name.rsplit_once('@').and_then(|(base, number)| Some((base, number.parse::<u32>().ok()?)));
    match numbered {
        Some((base, number)) => format!("{base}@{}", number.saturating_add(1)),
        None => format!("{name}@2"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn next_version_counts_on() {
        for (name, next) in [("A", "A@2"), ("A@2", "A@3"), ("A@x", "A@x@2"), ("a@b@9", "a@b@10")] {
            assert_eq!(super::next_version(name), next);
        }
    }
}
