//! Commands from upstream: `{prefix}/_cmd/#`, on a client of its own.
//!
//! A command is data from outside: retained ones are refused (a broker would repeat them for ever), so are oversized ones and
//! those that want their answer where it would pass for the feed. `feed/replay` and `feed/watermark` are done here; every other
//! name goes to the sink. Every refusal is answered where an answer was asked for, and changes nothing. None of them grants a
//! permit, signs, or changes people or settings: there is no word for it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::wire::topic;

use super::calm::Calm;
use super::link::Link;
use super::subscriber::{self, Post, Received, SubscriberEvent, Subscription};
use super::{Answer, Command, CommandSink, PublishHandle, RecallSink, Recalled, Reception, Settings};

const PAYLOAD_BYTES_MAX: usize = 256 * 1024;
const NAME_BYTES_MAX: usize = 64;
const ID_BYTES_MAX: usize = 64;
const RESPONSE_TOPIC_BYTES_MAX: usize = 256;
const CORRELATION_BYTES_MAX: usize = 256;
/// Replays asked for and not yet answered.
const WAITING_MAX: usize = 8;
/// Answered replays whose ids are remembered, so that a request sent twice is one replay.
const REMEMBERED_MAX: usize = 32;
const REPLAY: &str = "feed/replay";
const WATERMARK: &str = "feed/watermark";
/// Answers may go below this part of our own prefix, and nowhere else in it.
const ANSWERS: &str = "_answer/";

pub(super) struct Session {
    link: Link,
    prefix: String,
    handle: PublishHandle,
    sink: CommandSink,
    recalled: RecallSink,
    posts: mpsc::Receiver<Post>,
}

/// A command that passed the gate: ours to do, or another's.
#[derive(Debug, PartialEq, Eq)]
enum Admitted {
    Replay { from: u64, id: RequestId, answer_to: Option<AnswerTo> },
    Watermark { seq: u64, id: RequestId, answer_to: Option<AnswerTo> },
    Other(Command),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct AnswerTo {
    topic: String,
    correlation: Option<Vec<u8>>,
}

/// A command that did not.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    why: String,
    answer_to: Option<AnswerTo>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayBody {
    from: u64,
    id: RequestId,
    /// `fact`, which is also what is meant without it: a replay follows the facts and brings what they caused.
    #[serde(default)]
    stream: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WatermarkBody {
    /// Every fact up to this one arrived, with all that it caused.
    seq: u64,
    id: RequestId,
}

/// As the sender wrote it, and answered so.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
enum RequestId {
    Text(String),
    Number(u64),
}

/// What a replay request and every refusal is answered with.
#[derive(Debug, Serialize)]
struct AnswerBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RequestId>,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    through: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watermark: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) fn post_of(answer: Answer) -> Post {
    Post {
        topic: answer.response_topic,
        payload: answer.payload,
        response_topic: None,
        correlation: answer.correlation,
    }
}

/// Done one after the other, beside the session, which goes on reading.
#[derive(Debug)]
struct Waiting {
    what: Asked,
    id: RequestId,
    answer_to: Option<AnswerTo>,
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    ReplayFrom(u64),
    Watermark(u64),
}

impl Session {
    pub(super) fn new(
        settings: &Settings,
        handle: PublishHandle,
        (sink, recalled): (CommandSink, RecallSink),
        posts: mpsc::Receiver<Post>,
    ) -> Self {
        Self { link: settings.link("-cmd"), prefix: settings.prefix.clone(), handle, sink, recalled, posts }
    }

