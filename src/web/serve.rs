//! From a request to its answer: limits, origin, session, right, body, and then the desk.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, SET_COOKIE};
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing;
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::engine::people::PeopleRefusal;
use crate::engine::reason::RequestRefusal;
use crate::engine::rights::Action;
use crate::web::limits::Pace;
use crate::web::outcome::{self, Refusal};
use crate::web::repeats::{Begun, Keyed, Known, Repeats};
use crate::web::routes::{BASE, DOCUMENT, Method, ROUTES, Right, Route, Shape};
use crate::web::{ANSWER_MAX, Asked, BODY_MAX, Sink, guard, openapi};
use crate::wire::command::{ClientAnswer, ClientRequest, Reason, Secret};
use crate::wire::digest;

/// Orders that are read at once: one may hold 32 MiB.
const ORDERS_MAX: usize = 1;
/// Of a body that is too large, what is still read.
const DROPPED_BYTES_MAX: usize = 1024 * 1024;

/// What all requests share.
pub(super) struct House {
    sink: Sink,
    pace: Arc<Pace>,
    orders: Semaphore,
    repeats: Arc<Repeats>,
    /// The door is open to this computer alone.
    is_near: bool,
}

/// Whose request it is: somebody who may make it, as far as the line says before it knows what is in it.
struct Admitted {
    route: &'static Route,
    token: Option<Secret>,
}

/// A refusal is an answer too, and ends what is being done.
type Step<T> = Result<T, Box<Response>>;

pub(super) fn router(house: &Arc<House>, version: &str) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let here = Arc::clone(house);
        let serve = move |request: Request| {
            let house = Arc::clone(&here);
            async move { house.serve(route, request).await }
        };
        let methods = match route.method {
            Method::Get => routing::get(serve),
            Method::Post => routing::post(serve),
        };
        router = router.route(&route.template(), methods);
    }
    let (here, document) = (Arc::clone(house), Arc::new(openapi::document(version)));
    let told = move |request: Request| {
        let said = here.open(&request.into_parts().0).map(|()| outcome::document(StatusCode::OK, &document));
        std::future::ready(said.unwrap_or_else(|refused| *refused))
    };
    router
        .route(&format!("{BASE}{DOCUMENT}"), routing::get(told))
        .method_not_allowed_fallback(|| async {
            Refusal::MethodNotAllowed.because("method_not_allowed", "the path has another method; see the header Allow")
        })
        .fallback(|| async {
            Refusal::NotFound.because("not_found", format!("nothing lies here; {BASE}{DOCUMENT} says what there is"))
        })
}

impl House {
    pub(super) fn new(sink: Sink, pace: Arc<Pace>, is_near: bool) -> Self {
        Self { sink, pace, orders: Semaphore::new(ORDERS_MAX), repeats: Arc::default(), is_near }
    }

    async fn serve(&self, route: &'static Route, request: Request) -> Response {
        self.done(route, request).await.unwrap_or_else(|refused| *refused)
    }

    async fn done(&self, route: &'static Route, request: Request) -> Step<Response> {
        let (mut head, body) = request.into_parts();
        let admitted = self.admit(route, &head).await?;
        let fields = fields(route, &mut head).await?;
        let is_order = route.fields.iter().any(|field| field.shape == Shape::Order);
        let order = is_order.then(|| self.orders.try_acquire()).transpose();
        let _order =
            order.map_err(|_| Refusal::Unavailable.because("busy", "another order is being read; ask again"))?;
        let body = match route.method {
            Method::Get => None,
            Method::Post => {
                let late = |_| Refusal::TimedOut.because("timed_out", "the body did not come within 30 s");
                Some(timeout(BODY_MAX, read(body, route.body_bytes_max())).await.map_err(late)??)
            }
        };
        let begun = match self.repeat(&admitted, &head, body.as_deref().unwrap_or_default())? {
            Some(Known::Done(answer)) => return Ok(outcome::response(&answer)),
            Some(Known::New(begun)) => Some(begun),
            Some(Known::Begun) => {
                return Err(Box::new(Refusal::Conflict.because("in_progress", "the first of these is being done")));
            }
            Some(Known::Other) => {
                let text = "the header Idempotency-Key stood on another request; each has a key of its own";
                return Err(Box::new(Refusal::Unfit.because("key_reused", text)));
            }
            None => None,
        };
        let request = parsed(&admitted, fields, body).await.map_err(|refused| Box::new(outcome::response(&refused)))?;
        let answer = self.put(request).await;
        begun.into_iter().for_each(|begun: Begun| begun.done(&answer));
        Ok(self.told(route, answer))
    }

    /// What is asked of every request, whatever it is.
    fn open(&self, head: &Parts) -> Step<()> {
        if !self.pace.take() {
            return Err(Box::new(Refusal::TooMany.because("too_many", "too many requests; ask again in a second")));
        }
        guard::same_origin(&head.headers)
    }

    /// A body is read for nobody who may not do what it asks for.
    async fn admit(&self, route: &'static Route, head: &Parts) -> Step<Admitted> {
        self.open(head)?;
        if route.method == Method::Post {
            guard::json(&head.headers)?;
        }
        if route.right == Right::Anybody {
            return Ok(Admitted { route, token: None });
        }
        let Some(token) = guard::token(&head.headers) else {
            let nobody = Reason::from(&RequestRefusal::People(PeopleRefusal::NotLoggedIn));
            return Err(Box::new(outcome::response(&ClientAnswer::refusal(0, vec![nobody]))));
        };
        let needed = match route.right {
            Right::Anybody | Right::Session => None,
            Right::Action(action) => Some(action),
            Right::Act => Some(Action::ReadFromAfar),
        };
        if let Some(action) = needed {
            let answer = self.put(ClientRequest::permission(&token, action)).await;
            if !answer.ok {
                return Err(Box::new(outcome::response(&answer)));
            }
        }
        Ok(Admitted { route, token: Some(token) })
    }

