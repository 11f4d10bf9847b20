//! `sealgate opcua browse`: the tree of a server, and from it the skeleton of a tag map.
//!
//! The skeleton names every variable with its namespace URI, type and length. Where folder and variable are called like a station
//! kind and a tag of the contract, the section stands ready; every other one is a comment that waits for its role.

use clap::Args;
use serde_json::{Value as Json, json};

use super::read::of_value;
use super::target::{Target, answered, node};
use crate::cli::Shared;
use crate::cli::outcome::{Exit, Outcome};
use crate::cli::print::{self, Style};
use crate::cli::probe::block_on;
use crate::device::opcua_look::{self, Class, Node, Tree, Value, Variable, Walk};
use crate::domain::tag::{Access, StationKind, Tag};

const EXAMPLES: &str = "\
Examples:
  sealgate opcua browse opc.tcp://10.7.3.21:4840
  sealgate opcua browse opc.tcp://10.7.3.21 --from 'nsu=urn:vendor;s=Camera' --depth 2
  sealgate opcua browse opc.tcp://10.7.3.21 --emit-toml > maps/vision.toml
  sealgate opcua browse opc.tcp://10.7.3.21 --json | jq '.nodes[].node'

The skeleton of --emit-toml becomes a tag map when every [KIND.TAG] has its role: KIND is printer, camera, rejector, packer or
palletizer, TAG a word of `sealgate check`. Take out what no role needs; `sealgate check` says what is missing.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BrowseArgs {
    #[command(flatten)]
    target: Target,
    /// Start below this node instead of below the folder Objects
    #[arg(long, value_name = "NODE", value_parser = node)]
    from: Option<String>,
    /// Levels below the start
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=32))]
    depth: u8,
    /// At most so many nodes
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Print the skeleton of a tag map instead of the tree
    #[arg(long)]
    emit_toml: bool,
}

pub(super) fn run(args: &BrowseArgs, shared: &Shared) -> Outcome {
    let settings = args.target.settings(shared)?;
    let nodes_max = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let walk = Walk { from: args.from.clone(), depth: usize::from(args.depth), nodes_max };
    let Some(tree) = answered(&settings, block_on(opcua_look::browse(&settings, &walk)))? else {
        let from = args.from.as_deref().unwrap_or("the folder Objects");
        return Err(Exit::No.failure(format!("{}: there is no node {from}; browse without --from", settings.name)));
    };
    if tree.is_cut {
        print::problem(&format!("more than {nodes_max} nodes: --from a node, or --limit higher"));
    }
    if args.emit_toml {
        print::out(&skeleton(&tree));
    } else if shared.json {
        print::value(Style::new(true, 0), &document(&tree));
    } else {
        print::out(&drawn(&tree));
    }
    Ok(Exit::Done)
}

fn document(tree: &Tree) -> Json {
    let paths = paths(tree);
    let nodes: Vec<Json> = tree
        .nodes
        .iter()
        .zip(&paths)
        .map(|(node, path)| {
            let variable = node.variable.as_ref();
            json!({
                "node": node.id, "name": node.name, "path": path.join("/"), "depth": node.depth,
                "class": class_word(node.class), "type": variable.map(|v| &v.kind),
                "length": variable.and_then(|v| v.length), "writable": variable.map(|v| v.is_writable),
                "value": variable.map(|v| of_value(&v.now.value)), "quality": variable.map(|v| &v.now.status),
            })
        })
        .collect();
    json!({ "namespaces": tree.namespaces, "complete": !tree.is_cut, "nodes": nodes })
}

fn class_word(class: Class) -> &'static str {
    match class {
        Class::Object => "object",
        Class::Variable => "variable",
        Class::Method => "method",
        Class::Other => "other",
    }
}

/// The names from the start down to each node.
fn paths(tree: &Tree) -> Vec<Vec<&str>> {
    let mut path: Vec<&str> = Vec::new();
    let each = tree.nodes.iter().map(|node| {
        path.truncate(node.depth);
        path.push(&node.name);
        path.clone()
    });
    each.collect()
}

