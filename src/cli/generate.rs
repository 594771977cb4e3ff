//! `tidings completions` and `tidings man`: files that packages install, generated from the same
//! definition as the help.

use std::path::PathBuf;

use clap::builder::Resettable;
use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, CommandFailure, UNUSED_FLAGS, output};

/// Arguments of `tidings completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell that reads the script
    shell: Shell,
}

/// Arguments of `tidings man`.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write a page for each command into this directory, instead of one page to standard output
    directory: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<(), CommandFailure> {
    print(&script(args.shell))
}

pub(super) fn man(args: &ManArgs) -> Result<(), CommandFailure> {
    match &args.directory {
        Some(directory) => clap_mangen::generate_to(visible(), directory).map_err(|error| {
            CommandFailure::Failed(format!("cannot write pages into {}: {error}", directory.display()))
        }),
        None => {
            let mut page = Vec::new();
            // Without the command `help`, as in the pages of a directory.
            Man::new(visible().disable_help_subcommand(true))
                .render(&mut page)
                .map_err(|error| CommandFailure::Failed(format!("cannot write the page: {error}")))?;
            print(&page)
        }
    }
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut visible(), "tidings", &mut script);
    script
}

fn print(text: &[u8]) -> Result<(), CommandFailure> {
    output::result(String::from_utf8_lossy(text).trim_end()).map(|_| ())
}

/// The command line without hidden flags, which the scripts for some shells would offer. Each
/// command has the global flags that it uses. Pages name the version and not the build, so that
/// they are the same for each build of it.
fn visible() -> Command {
    let all = Cli::command().long_version(Resettable::Reset);
    let flags: Vec<_> = all.get_arguments().filter(|flag| flag.is_global_set()).cloned().collect();
    let all = flags.iter().fold(all, |all, flag| all.mut_arg(flag.get_id(), |flag| flag.global(false)));
    all.mut_subcommands(|command| {
        let unused = UNUSED_FLAGS.iter().find(|(name, _)| *name == command.get_name());
        let is_used = |flag: &str| unused.is_none_or(|(_, unused)| !unused.contains(&flag));
        let used = flags.iter().filter(|flag| is_used(flag.get_id().as_str())).cloned();
        // A command below it that uses none of them gets none.
        let below = |path: &str| path.split_once(' ').is_some_and(|(name, _)| name == command.get_name());
        let is_alone = UNUSED_FLAGS.iter().any(|(path, _)| below(path));
        let used: Vec<_> = used.map(|flag| if is_alone { flag.global(false) } else { flag }).collect();
        command.args(used)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_arguments_are_well_formed() {
        visible().debug_assert();
    }

    #[test]
    fn scripts_and_pages_have_every_command() {
        let mut page = Vec::new();
        Man::new(visible()).render(&mut page).unwrap();
        let mut texts = [Shell::Bash, Shell::Zsh, Shell::Fish].map(script).to_vec();
        let is_of_one_build = |page: &[u8]| String::from_utf8_lossy(page).contains("commit:");
        assert!(!is_of_one_build(&page), "pages of all builds of a version are the same");
        texts.push(page);
        for text in texts {
            let text = String::from_utf8(text).unwrap();
            for command in visible().get_subcommands() {
                assert!(text.contains(command.get_name()), "{} in {text}", command.get_name());
            }
        }
    }

    #[test]
    fn commands_have_the_flags_that_they_use() {
        let mut all = visible();
        all.build();
        let flags = |command: &Command| -> Vec<String> {
            command.get_opts().filter_map(|flag| flag.get_long().map(str::to_owned)).collect()
        };
        for (path, used) in [
            (&["serve"][..], &["config", "listen", "redis"][..]),
            (&["tail"], &["config"]),
            (&["token", "new"], &["config"]),
            (&["config"], &["config", "listen", "redis"]),
            (&["config", "init"], &[]),
            (&["completions"], &[]),
            (&["man"], &[]),
        ] {
            let command = path.iter().fold(&all, |command, name| command.find_subcommand(name).unwrap());
            for flag in ["config", "listen", "redis"] {
                assert_eq!(
                    flags(command).iter().any(|known| known == flag),
                    used.contains(&flag),
                    "{path:?}"
                );
            }
        }
    }
}
