//! `tidings --version`, and the commit that `build.rs` finds.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::commands::run_tidings;
use crate::support::directory::{Directory, repository};
use crate::support::programs::run;

#[tokio::test]
async fn version_names_commit_build_and_features() {
    let short = run_tidings(&["-V"], &[]).await.success();
    assert_eq!(short, format!("tidings {}\n", env!("CARGO_PKG_VERSION")));
    let long = run_tidings(&["--version"], &[]).await.success();
    let (first, rest) = long.split_once('\n').unwrap();
    assert_eq!(first, short.trim_end());
    let names: Vec<_> = rest.lines().map(|line| line.split_once(": ").unwrap().0).collect();
    assert_eq!(names, ["commit", "build", "target", "features"]);
    assert!(rest.contains(&format!("commit: {}\n", tidings::build::COMMIT)), "{long}");
}

/// `build.rs` as a program, in a folder of its own.
struct BuildScript {
    directory: Directory,
    program: PathBuf,
}

impl BuildScript {
    fn compile() -> Self {
        let directory = Directory::new();
        let program = directory.path().join("build-script");
        let mut compiler = Command::new("rustc");
        compiler.args(["--edition", "2024", "-o"]).arg(&program).arg(repository().join("build.rs"));
        run(compiler.current_dir(directory.path()));
        Self { directory, program }
    }

    fn output(&self, folder: &Path, variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(&self.program);
        command.env_remove("TIDINGS_COMMIT").env("PROFILE", "release").env("TARGET", "a-target");
        command.current_dir(folder).envs(variables.iter().copied()).output().unwrap()
    }

    /// A value that the script hands to the compiler.
    fn value(&self, folder: &Path, variables: &[(&str, &str)], name: &str) -> String {
        let output = String::from_utf8(self.output(folder, variables).stdout).unwrap();
        let prefix = format!("cargo::rustc-env=TIDINGS_BUILD_{name}=");
        output.lines().find_map(|line| line.strip_prefix(&prefix)).expect(&output).to_owned()
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=Test", "-c", "user.email=test@example.com"]).args(arguments);
    run(git.current_dir(folder)).trim().to_owned()
}

#[test]
fn commit_is_that_of_the_repository() {
    let script = BuildScript::compile();
    let folder = script.directory.path().join("repository");
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let commit = || script.value(&folder, &[], "COMMIT");
    git(&folder, &["init", "--quiet"]);
    std::fs::write(folder.join("src/lib.rs"), "// One\n").unwrap();
    git(&folder, &["add", "."]);
    assert_eq!(commit(), "unknown", "no commit yet");
    git(&folder, &["commit", "--quiet", "--message", "One"]);
    let head = git(&folder, &["rev-parse", "HEAD"]);
    assert_eq!(commit(), head[..12]);
    std::fs::write(folder.join("src/lib.rs"), "// Two\n").unwrap();
    assert_eq!(commit(), format!("{}-modified", &head[..12]));
    // A folder of sources in the repository of something else.
    assert_eq!(script.value(&folder.join("src"), &[], "COMMIT"), "unknown");
    assert_eq!(script.value(script.directory.path(), &[], "COMMIT"), "unknown", "no repository");
}

#[test]
fn variable_names_the_commit_of_a_build_without_git() {
    let script = BuildScript::compile();
    let folder = script.directory.path();
    let value = |variables: &[_], name: &str| script.value(folder, variables, name);
    assert_eq!(value(&[("TIDINGS_COMMIT", "abc-1")], "COMMIT"), "abc-1");
    assert_eq!(value(&[("TIDINGS_COMMIT", "")], "COMMIT"), "unknown");
    let refused = script.output(folder, &[("TIDINGS_COMMIT", "a\nb")]);
    assert!(!refused.status.success(), "{refused:?}");

    assert_eq!(value(&[("PROFILE", "debug")], "KIND"), "debug");
    assert_eq!(value(&[], "FEATURES"), "none");
    let features = [("CARGO_FEATURE_B_C", "1"), ("CARGO_FEATURE_A", "1"), ("CARGO_FEATURE_DEFAULT", "1")];
    assert_eq!(value(&features, "FEATURES"), "a, b-c");
}

/// A commit alone compiles nothing again in development.
#[test]
fn debug_build_does_not_depend_on_git() {
    let script = BuildScript::compile();
    let watched = |profile: &str| {
        let output = script.output(repository(), &[("PROFILE", profile)]);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| line.starts_with("cargo::rerun-if-changed=")).count()
    };
    assert_eq!(watched("debug"), 1, "build.rs itself");
    let release = watched("release");
    assert!(release == 1 || release > 8, "sources and HEAD, or no repository: {release}");
}
