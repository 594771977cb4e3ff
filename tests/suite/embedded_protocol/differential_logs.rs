//! Logs through the commands of streams: the same bytes go to the embedded bus and to a real Redis
//! server. Both return the same values and the same codes of errors.

use super::differential::{PUBLISH_SCRIPT, Step, compare, compare_as, script};
use super::wire::{command, show, words};

/// Leaves the text of the script out. Ids that a server drew from its clock become numbers, in the
/// order in which they first appear.
fn without_clock(answers: Vec<String>) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    let mut normal = Vec::new();
    let shown = show(PUBLISH_SCRIPT.as_bytes());
    for answer in answers {
        let answer = answer.replace(&shown, "<script>");
        let mut text = String::new();
        let mut rest = answer.as_str();
        while let Some(at) = rest.find(|character: char| character.is_ascii_digit()) {
            text += &rest[..at];
            let id = |character: char| character.is_ascii_digit() || character == '-';
            let end = rest[at..].find(|character| !id(character)).map_or(rest.len(), |length| at + length);
            let word = &rest[at..end];
            if word.len() > 13 && word.contains('-') {
                let number = ids.iter().position(|known| known == word).unwrap_or_else(|| {
                    ids.push(word.to_owned());
                    ids.len() - 1
                });
                text = without_length(text);
                text += &format!("<id {number}>");
            } else {
                text += word;
            }
            rest = &rest[end..];
        }
        normal.push(text + rest);
    }
    normal
}

/// Drops the length of a text that ends with an id or an envelope. Its length depends on the clock
/// and the number of entries in its millisecond.
fn without_length(text: String) -> String {
    let Some((before, last)) = text.rsplit_once('$') else { return text };
    match last.split_once(' ') {
        Some((length, rest))
            if length.parse::<u32>().is_ok() && (rest.is_empty() || rest.starts_with("tidings/1 ")) =>
        {
            format!("{before}{rest}")
        }
        _ => text,
    }
}

#[tokio::test]
async fn entries_go_in_and_come_out() {
    compare(&script(
        "0 XADD k 5-1 data {}
         0 XADD k 5-2 a 1 b 2 a 3
         0 XADD k 7 data x
         0 XADD k 9-7 data x
         0 XADD k 3-3 data x
         0 XADD other 0-0 data x
         0 XADD other 0 data x
         0 XLEN other
         0 XLEN k
         0 XLEN
         0 XRANGE k - +
         0 XRANGE k 5 7
         0 XRANGE k 5-2 7-0
         0 XRANGE k 7 5
         0 XRANGE k - + COUNT 2
         0 XRANGE k - + count 99999
         0 XRANGE nothing - +
         0 XREVRANGE k + -
         0 XREVRANGE k + - COUNT 2
         0 XREVRANGE k 7 5
         0 XREVRANGE k - +
         0 XREVRANGE nothing + -",
    ))
    .await;
}

#[tokio::test]
async fn ids_and_bounds_that_are_none() {
    compare(&script(
        "0 XADD k
         0 XADD k *
         0 XADD k * a
         0 XADD k * a b c
         0 XADD k x a b
         0 XADD k - a b
         0 XADD k + a b
         0 XADD k 1-x a b
         0 XADD k 1- a b
         0 XADD k -1 a b
         0 XADD k 1-1-1 a b
         0 XADD k 18446744073709551616 a b
         0 XADD k 18446744073709551615-18446744073709551615 a b
         0 XADD k 18446744073709551615-18446744073709551615 a b
         0 XADD k * a b
         0 XRANGE k
         0 XRANGE k - + 5
         0 XRANGE k - + COUNT
         0 XRANGE k - + COUNT x
         0 XRANGE k - + NONSENSE 5
         0 XRANGE k x +
         0 XRANGE k - x
         0 XREVRANGE k x y",
    ))
    .await;
}