/// A terminal is at least so wide.
const COLUMNS: usize = 100;
const NAME_MAX: usize = 36;
const TYPE_MAX: usize = 16;

/// The tree: name, type, access, value, id. Ids carry the index, above which its URI stands, so that a line fits a screen.
fn drawn(tree: &Tree) -> String {
    let mut text = String::new();
    for (index, uri) in tree.namespaces.iter().enumerate().skip(1) {
        text += &format!("ns={index}  is nsu={uri}\n");
    }
    let rows: Vec<[String; 5]> = tree.nodes.iter().map(|node| cells(node, &tree.namespaces)).collect();
    let width = |column: usize, most: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).clamp(4, most)
    };
    let (name, kind, id) = (width(0, NAME_MAX), width(1, TYPE_MAX), width(4, 60));
    let value = COLUMNS.saturating_sub(name + kind + id + 10).clamp(8, 40).min(width(3, 40).max(5));
    text += &format!("\n{:name$}  {:kind$}  {:2}  {:value$}  node\n", "name", "type", "", "value");
    for [n, k, access, v, i] in &rows {
        let line = format!("{:name$}  {:kind$}  {access:2}  {:value$}  {i}", cut(n, name), cut(k, kind), cut(v, value));
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn cells(node: &Node, namespaces: &[String]) -> [String; 5] {
    let name = format!("{}{}", "  ".repeat(node.depth), print::shown(&node.name));
    let id = indexed(&node.id, namespaces);
    let Some(variable) = &node.variable else {
        return [name, class_word(node.class).to_owned(), String::new(), String::new(), id];
    };
    let access = if variable.is_writable { "rw" } else { "r" };
    let value =
        if variable.now.is_good { print::shown(&plain(&variable.now.value)) } else { variable.now.status.clone() };
    [name, kind_text(variable), access.to_owned(), value, id]
}

fn kind_text(variable: &Variable) -> String {
    match variable.length {
        Some(length) => format!("{}[{length}]", variable.kind),
        None => variable.kind.clone(),
    }
}

fn plain(value: &Value) -> String {
    match of_value(value) {
        Json::String(text) => text,
        Json::Null => String::new(),
        other @ (Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_)) => other.to_string(),
    }
}

fn indexed(id: &str, namespaces: &[String]) -> String {
    let found = namespaces.iter().enumerate().find_map(|(index, uri)| {
        let rest = id.strip_prefix("nsu=")?.strip_prefix(uri.as_str())?.strip_prefix(';')?;
        Some(format!("ns={index};{rest}"))
    });
    found.unwrap_or_else(|| id.to_owned())
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(3)).chain("...".chars()).collect()
}

const HEAD: &str = "\
# A tag map, begun by `sealgate opcua browse --emit-toml`. Give every section that a role needs its name, [KIND.TAG], and take the
# others out: KIND is printer, camera, rejector, packer or palletizer; TAG is a word of the contract. `length` is the longest text in
# bytes. Counters want `wrap`, their highest value. `sealgate check` says what is missing.
";

/// The map, in which the sections of one station kind stand together, as TOML wants them.
fn skeleton(tree: &Tree) -> String {
    let mut ready: Vec<(StationKind, Tag, String)> = Vec::new();
    let mut waiting = String::new();
    for (node, path) in tree.nodes.iter().zip(paths(tree)) {
        let Some(variable) = &node.variable else { continue };
        let Some(value) = type_lines(variable) else {
            waiting += &format!("\n# {}: {} is no type of a tag\n", path.join("/"), kind_text(variable));
            continue;
        };
        let body = format!("node = \"{}\"\n{value}", node.id.replace('\\', "\\\\").replace('"', "\\\""));
        match role(&path).filter(|(kind, tag)| !ready.iter().any(|(k, t, _)| (k, t) == (kind, tag))) {
            Some((kind, tag)) => ready.push((kind, tag, body)),
            None => {
                let access = if variable.is_writable { "written" } else { "read" };
                let commented: String = body.lines().map(|line| format!("# {line}\n")).collect();
                waiting +=
                    &format!("\n# {}: {}, {access}\n# [KIND.TAG]\n{commented}", path.join("/"), kind_text(variable));
            }
        }
    }
    let mut text = HEAD.to_owned();
    ready.sort_by_key(|(_, tag, _)| *tag);
    for kind in StationKind::ALL {
        for (_, tag, body) in ready.iter().filter(|(of, _, _)| of == kind) {
            let note = if tag.access() == Access::Write { "# written by the line\n" } else { "" };
            text += &format!("\n[{}.{tag}]\n{note}{body}", kind.name());
        }
    }
    text + &waiting
}

