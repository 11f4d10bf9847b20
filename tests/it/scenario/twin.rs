//! Crash twins: every scenario again and again, each time with a crash somewhere else, and the same end.
//!
//! A crash comes behind each line, with all of it on disk, and within each line, with nothing of it on disk: the machines show it
//! again, and whoever asked asks again. What must be equal at the end is the whole state (batches, units, containers, alarms, people,
//! stations, what is on its way) and every fact with its actor. What may differ: the numbers of facts, their order, how many serials
//! share one, and the facts that start a run, join a station or log somebody in.
//!
//! Where a crash does make a difference, a line `differs WHY` says so: for a crash at its place, and in the line that follows. One
//! that does not tell the truth fails.

use super::world::{End, World};

/// A scenario without its outcomes.
#[derive(Default)]
pub(crate) struct Story<'a> {
    pub(crate) lines: Vec<Step<'a>>,
}

pub(crate) struct Step<'a> {
    pub(crate) at: String,
    pub(crate) input: &'a str,
    /// Why a crash behind it, or in the next line, does make a difference.
    pub(crate) differs: Option<&'a str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Crash {
    Behind(usize),
    Within(usize),
}

impl<'a> Story<'a> {
    /// Of the line before.
    pub(crate) fn differs(&mut self, why: &'a str) {
        if let Some(line) = self.lines.last_mut() {
            line.differs = Some(why);
        }
    }

    /// What is wrong with the twins of this scenario.
    pub(crate) fn twins(&self) -> Vec<String> {
        let Ok(end) = self.play(None) else { return Vec::new() };
        let mut wrong = Vec::new();
        for (place, line) in self.lines.iter().enumerate() {
            let behind = self.compare(&end, Crash::Behind(place));
            let within = self.compare(&end, Crash::Within(place + 1));
            let excused = line.differs;
            match excused {
                Some(why) if behind.is_none() && within.is_none() => {
                    wrong.push(format!("{}: `differs {why}`, and a crash there changes nothing", line.at));
                }
                Some(_) => {}
                None => wrong.extend(behind.into_iter().chain(within)),
            }
        }
        wrong
    }

    /// What a crash changes; nothing where none can happen.
    fn compare(&self, end: &End, crash: Crash) -> Option<String> {
        let (Crash::Behind(place) | Crash::Within(place)) = crash;
        let line = self.lines.get(place)?;
        let verb = line.input.split_whitespace().next().unwrap_or_default();
        let is_over = |verb| matches!(verb, "crash" | "shutdown");
        // Between a crash and the next start nothing runs that could crash.
        let can_crash = match crash {
            Crash::Behind(_) => !is_over(verb),
            Crash::Within(_) => !is_over(verb) && verb != "resume",
        };
        if !can_crash {
            return None;
        }
        let which = if matches!(crash, Crash::Behind(_)) { "behind" } else { "within" };
        let told = |what: String| Some(format!("{}: a crash {which} `{}`: {what}", line.at, line.input));
        match self.play(Some(crash)) {
            Ok(twin) if twin == *end => None,
            Ok(twin) => told(difference(end, &twin)),
            Err(problem) => told(problem),
        }
    }

    fn play(&self, crash: Option<Crash>) -> Result<End, String> {
        let mut world = World::titled("");
        for (place, line) in self.lines.iter().enumerate() {
            let kept = world.kept();
            let had_engine = world.has_engine();
            let at = |problem| format!("then {}: {problem}", line.at);
            world.play(line.input).map_err(at)?;
            if crash == Some(Crash::Behind(place)) {
                world.die_and_return(world.kept()).map_err(at)?;
            } else if crash == Some(Crash::Within(place)) && had_engine {
                world.die_and_return(kept).map_err(at)?;
                if let Some(again) = again(line.input) {
                    world.play(again).map_err(at)?;
                }
            }
        }
        world.check().map_err(|problem| format!("at the end: {problem}"))?;
        Ok(world.end())
    }
}

/// What happens once more where it was lost: a person asks again and time passes again; machines show theirs by themselves.
fn again(input: &str) -> Option<&str> {
    match input.split_whitespace().next().unwrap_or_default() {
        "encoded" | "printed" => Some("tick 2s"),
        "read" | "noread" | "missed_results" | "repeat_result" | "gate" | "rejected" | "missing" | "ends_missed"
        | "phantom" | "bin" | "bin_full" | "close" | "release" | "repeat" | "permit_acked" | "sealed" | "labelled"
        | "jammed" | "expired" | "opens" | "shuts" | "join" | "reset" | "lost" | "fault" | "recipe" | "flushed"
        | "took" | "strange" => None,
        _ => Some(input),
    }
}

/// The first lines that only one of both has.
fn difference(end: &End, twin: &End) -> String {
    let (end, twin) = (end.lines(), twin.lines());
    let only = |these: &[String], those: &[String], sign: &str| {
        let mut left: Vec<&String> = those.iter().collect();
        let is_new = |line: &&String| match left.iter().position(|other| other == line) {
            Some(at) => {
                left.swap_remove(at);
                false
            }
            None => true,
        };
        these.iter().filter(is_new).map(|line| format!("{sign} {}", line.trim())).take(6).collect::<Vec<_>>()
    };
    let lines = [only(&end, &twin, "-"), only(&twin, &end, "+")].concat();
    format!("another end\n    {}", lines.join("\n    "))
}
