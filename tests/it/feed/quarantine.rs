//! The quarantine as a person sees it: alarm, list, export, retry and skip, with the real daemon; and what may go meanwhile.

use serde_json::json;

use super::broker::{Broker, publish, reply_to};
use super::site::{Site, journal_of, until};

#[test]
fn a_person_sees_retries_skips_and_exports_what_the_broker_does_not_take() {
    // F115, F118, F121, I16: the alarm holds nothing
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let broker = runtime.block_on(Broker::start("publish epcis/2 answer 0x87\npublish epcis/4 answer 0x99"));
    let site = Site::new(broker.port(), "keep_sent_days = 1\nwarn_behind_h = 8760");
    journal_of(&site.file("line3.db"), 30);
    let _daemon = site.start();
    until("two lie in quarantine", || site.ask(&["feed", "quarantine", "list"]).as_array().map(Vec::len) == Some(2));
    let list = site.ask(&["feed", "quarantine", "list"]);
    assert_eq!((&list[0]["stream"], &list[0]["seq"], &list[0]["fact_seq"]), (&"epcis".into(), &2.into(), &6.into()));
    assert!(list[0]["cause"].as_str().is_some_and(|cause| cause.contains("NotAuthorized")), "{list}");
    assert_eq!(list[0].get("body"), None);
    let export = site.ask(&["feed", "quarantine", "export", "--db", "line3.db"]);
    assert!(export[1]["body"].as_str().is_some_and(|body| body.starts_with("{\"unit\":12,")), "{export}");

    until("the alarm is there", || site.ask(&["alarm", "list"])[0]["kind"] == "feed_quarantined");
    assert_eq!(site.ask(&["alarm", "list"])[0]["holds"], false);
    assert_eq!(site.ask(&["batch", "load", "order.json"])["ok"], true);
    let refused = site.ask(&["batch", "start", "B1"]);
    let codes: Vec<&str> =
        refused["reasons"].as_array().expect("reasons").iter().filter_map(|reason| reason["code"].as_str()).collect();
    assert_eq!(codes, ["station_away"; 5], "an alarm of the feed keeps no batch from starting");

    let again = site.ask(&["feed", "quarantine", "retry", "epcis", "2"]);
    assert!(again["reasons"][0]["text"].as_str().is_some_and(|text| text.contains("refuses it again")), "{again}");
    broker.play("");
    assert_eq!(site.ask(&["feed", "quarantine", "retry", "epcis", "2"])["changed"], true);
    until("it has left", || site.ask(&["feed", "quarantine", "list"])[0]["seq"] == 4);
    assert_eq!(broker.count(|seen| seen.id.as_deref() == Some("epcis/2")), 1);
    // What the broker took is five days old, and goes; what waits for a person stays.
    let journal = rusqlite::Connection::open(site.file("line3.db")).expect("the journal");
    let left = || journal.query_row("SELECT count(*) FROM message", [], |row| row.get::<_, i64>(0)).expect("a number");
    until("the others have gone", || left() == 1);
    assert_eq!(site.ask(&["feed", "quarantine", "list"])[0]["topic"], "_epcis/commissioning");
    let skip = ["feed", "quarantine", "skip", "epcis", "4", "--reason", "sent by mail"];
    assert_eq!(site.ask(&skip)["changed"], true);
    until("who and why stand there", || {
        site.ask(&["feed", "quarantine", "list"])[0]["cause"] == "skipped by local: sent by mail"
    });
    until("it goes too", || left() == 0);
    assert_eq!(site.ask(&skip)["reasons"][0]["code"], "quarantine", "it does not wait any more");
    assert_eq!(site.ask(&["feed", "quarantine", "retry", "fact", "3"])["reasons"][0]["code"], "quarantine");
    let replay =
        |from: &str| site.ask(&["feed", "replay", "--stream", "epcis", "--from", from])["reasons"][0]["text"].clone();
    let text = replay("1");
    assert!(text.as_str().is_some_and(|text| text.contains("were let go: the broker took them")), "{text}");
    assert!(text.as_str().is_some_and(|text| text.contains("nothing of the stream is left")), "{text}");
    let text = replay("999");
    assert!(text.as_str().is_some_and(|text| text.contains("has no number 999; its newest is ")), "{text}");
    assert_eq!(site.ask(&["audit", "verify"])["outcome"], "whole");
    // That they are gone is a fact: who adds to it by hand is found.
    let facts = |kind: &str| {
        let sql = "SELECT count(*) FROM v_fact WHERE kind = ?1";
        journal.query_row(sql, [kind], |row| row.get::<_, i64>(0)).expect("a number")
    };
    assert!((2..=4).contains(&facts("messages_expired")), "{} facts", facts("messages_expired"));
    assert_eq!(facts("message_given_up"), 1, "that it was given up is a fact too, told once");
}

#[test]
fn a_broker_that_freezes_and_a_watermark_do_not_disturb_the_line() {
    // F116, F120, F125
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let broker = runtime.block_on(Broker::start("nth 10 of 1 freeze"));
    let site = Site::new(broker.port(), "");
    journal_of(&site.file("line3.db"), 300);
    let _daemon = site.start();
    until("the feed hangs", || broker.connects().len() == 1 && broker.seen().len() >= 9 && broker.has_commands());
    let asked = std::time::Instant::now();
    assert_eq!(site.ask(&["batch", "load", "order.json"])["ok"], true);
    assert!(asked.elapsed() < std::time::Duration::from_secs(20), "the line waits for nobody upstream");
    let topic = "acme/plant7/line3/_cmd/feed/watermark";
    let command = publish(topic.as_bytes(), br#"{"seq":2,"id":"w"}"#, &reply_to("l3/answers", &[1]), false);
    runtime.block_on(broker.send(command));
    until("the watermark is kept", || site.ask(&["feed", "status", "--db", "line3.db"])["watermark"] == json!(2));
    until("it is answered", || broker.count(|seen| seen.topic == "l3/answers") == 1);
}
