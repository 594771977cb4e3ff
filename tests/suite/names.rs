//! Names of types: each once in the workspace, and none that the glossary replaces.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::directory::repository;

/// Names that `docs/glossary.md` replaces. Add a line here with the change that renames a type.
const REPLACED: &[&str] = &[
    "Account",
    "Admission",
    "Alarms",
    "Asker",
    "Asking",
    "Beats",
    "Bed",
    "Bell",
    "Book",
    "Check",
    "Crowd",
    "CutLog",
    "Desk",
    "Diary",
    "Door",
    "Ear",
    "EndNote",
    "Exchange",
    "Feed",
    "Flight",
    "Flow",
    "Gate",
    "Granted",
    "HandOff",
    "Handed",
    "Handing",
    "IdWish",
    "Interest",
    "Keeper",
    "Keeping",
    "Kept",
    "Landing",
    "Lane",
    "Lease",
    "Link",
    "Member",
    "Once",
    "OnceBounds",
    "OpenStreams",
    "Order",
    "Outbox",
    "Personal",
    "Presence",
    "Press",
    "Reads",
    "Room",
    "Say",
    "Seat",
    "Shared",
    "SharedLog",
    "Shelf",
    "Stage",
    "Standing",
    "Stranger",
    "Surplus",
    "Tap",
    "TaskEar",
    "Timeline",
    "View",
    "Visit",
    "WireLog",
    "Wish",
    "Word",
];

/// A type that shares its name with another one says so in its doc comment by these words, with the
/// reason.
const SHARES: &str = "shares its name with";

/// The sources of the program, without its tests and their harness.
pub(crate) fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["tests", "testkit"].contains(&name.as_str()) {
                found.extend(sources(&path));
            }
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
    found
}

/// The types that a source defines, each with the comment above it.
pub(crate) fn types(source: &str) -> Vec<(String, String)> {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let (mut comment, mut found) = (String::new(), Vec::new());
    for line in source.lines() {
        let line = line.trim_start();
        if line.starts_with("///") {
            comment.push_str(line);
            continue;
        }
        if line.starts_with("#[") {
            continue;
        }
        let mut words = line.split_whitespace().filter(|word| !word.starts_with("pub"));
        if let (Some("struct" | "enum" | "trait" | "type"), Some(name)) = (words.next(), words.next()) {
            let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            // What a trait requires has its name from the trait.
            if line.starts_with("type ") && source.contains(&format!("    type {name}")) {
                continue;
            }
            found.push((name, std::mem::take(&mut comment)));
        }
        comment.clear();
    }
    found
}

#[test]
fn type_has_a_name_of_its_own_from_the_glossary() {
    let mut places: BTreeMap<String, Vec<(PathBuf, String)>> = BTreeMap::new();
    for directory in ["src", "crates"] {
        for path in sources(&repository().join(directory)) {
            for (name, comment) in types(&fs::read_to_string(&path).unwrap()) {
                places.entry(name).or_default().push((path.clone(), comment));
            }
        }
    }
    assert!(places.len() > 400, "{} types are too few to be all", places.len());
    let replaced: Vec<_> = places.iter().filter(|(name, _)| REPLACED.contains(&name.as_str())).collect();
    assert!(replaced.is_empty(), "names that docs/glossary.md replaces: {replaced:#?}");
    // The harness is written apart from the program, so both have an `Event` and a `Response`.
    for path in sources(&repository().join("crates/testkit")) {
        for (name, _) in types(&fs::read_to_string(&path).unwrap()) {
            assert!(
                !REPLACED.contains(&name.as_str()),
                "docs/glossary.md replaces {name}: {}",
                path.display()
            );
        }
    }
    let twice: Vec<_> = places
        .iter()
        .filter(|(_, places)| places.len() > 1 && !places.iter().any(|(_, comment)| comment.contains(SHARES)))
        .collect();
    assert!(twice.is_empty(), "names of more than one type: {twice:#?}");
}

#[test]
fn types_are_found_with_their_comments() {
    let source = "/// A: shares its name with B.\n#[derive(Debug)]\npub(super) struct A<T>(T);\n\n    type Item = u8;\nenum C {}\n";
    let found = types(source);
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["A", "C"]);
    assert!(found[0].1.contains(SHARES) && found[1].1.is_empty(), "{found:?}");
}

/// Words that no name of a test has. `docs/glossary.md` has the words instead.
const REPLACED_IN_TESTS: &[&str] = &[
    "anew",
    "anybody",
    "anyone",
    "desk",
    "ear",
    "everybody",
    "everyone",
    "hear",
    "hears",
    "newcomer",
    "newcomers",
    "nobody",
    "room",
    "seat",
    "somebody",
    "stands",
    "stranger",
    "strangers",
    "tell",
    "tells",
    "told",
    "what",
    "whatever",
    "who",
    "whoever",
    "whom",
    "whose",
];

const WORDS_MAX: usize = 10;

/// The names of the functions that have an attribute of a test, and of those that a macro makes
/// one.
fn tests(source: &str) -> Vec<String> {
    let (mut found, mut is_test) = (Vec::new(), false);
    for line in source.lines().map(str::trim) {
        let name = |rest: &str| rest.split(['(', '<']).next().unwrap().to_owned();
        if line.ends_with("test]") || line.contains("::test(") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| !line.starts_with("//")) {
            // Tests that run on several buses, proxies or servers have one argument that says
            // which.
            if std::mem::take(&mut is_test) || rest.contains("(bus: Bus)") || rest.contains("(kind: Kind)") {
                found.push(name(rest));
            }
        }
    }
    found
}

/// The problem of a name, if it has one.
fn problem(name: &str) -> Option<String> {
    let words: Vec<_> = name.split('_').collect();
    if words.len() > WORDS_MAX {
        return Some(format!("{name}: {} words, at most {WORDS_MAX}", words.len()));
    }
    let word = words.iter().find(|word| REPLACED_IN_TESTS.contains(word))?;
    Some(format!("{name}: `{word}`"))
}

#[test]
fn test_names_are_short_and_in_words_of_the_glossary() {
    let (mut problems, mut count) = (Vec::new(), 0);
    let mut folders: Vec<_> = ["tests", "src/cli", "src/config", "src/telemetry"].map(PathBuf::from).to_vec();
    folders.extend(["crates/bench", "crates/testkit"].map(PathBuf::from));
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(repository().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let names = tests(&fs::read_to_string(&path).unwrap());
                count += names.len();
                problems.extend(names.iter().filter_map(|name| problem(name)));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(count > 500, "{count} tests are too few to be all");
}

#[test]
fn names_of_tests_are_found() {
    let source = "#[test]\n#[ignore]\nfn a() {}\nfn b() {}\n#[tokio::test]\nasync fn c() {}\nasync fn d(bus: Bus) {}\n";
    assert_eq!(tests(source), ["a", "c", "d"]);
    assert_eq!(problem("private_event_reaches_only_its_users"), None);
    assert!(problem("a_stream_is_told").is_some() && problem("a_b_c_d_e_f_g_h_i_j_k").is_some());
}
