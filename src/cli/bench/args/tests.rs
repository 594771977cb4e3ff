use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    args: BenchArgs,
}

fn plan(arguments: &str) -> Result<Plan, String> {
    let arguments = std::iter::once("bench").chain(arguments.split_whitespace());
    let command = Command::try_parse_from(arguments).map_err(|error| error.to_string())?;
    command.args.plan("http://127.0.0.1:8080/api").map_err(|failure| match failure {
        CommandFailure::Usage(message) => message,
        other => panic!("{other:?}"),
    })
}

#[test]
fn flags_make_a_plan() {
    let made =
        plan("--connections 10 --workspaces 3 --rate 0.5 --duration 1m --warm-up 500ms --slow 2").unwrap();
    assert_eq!((made.pace, made.way, made.workspaces.len()), (PublishPace::Rate(0.5), Way::Http, 3));
    assert_eq!((made.workspace_of(4), made.is_slow(7), made.is_slow(8)), (1, false, true));
    assert_eq!(made.readers(), [3, 3, 2]);
    let acme = WorkspaceId::parse("acme").unwrap();
    assert_eq!(
        (made.authority.as_str(), made.path.of(&acme).as_str()),
        ("127.0.0.1:8080", "/api/workspaces/acme/events")
    );
    assert_eq!(plan("--publish redis").unwrap().way, Way::RedisLive);
    assert_eq!(plan("--publish redis --durable").unwrap().way, Way::RedisDurable);
    let other = plan("--path /sub/{workspace} --publish-url http://h/{workspace} --in-flight 32").unwrap();
    assert_eq!(
        (other.pace, other.way, other.path.of(&acme)),
        (PublishPace::InFlight(32), Way::Url, "/api/sub/acme".to_owned())
    );
    assert_eq!(plan("--storm").unwrap().storm, Some(Return::AtOnce));
    assert_eq!(plan("--storm=retry --slow 1").unwrap().storm, Some(Return::Retry));
    assert_ne!(made.workspaces, plan("--workspaces 3").unwrap().workspaces, "each run has its own");
}

#[test]
fn impossible_load_is_rejected() {
    for (arguments, words) in [
        ("--connections 0", "--connections"),
        ("--connections 400001", "--connections"),
        ("--connections 5 --workspaces 6", "--workspaces"),
        ("--connections 10 --slow 10", "--slow has to be less"),
        ("--payload-bytes 100", "--payload-bytes"),
        ("--rate 0", "--rate"),
        ("--rate nan", "--rate"),
        ("--rate 1e9 --duration 1h", "--rate"),
        ("--duration 0s", "--duration"),
        ("--duration 25h", "a time up to 24h"),
        ("--duration=-1s", "a time up to 24h"),
        ("--live", "--publish redis"),
        ("--live --durable --publish redis", "cannot be used with"),
        ("--storm=sometime", "at-once"),
        ("--in-flight 0", "--in-flight"),
        ("--in-flight 10001", "--in-flight"),
        ("--in-flight 1 --rate 5", "cannot be used with"),
        ("--in-flight 1 --storm", "cannot be used with"),
        ("--path events/{workspace}", "a path such as"),
        ("--path /events", "need a place"),
        ("--publish-url http://host/pub", "need a place"),
        ("--publish-url /pub/{workspace}", "a URL such as"),
        ("--publish-url http://host/{workspace} --publish redis", "not on the bus"),
        ("--publish-url http://host/{workspace} --live", "--publish redis"),
    ] {
        let said = plan(arguments).unwrap_err();
        assert!(said.contains(words), "{arguments}: {said}");
    }
    let Err(CommandFailure::Usage(said)) = enough_files(usize::MAX / 2) else {
        panic!("so many are never allowed")
    };
    assert!(said.contains("ulimit -n"), "{said}");
}

#[test]
fn times_are_written_as_people_do() {
    for (text, milliseconds) in
        [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1m30s", 90_000), ("24h", 86_400_000)]
    {
        assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
    }
    for wrong in ["", "30", "-1s", "25h", "soon"] {
        assert!(duration(wrong).is_err(), "{wrong}");
    }
}
