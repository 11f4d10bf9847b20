//! What became of pictures that were not stored: counted by cause, told in one sentence. The first of a cause is told at once, all others
//! together, at most once a minute, and at the end.

use std::collections::BTreeMap;

use crate::device::pictures::Refusal;

const TOLD_EVERY_US: u64 = 60_000_000;
/// Characters of a name or an error that are told.
const NAME_MAX: usize = 80;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Loss {
    Refused(Refusal),
    /// No result has its number, or none within the time: late, or of something else.
    Foreign,
    /// Several results may be meant, or the camera began anew.
    Unclear,
    /// The result has a picture already.
    Second,
    Missing,
    NoRoom,
    /// The journal's side did not take it.
    Disk,
    /// The camera's folder cannot be read, or not be emptied.
    Folder,
}

#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Since the start, by cause.
    counts: BTreeMap<Loss, u64>,
    newest: String,
    news: News,
    told_at_us: u64,
}

/// What has not been told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    #[default]
    None,
    /// More of what was told before.
    More,
    /// The first of a cause.
    First,
}

impl Losses {
    pub(super) fn note(&mut self, loss: Loss, what: &str) {
        // What lasts is one trouble, however often it is looked at.
        let is_lasting = matches!(loss, Loss::Folder | Loss::Disk) && self.counts.contains_key(&loss);
        if is_lasting {
            return;
        }
        let count = self.counts.entry(loss).or_default();
        self.news = self.news.max(if *count == 0 { News::First } else { News::More });
        *count += 1;
        if !what.is_empty() {
            self.newest = what.chars().map(|c| if c.is_control() { '?' } else { c }).take(NAME_MAX).collect();
        }
    }

    /// What is to be told now.
    pub(super) fn due(&self, now_us: u64) -> Option<String> {
        let is_time = now_us.saturating_sub(self.told_at_us) >= TOLD_EVERY_US;
        match self.news {
            News::First => self.untold(),
            News::More if is_time => self.untold(),
            News::More | News::None => None,
        }
    }

    /// What would otherwise be told later.
    pub(super) fn untold(&self) -> Option<String> {
        (self.news != News::None).then(|| {
            let counts: Vec<String> =
                self.counts.iter().map(|(loss, count)| format!("{count} {}", loss.name())).collect();
            format!("since the start: {}; the newest: {:?}", counts.join(", "), self.newest)
        })
    }

    pub(super) fn told(&mut self, now_us: u64) {
        (self.news, self.told_at_us) = (News::None, now_us);
    }
}

impl Loss {
    fn name(self) -> &'static str {
        match self {
            Loss::Refused(why) => why.name(),
            Loss::Foreign => "late or of no result",
            Loss::Unclear => "of an unclear number",
            Loss::Second => "a second one of a result",
            Loss::Missing => "missing",
            Loss::NoRoom => "without room on the disk",
            Loss::Disk => "not stored for a fault",
            Loss::Folder => "with a fault of the folder",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_together_and_the_first_of_each_cause_at_once() {
        let mut losses = Losses::default();
        assert_eq!((losses.due(0), losses.untold()), (None, None));
        losses.note(Loss::Foreign, "u7.png");
        losses.note(Loss::Foreign, "u8\n.png");
        losses.note(Loss::Missing, "");
        let said = losses.due(5).expect("news");
        assert_eq!(said, "since the start: 2 late or of no result, 1 missing; the newest: \"u8?.png\"");
        losses.told(5);
        assert_eq!((losses.due(u64::MAX), losses.untold()), (None, None));
        losses.note(Loss::Missing, "");
        assert_eq!(losses.due(TOLD_EVERY_US), None, "not yet");
        assert!(losses.due(5 + TOLD_EVERY_US).is_some() && losses.untold().is_some());
        losses.note(Loss::Folder, "it is gone");
        assert!(losses.due(6).is_some(), "a new cause does not wait");
        losses.told(6);
        losses.note(Loss::Folder, "it is gone");
        assert_eq!(losses.due(u64::MAX), None, "it lasts, and was told");
    }
}
