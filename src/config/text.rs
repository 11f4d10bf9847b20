//! What a map says about a device that speaks lines of text: `[text]` and the addresses of its tags.
//!
//! ```toml
//! [text]
//! end = "\r"                        # ends every line of the device; begin and send_end where they differ
//! delimiter = "|"
//! escape = ["~~7E", "|~7C"]         # a character, then what is sent for it; all begin with the same, listed character
//! refusal = ["ERR", "{code}"]       # what the device says where it does not do a command
//! mark_read = "mark.text"           # a place for a text of ours that a power cycle empties
//! mark_write = "set_mark"
//! scan = ["{code}"]                 # of a scanner, which is never asked: its lines; no_read = ["NOREAD"] where it reads nothing
//! [text.command.counts]
//! send = ["GPC"]                    # fields, with the delimiter between them; {tag} is the value of a tag
//! reply = ["GPC", "{accepted}", "{printed}", "*"]
//! [printer.printed_seq]
//! answer = "counts.printed"         # or command = "NAME" for what is written, or made = true
//! type = "u32"
//! ```

use std::sync::Arc;

use crate::device::Address;
use crate::device::dialect::{AnswerField, Command, Dialect, MarkPlace, Piece, Slot};
use crate::domain::tag::Tag;

use super::problem::{Place, Problems};
use super::reader::{Field, Section};

const LINE_MAX: usize = 1024;

/// `[text]`; `None` where the map has none, or one that is too broken to go on with.
pub(super) fn read(root: &mut Section<'_>) -> Option<Field<Arc<Dialect>>> {
    let mut section = root.section("text")?;
    let end = section.text("end").filter(|end| !end.value.is_empty());
    if end.is_none() {
        let _: Option<()> = section.missing("end", "what ends every line of the device, for example \"\\r\\n\"");
    }
    let refusal = section.texts("refusal").map(|list| slots(&section, &list.value)).unwrap_or_default();
    let mark_read = section.filled("mark_read");
    let mark_write = section.filled("mark_write");
    let no_read = section.texts("no_read").map(|list| list.value).unwrap_or_default();
    let scan = section.texts("scan").map(|list| slots(&section, &list.value));
    let delimiter = delimiter(&mut section);
    let end = end?.value.into_bytes();
    let dialect = Dialect {
        begin: section.text("begin").map(|field| field.value.into_bytes()).unwrap_or_default(),
        send_end: section.text("send_end").map_or_else(|| end.clone(), |field| field.value.into_bytes()),
        delimiter,
        escapes: escapes(&mut section, delimiter),
        line_max: section.number::<u16>("line_max", 16..=65_535).map_or(LINE_MAX, |field| usize::from(field.value)),
        commands: commands(&mut section, &refusal),
        scan,
        no_read: no_read.into_iter().map(|text| text.value.into_bytes()).collect(),
        mark: mark(&section, mark_read, mark_write),
        end,
    };
    let at = section.at.clone();
    section.finish();
    names(root.problems(), &at, &dialect);
    Some(Field { value: Arc::new(dialect), at })
}

fn delimiter(section: &mut Section<'_>) -> u8 {
    let Some(field) = section.text("delimiter") else { return b'|' };
    match field.value.as_bytes() {
        [byte] => *byte,
        _ => {
            section.problems().add(field.at.error("is no delimiter").allowed("one ASCII character, for example \"|\""));
            b'|'
        }
    }
}

/// Each escape begins with one lead character, which is escaped itself, so that what was sent can be read back in one way only.
fn escapes(section: &mut Section<'_>, delimiter: u8) -> Vec<(u8, Vec<u8>)> {
    let mut escapes: Vec<(u8, Vec<u8>)> = Vec::new();
    let Some(list) = section.texts("escape") else { return escapes };
    for field in &list.value {
        match field.value.as_bytes() {
            [byte, sent @ ..] if sent.len() > 1 => escapes.push((*byte, sent.to_vec())),
            _ => section.problems().add(
                field.at.error("is no escape").allowed("a character, then at least two that are sent for it: \"|~7C\""),
            ),
        }
    }
    let lead = escapes.first().and_then(|(_, sent)| sent.first()).copied();
    let is_one_lead = escapes.iter().all(|(_, sent)| sent.first().copied() == lead);
    let is_lead_listed = escapes.iter().any(|(byte, _)| Some(*byte) == lead);
    let prefixed = |(index, (_, sent)): (usize, &(u8, Vec<u8>))| {
        escapes.iter().enumerate().any(|(other, (_, longer))| other != index && longer.starts_with(sent))
    };
    let is_prefix_free = !escapes.iter().enumerate().any(prefixed);
    let is_clean = escapes.iter().all(|(_, sent)| !sent.contains(&delimiter));
    let is_sound = is_one_lead && is_lead_listed && is_prefix_free && is_clean;
    if !escapes.is_empty() && !is_sound {
        let allowed = "escapes that all begin with one character, which is listed too; none begins another, none holds the delimiter";
        section.problems().add(list.at.error("cannot be read back in one way only").allowed(allowed));
    }
    escapes
}

fn mark(section: &Section<'_>, read: Option<Field<String>>, write: Option<Field<String>>) -> Option<MarkPlace> {
    match (read, write) {
        (Some(read), Some(write)) => {
            let place = answer_field(section, &read)?;
            Some(MarkPlace { read: place, write: write.value })
        }
        (None, None) => None,
        (Some(lonely), None) | (None, Some(lonely)) => {
            section.problems().add(lonely.at.error("needs the other of `mark_read` and `mark_write` beside it"));
            None
        }
    }
}

