//! One session with a device that speaks lines of text over TCP: a coder or a labeller that answers commands (here), or a scanner
//! that speaks by itself (`scan`). What it says and hears is data of its map (`dialect`).
//!
//! A coder has neither epoch nor heartbeat. The epoch is made here (`life`): it stands while the coder's buffer is provably the one
//! that we filled. Before anything is sent in a session, counters and buffer are read; a buffer that cannot be proven is emptied. That
//! a coder lives is proven by its answers alone; that *we* live it does not notice, and a map says so (`absent`).
//!
//! A command is sent once; what the device refuses because its buffer is full waits here until there is room, and is dropped by a
//! flush or with the session.

mod lane;
mod life;
pub mod parse;
mod peer;
mod scan;

pub use lane::decode;

use tokio::{select, sync::mpsc::Receiver, time::Instant};

use self::{
    lane::{Answers, Lane},
    life::{Buffer, Life},
    parse::Kept,
    peer::{Answer, Peer},
};
use super::{
    DeviceEvent, EventSink,
    codec::{self, OUT_OF_RANGE},
    deliver,
    dialect::{AnswerField, Command, Dialect, Filling},
    drain,
    error::{DeviceError, End},
    pace::Pace,
    settings::{Settings, TextLink},
};
use crate::domain::tag::{Reading, Tag, TagValue, TagWrite};

/// Group reads in a row that a moving guard may spoil before the next cycle has to do.
const TRIES: usize = 4;
/// The status of a command that the device refused; it has no number that all devices share.
const REFUSED: u32 = 0x8000_0000;

/// Connects once and serves until the session or the line ends.
pub(super) async fn serve(
    link: &TextLink,
    settings: &Settings,
    sink: &EventSink,
    writes: &mut Receiver<TagWrite>,
) -> End {
    if let Some(slots) = &link.dialect.scan {
        return scan::serve(link, settings, slots, sink, writes).await;
    }
    let begun = select! {
        () = drain(writes) => return End::Closed,
        begun = begin(link, settings) => begun,
    };
    let (mut session, first) = match begun {
        Ok(begun) => begun,
        Err(error) => return End::Failed { error, connected: false },
    };
    while writes.try_recv().is_ok() {}
    deliver(sink, writes, DeviceEvent::Connected { device: settings.device }).await;
    for (lane, readings) in session.lanes.iter_mut().zip(first) {
        lane.image.offer(readings, true, Instant::now(), sink);
    }
    match session.run(settings, sink, writes).await {
        Ok(()) => End::Closed,
        Err(error) => End::Failed { error, connected: true },
    }
}

/// Connects, proves or empties the buffer, and reads everything once.
async fn begin<'a>(
    link: &'a TextLink,
    settings: &'a Settings,
) -> Result<(Session<'a>, Vec<Vec<Reading>>), DeviceError> {
    let peer = Peer::connect(link, settings.request_timeout).await?;
    let lanes: Vec<Lane> = settings.stations.iter().map(|tags| Lane::new(&link.dialect, tags)).collect();
    let mut session = Session { peer, dialect: &link.dialect, lanes, waiting: None };
    let mut first = Vec::new();
    for index in 0..session.lanes.len() {
        if session.lanes.get(index).is_some_and(|lane| lane.has_buffer) {
            session.settle(index).await?;
        }
        first.push(session.look(index).await?.unwrap_or_default());
    }
    Ok((session, first))
}

struct Session<'a> {
    peer: Peer,
    dialect: &'a Dialect,
    lanes: Vec<Lane>,
    /// A write that found the device's buffer full.
    waiting: Option<TagWrite>,
}

