//! The sum of the bounds, and the limits of control groups.

use super::*;
use crate::config::Sources;

fn config(settings: &[(&str, &str)]) -> Config {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let sources = Sources { environment: settings.iter().map(pair).collect(), ..Sources::default() };
    sources.load().unwrap().config
}

#[test]
fn sum_grows_with_each_bound() {
    let before = configured(&config(&[]));
    for key in [
        "LIMITS__RING_BYTES",
        "LIMITS__REPLAY_BYTES",
        "LIMITS__UNSENT_BYTES",
        "LIMITS__BODY_BYTES",
        "EMBEDDED__LOG_BYTES",
    ] {
        let name = format!("TIDINGS__{key}");
        let more = configured(&config(&[(&name, "4000000000")]));
        assert!(more > before + 2_000_000_000, "{key}");
    }
    let more = configured(&config(&[("TIDINGS__LIMITS__CONNECTIONS", "100000")]));
    assert_eq!(more, before + 84_000 * CONNECTION_BYTES);
    let more = configured(&config(&[("TIDINGS__LIMITS__EVENT_BYTES", "400000")]));
    let less = configured(&config(&[("TIDINGS__LIMITS__EVENT_BYTES", "300000")]));
    assert_eq!(more - less, CONSOLE_READS_MAX * 100_000);
    let redis = ("TIDINGS__REDIS__URL", "redis://host");
    let before = configured(&config(&[redis]));
    let more = configured(&config(&[redis, ("TIDINGS__REDIS__REPLY_BYTES", "133554432")]));
    assert_eq!(more, before + 200_000_000);
}

#[test]
fn memory_is_the_least_of_machine_and_groups() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    assert_eq!(available(root.path()), None);
    write("proc/meminfo", "MemTotal:        2048 kB\nMemFree: 1 kB\n");
    assert_eq!(available(root.path()), Some(2048 * 1024));
    write("proc/self/cgroup", "5:cpu:/x\n4:memory:/y\n0::/pods/one\n");
    write("sys/fs/cgroup/pods/one/memory.max", "max\n");
    assert_eq!(available(root.path()), Some(2048 * 1024));
    write("sys/fs/cgroup/pods/memory.max", "1000000\n");
    assert_eq!(available(root.path()), Some(1_000_000));
    write("sys/fs/cgroup/memory/y/memory.limit_in_bytes", "500000\n");
    assert_eq!(available(root.path()), Some(500_000));
}

/// A container without a namespace of control groups has the path of the host, and the files of
/// its own group at the root.
#[test]
fn limit_of_version_1_is_read_in_a_container() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("proc/meminfo", "MemTotal:        2048 kB\n");
    write("proc/self/cgroup", "3:cpu,cpuacct:/docker/1\n2:memory,hugetlb:/docker/1\n");
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_eq!(available(root.path()), Some(2048 * 1024), "no limit");
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "700000\n");
    assert_eq!(available(root.path()), Some(700_000));
}
