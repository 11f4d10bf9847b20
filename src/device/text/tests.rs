//! Against a coder on loopback that can be late, lose its answer, speak unasked, fill up and lose its power.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::parse;
use crate::{
    device::{
        DeviceEvent,
        dialect::{AnswerField, Command, Dialect, MarkPlace, Piece, Slot},
        settings::{Address, Binding, Link, Number, Pad, Settings, StationTags, TextLink, ValueType},
        testing::{self, Line, beside, is_connected, is_disconnected, reading, until},
    },
    domain::tag::{StationId, StationKind, Tag, TagValue, TagWrite},
};

/// What the next `JDI` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Well,
    /// Takes the record and hangs up before it says so.
    Speechless,
    /// Answers a second time, unasked.
    Twice,
    /// Answers only when the test is over.
    Late,
}

#[derive(Debug, Default)]
struct State {
    depth: usize,
    buffer: Vec<(u64, String)>,
    accepted: u64,
    printed: u64,
    mark: String,
    mood: Mood,
    log: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Coder(Arc<Mutex<State>>);

impl Coder {
    fn new(depth: usize) -> Self {
        let coder = Self::default();
        coder.with(|state| state.depth = depth);
        coder
    }

    fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.0.lock().unwrap())
    }

    fn print(&self, records: usize) {
        self.with(|state| {
            for (number, _) in state.buffer.drain(..records) {
                state.printed = number;
            }
        });
    }

    fn power_cycle(&self) {
        self.with(|state| {
            *state = State { depth: state.depth, log: std::mem::take(&mut state.log), ..State::default() }
        });
    }

    /// The records taken, as the coder has them.
    fn records(&self) -> Vec<(u64, String)> {
        self.with(|state| state.buffer.clone())
    }

    fn commands(&self, name: &str) -> usize {
        self.with(|state| state.log.iter().filter(|line| line.starts_with(name)).count())
    }

    fn answer(&self, line: &str) -> String {
        self.with(|state| {
            state.log.push(line.to_owned());
            let fields: Vec<&str> = line.split('|').collect();
            match fields.as_slice() {
                ["GPC"] => format!("GPC|{}|{}", state.accepted, state.printed),
                ["QSZ"] => format!("QSZ|{}", state.buffer.len()),
                ["JDI", _, _] if state.buffer.len() >= state.depth => "ERR|7".to_owned(),
                ["JDI", number, code] => {
                    state.accepted = number.parse().unwrap();
                    state.buffer.push((state.accepted, (*code).to_owned()));
                    "ACK".to_owned()
                }
                ["CQI"] => {
                    state.buffer.clear();
                    "ACK".to_owned()
                }
                ["MARK"] => format!("MARK|{}", state.mark),
                ["MARK", mark] => {
                    state.mark = (*mark).to_owned();
                    "ACK".to_owned()
                }
                _ => "ERR|2".to_owned(),
            }
        })
    }

    async fn serve(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(self.clone().talk(stream));
        }
    }

    async fn talk(self, stream: TcpStream) -> std::io::Result<()> {
        let (reading, mut writing) = stream.into_split();
        let mut lines = BufReader::new(reading).lines();
        while let Some(line) = lines.next_line().await? {
            let mood =
                self.with(|state| if line.starts_with("JDI") { std::mem::take(&mut state.mood) } else { Mood::Well });
            let answer = self.answer(&line);
            let said = match mood {
                Mood::Well => format!("{answer}\n"),
                Mood::Speechless => return Ok(()),
                Mood::Twice => format!("{answer}\n{answer}\n"),
                Mood::Late => std::future::pending().await,
            };
            writing.write_all(said.as_bytes()).await?;
        }
        Ok(())
    }
}

fn literal(text: &str) -> Piece {
    Piece::Literal(text.as_bytes().to_vec())
}

