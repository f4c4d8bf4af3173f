//! Whom the client talks to.

use axum::Router;
use axum::routing::get;
use pg_tock_core::http::access::Denied;
use pg_tock_core::http::address::Reach;
use pg_tock_core::http::outcome::{Failure, Verdict};
use pg_tock_http::{Completion, Config, Event};

use crate::support::{Harness, Servers, config};

fn allowing(allow: &str, deny: &str) -> Config {
    let mut config = config();
    config.access.allow = allow.parse().unwrap();
    config.access.deny = deny.parse().unwrap();
    config
}

fn denied(done: &Completion) -> &str {
    let (failure, message) = done.failure.as_ref().unwrap();
    assert_eq!((*failure, done.verdict, done.sent), (Failure::Denied, Verdict::Final, false));
    message
}

fn app() -> Router {
    Router::new().route("/", get(|| async { "here" }))
}

#[test]
fn this_machine_is_refused_in_every_form() {
    let servers = Servers::new();
    let port = servers.http(app()).port();
    let mut harness = Harness::with_names(&allowing("", ""), &[&["127.0.0.1"]]);
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "localhost",
        "looks-public.example",
    ] {
        denied(&harness.get(&format!("http://{host}:{port}/")));
    }
    let message = denied(&harness.get(&format!("http://127.0.0.1:{port}/"))).to_owned();
    assert_eq!(
        message,
        "address 127.0.0.1 of host \"127.0.0.1\" is refused: loopback addresses are not allowed by cron.http_allow"
    );
}

#[test]
fn metadata_and_private_networks_are_refused() {
    let mut harness = Harness::with(&allowing("", ""));
    for host in [
        "169.254.169.254",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "[fe80::1]",
        "224.0.0.1",
        "[ff02::1]",
        "192.0.2.1",
    ] {
        denied(&harness.get(&format!("http://{host}/")));
    }
}

#[test]
fn allowed_hosts_and_networks_are_reached_and_deny_wins() {
    let servers = Servers::new();
    let url = format!("http://api.test:{}/", servers.http(app()).port());
    let reach =
        |allow, deny| Harness::with_names(&allowing(allow, deny), &[&["127.0.0.1"]]).get(&url);
    assert_eq!(reach("api.test", "").status, Some(200));
    assert_eq!(reach("*.test", "").status, Some(200));
    assert_eq!(reach("127.0.0.0/8", "").status, Some(200));
    denied(&reach("other.test, 10.0.0.0/8", ""));
    assert!(denied(&reach("api.test", "127.0.0.1")).ends_with("denied by cron.http_deny"));
    denied(&reach("127.0.0.0/8", "*.test"));
}

#[test]
fn a_name_that_changes_its_address_is_checked_again() {
    let servers = Servers::new();
    let port = servers.http(app()).port();
    // As in DNS rebinding: a look at the name finds a good address, the next one does not.
    let names: &[&[&str]] = &[&["127.0.0.1"], &["127.0.0.2"]];
    let mut harness = Harness::with_names(&allowing("127.0.0.1", ""), names);
    assert_eq!(harness.get(&format!("http://api.test:{port}/")).status, Some(200));
    // Forgets the connection, not the name.
    harness.client.configure(&allowing("127.0.0.1", "")).unwrap();
    let done = harness.get(&format!("http://api.test:{port}/"));
    assert!(denied(&done).starts_with("address 127.0.0.2"));
}

#[test]
fn of_several_addresses_only_allowed_ones_are_used() {
    let servers = Servers::new();
    let at = servers.http_at("127.0.0.1:0", app());
    let names: &[&[&str]] = &[&["169.254.169.254", "10.0.0.1", "127.0.0.1"]];
    let mut harness = Harness::with_names(&allowing("127.0.0.1", ""), names);
    let done = harness.get(&format!("http://api.test:{}/", at.port()));
    assert_eq!((done.status, done.remote), (Some(200), Some(at)));
}

#[test]
fn an_address_that_does_not_answer_does_not_keep_others_from_it() {
    let servers = Servers::new();
    let at = servers.http_at("127.0.0.1:0", app());
    let names: &[&[&str]] = &[&["::1", "127.0.0.7", "127.0.0.1"]];
    let mut harness = Harness::with_names(&config(), names);
    let done = harness.get(&format!("http://api.test:{}/", at.port()));
    assert_eq!((done.status, done.remote), (Some(200), Some(at)));
}

#[test]
fn names_that_do_not_exist() {
    let done = Harness::with_names(&config(), &[]).get("http://gone.test/");
    let (failure, message) = done.failure.unwrap();
    assert_eq!((failure, done.verdict, done.sent), (Failure::Dns, Verdict::Transient, false));
    assert_eq!(message, "could not resolve host \"gone.test\": no answer for gone.test");
    let done = Harness::with_names(&config(), &[&[]]).get("http://empty.test/");
    assert_eq!(done.message(), "could not resolve host \"empty.test\": it has no address");
}

#[test]
fn the_hosts_file_is_honoured() {
    let servers = Servers::new();
    let at = servers.http(app());
    let done = Harness::new().get(&format!("http://localhost:{}/", at.port()));
    assert_eq!(done.status, Some(200), "{done:?}");
}

#[test]
fn new_settings_hold_at_once() {
    let servers = Servers::new();
    let url = format!("http://{}/", servers.http(app()));
    let mut harness = Harness::new();
    assert_eq!(harness.get(&url).status, Some(200));
    harness.client.configure(&allowing("127.0.0.0/8", "127.0.0.1")).unwrap();
    // The connection of the first request was kept, and must not be used.
    denied(&harness.get(&url));
}

#[test]
fn a_look_says_what_would_be_reached_and_sends_nothing() {
    let names: &[&[&str]] = &[&["127.0.0.1", "8.8.8.8", "10.0.0.1"], &[]];
    let mut harness = Harness::with_names(&allowing("127.0.0.1", "8.8.8.8"), names);
    for id in [1, 2] {
        harness.client.inspect(id, "api.test");
        harness.wait_until(|events| events.len() == usize::try_from(id).unwrap());
    }
    let [
        Event::Inspected { id: 1, addresses: Ok(found) },
        Event::Inspected { id: 2, addresses: Err(reason) },
    ] = &harness.events[..]
    else {
        panic!("{:?}", harness.events)
    };
    let denied = |reach| Err(Denied::NotPublic(reach));
    let expected = [
        ("127.0.0.1", Ok(())),
        ("8.8.8.8", Err(Denied::Listed)),
        ("10.0.0.1", denied(Reach::Private)),
    ];
    assert_eq!(*found, expected.map(|(ip, result)| (ip.parse().unwrap(), result)));
    assert_eq!(reason, "could not resolve host \"api.test\": it has no address");
}
