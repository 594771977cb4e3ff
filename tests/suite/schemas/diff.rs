//! `tidings schema diff`, as CI runs it.

use super::CHANNEL;
use crate::support::commands::{Finished, run_tidings};
use crate::support::directory::Directory;

/// Compares a directory with the one schema `CHANNEL` to one with these files.
async fn diff(new: &[(&str, &str)], flags: &[&str]) -> Finished {
    let (old, directory) = (super::events(), Directory::new());
    for (name, schema) in new {
        directory.write(name, schema);
    }
    let paths = [old.path().to_str().unwrap(), directory.path().to_str().unwrap()];
    run_tidings(&[&["schema", "diff"], &paths[..], flags].concat(), &[]).await
}

#[tokio::test]
async fn compatible_changes_have_exit_code_0() {
    let same = diff(&[("CHANNEL_UPDATED.json", CHANNEL)], &[]).await.success();
    assert_eq!(same, "same          CHANNEL_UPDATED\n");
    let more = CHANNEL.replace(r#""id": {"#, r#""topic": { "type": "string" }, "id": {"#);
    let next = r#"{"properties":{"type":{"const":"CHANNEL_UPDATED@2"}}}"#;
    let stdout =
        diff(&[("CHANNEL_UPDATED.json", &more), ("CHANNEL_UPDATED@2.json", next)], &[]).await.success();
    assert_eq!(
        stdout,
        "compatible    CHANNEL_UPDATED\n    /properties/topic: added\nadded         CHANNEL_UPDATED@2\n"
    );
    let shorter = CHANNEL.replace("20", "10");
    let stdout = diff(&[("CHANNEL_UPDATED.json", &shorter)], &[]).await.success();
    assert!(
        stdout.contains("    note: an event of OLD may break the rule /properties/name/maxLength"),
        "{stdout}"
    );
}

#[tokio::test]
async fn incompatible_changes_have_exit_code_1_and_places() {
    let renamed = CHANNEL.replace(r#""name""#, r#""title""#);
    let finished = diff(&[("CHANNEL_UPDATED.json", &renamed)], &[]).await;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(1), ""));
    assert_eq!(
        finished.stdout,
        "incompatible  CHANNEL_UPDATED\n    /required: NEW does not require \"name\"\n    fix: leave CHANNEL_UPDATED as \
         it is, and add the new form as CHANNEL_UPDATED@2\n"
    );
}

#[tokio::test]
async fn type_is_removed_on_purpose_alone() {
    let other = r#"{"properties":{"type":{"const":"OTHER"}}}"#;
    let finished = diff(&[("OTHER.json", other)], &[]).await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stdout.starts_with("incompatible  CHANNEL_UPDATED\n    /: removed"), "{finished:?}");
    let stdout = diff(&[("OTHER.json", other)], &["--removed", "CHANNEL_UPDATED"]).await.success();
    assert_eq!(stdout, "removed       CHANNEL_UPDATED\nadded         OTHER\n");
    let stderr = diff(&[("OTHER.json", other)], &["--removed", "OTHER"]).await.failure(2);
    assert!(stderr.contains("--removed OTHER"), "{stderr}");
}

#[tokio::test]
async fn files_that_are_no_schemas_have_exit_code_2() {
    let stderr = diff(&[("CHANNEL_UPDATED.json", "{")], &[]).await.failure(2);
    assert!(stderr.contains("CHANNEL_UPDATED.json:1:1: not JSON"), "{stderr}");
    let wrong = CHANNEL.replace(r#""string" },"#, r#""text" },"#);
    let stderr = diff(&[("CHANNEL_UPDATED.json", &wrong)], &[]).await.failure(2);
    assert!(stderr.contains("at /properties/id/type: not valid JSON Schema 2020-12"), "{stderr}");
    for arguments in [&["schema", "diff"][..], &["schema", "diff", "/nowhere", "/nowhere"], &["schema"]] {
        run_tidings(arguments, &[]).await.failure(2);
    }
}

#[tokio::test]
async fn two_files_are_compared_by_their_type() {
    let (one, other) = (super::events(), Directory::new());
    let new = other.write("a.json", CHANNEL.replace("20", "30"));
    let old = one.file("CHANNEL_UPDATED.json");
    let finished = run_tidings(&["schema", "diff", old.to_str().unwrap(), new.to_str().unwrap()], &[]).await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stdout.contains("/properties/name/maxLength: NEW allows more than 20"), "{finished:?}");
}
