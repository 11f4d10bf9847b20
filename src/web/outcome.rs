//! Answers as HTTP says them: one body for every refusal, and a short list of status codes, each with its word.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::wire::command::{ClientAnswer, Reason};

/// Why a request was not done. The whole list: every other status is a flaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    BadRequest,
    NotLoggedIn,
    NotAllowed,
    NotFound,
    MethodNotAllowed,
    TimedOut,
    Conflict,
    TooLarge,
    UnsupportedMediaType,
    Unfit,
    TooMany,
    Unavailable,
}

impl Refusal {
    pub const ALL: &'static [Refusal] = &[
        Refusal::BadRequest,
        Refusal::NotLoggedIn,
        Refusal::NotAllowed,
        Refusal::NotFound,
        Refusal::MethodNotAllowed,
        Refusal::TimedOut,
        Refusal::Conflict,
        Refusal::TooLarge,
        Refusal::UnsupportedMediaType,
        Refusal::Unfit,
        Refusal::TooMany,
        Refusal::Unavailable,
    ];

    pub fn status(self) -> StatusCode {
        match self {
            Refusal::BadRequest => StatusCode::BAD_REQUEST,
            Refusal::NotLoggedIn => StatusCode::UNAUTHORIZED,
            Refusal::NotAllowed => StatusCode::FORBIDDEN,
            Refusal::NotFound => StatusCode::NOT_FOUND,
            Refusal::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Refusal::Conflict => StatusCode::CONFLICT,
            Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::Unfit => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The stable word, `error` in the body.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::BadRequest => "bad_request",
            Refusal::NotLoggedIn => "not_logged_in",
            Refusal::NotAllowed => "not_allowed",
            Refusal::NotFound => "not_found",
            Refusal::MethodNotAllowed => "method_not_allowed",
            Refusal::TimedOut => "timed_out",
            Refusal::Conflict => "conflict",
            Refusal::TooLarge => "too_large",
            Refusal::UnsupportedMediaType => "unsupported_media_type",
            Refusal::Unfit => "unfit",
            Refusal::TooMany => "too_many",
            Refusal::Unavailable => "unavailable",
        }
    }

    /// For the document.
    pub fn about(self) -> &'static str {
        match self {
            Refusal::BadRequest => "The request is malformed; the reasons say where.",
            Refusal::NotLoggedIn => "No session, one that is over, or a name and password that do not fit.",
            Refusal::NotAllowed => "The session's roles do not allow it, or the request comes from a foreign page.",
            Refusal::NotFound => "What is named is not on this line.",
            Refusal::MethodNotAllowed => "The path is known, and this is not its method.",
            Refusal::TimedOut => "The body did not come in time.",
            Refusal::Conflict => "The line refuses; each reason names its rule. Nothing was changed.",
            Refusal::TooLarge => "The body is larger than this route takes.",
            Refusal::UnsupportedMediaType => "What acts is asked for in application/json.",
            Refusal::Unfit => {
                "Well-formed, and no good: an order with problems, a weak password, a key of another request."
            }
            Refusal::TooMany => "Too many requests; the header Retry-After says when to ask again.",
            Refusal::Unavailable => "The line is busy or stopping; the header Retry-After says when to ask again.",
        }
    }

    /// What the codes of the line come to; one that is not here is a rule of the line that says no.
    fn of_code(code: &str) -> Self {
        match code {
            "bad_request" => Refusal::BadRequest,
            "not_logged_in" | "session_over" | "nobody_yet" | "log_in_refused" | "passwords_void"
            | "password_changed" => Refusal::NotLoggedIn,
            "not_allowed" | "must_change_password" | "foreign_origin" => Refusal::NotAllowed,
            "unknown_batch" | "unknown_alarm" | "unknown_user" | "unknown_device" | "unknown_unit"
            | "unknown_container" | "no_feed" => Refusal::NotFound,
            "bad_order" | "weak_password" | "bad_user" | "no_role" | "key_reused" => Refusal::Unfit,
            "busy" | "stopping" | "slow" | "no_answer" | "journal" | "internal" => Refusal::Unavailable,
            _ => Refusal::Conflict,
        }
    }

    pub(super) fn of(answer: &ClientAnswer) -> Self {
        answer.reasons.first().map_or(Refusal::Conflict, |reason| Refusal::of_code(&reason.code))
    }

    /// A refusal of the door itself.
    pub(super) fn because(self, code: &str, text: impl Into<String>) -> Response {
        self.response(&ClientAnswer::refusal(0, vec![Reason::new(code, text)]))
    }

    fn response(self, answer: &ClientAnswer) -> Response {
        let mut response = body(self.status(), answer, Some(self.name()));
        if matches!(self, Refusal::TooMany | Refusal::Unavailable) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The answer of the line: what the local socket says without its number, and in a refusal the word of its status.
pub(super) fn response(answer: &ClientAnswer) -> Response {
    if answer.ok { body(StatusCode::OK, answer, None) } else { Refusal::of(answer).response(answer) }
}

fn body(status: StatusCode, answer: &ClientAnswer, error: Option<&str>) -> Response {
    let mut value = serde_json::to_value(answer).unwrap_or_else(|_| json!({ "ok": false }));
    if let Value::Object(fields) = &mut value {
        fields.remove("id");
        if let Some(error) = error {
            fields.entry("reasons").or_insert_with(|| json!([]));
            fields.insert("error".to_owned(), error.into());
        }
    }
    document(status, &value)
}

/// Nothing that this line says is kept by anybody on the way.
pub(super) fn document(status: StatusCode, value: &Value) -> Response {
    let headers =
        [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (status, headers, value.to_string()).into_response()
}