    /// Runs until dropped.
    pub(super) async fn run(self) {
        let Self { link, prefix, handle, sink, recalled, posts } = self;
        let filter = Subscription { filter: format!("{prefix}/_cmd/#"), is_retain_shown_as_sent: true };
        // What we publish ourselves comes back without the flag; what was kept from before has it.
        let own = format!("{prefix}/{}", topic::CHECKPOINT);
        let kept = Subscription { filter: own.clone(), is_retain_shown_as_sent: false };
        let (waiting, requests) = mpsc::channel(WAITING_MAX);
        let mut calm = Calm::new();
        let on_event = |event| match event {
            SubscriberEvent::Received(received) if received.topic == own => {
                if received.retain {
                    recalled(Recalled::Checkpoint(received.payload));
                }
                Vec::new()
            }
            SubscriberEvent::Received(received) => on_command(&prefix, &sink, (&waiting, &mut calm), received),
            SubscriberEvent::Subscribed => {
                recalled(Recalled::Subscribed);
                Vec::new()
            }
            SubscriberEvent::Lost(why) => {
                tracing::debug!(why, "command session lost");
                Vec::new()
            }
        };
        let filters = [filter, kept];
        let session = subscriber::run(&link, &filters, posts, on_event);
        tokio::join!(session, do_all(handle, requests));
    }
}

fn on_command(
    prefix: &str,
    sink: &CommandSink,
    (waiting, calm): (&mpsc::Sender<Waiting>, &mut Calm),
    received: Received,
) -> Vec<Post> {
    let wait = |what, id, answer_to: Option<AnswerTo>| {
        let busy = Refused { why: "too much is asked for: ask again later".into(), answer_to: answer_to.clone() };
        waiting.try_send(Waiting { what, id, answer_to }).err().map(|_| busy)
    };
    let refused = match admit(prefix, received) {
        Ok(Admitted::Replay { from, id, answer_to }) => wait(Asked::ReplayFrom(from), id, answer_to),
        Ok(Admitted::Watermark { seq, id, answer_to }) => wait(Asked::Watermark(seq), id, answer_to),
        Ok(Admitted::Other(command)) => {
            let (answer_to, name) = (answer_to(&command), command.name.clone());
            let why = match sink(command) {
                Reception::Taken => None,
                Reception::Busy => Some(format!("{name}: the line is busy; ask again later")),
                Reception::Unknown => Some(format!("{name} is no command of this release: {REPLAY}, {WATERMARK}")),
            };
            why.map(|why| Refused { why, answer_to })
        }
        Err(refused) => Some(refused),
    };
    let Some(Refused { why, answer_to }) = refused else { return Vec::new() };
    if let Some(left_out) = calm.ask() {
        tracing::warn!(why, left_out, "command refused");
    }
    let body = AnswerBody { id: None, ok: false, from: None, through: None, watermark: None, error: Some(why) };
    answer_to.map(|to| post(to, &body)).into_iter().collect()
}

/// Requests, one after the other, each answered.
async fn do_all(handle: PublishHandle, mut requests: mpsc::Receiver<Waiting>) {
    let mut taken = VecDeque::new();
    while let Some(Waiting { what, id, answer_to }) = requests.recv().await {
        let body = match what {
            Asked::ReplayFrom(from) => replay(&handle, &mut taken, from, &id).await,
            Asked::Watermark(seq) => {
                let outcome = handle.confirm(seq).await;
                let watermark = outcome.is_ok().then_some(seq);
                let error = outcome.err().map(|refusal| refusal.to_string());
                AnswerBody { id: Some(&id), ok: error.is_none(), from: None, through: None, watermark, error }
            }
        };
        if let Some(to) = answer_to
            && handle.answers.try_send(post(to, &body)).is_err()
        {
            tracing::debug!(?id, "answer to a request dropped: too many wait");
        }
    }
}

/// An id that was taken before gets the same answer and no second replay.
async fn replay<'a>(
    handle: &PublishHandle,
    taken: &mut VecDeque<(RequestId, u64, u64)>,
    from: u64,
    id: &'a RequestId,
) -> AnswerBody<'a> {
    let known = taken.iter().find(|(known, ..)| known == id).map(|(_, from, through)| (*from, *through));
    let (from, outcome) = match known {
        Some((from, through)) => (from, Ok(through)),
        None => (from, handle.replay(from).await),
    };
    if let (None, Ok(through)) = (known, outcome) {
        taken.push_back((id.clone(), from, through));
        let excess = taken.len().saturating_sub(REMEMBERED_MAX);
        taken.drain(..excess);
    }
    AnswerBody {
        id: Some(id),
        ok: outcome.is_ok(),
        from: Some(from),
        through: outcome.ok(),
        watermark: None,
        error: outcome.err().map(|refusal| refusal.to_string()),
    }
}

