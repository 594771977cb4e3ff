//! Puts the commit and the features of the build into the program, for `tidings --version`.
//!
//! `TIDINGS_COMMIT` names the commit of a build without git, such as that of an image. Debug builds
//! do not ask git: a commit alone would then compile the program and its tests again.

use std::env;
use std::process::{Command, ExitCode};

/// The files that the program is made of. Changes in them make the commit a modified one.
const SOURCES: [&str; 7] =
    ["Cargo.toml", "Cargo.lock", "config", "crates", "docs/openapi.json", "scripts/publish.lua", "src"];

/// The first digits of a commit, enough to be unique for the life of a repository.
const DIGITS: usize = 12;

const LONGEST: usize = 64;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=TIDINGS_COMMIT");
    // `debug` or `release`, also of profiles that inherit from these.
    let kind = variable("PROFILE").unwrap_or_else(unknown);
    let commit = match variable("TIDINGS_COMMIT") {
        Some(given) if is_name(&given) => given,
        Some(given) => {
            println!("cargo::error=TIDINGS_COMMIT is no commit: {given:?}");
            return ExitCode::FAILURE;
        }
        None if kind == "release" => commit_of_git().unwrap_or_else(unknown),
        None => unknown(),
    };
    let target = variable("TARGET").unwrap_or_else(unknown);
    for (name, value) in [("COMMIT", commit), ("KIND", kind), ("TARGET", target), ("FEATURES", features())] {
        println!("cargo::rustc-env=TIDINGS_BUILD_{name}={value}");
    }
    ExitCode::SUCCESS
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// An environment variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether a text can be in a line of output and in a label.
fn is_name(text: &str) -> bool {
    text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

/// The checked-out commit, with `-modified` if a source differs from it. `None` without git, or if
/// the repository is another one around this folder.
fn commit_of_git() -> Option<String> {
    if !git(&["rev-parse", "--show-prefix"])?.is_empty() {
        return None;
    }
    // The reflog changes with each commit and each checkout; HEAD serves where there is none.
    for file in ["HEAD", "logs/HEAD"] {
        println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", file])?);
    }
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    let digits = format!("--short={DIGITS}");
    let commit = git(&["rev-parse", &digits, "HEAD"])?;
    let changes = git(&[&["status", "--porcelain", "--untracked-files=no", "--"], &SOURCES[..]].concat())?;
    Some(if changes.is_empty() { commit } else { format!("{commit}-modified") })
}

/// The output of git in the folder of the package, if git succeeds.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The enabled features of the package, or `none`.
fn features() -> String {
    let name = |(name, _): (std::ffi::OsString, _)| {
        let name = name.to_str()?.strip_prefix("CARGO_FEATURE_")?.to_ascii_lowercase().replace('_', "-");
        (name != "default").then_some(name)
    };
    let mut features: Vec<_> = env::vars_os().filter_map(name).collect();
    features.sort_unstable();
    if features.is_empty() { "none".to_owned() } else { features.join(", ") }
}
