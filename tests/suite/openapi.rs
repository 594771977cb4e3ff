//! Compares `docs/openapi.json` with the program. `scripts/test-openapi` compares the responses.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use serde_json::Value;

use crate::documents;
use crate::support::directory::repository;
use crate::support::{Broker, BrokerOptions, http as client};
use tidings::admin::ADMIN_PATHS;
use tidings::http::{ID_PARAMETERS, PublicRoute, PublishParameter, ROUTES, StreamParameter, StreamQuery};
use tidings_bus::{EVENTS_MAX, IdempotencyKey};
use tidings_event::control::{ReconnectReason, ResetReason};
use tidings_event::position::POSITION_BYTES_MAX;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{Audience, UserId};

/// All methods that a path of OpenAPI can have.
const METHODS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"];

/// The problems of requests that belong to no operation.
const OUTSIDE: [&str; 1] = ["method-not-allowed"];

fn file(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap()
}

fn document() -> Value {
    serde_json::from_str(&file("docs/openapi.json")).unwrap()
}

/// The object that a value is, or to which it refers.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).expect(reference),
        None => value,
    }
}

/// The operations of a document, by path and method.
fn operations(document: &Value) -> BTreeMap<(String, String), &Value> {
    let mut found = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            if let Some(operation) = item.get(method.to_lowercase()) {
                found.insert((path.clone(), method.to_owned()), operation);
            }
        }
    }
    found
}

/// The names of the parameters of an operation in a place, such as `query`.
fn parameters(document: &Value, operation: &Value, place: &str) -> BTreeSet<String> {
    let listed = operation["parameters"].as_array().into_iter().flatten();
    let all = listed.map(|parameter| resolved(document, parameter));
    all.filter(|parameter| parameter["in"] == place)
        .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
        .collect()
}

/// The texts in a list.
fn texts(list: &Value) -> BTreeSet<String> {
    list.as_array().expect("a list").iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Each object in a value that has a member of this name.
fn holders<'a>(value: &'a Value, name: &str) -> Vec<&'a Value> {
    let own = value.get(name).map(|_| value).into_iter();
    let below: Vec<&Value> = match value {
        Value::Object(members) => members.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    own.chain(below.into_iter().flat_map(|value| holders(value, name))).collect()
}

fn number(document: &Value, pointer: &str) -> usize {
    let number = document.pointer(pointer).and_then(Value::as_u64);
    usize::try_from(number.unwrap_or_else(|| panic!("no number at {pointer}"))).unwrap()
}

#[test]
fn openapi_has_the_paths_and_methods_of_both_listeners() {
    let document = document();
    let mut served = BTreeSet::new();
    for PublicRoute { path, allow } in ROUTES {
        served.extend(allow.split(", ").map(|method| (path.to_owned(), method.to_owned())));
    }
    for path in ADMIN_PATHS {
        served.extend(["GET", "HEAD"].map(|method| (format!("/{path}"), method.to_owned())));
    }
    assert_eq!(operations(&document).into_keys().collect::<BTreeSet<_>>(), served);
}

#[test]
fn openapi_has_the_query_parameters_that_the_program_reads() {
    let document = document();
    let stream = StreamParameter::ALL.map(StreamParameter::as_str).into_iter().chain(ID_PARAMETERS);
    let stream: BTreeSet<String> = stream.map(str::to_owned).collect();
    let publication: BTreeSet<String> =
        PublishParameter::ALL.map(PublishParameter::as_str).into_iter().map(str::to_owned).collect();
    let mut checked = 0;
    for ((path, method), operation) in operations(&document) {
        let expected = match (path.rsplit('/').next().unwrap(), method.as_str()) {
            ("events", "POST") => publication.clone(),
            ("events" | "access" | "position", "GET" | "HEAD") => stream.clone(),
            _ => BTreeSet::new(),
        };
        checked += expected.len();
        assert_eq!(parameters(&document, operation, "query"), expected, "{method} {path}");
    }
    assert_eq!(checked, 6 * 10 + 2);
}

/// The problems in the document, each with its status, below a value.
fn problems_below(document: &Value, responses: &Value) -> BTreeSet<(u16, String)> {
    let mut found = BTreeSet::new();
    for (status, response) in responses.as_object().unwrap() {
        let response = resolved(document, response);
        let schema = &response["content"]["application/problem+json"]["schema"];
        if schema.is_null() {
            continue;
        }
        let status: u16 = status.parse().unwrap();
        assert_eq!(schema["properties"]["status"]["const"], status, "{response}");
        for kind in texts(&schema["properties"]["type"]["enum"]) {
            found.insert((status, kind.strip_prefix("urn:tidings:problem:").unwrap().to_owned()));
        }
    }
    found
}