fn post(to: AnswerTo, body: &AnswerBody<'_>) -> Post {
    let payload = serde_json::to_vec(body).expect("numbers and strings always serialize");
    Post { topic: to.topic, payload, response_topic: None, correlation: to.correlation }
}

fn answer_to(command: &Command) -> Option<AnswerTo> {
    let topic = command.response_topic.clone()?;
    Some(AnswerTo { topic, correlation: command.correlation.clone() })
}

/// The gate for everything that arrives below `_cmd/`.
fn admit(prefix: &str, received: Received) -> Result<Admitted, Refused> {
    let Received { topic, retain, payload, response_topic, correlation, .. } = received;
    let is_answerable = response_topic.as_deref().is_none_or(|topic| is_allowed_answer(prefix, topic))
        && correlation.as_ref().is_none_or(|data| data.len() <= CORRELATION_BYTES_MAX);
    if !is_answerable {
        let why = format!("the response topic must be a plain topic outside {prefix}/ or below {prefix}/{ANSWERS}");
        return Err(Refused { why, answer_to: None });
    }
    let answer_to = response_topic.clone().map(|topic| AnswerTo { topic, correlation: correlation.clone() });
    let refuse = |why: String| Refused { why, answer_to: answer_to.clone() };
    let below = topic.strip_prefix(prefix).and_then(|below| below.strip_prefix("/_cmd/"));
    let Some(name) = below.filter(|name| is_command_name(name)) else {
        return Err(refuse(format!("a command's name is 1 to {NAME_BYTES_MAX} of a-z 0-9 - _ /")));
    };
    if retain {
        return Err(refuse(format!(
            "{name} is retained: commands are never retained; clear the topic and send it again"
        )));
    }
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(refuse(format!("{name} has {} bytes: at most {PAYLOAD_BYTES_MAX} are allowed", payload.len())));
    }
    let admitted = match name {
        REPLAY => replay_asked(&payload).map(|(from, id)| Admitted::Replay { from, id, answer_to: answer_to.clone() }),
        WATERMARK => {
            watermark_said(&payload).map(|(seq, id)| Admitted::Watermark { seq, id, answer_to: answer_to.clone() })
        }
        other => Ok(Admitted::Other(Command { name: other.to_owned(), payload, response_topic, correlation })),
    };
    admitted.map_err(refuse)
}

fn replay_asked(payload: &[u8]) -> Result<(u64, RequestId), String> {
    let body: ReplayBody = serde_json::from_slice(payload).map_err(|_| {
        format!("{REPLAY} needs {{\"from\": SEQ, \"id\": \"…\"}}: from is a whole number, id a text or a number, nothing else but stream")
    })?;
    if body.stream.as_deref().is_some_and(|stream| stream != "fact") {
        return Err(format!("{REPLAY}: \"stream\" is \"fact\" or left out; what the facts caused comes with them"));
    }
    check_id(REPLAY, &body.id)?;
    Ok((body.from, body.id))
}

fn watermark_said(payload: &[u8]) -> Result<(u64, RequestId), String> {
    let body: WatermarkBody = serde_json::from_slice(payload).map_err(|_| {
        format!("{WATERMARK} needs {{\"seq\": SEQ, \"id\": \"…\"}}: seq is a whole number, id a text or a number, nothing else")
    })?;
    check_id(WATERMARK, &body.id)?;
    Ok((body.seq, body.id))
}

fn check_id(name: &str, id: &RequestId) -> Result<(), String> {
    match id {
        RequestId::Text(id) if id.is_empty() || id.len() > ID_BYTES_MAX => {
            Err(format!("{name}: \"id\" has 1 to {ID_BYTES_MAX} bytes"))
        }
        RequestId::Text(_) | RequestId::Number(_) => Ok(()),
    }
}

fn is_command_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'/');
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_plain)
}

