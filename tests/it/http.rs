//! The HTTP door of the real daemon: every role at every route of the table, foreign pages, bad and slow clients, repeats, and the
//! same answers as on the local socket.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use sealgate::engine::people::Role;
use sealgate::engine::signing::{Meaning, Signable};
use sealgate::web::routes::{Field, LOCAL_ONLY, Method, ROUTES, Right, Route, Shape};
use sealgate::web::{CONNECTIONS_MAX, Refusal};
use serde_json::{Map, Value, json};

use crate::daemon::{Daemon, Site};

const ANNAS: &str = "horse correct battery staple";
const FIRST: &str = "chosen by an administrator";
const THEIRS: &str = "a river runs through it";
const PATIENCE: Duration = Duration::from_secs(60);
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A running daemon with the door open, and people of every role.
struct House {
    site: Site,
    at: SocketAddr,
    _daemon: Daemon,
}

/// What came back: status, head and body.
struct Reply {
    status: u16,
    head: String,
    body: Value,
}

impl House {
    fn new() -> Self {
        let site = Site::new();
        let text = fs::read_to_string(site.file("line.toml")).expect("ours");
        let text = format!("{text}\n[http]\nlisten = \"127.0.0.1:0\"\n");
        fs::write(site.file("line.toml"), text).expect("ours");
        let log = fs::File::create(site.file("log")).expect("ours");
        let mut command = site.command(&["run"]);
        command.env("NOTIFY_SOCKET", site.file("notify")).env("SEALGATE_LOG", "trace").stderr(log);
        let daemon = Daemon { child: command.spawn().expect("the program starts") };
        site.hear("READY=1");
        let at = site.json(&["status"])["http"].as_str().expect("an address").parse().expect("an address");
        Self { site, at, _daemon: daemon }
    }

    /// Anna, who administers; and one person for each role that is wanted, each with a password of their own.
    fn with(roles: &[Role]) -> (Self, String) {
        let house = Self::new();
        let code = fs::read_to_string(house.site.file("line3.code")).expect("nobody is there yet");
        let first = json!({"id": 1, "do": "user_init", "code": code.trim(), "user": "anna", "full_name": "Anna", "password": ANNAS});
        assert_eq!(house.local(&first)["ok"], true);
        let anna = house.log_in("anna", ANNAS);
        for role in roles {
            let (user, name) = (user(*role), role.name());
            let new = json!({"user": user, "full_name": name, "roles": [name], "password": FIRST});
            assert_eq!(house.post(Some(&anna), "/users", &new).status, 200);
            let cookie = house.log_in(&user, FIRST);
            let waits = house.get(Some(&cookie), "/status");
            assert_eq!((waits.status, &waits.body["reasons"][0]["code"]), (403, &json!("must_change_password")));
            let change = json!({"password": FIRST, "new_password": THEIRS});
            assert_eq!(house.post(Some(&cookie), &format!("/users/{user}/password"), &change).status, 200);
        }
        (house, anna)
    }

    /// One line on the local socket.
    fn local(&self, request: &Value) -> Value {
        let mut stream = UnixStream::connect(self.site.file("line.sock")).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a bound on waiting");
        stream.write_all(format!("{request}\n").as_bytes()).expect("it reads");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("an answer");
        serde_json::from_str(&line).expect("JSON")
    }

    fn log_in(&self, user: &str, password: &str) -> String {
        let reply = self.post(None, "/login", &json!({"user": user, "password": password}));
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.body["data"].get("session"), None, "the key of a session is in the cookie alone");
        let cookie = reply.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
        let (pair, how) = cookie.split_once("; ").expect("a cookie says how it is kept");
        assert_eq!(how, "HttpOnly; SameSite=Strict; Path=/api");
        assert_eq!(pair.len(), "sealgate_session=".len() + 64);
        pair.to_owned()
    }

    fn get(&self, cookie: Option<&str>, path: &str) -> Reply {
        let cookie = cookie.map(|cookie| ("Cookie", cookie));
        self.send("GET", &format!("/api/v1{path}"), &cookie.into_iter().collect::<Vec<_>>(), "")
    }

    fn post(&self, cookie: Option<&str>, path: &str, body: &Value) -> Reply {
        let cookie = cookie.map(|cookie| ("Cookie", cookie));
        let head: Vec<_> = cookie.into_iter().chain([JSON]).collect();
        self.send("POST", &format!("/api/v1{path}"), &head, &body.to_string())
    }

    fn send(&self, method: &str, path: &str, head: &[(&str, &str)], body: &str) -> Reply {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.at);
        for (name, value) in head {
            text += &format!("{name}: {value}\r\n");
        }
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        self.exchange(text.as_bytes())
    }

    fn open(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a bound on waiting");
        stream
    }

    fn exchange(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.open();
        // It may refuse and close before everything was written.
        let _ = stream.write_all(bytes);
        heard(&mut stream)
    }
}

