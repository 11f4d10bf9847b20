//! The thread that takes pictures out of the camera's folder, keeps them beside the journal, and has a fact written for each.
//!
//! It follows the journal like any reader and so knows nothing that is not durable. The order of things, each step safe to repeat after a
//! crash: the picture is stored, its fact is decided, and once that is on disk the camera's file goes; a deletion is decided as a fact,
//! and once that is on disk the pictures go.
//!
//! Nothing waits for this thread: a folder on a share that hangs costs pictures, and no verdict. What is lost is counted, told as one
//! alarm that holds nothing, and named in the log.

mod losses;
mod matching;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tokio::sync::oneshot;

use crate::config::{self, Config};
use crate::device::pictures::{self, Dropped, Folder, Refusal};
use crate::domain::text::{Name, Text};
use crate::domain::time::Now;
use crate::engine::fact::{Entry, Fact, Picture, PictureDigest};
use crate::engine::reason::AlarmKind;
use crate::line::{Arrival, Inbound};
use crate::runtime::clock::Clock;
use crate::runtime::pictures::losses::{Loss, Losses};
use crate::runtime::pictures::matching::{Found, Inspected, Matching};
use crate::runtime::spine::Item;
use crate::runtime::tasks;
use crate::store::pictures::{Limits, Shelf, folder_of};
use crate::store::{Reader, StoreError};
use crate::wire::fact;

const EVERY: Duration = Duration::from_millis(500);
/// Facts that are heard again at a start, minutes of the fastest line.
const HEARD_AGAIN: u64 = 20_000;
/// Facts that are heard in one look.
const HEARD_MAX: u32 = 50_000;
/// What was decided is on disk by then, or it was never taken.
const DECIDED_MAX_US: u64 = 30_000_000;
/// The stop of the line waits so long for the last look.
const END_MAX: Duration = Duration::from_secs(1);
/// Pictures whose facts are awaited at once.
const SENT_MAX: usize = 256;

/// The pictures of one camera.
struct Gallery {
    journal: PathBuf,
    /// Opened when it is first needed, and anew after an error.
    reader: Option<Reader>,
    folder: Folder,
    shelf: Shelf,
    matching: Matching,
    losses: Losses,
    /// The next fact to hear; 0 before the first look.
    next: u64,
    /// Inspections whose picture is stored and whose fact is awaited: the file, and since when.
    sent: BTreeMap<u64, (String, u64)>,
    /// Since when a deletion is awaited.
    removing_since_us: Option<u64>,
    settings: pictures::Settings,
    /// Until when results were looked at for pictures that never came; they begin with this run.
    complete_until_us: i64,
}

/// The thread, where a camera has pictures.
pub(super) struct Pictures {
    stop: Sender<()>,
    ended: oneshot::Receiver<()>,
}

/// Ends the thread, which tells first what it has not told yet. A folder on a share that hangs keeps nobody.
pub(super) async fn end(pictures: Option<Pictures>) {
    let Some(Pictures { stop, ended }) = pictures else { return };
    drop(stop);
    let _ = tokio::time::timeout(END_MAX, ended).await;
}

/// Starts the thread, where a camera has pictures.
pub(super) fn start(config: &Config, clock: Clock, inbox: Sender<Item>) -> Result<Option<Pictures>, StoreError> {
    let of = |station: &config::Station| {
        Some((station.settings.name, station.settings.result_wrap(), station.pictures.clone()?))
    };
    let Some((camera, wrap, settings)) = config.stations.iter().find_map(of) else { return Ok(None) };
    let limits = Limits { count: settings.keep, bytes: settings.keep_bytes };
    let shelf = Shelf::open(folder_of(&config.journal), limits, config.upkeep.bounds)?;
    let gallery = Gallery::new(config.journal.clone(), (camera, wrap), settings, shelf, clock.now());
    let (stop, stopping) = bounded(0);
    let (done, ended) = oneshot::channel();
    let tell = move |now: Now, what| inbox.try_send(Item::Line(Inbound { seen_mono_us: now.mono_us, what })).is_ok();
    let started = tasks::thread("sealgate-picture", move || {
        run(gallery, clock, &stopping, tell);
        drop(done);
    });
    started.map_err(|source| StoreError::Io {
        doing: "starting the thread for",
        path: folder_of(&config.journal),
        source,
    })?;
    Ok(Some(Pictures { stop, ended }))
}

