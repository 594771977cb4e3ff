use super::*;
use proptest::prelude::*;

fn user(id: &str) -> UserKey {
    UserId::parse(id).unwrap().key()
}

#[test]
fn only_named_users_are_in_an_audience() {
    let audience = Audience::parse(br#" [ "u2", "u1","u2", "\u00fc" ] "#).unwrap();
    assert_eq!(audience.as_json(), r#"["u2","u1","u2","ü"]"#);
    assert!(["u1", "u2", "ü"].iter().all(|id| audience.contains(user(id))));
    assert!(["u", "u3", "U1", "u1 "].iter().all(|id| !audience.contains(user(id))));
}

#[test]
fn text_of_another_form_is_rejected() {
    let many = serde_json::to_string(&vec!["u"; USERS_MAX + 1]).unwrap();
    let long = serde_json::to_string(&["x".repeat(257)]).unwrap();
    let blanks = format!("[\"u\"{}]", " ".repeat(TEXT_BYTES_MAX));
    for json in [
        "",
        "[]",
        "{}",
        "null",
        "\"u\"",
        "u",
        "[\"\"]",
        "[null]",
        "[1]",
        "[\"u\",null]",
        "[[\"u\"]]",
        "[\"u\"",
        "[\"u\"] x",
        "[\"a\\nb\"]",
        "[\"\\ud800\"]",
        &many,
        &long,
        &blanks,
    ] {
        assert_eq!(Audience::parse(json.as_bytes()), Err(AudienceError), "{json:.50}");
    }
    assert_eq!(Audience::parse(b"[\"\xff\"]"), Err(AudienceError));
    let longest = vec!["\"".repeat(256); USERS_MAX];
    let longest = Audience::new(&longest).unwrap();
    assert_eq!(longest.as_json().len(), TEXT_BYTES_MAX);
    assert!(Audience::parse(longest.as_json().as_bytes()).is_ok());
}

/// A batch has one audience for all events or one for each; another count is an error.
#[test]
fn events_share_an_audience_or_have_their_own() {
    let json = |each: Vec<Option<Arc<Audience>>>| -> Vec<String> {
        each.iter().map(|one| one.as_ref().map_or("all".to_owned(), |one| one.as_json().to_owned())).collect()
    };
    assert_eq!(json(parse_each(br#"["a","b"]"#, 2).unwrap()), [r#"["a","b"]"#; 2]);
    assert_eq!(json(parse_each(br#"[["a"],null]"#, 2).unwrap()), [r#"["a"]"#, "all"]);
    assert_eq!(json(parse_each(br#"[["a"]]"#, 1).unwrap()), [r#"["a"]"#]);
    for (text, events) in [
        ("[null]", 1),
        ("[null,null]", 2),
        ("null", 1),
        ("[[\"a\"],null]", 1),
        ("[[\"a\"],null]", 3),
        ("[[\"a\"],[]]", 2),
        ("[[\"a\"],\"b\"]", 2),
        ("", 1),
    ] {
        assert_eq!(parse_each(text.as_bytes(), events), Err(AudienceError), "{text}");
    }
}

proptest! {
    #[test]
    fn audience_survives_its_text_form(ids in proptest::collection::vec("[^\\p{Cc}]{1,20}", 1..20)) {
        let audience = Audience::new(&ids).unwrap();
        prop_assert!(!audience.as_json().contains('\n'));
        prop_assert_eq!(Audience::parse(audience.as_json().as_bytes()), Ok(audience));
    }

    #[test]
    fn any_bytes_parse_or_are_rejected(json: Vec<u8>, events in 0usize..4) {
        let _ = Audience::parse(&json);
        let _ = parse_each(&json, events);
    }
}
