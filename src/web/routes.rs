//! The one table of the HTTP door: what can be asked, where, by whom, and with which fields. The router, the OpenAPI document and the
//! test of roles and routes all come from it. A command of the local socket that has no route here says why it has none.

use crate::engine::hands::HandReason;
use crate::engine::rights::Action;
use crate::engine::signing::Signable;
use crate::wire::order::ORDER_BYTES_MAX;

/// Below this lies everything.
pub const BASE: &str = "/api/v1";
/// Where the OpenAPI document lies, for everybody: it says nothing of this line.
pub const DOCUMENT: &str = "/openapi.json";

/// A body that is no order.
const BODY_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// It changes nothing.
    Get,
    /// It does something.
    Post,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// It is the way in.
    Anybody,
    /// Whoever is logged in, for what is their own.
    Session,
    /// Who may do this.
    Action(Action),
    /// Who may read and has the right of the act that the body names, which the line says once it is read.
    Act,
}

#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub method: Method,
    /// Below [`BASE`]; `{key}` stands for the field `key`.
    pub path: &'static str,
    /// The command of the local socket that it is.
    pub word: &'static str,
    pub right: Right,
    /// What is signed for, where the path says it.
    pub act: Option<Signable>,
    pub fields: &'static [Field],
    pub about: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub key: &'static str,
    pub shape: Shape,
    pub is_required: bool,
}

/// What a field may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Of 1 to so many bytes.
    Text(usize),
    Secret,
    User,
    Gtin,
    /// A whole number from the first to the second.
    Whole(u64, u64),
    Words(&'static [&'static str]),
    /// The roles of a person.
    Roles,
    /// Serial numbers of one product.
    Serials,
    /// An order with its serials inside.
    Order,
    /// What is signed for.
    Act,
    /// The answers to a checklist.
    Items,
}

impl Route {
    pub fn template(&self) -> String {
        format!("{BASE}{}", self.path)
    }

    /// Whether the field stands in the path.
    pub fn is_in_path(&self, key: &str) -> bool {
        self.path.split('/').any(|part| part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) == Some(key))
    }

    pub fn body_bytes_max(&self) -> usize {
        if self.fields.iter().any(|field| field.shape == Shape::Order) { ORDER_BYTES_MAX } else { BODY_BYTES_MAX }
    }
}

const fn needed(key: &'static str, shape: Shape) -> Field {
    Field { key, shape, is_required: true }
}

const fn free(key: &'static str, shape: Shape) -> Field {
    Field { key, shape, is_required: false }
}

const fn get(path: &'static str, word: &'static str, fields: &'static [Field], about: &'static str) -> Route {
    Route { method: Method::Get, path, word, right: Right::Action(Action::ReadFromAfar), act: None, fields, about }
}

const fn post(
    path: &'static str,
    word: &'static str,
    right: Right,
    fields: &'static [Field],
    about: &'static str,
) -> Route {
    Route { method: Method::Post, path, word, right, act: None, fields, about }
}

/// The first half of a signature; whoever may verify may perform too.
const fn prepare(
    path: &'static str,
    act: Signable,
    right: Action,
    fields: &'static [Field],
    about: &'static str,
) -> Route {
    let (method, right) = (Method::Post, Right::Action(right));
    Route { method, path, word: "sign_prepare", right, act: Some(act), fields, about }
}

const BATCH: Field = needed("batch", Shape::Text(32));
const USER: Field = needed("user", Shape::User);
const REASON: Field = needed("reason", Shape::Text(200));
const PASSWORD: Field = needed("password", Shape::Secret);
const NEW_PASSWORD: Field = needed("new_password", Shape::Secret);
const ROLES: Field = needed("roles", Shape::Roles);
const STREAM: Field = free("stream", Shape::Words(crate::wire::topic::STREAMS));
const ACT: Field = needed("action", Shape::Act);
const SEQ: Field = needed("seq", Shape::Whole(1, u64::MAX));

/// What every hand on product says.
const HANDS: &[Field] = &[
    needed("code", Shape::Text(4096)),
    needed("reason", Shape::Words(HandReason::NAMES)),
    free("note", Shape::Text(200)),
];

