//! What a request's head says of where it comes from: whose session, which page, what kind of body, which key of a repeat.

use axum::http::header::{CONTENT_TYPE, COOKIE as COOKIES, HOST, HeaderMap, ORIGIN};
use axum::response::Response;

use crate::web::{COOKIE, Refusal};
use crate::wire::command::Secret;

const TOKEN_BYTES_MAX: usize = 256;
const KEY_BYTES_MAX: usize = 64;

/// A page of another site may make its reader's browser ask; it asks for nothing here. What is no browser says neither header.
pub(super) fn same_origin(head: &HeaderMap) -> Result<(), Box<Response>> {
    let text = |name: &str| head.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site_fits = text("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    let host = text(HOST.as_str()).unwrap_or_default();
    let is_ours = |origin: &str| origin.split_once("://").is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host));
    if site_fits && text(ORIGIN.as_str()).is_none_or(is_ours) {
        return Ok(());
    }
    let text = "the request comes from a page of another site; open the line's own";
    Err(Box::new(Refusal::NotAllowed.because("foreign_origin", text)))
}

/// A form of a foreign page cannot say this of its body.
pub(super) fn json(head: &HeaderMap) -> Result<(), Box<Response>> {
    let given = head.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let text = "the body is one JSON object, and the header Content-Type is application/json";
    Err(Box::new(Refusal::UnsupportedMediaType.because("no_json", text)))
}

pub(super) fn token(head: &HeaderMap) -> Option<Secret> {
    let cookies = head.get_all(COOKIES).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let token = pairs.find(|(name, _)| *name == COOKIE).map(|(_, token)| token);
    token.filter(|token| (1..=TOKEN_BYTES_MAX).contains(&token.len())).map(Secret::new)
}

/// The key under which a repeat is known.
pub(super) fn repeat_key(head: &HeaderMap) -> Result<Option<&str>, Box<Response>> {
    let Some(value) = head.get("idempotency-key") else { return Ok(None) };
    let fits = |key: &&str| (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    let key = value.to_str().ok().filter(fits);
    let text = "the header Idempotency-Key has 1 to 64 printed characters";
    key.map(Some).ok_or_else(|| Box::new(Refusal::BadRequest.because("bad_request", text)))
}

/// The cookie that holds a session, or one that ends it.
pub(super) fn cookie(token: Option<&str>, is_near: bool) -> String {
    let secure = if is_near { "" } else { "; Secure" };
    let end = if token.is_none() { "; Max-Age=0" } else { "" };
    let token = token.unwrap_or_default();
    format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/api{secure}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut head = HeaderMap::new();
        for (name, value) in pairs {
            head.append(*name, value.parse().expect("a header"));
        }
        head
    }

    #[test]
    fn pages_of_other_sites_are_told_by_what_their_browser_says() {
        const HERE: (&str, &str) = ("host", "127.0.0.1:8080");
        let is_ours = |pairs: &[(&'static str, &'static str)]| same_origin(&head(&[&[HERE], pairs].concat())).is_ok();
        assert!(is_ours(&[]), "no browser");
        assert!(is_ours(&[("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-origin")]));
        assert!(is_ours(&[("sec-fetch-site", "none")]), "typed by hand");
        for foreign in
            ["http://evil.example", "null", "http://127.0.0.1:8081", "http://127.0.0.1:8080.evil.example", ""]
        {
            assert!(!is_ours(&[("origin", foreign)]), "{foreign}");
        }
        for foreign in ["cross-site", "same-site", "x"] {
            assert!(!is_ours(&[("sec-fetch-site", foreign)]), "{foreign}");
        }
    }

    #[test]
    fn a_body_is_json_or_none_at_all() {
        for (kind, is_json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("application/jsonx", false),
        ] {
            assert_eq!(json(&head(&[("content-type", kind)])).is_ok(), is_json, "{kind}");
        }
        assert!(json(&head(&[])).is_err());
    }

    #[test]
    fn a_session_is_found_among_other_cookies_and_kept_where_no_script_reads_it() {
        let found = token(&head(&[("cookie", "a=b; sealgate_session=abc; c=d")])).expect("it is there");
        assert_eq!(found.reveal(), "abc");
        let found = token(&head(&[("cookie", "a=b"), ("cookie", "sealgate_session=x=y")])).expect("it is there");
        assert_eq!(found.reveal(), "x=y");
        for none in ["", "sealgate_session=", "sealgate_sessions=abc", "xsealgate_session=abc"] {
            assert!(token(&head(&[("cookie", none)])).is_none(), "{none}");
        }
        assert_eq!(cookie(Some("abc"), true), "sealgate_session=abc; HttpOnly; SameSite=Strict; Path=/api");
        assert!(cookie(Some("abc"), false).ends_with("; Secure"));
        assert!(cookie(None, true).starts_with("sealgate_session=;") && cookie(None, true).ends_with("Max-Age=0"));
    }
}
