//! Help, versions, and wrong usage.

use crate::support::commands::run_tidings;

const COMMANDS: &[&str] = &["serve", "publish", "tail", "check", "token", "config"];

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
    assert_eq!(
        run_tidings(&["--version"], &[]).await.success(),
        format!("tidings {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test]
async fn wrong_usage_is_exit_code_2_and_says_what_is_right() {
    for (arguments, word) in [
        (&["nonsense"][..], "unrecognized subcommand"),
        (&["tial", "acme"], "tail"),
        (&["--nonsense"], "unexpected argument"),
        (&["serve", "extra"], "unexpected argument"),
        (&["--listen"], "--listen"),
        (&["config", "--listen", "nowhere"], "server.listen is \"nowhere\""),
        (&["config", "--redis", "nowhere"], "--redis"),
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
