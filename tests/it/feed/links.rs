//! What happens to the connection, and what the feed makes of it.

use std::time::{Duration, Instant};

use sealgate::publish::{Problem, Settings};

use super::broker::Broker;
use super::rig::{PREFIX, Rig, assert_whole, settings, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_at_a_time_a_byte_at_a_time_is_slow_and_whole() {
    // F116
    let broker = Broker::start("connect * receive_max 1\nconnect * trickle").await;
    let rig = Rig::run(60, broker.port());
    rig.until_acked(60).await;
    assert_whole(&broker.seen(), 1, 60, &[]);
    assert_eq!(broker.connects().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stops_reading_is_left_and_everything_is_sent_again() {
    // F116, F124: the window of TCP closes; and one that never greets
    let broker = Broker::start("nth 9 of 1 freeze\nconnect 2 mute\nnth 30 of 3 freeze").await;
    let rig = Rig::run(100, broker.port());
    rig.until_acked(100).await;
    assert_eq!(broker.connects().len(), 4);
    assert_whole(&broker.seen(), 1, 100, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_collides_with_its_own_packet_ids_is_built_anew_from_the_store() {
    // F124: the first of four numbers is never answered, the others are; the session is gone each time
    let broker = Broker::start("connect 1..3 receive_max 4\nnth 1 of 1..3 skip").await;
    let rig = Rig::run(50, broker.port());
    rig.until_acked(50).await;
    assert!(broker.connects().len() > 3, "{}", broker.connects().len());
    assert_whole(&broker.seen(), 1, 50, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_of_one_id_do_not_throw_each_other_out_for_ever() {
    // F122
    let broker = Broker::start("nth 5 of 1..6 disconnect 0x8E").await;
    let rig = Rig::run(300, broker.port());
    rig.until_acked(300).await;
    let connects = broker.connects();
    let pauses: Vec<Duration> = connects.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(connects.len() == 7 && pauses[5] > pauses[0] * 4, "the pause doubles: {pauses:?}");
    assert!(rig.problems().contains(&Problem::TakenOver));
    assert_whole(&broker.seen(), 1, 300, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_lets_nobody_in_is_asked_more_and_more_slowly() {
    // F115
    let broker = Broker::start("connect 1..4 refuse 0x86\nconnect 5..8 refuse 0x87").await;
    let rig = Rig::run(30, broker.port());
    rig.until_acked(30).await;
    let connects = broker.connects();
    let pauses: Vec<Duration> = connects.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses[7] >= Duration::from_millis(300) && pauses[0] < pauses[7], "{pauses:?}");
    let told: Vec<Problem> = rig.problems();
    let refusals = told.iter().filter(|problem| matches!(problem, Problem::LinkRefused { .. })).count();
    assert_eq!(refusals, 2, "each reason once: {told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_break_at_every_turn_lose_nothing() {
    // I16, I17, F117
    let broker = Broker::start("nth 23 of * cut").await;
    let rig = Rig::run(400, broker.port());
    rig.until_acked(400).await;
    assert!(broker.connects().len() > 15);
    assert_whole(&broker.seen(), 1, 400, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_drains_at_its_rate_and_state_does_not_wait_behind_it() {
    // F114
    let broker = Broker::start("").await;
    let rig = Rig::resume(1800, 0, Settings { drain_per_s: 1000, ..settings(broker.port()) });
    let state = |text: String| vec![("_state/counts".to_owned(), text.into_bytes())].into();
    let began = Instant::now();
    wait_until("it drains", || rig.acked() > 200).await;
    rig.state.send_replace(state("{\"n\":1}".into()));
    let topic = format!("{PREFIX}/_state/counts");
    wait_until("the state arrives", || broker.count(|seen| seen.topic == topic) == 1).await;
    assert!(rig.acked() < 1800, "while the backlog still waits");
    rig.until_acked(1800).await;
    // 2,418 messages at 1,000 in a second.
    assert!(began.elapsed() >= Duration::from_millis(2200), "{:?}: faster than its rate", began.elapsed());
    assert!(rig.largest_page() <= 400, "what is held of a backlog does not grow with it: {}", rig.largest_page());
    assert_whole(&broker.seen(), 1, 1800, &[]);
    rig.stop.send_replace(true);
    wait_until("it says goodbye", || broker.count(|seen| seen.payload == br#"{"state":"offline"}"#) > 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_does_not_resolve_is_a_broker_that_is_away() {
    // F128: what the resolver does, it does beside the feed; a question is answered at once meanwhile
    let rig = Rig::resume(10, 0, Settings { host: "broker.invalid".into(), ..settings(1883) });
    wait_until("it is felt", || !rig.handle.status().last_end.is_empty()).await;
    assert!(!rig.handle.status().is_connected);
    let asked = Instant::now();
    assert_eq!(rig.handle.replay(1).await, Ok(10));
    assert!(asked.elapsed() < Duration::from_secs(1));
    assert_eq!(rig.problems(), [], "a broker that is away is no problem of its own");
}
