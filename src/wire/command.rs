//! Requests and answers, one JSON object per line on the local socket, and the same objects as MQTT commands.
//!
//! ```json
//! {"id":1,"actor":"local","do":"batch_start","batch":"B7"}
//! {"id":1,"ok":true,"changed":true}
//! {"id":2,"ok":false,"reasons":[{"code":"unknown_batch","text":"…","rule":"SG-BATCH-06","class":"PRODUCT_CONTROL"}]}
//! ```
//! | `do` | beside it |
//! |---|---|
//! | `batch_load` | `order`, an order as an object; see `order` |
//! | `batch_start`, `batch_stop`, `batch_purge`, `batch_close` | `batch` |
//! | `batch_hold`, `batch_abort`, `batch_reopen` | `batch`, `reason` |
//! | `batch_resume` | `batch`, and `reason` where there is one to tell |
//! | `alarm_ack` | `alarm` |
//! | `serials_used` | `gtin`, and `serials`, a list of at most 1000 |
//! | `serials_confirm` | |
//! | `status`, `feed_status`, `batch_list`, `alarm_list` | |
//! | `batch_show` | `batch` |
//! | `trace` | `code`, in any spelling that `domain::code` reads |
//! | `feed_replay` | `from`, and `stream` (`fact` where absent) |
//! | `feed_quarantine`, `feed_export` | |
//! | `tap` | `after` and `device`, or neither |
//! | `feed_retry` | `seq`, and `stream` |
//! | `feed_skip` | `seq`, `stream`, and `reason` |
//! | `login` | `user`, `password` |
//! | `logout`, `user_list` | |
//! | `user_init` | `code`, `user`, `full_name`, `password` |
//! | `user_add` | `user`, `full_name`, `roles` (a list), `password` |
//! | `user_roles` | `user`, `roles`, `reason` |
//! | `user_disable`, `user_enable` | `user`, `reason` |
//! | `user_reset` | `user`, `new_password` |
//! | `user_passwd` | `user`, `password`, `new_password` |
//! | `user_unlock` | `user` |
//! | `unit_sample`, `unit_scrap`, `unit_decommission`, `unit_destroy` | `code`, `reason` (of a closed set), and `note` |
//! | `container_remove`, `container_reopen`, `container_unpack`, `container_reprint` | the same |
//! | `sign_prepare` | `action`, `batch`; for `clearance` `items`, a list of `item` and `answer` (`done` or `not_applicable`) |
//! | `sign` | `action`, `user`, `password`, `challenge`, and `meaning` (`performed` or `verified`) |
//!
//! `session` beside `id` is what `login` gave. Once somebody has an account, whatever changes something needs one.
//!
//! On MQTT the topic says what to do (`_cmd/feed/replay`) and the payload has no `do`. Every request is answered, a malformed
//! one with what is wrong; an `id` that could not be read is answered as 0.

mod asker;
mod batches;
mod hands;
mod http;
mod people;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::rule::Rule;
use crate::domain::text::BatchId;
use crate::engine::input::{Asker, Request};
use crate::engine::output::{Answer, Done, Refused};
use crate::engine::reason::{Difference, RequestRefusal};
use crate::wire::order::{ORDER_BYTES_MAX, OrderDraft, Problem};
use crate::wire::suggest::nearest;
use crate::wire::{text, topic};

use asker::Way;
pub use asker::session;
pub use people::{Newcomer, PasswordCommand, Secret};

/// The longest line.
pub const REQUEST_BYTES_MAX: usize = ORDER_BYTES_MAX;

/// One request, well-formed.
#[derive(Debug)]
pub struct ClientRequest {
    pub id: u64,
    pub asker: Asker,
    pub command: Command,
}

