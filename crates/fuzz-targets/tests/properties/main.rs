//! Each target on its corpus, and for two seconds on mutations of it. `FUZZ_SEED` and
//! `FUZZ_SECONDS` set other ones.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failed step ends the test")]

mod mutation;

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mutation::Mutator;

const SEED: u64 = 20_261_123;

fn directory(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(part)
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> =
        fs::read_dir(directory("corpus").join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn check(target: fn(&[u8]), input: &[u8], from: &str) {
    if let Err(panic) = catch_unwind(|| target(input)) {
        eprintln!("{from}: b\"{}\"", input.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

fn run(name: &str, target: fn(&[u8])) {
    let corpus = corpus(name);
    assert!(corpus.len() >= 3, "a corpus of {}", corpus.len());
    check(target, b"", "the empty input");
    for input in &corpus {
        check(target, input, "an input of the corpus");
    }
    let (seed, seconds) = (setting("FUZZ_SEED", SEED), setting("FUZZ_SECONDS", 2));
    let mut mutator = Mutator::new(seed, corpus);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut count = 0_u64;
    while Instant::now() < deadline {
        count += 1;
        check(target, &mutator.next(), &format!("FUZZ_SEED={seed}, input {count}"));
    }
    println!("{name}: {count} inputs");
    assert!(count > 10, "only {count} inputs");
}

macro_rules! targets {
    ($($name:ident),+ $(,)?) => {
        const TARGETS: &[&str] = &[$(stringify!($name)),+];

        $(#[test] fn $name() { run(stringify!($name), tidings_fuzz_targets::$name) })+
    };
}

targets! {
    last_event_id, query, frame, envelope, resp_requests, control_command, node_question, token, token_places, forwarded
}

#[test]
fn the_fuzzer_has_the_same_targets() {
    let found: BTreeSet<String> = fs::read_dir(directory("fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(found, TARGETS.iter().map(|&name| name.to_owned()).collect());
    let manifest = fs::read_to_string(directory("Cargo.toml")).unwrap();
    for name in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}

#[test]
fn a_property_that_does_not_hold_is_noticed() {
    let silent = catch_unwind(|| run("control_command", |input| assert!(input.len() < 10, "too long")));
    assert!(silent.is_err());
}
