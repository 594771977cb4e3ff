//! Compares the documents with the program: each word that the program uses has an explanation, and
//! each link leads to a heading.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use tidings_auth::DenialReason;
use tidings_event::control::{ReconnectReason, ResetReason};

use crate::names;

/// Directories whose documents are not ours.
const FOREIGN: [&str; 2] = ["target", "node_modules"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    text(&root().join(path))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a directory whose names end so.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() && !name.starts_with('.') && !FOREIGN.contains(&name.as_ref()) {
            found.extend(files(&path, ending));
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found
}

/// A document's lines outside of code blocks.
fn prose(document: &str) -> String {
    let mut in_code = false;
    let lines = document.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// The part of a document below a heading, up to the next heading of any level.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let (_, rest) = document.split_once(&format!("\n{heading}\n")).expect(heading);
    rest.split_once("\n#").map_or(rest, |(section, _)| section)
}

/// The code spans in the given column of a section's tables.
fn column(section: &str, column: usize) -> BTreeSet<String> {
    let rows = section.lines().filter(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(column + 1));
    cells.flat_map(in_backticks).map(str::to_owned).collect()
}

fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept =
        heading.trim_start_matches('#').trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn has_anchor(document: &str, wanted: &str) -> bool {
    prose(document).lines().any(|line| line.starts_with('#') && anchor(line) == wanted)
}

#[test]
fn relative_links_lead_somewhere() {
    let mut broken = Vec::new();
    let mut checked = 0;
    for path in files(root(), ".md") {
        let document = text(&path);
        let prose = prose(&document);
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            checked += 1;
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            if !file.exists() || (!fragment.is_empty() && !has_anchor(&text(&file), fragment)) {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    assert!(checked > 20, "only {checked} links were found");
}

#[test]
fn every_word_of_the_brokers_own_events_is_explained() {
    let protocol = read("docs/protocol.md");
    let events = section(&protocol, "### The broker's own events");
    let reasons: BTreeSet<String> = ResetReason::ALL
        .map(ResetReason::as_str)
        .into_iter()
        .chain(ReconnectReason::ALL.map(ReconnectReason::as_str))
        .map(str::to_owned)
        .collect();
    let mut explained = column(events, 0);
    explained.remove("reason");
    assert_eq!(explained, reasons);

    let source = read("crates/event/src/control.rs");
    let names: BTreeSet<&str> = source
        .split("\"tidings.")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|name| !name.is_empty())
        .collect();
    assert!(names.contains("reset"), "{names:?}");
    for name in names {
        assert!(events.contains(&format!("`tidings.{name}`")), "tidings.{name} is not explained");
    }
}

/// The problems in a source text: each is a status and, right behind it, a literal.
fn problems_in(source: &str) -> impl Iterator<Item = (String, String)> {
    source.split("StatusCode::").skip(1).filter_map(|rest| {
        let (status, behind) = rest.split_once(',')?;
        let kind = behind.trim_start().strip_prefix('"')?.split('"').next()?;
        let is_status = status.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        is_status.then(|| (status.to_owned(), kind.to_owned()))
    })
}

/// The types of problems in the source, each with the name of its status.
pub(crate) fn problems() -> BTreeSet<(String, String)> {
    problems_of(|_| true)
}

/// The same without those of the console alone, whose API `docs/openapi.json` does not have.
pub(crate) fn problems_of_the_api() -> BTreeSet<(String, String)> {
    let console = root().join("src/admin/console");
    problems_of(|path| !path.starts_with(&console))
}

fn problems_of(is_wanted: impl Fn(&Path) -> bool) -> BTreeSet<(String, String)> {
    let folders = ["src/http", "src/admin"].map(|folder| files(&root().join(folder), ".rs"));
    let wanted = folders.iter().flatten().filter(|path| is_wanted(path));
    let found: BTreeSet<_> = wanted.flat_map(|path| problems_in(&text(path)).collect::<Vec<_>>()).collect();
    let has = |kind: &str| found.iter().any(|(_, found)| found == kind);
    assert!(has("unavailable") && has("bad-workspace"), "{found:?}");
    found
}

#[test]
fn every_problem_type_is_explained() {
    let kinds: BTreeSet<String> = problems().into_iter().map(|(_, kind)| kind).collect();
    let mut explained = column(section(&read("docs/errors.md"), "## Problem types"), 0);
    explained.remove("type");
    assert_eq!(explained, kinds);
}

/// The checks of authentication in the source.
pub(crate) fn checks() -> BTreeSet<String> {
    let source = read("crates/auth/src/denial.rs");
    let (_, words) = source.split_once("pub fn as_str(self)").unwrap();
    let (words, _) = words.split_once("\n    }\n").unwrap();
    let checks: BTreeSet<String> = words
        .lines()
        .filter_map(|line| line.split_once(" => \"")?.1.split('"').next())
        .map(str::to_owned)
        .collect();
    assert!(checks.contains(DenialReason::Expiry.as_str()), "{checks:?}");
    checks
}

#[test]
fn every_check_of_authentication_is_explained() {
    let checks = checks();
    let document = read("docs/errors.md");
    let (_, table) = section(&document, "## Authentication").split_once("| `check` | usual cause |").unwrap();
    assert_eq!(column(table, 0), checks);
}

/// The last literal among the arguments of a macro, without those inside of further calls.
fn last_literal(arguments: &str) -> String {
    let (mut depth, mut found) = (0, String::new());
    let mut rest = arguments.chars();
    while let Some(c) = rest.next() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            '"' => {
                let literal: String = rest.by_ref().take_while(|c| *c != '"').collect();
                if depth == 0 {
                    found = literal;
                }
            }
            _ => {}
        }
    }
    found.split("\\\n").map(str::trim_start).collect()
}

