//! What arrives below `_cmd/` from people who mean it and from people who do not.

use std::time::Duration;

use sealgate::publish::{Note, Problem};
use serde_json::Value;

use super::broker::{Broker, Seen, publish, reply_to};
use super::rig::{PREFIX, Rig, Told, wait_until};

const ANSWERS: &str = "l3/answers";

fn command(name: &str, payload: &[u8], number: u8) -> Vec<u8> {
    publish(format!("{PREFIX}/_cmd/{name}").as_bytes(), payload, &reply_to(ANSWERS, &[number]), false)
}

fn answers(broker: &Broker) -> Vec<Seen> {
    broker.seen().into_iter().filter(|seen| seen.topic == ANSWERS).collect()
}

/// The answer with this correlation.
async fn answer(broker: &Broker, number: u8) -> Value {
    let find = || answers(broker).into_iter().find(|seen| seen.correlation == Some(vec![number]));
    wait_until(&format!("answer {number} comes"), || find().is_some()).await;
    serde_json::from_slice(&find().expect("it came").payload).expect("JSON")
}

async fn line() -> (Broker, Rig) {
    let broker = Broker::start("").await;
    let rig = Rig::run(30, broker.port());
    rig.until_acked(30).await;
    wait_until("commands are heard", || broker.has_commands()).await;
    (broker, rig)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_commands_are_answered_or_refused_and_change_nothing() {
    // F125
    let (broker, rig) = line().await;
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let hostile: [(&str, &[u8]); 14] = [
        ("feed/replay", b""),
        ("feed/replay", b"{"),
        ("feed/replay", b"\xff\xfe\x00"),
        ("feed/replay", br#"{"from":-1,"id":"a"}"#),
        ("feed/replay", br#"{"from":1e999,"id":"a"}"#),
        ("feed/replay", br#"{"from":1,"id":"a","from":2}"#),
        ("feed/replay", &deep),
        ("feed/replay", &[b' '; 300_000]),
        ("feed/watermark", br#"{"seq":18446744073709551615,"id":1}"#),
        ("permit/grant", br#"{"token":1}"#),
        ("user/add", br#"{"name":"eve","role":"qa"}"#),
        ("sign", br#"{"as":"qa"}"#),
        ("alarm/ack", br#"{"alarm":1}"#),
        ("Feed Replay", b"{}"),
    ];
    for (number, (name, payload)) in (1..).zip(hostile) {
        broker.send(command(name, payload, number)).await;
        let answer = answer(&broker, number).await;
        assert_eq!(answer["ok"], false, "{name}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|error| !error.is_empty()), "{name}: {answer}");
    }
    let topic = format!("{PREFIX}/_cmd/feed/replay");
    let good = br#"{"from":1,"id":"r"}"#;
    broker.send(publish(topic.as_bytes(), good, &reply_to(ANSWERS, &[101]), true)).await;
    assert!(answer(&broker, 101).await["error"].as_str().is_some_and(|error| error.contains("retained")));
    // An end of life that has come; an answer that would pass for a fact; no answer wanted at all; a name that is no text.
    let expired = [&[0x02, 0, 0, 0, 0][..], &reply_to(ANSWERS, &[102])].concat();
    broker.send(publish(topic.as_bytes(), good, &expired, false)).await;
    broker.send(publish(topic.as_bytes(), good, &reply_to(&format!("{PREFIX}/_fact/closed"), &[103]), false)).await;
    broker.send(publish(topic.as_bytes(), b"nonsense", &[], false)).await;
    broker.send(publish(&[topic.as_bytes(), b"\xff"].concat(), good, &reply_to(ANSWERS, &[104]), false)).await;
    broker.send(command("feed/watermark", br#"{"seq":3,"id":1}"#, 105)).await;
    assert_eq!(answer(&broker, 105).await["ok"], true, "and the session still listens");
    let numbers: Vec<Option<Vec<u8>>> = answers(&broker).into_iter().map(|seen| seen.correlation).collect();
    assert!([102, 103, 104].iter().all(|number| !numbers.contains(&Some(vec![*number]))), "{numbers:?}");
    assert_eq!(broker.count(|seen| seen.is_replay), 0, "nothing was sent again");
    assert_eq!(broker.count(|seen| seen.topic == format!("{PREFIX}/_fact/closed")), 0);
    let notes: Vec<Told> = rig.told().into_iter().filter(|told| matches!(told, Told::Noted(_))).collect();
    assert_eq!(notes, [Told::Noted(Note::Confirmed { through: 3 })]);
    assert_eq!(broker.connects().len(), 1, "the feed itself felt nothing of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_commands_neither_stops_the_feed_nor_starts_more_than_one_replay() {
    // F125, F126
    let (broker, rig) = line().await;
    for number in 0..200_u8 {
        let body = format!(r#"{{"from":{},"id":"r{}"}}"#, 1 + number % 30, number % 4);
        broker.send(command("feed/replay", body.as_bytes(), number)).await;
    }
    rig.head.send_replace(60);
    rig.until_acked(60).await;
    // Answers that find no room are lost with the flood; a request after it is answered like any other.
    let mut number = 200;
    while !answers(&broker).iter().any(|seen| seen.correlation.as_ref().is_some_and(|number| number[0] >= 200)) {
        assert!(number < 255, "nobody listens any more");
        broker.send(command("feed/watermark", br#"{"seq":1,"id":1}"#, number)).await;
        number += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    wait_until("the replays end", || rig.handle.status().replay.is_none()).await;
    // Four ids, so four replays at most of 40 and of 80 messages at most.
    assert!(broker.count(|seen| seen.is_replay) <= 4 * 80);
    assert!(broker.has_commands());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_does_not_confirm_what_the_broker_took_is_told_and_a_replay_heals_it() {
    // F120
    let (broker, rig) = line().await;
    broker.send(command("feed/watermark", br#"{"seq":30,"id":"w1"}"#, 1)).await;
    assert_eq!(answer(&broker, 1).await["watermark"], 30);
    rig.head.send_replace(40);
    rig.until_acked(40).await;
    let stalled = Problem::Unconfirmed { confirmed: 30, acked: 40 };
    wait_until("the stall is told", || {
        // Anything that happens lets the pump look; in a plant that is every ten seconds at most.
        rig.state.send_modify(|state| {
            *state = vec![("_state/x".to_owned(), format!("{:?}", broker.seen().len()).into_bytes())].into()
        });
        rig.problems().contains(&stalled)
    })
    .await;
    broker.send(command("feed/replay", br#"{"from":31,"id":"r1"}"#, 2)).await;
    assert_eq!(answer(&broker, 2).await["through"], 40);
    wait_until("it came again", || broker.count(|seen| seen.is_replay && seen.id.as_deref() == Some("fact/40")) == 1)
        .await;
    broker.send(command("feed/watermark", br#"{"seq":40,"id":"w2"}"#, 3)).await;
    assert_eq!(answer(&broker, 3).await["ok"], true);
    broker.send(command("feed/watermark", br#"{"seq":41,"id":"w3"}"#, 4)).await;
    assert_eq!(answer(&broker, 4).await["ok"], false, "nobody has what is not there");
    assert_eq!(rig.handle.status().confirmed, Some(40));
    let count = rig.problems().iter().filter(|problem| **problem == stalled).count();
    assert_eq!(count, 1, "once, in {:?}", Duration::from_millis(100));
}