/// The number of a status by the name of its constant.
fn status(name: &str) -> u16 {
    let found = (100..600).filter_map(|number| StatusCode::from_u16(number).ok()).find(|status| {
        let reason = status.canonical_reason().unwrap_or_default();
        reason.to_uppercase().replace([' ', '-'], "_") == name
    });
    found.unwrap_or_else(|| panic!("no status {name}")).as_u16()
}

#[test]
fn openapi_has_every_problem_type_with_its_status() {
    let document = document();
    let thrown: BTreeSet<(u16, String)> =
        documents::problems_of_the_api().into_iter().map(|(name, kind)| (status(&name), kind)).collect();

    let listed = document["components"]["schemas"]["ProblemType"]["oneOf"].as_array().unwrap();
    let listed: BTreeSet<(u16, String)> = listed
        .iter()
        .map(|kind| {
            let name = kind["const"].as_str().unwrap().strip_prefix("urn:tidings:problem:").unwrap();
            (kind["x-status"].as_u64().unwrap().try_into().unwrap(), name.to_owned())
        })
        .collect();
    assert_eq!(listed, thrown);

    let mut returned: BTreeSet<(u16, String)> = OUTSIDE.map(|kind| (405, kind.to_owned())).into();
    for operation in operations(&document).into_values() {
        returned.extend(problems_below(&document, &operation["responses"]));
    }
    assert_eq!(returned, thrown);
}

#[test]
fn openapi_has_every_check_and_reason() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    assert_eq!(texts(&schemas["Check"]["enum"]), documents::checks());
    let resets = ResetReason::ALL.map(|reason| reason.as_str().to_owned());
    assert_eq!(texts(&schemas["Reset"]["properties"]["reason"]["enum"]), resets.into());
    let reconnects = ReconnectReason::ALL.map(|reason| reason.as_str().to_owned());
    assert_eq!(texts(&schemas["Reconnect"]["properties"]["reason"]["enum"]), reconnects.into());

    let events = file("crates/event/src/control.rs");
    let names = events.split("\"tidings.").skip(1).filter_map(|rest| rest.split('"').next());
    let conditions = schemas["StreamEvent"]["allOf"].as_array().unwrap().iter();
    let described: BTreeSet<&str> = conditions
        .map(|one| one["if"]["properties"]["event"]["const"].as_str().unwrap())
        .map(|name| name.strip_prefix("tidings.").unwrap())
        .collect();
    assert_eq!(described, names.collect());
}

/// Each bound is accepted, and one more is not.
#[test]
fn openapi_has_the_bounds_of_the_program() {
    let document = document();
    let at = |pointer: &str| number(&document, &format!("/components{pointer}"));
    let text = |length: usize| "x".repeat(length);
    let types = |count: usize, length: usize| {
        let query = format!("types={}", vec![text(length); count].join(","));
        StreamQuery::parse(&query, false, 1).is_ok()
    };
    let (count, length) =
        (at("/parameters/Types/schema/maxItems"), at("/parameters/Types/schema/items/maxLength"));
    assert!(types(count, length) && !types(count + 1, 1) && !types(1, length + 1));

    let newest = at("/parameters/Last/schema/maximum");
    let last = |count: usize| StreamQuery::parse(&format!("last={count}"), false, newest).is_ok();
    assert!(last(newest) && !last(newest + 1) && !last(0));

    let id = at("/schemas/WorkspaceId/maxLength");
    assert!(WorkspaceId::parse(&text(id)).is_ok() && WorkspaceId::parse(&text(id + 1)).is_err());
    let user = at("/schemas/UserId/maxLength");
    assert!(UserId::parse(&text(user)).is_ok() && UserId::parse(&text(user + 1)).is_err());
    let users = at("/schemas/Envelope/properties/to/maxItems");
    let audience = |count: usize| Audience::new(&vec!["u"; count]).is_ok();
    assert!(audience(users) && !audience(users + 1));

    let key = &document["components"]["parameters"]["IdempotencyKey"]["schema"]["pattern"];
    assert_eq!(key, r#"^("[!-~]{1,128}"|[!#-~][!-~]{0,127})$"#);
    assert!(IdempotencyKey::parse(&text(128)).is_ok() && IdempotencyKey::parse(&text(129)).is_err());

    assert_eq!(at("/schemas/PublishedBatch/properties/ids/maxItems"), EVENTS_MAX);
    assert_eq!(at("/schemas/Position/maxLength"), POSITION_BYTES_MAX);
}

/// The value of a setting in `config/default.toml`.
fn default_of(setting: &str) -> usize {
    let (section, key) = setting.rsplit_once('.').unwrap();
    let defaults = file("config/default.toml");
    let (_, behind) = defaults.split_once(&format!("\n[{section}]\n")).expect(section);
    let mut lines = behind.lines().take_while(|line| !line.starts_with('['));
    let value = lines.find_map(|line| line.strip_prefix(&format!("{key} = "))).expect(setting);
    value.parse().unwrap()
}

#[test]
fn openapi_has_the_defaults_of_settings() {
    let document = document();
    let bounded = holders(&document, "x-setting");
    assert!(bounded.len() >= 3, "{bounded:?}");
    for schema in bounded {
        let bound = schema.get("maximum").or(schema.get("maxLength")).expect("a bound");
        assert_eq!(*bound, default_of(schema["x-setting"].as_str().unwrap()), "{schema}");
    }
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    for (server, key) in [("/servers/0", "server"), ("/paths/~1live/servers/0", "admin")] {
        let origin = &document.pointer(server).unwrap()["variables"]["origin"]["default"];
        let defaults = file("config/default.toml");
        let (_, behind) = defaults.split_once(&format!("\n[{key}]\n")).unwrap();
        let listen = behind.lines().find_map(|line| line.strip_prefix("listen = ")).unwrap();
        assert_eq!(*origin, format!("http://{}", listen.trim_matches('"')));
    }
    assert!(document["servers"][0]["url"].as_str().unwrap().ends_with("/api"));
    assert!(file("config/default.toml").contains("base_path = \"/api\""));
}

#[test]
fn openapi_references_lead_to_its_components() {
    let document = document();
    let mut named = BTreeSet::new();
    for holder in holders(&document, "$ref") {
        resolved(&document, holder);
        named.insert(holder["$ref"].as_str().unwrap().to_owned());
    }
    // A schema in words, and a response that every path has.
    named.extend(
        ["#/components/schemas/Connected", "#/components/responses/MethodNotAllowed"].map(String::from),
    );
    for (kind, components) in document["components"].as_object().unwrap() {
        for name in components.as_object().unwrap().keys().filter(|_| kind != "securitySchemes") {
            let reference = format!("#/components/{kind}/{name}");
            assert!(named.contains(&reference), "nothing refers to {reference}");
        }
    }
    let operations = operations(&document);
    let ids: BTreeSet<&str> =
        operations.values().map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), operations.len(), "an id of an operation is there twice");
    for link in holders(&document["paths"], "operationId") {
        assert!(ids.contains(link["operationId"].as_str().unwrap()), "{link}");
    }
}