/// The messages that the program logs, outside of unit tests.
fn logged_messages(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let calls = ["error", "warn", "info", "debug"].map(|level| format!("tracing::{level}!("));
    let places = calls.iter().flat_map(|call| source.match_indices(call));
    places.map(|(place, call)| last_literal(&source[place + call.len()..])).collect()
}

#[test]
fn every_log_line_is_explained() {
    let mut sources = String::new();
    let mut logged = BTreeSet::new();
    for path in ["src", "crates"].iter().flat_map(|directory| files(&root().join(directory), ".rs")) {
        let source = text(&path);
        sources.push_str(&source);
        if !path.iter().any(|part| part == "tests" || part == "tests.rs") {
            logged.extend(logged_messages(&source));
        }
    }
    assert!(logged.contains("listening") && logged.len() > 40, "{logged:?}");
    let document = read("docs/logging.md");
    let explained: BTreeSet<String> = column(section(&document, "## Lines"), 1)
        .iter()
        .map(|message| message.trim_end_matches(['…', ' ']).to_owned())
        .collect();
    // A message that is only an argument is a literal elsewhere.
    let unexplained: Vec<&String> = logged
        .iter()
        .filter(|message| !message.starts_with('{'))
        .filter(|message| !explained.iter().any(|explained| message.starts_with(explained)))
        .collect();
    assert!(unexplained.is_empty(), "not in docs/logging.md: {unexplained:#?}");
    let gone: Vec<&String> =
        explained.iter().filter(|message| !sources.contains(&format!("\"{message}"))).collect();
    assert!(gone.is_empty(), "only in docs/logging.md: {gone:#?}");
}

#[test]
fn every_direct_dependency_has_a_reason() {
    let mut manifests = vec![read("Cargo.toml")];
    for directory in fs::read_dir(root().join("crates")).unwrap() {
        let path = directory.unwrap().path();
        // What the harness depends on is of the tests.
        if !path.ends_with("testkit") {
            manifests.push(text(&path.join("Cargo.toml")));
        }
    }
    let harness = read("crates/testkit/Cargo.toml");
    let named = |name: &str| -> BTreeSet<String> {
        let on_linux = format!("target.'cfg(target_os = \"linux\")'.{name}");
        let tables = [name, &on_linux];
        let names = manifests.iter().flat_map(|manifest| tables.map(|name| table(manifest, name)).concat());
        names.filter(|name| name != "tidings" && !name.starts_with("tidings-")).collect()
    };
    let program = named("dependencies");
    // There some of the program's only have more features.
    let mut tests = named("dev-dependencies");
    tests.extend(table(&harness, "dependencies").into_iter().filter(|name| !name.starts_with("tidings-")));
    let tests: BTreeSet<String> = tests.difference(&program).cloned().collect();
    let document = read("docs/dependencies.md");
    assert_eq!(column(section(&document, "## Of the program"), 0), program);
    assert_eq!(column(section(&document, "## Of the tests"), 0), tests);
    let shared: BTreeSet<String> = program.union(&tests).cloned().collect();
    assert_eq!(named("workspace.dependencies"), shared, "what the workspace names and what its crates use");
}

