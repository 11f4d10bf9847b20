//! The sections `[line]`, `[journal]` and `[mqtt]`: who the line is, where it writes, to whom it publishes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::text::Name;
use crate::engine::stops::{Stops, WINDOW_MAX};

use super::problem::Place;
use super::reader::{Field, Section};

/// Who and where the line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Names the line in every fact and file; also the instance of the service.
    pub name: Name,
    /// ISA-95 path of the line (IEC 62264-1), and the prefix of every topic: `site/area/line`.
    pub path: String,
    /// EPCIS `readPoint` and `bizLocation`, as URIs.
    pub read_point: String,
    pub biz_location: Option<String>,
    /// Of the local time that EPCIS events carry; the journal itself is in UTC.
    pub utc_offset_min: i16,
    /// Where the command line finds the daemon.
    pub socket: PathBuf,
    /// Whether the socket answers the daemon's group too (mode 0660), or its own user alone (0600).
    pub socket_for_group: bool,
    /// A file that is there while the wall clock is synchronised.
    pub clock_file: PathBuf,
    /// Nothing is started and no unit passes while the clock is not known to be right.
    pub commission_needs_clock: bool,
    /// Units that stood on the belt at a stop are verified as any other, instead of being rejects.
    pub inspects_after_stop: bool,
    pub config_needs_approval: bool,
    /// Rejects that stop the line.
    pub stops: Stops,
}

/// The feed's broker.
#[derive(Clone, PartialEq, Eq)]
pub struct Mqtt {
    pub host: String,
    pub port: u16,
    pub client_id: String,
    pub username: Option<String>,
    pub password: Option<String>,
    pub keep_alive: Duration,
    /// Publishes in flight; brokers allow 20 unless told otherwise.
    pub window: u16,
    /// Messages in a second after an outage, and of a replay; 0 is no limit.
    pub drain_per_s: u32,
    /// Messages that the broker took stay so long, for a replay.
    pub keep_sent: Duration,
    /// About so many bytes of them at most.
    pub keep_sent_bytes: u64,
    /// A fact that waits for the broker so long is told as an alarm, which holds nothing.
    pub warn_behind: Duration,
}

/// Where the journal lies, and what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileJournal {
    pub(super) path: PathBuf,
    pub(super) proof: Proof,
}

/// The files that prove a journal; each may lie on a medium of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The secret key that signs; made at the first start where it is missing.
    pub key: PathBuf,
    /// The public keys, the newest last.
    pub public_keys: PathBuf,
    /// The side file of checkpoints.
    pub anchors: PathBuf,
}

/// As written; a missing key is `None`.
pub(super) struct FileLine {
    name: Option<Field<String>>,
    path: Option<Field<String>>,
    read_point: Option<Field<String>>,
    biz_location: Option<Field<String>>,
    utc_offset: Option<Field<i16>>,
    socket: Option<Field<String>>,
    socket_for_group: Option<Field<bool>>,
    clock_file: Option<Field<String>>,
    commission_needs_clock: Option<Field<bool>>,
    inspects_after_stop: Option<Field<bool>>,
    config_needs_approval: Option<Field<bool>>,
    stops: Stops,
}

/// systemd-timesyncd makes it when the clock is set for the first time after a boot (systemd-timesyncd.service(8)).
const CLOCK_FILE: &str = "/run/systemd/timesync/synchronized";

/// The credential that is taken where the file names no key.
const KEY_CREDENTIAL: &str = "sealgate-key";
const NAME: &str = "1 to 24 characters of a-z, 0-9, _ and -, beginning with a letter";
const PATH: &str = "levels of A-Z, a-z, 0-9, _ and - with / between, none beginning with _";
const LOCATION: &str = "urn:epc:id:sgln:..., https://id.gs1.org/414/..., or another absolute URI";