/// A method that the document has gets another status than 405, and each other method gets it.
#[tokio::test]
async fn broker_has_the_methods_of_openapi_and_no_others() {
    let broker = Broker::start(BrokerOptions::embedded()).await;
    let document = document();
    let operations = operations(&document);
    let paths: BTreeSet<&String> = operations.keys().map(|(path, _)| path).collect();
    for path in paths {
        let is_admin = document["paths"][path].get("servers").is_some();
        let (address, base) = if is_admin { (broker.admin(), "") } else { (broker.address(), "/api") };
        let target = format!("{base}{}", path.replace("{workspace}", "acme"));
        let documented = |method: &str| operations.contains_key(&(path.clone(), method.to_owned()));
        for method in METHODS {
            // A stream has no end, and this request is rejected before it begins.
            let headers = [("accept", "application/json")];
            let response = client::request(address, method, &target, &headers, "").await;
            assert_eq!(response.status != 405, documented(method), "{method} {target}");
            if response.status == 405 {
                let allowed: BTreeSet<&str> = response.header("allow").split(", ").collect();
                assert_eq!(allowed, METHODS.into_iter().filter(|method| documented(method)).collect());
            }
        }
    }
}

#[tokio::test]
async fn admin_listener_serves_openapi_with_the_settings_of_the_node() {
    let broker = Broker::start(BrokerOptions::embedded()).await;
    let served = client::get(broker.admin(), "/openapi.json").await;
    assert_eq!(served.header("content-type"), "application/json");
    let mut expected = document();
    expected["servers"][0]["variables"]["origin"]["default"] = format!("http://{}", broker.address()).into();
    for path in ADMIN_PATHS {
        expected["paths"][format!("/{path}")]["servers"][0]["variables"]["origin"]["default"] =
            format!("http://{}", broker.admin()).into();
    }
    assert_eq!(served.json(), expected, "only the addresses differ without settings");

    let options = BrokerOptions::embedded()
        .set("server.base_path", "/live")
        .set("limits.event_bytes", 4001)
        .set("limits.batch_bytes", 5002)
        .set("replay.newest_max", 17);
    let broker = Broker::start(options).await;
    let served = client::get(broker.admin(), "/openapi.json").await.json();
    assert_eq!(served["servers"][0]["url"], "{origin}/live");
    for schema in holders(&served, "x-setting") {
        let bound = schema.get("maximum").or(schema.get("maxLength")).unwrap();
        assert!([4001, 5002, 17].contains(&bound.as_u64().unwrap()), "not a setting of this node: {schema}");
    }
}
