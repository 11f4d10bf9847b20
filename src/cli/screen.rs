//! The demo's live picture in the terminal: one small block, drawn again in place. Without a terminal, a line every five seconds.

use std::io::{IsTerminal, Write};

use serde_json::Value;

use crate::runtime::demo::DemoView;

/// Calls of `show` between two pictures: about ten a second on a terminal, one in five seconds elsewhere.
const TERMINAL_EVERY: u32 = 4;
const PLAIN_EVERY: u32 = 200;

pub(super) struct Screen {
    is_headless: bool,
    is_terminal: bool,
    calls: u32,
    lines_drawn: usize,
}

impl Screen {
    pub(super) fn new(is_headless: bool) -> Self {
        Self { is_headless, is_terminal: std::io::stderr().is_terminal(), calls: 0, lines_drawn: 0 }
    }

    pub(super) fn show(&mut self, view: &DemoView) {
        self.calls += 1;
        let every = if self.is_terminal { TERMINAL_EVERY } else { PLAIN_EVERY };
        if self.is_headless || !self.calls.is_multiple_of(every) {
            return;
        }
        let mut out = std::io::stderr().lock();
        if self.is_terminal {
            self.draw(&mut out, &picture(view));
        } else {
            // A terminal that went away is no reason to stop the demo.
            let _ = writeln!(out, "{}", plain(view));
        }
    }

    fn draw(&mut self, out: &mut impl Write, lines: &[String]) {
        if self.lines_drawn > 0 {
            let _ = write!(out, "\x1b[{}A", self.lines_drawn);
        }
        for line in lines {
            // Without wrapping: a line that is too long would take two, and the next picture start in the wrong place.
            let _ = writeln!(out, "\x1b[2K\x1b[?7l{line}\x1b[?7h");
        }
        self.lines_drawn = lines.len();
    }
}

fn count<'v>(status: &'v Value, name: &str) -> &'v Value {
    status.pointer("/counts").and_then(|counts| counts.get(name)).unwrap_or(&Value::Null)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn picture(view: &DemoView) -> Vec<String> {
    let status = &view.status;
    let feed = status.get("feed").unwrap_or(&Value::Null);
    let at = |pointer: &str| text(status.pointer(pointer).unwrap_or(&Value::Null));
    let of = |name: &str| text(count(status, name));
    let stations: Vec<String> = status
        .get("stations")
        .and_then(Value::as_array)
        .map(|stations| stations.iter().map(station).collect())
        .unwrap_or_default();
    let alarms: Vec<String> = status
        .get("alarms")
        .and_then(Value::as_array)
        .map(|alarms| {
            alarms.iter().map(|alarm| format!("{} {}", text(&alarm["alarm"]), text(&alarm["kind"]))).collect()
        })
        .unwrap_or_default();
    let belt = if view.is_running { "running" } else { "stopped" };
    let daemon = if status.is_null() { "away" } else { "there" };
    vec![
        format!("Sealgate demo          belt {belt}, daemon {daemon}, killed {}", view.kills),
        format!("  batch    {} {}   lot {}", at("/batch/batch"), at("/batch/state"), at("/batch/lot")),
        format!("  stations {}", stations.join("  ")),
        format!(
            "  units    presented {}   commissioned {}   in the bin {}",
            view.presented,
            of("commissioned"),
            view.rejected
        ),
        format!(
            "  verdicts pass {}   fail {}   no-read {}   missed {}",
            of("pass"),
            of("fail"),
            of("no_read"),
            of("missed")
        ),
        format!(
            "  closed   cases {} (released {})   pallets {} (released {})",
            view.cases,
            of("cases_released"),
            view.pallets,
            of("pallets_released")
        ),
        format!(
            "  verdict  p50 {} us   p99 {} us   (result arrived to verdict sent)",
            view.verdict_us[0], view.verdict_us[1]
        ),
        format!(
            "  feed     facts {}   backlog {}   captured {}",
            at("/seq"),
            text(feed.get("backlog").unwrap_or(&Value::Null)),
            view.captured
        ),
        format!("  alarms   {}", if alarms.is_empty() { "none".to_owned() } else { alarms.join(", ") }),
        format!("  files    {}", view.folder.display()),
    ]
}

fn station(station: &Value) -> String {
    let sign = if station["joined"] == Value::Bool(true) { "" } else { " (away)" };
    format!("{}{sign}", text(&station["station"]))
}

fn plain(view: &DemoView) -> String {
    format!(
        "presented {} commissioned {} rejected {} cases {} pallets {} backlog {}",
        view.presented,
        text(count(&view.status, "commissioned")),
        view.rejected,
        view.cases,
        view.pallets,
        text(view.status.pointer("/feed/backlog").unwrap_or(&Value::Null))
    )
}