fn commands(section: &mut Section<'_>, refusal: &[Slot]) -> Vec<Command> {
    let mut commands = Vec::new();
    for (name, mut command) in section.named("command") {
        let send = command.texts("send");
        let _: Option<()> = command.missing("send", "a list of fields: [\"GPC\"]");
        let reply = command.texts("reply").map(|list| slots(&command, &list.value)).unwrap_or_default();
        let own = command.texts("refusal").map(|list| slots(&command, &list.value));
        let retry = command.texts("retry").map(|list| list.value).unwrap_or_default();
        let lines = command.number("lines", 1..=9).map_or(1, |field| field.value);
        let send = send.map(|list| list.value.iter().map(|field| pieces(&command, field)).collect());
        command.finish();
        commands.push(Command {
            name: name.value,
            send: send.unwrap_or_default(),
            reply,
            lines,
            refusal: own.unwrap_or_else(|| refusal.to_vec()),
            retry: retry.into_iter().map(|code| code.value.into_bytes()).collect(),
        });
    }
    commands
}

/// `CODE={data}` is a literal and a value.
fn pieces(section: &Section<'_>, field: &Field<String>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = field.value.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else { break };
        if !before.is_empty() {
            pieces.push(Piece::Literal(before.as_bytes().to_vec()));
        }
        match Tag::parse(name) {
            Some(tag) => pieces.push(Piece::Value(tag)),
            None if name == "mark" => pieces.push(Piece::Mark),
            None => {
                let known = Tag::ALL.iter().map(|tag| tag.name()).chain(["mark"]);
                let problem = field.at.error(format!("holds {{{name}}}, which is no tag")).meant(name, known);
                section.problems().add(problem);
            }
        }
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest.as_bytes().to_vec()));
    }
    pieces
}

fn slots(section: &Section<'_>, fields: &[Field<String>]) -> Vec<Slot> {
    let slot = |field: &Field<String>| {
        let kept = field.value.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match kept {
            Some("") => {
                section
                    .problems()
                    .add(field.at.error("keeps a field without a name").allowed("\"{NAME}\", a literal, or \"*\""));
                Slot::Ignored
            }
            Some(name) => Slot::Kept(name.to_owned()),
            None if field.value == "*" => Slot::Ignored,
            None => Slot::Literal(field.value.as_bytes().to_vec()),
        }
    };
    fields.iter().map(slot).collect()
}

fn answer_field(section: &Section<'_>, field: &Field<String>) -> Option<AnswerField> {
    match field.value.split_once('.') {
        Some((command, name)) if !command.is_empty() && !name.is_empty() => {
            Some(AnswerField { command: command.to_owned(), field: name.to_owned() })
        }
        Some(_) | None => {
            section.problems().add(field.at.error("names no field of an answer").allowed("\"COMMAND.FIELD\""));
            None
        }
    }
}

/// Where a tag lies on a text device; the outer `None` where its section says nothing of the kind.
pub(super) fn address(section: &mut Section<'_>) -> Option<Option<Address>> {
    let keys = ["answer", "command", "made"];
    let written = keys.iter().filter(|key| section.has(key)).count();
    if written == 0 {
        return None;
    }
    if written > 1 || section.has("node") || section.has("address") {
        let problem = section.at.error("says in two ways where its tag lies");
        section.problems().add(problem.allowed("one of `answer`, `command`, `made`, `node`, `address`"));
    }
    if section.has("answer") {
        let answer = section.filled("answer");
        return Some(answer.and_then(|field| answer_field(section, &field)).map(Address::Answer));
    }
    if section.has("made") {
        return Some(section.flag("made").filter(|made| made.value).map(|_| Address::Made));
    }
    let command = section.filled("command");
    let taken = if section.has("taken") { section.filled("taken") } else { None };
    let taken = taken.and_then(|field| answer_field(section, &field));
    Some(command.map(|command| Address::Command { command: command.value, taken }))
}

/// Names inside of the dialect.
fn names(problems: &Problems, at: &Place, dialect: &Dialect) {
    let Some(place) = &dialect.mark else { return };
    let wrote = dialect.commands.iter().find(|command| command.name == place.write);
    if !answers(dialect, &place.read) {
        problems.add(below(at, "mark_read").error("names no field of an answer").allowed(kept_fields(dialect)));
    }
    if wrote.is_none_or(|command| !command.send.iter().flatten().any(|piece| *piece == Piece::Mark)) {
        problems.add(below(at, "mark_write").error("names no command that sends {mark}"));
    }
}

pub(super) fn answers(dialect: &Dialect, place: &AnswerField) -> bool {
    let keeps = |slots: &[Slot]| slots.iter().any(|slot| matches!(slot, Slot::Kept(name) if *name == place.field));
    match &dialect.scan {
        Some(scan) if place.command == "scan" => keeps(scan),
        Some(_) | None => dialect.commands.iter().any(|command| command.name == place.command && keeps(&command.reply)),
    }
}

pub(super) fn kept_fields(dialect: &Dialect) -> String {
    let of = |name: &str, slots: &[Slot]| -> Vec<String> {
        let kept = slots.iter().filter_map(|slot| match slot {
            Slot::Kept(field) => Some(format!("\"{name}.{field}\"")),
            Slot::Literal(_) | Slot::Ignored => None,
        });
        kept.collect()
    };
    let mut all: Vec<String> = dialect.commands.iter().flat_map(|command| of(&command.name, &command.reply)).collect();
    all.extend(dialect.scan.iter().flat_map(|scan| of("scan", scan)));
    all.join(", ")
}

pub(super) fn below(at: &Place, key: &str) -> Place {
    Place { key: format!("{}.{key}", at.key), value: String::new(), ..at.clone() }
}
