//! A scanner: a device that sends a line whenever it reads something, and is never asked.
//!
//! Every line is one update, offered until it is taken, in order; while the line has no room the scanner is not read, so that what it
//! sends next waits in the network and nothing is dropped here. A line that is no scan of the dialect is a reading that is not good:
//! something was seen, and nobody knows what. A text that stands for "nothing read" is an empty one.
//!
//! A scanner that is silent says nothing about itself: whoever needs its reading misses it, and refuses.

use tokio::{select, sync::mpsc::Receiver};

use super::{
    lane::decode,
    parse::{self, Kept},
    peer::Peer,
};
use crate::{
    device::{
        DeviceEvent, EventSink, codec, deliver,
        dialect::{Dialect, Slot},
        drain,
        error::{DeviceError, End},
        settings::{Address, Settings, StationTags, TextLink},
    },
    domain::tag::{Quality, Reading, TagUpdate, TagWrite},
};

/// Connects once and serves until the session or the line ends.
pub(super) async fn serve(
    link: &TextLink,
    settings: &Settings,
    slots: &[Slot],
    sink: &EventSink,
    writes: &mut Receiver<TagWrite>,
) -> End {
    let connected = select! {
        () = drain(writes) => return End::Closed,
        peer = Peer::connect(link, settings.request_timeout) => peer,
    };
    let mut peer = match connected {
        Ok(peer) => peer,
        Err(error) => return End::Failed { error, connected: false },
    };
    while writes.try_recv().is_ok() {}
    deliver(sink, writes, DeviceEvent::Connected { device: settings.device }).await;
    // Nothing was read yet, and the scanner is there.
    for station in &settings.stations {
        let update = TagUpdate { station: station.station, readings: Vec::new(), server_us: None };
        deliver(sink, writes, DeviceEvent::Update(update)).await;
    }
    loop {
        let line = select! {
            () = drain(writes) => return End::Closed,
            line = peer.line(&link.dialect) => line,
        };
        match line {
            Ok(line) => tell(&link.dialect, slots, settings, &line, (sink, writes)).await,
            Err(error) => return failed(error),
        }
    }
}

fn failed(error: DeviceError) -> End {
    End::Failed { error, connected: true }
}

async fn tell(
    dialect: &Dialect,
    slots: &[Slot],
    settings: &Settings,
    line: &[u8],
    (sink, writes): (&EventSink, &Receiver<TagWrite>),
) {
    let kept = parse::fields(dialect, line).ok().and_then(|fields| parse::matched(slots, &fields));
    for station in &settings.stations {
        let readings = readings(dialect, station, kept.as_ref());
        let update = TagUpdate { station: station.station, readings, server_us: None };
        deliver(sink, writes, DeviceEvent::Update(update)).await;
    }
}

fn readings(dialect: &Dialect, station: &StationTags, kept: Option<&Kept>) -> Vec<Reading> {
    let of = |binding: &crate::device::settings::Binding| {
        let Address::Answer(place) = &binding.address else { return Vec::new() };
        let field = kept.and_then(|kept| kept.iter().find(|(name, _)| *name == place.field)).map(|(_, field)| field);
        let is_nothing = field.is_some_and(|field| dialect.no_read.contains(field));
        let found: &[u8] = if is_nothing { &[] } else { field.map_or(&[], Vec::as_slice) };
        let value = field.and_then(|_| decode(binding, found)).ok_or_else(|| found.to_vec());
        // A value that could not be decoded is bad whatever is said of it.
        codec::readings(binding, value, Quality::Good, None)
    };
    station.bindings.iter().flat_map(of).collect()
}

#[cfg(all(test, feature = "demo"))]
mod tests {
    use std::sync::Arc;

    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;
    use crate::{
        device::{
            dialect::AnswerField,
            settings::{Binding, Link, Pad, ValueType},
            testing::{self, Line, beside, is_disconnected, reading},
        },
        domain::tag::{StationId, StationKind, Tag, TagValue},
    };

    fn settings(port: u16) -> Settings {
        let dialect = Dialect {
            begin: b"\x02".to_vec(),
            end: b"\x03".to_vec(),
            send_end: b"\x03".to_vec(),
            delimiter: b'|',
            escapes: Vec::new(),
            line_max: 60,
            commands: Vec::new(),
            scan: Some(vec![Slot::Kept("code".to_owned())]),
            no_read: vec![b"NOREAD".to_vec()],
            mark: None,
        };
        let place = AnswerField { command: "scan".to_owned(), field: "code".to_owned() };
        let text = ValueType::Text { length: 50, pad: Pad::Zero };
        let station = StationTags {
            station: StationId(2),
            kind: StationKind::Packer,
            bindings: vec![Binding::new(Tag::LabelRead, Address::Answer(place), text)],
        };
        let link = TextLink { host: "127.0.0.1".to_owned(), port, dialect: Arc::new(dialect) };
        testing::settings(Link::Text(link), vec![station])
    }

    // F75
    #[tokio::test]
    async fn every_line_is_one_reading_and_garbage_is_one_that_is_not_good() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let line = Line::default();
        line.fill_up(3);
        let settings = settings(listener.local_addr().unwrap().port());
        let scanner = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let long = [b'A'; 55];
            for scan in [&b"]C100"[..], b"NOREAD", b"A|B", &long, &[0xFF, 0], b"]C100", b"]C100"] {
                stream.write_all(&[b"\x02", scan, b"\x03"].concat()).await.unwrap();
            }
            stream.write_all(&[b'A'; 80]).await.unwrap();
            std::future::pending::<()>().await;
        };
        let seen = line.clone();
        let test = beside(settings, &line, |writes| async move {
            let _open = writes;
            seen.wait(0, "a line without end", is_disconnected).await;
            let events = seen.events();
            let told: Vec<_> = events
                .iter()
                .filter_map(|event| reading(event, Tag::LabelRead))
                .map(|reading| (reading.quality == Quality::Good, reading.value.clone()))
                .collect();
            let bytes = |text: &[u8]| TagValue::Bytes(text.to_vec());
            let good = |text: &[u8]| (true, bytes(text));
            let bad = || (false, bytes(b""));
            let all = [good(b"]C100"), good(b""), bad(), bad(), good(&[0xFF, 0]), good(b"]C100"), good(b"]C100")];
            assert_eq!(told, all);
        });
        tokio::select! {
            () = scanner => {}
            () = test => {}
        }
    }
}