const PEOPLE: Right = Right::Action(Action::AdministerPeople);
const SERIALS: Right = Right::Action(Action::NameSerials);
const OPEN: Right = Right::Action(Action::OpenContainer);
const WITHDRAW: Right = Right::Action(Action::WithdrawUnit);
const QUARANTINE: Right = Right::Action(Action::SettleQuarantine);

/// By path.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    get("/alarms", "alarm_list", &[], "What the line waits for"),
    post("/alarms/{alarm}/ack", "alarm_ack", Right::Action(Action::AcknowledgeAlarm),
        &[needed("alarm", Shape::Whole(1, 4_294_967_295))], "Acknowledge one alarm"),
    get("/audit/review", "audit_review", &[free("to_seq", Shape::Whole(0, u64::MAX))], "What stood out since the last review"),
    prepare("/audit/review", Signable::AuditReview, Action::ReviewAudit,
        &[needed("from_seq", Shape::Whole(1, u64::MAX)), needed("to_seq", Shape::Whole(0, u64::MAX)),
        needed("exceptions", Shape::Whole(0, u64::MAX)), needed("sha256", Shape::Text(64))],
        "The review as it was shown, and a challenge to sign it with"),
    get("/batches", "batch_list", &[], "Every batch, the newest first"),
    post("/batches", "batch_load", Right::Action(Action::LoadBatch), &[needed("order", Shape::Order)],
        "Load a production order with its serials; of a bad one nothing is taken"),
    get("/batches/{batch}", "batch_show", &[BATCH], "One batch: its order, its counts, its balance; null where there is none"),
    post("/batches/{batch}/abort", "batch_abort", Right::Action(Action::AbortBatch), &[BATCH, REASON],
        "End a batch before its time"),
    prepare("/batches/{batch}/clearance", Signable::Clearance, Action::ClearLine,
        &[BATCH, needed("items", Shape::Items)], "The checklist of a clear line, answered, and a challenge to sign it with"),
    post("/batches/{batch}/close", "batch_close", Right::Action(Action::CloseBatch), &[BATCH],
        "End a batch whose counts balance"),
    post("/batches/{batch}/hold", "batch_hold", Right::Action(Action::HoldBatch), &[BATCH, REASON], "Nothing goes on until it is resumed"),
    post("/batches/{batch}/purge", "batch_purge", Right::Action(Action::PurgeBatch), &[BATCH], "Run the line empty"),
    post("/batches/{batch}/reopen", "batch_reopen", Right::Action(Action::ReopenBatch), &[BATCH, REASON],
        "Put a closed batch right: it is stopped again, and closes anew"),
    post("/batches/{batch}/resume", "batch_resume", Right::Action(Action::ResumeBatch),
        &[BATCH, free("reason", Shape::Text(200))], "Go on with a batch that is held"),
    post("/batches/{batch}/start", "batch_start", Right::Action(Action::StartBatch), &[BATCH], "Begin to print and verify"),
    post("/batches/{batch}/stop", "batch_stop", Right::Action(Action::StopBatch), &[BATCH], "End printing"),
    prepare("/batches/{batch}/variance", Signable::VarianceClose, Action::SignVariance, &[BATCH],
        "The record of a close that does not balance, and a challenge to sign it with"),
    prepare("/config/approval", Signable::ConfigApproval, Action::ApproveConfig, &[],
        "The configuration as it is, and a challenge to sign it with"),
    post("/containers/remove", "container_remove", Right::Action(Action::RemoveChild), HANDS, "Take one child out, by its own code"),
    post("/containers/reopen", "container_reopen", OPEN, HANDS, "Open a closed container, and what lies around it"),
    post("/containers/reprint", "container_reprint", Right::Action(Action::ReprintLabel), HANDS,
        "Another label; those before are void"),
    post("/containers/unpack", "container_unpack", OPEN, HANDS, "Everything out: the container is no more"),
    get("/feed", "feed_status", &[], "The feed to the broker"),
    get("/feed/quarantine", "feed_quarantine", &[], "What the broker refuses"),
    get("/feed/quarantine/export", "feed_export", &[], "The same, with what the messages say"),
    post("/feed/replay", "feed_replay", Right::Action(Action::ReplayFeed),
        &[needed("from", Shape::Whole(1, u64::MAX)), STREAM], "Send the feed again from this number on"),
    post("/feed/retry", "feed_retry", QUARANTINE, &[SEQ, STREAM], "Try a message in quarantine again"),
    post("/feed/skip", "feed_skip", QUARANTINE, &[SEQ, STREAM, REASON], "Give up a message in quarantine"),
    post("/login", "login", Right::Anybody, &[needed("user", Shape::Text(64)), PASSWORD],
        "Begin a session; the cookie is its key"),
    post("/logout", "logout", Right::Session, &[], "End the session"),
    post("/serials/confirm", "serials_confirm", SERIALS, &[], "Upstream has named all serials that were used since the backup"),
    post("/serials/used", "serials_used", SERIALS,
        &[needed("gtin", Shape::Gtin), needed("serials", Shape::Serials)], "Name serials that were used"),
    post("/sign", "sign", Right::Act,
        &[USER, PASSWORD, ACT, needed("challenge", Shape::Text(64)), needed("meaning", Shape::Words(&["performed", "verified"]))],
        "Sign what was prepared, with name and password each time"),
    get("/status", "status", &[], "The line now"),
    get("/tap", "tap", &[free("after", Shape::Whole(0, u64::MAX)), free("device", Shape::Text(24))],
        "What passed the line after an entry of the tap"),
    get("/trace", "trace", &[needed("code", Shape::Text(4096))],
        "Everything known of a code, as read or typed; null where it is none of this line"),
    post("/units/decommission", "unit_decommission", WITHDRAW, HANDS, "A commissioned unit whose number stands for nothing any more"),
    post("/units/destroy", "unit_destroy", WITHDRAW, HANDS, "A commissioned unit, or a sample, that is destroyed"),
    post("/units/sample", "unit_sample", Right::Action(Action::SampleUnit), HANDS, "Take a sample of a unit, or of a label"),
    post("/units/scrap", "unit_scrap", Right::Action(Action::ScrapLabel), HANDS, "A printed label that never became a product"),
    get("/users", "user_list", &[], "Everybody who has or had an account"),
    post("/users", "user_add", PEOPLE, &[USER, needed("full_name", Shape::Text(64)), ROLES, PASSWORD], "A new account"),
    post("/users/{user}/disable", "user_disable", PEOPLE, &[USER, REASON], "Nobody logs in with it any more"),
    post("/users/{user}/enable", "user_enable", PEOPLE, &[USER, REASON], "It may be used again"),
    post("/users/{user}/password", "user_passwd", Right::Session, &[USER, PASSWORD, NEW_PASSWORD], "Replace your own password"),
    post("/users/{user}/reset", "user_reset", PEOPLE, &[USER, NEW_PASSWORD],
        "A password for somebody else, who must replace it"),
    post("/users/{user}/roles", "user_roles", PEOPLE, &[USER, ROLES, REASON], "What the person may do"),
    post("/users/{user}/unlock", "user_unlock", PEOPLE, &[USER], "End a lock after failed log-ins"),
];