fn command(name: &str, send: Vec<Vec<Piece>>, reply: &[&str]) -> Command {
    let slot = |field: &&str| match field.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) => Slot::Kept(name.to_owned()),
        None => Slot::Literal(field.as_bytes().to_vec()),
    };
    Command {
        name: name.to_owned(),
        send,
        reply: reply.iter().map(slot).collect(),
        lines: 1,
        refusal: vec![Slot::Literal(b"ERR".to_vec()), Slot::Kept("code".to_owned())],
        retry: vec![b"7".to_vec()],
    }
}

fn place(command: &str, field: &str) -> AnswerField {
    AnswerField { command: command.to_owned(), field: field.to_owned() }
}

fn dialect(has_mark: bool) -> Dialect {
    let insert = vec![vec![literal("JDI")], vec![Piece::Value(Tag::DataSeq)], vec![Piece::Value(Tag::Data)]];
    let mark = MarkPlace { read: place("mark", "text"), write: "set_mark".to_owned() };
    Dialect {
        begin: Vec::new(),
        end: b"\n".to_vec(),
        send_end: b"\n".to_vec(),
        delimiter: b'|',
        escapes: [b'~', b'|', 0x1D].map(|byte| (byte, format!("~{byte:02X}").into_bytes())).into(),
        line_max: 200,
        commands: vec![
            command("counts", vec![vec![literal("GPC")]], &["GPC", "{accepted}", "{printed}"]),
            command("queue", vec![vec![literal("QSZ")]], &["QSZ", "{remaining}"]),
            command("insert", insert, &["ACK"]),
            command("clear", vec![vec![literal("CQI")]], &["ACK"]),
            command("mark", vec![vec![literal("MARK")]], &["MARK", "{text}"]),
            command("set_mark", vec![vec![literal("MARK")], vec![Piece::Mark]], &["ACK"]),
        ],
        scan: None,
        no_read: Vec::new(),
        mark: has_mark.then_some(mark),
    }
}

fn settings(port: u16, has_mark: bool) -> Settings {
    let number = ValueType::Number(Number::U32);
    let answer = |tag, command, field| Binding::new(tag, Address::Answer(place(command, field)), number);
    let sent = |tag, command: &str, value| {
        Binding::new(tag, Address::Command { command: command.to_owned(), taken: None }, value)
    };
    let text = ValueType::Text { length: 100, pad: Pad::Zero };
    let bindings = vec![
        Binding::new(Tag::Epoch, Address::Made, number),
        Binding::new(Tag::FlushDone, Address::Made, number),
        answer(Tag::PrintedSeq, "counts", "printed"),
        answer(Tag::AcceptedSeq, "counts", "accepted"),
        answer(Tag::Remaining, "queue", "remaining"),
        sent(Tag::Data, "insert", text),
        sent(Tag::DataSeq, "insert", number),
        sent(Tag::Flush, "clear", number),
    ];
    let link = TextLink { host: "127.0.0.1".to_owned(), port, dialect: Arc::new(dialect(has_mark)) };
    let station = StationTags { station: StationId(0), kind: StationKind::Printer, bindings };
    testing::settings(Link::Text(link), vec![station])
}

fn record(seq: i64, data: &str) -> TagWrite {
    let values = vec![(Tag::Data, TagValue::Bytes(data.as_bytes().to_vec())), (Tag::DataSeq, TagValue::Int(seq))];
    TagWrite { station: StationId(0), values }
}

fn flush(number: i64) -> TagWrite {
    TagWrite { station: StationId(0), values: vec![(Tag::Flush, TagValue::Int(number))] }
}

fn epoch_of(event: &DeviceEvent) -> Option<&TagValue> {
    reading(event, Tag::Epoch).map(|reading| &reading.value)
}

/// The epoch that the newest update shows.
fn epoch(line: &Line) -> TagValue {
    line.events().iter().rev().find_map(|event| epoch_of(event).cloned()).expect("an update")
}