#[derive(Debug)]
pub enum Command {
    /// The order is still to be finished, with its file where it names one; then it is `Request::LoadBatch`.
    Load(Box<OrderDraft>),
    /// The batch is to be folded from the journal first; then it is `Request::ReopenBatch`.
    Reopen(BatchId, String),
    /// For the engine as it stands.
    Ask(Request),
    /// A password is to be looked at first.
    Password(PasswordCommand),
    Status,
    FeedStatus,
    /// What passed after the entry of this number; without it, from now on. One device, or the whole line.
    Tap {
        after: Option<u64>,
        device: Option<String>,
    },
    /// To be answered from the journal alone.
    Look(Look),
    FeedReplay {
        stream: &'static str,
        from: u64,
    },
    FeedRetry {
        stream: &'static str,
        seq: u64,
    },
    FeedSkip {
        stream: &'static str,
        seq: u64,
        reason: String,
    },
}

/// A question about what is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    Batches,
    Batch(BatchId),
    /// A code as it was read or typed.
    Trace(String),
    Alarms,
    Users,
    /// What stood out since the last review, up to this fact or the newest.
    Review(Option<u64>),
    Quarantine,
    /// With what the messages say.
    QuarantineExport,
}

/// The answer to one request. `id` is the request's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientAnswer {
    pub id: u64,
    pub ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<bool>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Reason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// Why not: a stable word, and a text for people. The place, the value and what is allowed stand where an order or a request is at fault;
/// the rule and its class where a rule of the line says no.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub code: String,
    pub text: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub allowed: Box<str>,
    #[serde(flatten, with = "ruled")]
    pub rule: Option<Rule>,
}

/// `rule` and `class` beside the other fields; neither where no rule says no.
mod ruled {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::domain::rule::Rule;

    #[derive(Serialize)]
    struct Said {
        #[serde(skip_serializing_if = "Option::is_none")]
        rule: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        class: Option<&'static str>,
    }

    #[derive(Deserialize)]
    struct Heard {
        rule: Option<String>,
    }

    pub(super) fn serialize<S: Serializer>(rule: &Option<Rule>, serializer: S) -> Result<S::Ok, S::Error> {
        Said { rule: rule.map(Rule::id), class: rule.map(|rule| rule.class().name()) }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Rule>, D::Error> {
        Ok(Heard::deserialize(deserializer)?.rule.as_deref().and_then(Rule::parse))
    }
}

/// Every command of the local socket.
pub const WORDS: &[&str] = &[
    "batch_load",
    "batch_start",
    "batch_stop",
    "batch_purge",
    "batch_hold",
    "batch_resume",
    "batch_abort",
    "batch_reopen",
    "batch_close",
    "batch_list",
    "batch_show",
    "alarm_ack",
    "alarm_list",
    "unit_sample",
    "unit_scrap",
    "unit_decommission",
    "unit_destroy",
    "container_remove",
    "container_reopen",
    "container_unpack",
    "container_reprint",
    "serials_used",
    "serials_confirm",
    "trace",
    "status",
    "tap",
    "feed_status",
    "feed_replay",
    "feed_quarantine",
    "feed_export",
    "feed_retry",
    "feed_skip",
    "user_init",
    "user_add",
    "user_roles",
    "user_disable",
    "user_enable",
    "user_reset",
    "user_recover",
    "user_passwd",
    "user_unlock",
    "user_list",
    "audit_review",
    "login",
    "logout",
    "sign_prepare",
    "sign",
];

/// No symbol of GS1 carries more (GenSpecs 5.6: DataMatrix, 2335 alphanumeric characters).
const CODE_BYTES_MAX: usize = 4096;

/// Serials that one request may name as used: one fact holds them.
pub const USED_MAX: usize = 1000;

impl ClientRequest {
    /// One line of the local socket, with or without its line feed.
    pub fn parse(line: &[u8]) -> Result<Self, Box<ClientAnswer>> {
        let mut draft = draft(line)?;
        let id = draft.id().map_err(|reason| refusal(0, reason))?;
        let word = draft.text("do", "one of the commands").and_then(|word| known_word(&word, WORDS));
        word.and_then(|word| draft.finish(id, word, &Way::Local)).map_err(|reason| refusal(id, reason))
    }

