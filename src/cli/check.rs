//! `sealgate check`: the configuration, and with `--online` what it names.

use std::path::Path;
use std::process::Command;

use clap::Args;
use serde_json::{Value, json};

use super::outcome::{Exit, Outcome};
use super::print::{self, Style};
use super::{Shared, online, probe};
use crate::config::{self, Config, Mqtt, Problem, Severity};
use crate::publish::{self, Link};

const EXAMPLES: &str = "\
Examples:
  sealgate check --config line.toml               every problem at once, with line and hint; touches no device
  sealgate check --config line.toml --online      also every tag: value, quality, age; broker, disk, clock
  sealgate check --config line.toml --json        for a script; exit 78 where there is an error";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    /// Also read every tag of every device, and look at broker, disk and clock
    #[arg(long)]
    online: bool,
}

pub(super) fn run(args: &CheckArgs, shared: &Shared) -> Outcome {
    let loaded = config::load(&shared.config);
    let problems = match &loaded {
        Ok(config) => &config.warnings,
        Err(error) => &error.problems,
    };
    let (probes, tags) = match &loaded {
        Ok(config) if args.online => look(config),
        Ok(_) | Err(_) => (Vec::new(), Vec::new()),
    };
    if shared.json {
        let mut document = document(shared, &loaded, problems, &probes);
        document["tags"] = Value::Array(tags);
        print::value(Style::new(true, 0), &document);
    } else {
        print::out(&text(shared, &loaded, problems, &probes));
        if !tags.is_empty() {
            print::out(&format!("\n{}", tag_table(&tags)));
        }
    }
    Ok(match loaded {
        Err(_) => Exit::Config,
        Ok(_) if probes.iter().any(|probe| probe.outcome == Answer::No) => Exit::No,
        Ok(_) => Exit::Done,
    })
}

/// One thing outside that was looked at.
pub(super) struct Probe {
    pub(super) what: String,
    pub(super) outcome: Answer,
    pub(super) text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    Unknown,
}

impl Answer {
    fn name(self) -> &'static str {
        match self {
            Answer::Yes => "ok",
            Answer::No => "error",
            Answer::Unknown => "warning",
        }
    }
}

/// What was looked at, and every tag with what it shows.
fn look(config: &Config) -> (Vec<Probe>, Vec<Value>) {
    let (mut probes, mut tags) = (Vec::new(), Vec::new());
    for looked in online::devices(config) {
        probes.extend(looked.probes);
        tags.extend(looked.tags);
    }
    if let Some(mqtt) = &config.mqtt {
        probes.push(broker(mqtt));
    }
    probes.push(disk(&config.journal));
    probes.push(room(&config.journal));
    probes.push(clock());
    (probes, tags)
}

/// A value is cut at so many columns: the whole of it is in JSON.
const VALUE_MAX: usize = 24;

