//! Peers that are no OPC UA servers, servers that send more than anybody can hold, and servers that take nobody else.

use opcua::types::ByteString;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::device::opcua::look;

/// Serves every connection so, one after the other.
async fn peer<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> (u16, JoinHandle<()>)
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::from_std(listen(0).unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            serve(stream).await;
        }
    });
    (port, task)
}

fn says(what: &'static str) -> impl Fn(&DeviceEvent) -> bool {
    move |event| matches!(event, DeviceEvent::Disconnected { reason, .. } if reason.contains(what))
}

async fn tells(port: u16, what: &'static str) {
    let (line, pki) = (Line::default(), tempfile::tempdir().unwrap());
    let mut settings = camera(port, ReadMode::Poll, &pki);
    settings.request_timeout = MS * 20_000;
    let test = async |_keep: Sender<TagWrite>| {
        line.wait(0, what, says(what)).await;
    };
    beside(settings, &line, test).await;
}

/// Reads the Hello, gives this answer, and waits for the other side to go.
async fn answer(mut stream: TcpStream, with: &[u8]) {
    let mut hello = [0; 32];
    stream.read_exact(&mut hello).await.unwrap();
    stream.write_all(with).await.unwrap();
    while stream.read(&mut hello).await.is_ok_and(|count| count > 0) {}
}