/// Folder and variable called like a kind and a tag: `Camera/PrintedSeq` is camera.printed_seq.
fn role(path: &[&str]) -> Option<(StationKind, Tag)> {
    let (last, above) = path.split_last()?;
    let tag = Tag::parse(&snake(last))?;
    let folder = snake(above.last()?);
    let kind = StationKind::ALL.iter().find(|kind| kind.name() == folder)?;
    Some((*kind, tag))
}

/// `PrintedSeq`, `printed-seq` and `Printed_Seq` are `printed_seq`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    let mut was_lower = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && was_lower {
            text.push('_');
        }
        was_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        text.push(if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' });
    }
    text
}

/// `None` for types that no tag has.
fn type_lines(variable: &Variable) -> Option<String> {
    let number = match variable.kind.as_str() {
        "Byte" | "UInt16" => "u16",
        "SByte" | "Int16" => "i16",
        "UInt32" => "u32",
        "Int32" => "i32",
        "UInt64" => "u64",
        "Int64" => "i64",
        "Float" => "f32",
        "Double" => "f64",
        _ => "",
    };
    let is_float = number.starts_with('f');
    let length = text_length(&variable.now.value);
    Some(match (variable.kind.as_str(), variable.length) {
        ("Boolean", None) => "type = \"bool\"\n".to_owned(),
        ("String", None) => format!("type = \"text\"\nlength = {length}\n"),
        ("ByteString", None) => format!("type = \"bytes\"\nlength = {length}\n"),
        ("String" | "ByteString", Some(count)) => format!("type = \"texts\"\ncount = {count}\nlength = {length}\n"),
        (_, _) if number.is_empty() => return None,
        (_, None) => format!("type = \"{number}\"\n"),
        (_, Some(count)) => {
            let kind = if is_float { "millis" } else { "ints" };
            let element = if number == "u32" { String::new() } else { format!("element = \"{number}\"\n") };
            format!("type = \"{kind}\"\n{element}count = {count}\n")
        }
    })
}

/// Room for a GS1 element string with GTIN, serial, expiry and lot, or for what is there already.
fn text_length(value: &Value) -> usize {
    let longest = match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(values) => values.iter().map(text_length).max().unwrap_or(0),
        Value::None | Value::Bool(_) | Value::Int(_) | Value::Unsigned(_) | Value::Float(_) => 0,
    };
    longest.max(72)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_many_habits_are_words_of_the_contract() {
        for name in ["PrintedSeq", "printed_seq", "Printed-Seq", "printedSeq"] {
            assert_eq!(snake(name), "printed_seq");
        }
        assert_eq!(role(&["Line", "Camera", "Seq"]), Some((StationKind::Camera, Tag::Seq)));
        assert_eq!(role(&["Camera", "Shutter"]), None);
        assert_eq!(role(&["Seq"]), None);
    }

    #[test]
    fn an_id_is_shown_with_its_index_and_kept_where_the_uri_is_unknown() {
        let names = ["http://opcfoundation.org/UA/".to_owned(), "urn:plc;v=2".to_owned()];
        assert_eq!(indexed("nsu=urn:plc;v=2;s=a;b", &names), "ns=1;s=a;b");
        assert_eq!(indexed("nsu=urn:other;s=a", &names), "nsu=urn:other;s=a");
        assert_eq!(indexed("i=85", &names), "i=85");
    }
}