/// Until the other end closes; a refusal before the whole request was read may end in a reset.
fn heard(stream: &mut TcpStream) -> Reply {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset && !bytes.is_empty() => break,
            Err(error) => panic!("no answer: {error}"),
        }
    }
    let text = String::from_utf8(bytes).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Reply { status, head: head.to_owned(), body: serde_json::from_str(body).unwrap_or(Value::Null) }
}

fn user(role: Role) -> String {
    format!("the-{}", role.name())
}

/// Something well-formed that names what is not there, so that no route changes the house.
fn good(route: &Route, field: &Field, user: &str) -> Value {
    match (route.word, field.key) {
        ("user_passwd" | "sign", "user") => json!(user),
        ("user_passwd", "new_password") => json!("short"),
        (_, "password") => json!(THEIRS),
        _ => match field.shape {
            Shape::Text(_) => json!("none"),
            Shape::Secret => json!("a long enough secret"),
            Shape::User => json!("nobody.here"),
            Shape::Gtin => json!("09506000134352"),
            Shape::Whole(..) => json!(4_000_000_000_u32),
            Shape::Words(words) => json!(words[0]),
            Shape::Roles | Shape::Serials | Shape::Items => json!([]),
            Shape::Order => json!({}),
            Shape::Act => json!(Signable::VarianceClose.name()),
        },
    }
}

fn ask(house: &House, route: &Route, cookie: Option<&str>, user: &str) -> Reply {
    let (mut path, mut query, mut body) = (route.path.to_owned(), Vec::new(), Map::new());
    for field in route.fields {
        let value = good(route, field, user);
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if route.is_in_path(field.key) {
            path = path.replace(&format!("{{{}}}", field.key), &text);
        } else if route.method == Method::Post {
            body.insert(field.key.to_owned(), value);
        } else if field.is_required {
            query.push(format!("{}={text}", field.key));
        }
    }
    match route.method {
        Method::Get if query.is_empty() => house.get(cookie, &path),
        Method::Get => house.get(cookie, &format!("{path}?{}", query.join("&"))),
        Method::Post => house.post(cookie, &path, &Value::Object(body)),
    }
}

/// That the reply is one that the document describes.
fn documented(document: &Value, reply: &Reply, what: &str) {
    let known = reply.status == 200 || Refusal::ALL.iter().any(|refusal| refusal.status().as_u16() == reply.status);
    assert!(known, "{what}: {} {}", reply.status, reply.body);
    let name = if reply.status == 200 { "Answer" } else { "Refusal" };
    let mut schema = document.clone();
    schema["$ref"] = json!(format!("#/components/schemas/{name}"));
    let flaws: Vec<String> = jsonschema::draft202012::new(&schema)
        .expect("a schema")
        .iter_errors(&reply.body)
        .map(|flaw| flaw.to_string())
        .collect();
    assert!(flaws.is_empty(), "{what}: {} {flaws:?}", reply.body);
    for header in ["cache-control: no-store", "content-type: application/json", "x-content-type-options: nosniff"] {
        assert!(reply.head.contains(header), "{what}: {}", reply.head);
    }
}

