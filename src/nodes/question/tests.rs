use proptest::prelude::*;

use super::*;

fn subjects() -> Vec<QuestionSubject> {
    let (workspace, event) = (WorkspaceId::parse("acme").unwrap(), "5-0~abcdefgh.1".parse().unwrap());
    vec![
        QuestionSubject::Nodes,
        QuestionSubject::Find { event },
        QuestionSubject::Trace { workspace: workspace.clone(), event },
        QuestionSubject::Explain {
            workspace: workspace.clone(),
            user: UserId::parse("ann").ok(),
            token: TokenId::parse("t1").ok(),
            after: Some("any \"text\"".to_owned()),
        },
        QuestionSubject::Explain { workspace, user: None, token: None, after: None },
    ]
}

#[test]
fn question_survives_its_message() {
    for subject in subjects() {
        let question = NodeQuestion::new(subject);
        let message = question.message();
        assert!(NodeQuestion::is_question(&message), "{message:?}");
        assert_eq!(NodeQuestion::parse(&message), Ok(question));
    }
}

#[test]
fn disconnect_is_no_question() {
    assert!(!NodeQuestion::is_question(br#"{"disconnect":{"user":"u1"}}"#));
}

#[test]
fn message_of_another_form_is_rejected() {
    let id = "abcdefghijklmnop";
    let form = |text: &str| NodeQuestion::parse(text.replace("ID", id).as_bytes());
    assert!(matches!(form("{"), Err(QuestionError::Form(_))));
    assert!(matches!(form(r#"{"ask":{"id":"ID","other":{}}}"#), Err(QuestionError::Form(_))));
    assert!(matches!(form(r#"{"ask":{"id":"ID","nodes":{"x":1}}}"#), Err(QuestionError::Form(_))));
    assert_eq!(form(r#"{"ask":{"id":"ID"}}"#), Err(QuestionError::Subject));
    let both = r#"{"ask":{"id":"ID","nodes":{},"find":{"event":"1-0"}}}"#;
    assert_eq!(form(both), Err(QuestionError::Subject));
    assert_eq!(form(r#"{"ask":{"id":"short","nodes":{}}}"#), Err(QuestionError::Value("id")));
    assert_eq!(form(r#"{"ask":{"id":"ID","find":{"event":"x"}}}"#), Err(QuestionError::Value("event")));
    let blank = r#"{"ask":{"id":"ID","trace":{"workspace":"a b","event":"1-0"}}}"#;
    assert_eq!(form(blank), Err(QuestionError::Value("workspace")));
    let user = r#"{"ask":{"id":"ID","explain":{"workspace":"a","user":""}}}"#;
    assert_eq!(form(user), Err(QuestionError::Value("user")));
    let after =
        format!(r#"{{"ask":{{"id":"ID","explain":{{"workspace":"a","after":"{}"}}}}}}"#, "x".repeat(129));
    assert_eq!(form(&after), Err(QuestionError::Value("after")));
    assert_eq!(NodeQuestion::parse(&[b' '; BYTES_MAX + 1]), Err(QuestionError::TooLong));
}

#[test]
fn long_texts_of_a_client_are_cut() {
    let workspace = WorkspaceId::parse(&"w".repeat(128)).unwrap();
    let user = UserId::parse(&"u".repeat(256)).ok();
    let after = Some("ü".repeat(1000));
    let question = NodeQuestion::new(QuestionSubject::Explain {
        workspace,
        user,
        token: TokenId::parse("t").ok(),
        after,
    });
    assert!(NodeQuestion::parse(&question.message()).is_ok());
}

proptest! {
    #[test]
    fn any_bytes_are_a_question_or_an_error(bytes: Vec<u8>) {
        let _ = NodeQuestion::parse(&bytes);
        let _ = NodeQuestion::parse(&[PREFIX, &bytes].concat());
    }
}
