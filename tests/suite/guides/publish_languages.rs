//! The programs of `docs/guides/publish.md` publish the vectors of `clients/vectors/publish.json`
//! as the packages do.

use serde_json::Value;
use serde_json::value::RawValue;

use super::Document;
use super::terminal::Terminal;
use crate::support::commands::RunningCommand;
use crate::support::directory::repository_file;
use crate::support::{Broker, BrokerOptions};

const PHP: &str = r"<?php
require 'publish.php';
foreach (json_decode(file_get_contents('vectors.json')) as $vector) {
    $key = $vector->idempotencyKey ?? '';
    for ($time = 0; $time < ($key ? 2 : 1); $time++) publish($bus, 'demo', $vector->event, $vector->to ?? [], $key);
}
";

const RUBY: &str = r#"
require_relative "publish"
JSON.parse(File.read("vectors.json", encoding: "UTF-8")).each do |vector|
  key = vector["idempotencyKey"] || ""
  (key.empty? ? 1 : 2).times { publish("demo", vector["event"], users: vector["to"], key: key) }
end
"#;

/// `encoding/json` escapes some characters, so it publishes the payloads.
const GO: &str = r#"package main

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/gomodule/redigo/redis"
)

func TestVectors(t *testing.T) {
	main()
	text, _ := os.ReadFile("vectors.json")
	var vectors []struct {
		Payload        string
		To             []string
		IdempotencyKey string
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	bus, err := redis.Dial("tcp", "127.0.0.1:6380")
	if err != nil {
		t.Fatal(err)
	}
	for _, vector := range vectors {
		times := 1
		if vector.IdempotencyKey != "" {
			times = 2
		}
		for ; times > 0; times-- {
			if _, err := publish(bus, "demo", []byte(vector.Payload), vector.To, vector.IdempotencyKey); err != nil {
				t.Fatal(err)
			}
		}
	}
}
"#;

#[derive(serde::Deserialize)]
struct Vectors {
    published: Vec<Box<RawValue>>,
    repeated: Vec<Box<RawValue>>,
}

/// The vectors with an event, and with the text of a key. Their text keeps the order of members,
/// which [`Value`] does not.
fn vectors() -> Vec<(Box<RawValue>, Value)> {
    let file: Vectors = serde_json::from_str(&repository_file("clients/vectors/publish.json")).unwrap();
    let parsed = file.published.into_iter().chain(file.repeated).map(|text| {
        let value = serde_json::from_str::<Value>(text.get()).unwrap();
        (text, value)
    });
    let is_short = |vector: &Value| vector.get("event").is_some() && !vector["idempotencyKey"].is_object();
    let found: Vec<_> = parsed.filter(|(_, vector)| is_short(vector)).collect();
    assert!(found.len() > 10, "{}", found.len());
    found
}

/// Runs a driver beside a program of the page, and compares the payloads that a client gets.
async fn publishes_the_vectors(name: &str, driver: (&str, &str), greeting: &str) {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let (document, terminal) = (Document::read("docs/guides/publish.md"), Terminal::beside(&broker));
    let mut client = broker.connect("demo").await;
    client.connected().await;
    let vectors = vectors();
    let texts: Vec<_> = vectors.iter().map(|(text, _)| text).collect();
    terminal.write("vectors.json", &serde_json::to_string(&texts).unwrap());
    terminal.write(name, document.file(name));
    let (file, program) = driver;
    match file.rsplit_once('.').unwrap().1 {
        "go" => {
            terminal.write(file, program);
            let mut command = terminal.go();
            command.args(["test", name, file]);
            RunningCommand::start(command).finished().await.success();
        }
        "php" => drop(terminal.program("php", file, program).await),
        _ => drop(terminal.program("ruby", file, program).await),
    }
    // The program of the page publishes its own event first.
    let first = client.application_event().await;
    assert!(first.data.contains(greeting), "{first:?}");
    // The client here has no user, and so it gets no private event.
    for (_, vector) in vectors.iter().filter(|(_, vector)| vector.get("to").is_none()) {
        let event = client.application_event().await;
        assert_eq!(event.data, vector["payload"].as_str().unwrap(), "{}", vector["name"]);
    }
}

#[tokio::test]
async fn program_in_php_publishes_the_vectors() {
    publishes_the_vectors("publish.php", ("vectors.php", PHP), "php").await;
}

#[tokio::test]
async fn program_in_ruby_publishes_the_vectors() {
    publishes_the_vectors("publish.rb", ("vectors.rb", RUBY), "ruby").await;
}

#[tokio::test]
async fn program_in_go_publishes_the_vectors() {
    publishes_the_vectors("publish.go", ("vectors_test.go", GO), "go").await;
}