/// An answer that could be taken for a fact, a state or a command would be a way to forge them.
fn is_allowed_answer(prefix: &str, topic: &str) -> bool {
    let is_topic = !topic.is_empty()
        && topic.len() <= RESPONSE_TOPIC_BYTES_MAX
        && !topic.starts_with('$')
        && !topic.contains(|c: char| matches!(c, '+' | '#') || c.is_control());
    let is_ours = topic == prefix || topic.strip_prefix(prefix).is_some_and(|below| below.starts_with('/'));
    let is_answer =
        topic.strip_prefix(prefix).and_then(|b| b.strip_prefix('/')).is_some_and(|b| b.starts_with(ANSWERS));
    is_topic && (!is_ours || is_answer)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    const PREFIX: &str = "site/area/line1";

    fn received(name: &str, payload: &[u8]) -> Received {
        Received {
            topic: format!("{PREFIX}/_cmd/{name}"),
            retain: false,
            payload: payload.to_vec(),
            properties: Vec::new(),
            response_topic: Some("l3/answers".into()),
            correlation: Some(vec![1, 2]),
        }
    }

    fn why(outcome: Result<Admitted, Refused>) -> String {
        outcome.expect_err("refused").why
    }

    #[test]
    fn takes_a_replay_and_passes_other_commands_on() {
        let replay = admit(PREFIX, received("feed/replay", br#"{"from": 7, "id": "r1"}"#)).expect("admitted");
        assert!(
            matches!(replay, Admitted::Replay { from: 7, ref id, answer_to: Some(_) } if *id == RequestId::Text("r1".into()))
        );
        let numbered =
            admit(PREFIX, received("feed/replay", br#"{"from": 7, "id": 3, "stream": "fact"}"#)).expect("admitted");
        assert!(matches!(numbered, Admitted::Replay { id: RequestId::Number(3), .. }));
        let other = admit(PREFIX, received("batch/load", b"{}")).expect("admitted");
        assert!(matches!(other, Admitted::Other(Command { ref name, .. }) if name == "batch/load"));
    }

    #[test]
    fn refuses_what_is_retained_oversized_malformed_or_misnamed_and_says_why() {
        let retained = Received { retain: true, ..received("batch/load", b"{}") };
        assert!(why(admit(PREFIX, retained)).contains("retained"));
        assert!(why(admit(PREFIX, received("batch/load", &vec![b' '; PAYLOAD_BYTES_MAX + 1]))).contains("bytes"));
        for body in ["", "{", "[]", r#"{"from":-1,"id":"a"}"#, r#"{"from":1}"#, r#"{"from":1,"id":"a","x":1}"#] {
            assert!(why(admit(PREFIX, received("feed/replay", body.as_bytes()))).contains("from"), "{body}");
        }
        assert!(why(admit(PREFIX, received("feed/replay", br#"{"from":1,"id":""}"#))).contains("id"));
        assert!(why(admit(PREFIX, received("Batch Load", b"{}"))).contains("name"));
    }

    #[test]
    fn never_answers_where_an_answer_would_pass_for_the_feed() {
        for topic in ["site/area/line1/_fact/commissioned", "site/area/line1", "site/#", "", "$SYS/x", "a\0b"] {
            let refused = admit(PREFIX, Received { response_topic: Some(topic.into()), ..received("a", b"") });
            assert_eq!(refused.expect_err(topic).answer_to, None);
        }
        for topic in ["site/area/line1/_answer/capture", "site/area/line12/_fact/x", "l3/answers"] {
            assert!(is_allowed_answer(PREFIX, topic), "{topic}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_either_a_whole_replay_request_or_refused(payload in any::<Vec<u8>>()) {
            if let Ok(Admitted::Replay { from, id, .. }) = admit(PREFIX, received("feed/replay", &payload)) {
                let value: serde_json::Value = serde_json::from_slice(&payload).expect("was parsed");
                prop_assert_eq!(value["from"].as_u64(), Some(from));
                prop_assert_eq!(&value["id"], &serde_json::to_value(id).expect("serializes"));
            }
        }

        #[test]
        fn json_of_any_shape_is_answered_or_admitted(text in r#"\{"from":[ -]?[0-9]{1,22}(\.5)?,"id":"[a-z\\"\u{0}-\u{20}é]{0,70}"(,"id":"b")?\}"#) {
            match admit(PREFIX, received("feed/replay", text.as_bytes())) {
                Ok(Admitted::Replay { id: RequestId::Text(id), .. }) => prop_assert!(!id.is_empty() && id.len() <= ID_BYTES_MAX),
                Ok(Admitted::Replay { id: RequestId::Number(_), .. }) => prop_assert!(false),
                Ok(Admitted::Other(_) | Admitted::Watermark { .. }) => prop_assert!(false),
                Err(refused) => prop_assert!(refused.answer_to.is_some() && !refused.why.is_empty()),
            }
        }

        #[test]
        fn any_topic_and_response_topic_do_no_harm(topic in ".{0,80}", response in ".{0,80}", data in any::<Vec<u8>>()) {
            let hostile = Received {
                topic: format!("{PREFIX}/_cmd/{topic}"),
                response_topic: Some(response),
                ..received("x", &data)
            };
            if let Ok(Admitted::Other(command)) = admit(PREFIX, hostile) {
                prop_assert!(is_command_name(&command.name));
                prop_assert!(command.response_topic.is_none_or(|topic| is_allowed_answer(PREFIX, &topic)));
            }
        }
    }

    #[test]
    fn an_id_sent_twice_is_one_replay() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (orders, mut requests) = mpsc::channel(4);
            let (answers, mut posts) = mpsc::channel(4);
            let (_keep, status) = tokio::sync::watch::channel(super::super::FeedStatus::default());
            let (_durable, head) = tokio::sync::watch::channel(0);
            let handle = PublishHandle { orders, answers, status, head };
            let (waiting, queue) = mpsc::channel(4);
            let to = Some(AnswerTo { topic: "t".into(), correlation: None });
            for _ in 0..2 {
                let (id, answer_to) = (RequestId::Text("same".into()), to.clone());
                waiting.try_send(Waiting { what: Asked::ReplayFrom(3), id, answer_to }).expect("room");
            }
            drop(waiting);
            let pump = async {
                let order: super::super::Order = requests.recv().await.expect("one request");
                let super::super::Order::Replay { from: 3, reply } = order else { panic!("{order:?}") };
                reply.send(Ok(9)).expect("waits");
                requests
            };
            let (_, mut requests) = tokio::join!(do_all(handle, queue), pump);
            assert!(requests.try_recv().is_err());
            let first = posts.try_recv().expect("answered");
            assert_eq!(first, posts.try_recv().expect("answered again"));
            assert!(String::from_utf8_lossy(&first.payload).contains(r#""through":9"#));
        });
    }

    #[test]
    fn a_sink_without_room_or_without_such_a_command_is_told_to_the_sender() {
        // F125
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _timers = runtime.enter();
        let (waiting, _queue) = mpsc::channel(1);
        for (reception, word) in [(Reception::Busy, "busy"), (Reception::Unknown, "no command of this release")] {
            let sink: CommandSink = Arc::new(move |_| reception);
            let posts = on_command(PREFIX, &sink, (&waiting, &mut Calm::new()), received("permit/grant", b"{}"));
            assert_eq!(posts.len(), 1);
            assert!(posts.iter().all(|post| post.topic == "l3/answers" && post.correlation == Some(vec![1, 2])));
            assert!(String::from_utf8_lossy(&posts[0].payload).contains(word));
        }
    }

    #[test]
    fn a_watermark_is_a_number_and_a_request_that_can_be_repeated() {
        let said = admit(PREFIX, received("feed/watermark", br#"{"seq": 7, "id": 1}"#)).expect("admitted");
        assert!(matches!(said, Admitted::Watermark { seq: 7, id: RequestId::Number(1), answer_to: Some(_) }));
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for body in [r#"{"seq":-1,"id":1}"#, r#"{"seq":1}"#, r#"{"seq":1e300,"id":1}"#, "\u{0}", &deep] {
            assert!(why(admit(PREFIX, received("feed/watermark", body.as_bytes()))).contains("seq"));
        }
    }
}
