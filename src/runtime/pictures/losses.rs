//! What became of pictures that were not stored: counted by cause, told in one sentence, at most once a minute.

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
    is_news: bool,
    told_at_us: Option<u64>,
}

impl Losses {
    pub(super) fn note(&mut self, loss: Loss, what: &str) {
        // What lasts is one trouble, however often it is looked at.
        let is_lasting = matches!(loss, Loss::Folder | Loss::Disk) && self.counts.contains_key(&loss);
        if is_lasting {
            return;
        }
        *self.counts.entry(loss).or_default() += 1;
        if !what.is_empty() {
            self.newest = what.chars().map(|c| if c.is_control() { '?' } else { c }).take(NAME_MAX).collect();
        }
        self.is_news = true;
    }

    /// What is to be told now.
    pub(super) fn due(&self, now_us: u64) -> Option<String> {
        let is_time = self.told_at_us.is_none_or(|at| now_us.saturating_sub(at) >= TOLD_EVERY_US);
        (self.is_news && is_time).then(|| {
            let counts: Vec<String> =
                self.counts.iter().map(|(loss, count)| format!("{count} {}", loss.name())).collect();
            format!("since the start: {}; the newest: {:?}", counts.join(", "), self.newest)
        })
    }

    pub(super) fn told(&mut self, now_us: u64) {
        (self.is_news, self.told_at_us) = (false, Some(now_us));
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
    fn losses_are_told_together_and_not_one_by_one() {
        let mut losses = Losses::default();
        assert_eq!(losses.due(0), None);
        losses.note(Loss::Foreign, "u7.png");
        losses.note(Loss::Foreign, "u8\n.png");
        losses.note(Loss::Missing, "");
        let said = losses.due(5).expect("news");
        assert_eq!(said, "since the start: 2 late or of no result, 1 missing; the newest: \"u8?.png\"");
        losses.told(5);
        assert_eq!(losses.due(u64::MAX), None);
        losses.note(Loss::Folder, "it is gone");
        assert_eq!(losses.due(TOLD_EVERY_US), None, "not yet");
        assert!(losses.due(5 + TOLD_EVERY_US).is_some());
        losses.told(5 + TOLD_EVERY_US);
        losses.note(Loss::Folder, "it is gone");
        assert_eq!(losses.due(u64::MAX), None, "it lasts, and was told");
    }
}
