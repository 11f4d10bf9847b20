//! The subject: the line on its real store, as the daemon puts it together, in one thread and told the time.
//!
//! What the daemon's threads do at their own pace is done here in one order: the turns of a frame, then commits until nothing
//! waits, then the feed, then the log when that is due. Whatever leaves is on its way before the next call on the files. An error of
//! the store ends the process as it ends the daemon.

use std::io::{self, BufRead, StdinLock, Write};
use std::path::PathBuf;

use crossbeam_channel::Receiver;
use serde_json::json;

use crate::config::Config;
use crate::domain::tag::{StationId, TagWrite};
use crate::domain::time::Now;
use crate::engine::input::{Ask, Request};
use crate::line::{Arrival, Inbound, Line, Opening, Plant, Turn};
use crate::runtime::assemble::{self, Around};
use crate::runtime::desk::{self, Unfit};
use crate::runtime::error::RunError;
use crate::runtime::feed::FeedReader;
use crate::runtime::journal::{self, Beginning};
use crate::runtime::lockstep::talk::{self, Coming, Frame, Heard, Sent};
use crate::runtime::proof::{self, Proven};
use crate::runtime::snapshot::Snapshot;
use crate::store::commit::{self, Job, SqliteJournal};
use crate::store::side::SideFile;
use crate::store::wal::Upkeep;
use crate::store::{self, Store, Work, start};
use crate::wire::checkpoint::Note;
use crate::wire::command::{ClientAnswer, ClientRequest, Command};
use crate::wire::topic;

/// Facts that are read for the feed at once.
const PAGE: usize = 32;

/// Says a thing now: it is out of this process before the next call on the files.
fn say(heard: &Heard) {
    // A stage that went away ends this process at its next line.
    let mut out = io::stdout().lock();
    let _ = out.write_all(talk::line(heard).as_bytes()).and_then(|()| out.flush());
}

/// The way of writes to the stage.
struct Mouth;

impl Plant for Mouth {
    fn write(&mut self, write: TagWrite) {
        say(&Heard::write(&write));
    }
}

struct Subject {
    line: Line<SqliteJournal, Mouth>,
    store: Store,
    jobs: Receiver<Job>,
    /// `None` after an error: a long log is slow, not wrong.
    upkeep: Option<Upkeep>,
    feed: FeedReader,
    /// The newest fact that was sent.
    sent: u64,
    /// Where the checkpoints go, and those that wait for it.
    side: SideFile,
    notes: Receiver<Note>,
    journal: PathBuf,
}

/// Serves frames until the stage says stop or goes away.
pub fn serve(config: &Config) -> Result<(), RunError> {
    let mut frames = io::stdin().lock();
    let (mut store, mut recovery) = journal::open(config, Beginning::AsBefore)?;
    let Proven { side, notes, epoch, key, mut doubts, .. } = proof::open(config, &mut store)?;
    recovery.doubts.append(&mut doubts);
    let (boot, durable) = (store.boot(), store.durable());
    say(&Heard::Recovered(durable.through()));
    // The clock of this run is the stage's, which never steps.
    let opening = Opening { last_wall_us: store.last_wall_us()?, ..Opening::default() };
    let (journal, jobs) = commit::channel();
    let sent = store::Reader::open(&config.journal)?.feed_cursor(topic::STREAM_FACT)?;
    let identity = assemble::identity(config);
    let around = Around { journal, plant: Mouth, durable, boot };
    let (line, first_fact) = assemble::line(config, recovery, (epoch, key), around);
    let mut subject = Subject {
        line,
        store,
        jobs,
        upkeep: Upkeep::open(&config.journal).ok(),
        feed: FeedReader::new(&config.journal, &identity.line, &identity.source),
        sent,
        side,
        notes,
        journal: config.journal.clone(),
    };
    let Some(frame) = next(&mut frames)? else { return Ok(()) };
    let now = now(&frame);
    let first = subject.line.open(now, first_fact, opening);
    tell(&first);
    subject.finish(now)?;
    while let Some(frame) = next(&mut frames)? {
        if subject.take(frame)? {
            return Ok(());
        }
    }
    Ok(())
}

fn next(frames: &mut StdinLock<'_>) -> Result<Option<Frame>, RunError> {
    let mut line = String::new();
    if frames.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line).map_err(io::Error::from)?))
}

fn now(frame: &Frame) -> Now {
    Now { wall_us: frame.wall_us, mono_us: frame.mono_us }
}

fn tell(turn: &Turn) {
    for answer in &turn.answers {
        say(&Heard::Answer(ClientAnswer::of(answer.id, answer).to_line()));
    }
}

