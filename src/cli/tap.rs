//! `sealgate tap`: what passes through the running daemon, live: tag updates, observations, facts.
//!
//! The daemon never waits for this: a reader that is too slow is told how much it lost.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::outcome::{Exit, Outcome};
use super::print::{self, Style};
use super::{Shared, live, source};

const EXAMPLES: &str = "\
Examples:
  sealgate tap                            everything: tags, what the stations make of them, facts
  sealgate tap vision                     one device, to its quality and its own time
  sealgate tap vision --for 10            ten seconds of it
  sealgate tap --json | jq 'select(.what == \"fact\") | .kind'     one JSON object a line

Nobody waits for this command: what it could not take in time is counted as lost. Facts are shown when they are decided, a moment
before they are on disk; the record is the journal.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TapArgs {
    /// A device of the configuration; without it the whole line
    device: Option<String>,
    /// End after so many seconds; without it Ctrl-C ends it
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// End after so many entries
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Between two looks; the daemon keeps far more than passes meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) fn run(args: &TapArgs, shared: &Shared) -> Outcome {
    let (socket, config) = source::daemon(shared)?;
    if let (Some(device), Some(config)) = (&args.device, &config)
        && !config.devices.iter().any(|known| known.name == *device)
    {
        let known: Vec<&str> = config.devices.iter().map(|device| device.name.as_str()).collect();
        return Err(
            Exit::Usage.failure(format!("{device} is no device of the configuration; there are: {}", known.join(", ")))
        );
    }
    let style = source::style(shared, config.as_ref());
    let rounds = args.seconds.map(|seconds| seconds.saturating_mul(10));
    let (mut after, mut told, mut round) = (None, 0, 0);
    loop {
        let answer = look(&socket, after, args.device.as_deref())?;
        let entries = answer["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(lost) = answer["lost"].as_u64().filter(|lost| *lost > 0) {
            print::problem(&format!("{lost} lost: more passes than this terminal takes; name a device"));
        }
        for entry in entries {
            if args.count.is_some_and(|count| told >= count) || !say(&line(style, entry)) {
                return Ok(Exit::Done);
            }
            told += 1;
        }
        let is_over = rounds.is_some_and(|rounds| round >= rounds) || args.count.is_some_and(|count| told >= count);
        if is_over {
            return Ok(Exit::Done);
        }
        after = answer["next"].as_u64();
        round += 1;
        // A full answer has more behind it.
        if entries.len() < 100 {
            std::thread::sleep(PAUSE);
        }
    }
}

fn look(socket: &std::path::Path, after: Option<u64>, device: Option<&str>) -> Result<Value, super::outcome::Failure> {
    let after = after.map(|after| after.to_string());
    let device = device.map(|device| Value::from(device).to_string());
    let mut parts: Vec<(&str, &str)> = Vec::new();
    parts.extend(after.as_deref().map(|after| ("after", after)));
    parts.extend(device.as_deref().map(|device| ("device", device)));
    let answer = live::ask(socket, "tap", &parts)?;
    if !answer.ok {
        let reasons: Vec<String> = answer.reasons.into_iter().map(|reason| reason.text).collect();
        return Err(Exit::No.failure(reasons.join("; ")));
    }
    Ok(answer.data.unwrap_or_default())
}

/// False where nobody reads any more.
fn say(line: &str) -> bool {
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}

/// A line fits a terminal of 100 columns; JSON has everything.
fn line(style: Style, entry: &Value) -> String {
    if style.json {
        return format!("{entry}\n");
    }
    let text = |key: &str| match &entry[key] {
        Value::String(text) => print::shown(text),
        Value::Null => String::new(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    };
    let time = entry["at_us"].as_i64().map_or_else(String::new, |us| print::time(us, style.offset_min));
    let clock = time.get(11..23).unwrap_or_default();
    let what = text("what");
    let rest = match what.as_str() {
        "tag" => {
            let quality = text("quality");
            let quality = if quality == "good" { String::new() } else { format!("  ({quality})") };
            format!("{:12}  {:14}  {}{quality}", text("station"), text("tag"), text("value"))
        }
        "fact" => format!("#{} {}  {}  {}", text("seq"), text("kind"), text("subject"), text("text")),
        "observation" => format!("{:12}  {}", text("station"), text("text")),
        _ => format!("{:12}  {} {} {}", text("device"), text("station"), text("tag"), text("text")),
    };
    let whole = format!("{clock}  {what:11}  {rest}");
    let line: String = if whole.chars().count() > COLUMNS {
        whole.chars().take(COLUMNS - 3).chain("...".chars()).collect()
    } else {
        whole
    };
    format!("{}\n", line.trim_end())
}

const COLUMNS: usize = 100;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Style = Style { json: false, offset_min: 0, colour: false };

    #[test]
    fn a_line_says_when_what_and_where_and_fits_a_terminal() {
        let entry = json!({ "n": 1, "at_us": 0, "what": "tag", "device": "plc", "station": "packer", "tag": "seq",
                            "value": 7, "quality": "good" });
        assert_eq!(line(PLAIN, &entry), "00:00:00.000  tag          packer        seq             7\n");
        let long = json!({ "at_us": 0, "what": "fact", "seq": 9, "kind": "packed", "text": "x".repeat(500) });
        assert_eq!(line(PLAIN, &long).trim_end().chars().count(), COLUMNS);
    }

    #[test]
    fn a_value_that_is_not_good_says_so_and_cannot_steer_the_terminal() {
        let entry = json!({ "at_us": 0, "what": "tag", "station": "c", "tag": "code", "value": "\u{1b}[2J", "quality": "bad 0x2" });
        let line = line(PLAIN, &entry);
        assert!(line.contains("(bad 0x2)") && !line.contains('\u{1b}'), "{line:?}");
    }
}