fn run(mut gallery: Gallery, clock: Clock, stop: &Receiver<()>, tell: impl Fn(Now, Arrival) -> bool) {
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(EVERY) {
        let now = clock.now();
        // The journal's own guard ends the process where it is damaged or gone; here, nothing is decided on what cannot be read.
        if let Err(error) = gallery.look(now, &|what| tell(now, what)) {
            gallery.losses.note(Loss::Disk, &error.to_string());
        }
        gallery.tell_losses(now, gallery.losses.due(now.mono_us), &|what| tell(now, what));
    }
    let now = clock.now();
    gallery.tell_losses(now, gallery.losses.untold(), &|what| tell(now, what));
}

impl Gallery {
    fn new(
        journal: PathBuf,
        (camera, wrap): (Name, Option<u64>),
        settings: pictures::Settings,
        shelf: Shelf,
        now: Now,
    ) -> Self {
        let within_us = i64::try_from(settings.within.as_micros()).unwrap_or(i64::MAX);
        Self {
            journal,
            reader: None,
            folder: Folder::new(settings.clone()),
            shelf,
            matching: Matching::new(camera, wrap, within_us),
            losses: Losses::default(),
            next: 0,
            sent: BTreeMap::new(),
            removing_since_us: None,
            settings,
            complete_until_us: now.wall_us,
        }
    }

    /// One look. The folder is listed first, so that every result that a file could mean has been recorded when the facts are heard.
    fn look(&mut self, now: Now, tell: &dyn Fn(Arrival) -> bool) -> Result<(), StoreError> {
        let listed = self.folder.look(now.mono_us);
        self.hear()?;
        let look = match listed {
            Ok(look) => look,
            Err(error) => {
                self.losses.note(Loss::Folder, &format!("{}: {error}", self.settings.folder.display()));
                return Ok(());
            }
        };
        for refused in look.refused {
            self.losses.note(Loss::Refused(refused.why), &refused.name);
        }
        self.forget_undecided(now);
        for dropped in look.still {
            self.take(now, &dropped, tell)?;
        }
        self.miss(now);
        Ok(())
    }

