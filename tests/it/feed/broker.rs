//! A broker for MQTT 5 that plays a script: what it does to which connection and to which message is one line each.
//!
//! ```text
//! connect 1 receive_max 1            connect * packet_max 300        the limits that CONNACK tells
//! connect 1..3 refuse 0x86           connect 1 mute                  a refusal; a CONNACK that never comes
//! connect * trickle                  every answer byte by byte
//! publish fact/7 answer 0x97 2       what a message is answered, the first so many times; without a number always
//! publish * answer 0x10
//! publish fact/7 unacked 1           received, and not answered
//! publish over 500 answer 0x95       by the size of the packet
//! nth 40 of 1 cut                    the 40th publish of connection 1
//! nth 40 of * disconnect 0x8E        nth 9 of 1 freeze               nothing more is read or answered
//! nth 1 of 1 skip                    the first is never answered, the others are
//! ```
//!
//! Connections are counted from 1, those of the command session (client ids that end in `-cmd`) apart: they are always served
//! well, and get what the test publishes.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// One PUBLISH as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) connection: u32,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    /// `fact/7`: the end of the property `id`.
    pub(crate) id: Option<String>,
    pub(crate) is_replay: bool,
    pub(crate) correlation: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Which {
    Any,
    Id(String),
    /// Packets of more bytes.
    Over(usize),
    Nth(u32, Range),
}

/// Connections from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range(u32, u32);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Deed {
    Answer(u8),
    Unacked,
    Cut,
    Disconnect(u8),
    Freeze,
}

#[derive(Clone, Debug)]
struct Rule {
    which: Which,
    deed: Deed,
    times: u32,
}

#[derive(Clone, Debug, Default)]
struct Greeting {
    receive_max: Option<u16>,
    packet_max: Option<u32>,
    refuse: Option<u8>,
    is_mute: bool,
    is_trickle: bool,
}

/// What the broker does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    greetings: Vec<(Range, Greeting)>,
    rules: Vec<Rule>,
}

impl Range {
    fn parse(word: &str) -> Self {
        match word.split_once("..") {
            _ if word == "*" => Self(0, u32::MAX),
            Some((from, to)) => Self(from.parse().expect("a number"), to.parse().expect("a number")),
            None => Self(word.parse().expect("a number"), word.parse().expect("a number")),
        }
    }

    fn has(self, connection: u32) -> bool {
        (self.0..=self.1).contains(&connection)
    }
}

impl Script {
    pub(crate) fn parse(text: &str) -> Self {
        let mut script = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            script.add(line, &line.split_whitespace().collect::<Vec<_>>());
        }
        script
    }

    fn add(&mut self, line: &str, words: &[&str]) {
        let rule = |which, deed: &[&str]| {
            let (deed, times) = deed_of(line, deed);
            Rule { which, deed, times }
        };
        match words {
            ["connect", range, rest @ ..] => self.greetings.push((Range::parse(range), greeting_of(line, rest))),
            ["publish", "over", bytes, deed @ ..] => {
                self.rules.push(rule(Which::Over(bytes.parse().expect("a number")), deed));
            }
            ["publish", "*", deed @ ..] => self.rules.push(rule(Which::Any, deed)),
            ["publish", id, deed @ ..] => self.rules.push(rule(Which::Id((*id).to_owned()), deed)),
            ["nth", number, "of", range, deed @ ..] => {
                let which = Which::Nth(number.parse().expect("a number"), Range::parse(range));
                self.rules.push(rule(which, deed));
            }
            _ => panic!("no line of a script: {line}"),
        }
    }

    fn greeting(&self, connection: u32) -> Greeting {
        let mut whole = Greeting::default();
        for (_, greeting) in self.greetings.iter().filter(|(range, _)| range.has(connection)) {
            whole.receive_max = whole.receive_max.or(greeting.receive_max);
            whole.packet_max = whole.packet_max.or(greeting.packet_max);
            whole.refuse = whole.refuse.or(greeting.refuse);
            whole.is_mute |= greeting.is_mute;
            whole.is_trickle |= greeting.is_trickle;
        }
        whole
    }
}

fn code(word: &str) -> u8 {
    u8::from_str_radix(word.trim_start_matches("0x"), 16).expect("a reason code, as 0x97")
}

