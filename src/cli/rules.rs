//! `sealgate rules`: what a line keeps, and who asks for it.

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value, json};

use super::outcome::{Exit, Failure, Outcome};
use super::{Shared, print, source};
use crate::domain::rule::{Class, Parameter, Rule};
use crate::wire::suggest::nearest;

const EXAMPLES: &str = "\
Examples:
  sealgate rules                          every rule with its class
  sealgate rules --class LAW              those that a law asks for
  sealgate rules SG-UNIT-05               one of them, with citation and parameters

An alarm and a refusal name their rule.";

/// Columns of a terminal that the table fits into.
const WIDTH: usize = 100;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RulesArgs {
    /// One rule by its id; all of them where it is not given
    id: Option<String>,
    /// Only rules of this class
    #[arg(long, value_parser = PossibleValuesParser::new(Class::NAMES), ignore_case = true, conflicts_with = "id")]
    class: Option<String>,
}

pub(super) fn run(args: &RulesArgs, shared: &Shared) -> Outcome {
    let style = source::style(shared, None);
    if let Some(id) = &args.id {
        let mut fields = whole(Rule::parse(id).ok_or_else(|| unknown(id))?);
        if !style.json {
            fields.retain(|_, value| !value.is_null() && *value != json!([]));
        }
        print::value(style, &Value::Object(fields));
        return Ok(Exit::Done);
    }
    let is_asked =
        |rule: &Rule| args.class.as_ref().is_none_or(|class| class.eq_ignore_ascii_case(rule.class().name()));
    let rules = Rule::ALL.iter().copied().filter(is_asked);
    if style.json {
        print::value(style, &rules.map(|rule| Value::Object(whole(rule))).collect());
    } else {
        print::out(&rules.map(line).collect::<String>());
    }
    Ok(Exit::Done)
}

fn whole(rule: Rule) -> Map<String, Value> {
    let parameter = |parameter: &Parameter| json!({ "place": parameter.place.name(), "key": parameter.key, "unit": parameter.unit });
    let parameters: Vec<Value> = rule.parameters().iter().map(parameter).collect();
    Map::from_iter([
        ("id".to_owned(), json!(rule.id())),
        ("class".to_owned(), json!(rule.class().name())),
        ("citation".to_owned(), json!(rule.class().citation())),
        ("parameters".to_owned(), json!(parameters)),
        ("text".to_owned(), json!(rule.text())),
    ])
}

/// Id, class and text; what is too long goes on below its column.
fn line(rule: Rule) -> String {
    let head = format!("{:14}{:17}", rule.id(), rule.class().name());
    let mut lines = vec![head.clone()];
    for word in rule.text().split(' ') {
        let last = lines.last_mut().expect("there is one from the start");
        if last.len() + word.len() < WIDTH {
            last.push_str(&format!("{word} "));
        } else {
            lines.push(format!("{:1$}{word} ", "", head.len()));
        }
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn unknown(id: &str) -> Failure {
    let ids: Vec<String> = Rule::ALL.iter().map(|rule| rule.id().to_lowercase()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let meant = nearest(id, &ids).map(|id| format!("did you mean {}? ", id.to_uppercase())).unwrap_or_default();
    Exit::Usage.failure(format!("there is no rule {id:?}; {meant}see `sealgate rules`"))
}