    /// Hears what has become durable.
    fn hear(&mut self) -> Result<(), StoreError> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => Reader::open(&self.journal)?,
        };
        if self.next == 0 {
            self.next = reader.head()?.0.saturating_sub(HEARD_AGAIN).max(1);
            if let Some(first) = reader.fact(self.next)?.filter(|first| first.seq > 1) {
                self.matching.begin_at(first.at_us);
            }
        }
        let mut removed: Vec<PictureDigest> = Vec::new();
        reader.each_fact(self.next, Some(HEARD_MAX), |stored| {
            let decoded = fact::decode(stored.undecoded());
            let entry =
                decoded.map_err(|error| StoreError::Damaged { seq: Some(stored.seq), what: error.to_string() })?;
            self.next = stored.seq.saturating_add(1);
            self.heard(stored.at_us, &entry, &mut removed);
            Ok::<(), StoreError>(())
        })?;
        self.reader = Some(reader);
        self.shelf.remove(&removed)
    }

    fn heard(&mut self, at_us: i64, entry: &Entry, removed: &mut Vec<PictureDigest>) {
        if let Fact::PicturesRemoved { pictures } = &entry.fact {
            self.removing_since_us = None;
            removed.extend(pictures);
        }
        if let Fact::PictureStored { picture } = &entry.fact {
            // Stored again after it was to go.
            removed.retain(|gone| *gone != picture.sha256);
        }
        self.matching.hear(at_us, entry);
    }

    /// A line that was about to stop took it and decided nothing.
    fn forget_undecided(&mut self, now: Now) {
        let is_old = |since_us: u64| now.mono_us.saturating_sub(since_us) > DECIDED_MAX_US;
        self.sent.retain(|_, (_, since_us)| !is_old(*since_us));
        self.removing_since_us = self.removing_since_us.filter(|since_us| !is_old(*since_us));
    }

    fn take(&mut self, now: Now, dropped: &Dropped, tell: &dyn Fn(Arrival) -> bool) -> Result<(), StoreError> {
        match self.matching.find(dropped.sequence, dropped.changed_us) {
            Found::None => self.lose(Loss::Foreign, dropped),
            Found::Unclear => self.lose(Loss::Unclear, dropped),
            Found::One(result) => match result.picture {
                None => return self.store(now, dropped, &result, tell),
                Some(digest) => self.settle(dropped, &result, digest),
            },
        }
        Ok(())
    }

    /// The fact of a picture is on disk: its file goes. Another file for the same result is none that anybody asked for.
    fn settle(&mut self, dropped: &Dropped, result: &Inspected, digest: PictureDigest) {
        let is_own = self.sent.remove(&result.inspection).is_some_and(|(name, _)| name == dropped.name);
        let is_same =
            || self.folder.read(dropped).is_ok_and(|bytes| crate::wire::digest::sha256_hex(&bytes) == digest.as_str());
        if is_own || is_same() {
            self.take_away(dropped);
        } else {
            self.lose(Loss::Second, dropped);
        }
    }

    fn store(
        &mut self,
        now: Now,
        dropped: &Dropped,
        result: &Inspected,
        tell: &dyn Fn(Arrival) -> bool,
    ) -> Result<(), StoreError> {
        // While some are about to go, nothing comes in: the same content may be one of them, and would go with it.
        let is_awaited = self.sent.contains_key(&result.inspection) || self.removing_since_us.is_some();
        if is_awaited || self.sent.len() >= SENT_MAX {
            return Ok(());
        }
        let content = match self.folder.read(dropped) {
            Ok(content) => content,
            // It is looked at again when it lies still.
            Err(Refusal::Moving) => return Ok(()),
            Err(why) => {
                self.lose(Loss::Refused(why), dropped);
                return Ok(());
            }
        };
        let Some(media) = pictures::media_type(&content).and_then(Text::new) else {
            self.lose(Loss::Refused(Refusal::Broken), dropped);
            return Ok(());
        };
        let bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
        if !self.shelf.has_room(bytes) {
            self.lose(Loss::NoRoom, dropped);
            return Ok(());
        }
        if !self.shelf.takes(bytes) {
            self.make_room(now, bytes, tell);
            return Ok(());
        }
        let sha256 = self.shelf.put(&content)?;
        let picture = Picture { result: result.result, inspection: result.inspection, sha256, bytes, media };
        if tell(Arrival::Pictured(result.batch, Box::new(picture))) {
            self.sent.insert(result.inspection, (dropped.name.clone(), now.mono_us));
        }
        Ok(())
    }

    /// Has the oldest deleted; until that is a fact on disk, nothing more comes in.
    fn make_room(&mut self, now: Now, bytes: u64, tell: &dyn Fn(Arrival) -> bool) {
        // A picture whose fact is awaited is not deleted before it.
        if self.sent.is_empty() {
            let oldest = self.shelf.oldest(bytes);
            self.removing_since_us = tell(Arrival::PicturesRemoved(oldest)).then_some(now.mono_us);
        }
    }

    /// Where every result has a picture, one without is missing once no picture can come any more.
    fn miss(&mut self, now: Now) {
        let within_us = i64::try_from(self.settings.within.as_micros()).unwrap_or(i64::MAX);
        let until_us = now.wall_us.saturating_sub(within_us.saturating_mul(3)).saturating_sub(10_000_000);
        if !self.settings.every || until_us <= self.complete_until_us {
            return;
        }
        for _ in 0..self.matching.without_picture(self.complete_until_us, until_us) {
            self.losses.note(Loss::Missing, "");
        }
        self.complete_until_us = until_us;
    }

    /// Counts it and takes its file away.
    fn lose(&mut self, loss: Loss, dropped: &Dropped) {
        self.losses.note(loss, &dropped.name);
        self.take_away(dropped);
    }

    fn take_away(&mut self, dropped: &Dropped) {
        if let Err(error) = self.folder.take_away(dropped) {
            self.losses.note(Loss::Folder, &format!("{} cannot be taken out of the folder: {error}", dropped.name));
        }
    }

    fn tell_losses(&mut self, now: Now, losses: Option<String>, tell: &dyn Fn(Arrival) -> bool) {
        if let Some(detail) = losses {
            tracing::warn!(%detail, kept = self.shelf.count(), bytes = self.shelf.bytes(), "pictures_lost");
            if tell(Arrival::Noticed(AlarmKind::PicturesLost, detail)) {
                self.losses.told(now.mono_us);
            }
        }
    }
}

#[cfg(test)]
mod tests;