    /// A message under `_cmd/`; `below` is its topic below the prefix. Only what this release takes from upstream.
    pub fn parse_mqtt(below: &str, payload: &[u8]) -> Result<Self, Box<ClientAnswer>> {
        let mut draft = draft(payload)?;
        let id = draft.id().map_err(|reason| refusal(0, reason))?;
        let word = match below {
            topic::CMD_FEED_REPLAY => Ok("feed_replay"),
            other => Err(fault("topic", other, "no command of this release", topic::CMD_FEED_REPLAY)),
        };
        word.and_then(|word| draft.finish(id, word, &Way::Upstream)).map_err(|reason| refusal(id, reason))
    }
}

/// A line for the socket. `parts` are fields beside `id`, `actor` and `do`, each with its value as JSON text.
pub fn request_line(id: u64, actor: &str, word: &str, parts: &[(&str, &str)]) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let mut line = format!("{{\"id\":{id},\"actor\":{},\"do\":{}", quoted(actor), quoted(word));
    for (key, value) in parts {
        line.extend([",", &quoted(key), ":", &without_line_feeds(value)]);
    }
    line.push_str("}\n");
    line
}

/// In JSON a raw line feed is white space between tokens, never part of a text; here it would end the request.
fn without_line_feeds(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

fn draft(line: &[u8]) -> Result<Draft, Box<ClientAnswer>> {
    if line.len() > REQUEST_BYTES_MAX {
        let shown = format!("{} bytes", line.len());
        return Err(refusal(
            0,
            fault("$", &shown, "the request is too long", "32 MiB; put serial numbers into a file"),
        ));
    }
    serde_json::from_slice(line).map_err(|error| {
        let allowed = "one JSON object per line, as {\"id\":1,\"do\":\"status\"}";
        refusal(0, fault("$", "", &format!("not a request: {error}"), allowed))
    })
}

fn refusal(id: u64, reason: Reason) -> Box<ClientAnswer> {
    Box::new(ClientAnswer::refusal(id, vec![reason]))
}

/// A request as JSON, its order apart.
#[derive(Default)]
struct Draft {
    fields: BTreeMap<String, Value>,
    order: Option<OrderDraft>,
    twice: Option<String>,
}

impl Draft {
    /// Takes what the command needs and refuses what is left over.
    fn finish(mut self, id: u64, word: &'static str, way: &Way) -> Result<ClientRequest, Reason> {
        if let Some(key) = self.twice.take() {
            return Err(fault(&format!("$.{key}"), "", "the field stands twice", "each field once"));
        }
        let asker = self.asker(way)?;
        let command = match word {
            "batch_load" => Command::Load(Box::new(self.order(way)?)),
            "batch_reopen" => Command::Reopen(self.batch()?, self.reason()?),
            word if batches::WORDS.contains(&word) => Command::Ask(self.batch_step(word)?),
            "alarm_ack" => Command::Ask(Request::AcknowledgeAlarm(self.whole("alarm", 1)?)),
            "serials_used" => Command::Ask(Request::DeclareUsed(self.used()?)),
            "serials_confirm" => Command::Ask(Request::ConfirmSerials),
            word if hands::WORDS.contains(&word) => self.hands(word)?,
            word if people::WORDS.contains(&word) => self.people(word)?,
            "batch_list" => Command::Look(Look::Batches),
            "batch_show" => Command::Look(Look::Batch(self.batch()?)),
            "alarm_list" => Command::Look(Look::Alarms),
            "trace" => Command::Look(Look::Trace(self.code()?)),
            "audit_review" => Command::Look(Look::Review(self.optional_whole("to_seq")?)),
            "status" => Command::Status,
            "feed_status" => Command::FeedStatus,
            "tap" => Command::Tap { after: self.optional_whole("after")?, device: self.optional_text("device")? },
            "feed_quarantine" => Command::Look(Look::Quarantine),
            "feed_export" => Command::Look(Look::QuarantineExport),
            "feed_retry" => Command::FeedRetry { stream: self.stream()?, seq: self.whole("seq", 1)? },
            "feed_skip" => {
                Command::FeedSkip { stream: self.stream()?, seq: self.whole("seq", 1)?, reason: self.reason()? }
            }
            _ => Command::FeedReplay { stream: self.stream()?, from: self.whole("from", 1)? },
        };
        let left_over = self.fields.keys().next().cloned();
        match left_over.or(self.order.map(|_| "order".to_owned())) {
            Some(key) => {
                Err(fault(&format!("$.{key}"), "", &format!("no field of {word}"), "id, actor, do and its own"))
            }
            None => Ok(ClientRequest { id, asker, command }),
        }
    }

    fn id(&mut self) -> Result<u64, Reason> {
        self.whole("id", 0)
    }

    fn order(&mut self, way: &Way) -> Result<OrderDraft, Reason> {
        let order = self.order.take().ok_or_else(|| fault("$.order", "", "is missing", "the order, as an object"))?;
        let is_remote = matches!(way, Way::Http(_));
        match order.serials_file().filter(|_| is_remote) {
            Some(_) => Err(fault("$.order.serials_file", "", "is read for nobody at another computer", "serials")),
            None => Ok(order),
        }
    }

    fn batch(&mut self) -> Result<BatchId, Reason> {
        const ALLOWED: &str = "the identifier of a batch, 1 to 32 bytes";
        let given = self.text("batch", ALLOWED)?;
        let batch = BatchId::new(&given).filter(|batch| !batch.is_empty());
        batch.ok_or_else(|| fault("$.batch", &given, "no identifier of a batch", ALLOWED))
    }

    fn code(&mut self) -> Result<String, Reason> {
        const ALLOWED: &str = "a code as read or typed, 1 to 4096 bytes";
        let given = self.text("code", ALLOWED)?;
        let fits = (1..=CODE_BYTES_MAX).contains(&given.len());
        if fits { Ok(given) } else { Err(fault("$.code", &given, "no code", ALLOWED)) }
    }

    fn reason(&mut self) -> Result<String, Reason> {
        self.sentence("reason")
    }

    fn optional(&mut self, key: &str) -> Result<Option<String>, Reason> {
        if self.fields.contains_key(key) { self.sentence(key).map(Some) } else { Ok(None) }
    }

    /// Why, in a person's own words.
    fn sentence(&mut self, key: &str) -> Result<String, Reason> {
        const ALLOWED: &str = "why, 1 to 200 bytes";
        let given = self.text(key, ALLOWED)?;
        let fits = (1..=200).contains(&given.trim().len()) && !given.chars().any(char::is_control);
        if fits { Ok(given.trim().to_owned()) } else { Err(fault(&format!("$.{key}"), &given, "no reason", ALLOWED)) }
    }

    fn stream(&mut self) -> Result<&'static str, Reason> {
        if !self.fields.contains_key("stream") {
            return Ok(topic::STREAM_FACT);
        }
        let allowed = topic::STREAMS.join(", ");
        let given = self.text("stream", &allowed)?;
        let stream = topic::STREAMS.iter().find(|stream| **stream == given);
        stream.copied().ok_or_else(|| fault("$.stream", &given, "no stream of the feed", &allowed))
    }

    fn optional_whole(&mut self, key: &str) -> Result<Option<u64>, Reason> {
        if self.fields.contains_key(key) { self.whole(key, 0).map(Some) } else { Ok(None) }
    }

    fn optional_text(&mut self, key: &str) -> Result<Option<String>, Reason> {
        if self.fields.contains_key(key) { self.text(key, "a text").map(Some) } else { Ok(None) }
    }

    fn text(&mut self, key: &str, allowed: &str) -> Result<String, Reason> {
        let path = format!("$.{key}");
        match self.fields.remove(key) {
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(fault(&path, &other.to_string(), "not a text", allowed)),
            None => Err(fault(&path, "", "is missing", allowed)),
        }
    }

    fn whole<T: TryFrom<u64>>(&mut self, key: &str, least: u64) -> Result<T, Reason> {
        let path = format!("$.{key}");
        let allowed = format!("a whole number from {least} on");
        let Some(value) = self.fields.remove(key) else {
            return Err(fault(&path, "", "is missing", &allowed));
        };
        let number = value.as_u64().filter(|number| *number >= least);
        let fitting = number.and_then(|number| T::try_from(number).ok());
        fitting.ok_or_else(|| fault(&path, &value.to_string(), "not in range", &allowed))
    }
}