/// The keys of a table of a manifest.
fn table(manifest: &str, name: &str) -> Vec<String> {
    let Some((_, rest)) = manifest.split_once(&format!("\n[{name}]\n")) else { return Vec::new() };
    let lines = rest.lines().take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| Some(line.split_once(['.', '='])?.0.trim().to_owned())).collect()
}

/// Whether a source names a crate: in a path, or as a whole word in an import.
fn names_crate(source: &str, package: &str) -> bool {
    let name = package.replace('-', "_");
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    source.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| {
        line.match_indices(&name).any(|(start, _)| {
            let (before, behind) = (&line[..start], &line[start + name.len()..]);
            !before.ends_with(is_part)
                && !before.ends_with('.')
                && (behind.starts_with("::")
                    || line.trim_start().starts_with("use ") && !behind.starts_with(is_part))
        })
    })
}

#[test]
fn every_dependency_of_a_crate_is_used_by_it() {
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let (mut unused, mut checked) = (Vec::new(), 0);
    for folder in crates.chain([root().to_owned()]) {
        let manifest = text(&folder.join("Cargo.toml"));
        let sources = |names: &[&str]| -> String {
            let folders = names.iter().map(|name| folder.join(name)).filter(|path| path.exists());
            folders.flat_map(|path| files(&path, ".rs")).map(|path| text(&path)).collect()
        };
        let program = sources(&["src"]);
        let tests = sources(&["src", "tests", "benches"]);
        for (name, source) in [("dependencies", &program), ("dev-dependencies", &tests)] {
            for package in table(&manifest, name) {
                checked += 1;
                if !names_crate(source, &package) {
                    unused.push(format!("{}: {package} in [{name}]", folder.display()));
                }
            }
        }
    }
    assert!(unused.is_empty(), "no source names these crates: {unused:#?}");
    assert!(checked > 100, "only {checked} dependencies were found");
}

#[test]
fn names_of_crates_are_found_in_paths_and_imports() {
    for used in ["use a_b::C;", "use a_b as c;", "    a_b::c()", "#[a_b::main]", "use {a_b, c};"] {
        assert!(names_crate(used, "a-b"), "{used}");
    }
    for unused in ["use c::a_bc;", "// a_b::c()", "let a_b = 1;", "c.a_b::<D>()", "use ca_b::D;", "a_bc::d()"]
    {
        assert!(!names_crate(unused, "a-b"), "{unused}");
    }
}

#[test]
fn every_version_in_the_changelog_has_a_date() {
    let changelog = read("CHANGELOG.md");
    let mut headings = changelog.lines().filter_map(|line| line.strip_prefix("## "));
    assert_eq!(headings.next(), Some("[Unreleased]"), "the newest changes are at the top");
    let dated = |heading: &str| {
        let (version, date) = heading.strip_prefix('[')?.split_once("] - ")?;
        let numbers = version.split('.').filter(|number| number.parse::<u32>().is_ok()).count();
        let (date, _) = date.split_once(' ').unwrap_or((date, ""));
        (numbers == 3 && date.parse::<jiff::civil::Date>().is_ok()).then_some(())
    };
    let undated: Vec<_> = headings.filter(|heading| dated(heading).is_none()).collect();
    assert!(undated.is_empty(), "not `[1.2.3] - 2026-12-31`: {undated:?}");
    assert!(dated("[0.1.0] - 2026-12-01 [YANKED]").is_some() && dated("[0.1.0] - soon").is_none());
    assert!(dated("0.1.0 - 2026-12-01").is_none() && dated("[0.1.0]").is_none());
}