/// Within 100 columns; JSON has the addresses too.
fn tag_table(tags: &[Value]) -> String {
    let text = |row: &Value, key: &str| match &row[key] {
        Value::String(text) => print::shown(text),
        Value::Null => "-".to_owned(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    };
    let mut table = format!(
        "{:12}  {:12}  {:13}  {:VALUE_MAX$}  {:14}  {:>9}\n",
        "device", "station", "tag", "value", "quality", "age ms"
    );
    for row in tags {
        let mut value = text(row, "value");
        if value.chars().count() > VALUE_MAX {
            value = value.chars().take(VALUE_MAX - 3).chain("...".chars()).collect();
        }
        let cell = |key: &str, most: usize| text(row, key).chars().take(most).collect::<String>();
        table += &format!(
            "{:12}  {:12}  {:13}  {value:VALUE_MAX$}  {:14}  {:>9}\n",
            cell("device", 12),
            cell("station", 12),
            cell("tag", 13),
            cell("quality", 14),
            cell("age_ms", 9)
        );
    }
    table
}

/// Under a name of its own: the daemon's would end the daemon's session.
fn broker(mqtt: &Mqtt) -> Probe {
    let link = Link {
        host: mqtt.host.clone(),
        port: mqtt.port,
        client_id: format!("{}-check", mqtt.client_id),
        username: mqtt.username.clone(),
        password: mqtt.password.clone(),
        keep_alive_s: 60,
    };
    let (outcome, text) = match probe::block_on(publish::greet(&link)) {
        Ok(text) => (Answer::Yes, text),
        Err(text) => (Answer::No, text),
    };
    Probe { what: "broker".to_owned(), outcome, text }
}

fn folder_of(journal: &Path) -> &Path {
    journal.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The journal's folder must take a file of this user's.
fn disk(journal: &Path) -> Probe {
    let what = "journal".to_owned();
    let folder = folder_of(journal);
    let trial = folder.join(format!(".sealgate-check-{}", std::process::id()));
    let written = std::fs::write(&trial, b"trial").and_then(|()| std::fs::remove_file(&trial));
    match written {
        Ok(()) => Probe { what, outcome: Answer::Yes, text: format!("{} can be written", folder.display()) },
        Err(error) => {
            let text = format!("{} cannot be written by this user ({error})", folder.display());
            Probe { what, outcome: Answer::No, text }
        }
    }
}

/// Less than this is used up within a shift of a fast line.
const FREE_BYTES_MIN: u64 = 2 << 30;

/// Asks `df`, since Rust's library does not know file systems.
fn room(journal: &Path) -> Probe {
    let what = "disk".to_owned();
    let asked = Command::new("df").args(["-P", "-k", "--"]).arg(folder_of(journal)).output();
    let said = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let Some(free) = free_bytes(&said) else {
        return Probe { what, outcome: Answer::Unknown, text: "df does not say how much is free".to_owned() };
    };
    let text = format!("{} MiB free in {}", free >> 20, folder_of(journal).display());
    if free >= FREE_BYTES_MIN {
        return Probe { what, outcome: Answer::Yes, text };
    }
    let text = format!("{text}; at least {} MiB are needed: make room, or move the journal", FREE_BYTES_MIN >> 20);
    Probe { what, outcome: Answer::No, text }
}

/// The fourth column of the second line, in kibibytes (POSIX, df -P -k).
fn free_bytes(said: &str) -> Option<u64> {
    let kibibytes: u64 = said.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Facts carry wall time, and an unsynchronised clock is a finding of every inspection.
fn clock() -> Probe {
    let asked = Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]).output();
    let said = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let (outcome, text) = match said.as_str() {
        "yes" => (Answer::Yes, "synchronised"),
        "no" => (Answer::Unknown, "not synchronised: set up a time server (chrony, systemd-timesyncd)"),
        _ => (Answer::Unknown, "timedatectl does not say whether it is synchronised"),
    };
    Probe { what: "clock".to_owned(), outcome, text: text.to_owned() }
}

type Loaded = Result<Config, config::ConfigError>;

fn document(shared: &Shared, loaded: &Loaded, problems: &[Problem], probes: &[Probe]) -> Value {
    let problems: Vec<Value> = problems.iter().map(problem).collect();
    let probes: Vec<Value> = probes
        .iter()
        .map(|probe| json!({ "what": probe.what, "outcome": probe.outcome.name(), "text": probe.text }))
        .collect();
    json!({
        "config": shared.config.display().to_string(),
        "ok": loaded.is_ok(),
        "digest": loaded.as_ref().ok().map(|config| &config.digest),
        "feed": loaded.as_ref().ok().map(|config| config.mqtt.is_some()),
        "problems": problems,
        "online": probes,
    })
}

fn problem(problem: &Problem) -> Value {
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({
        "severity": severity, "file": problem.file, "line": problem.line, "key": problem.key, "value": problem.value,
        "says": problem.says, "allowed": problem.allowed, "hint": problem.hint,
    })
}

fn text(shared: &Shared, loaded: &Loaded, problems: &[Problem], probes: &[Probe]) -> String {
    let mut text = String::new();
    match loaded {
        Err(error) => text += &format!("{error}\n"),
        Ok(config) => {
            for problem in problems {
                text += &format!("{problem}\n");
            }
            text += &summary(shared, config);
        }
    }
    for probe in probes {
        text += &format!("{:7} {}: {}\n", probe.outcome.name(), probe.what, probe.text);
    }
    text
}

fn summary(shared: &Shared, config: &Config) -> String {
    let feed = match &config.mqtt {
        Some(mqtt) => format!("mqtt to {}:{}", mqtt.host, mqtt.port),
        None => "none: nothing is published".to_owned(),
    };
    format!(
        "{}: ok\n  line     {} ({})\n  devices  {}\n  stations {}\n  journal  {}\n  feed     {feed}\n  digest   {}\n",
        shared.config.display(),
        config.line.name,
        config.line.path,
        config.devices.len(),
        config.stations.len(),
        config.journal.display(),
        config.digest,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_read_as_posix_prints_it() {
        let said = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 100 40 60 40% /\n";
        assert_eq!(free_bytes(said), Some(60 * 1024));
        assert_eq!(free_bytes("df: no such file"), None);
    }
}
