//! The tags of text devices against the dialects of their maps: what is read is kept by an answer, what is written is sent by a
//! command, and the buffer of a coder is known.

use crate::device::dialect::Dialect;
use crate::device::{Address, Binding};
use crate::domain::tag::{Access, StationKind, Tag};

use super::map::{KindMap, TagMap};
use super::problem::{Place, Problems};
use super::text::{answers, kept_fields};

/// A text device whose map does not say how it speaks.
pub(super) fn spoken(problems: &Problems, map: &TagMap) {
    if map.dialect.is_none() {
        let at = Place { key: "text".into(), value: String::new(), ..map.at.clone() };
        problems.add(at.error("is missing, and the device speaks text").allowed("a section [text]"));
    }
}

/// A tag whose device speaks text.
pub(super) fn one_tag(problems: &Problems, at: &Place, binding: &Binding) {
    let is_written = binding.tag.access() == Access::Write;
    let fits = match &binding.address {
        Address::Command { .. } => is_written,
        Address::Answer(_) => !is_written,
        Address::Made => [Tag::Epoch, Tag::FlushDone].contains(&binding.tag),
        Address::Node(_) | Address::Register(_) | Address::Input(_) | Address::Coil(_) | Address::Discrete(_) => true,
    };
    if !fits {
        let allowed = "answer = \"COMMAND.FIELD\" for what is read, command = \"NAME\" for what is written, made = true for epoch and flush_done";
        problems.add(at.error("lies where such a tag cannot").allowed(allowed));
    }
}

/// The tags of every map that has a dialect against it.
pub(super) fn maps<'m>(problems: &Problems, maps: impl Iterator<Item = &'m TagMap>) {
    for map in maps {
        let Some(dialect) = &map.dialect else { continue };
        for (name, kind_map) in &map.kinds {
            if let Some(of_kind) = StationKind::parse(name) {
                kind(problems, &dialect.value, of_kind, kind_map);
            }
        }
    }
}

fn kind(problems: &Problems, dialect: &Dialect, kind: StationKind, map: &KindMap) {
    for binding in &map.tags {
        let place = match &binding.value.address {
            Address::Answer(place) => Some(place),
            Address::Command { taken, command } => {
                command_of(problems, dialect, map, &binding.at, command);
                taken.as_ref()
            }
            Address::Node(_)
            | Address::Register(_)
            | Address::Input(_)
            | Address::Coil(_)
            | Address::Discrete(_)
            | Address::Made => None,
        };
        if let Some(place) = place.filter(|place| !answers(dialect, place)) {
            let says = format!("names {}.{}, which no answer keeps", place.command, place.field);
            problems.add(binding.at.error(says).allowed(kept_fields(dialect)));
        }
    }
    let unproven = map.tags.iter().filter(|binding| {
        binding.value.tag == Tag::Label && matches!(&binding.value.address, Address::Command { taken: None, .. })
    });
    for label in unproven {
        let says = "is printed again by every repeat of its permit: nothing tells that the labeller took it";
        problems
            .add(label.at.error(says).allowed("taken = \"COMMAND.FIELD\", where the labeller tells its last label"));
    }
    if kind == StationKind::Printer {
        printer(problems, dialect, map);
    }
}

fn command_of(problems: &Problems, dialect: &Dialect, map: &KindMap, at: &Place, name: &str) {
    let Some(command) = dialect.commands.iter().find(|command| command.name == name) else {
        let known: Vec<&str> = dialect.commands.iter().map(|command| command.name.as_str()).collect();
        problems.add(at.error(format!("names the command {name}, which is not there")).meant(name, known));
        return;
    };
    let names_it = |tag: Tag| {
        map.tags.iter().any(|binding| {
            binding.value.tag == tag
                && matches!(&binding.value.address, Address::Command { command, .. } if command == name)
        })
    };
    for tag in Dialect::tags_of(command).filter(|tag| !names_it(*tag)) {
        problems
            .add(at.error(format!("sends {{{tag}}} with the command {name}, and {tag} does not name that command")));
    }
}

/// What lies in the buffer of a coder has to be known, or the buffer has to be emptied.
fn printer(problems: &Problems, dialect: &Dialect, map: &KindMap) {
    let find = |tag| map.tags.iter().find(|binding| binding.value.tag == tag);
    let Some(epoch) = find(Tag::Epoch).filter(|epoch| epoch.value.address == Address::Made) else { return };
    if find(Tag::Flush).is_none() {
        problems.add(
            epoch
                .at
                .error("is made of the buffer's life, and no command empties the buffer")
                .allowed("a section [printer.flush]"),
        );
    }
    if dialect.mark.is_none() || find(Tag::Remaining).is_none() {
        let says = "is made anew in every session, for nothing proves that the buffer is still the same: what lies in it is burned";
        problems.add(
            epoch.at.warning(says).allowed("mark_read, mark_write and [printer.remaining], where the device has them"),
        );
    }
}
