//! What the broker answers to a message, and what becomes of it.

use std::time::Duration;

use sealgate::publish::{MessageKey, Note, Problem, RetryRefusal};

use super::broker::Broker;
use super::rig::{Rig, Told, assert_whole, messages, settings, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_acknowledgement_brings_the_same_id_and_the_same_bytes_again() {
    // F117, I16, I17
    let broker = Broker::start("publish fact/7 unacked 2\npublish epcis/4 unacked 1").await;
    let rig = Rig::run(40, broker.port());
    rig.until_acked(40).await;
    assert_eq!(broker.count(|seen| seen.id.as_deref() == Some("fact/7")), 3);
    assert_whole(&broker.seen(), 1, 40, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_counts_as_taken_without_an_answer_whatever_restarts() {
    // F117, I17: what catches a cursor that moves without an acknowledgement
    let broker = Broker::start("publish fact/21 unacked\npublish fact/22 unacked").await;
    let rig = Rig::run(60, broker.port());
    wait_until("the messages behind the unanswered ones arrived", || {
        broker.count(|seen| seen.id.as_deref() == Some("fact/26")) >= 2
    })
    .await;
    let place = rig.acked();
    assert_eq!(place, 20, "the place stands before the first message that was not answered");
    drop(rig);
    let before = broker.seen().len();
    broker.play("");
    let rig = Rig::resume(60, place, settings(broker.port()));
    rig.until_acked(60).await;
    assert_whole(&broker.seen()[before..], 21, 60, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_broker_is_asked_again_slowly_with_the_same_message() {
    // F118
    let broker =
        Broker::start("connect * receive_max 1\npublish epcis/4 answer 0x97 3\npublish fact/20 answer 0x80 2").await;
    let rig = Rig::run(30, broker.port());
    rig.until_acked(30).await;
    assert_whole(&broker.seen(), 1, 30, &[]);
    assert_eq!(rig.excepted(), []);
    let connects = broker.connects();
    assert_eq!(connects.len(), 6, "one connection for each answer that was no");
    let refused = |problem: &Problem| matches!(problem, Problem::MessageRefused { fact_seq: 12, .. });
    assert_eq!(rig.problems().iter().filter(|problem| refused(problem)).count(), 1, "{:?}", rig.problems());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_never_takes_goes_to_the_quarantine_and_the_feed_goes_on() {
    // F118
    let broker =
        Broker::start("publish fact/5 answer 0x87\npublish epcis/2 answer 0x90\npublish batch/1 answer 0x99").await;
    let rig = Rig::run(120, broker.port());
    rig.until_acked(120).await;
    assert_eq!(rig.excepted(), [("fact", 5), ("epcis", 2), ("batch", 1)]);
    assert_eq!(broker.connects().len(), 1, "no new connection for any of them");
    assert_whole(&broker.seen(), 1, 120, &["fact/5", "epcis/2", "batch/1"]);
    let told = rig.told();
    let noted = told.iter().position(|told| matches!(told, Told::Noted(Note::Excepted { seq: 5, .. })));
    let passed = told.iter().position(|told| matches!(told, Told::Acked(through) if *through >= 5));
    assert!(noted < passed, "the store knows it before the place of the feed moves past it: {told:?}");
    let quarantined = |problem: &&Problem| matches!(problem, Problem::Quarantined { .. });
    assert_eq!(rig.problems().iter().filter(quarantined).count(), 3);
    assert_eq!(rig.handle.status().quarantined, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_leaves_the_quarantine_when_the_broker_takes_it() {
    // F118, F121
    let broker = Broker::start("publish epcis/2 answer 0x87").await;
    let rig = Rig::run(30, broker.port());
    rig.until_acked(30).await;
    let key = MessageKey { stream: "epcis", seq: 2, fact_seq: 6 };
    let refused = rig.handle.retry(key).await;
    assert_eq!(refused, Err(RetryRefusal::Refused { reason: "NotAuthorized".into() }));
    broker.play("");
    assert_eq!(rig.handle.retry(key).await, Ok(()));
    wait_until("it is noted", || rig.told().contains(&Told::Noted(Note::Cleared { stream: "epcis", seq: 2 }))).await;
    assert_whole(&broker.seen(), 1, 30, &[]);
    let gone = MessageKey { stream: "epcis", seq: 99, fact_seq: 6 };
    assert_eq!(rig.handle.retry(gone).await, Err(RetryRefusal::Gone));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_refuses_everything_does_not_fill_the_quarantine() {
    // F115, F118
    let broker = Broker::start("publish * answer 0x87").await;
    let rig = Rig::run(200, broker.port());
    wait_until("a person was told", || {
        rig.problems().iter().any(|problem| matches!(problem, Problem::MessageRefused { .. }))
    })
    .await;
    assert_eq!(rig.excepted().len(), 20);
    let excepted: Vec<String> = rig.excepted().iter().map(|(stream, seq)| format!("{stream}/{seq}")).collect();
    broker.play("");
    rig.until_acked(200).await;
    assert_eq!(rig.excepted().len(), 20);
    assert_whole(&broker.seen(), 1, 200, &excepted.iter().map(String::as_str).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_is_subscribed_to_is_not_counted_as_delivered_and_told_when_it_lasts() {
    // F119
    let broker = Broker::start("publish * answer 0x10").await;
    let rig = Rig::run(30, broker.port());
    rig.until_acked(30).await;
    let status = rig.handle.status();
    assert_eq!((status.messages_acked, status.messages_unheard), (0, 40));
    wait_until("it is told", || {
        rig.head.send_modify(|head| *head += 1);
        rig.problems().contains(&Problem::Unheard { fact_seq: 1 })
    })
    .await;
    let unheard = |problem: &&Problem| matches!(problem, Problem::Unheard { .. });
    assert_eq!(rig.problems().iter().filter(unheard).count(), 1, "once");
    broker.play("");
    let before = rig.handle.status().messages_unheard;
    rig.head.send_modify(|head| *head += 10);
    wait_until("somebody listens", || rig.handle.status().messages_acked >= 10).await;
    assert!(rig.handle.status().messages_unheard >= before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_above_the_brokers_limit_is_set_aside_without_being_sent() {
    // F121
    let broker = Broker::start("connect * packet_max 1000").await;
    let rig = Rig::run(80, broker.port());
    rig.until_acked(80).await;
    assert_eq!(rig.excepted(), [("fact", 50)], "fact 50 is a long one");
    assert_eq!(broker.connects().len(), 1, "and no connection was lost for it");
    assert_whole(&broker.seen(), 1, 80, &["fact/50"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_large_without_a_limit_told_is_found_and_set_aside() {
    // F121: 0x95 in a DISCONNECT, and in a PUBACK, as mosquitto answers
    for deed in ["disconnect 0x95", "answer 0x95"] {
        let broker = Broker::start(&format!("publish over 1500 {deed}")).await;
        let rig = Rig::run(80, broker.port());
        rig.until_acked(80).await;
        assert_eq!(rig.excepted(), [("fact", 50)], "{deed}");
        let connects = broker.connects().len();
        assert!((2..=4).contains(&connects), "{deed}: {connects} connections, which is a loop");
        assert_whole(&broker.seen(), 1, 80, &["fact/50"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_is_clipped_to_the_journal_runs_once_and_leaves_the_live_feed_its_share() {
    // F126
    let broker = Broker::start("").await;
    let rig = Rig::resume(3000, 2900, sealgate::publish::Settings { drain_per_s: 2000, ..settings(broker.port()) });
    rig.until_acked(3000).await;
    for from in [0, 3002, u64::MAX] {
        assert!(rig.handle.replay(from).await.is_err(), "{from}");
    }
    let began = std::time::Instant::now();
    assert_eq!(rig.handle.replay(2001).await, Ok(3000));
    assert!(rig.handle.replay(1).await.is_err(), "one at a time");
    rig.head.send_replace(3050);
    wait_until("it ends", || rig.handle.status().replay.is_none() && rig.acked() == 3050).await;
    let expected: usize = (2001..=3000).map(|fact| messages(fact).len()).sum();
    assert_eq!(broker.count(|seen| seen.is_replay), expected, "each once, none beyond what it was asked for");
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}: faster than its rate", began.elapsed());
    let seen = broker.seen();
    let last_replayed = seen.iter().rposition(|one| one.is_replay).expect("some");
    let live = seen.iter().position(|one| one.id.as_deref() == Some("fact/3050")).expect("sent");
    assert!(live < last_replayed, "what is new does not wait for the end of a replay");
    assert_whole(&seen, 2001, 3050, &[]);
}