fn greeting_of(line: &str, words: &[&str]) -> Greeting {
    let none = Greeting::default();
    match words {
        ["receive_max", number] => Greeting { receive_max: Some(number.parse().expect("a number")), ..none },
        ["packet_max", number] => Greeting { packet_max: Some(number.parse().expect("a number")), ..none },
        ["refuse", reason] => Greeting { refuse: Some(code(reason)), ..none },
        ["mute"] => Greeting { is_mute: true, ..none },
        ["trickle"] => Greeting { is_trickle: true, ..none },
        _ => panic!("no greeting: {line}"),
    }
}

fn deed_of(line: &str, words: &[&str]) -> (Deed, u32) {
    let times = |rest: &[&str]| rest.first().map_or(u32::MAX, |number| number.parse().expect("a number"));
    match words {
        ["answer", reason, rest @ ..] => (Deed::Answer(code(reason)), times(rest)),
        ["unacked" | "skip", rest @ ..] => (Deed::Unacked, times(rest)),
        ["disconnect", reason, rest @ ..] => (Deed::Disconnect(code(reason)), times(rest)),
        ["cut", rest @ ..] => (Deed::Cut, times(rest)),
        ["freeze", rest @ ..] => (Deed::Freeze, times(rest)),
        _ => panic!("no deed: {line}"),
    }
}

#[derive(Default)]
struct Inner {
    seen: Vec<Seen>,
    connects: Vec<Instant>,
    /// How often each message was dealt with by each rule.
    dealt: HashMap<(usize, String), u32>,
    script: Script,
    /// Ways to the command sessions.
    commands: Vec<mpsc::Sender<Vec<u8>>>,
    open: u32,
}

/// A broker that listens; it ends with the test.
pub(crate) struct Broker {
    inner: Arc<Mutex<Inner>>,
    port: u16,
    tasks: JoinSet<()>,
}

impl Broker {
    pub(crate) async fn start(script: &str) -> Self {
        Self::start_on(0, script).await
    }