#[tokio::test]
async fn bounds_and_ends() {
    compare(&script(
        "0 XADD k MAXLEN 3 1-1 data 1
         0 XADD k MAXLEN = 3 1-2 data 2
         0 XADD k maxlen 3 1-3 data 3
         0 XADD k MAXLEN 3 1-4 data 4
         0 XRANGE k - +
         0 XADD k MAXLEN ~ 100 1-5 data 5
         0 XADD k MAXLEN 0 1-6 data 6
         0 XLEN k
         0 XADD k 1-6 data 6
         0 XADD k MAXLEN x 2-1 data x
         0 XADD k MAXLEN -1 2-1 data x
         0 XADD k MAXLEN 5
         0 XADD k MAXLEN 5 *
         0 XADD k MAXLEN 5 * data
         0 XADD k NONSENSE 9-9 data x
         0 XADD k 2-1 data x
         0 EXPIRE k
         0 EXPIRE k x
         0 EXPIRE k 1.5
         0 EXPIRE nothing 100
         0 EXPIRE k 100
         0 XADD k 2-2 data x
         0 EXPIRE k 0
         0 XLEN k
         0 XADD k 1-1 data again
         0 EXPIRE k -5
         0 XRANGE k - +
         0 XADD k 1-1 data 1
         0 XADD l 1-1 data 1
         0 DEL k k l nothing
         0 DEL
         0 XLEN l",
    ))
    .await;
}

/// Takes steps from lines as [`script`] does, but ` | ` separates the commands of a line. Inside a
/// transaction no request would show that it is over.
fn blocks(text: &str) -> Vec<Step> {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (client, line) = line.split_once(' ').unwrap();
            (client.parse().unwrap(), line.split(" | ").flat_map(words).collect())
        })
        .collect()
}

#[tokio::test]
async fn transactions() {
    compare(&blocks(
        "1 SUBSCRIBE k
         0 EXEC
         0 DISCARD
         0 MULTI | EXEC
         0 MULTI | XADD k MAXLEN ~ 1000 1-1 data {} | PUBLISH k one | XADD k 1-1 data x | EXEC
         1 PING
         0 MULTI | EXPIRE k 100 | XLEN k | PUBLISH k two | PUBLISH k three | PUBLISH l four | EXEC
         1 PING
         0 MULTI | XADD k 1-3 data x | DISCARD | EXEC
         0 XLEN k
         0 MULTI now
         0 MULTI | XLEN | XLEN k | EXEC
         0 MULTI | NONSENSE | XADD k 1-4 data x | EXEC
         0 MULTI | DEL k | XADD k 1-1 data again | XLEN k | EXEC
         0 MULTI | XADD k 1-5 data x | QUIT
         2 XLEN k",
    ))
    .await;
}

