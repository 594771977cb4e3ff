//! Shell completions and manual pages, as a shell and `man` read them.

use std::process::Command;

use crate::support::commands::run_tidings;
use crate::support::directory::Directory;

/// Has bash complete the last word of a command line.
fn completed(script: &str, line: &str) -> Vec<String> {
    let complete = format!(
        "{script}\nCOMP_LINE=$1; read -ra COMP_WORDS <<<\"$1\"; COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
         _tidings tidings \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let output = Command::new("bash").args(["-c", &complete, "bash", line]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn bash_completes_commands_and_their_flags() {
    let script = run_tidings(&["completions", "bash"], &[]).await.success();
    assert_eq!(completed(&script, "tidings pu"), ["publish"]);
    assert_eq!(completed(&script, "tidings token ex"), ["explain"]);
    assert_eq!(completed(&script, "tidings tail --last-"), ["--last-event-id"]);
    assert_eq!(completed(&script, "tidings serve --lis"), ["--listen"]);
    let of_tail = completed(&script, "tidings tail --");
    assert!(of_tail.contains(&"--config".to_owned()), "{of_tail:?}");
    assert!(!of_tail.contains(&"--listen".to_owned()), "a flag without effect: {of_tail:?}");
}

#[tokio::test]
async fn other_shells_have_scripts_of_their_own() {
    for (shell, first) in [("zsh", "#compdef tidings"), ("fish", "# Print an optspec"), ("powershell", "")] {
        let script = run_tidings(&["completions", shell], &[]).await.success();
        assert!(script.starts_with(first) && script.contains("publish"), "{shell}: {script}");
    }
    let stderr = run_tidings(&["completions", "cmd"], &[]).await.failure(2);
    assert!(stderr.contains("possible values") && stderr.contains("fish"), "{stderr}");
}

#[tokio::test]
async fn manual_pages_are_written_for_all_commands() {
    let directory = Directory::new();
    let path = directory.path().display().to_string();
    run_tidings(&["man", &path], &[]).await.success();
    let page = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    for (name, words) in [
        ("tidings.1", &["Server\\-Sent Events", "tidings\\-publish(1)", "Exit codes"][..]),
        ("tidings-tail.1", &["\\-\\-last\\-event\\-id", "\\-\\-config"]),
        ("tidings-token-new.1", &["\\-\\-workspace"]),
        ("tidings-completions.1", &["bash", "zsh", "fish"]),
    ] {
        let page = page(name);
        for word in words {
            assert!(page.contains(word), "{word} in {name}: {page}");
        }
    }
    assert!(!page("tidings-tail.1").contains("listen"));

    let printed = run_tidings(&["man"], &[]).await.success();
    assert_eq!(printed.trim_end(), page("tidings.1").trim_end());
    let stderr = run_tidings(&["man", "/nowhere/man1"], &[]).await.failure(1);
    assert!(stderr.contains("cannot write pages into /nowhere/man1"), "{stderr}");
}