// F156
#[test]
fn every_role_reaches_the_routes_that_its_rights_name_and_no_other() {
    let (house, _) = House::with(Role::ALL);
    let document = house.get(None, "/openapi.json").body;
    assert_eq!(document["openapi"], "3.1.0");
    let forged = format!("sealgate_session={}", "0".repeat(64));
    for route in ROUTES.iter().filter(|route| route.right != Right::Anybody) {
        for (cookie, code) in [(None, "not_logged_in"), (Some(forged.as_str()), "session_over")] {
            let reply = ask(&house, route, cookie, "anna");
            documented(&document, &reply, route.word);
            // Where a password stands beside the session it is looked at first.
            let code = if route.word == "user_passwd" && cookie.is_some() { "log_in_refused" } else { code };
            assert_eq!((reply.status, &reply.body["reasons"][0]["code"]), (401, &json!(code)), "{}", route.word);
        }
    }
    for role in Role::ALL {
        let cookie = house.log_in(&user(*role), THEIRS);
        let (last, others): (Vec<&Route>, Vec<&Route>) = ROUTES.iter().partition(|route| route.word == "logout");
        for route in others.into_iter().filter(|route| route.right != Right::Anybody) {
            let reply = ask(&house, route, Some(&cookie), &user(*role));
            documented(&document, &reply, route.word);
            let may = match route.right {
                Right::Action(action) => action.is_of(*role),
                Right::Act => Signable::VarianceClose.right(Meaning::Performed).is_of(*role),
                Right::Session | Right::Anybody => true,
            };
            let is_refused = matches!(reply.status, 401 | 403);
            assert_eq!(is_refused, !may, "{role:?} {}: {} {}", route.word, reply.status, reply.body);
            assert!(
                may || reply.body["reasons"][0]["code"] == "not_allowed",
                "{role:?} {}: {}",
                route.word,
                reply.body
            );
        }
        let out = ask(&house, last[0], Some(&cookie), "");
        assert_eq!(out.status, 200);
        assert!(out.head.contains("set-cookie: sealgate_session=; ") && out.head.contains("Max-Age=0"), "{}", out.head);
        assert_eq!(house.get(Some(&cookie), "/status").status, 401);
    }
    for (word, _) in LOCAL_ONLY {
        assert_eq!(
            document["paths"]
                .as_object()
                .expect("paths")
                .values()
                .filter(|path| path["post"]["operationId"] == *word)
                .count(),
            0
        );
    }
    let log = fs::read_to_string(house.site.file("log")).expect("a log");
    for secret in [ANNAS, FIRST, THEIRS, "sealgate_session"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn nobody_comes_in_while_nobody_has_an_account() {
    let house = House::new();
    assert_eq!(
        house.local(&json!({"id": 1, "do": "batch_start", "batch": "B1"}))["reasons"][0]["code"],
        "unknown_batch"
    );
    for route in ROUTES {
        for cookie in [None, Some("sealgate_session=guess")] {
            let reply = ask(&house, route, cookie, "anna");
            assert!(matches!(reply.status, 401 | 422), "{}: {} {}", route.word, reply.status, reply.body);
        }
    }
    assert_eq!(house.post(None, "/users/init", &json!({"user": "eve"})).status, 404, "no route makes the first");
    assert_eq!(house.local(&json!({"id": 1, "do": "user_list"}))["data"], json!([]));
}

#[test]
fn both_doors_give_the_same_answers() {
    let (house, _) = House::with(&[Role::Quality]);
    let cookie = house.log_in("the-quality", THEIRS);
    let near = house.local(&json!({"id": 1, "do": "login", "user": "the-quality", "password": THEIRS}));
    let session = near["data"]["session"].clone();
    let order: Value = serde_json::from_slice(&fs::read(house.site.file("order.json")).expect("ours")).expect("JSON");
    let mut order = order;
    order.as_object_mut().expect("an object").remove("serials_file");
    order["serials"] = json!(["A1", "'OR'1'='1'--", "a+b/c"]);
    let bad = json!({"batch": "B2", "gtin": "09506000134351", "lot": "L#"});
    let cases = [
        ("batch_load", "/batches", json!({"order": bad})),
        ("batch_load", "/batches", json!({"order": order})),
        ("batch_list", "/batches", Value::Null),
        ("batch_show", "/batches/B1", json!({"batch": "B1"})),
        ("batch_show", "/batches/none", json!({"batch": "none"})),
        ("batch_start", "/batches/B1/start", json!({"batch": "B1"})),
        ("batch_close", "/batches/B1/close", json!({"batch": "B1"})),
        ("sign_prepare", "/batches/none/variance", json!({"action": "variance_close", "batch": "none"})),
        ("alarm_list", "/alarms", Value::Null),
        ("alarm_ack", "/alarms/77/ack", json!({"alarm": 77})),
        ("alarm_ack", "/alarms/x/ack", json!({"alarm": "x"})),
        ("trace", "/trace?code=A1", json!({"code": "A1"})),
        ("user_list", "/users", Value::Null),
        ("user_unlock", "/users/anna/unlock", json!({"user": "anna"})),
        ("feed_replay", "/feed/replay", json!({"from": "x"})),
    ];
    for (word, path, fields) in cases {
        let mut line = json!({"id": 7, "do": word, "session": session});
        let same = |route: &&Route| route.word == word && route.act.is_none_or(|act| act == Signable::VarianceClose);
        let route = ROUTES.iter().find(same).expect("a route");
        let mut body = fields.clone();
        for (key, value) in fields.as_object().into_iter().flatten() {
            line[key] = value.clone();
            if route.is_in_path(key) || key == "action" {
                body.as_object_mut().expect("an object").remove(key);
            }
        }
        let far = match route.method {
            Method::Get => house.get(Some(&cookie), path),
            Method::Post => house.post(Some(&cookie), path, &body),
        };
        let (mut near, mut said) = (house.local(&line), far.body);
        let error = said.as_object_mut().expect("an object").remove("error");
        near.as_object_mut().expect("an object").remove("id");
        if said["changed"] == true {
            assert_eq!(
                (&said["changed"], &near["changed"]),
                (&json!(true), &json!(false)),
                "a repeat is no second order"
            );
        } else {
            assert_eq!(said, near, "{word}");
        }
        assert_eq!(
            (error.is_none(), far.status == 200),
            (near["ok"] == true, near["ok"] == true),
            "{word} {}",
            far.status
        );
    }
}

#[test]
fn a_repeat_under_its_key_is_answered_and_not_done_again() {
    let (house, _) = House::with(&[Role::Supervisor, Role::Quality]);
    let cookie = house.log_in("the-quality", THEIRS);
    let order = json!({"order": {"batch": "B1", "gtin": "09506000134352", "lot": "L7", "expiry": "2047-03-31", "gcp_length": 7,
        "pack": {"case": 2}, "sscc": {"extension": 0, "prefix": "9506000", "first": 1, "last": 99}, "serials": ["A1"]}});
    let send = |cookie: &str, key: &str, order: &Value| {
        let head = [JSON, ("Cookie", cookie), ("Idempotency-Key", key)];
        house.send("POST", "/api/v1/batches", &head, &order.to_string())
    };
    let first = send(&cookie, "k-1", &order);
    assert_eq!((first.status, &first.body), (200, &json!({"ok": true, "changed": true})));
    assert_eq!(send(&cookie, "k-1", &order).body, first.body, "the answer of the first");
    assert_eq!(send(&cookie, "k-2", &order).body["changed"], false, "another request, of which nothing was left to do");
    let mut other = order.clone();
    other["order"]["batch"] = json!("B2");
    assert_eq!(send(&cookie, "k-1", &other).status, 422);
    let theirs = house.log_in("the-supervisor", THEIRS);
    assert_eq!(send(&theirs, "k-1", &order).body["changed"], false, "a key belongs to one session");
    assert_eq!(send(&cookie, "", &order).status, 400);
    assert_eq!(send(&cookie, &"k".repeat(65), &order).status, 400);
    other["order"]["serials_file"] = json!("line.toml");
    let file = send(&cookie, "k-3", &other);
    assert_eq!((file.status, &file.body["reasons"][0]["path"]), (400, &json!("$.order.serials_file")));
}

#[test]
fn what_is_no_good_request_is_refused_for_what_it_is() {
    let (house, anna) = House::with(&[]);
    let document = house.get(None, "/openapi.json").body;
    let cookie = ("Cookie", anna.as_str());
    let long = format!("{{\"user\": \"{}\"}}", "x".repeat(70_000));
    let near = format!("http://{}", house.at);
    let users = "/api/v1/users/anna/unlock";
    for (status, method, path, head, body) in [
        (200, "POST", users, vec![cookie, JSON, ("Origin", near.as_str())], "{}"),
        (403, "POST", users, vec![cookie, JSON, ("Origin", "http://evil.example")], "{}"),
        (403, "GET", "/api/v1/users", vec![cookie, ("Sec-Fetch-Site", "cross-site")], ""),
        (415, "POST", users, vec![cookie], "{}"),
        (415, "POST", users, vec![cookie, ("Content-Type", "text/plain")], "{}"),
        (415, "POST", "/api/v1/login", vec![], "user=anna&password=x"),
        (400, "POST", users, vec![cookie, JSON], ""),
        (400, "POST", users, vec![cookie, JSON], "[]"),
        (400, "POST", users, vec![cookie, JSON], "{\"user\":\"eve\"}"),
        (400, "POST", users, vec![cookie, JSON], "{\"session\":\"x\"}"),
        (400, "POST", "/api/v1/users/anna/unlock?reason=x", vec![cookie, JSON], "{}"),
        (400, "POST", "/api/v1/users/%FF/unlock", vec![cookie, JSON], "{}"),
        (400, "POST", "/api/v1/users/ANNA/unlock", vec![cookie, JSON], "{}"),
        (
            400,
            "POST",
            "/api/v1/users",
            vec![cookie, JSON],
            "{\"user\":7,\"full_name\":[],\"roles\":{},\"password\":null}",
        ),
        (400, "GET", "/api/v1/status?x=1", vec![cookie], ""),
        (400, "GET", "/api/v1/trace?code=a&code=b", vec![cookie], ""),
        (400, "GET", "/api/v1/tap?after=-1", vec![cookie], ""),
        (404, "GET", "/api/v1/tap?device=none", vec![cookie], ""),
        (404, "GET", "/api/v1/nothing", vec![cookie], ""),
        (404, "GET", "/", vec![], ""),
        (405, "DELETE", "/api/v1/users", vec![cookie], ""),
        (405, "PUT", "/api/v1/status", vec![cookie], ""),
        (413, "POST", "/api/v1/login", vec![JSON], long.as_str()),
        (401, "POST", "/api/v1/login", vec![JSON], "{\"user\":\"'; --\",\"password\":\"x\"}"),
        (
            422,
            "POST",
            "/api/v1/users",
            vec![cookie, JSON],
            "{\"user\":\"eve\",\"full_name\":\"E\",\"roles\":[],\"password\":\"short\"}",
        ),
    ] {
        let reply = house.send(method, path, &head, body);
        documented(&document, &reply, path);
        assert_eq!(reply.status, status, "{method} {path} {head:?}: {}", reply.body);
        assert_eq!(status == 405, reply.head.contains("allow: "), "{}", reply.head);
    }
    let huge = format!(
        "POST /api/v1/batches HTTP/1.1\r\nHost: x\r\n{}: {}\r\nContent-Length: 99999999999\r\n\r\n",
        JSON.0, JSON.1
    );
    assert_eq!(house.exchange(huge.as_bytes()).status, 401, "a body is read for nobody who may not load an order");
    for nonsense in ["\r\n\r\n\r\n", "GET\r\n\r\n", "\u{0}\u{1}\u{2}\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        let mut stream = house.open();
        let _ = stream.write_all(nonsense.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        assert!(heard(&mut stream).status < 500, "{nonsense:?}");
    }
    assert_eq!(house.get(Some(&anna), "/status").status, 200);
}

#[test]
fn clients_that_are_slow_or_many_keep_nobody_out_for_long_and_the_line_not_at_all() {
    let (house, anna) = House::with(&[]);
    let slow: Vec<TcpStream> = (0..CONNECTIONS_MAX)
        .map(|number| {
            let mut stream = house.open();
            let begun = ["", "GET /api/v1/status HTTP/1.1\r\nHost:"][number % 2];
            stream.write_all(begun.as_bytes()).expect("it reads");
            stream
        })
        .collect();
    assert_eq!(house.local(&json!({"id": 1, "do": "status"}))["ok"], true, "the line answers meanwhile");
    assert_eq!(house.get(Some(&anna), "/status").status, 200, "the next comes in when their time is up");
    for mut stream in slow {
        let said = heard(&mut stream);
        assert!(matches!(said.status, 0 | 408), "closed: {} {}", said.status, said.head);
    }
    let kept = house.send("GET", "/api/v1/status", &[("Cookie", anna.as_str())], "");
    assert_eq!(kept.body["data"]["line"], "line3");
}