impl FileLine {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let file = Self {
            name: name(&section.filled("name"), &section),
            path: site_path(&mut section),
            read_point: location(&mut section, "read_point"),
            biz_location: location(&mut section, "biz_location"),
            utc_offset: utc_offset(&mut section),
            socket: section.filled("socket"),
            socket_for_group: section.word("socket_access", &[("user", false), ("group", true)]),
            clock_file: section.filled("clock_file"),
            commission_needs_clock: section.flag("commission_needs_clock"),
            inspects_after_stop: section.word("after_stop", &[("reject", false), ("inspect", true)]),
            config_needs_approval: section.flag("config_needs_approval"),
            stops: stops(&mut section),
        };
        let _: Option<()> = section.missing("name", NAME);
        let _: Option<()> = section.missing("path", PATH);
        let _: Option<()> = section.missing("read_point", LOCATION);
        section.finish();
        file
    }

    /// The name, for what is called after it.
    pub(super) fn written_name(&self) -> Option<String> {
        self.name.as_ref().map(|field| field.value.clone())
    }

    pub(super) fn build(self, folder: &Path) -> Option<Line> {
        let name = self.name?.value;
        let socket = match self.socket {
            Some(field) => folder.join(field.value),
            None => PathBuf::from(format!("/run/sealgate/{name}.sock")),
        };
        Some(Line {
            name: Name::new(&name)?,
            path: self.path?.value,
            read_point: self.read_point?.value,
            biz_location: self.biz_location.map(|field| field.value),
            utc_offset_min: self.utc_offset.map_or(0, |field| field.value),
            socket,
            socket_for_group: self.socket_for_group.is_some_and(|field| field.value),
            clock_file: self.clock_file.map_or_else(|| PathBuf::from(CLOCK_FILE), |field| folder.join(field.value)),
            commission_needs_clock: self.commission_needs_clock.is_some_and(|field| field.value),
            inspects_after_stop: self.inspects_after_stop.is_some_and(|field| field.value),
            config_needs_approval: self.config_needs_approval.is_some_and(|field| field.value),
            stops: self.stops,
        })
    }
}

/// `stop_rejects_in_a_row`, and the pair `stop_rejects_most` in `stop_rejects_of`; 0 or none never stops.
fn stops(section: &mut Section<'_>) -> Stops {
    let most = section.number("stop_rejects_most", 0..=i64::from(WINDOW_MAX));
    let of = section.number("stop_rejects_of", 1..=i64::from(WINDOW_MAX));
    let in_a_row = section.number("stop_rejects_in_a_row", 0..=i64::from(WINDOW_MAX)).map_or(0, |field| field.value);
    match (&most, &of) {
        (Some(most), Some(of)) if most.value > of.value => {
            let allowed = format!("at most {}, the units that stop_rejects_of looks at", of.value);
            section.problems().add(most.at.error("is more than it looks at").allowed(allowed));
        }
        (Some(most), None) if most.value > 0 => {
            let _: Option<()> = section.missing("stop_rejects_of", "the number of units looked at, 1 to 256");
        }
        (Some(_) | None, _) => {}
    }
    let value = |field: Option<Field<u16>>| field.map_or(0, |field| field.value);
    Stops { in_a_row, most: value(most), of: value(of) }
}

/// Refuses a name that would not survive as file name, topic level and systemd instance.
pub(super) fn name(field: &Option<Field<String>>, section: &Section<'_>) -> Option<Field<String>> {
    let field = field.as_ref()?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let begins = field.value.starts_with(|c: char| c.is_ascii_lowercase());
    if begins && field.value.chars().all(plain) && Name::new(&field.value).is_some() {
        return Some(field.clone());
    }
    section.problems().add(field.at.error("is no usable name").allowed(NAME));
    None
}

fn site_path(section: &mut Section<'_>) -> Option<Field<String>> {
    let field = section.filled("path")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    // A level that begins with an underscore is one of ours (`_fact`, `_cmd`): a reader could not tell them apart.
    let level = |level: &str| !level.is_empty() && !level.starts_with('_') && level.chars().all(plain);
    if field.value.len() <= 200 && field.value.split('/').all(level) {
        return Some(field);
    }
    section.problems().add(field.at.error("is no usable topic prefix").allowed(PATH));
    None
}

fn location(section: &mut Section<'_>, key: &'static str) -> Option<Field<String>> {
    let field = section.filled(key)?;
    let scheme = field.value.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric())
            && !rest.is_empty()
            && !field.value.chars().any(char::is_whitespace)
    });
    if scheme {
        return Some(field);
    }
    section.problems().add(field.at.error("is no URI").allowed(LOCATION));
    None
}

/// `+01:00`, `-05:30` or `Z`, in minutes. EPCIS asks for the offset alone, never for the name of a zone.
fn utc_offset(section: &mut Section<'_>) -> Option<Field<i16>> {
    let field = section.filled("utc_offset")?;
    match offset_minutes(&field.value) {
        Some(minutes) => Some(field.map(|_| minutes)),
        None => {
            let allowed = "\"+HH:MM\" or \"-HH:MM\" up to 14:00, or \"Z\"";
            section.problems().add(field.at.error("is no offset from UTC").allowed(allowed));
            None
        }
    }
}

fn offset_minutes(text: &str) -> Option<i16> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+')?),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes): (i16, i16) = (hours.parse().ok()?, minutes.parse().ok()?);
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= 14 * 60).then_some(sign * total)
}

