//! What a crash does to a line, and what is left of it at the end: the daemon's half of the crash twins.

use sealgate::engine::fact::Fact;
use sealgate::engine::input::{Input, Observation, Observed};
use sealgate::engine::state::State;
use sealgate::engine::stops::Recent;

use super::{PRINTER, Played, STATIONS, World, name_of};

/// How much of the record was durable when the daemon died.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    entries: usize,
    orders: usize,
}

/// What a scenario leaves behind.
#[derive(Debug, PartialEq)]
pub(crate) struct End {
    /// What every fact says and who did it, sorted.
    facts: Vec<String>,
    state: State,
    /// The newest inspections of each batch: whether each was a reject.
    recent: Vec<String>,
}

impl End {
    /// In lines, for whoever looks for a difference.
    pub(crate) fn lines(&self) -> Vec<String> {
        let state = format!("{:#?}", self.state);
        self.facts.iter().chain(&self.recent).map(String::as_str).chain(state.lines()).map(str::to_owned).collect()
    }
}

impl World {
    /// All that is durable now.
    pub(crate) fn kept(&self) -> Kept {
        Kept { entries: self.entries.len(), orders: self.orders.len() }
    }

    pub(crate) fn has_engine(&self) -> bool {
        self.engine.is_some()
    }

    /// The daemon dies with all that was not durable, and starts again. The machines noticed nothing: those that were there join with
    /// what they show and have shown; whoever was logged in logs in again before the next thing is asked for.
    pub(crate) fn die_and_return(&mut self, kept: Kept) -> Played {
        let is_there = |station: &usize| self.engine().state().station(&name_of(*station)).joined;
        let there: Vec<usize> = (0..STATIONS.len()).filter(is_there).collect();
        if kept.entries < self.entries.len() {
            // Permits whose facts were not durable never left.
            self.devices[PRINTER].accepted = self.took_by_itself.unwrap_or(self.devices[PRINTER].accepted);
        }
        self.entries.truncate(kept.entries);
        let logged_in = World::logged_in(&self.entries);
        self.orders.truncate(kept.orders);
        self.engine = Some(self.engine_over(self.folded()));
        self.start_up(Vec::new())?;
        there.iter().try_for_each(|station| self.join(*station, false))?;
        self.show_again(&there)?;
        self.unheard = (0..STATIONS.len()).filter(|station| !there.contains(station)).collect();
        self.lapsed = logged_in;
        self.steps.clear();
        Ok(())
    }

    /// What these machines show still, in the order in which they came to show it.
    fn show_again(&mut self, there: &[usize]) -> Played {
        let history = std::mem::take(&mut self.history);
        for (at, observation) in history.iter().enumerate() {
            let later =
                history[at + 1..].iter().filter(|later| later.station == observation.station).collect::<Vec<_>>();
            let is_there = there.contains(&usize::from(observation.station.0));
            if is_there && self.is_still_shown(observation, &later) {
                self.step(Input::Observed(observation.clone()))?;
            }
        }
        self.history = history;
        Ok(())
    }

    /// A machine that was away when the daemon died is back.
    pub(super) fn is_heard(&mut self, station: usize) -> Played {
        match self.unheard.iter().position(|at| *at == station) {
            Some(at) => {
                self.unheard.remove(at);
                self.show_again(&[station])
            }
            None => Ok(()),
        }
    }

