//! The direction of imports between the parts of `src/http`, and the place of unit tests.

use std::fs;

use crate::names;
use crate::support::directory::repository;

/// Each part with the parts that it may import, and no others.
const IMPORTS: [(&str, &[&str]); 4] = [
    ("server", &["request", "response"]),
    ("api", &["request", "response"]),
    ("request", &["response"]),
    ("response", &[]),
];

/// The lines of unit tests that may be in the file that they test.
const INLINE_TESTS: usize = 60;

/// The modules behind `crate::` that a source names: `http::request` for a path in a part, the
/// first module for any other path. Comments and doc links do not count.
fn imported(source: &str) -> Vec<String> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let names = |rest: &str| {
        let mut names =
            rest.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').next().unwrap().split("::");
        match (names.next().unwrap(), names.next()) {
            ("http", Some(name)) => format!("http::{name}"),
            (name, _) => name.to_owned(),
        }
    };
    code.flat_map(|line| line.split("crate::").skip(1)).map(names).collect()
}

#[test]
fn each_part_of_http_imports_in_one_direction() {
    let (mut problems, mut found) = (Vec::new(), 0);
    for (part, allowed) in IMPORTS {
        for path in names::sources(&repository().join("src/http").join(part)) {
            let source = fs::read_to_string(&path).unwrap();
            if source.contains("super::super::") {
                problems.push(format!("{}: names another part by `super::super`", path.display()));
            }
            for import in imported(&source) {
                found += 1;
                let is_allowed =
                    import.strip_prefix("http::").is_some_and(|name| name == part || allowed.contains(&name));
                if !is_allowed {
                    problems.push(format!("{}: {import}", path.display()));
                }
            }
        }
    }
    assert!(problems.is_empty(), "imports against the direction of docs/architecture.md: {problems:#?}");
    assert!(found > 30, "{found} imports are too few to be all");
}

#[test]
fn no_two_parts_import_each_other() {
    let of = |part: &str| IMPORTS.iter().find(|(name, _)| *name == part).unwrap().1;
    for (part, allowed) in IMPORTS {
        assert!(allowed.iter().all(|other| !of(other).contains(&part)), "{part}");
    }
}

#[test]
fn imports_are_found_in_paths() {
    let source = "use crate::http::api::routes::A;\n//! [`crate::admin`]\nfn a() { crate::config::b() }\nuse crate::http::{C, d};\npub(in crate::http) e";
    assert_eq!(imported(source), ["http::api", "config", "http::", "http"]);
}

#[test]
fn long_unit_tests_have_a_file_of_their_own() {
    let (mut long, mut inline) = (Vec::new(), 0);
    for path in ["src", "crates"].iter().flat_map(|root| names::sources(&repository().join(root))) {
        let source = fs::read_to_string(&path).unwrap();
        let Some((_, tests)) = source.split_once("#[cfg(test)]\nmod tests {\n") else { continue };
        inline += 1;
        if tests.lines().count() > INLINE_TESTS {
            long.push(path.display().to_string());
        }
    }
    assert!(long.is_empty(), "move these tests into a file `tests.rs`: {long:#?}");
    assert!(inline > 20, "{inline} files are too few to be all");
}