/// Commands of the local socket that have no route, and why.
pub const LOCAL_ONLY: &[(&str, &str)] = &[
    ("user_init", "the first account is made by who can read the code that lies beside the journal"),
    ("user_recover", "the way back is for who can write beside the journal"),
];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::engine::signing::Meaning;
    use crate::web::serve;
    use crate::wire::command::{ClientRequest, Secret, WORDS};

    /// Something that the field takes.
    fn good(field: &Field) -> Value {
        match field.shape {
            Shape::Text(_) => json!("x1"),
            Shape::Secret => json!("a long enough secret"),
            Shape::User => json!("m.meier"),
            Shape::Gtin => json!("09506000134352"),
            Shape::Whole(least, _) => json!(least),
            Shape::Words(words) => json!(words[0]),
            Shape::Roles => json!(["operator"]),
            Shape::Serials => json!(["A1"]),
            Shape::Order => json!({ "batch": "B7" }),
            Shape::Act => json!(Signable::ALL[0].name()),
            Shape::Items => json!([{ "item": "x", "answer": "done" }]),
        }
    }

    fn parse(route: &Route, fields: &[(&str, Value)]) -> Result<ClientRequest, String> {
        let (outside, inside): (Vec<_>, Vec<_>) =
            fields.iter().partition(|(key, _)| route.method == Method::Get || route.is_in_path(key));
        let outside = outside.into_iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        let outside = outside.chain(route.act.map(|act| ("action".to_owned(), json!(act.name())))).collect();
        let body: serde_json::Map<String, Value> =
            inside.into_iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let body = Value::Object(body).to_string();
        let body = (route.method == Method::Post).then_some(body.as_bytes());
        let parsed = ClientRequest::parse_http(route.word, Some(Secret::new("t")), outside, body);
        parsed.map_err(|answer| answer.to_line())
    }

    #[test]
    fn every_command_has_one_route_or_a_reason_to_have_none() {
        for word in WORDS {
            let routes = ROUTES.iter().filter(|route| route.word == *word).count();
            let excuses = LOCAL_ONLY.iter().filter(|(local, _)| local == word).count();
            let wanted = if *word == "sign_prepare" { Signable::ALL.len() } else { 1 };
            assert_eq!(routes + excuses, wanted, "{word}: give it a route in src/web/routes.rs");
        }
        assert!(ROUTES.iter().all(|route| WORDS.contains(&route.word)), "a route of no command");
        for act in Signable::ALL {
            let route = ROUTES.iter().find(|route| route.act == Some(*act)).expect("a route for each act");
            assert_eq!(route.right, Right::Action(act.right(Meaning::Performed)), "{}", route.path);
        }
    }

    #[test]
    fn the_table_has_the_fields_of_each_command_and_no_others() {
        for route in ROUTES {
            let all: Vec<(&str, Value)> = route.fields.iter().map(|field| (field.key, good(field))).collect();
            parse(route, &all).unwrap_or_else(|refused| panic!("{}: {refused}", route.word));
            for field in route.fields {
                let without: Vec<_> = all.iter().filter(|(key, _)| *key != field.key).cloned().collect();
                let said = parse(route, &without);
                assert_eq!(said.is_err(), field.is_required, "{} without {}: {said:?}", route.word, field.key);
            }
            let more: Vec<_> = all.iter().cloned().chain([("more", json!(1))]).collect();
            assert!(parse(route, &more).expect_err(route.word).contains("$.more"));
        }
    }

    #[test]
    fn what_acts_is_a_post_and_what_is_a_get_reads() {
        for route in ROUTES {
            let reads = route.right == Right::Action(Action::ReadFromAfar);
            assert_eq!(route.method == Method::Get, reads, "{}", route.path);
            let in_path = route.fields.iter().filter(|field| route.is_in_path(field.key)).count();
            assert_eq!(in_path, route.path.matches('{').count(), "{}: a part of the path that is no field", route.path);
        }
        assert!(ROUTES.is_sorted_by_key(|route| (route.path, route.method == Method::Post)), "by path");
        assert!(ROUTES.iter().all(|route| route.right != Right::Anybody || route.word == "login"));
    }

    #[test]
    fn a_number_in_a_path_is_a_number_and_everything_else_is_text() {
        let route = ROUTES.iter().find(|route| route.word == "alarm_ack").expect("a route");
        let value = |text: &str| serve::value(route, "alarm", text);
        assert_eq!(value("12"), json!(12));
        for text in ["012", "+1", "-1", "1.0", "", "x", "99999999999999999999"] {
            assert_eq!(value(text), json!(text), "{text}");
        }
        let route = ROUTES.iter().find(|route| route.word == "batch_show").expect("a route");
        assert_eq!(serve::value(route, "batch", "12"), json!("12"));
    }
}