fn known_word(given: &str, words: &[&'static str]) -> Result<&'static str, Reason> {
    let known = words.iter().find(|word| **word == given);
    known.copied().ok_or_else(|| {
        let what = match nearest(given, words) {
            Some(meant) => format!("no command; did you mean {meant}?"),
            None => "no command".to_owned(),
        };
        fault("$.do", given, &what, &words.join(", "))
    })
}

/// A request at fault: what, where and what is allowed.
fn fault(path: &str, value: &str, what: &str, allowed: &str) -> Reason {
    Reason {
        code: "bad_request".to_owned(),
        text: what.to_owned(),
        path: path.chars().take(80).collect(),
        value: value.chars().take(60).collect(),
        allowed: allowed.into(),
        rule: None,
    }
}

impl ClientAnswer {
    pub fn done(id: u64, done: Done) -> Self {
        if let Done::Prepared(hash) = done {
            return Self::data(id, json!({ "subject_hash": hash.as_str() }));
        }
        Self { changed: Some(done == Done::Changed), ..Self::empty(id, true) }
    }

    /// The answer to a question.
    pub fn data(id: u64, data: Value) -> Self {
        Self { data: Some(data), ..Self::empty(id, true) }
    }

    pub fn refused(id: u64, refused: &Refused) -> Self {
        Self {
            reasons: refused.reasons.iter().map(Reason::from).collect(),
            differences: refused.differences.iter().map(Reason::from).collect(),
            ..Self::empty(id, false)
        }
    }

    /// What is wrong with an order.
    pub fn problems(id: u64, problems: &[Problem]) -> Self {
        Self::refusal(id, problems.iter().map(Reason::from).collect())
    }

    pub fn refusal(id: u64, reasons: Vec<Reason>) -> Self {
        Self { reasons, ..Self::empty(id, false) }
    }

    /// The engine's answer under the request's own `id`; the engine counts its own.
    pub fn of(id: u64, answer: &Answer) -> Self {
        match &answer.outcome {
            Ok(done) => Self::done(id, *done),
            Err(refused) => Self::refused(id, refused),
        }
    }

    /// One line with its line feed.
    pub fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("an answer always has a JSON form");
        line.push('\n');
        line
    }

    fn empty(id: u64, ok: bool) -> Self {
        Self { id, ok, changed: None, reasons: Vec::new(), differences: Vec::new(), data: None }
    }
}

impl Reason {
    pub fn new(code: &str, text: impl Into<String>) -> Self {
        Self { code: code.to_owned(), text: text.into(), ..Self::default() }
    }

    fn by(rule: Rule, code: &str, text: String) -> Self {
        Self { rule: Some(rule), ..Self::new(code, text) }
    }
}

impl From<&RequestRefusal> for Reason {
    fn from(refusal: &RequestRefusal) -> Self {
        Self::by(refusal.rule(), text::refusal_code(refusal), text::refusal(refusal))
    }
}

impl From<&Difference> for Reason {
    fn from(difference: &Difference) -> Self {
        Self::by(difference.rule(), text::difference_code(difference), text::difference(difference))
    }
}

impl From<&Problem> for Reason {
    fn from(problem: &Problem) -> Self {
        Self {
            path: problem.path.clone(),
            value: problem.value.clone(),
            allowed: problem.allowed.as_str().into(),
            ..Self::by(Rule::WholeOrder, "bad_order", problem.what.clone())
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.text)?;
        if !self.value.is_empty() {
            write!(f, " (given: {})", self.value)?;
        }
        if !self.allowed.is_empty() {
            write!(f, "; allowed: {}", self.allowed)?;
        }
        if let Some(rule) = self.rule {
            write!(f, " [{}]", rule.id())?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Draft {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DraftVisitor)
    }
}

struct DraftVisitor;

impl<'de> Visitor<'de> for DraftVisitor {
    type Value = Draft;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request, which is a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Draft, A::Error> {
        let mut draft = Draft::default();
        while let Some(key) = map.next_key::<String>()? {
            let twice = match key.as_str() {
                "order" => draft.order.replace(map.next_value()?).is_some(),
                _ => draft.fields.insert(key.clone(), map.next_value()?).is_some(),
            };
            if twice {
                draft.twice = Some(key);
            }
        }
        Ok(draft)
    }
}