/// `[journal]`: the path of the database, seen from the folder of the configuration, and where its proof lies.
pub(super) fn journal(mut section: Section<'_>, folder: &Path) -> Option<FileJournal> {
    let path = section.filled("path");
    let key = section.filled("key");
    let anchors = section.filled("anchors");
    let _: Option<()> = section.missing("path", "the path of the journal, for example \"/var/lib/sealgate/line3.db\"");
    section.finish();
    let path = folder.join(path?.value);
    let named = |extension| path.with_extension(extension);
    let anchors = match anchors {
        Some(field) => folder.join(field.value).join(named("anchors").file_name().unwrap_or_default()),
        None => named("anchors"),
    };
    let key = key_path(key.map(|field| field.value), folder).unwrap_or_else(|| named("key"));
    let proof = Proof { key, public_keys: named("pub"), anchors };
    Some(FileJournal { path, proof })
}

/// Where the secret key lies: as the file says, or where systemd has put one; `credential:NAME` is seen by the running service alone.
fn key_path(written: Option<String>, folder: &Path) -> Option<PathBuf> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    match written {
        Some(text) => match text.strip_prefix("credential:") {
            Some(name) => credentials.map(|directory| directory.join(name)),
            None => Some(folder.join(text)),
        },
        None => credentials.map(|directory| directory.join(KEY_CREDENTIAL)).filter(|path| path.is_file()),
    }
}

/// `[mqtt]`; `line` names the client where the section does not.
pub(super) fn mqtt(mut section: Section<'_>, line: &str, folder: &Path) -> Option<Mqtt> {
    let host = section.filled("host");
    let port = section.number("port", 1..=65_535).map_or(1883, |field| field.value);
    let client_id = section.filled("client_id");
    let username = section.filled("username").map(|field| field.value);
    let password = password(&mut section, folder);
    let keep_alive = section.number("keep_alive_s", 5..=600).map_or(15, |field| field.value);
    let window = section.number("window", 1..=1000).map_or(20, |field| field.value);
    let drain_per_s = section.number("drain_per_s", 0..=100_000).map_or(2000, |field| field.value);
    let keep_sent_days: u64 = section.number("keep_sent_days", 1..=3650).map_or(30, |field| field.value);
    let keep_sent_mb: u64 = section.number("keep_sent_mb", 16..=1_000_000).map_or(4096, |field| field.value);
    let warn_behind_h: u64 = section.number("warn_behind_h", 1..=8760).map_or(36, |field| field.value);
    let _: Option<()> = section.missing("host", "the host name or address of the broker");
    if username.is_none() && section.has("password_file") {
        let _: Option<()> = section.missing("username", "a user name, since there is a password");
    }
    section.finish();
    Some(Mqtt {
        host: host?.value,
        port,
        client_id: client_id.map_or_else(|| format!("sealgate-{line}"), |field| field.value),
        username,
        password,
        keep_alive: Duration::from_secs(keep_alive),
        window,
        drain_per_s,
        keep_sent: Duration::from_secs(keep_sent_days * 86_400),
        keep_sent_bytes: keep_sent_mb << 20,
        warn_behind: Duration::from_secs(warn_behind_h * 3600),
    })
}

/// The first line of `password_file`. `credential:NAME` is looked up where systemd puts it (`LoadCredential=`): only the running
/// service can read that, so that elsewhere it is a warning.
pub(super) fn password(section: &mut Section<'_>, folder: &Path) -> Option<String> {
    let field = section.filled("password_file")?;
    let at = field.at.clone();
    let path = secret_file(section, field, folder)?;
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text.lines().next().unwrap_or_default().to_owned()),
        Err(error) => {
            section.problems().add(unreadable(&at, &error));
            None
        }
    }
}

/// Where a secret lies: a file, or what systemd loads for the service. `None`, with a warning, where only the service can see it.
pub(super) fn secret_file(section: &Section<'_>, field: Field<String>, folder: &Path) -> Option<PathBuf> {
    let Some(name) = field.value.strip_prefix("credential:") else {
        return Some(folder.join(&field.value));
    };
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY");
    if directory.is_none() {
        let problem = field.at.warning("could not be looked at: only the running service sees its credentials");
        section.problems().add(problem);
    }
    Some(PathBuf::from(directory?).join(name))
}

/// A file that cannot be opened. The words of the system differ between systems; the kind does not.
pub(super) fn unreadable(at: &Place, error: &std::io::Error) -> super::Problem {
    at.error(format!("cannot be read ({})", error.kind()))
        .allowed("a readable file; a relative path starts at the folder of this file")
}

impl std::fmt::Debug for Mqtt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mqtt")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_minutes_and_nothing_else_is_taken() {
        assert_eq!(offset_minutes("+01:00"), Some(60));
        assert_eq!(offset_minutes("-05:30"), Some(-330));
        assert_eq!(offset_minutes("Z"), Some(0));
        for wrong in ["01:00", "+1:00", "+01:60", "+15:00", "+aa:00", "Europe/Berlin", ""] {
            assert_eq!(offset_minutes(wrong), None, "{wrong}");
        }
    }
}