impl Subject {
    /// One frame; `true` where it was the last.
    fn take(&mut self, frame: Frame) -> Result<bool, RunError> {
        let now = now(&frame);
        let (mut is_last, mut is_upkeep_due) = (false, false);
        for coming in frame.what {
            let what = match coming {
                Coming::Connected(stations) => Arrival::Connected(stations.into_iter().map(StationId).collect()),
                Coming::Update(station, values) => Arrival::Update(talk::update(station, values)),
                Coming::Tick => Arrival::Tick,
                Coming::Ask(line) => match self.ask(&line) {
                    Ok(ask) => Arrival::Asked(ask),
                    Err(refusal) => {
                        say(&Heard::Answer(refusal.to_line()));
                        continue;
                    }
                },
                Coming::Acked(through) => Arrival::Work(Work::FeedAcked { through }),
                Coming::Upkeep => {
                    is_upkeep_due = true;
                    continue;
                }
                Coming::Stop => {
                    is_last = true;
                    Arrival::Stop
                }
            };
            let turn = self.line.turn(now, Inbound { seen_mono_us: now.mono_us, what });
            tell(&turn);
        }
        self.settle(now)?;
        if is_upkeep_due && self.upkeep.as_mut().is_some_and(|upkeep| upkeep.round().is_err()) {
            self.upkeep = None;
        }
        if is_last {
            self.publish()?;
            self.upkeep.take().map_or(Ok(()), |mut upkeep| upkeep.end())?;
        }
        self.finish(now)?;
        Ok(is_last)
    }

    /// Commits until nothing waits, as the commit thread does.
    fn settle(&mut self, now: Now) -> Result<(), RunError> {
        while let Ok(job) = self.jobs.try_recv() {
            if let Some(last) = job.records.last() {
                say(&Heard::Submitted(last.row.seq));
            }
            let durable = self.store.commit(&job, || now.mono_us).inspect_err(|error| {
                start::note_damage(&self.journal, error);
            })?;
            say(&Heard::Durable(durable.through()));
            let what = Arrival::Durable(durable);
            let turn = self.line.turn(now, Inbound { seen_mono_us: now.mono_us, what });
            tell(&turn);
        }
        let notes: Vec<Note> = self.notes.try_iter().collect();
        if !notes.is_empty() {
            // The daemon says so in its log and goes on: the journal itself holds them too.
            let _ = self.side.append(&notes);
        }
        Ok(())
    }

    fn finish(&mut self, now: Now) -> Result<(), RunError> {
        self.settle(now)?;
        // A page that cannot be read is tried again, as by the publisher.
        let _ = self.publish();
        let mut status = Snapshot::of(self.line.engine(), self.line.machines()).status();
        let shown = status.as_object_mut();
        let kept = shown.map(|all| json!({ "seq": all["seq"], "alarms": all["alarms"], "batch": all["batch"] }));
        say(&Heard::Done(kept.unwrap_or_default()));
        Ok(())
    }

    /// What is durable and was not sent since this start.
    fn publish(&mut self) -> Result<(), RunError> {
        loop {
            let page = self.feed.page(self.sent, PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            self.sent = last.fact_seq;
            for message in page {
                say(&Heard::Message(Box::new(Sent {
                    fact_seq: message.fact_seq,
                    topic: message.topic,
                    properties: message.properties,
                    payload: crate::sim::truth::text_of(&message.payload),
                })));
            }
        }
    }

    /// A line of the local socket, put to the line as the desk puts it.
    fn ask(&self, line: &str) -> Result<Ask, Box<ClientAnswer>> {
        let ClientRequest { id, asker, command } = ClientRequest::parse(line.as_bytes())?;
        let refuse = |why: &str| {
            let reason = crate::wire::command::Reason::new("lockstep", why.to_owned());
            Box::new(ClientAnswer::refusal(id, vec![reason]))
        };
        let request = match command {
            Command::Ask(request) => request,
            Command::Load(draft) => match desk::check(&self.journal, *draft) {
                Ok(order) => Request::LoadBatch(std::sync::Arc::new(order)),
                Err(Unfit::Order(_)) => return Err(refuse("the order is not valid")),
                Err(Unfit::Used(_)) => return Err(refuse("the order was used before")),
                Err(Unfit::File(what)) => return Err(refuse(&what)),
                Err(Unfit::Store(error)) => return Err(refuse(&error.to_string())),
            },
            Command::Tap { .. }
            | Command::Reopen(..)
            | Command::Password(_)
            | Command::Status
            | Command::FeedStatus
            | Command::Look(_)
            | Command::FeedReplay { .. }
            | Command::FeedRetry { .. }
            | Command::FeedSkip { .. } => {
                return Err(refuse("only orders, batches and alarms are asked for here"));
            }
        };
        Ok(Ask { id, asker, request })
    }
}