/// The recipe of plain commands, as the documents have it.
#[tokio::test]
async fn the_plain_recipe() {
    let recipe = [
        words("MULTI"),
        command(&["XADD", "workspace:acme", "MAXLEN", "~", "1000", "*", "data", r#"{"type":"x"}"#]),
        command(&["PUBLISH", "workspace:acme", ""]),
        words("EXPIRE workspace:acme 86400"),
        words("EXEC"),
    ];
    let steps = [
        (1, words("SUBSCRIBE workspace:acme")),
        (0, recipe.concat()),
        (1, words("PING")),
        (0, words("XRANGE workspace:acme - +")),
    ];
    compare_as(&steps, without_clock).await;
}

#[tokio::test]
async fn the_publish_script_and_its_function() {
    let hash = redis::Script::new(PUBLISH_SCRIPT).get_hash().to_owned();
    let call =
        |head: &[&str], arguments: &[&str]| (0, command(&[head, &["1", "workspace:a"], arguments].concat()));
    let eval = |arguments: &[&str]| call(&["EVAL", PUBLISH_SCRIPT], arguments);
    let function = |arguments: &[&str]| call(&["FCALL", "tidings_publish"], arguments);
    let traced = r#"{"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}"#.to_owned();
    let traced_to = traced.replace('}', r#","to":[["u1"],null]}"#);
    let mut steps: Vec<Step> = vec![
        (1, words("SUBSCRIBE workspace:a")),
        (0, command(&["SCRIPT", "LOAD", PUBLISH_SCRIPT])),
        (0, command(&["SCRIPT", "EXISTS", &hash, "abc"])),
        (0, command(&["EVALSHA", &hash, "1", "workspace:a", "by hash"])),
        (0, command(&["EVALSHA", &hash.to_uppercase(), "1", "workspace:a", "by hash"])),
        eval(&["by text"]),
        function(&["by name"]),
        (1, words("PING")),
        function(&["kept for a minute", "", "60"]),
        function(&["once", "", "", "key"]),
        function(&["twice", "", "", "key"]),
        eval(&["another", "", "", "other key"]),
        eval(&["one", "1000", "3600", "", "", "", "two", "three"]),
        eval(&["one", "", "", "batch", "", "", "two"]),
        eval(&["one", "", "", "batch", "", "", "two"]),
        eval(&["one", "", "", "batch"]),
        eval(&["for everybody", "", "", "", "", ""]),
        eval(&["traced", "", "", "", "", &traced]),
        eval(&["one", "", "", "", "", &traced_to, "two"]),
        function(&["invalid", "", "", "", "", r#"{"traceparent":"00-0-0-01"}"#]),
        function(&["no text", "", "", "", "", r#"{"traceparent":7}"#]),
        function(&["later version", "", "", "", "", &traced.replace("\"00-", "\"01-")]),
        (1, words("PING")),
        (0, words("XRANGE workspace:a - +")),
        (0, words("XLEN workspace:a")),
        (0, words("XADD workspace:a * somebody else")),
        eval(&["behind somebody else's"]),
        (1, words("PING")),
        (0, words("EVALSHA abc 0")),
        (0, words("FCALL nonsense 0")),
        (0, words("FCALL tidings_publish x")),
        (0, words("FCALL tidings_publish -1")),
        (0, words("FCALL tidings_publish 2 workspace:a")),
        (0, words("SCRIPT")),
        (0, words("SCRIPT EXISTS")),
    ];
    for keys in ["x", "-1", "2"] {
        steps.push((0, command(&["EVAL", PUBLISH_SCRIPT, keys, "workspace:a"])));
    }
    compare_as(&steps, without_clock).await;
}

/// Audiences: the accepted ones, their form in the log and in the announcement, and that no other
/// form is accepted.
#[tokio::test]
async fn audiences() {
    let many = |count: usize| serde_json::to_string(&vec!["u"; count]).unwrap();
    let long = |bytes: usize| serde_json::to_string(&["x".repeat(bytes)]).unwrap();
    let mut wide = serde_json::to_string(&["\"".repeat(256)]).unwrap();
    wide.insert(1, ' ');
    let (most, too_many, longest, too_long) = (many(1000), many(1001), long(256), long(257));
    let one = [
        r#"["u1"]"#,
        " [ \"u1\" ,\n\"u2\" ]\r\n",
        r#"["u1","u1"]"#,
        r#"[["u1"]]"#,
        &most,
        &longest,
        &wide,
        r#"["a\"b\\c\/d"]"#,
        r#"["\u00fc\u20ac\ud83d\ude00","ü€😀"]"#,
        "[\"\u{a0}\u{7ff}\u{800}\u{ffff}\u{10ffff}\"]",
        "",
        "[]",
        "{}",
        "null",
        "[null]",
        "[[null]]",
        "[[]]",
        "\"u1\"",
        "u1",
        "1",
        "true",
        "[1]",
        "[true]",
        "[{}]",
        r#"["u1",null]"#,
        r#"["u1",1]"#,
        r#"[["u1"],["u2"]]"#,
        r#"["u1"] x"#,
        r#"["u1""#,
        r#"{"1":"u1"}"#,
        r#"{"to":["u1"]}"#,
        r#"{"traceparent":"x","To":["u1"]}"#,
        r#"{"traceparent":"x","to":null}"#,
        r#"{"traceparent":"x","to":[]}"#,
        r#"{"traceparent":"x","to":["u1"]}"#,
        r#"{"traceparent":"x"}"#,
        r#"[""]"#,
        &too_many,
        &too_long,
        r#"["a\nb"]"#,
        r#"["\u0000"]"#,
        r#"["\u007f"]"#,
        r#"["\u0085"]"#,
        "[\"\u{9f}\"]",
        r#"["\ud800"]"#,
        "[\"a\0\"]",
        "[\"u1\"]\0",
    ];
    let several = [
        r#"["u1","u2"]"#,
        r#"["u1","u2","u3"]"#,
        r#"[["u1"],null,["u2","u3"]]"#,
        r#"[null,null,["u1"]]"#,
        "[null,null,null]",
        r#"[["u1"],null]"#,
        r#"[["u1"],null,null,null]"#,
        r#"[["u1"],[],null]"#,
        r#"[["u1"],"u2",null]"#,
        r#"[["u1"],[null],null]"#,
        r#"[["u1"],1,null]"#,
        r#"[["u1"],false,null]"#,
    ];
    let eval = |to: &[u8], rest: &[&str]| {
        let mut words: Vec<&[u8]> = [
            &["EVAL", PUBLISH_SCRIPT, "1", "workspace:a", "x", "", "", "", ""].map(str::as_bytes)[..],
            &[to],
        ]
        .concat();
        words.extend(rest.iter().map(|word| word.as_bytes()));
        (0, command(&words))
    };
    let mut steps = vec![(1, words("SUBSCRIBE workspace:a"))];
    steps.extend(one.iter().map(|to| eval(to.as_bytes(), &[])));
    steps.extend(several.iter().map(|to| eval(to.as_bytes(), &["y", "z"])));
    // Bytes that are no UTF-8: truncated, overlong, of surrogates, beyond the last character.
    for id in [
        &b"\xff"[..],
        b"\xe2\x82",
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\xc2\xa0\x82\xac",
    ] {
        steps.push(eval(&[b"[\"", id, b"\"]"].concat(), &[]));
    }
    // One audience for many events counts with each of them.
    let payloads = vec!["y"; 99];
    steps.push(eval(serde_json::to_string(&vec!["x".repeat(200); 900]).unwrap().as_bytes(), &payloads));
    steps.push((1, words("PING")));
    steps.push((0, words("XRANGE workspace:a - +")));
    // With the key of a publication that was made, nothing is published either way.
    for to in [r#"["u1"]"#, r#"["u2"]"#, "[]"] {
        steps
            .push((0, command(&["EVAL", PUBLISH_SCRIPT, "1", "workspace:a", "once", "", "", "key", "", to])));
    }
    steps.push((0, words("XREVRANGE workspace:a + - COUNT 2")));
    compare_as(&steps, without_clock).await;
}

#[tokio::test]
async fn a_log_bounded_in_bytes() {
    let mut steps = Vec::new();
    for (payload, bytes) in
        [("12345", "9"), ("12345", "9"), ("12345", "5"), (&"x".repeat(20), "10"), ("1", "10")]
    {
        let publish = ["EVAL", PUBLISH_SCRIPT, "1", "workspace:a", payload, "", "", "", bytes];
        steps.push((0, command(&publish)));
        steps.push((0, words("XRANGE workspace:a - +")));
    }
    compare_as(&steps, without_clock).await;
}

#[tokio::test]
async fn pipelines_are_answered_in_order() {
    let add = |number: usize| words(&format!("XADD k {number}-1 data {number}"));
    let many: Vec<u8> = (1..=500).flat_map(add).collect();
    let mixed = [
        add(501),
        words("PING"),
        add(502),
        words("XADD k 1-1 data x"),
        words("XADD k x data x"),
        words("PUBLISH k x"),
        words("XLEN k"),
        words("XLEN"),
        words("MULTI"),
        add(503),
        words("XLEN k"),
        words("EXEC"),
        words("ECHO last"),
    ];
    compare(&[
        (1, words("SUBSCRIBE k")),
        (0, many),
        (0, mixed.concat()),
        (1, words("PING")),
        (2, words("XRANGE k 250 + COUNT 20")),
        (2, [add(600), words("QUIT"), add(601)].concat()),
    ])
    .await;
}

/// Random work: the results are those of Redis.
#[tokio::test]
async fn random_work() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut steps = Vec::new();
    for _ in 0..40 {
        let mut pipeline = Vec::new();
        for _ in 0..25 {
            let id = |random: &mut fastrand::Rng| match random.u8(..10) {
                0 => "-".to_owned(),
                1 => "+".to_owned(),
                2 => format!("{}", random.u8(..40)),
                _ => format!("{}-{}", random.u8(..40), random.u8(..4)),
            };
            let key = ["a", "b", "c"][random.usize(..3)];
            let line = match random.u8(..10) {
                0..4 => format!("XADD {key} {}-{} data x", random.u8(..40), random.u8(..4)),
                4 => format!("XADD {key} {} data x", id(&mut random)),
                5 => format!("XADD {key} MAXLEN {} {} data x", random.u8(..9), id(&mut random)),
                6 => {
                    format!("XRANGE {key} {} {} COUNT {}", id(&mut random), id(&mut random), random.u8(1..9))
                }
                7 => format!("XREVRANGE {key} {} {}", id(&mut random), id(&mut random)),
                8 => format!("XLEN {key}"),
                _ if random.bool() => format!("EXPIRE {key} 100"),
                _ => format!("DEL {key}"),
            };
            pipeline.extend(words(&line));
        }
        steps.push((0, pipeline));
    }
    compare(&steps).await;
}