    /// Whether a machine shows this still: a level until another one takes its place, what has a number until it was decided.
    fn is_still_shown(&self, Observation { station, what, .. }: &Observation, later: &[&Observation]) -> bool {
        let decided = self.engine().state().station(&name_of(usize::from(station.0))).seq;
        let is_last = |same: fn(&Observed) -> bool| !later.iter().any(|at| same(&at.what));
        match what {
            // `join` shows these.
            Observed::Joined { .. }
            | Observed::Lost { .. }
            | Observed::RecipeShown { .. }
            | Observed::BufferUnknown
            | Observed::RecordStrange
            | Observed::PrinterCounted { .. }
            | Observed::Entered { .. }
            | Observed::BinCounted { .. }
            | Observed::GateMoved { .. }
            | Observed::Echoed { .. } => false,
            Observed::Faulted { .. } => is_last(|what| matches!(what, Observed::Faulted { .. })),
            Observed::PhantomCounted { .. } => is_last(|what| matches!(what, Observed::PhantomCounted { .. })),
            Observed::BinFull { .. } => is_last(|what| matches!(what, Observed::BinFull { .. })),
            // The next request takes them away.
            Observed::PermitAcked { .. } => {
                is_last(|what| matches!(what, Observed::PermitAcked { .. } | Observed::CloseRequested(_)))
            }
            Observed::CloseEnded { .. } => {
                is_last(|what| matches!(what, Observed::CloseEnded { .. } | Observed::CloseRequested(_)))
            }
            Observed::Flushed { .. } => is_last(|what| matches!(what, Observed::Flushed { .. })),
            Observed::CloseRequested(_) => is_last(|what| matches!(what, Observed::CloseRequested(_))),
            Observed::Result(result) => result.seq > decided,
            Observed::ResultsMissed { to, .. } | Observed::EndsMissed { to, .. } => *to > decided,
            Observed::Ended { end_seq, .. } => *end_seq > decided,
        }
    }

    pub(crate) fn end(&self) -> End {
        let mut facts: Vec<String> = self
            .entries
            .iter()
            .filter(|entry| !is_of_the_run(&entry.fact))
            .flat_map(|entry| {
                let words = self.fact(entry);
                each_serial(&words)
                    .into_iter()
                    .map(move |words| format!("{} by {}", words, entry.actor))
                    .collect::<Vec<_>>()
            })
            .collect();
        facts.sort();
        let mut state = self.engine.as_ref().map(|engine| engine.state().clone()).unwrap_or_default();
        let recent = state.batches.iter_mut().map(|batch| recent_of(&std::mem::take(&mut batch.recent))).collect();
        End { facts, state: without_numbers(state), recent }
    }
}

/// Without the numbers of the facts.
fn recent_of(recent: &Recent) -> String {
    let text = format!("{recent:?}");
    let words = text.split(' ').filter(|word| !word.trim_end_matches(',').bytes().all(|byte| byte.is_ascii_digit()));
    words.collect::<Vec<_>>().join(" ")
}

/// Facts about the run of the daemon, its links and its sessions, which a crash changes.
fn is_of_the_run(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::LineStarted { .. }
            | Fact::StationJoined { .. }
            | Fact::StationLost { .. }
            | Fact::LoggedIn { .. }
            | Fact::LoggedOut { .. }
    )
}

/// How many serials share one fact is a matter of when it was written.
fn each_serial(words: &str) -> Vec<String> {
    let shared = ["allocated ", "encoded ", "invalidated "];
    match shared.iter().find_map(|kind| Some((*kind, words.strip_prefix(kind)?))) {
        Some((kind, serials)) => serials.split_whitespace().map(|serial| format!("{kind}{serial}")).collect(),
        None => vec![words.to_owned()],
    }
}

/// The state without the numbers of facts: a run more has more facts.
fn without_numbers(mut state: State) -> State {
    state.seq = 0;
    state.transit.tracks.values_mut().for_each(|track| track.inspection = 0);
    state.transit.unknown.iter_mut().for_each(|(_, inspection)| *inspection = 0);
    state.transit.missed.iter_mut().for_each(|missed| missed.inspection = 0);
    for batch in &mut state.batches {
        batch.opened_seq = 0;
        // It covers the number of the fact that opened the batch.
        batch.performed.iter_mut().for_each(|performed| performed.subject_hash = Default::default());
    }
    state.people.users.values_mut().for_each(|person| person.credential_seq = 0);
    state
}