impl Session<'_> {
    /// Until the line closes the channel.
    async fn run(
        &mut self,
        settings: &Settings,
        sink: &EventSink,
        writes: &mut Receiver<TagWrite>,
    ) -> Result<(), DeviceError> {
        let mut pace = Pace::new(settings.poll);
        loop {
            let refused = select! {
                biased;
                write = writes.recv() => match write {
                    Some(write) => {
                        // Whether the device took it is seen at once.
                        pace.hurry();
                        self.write(settings, &write).await?
                    }
                    None => return Ok(()),
                },
                () = pace.beat() => {
                    let refused = match self.waiting.take() {
                        Some(waiting) => self.write(settings, &waiting).await?,
                        None => None,
                    };
                    for index in 0..self.lanes.len() {
                        self.refresh(index, sink).await?;
                    }
                    refused
                }
            };
            if let Some(refused) = refused {
                deliver(sink, writes, refused).await;
            }
        }
    }

    async fn refresh(&mut self, index: usize, sink: &EventSink) -> Result<(), DeviceError> {
        let Some(readings) = self.look(index).await? else { return Ok(()) };
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.image.offer(readings, true, Instant::now(), sink);
        }
        Ok(())
    }

    /// One coherent look at a station's tags; `None` where it stays torn.
    async fn look(&mut self, index: usize) -> Result<Option<Vec<Reading>>, DeviceError> {
        for _ in 0..TRIES {
            let Some(answers) = self.group(index).await? else { continue };
            let Some(lane) = self.lanes.get_mut(index) else { return Ok(None) };
            lane.check(&answers)?;
            return Ok(Some(lane.readings(&answers)));
        }
        Ok(None)
    }

    /// The answers of one group read, where the guard stood still meanwhile.
    async fn group(&mut self, index: usize) -> Result<Option<Answers>, DeviceError> {
        let Some(lane) = self.lanes.get(index) else { return Ok(None) };
        let asks = lane.asks.clone();
        let mut answers = Answers(Vec::new());
        for ask in &asks {
            let kept = self.kept(ask, &[]).await?;
            answers.0.push((ask.name.clone(), kept));
        }
        if let [guard, _, ..] = asks.as_slice() {
            let kept = self.kept(guard, &[]).await?;
            if answers.0.first().is_some_and(|(_, before)| *before != kept) {
                return Ok(None);
            }
        }
        Ok(Some(answers))
    }

    /// The answer to a question, which a device in order never refuses.
    async fn kept(&mut self, command: &Command, mark: &[u8]) -> Result<Kept, DeviceError> {
        match self.send(command, Filling { values: &[], mark }).await? {
            Ok(Answer::Kept(kept)) => Ok(kept),
            Ok(Answer::Refused(code)) => {
                let code = String::from_utf8_lossy(&code).into_owned();
                Err(DeviceError::Protocol(format!("it refuses the command {} ({code})", command.name)))
            }
            Err(codec::Unfit(status)) => {
                Err(DeviceError::Protocol(format!("the command {} cannot be written ({status:#x})", command.name)))
            }
        }
    }

    async fn send(
        &mut self,
        command: &Command,
        filling: Filling<'_>,
    ) -> Result<Result<Answer, codec::Unfit>, DeviceError> {
        match self.dialect.line(command, filling) {
            Ok(line) => self.peer.ask(self.dialect, command, &line).await.map(Ok),
            Err(unfit) => Ok(Err(unfit)),
        }
    }

    /// Finds out which life the buffer lives, and begins a new one where it is not the one that we know.
    async fn settle(&mut self, index: usize) -> Result<(), DeviceError> {
        let known = match &self.dialect.mark {
            Some(place) => self.read_mark(&place.read.clone()).await?,
            None => None,
        };
        let buffer = self.buffer(index).await?;
        let life = match known.filter(|life| life.agrees(buffer)) {
            Some(life) => life,
            None => {
                self.clear(index).await?;
                let buffer = self.buffer(index).await?;
                let life = Life::fresh(buffer, known.map(|life| life.epoch));
                self.write_mark(life).await?;
                life
            }
        };
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.life = Some(life);
            lane.seen = Buffer::default();
        }
        Ok(())
    }

    async fn buffer(&mut self, index: usize) -> Result<Buffer, DeviceError> {
        for _ in 0..TRIES {
            let Some(answers) = self.group(index).await? else { continue };
            let Some(lane) = self.lanes.get(index) else { continue };
            return lane
                .buffer(&answers)
                .ok_or_else(|| DeviceError::Protocol("its counters are no numbers".to_owned()));
        }
        Err(DeviceError::Protocol("its counters never stand still".to_owned()))
    }

    async fn read_mark(&mut self, place: &AnswerField) -> Result<Option<Life>, DeviceError> {
        let Some(command) = self.dialect.command(&place.command).cloned() else { return Ok(None) };
        let kept = self.kept(&command, &[]).await?;
        Ok(kept.iter().find(|(name, _)| *name == place.field).and_then(|(_, mark)| Life::parse(mark)))
    }

    /// Written, and read back: a device that keeps no mark would burn its buffer at every reconnection without anybody knowing why.
    async fn write_mark(&mut self, life: Life) -> Result<(), DeviceError> {
        let Some(place) = self.dialect.mark.clone() else { return Ok(()) };
        if let Some(command) = self.dialect.command(&place.write).cloned() {
            self.kept(&command, &life.mark()).await?;
        }
        if self.read_mark(&place.read).await? != Some(life) {
            return Err(DeviceError::Protocol("it does not keep the mark that was written to it".to_owned()));
        }
        Ok(())
    }

    async fn clear(&mut self, index: usize) -> Result<(), DeviceError> {
        let command = self.lanes.get(index).and_then(|lane| lane.command_of(Tag::Flush)).cloned();
        match command.and_then(|name| self.dialect.command(&name).cloned()) {
            Some(command) => self.kept(&command, &[]).await.map(drop),
            None => Err(DeviceError::Protocol("its map names no command that empties the buffer (flush)".to_owned())),
        }
    }

    /// Sends what the write asks for, and returns what was refused.
    async fn write(&mut self, settings: &Settings, write: &TagWrite) -> Result<Option<DeviceEvent>, DeviceError> {
        let Some(index) = self.lanes.iter().position(|lane| lane.tags.station == write.station) else {
            return Ok(None);
        };
        let names = self.lanes.get(index).map(|lane| lane.commands(write)).unwrap_or_default();
        for (name, tag) in names {
            let Some(command) = self.dialect.command(&name).cloned() else { continue };
            let status = self.order(index, &command, tag, write).await?;
            if let Some(status) = status {
                let refused =
                    DeviceEvent::WriteRefused { device: settings.device, station: write.station, tag, status };
                return Ok(Some(refused));
            }
        }
        Ok(None)
    }

    /// Sends one command of a write. The status where it was refused for good.
    async fn order(
        &mut self,
        index: usize,
        command: &Command,
        tag: Tag,
        write: &TagWrite,
    ) -> Result<Option<u32>, DeviceError> {
        if tag == Tag::Flush {
            return self.flush(index, write).await.map(|()| None);
        }
        let Some(lane) = self.lanes.get(index) else { return Ok(None) };
        let Some(values) = lane.values(write) else { return Ok(Some(OUT_OF_RANGE.0)) };
        if let Some((place, value)) = lane.taken(tag, &values)
            && let Some(command) = self.dialect.command(&place.command).cloned()
        {
            let kept = self.kept(&command, &[]).await?;
            if kept.iter().any(|(name, held)| *name == place.field && *held == value) {
                return Ok(None);
            }
        }
        let number = values.iter().find_map(|(tag, value)| match value {
            TagValue::Int(number) if *tag == Tag::DataSeq => u64::try_from(*number).ok(),
            _ => None,
        });
        if let Some(number) = number {
            self.pass_over(index, number).await?;
        }
        match self.send(command, Filling { values: &values, mark: &[] }).await? {
            Ok(Answer::Kept(_)) => {
                if let (Some(lane), Some(number)) = (self.lanes.get_mut(index), number) {
                    lane.seen.accepted = number;
                }
                Ok(None)
            }
            Ok(Answer::Refused(code)) if command.retry.contains(&code) => {
                self.waiting = Some(write.clone());
                Ok(None)
            }
            Ok(Answer::Refused(_)) => Ok(Some(REFUSED)),
            Err(codec::Unfit(status)) => Ok(Some(status)),
        }
    }

    /// Numbers that were burned on their way never come to the coder: behind a flush its next record may be any. That is noted
    /// before the record goes out, or it would look as if some had been lost.
    async fn pass_over(&mut self, index: usize, number: u64) -> Result<(), DeviceError> {
        let passed = self.lanes.get_mut(index).and_then(|lane| {
            let seen = lane.seen;
            lane.life.as_mut()?.pass_over(number, seen)
        });
        match passed {
            Some(life) => self.write_mark(life).await,
            None => Ok(()),
        }
    }

    /// Empties the buffer. The counters are read behind it, so that what was printed until then is told with the flush.
    async fn flush(&mut self, index: usize, write: &TagWrite) -> Result<(), DeviceError> {
        self.waiting = None;
        self.clear(index).await?;
        let asked = write.values.iter().find(|(tag, _)| *tag == Tag::Flush).map(|(_, value)| value);
        let Some(TagValue::Int(flush)) = asked else { return Ok(()) };
        let buffer = self.buffer(index).await?;
        let life = self.lanes.get_mut(index).and_then(|lane| {
            lane.life.as_mut()?.flush(buffer);
            lane.life
        });
        if let Some(life) = life {
            self.write_mark(life).await?;
        }
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.flush_done = u64::try_from(*flush).unwrap_or(0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