    /// What is known of the key that a repeat carries; nothing where it carries none.
    fn repeat(&self, admitted: &Admitted, head: &Parts, body: &[u8]) -> Step<Option<Known>> {
        let Some(token) = admitted.token.as_ref().filter(|_| admitted.route.method == Method::Post) else {
            return Ok(None);
        };
        let Some(key) = guard::repeat_key(&head.headers)? else { return Ok(None) };
        let key = digest::sha256_hex(format!("{} {key}", token.reveal()).as_bytes());
        let content = digest::sha256_hex(&[head.uri.path().as_bytes(), b"\n", body].concat());
        Ok(Some(self.repeats.begin(Keyed { key, content })))
    }

    async fn put(&self, request: ClientRequest) -> ClientAnswer {
        let refusal = |code, text| ClientAnswer::refusal(0, vec![Reason::new(code, text)]);
        let (answer, answered) = oneshot::channel();
        if !(self.sink)(Asked { request, answer }) {
            return refusal("busy", "the line has no room for another request; ask again");
        }
        match timeout(ANSWER_MAX, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => refusal("stopping", "the daemon is stopping; ask again when it runs"),
            Err(_) => refusal("no_answer", "the line gave no answer within two minutes; see `sealgate status`"),
        }
    }

    /// The key of a session goes into the cookie and nowhere else.
    fn told(&self, route: &Route, mut answer: ClientAnswer) -> Response {
        let token = match (route.word, answer.data.as_mut().and_then(Value::as_object_mut)) {
            ("login", Some(data)) => data.remove("session"),
            _ => None,
        };
        let token = token.as_ref().and_then(Value::as_str);
        let mut response = outcome::response(&answer);
        let is_changed = token.is_some() || (route.word == "logout" && answer.ok);
        let cookie = is_changed.then(|| HeaderValue::from_str(&guard::cookie(token, self.is_near)));
        if let Some(Ok(cookie)) = cookie {
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
        response
    }
}

/// What path and query say. Nothing of what acts stands in a query, where logs would keep it.
async fn fields(route: &Route, head: &mut Parts) -> Step<Vec<(String, Value)>> {
    let bad = |what: String| Box::new(Refusal::BadRequest.because("bad_request", what));
    let path = Path::<Vec<(String, String)>>::from_request_parts(head, &()).await;
    let Path(mut pairs) = path.map_err(|error| bad(error.body_text()))?;
    if route.method == Method::Get {
        let query = Query::<Vec<(String, String)>>::from_request_parts(head, &()).await;
        pairs.extend(query.map_err(|error| bad(error.body_text()))?.0);
    } else if head.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(bad("the fields of what acts stand in the body, and none in the query".to_owned()));
    }
    let act = route.act.map(|act| ("action".to_owned(), act.name().into()));
    Ok(pairs.into_iter().map(|(key, text)| (key.clone(), value(route, &key, &text))).chain(act).collect())
}

/// A whole number where the field is one and the text is how one is written; else the text, of which the desk says what is wrong.
pub(super) fn value(route: &Route, key: &str, text: &str) -> Value {
    let is_whole = route.fields.iter().any(|field| field.key == key && matches!(field.shape, Shape::Whole(..)));
    let number = text.parse::<u64>().ok().filter(|number| is_whole && number.to_string() == text);
    number.map_or_else(|| text.into(), Value::from)
}

/// The whole body. Of one that is too large the rest is read and dropped, within bounds: who is still sending hears no answer.
async fn read(mut body: Body, most: usize) -> Step<Vec<u8>> {
    let (mut whole, mut dropped) = (Vec::new(), 0_usize);
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let broken = |_| Refusal::BadRequest.because("bad_request", "the body broke off");
        let Ok(piece) = frame.map_err(broken)?.into_data() else { continue };
        if dropped == 0 && whole.len().saturating_add(piece.len()) <= most {
            whole.extend_from_slice(&piece);
        } else {
            dropped = dropped.saturating_add(piece.len());
        }
        if dropped > DROPPED_BYTES_MAX {
            break;
        }
    }
    if dropped == 0 {
        return Ok(whole);
    }
    Err(Box::new(
        Refusal::TooLarge
            .because("too_long", format!("the body is larger than the {most} bytes that this route takes")),
    ))
}

/// An order takes a while: the tasks of the devices go on meanwhile.
async fn parsed(
    admitted: &Admitted,
    fields: Vec<(String, Value)>,
    body: Option<Vec<u8>>,
) -> Result<ClientRequest, Box<ClientAnswer>> {
    let (word, token) = (admitted.route.word, admitted.token.clone());
    let parse = move || ClientRequest::parse_http(word, token, fields, body.as_deref());
    let parsed = tokio::task::spawn_blocking(parse).await;
    parsed.unwrap_or_else(|error| {
        Err(Box::new(ClientAnswer::refusal(0, vec![Reason::new("internal", error.to_string())])))
    })
}