#[tokio::test]
async fn a_peer_that_is_no_opc_ua_server_is_told_by_what_it_says() {
    let (web, _) = peer(|stream| async { answer(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await }).await;
    tells(web, "not OPC UA: it answered `HTTP/1.1 400 Bad Request`").await;
    let (noise, _) = peer(|stream| async { answer(stream, &[0x9C, 0x41, 0xEE, 0x07, 0xB2]).await }).await;
    tells(noise, "not OPC UA: it answered the bytes 9c41ee07b2").await;
    let (echo, _) = peer(|mut stream| async move {
        let (mut near, mut far) = stream.split();
        let _ = copy(&mut near, &mut far).await;
    })
    .await;
    tells(echo, "not OPC UA: it sends back what we say").await;
}

// F73
#[tokio::test]
async fn a_peer_that_closes_at_once_or_is_busy_is_told_so() {
    let (shut, _) = peer(|stream| async { drop(stream) }).await;
    tells(shut, "closed the connection without a word").await;
    let busy =
        [b"ERRF".as_slice(), &16u32.to_le_bytes(), &StatusCode::BadTcpServerTooBusy.bits().to_le_bytes(), &[0xFF; 4]];
    let busy = busy.concat();
    let (busy, _) = peer(move |stream| {
        let busy = busy.clone();
        async move { answer(stream, &busy).await }
    })
    .await;
    tells(busy, "the server takes no connection: BadTcpServerTooBusy").await;
}

/// More than the buffers of two sockets hold, and far less than such a chunk announces.
const FLOOD_MAX: usize = 64 << 20;

/// Acknowledges, and then sends one chunk without an end, as long as anybody takes it.
async fn flood(mut stream: TcpStream, sent: Arc<AtomicUsize>) {
    let mut hello = [0; 32];
    stream.read_exact(&mut hello).await.unwrap();
    let sizes = [28u32, 0, 65_536, 65_536, 0, 0].map(u32::to_le_bytes).concat();
    let begin = [b"ACKF".as_slice(), &sizes, b"OPNF", &u32::MAX.to_le_bytes()].concat();
    let mut so_far = 0;
    let mut next = begin.as_slice();
    while so_far < FLOOD_MAX && stream.write_all(next).await.is_ok() {
        so_far += next.len();
        next = &[7; 65_536];
    }
    sent.fetch_max(so_far, Ordering::Relaxed);
}

// F57
#[tokio::test]
async fn a_server_that_floods_is_cut_off_and_said_so_and_the_next_one_is_taken() {
    let (sent, pki, line) = (Arc::new(AtomicUsize::new(0)), tempfile::tempdir().unwrap(), Line::default());
    let counted = Arc::clone(&sent);
    let (port, flooding) = peer(move |stream| flood(stream, Arc::clone(&counted))).await;
    let settings = camera(port, ReadMode::Poll, &pki);
    let test = async |_keep: Sender<TagWrite>| {
        let next =
            line.wait(0, "the reason", says("it announces a chunk of 4294967295 bytes; 65536 are the most")).await;
        until("the end of the flood", || sent.load(Ordering::Relaxed) > 0).await;
        flooding.abort();
        let _ = flooding.await;
        let _plc = Plc::start(port, 0).await;
        let next = line.wait(next, "the connection", is_connected).await;
        line.wait_reading(next, Tag::Seq, TagValue::Int(0)).await;
    };
    beside(settings, &line, test).await;
    assert!(sent.load(Ordering::Relaxed) < FLOOD_MAX, "it was let go on");
}

/// A server that sends what it has, however much.
async fn boundless() -> Plc {
    Plc::start_with(0, 0, |mut builder| {
        let limits = builder.limits_mut();
        (limits.max_message_size, limits.max_chunk_count) = (0, 0);
        builder
    })
    .await
}

// F57
#[tokio::test]
async fn an_answer_beyond_measure_ends_the_session_until_it_is_none() {
    let (plc, pki, line) = (boundless().await, tempfile::tempdir().unwrap(), Line::default());
    let nested = (0..400).fold(Variant::from(1u32), |inner, _| Variant::Variant(Box::new(inner)));
    let long = Variant::from(ByteString::from(vec![7; 3 << 20]));
    let many = Variant::from(vec![7u32; 100_000]);
    let mut settings = camera(plc.port, ReadMode::Poll, &pki);
    settings.request_timeout = MS * 5000;
    // A session that broke so stays at the server for a while: there must not be too many.
    (settings.backoff_min, settings.backoff_max) = (MS * 300, MS * 300);
    let test = async |_keep: Sender<TagWrite>| {
        let mut next = line.wait_reading(0, Tag::Seq, TagValue::Int(0)).await;
        for value in [many, long, nested] {
            plc.set("code", value);
            next = line.wait(next, "the reason", says("more than is taken from any device")).await;
            plc.set("code", "A1");
            next = line.wait(next, "the connection", is_connected).await;
            next = line.wait_reading(next, Tag::Code, TagValue::Bytes(b"A1".to_vec())).await;
        }
    };
    beside(settings, &line, test).await;
}

/// Keeps a session while the device task is told `why` it gets none, and then lets go.
async fn is_waited_for(settings: Settings, why: &'static str) {
    let (line, taken, free) = (Line::default(), Notify::new(), Notify::new());
    let occupant = look::ask(&settings, async |_, _| {
        taken.notify_one();
        free.notified().await;
        Ok(())
    });
    let test = async |_keep: Sender<TagWrite>| {
        let next = line.wait(0, why, says(why)).await;
        assert!(!line.events().iter().any(is_connected));
        free.notify_one();
        let next = line.wait(next, "the connection", is_connected).await;
        line.wait_reading(next, Tag::Seq, TagValue::Int(0)).await;
    };
    let task = async {
        taken.notified().await;
        beside(settings.clone(), &line, test).await;
    };
    assert_eq!(tokio::join!(occupant, task).0, Ok(()));
}

// F73
#[tokio::test]
async fn a_server_that_has_no_session_left_is_told_and_waited_for() {
    let (plc, pki) = (Plc::start_with(0, 0, |builder| builder.max_sessions(1)).await, tempfile::tempdir().unwrap());
    let mut settings = camera(plc.port, ReadMode::Poll, &pki);
    settings.request_timeout = MS * 5000;
    is_waited_for(settings, "BadTooManySessions: the server holds as many sessions as it takes").await;
}

/// Between the task and the server: passes one connection at a time, and hangs up on every other.
async fn gate(front: TcpListener, back: u16) {
    let mut passing: Option<JoinHandle<()>> = None;
    loop {
        let (mut near, _) = front.accept().await.unwrap();
        if let Some(passing) = &mut passing {
            // The one before may have gone this very moment.
            if timeout(MS * 100, passing).await.is_err() {
                continue;
            }
        }
        passing = Some(tokio::spawn(async move {
            let mut far = TcpStream::connect(("127.0.0.1", back)).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        }));
    }
}

// F73
#[tokio::test]
async fn a_server_that_takes_one_connection_is_told_and_waited_for() {
    let (plc, pki) = (Plc::start(0, 0).await, tempfile::tempdir().unwrap());
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = camera(front.local_addr().unwrap().port(), ReadMode::Poll, &pki);
    settings.request_timeout = MS * 5000;
    tokio::select! {
        () = gate(front, plc.port) => {}
        () = is_waited_for(settings, "it takes no more connections") => {}
    }
}
