//! Requests that were done, by the key that their sender gave them: a repeat, sent because the first answer was lost, is answered and
//! not done again.
//!
//! A key belongs to one session. What was refused changed nothing and is not kept: asked again it is decided again. The last
//! [`KEPT_MAX`] are known while the daemon runs; a repeat after that, or after a restart, meets the state as it is, which says
//! `"changed": false` or why not.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::wire::command::ClientAnswer;

const KEPT_MAX: usize = 256;

/// What a sender said: whose key, and the hash of what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keyed {
    pub(super) key: String,
    pub(super) content: String,
}

#[derive(Debug, Default)]
pub(super) struct Repeats {
    known: Mutex<VecDeque<(Keyed, Option<ClientAnswer>)>>,
}

/// What is known of a key.
#[derive(Debug)]
pub(super) enum Known {
    /// Nothing: it is to be done now.
    New(Begun),
    Done(Box<ClientAnswer>),
    /// The first is being done.
    Begun,
    /// The key was given to something else.
    Other,
}

/// A request that is being done. Dropped without an answer it may be asked for again.
#[derive(Debug)]
pub(super) struct Begun {
    keyed: Keyed,
    of: Arc<Repeats>,
}

impl Repeats {
    pub(super) fn begin(self: &Arc<Self>, keyed: Keyed) -> Known {
        let mut known = self.lock();
        if let Some((before, answer)) = known.iter().find(|(before, _)| before.key == keyed.key) {
            return match answer {
                _ if before.content != keyed.content => Known::Other,
                Some(answer) => Known::Done(Box::new(answer.clone())),
                None => Known::Begun,
            };
        }
        if known.len() >= KEPT_MAX {
            known.pop_front();
        }
        known.push_back((keyed.clone(), None));
        Known::New(Begun { keyed, of: Arc::clone(self) })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Keyed, Option<ClientAnswer>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Begun {
    pub(super) fn done(self, answer: &ClientAnswer) {
        let mut known = self.of.lock();
        let entry = known.iter_mut().find(|(keyed, _)| *keyed == self.keyed);
        if let Some((_, kept)) = entry.filter(|_| answer.ok) {
            *kept = Some(answer.clone());
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.of.lock().retain(|(keyed, answer)| *keyed != self.keyed || answer.is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::command::Reason;

    fn keyed(key: &str, content: &str) -> Keyed {
        Keyed { key: key.to_owned(), content: content.to_owned() }
    }

    fn begun(known: Known) -> Begun {
        let Known::New(begun) = known else { panic!("{known:?}") };
        begun
    }

    #[test]
    fn what_was_done_is_answered_and_what_was_refused_or_left_is_done_again() {
        let repeats = Arc::new(Repeats::default());
        let first = begun(repeats.begin(keyed("k", "a")));
        assert!(matches!(repeats.begin(keyed("k", "a")), Known::Begun));
        assert!(matches!(repeats.begin(keyed("k", "b")), Known::Other));
        first.done(&ClientAnswer::refusal(0, vec![Reason::new("busy", "")]));
        let left = begun(repeats.begin(keyed("k", "a")));
        drop(left);
        let answer = ClientAnswer::data(0, 7.into());
        begun(repeats.begin(keyed("k", "a"))).done(&answer);
        let Known::Done(again) = repeats.begin(keyed("k", "a")) else { panic!("it is known") };
        assert_eq!(*again, answer);
        assert!(matches!(repeats.begin(keyed("k", "b")), Known::Other));
        begun(repeats.begin(keyed("other", "a")));
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let repeats = Arc::new(Repeats::default());
        for number in 0..=KEPT_MAX {
            begun(repeats.begin(keyed(&number.to_string(), ""))).done(&ClientAnswer::data(0, 7.into()));
        }
        assert!(matches!(repeats.begin(keyed("1", "")), Known::Done(_)));
        assert!(matches!(repeats.begin(keyed("0", "")), Known::New(_)));
    }
}
