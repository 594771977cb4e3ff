use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use super::*;

#[test]
fn the_kernels_tables_are_understood() {
    let line = "   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 512345 1 0";
    assert_eq!(listener(line), Some((8080, 512_345)));
    assert_eq!(listener(&line.replace(" 0A ", " 01 ")), None);
    assert_eq!(listener("  sl  local_address rem_address   st tx_queue rx_queue"), None);
    let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 100 1 1 1";
    assert_eq!((cpu(stat), parent(stat)), (Some(Duration::from_secs(2)), Some(1)));
    assert_eq!(field("Name:\tx\nVmRSS:\t    1234 kB\n", "VmRSS:"), Some(1234));
}

#[test]
fn the_process_that_listens_is_found_and_measured() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let processes = Processes::listening_on(listener.local_addr().unwrap()).unwrap();
    assert!(processes.pids().any(|pid| pid == std::process::id()), "{processes:?}");
    // A child that another test is about to start holds the socket too, until it runs its
    // program.
    let usage = || Processes::listening_on(listener.local_addr().unwrap()).ok()?.usage().ok();
    let usage = (0..1000).find_map(|_| usage()).unwrap();
    assert!(usage.memory.rss_kib > 1000 && usage.memory.pss_kib > 100, "{usage:?}");
    assert!(open_files_max().unwrap() > 100);
}

#[test]
fn children_and_theirs_belong_to_a_process() {
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 30 & echo $!; wait"]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let grandchild: u32 = line.trim().parse().unwrap();
    let family = Processes::family(std::process::id()).unwrap();
    let below = Processes::family(child.id()).unwrap();
    // It is the only one that would stay.
    Command::new("kill").arg(line.trim()).status().unwrap();
    child.wait().unwrap();
    assert_eq!(below.pids().collect::<BTreeSet<_>>(), BTreeSet::from([child.id(), grandchild]));
    let all: BTreeSet<u32> = family.pids().collect();
    assert!(all.contains(&std::process::id()) && below.pids().all(|pid| all.contains(&pid)), "{all:?}");
}

#[test]
fn missing_process_has_a_reason() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Processes::listening_on(free).unwrap_err();
    assert!(matches!(error, Unknown::Hidden(port) if port == free.port()), "{error}");
    // An address for documents (RFC 5737), which no host has.
    let error = Processes::listening_on("192.0.2.1:80".parse().unwrap()).unwrap_err();
    assert!(matches!(error, Unknown::Elsewhere), "{error}");
}

#[test]
fn connections_to_loopback_come_from_many_addresses() {
    let target = "127.0.0.1:8080".parse().unwrap();
    let sources: BTreeSet<_> = (0..100).map(|number| source_of(number, target).unwrap()).collect();
    assert!(sources.len() == 16 && sources.iter().all(IpAddr::is_loopback), "{sources:?}");
    assert_eq!(source_of(1, "192.0.2.1:80".parse().unwrap()), None);
    assert_eq!(source_of(1, "[::1]:80".parse().unwrap()), None);
}
