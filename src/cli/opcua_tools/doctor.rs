//! `sealgate opcua doctor`: what stands between a device and its first value, and what to do about it on both sides.

use clap::Args;
use serde_json::{Value, json};

use super::target::{Target, answered};
use crate::cli::Shared;
use crate::cli::outcome::{Exit, Outcome};
use crate::cli::print::{self, Style};
use crate::cli::probe::block_on;
use crate::device::opcua_doctor::{self, Finding};

const EXAMPLES: &str = "\
Examples:
  sealgate opcua doctor vision --config line.toml         name, TCP, endpoints, security, certificates, session, every tag
  sealgate opcua doctor opc.tcp://10.7.3.22:4840 --security Basic256Sha256 --pki /var/lib/sealgate/pki
  sealgate opcua doctor vision --json

Exit 1 where a check fails: it is named, with what to do here and what to do at the server.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    target: Target,
}

pub(super) fn run(args: &DoctorArgs, shared: &Shared) -> Outcome {
    // The checks themselves find out what is offered: nothing is asked before.
    let settings = args.target.settings_unasked(shared)?;
    let findings = answered(&settings, block_on(opcua_doctor::examine(&settings)))?;
    if shared.json {
        print::value(Style::new(true, 0), &Value::Array(findings.iter().map(row).collect()));
    } else {
        print::out(&drawn(&findings));
    }
    let is_well = findings.iter().all(|finding| finding.is_good == Some(true));
    Ok(if is_well { Exit::Done } else { Exit::No })
}

fn outcome(finding: &Finding) -> &'static str {
    match finding.is_good {
        Some(true) => "ok",
        Some(false) => "FAILS",
        None => "-",
    }
}

fn row(finding: &Finding) -> Value {
    json!({
        "check": finding.check.name(), "ok": finding.is_good, "found": finding.found,
        "here": finding.here, "there": finding.there,
    })
}

const TEXT_COLUMNS: usize = 100 - 29;

fn drawn(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        text += &entry(&format!("{:5}  {:18}", outcome(finding), finding.check.name()), &finding.found);
        for (side, what) in [("here:", &finding.here), ("at the server:", &finding.there)] {
            if !what.is_empty() {
                text += &entry(&format!("{:7}{side:18}", ""), what);
            }
        }
    }
    text
}

/// A head and a text beside it, broken between words.
pub(super) fn entry(head: &str, text: &str) -> String {
    let mut lines: Vec<String> = vec![String::new()];
    for word in print::shown(text).split_whitespace() {
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last > 0 && last + 1 + word.chars().count() > TEXT_COLUMNS {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    let mut drawn = String::new();
    for (index, line) in lines.iter().enumerate() {
        let head = if index == 0 { head } else { "" };
        drawn += format!("{head:25}  {line}").trim_end();
        drawn.push('\n');
    }
    drawn
}
