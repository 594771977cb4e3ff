//! Help, versions, and wrong usage.

use crate::support::commands::run_tidings;

const COMMANDS: &[&str] = &["serve", "publish", "tail", "check", "token", "config", "completions", "man"];

#[tokio::test]
async fn help_is_asked_for_and_given() {
    let help = run_tidings(&["--help"], &[]).await.success();
    for command in COMMANDS {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))),
            "{command}: {help}"
        );
    }
    for word in ["Exit codes: 0 success; 1 failure; 2 wrong usage", "--listen", "--redis", "--config"] {
        assert!(help.contains(word), "{word} in {help}");
    }
    for command in COMMANDS {
        for arguments in [[*command, "--help"], ["help", command]] {
            let help = run_tidings(&arguments, &[]).await.success();
            assert!(help.contains(&format!("Usage: tidings {command}")), "{help}");
        }
        let short = run_tidings(&[command, "-h"], &[]).await.success();
        assert!(short.lines().count() < 40, "{short}");
    }
}

/// The commands with the global flags that change what they do.
const FLAGS: &[(&[&str], &[&str])] = &[
    (&["serve"], &["--config", "--listen", "--redis"]),
    (&["publish"], &["--config", "--redis"]),
    (&["tail"], &["--config"]),
    (&["history"], &["--config", "--redis"]),
    (&["check"], &["--config", "--listen", "--redis"]),
    (&["bench"], &["--config", "--redis"]),
    (&["token"], &["--config"]),
    (&["token", "new"], &["--config"]),
    (&["token", "explain"], &["--config"]),
    (&["config"], &["--config", "--listen", "--redis"]),
    (&["config", "init"], &[]),
    (&["completions"], &[]),
    (&["man"], &[]),
];

#[tokio::test]
async fn help_of_a_command_has_its_flags() {
    for (command, used) in FLAGS {
        let help = run_tidings(&[command, &["--help"][..]].concat(), &[]).await.success();
        for flag in ["--config", "--listen", "--redis"] {
            let listed = help.lines().any(|line| line.trim_start().starts_with(&format!("{flag} <")));
            assert_eq!(listed, used.contains(&flag), "{command:?} {flag}: {help}");
        }
    }
}

#[tokio::test]
async fn flag_that_changes_nothing_is_wrong_usage() {
    for arguments in [
        &["tail", "acme", "--listen", "127.0.0.1:9"][..],
        &["--redis", "redis://host", "tail", "acme"],
        &["publish", "acme", "x", "--listen=127.0.0.1:9"],
        &["bench", "--listen", "127.0.0.1:9"],
        &["history", "acme", "--listen", "127.0.0.1:9"],
        &["token", "new", "--workspace", "acme", "--listen", "127.0.0.1:9"],
        &["token", "--redis", "redis://host", "new", "--workspace", "acme"],
        &["man", "--config", "tidings.toml"],
        &["config", "init", "new.toml", "--config", "tidings.toml"],
    ] {
        let stderr = run_tidings(arguments, &[]).await.failure(2);
        assert!(stderr.contains("changes nothing of `tidings"), "{arguments:?}: {stderr}");
    }
}

#[tokio::test]
async fn wrong_usage_has_exit_code_2_and_a_hint() {
    for (arguments, word) in [
        (&["nonsense"][..], "unrecognized subcommand"),
        (&["tial", "acme"], "tail"),
        (&["--nonsense"], "unexpected argument"),
        (&["serve", "extra"], "unexpected argument"),
        (&["--listen"], "--listen"),
        (&["config", "--listen", "nowhere"], "server.listen is \"nowhere\""),
        (&["config", "--redis", "nowhere"], "--redis"),
        (&["config", "--redis", "redis://host", "init"], "cannot be used with '--redis"),
        (&["config", "--json", "init"], "cannot be used with '--json"),
    ] {
        let finished = run_tidings(arguments, &[]).await;
        assert_eq!(finished.stdout, "");
        let stderr = finished.failure(2);
        assert!(stderr.contains(word), "{arguments:?}: {stderr}");
    }
}

#[tokio::test]
async fn options_may_stand_before_and_after_the_command() {
    let before = run_tidings(&["--listen", "127.0.0.1:9", "config"], &[]).await.success();
    let after = run_tidings(&["config", "--listen", "127.0.0.1:9"], &[]).await.success();
    assert_eq!(before, after);
    assert!(before.contains("\"127.0.0.1:9\""), "{before}");
}
