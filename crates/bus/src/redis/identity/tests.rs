use super::*;

fn identity(mode: &str, role: &str) -> ServerIdentity {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ServerIdentity { mode: text(mode), role: text(role), ..ServerIdentity::default() }
}

#[test]
fn only_servers_that_report_it_are_unfit() {
    for (mode, role, unfit) in [
        ("standalone", "master", None),
        ("standalone", "active-replica", None),
        ("", "", None),
        ("standalone", "replica", Some(Unfit::Replica)),
        ("", "slave", Some(Unfit::Replica)),
        ("cluster", "master", Some(Unfit::ClusterNode)),
        ("cluster", "replica", Some(Unfit::ClusterNode)),
        ("sentinel", "", Some(Unfit::Sentinel)),
    ] {
        assert_eq!(identity(mode, role).unfit(), unfit, "{mode} {role}");
    }
}

#[test]
fn servers_before_redis_6_2_are_unfit() {
    for (server, old) in [
        ("redis 6.0.16", true),
        ("redis 5.0.14", true),
        ("redis 6.2.0", false),
        ("redis 7.0.15", false),
        ("redis 255.255.255", false),
        ("valkey 8.1.8", false),
        ("redis unstable", false),
    ] {
        let identity = ServerIdentity { server: Some(server.to_owned()), ..ServerIdentity::default() };
        assert_eq!(identity.unfit(), old.then_some(Unfit::Old), "{server}");
    }
}

#[test]
fn servers_differ_by_run_id_or_by_replication_id() {
    let server = |run_id: Option<&str>, replication_id: Option<&str>| ServerIdentity {
        run_id: run_id.map(str::to_owned),
        replication_id: replication_id.map(str::to_owned),
        ..ServerIdentity::default()
    };
    let differ = |one: ServerIdentity, other: ServerIdentity| one.differs_from(&other);
    assert!(differ(server(Some("a"), Some("x")), server(Some("b"), Some("x"))));
    assert!(!differ(server(Some("a"), Some("x")), server(Some("a"), Some("y"))), "promoted in between");
    assert!(differ(server(None, Some("x")), server(Some("b"), Some("y"))));
    assert!(!differ(server(None, None), server(Some("b"), Some("y"))));
}

#[test]
fn field_of_info_needs_its_whole_name() {
    let text = "# Server\r\nrun_id_x:no\r\nrun_id:abc\r\nmaster_replid:\r\n";
    assert_eq!(field(text, "run_id").as_deref(), Some("abc"));
    assert_eq!(field(text, "master_replid"), None);
}