#[test]
fn contributing_lists_every_script_and_recipe() {
    let contributing = read("CONTRIBUTING.md");
    let commands = column(section(&contributing, "## Build and test"), 0);
    let listed = |path: &str| commands.iter().any(|command| command.split(' ').any(|word| word == path));
    // These run as a part of other scripts.
    let parts = [
        "scripts/install-example",
        "scripts/install-packages",
        "scripts/install-test-clients",
        "scripts/publish.lua",
    ];
    let scripts = fs::read_dir(root().join("scripts")).unwrap().map(|entry| entry.unwrap().path());
    for path in scripts.filter(|path| path.is_file()) {
        let name = format!("scripts/{}", path.file_name().unwrap().to_string_lossy());
        assert!(listed(&name) || parts.contains(&name.as_str()), "{name} is not in CONTRIBUTING.md");
    }

    let recipes = read("justfile");
    let mut checked = 0;
    for body in
        recipes.lines().filter_map(|line| line.strip_prefix("    ")).filter(|body| !body.starts_with('@'))
    {
        let command = body.split(" {{").next().unwrap().trim_end_matches(" --");
        assert!(
            commands.iter().any(|known| known.starts_with(command)),
            "`{command}` is not in CONTRIBUTING.md"
        );
        checked += 1;
    }
    assert!(checked > 10, "only {checked} recipes were found");
}

/// A name from code in a document: a type, or a member of one.
fn type_and_member(span: &str) -> Option<(&str, Option<&str>)> {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let (name, member) = span.split_once("::").map_or((span, None), |(name, member)| (name, Some(member)));
    let is_type = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.contains(|c: char| c.is_ascii_lowercase())
        && is_name(name);
    (is_type && member.is_none_or(is_name)).then_some((name, member))
}

/// Whether a source defines or names a word as a whole.
fn has_word(source: &str, word: &str) -> bool {
    source.match_indices(word).any(|(at, _)| {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        !source[..at].ends_with(is_part) && !source[at + word.len()..].starts_with(is_part)
    })
}

#[test]
fn architecture_names_existing_files_and_types() {
    /// Names of HTTP and of libraries.
    const FOREIGN_NAMES: [&str; 2] = ["Accept", "Bytes"];
    let architecture = prose(&read("docs/architecture.md"));
    let starts = ["src/", "crates/", "config/", "docs/", "scripts/", "tests/"];
    let (mut paths, mut types) = (0, 0);
    let mut missing = Vec::new();
    let sources = ["src", "crates"].map(|directory| names::sources(&root().join(directory)));
    let sources: Vec<String> = sources.iter().flatten().map(|path| text(path)).collect();
    let mut places: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for source in &sources {
        for (name, _) in names::types(source) {
            places.entry(name).or_default().push(source);
        }
    }
    for span in in_backticks(&architecture) {
        if starts.iter().any(|start| span.starts_with(start)) {
            paths += 1;
            if !root().join(span).exists() {
                missing.push(span);
            }
        } else if let Some((name, member)) =
            type_and_member(span).filter(|(name, _)| !FOREIGN_NAMES.contains(name))
        {
            types += 1;
            let defined_in = places.get(name).map_or(&[][..], Vec::as_slice);
            // The methods of a type may be in several files.
            let has_member = |member: &str| {
                let function = format!("fn {member}");
                let mut others = sources.iter().filter(|source| has_word(source, &format!("impl {name}")));
                defined_in.iter().any(|source| has_word(source, member))
                    || others.any(|source| has_word(source, &function))
            };
            let is_there = !defined_in.is_empty() && member.is_none_or(has_member);
            if !is_there {
                missing.push(span);
            }
        }
    }
    assert!(missing.is_empty(), "docs/architecture.md names what is not there: {missing:#?}");
    assert!(paths > 40 && types > 60, "only {paths} paths and {types} types were found");
}

#[test]
fn types_and_members_are_found_in_backticks() {
    assert_eq!(type_and_member("Hub::join"), Some(("Hub", Some("join"))));
    assert_eq!(type_and_member("Sequencer"), Some(("Sequencer", None)));
    for span in ["GET", "lagging", "src/lib.rs", "Last-Event-ID", "control::heartbeat", "a Type"] {
        assert_eq!(type_and_member(span), None, "{span}");
    }
    assert!(has_word("fn join(self)", "fn join") && !has_word("fn join_all()", "fn join"));
}

#[test]
fn security_names_existing_tests() {
    let mut code = String::new();
    for directory in ["src", "crates", "tests"] {
        for path in files(&root().join(directory), ".rs") {
            code.push_str(&text(&path));
        }
    }
    let security = read("docs/security.md");
    let tests = column(section(&security, "## Threats, defences and tests"), 2);
    let tests: Vec<&String> = tests.iter().filter(|name| name.contains('_')).collect();
    assert!(tests.len() > 10, "{tests:?}");
    for test in tests {
        assert!(code.contains(&format!("fn {test}(")), "{test} is not a test");
    }
}