    pub(crate) async fn start_on(port: u16, script: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let inner = Arc::new(Mutex::new(Inner { script: Script::parse(script), ..Inner::default() }));
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&inner);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let inner = Arc::clone(&shared);
                connections.spawn(async move { serve(stream, &inner).await });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { inner, port, tasks }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From now on another script; what was seen stays.
    pub(crate) fn play(&self, script: &str) {
        self.lock().script = Script::parse(script);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    pub(crate) fn count(&self, is_meant: impl Fn(&Seen) -> bool) -> usize {
        self.lock().seen.iter().filter(|seen| is_meant(seen)).count()
    }

    /// When the feed's connections came.
    pub(crate) fn connects(&self) -> Vec<Instant> {
        self.lock().connects.clone()
    }

    pub(crate) fn has_commands(&self) -> bool {
        self.lock().commands.iter().any(|sender| !sender.is_closed())
    }

    /// Publishes to the command session, as an L3 system would, or somebody who pretends to be one.
    pub(crate) async fn send(&self, packet: Vec<u8>) {
        let senders = self.lock().commands.clone();
        for sender in senders {
            // A session that ended has gone with its receiver.
            let _ = sender.send(packet.clone()).await;
        }
    }

    pub(crate) fn stop(mut self) {
        self.tasks.abort_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(stream: TcpStream, inner: &Mutex<Inner>) {
    // A connection that breaks is part of every script.
    let _ = talk(stream, inner).await;
}

async fn talk(stream: TcpStream, inner: &Mutex<Inner>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let mut read = BufReader::new(read);
    let (_, connect) = packet(&mut read).await?;
    if connect.windows(4).any(|part| part == b"-cmd") {
        return commands(read, write, inner).await;
    }
    let (connection, greeting) = {
        let mut inner = lock(inner);
        inner.connects.push(Instant::now());
        inner.open += 1;
        let connection = u32::try_from(inner.connects.len()).expect("few");
        (connection, inner.script.greeting(connection))
    };
    let mut out = Out { write, is_trickle: greeting.is_trickle };
    if greeting.is_mute {
        return std::future::pending().await;
    }
    out.send(&connack(&greeting)).await?;
    if greeting.refuse.is_some() {
        return Ok(());
    }
    feed(&mut read, &mut out, connection, inner).await
}

async fn feed(
    read: &mut BufReader<OwnedReadHalf>,
    out: &mut Out,
    connection: u32,
    inner: &Mutex<Inner>,
) -> io::Result<()> {
    let mut publishes = 0_u32;
    loop {
        let (first, body) = packet(read).await?;
        match first >> 4 {
            3 => {
                publishes += 1;
                let (seen, packet_id) = seen_of(connection, &body);
                let id = packet_id.to_be_bytes();
                let deed = judge(inner, &seen, body.len() + 4, publishes);
                match deed {
                    Deed::Answer(0) => out.send(&[0x40, 2, id[0], id[1]]).await?,
                    Deed::Answer(reason) => out.send(&[0x40, 4, id[0], id[1], reason, 0]).await?,
                    Deed::Unacked => {}
                    Deed::Cut => return Ok(()),
                    Deed::Disconnect(reason) => {
                        out.send(&[0xE0, 2, reason, 0]).await?;
                        out.write.shutdown().await?;
                        // Closing over unread bytes would reset the connection and take the reason with it.
                        let rest = async { while packet(read).await.is_ok() {} };
                        return tokio::time::timeout(Duration::from_secs(2), rest).await.map_err(io::Error::other);
                    }
                    Deed::Freeze => return std::future::pending().await,
                }
            }
            12 => out.send(&[0xD0, 0]).await?,
            14 => return Ok(()),
            other => return Err(io::Error::other(format!("packet type {other}"))),
        }
    }
}

/// The first rule that is about this message and not used up. What is cut or found too large did not arrive.
fn judge(inner: &Mutex<Inner>, seen: &Seen, bytes: usize, nth: u32) -> Deed {
    let mut inner = lock(inner);
    let name = seen.id.clone().unwrap_or_else(|| seen.topic.clone());
    let mut found = Deed::Answer(0);
    for (place, rule) in inner.script.rules.clone().into_iter().enumerate() {
        let is_meant = match &rule.which {
            Which::Any => seen.id.is_some(),
            Which::Id(id) => seen.id.as_ref() == Some(id),
            Which::Over(limit) => bytes > *limit,
            Which::Nth(number, range) => *number == nth && range.has(seen.connection),
        };
        // The nth is counted as such, not by what it carries.
        let key = if matches!(rule.which, Which::Nth(..)) { String::new() } else { name.clone() };
        let dealt = inner.dealt.entry((place, key)).or_default();
        if is_meant && *dealt < rule.times {
            *dealt += 1;
            found = rule.deed;
            break;
        }
    }
    if !matches!(found, Deed::Cut | Deed::Disconnect(_)) && !matches!(found, Deed::Answer(reason) if reason >= 0x80) {
        inner.seen.push(seen.clone());
    }
    found
}

/// The command session: subscribes, gets what the test sends, and publishes its answers.
async fn commands(read: BufReader<OwnedReadHalf>, write: OwnedWriteHalf, inner: &Mutex<Inner>) -> io::Result<()> {
    let mut out = Out { write, is_trickle: false };
    out.send(&[0x20, 3, 0, 0, 0]).await?;
    let (sender, mut packets) = mpsc::channel(64);
    let (arrived, mut arrivals) = mpsc::channel(64);
    let mut reader = JoinSet::new();
    reader.spawn(async move {
        let mut read = read;
        while let Ok(one) = packet(&mut read).await {
            if arrived.send(one).await.is_err() {
                return;
            }
        }
    });
    loop {
        tokio::select! {
            one = arrivals.recv() => {
                let Some((first, body)) = one else { return Ok(()) };
                match first >> 4 {
                    3 => {
                        let (seen, packet_id) = seen_of(0, &body);
                        let id = packet_id.to_be_bytes();
                        lock(inner).seen.push(seen);
                        out.send(&[0x40, 2, id[0], id[1]]).await?;
                    }
                    8 => {
                        out.send(&[0x90, 4, body[0], body[1], 0, 1]).await?;
                        lock(inner).commands.push(sender.clone());
                    }
                    12 => out.send(&[0xD0, 0]).await?,
                    14 => return Ok(()),
                    _ => {}
                }
            }
            Some(bytes) = packets.recv() => out.send(&bytes).await?,
        }
    }
}

struct Out {
    write: OwnedWriteHalf,
    is_trickle: bool,
}

impl Out {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.is_trickle {
            return self.write.write_all(bytes).await;
        }
        for byte in bytes {
            self.write.write_all(&[*byte]).await?;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}

fn connack(greeting: &Greeting) -> Vec<u8> {
    let mut properties = Vec::new();
    if let Some(max) = greeting.receive_max {
        properties.push(0x21);
        properties.extend(max.to_be_bytes());
    }
    if let Some(max) = greeting.packet_max {
        properties.push(0x27);
        properties.extend(max.to_be_bytes());
    }
    // Session present is always 0: this broker remembers nobody.
    let mut packet = vec![0x20, u8::try_from(properties.len() + 3).expect("short"), 0, greeting.refuse.unwrap_or(0)];
    packet.push(u8::try_from(properties.len()).expect("short"));
    packet.extend(properties);
    packet
}

/// A PUBLISH to a client with QoS 0.
pub(crate) fn publish(topic: &[u8], payload: &[u8], properties: &[u8], is_retained: bool) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(u16::try_from(topic.len()).expect("short").to_be_bytes());
    body.extend(topic);
    body.extend(length(properties.len()));
    body.extend(properties);
    body.extend(payload);
    let mut packet = vec![0x30 | u8::from(is_retained)];
    packet.extend(length(body.len()));
    packet.extend(body);
    packet
}

/// The properties of a request that wants an answer.
pub(crate) fn reply_to(topic: &str, correlation: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x08];
    bytes.extend(u16::try_from(topic.len()).expect("short").to_be_bytes());
    bytes.extend(topic.as_bytes());
    bytes.push(0x09);
    bytes.extend(u16::try_from(correlation.len()).expect("short").to_be_bytes());
    bytes.extend(correlation);
    bytes
}

fn length(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7F).expect("seven bits");
        value >>= 7;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

/// A PUBLISH with QoS 1 and its packet id.
fn seen_of(connection: u32, body: &[u8]) -> (Seen, u16) {
    let (topic, rest) = text(body);
    let packet_id = u16::from_be_bytes([rest[0], rest[1]]);
    let (len, at) = number(&rest[2..]);
    let properties_at = 2 + at;
    let mut properties = &rest[properties_at..properties_at + len];
    let (mut pairs, mut correlation) = (HashMap::new(), None);
    while let Some((kind, tail)) = properties.split_first() {
        let (value, tail) = text(tail);
        properties = tail;
        match kind {
            0x26 => {
                let (second, tail) = text(properties);
                pairs.insert(value, second);
                properties = tail;
            }
            0x09 => correlation = Some(value.into_bytes()),
            _ => {}
        }
    }
    let id = pairs.get("id").map(|id| id.rsplit('/').take(2).collect::<Vec<_>>());
    let seen = Seen {
        connection,
        topic,
        payload: rest[properties_at + len..].to_vec(),
        id: id.map(|parts| format!("{}/{}", parts[1], parts[0])),
        is_replay: pairs.get("replay").is_some_and(|replay| replay == "true"),
        correlation,
    };
    (seen, packet_id)
}

fn text(bytes: &[u8]) -> (String, &[u8]) {
    let len = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    (String::from_utf8_lossy(&bytes[2..2 + len]).into_owned(), &bytes[2 + len..])
}

/// A variable byte integer and its length.
fn number(bytes: &[u8]) -> (usize, usize) {
    let len = bytes.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    let value = bytes[..len].iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7F));
    (value, len)
}

async fn packet(read: &mut BufReader<OwnedReadHalf>) -> io::Result<(u8, Vec<u8>)> {
    let first = read.read_u8().await?;
    let mut len = Vec::new();
    loop {
        len.push(read.read_u8().await?);
        if len.last().is_some_and(|byte| *byte < 0x80) {
            break;
        }
    }
    let mut body = vec![0; number(&len).0];
    read.read_exact(&mut body).await?;
    Ok((first, body))
}