/// Runs the device task against a coder, and the test beside both.
async fn against<F>(coder: &Coder, has_mark: bool, test: impl FnOnce(Line, tokio::sync::mpsc::Sender<TagWrite>) -> F)
where
    F: Future<Output = ()>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = settings(listener.local_addr().unwrap().port(), has_mark);
    let line = Line::default();
    let beside = beside(settings, &line, |writes| test(line.clone(), writes));
    tokio::select! {
        () = coder.clone().serve(listener) => panic!("the coder ended"),
        () = beside => {}
    }
}

#[tokio::test]
async fn records_go_out_once_with_their_bytes_and_come_back_as_counts() {
    let coder = Coder::new(8);
    against(&coder, true, |line, writes| {
        let coder = coder.clone();
        async move {
            let at = line.wait_reading(0, Tag::AcceptedSeq, TagValue::Int(0)).await;
            writes.send(record(1, "0109\u{1D}10A|B~")).await.unwrap();
            let at = line.wait_reading(at, Tag::AcceptedSeq, TagValue::Int(1)).await;
            assert_eq!(coder.records(), [(1, "0109~1D10A~7CB~7E".to_owned())]);
            coder.print(1);
            line.wait_reading(at, Tag::PrintedSeq, TagValue::Int(1)).await;
            assert_eq!(coder.commands("JDI"), 1);
        }
    })
    .await;
}

// F91
#[tokio::test]
async fn a_buffer_that_lost_its_power_is_another_epoch_and_one_that_is_proven_is_not() {
    let coder = Coder::new(8);
    against(&coder, true, |line, writes| {
        let coder = coder.clone();
        async move {
            line.wait(0, "the connection", is_connected).await;
            writes.send(record(1, "A")).await.unwrap();
            let at = line.wait_reading(0, Tag::AcceptedSeq, TagValue::Int(1)).await;
            let first = epoch(&line);
            // A record that arrived, and an answer that did not: the counters say so.
            coder.with(|state| state.mood = Mood::Speechless);
            writes.send(record(2, "B")).await.unwrap();
            let at = line.wait(at, "the cut", is_disconnected).await;
            let at = line.wait_reading(at, Tag::AcceptedSeq, TagValue::Int(2)).await;
            assert_eq!(epoch(&line), first, "it is the same buffer");
            assert_eq!((coder.commands("CQI"), coder.records().len()), (1, 2), "emptied once, at first contact");
            coder.power_cycle();
            let at = line.wait(at, "the loss", is_disconnected).await;
            line.wait_reading(at, Tag::AcceptedSeq, TagValue::Int(0)).await;
            assert_ne!(epoch(&line), first, "nobody knows what lay there");
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_stranger_left_in_the_buffer_is_emptied_before_anything_is_sent() {
    let coder = Coder::new(8);
    coder.with(|state| {
        (state.accepted, state.printed) = (120, 118);
        state.buffer = vec![(119, "X".to_owned()), (120, "Y".to_owned())];
    });
    against(&coder, true, |line, writes| {
        let coder = coder.clone();
        async move {
            let at = line.wait_reading(0, Tag::AcceptedSeq, TagValue::Int(0)).await;
            writes.send(record(1, "A")).await.unwrap();
            let at = line.wait_reading(at, Tag::AcceptedSeq, TagValue::Int(1)).await;
            assert_eq!(coder.records(), [(121, "A".to_owned())], "the coder goes on with its own numbers");
            coder.print(1);
            line.wait_reading(at, Tag::PrintedSeq, TagValue::Int(1)).await;
            let log = coder.with(|state| state.log.clone());
            let clear = log.iter().position(|line| line == "CQI");
            assert!(clear < log.iter().position(|line| line.starts_with("JDI")), "{log:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_buffer_takes_the_record_as_soon_as_there_is_room() {
    let coder = Coder::new(1);
    against(&coder, true, |line, writes| {
        let coder = coder.clone();
        async move {
            writes_two(&line, &writes).await;
            until("the coder said no", || coder.commands("JDI") >= 3).await;
            let at = line.events().len();
            coder.print(1);
            line.wait_reading(at, Tag::AcceptedSeq, TagValue::Int(2)).await;
            assert_eq!(coder.records(), [(2, "B".to_owned())]);
        }
    })
    .await;
}

async fn writes_two(line: &Line, writes: &tokio::sync::mpsc::Sender<TagWrite>) {
    line.wait(0, "the connection", is_connected).await;
    line.wait_reading(0, Tag::AcceptedSeq, TagValue::Int(0)).await;
    writes.send(record(1, "A")).await.unwrap();
    writes.send(record(2, "B")).await.unwrap();
}

#[tokio::test]
async fn a_flush_empties_the_buffer_and_the_record_that_waits_for_it() {
    let coder = Coder::new(1);
    against(&coder, true, |line, writes| {
        let coder = coder.clone();
        async move {
            writes_two(&line, &writes).await;
            writes.send(flush(3)).await.unwrap();
            let at = line.wait_reading(0, Tag::FlushDone, TagValue::Int(3)).await;
            assert_eq!(coder.records(), []);
            writes.send(record(3, "C")).await.unwrap();
            line.wait_reading(at, Tag::AcceptedSeq, TagValue::Int(3)).await;
            assert_eq!(coder.records(), [(3, "C".to_owned())]);
            let is_cut = line.events().iter().any(is_disconnected);
            assert!(!is_cut, "a cleared record is none that was lost");
        }
    })
    .await;
}

#[tokio::test]
async fn a_late_answer_and_one_too_many_end_the_session_and_answer_nothing_else() {
    for mood in [Mood::Late, Mood::Twice] {
        let coder = Coder::new(8);
        against(&coder, true, |line, writes| {
            let coder = coder.clone();
            async move {
                line.wait(0, "the connection", is_connected).await;
                coder.with(|state| state.mood = mood);
                writes.send(record(1, "A")).await.unwrap();
                let at = line.wait(0, "the end of the session", is_disconnected).await;
                line.wait_reading(at, Tag::AcceptedSeq, TagValue::Int(1)).await;
                assert_eq!(coder.records(), [(1, "A".to_owned())], "{mood:?}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn without_a_place_for_a_mark_every_session_is_an_epoch_of_its_own() {
    let coder = Coder::new(8);
    against(&coder, false, |line, writes| {
        let coder = coder.clone();
        async move {
            line.wait(0, "the connection", is_connected).await;
            coder.with(|state| state.mood = Mood::Speechless);
            let first = {
                line.wait_reading(0, Tag::AcceptedSeq, TagValue::Int(0)).await;
                epoch(&line)
            };
            writes.send(record(1, "A")).await.unwrap();
            let at = line.wait(0, "the cut", is_disconnected).await;
            line.wait_reading(at, Tag::AcceptedSeq, TagValue::Int(0)).await;
            assert_ne!(epoch(&line), first);
            assert_eq!(coder.records(), [], "what nobody can prove does not stay");
        }
    })
    .await;
}

#[tokio::test]
async fn a_value_that_the_dialect_cannot_send_is_refused_and_nothing_of_it_goes_out() {
    let coder = Coder::new(8);
    against(&coder, true, |line, writes| {
        let coder = coder.clone();
        async move {
            line.wait(0, "the connection", is_connected).await;
            for data in ["A\n", "\u{e9}", &"A".repeat(101)] {
                let at = line.events().len();
                writes.send(record(1, data)).await.unwrap();
                line.wait(at, "the refusal", |event| matches!(event, DeviceEvent::WriteRefused { .. })).await;
            }
            assert_eq!(coder.commands("JDI"), 0);
        }
    })
    .await;
}

#[test]
fn the_fields_of_a_line_are_those_of_the_dialect() {
    let found = parse::fields(&dialect(true), b"JDI|7|A~7CB").unwrap();
    assert_eq!(found, [&b"JDI"[..], b"7", b"A|B"]);
}
